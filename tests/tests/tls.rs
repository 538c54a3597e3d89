//! TLS for clients: certificates by `miso-server certs`, redis-cli and curl as they are, and what a broken
//! or uninvited client meets.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;

use miso_tests::{Node, Output, Scratch, Tool, wait_until};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// A directory of certificates.
struct Certs(Scratch);

impl Certs {
    /// A CA, and a certificate of node `a` and of client `app`.
    fn new() -> Certs {
        let certs = Certs(Scratch::new());
        for words in [&["init"][..], &["node", "a"], &["client", "app"]] {
            let output = certs.make(words);
            assert!(output.code == Some(0), "{output:?}");
        }
        certs
    }

    fn make(&self, words: &[&str]) -> Output {
        let mut command = Command::new(Node::binary());
        command.arg("certs").arg(words[0]).args(["--dir", &self.path("")]).args(&words[1..]);
        Tool::spawn(&mut command).wait()
    }

    fn path(&self, file: &str) -> String {
        self.0.path(file)
    }

    /// A node that serves TLS at the port, beside its own.
    fn node(&self, port: &str, clients: &str) -> Node {
        let (cert, key, ca) = (self.path("a.pem"), self.path("a-key.pem"), self.path("ca.pem"));
        Node::with(&[
            "--tls-port",
            port,
            "--tls-cert-file",
            &cert,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &ca,
            "--tls-auth-clients",
            clients,
        ])
    }

    /// A connection that trusts the CA; with the certificate of `app` if `known`.
    fn connect(&self, port: &str, known: bool) -> io::Result<Client> {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(self.path("ca.pem")).expect("a certificate");
        roots.add(ca).expect("a CA");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = match known {
            true => {
                let chain = CertificateDer::from_pem_file(self.path("app.pem")).expect("one");
                let key = PrivateKeyDer::from_pem_file(self.path("app-key.pem")).expect("a key");
                builder.with_client_auth_cert(vec![chain], key).expect("they fit")
            }
            false => builder.with_no_client_auth(),
        };
        let name = ServerName::try_from("localhost").expect("a name");
        let session = ClientConnection::new(Arc::new(config), name).expect("a session");
        let socket = TcpStream::connect(format!("127.0.0.1:{port}"))?;
        let mut client = Client(StreamOwned::new(session, socket));
        client.0.write_all(b"PING\r\n")?;
        let mut reply = [0; 7];
        client.0.read_exact(&mut reply)?;
        assert_eq!(&reply, b"+PONG\r\n");
        Ok(client)
    }
}

struct Client(StreamOwned<ClientConnection, TcpStream>);

impl Client {
    /// The certificate that the node showed.
    fn shown(&self) -> Vec<u8> {
        self.0.conn.peer_certificates().expect("it has shown one")[0].to_vec()
    }

    fn ping(&mut self) {
        self.0.write_all(b"PING\r\n").expect("it reads");
        let mut reply = [0; 7];
        self.0.read_exact(&mut reply).expect("it answers");
        assert_eq!(&reply, b"+PONG\r\n");
    }
}

#[test]
fn certificates_are_made_and_never_overwritten() {
    let certs = Certs::new();
    for (file, mode) in
        [("ca.pem", 0o644), ("ca-key.pem", 0o600), ("a-key.pem", 0o600), ("app-key.pem", 0o600)]
    {
        let made = fs::metadata(certs.path(file)).expect("it was made");
        assert_eq!(made.permissions().mode() & 0o777, mode, "{file}");
    }
    for (words, said) in [
        (&["init"][..], "exists already"),
        (&["node", "a", "10.0.0.1"], "exists already"),
        (&["client", "../x"], "expected a name without '/'"),
        (&["node", "b", "not a host"], "expected host names and IP addresses"),
    ] {
        let output = certs.make(words);
        assert!(output.code != Some(0) && output.stderr.contains(said), "{words:?}: {output:?}");
    }
    let empty = Certs(Scratch::new());
    let output = empty.make(&["node", "a"]);
    assert!(output.stderr.contains("'miso-server certs init' makes it"), "{output:?}");
}

#[test]
fn redis_cli_connects_with_a_certificate() {
    let (certs, port) = (Certs::new(), Node::free_port().to_string());
    let node = certs.node(&port, "yes");
    let (ca, cert, key) = (certs.path("ca.pem"), certs.path("app.pem"), certs.path("app-key.pem"));
    let tls = ["-p", &port, "--tls", "--cacert", &ca];
    let known = [&tls[..], &["--cert", &cert, "--key", &key]].concat();
    let said = |args: &[&str]| Tool::run("redis-cli", args, b"");
    let added = said(&[&known[..], &["GCOUNTER.ADD", "cart", "total", "2"]].concat());
    assert_eq!(added.stdout, "2\n", "{added:?}");
    node.session().script("GCOUNTER.GET cart total => 2");
    let unknown = said(&[&tls[..], &["PING"]].concat());
    assert!(!unknown.stdout.contains("PONG"), "{unknown:?}");
}

#[test]
fn long_commands_replies_and_pipelines_pass() {
    let (certs, port) = (Certs::new(), Node::free_port().to_string());
    let _node = certs.node(&port, "no");
    let mut client = certs.connect(&port, false).expect("it is let in");
    let value = "v".repeat(5 << 20);
    let set =
        format!("*4\r\n$9\r\nMVREG.SET\r\n$1\r\no\r\n$1\r\nn\r\n${}\r\n{value}\r\n", value.len());
    client.0.write_all(set.as_bytes()).expect("it reads");
    let mut ok = [0; 5];
    client.0.read_exact(&mut ok).expect("it answers");
    assert_eq!(&ok, b"+OK\r\n");
    // The replies are far more than the socket takes while nothing is read.
    let gets = "*3\r\n$11\r\nMVREG.VALUE\r\n$1\r\no\r\n$1\r\nn\r\n".repeat(8);
    client.0.write_all(gets.as_bytes()).expect("it reads");
    let expected = format!("${}\r\n{value}\r\n", value.len()).repeat(8);
    let mut got = vec![0; expected.len()];
    client.0.read_exact(&mut got).expect("it answers");
    assert!(got == expected.as_bytes());
    let adds = "GCOUNTER.ADD p n 1\r\n".repeat(20_000);
    client.0.write_all(adds.as_bytes()).expect("it reads");
    let expected: String = (1..=20_000).map(|n| format!(":{n}\r\n")).collect();
    let mut got = vec![0; expected.len()];
    client.0.read_exact(&mut got).expect("it answers");
    assert!(got == expected.as_bytes());
}

#[test]
fn clients_without_a_good_certificate_are_refused() {
    let (certs, others, port) = (Certs::new(), Certs::new(), Node::free_port().to_string());
    let node = certs.node(&port, "yes");
    certs.connect(&port, true).expect("it is let in").ping();
    assert!(certs.connect(&port, false).is_err());
    // That CA is not the node's: the client refuses the node, and would be refused by it.
    assert!(others.connect(&port, true).is_err());
    node.session().script("CONFIG SET tls-auth-clients optional => OK");
    certs.connect(&port, false).expect("it is let in").ping();
}

#[test]
fn what_is_no_tls_is_closed_and_a_stalled_handshake_holds_up_nobody() {
    let (certs, port) = (Certs::new(), Node::free_port().to_string());
    let node = certs.node(&port, "no");
    let _stalled = TcpStream::connect(format!("127.0.0.1:{port}")).expect("it listens");
    let mut plain = TcpStream::connect(format!("127.0.0.1:{port}")).expect("it listens");
    plain.write_all(b"*1\r\n$4\r\nPING\r\n").expect("it reads");
    let mut said = Vec::new();
    // An alert of TLS at most.
    let _ = plain.read_to_end(&mut said);
    assert!(!said.windows(4).any(|bytes| bytes == b"PONG"), "{said:?}");
    certs.connect(&port, false).expect("it is let in").ping();
    assert!(!node.log().contains("panicked"));
}

#[test]
fn certificates_are_replaced_without_a_restart() {
    let (certs, port) = (Certs::new(), Node::free_port().to_string());
    let node = certs.node(&port, "no");
    let mut old = certs.connect(&port, false).expect("it is let in");
    assert!(certs.make(&["node", "b"]).code == Some(0));
    let (cert, key) = (certs.path("b.pem"), certs.path("b-key.pem"));
    let mut session = node.session();
    // One of the two alone fits nothing, and changes nothing.
    let half = session.run(&format!("CONFIG SET tls-cert-file {cert}")).to_string();
    assert!(half.contains("the key of tls-cert-file"), "{half}");
    certs.connect(&port, false).expect("it is let in").ping();
    session.script(&format!("CONFIG SET tls-cert-file {cert} tls-key-file {key} => OK"));
    let new = certs.connect(&port, false).expect("it is let in");
    assert_ne!(new.shown(), old.shown());
    old.ping();
    // The files themselves change, as a tool that renews certificates changes them.
    assert!(certs.make(&["node", "c"]).code == Some(0));
    fs::rename(certs.path("c.pem"), &cert).expect("it can");
    fs::rename(certs.path("c-key.pem"), &key).expect("it can");
    node.signal(libc::SIGHUP);
    wait_until("the new certificate", || {
        certs.connect(&port, false).is_ok_and(|client| client.shown() != new.shown())
    });
    assert_ne!(node.info("tls_certificate_expires"), "0");
}

#[test]
fn with_port_0_clients_without_tls_are_not_served() {
    let (certs, port) = (Certs::new(), Node::free_port().to_string());
    let mut command = Command::new(Node::binary());
    let (cert, key) = (certs.path("a.pem"), certs.path("a-key.pem"));
    command
        .args(["--port", "0", "--tls-port", &port, "--tls-auth-clients", "no"])
        .args(["--tls-cert-file", &cert, "--tls-key-file", &key])
        .args(["--data-dir", "none", "--peer-port", "none", "--mdns", "no"]);
    let tool = Tool::spawn(&mut command);
    wait_until("the node to serve", || certs.connect(&port, false).is_ok());
    let output = tool.stop();
    let ready: Vec<_> = output.stdout.lines().filter(|line| line.contains("Ready to")).collect();
    assert!(matches!(ready[..], [line] if line.contains("by TLS")), "{ready:?}");
}

#[test]
fn settings_that_do_not_fit_are_refused_at_the_start() {
    let certs = Certs::new();
    let (cert, key) = (certs.path("a.pem"), certs.path("a-key.pem"));
    for (flags, said) in [
        (&["--tls-port", "7777"][..], "set tls-cert-file and tls-key-file"),
        (&["--http-tls-port", "7777"], "set tls-cert-file and tls-key-file"),
        (
            &["--tls-port", "7777", "--tls-cert-file", &cert, "--tls-key-file", &key],
            "set it, or tls-auth-clients no",
        ),
        (
            &["--tls-cert-file", "/nowhere", "--tls-key-file", &key],
            "tls-cert-file: cannot use /nowhere",
        ),
    ] {
        let output = Node::refused(flags);
        assert!(output.stderr.contains(said), "{flags:?}: {output:?}");
    }
}

/// A node that serves HTTP by TLS alone, and its port.
fn https(certs: &Certs, clients: &str) -> (Node, String) {
    let (cert, key, ca) = (certs.path("a.pem"), certs.path("a-key.pem"), certs.path("ca.pem"));
    let files = ["--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &ca];
    let flags = ["--http-tls-port", "0", "--tls-auth-clients", clients];
    let node = Node::with(&[&flags[..], &files].concat());
    let port = node.session().run("CONFIG GET http-tls-port").items()[1].text().to_owned();
    (node, port)
}

/// What curl says of a GCOUNTER.ADD: the version of HTTP, the status and the body.
fn curl(port: &str, flags: &[&str]) -> Output {
    let url = format!("https://localhost:{port}/gcounter.add/cart/total/2");
    let token = ["-H", "Authorization: Bearer shop", "-w", " %{http_version} %{http_code}"];
    Tool::run("curl", &[&["-s", "-S"], flags, &token, &[&url]].concat(), b"")
}

#[test]
fn curl_speaks_both_versions_of_http_by_tls() {
    let certs = Certs::new();
    let (node, port) = https(&certs, "no");
    let ca = certs.path("ca.pem");
    let first = curl(&port, &["--cacert", &ca, "--http2"]);
    assert_eq!(first.stdout, r#"{"result":2} 2 200"#, "{first:?}");
    let second = curl(&port, &["--cacert", &ca, "--http1.1", "--tls-max", "1.2"]);
    assert_eq!(second.stdout, r#"{"result":4} 1.1 200"#, "{second:?}");
    node.session_of("shop", miso_tests::Resp::V2).script("GCOUNTER.GET cart total => 4");
    assert_eq!(node.session().run("CONFIG GET http-port").items()[1].text(), "none");
    assert!(node.log().contains("Ready to accept HTTP connections on 127.0.0.1:"));
    // Without --cacert curl does not know whose the certificate is.
    let unknown = curl(&port, &[]);
    assert!(!unknown.stdout.contains("result"), "{unknown:?}");
}

#[test]
fn http_asks_for_certificates_as_the_client_port_does() {
    let certs = Certs::new();
    let (node, port) = https(&certs, "yes");
    let (ca, cert, key) = (certs.path("ca.pem"), certs.path("app.pem"), certs.path("app-key.pem"));
    let known = ["--cacert", &ca, "--cert", &cert, "--key", &key];
    assert_eq!(curl(&port, &known).stdout, r#"{"result":2} 2 200"#);
    let unknown = curl(&port, &known[..2]);
    assert!(unknown.code != Some(0) && !unknown.stdout.contains("result"), "{unknown:?}");
    node.session().script("CONFIG SET tls-auth-clients optional => OK");
    assert_eq!(curl(&port, &known[..2]).stdout, r#"{"result":4} 2 200"#);
}

#[test]
fn http_without_tls_and_stalled_handshakes_get_nothing() {
    let certs = Certs::new();
    let (node, port) = https(&certs, "no");
    let _stalled = TcpStream::connect(format!("127.0.0.1:{port}")).expect("it listens");
    let mut plain = TcpStream::connect(format!("127.0.0.1:{port}")).expect("it listens");
    plain.write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it reads");
    let mut said = Vec::new();
    // An alert of TLS at most.
    let _ = plain.read_to_end(&mut said);
    assert!(!said.windows(4).any(|bytes| bytes == b"HTTP"), "{said:?}");
    assert!(curl(&port, &["--cacert", &certs.path("ca.pem")]).stdout.ends_with("200"));
    assert!(!node.log().contains("panicked"));
    assert_eq!(node.info("http_connections"), "1", "the stalled one, which may take 10 seconds");
}

#[test]
fn http_takes_the_new_certificate_as_the_client_port_does() {
    let (certs, others) = (Certs::new(), Certs::new());
    let (node, port) = https(&certs, "no");
    let (old, new) = (certs.path("ca.pem"), others.path("ca.pem"));
    assert!(curl(&port, &["--cacert", &old]).stdout.ends_with("200"));
    let (cert, key) = (others.path("a.pem"), others.path("a-key.pem"));
    let set = format!("CONFIG SET tls-cert-file {cert} tls-key-file {key} => OK");
    node.session().script(&set);
    assert!(curl(&port, &["--cacert", &new]).stdout.ends_with("200"));
    assert!(curl(&port, &["--cacert", &old]).code != Some(0));
}
