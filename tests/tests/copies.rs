//! Where the data of functions is, and what is read first on a node that begins to run one.

use miso_tests::{Cluster, Frame, wait_until};

/// Waits until no node runs the function any more.
#[track_caller]
fn wait_for_rest(cluster: &Cluster, nodes: usize, function: &str) {
    wait_until("no node runs it", || (0..nodes).all(|node| cluster.role(node, function) != "runs"));
}

/// A node and its memory are gone at once: what was acknowledged and replicated is elsewhere.
#[test]
fn any_one_of_three_nodes_may_die() {
    for victim in 0..3 {
        let mut cluster = Cluster::start(3);
        let mut a = cluster.session_of(0, "f");
        a.script("GCOUNTER.ADD o c 7 => 7\nORSET.ADD o s a => 1\nWAIT 1 20000 => 1");
        drop(a);
        cluster.kill(victim);
        for node in (0..3).filter(|node| *node != victim) {
            let mut session = cluster.session_of(node, "f");
            session.script("GCOUNTER.GET o c => 7\nORSET.MEMBERS o s => ~[\"a\"]");
        }
    }
}

/// A function that no node runs any more: whichever node is asked next knows it, at once.
#[test]
fn the_first_read_after_a_rest_is_right() {
    for copies in ["1", "2"] {
        let flags =
            ["--function-linger", "0", "--restore-timeout", "20s", "--function-copies", copies];
        let cluster = Cluster::with(3, &flags);
        for round in 1..=9 {
            let mut writer = cluster.session_of(round % 3, "f");
            writer.script(&format!("GCOUNTER.ADD o c => {round}"));
            drop(writer);
            wait_for_rest(&cluster, 3, "f");
            let mut reader = cluster.session_of((round + 1) % 3, "f");
            reader.script(&format!("DBSIZE => 1\nGCOUNTER.GET o c => {round}"));
            drop(reader);
            wait_for_rest(&cluster, 3, "f");
        }
    }
}

/// What is present on a node that was at rest is not older than what other nodes have.
#[test]
fn the_first_read_of_something_present_is_not_old() {
    let flags = ["--function-linger", "0", "--restore-timeout", "20s", "--function-copies", "1"];
    let cluster = Cluster::with(2, &flags);
    for round in 1..=5 {
        let mut a = cluster.session_of(0, "f");
        a.script("GCOUNTER.ADD o c => *\nORSET.ADD o s x => *\nWAIT 0 1 => *");
        drop(a);
        wait_until("it rests", || cluster.role(0, "f") != "runs");
        let mut b = cluster.session_of(1, "f");
        b.script(&format!("GCOUNTER.ADD o c 100 => {}\nORSET.REMOVE o s x => 1", round * 101));
        // It goes on to run there.
        let mut a = cluster.session_of(0, "f");
        a.script(&format!("GCOUNTER.GET o c => {}\nORSET.ISMEMBER o s x => 0", round * 101));
        drop((a, b));
        wait_for_rest(&cluster, 2, "f");
    }
}

/// One connection speaks for one function after the other; each is waited for.
#[test]
fn a_connection_that_changes_its_function_waits_again() {
    let flags = ["--function-linger", "0", "--restore-timeout", "20s"];
    let cluster = Cluster::with(3, &flags);
    for round in 0..10 {
        let (empty, full) = (format!("empty{round}"), format!("full{round}"));
        cluster.session_of(0, &full).script("GCOUNTER.ADD o c 3 => 3");
        wait_for_rest(&cluster, 3, &full);
        let mut wire = cluster.node(1).wire();
        wire.ask(&format!("AUTH {empty} -"));
        assert_eq!(wire.ask("GCOUNTER.GET o c"), Frame::Integer(0));
        wire.ask(&format!("AUTH {full} -"));
        assert_eq!(wire.ask("GCOUNTER.GET o c"), Frame::Integer(3), "round {round}");
    }
}
