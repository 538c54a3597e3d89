//! What the local writer does, on its way into a record.

use std::mem;

use miso_crdt::{Delta, Encoder, Entry, Type, Writers};

use super::records::{WRITES, bytes, varint};
use crate::journal::Journal;

/// What the local writer does under a shard's lock, until that is let go of, as the record will say it.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    record: Vec<u8>,
    /// An event of it. A thread that changes something that another has changed has a greater one, since
    /// both hold its lock when they mint it. So the journal's order is that of the changes.
    event: u64,
    /// Room for a change, kept.
    encoder: Encoder,
}

impl Writes {
    /// Room that is kept for the next record.
    const KEPT: usize = 4 << 10;
    /// A record is not made longer: its length has 32 bits. What a command may bring is limited far below
    /// (`client-query-buffer-limit`), so it takes an object of tens of millions of names to get here.
    const LONGEST: usize = 2 << 30;

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.record.is_empty()
    }

    /// Notes an update.
    pub(crate) fn push(
        &mut self,
        to: (&Journal, &[u8]),
        events: &[u64],
        key: (&[u8], &[u8]),
        delta: &Delta,
        writers: &Writers,
    ) {
        if let (Delta::GSet(set) | Delta::OrSet(set), [event]) = (delta, events)
            && let Some((element, dot)) = set.as_addition()
            && dot.seq() == *event
        {
            bytes(element, self.short(to, delta.kind(), *event, key));
            return;
        }
        let event = events.first().copied().expect("with a journal, each update has an event");
        let out = self.room(to, event);
        varint(events.len() as u64, out);
        events.iter().for_each(|seq| varint(*seq, out));
        bytes(key.0, out);
        bytes(key.1, out);
        delta.encode_with(&mut self.encoder, writers, &mut self.record);
    }

    /// Notes an update of a counter, of which the local writer's entry says all; none if the update
    /// has left it none.
    #[inline]
    pub(crate) fn count(
        &mut self,
        to: (&Journal, &[u8]),
        events: &[u64],
        key: (&[u8], &[u8]),
        (kind, entry): (Type, Option<Entry>),
        writers: &Writers,
    ) {
        let short = |entry: &Entry| entry.floor.is_none() && events == [entry.dot.seq()];
        let Some(Entry { dot, birth, p, n, .. }) = entry.filter(short) else {
            let mut delta = Delta::empty(kind);
            if let (Delta::GCounter(delta) | Delta::PnCounter(delta), Some(entry)) =
                (&mut delta, entry)
            {
                delta.note(entry);
            }
            return self.push(to, events, key, &delta, writers);
        };
        let out = self.short(to, kind, dot.seq(), key);
        varint(dot.seq() - birth, out);
        varint(p, out);
        varint(n, out);
    }

    /// Begins a write that is told in short.
    #[inline]
    fn short(
        &mut self,
        to: (&Journal, &[u8]),
        kind: Type,
        event: u64,
        (object, name): (&[u8], &[u8]),
    ) -> &mut Vec<u8> {
        let out = self.room(to, event);
        out.extend_from_slice(&[0, kind as u8]);
        varint(event, out);
        bytes(object, out);
        bytes(name, out);
        out
    }

    #[inline]
    fn room(&mut self, (journal, head): (&Journal, &[u8]), event: u64) -> &mut Vec<u8> {
        if self.record.len() > Writes::LONGEST {
            self.journal(journal, head);
        }
        if self.record.is_empty() {
            self.event = event;
        }
        &mut self.record
    }

    /// Takes what `other` has noted of the same function, unless that is too long for one record.
    pub(crate) fn take(&mut self, other: &mut Writes) {
        if self.record.is_empty() {
            mem::swap(&mut self.record, &mut other.record);
            self.event = other.event;
        } else if self.record.len() + other.record.len() <= Writes::LONGEST {
            self.record.extend_from_slice(&other.record);
            other.empty();
        }
    }

    /// Adds to the journal what is noted.
    #[inline]
    pub(crate) fn journal(&mut self, journal: &Journal, head: &[u8]) {
        journal.add(WRITES, head, self.event, &self.record);
        self.empty();
    }

    fn empty(&mut self) {
        self.record.clear();
        self.record.shrink_to(Writes::KEPT);
    }
}
