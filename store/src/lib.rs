//! What one node holds: functions, their objects, the names in them, and what of it has changed.
//!
//! ```text
//! Store -> Function (namespace, one sequence of events, one causal context)
//!            -> Shard (a lock; chosen by the object's hash)
//!                 -> Object -> name -> value, 40 bytes for the usual counter
//!                 -> pending: one delta-group per changed CRDT and interval
//! ```
//!
//! An object lies wholly in one shard, so whatever is done to one object under the shard's lock is
//! atomic. Look-ups borrow their keys, and the object's hash is computed once. Nothing here knows
//! sockets or RESP; time comes in as a function pointer.

mod durable;
mod function;
mod held;
mod hooks;
pub mod journal;
mod mint;
mod object;
mod pending;
mod removals;
mod replica;
mod retire;
mod shard;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

pub use durable::{Recovery, recover, repair};
pub use function::Function;
pub use held::Held;
pub use hooks::Observer;
pub use mint::Mint;
pub use miso_crdt as crdt;
pub use miso_crdt::table::{hash, seed_hashes};
pub use object::{Names, Object, Slot};
pub use replica::{Buckets, Joined, Named, Outgoing, Refused, Vector};
pub use retire::{Deleting, Retirement};
pub use shard::{Shard, ShardGuard, WrongType};

/// How a store is made.
#[derive(Clone)]
pub struct Config {
    /// Who this node is as a writer: random for each incarnation.
    pub replica: miso_crdt::ReplicaId,
    /// Shards per function: a power of two, at most 64.
    pub shards: usize,
    /// Milliseconds since 1970.
    pub now_ms: Clock,
    /// How many bytes of memory a function's removal log may take.
    pub removal_log_bytes: usize,
}

/// A wall clock: milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

impl Config {
    /// The defaults, for a writer.
    #[must_use]
    pub fn new(replica: miso_crdt::ReplicaId, shards: usize, now_ms: Clock) -> Config {
        Config { replica, shards, now_ms, removal_log_bytes: 4 << 20 }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("replica", &self.replica)
            .field("shards", &self.shards)
            .field("removal_log_bytes", &self.removal_log_bytes)
            .finish_non_exhaustive()
    }
}

/// All functions of a node.
#[derive(Debug)]
pub struct Store {
    config: Config,
    clock: Arc<HybridClock>,
    pub(crate) hooks: Arc<hooks::Hooks>,
    functions: RwLock<HashMap<Box<[u8]>, Arc<Function>>>,
}

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new(config: Config) -> Store {
        let clock =
            Arc::new(HybridClock { last: AtomicU64::new(0), now_ms: Arc::clone(&config.now_ms) });
        Store { config, clock, hooks: Arc::default(), functions: RwLock::default() }
    }

    /// The function `name`, made now if it is new.
    pub fn function(&self, name: &[u8]) -> Arc<Function> {
        if let Some(function) = self.functions.read().get(name) {
            return Arc::clone(function);
        }
        let mut functions = self.functions.write();
        let new =
            || Function::new(name, &self.config, Arc::clone(&self.clock), Arc::clone(&self.hooks));
        Arc::clone(functions.entry(Box::from(name)).or_insert_with(new))
    }

    /// The function `name`, if there is one.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<Arc<Function>> {
        self.functions.read().get(name).cloned()
    }

    /// Tells `observer` what happens from now on. Once only.
    pub fn observe(&self, observer: Arc<dyn Observer>) {
        self.hooks.observe(observer);
    }

    /// Starts to gather, in all functions now and later, what a replicator sends.
    pub fn track(&self) {
        // Functions are made under the write lock, so each is either listed here or sees the flag.
        let functions = self.functions.write();
        self.hooks.track();
        functions.values().for_each(|function| function.track());
    }

    /// All functions, by name.
    #[must_use]
    pub fn functions(&self) -> Vec<Arc<Function>> {
        let mut all: Vec<_> = self.functions.read().values().cloned().collect();
        all.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        all
    }

    /// Who this node is as a writer.
    #[must_use]
    pub fn replica(&self) -> miso_crdt::ReplicaId {
        self.config.replica
    }
}

/// A hybrid logical clock: the wall's milliseconds << 16, never going back, never twice the same.
/// Source: Kulkarni et al. 2014, Logical physical clocks.
pub(crate) struct HybridClock {
    last: AtomicU64,
    now_ms: Clock,
}

impl std::fmt::Debug for HybridClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("HybridClock").field(&self.last).finish()
    }
}

impl HybridClock {
    pub(crate) fn tick(&self) -> u64 {
        let wall = (self.now_ms)() << 16;
        let step = |last: u64| Some(wall.max(last + 1));
        let before = self
            .last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, step)
            .expect("the update always gives a value");
        wall.max(before + 1)
    }
}

#[cfg(test)]
mod tests {
    use miso_crdt::{Delta, ReplicaId, Type, Value, kind};

    use super::*;

    fn store() -> Store {
        Store::new(Config::new(ReplicaId(7), 4, Arc::new(|| 1)))
    }

    /// The same with a journal: every event of it counts as seen.
    fn journaled() -> Store {
        let disk: Arc<dyn journal::Disk> = Arc::new(journal::FaultyDisk::new(5));
        let options = journal::Options { background: false, ..journal::Options::default() };
        let config = |_| Config::new(ReplicaId(7), 4, Arc::new(|| 1));
        recover(&disk, options, config, || 7).expect("an empty disk").store
    }

    fn is_pending(function: &Function, object: &[u8], name: &[u8]) -> bool {
        let shard = function.lock(function.shard_index(object));
        shard.is_pending(object, name, Type::GCounter)
    }

    fn add(function: &Function, object: &[u8], name: &[u8], n: u64) -> Result<i64, WrongType> {
        let hash = hash(object);
        let mut shard = function.lock(function.shard_of(hash));
        let add = |counter: &mut miso_crdt::Counter, mint: &mut Mint<'_>, _: Option<&mut _>| {
            counter.add(n, 0, mint)
        };
        let (value, _) = shard.write::<kind::GCounter, _>((hash, object, name), add)?;
        Ok(value.expect("no overflow in these tests"))
    }

    fn put(function: &Function, object: &[u8], name: &[u8], element: &[u8]) -> bool {
        let hash = hash(object);
        let mut shard = function.lock(function.shard_of(hash));
        let written = shard.write::<kind::OrSet, _>((hash, object, name), |set, mint, change| {
            set.add(element, mint, change)
        });
        written.expect("a set").0
    }

    #[test]
    fn functions_are_apart_and_reads_create_nothing() {
        let store = store();
        let (a, b) = (store.function(b"a"), store.function(b"b"));
        assert_eq!(add(&a, b"o", b"n", 3), Ok(3));
        let hash = hash(b"o");
        let shard = b.lock(b.shard_of(hash));
        assert_eq!(shard.read::<kind::GCounter>(hash, b"o", b"n"), Ok(None));
        drop(shard);
        assert_eq!((a.object_count(), b.object_count()), (1, 0));
    }

    #[test]
    fn a_name_has_one_type_and_deletion_frees_it() {
        let store = store();
        let function = store.function(b"f");
        let hash = hash(b"o");
        for n in 0..20 {
            add(&function, b"o", format!("n{n}").as_bytes(), 1).expect("a new name");
        }
        {
            let mut shard = function.lock(function.shard_of(hash));
            assert_eq!(shard.read::<kind::OrSet>(hash, b"o", b"n0"), Err(WrongType));
            assert_eq!(shard.read::<kind::PnCounter>(hash, b"o", b"n0"), Err(WrongType));
            assert!(shard.delete(hash, b"o", b"n0") && !shard.delete(hash, b"o", b"n0"));
        }
        assert!(put(&function, b"o", b"n0", b"x"));
        let mut shard = function.lock(function.shard_of(hash));
        assert_eq!(shard.delete_object(hash, b"o"), 20);
        drop(shard);
        assert_eq!(function.object_count(), 0);
    }

    fn taken(function: &Function) -> Vec<miso_crdt::Change> {
        let Some(batch) = function.take_batch() else { return Vec::new() };
        let mut writers = miso_crdt::Writers::of(ReplicaId(7));
        miso_crdt::batch::read(&batch.message, 100, &mut writers).expect("just written")
    }

    #[test]
    fn one_change_per_crdt_and_interval() {
        for store in [store(), journaled()] {
            let function = store.function(b"f");
            add(&function, b"o", b"before", 1).expect("a counter");
            let nothing = function.take_batch().map(|batch| batch.changes);
            assert_eq!(nothing, Some(0), "nobody asked yet");
            function.track();
            for round in 1..=3u64 {
                for _ in 0..10 {
                    add(&function, b"o", b"n", 1).expect("a counter");
                    put(&function, b"o", b"s", b"x");
                    put(&function, b"o", b"s", format!("{round}").as_bytes());
                }
                assert!(is_pending(&function, b"o", b"n"));
                let mut changes = taken(&function);
                assert!(!is_pending(&function, b"o", b"n"));
                assert_eq!(function.sent(), function.seq());
                changes.sort_by(|a, b| a.name.cmp(&b.name));
                let names: Vec<&[u8]> = changes.iter().map(|change| &*change.name).collect();
                assert_eq!(names, [b"n", b"s"]);
                assert_eq!(counted(&changes[..1]), round as i64 * 10);
            }
            assert_eq!(function.take_batch(), None);
        }
    }

    /// What the changes of one counter come to, at a peer that knows nothing yet.
    fn counted(changes: &[miso_crdt::Change]) -> i64 {
        let mut value = Value::empty(Type::GCounter);
        changes.iter().for_each(|change| _ = value.apply(&(), &change.delta));
        match value {
            Value::GCounter(counter) => counter.value(),
            _ => unreachable!("made a counter above"),
        }
    }

    #[test]
    fn a_counter_deleted_and_counted_on_within_an_interval_is_told_as_it_is() {
        for store in [store(), journaled()] {
            let function = store.function(b"f");
            function.track();
            let hash = hash(b"o");
            let delete =
                || function.lock(function.shard_of(hash)).delete(hash, b"o", b"n").then_some(());
            add(&function, b"o", b"n", 5).expect("a counter");
            let mut all = taken(&function);
            for n in 1..=3 {
                add(&function, b"o", b"n", 40).expect("a counter");
                delete().expect("it is there");
                add(&function, b"o", b"n", n).expect("a counter");
                all.extend(taken(&function));
                assert_eq!(counted(&all), n as i64);
            }
            add(&function, b"o", b"n", 1).expect("a counter");
            delete().expect("it is there");
            all.extend(taken(&function));
            assert_eq!(counted(&all), 0);
        }
    }

    /// Peers that never write never say words that count: what waits for one would wait for ever.
    #[test]
    fn own_counters_that_are_deleted_leave_nothing_to_collect() {
        let store = store();
        let function = store.function(b"f");
        function.track();
        for round in 0..10u64 {
            let name = format!("n{round}");
            add(&function, b"o", name.as_bytes(), round).expect("a counter");
            assert!(function.take_batch().is_some());
            let hash = hash(b"o");
            let deleted =
                function.lock(function.shard_of(hash)).delete(hash, b"o", name.as_bytes());
            assert!(deleted && function.take_batch().is_some());
        }
        assert_eq!((function.object_count(), function.floored_count()), (0, 0));
    }

    #[test]
    fn what_came_and_went_within_an_interval_is_not_told() {
        let store = store();
        let function = store.function(b"f");
        function.track();
        put(&function, b"o", b"s", b"x");
        let hash = hash(b"o");
        let mut shard = function.lock(function.shard_of(hash));
        let removed = shard.modify::<kind::OrSet, _>((hash, b"o", b"s"), |set, mint, change| {
            set.remove(b"x", mint, change)
        });
        assert_eq!(removed, Ok(Some((true, true))));
        drop(shard);
        assert_eq!(taken(&function), []);
        assert_eq!(function.sent(), function.seq(), "its events are told all the same");
        assert_eq!(Delta::empty(Type::OrSet).kind(), Type::OrSet);
    }

    #[test]
    fn a_scan_over_shards_returns_every_object() {
        let store = store();
        let function = store.function(b"f");
        for n in 0..3_000 {
            add(&function, format!("o{n}").as_bytes(), b"n", 1).expect("a counter");
        }
        let mut seen = std::collections::BTreeSet::new();
        let mut cursor = 0;
        loop {
            cursor = Held::none(&function).scan(cursor, 100, |key, _| {
                assert!(seen.insert(key.to_vec()));
            });
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(seen.len(), 3_000);
        assert!(Held::none(&function).random(|| 12_345).is_some());
    }

    #[test]
    fn a_watch_sees_the_next_change_once() {
        let store = store();
        let function = store.function(b"f");
        let flag = Arc::new(std::sync::atomic::AtomicBool::new(false));
        function.watch(b"o", &flag);
        add(&function, b"other", b"n", 1).expect("a counter");
        assert!(!flag.load(Ordering::Acquire));
        add(&function, b"o", b"n", 1).expect("a counter");
        assert!(flag.swap(false, Ordering::AcqRel));
        function.watch(b"o", &flag);
        function.unwatch(b"o", &flag);
        add(&function, b"o", b"n", 1).expect("a counter");
        assert!(!flag.load(Ordering::Acquire));
    }
}
