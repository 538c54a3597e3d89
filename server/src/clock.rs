//! The time of day.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Microseconds since 1970.
pub(crate) fn unix_micros() -> u64 {
    let (seconds, nanos) = since_1970();
    seconds.saturating_mul(1_000_000).saturating_add(nanos / 1_000)
}

/// Milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    let (seconds, nanos) = since_1970();
    seconds.saturating_mul(1_000).saturating_add(nanos / 1_000_000)
}

/// Seconds since 1970, none before, and the nanoseconds of the one that has begun. Asked for by every update of a
/// register, at half the instructions of `SystemTime`.
fn since_1970() -> (u64, u64) {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Realtime);
    (u64::try_from(tv_sec).unwrap_or_default(), u64::try_from(tv_nsec).unwrap_or_default())
}
