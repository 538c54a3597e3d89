//! What a client must not be able to do: break lines by names, take what others have registered, keep
//! rights that were taken away, read secrets, or take the node's memory and time.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use miso_tests::{Frame, Node, Resp, Scratch, Session, Wire, wait_until};

/// A command of any words, as bytes on the wire.
fn encode(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn ask(wire: &mut Wire, words: &[&[u8]]) -> Frame {
    wire.send(&encode(words)).expect("a node takes commands");
    wire.read().expect("a reply")
}

#[test]
fn names_that_would_break_a_line_are_refused_wherever_they_are_given() {
    let node = Node::with(&["--data-dir", "data"]);
    let long = vec![b'F'; 8200];
    let bad: [&[u8]; 5] = [b"z\r\nloading:1", b"a b", b"a#1", b"b\xc3\xbcro", &long];
    let mut wire = node.wire();
    for name in bad {
        let commands: [&[&[u8]]; 4] = [
            &[b"AUTH", name, b"x"],
            &[b"HELLO", b"3", b"AUTH", name, b"x"],
            &[b"MISO.REGISTER", name],
            &[b"MISO.REGISTER", b"f", b"REPLICA", name],
        ];
        for command in commands {
            let reply = ask(&mut wire, command).to_string();
            assert!(reply.starts_with("-ERR invalid "), "{reply}");
            assert!(reply.contains("expected"), "it says what is allowed: {reply}");
        }
        let rule = [b"function=", name].concat();
        let reply = ask(&mut wire, &[b"ACL", b"SETUSER", b"u", &rule]);
        assert!(reply.is_error(), "{reply}");
    }
    // redis-plus-plus sends an empty user for a URL with a password alone.
    let reply = ask(&mut wire, &[b"AUTH", b"", b"pw"]).to_string();
    assert_eq!(reply, "-WRONGPASS invalid username-password pair or user is disabled.");
    assert_eq!(wire.ask("GCOUNTER.ADD o n").to_string(), "1", "the node writes on");
    assert_eq!(node.info("loading"), "0");
    for flag in ["--node-name", "--default-function"] {
        let output = Node::refused(&[flag, "a b"]);
        let text = &output.stderr;
        assert!(text.contains("a name of 1 to 256 bytes"), "{text}");
    }
}

#[test]
fn unregister_ends_what_its_caller_has_registered_and_no_more() {
    let node = Node::with(&["--function-linger", "0"]);
    let mut first = node.session_of("f", Resp::V2);
    first.script("GCOUNTER.ADD o n => 1\nMISO.REGISTER f REPLICA pod-1 TTL 60 => OK");
    let mut other = node.session_of("f", Resp::V2);
    other.script("MISO.UNREGISTER f => 0\nMISO.UNREGISTER f REPLICA pod-1 => 0");
    let replicas = |s: &mut Session| {
        let function = s.run("MISO.FUNCTIONS").field("f").expect("it runs here");
        function.field("replicas").expect("it is shown").sorted()
    };
    assert_eq!(replicas(&mut other), ["pod-1"]);
    // The end of an older connection takes nothing from a newer one.
    other.script("MISO.REGISTER f REPLICA pod-1 => OK\nGCOUNTER.GET o n => 1");
    drop(first);
    assert_eq!(replicas(&mut other), ["pod-1"]);
    other.script("MISO.UNREGISTER f => 1\nMISO.UNREGISTER f => 0");
    // What only a TTL holds can be taken back by name, by any connection of the function.
    other.script("MISO.UNREGISTER f REPLICA pod-1 => 1\nMISO.UNREGISTER f REPLICA pod-1 => 0");
    other.script(
        "MISO.REGISTER f TTL 604801 => -ERR invalid expire time in 'miso.register' command",
    );
}

#[test]
fn functions_cost_little_and_are_bounded() {
    const MANY: u32 = 5000;
    let node = Node::with(&[
        "--peer-port",
        "none",
        "--function-linger",
        "0",
        "--max-functions",
        &(MANY + 1).to_string(),
    ]);
    let mut wire = node.wire();
    let run = |wire: &mut Wire, function: u32, command: &str| {
        let name = format!("f{function}");
        ask(wire, &[b"AUTH", name.as_bytes(), b"-"]);
        wire.ask(command)
    };
    run(&mut wire, 0, "GCOUNTER.GET o n");
    let before: u64 = node.info("used_memory").parse().expect("a number");
    let start = Instant::now();
    for function in 0..MANY {
        run(&mut wire, function, "GCOUNTER.GET o n");
    }
    let each = start.elapsed() / MANY;
    assert!(each < Duration::from_millis(2), "{each:?} a function, with two round trips");
    // Nothing was written: nothing stays once no connection uses them.
    wait_until("the memory of unused functions to come back", || {
        let now: u64 = node.info("used_memory").parse().expect("a number");
        now.saturating_sub(before) < u64::from(MANY) * 256
    });
    for function in 0..=MANY {
        assert_eq!(run(&mut wire, function, "GCOUNTER.ADD o n").to_string(), "1");
    }
    let reply = run(&mut wire, MANY + 1, "GCOUNTER.ADD o n").to_string();
    assert_eq!(reply, format!("-ERR max number of functions reached ({})", MANY + 1));
    let reply = wire.ask("MISO.REGISTER one-more").to_string();
    assert!(reply.starts_with("-ERR max number of functions"), "{reply}");
    assert_eq!(run(&mut wire, 7, "GCOUNTER.GET o n").to_string(), "1", "what is here is served");
}

#[test]
fn many_channels_and_watches_of_one_connection_do_not_delay_others() {
    const MANY: usize = 100_000;
    let node = Node::with(&["--threads", "1"]);
    let mut wire = node.wire();
    let names: Vec<Vec<u8>> = (0..MANY).map(|n| format!("c{n}").into_bytes()).collect();
    for command in [&b"WATCH"[..], b"SUBSCRIBE", b"UNSUBSCRIBE"] {
        let words: Vec<&[u8]> =
            std::iter::once(command).chain(names.iter().map(Vec::as_slice)).collect();
        let mut other = node.wire();
        let start = Instant::now();
        wire.send(&encode(&words)).expect("a node takes commands");
        let replies = if command == b"WATCH" { 1 } else { MANY };
        for _ in 0..replies {
            assert!(!wire.read().expect("a reply").is_error());
        }
        other.assert_alive();
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    }
    assert_eq!(wire.ask("UNWATCH").to_string(), "OK");
}

#[test]
fn rights_that_are_taken_away_reach_listeners() {
    let node = Node::start();
    let mut admin = node.session();
    admin.script(
        "ACL SETUSER foo on >pw ~* &* +@all => OK\nACL SETUSER bar on >pw ~* &* +@all => OK",
    );
    let listen = |user: &str, command: &str| {
        let mut wire = node.wire();
        assert_eq!(wire.ask(&format!("AUTH {user} pw")).to_string(), "OK");
        assert!(!wire.ask(command).is_error());
        wire
    };
    let mut channel = listen("foo", "SUBSCRIBE news");
    let mut pattern = listen("foo", "PSUBSCRIBE n*");
    let mut kept = listen("bar", "SUBSCRIBE news");
    admin.script("ACL SETUSER foo resetchannels &news => OK");
    pattern.rest();
    admin.script("PUBLISH news 1 => 2");
    assert!(channel.read().expect("a message").to_string().contains("news"));
    admin.script("ACL SETUSER foo resetchannels => OK");
    channel.rest();
    let mut monitor = listen("foo", "MONITOR");
    admin.script("ACL DELUSER foo => 1");
    monitor.rest();
    assert!(kept.read().expect("a message").to_string().contains("news"));
    assert!(!kept.ask("PING").is_error());
}

#[test]
fn a_user_bound_to_a_function_sees_and_touches_that_one_alone() {
    let node = Node::start();
    let mut admin = node.session();
    admin.script(
        "ACL SETUSER a on >pw ~* &* +@all function=A => OK\nMISO.REGISTER B => OK\nGCOUNTER.ADD o n => 1",
    );
    let mut a = Session::open(&node.url("a:pw"), Resp::V2).expect("the password is right");
    a.script(
        r#"
        MISO.FUNCTION => "A"
        GCOUNTER.ADD o n 5 => 5
        PUBLISH __miso__:B:o "n gcounter" => -NOPERM...
        PUBLISH __miso__:A:o "n gcounter" => -NOPERM...
        PUBLISH chat hello => 0
        MISO.REGISTER B => -NOPERM...
        "#,
    );
    let shown = [a.run("MISO.FUNCTIONS"), a.run("MISO.NODES"), a.run("MISO.NODE")];
    for shown in shown {
        let text = shown.to_string();
        assert!(!text.contains("\"B\""), "{text}");
    }
    // A pattern brings the changes of its own function alone.
    let mut wire = node.wire();
    assert_eq!(wire.ask("AUTH a pw").to_string(), "OK");
    assert!(wire.ask("SUBSCRIBE __miso__:B:o").to_string().starts_with("-NOPERM"));
    assert!(!wire.ask("PSUBSCRIBE *").is_error());
    let mut listener = node.wire();
    assert!(!listener.ask("SUBSCRIBE __miso__:B:o").is_error());
    admin.script("GCOUNTER.ADD o n => 2");
    a.script("GCOUNTER.ADD o n => 6\nPUBSUB CHANNELS => []");
    assert!(listener.read().expect("a message").to_string().contains("__miso__:B:o"));
    let heard = wire.read().expect("a message").to_string();
    assert!(heard.contains("__miso__:A:o"), "{heard}");
}

#[test]
fn the_default_user_can_be_bound_to_a_function() {
    let node = Node::start();
    let mut admin = node.session();
    admin.script(
        "ACL SETUSER admin on >pw ~* &* +@all => OK\nACL SETUSER default on nopass ~* &* +@all function=A => OK",
    );
    let mut wire = node.wire();
    assert_eq!(wire.ask("MISO.FUNCTION").text(), "A");
    assert_eq!(wire.ask("RESET").to_string(), "RESET");
    assert_eq!(wire.ask("MISO.FUNCTION").text(), "A");
    assert!(wire.ask("MISO.REGISTER B").to_string().starts_with("-NOPERM"));
}

#[test]
fn acl_files_keep_their_mode_their_bytes_and_the_password_of_the_default_user() {
    let directory = Scratch::new();
    let path = directory.join("users.acl");
    fs::write(&path, b"user u\xff on nopass ~k\xfe* &* +@all\n").expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
    let file = path.to_str().expect("a path of text").to_owned();
    let node = Node::with_environment(&["--aclfile", &file], &[("MISO_REQUIREPASS", "secret")]);
    let mut wire = node.wire();
    assert!(wire.ask("PING").to_string().starts_with("-NOAUTH"), "requirepass holds");
    assert_eq!(wire.ask("AUTH secret").to_string(), "OK");
    assert_eq!(wire.ask("ACL SAVE").to_string(), "OK");
    let saved = fs::read(&path).expect("the file");
    let line = b"user u\xff on nopass ~k\xfe* &* +@all";
    assert!(saved.windows(line.len()).any(|bytes| bytes == line), "{}", saved.escape_ascii());
    let mode = fs::metadata(&path).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(wire.ask("ACL LOAD").to_string(), "OK");
}

#[test]
fn acl_dryrun_looks_at_channels_and_at_what_is_done_to_each_key() {
    let node = Node::start();
    node.session().script(
        r#"
        ACL SETUSER u on nopass %R~r* %W~w* &news +@all => OK
        ACL DRYRUN u SUBSCRIBE news => OK
        ACL DRYRUN u SUBSCRIBE news other => "This user has no permissions to access the \'other\' channel"
        ACL DRYRUN u PUBLISH other x => "This user has no permissions to access the \'other\' channel"
        ACL DRYRUN u GCOUNTER.GET r n => OK
        ACL DRYRUN u GCOUNTER.GET w n => "This user has no permissions to access the \'w\' key"
        ACL DRYRUN u ORSET.ADD w n m => OK
        ACL DRYRUN u ORSET.ADD r n m => "This user has no permissions to access the \'r\' key"
        ACL DRYRUN u GCOUNTER.ADD w n => "This user has no permissions to access the \'w\' key"
        ACL GETUSER nosuch => nil
        "#,
    );
}

#[test]
fn secrets_are_withheld_from_monitor_and_the_slow_log() {
    let node = Node::start();
    let mut admin = node.session();
    admin.script(
        "CONFIG SET slowlog-log-slower-than 0 => OK\nACL SETUSER u on >hidden-1 +@all ~* => OK",
    );
    let mut monitor = node.wire();
    assert_eq!(monitor.ask("MONITOR").to_string(), "OK");
    let mut wire = node.wire();
    wire.ask("HELLO 3 AUTH u hidden-1");
    wire.ask("HELLO 3 AUTH u hidden-2");
    let extra = wire.ask("HELLO 3 AUTH u hidden 3").to_string();
    assert!(!extra.contains("'3'"), "{extra}");
    wire.ask("AUTH u hidden-4");
    wire.ask("CONFIG SET requirepass hidden-5");
    wire.ask("CONFIG SET requirepas hidden-6");
    wire.ask("PING the-end");
    let mut shown = String::new();
    while !shown.contains("the-end") {
        shown += &monitor.read().expect("a line").to_string();
        shown.push('\n');
    }
    assert!(shown.contains("(redacted)"), "{shown}");
    let slow = admin.run("SLOWLOG GET -1").to_string();
    assert!(slow.contains("(redacted)"), "{slow}");
    for text in [shown, slow, node.log()] {
        assert!(!text.contains("hidden"), "{text}");
    }
}

#[test]
fn guessing_passwords_is_slowed_counted_and_said() {
    let node = Node::with_environment(&[], &[("MISO_REQUIREPASS", "secret")]);
    let mut wire = node.wire();
    let start = Instant::now();
    let mut guesses = 0;
    while start.elapsed() < Duration::from_secs(2) {
        assert!(wire.ask("AUTH wrong").is_error());
        guesses += 1;
    }
    assert!(guesses < 40, "{guesses} guesses");
    let mut other = node.wire();
    assert_eq!(
        other.ask("AUTH secret").to_string(),
        "OK",
        "the right password waits, and comes in"
    );
    let stats = other.ask("INFO stats").text();
    let counted = format!("acl_access_denied_auth:{guesses}\r\n");
    assert!(stats.contains(&counted), "{guesses}: {stats}");
    let log = node.log();
    assert!(log.contains("authentications failed") && !log.contains("wrong"), "{log}");
}

#[test]
fn the_soft_output_limit_holds_when_nothing_more_is_sent() {
    let node = Node::with(&["--client-output-buffer-limit", "pubsub 32mb 100kb 1"]);
    let mut listener = node.wire();
    assert!(!listener.ask("SUBSCRIBE news").is_error());
    let message = "x".repeat(8 << 20);
    node.session().run(&format!("PUBLISH news {message}"));
    let mut admin = node.session();
    wait_until("the client that does not read to be closed", || {
        !admin.run("CLIENT LIST TYPE pubsub").text().contains("sub=1")
    });
}

/// One reply is bounded while it is made, not when all of it is there.
#[test]
fn one_reply_takes_no_more_than_its_client_may_leave_unread() {
    let node = Node::with(&["--client-output-buffer-limit", "normal 32mb 0 0"]);
    let value = "v".repeat(1 << 20);
    node.session().run(&format!("ORMAP.SET o n f {value}"));
    let fields = "f ".repeat(1000);
    let mut wire = node.wire();
    wire.command(&format!("ORMAP.MGET o n {fields}"));
    wire.rest();
    let mut wire = node.wire();
    wire.ask("MULTI");
    for _ in 0..10 {
        wire.ask(&format!("ORMAP.MGET o n {}", "f ".repeat(20)));
    }
    wire.command("EXEC");
    wire.rest();
    let peak = node.memory("VmHWM");
    assert!(peak < 300 << 20, "{peak} bytes");
    assert_eq!(
        node.session().run(&format!("ORMAP.MGET o n {}", "f ".repeat(20))).items().len(),
        20
    );
}

#[test]
fn all_clients_together_take_no_more_than_they_may() {
    let node = Node::with(&["--maxmemory-clients", "20mb"]);
    let mut listeners: Vec<Wire> = (0..4).map(|_| node.wire()).collect();
    for listener in &mut listeners {
        assert!(!listener.ask("SUBSCRIBE news").is_error());
    }
    let message = "x".repeat(12 << 20);
    node.session().run(&format!("PUBLISH news {message}"));
    wait_until("the largest to be closed", || node.info("evicted_clients") != "0");
    node.assert_alive();
}

#[test]
fn a_function_must_be_named_if_the_node_says_so() {
    let node = Node::with(&["--require-function", "yes"]);
    let mut wire = node.wire();
    assert_eq!(wire.ask("PING").to_string(), "PONG");
    let refused = "-NOFUNCTION this connection has not named a function";
    assert_eq!(wire.ask("GCOUNTER.ADD o n").to_string(), refused);
    assert_eq!(wire.ask("AUTH default x").to_string(), "OK");
    assert_eq!(wire.ask("GCOUNTER.ADD o n").to_string(), refused);
    assert_eq!(wire.ask("AUTH cart x").to_string(), "OK");
    assert_eq!(wire.ask("GCOUNTER.ADD o n").to_string(), "1");
}

#[test]
fn what_users_of_redis_meet() {
    let node = Node::with(&["--timeout", "1"]);
    let mut wire = node.wire();
    for (command, reply) in [
        ("MULTI", "OK"),
        ("PING a b", "QUEUED"),
        ("PING a", "QUEUED"),
        ("EXEC", "[-ERR wrong number of arguments for 'ping' command, \"a\"]"),
        ("CLUSTER FOO", "-ERR unknown subcommand 'FOO'. Try CLUSTER HELP."),
        ("CLUSTER INFO", "-ERR This instance has cluster support disabled"),
        ("CLUSTER", "-ERR wrong number of arguments for 'cluster' command"),
        ("ASKING", "-ERR This instance has cluster support disabled"),
    ] {
        assert_eq!(wire.ask(command).to_string(), reply, "{command}");
    }
    // A client that waits for the end of a pause is not idle.
    let mut admin = node.wire();
    assert_eq!(admin.ask("CLIENT PAUSE 3000").to_string(), "OK");
    wire.command("GCOUNTER.ADD o n");
    assert_eq!(wire.read().expect("a reply after the pause").to_string(), "1");
    let mut monitor = node.wire();
    assert_eq!(monitor.ask("MONITOR").to_string(), "OK");
    node.session_of("cart", Resp::V2).run("GCOUNTER.GET o n");
    let mut line = String::new();
    while !line.contains("GCOUNTER.GET") {
        line = monitor.read().expect("a line").to_string();
    }
    assert!(line.contains(" cart] "), "{line}");
}

#[test]
fn random_names_of_an_object_and_touch() {
    for resp in Resp::BOTH {
        let node = Node::start();
        let mut s = node.session_in(resp);
        s.script(
            r#"
            HRANDFIELD nothing => nil
            HRANDFIELD nothing 3 => []
            GCOUNTER.ADD o a 1 => 1
            HRANDFIELD o => "a"
            HRANDFIELD o 5 => ["a"]
            HRANDFIELD o -3 => ["a", "a", "a"]
            HRANDFIELD o 5 WITHVALUES => ["a", "1"] || [["a", "1"]]
            GCOUNTER.ADD o b 2 => 2
            HRANDFIELD o 5 => ~["a", "b"]
            HRANDFIELD o 0 => []
            HRANDFIELD o x => -ERR value is not an integer or out of range
            HRANDFIELD o 1 NOVALUES => -ERR syntax error
            HRANDFIELD o -1048577 => -ERR value is out of range
            TOUCH o nothing o => 2
            "#,
        );
    }
}
