//! Tokens of functions: what they open, for how long, on which nodes, and what is kept of them.

use std::fs;
use std::path::Path;

use miso_tests::{Cluster, Node, Scratch, Wire, wait_until};
use sha2::{Digest, Sha256};

/// An administrator's connection to a node whose password is "root".
fn admin(node: &Node) -> Wire {
    let mut wire = node.wire();
    assert_eq!(wire.ask("AUTH root").to_string(), "OK");
    wire
}

/// Whether `function` can be spoken for with this password.
fn opens(node: &Node, function: &str, password: &str) -> bool {
    !node.wire().ask(&format!("AUTH {function} {password}")).is_error()
}

/// A new token.
fn grant(admin: &mut Wire, words: &str) -> String {
    let token = admin.ask(&format!("MISO.GRANT {words}"));
    assert!(!token.is_error(), "{token}");
    token.text()
}

#[test]
fn a_token_opens_its_function_and_no_other() {
    let node = Node::with(&["--requirepass", "root", "--http-port", "0"]);
    let mut root = admin(&node);
    let (token, reading) = (grant(&mut root, "cart"), grant(&mut root, "cart READONLY"));
    let mut cart = node.wire();
    assert_eq!(cart.ask(&format!("AUTH cart {token}")).to_string(), "OK");
    for (line, reply) in [
        ("MISO.FUNCTION", "\"cart\""),
        ("ACL WHOAMI", "\"cart\""),
        ("GCOUNTER.ADD o n 5", "5"),
        ("PUBLISH news hello", "0"),
        ("MISO.REGISTER cart", "OK"),
        ("MISO.REGISTER other", "-NOPERM"),
        ("CONFIG GET *", "-NOPERM"),
        ("MISO.GRANT cart", "-NOPERM"),
        ("MISO.REVOKE cart", "-NOPERM"),
        ("MISO.GRANTS cart", "-NOPERM"),
        ("ACL SETUSER default nopass", "-NOPERM"),
    ] {
        let said = cart.ask(line).to_string();
        assert!(said.starts_with(reply), "{line}: {said}");
    }
    let mut reader = node.wire();
    // Clients send a password alone as the default user's.
    assert_eq!(reader.ask(&format!("AUTH {reading}")).to_string(), "OK");
    for (line, reply) in [
        ("GCOUNTER.GET o n", "5"),
        ("GCOUNTER.ADD o n 5", "-NOPERM"),
        ("DEL o", "-NOPERM"),
        ("MISO.ONCE i SET a 1", "-NOPERM"),
        ("PUBLISH news hello", "-NOPERM"),
        ("SUBSCRIBE news", "[\"subscribe\""),
    ] {
        let said = reader.ask(line).to_string();
        assert!(said.starts_with(reply), "{line}: {said}");
    }
    assert!(!node.wire().ask(&format!("HELLO 3 AUTH cart {token}")).is_error());
    assert!(!opens(&node, "other", &token) && !opens(&node, "cart", &token[..token.len() - 1]));
    assert!(!opens(&node, "cart", "misot_AAAA") && !opens(&node, "__miso__", &token));
    let mut http = node.http(&token);
    assert_eq!(http.get("/gcounter.get/o/n").line(), r#"200 {"result":5}"#);
    assert_eq!(node.http(&reading).get("/gcounter.add/o/n/1").status, 400);
    assert_eq!(node.http("misot_AAAA").get("/gcounter.get/o/n").status, 401);
    // Its user is in no list, and can be named all the same.
    assert!(root.ask("CLIENT KILL USER nobody").is_error());
    let mut second = node.wire();
    assert_eq!(second.ask(&format!("AUTH cart {token}")).to_string(), "OK");
    let id = second.ask("CLIENT ID").integer();
    assert_eq!(root.ask(&format!("CLIENT KILL USER cart ID {id}")).integer(), 1);
    second.rest();
    // What is revoked ends here at once.
    assert_eq!(root.ask(&format!("MISO.REVOKE cart {token}")).integer(), 1);
    cart.rest();
    assert!(!opens(&node, "cart", &token) && opens(&node, "cart", &reading));
    wait_until("the end of its HTTP session", || node.http(&token).get("/ping").status == 401);
    assert_eq!(reader.ask("PING").to_string(), "[\"pong\", \"\"]", "the other token is good");
}

#[test]
fn tokens_are_listed_revoked_and_bounded() {
    let node = Node::with(&["--requirepass", "root"]);
    let mut root = admin(&node);
    let token = grant(&mut root, "cart TTL 3600");
    grant(&mut root, "cart READONLY");
    // Both may have been made within one millisecond.
    let mut listed = root.ask("MISO.GRANTS cart").items();
    listed.sort_by_key(|token| token.field("readonly").map(|only| only.integer()));
    assert_eq!(listed.len(), 2);
    let field = |at: usize, name: &str| listed[at].field(name).expect("it is listed");
    let lives = field(0, "over").integer() - field(0, "made").integer();
    assert!((3600..=3601).contains(&lives), "{lives}");
    assert_eq!((field(1, "over").integer(), field(1, "readonly").integer()), (0, 1));
    let id = field(1, "id").text();
    for (line, reply) in [
        (format!("MISO.REVOKE cart {id}"), "1"),
        (format!("MISO.REVOKE cart {id} nosuch"), "0"),
        ("MISO.REVOKE other".into(), "0"),
        ("MISO.GRANTS other".into(), "[]"),
        ("MISO.GRANT a#1".into(), "-ERR invalid function"),
        ("MISO.GRANT cart TTL 0".into(), "-ERR invalid expire time in 'miso.grant' command"),
        ("MISO.GRANT cart TTL 99999999999".into(), "-ERR invalid expire time"),
        ("MISO.GRANT cart TTL".into(), "-ERR syntax error"),
        ("MISO.GRANT cart FOREVER".into(), "-ERR syntax error"),
        ("MISO.GRANT __miso__".into(), "-ERR the cluster keeps its tokens"),
        ("MISO.REGISTER __miso__".into(), "-ERR the cluster keeps its tokens"),
        ("ACL SETUSER thief on nopass ~* +@all function=__miso__".into(), "-ERR"),
    ] {
        let said = root.ask(&line).to_string();
        assert!(said.starts_with(reply), "{line}: {said}");
    }
    let refused = Node::refused(&["--default-function", "__miso__"]);
    assert!(refused.stderr.contains("default-function"), "{}", refused.stderr);
    assert!(opens(&node, "cart", &token));
    for _ in 1..64 {
        grant(&mut root, "cart");
    }
    let refused = root.ask("MISO.GRANT cart").to_string();
    assert_eq!(refused, "-ERR the function has 64 tokens already");
    grant(&mut root, "other");
    assert_eq!(root.ask("MISO.REVOKE cart").integer(), 64);
    assert!(!opens(&node, "cart", &token));
}

#[test]
fn a_token_ends_with_its_time_and_so_do_its_connections() {
    let node = Node::with(&["--requirepass", "root"]);
    let mut root = admin(&node);
    let token = grant(&mut root, "cart TTL 6");
    let mut cart = node.wire();
    assert_eq!(cart.ask(&format!("AUTH cart {token}")).to_string(), "OK");
    let mut listener = node.wire();
    assert_eq!(listener.ask(&format!("AUTH cart {token}")).to_string(), "OK");
    listener.ask("SUBSCRIBE news");
    // A change of users does not end it before.
    root.ask("ACL SETUSER somebody on >pw ~* +@all");
    root.ask("ACL DELUSER somebody");
    assert_eq!(cart.ask("PING").to_string(), "PONG");
    cart.rest();
    listener.rest();
    assert!(!opens(&node, "cart", &token));
    assert_eq!(root.ask("MISO.GRANTS cart").to_string(), "[]");
}

/// Whether a file below `directory` has `secret` in it.
fn is_written(directory: &Path, secret: &str) -> bool {
    fs::read_dir(directory).expect("it is there").any(|entry| {
        let path = entry.expect("it is there").path();
        if path.is_dir() {
            return is_written(&path, secret);
        }
        let bytes = fs::read(&path).unwrap_or_default();
        bytes.windows(secret.len()).any(|part| part == secret.as_bytes())
    })
}

#[test]
fn a_token_is_kept_by_its_hash_and_is_shown_nowhere() {
    let scratch = Scratch::new();
    let (data, audit) = (scratch.path("data"), scratch.path("audit.log"));
    let flags = ["--requirepass", "root", "--data-dir", &data, "--audit-log", &audit];
    let mut node = Node::with(&flags);
    let mut root = admin(&node);
    root.ask("CONFIG SET slowlog-log-slower-than 0");
    let mut monitor = admin(&node);
    monitor.ask("MONITOR");
    let (token, revoked) = (grant(&mut root, "cart"), grant(&mut root, "cart"));
    assert!(opens(&node, "cart", &token) && !opens(&node, "other", &token));
    root.ask(&format!("MISO.REVOKE cart {revoked}"));
    let mut shown = Vec::new();
    for line in [
        "SLOWLOG GET -1",
        "ACL LOG",
        "CLIENT LIST",
        "ACL LIST",
        "MISO.GRANTS cart",
        "MISO.FUNCTIONS",
    ] {
        shown.push(root.ask(line).to_string());
    }
    root.ask("ECHO the-last-one");
    while shown.last().is_none_or(|line| !line.contains("the-last-one")) {
        shown.push(monitor.read().expect("a line").to_string());
    }
    shown.extend([node.log(), fs::read_to_string(&audit).expect("it is there")]);
    for secret in [&token, &revoked] {
        let told = shown.iter().find(|text| text.contains(secret.as_str()));
        assert!(told.is_none(), "{told:?}");
        assert!(!is_written(Path::new(&data), secret));
    }
    let lines = fs::read_to_string(&audit).expect("it is there");
    let id = root.ask("MISO.GRANTS cart").items()[0].field("id").expect("it is listed").text();
    let line =
        |words: &[&str]| lines.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(line(&["login", "cart", &id]), "{lines}");
    assert!(line(&["MISO.GRANT", "cart", "default"]) && line(&["MISO.REVOKE"]), "{lines}");
    // It is good after a restart; what was revoked is not.
    node.signal(libc::SIGTERM);
    node.wait_for_end();
    let node = Node::with(&flags);
    assert!(opens(&node, "cart", &token) && !opens(&node, "cart", &revoked));
}

#[test]
fn while_no_password_is_needed_a_token_that_is_over_opens_nothing_all_the_same() {
    let node = Node::with(&["--http-port", "0"]);
    let mut root = node.wire();
    let (token, reading) = (grant(&mut root, "cart"), grant(&mut root, "cart READONLY"));
    assert!(opens(&node, "cart", &token) && opens(&node, "other", "-"));
    let mut reader = node.wire();
    reader.ask(&format!("AUTH {reading}"));
    assert!(reader.ask("SET a 1").to_string().starts_with("-NOPERM"));
    assert_eq!(node.http(&token).get("/set/a/1").status, 200);
    root.ask(&format!("MISO.REVOKE cart {token}"));
    let refused = node.wire().ask(&format!("AUTH cart {token}")).to_string();
    assert!(refused.starts_with("-WRONGPASS"), "{refused}");
    assert_eq!(node.http(&token).get("/set/a/1").status, 401);
}

/// Waits until a node knows a token, or knows it no more. Attempts to log in would be held up after some failures.
fn wait_for(root: &mut Wire, function: &str, token: &str, known: bool) {
    let id: String =
        Sha256::digest(token).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    wait_until("a token's state to arrive", || {
        root.ask(&format!("MISO.GRANTS {function}")).to_string().contains(&id) == known
    });
}

#[test]
fn a_token_is_good_on_all_nodes_and_what_one_revokes_no_other_brings_back() {
    let mut cluster = Cluster::with_disks(2, &[]);
    cluster.wait_for_mesh();
    let mut roots = [0, 1].map(|at| {
        let mut root = cluster.node(at).wire();
        assert_eq!(root.ask("CONFIG SET requirepass root").to_string(), "OK");
        root
    });
    let token = grant(&mut roots[0], "cart");
    wait_for(&mut roots[1], "cart", &token, true);
    // Cut off, each knows what it knew, and what happens there.
    let mut there = cluster.node(1).wire();
    assert_eq!(there.ask(&format!("AUTH cart {token}")).to_string(), "OK");
    cluster.isolate(1);
    assert_eq!(roots[0].ask(&format!("MISO.REVOKE cart {token}")).integer(), 1);
    let new = grant(&mut roots[1], "cart");
    let others = grant(&mut roots[0], "other");
    assert!(!opens(cluster.node(0), "cart", &token) && opens(cluster.node(1), "cart", &token));
    assert!(!opens(cluster.node(0), "cart", &new) && !opens(cluster.node(1), "other", &others));
    cluster.net().heal();
    // The connection there ends, and both agree.
    there.rest();
    wait_for(&mut roots[1], "cart", &token, false);
    wait_for(&mut roots[0], "cart", &new, true);
    wait_for(&mut roots[1], "other", &others, true);
    for at in [0, 1] {
        assert!(!opens(cluster.node(at), "cart", &token), "it does not come back");
        assert!(opens(cluster.node(at), "cart", &new) && opens(cluster.node(at), "other", &others));
    }
    [0, 1].into_iter().for_each(|at| cluster.terminate(at));
    [0, 1].into_iter().for_each(|at| cluster.restart(at));
    // A node that comes without data hears of them, too.
    let fresh = cluster.add();
    for at in [0, 1, fresh] {
        let mut root = cluster.node(at).wire();
        wait_for(&mut root, "cart", &new, true);
        wait_for(&mut root, "other", &others, true);
        assert!(!opens(cluster.node(at), "cart", &token), "it does not come back");
        assert!(opens(cluster.node(at), "cart", &new));
    }
}
