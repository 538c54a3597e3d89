//! The paper's AllReduce through functions: the driver in `sdk-compat/evaluation` runs it, and this makes
//! the page of what it prints.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::chart::{Bar, Chart};
use crate::directory::workspace;
use crate::environment::{Environment, redis_version};
use crate::error::Result;
use crate::report::{self, Limit, Report, Target};
use crate::servers::Programs;
use crate::statistics::Series;
use crate::table::{Table, verdict};

/// What is to be reached: MISO's total time, of that of the others.
const OF_REDIS_KEPT: f64 = 0.95;
const OF_REDIS: f64 = 0.6;
const OF_MINIO: f64 = 0.3;
/// From this share of CPU time for other work on, the page says so.
const BUSY: f64 = 0.2;
/// Of our handler.
const LINES_MOST: f64 = 30.0;
const COMPLEXITY_MOST: f64 = 2.0;

#[derive(Args)]
pub(crate) struct Options {
    /// Repetitions of each variant (the paper: 500)
    #[arg(long, default_value_t = 30)]
    repetitions: usize,
    /// Calls in a repetition
    #[arg(long, default_value_t = 1000)]
    calls: usize,
    /// The folder under which the files are written [default: the workspace]
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

/// A variant as the page tells of it.
struct Variant {
    id: &'static str,
    name: &'static str,
    /// The name on the chart.
    label: &'static str,
    /// The paper's total time in milliseconds, average and p99.
    paper: Option<(u32, u32)>,
    /// The paper's lines of code and cognitive complexity.
    paper_code: Option<(u32, u32)>,
}

const VARIANTS: [Variant; 6] = [
    Variant {
        id: "miso",
        name: "MISO, five nodes",
        label: "MISO\nfive nodes",
        paper: Some((799, 930)),
        paper_code: Some((44, 2)),
    },
    Variant {
        id: "miso-token",
        name: "MISO, five nodes, read with a token",
        label: "MISO, five nodes\nread with a token",
        paper: None,
        paper_code: None,
    },
    Variant {
        id: "miso-one-node",
        name: "MISO, one node",
        label: "MISO\none node",
        paper: Some((535, 582)),
        paper_code: None,
    },
    Variant {
        id: "redis",
        name: "Redis as in the paper: HSET and HVALS, a connection per call",
        label: "Redis, HSET, HVALS\na connection per call",
        paper: Some((1090, 1206)),
        paper_code: Some((53, 2)),
    },
    Variant {
        id: "redis-kept",
        name: "Redis at its best: INCRBY, kept connections",
        label: "Redis, INCRBY\nkept connections",
        paper: None,
        paper_code: None,
    },
    Variant {
        id: "minio",
        name: "MinIO as in the paper: an object per chunk",
        label: "MinIO\nan object per chunk",
        paper: Some((2765, 4695)),
        paper_code: Some((110, 8)),
    },
];

/// One repetition, as the driver prints it; times in milliseconds.
#[derive(Deserialize)]
struct Repetition {
    write: f64,
    /// Until a read is right.
    read: f64,
    reads: u64,
}

#[derive(Deserialize)]
struct Ran {
    id: String,
    runs: Vec<Repetition>,
}

#[derive(Deserialize)]
struct Skipped {
    id: String,
    why: String,
}

/// Of a handler.
#[derive(Clone, Copy, Deserialize, Serialize)]
struct Code {
    lines: u32,
    complexity: u32,
}

/// What the driver prints.
#[derive(Deserialize)]
struct Printed {
    calls: usize,
    chunk: usize,
    in_flight: usize,
    replicas: usize,
    watchdog: String,
    variants: Vec<Ran>,
    skipped: Vec<Skipped>,
    usability: BTreeMap<String, Code>,
}

/// One variant's figures.
#[derive(Serialize)]
struct Measured {
    variant: String,
    total_ms: Series,
    write_ms: Series,
    /// Until a read was right.
    read_ms: Series,
    /// Repetitions whose first read was right.
    right_on_first_read: usize,
    reads_most: u64,
}

#[derive(Serialize)]
pub(crate) struct Functions {
    calls: usize,
    chunk: usize,
    in_flight: usize,
    replicas: usize,
    repetitions: usize,
    watchdog: String,
    /// The share of CPU time that other work took just before.
    busy_before: f64,
    variants: Vec<Measured>,
    skipped: BTreeMap<String, String>,
    usability: BTreeMap<String, Code>,
}

/// Runs the driver, prints the figures, and writes `docs/evaluation.md`, its chart and the JSON.
pub(crate) fn run(programs: &Programs, options: &Options) -> Result<()> {
    // The Redis that the functions use, which is newer than Debian's.
    let redis = env::var_os("REDIS_SERVER").map_or_else(|| programs.redis.clone(), PathBuf::from);
    let environment = Environment { redis: redis_version(&redis), ..Environment::look(programs) };
    let report = measure(programs, options)?;
    let root = options.output.clone().unwrap_or_else(workspace);
    report::write_json(&root.join("benches/results/functions.json"), &report)?;
    if let Some(chart) = report.chart() {
        report::write_text(&root.join("docs/charts/functions.svg"), &chart.svg()?)?;
    }
    let page = report.page(&environment)?;
    println!("{page}");
    report::write_text(&root.join("docs/evaluation.md"), &page)
}

fn measure(programs: &Programs, options: &Options) -> Result<Functions> {
    let busy_before = busy();
    let driver = workspace().join("sdk-compat/evaluation/run.mjs");
    let output = Command::new("node")
        .arg(&driver)
        .args(["--repetitions", &options.repetitions.to_string()])
        .args(["--calls", &options.calls.to_string()])
        .env("MISO_SERVER", &programs.miso)
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("{} fails: {}", driver.display(), output.status).into());
    }
    let printed: Printed = serde_json::from_slice(&output.stdout)?;
    Ok(Functions {
        calls: printed.calls,
        chunk: printed.chunk,
        in_flight: printed.in_flight,
        replicas: printed.replicas,
        repetitions: options.repetitions,
        watchdog: printed.watchdog,
        busy_before,
        variants: printed.variants.iter().map(measured).collect(),
        skipped: printed.skipped.into_iter().map(|one| (one.id, one.why)).collect(),
        usability: printed.usability,
    })
}

/// The share of the machine's CPU time that was not idle in the next two seconds.
fn busy() -> f64 {
    let times = || -> Option<(f64, f64)> {
        let text = fs::read_to_string("/proc/stat").ok()?;
        let words = text.lines().next()?.split_whitespace().skip(1);
        let times: Vec<f64> = words.filter_map(|word| word.parse().ok()).collect();
        // Idle, and waiting for a disk.
        Some((times.iter().sum(), times.get(3)? + times.get(4)?))
    };
    let before = times();
    thread::sleep(Duration::from_secs(2));
    match (before, times()) {
        (Some(before), Some(after)) => 1.0 - (after.1 - before.1) / (after.0 - before.0),
        _ => f64::NAN,
    }
}

fn measured(ran: &Ran) -> Measured {
    let series =
        |of: fn(&Repetition) -> f64| Series::of(&ran.runs.iter().map(of).collect::<Vec<_>>());
    Measured {
        variant: ran.id.clone(),
        total_ms: series(|run| run.write + run.read),
        write_ms: series(|run| run.write),
        read_ms: series(|run| run.read),
        right_on_first_read: ran.runs.iter().filter(|run| run.reads == 1).count(),
        reads_most: ran.runs.iter().map(|run| run.reads).max().unwrap_or_default(),
    }
}

fn number(figure: Option<u32>) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| figure.to_string())
}

impl Functions {
    fn of(&self, id: &str) -> Option<&Measured> {
        self.variants.iter().find(|measured| measured.variant == id)
    }

    fn page(&self, environment: &Environment) -> Result<String> {
        let mut page = format!(
            "# The paper's evaluation, through functions\n\n\
             <!-- Written by `cargo xtask bench functions`. -->\n\n\
             Measured by `cargo xtask bench functions`, which installs what it needs (building MinIO\n\
             takes long) and then takes about five minutes.\n\n{}\n",
            environment.markdown()
        );
        if self.busy_before > BUSY {
            writeln!(
                page,
                "The machine was busy: other work took {:.0} % of its CPU time just before. The variants ran\n\
                 by turns and compare with each other, but all would be faster alone.\n",
                100.0 * self.busy_before
            )?;
        }
        write!(page, "{}\n## AllReduce\n\n{}", self.reached(), self.markdown())?;
        page.push_str("\n![AllReduce through functions](charts/functions.svg)\n\n## Usability\n\n");
        write!(page, "{}", self.usability())?;
        page.push_str(
            "\n## The paper's other experiments\n\n\
             Replication with many nodes, and the table of intervals, are in\n\
             [benchmarks](benchmarks.md#many-nodes-the-papers-load).\n",
        );
        Ok(page)
    }

    fn reached(&self) -> String {
        let mut table = Table::new(&["figure", "measured", "wanted", ""]);
        for target in self.targets() {
            table.row([
                target.what,
                format!("{:.2}", target.figure),
                target.limit.to_string(),
                verdict(target.met).to_owned(),
            ]);
        }
        format!("## What was to be reached\n\n{table}")
    }

    /// The handlers.
    fn usability(&self) -> String {
        let mut table =
            Table::new(&["handler", "lines", "the paper's", "cognitive complexity", "the paper's"]);
        for variant in VARIANTS {
            let Some(code) = self.usability.get(variant.id) else { continue };
            table.row([
                variant.name.to_owned(),
                code.lines.to_string(),
                number(variant.paper_code.map(|(lines, _)| lines)),
                code.complexity.to_string(),
                number(variant.paper_code.map(|(_, complexity)| complexity)),
            ]);
        }
        format!(
            "Physical lines of the handlers in [sdk-compat/evaluation](../sdk-compat/evaluation), and their\n\
             cognitive complexity by eslint-plugin-sonarjs (`node usability.mjs`). Each switches over `write`\n\
             and `result` in a `try` and a `catch`, with a header for JSON.\n\n{table}"
        )
    }
}

impl Report for Functions {
    const NAME: &'static str = "functions";

    fn markdown(&self) -> String {
        let mut table = Table::new(&[
            "milliseconds",
            "total: average",
            "median",
            "p99",
            "the paper's average",
            "p99",
            "write: average",
            "median",
            "p99",
            "read: average",
            "median",
            "p99",
            "right on first read",
            "reads, at most",
        ]);
        for variant in VARIANTS {
            let Some(measured) = self.of(variant.id) else { continue };
            let [t0, t1, t2] = measured.total_ms.cells(0);
            let [w0, w1, w2] = measured.write_ms.cells(0);
            let [r0, r1, r2] = measured.read_ms.cells(1);
            let right = format!("{} of {}", measured.right_on_first_read, self.repetitions);
            let (p0, p1) = (
                number(variant.paper.map(|(average, _)| average)),
                number(variant.paper.map(|(_, p99)| p99)),
            );
            let most = measured.reads_most.to_string();
            table.row([
                variant.name.into(),
                t0,
                t1,
                t2,
                p0,
                p1,
                w0,
                w1,
                w2,
                r0,
                r1,
                r2,
                right,
                most,
            ]);
        }
        let watchdog = if self.watchdog == "of-watchdog" {
            "of-watchdog".to_owned()
        } else {
            "the watchdog of [sdk-compat/testing](../sdk-compat/testing/watchdog), since of-watchdog itself\n\
             could not be built here"
                .to_owned()
        };
        let mut text = format!(
            "{} calls of {} numbers each, {} in flight, over {} replicas of a function, each under\n\
             {watchdog}.\n\
             Then reads until one is right: that is the time of the read. {} repetitions of each variant, by\n\
             turns, each under a fresh name. All variants run in the same function server, which keeps the\n\
             contract of OpenFaaS's stock templates; those of MISO have the preload. Each node of five has\n\
             one replica beside it. The read goes to one replica, another one in each repetition. With a token:\n\
             a write answers what covers it, and the read waits until its node has that. MISO counts each write\n\
             under an id, so that a call that is tried again counts once; the others do not. All nodes keep their\n\
             data in memory, on the replication interval of 5 ms that the paper has, too. Differences from the\n\
             paper: one machine, the add is awaited, and no gateway. Of the paper's first reads on five nodes\n\
             2.4 % were right.\n\n{table}",
            self.calls, self.chunk, self.in_flight, self.replicas, self.repetitions
        );
        for (id, why) in &self.skipped {
            text.push_str(&format!("\nLeft out: {id} ({why}).\n"));
        }
        text
    }

    fn targets(&self) -> Vec<Target> {
        let median = |id: &str| self.of(id).map_or(f64::NAN, |measured| measured.total_ms.median);
        let of = |other: &str, name: &str, limit| {
            let share = median("miso") / median(other);
            Target::new(
                format!("total of MISO on five nodes, of {name}"),
                share,
                Limit::AtMost(limit),
            )
        };
        let right = |id: &str| {
            let measured = self.of(id).map_or(f64::NAN, |one| one.right_on_first_read as f64);
            measured / self.repetitions as f64
        };
        let code = |of: fn(&Code) -> u32| {
            self.usability.get("miso").map_or(f64::NAN, |code| of(code).into())
        };
        vec![
            of("redis-kept", "Redis at its best", OF_REDIS_KEPT),
            of("redis", "Redis in the paper's way", OF_REDIS),
            of("minio", "MinIO in the paper's way", OF_MINIO),
            Target::new(
                "first reads right, with a token".to_owned(),
                right("miso-token"),
                Limit::AtLeast(1.0),
            ),
            Target::new(
                "lines of our handler".to_owned(),
                code(|code| code.lines),
                Limit::AtMost(LINES_MOST),
            ),
            Target::new(
                "cognitive complexity of our handler".to_owned(),
                code(|code| code.complexity),
                Limit::AtMost(COMPLEXITY_MOST),
            ),
        ]
    }

    fn chart(&self) -> Option<Chart> {
        let groups = VARIANTS.iter().filter_map(|variant| {
            let total = self.of(variant.id)?.total_ms;
            let bars = [total.average, total.median, total.p99];
            Some((variant.label.to_owned(), bars.map(|value| Bar { value, target: None }).into()))
        });
        Some(Chart {
            title: "AllReduce of 1 000 000 numbers, through functions".into(),
            subtitle: format!(
                "{} calls, {} in flight, then reads until one is right; {} repetitions; lower is better",
                self.calls, self.in_flight, self.repetitions
            ),
            axis: "total time, milliseconds".into(),
            series: vec!["average".into(), "median".into(), "p99".into()],
            groups: groups.collect(),
            reference: None,
            digits: 0,
        })
    }
}
