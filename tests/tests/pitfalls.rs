//! Traps that systems of this kind have fallen into, tested with real processes. The numbers are those of section 4 of
//! the project's semantics. What is not here, or not only:
//!
//! - 4.1: `defects_nodes.rs` (d1); power cuts and copies in `store/src/journal/tests.rs` and the simulation.
//! - 4.2, 4.3, 4.6: also beside the types in `crdt/src`.
//! - 4.5: `plain.rs`, and `crdt/src/plain` for all types.
//! - 4.8: `crdt/src/set.rs`, and `crdt/tests/model.rs` for all types.
//! - 4.9: the simulation, in its hostile worlds, where messages are lost, doubled and overtaken.
//! - 4.13: `storm.rs`.
//! - 4.14: `handshakes.rs`, `defects_nodes.rs` (d4) and `crdt/tests/memory.rs`: bounds on what comes in.
//! - 4.15: no user has asked for requests that count once.
//! - 4.17: `replication/src/node.rs` and `crdt/src/batch.rs`: what is not known is ignored or refused whole.

use miso_tests::{Cluster, Node, Rng, Scratch, Session, Way, all_say, find_program, wait_until};
use redis::Value;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

/// Sends commands in great pipelines; none may fail.
#[track_caller]
fn flood(session: &mut Session, lines: impl Iterator<Item = String>) {
    let mut lines = lines.peekable();
    while lines.peek().is_some() {
        let mut pipe = redis::pipe();
        for line in lines.by_ref().take(1_000) {
            let mut words = line.split(' ');
            let command = pipe.cmd(words.next().expect("a command"));
            words.for_each(|word| {
                command.arg(word);
            });
        }
        pipe.query::<Vec<Value>>(session.redis()).expect("all commands succeed");
    }
}

fn used(node: &Node) -> u64 {
    node.info("used_memory").parse().expect("a number of bytes")
}

/// 4.1: a data directory that was copied gives two nodes one identity: one of them must not write under it.
#[test]
fn p4_1_two_nodes_on_copies_of_one_directory_do_not_write_as_one() {
    let disks = Scratch::new();
    let (one, two) = (disks.join("one"), disks.join("two"));
    let flag = |path: &Path| path.display().to_string();
    let first = Node::with(&["--node-name", "one", "--data-dir", &flag(&one)]);
    first.session().script("GCOUNTER.ADD o c 5 => 5");
    drop(first);
    let copied =
        std::process::Command::new(find_program("cp")).arg("-r").args([&one, &two]).status();
    assert!(copied.expect("cp runs").success());
    let first = Node::with(&["--node-name", "one", "--data-dir", &flag(&one)]);
    let port = first.session().run("CONFIG GET peer-port").field("peer-port").expect("a port");
    let seed = format!("127.0.0.1:{}", port.text());
    first.session().script("GCOUNTER.ADD o c 10 => 15");
    // It joins as another node. Either it ends, since its identity is taken, or it counts as another writer.
    let second = Node::launch(&["--node-name", "two", "--data-dir", &flag(&two), "--join", &seed]);
    match second {
        None => {}
        Some(second) => {
            let alone = second.session().run("GCOUNTER.ADD o c 100").integer();
            assert!([105, 115].contains(&alone), "{alone}");
            wait_until("the counts to come together, or the second node to end", || {
                let count = |node: &Node| {
                    Session::open(&node.url(""), miso_tests::Resp::V2)
                        .ok()
                        .map(|mut session| session.run("GCOUNTER.GET o c").integer())
                };
                count(&first) == Some(115) && count(&second) == Some(115)
            });
        }
    }
    // A copy loses or doubles nothing of the first.
    let count = first.session().run("GCOUNTER.GET o c").integer();
    assert!([15, 115].contains(&count), "{count}");
    drop(first);
}

/// 4.1: a node comes back with less than its peers have of it: from yesterday's backup, or without the end of its
/// journal. It counts on at once, before it knows any peer: nothing of that may be swallowed, and nothing be counted twice.
#[test]
fn p4_1_a_node_that_has_lost_some_of_its_past_does_not_write_on_as_before() {
    let disks = Scratch::new();
    let (here, backup) = (disks.join("here"), disks.join("backup"));
    let peer = Node::with(&["--node-name", "peer", "--data-dir", "none"]);
    let port = peer.session().run("CONFIG GET peer-port").field("peer-port").expect("a port");
    let seed = format!("127.0.0.1:{}", port.text());
    let path = here.display().to_string();
    let start = || Node::with(&["--node-name", "one", "--data-dir", &path, "--join", &seed]);
    let mut other = peer.session();
    other.run("MISO.EXISTS none");
    let copy = |from: &Path, to: &Path| {
        let copied =
            std::process::Command::new(find_program("cp")).arg("-r").args([from, to]).status();
        assert!(copied.expect("cp runs").success());
    };
    let mut node = start();
    node.session().script("GCOUNTER.ADD o c 5 => 5\nWAIT 1 30000 => 1");
    node.signal(libc::SIGTERM);
    assert!(node.wait_for_end().success());
    copy(&here, &backup);
    let mut total = 5;
    for lost in ["a day", "the tail"] {
        let mut node = start();
        let was = node.info("incarnation");
        let count = |node: &Node, n: i64| node.session().run(&format!("GCOUNTER.ADD o c {n}"));
        count(&node, 10);
        total += 10;
        all_say(std::slice::from_mut(&mut other), "GCOUNTER.GET o c", &total.to_string());
        node.signal(libc::SIGKILL);
        node.wait_for_end();
        if lost == "a day" {
            std::fs::remove_dir_all(&here).expect("it is there");
            copy(&backup, &here);
        } else {
            cut_tail(&here);
        }
        let node = start();
        assert_ne!(node.info("incarnation"), was, "{lost}");
        count(&node, 20);
        total += 20;
        let mut both = [node.session(), peer.session()];
        all_say(&mut both, "GCOUNTER.GET o c", &total.to_string());
        drop(both);
        let mut node = node;
        node.signal(libc::SIGTERM);
        assert!(node.wait_for_end().success());
    }
    drop(peer);
}

/// Takes the last byte of the last record of a journal.
fn cut_tail(directory: &Path) {
    let files = std::fs::read_dir(directory).expect("it is there").flatten();
    let newest =
        files.map(|file| file.path()).filter(|path| path.to_string_lossy().ends_with("log"));
    let newest = newest.max().expect("a journal has a segment");
    let bytes = std::fs::read(&newest).expect("it can be read");
    let last = bytes.iter().rposition(|byte| *byte != 0).expect("it has a record");
    let file = std::fs::OpenOptions::new().write(true).open(&newest).expect("it can be written");
    file.set_len(last as u64).expect("it can be cut");
}

/// 4.2 (a): a counter that was deleted and forgotten counts on from 0, and a node that still has the old entry must
/// not swallow that.
#[test]
fn p4_2a_a_deleted_counter_counts_on_although_a_peer_still_has_the_old_one() {
    let cluster = Cluster::start(3);
    let mut s = cluster.sessions();
    s[0].script("GCOUNTER.ADD o c 100 => 100\nPNCOUNTER.ADD o p -100 => -100\nORMAP.INCRBY o m f 100 => 100");
    all_say(&mut s, "ORMAP.GET o m f", "\"100\"");
    cluster.isolate(1);
    s[2].script("MISO.DEL o => 3");
    all_say(&mut s[..1], "MISO.EXISTS o", "0");
    // The nodes tell each other that they have, and forget.
    wait_until("the floors to go", || {
        let function = cluster.node(0).info("function_default");
        function.contains(",floors=0,") && function.contains(",ahead=0,")
    });
    s[0].script("GCOUNTER.ADD o c => 1\nPNCOUNTER.SUB o p => -1\nORMAP.INCRBY o m f 1 => 1");
    s[1].script("GCOUNTER.GET o c => 100");
    cluster.net().heal();
    all_say(&mut s, "GCOUNTER.GET o c", "1");
    all_say(&mut s, "PNCOUNTER.GET o p", "-1");
    all_say(&mut s, "ORMAP.GET o m f", "\"1\"");
}

/// 4.2 (b): what a writer counts while it does not know of the delete survives, and nothing else, in whatever order
/// they hear of each other.
#[test]
fn p4_2b_a_delete_takes_what_it_saw_in_every_order_of_healing() {
    let cluster = Cluster::start(3);
    let mut s = cluster.sessions();
    let net = cluster.net();
    for (round, order) in [[0, 1], [1, 0]].into_iter().enumerate() {
        let name = format!("c{round}");
        s[0].script(&format!("GCOUNTER.ADD o {name} 100 => 100"));
        all_say(&mut s, &format!("GCOUNTER.GET o {name}"), "100");
        cluster.isolate(0);
        s[0].script(&format!("GCOUNTER.ADD o {name} 10 => 110"));
        s[2].script(&format!("MISO.DEL o {name} => 1"));
        all_say(&mut s[1..], &format!("GCOUNTER.GET o {name}"), "0");
        for link in order {
            net.between(0, link + 1, Way::Open);
            let both = [0, link + 1];
            cluster.wait_for_links(&both);
            let mut near = both.map(|node| cluster.session(node));
            all_say(&mut near, &format!("GCOUNTER.GET o {name}"), "10");
        }
        all_say(&mut s, &format!("GCOUNTER.GET o {name}"), "10");
        net.heal();
        cluster.wait_for_mesh();
        all_say(&mut s, &format!("GCOUNTER.GET o {name}"), "10");
    }
}

/// 4.3: a node whose clock is ten years ahead writes once: all others can still overwrite it.
#[test]
fn p4_3_a_clock_ten_years_ahead_has_not_the_last_word() {
    let found = [
        "/usr/lib/x86_64-linux-gnu/faketime",
        "/usr/lib/aarch64-linux-gnu/faketime",
        "/usr/local/lib/faketime",
    ]
    .map(|directory| format!("{directory}/libfaketimeMT.so.1"))
    .into_iter()
    .find(|path| Path::new(path).exists());
    let library = found.expect("libfaketime, which `cargo xtask test` installs");
    let honest = Node::with(&["--data-dir", "none"]);
    let port = honest.session().run("CONFIG GET peer-port").field("peer-port").expect("a port");
    let seed = format!("127.0.0.1:{}", port.text());
    let ahead = Node::with_environment(
        &["--data-dir", "none", "--join", &seed],
        &[("LD_PRELOAD", &library), ("FAKETIME", "+10y"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")],
    );
    let mut s = [honest.session(), ahead.session()];
    s[1].script("MVREG.SET o r future => OK\nORMAP.SET o m f future => 1");
    all_say(&mut s, "MVREG.VALUE o r", "\"future\"");
    all_say(&mut s, "ORMAP.GET o m f", "\"future\"");
    s[0].script("MVREG.SET o r now => OK\nORMAP.SET o m f now => 0");
    all_say(&mut s, "MVREG.VALUE o r", "\"now\"");
    all_say(&mut s, "ORMAP.GET o m f", "\"now\"");
}

/// 4.4: a node that was away while more was deleted than the removal log holds: nothing comes back, and what the node
/// wrote meanwhile survives.
#[test]
fn p4_4_nothing_comes_back_with_a_node_that_was_away_for_too_many_deletes() {
    let cluster = Cluster::with(3, &["--node-timeout", "1s"]);
    let mut s = cluster.sessions();
    // The log holds 4 MiB; each of these takes its length in it.
    let long = "x".repeat(700);
    let id = |i: u64| format!("{long}{i}");
    let all = 8_000;
    flood(
        &mut s[0],
        (0..all).map(|i| match i % 4 {
            0 => format!("ORSET.ADD {} s a b", id(i)),
            1 => format!("GCOUNTER.ADD {} s 5", id(i)),
            2 => format!("ORMAP.SET {} s f v", id(i)),
            _ => format!("MVREG.SET {} s v", id(i)),
        }),
    );
    all_say(&mut s, "DBSIZE", &all.to_string());
    cluster.isolate(2);
    s[2].script(&format!(
        "GCOUNTER.ADD {} s 3 => 8\nORSET.ADD {} s mine => 1\nMVREG.SET new s mine => OK",
        id(1),
        id(0)
    ));
    flood(&mut s[0], (0..all).map(|i| format!("MISO.DEL {}", id(i))));
    all_say(&mut s[..2], "DBSIZE", "0");
    assert_eq!(s[2].run("DBSIZE").integer(), all as i64 + 1);
    cluster.net().heal();
    // Its three writes, and nothing else.
    all_say(&mut s, "DBSIZE", "3");
    all_say(&mut s, &format!("GCOUNTER.GET {} s", id(1)), "3");
    all_say(&mut s, &format!("ORSET.MEMBERS {} s", id(0)), "~[\"mine\"]");
    all_say(&mut s, "MVREG.VALUE new s", "\"mine\"");
}

/// 4.6: a sum beyond 64 bits reads as the greatest number, the same on all nodes, and is exact again once something is
/// taken away.
#[test]
fn p4_6_a_sum_that_overflows_saturates_and_heals() {
    let cluster = Cluster::start(2);
    let mut s = cluster.sessions();
    s[0].script("PNCOUNTER.ADD o p 0 => 0");
    all_say(&mut s, "MISO.EXISTS o", "1");
    cluster.isolate(1);
    for session in &mut s {
        session.script(
            r"
            PNCOUNTER.ADD o p 4611686018427387904 => 4611686018427387904
            PNCOUNTER.ADD o p 4611686018427387904 => -ERR increment or decrement would overflow
            PNCOUNTER.ADD o p 4611686018427387903 => 9223372036854775807
            GCOUNTER.ADD o g 9223372036854775807 => 9223372036854775807
            GCOUNTER.ADD o g 1 => -ERR increment or decrement would overflow
            ",
        );
    }
    cluster.net().heal();
    cluster.wait_for_mesh();
    // Both read this before as well: a third value says when each has what the other wrote.
    s[0].script("MVREG.SET o a v => OK");
    s[1].script("MVREG.SET o b v => OK");
    all_say(&mut s, "MVREG.VALUE o a", "\"v\"");
    all_say(&mut s, "MVREG.VALUE o b", "\"v\"");
    all_say(&mut s, "PNCOUNTER.GET o p", "9223372036854775807");
    all_say(&mut s, "GCOUNTER.GET o g", "9223372036854775807");
    s[1].script("PNCOUNTER.ADD o p 1 => -ERR increment or decrement would overflow");
    // Twice what both have, less 7: 2^64 - 2 - (2^63 - 1) - 7 = 2^63 - 8.
    s[0].script("PNCOUNTER.SUB o p 9223372036854775807 => 9223372036854775807\nPNCOUNTER.SUB o p 7 => 9223372036854775800");
    all_say(&mut s, "PNCOUNTER.GET o p", "9223372036854775800");
}

/// 4.7: a node is dead for good, and names are made and deleted, each only once: what stays is bounded.
#[test]
fn p4_7_a_dead_node_does_not_make_memory_grow() {
    let mut cluster = Cluster::with(3, &["--node-timeout", "1s"]);
    let mut s = cluster.sessions();
    s[2].script("GCOUNTER.ADD o c => 1");
    all_say(&mut s, "GCOUNTER.GET o c", "1");
    cluster.kill(2);
    let pad = "y".repeat(700);
    let round = |s: &mut [Session], from: u64, to: u64| {
        flood(
            &mut s[0],
            (from..to).flat_map(|i| {
                let id = format!("{pad}{i}");
                let make = match i % 3 {
                    0 => format!("ORSET.ADD {id} n a"),
                    1 => format!("GCOUNTER.ADD {id} n"),
                    _ => format!("ORMAP.SET {id} n f v"),
                };
                [make, format!("MISO.DEL {id}")]
            }),
        );
        all_say(&mut s[..2], "DBSIZE", "1");
    };
    // Fills the logs and queues, which have bounds.
    round(&mut s, 0, 15_000);
    let before = [0, 1].map(|node| used(cluster.node(node)));
    round(&mut s, 15_000, 45_000);
    // And the node that holds it back is named.
    assert_eq!(cluster.node(0).info("miso_lag_node"), "node-2");
    for node in [0, 1] {
        wait_until("memory to be what it was", || {
            used(cluster.node(node)) < before[node] + 4 * MIB
        });
    }
}

/// 4.10: a node joins under load, and the one that it takes the data from is killed midway.
#[test]
fn p4_10_a_node_joins_under_load_although_its_source_dies() {
    let mut cluster = Cluster::with(2, &["--node-timeout", "1s"]);
    let mut s = cluster.sessions();
    let members = |i: u64| (0..10).map(|j| format!("member-{i}-{j}")).collect::<Vec<_>>().join(" ");
    let all = 10_000;
    flood(&mut s[0], (0..all).map(|i| format!("ORSET.ADD set-{i} s {}", members(i))));
    all_say(&mut s, "DBSIZE", &all.to_string());
    let new = cluster.len();
    let stop = AtomicBool::new(false);
    let mut counted = 0;
    let mut load = cluster.session(1);
    scope(|scope| {
        let writer = scope.spawn(|| {
            let (mut rng, mut counted) = (Rng::new(10), 0);
            while !stop.load(Ordering::Acquire) {
                load.script("GCOUNTER.ADD load c => *");
                counted += 1;
                load.run(&format!("ORSET.ADD set-{} s late", rng.below(all)));
            }
            counted
        });
        assert_eq!(cluster.add(), new);
        // Registers the function there: now it is sent what there is.
        let mut joining = cluster.session(new);
        joining.script("MISO.REGISTER default => OK");
        wait_until("some of it to have come", || joining.run("DBSIZE").integer() > 0);
        cluster.kill(0);
        wait_until("all of it to have come", || joining.run("DBSIZE").integer() > all as i64);
        stop.store(true, Ordering::Release);
        counted = writer.join().expect("a writer has no complaints");
    });
    let mut both = [cluster.session(1), cluster.session(new)];
    all_say(&mut both, "GCOUNTER.GET load c", &counted.to_string());
    // Set by set the same; and each has its first ten.
    for i in (0..all).step_by(97) {
        let line = format!("ORSET.CARD set-{i} s");
        let expected = both[0].run(&line);
        assert!(expected.integer() >= 10);
        all_say(&mut both, &line, &expected.to_string());
    }
    assert_eq!(both[0].run("MISO.SYNC").integer(), 0, "there was nothing left to repair");
}

/// 4.11: a function moves from node to node with its token, and reads on each what it wrote on the others, whichever
/// links are broken.
#[test]
fn p4_11_a_function_that_moves_with_a_token_reads_its_writes() {
    let cluster = Cluster::start(3);
    let mut s = cluster.sessions();
    for round in 0..4 {
        let (from, over, to) = (round % 3, (round + 1) % 3, (round + 2) % 3);
        // Where it goes last cannot hear from where it was first.
        cluster.net().between(from, to, Way::Cut);
        let n = round as i64 * 2;
        s[from].script(&format!("GCOUNTER.ADD o c => {}", n + 1));
        let token = s[from].run("MISO.TOKEN").text();
        s[over].script(&format!("MISO.AWAIT {token} 20000 => 1\nGCOUNTER.ADD o c => {}", n + 2));
        let token = s[over].run("MISO.TOKEN").text();
        s[to].script(&format!("MISO.AWAIT {token} 20000 => 1\nGCOUNTER.GET o c => {}", n + 2));
        cluster.net().heal();
        cluster.wait_for_mesh();
        all_say(&mut s, "GCOUNTER.GET o c", &(n + 2).to_string());
    }
    // What it cannot have yet, it says.
    cluster.isolate(0);
    s[0].script("GCOUNTER.ADD o c => *");
    let token = s[0].run("MISO.TOKEN").text();
    s[1].script(&format!("MISO.AWAIT {token} 100 => 0"));
}

/// 4.12: a function ends on a node, or the node itself, while what it wrote has not been sent yet.
#[test]
fn p4_12_what_was_not_sent_yet_is_sent_before_a_node_leaves() {
    // So long that nothing goes by itself.
    let mut cluster =
        Cluster::with(2, &["--replication-interval", "10m", "--function-linger", "0"]);
    let session = |cluster: &Cluster, node, function: &str| {
        let mut session = cluster.session_of(node, function);
        session.script("MISO.EXISTS none => 0");
        session
    };
    let (mut f, mut g) = (session(&cluster, 1, "f"), session(&cluster, 1, "g"));
    // A node that no other knows to run a function is waited for but a moment.
    wait_until("node 0 to know what node 1 runs", || {
        let functions = cluster.view(1, 0).and_then(|view| view.field("functions"));
        functions.is_some_and(|functions| functions.sorted() == ["f", "g"])
    });
    let mut leaving = session(&cluster, 0, "f");
    leaving.script("GCOUNTER.ADD o c 5 => 5\nMISO.UNREGISTER f => 1");
    drop(leaving);
    let start = Instant::now();
    wait_until("what an ending function wrote", || f.run("GCOUNTER.GET o c").integer() == 5);
    let mut ending = session(&cluster, 0, "g");
    ending.script("GCOUNTER.ADD o c 6 => 6");
    cluster.terminate(0);
    wait_until("what an ending node wrote", || g.run("GCOUNTER.GET o c").integer() == 6);
    assert!(start.elapsed() < Duration::from_secs(60), "it went by itself");
}

/// 4.12: a function has ended on a node once another node has all of it, and not before.
#[test]
fn p4_12_a_function_has_ended_once_another_node_has_it() {
    let flags = ["--function-linger", "0", "--node-timeout", "20s", "--function-copies", "1"];
    let cluster = Cluster::with(2, &flags);
    let mut other = cluster.session(1);
    other.script("GCOUNTER.GET o c => 0");
    let mut wire = cluster.node(0).wire();
    wire.ask("GCOUNTER.ADD o c 1");
    assert_eq!(wire.ask("WAIT 1 20000").integer(), 1);
    cluster.net().set(0, 1, Way::Frozen);
    assert_eq!(wire.ask("GCOUNTER.ADD o c 5").integer(), 6);
    wire.command("MISO.UNREGISTER default");
    assert_eq!(wire.read_within(Duration::from_millis(300)), None, "nobody else has it");
    other.script("GCOUNTER.GET o c => 1");
    let has = |view: Option<miso_tests::Frame>| {
        let all = view.and_then(|view| Some((view.field("functions")?, view.field("holds")?)));
        all.is_some_and(|(runs, holds)| !runs.items().is_empty() || !holds.items().is_empty())
    };
    assert!(has(cluster.view(0, 1)));
    cluster.net().heal();
    assert_eq!(wire.read().expect("a reply").integer(), 1);
    other.script("GCOUNTER.GET o c => 6");
    wait_until("node 1 to know that it has ended", || !has(cluster.view(0, 1)));
    // With no peer to wait for, it is over at once.
    other.script("MISO.UNREGISTER default => 1");
}

/// 4.12, the last holder: it keeps the state although no node runs the function.
#[test]
fn p4_12_a_function_that_runs_nowhere_is_not_forgotten() {
    let cluster = Cluster::with(2, &["--function-linger", "0"]);
    let mut f = cluster.session_of(0, "f");
    f.script("GCOUNTER.ADD o c 5 => 5\nORSET.ADD o s a => 1");
    drop(f);
    let mut other = cluster.session_of(1, "other");
    other.script("MISO.EXISTS none => 0");
    wait_until("the function to end", || cluster.role(0, "f") != "runs");
    // It comes back on the same node, and on another.
    cluster.session_of(0, "f").script("GCOUNTER.GET o c => 5");
    let mut both = [cluster.session_of(0, "f"), cluster.session_of(1, "f")];
    all_say(&mut both, "GCOUNTER.GET o c", "5");
    all_say(&mut both, "ORSET.MEMBERS o s", "~[\"a\"]");
}

/// 4.16, the published counter-example: A turns a flag on; B saw that and turns it off; C, which saw nothing, turns it
/// off as well. With one clock for the whole value, nodes ended on and off for ever, by the order in which they heard.
#[test]
fn p4_16_a_flag_converges_in_any_order() {
    let cluster = Cluster::start(3);
    let mut s = cluster.sessions();
    let net = cluster.net();
    for (round, first) in [0, 1, 2].into_iter().enumerate() {
        let (flag, register) = (format!("f{round}"), format!("r{round}"));
        net.around(2, Way::Cut);
        s[0].script(&format!("EWFLAG.ENABLE o {flag} => 1\nMVREG.SET o {register} on => OK"));
        all_say(&mut s[..2], &format!("MVREG.VALUE o {register}"), "\"on\"");
        net.around(first, Way::Cut);
        s[1].script(&format!("EWFLAG.DISABLE o {flag} => 1\nMVREG.SET o {register} off => OK"));
        s[2].script(&format!("EWFLAG.DISABLE o {flag} => 0\nMVREG.SET o {register} also => OK"));
        net.between(2, (first + 1) % 3, Way::Open);
        net.between(2, (first + 2) % 3, Way::Open);
        sleep(Duration::from_millis(100));
        net.heal();
        all_say(&mut s, &format!("MVREG.GET o {register}"), r#"["also", "off"]"#);
        all_say(&mut s, &format!("EWFLAG.GET o {flag}"), "0");
        cluster.wait_for_mesh();
    }
}
