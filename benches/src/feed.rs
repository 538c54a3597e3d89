//! The change feed: how soon a reader is told of a write, and what it costs those that write.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use crate::error::Result;
use crate::load::{self, Load};
use crate::nodes::Nodes;
use crate::progress;
use crate::report::{Limit, Report, Target};
use crate::resp::{Client, Reply};
use crate::servers::{Kind, Programs, Server};
use crate::statistics::{Series, median, sorted};
use crate::table::Table;

/// The setting `replication-interval`.
const INTERVAL: Duration = Duration::from_millis(5);
/// How much later than an interval a reader may be told, in milliseconds.
const BEYOND_INTERVAL_MS: f64 = 5.0;
/// What a reader may add to the CPU time of a write, in percent.
const COST_PERCENT: f64 = 2.0;

#[derive(Args, Clone)]
pub(crate) struct Options {
    /// Writes of which a reader is to be told
    #[arg(long, default_value_t = 500)]
    writes: usize,
    /// Writes in each run of which the cost is measured
    #[arg(long, default_value_t = 2_000_000)]
    commands: u64,
    /// Runs with and without a reader, by turns
    #[arg(long, default_value_t = 5)]
    repetitions: usize,
}

impl Options {
    /// What `all` runs.
    pub(crate) fn standard(quick: bool) -> Options {
        let (writes, commands, repetitions) =
            if quick { (100, 500_000, 3) } else { (500, 2_000_000, 5) };
        Options { writes, commands, repetitions }
    }
}

/// From before a write until a reader has its value, in milliseconds.
#[derive(Serialize)]
struct Told {
    reader: &'static str,
    ms: Series,
}

/// CPU microseconds of the server per write, medians of the runs.
#[derive(Serialize)]
struct Cost {
    keys: u64,
    alone_us: f64,
    read_us: f64,
    /// Changes that the reader was told of, in a second.
    told: f64,
}

impl Cost {
    fn percent(&self) -> f64 {
        (self.read_us / self.alone_us - 1.0) * 100.0
    }
}

#[derive(Serialize)]
pub(crate) struct Feed {
    writes: usize,
    commands: u64,
    told: Vec<Told>,
    costs: Vec<Cost>,
}

/// A reader of the default function.
struct Reader {
    client: Client,
    cursor: Vec<u8>,
}

impl Reader {
    fn new(mut client: Client) -> Result<Reader> {
        let reply = client.ok(&["MISO.FEED", "default", "AFTER", "$"])?;
        let (cursor, _) = page(reply)?;
        Ok(Reader { client, cursor })
    }

    /// The next changes, once there are some or a while has passed.
    fn next(&mut self) -> Result<Vec<Reply>> {
        let words: [&[u8]; 7] =
            [b"MISO.FEED", b"default", b"AFTER", &self.cursor, b"BLOCK", b"100", b"COUNT"];
        let words: Vec<&[u8]> = words.into_iter().chain([&b"1000"[..]]).collect();
        let (cursor, changes) = page(self.client.ok(&words)?)?;
        self.cursor = cursor;
        Ok(changes)
    }
}

/// Cursor and changes of an answer.
fn page(reply: Reply) -> Result<(Vec<u8>, Vec<Reply>)> {
    let Reply::Array(fields) = reply else { return Err("the feed is no array".into()) };
    let (mut cursor, mut changes) = (None, None);
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        match (name, value) {
            (Reply::Bulk(Some(name)), Reply::Bulk(Some(value))) if name == b"cursor" => {
                cursor = Some(value);
            }
            (Reply::Bulk(Some(name)), Reply::Array(value)) if name == b"changes" => {
                changes = Some(value);
            }
            _ => {}
        }
    }
    Ok((cursor.ok_or("the feed has no cursor")?, changes.ok_or("the feed has no changes")?))
}

/// Measures both.
pub(crate) fn run(programs: &Programs, options: &Options) -> Result<Feed> {
    let bar = progress::bar("feed", 2 + 2 * options.repetitions);
    let nodes = Nodes::start(programs, 2, INTERVAL)?;
    let mut told = Vec::new();
    for (reader, at) in [("on the node that is written to", 0), ("on another node", 1)] {
        let ms = times(nodes.connect(0)?, nodes.connect(at)?, options.writes)?;
        told.push(Told { reader, ms: Series::of(&ms) });
        bar.inc(1);
    }
    drop(nodes);
    let mut costs = Vec::new();
    for keys in [1, 100_000] {
        let (mut alone, mut read, mut told) = (Vec::new(), Vec::new(), Vec::new());
        let server = Server::start(programs, Kind::Miso)?;
        for _ in 0..options.repetitions {
            alone.push(write(&server, options, keys)?);
            let (cpu, changes) = write_read(&server, options, keys)?;
            read.push(cpu);
            told.push(changes);
            bar.inc(1);
        }
        let middle = |runs: &[f64]| median(&sorted(runs));
        let (alone_us, read_us, told) = (middle(&alone), middle(&read), middle(&told));
        costs.push(Cost { keys, alone_us, read_us, told });
    }
    bar.finish_and_clear();
    Ok(Feed { writes: options.writes, commands: options.commands, told, costs })
}

/// Milliseconds from before each write until the reader has what it wrote.
fn times(mut writer: Client, reader: Client, writes: usize) -> Result<Vec<f64>> {
    let mut reader = Reader::new(reader)?;
    let mut times = Vec::new();
    for number in 0..writes {
        // Not in step with the node's own time.
        thread::sleep(Duration::from_millis(5 + number as u64 % 7));
        let began = Instant::now();
        let value = number.to_string();
        writer.ok(&["SET", "seen", &value])?;
        loop {
            let changes = reader.next()?;
            let is_it = |change: &Reply| {
                let Reply::Array(fields) = change else { return false };
                fields.contains(&Reply::Bulk(Some(value.clone().into_bytes())))
            };
            if changes.iter().any(is_it) {
                break;
            }
            if began.elapsed() > Duration::from_secs(10) {
                return Err("a reader is not told of a write".into());
            }
        }
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}

/// CPU microseconds of the server per write.
fn write(server: &Server, options: &Options, keys: u64) -> Result<f64> {
    let load = Load {
        command: &["GCOUNTER.ADD", "object", "n:{}", "1"],
        distinct: keys,
        commands: options.commands,
        connections: 50,
        depth: 16,
    };
    let before = server.cpu()?;
    load::run(&[server.port()], &load)?;
    Ok((server.cpu()? - before).as_secs_f64() * 1e6 / options.commands as f64)
}

/// The same while a reader follows, and how many changes that is told of in a second.
fn write_read(server: &Server, options: &Options, keys: u64) -> Result<(f64, f64)> {
    let mut reader = Reader::new(server.connect()?)?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let follow = scope.spawn(|| -> Result<f64> {
            let (began, mut told) = (Instant::now(), 0);
            while !over.load(Ordering::Relaxed) {
                told += reader.next()?.len();
            }
            Ok(told as f64 / began.elapsed().as_secs_f64())
        });
        let cpu = write(server, options, keys);
        over.store(true, Ordering::Relaxed);
        let told = follow.join().map_err(|_| "the reader panicked")?;
        Ok((cpu?, told?))
    })
}

impl Report for Feed {
    const NAME: &'static str = "feed";

    fn markdown(&self) -> String {
        let mut told = Table::new(&["reader", "ms: average", "median", "p99"]);
        for Told { reader, ms } in &self.told {
            let [average, median, p99] = ms.cells(2);
            told.row([(*reader).to_owned(), average, median, p99]);
        }
        let mut costs = Table::new(&[
            "counters",
            "us of CPU a write, alone",
            "with a reader",
            "more, %",
            "changes told in a second",
        ]);
        for cost in &self.costs {
            costs.row([
                cost.keys.to_string(),
                format!("{:.3}", cost.alone_us),
                format!("{:.3}", cost.read_us),
                format!("{:.1}", cost.percent()),
                format!("{:.0}", cost.told),
            ]);
        }
        format!(
            "`MISO.FEED` with BLOCK, the interval being {} ms: from before each of {} writes until a reader has it; \
             and the CPU of the server for {} `GCOUNTER.ADD` (50 connections, 16 in flight each) without and with \
             one reader, which is served by the same CPU. A reader is told of each counter once an interval at \
             most, however often it is written to.\n\n{told}\n{costs}",
            INTERVAL.as_millis(),
            self.writes,
            self.commands,
        )
    }

    fn targets(&self) -> Vec<Target> {
        let most = INTERVAL.as_secs_f64() * 1e3 + BEYOND_INTERVAL_MS;
        let told = self.told.iter().map(|told| {
            let what = format!("ms until a reader {} is told, p99", told.reader);
            Target::new(what, told.ms.p99, Limit::AtMost(most))
        });
        let costs = self.costs.iter().take(1).map(|cost| {
            let what = "% of CPU that a reader adds to writes, one counter".to_owned();
            Target::new(what, cost.percent(), Limit::AtMost(COST_PERCENT))
        });
        told.chain(costs).collect()
    }
}
