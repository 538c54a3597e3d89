//! The peers that the overlay knows: how each is reached, and which functions it carries, which is to
//! run or to hold them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use miso_store::crdt::ReplicaId;

use crate::LinkId;

/// A peer, by incarnation.
#[derive(Debug, Default)]
struct Peer {
    link: Option<LinkId>,
    /// What its record says that it carries.
    functions: BTreeSet<Bytes>,
    /// What else it has said itself that it carries, before its record came.
    ahead: BTreeSet<Bytes>,
}

/// How many functions of a peer are remembered before its record names them. Those beyond are known
/// once it comes.
const AHEAD_MAX: usize = 1_024;

/// The longest name of such a function, in bytes: as long as one in a record may be.
const NAME_MAX: usize = 512;

impl Peer {
    fn carries(&self, function: &Bytes) -> bool {
        self.functions.contains(function) || self.ahead.contains(function)
    }
}

/// All peers that were ever linked or told of, until they are gone for good.
#[derive(Debug, Default)]
pub(super) struct Peers {
    peers: BTreeMap<ReplicaId, Peer>,
}

impl Peers {
    /// A link to a peer is open; the functions that it carries.
    pub(super) fn up(&mut self, peer: ReplicaId, link: LinkId) -> BTreeSet<Bytes> {
        let known = self.peers.entry(peer).or_default();
        known.link = Some(link);
        known.functions.union(&known.ahead).cloned().collect()
    }

    /// The link to a peer is gone.
    pub(super) fn down(&mut self, peer: ReplicaId) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.link = None;
            known.ahead.clear();
        }
    }

    /// A peer does not come back.
    pub(super) fn gone(&mut self, peer: ReplicaId) {
        self.peers.remove(&peer);
    }

    /// A peer's record says that it carries these functions and no others; those that it has ended, and
    /// those that are new.
    pub(super) fn told(
        &mut self,
        peer: ReplicaId,
        functions: &BTreeSet<Bytes>,
    ) -> (Vec<Bytes>, Vec<Bytes>) {
        let known = self.peers.entry(peer).or_default();
        let mut old = std::mem::replace(&mut known.functions, functions.clone());
        old.append(&mut known.ahead);
        let ended = old.difference(functions).cloned().collect();
        (ended, functions.difference(&old).cloned().collect())
    }

    /// The link to a peer, if one is open.
    pub(super) fn link(&self, peer: ReplicaId) -> Option<LinkId> {
        self.peers.get(&peer)?.link
    }

    /// A peer has said itself that it carries a function; whether that is new. What it says on its link
    /// comes before its record does.
    pub(super) fn says_it_carries(&mut self, peer: ReplicaId, function: &Bytes) -> bool {
        let Some(known) = self.peers.get_mut(&peer) else { return false };
        let room = known.ahead.len() < AHEAD_MAX && function.len() <= NAME_MAX;
        let new = room && !known.carries(function);
        new && known.ahead.insert(function.clone())
    }

    /// The peers that can be reached.
    pub(super) fn linked(&self) -> impl Iterator<Item = (ReplicaId, LinkId)> + '_ {
        self.peers.iter().filter_map(|(id, peer)| Some((*id, peer.link?)))
    }

    /// The links to all peers that can be reached.
    pub(super) fn links(&self) -> Vec<LinkId> {
        self.peers.values().filter_map(|peer| peer.link).collect()
    }

    /// Whether any peer can be reached.
    pub(super) fn any_linked(&self) -> bool {
        self.peers.values().any(|peer| peer.link.is_some())
    }

    /// Whether a peer carries a function.
    pub(super) fn carries(&self, peer: ReplicaId, function: &Bytes) -> bool {
        self.peers.get(&peer).is_some_and(|peer| peer.carries(function))
    }

    /// The peers that carry a function.
    pub(super) fn carrying(&self, function: &Bytes) -> Vec<ReplicaId> {
        let carry = self.peers.iter().filter(|(_, peer)| peer.carries(function));
        carry.map(|(id, _)| *id).collect()
    }
}
