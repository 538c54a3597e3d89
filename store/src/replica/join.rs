//! Joining changes, those of an object under one lock.

use miso_crdt::{Change, Changes, Delta, Type, Writer};

use crate::function::Function;
use crate::joining::Joining;
use crate::shard::AHEAD;
use crate::shard::join::Claim;

/// This many changes are joined, or objects copied, before commands get at the shard again.
pub(crate) const TURN: usize = 256;

/// What joining did.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Joined {
    /// Values named.
    pub named: usize,
    /// Values that are different now.
    pub changed: usize,
}

impl Function {
    /// Joins changes, those of an object under one lock. Answers what was done, and what `event`
    /// took away, for the log.
    pub(crate) fn join(
        &self,
        _: &Joining,
        changes: Vec<Change>,
        claim: Claim<'_>,
        event: (Writer, u64),
    ) -> (Joined, Changes) {
        self.join_concurrently(changes, claim, event)
    }

    /// As [`Function::join`], for callers that know that nothing else becomes known meanwhile.
    pub(crate) fn join_concurrently(
        &self,
        changes: Vec<Change>,
        claim: Claim<'_>,
        event: (Writer, u64),
    ) -> (Joined, Changes) {
        let mut joined = Joined { named: changes.len(), changed: 0 };
        let mut gone = Changes::new();
        let known = self.known();
        let (listened, followed) = (self.hooks.listened(), self.is_followed());
        let mut heard: Vec<(usize, Type, bool)> = Vec::new();
        // What has gone elsewhere may never have been here, and readers may have heard of it all the same.
        let mut noted: Vec<usize> = Vec::new();
        let mut by_shard: Vec<(usize, u64, usize)> = (0..)
            .zip(&changes)
            .map(|(at, change)| {
                let hash = miso_crdt::table::hash(&change.object);
                (self.shard_of(hash), hash, at)
            })
            .collect();
        // An object's changes together, in their order.
        by_shard.sort_unstable();
        let mut rest = by_shard.as_slice();
        while let Some((which, ..)) = rest.first().copied() {
            let mut shard = self.shard(which);
            let mut left = TURN;
            let mut prefetched = 0;
            let mut before: Option<&[u8]> = None;
            let (mut objects, mut deadlines) = (0, Vec::new());
            while let Some(((shard_of, hash, at), after)) = rest.split_first() {
                let change = &changes[*at];
                let within = before == Some(&*change.object);
                if *shard_of != which || (left == 0 && !within) {
                    break;
                }
                if prefetched == 0 && after.first().is_some_and(|(shard_of, ..)| *shard_of == which)
                {
                    let next = rest.iter().take(AHEAD).map(|(_, hash, at)| (*hash, &changes[*at]));
                    shard.prefetch(next);
                    prefetched = AHEAD;
                }
                prefetched = prefetched.saturating_sub(1);
                left = left.saturating_sub(1);
                rest = after;
                before = Some(&change.object);
                let (object, name) = (&*change.object, &*change.name);
                let seen = (&*known, self.seq());
                let counted = (&mut objects, &mut deadlines);
                let was = listened && shard.shown(*hash, object, self.now()).is_some();
                let changed = shard.join(counted, seen, *hash, change, claim);
                let removed =
                    shard.note_removals((&known, self.seq()), event, object, name, &change.delta);
                if followed && (changed || removed.is_some()) {
                    noted.push(*at);
                }
                if let Some(removed) = removed {
                    gone.push(object, name, &removed);
                }
                match &change.delta {
                    Delta::OnceIds(ids) => {
                        self.once.joined(&shard.disputed((*hash, object), ids.ids()));
                    }
                    Delta::Hll(_) => {
                        shard.hll(*hash, object).into_iter().for_each(|hll| {
                            self.note_sketches(object, hll);
                        });
                    }
                    _ => {}
                }
                if changed {
                    joined.changed += 1;
                    shard.changed(object);
                    if listened {
                        heard.push((*at, change.delta.kind(), was));
                    }
                }
            }
            for (ends, hash) in deadlines {
                self.note_deadline(&mut shard.deadlines, hash, ends);
            }
            // All at once: others that join want to count, too.
            self.count_objects(objects);
        }
        if !noted.is_empty() {
            let noted = noted.iter().map(|at| &changes[*at]);
            self.note_all(noted.map(|c| (&*c.object, &*c.name, c.delta.kind())));
        }
        for (at, kind, was) in heard {
            let change = &changes[at];
            self.tell_changed(&change.object, &change.name, kind);
            if kind.is_plain() {
                self.tell_merged(&change.object, was);
            }
        }
        (joined, gone)
    }
}
