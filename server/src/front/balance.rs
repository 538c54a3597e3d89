//! Keeps the number of serving workers to what the load needs.
//!
//! A worker that wakes for one command pays a context switch for it; one that wakes for ten shares the
//! switch among them. So all connections stay on the first worker until that is busy, then spread over
//! the next ones, and return when the load falls. Measured at depth 1 with 50
//! connections: 0.36 context switches a command on two workers, 0.11 on one, which was 15 to 20 % of
//! all the time a command took.
//!
//! A connection belongs to the worker `id % active`, so every worker knows where it belongs without
//! asking. It moves between two batches, when it has neither input nor replies left.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::RuntimeMetrics;
use tokio::sync::mpsc::UnboundedSender;

use crate::engine::session::Session;
use crate::front::transport::{Accepted, Parked};

/// How often the load is looked at.
pub(crate) const STEP: Duration = Duration::from_millis(100);
/// The share of a worker's time from which on it counts as busy and another one is added.
const BUSY: f64 = 0.75;
/// The share of the remaining workers' time below which one worker is removed.
const QUIET: f64 = 0.45;
/// How many steps in a row must be busy, since one long command is no load.
const BUSY_STEPS: i32 = 2;
/// How many steps in a row must be quiet.
const QUIET_STEPS: i32 = 30;

/// A connection on its way to a worker.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "few are on their way at a time")]
pub(super) enum Work {
    /// One that speaks RESP: a new one, or one that moves.
    Resp(Resp),
    /// A new one that speaks HTTP. It stays with its worker.
    Http(Accepted),
}

/// A RESP connection on its way to a worker.
#[derive(Debug)]
pub(super) struct Resp {
    pub(super) stream: Parked,
    pub(super) session: Session,
}

/// The workers, and how many of them serve.
#[derive(Debug, Default)]
pub(crate) struct Balance {
    active: AtomicUsize,
    workers: Mutex<Vec<Slot>>,
    load: Mutex<Load>,
}

#[derive(Debug)]
struct Slot {
    work: UnboundedSender<Work>,
    metrics: RuntimeMetrics,
}

/// The load at the latest look.
#[derive(Debug, Default)]
struct Load {
    looked: Option<Instant>,
    busy: Duration,
    /// Steps in a row that were quiet, or busy (negative).
    streak: i32,
}

impl Balance {
    /// Adds a worker, to be sent connections.
    pub(super) fn add(&self, work: UnboundedSender<Work>, metrics: RuntimeMetrics) {
        self.workers.lock().push(Slot { work, metrics });
        self.active.fetch_max(1, Ordering::Relaxed);
    }

    /// The worker that a connection belongs to.
    pub(crate) fn place(&self, client: u64) -> usize {
        match self.active.load(Ordering::Relaxed) {
            0 | 1 => 0,
            active => (client % active as u64) as usize,
        }
    }

    /// Sends a connection to a worker; dropped if the process is stopping.
    pub(super) fn send(&self, worker: usize, work: Work) {
        if let Some(slot) = self.workers.lock().get(worker) {
            // It fails when the worker has ended, and the connection with it.
            let _ = slot.work.send(work);
        }
    }

    /// Lets the workers end: none is sent a connection any more.
    pub(crate) fn close(&self) {
        self.workers.lock().clear();
    }

    /// Looks at the load, and adds or removes a worker.
    pub(crate) fn look(&self) {
        let workers = self.workers.lock();
        let busy = workers.iter().map(|slot| slot.metrics.worker_total_busy_duration(0)).sum();
        let mut load = self.load.lock();
        let now = Instant::now();
        if let Some(looked) = load.looked {
            let share = Duration::saturating_sub(busy, load.busy).as_secs_f64()
                / (now - looked).as_secs_f64().max(f64::MIN_POSITIVE);
            let active = self.active.load(Ordering::Relaxed);
            let (active, streak) = decide(active, workers.len(), share, load.streak);
            load.streak = streak;
            self.active.store(active, Ordering::Relaxed);
        }
        (load.looked, load.busy) = (Some(now), busy);
    }
}

/// How many of `all` workers shall serve when `active` do and together are busy for `share` of one
/// worker's time; and the streak of quiet or busy steps after this one.
fn decide(active: usize, all: usize, share: f64, streak: i32) -> (usize, i32) {
    if share > BUSY * active as f64 && active < all {
        let streak = streak.min(0) - 1;
        return if streak > -BUSY_STEPS { (active, streak) } else { (active + 1, 0) };
    }
    if active > 1 && share < QUIET * (active - 1) as f64 {
        let streak = streak.max(0) + 1;
        return if streak < QUIET_STEPS { (active, streak) } else { (active - 1, 0) };
    }
    (active, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many workers serve after `steps` of `share`.
    fn after(active: usize, all: usize, share: f64, steps: i32) -> usize {
        let step = |(active, streak), _| decide(active, all, share, streak);
        (0..steps).fold((active, 0), step).0
    }

    #[test]
    fn load_adds_workers() {
        assert_eq!(after(1, 4, 0.5, 100), 1);
        assert_eq!(after(1, 4, 0.9, BUSY_STEPS - 1), 1);
        assert_eq!(after(1, 4, 0.9, BUSY_STEPS), 2);
        assert_eq!(after(1, 4, 4.0, 100), 4);
        assert_eq!(after(1, 1, 1.0, 100), 1);
    }

    #[test]
    fn quiet_removes_workers_one_by_one() {
        assert_eq!(after(3, 4, 0.1, QUIET_STEPS - 1), 3);
        assert_eq!(after(3, 4, 0.1, QUIET_STEPS), 2);
        assert_eq!(after(3, 4, 0.1, 100 * QUIET_STEPS), 1);
        // The load that has just added a worker does not remove it again.
        assert_eq!(after(2, 4, 0.8, 100), 2);
    }
}
