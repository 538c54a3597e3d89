//! What is kept of writes that run once beside their ids: limits, a number, and what is to be looked at.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use crate::joining::Vector;

/// How often in a window it is noted what is known.
const NOTES: u32 = 4;

/// How long ids are kept at least, in milliseconds: where a function has no value of its own, and by function.
type Windows = (u64, BTreeMap<Box<[u8]>, u64>);

/// The limits of all functions.
#[derive(Debug)]
pub(crate) struct OnceLimits {
    windows_ms: RwLock<Windows>,
    max: AtomicUsize,
    /// Whether any function has had an id.
    pub(crate) used: AtomicBool,
}

impl Default for OnceLimits {
    fn default() -> OnceLimits {
        OnceLimits {
            windows_ms: RwLock::new((15 * 60 * 1_000, BTreeMap::new())),
            max: AtomicUsize::new(1_000_000),
            used: AtomicBool::new(false),
        }
    }
}

impl OnceLimits {
    pub(crate) fn set(&self, windows_ms: Windows, max: usize) {
        *self.windows_ms.write() = windows_ms;
        self.max.store(max, Ordering::Relaxed);
    }

    pub(crate) fn window_ms(&self, function: &[u8]) -> u64 {
        let windows = self.windows_ms.read();
        windows.1.get(function).copied().unwrap_or(windows.0)
    }

    pub(crate) fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }
}

/// What a function keeps.
#[derive(Debug, Default)]
pub(crate) struct OnceState {
    /// How many ids there are.
    pub(crate) count: AtomicUsize,
    /// Ids of which peers have told other claims, and ids of which a claim of this node lost.
    pub(crate) watched: Mutex<BTreeSet<Box<[u8]>>>,
    /// Whether ids have come by other ways than a command here.
    pub(crate) joined: AtomicBool,
    /// The next bucket that is looked through for ids to forget.
    pub(crate) next: AtomicUsize,
    /// What was known of the function at moments of the last window, the oldest first.
    known: Mutex<VecDeque<(Duration, Vector)>>,
}

impl OnceState {
    /// Notes that a peer, or the journal, has told of ids. `disputed` are those of them that have several claims, or one
    /// that lost: all others need not be looked at.
    pub(crate) fn joined(&self, disputed: &[&[u8]]) {
        if !disputed.is_empty() {
            self.watched.lock().extend(disputed.iter().map(|id| Box::from(*id)));
        }
        self.joined.store(true, Ordering::Release);
    }

    /// What has been known for `window` or longer; `vector` tells what is known `now`. An id is as old as this
    /// node has seen it to be, by a clock that is never set. The times in claims are those of other clocks, or of
    /// one that may have been set since: by them a window may be over as soon as it begins.
    pub(super) fn aged(
        &self,
        now: Duration,
        window: Duration,
        vector: impl FnOnce() -> Vector,
    ) -> Option<Vector> {
        let mut known = self.known.lock();
        if known.back().is_none_or(|(at, _)| *at + window / NOTES <= now) {
            known.push_back((now, vector()));
        }
        let is_old = |(at, _): &(Duration, Vector)| *at + window <= now;
        while known.get(1).is_some_and(is_old) {
            known.pop_front();
        }
        known.front().filter(|note| is_old(note)).map(|(_, vector)| vector.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_ages_by_the_window_and_notes_stay_few() {
        let (state, second) = (OnceState::default(), Duration::from_secs(1));
        let window = 10 * second;
        for now in 0..100 {
            let vector = || vec![(miso_crdt::ReplicaId(7), u64::from(now) + 1)];
            let aged = state.aged(now * second, window, vector);
            let seq = aged.and_then(|vector| vector.first().map(|(_, seq)| *seq - 1));
            match seq {
                None => assert!(now < 10, "at {now}"),
                Some(seq) => {
                    let age = u64::from(now) - seq;
                    assert!((10..=13).contains(&age), "at {now}: {age}");
                }
            }
            assert!(state.known.lock().len() <= NOTES as usize + 2);
        }
        // A longer window: what was old enough is not any more.
        assert_eq!(state.aged(100 * second, 50 * second, Vector::new), None);
    }
}
