//! TLS between nodes: by certificates of the cluster's CA and by the cluster's secret; what both ends say
//! when they do not agree; and a running cluster that moves to it, and from one CA to another.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use miso_protocol::peer::message::Body;
use miso_tests::peer::hello;
use miso_tests::{Certs, Node, Peer, Resp, Session, Tunnel, all_say, wait_until};

const SECRET: &str = "known to the nodes";
/// What no link may show.
const TEXT: &str = "a text that goes from node to node";

/// Where other nodes reach this one.
fn address(node: &Node) -> String {
    let port = node.session().run("CONFIG GET peer-port").field("peer-port").expect("it has one");
    format!("127.0.0.1:{}", port.text())
}

fn says(node: &Node, what: &str) {
    wait_until(what, || node.log().contains(what));
}

fn are_linked(nodes: &[&Node]) -> bool {
    nodes.iter().all(|node| node.info("miso_links") == (nodes.len() - 1).to_string())
}

/// Passes connections on, and keeps what goes over them.
struct Tap {
    address: String,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    fn new(to: &str) -> Tap {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it listens").to_string();
        let (to, heard) = (to.to_owned(), Arc::<Mutex<Vec<u8>>>::default());
        let keep = Arc::clone(&heard);
        thread::spawn(move || {
            while let Ok((from, _)) = listener.accept() {
                let Ok(there) = TcpStream::connect(&to) else { continue };
                let ends = [(&from, &there), (&there, &from)];
                for (from, to) in ends.map(|(a, b)| (a.try_clone(), b.try_clone())) {
                    let (Ok(mut from), Ok(mut to)) = (from, to) else { continue };
                    let keep = Arc::clone(&keep);
                    thread::spawn(move || {
                        let mut buffer = [0; 4096];
                        while let Ok(read @ 1..) = from.read(&mut buffer) {
                            let mut kept = keep.lock().unwrap_or_else(PoisonError::into_inner);
                            kept.extend_from_slice(&buffer[..read]);
                            drop(kept);
                            if to.write_all(&buffer[..read]).is_err() {
                                break;
                            }
                        }
                        let _ = to.shutdown(std::net::Shutdown::Both);
                    });
                }
            }
        });
        Tap { address, heard }
    }

    fn has_heard(&self, text: &str) -> bool {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.windows(text.len()).any(|bytes| bytes == text.as_bytes())
    }
}

#[test]
fn what_nodes_say_can_be_read_without_tls_alone() {
    let certs = Certs::new(&["a", "b"]);
    let secret = ["--cluster-secret", SECRET];
    let without = [&secret[..], &["--peer-tls", "no"]].concat();
    for (by, flags, is_readable) in [
        ("nothing", &[][..], true),
        ("a secret, without TLS", &without[..], true),
        ("a secret", &secret, false),
        ("certificates", &[], false),
        ("both", &secret, false),
    ] {
        let start = |name: &str, more: &[&str]| {
            let flags = [flags, more].concat();
            match by {
                "certificates" | "both" => certs.node(name, &flags),
                _ => Node::with(&[&["--node-name", name], &flags[..]].concat()),
            }
        };
        let a = start("a", &[]);
        let tap = Tap::new(&address(&a));
        let b = start("b", &["--join", &tap.address]);
        let mut all = [a.session(), b.session()];
        all[0].script(&format!("MVREG.SET o n '{TEXT}' => OK"));
        all_say(&mut all, "MVREG.VALUE o n", &format!("{TEXT:?}"));
        all[1].script(&format!("MVREG.SET p n '{TEXT}' => OK"));
        all_say(&mut all, "MVREG.VALUE p n", &format!("{TEXT:?}"));
        assert_eq!(tap.has_heard(TEXT), is_readable, "{by}");
        assert_eq!(a.log().contains("by TLS as a"), !is_readable, "{by}: {}", a.log());
    }
}

#[test]
fn both_ends_say_why_they_do_not_agree() {
    let (certs, others) = (Certs::new(&["a", "b"]), Certs::new(&["b", "c"]));
    let encrypted = certs.node("a", &[]);
    let plain = Node::with(&["--node-name", "plain"]);
    let other_secret = Node::with(&["--node-name", "s", "--cluster-secret", SECRET]);
    let (there, here) = (address(&encrypted), address(&plain));

    let to_encrypted = Node::with(&["--node-name", "x", "--join", &there]);
    says(&to_encrypted, "the node there wants TLS, and this one has none: set peer-tls");
    says(&encrypted, "refused a node: a node at 127.0.0.1 speaks without TLS");

    let to_plain = certs.node("b", &["--join", &here]);
    says(&to_plain, "the node there does not speak TLS");
    says(&plain, "refused a node: a node at 127.0.0.1 speaks TLS, and this one does not");

    let of_another_ca = others.node("c", &["--join", &there]);
    says(&of_another_ca, "invalid peer certificate");
    says(&encrypted, "a node at 127.0.0.1 does not agree on TLS");

    let secret = ["--node-name", "y", "--cluster-secret", "another", "--join"];
    let wrong = Node::with(&[&secret[..], &[&address(&other_secret)]].concat());
    says(&wrong, "the two nodes have different cluster-secrets");
    says(&other_secret, "the two nodes have different cluster-secrets");

    for node in [&encrypted, &plain, &other_secret] {
        assert_eq!(node.session().run("MISO.NODES").items().len(), 1, "none is let in");
        assert_ne!(node.info("miso_peer_refusals"), "0");
    }
}

#[test]
fn a_node_is_whom_its_certificate_names() {
    let certs = Certs::new(&["a", "b"]);
    let a = certs.node("a", &[]);
    let refusal = |body: &Body| matches!(body, Body::Refusal(_) | Body::Records(_));
    let mut honest =
        Peer::greet(Tunnel::open(a.peer_address(), Some((&certs, "b"))).address, hello("b", 77));
    assert!(matches!(honest.until("an answer", refusal), Body::Records(_)));
    for other in ["c", "b2", "localhost", ""] {
        let mut liar = Peer::greet(
            Tunnel::open(a.peer_address(), Some((&certs, "b"))).address,
            hello(other, 78),
        );
        // No name is a fault, and ends the link without an answer.
        if !other.is_empty() {
            let Body::Refusal(refused) = liar.until("an answer", refusal) else {
                panic!("it is let in as {other}");
            };
            let said =
                format!(r#"its certificate names ["b"], and it says that it is node '{other}'"#);
            assert_eq!(refused.reason, said);
            says(&a, &said);
        }
    }
    let mut unnamed = Peer::link(Tunnel::open(a.peer_address(), None).address);
    assert!(unnamed.is_closed_in_time(), "a node must show a certificate");
    let output = Node::refused(&[
        "--node-name",
        "c",
        "--peer-tls-cert-file",
        &certs.path("b.pem"),
        "--peer-tls-key-file",
        &certs.path("b-key.pem"),
        "--peer-tls-ca-cert-file",
        &certs.path("ca.pem"),
    ]);
    assert!(output.stderr.contains("and this is node 'c'"), "{output:?}");
}

#[test]
fn without_an_agreement_a_connection_ends_soon() {
    let certs = Certs::new(&["a", "b"]);
    let a = certs.node("a", &[]);
    let mut silent: Vec<TcpStream> =
        (0..50).map(|_| TcpStream::connect(address(&a)).expect("it listens")).collect();
    let mut begun = TcpStream::connect(address(&a)).expect("it listens");
    // The head of a handshake of 512 bytes, and nothing more.
    begun.write_all(&[0x16, 3, 1, 2, 0, 1, 0]).expect("it reads");
    let b = certs.node("b", &["--join", &address(&a)]);
    wait_until("a link beside them", || are_linked(&[&a, &b]));
    for stream in silent.iter_mut().chain([&mut begun]) {
        stream.set_read_timeout(Some(miso_tests::DEADLINE)).expect("it can");
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        // An end by a reset is one, too.
        assert!(!ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
    }
}

/// Sets all of these on a node at once.
fn set(session: &mut Session, settings: &[(String, String)], more: &str) {
    let pairs: Vec<String> =
        settings.iter().map(|(name, value)| format!("{name} {value}")).collect();
    session.script(&format!("CONFIG SET {} {more} => OK", pairs.join(" ")));
}

/// Adds to a counter on all nodes.
fn add(all: &mut [Session], sum: &mut i64) {
    for session in all.iter_mut() {
        *sum += 1;
        session.run("GCOUNTER.ADD o n 1");
    }
}

#[test]
fn a_running_cluster_moves_to_tls_and_from_one_ca_to_another() {
    let names = ["a", "b", "c"];
    let (old, new) = (Certs::new(&names), Certs::new(&names));
    let first = Node::with(&["--node-name", "a"]);
    let join = address(&first);
    let start = |name| Node::with(&["--node-name", name, "--join", &join]);
    let nodes = [first, start("b"), start("c")];
    let all_linked = || are_linked(&nodes.each_ref());
    wait_until("all links", all_linked);
    let mut sessions: Vec<Session> =
        nodes.iter().map(|node| node.session_of("shop", Resp::V2)).collect();
    let mut sum = 0;

    // From plain to TLS: all know both, then all want it.
    let ca = old.path("trusted.pem");
    fs::copy(old.path("ca.pem"), &ca).expect("it can");
    for (at, name) in names.iter().enumerate() {
        set(&mut sessions[at], &old.settings(name, &ca), "peer-tls optional");
        add(&mut sessions, &mut sum);
    }
    for at in 0..names.len() {
        sessions[at].script("CONFIG SET peer-tls yes => OK");
        add(&mut sessions, &mut sum);
    }
    wait_until("links by TLS", || {
        let ended = |node: &&Node| node.log().contains("peer-tls wants TLS now");
        all_linked() && nodes.iter().any(|node| ended(&node))
    });
    add(&mut sessions, &mut sum);
    all_say(&mut sessions, "GCOUNTER.GET o n", &sum.to_string());

    // From CA to CA: all trust both, then each shows the new certificate, then the old CA goes.
    let both = [old.path("ca.pem"), new.path("ca.pem")].map(|path| fs::read(path).expect("a CA"));
    fs::write(&ca, both.concat()).expect("it can");
    for node in &nodes {
        let read = node.log().matches("read the certificates again").count();
        node.signal(libc::SIGHUP);
        wait_until("it reads them", || {
            node.log().matches("read the certificates again").count() > read
        });
    }
    for (at, name) in names.iter().enumerate() {
        set(&mut sessions[at], &new.settings(name, &ca), "");
        add(&mut sessions, &mut sum);
    }
    assert!(all_linked(), "no link ends for new certificates");
    for session in &mut sessions {
        session.script(&format!("CONFIG SET peer-tls-ca-cert-file {} => OK", new.path("ca.pem")));
    }
    all_say(&mut sessions, "GCOUNTER.GET o n", &sum.to_string());

    // A node with an old certificate is kept out, one with a new one is let in.
    old.make(&["node", "d"]);
    new.make(&["node", "e"]);
    let outside = old.node("d", &["--join", &join]);
    says(&outside, "cannot reach a node at");
    let inside = new.node("e", &["--join", &join]);
    sessions.push(inside.session_of("shop", Resp::V2));
    all_say(&mut sessions, "GCOUNTER.GET o n", &sum.to_string());
    assert_ne!(inside.info("peer_tls_certificate_expires"), "0");
    assert_eq!(outside.session().run("MISO.NODES").items().len(), 1);
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let certs = Certs::new(&["a", "b"]);
    let (a, b) = (certs.node("a", &[]), Certs::new(&["b"]));
    let mut session = a.session();
    let refused = session.run(&format!("CONFIG SET peer-tls-key-file {}", b.path("b-key.pem")));
    assert!(refused.to_string().contains("the key of peer-tls-cert-file"), "{refused}");
    let refused = session.run(&format!("CONFIG SET peer-tls-cert-file {}", certs.path("b.pem")));
    assert!(refused.to_string().contains("and this is node 'a'"), "{refused}");
    let second = certs.node("b", &["--join", &address(&a)]);
    wait_until("a link", || are_linked(&[&a, &second]));
    for (flags, said) in [
        (&["--peer-tls", "yes"][..], "TLS between nodes needs a cluster-secret, or a certificate"),
        (&["--peer-tls-cert-file", "/nowhere"], "needs a cluster-secret, or a certificate"),
        (&["--peer-bind", "0.0.0.0"], "--peer-tls-cert-file"),
    ] {
        let output = Node::refused(&[&["--data-dir", "none"], flags].concat());
        assert!(output.stderr.contains(said), "{flags:?}: {output:?}");
    }
}
