//! Time passing: heartbeats, silence, dialing again, and how nodes look.

use std::time::Duration;

use miso_protocol::peer;
use miso_protocol::peer::message::Body;
use miso_protocol::peer::{Heartbeat, NodeRecord};
use miso_store::crdt::ReplicaId;

use super::{HANDSHAKE, Link, Node, Out, Overlay, SUSPECT_AFTER, send};
use crate::{Effect, LinkId, Liveness, NodeView, Note, Time};

impl Overlay {
    /// Does what is due.
    pub fn tick(&mut self, now: Time, out: &mut Out) {
        if self.over || now < self.wake {
            return;
        }
        self.make_up_for(now.since(self.wake), now);
        self.wake = Time(u64::MAX);
        self.silence(now, out);
        self.answer_late_joins(now, out);
        if now >= self.heartbeat_at {
            let first = self.heartbeat_at == Time::default();
            let every = self.config.heartbeat;
            self.heartbeat_at = now + if first { self.random.up_to(every) } else { every };
            self.beat(now, out);
        }
        self.tell(now, out);
        self.dial(now, out);
        let heartbeat_at = self.heartbeat_at;
        let silent = self.links.values().map(|link| link.heard).min();
        let silent = silent.map(|heard| heard + self.config.node_timeout);
        let opened = self.links.values().filter(|link| link.peer.is_none()).map(|link| link.opened);
        let handshake = opened.min().map(|opened| opened + HANDSHAKE);
        let join = self.joins.iter().map(|join| join.until).min();
        let dial = self.dialer.next();
        for at in [Some(heartbeat_at), silent, handshake, join, dial].into_iter().flatten() {
            self.wake_at(at);
        }
    }

    /// If this process stood still, that others were silent meanwhile is no news of them: what they
    /// said may still wait to be read.
    pub(super) fn make_up_for(&mut self, late: Duration, now: Time) {
        if late < self.config.heartbeat {
            return;
        }
        for link in self.links.values_mut() {
            link.heard = (link.heard + late).min(now);
            if let Some(node) = link.peer.as_ref().and_then(|peer| self.nodes.get_mut(&peer.node)) {
                node.heard = link.heard;
            }
        }
    }

    /// Closes links that nothing has come from for too long, and those without a Hello.
    pub(super) fn silence(&mut self, now: Time, out: &mut Out) {
        let is_late = |link: &Link| link.peer.is_none() && now.since(link.opened) >= HANDSHAKE;
        let late: Vec<LinkId> =
            self.links.iter().filter(|(_, link)| is_late(link)).map(|(id, _)| *id).collect();
        for link in late {
            self.close(now, link, &format!("no Hello in {HANDSHAKE:?}"), out);
        }
        let timeout = self.config.node_timeout;
        let silent =
            |(link, state): (&LinkId, &Link)| (now.since(state.heard) >= timeout).then_some(*link);
        let silent: Vec<LinkId> = self.links.iter().filter_map(silent).collect();
        for link in silent {
            self.close(now, link, &format!("nothing heard for {timeout:?}"), out);
        }
    }

    pub(super) fn beat(&mut self, now: Time, out: &mut Out) {
        let links: Vec<LinkId> = self.peers().collect();
        if !links.is_empty() {
            out.push(send(links, Body::Heartbeat(Heartbeat { table: self.table.hash() })));
        }
        let names: Vec<String> = self.nodes.keys().cloned().collect();
        for name in names {
            self.note_liveness(now, &name, out);
            self.forget_if_long_dead(now, &name);
        }
        self.table.expire(now, self.config.forget_after);
    }

    pub(super) fn forget_if_long_dead(&mut self, now: Time, name: &str) {
        let Some(node) = self.nodes.get(name) else { return };
        if node.link.is_none()
            && now.since(node.heard) >= self.config.forget_after
            && let Some(record) = self.table.get(name)
        {
            let generation = record.generation;
            self.forget_up_to(now, name, generation, false);
        }
    }

    pub(super) fn dial(&mut self, now: Time, out: &mut Out) {
        let (nodes, table) = (&self.nodes, &self.table);
        let is_linked = |name: &str| nodes.get(name).is_some_and(|node| node.link.is_some());
        let linked = |node: Option<&str>, address: &str| {
            let says = |name: &String| {
                let record = table.get(name);
                record.is_some_and(|record| record.addresses.iter().any(|said| said == address))
            };
            node.is_some_and(is_linked)
                || nodes.iter().any(|(name, node)| node.link.is_some() && says(name))
        };
        for address in self.dialer.due(now, linked) {
            self.dialer.dial(&address, None);
            out.push(Effect::Dial { address });
        }
        self.dial_nodes(now, out);
    }

    /// Dials the nodes of the table that are due: those first that were reached before; the others, of
    /// which this node has only been told, within the bounds of the dialer, the longest due first.
    fn dial_nodes(&mut self, now: Time, out: &mut Out) {
        let is_here = |name: &str| self.table.get(name).is_some_and(|record| !record.left);
        let waiting = self.nodes.iter().filter(|(name, node)| node.link.is_none() && is_here(name));
        let order = |node: &Node| (!node.redial.is_known_good(), node.redial.at);
        let mut due: Vec<_> = waiting.map(|(name, node)| (order(node), name.clone())).collect();
        due.sort_unstable();
        let mut wake = Time(u64::MAX);
        for ((is_unknown, at), name) in due {
            if at > now {
                wake = wake.min(at);
                continue;
            }
            let (Some(node), Some(record)) = (self.nodes.get_mut(&name), self.table.get(&name))
            else {
                continue;
            };
            let usable = |address: &str| {
                !self.dialer.is_own(now, address)
                    && !self.dialer.is_dialing(address)
                    && !self.config.addresses.iter().any(|own| own == address)
            };
            let address = node.redial.address(&record.addresses, usable);
            if let Some(address) = &address
                && is_unknown
                && !self.dialer.may_dial(now, address)
            {
                wake = wake.min(self.dialer.may_dial_at(now));
                continue;
            }
            node.redial.at = now + self.random.around(self.config.redial_max);
            wake = wake.min(node.redial.at);
            if let Some(address) = address {
                self.dialer.dial(&address, Some(name));
                out.push(Effect::Dial { address });
            }
        }
        self.wake_at(wake);
    }

    pub(super) fn suspect_after(&self) -> Duration {
        (self.config.heartbeat * SUSPECT_AFTER).min(self.config.node_timeout)
    }

    pub(super) fn liveness(&self, now: Time, name: &str) -> Liveness {
        let Some(node) = self.nodes.get(name) else { return Liveness::Dead };
        let silent = now.since(node.heard);
        if node.link.is_none() && self.table.get(name).is_some_and(|record| record.left) {
            Liveness::Left
        } else if silent >= self.config.node_timeout {
            Liveness::Dead
        } else if node.link.is_none() || silent >= self.suspect_after() {
            Liveness::Suspect
        } else {
            Liveness::Alive
        }
    }

    pub(super) fn note_liveness(&mut self, now: Time, name: &str, out: &mut Out) {
        let liveness = self.liveness(now, name);
        let Some(node) = self.nodes.get_mut(name) else { return };
        if node.noted == liveness {
            return;
        }
        node.noted = liveness;
        // Of nodes that others only speak of there is nothing to say.
        if !node.met || !self.lines.take(now) {
            return;
        }
        let note = match liveness {
            Liveness::Alive => Note::Info(format!("node '{name}' is here")),
            Liveness::Suspect => Note::Info(format!("node '{name}' is suspect")),
            Liveness::Dead => Note::Warn(format!("node '{name}' is dead")),
            Liveness::Left => Note::Info(format!("node '{name}' has left")),
        };
        out.push(Effect::Note(note));
    }

    /// The node table, this node first; what the replicator knows is left at zero.
    #[must_use]
    pub fn view(&self, now: Time) -> Vec<NodeView> {
        let view = |record: &NodeRecord, liveness, linked, heard_ms| NodeView {
            name: record.node.clone(),
            replica: ReplicaId(record.replica),
            addresses: record.addresses.clone(),
            liveness,
            linked,
            functions: record
                .functions
                .iter()
                .filter(|function| function.role() == peer::function_record::Role::Runs)
                .map(|function| (function.function.clone(), function.replicas.clone()))
                .collect(),
            holds: record
                .functions
                .iter()
                .filter(|function| function.role() != peer::function_record::Role::Runs)
                .map(|function| function.function.clone())
                .collect(),
            under_copied: 0,
            heard_ms,
            lag_events: 0,
            lag_ms: 0,
            lag_bytes: 0,
            acknowledged: Vec::new(),
            drift_ms: None,
            faults: 0,
            seeds: Vec::new(),
        };
        let mut own = view(self.own(), Liveness::Alive, false, 0);
        let seeds = self.dialer.seeds();
        own.seeds = seeds.map(|(at, error)| (at.to_owned(), error.map(str::to_owned))).collect();
        let mut all = vec![own];
        for (name, node) in &self.nodes {
            if let Some(record) = self.table.get(name) {
                let heard = u64::try_from(now.since(node.heard).as_millis()).unwrap_or(u64::MAX);
                let view = view(record, self.liveness(now, name), node.link.is_some(), heard);
                all.push(NodeView { drift_ms: node.drift_ms, faults: node.faults, ..view });
            }
        }
        all
    }
}
