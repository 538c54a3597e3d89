//! Digests that are equal on all nodes, whatever their local numbers of writers.

use crate::context::Writers;
use crate::dot::{Dot, ReplicaId};

/// A number that stands for a writer's event wherever it is met, unlike a [`Dot`],
/// whose writer is a local index.
pub(crate) fn fact(writers: &Writers, dot: Dot, more: &[u64]) -> u64 {
    let id = writers.id(dot.writer()).unwrap_or(ReplicaId(0));
    let mut digest = digest_of(&id.0.to_le_bytes(), dot.seq());
    for word in more {
        digest = digest_of(&word.to_le_bytes(), digest);
    }
    digest
}

/// A 64-bit digest of bytes, the same on every machine and in every version: XXH3 with a seed.
#[must_use]
pub fn digest_of(bytes: &[u8], seed: u64) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(bytes, seed)
}
