//! Records in the making, a lane for each thread: so that threads that write at the same time do not
//! wait for each other, and what one of them does in a row becomes one record, with one head and one
//! checksum.
//!
//! A lane is locked for no longer than it takes to copy what is added; its own thread is nearly always
//! the only one that does.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use parking_lot::Mutex;

/// A record that has this length is not added to: so that a reader finds most of them in its window,
/// and damage to one of them costs no more than that.
const RECORD_FULL: usize = 8 << 10;
/// Room that a lane keeps.
const KEPT: usize = 64 << 10;
/// A lane that has grown to this is emptied by who has filled it.
const LANE_FULL: usize = 1 << 20;

/// Shared by all threads.
#[derive(Debug)]
pub(super) struct Lanes(Box<[Lane]>);

/// Apart from each other, so that no two of them share a cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Lane(Mutex<Making>);

#[derive(Debug, Default)]
struct Making {
    /// The payloads, one behind the other.
    bytes: Vec<u8>,
    /// Of each payload; the last may still be added to.
    records: Vec<Payload>,
}

#[derive(Clone, Copy, Debug)]
struct Payload {
    kind: u8,
    /// How long the head is.
    head: usize,
    /// How often something was added.
    adds: u64,
    /// Where it ends.
    end: usize,
}

/// The lane of this thread, modulo how many there are.
fn mine() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static MINE: usize = NEXT.fetch_add(1, Ordering::Relaxed));
    MINE.with(|mine| *mine)
}

impl Lanes {
    pub(super) fn new() -> Lanes {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        Lanes((0..threads.next_power_of_two().clamp(4, 64)).map(|_| Lane::default()).collect())
    }

    fn own(&self) -> &Lane {
        &self.0[mine() & (self.0.len() - 1)]
    }

    /// Adds to the record of this thread, if that is of this kind and has this head; else begins
    /// another. Answers whether it is time to [`Lanes::empty_own`].
    #[inline]
    pub(super) fn add(&self, kind: u8, head: &[u8], more: &[u8]) -> bool {
        let mut making = self.own().0.lock();
        let Making { bytes, records } = &mut *making;
        let last = match records.as_mut_slice() {
            [] => None,
            [last] => Some((0, last)),
            [.., before, last] => Some((before.end, last)),
        };
        match last {
            Some((start, last))
                if last.kind == kind
                    && last.head == head.len()
                    && last.end - start < RECORD_FULL
                    && bytes[start..start + last.head] == *head =>
            {
                bytes.extend_from_slice(more);
                last.end = bytes.len();
                last.adds += 1;
            }
            _ => {
                bytes.extend_from_slice(head);
                bytes.extend_from_slice(more);
                records.push(Payload { kind, head: head.len(), adds: 1, end: bytes.len() });
            }
        }
        bytes.len() >= LANE_FULL
    }

    /// Hands on what this thread has made: kinds, payloads, and how often something was added.
    pub(super) fn empty_own(&self, record: impl FnMut(u8, &[u8], u64)) {
        self.own().empty(record);
    }

    /// Hands on what all threads have made.
    pub(super) fn empty_all(&self, mut record: impl FnMut(u8, &[u8], u64)) {
        self.0.iter().for_each(|lane| lane.empty(&mut record));
    }
}

impl Lane {
    fn empty(&self, mut record: impl FnMut(u8, &[u8], u64)) {
        let mut making = self.0.lock();
        let Making { bytes, records } = &mut *making;
        let mut start = 0;
        for payload in records.drain(..) {
            record(payload.kind, &bytes[start..payload.end], payload.adds);
            start = payload.end;
        }
        bytes.clear();
        bytes.shrink_to(KEPT);
    }
}
