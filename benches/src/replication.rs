//! What replication costs and gives: the paper's load on 5 to 30 nodes, its table of intervals, what
//! peers cost a node that writes, and what a write costs in a large state.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::chart::{Bar, Chart};
use crate::crowd;
use crate::directory::Directory;
use crate::error::Result;
use crate::load::{self, Load, Outcome};
use crate::nodes::{Nodes, Used, propagation};
use crate::progress;
use crate::report::{Limit, Report, Target};
use crate::servers::Programs;
use crate::statistics::{quantile, sorted};
use crate::table::{Table, grouped};

/// Connections to each node, and the paper's calls in flight.
const CONNECTIONS: usize = 10;
/// Writes whose way to another node is timed while nothing else happens.
const IDLE_PROBES: usize = 50;
/// No longer than that is waited for them: five-second intervals are slow.
const IDLE_PATIENCE: Duration = Duration::from_secs(6);
/// The paper's 30 nodes sent that much, by its own count.
const PAPER_BYTES_30: f64 = 3.02e9;

/// Which of the tables.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// The paper's load over 5 to 30 nodes
    Load,
    /// The paper's table of intervals
    Intervals,
    /// CPU of a node that writes, by its number of peers
    Peers,
    /// CPU of a write, by the size of what it is written to
    Size,
}

#[derive(Args, Clone)]
pub(crate) struct Options {
    /// A few minutes instead of half an hour: for a look, not for a record
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only these
    #[arg(long, value_enum)]
    pub(crate) part: Vec<Part>,
    /// Only with this number of nodes, where the paper has several
    #[arg(long)]
    pub(crate) nodes: Vec<usize>,
    /// Only these intervals in milliseconds
    #[arg(long)]
    pub(crate) interval: Vec<u64>,
    /// Under this folder, write figures and charts where `all` writes them
    #[arg(long, value_name = "FOLDER")]
    pub(crate) output: Option<std::path::PathBuf>,
}

impl Options {
    /// What `all` runs.
    pub(crate) fn standard(quick: bool) -> Options {
        let (part, nodes, interval) = (Vec::new(), Vec::new(), Vec::new());
        Options { quick, part, nodes, interval, output: None }
    }

    pub(crate) fn wants(&self, part: Part) -> bool {
        self.part.is_empty() || self.part.contains(&part)
    }

    fn full(&self, full: u64, quick: u64) -> u64 {
        if self.quick { quick } else { full }
    }
}

/// A run of the paper's load or of its table.
#[derive(Serialize)]
struct Run {
    nodes: usize,
    interval_ms: u64,
    depth: u64,
    increments: u64,
    per_second: f64,
    latency_p50_us: f64,
    latency_p99_us: f64,
    /// Until all nodes had the same and right total.
    agreed_after_ms: f64,
    /// Between two batches of a node that writes.
    kept_interval_ms: f64,
    pace_at_end_ms: f64,
    messages: f64,
    bytes: f64,
    kernel_bytes: Option<f64>,
    propagation_idle_p50_ms: f64,
    propagation_idle_p99_ms: f64,
    propagation_loaded_p50_ms: f64,
    propagation_loaded_p99_ms: f64,
    cpu_front_s: f64,
    cpu_replication_s: f64,
    memory_mib: f64,
    paper_per_second: Option<f64>,
    times_paper: Option<f64>,
    loadavg: f64,
}

/// Loads the first `writers` of some nodes.
fn measure(
    programs: &Programs,
    (count, writers): (usize, usize),
    interval_ms: u64,
    (depth, increments): (u64, u64),
    paper: Option<f64>,
) -> Result<Run> {
    let nodes = Nodes::start(programs, count, Duration::from_millis(interval_ms))?;
    let prober = || Ok::<_, crate::error::Error>((nodes.connect(0)?, nodes.connect(count / 2)?));
    // What came with the start of all the nodes goes by.
    thread::sleep(Duration::from_secs(2));
    let loadavg = loadavg();
    let idle = probe(prober()?, || {
        thread::sleep(IDLE_PATIENCE);
        Ok(())
    })?
    .1;
    let ports = &nodes.ports()[..writers];
    let (before, kernel_before) = (nodes.used_by_all()?, nodes.kernel_bytes());
    let (outcome, loaded) = probe(prober()?, || load::run(ports, &load(depth, increments)))?;
    let pace_at_end_ms = nodes.pace_ms()?;
    let at_end = nodes.used_by_all()?.since(before);
    let total = increments / writers as u64 * writers as u64;
    let agreed = nodes.agree(&["PNCOUNTER.GET", "load", "total"], i64::try_from(total)?)?;
    let used = nodes.used_by_all()?.since(before);
    let kernel_bytes = nodes.kernel_bytes().zip(kernel_before).map(|(now, then)| now - then);
    Ok(Run {
        nodes: count,
        interval_ms,
        depth,
        increments,
        per_second: outcome.per_second,
        latency_p50_us: outcome.p50_us,
        latency_p99_us: outcome.p99_us,
        agreed_after_ms: agreed.as_secs_f64() * 1e3,
        kept_interval_ms: outcome.seconds * 1e3 * writers as f64 / at_end.batches,
        pace_at_end_ms,
        messages: used.messages,
        bytes: used.bytes,
        kernel_bytes,
        propagation_idle_p50_ms: quantile(&idle, 0.5),
        propagation_idle_p99_ms: quantile(&idle, 0.99),
        propagation_loaded_p50_ms: quantile(&loaded, 0.5),
        propagation_loaded_p99_ms: quantile(&loaded, 0.99),
        cpu_front_s: used.front_s,
        cpu_replication_s: used.replication_s,
        memory_mib: nodes.resident_most()? as f64 / f64::from(1 << 20),
        paper_per_second: paper,
        times_paper: paper.map(|paper| outcome.per_second / paper),
        loadavg,
    })
}

fn load(depth: u64, commands: u64) -> Load {
    const COMMAND: &[&str] = &["PNCOUNTER.ADD", "load", "total", "1"];
    Load { command: COMMAND, distinct: 0, commands, connections: CONNECTIONS, depth }
}

/// Times how long writes take from node to node while something runs.
fn probe<T>(
    (from, to): (crate::resp::Client, crate::resp::Client),
    run: impl FnOnce() -> Result<T>,
) -> Result<(T, Vec<f64>)> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let prober = scope.spawn(|| propagation(from, to, IDLE_PROBES * 10, &over));
        let done = run();
        over.store(true, Ordering::Relaxed);
        let times = prober.join().map_err(|_| "the prober has panicked")??;
        Ok((done?, sorted(&times)))
    })
}

/// How busy the machine was, by its own count of the last minute.
fn loadavg() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(f64::NAN)
}

fn rows(runs: &[Run], first: &str, label: impl Fn(&Run) -> String) -> String {
    let mut speed = Table::new(&[
        first,
        "requests/s",
        "paper",
        "times",
        "p50 µs",
        "p99 µs",
        "all agree after ms",
        "interval kept ms",
        "propagation idle p50 / p99 ms",
        "under load p50 / p99 ms",
    ]);
    let mut cost = Table::new(&[
        first,
        "messages",
        "MB",
        "MB by the kernel",
        "CPU s front end",
        "CPU s replication",
        "share",
        "MiB of a node",
        "load before",
    ]);
    for run in runs {
        speed.row([
            label(run),
            grouped(run.per_second as u64),
            run.paper_per_second.map_or_else(String::new, |paper| grouped(paper as u64)),
            run.times_paper.map_or_else(String::new, |times| format!("{times:.1}")),
            format!("{:.0}", run.latency_p50_us),
            format!("{:.0}", run.latency_p99_us),
            format!("{:.0}", run.agreed_after_ms),
            format!("{:.1}", run.kept_interval_ms),
            format!("{:.1} / {:.1}", run.propagation_idle_p50_ms, run.propagation_idle_p99_ms),
            format!("{:.1} / {:.1}", run.propagation_loaded_p50_ms, run.propagation_loaded_p99_ms),
        ]);
        let cpu = run.cpu_front_s + run.cpu_replication_s;
        cost.row([
            label(run),
            grouped(run.messages as u64),
            format!("{:.1}", run.bytes / 1e6),
            run.kernel_bytes.map_or_else(String::new, |bytes| format!("{:.1}", bytes / 1e6)),
            format!("{:.1}", run.cpu_front_s),
            format!("{:.1}", run.cpu_replication_s),
            format!("{:.0} %", 100.0 * run.cpu_replication_s / cpu),
            format!("{:.1}", run.memory_mib),
            format!("{:.1}", run.loadavg),
        ]);
    }
    format!("{speed}\n{cost}")
}

fn bar(value: f64) -> Bar {
    Bar { value, target: None }
}

/// The paper's load.
#[derive(Serialize)]
pub(crate) struct Spread {
    runs: Vec<Run>,
}

const PAPER_LOAD: [(usize, f64); 4] =
    [(5, 14_041.0), (10, 16_358.0), (20, 14_883.0), (30, 13_820.0)];

pub(crate) fn spread(programs: &Programs, options: &Options) -> Result<Spread> {
    let bar = progress::bar("load", PAPER_LOAD.len() * 2);
    let mut runs = Vec::new();
    for (count, paper) in PAPER_LOAD {
        for depth in [1, 16] {
            if options.nodes.is_empty() || options.nodes.contains(&count) {
                bar.set_message(format!("{count} nodes, {depth} in flight"));
                let increments = options.full(5_000_000, 200_000 * depth.min(5));
                runs.push(measure(programs, (count, count), 5, (depth, increments), Some(paper))?);
            }
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(Spread { runs })
}

impl Report for Spread {
    const NAME: &'static str = "replication";

    fn markdown(&self) -> String {
        let label = |run: &Run| format!("{} nodes, {} in flight", run.nodes, run.depth);
        let increments = self.runs.first().map_or(0, |run| run.increments);
        format!(
            "The paper's replication load: {} increments of one PNCounter (with one in flight), spread over \
             all nodes of a full mesh on this one machine, {CONNECTIONS} connections to each, an interval of \
             5 ms. The paper had 64 cores. Messages and bytes are those of all nodes together; every node \
             must show the exact total. The generator is part of the load.\n\n{}",
            grouped(increments),
            rows(&self.runs, "", label)
        )
    }

    fn targets(&self) -> Vec<Target> {
        let mut targets = Vec::new();
        for run in &self.runs {
            let what = |what: &str| format!("{what}, {} nodes, {} in flight", run.nodes, run.depth);
            let times = if run.depth == 1 { 5.0 } else { 15.0 };
            let reached = run.times_paper.unwrap_or(f64::NAN);
            targets.push(Target::new(
                what("times the paper's requests/s"),
                reached,
                Limit::AtLeast(times),
            ));
            if run.nodes == 30 {
                // In proportion to the paper's five million.
                let bytes = run.kernel_bytes.unwrap_or(run.bytes) * 5e6 / run.increments as f64;
                let times = PAPER_BYTES_30 / bytes;
                targets.push(Target::new(what("times below 3.02 GB"), times, Limit::AtLeast(20.0)));
                targets.push(Target::new(
                    what("MiB of a node"),
                    run.memory_mib,
                    Limit::AtMost(40.0),
                ));
            }
            if run.depth == 1 {
                let idle = run.propagation_idle_p50_ms;
                let most = Limit::AtMost(run.interval_ms as f64 + 2.0);
                targets.push(Target::new(what("ms of propagation when idle"), idle, most));
            }
        }
        targets
    }

    fn chart(&self) -> Option<Chart> {
        let group = |(count, paper): (usize, f64)| {
            let of = |depth| self.runs.iter().find(move |r| r.nodes == count && r.depth == depth);
            let bars = vec![bar(paper), bar(of(1)?.per_second), bar(of(16)?.per_second)];
            Some((format!("{count} nodes"), bars))
        };
        Some(Chart {
            title: "Replication load".into(),
            subtitle: "PNCounter increments over all nodes of one machine, 5 ms interval; higher is better".into(),
            axis: "increments per second".into(),
            series: vec!["paper, 64 cores".into(), "MISO, 1 in flight".into(), "MISO, 16 in flight".into()],
            groups: PAPER_LOAD.into_iter().filter_map(group).collect(),
            reference: None,
            digits: 0,
        })
    }
}

/// The paper's table of intervals.
#[derive(Serialize)]
pub(crate) struct Intervals {
    runs: Vec<Run>,
}

/// Interval in ms, and the paper's requests per second where it says some.
const PAPER_INTERVALS: [(u64, Option<f64>); 9] = [
    (0, Some(1_502.0)),
    (5, Some(1_909.0)),
    (10, Some(2_742.0)),
    (50, Some(3_884.0)),
    (100, None),
    (200, Some(4_168.0)),
    (500, None),
    (1_000, Some(4_339.0)),
    (5_000, Some(4_501.0)),
];

pub(crate) fn intervals(programs: &Programs, options: &Options) -> Result<Intervals> {
    let bar = progress::bar("intervals", PAPER_INTERVALS.len());
    let mut runs = Vec::new();
    for (interval, paper) in PAPER_INTERVALS {
        if options.interval.is_empty() || options.interval.contains(&interval) {
            bar.set_message(format!("{interval} ms"));
            let increments = options.full(500_000, 50_000 * 4);
            runs.push(measure(programs, (20, 1), interval, (1, increments), paper)?);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(Intervals { runs })
}

impl Intervals {
    fn slowest(&self) -> Option<f64> {
        self.runs.iter().find(|run| run.interval_ms == 5_000).map(|run| run.per_second)
    }
}

impl Report for Intervals {
    const NAME: &'static str = "intervals";

    fn markdown(&self) -> String {
        let increments = self.runs.first().map_or(0, |run| run.increments);
        format!(
            "The paper's table of intervals: 20 nodes on this one machine, {} increments to one of them, \
             {CONNECTIONS} connections with one command in flight each.\n\n{}",
            grouped(increments),
            rows(&self.runs, "interval", |run| format!("{} ms", run.interval_ms))
        )
    }

    fn targets(&self) -> Vec<Target> {
        let mut targets = Vec::new();
        for run in &self.runs {
            let what = |what: &str| format!("{what}, interval {} ms", run.interval_ms);
            if let Some(times) = run.times_paper {
                let least = Limit::AtLeast(5.0);
                targets.push(Target::new(what("times the paper's requests/s"), times, least));
            }
            let least = [(0, 0.5), (5, 0.8)].into_iter().find(|(ms, _)| *ms == run.interval_ms);
            if let Some(((_, least), slowest)) = least.zip(self.slowest()) {
                let share = run.per_second / slowest;
                let what = what("requests/s beside those at 5 000 ms");
                targets.push(Target::new(what, share, Limit::AtLeast(least)));
            }
        }
        targets
    }

    fn chart(&self) -> Option<Chart> {
        let group = |run: &Run| {
            let paper = run.paper_per_second.unwrap_or(0.0);
            (format!("{} ms", run.interval_ms), vec![bar(paper), bar(run.per_second)])
        };
        Some(Chart {
            title: "Requests by replication interval".into(),
            subtitle:
                "20 nodes on one machine, increments to one of them, 10 in flight; higher is better"
                    .into(),
            axis: "requests per second".into(),
            series: vec!["paper, 64 cores (0: not told)".into(), "MISO".into()],
            groups: self.runs.iter().map(group).collect(),
            reference: None,
            digits: 0,
        })
    }
}

/// What a million writes cost the node that takes them.
#[derive(Clone, Copy, Serialize)]
struct Cost {
    front_s: f64,
    replication_s: f64,
}

impl Cost {
    fn of(used: Used, commands: u64) -> Cost {
        let per_million = 1e6 / commands as f64;
        Cost {
            front_s: used.front_s * per_million,
            replication_s: used.replication_s * per_million,
        }
    }

    fn sum(self) -> f64 {
        self.front_s + self.replication_s
    }
}

/// CPU of a node that writes, by its number of peers.
#[derive(Serialize)]
pub(crate) struct Peers {
    commands: u64,
    rows: Vec<PeersRow>,
}

#[derive(Serialize)]
struct PeersRow {
    peers: usize,
    hot: Cost,
    distinct: Cost,
    /// Between two batches.
    hot_kept_ms: f64,
    distinct_kept_ms: f64,
}

pub(crate) fn peers(programs: &Programs, options: &Options) -> Result<Peers> {
    const PEERS: [usize; 4] = [0, 1, 2, 4];
    const HOT: &[&str] = &["GCOUNTER.ADD", "o:0", "total", "1"];
    const DISTINCT: &[&str] = &["GCOUNTER.ADD", "o:{}", "total", "1"];
    let commands = options.full(2_000_000, 500_000);
    let bar = progress::bar("peers", PEERS.len() * 2);
    let mut rows = Vec::new();
    for peers in PEERS {
        let measure = |command, distinct| {
            bar.set_message(format!("{peers} peers"));
            let nodes = Nodes::start(programs, peers + 1, Duration::from_millis(5))?;
            let load = Load { command, distinct, commands, connections: 50, depth: 16 };
            let (outcome, used) = written(&nodes, &load)?;
            let expected = if distinct > 0 { 1 } else { commands };
            nodes.agree(&["GCOUNTER.GET", "o:0", "total"], i64::try_from(expected)?)?;
            bar.inc(1);
            Ok::<_, crate::error::Error>((
                Cost::of(used, commands),
                outcome.seconds * 1e3 / used.batches,
            ))
        };
        let (hot, hot_kept_ms) = measure(HOT, 0)?;
        let (distinct, distinct_kept_ms) = measure(DISTINCT, commands)?;
        rows.push(PeersRow { peers, hot, distinct, hot_kept_ms, distinct_kept_ms });
    }
    bar.finish_and_clear();
    Ok(Peers { commands, rows })
}

/// Writes to the first node until it has passed all on, and says what that took.
fn written(nodes: &Nodes, load: &Load) -> Result<(Outcome, Used)> {
    let before = nodes.used(0)?;
    let outcome = load::run(&nodes.ports()[..1], load)?;
    nodes.passed_on(0)?;
    Ok((outcome, nodes.used(0)?.since(before)))
}

impl Report for Peers {
    const NAME: &'static str = "peers";

    fn markdown(&self) -> String {
        let mut table = Table::new(&[
            "peers",
            "hot key: s",
            "front end",
            "replication",
            "interval kept ms",
            "distinct keys: s",
            "front end",
            "replication",
            "interval kept ms",
        ]);
        for row in &self.rows {
            let [a, b, c] = [row.hot.sum(), row.hot.front_s, row.hot.replication_s];
            let [d, e, f] = [row.distinct.sum(), row.distinct.front_s, row.distinct.replication_s];
            let [a, b, c, d, e, f] = [a, b, c, d, e, f].map(|seconds| format!("{seconds:.3}"));
            let [hot, distinct] = [row.hot_kept_ms, row.distinct_kept_ms].map(kept);
            table.row([row.peers.to_string(), a, b, c, hot, d, e, f, distinct]);
        }
        format!(
            "CPU seconds that a node takes for a million `GCOUNTER.ADD` (50 connections, 16 in flight each, \
             an interval of 5 ms; {} commands in each run), by the number of its peers. The peers' own CPU \
             is not in it, but they and the generator compete for the same cores.\n\n{table}",
            grouped(self.commands)
        )
    }

    fn targets(&self) -> Vec<Target> {
        let of = |peers| self.rows.iter().find(move |row: &&PeersRow| row.peers == peers);
        let (Some(none), Some(one), Some(two), Some(four)) = (of(0), of(1), of(2), of(4)) else {
            return Vec::new();
        };
        let percent = 100.0 * (one.hot.sum() / none.hot.sum() - 1.0);
        let distinct = |row: &PeersRow| row.distinct.sum();
        let further = (distinct(four) - distinct(one)) / 3.0;
        let second = distinct(two) - distinct(one);
        let target =
            |what: &str, figure, most| Target::new(what.into(), figure, Limit::AtMost(most));
        vec![
            target("% CPU that one peer adds, hot key", percent, 10.0),
            target(
                "s per million that one peer adds, distinct keys",
                distinct(one) - distinct(none),
                0.25,
            ),
            target("s per million that the second peer adds, distinct keys", second, 0.12),
            target("s per million that a further peer adds, distinct keys", further, 0.12),
        ]
    }

    fn chart(&self) -> Option<Chart> {
        let group = |row: &PeersRow| {
            (format!("{} peers", row.peers), vec![bar(row.hot.sum()), bar(row.distinct.sum())])
        };
        Some(Chart {
            title: "What peers cost the node that writes".into(),
            subtitle: "CPU seconds per million GCOUNTER.ADD, 16 in flight on 50 connections; lower is better".into(),
            axis: "seconds".into(),
            series: vec!["hot key".into(), "distinct keys".into()],
            groups: self.rows.iter().map(group).collect(),
            reference: None,
            digits: 2,
        })
    }
}

fn kept(ms: f64) -> String {
    if ms.is_finite() { format!("{ms:.1}") } else { String::new() }
}

/// CPU of a write, by what is there already.
#[derive(Serialize)]
pub(crate) struct Size {
    rows: Vec<SizeRow>,
}

#[derive(Serialize)]
struct SizeRow {
    what: &'static str,
    size: u64,
    cost: Cost,
}

/// Of what, how it is filled and then written to, and which sizes.
type Curve = (&'static str, &'static [&'static str], &'static [u64]);

/// How many replicas have added to the counter that is written to.
const REPLICAS: &[u64] = &[1, 30, 1_000, 5_000];

const CURVES: [Curve; 2] = [
    (
        "objects, GCOUNTER.ADD",
        &["GCOUNTER.ADD", "o:{}", "total", "1"],
        &[1, 10, 100, 1_000, 20_000],
    ),
    (
        "elements, ORSET.ADD",
        &["ORSET.ADD", "object", "set", "element:{}"],
        &[10, 100, 1_000, 10_000, 100_000],
    ),
];

pub(crate) fn size(programs: &Programs, options: &Options) -> Result<Size> {
    let commands = options.full(1_000_000, 300_000);
    let sizes = CURVES.iter().map(|(.., sizes)| sizes.len()).sum::<usize>();
    let bar = progress::bar("size", sizes + REPLICAS.len());
    let mut rows = Vec::new();
    for (what, command, sizes) in CURVES {
        for &size in sizes {
            bar.set_message(format!("{} {what}", grouped(size)));
            let nodes = Nodes::start(programs, 2, Duration::from_millis(5))?;
            let load = Load { command, distinct: size, commands: size, connections: 50, depth: 16 };
            written(&nodes, &load)?;
            let (_, used) = written(&nodes, &Load { commands, ..load })?;
            rows.push(SizeRow { what, size, cost: Cost::of(used, commands) });
            bar.inc(1);
        }
    }
    let what = "replicas, GCOUNTER.ADD";
    let folder = Directory::new()?;
    for &size in REPLICAS {
        bar.set_message(format!("{} {what}", grouped(size)));
        let directory = folder.sub(&size.to_string())?;
        // The node that is written to is one of them.
        crowd::gather(&directory, size - 1)?;
        let directory = directory.display().to_string();
        let nodes = Nodes::start_from(programs, 2, Duration::from_millis(5), &directory)?;
        nodes.agree(&["GCOUNTER.GET", crowd::OBJECT, crowd::NAME], i64::try_from(size - 1)?)?;
        let command = &["GCOUNTER.ADD", crowd::OBJECT, crowd::NAME, "1"];
        let load = Load { command, distinct: 0, commands, connections: 50, depth: 16 };
        let (_, used) = written(&nodes, &load)?;
        rows.push(SizeRow { what, size, cost: Cost::of(used, commands) });
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(Size { rows })
}

impl Report for Size {
    const NAME: &'static str = "size";

    fn markdown(&self) -> String {
        let mut table =
            Table::new(&["what is there", "number", "µs of CPU", "front end", "replication"]);
        for row in &self.rows {
            let figures = [row.cost.sum(), row.cost.front_s, row.cost.replication_s];
            let [sum, front, replication] = figures.map(|us| format!("{us:.2}"));
            table.row([row.what.into(), grouped(row.size), sum, front, replication]);
        }
        format!(
            "CPU of the writing node for one write, all threads, with one peer, by what it is written to \
             (50 connections, 16 in flight each). With few keys an interval's writes to one key are one \
             change for the peer; with many each is one of its own. The replicas are so many writers of \
             the one counter that is written to.\n\n{table}"
        )
    }

    fn chart(&self) -> Option<Chart> {
        let group = |row: &SizeRow| {
            let what = row.what.split(',').next().unwrap_or_default();
            (
                format!("{}\n{what}", grouped(row.size)),
                vec![bar(row.cost.front_s), bar(row.cost.replication_s)],
            )
        };
        Some(Chart {
            title: "A write in a large state".into(),
            subtitle: "CPU of the writing node for each write, with one peer; lower is better"
                .into(),
            axis: "microseconds".into(),
            series: vec!["front end".into(), "replication".into()],
            groups: self.rows.iter().map(group).collect(),
            reference: None,
            digits: 2,
        })
    }
}
