//! What one more costs when there are many: functions, channels of a connection, and nodes that rest.
//!
//! Each figure should stay what it is while the number grows.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::error::Result;
use crate::nodes::Nodes;
use crate::progress;
use crate::report::{Limit, Report, Target};
use crate::resp::encode;
use crate::servers::{Kind, Programs, Server, miso_settings};
use crate::table::{Table, grouped};

/// The most that a function may take when there are many.
const FUNCTION_BYTES: f64 = 2048.0;
const FUNCTION_US: f64 = 30.0;
/// The most that a resting node among a hundred may take.
const NODE_PERCENT: f64 = 0.25;
const NODE_MIB: f64 = 12.0;
/// How many channels go in one SUBSCRIBE.
const CHANNELS_AT_ONCE: usize = 1000;
/// How long nodes have no peace yet after they have found each other.
const SETTLE: Duration = Duration::from_secs(5);

/// A curve.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Functions,
    Channels,
    Nodes,
}

#[derive(Args, Clone)]
pub(crate) struct Options {
    /// One curve alone
    #[arg(long)]
    part: Option<Part>,
    /// How many functions there are
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 5_000, 20_000])]
    functions: Vec<usize>,
    /// How many channels a connection hears
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000, 100_000])]
    channels: Vec<usize>,
    /// How many nodes rest on this machine
    #[arg(long, value_delimiter = ',', default_values_t = [10, 30, 100])]
    nodes: Vec<usize>,
    /// How long their rest is measured
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

impl Options {
    /// What `all` runs.
    pub(crate) fn standard(quick: bool) -> Options {
        Options {
            part: None,
            functions: vec![1_000, 5_000, 20_000],
            channels: vec![1_000, 10_000, 100_000],
            nodes: if quick { vec![10, 30] } else { vec![10, 30, 100] },
            seconds: if quick { 5 } else { 20 },
        }
    }

    fn wants(&self, part: Part) -> bool {
        self.part.is_none_or(|wanted| wanted == part)
    }
}

/// Of one function or channel, when there are this many.
#[derive(Serialize)]
struct Each {
    number: usize,
    cpu_us: f64,
    bytes: f64,
}

/// Of one node, when there are this many.
#[derive(Serialize)]
struct Resting {
    number: usize,
    /// Of one core, the mean of all nodes.
    percent: f64,
    /// Resident, of the greatest.
    mib: f64,
    /// Messages to peers in a second.
    messages: f64,
}

#[derive(Serialize)]
pub(crate) struct Growth {
    functions: Vec<Each>,
    channels: Vec<Each>,
    nodes: Vec<Resting>,
    seconds: u64,
}

/// Measures each number on servers of its own.
pub(crate) fn run(programs: &Programs, options: &Options) -> Result<Growth> {
    let wanted =
        |part, numbers: &[usize]| if options.wants(part) { numbers.to_vec() } else { vec![] };
    let functions = wanted(Part::Functions, &options.functions);
    let channels = wanted(Part::Channels, &options.channels);
    let nodes = wanted(Part::Nodes, &options.nodes);
    let bar = progress::bar("growth", functions.len() + channels.len() + nodes.len());
    let step = |each| {
        bar.inc(1);
        each
    };
    let growth = Growth {
        functions: functions
            .into_iter()
            .map(|number| function(programs, number).map(step))
            .collect::<Result<_>>()?,
        channels: channels
            .into_iter()
            .map(|number| channel(programs, number).map(step))
            .collect::<Result<_>>()?,
        nodes: nodes
            .into_iter()
            .map(|number| {
                bar.inc(1);
                rest(programs, number, Duration::from_secs(options.seconds))
            })
            .collect::<Result<_>>()?,
        seconds: options.seconds,
    };
    bar.finish_and_clear();
    Ok(growth)
}

/// A server, measured before and after `commands`, which make `number` of something.
fn each(server: &Server, number: usize, commands: impl FnOnce() -> Result<()>) -> Result<Each> {
    let (bytes, cpu) = (server.settled_resident()?, server.cpu()?);
    commands()?;
    let cpu_us = (server.cpu()? - cpu).as_secs_f64() * 1e6 / number as f64;
    let grown = server.settled_resident()?.saturating_sub(bytes);
    Ok(Each { number, cpu_us, bytes: grown as f64 / number as f64 })
}

/// Functions of one counter each, that one connection goes through.
fn function(programs: &Programs, number: usize) -> Result<Each> {
    let server = Server::launch(|port| {
        let mut command = Command::new(&programs.miso);
        miso_settings(&mut command, port);
        command.args(["--max-functions", "1000000", "--function-linger", "3600"]);
        command
    })?;
    let mut client = server.connect()?;
    each(&server, number, || {
        for at in 0..number {
            let mut commands = Vec::new();
            encode(&mut commands, &["AUTH", &format!("function-{at}"), "-"]);
            encode(&mut commands, &["GCOUNTER.ADD", "object", "n", "1"]);
            client.batch(&commands, 2)?;
        }
        Ok(())
    })
}

fn channel(programs: &Programs, number: usize) -> Result<Each> {
    let server = Server::start(programs, Kind::Miso)?;
    let mut client = server.connect()?;
    each(&server, number, || {
        let names: Vec<String> = (0..number).map(|at| format!("channel-{at}")).collect();
        for names in names.chunks(CHANNELS_AT_ONCE) {
            let words: Vec<&str> =
                std::iter::once("SUBSCRIBE").chain(names.iter().map(String::as_str)).collect();
            let mut command = Vec::new();
            encode(&mut command, &words);
            client.batch(&command, names.len())?;
        }
        Ok(())
    })
}

/// Nodes that all know each other and one function, and have nothing to do.
fn rest(programs: &Programs, number: usize, length: Duration) -> Result<Resting> {
    let nodes = Nodes::start(programs, number, Duration::from_millis(5))?;
    thread::sleep(SETTLE);
    let (before, began) = (nodes.used_by_all()?, Instant::now());
    thread::sleep(length);
    let passed = began.elapsed().as_secs_f64();
    let used = nodes.used_by_all()?.since(before);
    let each = |sum: f64| sum / passed / number as f64;
    Ok(Resting {
        number,
        percent: each(used.front_s + used.replication_s) * 100.0,
        mib: nodes.resident_most()? as f64 / f64::from(1 << 20),
        messages: each(used.messages),
    })
}

impl Report for Growth {
    const NAME: &'static str = "growth";

    fn markdown(&self) -> String {
        let mut text = String::new();
        for (what, curve) in [("functions", &self.functions), ("channels", &self.channels)] {
            if curve.is_empty() {
                continue;
            }
            let mut table = Table::new(&[what, "us of CPU each", "bytes each"]);
            for each in curve {
                table.row([
                    grouped(each.number as u64),
                    format!("{:.1}", each.cpu_us),
                    format!("{:.0}", each.bytes),
                ]);
            }
            text += &format!("{table}\n");
        }
        if !self.nodes.is_empty() {
            let mut table = Table::new(&["nodes", "% of a core each", "MiB", "messages/s each"]);
            for rest in &self.nodes {
                table.row([
                    rest.number.to_string(),
                    format!("{:.3}", rest.percent),
                    format!("{:.1}", rest.mib),
                    format!("{:.1}", rest.messages),
                ]);
            }
            text += &format!("{table}\n");
        }
        format!(
            "A function is AUTH by its name and one counter; a channel is heard by one connection beside all \
             others; nodes are linked with each other, run one function and rest for {} s on this machine. \
             Bytes are what the resident size grows by.\n\n{}",
            self.seconds,
            text.trim_end().to_owned() + "\n"
        )
    }

    fn targets(&self) -> Vec<Target> {
        let mut targets = Vec::new();
        let mut target = |what: String, figure, limit| {
            targets.push(Target::new(what, figure, Limit::AtMost(limit)));
        };
        if let Some(last) = self.functions.last() {
            let of = grouped(last.number as u64);
            target(format!("bytes of a function, {of} functions"), last.bytes, FUNCTION_BYTES);
            target(format!("us of CPU of a function, {of} functions"), last.cpu_us, FUNCTION_US);
        }
        if let (Some(first), Some(last)) = (self.channels.first(), self.channels.last()) {
            let of = format!("{} by {}", grouped(last.number as u64), grouped(first.number as u64));
            target(format!("us of CPU of a channel, {of}"), last.cpu_us / first.cpu_us, 2.0);
        }
        if let Some(last) = self.nodes.last() {
            let of = last.number;
            target(
                format!("% of a core of a resting node, {of} nodes"),
                last.percent,
                NODE_PERCENT,
            );
            target(format!("MiB of a resting node, {of} nodes"), last.mib, NODE_MIB);
        }
        targets
    }
}
