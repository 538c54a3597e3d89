//! TLS between nodes: with certificates of the cluster's CA, or with the cluster's secret alone.
//!
//! With certificates both ends must show one, and the overlay holds its name against the node's. With a
//! secret alone a node makes a certificate for itself that nobody checks: the proof of the secret covers the
//! session of TLS. A pre-shared key of TLS would do the same; rustls has none.

use std::sync::Arc;

use miso_replication::shell::Ends;
use rcgen::{CertificateParams, KeyPair};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig, SignatureScheme,
    version,
};
use x509_parser::extensions::GeneralName;

use super::files::{certificates, expiry, provider, roots, wrong};
use crate::settings::Settings;
use crate::settings::tls::PeerTls;

/// What links begin with.
pub(super) struct Loaded {
    pub(super) ends: Ends,
    /// When the node's certificate for its links expires, in seconds since 1970; none: it is its own, and
    /// nobody checks it.
    pub(super) expires: Option<u64>,
}

/// Checks that a CA of the cluster has signed a node's certificate; or, without a CA, only that the node has
/// the certificate's key. An address says nothing about a node's name.
#[derive(Debug)]
struct Signed {
    roots: Option<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Signed {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(roots) = &self.roots {
            let certificate = ParsedCertificate::try_from(certificate)?;
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                roots,
                between,
                now,
                algorithms,
            )?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A certificate, those between it and its CA, its key, and the CAs of the other nodes.
struct Files {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// None: others' certificates are not checked.
    roots: Option<RootCertStore>,
}

/// What links of the node of this name begin with; none: they have no TLS.
///
/// # Errors
/// Which setting is wrong and what it is to be.
pub(super) fn load(settings: &Settings, node: &str) -> Result<Option<Loaded>, String> {
    let wanted = settings.peer_tls();
    if wanted == PeerTls::No {
        return Ok(None);
    }
    let files = match (settings.peer_tls_cert_file(), settings.peer_tls_key_file()) {
        (Some(certificate), Some(key)) => given(settings, &certificate, &key, node)?,
        (None, None) if settings.secrets().own.is_some() => own()?,
        (None, None) if wanted == PeerTls::Auto => return Ok(None),
        _ => {
            return Err(
                "peer-tls-cert-file: TLS between nodes needs a cluster-secret, or a certificate, its key \
                 and the cluster's CA: set peer-tls-cert-file, peer-tls-key-file and \
                 peer-tls-ca-cert-file (miso-server certs makes them)"
                    .into(),
            );
        }
    };
    let has_ca = files.roots.is_some();
    let expires = match has_ca {
        true => {
            Some(expiry(&files.chain[0]).map_err(|error| format!("peer-tls-cert-file: {error}"))?)
        }
        false => None,
    };
    let ends = Ends {
        server: Arc::new(server(&files)?),
        client: Arc::new(client(files)?),
        names: has_ca.then_some(names),
        optional: wanted == PeerTls::Optional,
    };
    Ok(Some(Loaded { ends, expires }))
}

/// The files that the settings name.
fn given(settings: &Settings, certificate: &str, key: &str, node: &str) -> Result<Files, String> {
    let Some(ca) = settings.peer_tls_ca_cert_file() else {
        return Err(
            "peer-tls-ca-cert-file: nothing says whose certificates of nodes are good: set it to the \
             cluster's CA"
                .into(),
        );
    };
    let chain = certificates("peer-tls-cert-file", certificate)?;
    let named = names(&chain[0]);
    if !named.iter().any(|name| name == node) {
        return Err(format!(
            "peer-tls-cert-file: the certificate in {certificate} names {named:?}, and this is node \
             '{node}': expected a certificate of the node's name ('miso-server certs node {node}' makes it), \
             or a node-name that it has"
        ));
    }
    let expected = "a private key in PEM form";
    let secret = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| wrong("peer-tls-key-file", key, error, expected))?;
    Ok(Files { chain, key: secret, roots: Some(roots("peer-tls-ca-cert-file", &ca)?) })
}

/// A certificate that the node makes for itself.
fn own() -> Result<Files, String> {
    let failed = |error: rcgen::Error| format!("peer-tls: cannot make a certificate: {error}");
    let key = KeyPair::generate().map_err(failed)?;
    let parameters = CertificateParams::new(vec!["peer".to_owned()]).map_err(failed)?;
    let certificate = parameters.self_signed(&key).map_err(failed)?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    Ok(Files { chain: vec![certificate.der().clone()], key, roots: None })
}

fn unfit(error: impl std::fmt::Display) -> String {
    format!("peer-tls-key-file: {error}; expected the key of peer-tls-cert-file")
}

fn server(files: &Files) -> Result<ServerConfig, String> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .map_err(unfit)?;
    let builder = match &files.roots {
        Some(roots) => {
            let roots = Arc::new(roots.clone());
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
            let verifier = verifier.map_err(|error| format!("peer-tls-ca-cert-file: {error}"))?;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let server = builder.with_single_cert(files.chain.clone(), files.key.clone_key());
    let mut server = server.map_err(unfit)?;
    // Each link shows its certificate anew.
    server.send_tls13_tickets = 0;
    Ok(server)
}

fn client(files: Files) -> Result<ClientConfig, String> {
    let has_ca = files.roots.is_some();
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .map_err(unfit)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Signed {
            roots: files.roots,
            provider: provider(),
        }));
    let mut client = match has_ca {
        true => builder.with_client_auth_cert(files.chain, files.key).map_err(unfit)?,
        false => builder.with_no_client_auth(),
    };
    client.resumption = Resumption::disabled();
    client.enable_sni = false;
    Ok(client)
}

/// The nodes that a certificate names: its Common Name, or without one its DNS names.
fn names(certificate: &[u8]) -> Vec<String> {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else {
        return Vec::new();
    };
    let common = parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    let common: Vec<String> = common.map(str::to_owned).collect();
    if !common.is_empty() {
        return common;
    }
    let Ok(Some(alternative)) = parsed.subject_alternative_name() else { return Vec::new() };
    let dns = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    };
    alternative.value.general_names.iter().filter_map(dns).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::for_test;
    use crate::tls::certs;

    fn made() -> (tempfile::TempDir, Vec<(&'static str, String)>) {
        let directory = tempfile::tempdir().expect("a directory");
        certs::init(directory.path(), 30).expect("a CA");
        certs::node(directory.path(), "a", &["a.example".into()], 10).expect("a certificate");
        let path = |name: &str| directory.path().join(name).display().to_string();
        let files = vec![
            ("peer-tls-cert-file", path("a.pem")),
            ("peer-tls-key-file", path("a-key.pem")),
            ("peer-tls-ca-cert-file", path("ca.pem")),
        ];
        (directory, files)
    }

    fn loaded(given: &[(&str, &str)], node: &str) -> Result<Option<Loaded>, String> {
        load(&for_test(given), node)
    }

    #[test]
    fn links_have_tls_by_certificates_if_they_fit() {
        let (_directory, files) = made();
        let all: Vec<_> = files.iter().map(|(name, path)| (*name, path.as_str())).collect();
        let by_files = loaded(&all, "a").expect("they fit").expect("there are certificates");
        assert!(by_files.expires.is_some() && by_files.ends.names.is_some());
        assert!(!by_files.ends.optional);
        let off = [&all[..], &[("peer-tls", "no")]].concat();
        assert!(loaded(&off, "a").expect("it is off").is_none());
        let optional = [&all[..], &[("peer-tls", "optional")]].concat();
        let optional = loaded(&optional, "a").expect("they fit").expect("there are certificates");
        assert!(optional.ends.optional);
        for (given, node, said) in [
            (&all[..], "b", r#"names ["a"], and this is node 'b'"#),
            (&all[..2], "a", "set it to the cluster's CA"),
            (&all[..1], "a", "needs a cluster-secret, or a certificate"),
        ] {
            let error = loaded(given, node).err().expect(said);
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn without_certificate_or_secret_there_is_no_tls() {
        assert!(loaded(&[], "a").expect("it is off").is_none());
        let error = loaded(&[("peer-tls", "yes")], "a").err().expect("nothing to make it with");
        assert!(error.contains("miso-server certs"), "{error}");
        assert!(own().and_then(client).is_ok(), "a node makes its own");
    }

    #[test]
    fn a_certificate_without_a_common_name_names_by_dns() {
        let (directory, _) = made();
        let path = directory.path().join("a.pem").display().to_string();
        let all = certificates("peer-tls-cert-file", &path).expect("a certificate");
        assert_eq!(names(&all[0]), ["a"]);
        let own = own().expect("it is made");
        assert!(!names(&own.chain[0]).is_empty());
        assert!(names(b"no certificate").is_empty());
    }
}
