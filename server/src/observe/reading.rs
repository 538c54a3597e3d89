//! One look at a node: the figures that several rows of the table read are read once.

use std::cell::OnceCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use miso_replication::shell::{Counters, Handle};
use miso_replication::{Liveness, NodeView};
use miso_store::Function;
use miso_store::journal::{Journal, Stats as JournalStats};

use crate::engine::session::Session;
use crate::node::Node;
use crate::node::stats::{CallSums, Rates, Sums};

/// A look at a node. What no row asks for is not read.
pub(crate) struct Reading<'a> {
    /// The node.
    pub(crate) node: &'a Node,
    nodes: &'a [NodeView],
    /// The function that is told of, if it is one alone.
    bound: Option<&'a [u8]>,
    sums: OnceCell<Sums>,
    rates: OnceCell<Rates>,
    memory: OnceCell<Memory>,
    clients: OnceCell<ClientSums>,
    journal: OnceCell<JournalStats>,
    counters: OnceCell<Counters>,
    cpu: OnceCell<Cpu>,
}

/// Bytes of memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// In use, as they were asked for.
    pub(crate) used: u64,
    /// The most that were in use at a time.
    pub(crate) peak: u64,
    /// Of the process, in physical memory.
    pub(crate) resident: u64,
    /// In use once the node was ready, without its data.
    pub(crate) startup: u64,
    /// For clients.
    pub(crate) clients: u64,
    /// Of the journal, waiting to be written.
    pub(crate) journal: u64,
}

impl Memory {
    /// What is in use for other things than data.
    pub(crate) fn overhead(&self) -> u64 {
        (self.startup + self.clients + self.journal).min(self.used)
    }

    /// What is in use for data.
    pub(crate) fn dataset(&self) -> u64 {
        self.used - self.overhead()
    }
}

/// Sums over all clients.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ClientSums {
    /// How many are subscribed.
    pub(crate) subscribed: u64,
    /// How many watch objects.
    pub(crate) watching: u64,
    /// The most bytes that one has not read.
    pub(crate) unread_max: u64,
    /// The most bytes of a command that has not come whole.
    pub(crate) unparsed_max: u64,
    /// Bytes of memory for all of them.
    pub(crate) memory: u64,
}

/// CPU time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpu {
    /// Of the process, within the kernel.
    pub(crate) system: Duration,
    /// Of the process, outside.
    pub(crate) user: Duration,
    /// Of its first thread, within the kernel.
    pub(crate) main_system: Duration,
    /// Of its first thread, outside.
    pub(crate) main_user: Duration,
}

impl<'a> Reading<'a> {
    /// A look at `node`, which sees the cluster as `nodes`: itself first; empty if it was not asked.
    pub(crate) fn new(node: &'a Node, nodes: &'a [NodeView]) -> Reading<'a> {
        Reading {
            node,
            nodes,
            bound: None,
            sums: OnceCell::new(),
            rates: OnceCell::new(),
            memory: OnceCell::new(),
            clients: OnceCell::new(),
            journal: OnceCell::new(),
            counters: OnceCell::new(),
            cpu: OnceCell::new(),
        }
    }

    /// The same look, which tells of the function `bound` alone, if there is one.
    pub(crate) fn of(self, bound: Option<&'a [u8]>) -> Reading<'a> {
        Reading { bound, ..self }
    }

    /// The functions that are told of, each database by itself.
    pub(crate) fn functions(&self) -> Vec<Arc<Function>> {
        self.node.functions_for(self.bound)
    }

    /// How many functions run here, of those that are told of.
    pub(crate) fn running(&self) -> u64 {
        match self.bound {
            None => self.node.registry.count() as u64,
            Some(bound) => u64::from(self.node.registry.runs(bound)),
        }
    }

    /// Counters of commands and bytes.
    pub(crate) fn sums(&self) -> &Sums {
        self.sums.get_or_init(|| self.node.stats.sums())
    }

    /// What happened in the last second.
    pub(crate) fn rates(&self) -> &Rates {
        self.rates.get_or_init(|| self.node.stats.rates())
    }

    /// Commands that were called or rejected, by name.
    pub(crate) fn commands(&self) -> Vec<(&str, CallSums)> {
        self.node.stats.commands()
    }

    /// Memory.
    pub(crate) fn memory(&self) -> &Memory {
        self.memory.get_or_init(|| {
            let used = crate::allocator::used_bytes();
            let stats = &self.node.stats;
            Memory {
                used,
                peak: stats.peak_memory.fetch_max(used, Ordering::Relaxed).max(used),
                resident: resident(),
                startup: stats.startup_memory.load(Ordering::Relaxed),
                clients: self.clients().memory,
                journal: self.journal_stats().buffered_bytes,
            }
        })
    }

    /// Sums over all clients.
    pub(crate) fn clients(&self) -> &ClientSums {
        self.clients.get_or_init(|| {
            let mut sums = ClientSums::default();
            for client in self.node.clients.list() {
                let unread = client.unread.load(Ordering::Relaxed) as u64;
                let unparsed = client.unparsed.load(Ordering::Relaxed) as u64;
                sums.subscribed += u64::from(client.subscribed());
                sums.watching += u64::from(client.about.lock().watched > 0);
                sums.unread_max = sums.unread_max.max(unread);
                sums.unparsed_max = sums.unparsed_max.max(unparsed);
                sums.memory += (client.memory() + size_of::<Session>()) as u64;
            }
            sums
        })
    }

    /// The journal; none if the node keeps its data in memory only.
    pub(crate) fn journal(&self) -> Option<&Journal> {
        self.node.store.journal()
    }

    /// Figures of the journal; zeros if there is none.
    pub(crate) fn journal_stats(&self) -> &JournalStats {
        self.journal.get_or_init(|| self.journal().map(Journal::stats).unwrap_or_default())
    }

    /// Counters of replication; zeros if the node does not replicate.
    pub(crate) fn counters(&self) -> &Counters {
        self.counters
            .get_or_init(|| self.node.peers.get().map(Handle::counters).unwrap_or_default())
    }

    /// How long other nodes took to acknowledge batches.
    pub(crate) fn propagation(&self) -> CallSums {
        let taken = self.counters().replicator.propagation;
        CallSums {
            calls: taken.buckets.iter().sum(),
            micros: taken.micros,
            buckets: taken.buckets,
            ..CallSums::default()
        }
    }

    /// CPU time.
    pub(crate) fn cpu(&self) -> &Cpu {
        self.cpu.get_or_init(cpu)
    }

    /// This node, as it sees itself; none if it was not asked.
    pub(crate) fn own(&self) -> Option<&'a NodeView> {
        self.nodes.first()
    }

    /// The other nodes.
    pub(crate) fn others(&self) -> &'a [NodeView] {
        self.nodes.get(1..).unwrap_or_default()
    }

    /// How many of the other nodes were heard of lately.
    pub(crate) fn alive(&self) -> u64 {
        self.others().iter().filter(|node| node.liveness == Liveness::Alive).count() as u64
    }

    /// The largest lag of another node.
    pub(crate) fn most(&self, lag: fn(&NodeView) -> u64) -> u64 {
        self.others().iter().map(lag).max().unwrap_or(0)
    }

    /// The names of nodes that have said what a node must not say, or what another node denies.
    pub(crate) fn faulty(&self) -> Vec<String> {
        let faulty = self.others().iter().filter(|node| node.faults > 0);
        faulty.map(|node| node.name.clone()).collect()
    }

    /// The node that is furthest from having everything; none if all have it.
    pub(crate) fn last(&self) -> Option<&'a NodeView> {
        let last = self.others().iter().max_by_key(|node| (node.lag_ms, node.lag_events));
        last.filter(|node| node.lag_events > 0)
    }
}

fn sysconf(name: libc::c_int) -> u64 {
    // SAFETY: it reads a constant of the system.
    u64::try_from(unsafe { libc::sysconf(name) }).unwrap_or(0)
}

/// Physical memory of the machine, in bytes.
pub(crate) fn system_memory() -> u64 {
    sysconf(libc::_SC_PHYS_PAGES) * sysconf(libc::_SC_PAGESIZE)
}

/// Resident bytes of the process.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * sysconf(libc::_SC_PAGESIZE)
}

fn cpu() -> Cpu {
    // SAFETY: the structure is plain numbers and lives for the call.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let time = |time: libc::timeval| {
        let micros = time.tv_sec.unsigned_abs() * 1_000_000 + time.tv_usec.unsigned_abs();
        Duration::from_micros(micros)
    };
    let (main_user, main_system) = main_thread();
    Cpu { system: time(usage.ru_stime), user: time(usage.ru_utime), main_system, main_user }
}

/// CPU time of the first thread, outside the kernel and within it.
fn main_thread() -> (Duration, Duration) {
    let pid = std::process::id();
    let stat = std::fs::read_to_string(format!("/proc/self/task/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may hold blanks; utime and stime are fields 14 and 15 of the line.
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let mut ticks = after.split_whitespace().skip(11).map(|field| field.parse().unwrap_or(0));
    let per_second = sysconf(libc::_SC_CLK_TCK).max(1);
    let mut time = || {
        let ticks: u64 = ticks.next().unwrap_or(0);
        Duration::from_secs_f64(ticks as f64 / per_second as f64)
    };
    let user = time();
    (user, time())
}

/// The operating system, its release and the machine, as `uname -srm`.
pub(crate) fn system_name() -> String {
    // SAFETY: the structure is plain bytes and lives for the call.
    let name = unsafe {
        let mut name: libc::utsname = std::mem::zeroed();
        libc::uname(&mut name);
        name
    };
    let text = |field: &[libc::c_char]| {
        let bytes = field.iter().take_while(|byte| **byte != 0).map(|byte| *byte as u8);
        String::from_utf8_lossy(&bytes.collect::<Vec<u8>>()).into_owned()
    };
    format!("{} {} {}", text(&name.sysname), text(&name.release), text(&name.machine))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_measured() {
        assert!(system_memory() > resident() && resident() > 0);
        assert!(system_name().starts_with("Linux "), "{}", system_name());
        let cpu = cpu();
        assert!(
            cpu.main_user + cpu.main_system <= cpu.user + cpu.system + Duration::from_millis(20)
        );
    }

    #[test]
    fn overhead_and_data_make_what_is_used() {
        let memory =
            Memory { used: 100, peak: 100, resident: 0, startup: 60, clients: 10, journal: 5 };
        assert_eq!((memory.overhead(), memory.dataset()), (75, 25));
        let little = Memory { used: 50, ..memory };
        assert_eq!((little.overhead(), little.dataset()), (50, 0));
    }
}
