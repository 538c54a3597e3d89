//! Quotas: how many objects a function may have on this node, and how often it may write.
//!
//! A function that has a quota is marked in the store, in the byte that each command looks at anyway: so a
//! function without one pays nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use miso_protocol::names;
use miso_store::{Function, Store};
use parking_lot::{Mutex, RwLock};

use super::bucket::Bucket;

/// The quotas of a node.
#[derive(Debug, Default)]
pub(crate) struct Quotas {
    by_function: RwLock<BTreeMap<Box<[u8]>, Arc<Quota>>>,
    refused: AtomicU64,
}

/// The quota of a function, all of its databases together.
#[derive(Debug)]
pub(crate) struct Quota {
    /// How many objects it may have; none: as many as there is memory for.
    pub(crate) objects: Option<u64>,
    /// How often a second it may write; none: as often as it can.
    pub(crate) writes: Option<u64>,
    room: Mutex<Bucket>,
    refused: AtomicU64,
}

impl Quota {
    fn new(objects: Option<u64>, writes: Option<u64>, now: Instant) -> Quota {
        let room = Bucket::new(writes.unwrap_or(0) as f64, now);
        Quota { objects, writes, room: Mutex::new(room), refused: AtomicU64::new(0) }
    }

    /// Takes the room of one write at `now`; false if there is none. What is not used in a second is lost.
    pub(crate) fn takes_write(&self, now: Instant) -> bool {
        let Some(most) = self.writes else { return true };
        let most = most as f64;
        self.room.lock().take(now, most, most)
    }

    /// How many commands it has refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Quotas {
    /// Sets the quotas of all functions anew, and marks those that have one.
    pub(crate) fn set(
        &self,
        objects: &BTreeMap<String, u64>,
        writes: &BTreeMap<String, u64>,
        store: &Store,
    ) {
        let now = Instant::now();
        let mut all = self.by_function.write();
        let mut new = BTreeMap::new();
        for name in objects.keys().chain(writes.keys()).collect::<BTreeSet<_>>() {
            let limits = (objects.get(name).copied(), writes.get(name).copied());
            let same = all.get(name.as_bytes()).filter(|old| (old.objects, old.writes) == limits);
            let quota =
                same.cloned().unwrap_or_else(|| Arc::new(Quota::new(limits.0, limits.1, now)));
            new.insert(Box::from(name.as_bytes()), quota);
        }
        *all = new;
        for function in store.functions() {
            function.set_limited(all.contains_key(names::owner(function.name())));
        }
    }

    /// Marks a function that a session begins to use, if it has a quota.
    pub(crate) fn mark(&self, function: &Function) {
        let all = self.by_function.read();
        if !all.is_empty() && all.contains_key(names::owner(function.name())) {
            function.set_limited(true);
        }
    }

    /// The quota of a function; none if it has none.
    pub(crate) fn of(&self, owner: &[u8]) -> Option<Arc<Quota>> {
        self.by_function.read().get(owner).cloned()
    }

    /// Counts a command that `quota` refuses.
    pub(crate) fn count_refused(&self, quota: &Quota) {
        quota.refused.fetch_add(1, Ordering::Relaxed);
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// How many commands quotas have refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// How many objects a function has here, in its first `databases` databases.
pub(crate) fn objects(store: &Store, owner: &[u8], databases: u32) -> u64 {
    let in_one = |number| {
        let function = store.find(&names::with_database(owner, number));
        function.map_or(0, |function| function.object_count() as u64)
    };
    (0..databases).map(in_one).sum()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn writes_are_so_many_a_second() {
        let start = Instant::now();
        let quota = Quota::new(None, Some(10), start);
        let taken = |at| (0..100).filter(|_| quota.takes_write(at)).count();
        assert_eq!(taken(start), 10);
        assert_eq!(taken(start + Duration::from_millis(510)), 5);
        assert_eq!(taken(start + Duration::from_secs(60)), 10);
        assert!(Quota::new(None, None, start).takes_write(start));
    }
}
