//! Latency at a fixed rate, in an open loop.
//!
//! Request number i is due at i/rate and its latency counts from then, whether or not it could be
//! sent in time: a server that stalls is charged for all requests that were due meanwhile
//! (coordinated omission). One thread sends and receives through epoll and sleeps in between, so
//! that it takes no core away from the servers. How late it sends is reported too.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use crate::chart::{Bar, Chart};
use crate::epoll::Epoll;
use crate::error::Result;
use crate::progress;
use crate::report::{Limit, Report, Target};
use crate::resp::encode;
use crate::servers::{Kind, Pair, Programs, Server};
use crate::statistics::{Spread, median, quantile, sorted};
use crate::table::{Table, grouped, verdict};

const OBJECTS: u64 = 100_000;
const P99_TARGET: f64 = 1.10;
/// A generator that is later than this at p99 had to wait for a core.
const BUSY_US: f64 = 1_000.0;
/// A server that gives no reply for this long hangs.
const STALLED: Duration = Duration::from_secs(10);

#[derive(Args, Clone)]
pub(crate) struct Options {
    /// Requests per second
    #[arg(long, default_value_t = 50_000)]
    rate: u32,
    /// Connections
    #[arg(long, default_value_t = 50)]
    connections: usize,
    /// Seconds of each round
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Rounds of each server
    #[arg(long, default_value_t = 7)]
    rounds: usize,
}

impl Options {
    /// What `all` runs.
    pub(crate) fn standard(quick: bool) -> Options {
        let (seconds, rounds) = if quick { (2, 3) } else { (5, 7) };
        Options { rate: 50_000, connections: 50, seconds, rounds }
    }
}

/// One round's quantiles in microseconds.
#[derive(Clone, Copy, Serialize, Default)]
struct Quantiles {
    p50: f64,
    p99: f64,
    p999: f64,
    max: f64,
    /// p99 of how late the generator sent: the part that is not the server's.
    generator_p99: f64,
}

/// One of a round's figures.
type Pick = fn(&Quantiles) -> f64;

#[derive(Serialize)]
pub(crate) struct Latency {
    rate: u32,
    connections: usize,
    seconds_per_round: u32,
    rounds: Vec<Round>,
    p50_ratio: Spread,
    p99_ratio: Spread,
    p999_ratio: Spread,
    p99_target: f64,
    /// None if the machine was too busy to tell.
    met: Option<bool>,
}

#[derive(Serialize)]
struct Round {
    miso: Quantiles,
    redis: Quantiles,
}

/// Runs the rounds.
pub(crate) fn run(programs: &Programs, options: &Options) -> Result<Latency> {
    let pair = Pair::start(programs)?;
    let warm_up = Options { seconds: 1, ..options.clone() };
    for kind in Kind::BOTH {
        measure(pair.get(kind), kind, &warm_up)?;
    }
    let bar = progress::bar("latency", options.rounds * 2);
    let mut rounds = Vec::new();
    for number in 0..options.rounds {
        let mut round = Round { miso: Quantiles::default(), redis: Quantiles::default() };
        for kind in Kind::alternating(number) {
            bar.set_message(kind.name());
            let quantiles = measure(pair.get(kind), kind, options)?;
            match kind {
                Kind::Miso => round.miso = quantiles,
                Kind::Redis => round.redis = quantiles,
            }
            bar.inc(1);
        }
        rounds.push(round);
    }
    bar.finish_and_clear();
    let ratio = |of: Pick| {
        let ratios: Vec<f64> = rounds.iter().map(|r| of(&r.miso) / of(&r.redis)).collect();
        Spread::of(&ratios)
    };
    let p99_ratio = ratio(|q| q.p99);
    let busy = Kind::BOTH.iter().any(|&kind| middle(&rounds, kind, |q| q.generator_p99) > BUSY_US);
    Ok(Latency {
        rate: options.rate,
        connections: options.connections,
        seconds_per_round: options.seconds,
        p50_ratio: ratio(|q| q.p50),
        p999_ratio: ratio(|q| q.p999),
        met: (!busy).then_some(p99_ratio.median <= P99_TARGET),
        p99_ratio,
        p99_target: P99_TARGET,
        rounds,
    })
}

fn measure(server: &Server, kind: Kind, options: &Options) -> Result<Quantiles> {
    let mut generator = Generator::new(server.port(), kind, options)?;
    generator.run()?;
    let latencies = sorted(&generator.latencies);
    Ok(Quantiles {
        p50: quantile(&latencies, 0.5),
        p99: quantile(&latencies, 0.99),
        p999: quantile(&latencies, 0.999),
        max: quantile(&latencies, 1.0),
        generator_p99: quantile(&sorted(&generator.lateness), 0.99),
    })
}

/// A connection with what was sent and not yet answered.
struct Connection {
    stream: TcpStream,
    /// When the requests were due whose replies are to come.
    due: VecDeque<Duration>,
    /// What the socket did not take.
    unsent: Vec<u8>,
    at_line_start: bool,
}

struct Generator {
    kind: Kind,
    connections: Vec<Connection>,
    epoll: Epoll,
    ready: Vec<usize>,
    interval: Duration,
    total: usize,
    sent: usize,
    random: u64,
    /// Microseconds.
    latencies: Vec<f64>,
    lateness: Vec<f64>,
}

impl Generator {
    fn new(port: u16, kind: Kind, options: &Options) -> Result<Generator> {
        let epoll = Epoll::new()?;
        // The kernel may otherwise wake a sleeper 50 microseconds late.
        // SAFETY: PR_SET_TIMERSLACK takes a number and touches no memory.
        unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
        let mut connections = Vec::new();
        for index in 0..options.connections {
            let stream = epoll.connect(port, index)?;
            connections.push(Connection {
                stream,
                due: VecDeque::new(),
                unsent: Vec::new(),
                at_line_start: true,
            });
        }
        let total = options.rate as usize * options.seconds as usize;
        Ok(Generator {
            kind,
            connections,
            epoll,
            ready: Vec::new(),
            interval: Duration::from_secs(1) / options.rate.max(1),
            total,
            sent: 0,
            random: 0x9E37_79B9_7F4A_7C15,
            latencies: Vec::with_capacity(total),
            lateness: Vec::with_capacity(total),
        })
    }

    fn run(&mut self) -> Result<()> {
        let start = Instant::now();
        let mut progress = Instant::now();
        let mut answered = 0;
        while self.latencies.len() < self.total {
            self.send_due(start)?;
            let now = start.elapsed();
            let wait = if self.sent < self.total {
                self.due(self.sent).saturating_sub(now)
            } else {
                Duration::from_millis(100)
            };
            self.receive(start, wait)?;
            if self.latencies.len() > answered {
                answered = self.latencies.len();
                progress = Instant::now();
            } else if progress.elapsed() > STALLED {
                return Err(format!("{} stopped answering", self.kind.name()).into());
            }
        }
        Ok(())
    }

    /// When a request is due, from the start.
    fn due(&self, number: usize) -> Duration {
        self.interval.saturating_mul(u32::try_from(number).unwrap_or(u32::MAX))
    }

    fn send_due(&mut self, start: Instant) -> Result<()> {
        let mut command = Vec::with_capacity(128);
        while self.sent < self.total {
            let due = self.due(self.sent);
            let now = start.elapsed();
            if due > now {
                break;
            }
            self.lateness.push((now - due).as_secs_f64() * 1e6);
            let object = format!("o:{:012}", self.next_random() % OBJECTS);
            command.clear();
            match self.kind {
                Kind::Miso => encode(&mut command, &["GCOUNTER.ADD", &object, "total", "1"]),
                Kind::Redis => encode(&mut command, &["INCRBY", &object, "1"]),
            }
            let index = self.sent % self.connections.len();
            self.connections[index].send(&command, due)?;
            self.sent += 1;
        }
        Ok(())
    }

    /// Waits until something can be read or a request is due, and takes all replies there are.
    fn receive(&mut self, start: Instant, wait: Duration) -> Result<()> {
        self.epoll.wait(wait, &mut self.ready)?;
        for &index in &self.ready {
            self.connections[index].receive(start, &mut self.latencies)?;
        }
        Ok(())
    }

    /// Xorshift: the same objects for both servers.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

impl Connection {
    fn send(&mut self, command: &[u8], due: Duration) -> Result<()> {
        self.due.push_back(due);
        self.unsent.extend_from_slice(command);
        match self.stream.write(&self.unsent) {
            Ok(written) => drop(self.unsent.drain(..written)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Replies are integers, one a line.
    fn receive(&mut self, start: Instant, latencies: &mut Vec<f64>) -> Result<()> {
        let mut input = [0; 16 * 1024];
        let read = match self.stream.read(&mut input) {
            Ok(0) => return Err("the server closed a connection".into()),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let now = start.elapsed();
        for &byte in &input[..read] {
            if self.at_line_start && byte != b':' {
                let text = String::from_utf8_lossy(&input[..read]);
                return Err(format!("not an integer: {text}").into());
            }
            self.at_line_start = byte == b'\n';
            if self.at_line_start {
                let due = self.due.pop_front().ok_or("more replies than requests")?;
                latencies.push((now - due).as_secs_f64() * 1e6);
            }
        }
        Ok(())
    }
}

impl Latency {
    fn middle(&self, kind: Kind, of: Pick) -> f64 {
        middle(&self.rounds, kind, of)
    }

    fn rows(&self) -> [(&'static str, Pick, Spread); 3] {
        [
            ("p50", |q| q.p50, self.p50_ratio),
            ("p99", |q| q.p99, self.p99_ratio),
            ("p99.9", |q| q.p999, self.p999_ratio),
        ]
    }
}

/// The median of a figure over all rounds.
fn middle(rounds: &[Round], kind: Kind, of: Pick) -> f64 {
    let values: Vec<f64> = rounds
        .iter()
        .map(|round| match kind {
            Kind::Miso => of(&round.miso),
            Kind::Redis => of(&round.redis),
        })
        .collect();
    median(&sorted(&values))
}

impl Report for Latency {
    const NAME: &'static str = "latency";

    fn markdown(&self) -> String {
        let mut table = Table::new(&[
            "latency, us",
            "GCOUNTER.ADD",
            "INCRBY",
            "ratio, median",
            "min",
            "max",
            "target",
        ]);
        for (name, of, ratio) in self.rows() {
            table.row([
                name.into(),
                format!("{:.0}", self.middle(Kind::Miso, of)),
                format!("{:.0}", self.middle(Kind::Redis, of)),
                format!("{:.2}", ratio.median),
                format!("{:.2}", ratio.min),
                format!("{:.2}", ratio.max),
                if name == "p99" {
                    format!("{:.2} {}", self.p99_target, verdict(self.met))
                } else {
                    String::new()
                },
            ]);
        }
        let lateness = Kind::BOTH.map(|kind| self.middle(kind, |q| q.generator_p99));
        let busy = if self.met.is_none() {
            "The machine was busy with other things, and much of these times is waiting for a core: \
             run this again on a quiet one.\n\n"
        } else {
            ""
        };
        format!(
            "{} requests/s over {} connections, one at a time, from when each was due; medians of {} \
             rounds of {} s. The generator's own lateness is in both (p99: {:.0} and {:.0} us).\n\n\
             {busy}{table}",
            grouped(u64::from(self.rate)),
            self.connections,
            self.rounds.len(),
            self.seconds_per_round,
            lateness[0],
            lateness[1],
        )
    }

    fn targets(&self) -> Vec<Target> {
        vec![Target {
            what: format!("p99 by Redis's at {} requests/s", grouped(u64::from(self.rate))),
            figure: self.p99_ratio.median,
            limit: Limit::AtMost(self.p99_target),
            met: self.met,
        }]
    }

    fn chart(&self) -> Option<Chart> {
        let groups = self.rows().map(|(name, of, _)| {
            let redis = self.middle(Kind::Redis, of);
            let target = (name == "p99").then_some(redis * self.p99_target);
            let miso = Bar { value: self.middle(Kind::Miso, of), target };
            (name.to_owned(), vec![miso, Bar { value: redis, target: None }])
        });
        Some(Chart {
            title: format!("Latency at {} requests/s", grouped(u64::from(self.rate))),
            subtitle: if self.met.is_some() {
                format!(
                    "open loop over {} connections, from when each request was due; lower is better",
                    self.connections
                )
            } else {
                "the machine was busy with other things: these times tell nothing about the servers"
                    .into()
            },
            axis: "latency, microseconds".into(),
            series: vec!["MISO, GCOUNTER.ADD".into(), "Redis, INCRBY".into()],
            groups: groups.into(),
            reference: None,
            digits: 0,
        })
    }
}
