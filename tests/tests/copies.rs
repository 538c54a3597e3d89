//! Where the data of functions is, and what is read first on a node that begins to run one.

use std::time::{Duration, Instant};

use miso_tests::{Cluster, Frame, Node, wait_until};

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
        b.script(&format!("GCOUNTER.ADD o c 100 => {}\nORSET.REM o s x => 1", round * 101));
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
        // The other node that holds it by then is one that may be asked.
        cluster.session_of(0, &full).script("GCOUNTER.ADD o c 3 => 3\nWAIT 1 20000 => *");
        wait_for_rest(&cluster, 3, &full);
        let mut wire = cluster.node(1).wire();
        wire.ask(&format!("AUTH {empty} -"));
        assert_eq!(wire.ask("GCOUNTER.GET o c"), Frame::Integer(0));
        wire.ask(&format!("AUTH {full} -"));
        assert_eq!(wire.ask("GCOUNTER.GET o c"), Frame::Integer(3), "round {round}");
    }
}

/// The nodes that do something with a function, as they tell.
fn with_role(cluster: &Cluster, role: &str, function: &str) -> Vec<usize> {
    cluster.running().into_iter().filter(|node| cluster.role(*node, function) == role).collect()
}

/// MISO.FUNCTIONS, MISO.NODES and INFO say who runs a function, who holds it, and whether that is enough.
#[test]
fn it_is_shown_where_a_function_is() {
    let cluster = Cluster::start(3);
    let mut a = cluster.session_of(0, "f");
    a.script("GCOUNTER.ADD o c 7 => 7\nWAIT 1 20000 => 1");
    wait_until("one holds it", || with_role(&cluster, "holds", "f").len() == 1);
    let holder = with_role(&cluster, "holds", "f")[0];
    let other = 3 - holder;
    let shown = |node: usize, field: &str| {
        let shown = cluster.session(node).run("MISO.FUNCTIONS").field("f").expect("it has it");
        shown.field(field).expect("a field of MISO.FUNCTIONS")
    };
    for node in [0, holder] {
        wait_until("both know", || {
            shown(node, "copies") == Frame::Integer(2)
                && shown(node, "nodes").sorted() == ["node-0"]
                && shown(node, "holders").sorted() == [format!("node-{holder}")]
        });
        wait_until("it is enough", || {
            cluster.node(node).info("miso_under_copied_functions") == "0"
        });
    }
    assert_eq!(cluster.node(holder).info("miso_functions_held"), "1");
    let view = cluster.view(holder, 0).and_then(|view| view.field("holds"));
    assert_eq!(view.expect("MISO.NODES says so").sorted(), ["f"]);
    // A node that neither runs nor holds it has nothing of it.
    assert_eq!(cluster.role(other, "f"), "");
    assert_eq!(cluster.node(other).info("miso_functions"), "0");
}

#[test]
fn a_node_alone_has_too_few_copies() {
    let mut cluster = Cluster::start(1);
    let mut a = cluster.session_of(0, "f");
    a.script("GCOUNTER.ADD o c => 1");
    assert_eq!(cluster.node(0).info("miso_under_copied_functions"), "1");
    cluster.add();
    wait_until("there are two", || cluster.node(0).info("miso_under_copied_functions") == "0");
    // Without replication there is nothing to copy to.
    let node = Node::with(&["--peer-port", "none"]);
    node.session().script("GCOUNTER.ADD o c => 1");
    assert_eq!(node.info("miso_under_copied_functions"), "0");
}

#[test]
fn a_node_holds_functions_by_name() {
    let cluster = Cluster::with(3, &["--function-copies", "1", "--hold", "f,g"]);
    cluster.session_of(0, "f").script("GCOUNTER.ADD o c => 1\nWAIT 2 20000 => 2");
    cluster.session_of(0, "other").script("GCOUNTER.ADD o c => 1\nWAIT 1 100 => 0");
    assert_eq!(with_role(&cluster, "holds", "f"), [1, 2]);
    assert_eq!(with_role(&cluster, "holds", "other"), [0_usize; 0]);
}

/// Whichever node leaves, its functions have their copies on the others when it has left.
#[test]
fn a_node_that_leaves_hands_its_copies_over() {
    for leaves in 0..3 {
        let mut cluster = Cluster::start(3);
        let mut a = cluster.session_of(0, "f");
        a.script("GCOUNTER.ADD o c 7 => 7\nWAIT 1 20000 => 1");
        drop(a);
        cluster.terminate(leaves);
        let left = cluster.running();
        // No time passes: the first of them goes too, at once.
        cluster.kill(left[0]);
        let mut last = cluster.session_of(left[1], "f");
        last.script("GCOUNTER.GET o c => 7");
    }
}

#[test]
fn a_node_that_leaves_says_what_has_no_copy() {
    let cluster = Cluster::with(2, &["--node-timeout", "1s"]);
    let mut a = cluster.session_of(0, "f");
    a.script("GCOUNTER.ADD o c 7 => 7\nWAIT 1 20000 => 1");
    cluster.isolate(0);
    a.script("GCOUNTER.ADD o c 7 => 14");
    let node = cluster.node(0);
    node.signal(libc::SIGTERM);
    let said = "this node leaves before 1 of its functions have their copies elsewhere: f";
    wait_until("it says so", || node.log().contains(said));
}

/// Functions that begin at once on two nodes: what is written first in each is seen on the other node in
/// milliseconds. (It took a second: the question what peers know overtook the word that the function runs
/// there.)
#[test]
fn first_writes_of_functions_that_begin_together_arrive_soon() {
    let cluster = Cluster::start(2);
    let mut slowest = Duration::MAX;
    // A busy machine may be slow once; a second is not a matter of the machine.
    for attempt in 0..3 {
        let names = (0..10).map(|index| format!("f{attempt}-{index}"));
        let mut sessions: Vec<_> = names
            .map(|name| (cluster.session_of(0, &name), cluster.session_of(1, &name)))
            .collect();
        for (a, b) in &mut sessions {
            b.script("GCOUNTER.GET o c => 0");
            a.script("GCOUNTER.GET o c => 0");
        }
        let mut times = Vec::new();
        for (a, b) in &mut sessions {
            a.script("GCOUNTER.ADD o c => 1");
            let began = Instant::now();
            wait_until("the first write arrives", || b.run("GCOUNTER.GET o c").integer() == 1);
            times.push(began.elapsed());
        }
        slowest = slowest.min(times.into_iter().max().expect("ten"));
    }
    assert!(slowest < Duration::from_millis(700), "{slowest:?}");
}
