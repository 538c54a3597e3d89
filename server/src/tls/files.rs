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

#[cfg(test)]
mod tests {
    use super::super::certs;
    use super::*;
    use crate::mutated::{Draw, rounds};

    /// Files of certificates that are broken in some bytes, and certificates themselves, are refused or read.
    #[test]
    fn broken_certificates_are_refused_or_read() {
        let directory = tempfile::tempdir().expect("a directory");
        certs::init(directory.path(), 30).expect("a CA");
        let whole = fs::read(directory.path().join("ca.pem")).expect("a file");
        let path = directory.path().join("broken.pem").display().to_string();
        let mut draw = Draw::new(9);
        let der = certificates("s", &directory.path().join("ca.pem").display().to_string());
        let der = der.expect("a certificate").remove(0);
        for round in 0..rounds() {
            let certificate = CertificateDer::from(draw.broken(&der));
            let _ = expiry(&certificate);
            let _ = RootCertStore::empty().add(certificate);
            // The disk makes these slow.
            if round % 25 == 0 {
                fs::write(&path, draw.broken(&whole)).expect("writable");
                let _ = roots("s", &path);
            }
        }
        for text in [&b""[..], b"-----BEGIN CERTIFICATE-----", &whole[..40]] {
            fs::write(&path, text).expect("writable");
            assert!(certificates("s", &path).is_err());
        }
    }
}
