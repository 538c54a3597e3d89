//! A function: a namespace of objects with one sequence of events and one causal context.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use miso_crdt::{Context, Dot, Writer, Writers};
use parking_lot::Mutex;

use crate::hooks::Hooks;
use crate::replica::Joining;
use crate::shard::{Shard, ShardGuard};
use crate::{Config, HybridClock, durable};

/// The local writer is the first that a function interns.
pub(crate) const LOCAL: Writer = Writer(0);

/// What all threads write, in cache lines of its own: what stands beside it is read by all of them.
#[derive(Debug)]
#[repr(align(128))]
struct Apart<T>(T);

/// A namespace of objects, replicated as one. Locks are taken in this order: joining, shards in
/// ascending order, vector.
#[derive(Debug)]
pub struct Function {
    me: Weak<Function>,
    name: Box<[u8]>,
    /// What the journal's records of what is done here begin with.
    writes_head: Box<[u8]>,
    pub(crate) shards: Box<[Mutex<Shard>]>,
    /// The number of the local writer's newest event. One sequence for all CRDTs of the function,
    /// so that a vector says all that a node knows of it (`semantics.md` 3.1, rule 2).
    seq: Apart<AtomicU64>,
    objects: Apart<AtomicUsize>,
    clock: Arc<HybridClock>,
    pub(crate) hooks: Arc<Hooks>,
    /// Whether a first sync with a peer is awaited: then what is absent here may be there.
    restoring: AtomicBool,
    /// Whether deletes are to wait: see [`Function::freeze`].
    pub(crate) frozen: AtomicBool,
    /// How many deletes run that were let through before.
    pub(crate) deleting: AtomicUsize,
    /// Whether something has changed since the last batch was taken.
    pub(crate) dirty: AtomicBool,
    pub(crate) joining: Mutex<Joining>,
    /// Which of others' events are applied. Shared, so that it is read without copying.
    pub(crate) vector: Mutex<Arc<Context>>,
    /// How many bytes the removal log may take.
    pub(crate) log_limit: usize,
}

impl Function {
    pub(crate) fn new(
        name: &[u8],
        config: &Config,
        clock: Arc<HybridClock>,
        hooks: Arc<Hooks>,
    ) -> Arc<Function> {
        assert!(config.shards.is_power_of_two() && config.shards <= 64, "shards: 1, 2, 4 … 64");
        let writers = Writers::of(config.replica);
        let shared = Arc::new(writers.clone());
        let shard = || Mutex::new(Shard::new(Arc::clone(&shared)));
        let function = Arc::new_cyclic(|me| Function {
            me: Weak::clone(me),
            name: Box::from(name),
            writes_head: durable::writes_head(name, config.replica),
            shards: (0..config.shards).map(|_| shard()).collect(),
            seq: Apart(AtomicU64::new(0)),
            objects: Apart(AtomicUsize::new(0)),
            clock,
            hooks,
            restoring: AtomicBool::new(false),
            frozen: AtomicBool::new(false),
            deleting: AtomicUsize::new(0),
            dirty: AtomicBool::new(false),
            joining: Mutex::new(Joining::new(writers)),
            vector: Mutex::default(),
            log_limit: config.removal_log_bytes,
        });
        if function.hooks.tracked() {
            function.track();
        }
        function
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    pub(crate) fn writes_head(&self) -> &[u8] {
        &self.writes_head
    }

    /// The local writer.
    #[must_use]
    pub const fn writer(&self) -> Writer {
        LOCAL
    }

    /// Whether a first sync with a peer is awaited: then what is absent here may be there.
    #[must_use]
    pub fn restoring(&self) -> bool {
        self.restoring.load(Ordering::Acquire)
    }

    /// Says whether a first sync with a peer is awaited.
    pub fn set_restoring(&self, restoring: bool) {
        self.restoring.store(restoring, Ordering::Release);
    }

    pub(crate) fn next_dot(&self) -> Dot {
        let seq = self.seq.0.fetch_add(1, Ordering::Relaxed) + 1;
        Dot::new(LOCAL, seq).expect("2^48 events outlast the hardware")
    }

    /// The number of the local writer's newest event.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq.0.load(Ordering::Relaxed)
    }

    pub(crate) fn seq_at_least(&self, seq: u64) {
        self.seq.0.fetch_max(seq, Ordering::Relaxed);
    }

    pub(crate) fn tick(&self) -> u64 {
        self.clock.tick()
    }

    /// All that is known here of the function.
    #[must_use]
    pub fn context(&self) -> Context {
        let mut context = Context::clone(&self.vector.lock());
        context.raise(LOCAL, self.seq());
        context
    }

    /// Says, once until the next batch is taken, that there is something to send. Called under a
    /// shard's lock.
    pub(crate) fn wrote(&self) {
        if !self.dirty.load(Ordering::Relaxed)
            && !self.dirty.swap(true, Ordering::SeqCst)
            && let (Some(observer), Some(me)) = (self.hooks.observer(), self.me.upgrade())
        {
            observer.wrote(&me);
        }
    }

    /// How many shards it has.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// The shard of the object with this [`hash`](crate::hash): bits that its table leaves alone.
    #[must_use]
    pub fn shard_of(&self, hash: u64) -> usize {
        (hash >> 51) as usize & (self.shards.len() - 1)
    }

    /// The shard of `object`.
    #[must_use]
    pub fn shard_index(&self, object: &[u8]) -> usize {
        self.shard_of(crate::hash(object))
    }

    /// Locks a shard. Who takes several takes them in ascending order.
    pub fn lock(&self, shard: usize) -> ShardGuard<'_> {
        ShardGuard::new(self, self.shards[shard].lock())
    }

    /// How many objects it has. Takes no lock.
    #[must_use]
    pub fn object_count(&self) -> usize {
        self.objects.0.load(Ordering::Relaxed)
    }

    /// Notes that there are so many objects more.
    pub(crate) fn count_objects(&self, more: isize) {
        // Modulo 2^64, so that less is more.
        self.objects.0.fetch_add(more as usize, Ordering::Relaxed);
    }

    /// Sets `flag` when `object` next changes.
    pub fn watch(&self, object: &[u8], flag: &Arc<AtomicBool>) {
        self.shards[self.shard_index(object)].lock().watch(object, flag);
    }

    /// Takes back [`Function::watch`].
    pub fn unwatch(&self, object: &[u8], flag: &Arc<AtomicBool>) {
        self.shards[self.shard_index(object)].lock().unwatch(object, flag);
    }
}
