//! Three nodes with certificates and a secret, and one of them is taken over: what speaks with its credentials
//! lies in all the ways that the protocol has. The two others lose nothing and say which node lied.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use miso_protocol::peer::message::Body;
use miso_protocol::peer::state::Kind;
use miso_protocol::peer::{
    Batch, FunctionRecord, Hello, NodeRecord, Records, Retired, State, Summary, Vector,
};
use miso_tests::peer::hello;
use miso_tests::{Certs, Frame, Node, Peer, Session, Tunnel, all_say, wait_until};

const F: Bytes = Bytes::from_static(b"default");
const SECRET: &str = "known to the members";
/// The incarnation of the node that is taken over, from then on.
const LIAR: u64 = 666;

/// Opens a link with the credentials of node `c`.
fn dial(certs: &Certs, to: SocketAddr, hello: Hello) -> Peer {
    let tunnel = Tunnel::open(to, Some((certs, "c")));
    Peer::prove_in(tunnel.address, SECRET, hello, &tunnel.binding)
}

/// A link as node `c`, which says that it runs the function, and wants what is written there.
fn member(certs: &Certs, to: SocketAddr, generation: u64) -> Peer {
    let mut peer = dial(certs, to, Hello { generation, ..hello("c", LIAR) });
    let function = FunctionRecord { function: F, ..FunctionRecord::default() };
    let record = record("c", LIAR, generation);
    let records = vec![NodeRecord { functions: vec![function], ..record }];
    peer.say(Body::Records(Records { records })).expect("it reads");
    peer.say(summary(Vector::default())).expect("it reads");
    peer
}

fn summary(vector: Vector) -> Body {
    let said = Summary { function: F, vector: Some(vector), ..Summary::default() };
    Body::Summary(Summary { carries: true, current: true, answer: true, ..said })
}

fn record(node: &str, replica: u64, generation: u64) -> NodeRecord {
    NodeRecord { node: node.into(), replica, generation, version: 1, ..NodeRecord::default() }
}

fn vector(of: u64, seq: u64) -> Option<Vector> {
    Some(Vector { writers: vec![of], lasts: vec![seq] })
}

/// A node's incarnation, as it says itself.
fn replica(node: &Node) -> u64 {
    let id = node.session().run("MISO.NODE").field("id").expect("it has one").text();
    u64::from_str_radix(&id, 16).expect("an id")
}

fn figure(node: &Node, field: &str) -> u64 {
    node.info(field).parse().unwrap_or_else(|_| panic!("{field} is no number"))
}

/// How often a node says that this other one has lied.
fn faults(node: &Node, of: &str) -> i64 {
    let nodes = node.session().run("MISO.NODES").items();
    let found = nodes.iter().find(|node| node.field("name").is_some_and(|name| name.text() == of));
    match found.and_then(|found| found.field("faults")) {
        Some(Frame::Integer(faults)) => faults,
        other => panic!("{other:?}"),
    }
}

/// Writes until it is over; how many elements were added. Each is acknowledged.
fn write(mut session: Session, of: &str, over: &AtomicBool) -> u64 {
    let mut number = 0;
    while !over.load(Ordering::Relaxed) {
        let (counted, added) = (
            session.run("GCOUNTER.ADD o n 1"),
            session.run(&format!("ORSET.ADD o s {of}-{number}")),
        );
        assert!(matches!((&counted, &added), (Frame::Integer(_), Frame::Integer(1))), "{added}");
        number += 1;
    }
    number
}

/// Ends the writers, also if the test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What node `c` says with its own credentials, in another's name, or of another.
struct Liar<'a> {
    certs: &'a Certs,
    to: &'a Node,
    other: &'a Node,
    generation: u64,
}

impl Liar<'_> {
    fn member(&mut self) -> Peer {
        self.generation += 1;
        member(self.certs, self.to.peer_address(), self.generation)
    }

    /// As the other node, or with its incarnation: it is refused.
    fn in_anothers_name(&mut self) {
        for hello in [hello("b", LIAR), hello("a", LIAR), hello("c", replica(self.other))] {
            let mut peer = dial(self.certs, self.to.peer_address(), hello);
            let answer = |body: &Body| matches!(body, Body::Refusal(_) | Body::Records(_));
            let said = peer.until("an answer", answer);
            assert!(matches!(said, Body::Refusal(_)), "{said:?}");
        }
    }

    /// A batch that the other node has made is passed on, as it is and as an own one.
    fn passes_on(&mut self) {
        let mut spy = member(self.certs, self.other.peer_address(), self.generation);
        let batch = spy.until("a batch", |body| matches!(body, Body::Batch(_)));
        let Body::Batch(batch) = batch else { unreachable!("it is one") };
        for stolen in [batch.clone(), Batch { origin: LIAR, first: 1, last: 1, ..batch }] {
            let before = figure(self.to, "miso_peer_faults");
            let mut peer = self.member();
            peer.say(Body::Batch(stolen)).expect("it reads");
            peer.hear(Duration::from_millis(200));
            wait_until("its link to end", || figure(self.to, "miso_peer_faults") > before);
        }
    }

    /// The other node is said to be gone, forgotten, and to have had its counts adopted.
    fn buries(&mut self) {
        let of = replica(self.other);
        let mut peer = self.member();
        for name in ["a", "b"] {
            let gone = NodeRecord {
                version: u64::MAX,
                forgotten: true,
                retired: true,
                ..record(name, of, (1 << 56) - 1)
            };
            let _ = peer.say(Body::Records(Records { records: vec![gone] }));
        }
        let retired = Retired { function: F, by: LIAR, event: 1, ..Retired::default() };
        let _ = peer.say(Body::Retired(Retired { writers: vector(of, 1), ..retired }));
        peer.hear(Duration::from_millis(200));
    }

    /// The other node is said to have made events that it has not made.
    fn invents(&mut self) {
        let (of, claimed) = (replica(self.other), 1 << 40);
        let before = figure(self.to, "miso_writer_conflicts");
        let mut peer = self.member();
        peer.say(summary(vector(of, claimed).expect("one"))).expect("it reads");
        let start = Instant::now();
        while figure(self.to, "miso_writer_conflicts") == before {
            assert!(start.elapsed() < miso_tests::DEADLINE, "{}", self.to.log());
            for body in peer.hear(Duration::from_millis(50)).expect("it is linked") {
                if let Body::Pull(pull) = body {
                    let state = State { function: F, id: pull.id, ..State::default() };
                    let vector = vector(of, claimed);
                    let done = State { kind: Kind::Done.into(), vector, ..state };
                    peer.say(Body::State(done)).expect("it reads");
                }
            }
        }
    }
}

#[test]
fn a_node_that_is_taken_over_harms_no_other_and_is_named() {
    let certs = Certs::new(&["a", "b", "c"]);
    let secret = ["--cluster-secret", SECRET];
    let a = certs.node("a", &secret);
    let join = a.peer_address().to_string();
    let with_join = [&secret[..], &["--join", &join]].concat();
    let (b, c) = (certs.node("b", &with_join), certs.node("c", &with_join));
    let mut all = [a.session(), b.session(), c.session()];
    all[2].run("GCOUNTER.ADD o n 7");
    all[2].run("ORSET.ADD o s of-c");
    all_say(&mut all, "GCOUNTER.GET o n", "7");
    all_say(&mut all, "ORSET.CARD o s", "1");
    drop(c);

    let over = AtomicBool::new(false);
    let written = thread::scope(|scope| {
        let (of_a, of_b) = (a.session(), b.session());
        let writers =
            [scope.spawn(|| write(of_a, "a", &over)), scope.spawn(|| write(of_b, "b", &over))];
        let end = End(&over);
        // Later than any node that was started by now.
        let mut generation = 1 << 50;
        for (to, other) in [(&a, &b), (&b, &a)] {
            let mut liar = Liar { certs: &certs, to, other, generation };
            liar.in_anothers_name();
            liar.passes_on();
            liar.buries();
            liar.invents();
            generation = liar.generation + 1;
        }
        drop(end);
        writers.map(|writer| writer.join().expect("no write is refused"))
    });

    // Nothing that was acknowledged is lost, by a node that links anew as well.
    let d = {
        certs.make(&["node", "d"]);
        certs.node("d", &with_join)
    };
    let mut all = [a.session(), b.session(), d.session()];
    let sum: u64 = written.iter().sum();
    all_say(&mut all, "GCOUNTER.GET o n", &(sum + 7).to_string());
    all_say(&mut all, "ORSET.CARD o s", &(sum + 1).to_string());
    for (node, other) in [(&a, "b"), (&b, "a")] {
        let log = node.log();
        assert_eq!(node.info("miso_faulty_nodes"), "c", "{log}");
        assert!(faults(node, "c") >= 3 && faults(node, other) == 0, "{log}");
        for said in [
            r#"its certificate names ["c"], and it says that it is node"#,
            "a fault of node 'c': a batch of another node's events",
            "a fault of node 'c': malformed message: Malformed(\"event of a change\")",
            "node 'c': function default: peer 000000000000029a says that writer",
        ] {
            assert!(log.contains(said), "no {said:?} in:\n{log}");
        }
    }
}
