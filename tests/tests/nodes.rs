//! Several real nodes on loopback: they find each other, replicate, and agree after a crash.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use miso_tests::{
    Cluster, Frame, Namespace, Net, Node, Resp, Rng, Scratch, Session, Tool, Way, Wire, all_say,
    find_program, wait_until,
};

fn peer_port(node: &Node) -> String {
    let line = node.session().run("CONFIG GET peer-port");
    match line {
        Frame::Array(pair) => match &pair[1] {
            Frame::Bulk(port) => String::from_utf8_lossy(port).into_owned(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn start(name: &str, join: &str) -> Node {
    let seed = format!("127.0.0.1:{join}");
    let mut flags = vec!["--node-name", name, "--node-timeout", "1s"];
    if !join.is_empty() {
        flags.extend(["--join", &seed]);
    }
    Node::with(&flags)
}

fn reads(node: &Node, line: &str, expected: &Frame) -> bool {
    node.session().run(line) == *expected
}

/// Waits until the node knows all that a token covers.
#[track_caller]
fn await_token(node: &Node, token: &str) {
    node.session().script(&format!("MISO.AWAIT {token} 20000 => 1"));
}

/// Defects 1 and 9 of the original: what a node acknowledged to a peer outlives it, and what was
/// deleted does not come back.
#[test]
fn three_nodes_agree_and_one_that_dies_takes_nothing_along() {
    let first = start("a", "");
    let port = peer_port(&first);
    let (second, mut third) = (start("b", &port), start("c", &port));
    let tokens = [&first, &second, &third].map(|node| {
        let mut session = node.session();
        session.script("GCOUNTER.ADD cart total 1 => *\nORSET.ADD cart items apple => *");
        session.run("MISO.TOKEN").text()
    });
    // A delete takes away only what its node has seen. That all agree on one value says nothing of the
    // other: what a node adds later may go in a later batch.
    for node in [&first, &second, &third] {
        tokens.iter().for_each(|token| await_token(node, token));
        node.session().script("GCOUNTER.GET cart total => 3\nORSET.CARD cart items => 1");
    }
    let mut session = third.session();
    session.run("PNCOUNTER.ADD cart left 7");
    assert_eq!(session.run("WAIT 2 10000"), Frame::Integer(2));
    third.signal(libc::SIGKILL);
    third.wait_for_end();
    for node in [&first, &second] {
        assert!(reads(node, "PNCOUNTER.GET cart left", &Frame::Integer(7)));
    }
    let mut session = first.session();
    session.script("MISO.DEL cart total => 1\nORSET.REM cart items apple => 1");
    let token = session.run("MISO.TOKEN").text();
    let third = start("c", &port);
    for node in [&first, &second, &third] {
        await_token(node, &token);
        node.session().script(
            "
            GCOUNTER.GET cart total => 0
            ORSET.CARD cart items => 0
            PNCOUNTER.GET cart left => 7
            ",
        );
    }
    third.session().run("GCOUNTER.ADD cart total 2");
    for node in [&first, &second, &third] {
        wait_until("they agree", || reads(node, "GCOUNTER.GET cart total", &Frame::Integer(2)));
    }
}

/// A figure of INFO.
fn figure(node: &Node, field: &str) -> u64 {
    node.info(field).parse().unwrap_or_else(|_| panic!("{field} is no number"))
}

/// The functions that a node believes another to run.
fn functions_of(cluster: &Cluster, from: usize, of: usize) -> Vec<String> {
    let view = cluster.view(of, from).and_then(|view| view.field("functions"));
    view.map_or_else(Vec::new, |functions| functions.sorted())
}

#[test]
fn all_types_converge() {
    for count in [2, 3] {
        let cluster = Cluster::start(count);
        let mut all = cluster.sessions();
        for (at, session) in all.iter_mut().enumerate() {
            session.script(&format!(
                "
                GCOUNTER.ADD o grows 1 => *
                PNCOUNTER.SUB o count 2 => *
                GSET.ADD o ever {at} both => *
                ORSET.ADD o now {at} both => *
                MVREG.SET o{at} note v{at} => OK
                EWFLAG.ENABLE o{at} flag => *
                ORMAP.SET o map f{at} v{at} => *
                ORMAP.INCRBY o map n 1 => *
                "
            ));
        }
        let members: Vec<String> = (0..count).map(|at| format!("\"{at}\"")).collect();
        let members = format!("~[{}, \"both\"]", members.join(", "));
        all_say(&mut all, "GCOUNTER.GET o grows", &count.to_string());
        all_say(&mut all, "PNCOUNTER.GET o count", &format!("-{}", 2 * count));
        all_say(&mut all, "GSET.MEMBERS o ever", &members);
        all_say(&mut all, "ORSET.MEMBERS o now", &members);
        all_say(&mut all, "ORMAP.LEN o map", &(count + 1).to_string());
        all_say(&mut all, "ORMAP.GET o map n", &format!("\"{count}\""));
        for at in 0..count {
            all_say(&mut all, &format!("MVREG.VALUE o{at} note"), &format!("\"v{at}\""));
            all_say(&mut all, &format!("EWFLAG.GET o{at} flag"), "1");
            all_say(&mut all, &format!("ORMAP.GET o map f{at}"), &format!("\"v{at}\""));
        }
        all[0].script("ORSET.REM o now both => 1\nEWFLAG.DISABLE o1 flag => 1");
        all_say(&mut all, "ORSET.ISMEMBER o now both", "0");
        all_say(&mut all, "EWFLAG.GET o1 flag", "0");
    }
}

/// What a newcomer is sent of what was there before keeps to `sync-rate`.
#[test]
fn syncs_keep_to_their_rate() {
    const RATE: u64 = 2 << 20;
    let first = start("a", "");
    first.session().script(&format!("CONFIG SET sync-rate {RATE} => OK"));
    let mut rng = Rng::new(1);
    for key in 0..4_000 {
        let value: Vec<u8> = (0..128).flat_map(|_| rng.bits().to_le_bytes()).collect();
        let set = [b"MVREG.SET".to_vec(), format!("o{key}").into_bytes(), b"r".to_vec(), value];
        first.session().call(&set);
    }
    let begun = Instant::now();
    let second = start("b", &peer_port(&first));
    let mut session = second.session();
    wait_until("all that was there", || session.run("DBSIZE") == Frame::Integer(4_000));
    // Less some parts, which may go at once. Without a rate it takes a tenth of that.
    let least = Duration::from_secs_f64((4_000 * 1_024 - (1 << 20)) as f64 / RATE as f64);
    assert!(begun.elapsed() > least, "{:?} instead of {least:?}", begun.elapsed());
}

#[test]
fn wait_counts_nodes_that_have_acknowledged() {
    // Long enough that only WAIT itself can be what sends the second write.
    let cluster = Cluster::with(3, &["--replication-interval", "1h"]);
    let mut all = cluster.sessions();
    all[0].script(
        "
        GCOUNTER.ADD o n 1 => 1
        GCOUNTER.ADD o n 1 => 2
        WAIT 2 20000 => 2
        WAIT 0 0 => 2
        GCOUNTER.ADD o n 1 => 3
        WAIT 3 500 => 2
        WAIT 1 -1 => -ERR timeout is negative
        WAIT 1 x => -ERR timeout is not an integer or out of range
        WAIT x 1 => -ERR value is not an integer or out of range
        WAIT 1 => -ERR wrong number of arguments for 'wait' command
        ",
    );
    for session in &mut all[1..] {
        session.script("GCOUNTER.GET o n => 3");
    }
    // No peer can have acknowledged what is only sent by the question itself.
    all[0].script(
        "
        MULTI => OK
        GCOUNTER.ADD o n 1 => QUEUED
        WAIT 2 0 => QUEUED
        GCOUNTER.GET o n => QUEUED
        EXEC => [4, 0, 4]
        WAIT 2 20000 => 2
        ",
    );
}

/// As in Redis: a node that is gone does not count, although it has acknowledged, and in MULTI none is waited for.
#[test]
fn wait_does_not_count_a_node_that_is_gone() {
    let mut cluster = Cluster::with(3, &["--node-timeout", "1s"]);
    let mut s = cluster.session(0);
    let others = [cluster.session(1), cluster.session(2)].map(|mut other| {
        other.run("MISO.EXISTS none");
        other
    });
    wait_until("they run it", || {
        s.run("GCOUNTER.ADD o n 1");
        s.run("WAIT 2 1000") == Frame::Integer(2)
    });
    s.script("MULTI => OK\nWAIT 3 0 => QUEUED\nEXEC => [2]");
    cluster.pause(1);
    cluster.wait_for_state(0, 1, &["dead"]);
    s.script("WAIT 0 0 => 1\nWAIT 2 50 => 1\nMULTI => OK\nWAIT 2 0 => QUEUED\nEXEC => [1]");
    cluster.kill(2);
    cluster.wait_for_state(0, 2, &["dead"]);
    s.script("WAIT 1 50 => 0\nMISO.FORGET node-2 => OK\nWAIT 1 50 => 0");
    // One that was only silent counts again.
    cluster.resume(1);
    s.script("WAIT 1 20000 => 1");
    drop(others);
}

/// Has a connection wait in a command, and says its id.
fn block(admin: &mut Session, wire: &mut Wire, line: &str) -> i64 {
    let id = wire.ask("CLIENT ID").integer();
    wire.command(line);
    wait_until("it is blocked", || {
        admin.run(&format!("CLIENT LIST ID {id}")).text().contains("flags=b")
    });
    id
}

#[test]
fn a_waiting_client_can_be_ended_and_holds_only_its_own_commands() {
    let cluster = Cluster::start(2);
    let mut all = cluster.sessions();
    let (node, admin) = (cluster.node(0), &mut all[0]);
    let mut wire = node.wire();
    wire.ask("GCOUNTER.ADD o n 1");
    wire.ask("WAIT 1 20000");
    let id = block(admin, &mut wire, "WAIT 5 0");
    wire.command("PING behind");
    admin.script("GCOUNTER.GET o n => 1");
    assert_eq!(admin.run(&format!("CLIENT UNBLOCK {id}")).integer(), 1);
    assert_eq!(wire.read().expect("a reply"), Frame::Integer(1));
    assert_eq!(wire.read().expect("a reply").text(), "behind");
    block(admin, &mut wire, "WAIT 5 0");
    assert_eq!(admin.run(&format!("CLIENT UNBLOCK {id} ERROR")).integer(), 1);
    assert!(wire.read().expect("a reply").text().starts_with("UNBLOCKED"));
    block(admin, &mut wire, "WAIT 5 0");
    assert_eq!(admin.run(&format!("CLIENT KILL ID {id}")).integer(), 1);
    assert!(wire.rest().is_empty());
    // One that goes is noticed while it waits.
    let mut wire = node.wire();
    let id = block(admin, &mut wire, "WAIT 5 0");
    wire.finish();
    wait_until("it is gone", || admin.run(&format!("CLIENT LIST ID {id}")).text().is_empty());
    wait_until("nobody is blocked", || figure(node, "blocked_clients") == 0);
}

#[test]
fn a_token_carries_what_was_seen_to_another_node() {
    let cluster = Cluster::with(2, &["--replication-interval", "1h"]);
    let mut all = cluster.sessions();
    // The first write after a quiet time goes at once; the second waits.
    all[0].script("GCOUNTER.ADD o n 1 => 1\nWAIT 1 20000 => 1\nGCOUNTER.ADD o n 1 => 2");
    let token = all[0].run("MISO.TOKEN").text();
    all[1].script(&format!("MISO.AWAIT {token} 50 => 0"));
    let mut wire = cluster.node(1).wire();
    wire.command(&format!("MISO.AWAIT {token} 0"));
    wire.command("GCOUNTER.GET o n");
    assert_eq!(wire.read_within(Duration::from_millis(50)), None);
    all[0].script("WAIT 1 20000 => 1");
    assert_eq!(wire.read().expect("a reply"), Frame::Integer(1));
    assert_eq!(wire.read().expect("a reply"), Frame::Integer(2));
    all[1].script(&format!(
        "
        MISO.AWAIT {token} 0 => 1
        MISO.AWAIT {token}x 1 => -ERR invalid token, expected one of MISO.TOKEN
        MISO.AWAIT \"\" 1 => -ERR invalid token, expected one of MISO.TOKEN
        MISO.AWAIT {token} -1 => -ERR timeout is negative
        "
    ));
}

#[test]
fn a_token_of_a_function_that_is_new_here_brings_it() {
    let cluster = Cluster::start(2);
    let mut there = cluster.session_of(0, "moves");
    there.script("ORSET.ADD o s a b c => 3\nMVREG.SET o r v => OK");
    let token = there.run("MISO.TOKEN").text();
    let mut here = cluster.session(1);
    here.script(&format!("MISO.AWAIT {token} 20000 => 1"));
    assert!(functions_of(&cluster, 1, 1).contains(&"moves".to_owned()));
    let mut here = cluster.session_of(1, "moves");
    here.script("ORSET.CARD o s => 3\nMVREG.VALUE o r => \"v\"");
}

#[test]
fn nodes_join_and_are_forgotten() {
    let (a, b) = (start("a", ""), start("b", ""));
    let mut session = a.session();
    session.script(&format!(
        "
        MISO.JOIN nonsense => -ERR invalid address, expected host:port of a node's peer port
        MISO.JOIN 127.0.0.1:{} => OK
        ",
        peer_port(&b)
    ));
    wait_until("they are linked", || figure(&a, "miso_links") == 1);
    wait_until("they are linked", || figure(&b, "miso_links") == 1);
    session.script("MISO.FORGET nobody => -ERR no such node 'nobody'\nMISO.FORGET b => -ERR...");
    session.script("GCOUNTER.ADD o n 1 => 1");
    let mut other = b.session();
    other.script("GCOUNTER.ADD o n 1 => *");
    wait_until("they agree", || session.run("GCOUNTER.GET o n") == Frame::Integer(2));
    drop(b);
    let state = |session: &mut Session| {
        session.run("MISO.NODES").items().get(1).and_then(|node| node.field("state"))
    };
    wait_until("b is dead", || state(&mut session).is_some_and(|state| state.text() == "dead"));
    session.script("MISO.FORGET b => OK\nMISO.FORGET b => OK");
    assert_eq!(session.run("MISO.NODES").items().len(), 1);
    session.script("GCOUNTER.GET o n => 2");
}

#[test]
fn the_silent_are_suspect_then_dead_and_come_back() {
    let cluster = Cluster::with(3, &["--node-timeout", "1s"]);
    cluster.pause(2);
    cluster.wait_for_state(0, 2, &["suspect", "dead"]);
    cluster.wait_for_state(0, 2, &["dead"]);
    cluster.wait_for_state(1, 2, &["dead"]);
    cluster.wait_for_state(0, 1, &["alive"]);
    cluster.resume(2);
    cluster.wait_for_state(0, 2, &["alive"]);
    cluster.wait_for_mesh();
}

/// On the wire, not only in what is shown.
#[test]
fn a_node_gets_nothing_of_functions_that_it_does_not_run() {
    let cluster = Cluster::start(3);
    let (mut a, mut b) = (cluster.session_of(0, "f"), cluster.session_of(1, "f"));
    a.run("MISO.EXISTS none");
    b.run("MISO.EXISTS none");
    wait_until("they know of each other", || functions_of(&cluster, 0, 1) == ["f"]);
    let bytes = || [0, 1].map(|from| cluster.net().bytes(from, 2)).iter().sum::<u64>();
    let before = bytes();
    let value = "v".repeat(1000);
    for n in 0..300 {
        a.run(&format!("MVREG.SET o{n} r {n}{value}{}", n * 7_919_993_u64));
    }
    a.script("WAIT 1 20000 => 1");
    b.script("DBSIZE => 300");
    // Heartbeats and records, nothing else.
    assert!(bytes() - before < 20_000, "{} bytes", bytes() - before);
    assert_eq!(figure(cluster.node(2), "miso_changes_received"), 0);
    let mut other = cluster.session_of(2, "other");
    other.script("DBSIZE => 0");
    // Registering later brings it.
    let mut c = cluster.session_of(2, "f");
    c.run("MISO.REGISTER f");
    wait_until("it is all there", || c.run("DBSIZE") == Frame::Integer(300));
}

#[test]
fn unregistering_stops_the_stream_and_registering_again_catches_up() {
    let cluster = Cluster::with(2, &["--function-linger", "0", "--function-copies", "1"]);
    let (mut a, mut b) = (cluster.session_of(0, "f"), cluster.session_of(1, "f"));
    a.script("GCOUNTER.ADD o n 1 => 1");
    b.script("GCOUNTER.ADD o n 1 => *");
    wait_until("b has all", || b.run("GCOUNTER.GET o n") == Frame::Integer(2));
    b.script("MISO.UNREGISTER f => 1");
    wait_until("a hears of it", || functions_of(&cluster, 0, 1).is_empty());
    let before = cluster.net().bytes(0, 1);
    let value = "v".repeat(1000);
    for n in 0..100 {
        a.run(&format!("MVREG.SET o{n} r {value}{n}"));
    }
    a.script("GCOUNTER.ADD o n 5 => 7\nWAIT 1 50 => 0");
    let sent = cluster.net().bytes(0, 1) - before;
    assert!(sent < 10_000, "{sent} bytes of a function that is not run there");
    b.script("MISO.REGISTER f => OK");
    wait_until("b catches up", || b.run("GCOUNTER.GET o n") == Frame::Integer(7));
    wait_until("b has all", || b.run("DBSIZE") == Frame::Integer(101));
    // A function is over with its last connection, or a while after.
    drop(b);
    wait_until("b does not run it", || functions_of(&cluster, 0, 1).is_empty());
}

#[test]
fn functions_name_the_nodes_that_run_them() {
    let cluster = Cluster::start(2);
    let (mut a, mut b) = (cluster.session_of(0, "f"), cluster.session_of(1, "f"));
    a.script("MISO.REGISTER f REPLICA pod-1 => OK\nGCOUNTER.ADD o n 1 => *");
    b.script("MISO.REGISTER f REPLICA pod-2 => OK\nGCOUNTER.ADD o n 1 => *");
    wait_until("a is in sync with b, and says so", || {
        let function = a.run("MISO.FUNCTIONS").field("f").expect("it runs here");
        let all = |field: &str| function.field(field).expect("it is shown").sorted();
        all("nodes") == ["node-0", "node-1"]
            && all("in-sync") == ["node-1"]
            && all("replicas") == ["pod-1", "pod-2"]
            && function.field("restoring") == Some(Frame::Integer(0))
    });
}

#[test]
fn remote_changes_are_messages() {
    let cluster = Cluster::start(2);
    let mut all = cluster.sessions();
    let mut listener = cluster.node(1).wire();
    listener.ask("PSUBSCRIBE __miso__:default:*");
    all[0].script("ORSET.ADD cart items apple => 1");
    let message = listener.read().expect("a message").items();
    let texts: Vec<String> = message.iter().map(Frame::text).collect();
    assert_eq!(texts[2..], ["__miso__:default:cart", "items orset"]);
    all[1].script("ORSET.ISMEMBER cart items apple => 1");
}

/// Algorithm 2 of the paper: the first read on a node that has just begun to run a function is right, although the
/// function is large and its sync under way.
#[test]
fn what_is_absent_is_fetched_on_touch() {
    // Without copies elsewhere nothing of it comes before the first command.
    let cluster = Cluster::with(2, &["--restore-timeout", "20s", "--function-copies", "1"]);
    let mut a = cluster.session_of(0, "f");
    let value = "v".repeat(100);
    let mut wire = cluster.node(0).wire();
    wire.ask("AUTH f -");
    for chunk in 0..40 {
        for n in 0..1000 {
            wire.command(&format!("MVREG.SET o{} r {value}{n}", chunk * 1000 + n));
        }
        for _ in 0..1000 {
            wire.read().expect("a reply");
        }
    }
    a.script("GCOUNTER.ADD o39999 n 5 => 5\nORSET.ADD last s x y => 2\nORSET.ADD last t z => 1");
    wait_until("it is known", || functions_of(&cluster, 1, 0) == ["f"]);
    let mut wire = cluster.node(1).wire();
    wire.ask("AUTH f -");
    // One pipeline: each finds what it wants, in order.
    for line in [
        "GCOUNTER.ADD o39999 n 1",
        "ORSET.CARD last s",
        "GCOUNTER.GET never n",
        "MULTI",
        "HLEN last",
        "MVREG.VALUE o12345 r",
        "EXEC",
    ] {
        wire.command(line);
    }
    let replies: Vec<String> = (0..7).map(|_| wire.read().expect("a reply").to_string()).collect();
    let exec = format!("[2, \"{value}345\"]");
    assert_eq!(replies, ["6", "2", "0", "OK", "QUEUED", "QUEUED", &exec]);
    assert!(figure(cluster.node(1), "miso_fetches") > 0);
    let mut b = cluster.session_of(1, "f");
    wait_until("all is there", || b.run("DBSIZE") == Frame::Integer(40_001));
}

#[test]
fn without_an_answer_a_touch_goes_on_from_empty() {
    let flags = ["--restore-timeout", "100ms", "--node-timeout", "20s", "--function-copies", "1"];
    let cluster = Cluster::with(2, &flags);
    let mut a = cluster.session_of(0, "f");
    a.script("GCOUNTER.ADD o n 5 => 5");
    wait_until("it is known", || functions_of(&cluster, 1, 0) == ["f"]);
    cluster.net().around(0, Way::Frozen);
    let mut b = cluster.session_of(1, "f");
    let began = Instant::now();
    b.script("GCOUNTER.ADD o n 1 => 1");
    let took = began.elapsed();
    assert!((100..5000).contains(&took.as_millis()), "{took:?}");
    cluster.net().heal();
    wait_until("it is merged", || b.run("GCOUNTER.GET o n") == Frame::Integer(6));
}

/// The command runs, as it would after `restore-timeout`.
#[test]
fn a_touch_that_waits_is_answered_at_the_end() {
    let flags = ["--restore-timeout", "10m", "--node-timeout", "10m", "--function-copies", "1"];
    let cluster = Cluster::with(2, &flags);
    let mut a = cluster.session_of(0, "f");
    a.script("GCOUNTER.ADD o n 5 => 5");
    wait_until("it is known", || functions_of(&cluster, 1, 0) == ["f"]);
    cluster.net().around(0, Way::Frozen);
    let mut wire = cluster.node(1).wire();
    wire.ask("AUTH f -");
    wire.command("GCOUNTER.ADD o n 1");
    assert_eq!(wire.read_within(Duration::from_millis(50)), None);
    cluster.node(1).signal(libc::SIGTERM);
    assert_eq!(wire.read_within(Duration::from_secs(5)), Some(Frame::Integer(1)));
}

#[test]
fn one_batch_an_interval_however_much_is_written() {
    let cluster = Cluster::with(2, &["--replication-interval", "200ms now=0"]);
    let mut all = cluster.sessions();
    let before = figure(cluster.node(0), "miso_batches_sent");
    let began = Instant::now();
    let mut writes = 0;
    while began.elapsed() < Duration::from_secs(1) {
        all[0].run("GCOUNTER.ADD o n 1");
        writes += 1;
    }
    all_say(&mut all, "GCOUNTER.GET o n", &writes.to_string());
    let batches = figure(cluster.node(0), "miso_batches_sent") - before;
    let intervals = began.elapsed().as_millis() as u64 / 200;
    assert!((4..=intervals + 2).contains(&batches), "{batches} batches, {intervals} intervals");
    // One function has another.
    let (mut a, mut b) = (cluster.session_of(0, "now"), cluster.session_of(1, "now"));
    a.run("MISO.EXISTS none");
    b.run("MISO.EXISTS none");
    wait_until("they know", || functions_of(&cluster, 0, 1).contains(&"now".to_owned()));
    a.script("GCOUNTER.ADD o n 1 => 1\nWAIT 1 20000 => 1");
    let before = figure(cluster.node(0), "miso_batches_sent");
    for n in 2..=10 {
        a.script(&format!("GCOUNTER.ADD o n 1 => {n}"));
        wait_until("it arrives", || b.run("GCOUNTER.GET o n") == Frame::Integer(n));
    }
    assert_eq!(figure(cluster.node(0), "miso_batches_sent") - before, 9);
}

#[test]
fn the_interval_changes_while_the_server_runs() {
    let cluster = Cluster::with(2, &["--replication-interval", "1h"]);
    let mut all = cluster.sessions();
    all[0].script("GCOUNTER.ADD o n 1 => 1\nWAIT 1 20000 => 1\nGCOUNTER.ADD o n 1 => 2");
    all[1].script("GCOUNTER.GET o n => 1");
    // What waits goes too.
    all[0].script(
        r#"
        CONFIG SET replication-interval 1 => -ERR...
        CONFIG SET replication-interval "5ms other=1s" => OK
        CONFIG GET replication-interval => ["replication-interval", "5ms other=1s"]
        "#,
    );
    all_say(&mut all, "GCOUNTER.GET o n", "2");
    all[0].script("CONFIG SET replication-interval 0 => OK\nGCOUNTER.ADD o n 1 => 3");
    all_say(&mut all, "GCOUNTER.GET o n", "3");
}

#[test]
fn a_name_that_is_taken_ends_the_later_node() {
    let first = start("same", "");
    let mut command = Command::new(Node::binary());
    command.args(["--port", "0", "--data-dir", "none", "--mdns", "no", "--node-name", "same"]);
    command.args(["--join", &format!("127.0.0.1:{}", peer_port(&first))]);
    let output = Tool::spawn(&mut command).wait();
    assert_eq!(output.code, Some(1), "{output:?}");
    let line = output.stderr.trim();
    assert!(line.starts_with("miso-server: ") && line.contains("'same'"), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    first.assert_alive();
}

#[test]
fn a_peer_port_that_is_taken_is_said() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let mut command = Command::new(Node::binary());
    command.args(["--port", "0", "--peer-port", &port, "--data-dir", "none", "--mdns", "no"]);
    let output = Tool::spawn(&mut command).wait();
    assert_eq!(output.code, Some(1));
    let line = output.stderr.trim();
    assert!(line.starts_with("miso-server: peer-port: ") && line.contains(&port), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
}

#[test]
fn a_node_without_peers_answers_for_itself() {
    let node = Node::with(&["--peer-port", "none", "--node-name", "alone"]);
    let mut session = node.session();
    session.script(
        r#"
        CONFIG GET peer-port => ["peer-port", "none"]
        GCOUNTER.ADD o n 1 => 1
        WAIT 1 50 => 0
        WAIT 0 0 => 0
        MISO.SYNC => 0
        MISO.JOIN 127.0.0.1:1 => -ERR this node is alone (peer-port none)
        MISO.FORGET x => -ERR this node is alone (peer-port none)
        "#,
    );
    assert_eq!(session.run("MISO.NODES").items().len(), 1);
    assert_eq!(
        session.run("MISO.NODE").field("name").map(|name| name.text()),
        Some("alone".into())
    );
    let token = session.run("MISO.TOKEN").text();
    session.script(&format!("MISO.AWAIT {token} 0 => 1"));
}

#[test]
fn bytes_that_are_no_peers_do_no_harm() {
    let first = start("a", "");
    let second = start("b", &peer_port(&first));
    wait_until("they are linked", || figure(&first, "miso_links") == 1);
    let address = format!("127.0.0.1:{}", peer_port(&first));
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice();
    let mut noise = vec![0; 100_000];
    let mut state = 1_u32;
    for byte in &mut noise {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 24) as u8;
    }
    for bytes in [
        b"PING\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        preface.to_vec(),
        [preface, &noise].concat(),
        noise,
        Vec::new(),
    ] {
        let mut stream = TcpStream::connect(&address).expect("it listens");
        // It may close before all is sent.
        let _ = stream.write_all(&bytes);
    }
    let (mut a, mut b) = (first.session(), second.session());
    a.script("GCOUNTER.ADD o n 1 => 1");
    b.script("GCOUNTER.ADD o n 1 => *");
    all_say(&mut [a, b], "GCOUNTER.GET o n", "2");
}

#[test]
fn a_node_that_is_told_to_end_leaves_what_it_has() {
    for how in ["SIGTERM", "SHUTDOWN"] {
        let mut cluster = Cluster::with(2, &["--replication-interval", "1h"]);
        let mut all = cluster.sessions();
        all[0].script("GCOUNTER.ADD o n 1 => 1\nWAIT 1 20000 => 1\nGCOUNTER.ADD o n 1 => 2");
        if how == "SHUTDOWN" {
            cluster.node(0).wire().command("SHUTDOWN");
            // A signal before it has left would end it at once.
            cluster.wait_for_state(1, 0, &["left"]);
        }
        cluster.terminate(0);
        wait_until("it has arrived", || all[1].run("GCOUNTER.GET o n") == Frame::Integer(2));
        cluster.wait_for_state(1, 0, &["left"]);
    }
}

#[test]
fn nodes_find_each_other_by_mdns() {
    let port = Node::free_port().to_string();
    let flags = ["--mdns", "yes", "--mdns-port", &port];
    let (first, second) = (Node::with(&flags), Node::with(&flags));
    let stranger = Node::with(&[&flags[..], &["--cluster-name", "other"]].concat());
    wait_until("they are linked", || figure(&first, "miso_links") == 1);
    wait_until("they are linked", || figure(&second, "miso_links") == 1);
    assert_eq!(figure(&stranger, "miso_links"), 0);
}

/// A node behind a proxy is found where it says that it is, not where it listens.
#[test]
fn mdns_says_where_a_node_wants_to_be_reached() {
    let net = Net::new();
    let (first, second) = (net.add("first"), net.add("second"));
    let port = Node::free_port().to_string();
    let start = |node: usize, name: &str| {
        let address = net.address(node).to_string();
        let flags = ["--node-name", name, "--peer-announce", &address, "--mdns", "yes"];
        Node::with(&[&flags[..], &["--mdns-port", &port]].concat())
    };
    // No node gets through to the second, so it is the one that has to find the first.
    let nodes = [start(first, "first"), start(second, "second")];
    let listens = peer_port(&nodes[0]).parse().expect("a port");
    net.point(first, Some(SocketAddr::from((Ipv4Addr::LOCALHOST, listens))));
    for node in &nodes {
        wait_until("they are linked", || figure(node, "miso_links") == 1);
    }
    assert!(net.bytes(second, first) > 0, "they speak past the proxy");
}

/// Hosts on one network that consent to mDNS find each other without addresses.
#[test]
fn hosts_on_one_network_find_each_other_by_mdns() {
    let hosts = Namespace::pair(["10.77.0.1/24", "10.77.0.2/24"]);
    let server = Node::binary();
    let start = |host: usize| {
        let address = format!("10.77.0.{}", host + 1);
        let name = format!("host-{host}");
        let mut command = hosts[host].command(&server);
        command.args(["--node-name", &name, "--peer-bind", &address, "--data-dir", "none"]);
        command.args(["--peer-insecure", "yes", "--mdns", "yes"]);
        Tool::spawn(&mut command)
    };
    let servers = [0, 1].map(start);
    let cli = find_program("redis-cli");
    let run = |host: usize, line: &str| {
        let mut command = hosts[host].command(&cli);
        Tool::spawn(command.args(line.split(' '))).wait().stdout.trim().to_owned()
    };
    for (host, server) in servers.iter().enumerate() {
        wait_until("they are linked", || {
            let linked = run(host, "INFO").contains("miso_links:1\r\n");
            assert!(linked || !server.stdout().contains("no mDNS"), "{}", server.stdout());
            linked
        });
    }
    for host in [0, 1] {
        assert_ne!(run(host, "GCOUNTER.ADD o n 1"), "");
    }
    for host in [0, 1] {
        wait_until("they agree", || run(host, "GCOUNTER.GET o n") == "2");
    }
}

#[test]
fn one_command_runs_a_cluster() {
    // Free ports in a row, and so are those 1000 above; below those that the system gives out.
    let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let row = |port: &u16| (0..3).all(|at| free(port + at) && free(port + 1000 + at));
    let from = 10_000 + (std::process::id() % 10_000) as u16;
    let port = (from..30_000).step_by(7).find(row).expect("there are free ports");
    let directory = Scratch::new();
    let start = || {
        let mut command = Command::new(Node::binary());
        command.args(["cluster", "3", "--port", &port.to_string(), "--loglevel", "warn"]);
        command.args(["--cluster-secret", "not-for-ps"]);
        let tool = Tool::spawn(command.current_dir(&directory));
        wait_until("the table", || tool.stdout().contains("Ctrl-C ends them"));
        tool
    };
    let end = |tool: Tool| {
        let pid = i32::try_from(tool.pid()).expect("process ids are small");
        // SAFETY: the child has not been waited for, so the id is still its own.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
        let output = tool.wait();
        assert_eq!(output.code, Some(0), "{}", output.stderr);
        wait_until("all have ended", || (0..3).all(|at| free(port + at)));
    };
    let session = |at: u16| {
        let url = format!("redis://127.0.0.1:{}", port + at);
        Session::open(&url, Resp::V2).expect("it is up")
    };
    let tool = start();
    let mut all = [session(0), session(1), session(2)];
    for session in &mut all {
        session.run("GCOUNTER.ADD o n 1");
    }
    all_say(&mut all, "GCOUNTER.GET o n", "3");
    // A second one cannot have the ports.
    let mut again = Command::new(Node::binary());
    let again = Tool::spawn(again.args(["cluster", "2", "--port", &(port + 1).to_string()])).wait();
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains(&(port + 1).to_string()), "{}", again.stderr);
    // One that dies is told of; the others go on.
    let table = tool.stdout();
    let is_row = |line: &&str| line.starts_with("node-2 ") && !line.contains(" | "); // which log lines have
    let line = table.lines().find(is_row).expect("a line for each");
    let pid: i32 = line.split_whitespace().nth(3).and_then(|pid| pid.parse().ok()).expect("a pid");
    let flags = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("it runs");
    assert!(flags.contains("node-2") && !flags.contains("not-for-ps"), "{flags}");
    all[1].script("CONFIG GET cluster-secret => [\"cluster-secret\", \"********\"]");
    // SAFETY: the process runs for as long as its parent, which was started here.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
    wait_until("it is said", || tool.stdout().contains("node-2 has ended by signal 9"));
    all[0].script("GCOUNTER.ADD o n 1 => 4");
    all_say(&mut all[2..], "GCOUNTER.GET o n", "4");
    end(tool);
    // Each has kept what it knew.
    let tool = start();
    all_say(&mut [session(0), session(1), session(2)], "GCOUNTER.GET o n", "4");
    end(tool);
}
