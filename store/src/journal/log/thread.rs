//! The background thread.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::state::{FAILING, Log, Waiting};
use super::write::RETRY;
use crate::journal::policy::SyncPolicy;

/// The period of `everysec`.
const SECOND: Duration = Duration::from_secs(1);

impl Log {
    /// The background thread.
    pub(crate) fn run(&self) {
        let mut last = Instant::now();
        loop {
            let mut waiting = self.waiting.lock();
            let policy = self.policy();
            let sync_now = |waiting: &Waiting| waiting.sync_wanted && policy == SyncPolicy::Always;
            if !waiting.closing && !waiting.rotation_wanted && !sync_now(&waiting) {
                let failing = self.health.load(Ordering::Acquire) == FAILING;
                let rest = if failing { RETRY } else { SECOND.saturating_sub(last.elapsed()) };
                self.work.wait_for(&mut waiting, rest);
            }
            if waiting.closing {
                return;
            }
            let sync_now = sync_now(&waiting);
            let rotate = std::mem::take(&mut waiting.rotation_wanted);
            waiting.sync_wanted = false;
            drop(waiting);
            // What fails shows in the journal's status; the next round tries what may be tried again.
            let _ = self.probe(false);
            let second = last.elapsed() >= SECOND;
            if sync_now {
                self.gather();
            }
            if sync_now || (second && policy != SyncPolicy::No) {
                let _ = self.sync();
            }
            if second {
                last = Instant::now();
            }
            if rotate {
                let _ = self.rotate_if_long();
            }
        }
    }
}
