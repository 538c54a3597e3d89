//! Time passing: heartbeats, silence, dialing again, and how nodes look.

use std::time::Duration;

use miso_protocol::peer::message::Body;
use miso_protocol::peer::{Heartbeat, NodeRecord};
use miso_store::crdt::ReplicaId;

use super::{Link, Out, Overlay, SUSPECT_AFTER, send};
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
        for at in [Some(heartbeat_at), silent, self.dialer.next()].into_iter().flatten() {
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

    /// Closes links that nothing has come from for too long.
    pub(super) fn silence(&mut self, now: Time, out: &mut Out) {
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
        let mut wake = Time(u64::MAX);
        for (name, node) in &mut self.nodes {
            let Some(record) = self.table.get(name) else { continue };
            if node.link.is_some() || record.left {
                continue;
            }
            if node.redial.at <= now {
                node.redial.at = now + self.random.around(self.config.redial_max);
                let dialer = &self.dialer;
                let usable = |address: &str| {
                    !dialer.is_own(now, address)
                        && !dialer.is_dialing(address)
                        && !self.config.addresses.iter().any(|own| own == address)
                };
                if let Some(address) = node.redial.address(&record.addresses, usable) {
                    self.dialer.dial(&address, Some(name.clone()));
                    out.push(Effect::Dial { address });
                }
            }
            wake = wake.min(node.redial.at);
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
                .map(|function| (function.function.clone(), function.replicas.clone()))
                .collect(),
            heard_ms,
            lag_events: 0,
            lag_ms: 0,
            lag_bytes: 0,
            acknowledged: Vec::new(),
        };
        let mut all = vec![view(self.own(), Liveness::Alive, false, 0)];
        for (name, node) in &self.nodes {
            if let Some(record) = self.table.get(name) {
                let heard = u64::try_from(now.since(node.heard).as_millis()).unwrap_or(u64::MAX);
                all.push(view(record, self.liveness(now, name), node.link.is_some(), heard));
            }
        }
        all
    }
}
