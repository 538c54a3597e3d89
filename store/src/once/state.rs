//! What is kept of writes that run once beside their ids: limits, a number, and what is to be looked at.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

/// The limits of all functions.
#[derive(Debug)]
pub(crate) struct OnceLimits {
    window_ms: AtomicU64,
    max: AtomicUsize,
    /// Whether any function has had an id.
    pub(crate) used: AtomicBool,
}

impl Default for OnceLimits {
    fn default() -> OnceLimits {
        OnceLimits {
            window_ms: AtomicU64::new(15 * 60 * 1_000),
            max: AtomicUsize::new(1_000_000),
            used: AtomicBool::new(false),
        }
    }
}

impl OnceLimits {
    pub(crate) fn set(&self, window_ms: u64, max: usize) {
        self.window_ms.store(window_ms, Ordering::Relaxed);
        self.max.store(max, Ordering::Relaxed);
    }

    pub(crate) fn window_ms(&self) -> u64 {
        self.window_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }
}

/// What a function keeps.
#[derive(Debug)]
pub(crate) struct OnceState {
    /// Its own window; `u64::MAX` if it has none.
    pub(crate) window_ms: AtomicU64,
    /// How many ids there are.
    pub(crate) count: AtomicUsize,
    /// Ids that peers have told of, and ids of which a claim of this node lost.
    pub(crate) watched: Mutex<BTreeSet<Box<[u8]>>>,
    /// Whether ids have come by other ways than a command here.
    pub(crate) joined: AtomicBool,
    /// The next bucket that is looked through for ids to forget.
    pub(crate) next: AtomicUsize,
}

impl Default for OnceState {
    fn default() -> OnceState {
        OnceState {
            window_ms: AtomicU64::new(u64::MAX),
            count: AtomicUsize::new(0),
            watched: Mutex::default(),
            joined: AtomicBool::new(false),
            next: AtomicUsize::new(0),
        }
    }
}

impl OnceState {
    /// Notes that a peer, or the journal, has told of ids.
    pub(crate) fn joined<'a>(&self, ids: impl Iterator<Item = &'a [u8]>) {
        self.watched.lock().extend(ids.map(Box::from));
        self.joined.store(true, Ordering::Release);
    }
}
