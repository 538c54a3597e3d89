//! A link of 160 kbit/s, 200 ms there and back, on which 2 % of the packets are lost.

use miso_tests::{Cluster, Frame, LineOptions, Rng, Session, Way, wait_until};
use std::time::Duration;

const LINE: Way =
    Way::Line(LineOptions { rate: 20_000, delay: Duration::from_millis(100), lost: 20 });

/// What takes the line some eight seconds; nothing makes it shorter.
const LARGE: usize = 160_000;

/// Two nodes with a short patience, and a connection to each for each of these functions.
fn nodes<const N: usize>(functions: [&str; N]) -> (Cluster, [[Session; 2]; N]) {
    let cluster = Cluster::with(2, &["--node-timeout", "2s"]);
    let sessions = functions.map(|function| {
        [0, 1].map(|node| {
            let mut session = cluster.session_of(node, function);
            session.run("DBSIZE");
            session
        })
    });
    for function in functions {
        for node in [0, 1] {
            wait_until("both to run it", || cluster.role(node, function) == "runs");
        }
    }
    cluster.net().between(0, 1, LINE);
    // Only what is connected now is as slow from its first byte on.
    cluster.net().reset(0, 1);
    cluster.wait_for_mesh();
    (cluster, sessions)
}

/// Waits until some of a large message is on the line from the first node to the second.
fn wait_until_under_way(cluster: &Cluster, before: u64) {
    wait_until("it to be under way", || cluster.net().bytes(0, 1) > before + 20_000);
}

#[test]
fn a_small_change_passes_a_large_one_that_is_under_way() {
    let (cluster, [mut large, mut small]) = nodes(["large", "small"]);
    let value = Rng::new(1).bytes(LARGE);
    let before = cluster.net().bytes(0, 1);
    assert_eq!(large[0].call(&[&b"SET"[..], b"blob", &value]), Frame::Simple("OK".into()));
    wait_until_under_way(&cluster, before);
    small[0].script("GCOUNTER.ADD o n 1 => 1");
    wait_until("the small change", || small[1].run("GCOUNTER.GET o n") == Frame::Integer(1));
    assert_eq!(large[1].run("STRLEN blob"), Frame::Integer(0), "the large one has come first");
    // The other way is as slow, and not held up.
    small[1].script("GCOUNTER.ADD o n 1 => 2");
    wait_until("the change back", || small[0].run("GCOUNTER.GET o n") == Frame::Integer(2));
    wait_until("the large change", || large[1].run("STRLEN blob") == Frame::Integer(LARGE as i64));
    assert_eq!(large[1].call(&["GET", "blob"]), large[0].call(&["GET", "blob"]));
}

#[test]
fn a_small_change_passes_a_burst_of_others() {
    let (cluster, [mut burst, mut small]) = nodes(["burst", "small"]);
    let mut rng = Rng::new(2);
    let before = cluster.net().bytes(0, 1);
    for n in 0..100 {
        let (key, value) = (format!("k{n}"), rng.bytes(LARGE / 100));
        burst[0].call(&[&b"SET"[..], key.as_bytes(), &value]);
    }
    wait_until_under_way(&cluster, before);
    small[0].script("SADD s e => 1");
    wait_until("the small change", || small[1].run("SCARD s") == Frame::Integer(1));
    assert_ne!(burst[1].run("DBSIZE"), Frame::Integer(100), "the burst has come first");
    wait_until("the burst", || burst[1].run("DBSIZE") == Frame::Integer(100));
}

/// What is more than the line carries while a node is waited for arrives all the same, and nobody counts as lost.
#[test]
fn what_takes_longer_than_the_patience_of_nodes_arrives() {
    let (cluster, [mut both]) = nodes(["f"]);
    let mut rng = Rng::new(3);
    let [a, b] = &mut both;
    for n in 0..20 {
        let (key, value) = (format!("a{n}"), rng.bytes(LARGE / 20));
        a.call(&[&b"SET"[..], key.as_bytes(), &value]);
        b.run(&format!("SET b{n} {n}"));
        b.run("INCR count");
        a.run("INCR count");
    }
    let is_alive = |node: usize| {
        let state = cluster.view(1 - node, node).and_then(|view| view.field("state"));
        state.is_some_and(|state| state.text() == "alive")
    };
    wait_until("all to be on both", || {
        assert!(is_alive(0) && is_alive(1), "a node counts as lost");
        [&mut *a, &mut *b]
            .into_iter()
            .all(|s| s.run("DBSIZE") == Frame::Integer(41) && s.run("GET count").text() == "40")
    });
    for n in 0..20 {
        assert_eq!(a.call(&["GET", &format!("a{n}")]), b.call(&["GET", &format!("a{n}")]));
    }
}
