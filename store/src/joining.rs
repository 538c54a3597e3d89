//! What replication keeps of a function beside its objects.

use std::collections::HashMap;

use miso_crdt::{Change, Context, DecodeError, ReplicaId, Writer, Writers, batch};

use crate::removals::RemovalLog;

/// The local writer is the first that a function interns.
pub(crate) const LOCAL: Writer = Writer(0);

/// A causal vector as nodes exchange it.
pub type Vector = Vec<(ReplicaId, u64)>;

/// Why a message was not applied. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// Its events are known here already.
    Known,
    /// Events before it are not known here; the first that is missing.
    Gap(u64),
    /// Its writer is retired: nothing more can come of it.
    Retired,
    /// It cannot be right.
    Malformed(&'static str),
    /// It cannot be read.
    Unreadable(DecodeError),
}

impl From<DecodeError> for Refused {
    fn from(error: DecodeError) -> Refused {
        Refused::Unreadable(error)
    }
}

/// What replication keeps of a function beside its objects.
#[derive(Debug)]
pub(crate) struct Joining {
    /// All writers met; the shards have copies.
    pub(crate) writers: Writers,
    /// How many of them the shards have.
    pub(crate) shared: usize,
    /// The local writer's newest event that a batch has told of.
    pub(crate) sent: u64,
    pub(crate) log: RemovalLog,
    /// The summary of each writer: what it has announced, in its own stream, that it has applied.
    pub(crate) summaries: HashMap<Writer, Context>,
    /// The writers that will never count again.
    pub(crate) retired: Retired,
    /// The peer whose messages are taken now; none if they are this node's own records.
    from: Option<ReplicaId>,
    /// How many writers each peer has made known here, those that are peers themselves aside.
    introduced: HashMap<ReplicaId, usize>,
    /// The local writer's last event that the journal had when this process began.
    pub(crate) begun: u64,
}

/// The most writers that are known because peers speak of them. The rest is kept for those that come
/// themselves, so that no invention keeps them out.
const SPOKEN_OF_MAX: usize = 49_152;
/// The most writers that one peer makes known.
const INTRODUCED_MAX: usize = 8_192;

impl Joining {
    pub(crate) fn new(writers: Writers) -> Joining {
        let shared = writers.len();
        Joining {
            writers,
            shared,
            sent: 0,
            log: RemovalLog::default(),
            summaries: HashMap::new(),
            retired: Retired::default(),
            from: None,
            introduced: HashMap::new(),
            begun: 0,
        }
    }

    /// What is taken from now on is of this peer.
    pub(crate) fn take_from(&mut self, peer: ReplicaId) {
        self.from = Some(peer);
    }

    /// The index of a writer, if it is known or may become known.
    pub(crate) fn intern(&mut self, id: ReplicaId) -> Result<Writer, DecodeError> {
        if let Some(known) = self.writers.index(id) {
            return Ok(known);
        }
        if self.from.is_some_and(|peer| peer != id) {
            self.introduce(1)?;
        }
        self.writers.intern(id).ok_or(DecodeError::TooManyWriters)
    }

    /// Counts `new` writers of which the present peer speaks.
    fn introduce(&mut self, new: usize) -> Result<(), DecodeError> {
        let Some(peer) = self.from else { return Ok(()) };
        let before = self.introduced.get(&peer).copied().unwrap_or(0);
        if before + new > INTRODUCED_MAX || self.writers.len() + 1 > SPOKEN_OF_MAX {
            return Err(DecodeError::TooManyWriters);
        }
        self.introduced.insert(peer, before + new);
        Ok(())
    }

    /// Reads a message, interning its writers; if there are too many new ones, none.
    pub(crate) fn read(
        &mut self,
        message: &[u8],
        longest: usize,
    ) -> Result<Vec<Change>, DecodeError> {
        let known = self.writers.len();
        let changes = batch::read(message, longest, &mut self.writers)?;
        let new = self.writers.ids().skip(known).filter(|(_, id)| self.from != Some(*id)).count();
        if new > 0
            && let Err(error) = self.introduce(new)
        {
            self.writers.truncate(known);
            return Err(error);
        }
        Ok(changes)
    }
}

/// Some writers will never count again, and one node has adopted what they counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retirement {
    /// The writer that adopted the counts, and the event by which it did.
    pub by: (ReplicaId, u64),
    /// The writers, and their last events: all that anybody has seen of them.
    pub writers: Vector,
}

/// What is known of silent writers, in their order: 24 bytes each, for ever.
#[derive(Debug, Default)]
pub(crate) struct Retired(pub(crate) Vec<Silence>);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Silence {
    pub(crate) writer: Writer,
    pub(crate) by: Writer,
    pub(crate) last: u64,
    pub(crate) event: u64,
}

impl Retired {
    /// Whether an event is one that a retired writer cannot have made.
    pub(crate) fn has(&self, writer: Writer, seq: u64) -> bool {
        self.find(writer).is_ok_and(|at| seq > self.0[at].last)
    }

    pub(crate) fn find(&self, writer: Writer) -> Result<usize, usize> {
        self.0.binary_search_by_key(&writer, |silence| silence.writer)
    }

    /// The events of those of which all is known, the adoption included: what is kept for their
    /// sake may go. Of a writer that was lost a value may be here that nobody knows all before: that
    /// is not among them, and stays.
    pub(crate) fn silent(&self, known: &Context, own: u64) -> Context {
        let upto = |writer| if writer == LOCAL { own } else { known.upto(writer) };
        let mut silent = Context::new();
        for silence in &self.0 {
            if upto(silence.writer) >= silence.last && upto(silence.by) >= silence.event {
                silent.raise(silence.writer, silence.last);
            }
        }
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joining() -> Joining {
        Joining::new(Writers::of(ReplicaId(1)))
    }

    /// Ids of writers that no test uses as a peer.
    fn invented(from: usize, count: usize) -> impl Iterator<Item = ReplicaId> {
        (from..from + count).map(|n| ReplicaId(1_000_000 + n as u64))
    }

    #[test]
    fn a_peer_makes_few_writers_known_beside_itself() {
        let mut joining = joining();
        joining.take_from(ReplicaId(2));
        for id in invented(0, INTRODUCED_MAX) {
            joining.intern(id).expect("within the limit");
        }
        let one_more = ReplicaId(9);
        assert_eq!(joining.intern(one_more), Err(DecodeError::TooManyWriters));
        assert!(joining.intern(ReplicaId(2)).is_ok(), "a peer itself is not counted");
        joining.take_from(ReplicaId(3));
        assert!(joining.intern(one_more).is_ok(), "each peer has a count of its own");
    }

    #[test]
    fn peers_together_leave_room_for_those_that_come_themselves() {
        let mut joining = joining();
        let (mut spoken_of, mut peer) = (0, 10);
        loop {
            joining.take_from(ReplicaId(peer));
            let taken = invented(spoken_of, INTRODUCED_MAX).map(|id| joining.intern(id));
            let taken = taken.filter(Result::is_ok).count();
            spoken_of += taken;
            peer += 1;
            if taken < INTRODUCED_MAX {
                break;
            }
        }
        assert_eq!(joining.writers.len(), SPOKEN_OF_MAX);
        joining.take_from(ReplicaId(5));
        assert!(joining.intern(ReplicaId(5)).is_ok());
    }
}
