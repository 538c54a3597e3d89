//! The two machines of docs/start.md, as printed, in two network namespaces with a cable between them.

use std::path::Path;
use std::process::Command;

use miso_tests::{Namespace, Node, Scratch, Tool, find_program, wait_until};

/// The lines of the shell in the page's section about two machines: alpha's, beta's, and those of clients.
fn printed() -> [Vec<String>; 3] {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/start.md"));
    let page = page.expect("it is there");
    let section = page.split("## Two machines").nth(1).expect("the section");
    let section = section.split("\n## ").next().expect("up to the next");
    let blocks = section.split("```sh\n").skip(1).map(|block| {
        let block = block.split("```").next().expect("up to its end");
        block.lines().map(str::to_owned).collect()
    });
    blocks.collect::<Vec<_>>().try_into().expect("three blocks")
}

/// Runs a line by a shell in a namespace, in a directory.
fn shell(at: &Namespace, directory: &Path, line: &str) -> Command {
    let binaries = Node::binary();
    let binaries = binaries.parent().expect("a directory").display().to_string();
    let mut command = at.command(find_program("sh"));
    let path = std::env::var("PATH").unwrap_or_default();
    command.args(["-c", &format!("exec {line}")]).current_dir(directory);
    command.env("PATH", format!("{binaries}:{path}"));
    command
}

#[test]
fn two_machines_as_printed() {
    let permitted = Command::new(find_program("unshare")).args(["-n", "true"]).status();
    if !permitted.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED two_machines_as_printed: network namespaces are not permitted here");
        return;
    }
    let machines = Namespace::pair(["10.77.0.1/24", "10.77.0.2/24"]);
    let homes = [Scratch::new(), Scratch::new()];
    let [alpha, beta, clients] = printed();
    let [secret, alpha] = &alpha[..] else { panic!("{alpha:?}") };
    let made = Command::new("sh").args(["-c", secret]).current_dir(&*homes[0]).status();
    assert!(made.expect("openssl is there").success());
    std::fs::copy(homes[0].join("secret"), homes[1].join("secret")).expect("as by scp");
    let start = |at: usize, line: &str| Tool::spawn(&mut shell(&machines[at], &homes[at], line));
    let _nodes = [start(0, alpha), start(1, &beta[0])];
    let run = |at: usize, line: &str| {
        let output = Tool::spawn(&mut shell(&machines[at], &homes[at], line)).wait();
        output.stdout.trim().to_owned()
    };
    for at in [0, 1] {
        wait_until("both to answer", || run(at, "redis-cli PING") == "PONG");
    }
    assert_eq!(run(0, &clients[0]), "1");
    wait_until("the count to be there", || run(1, &clients[1]) == "1");
    let names = run(1, "redis-cli MISO.NODES");
    assert!(names.contains("alpha") && names.contains("beta"), "{names}");
}
