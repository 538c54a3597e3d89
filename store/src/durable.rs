//! A store on disk: what its journal's records say, and how a store is made of them again.
//!
//! ```text
//! WRITES | function | writer u64 | write* |                 the writer's own, each command's together
//! write  | events: varint n, n x varint | object | name | change |
//!        | 0 | type | event | object | name | short |           most updates
//! short  | age | p | n |                         a counter's entry, `age` events old; or
//!        | element |                             of a set, which it had not
//! BATCH  | function | origin u64 | first | last | changes |                     a peer's batch
//! PART   | function | 0, or 1 and a vector | changes |      of a sync, or fetched; with what it covers
//! KNOWN  | function | vector |                              all of these events stand before this
//! LOST   | 1 or 0 |                                         of what stands between 1 and 0, some is lost
//! RETIRED| function | by u64 | its event | vector |         writers that will never count again
//!
//! function, object, name: varint length, bytes; vector: varint n, n x (u64, varint)
//! ```
//!
//! A record is made under the lock under which its change is made, and says what a peer would be sent;
//! so to recover is to join, in any order and any number of times, and a checkpoint may be written
//! while changes go on: it says at least what was known when it began, and the records since then
//! say the rest.
//!
//! What a command does under one hold of its locks is in one record, to which it is added when they are
//! let go of: all names of an object that is deleted, all of a transaction, also where it is about several
//! shards. What is added until the next write shares a record, in the order of its events.
//! Recovery finds all of it or nothing. A checkpoint may have met one half of it; it gets its name only
//! once the log has, durably, all that was done until then.
//!
//! What a repair has saved stands between two LOST. It is joined, and claims nothing: who knew of an
//! event and has lost the value would else take it for removed, and have others remove it too. The
//! node knows no events then, as a new one, and gets them from its peers with all that they have; and
//! it makes one, which changes nothing, so that peers lack something of it and ask for all that it has.
//!
//! With a journal no event counts as unsent, for the journal has seen it: an element that comes and
//! goes within an interval is named in both records, and each update has an event of its own, so that
//! the events that are there say exactly what is there, also where the end was lost.

use std::collections::BTreeMap;
use std::mem;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use miso_crdt::{
    Change, Context, CounterDelta, Delta, Dot, Encoder, Entry, ReplicaId, SEQ_MAX, SetDelta, Type,
    Writer, Writers,
};

use crate::function::{Function, LOCAL};
use crate::journal::{
    self, CheckpointSummary, Disk, Failed, Identity, Journal, OpenError, Options, Recovered,
    RecoveredSummary, Report, SyncPolicy,
};
use crate::replica::{TOGETHER, Vector};
use crate::retire::Retirement;
use crate::{Config, Store};

const BATCH: u8 = 3;
const PART: u8 = 4;
const KNOWN: u8 = 5;
const LOST: u8 = 6;
const RETIRED: u8 = 7;
const WRITES: u8 = 8;

const G_COUNTER: u8 = Type::GCounter as u8;
const PN_COUNTER: u8 = Type::PnCounter as u8;
const G_SET: u8 = Type::GSet as u8;
const OR_SET: u8 = Type::OrSet as u8;

/// So many bytes of writes are joined together at most, beside [`TOGETHER`].
const TOGETHER_BYTES: usize = 1 << 20;

/// Bytes of a record of a checkpoint, about.
const PART_BYTES: usize = 256 << 10;

/// So many such records for each processor are read, and then joined side by side: enough that the
/// processors end at about the same time.
const PARTS_EACH: usize = 4;

/// And no more than so many bytes of them.
const PARTS_BYTES: usize = 16 << 20;

/// What recovery found.
#[derive(Debug)]
pub struct Recovery {
    /// The store, with its journal begun.
    pub store: Store,
    /// What was read.
    pub summary: RecoveredSummary,
    /// Why the node takes a new incarnation, if it does: a line for the log.
    pub renewed: Option<String>,
}

/// Makes a store of what is on `disk`, or a new one, and goes on writing there.
///
/// `config` says how a store of a writer is made; `random` gives random numbers.
///
/// # Errors
/// If the directory is not to be used; the error is the line to show.
pub fn recover(
    disk: &Arc<dyn Disk>,
    options: Options,
    config: impl Fn(ReplicaId) -> Config,
    mut random: impl FnMut() -> u64,
) -> Result<Recovery, OpenError> {
    // Who the writer is decides how the records are read, and is known for certain once they have
    // been. So they are read as what the writer nearly always is: who it was.
    let opened = Journal::open(Arc::clone(disk))?;
    let known_identity = opened.identity().cloned();
    let mut identity = known_identity.clone().unwrap_or_else(|| Identity::new(random(), random()));
    let mut replayed = replay(opened, config(ReplicaId(identity.replica)))?;
    let mut renewed = None;
    if known_identity.is_some()
        && let Err(why) = replayed.recovered.may_keep()
    {
        identity = identity.renewed(random());
        renewed = Some(why.to_string());
        drop(replayed);
        let opened = Journal::open(Arc::clone(disk))?;
        replayed = replay(opened, config(ReplicaId(identity.replica)))?;
    }
    let Replayed { store, recovered, saved } = replayed;
    let summary = recovered.summary.clone();
    let journal = recovered.start(identity, options)?;
    for function in saved {
        known(&journal, &function, &vec![(store.replica(), 1)]);
    }
    store.hooks.journal_to(journal);
    Ok(Recovery { store, summary, renewed })
}

/// What the records come to.
struct Replayed {
    store: Store,
    recovered: Recovered,
    /// The functions of which a repair has saved something.
    saved: Vec<Arc<Function>>,
}

/// Makes a store of the records.
fn replay(opened: journal::Recovery, config: Config) -> Result<Replayed, OpenError> {
    let store = Store::new(config);
    let mut replay = Replay::new(&store);
    let recovered = opened.replay(|kind, payload| replay.record(kind, payload))?;
    let refused = |what| OpenError::Refused { file: "journal".to_owned(), offset: 0, what };
    let saved = replay.finish().map_err(refused)?;
    Ok(Replayed { store, recovered, saved })
}

/// Saves what is good of a directory that no node uses, if something in it is damaged.
///
/// # Errors
/// It is in use, or cannot be read or written. What was there is then still there.
pub fn repair(disk: &Arc<dyn Disk>) -> Result<Report, OpenError> {
    journal::repair(disk, LOST)
}

/// Writes of one writer in one function that are joined together: their cache misses overlap.
#[derive(Default)]
struct Together {
    of: Option<(Arc<Function>, ReplicaId)>,
    changes: Vec<Change>,
    events: Vec<u64>,
    /// Of the records that they stand in.
    bytes: usize,
}

/// Parts of a checkpoint that are joined side by side.
struct Beside {
    processors: usize,
    parts: Vec<(Arc<Function>, Vec<u8>)>,
    bytes: usize,
}

impl Beside {
    fn new() -> Beside {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        Beside { processors, parts: Vec::new(), bytes: 0 }
    }

    /// None if it makes no sense, or one before does not.
    fn push(&mut self, function: Arc<Function>, message: &[u8]) -> Option<()> {
        if self.processors == 1 {
            return function.replay_changes(message);
        }
        self.bytes += message.len();
        self.parts.push((function, message.to_vec()));
        if self.parts.len() < self.processors * PARTS_EACH && self.bytes < PARTS_BYTES {
            return Some(());
        }
        self.join().ok()
    }

    fn join(&mut self) -> Result<(), String> {
        self.bytes = 0;
        let parts = mem::take(&mut self.parts);
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some((function, message)) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
                function.replay_changes(message)?;
            }
            Some(())
        };
        let sound = thread::scope(|scope| {
            let others: Vec<_> =
                (1..self.processors.min(parts.len())).map(|_| scope.spawn(work)).collect();
            let mine = work().is_some();
            let theirs =
                others.into_iter().map(|other| other.join().expect("no record makes it panic"));
            theirs.fold(mine, |all, one| all && one.is_some())
        });
        if sound { Ok(()) } else { Err("a record before this one makes no sense".to_owned()) }
    }
}

/// Records on their way into a store.
struct Replay<'a> {
    store: &'a Store,
    /// Some of what is being read is lost.
    lossy: bool,
    /// The functions of what was read then.
    saved: BTreeMap<Box<[u8]>, Arc<Function>>,
    writes: Together,
    parts: Beside,
    /// Events that were made, by function and writer: they may stand in another order than they were
    /// made in, and the last may be lost.
    made: BTreeMap<(Box<[u8]>, ReplicaId), Context>,
}

impl<'a> Replay<'a> {
    fn new(store: &'a Store) -> Replay<'a> {
        Replay {
            store,
            lossy: false,
            saved: BTreeMap::new(),
            writes: Together::default(),
            parts: Beside::new(),
            made: BTreeMap::new(),
        }
    }

    fn record(&mut self, kind: u8, payload: &[u8]) -> Result<(), String> {
        let mut from = Reader(payload);
        if kind != WRITES {
            self.join_writes();
        }
        if kind != PART {
            // What is known of all of a function counts once all of it is there.
            self.parts.join()?;
        }
        let done = match kind {
            LOST => from.byte().map(|begins| {
                self.lossy = begins == 1;
                self.writes.of = None;
            }),
            WRITES => self.writes(&mut from),
            BATCH | PART | KNOWN | RETIRED => self.of_function(kind, &mut from),
            other => return Err(format!("a record of unknown kind {other}")),
        };
        done.ok_or_else(|| format!("a record of kind {kind} that makes no sense"))
    }

    /// Reads writes; they are joined with those that follow.
    fn writes(&mut self, from: &mut Reader<'_>) -> Option<()> {
        let (name, writer) = (from.bytes()?, ReplicaId(from.u64()?));
        let function = match &self.writes.of {
            Some((function, of)) if function.name() == name && *of == writer => {
                Arc::clone(function)
            }
            _ => {
                self.join_writes();
                let function = self.function(name);
                self.writes.of = Some((Arc::clone(&function), writer));
                function
            }
        };
        let local = function.intern(writer)?;
        while !from.0.is_empty() {
            let before = from.0.len();
            let change = match from.varint()? {
                0 => self.short(local, from)?,
                events => {
                    for _ in 0..events {
                        self.writes.events.push(from.varint().filter(|seq| *seq <= SEQ_MAX)?);
                    }
                    let (object, held_name) = (from.bytes()?, from.bytes()?);
                    let (change, rest) = function.read_write(object, held_name, from.0)?;
                    from.0 = rest;
                    change
                }
            };
            self.writes.bytes += before - from.0.len();
            self.writes.changes.push(change);
            if self.writes.changes.len() >= TOGETHER || self.writes.bytes >= TOGETHER_BYTES {
                self.join_writes();
            }
        }
        Some(())
    }

    /// Reads a write that is told in short.
    fn short(&mut self, writer: Writer, from: &mut Reader<'_>) -> Option<Change> {
        let kind = from.byte()?;
        let seq = from.varint()?;
        let dot = Dot::new(writer, seq)?;
        let (object, name) = (from.bytes()?.into(), from.bytes()?.into());
        let entry = |from: &mut Reader<'_>| {
            let birth = seq.checked_sub(from.varint()?).filter(|birth| *birth > 0)?;
            let mut delta = CounterDelta::default();
            delta.note(Entry { dot, birth, p: from.varint()?, n: from.varint()?, floor: None });
            Some(delta)
        };
        let delta = match kind {
            G_COUNTER => Delta::GCounter(entry(from)?),
            PN_COUNTER => Delta::PnCounter(entry(from)?),
            G_SET => Delta::GSet(SetDelta::addition(from.bytes()?, dot)),
            OR_SET => Delta::OrSet(SetDelta::addition(from.bytes()?, dot)),
            _ => return None,
        };
        self.writes.events.push(seq);
        Some(Change { object, name, delta })
    }

    fn join_writes(&mut self) {
        let Together { of: Some((function, writer)), changes, events, .. } =
            mem::take(&mut self.writes)
        else {
            return;
        };
        function.replay_writes(changes);
        if !self.lossy {
            self.made(&function, writer, &events);
        }
        self.writes.of = Some((function, writer));
    }

    fn function(&mut self, name: &[u8]) -> Arc<Function> {
        let function = self.store.function(name);
        if self.lossy && !self.saved.contains_key(name) {
            self.saved.insert(Box::from(name), Arc::clone(&function));
        }
        function
    }

    fn of_function(&mut self, kind: u8, from: &mut Reader<'_>) -> Option<()> {
        let name = from.bytes()?;
        let function = self.function(name);
        match kind {
            BATCH => {
                let origin = ReplicaId(from.u64()?);
                let range = (from.varint()?, from.varint()?);
                if self.lossy {
                    function.replay_changes(from.0)?;
                } else {
                    function.replay_batch(origin, range, from.0)?;
                }
            }
            PART => {
                if from.byte()? == 0 {
                    return self.parts.push(function, from.0);
                }
                let whole = from.vector()?;
                self.parts.join().ok()?;
                function.replay_part(&whole, from.0)?;
            }
            RETIRED => {
                let by = (ReplicaId(from.u64()?), from.varint().filter(|seq| *seq <= SEQ_MAX)?);
                function.replay_retired(&Retirement { by, writers: from.vector()? })?;
            }
            _ => {
                let vector = from.vector()?;
                if self.lossy {
                    return Some(());
                }
                for (id, seq) in &vector {
                    let made = self.made.entry((Box::from(name), *id)).or_default();
                    made.raise(LOCAL, *seq);
                }
                function.replay_known(&vector)?;
            }
        }
        Some(())
    }

    /// Notes events that `writer` made: what is known of it grows as far as there is no gap.
    fn made(&mut self, function: &Function, writer: ReplicaId, events: &[u64]) {
        let made = self.made.entry((Box::from(function.name()), writer)).or_default();
        for seq in events {
            Dot::new(LOCAL, *seq).into_iter().for_each(|dot| made.insert(dot));
        }
        function.replay_known(&vec![(writer, made.upto(LOCAL))]);
    }

    /// Gives the functions of which a repair has saved something.
    fn finish(mut self) -> Result<Vec<Arc<Function>>, String> {
        self.join_writes();
        self.parts.join()?;
        for ((name, writer), made) in &self.made {
            let function = self.store.function(name);
            if *writer == self.store.replica() {
                // The own sequence goes on behind all that was ever made.
                let last = made.beyond().map(Dot::seq).max().unwrap_or(0);
                function.replay_known(&vec![(*writer, last.max(made.upto(LOCAL)))]);
            }
        }
        for function in self.saved.values() {
            function.replay_known(&vec![(self.store.replica(), 1)]);
        }
        for function in self.store.functions() {
            function.recovered();
        }
        Ok(self.saved.into_values().collect())
    }
}

/// Reads a record. Nothing is believed: a record's checksum says that it was written, not by whom.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn u64(&mut self) -> Option<u64> {
        let (n, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*n))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut n = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return None; // beyond 64 bits
            }
            n |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(n);
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.varint()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    fn vector(&mut self) -> Option<Vector> {
        let count = self.varint()?;
        let mut vector = Vector::new();
        for _ in 0..count {
            vector.push((ReplicaId(self.u64()?), self.varint().filter(|seq| *seq <= SEQ_MAX)?));
        }
        Some(vector)
    }
}

fn varint(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// What the records of what `writer` does in `function` begin with.
pub(crate) fn writes_head(function: &[u8], writer: ReplicaId) -> Box<[u8]> {
    let mut head = Vec::new();
    bytes(function, &mut head);
    head.extend_from_slice(&writer.0.to_le_bytes());
    head.into()
}

fn bytes(bytes: &[u8], out: &mut Vec<u8>) {
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn vector(vector: &Vector, out: &mut Vec<u8>) {
    varint(vector.len() as u64, out);
    for (id, seq) in vector {
        out.extend_from_slice(&id.0.to_le_bytes());
        varint(*seq, out);
    }
}

/// What the local writer does under a shard's lock, until that is let go of, as the record will say it.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    record: Vec<u8>,
    /// An event of it. Who changes something that another has changed has a greater one: both hold its
    /// lock when they mint it. So the journal's order is that of the changes.
    event: u64,
    /// Room for a change, kept.
    encoder: Encoder,
}

impl Writes {
    /// Room that is kept for the next record.
    const KEPT: usize = 4 << 10;
    /// A record is not made longer: its length has 32 bits. What a command may bring is limited far below
    /// (`client-query-buffer-limit`), so it takes an object of tens of millions of names to get here.
    const LONGEST: usize = 2 << 30;

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.record.is_empty()
    }

    /// Notes an update.
    pub(crate) fn push(
        &mut self,
        to: (&Journal, &Function),
        events: &[u64],
        key: (&[u8], &[u8]),
        delta: &Delta,
        writers: &Writers,
    ) {
        if let (Delta::GSet(set) | Delta::OrSet(set), [event]) = (delta, events)
            && let Some((element, dot)) = set.as_addition()
            && dot.seq() == *event
        {
            bytes(element, self.short(to, delta.kind(), *event, key));
            return;
        }
        let event = events.first().copied().expect("with a journal, each update has an event");
        let out = self.room(to, event);
        varint(events.len() as u64, out);
        events.iter().for_each(|seq| varint(*seq, out));
        bytes(key.0, out);
        bytes(key.1, out);
        delta.encode_with(&mut self.encoder, writers, &mut self.record);
    }

    /// Notes an update of a counter, of which the local writer's entry says all; none if the update
    /// has left it none.
    #[inline]
    pub(crate) fn count(
        &mut self,
        to: (&Journal, &Function),
        events: &[u64],
        key: (&[u8], &[u8]),
        (kind, entry): (Type, Option<Entry>),
        writers: &Writers,
    ) {
        let short = |entry: &Entry| entry.floor.is_none() && events == [entry.dot.seq()];
        let Some(Entry { dot, birth, p, n, .. }) = entry.filter(short) else {
            let mut delta = Delta::empty(kind);
            if let (Delta::GCounter(delta) | Delta::PnCounter(delta), Some(entry)) =
                (&mut delta, entry)
            {
                delta.note(entry);
            }
            return self.push(to, events, key, &delta, writers);
        };
        let out = self.short(to, kind, dot.seq(), key);
        varint(dot.seq() - birth, out);
        varint(p, out);
        varint(n, out);
    }

    /// Begins a write that is told in short.
    #[inline]
    fn short(
        &mut self,
        to: (&Journal, &Function),
        kind: Type,
        event: u64,
        (object, name): (&[u8], &[u8]),
    ) -> &mut Vec<u8> {
        let out = self.room(to, event);
        out.extend_from_slice(&[0, kind as u8]);
        varint(event, out);
        bytes(object, out);
        bytes(name, out);
        out
    }

    #[inline]
    fn room(&mut self, (journal, function): (&Journal, &Function), event: u64) -> &mut Vec<u8> {
        if self.record.len() > Writes::LONGEST {
            self.journal(journal, function);
        }
        if self.record.is_empty() {
            self.event = event;
        }
        &mut self.record
    }

    /// Takes over what `other` has noted of the same function, unless that is too long for one record.
    pub(crate) fn take(&mut self, other: &mut Writes) {
        if self.record.is_empty() {
            mem::swap(&mut self.record, &mut other.record);
            self.event = other.event;
        } else if self.record.len() + other.record.len() <= Writes::LONGEST {
            self.record.extend_from_slice(&other.record);
            other.empty();
        }
    }

    /// Adds to the journal what is noted.
    #[inline]
    pub(crate) fn journal(&mut self, journal: &Journal, function: &Function) {
        journal.add(WRITES, function.writes_head(), self.event, &self.record);
        self.empty();
    }

    fn empty(&mut self) {
        self.record.clear();
        self.record.shrink_to(Writes::KEPT);
    }
}

pub(crate) fn batch(
    journal: &Journal,
    function: &Function,
    origin: ReplicaId,
    (first, last): (u64, u64),
    message: &[u8],
) {
    journal.append(BATCH, |out| {
        bytes(function.name(), out);
        out.extend_from_slice(&origin.0.to_le_bytes());
        varint(first, out);
        varint(last, out);
        out.extend_from_slice(message);
    });
}

pub(crate) fn part(journal: &Journal, function: &Function, whole: Option<&Vector>, message: &[u8]) {
    journal.append(PART, |out| part_record(function, whole, message, out));
}

fn part_record(function: &Function, whole: Option<&Vector>, message: &[u8], out: &mut Vec<u8>) {
    bytes(function.name(), out);
    out.push(u8::from(whole.is_some()));
    if let Some(whole) = whole {
        vector(whole, out);
    }
    out.extend_from_slice(message);
}

pub(crate) fn known(journal: &Journal, function: &Function, known: &Vector) {
    journal.append(KNOWN, |out| known_record(function, known, out));
}

pub(crate) fn retired(journal: &Journal, function: &Function, retirement: &Retirement) {
    journal.append(RETIRED, |out| retired_record(function, retirement, out));
}

fn retired_record(function: &Function, retirement: &Retirement, out: &mut Vec<u8>) {
    bytes(function.name(), out);
    out.extend_from_slice(&retirement.by.0.0.to_le_bytes());
    varint(retirement.by.1, out);
    vector(&retirement.writers, out);
}

fn known_record(function: &Function, known: &Vector, out: &mut Vec<u8>) {
    bytes(function.name(), out);
    vector(known, out);
}

impl Store {
    /// The journal; none if the store is in memory alone.
    #[must_use]
    pub fn journal(&self) -> Option<&Journal> {
        self.hooks.journal()
    }

    /// Makes what has been changed outlive the process, and under `always` the machine: to be called
    /// before anybody is told. Blocks.
    ///
    /// # Errors
    /// It could not be written.
    pub fn commit(&self) -> Result<(), Failed> {
        let Some(journal) = self.journal() else { return Ok(()) };
        let position = journal.appended();
        match journal.policy() {
            SyncPolicy::Always => journal.wait_synced(position),
            _ => journal.commit(position),
        }
    }

    /// Writes a checkpoint while changes go on; older segments go. None if there is no journal.
    ///
    /// # Errors
    /// It could not be written; then the older files stay.
    pub fn checkpoint(&self) -> Result<Option<CheckpointSummary>, Failed> {
        let Some(journal) = self.journal() else { return Ok(None) };
        let mut checkpoint = journal.begin()?;
        for function in self.functions() {
            // Read before the walk: whatever it covers is there to be walked over.
            let known = function.token();
            function.export_pieces(PART_BYTES, |message| {
                checkpoint.put(PART, |out| part_record(&function, None, message, out))
            })?;
            for retirement in function.retirements() {
                checkpoint.put(RETIRED, |out| retired_record(&function, &retirement, out))?;
            }
            checkpoint.put(KNOWN, |out| known_record(&function, &known, out))?;
        }
        checkpoint.finish().map(Some)
    }
}

/// The events of one update, one nearly always.
pub(crate) type Made = smallvec::SmallVec<[u64; 2]>;

#[cfg(test)]
mod tests;
