//! Links as they come and go, and how nodes are found.

use std::time::Duration;

use bytes::Bytes;
use miso_protocol::peer::message::Body;
use miso_protocol::peer::{Challenge, Hello, VERSION};

use super::{Event, Gate, Link, Out, Overlay, Peer, STRANGERS_MAX, close, send};
use crate::{Fault, LinkId, Time};

impl Overlay {
    /// A node may be at an address: mDNS, DNS or a peer says so.
    pub fn found(&mut self, now: Time, address: String) {
        if self.dialer.add(now, address, false) {
            self.wake_at(now);
        }
    }

    /// Look for a node at an address, for ever.
    pub fn join(&mut self, now: Time, address: String) {
        if self.dialer.add(now, address, true) {
            self.wake_at(now);
        }
    }

    /// A dialed link is open.
    pub fn link_opened(&mut self, now: Time, address: String, link: LinkId, out: &mut Out) {
        self.dialer.over(&address);
        if self.over {
            return out.push(close(link, "this node ends"));
        }
        self.dials += 1;
        self.open(now, link, Some(address), self.dials, out);
    }

    /// A peer has dialed.
    pub fn link_accepted(&mut self, now: Time, link: LinkId, out: &mut Out) {
        if self.over {
            return out.push(close(link, "this node ends"));
        }
        if self.links.values().filter(|link| link.peer.is_none()).count() >= STRANGERS_MAX {
            return out.push(close(link, "too many links without a Hello"));
        }
        self.open(now, link, None, 0, out);
    }

    pub(super) fn open(
        &mut self,
        now: Time,
        link: LinkId,
        address: Option<String>,
        dial: u64,
        out: &mut Out,
    ) {
        let (gate, first) = match &mut self.prover {
            None => (Gate::Open(None), Body::Hello(Hello { dial, ..self.hello.clone() })),
            Some(prover) => {
                let nonce = prover.nonce();
                let challenge = Challenge {
                    protocol: VERSION,
                    cluster: self.config.cluster.clone(),
                    replica: self.config.replica.0,
                    nonce: Bytes::copy_from_slice(&nonce),
                };
                (Gate::Shut { nonce, challenge: None }, Body::Challenge(challenge))
            }
        };
        self.links.insert(link, Link { address, dial, heard: now, gate, peer: None, digest: None });
        self.wake_at(now + self.config.node_timeout);
        out.push(send(vec![link], first));
    }

    /// A dial has failed.
    pub fn link_failed(&mut self, now: Time, address: &str) {
        let node = self.dialer.over(address);
        self.unreached(now, address, node);
    }

    pub(super) fn unreached(&mut self, now: Time, address: &str, node: Option<String>) {
        let again = self.dialer.failed(now, address, &mut self.random);
        let longest = self.dialer.longest_wait();
        let node_again = node.and_then(|name| {
            let node = self.nodes.get_mut(&name)?;
            let addresses = self.table.get(&name).map_or(1, |record| record.addresses.len());
            Some(node.redial.failed(now, addresses, longest, &mut self.random))
        });
        for at in again.into_iter().chain(node_again) {
            self.wake_at(at);
        }
    }

    /// A link has ended by itself.
    pub fn link_closed(&mut self, now: Time, link: LinkId, out: &mut Out) {
        let Some(gone) = self.links.remove(&link) else { return };
        match gone.peer {
            Some(peer) => self.unlinked(now, link, &peer, out),
            None => {
                if let Some(address) = gone.address {
                    let node = self.node_at(&address);
                    self.unreached(now, &address, node);
                }
            }
        }
    }

    pub(super) fn node_at(&self, address: &str) -> Option<String> {
        let is_at = |name: &&String| {
            let record = self.table.get(name);
            record.is_some_and(|record| record.addresses.iter().any(|said| said == address))
        };
        self.nodes.keys().find(is_at).cloned()
    }

    /// A peer's link is gone: closed at either end.
    pub(super) fn unlinked(&mut self, now: Time, link: LinkId, peer: &Peer, out: &mut Out) {
        let Some(node) = self.nodes.get_mut(&peer.node) else { return };
        if node.link != Some(link) {
            return;
        }
        node.link = None;
        // The node with the smaller ReplicaId dials first, so that two dials do not cross.
        let wait = Duration::from_millis(if self.config.replica < peer.replica { 20 } else { 200 });
        node.redial.at = now + self.random.around(wait);
        let at = node.redial.at;
        self.events.push_back(Event::Down(peer.replica));
        let record = self.table.get(&peer.node);
        if record.is_none_or(|record| record.replica != peer.replica.0) {
            if record.is_some() {
                self.note_former(&peer.node, peer.replica);
            }
            self.events.push_back(Event::Gone(peer.replica));
        }
        self.wake_at(at);
        self.note_liveness(now, &peer.node.clone(), out);
    }

    /// Closes a link from here.
    pub(super) fn close(&mut self, now: Time, link: LinkId, reason: &str, out: &mut Out) {
        let Some(gone) = self.links.remove(&link) else { return };
        out.push(close(link, reason));
        match gone.peer {
            Some(peer) => self.unlinked(now, link, &peer, out),
            None => {
                if let Some(address) = gone.address {
                    self.unreached(now, &address, None);
                }
            }
        }
    }

    /// Closes a link for its peer's fault.
    pub fn fault(&mut self, now: Time, link: LinkId, fault: &Fault, out: &mut Out) {
        self.close(now, link, &fault.0, out);
    }
}
