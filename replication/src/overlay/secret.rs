//! The cluster's secret: both ends of a link prove that they know it before either says who it is.
//!
//! ```text
//! dialer                      dialed
//!   Challenge ------><------- Challenge    cluster, ReplicaId, a fresh nonce
//!   Proof -------------------------------> checked first: who only dials is shown nothing
//!   <------------------------ Proof, Hello
//!   Hello ------------------------------->
//! ```
//!
//! - A proof is a MAC under the secret of all that the two have said, and of who of them gives it: it
//!   fits no other link (nonces), no other pair (ReplicaIds), and not its own giver (role).
//! - Until the other's proof is right its words change nothing: not even a refusal's reason counts.
//! - It guards the handshake, not what follows: who stands between two nodes, or has one dial him and
//!   passes on what the two say to each other, can read and alter that.
//!
//! Source: ISO/IEC 9798-4, mutual authentication in three passes.

use std::fmt;

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use miso_protocol::peer::message::Body;
use miso_protocol::peer::refusal::Kind;
use miso_protocol::peer::{Challenge, Hello, Proof};
use miso_store::crdt::ReplicaId;
use sha2::Sha256;

use super::{Out, Overlay, send};
use crate::{Fault, LinkId, Time};

/// What both ends say of a link of which only one asks for proof.
pub(super) const ONE_HAS_NONE: &str =
    "only one of the two nodes has a cluster-secret: set the same on all nodes, or on none";
const OTHER: &str = "the two nodes have different cluster-secrets: set the same on all nodes";
const CONTEXT: &[u8] = b"miso peer proof 1";

type Nonce = [u8; 32];

/// What all nodes of a cluster know and nobody else does.
#[derive(Clone)]
pub struct Secret {
    key: Box<[u8]>,
    seed: [u8; 32],
}

impl Secret {
    /// The secret itself, and random bytes that nobody knows and no other start of a node is given:
    /// its nonces come from them.
    #[must_use]
    pub fn new(key: &[u8], seed: [u8; 32]) -> Self {
        Self { key: key.into(), seed }
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
    /// It has, as the node of this ReplicaId; or nobody asked for it.
    Open(Option<ReplicaId>),
    /// It has not. With this node's nonce for the link, and what the other asks.
    Shut { nonce: Nonce, challenge: Option<Challenge> },
}

/// Which end of a link gives a proof.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Dialer = 1,
    Dialed = 2,
}

impl Role {
    fn other(self) -> Self {
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

    pub(super) fn nonce(&mut self) -> Nonce {
        self.nonces += 1;
        keyed(&self.secret.seed)
            .chain_update(self.nonces.to_be_bytes())
            .finalize()
            .into_bytes()
            .into()
    }

    /// The proof of `role`, not yet finished.
    pub(super) fn proof(
        &self,
        role: Role,
        cluster: &str,
        dialer: End<'_>,
        dialed: End<'_>,
    ) -> Hmac<Sha256> {
        keyed(&self.secret.key)
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

impl Overlay {
    /// Whether the words of a link's other end count; of which node, if it had to prove that.
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
            self.prove(link, out);
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
        let Some(expected) = self.proof_of(link, role.other()) else {
            return Err(Fault("a proof that nobody has asked for".into()));
        };
        // In the same time for all that are wrong.
        if expected.verify_slice(&proof.mac).is_err() {
            self.refuse(now, link, Kind::Secret, OTHER, &[], out);
            return Ok(());
        }
        if role == Role::Dialed {
            self.prove(link, out);
        }
        let Some(this) = self.links.get_mut(&link) else { return Ok(()) };
        if let Gate::Shut { challenge: Some(challenge), .. } = &this.gate {
            this.gate = Gate::Open(Some(ReplicaId(challenge.replica)));
        }
        let hello = Hello { dial: this.dial, ..self.hello.clone() };
        out.push(send(vec![link], Body::Hello(hello)));
        Ok(())
    }

    /// Sends this end's proof.
    fn prove(&self, link: LinkId, out: &mut Out) {
        let Some(role) = self.role(link) else { return };
        let Some(proof) = self.proof_of(link, role) else { return };
        let mac = Bytes::copy_from_slice(&proof.finalize().into_bytes());
        out.push(send(vec![link], Body::Proof(Proof { mac })));
    }

    /// Which end of a link this node is.
    fn role(&self, link: LinkId) -> Option<Role> {
        let link = self.links.get(&link)?;
        Some(if link.address.is_some() { Role::Dialer } else { Role::Dialed })
    }

    /// The proof of one end of a link that has not been given yet, once both have asked for it.
    fn proof_of(&self, link: LinkId, role: Role) -> Option<Hmac<Sha256>> {
        let Gate::Shut { nonce, challenge: Some(other) } = &self.links.get(&link)?.gate else {
            return None;
        };
        let here = End { replica: self.config.replica.0, nonce };
        let there = End { replica: other.replica, nonce: &other.nonce };
        let (dialer, dialed) = match self.role(link)? {
            Role::Dialer => (here, there),
            Role::Dialed => (there, here),
        };
        Some(self.prover.as_ref()?.proof(role, &self.config.cluster, dialer, dialed))
    }
}
