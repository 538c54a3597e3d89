//! What TLS costs: CPU per command and per connection, between nodes, at the start and at rest.
//!
//! Commands and connections are made by a stock `redis-benchmark`, in the clear and by TLS by turns.
//! Certificate and key are the same for both servers.

use std::cell::Cell;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::directory::Directory;
use crate::error::Result;
use crate::load::{self, Load};
use crate::nodes::Nodes;
use crate::progress;
use crate::redis_benchmark::{self, Shape};
use crate::report::{Limit, Report, Target};
use crate::servers::{Kind, Programs, Server, free_port, miso_settings, redis_basics};
use crate::statistics::{median, sorted};
use crate::table::Table;

/// Commands in flight on a connection.
const DEPTHS: [usize; 2] = [16, 64];
const CONNECTIONS: usize = 50;
/// What encrypted commands and connections may cost, by plain ones and by Redis's.
const COMMAND_TARGET: f64 = 1.25;
const CONNECTION_TARGET: f64 = 1.10;
/// Seconds of CPU that encryption between nodes may add to a million updates.
const REPLICATION_TARGET: f64 = 0.05;
const IDLE_MIB_TARGET: f64 = 9.0;
const READY_MS_TARGET: f64 = 8.0;

#[derive(Args, Clone)]
pub(crate) struct Options {
    /// Rounds of each figure
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Commands of one run
    #[arg(long, default_value_t = 256_000)]
    commands: usize,
    /// Connections that are made in one run
    #[arg(long, default_value_t = 2_000)]
    handshakes: usize,
    /// Updates that two nodes exchange in one run
    #[arg(long, default_value_t = 1_000_000)]
    updates: u64,
}

impl Options {
    /// What `all` runs.
    pub(crate) fn standard(quick: bool) -> Options {
        match quick {
            true => Options { rounds: 2, commands: 64_000, handshakes: 500, updates: 200_000 },
            false => {
                Options { rounds: 5, commands: 256_000, handshakes: 2_000, updates: 1_000_000 }
            }
        }
    }
}

/// CPU microseconds of a server per command, medians.
#[derive(Serialize)]
struct Commands {
    depth: usize,
    plain_us: f64,
    tls_us: f64,
    redis_plain_us: f64,
    redis_tls_us: f64,
}

#[derive(Serialize)]
pub(crate) struct Tls {
    rounds: usize,
    commands: Vec<Commands>,
    /// CPU microseconds of a connection with its handshake, PING and end.
    connection_us: f64,
    redis_connection_us: f64,
    /// CPU seconds of both nodes' replication for a million updates.
    replication_plain_s: f64,
    replication_tls_s: f64,
    idle_mib: f64,
    ready_ms: f64,
}

/// A server that serves both in the clear and by TLS.
struct Both {
    server: Server,
    tls_port: u16,
}

impl Both {
    fn start(programs: &Programs, kind: Kind, certs: &Path) -> Result<Both> {
        let tls_port = Cell::new(0);
        let server = Server::launch(|port| {
            // One that is taken meanwhile ends the server, and the next try has another.
            tls_port.set(free_port().unwrap_or(0));
            let mut command = match kind {
                Kind::Miso => {
                    let mut command = Command::new(&programs.miso);
                    miso_settings(&mut command, port);
                    command
                }
                Kind::Redis => {
                    let mut command = redis_basics(&programs.redis, port);
                    command.args(["--appendonly", "no"]).current_dir(certs);
                    command
                }
            };
            command.args(["--tls-port", &tls_port.get().to_string(), "--tls-auth-clients", "no"]);
            for (flag, file) in [("cert", "a.pem"), ("key", "a-key.pem"), ("ca-cert", "ca.pem")] {
                command.arg(format!("--tls-{flag}-file")).arg(certs.join(file));
            }
            command
        })?;
        Ok(Both { server, tls_port: tls_port.get() })
    }

    /// CPU microseconds per command.
    fn cost(
        &self,
        programs: &Programs,
        by_tls: Option<&Path>,
        words: &[&str],
        shape: &Shape,
    ) -> Result<f64> {
        let ca = by_tls.map(|certs| certs.join("ca.pem").display().to_string());
        let mut flags = Vec::new();
        if let Some(ca) = &ca {
            flags.extend(["--tls", "--cacert", ca]);
        }
        // A connection for each command, where one command is in flight.
        if shape.depth == 1 {
            flags.extend(["-k", "0"]);
        }
        let port = if ca.is_some() { self.tls_port } else { self.server.port() };
        let cost = redis_benchmark::run_at(programs, &self.server, port, &flags, words, shape)?;
        Ok(cost.cpu_us_per_command)
    }
}

/// Measures all of it.
pub(crate) fn run(programs: &Programs, options: &Options) -> Result<Tls> {
    let directory = Directory::new()?;
    let certs = directory.sub("tls")?;
    for words in [&["init"][..], &["node", "a"]] {
        let mut command = Command::new(&programs.miso);
        command.args(["certs", words[0], "--dir"]).arg(&certs).args(&words[1..]);
        if !command.output()?.status.success() {
            return Err("miso-server certs makes no certificates".into());
        }
    }
    let miso = Both::start(programs, Kind::Miso, &certs)?;
    let redis = Both::start(programs, Kind::Redis, &certs)?;
    let bar = progress::bar("tls", options.rounds * 5);
    let mut commands = Vec::new();
    for depth in DEPTHS {
        let shape =
            Shape { depth, connections: CONNECTIONS, commands: options.commands, random: 100_000 };
        let mut samples = [const { Vec::new() }; 4];
        for round in 0..options.rounds {
            for kind in Kind::alternating(round) {
                let (both, words, at) = match kind {
                    Kind::Miso => (&miso, &["GCOUNTER.ADD", "o:__rand_int__", "total", "1"][..], 0),
                    Kind::Redis => (&redis, &["INCRBY", "o:__rand_int__", "1"][..], 2),
                };
                samples[at].push(both.cost(programs, None, words, &shape)?);
                samples[at + 1].push(both.cost(programs, Some(&certs), words, &shape)?);
            }
            bar.inc(1);
        }
        let [plain_us, tls_us, redis_plain_us, redis_tls_us] = samples.map(|s| middle(&s));
        commands.push(Commands { depth, plain_us, tls_us, redis_plain_us, redis_tls_us });
    }
    let shape = Shape { depth: 1, connections: 8, commands: options.handshakes, random: 1 };
    let mut samples = [const { Vec::new() }; 2];
    for round in 0..options.rounds {
        for kind in Kind::alternating(round) {
            let both = if kind == Kind::Miso { &miso } else { &redis };
            samples[kind as usize].push(both.cost(programs, Some(&certs), &["PING"], &shape)?);
        }
        bar.inc(1);
    }
    let [connection_us, redis_connection_us] = samples.map(|sample| middle(&sample));
    drop((miso, redis));
    let mut samples = [const { Vec::new() }; 2];
    for _ in 0..options.rounds {
        for (sample, flags) in samples.iter_mut().zip([&[][..], &["--cluster-secret", "a bench"]]) {
            sample.push(replication(programs, options.updates, flags)?);
        }
        bar.inc(1);
    }
    let [replication_plain_s, replication_tls_s] = samples.map(|sample| middle(&sample));
    let mut samples = [const { Vec::new() }; 2];
    for _ in 0..4 * options.rounds {
        let server = Both::start(programs, Kind::Miso, &certs)?.server;
        samples[0].push(server.ready_after().as_secs_f64() * 1e3);
        samples[1].push(server.resident()? as f64 / f64::from(1 << 20));
    }
    bar.finish_and_clear();
    let [ready_ms, idle_mib] = samples.map(|sample| middle(&sample));
    Ok(Tls {
        rounds: options.rounds,
        commands,
        connection_us,
        redis_connection_us,
        replication_plain_s,
        replication_tls_s,
        idle_mib,
        ready_ms,
    })
}

fn middle(sample: &[f64]) -> f64 {
    median(&sorted(sample))
}

/// CPU seconds of both nodes' replication for a million updates of one of them.
fn replication(programs: &Programs, updates: u64, flags: &[&str]) -> Result<f64> {
    let nodes = Nodes::start_with(programs, 2, Duration::from_millis(1), "none", flags)?;
    let before = nodes.used_by_all()?;
    let load = Load {
        command: &["GCOUNTER.ADD", "o:{}", "total", "1"],
        distinct: 100_000,
        commands: updates,
        connections: 16,
        depth: 64,
    };
    load::run(&nodes.ports()[..1], &load)?;
    nodes.passed_on(0)?;
    let used = nodes.used_by_all()?.since(before);
    Ok(used.replication_s * 1e6 / updates as f64)
}

impl Report for Tls {
    const NAME: &'static str = "tls";

    fn markdown(&self) -> String {
        let mut table = Table::new(&["CPU of the server, us", "plain", "TLS", "TLS / plain"]);
        for commands in &self.commands {
            for (name, plain, tls) in [
                ("GCOUNTER.ADD", commands.plain_us, commands.tls_us),
                ("Redis, INCRBY", commands.redis_plain_us, commands.redis_tls_us),
            ] {
                table.row([
                    format!("{name}, {} in flight", commands.depth),
                    format!("{plain:.2}"),
                    format!("{tls:.2}"),
                    format!("{:.2}", tls / plain),
                ]);
            }
        }
        format!(
            "Medians of {} rounds, {CONNECTIONS} connections that are kept.\n\n{table}\n\
             A connection with its handshake, one PING and its end: {:.0} us of CPU, Redis {:.0} us.\n\n\
             Two nodes, CPU of their replication for a million updates: {:.2} s in the clear, {:.2} s by TLS \
             with a secret.\n\n\
             With TLS on: {:.1} MiB resident when idle, {:.1} ms from exec to the first PONG.\n",
            self.rounds,
            self.connection_us,
            self.redis_connection_us,
            self.replication_plain_s,
            self.replication_tls_s,
            self.idle_mib,
            self.ready_ms,
        )
    }

    fn targets(&self) -> Vec<Target> {
        let target = |what: &str, figure: f64, most: f64| {
            Target::new(what.to_owned(), figure, Limit::AtMost(most))
        };
        let commands = self.commands.iter().map(|commands| {
            let what = format!("CPU of GCOUNTER.ADD, TLS by plain, depth {}", commands.depth);
            target(&what, commands.tls_us / commands.plain_us, COMMAND_TARGET)
        });
        let others = [
            target(
                "CPU of a TLS connection by Redis's",
                self.connection_us / self.redis_connection_us,
                CONNECTION_TARGET,
            ),
            target(
                "CPU s that TLS adds to a million updates between nodes",
                self.replication_tls_s - self.replication_plain_s,
                REPLICATION_TARGET,
            ),
            target("MiB resident when idle, with TLS", self.idle_mib, IDLE_MIB_TARGET),
            target("ms from exec to first PONG, with TLS", self.ready_ms, READY_MS_TARGET),
        ];
        commands.chain(others).collect()
    }
}
