//! What is known here of a function, and messages in local numbers.

use std::sync::Arc;

use miso_crdt::{Change, Context, ReplicaId, SEQ_MAX, Writer};

use crate::function::Function;
use crate::joining::{Joining, LOCAL, Refused, Vector};

/// The longest object id and name that a peer may send: the longest that a client may.
pub(crate) const LONGEST: usize = 512 << 20;

impl Function {
    /// What is known here, as it may be told to peers: of the local writer's events only those that
    /// batches have told of.
    #[must_use]
    pub fn vector(&self) -> Vector {
        let joining = self.joining.lock();
        self.vector_under(&joining)
    }

    pub(crate) fn vector_under(&self, joining: &Joining) -> Vector {
        let own = (joining.writers.id(LOCAL).unwrap_or(ReplicaId(0)), joining.sent);
        let known = self.known();
        let others = known.vector().filter_map(|(w, seq)| Some((joining.writers.id(w)?, seq)));
        std::iter::once(own).chain(others).filter(|(_, seq)| *seq > 0).collect()
    }

    /// All that a client that reads here has seen: a token for [`Function::covers`] elsewhere.
    #[must_use]
    pub fn token(&self) -> Vector {
        let seq = self.seq();
        let joining = self.joining.lock();
        let mut vector = self.vector_under(&joining);
        let own = joining.writers.id(LOCAL).unwrap_or(ReplicaId(0));
        vector.retain(|(id, _)| *id != own);
        if seq > 0 {
            vector.insert(0, (own, seq));
        }
        vector
    }

    /// The number up to which all events of `id` are known here.
    #[must_use]
    pub fn upto(&self, id: ReplicaId) -> u64 {
        let joining = self.joining.lock();
        match joining.writers.index(id) {
            Some(LOCAL) => self.seq(),
            Some(writer) => self.known().upto(writer),
            None => 0,
        }
    }

    /// The events of `vector` that are not known here, as the writers and the numbers that it says.
    #[must_use]
    pub fn lacks(&self, vector: &[(ReplicaId, u64)]) -> Vector {
        let joining = self.joining.lock();
        let known = self.known();
        let lacks = |(id, seq): &&(ReplicaId, u64)| match joining.writers.index(*id) {
            Some(LOCAL) => self.seq() < *seq,
            Some(writer) => known.upto(writer) < *seq,
            None => *seq > 0,
        };
        vector.iter().filter(lacks).copied().collect()
    }

    /// Whether all events of `vector` are known here.
    #[must_use]
    pub fn covers(&self, vector: &[(ReplicaId, u64)]) -> bool {
        self.lacks(vector).is_empty()
    }

    /// The own events that this process has found in the journal: it has made those after them itself.
    #[must_use]
    pub fn begun(&self) -> u64 {
        self.joining.lock().begun
    }

    /// What is taken from now on, until this is said of another, is of this peer: each may make known a
    /// bounded number of writers besides itself.
    pub fn take_from(&self, peer: ReplicaId) {
        self.joining.lock().take_from(peer);
    }

    /// How many writers are known here.
    #[must_use]
    pub fn writer_count(&self) -> usize {
        self.joining.lock().writers.len()
    }

    /// The newest own event that a batch has told of.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.joining.lock().sent
    }

    /// How many bytes the removal log takes.
    #[must_use]
    pub fn removal_log_bytes(&self) -> usize {
        self.joining.lock().log.bytes()
    }

    /// How many values are known of beyond the vector: removals that came before what they remove.
    #[must_use]
    pub fn ahead_count(&self) -> usize {
        self.shards.each().map(|shard| shard.ahead.len()).sum()
    }

    /// How many counters and maps keep floors, until summaries of their writers cover them.
    #[must_use]
    pub fn floored_count(&self) -> usize {
        self.shards.each().map(|shard| shard.floored.len()).sum()
    }

    /// Reads a message, and makes the writers that it names known to all shards.
    pub(crate) fn read(
        &self,
        joining: &mut Joining,
        message: &[u8],
    ) -> Result<Vec<Change>, Refused> {
        let changes = joining.read(message, LONGEST)?;
        self.share_writers(joining);
        Ok(changes)
    }

    pub(crate) fn share_writers(&self, joining: &mut Joining) {
        if joining.writers.len() > joining.shared {
            joining.shared = joining.writers.len();
            self.shards.set_writers(&Arc::new(joining.writers.clone()));
        }
    }

    /// A vector of a peer in local numbers, without the writers that are not known here.
    pub(crate) fn known_of(joining: &Joining, vector: &Vector) -> Result<Context, Refused> {
        let mut context = Context::new();
        for (id, seq) in vector {
            if *seq > SEQ_MAX {
                return Err(Refused::Malformed("sequence number"));
            }
            if let Some(writer) = joining.writers.index(*id) {
                context.raise(writer, *seq);
            }
        }
        Ok(context)
    }

    /// A vector of a peer in local numbers.
    pub(crate) fn context_of(
        &self,
        joining: &mut Joining,
        vector: &Vector,
    ) -> Result<Context, Refused> {
        let mut context = Context::new();
        for (id, seq) in vector {
            if *seq > SEQ_MAX {
                return Err(Refused::Malformed("sequence number"));
            }
            let writer = joining.intern(*id)?;
            context.raise(writer, *seq);
        }
        self.share_writers(joining);
        Ok(context)
    }

    /// What is known of others' events. Cheap: a shared copy.
    pub(crate) fn known(&self) -> Arc<Context> {
        Arc::clone(&self.vector.lock())
    }

    pub(crate) fn raise(&self, writer: Writer, seq: u64) {
        Arc::make_mut(&mut *self.vector.lock()).raise(writer, seq);
    }

    /// The vector, own events included, and `more`.
    pub(crate) fn all_known(&self, known: &Context, own: u64, more: &Context) -> Context {
        let mut all = known.clone();
        all.raise(LOCAL, own);
        all.join(more);
        all
    }
}
