//! The one table of timers: what is due, why, and for which function next.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::Time;

/// What may become due, and why it is done at a time and not at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// Changes are sent: they are gathered for an interval, so that one batch holds many.
    Flush,
    /// Fetches end: a command that touched something absent waits no longer for peers.
    Fetch,
    /// A first read is given up: a command has waited for it as long as it may.
    Current,
    /// Peers are asked again what they know of a function that begins: an answer may be lost.
    FirstRead,
    /// A pull is given up: its peer has been silent for too long.
    Pull,
    /// A comparison that was asked for begins: no other pull is under way any more.
    Compare,
    /// Peers are compared with again: a pull has failed, and another peer may do better.
    Retry,
    /// WAIT ends: its timeout is over.
    Wait,
    /// Waiting for a token ends: its timeout is over.
    Await,
    /// Acknowledgements are sent: they are gathered, or go along with a batch.
    Acknowledge,
    /// A summary is sent: after changes, and now and then in case one was lost.
    Summary,
    /// What all nodes know by now is forgotten: that is looked for some time after a change.
    Tidy,
    /// A third node's events are pulled: its own stream has not brought them in time.
    Lack,
    /// Writes that ran once here and elsewhere come to one: peers have told of their ids.
    Once,
    /// Ids of writes that ran once, and sketches, are looked after: all may have heard of some.
    Tend,
    /// Parts of syncs are sent: a peer's rate allows it again.
    Export,
    /// MISO.SYNC ends: its timeout is over.
    Sync,
    /// A function that ended here stops draining: no peer has taken all of it in time.
    Drain,
    /// The node leaves: peers have not acknowledged everything in time.
    Leave,
    /// Retirement goes on: a grant is due, deletes resume, or a round has failed.
    Retire,
    /// Rounds of retirement begin: see `retiring`.
    BeginRetiring,
}

impl Due {
    /// What is due by function, in the order in which it is done.
    pub(super) const OF_FUNCTION: [Due; 14] = [
        Due::Flush,
        Due::Fetch,
        Due::Current,
        Due::FirstRead,
        Due::Pull,
        Due::Compare,
        Due::Retry,
        Due::Wait,
        Due::Await,
        Due::Acknowledge,
        Due::Summary,
        Due::Tidy,
        Due::Lack,
        Due::Once,
    ];

    /// What is due for the node as a whole.
    pub(super) const OF_NODE: [Due; 7] = [
        Due::Export,
        Due::Drain,
        Due::Leave,
        Due::Sync,
        Due::Retire,
        Due::BeginRetiring,
        Due::Tend,
    ];
}

/// By function, when something is due next.
#[derive(Debug, Default)]
pub(super) struct Timers {
    order: BTreeSet<(Time, Bytes)>,
    at: BTreeMap<Bytes, Time>,
}

impl Timers {
    /// Sets the timer of a function, or takes it back.
    pub(super) fn set(&mut self, name: &Bytes, at: Option<Time>) {
        let old = match at {
            Some(at) => match self.at.get_mut(name) {
                Some(old) if *old == at => return,
                Some(old) => Some(std::mem::replace(old, at)),
                None => self.at.insert(name.clone(), at),
            },
            None => self.at.remove(name),
        };
        if let Some(old) = old {
            self.order.remove(&(old, name.clone()));
        }
        self.order.extend(at.map(|at| (at, name.clone())));
    }

    /// When the first is due.
    pub(super) fn first(&self) -> Option<Time> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes the functions that something is due for, each once.
    pub(super) fn take_due(&mut self, now: Time) -> Vec<Bytes> {
        let later = self.order.split_off(&(Time(now.0.saturating_add(1)), Bytes::new()));
        let due = std::mem::replace(&mut self.order, later);
        let names: Vec<Bytes> = due.into_iter().map(|(_, name)| name).collect();
        for name in &names {
            self.at.remove(name);
        }
        names
    }
}
