//! How often a node replicates while its machine has more to do than it can.
//!
//! What a node sends costs CPU time here and at every peer, and on a machine that is busy that time
//! is taken from functions' requests. So the shell measures, and stretches the time between two
//! flushes until replication takes no more than its share: the core is told but a number.
//!
//! Two things are measured, each over a tenth of a second. *Is there contention?* The kernel counts
//! how long a thread that could run had to wait for a core (`schedstat`); alone on a core it waits
//! for next to nothing. And it counts how long the machine had nothing to do (`/proc/stat`). *What does
//! replication take?* The CPU time of this thread, compared with that of the whole process. The work
//! grows with the number of flushes, so the pace that gives replication its share is the present one
//! times the factor by which replication exceeds its share.
//!
//! Without contention nothing is stretched, however much replication takes: the time is free.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How often is measured.
pub(super) const EVERY: Duration = Duration::from_millis(100);
/// Replication gets one part in this many of the process's CPU time.
const SHARE: u32 = 8;
/// One part in this many of a core is never too much.
const LITTLE: u32 = 200;
/// A machine that is idle for one part in this many of the time has time to spare. Nodes on one machine
/// that one write wakes at the same time wait for each other for a moment; that is no contention.
const SPARE: u64 = 4;
/// A pace below this is none.
const LEAST: Duration = Duration::from_millis(1);
/// The slowest.
const MOST: Duration = Duration::from_secs(1);

/// What has been used so far, or between two measurements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// CPU time of this thread.
    pub(super) thread: Duration,
    /// CPU time of the process.
    process: Duration,
    /// How long this thread could have run and had to wait.
    waited: Duration,
    /// The time that has passed.
    passed: Duration,
    /// What all cores of the machine did.
    ticks: Ticks,
}

/// Hundredths of a second, summed over the cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ticks {
    idle: u64,
    all: u64,
}

/// The pace after this one.
pub(super) fn next(pace: Duration, used: &Usage) -> Duration {
    let waits = used.waited * 2 >= used.thread && used.waited * 50 >= used.passed;
    let contended = waits && used.ticks.idle * SPARE <= used.ticks.all;
    if !contended {
        return Some(pace / 4).filter(|pace| *pace >= LEAST).unwrap_or_default();
    }
    let share = (used.process / SHARE).max(used.passed / LITTLE).max(Duration::from_nanos(1));
    // Not all at once: a tenth of a second of a busy machine is a small sample.
    let beyond = (used.thread.as_secs_f64() / share.as_secs_f64()).clamp(0.5, 2.0);
    pace.max(LEAST).mul_f64(beyond).clamp(LEAST, MOST)
}

/// Measures the thread that made it.
#[derive(Debug)]
pub(super) struct Meter {
    /// None where the kernel does not tell: then there is never any contention.
    schedstat: Option<File>,
    /// None, likewise: then the machine never has time to spare.
    stat: Option<File>,
    last: Usage,
}

impl Meter {
    pub(super) fn new() -> Self {
        let mut meter = Self { schedstat: None, stat: None, last: Usage::default() };
        meter.schedstat = File::open("/proc/thread-self/schedstat").ok();
        meter.stat = File::open("/proc/stat").ok();
        meter.last = meter.total();
        meter
    }

    /// All so far.
    fn total(&self) -> Usage {
        Usage {
            thread: clock(ClockId::ThreadCPUTime),
            process: clock(ClockId::ProcessCPUTime),
            waited: self.waited(),
            passed: clock(ClockId::Monotonic),
            ticks: self.ticks(),
        }
    }

    /// The first line: `cpu user nice system idle iowait irq …`.
    fn ticks(&self) -> Ticks {
        let text = beginning::<256>(self.stat.as_ref());
        let line = text.lines().next().unwrap_or_default();
        let words = line.split_ascii_whitespace().skip(1);
        let ticks: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
        // What guests ran counts as the user's already.
        let (spent, idle) = (ticks.iter().take(8).sum(), ticks.iter().skip(3).take(2).sum());
        Ticks { idle, all: spent }
    }

    /// The second number of `ran waited slices`.
    fn waited(&self) -> Duration {
        let text = beginning::<64>(self.schedstat.as_ref());
        let nanos = text.split_ascii_whitespace().nth(1).and_then(|nanos| nanos.parse().ok());
        Duration::from_nanos(nanos.unwrap_or(0))
    }

    /// What has been used since the last time; and this thread's CPU time so far.
    pub(super) fn used(&mut self) -> (Usage, Duration) {
        let total = self.total();
        let last = std::mem::replace(&mut self.last, total);
        let used = Usage {
            thread: total.thread.saturating_sub(last.thread),
            process: total.process.saturating_sub(last.process),
            waited: total.waited.saturating_sub(last.waited),
            passed: total.passed.saturating_sub(last.passed),
            ticks: Ticks {
                idle: total.ticks.idle.saturating_sub(last.ticks.idle),
                all: total.ticks.all.saturating_sub(last.ticks.all),
            },
        };
        (used, total.thread)
    }
}

/// The first bytes of a file that the kernel writes anew at each read.
fn beginning<const MOST: usize>(file: Option<&File>) -> String {
    let mut text = [0; MOST];
    let read = file.and_then(|file| file.read_at(&mut text, 0).ok());
    String::from_utf8_lossy(&text[..read.unwrap_or(0)]).into_owned()
}

fn clock(id: ClockId) -> Duration {
    let time = clock_gettime(id);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(time.tv_sec.unsigned_abs(), nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Over 100 ms of two cores that have no time to spare.
    fn used(thread: u64, process: u64, waited: u64) -> Usage {
        let ticks = Ticks { idle: 1, all: 20 };
        Usage {
            thread: ms(thread),
            process: ms(process),
            waited: ms(waited),
            passed: ms(100),
            ticks,
        }
    }

    #[test]
    fn without_contention_nothing_is_stretched() {
        assert_eq!(next(Duration::ZERO, &used(90, 100, 1)), Duration::ZERO);
        assert_eq!(next(Duration::ZERO, &used(1, 1, 1)), Duration::ZERO, "waking takes a little");
        let peers_beside = Usage { ticks: Ticks { idle: 17, all: 20 }, ..used(7, 8, 9) };
        assert_eq!(next(Duration::ZERO, &peers_beside), Duration::ZERO, "the time is free");
        assert!(next(Duration::ZERO, &used(7, 8, 9)) > Duration::ZERO);
    }

    #[test]
    fn it_is_stretched_until_replication_has_its_share() {
        // Work goes with the number of flushes: at 1 ms it would take 64 ms of 100 ms.
        let mut pace = Duration::ZERO;
        for _ in 0..50 {
            let thread = ms(64).div_f64(pace.max(LEAST).as_secs_f64() * 1000.0);
            let used = Usage { thread, process: ms(32) + thread, ..used(0, 0, 40) };
            pace = next(pace, &used);
        }
        assert!((ms(13)..ms(16)).contains(&pace), "{pace:?}: 4.6 ms of 36.6");
    }

    #[test]
    fn it_is_bounded() {
        let mut pace = Duration::ZERO;
        for _ in 0..50 {
            pace = next(pace, &used(100, 100, 100));
        }
        assert_eq!(pace, MOST);
        for _ in 0..50 {
            pace = next(pace, &used(0, 100, 100));
        }
        assert_eq!(pace, LEAST, "a thread that takes next to nothing need not wait");
    }

    #[test]
    fn it_is_prompt_again_soon_after_the_load_ends() {
        let mut pace = ms(64);
        for _ in 0..3 {
            pace = next(pace, &used(1, 1, 0));
        }
        assert!(pace <= LEAST);
    }

    #[test]
    fn the_meter_sees_this_thread_work() {
        let mut meter = Meter::new();
        let end = std::time::Instant::now() + ms(20);
        while std::time::Instant::now() < end {}
        let (used, total) = meter.used();
        assert!(used.thread > Duration::ZERO && used.thread <= total);
        // The clocks are read one after the other.
        assert!(used.process + ms(1) >= used.thread && used.passed >= ms(20));
        assert!(
            meter.ticks().all > meter.ticks().idle,
            "the machine has worked since it was started"
        );
    }
}
