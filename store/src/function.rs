//! A function: a namespace of objects with one sequence of events and one causal context.

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use miso_crdt::{Context, Dot, Type, Writer, Writers};
use parking_lot::{MappedMutexGuard, Mutex};

use crate::changelog::ChangeLog;
use crate::config::{Config, HybridClock};
use crate::deadlines::Ended;
use crate::durable::records;
use crate::joining::{Joining, LOCAL};
use crate::journal::Journal;
use crate::once::state::{OnceLimits, OnceState};
use crate::shard::Shard;
use crate::shard::lazy::Shards;
use crate::unfolded::Sketches;

/// What the rest of a node hears from its store.
pub trait Observer: Send + Sync + Debug {
    /// The function has something to send, for the first time since its last batch was taken. May be
    /// called under a shard's lock, so it must not wait, and must not touch the function's objects.
    fn wrote(&self, function: &Arc<Function>);

    /// A value has changed, by a command of this node or by what a peer sent. Called only while
    /// somebody listens ([`Store::listen`](crate::Store::listen)), after the shard was unlocked.
    fn changed(&self, function: &Function, object: &[u8], name: &[u8], kind: Type);

    /// A plain key has changed by what a peer sent; `was` says whether it was there before. Called as
    /// [`Observer::changed`].
    fn merged(&self, _function: &Function, _key: &[u8], _was: bool) {}

    /// A key has expired, or fields of it, as this node sees it. Called once for each deadline, after the
    /// shard was unlocked; of fields only while somebody listens.
    fn expired(&self, _function: &Function, _key: &[u8], _what: Ended) {}

    /// There is something to read for those that follow the function ([`Function::follow`]). May be called
    /// under the lock of what a function knows, so it must not wait, and must not ask the function.
    fn followed(&self, _function: &Function) {}
}

/// What all functions of a store share: the observer and the journal.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    observer: OnceLock<Arc<dyn Observer>>,
    /// Whether somebody wants to hear of changes. All that a write asks: one relaxed load.
    listened: AtomicBool,
    /// Whether changes are gathered from a function's first one on.
    tracked: AtomicBool,
    journal: OnceLock<Journal>,
    /// Of writes that are to run once.
    pub(crate) once: OnceLimits,
    /// Whether there ever was a HyperLogLog.
    pub(crate) sketched: AtomicBool,
}

impl Hooks {
    pub(crate) fn observe(&self, observer: Arc<dyn Observer>) {
        // One store has one node around it; a second observer would be a mistake in the wiring.
        assert!(self.observer.set(observer).is_ok(), "a store is observed once");
    }

    pub(crate) fn listen(&self, listened: bool) {
        self.listened.store(listened, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn listened(&self) -> bool {
        self.listened.load(Ordering::Relaxed)
    }

    /// From now on, what changes is journaled. Once only.
    pub(crate) fn journal_to(&self, journal: Journal) {
        assert!(self.journal.set(journal).is_ok(), "a store has one journal");
    }

    #[inline]
    pub(crate) fn journal(&self) -> Option<&Journal> {
        self.journal.get()
    }

    pub(crate) fn track(&self) {
        self.tracked.store(true, Ordering::Release);
    }

    fn tracked(&self) -> bool {
        self.tracked.load(Ordering::Acquire)
    }
}

/// What all threads write, in cache lines of its own: its neighbours are read by all of them.
#[derive(Debug, Default)]
#[repr(align(128))]
struct CachePadded<T>(T);

/// What a write counts.
#[derive(Debug, Default)]
struct Written {
    /// The number of the local writer's newest event. One sequence for all CRDTs of the function,
    /// so that a vector says all that a node knows of it.
    seq: AtomicU64,
    objects: AtomicUsize,
}

/// A first sync with a peer is awaited.
const RESTORING: u8 = 1;
/// What is written is limited by a quota.
const LIMITED: u8 = 2;

/// A namespace of objects, replicated as one. Locks are taken in this order: joining, shards in
/// ascending order, vector.
#[derive(Debug)]
pub struct Function {
    me: Weak<Function>,
    name: Box<[u8]>,
    /// What the journal's records of what is done here begin with.
    writes_head: Box<[u8]>,
    pub(crate) shards: Shards,
    written: CachePadded<Written>,
    clock: Arc<HybridClock>,
    pub(crate) hooks: Arc<Hooks>,
    /// Why commands must look further: [`RESTORING`] and [`LIMITED`].
    marks: AtomicU8,
    /// Whether deletes have to wait: see [`Function::pause_deletes`].
    pub(crate) deletes_paused: AtomicBool,
    /// How many deletes run that were let through before.
    pub(crate) deleting: AtomicUsize,
    /// Whether something has changed since the last batch was taken.
    pub(crate) dirty: AtomicBool,
    pub(crate) joining: Mutex<Joining>,
    /// Which of others' events are applied. Shared, so that it is read without copying.
    pub(crate) vector: Mutex<Arc<Context>>,
    /// Which values have changed, while somebody follows the function. Locked last of all.
    pub(crate) changes: Mutex<Option<Box<ChangeLog>>>,
    /// Whether there is a change log. Only what gathers and joins changes asks.
    pub(crate) followed: AtomicBool,
    /// How many bytes the removal log may take.
    pub(crate) log_limit: usize,
    /// When the first key of any shard may have expired, in milliseconds.
    pub(crate) first_deadline: AtomicU64,
    /// What is known of writes that are to run once, beside their ids.
    pub(crate) once: OnceState,
    pub(crate) sketches: Sketches,
    /// How long after their deadlines this node takes back the memory of keys: see `expiry`.
    pub(crate) turn: u64,
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
        let shards = Shards::new(config.shards, Arc::new(writers.clone()));
        let function = Arc::new_cyclic(|me| Function {
            me: Weak::clone(me),
            name: Box::from(name),
            writes_head: records::writes_head(name, config.replica),
            shards,
            written: CachePadded::default(),
            clock,
            hooks,
            marks: AtomicU8::new(0),
            deletes_paused: AtomicBool::new(false),
            deleting: AtomicUsize::new(0),
            dirty: AtomicBool::new(false),
            joining: Mutex::new(Joining::new(writers)),
            vector: Mutex::default(),
            changes: Mutex::default(),
            followed: AtomicBool::new(false),
            log_limit: config.removal_log_bytes,
            first_deadline: AtomicU64::new(u64::MAX),
            once: OnceState::default(),
            sketches: Sketches::default(),
            turn: config.replica.0,
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
        self.marks.load(Ordering::Acquire) & RESTORING != 0
    }

    /// Says whether a first sync with a peer is awaited.
    pub fn set_restoring(&self, restoring: bool) {
        self.mark(RESTORING, restoring);
    }

    /// Says whether what is written here is limited by a quota of the caller's.
    pub fn set_limited(&self, limited: bool) {
        self.mark(LIMITED, limited);
    }

    /// Whether a command must look further before it runs: the function is [restoring](Self::restoring), or
    /// [limited](Self::set_limited).
    #[must_use]
    pub fn is_marked(&self) -> bool {
        self.marks.load(Ordering::Acquire) != 0
    }

    fn mark(&self, mark: u8, on: bool) {
        if on {
            self.marks.fetch_or(mark, Ordering::AcqRel);
        } else {
            self.marks.fetch_and(!mark, Ordering::AcqRel);
        }
    }

    pub(crate) fn next_dot(&self) -> Dot {
        let seq = self.written.0.seq.fetch_add(1, Ordering::Relaxed) + 1;
        Dot::new(LOCAL, seq).expect("2^48 events outlast the hardware")
    }

    /// The number of the local writer's newest event.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.written.0.seq.load(Ordering::Relaxed)
    }

    pub(crate) fn seq_at_least(&self, seq: u64) {
        self.written.0.seq.fetch_max(seq, Ordering::Relaxed);
    }

    /// The time by which keys expire: milliseconds of Unix time by this node's hybrid logical clock, never
    /// going back.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.clock.now()
    }

    pub(crate) fn tick(&self) -> u64 {
        self.clock.tick()
    }

    /// By how many milliseconds this node's clock is ahead of those of all other nodes.
    pub(crate) fn clock_lead(&self) -> u64 {
        self.clock.lead()
    }

    /// All that is known here of the function.
    #[must_use]
    pub fn context(&self) -> Context {
        let mut context = Context::clone(&self.vector.lock());
        context.raise(LOCAL, self.seq());
        context
    }

    /// Tells the observer, once until the next batch is taken, that there is something to send. Called
    /// under a shard's lock.
    pub(crate) fn wrote(&self) {
        if !self.dirty.load(Ordering::Relaxed)
            && !self.dirty.swap(true, Ordering::SeqCst)
            && let (Some(observer), Some(me)) = (self.hooks.observer.get(), self.me.upgrade())
        {
            observer.wrote(&me);
        }
    }

    /// Tells the observer that there is something to look after, whether or not anything is gathered.
    pub(crate) fn wake(&self) {
        if let (Some(observer), Some(me)) = (self.hooks.observer.get(), self.me.upgrade()) {
            observer.wrote(&me);
        }
    }

    /// Tells the observer what of a key has expired. To be called without a lock of a shard.
    pub(crate) fn tell_expired(&self, key: &[u8], what: Ended) {
        if let Some(observer) = self.hooks.observer.get() {
            observer.expired(self, key, what);
        }
    }

    /// Tells the observer that there is something to read for those that follow the function.
    pub(crate) fn tell_followed(&self) {
        if let Some(observer) = self.hooks.observer.get() {
            observer.followed(self);
        }
    }

    /// Tells the observer that a value has changed. To be called without a lock of a shard.
    pub(crate) fn tell_changed(&self, object: &[u8], name: &[u8], kind: Type) {
        if let Some(observer) = self.hooks.observer.get()
            && !kind.is_hidden()
        {
            observer.changed(self, object, name, kind);
        }
    }

    /// Locks a shard, without what a [`ShardGuard`](crate::ShardGuard) does for commands.
    #[inline]
    pub(crate) fn shard(&self, which: usize) -> MappedMutexGuard<'_, Shard> {
        self.shards.lock(which, || self.seq())
    }

    /// Tells the observer that a plain key has changed by what a peer sent. To be called without a lock of a
    /// shard.
    pub(crate) fn tell_merged(&self, key: &[u8], was: bool) {
        if let Some(observer) = self.hooks.observer.get() {
            observer.merged(self, key, was);
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
        self.shard_of(miso_crdt::table::hash(object))
    }

    /// How many objects it has that do not read as absent. Takes no lock.
    #[must_use]
    pub fn object_count(&self) -> usize {
        self.written.0.objects.load(Ordering::Relaxed)
    }

    /// About how many bytes the objects of one of its shards take. Linear in what they hold, under the shard's lock.
    #[must_use]
    pub fn shard_bytes(&self, which: usize) -> usize {
        self.shards.made(which).map_or(0, |shard| {
            let objects = shard.objects.iter().map(|(_, object)| object.heap_bytes());
            shard.objects.heap_bytes() + objects.sum::<usize>()
        })
    }

    /// Adds `more` to the number of objects.
    #[inline]
    pub(crate) fn count_objects(&self, more: isize) {
        // All threads share the number, so it is left alone while nothing changes.
        if more == 0 {
            return;
        }
        // Modulo 2^64, so that less is more.
        self.written.0.objects.fetch_add(more as usize, Ordering::Relaxed);
    }

    /// The first step towards an object that is looked up soon; see [`Table::prefetch_bucket`].
    ///
    /// [`Table::prefetch_bucket`]: miso_crdt::Table::prefetch_bucket
    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        if let Some(shard) = self.shards.made(self.shard_of(hash)) {
            shard.objects.prefetch_bucket(hash);
        }
    }

    /// The second step; see [`Table::prefetch_key`].
    ///
    /// [`Table::prefetch_key`]: miso_crdt::Table::prefetch_key
    #[inline]
    pub fn prefetch_object(&self, hash: u64) {
        if let Some(shard) = self.shards.made(self.shard_of(hash)) {
            shard.objects.prefetch_key(hash);
        }
    }

    /// Sets `flag` when `object` next changes.
    pub fn watch(&self, object: &[u8], flag: &Arc<AtomicBool>) {
        self.shard(self.shard_index(object)).watch(object, flag);
    }

    /// Takes back [`Function::watch`].
    pub fn unwatch(&self, object: &[u8], flag: &Arc<AtomicBool>) {
        if let Some(mut shard) = self.shards.made(self.shard_index(object)) {
            shard.unwatch(object, flag);
        }
    }
}
