//! Backups: a checkpoint that is copied while the server runs is all there is to it, as docs/durability.md says.

use miso_tests::{Cluster, Ledger, Node, Scratch, all_say};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::scope;

/// The checkpoint of a data directory, of which there is one.
fn checkpoint(data: &Path) -> PathBuf {
    let entries = fs::read_dir(data).expect("it is there").flatten().map(|entry| entry.path());
    let mut found = entries.filter(|path| path.extension().is_some_and(|end| end == "miso"));
    found.next().expect("a checkpoint")
}

/// Makes a data directory of a backup.
fn restore(backup: &Path, data: &Path) {
    fs::create_dir_all(data).expect("a directory");
    fs::copy(backup, data.join(backup.file_name().expect("a name"))).expect("a copy");
}

/// What was written before the backup is in it, and what is written meanwhile at most once; restored onto another node,
/// it goes on from there.
#[test]
fn a_checkpoint_copied_under_load_starts_another_node() {
    let directory = Scratch::new();
    let (data, backup) = (directory.join("data"), directory.join("backup"));
    let node = Node::with(&["--data-dir", &data.display().to_string()]);
    let mut session = node.session();
    let (mut before, mut meanwhile) = (Ledger::new("before", 1), Ledger::new("meanwhile", 2));
    let answered = AtomicU64::new(0);
    before.write(&mut node.wire(), 500, &answered).expect("it runs");
    let (stop, start) = (AtomicBool::new(false), AtomicU64::new(0));
    let hits = |session: &mut miso_tests::Session| session.run("GCOUNTER.GET o hits").integer();
    let mut bounds = (0, 0);
    scope(|scope| {
        scope.spawn(|| {
            let (mut wire, mut session) = (node.wire(), node.session());
            while !stop.load(Ordering::Relaxed) {
                meanwhile.write(&mut wire, 20, &start).expect("it runs");
                session.script("GCOUNTER.ADD o hits => *");
            }
        });
        while start.load(Ordering::Relaxed) < 200 {
            std::thread::yield_now();
        }
        bounds.0 = hits(&mut session);
        session.script("SAVE => OK");
        fs::create_dir(&backup).expect("a new directory");
        let newest = checkpoint(&data);
        fs::copy(&newest, backup.join(newest.file_name().expect("a name"))).expect("a copy");
        bounds.1 = hits(&mut session);
        stop.store(true, Ordering::Relaxed);
    });
    assert!(bounds.0 > 0);
    let first = node.info("incarnation");
    drop((session, node));
    let data = directory.join("other");
    restore(&checkpoint(&backup), &data);
    let flags = ["--data-dir", &data.display().to_string()];
    let other = Node::with(&flags);
    let mut session = other.session();
    assert!(before.is_on(&mut session), "{}", before.read(&mut session));
    let restored = hits(&mut session);
    assert!((bounds.0..=bounds.1).contains(&restored), "{restored} of {bounds:?}");
    // It is a node of its own, and keeps what it writes.
    let own = other.info("incarnation");
    assert_ne!(own, first);
    session.script(&format!("GCOUNTER.ADD o hits => {}", restored + 1));
    drop((session, other));
    let other = Node::with(&flags);
    assert_eq!((hits(&mut other.session()), other.info("incarnation")), (restored + 1, own));
    assert!(before.is_on(&mut other.session()));
    drop(other);
}

/// Restored onto the node that it was made of, while a peer knows what came later: that comes back, deletions too, and
/// what both write then counts once.
#[test]
fn a_checkpoint_restored_onto_its_node_catches_up_with_a_peer() {
    let mut cluster = Cluster::with_disks(2, &["--node-timeout", "1s"]);
    let mut s = cluster.sessions();
    let backup = Scratch::new();
    s[0].script(
        "GCOUNTER.ADD o n 5 => 5\nORSET.ADD o s a b => 2\nEWFLAG.ENABLE o f => 1\nSAVE => OK",
    );
    let newest = checkpoint(&cluster.data(0));
    fs::copy(&newest, backup.join(newest.file_name().expect("a name"))).expect("a copy");
    s[0].script(
        "GCOUNTER.ADD o n 5 => 10\nORSET.REM o s a => 1\nORSET.ADD o s c => 1\nWAIT 1 30000 => 1",
    );
    s[1].script("GCOUNTER.ADD o n 100 => *\nEWFLAG.DISABLE o f => 1");
    all_say(&mut s, "GCOUNTER.GET o n", "110");
    let before = cluster.node(0).info("incarnation");
    cluster.terminate(0);
    fs::remove_dir_all(cluster.data(0)).expect("nobody uses it");
    restore(&checkpoint(&backup), &cluster.data(0));
    // It writes before it hears of any peer.
    cluster.isolate(0);
    cluster.restart(0);
    assert_ne!(cluster.node(0).info("incarnation"), before);
    s[0] = cluster.session(0);
    s[0].script("GCOUNTER.GET o n => 5\nORSET.MEMBERS o s => ~[\"a\", \"b\"]");
    s[0].script("GCOUNTER.ADD o n 1000 => 1005\nORSET.ADD o s d => 1");
    cluster.net().heal();
    all_say(&mut s, "GCOUNTER.GET o n", "1110");
    all_say(&mut s, "ORSET.MEMBERS o s", r#"~["b", "c", "d"]"#);
    all_say(&mut s, "EWFLAG.GET o f", "0");
}

/// A checkpoint is not changed by what comes later, and an old one is not mixed with a newer directory unnoticed.
#[test]
fn a_checkpoint_among_files_that_are_not_its_own_is_refused_or_harmless() {
    let directory = Scratch::new();
    let data = directory.join("data");
    let flags = ["--data-dir", &data.display().to_string()];
    let node = Node::with(&flags);
    let mut session = node.session();
    session.script("GCOUNTER.ADD o n => 1\nSAVE => OK");
    let old = directory.join(checkpoint(&data).file_name().expect("a name"));
    fs::copy(checkpoint(&data), &old).expect("a copy");
    session.script("GCOUNTER.ADD o n => 2\nSAVE => OK");
    drop((session, node));
    // The older one beside the newer: what it tells is part of what the newer tells.
    restore(&old, &data);
    let node = Node::with(&flags);
    node.session().script("GCOUNTER.GET o n => 2");
    drop(node);
    // Instead of the newer: the journal between them is missing.
    fs::remove_file(checkpoint(&data)).expect("it is there");
    restore(&old, &data);
    assert!(Node::launch(&flags).is_none(), "it starts with a hole in its journal");
}
