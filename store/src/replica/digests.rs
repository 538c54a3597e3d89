//! Digests of what a function holds, by buckets of objects.

use std::collections::HashSet;

use miso_crdt::batch::digest_of;
use miso_crdt::{Context, Dot, Writers};

use crate::function::Function;
use crate::joining::LOCAL;
use crate::pending;
use crate::replica::join::TURN;
use crate::shard::Shard;

/// The objects of which a [`Function::export_buckets`] is to tell.
#[derive(Clone, Debug)]
pub struct Buckets {
    /// How many there are in all, a power of two.
    pub of: usize,
    /// Which of them.
    pub which: HashSet<u32>,
}

impl Buckets {
    pub(crate) fn has(&self, object: &[u8]) -> bool {
        self.which.contains(&bucket(object, self.of))
    }
}

/// Which of `of` buckets an object belongs to: the same on every node.
pub(crate) fn bucket(object: &[u8], of: usize) -> u32 {
    (digest_of(object, 1) & (of as u64 - 1)) as u32
}

impl Function {
    /// A digest per bucket of what is present: equal where two nodes hold the same. `of` is a power
    /// of two.
    #[must_use]
    pub fn digests(&self, of: usize) -> Vec<u64> {
        let joining = self.joining.lock();
        let mut digests = vec![0u64; of];
        for which in 0..self.shards() {
            let mut cursor = 0;
            loop {
                let Some(shard) = self.shards.made(which) else { break };
                cursor = shard.objects().scan(cursor, TURN, |object, held| {
                    let sum = &mut digests[bucket(object, of) as usize];
                    for (name, slot) in held.all() {
                        for value in slot.values() {
                            let digest = value.digest(&joining.writers);
                            // What a delete has left of a plain value, as a deadline, is compared, too.
                            if digest == 0 && value.is_absent() {
                                continue;
                            }
                            let key = digest_of(name, digest_of(object, value.kind() as u64));
                            *sum = sum.wrapping_add(digest_of(&digest.to_le_bytes(), key));
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

    /// A digest per bucket of what is known beyond the vector: events that have not come, or not by a stream, and
    /// that are gone if their value does not hold them. Equal where two nodes of one vector know the same; none at
    /// all where nothing is known. `of` is a power of two.
    ///
    /// Two nodes may hold a value alike while one of them alone knows that an event which neither has seen was
    /// taken away: at the other it would come back. So both are compared.
    #[must_use]
    pub fn ahead_digests(&self, of: usize) -> Vec<u64> {
        let joining = self.joining.lock();
        let mut digests = Vec::new();
        for shard in self.shards.each() {
            if !shard.ahead.is_empty() {
                digests.resize(of, 0);
                self.add_ahead(&shard, &joining.writers, &mut digests);
            }
        }
        if digests.iter().all(|digest| *digest == 0) { Vec::new() } else { digests }
    }

    /// Adds what a shard knows of its values beyond the vector.
    fn add_ahead(&self, shard: &Shard, writers: &Writers, digests: &mut [u64]) {
        let (known, own) = (self.known(), self.seq());
        let upto = |writer| if writer == LOCAL { own } else { known.upto(writer) };
        for (key, ahead) in &shard.ahead {
            // In one form, whatever form it came in: what follows the vector without a gap is a range.
            let mut all = Context::new();
            let of_vector = ahead.vector().map(|(writer, _)| writer);
            for writer in of_vector.chain(ahead.beyond().map(Dot::writer)) {
                all.raise(writer, upto(writer));
            }
            all.join(ahead);
            let ranges = all.vector().filter(|(writer, seq)| *seq > upto(*writer));
            let ranges = ranges.map(|(writer, seq)| (writer, seq, true));
            let dots = all.beyond().map(|dot| (dot.writer(), dot.seq(), false));
            let (object, name) = pending::split(key);
            let key = digest_of(name, digest_of(object, pending::kind(key) as u64));
            let sum = &mut digests[bucket(object, digests.len()) as usize];
            for (writer, seq, is_range) in ranges.chain(dots) {
                let Some(id) = writers.id(writer) else { continue };
                let fact = [id.0, seq << 1 | u64::from(is_range)].map(u64::to_le_bytes).concat();
                *sum = sum.wrapping_add(digest_of(&fact, key));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use miso_crdt::{ReplicaId, kind};

    use super::*;
    use crate::{Config, Outgoing, Store, hash};

    const KEY: &[u8] = b"basket";

    fn node(id: u64) -> Arc<Function> {
        let function = Store::new(Config::new(ReplicaId(id), 4, Arc::new(|| 1))).function(b"f");
        function.track();
        function
    }

    fn join(function: &Function, id: u64, batch: &Outgoing) {
        let range = (batch.first, batch.last);
        function.join_batch(ReplicaId(id), range, &batch.message).expect("it fits");
    }

    #[test]
    fn what_is_known_to_be_gone_before_it_has_come_is_compared() {
        let [adds, deletes, hears, idle] = [1, 2, 3, 4].map(node);
        let place = (hash(KEY), KEY);
        let mut shard = adds.lock(adds.shard_of(place.0));
        let added = shard.write_plain::<kind::PlainSet, _>(place, 1, |set, at, mint, change| {
            set.add(b"x", at, mint, change);
        });
        added.expect("nothing else is there");
        drop(shard);
        let added = adds.take_batch().expect("a change");
        join(&deletes, 1, &added);
        assert!(deletes.lock(deletes.shard_of(place.0)).delete_key(place, 1));
        let gone = deletes.take_batch().expect("a change");

        join(&hears, 2, &gone);
        assert_eq!(hears.digests(8), idle.digests(8), "neither holds anything");
        assert!(idle.ahead_digests(8).is_empty());
        let ahead = hears.ahead_digests(8);
        assert_eq!(ahead.iter().filter(|digest| **digest != 0).count(), 1);
        join(&idle, 2, &gone);
        assert_eq!(idle.ahead_digests(8), ahead);
        // What the vector says need not be said for one value.
        for function in [&hears, &idle] {
            join(function, 1, &added);
            assert_eq!(function.digests(8), deletes.digests(8));
            assert!(function.ahead_digests(8).is_empty());
        }
    }
}
