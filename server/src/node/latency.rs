//! LATENCY: the latest delays above `latency-monitor-threshold`.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::unix_ms;

/// How many samples an event keeps, as in Redis.
const SAMPLES: usize = 160;

/// Samples of `(second, milliseconds)`, the newest last, and the worst ever.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    pub(crate) samples: VecDeque<(u64, u64)>,
    pub(crate) worst: u64,
}

/// The delays that were noted, by event.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    events: Mutex<BTreeMap<&'static str, Series>>,
}

impl Latency {
    /// Notes that `event` took `took`, if that is at least `threshold` milliseconds. 0 turns this off.
    pub(crate) fn note(&self, event: &'static str, took: Duration, threshold: i64) {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        if threshold <= 0 || millis < threshold.unsigned_abs() {
            return;
        }
        let mut events = self.events.lock();
        let series = events.entry(event).or_default();
        series.worst = series.worst.max(millis);
        let second = unix_ms() / 1000;
        match series.samples.back_mut() {
            Some((at, worst)) if *at == second => *worst = millis.max(*worst),
            _ => series.samples.push_back((second, millis)),
        }
        if series.samples.len() > SAMPLES {
            series.samples.pop_front();
        }
    }

    pub(crate) fn all(&self) -> BTreeMap<&'static str, Series> {
        self.events.lock().clone()
    }

    /// Forgets events; how many were known.
    pub(crate) fn reset(&self, names: &[&[u8]]) -> usize {
        let mut events = self.events.lock();
        let before = events.len();
        events.retain(|name, _| !names.is_empty() && !names.contains(&name.as_bytes()));
        before - events.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_passes_the_threshold_is_kept() {
        let latency = Latency::default();
        let ms = Duration::from_millis;
        latency.note("off", ms(500), 0);
        latency.note("command", ms(9), 10);
        assert!(latency.all().is_empty());
        latency.note("command", ms(10), 10);
        latency.note("command", ms(30), 10);
        latency.note("fork", ms(20), 10);
        assert_eq!(latency.all()["command"].worst, 30);
        assert_eq!(latency.reset(&[b"nosuch"]), 0);
        assert_eq!(latency.reset(&[b"fork"]), 1);
        assert_eq!(latency.reset(&[]), 1);
    }
}
