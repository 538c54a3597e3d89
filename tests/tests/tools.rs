//! Stock programs, unmodified: `redis-cli` and `redis-benchmark` of Redis 7.

use miso_tests::{Node, Output, Tool, wait_until};
use std::io::Write;

#[track_caller]
fn cli_with(node: &Node, args: &[&str], input: &[u8]) -> Output {
    let port = node.port();
    let mut all = vec!["-h", "127.0.0.1", "-p", &port];
    all.extend_from_slice(args);
    Tool::run("redis-cli", &all, input)
}

#[track_caller]
fn cli(node: &Node, args: &[&str]) -> String {
    let output = cli_with(node, args, b"");
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!(output.stderr, "", "{output:?}");
    output.stdout
}

fn fill(node: &Node, objects: usize) {
    let mut s = node.session();
    for i in 0..objects {
        s.run(&format!("GCOUNTER.ADD object:{i} n {i}"));
    }
    s.run("ORSET.ADD big s a b c");
    s.run("MVREG.SET big r x");
}

#[test]
fn cli_commands() {
    let node = Node::start();
    assert_eq!(cli(&node, &["GCOUNTER.ADD", "o", "n", "5"]), "5\n");
    assert_eq!(cli(&node, &["--no-raw", "GCOUNTER.GET", "o", "n"]), "(integer) 5\n");
    assert_eq!(cli(&node, &["-3", "--no-raw", "EWFLAG.GET", "o", "f"]), "(false)\n");
    assert_eq!(cli(&node, &["-3", "--json", "ORMAP.GETALL", "o", "m"]), "{}\n");
    cli(&node, &["ORSET.ADD", "o", "s", "a"]);
    assert_eq!(cli(&node, &["-3", "--no-raw", "ORSET.MEMBERS", "o", "s"]), "1~ \"a\"\n");
    assert_eq!(
        cli(&node, &["-u", &node.url("checkout:-"), "--no-auth-warning", "MISO.FUNCTION"]),
        "checkout\n"
    );
    assert_eq!(
        cli(&node, &["--user", "cart", "--pass", "x", "--no-auth-warning", "MISO.FUNCTION"]),
        "cart\n"
    );
    assert_eq!(cli(&node, &["-r", "3", "GCOUNTER.ADD", "o", "n"]), "6\n7\n8\n");
    let session = cli_with(
        &node,
        &[],
        b"MULTI\nGCOUNTER.ADD o n\nEXEC\nPING \"a b\"\nHELLO 3\nEWFLAG.GET o f\n",
    );
    assert!(session.stdout.starts_with("OK\nQUEUED\n9\na b\n"), "{}", session.stdout);
    assert!(session.stdout.ends_with("(false)\n"), "{}", session.stdout);
}

/// The hints while typing and `help` come from COMMAND DOCS.
#[test]
fn cli_hints_and_help() {
    let node = Node::start();
    let (cli, mut keyboard) = Tool::on_terminal("redis-cli", &["-p", &node.port()]);
    let prompt = format!("{}> ", node.address());
    wait_until("the prompt", || cli.stdout().contains(&prompt));
    let mut type_until = |keys: &str, seen: &str| {
        let before = cli.stdout().len();
        keyboard.write_all(keys.as_bytes()).expect("the terminal is open");
        wait_until(seen, || {
            let screen = cli.stdout();
            let new = screen.get(before..).unwrap_or_default();
            // After a command the next prompt must be there too: what is typed before it is thrown away.
            new.find(seen).is_some_and(|at| !keys.ends_with('\r') || new[at..].contains(&prompt))
        });
    };
    type_until("GCOUNTER.ADD ", "object name [increment]");
    type_until("\u{15}help GCOUNTER.ADD\r", "summary:");
    type_until("help ORMAP.SET\r", "object name field value [field value ...]");
    type_until("help @connection\r", "CLIENT KILL");
    type_until("GSET.SCAN ", "object name cursor [MATCH pattern] [COUNT count]");
}

#[test]
fn cli_scan_and_keys() {
    let node = Node::start();
    fill(&node, 300);
    assert_eq!(cli(&node, &["--scan"]).lines().count(), 301);
    assert_eq!(cli(&node, &["--scan", "--pattern", "object:1?"]).lines().count(), 10);
    let big = cli(&node, &["--bigkeys", "-i", "0"]);
    assert!(big.contains("Sampled 301 keys in the keyspace!"), "{big}");
    assert!(
        big.contains("301 hashs with")
            && big.contains("Biggest   hash found '\"big\"' has 2 fields"),
        "{big}"
    );
    let memory = cli(&node, &["--memkeys", "-i", "0"]);
    assert!(memory.contains("Sampled 301 keys in the keyspace!"), "{memory}");
}

#[test]
fn cli_pipe() {
    let node = Node::start();
    let mut input = Vec::new();
    for i in 0..20_000 {
        let name = (i % 10).to_string();
        input.extend_from_slice(
            format!("*4\r\n$12\r\nGCOUNTER.ADD\r\n$1\r\no\r\n$1\r\n{name}\r\n$1\r\n2\r\n")
                .as_bytes(),
        );
    }
    let output = cli_with(&node, &["--pipe"], &input);
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.stdout.contains("errors: 0, replies: 20000"), "{}", output.stdout);
    node.session().script("GCOUNTER.MGET o 0 9 => [4000, 4000]");

    let output =
        cli_with(&node, &["--pipe"], b"GCOUNTER.ADD o n\r\nNONSENSE\r\nGCOUNTER.ADD o n\r\n");
    assert!(output.stdout.contains("errors: 1, replies: 3"), "{output:?}");
}

#[test]
fn cli_statistics() {
    let node = Node::start();
    fill(&node, 10);
    let stat = Tool::start("redis-cli", &["-p", &node.port(), "--stat", "-i", "0.01"]);
    // Two lines of figures: the second has the rate of requests.
    wait_until("two lines of figures", || {
        stat.stdout().lines().filter(|line| line.starts_with("11 ")).count() >= 2
    });
    let text = stat.stop().stdout;
    let line = text.lines().filter(|line| line.starts_with("11 ")).nth(1).expect("a second line");
    assert!(line.contains("(+") && line.split_whitespace().count() >= 7, "{text}");

    let latency = cli(&node, &["--raw", "--latency", "-i", "0.2"]);
    assert!(latency.split_whitespace().count() >= 4, "{latency}");
}

#[test]
fn cli_monitor_and_subscribe() {
    let node = Node::start();
    let port = node.port();
    let monitor = Tool::start("redis-cli", &["-p", &port, "MONITOR"]);
    let listener = Tool::start("redis-cli", &["-p", &port, "--csv", "PSUBSCRIBE", "__miso__:*"]);
    wait_until("the monitor", || monitor.stdout().contains("OK"));
    wait_until("the subscription", || listener.stdout().contains("psubscribe"));
    node.session().script("GCOUNTER.ADD o n 5 => 5");
    wait_until("the command", || monitor.stdout().contains(r#""GCOUNTER.ADD" "o" "n" "5""#));
    wait_until("the message", || {
        listener.stdout().contains(r#""pmessage","__miso__:*","__miso__:default:o""#)
    });
}

/// The lines of `redis-benchmark --csv`, each with a rate above zero.
#[track_caller]
fn benchmark(node: &Node, args: &[&str]) -> Vec<String> {
    let port = node.port();
    let mut all = vec!["-p", &port, "--csv"];
    all.extend_from_slice(args);
    let output = Tool::run("redis-benchmark", &all, b"");
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(
        !output.stderr.contains("ERR") && !output.stderr.contains("WARNING"),
        "{}",
        output.stderr
    );
    let lines: Vec<String> = output.stdout.lines().skip(1).map(str::to_owned).collect();
    for line in &lines {
        let rate = line.split("\",\"").nth(1).and_then(|rate| rate.parse::<f64>().ok());
        assert!(rate.is_some_and(|rate| rate > 0.0), "{line}");
    }
    lines
}

#[test]
fn benchmark_tests() {
    let node = Node::start();
    // Of its default tests those that need no plain Redis data.
    let lines = benchmark(&node, &["-t", "ping_inline,ping_mbulk", "-n", "5000", "-q"]);
    assert!(lines.len() >= 2, "{lines:?}");
    let lines = benchmark(&node, &["-t", "ping", "-n", "5000", "-P", "16", "-c", "20"]);
    assert!(lines.len() >= 2, "{lines:?}");
}

#[test]
fn benchmark_our_commands() {
    let node = Node::start();
    for command in [
        &["GCOUNTER.ADD", "o:__rand_int__", "total", "1"][..],
        &["PNCOUNTER.ADD", "o:__rand_int__", "p", "-1"],
        &["GCOUNTER.GET", "o:__rand_int__", "total"],
        &["ORSET.ADD", "s:__rand_int__", "s", "member:__rand_int__"],
        &["ORSET.ISMEMBER", "s:__rand_int__", "s", "x"],
        &["MVREG.SET", "r:__rand_int__", "r", "value"],
    ] {
        for depth in ["1", "16"] {
            let mut args = vec!["-P", depth, "-r", "1000", "-n", "5000", "-c", "20"];
            args.extend_from_slice(command);
            assert_eq!(benchmark(&node, &args).len(), 1, "{command:?}");
        }
    }
    // Every one of them was counted.
    let mut s = node.session();
    let mut sum = 0;
    for object in s.run("KEYS o:*").items() {
        sum += s.run(&format!("GCOUNTER.GET {} total", object.text())).integer();
    }
    // It sends whole batches: at depth 16 a few more than it was told.
    assert!((10_000..10_100).contains(&sum), "{sum}");
    // RESP3 and threads.
    benchmark(&node, &["-3", "-n", "2000", "GCOUNTER.ADD", "o", "n"]);
    benchmark(&node, &["--threads", "2", "-n", "2000", "GCOUNTER.ADD", "o", "n"]);
    s.script("GCOUNTER.GET o n => 4000");
}
