//! The time of day.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Microseconds since 1970.
pub(crate) fn unix_micros() -> u64 {
    let now = since_1970();
    now.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(now.subsec_micros()))
}

/// Milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    let now = since_1970();
    now.as_secs().saturating_mul(1_000).saturating_add(u64::from(now.subsec_millis()))
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
