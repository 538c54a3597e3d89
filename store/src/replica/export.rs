//! What a peer is told of a function's present.

use bytes::Bytes;
use miso_crdt::{Changes, Delta, ReplicaId, Value};
use parking_lot::MutexGuard;

use crate::function::Function;
use crate::joining::{Joining, Refused, Vector};
use crate::object::Object;
use crate::pending;
use crate::replica::digests::Buckets;
use crate::replica::join::TURN;

impl Function {
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

    /// All that is present in `buckets`, as [`Function::export`] answers it.
    #[must_use]
    pub fn export_buckets(&self, buckets: &Buckets, cursor: u64, budget: usize) -> (Bytes, u64) {
        let joining = self.joining.lock();
        let mine = |object: &[u8], _: Option<&Object>| buckets.has(object);
        self.walk(&joining, cursor, budget, mine, |value| value.since(&()))
    }

    /// Copies values as `tell` says. The few of which more is known than the vector says go whole,
    /// with all that is known of them.
    pub(crate) fn walk(
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
            let mut made = self.shards.made(which);
            let order = made.as_mut().map_or(0, |shard| {
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
                if order == 0 {
                    // What is known of values that are not here.
                    for key in shard.absent_but_known() {
                        let (object, name) = pending::split(&key);
                        let kind = pending::kind(&key);
                        if let Some(more) =
                            shard.known_beyond(&key).filter(|_| wanted(object, None))
                        {
                            let delta =
                                Value::empty(kind).whole(&self.all_known(&known, own, &more));
                            changes.push(object, name, &delta);
                        }
                    }
                }
                order
            });
            cursor = match order {
                0 if which + 1 == self.shards.len() => 0,
                0 => which as u64 + 1,
                _ => order << bits | which as u64,
            };
            if cursor == 0 || changes.size() >= budget {
                return (Bytes::from(changes.finish(&joining.writers)), cursor);
            }
        }
    }

    /// All that is known of an object, or of one name of it: whole values. None if that is nothing.
    #[must_use]
    pub fn export_object(&self, object: &[u8], name: Option<&[u8]>) -> Option<Bytes> {
        let joining = self.joining.lock();
        let known = self.known();
        let mut shard = self.shards.made(self.shard_index(object))?;
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
}
