//! The handshake: the node at the other end of a link is accepted or refused by its Hello.

use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, Mac as _};
use miso_protocol::names::NAME_MAX;
use miso_protocol::peer::message::Body;
use miso_protocol::peer::refusal::Kind;
use miso_protocol::peer::{Challenge, Hello, NodeRecord, Proof, Records, Refusal, VERSION};
use miso_store::crdt::ReplicaId;
use sha2::Sha256;

use super::check::NODES_MAX;
use super::dial::{Redial, Source};
use super::secret::{End, Gate, Key, Nonce, Prover, Role, Secret};
use super::{DRIFT, Event, Link, Node, Out, Overlay, Peer, check, close, send};
use crate::{Effect, Fault, LinkId, Note, Time};

/// The refusal of a link on which only one end asks for proof.
const ONE_HAS_NONE: &str =
    "only one of the two nodes has a cluster-secret: set the same on all nodes, or on none";
/// The refusal of a wrong proof.
const OTHER_SECRET: &str =
    "the two nodes have different cluster-secrets: set the same on all nodes";

impl Overlay {
    pub(super) fn greeted(
        &mut self,
        now: Time,
        link: LinkId,
        hello: Hello,
        out: &mut Out,
    ) -> Result<(), Fault> {
        if self.links.get(&link).is_none_or(|link| link.peer.is_some()) {
            return Err(Fault("it says Hello twice".into()));
        }
        let Some(proven) = self.is_open(link) else {
            self.refuse(now, link, Kind::Secret, ONE_HAS_NONE, &[], out);
            return Ok(());
        };
        if !self.is_of_this_cluster(now, link, hello.protocol, &hello.cluster, out)? {
            return Ok(());
        }
        check::hello(&hello)?;
        if proven.is_some_and(|replica| replica.0 != hello.replica) {
            return Err(Fault("its Hello is another's than its proof".into()));
        }
        if let Some(reason) = self.misnamed(link, &hello.node) {
            self.refuse(now, link, Kind::Other, &reason, &[], out);
            return Ok(());
        }
        if hello.node == self.config.node || hello.replica == self.config.replica.0 {
            self.met_a_double(now, link, &hello, out);
            return Ok(());
        }
        let peer = Peer {
            node: hello.node.clone(),
            replica: ReplicaId(hello.replica),
            generation: hello.generation,
        };
        if !self.nodes.contains_key(&peer.node)
            && self.nodes.len() + 1 >= NODES_MAX
            && !self.make_room()
        {
            self.refuse(now, link, Kind::Other, "too many nodes", &[], out);
            return Ok(());
        }
        if let Some((kind, holder)) = self.holder(now, &peer, &hello.addresses) {
            let what = if kind == Kind::Name { "name" } else { "ReplicaId" };
            let addresses = self.table.get(&holder).map_or(Vec::new(), |r| r.addresses.clone());
            let reason = format!(
                "the {what} of '{}' is that of a living node '{holder}', at {addresses:?}",
                peer.node
            );
            self.refuse(now, link, kind, &reason, &addresses, out);
            return Ok(());
        }
        let Some(this) = self.links.get_mut(&link) else { return Ok(()) };
        if this.address.is_none() {
            this.dial = hello.dial;
        }
        if let Some(address) = this.address.clone() {
            self.dialer.reached(&address, &peer.node);
            self.answer_joins(&address, Ok(()), out);
        }
        if self.loses(link, &peer) {
            self.close(now, link, "there is a better link to the same node", out);
            return Ok(());
        }
        self.accept(now, link, peer, hello, out);
        Ok(())
    }

    /// Why the other end of a link must not say this name: its certificate is another node's.
    fn misnamed(&self, link: LinkId, node: &str) -> Option<String> {
        let names = self.links.get(&link)?.session.as_ref()?.names.as_ref()?;
        let is_named = names.iter().any(|name| name == node);
        (!is_named).then(|| {
            let node = node.escape_debug();
            format!("its certificate names {names:?}, and it says that it is node '{node}'")
        })
    }

    /// Whether the other end is of this protocol version and cluster; if not, it is refused.
    pub(super) fn is_of_this_cluster(
        &mut self,
        now: Time,
        link: LinkId,
        protocol: u32,
        cluster: &str,
        out: &mut Out,
    ) -> Result<bool, Fault> {
        let (kind, reason) = if protocol != VERSION {
            (Kind::Protocol, format!("protocol version {VERSION} here, not {protocol}"))
        } else {
            check::length("cluster name", cluster.len(), NAME_MAX)?;
            if cluster == self.config.cluster {
                return Ok(true);
            }
            let theirs = cluster.escape_debug();
            (Kind::Cluster, format!("this is cluster '{}', not '{theirs}'", self.config.cluster))
        };
        self.refuse(now, link, kind, &reason, &[], out);
        Ok(false)
    }

    /// The other living node, if there is one, that has this one's name or ReplicaId.
    pub(super) fn holder(
        &self,
        now: Time,
        peer: &Peer,
        addresses: &[String],
    ) -> Option<(Kind, String)> {
        for (name, node) in &self.nodes {
            let Some(link) = node.link.and_then(|link| self.links.get(&link)) else { continue };
            let Some(holder) = &link.peer else { continue };
            let silent = now.since(link.heard) >= self.suspect_after();
            if *name == peer.node && holder.replica != peer.replica {
                // At the same address: the node was restarted, and its old link has not ended yet.
                let record = self.table.get(name);
                let moved_in = record.is_some_and(|record| {
                    record.addresses.iter().any(|address| addresses.contains(address))
                });
                if !moved_in && !silent {
                    return Some((Kind::Name, name.clone()));
                }
            } else if *name != peer.node && holder.replica == peer.replica && !silent {
                return Some((Kind::Replica, name.clone()));
            }
        }
        None
    }

    /// Whether the node's present link is the better one. Both ends decide alike.
    pub(super) fn loses(&self, link: LinkId, peer: &Peer) -> bool {
        let Some(other) = self.nodes.get(&peer.node).and_then(|node| node.link) else {
            return false;
        };
        let (Some(new), Some(old)) = (self.links.get(&link), self.links.get(&other)) else {
            return false;
        };
        let same = |old: &Peer| old.replica == peer.replica && old.generation == peer.generation;
        let smaller_is_here = self.config.replica < peer.replica;
        let worth = |link: &Link| (link.address.is_some() == smaller_is_here, link.dial);
        old.peer.as_ref().is_some_and(same) && worth(old) > worth(new)
    }

    pub(super) fn accept(
        &mut self,
        now: Time,
        link: LinkId,
        peer: Peer,
        hello: Hello,
        out: &mut Out,
    ) {
        if let Some(old) = self.nodes.get(&peer.node).and_then(|node| node.link) {
            self.close(now, old, "replaced by a newer link to the same node", out);
        }
        let Some(this) = self.links.get_mut(&link) else { return };
        this.peer = Some(peer.clone());
        this.heard = now;
        let address = this.address.clone();
        let tombstone = self.table.forgotten(&peer.node);
        let greeting = NodeRecord {
            node: hello.node,
            replica: hello.replica,
            generation: hello.generation,
            version: 0,
            addresses: hello.addresses,
            ..NodeRecord::default()
        };
        let merged = self.table.merge(greeting, false);
        self.replaced(&merged, &peer.node, peer.replica.0);
        let drift_ms = self.drift(now, hello.clock);
        let node = self.nodes.entry(peer.node.clone());
        let node = node.or_insert_with(|| Node::new(now, Redial::at(now)));
        node.link = Some(link);
        (node.heard, node.linked_at, node.met, node.drift_ms) = (now, now, true, drift_ms);
        node.redial.reached(address);
        self.say_drift(now, &peer.node, drift_ms, out);
        self.events.push_back(Event::Up(peer.replica, link));
        self.tell_runs(&peer.node);
        self.note_liveness(now, &peer.node, out);
        let own = self.own().clone();
        out.push(send(vec![link], Body::Records(Records { records: vec![own] })));
        if let Some(record) = tombstone {
            out.push(send(vec![link], Body::Records(Records { records: vec![record] })));
        }
        self.send_digest(now, link, out);
    }

    /// A node has this one's name or ReplicaId: it is this node itself, or another one.
    pub(super) fn met_a_double(&mut self, now: Time, link: LinkId, hello: &Hello, out: &mut Out) {
        let me = (self.config.generation, self.config.replica.0, self.config.node.as_str());
        let it = (hello.generation, hello.replica, hello.node.as_str());
        if me == it {
            let address = self.links.remove(&link).and_then(|link| link.address);
            out.push(close(link, "it is this node itself"));
            if let Some(address) = address {
                self.answer_joins(&address, Err("it is this node itself"), out);
                self.dialer.set_own(now, address);
            }
            return;
        }
        let kind = if me.2 == it.2 { Kind::Name } else { Kind::Replica };
        let what = if kind == Kind::Name { "name" } else { "ReplicaId" };
        // A peer that dials may claim anything. Only the node at an address that an operator gave, or
        // that such a node names, can show that another lives under this name.
        let dialed = self.links.get(&link).and_then(|link| link.address.as_deref());
        let is_shown = dialed.is_some_and(|address| self.dialer.is_trusted(address));
        if it > me || !is_shown {
            let reason = format!(
                "the {what} of '{}' is that of another living node, '{}', at {:?}",
                it.2, me.2, self.config.addresses
            );
            self.refuse(now, link, kind, &reason, &self.config.addresses.clone(), out);
        } else {
            let reason = format!(
                "an older node in cluster '{}' has this node's {what}: '{}', started {} ms earlier, at {:?}",
                self.config.cluster,
                it.2,
                me.0.saturating_sub(it.0),
                hello.addresses
            );
            self.end(now, reason, out);
        }
    }

    pub(super) fn end(&mut self, now: Time, reason: String, out: &mut Out) {
        out.push(Effect::Note(Note::Fatal(reason)));
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        for link in links {
            self.close(now, link, "this node must end", out);
        }
        self.over = true;
    }

    pub(super) fn refuse(
        &mut self,
        now: Time,
        link: LinkId,
        kind: Kind,
        reason: &str,
        addresses: &[String],
        out: &mut Out,
    ) {
        let refusal =
            Refusal { reason: reason.to_owned(), kind: kind.into(), addresses: addresses.to_vec() };
        out.push(send(vec![link], Body::Refusal(refusal)));
        self.refusals += 1;
        if self.noted.take(now, &format!("refused a node: {reason}")) {
            out.push(Effect::Note(Note::Refused(reason.to_owned())));
        }
        self.close(now, link, reason, out);
    }

    /// A peer refuses this node. That never ends it: the peer may be wrong, or hostile.
    pub(super) fn refused(&mut self, now: Time, link: LinkId, refusal: &Refusal, out: &mut Out) {
        let reason: String = refusal.reason.chars().take(256).collect();
        let reason = reason.escape_debug().to_string();
        let is_believed = self.is_open(link).is_some();
        let dialed = self.links.get(&link).and_then(|link| link.address.as_deref());
        let source = match dialed {
            Some(address) if self.dialer.is_trusted(address) => Source::Resolved,
            _ => Source::Found,
        };
        self.refusals += 1;
        let note = format!("a peer refuses this node: {reason}");
        self.warn_seldom(now, &note.clone(), note, out);
        self.close(now, link, &format!("it refuses this node: {reason}"), out);
        // The peer may take a dead node for living. This node asks that one itself.
        if is_believed
            && matches!(refusal.kind(), Kind::Name | Kind::Replica)
            && check::addresses_of(&refusal.addresses).is_ok()
        {
            for address in &refusal.addresses {
                self.try_at(now, address.clone(), source);
            }
        }
    }

    /// Logs a warning, unless one with this key was logged a short time ago, or too many others were.
    pub(crate) fn warn_seldom(&mut self, now: Time, key: &str, note: String, out: &mut Out) {
        if self.noted.take(now, key) {
            out.push(Effect::Note(Note::Warn(note)));
        }
    }

    /// Makes room in a full table: of the nodes without a link, one that was never met goes, else the
    /// one that is silent for the longest time. Returns whether there was one.
    fn make_room(&mut self) -> bool {
        let away = self.nodes.iter().filter(|(_, node)| node.link.is_none());
        let Some((name, _)) = away.min_by_key(|(_, node)| (node.met, node.heard)) else {
            return false;
        };
        let name = name.clone();
        self.nodes.remove(&name);
        if let Some(record) = self.table.remove(&name) {
            self.gone(ReplicaId(record.replica));
        }
        true
    }

    /// By how many milliseconds this node's clock is ahead of those of all others that have said theirs; 0 if one
    /// is not late against it, or none is known.
    pub(crate) fn clock_lead(&self) -> u64 {
        let drifts = self.nodes.values().filter_map(|node| node.drift_ms);
        drifts.map(|drift| drift.min(0).unsigned_abs()).min().unwrap_or(0)
    }

    /// By how many milliseconds a peer's clock is ahead of this node's; none if it does not say.
    fn drift(&self, now: Time, clock: u64) -> Option<i64> {
        let here = self.clock(now);
        (clock > 0).then(|| i64::try_from(i128::from(clock) - i128::from(here)).unwrap_or(i64::MAX))
    }

    fn say_drift(&mut self, now: Time, node: &str, drift_ms: Option<i64>, out: &mut Out) {
        let Some(drift) = drift_ms else { return };
        let by = Duration::from_millis(drift.unsigned_abs());
        if by < DRIFT {
            return;
        }
        let way = if drift > 0 { "ahead of" } else { "late against" };
        let note = format!(
            "the clock of node '{node}' is {by:?} {way} this node's: of concurrent writes to a register \
             the later clock wins, so set both clocks by NTP"
        );
        self.warn_seldom(now, &format!("drift {node}"), note, out);
    }
}

/// The gate: what is said on a link before Hello, in a cluster with a secret.
impl Overlay {
    /// Whether the other end of a link may say Hello; as which node, if it had to prove that.
    pub(super) fn is_open(&self, link: LinkId) -> Option<Option<ReplicaId>> {
        match self.links.get(&link)?.gate {
            Gate::Open(replica) => Some(replica),
            Gate::Shut { .. } => None,
        }
    }

    /// The other end asks for proof.
    pub(super) fn challenged(
        &mut self,
        now: Time,
        link: LinkId,
        challenge: Challenge,
        out: &mut Out,
    ) -> Result<(), Fault> {
        let Some(this) = self.links.get(&link) else { return Ok(()) };
        if self.prover.is_none() {
            self.refuse(now, link, Kind::Secret, ONE_HAS_NONE, &[], out);
            return Ok(());
        }
        let Gate::Shut { challenge: None, .. } = this.gate else {
            return Err(Fault("it asks for proof twice".into()));
        };
        let is_dialer = this.address.is_some();
        if !self.is_of_this_cluster(now, link, challenge.protocol, &challenge.cluster, out)? {
            return Ok(());
        }
        if challenge.nonce.len() != size_of::<Nonce>() {
            return Err(Fault(format!("a nonce of {} bytes", challenge.nonce.len())));
        }
        if let Some(this) = self.links.get_mut(&link)
            && let Gate::Shut { challenge: asked, .. } = &mut this.gate
        {
            *asked = Some(challenge);
        }
        if is_dialer {
            let own = self.prover.as_ref().map(Prover::own);
            self.prove(link, own, out);
        }
        Ok(())
    }

    /// The other end gives its proof.
    pub(super) fn proven(
        &mut self,
        now: Time,
        link: LinkId,
        proof: &Proof,
        out: &mut Out,
    ) -> Result<(), Fault> {
        let Some(role) = self.role(link) else { return Ok(()) };
        if !self.is_asked(link) {
            return Err(Fault("a proof that was not asked for".into()));
        }
        let Some(key) = self.fitting(link, role, proof) else {
            self.refuse(now, link, Kind::Secret, OTHER_SECRET, &[], out);
            return Ok(());
        };
        if role == Role::Dialed {
            self.prove(link, Some(key), out);
        }
        let Some(this) = self.links.get_mut(&link) else { return Ok(()) };
        if let Gate::Shut { challenge: Some(challenge), .. } = &this.gate {
            this.gate = Gate::Open(Some(ReplicaId(challenge.replica)));
        }
        let dial = this.dial;
        let hello = self.hello(now, dial);
        out.push(send(vec![link], Body::Hello(hello)));
        Ok(())
    }

    /// Takes other secrets, and closes the links of which neither end would be let in by them. They are made
    /// anew. Without effect on a node that began without a secret.
    pub fn set_secret(&mut self, now: Time, secret: Secret, out: &mut Out) {
        let Some(prover) = &mut self.prover else { return };
        prover.replace(secret);
        let is_accepted = |key: &Key| prover.accepted().any(|accepted| accepted == key);
        let made_by_another = |link: &&Link| link.key.as_ref().is_some_and(|key| !is_accepted(key));
        let ended = self.links.iter().filter(|(_, link)| made_by_another(link));
        let ended: Vec<LinkId> = ended.map(|(id, _)| *id).collect();
        for link in ended {
            self.close(now, link, "it was made by a secret that is no longer accepted", out);
        }
    }

    /// The accepted secret that the other end's proof fits. A dialed end must prove the one that this end
    /// has proven.
    fn fitting(&self, link: LinkId, role: Role, proof: &Proof) -> Option<Key> {
        let prover = self.prover.as_ref()?;
        // In the same time for all that are wrong.
        let fits = |key: &&Key| {
            let expected = self.proof_of(link, role.other(), key);
            expected.is_some_and(|expected| expected.verify_slice(&proof.mac).is_ok())
        };
        match &self.links.get(&link)?.key {
            Some(given) => Some(given).filter(fits).cloned(),
            None => prover.accepted().find(fits).cloned(),
        }
    }

    /// Sends this end's proof that it knows a secret.
    fn prove(&mut self, link: LinkId, key: Option<Key>, out: &mut Out) {
        let (Some(role), Some(key)) = (self.role(link), key) else { return };
        let Some(proof) = self.proof_of(link, role, &key) else { return };
        if let Some(this) = self.links.get_mut(&link) {
            this.key = Some(key);
        }
        let mac = Bytes::copy_from_slice(&proof.finalize().into_bytes());
        out.push(send(vec![link], Body::Proof(Proof { mac })));
    }

    /// Which end of a link this node is.
    fn role(&self, link: LinkId) -> Option<Role> {
        let link = self.links.get(&link)?;
        Some(if link.address.is_some() { Role::Dialer } else { Role::Dialed })
    }

    /// Whether both ends have asked for proof, and this one has not had it.
    fn is_asked(&self, link: LinkId) -> bool {
        let gate = self.links.get(&link).map(|link| &link.gate);
        matches!(gate, Some(Gate::Shut { challenge: Some(_), .. }))
    }

    /// The proof of one end of a link that it knows `key`, while it is asked for.
    fn proof_of(&self, link: LinkId, role: Role, key: &Key) -> Option<Hmac<Sha256>> {
        let Gate::Shut { nonce, challenge: Some(other) } = &self.links.get(&link)?.gate else {
            return None;
        };
        let here = End { replica: self.config.replica.0, nonce };
        let there = End { replica: other.replica, nonce: &other.nonce };
        let (dialer, dialed) = match self.role(link)? {
            Role::Dialer => (here, there),
            Role::Dialed => (there, here),
        };
        let proof = Prover::proof(key, role, &self.config.cluster, dialer, dialed);
        let session = self.links.get(&link)?.session.as_ref();
        Some(match session {
            Some(session) => proof.chain_update(session.binding),
            None => proof,
        })
    }
}
