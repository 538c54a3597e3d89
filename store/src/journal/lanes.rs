//! What threads have added to the journal and what is not gathered yet, a lane for each thread. So
//! threads that write at the same time do not wait for each other, and what is gathered becomes one
//! record, with one head and one checksum.
//!
//! A lane is locked for no longer than it takes to copy what is added; its own thread is nearly always
//! the only one that does. A thread that gathers takes all lanes at once, and puts what it finds in the
//! order that was given with it: so the log is what was added up to one moment, in that order, as if
//! there were one lane.

use std::collections::HashMap;
use std::mem;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

/// A record of this length, head and all, is not added to: so that a reader finds most of them in its window,
/// and damage to one of them costs no more than that.
const RECORD_FULL: usize = 8 << 10;
/// Room that a lane keeps.
const KEPT: usize = 64 << 10;
/// A lane that has grown to this is emptied by the thread that has filled it.
const LANE_FULL: usize = 1 << 20;

/// Shared by all threads.
#[derive(Debug)]
pub(super) struct Lanes(Box<[Lane]>);

/// Apart from each other, so that no two of them share a cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Lane(Mutex<Added>);

/// What is in a lane.
#[derive(Debug, Default)]
struct Added {
    /// Heads and what was added, in any order.
    bytes: Vec<u8>,
    /// Kinds, and the heads of their records in `bytes`; not the same twice in a row.
    heads: Vec<(u8, Range<usize>)>,
    adds: Vec<Add>,
}

/// What was added at once.
#[derive(Debug)]
struct Add {
    order: u64,
    /// In `bytes`.
    what: Range<usize>,
    /// In `heads`.
    head: usize,
}

/// Buffers of a gathering, kept for the next.
#[derive(Debug)]
pub(super) struct Room {
    taken: Vec<Added>,
    places: Vec<Place>,
    payload: Vec<u8>,
}

/// Where something is that was added.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The same number for the same kind and head.
    head: usize,
    order: u64,
    lane: usize,
    /// Among the lane's.
    add: usize,
}

/// The lane of this thread, modulo how many there are.
fn mine() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static MINE: usize = NEXT.fetch_add(1, Ordering::Relaxed));
    MINE.with(|mine| *mine)
}

impl Lanes {
    /// Lanes for the threads of this many processors.
    pub(super) fn new(processors: usize) -> Lanes {
        Lanes((0..processors.next_power_of_two().clamp(4, 64)).map(|_| Lane::default()).collect())
    }

    pub(super) fn room(&self) -> Room {
        let taken = self.0.iter().map(|_| Added::default()).collect();
        Room { taken, places: Vec::new(), payload: Vec::new() }
    }

    /// Adds `more` to a record of this kind and with this head, after what was added to such a one
    /// with a smaller `order`. A thread's own come in order. Answers whether it is time to gather.
    #[inline]
    pub(super) fn add(&self, kind: u8, head: &[u8], order: u64, more: &[u8]) -> bool {
        let mut added = self.0[mine() & (self.0.len() - 1)].0.lock();
        let Added { bytes, heads, adds } = &mut *added;
        if heads.last().is_none_or(|(last, at)| *last != kind || bytes[at.clone()] != *head) {
            let start = bytes.len();
            bytes.extend_from_slice(head);
            heads.push((kind, start..bytes.len()));
        }
        let start = bytes.len();
        bytes.extend_from_slice(more);
        adds.push(Add { order, what: start..bytes.len(), head: heads.len() - 1 });
        bytes.len() >= LANE_FULL
    }

    /// Hands on all that has been added, as records: kind, payload, and how many adds it holds.
    pub(super) fn gather(&self, room: &mut Room, mut record: impl FnMut(u8, &[u8], u64)) {
        let Room { taken, places, payload } = room;
        let mut lanes: SmallVec<[MutexGuard<'_, Added>; 8]> =
            self.0.iter().map(|lane| lane.0.lock()).collect();
        let full = lanes.iter_mut().zip(&mut *taken).filter(|(lane, _)| !lane.adds.is_empty());
        full.for_each(|(lane, taken)| mem::swap(&mut **lane, taken));
        drop(lanes);
        place(taken, places);
        let mut next = 0;
        while let Some(first) = places.get(next) {
            let (kind, head) = taken[first.lane].head(first.add);
            payload.clear();
            payload.extend_from_slice(head);
            let begin = next;
            // The first goes in whatever the length of the head, so that each round takes something.
            while let Some(place) = places.get(next)
                && place.head == first.head
                && (next == begin || payload.len() < RECORD_FULL)
            {
                let lane = &taken[place.lane];
                payload.extend_from_slice(&lane.bytes[lane.adds[place.add].what.clone()]);
                next += 1;
            }
            record(kind, payload, (next - begin) as u64);
        }
        payload.clear();
        payload.shrink_to(KEPT);
        places.clear();
        places.shrink_to(KEPT / size_of::<Place>());
        taken.iter_mut().filter(|added| !added.adds.is_empty()).for_each(Added::clear);
    }
}

impl Added {
    fn head(&self, add: usize) -> (u8, &[u8]) {
        let (kind, at) = &self.heads[self.adds[add].head];
        (*kind, &self.bytes[at.clone()])
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
        self.heads.clear();
        self.heads.shrink_to(KEPT / size_of::<(u8, Range<usize>)>());
        self.adds.clear();
        self.adds.shrink_to(KEPT / size_of::<Add>());
    }
}

/// Puts in order what was taken of all lanes.
fn place(taken: &[Added], places: &mut Vec<Place>) {
    let mut numbers = HashMap::new();
    let heads = |added: &Added| added.heads.len();
    // Nearly always there is one function, and its head need not be looked up again and again.
    let one = taken.iter().map(heads).sum::<usize>() == 1;
    for (lane, added) in taken.iter().enumerate() {
        let mut number = |at: &(u8, Range<usize>)| {
            let next = numbers.len();
            if one { 0 } else { *numbers.entry((at.0, &added.bytes[at.1.clone()])).or_insert(next) }
        };
        let heads: SmallVec<[usize; 8]> = added.heads.iter().map(&mut number).collect();
        let all = added.adds.iter().enumerate();
        places.extend(all.map(|(add, Add { order, head, .. })| Place {
            head: heads[*head],
            order: *order,
            lane,
            add,
        }));
    }
    // Each lane's are in order, which this finds out and merges.
    places.sort_by_key(|place| (place.head, place.order));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(lanes: &Lanes) -> Vec<(u8, Vec<u8>, u64)> {
        let mut all = Vec::new();
        lanes.gather(&mut lanes.room(), |kind, payload, adds| {
            all.push((kind, payload.to_vec(), adds));
        });
        all
    }

    fn elsewhere(lanes: &Lanes, adds: &[(&[u8], u64, &[u8])]) {
        std::thread::scope(|scope| {
            scope
                .spawn(|| adds.iter().for_each(|(head, n, what)| _ = lanes.add(3, head, *n, what)));
        });
    }

    #[test]
    fn what_threads_add_is_gathered_in_order() {
        let lanes = Lanes::new(2);
        elsewhere(&lanes, &[(b"f:", 1, b"a"), (b"g:", 7, b"x"), (b"f:", 4, b"d")]);
        elsewhere(&lanes, &[(b"g:", 5, b"w"), (b"f:", 2, b"b"), (b"f:", 3, b"c")]);
        let (f, g) = ((3, b"f:abcd".to_vec(), 4), (3, b"g:wx".to_vec(), 2));
        assert_eq!(gathered(&lanes), [f, g]);
        assert!(gathered(&lanes).is_empty());
        lanes.add(3, b"f:", 5, b"e");
        lanes.add(4, b"f:", 6, b"other kind");
        assert_eq!(gathered(&lanes), [(3, b"f:e".to_vec(), 1), (4, b"f:other kind".to_vec(), 1)]);
    }

    #[test]
    fn what_is_added_at_once_is_in_one_record() {
        let lanes = Lanes::new(2);
        let long = vec![7; RECORD_FULL - 1];
        for n in 0..3 {
            assert!(!lanes.add(3, b"f", n, &long));
        }
        let lengths: Vec<_> = gathered(&lanes).iter().map(|(_, all, n)| (all.len(), *n)).collect();
        assert_eq!(lengths, [(RECORD_FULL, 1); 3]);
        assert!(lanes.add(3, b"f", 9, &vec![0; LANE_FULL]), "it is time");
        assert_eq!(gathered(&lanes)[0].1.len(), LANE_FULL + 1);
    }

    /// A function may have a name as long as that, so each of its records is longer than a full one.
    #[test]
    fn a_head_longer_than_a_record_is_gathered_all_the_same() {
        let lanes = Lanes::new(2);
        let head = vec![7; RECORD_FULL + 10];
        for n in 0..3 {
            assert!(!lanes.add(3, &head, n, b"what"));
        }
        let lengths: Vec<_> = gathered(&lanes).iter().map(|(_, all, n)| (all.len(), *n)).collect();
        assert_eq!(lengths, [(head.len() + 4, 1); 3]);
        assert!(gathered(&lanes).is_empty());
    }
}
