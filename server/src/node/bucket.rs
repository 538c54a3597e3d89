//! A token bucket: it has room for some at once, and for some more every second.

use std::time::Instant;

/// The room for what may happen now.
#[derive(Debug)]
pub(super) struct Bucket {
    room: f64,
    since: Instant,
}

impl Bucket {
    /// A bucket with room for `room`.
    pub(super) fn new(room: f64, now: Instant) -> Bucket {
        Bucket { room, since: now }
    }

    /// Takes the room of one; false if there is none. Room for `per_second` comes every second, and there is never room
    /// for more than `most`.
    pub(super) fn take(&mut self, now: Instant, per_second: f64, most: f64) -> bool {
        let passed = now.saturating_duration_since(self.since).as_secs_f64();
        self.since = now;
        self.room = (self.room + passed * per_second).min(most);
        let fits = self.room >= 1.0;
        if fits {
            self.room -= 1.0;
        }
        fits
    }
}
