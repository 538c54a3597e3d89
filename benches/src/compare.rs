//! CPU time per command beside Redis, loaded by a stock `redis-benchmark`.
//!
//! CPU time is what the kernel charged to the server's threads, so it holds still where requests per
//! second depend on how much of the machine the load generator leaves. The two servers run the same
//! number of commands one after the other, the order changing each round; the ratio is of one round.

use clap::Args;
use serde::Serialize;

use crate::chart::{Bar, Chart};
use crate::error::Result;
use crate::plain;
use crate::progress;
use crate::redis_benchmark::{self, Cost, Shape};
use crate::report::{Limit, Report, Target};
use crate::resp::Reply;
use crate::servers::{Kind, Pair, Programs};
use crate::statistics::{Spread, median, sorted};
use crate::table::{Table, grouped, verdict};

/// Different objects (`-r`).
const OBJECTS: usize = 100_000;

#[derive(Args, Clone, Default)]
pub(crate) struct Options {
    /// Rounds of each figure [default: 3; 5 for GCOUNTER.ADD]
    #[arg(long)]
    rounds: Option<usize>,
    /// Pipeline depths
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64])]
    depth: Vec<usize>,
    /// Numbers of connections
    #[arg(long, value_delimiter = ',', default_values_t = [50, 500])]
    connections: Vec<usize>,
    /// Only commands whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// Fewer commands and one round: for a look, not for a record
    #[arg(long)]
    quick: bool,
}

impl Options {
    /// What `all` runs.
    pub(crate) fn standard(quick: bool) -> Options {
        Options {
            depth: vec![1, 16, 64],
            connections: if quick { vec![50] } else { vec![50, 500] },
            quick,
            ..Options::default()
        }
    }

    /// What they say of plain keys, which are measured at all depths, by 50 connections.
    pub(crate) fn of_plain(&self, plain: plain::Options) -> plain::Options {
        let (rounds, only) = (self.rounds, self.only.clone());
        plain::Options { rounds, only, quick: self.quick, ..plain }
    }

    fn rounds(&self, contest: &Contest) -> usize {
        self.rounds.unwrap_or(match (self.quick, contest.has_targets) {
            (true, _) => 1,
            (false, true) => 5,
            (false, false) => 3,
        })
    }

    /// Commands of one run, which takes a second or less.
    fn commands(&self, depth: usize) -> usize {
        let commands = match depth {
            ..4 => 51_200,
            4..32 => 256_000,
            _ => 512_000,
        };
        if self.quick { commands / 2 } else { commands }
    }
}

/// A command of ours and Redis's counterpart.
struct Contest {
    /// What the tables call it.
    name: &'static str,
    miso: &'static [&'static str],
    redis: &'static [&'static str],
    /// The command that fills what the contest reads, if it reads.
    fill: Option<[&'static [&'static str]; 2]>,
    /// The reply after the filling, both servers' alike.
    expect: fn(&Reply) -> bool,
    has_targets: bool,
}

const COUNTER_ADD: &[&str] = &["GCOUNTER.ADD", "o:__rand_int__", "total", "1"];
const INCRBY: &[&str] = &["INCRBY", "o:__rand_int__", "1"];
const ORSET_ADD: &[&str] = &["ORSET.ADD", "s:__rand_int__", "tags", "apple"];
const SADD: &[&str] = &["SADD", "s:__rand_int__", "apple"];

const CONTESTS: &[Contest] = &[
    Contest {
        name: "GCOUNTER.ADD",
        miso: COUNTER_ADD,
        redis: INCRBY,
        fill: None,
        expect: is_positive,
        has_targets: true,
    },
    Contest {
        name: "GCOUNTER.ADD, one object",
        miso: &["GCOUNTER.ADD", "hot", "total", "1"],
        redis: &["INCRBY", "hot", "1"],
        fill: None,
        expect: is_positive,
        has_targets: false,
    },
    Contest {
        name: "PNCOUNTER.ADD",
        miso: &["PNCOUNTER.ADD", "p:__rand_int__", "stock", "1"],
        redis: &["INCRBY", "p:__rand_int__", "1"],
        fill: None,
        expect: is_positive,
        has_targets: false,
    },
    Contest {
        name: "GCOUNTER.GET",
        miso: &["GCOUNTER.GET", "o:__rand_int__", "total"],
        redis: &["GET", "o:__rand_int__"],
        fill: Some([COUNTER_ADD, INCRBY]),
        expect: |reply| is_positive(reply) || matches!(reply, Reply::Bulk(Some(_))),
        has_targets: false,
    },
    Contest {
        name: "ORSET.ADD",
        miso: ORSET_ADD,
        redis: SADD,
        fill: None,
        expect: |reply| matches!(reply, Reply::Integer(0 | 1)),
        has_targets: false,
    },
    Contest {
        name: "ORSET.ISMEMBER",
        miso: &["ORSET.ISMEMBER", "s:__rand_int__", "tags", "apple"],
        redis: &["SISMEMBER", "s:__rand_int__", "apple"],
        fill: Some([ORSET_ADD, SADD]),
        expect: |reply| *reply == Reply::Integer(1),
        has_targets: false,
    },
    Contest {
        name: "MVREG.SET",
        miso: &["MVREG.SET", "r:__rand_int__", "note", "xxxxxxxx"],
        redis: &["SET", "r:__rand_int__", "xxxxxxxx"],
        fill: None,
        expect: |reply| *reply == Reply::Simple("OK".into()),
        has_targets: false,
    },
    Contest {
        name: "PING",
        miso: &["PING"],
        redis: &["PING"],
        fill: None,
        expect: |reply| *reply == Reply::Simple("PONG".into()),
        has_targets: false,
    },
];

fn is_positive(reply: &Reply) -> bool {
    matches!(reply, Reply::Integer(1..))
}

impl Contest {
    fn command(&self, kind: Kind) -> &'static [&'static str] {
        match kind {
            Kind::Miso => self.miso,
            Kind::Redis => self.redis,
        }
    }

    /// CPU per command beside Redis's, at most.
    fn target(&self, depth: usize) -> Option<f64> {
        let target = match depth {
            1 => 1.0,
            16 => 0.75,
            64 => 0.60,
            _ => return None,
        };
        self.has_targets.then_some(target)
    }
}

/// One command at one depth and number of connections.
#[derive(Serialize)]
pub(crate) struct Cell {
    command: &'static str,
    redis_command: &'static str,
    depth: usize,
    connections: usize,
    rounds: usize,
    commands_per_round: usize,
    /// CPU of MISO by CPU of Redis, each round's.
    ratio: Spread,
    miso_cpu_us_per_command: f64,
    redis_cpu_us_per_command: f64,
    miso_requests_per_second: f64,
    redis_requests_per_second: f64,
    target: Option<f64>,
    met: Option<bool>,
}

#[derive(Serialize)]
pub(crate) struct Comparison {
    cells: Vec<Cell>,
}

/// Runs the contests.
pub(crate) fn run(programs: &Programs, options: &Options) -> Result<Comparison> {
    let contests: Vec<&Contest> = CONTESTS
        .iter()
        .filter(|contest| contest.name.contains(&options.only.to_ascii_uppercase()))
        .collect();
    let pair = Pair::start(programs)?;
    let load = Load { programs, pair: &pair };
    let places = options.depth.len() * options.connections.len();
    let steps = contests.iter().map(|contest| options.rounds(contest) * places).sum();
    let bar = progress::bar("compare", steps);
    let mut cells = Vec::new();
    for contest in contests {
        load.prepare(contest)?;
        for &depth in &options.depth {
            for &connections in &options.connections {
                let commands = options.commands(depth);
                let shape = Shape { depth, connections, commands, random: OBJECTS };
                let mut rounds = Vec::new();
                for number in 0..options.rounds(contest) {
                    bar.set_message(format!("{} depth {depth} x{connections}", contest.name));
                    rounds.push(load.round(contest, &shape, number)?);
                    bar.inc(1);
                }
                cells.push(Cell::new(contest, &shape, &rounds));
            }
        }
    }
    bar.finish_and_clear();
    Ok(Comparison { cells })
}

struct Load<'a> {
    programs: &'a Programs,
    pair: &'a Pair,
}

impl Load<'_> {
    /// Fills the objects, and checks once that both servers understand and answer rightly.
    fn prepare(&self, contest: &Contest) -> Result<()> {
        let shape = Shape { depth: 64, connections: 50, commands: OBJECTS * 2, random: OBJECTS };
        for kind in Kind::BOTH {
            let server = self.pair.get(kind);
            let command = contest.command(kind);
            let fill = contest.fill.map_or(command, |fill| fill[kind as usize]);
            let mut client = server.connect()?;
            client.ok(&redis_benchmark::example(fill))?;
            let reply = client.ok(&redis_benchmark::example(command))?;
            if !(contest.expect)(&reply) {
                let command = command.join(" ");
                return Err(format!("{}: {command} answers {reply:?}", kind.name()).into());
            }
            redis_benchmark::run(self.programs, server, fill, &shape)?;
        }
        Ok(())
    }

    /// Both servers once; the costs are in the order of `Kind::BOTH`.
    fn round(&self, contest: &Contest, shape: &Shape, number: usize) -> Result<[Cost; 2]> {
        let mut costs = [Cost::default(); 2];
        for kind in Kind::alternating(number) {
            let server = self.pair.get(kind);
            let words = contest.command(kind);
            costs[kind as usize] = redis_benchmark::run(self.programs, server, words, shape)?;
        }
        Ok(costs)
    }
}

impl Cell {
    fn new(contest: &Contest, shape: &Shape, rounds: &[[Cost; 2]]) -> Cell {
        let ratios: Vec<f64> = rounds
            .iter()
            .map(|[us, them]| us.cpu_us_per_command / them.cpu_us_per_command)
            .collect();
        let middle = |kind: Kind, figure: fn(&Cost) -> f64| {
            let figures: Vec<f64> =
                rounds.iter().map(|costs| figure(&costs[kind as usize])).collect();
            median(&sorted(&figures))
        };
        let ratio = Spread::of(&ratios);
        let target = contest.target(shape.depth);
        Cell {
            command: contest.name,
            redis_command: contest.redis[0],
            depth: shape.depth,
            connections: shape.connections,
            rounds: rounds.len(),
            commands_per_round: shape.commands,
            ratio,
            miso_cpu_us_per_command: middle(Kind::Miso, |cost| cost.cpu_us_per_command),
            redis_cpu_us_per_command: middle(Kind::Redis, |cost| cost.cpu_us_per_command),
            miso_requests_per_second: middle(Kind::Miso, |cost| cost.requests_per_second),
            redis_requests_per_second: middle(Kind::Redis, |cost| cost.requests_per_second),
            target,
            met: target.map(|target| ratio.median <= target),
        }
    }
}

impl Report for Comparison {
    const NAME: &'static str = "compare";

    fn markdown(&self) -> String {
        let mut table = Table::new(&[
            "command beside Redis's",
            "depth",
            "connections",
            "CPU ratio, median",
            "min",
            "max",
            "target",
            "MISO us",
            "Redis us",
            "MISO req/s",
            "Redis req/s",
        ]);
        for cell in &self.cells {
            table.row([
                format!("{} / {}", cell.command, cell.redis_command),
                cell.depth.to_string(),
                cell.connections.to_string(),
                format!("{:.2}", cell.ratio.median),
                format!("{:.2}", cell.ratio.min),
                format!("{:.2}", cell.ratio.max),
                cell.target.map_or_else(String::new, |target| {
                    format!("{target:.2} {}", verdict(cell.met))
                }),
                format!("{:.3}", cell.miso_cpu_us_per_command),
                format!("{:.3}", cell.redis_cpu_us_per_command),
                format!("{:.0}", cell.miso_requests_per_second),
                format!("{:.0}", cell.redis_requests_per_second),
            ]);
        }
        format!(
            "CPU time of the server per command, as the kernel charges it, beside Redis in the same \
             round; below 1 is less than Redis. Load: `redis-benchmark` over {} objects.\n\n{table}",
            grouped(OBJECTS as u64)
        )
    }

    fn targets(&self) -> Vec<Target> {
        let targets = self.cells.iter().filter_map(|cell| {
            Some(Target {
                what: format!(
                    "CPU of {} by {}'s, depth {}, {} connections",
                    cell.command, cell.redis_command, cell.depth, cell.connections
                ),
                figure: cell.ratio.median,
                limit: Limit::AtMost(cell.target?),
                met: cell.met,
            })
        });
        targets.collect()
    }

    /// The ratios at the first number of connections.
    fn chart(&self) -> Option<Chart> {
        let connections = self.cells.first()?.connections;
        let cells: Vec<&Cell> =
            self.cells.iter().filter(|cell| cell.connections == connections).collect();
        let mut depths: Vec<usize> = cells.iter().map(|cell| cell.depth).collect();
        depths.sort_unstable();
        depths.dedup();
        let groups = CONTESTS.iter().filter_map(|contest| {
            let bars: Vec<Bar> = cells
                .iter()
                .filter(|cell| cell.command == contest.name)
                .map(|cell| Bar { value: cell.ratio.median, target: cell.target })
                .collect();
            let label = format!("{}\n{}", contest.name.replace(", ", "\n"), contest.redis[0]);
            (bars.len() == depths.len()).then_some((label, bars))
        });
        Some(Chart {
            title: "CPU per command beside Redis".into(),
            subtitle: format!(
                "{connections} connections, redis-benchmark over {} objects; lower is better",
                grouped(OBJECTS as u64)
            ),
            axis: "CPU of MISO / CPU of Redis".into(),
            series: depths.iter().map(|depth| format!("pipeline depth {depth}")).collect(),
            groups: groups.collect(),
            reference: Some((1.0, "as much as Redis".into())),
            digits: 2,
        })
    }
}
