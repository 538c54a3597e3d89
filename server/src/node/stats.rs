//! Counters of what happens, kept per worker thread and summed when they are asked for.
//!
//! Each worker alone writes its own counters, with plain loads and stores, so counting costs a few
//! instructions and no contended cache line.
//!
//! Commands are counted by slot: one for each command and one for each subcommand, in the order of
//! the table.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use miso_protocol::command::Table;
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

/// Powers of two of microseconds that the histogram tells apart; the last also holds longer times.
pub(crate) const BUCKETS: usize = 32;

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
    bytes_in: Count,
    bytes_out: Count,
    reads: Count,
    writes: Count,
    hits: Count,
    misses: Count,
}

impl Worker {
    fn new(slots: usize) -> Worker {
        Worker {
            commands: (0..slots).map(|_| Calls::default()).collect(),
            total: Count::default(),
            bytes_in: Count::default(),
            bytes_out: Count::default(),
            reads: Count::default(),
            writes: Count::default(),
            hits: Count::default(),
            misses: Count::default(),
        }
    }

    /// The counters of a slot.
    pub(crate) fn command(&self, slot: u16) -> &Calls {
        &self.commands[usize::from(slot)]
    }

    /// Counts a read from a client that brought `bytes`.
    pub(crate) fn read(&self, bytes: usize) {
        self.bytes_in.add(bytes as u64);
        self.reads.add(1);
    }

    /// Counts a write to a client that took `bytes`.
    pub(crate) fn wrote(&self, bytes: usize) {
        self.bytes_out.add(bytes as u64);
        self.writes.add(1);
    }

    /// Counts a look-up that found a value, or none.
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
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    /// By slot.
    pub(crate) commands: Vec<CallSums>,
}

impl Sums {
    fn subtract(&mut self, base: &Sums) {
        self.total = self.total.saturating_sub(base.total);
        self.bytes_in = self.bytes_in.saturating_sub(base.bytes_in);
        self.bytes_out = self.bytes_out.saturating_sub(base.bytes_out);
        self.reads = self.reads.saturating_sub(base.reads);
        self.writes = self.writes.saturating_sub(base.writes);
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
    /// Bytes of replication.
    pub(crate) peers: PeerBytes,
}

/// Bytes exchanged with other nodes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PeerBytes {
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

/// Accesses that were denied, by reason.
#[derive(Debug, Default)]
pub(crate) struct Denials {
    pub(crate) auth: AtomicU64,
    pub(crate) command: AtomicU64,
    pub(crate) key: AtomicU64,
    pub(crate) channel: AtomicU64,
}

impl Denials {
    /// Counts a denial; `reason` is ACL LOG's word for it.
    pub(crate) fn count(&self, reason: &str) {
        let of = match reason {
            "auth" => &self.auth,
            "key" => &self.key,
            "channel" => &self.channel,
            _ => &self.command,
        };
        of.fetch_add(1, Ordering::Relaxed);
    }

    fn reset(&self) {
        for count in [&self.auth, &self.command, &self.key, &self.channel] {
            count.store(0, Ordering::Relaxed);
        }
    }
}

/// What the sampling of each second keeps.
#[derive(Debug, Default)]
struct Sampled {
    sums: Sums,
    peers: PeerBytes,
    rates: Rates,
}

/// All counters of the process.
#[derive(Debug)]
pub(crate) struct Stats {
    /// The first slot of each command.
    slots: Box<[u16]>,
    /// By slot: `get`, `client|setinfo`.
    names: Box<[String]>,
    workers: Mutex<Vec<Arc<Worker>>>,
    /// Subtracted since CONFIG RESETSTAT: a worker's counters have no other writer than the worker.
    base: Mutex<Sums>,
    errors: Mutex<BTreeMap<&'static str, u64>>,
    sampled: Mutex<Sampled>,
    pub(crate) denials: Denials,
    pub(crate) connections: AtomicU64,
    pub(crate) refused: AtomicU64,
    /// HTTP connections that are open.
    pub(crate) http_connections: AtomicU64,
    /// HTTP requests.
    pub(crate) http_requests: AtomicU64,
    /// Connections that were closed by maxmemory-clients.
    pub(crate) evicted_clients: AtomicU64,
    /// Keys that have expired, as this node has seen it.
    pub(crate) expired_keys: AtomicU64,
    /// Writes that had run before, and were answered what they answered then.
    pub(crate) once_repeats: AtomicU64,
    /// Ids that were refused since there were too many.
    pub(crate) once_refused: AtomicU64,
    pub(crate) peak_memory: AtomicU64,
    /// Bytes in use once the node is ready, without its data.
    pub(crate) startup_memory: AtomicU64,
}

impl Stats {
    /// Counters for the commands of a table.
    pub(crate) fn new(table: &Table) -> Stats {
        let (mut slots, mut names) = (Vec::new(), Vec::new());
        for (row, subcommands) in table.all() {
            slots.push(u16::try_from(names.len()).expect("there are fewer commands than 65 536"));
            names.push(row.name.to_ascii_lowercase());
            let subs = subcommands.iter();
            names.extend(subs.map(|sub| format!("{}|{}", row.name, sub.name).to_ascii_lowercase()));
        }
        Stats {
            slots: slots.into(),
            names: names.into(),
            workers: Mutex::default(),
            base: Mutex::default(),
            errors: Mutex::default(),
            sampled: Mutex::default(),
            denials: Denials::default(),
            connections: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            http_connections: AtomicU64::new(0),
            http_requests: AtomicU64::new(0),
            evicted_clients: AtomicU64::new(0),
            expired_keys: AtomicU64::new(0),
            once_repeats: AtomicU64::new(0),
            once_refused: AtomicU64::new(0),
            peak_memory: AtomicU64::new(0),
            startup_memory: AtomicU64::new(0),
        }
    }

    /// The slot of a command's row, or of the subcommand at that place of it.
    pub(crate) fn slot(&self, row: u16, sub: Option<usize>) -> u16 {
        self.slots[usize::from(row)] + sub.map_or(0, |sub| sub as u16 + 1)
    }

    /// The names and sums of the commands that were called or rejected.
    pub(crate) fn commands(&self) -> Vec<(&str, CallSums)> {
        let names = self.names.iter().map(String::as_str);
        let used = |(_, sums): &(&str, CallSums)| sums.calls + sums.rejected > 0;
        names.zip(self.sums().commands).filter(used).collect()
    }

    /// Counters for one more worker.
    pub(crate) fn worker(&self) -> Arc<Worker> {
        let worker = Arc::new(Worker::new(self.names.len()));
        self.workers.lock().push(Arc::clone(&worker));
        worker
    }

    fn raw(&self) -> Sums {
        let mut sums = Sums::default();
        for worker in self.workers.lock().iter() {
            sums.total += worker.total.get();
            sums.bytes_in += worker.bytes_in.get();
            sums.bytes_out += worker.bytes_out.get();
            sums.reads += worker.reads.get();
            sums.writes += worker.writes.get();
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
        self.denials.reset();
        self.connections.store(0, Ordering::Relaxed);
        self.refused.store(0, Ordering::Relaxed);
        self.http_requests.store(0, Ordering::Relaxed);
        self.evicted_clients.store(0, Ordering::Relaxed);
        self.expired_keys.store(0, Ordering::Relaxed);
        self.once_repeats.store(0, Ordering::Relaxed);
        self.once_refused.store(0, Ordering::Relaxed);
    }

    /// Counts an error reply by its code.
    pub(crate) fn error(&self, code: &'static str) {
        *self.errors.lock().entry(code).or_default() += 1;
    }

    /// How many error replies there were, by code.
    pub(crate) fn errors(&self) -> BTreeMap<&'static str, u64> {
        self.errors.lock().clone()
    }

    /// Called once a second, with the bytes that replication has exchanged since the start.
    pub(crate) fn sample(&self, peers: PeerBytes) {
        let now = self.raw();
        let mut sampled = self.sampled.lock();
        let rates = Rates {
            commands: now.total.saturating_sub(sampled.sums.total),
            bytes_in: now.bytes_in.saturating_sub(sampled.sums.bytes_in),
            bytes_out: now.bytes_out.saturating_sub(sampled.sums.bytes_out),
            peers: PeerBytes {
                received: peers.received.saturating_sub(sampled.peers.received),
                sent: peers.sent.saturating_sub(sampled.peers.sent),
            },
        };
        *sampled = Sampled { sums: now, peers, rates };
    }

    /// What was seen between the last two samples.
    pub(crate) fn rates(&self) -> Rates {
        self.sampled.lock().rates
    }
}

#[cfg(test)]
mod tests {
    use miso_protocol::command::Row;

    use super::*;

    fn stats() -> Stats {
        const SUB: Row = Row::subcommand("SETINFO");
        static ROWS: [Row; 3] =
            [Row::command("GET"), Row::command("CLIENT").parent(), Row::command("SET")];
        let subs = |row: &'static Row| row.is_parent().then_some(&SUB);
        Stats::new(&Table::with_subcommands(ROWS.iter().map(|row| (row, subs(row)))))
    }

    #[test]
    fn workers_are_summed_and_reset() {
        let stats = stats();
        let (a, b) = (stats.worker(), stats.worker());
        a.command(1).calls.add(3);
        b.command(1).calls.add(4);
        b.hit(true);
        b.read(7);
        assert_eq!(stats.sums().commands[1].calls, 7);
        stats.reset();
        a.command(1).calls.add(1);
        let sums = stats.sums();
        assert_eq!((sums.commands[1].calls, sums.hits, sums.reads, sums.bytes_in), (1, 0, 0, 0));
    }

    #[test]
    fn subcommands_are_counted_by_themselves() {
        let stats = stats();
        let worker = stats.worker();
        worker.command(stats.slot(0, None)).calls.add(1);
        worker.command(stats.slot(1, Some(0))).calls.add(2);
        worker.command(stats.slot(2, None)).rejected.add(3);
        let named = stats.commands();
        let counts: Vec<_> = named.iter().map(|(name, c)| (*name, c.calls, c.rejected)).collect();
        assert_eq!(counts, [("get", 1, 0), ("client|setinfo", 2, 0), ("set", 0, 3)]);
    }

    #[test]
    fn rates_are_those_of_the_last_second() {
        let stats = stats();
        stats.worker().total.add(5);
        stats.sample(PeerBytes { received: 10, sent: 20 });
        stats.sample(PeerBytes { received: 11, sent: 25 });
        let rates = stats.rates();
        assert_eq!((rates.commands, rates.peers.received, rates.peers.sent), (0, 1, 5));
    }

    #[test]
    fn percentiles_come_from_the_histogram() {
        let stats = stats();
        let worker = stats.worker();
        worker.command(0).took(99, Duration::from_micros(3));
        worker.command(0).took(1, Duration::from_millis(5));
        let sums = stats.sums();
        assert_eq!(
            (sums.commands[0].percentile(0.5), sums.commands[0].percentile(0.999)),
            (4, 8192)
        );
    }
}
