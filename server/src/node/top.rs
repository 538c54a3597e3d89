//! The objects that are written most, while somebody looks: a sample of the writes, in bounded memory.
//!
//! As in the space-saving algorithm (Metwally, Agrawal, El Abbadi, "Efficient Computation of Frequent and
//! Top-k Elements in Data Streams", 2005), a new object takes the place of the one with the least count,
//! and its count. Counts are halved every few seconds, so that the present counts more than the past.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// One of this many writes is noted.
const SAMPLE: u32 = 8;
/// How many objects are counted.
const KEPT: usize = 256;
/// A longer key is not counted.
const KEY: usize = 512;
/// After how many seconds counts are halved.
const HALF_LIFE: usize = 5;

/// A function and an object of it.
type Key = (Box<[u8]>, Box<[u8]>);

/// The objects that are written most.
#[derive(Debug, Default)]
pub(crate) struct Top {
    watchers: AtomicUsize,
    counts: Mutex<HashMap<Key, u64>>,
    seconds: AtomicUsize,
}

impl Top {
    /// Somebody looks from now on, or not any more.
    pub(crate) fn watch(&self, looks: bool) {
        if looks {
            self.watchers.fetch_add(1, Ordering::Relaxed);
        } else if self.watchers.fetch_sub(1, Ordering::Relaxed) == 1 {
            *self.counts.lock() = HashMap::new();
        }
    }

    /// Whether somebody looks.
    pub(crate) fn is_watched(&self) -> bool {
        self.watchers.load(Ordering::Relaxed) > 0
    }

    /// Notes a write of an object, sometimes.
    pub(crate) fn note(&self, function: &[u8], object: &[u8]) {
        if object.len() <= KEY && fastrand::u32(..SAMPLE) == 0 {
            count(&mut self.counts.lock(), function, object);
        }
    }

    /// Called once a second: what was counted long ago counts less.
    pub(crate) fn tick(&self) {
        if self.is_watched()
            && self.seconds.fetch_add(1, Ordering::Relaxed).is_multiple_of(HALF_LIFE)
        {
            self.counts.lock().retain(|_, count| {
                *count /= 2;
                *count > 0
            });
        }
    }

    /// The objects that are written most, and about how often of late.
    pub(crate) fn most(&self, most: usize) -> Vec<(Key, u64)> {
        let counts = self.counts.lock();
        let mut all: Vec<_> = counts.iter().map(|(key, count)| (key.clone(), *count)).collect();
        drop(counts);
        all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        all.truncate(most);
        all
    }
}

fn count(counts: &mut HashMap<Key, u64>, function: &[u8], object: &[u8]) {
    let key = (function.into(), object.into());
    if let Some(count) = counts.get_mut(&key) {
        *count += u64::from(SAMPLE);
        return;
    }
    let mut inherited = 0;
    if counts.len() >= KEPT {
        let least = counts.iter().min_by_key(|(_, count)| **count);
        if let Some((least, count)) = least.map(|(key, count)| (key.clone(), *count)) {
            counts.remove(&least);
            inherited = count;
        }
    }
    counts.insert(key, inherited + u64::from(SAMPLE));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_most_is_found_among_many_others() {
        let mut counts = HashMap::new();
        for n in 0..20_000u32 {
            count(&mut counts, b"f", b"hot");
            count(&mut counts, b"f", &n.to_be_bytes());
        }
        assert_eq!(counts.len(), KEPT);
        let top = Top { counts: Mutex::new(counts), ..Top::default() };
        let most = top.most(3);
        assert_eq!((most.len(), &*most[0].0.1), (3, &b"hot"[..]));
        assert!(most[0].1 >= 20_000 * u64::from(SAMPLE));
    }

    #[test]
    fn nothing_is_kept_when_nobody_looks() {
        let top = Top::default();
        assert!(!top.is_watched());
        top.watch(true);
        (0..200).for_each(|_| top.note(b"f", b"o"));
        assert_eq!(top.most(10).len(), 1);
        (0..100).for_each(|_| top.tick());
        assert!(top.most(10).is_empty(), "it was long ago");
        top.watch(false);
        assert!(!top.is_watched() && top.most(10).is_empty());
    }
}
