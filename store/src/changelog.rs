//! The change log: which values have changed, each once, in the order of their last changes, as far back
//! as memory that is set aside for it reaches.
//!
//! It is kept only while somebody follows a function, and says nothing of what a value was or is: a reader
//! looks that up. Losing it is never wrong: a reader older than its start goes by events, over the state
//! (see [`Function::changes`](crate::Function::changes)).

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

/// How many bytes of keys a log keeps.
const LIMIT: usize = 4 << 20;

/// What each key costs beside its bytes.
const OVERHEAD: usize = 128;

/// Which values have changed.
#[derive(Debug)]
pub(crate) struct ChangeLog {
    /// A number that no other log has: positions of one mean nothing in another.
    epoch: u64,
    /// By position: the pending key of a value that changed last there.
    keys: BTreeMap<u64, Arc<[u8]>>,
    positions: HashMap<Arc<[u8]>, u64>,
    /// The last position.
    last: u64,
    /// The log has all changes after this position.
    start: u64,
    bytes: usize,
}

impl ChangeLog {
    /// An empty log.
    pub(crate) fn new(epoch: u64) -> ChangeLog {
        ChangeLog {
            epoch,
            keys: BTreeMap::new(),
            positions: HashMap::new(),
            last: 0,
            start: 0,
            bytes: 0,
        }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Whether all changes after `position` are here.
    pub(crate) fn reaches(&self, position: u64) -> bool {
        (self.start..=self.last).contains(&position)
    }

    /// Notes a change of the value with this pending key, and forgets the oldest beyond the limit.
    pub(crate) fn note(&mut self, key: &[u8]) {
        self.last += 1;
        if let Some((key, position)) = self.positions.get_key_value(key) {
            let key = Arc::clone(key);
            self.keys.remove(position);
            self.keys.insert(self.last, Arc::clone(&key));
            self.positions.insert(key, self.last);
            return;
        }
        let key: Arc<[u8]> = Arc::from(key);
        self.bytes += key.len() + OVERHEAD;
        self.keys.insert(self.last, Arc::clone(&key));
        self.positions.insert(key, self.last);
        while self.bytes > LIMIT {
            let Some((position, oldest)) = self.keys.pop_first() else { return };
            self.positions.remove(&oldest);
            self.bytes -= oldest.len() + OVERHEAD;
            self.start = position;
        }
    }

    /// Says that something has changed of which the log does not know what.
    pub(crate) fn lose(&mut self) {
        self.last += 1;
        self.start = self.last;
        self.keys.clear();
        self.positions.clear();
        self.bytes = 0;
    }

    /// The keys after `position`, with their positions.
    pub(crate) fn after(&self, position: u64) -> impl Iterator<Item = (u64, &[u8])> {
        let range = (Bound::Excluded(position), Bound::Unbounded);
        self.keys.range(range).map(|(position, key)| (*position, &**key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(log: &ChangeLog, position: u64) -> Vec<(u64, &[u8])> {
        log.after(position).collect()
    }

    #[test]
    fn a_key_stands_where_it_changed_last() {
        let mut log = ChangeLog::new(1);
        for key in [b"a", b"b", b"a"] {
            log.note(key);
        }
        assert_eq!(after(&log, 0), [(2, &b"b"[..]), (3, b"a")]);
        assert_eq!(after(&log, 2), [(3, &b"a"[..])]);
        assert!(log.reaches(0) && log.reaches(3) && !log.reaches(4));
    }

    #[test]
    fn it_is_bounded_and_says_how_far_it_reaches() {
        let mut log = ChangeLog::new(1);
        let keys = LIMIT / OVERHEAD;
        for n in 0..2 * keys as u64 {
            log.note(&n.to_be_bytes());
        }
        assert!(log.bytes <= LIMIT && log.keys.len() < keys);
        let (first, _) = log.after(0).next().expect("the newest are kept");
        assert!(log.reaches(first - 1) && !log.reaches(first - 2));
        log.lose();
        assert!(!log.reaches(first) && log.reaches(log.last()));
        assert!(after(&log, 0).is_empty());
    }
}
