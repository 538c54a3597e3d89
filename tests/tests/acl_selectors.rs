//! Selectors of ACL users, byte for byte as in Redis 7: how they are given, shown and decided by.

use miso_tests::{Node, Wire};

/// Rules, each for a new user of both servers.
const RULES: &[&str] = &[
    "on nopass ~a:* +get (~b:* +set)",
    "on nopass +@all -@dangerous (~b:* &news +@read -get) (allkeys allchannels -@all +set)",
    "on nopass (+get",
    "on nopass (+get ~a:* ) (+set ~b:*)",
    "on nopass ( +get ~a:* )",
    "on nopass ((+get)",
    "on nopass (+get) ~b",
    "on nopass ()",
    "on nopass (",
    "on nopass )",
    "on nopass (+nosuch)",
    "on nopass (on)",
    "on nopass (>password)",
    "on nopass (reset)",
    "on nopass (clearselectors)",
    "on nopass (~* ~a)",
    "on nopass (%R~a +get) (%W~b +set) (%RW~c +@all)",
    "on nopass (%X~a)",
    "on nopass (+get ~a:*) clearselectors",
    "on nopass (+get ~a:*) reset",
    "on nopass (+get ~a:*) clearselectors (+set ~b:*)",
    "on nopass (&news +subscribe) (&chat +publish)",
    "on nopass (+config|get) (+acl -acl|whoami)",
    "on nopass ~c:* +copy (%R~a:* +copy) (%W~b:* +copy)",
    "on nopass +get (~a:* +get) (~b:* +mget)",
    "on nopass (+sort_ro %R~*) (+@all ~a:*)",
];

/// Commands that are tried as that user.
const COMMANDS: &[&str] = &[
    "GET a:1",
    "GET b:1",
    "GET a",
    "SET b:1 v",
    "SET a:1 v",
    "SET b v",
    "MGET a:1 b:1",
    "MGET b:1 a:1",
    "COPY a:1 b:1",
    "COPY a c",
    "SUBSCRIBE news",
    "SUBSCRIBE news chat",
    "PSUBSCRIBE n*",
    "PUBLISH chat hello",
    "PUBLISH news hello",
    "PING",
    "CONFIG GET port",
    "ACL WHOAMI",
    "ACL USERS",
    "SORT_RO a:1",
];

/// What a server answers, without the flag of Redis's that says whether DUMP's payloads are looked at.
fn answer(wire: &mut Wire, line: &str) -> String {
    wire.ask(line)
        .to_string()
        .replace(" sanitize-payload", "")
        .replace(", \"sanitize-payload\"", "")
}

#[test]
fn selectors_are_given_shown_and_decided_by_as_in_redis() {
    let (redis, node) = (Node::redis(&[]), Node::with(&[]));
    let (mut theirs, mut ours) = (redis.wire(), node.wire());
    let mut differences = Vec::new();
    let mut both = |line: &str, of: &str| {
        let (expected, got) = (answer(&mut theirs, line), answer(&mut ours, line));
        if expected != got {
            differences.push(format!("{of}\n  {line}\n    redis {expected}\n    here  {got}"));
        }
    };
    for (number, rules) in RULES.iter().enumerate() {
        let name = format!("user-{number}");
        both(&format!("ACL SETUSER {name} {rules}"), rules);
        both(&format!("ACL GETUSER {name}"), rules);
        for command in COMMANDS {
            both(&format!("ACL DRYRUN {name} {command}"), rules);
        }
    }
    both("ACL LIST", "all");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn what_a_selector_allows_is_done_and_nothing_else() {
    let directory = miso_tests::Scratch::new();
    let file = directory.path("users.acl");
    std::fs::write(&file, "").expect("writable");
    let node = Node::with(&["--aclfile", &file]);
    let mut admin = node.wire();
    let rules = "on >pw ~a:* +get +orset.add (%R~b:* +get) (&news +subscribe)";
    assert_eq!(admin.ask(&format!("ACL SETUSER u {rules}")).to_string(), "OK");
    let try_all = |node: &Node| {
        let mut user = node.wire();
        assert_eq!(user.ask("AUTH u pw").to_string(), "OK");
        for (command, is_allowed) in [
            ("GET a:1", true),
            ("GET b:1", true),
            ("GET c:1", false),
            ("ORSET.ADD a:2 s x", true),
            ("ORSET.ADD b:2 s x", false),
            ("SUBSCRIBE chat", false),
            ("SUBSCRIBE news", true),
        ] {
            let said = user.ask(command);
            assert_eq!(!said.is_error(), is_allowed, "{command}: {said}");
        }
    };
    try_all(&node);
    assert_eq!(admin.ask("ACL SAVE").to_string(), "OK");
    let again = Node::with(&["--aclfile", &file]);
    try_all(&again);
    std::fs::write(&file, "user u on (+get ~a\n").expect("writable");
    let refused = again.wire().ask("ACL LOAD").to_string();
    assert!(refused.contains("line 1: Unmatched parenthesis"), "{refused}");
    // Bound to a function, a selector leads to no other one.
    assert_eq!(
        admin.ask("ACL SETUSER u function=shop (allkeys allchannels +@all)").to_string(),
        "OK"
    );
    let mut bound = node.wire();
    bound.ask("AUTH u pw");
    assert!(bound.ask("SUBSCRIBE __miso__:default:o").is_error());
    assert!(bound.ask("CONFIG GET port").is_error());
    assert_eq!(bound.ask("MISO.FUNCTION").to_string(), "\"shop\"");
}
