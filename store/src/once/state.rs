//! What is kept of writes that run once beside their ids: limits, a number, and what is to be looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};

/// The limits of all functions.
#[derive(Debug)]
pub(crate) struct OnceLimits {
    /// How long ids are kept at least, in milliseconds: where a function has no value of its own, and by
    /// function.
    windows_ms: RwLock<(u64, BTreeMap<Box<[u8]>, u64>)>,
    max: AtomicUsize,
    /// Whether any function has had an id.
    pub(crate) used: AtomicBool,
}

impl Default for OnceLimits {
    fn default() -> OnceLimits {
        OnceLimits {
            windows_ms: RwLock::new((15 * 60 * 1_000, BTreeMap::new())),
            max: AtomicUsize::new(1_000_000),
            used: AtomicBool::new(false),
        }
    }
}

impl OnceLimits {
    pub(crate) fn set(&self, windows_ms: (u64, BTreeMap<Box<[u8]>, u64>), max: usize) {
        *self.windows_ms.write() = windows_ms;
        self.max.store(max, Ordering::Relaxed);
    }

    pub(crate) fn window_ms(&self, function: &[u8]) -> u64 {
        let windows = self.windows_ms.read();
        windows.1.get(function).copied().unwrap_or(windows.0)
    }

    pub(crate) fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }
}

/// What a function keeps.
#[derive(Debug, Default)]
pub(crate) struct OnceState {
    /// How many ids there are.
    pub(crate) count: AtomicUsize,
    /// Ids that peers have told of, and ids of which a claim of this node lost.
    pub(crate) watched: Mutex<BTreeSet<Box<[u8]>>>,
    /// Whether ids have come by other ways than a command here.
    pub(crate) joined: AtomicBool,
    /// The next bucket that is looked through for ids to forget.
    pub(crate) next: AtomicUsize,
}

impl OnceState {
    /// Notes that a peer, or the journal, has told of ids.
    pub(crate) fn joined<'a>(&self, ids: impl Iterator<Item = &'a [u8]>) {
        self.watched.lock().extend(ids.map(Box::from));
        self.joined.store(true, Ordering::Release);
    }
}
