//! The world of a [`Node`](crate::node::Node): tonic streams, mDNS, DNS, timers and a thread of its
//! own. It decides nothing; it carries inputs in and effects out.
//!
//! ```text
//! workers --Handle--> driver (owns the Node) --Outbox--> tonic stream --> peer
//! peer --> tonic stream --reader--> driver
//! mdns, seeds --found--> driver
//! ```
//!
//! All of it runs on one current-thread runtime: a message from a peer wakes no other thread, and what
//! arrives while the node works is taken up in one turn.

mod driver;
mod handle;
mod incoming;
mod mdns;
mod outbox;
mod pace;
mod peers;
mod seeds;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

pub use handle::{Counters, Handle, start};

use crate::node;

/// How a node stands in the world.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen for peers; port 0 is any free one.
    pub peer_bind: Vec<SocketAddr>,
    /// The node. If it says no addresses, they are made from what is listened on.
    pub node: node::Config,
    /// Where to look for other nodes: `host:port`, each of which may resolve to many.
    pub join: Vec<String>,
    /// Whether to announce and find nodes by mDNS, and how.
    pub mdns: Option<Mdns>,
    /// A peer for whom more bytes wait is cut off.
    pub queue_bytes_max: usize,
}

/// How mDNS is used.
#[derive(Clone, Debug, Default)]
pub struct Mdns {
    /// Where others are told to reach this node, `host:port`, if that is not where it listens.
    pub announce: Vec<String>,
    /// Another UDP port than 5353, so that nodes find only each other.
    pub port: Option<u16>,
}

impl Settings {
    /// With usual bounds, without mDNS.
    #[must_use]
    pub fn new(peer_bind: Vec<SocketAddr>, node: node::Config) -> Self {
        Self { peer_bind, node, join: Vec::new(), mdns: None, queue_bytes_max: 64 << 20 }
    }
}
