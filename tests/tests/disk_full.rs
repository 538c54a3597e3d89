//! A disk without room: writes are refused in Redis's words, reads go on, nothing that was answered is lost, and writes
//! work again once there is room, without a restart. The disk is a small file system in memory, in a mount namespace
//! that outlives the server.

use miso_tests::{Frame, Ledger, Node, Scratch, Session, Tool, Wire, wait_until};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::AtomicU64;

/// A small disk, as long as this lives.
struct SmallDisk {
    keeper: Tool,
    /// Where it is for those within.
    within: Scratch,
}

impl SmallDisk {
    fn new(size: &str) -> SmallDisk {
        let within = Scratch::new();
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c"]);
        command.arg(r#"mount -t tmpfs -o "size=$1" miso "$2" && echo mounted && exec sleep 600"#);
        command.arg("sh").arg(size).arg(&*within);
        let keeper = Tool::spawn(&mut command);
        wait_until("the file system, for which the tests need namespaces", || {
            keeper.stdout().contains("mounted")
        });
        SmallDisk { keeper, within }
    }

    /// What a command line begins with that is to see it.
    fn enter(&self) -> Vec<String> {
        let pid = self.keeper.pid().to_string();
        let words = ["nsenter", "--preserve-credentials", "-U", "-m", "-t", &pid];
        words.map(str::to_owned).into()
    }

    fn flags(&self, sync: &str) -> Vec<String> {
        let data = self.within.join("data").display().to_string();
        ["--data-dir", &data, "--appendfsync", sync].map(str::to_owned).into()
    }

    fn start(&self, sync: &str) -> Node {
        let (enter, flags) = (self.enter(), self.flags(sync));
        let enter: Vec<&str> = enter.iter().map(String::as_str).collect();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        Node::inside(&enter, &flags)
    }

    /// A file beside the data, as those without see it.
    fn ballast(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.keeper.pid()));
        root.join(self.within.strip_prefix("/").expect("an absolute path")).join("ballast")
    }

    /// Takes all room but the given number of bytes.
    fn fill(&self, but: usize) {
        let mut file = File::create(self.ballast()).expect("it is writable");
        let chunk = [1; 4096];
        let mut length = 0;
        while file.write_all(&chunk).is_ok() {
            length += chunk.len();
        }
        file.set_len(length.saturating_sub(but) as u64).expect("shorter");
    }

    fn make_room(&self) {
        fs::remove_file(self.ballast()).expect("it is there");
    }
}

/// Writes values until one is refused; how often the connection broke instead.
fn write_until_refused(node: &Node, round: usize) -> (String, usize) {
    let value = "x".repeat(4_000);
    let (mut wire, mut broke) = (node.wire(), 0);
    for n in 0..10_000 {
        // All of them are kept: a checkpoint would be no shorter than the log.
        wire.command(&format!("MVREG.SET filler r{round}-{n} {value}"));
        match wire.read() {
            Ok(Frame::Error(error)) => return (error, broke),
            Ok(_) => {}
            Err(_) => {
                broke += 1;
                wire = node.wire();
            }
        }
    }
    panic!("the disk is never full");
}

fn field(node: &Node, field: &str, begins: &str) {
    let value = node.info(field);
    assert!(value.starts_with(begins), "{field}:{value}");
}

/// Writes until it works, and keeps books of it.
fn write_again(ledger: &mut Ledger, node: &Node) {
    let answered = AtomicU64::new(0);
    wait_until("writes to work again", || match ledger.write(&mut node.wire(), 1, &answered) {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
            false
        }
    });
    ledger.write(&mut node.wire(), 100, &answered).expect("there is room");
}

fn full(sync: &str) {
    let disk = SmallDisk::new("8m");
    let mut node = disk.start(sync);
    let (mut ledger, answered) = (Ledger::new("client", 5), AtomicU64::new(0));
    let mut session: Session = node.session();
    let incarnation = node.info("incarnation");
    for round in 0..2 {
        let mut wire: Wire = node.wire();
        ledger.write(&mut wire, 200, &answered).expect("there is room");
        disk.fill(1_000_000);
        let (refusal, broke) = write_until_refused(&node, round);
        assert!(refusal.starts_with("MISCONF Errors writing to the AOF file: "), "{refusal}");
        assert!(refusal.contains("No space left on device"), "{refusal}");
        // Those that were let in found room in the reserve; later ones are refused before they are done.
        assert_eq!(broke, 0, "connections broke");
        let refused = ledger.write(&mut wire, 20, &answered).expect_err("there is no room");
        assert_eq!(refused.kind(), ErrorKind::StorageFull, "{refused}");
        // The connection is served on, and reads are.
        wire.assert_alive();
        ledger.settle(&mut session);
        session.script(
            "MULTI => OK\nGCOUNTER.ADD o n => -MISCONF...\nEXEC => -EXECABORT...\nPING => PONG",
        );
        field(&node, "aof_last_write_status", "err");
        field(&node, "journal_status", "failing: ");
        session.script("SAVE => -ERR...");
        field(&node, "rdb_last_bgsave_status", "err");
        if round == 1 {
            break;
        }
        disk.make_room();
        write_again(&mut ledger, &node);
        field(&node, "aof_last_write_status", "ok");
        field(&node, "journal_status", "ok");
        session.script("SAVE => OK");
        field(&node, "rdb_last_bgsave_status", "ok");
        assert_eq!(node.info("incarnation"), incarnation);
    }
    // Killed while it is full: without room it starts all the same, to be read. With room it goes on.
    node.signal(libc::SIGKILL);
    node.wait_for_end();
    drop(node);
    disk.fill(0);
    let node = disk.start(sync);
    ledger.settle(&mut node.session());
    assert!(ledger.is_on(&mut node.session()));
    node.session()
        .script("GCOUNTER.ADD o n => -MISCONF Errors writing to the AOF file: ...\nPING => PONG");
    field(&node, "journal_status", "failing: ");
    disk.make_room();
    write_again(&mut ledger, &node);
    assert!(ledger.is_on(&mut node.session()));
}

#[test]
fn a_full_disk_refuses_writes_and_loses_nothing_under_always() {
    full("always");
}

#[test]
fn a_full_disk_refuses_writes_and_loses_nothing_under_everysec() {
    full("everysec");
}

/// Overwrites of one value: the log grows and the state does not, so it is compacted in time, or as soon
/// as the disk is full, and writes go on.
#[test]
fn a_small_state_never_fills_a_small_disk_for_good() {
    let disk = SmallDisk::new("8m");
    let node = disk.start("everysec");
    let mut wire = node.wire();
    let line = format!("MVREG.SET one value {}", "x".repeat(4_000));
    for n in 0..5_000 {
        wait_until("a write to be taken", || {
            wire.command(&line);
            match wire.read().expect("no connection is closed") {
                Frame::Error(error) => {
                    assert!(error.starts_with("MISCONF "), "write {n}: {error}");
                    false
                }
                _ => true,
            }
        });
    }
    wait_until("the status to be well", || node.info("journal_status") == "ok");
    node.session().script("SAVE => OK\nMISO.DEL one => 1\nSAVE => OK");
}
