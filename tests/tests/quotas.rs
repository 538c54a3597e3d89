//! Quotas of functions: objects and writes, refused where they are exceeded, for that function alone.

use std::fs;

use miso_tests::{Frame, Node, Resp, Scratch, Wire, wait_until};

fn connect(node: &Node, function: &str) -> Wire {
    let mut wire = node.wire();
    wire.ask(&format!("AUTH {function} -"));
    wire
}

const OBJECTS: &str = "quota: function 'small' may have 3 objects";

/// How many of `count` writes were let through.
fn let_through(wire: &mut Wire, count: usize) -> usize {
    wire.send("GCOUNTER.ADD o n 1\r\n".repeat(count).as_bytes()).expect("it reads");
    let mut answers = Vec::new();
    for _ in 0..count {
        answers.push(wire.read().expect("it answers").is_error());
    }
    answers.iter().filter(|is_error| !**is_error).count()
}

#[test]
fn a_function_has_no_more_objects_than_its_quota() {
    let node = Node::start();
    let mut admin = node.session();
    admin.script("MISO.QUOTA small OBJECTS 3 => OK");
    let (mut small, mut large) = (connect(&node, "small"), connect(&node, "large"));
    assert!(!small.ask("GCOUNTER.ADD a n 1").is_error());
    assert!(!small.ask("SET b 1").is_error());
    assert!(!small.ask("SELECT 1").is_error());
    assert!(!small.ask("SADD c x").is_error());
    for command in ["SET d 1", "ORSET.ADD d n x", "SADD d x", "HSET d f v", "MSET b 2 d 1"] {
        let refused = small.ask(command);
        assert!(
            refused.is_error() && refused.to_string().contains(OBJECTS),
            "{command}: {refused}"
        );
    }
    // What is there can change, go, and make room; reading needs none.
    assert!(!small.ask("SADD c y").is_error());
    assert!(!small.ask("GET nothing").is_error());
    assert!(!small.ask("DEL nothing").is_error());
    assert!(!small.ask("DEL c").is_error());
    assert!(!small.ask("SET d 1").is_error());
    for n in 0..50 {
        assert!(!large.ask(&format!("SET k{n} 1")).is_error());
    }
    admin.script("MISO.QUOTA small OBJECTS 0 => OK");
    assert!(!small.ask("SET e 1").is_error());
    assert_eq!(node.info("quota_refused"), "5");
}

#[test]
fn a_transaction_is_refused_whole_and_makes_nothing() {
    let node = Node::start();
    node.session().script("MISO.QUOTA small OBJECTS 3 => OK");
    let mut small = connect(&node, "small");
    for command in ["SET a 1", "MULTI", "SET b 1", "SET c 1", "SET d 1"] {
        assert!(!small.ask(command).is_error(), "{command}");
    }
    let refused = small.ask("EXEC");
    assert!(refused.to_string().contains(OBJECTS), "{refused}");
    assert_eq!(small.ask("DBSIZE").integer(), 1);
    // It is over, and the next one fits.
    assert!(!small.ask("PING").to_string().contains("QUEUED"));
    for command in ["MULTI", "SET b 1", "SET a 2", "SET c 1", "SET c 2", "EXEC"] {
        assert!(!small.ask(command).is_error(), "{command}");
    }
    assert_eq!(small.ask("DBSIZE").integer(), 3);
}

#[test]
fn a_function_writes_no_more_often_than_its_quota() {
    let node = Node::start();
    let mut admin = node.session();
    admin.script("MISO.QUOTA busy WRITES 20 => OK");
    let (mut busy, mut other) = (connect(&node, "busy"), connect(&node, "other"));
    let through = let_through(&mut busy, 2000);
    assert!((20..1000).contains(&through), "{through}");
    assert_eq!(busy.ask("GCOUNTER.GET o n").integer(), through as i64);
    assert_eq!(let_through(&mut other, 2000), 2000);
    let shown = admin.run("MISO.QUOTA busy").to_string();
    assert!(shown.contains(&(2000 - through).to_string()), "{shown}");
    admin.script("MISO.QUOTA busy WRITES 0 => OK");
    assert_eq!(let_through(&mut busy, 2000), 2000);
}

#[test]
fn quotas_are_settings_and_are_kept() {
    let directory = Scratch::new();
    let file = directory.path("miso.toml");
    fs::write(&file, "").expect("it can");
    let node = Node::with(&[&file, "--quota-objects", "a=1,b=2"]);
    let mut session = node.session_of("admin", Resp::V2);
    session.script("MISO.QUOTA c OBJECTS 7 WRITES 9 => OK");
    session.script("MISO.QUOTA a OBJECTS 0 => OK");
    session.script(r#"CONFIG GET quota-objects => ["quota-objects", "b=2 c=7"]"#);
    session.script(
        r#"MISO.QUOTA c => ["objects", 7, "objects-used", 0, "writes", 9, "refused", 0, "memory", 0, "memory-used", 0, "keybytes", 0, "connections", 0, "connections-used", 0]"#,
    );
    session.script("CONFIG REWRITE => OK");
    let kept = fs::read_to_string(&file).expect("it is there");
    assert!(kept.contains("c=9"), "{kept}");
    for (command, said) in [
        ("MISO.QUOTA c OBJECTS", "syntax error"),
        ("MISO.QUOTA c BYTES 1", "syntax error"),
        ("MISO.QUOTA c OBJECTS -1", "not an integer"),
        ("MISO.QUOTA a#1 OBJECTS 1", "ERR"),
    ] {
        let refused = session.run(command).to_string();
        assert!(refused.contains(said), "{command}: {refused}");
    }
    let output = Node::refused(&["--quota-writes", "a"]);
    assert!(output.stderr.contains("expected function=number"), "{output:?}");
}

#[test]
fn the_objects_of_a_function_take_no_more_memory_than_its_quota() {
    const MOST: i64 = 200_000;
    let node = Node::start();
    let mut admin = node.session();
    let mut small = connect(&node, "small");
    assert!(!small.ask(&format!("SET before {}", "x".repeat(20_000))).is_error());
    admin.script(&format!("MISO.QUOTA small MEMORY {MOST} => OK"));
    let used = |admin: &mut miso_tests::Session| {
        admin.run("MISO.QUOTA small").field("memory-used").expect("it is shown").integer()
    };
    assert!(used(&mut admin) >= 20_000, "what was there before is known: {}", used(&mut admin));
    let value = "x".repeat(1_000);
    // What is written over takes no more.
    for _ in 0..1_000 {
        assert!(!small.ask(&format!("SET again {value}")).is_error());
    }
    let set = |small: &mut Wire, n: usize| small.ask(&format!("SET key{n} {value}"));
    // Writes new keys until one is refused, well before 1 MB.
    let mut next = 0..1_000;
    let mut fill = |small: &mut Wire| {
        let refused = next.by_ref().map(|n| set(small, n)).find(Frame::is_error);
        refused.expect("it is refused").to_string()
    };
    let refused = fill(&mut small);
    assert!(refused.contains("quota: function 'small' may take 200000 bytes"), "{refused}");
    assert!((100_000..=MOST).contains(&used(&mut admin)), "{}", used(&mut admin));
    for command in ["ORSET.ADD o n", "HSET h f", "APPEND again", "MISO.ONCE i SET again2"] {
        wait_until("a refusal", || {
            fill(&mut small);
            small.ask(&format!("{command} {value}")).is_error()
        });
    }
    wait_until("a transaction's refusal", || {
        fill(&mut small);
        assert!(!small.ask("MULTI").is_error());
        assert!(!small.ask(&format!("SET a {value}")).is_error());
        small.ask("EXEC").is_error()
    });
    assert!(small.ask("DBSIZE").integer() < 250, "it has not grown on");
    assert!(!small.ask("GET again").is_error() && !small.ask("DEL before").is_error());
    wait_until("room after a delete", || !set(&mut small, 1).is_error());
    let mut other = connect(&node, "other");
    for n in 0..1_000 {
        assert!(!set(&mut other, n).is_error());
    }
    let shown = admin.run("MISO.FUNCTIONS").field("small").expect("it runs here");
    let quota = shown.field("quota").expect("it has one");
    assert_eq!(quota.field("memory").map(|most| most.integer()), Some(MOST));
    assert!(quota.field("refused").is_some_and(|refused| refused.integer() >= 5));
    assert!(node.info("function_small").contains("quota_refused="));
}

#[test]
fn a_write_that_runs_once_is_counted_once() {
    let node = Node::start();
    let mut admin = node.session();
    admin.script(
        "MISO.QUOTA small OBJECTS 1 => OK
MISO.QUOTA busy WRITES 100 => OK",
    );
    let mut small = connect(&node, "small");
    assert!(!small.ask("MISO.ONCE 1 SET a 1").is_error());
    let refused = small.ask("MISO.ONCE 2 SET b 1").to_string();
    assert!(refused.contains("quota: function 'small' may have 1 objects"), "{refused}");
    assert!(
        !small.ask("MISO.ONCE 2 SET a 2").is_error(),
        "a write that was refused has not used its id"
    );
    let mut busy = connect(&node, "busy");
    busy.send(
        "MISO.ONCE i SET a 1
"
        .repeat(90)
        .as_bytes(),
    )
    .expect("it reads");
    for n in 0..90 {
        let reply = busy.read().expect("it answers").to_string();
        assert!(!reply.starts_with('-'), "{n}: {reply}");
    }
}

#[test]
fn keys_and_connections_of_a_function_are_bounded() {
    let node = Node::start();
    let mut admin = node.session();
    admin.script("MISO.QUOTA small KEYBYTES 10 CONNECTIONS 2 => OK");
    let mut first = connect(&node, "small");
    for command in [
        "SET 12345678901 v",
        "MSET a 1 12345678901 v",
        "GCOUNTER.ADD 12345678901 n",
        "RENAME a 12345678901",
    ] {
        let refused = first.ask(command).to_string();
        assert!(
            refused.contains("quota: function 'small' may have keys of 10 bytes"),
            "{command}: {refused}"
        );
    }
    for command in ["SET 1234567890 v", "GET 12345678901"] {
        assert!(!first.ask(command).is_error(), "{command}");
    }
    let mut second = node.wire();
    assert!(!second.ask("MISO.REGISTER small").is_error());
    let mut third = node.wire();
    for command in ["AUTH small -", "MISO.REGISTER small", "HELLO 3 AUTH small -"] {
        let refused = third.ask(command).to_string();
        assert!(
            refused.contains("quota: function 'small' may have 2 connections"),
            "{command}: {refused}"
        );
    }
    assert!(!third.ask("AUTH other -").is_error());
    // Those that it has may name it again, and one that goes makes room.
    assert!(!first.ask("AUTH small -").is_error());
    drop(second);
    wait_until("room for a connection", || !third.ask("AUTH small -").is_error());
    admin.script("ACL SETUSER bound on >pw ~* &* +@all function=small => OK");
    let refused = node.wire().ask("AUTH bound pw").to_string();
    assert!(refused.contains("may have 2 connections"), "{refused}");
    let shown = admin.run("MISO.QUOTA small");
    assert_eq!(shown.field("connections-used").map(|used| used.integer()), Some(2));
}
