//! TLS for clients, and between nodes: what the settings name, loaded and checked as a whole.
//!
//! Certificates are replaced together: a start, SIGHUP and `CONFIG SET` load all that the settings name,
//! and what does not fit together changes nothing. Connections keep what they began with.

pub(crate) mod certs;
mod files;
mod peers;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use miso_replication::shell::Encryption;
use parking_lot::RwLock;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ServerConfig, SupportedProtocolVersion, version};

use crate::settings::Settings;
use crate::settings::tls::{ClientCertificates, TlsVersions};

use files::{certificates, expiry, provider, roots, wrong};

/// How long before its certificate expires the node begins to warn.
const WARN_AHEAD: u64 = 14 * 24 * 3600;

/// The versions of HTTP that are spoken, by their names in TLS, the preferred one first.
const HTTP_VERSIONS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What connections begin with.
#[derive(Debug)]
struct Loaded {
    server: Arc<ServerConfig>,
    /// The same for HTTP: client and node agree on its version.
    http: Arc<ServerConfig>,
    /// When the node's certificate expires, in seconds since 1970.
    expires: u64,
}

/// The TLS side of a node.
#[derive(Debug, Default)]
pub(crate) struct Tls {
    loaded: RwLock<Option<Loaded>>,
    /// What links to other nodes begin with.
    links: Encryption,
    /// When the certificate for them expires, in seconds since 1970; 0: there is none.
    links_expire: AtomicU64,
    /// The day, since 1970, on which it last warned of a certificate's end.
    warned: AtomicU64,
}

impl Tls {
    /// Loads what the settings name, in place of what was loaded before; nothing if there is no
    /// certificate among them. `node` is this node's name.
    ///
    /// # Errors
    /// Which setting is wrong and what it is to be. Then nothing is changed.
    pub(crate) fn load(&self, settings: &Settings, node: &str) -> Result<(), String> {
        let loaded = load(settings)?;
        let links = peers::load(settings, node)?;
        *self.loaded.write() = loaded;
        let expires = links.as_ref().and_then(|links| links.expires);
        self.links_expire.store(expires.unwrap_or(0), Ordering::Relaxed);
        self.links.set(links.map(|links| links.ends));
        Ok(())
    }

    /// Whether links to other nodes have TLS, and how. It follows what is loaded.
    pub(crate) fn links(&self) -> &Encryption {
        &self.links
    }

    /// When the certificate for links expires, in seconds since 1970; 0 if none is loaded.
    pub(crate) fn links_expire(&self) -> u64 {
        self.links_expire.load(Ordering::Relaxed)
    }

    /// What a connection begins with; none if no certificate is loaded.
    pub(crate) fn server(&self) -> Option<Arc<ServerConfig>> {
        self.loaded.read().as_ref().map(|loaded| Arc::clone(&loaded.server))
    }

    /// What a connection of HTTP begins with; none if no certificate is loaded.
    pub(crate) fn http(&self) -> Option<Arc<ServerConfig>> {
        self.loaded.read().as_ref().map(|loaded| Arc::clone(&loaded.http))
    }

    /// When the node's certificate expires, in seconds since 1970; none if none is loaded.
    pub(crate) fn expires(&self) -> Option<u64> {
        self.loaded.read().as_ref().map(|loaded| loaded.expires)
    }

    /// Warns once a day, if the certificate's end is near at `now`, in seconds since 1970.
    pub(crate) fn warn(&self, now: u64) {
        let day = now / (24 * 3600);
        if self.warned.swap(day, Ordering::Relaxed) == day {
            return;
        }
        let links = Some(self.links_expire()).filter(|expires| *expires > 0);
        for (setting, others, expires) in
            [("tls-cert-file", "clients", self.expires()), ("peer-tls-cert-file", "nodes", links)]
        {
            if let Some(end) = expires.and_then(|expires| ending(expires, others, now)) {
                tracing::warn!("{setting}: {end}");
            }
        }
    }
}

/// What to say of a certificate that has expired or soon will, at `now`; both in seconds since 1970.
fn ending(expires: u64, others: &str, now: u64) -> Option<String> {
    let left = i128::from(expires) - i128::from(now);
    let days = left / (24 * 3600);
    match left {
        ..=0 => Some(format!("the TLS certificate has expired: {others} refuse it")),
        _ if left < i128::from(WARN_AHEAD) => {
            Some(format!("the TLS certificate expires in {days} days"))
        }
        _ => None,
    }
}

/// What connections of RESP and of HTTP begin with before there is a node; none if no certificate is named.
///
/// # Errors
/// As [`Tls::load`].
pub(crate) fn for_clients(settings: &Settings) -> Result<Option<[Arc<ServerConfig>; 2]>, String> {
    Ok(load(settings)?.map(|loaded| [loaded.server, loaded.http]))
}

fn load(settings: &Settings) -> Result<Option<Loaded>, String> {
    let (certificate, key) = match (settings.tls_cert_file(), settings.tls_key_file()) {
        (None, None) if settings.tls_port() == 0 && settings.http_tls_port().is_none() => {
            return Ok(None);
        }
        (Some(certificate), Some(key)) => (certificate, key),
        _ => {
            return Err(
                "tls-cert-file: TLS needs a certificate and its key: set tls-cert-file and \
                        tls-key-file (miso-server certs makes them)"
                    .into(),
            );
        }
    };
    let chain = certificates("tls-cert-file", &certificate)?;
    let expires = expiry(&chain[0]).map_err(|error| {
        wrong("tls-cert-file", &certificate, error, "an X.509 certificate in PEM form")
    })?;
    let secret = PrivateKeyDer::from_pem_file(&key)
        .map_err(|error| wrong("tls-key-file", &key, error, "a private key in PEM form"))?;
    let versions: &[&SupportedProtocolVersion] = match settings.tls_protocols() {
        TlsVersions::Both => &[&version::TLS13, &version::TLS12],
        TlsVersions::Only12 => &[&version::TLS12],
        TlsVersions::Only13 => &[&version::TLS13],
    };
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .map_err(|error| format!("tls-protocols: {error}"))?;
    let mut server = match verifier(settings)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    }
    .with_single_cert(chain, secret)
    .map_err(|error| wrong("tls-key-file", &key, error, "the key of tls-cert-file"))?;
    server.ticketer = ring::Ticketer::new().map_err(|error| format!("TLS: {error}"))?;
    let mut http = server.clone();
    http.alpn_protocols = HTTP_VERSIONS.map(<[u8]>::to_vec).into();
    Ok(Some(Loaded { server: Arc::new(server), http: Arc::new(http), expires }))
}

/// Checks the certificates of clients; none if they need none.
fn verifier(settings: &Settings) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
    let wanted = settings.tls_auth_clients();
    if wanted == ClientCertificates::No {
        return Ok(None);
    }
    let Some(path) = settings.tls_ca_cert_file() else {
        return Err(
            "tls-ca-cert-file: the certificates of clients are asked for, and nothing says \
                    whose are good: set it, or tls-auth-clients no"
                .into(),
        );
    };
    let roots = Arc::new(roots("tls-ca-cert-file", &path)?);
    let mut builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
    if wanted == ClientCertificates::Optional {
        builder = builder.allow_unauthenticated();
    }
    let built = builder.build();
    built.map(Some).map_err(|error| wrong("tls-ca-cert-file", &path, error, "certificates of a CA"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::for_test;

    /// A directory with a CA, and the certificate of a node.
    fn made() -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        certs::init(directory.path(), 30).expect("a CA");
        certs::node(directory.path(), "a", &[], 10).expect("a certificate");
        directory
    }

    fn settings(directory: &tempfile::TempDir, more: &[(&str, &str)]) -> Settings {
        let path = |name: &str| directory.path().join(name).display().to_string();
        let (cert, key, ca) = (path("a.pem"), path("a-key.pem"), path("ca.pem"));
        let mut all =
            vec![("tls-cert-file", &*cert), ("tls-key-file", &*key), ("tls-ca-cert-file", &*ca)];
        for (name, value) in more {
            all.retain(|(known, _)| known != name);
            all.push((name, value));
        }
        for_test(&all)
    }

    #[test]
    fn what_fits_together_is_loaded() {
        let directory = made();
        for protocols in ["TLSv1.2 TLSv1.3", "TLSv1.2", "TLSv1.3"] {
            for clients in ["yes", "no", "optional"] {
                let tls = Tls::default();
                let more = [("tls-protocols", protocols), ("tls-auth-clients", clients)];
                tls.load(&settings(&directory, &more), "a").expect("it fits together");
                assert!(tls.server().is_some() && tls.expires().is_some());
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_named_and_changes_nothing() {
        let directory = made();
        certs::client(directory.path(), "other", 10).expect("a certificate");
        let other = directory.path().join("other-key.pem").display().to_string();
        let cases: [(&[(&str, &str)], &str); 5] = [
            (&[("tls-cert-file", "/nowhere.pem")], "tls-cert-file: cannot use /nowhere.pem"),
            (&[("tls-key-file", "/nowhere.pem")], "tls-key-file: cannot use /nowhere.pem"),
            (&[("tls-key-file", &other)], "expected the key of tls-cert-file"),
            (&[("tls-key-file", "")], "set tls-cert-file and tls-key-file"),
            (&[("tls-ca-cert-file", "")], "set it, or tls-auth-clients no"),
        ];
        let tls = Tls::default();
        tls.load(&settings(&directory, &[]), "a").expect("it fits together");
        for (more, said) in cases {
            let error = tls.load(&settings(&directory, more), "a").expect_err(said);
            assert!(error.contains(said), "{error}");
            assert!(tls.server().is_some());
        }
    }

    #[test]
    fn an_end_that_is_near_is_said() {
        let directory = made();
        let tls = Tls::default();
        tls.load(&settings(&directory, &[]), "a").expect("it fits together");
        let end = tls.expires().expect("it is loaded");
        let said = |now| ending(end, "clients", now);
        assert_eq!(said(end - 20 * 24 * 3600), None);
        assert!(said(end - 3 * 24 * 3600).is_some_and(|said| said.contains("in 3 days")));
        assert!(said(end + 1).is_some_and(|said| said.contains("has expired: clients")));
    }
}
