//! The overlay: which nodes there are, which functions they run, and one working link to each.
//!
//! - **Links.** Both ends say Hello first; a link whose Hello is accepted belongs to a peer. Only what
//!   happens on a link (a Hello, a Goodbye, silence, its end) changes who is linked: gossip never
//!   closes a link, however wrong it is.
//! - **One link a pair.** If two are open, both ends keep the same one: that dialed by the smaller
//!   ReplicaId; among several of one dialer the newest. The other is closed.
//! - **Table.** Every node says of itself in a record what it runs; records spread by digests whenever
//!   the tables' hashes, which heartbeats bear, differ. What a node says of itself it pushes to all its
//!   peers at once, and whom it hears of at first hand it introduces to them. Of a linked node only
//!   itself is believed.
//! - **Life.** A linked node that is silent is suspect, then dead: its link is closed, and it is dialed
//!   again with growing waits. Much later it is forgotten. A restarted node is a new generation of its
//!   name, and takes over at its Hello.
//! - **Names.** Of two living nodes of one name, or of one ReplicaId, the younger must end. Whoever
//!   sees the second refuses it and tells it where the first is; when the two meet, the younger knows.

mod check;
mod dial;
mod random;
mod table;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use miso_protocol::peer::message::Body;
use miso_protocol::peer::refusal::Kind;
use miso_protocol::peer::{
    Digest, FunctionRecord, Goodbye, Heartbeat, Hello, NodeRecord, Records, Refusal, VERSION, frame,
};
use miso_store::crdt::ReplicaId;
use prost::Message as _;

use crate::{Effect, Fault, LinkId, Liveness, NodeView, Note, Time};
pub use check::{
    ADDRESS_MAX, ADDRESSES_MAX, FUNCTION_NAME_MAX, FUNCTIONS_MAX, NAME_MAX, NODES_MAX, REPLICAS_MAX,
};
use dial::{Dialer, Redial};
use random::Random;
use table::{Merged, Table};

/// The most links that have not said Hello yet.
const STRANGERS_MAX: usize = 256;
/// The most bytes of own functions: the record is one message, with room for the rest of it.
const RECORD_BYTES_MAX: usize = 512 << 10;
/// Records are put into one message up to here.
const RECORDS_BYTES: usize = 128 << 10;
/// Own changes are told at most so often.
const TELL_EVERY: Duration = Duration::from_millis(20);
/// How many heartbeats may be missing before a node is suspect.
const SUSPECT_AFTER: u32 = 3;

/// How an overlay is made.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cluster's name.
    pub cluster: String,
    /// This node's name, unique in the cluster.
    pub node: String,
    /// Its incarnation as a writer.
    pub replica: ReplicaId,
    /// When it started, in ms since 1970.
    pub generation: u64,
    /// Where peers reach it, `host:port`.
    pub addresses: Vec<String>,
    /// Of the program, for people.
    pub version: String,
    /// How often it says that it lives.
    pub heartbeat: Duration,
    /// A node that was silent for so long is dead.
    pub node_timeout: Duration,
    /// A node that was dead for so long is forgotten.
    pub forget_after: Duration,
    /// The longest wait before a node is dialed again.
    pub redial_max: Duration,
    /// Where to look for others.
    pub seeds: Vec<String>,
    /// For jitter.
    pub seed: u64,
}

impl Config {
    /// With usual times.
    #[must_use]
    pub fn new(cluster: &str, node: &str, replica: ReplicaId, generation: u64) -> Self {
        let node_timeout = Duration::from_secs(5);
        Self {
            cluster: cluster.to_owned(),
            node: node.to_owned(),
            replica,
            generation,
            addresses: Vec::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            heartbeat: node_timeout / 5,
            node_timeout,
            forget_after: Duration::from_secs(24 * 3600),
            redial_max: Duration::from_secs(5),
            seeds: Vec::new(),
            seed: replica.0,
        }
    }
}

/// What the replicator has to know of peers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// There is a link to it.
    Up(ReplicaId, LinkId),
    /// Its link is gone.
    Down(ReplicaId),
    /// It will not come back: forgotten, or replaced by a newer incarnation.
    Gone(ReplicaId),
    /// What it runs.
    Runs(ReplicaId, BTreeSet<Bytes>),
}

/// The state of the overlay.
#[derive(Debug)]
pub struct Overlay {
    config: Config,
    hello: Hello,
    table: Table,
    /// All nodes of the table but this one.
    nodes: BTreeMap<String, Node>,
    links: BTreeMap<LinkId, Link>,
    dialer: Dialer,
    random: Random,
    events: VecDeque<Event>,
    dials: u64,
    /// When own changes were told last, and whether there are others since.
    told: Option<Time>,
    untold: bool,
    /// Refusals because of this node's name: the first and the last.
    refused: Option<(Time, Time)>,
    /// Since when somebody holds a record of this node's name that wins over its own.
    contested: Option<Time>,
    heartbeat_at: Time,
    wake: Time,
    /// It has said goodbye, or must end.
    over: bool,
}

/// A node of the table, as seen from here.
#[derive(Debug)]
struct Node {
    link: Option<LinkId>,
    /// When it was last heard of at first hand, or else learned of.
    heard: Time,
    redial: Redial,
    noted: Liveness,
}

#[derive(Debug)]
struct Link {
    /// If this node dialed it: where.
    address: Option<String>,
    /// Its dialer's number for it.
    dial: u64,
    heard: Time,
    peer: Option<Peer>,
    /// When a digest was last sent on it.
    digest: Option<Time>,
}

/// Who has said Hello on a link.
#[derive(Clone, Debug)]
struct Peer {
    node: String,
    replica: ReplicaId,
    generation: u64,
}

type Out = Vec<Effect>;

impl Overlay {
    /// A node that knows nobody yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let hello = Hello {
            protocol: VERSION,
            cluster: config.cluster.clone(),
            node: config.node.clone(),
            replica: config.replica.0,
            generation: config.generation,
            addresses: config.addresses.iter().take(ADDRESSES_MAX).cloned().collect(),
            version: config.version.clone(),
            proof: Bytes::new(),
            dial: 0,
        };
        let own = NodeRecord {
            node: hello.node.clone(),
            replica: hello.replica,
            generation: hello.generation,
            version: 1,
            addresses: hello.addresses.clone(),
            ..NodeRecord::default()
        };
        let mut dialer = Dialer::new(config.redial_max);
        for seed in &config.seeds {
            dialer.add(Time::default(), seed.clone(), true);
        }
        Self {
            table: Table::new(own),
            hello,
            nodes: BTreeMap::new(),
            links: BTreeMap::new(),
            dialer,
            random: Random::new(config.seed),
            events: VecDeque::new(),
            // Greater than that of any link of an earlier process of this node.
            dials: config.generation << 16,
            told: None,
            untold: false,
            refused: None,
            contested: None,
            heartbeat_at: Time::default(),
            wake: Time::default(),
            over: false,
            config,
        }
    }

    /// The next thing that the replicator has to know. After every call, until there is none.
    pub fn event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Overlay::tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        (!self.over).then_some(self.wake)
    }

    /// The peer at the other end of a link.
    #[must_use]
    pub fn peer(&self, link: LinkId) -> Option<ReplicaId> {
        self.links.get(&link)?.peer.as_ref().map(|peer| peer.replica)
    }

    /// Whether a link is known: nothing that arrives on others counts.
    #[must_use]
    pub fn knows(&self, link: LinkId) -> bool {
        self.links.contains_key(&link)
    }

    // ---- finding ----

    /// Somebody may be at an address.
    pub fn found(&mut self, now: Time, address: String) {
        if self.dialer.add(now, address, false) {
            self.wake_at(now);
        }
    }

    /// Look for somebody at an address, for ever.
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
        let hello = Hello { dial: self.dials, ..self.hello.clone() };
        self.open(now, link, Some(address), self.dials, hello, out);
    }

    /// A peer has dialed.
    pub fn link_accepted(&mut self, now: Time, link: LinkId, out: &mut Out) {
        if self.over {
            return out.push(close(link, "this node ends"));
        }
        if self.links.values().filter(|link| link.peer.is_none()).count() >= STRANGERS_MAX {
            return out.push(close(link, "too many links without a Hello"));
        }
        self.open(now, link, None, 0, self.hello.clone(), out);
    }

    fn open(
        &mut self,
        now: Time,
        link: LinkId,
        address: Option<String>,
        dial: u64,
        hello: Hello,
        out: &mut Out,
    ) {
        self.links.insert(link, Link { address, dial, heard: now, peer: None, digest: None });
        self.wake_at(now + self.config.node_timeout);
        out.push(send(vec![link], Body::Hello(hello)));
    }

    /// Nobody could be reached at an address.
    pub fn link_failed(&mut self, now: Time, address: &str) {
        let node = self.dialer.over(address);
        self.unreached(now, address, node);
    }

    fn unreached(&mut self, now: Time, address: &str, node: Option<String>) {
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

    fn node_at(&self, address: &str) -> Option<String> {
        let is_at = |name: &&String| {
            let record = self.table.get(name);
            record.is_some_and(|record| record.addresses.iter().any(|said| said == address))
        };
        self.nodes.keys().find(is_at).cloned()
    }

    /// A peer's link is gone: closed at either end.
    fn unlinked(&mut self, now: Time, link: LinkId, peer: &Peer, out: &mut Out) {
        let Some(node) = self.nodes.get_mut(&peer.node) else { return };
        if node.link != Some(link) {
            return;
        }
        node.link = None;
        // The smaller ReplicaId dials first, so that the two do not cross.
        let wait = Duration::from_millis(if self.config.replica < peer.replica { 20 } else { 200 });
        node.redial.at = now + self.random.around(wait);
        let at = node.redial.at;
        self.events.push_back(Event::Down(peer.replica));
        if self.table.get(&peer.node).is_none_or(|record| record.replica != peer.replica.0) {
            self.events.push_back(Event::Gone(peer.replica));
        }
        self.wake_at(at);
        self.note_liveness(now, &peer.node.clone(), out);
    }

    /// Closes a link from here.
    fn close(&mut self, now: Time, link: LinkId, reason: &str, out: &mut Out) {
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

    // ---- what peers say ----

    /// Takes a message about nodes.
    ///
    /// # Errors
    /// If the peer may not say this. Its link must be closed then.
    pub fn received(
        &mut self,
        now: Time,
        link: LinkId,
        body: Body,
        out: &mut Out,
    ) -> Result<(), Fault> {
        match body {
            Body::Hello(hello) => return self.greeted(now, link, hello, out),
            Body::Refusal(refusal) => {
                self.refused(now, link, &refusal, out);
                return Ok(());
            }
            _ => {}
        }
        let Some(peer) = self.links.get(&link).and_then(|link| link.peer.clone()) else {
            return Err(Fault("its first message is not Hello".into()));
        };
        match body {
            Body::Heartbeat(heartbeat) => {
                if heartbeat.table != self.table.hash() {
                    self.send_digest(now, link, out);
                }
            }
            Body::Digest(digest) => self.compared(now, link, &digest, out)?,
            Body::Records(records) => self.told(now, link, &peer, records, out)?,
            Body::Goodbye(Goodbye {}) => self.close(now, link, "it says goodbye", out),
            _ => return Err(Fault("not a message about nodes".into())),
        }
        Ok(())
    }

    /// Something has arrived from a link: who sent it lives.
    pub fn heard(&mut self, now: Time, link: LinkId, out: &mut Out) {
        let Some(from) = self.links.get_mut(&link) else { return };
        from.heard = now;
        let Some(peer) = &from.peer else { return };
        let Some(node) = self.nodes.get_mut(&peer.node) else { return };
        node.heard = now;
        if node.noted != Liveness::Alive {
            let name = peer.node.clone();
            self.note_liveness(now, &name, out);
        }
    }

    fn greeted(
        &mut self,
        now: Time,
        link: LinkId,
        hello: Hello,
        out: &mut Out,
    ) -> Result<(), Fault> {
        if self.links.get(&link).is_none_or(|link| link.peer.is_some()) {
            return Err(Fault("it says Hello twice".into()));
        }
        if hello.protocol != VERSION {
            let reason = format!("protocol version {} here, not {}", VERSION, hello.protocol);
            self.refuse(now, link, Kind::Protocol, &reason, &[], out);
            return Ok(());
        }
        check::hello(&hello)?;
        if hello.cluster != self.config.cluster {
            let reason =
                format!("this is cluster '{}', not '{}'", self.config.cluster, hello.cluster);
            self.refuse(now, link, Kind::Cluster, &reason, &[], out);
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
        if !self.nodes.contains_key(&peer.node) && self.nodes.len() >= NODES_MAX {
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
        if let Some(address) = &this.address {
            self.dialer.reached(address, &peer.node);
        }
        if self.loses(link, &peer) {
            self.close(now, link, "there is a better link to the same node", out);
            return Ok(());
        }
        self.accept(now, link, peer, hello, out);
        Ok(())
    }

    /// The other living node, if there is one, that has this one's name or ReplicaId.
    fn holder(&self, now: Time, peer: &Peer, addresses: &[String]) -> Option<(Kind, String)> {
        for (name, node) in &self.nodes {
            let Some(link) = node.link.and_then(|link| self.links.get(&link)) else { continue };
            let Some(holder) = &link.peer else { continue };
            let silent = now.since(link.heard) >= self.suspect_after();
            if *name == peer.node && holder.replica != peer.replica {
                // Where the old one was, the new one is: it was restarted, and its link not ended yet.
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
    fn loses(&self, link: LinkId, peer: &Peer) -> bool {
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

    fn accept(&mut self, now: Time, link: LinkId, peer: Peer, hello: Hello, out: &mut Out) {
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
        let at = now;
        let node = self.nodes.entry(peer.node.clone()).or_insert_with(|| Node {
            link: None,
            heard: at,
            redial: Redial::at(at),
            noted: Liveness::Dead,
        });
        node.link = Some(link);
        node.heard = now;
        node.redial.reached(address);
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

    /// A node that has this one's name or ReplicaId: itself, or another.
    fn met_a_double(&mut self, now: Time, link: LinkId, hello: &Hello, out: &mut Out) {
        let me = (self.config.generation, self.config.replica.0, self.config.node.as_str());
        let it = (hello.generation, hello.replica, hello.node.as_str());
        if me == it {
            let address = self.links.remove(&link).and_then(|link| link.address);
            out.push(close(link, "it is this node itself"));
            if let Some(address) = address {
                self.dialer.set_own(now, address);
            }
            return;
        }
        let kind = if me.2 == it.2 { Kind::Name } else { Kind::Replica };
        let what = if kind == Kind::Name { "name" } else { "ReplicaId" };
        if it > me {
            let reason = format!(
                "the {what} of '{}' is that of an older living node, '{}', at {:?}",
                it.2, me.2, self.config.addresses
            );
            self.refuse(now, link, kind, &reason, &self.config.addresses.clone(), out);
        } else {
            let reason = format!(
                "an older node in cluster '{}' has this node's {what}: '{}', started {} ms earlier, at {:?}",
                self.config.cluster,
                it.2,
                me.0 - it.0,
                hello.addresses
            );
            self.end(now, reason, out);
        }
    }

    fn end(&mut self, now: Time, reason: String, out: &mut Out) {
        out.push(Effect::Note(Note::Fatal(reason)));
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        for link in links {
            self.close(now, link, "this node must end", out);
        }
        self.over = true;
    }

    fn refuse(
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
        out.push(Effect::Note(Note::Warn(format!("refused a node: {reason}"))));
        self.close(now, link, "refused", out);
    }

    fn refused(&mut self, now: Time, link: LinkId, refusal: &Refusal, out: &mut Out) {
        let reason: String = refusal.reason.chars().take(1024).collect();
        out.push(Effect::Note(Note::Warn(format!("a peer refuses this node: {reason}"))));
        self.close(now, link, "it refuses this node", out);
        if !matches!(refusal.kind(), Kind::Name | Kind::Replica) {
            return;
        }
        // The peer may hold a dead node for living. Whether it lives that node says best itself.
        if check::addresses_of(&refusal.addresses).is_ok() {
            for address in &refusal.addresses {
                self.found(now, address.clone());
            }
        }
        let patience = self.config.node_timeout * 2;
        let (first, last) = self.refused.unwrap_or((now, now));
        let first = if now.since(last) > patience { now } else { first };
        self.refused = Some((first, now));
        if now.since(first) > patience {
            self.end(now, format!("refused for {patience:?} now: {reason}"), out);
        }
    }

    // ---- the table ----

    fn own(&self) -> &NodeRecord {
        self.table.get(&self.config.node).expect("a table has its own node's record")
    }

    fn send_digest(&mut self, now: Time, link: LinkId, out: &mut Out) {
        let Some(to) = self.links.get_mut(&link) else { return };
        // Tables that cannot agree must not talk of it without end.
        if to.digest.is_some_and(|last| now.since(last) < self.config.heartbeat / 2) {
            return;
        }
        to.digest = Some(now);
        out.push(send(vec![link], Body::Digest(self.table.digest())));
    }

    fn compared(
        &mut self,
        now: Time,
        link: LinkId,
        digest: &Digest,
        out: &mut Out,
    ) -> Result<(), Fault> {
        check::length("digest", digest.entries.len(), NODES_MAX)?;
        let (lacks, wants) = self.table.compare(digest);
        send_records(&[link], lacks, out);
        if wants {
            self.send_digest(now, link, out);
        }
        Ok(())
    }

    fn told(
        &mut self,
        now: Time,
        link: LinkId,
        from: &Peer,
        records: Records,
        out: &mut Out,
    ) -> Result<(), Fault> {
        check::length("list of records", records.records.len(), NODES_MAX)?;
        records.records.iter().try_for_each(check::record)?;
        for record in records.records {
            if record.node == self.config.node {
                self.told_of_itself(now, &record, out);
            } else if record.forgotten {
                self.told_to_forget(now, &record, out);
            } else {
                self.learned(now, link, from, record, out);
            }
        }
        Ok(())
    }

    fn learned(&mut self, now: Time, link: LinkId, from: &Peer, record: NodeRecord, out: &mut Out) {
        let (name, replica) = (record.node.clone(), record.replica);
        let itself = name == from.node && replica == from.replica.0;
        if !itself && self.nodes.get(&name).is_some_and(|node| node.link.is_some()) {
            return;
        }
        let merged = self.table.merge(record.clone(), itself);
        let Merged::New(before) = &merged else { return };
        let appeared = before.as_ref().is_none_or(|before| {
            before.generation != record.generation || (before.version == 0 && record.version > 0)
        });
        self.replaced(&merged, &name, replica);
        let smaller_is_here = self.config.replica.0 < replica;
        // Whom this node does not reach by then it tries to reach; the smaller ReplicaId goes first.
        let wait = if smaller_is_here { Duration::ZERO } else { self.config.heartbeat };
        let at = now + wait + self.random.up_to(Duration::from_millis(20));
        let node = self.nodes.entry(name.clone()).or_insert_with(|| Node {
            link: None,
            heard: now,
            redial: Redial::at(at),
            noted: Liveness::Suspect,
        });
        if appeared && node.link.is_none() {
            node.redial = Redial::at(at);
            node.heard = now;
            self.wake_at(at);
        }
        self.tell_runs(&name);
        self.note_liveness(now, &name, out);
        if itself && appeared {
            let others: Vec<LinkId> = self.peers().filter(|&other| other != link).collect();
            send_records(&others, vec![record], out);
        }
    }

    /// If a record of another incarnation has taken the place of an older one, the old one is gone,
    /// unless it is linked: then it is when its link is.
    fn replaced(&mut self, merged: &Merged, name: &str, replica: u64) {
        let Merged::New(Some(before)) = merged else { return };
        if before.replica == replica {
            return;
        }
        let linked = self.nodes.get(name).and_then(|node| node.link);
        let peer = linked.and_then(|link| self.links.get(&link)?.peer.as_ref());
        if peer.is_none_or(|peer| peer.replica.0 != before.replica) {
            self.events.push_back(Event::Gone(ReplicaId(before.replica)));
        }
    }

    /// Somebody has a record of this node's name.
    fn told_of_itself(&mut self, now: Time, record: &NodeRecord, out: &mut Out) {
        let own = self.own();
        let beaten = if record.forgotten {
            record.generation >= own.generation
        } else {
            table::age(record) > table::age(own)
        };
        if !beaten {
            return;
        }
        if !record.forgotten && !record.left && record.replica != self.config.replica.0 {
            // An earlier incarnation that its peers hold for newer, since the clock went back? Or
            // somebody else, who lives? Then it answers.
            let since = *self.contested.get_or_insert(now);
            if now.since(since) < self.config.node_timeout {
                for address in &record.addresses {
                    self.found(now, address.clone());
                }
                return;
            }
        }
        self.contested = None;
        let generation = record.generation + 1;
        if generation >= check::GENERATION_END {
            let note = "a peer holds a record of this node's name that none can follow".into();
            return out.push(Effect::Note(Note::Warn(note)));
        }
        let mut own = self.own().clone();
        own.generation = generation;
        own.version = 1;
        self.table.insert(own);
        self.untold = true;
        self.tell(now, out);
    }

    fn told_to_forget(&mut self, now: Time, record: &NodeRecord, out: &mut Out) {
        let linked = self.nodes.get(&record.node).and_then(|node| node.link);
        let peer = linked.and_then(|link| self.links.get(&link)?.peer.as_ref());
        if let (Some(link), Some(_)) = (linked, peer) {
            // It lives: it will say so under a greater generation, once it hears of this.
            if self.table.get(&record.node).is_some_and(|r| r.generation <= record.generation) {
                send_records(&[link], vec![record.clone()], out);
            }
            return;
        }
        self.forget_up_to(now, &record.node, record.generation);
    }

    fn forget_up_to(&mut self, now: Time, node: &str, generation: u64) {
        if let Some(record) = self.table.forget(now, node, generation) {
            self.nodes.remove(node);
            self.events.push_back(Event::Gone(ReplicaId(record.replica)));
        }
    }

    /// Forgets a dead node, here and everywhere.
    ///
    /// # Errors
    /// If it is not known, or not dead: the error line for the client.
    pub fn forget(&mut self, now: Time, node: &str, out: &mut Out) -> Result<(), String> {
        if node == self.config.node {
            return Err("ERR a node cannot forget itself".into());
        }
        let Some(record) = self.table.get(node) else {
            return Err(format!("ERR no such node '{}'", node.escape_debug()));
        };
        let generation = record.generation;
        if matches!(self.liveness(now, node), Liveness::Alive | Liveness::Suspect) {
            return Err(format!("ERR node '{}' is not dead", node.escape_debug()));
        }
        // The silence that its link will be closed for may just have reached its end.
        if let Some(link) = self.nodes.get(node).and_then(|node| node.link) {
            self.close(now, link, "its node is forgotten", out);
        }
        self.forget_up_to(now, node, generation);
        let links: Vec<LinkId> = self.peers().collect();
        send_records(&links, self.table.forgotten(node).into_iter().collect(), out);
        Ok(())
    }

    fn tell_runs(&mut self, name: &str) {
        let Some(link) = self.nodes.get(name).and_then(|node| node.link) else { return };
        let Some(peer) = self.links.get(&link).and_then(|link| link.peer.as_ref()) else { return };
        let Some(record) = self.table.get(name).filter(|r| r.replica == peer.replica.0) else {
            return;
        };
        let functions = record.functions.iter().map(|function| function.function.clone()).collect();
        self.events.push_back(Event::Runs(peer.replica, functions));
    }

    // ---- this node ----

    /// What this node runs now.
    pub fn runs(&mut self, now: Time, functions: &BTreeMap<Bytes, Vec<Bytes>>, out: &mut Out) {
        let mut own = self.own().clone();
        let mut bytes = 0;
        let mut bytes_fit = |record: &FunctionRecord| {
            bytes += record.encoded_len() + 8;
            bytes <= RECORD_BYTES_MAX && record.function.len() <= FUNCTION_NAME_MAX
        };
        let record = |(function, replicas): (&Bytes, &Vec<Bytes>)| FunctionRecord {
            function: function.clone(),
            replicas: replicas
                .iter()
                .filter(|replica| replica.len() <= FUNCTION_NAME_MAX)
                .take(REPLICAS_MAX)
                .cloned()
                .collect(),
        };
        let told: Vec<_> =
            functions.iter().map(record).take(FUNCTIONS_MAX).take_while(&mut bytes_fit).collect();
        if told.len() < functions.len() {
            let note = format!(
                "{} of {} functions are more than peers can be told of; they are not replicated",
                functions.len() - told.len(),
                functions.len()
            );
            out.push(Effect::Note(Note::Warn(note)));
        }
        if own.functions == told {
            return;
        }
        own.functions = told;
        own.version += 1;
        self.table.insert(own);
        self.untold = true;
        self.tell(now, out);
    }

    /// Tells all peers of this node's own changes, soon.
    fn tell(&mut self, now: Time, out: &mut Out) {
        if !self.untold {
            return;
        }
        let at = self.told.map_or(now, |told| told + TELL_EVERY);
        if at > now {
            return self.wake_at(at);
        }
        self.told = Some(now);
        self.untold = false;
        let links: Vec<LinkId> = self.peers().collect();
        send_records(&links, vec![self.own().clone()], out);
    }

    /// Says goodbye to all peers.
    pub fn leave(&mut self, now: Time, out: &mut Out) {
        if self.over {
            return;
        }
        let mut own = self.own().clone();
        own.left = true;
        own.version += 1;
        self.table.insert(own.clone());
        let peers: Vec<LinkId> = self.peers().collect();
        send_records(&peers, vec![own], out);
        if !peers.is_empty() {
            out.push(send(peers, Body::Goodbye(Goodbye {})));
        }
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        for link in links {
            self.close(now, link, "this node leaves", out);
        }
        self.over = true;
    }

    fn peers(&self) -> impl Iterator<Item = LinkId> {
        self.nodes.values().filter_map(|node| node.link)
    }

    // ---- time ----

    fn wake_at(&mut self, at: Time) {
        self.wake = self.wake.min(at);
    }

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
    fn make_up_for(&mut self, late: Duration, now: Time) {
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
    fn silence(&mut self, now: Time, out: &mut Out) {
        let timeout = self.config.node_timeout;
        let silent =
            |(link, state): (&LinkId, &Link)| (now.since(state.heard) >= timeout).then_some(*link);
        let silent: Vec<LinkId> = self.links.iter().filter_map(silent).collect();
        for link in silent {
            self.close(now, link, &format!("nothing heard for {timeout:?}"), out);
        }
    }

    fn beat(&mut self, now: Time, out: &mut Out) {
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

    fn forget_if_long_dead(&mut self, now: Time, name: &str) {
        let Some(node) = self.nodes.get(name) else { return };
        if node.link.is_none()
            && now.since(node.heard) >= self.config.forget_after
            && let Some(record) = self.table.get(name)
        {
            let generation = record.generation;
            self.forget_up_to(now, name, generation);
        }
    }

    fn dial(&mut self, now: Time, out: &mut Out) {
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

    // ---- how it looks ----

    fn suspect_after(&self) -> Duration {
        (self.config.heartbeat * SUSPECT_AFTER).min(self.config.node_timeout)
    }

    fn liveness(&self, now: Time, name: &str) -> Liveness {
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

    fn note_liveness(&mut self, now: Time, name: &str, out: &mut Out) {
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

fn send(links: Vec<LinkId>, body: Body) -> Effect {
    Effect::Send { links, frame: frame(body) }
}

fn close(link: LinkId, reason: &str) -> Effect {
    Effect::Close { link, reason: reason.to_owned() }
}

/// Sends records, in messages of bounded size.
fn send_records(links: &[LinkId], records: Vec<NodeRecord>, out: &mut Out) {
    if links.is_empty() {
        return;
    }
    let mut batch = Vec::new();
    let mut bytes = 0;
    for record in records {
        let length = record.encoded_len();
        if bytes + length > RECORDS_BYTES && !batch.is_empty() {
            let records = std::mem::take(&mut batch);
            out.push(send(links.to_vec(), Body::Records(Records { records })));
            bytes = 0;
        }
        bytes += length;
        batch.push(record);
    }
    if !batch.is_empty() {
        out.push(send(links.to_vec(), Body::Records(Records { records: batch })));
    }
}
