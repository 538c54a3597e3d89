//! All functions of a node.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::RwLock;

use crate::config::{Config, HybridClock};
use crate::expiry::Expired;
use crate::function::{Function, Hooks, Observer};
use crate::journal::Journal;

/// All functions of a node.
#[derive(Debug)]
pub struct Store {
    config: Config,
    clock: Arc<HybridClock>,
    pub(crate) hooks: Arc<Hooks>,
    functions: RwLock<HashMap<Box<[u8]>, Arc<Function>>>,
}

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new(config: Config) -> Store {
        let clock = Arc::new(HybridClock::new(Arc::clone(&config.now_ms)));
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

    /// How many functions there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.functions.read().len()
    }

    /// Forgets the function `name` if nothing was ever written in it, here or elsewhere. Returns false
    /// if something refers to it now, so that it has to be tried again.
    pub fn forget_unused(&self, name: &[u8]) -> bool {
        let mut functions = self.functions.write();
        let Some(function) = functions.get(name) else { return true };
        if !function.context().is_empty() {
            return true;
        }
        // Under this lock no further reference can be made.
        let is_unused = Arc::strong_count(function) == 1;
        if is_unused {
            functions.remove(name);
            let room = functions.capacity() / 8;
            if functions.len() < room {
                functions.shrink_to(2 * room);
            }
        }
        is_unused
    }

    /// Tells `observer` what happens from now on. Once only.
    pub fn observe(&self, observer: Arc<dyn Observer>) {
        self.hooks.observe(observer);
    }

    /// Says whether the observer wants to hear of changes ([`Observer::changed`]). As long as
    /// it does not, a write costs one relaxed load for it.
    pub fn listen(&self, listened: bool) {
        self.hooks.listen(listened);
    }

    /// Sets for how long at least the ids of writes that ran once are kept, in milliseconds, where a function
    /// has no value of its own, and by function; and how many ids a function may have.
    pub fn set_once_limits(&self, windows_ms: (u64, BTreeMap<Box<[u8]>, u64>), max: usize) {
        self.hooks.once.set(windows_ms, max);
    }

    /// Whether an id of a write that runs once was ever kept, in any function.
    #[must_use]
    pub fn has_once(&self) -> bool {
        self.hooks.once.used.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Whether there ever was a HyperLogLog in any function.
    #[must_use]
    pub fn has_sketches(&self) -> bool {
        self.hooks.sketched.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Whether somebody listens.
    #[must_use]
    pub fn is_listened_to(&self) -> bool {
        self.hooks.listened()
    }

    /// The journal; none if the store is in memory alone.
    #[must_use]
    pub fn journal(&self) -> Option<&Journal> {
        self.hooks.journal()
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

    /// Says by how many milliseconds this node's clock is ahead of those of all other nodes that are known. What has
    /// expired by it alone is left to them: its memory is taken back that much later.
    pub fn set_clock_lead(&self, lead: u64) {
        self.clock.set_lead(lead);
    }

    /// Looks after keys that have expired, in all functions: see [`Function::expire`]. To be called a
    /// few times a second.
    pub fn expire(&self) -> Expired {
        let due: Vec<_> =
            self.functions.read().values().filter(|function| function.is_due()).cloned().collect();
        let mut all = Expired::default();
        for function in due {
            let found = function.expire();
            all.keys += found.keys;
            all.more |= found.more;
        }
        all
    }

    /// This node's id as a writer.
    #[must_use]
    pub fn replica(&self) -> miso_crdt::ReplicaId {
        self.config.replica
    }
}
