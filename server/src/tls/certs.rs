//! `miso-server certs`: a CA and certificates in a directory, for clusters without a PKI of their own.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

use crate::settings::cli::{Certs, What};

/// The names that a node's certificate is always good for.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// How far a clock that reads a new certificate may be behind the one that made it.
const SKEW: Duration = Duration::hours(1);

/// Does what the command line asks for, and says which files there are now.
///
/// # Errors
/// What failed, and what to do.
pub(crate) fn run(certs: &Certs) -> Result<(), String> {
    let directory = &certs.directory;
    let made = match &certs.what {
        What::Init => init(directory, certs.days)?,
        What::Node { name, addresses } => node(directory, name, addresses, certs.days)?,
        What::Client { name } => client(directory, name, certs.days)?,
    };
    made.iter().for_each(|file| println!("{}", directory.join(file).display()));
    Ok(())
}

/// Makes the CA: `ca.pem` and `ca-key.pem`.
pub(super) fn init(directory: &Path, days: u32) -> Result<[String; 2], String> {
    fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
    let mut params = parameters("MISO CA", &[], days)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().map_err(|error| error.to_string())?;
    let certificate = params.self_signed(&key).map_err(|error| error.to_string())?;
    keep(directory, "ca", &certificate.pem(), &key)
}

/// Makes the certificate of a node, good for its name, `addresses` and this host's own addresses.
pub(super) fn node(
    directory: &Path,
    name: &str,
    addresses: &[String],
    days: u32,
) -> Result<[String; 2], String> {
    let mut names: Vec<&str> = vec![name];
    names.extend(addresses.iter().map(String::as_str).chain(LOCAL));
    let mut unique = Vec::new();
    names.retain(|name| {
        !unique.contains(name) && {
            unique.push(*name);
            true
        }
    });
    let mut params = parameters(name, &names, days)?;
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    issue(directory, name, params)
}

/// Makes the certificate of a client.
pub(super) fn client(directory: &Path, name: &str, days: u32) -> Result<[String; 2], String> {
    let mut params = parameters(name, &[], days)?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    issue(directory, name, params)
}

fn parameters(name: &str, names: &[&str], days: u32) -> Result<CertificateParams, String> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    if let Some(bad) = names.iter().find(|name| !is_host(name)) {
        return Err(format!("'{bad}' is no address: expected host names and IP addresses"));
    }
    let mut params = CertificateParams::new(names).map_err(|error| format!("'{name}': {error}"))?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now - SKEW, now + Duration::days(days.into()));
    Ok(params)
}

/// Whether it is an IP address, or looks like a host name; the first label may be `*`.
fn is_host(name: &str) -> bool {
    let is_label = |label: &str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(known)
    };
    let host = name.strip_prefix("*.").unwrap_or(name);
    name.parse::<IpAddr>().is_ok() || (host.len() <= 253 && host.split('.').all(is_label))
}

/// Makes a key and the certificate that the CA of the directory gives it.
fn issue(
    directory: &Path,
    name: &str,
    mut params: CertificateParams,
) -> Result<[String; 2], String> {
    if name.is_empty() || name == "ca" || name.contains(['/', '\\', '\0']) || name.starts_with('.')
    {
        return Err(format!("'{name}' names no file: expected a name without '/', other than ca"));
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let read = |file: &str| {
        let path = directory.join(file);
        fs::read_to_string(&path).map_err(|error| {
            format!("{}: {error}; 'miso-server certs init' makes it", path.display())
        })
    };
    let ca_key = KeyPair::from_pem(&read("ca-key.pem")?)
        .map_err(|error| failed(&directory.join("ca-key.pem"), error))?;
    let issuer = Issuer::from_ca_cert_pem(&read("ca.pem")?, ca_key)
        .map_err(|error| failed(&directory.join("ca.pem"), error))?;
    let key = KeyPair::generate().map_err(|error| error.to_string())?;
    let certificate = params.signed_by(&key, &issuer).map_err(|error| error.to_string())?;
    keep(directory, name, &certificate.pem(), &key)
}

/// Writes `NAME.pem` and `NAME-key.pem`, which must not be there: a key that is in use is not to be lost.
fn keep(
    directory: &Path,
    name: &str,
    certificate: &str,
    key: &KeyPair,
) -> Result<[String; 2], String> {
    let files = [format!("{name}.pem"), format!("{name}-key.pem")];
    for file in &files {
        let path = directory.join(file);
        if path.exists() {
            return Err(format!(
                "{} exists already: remove it, or say another --dir or name",
                path.display()
            ));
        }
    }
    let texts = [(certificate.to_owned(), 0o644), (key.serialize_pem(), 0o600)];
    for (file, (text, mode)) in files.iter().zip(texts) {
        let path = directory.join(file);
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| failed(&path, error))?;
    }
    Ok(files)
}

fn failed(path: &Path, error: impl std::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}
