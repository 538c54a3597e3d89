//! The peers that the overlay knows: how each is reached, and which functions it runs.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use miso_store::crdt::ReplicaId;

use crate::LinkId;

/// A peer, by incarnation.
#[derive(Debug, Default)]
struct Peer {
    link: Option<LinkId>,
    functions: BTreeSet<Bytes>,
}

/// All peers that were ever linked or told of, until they are gone for good.
#[derive(Debug, Default)]
pub(super) struct Peers {
    peers: BTreeMap<ReplicaId, Peer>,
}

impl Peers {
    /// A link to a peer is open; the functions that it runs.
    pub(super) fn up(&mut self, peer: ReplicaId, link: LinkId) -> BTreeSet<Bytes> {
        let known = self.peers.entry(peer).or_default();
        known.link = Some(link);
        known.functions.clone()
    }

    /// The link to a peer is gone.
    pub(super) fn down(&mut self, peer: ReplicaId) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.link = None;
        }
    }

    /// A peer does not come back.
    pub(super) fn gone(&mut self, peer: ReplicaId) {
        self.peers.remove(&peer);
    }

    /// A peer runs these functions and no others; those that it has ended, and those that are new.
    pub(super) fn run(
        &mut self,
        peer: ReplicaId,
        functions: &BTreeSet<Bytes>,
    ) -> (Vec<Bytes>, Vec<Bytes>) {
        let known = self.peers.entry(peer).or_default();
        let old = std::mem::replace(&mut known.functions, functions.clone());
        let ended = old.difference(functions).cloned().collect();
        (ended, functions.difference(&old).cloned().collect())
    }

    /// The link to a peer, if one is open.
    pub(super) fn link(&self, peer: ReplicaId) -> Option<LinkId> {
        self.peers.get(&peer)?.link
    }

    /// The links to all peers that can be reached.
    pub(super) fn links(&self) -> Vec<LinkId> {
        self.peers.values().filter_map(|peer| peer.link).collect()
    }

    /// Whether any peer can be reached.
    pub(super) fn any_linked(&self) -> bool {
        self.peers.values().any(|peer| peer.link.is_some())
    }

    /// Whether a peer runs a function.
    pub(super) fn runs(&self, peer: ReplicaId, function: &Bytes) -> bool {
        self.peers.get(&peer).is_some_and(|peer| peer.functions.contains(function))
    }

    /// The peers that run a function.
    pub(super) fn running(&self, function: &Bytes) -> Vec<ReplicaId> {
        let run = self.peers.iter().filter(|(_, peer)| peer.functions.contains(function));
        run.map(|(id, _)| *id).collect()
    }
}
