//! Joining a change into a shard, and what is known of a value beyond the function's vector.

use std::collections::BTreeSet;

use miso_crdt::{Change, Context, Dot, Seen};

use super::{Presence, Shard};
use crate::joining::LOCAL;
use crate::pending;

/// What the author of a joined change knew beyond what the change says.
#[derive(Clone, Copy)]
pub(crate) enum Claim<'a> {
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

impl Shard {
    /// Prefetches what changes are about, so that their cache misses overlap. Some may be of another
    /// shard: that does no harm.
    pub(crate) fn prefetch<'a>(&self, changes: impl Iterator<Item = (u64, &'a Change)> + Clone) {
        changes.clone().for_each(|(hash, _)| self.objects.prefetch_bucket(hash));
        changes.clone().for_each(|(hash, _)| self.objects.prefetch_key(hash));
        for (hash, change) in changes {
            if let Some(object) = self.objects.get_hashed(hash, &change.object) {
                object.prefetch(&change.name, &change.delta);
            }
        }
    }

    /// Joins a change, and counts by how many `objects` there are more; whether the value is different
    /// now. `deadlines` gets the time from which on it may expire, if that is new, and its hash.
    pub(crate) fn join(
        &mut self,
        (objects, deadlines): (&mut isize, &mut Vec<(u64, u64)>),
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
        let before = Presence::before(held, new, self.absent);
        let slot = held.get_or_insert(name, kind);
        let was_present = slot.value().is_some();
        let value = slot.value_mut(kind);
        let first_end = if kind.is_plain() { value.first_end(0) } else { u64::MAX };
        let changed = match claim {
            Claim::Delta => value.apply(&seen, &change.delta),
            Claim::Whole(context) => {
                let mut delta = change.delta.clone();
                delta.complete(context);
                value.apply(&seen, &delta)
            }
        };
        let ends = if kind.is_plain() { value.first_end(0) } else { u64::MAX };
        if ends < first_end {
            deadlines.push((ends, hash));
        }
        let is_present = slot.value().is_some();
        held.note_presence(was_present, is_present);
        let now = if held.settle(name) {
            self.objects.remove(object);
            Presence::Gone
        } else {
            Presence::after(held, is_present)
        };
        *objects += self.count_presence(before, now);
        self.key = key;
        changed
    }

    /// What the gathered changes of a value took away, which peers have not been told yet.
    pub(crate) fn pending_removals(&self, key: &[u8]) -> Option<Context> {
        // Nothing is gathered while a store recovers: that need not be looked up for each change.
        let groups = &self.pending.groups;
        let delta = if groups.is_empty() { None } else { groups.get(key) }?;
        let mut context = Context::new();
        delta.removals().learn(&mut context);
        (!context.is_empty()).then_some(context)
    }

    /// What is known of a value beyond the vector.
    pub(crate) fn known_beyond(&self, key: &[u8]) -> Option<Context> {
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
    pub(crate) fn absent_but_known(&self) -> Vec<Box<[u8]>> {
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
}
