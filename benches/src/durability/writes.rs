//! Load under the two policies: throughput where every reply waits for the disk, and what the log
//! costs where the disk is waited for once a second.

use serde::Serialize;

use super::options::Options;
use crate::directory::Directory;
use crate::error::Result;
use crate::progress;
use crate::redis_benchmark::{self, Cost, Shape};
use crate::report::Limit;
use crate::servers::{Kind, Programs, Server};
use crate::statistics::{Spread, median, sorted};

pub(super) const CONNECTIONS: usize = 50;
const DEPTHS: [usize; 2] = [1, 16];
/// The depth at which the log's CPU is looked at.
const DEPTH: usize = 16;
const ROUNDS: usize = 5;
/// How long a run under `always` is to take, if the disk's syncs are all that it waits for.
const ALWAYS_US: f64 = 800e3;
/// And how many syncs that may be, of 50 connections' commands each.
const SYNCS: (f64, f64) = (100.0, 1000.0);

/// A command of ours and Redis's counterpart.
struct Contest {
    name: &'static str,
    keys: &'static str,
    words: [&'static [&'static str]; 2],
    /// What random numbers are below.
    random: usize,
}

const CONTESTS: &[Contest] = &[
    Contest {
        name: "GCOUNTER.ADD",
        keys: "100 000 keys",
        words: [
            &["GCOUNTER.ADD", "o:__rand_int__", "total", "1"],
            &["INCRBY", "o:__rand_int__", "1"],
        ],
        random: 100_000,
    },
    Contest {
        name: "GCOUNTER.ADD",
        keys: "one key",
        words: [&["GCOUNTER.ADD", "hot", "total", "1"], &["INCRBY", "hot", "1"]],
        random: 1,
    },
    Contest {
        name: "ORSET.ADD",
        keys: "100 000 keys",
        words: [
            &["ORSET.ADD", "s:__rand_int__", "tags", "e:__rand_int__"],
            &["SADD", "s:__rand_int__", "e:__rand_int__"],
        ],
        random: 100_000,
    },
    Contest {
        name: "ORSET.ADD",
        keys: "one key",
        words: [
            &["ORSET.ADD", "hotset", "tags", "e:__rand_int__"],
            &["SADD", "hotset", "e:__rand_int__"],
        ],
        random: 1_000_000_000,
    },
];

impl Contest {
    fn run(
        &self,
        programs: &Programs,
        server: &Server,
        kind: Kind,
        (depth, commands): (usize, usize),
    ) -> Result<Cost> {
        let shape = Shape { depth, connections: CONNECTIONS, commands, random: self.random };
        redis_benchmark::run(programs, server, self.words[kind as usize], &shape)
    }

    /// Checks once that the server understands, and touches the keys.
    fn prepare(&self, programs: &Programs, server: &Server, kind: Kind) -> Result<()> {
        server.connect()?.ok(&redis_benchmark::example(self.words[kind as usize]))?;
        self.run(programs, server, kind, (64, 200_000)).map(drop)
    }
}

/// One command at one depth where every reply waits for the disk.
#[derive(Serialize)]
pub(super) struct Always {
    pub(super) command: &'static str,
    pub(super) redis_command: &'static str,
    pub(super) keys: &'static str,
    pub(super) depth: usize,
    rounds: usize,
    /// Requests per second of MISO by those of Redis, each round's.
    pub(super) throughput_ratio: Spread,
    /// CPU per command of MISO by that of Redis, each round's.
    pub(super) cpu_ratio: Spread,
    pub(super) miso_requests_per_second: f64,
    pub(super) redis_requests_per_second: f64,
    pub(super) miso_cpu_us_per_command: f64,
    pub(super) redis_cpu_us_per_command: f64,
}

impl Always {
    fn new(contest: &Contest, depth: usize, rounds: &[[Cost; 2]]) -> Always {
        let ratio = |figure: fn(&Cost) -> f64| {
            let ratios: Vec<f64> =
                rounds.iter().map(|[us, them]| figure(us) / figure(them)).collect();
            Spread::of(&ratios)
        };
        let middle = |kind: Kind, figure: fn(&Cost) -> f64| {
            let figures: Vec<f64> =
                rounds.iter().map(|costs| figure(&costs[kind as usize])).collect();
            median(&sorted(&figures))
        };
        Always {
            command: contest.name,
            redis_command: contest.words[1][0],
            keys: contest.keys,
            depth,
            rounds: rounds.len(),
            throughput_ratio: ratio(|cost| cost.requests_per_second),
            cpu_ratio: ratio(|cost| cost.cpu_us_per_command),
            miso_requests_per_second: middle(Kind::Miso, |cost| cost.requests_per_second),
            redis_requests_per_second: middle(Kind::Redis, |cost| cost.requests_per_second),
            miso_cpu_us_per_command: middle(Kind::Miso, |cost| cost.cpu_us_per_command),
            redis_cpu_us_per_command: middle(Kind::Redis, |cost| cost.cpu_us_per_command),
        }
    }

    pub(super) fn target(&self) -> Limit {
        Limit::AtLeast(if self.depth == 1 { 1.0 } else { 1.2 })
    }
}

/// Runs every contest under `appendfsync always`, the two servers by turns.
pub(super) fn always(
    programs: &Programs,
    directory: &Directory,
    fsync_us: f64,
    options: &Options,
) -> Result<Vec<Always>> {
    let rounds = options.rounds(ROUNDS);
    let syncs = (ALWAYS_US / fsync_us).clamp(SYNCS.0, SYNCS.1) as usize;
    let bar = progress::bar("always", CONTESTS.len() * DEPTHS.len() * rounds);
    let start = |kind: Kind| {
        let path = directory.sub(&format!("always-{}", kind.name()))?;
        Server::start_on(programs, kind, &path, "always")
    };
    let servers = [start(Kind::Miso)?, start(Kind::Redis)?];
    let mut cells = Vec::new();
    for contest in CONTESTS {
        for kind in Kind::BOTH {
            contest.prepare(programs, &servers[kind as usize], kind)?;
        }
        for depth in DEPTHS {
            let commands = options.commands(syncs * CONNECTIONS * depth);
            let mut costs = Vec::new();
            for round in 0..rounds {
                bar.set_message(format!("{}, {}, depth {depth}", contest.name, contest.keys));
                let mut both = [Cost::default(); 2];
                for kind in Kind::alternating(round) {
                    let server = &servers[kind as usize];
                    both[kind as usize] = contest.run(programs, server, kind, (depth, commands))?;
                }
                costs.push(both);
                bar.inc(1);
            }
            cells.push(Always::new(contest, depth, &costs));
        }
    }
    bar.finish_and_clear();
    Ok(cells)
}

/// Our thread that makes checkpoints, which nothing waits for.
const CHECKPOINTS: &str = "miso-checkpoint";

/// What one round took, in CPU per command.
struct Round {
    without: f64,
    with: f64,
    /// Of `with`, for checkpoints.
    checkpoints: f64,
}

/// A server beside itself: in memory alone, and with a log that is synced each second.
#[derive(Serialize)]
pub(super) struct Logged {
    /// CPU per command with the log by that without, less 1; each round's.
    pub(super) overhead: Spread,
    /// The same without the checkpoints that fell into the round, median.
    pub(super) of_log_alone: f64,
    pub(super) without_us: f64,
    pub(super) with_us: f64,
}

impl Logged {
    fn new(rounds: &[Round]) -> Logged {
        let figures = |figure: fn(&Round) -> f64| rounds.iter().map(figure).collect::<Vec<f64>>();
        let middle = |figure| median(&sorted(&figures(figure)));
        Logged {
            overhead: Spread::of(&figures(|round| round.with / round.without - 1.0)),
            of_log_alone: middle(|round| (round.with - round.checkpoints) / round.without - 1.0),
            without_us: middle(|round| round.without),
            with_us: middle(|round| round.with),
        }
    }
}

/// One command at depth 16 under `everysec`.
#[derive(Serialize)]
pub(super) struct EverySecond {
    pub(super) command: &'static str,
    pub(super) redis_command: &'static str,
    pub(super) keys: &'static str,
    pub(super) depth: usize,
    rounds: usize,
    pub(super) miso: Logged,
    pub(super) redis: Logged,
}

/// Runs every contest on four servers by turns: both in memory, and both with a log.
pub(super) fn every_second(
    programs: &Programs,
    directory: &Directory,
    options: &Options,
) -> Result<Vec<EverySecond>> {
    let rounds = options.rounds(ROUNDS);
    let commands = options.commands(512_000);
    let bar = progress::bar("everysec", CONTESTS.len() * rounds);
    let start = |kind: Kind| -> Result<[Server; 2]> {
        let path = directory.sub(&format!("everysec-{}", kind.name()))?;
        let logged = Server::start_on(programs, kind, &path, "everysec")?;
        Ok([Server::start(programs, kind)?, logged])
    };
    let servers = [start(Kind::Miso)?, start(Kind::Redis)?];
    let mut cells = Vec::new();
    for contest in CONTESTS {
        for kind in Kind::BOTH {
            for server in &servers[kind as usize] {
                contest.prepare(programs, server, kind)?;
            }
        }
        let mut costs = [Vec::new(), Vec::new()];
        for round in 0..rounds {
            bar.set_message(format!("{}, {}", contest.name, contest.keys));
            for kind in Kind::alternating(round) {
                let [memory, logged] = &servers[kind as usize];
                let without = contest.run(programs, memory, kind, (DEPTH, commands))?;
                let before = logged.thread_cpu(CHECKPOINTS)?;
                let with = contest.run(programs, logged, kind, (DEPTH, commands))?;
                let checkpoints = logged.thread_cpu(CHECKPOINTS)? - before;
                costs[kind as usize].push(Round {
                    without: without.cpu_us_per_command,
                    with: with.cpu_us_per_command,
                    checkpoints: checkpoints.as_secs_f64() * 1e6 / commands as f64,
                });
            }
            bar.inc(1);
        }
        let [miso, redis] = costs;
        cells.push(EverySecond {
            command: contest.name,
            redis_command: contest.words[1][0],
            keys: contest.keys,
            depth: DEPTH,
            rounds,
            miso: Logged::new(&miso),
            redis: Logged::new(&redis),
        });
    }
    bar.finish_and_clear();
    Ok(cells)
}
