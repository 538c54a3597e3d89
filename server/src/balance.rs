//! As many workers serve as the load needs.
//!
//! A worker that wakes for one command pays for a context switch alone; one that wakes for ten
//! shares it among them. So connections stand together on the first worker until that is busy, then
//! spread over the next ones, and come together again when it is quiet. Measured at depth 1 with 50
//! connections: 0.36 context switches a command on two workers, 0.11 on one, which was 15 to 20 % of
//! all the time a command took.
//!
//! A connection belongs to the worker `id % active`, so all agree where it should be without asking;
//! it moves between two batches, when it has nothing half done.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::RuntimeMetrics;
use tokio::sync::mpsc::UnboundedSender;

use crate::worker::Work;

/// How often the load is looked at.
pub(crate) const STEP: Duration = Duration::from_millis(100);
/// The share of its time that a worker works from which on another one helps.
const BUSY: f64 = 0.75;
/// The share of the others' time that all may take together for one worker less to do.
const QUIET: f64 = 0.45;
/// For how many steps it must be busy: one long command is no load.
const BUSY_STEPS: i32 = 2;
/// For how many steps it must be quiet.
const QUIET_STEPS: i32 = 30;

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

/// What the latest look saw.
#[derive(Debug, Default)]
struct Load {
    looked: Option<Instant>,
    busy: Duration,
    /// Steps in a row that were quiet, or busy (negative).
    streak: i32,
}

impl Balance {
    /// Adds a worker, to be sent connections.
    pub(crate) fn add(&self, work: UnboundedSender<Work>, metrics: RuntimeMetrics) {
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
    pub(crate) fn send(&self, worker: usize, work: Work) {
        if let Some(slot) = self.workers.lock().get(worker) {
            // It fails when the worker has ended, and the connection with it.
            let _ = slot.work.send(work);
        }
    }

    /// Lets the workers end.
    pub(crate) fn close(&self) {
        self.workers.lock().clear();
    }

    /// Looks at the load, and takes a worker in or out.
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

/// How many of `all` workers shall serve when `active` do and together work `share` of one's time;
/// and the streak of quiet or busy steps after this one.
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
    fn load_brings_workers_in() {
        assert_eq!(after(1, 4, 0.5, 100), 1);
        assert_eq!(after(1, 4, 0.9, BUSY_STEPS - 1), 1);
        assert_eq!(after(1, 4, 0.9, BUSY_STEPS), 2);
        assert_eq!(after(1, 4, 4.0, 100), 4);
        assert_eq!(after(1, 1, 1.0, 100), 1);
    }

    #[test]
    fn quiet_takes_them_out_one_by_one() {
        assert_eq!(after(3, 4, 0.1, QUIET_STEPS - 1), 3);
        assert_eq!(after(3, 4, 0.1, QUIET_STEPS), 2);
        assert_eq!(after(3, 4, 0.1, 100 * QUIET_STEPS), 1);
        // What just brought a worker in does not take it out again.
        assert_eq!(after(2, 4, 0.8, 100), 2);
    }
}
