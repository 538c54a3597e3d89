//! Certificates of nodes, and sessions of TLS with a node's peer port.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::thread;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    StreamOwned,
};
use tokio::io::copy_bidirectional;
use tokio_rustls::TlsConnector;

use crate::{DEADLINE, Node, Scratch, Tool};

/// A CA, and certificates that it has signed, made by `miso-server certs`.
pub struct Certs(Scratch);

impl Certs {
    /// A CA, and certificates of these nodes.
    #[track_caller]
    pub fn new(nodes: &[&str]) -> Certs {
        let certs = Certs(Scratch::new());
        certs.make(&["init"]);
        nodes.iter().for_each(|node| certs.make(&["node", node]));
        certs
    }

    /// Runs `miso-server certs` with these words.
    #[track_caller]
    pub fn make(&self, words: &[&str]) {
        let mut command = Command::new(Node::binary());
        command.arg("certs").arg(words[0]).args(["--dir", &self.path("")]).args(&words[1..]);
        let output = Tool::spawn(&mut command).wait();
        assert!(output.code == Some(0), "{output:?}");
    }

    /// The path of a file.
    pub fn path(&self, file: &str) -> String {
        self.0.path(file)
    }

    /// Settings and their values, for the links of node `name`, which trusts the CAs of the file `ca`.
    pub fn settings(&self, name: &str, ca: &str) -> [(String, String); 3] {
        let cert = self.path(&format!("{name}.pem"));
        let key = self.path(&format!("{name}-key.pem"));
        [("cert", cert), ("key", key), ("ca-cert", ca.to_owned())]
            .map(|(of, path)| (format!("peer-tls-{of}-file"), path))
    }

    /// Starts node `name`, which trusts this CA.
    #[track_caller]
    pub fn node(&self, name: &str, flags: &[&str]) -> Node {
        let settings = self.settings(name, &self.path("ca.pem"));
        let flag = |(setting, value): &(String, String)| [format!("--{setting}"), value.clone()];
        let all: Vec<String> = settings.iter().flat_map(flag).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        Node::with(&[&["--node-name", name], &all[..], flags].concat())
    }

    /// What a session shows as node `name`.
    fn shown(&self, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let [(_, cert), (_, key), _] = self.settings(name, "");
        let chain = vec![CertificateDer::from_pem_file(cert).expect("a certificate")];
        (chain, PrivateKeyDer::from_pem_file(key).expect("a key"))
    }
}

/// A client of the Redis protocol by TLS.
pub struct TlsClient(BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl TlsClient {
    /// Connects to a node, trusting these CAs, and shows the certificate of this name.
    ///
    /// # Errors
    /// If either refuses the other; a node may say so only when it is asked something.
    pub fn connect(
        port: &str,
        trusted: &[&Certs],
        (certs, name): (&Certs, &str),
    ) -> io::Result<TlsClient> {
        let mut roots = RootCertStore::empty();
        for ca in trusted {
            let ca = CertificateDer::from_pem_file(ca.path("ca.pem")).expect("a certificate");
            roots.add(ca).expect("a CA");
        }
        let (chain, key) = certs.shown(name);
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .expect("they fit");
        let host = ServerName::try_from("localhost").expect("a name");
        let session = ClientConnection::new(Arc::new(config), host).expect("a session");
        let socket = TcpStream::connect(format!("127.0.0.1:{port}"))?;
        socket.set_read_timeout(Some(DEADLINE))?;
        Ok(TlsClient(BufReader::new(StreamOwned::new(session, socket))))
    }

    /// Sends a command; its reply, which is one line.
    ///
    /// # Errors
    /// If the connection has ended.
    pub fn ask(&mut self, line: &str) -> io::Result<String> {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes())?;
        let mut reply = String::new();
        self.0.read_line(&mut reply)?;
        match reply.trim_end() {
            "" => Err(io::ErrorKind::UnexpectedEof.into()),
            reply => Ok(reply.to_owned()),
        }
    }
}

/// A local port that leads into one session of TLS with a node.
pub struct Tunnel {
    /// The port.
    pub address: SocketAddr,
    /// What both ends know the session by.
    pub binding: [u8; 32],
}

impl Tunnel {
    /// Opens a session with the node at `to`, shown the certificate of this node if there is one.
    #[track_caller]
    pub fn open(to: SocketAddr, shown: Option<(&Certs, &str)>) -> Tunnel {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone));
        let config = match shown {
            None => builder.with_no_client_auth(),
            Some((certs, name)) => {
                let (chain, key) = certs.shown(name);
                builder.with_client_auth_cert(chain, key).expect("they fit")
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it listens");
        listener.set_nonblocking(true).expect("it can");
        let (known, binding) = mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let socket = tokio::net::TcpStream::connect(to).await.expect("the node listens");
                let host = ServerName::try_from("localhost").expect("a name");
                let session = TlsConnector::from(Arc::new(config)).connect(host, socket).await;
                let mut session = session.expect("the node agrees on TLS");
                let binding = session.get_ref().1.export_keying_material(
                    [0; 32],
                    b"EXPORTER-Channel-Binding",
                    Some(b""),
                );
                known.send(binding.expect("a session has one")).expect("it is waited for");
                let listener = tokio::net::TcpListener::from_std(listener).expect("it can");
                let accepted = tokio::time::timeout(DEADLINE, listener.accept()).await;
                let (mut from, _) = accepted.expect("in time").expect("the test connects");
                // The end of either ends the other.
                let _ = copy_bidirectional(&mut from, &mut session).await;
            });
        });
        let binding = binding.recv_timeout(DEADLINE).expect("the node agrees on TLS");
        Tunnel { address, binding }
    }
}

/// Takes any certificate: the tests look at what nodes ask for, and not at what they show.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
