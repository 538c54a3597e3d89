//! A bound on how often something happens: bursts up to a size, then a rate.
//! Source: the generic cell rate algorithm, ITU-T I.371.

use std::time::Duration;

use crate::Time;

/// A token bucket without a timer.
#[derive(Debug)]
pub(super) struct Bucket {
    /// One token comes back in this time.
    every: Duration,
    burst: u32,
    /// When the bucket is full again.
    full_at: Time,
}

impl Bucket {
    /// `burst` tokens at once, then one in each time `every`.
    pub(super) fn new(burst: u32, every: Duration) -> Self {
        Self { every, burst, full_at: Time::default() }
    }

    /// Takes a token, if there is one.
    pub(super) fn take(&mut self, now: Time) -> bool {
        if self.next(now) > now {
            return false;
        }
        self.full_at = self.full_at.max(now) + self.every;
        true
    }

    /// When there is a token: `now` or later.
    pub(super) fn next(&self, now: Time) -> Time {
        now.max(self.full_at - self.every * self.burst.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_a_rate() {
        let mut bucket = Bucket::new(5, Duration::from_millis(100));
        let start = Time(7_000_000_000);
        assert_eq!((0..20).filter(|_| bucket.take(start)).count(), 5);
        let next = bucket.next(start);
        assert_eq!(next.since(start), Duration::from_millis(100));
        assert!(bucket.take(next) && !bucket.take(next));
        let later = next + Duration::from_secs(10);
        assert_eq!((0..20).filter(|_| bucket.take(later)).count(), 5, "no more than a burst");
    }
}
