//! Certificates and CAs as they stand in files.

use std::fmt::Display;
use std::fs;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// Which of a library's algorithms are used: ring's.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// What is wrong with a file that a setting names.
pub(super) fn wrong(setting: &str, path: &str, error: impl Display, expected: &str) -> String {
    format!("{setting}: cannot use {path}: {error}; expected {expected}")
}

/// The CAs of a file.
pub(super) fn roots(setting: &str, path: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(setting, path)? {
        let added = roots.add(certificate);
        added.map_err(|error| wrong(setting, path, error, "certificates of a CA"))?;
    }
    Ok(roots)
}

/// The certificates of a file, of which there is at least one.
pub(super) fn certificates(
    setting: &str,
    path: &str,
) -> Result<Vec<CertificateDer<'static>>, String> {
    let expected = "certificates in PEM form";
    let text = fs::read(path).map_err(|error| wrong(setting, path, error, expected))?;
    let all = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(setting, path, error, expected))?;
    if all.is_empty() {
        return Err(wrong(setting, path, "there is none in it", expected));
    }
    Ok(all)
}

/// When a certificate expires, in seconds since 1970.
pub(super) fn expiry(certificate: &CertificateDer<'_>) -> Result<u64, String> {
    let (_, parsed) =
        x509_parser::parse_x509_certificate(certificate).map_err(|error| error.to_string())?;
    let at = parsed.validity().not_after.timestamp();
    Ok(u64::try_from(at).unwrap_or(0))
}
