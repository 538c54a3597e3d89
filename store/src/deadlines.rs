//! When keys of a shard may have expired.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What is due for a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Due {
    /// A deadline has passed: whoever listens is told if the key is gone.
    Told,
    /// The grace after a deadline is over: memory is taken back.
    Reclaimed,
}

/// What of a key is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// The key: its own deadline has passed.
    Key,
    /// Some fields of a hash, of which others are there.
    Fields,
    /// The last fields of a hash, and the key with them.
    LastFields,
}

/// A time in milliseconds, the hash of a key, and what is due for it then.
type Entry = (u64, u64, Due);

/// Entries in no order but that the first is at the top: 24 bytes each, without the keys. For each key
/// with a deadline there is one that is not later than it; more than one after deadlines that came
/// and went, until [`Deadlines::push`] has dropped them.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    heap: BinaryHeap<Reverse<Entry>>,
    /// How many entries were left by the last look for superfluous ones.
    kept: usize,
}

/// Superfluous entries are looked for once there are twice the entries that were left the last time, and
/// this many more.
const SLACK: usize = 1_024;

impl Deadlines {
    pub(crate) fn push(&mut self, at: u64, hash: u64, due: Due) {
        self.heap.push(Reverse((at, hash, due)));
        if self.heap.len() > 2 * self.kept + SLACK {
            // Of each key the first is enough: what is due later is asked again then.
            let mut all = std::mem::take(&mut self.heap).into_vec();
            all.sort_unstable_by_key(|Reverse((at, hash, due))| (*hash, *due, *at));
            all.dedup_by_key(|Reverse((_, hash, due))| (*hash, *due));
            self.kept = all.len();
            self.heap = BinaryHeap::from(all);
        }
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// The first time at which something is due.
    pub(crate) fn first(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    /// Takes what is due at `now`; what stands in it several times, once.
    pub(crate) fn take(&mut self, now: u64) -> Option<Entry> {
        let Reverse(first) = *self.heap.peek().filter(|Reverse((at, ..))| *at <= now)?;
        while self.heap.peek().is_some_and(|Reverse(next)| *next == first) {
            self.heap.pop();
        }
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_in_order_and_once() {
        let mut deadlines = Deadlines::default();
        for at in [30, 10, 20, 10] {
            deadlines.push(at, 7, Due::Told);
        }
        assert_eq!(deadlines.first(), Some(10));
        assert_eq!(deadlines.take(9), None);
        let taken: Vec<u64> =
            std::iter::from_fn(|| deadlines.take(25)).map(|(at, ..)| at).collect();
        assert_eq!(taken, [10, 20]);
        assert_eq!(deadlines.first(), Some(30));
    }

    #[test]
    fn a_key_whose_deadline_comes_and_goes_keeps_few_entries() {
        let mut deadlines = Deadlines::default();
        for at in (1..100_000).rev() {
            deadlines.push(at, at % 3, Due::Told);
        }
        assert!(deadlines.heap.len() < 3 * SLACK, "{}", deadlines.heap.len());
        let first: Vec<u64> = std::iter::from_fn(|| deadlines.take(3)).map(|(at, ..)| at).collect();
        assert_eq!(first, [1, 2, 3]);
    }
}
