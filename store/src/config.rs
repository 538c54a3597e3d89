//! How a store is made, and its clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use miso_crdt::ReplicaId;

/// How a store is made.
#[derive(Clone)]
pub struct Config {
    /// This node's id as a writer: random for each incarnation.
    pub replica: ReplicaId,
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
    pub fn new(replica: ReplicaId, shards: usize, now_ms: Clock) -> Config {
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

/// A hybrid logical clock: the wall's milliseconds << 16, never going back, never twice the same.
/// Source: Kulkarni et al. 2014, Logical physical clocks.
pub(crate) struct HybridClock {
    last: AtomicU64,
    now_ms: Clock,
    /// By how many milliseconds it is ahead of the clocks of all other nodes.
    lead: AtomicU64,
}

impl std::fmt::Debug for HybridClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("HybridClock").field(&self.last).finish()
    }
}

impl HybridClock {
    pub(crate) fn new(now_ms: Clock) -> HybridClock {
        HybridClock { last: AtomicU64::new(0), now_ms, lead: AtomicU64::new(0) }
    }

    /// The time in milliseconds, no earlier than that of any tick.
    pub(crate) fn now(&self) -> u64 {
        (self.now_ms)().max(self.last.load(Ordering::Relaxed) >> 16)
    }

    pub(crate) fn lead(&self) -> u64 {
        self.lead.load(Ordering::Relaxed)
    }

    pub(crate) fn set_lead(&self, lead: u64) {
        self.lead.store(lead, Ordering::Relaxed);
    }

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
