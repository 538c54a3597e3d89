//! The removal log: what went, in the order in which this node heard of it, as far back as memory
//! that is set aside for it reaches.
//!
//! What is present can be found by walking the objects; nothing is left of what has gone, so a peer
//! that was away is told from here. Losing the log is never wrong: a peer older than its start
//! compares digests instead.

use std::collections::VecDeque;

use bytes::Bytes;
use miso_crdt::{Context, Writer};

/// What the events of one batch took away.
#[derive(Clone, Debug)]
pub(crate) struct Removals {
    pub(crate) origin: Writer,
    /// The last event of the batch.
    pub(crate) last: u64,
    /// As [`miso_crdt::batch`] says.
    pub(crate) message: Bytes,
}

/// What each entry costs beside its message.
const OVERHEAD: usize = size_of::<Removals>() + 32;

#[derive(Debug, Default)]
pub(crate) struct RemovalLog {
    entries: VecDeque<Removals>,
    bytes: usize,
    /// The log has all removals after this, and perhaps not all before.
    start: Context,
}

impl RemovalLog {
    /// Notes what went, and forgets the oldest beyond `limit` bytes.
    pub(crate) fn push(&mut self, removals: Removals, limit: usize) {
        self.bytes += removals.message.len() + OVERHEAD;
        self.entries.push_back(removals);
        while self.bytes > limit {
            let Some(oldest) = self.entries.pop_front() else { return };
            self.bytes -= oldest.message.len() + OVERHEAD;
            self.start.raise(oldest.origin, oldest.last);
        }
    }

    /// Whether what went since `known` is all here.
    pub(crate) fn reaches(&self, known: &Context) -> bool {
        self.start.vector().all(|(writer, seq)| known.upto(writer) >= seq)
    }

    /// Says that removals up to `seq` of `writer` are not here.
    pub(crate) fn lacks(&mut self, writer: Writer, seq: u64) {
        self.start.raise(writer, seq);
    }

    /// What went since `known`.
    pub(crate) fn since(&self, known: &Context) -> impl Iterator<Item = &Removals> {
        let new = |entry: &&Removals| known.upto(entry.origin) < entry.last;
        self.entries.iter().filter(new)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}
