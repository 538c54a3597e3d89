//! HTTP beside RESP on one node: the same commands on kept connections, one at a time and a hundred at
//! a time.
//!
//! What tells is the server's CPU time per command: the generators differ in what they cost themselves.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use crate::epoll::Epoll;
use crate::error::Result;
use crate::load::{self, Load};
use crate::progress;
use crate::report::{Limit, Report, Target};
use crate::servers::{Programs, Server, free_port, miso_settings};
use crate::statistics::{median, sorted};
use crate::table::{Table, grouped};

/// A server that gives no answer for this long hangs.
const STALLED: Duration = Duration::from_secs(20);
/// The command of both.
const COMMAND: [&str; 4] = ["GCOUNTER.ADD", "object", "n", "1"];
/// How many commands are in flight on a connection.
const DEPTHS: [u64; 2] = [1, 100];
/// Of RESP's throughput at depth 1, the least share.
const SHARE: f64 = 0.4;
/// Of RESP's CPU time in a pipeline of 100, the most.
const PIPELINE: f64 = 2.0;

#[derive(Args, Clone)]
pub(crate) struct Options {
    /// Commands in each run
    #[arg(long, default_value_t = 200_000)]
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
        let (commands, repetitions) = if quick { (50_000, 3) } else { (200_000, 5) };
        Options { commands, connections: 16, repetitions }
    }
}

/// Medians of the runs.
#[derive(Serialize)]
struct Figures {
    per_second: f64,
    /// Of the server, per command.
    cpu_us: f64,
}

#[derive(Serialize)]
struct Depth {
    depth: u64,
    resp: Figures,
    http: Figures,
}

#[derive(Serialize)]
pub(crate) struct Http {
    connections: usize,
    commands: u64,
    depths: Vec<Depth>,
}

/// Runs both protocols by turns on one server.
pub(crate) fn run(programs: &Programs, options: &Options) -> Result<Http> {
    let http_port = free_port()?;
    let server = Server::launch(|port| {
        let mut command = Command::new(&programs.miso);
        miso_settings(&mut command, port);
        command.args(["--http-port", &http_port.to_string()]);
        command
    })?;
    let bar = progress::bar("http", DEPTHS.len() * options.repetitions);
    let mut depths = Vec::new();
    for depth in DEPTHS {
        let (mut resp, mut http) = (Vec::new(), Vec::new());
        for _ in 0..options.repetitions {
            let load = Load {
                command: &COMMAND,
                distinct: 0,
                commands: options.commands,
                connections: options.connections,
                depth,
            };
            resp.push(measured(&server, options.commands, || {
                load::run(&[server.port()], &load).map(|outcome| outcome.per_second)
            })?);
            http.push(measured(&server, options.commands, || requests(http_port, options, depth))?);
            bar.inc(1);
        }
        depths.push(Depth { depth, resp: figures(&resp), http: figures(&http) });
    }
    bar.finish_and_clear();
    Ok(Http { connections: options.connections, commands: options.commands, depths })
}

/// Commands a second, and CPU microseconds of the server per command.
fn measured(
    server: &Server,
    commands: u64,
    run: impl FnOnce() -> Result<f64>,
) -> Result<(f64, f64)> {
    let before = server.cpu()?;
    let per_second = run()?;
    let used = server.cpu()? - before;
    Ok((per_second, used.as_secs_f64() * 1e6 / commands as f64))
}

fn figures(runs: &[(f64, f64)]) -> Figures {
    let middle =
        |of: fn(&(f64, f64)) -> f64| median(&sorted(&runs.iter().map(of).collect::<Vec<_>>()));
    Figures { per_second: middle(|run| run.0), cpu_us: middle(|run| run.1) }
}

/// A request that runs the command `depth` times.
fn request(depth: u64) -> Vec<u8> {
    let one = format!("[\"{}\"]", COMMAND.join("\",\""));
    let (path, body) = match depth {
        1 => ("/", one),
        depth => ("/pipeline", format!("[{}]", vec![one; depth as usize].join(","))),
    };
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer default\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    (head + &body).into_bytes()
}

/// Sends all commands in requests of `depth`; commands a second.
fn requests(port: u16, options: &Options, depth: u64) -> Result<f64> {
    let epoll = Epoll::new()?;
    let request = request(depth);
    let mut left = options.commands / depth;
    let mut connections = Vec::new();
    for index in 0..options.connections {
        connections.push((epoll.connect(port, index)?, Vec::new()));
    }
    let (began, mut at_work, mut ready) = (Instant::now(), 0, Vec::new());
    for (stream, _) in &mut connections {
        if left > 0 {
            stream.write_all(&request)?;
            (left, at_work) = (left - 1, at_work + 1);
        }
    }
    while at_work > 0 {
        epoll.wait(STALLED, &mut ready)?;
        if ready.is_empty() {
            return Err("the server has stopped answering".into());
        }
        for &index in &ready {
            let (stream, input) = &mut connections[index];
            if !receive(stream, input)? {
                continue;
            }
            if left > 0 {
                stream.write_all(&request)?;
                left -= 1;
            } else {
                at_work -= 1;
            }
        }
    }
    Ok((options.commands / depth * depth) as f64 / began.elapsed().as_secs_f64())
}

/// Takes what has come; true once the answer is whole.
fn receive(stream: &mut TcpStream, input: &mut Vec<u8>) -> Result<bool> {
    let mut bytes = [0; 8192];
    match stream.read(&mut bytes) {
        Ok(0) => return Err("the server has closed a connection".into()),
        Ok(read) => input.extend_from_slice(&bytes[..read]),
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    let Some(end) = input.windows(4).position(|part| part == b"\r\n\r\n") else { return Ok(false) };
    let head = std::str::from_utf8(&input[..end])?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(format!("an error: {}", String::from_utf8_lossy(input)).into());
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.ok_or("no length")?.parse()?;
    if input.len() < end + 4 + length {
        return Ok(false);
    }
    input.clear();
    Ok(true)
}

impl Report for Http {
    const NAME: &'static str = "http";

    fn markdown(&self) -> String {
        let mut table = Table::new(&[
            "commands in flight",
            "RESP/s",
            "HTTP/s",
            "RESP, us of CPU",
            "HTTP, us of CPU",
            "HTTP / RESP, CPU",
        ]);
        for depth in &self.depths {
            table.row([
                depth.depth.to_string(),
                grouped(depth.resp.per_second as u64),
                grouped(depth.http.per_second as u64),
                format!("{:.2}", depth.resp.cpu_us),
                format!("{:.2}", depth.http.cpu_us),
                format!("{:.2}", depth.http.cpu_us / depth.resp.cpu_us),
            ]);
        }
        format!(
            "`{}` over {} kept connections; HTTP/1.1 with a token, a hundred by `/pipeline`. CPU is the \
             server's, per command.\n\n{table}",
            COMMAND.join(" "),
            self.connections
        )
    }

    fn targets(&self) -> Vec<Target> {
        let mut targets = Vec::new();
        for depth in &self.depths {
            targets.push(match depth.depth {
                1 => Target::new(
                    "HTTP's commands a second at depth 1, of RESP's".to_owned(),
                    depth.http.per_second / depth.resp.per_second,
                    Limit::AtLeast(SHARE),
                ),
                _ => Target::new(
                    "CPU of a pipeline of 100 over HTTP, of RESP's".to_owned(),
                    depth.http.cpu_us / depth.resp.cpu_us,
                    Limit::AtMost(PIPELINE),
                ),
            });
        }
        targets
    }
}
