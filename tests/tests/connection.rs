//! What a connection goes through: greeting, names, transactions, subscriptions, being watched and being killed.

use miso_tests::{Frame, Node, Resp, Wire, wait_until};
use std::time::Duration;

fn simple(text: &str) -> Frame {
    Frame::Simple(text.to_owned())
}

#[test]
fn hello() {
    let node = Node::start();
    let mut wire = node.wire();
    let flat = wire.ask("HELLO");
    assert!(matches!(flat, Frame::Array(_)), "{flat}");
    let map = wire.ask("HELLO 3");
    assert!(matches!(map, Frame::Map(_)), "{map}");
    let keys: Vec<String> = map.items().chunks(2).map(|pair| pair[0].text()).collect();
    assert_eq!(keys, ["server", "version", "proto", "id", "mode", "role", "modules"]);
    let field = |key: &str| map.field(key).expect("a field of HELLO");
    assert_eq!(field("server").text(), "redis");
    let version = field("version").text();
    assert_eq!(
        version.split('.').filter(|part| part.parse::<u32>().is_ok()).count(),
        3,
        "{version}"
    );
    assert_eq!(field("proto"), Frame::Integer(3));
    assert_eq!(field("id"), wire.ask("CLIENT ID"));
    assert_eq!(field("mode").text(), "standalone");
    assert_eq!(field("role").text(), "master");
    let module = field("modules").items()[0].clone();
    assert_eq!(module.field("name").map(|name| name.text()).as_deref(), Some("miso"));
    assert!(module.field("ver").is_some_and(|ver| ver.integer() > 0));

    assert_eq!(wire.ask("HELLO 2 SETNAME me").field("proto"), Some(Frame::Integer(2)));
    assert_eq!(wire.ask("CLIENT GETNAME").text(), "me");
    let before = wire.ask("CLIENT GETNAME");
    assert_eq!(wire.ask("HELLO 4").to_string(), "-NOPROTO unsupported protocol version");
    assert_eq!(wire.ask("HELLO 1").to_string(), "-NOPROTO unsupported protocol version");
    assert!(wire.ask("HELLO 3 SETNAME").is_error());
    assert!(wire.ask("HELLO 3 NONSENSE").is_error());
    // A refused greeting changes nothing: still RESP2, still the name.
    assert_eq!(wire.ask("CLIENT GETNAME"), before);
    assert_eq!(wire.ask("EWFLAG.GET o f"), Frame::Integer(0));
}

#[test]
fn reset_and_quit() {
    let node = Node::start();
    let mut wire = node.wire();
    wire.ask("HELLO 3 AUTH fn - SETNAME me");
    wire.ask("MULTI");
    wire.ask("GCOUNTER.ADD o n");
    assert_eq!(wire.ask("RESET"), simple("RESET"));
    assert!(wire.ask("EXEC").is_error());
    assert_eq!(wire.ask("EWFLAG.GET o f"), Frame::Integer(0), "back to RESP2");
    assert_eq!(wire.ask("MISO.FUNCTION").text(), "default");
    assert_eq!(wire.ask("GCOUNTER.GET o n"), Frame::Integer(0));
    wire.command("QUIT");
    assert_eq!(wire.rest(), b"+OK\r\n");
}

#[test]
fn client_names_and_lists() {
    let node = Node::start();
    let mut a = node.wire();
    let mut b = node.wire();
    assert_eq!(a.ask("CLIENT SETNAME alpha"), simple("OK"));
    assert_eq!(a.ask("CLIENT SETINFO LIB-NAME mylib"), simple("OK"));
    assert_eq!(a.ask("CLIENT SETINFO lib-ver 1.2.3"), simple("OK"));
    assert!(a.ask("CLIENT SETINFO NONSENSE x").is_error());
    assert!(a.ask("CLIENT SETINFO LIB-NAME \"a b\"").is_error());
    let id = a.ask("CLIENT ID").integer();
    assert_ne!(id, b.ask("CLIENT ID").integer());
    let info = a.ask("CLIENT INFO").text();
    let field = |name: &str| {
        info.split_whitespace()
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
            .unwrap_or_else(|| panic!("no {name} in {info}"))
            .to_owned()
    };
    assert_eq!(field("id"), id.to_string());
    assert_eq!(field("name"), "alpha");
    assert_eq!(field("lib-name"), "mylib");
    assert_eq!(field("lib-ver"), "1.2.3");
    assert_eq!(field("laddr"), node.address().to_string());
    assert_eq!(field("addr"), a.stream().local_addr().expect("a bound socket").to_string());
    assert_eq!(field("resp"), "2");
    assert_eq!(field("db"), "0");
    assert_eq!(field("cmd"), "client|info");
    for name in ["fd", "age", "idle", "flags", "sub", "psub", "multi", "qbuf", "omem", "user"] {
        field(name);
    }
    let list = b.ask("CLIENT LIST").text();
    assert_eq!(list.lines().count(), 2, "{list}");
    let one = b.ask(&format!("CLIENT LIST ID {id}")).text();
    assert!(one.contains("name=alpha") && one.lines().count() == 1, "{one}");
    assert_eq!(b.ask("CLIENT LIST TYPE pubsub").text(), "");
    assert_eq!(b.ask("CLIENT LIST TYPE normal").text().lines().count(), 2);
    assert_eq!(
        b.ask("CLIENT MAINT_NOTIFICATIONS ON").to_string(),
        "-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP."
    );
    b.assert_alive();
}

#[test]
fn client_kill() {
    let node = Node::start();
    let mut admin = node.wire();
    let mut by_id = node.wire();
    let id = by_id.ask("CLIENT ID").integer();
    assert_eq!(admin.ask(&format!("CLIENT KILL ID {id}")), Frame::Integer(1));
    assert_eq!(by_id.rest(), b"");

    let mut by_address = node.wire();
    by_address.assert_alive();
    let address = by_address.stream().local_addr().expect("a bound socket");
    assert_eq!(admin.ask(&format!("CLIENT KILL {address}")), simple("OK"));
    assert_eq!(by_address.rest(), b"");

    let mut subscriber = node.wire();
    subscriber.ask("SUBSCRIBE ch");
    assert_eq!(admin.ask("CLIENT KILL TYPE pubsub"), Frame::Integer(1));
    assert_eq!(subscriber.rest(), b"");

    assert_eq!(admin.ask("CLIENT KILL ID 99999"), Frame::Integer(0));
    assert_eq!(admin.ask("CLIENT KILL 127.0.0.1:1").to_string(), "-ERR No such client");
    // Oneself only if asked to.
    let me = admin.ask("CLIENT ID").integer();
    assert_eq!(admin.ask(&format!("CLIENT KILL ID {me}")), Frame::Integer(0));
    assert_eq!(admin.ask(&format!("CLIENT KILL ID {me} SKIPME no")), Frame::Integer(1));
    assert_eq!(admin.rest(), b"");
}

#[test]
fn client_reply() {
    let node = Node::start();
    let mut wire = node.wire();
    wire.command("CLIENT REPLY OFF");
    wire.command("PING lost");
    wire.command("GCOUNTER.ADD o n 5");
    assert_eq!(wire.ask("CLIENT REPLY ON"), simple("OK"));
    assert_eq!(wire.ask("GCOUNTER.GET o n"), Frame::Integer(5));
    wire.command("CLIENT REPLY SKIP");
    wire.command("PING lost");
    assert_eq!(wire.ask("PING kept").text(), "kept");
    assert!(wire.ask("CLIENT REPLY MAYBE").is_error());
}

#[test]
fn client_pause_holds_writes_back() {
    let node = Node::start();
    let mut admin = node.wire();
    let mut writer = node.wire();
    assert_eq!(admin.ask("CLIENT PAUSE 600000 WRITE"), simple("OK"));
    assert_eq!(writer.ask("GCOUNTER.GET o n"), Frame::Integer(0), "reads go on");
    writer.command("GCOUNTER.ADD o n");
    assert_eq!(writer.read_within(Duration::from_millis(50)), None);
    assert_eq!(admin.ask("GCOUNTER.GET o n"), Frame::Integer(0));
    assert_eq!(admin.ask("CLIENT UNPAUSE"), simple("OK"));
    assert_eq!(writer.read().expect("the write goes on"), Frame::Integer(1));
    // A pause ends by itself.
    assert_eq!(admin.ask("CLIENT PAUSE 20 ALL"), simple("OK"));
    assert_eq!(writer.ask("GCOUNTER.ADD o n"), Frame::Integer(2));
}

#[test]
fn transactions() {
    for resp in Resp::BOTH {
        let node = Node::start();
        node.session_in(resp).script(
            r#"
            MULTI => OK
            GCOUNTER.ADD o n 5 => QUEUED
            ORSET.ADD o s a b => QUEUED
            GCOUNTER.ADD o n -1 => QUEUED
            ORSET.CARD o s => QUEUED
            EWFLAG.GET o f => QUEUED
            MVREG.VALUE o r => QUEUED
            EXEC => [5, 2, -ERR a grow-only counter cannot decrease, 2, 0, nil] || [5, 2, -ERR a grow-only counter cannot decrease, 2, false, nil]
            GCOUNTER.GET o n => 5

            MULTI => OK
            EXEC => []

            MULTI => OK
            GCOUNTER.ADD o n => QUEUED
            DISCARD => OK
            GCOUNTER.GET o n => 5

            # What cannot be queued spoils the whole.
            MULTI => OK
            GCOUNTER.ADD o n => QUEUED
            GCOUNTER.ADD o => -ERR wrong number of arguments for 'gcounter.add' command
            EXEC => -EXECABORT Transaction discarded because of previous errors.
            MULTI => OK
            NONSENSE => -ERR unknown command...
            GCOUNTER.ADD o n => QUEUED
            EXEC => -EXECABORT Transaction discarded because of previous errors.
            GCOUNTER.GET o n => 5

            MULTI => OK
            MULTI => -ERR MULTI calls can not be nested
            WATCH o => -ERR WATCH inside MULTI is not allowed
            DISCARD => OK
            EXEC => -ERR EXEC without MULTI
            DISCARD => -ERR DISCARD without MULTI
            "#,
        );
    }
}

#[test]
fn watching() {
    let node = Node::start();
    let mut s = node.session();
    let mut other = node.session();
    s.script("WATCH o => OK\nMULTI => OK\nGCOUNTER.ADD o n => QUEUED\nEXEC => [1]");

    // A change of the object by any client, of any of its names.
    s.script("WATCH o p => OK");
    other.script("ORSET.ADD o s a => 1");
    s.script("MULTI => OK\nGCOUNTER.ADD o n => QUEUED\nEXEC => nil\nGCOUNTER.GET o n => 1");

    // EXEC has ended the watch.
    s.script("MULTI => OK\nGCOUNTER.ADD o n => QUEUED\nEXEC => [2]");

    // One's own change before MULTI counts as well.
    s.script("WATCH o => OK\nGCOUNTER.ADD o n => 3\nMULTI => OK\nPING => QUEUED\nEXEC => nil");

    // Deletion is a change, creation too, another object's or another function's is none.
    s.script("WATCH o => OK");
    other.script("MISO.DEL o => 2");
    s.script("MULTI => OK\nPING => QUEUED\nEXEC => nil\nWATCH absent => OK");
    other.script("GCOUNTER.ADD absent n 0 => 0");
    s.script("MULTI => OK\nPING => QUEUED\nEXEC => nil\nWATCH o => OK");
    other.script("GCOUNTER.ADD unrelated n => 1");
    node.session_of("elsewhere", Resp::V2).script("GCOUNTER.ADD o n => 1");
    other.script("ORSET.REM o s nothing => 0\nGCOUNTER.GET o n => 0");
    s.script("MULTI => OK\nPING => QUEUED\nEXEC => [PONG]");

    // UNWATCH and DISCARD forget.
    for forget in ["UNWATCH => OK", "MULTI => OK\nDISCARD => OK"] {
        s.script("WATCH o => OK");
        other.script("GCOUNTER.ADD o n => *");
        s.script(forget);
        s.script("MULTI => OK\nPING => QUEUED\nEXEC => [PONG]");
    }
}

/// No client sees half of a transaction on one object.
#[test]
fn transactions_are_atomic() {
    let node = Node::start();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut s = node.session();
                for _ in 0..300 {
                    let reply = redis::pipe()
                        .atomic()
                        .cmd("PNCOUNTER.ADD")
                        .arg(&["o", "a", "1"])
                        .cmd("PNCOUNTER.SUB")
                        .arg(&["o", "b", "1"])
                        .query::<(i64, i64)>(s.redis());
                    reply.expect("the transaction goes through");
                }
            });
        }
        let mut reader = node.session();
        for _ in 0..300 {
            let reply = reader.run("PNCOUNTER.MGET o a b").items();
            assert_eq!(reply[0].integer() + reply[1].integer(), 0, "half a transaction was seen");
        }
    });
    node.session().script("PNCOUNTER.MGET o a b => [600, -600]");
}

/// Increments by many connections at once: each answer is another number, and none is lost.
#[test]
fn concurrent_increments() {
    let node = Node::start();
    let mut answers: Vec<i64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut s = node.session();
                    (0..500).map(|_| s.run("GCOUNTER.ADD o n").integer()).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    answers.sort_unstable();
    assert!(answers.into_iter().eq(1..=4000));
}

/// Transactions over many objects, in every order, beside commands that walk them all: no client waits for ever.
#[test]
fn transactions_over_many_objects_do_not_lock_each_other_out() {
    let node = Node::start();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let node = &node;
            scope.spawn(move || {
                let mut s = node.session();
                let mut rng = miso_tests::Rng::new(thread);
                for _ in 0..150 {
                    s.run(&format!("WATCH o{} o{}", rng.below(30), rng.below(30)));
                    s.script("MULTI => OK");
                    for _ in 0..rng.below(8) {
                        s.run(&format!("PNCOUNTER.ADD o{} n", rng.below(30)));
                    }
                    match rng.below(5) {
                        0 => drop(s.run("KEYS *")),
                        1 => drop(s.run("SCAN 0 COUNT 100")),
                        2 => drop(s.run(&format!("DEL o{} o{}", rng.below(30), rng.below(30)))),
                        3 => drop(s.run("RANDOMKEY")),
                        _ => drop(s.run("DBSIZE")),
                    }
                    assert!(!s.run("EXEC").is_error());
                    s.run("KEYS o1*");
                }
            });
        }
    });
    node.assert_alive();
}

/// Many connections with deep pipelines at once, among others that idle: each gets its own answers, in order,
/// whichever thread serves it when.
#[test]
fn many_pipelines_beside_each_other() {
    let node = Node::with(&["--threads", "4"]);
    let mut idle: Vec<Wire> = (0..50).map(|_| node.wire()).collect();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let node = &node;
            scope.spawn(move || {
                let mut wires: Vec<Wire> = (0..5).map(|_| node.wire()).collect();
                for round in 0..40 {
                    for (w, wire) in wires.iter_mut().enumerate() {
                        let mut batch = Vec::new();
                        for i in 0..50 {
                            let line = format!(
                                "ECHO {thread}:{w}:{round}:{i}\r\nGCOUNTER.ADD o{thread} n\r\n"
                            );
                            batch.extend_from_slice(line.as_bytes());
                        }
                        wire.send(&batch).expect("sent");
                    }
                    for (w, wire) in wires.iter_mut().enumerate() {
                        for i in 0..50 {
                            let echo = wire.read().expect("a reply").text();
                            assert_eq!(echo, format!("{thread}:{w}:{round}:{i}"));
                            assert!(wire.read().expect("a reply").integer() > 0);
                        }
                    }
                }
            });
        }
    });
    idle.iter_mut().for_each(Wire::assert_alive);
    for thread in 0..8 {
        assert_eq!(node.wire().ask(&format!("GCOUNTER.GET o{thread} n")).integer(), 5 * 40 * 50);
    }
}

fn message(kind: &str, rest: &[&str]) -> Vec<String> {
    std::iter::once(kind).chain(rest.iter().copied()).map(str::to_owned).collect()
}

fn texts(frame: &Frame) -> Vec<String> {
    frame.items().iter().map(Frame::text).collect()
}

#[test]
fn publish_and_subscribe() {
    for resp in Resp::BOTH {
        let node = Node::start();
        let mut listener = node.wire();
        if resp == Resp::V3 {
            listener.ask("HELLO 3");
        }
        let next = |wire: &mut Wire| {
            let frame = wire.read().expect("a message");
            assert_eq!(matches!(frame, Frame::Push(_)), resp == Resp::V3, "{frame}");
            texts(&frame)
        };
        listener.command("SUBSCRIBE a b");
        assert_eq!(next(&mut listener), message("subscribe", &["a", "1"]));
        assert_eq!(next(&mut listener), message("subscribe", &["b", "2"]));
        listener.command("PSUBSCRIBE a*");
        assert_eq!(next(&mut listener), message("psubscribe", &["a*", "3"]));

        let mut sender = node.wire();
        assert_eq!(sender.ask("PUBLISH a hello"), Frame::Integer(2));
        assert_eq!(next(&mut listener), message("message", &["a", "hello"]));
        assert_eq!(next(&mut listener), message("pmessage", &["a*", "a", "hello"]));
        assert_eq!(sender.ask("PUBLISH nobody hello"), Frame::Integer(0));
        assert_eq!(sender.ask("PUBSUB NUMSUB a b c").to_string(), r#"["a", 1, "b", 1, "c", 0]"#);
        assert_eq!(sender.ask("PUBSUB NUMPAT"), Frame::Integer(1));
        assert_eq!(sender.ask("PUBSUB CHANNELS").sorted(), ["a", "b"]);

        listener.command("UNSUBSCRIBE a");
        assert_eq!(next(&mut listener), message("unsubscribe", &["a", "2"]));
        match resp {
            // RESP2 knows no other command while it listens.
            Resp::V2 => {
                assert!(listener.ask("GCOUNTER.GET o n").text().starts_with(
                    "ERR Can't execute 'gcounter.get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET"
                ));
                assert_eq!(listener.ask("PING").to_string(), r#"["pong", ""]"#);
            }
            Resp::V3 => {
                assert_eq!(listener.ask("GCOUNTER.GET o n"), Frame::Integer(0));
                assert_eq!(listener.ask("PING"), simple("PONG"));
            }
        }
        listener.command("UNSUBSCRIBE");
        assert_eq!(next(&mut listener), message("unsubscribe", &["b", "1"]));
        listener.command("PUNSUBSCRIBE");
        assert_eq!(next(&mut listener), message("punsubscribe", &["a*", "0"]));
        assert_eq!(listener.ask("GCOUNTER.GET o n"), Frame::Integer(0));
    }
}

#[test]
fn shard_channels_are_names_of_their_own() {
    for resp in Resp::BOTH {
        let node = Node::start();
        let mut listener = node.wire();
        if resp == Resp::V3 {
            listener.ask("HELLO 3");
        }
        let next = |wire: &mut Wire| texts(&wire.read().expect("a message"));
        listener.command("SSUBSCRIBE a b");
        assert_eq!(next(&mut listener), message("ssubscribe", &["a", "1"]));
        assert_eq!(next(&mut listener), message("ssubscribe", &["b", "2"]));
        listener.command("SUBSCRIBE a");
        assert_eq!(next(&mut listener), message("subscribe", &["a", "1"]));
        listener.command("PSUBSCRIBE *");
        assert_eq!(next(&mut listener), message("psubscribe", &["*", "2"]));

        // What is sent to one kind does not reach the other, not even by a pattern.
        let mut sender = node.wire();
        assert_eq!(sender.ask("SPUBLISH a sharded"), Frame::Integer(1));
        assert_eq!(next(&mut listener), message("smessage", &["a", "sharded"]));
        assert_eq!(sender.ask("PUBLISH b plain"), Frame::Integer(1));
        assert_eq!(next(&mut listener), message("pmessage", &["*", "b", "plain"]));
        assert_eq!(sender.ask("SPUBLISH nobody x"), Frame::Integer(0));
        assert_eq!(
            sender.ask("PUBSUB SHARDNUMSUB a b c").to_string(),
            r#"["a", 1, "b", 1, "c", 0]"#
        );
        assert_eq!(sender.ask("PUBSUB SHARDCHANNELS").sorted(), ["a", "b"]);
        assert_eq!(sender.ask("PUBSUB CHANNELS").sorted(), ["a"]);
        let list = sender.ask("CLIENT LIST TYPE pubsub").text();
        assert!(list.contains(" flags=P ") && list.contains(" sub=1 psub=1 ssub=2 "), "{list}");
        assert!(sender.ask("INFO stats").text().contains("\npubsubshard_channels:2\r\n"));

        listener.command("UNSUBSCRIBE");
        assert_eq!(next(&mut listener), message("unsubscribe", &["a", "1"]));
        listener.command("PUNSUBSCRIBE");
        assert_eq!(next(&mut listener), message("punsubscribe", &["*", "0"]));
        if resp == Resp::V2 {
            assert!(listener.ask("GCOUNTER.GET o n").is_error(), "it still listens");
        }
        listener.command("SUNSUBSCRIBE b");
        assert_eq!(next(&mut listener), message("sunsubscribe", &["b", "1"]));
        listener.command("SUNSUBSCRIBE");
        assert_eq!(next(&mut listener), message("sunsubscribe", &["a", "0"]));
        assert_eq!(listener.ask("GCOUNTER.GET o n"), Frame::Integer(0));

        // A client that leaves takes its registrations along.
        listener.ask("SSUBSCRIBE a");
        drop(listener);
        wait_until("the channel is forgotten", || {
            sender.ask("PUBSUB SHARDCHANNELS").items().is_empty()
        });
    }
}

#[test]
fn changed_objects_are_announced() {
    let node = Node::start();
    let mut listener = node.wire();
    assert!(!listener.ask("SUBSCRIBE __miso__:default:o").is_error());
    let mut all = node.wire();
    assert!(!all.ask("PSUBSCRIBE __miso__:*").is_error());
    let mut s = node.session();

    s.script("GCOUNTER.ADD o n 5 => 5");
    let frame = texts(&listener.read().expect("a message"));
    assert_eq!(frame[..2], message("message", &["__miso__:default:o"]));
    assert!(frame[2].contains('n') && frame[2].contains("gcounter"), "{frame:?}");
    let frame = texts(&all.read().expect("a message"));
    assert_eq!(frame[..3], message("pmessage", &["__miso__:*", "__miso__:default:o"]));

    // What changes nothing and what changes elsewhere is not announced to listeners here.
    s.script("ORSET.REM o s nothing => 0\nGCOUNTER.GET o n => 5\nGCOUNTER.ADD o n -1 => -ERR...");
    node.session_of("cart", Resp::V2).script("ORSET.ADD o s a => 1");
    let frame = texts(&all.read().expect("a message"));
    assert_eq!(frame[2], "__miso__:cart:o");
    assert!(frame[3].contains("orset"), "{frame:?}");

    s.script("MVREG.SET o r x => OK");
    let frame = texts(&listener.read().expect("a message"));
    assert!(frame[2].contains("mvreg"), "the register's change comes next: {frame:?}");
    let frame = texts(&all.read().expect("a message"));
    assert!(frame[3].contains("mvreg"), "{frame:?}");
    s.script("MISO.DEL o => 2");
    assert_eq!(texts(&listener.read().expect("a message"))[1], "__miso__:default:o");
}

/// The `redis` crate's own subscriber.
#[test]
fn subscribing_with_a_client() -> redis::RedisResult<()> {
    let node = Node::start();
    let mut session = node.session();
    let mut listener = session.redis().as_pubsub();
    listener.psubscribe("__miso__:default:*")?;
    node.session().script("EWFLAG.ENABLE basket open => 1");
    let message = listener.get_message()?;
    assert_eq!(message.get_channel_name(), "__miso__:default:basket");
    assert!(message.get_payload::<String>()?.contains("ewflag"));
    Ok(())
}

#[test]
fn monitor() {
    let node = Node::start();
    let mut watcher = node.wire();
    assert_eq!(watcher.ask("MONITOR"), simple("OK"));
    let mut s = node.wire();
    s.ask("GCOUNTER.ADD o \"a \\\"b\\\"\\x00\" 5");
    let line = watcher.read().expect("a line").text();
    // 1339518083.107412 [0 127.0.0.1:60866] "keys" "*"
    let (time, rest) = line.split_once(" [0 ").expect("a time and a database");
    assert!(time.parse::<f64>().is_ok_and(|seconds| seconds > 1e9), "{line}");
    let address = s.stream().local_addr().expect("a bound socket");
    assert_eq!(rest, format!(r#"{address}] "GCOUNTER.ADD" "o" "a \"b\"\x00" "5""#));
    // Secrets are not shown.
    s.ask("AUTH fn s3cret");
    s.ask("PING");
    let mut lines = watcher.read().expect("a line").text();
    if !lines.contains("PING") {
        lines += &watcher.read().expect("a line").text();
    }
    assert!(lines.contains("PING") && !lines.contains("s3cret"), "{lines}");
}

#[test]
fn inline_commands() {
    let node = Node::start();
    let mut wire = node.wire();
    for (bytes, reply) in [
        (&b"PING\r\n"[..], "PONG"),
        (b"PING\n", "PONG"),
        (b"  PING   \"a b\"  \r\n", r#""a b""#),
        (b"GCOUNTER.ADD o 'n m' 5\r\n", "5"),
        (b"GCOUNTER.GET o \"n\\x20m\"\r\n", "5"),
        (b"\r\n\r\n*0\r\nPING\r\n", "PONG"),
        (b"*-1\r\nPING\r\n", "PONG"),
    ] {
        wire.send(bytes).expect("sent");
        assert_eq!(wire.read().expect("a reply").to_string(), reply, "{}", bytes.escape_ascii());
    }
}

#[test]
fn pipelines_answer_in_order() {
    let node = Node::start();
    let mut wire = node.wire();
    let mut batch = Vec::new();
    for i in 0..10_000 {
        batch.extend_from_slice(
            format!("*2\r\n$4\r\nECHO\r\n${}\r\n{i}\r\n", i.to_string().len()).as_bytes(),
        );
    }
    wire.send(&batch).expect("sent");
    for i in 0..10_000 {
        assert_eq!(wire.read().expect("a reply").text(), i.to_string());
    }
}

#[test]
fn big_values_pass_unchanged() {
    let node = Node::start();
    let mut s = node.session();
    let mut rng = miso_tests::Rng::new(11);
    for len in [16 * 1024 - 1, 64 * 1024, 1_000_003, 20_000_000] {
        let value = rng.bytes(len);
        assert_eq!(s.call(&[&b"MVREG.SET"[..], b"o", b"n", &value]), simple("OK"));
        assert_eq!(s.call(&[&b"MVREG.VALUE"[..], b"o", b"n"]), Frame::Bulk(value));
    }
}

#[test]
fn idle_clients_are_closed_if_asked_for() {
    let node = Node::with(&["--timeout", "1"]);
    let mut idle = node.wire();
    idle.assert_alive();
    // A subscriber is never idle.
    let mut listener = node.wire();
    listener.ask("SUBSCRIBE ch");
    assert_eq!(idle.rest(), b"");
    wait_until("the message", || node.wire().ask("PUBLISH ch x") == Frame::Integer(1));
}

#[test]
fn a_half_closed_connection_still_gets_its_replies() {
    let node = Node::start();
    let mut wire = node.wire();
    wire.command("GCOUNTER.ADD o n 7");
    wire.command("PING");
    wire.finish();
    assert_eq!(wire.rest(), b":7\r\n+PONG\r\n");
}
