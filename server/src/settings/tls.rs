//! The kinds of settings that TLS alone has.

use super::kind::Choice;

/// Whether clients that speak TLS show a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ClientCertificates {
    /// They must.
    Yes,
    /// They are not asked for one.
    No,
    /// One that is shown must be good.
    Optional,
}

/// The choices of `tls-auth-clients`.
pub(crate) const CLIENT_CERTIFICATES: Choice<ClientCertificates> = Choice(&[
    ("yes", ClientCertificates::Yes),
    ("no", ClientCertificates::No),
    ("optional", ClientCertificates::Optional),
]);

/// Which versions of TLS are spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TlsVersions {
    /// 1.2 and 1.3.
    Both,
    /// 1.2 alone.
    Only12,
    /// 1.3 alone.
    Only13,
}

/// The choices of `tls-protocols`.
pub(crate) const TLS_VERSIONS: Choice<TlsVersions> = Choice(&[
    ("TLSv1.2 TLSv1.3", TlsVersions::Both),
    ("TLSv1.2", TlsVersions::Only12),
    ("TLSv1.3", TlsVersions::Only13),
]);

/// Whether links between nodes have TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PeerTls {
    /// If there is a certificate for them, or a secret.
    Auto,
    /// All of them.
    Yes,
    /// Those with nodes that know TLS.
    Optional,
    /// None.
    No,
}

/// The choices of `peer-tls`.
pub(crate) const PEER_TLS: Choice<PeerTls> = Choice(&[
    ("auto", PeerTls::Auto),
    ("yes", PeerTls::Yes),
    ("optional", PeerTls::Optional),
    ("no", PeerTls::No),
]);
