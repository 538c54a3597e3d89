//! Batches that wait: own ones for their acknowledgements, others' for the batches before them.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use miso_store::crdt::ReplicaId;

use crate::Time;

/// A batch that has been sent and not been acknowledged by all.
#[derive(Debug)]
struct Sent {
    first: u64,
    last: u64,
    frame: Bytes,
    at: Time,
}

/// Own batches that peers may still need, oldest first.
#[derive(Debug, Default)]
pub(super) struct Unacknowledged {
    batches: VecDeque<Sent>,
    bytes: usize,
}

impl Unacknowledged {
    pub(super) fn push(&mut self, (first, last): (u64, u64), frame: Bytes, at: Time) {
        self.bytes += frame.len();
        self.batches.push_back(Sent { first, last, frame, at });
    }

    /// Forgets what all have acknowledged, and the oldest beyond `limit` bytes.
    pub(super) fn trim(&mut self, acked: u64, limit: usize) {
        while let Some(oldest) = self.batches.front()
            && (oldest.last <= acked || self.bytes > limit)
        {
            self.bytes -= oldest.frame.len();
            self.batches.pop_front();
        }
    }

    /// When the batches were sent first that an acknowledgement up to `last` is about, after one up to
    /// `before`.
    pub(super) fn sent_at(&self, before: u64, last: u64) -> impl Iterator<Item = Time> {
        let batches = self.batches.iter().skip_while(move |batch| batch.last <= before);
        batches.take_while(move |batch| batch.last <= last).map(|batch| batch.at)
    }

    /// The first event that is still here.
    pub(super) fn first(&self) -> Option<u64> {
        self.batches.front().map(|oldest| oldest.first)
    }

    /// The batches with events after the first `known`; none if some of them are gone already.
    pub(super) fn after(&self, known: u64) -> impl Iterator<Item = &Bytes> {
        let complete = self.first().is_some_and(|first| first <= known + 1);
        let wanted = self.batches.iter().filter(move |batch| complete && batch.last > known);
        wanted.map(|batch| &batch.frame)
    }

    /// The bytes of the batches with events after the first `acked`, and how many milliseconds the
    /// oldest of them has waited.
    pub(super) fn lag(&self, acked: u64, now: Time) -> (u64, u64) {
        let waiting = self.batches.iter().filter(|batch| batch.last > acked);
        waiting.fold((0, 0), |(bytes, ms), batch| {
            let waited = u64::try_from(now.since(batch.at).as_millis()).unwrap_or(u64::MAX);
            (bytes + batch.frame.len() as u64, ms.max(waited))
        })
    }
}

/// A batch that came before those that precede it.
#[derive(Debug)]
pub(super) struct EarlyBatch {
    pub(super) origin: ReplicaId,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) changes: Bytes,
}

/// Others' batches that came too early.
#[derive(Debug, Default)]
pub(super) struct Early {
    batches: BTreeMap<(ReplicaId, u64), EarlyBatch>,
    bytes: usize,
}

impl Early {
    /// Keeps a batch until those before it have come; forgets it if there is no room.
    pub(super) fn keep(&mut self, batch: EarlyBatch, limit: usize) {
        if self.bytes + batch.changes.len() <= limit {
            self.bytes += batch.changes.len();
            if let Some(old) = self.batches.insert((batch.origin, batch.first), batch) {
                self.bytes -= old.changes.len();
            }
        }
    }

    /// Takes a batch whose turn it is, `known` being what is known of its origin.
    pub(super) fn next(&mut self, known: impl Fn(ReplicaId) -> u64) -> Option<EarlyBatch> {
        let next = self.batches.values().find_map(|early| {
            let known = known(early.origin);
            (early.first <= known + 1 || early.last <= known).then_some((early.origin, early.first))
        })?;
        let early = self.batches.remove(&next)?;
        self.bytes -= early.changes.len();
        Some(early)
    }

    pub(super) fn clear(&mut self) {
        *self = Early::default();
    }
}
