//! What the journal answers to tools: saving, INFO persistence, waiting for disks.

use miso_tests::{Cluster, Frame, Node, Resp, Scratch, Session, Tool, wait_until};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// A field of INFO persistence, as the redis crate reads it.
fn persistence(session: &mut Session, field: &str) -> String {
    let info: redis::InfoDict =
        redis::cmd("INFO").arg("persistence").query(session.redis()).expect("it answers");
    info.get::<String>(field).unwrap_or_else(|| panic!("no {field}"))
}

fn checkpoints(data: &str) -> Vec<std::ffi::OsString> {
    let entries = fs::read_dir(data).expect("it is there").flatten();
    let files = entries.map(|entry| entry.file_name());
    files.filter(|name| Path::new(name).extension().is_some_and(|end| end == "miso")).collect()
}

/// As a tool does that makes a backup: LASTSAVE, BGSAVE, until LASTSAVE is another and INFO says that it went well.
#[test]
fn a_tool_saves_in_the_background_and_waits_for_it() {
    let disk = Scratch::new();
    let data = disk.path("data");
    let node = Node::with(&["--data-dir", &data]);
    let port = node.port();
    let cli = |words: &[&str]| {
        let output = Tool::run("redis-cli", &[&["-p", &port], words].concat(), b"");
        assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""));
        output.stdout.trim_end().to_owned()
    };
    assert_eq!(cli(&["GCOUNTER.ADD", "o", "n"]), "1");
    assert!(checkpoints(&data).is_empty());
    let mut session = node.session();
    let mut known = Vec::new();
    for (command, answer) in [
        (&["BGSAVE"][..], "Background saving started"),
        (&["BGSAVE", "SCHEDULE"], "Background saving started"),
        (&["BGREWRITEAOF"], "Background append only file rewriting started"),
        (&["SAVE"], "OK"),
    ] {
        let before: u64 = cli(&["LASTSAVE"]).parse().expect("seconds");
        // Seconds are what LASTSAVE tells apart.
        wait_until("another second", || {
            session.run("TIME").items()[0].text().parse::<u64>().is_ok_and(|now| now > before)
        });
        session.script("GCOUNTER.ADD o n => *");
        assert_ne!(persistence(&mut session, "rdb_changes_since_last_save"), "0");
        assert_eq!(cli(command), answer);
        wait_until("LASTSAVE to tell of it", || {
            cli(&["LASTSAVE"]).parse::<u64>().is_ok_and(|now| now > before)
        });
        assert_eq!(persistence(&mut session, "rdb_last_bgsave_status"), "ok");
        assert_eq!(persistence(&mut session, "aof_last_bgrewrite_status"), "ok");
        assert_eq!(persistence(&mut session, "rdb_bgsave_in_progress"), "0");
        assert_eq!(persistence(&mut session, "aof_rewrite_in_progress"), "0");
        let last = persistence(&mut session, "rdb_last_save_time");
        assert!(last.parse::<u64>().is_ok_and(|last| last > before), "{last}");
        assert_eq!(persistence(&mut session, "rdb_changes_since_last_save"), "0");
        // One that is new, and no other.
        let now = checkpoints(&data);
        assert_eq!(now.len(), 1, "{now:?}");
        assert_ne!(now, known);
        known = now;
    }
    // Each change counts, also those that the journal has in one record.
    let mut wire = node.wire();
    wire.send(&b"GCOUNTER.ADD o n 1\r\n".repeat(16)).expect("a connection");
    (0..16).for_each(|_| _ = wire.read().expect("a reply"));
    assert_eq!(persistence(&mut session, "rdb_changes_since_last_save"), "16");
    session
        .script("BGSAVE NONSENSE => -ERR syntax error\nBGSAVE SCHEDULE more => -ERR syntax error");
}

/// Every field that Redis 7 has here while it appends to a file, and values of the same kind.
#[test]
fn info_persistence_has_what_tools_read() {
    let directory = Scratch::new();
    let redis = Node::redis(&["--appendonly", "yes", "--dir", &directory.display().to_string()]);
    let disk = Scratch::new();
    let data = disk.path("data");
    let node = Node::with(&["--data-dir", &data, "--appendfsync", "always"]);
    let fields = |node: &Node| -> Vec<(String, String)> {
        let text = node.session().run("INFO persistence").text();
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    node.session().script("GCOUNTER.ADD o n => 1");
    let ours = fields(&node);
    let missing: Vec<String> = fields(&redis)
        .into_iter()
        .filter(|(name, value)| {
            let number = |text: &str| text.parse::<i64>().is_ok();
            !ours.iter().any(|(other, own)| other == name && number(own) == number(value))
        })
        .map(|(name, _)| name)
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    let mut session = node.session();
    for (field, value) in [
        ("loading", "0"),
        ("aof_enabled", "1"),
        ("aof_last_write_status", "ok"),
        ("journal_status", "ok"),
        ("journal_policy", "always"),
        ("aof_pending_bio_fsync", "0"),
    ] {
        assert_eq!(persistence(&mut session, field), value, "{field}");
    }
    assert!(persistence(&mut session, "aof_current_size").parse::<u64>().is_ok_and(|n| n > 0));
    session.script("CONFIG GET appendonly => [\"appendonly\", \"yes\"]");
    let memory = Node::start();
    let mut session = memory.session();
    assert_eq!(persistence(&mut session, "aof_enabled"), "0");
    session.script("CONFIG GET appendonly => [\"appendonly\", \"no\"]\nSAVE => -ERR this node keeps nothing on disk...\nBGSAVE => -ERR this node keeps nothing on disk...\nBGREWRITEAOF => -ERR this node keeps nothing on disk...");
}

/// Arity, ranges, and what a node says that has no disk.
#[test]
fn waitaof_checks_what_it_is_asked() {
    let node = Node::start();
    for resp in Resp::BOTH {
        let mut session = node.session_in(resp);
        session.script(
            r"
            WAITAOF 0 0 => -ERR wrong number of arguments for 'waitaof' command
            WAITAOF 0 0 0 0 => -ERR wrong number of arguments for 'waitaof' command
            WAITAOF 2 0 0 => -ERR value is out of range, value must between 0 and 1
            WAITAOF x 0 0 => -ERR value is not an integer or out of range
            WAITAOF 0 -1 0 => -ERR value is out of range, must be positive
            WAITAOF 0 0 -1 => -ERR timeout is negative
            WAITAOF 0 0 x => -ERR timeout is not an integer or out of range
            WAITAOF 1 0 0 => -ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.
            WAITAOF 0 0 0 => [0, 0]
            GCOUNTER.ADD o n => *
            WAITAOF 0 0 0 => [0, 0]
            WAITAOF 0 1 20 => [0, 0]
            ",
        );
    }
}

/// Here: at once under `always`, with the next second's fsync under `everysec`, and under `no` only when a checkpoint
/// is made.
#[test]
fn waitaof_waits_for_the_own_disk() {
    let disk = Scratch::new();
    for (resp, data) in Resp::BOTH.into_iter().zip(["resp2", "resp3"]) {
        let always = Node::with(&["--data-dir", &disk.path(data), "--appendfsync", "always"]);
        always.session_in(resp).script(
            "GCOUNTER.ADD o n => 1\nWAITAOF 1 0 0 => [1, 0]\nWAITAOF 0 0 0 => [1, 0]\nWAITAOF 1 1 20 => [1, 0]",
        );
    }
    let second = Node::with(&["--data-dir", &disk.path("everysec"), "--appendfsync", "everysec"]);
    second.session().script("GCOUNTER.ADD o n => 1\nWAITAOF 1 0 0 => [1, 0]");
    let never = Node::with(&["--data-dir", &disk.path("no"), "--appendfsync", "no"]);
    let mut session = never.session();
    session.script("GCOUNTER.ADD o n => 1");
    let start = Instant::now();
    session.script("WAITAOF 1 0 100 => [0, 0]");
    assert!(start.elapsed() >= Duration::from_millis(100), "{:?}", start.elapsed());
    // In a transaction no client waits.
    session.script(
        "MULTI => OK\nGCOUNTER.ADD o n => QUEUED\nWAITAOF 1 0 0 => QUEUED\nEXEC => [2, [0, 0]]",
    );
    session.script("SAVE => OK\nWAITAOF 1 0 100 => [1, 0]");
    // A client that waits can be told to give up.
    session.script("GCOUNTER.ADD o n => 3");
    let id = session.run("CLIENT ID").integer();
    let waiter = std::thread::spawn(move || session.run("WAITAOF 1 0 0"));
    let mut admin = never.session();
    wait_until("it to wait", || admin.run(&format!("CLIENT UNBLOCK {id}")) == Frame::Integer(1));
    assert_eq!(waiter.join().expect("it ends").to_string(), "[0, 0]");
}

/// On peers' disks: only those count that have one, and MISO.NODES says up to which event.
#[test]
fn waitaof_waits_for_peers_disks() {
    for resp in Resp::BOTH {
        let cluster = Cluster::with_disks(2, &["--appendfsync", "everysec"]);
        let mut sessions = cluster.sessions();
        let mut session = cluster.node(0).session_in(resp);
        session
            .script("GCOUNTER.ADD o n => 1\nWAITAOF 1 1 30000 => [1, 1]\nWAITAOF 0 1 0 => [1, 1]");
        let view = |of: usize| cluster.view(of, 0).expect("they know each other");
        let number = |field: &str| {
            view(1).field(field).and_then(|field| field.field("default")).map(|n| n.integer())
        };
        let (acknowledged, durable) = (number("acknowledged"), number("durable"));
        assert!(acknowledged.is_some_and(|n| n > 0), "{}", view(1));
        assert_eq!(acknowledged, durable, "{}", view(1));
        // What stands still takes nothing to its disk, and is not counted.
        cluster.pause(1);
        session.script("GCOUNTER.ADD o n => 2");
        // Its own disk may be there just then.
        let reached = session.run("WAITAOF 1 1 50").items()[1].clone();
        assert_eq!(reached, Frame::Integer(0));
        assert_eq!((number("acknowledged"), number("durable")), (acknowledged, durable));
        cluster.resume(1);
        session.script("WAITAOF 1 1 30000 => [1, 1]");
        assert!(number("durable") > durable, "{}", view(1));
        sessions[1].script("GCOUNTER.GET o n => 2");
    }
    // Peers without a disk acknowledge, and that is all.
    let cluster = Cluster::start(2);
    let mut s = cluster.sessions();
    s[0].script("GCOUNTER.ADD o n => 1\nWAIT 1 30000 => 1\nWAITAOF 0 1 50 => [0, 0]");
    let view = cluster.view(1, 0).expect("they know each other");
    let of = |field: &str| view.field(field).and_then(|field| field.field("default"));
    assert_eq!(of("durable"), Some(Frame::Integer(0)), "{view}");
    assert!(of("acknowledged").is_some_and(|n| n.integer() > 0), "{view}");
}
