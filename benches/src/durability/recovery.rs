//! How soon a server answers again with a million things on its disk, and how many bytes they take
//! there.
//!
//! Each server is filled once and killed. It is then started several times from what it wrote, and
//! killed again; then it ends in order, and is started several times from what it made of its log.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::options::Options;
use crate::directory::{self, Directory};
use crate::error::Result;
use crate::memory::{fill, numbered};
use crate::progress;
use crate::resp::Reply;
use crate::servers::{Kind, Programs, Server};
use crate::statistics::Spread;

/// Time to be there again, by Redis's.
const RECOVERY_TARGET: f64 = 1.0;

const ROUNDS: usize = 3;
/// How long Redis may take to rewrite its log.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a value of a counter takes in the live state.
const COUNT: usize = 8;

/// One thing to have a million of. In the commands `{}` is the item's number.
struct Case {
    name: &'static str,
    /// For the chart.
    label: &'static str,
    write: [&'static [&'static str]; 2],
    /// Reads the last item.
    read: [&'static [&'static str]; 2],
    /// Which words of our command are the item's own bytes.
    own: &'static [usize],
    /// Bytes of the live state beside them; none if it is one thing, however often it is written.
    live: Option<usize>,
}

const CASES: &[Case] = &[
    Case {
        name: "counters, names of one object",
        label: "names",
        write: [&["GCOUNTER.ADD", "object", "n:{}", "1"], &["HINCRBY", "object", "n:{}", "1"]],
        read: [&["GCOUNTER.GET", "object", "n:{}"], &["HGET", "object", "n:{}"]],
        own: &[2],
        live: Some(COUNT),
    },
    Case {
        name: "counters, objects of their own",
        label: "objects",
        write: [&["GCOUNTER.ADD", "o:{}", "c", "1"], &["INCRBY", "o:{}", "1"]],
        read: [&["GCOUNTER.GET", "o:{}", "c"], &["GET", "o:{}"]],
        own: &[1, 2],
        live: Some(COUNT),
    },
    Case {
        name: "elements of one set",
        label: "elements",
        write: [&["ORSET.ADD", "object", "set", "e:{}"], &["SADD", "set", "e:{}"]],
        read: [&["ORSET.ISMEMBER", "object", "set", "e:{}"], &["SISMEMBER", "set", "e:{}"]],
        own: &[3],
        live: Some(0),
    },
    Case {
        name: "increments of one counter",
        label: "increments",
        write: [&["GCOUNTER.ADD", "object", "c", "1"], &["INCRBY", "object", "1"]],
        read: [&["GCOUNTER.GET", "object", "c"], &["GET", "object"]],
        own: &[],
        live: None,
    },
];

/// Starts of one server from the same files.
#[derive(Serialize)]
pub(super) struct Start {
    /// From exec to the first PONG.
    pub(super) seconds: Spread,
    /// The CPU time that it had used by then: of its threads together.
    pub(super) cpu_seconds: Spread,
}

/// A server's starts, and its bytes on disk.
#[derive(Serialize)]
pub(super) struct Starts {
    pub(super) from_log: Start,
    pub(super) from_compacted: Start,
    pub(super) log_bytes: u64,
    pub(super) compacted_bytes: u64,
}

#[derive(Serialize)]
pub(super) struct Recovered {
    pub(super) item: &'static str,
    #[serde(skip)]
    pub(super) label: &'static str,
    rounds: usize,
    /// Names and elements as they were sent, and the values of counters.
    pub(super) live_bytes: Option<u64>,
    pub(super) miso: Starts,
    pub(super) redis: Starts,
}

impl Recovered {
    /// Time from the log by Redis's.
    pub(super) fn log_ratio(&self) -> f64 {
        self.miso.from_log.seconds.median / self.redis.from_log.seconds.median
    }

    /// Time from what was made of the log by Redis's.
    pub(super) fn compacted_ratio(&self) -> f64 {
        self.miso.from_compacted.seconds.median / self.redis.from_compacted.seconds.median
    }

    /// Both by Redis's at most, where there are many things to recover.
    pub(super) fn target(&self) -> Option<f64> {
        self.live_bytes.map(|_| RECOVERY_TARGET)
    }

    pub(super) fn compacted_by_live(&self) -> Option<f64> {
        Some(self.miso.compacted_bytes as f64 / self.live_bytes? as f64)
    }
}

/// Runs every case, the two servers by turns.
pub(super) fn run(
    programs: &Programs,
    directory: &Directory,
    options: &Options,
) -> Result<Vec<Recovered>> {
    let (rounds, items) = (options.rounds(ROUNDS), options.items());
    let bar = progress::bar("recovery", CASES.len() * 2 * (rounds + 1));
    let mut found = Vec::new();
    for case in CASES {
        let path = |kind: Kind| directory.sub(&format!("{}-{}", case.label, kind.name()));
        let paths = [path(Kind::Miso)?, path(Kind::Redis)?];
        let run = Run { programs, case, items, paths: &paths };
        bar.set_message(format!("{}: writing", case.name));
        let mut own_bytes = 0;
        for kind in Kind::BOTH {
            let server = run.start(kind)?;
            let own = if kind == Kind::Miso { case.own } else { &[] };
            own_bytes += fill(&server, case.write[kind as usize], own, items)?;
        }
        let log_bytes = run.bytes()?;
        bar.inc(1);
        let [miso_log, redis_log] = run.starts(rounds, || bar.inc(1))?;
        bar.set_message(format!("{}: ending in order", case.name));
        for kind in Kind::BOTH {
            run.end(kind)?;
        }
        let compacted_bytes = run.bytes()?;
        bar.inc(1);
        let [miso_compacted, redis_compacted] = run.starts(rounds, || bar.inc(1))?;
        let starts = |kind: Kind, from_log, from_compacted| Starts {
            from_log,
            from_compacted,
            log_bytes: log_bytes[kind as usize],
            compacted_bytes: compacted_bytes[kind as usize],
        };
        found.push(Recovered {
            item: case.name,
            label: case.label,
            rounds,
            live_bytes: case.live.map(|live| (own_bytes + live * items) as u64),
            miso: starts(Kind::Miso, miso_log, miso_compacted),
            redis: starts(Kind::Redis, redis_log, redis_compacted),
        });
    }
    bar.finish_and_clear();
    Ok(found)
}

struct Run<'a> {
    programs: &'a Programs,
    case: &'a Case,
    items: usize,
    paths: &'a [PathBuf; 2],
}

impl Run<'_> {
    fn path(&self, kind: Kind) -> &Path {
        &self.paths[kind as usize]
    }

    fn bytes(&self) -> Result<[u64; 2]> {
        let [miso, redis] = self.paths;
        Ok([directory::bytes(miso)?, directory::bytes(redis)?])
    }

    fn start(&self, kind: Kind) -> Result<Server> {
        Server::start_on(self.programs, kind, self.path(kind), "everysec")
    }

    /// Starts both `rounds` times and kills them; answers what each start took.
    fn starts(&self, rounds: usize, mut done: impl FnMut()) -> Result<[Start; 2]> {
        let mut seconds = [Vec::new(), Vec::new()];
        let mut cpu_seconds = [Vec::new(), Vec::new()];
        for round in 0..rounds {
            for kind in Kind::alternating(round) {
                let server = self.start(kind)?;
                cpu_seconds[kind as usize].push(server.cpu()?.as_secs_f64());
                seconds[kind as usize].push(server.ready_after().as_secs_f64());
                self.check(&server, kind)?;
            }
            done();
        }
        let start = |kind: Kind| Start {
            seconds: Spread::of(&seconds[kind as usize]),
            cpu_seconds: Spread::of(&cpu_seconds[kind as usize]),
        };
        Ok(Kind::BOTH.map(start))
    }

    /// Whether the last item is there.
    fn check(&self, server: &Server, kind: Kind) -> Result<()> {
        let expected = if self.case.live.is_some() { 1 } else { self.items };
        let command = numbered(self.case.read[kind as usize], self.items - 1);
        let reply = server.connect()?.ok(&command)?;
        let found = match &reply {
            Reply::Integer(found) => *found == i64::try_from(expected)?,
            Reply::Bulk(Some(found)) => *found == expected.to_string().into_bytes(),
            _ => false,
        };
        if found {
            return Ok(());
        }
        Err(format!("{}: {} answers {reply:?} after a start", kind.name(), command.join(" "))
            .into())
    }

    /// Starts it once more and has it make of its log what it makes of it in order.
    fn end(&self, kind: Kind) -> Result<()> {
        let server = self.start(kind)?;
        if kind == Kind::Redis {
            let mut client = server.connect()?;
            client.ok(&["BGREWRITEAOF"])?;
            let deadline = Instant::now() + PATIENCE;
            while !rewritten(&client.ok(&["INFO", "persistence"])?) {
                if Instant::now() > deadline {
                    return Err("Redis does not end rewriting its log".into());
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
        let status = server.terminate()?;
        if status.success() {
            return Ok(());
        }
        Err(format!("{} ends with {status}", kind.name()).into())
    }
}

/// Whether INFO says that no rewriting runs or waits.
fn rewritten(info: &Reply) -> bool {
    let Reply::Bulk(Some(info)) = info else { return false };
    let info = String::from_utf8_lossy(info);
    ["aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"].iter().all(|line| info.contains(line))
}
