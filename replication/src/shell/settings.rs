//! How a node's shell is set up.

use std::net::SocketAddr;

use super::encryption::Encryption;
use crate::node;

/// The settings of a node's shell.
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
    /// Whether links have TLS.
    pub encryption: Encryption,
    /// A link for which more bytes wait is cut off.
    pub queue_bytes_max: usize,
    /// The node's addresses are those of its interfaces, and follow them.
    pub(super) follow_addresses: bool,
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
        Self {
            peer_bind,
            node,
            join: Vec::new(),
            mdns: None,
            encryption: Encryption::default(),
            queue_bytes_max: 64 << 20,
            follow_addresses: false,
        }
    }
}
