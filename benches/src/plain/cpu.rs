//! CPU per command on plain keys, beside Redis 8.2 and Valkey 9.1.

use clap::Args;
use serde::Serialize;

use super::peers::{Peer, Peers};
use crate::chart::{Bar, Chart};
use crate::error::Result;
use crate::progress;
use crate::redis_benchmark::{self, Cost, RANDOM, Shape};
use crate::report::{Limit, Report, Target};
use crate::resp::encode;
use crate::servers::Server;
use crate::statistics::{Spread, median, sorted};
use crate::table::{Table, grouped, verdict};

/// Different keys, and members of the one sorted set.
const KEYS: usize = 100_000;
/// Commands of the filling sent at once.
const BATCH: usize = 1_000;
const CONNECTIONS: usize = 50;
const DEPTHS: [usize; 3] = [1, 16, 64];

#[derive(Args, Clone, Default)]
#[group(skip)]
pub(crate) struct Options {
    /// Plain keys beside Redis 8.2 and Valkey 9.1 instead: CPU and memory; writes them into the page
    #[arg(long = "plain")]
    pub(crate) wanted: bool,
    #[arg(skip)]
    pub(crate) rounds: Option<usize>,
    #[arg(skip)]
    pub(crate) only: String,
    #[arg(skip)]
    pub(crate) quick: bool,
}

impl Options {
    fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 1 } else { 5 })
    }

    /// Commands of one run, which takes a second or less.
    fn commands(&self, depth: usize) -> usize {
        let commands = match depth {
            ..4 => 51_200,
            4..32 => 256_000,
            _ => 512_000,
        };
        if self.quick { commands / 10 } else { commands }
    }

    fn keys(&self) -> usize {
        if self.quick { KEYS / 10 } else { KEYS }
    }

    /// Keys whose memory is measured.
    pub(super) fn items(&self) -> usize {
        if self.quick { 50_000 } else { 1_000_000 }
    }
}

/// A command, and what must be there before.
struct Contest {
    name: &'static str,
    words: &'static [&'static str],
    fill: &'static [&'static str],
    /// CPU by Redis's at depths 1, 16 and 64, at most.
    targets: [f64; 3],
}

const fn contest(
    name: &'static str,
    words: &'static [&'static str],
    fill: &'static [&'static str],
    targets: [f64; 3],
) -> Contest {
    Contest { name, words, fill, targets }
}

const VALUE: &str = "xxxxxxxxxxxxxxxx";
const SET: &[&str] = &["SET", "s:__rand_int__", VALUE];
const SET_EX: &[&str] = &["SET", "e:__rand_int__", VALUE, "EX", "100000"];
const HSET: &[&str] = &["HSET", "h:__rand_int__", "f", VALUE];
const SADD: &[&str] = &["SADD", "m:__rand_int__", "apple"];
const ZADD: &[&str] = &["ZADD", "board", "__rand_int__", "m:__rand_int__"];
const INCRBY: &[&str] = &["INCRBY", "c:__rand_int__", "1"];

const ELEMENTS: [f64; 3] = [0.95, 0.80, 0.70];
const SORTED: [f64; 3] = [1.0, 0.90, 0.80];
const DEADLINES: [f64; 3] = [0.95, 0.75, 0.65];

const CONTESTS: &[Contest] = &[
    contest("INCRBY", INCRBY, INCRBY, [0.85, 0.65, 0.40]),
    contest("GET", &["GET", "s:__rand_int__"], SET, [0.95, 0.65, 0.60]),
    contest("SET 16 bytes", SET, SET, [0.95, 0.70, 0.60]),
    contest("HSET", HSET, HSET, ELEMENTS),
    contest("HGET", &["HGET", "h:__rand_int__", "f"], HSET, ELEMENTS),
    contest("SADD", SADD, SADD, ELEMENTS),
    contest("SISMEMBER", &["SISMEMBER", "m:__rand_int__", "apple"], SADD, ELEMENTS),
    contest("ZADD", ZADD, ZADD, SORTED),
    contest("ZSCORE", &["ZSCORE", "board", "m:__rand_int__"], ZADD, SORTED),
    contest("ZRANGE 0 9", &["ZRANGE", "board", "0", "9"], ZADD, SORTED),
    contest("ZRANK", &["ZRANK", "board", "m:__rand_int__"], ZADD, SORTED),
    contest("SET EX", SET_EX, SET_EX, DEADLINES),
    contest("EXPIRE", &["EXPIRE", "e:__rand_int__", "100000"], SET_EX, DEADLINES),
];

/// A command at a depth.
#[derive(Serialize)]
struct Cell {
    command: &'static str,
    depth: usize,
    rounds: usize,
    commands_per_round: usize,
    /// CPU of MISO by CPU of Redis, each round's.
    ratio: Spread,
    /// CPU of Valkey by CPU of Redis, the median.
    valkey_ratio: f64,
    miso_us: f64,
    redis_us: f64,
    valkey_us: f64,
    target: f64,
    met: bool,
}

#[derive(Serialize)]
pub(crate) struct Prices {
    keys: usize,
    cells: Vec<Cell>,
}

/// Runs the contests.
pub(super) fn run(peers: &Peers<'_>, options: &Options) -> Result<Prices> {
    let only = options.only.to_ascii_uppercase();
    let contests: Vec<&Contest> = CONTESTS.iter().filter(|c| c.name.contains(&only)).collect();
    let [miso, redis, valkey] = Peer::ALL.map(|peer| peers.start(peer));
    let servers = [miso?, redis?, valkey?];
    let bar = progress::bar("plain", contests.len() * DEPTHS.len() * options.rounds());
    let mut cells = Vec::new();
    for contest in contests {
        for server in &servers {
            fill(server, contest.fill, options.keys())?;
        }
        for (depth, target) in DEPTHS.into_iter().zip(contest.targets) {
            let (commands, random) = (options.commands(depth), options.keys());
            let shape = Shape { depth, connections: CONNECTIONS, commands, random };
            let mut rounds = Vec::new();
            for number in 0..options.rounds() {
                bar.set_message(format!("{} depth {depth}", contest.name));
                rounds.push(round(peers, &servers, contest.words, &shape, number)?);
                bar.inc(1);
            }
            cells.push(Cell::new(contest, (depth, target), commands, &rounds));
        }
    }
    bar.finish_and_clear();
    Ok(Prices { keys: options.keys(), cells })
}

/// Sends `words` once for each number that a random one may be.
fn fill(server: &Server, words: &[&str], keys: usize) -> Result<()> {
    let mut client = server.connect()?;
    let mut out = Vec::new();
    for first in (0..keys).step_by(BATCH) {
        let batch = first..keys.min(first + BATCH);
        out.clear();
        for number in batch.clone() {
            let number = format!("{number:012}");
            let command: Vec<String> =
                words.iter().map(|word| word.replace(RANDOM, &number)).collect();
            encode(&mut out, &command);
        }
        client.batch(&out, batch.len())?;
    }
    Ok(())
}

/// All servers once, in another order each round; the costs are in the order of `Peer::ALL`.
fn round(
    peers: &Peers<'_>,
    servers: &[Server; 3],
    words: &[&str],
    shape: &Shape,
    number: usize,
) -> Result<[Cost; 3]> {
    let mut costs = [Cost::default(); 3];
    for turn in 0..3 {
        let at = (turn + number) % 3;
        costs[at] = redis_benchmark::run(peers.programs, &servers[at], words, shape)?;
    }
    Ok(costs)
}

impl Cell {
    fn new(
        contest: &Contest,
        (depth, target): (usize, f64),
        commands: usize,
        rounds: &[[Cost; 3]],
    ) -> Cell {
        let ratios = |at: usize| -> Vec<f64> {
            let by = |costs: &[Cost; 3]| costs[at].cpu_us_per_command / costs[1].cpu_us_per_command;
            rounds.iter().map(by).collect()
        };
        let middle = |at: usize| {
            let figures: Vec<f64> =
                rounds.iter().map(|costs| costs[at].cpu_us_per_command).collect();
            median(&sorted(&figures))
        };
        let ratio = Spread::of(&ratios(0));
        Cell {
            command: contest.name,
            depth,
            rounds: rounds.len(),
            commands_per_round: commands,
            ratio,
            valkey_ratio: median(&sorted(&ratios(2))),
            miso_us: middle(0),
            redis_us: middle(1),
            valkey_us: middle(2),
            target,
            met: ratio.median <= target,
        }
    }
}

impl Report for Prices {
    const NAME: &'static str = "plain-cpu";

    fn markdown(&self) -> String {
        let mut table = Table::new(&[
            "command",
            "depth",
            "MISO by Redis",
            "min",
            "max",
            "target",
            "Valkey by Redis",
            "MISO us",
            "Redis us",
            "Valkey us",
        ]);
        for cell in &self.cells {
            table.row([
                cell.command.to_owned(),
                cell.depth.to_string(),
                format!("{:.2}", cell.ratio.median),
                format!("{:.2}", cell.ratio.min),
                format!("{:.2}", cell.ratio.max),
                format!("{:.2} {}", cell.target, verdict(Some(cell.met))),
                format!("{:.2}", cell.valkey_ratio),
                format!("{:.3}", cell.miso_us),
                format!("{:.3}", cell.redis_us),
                format!("{:.3}", cell.valkey_us),
            ]);
        }
        format!(
            "CPU time of the server per command, as the kernel charges it, by Redis's of the same round; below 1 \
             is less than Redis. Load: `redis-benchmark`, {CONNECTIONS} connections, {} keys; the sorted set has as \
             many members.\n\n{table}",
            grouped(self.keys as u64)
        )
    }

    fn targets(&self) -> Vec<Target> {
        let target = |cell: &Cell| {
            let what = format!("CPU of {} by Redis 8.2's, depth {}", cell.command, cell.depth);
            Target::new(what, cell.ratio.median, Limit::AtMost(cell.target))
        };
        self.cells.iter().map(target).collect()
    }

    fn chart(&self) -> Option<Chart> {
        let groups = self.cells.chunk_by(|a, b| a.command == b.command).map(|cells| {
            let bar = |cell: &Cell| Bar { value: cell.ratio.median, target: Some(cell.target) };
            (cells[0].command.replacen(' ', "\n", 1), cells.iter().map(bar).collect())
        });
        Some(Chart {
            title: "CPU per command on plain keys, beside Redis 8.2".into(),
            subtitle: format!(
                "{CONNECTIONS} connections, redis-benchmark over {} keys; lower is better",
                grouped(self.keys as u64)
            ),
            axis: "CPU of MISO / CPU of Redis".into(),
            series: DEPTHS.iter().map(|depth| format!("pipeline depth {depth}")).collect(),
            groups: groups.collect(),
            reference: Some((1.0, "as much as Redis".into())),
            digits: 2,
        })
    }
}
