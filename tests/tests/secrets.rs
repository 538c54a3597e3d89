//! Clusters with a secret, without TLS: a node that knows it is in, and no other is told anything.

use std::fs;

use miso_tests::{Frame, Node, Resp, Scratch, all_say, wait_until};

const SECRET: &str = "known to three";

fn flags<'a>(name: &'a str, join: &'a str) -> Vec<&'a str> {
    let mut flags = vec!["--node-name", name, "--peer-tls", "no"];
    if !join.is_empty() {
        flags.extend(["--join", join]);
    }
    flags
}

/// Where other nodes reach this one.
fn address(node: &Node) -> String {
    let port = node.session().run("CONFIG GET peer-port").field("peer-port").expect("it has one");
    format!("127.0.0.1:{}", port.text())
}

fn names(node: &Node) -> Vec<String> {
    let nodes = node.session().run("MISO.NODES").items();
    let mut names: Vec<String> =
        nodes.iter().map(|node| node.field("name").expect("each has a name").text()).collect();
    names.sort();
    names
}

fn figure(node: &Node, field: &str) -> u64 {
    node.info(field).parse().unwrap_or_else(|_| panic!("{field} is no number"))
}

#[test]
fn a_secret_lets_in_nodes_that_know_it_and_no_others() {
    // Given in each of the three ways.
    let directory = Scratch::new();
    let file = directory.join("secret");
    fs::write(&file, format!("{SECRET}\n")).expect("writable");
    let file = file.to_str().expect("a plain path");
    let with = |name, join: &str, more: &[&str]| Node::with(&[&flags(name, join), more].concat());
    let first = with("first", "", &["--cluster-secret", SECRET]);
    let seed = address(&first);
    let second =
        Node::with_environment(&flags("second", &seed), &[("MISO_CLUSTER_SECRET", SECRET)]);
    let third = with("third", &seed, &["--cluster-secret-file", file]);
    // Outsiders that look for the cluster, and one that the cluster looks for.
    let bare = with("bare", &seed, &[]);
    let wrong = with("wrong", &seed, &["--cluster-secret", "known to one"]);
    let found = with("found", "", &[]);
    first.session().run(&format!("MISO.JOIN {}", address(&found)));

    let mut all = [&first, &second, &third].map(Node::session);
    for session in &mut all {
        session.run("GCOUNTER.ADD cart total 1");
    }
    all_say(&mut all, "GCOUNTER.GET cart total", "3");
    for number in 0..1000 {
        all[0].run(&format!("ORSET.ADD cart-{number} items of-the-three-{number}"));
    }
    assert_eq!(all[0].run("WAIT 2 10000"), Frame::Integer(2));
    first.session_of("checkout", Resp::V2).run("GCOUNTER.ADD cart total 1");

    let outside = [&bare, &wrong, &found];
    for node in outside {
        // It runs the same function, so it would be sent all of it.
        node.session().run("GCOUNTER.ADD cart total 5");
        wait_until("some refusals", || figure(node, "miso_peer_refusals") >= 4);
    }
    for (node, name) in outside.into_iter().zip(["bare", "wrong", "found"]) {
        assert_eq!(names(node), [name]);
        assert_eq!(node.session().run("GCOUNTER.GET cart total"), Frame::Integer(5));
        assert_eq!(node.session().run("ORSET.CARD cart-7 items"), Frame::Integer(0));
        let functions = node.session().run("MISO.FUNCTIONS").to_string();
        for inside in ["first", "second", "third", "checkout"] {
            assert!(functions.contains(name) && !functions.contains(inside), "{functions}");
        }
        assert_eq!(figure(node, "miso_batches_received"), 0);
        let each =
            figure(node, "miso_peer_bytes_received") / figure(node, "miso_peer_envelopes_received");
        assert!(each < 250, "{each} bytes at a time, where a challenge and a refusal fit");
    }
    for node in [&first, &second, &third] {
        assert_eq!(names(node), ["first", "second", "third"]);
        assert_eq!(node.session().run("GCOUNTER.GET cart total"), Frame::Integer(3));
    }

    // Each side says once what to set, and no more than that.
    let one_has_none = "only one of the two nodes has a cluster-secret: set the same on all nodes";
    let different = "the two nodes have different cluster-secrets: set the same on all nodes";
    for (node, reasons) in [
        (&first, vec![one_has_none, different]),
        (&bare, vec![one_has_none]),
        (&found, vec![one_has_none]),
        (&wrong, vec![different]),
    ] {
        let log = node.log();
        for reason in reasons {
            assert!(log.contains(reason), "no {reason:?} in:\n{log}");
        }
        let lines = log.lines().filter(|line| line.contains("WARN")).count();
        assert!(lines <= 4, "{lines} lines of warnings:\n{log}");
        for secret in [SECRET, "known to one"] {
            assert!(!log.contains(secret), "{log}");
        }
    }
    let shown = first.session().run("CONFIG GET cluster-secret*").to_string();
    assert!(shown.contains("********") && !shown.contains(SECRET), "{shown}");
}
