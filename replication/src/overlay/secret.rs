//! The cluster's secret: both ends of a link prove that they know it before either says Hello.
//!
//! ```text
//! dialer                      dialed
//!   Challenge ------><------- Challenge    cluster, ReplicaId, a fresh nonce
//!   Proof -------------------------------> checked first: a mere dialer gets no proof
//!   <------------------------ Proof, Hello
//!   Hello ------------------------------->
//! ```
//!
//! - A proof is a MAC, under the secret, of everything that the two ends have said and of the role of
//!   the end that gives it. It fits no other link (nonces), no other pair (ReplicaIds), and not the
//!   other role (so that it cannot be sent back).
//! - Before its proof a message of the other end changes nothing: not even a refusal is believed.
//! - A node may accept a second secret, while a cluster moves from one to another: the dialer proves that it
//!   knows its own, and the dialed end answers with the one that fits. A secret that is no longer accepted
//!   ends the links that were made by it.
//! - It guards the handshake. On a link with TLS it covers the session, too: a party between two nodes that
//!   passes on their messages has two sessions, and the proof made for one is wrong for the other. Without
//!   TLS such a party can read and alter what comes after the handshake.
//!
//! Sources: ISO/IEC 9798-4, mutual authentication in three passes; RFC 9266, channel bindings of TLS 1.3.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use miso_protocol::peer::Challenge;
use miso_store::crdt::ReplicaId;
use sha2::Sha256;

const CONTEXT: &[u8] = b"miso peer proof 1";

/// A random number that is used for one link only.
pub(super) type Nonce = [u8; 32];

/// What is known of a link's session of TLS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    /// A value that both ends have for this session, and nobody has for another.
    pub binding: [u8; 32],
    /// The names in the other end's certificate, which a CA of the cluster has signed; none: nodes have no
    /// such certificates.
    pub names: Option<Vec<String>>,
}

/// What one secret's proofs are made with. It is not shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key(Arc<[u8]>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// A secret that all nodes of a cluster share, and another that is accepted beside it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    own: Key,
    also: Option<Key>,
    seed: [u8; 32],
}

impl Secret {
    /// `key` is the secret itself; `seed` are random bytes, others at each start of a node, from which
    /// its nonces are made.
    #[must_use]
    pub fn new(key: &[u8], seed: [u8; 32]) -> Self {
        Self { own: Key(key.into()), also: None, seed }
    }

    /// Has `key` accepted of other nodes, too.
    #[must_use]
    pub fn accepting(self, key: &[u8]) -> Self {
        Self { also: Some(Key(key.into())), ..self }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Whether the other end of a link has proven that it knows the secret.
#[derive(Debug)]
pub(super) enum Gate {
    /// It has, as the node of this ReplicaId; none: there is no secret to prove.
    Open(Option<ReplicaId>),
    /// It has not. With this node's nonce for the link, and the other end's challenge.
    Shut { nonce: Nonce, challenge: Option<Challenge> },
}

/// Which end of a link gives a proof.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Dialer = 1,
    Dialed = 2,
}

impl Role {
    /// The role of the other end.
    pub(super) fn other(self) -> Self {
        match self {
            Self::Dialer => Self::Dialed,
            Self::Dialed => Self::Dialer,
        }
    }
}

/// What one end of a link has said.
#[derive(Clone, Copy, Debug)]
pub(super) struct End<'a> {
    pub(super) replica: u64,
    pub(super) nonce: &'a [u8],
}

/// Gives proofs and checks them.
pub(super) struct Prover {
    secret: Secret,
    nonces: u64,
}

impl fmt::Debug for Prover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prover")
    }
}

impl Prover {
    pub(super) fn new(secret: Secret) -> Self {
        Self { secret, nonces: 0 }
    }

    /// Takes other secrets. Nonces go on.
    pub(super) fn replace(&mut self, secret: Secret) {
        (self.secret.own, self.secret.also) = (secret.own, secret.also);
    }

    /// The secret that this node proves to know where it dials.
    pub(super) fn own(&self) -> Key {
        self.secret.own.clone()
    }

    /// The secrets of which one lets a node in.
    pub(super) fn accepted(&self) -> impl Iterator<Item = &Key> {
        [&self.secret.own].into_iter().chain(&self.secret.also)
    }

    pub(super) fn nonce(&mut self) -> Nonce {
        self.nonces += 1;
        keyed(&self.secret.seed)
            .chain_update(self.nonces.to_be_bytes())
            .finalize()
            .into_bytes()
            .into()
    }

    /// The proof of `role` that it knows `key`, not yet finished.
    pub(super) fn proof(
        key: &Key,
        role: Role,
        cluster: &str,
        dialer: End<'_>,
        dialed: End<'_>,
    ) -> Hmac<Sha256> {
        keyed(&key.0)
            .chain_update(CONTEXT)
            .chain_update([role as u8])
            .chain_update((cluster.len() as u64).to_be_bytes())
            .chain_update(cluster)
            .chain_update(dialer.replica.to_be_bytes())
            .chain_update(dialed.replica.to_be_bytes())
            .chain_update(dialer.nonce)
            .chain_update(dialed.nonce)
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}
