//! Several real nodes on loopback: they find each other, replicate, and agree after a crash.

use miso_tests::{Frame, Node, wait_until};

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

/// Defects 1 and 9 of the original: what a node acknowledged to a peer outlives it, and what was
/// deleted does not come back.
#[test]
fn three_nodes_agree_and_one_that_dies_takes_nothing_along() {
    let first = start("a", "");
    let port = peer_port(&first);
    let (second, mut third) = (start("b", &port), start("c", &port));
    for node in [&first, &second, &third] {
        node.session().run("GCOUNTER.ADD cart total 1");
        node.session().run("ORSET.ADD cart items apple");
    }
    for node in [&first, &second, &third] {
        wait_until("they agree", || reads(node, "GCOUNTER.GET cart total", &Frame::Integer(3)));
    }
    let mut session = third.session();
    session.run("PNCOUNTER.ADD cart left 7");
    assert_eq!(session.run("WAIT 2 10000"), Frame::Integer(2));
    third.signal(libc::SIGKILL);
    third.wait_for_end();
    for node in [&first, &second] {
        assert!(reads(node, "PNCOUNTER.GET cart left", &Frame::Integer(7)));
    }
    first.session().run("MISO.DEL cart total");
    first.session().run("ORSET.REM cart items apple");
    let third = start("c", &port);
    for node in [&first, &second, &third] {
        wait_until("it is gone", || reads(node, "GCOUNTER.GET cart total", &Frame::Integer(0)));
        wait_until("it is gone", || reads(node, "ORSET.CARD cart items", &Frame::Integer(0)));
        wait_until("it is here", || reads(node, "PNCOUNTER.GET cart left", &Frame::Integer(7)));
    }
    third.session().run("GCOUNTER.ADD cart total 2");
    for node in [&first, &second, &third] {
        wait_until("they agree", || reads(node, "GCOUNTER.GET cart total", &Frame::Integer(2)));
    }
}
