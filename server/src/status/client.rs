//! The least client that asks a node: RESP2 over TCP or TLS, one command at a time.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::settings::cli::{Target, TlsFiles};

/// How long the node may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest string, the longest array, and the deepest nesting of arrays that is read.
const BYTES_MAX: usize = 64 << 20;
const ITEMS_MAX: usize = 1 << 20;
const DEPTH_MAX: usize = 8;

/// A reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Reply {
    /// A string; a nil is an empty one.
    Text(String),
    /// An integer.
    Number(i64),
    /// An array.
    List(Vec<Reply>),
}

/// What both kinds of connections are.
trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// A connection to a node.
pub(super) struct Client(BufReader<Box<dyn Stream>>);

impl Client {
    /// Connects and logs in.
    ///
    /// # Errors
    /// What failed.
    pub(super) fn connect(target: &Target) -> Result<Client, String> {
        let addresses = (target.host.as_str(), target.port).to_socket_addrs();
        let mut failed = "the name has no address".to_owned();
        let mut stream = None;
        for address in addresses.map_err(|error| error.to_string())? {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(connected) => {
                    stream = Some(connected);
                    break;
                }
                Err(error) => failed = error.to_string(),
            }
        }
        let stream = stream.ok_or(failed)?;
        let limited = stream
            .set_read_timeout(Some(PATIENCE))
            .and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
        limited.map_err(|error| error.to_string())?;
        let stream: Box<dyn Stream> = match &target.tls {
            None => Box::new(stream),
            Some(files) => Box::new(encrypted(stream, &target.host, files)?),
        };
        let mut client = Client(BufReader::new(stream));
        match (&target.user, &target.password) {
            (Some(user), password) => {
                client.ask(&["AUTH", user, password.as_deref().unwrap_or_default()])?;
            }
            (None, Some(password)) => {
                client.ask(&["AUTH", password])?;
            }
            (None, None) => {}
        }
        Ok(client)
    }

    /// The reply to a command.
    ///
    /// # Errors
    /// The line of an error reply, or what failed.
    pub(super) fn ask(&mut self, command: &[&str]) -> Result<Reply, String> {
        let mut request = format!("*{}\r\n", command.len());
        for word in command {
            request += &format!("${}\r\n{word}\r\n", word.len());
        }
        let stream = self.0.get_mut();
        let sent = stream.write_all(request.as_bytes()).and_then(|()| stream.flush());
        sent.map_err(|error| error.to_string())?;
        read(&mut self.0, 0)
    }
}

/// Reads a reply.
fn read(from: &mut impl BufRead, depth: usize) -> Result<Reply, String> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "it does not answer".to_owned(),
        io::ErrorKind::UnexpectedEof => "it closes the connection".to_owned(),
        _ => error.to_string(),
    };
    let strange = || "it does not speak RESP there".to_owned();
    let mut line = Vec::new();
    from.take(64 << 10).read_until(b'\n', &mut line).map_err(failed)?;
    if line.is_empty() {
        return Err(failed(io::ErrorKind::UnexpectedEof.into()));
    }
    let line = line.strip_suffix(b"\r\n").ok_or_else(strange)?;
    let (kind, rest) = line.split_first().ok_or_else(strange)?;
    let text = String::from_utf8_lossy(rest).into_owned();
    let number = || text.parse::<i64>().map_err(|_| strange());
    let count = |max: usize| match number()? {
        -1 => Ok(None),
        count => match usize::try_from(count) {
            Ok(count) if count <= max => Ok(Some(count)),
            _ => Err(strange()),
        },
    };
    match kind {
        b'+' => Ok(Reply::Text(text)),
        b'-' => Err(text),
        b':' => Ok(Reply::Number(number()?)),
        b'$' => {
            let Some(count) = count(BYTES_MAX)? else { return Ok(Reply::Text(String::new())) };
            let mut bytes = Vec::new();
            from.take(count as u64 + 2).read_to_end(&mut bytes).map_err(failed)?;
            if bytes.len() != count + 2 {
                return Err(failed(io::ErrorKind::UnexpectedEof.into()));
            }
            bytes.truncate(count);
            Ok(Reply::Text(String::from_utf8_lossy(&bytes).into_owned()))
        }
        b'*' if depth < DEPTH_MAX => {
            let count = count(ITEMS_MAX)?.unwrap_or(0);
            (0..count).map(|_| read(from, depth + 1)).collect::<Result<_, _>>().map(Reply::List)
        }
        _ => Err(strange()),
    }
}

/// Begins TLS. The name by which the node is reached must stand in its certificate.
fn encrypted(
    stream: TcpStream,
    host: &str,
    files: &TlsFiles,
) -> Result<StreamOwned<ClientConnection, TcpStream>, String> {
    let certificates = |path: &str| {
        let expected = |why: String| format!("{path}: {why}; expected certificates in PEM form");
        let text = fs::read(path).map_err(|error| expected(error.to_string()))?;
        let all = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
        all.map_err(|error| expected(error.to_string()))
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&files.ca)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", files.ca))?;
    }
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let config = match &files.own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let secret = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| format!("{key}: {error}; expected a private key in PEM form"))?;
            let built = builder.with_client_auth_cert(chain, secret);
            built.map_err(|error| format!("{certificate} and {key}: {error}"))?
        }
    };
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let connection = ClientConnection::new(Arc::new(config), name);
    Ok(StreamOwned::new(connection.map_err(|error| error.to_string())?, stream))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(mut bytes: &[u8]) -> Result<Reply, String> {
        read(&mut bytes, 0)
    }

    #[test]
    fn replies_are_read() {
        let text = |text: &str| Reply::Text(text.to_owned());
        assert_eq!(of(b"+OK\r\n"), Ok(text("OK")));
        assert_eq!(of(b"$4\r\na\r\nb\r\n"), Ok(text("a\r\nb")));
        assert_eq!(of(b"$-1\r\n"), Ok(text("")));
        let list = Reply::List(vec![Reply::Number(-7), Reply::List(vec![text("x")])]);
        assert_eq!(of(b"*2\r\n:-7\r\n*1\r\n$1\r\nx\r\n"), Ok(list));
        assert_eq!(of(b"-NOAUTH no\r\n"), Err("NOAUTH no".to_owned()));
    }

    #[test]
    fn what_is_no_reply_is_told() {
        for strange in
            ["HTTP/1.1 400 Bad Request\r\n", "$x\r\n", "$99999999999\r\n", "*-2\r\n", "x"]
        {
            assert_eq!(of(strange.as_bytes()), Err("it does not speak RESP there".to_owned()));
        }
        assert_eq!(of("*1\r\n".repeat(20).as_bytes()).ok(), None);
        for cut in ["", "$4\r\nab", "*2\r\n:1\r\n"] {
            assert_eq!(of(cut.as_bytes()), Err("it closes the connection".to_owned()), "{cut}");
        }
    }
}
