//! A function as a replica of others: what goes out, what comes in, and what is known.
//!
//! Everything here is done by one replicator at a time, under the function's *joining* lock, which
//! is taken before any shard's and never by commands; so commands wait only for the short while
//! that one shard is joined into or copied from. The rules are those that `crdt/tests/model.rs`
//! shows to be needed.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use miso_crdt::batch::{self, Reading, digest_of};
use miso_crdt::{
    Change, Changes, Context, DecodeError, Delta, Dot, ReplicaId, SEQ_MAX, Seen, Type, Value,
    Writer, Writers,
};
use parking_lot::MutexGuard;

use crate::durable;
use crate::function::{Function, LOCAL};
use crate::object::Object;
use crate::pending;
use crate::removals::{RemovalLog, Removals};
use crate::retire::Retired;
use crate::shard::{AHEAD, Shard};

/// A causal vector as nodes exchange it.
pub type Vector = Vec<(ReplicaId, u64)>;

/// The longest object id and name that a peer may send: the longest that a client may.
const LONGEST: usize = 512 << 20;

/// This many changes are joined, or objects copied, before commands get at the shard again.
const TURN: usize = 256;

/// An object with more names, or with a value of more elements, goes into a checkpoint in pieces of
/// about so many: a shard is not locked for longer than one takes.
const PIECE: usize = 4096;

/// How many changes recovery joins together: enough that their cache misses overlap in each shard, and
/// so few that they stay near.
pub(crate) const TOGETHER: usize = 512;

/// What replication keeps of a function beside its objects.
#[derive(Debug)]
pub(crate) struct Joining {
    /// All writers met; the shards have copies.
    pub(crate) writers: Writers,
    /// How many of them the shards have.
    shared: usize,
    /// The local writer's newest event that a batch has told of.
    pub(crate) sent: u64,
    log: RemovalLog,
    /// What each writer has said, in its own stream, that it has applied.
    pub(crate) words: HashMap<Writer, Context>,
    /// The writers that will never count again.
    pub(crate) retired: Retired,
}

impl Joining {
    pub(crate) fn new(writers: Writers) -> Joining {
        let shared = writers.len();
        Joining {
            writers,
            shared,
            sent: 0,
            log: RemovalLog::default(),
            words: HashMap::new(),
            retired: Retired::default(),
        }
    }
}

/// A batch of the local writer's: its events `first ..= last`, and nothing else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outgoing {
    /// The first event.
    pub first: u64,
    /// The last event.
    pub last: u64,
    /// How many values it changes.
    pub changes: usize,
    /// As [`miso_crdt::batch`] says.
    pub message: Bytes,
}

/// What joining did.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Joined {
    /// Values named.
    pub named: usize,
    /// Values that are different now.
    pub changed: usize,
}

/// Why a message was not applied. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// Its events are known here already.
    Known,
    /// Events before it are not known here; the first that is missing.
    Gap(u64),
    /// Its writer is retired: nothing more can come of it.
    Retired,
    /// It cannot be right.
    Malformed(&'static str),
    /// It cannot be read.
    Unreadable(DecodeError),
}

impl From<DecodeError> for Refused {
    fn from(error: DecodeError) -> Refused {
        Refused::Unreadable(error)
    }
}

/// What a joined change's author knew beyond what it says.
#[derive(Clone, Copy)]
enum Claim<'a> {
    /// Nothing.
    Delta,
    /// What this covers and the change does not name is gone, unless the change says otherwise.
    Whole(&'a Context),
}

/// What of one value is known here, its shard being locked.
struct Here<'a> {
    vector: &'a Context,
    own: u64,
    ahead: Option<&'a Context>,
    pending: Option<Context>,
}

impl Seen for Here<'_> {
    fn seen(&self, dot: Dot) -> bool {
        let own = dot.writer() == LOCAL && dot.seq() <= self.own;
        own || self.vector.seen(dot)
            || self.ahead.is_some_and(|ahead| ahead.seen(dot))
            || self.pending.seen(dot)
    }
}

/// The objects of which a [`Function::export_buckets`] is to tell.
#[derive(Clone, Debug)]
pub struct Buckets {
    /// How many there are in all, a power of two.
    pub of: usize,
    /// Which of them.
    pub which: HashSet<u32>,
}

impl Buckets {
    fn has(&self, object: &[u8]) -> bool {
        self.which.contains(&bucket(object, self.of))
    }
}

/// Which of `of` buckets an object belongs to: the same on every node.
fn bucket(object: &[u8], of: usize) -> u32 {
    (digest_of(object, 1) & (of as u64 - 1)) as u32
}

/// The values that some parts of a sync named; by digests of 128 bits, which do not collide by chance.
#[derive(Debug, Default)]
pub struct Named(HashSet<u128>);

impl Named {
    fn key(object: &[u8], name: &[u8], kind: Type) -> u128 {
        let object = digest_of(object, kind as u64);
        let high = digest_of(name, object);
        let low = digest_of(name, object.rotate_left(32) ^ 0x9e37_79b9_7f4a_7c15);
        u128::from(high) << 64 | u128::from(low)
    }
}

impl Function {
    /// What is known here, as it may be told to peers: of the local writer's events only those that
    /// batches have told of.
    #[must_use]
    pub fn vector(&self) -> Vector {
        let joining = self.joining.lock();
        self.vector_under(&joining)
    }

    fn vector_under(&self, joining: &Joining) -> Vector {
        let own = (joining.writers.id(LOCAL).unwrap_or(ReplicaId(0)), joining.sent);
        let known = self.known();
        let others = known.vector().filter_map(|(w, seq)| Some((joining.writers.id(w)?, seq)));
        std::iter::once(own).chain(others).filter(|(_, seq)| *seq > 0).collect()
    }

    /// All that a client that reads here has seen: a token for [`Function::covers`] elsewhere.
    #[must_use]
    pub fn token(&self) -> Vector {
        let seq = self.seq();
        let joining = self.joining.lock();
        let mut vector = self.vector_under(&joining);
        let own = joining.writers.id(LOCAL).unwrap_or(ReplicaId(0));
        vector.retain(|(id, _)| *id != own);
        if seq > 0 {
            vector.insert(0, (own, seq));
        }
        vector
    }

    /// The number up to which all events of `id` are known here.
    #[must_use]
    pub fn upto(&self, id: ReplicaId) -> u64 {
        let joining = self.joining.lock();
        match joining.writers.index(id) {
            Some(LOCAL) => self.seq(),
            Some(writer) => self.known().upto(writer),
            None => 0,
        }
    }

    /// The events of `vector` that are not known here, as the writers and the numbers that it says.
    #[must_use]
    pub fn lacks(&self, vector: &[(ReplicaId, u64)]) -> Vector {
        let joining = self.joining.lock();
        let known = self.known();
        let lacks = |(id, seq): &&(ReplicaId, u64)| match joining.writers.index(*id) {
            Some(LOCAL) => self.seq() < *seq,
            Some(writer) => known.upto(writer) < *seq,
            None => *seq > 0,
        };
        vector.iter().filter(lacks).copied().collect()
    }

    /// Whether all events of `vector` are known here.
    #[must_use]
    pub fn covers(&self, vector: &[(ReplicaId, u64)]) -> bool {
        self.lacks(vector).is_empty()
    }

    /// The newest own event that a batch has told of.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.joining.lock().sent
    }

    /// How many bytes the removal log takes.
    #[must_use]
    pub fn removal_log_bytes(&self) -> usize {
        self.joining.lock().log.bytes()
    }

    /// How many values are known of beyond the vector: removals that came before what they remove.
    #[must_use]
    pub fn ahead_count(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().ahead.len()).sum()
    }

    /// How many counters and maps keep floors, until their writers have said that they know.
    #[must_use]
    pub fn floored_count(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().floored.len()).sum()
    }

    /// Starts to gather what changes, for a replicator; what is there already, it gets by a sync.
    pub fn track(&self) {
        let mut joining = self.joining.lock();
        // One cut: an event is before the start in all shards, or in none.
        let mut shards: Vec<_> = self.shards.iter().map(|shard| shard.lock()).collect();
        if shards.iter().all(|shard| shard.tracked) {
            return;
        }
        let seq = self.seq();
        shards.iter_mut().for_each(|shard| {
            shard.track(seq);
            // What was deleted while nobody asked was noted nowhere.
            shard.find_floors();
        });
        joining.sent = seq;
        joining.log.lacks(LOCAL, seq);
    }

    /// Takes what changed since the last call: one change per value, whatever the number of updates,
    /// and exactly the events after the last batch; none if there are no such events.
    pub fn take_batch(&self) -> Option<Outgoing> {
        let mut joining = self.joining.lock();
        // Before the cut: whoever writes behind it says so again.
        self.dirty.store(false, Ordering::SeqCst);
        // One cut through all shards, in ascending order: a batch that held an event beyond its
        // range would lose it for good with a batch that is lost, since the next range says nothing
        // of it. Under the locks nothing is done but to set the gathered changes aside.
        let (last, taken) = {
            let mut shards: Vec<_> = self.shards.iter().map(|shard| shard.lock()).collect();
            let last = self.seq();
            let taken: Vec<_> = shards.iter_mut().map(|shard| shard.cut(last)).collect();
            (last, taken)
        };
        let first = joining.sent + 1;
        if last < first {
            return None;
        }
        let known = self.known();
        let (mut changes, mut removals) = (Changes::new(), Changes::new());
        for (shard, taken) in self.shards.iter().zip(taken) {
            if taken.is_empty() {
                continue;
            }
            let mut shard = shard.lock();
            shard.collect_changes(LOCAL, taken, |shard, object, name, delta| {
                changes.push(object, name, delta);
                if let Some(gone) =
                    shard.note_removals((&known, last), (LOCAL, last), object, name, delta)
                {
                    removals.push(object, name, &gone);
                }
            });
        }
        joining.sent = last;
        self.log_removals(&mut joining, (LOCAL, last), removals);
        let count = changes.len();
        let message = Bytes::from(changes.finish(&joining.writers));
        Some(Outgoing { first, last, changes: count, message })
    }

    fn log_removals(&self, joining: &mut Joining, (origin, last): (Writer, u64), gone: Changes) {
        if !gone.is_empty() {
            let message = Bytes::from(gone.finish(&joining.writers));
            joining.log.push(Removals { origin, last, message }, self.log_limit);
        }
    }

    /// Reads a message, and makes the writers that it names known to all shards.
    fn read(&self, joining: &mut Joining, message: &[u8]) -> Result<Vec<Change>, Refused> {
        let changes = batch::read(message, LONGEST, &mut joining.writers)?;
        self.share_writers(joining);
        Ok(changes)
    }

    pub(crate) fn share_writers(&self, joining: &mut Joining) {
        if joining.writers.len() > joining.shared {
            joining.shared = joining.writers.len();
            let shared = Arc::new(joining.writers.clone());
            self.shards.iter().for_each(|shard| shard.lock().set_writers(Arc::clone(&shared)));
        }
    }

    /// A vector of a peer in local numbers.
    pub(crate) fn context_of(
        &self,
        joining: &mut Joining,
        vector: &Vector,
    ) -> Result<Context, Refused> {
        let mut context = Context::new();
        for (id, seq) in vector {
            if *seq > SEQ_MAX {
                return Err(Refused::Malformed("sequence number"));
            }
            let writer = joining.writers.intern(*id).ok_or(DecodeError::TooManyWriters)?;
            context.raise(writer, *seq);
        }
        self.share_writers(joining);
        Ok(context)
    }

    /// Joins a batch: all events `first ..= last` of `origin`.
    ///
    /// # Errors
    /// If it is known, does not follow what is known, or is malformed; then nothing was changed.
    pub fn join_batch(
        &self,
        id: ReplicaId,
        (first, last): (u64, u64),
        message: &[u8],
    ) -> Result<Joined, Refused> {
        if first == 0 || first > last || last > SEQ_MAX {
            return Err(Refused::Malformed("range"));
        }
        let mut joining = self.joining.lock();
        let origin = joining.writers.intern(id).ok_or(DecodeError::TooManyWriters)?;
        if origin == LOCAL {
            return Err(Refused::Malformed("origin: it is this node"));
        }
        let upto = self.known().upto(origin);
        if last <= upto {
            return Err(Refused::Known);
        }
        if joining.retired.has(origin, last) {
            return Err(Refused::Retired);
        }
        if first > upto + 1 {
            return Err(Refused::Gap(upto + 1));
        }
        self.share_writers(&mut joining);
        let changes = self.read(&mut joining, message)?;
        let (joined, gone) = self.join(&joining, changes, Claim::Delta, (origin, last));
        if let Some(journal) = self.hooks.journal() {
            durable::batch(journal, self, id, (first, last), message);
        }
        self.log_removals(&mut joining, (origin, last), gone);
        self.raise(origin, last);
        Ok(joined)
    }

    /// Joins changes that a peer has put together, of any events: a part of a sync, or values
    /// fetched. What is known does not grow by it; see [`Function::finish_sync`].
    ///
    /// # Errors
    /// If it is malformed; then nothing was changed.
    pub fn join_changes(&self, message: &[u8]) -> Result<Joined, Refused> {
        let mut joining = self.joining.lock();
        let changes = self.read(&mut joining, message)?;
        self.journal_part(None, message);
        Ok(self.join(&joining, changes, Claim::Delta, (LOCAL, 0)).0)
    }

    /// Joins what a peer's removal log says of a batch of `origin` up to `last`; see
    /// [`Function::removals_since`].
    ///
    /// # Errors
    /// If it is malformed; then nothing was changed.
    pub fn join_removals(
        &self,
        origin: ReplicaId,
        last: u64,
        message: &[u8],
    ) -> Result<Joined, Refused> {
        if last == 0 || last > SEQ_MAX {
            return Err(Refused::Malformed("sequence number"));
        }
        let mut joining = self.joining.lock();
        let origin = joining.writers.intern(origin).ok_or(DecodeError::TooManyWriters)?;
        self.share_writers(&mut joining);
        let changes = self.read(&mut joining, message)?;
        self.journal_part(None, message);
        let (joined, gone) = self.join(&joining, changes, Claim::Delta, (LOCAL, 0));
        // What this node took away itself, and what it knows, is in its own log.
        if origin != LOCAL && self.known().upto(origin) < last {
            self.log_removals(&mut joining, (origin, last), gone);
        }
        Ok(joined)
    }

    /// Joins what a part of some buckets' whole content holds, and nothing of what it lacks: that
    /// counts once all parts are here, see [`Function::join_whole`]. Until then an older batch may
    /// come that the sender knew, and would bring back what a part said is gone. `named` gathers the
    /// values that the parts name. Answers as well whether any was here already.
    ///
    /// # Errors
    /// If it is malformed; then nothing was changed.
    pub fn join_part(&self, message: &[u8], named: &mut Named) -> Result<(Joined, bool), Refused> {
        let mut joining = self.joining.lock();
        let changes = self.read(&mut joining, message)?;
        self.journal_part(None, message);
        let here = |change: &Change| {
            let shard = self.shards[self.shard_index(&change.object)].lock();
            let slot = shard.objects().get(&change.object).and_then(|o| o.get(&change.name));
            slot.is_some()
        };
        let any_here = changes.iter().any(here);
        let keys = changes.iter().map(|c| Named::key(&c.object, &c.name, c.delta.kind()));
        named.0.extend(keys);
        Ok((self.join(&joining, changes, Claim::Delta, (LOCAL, 0)).0, any_here))
    }

    /// Joins a part again, this time as all there is of what it names: what `vector` covers and a
    /// value does not hold is gone from it.
    ///
    /// # Errors
    /// If it is malformed; then nothing was changed.
    pub fn join_whole(&self, vector: &Vector, message: &[u8]) -> Result<Joined, Refused> {
        let mut joining = self.joining.lock();
        let context = self.context_of(&mut joining, vector)?;
        let changes = self.read(&mut joining, message)?;
        self.journal_part(Some(vector), message);
        Ok(self.join(&joining, changes, Claim::Whole(&context), (LOCAL, 0)).0)
    }

    /// Ends a sync by buckets: values of `buckets` that no part named are gone, as far as `vector`
    /// covers them. How many changed.
    ///
    /// # Errors
    /// If the vector is malformed; then nothing was changed.
    pub fn drop_unnamed(
        &self,
        vector: &Vector,
        buckets: &Buckets,
        named: &Named,
    ) -> Result<usize, Refused> {
        let mut joining = self.joining.lock();
        let context = self.context_of(&mut joining, vector)?;
        let mut unnamed = Vec::new();
        for shard in &self.shards {
            let mut cursor = 0;
            loop {
                cursor = shard.lock().objects().scan(cursor, TURN, |object, held| {
                    if !buckets.has(object) {
                        return;
                    }
                    for (name, slot) in held.all() {
                        for value in slot.values() {
                            if !named.0.contains(&Named::key(object, name, value.kind())) {
                                let delta = Delta::empty(value.kind());
                                unnamed.push(Change {
                                    object: object.into(),
                                    name: name.into(),
                                    delta,
                                });
                            }
                        }
                    }
                });
                if cursor == 0 {
                    break;
                }
            }
        }
        if self.hooks.journal().is_some() && !unnamed.is_empty() {
            let mut changes = Changes::new();
            unnamed.iter().for_each(|c| changes.push(&c.object, &c.name, &c.delta));
            self.journal_part(Some(vector), &changes.finish(&joining.writers));
        }
        // The context is the vector that is known next, so nothing need be remembered ahead of it.
        Ok(self.join(&joining, unnamed, Claim::Whole(&context), (LOCAL, 0)).0.changed)
    }

    /// Ends a sync: all events of `vector` are applied here. `complete` says that the removals among
    /// them have come by way of a log, so this node's log has them as well.
    ///
    /// # Errors
    /// If the vector is malformed; then nothing was changed.
    pub fn finish_sync(&self, vector: &Vector, complete: bool) -> Result<(), Refused> {
        let mut joining = self.joining.lock();
        let context = self.context_of(&mut joining, vector)?;
        if let Some(journal) = self.hooks.journal() {
            durable::known(journal, self, vector);
        }
        let known = self.known();
        for (writer, seq) in context.vector().filter(|(writer, _)| *writer != LOCAL) {
            if seq > known.upto(writer) {
                if !complete {
                    joining.log.lacks(writer, seq);
                }
                self.raise(writer, seq);
            }
        }
        drop(joining);
        self.tidy();
        Ok(())
    }

    /// Journals changes that no batch brought. Before they are joined, under the joining lock: what
    /// is recovered may then know more than was known, and never less.
    fn journal_part(&self, whole: Option<&Vector>, message: &[u8]) {
        if let Some(journal) = self.hooks.journal() {
            durable::part(journal, self, whole, message);
        }
    }

    /// Reads what the local writer, or a former one of this node, did to one value; gives as well what
    /// stands behind that in `message`.
    pub(crate) fn read_write<'a>(
        &self,
        object: &[u8],
        name: &[u8],
        message: &'a [u8],
    ) -> Option<(Change, &'a [u8])> {
        let mut joining = self.joining.lock();
        let (delta, rest) = Delta::decode_first(message, &mut joining.writers).ok()?;
        self.share_writers(&mut joining);
        Some((Change { object: object.into(), name: name.into(), delta }, rest))
    }

    /// The number that a writer of the journal has here.
    pub(crate) fn intern(&self, writer: ReplicaId) -> Option<Writer> {
        let mut joining = self.joining.lock();
        let writer = joining.writers.intern(writer);
        self.share_writers(&mut joining);
        writer
    }

    /// Joins again what [`Function::read_write`] has read.
    pub(crate) fn replay_writes(&self, changes: Vec<Change>) {
        let joining = self.joining.lock();
        self.join(&joining, changes, Claim::Delta, (LOCAL, 0));
    }

    pub(crate) fn replay_batch(
        &self,
        origin: ReplicaId,
        (first, last): (u64, u64),
        message: &[u8],
    ) -> Option<()> {
        match self.join_batch(origin, (first, last), message) {
            // Known from a checkpoint. A gap: where damage was repaired; the stream fills it.
            Ok(_) | Err(Refused::Known | Refused::Gap(_) | Refused::Retired) => Some(()),
            Err(_) => None,
        }
    }

    pub(crate) fn replay_part(&self, whole: &Vector, message: &[u8]) -> Option<()> {
        self.join_whole(whole, message).ok().map(drop)
    }

    /// Joins changes a few at a time: what has just been read is near, and one object's names may be
    /// a million. Others may do the same meanwhile, if nothing else is done.
    pub(crate) fn replay_changes(&self, message: &[u8]) -> Option<()> {
        let mut reading = {
            let mut joining = self.joining.lock();
            let reading = Reading::open(message, LONGEST, &mut joining.writers).ok()?;
            self.share_writers(&mut joining);
            reading
        };
        loop {
            let mut changes = Vec::new();
            while changes.len() < TOGETHER
                && let Some(change) = reading.read_next().ok()?
            {
                changes.push(change);
            }
            if changes.is_empty() {
                return Some(());
            }
            self.join_beside(changes, Claim::Delta, (LOCAL, 0));
        }
    }

    /// Knows all events of `vector`, the local writer's too.
    pub(crate) fn replay_known(&self, vector: &Vector) -> Option<()> {
        let mut joining = self.joining.lock();
        let context = self.context_of(&mut joining, vector).ok()?;
        for (writer, seq) in context.vector() {
            if writer == LOCAL {
                self.seq_at_least(seq);
            } else {
                self.raise(writer, seq);
            }
        }
        Some(())
    }

    /// All records have been read. What was not sent when they were written is not gathered again;
    /// peers that lack it find out by what is known here, and pull.
    pub(crate) fn recovered(&self) {
        let mut joining = self.joining.lock();
        let known = self.known();
        joining.sent = self.seq();
        joining.log = RemovalLog::default();
        joining.log.lacks(LOCAL, self.seq());
        known.vector().for_each(|(writer, seq)| joining.log.lacks(writer, seq));
        // Peers may have seen all of it.
        self.shards.iter().for_each(|shard| shard.lock().flushed = self.seq());
        drop(joining);
        self.tidy();
        self.collect();
    }

    /// Forgets what is remembered of single values and is now common knowledge. Linear in the
    /// number of values known of ahead, which is small but while a sync goes on.
    pub fn tidy(&self) {
        let _joining = self.joining.lock();
        let known = self.known();
        for shard in &self.shards {
            let mut shard = shard.lock();
            if !shard.ahead.is_empty() {
                let own = self.seq();
                shard.ahead.retain(|_, ahead| {
                    ahead.forget(|writer| if writer == LOCAL { own } else { known.upto(writer) });
                    !ahead.is_empty()
                });
            }
        }
    }

    /// Joins changes, those of an object under one lock. Answers what was done, and what `event`
    /// took away, for the log.
    fn join(
        &self,
        _: &Joining,
        changes: Vec<Change>,
        claim: Claim<'_>,
        event: (Writer, u64),
    ) -> (Joined, Changes) {
        self.join_beside(changes, claim, event)
    }

    /// As [`Function::join`], for who knows that nothing else becomes known meanwhile.
    fn join_beside(
        &self,
        changes: Vec<Change>,
        claim: Claim<'_>,
        event: (Writer, u64),
    ) -> (Joined, Changes) {
        let mut joined = Joined { named: changes.len(), changed: 0 };
        let mut gone = Changes::new();
        let known = self.known();
        let observer = self.hooks.observer().filter(|observer| observer.listens());
        let mut heard: Vec<(usize, Type)> = Vec::new();
        let mut by_shard: Vec<(usize, u64, usize)> = (0..)
            .zip(&changes)
            .map(|(at, change)| {
                let hash = crate::hash(&change.object);
                (self.shard_of(hash), hash, at)
            })
            .collect();
        // An object's changes together, in their order.
        by_shard.sort_unstable();
        let mut rest = by_shard.as_slice();
        while let Some((which, ..)) = rest.first().copied() {
            let mut shard = self.shards[which].lock();
            let mut left = TURN;
            let mut near = 0;
            let mut before: Option<&[u8]> = None;
            let mut objects = 0;
            while let Some(((shard_of, hash, at), behind)) = rest.split_first() {
                let change = &changes[*at];
                let within = before == Some(&*change.object);
                if *shard_of != which || (left == 0 && !within) {
                    break;
                }
                if near == 0 && behind.first().is_some_and(|(shard_of, ..)| *shard_of == which) {
                    let next = rest.iter().take(AHEAD).map(|(_, hash, at)| (*hash, &changes[*at]));
                    shard.bring_near(next);
                    near = AHEAD;
                }
                near = near.saturating_sub(1);
                left = left.saturating_sub(1);
                rest = behind;
                before = Some(&change.object);
                let (object, name) = (&*change.object, &*change.name);
                let seen = (&*known, self.seq());
                let changed = shard.join(&mut objects, seen, *hash, change, claim);
                if let Some(removed) =
                    shard.note_removals((&known, self.seq()), event, object, name, &change.delta)
                {
                    gone.push(object, name, &removed);
                }
                if changed {
                    joined.changed += 1;
                    shard.changed(object);
                    if observer.is_some() {
                        heard.push((*at, change.delta.kind()));
                    }
                }
            }
            // All at once: others that join want to count, too.
            self.count_objects(objects);
        }
        if let Some(observer) = observer {
            for (at, kind) in heard {
                observer.changed(self, &changes[at].object, &changes[at].name, kind);
            }
        }
        (joined, gone)
    }

    /// What is known of others' events. Cheap: a shared copy.
    pub(crate) fn known(&self) -> Arc<Context> {
        Arc::clone(&self.vector.lock())
    }

    fn raise(&self, writer: Writer, seq: u64) {
        Arc::make_mut(&mut *self.vector.lock()).raise(writer, seq);
    }

    /// Whether a peer that knows `known` can be told what it lacks by [`Function::export`] and
    /// [`Function::removals_since`]: else by buckets.
    ///
    /// # Errors
    /// If the vector is malformed.
    pub fn log_reaches(&self, known: &Vector) -> Result<bool, Refused> {
        let mut joining = self.joining.lock();
        let known = self.context_of(&mut joining, known)?;
        Ok(joining.log.reaches(&known))
    }

    /// What has gone since `known`: messages with their origins and last events, for
    /// [`Function::join_removals`].
    ///
    /// # Errors
    /// If the vector is malformed.
    pub fn removals_since(&self, known: &Vector) -> Result<Vec<(ReplicaId, u64, Bytes)>, Refused> {
        let mut joining = self.joining.lock();
        let known = self.context_of(&mut joining, known)?;
        let id = |writer| joining.writers.id(writer).unwrap_or(ReplicaId(0));
        let log = joining.log.since(&known);
        Ok(log.map(|gone| (id(gone.origin), gone.last, gone.message.clone())).collect())
    }

    /// What of the present a peer lacks that knows `known`: about `budget` bytes from `cursor` on (0
    /// begins), and the cursor to go on from, 0 at the end.
    ///
    /// # Errors
    /// If the vector is malformed.
    pub fn export(
        &self,
        known: &Vector,
        cursor: u64,
        budget: usize,
    ) -> Result<(Bytes, u64), Refused> {
        let mut joining = self.joining.lock();
        let known = self.context_of(&mut joining, known)?;
        let every = |_: &[u8], _: Option<&Object>| true;
        Ok(self.walk(&joining, cursor, budget, every, |value| value.since(&known)))
    }

    /// All that is present, in messages of about `budget` bytes and more, for a checkpoint: what
    /// is there the whole time is told. Long objects and values go in pieces, between which commands
    /// get at them. A peer may take a change for the whole of a value, so it gets no pieces.
    ///
    /// # Errors
    /// What `put` answers.
    pub fn export_pieces<E>(
        &self,
        budget: usize,
        mut put: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut cursor = 0;
        loop {
            let mut long = Vec::new();
            let (message, next) = {
                let joining = self.joining.lock();
                let short = |object: &[u8], held: Option<&Object>| {
                    let is_long = held.is_some_and(|held| held.is_long(PIECE));
                    if is_long {
                        long.push(Box::<[u8]>::from(object));
                    }
                    !is_long
                };
                self.walk(&joining, cursor, budget, short, |value| value.since(&()))
            };
            put(&message)?;
            for object in &long {
                self.export_long(object, &mut put)?;
            }
            cursor = next;
            if cursor == 0 {
                return Ok(());
            }
        }
    }

    /// An object that is long, as [`Function::export_pieces`] tells it.
    fn export_long<E>(
        &self,
        object: &[u8],
        put: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut cursor = 0;
        loop {
            let mut long = Vec::new();
            let message = {
                let joining = self.joining.lock();
                let known = self.known();
                let mut shard = self.shards[self.shard_index(object)].lock();
                let own = self.seq();
                shard.show(own);
                let mut changes = Changes::new();
                let mut key = Vec::new();
                // If it has gone meanwhile, the journal says so.
                let Some(held) = shard.objects.get(object) else { return Ok(()) };
                cursor = held.scan_all(cursor, PIECE, |name, slot| {
                    for value in slot.values() {
                        pending::key(object, name, value.kind(), &mut key);
                        let delta = match shard.known_beyond(&key) {
                            Some(more) => value.whole(&self.all_known(&known, own, &more)),
                            None if value.parts() > PIECE => {
                                long.push((Box::<[u8]>::from(name), value.kind()));
                                continue;
                            }
                            None => value.since(&()),
                        };
                        if !delta.is_empty() {
                            changes.push(object, name, &delta);
                        }
                    }
                });
                changes.finish(&joining.writers)
            };
            put(&message)?;
            for (name, kind) in long {
                let mut at = 0;
                while let Some((message, next)) = self.export_piece(object, &name, kind, at) {
                    put(&message)?;
                    at = next;
                    if at == 0 {
                        break;
                    }
                }
            }
            if cursor == 0 {
                return Ok(());
            }
        }
    }

    /// A piece of a value from `cursor` on, and the cursor to go on from; none if it has gone.
    fn export_piece(
        &self,
        object: &[u8],
        name: &[u8],
        kind: Type,
        cursor: u64,
    ) -> Option<(Vec<u8>, u64)> {
        let joining = self.joining.lock();
        let (delta, next) = {
            let mut shard = self.shards[self.shard_index(object)].lock();
            let own = self.seq();
            shard.show(own);
            let slot = shard.objects.get(object)?.get(name)?;
            slot.values().iter().find(|value| value.kind() == kind)?.piece(cursor, PIECE)
        };
        let mut changes = Changes::new();
        changes.push(object, name, &delta);
        Some((changes.finish(&joining.writers), next))
    }

    /// All that is present in `buckets`, as [`Function::export`] answers it.
    #[must_use]
    pub fn export_buckets(&self, buckets: &Buckets, cursor: u64, budget: usize) -> (Bytes, u64) {
        let joining = self.joining.lock();
        let mine = |object: &[u8], _: Option<&Object>| buckets.has(object);
        self.walk(&joining, cursor, budget, mine, |value| value.since(&()))
    }

    /// Copies values as `tell` says. The few of which more is known than the vector says go whole,
    /// with all that is known of them.
    fn walk(
        &self,
        joining: &MutexGuard<'_, Joining>,
        mut cursor: u64,
        budget: usize,
        mut wanted: impl FnMut(&[u8], Option<&Object>) -> bool,
        tell: impl Fn(&Value) -> Delta,
    ) -> (Bytes, u64) {
        let bits = self.shards.len().trailing_zeros();
        let mut changes = Changes::new();
        let known = self.known();
        loop {
            let which = (cursor & (self.shards.len() as u64 - 1)) as usize;
            let mut shard = self.shards[which].lock();
            let own = self.seq();
            shard.show(own);
            let mut key = Vec::new();
            let order = shard.objects().scan(cursor >> bits, TURN, |object, held| {
                if !wanted(object, Some(held)) {
                    return;
                }
                for (name, slot) in held.all() {
                    for value in slot.values() {
                        pending::key(object, name, value.kind(), &mut key);
                        let delta = match shard.known_beyond(&key) {
                            Some(more) => value.whole(&self.all_known(&known, own, &more)),
                            None => tell(value),
                        };
                        if !delta.is_empty() {
                            changes.push(object, name, &delta);
                        }
                    }
                }
            });
            cursor = order << bits | which as u64;
            if order == 0 {
                // What is known of values that are not here.
                for key in shard.absent_but_known() {
                    let (object, name) = pending::split(&key);
                    let kind = pending::kind(&key);
                    if let Some(more) = shard.known_beyond(&key).filter(|_| wanted(object, None)) {
                        let delta = Value::empty(kind).whole(&self.all_known(&known, own, &more));
                        changes.push(object, name, &delta);
                    }
                }
                cursor = if which + 1 == self.shards.len() { 0 } else { which as u64 + 1 };
            }
            if cursor == 0 || changes.size() >= budget {
                return (Bytes::from(changes.finish(&joining.writers)), cursor);
            }
        }
    }

    /// The vector, own events included, and `more`.
    fn all_known(&self, known: &Context, own: u64, more: &Context) -> Context {
        let mut all = known.clone();
        all.raise(LOCAL, own);
        all.join(more);
        all
    }

    /// All that is known of an object, or of one name of it: whole values. None if that is nothing.
    #[must_use]
    pub fn export_object(&self, object: &[u8], name: Option<&[u8]>) -> Option<Bytes> {
        let joining = self.joining.lock();
        let known = self.known();
        let mut shard = self.shards[self.shard_index(object)].lock();
        let own = self.seq();
        shard.show(own);
        let mut changes = Changes::new();
        let held = shard.objects().get(object)?;
        let mut key = Vec::new();
        for (held_name, slot) in held.all() {
            if name.is_some_and(|name| name != held_name) {
                continue;
            }
            for value in slot.values() {
                pending::key(object, held_name, value.kind(), &mut key);
                let more = shard.known_beyond(&key).unwrap_or_default();
                let delta = value.whole(&self.all_known(&known, own, &more));
                changes.push(object, held_name, &delta);
            }
        }
        (!changes.is_empty()).then(|| Bytes::from(changes.finish(&joining.writers)))
    }

    /// A digest per bucket of what is present: equal where two nodes hold the same. `of` is a power
    /// of two.
    #[must_use]
    pub fn digests(&self, of: usize) -> Vec<u64> {
        let joining = self.joining.lock();
        let mut digests = vec![0u64; of];
        for shard in &self.shards {
            let mut cursor = 0;
            loop {
                cursor = shard.lock().objects().scan(cursor, TURN, |object, held| {
                    let sum = &mut digests[bucket(object, of) as usize];
                    for (name, slot) in held.all() {
                        for value in slot.values().iter().filter(|value| !value.is_absent()) {
                            let key = digest_of(name, digest_of(object, value.kind() as u64));
                            let value = value.digest(&joining.writers);
                            *sum = sum.wrapping_add(digest_of(&value.to_le_bytes(), key));
                        }
                    }
                });
                if cursor == 0 {
                    break;
                }
            }
        }
        digests
    }

    /// Hears in `from`'s own stream that it has applied `vector`. Counts only once all of the
    /// writer's events that preceded the word are applied here; whether it did.
    ///
    /// # Errors
    /// If the vector is malformed.
    pub fn heard_word(&self, from: ReplicaId, vector: &Vector) -> Result<bool, Refused> {
        let mut joining = self.joining.lock();
        let context = self.context_of(&mut joining, vector)?;
        let Some(writer) = joining.writers.index(from).filter(|writer| *writer != LOCAL) else {
            return Ok(false);
        };
        if context.upto(writer) > self.known().upto(writer) {
            return Ok(false);
        }
        joining.words.entry(writer).or_default().join(&context);
        Ok(true)
    }

    /// Forgets what a writer said last, once it will say nothing more: each word has a number for every
    /// writer ever met, so those of the dead would grow with the square of their number. What it has
    /// released by then is forgotten first; floors that are met later stay.
    pub fn forget_word(&self, of: ReplicaId) {
        let said = |joining: &Joining| {
            joining.writers.index(of).filter(|writer| joining.words.contains_key(writer))
        };
        if said(&self.joining.lock()).is_none() {
            return;
        }
        self.collect();
        let mut joining = self.joining.lock();
        if let Some(writer) = said(&joining) {
            joining.words.remove(&writer);
        }
    }

    /// Forgets floors of counters whose writers have said that they know (`semantics.md` 3.2).
    /// Linear in the number of values that have floors.
    pub fn collect(&self) {
        let joining = self.joining.lock();
        let silent = joining.retired.silent(&self.known(), self.seq());
        let applied = |update: Dot, reset: Dot| {
            let writer = update.writer();
            writer == LOCAL
                || silent.seen(update)
                || joining.words.get(&writer).is_some_and(|word| word.seen(reset))
        };
        for shard in &self.shards {
            let mut shard = shard.lock();
            if !shard.floored.is_empty() {
                shard.collect(self, applied);
            }
        }
    }
}

impl Shard {
    /// Asks for what changes are about to be brought near, so that their cache misses overlap. Some
    /// may be of another shard: that does no harm.
    fn bring_near<'a>(&self, changes: impl Iterator<Item = (u64, &'a Change)> + Clone) {
        changes.clone().for_each(|(hash, _)| self.objects.prefetch_bucket(hash));
        changes.clone().for_each(|(hash, _)| self.objects.prefetch_key(hash));
        for (hash, change) in changes {
            if let Some(object) = self.objects.get_hashed(hash, &change.object) {
                object.prefetch(&change.name, &change.delta);
            }
        }
    }

    /// Joins a change, and counts by how many `objects` there are more; whether the value is different
    /// now.
    fn join(
        &mut self,
        objects: &mut isize,
        (known, own): (&Context, u64),
        hash: u64,
        change: &Change,
        claim: Claim<'_>,
    ) -> bool {
        let (object, name, kind) = (&*change.object, &*change.name, change.delta.kind());
        let mut key = std::mem::take(&mut self.key);
        pending::key(object, name, kind, &mut key);
        let seen = Here {
            vector: known,
            own,
            ahead: self.ahead.get(&*key),
            pending: self.pending_removals(&key),
        };
        let (held, new) = self.objects.get_or_insert_hashed(hash, object, Default::default);
        *objects += isize::from(new);
        let slot = held.get_or_insert(name, kind);
        let value = slot.value_mut(kind);
        let changed = match claim {
            Claim::Delta => value.apply(&seen, &change.delta),
            Claim::Whole(context) => {
                let mut delta = change.delta.clone();
                delta.complete(context);
                value.apply(&seen, &delta)
            }
        };
        if held.settle(name) {
            self.objects.remove(object);
            *objects -= 1;
        }
        self.key = key;
        changed
    }

    /// What the gathered changes of a value took away, which peers have not been told yet.
    fn pending_removals(&self, key: &[u8]) -> Option<Context> {
        // Nothing is gathered while a store recovers: that need not be looked up for each change.
        let groups = &self.pending.groups;
        let delta = if groups.is_empty() { None } else { groups.get(key) }?;
        let mut context = Context::new();
        delta.removals().learn(&mut context);
        (!context.is_empty()).then_some(context)
    }

    /// What is known of a value beyond the vector.
    fn known_beyond(&self, key: &[u8]) -> Option<Context> {
        match (self.ahead.get(key), self.pending_removals(key)) {
            (None, pending) => pending,
            (Some(ahead), None) => Some(ahead.clone()),
            (Some(ahead), Some(mut pending)) => {
                pending.join(ahead);
                Some(pending)
            }
        }
    }

    /// The keys of values that are not here, but of which something is known.
    fn absent_but_known(&self) -> Vec<Box<[u8]>> {
        let pending = self.pending.groups.iter().map(|(key, _)| key);
        let keys: BTreeSet<&[u8]> = self.ahead.keys().map(|key| &**key).chain(pending).collect();
        let absent = |key: &&[u8]| {
            let (object, name) = pending::split(key);
            let slot = self.objects.get(object).and_then(|object| object.get(name));
            let values = slot.map_or(&[][..], |slot| slot.values());
            !values.iter().any(|value| value.kind() == pending::kind(key))
        };
        keys.into_iter().filter(absent).map(Box::from).collect()
    }

    /// Remembers what a change takes away as far as it is not common knowledge behind `event`;
    /// answers what it takes away, if anything.
    fn note_removals(
        &mut self,
        (known, own): (&Context, u64),
        (writer, last): (Writer, u64),
        object: &[u8],
        name: &[u8],
        delta: &Delta,
    ) -> Option<Delta> {
        let removals = delta.removals();
        if removals.is_empty() {
            return None;
        }
        let mut key = std::mem::take(&mut self.key);
        pending::key(object, name, delta.kind(), &mut key);
        if self.may_keep_floors(object, name, delta.kind()) {
            self.floored.insert(Box::from(&*key));
        }
        let mut context = Context::new();
        removals.learn(&mut context);
        context.forget(|of| {
            let upto = if of == LOCAL { own } else { known.upto(of) };
            if of == writer { upto.max(last) } else { upto }
        });
        if !context.is_empty() {
            self.ahead.entry(Box::from(&*key)).or_default().join(&context);
        }
        self.key = key;
        Some(removals)
    }

    /// While changes are not gathered, no batch notes what they take away. Before a node meets its first
    /// peer there is nothing of others to take away, unless a journal has it: of that, what came
    /// ahead of the vector would come back with the first who still holds it.
    pub(crate) fn note_ungathered(
        &mut self,
        function: &Function,
        object: &[u8],
        name: &[u8],
        delta: &Delta,
    ) {
        if !self.tracked && self.writers().len() > 1 {
            let (known, own) = (function.known(), function.seq());
            self.note_removals((&known, own), (LOCAL, own), object, name, delta);
        }
    }

    /// Whether a value may keep floors. Of a counter that is gone for good, as one that only this
    /// node added to, nothing is kept: it must not be listed until some peer's word comes, which
    /// may be never. Maps are not searched, since that is linear in their fields.
    fn may_keep_floors(&self, object: &[u8], name: &[u8], kind: Type) -> bool {
        if !matches!(kind, Type::GCounter | Type::PnCounter | Type::OrMap) {
            return false;
        }
        let slot = self.objects.get(object).and_then(|object| object.get(name));
        let mut values = slot.map_or(&[][..], |slot| slot.values()).iter();
        values.any(|value| match value {
            Value::GCounter(counter) | Value::PnCounter(counter) => {
                value.kind() == kind && counter.has_dead_entries()
            }
            value => value.kind() == kind,
        })
    }

    /// Lists the values that keep floors. Linear in what the shard holds.
    fn find_floors(&mut self) {
        let mut key = Vec::new();
        for (object, held) in self.objects.iter() {
            for (name, slot) in held.all() {
                for value in slot.values() {
                    let floors = match value {
                        Value::GCounter(counter) | Value::PnCounter(counter) => {
                            counter.has_dead_entries()
                        }
                        Value::OrMap(map) => map.has_dead_entries(),
                        _ => false,
                    };
                    if floors {
                        pending::key(object, name, value.kind(), &mut key);
                        self.floored.insert(Box::from(&*key));
                    }
                }
            }
        }
    }

    fn collect(&mut self, function: &Function, applied: impl Fn(Dot, Dot) -> bool) {
        for key in std::mem::take(&mut self.floored) {
            let (object, name) = pending::split(&key);
            let Some(held) = self.objects.get_mut(object) else { continue };
            let Some(slot) = held.get_mut(name) else { continue };
            let mut left = false;
            slot.each_mut(|value| match value {
                Value::GCounter(counter) | Value::PnCounter(counter) => {
                    counter.collect(&applied);
                    left |= counter.has_dead_entries();
                }
                Value::OrMap(map) => {
                    map.collect(&applied);
                    left |= map.has_dead_entries();
                }
                _ => {}
            });
            if held.settle(name) {
                self.objects.remove(object);
                function.count_objects(-1);
            }
            if left {
                self.floored.insert(key);
            }
        }
    }
}
