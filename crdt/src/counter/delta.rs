//! Changes of a counter: what goes over the wire and into the journal.

use alloc::vec::Vec;

use super::entry::Entry;
use crate::codec::{DecodeError, Decoder, Encode, Encoder};
use crate::context::{Context, Seen};
use crate::dot::{Dot, Writer};

/// A change of a counter: entries, absolute, and what its sender knows to be gone.
///
/// ```text
/// | entries: varint n, n x entry | cleared: 0, or 1 and a context |
/// entry | dot | birth | p | n | floor: 0, or 1 and at, p, n, dot |
/// ```
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct CounterDelta {
    /// In the writers' order, one each.
    pub(super) entries: Vec<Entry>,
    pub(super) cleared: Option<Context>,
}

impl CounterDelta {
    fn find(&self, writer: Writer) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&writer, |entry| entry.dot.writer())
    }

    pub(super) fn get(&self, writer: Writer) -> Option<&Entry> {
        self.find(writer).ok().map(|at| &self.entries[at])
    }

    /// Says nothing any more, and keeps its room.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.cleared = None;
    }

    /// Notes an entry.
    pub fn note(&mut self, entry: Entry) {
        match self.find(entry.dot.writer()) {
            Ok(at) => _ = self.entries[at].join(&entry),
            Err(at) => {
                if self.entries.is_empty() {
                    self.entries.reserve_exact(1); // most never get another
                }
                self.entries.insert(at, entry);
            }
        }
    }

    /// Restores the order, and joins entries of one writer.
    fn settle(&mut self) {
        self.entries.sort_by_key(|entry| entry.dot.writer());
        self.entries.dedup_by(|later, entry| {
            let same = later.dot.writer() == entry.dot.writer();
            if same {
                entry.join(later);
            }
            same
        });
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.cleared.is_none()
    }

    /// As [`Crdt::each_added`](crate::Crdt::each_added): entries that no delete has seen.
    pub(crate) fn each_added(&self, each: &mut impl FnMut(Dot)) {
        let added = self.entries.iter().filter(|entry| entry.floor.is_none());
        added.for_each(|entry| each(entry.dot));
    }

    pub(crate) fn removals(&self) -> CounterDelta {
        let floored = self.entries.iter().filter(|entry| entry.floor.is_some());
        CounterDelta { entries: floored.copied().collect(), cleared: self.cleared.clone() }
    }

    /// Joins another change of the same counter. An entry that one side has and the other knows
    /// to be gone is gone.
    pub(crate) fn join(&mut self, mine: &impl Seen, theirs: &impl Seen, other: &CounterDelta) {
        let stays =
            |entry: &&Entry| self.get(entry.dot.writer()).is_some() || !mine.seen(entry.dot);
        let come: Vec<Entry> = other.entries.iter().filter(stays).copied().collect();
        self.entries
            .retain(|entry| other.get(entry.dot.writer()).is_some() || !theirs.seen(entry.dot));
        self.entries.extend(come);
        self.settle();
    }

    /// Writes it without what it cleared, which a map says once for all its fields.
    pub(crate) fn encode_parts(&self, to: &mut Encoder) {
        to.count(self.entries.len());
        self.entries.iter().for_each(|entry| entry.encode(to));
    }

    pub(crate) fn decode_parts(from: &mut Decoder<'_>) -> Result<CounterDelta, DecodeError> {
        let count = from.count(6)?;
        let mut delta = CounterDelta { entries: Vec::new(), cleared: None };
        // What is claimed is not believed: room for many comes as they do.
        delta.entries.reserve_exact(count.min(1 << 10));
        for _ in 0..count {
            delta.entries.push(Entry::decode(from)?);
        }
        delta.settle();
        Ok(delta)
    }
}

impl Encode for CounterDelta {
    fn encode(&self, to: &mut Encoder) {
        self.encode_parts(to);
        self.cleared.encode(to);
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let parts = CounterDelta::decode_parts(from)?;
        Ok(CounterDelta { cleared: Option::decode(from)?, ..parts })
    }
}
