//! What it costs to keep what is written, and how soon it is there again, beside Redis with its
//! append-only file on the same disk.
//!
//! `writes.rs` has the two policies under load, `recovery.rs` the start after a kill and after an
//! orderly end, with the bytes that lie on the disk meanwhile; here is what they share, and how the
//! figures are shown.

mod options;
mod recovery;
mod writes;

use serde::Serialize;

use crate::chart::{Bar, Chart};
use crate::error::Result;
use crate::report::{Limit, Report, Target};
use crate::servers::Programs;
use crate::statistics::Spread;
use crate::table::{Table, grouped, verdict};

use crate::directory::{Directory, FileSystem};
pub(crate) use options::Options;
use options::Part;
use recovery::{Recovered, Start};
use writes::{Always, EverySecond};

/// The share by which CPU per command may grow under `everysec`.
const EVERY_SECOND_TARGET: f64 = 0.30;
/// Bytes on disk after an orderly end, by those of the live state.
const COMPACTED_TARGET: f64 = 2.0;

#[derive(Serialize)]
pub(crate) struct Durability {
    disk: FileSystem,
    always: Vec<Always>,
    everysec: Vec<EverySecond>,
    items: usize,
    recovery: Vec<Recovered>,
}

/// Runs the parts that are wanted, each with servers of its own.
pub(crate) fn run(programs: &Programs, options: &Options) -> Result<Durability> {
    let directory = Directory::new()?;
    let disk = directory.file_system()?;
    let mut found = Durability {
        disk,
        always: Vec::new(),
        everysec: Vec::new(),
        items: options.items(),
        recovery: Vec::new(),
    };
    if options.wants(Part::Always) {
        found.always = writes::always(programs, &directory, found.disk.fsync_us, options)?;
    }
    if options.wants(Part::Everysec) {
        found.everysec = writes::every_second(programs, &directory, options)?;
    }
    if options.wants(Part::Recovery) {
        found.recovery = recovery::run(programs, &directory, options)?;
    }
    Ok(found)
}

/// A figure's place in a table, with what it should reach.
fn held(figure: f64, target: Option<Limit>) -> String {
    target.map_or_else(String::new, |limit| {
        let (Limit::AtMost(to) | Limit::AtLeast(to)) = limit;
        format!("{to:.2} {}", verdict(Some(limit.met(figure))))
    })
}

fn spread(spread: &Spread) -> [String; 3] {
    [spread.median, spread.min, spread.max].map(|figure| format!("{figure:.2}"))
}

impl Durability {
    fn always_table(&self) -> Table {
        let mut table = Table::new(&[
            "`always`: command beside Redis's",
            "keys",
            "depth",
            "throughput ratio, median",
            "min",
            "max",
            "at least",
            "MISO req/s",
            "Redis req/s",
            "CPU ratio",
            "MISO us",
            "Redis us",
        ]);
        for cell in &self.always {
            let [median, min, max] = spread(&cell.throughput_ratio);
            table.row([
                format!("{} / {}", cell.command, cell.redis_command),
                cell.keys.into(),
                cell.depth.to_string(),
                median,
                min,
                max,
                held(cell.throughput_ratio.median, Some(cell.target())),
                format!("{:.0}", cell.miso_requests_per_second),
                format!("{:.0}", cell.redis_requests_per_second),
                format!("{:.2}", cell.cpu_ratio.median),
                format!("{:.3}", cell.miso_cpu_us_per_command),
                format!("{:.3}", cell.redis_cpu_us_per_command),
            ]);
        }
        table
    }

    fn every_second_table(&self) -> Table {
        let mut table = Table::new(&[
            "`everysec`: CPU per command over none",
            "keys",
            "depth",
            "MISO, median",
            "min",
            "max",
            "at most",
            "the log alone",
            "Redis, median",
            "min",
            "max",
            "MISO us: without",
            "with",
            "Redis us: without",
            "with",
        ]);
        for cell in &self.everysec {
            let [miso, miso_min, miso_max] = spread(&cell.miso.overhead);
            let [redis, redis_min, redis_max] = spread(&cell.redis.overhead);
            table.row([
                format!("{} / {}", cell.command, cell.redis_command),
                cell.keys.into(),
                cell.depth.to_string(),
                miso,
                miso_min,
                miso_max,
                held(cell.miso.overhead.median, Some(Limit::AtMost(EVERY_SECOND_TARGET))),
                format!("{:.2}", cell.miso.of_log_alone),
                redis,
                redis_min,
                redis_max,
                format!("{:.3}", cell.miso.without_us),
                format!("{:.3}", cell.miso.with_us),
                format!("{:.3}", cell.redis.without_us),
                format!("{:.3}", cell.redis.with_us),
            ]);
        }
        table
    }

    fn recovery_table(&self) -> Table {
        let mut table = Table::new(&[
            "exec to first PONG, seconds",
            "after a kill: MISO",
            "Redis",
            "ratio",
            "at most",
            "CPU",
            "after an orderly end: MISO",
            "Redis",
            "ratio",
            "at most",
            "CPU",
        ]);
        for case in &self.recovery {
            let limit = case.target().map(Limit::AtMost);
            let (log, compacted) = (case.log_ratio(), case.compacted_ratio());
            table.row([
                case.item.into(),
                range(&case.miso.from_log.seconds),
                range(&case.redis.from_log.seconds),
                format!("{log:.2}"),
                held(log, limit),
                cpu(&case.miso.from_log, &case.redis.from_log),
                range(&case.miso.from_compacted.seconds),
                range(&case.redis.from_compacted.seconds),
                format!("{compacted:.2}"),
                held(compacted, limit),
                cpu(&case.miso.from_compacted, &case.redis.from_compacted),
            ]);
        }
        table
    }

    fn size_table(&self) -> Table {
        let mut table = Table::new(&[
            "bytes on disk",
            "log, each: MISO",
            "Redis",
            "after an orderly end, each: MISO",
            "Redis",
            "live state, each",
            "MISO by live state",
            "at most",
        ]);
        for case in &self.recovery {
            let each = |bytes: f64| format!("{:.1}", bytes / self.items as f64);
            let live = case.live_bytes.map(|live| live as f64);
            let ratio = case.compacted_by_live();
            table.row([
                case.item.into(),
                each(case.miso.log_bytes as f64),
                each(case.redis.log_bytes as f64),
                each(case.miso.compacted_bytes as f64),
                each(case.redis.compacted_bytes as f64),
                live.map_or_else(String::new, each),
                ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
                ratio.map_or_else(String::new, |ratio| {
                    held(ratio, Some(Limit::AtMost(COMPACTED_TARGET)))
                }),
            ]);
        }
        table
    }
}

/// CPU seconds of both.
fn cpu(miso: &Start, redis: &Start) -> String {
    format!("{:.2} / {:.2}", miso.cpu_seconds.median, redis.cpu_seconds.median)
}

/// `0.51 (0.50 to 0.53)`.
fn range(spread: &Spread) -> String {
    let Spread { median, min, max } = spread;
    format!("{median:.2} ({min:.2} to {max:.2})")
}

impl Report for Durability {
    const NAME: &'static str = "durability";

    fn markdown(&self) -> String {
        let mut text = format!(
            "Both servers on the same {} in the same run, by turns; one write of 4 KiB with \
             fdatasync takes {:.0} us there (median). Load: `redis-benchmark` over {} connections, \
             random members of sets so that nearly all are new. Redis does not rewrite its log by \
             itself here; where MISO makes a checkpoint, that counts, but for the column of the log \
             alone.\n",
            self.disk.kind,
            self.disk.fsync_us,
            writes::CONNECTIONS
        );
        if !self.always.is_empty() {
            text += &format!("\n{}", self.always_table());
        }
        if !self.everysec.is_empty() {
            text += &format!("\n{}", self.every_second_table());
        }
        if !self.recovery.is_empty() {
            text += &format!(
                "\n{} of each, written under `everysec`. After a kill (-9) MISO reads its journal and \
                 Redis the commands in its append-only file; after an orderly end MISO reads its \
                 checkpoint and Redis what BGREWRITEAOF made. The files are in the kernel's cache. CPU: \
                 seconds used by then, MISO / Redis. \
                 Live state: names and elements as they were sent, and 8 bytes for a counter's \
                 value.\n\n{}\n{}",
                grouped(self.items as u64),
                self.recovery_table(),
                self.size_table()
            );
        }
        text
    }

    fn targets(&self) -> Vec<Target> {
        let always = self.always.iter().map(|cell| {
            let what = format!(
                "throughput under always by Redis's, {}, {}, depth {}",
                cell.command, cell.keys, cell.depth
            );
            Target::new(what, cell.throughput_ratio.median, cell.target())
        });
        let everysec = self.everysec.iter().map(|cell| {
            let what = format!("CPU added by everysec, {}, {}", cell.command, cell.keys);
            Target::new(what, cell.miso.overhead.median, Limit::AtMost(EVERY_SECOND_TARGET))
        });
        let recovery = self.recovery.iter().filter_map(|case| Some((case, case.target()?)));
        let recovery = recovery.flat_map(|(case, target)| {
            let limit = Limit::AtMost(target);
            [("a kill", case.log_ratio()), ("an orderly end", case.compacted_ratio())].map(
                |(end, ratio)| {
                    let what = format!("start after {end} by Redis's, {}", case.item);
                    Target::new(what, ratio, limit)
                },
            )
        });
        let size = self.recovery.iter().filter_map(|case| {
            let what = format!("bytes on disk by live state, {}", case.item);
            Some(Target::new(what, case.compacted_by_live()?, Limit::AtMost(COMPACTED_TARGET)))
        });
        always.chain(everysec).chain(recovery).chain(size).collect()
    }

    /// The starts.
    fn chart(&self) -> Option<Chart> {
        if self.recovery.is_empty() {
            return None;
        }
        let groups = self.recovery.iter().flat_map(|case| {
            let bars = |miso: &Start, redis: &Start| {
                let (miso, redis) = (miso.seconds, redis.seconds);
                let target = case.target().map(|target| target * redis.median);
                vec![Bar { value: miso.median, target }, Bar { value: redis.median, target: None }]
            };
            [
                (
                    format!("{}\nafter a kill", case.label),
                    bars(&case.miso.from_log, &case.redis.from_log),
                ),
                (
                    format!("{}\nafter an end", case.label),
                    bars(&case.miso.from_compacted, &case.redis.from_compacted),
                ),
            ]
        });
        Some(Chart {
            title: "There again".into(),
            subtitle: format!(
                "exec to first PONG with {} of each, from the log and from what was made of it in order; \
                 lower is better",
                grouped(self.items as u64)
            ),
            axis: "seconds".into(),
            series: vec!["MISO".into(), "Redis".into()],
            groups: groups.collect(),
            reference: None,
            digits: 2,
        })
    }
}
