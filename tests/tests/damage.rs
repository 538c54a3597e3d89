//! Damage on the disk: it is found, named, and mended as far as it can be; peers know the rest.

use miso_tests::{Cluster, Node, Output, Scratch, Session, Tool, all_say};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The files of a data directory that end so, oldest first.
fn files(data: &Path, end: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(data).expect("it is there").flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = entries
        .filter(|path| {
            path.extension().is_some_and(|extension| extension == end)
                && fs::metadata(path).is_ok_and(|data| data.len() > 40)
        })
        .collect();
    found.sort();
    found
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).expect("a plain name")
}

/// Flips a bit in the middle, so that there are good records on both sides.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).expect("writable");
}

/// Runs the server to look after a directory that no node uses.
fn look(option: &str, data: &Path) -> Output {
    Tool::spawn(Command::new(Node::binary()).arg(option).arg(data)).wait()
}

/// Asserts that a node refuses the directory in one line that says which file and what to do.
#[track_caller]
fn assert_refused(data: &Path, file: &Path) {
    let path = data.display().to_string();
    let refused = Node::refused(&["--data-dir", &path]);
    assert_eq!(refused.code, Some(1));
    assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    let told = format!("miso-server: data-dir: {path} {}, offset ", name(file));
    assert!(refused.stderr.starts_with(&told), "{}", refused.stderr);
    let advice = format!("run `miso-server --repair {path}`");
    assert!(refused.stderr.trim_end().ends_with(&advice), "{}", refused.stderr);
}

/// Damages one file of one of two nodes, each of which then wrote something; all of it is there in the end.
fn mended(damaged: impl Fn(&Path) -> PathBuf) {
    let mut cluster = Cluster::with_disks(2, &["--node-timeout", "1s"]);
    let mut s = cluster.sessions();
    let data = cluster.data(0);
    for n in 1..=100 {
        s[0].script(&format!("GCOUNTER.ADD o{n} n {n} => {n}\nORSET.ADD o s m{n} => 1"));
    }
    s[0].script("SAVE => OK");
    for n in 1..=100 {
        s[0].script(&format!("ORSET.ADD o s late{n} => 1\nMVREG.SET o r v{n} => OK"));
    }
    s[0].script("ORSET.REM o s m1 late1 => 2\nWAIT 1 30000 => 1");
    all_say(&mut s, "ORSET.CARD o s", "198");
    let before = cluster.node(0).info("incarnation");
    cluster.kill(0);

    let sound = look("--check-data", &data);
    assert_eq!(sound.code, Some(0), "{}{}", sound.stdout, sound.stderr);
    assert_eq!(sound.stdout.lines().last(), Some(&*format!("{} is sound", data.display())));
    assert!(sound.stderr.is_empty(), "{}", sound.stderr);
    for file in files(&data, "log").iter().chain(&files(&data, "miso")) {
        assert!(sound.stdout.contains(&format!("{}: ", name(file))), "{}", sound.stdout);
    }
    // A repair of what is sound does nothing.
    let idle = look("--repair", &data);
    assert_eq!((idle.code, idle.stdout), (sound.code, sound.stdout));

    let file = damaged(&data);
    damage(&file);
    assert_refused(&data, &file);
    let checked = look("--check-data", &data);
    assert_eq!(checked.code, Some(1), "{}", checked.stdout);
    assert!(checked.stdout.contains(&format!("{}, offset ", name(&file))), "{}", checked.stdout);
    let advice = format!("repair it with `miso-server --repair {}`\n", data.display());
    assert!(checked.stderr.ends_with(&advice), "{}", checked.stderr);
    // Looking changes nothing.
    assert_refused(&data, &file);

    let repaired = look("--repair", &data);
    assert_eq!(repaired.code, Some(0), "{}{}", repaired.stdout, repaired.stderr);
    let moved = format!("{}: moved to quarantine/", name(&file));
    assert!(repaired.stdout.contains(&moved), "{}", repaired.stdout);
    assert!(data.join("quarantine").join(name(&file)).is_file());
    assert_eq!(look("--check-data", &data).code, Some(0));

    // It comes up with what was good, and writes at once.
    cluster.isolate(0);
    cluster.restart(0);
    assert_ne!(cluster.node(0).info("incarnation"), before);
    s[0] = cluster.session(0);
    let good = s[0].run("ORSET.CARD o s").integer();
    assert!((90..=198).contains(&good), "{good}");
    s[0].script("GCOUNTER.ADD o1 n 1000 => *\nORSET.ADD o s new => 1");
    cluster.net().heal();
    all_say(&mut s, "ORSET.CARD o s", "199");
    all_say(&mut s, "GCOUNTER.GET o1 n", "1001");
    all_say(&mut s, "MVREG.GET o r", "[\"v100\"]");
    for n in 2..=100 {
        all_say(&mut s, &format!("GCOUNTER.GET o{n} n"), &n.to_string());
    }
}

#[test]
fn a_damaged_journal_is_mended_and_completed_by_a_peer() {
    mended(|data| files(data, "log").pop().expect("a segment"));
}

#[test]
fn a_damaged_checkpoint_is_mended_and_completed_by_a_peer() {
    mended(|data| files(data, "miso").pop().expect("a checkpoint"));
}

/// A node that is alone mends what it can: what is lost is lost, and nothing else.
#[test]
fn a_lone_node_keeps_all_but_the_damaged_record() {
    let directory = Scratch::new();
    let data = directory.join("data");
    let flags = ["--data-dir", &data.display().to_string()];
    let node = Node::with(&flags);
    for n in 0..50 {
        node.session().script(&format!("ORSET.ADD o s m{n} => 1"));
    }
    drop(node);
    let file = files(&data, "log").pop().expect("a segment");
    damage(&file);
    assert_refused(&data, &file);
    // With what is none of ours beside it, and stays in the way.
    fs::write(data.join("notes.txt"), "remember").expect("writable");
    let repaired = look("--repair", &data);
    assert_eq!(repaired.code, Some(1), "{}", repaired.stdout);
    assert!(repaired.stdout.contains("notes.txt: left where it is"), "{}", repaired.stdout);
    assert!(repaired.stderr.contains("notes.txt"), "{}", repaired.stderr);
    fs::remove_file(data.join("notes.txt")).expect("it was left");
    let node = Node::with(&flags);
    node.session().script("ORSET.CARD o s => 49");
    // Not while it is in use, either of them.
    for option in ["--check-data", "--repair"] {
        let busy = look(option, &data);
        assert_eq!((busy.code, busy.stdout.as_str()), (Some(1), ""), "{option}");
        assert!(busy.stderr.contains("in use by another process"), "{}", busy.stderr);
    }
    drop(node);
    let nothing = look("--check-data", &directory.join("nothing"));
    assert_eq!((nothing.code, nothing.stderr.lines().count()), (Some(1), 1), "{}", nothing.stderr);
}

/// What was saved of a damaged checkpoint is as good as any: a node that is new hears of all of it, and what is removed
/// then is removed everywhere.
#[test]
fn what_a_repair_has_saved_is_replicated_and_removed_as_any_other() {
    let mut cluster = Cluster::with_disks(1, &["--node-timeout", "1s"]);
    let mut session = cluster.session(0);
    for n in 1..=200 {
        session.script(&format!(
            "GCOUNTER.ADD o{n} n {n} => {n}\nORSET.ADD o{n} s a b => 2\nORMAP.SET o{n} m f v g w => 2"
        ));
    }
    // A record of a checkpoint is 256 KiB long, so there have to be some.
    for n in 0..30 {
        session.script(&format!("MVREG.SET big{n} r {} => OK", "x".repeat(100_000)));
    }
    session.script("SAVE => OK");
    let data = cluster.data(0);
    cluster.kill(0);
    let file = files(&data, "miso").pop().expect("a checkpoint");
    damage(&file);
    assert_refused(&data, &file);
    assert_eq!(look("--repair", &data).code, Some(0));
    cluster.restart(0);
    let objects = |session: &mut Session| {
        let mut found: Vec<String> = Vec::new();
        let mut cursor = "0".to_owned();
        loop {
            let page = session.run(&format!("MISO.SCAN {cursor} COUNT 1000")).items();
            found.extend(page[1].sorted());
            cursor = page[0].text();
            if cursor == "0" {
                found.sort();
                return found;
            }
        }
    };
    let saved = objects(&mut cluster.session(0));
    assert!(saved.len() > 100 && saved.len() < 230, "{} of 230 objects", saved.len());
    let new = cluster.add();
    let mut s = cluster.sessions();
    cluster.wait_for_mesh();
    miso_tests::agree(
        "all objects on both",
        &mut s,
        |session| objects(session).join(" "),
        |found| *found == saved.join(" "),
    );
    let small: Vec<&String> = saved.iter().filter(|name| name.starts_with('o')).collect();
    for object in &small {
        let n = &object[1..];
        all_say(&mut s, &format!("GCOUNTER.GET {object} n"), n);
    }
    // Removed by a node that never held it, and by one that lost some of it.
    for (turn, object) in small.iter().enumerate() {
        let by = &mut s[turn % 2];
        match turn % 4 {
            0 | 1 => by.script(&format!(
                "ORSET.REM {object} s a => 1\nORMAP.DEL {object} m f => 1\nMISO.DEL {object} n => 1"
            )),
            _ => by.script(&format!("ORSET.CLEAR {object} s => 2\nMISO.DEL {object} => 2")),
        }
    }
    // Both come up again with it, and removed it stays.
    for node in [0, new] {
        cluster.kill(node);
        cluster.restart(node);
    }
    let mut s = cluster.sessions();
    for (turn, object) in small.iter().enumerate() {
        let gone = turn % 4 > 1;
        let expected = if gone { "~[]" } else { "~[\"b\"]" };
        all_say(&mut s, &format!("ORSET.MEMBERS {object} s"), expected);
        all_say(&mut s, &format!("GCOUNTER.GET {object} n"), "0");
        all_say(&mut s, &format!("MISO.EXISTS {object}"), if gone { "0" } else { "1" });
    }
    s[1].script("MISO.SYNC => *");
    s[0].script("MISO.SYNC => *");
    all_say(&mut s, &format!("MISO.EXISTS {}", small[2]), "0");
}
