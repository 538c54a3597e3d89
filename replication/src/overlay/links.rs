//! Links as they come and go, and how nodes are found.

use std::time::Duration;

use bytes::Bytes;
use miso_protocol::peer::message::Body;
use miso_protocol::peer::{Challenge, VERSION};
use miso_store::crdt::ReplicaId;

use super::check::{ADDRESSES_MAX, NODES_MAX};
use super::dial::{Full, Source};
use super::{
    Event, Gate, HANDSHAKE, JOIN_WAIT, Join, Link, Out, Overlay, Peer, STRANGERS_MAX, Session,
    close, send,
};
use crate::{Answer, AskId, Effect, Fault, LinkId, Note, Time};

impl Overlay {
    /// A node may be at an address: mDNS or a peer says so.
    pub fn found(&mut self, now: Time, address: String) {
        self.try_at(now, address, Source::Found);
    }

    /// A name that an operator gave stands for this address.
    pub fn resolved(&mut self, now: Time, address: String) {
        self.try_at(now, address, Source::Resolved);
    }

    pub(super) fn try_at(&mut self, now: Time, address: String, source: Source) {
        if matches!(self.dialer.add(now, address, source), Ok(true)) {
            self.wake_at(now);
        }
    }

    /// Look for a node at an address, for ever. Answers once it is reached, or why it is not.
    pub fn join(&mut self, now: Time, id: AskId, address: String, out: &mut Out) {
        let answer = |answer, out: &mut Out| out.push(Effect::Answer { id, answer });
        if self.is_linked_at(&address) {
            return answer(Answer::Done, out);
        }
        let why = if self.dialer.is_own(now, &address) || self.config.addresses.contains(&address) {
            format!("{address} is this node itself")
        } else if let Err(Full(most)) = self.dialer.add(now, address.clone(), Source::Seed) {
            format!("{most} addresses are looked for already, no more are taken")
        } else if self.joins.len() >= NODES_MAX {
            "too many questions at a time".to_owned()
        } else {
            self.dialer.hurry(now, &address);
            let until = now + JOIN_WAIT;
            self.wake_at(now);
            return self.joins.push(Join { id, address, until });
        };
        answer(Answer::Refused(format!("ERR {why}")), out);
    }

    fn is_linked_at(&self, address: &str) -> bool {
        let linked = self.links.values().filter(|link| link.peer.is_some());
        linked.filter_map(|link| link.address.as_deref()).any(|dialed| dialed == address)
    }

    /// Answers the questions about an address; the error is what has gone wrong.
    pub(super) fn answer_joins(&mut self, address: &str, result: Result<(), &str>, out: &mut Out) {
        for join in self.joins.extract_if(.., |join| join.address == address) {
            let answer = match result {
                Ok(()) => Answer::Done,
                Err(error) => Answer::Refused(format!("ERR {address}: {error}; it is tried again")),
            };
            out.push(Effect::Answer { id: join.id, answer });
        }
    }

    pub(super) fn answer_late_joins(&mut self, now: Time, out: &mut Out) {
        for join in self.joins.extract_if(.., |join| join.until <= now) {
            let reason = format!("ERR {}: no answer yet; it is tried again", join.address);
            out.push(Effect::Answer { id: join.id, answer: Answer::Refused(reason) });
        }
    }

    /// Peers reach this node at other addresses than before.
    pub fn set_addresses(&mut self, now: Time, addresses: &[String], out: &mut Out) {
        let addresses: Vec<String> = addresses.iter().take(ADDRESSES_MAX).cloned().collect();
        if addresses == self.config.addresses || self.over {
            return;
        }
        out.push(Effect::Note(Note::Info(format!("peers reach this node at {addresses:?} now"))));
        self.config.addresses.clone_from(&addresses);
        self.hello.addresses.clone_from(&addresses);
        let mut own = self.own().clone();
        own.addresses = addresses;
        own.version += 1;
        self.table.insert(own);
        self.untold = true;
        self.tell(now, out);
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
        let is_stranger =
            |(_, link): &(&LinkId, &Link)| link.peer.is_none() && link.address.is_none();
        let strangers = self.links.iter().filter(is_stranger);
        let (count, oldest) =
            (strangers.clone().count(), strangers.min_by_key(|(id, link)| (link.opened, **id)));
        if let Some((&oldest, _)) = oldest.filter(|_| count >= STRANGERS_MAX) {
            self.close(now, oldest, "too many links without a Hello", out);
        }
        self.open(now, link, None, 0, out);
    }

    /// A link that has just opened has TLS.
    pub fn agreed(&mut self, link: LinkId, session: Session) {
        if let Some(link) = self.links.get_mut(&link) {
            link.session = Some(session);
        }
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
            None => (Gate::Open(None), Body::Hello(self.hello(now, dial))),
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
        let this = Link {
            address,
            dial,
            opened: now,
            heard: now,
            gate,
            key: None,
            session: None,
            peer: None,
            digest: None,
            answered: None,
        };
        self.links.insert(link, this);
        self.wake_at(now + self.config.node_timeout.min(HANDSHAKE));
        out.push(send(vec![link], first));
    }

    /// A dial has failed.
    pub fn link_failed(&mut self, now: Time, address: &str, reason: &str, out: &mut Out) {
        let node = self.dialer.over(address);
        self.say_unreached(now, address, reason, out);
        self.unreached(now, address, node, reason, out);
    }

    /// Of an address that an operator gave it is said why no node is reached there.
    fn say_unreached(&mut self, now: Time, address: &str, reason: &str, out: &mut Out) {
        if self.dialer.is_trusted(address) && !self.over {
            let note = format!("cannot reach a node at {address}: {reason}; it is tried again");
            self.warn_seldom(now, &format!("unreached {address}"), note, out);
        }
    }

    pub(super) fn unreached(
        &mut self,
        now: Time,
        address: &str,
        node: Option<String>,
        reason: &str,
        out: &mut Out,
    ) {
        self.answer_joins(address, Err(reason), out);
        let again = self.dialer.failed(now, address, reason, &mut self.random);
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
                    let (node, reason) = (self.node_at(&address), "its link ends before its Hello");
                    self.say_unreached(now, &address, reason, out);
                    self.unreached(now, &address, node, reason, out);
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
        let (lived, longest) =
            (now.since(node.linked_at) >= self.config.node_timeout, self.config.redial_max);
        node.redial.ended(now, lived, wait, longest, &mut self.random);
        let at = node.redial.at;
        self.events.push_back(Event::Down(peer.replica));
        let record = self.table.get(&peer.node);
        if record.is_none_or(|record| record.replica != peer.replica.0) {
            if record.is_some() {
                self.note_former(&peer.node, peer.replica);
            }
            self.gone(peer.replica);
        }
        self.wake_at(at);
        self.note_liveness(now, &peer.node.clone(), out);
    }

    /// An incarnation will not come back, unless it is linked: what others say does not end that.
    pub(super) fn gone(&mut self, replica: ReplicaId) {
        if !self.is_linked(replica) {
            self.events.push_back(Event::Gone(replica));
        }
    }

    /// Whether an incarnation is this node's own, or at the other end of a link.
    pub(super) fn is_linked(&self, replica: ReplicaId) -> bool {
        let peers = self.links.values().filter_map(|link| link.peer.as_ref());
        replica == self.config.replica || peers.into_iter().any(|peer| peer.replica == replica)
    }

    /// Closes a link from here.
    pub(super) fn close(&mut self, now: Time, link: LinkId, reason: &str, out: &mut Out) {
        let Some(gone) = self.links.remove(&link) else { return };
        out.push(close(link, reason));
        match gone.peer {
            Some(peer) => self.unlinked(now, link, &peer, out),
            None => {
                if let Some(address) = gone.address {
                    self.unreached(now, &address, None, reason, out);
                }
            }
        }
    }

    /// Closes a link for its peer's fault.
    pub fn fault(&mut self, now: Time, link: LinkId, fault: &Fault, out: &mut Out) {
        self.close(now, link, &fault.0, out);
    }
}
