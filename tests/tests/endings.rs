//! Orderly ends, and those that are not to wait.

use miso_tests::{DEADLINE, Ledger, Node, Scratch, wait_until};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{scope, yield_now};
use std::time::{Duration, Instant};

/// So many of the clients send many commands at once.
const PIPELINES: usize = 3;

/// SIGTERM in the midst of pipelines: exit 0 within five seconds, and what was answered is kept, with or without a peer
/// that takes it.
#[test]
fn an_orderly_end_under_load_keeps_what_was_answered() {
    let directory = Scratch::new();
    let path = directory.join("data").display().to_string();
    let mut ledgers: Vec<Ledger> =
        (0..6).map(|client| Ledger::new(&format!("client-{client}"), client)).collect();
    for round in 0..4 {
        let sync = if round % 2 == 0 { "everysec" } else { "always" };
        let flags = ["--data-dir", &path, "--appendfsync", sync];
        let mut node = Node::with(&flags);
        let first = node.info("incarnation");
        let answered = AtomicU64::new(0);
        let mut took = Duration::MAX;
        scope(|scope| {
            for (client, ledger) in ledgers.iter_mut().enumerate() {
                let (mut wire, answered) = (node.wire(), &answered);
                let depth = if client < PIPELINES { 200 } else { 1 };
                scope.spawn(move || while ledger.write(&mut wire, depth, answered).is_ok() {});
            }
            let start = Instant::now();
            while answered.load(Ordering::Relaxed) < 1_000 {
                assert!(start.elapsed() < DEADLINE, "nothing is answered");
                yield_now();
            }
            node.signal(libc::SIGTERM);
            let start = Instant::now();
            assert_eq!(node.wait_for_end().code(), Some(0), "{}", node.log());
            took = start.elapsed();
        });
        assert!(took < Duration::from_secs(5), "{took:?}");
        let node = Node::with(&flags);
        assert_eq!(node.info("incarnation"), first);
        // All of it is in the checkpoint that was made at the end.
        assert_ne!(node.info("aof_base_size"), "0", "{}", node.log());
        let mut session = node.session();
        for (client, ledger) in ledgers.iter_mut().enumerate() {
            if client >= PIPELINES {
                // What was run was answered, too. Of a pipeline the end may get lost on its way: what a socket has not
                // been read to its end makes the kernel throw away.
                ledger.forget_open();
                assert!(ledger.is_on(&mut session), "{}", ledger.read(&mut session));
            }
            ledger.settle(&mut session);
        }
    }
}

/// What waits for others is answered with what is true by then, and what was read after it is run.
#[test]
fn a_command_that_waits_is_answered_at_the_end() {
    let elsewhere = Node::start();
    elsewhere.session().run("GCOUNTER.ADD o n 1");
    let token = elsewhere.session().run("MISO.TOKEN").text();
    let directory = Scratch::new();
    let path = directory.join("data").display().to_string();
    let mut node = Node::with(&["--data-dir", &path]);
    let await_token = format!("MISO.AWAIT {token} 0");
    let waiting = [
        ("WAIT 1 0", "0"),
        ("WAITAOF 0 1 0", "[0, 0]"),
        (await_token.as_str(), "0"),
        ("DEBUG SLEEP 600", "OK"),
    ];
    let mut wires: Vec<_> = waiting
        .iter()
        .map(|(line, _)| {
            let mut wire = node.wire();
            wire.command("GCOUNTER.ADD o n 1");
            wire.read().expect("an answer");
            wire.command(line);
            wire.command("GCOUNTER.ADD o n 1");
            wire.command(line);
            wire
        })
        .collect();
    wait_until("all to wait", || node.info("blocked_clients") == "4");
    node.signal(libc::SIGTERM);
    let began = Instant::now();
    for ((line, answer), wire) in waiting.iter().zip(&mut wires) {
        let answers = [0; 3].map(|_| wire.read().expect("an answer").to_string());
        assert_eq!([&answers[0], &answers[2]], [answer, answer], "{line}");
        assert!(wire.read().is_err(), "{line}: more was answered than asked");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(node.wait_for_end().code(), Some(0), "{}", node.log());
    let node = Node::with(&["--data-dir", &path]);
    assert_eq!(node.session().run("GCOUNTER.GET o n").integer(), 8);
    drop(node);
}

/// An operator that asks twice does not wait: here for a peer that stands still and takes nothing.
#[test]
fn a_second_signal_ends_it_at_once() {
    let peer = Node::with(&["--node-name", "peer", "--node-timeout", "60s"]);
    let port = peer.session().run("CONFIG GET peer-port").field("peer-port").expect("a port");
    let seed = format!("127.0.0.1:{}", port.text());
    let mut node = Node::with(&["--node-name", "node", "--node-timeout", "60s", "--join", &seed]);
    peer.session().run("GCOUNTER.ADD o n 1");
    wait_until("they agree", || node.session().run("GCOUNTER.GET o n").integer() == 1);
    peer.signal(libc::SIGSTOP);
    node.session().run("GCOUNTER.ADD o n 1");
    node.signal(libc::SIGTERM);
    wait_until("the end to begin", || node.log().contains("stopping"));
    node.signal(libc::SIGTERM);
    let began = Instant::now();
    let status = node.wait_for_end();
    peer.signal(libc::SIGCONT);
    assert_eq!(status.code(), Some(1), "it ended by itself after {:?}", began.elapsed());
}

/// As when the terminal closes from which it was started: Redis goes on, too.
#[test]
fn a_hangup_ends_nothing() {
    let node = Node::start();
    let mut session = node.session();
    node.signal(libc::SIGHUP);
    session.script("GCOUNTER.ADD o n => 1\nPING => PONG");
    node.session().script("GCOUNTER.GET o n => 1");
}
