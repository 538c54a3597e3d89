//! The state of checkpoints, which `durability` writes and INFO shows.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use miso_store::journal::RecoveredSummary;
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::clock::unix_ms;

/// The checkpoints of this run: whether one is wanted or running, and what the last one did.
#[derive(Debug)]
pub(crate) struct Saving {
    wanted: Mutex<bool>,
    wake: Condvar,
    pub(crate) running: AtomicBool,
    /// When the one that is running began, in milliseconds since 1970.
    pub(crate) began_ms: AtomicU64,
    /// When the last one succeeded, in seconds since 1970.
    pub(crate) last: AtomicU64,
    /// Whether the last one failed.
    pub(crate) failed: AtomicBool,
    /// How many seconds the last one took; -1 if there was none.
    pub(crate) took: AtomicI64,
    /// Its length.
    pub(crate) bytes: AtomicU64,
    /// How many of the changes since the start it covers. Negative if the start found log records that it
    /// does not cover: minus their number, since each holds at least one change.
    pub(crate) covers: AtomicI64,
    /// How many there were since the start.
    pub(crate) count: AtomicU64,
    /// How many failed since the last one that succeeded.
    pub(crate) failures: AtomicU64,
    /// Held while one is written.
    turn: Mutex<()>,
}

impl Saving {
    /// Notes the checkpoint that the last run left, and the log records that it does not cover.
    pub(crate) fn recovered(&self, summary: &RecoveredSummary) {
        self.bytes.store(summary.checkpoint_bytes, Ordering::Relaxed);
        self.covers.store(-(summary.log_records as i64), Ordering::Relaxed);
    }

    /// Asks for a checkpoint in the background.
    pub(crate) fn ask(&self) {
        *self.wanted.lock() = true;
        self.wake.notify_one();
    }

    /// Waits until one is asked for, at most `limit`. Returns whether it was, and forgets the question.
    pub(crate) fn asked_within(&self, limit: Duration) -> bool {
        let mut wanted = self.wanted.lock();
        if !*wanted {
            self.wake.wait_for(&mut wanted, limit);
        }
        std::mem::take(&mut *wanted)
    }

    /// Waits until no other checkpoint is written, and keeps others from it while the result lives.
    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock()
    }
}

impl Default for Saving {
    fn default() -> Saving {
        Saving {
            wanted: Mutex::new(false),
            wake: Condvar::new(),
            running: AtomicBool::new(false),
            began_ms: AtomicU64::new(0),
            last: AtomicU64::new(unix_ms() / 1000),
            failed: AtomicBool::new(false),
            took: AtomicI64::new(-1),
            bytes: AtomicU64::new(0),
            covers: AtomicI64::new(0),
            count: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            turn: Mutex::new(()),
        }
    }
}
