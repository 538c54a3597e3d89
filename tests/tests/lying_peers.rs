//! Members that lie, by the real protocol: of other nodes' events, of this node's, and of who is gone. With
//! the cluster's secret and without.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use miso_protocol::peer::message::Body;
use miso_protocol::peer::state::Kind;
use miso_protocol::peer::{
    Batch, FunctionRecord, Grant, NodeRecord, Records, Retire, Retired, State, Summary, Vector,
};
use miso_store::crdt::{Changes, Delta, ReplicaId, Type, Writers};
use miso_tests::peer::hello;
use miso_tests::{Cluster, Node, Peer, all_say, wait_until};

const F: Bytes = Bytes::from_static(b"default");
const SECRET: &str = "known to the members";
const LIAR: u64 = 666;

fn peer_address(node: &Node) -> SocketAddr {
    let port = node.session().run("CONFIG GET peer-port").field("peer-port").expect("it has one");
    format!("127.0.0.1:{}", port.text()).parse().expect("an address")
}

fn figure(node: &Node, field: &str) -> u64 {
    node.info(field).parse().unwrap_or_else(|_| panic!("{field} is no number"))
}

/// A node's incarnation, as it says itself to those that dial.
fn replica(node: &Node) -> u64 {
    let said = |body: &Body| matches!(body, Body::Hello(_) | Body::Challenge(_));
    match Peer::link(peer_address(node)).until("its first message", said) {
        Body::Hello(hello) => hello.replica,
        Body::Challenge(challenge) => challenge.replica,
        _ => unreachable!("it is one of the two"),
    }
}

/// Without TLS, which the liar does not speak.
fn flags(secret: Option<&str>) -> Vec<&str> {
    let secret = secret.into_iter().flat_map(|secret| ["--cluster-secret", secret]);
    secret.chain(["--peer-tls", "no"]).collect()
}

/// A member that says that it runs `default`.
fn member(node: &Node, secret: Option<&str>, name: &str, replica: u64) -> Peer {
    let hello = hello(name, replica);
    let address = peer_address(node);
    let mut peer = match secret {
        Some(secret) => Peer::prove(address, secret, hello),
        None => Peer::greet(address, hello),
    };
    let function = FunctionRecord { function: F, ..FunctionRecord::default() };
    let record = NodeRecord {
        node: name.into(),
        replica,
        generation: 1,
        version: 1,
        functions: vec![function],
        ..NodeRecord::default()
    };
    peer.say(Body::Records(Records { records: vec![record] })).expect("it reads");
    peer
}

fn vector(of: u64, seq: u64) -> Option<Vector> {
    Some(Vector { writers: vec![of], lasts: vec![seq] })
}

fn summary(of: u64, seq: u64) -> Body {
    let said =
        Summary { function: F, vector: vector(of, seq), carries: true, ..Summary::default() };
    Body::Summary(Summary { current: true, answer: true, ..said })
}

/// Of a writer that is linked only its own word counts: what another says that it has made does not make
/// its events known before they come.
#[test]
fn nobody_speaks_for_a_node_that_is_linked() {
    for secret in [None, Some(SECRET)] {
        let flags = flags(secret);
        let one = Node::with(&flags);
        let seed = peer_address(&one).to_string();
        let two = Node::with(&[&flags[..], &["--node-name", "two", "--join", &seed]].concat());
        let mut all = [one.session(), two.session()];
        all[0].run("GCOUNTER.ADD o n 1");
        all[1].run("GCOUNTER.ADD o n 1");
        all_say(&mut all, "GCOUNTER.GET o n", "2");
        let claimed = 501;
        let two_is = replica(&two);
        let mut liar = member(&one, secret, "liar", LIAR);
        liar.say(summary(two_is, claimed)).expect("it reads");
        let start = Instant::now();
        while figure(&one, "miso_writer_conflicts") == 0 {
            assert!(start.elapsed() < Duration::from_secs(30), "{}", one.log());
            for body in liar.hear(Duration::from_millis(50)).expect("it is linked") {
                if let Body::Pull(pull) = body {
                    let state = State { function: F, id: pull.id, ..State::default() };
                    let vector = vector(two_is, claimed);
                    let done = State { kind: Kind::Done.into(), vector, ..state };
                    liar.say(Body::State(done)).expect("it reads");
                }
            }
        }
        let log = one.log();
        assert!(log.contains("node 'liar': function default: peer"), "{log}");
        assert!(log.contains("the peer is not believed"), "{log}");
        assert_eq!(one.info("miso_faulty_nodes"), "liar");
        for _ in 0..20 {
            all[1].run("GCOUNTER.ADD o n 1");
        }
        all[1].script("WAIT 1 10000 => 1");
        all_say(&mut all, "GCOUNTER.GET o n", "22");
    }
}

/// What a peer says of the node itself, in all messages that have numbers.
#[test]
fn no_number_ends_a_node() {
    for secret in [None, Some(SECRET)] {
        let node = Node::with(&flags(secret));
        let mut session = node.session();
        session.run("GCOUNTER.ADD o n 1");
        let own = replica(&node);
        let extreme = [1, 2, 1 << 31, 1 << 47, (1 << 48) - 1, 1 << 48, u64::MAX];
        for (round, number) in (0..).zip(extreme) {
            let record = |of: &str, replica| NodeRecord {
                node: of.into(),
                replica,
                generation: number,
                version: u64::MAX,
                forgotten: true,
                retired: true,
                ..NodeRecord::default()
            };
            let name =
                node.session().run("MISO.NODES").items()[0].field("name").expect("it has one");
            let records = vec![record(&name.text(), own), record("liar-0", LIAR)];
            let retired = |writer, last| {
                let retired =
                    Retired { function: F, by: LIAR, event: number, ..Retired::default() };
                Body::Retired(Retired { writers: vector(writer, last), ..retired })
            };
            let retire = Retire { function: F, round: number, writers: vec![own, 5], over: false };
            let grant = Grant {
                function: F,
                round: number,
                vector: vector(own, number),
                ..Grant::default()
            };
            let state =
                State { function: F, id: number, part: u32::MAX, last: number, ..State::default() };
            let batch = Batch {
                function: F,
                origin: LIAR,
                first: number,
                last: number,
                ..Batch::default()
            };
            for body in [
                summary(own, number),
                summary(LIAR + round, number),
                retired(own, 0),
                retired(own, number),
                retired(LIAR + round, number),
                Body::Records(Records { records }),
                Body::Retire(retire),
                Body::Grant(grant),
                Body::State(state),
                Body::Batch(batch),
            ] {
                let mut liar = member(&node, secret, &format!("liar-{round}"), LIAR + round);
                let _ = liar.say(body);
                liar.hear(Duration::from_millis(60));
            }
            node.assert_alive();
        }
        session.script("GCOUNTER.ADD o n 1 => 2");
        assert!(figure(&node, "miso_writer_conflicts") > 0, "{}", node.log());
        let log = node.log();
        let is_loud = |line: &&str| line.contains(" WARN ") || line.contains("ERROR");
        assert!(log.lines().filter(is_loud).count() < 60, "{log}");
    }
}

/// A member has a node forgotten that is away, up to the greatest generation, and says that another has adopted its counts:
/// it comes back, with all that it has counted.
#[test]
fn a_record_keeps_no_node_out() {
    let mut cluster = Cluster::with_disks(3, &["--node-timeout", "1s"]);
    let mut s = cluster.sessions();
    for session in &mut s {
        session.run("GCOUNTER.ADD o n 1");
    }
    all_say(&mut s, "GCOUNTER.GET o n", "3");
    let away = replica(cluster.node(2));
    cluster.kill(2);
    for at in [0, 1] {
        cluster.wait_for_state(at, 2, &["dead"]);
    }
    let record = NodeRecord {
        node: "node-2".into(),
        replica: away,
        generation: (1 << 56) - 1,
        forgotten: true,
        ..NodeRecord::default()
    };
    let mut liars: Vec<Peer> =
        [0, 1].map(|at| member(cluster.node(at), None, "liar", LIAR)).into_iter().collect();
    for liar in &mut liars {
        liar.say(Body::Records(Records { records: vec![record.clone()] })).expect("it reads");
        let retired = Retired { function: F, by: LIAR, event: 1, writers: vector(away, 1) };
        liar.say(Body::Retired(retired)).expect("it reads");
        liar.hear(Duration::from_millis(500));
    }
    drop(liars);
    cluster.restart(2);
    cluster.wait_for_links(&[0, 1, 2]);
    let mut s = cluster.sessions();
    s[2].run("GCOUNTER.ADD o n 1");
    all_say(&mut s, "GCOUNTER.GET o n", "4");
}

/// Ids that repeat all but their last bytes are short on the wire.
#[test]
fn what_is_short_on_the_wire_takes_no_memory() {
    let node = Node::with(&[]);
    let mut session = node.session();
    session.run("GCOUNTER.ADD o n 1");
    let writers = Writers::of(ReplicaId(LIAR));
    let mut changes = Changes::new();
    let mut object = vec![b'x'; 1 << 19];
    for end in 0..2_000_u16 {
        object.truncate(1 << 19);
        object.extend(end.to_be_bytes());
        changes.push(&object, b"n", &Delta::empty(Type::OrSet));
    }
    let message = changes.finish(&writers);
    assert!(message.len() < 1_000_000);
    let before = node.memory("VmHWM");
    let mut liar = member(&node, None, "liar", LIAR);
    let batch = Batch { function: F, origin: LIAR, first: 1, last: 1, ..Batch::default() };
    liar.say(Body::Batch(Batch { changes: message.into(), ..batch })).expect("it reads");
    wait_until("its link to be closed", || figure(&node, "miso_peer_faults") == 1);
    let after = node.memory("VmHWM");
    assert!(after < before + (200 << 20), "{before} to {after}");
}

/// A member that invents writers keeps out none that exists.
#[test]
fn invented_writers_keep_no_node_out() {
    let one = Node::with(&[]);
    let mut session = one.session();
    session.run("GCOUNTER.ADD o n 1");
    for number in 0..8_u64 {
        let mut liar = member(&one, None, &format!("liar-{number}"), LIAR + number);
        let writers: Vec<u64> = (0..8_000).map(|id| (1 << 20) * (number + 1) + id).collect();
        let lasts = vec![1; writers.len()];
        let vector = Some(Vector { writers, lasts });
        let said =
            Summary { function: F, vector: vector.clone(), carries: true, ..Summary::default() };
        liar.say(Body::Summary(said)).expect("it reads");
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(4) {
            let Some(said) = liar.hear(Duration::from_millis(50)) else { break };
            for body in said {
                if let Body::Pull(pull) = body {
                    let state = State { function: F, id: pull.id, ..State::default() };
                    let done = State { kind: Kind::Done.into(), vector: vector.clone(), ..state };
                    let _ = liar.say(Body::State(done));
                }
            }
        }
    }
    let seed = peer_address(&one).to_string();
    let two = Node::with(&["--node-name", "two", "--join", &seed]);
    let mut all = [one.session(), two.session()];
    all[1].run("GCOUNTER.ADD o n 1");
    all_say(&mut all, "GCOUNTER.GET o n", "2");
}
