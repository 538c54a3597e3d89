//! Directories that cannot be used: one clear line, and the exit status 1.

use miso_tests::{Node, Output, Scratch, Tool};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[track_caller]
fn assert_line(refused: &Output, data: &Path, what: &str) {
    assert_eq!(refused.code, Some(1), "{}{}", refused.stdout, refused.stderr);
    assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    assert!(refused.stderr.starts_with("miso-server: data-dir: "), "{}", refused.stderr);
    assert!(refused.stderr.contains(&data.display().to_string()), "{}", refused.stderr);
    assert!(refused.stderr.contains(what), "{}", refused.stderr);
}

#[track_caller]
fn assert_refused(data: &Path, what: &str) {
    assert_line(&Node::refused(&["--data-dir", &data.display().to_string()]), data, what);
}

/// A directory with the data of a node that has ended.
fn used(directory: &Path) -> PathBuf {
    let data = directory.join("data");
    let mut node = Node::with(&["--data-dir", &data.display().to_string()]);
    node.session().script("GCOUNTER.ADD o n 5 => 5");
    node.signal(libc::SIGTERM);
    assert!(node.wait_for_end().success());
    data
}

#[test]
fn a_directory_in_use() {
    let directory = Scratch::new();
    let data = directory.join("data");
    let node = Node::with(&["--data-dir", &data.display().to_string()]);
    node.session().script("GCOUNTER.ADD o n => 1");
    assert_refused(&data, "in use by another process");
    // The node that was there first goes on.
    node.session().script("GCOUNTER.ADD o n => 2");
    drop(node);
}

#[test]
fn a_directory_of_others() {
    let directory = Scratch::new();
    fs::write(directory.join("thesis.tex"), "years of work").expect("writable");
    assert_refused(&directory, "holds `thesis.tex`, which is no file of a MISO data directory");
    // And nothing was left there.
    assert_eq!(fs::read_dir(&directory).expect("it is there").count(), 1);
    let directory = Scratch::new();
    let data = used(&directory);
    fs::write(data.join("dump.rdb"), "REDIS").expect("writable");
    assert_refused(&data, "holds `dump.rdb`");
    fs::remove_file(data.join("dump.rdb")).expect("it was left");
    let node = Node::with(&["--data-dir", &data.display().to_string()]);
    node.session().script("GCOUNTER.GET o n => 5");
}

#[test]
fn a_file_instead_of_a_directory() {
    let directory = Scratch::new();
    let file = directory.join("file");
    fs::write(&file, "text").expect("writable");
    assert_refused(&file, "expected a directory to write to, or none");
    assert_refused(&file.join("below"), "expected a directory to write to, or none");
    assert_eq!(fs::read(&file).expect("it was left"), b"text");
}

/// Rights do not stop root, so the directory is mounted read-only, in a mount namespace of its own.
#[test]
fn a_directory_that_cannot_be_written_to() {
    let directory = Scratch::new();
    let data = used(&directory);
    let empty = directory.join("empty");
    fs::create_dir(&empty).expect("a new directory");
    for path in [&data, &empty, &empty.join("new")] {
        let mount = if path.exists() { path } else { &empty };
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c"]);
        command.arg(
            r#"mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" || exit 77
            exec "$2" --port 0 --peer-port 0 --mdns no --data-dir "$3""#,
        );
        command.arg("sh").arg(mount).arg(Node::binary()).arg(path);
        let refused = Tool::spawn(&mut command).wait();
        assert_ne!(refused.code, Some(77), "no namespaces for tests: {}", refused.stderr);
        assert_line(&refused, path, "Read-only file system");
        assert!(refused.stderr.contains("writ"), "{}", refused.stderr);
    }
    // Nothing of it was changed.
    let node = Node::with(&["--data-dir", &data.display().to_string()]);
    node.session().script("GCOUNTER.GET o n => 5");
    drop(node);
}
