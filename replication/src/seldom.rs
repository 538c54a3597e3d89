//! Lines of the log that peers can cause: each at most once a minute, and not too many different ones.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::Time;

/// The same line is logged at most this often.
const EVERY: Duration = Duration::from_secs(60);
/// How many different ones are told apart.
const MOST: usize = 64;

/// What was logged lately.
#[derive(Debug, Default)]
pub(crate) struct Seldom(BTreeMap<String, Time>);

impl Seldom {
    /// Whether a line of this key is to be logged now.
    pub(crate) fn take(&mut self, now: Time, key: &str) -> bool {
        if self.0.get(key).is_some_and(|last| now.since(*last) < EVERY) {
            return false;
        }
        if self.0.len() >= MOST {
            self.0.retain(|_, last| now.since(*last) < EVERY);
        }
        let room = self.0.len() < MOST;
        if room {
            self.0.insert(key.to_owned(), now);
        }
        room
    }
}
