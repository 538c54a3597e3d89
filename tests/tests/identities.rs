//! Which writer a node is after something happened to its disk: it goes on as the same only if nothing is lost that it ever
//! showed; in every other case what it writes next counts beside what peers know of it, and neither is lost nor doubled.

use miso_tests::{Cluster, Frame, Node, Scratch, Session, all_say, wait_until};
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

/// Copies a directory of files.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("it is there").flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
}

/// The newest segment that holds a record.
fn newest_segment(data: &Path) -> PathBuf {
    let entries = fs::read_dir(data).expect("it is there").flatten().map(|entry| entry.path());
    let mut segments: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "log")).collect();
    segments.sort();
    let length = |path: &PathBuf| fs::metadata(path).expect("it is there").len();
    // Heads of segments are 40 bytes.
    segments.into_iter().rfind(|path| length(path) > 40).expect("a segment with records")
}

fn truncate(path: &Path, length: u64) {
    let file = OpenOptions::new().write(true).open(path).expect("writable");
    file.set_len(length).expect("a shorter file");
}

/// Two nodes, of which the first counts to 10, and the second knows it.
fn ten() -> (Cluster, Vec<Session>) {
    let cluster = Cluster::with_disks(2, &["--node-timeout", "1s"]);
    let mut s = cluster.sessions();
    for n in 1..=10 {
        s[0].script(&format!("GCOUNTER.ADD o n => {n}\nORSET.ADD o s m{n} => 1"));
    }
    s[0].script("WAIT 1 30000 => 1");
    all_say(&mut s, "GCOUNTER.GET o n", "10");
    (cluster, s)
}

/// Starts the first node after something happened to its data. Before it hears of any peer, it finds `found`, and adds 5
/// and a member; once it is among the others again, all of that counts, and the 10 as well.
fn goes_on(mut cluster: Cluster, mut s: Vec<Session>, before: &str, found: i64) -> String {
    cluster.isolate(0);
    cluster.restart(0);
    let log = cluster.node(0).log();
    assert_ne!(cluster.node(0).info("incarnation"), before, "{log}");
    s[0] = cluster.session(0);
    s[0].script(&format!(
        "GCOUNTER.GET o n => {found}\nGCOUNTER.ADD o n 5 => {}\nORSET.ADD o s again => 1\nORSET.REM o s m1 => *",
        found + 5
    ));
    let knew = s[0].run("ORSET.ISMEMBER o s m2");
    cluster.net().heal();
    all_say(&mut s, "GCOUNTER.GET o n", "15");
    // m1 was removed by a node that knew of it, and only then.
    all_say(&mut s, "ORSET.CARD o s", if knew == Frame::Integer(1) { "10" } else { "11" });
    s[1].script("GCOUNTER.ADD o n => 16\nMISO.DEL o s => 1");
    all_say(&mut s, "GCOUNTER.GET o n", "16");
    all_say(&mut s, "MISO.EXISTS o s", "0");
    // And that is its identity from now on.
    let now = cluster.node(0).info("incarnation");
    cluster.kill(0);
    cluster.restart(0);
    assert_eq!(cluster.node(0).info("incarnation"), now);
    log
}

/// A torn tail is cut and told, and what was in it comes back from the peer.
#[test]
fn a_cut_tail_is_told_and_makes_a_new_incarnation() {
    let (mut cluster, s) = ten();
    let before = cluster.node(0).info("incarnation");
    let segment = newest_segment(&cluster.data(0));
    let whole = fs::metadata(&segment).expect("it is there").len();
    // One more, whose record is known by its length.
    let mut session = cluster.session(0);
    session.script("GCOUNTER.ADD o m => 1\nWAIT 1 30000 => 1");
    cluster.kill(0);
    let longer = fs::metadata(&segment).expect("it is there").len();
    // Within the function's name: zeros at the end would count as space written ahead.
    assert!(longer > whole + 20, "{whole} {longer}");
    truncate(&segment, whole + 20);
    let log = goes_on(cluster, s, &before, 10);
    let name = segment.file_name().expect("a name").to_str().expect("plain");
    assert!(log.contains(&format!("{name}: cut at offset {whole}, 20 bytes dropped")), "{log}");
    assert!(log.contains("new incarnation: the journal's last 20 bytes were cut"), "{log}");
}

/// Whole records that are cut off leave no trace but the peer's knowledge, as a machine does that is set back to a snapshot
/// of its disk: then the node ends, and comes back as another writer.
#[test]
fn a_peer_that_knows_more_of_a_node_makes_it_a_new_incarnation() {
    let disks = Scratch::new();
    let data = disks.join("one").display().to_string();
    let peer = Node::with(&["--node-name", "two"]);
    let port = peer.session().run("CONFIG GET peer-port").field("peer-port").expect("a port");
    let seed = format!("127.0.0.1:{}", port.text());
    let flags = ["--node-name", "one", "--data-dir", &data, "--join", &seed];
    let mut node = Node::with(&flags);
    peer.session().script("MISO.EXISTS o => 0");
    node.session().script("GCOUNTER.ADD o n 5 => 5\nORSET.ADD o s a => 1");
    let segment = newest_segment(Path::new(&data));
    let then = fs::metadata(&segment).expect("it is there").len();
    node.session().script("GCOUNTER.ADD o n 5 => 10\nORSET.ADD o s b => 1\nWAIT 1 30000 => 1");
    wait_until("the peer to know", || peer.session().run("GCOUNTER.GET o n").integer() == 10);
    let before = node.info("incarnation");
    node.signal(libc::SIGKILL);
    node.wait_for_end();
    truncate(&segment, then);
    // It may not answer a single PING before it ends.
    if let Some(mut node) = Node::launch(&flags) {
        let status = node.wait_for_end();
        assert_eq!(status.code(), Some(1));
        assert!(node.log().contains("its past was lost"), "{}", node.log());
    }
    let node = Node::with(&flags);
    assert_ne!(node.info("incarnation"), before);
    node.session().script("GCOUNTER.ADD o n 3 => *\nORSET.ADD o s c => 1");
    let mut both = [node.session(), peer.session()];
    all_say(&mut both, "GCOUNTER.GET o n", "13");
    all_say(&mut both, "ORSET.MEMBERS o s", r#"~["a", "b", "c"]"#);
    drop(node);
}

#[test]
fn an_emptied_directory_makes_a_new_incarnation() {
    let (mut cluster, s) = ten();
    let before = cluster.node(0).info("incarnation");
    cluster.terminate(0);
    fs::remove_dir_all(cluster.data(0)).expect("nobody uses it");
    goes_on(cluster, s, &before, 0);
}

/// Yesterday's directory put back in its place, while the peer knows today's.
#[test]
fn a_restored_directory_makes_a_new_incarnation() {
    for orderly in [false, true] {
        let mut cluster = Cluster::with_disks(2, &["--node-timeout", "1s"]);
        let mut s = cluster.sessions();
        s[0].script("GCOUNTER.ADD o n 4 => 4\nORSET.ADD o s m1 m2 => 2");
        if orderly {
            cluster.terminate(0)
        } else {
            cluster.kill(0)
        }
        let backup = Scratch::new();
        let old = backup.join("old");
        copy(&cluster.data(0), &old);
        cluster.restart(0);
        cluster.wait_for_mesh();
        s[0] = cluster.session(0);
        s[0].script("GCOUNTER.ADD o n 6 => 10");
        for n in 3..=10 {
            s[0].script(&format!("ORSET.ADD o s m{n} => 1"));
        }
        s[0].script("WAIT 1 30000 => 1");
        all_say(&mut s, "ORSET.CARD o s", "10");
        let before = cluster.node(0).info("incarnation");
        if orderly {
            cluster.terminate(0)
        } else {
            cluster.kill(0)
        }
        fs::remove_dir_all(cluster.data(0)).expect("nobody uses it");
        copy(&old, &cluster.data(0));
        let log = goes_on(cluster, s, &before, 4);
        assert!(log.contains("is a copy, or was restored from one"), "{log}");
    }
}

/// The identity stays over a crash and an orderly end, and not in a copy.
#[test]
fn an_identity_stays_where_it_was_made() {
    let directory = Scratch::new();
    let (here, there) = (directory.join("here"), directory.join("copy"));
    let at = |path: &Path| Node::with(&["--data-dir", path.to_str().expect("plain")]);
    let mut node = at(&here);
    node.session().run("GCOUNTER.ADD o n 1");
    let first = node.info("incarnation");
    node.signal(libc::SIGKILL);
    node.wait_for_end();
    let mut node = at(&here);
    assert_eq!(node.info("incarnation"), first);
    node.signal(libc::SIGTERM);
    assert!(node.wait_for_end().success());
    copy(&here, &there);
    let node = at(&here);
    assert_eq!(node.info("incarnation"), first);
    let twin = at(&there);
    assert_ne!(twin.info("incarnation"), first);
    assert_eq!(twin.session().run("GCOUNTER.GET o n"), Frame::Integer(1));
    drop((node, twin));
}

/// Two nodes that are alive and have one identity: the younger does not go on. The lock keeps them apart on one machine,
/// so here it was removed; a disk that two machines share may know no locks.
#[test]
fn the_younger_of_two_nodes_with_one_identity_ends() {
    let disks = Scratch::new();
    let data = disks.join("data").display().to_string();
    let older = Node::with(&["--node-name", "older", "--data-dir", &data]);
    older.session().script("GCOUNTER.ADD o n 5 => 5");
    fs::remove_file(disks.join("data/lock")).expect("a lock");
    let port = older.session().run("CONFIG GET peer-port").field("peer-port").expect("a port");
    let seed = format!("127.0.0.1:{}", port.text());
    let flags = ["--node-name", "younger", "--data-dir", &data, "--join", &seed];
    // It may not answer a single PING before it ends.
    if let Some(mut younger) = Node::launch(&flags) {
        assert_eq!(younger.wait_for_end().code(), Some(1), "{}", younger.log());
        assert!(younger.log().contains("this node must end"), "{}", younger.log());
    }
    older.session().script("GCOUNTER.ADD o n 5 => 10");
    drop(older);
}
