//! Summaries: what peers have announced to have applied, and the floors that may go for it.

use miso_crdt::{Dot, ReplicaId, Seen};

use crate::function::Function;
use crate::joining::{Joining, LOCAL, Refused, Vector};

impl Function {
    /// Takes a summary that came in `from`'s own stream: it has applied `vector`. A summary counts only
    /// once all of the writer's events that preceded it are applied here; answers whether it did.
    ///
    /// # Errors
    /// If the vector is malformed.
    pub fn heard_summary(&self, from: ReplicaId, vector: &Vector) -> Result<bool, Refused> {
        let mut joining = self.joining.lock();
        // Of a writer that is not known here nothing is stored that waits for the peer.
        let context = Function::known_of(&joining, vector)?;
        let Some(writer) = joining.writers.index(from).filter(|writer| *writer != LOCAL) else {
            return Ok(false);
        };
        if context.upto(writer) > self.known().upto(writer) {
            return Ok(false);
        }
        joining.summaries.entry(writer).or_default().join(&context);
        Ok(true)
    }

    /// Forgets the summary of a writer that will announce nothing more. Each summary has a number for
    /// every writer ever met, so those of dead writers would grow with the square of their number. What
    /// it has released by then is forgotten first; floors that are met later stay.
    pub fn forget_summary(&self, of: ReplicaId) {
        let announced = |joining: &Joining| {
            joining.writers.index(of).filter(|writer| joining.summaries.contains_key(writer))
        };
        if announced(&self.joining.lock()).is_none() {
            return;
        }
        self.collect();
        let mut joining = self.joining.lock();
        if let Some(writer) = announced(&joining) {
            joining.summaries.remove(&writer);
        }
    }

    /// Forgets floors of counters once summaries of their writers cover them.
    /// Linear in the number of values that have floors.
    pub fn collect(&self) {
        let joining = self.joining.lock();
        let silent = joining.retired.silent(&self.known(), self.seq());
        let applied = |update: Dot, reset: Dot| {
            let writer = update.writer();
            writer == LOCAL
                || silent.seen(update)
                || joining.summaries.get(&writer).is_some_and(|summary| summary.seen(reset))
        };
        for mut shard in self.shards.each() {
            if !shard.floored.is_empty() {
                shard.collect(applied);
            }
        }
    }
}
