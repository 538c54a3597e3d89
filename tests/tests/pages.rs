//! What the pages of the documentation print, typed on a machine of the test's own, answers as they say.

use miso_tests::{Machine, Namespace, Node, Page, Scratch, Tool, wait_until};

/// The lines of an answer in order, without the numbers that depend on it: maps have no order.
fn unordered(output: &str) -> Vec<&str> {
    let number = |c: char| c.is_ascii_digit() || c == ' ' || c == ')';
    let mut lines: Vec<&str> = output.lines().map(|line| line.trim_start_matches(number)).collect();
    lines.sort_unstable();
    lines
}

/// What a page shows of redis-cli is what redis-cli prints.
#[track_caller]
fn transcript_is_true(page: &Page) {
    let node = Node::start();
    let transcript = page.transcript();
    assert!(!transcript.is_empty(), "the page shows redis-cli");
    for (command, said) in transcript {
        let flags = ["--no-raw", "-p", &node.port()];
        let output = Tool::run("redis-cli", &flags, format!("{command}\n").as_bytes());
        assert_eq!(unordered(&said), unordered(&output.stdout), "{command}");
    }
}

#[test]
fn the_first_commands() {
    transcript_is_true(&Page::read("docs/start.md"));
}

#[test]
fn intervals_of_functions() {
    transcript_is_true(&Page::read("docs/operation.md").section("Intervals"));
}

/// Three nodes, as the README and the first page start them.
#[track_caller]
fn three_nodes(page: &Page) {
    let Some(network) = Namespace::alone() else { return };
    let directory = Scratch::new();
    let machine = Machine { network: &network, directory: &directory };
    let blocks = page.blocks("sh");
    let at = blocks.iter().position(|block| block[0].ends_with("cluster 3"));
    let at = at.expect("the page starts three nodes");
    let (cluster, clients) = (&blocks[at][0], &blocks[at + 1]);
    // What cargo has built is the server under test.
    let cluster = cluster.replace("cargo run --release --", "miso-server");
    let _cluster = machine.start(&cluster);
    for port in [6379, 6380, 6381] {
        let ping = format!("redis-cli -p {port} PING");
        wait_until("three nodes to answer", || machine.run(&ping) == "PONG");
    }
    let [first, second, read] = &clients[..] else { panic!("{clients:?}") };
    assert_eq!(machine.run(first), "1");
    machine.must(second);
    wait_until("the third node to have both", || machine.run(read) == "3");
}

#[test]
fn three_nodes_of_the_readme() {
    three_nodes(&Page::read("README.md"));
}

#[test]
fn three_nodes_of_the_first_page() {
    three_nodes(&Page::read("docs/start.md"));
}

#[test]
fn certificates_and_tls() {
    let Some(network) = Namespace::alone() else { return };
    let directory = Scratch::new();
    let machine = Machine { network: &network, directory: &directory };
    let blocks = Page::read("docs/tls.md").blocks("sh");
    let [first, client, both_ends, http, nodes] = &blocks[..] else { panic!("{blocks:?}") };
    {
        machine.must(&first[0]);
        let _node = machine.start(&first[1]);
        wait_until("an answer by TLS", || machine.run(&client[0]) == "PONG");
    }
    {
        machine.must(&both_ends[0]);
        let _node = machine.start(&both_ends[1]);
        wait_until("an answer to a certificate", || machine.run(&both_ends[2]) == "PONG");
        assert_eq!(machine.run(&client[0]).find("PONG"), None, "without one there is none");
    }
    {
        let _node = machine.start(&http[0]);
        wait_until("an answer by HTTP", || machine.run(&http[1]).contains("PONG"));
    }
    // Those of nodes are made in a directory of their own: a file that exists is never overwritten.
    let directory = Scratch::new();
    let machine = Machine { network: &network, directory: &directory };
    machine.must(&nodes[0]);
    let _node = machine.start(&nodes[1]);
    wait_until("a node with a certificate", || machine.run("redis-cli PING") == "PONG");
}

#[test]
fn a_backup_is_made_and_restored() {
    let Some(network) = Namespace::alone() else { return };
    let (directory, backup) = (Scratch::new(), Scratch::new());
    let machine = Machine { network: &network, directory: &directory };
    let page = Page::read("docs/durability.md");
    let there = |line: &str| line.replace("/backup", &backup.display().to_string());
    let blocks = page.blocks("sh");
    let [make, restore, _repair] = &blocks[..] else { panic!("{blocks:?}") };
    let node = machine.start("miso-server");
    wait_until("a node", || machine.run("redis-cli PING") == "PONG");
    machine.must("redis-cli SET kept yes");
    for line in make {
        machine.must(&there(line));
    }
    machine.must("redis-cli SET late yes");
    drop(node);
    let [aside, fresh, copy, start] = &restore[..] else { panic!("{restore:?}") };
    machine.must(aside);
    machine.must(fresh);
    // The number is that of the page's own backup.
    let (before, after) = copy.split_once("checkpoint-").expect("a checkpoint is copied");
    let after = after.split_once(".miso").expect("its name").1;
    machine.must(&there(&format!("{before}checkpoint-*.miso{after}")));
    let _node = machine.start(start);
    wait_until("the node to answer again", || machine.run("redis-cli PING") == "PONG");
    assert_eq!(machine.run("redis-cli GET kept"), "yes");
    assert_eq!(machine.run("redis-cli GET late"), "", "it came after the backup");
}
