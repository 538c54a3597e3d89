//! How a node's shell is set up.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::encryption::Encryption;
use crate::node;

/// What is told why a node was not let in.
#[derive(Clone)]
pub struct Refusals(Arc<dyn Fn(&str) + Send + Sync>);

impl Refusals {
    /// Calls `tell` for each.
    pub fn new(tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    pub(super) fn tell(&self, why: &str) {
        (self.0)(why);
    }
}

impl fmt::Debug for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Refusals")
    }
}

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
    /// Is told why a node was not let in; some of many equal ones.
    pub refused: Option<Refusals>,
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
            refused: None,
            queue_bytes_max: 64 << 20,
            follow_addresses: false,
        }
    }
}
