//! Writes that run once: which ids all nodes have heard of, so that they may be forgotten.

use std::time::Duration;

use miso_store::Vector;
use miso_store::crdt::ReplicaId;

use super::Replicator;
use super::peers::Peers;
use super::stream::Stream;
use crate::Time;

/// How often ids are looked after.
const EVERY: Duration = Duration::from_millis(250);

impl Replicator {
    /// Whether [`Replicator::tend_once`] is due.
    #[must_use]
    pub fn wants_to_tend_once(&self, now: Time) -> bool {
        self.common.store().has_once() && self.tend_at <= now
    }

    /// Looks after the ids of writes that run once. `others`: all nodes but this one that are not
    /// forgotten, their names and incarnations.
    pub fn tend_once(&mut self, now: Time, others: &[(&str, ReplicaId)]) {
        self.tend_at = now + EVERY;
        let peers = self.common.peers();
        let all_here = others.iter().all(|(_, id)| peers.link(*id).is_some());
        for stream in self.streams.values().filter(|stream| stream.function().has_once()) {
            let heard = if all_here { heard(stream, peers, others) } else { None };
            stream.function().tend_once(heard.as_deref());
        }
    }
}

/// What all nodes that carry a function have announced; none if one has announced nothing, or more of its
/// own than is known here. A node that does not carry it hears all of it before it serves it.
fn heard(
    stream: &Stream,
    peers: &Peers,
    others: &[(&str, ReplicaId)],
) -> Option<Vec<(ReplicaId, Vector)>> {
    let carrying = others.iter().filter(|(_, id)| peers.carries(*id, stream.name()));
    carrying
        .map(|(_, id)| {
            let vector = stream.target(*id)?.summary();
            let own = vector.iter().find(|(of, _)| of == id).map_or(0, |(_, seq)| *seq);
            (!vector.is_empty() && stream.function().upto(*id) >= own)
                .then(|| (*id, vector.clone()))
        })
        .collect()
}
