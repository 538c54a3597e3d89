//! ACL LOG: what users were refused.

use std::collections::VecDeque;

use miso_protocol::names;
use parking_lot::Mutex;

use crate::clock::unix_micros;

/// How long equal refusals are counted in one line, in microseconds.
const SAME: u64 = 60_000_000;

/// The most bytes of a key, a channel or a command that a line keeps.
const OBJECT_MAX: usize = 1024;

/// One line of ACL LOG.
#[derive(Clone, Debug)]
pub(crate) struct LogEntry {
    pub(crate) count: u64,
    pub(crate) reason: &'static str,
    pub(crate) context: &'static str,
    pub(crate) object: String,
    pub(crate) username: String,
    pub(crate) client: String,
    pub(crate) at_micros: u64,
    /// The function that the refused user is bound to.
    pub(crate) bound: Option<Box<[u8]>>,
}

impl LogEntry {
    /// A refusal of now.
    pub(crate) fn now(
        reason: &'static str,
        context: &'static str,
        object: String,
        username: &[u8],
        client: String,
    ) -> LogEntry {
        LogEntry {
            count: 1,
            reason,
            context,
            object: bounded(object),
            username: names::escape(username).into_owned(),
            client,
            at_micros: unix_micros(),
            bound: None,
        }
    }

    /// The same, of a user that is bound to this function.
    pub(crate) fn of(self, bound: Option<Box<[u8]>>) -> LogEntry {
        LogEntry { bound, ..self }
    }

    /// Whether a user that is bound to `function` may know of it; one that is not may know of all.
    fn is_for(&self, function: Option<&[u8]>) -> bool {
        function.is_none_or(|function| self.bound.as_deref() == Some(function))
    }
}

/// A text cut to [`OBJECT_MAX`] bytes: the client that is refused chooses it.
fn bounded(mut text: String) -> String {
    if text.len() > OBJECT_MAX {
        let cut = (0..=OBJECT_MAX).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(cut.unwrap_or(0));
        text.push_str("..");
        text.shrink_to_fit();
    }
    text
}

/// The latest refusals, the newest first.
#[derive(Debug, Default)]
pub(crate) struct Log(Mutex<VecDeque<LogEntry>>);

impl Log {
    /// Adds a refusal, and keeps `max` lines at most. The same again within a minute counts up.
    pub(crate) fn add(&self, entry: LogEntry, max: usize) {
        let mut log = self.0.lock();
        let same = |known: &&mut LogEntry| {
            known.reason == entry.reason
                && known.context == entry.context
                && known.object == entry.object
                && known.username == entry.username
                && known.bound == entry.bound
                && entry.at_micros.saturating_sub(known.at_micros) < SAME
        };
        match log.iter_mut().find(same) {
            Some(known) => {
                known.count += 1;
                known.at_micros = entry.at_micros;
            }
            None => log.push_front(entry),
        }
        log.truncate(max);
    }

    /// The latest `count` lines that a user bound to `function` may see.
    pub(crate) fn latest(&self, count: usize, function: Option<&[u8]>) -> Vec<LogEntry> {
        let log = self.0.lock();
        log.iter().filter(|entry| entry.is_for(function)).take(count).cloned().collect()
    }

    /// Forgets all that a user bound to `function` may see.
    pub(crate) fn reset(&self, function: Option<&[u8]>) {
        self.0.lock().retain(|entry| !entry.is_for(function));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(object: &str, at_micros: u64) -> LogEntry {
        let entry = LogEntry::now("key", "toplevel", object.into(), b"u", "id=1".into());
        LogEntry { at_micros, ..entry }
    }

    /// A user of few rights must not fill the memory with what it was refused.
    #[test]
    fn a_line_keeps_little_of_a_long_name() {
        let log = Log::default();
        let long = "\u{fc}".repeat(1 << 20);
        log.add(LogEntry::now("key", "toplevel", long, &[b'x'; 1 << 20], "id=1".into()), 2);
        let line = &log.latest(1, None)[0];
        assert!(line.object.len() <= OBJECT_MAX + 2 && line.object.ends_with("\u{fc}.."));
        assert!(line.username.len() < 300);
    }

    #[test]
    fn the_same_again_within_a_minute_counts_up() {
        let log = Log::default();
        log.add(refused("a", 0), 2);
        log.add(refused("a", SAME - 1), 2);
        assert_eq!(log.latest(9, None)[0].count, 2);
        log.add(refused("a", 3 * SAME), 2);
        log.add(refused("b", 3 * SAME), 2);
        let shown: Vec<_> = log.latest(9, None).into_iter().map(|e| (e.object, e.count)).collect();
        assert_eq!(shown, [("b".to_owned(), 1), ("a".to_owned(), 1)]);
        // A user that is bound to a function sees and forgets its own.
        log.add(refused("c", 0).of(Some(Box::from(*b"f"))), 9);
        log.add(refused("d", 0).of(Some(Box::from(*b"g"))), 9);
        let seen = log.latest(9, Some(b"f"));
        assert_eq!((seen.len(), seen[0].object.as_str()), (1, "c"));
        log.reset(Some(b"f"));
        assert_eq!((log.latest(9, Some(b"f")).len(), log.latest(9, None).len()), (0, 3));
        log.reset(None);
        assert!(log.latest(9, None).is_empty());
    }
}
