//! TLS between nodes: what links begin with, and what a session of TLS says of its other end.
//!
//! An address says nothing about the node that is reached there, so the ends look at the CA alone; the
//! overlay then holds the name in Hello against the names in the certificate. Without certificates the
//! proof of the cluster's secret covers the session, so that a party between two nodes, which has a session
//! with each of them, can pass on no proof.

use std::io;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use tokio_rustls::TlsConnector;

use super::flow::Metered;
use crate::overlay::Session;

/// What the value is made for that a session of TLS is known by. Source: RFC 9266.
const BINDING: &[u8] = b"EXPORTER-Channel-Binding";

/// The names in a certificate, given its DER form.
pub type Names = fn(&[u8]) -> Vec<String>;

/// What links with TLS begin with.
#[derive(Clone, Debug)]
pub struct Ends {
    /// For links that peers dial.
    pub server: Arc<ServerConfig>,
    /// For links that this node dials.
    pub client: Arc<ClientConfig>,
    /// How a peer's certificate is read; none: the nodes have no certificates of a CA.
    pub names: Option<Names>,
    /// Whether links without TLS are accepted too, and made if the other end knows no TLS.
    pub optional: bool,
}

/// Whether links have TLS, and how: set by the server, looked at for each new link.
#[derive(Clone, Debug, Default)]
pub struct Encryption(Arc<RwLock<Option<Ends>>>);

impl Encryption {
    /// Replaces what new links begin with; none: they have no TLS.
    pub fn set(&self, ends: Option<Ends>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = ends;
    }

    /// What new links begin with.
    #[must_use]
    pub fn get(&self) -> Option<Ends> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether each link must have TLS.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.get().is_some_and(|ends| !ends.optional)
    }
}

/// What is known of a connection's session of TLS, once both ends have agreed on it; nothing without TLS.
pub(super) type Known = Arc<OnceLock<Session>>;

fn session(
    certificates: Option<&[CertificateDer<'static>]>,
    names: Option<Names>,
    binding: Result<[u8; 32], rustls::Error>,
) -> io::Result<Session> {
    let binding = binding.map_err(io::Error::other)?;
    let first = certificates.and_then(<[_]>::first);
    let names = names.map(|names| first.map_or_else(Vec::new, |first| names(first)));
    Ok(Session { binding, names })
}

/// The session of a link that a peer has dialed.
pub(super) fn accepted(connection: &ServerConnection, ends: &Ends) -> io::Result<Session> {
    let binding = connection.export_keying_material([0; 32], BINDING, Some(b""));
    session(connection.peer_certificates(), ends.names, binding)
}

fn dialed(connection: &ClientConnection, ends: &Ends) -> io::Result<Session> {
    let binding = connection.export_keying_material([0; 32], BINDING, Some(b""));
    session(connection.peer_certificates(), ends.names, binding)
}

/// Agrees on TLS with the other end of a dialed connection.
///
/// # Errors
/// If they do not agree.
pub(super) async fn dial(
    socket: Metered,
    ends: &Ends,
) -> io::Result<(tokio_rustls::TlsStream<Metered>, Session)> {
    // The name is not looked at.
    let name = ServerName::try_from("peer").map_err(io::Error::other)?;
    let stream = TlsConnector::from(Arc::clone(&ends.client)).connect(name, socket).await?;
    let session = dialed(stream.get_ref().1, ends)?;
    Ok((stream.into(), session))
}
