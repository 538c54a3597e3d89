//! What goes once all nodes have heard of it: ids of writes that ran once, and sketches of HyperLogLogs, of
//! which those of a writer become one.

use std::sync::Arc;
use std::time::Duration;

use miso_store::Vector;
use miso_store::crdt::ReplicaId;

use super::Replicator;
use super::peers::Peers;
use super::stream::Stream;
use super::target::Target;
use crate::{Effect, Time};

/// How often they are looked after.
const EVERY: Duration = Duration::from_millis(250);

/// How often in a row all must have been here before anything goes: a node that has come back says what it
/// knows first.
const CALM: u32 = 8;

impl Replicator {
    /// Whether there may be something to look after.
    pub(super) fn has_to_tend(&self) -> bool {
        let store = self.common.store();
        store.has_once() || store.has_sketches()
    }

    /// Whether [`Replicator::tend`] is due.
    #[must_use]
    pub fn wants_to_tend(&self, now: Time) -> bool {
        self.has_to_tend() && self.tend_at <= now
    }

    /// Looks after the ids of writes that run once, and after sketches. `others`: all nodes but this one that are not
    /// forgotten, their names and incarnations. `awaiting`: whether there are others that this node has not
    /// met yet.
    pub fn tend(
        &mut self,
        now: Time,
        others: &[(&str, ReplicaId)],
        awaiting: bool,
        out: &mut Vec<Effect>,
    ) {
        self.tend_at = now + EVERY;
        let peers = self.common.peers();
        let all_here = others.iter().all(|(_, id)| peers.link(*id).is_some());
        let them: Vec<ReplicaId> = others.iter().map(|(_, id)| *id).collect();
        let as_before = all_here && self.here == them;
        self.calm = if as_before { self.calm.saturating_add(1) } else { 0 };
        self.here = them;
        let all_here = !awaiting && (self.calm >= CALM || (all_here && others.is_empty()));
        for stream in self.streams.values_mut() {
            let function = Arc::clone(stream.function());
            if !function.has_once() && !function.has_sketches() {
                continue;
            }
            let heard = if all_here { heard(stream, self.common.peers(), others) } else { None };
            if function.has_once() {
                let unequal = function.tend_once(now.since(Time(0)), heard.as_deref());
                if !unequal.is_empty() {
                    self.common.turn(now, out).unequal(&stream.shown(), &unequal);
                }
            }
            // A node that awaits others folds nothing, so it and this one would differ until digests tell.
            if heard.is_some_and(|heard| function.fold_sketches(&heard)) {
                stream.now_unsure();
            }
        }
    }
}

/// What all nodes that carry a function have announced; none if one that has ever announced anything knows
/// more than is known here, or one that carries it has announced nothing. A node that does not carry it hears all
/// of it before it serves it.
///
/// That goes for what third nodes did, too: a node that is gone may have deleted what one node alone has heard of,
/// or have run a write.
fn heard(
    stream: &Stream,
    peers: &Peers,
    others: &[(&str, ReplicaId)],
) -> Option<Vec<(ReplicaId, Vector)>> {
    // A node that has just started may not know yet who else there is.
    if others.is_empty() && stream.function().token().len() > 1 {
        return None;
    }
    let mut heard = Vec::new();
    for (_, id) in others {
        let vector = stream.target(*id).map(Target::summary).filter(|vector| !vector.is_empty());
        let lacks = vector.map(|vector| stream.function().lacks(vector)).unwrap_or_default();
        if lacks.iter().any(|(writer, _)| !stream.function().is_retired(*writer)) {
            return None;
        }
        if peers.carries(*id, stream.name()) {
            heard.push((*id, vector?.clone()));
        }
    }
    Some(heard)
}
