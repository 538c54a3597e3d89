//! Replication between nodes: which nodes there are, which functions each runs, and how changes reach
//! them.
//!
//! [`overlay`] keeps the table of nodes, [`replicator`] the streams of changes; [`node`] is the two
//! together, one state machine with one way in ([`node::Node::step`]). Inputs are messages, local
//! events and a [`Time`]; what it wants done comes out as [`Effect`]s. It never waits, reads no clock,
//! opens no socket and draws no random number; the feature `shell` drives it over tonic streams and
//! mDNS, the simulator in `tests/` over a made-up network.
#![forbid(unsafe_code)]

pub mod copies;
pub mod node;
pub mod overlay;
mod payload;
pub mod placement;
pub mod replicator;
mod seldom;
#[cfg(feature = "shell")]
#[allow(clippy::disallowed_methods, reason = "the world is its business")]
pub mod shell;
mod time;

#[cfg(test)]
mod cluster_tests;

use bytes::Bytes;
use miso_store::crdt::ReplicaId;

pub use time::Time;

/// A connection to a peer, by a number that is never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(pub u64);

/// A question of the node's own server, by a number that is never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AskId(pub u64);

/// What the core wants done. The order matters per link.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Connect to a peer; answered by an opened or a failed link.
    Dial {
        /// `host:port`
        address: String,
    },
    /// Send a part of an envelope ([`miso_protocol::peer::frame`]) on all of these links.
    Send {
        /// Where to.
        links: Vec<LinkId>,
        /// What.
        frame: Bytes,
    },
    /// Send it on this link after everything else that waits for it, as far as that leaves room: a part
    /// of a sync. Among each other these keep their order.
    SendBehind {
        /// Where to.
        link: LinkId,
        /// What.
        frame: Bytes,
    },
    /// Close a link, once what was sent on it is out.
    Close {
        /// Which.
        link: LinkId,
        /// Why, for the log.
        reason: String,
    },
    /// A question is answered.
    Answer {
        /// Which.
        id: AskId,
        /// The answer.
        answer: Answer,
    },
    /// For the log.
    Note(Note),
}

/// Something for the operator to read.
#[derive(Clone, PartialEq, Debug)]
pub enum Note {
    /// A line of information.
    Info(String),
    /// Something is wrong.
    Warn(String),
    /// Another node was not let in; why.
    Refused(String),
    /// This node must end: another one is what it claims to be.
    Fatal(String),
    /// This node must end, and come back as a new incarnation: peers know events of it that it does
    /// not know itself, so its past was lost without being noticed. They have shown one of these events.
    Outdated(String),
    /// An operator has forgotten this incarnation, says a peer: this node goes on, and is to be another one
    /// at its next start.
    Forgotten(String),
}

/// A peer's fault: its link is closed and counted, nothing else.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Fault(pub String);

/// What the server asks of the core.
#[derive(Clone, PartialEq, Debug)]
pub enum Ask {
    /// How many peers have acknowledged the function's own events up to `seq`: answers a
    /// [`Answer::Count`] once `peers` have, or at the deadline.
    Wait {
        /// The function.
        function: Bytes,
        /// Events up to here.
        seq: u64,
        /// How many peers it takes.
        peers: usize,
        /// Whether only peers count that have it on their disks.
        durable: bool,
        /// The deadline; none: it waits for ever.
        until: Option<Time>,
    },
    /// Answers [`Answer::Reached`] once this node knows `vector`, or at the deadline.
    Await {
        /// The function.
        function: Bytes,
        /// Writers and numbers.
        vector: Vec<(ReplicaId, u64)>,
        /// The deadline; none: it waits for ever.
        until: Option<Time>,
    },
    /// Fetches an object or a name from the peers, unless the function's data here is current already
    /// (see [`Ask::Current`]): answers [`Answer::Done`] once a peer that is current has answered, or
    /// there is nothing more to wait for.
    Fetch {
        /// The function.
        function: Bytes,
        /// The object.
        object: Bytes,
        /// The name in it; all if none.
        name: Option<Bytes>,
        /// The deadline.
        until: Time,
    },
    /// Answers [`Answer::Reached`] once the function's data here is current: once this node knows what
    /// one reachable node that runs or holds the function knew when it began here. `false`: it was
    /// waited for in vain, now or before.
    Current {
        /// The function.
        function: Bytes,
        /// The deadline.
        until: Time,
    },
    /// An anti-entropy round with each peer, of one function or all: answers a [`Answer::Count`] of
    /// the CRDTs repaired here.
    Sync {
        /// The function; all if none.
        function: Option<Bytes>,
        /// The deadline.
        until: Time,
    },
    /// The node table: answers [`Answer::Nodes`].
    Nodes,
    /// Per function of this node, its peers: answers [`Answer::Functions`].
    Functions,
    /// Look for a node at `host:port`: answers [`Answer::Done`].
    Join {
        /// The address.
        address: String,
    },
    /// Forget a dead node: answers [`Answer::Done`] or [`Answer::Refused`].
    Forget {
        /// Its name.
        node: String,
    },
    /// Waits until a function that has ended here has drained: until a peer has all that this node
    /// has of it, for a bounded time. Answers [`Answer::Done`], at once if there is nothing to wait for.
    Drain {
        /// The function.
        function: Bytes,
    },
    /// Sends what is pending and waits until peers have acknowledged it, then says goodbye: answers
    /// a [`Answer::Done`].
    Leave {
        /// The deadline.
        until: Time,
    },
}

/// An answer to an [`Ask`].
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// It is done.
    Done,
    /// It cannot be: the error line that the client gets.
    Refused(String),
    /// How many.
    Count(usize),
    /// Whether it came to pass.
    Reached(bool),
    /// The node table, this node first.
    Nodes(Vec<NodeView>),
    /// By function.
    Functions(Vec<FunctionView>),
}

/// How a node looks from here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Liveness {
    /// Heard of lately.
    Alive,
    /// Some heartbeats are missing.
    Suspect,
    /// Not heard of for `node-timeout`.
    Dead,
    /// It said goodbye.
    Left,
}

/// What a node that carries a function does with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It runs there: it has clients.
    Runs,
    /// It is held there: a full replica without clients.
    Holds,
    /// It is held there for now: others are to have it.
    Leaves,
}

/// A node of the table.
#[derive(Clone, PartialEq, Debug)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// Its incarnation as a writer.
    pub replica: ReplicaId,
    /// Where peers reach it.
    pub addresses: Vec<String>,
    /// How it looks.
    pub liveness: Liveness,
    /// Whether a stream to it is open.
    pub linked: bool,
    /// The functions that it runs, with the replicas registered by name.
    pub functions: Vec<(Bytes, Vec<Bytes>)>,
    /// The functions that it holds without running them.
    pub holds: Vec<Bytes>,
    /// Of this node itself: how many functions with data here have fewer copies than they are to have
    /// (see [`FunctionView::copies`]).
    pub under_copied: usize,
    /// Milliseconds since it was last heard of.
    pub heard_ms: u64,
    /// Own events, over all common functions, that it has not acknowledged yet.
    pub lag_events: u64,
    /// How long the oldest of them has been waiting, in milliseconds.
    pub lag_ms: u64,
    /// Bytes of batches that wait for its acknowledgement.
    pub lag_bytes: u64,
    /// By function: own events that it has acknowledged, and those that are on its disk.
    pub acknowledged: Vec<(Bytes, u64, u64)>,
    /// By how many milliseconds its clock was ahead of this node's when they met; none if it did not say.
    pub drift_ms: Option<i64>,
    /// How often it has said, since this node started, what a node must not say or what another node denies.
    pub faults: u64,
    /// Of this node itself: the addresses where it looks for others, each with the reason why no node was
    /// reached there last.
    pub seeds: Vec<(String, Option<String>)>,
}

/// A function of this node.
#[derive(Clone, PartialEq, Debug)]
pub struct FunctionView {
    /// Its name.
    pub function: Bytes,
    /// What is done with it here; none: its state is only kept.
    pub role: Option<Role>,
    /// How many nodes that can be reached run or hold it and have caught up with what there was when
    /// they began to, this one too. A node that holds it only until others do is not counted.
    pub copies: usize,
    /// Whether it is still awaited that its data here is current (see [`Ask::Current`]).
    pub restoring: bool,
    /// Whether that was waited for in vain.
    pub in_vain: bool,
    /// Nodes that carry it, and whether this node is in sync with each.
    pub peers: Vec<(ReplicaId, bool)>,
}
