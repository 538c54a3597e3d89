//! Counters of what happens, kept per worker thread and summed when somebody asks.
//!
//! Each worker alone writes its own counters, with plain loads and stores, so counting costs a few
//! instructions and no contended cache line.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// A counter with one writer.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Powers of two of microseconds that the histogram tells apart.
const BUCKETS: usize = 32;

/// What is counted for one command.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    pub(crate) calls: Count,
    pub(crate) nanos: Count,
    pub(crate) rejected: Count,
    pub(crate) failed: Count,
    buckets: [Count; BUCKETS],
}

impl Calls {
    /// Counts `calls` that took `each` on average.
    pub(crate) fn took(&self, calls: u64, each: Duration) {
        let nanos = u64::try_from(each.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.add(nanos.saturating_mul(calls));
        let bucket = (u64::BITS - (nanos / 1000).leading_zeros()) as usize;
        self.buckets[bucket.min(BUCKETS - 1)].add(calls);
    }
}

/// One worker's counters.
#[derive(Debug)]
pub(crate) struct Worker {
    commands: Box<[Calls]>,
    pub(crate) total: Count,
    pub(crate) bytes_in: Count,
    pub(crate) bytes_out: Count,
    hits: Count,
    misses: Count,
}

impl Worker {
    pub(crate) fn new(commands: usize) -> Worker {
        Worker {
            commands: (0..commands).map(|_| Calls::default()).collect(),
            total: Count::default(),
            bytes_in: Count::default(),
            bytes_out: Count::default(),
            hits: Count::default(),
            misses: Count::default(),
        }
    }

    pub(crate) fn command(&self, row: u16) -> &Calls {
        &self.commands[usize::from(row)]
    }

    pub(crate) fn hit(&self, found: bool) {
        if found { self.hits.add(1) } else { self.misses.add(1) }
    }
}

/// Sums over all workers, for one command.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallSums {
    pub(crate) calls: u64,
    pub(crate) micros: u64,
    pub(crate) rejected: u64,
    pub(crate) failed: u64,
    pub(crate) buckets: [u64; BUCKETS],
}

impl CallSums {
    /// The upper bound, in microseconds, of the bucket in which `share` of the calls are done.
    pub(crate) fn percentile(&self, share: f64) -> u64 {
        let total: u64 = self.buckets.iter().sum();
        let wanted = (total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (power, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return 1 << power;
            }
        }
        0
    }

    /// `(upper bound in microseconds, calls up to it)` of the buckets that hold some.
    pub(crate) fn cumulative(&self) -> Vec<(u64, u64)> {
        let mut seen = 0;
        let mut all = Vec::new();
        for (power, count) in self.buckets.iter().enumerate().filter(|(_, count)| **count > 0) {
            seen += count;
            all.push((1 << power, seen));
        }
        all
    }
}

/// Sums over all workers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sums {
    pub(crate) total: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) commands: Vec<CallSums>,
}

impl Sums {
    fn subtract(&mut self, base: &Sums) {
        self.total = self.total.saturating_sub(base.total);
        self.bytes_in = self.bytes_in.saturating_sub(base.bytes_in);
        self.bytes_out = self.bytes_out.saturating_sub(base.bytes_out);
        self.hits = self.hits.saturating_sub(base.hits);
        self.misses = self.misses.saturating_sub(base.misses);
        for (mine, old) in self.commands.iter_mut().zip(&base.commands) {
            mine.calls = mine.calls.saturating_sub(old.calls);
            mine.micros = mine.micros.saturating_sub(old.micros);
            mine.rejected = mine.rejected.saturating_sub(old.rejected);
            mine.failed = mine.failed.saturating_sub(old.failed);
            for (bucket, old) in mine.buckets.iter_mut().zip(old.buckets) {
                *bucket = bucket.saturating_sub(old);
            }
        }
    }
}

/// What was seen in the latest second, for INFO's instantaneous figures.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rates {
    pub(crate) commands: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

/// All counters of the process.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    workers: Mutex<Vec<Arc<Worker>>>,
    /// What CONFIG RESETSTAT takes off: counters themselves have other writers.
    base: Mutex<Sums>,
    errors: Mutex<BTreeMap<String, u64>>,
    sampled: Mutex<(Sums, Rates)>,
    pub(crate) connections: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) peak_memory: AtomicU64,
}

/// Different error prefixes that are counted; more than the table knows come from nobody but users
/// who choose error texts, and there are none.
const ERRORS_MAX: usize = 128;

impl Stats {
    pub(crate) fn worker(&self, commands: usize) -> Arc<Worker> {
        let worker = Arc::new(Worker::new(commands));
        self.workers.lock().push(Arc::clone(&worker));
        worker
    }

    fn raw(&self) -> Sums {
        let mut sums = Sums::default();
        for worker in self.workers.lock().iter() {
            sums.total += worker.total.get();
            sums.bytes_in += worker.bytes_in.get();
            sums.bytes_out += worker.bytes_out.get();
            sums.hits += worker.hits.get();
            sums.misses += worker.misses.get();
            sums.commands.resize(worker.commands.len(), CallSums::default());
            for (sum, calls) in sums.commands.iter_mut().zip(&worker.commands) {
                sum.calls += calls.calls.get();
                sum.micros += calls.nanos.get() / 1000;
                sum.rejected += calls.rejected.get();
                sum.failed += calls.failed.get();
                for (bucket, count) in sum.buckets.iter_mut().zip(&calls.buckets) {
                    *bucket += count.get();
                }
            }
        }
        sums
    }

    /// The sums since the start or the latest reset.
    pub(crate) fn sums(&self) -> Sums {
        let mut sums = self.raw();
        sums.subtract(&self.base.lock());
        sums
    }

    /// CONFIG RESETSTAT.
    pub(crate) fn reset(&self) {
        *self.base.lock() = self.raw();
        self.errors.lock().clear();
        self.connections.store(0, Ordering::Relaxed);
        self.refused.store(0, Ordering::Relaxed);
    }

    /// Counts an error reply by its prefix.
    pub(crate) fn error(&self, line: &str) {
        let prefix = line.split(' ').next().unwrap_or("ERR");
        let mut errors = self.errors.lock();
        if let Some(count) = errors.get_mut(prefix) {
            *count += 1;
        } else if errors.len() < ERRORS_MAX {
            errors.insert(prefix.to_owned(), 1);
        }
    }

    pub(crate) fn errors(&self) -> BTreeMap<String, u64> {
        self.errors.lock().clone()
    }

    /// Called once a second.
    pub(crate) fn sample(&self) {
        let now = self.raw();
        let mut sampled = self.sampled.lock();
        let rates = Rates {
            commands: now.total.saturating_sub(sampled.0.total),
            bytes_in: now.bytes_in.saturating_sub(sampled.0.bytes_in),
            bytes_out: now.bytes_out.saturating_sub(sampled.0.bytes_out),
        };
        *sampled = (now, rates);
    }

    pub(crate) fn rates(&self) -> Rates {
        self.sampled.lock().1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_summed_and_reset() {
        let stats = Stats::default();
        let (a, b) = (stats.worker(2), stats.worker(2));
        a.command(1).calls.add(3);
        b.command(1).calls.add(4);
        b.hit(true);
        assert_eq!(stats.sums().commands[1].calls, 7);
        stats.reset();
        a.command(1).calls.add(1);
        assert_eq!((stats.sums().commands[1].calls, stats.sums().hits), (1, 0));
    }

    #[test]
    fn percentiles_come_from_the_histogram() {
        let stats = Stats::default();
        let worker = stats.worker(1);
        worker.command(0).took(99, Duration::from_micros(3));
        worker.command(0).took(1, Duration::from_millis(5));
        let sums = stats.sums();
        assert_eq!(
            (sums.commands[0].percentile(0.5), sums.commands[0].percentile(0.999)),
            (4, 8192)
        );
    }
}
