//! Tokens of functions, as the nodes of a cluster keep them.
//!
//! They are elements of add-remove sets, one set for each function, in a function of their own
//! ([`RESERVED`]) that all nodes carry. So they are replicated, written to the disk and found again as
//! data is. A token itself is never kept: an element has its SHA-256 and what it is good for. A token is
//! made once, so an element is never added again once it was removed: what one node has revoked no other
//! brings back.
//!
//! ```text
//! element: version 1 | 1 if it only reads, else 0 | made (8) | over (8, 0: never) | SHA-256 (32)
//! ```
//!
//! Times are milliseconds since 1970, big-endian.

use miso_protocol::names::RESERVED;
use miso_store::crdt::kind;
use miso_store::{Function, Store};
use subtle::ConstantTimeEq;

use crate::node::acl::user::hex;

/// How many tokens a function may have at a time.
pub(crate) const MOST: usize = 64;
/// The name of a function's set.
const NAME: &[u8] = b"tokens";
const VERSION: u8 = 1;
const LENGTH: usize = 50;

/// What is kept of a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Grant {
    /// Its SHA-256.
    pub(crate) hash: [u8; 32],
    /// Whether it only reads.
    pub(crate) read_only: bool,
    /// When it was made, in milliseconds since 1970.
    pub(crate) made_ms: u64,
    /// When it is over; 0: never.
    pub(crate) over_ms: u64,
}

impl Grant {
    fn encode(&self) -> Vec<u8> {
        let flags = [VERSION, u8::from(self.read_only)];
        let times = [self.made_ms.to_be_bytes(), self.over_ms.to_be_bytes()].concat();
        [&flags[..], &times, &self.hash].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Grant> {
        let time = |at: usize| bytes[at..at + 8].try_into().map(u64::from_be_bytes).ok();
        if bytes.len() != LENGTH || bytes[0] != VERSION {
            return None;
        }
        let hash = bytes[18..].try_into().ok()?;
        // A flag that is not known restricts.
        Some(Grant { hash, read_only: bytes[1] != 0, made_ms: time(2)?, over_ms: time(10)? })
    }

    /// What it is called where it is listed.
    pub(crate) fn id(&self) -> String {
        id(&self.hash)
    }

    fn is_over(&self, now_ms: u64) -> bool {
        self.over_ms != 0 && self.over_ms <= now_ms
    }
}

/// What a token of this SHA-256 is called where it is listed.
pub(crate) fn id(hash: &[u8; 32]) -> String {
    hex(&hash[..8])
}

/// The tokens of `function` that are known here and good at `now_ms`.
pub(crate) fn all(store: &Store, function: &[u8], now_ms: u64) -> Vec<Grant> {
    let Some(kept) = store.find(RESERVED) else { return Vec::new() };
    let mut all = known(&kept, function);
    all.retain(|grant| !grant.is_over(now_ms));
    all
}

/// The token of `function` that has this SHA-256, if it is good at `now_ms`. Takes the same time whichever it is.
pub(crate) fn find(store: &Store, function: &[u8], hash: &[u8; 32], now_ms: u64) -> Option<Grant> {
    let fits = |grant: &Grant| bool::from(grant.hash.ct_eq(hash));
    all(store, function, now_ms)
        .into_iter()
        .fold(None, |found, grant| if fits(&grant) { Some(grant) } else { found })
}

fn known(kept: &Function, function: &[u8]) -> Vec<Grant> {
    let hash = miso_store::hash(function);
    let shard = kept.lock(kept.shard_of(hash));
    let set = shard.read::<kind::OrSet>(hash, function, NAME).ok().flatten();
    let elements = set.iter().flat_map(|set| set.elements().iter());
    elements.filter_map(|(element, _)| Grant::decode(element)).collect()
}

/// Adds a token of `function`, and drops those that are over. Returns false if it has as many as it may.
pub(crate) fn add(kept: &Function, function: &[u8], grant: &Grant) -> bool {
    remove(kept, function, |known| known.is_over(grant.made_ms));
    if known(kept, function).len() >= MOST {
        return false;
    }
    let hash = miso_store::hash(function);
    let mut shard = kept.lock(kept.shard_of(hash));
    let added = shard.write::<kind::OrSet, _>((hash, function, NAME), |set, mint, change| {
        set.add(&grant.encode(), mint, change)
    });
    // Nothing else is kept there.
    added.is_ok()
}

/// Removes the tokens of `function` that `is_meant` names; how many.
pub(crate) fn remove(kept: &Function, function: &[u8], is_meant: impl Fn(&Grant) -> bool) -> usize {
    let mut gone = known(kept, function);
    gone.retain(is_meant);
    let hash = miso_store::hash(function);
    let mut shard = kept.lock(kept.shard_of(hash));
    for grant in &gone {
        let removed = shard
            .modify::<kind::OrSet, _>((hash, function, NAME), |set, mint, change| {
                set.remove(&grant.encode(), mint, change)
            });
        debug_assert!(removed.is_ok(), "nothing else is kept there");
    }
    gone.len()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use miso_store::Config;
    use miso_store::crdt::ReplicaId;

    use super::*;

    fn grant(hash: u8, over_ms: u64) -> Grant {
        Grant { hash: [hash; 32], read_only: hash == 2, made_ms: 5, over_ms }
    }

    #[test]
    fn tokens_are_found_until_they_are_over_or_removed() {
        let store = Store::new(Config::new(ReplicaId(1), 1, Arc::new(|| 0)));
        assert_eq!(find(&store, b"f", &[1; 32], 0), None);
        let kept = store.function(RESERVED);
        assert!(add(&kept, b"f", &grant(1, 0)) && add(&kept, b"f", &grant(2, 10)));
        assert_eq!(find(&store, b"f", &[1; 32], 99), Some(grant(1, 0)));
        assert_eq!(find(&store, b"f", &[2; 32], 9), Some(grant(2, 10)));
        assert_eq!(find(&store, b"f", &[2; 32], 10), None);
        assert_eq!(find(&store, b"g", &[1; 32], 9), None, "of another function");
        assert_eq!(remove(&kept, b"f", |known| known.hash == [1; 32]), 1);
        assert_eq!(all(&store, b"f", 9), [grant(2, 10)]);
    }

    #[test]
    fn there_are_not_more_than_the_most_and_what_is_over_makes_room() {
        let store = Store::new(Config::new(ReplicaId(1), 1, Arc::new(|| 0)));
        let kept = store.function(RESERVED);
        let count = u8::try_from(MOST).expect("few");
        assert!((0..count).all(|n| add(&kept, b"f", &grant(n, 6))));
        assert!(!add(&kept, b"f", &grant(200, 0)));
        let later = Grant { made_ms: 6, ..grant(200, 0) };
        assert!(add(&kept, b"f", &later));
        assert_eq!(all(&store, b"f", 6), [later]);
    }

    #[test]
    fn what_another_version_has_written_is_no_token() {
        let good = grant(1, 0).encode();
        assert_eq!(Grant::decode(&good), Some(grant(1, 0)));
        for bytes in [&[][..], &good[1..], &[2; LENGTH], &[&good[..], &[0]].concat()] {
            assert_eq!(Grant::decode(bytes), None);
        }
    }
}
