//! Benchmarks of `miso-server` beside a real `redis-server`, on the same machine and in the same run.
//!
//! Each subcommand starts the servers it needs on free loopback ports, alternates between them, and
//! prints a table; `all` runs every one and writes the page `docs/benchmarks.md` with its charts.
//! Nothing is asserted except what does not depend on the machine's load: the figures of `instructions`
//! and the sums of `allreduce`.

mod allreduce;
mod chart;
mod compare;
mod crowd;
mod directory;
mod durability;
mod environment;
mod epoll;
mod error;
mod functions;
mod http;
mod instructions;
mod latency;
mod load;
mod memory;
mod neighbour;
mod nodes;
mod once;
mod plain;
mod progress;
mod redis_benchmark;
mod replication;
mod report;
mod resp;
mod servers;
mod startup;
mod statistics;
mod suite;
mod table;
mod tls;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use error::Result;
use report::Report;
use servers::Programs;

/// Benchmarks of MISO beside Redis.
///
/// `miso-server` is the one that MISO_SERVER names, else it is built as this program was;
/// `redis-server` and `redis-benchmark` are those on the PATH.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Subcommand)]
enum Benchmark {
    /// CPU time per command, by redis-benchmark at several depths and connection counts; with --plain that of
    /// plain keys beside Redis 8.2 and Valkey 9.1, and their memory
    Compare {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        options: compare::Options,
        #[command(flatten)]
        plain: plain::Options,
    },
    /// Latency at a fixed rate of requests (open loop, nothing omitted)
    Latency {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        options: latency::Options,
    },
    /// Resident bytes per counter, register and set element
    Memory {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        options: memory::Options,
    },
    /// Time from exec to the first PONG, and the resident size of an idle server
    Startup {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        options: startup::Options,
    },
    /// The paper's AllReduce: 1 000 partial sums, five calls in flight, then one read
    Allreduce {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        options: allreduce::Options,
    },
    /// Instructions per command under callgrind, held against benches/instructions.json
    Instructions {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        options: instructions::Options,
    },
    /// The journal: throughput, CPU, recovery and bytes on disk, beside Redis's append-only file
    Durability {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        options: durability::Options,
    },
    /// HTTP beside RESP: throughput and CPU, one command at a time and a hundred at a time
    Http {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        options: http::Options,
    },
    /// What an id costs a write (MISO.ONCE): CPU, and bytes that are kept
    Once {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        options: once::Options,
    },
    /// What TLS costs: CPU per command and connection, between nodes, at the start and at rest
    Tls {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        options: tls::Options,
    },
    /// A noisy neighbour: the latency of one function while another one does all it may
    Neighbour {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        options: neighbour::Options,
    },
    /// The paper's AllReduce through functions; needs what `cargo xtask bench functions` installs
    Functions(functions::Options),
    /// Many nodes: the paper's load and intervals, and what a peer and a large state cost a write
    Replication(replication::Options),
    /// Everything; writes benches/results, docs/charts and docs/benchmarks.md
    All(suite::Options),
}

/// Where a report goes beside the terminal.
#[derive(Args)]
struct Common {
    /// Write the figures to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a chart of the figures to this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

impl Common {
    fn show(&self, report: &impl Report) -> Result<()> {
        println!("{}", report.markdown());
        if let Some(path) = &self.json {
            report::write_json(path, report)?;
        }
        if let (Some(path), Some(chart)) = (&self.svg, report.chart()) {
            report::write_text(path, &chart.svg()?)?;
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    match run(Cli::parse().benchmark) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("miso-benches: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(benchmark: Benchmark) -> Result<ExitCode> {
    let programs = Programs::find()?;
    match benchmark {
        Benchmark::Compare { options, plain, .. } if plain.wanted => {
            plain::run(&programs, &options.of_plain(plain))?;
        }
        Benchmark::Compare { common, options, .. } => {
            common.show(&compare::run(&programs, &options)?)?;
        }
        Benchmark::Latency { common, options } => {
            common.show(&latency::run(&programs, &options)?)?;
        }
        Benchmark::Memory { common, options } => common.show(&memory::run(&programs, &options)?)?,
        Benchmark::Startup { common, options } => {
            common.show(&startup::run(&programs, &options)?)?;
        }
        Benchmark::Allreduce { common, options } => {
            let report = allreduce::run(&programs, &options)?;
            common.show(&report)?;
            if !report.all_right() {
                return Err("allreduce: a sum was wrong on the first read".into());
            }
        }
        Benchmark::Instructions { common, options } => {
            let report = instructions::run(&programs, &options)?;
            common.show(&report)?;
            if report.regressed() {
                return Ok(ExitCode::FAILURE);
            }
        }
        Benchmark::Durability { common, options } => {
            common.show(&durability::run(&programs, &options)?)?;
        }
        Benchmark::Http { common, options } => common.show(&http::run(&programs, &options)?)?,
        Benchmark::Once { common, options } => common.show(&once::run(&programs, &options)?)?,
        Benchmark::Tls { common, options } => {
            let report = tls::run(&programs, &options)?;
            common.show(&report)?;
            report.targets().iter().for_each(|target| println!("{target}"));
        }
        Benchmark::Neighbour { common, options } => {
            let report = neighbour::run(&programs, &options)?;
            common.show(&report)?;
            report.targets().iter().for_each(|target| println!("{target}"));
        }
        Benchmark::Functions(options) => functions::run(&programs, &options)?,
        Benchmark::Replication(options) => suite::run_replication(&programs, &options)?,
        Benchmark::All(options) => suite::run(&programs, &options)?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
