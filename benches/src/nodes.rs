//! Nodes that replicate among each other, and what they say of themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::resp::{Client, Reply};
use crate::servers::{Programs, Server, miso_basics};

/// How long nodes may take to find each other, and to agree.
const PATIENCE: Duration = Duration::from_secs(120);

/// A full mesh of nodes on this machine.
pub(crate) struct Nodes {
    servers: Vec<Server>,
    peer_ports: BTreeSet<u16>,
}

/// What a node has used and sent since its start.
#[derive(Clone, Copy, Default)]
pub(crate) struct Used {
    /// CPU seconds of the threads that serve clients, and of the one that replicates.
    pub(crate) front_s: f64,
    pub(crate) replication_s: f64,
    pub(crate) messages: f64,
    pub(crate) bytes: f64,
    pub(crate) batches: f64,
    pub(crate) changes: f64,
}

impl Used {
    fn each(self, other: Used, f: impl Fn(f64, f64) -> f64) -> Used {
        Used {
            front_s: f(self.front_s, other.front_s),
            replication_s: f(self.replication_s, other.replication_s),
            messages: f(self.messages, other.messages),
            bytes: f(self.bytes, other.bytes),
            batches: f(self.batches, other.batches),
            changes: f(self.changes, other.changes),
        }
    }

    pub(crate) fn plus(self, other: Used) -> Used {
        self.each(other, |a, b| a + b)
    }

    pub(crate) fn since(self, earlier: Used) -> Used {
        self.each(earlier, |a, b| a - b)
    }
}

impl Nodes {
    /// Starts them; returns once each is linked to all others, runs the function, and they agree.
    pub(crate) fn start(programs: &Programs, count: usize, interval: Duration) -> Result<Nodes> {
        Nodes::start_from(programs, count, interval, "none")
    }

    /// As [`Nodes::start`]; the last node's data directory is there already.
    pub(crate) fn start_from(
        programs: &Programs,
        count: usize,
        interval: Duration,
        directory: &str,
    ) -> Result<Nodes> {
        Nodes::start_with(programs, count, interval, directory, &[])
    }

    /// As [`Nodes::start_from`], with further flags.
    pub(crate) fn start_with(
        programs: &Programs,
        count: usize,
        interval: Duration,
        directory: &str,
        flags: &[&str],
    ) -> Result<Nodes> {
        let interval = format!("{}ms", interval.as_millis());
        let mut nodes = Nodes { servers: Vec::new(), peer_ports: BTreeSet::new() };
        let mut seed = None;
        for number in 1..=count {
            let server = Server::launch(|port| {
                let mut command = Command::new(&programs.miso);
                miso_basics(&mut command, port);
                command.args(["--data-dir", if number == count { directory } else { "none" }]);
                command.args(["--replication-interval", &interval]).args(flags);
                if let Some(seed) = seed {
                    command.args(["--join", &format!("127.0.0.1:{seed}")]);
                }
                command
            })?;
            nodes.servers.push(server);
            let port = nodes.info(nodes.servers.len() - 1)?["miso_peer_port"].parse()?;
            nodes.peer_ports.insert(port);
            seed.get_or_insert(port);
        }
        let began = Instant::now();
        while !nodes.linked(count - 1)? {
            within(began, "the nodes do not find each other")?;
            thread::sleep(Duration::from_millis(50));
        }
        for server in &nodes.servers {
            server.connect()?.ok(&["GCOUNTER.ADD", "mesh", "formed", "1"])?;
        }
        nodes.agree(&["GCOUNTER.GET", "mesh", "formed"], i64::try_from(count)?)?;
        Ok(nodes)
    }

    fn linked(&self, others: usize) -> Result<bool> {
        for node in 0..self.servers.len() {
            if number(&self.info(node)?, "miso_links") < others as f64 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(crate) fn ports(&self) -> Vec<u16> {
        self.servers.iter().map(Server::port).collect()
    }

    pub(crate) fn connect(&self, node: usize) -> Result<Client> {
        self.servers[node].connect()
    }

    /// Waits until all answer `expected`, and says how long that took. More than that is an error.
    pub(crate) fn agree(&self, command: &[&str], expected: i64) -> Result<Duration> {
        let began = Instant::now();
        for node in 0..self.servers.len() {
            let mut client = self.connect(node)?;
            loop {
                match client.ok(command)? {
                    Reply::Integer(value) if value == expected => break,
                    Reply::Integer(value) if value > expected => {
                        return Err(format!("node {node} has {value}, not {expected}").into());
                    }
                    reply => within(began, &format!("node {node} stays at {reply:?}"))?,
                }
                thread::sleep(Duration::from_millis(2));
            }
        }
        Ok(began.elapsed())
    }

    fn info(&self, node: usize) -> Result<BTreeMap<String, String>> {
        let Reply::Bulk(Some(text)) = self.connect(node)?.ok(&["INFO", "miso"])? else {
            return Err("INFO is no text".into());
        };
        let text = String::from_utf8(text)?;
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        Ok(lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    pub(crate) fn used(&self, node: usize) -> Result<Used> {
        let info = self.info(node)?;
        let (front_s, replication_s) = cpu(self.servers[node].id())?;
        Ok(Used {
            front_s,
            replication_s,
            messages: number(&info, "miso_peer_messages_sent"),
            bytes: number(&info, "miso_peer_bytes_sent"),
            batches: number(&info, "miso_batches_sent"),
            changes: number(&info, "miso_changes_sent"),
        })
    }

    pub(crate) fn used_by_all(&self) -> Result<Used> {
        (0..self.servers.len())
            .try_fold(Used::default(), |sum, node| Ok(sum.plus(self.used(node)?)))
    }

    /// Waits until a node's peers have acknowledged all that it has.
    pub(crate) fn passed_on(&self, node: usize) -> Result<()> {
        let began = Instant::now();
        while number(&self.info(node)?, "miso_lag_events") > 0.0 {
            within(began, "peers do not acknowledge")?;
            thread::sleep(Duration::from_millis(20));
        }
        // The thread's own count of its CPU time is a little late.
        thread::sleep(Duration::from_millis(150));
        Ok(())
    }

    /// The pace of the slowest, in milliseconds.
    pub(crate) fn pace_ms(&self) -> Result<f64> {
        let mut most = 0.0_f64;
        for node in 0..self.servers.len() {
            most = most.max(number(&self.info(node)?, "miso_pace_us") / 1e3);
        }
        Ok(most)
    }

    /// Resident bytes of the greatest.
    pub(crate) fn resident_most(&self) -> Result<u64> {
        self.servers.iter().try_fold(0, |most, server| Ok(server.resident()?.max(most)))
    }

    /// What the kernel has put on the wires between the nodes, if `ss` is there to tell.
    pub(crate) fn kernel_bytes(&self) -> Option<f64> {
        let output = Command::new("ss").args(["-tinH", "state", "established"]).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let port = |address: &str| address.rsplit_once(':')?.1.parse().ok();
        let (mut ours, mut sum) = (false, 0.0);
        for line in text.lines() {
            if line.starts_with(char::is_whitespace) {
                let words = line.split_whitespace();
                let sent = words.filter_map(|word| word.strip_prefix("bytes_sent:"));
                let sent = sent.filter_map(|bytes| bytes.parse::<f64>().ok());
                sum += if ours { sent.sum() } else { 0.0 };
            } else {
                let mut ports = line.split_whitespace().filter_map(port);
                ours = ports.any(|port: u16| self.peer_ports.contains(&port));
            }
        }
        Some(sum)
    }
}

/// Times in milliseconds from before a write on one node until another shows it, one after the
/// other until `over`; at most `most`. The other is asked again and again.
pub(crate) fn propagation(
    mut from: Client,
    mut to: Client,
    most: usize,
    over: &AtomicBool,
) -> Result<Vec<f64>> {
    const PROBE: [&str; 3] = ["GCOUNTER.GET", "probe", "seen"];
    let mut times = Vec::new();
    while times.len() < most && !over.load(Ordering::Relaxed) {
        let began = Instant::now();
        let written = from.ok(&["GCOUNTER.ADD", "probe", "seen", "1"])?;
        while to.ok(&PROBE)? != written {
            within(began, "a write does not arrive")?;
            thread::sleep(Duration::from_micros(if began.elapsed().as_millis() < 20 {
                100
            } else {
                1000
            }));
        }
        times.push(began.elapsed().as_secs_f64() * 1e3);
        // Not in step with the nodes' own time.
        thread::sleep(Duration::from_millis(21 + times.len() as u64 % 7));
    }
    Ok(times)
}

fn within(began: Instant, otherwise: &str) -> Result<()> {
    if began.elapsed() > PATIENCE { Err(otherwise.into()) } else { Ok(()) }
}

fn number(info: &BTreeMap<String, String>, name: &str) -> f64 {
    info.get(name).and_then(|value| value.parse().ok()).unwrap_or(f64::NAN)
}

/// CPU seconds of a process's threads: of those that serve, and of the one that replicates.
fn cpu(process: u32) -> Result<(f64, f64)> {
    let (mut front, mut replication) = (0.0, 0.0);
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let task = task?.path();
        // A thread may end while it is looked at.
        let Ok(name) = fs::read_to_string(task.join("comm")) else { continue };
        let Ok(ran) = fs::read_to_string(task.join("schedstat")) else { continue };
        let nanos = ran.split(' ').next().and_then(|ran| ran.parse::<f64>().ok());
        let seconds = nanos.ok_or("the kernel tells no CPU time")? / 1e9;
        // The kernel keeps 15 bytes of `miso-replication`.
        if name.starts_with("miso-replicatio") {
            replication += seconds;
        } else {
            front += seconds;
        }
    }
    Ok((front, replication))
}
