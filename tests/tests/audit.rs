//! The audit log: who logged in, what was refused, and what was administered.

use std::fs;

use miso_tests::{Node, Resp, Scratch, Wire, wait_until};
use serde_json::Value;

/// A node with an audit log, and where that is.
fn node(flags: &[&str]) -> (Node, Scratch, String) {
    let directory = Scratch::new();
    let path = directory.path("audit");
    let node = Node::with(&[&["--audit-log", &path], flags].concat());
    (node, directory, path)
}

/// The lines so far: each is whole, and JSON.
fn lines(path: &str) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("JSON in each line")).collect()
}

/// Waits for a line of this event whose text has all of these.
#[track_caller]
fn until(path: &str, event: &str, having: &[&str]) -> Value {
    let fits = |line: &Value| {
        let text = line.to_string();
        line["event"] == event && having.iter().all(|part| text.contains(part))
    };
    let mut found = None;
    wait_until(&format!("{event} {having:?}"), || {
        found = lines(path).into_iter().find(fits);
        found.is_some()
    });
    found.expect("it was waited for")
}

#[test]
fn logins_refusals_and_what_is_administered_are_noted() {
    let (node, _directory, path) = node(&["--requirepass", "hush-hush"]);
    let mut admin = node.wire();
    admin.ask("AUTH wrong-guess");
    let mut admin_line = until(&path, "login-failed", &[r#""user":"default""#]);
    assert!(
        admin_line["address"].as_str().is_some_and(|address| address.starts_with("127.0.0.1:"))
    );
    admin.ask("AUTH hush-hush");
    admin_line = until(&path, "login", &[r#""user":"default""#]);
    assert!(admin_line["time"].as_str().is_some_and(|time| time.ends_with('Z')));
    admin.ask("ACL SETUSER cart on >pass-of-cart ~* +@all -@admin function=checkout");
    admin.ask("CONFIG SET requirepass hush-hush maxclients 500");
    admin.ask("CONFIG SET maxclients no-number");
    admin.ask("FLUSHALL");
    admin.ask("GCOUNTER.ADD o n 1");
    let mut cart = node.wire();
    cart.ask("AUTH cart pass-of-cart");
    assert!(cart.ask("CONFIG SET maxclients 1").is_error());
    assert!(cart.ask("ACL SETUSER me >another-secret").is_error());
    cart.ask("GCOUNTER.ADD o n 1");

    until(&path, "command", &["SETUSER", r#""result":"ok""#, r#""user":"default""#]);
    until(&path, "command", &["maxclients", "500", r#""result":"ok""#]);
    until(&path, "command", &["no-number", r#""result":"ERR CONFIG SET failed"#]);
    until(&path, "command", &["FLUSHALL"]);
    let login = until(&path, "login", &[r#""user":"cart""#]);
    assert_eq!(login["function"], "checkout");
    let denied = until(&path, "denied", &["CONFIG", "maxclients", r#""user":"cart""#]);
    assert_eq!((&denied["function"], &denied["result"]), (&"checkout".into(), &"command".into()));
    until(&path, "denied", &["SETUSER"]);
    let text = fs::read_to_string(&path).expect("it is there");
    for secret in ["hush-hush", "wrong-guess", "pass-of-cart", "another-secret", "GCOUNTER"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(&path).expect("it is there").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_name_forges_no_line_and_a_flood_is_counted() {
    let (node, _directory, path) = node(&["--requirepass", "hush"]);
    let forged = "a\"}\n{\"event\":\"login\",\"user\":\"default\"}";
    let mut wire: Wire = node.wire();
    let auth = format!("*3\r\n$4\r\nAUTH\r\n${}\r\n{forged}\r\n$1\r\nx\r\n", forged.len());
    wire.send(auth.as_bytes()).expect("it reads");
    assert!(wire.read().expect("it answers").is_error());
    until(&path, "login-failed", &["login"]);
    assert!(lines(&path).iter().all(|line| line["event"] == "login-failed"));
    wire.ask("AUTH hush");
    wire.ask("ACL SETUSER u on >p ~* +ping");
    let mut user = node.wire();
    user.ask("AUTH u p");
    let long = "x".repeat(10_000);
    for _ in 0..50 {
        user.send(format!("GET {long}\r\n").repeat(100).as_bytes()).expect("it reads");
        for _ in 0..100 {
            assert!(user.read().expect("it answers").is_error());
        }
    }
    wire.ask("CONFIG SET maxclients 77");
    let said = until(&path, "command", &["77"]);
    let info = wire.ask("INFO stats").text();
    let field = info.lines().find_map(|line| line.strip_prefix("audit_lines_unwritten:"));
    let unwritten: u64 = field.expect("INFO has it").trim().parse().expect("a number");
    assert!(unwritten > 1000, "{unwritten} of 5000");
    let all: u64 = lines(&path).iter().filter_map(|line| line["unwritten"].as_u64()).sum();
    assert!(all > 1000 && said["unwritten"].as_u64().is_some(), "{all}: {said}");
    assert!(fs::metadata(&path).expect("it is there").len() < 2 << 20);
}

#[test]
fn it_is_switched_on_moved_and_opened_again_while_the_node_runs() {
    let directory = Scratch::new();
    let (first, second) = (directory.path("first"), directory.path("second"));
    let node = Node::start();
    let mut session = node.session_of("default", Resp::V2);
    session.run("CONFIG SET maxclients 100");
    session.script(&format!("CONFIG SET audit-log {first} => OK"));
    session.run("CONFIG SET maxclients 101");
    until(&first, "command", &["101"]);
    let refused = session.run("CONFIG SET audit-log /nowhere/at/all").to_string();
    assert!(refused.contains("cannot open /nowhere/at/all"), "{refused}");
    session.run("CONFIG SET maxclients 102");
    until(&first, "command", &["102"]);
    // As logrotate does.
    fs::rename(&first, &second).expect("it can");
    node.signal(libc::SIGHUP);
    wait_until("the file anew", || fs::metadata(&first).is_ok());
    session.run("CONFIG SET maxclients 103");
    until(&first, "command", &["103"]);
    session.script("CONFIG SET audit-log '' => OK");
    session.run("CONFIG SET maxclients 104");
    assert!(!lines(&first).iter().any(|line| line.to_string().contains("104")));
    assert!(lines(&second).iter().all(|line| !line.to_string().contains("103")));
    let output = Node::refused(&["--audit-log", "/nowhere/at/all"]);
    assert!(output.stderr.contains("audit-log: cannot open"), "{output:?}");
}

#[test]
fn nodes_that_are_refused_and_the_last_command_are_noted() {
    let (mut node, _directory, path) = node(&["--cluster-secret", "one", "--node-name", "a"]);
    let port = node.session().run("CONFIG GET peer-port").field("peer-port").expect("it has one");
    let join = format!("127.0.0.1:{}", port.text());
    let _other = Node::with(&["--cluster-secret", "two", "--node-name", "b", "--join", &join]);
    until(&path, "node-refused", &["different cluster-secrets"]);
    let _plain = Node::with(&["--node-name", "c", "--join", &join]);
    until(&path, "node-refused", &["speaks without TLS"]);
    node.wire().send(b"SHUTDOWN\r\n").expect("it reads");
    node.wait_for_end();
    let all = lines(&path);
    assert!(all.iter().any(|line| line.to_string().contains("SHUTDOWN")), "{all:?}");
}
