//! Which HyperLogLogs have several sketches: see `sketches`.

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;

/// Keys, each once.
type Keys = HashSet<Box<[u8]>>;

/// What a function knows of its HyperLogLogs.
#[derive(Debug, Default)]
pub(crate) struct Sketches {
    /// Whether there ever was one.
    pub(crate) any: AtomicBool,
    /// Keys of several sketches. Locked after the shard's lock, and never before it.
    pub(crate) keys: Mutex<Option<Box<Keys>>>,
}
