//! What an id costs a write: MISO.ONCE beside the same command without it, on a node of its own.
//!
//! What tells is the server's CPU time per command, and what the ids add to its size: they are kept for
//! `once-window` at least.

use clap::Args;
use serde::Serialize;

use crate::error::Result;
use crate::load::{self, Load};
use crate::memory::fill;
use crate::progress;
use crate::report::{Limit, Report, Target};
use crate::servers::{Kind, Programs, Server};
use crate::statistics::{median, sorted};
use crate::table::{Table, grouped};

const PLAIN: [&str; 4] = ["GCOUNTER.ADD", "object", "n", "1"];
/// Every id is another one, of the length of a UUID.
const ONCE: [&str; 6] =
    ["MISO.ONCE", "7c9e6679-7425-40de-944b-{}", "GCOUNTER.ADD", "object", "n", "1"];
/// Which of its words is the id.
const ID: usize = 1;
/// How many commands are in flight on a connection.
const DEPTHS: [u64; 2] = [1, 16];
/// Of the CPU time without an id, the most.
const CPU: f64 = 1.3;
/// The most bytes beyond those of the id itself.
const BYTES: f64 = 64.0;

#[derive(Args, Clone)]
pub(crate) struct Options {
    /// Commands in each run, and ids of which the size is measured; at most what once-max lets in
    #[arg(long, default_value_t = 300_000)]
    commands: u64,
    /// Connections
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Runs of each kind, by turns
    #[arg(long, default_value_t = 5)]
    repetitions: usize,
}

impl Options {
    /// What `all` runs.
    pub(crate) fn standard(quick: bool) -> Options {
        let (commands, repetitions) = if quick { (100_000, 3) } else { (300_000, 5) };
        Options { commands, connections: 16, repetitions }
    }
}

/// CPU microseconds of the server per command, medians of the runs.
#[derive(Serialize)]
struct Depth {
    depth: u64,
    plain_cpu_us: f64,
    once_cpu_us: f64,
}

#[derive(Serialize)]
pub(crate) struct Once {
    commands: u64,
    connections: usize,
    depths: Vec<Depth>,
    /// By which the resident size grows per id, beyond the id's own bytes.
    bytes_per_id: f64,
}

/// Runs both by turns, on a fresh server each time: ids that are kept do not wear on the next run.
pub(crate) fn run(programs: &Programs, options: &Options) -> Result<Once> {
    let bar = progress::bar("once", DEPTHS.len() * options.repetitions + 1);
    let mut depths = Vec::new();
    for depth in DEPTHS {
        let (mut plain, mut once) = (Vec::new(), Vec::new());
        for _ in 0..options.repetitions {
            let server = Server::start(programs, Kind::Miso)?;
            plain.push(cpu(&server, options, (&PLAIN, 0), depth)?);
            once.push(cpu(&server, options, (&ONCE, options.commands), depth)?);
            bar.inc(1);
        }
        let middle = |runs: &[f64]| median(&sorted(runs));
        depths.push(Depth { depth, plain_cpu_us: middle(&plain), once_cpu_us: middle(&once) });
    }
    let bytes_per_id = bytes(programs, options)?;
    bar.finish_and_clear();
    let Options { commands, connections, .. } = *options;
    Ok(Once { commands, connections, depths, bytes_per_id })
}

/// CPU microseconds of the server per command. `distinct` numbers stand in the command.
fn cpu(
    server: &Server,
    options: &Options,
    (command, distinct): (&'static [&'static str], u64),
    depth: u64,
) -> Result<f64> {
    let Options { commands, connections, .. } = *options;
    let load = Load { command, distinct, commands, connections, depth };
    let before = server.cpu()?;
    load::run(&[server.port()], &load)?;
    Ok((server.cpu()? - before).as_secs_f64() * 1e6 / commands as f64)
}

fn bytes(programs: &Programs, options: &Options) -> Result<f64> {
    let server = Server::start(programs, Kind::Miso)?;
    let items = usize::try_from(options.commands)?;
    let before = server.settled_resident()?;
    let own = fill(&server, &ONCE, &[ID], items)?;
    let grown = server.settled_resident()?.saturating_sub(before);
    Ok((grown as f64 - own as f64) / items as f64)
}

impl Report for Once {
    const NAME: &'static str = "once";

    fn markdown(&self) -> String {
        let mut table = Table::new(&[
            "commands in flight",
            "without an id, us of CPU",
            "with an id, us of CPU",
            "with / without",
        ]);
        for depth in &self.depths {
            table.row([
                depth.depth.to_string(),
                format!("{:.2}", depth.plain_cpu_us),
                format!("{:.2}", depth.once_cpu_us),
                format!("{:.2}", depth.once_cpu_us / depth.plain_cpu_us),
            ]);
        }
        format!(
            "`{}` and `{}` over {} connections, CPU of the server per command. An id that is kept, with what \
             its write answered and counted, takes {:.0} bytes beyond its own ({} ids of 34 bytes).\n\n{table}",
            PLAIN.join(" "),
            ONCE.join(" "),
            self.connections,
            self.bytes_per_id,
            grouped(self.commands),
        )
    }

    fn targets(&self) -> Vec<Target> {
        let cpu = |depth: &Depth| {
            let what = format!("CPU of MISO.ONCE by the command's alone, depth {}", depth.depth);
            Target::new(what, depth.once_cpu_us / depth.plain_cpu_us, Limit::AtMost(CPU))
        };
        let bytes = "bytes beyond its own, id of MISO.ONCE".to_owned();
        let bytes = Target::new(bytes, self.bytes_per_id, Limit::AtMost(BYTES));
        self.depths.iter().map(cpu).chain([bytes]).collect()
    }
}
