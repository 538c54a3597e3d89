//! A function: a namespace of objects with one sequence of events and one causal context.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use miso_crdt::{Context, Dot, Writer, Writers};
use parking_lot::Mutex;

use crate::pending::Change;
use crate::shard::{Shard, ShardGuard};
use crate::{Config, HybridClock};

/// The local writer is the first that a function interns.
const LOCAL: Writer = Writer(0);

/// A namespace of objects, replicated as one.
#[derive(Debug)]
pub struct Function {
    name: Box<[u8]>,
    shards: Box<[Mutex<Shard>]>,
    /// The number of the local writer's newest event. One sequence for all CRDTs of the function,
    /// so that a vector says all that a node knows of it (`semantics.md` 3.1, rule 2).
    seq: AtomicU64,
    objects: AtomicUsize,
    announced: AtomicBool,
    clock: Arc<HybridClock>,
}

impl Function {
    pub(crate) fn new(name: &[u8], config: &Config, clock: Arc<HybridClock>) -> Function {
        assert!(config.shards.is_power_of_two() && config.shards <= 64, "shards: 1, 2, 4 … 64");
        let mut writers = Writers::new();
        writers.intern(config.replica);
        let writers = Arc::new(writers);
        let shard = || Mutex::new(Shard::new(Arc::clone(&writers)));
        Function {
            name: Box::from(name),
            shards: (0..config.shards).map(|_| shard()).collect(),
            seq: AtomicU64::new(0),
            objects: AtomicUsize::new(0),
            announced: AtomicBool::new(false),
            clock,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The local writer.
    #[must_use]
    pub const fn writer(&self) -> Writer {
        LOCAL
    }

    pub(crate) fn next_dot(&self) -> Dot {
        let seq = self.seq.fetch_add(1, Ordering::Relaxed) + 1;
        Dot::new(LOCAL, seq).expect("2^48 events outlast the hardware")
    }

    /// The number of the local writer's newest event.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq.load(Ordering::Relaxed)
    }

    pub(crate) fn tick(&self) -> u64 {
        self.clock.tick()
    }

    /// All that is known here of the function.
    #[must_use]
    pub fn context(&self) -> Context {
        let mut context = Context::new();
        context.raise(LOCAL, self.seq());
        context
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

    /// Whether a writer has to say that there is something new: not if one has said so already and
    /// nobody has [`heed`](Function::heed)ed it yet. To be called after the write.
    pub fn announce(&self) -> bool {
        // Mostly true under load; the line then stays shared between the writers' cores.
        !self.announced.load(Ordering::Acquire) && !self.announced.swap(true, Ordering::AcqRel)
    }

    /// Writers announce again from here on. To be called before looking for what is new.
    pub fn heed(&self) {
        self.announced.store(false, Ordering::Release);
    }

    /// How many objects it has. Takes no lock.
    #[must_use]
    pub fn object_count(&self) -> usize {
        self.objects.load(Ordering::Relaxed)
    }

    pub(crate) fn count_object(&self, new: bool) {
        if new {
            self.objects.fetch_add(1, Ordering::Relaxed);
        } else {
            self.objects.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Sets `flag` when `object` next changes.
    pub fn watch(&self, object: &[u8], flag: &Arc<AtomicBool>) {
        self.shards[self.shard_index(object)].lock().watch(object, flag);
    }

    /// Takes back [`Function::watch`].
    pub fn unwatch(&self, object: &[u8], flag: &Arc<AtomicBool>) {
        self.shards[self.shard_index(object)].lock().unwatch(object, flag);
    }

    /// Starts to gather what changes, for a replicator; what is there already, it gets by a sync.
    pub fn track(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            let seq = self.seq();
            shard.track(seq);
        }
    }

    /// Takes what changed since the last call: one change per CRDT, whatever the number of updates.
    /// The changes are exactly those of the events after the last call's answer up to this one's.
    pub fn drain(&self, changes: &mut Vec<Change>) -> u64 {
        // One cut through all shards, in ascending order: a batch that held an event beyond its
        // range would lose it for good with a batch that is lost, since the next range says nothing
        // of it. Under the locks nothing is done but to set the gathered changes aside.
        let (upto, taken) = {
            let mut shards: Vec<_> = self.shards.iter().map(|shard| shard.lock()).collect();
            let upto = self.seq();
            let taken: Vec<_> = shards.iter_mut().map(|shard| shard.cut(upto)).collect();
            (upto, taken)
        };
        for (shard, pending) in self.shards.iter().zip(taken) {
            if !pending.is_empty() {
                shard.lock().collect_changes(LOCAL, pending, changes);
            }
        }
        upto
    }
}
