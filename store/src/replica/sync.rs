//! Syncs: what peers put together of a function's present, and what of it is gone.

use std::collections::HashSet;

use miso_crdt::batch::digest_of;
use miso_crdt::{Change, Changes, Delta, ReplicaId, SEQ_MAX, Type};

use crate::durable::records;
use crate::function::Function;
use crate::joining::{LOCAL, Refused, Vector};
use crate::replica::digests::Buckets;
use crate::replica::join::{Joined, TURN};
use crate::shard::join::Claim;

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
        let origin = joining.intern(origin)?;
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
            let shard = self.shards.made(self.shard_index(&change.object));
            let held = shard.as_ref().and_then(|shard| shard.objects().get(&change.object));
            held.is_some_and(|object| object.get(&change.name).is_some())
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
        for which in 0..self.shards() {
            let mut cursor = 0;
            loop {
                let Some(shard) = self.shards.made(which) else { break };
                cursor = shard.objects().scan(cursor, TURN, |object, held| {
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
            records::known(journal, self.name(), vector);
        }
        let known = self.known();
        let mut lost = false;
        for (writer, seq) in context.vector().filter(|(writer, _)| *writer != LOCAL) {
            if seq > known.upto(writer) {
                if !complete {
                    joining.log.lacks(writer, seq);
                    lost = true;
                }
                self.raise(writer, seq);
            }
        }
        // What a part of the sync took away before somebody followed is in no log.
        if lost {
            self.lose_changes();
        }
        drop(joining);
        self.tidy();
        Ok(())
    }

    /// Journals changes that no batch brought. Before they are joined, under the joining lock: what
    /// is recovered may then know more than was known, and never less.
    pub(crate) fn journal_part(&self, whole: Option<&Vector>, message: &[u8]) {
        if let Some(journal) = self.hooks.journal() {
            records::part(journal, self.name(), whole, message);
        }
    }

    /// Forgets what is remembered of single values and is now common knowledge. Linear in the
    /// number of values known of ahead, which is small but while a sync goes on.
    pub fn tidy(&self) {
        let _joining = self.joining.lock();
        let known = self.known();
        for mut shard in self.shards.each() {
            if !shard.ahead.is_empty() {
                let own = self.seq();
                shard.ahead.retain(|_, ahead| {
                    ahead.forget(|writer| if writer == LOCAL { own } else { known.upto(writer) });
                    !ahead.is_empty()
                });
            }
        }
    }
}
