//! The paper's AllReduce: an array is summed by calls to a function that share one counter.
//!
//! The array 0..999 999 is cut into chunks of 1 000. Each of the 1 000 calls sums its chunk and adds
//! the sum to the state, five calls in flight; one more call reads the result. Every repetition has a
//! name of its own. The same client program runs all four variants, by turns.
//!
//! Differences from the paper: here the add is awaited, one node runs beside its clients, and the
//! calls are those of this program rather than of a function platform. So its milliseconds compare
//! the four variants with each other, and not with the paper's.

use std::array;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use redis::{Client, Cmd, Connection, cmd};
use serde::Serialize;

use crate::chart::{Bar, Chart};
use crate::error::Result;
use crate::progress;
use crate::report::Report;
use crate::servers::{Kind, Pair, Programs};
use crate::statistics::Series;
use crate::table::Table;

const NUMBERS: u64 = 1_000_000;
const CHUNK: usize = 1_000;
const IN_FLIGHT: usize = 5;
const EXPECTED: u64 = 499_999_500_000;

#[derive(Args, Clone)]
pub(crate) struct Options {
    /// Repetitions of each variant (the paper: 500)
    #[arg(long, default_value_t = 20)]
    repetitions: usize,
}

impl Options {
    /// What `all` runs.
    pub(crate) fn standard(quick: bool) -> Options {
        Options { repetitions: if quick { 5 } else { 50 } }
    }
}

/// A server, and a way to use it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Variant {
    /// `GCOUNTER.ADD`, a connection per call.
    MisoPerCall,
    /// `GCOUNTER.ADD` on kept connections.
    MisoKept,
    /// The paper's: a connection and a field per call, `HVALS` summed by the client.
    RedisPerCall,
    /// The best that Redis can do: `INCRBY` on kept connections.
    RedisKept,
}

impl Variant {
    const ALL: [Variant; 4] =
        [Variant::MisoPerCall, Variant::MisoKept, Variant::RedisPerCall, Variant::RedisKept];

    fn name(self) -> &'static str {
        match self {
            Variant::MisoPerCall => "MISO: GCOUNTER.ADD, a connection per call",
            Variant::MisoKept => "MISO: GCOUNTER.ADD, kept connections",
            Variant::RedisPerCall => "Redis as in the paper: HSET and HVALS, a connection per call",
            Variant::RedisKept => "Redis at its best: INCRBY, kept connections",
        }
    }

    /// The name on a chart.
    fn label(self) -> &'static str {
        match self {
            Variant::MisoPerCall => "MISO, GCOUNTER.ADD\na connection per call",
            Variant::MisoKept => "MISO, GCOUNTER.ADD\nkept connections",
            Variant::RedisPerCall => "Redis, HSET and HVALS\na connection per call",
            Variant::RedisKept => "Redis, INCRBY\nkept connections",
        }
    }

    fn server(self) -> Kind {
        match self {
            Variant::MisoPerCall | Variant::MisoKept => Kind::Miso,
            Variant::RedisPerCall | Variant::RedisKept => Kind::Redis,
        }
    }

    fn keeps_connections(self) -> bool {
        matches!(self, Variant::MisoKept | Variant::RedisKept)
    }

    /// Adds the partial sum of a call.
    fn add(self, connection: &mut Connection, name: &str, call: usize, sum: u64) -> Result<()> {
        match self {
            Variant::MisoPerCall | Variant::MisoKept => {
                cmd("GCOUNTER.ADD").arg(name).arg("totalSum").arg(sum).query::<u64>(connection)?;
            }
            Variant::RedisPerCall => {
                let field = format!("call-{call}");
                cmd("HSET").arg(name).arg(field).arg(sum).query::<u64>(connection)?;
            }
            Variant::RedisKept => {
                cmd("INCRBY").arg(name).arg(sum).query::<u64>(connection)?;
            }
        }
        Ok(())
    }

    /// Reads the result.
    fn read(self, connection: &mut Connection, name: &str) -> Result<u64> {
        Ok(match self {
            Variant::MisoPerCall | Variant::MisoKept => {
                cmd("GCOUNTER.GET").arg(name).arg("totalSum").query(connection)?
            }
            Variant::RedisPerCall => {
                cmd("HVALS").arg(name).query::<Vec<u64>>(connection)?.iter().sum()
            }
            Variant::RedisKept => cmd("GET").arg(name).query(connection)?,
        })
    }
}

/// A function's way to its state, one for each call that may be in flight.
struct Line {
    client: Client,
    kept: Option<Connection>,
}

impl Line {
    fn open(variant: Variant, port: u16) -> Result<Line> {
        let client = Client::open(("127.0.0.1", port))?;
        let kept = if variant.keeps_connections() { Some(client.get_connection()?) } else { None };
        Ok(Line { client, kept })
    }

    /// What a call does with a connection: its own, closed with QUIT, or the kept one.
    fn call<T>(&mut self, work: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        if let Some(connection) = &mut self.kept {
            return work(connection);
        }
        let mut connection = self.client.get_connection()?;
        let answer = work(&mut connection)?;
        Cmd::new().arg("QUIT").exec(&mut connection)?;
        Ok(answer)
    }
}

/// One repetition.
struct Repetition {
    write: Duration,
    read: Duration,
    sum: u64,
}

/// One variant's figures.
#[derive(Serialize)]
struct Measured {
    variant: &'static str,
    #[serde(skip)]
    label: &'static str,
    total_ms: Series,
    write_ms: Series,
    read_ms: Series,
    /// Repetitions whose first read was right.
    right_on_first_read: usize,
}

#[derive(Serialize)]
pub(crate) struct AllReduce {
    numbers: u64,
    chunk: usize,
    in_flight: usize,
    expected: u64,
    repetitions: usize,
    variants: Vec<Measured>,
}

/// Runs the repetitions of all variants by turns.
pub(crate) fn run(programs: &Programs, options: &Options) -> Result<AllReduce> {
    let array: Vec<u64> = (0..NUMBERS).collect();
    let pair = Pair::start(programs)?;
    let mut lines = Vec::new();
    for variant in Variant::ALL {
        let port = pair.get(variant.server()).port();
        let opened =
            (0..IN_FLIGHT).map(|_| Line::open(variant, port)).collect::<Result<Vec<_>>>()?;
        lines.push(opened);
    }
    let mut repetitions: [Vec<Repetition>; 4] = array::from_fn(|_| Vec::new());
    let bar = progress::bar("allreduce", options.repetitions * Variant::ALL.len());
    // One repetition beyond those asked for goes first and does not count: it warms everything up.
    for number in 0..=options.repetitions {
        for (place, variant) in Variant::ALL.into_iter().enumerate() {
            bar.set_message(variant.name());
            let repetition =
                repeat(variant, &mut lines[place], &array, &format!("allreduce-{number}-{place}"))?;
            if number > 0 {
                repetitions[place].push(repetition);
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    let variants = Variant::ALL.into_iter().zip(&repetitions);
    Ok(AllReduce {
        numbers: NUMBERS,
        chunk: CHUNK,
        in_flight: IN_FLIGHT,
        expected: EXPECTED,
        repetitions: options.repetitions,
        variants: variants.map(|(variant, repetitions)| measured(variant, repetitions)).collect(),
    })
}

fn repeat(variant: Variant, lines: &mut [Line], array: &[u64], name: &str) -> Result<Repetition> {
    let chunks: Vec<&[u64]> = array.chunks(CHUNK).collect();
    let next = AtomicUsize::new(0);
    let began = Instant::now();
    thread::scope(|scope| -> Result<()> {
        let flights: Vec<_> = lines
            .iter_mut()
            .map(|line| {
                scope.spawn(|| -> Result<()> {
                    loop {
                        let call = next.fetch_add(1, Ordering::Relaxed);
                        let Some(chunk) = chunks.get(call) else { return Ok(()) };
                        let sum = chunk.iter().sum();
                        line.call(|connection| variant.add(connection, name, call, sum))?;
                    }
                })
            })
            .collect();
        for flight in flights {
            flight.join().map_err(|_| "a call panicked")??;
        }
        Ok(())
    })?;
    let write = began.elapsed();
    let began = Instant::now();
    let sum = lines[0].call(|connection| variant.read(connection, name))?;
    Ok(Repetition { write, read: began.elapsed(), sum })
}

fn measured(variant: Variant, repetitions: &[Repetition]) -> Measured {
    let series = |of: fn(&Repetition) -> Duration| {
        let times: Vec<f64> =
            repetitions.iter().map(|repetition| of(repetition).as_secs_f64() * 1e3).collect();
        Series::of(&times)
    };
    Measured {
        variant: variant.name(),
        label: variant.label(),
        total_ms: series(|repetition| repetition.write + repetition.read),
        write_ms: series(|repetition| repetition.write),
        read_ms: series(|repetition| repetition.read),
        right_on_first_read: repetitions.iter().filter(|r| r.sum == EXPECTED).count(),
    }
}

impl AllReduce {
    /// Whether every result was right on the first read.
    pub(crate) fn all_right(&self) -> bool {
        self.variants.iter().all(|variant| variant.right_on_first_read == self.repetitions)
    }
}

impl Report for AllReduce {
    const NAME: &'static str = "allreduce";

    fn markdown(&self) -> String {
        let mut table = Table::new(&[
            "milliseconds",
            "total: average",
            "median",
            "p99",
            "write: average",
            "median",
            "p99",
            "read: average",
            "median",
            "p99",
            "right on first read",
        ]);
        for variant in &self.variants {
            let [t0, t1, t2] = variant.total_ms.cells(1);
            let [w0, w1, w2] = variant.write_ms.cells(1);
            let [r0, r1, r2] = variant.read_ms.cells(3);
            let right = format!("{} of {}", variant.right_on_first_read, self.repetitions);
            table.row([variant.variant.into(), t0, t1, t2, w0, w1, w2, r0, r1, r2, right]);
        }
        format!(
            "{} repetitions of each variant, by turns; 1 000 000 numbers in chunks of {}, {} calls in \
             flight, the right result is {}.\n\n{table}",
            self.repetitions, self.chunk, self.in_flight, self.expected
        )
    }

    fn chart(&self) -> Option<Chart> {
        let groups = self.variants.iter().map(|variant| {
            let times = [variant.total_ms.average, variant.total_ms.median, variant.total_ms.p99];
            (variant.label.to_owned(), times.map(|value| Bar { value, target: None }).into())
        });
        Some(Chart {
            title: "AllReduce of 1 000 000 numbers".into(),
            subtitle: format!(
                "1 000 calls, {} in flight, then one read; {} repetitions; lower is better",
                self.in_flight, self.repetitions
            ),
            axis: "total time, milliseconds".into(),
            series: vec!["average".into(), "median".into(), "p99".into()],
            groups: groups.collect(),
            reference: None,
            digits: 1,
        })
    }
}
