//! The overlay: which nodes there are, which functions they run, and one working link to each.
//!
//! - **Links.** Both ends say Hello first. A link whose Hello is accepted belongs to a peer. Only an
//!   event on the link itself (a Hello, a Goodbye, silence, its end) changes which nodes are linked:
//!   gossip never closes a link, however wrong it is.
//! - **One link a pair.** If two are open, both ends keep the same one: the one dialed by the smaller
//!   ReplicaId; among several of one dialer the newest. The other is closed.
//! - **Table.** Every node publishes a record of itself: its addresses and the functions that it runs.
//!   Heartbeats carry a hash of the table; where the hashes differ, digests are compared and the newer
//!   records are sent. A node pushes a change of its own record to all peers at once, and passes on the
//!   record of a node that it has just met. Of a linked node only the node itself is believed.
//! - **Life.** A linked node that is silent is suspect, then dead: its link is closed, and it is dialed
//!   again with growing waits. Much later it is forgotten. A restarted node is a new generation of its
//!   name, and replaces the old one at its Hello.
//! - **Secret.** In a cluster with a secret both ends prove that they know it before either says Hello.
//! - **Names.** Of two living nodes of one name, or of one ReplicaId, the younger must end. A node that
//!   meets the second refuses it and tells it the address of the first; when the two meet, the younger
//!   ends.

mod bucket;
mod check;
mod dial;
mod gossip;
mod greeting;
mod life;
mod links;
mod random;
mod secret;
mod table;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use miso_protocol::peer::message::Body;
use miso_protocol::peer::{Goodbye, Hello, NodeRecord, VERSION, frame, function_record};
use miso_store::crdt::ReplicaId;

use self::bucket::Bucket;
pub use self::check::{ADDRESS_MAX, ADDRESSES_MAX, FUNCTIONS_MAX, NODES_MAX, REPLICAS_MAX};
use self::dial::{Dialer, Redial, Source};
use self::random::Random;
use self::secret::{Gate, Key, Prover};
pub use self::secret::{Secret, Session};
use self::table::Table;
use crate::seldom::Seldom;
use crate::{AskId, Effect, Fault, LinkId, Liveness, Time};

/// The most links that others have dialed and that have not said Hello yet. A further one takes the
/// place of the oldest: a node of this cluster needs some milliseconds for its Hello.
const STRANGERS_MAX: usize = 256;
/// A link without a Hello is closed after this time, also if other messages came.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// The most nodes of the table of which only others have spoken.
const UNMET_MAX: usize = 1024;
/// Lines about nodes that come and go: this many at once, then one in this time.
const LINES_BURST: u32 = 256;
const LINES_EVERY: Duration = Duration::from_millis(500);
/// How long MISO.JOIN waits for the node at the address.
const JOIN_WAIT: Duration = Duration::from_secs(4);
/// A difference of clocks from here on is logged.
const DRIFT: Duration = Duration::from_secs(1);
/// The most bytes of own functions: the record is one message, with room for the rest of it.
const RECORD_BYTES_MAX: usize = 512 << 10;
/// Records are put into one message up to here.
const RECORDS_BYTES: usize = 128 << 10;
/// Changes of the own record are sent at most this often.
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
    /// The version of the program, for logs.
    pub version: String,
    /// Heartbeats are sent this often.
    pub heartbeat: Duration,
    /// A node that was silent for this long is dead.
    pub node_timeout: Duration,
    /// A node that was silent for this long is forgotten.
    pub forget_after: Duration,
    /// The longest wait before a node is dialed again.
    pub redial_max: Duration,
    /// Where to look for others.
    pub seeds: Vec<String>,
    /// For jitter.
    pub seed: u64,
    /// The cluster's secret. None: a node that knows the cluster's name is let in.
    pub secret: Option<Secret>,
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
            secret: None,
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
    /// It will never write again: an operator has said so, here or at another node. Its counts may be
    /// adopted.
    Retired {
        /// The incarnation.
        replica: ReplicaId,
        /// Whether it was said at this node.
        here: bool,
    },
}

/// The state of the overlay.
#[derive(Debug)]
pub struct Overlay {
    config: Config,
    hello: Hello,
    table: Table,
    /// All nodes of the table but this one.
    nodes: BTreeMap<String, Node>,
    /// By name, the incarnations that newer ones have replaced.
    former: BTreeMap<String, BTreeSet<ReplicaId>>,
    links: BTreeMap<LinkId, Link>,
    dialer: Dialer,
    random: Random,
    prover: Option<Prover>,
    events: VecDeque<Event>,
    dials: u64,
    /// When the own record was sent last, and whether it has changed since.
    told: Option<Time>,
    untold: bool,
    /// What it does with functions that it does not run.
    roles: BTreeMap<Bytes, function_record::Role>,
    /// Refusals that were logged, and when: a misconfigured node tries again and again.
    noted: Seldom,
    refusals: u64,
    /// For lines about nodes that come and go.
    lines: Bucket,
    /// Questions whether a node can be reached.
    joins: Vec<Join>,
    /// Since when a peer has a record of this node's name that wins over its own.
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
    /// Whether it has ever said Hello here; else others have spoken of it.
    met: bool,
    /// When its last link began.
    linked_at: Time,
    /// By how many milliseconds its clock was ahead of this node's at its Hello.
    drift_ms: Option<i64>,
    /// How often it has said what a node must not say, or what another node denies.
    faults: u64,
}

impl Node {
    fn new(heard: Time, redial: Redial) -> Self {
        Self {
            link: None,
            heard,
            redial,
            noted: Liveness::Suspect,
            met: false,
            linked_at: heard,
            drift_ms: None,
            faults: 0,
        }
    }
}

/// An [`Ask::Join`](crate::Ask::Join) that is not answered yet.
#[derive(Debug)]
struct Join {
    id: AskId,
    address: String,
    until: Time,
}

#[derive(Debug)]
struct Link {
    /// If this node dialed it: where.
    address: Option<String>,
    /// Its dialer's number for it.
    dial: u64,
    opened: Time,
    heard: Time,
    gate: Gate,
    /// The secret that the two ends have proven, or are about to.
    key: Option<Key>,
    /// Its session of TLS, if it has one.
    session: Option<Session>,
    peer: Option<Peer>,
    /// When a digest was last sent on it, and when one was last answered.
    digest: Option<Time>,
    answered: Option<Time>,
}

/// The node that has said Hello on a link.
#[derive(Clone, Debug)]
struct Peer {
    node: String,
    replica: ReplicaId,
    generation: u64,
}

type Out = Vec<Effect>;

impl Overlay {
    /// A node that knows no other yet.
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
            dial: 0,
            clock: 0,
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
            // The settings bound their number.
            let _ = dialer.add(Time::default(), seed.clone(), Source::Seed);
        }
        Self {
            table: Table::new(own),
            hello,
            nodes: BTreeMap::new(),
            former: BTreeMap::new(),
            links: BTreeMap::new(),
            dialer,
            random: Random::new(config.seed),
            prover: config.secret.clone().map(Prover::new),
            events: VecDeque::new(),
            // Greater than that of any link of an earlier process of this node.
            dials: config.generation << 16,
            told: None,
            untold: false,
            roles: BTreeMap::new(),
            noted: Seldom::default(),
            refusals: 0,
            lines: Bucket::new(LINES_BURST, LINES_EVERY),
            joins: Vec::new(),
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

    /// The names and incarnations of all other nodes, except those that an operator has retired.
    pub fn others(&self) -> impl Iterator<Item = (&str, ReplicaId)> {
        self.table.others(&self.config.node).map(|(name, replica)| (name, ReplicaId(replica)))
    }

    /// Whether an operator has said where other nodes are, and none of these has been met: what is known here
    /// may be an island beside them.
    #[must_use]
    pub fn is_awaiting_others(&self, now: Time) -> bool {
        let seeds = &self.config.seeds;
        let is_met = |name: &str| {
            let record = self.table.get(name);
            record.is_some_and(|record| record.addresses.iter().any(|at| seeds.contains(at)))
        };
        !seeds.is_empty()
            && !self.dialer.has_met_seed(now)
            && !self.others().any(|(name, _)| is_met(name))
    }

    /// Whether a link is known: messages on other links are dropped.
    #[must_use]
    pub fn knows(&self, link: LinkId) -> bool {
        self.links.contains_key(&link)
    }

    /// Notes a fault of the peer at the other end of a link; returns how it is named in logs.
    pub fn blame(&mut self, link: LinkId) -> String {
        let peer = self.links.get(&link).and_then(|link| link.peer.as_ref());
        let Some(peer) = peer.map(|peer| peer.node.clone()) else {
            return "a peer that has not said Hello".into();
        };
        if let Some(node) = self.nodes.get_mut(&peer) {
            node.faults += 1;
        }
        format!("node '{peer}'")
    }

    /// The link to a node, if there is one.
    #[must_use]
    pub fn link(&self, peer: ReplicaId) -> Option<LinkId> {
        let name = self.others().find(|(_, id)| *id == peer)?.0;
        self.nodes.get(name)?.link
    }

    /// How many links were refused so far, here or by peers.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.refusals
    }

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
            Body::Challenge(challenge) => return self.challenged(now, link, challenge, out),
            Body::Proof(proof) => return self.proven(now, link, &proof, out),
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

    /// Something has arrived on a link: the node at its other end lives.
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

    /// This node's Hello on a link. Its clock is that of its start and the time since.
    fn hello(&self, now: Time, dial: u64) -> Hello {
        Hello { dial, clock: self.clock(now), ..self.hello.clone() }
    }

    fn clock(&self, now: Time) -> u64 {
        self.config.generation.saturating_add(now.0 / 1_000_000)
    }

    fn peers(&self) -> impl Iterator<Item = LinkId> {
        self.nodes.values().filter_map(|node| node.link)
    }

    fn wake_at(&mut self, at: Time) {
        self.wake = self.wake.min(at);
    }

    fn own(&self) -> &NodeRecord {
        self.table.get(&self.config.node).expect("a table has its own node's record")
    }
}

fn send(links: Vec<LinkId>, body: Body) -> Effect {
    Effect::Send { links, frame: frame(body) }
}

fn close(link: LinkId, reason: &str) -> Effect {
    Effect::Close { link, reason: reason.to_owned() }
}
