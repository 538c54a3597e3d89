//! MISO.FORGET, and what becomes of what the forgotten node had counted: another node takes it over, so
//! that nothing need be kept of the one that is gone (`semantics.md` 3.5).

use miso_tests::{Cluster, Session, Way, all_say, wait_until};

const FLAGS: [&str; 2] = ["--node-timeout", "1s"];

/// What INFO of a node says of the function `default`.
fn of_default(cluster: &Cluster, node: usize, what: &str) -> String {
    let line = cluster.node(node).info("function_default");
    let mut parts = line.split(',').filter_map(|part| part.split_once('='));
    let found = parts.find(|(name, _)| *name == what);
    found.unwrap_or_else(|| panic!("no {what} in {line}")).1.to_owned()
}

fn wait_for_retired(cluster: &Cluster, nodes: &[usize], count: &str) {
    for node in nodes {
        wait_until(&format!("node {node} to hear of {count} retired writers"), || {
            of_default(cluster, *node, "retired") == count
        });
    }
}

/// All nodes count, in counters and in a field of a map.
fn count_everywhere(s: &mut [Session]) {
    for (n, session) in (1..).zip(s.iter_mut()) {
        session.script(&format!(
            "GCOUNTER.ADD o g {n} => *\nPNCOUNTER.ADD o p -{n} => *\nORMAP.INCRBY o m f {n} => *"
        ));
    }
    all_have(s, 1..=s.len());
}

fn all_have(s: &mut [Session], all: impl Iterator<Item = usize>) {
    let sum: usize = all.sum();
    all_say(s, "GCOUNTER.GET o g", &sum.to_string());
    all_say(s, "PNCOUNTER.GET o p", &format!("-{sum}"));
    all_say(s, "ORMAP.GET o m f", &format!("\"{sum}\""));
}

fn forget(cluster: &Cluster, s: &mut Session, at: usize, node: usize) {
    cluster.wait_for_state(at, node, &["dead", "left"]);
    s.script(&format!("MISO.FORGET node-{node} => OK"));
}

#[test]
fn what_a_forgotten_node_has_counted_is_taken_over() {
    let mut cluster = Cluster::with(3, &FLAGS);
    let mut s = cluster.sessions();
    count_everywhere(&mut s);
    // It has deleted, too: that stays so.
    s[0].script("GCOUNTER.ADD gone g 7 => 7");
    all_say(&mut s, "GCOUNTER.GET gone g", "7");
    s[2].script("MISO.DEL gone => 1\nGCOUNTER.ADD gone g 1 => 1");
    all_say(&mut s, "GCOUNTER.GET gone g", "1");
    cluster.kill(2);
    s.pop();
    forget(&cluster, &mut s[1], 1, 2);
    wait_for_retired(&cluster, &[0, 1], "1");
    all_have(&mut s, 1..=3);
    all_say(&mut s, "GCOUNTER.GET gone g", "1");
    // Either may be the one: both are told of the other's wish.
    let adopts = |node: usize| cluster.node(node).log().contains("adopted what 1 writers");
    wait_until("one of them to say so", || adopts(0) || adopts(1));
    assert!(adopts(0) != adopts(1), "{}\n{}", cluster.node(0).log(), cluster.node(1).log());
    // Saying it again does no harm.
    s[0].script("MISO.FORGET node-2 => OK\nMISO.FORGET node-9 => -ERR no such node 'node-9'");
    // A node that comes later learns all of it, and what is deleted leaves nothing.
    let late = cluster.add();
    cluster.wait_for_links(&[0, 1, late]);
    s.push(cluster.session(late));
    all_have(&mut s, 1..=3);
    wait_for_retired(&cluster, &[late], "1");
    s[2].script("MISO.DEL o => 3\nMISO.DEL gone => 1");
    all_say(&mut s, "MISO.EXISTS o", "0");
    for node in [0, 1, late] {
        wait_until("nothing to be kept of what was deleted", || {
            of_default(&cluster, node, "floors") == "0"
        });
    }
    // The same name may be used again: by another writer.
    cluster.restart(2);
    cluster.wait_for_links(&[0, 1, 2, late]);
    s.push(cluster.session(2));
    s[3].script("GCOUNTER.ADD o g 4 => *");
    all_say(&mut s, "GCOUNTER.GET o g", "4");
}

/// A node that is away may hold what others lack, so all must be here, or forgotten themselves.
#[test]
fn a_node_that_is_away_holds_it_back() {
    let mut cluster = Cluster::with(4, &FLAGS);
    let mut s = cluster.sessions();
    count_everywhere(&mut s);
    cluster.kill(2);
    cluster.kill(3);
    s.truncate(2);
    cluster.wait_for_state(0, 3, &["dead"]);
    forget(&cluster, &mut s[0], 0, 2);
    let waits = "are here or are forgotten too: node-3";
    wait_until("the node to say whom it waits for", || cluster.node(0).log().contains(waits));
    assert_eq!(of_default(&cluster, 0, "retired"), "0");
    // Nothing waits for that but that.
    s[1].script("GCOUNTER.ADD o g 10 => 20\nGCOUNTER.ADD other g 1 => 1\nMISO.DEL other => 1");
    forget(&cluster, &mut s[0], 0, 3);
    wait_for_retired(&cluster, &[0, 1], "2");
    all_say(&mut s, "GCOUNTER.GET o g", "20");
    all_say(&mut s, "ORMAP.GET o m f", "\"10\"");
}

/// A node without a disk is another one each time that it is started, and leaves those that it was.
#[test]
fn what_a_living_node_was_before_is_forgotten_too() {
    let mut cluster = Cluster::with(3, &FLAGS);
    let mut s = cluster.sessions();
    count_everywhere(&mut s);
    let mut told = cluster.session(0);
    told.script("MISO.FORGET node-2 => -ERR node 'node-2' is not dead");
    cluster.kill(2);
    cluster.restart(2);
    cluster.wait_for_mesh();
    let mut s = cluster.sessions();
    all_have(&mut s, 1..=3);
    s[2].script("GCOUNTER.ADD o g 4 => 10");
    told.script("MISO.FORGET node-2 => OK");
    wait_for_retired(&cluster, &[0, 1, 2], "1");
    all_say(&mut s, "GCOUNTER.GET o g", "10");
    all_say(&mut s, "PNCOUNTER.GET o p", "-6");
    told.script("MISO.FORGET node-2 => -ERR node 'node-2' is not dead");
}

/// All nodes may be told, as Redis's users are used to: one does it.
#[test]
fn all_nodes_may_be_told() {
    let mut cluster = Cluster::with(4, &FLAGS);
    let mut s = cluster.sessions();
    count_everywhere(&mut s);
    cluster.kill(3);
    s.pop();
    for at in 0..3 {
        cluster.wait_for_state(at, 3, &["dead"]);
    }
    std::thread::scope(|scope| {
        for session in &mut s {
            scope.spawn(|| session.script("MISO.FORGET node-3 => OK"));
        }
    });
    wait_for_retired(&cluster, &[0, 1, 2], "1");
    all_have(&mut s, 1..=4);
}

/// With its disk it comes back as another writer, and all is as it was.
#[test]
fn a_forgotten_node_may_come_back_as_another() {
    let mut cluster = Cluster::with_disks(3, &FLAGS);
    let mut s = cluster.sessions();
    count_everywhere(&mut s);
    let before = cluster.node(2).info("incarnation");
    cluster.kill(2);
    s.pop();
    forget(&cluster, &mut s[0], 0, 2);
    wait_for_retired(&cluster, &[0, 1], "1");
    cluster.isolate(2);
    cluster.restart(2);
    cluster.net().heal();
    let told = "told to forget this node's incarnation";
    wait_until("it to hear", || cluster.node(2).log().contains(told));
    cluster.kill(2);
    // What is retired outlives a restart, too.
    cluster.kill(0);
    cluster.restart(0);
    cluster.restart(2);
    cluster.wait_for_mesh();
    assert_ne!(cluster.node(2).info("incarnation"), before);
    let mut s = cluster.sessions();
    all_have(&mut s, 1..=3);
    wait_for_retired(&cluster, &[0, 1, 2], "1");
    count_everywhere_again(&mut s);
}

fn count_everywhere_again(s: &mut [Session]) {
    for session in s.iter_mut() {
        session.script("GCOUNTER.ADD o g 1 => *");
    }
    all_say(s, "GCOUNTER.GET o g", "9");
}

/// What it counted while it was away, and no peer has seen, would count beside what was taken over: it
/// says so, and stays apart with its data.
#[test]
fn a_forgotten_node_with_unseen_counts_stays_apart() {
    let mut cluster = Cluster::with_disks(3, &FLAGS);
    let mut s = cluster.sessions();
    count_everywhere(&mut s);
    cluster.net().around(2, Way::Frozen);
    cluster.wait_for_state(0, 2, &["dead"]);
    s[2].script("GCOUNTER.ADD o g 5 => 11");
    cluster.kill(2);
    s.pop();
    forget(&cluster, &mut s[0], 0, 2);
    wait_for_retired(&cluster, &[0, 1], "1");
    for _ in 0..2 {
        cluster.net().around(2, Way::Frozen);
        cluster.restart(2);
        // Its data are there to be read.
        cluster.session(2).script("GCOUNTER.GET o g => 11");
        cluster.net().heal();
        wait_until("it to say why it ends", || cluster.node(2).log().contains("it stays apart"));
        all_have(&mut s, 1..=3);
        cluster.kill(2);
    }
    // With an empty directory it is welcome.
    std::fs::remove_dir_all(cluster.data(2)).expect("nobody uses it");
    cluster.restart(2);
    cluster.wait_for_mesh();
    let mut s = cluster.sessions();
    all_have(&mut s, 1..=3);
}
