//! kill -9 at random points of a load, also in the midst of checkpoints and of starts: what was answered is there
//! afterwards, once; of what was not answered, the first few commands of each connection and nothing else.
//!
//! `KILL_ROUNDS=200 cargo test -p miso-tests --test kills -- --nocapture` plays 200 rounds of each test, and
//! says what it met.

use miso_tests::{Bounds, Cluster, DEADLINE, Ledger, Node, Rng, Scratch, Tool, Wire, wait_until};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{ScopedJoinHandle, scope, yield_now};
use std::time::{Duration, Instant};

/// How often a node is killed in each test.
fn rounds(default: u64) -> u64 {
    std::env::var("KILL_ROUNDS").map_or(default, |rounds| rounds.parse().expect("a number"))
}

/// What the kills met.
#[derive(Debug, Default)]
struct Met {
    answered: u64,
    /// Commands that were sent and not answered when the node died.
    open: usize,
    /// Kills that left half a checkpoint.
    checkpoints: u64,
    /// Kills of a node that was starting.
    starts: u64,
    /// Kills in the midst of a write to the journal, of which the beginning was left.
    torn: u64,
}

impl Met {
    /// A node that lost nothing goes on as the same writer. It cannot tell a record that is torn from one that was answered,
    /// though none of those is torn: then it goes on as another writer.
    #[track_caller]
    fn identity(&mut self, node: &Node, before: &str) {
        let renewed = node.info("incarnation") != before;
        assert_eq!(renewed, node.log().contains("bytes were cut"), "{}", node.log());
        self.torn += u64::from(renewed);
    }
}

/// Clients of one node: one sends many commands at once, the others one at a time.
fn ledgers(name: &str, seed: u64) -> Vec<Ledger> {
    (0..4).map(|client| Ledger::new(&format!("{name}-{client}"), seed + client)).collect()
}

/// What all clients share.
struct Load {
    answered: AtomicU64,
    stop: AtomicBool,
    /// How long a client rests at most between its commands, in microseconds.
    rest: u64,
}

impl Load {
    fn new(rest: u64) -> Load {
        Load { answered: AtomicU64::new(0), stop: AtomicBool::new(false), rest }
    }
}

/// Writes until the connection breaks, or it is told to stop.
fn write(ledger: &mut Ledger, mut wire: Wire, depth: u64, load: &Load) {
    let Load { answered, stop, rest } = load;
    let mut rng = Rng::new(depth);
    while !stop.load(Ordering::Relaxed) {
        let depth = 1 + rng.below(depth);
        if ledger.write(&mut wire, depth as usize, answered).is_err() {
            return;
        }
        // A load that takes all of the machine would grow with the time that a start takes, and that with the load.
        std::thread::sleep(Duration::from_micros(rng.below(*rest)));
    }
}

/// Has each client write, from a thread of its own.
fn start<'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    node: &Node,
    ledgers: &'scope mut [Ledger],
    load: &'scope Load,
) -> Vec<ScopedJoinHandle<'scope, ()>> {
    let writers = ledgers.iter_mut().enumerate().map(|(client, ledger)| {
        let (wire, depth) = (node.wire(), if client == 0 { 60 } else { 1 });
        scope.spawn(move || write(ledger, wire, depth, load))
    });
    writers.collect()
}

/// Waits until a number of commands have been answered: finer than milliseconds, since those would be few points to die at.
fn pass(answered: &AtomicU64, more: u64) {
    let (until, start) = (answered.load(Ordering::Relaxed) + more, Instant::now());
    while answered.load(Ordering::Relaxed) < until {
        assert!(start.elapsed() < DEADLINE, "nothing is answered");
        yield_now();
    }
}

/// Lets a load run for a random while, in which a checkpoint may begin.
fn run(rng: &mut Rng, node: &Node, data: &Path, answered: &AtomicU64) {
    pass(answered, rng.below(300));
    let save = ["", "", "BGSAVE", "SAVE", "BGREWRITEAOF"][rng.below(5) as usize];
    if save.is_empty() {
        return;
    }
    // Its answer comes too late to be of interest.
    node.wire().command(save);
    if rng.below(2) == 0 {
        pass(answered, rng.below(60));
    } else {
        // To die in its midst: it takes milliseconds, which a number of commands seldom meets.
        let until = answered.load(Ordering::Relaxed) + 300;
        while answered.load(Ordering::Relaxed) < until && !unfinished_checkpoint(data) {
            yield_now();
        }
    }
}

fn unfinished_checkpoint(data: &Path) -> bool {
    let mut entries = std::fs::read_dir(data).expect("it is there").flatten();
    entries.any(|entry| entry.path().extension().is_some_and(|extension| extension == "tmp"))
}

/// Starts a node and kills it before it is of any use.
fn die_while_starting(data: &str, sync: &str, rng: &mut Rng) {
    let mut command = Command::new(Node::binary());
    command.args(["--port", "0", "--peer-port", "none", "--data-dir", data, "--appendfsync", sync]);
    let tool = Tool::spawn(&mut command);
    // A point to die at, not a wait for anything.
    std::thread::sleep(Duration::from_micros(rng.below(20_000)));
    let output = tool.stop();
    assert_eq!(output.code, None, "it ended by itself: {}{}", output.stdout, output.stderr);
}

fn one_node(sync: &str, seed: u64) {
    let directory = Scratch::new();
    let data = directory.join("data");
    let path = data.to_str().expect("a plain path");
    let (mut rng, mut ledgers, mut met) = (Rng::new(seed), ledgers("client", seed), Met::default());
    let (mut shared, mut incarnation) = (0, None::<String>);
    let rounds = rounds(75);
    for round in 0..=rounds {
        if round % 4 == 3 {
            die_while_starting(path, sync, &mut rng);
            met.starts += 1;
        }
        let mut node = Node::with(&["--data-dir", path, "--appendfsync", sync]);
        // Half of a long write may be on the disk when the node dies: that is cut, and no client was answered.
        let who = node.info("incarnation");
        let before = incarnation.replace(who.clone()).unwrap_or(who.clone());
        let cut = node.log().contains("bytes were cut");
        assert!(before == who || cut, "nothing was lost in round {round}: {}", node.log());
        met.torn += u64::from(before != who);
        let mut session = node.session();
        let mut bounds = Bounds { least: shared, most: shared };
        for ledger in &mut ledgers {
            met.open += ledger.open();
            let Bounds { least, most } = ledger.settle(&mut session);
            (bounds.least, bounds.most) = (bounds.least + least, bounds.most + most);
        }
        shared = session.run(Ledger::READ_SHARED).integer() as u64;
        assert!((bounds.least..=bounds.most).contains(&shared), "{shared}, of {bounds:?}");
        if round == rounds {
            break;
        }
        let load = Load::new(200);
        scope(|scope| {
            start(scope, &node, &mut ledgers, &load);
            run(&mut rng, &node, &data, &load.answered);
            node.signal(libc::SIGKILL);
        });
        node.wait_for_end();
        met.answered += load.answered.into_inner();
        met.checkpoints += u64::from(unfinished_checkpoint(&data));
    }
    eprintln!("{sync}, {rounds} rounds: {met:?}");
}

#[test]
fn one_node_keeps_what_it_answered_under_always() {
    one_node("always", 1);
}

#[test]
fn one_node_keeps_what_it_answered_under_everysec() {
    one_node("everysec", 2);
}

/// Any of three nodes is killed and comes back, while the others go on: all come to hold the same, and exactly what was
/// answered.
fn three_nodes(sync: &str, seed: u64) {
    let mut cluster = Cluster::with_disks(3, &["--appendfsync", sync]);
    let (mut rng, mut met) = (Rng::new(seed), Met::default());
    let mut ledgers: Vec<Vec<Ledger>> =
        (0..3).map(|node| ledgers(&format!("node-{node}"), seed + 10 * node)).collect();
    let mut sessions = cluster.sessions();
    let mut shared = 0;
    let rounds = rounds(30);
    for round in 0..rounds {
        let victim = rng.below(3) as usize;
        let who = cluster.node(victim).info("incarnation");
        let load = Load::new(2_000);
        let answered = &load.answered;
        scope(|scope| {
            let mut writers: Vec<_> = ledgers
                .iter_mut()
                .enumerate()
                .map(|(node, ledgers)| start(scope, cluster.node(node), ledgers, &load))
                .collect();
            run(&mut rng, cluster.node(victim), &cluster.data(victim), answered);
            cluster.kill(victim);
            met.checkpoints += u64::from(unfinished_checkpoint(&cluster.data(victim)));
            // All that its clients may add is known before it comes back.
            for writer in writers.swap_remove(victim) {
                writer.join().expect("a writer has no complaints");
            }
            pass(answered, rng.below(300));
            cluster.restart(victim);
            pass(answered, rng.below(300));
            load.stop.store(true, Ordering::Relaxed);
        });
        met.answered += load.answered.into_inner();
        met.identity(cluster.node(victim), &who);
        sessions[victim] = cluster.session(victim);
        let mut bounds = Bounds { least: shared, most: shared };
        for (ledgers, session) in ledgers.iter_mut().zip(&mut sessions) {
            for ledger in ledgers {
                met.open += ledger.open();
                let Bounds { least, most } = ledger.settle(session);
                (bounds.least, bounds.most) = (bounds.least + least, bounds.most + most);
            }
        }
        // Every client's object is on every node as it was where it was written.
        for (node, session) in sessions.iter_mut().enumerate() {
            for ledger in ledgers.iter().flatten() {
                let what = format!("node-{node} to hold what was written");
                if !ledger.is_on(session) {
                    wait_until(&what, || ledger.is_on(session));
                }
            }
        }
        shared = miso_tests::agree(
            &format!("a sum within {bounds:?}"),
            &mut sessions,
            |session| session.run(Ledger::READ_SHARED).text(),
            |sum| sum.parse().is_ok_and(|sum| (bounds.least..=bounds.most).contains(&sum)),
        )
        .parse()
        .expect("a number");
        if round % 10 == 9 {
            // Else each start would take longer than the one before.
            for session in &mut sessions {
                session.script("SAVE => OK");
            }
        }
    }
    eprintln!("three nodes, {sync}, {rounds} rounds: {met:?}");
}

#[test]
fn three_nodes_keep_what_they_answered_under_always() {
    three_nodes("always", 3);
}

#[test]
fn three_nodes_keep_what_they_answered_under_everysec() {
    three_nodes("everysec", 4);
}
