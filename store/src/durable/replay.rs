//! From records to a store.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use miso_crdt::{
    Change, Context, CounterDelta, Delta, Dot, Entry, ReplicaId, SEQ_MAX, SetDelta, Type, Writer,
};

use super::records::{BATCH, KNOWN, LOST, PART, RETIRED, Reader, WRITES};
use crate::config::Config;
use crate::function::Function;
use crate::joining::{LOCAL, Retirement};
use crate::journal::{self, OpenError, Recovered};
use crate::replica::REPLAY_BATCH;
use crate::store::Store;

const G_COUNTER: u8 = Type::GCounter as u8;
const PN_COUNTER: u8 = Type::PnCounter as u8;
const G_SET: u8 = Type::GSet as u8;
const OR_SET: u8 = Type::OrSet as u8;

/// At most this many bytes of writes are joined together, and at most [`REPLAY_BATCH`] changes.
const REPLAY_BATCH_BYTES: usize = 1 << 20;

/// This many parts of a checkpoint for each processor are read, and then joined concurrently: enough
/// that the processors end at about the same time.
const PARTS_EACH: usize = 4;

/// At most this many bytes of parts are read before they are joined.
const PARTS_BYTES: usize = 16 << 20;

/// What the records come to.
pub(crate) struct Replayed {
    pub(crate) store: Store,
    pub(crate) recovered: Recovered,
    /// The functions of which a repair has saved something.
    pub(crate) saved: Vec<Arc<Function>>,
}

/// Makes a store of the records.
pub(crate) fn replay(
    opened: journal::Recovery,
    config: Config,
    processors: usize,
) -> Result<Replayed, OpenError> {
    let store = Store::new(config);
    let mut replay = Replay::new(&store, processors);
    let recovered = opened.replay(|kind, payload| replay.record(kind, payload))?;
    let refused = |what| OpenError::Refused { file: "journal".to_owned(), offset: 0, what };
    let saved = replay.finish().map_err(refused)?;
    Ok(Replayed { store, recovered, saved })
}

/// Writes of one writer in one function that are joined together: their cache misses overlap.
#[derive(Default)]
struct ReplayBatch {
    of: Option<(Arc<Function>, ReplicaId)>,
    changes: Vec<Change>,
    events: Vec<u64>,
    /// Of the records that they stand in.
    bytes: usize,
}

/// Parts of a checkpoint that are joined concurrently.
struct ParallelJoin {
    processors: usize,
    parts: Vec<(Arc<Function>, Vec<u8>)>,
    bytes: usize,
}

impl ParallelJoin {
    fn new(processors: usize) -> ParallelJoin {
        ParallelJoin { processors, parts: Vec::new(), bytes: 0 }
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
pub(crate) struct Replay<'a> {
    store: &'a Store,
    /// Some of what is being read is lost.
    lossy: bool,
    /// The functions of what was read then.
    saved: BTreeMap<Box<[u8]>, Arc<Function>>,
    writes: ReplayBatch,
    parts: ParallelJoin,
    /// Events that were made, by function and writer: they may stand in another order than they were
    /// made in, and the last may be lost.
    made: BTreeMap<(Box<[u8]>, ReplicaId), Context>,
}

impl<'a> Replay<'a> {
    pub(crate) fn new(store: &'a Store, processors: usize) -> Replay<'a> {
        Replay {
            store,
            lossy: false,
            saved: BTreeMap::new(),
            writes: ReplayBatch::default(),
            parts: ParallelJoin::new(processors),
            made: BTreeMap::new(),
        }
    }

    pub(crate) fn record(&mut self, kind: u8, payload: &[u8]) -> Result<(), String> {
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
            if self.writes.changes.len() >= REPLAY_BATCH || self.writes.bytes >= REPLAY_BATCH_BYTES
            {
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

    pub(crate) fn join_writes(&mut self) {
        let ReplayBatch { of: Some((function, writer)), changes, events, .. } =
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
    pub(crate) fn finish(mut self) -> Result<Vec<Arc<Function>>, String> {
        self.join_writes();
        self.parts.join()?;
        for ((name, writer), made) in &self.made {
            let function = self.store.function(name);
            if *writer == self.store.replica() {
                // The own sequence goes on after all that was ever made.
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
