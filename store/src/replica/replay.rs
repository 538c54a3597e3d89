//! Joining again what the journal's records tell.

use miso_crdt::batch::Reading;
use miso_crdt::{Change, Delta, ReplicaId, Writer};

use crate::function::Function;
use crate::joining::{LOCAL, Refused, Vector};
use crate::removals::RemovalLog;
use crate::replica::known::LONGEST;
use crate::shard::join::Claim;

/// How many changes recovery joins together: enough that their cache misses overlap in each shard, and
/// so few that they stay in the cache.
pub(crate) const REPLAY_BATCH: usize = 512;

impl Function {
    /// Reads what the local writer, or a former one of this node, did to one value; gives as well what
    /// follows that in `message`.
    pub(crate) fn read_write<'a>(
        &self,
        object: &[u8],
        name: &[u8],
        message: &'a [u8],
    ) -> Option<(Change, &'a [u8])> {
        let mut joining = self.joining.lock();
        let (delta, rest) = Delta::decode_first(message, &mut joining.writers).ok()?;
        self.share_writers(&mut joining);
        Some((Change { object: object.into(), name: name.into(), delta }, rest))
    }

    /// The number that a writer of the journal has here.
    pub(crate) fn intern(&self, writer: ReplicaId) -> Option<Writer> {
        let mut joining = self.joining.lock();
        let writer = joining.writers.intern(writer);
        self.share_writers(&mut joining);
        writer
    }

    /// Joins again what [`Function::read_write`] has read.
    pub(crate) fn replay_writes(&self, changes: Vec<Change>) {
        let joining = self.joining.lock();
        self.join(&joining, changes, Claim::Delta, (LOCAL, 0));
    }

    pub(crate) fn replay_batch(
        &self,
        origin: ReplicaId,
        (first, last): (u64, u64),
        message: &[u8],
    ) -> Option<()> {
        match self.join_any_batch(origin, (first, last), message, |_, _, _| true) {
            // Known from a checkpoint. A gap: where damage was repaired; the stream fills it.
            Ok(_) | Err(Refused::Known | Refused::Gap(_) | Refused::Retired) => Some(()),
            Err(_) => None,
        }
    }

    pub(crate) fn replay_part(&self, whole: &Vector, message: &[u8]) -> Option<()> {
        self.join_whole(whole, message).ok().map(drop)
    }

    /// Joins changes a few at a time: what has just been read is in the cache, and one object's names may be
    /// a million. Others may do the same meanwhile, if nothing else is done.
    pub(crate) fn replay_changes(&self, message: &[u8]) -> Option<()> {
        let mut reading = {
            let mut joining = self.joining.lock();
            let reading = Reading::open(message, LONGEST, &mut joining.writers).ok()?;
            self.share_writers(&mut joining);
            reading
        };
        loop {
            let mut changes = Vec::new();
            while changes.len() < REPLAY_BATCH
                && let Some(change) = reading.read_next().ok()?
            {
                changes.push(change);
            }
            if changes.is_empty() {
                return Some(());
            }
            self.join_concurrently(changes, Claim::Delta, (LOCAL, 0));
        }
    }

    /// Knows all events of `vector`, the local writer's too.
    pub(crate) fn replay_known(&self, vector: &Vector) -> Option<()> {
        let mut joining = self.joining.lock();
        let context = self.context_of(&mut joining, vector).ok()?;
        for (writer, seq) in context.vector() {
            if writer == LOCAL {
                self.seq_at_least(seq);
            } else {
                self.raise(writer, seq);
            }
        }
        Some(())
    }

    /// All records have been read. What was not sent when they were written is not gathered again;
    /// peers that lack it find out by what is known here, and pull.
    pub(crate) fn recovered(&self) {
        let mut joining = self.joining.lock();
        let known = self.known();
        joining.sent = self.seq();
        joining.begun = self.seq();
        joining.log = RemovalLog::default();
        joining.log.lacks(LOCAL, self.seq());
        known.vector().for_each(|(writer, seq)| joining.log.lacks(writer, seq));
        // Peers may have seen all of it.
        self.shards.each().for_each(|mut shard| shard.flushed = self.seq());
        drop(joining);
        self.tidy();
        self.collect();
    }
}
