//! Endings: functions that end on this node, and the node itself that leaves. Both wait, for a bounded
//! time, until nothing is lost by it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::stream::{Stream, Streams};
use super::turn::Turn;
use crate::{Answer, AskId, Time};

/// The longest that a function which ends here waits for a peer to have all of it.
const DRAIN: Duration = Duration::from_secs(5);

/// How long a node that leaves waits for another to say that it runs what no other node has: a node
/// tells that it runs a function some milliseconds after it has begun to.
pub(super) const NEWCOMERS: Duration = Duration::from_millis(200);

/// A function that does not run here any more, but for its peers still does.
#[derive(Debug)]
struct Draining {
    until: Time,
    /// The questions that are answered at its end.
    asked: Vec<AskId>,
    /// Whether it ends then, or is held on.
    ends: bool,
}

/// An [`crate::Ask::Leave`] under way.
#[derive(Clone, Copy, Debug)]
struct Leaving {
    id: AskId,
    until: Time,
    /// Until then another node may yet say that it runs what no other has; none once that is past.
    newcomers: Option<Time>,
}

/// The endings under way.
#[derive(Debug, Default)]
pub(super) struct Endings {
    draining: BTreeMap<Bytes, Draining>,
    /// Some have drained since the overlay was told.
    drained: bool,
    leaving: Option<Leaving>,
}

impl Endings {
    pub(super) fn is_draining(&self, name: &Bytes) -> bool {
        self.draining.contains_key(name)
    }

    /// A function is not carried any more: if it drains, it ends after that. Whether it drains.
    pub(super) fn ends_when_drained(&mut self, name: &Bytes) -> bool {
        let draining = self.draining.get_mut(name);
        draining.map(|draining| draining.ends = true).is_some()
    }

    /// The functions that have ended here, and still run for what peers lack of them.
    pub(super) fn draining(&self) -> impl Iterator<Item = &Bytes> {
        self.draining.iter().filter(|(_, draining)| draining.ends).map(|(name, _)| name)
    }

    /// Whether some have drained since this was asked last.
    pub(super) fn take_drained(&mut self) -> bool {
        std::mem::take(&mut self.drained)
    }

    /// When the next function stops draining at the latest.
    pub(super) fn drain_at(&self) -> Option<Time> {
        self.draining.values().map(|draining| draining.until).min()
    }

    /// When the node leaves at the latest, or stops to wait for newcomers.
    pub(super) fn leave_at(&self) -> Option<Time> {
        let leaving = self.leaving?;
        Some(leaving.newcomers.map_or(leaving.until, |at| at.min(leaving.until)))
    }

    /// A function that does not run here any more runs on for its peers: what they have already, they
    /// say. Whether it `ends` after that, or is held on.
    pub(super) fn drain(&mut self, turn: &mut Turn<'_>, stream: &mut Stream, ends: bool) {
        stream.ask_all(turn);
        let draining = Draining { until: turn.now() + DRAIN, asked: Vec::new(), ends };
        self.draining.insert(stream.name().clone(), draining);
    }

    /// Answers a question once a function has drained; at once if it does not drain.
    pub(super) fn ask_drained(&mut self, turn: &mut Turn<'_>, name: &Bytes, id: AskId) {
        match self.draining.get_mut(name) {
            Some(draining) => draining.asked.push(id),
            None => turn.answer(id, Answer::Done),
        }
    }

    /// The functions of which a peer has all now, or whose time is over.
    pub(super) fn drained(&self, turn: &Turn<'_>, streams: &Streams) -> Vec<Bytes> {
        let is_over = |(name, draining): &(&Bytes, &Draining)| {
            let stream = streams.get(*name);
            draining.until <= turn.now() || stream.is_none_or(|s| s.is_elsewhere(turn.own()))
        };
        self.draining.iter().filter(is_over).map(|(name, _)| name.clone()).collect()
    }

    /// A function has drained; whether it ends.
    pub(super) fn has_drained(&mut self, turn: &mut Turn<'_>, name: &Bytes) -> bool {
        let ends = self.draining.get(name).is_some_and(|draining| draining.ends);
        self.stop_draining(turn, name);
        self.drained |= ends;
        ends
    }

    /// A function is carried on that may have been about to end.
    pub(super) fn does_not_end(&mut self, turn: &mut Turn<'_>, name: &Bytes) {
        if self.draining.get(name).is_some_and(|draining| draining.ends) {
            self.stop_draining(turn, name);
        }
    }

    /// A function that may have been draining does so no more.
    fn stop_draining(&mut self, turn: &mut Turn<'_>, name: &Bytes) {
        for id in self.draining.remove(name).map_or(Vec::new(), |draining| draining.asked) {
            turn.answer(id, Answer::Done);
        }
    }

    /// The node leaves, once what is pending is acknowledged: see [`Endings::check_leave`].
    pub(super) fn leave(&mut self, turn: &Turn<'_>, id: AskId, until: Time) {
        let newcomers = Some(turn.now() + NEWCOMERS);
        self.leaving = Some(Leaving { id, until, newcomers });
    }

    /// Answers [`crate::Ask::Leave`] if there is nothing more to wait for.
    pub(super) fn check_leave(&mut self, turn: &mut Turn<'_>, streams: &Streams) {
        let Some(leaving) = &mut self.leaving else { return };
        leaving.newcomers = leaving
            .newcomers
            .filter(|at| turn.now() < *at && leaving_would_lose_data(turn, streams));
        let waits = leaving.newcomers.is_some() || streams.values().any(Stream::is_awaited);
        if turn.now() >= leaving.until || turn.config().bugs.leave_at_once || !waits {
            let id = leaving.id;
            self.leaving = None;
            turn.answer(id, Answer::Done);
        }
    }
}

/// Whether there is something that no disk has and no node that can be reached, although there are
/// nodes that might.
fn leaving_would_lose_data(turn: &Turn<'_>, streams: &Streams) -> bool {
    let only_here = |stream: &Stream| {
        stream.reachable().next().is_none() && stream.function().object_count() > 0
    };
    turn.journal().is_none() && turn.peers().any_linked() && streams.values().any(only_here)
}
