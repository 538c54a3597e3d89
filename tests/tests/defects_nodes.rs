//! The defects that were reproduced in the published middleware and concern several nodes, each as a test with real
//! processes. Named as in `defects.rs`; the numbers are those of the list in the project's description of it.

use miso_tests::{Cluster, Frame, Peer, Session, Way, all_say, wait_until};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::Duration;

/// What a node counts under `field` for another, by MISO.NODES.
fn seen(cluster: &Cluster, from: usize, of: usize, field: &str) -> i64 {
    let view = cluster.view(of, from).expect("they know each other");
    view.field(field).expect("a field of MISO.NODES").integer()
}

fn members(prefix: &str, from: usize, to: usize) -> String {
    (from..to).map(|i| format!("{prefix}{i}")).collect::<Vec<_>>().join(" ")
}

/// 1: the middleware was restarted while a function went on, counted under its old identity from 0, and its peers took
/// the maximum: 10 acknowledged increments were lost for good, 50 instead of 60.
#[test]
fn d1_a_restarted_node_does_not_write_on_under_its_old_identity() {
    let mut cluster = Cluster::start(2);
    let mut s = cluster.sessions();
    s[0].script("GCOUNTER.ADD o c 50 => 50\nPNCOUNTER.ADD o p 50 => 50\nWAIT 1 30000 => 1");
    all_say(&mut s[1..], "GCOUNTER.GET o c", "50");
    for round in 1..=3_i64 {
        cluster.kill(0);
        cluster.restart(0);
        // At once: the node may know no other yet, and hence not that there are 50.
        s[0] = cluster.session(0);
        for _ in 0..10 {
            s[0].script("GCOUNTER.ADD o c => *\nPNCOUNTER.SUB o p => *");
        }
        all_say(&mut s, "GCOUNTER.GET o c", &(50 + 10 * round).to_string());
        all_say(&mut s, "PNCOUNTER.GET o p", &(50 - 10 * round).to_string());
    }
}

/// 2: a restarted node read 0 instead of 7, and for ever: it was never told of its peers again, made defaults, and
/// never fetched what its peers had.
#[test]
fn d2_a_restarted_node_reads_what_its_peers_have() {
    let mut cluster = Cluster::with(2, &["--restore-timeout", "10s"]);
    let mut s = cluster.sessions();
    s[0].script("GCOUNTER.ADD o c 7 => 7\nORSET.ADD o s a => 1\nMVREG.SET o r v => OK\nEWFLAG.ENABLE o f => 1");
    all_say(&mut s, "GCOUNTER.GET o c", "7");
    cluster.kill(1);
    cluster.restart(1);
    cluster.wait_for_mesh();
    // The very first read of each.
    let mut fresh = cluster.session(1);
    fresh.script(
        "GCOUNTER.GET o c => 7\nORSET.MEMBERS o s => ~[\"a\"]\nMVREG.VALUE o r => \"v\"\nEWFLAG.GET o f => 1",
    );
}

/// 2, the other half: what was read as absent while no peer could be asked comes by itself later.
#[test]
fn d2_a_default_is_not_for_ever() {
    let mut cluster = Cluster::start(2);
    let mut s = cluster.sessions();
    s[0].script("GCOUNTER.ADD o c 7 => 7");
    all_say(&mut s, "GCOUNTER.GET o c", "7");
    cluster.kill(1);
    cluster.isolate(1);
    cluster.restart(1);
    s[1] = cluster.session(1);
    s[1].script("GCOUNTER.GET o c => 0\nMISO.EXISTS o => 0");
    cluster.net().heal();
    all_say(&mut s[1..], "GCOUNTER.GET o c", "7");
    // Nothing was made of it.
    all_say(&mut s, "MISO.EXISTS o", "1");
}

/// 3: two functions wrote an object and name of the same names within one interval, and one of the updates was lost:
/// they were kept under one key until they were sent.
#[test]
fn d3_functions_with_the_same_names_lose_nothing_in_one_interval() {
    let cluster = Cluster::with(2, &["--replication-interval", "100ms"]);
    let session = |node, function| {
        let mut session = cluster.session_of(node, function);
        session.script("MISO.EXISTS o => 0");
        session
    };
    let mut f = [session(0, "f"), session(1, "f")];
    let mut g = [session(0, "g"), session(1, "g")];
    for round in 1..=5 {
        f[0].script(&format!("GCOUNTER.ADD o n => {round}\nORSET.ADD o s f{round} => 1"));
        g[0].script(&format!(
            "GCOUNTER.ADD o n 100 => {}\nORSET.ADD o s g{round} => 1",
            100 * round
        ));
        all_say(&mut f, "GCOUNTER.GET o n", &round.to_string());
        all_say(&mut g, "GCOUNTER.GET o n", &(100 * round).to_string());
    }
    all_say(&mut f, "ORSET.MEMBERS o s", r#"~["f1", "f2", "f3", "f4", "f5"]"#);
    all_say(&mut g, "ORSET.MEMBERS o s", r#"~["g1", "g2", "g3", "g4", "g5"]"#);
}

/// 4: a name of different types on two nodes killed the process that heard of it.
#[test]
fn d4_a_name_of_two_types_does_no_harm() {
    let cluster = Cluster::start(2);
    let mut s = cluster.sessions();
    cluster.isolate(1);
    let each = [
        ("GCOUNTER.ADD o x 5", "ORSET.ADD o x a"),
        ("EWFLAG.ENABLE o y", "ORMAP.SET o y f v"),
        ("MVREG.SET o z v", "PNCOUNTER.ADD o z -3"),
    ];
    for (here, there) in each {
        s[0].script(&format!("{here} => *"));
        s[1].script(&format!("{there} => *"));
    }
    cluster.net().heal();
    cluster.wait_for_mesh();
    // What each wrote is still there, on both, and the nodes go on working together.
    all_say(&mut s, "GCOUNTER.GET o x", "5");
    all_say(&mut s, "ORSET.MEMBERS o x", "~[\"a\"]");
    all_say(&mut s, "EWFLAG.GET o y", "1");
    all_say(&mut s, "ORMAP.GET o y f", "\"v\"");
    all_say(&mut s, "MVREG.GET o z", "[\"v\"]");
    all_say(&mut s, "PNCOUNTER.GET o z", "-3");
    s[1].script("GCOUNTER.ADD o after => 1");
    all_say(&mut s, "GCOUNTER.GET o after", "1");
    for node in 0..2 {
        cluster.node(node).assert_alive();
    }
    // And a delete ends the clash for both.
    s[0].script("MISO.DEL o => *");
    all_say(&mut s, "MISO.EXISTS o", "0");
}

/// Opens a stream as a peer does, and says `message` on it, as if it were a peer's envelope.
fn say(address: SocketAddr, message: &[u8]) {
    let mut peer = Peer::link(address);
    // It may close before it has read all.
    let _ = peer.send(message);
    peer.hear(Duration::from_millis(50));
}

/// Sends bytes and waits a little for what the node makes of them.
fn shout(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).expect("a node listens for peers");
    stream.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout above zero");
    // It may close before it has read all.
    let _ = stream.write_all(bytes);
    let mut buffer = [0; 4096];
    while matches!(stream.read(&mut buffer), Ok(n) if n > 0) {}
}

/// 4, the other half: one malformed message on a stream killed the process at its other end.
#[test]
fn d4_malformed_messages_end_their_stream_only() {
    let cluster = Cluster::start(2);
    let mut s = cluster.sessions();
    s[0].script("GCOUNTER.ADD o c => 1");
    let address = cluster.net().address(1);
    let mut rng = miso_tests::Rng::new(4);
    for round in 0..20 {
        let len = rng.below(3_000) as usize;
        let noise = rng.bytes(len);
        if round % 4 == 0 {
            shout(address, &noise);
        } else {
            say(address, &noise);
        }
    }
    // A message that is one: tag and length of an envelope's message, of a Hello or a batch, and too little after it.
    for body in [0x0a_u8, 0x52, 0x6a, 0x72] {
        say(address, &[0x0a, 0x04, body, 0x7f, 0x01, 0x02]);
        say(address, &[0x0a, 0x02, body, 0x00]);
    }
    // A length that is a lie.
    say(address, &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]);
    cluster.node(1).assert_alive();
    cluster.wait_for_mesh();
    s[0].script("GCOUNTER.ADD o c => 2");
    all_say(&mut s, "GCOUNTER.GET o c", "2");
}

/// 9: deletes were local: the next touch fetched the value from a peer again.
#[test]
fn d9_a_delete_holds_on_every_node() {
    let cluster = Cluster::start(3);
    let mut s = cluster.sessions();
    let fill = "GCOUNTER.ADD o c 100 => *\nORSET.ADD o s a b => *\nORMAP.INCRBY o m f 7 => *\nMVREG.SET o r v => *";
    s[0].script(fill);
    all_say(&mut s, "MVREG.VALUE o r", "\"v\"");
    // One node does not hear of it until later.
    cluster.isolate(2);
    s[1].script("MISO.DEL o => 4");
    all_say(&mut s[..2], "MISO.EXISTS o", "0");
    s[2].script("GCOUNTER.GET o c => 100");
    cluster.net().heal();
    all_say(&mut s, "MISO.EXISTS o", "0");
    for session in &mut s {
        // Touches of all kinds bring nothing back, on any node.
        session.script(
            "GCOUNTER.GET o c => 0\nORSET.MEMBERS o s => ~[]\nORMAP.GET o m f => nil\nMVREG.GET o r => []\nMISO.SYNC => *\nMISO.EXISTS o => 0",
        );
    }
    s[2].script("GCOUNTER.ADD o c => 1\nORSET.ADD o s z => 1");
    all_say(&mut s, "GCOUNTER.GET o c", "1");
    all_say(&mut s, "ORSET.MEMBERS o s", "~[\"z\"]");
}

/// 11: without a later write to the same CRDT a lost update was never repaired.
#[test]
fn d11_a_lost_update_is_repaired_without_another_write() {
    let cluster = Cluster::start(2);
    let mut s = cluster.sessions();
    s[0].script("GCOUNTER.ADD o c => 1");
    all_say(&mut s, "GCOUNTER.GET o c", "1");
    for round in 2..=4 {
        // What is sent now gets as far as the network, and no further: it is closed with all that is in it.
        cluster.net().between(0, 1, Way::Frozen);
        s[0].script(&format!("GCOUNTER.ADD o c => {round}\nORSET.ADD o s m{round} => 1"));
        sleep(Duration::from_millis(50));
        cluster.net().reset(0, 1);
        cluster.net().heal();
        all_say(&mut s, "GCOUNTER.GET o c", &round.to_string());
        all_say(&mut s, "ORSET.CARD o s", &(round - 1).to_string());
    }
}

/// 11, the other half: nothing was forwarded, so that two nodes that could not reach each other stayed apart, whichever nodes
/// could reach both; for ever, if the writer died.
#[test]
fn d11_updates_go_round_a_broken_link_and_outlive_their_writer() {
    let mut cluster = Cluster::start(3);
    let mut s = cluster.sessions();
    cluster.net().between(0, 1, Way::Cut);
    s[0].script("GCOUNTER.ADD o c 5 => 5\nORSET.ADD o s a => 1\nWAIT 1 30000 => 1");
    all_say(&mut s, "GCOUNTER.GET o c", "5");
    all_say(&mut s, "ORSET.MEMBERS o s", "~[\"a\"]");
    // Only node 2 hears of this one, and then its writer dies.
    s[0].script("GCOUNTER.ADD o c 5 => 10\nWAIT 1 30000 => 1");
    cluster.kill(0);
    all_say(&mut s[1..], "GCOUNTER.GET o c", "10");
}

/// 12: a dead node stayed a target, and was noticed after 24 hours.
#[test]
fn d12_the_dead_are_noticed_in_seconds_and_cost_nothing() {
    let mut cluster = Cluster::with(3, &["--node-timeout", "1s"]);
    let mut s = cluster.sessions();
    s[0].script("GCOUNTER.ADD o c => 1");
    all_say(&mut s, "GCOUNTER.GET o c", "1");
    // One ends at once, one only stops.
    cluster.kill(1);
    cluster.pause(2);
    let both = |session: &mut Session| session.run("MISO.NODES").items().len();
    for of in [1, 2] {
        cluster.wait_for_state(0, of, &["dead"]);
        assert_eq!(seen(&cluster, 0, of, "linked"), 0);
    }
    assert_eq!(both(&mut s[0]), 3, "it is dead, not forgotten");
    let functions = s[0].run("MISO.FUNCTIONS");
    let own = functions.field("default").and_then(|f| f.field("nodes")).expect("it runs here");
    assert_eq!(own.sorted(), ["node-0"], "the dead are no targets");
    // There is no peer to send to, and nothing is sent.
    let before = cluster.net().bytes(0, 1) + cluster.net().bytes(0, 2);
    for _ in 0..100 {
        s[0].script(&format!("GCOUNTER.ADD o c => *\nMVREG.SET o r {} => OK", "v".repeat(1000)));
    }
    assert_eq!(s[0].run("WAIT 1 100").integer(), 0);
    let sent = cluster.net().bytes(0, 1) + cluster.net().bytes(0, 2) - before;
    assert!(sent < 10_000, "{sent} bytes were sent to the dead");
    cluster.resume(2);
    cluster.restart(1);
    s[1] = cluster.session(1);
    all_say(&mut s, "GCOUNTER.GET o c", "101");
}

/// 12, the rest: functions that had ended stayed targets, and counters kept a slot for every pod that ever lived.
#[test]
fn d12_functions_that_end_are_no_targets_and_leave_no_slots() {
    let cluster = Cluster::with(2, &["--function-linger", "1", "--function-copies", "1"]);
    let mut own = cluster.session(0);
    let mut last = 0;
    for pod in 0..30 {
        let mut pods = [0, 1].map(|node| cluster.session(node));
        for (node, pod_session) in pods.iter_mut().enumerate() {
            pod_session.script(&format!(
                "MISO.REGISTER default REPLICA pod-{node}-{pod} => OK\nGCOUNTER.ADD o c => *"
            ));
            last += 1;
        }
    }
    let mut s = [cluster.session(0), cluster.session(1)];
    all_say(&mut s, "GCOUNTER.GET o c", &last.to_string());
    // Writers are nodes: two entries, however many pods there were.
    for session in &mut s {
        let info = session.run("MISO.INFO o c");
        let entries = info.field("replicas").or_else(|| info.field("entries"));
        let entries = entries.unwrap_or_else(|| panic!("no entries in {info}"));
        let count = match &entries {
            Frame::Integer(n) => *n as usize,
            list => list.items().len(),
        };
        assert_eq!(count, 2, "{info}");
    }
    // Once node 1's last connection is gone, and the linger over, it is sent nothing more of the function.
    let [_, there] = s;
    drop(there);
    wait_until("the function to end on node 1", || {
        let functions = own.run("MISO.FUNCTIONS");
        functions
            .field("default")
            .and_then(|f| f.field("nodes"))
            .is_some_and(|f| f.sorted() == ["node-0"])
    });
    let before = cluster.net().bytes(0, 1);
    for i in 0..100 {
        own.script(&format!("MVREG.SET o r{i} {} => OK", "v".repeat(1000)));
    }
    assert_eq!(own.run("WAIT 1 200").integer(), 0);
    let sent = cluster.net().bytes(0, 1) - before;
    assert!(sent < 10_000, "{sent} bytes were sent for a function that does not run there");
    // It comes back, and catches up.
    let mut back = [cluster.session(1)];
    all_say(&mut back, "ORMAP.LEN o none", "0");
    all_say(&mut back, "MVREG.VALUE o r99", &format!("\"{}\"", "v".repeat(1000)));
}

/// 13: each write shipped the whole state: the cost of a write grew with the set, and with the replicas of a counter.
#[test]
fn d13_a_write_ships_what_it_changed() {
    let cluster = Cluster::start(2);
    let mut s = cluster.sessions();
    let cost = |s: &mut [Session], tag: &str| {
        let before = cluster.net().bytes(0, 1);
        for i in 0..50 {
            s[0].script(&format!("ORSET.ADD o s {tag}{i} => 1\nORMAP.SET o m {tag}{i} v => 1\nGCOUNTER.ADD o c => *\nWAIT 1 30000 => 1"));
        }
        cluster.net().bytes(0, 1) - before
    };
    let small = cost(&mut s, "small");
    for i in 0..20 {
        let all = members("member-of-the-set-", i * 1000, (i + 1) * 1000);
        s[0].script(&format!("ORSET.ADD o s {all} => 1000"));
        let fields: Vec<String> =
            (i * 500..(i + 1) * 500).map(|i| format!("field-{i} value")).collect();
        s[0].script(&format!("ORMAP.SET o m {} => 500", fields.join(" ")));
    }
    s[0].script("WAIT 1 30000 => 1");
    all_say(&mut s, "ORSET.CARD o s", "20050");
    let great = cost(&mut s, "great");
    // 150 writes in 50 batches. The state is some 600 kB.
    assert!(great < 2 * small + 10_000, "{great} bytes in a great set, {small} in a small one");
    assert!(great < 100_000, "{great} bytes for 150 small writes");
}
