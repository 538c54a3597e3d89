//! Batches: what the local writer did since the last one, and what peers did.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use miso_crdt::{Changes, Dot, ReplicaId, SEQ_MAX, Type, Writer};

use crate::durable::records;
use crate::function::Function;
use crate::joining::{Joining, LOCAL, Refused};
use crate::removals::Removals;
use crate::replica::join::Joined;
use crate::shard::join::Claim;
use crate::shard::lazy::Place;

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

impl Function {
    /// Starts to gather what changes, for a replicator; what is there already, it gets by a sync.
    pub fn track(&self) {
        let mut joining = self.joining.lock();
        // One cut: an event is before the start in all shards, or in none.
        let mut places = self.shards.all();
        if !self.shards.track(&places) {
            return;
        }
        let seq = self.seq();
        places.iter_mut().filter_map(|place| place.as_mut()).for_each(|shard| {
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
        // Before the cut: a thread that writes after it says so again.
        self.dirty.store(false, Ordering::SeqCst);
        // One cut through all shards, in ascending order: a batch that held an event beyond its
        // range would lose it for good with a batch that is lost, since the next range says nothing
        // of it. Under the locks nothing is done but to set the gathered changes aside.
        let (last, taken) = {
            let mut places = self.shards.all();
            let last = self.seq();
            let cut = |place: &mut Place<'_>| place.as_mut().map(|shard| shard.cut(last));
            let taken: Vec<_> = places.iter_mut().map(cut).collect();
            (last, taken)
        };
        let first = joining.sent + 1;
        if last < first {
            return None;
        }
        let known = self.known();
        let (mut changes, mut removals) = (Changes::new(), Changes::new());
        let is_followed = self.is_followed();
        for (which, taken) in taken.into_iter().enumerate() {
            let Some(taken) = taken.filter(|taken| !taken.is_empty()) else { continue };
            let mut shard = self.shard(which);
            shard.collect_changes(LOCAL, taken, |shard, object, name, delta| {
                changes.push(object, name, delta);
                if is_followed {
                    self.note_changed(object, name, delta.kind());
                }
                if let Some(gone) =
                    shard.note_removals((&known, last), (LOCAL, last), object, name, delta)
                {
                    removals.push(object, name, &gone);
                }
            });
        }
        joining.sent = last;
        self.log_removals(&mut joining, (LOCAL, last), removals);
        if is_followed {
            self.tell_followed();
        }
        let count = changes.len();
        let message = Bytes::from(changes.finish(&joining.writers));
        Some(Outgoing { first, last, changes: count, message })
    }

    pub(crate) fn log_removals(
        &self,
        joining: &mut Joining,
        (origin, last): (Writer, u64),
        gone: Changes,
    ) {
        if !gone.is_empty() {
            let message = Bytes::from(gone.finish(&joining.writers));
            joining.log.push(Removals { origin, last, message }, self.log_limit);
        }
    }

    /// Joins a batch: all events `first ..= last` of `origin`.
    ///
    /// # Errors
    /// If it is known, does not follow what is known, or is malformed; then nothing was changed. It is
    /// malformed, too, if it adds what is no event of `origin` in its range: nodes that hear of the event
    /// otherwise would differ for good. A counter's entry may be of a later event: a batch tells it as it is
    /// when the batch is made, a moment after its events were counted, and a later entry says all that an earlier
    /// one does.
    pub fn join_batch(
        &self,
        id: ReplicaId,
        (first, last): (u64, u64),
        message: &[u8],
    ) -> Result<Joined, Refused> {
        self.join_any_batch(id, (first, last), message, |dot, origin, kind| {
            let counts = matches!(kind, Type::GCounter | Type::PnCounter);
            dot.writer() == origin && (counts || (first..=last).contains(&dot.seq()))
        })
    }

    /// As [`Function::join_batch`], of a batch whose additions are all `right`.
    pub(crate) fn join_any_batch(
        &self,
        id: ReplicaId,
        (first, last): (u64, u64),
        message: &[u8],
        right: impl Fn(Dot, Writer, Type) -> bool,
    ) -> Result<Joined, Refused> {
        if first == 0 || first > last || last > SEQ_MAX {
            return Err(Refused::Malformed("range"));
        }
        let mut joining = self.joining.lock();
        let origin = joining.intern(id)?;
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
        let mut all_right = true;
        for change in &changes {
            let kind = change.delta.kind();
            change.delta.each_added(&mut |dot| all_right &= right(dot, origin, kind));
        }
        if !all_right {
            return Err(Refused::Malformed("event of a change"));
        }
        let (joined, gone) = self.join(&joining, changes, Claim::Delta, (origin, last));
        if let Some(journal) = self.hooks.journal() {
            records::batch(journal, self.name(), id, (first, last), message);
        }
        self.log_removals(&mut joining, (origin, last), gone);
        self.raise(origin, last);
        Ok(joined)
    }
}
