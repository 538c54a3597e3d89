//! Digests of what a function holds, by buckets of objects.

use std::collections::HashSet;

use miso_crdt::batch::digest_of;

use crate::function::Function;
use crate::replica::join::TURN;

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
}
