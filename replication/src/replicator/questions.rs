//! The server's questions about one function that wait for peers: WAIT, tokens, fetches on touch.

use std::collections::BTreeSet;

use bytes::Bytes;
use miso_store::Vector;
use miso_store::crdt::ReplicaId;

use super::turn::Turn;
use crate::{Answer, AskId, LinkId, Time};

/// A [`crate::Ask::Wait`] under way.
#[derive(Debug)]
pub(super) struct Wait {
    pub(super) id: AskId,
    pub(super) seq: u64,
    pub(super) peers: usize,
    pub(super) durable: bool,
    pub(super) until: Option<Time>,
}

/// A [`crate::Ask::Await`] under way.
#[derive(Debug)]
pub(super) struct Await {
    pub(super) id: AskId,
    pub(super) vector: Vector,
    pub(super) until: Option<Time>,
}

/// A [`crate::Ask::Fetch`] under way.
#[derive(Debug)]
pub(super) struct Fetching {
    pub(super) id: AskId,
    pub(super) until: Time,
    /// Peers that have not answered.
    pub(super) from: BTreeSet<ReplicaId>,
    /// What they are asked.
    pub(super) frame: Bytes,
}

/// A [`crate::Ask::Current`] under way.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) id: AskId,
    pub(super) until: Time,
}

/// The questions about one function that are not answered yet.
#[derive(Debug, Default)]
pub(super) struct Questions {
    waits: Vec<Wait>,
    awaits: Vec<Await>,
    fetches: Vec<Fetching>,
    currents: Vec<Current>,
}

fn is_over(until: Option<Time>, now: Time) -> bool {
    until.is_some_and(|until| until <= now)
}

impl Questions {
    pub(super) fn wait(&mut self, wait: Wait) {
        self.waits.push(wait);
    }

    pub(super) fn await_vector(&mut self, wait: Await) {
        self.awaits.push(wait);
    }

    pub(super) fn fetch(&mut self, fetch: Fetching) {
        self.fetches.push(fetch);
    }

    pub(super) fn wait_at(&self) -> Option<Time> {
        self.waits.iter().filter_map(|wait| wait.until).min()
    }

    pub(super) fn await_at(&self) -> Option<Time> {
        self.awaits.iter().filter_map(|wait| wait.until).min()
    }

    pub(super) fn fetch_at(&self) -> Option<Time> {
        self.fetches.iter().map(|fetch| fetch.until).min()
    }

    /// Answers the waits that are over; `count` says how many peers have an own event, on disk or not.
    pub(super) fn check_waits(&mut self, turn: &mut Turn<'_>, count: impl Fn(u64, bool) -> usize) {
        self.waits.retain(|wait| {
            let count = count(wait.seq, wait.durable);
            let over = count >= wait.peers || is_over(wait.until, turn.now());
            if over {
                turn.answer(wait.id, Answer::Count(count));
            }
            !over
        });
    }

    /// Answers the tokens that are known here (`covers`), or whose time is over.
    pub(super) fn check_awaits(&mut self, turn: &mut Turn<'_>, covers: impl Fn(&Vector) -> bool) {
        self.awaits.retain(|wait| {
            let reached = covers(&wait.vector);
            let over = reached || is_over(wait.until, turn.now());
            if over {
                turn.answer(wait.id, Answer::Reached(reached));
            }
            !over
        });
    }

    pub(super) fn current(&mut self, current: Current) {
        self.currents.push(current);
    }

    pub(super) fn current_at(&self) -> Option<Time> {
        self.currents.iter().map(|current| current.until).min()
    }

    /// A peer has answered a fetch; whether that settles it, or others may know better.
    pub(super) fn fetched(&mut self, id: u64, peer: ReplicaId, settled: bool) {
        for fetch in self.fetches.iter_mut().filter(|fetch| fetch.id.0 == id) {
            if settled {
                fetch.from.clear();
            } else {
                fetch.from.remove(&peer);
            }
        }
    }

    /// A peer answers no fetch any more.
    pub(super) fn lost(&mut self, peer: ReplicaId) {
        for fetch in &mut self.fetches {
            fetch.from.remove(&peer);
        }
    }

    /// A peer can be reached, for the first time or again: it is asked too.
    pub(super) fn fetch_from(&mut self, turn: &mut Turn<'_>, peer: ReplicaId, link: LinkId) {
        for fetch in &mut self.fetches {
            fetch.from.insert(peer);
            turn.send_frame(vec![link], fetch.frame.clone());
        }
    }

    /// Answers the fetches for which there is nothing more to wait.
    pub(super) fn check_fetches(&mut self, turn: &mut Turn<'_>) {
        self.end_fetches(turn, |fetch, now| fetch.from.is_empty() || fetch.until <= now);
    }

    /// The data here is current: answers all that waited for it.
    pub(super) fn now_current(&mut self, turn: &mut Turn<'_>) {
        self.end_fetches(turn, |_, _| true);
        self.end_currents(turn, true);
    }

    /// It was waited for in vain.
    pub(super) fn not_current(&mut self, turn: &mut Turn<'_>) {
        self.end_currents(turn, false);
    }

    fn end_currents(&mut self, turn: &mut Turn<'_>, reached: bool) {
        for current in self.currents.drain(..) {
            turn.answer(current.id, Answer::Reached(reached));
        }
    }

    fn end_fetches(&mut self, turn: &mut Turn<'_>, is_over: impl Fn(&Fetching, Time) -> bool) {
        self.fetches.retain(|fetch| {
            let over = is_over(fetch, turn.now());
            if over {
                turn.answer(fetch.id, Answer::Done);
            }
            !over
        });
    }
}
