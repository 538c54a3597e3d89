//! A disk whose fsync fails: nothing is written to the same file any more, nor is that synced again, since the kernel
//! may have dropped what was in it and say yes; writes are refused, reads go on, and once a checkpoint is on the disk all
//! is well again. strace stands between the server and the kernel and answers for it.

use miso_tests::{Frame, Ledger, Node, Scratch, Tool, wait_until};
use std::io::ErrorKind;
use std::process::Command;
use std::sync::atomic::AtomicU64;

/// As long as this lives, each fdatasync of a node fails.
struct Faults(Tool);

impl Faults {
    fn begin(node: &Node) -> Faults {
        let mut command = Command::new("sh");
        command.args(["-c", r#"exec strace "$@" 2>&1"#, "strace"]);
        command.args(["-f", "-y", "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO"]);
        command.args(["-p", &node.pid().to_string()]);
        let tool = Tool::spawn(&mut command);
        wait_until("strace, for which the tests need ptrace", || {
            let said = tool.stdout();
            assert!(!said.contains("Operation not permitted"), "{said}");
            said.contains("attached")
        });
        Faults(tool)
    }

    /// How often fdatasync was called of a file whose name begins so.
    fn syncs(&self, name: &str) -> usize {
        let said = self.0.stdout();
        said.lines().filter(|line| line.contains("fdatasync(") && line.contains(name)).count()
    }

    fn end(self) {
        // It lets go of the node.
        self.0.signal(libc::SIGTERM);
        self.0.wait();
    }
}

fn fails(sync: &str) {
    let directory = Scratch::new();
    let path = directory.join("data").display().to_string();
    let flags = ["--data-dir", &path, "--appendfsync", sync];
    let mut node = Node::with(&flags);
    let incarnation = node.info("incarnation");
    let (mut ledger, answered) = (Ledger::new("client", 9), AtomicU64::new(0));
    ledger.write(&mut node.wire(), 200, &answered).expect("the disk works");

    let faults = Faults::begin(&node);
    let mut broke = 0;
    let refusal = loop {
        let mut wire = node.wire();
        wire.command("GCOUNTER.ADD o n");
        match wire.read() {
            Ok(Frame::Error(line)) => break line,
            Ok(_) => {}
            // It is not known what is kept of the write that was under way.
            Err(_) => broke += 1,
        }
        assert!(broke <= 1, "{broke} connections broke");
    };
    assert!(refusal.starts_with("MISCONF Errors writing to the AOF file: "), "{refusal}");
    assert!(refusal.contains("Input/output error"), "{refusal}");
    // Under everysec only a write that was under way at that moment.
    assert!(broke == 1 || sync == "everysec", "an answer under always");
    let mut session = node.session();
    let refused = ledger.write(&mut node.wire(), 20, &answered).expect_err("the disk fails");
    assert_eq!(refused.kind(), ErrorKind::StorageFull, "{refused}");
    ledger.settle(&mut session);
    assert!(ledger.is_on(&mut session), "{}", ledger.read(&mut session));
    let counted = session.run("GCOUNTER.GET o n").integer();
    session.script("SAVE => -ERR...");
    assert_eq!(node.info("aof_last_write_status"), "err");
    let status = node.info("journal_status");
    assert!(status.starts_with("broken: the journal cannot be synced: "), "{status}");
    // The node tries to begin anew, in other files, again and again.
    wait_until("new files", || {
        faults.syncs("") > faults.syncs("journal-00000000000000000001.log") + 1
    });
    assert_eq!(faults.syncs("journal-00000000000000000001.log"), 1, "it was synced again");

    faults.end();
    wait_until("writes to work again", || match ledger.write(&mut node.wire(), 1, &answered) {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
            false
        }
    });
    assert_eq!(node.info("aof_last_write_status"), "ok");
    assert_eq!(node.info("journal_status"), "ok");
    ledger.write(&mut node.wire(), 200, &answered).expect("the disk works");
    node.signal(libc::SIGKILL);
    node.wait_for_end();
    let node = Node::with(&flags);
    assert_eq!(node.info("incarnation"), incarnation, "{}", node.log());
    let mut session = node.session();
    assert!(ledger.is_on(&mut session), "{}", ledger.read(&mut session));
    assert_eq!(session.run("GCOUNTER.GET o n").integer(), counted);
    drop(node);
}

#[test]
fn a_failed_fsync_refuses_writes_until_a_checkpoint_is_there_under_always() {
    fails("always");
}

#[test]
fn a_failed_fsync_refuses_writes_until_a_checkpoint_is_there_under_everysec() {
    fails("everysec");
}
