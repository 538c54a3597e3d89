//! Nodes of an earlier build are upgraded one after another while clients write, as docs/operation.md says.
//!
//! It takes two builds: `cargo xtask platforms upgrade` makes the earlier one and runs this.

use miso_tests::{Bounds, Cluster, DEADLINE, Ledger, Node, Tool, Wire, wait_until};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

/// Commands that each phase waits for.
const COMMANDS: u64 = 400;

/// Writes until the connection breaks, or it is told to stop.
fn write(ledger: &mut Ledger, mut wire: Wire, answered: &AtomicU64, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) && ledger.write(&mut wire, 1, answered).is_ok() {
        sleep(Duration::from_micros(500));
    }
}

/// Waits until that number of commands has been answered.
fn pass(answered: &AtomicU64, more: u64) {
    let (until, start) = (answered.load(Ordering::Relaxed) + more, Instant::now());
    while answered.load(Ordering::Relaxed) < until {
        assert!(start.elapsed() < DEADLINE, "nothing is answered");
        sleep(Duration::from_millis(1));
    }
}

#[test]
#[ignore = "needs an earlier build: cargo xtask platforms upgrade"]
fn nodes_are_upgraded_one_after_another_and_nothing_is_lost() {
    let before = std::env::var_os("MISO_SERVER_BEFORE").expect("the path of an earlier build");
    let before = PathBuf::from(before);
    let mut cluster = Cluster::of(before.clone(), 3, &[]);
    cluster.set_binary(Node::binary());
    let mut ledgers: Vec<Ledger> =
        (0..3).map(|node| Ledger::new(&format!("client-{node}"), node)).collect();
    let mut sessions = cluster.sessions();
    let mut all = Bounds { least: 0, most: 0 };
    for upgraded in 0..3 {
        let (answered, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        scope(|scope| {
            let (answered, stop) = (&answered, &stop);
            for (node, ledger) in ledgers.iter_mut().enumerate() {
                let wire = cluster.node(node).wire();
                scope.spawn(move || write(ledger, wire, answered, stop));
            }
            pass(answered, COMMANDS);
            cluster.terminate(upgraded);
            pass(answered, COMMANDS);
            cluster.restart(upgraded);
            pass(answered, COMMANDS);
            stop.store(true, Ordering::Relaxed);
        });
        sessions[upgraded] = cluster.session(upgraded);
        for (ledger, session) in ledgers.iter_mut().zip(&mut sessions) {
            // Fails if what was answered is not there.
            let Bounds { least, most } = ledger.settle(session);
            (all.least, all.most) = (all.least + least, all.most + most);
        }
    }
    // Of two versions of the protocol between nodes, each side goes on by itself until all are upgraded.
    cluster.wait_for_mesh();
    for (node, session) in sessions.iter_mut().enumerate() {
        for ledger in &ledgers {
            wait_until(&format!("node-{node} to hold what was written"), || ledger.is_on(session));
        }
    }
    let sum = miso_tests::agree(
        &format!("a sum within {all:?}"),
        &mut sessions,
        |session| session.run(Ledger::READ_SHARED).text(),
        |sum| sum.parse().is_ok_and(|sum| (all.least..=all.most).contains(&sum)),
    );
    eprintln!("the shared counter is {sum}, of {all:?}");
    the_way_back_is_a_backup(&before, &mut cluster);
}

/// An earlier build reads the files of a later one, or refuses them by the name of their version.
fn the_way_back_is_a_backup(before: &PathBuf, cluster: &mut Cluster) {
    cluster.terminate(0);
    let data = cluster.data(0);
    let mut command = Command::new(before);
    let output = Tool::spawn(command.arg("--check-data").arg(data)).wait();
    let said = format!("{}{}", output.stdout, output.stderr);
    assert!(output.code == Some(0) || said.contains("version"), "{said}");
    eprintln!("the earlier build says: {}", said.trim());
}
