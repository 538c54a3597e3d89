//! `miso-server status`: one screen that says how a node is.

use miso_tests::{Cluster, Node, Output, Scratch, Tool, wait_until};
use std::process::Command;

/// Asks for the status with these flags.
fn status(flags: &[&str]) -> Output {
    let mut command = Command::new(Node::binary());
    Tool::spawn(command.arg("status").args(flags).env_remove("REDISCLI_AUTH")).wait()
}

/// The screen about a node; its lines by their first words.
#[track_caller]
fn screen(flags: &[&str]) -> String {
    let output = status(flags);
    assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""), "{output:?}");
    output.stdout
}

/// The words of the line that begins with this one.
#[track_caller]
fn line<'a>(screen: &'a str, first: &str) -> Vec<&'a str> {
    let mut lines = screen.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines.find(|words| words.first() == Some(&first)).unwrap_or_else(|| panic!("{first}: {screen}"))
}

#[test]
fn the_screen_shows_nodes_functions_and_load() {
    let cluster = Cluster::with(2, &["--maxmemory", "100mb"]);
    let name = |at: usize| cluster.node(at).info("miso_node");
    let (own, other) = (name(0), name(1));
    cluster.session_of(0, "shop").script("GCOUNTER.ADD cart n 2 => 2\nSET k v => OK");
    let port = cluster.node(0).port();
    let shown = || screen(&["-h", "127.0.0.1", "-p", &port]);
    wait_until("the other node", || {
        let text = shown();
        let row = text.lines().find(|row| row.starts_with(&other));
        row.is_some_and(|row| row.contains("alive") && row.contains(" yes "))
    });
    let text = shown();
    assert!(text.starts_with(&format!("{own} of cluster ")), "{text}");
    assert!(text.contains("MB resident") && text.contains(" of 100.0 MB"), "{text}");
    assert_eq!(line(&text, "disk")[1..], ["none:", "data", "is", "kept", "in", "memory", "only"]);
    assert_eq!(line(&text, "peers")[1..5], ["1", "of", "1", "alive;"]);
    assert_eq!(line(&text, &own)[1..4], ["of", "cluster", "miso,"]);
    let shop = line(&text, "shop");
    assert_eq!((shop[1], shop[3]), ("runs", "2"), "{text}");
    assert!(text.lines().count() < 25 && text.lines().all(|line| line.len() < 132), "{text}");
    cluster.pause(1);
    wait_until("its absence to show", || {
        line(&shown(), &other).iter().any(|word| ["suspect", "dead"].contains(word))
    });
}

#[test]
fn it_logs_in_and_says_why_it_cannot() {
    let directory = Scratch::new();
    let data = directory.path("data");
    let node = Node::with(&["--requirepass", "pw", "--data-dir", &data]);
    let port = node.port();
    let failed = |flags: &[&str], why: &str| {
        let output = status(&[&["-p", &port], flags].concat());
        assert_eq!((output.code, output.stdout.as_str()), (Some(1), ""), "{output:?}");
        let told = format!("miso-server: status: 127.0.0.1:{port}: {why}");
        assert!(output.stderr.starts_with(&told), "{}", output.stderr);
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    };
    failed(&[], "NOAUTH ");
    failed(&["-a", "wrong"], "WRONGPASS ");
    let text = screen(&["-p", &port, "--user", "default", "-a", "pw"]);
    assert!(text.contains("\ndisk      takes writes, "), "{text}");
    let mut command = Command::new(Node::binary());
    command.args(["status", "-p", &port]).env("REDISCLI_AUTH", "pw");
    assert_eq!(Tool::spawn(&mut command).wait().code, Some(0));
    drop(node);
    failed(&[], "Connection refused");
    assert_eq!(status(&["-p", "none"]).code, Some(2));
    assert_eq!(status(&["--tls"]).code, Some(2));
}

#[test]
fn it_asks_by_tls() {
    let certs = Scratch::new();
    for words in [&["init"][..], &["node", "a"], &["client", "app"]] {
        let mut command = Command::new(Node::binary());
        command.arg("certs").arg(words[0]).args(["--dir", &certs.path("")]).args(&words[1..]);
        assert_eq!(Tool::spawn(&mut command).wait().code, Some(0));
    }
    let port = Node::free_port().to_string();
    let [ca, cert, key] = ["ca.pem", "a.pem", "a-key.pem"].map(|name| certs.path(name));
    let _node = Node::with(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca,
        "--tls-auth-clients",
        "yes",
    ]);
    let [own, own_key] = ["app.pem", "app-key.pem"].map(|name| certs.path(name));
    let trusting = ["-p", &port, "--tls", "--cacert", &ca];
    let text = screen(&[&trusting[..], &["--cert", &own, "--key", &own_key]].concat());
    assert!(text.contains("this node"), "{text}");
    let stranger = status(&trusting);
    assert_eq!(stranger.code, Some(1), "{stranger:?}");
    let elsewhere = status(&["-p", &port, "--tls", "--cacert", &own]);
    assert_eq!(elsewhere.code, Some(1), "{elsewhere:?}");
}
