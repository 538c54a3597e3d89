//! A noisy neighbour: how long one function's commands take while another one does all it may on the same
//! node.
//!
//! Commands of the quiet function are due at a fixed rate and their times count from then (open loop). The
//! load beside them comes from this machine, too, so a part of what they wait for is a core: how late
//! the generator itself woke up is told beside.

use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use crate::error::Result;
use crate::progress;
use crate::report::{Limit, Report, Target};
use crate::resp::{Client, encode};
use crate::servers::{Kind, Programs, Server};
use crate::statistics::{quantile, sorted};
use crate::table::{Table, grouped};

/// A command of the quiet function each millisecond.
const EVERY: Duration = Duration::from_millis(1);
/// By how much the quiet function's p99 may grow, and what it may be in milliseconds.
const GROWTH: f64 = 2.0;
const MOST_MS: f64 = 10.0;
/// A generator that wakes later than this at p99 had to wait for a core.
const BUSY_MS: f64 = 1.0;
/// Commands in flight on each connection of the function at full speed.
const DEPTH: usize = 64;
/// Bytes of a giant value.
const GIANT: usize = 4 << 20;
/// Connections that ask and do not read.
const DEAF: usize = 64;

#[derive(Args, Clone)]
pub(crate) struct Options {
    /// Seconds of each part
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Connections of the function that has many
    #[arg(long, default_value_t = 5_000)]
    connections: usize,
}

impl Options {
    /// What `all` runs.
    pub(crate) fn standard(quick: bool) -> Options {
        Options { seconds: if quick { 2 } else { 10 }, connections: 5_000 }
    }
}

/// What the other function does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Noise {
    None,
    FullSpeed,
    Unread,
    Giant,
    Many,
}

impl Noise {
    const ALL: [Noise; 5] =
        [Noise::None, Noise::FullSpeed, Noise::Unread, Noise::Giant, Noise::Many];

    fn name(self, options: &Options) -> String {
        match self {
            Noise::None => "nothing".into(),
            Noise::FullSpeed => format!("4 connections at full speed, {DEPTH} commands in flight"),
            Noise::Unread => format!("{DEAF} connections that ask for much and do not read"),
            Noise::Giant => format!("values of {} MiB, written and read", GIANT >> 20),
            Noise::Many => {
                format!("{} connections, all at work", grouped(options.connections as u64))
            }
        }
    }

    /// Goes on until `over`.
    fn make(self, port: u16, options: &Options, over: &AtomicBool) -> Result<()> {
        match self {
            Noise::None => Ok(()),
            Noise::FullSpeed => at_full_speed(port, over),
            Noise::Unread => unread(port, over),
            Noise::Giant => giant(port, over),
            Noise::Many => many(port, options.connections, over),
        }
    }

    /// How many threads make it.
    fn threads(self) -> usize {
        match self {
            Noise::None => 0,
            Noise::FullSpeed => 4,
            Noise::Giant => 2,
            Noise::Unread | Noise::Many => 1,
        }
    }
}

/// What one part found, in milliseconds.
#[derive(Serialize)]
struct Part {
    beside: String,
    commands: usize,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// p99 of how late the generator woke: the part that is not the server's.
    generator_p99_ms: f64,
}

#[derive(Serialize)]
pub(crate) struct Neighbour {
    seconds: u64,
    parts: Vec<Part>,
}

/// Measures the quiet function alone, and beside each kind of noise, each on a fresh server.
pub(crate) fn run(programs: &Programs, options: &Options) -> Result<Neighbour> {
    raise_descriptors()?;
    let bar = progress::bar("neighbour", Noise::ALL.len());
    let mut parts = Vec::new();
    for noise in Noise::ALL {
        bar.set_message(noise.name(options));
        parts.push(part(programs, noise, options)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(Neighbour { seconds: options.seconds, parts })
}

fn part(programs: &Programs, noise: Noise, options: &Options) -> Result<Part> {
    let server = Server::start(programs, Kind::Miso)?;
    let (port, over) = (server.port(), AtomicBool::new(false));
    let (times, late) = thread::scope(|scope| {
        let makers: Vec<_> = (0..noise.threads())
            .map(|_| scope.spawn(|| noise.make(port, options, &over).map_err(|e| e.to_string())))
            .collect();
        // Until it is at work.
        thread::sleep(Duration::from_millis(if noise == Noise::Many { 2_000 } else { 500 }));
        let measured = quiet(port, Duration::from_secs(options.seconds));
        over.store(true, Ordering::Relaxed);
        for maker in makers {
            maker.join().map_err(|_| "the load has ended")??;
        }
        measured
    })?;
    let at = |sample: &[f64], share| quantile(&sorted(sample), share);
    Ok(Part {
        beside: noise.name(options),
        commands: times.len(),
        p50_ms: at(&times, 0.5),
        p99_ms: at(&times, 0.99),
        max_ms: at(&times, 1.0),
        generator_p99_ms: at(&late, 0.99),
    })
}

/// A connection that speaks for a function.
fn speak(port: u16, function: &str) -> Result<Client> {
    let mut client = Client::connect(port)?;
    client.ok(&["AUTH", function, "-"])?;
    Ok(client)
}

/// The times of the quiet function's commands, and how late they were sent, in milliseconds.
fn quiet(port: u16, time: Duration) -> Result<(Vec<f64>, Vec<f64>)> {
    let mut client = speak(port, "quiet")?;
    let (mut times, mut late) = (Vec::new(), Vec::new());
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let start = Instant::now();
    let mut due = Duration::ZERO;
    while due < time {
        let now = start.elapsed();
        if now < due {
            thread::sleep(due - now);
            // Only a wait for the clock tells how late the thread wakes.
            late.push(ms(start.elapsed().saturating_sub(due)));
        }
        client.ok(&["GCOUNTER.ADD", "cart", "total", "1"])?;
        times.push(ms(start.elapsed() - due));
        due += EVERY;
    }
    Ok((times, late))
}

fn at_full_speed(port: u16, over: &AtomicBool) -> Result<()> {
    let mut client = speak(port, "noisy")?;
    let mut batch = Vec::new();
    encode(&mut batch, &["GCOUNTER.ADD", "hot", "total", "1"]);
    let batch = batch.repeat(DEPTH);
    while !over.load(Ordering::Relaxed) {
        client.batch(&batch, DEPTH)?;
    }
    Ok(())
}

/// Asks for far more than it reads, which is nothing; where it is cut off, it comes back.
fn unread(port: u16, over: &AtomicBool) -> Result<()> {
    let mut client = speak(port, "noisy")?;
    for number in 0..2_000 {
        client.ok(&["ORSET.ADD", "tags", "all", &format!("an element that is no. {number}")])?;
    }
    let mut ask = Vec::new();
    encode(&mut ask, &["AUTH", "noisy", "-"]);
    let login = ask.len();
    encode(&mut ask, &["ORSET.MEMBERS", "tags", "all"]);
    let ask = [&ask[..login], &ask[login..].repeat(100)].concat();
    let connect = || -> Result<TcpStream> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    };
    let mut deaf: Vec<TcpStream> = (0..DEAF).map(|_| connect()).collect::<Result<_>>()?;
    while !over.load(Ordering::Relaxed) {
        for stream in &mut deaf {
            match stream.write(&ask) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => *stream = connect()?,
            }
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn giant(port: u16, over: &AtomicBool) -> Result<()> {
    let mut client = speak(port, "noisy")?;
    let value = vec![b'x'; GIANT];
    while !over.load(Ordering::Relaxed) {
        client.ok(&[&b"MVREG.SET"[..], b"big", b"value", &value])?;
        client.ok(&["MVREG.VALUE", "big", "value"])?;
    }
    Ok(())
}

fn many(port: u16, connections: usize, over: &AtomicBool) -> Result<()> {
    let mut clients: Vec<Client> =
        (0..connections).map(|_| speak(port, "noisy")).collect::<Result<_>>()?;
    while !over.load(Ordering::Relaxed) {
        for client in &mut clients {
            if over.load(Ordering::Relaxed) {
                break;
            }
            client.ok(&["GCOUNTER.ADD", "hot", "total", "1"])?;
        }
    }
    Ok(())
}

/// Lets this program have as many connections as the system does.
fn raise_descriptors() -> Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for both calls.
    let failed = unsafe {
        let got = libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        got | libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)
    };
    if failed == 0 { Ok(()) } else { Err(std::io::Error::last_os_error().into()) }
}

impl Neighbour {
    fn quiet_p99(&self) -> f64 {
        self.parts.first().map_or(f64::NAN, |part| part.p99_ms)
    }
}

impl Report for Neighbour {
    const NAME: &'static str = "neighbour";

    fn markdown(&self) -> String {
        let head = ["beside", "p50, ms", "p99, ms", "max, ms", "p99 by the quiet one", "generator"];
        let mut table = Table::new(&head);
        for part in &self.parts {
            table.row([
                part.beside.clone(),
                format!("{:.2}", part.p50_ms),
                format!("{:.2}", part.p99_ms),
                format!("{:.1}", part.max_ms),
                format!("{:.1}", part.p99_ms / self.quiet_p99()),
                format!("{:.2}", part.generator_p99_ms),
            ]);
        }
        format!(
            "One function sends `GCOUNTER.ADD` 1 000 times a second for {} s, and another one on the same node \
             does what the first column says. Times count from when a command was due. The last column is the \
             p99 of how late the generator itself woke: the load comes from this machine, too.\n\n{table}",
            self.seconds
        )
    }

    fn targets(&self) -> Vec<Target> {
        let targets = |part: &Part| {
            let (growth, beside) = (part.p99_ms / self.quiet_p99(), &part.beside);
            let is_busy = part.generator_p99_ms > BUSY_MS;
            let target = |what: String, figure: f64, limit| {
                let target = Target::new(what, figure, Limit::AtMost(limit));
                // A figure that is met although the machine was busy is met.
                Target { met: target.met.filter(|met| *met || !is_busy), ..target }
            };
            [
                target(
                    format!("a quiet function's p99 by itself, beside {beside}"),
                    growth,
                    GROWTH,
                ),
                target(
                    format!("a quiet function's p99, ms, beside {beside}"),
                    part.p99_ms,
                    MOST_MS,
                ),
            ]
        };
        self.parts.iter().skip(1).flat_map(targets).collect()
    }
}
