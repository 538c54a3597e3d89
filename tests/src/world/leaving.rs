//! Nodes and functions that end in order, and what must be elsewhere by then.

use std::collections::BTreeSet;

use bytes::Bytes;
use miso_replication::node::Input;
use miso_replication::{Answer, Ask, AskId, Effect, FunctionView, Time};
use miso_store::crdt::ReplicaId;

use super::host::Host;
use super::{Event, SECOND, World};

/// A node that has been told to end in order.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) id: AskId,
    pub(super) since: u64,
    /// It waits no longer than that.
    pub(super) until: u64,
    /// By function.
    pub(super) peers: Vec<(Bytes, Peers)>,
}

/// The nodes that ran a function and could be reached, as far as another knew, and the life of each.
pub(super) type Peers = Vec<(usize, u64)>;

/// A node that has been told to end a function.
#[derive(Debug)]
pub(super) struct Draining {
    pub(super) at: usize,
    pub(super) life: u64,
    pub(super) function: Bytes,
    pub(super) since: u64,
    pub(super) peers: Peers,
}

/// A function that ends is drained for at most this long.
pub(super) const DRAIN: u64 = 5 * SECOND;

impl World {
    /// What a node answers at once.
    pub(super) fn ask(&mut self, at: usize, ask: Ask) -> Answer {
        let (now, id) = (Time(self.now), AskId(self.id()));
        let mut out = Vec::new();
        self.hosts[at].node.step(now, Input::Ask { id, ask }, &mut out);
        let answer = out.iter().find_map(|effect| match effect {
            Effect::Answer { id: of, answer } if *of == id => Some(answer.clone()),
            _ => None,
        });
        self.carry_out(at, out);
        answer.expect("it is answered at once")
    }

    /// The nodes that run each function of a node, as far as it knows.
    pub(super) fn peers(&mut self, at: usize) -> Vec<(Bytes, Peers)> {
        let Answer::Functions(views) = self.ask(at, Ask::Functions) else { return Vec::new() };
        let peers = |view: FunctionView| {
            let of = |(replica, _): &(ReplicaId, bool)| {
                let peer = self.hosts.iter().position(|host| host.replica == *replica)?;
                Some((peer, self.hosts[peer].life))
            };
            (view.function.clone(), view.peers.iter().filter_map(of).collect())
        };
        views.into_iter().map(peers).collect()
    }

    /// Whether a peer has run a function since then without a break.
    pub(super) fn stayed(&self, (peer, life): (usize, u64), function: &Bytes, since: u64) -> bool {
        let host = &self.hosts[peer];
        host.life == life && host.runs.contains_key(function) && host.runs_at < since
    }

    /// A node ends a function that it runs, as MISO.UNREGISTER does.
    pub(super) fn end(&mut self, at: usize, function: Bytes) {
        let all = self.peers(at);
        let peers = all.into_iter().find(|(name, _)| *name == function).map(|(_, peers)| peers);
        let host = &mut self.hosts[at];
        host.runs.remove(&function);
        host.runs_at = self.now;
        let (functions, life, since) = (host.runs.clone(), host.life, self.now);
        self.drive(at, vec![Input::Runs { functions }]);
        let id = AskId(self.id());
        let peers = peers.unwrap_or_default();
        let ask = Ask::Drain { function: function.clone() };
        self.drains.insert(id, Draining { at, life, function, since, peers });
        self.drive(at, vec![Input::Ask { id, ask }]);
    }

    /// A function has ended. If a node ran it all the time and can be reached, some node has all that
    /// the node's clients were told is written; or the node's disk has.
    pub(super) fn drained(&mut self, drained: &Draining) {
        let Draining { at, life, function, since, peers } = drained;
        let host = &self.hosts[*at];
        if self.now >= since + DRAIN || host.life != *life || host.runs_at != *since {
            return;
        }
        let (me, seq) = (host.replica, host.store.function(function).seq());
        let Answer::Nodes(nodes) = self.ask(*at, Ask::Nodes) else { return };
        let linked: BTreeSet<ReplicaId> =
            nodes.iter().filter(|node| node.linked).map(|node| node.replica).collect();
        let here = |peer: &&(usize, u64)| {
            linked.contains(&self.hosts[peer.0].replica) && self.stayed(**peer, function, *since)
        };
        let Some((peer, _)) = peers.iter().find(here) else { return };
        let has = |host: &Host| host.store.function(function).upto(me) >= seq;
        assert!(
            self.hosts.iter().any(|host| host.replica != me && has(host)),
            "n{at} has ended {} with events up to {seq} that nobody else has, n{peer} being there",
            function.escape_ascii()
        );
    }

    /// A node ends in order, as after SIGTERM: its clients are gone, its peers get what it has.
    pub(super) fn leave(&mut self, at: usize) {
        let peers = self.peers(at);
        let (id, until) = (AskId(self.id()), self.now + 2 * SECOND);
        self.say(|| format!("n{at} leaves: {peers:?}"));
        self.hosts[at].leaving = Some(Leaving { id, since: self.now, until, peers });
        let ask = Ask::Leave { until: Time(until) };
        self.drive(at, vec![Input::Ask { id, ask }]);
    }

    /// A node has done all that it does before it ends. A node that ran a function all the time, and
    /// could be reached to the end, has what the node's clients were told is written.
    pub(super) fn left(&mut self, at: usize, farewells: &BTreeSet<usize>) {
        let Some(leaving) = self.hosts[at].leaving.take() else { return };
        let (host, life) = (&self.hosts[at], self.hosts[at].life);
        if self.now < leaving.until {
            for (name, peers) in &leaving.peers {
                let seq = host.store.function(name).seq();
                let stayed = |peer: &&(usize, u64)| self.stayed(**peer, name, leaving.since);
                let linked = |peer: &&(usize, u64)| farewells.contains(&peer.0);
                for (peer, _) in peers.iter().filter(linked).filter(stayed) {
                    let has = self.hosts[*peer].store.function(name).upto(host.replica);
                    assert!(
                        has >= seq,
                        "n{at} has left with events of {} up to {seq}, n{peer} has {has}",
                        name.escape_ascii()
                    );
                }
            }
        }
        self.say(|| format!("n{at} has left"));
        self.after(0, Event::Left { at, life });
    }

    pub(super) fn answered(&mut self, id: AskId, answer: &Answer) {
        if let Some(drained) = self.drains.remove(&id) {
            return self.drained(&drained);
        }
        if let Some(read) = self.firsts.remove(&id) {
            if *answer == Answer::Reached(true) {
                self.check_first_read(&read);
            }
            return;
        }
        let Some((at, function, seq)) = self.waits.remove(&id) else { return };
        let Answer::Count(count) = answer else { return };
        let me = self.hosts[at].replica;
        let having = self.hosts.iter().filter(|host| {
            host.replica != me
                && host.store.find(&function).is_some_and(|function| function.upto(me) >= seq)
        });
        let (having, lost) = (having.count(), self.lost.len());
        assert!(
            having + lost >= *count || seq == 0,
            "n{at} was told that {count} have its event {seq}, but {having} have"
        );
    }
}
