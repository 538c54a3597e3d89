//! Quotas: what a function may have and do on this node.
//!
//! A function that has a quota is marked in the store, in the byte that each command looks at anyway: so a
//! function without one pays nothing.
//!
//! What its objects take in memory is known from two figures: what they took when they were last walked through
//! ([`Quotas::measure`]), and what the commands since have taken of the allocator ([`Quota::took`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use miso_protocol::names;
use miso_store::{Function, Store};
use parking_lot::{Mutex, RwLock};

use super::bucket::Bucket;

/// How long measuring may take each time that it is called, but for one shard.
const TURN: Duration = Duration::from_millis(10);
/// The pause after a walk is this many times as long as the walk took.
const PAUSE: u32 = 50;
/// The shortest pause after a walk.
const PAUSE_LEAST: Duration = Duration::from_millis(900);

/// What a function may have and do; none: as much as there is room for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Limits {
    /// Objects.
    pub(crate) objects: Option<u64>,
    /// Writes a second.
    pub(crate) writes: Option<u64>,
    /// Bytes of memory of its objects.
    pub(crate) memory: Option<u64>,
    /// Bytes of a key that is written.
    pub(crate) key_bytes: Option<u64>,
    /// Connections that name it.
    pub(crate) connections: Option<u64>,
}

/// The limits that settings give, each by function.
pub(crate) type ByFunction = BTreeMap<String, u64>;

/// The quotas of a node.
#[derive(Debug, Default)]
pub(crate) struct Quotas {
    by_function: RwLock<BTreeMap<Box<[u8]>, Arc<Quota>>>,
    refused: AtomicU64,
}

/// How far the objects of a function have been walked through.
#[derive(Debug)]
struct Walk {
    /// The database and the shard that come next.
    at: (u32, usize),
    /// Bytes so far.
    bytes: u64,
    /// What commands had taken when it began.
    taken: i64,
    /// How long it has taken.
    spent: Duration,
}

/// The quota of a function, all of its databases together.
#[derive(Debug)]
pub(crate) struct Quota {
    pub(crate) limits: Limits,
    room: Mutex<Bucket>,
    refused: AtomicU64,
    /// Bytes of its objects, when they were last walked through.
    measured: AtomicU64,
    /// Bytes that commands have taken since that walk began.
    taken: AtomicI64,
    walk: Mutex<(Option<Walk>, Instant)>,
}

impl Quota {
    fn new(limits: Limits, now: Instant) -> Quota {
        let room = Bucket::new(limits.writes.unwrap_or(0) as f64, now);
        Quota {
            limits,
            room: Mutex::new(room),
            refused: AtomicU64::new(0),
            measured: AtomicU64::new(0),
            taken: AtomicI64::new(0),
            walk: Mutex::new((None, now)),
        }
    }

    /// Takes the room of one write at `now`; false if there is none. What is not used in a second is lost.
    pub(crate) fn takes_write(&self, now: Instant) -> bool {
        let Some(most) = self.limits.writes else { return true };
        let most = most as f64;
        self.room.lock().take(now, most, most)
    }

    /// How many commands it has refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// A command of the function has taken `bytes` of memory, or given them back if they are below 0.
    pub(crate) fn took(&self, bytes: isize) {
        self.taken.fetch_add(bytes as i64, Ordering::Relaxed);
    }

    /// About how many bytes its objects take; 0 if it has no limit of memory.
    pub(crate) fn memory(&self) -> u64 {
        let taken = self.taken.load(Ordering::Relaxed);
        self.measured.load(Ordering::Relaxed).saturating_add_signed(taken)
    }

    /// Walks on through the objects of `owner` until `until`; none: to the end.
    fn measure(&self, store: &Store, owner: &[u8], databases: u32, until: Option<Instant>) {
        let mut state = self.walk.lock();
        let begun = Instant::now();
        if state.0.is_none() && state.1 > begun {
            return;
        }
        let taken = self.taken.load(Ordering::Relaxed);
        let mut walk =
            state.0.take().unwrap_or(Walk { at: (0, 0), bytes: 0, taken, spent: Duration::ZERO });
        while walk.at.0 < databases {
            let function = store.find(&names::with_database(owner, walk.at.0));
            let Some(function) = function.filter(|function| walk.at.1 < function.shards()) else {
                walk.at = (walk.at.0 + 1, 0);
                continue;
            };
            walk.bytes += function.shard_bytes(walk.at.1) as u64;
            walk.at.1 += 1;
            if until.is_some_and(|until| until <= Instant::now()) {
                walk.spent += begun.elapsed();
                state.0 = Some(walk);
                return;
            }
        }
        self.measured.store(walk.bytes, Ordering::Relaxed);
        self.taken.fetch_sub(walk.taken, Ordering::Relaxed);
        let spent = walk.spent + begun.elapsed();
        state.1 = Instant::now() + (spent * PAUSE).max(PAUSE_LEAST);
    }
}

impl Quotas {
    /// Sets the quotas of all functions anew, of which each has `databases`, and marks those that have one. Returns
    /// whether any has a limit of memory.
    pub(crate) fn set(
        &self,
        [objects, writes, memory, key_bytes, connections]: [&ByFunction; 5],
        store: &Store,
        databases: u32,
    ) -> bool {
        let now = Instant::now();
        let mut all = self.by_function.write();
        let mut new = BTreeMap::new();
        let named = [objects, writes, memory, key_bytes, connections]
            .into_iter()
            .flat_map(|all| all.keys());
        for name in named.collect::<BTreeSet<_>>() {
            let of = |limits: &ByFunction| limits.get(name).copied();
            let limits = Limits {
                objects: of(objects),
                writes: of(writes),
                memory: of(memory),
                key_bytes: of(key_bytes),
                connections: of(connections),
            };
            let same = all.get(name.as_bytes()).filter(|old| old.limits == limits).cloned();
            let quota = same.unwrap_or_else(|| {
                let quota = Quota::new(limits, now);
                // What is refused is counted on.
                let refused = all.get(name.as_bytes()).map_or(0, |old| old.refused());
                quota.refused.store(refused, Ordering::Relaxed);
                if limits.memory.is_some() {
                    quota.measure(store, name.as_bytes(), databases, None);
                }
                Arc::new(quota)
            });
            new.insert(Box::from(name.as_bytes()), quota);
        }
        *all = new;
        for function in store.functions() {
            function.set_limited(all.contains_key(names::owner(function.name())));
        }
        !memory.is_empty()
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

    /// Called about once a second: walks on through the objects of functions whose memory has a limit. That takes a
    /// fiftieth of the time at most, so large functions are measured more seldom.
    pub(crate) fn measure(&self, store: &Store, databases: u32) {
        let all: Vec<_> = {
            let all = self.by_function.read();
            let measured = all.iter().filter(|(_, quota)| quota.limits.memory.is_some());
            measured.map(|(name, quota)| (name.clone(), Arc::clone(quota))).collect()
        };
        for (name, quota) in all {
            quota.measure(store, &name, databases, Some(Instant::now() + TURN));
        }
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
    use super::*;

    #[test]
    fn writes_are_so_many_a_second() {
        let start = Instant::now();
        let limits = Limits { writes: Some(10), ..Limits::default() };
        let quota = Quota::new(limits, start);
        let taken = |at| (0..100).filter(|_| quota.takes_write(at)).count();
        assert_eq!(taken(start), 10);
        assert_eq!(taken(start + Duration::from_millis(510)), 5);
        assert_eq!(taken(start + Duration::from_secs(60)), 10);
        assert!(Quota::new(Limits::default(), start).takes_write(start));
    }

    #[test]
    fn what_commands_take_counts_until_the_next_walk() {
        use miso_store::Config;
        use miso_store::crdt::ReplicaId;

        let store = Store::new(Config::new(ReplicaId(1), 1, Arc::new(|| 0)));
        let limits = Limits { memory: Some(1), ..Limits::default() };
        let quota = Quota::new(limits, Instant::now());
        quota.took(500);
        quota.took(-200);
        assert_eq!(quota.memory(), 300);
        quota.measure(&store, b"f", 16, None);
        assert_eq!(quota.memory(), 0, "nothing is there");
        quota.took(-7);
        assert_eq!(quota.memory(), 0, "never below");
        quota.measure(&store, b"f", 16, None);
        assert_eq!(quota.memory(), 0, "it rests after a walk");
    }
}
