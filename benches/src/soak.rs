//! A soak: nodes that are killed, restarted, joined and left while clients come, write and go.
//!
//! Nothing that was acknowledged may be lost or counted twice, all nodes agree in the end, and the memory of a
//! node that lives through it all stays flat.

mod ledger;
mod nodes;
mod writer;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use crate::chart;
use crate::error::Result;
use crate::report::{Limit, Report, Target};
use crate::servers::Programs;
use crate::table::{Table, grouped};

use ledger::Ledger;
use nodes::Nodes;
use writer::Chance;

/// The first node, which is sampled, and those that are killed and restarted.
const NODES_MIN: usize = 2;
/// How long there is peace between two blows.
const PEACE: Duration = Duration::from_secs(3);
/// How long a node is down at most, in milliseconds.
const DOWN_MS: u64 = 2500;
/// Connections that come and go at once.
const CROWD: usize = 200;
/// By how much the memory of a node may grow, in KiB a minute.
const SLOPE_KIB: f64 = 128.0;
/// Samples of this share of the run are not counted: a node fills its queues and logs first.
const WARM_UP: f64 = 1.0 / 3.0;

#[derive(Args, Clone)]
pub(crate) struct Options {
    /// How long it lasts
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Nodes beside the guests that join and leave
    #[arg(long, default_value_t = 4)]
    nodes: usize,
    /// What chance does is the same for the same number
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What the first node holds at a moment.
#[derive(Clone, Copy, Serialize)]
struct Sample {
    second: f64,
    /// By its own account, and by the kernel's.
    used_mib: f64,
    resident_mib: f64,
}

/// What was done to the nodes.
#[derive(Clone, Copy, Default, Serialize)]
struct Blows {
    killed: u64,
    restarted: u64,
    joined_and_left: u64,
    crowds: u64,
}

#[derive(Serialize)]
pub(crate) struct Soak {
    minutes: f64,
    nodes: usize,
    blows: Blows,
    /// Writes that were acknowledged, those of which it is not known, connections and functions.
    acknowledged: u64,
    unknown: u64,
    connections: u64,
    functions: u64,
    /// After the last write, until all nodes agreed.
    agreed_after_s: f64,
    slope_kib_per_minute: f64,
    samples: Vec<Sample>,
}

/// Runs it.
///
/// # Errors
/// If something was lost or counted twice, or the nodes do not agree: says what.
pub(crate) fn run(programs: &Programs, options: &Options) -> Result<Soak> {
    if options.nodes < NODES_MIN {
        return Err(format!("a soak needs {NODES_MIN} nodes").into());
    }
    let mut nodes = Nodes::start(programs, options.nodes)?;
    let (ledger, over) = (Ledger::new(options.nodes), AtomicBool::new(false));
    let (mut samples, mut blows) = (Vec::new(), Blows::default());
    let length = Duration::from_secs_f64(options.minutes * 60.0);
    let done = thread::scope(|scope| {
        let writers: Vec<_> = (0..options.nodes)
            .map(|number| {
                let ports = nodes.ports();
                let (ledger, over) = (&ledger, &over);
                let chance = Chance(options.seed.wrapping_mul(1000) + number as u64);
                scope.spawn(move || writer::run(number, &ports, ledger, over, chance))
            })
            .collect();
        let done = strike(&mut nodes, length, Chance(options.seed), &mut samples, &mut blows);
        over.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.join().map_err(|_| "a writer panicked")??;
        }
        done
    });
    done?;
    let ended = Instant::now();
    nodes.all_up()?;
    ledger.check(&nodes)?;
    let tally = ledger.tally();
    Ok(Soak {
        minutes: options.minutes,
        nodes: options.nodes,
        blows,
        acknowledged: tally.acknowledged,
        unknown: tally.unknown,
        connections: tally.connections,
        functions: tally.functions,
        agreed_after_s: ended.elapsed().as_secs_f64(),
        slope_kib_per_minute: slope(&samples),
        samples,
    })
}

/// Strikes until the time is over.
fn strike(
    nodes: &mut Nodes,
    length: Duration,
    mut chance: Chance,
    samples: &mut Vec<Sample>,
    blows: &mut Blows,
) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < length {
        rest(nodes, PEACE, began, samples)?;
        let down = Duration::from_millis(chance.below(DOWN_MS));
        let victim = 1 + chance.below(nodes.len() as u64 - 1) as usize;
        match chance.below(4) {
            0 => {
                nodes.kill(victim);
                rest(nodes, down, began, samples)?;
                nodes.launch(victim)?;
                blows.killed += 1;
            }
            1 => {
                nodes.terminate(victim)?;
                rest(nodes, down, began, samples)?;
                nodes.launch(victim)?;
                blows.restarted += 1;
            }
            2 => {
                let guest = nodes.invite(blows.joined_and_left, &ledger::function(0))?;
                rest(nodes, PEACE, began, samples)?;
                nodes.see_off(guest)?;
                blows.joined_and_left += 1;
            }
            _ => {
                nodes.crowd(CROWD)?;
                blows.crowds += 1;
            }
        }
    }
    Ok(())
}

/// Lets time pass, and takes samples.
fn rest(nodes: &Nodes, length: Duration, began: Instant, samples: &mut Vec<Sample>) -> Result<()> {
    let until = Instant::now() + length;
    loop {
        let second = began.elapsed().as_secs_f64();
        if samples.last().is_none_or(|last| last.second + 1.0 <= second) {
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            let (used, resident) = nodes.memory()?;
            samples.push(Sample { second, used_mib: mib(used), resident_mib: mib(resident) });
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(Duration::from_millis(250)));
    }
}

/// How used memory grows once warm, by least squares, in KiB a minute.
fn slope(samples: &[Sample]) -> f64 {
    let warm = &samples[(samples.len() as f64 * WARM_UP) as usize..];
    let mean = |value: fn(&Sample) -> f64| warm.iter().map(value).sum::<f64>() / warm.len() as f64;
    let (x, y) = (mean(|sample| sample.second), mean(|sample| sample.used_mib));
    let product = |sample: &Sample| (sample.second - x) * (sample.used_mib - y);
    let square = |sample: &Sample| (sample.second - x).powi(2);
    let rise = warm.iter().map(product).sum::<f64>() / warm.iter().map(square).sum::<f64>();
    rise * 1024.0 * 60.0
}

impl Soak {
    /// The memory of the first node over time.
    pub(crate) fn svg(&self) -> Result<String> {
        let series = |name: &str, value: fn(&Sample) -> f64| {
            let points = self.samples.iter().map(|sample| (sample.second / 60.0, value(sample)));
            (name.to_owned(), points.collect())
        };
        chart::lines(
            "A soak: memory of a node",
            &format!(
                "{} nodes; {} killed, {} restarted, {} joined and left; grows by {:.0} KiB a minute",
                self.nodes,
                self.blows.killed,
                self.blows.restarted,
                self.blows.joined_and_left,
                self.slope_kib_per_minute
            ),
            ["minutes", "MiB"],
            &[
                series("used, as the node counts", |sample| sample.used_mib),
                series("resident", |sample| sample.resident_mib),
            ],
        )
    }
}

impl Report for Soak {
    const NAME: &'static str = "soak";

    fn markdown(&self) -> String {
        let mut table = Table::new(&["what", "number"]);
        for (what, number) in [
            ("nodes killed and started again", self.blows.killed),
            ("nodes ended and started again", self.blows.restarted),
            ("nodes that joined and left", self.blows.joined_and_left),
            ("crowds of connections", self.blows.crowds),
            ("connections of writers", self.connections),
            ("functions that came and went", self.functions),
            ("writes acknowledged, all of them there in the end", self.acknowledged),
            ("writes of which the answer was lost", self.unknown),
        ] {
            table.row([what.to_owned(), grouped(number)]);
        }
        let ends = [self.samples.first(), self.samples.last()];
        let [first, last] = ends.map(|sample| sample.map_or(f64::NAN, |sample| sample.used_mib));
        format!(
            "{:.0} minutes with {} nodes. All agreed {:.1} s after the last write. The first node, which was never \
             ended, used {first:.1} MiB in the beginning and {last:.1} MiB in the end; once warm that grew by \
             {:.1} KiB a minute.\n\n{table}",
            self.minutes, self.nodes, self.agreed_after_s, self.slope_kib_per_minute,
        )
    }

    fn targets(&self) -> Vec<Target> {
        let what = "KiB a minute by which a node's memory grows".to_owned();
        vec![Target::new(what, self.slope_kib_per_minute, Limit::AtMost(SLOPE_KIB))]
    }
}

#[cfg(test)]
mod tests {
    use super::{Sample, slope};

    #[test]
    fn a_slope_is_that_of_what_is_warm() {
        let sample = |second: u32, used_mib| Sample {
            second: f64::from(second),
            used_mib,
            resident_mib: 0.0,
        };
        let cold = (0..20).map(|second| sample(second, 100.0));
        let flat: Vec<Sample> = cold.clone().chain((20..60).map(|s| sample(s, 5.0))).collect();
        assert!(slope(&flat).abs() < 1e-9);
        let rising = |second: u32| sample(second, f64::from(second) / 1024.0);
        let rising: Vec<Sample> = cold.chain((20..60).map(rising)).collect();
        assert!((slope(&rising) - 60.0).abs() < 1e-6, "a KiB a second");
    }
}
