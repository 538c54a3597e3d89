//! Networks of a test's own, by Linux's network namespaces: interfaces that are not loopback, with no others on them.

use crate::{Tool, find_program, wait_until};
use std::process::Command;

/// A network namespace; gone with its value.
pub struct Namespace {
    /// A program that does nothing, within it.
    holder: Tool,
    /// Not of root: then it is within a user namespace, which is that of this process.
    owner: Option<u32>,
}

impl Namespace {
    /// One namespace, with loopback alone; none where namespaces are not permitted.
    #[track_caller]
    pub fn alone() -> Option<Namespace> {
        if !Namespace::permitted() {
            return None;
        }
        // SAFETY: it cannot fail.
        let root = unsafe { libc::geteuid() } == 0;
        let held = Namespace::hold(None, if root { &["-n"] } else { &["-rn"] });
        let owner = (!root).then(|| held.holder.pid());
        let namespace = Namespace { owner, ..held };
        namespace.must("ip", &["link", "set", "lo", "up"]);
        Some(namespace)
    }

    /// Whether namespaces are permitted here; says so if they are not.
    pub fn permitted() -> bool {
        let tried = Command::new(find_program("unshare")).args(["-n", "true"]).status();
        let permitted = tried.is_ok_and(|status| status.success());
        if !permitted {
            eprintln!("SKIPPED: network namespaces are not permitted here");
        }
        permitted
    }

    /// Two namespaces with a cable between them, at which each has one of these addresses (with their network's
    /// length: `10.0.0.1/24`).
    ///
    /// Fails the test where namespaces are not permitted: what it tests is not tested then.
    #[track_caller]
    pub fn pair(addresses: [&str; 2]) -> [Namespace; 2] {
        // SAFETY: it cannot fail.
        let root = unsafe { libc::geteuid() } == 0;
        let first =
            if root { Namespace::hold(None, &["-n"]) } else { Namespace::hold(None, &["-rn"]) };
        let owner = (!root).then(|| first.holder.pid());
        let first = Namespace { owner, ..first };
        let second = Namespace::hold(owner, &["-n"]);
        let there = second.holder.pid().to_string();
        first.must(
            "ip",
            &["link", "add", "cable", "type", "veth", "peer", "cable", "netns", &there],
        );
        for (namespace, address) in [&first, &second].into_iter().zip(addresses) {
            namespace.must("ip", &["address", "add", address, "dev", "cable"]);
            namespace.must("ip", &["link", "set", "lo", "up"]);
            namespace.must("ip", &["link", "set", "cable", "up"]);
        }
        [first, second]
    }

    #[track_caller]
    fn hold(owner: Option<u32>, flags: &[&str]) -> Namespace {
        let mut command = match owner {
            None => Command::new(find_program("unshare")),
            Some(owner) => {
                let mut command = enter(owner, true);
                command.arg(find_program("unshare"));
                command
            }
        };
        // It ends with its input, if this process should not come to ending it.
        let mut holder = Tool::spawn(command.args(flags).arg("cat"));
        let net = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let (own, pid) = (net("self"), holder.pid().to_string());
        wait_until("a network namespace", || {
            if let Some(output) = holder.ended() {
                panic!(
                    "network namespaces are not permitted here (root is needed, or user namespaces): {output:?}"
                );
            }
            net(&pid).is_some_and(|net| Some(net) != own)
        });
        Namespace { holder, owner }
    }

    /// A program, to be run within it.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = enter(self.holder.pid(), self.owner.is_some());
        command.arg("-n").arg(program);
        command
    }

    #[track_caller]
    fn must(&self, program: &str, args: &[&str]) {
        let output = Tool::spawn(self.command(find_program(program)).args(args)).wait();
        assert_eq!(output.code, Some(0), "{program} {args:?}: {output:?}");
    }
}

fn enter(pid: u32, user: bool) -> Command {
    let mut command = Command::new(find_program("nsenter"));
    command.args(["-t", &pid.to_string()]);
    if user {
        command.args(["-U", "--preserve-credentials"]);
    }
    command
}
