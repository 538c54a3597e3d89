//! Peers that are broken or hostile, by the real protocol: they harm only themselves.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use miso_protocol::peer::message::Body;
use miso_protocol::peer::{NodeRecord, Records, Refusal, refusal};
use miso_tests::peer::hello;
use miso_tests::{Certs, Node, Peer, Rng, Tunnel, all_say, wait_until};

/// Where peers reach a node.
fn peer_address(node: &Node) -> SocketAddr {
    let port = node.session().run("CONFIG GET peer-port").field("peer-port").expect("it has one");
    format!("127.0.0.1:{}", port.text()).parse().expect("an address")
}

fn figure(node: &Node, field: &str) -> u64 {
    node.info(field).parse().unwrap_or_else(|_| panic!("{field} is no number"))
}

/// A node that joins another, and works with it.
fn works_with(node: &Node) -> Node {
    let seed = peer_address(node).to_string();
    let second = Node::with(&["--node-name", "honest", "--join", &seed]);
    let mut all = [node.session(), second.session()];
    all[0].run("GCOUNTER.ADD honest n 1");
    all[1].run("GCOUNTER.ADD honest n 1");
    all_say(&mut all, "GCOUNTER.GET honest n", "2");
    second
}

const SECRET: &str = "known to the members";

/// Every kind of message, as the frozen fixtures have it.
fn all_messages() -> Vec<Vec<u8>> {
    let lines = include_str!("../../protocol/tests/peer/v1.hex").lines();
    let bytes = |hex: &str| -> Vec<u8> {
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("two digits");
        (0..hex.len()).step_by(2).map(byte).collect()
    };
    lines
        .filter_map(|line| line.split_once(" 0a"))
        .map(|(_, hex)| bytes(&format!("0a{hex}")))
        .collect()
}

/// How a peer is let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Let {
    /// It need only ask.
    In,
    /// It knows the secret.
    BySecret,
    /// It knows the secret, and speaks TLS.
    BySecretAndTls,
    /// It has a certificate of the cluster's CA.
    ByCertificate,
}

/// A peer that is let in, under one of three names.
fn let_in(by: Let, certs: &Certs, address: SocketAddr, round: u64) -> Peer {
    let name = format!("hostile-{}", round % 3);
    let hello = hello(&name, 1_000 + round);
    match by {
        Let::In => Peer::greet(address, hello),
        Let::BySecret => Peer::prove(address, SECRET, hello),
        Let::BySecretAndTls => {
            let tunnel = Tunnel::open(address, None);
            Peer::prove_in(tunnel.address, SECRET, hello, &tunnel.binding)
        }
        Let::ByCertificate => {
            Peer::greet(Tunnel::open(address, Some((certs, &name))).address, hello)
        }
    }
}

#[test]
fn mutated_messages_of_every_kind_harm_only_their_link() {
    let messages = all_messages();
    assert!(messages.len() > 25, "{}", messages.len());
    let certs = Certs::new(&["a", "honest", "hostile-0", "hostile-1", "hostile-2"]);
    let secret = ["--cluster-secret", SECRET];
    for (by, rounds, flags) in [
        (Let::In, 150, &[][..]),
        (Let::BySecret, 150, &[&secret[..], &["--peer-tls", "no"]].concat()),
        (Let::BySecretAndTls, 60, &secret),
        (Let::ByCertificate, 60, &[]),
    ] {
        let start = |name: &str, more: &[&str]| {
            let flags = [flags, more].concat();
            match by {
                Let::ByCertificate => certs.node(name, &flags),
                _ => Node::with(&[&["--node-name", name], &flags[..]].concat()),
            }
        };
        let node = start("a", &[]);
        let address = peer_address(&node);
        let second = start("honest", &["--join", &address.to_string()]);
        let mut all = [node.session(), second.session()];
        let mut rng = Rng::new(11);
        for round in 0..rounds {
            let mut peer = let_in(by, &certs, address, round);
            for _ in 0..20 {
                let mut message = messages[rng.below(messages.len() as u64) as usize].clone();
                for _ in 0..rng.below(4) {
                    let at = rng.below(message.len() as u64) as usize;
                    message[at] = rng.below(256) as u8;
                }
                // After one that is wrong the link is closed.
                if peer.send(&message).is_err() {
                    break;
                }
            }
            peer.hear(Duration::from_millis(5));
            if round % 50 == 0 {
                node.assert_alive();
            }
        }
        for session in &mut all {
            session.run("GCOUNTER.ADD o n 1");
        }
        all_say(&mut all, "GCOUNTER.GET o n", "2");
        wait_until("faults: they were mutated", || figure(&node, "miso_peer_faults") > rounds / 3);
        assert!(!node.info("miso_faulty_nodes").contains("honest"), "{by:?}");
    }
}

#[test]
fn without_its_proof_a_peer_learns_nothing() {
    let node = Node::with(&["--cluster-secret", SECRET, "--peer-tls", "no"]);
    let address = peer_address(&node);
    for message in all_messages() {
        let mut peer = Peer::link(address);
        peer.send(&message).expect("it reads");
        let mut said = Vec::new();
        let start = Instant::now();
        while let Some(more) = peer.hear(Duration::from_millis(20)) {
            said.extend(more);
            let is_of_the_gate =
                |body: &Body| matches!(body, Body::Challenge(_) | Body::Refusal(_));
            assert!(said.iter().all(is_of_the_gate), "{said:?}");
            if said.len() > 1 || start.elapsed() > Duration::from_millis(200) {
                break;
            }
        }
        assert!(matches!(said.first(), Some(Body::Challenge(_))), "{said:?}");
    }
    node.assert_alive();
}

#[test]
fn no_hello_and_no_refusal_ends_a_node() {
    let node = Node::with(&["--node-name", "victim"]);
    let address = peer_address(&node);
    let mut first = Peer::link(address);
    let Body::Hello(own) = first.until("its Hello", |body| matches!(body, Body::Hello(_))) else {
        unreachable!("until waits for a Hello")
    };
    for round in 0..40 {
        let mut double = hello("victim", 7);
        match round % 4 {
            0 => double.generation = 1,
            1 => double.generation = (1 << 56) - 1,
            2 => (double.node, double.replica) = ("x".into(), own.replica),
            _ => (double.replica, double.generation) = (own.replica, 1),
        }
        let mut peer = Peer::greet(address, double);
        let refused = |body: &Body| matches!(body, Body::Refusal(_));
        peer.until("a refusal", refused);
        let mut peer = Peer::link(address);
        let kind = if round % 2 == 0 { refusal::Kind::Name } else { refusal::Kind::Replica };
        let reason = "another lives".to_owned();
        let addresses = vec!["127.0.0.1:1".to_owned()];
        peer.say(Body::Refusal(Refusal { reason, kind: kind.into(), addresses }))
            .expect("it reads");
    }
    node.assert_alive();
    let _second = works_with(&node);
}

#[test]
fn announced_lengths_take_no_memory() {
    let node = Node::with(&["--maxmemory", "300mb"]);
    let address = peer_address(&node);
    let before = (figure(&node, "used_memory"), node.memory("VmRSS"));
    let mut peers: Vec<Peer> = (0..32).map(|_| Peer::link(address)).collect();
    for peer in &mut peers {
        peer.announce(1, 64 << 20, &[0x0a; 100]).expect("it reads");
        let second = peer.open().expect("it takes two streams");
        // A message of 60 MB, in chunks that are short.
        peer.announce(second, 100, &[&[0x0a, 0x80, 0x80, 0xc0, 0x1c][..], &[0; 95]].concat())
            .expect("it reads");
    }
    for peer in &mut peers {
        peer.hear(Duration::from_millis(20));
    }
    let after = (figure(&node, "used_memory"), node.memory("VmRSS"));
    assert!(after.0 < before.0 + (64 << 20), "used_memory {before:?} to {after:?}");
    assert!(after.1 < before.1 + (64 << 20), "VmRSS {before:?} to {after:?}");
    node.session().script("GCOUNTER.ADD o n 1 => 1");
}

#[test]
fn connections_that_had_a_stream_are_closed() {
    let node = Node::with(&[]);
    let address = peer_address(&node);
    let before = node.descriptors();
    let mut peers: Vec<Peer> = (0..40).map(|_| Peer::link(address)).collect();
    // The node greets a connection once it has accepted it.
    wait_until("all to be accepted", || peers.iter_mut().all(Peer::is_greeted));
    for (number, peer) in peers.iter_mut().enumerate() {
        match number % 4 {
            0 => peer.say(Body::Hello(hello("", 0))).expect("it reads"),
            1 => peer.send(b"\x0a\xff\xff\xff\xff\x7f").expect("it reads"),
            2 => peer.send(&[0x0a, 0x03, 0xfa, 0x06, 0x00]).expect("it reads"),
            _ => {}
        }
    }
    wait_until("their descriptors to be free again", || node.descriptors() <= before);
    assert!(peers.iter_mut().all(Peer::is_closed_in_time));
}

#[test]
fn strangers_that_talk_keep_no_node_out() {
    let node = Node::with(&[]);
    let address = peer_address(&node);
    let mut peers: Vec<Peer> = (0..300).map(|_| Peer::link(address)).collect();
    let unknown = [0x0a, 0x03, 0xfa, 0x06, 0x00];
    for peer in &mut peers {
        // Those that had to make room for others are closed.
        let _ = peer.send(&unknown.repeat(100));
    }
    let start = Instant::now();
    let _second = works_with(&node);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

/// A port that counts connections and closes each.
fn counting_port() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            counted.fetch_add(1, Ordering::SeqCst);
            drop(socket);
        }
    });
    (address, count)
}

#[test]
fn invented_nodes_are_dialed_seldom() {
    let node = Node::with(&["--node-name", "victim"]);
    let (address, dialed) = counting_port();
    let mut peer = Peer::greet(peer_address(&node), hello("inventor", 99));
    let record = |index: u64| NodeRecord {
        node: format!("invented-{index}"),
        replica: 1_000 + index,
        generation: 1,
        version: 1,
        addresses: vec![address.to_string()],
        ..NodeRecord::default()
    };
    let all: Vec<NodeRecord> = (0..4100).map(record).collect();
    let start = Instant::now();
    for part in all.chunks(100) {
        let records = Records { records: part.to_vec() };
        peer.say(Body::Records(records)).expect("it reads");
    }
    peer.hear(Duration::from_secs(3));
    wait_until("a dial", || dialed.load(Ordering::SeqCst) > 0);
    // One dial in a second, and the first at once. Each may be two connections: the HTTP/2 client tries
    // once more where one is closed before its first request.
    let most = 2 * (2 + usize::try_from(start.elapsed().as_secs()).expect("some seconds"));
    let dialed = dialed.load(Ordering::SeqCst);
    assert!(dialed <= most, "{dialed} dials of one address in {:?}", start.elapsed());
    let log = node.log();
    assert!(log.lines().count() < 100, "{log}");
    let _second = works_with(&node);
}

#[test]
fn a_seed_that_is_no_peer_is_said() {
    let other = Node::with(&["--peer-port", "none"]);
    let client_port = other.address().to_string();
    let closed = format!("127.0.0.1:{}", Node::free_port());
    let join = format!("{client_port},{closed}");
    let node = Node::with(&["--join", &join]);
    wait_until("both to be said", || {
        let log = node.log();
        log.contains(&format!(
            "cannot reach a node at {client_port}: this is a client port; peers are on"
        )) && log.contains(&format!("cannot reach a node at {closed}: "))
            && log.to_lowercase().contains("connection refused")
    });
    let said = node.session().run(&format!("MISO.JOIN {client_port}")).to_string();
    assert!(said.contains("this is a client port"), "{said}");
    let own = &node.session().run("MISO.NODES").items()[0];
    let seeds = own.field("seeds").expect("a field of the own node");
    let error = seeds.field(&client_port).expect("it is a seed").text();
    assert!(error.contains("this is a client port"), "{error}");
    let lines = node.log().lines().filter(|line| line.contains(&closed)).count();
    assert!(lines <= 2, "{lines} lines");
}

#[test]
fn without_a_secret_nodes_are_on_loopback_only() {
    for bind in ["0.0.0.0", "::", "127.0.0.1 0.0.0.0"] {
        let refused = Node::refused(&["--data-dir", "none", "--peer-bind", bind]);
        let line = refused.stderr.trim();
        assert_eq!(refused.code, Some(1), "{line}");
        assert!(
            line.contains("--cluster-secret-file") && line.contains("--peer-insecure yes"),
            "{line}"
        );
        assert_eq!(line.lines().count(), 1, "{line}");
    }
    for flags in [["--peer-insecure", "yes"], ["--cluster-secret", "of some"]] {
        Node::with(&[&["--peer-bind", "0.0.0.0"][..], &flags].concat()).assert_alive();
    }
}

#[test]
fn names_that_no_peer_can_be_told_are_refused_at_the_start() {
    let long = "x".repeat(257);
    for name in ["a b", "a#b", long.as_str(), "b\u{fc}ro"] {
        let refused = Node::refused(&["--data-dir", "none", "--node-name", name]);
        assert_eq!(refused.code, Some(1), "{name}");
        assert!(refused.stderr.contains("node-name"), "{}", refused.stderr);
    }
}

#[test]
fn what_peers_say_forges_no_line_of_the_log() {
    let node = Node::with(&[]);
    let address = peer_address(&node);
    for round in 0..300 {
        let cluster = format!("x\r\n{round} FORGED line");
        let mut peer =
            Peer::greet(address, miso_protocol::peer::Hello { cluster, ..hello("x", 5) });
        peer.until("a refusal", |body| matches!(body, Body::Refusal(_)));
    }
    let log = node.log();
    let forged = log.lines().filter(|line| line.trim_start().ends_with("FORGED line")).count();
    assert_eq!(forged, 0, "{log}");
    assert!(log.len() < 64 << 10, "{} bytes of log", log.len());
}

#[test]
fn garbage_on_the_peer_port_is_cheap() {
    let node = Node::with(&[]);
    let address = peer_address(&node);
    for _ in 0..200 {
        let mut socket = TcpStream::connect(address).expect("it listens");
        let _ = socket.write_all(&[0xff; 1000]);
    }
    let _second = works_with(&node);
}
