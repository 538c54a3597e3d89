//! Redis's own commands beside a real `redis-server` 7: the same lines to both, and the same answers, byte for byte.

use miso_tests::{Node, Resp};

/// Plays the lines to both servers on one connection each and compares every answer. What Redis prints in the order
/// of a seeded hash (several commands in one user's rules) has no place here.
#[track_caller]
fn same(lines: &str) {
    for resp in Resp::BOTH {
        let miso = Node::start();
        let redis = Node::redis(&[]);
        let (mut ours, mut theirs) = (miso.wire(), redis.wire());
        if resp == Resp::V3 {
            ours.ask("HELLO 3");
            theirs.ask("HELLO 3");
        }
        let mut wrong = Vec::new();
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (got, expected) = (ours.ask(line).to_string(), theirs.ask(line).to_string());
            // Every user's flag in Redis; it is about RESTORE, which there is none of here.
            let expected = expected.replace(", \"sanitize-payload\"", "");
            if got != expected {
                wrong.push(format!("{line}\n      redis {expected}\n      miso  {got}"));
            }
        }
        assert!(
            wrong.is_empty(),
            "{} answers differ in {resp:?}:\n  {}",
            wrong.len(),
            wrong.join("\n  ")
        );
    }
}

/// Bytes of a client come back in errors as they are, text or not, and none of them ends the line.
#[test]
fn errors_repeat_bytes() {
    let commands: [&[&[u8]]; 11] = [
        &[b"fo\xff\x01\r\no", b"a\xffb\0c", b"x"],
        &[b"CLIENT", b"f\xff\r\n\x01"],
        &[b"CONFIG", b"SET", b"\xff\n", b"a"],
        &[b"CONFIG", b"SET", b"appendfsync", b"\xff"],
        &[b"ACL", b"CAT", b"\xff\n"],
        &[b"ACL", b"DRYRUN", b"\xff\n", b"ping"],
        &[b"ACL", b"SETUSER", b"foo", b"\xff\r\n"],
        &[b"HELLO", b"3", b"\xff\r\n"],
        &[b"CLIENT", b"KILL", b"USER", b"\xff\r\n"],
        &[b"CLIENT", b"LIST", b"TYPE", b"\xff\r\n"],
        &[b"LATENCY", b"GRAPH", b"\xff\r\n"],
    ];
    let (miso, redis) = (Node::start(), Node::redis(&[]));
    for command in commands {
        let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
        for word in command {
            bytes.extend(format!("${}\r\n", word.len()).into_bytes());
            bytes.extend([*word, b"\r\n"].concat());
        }
        let raw = |node: &Node| {
            let mut wire = node.wire();
            wire.send(&bytes).expect("the server reads");
            wire.finish();
            wire.rest().escape_ascii().to_string()
        };
        assert_eq!(raw(&miso), raw(&redis), "{}", bytes.escape_ascii());
    }
}

/// INFO has the fields of Redis in its order, but for those about how Redis was built.
#[test]
fn info_fields() {
    const NONE_HERE: [&str; 4] = ["redis_build_id", "atomicvar_api", "gcc_version", "lru_clock"];
    let (miso, redis) = (Node::start(), Node::redis(&[]));
    for section in ["server", "clients", "memory", "persistence", "stats", "replication", "cpu"] {
        let fields = |node: &Node| -> Vec<String> {
            let text = node.session().run(&format!("INFO {section}")).text();
            let names = text.lines().filter_map(|line| line.split_once(':'));
            names.map(|(name, _)| name.to_owned()).collect()
        };
        let (ours, mut theirs) = (fields(&miso), fields(&redis));
        theirs.retain(|field| !NONE_HERE.contains(&field.as_str()));
        let common: Vec<&String> = ours.iter().filter(|field| theirs.contains(field)).collect();
        assert_eq!(common, theirs.iter().collect::<Vec<_>>(), "{section}");
    }
}

#[test]
fn small_talk() {
    same(
        r#"
        PING
        PING hello
        PING a b
        ECHO x
        ECHO
        ECHO a b
        SELECT 0
        SELECT 1
        SELECT -1
        SELECT abc
        SELECT
        NONSENSE
        NONSENSE a b c
        NONSENSE "with \"quotes\"" "and\r\nlines" "\xff"
        NONSENSE aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa b
        aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa b
        "" a
        CLUSTER INFO
        CLUSTER NODES
        READONLY
        READWRITE
        SENTINEL MASTERS
        AUTH x
        AUTH a b c
        AUTH
        HELLO 4
        HELLO x
        HELLO 2 SETNAME "a b"
        HELLO 2 AUTH a
        HELLO 2 FOO
        TYPE absent
        TTL absent
        PTTL absent
        EXISTS absent
        DEL absent
        UNLINK absent
        DBSIZE
        KEYS *
        RANDOMKEY
        SCAN 0
        SCAN 0 MATCH * COUNT 10 TYPE hash
        SCAN abc
        SCAN 0 COUNT 0
        SCAN 0 COUNT x
        SCAN 0 FOO
        HGET absent f
        HGETALL absent
        HMGET absent f g
        HLEN absent
        HKEYS absent
        HVALS absent
        HEXISTS absent f
        HSCAN absent 0
        HSCAN absent x
        MEMORY USAGE absent
        MEMORY FOO
        MEMORY USAGE
        MEMORY USAGE absent SAMPLES
        MEMORY USAGE absent SAMPLES 5 samples 0
        MEMORY USAGE absent SAMPLES -1
        MEMORY USAGE absent SAMPLES x
        MEMORY USAGE absent FOO
        OBJECT ENCODING absent
        OBJECT FREQ absent
        OBJECT FOO absent
        WAIT 0 0
        WAIT x 0
        "#,
    );
}

#[test]
fn clients() {
    same(
        r#"
        CLIENT GETNAME
        CLIENT SETNAME foo
        CLIENT GETNAME
        CLIENT SETNAME "a b"
        CLIENT SETNAME "a\nb"
        CLIENT GETNAME
        CLIENT SETNAME ""
        CLIENT GETNAME
        CLIENT
        CLIENT FOO
        CLIENT FOO a b
        CLIENT ID x
        CLIENT NO-EVICT on
        CLIENT NO-EVICT off
        CLIENT NO-EVICT x
        CLIENT KILL
        CLIENT KILL 1.2.3.4:5
        CLIENT KILL ID 99999
        CLIENT KILL ID abc
        CLIENT KILL ID 0
        CLIENT KILL TYPE foo
        CLIENT KILL USER nosuchuser
        CLIENT KILL FOO bar
        CLIENT KILL ADDR 1.2.3.4:5 LADDR 1.2.3.4:5
        CLIENT LIST TYPE foo
        CLIENT LIST ID abc
        CLIENT LIST ID 99999
        CLIENT LIST FOO
        CLIENT PAUSE abc
        CLIENT PAUSE 1 FOO
        CLIENT UNPAUSE
        CLIENT UNBLOCK 99999
        CLIENT UNBLOCK abc
        CLIENT REPLY FOO
        CLIENT REPLY ON
        CLIENT TRACKINGINFO
        CLIENT GETREDIR
        CLIENT TRACKING MAYBE
        CLIENT TRACKING ON FOO
        CLIENT TRACKING ON REDIRECT
        CLIENT TRACKING ON REDIRECT 99999
        CLIENT TRACKING ON PREFIX a
        CLIENT TRACKING ON OPTIN OPTOUT
        CLIENT TRACKING ON BCAST OPTIN
        CLIENT CACHING YES
        CLIENT TRACKING ON BCAST PREFIX user: PREFIX user:1
        CLIENT TRACKING ON BCAST PREFIX user: PREFIX cart: NOLOOP
        CLIENT TRACKINGINFO
        CLIENT TRACKING ON
        CLIENT TRACKING ON BCAST PREFIX user:1
        CLIENT GETREDIR
        CLIENT TRACKING OFF
        CLIENT TRACKING ON OPTIN
        CLIENT TRACKING ON OPTOUT
        CLIENT CACHING NO
        CLIENT CACHING MAYBE
        CLIENT CACHING YES
        CLIENT TRACKINGINFO
        CLIENT TRACKING OFF
        CLIENT TRACKINGINFO
        "#,
    );
}

#[test]
fn transactions() {
    same(
        r#"
        EXEC
        DISCARD
        MULTI
        MULTI
        PING
        WATCH a
        ECHO x
        EXEC
        MULTI
        FOO
        PING
        EXEC
        MULTI
        ECHO
        EXEC
        MULTI
        DISCARD
        WATCH a b
        UNWATCH
        MULTI
        EXEC
        WATCH
        MULTI x
        MULTI
        SUBSCRIBE
        DISCARD
        MULTI
        CLIENT FOO
        EXEC
        MULTI
        SELECT 7
        TYPE absent
        CLIENT GETNAME
        EXEC
        RESET
        EXEC
        "#,
    );
}

#[test]
fn settings() {
    same(
        r#"
        CONFIG
        CONFIG FOO
        CONFIG GET
        CONFIG GET nosuch
        CONFIG GET save
        CONFIG GET appendonly
        CONFIG GET databases
        CONFIG GET maxmemory
        CONFIG GET maxmemory-policy
        CONFIG GET timeout
        CONFIG GET maxclients
        CONFIG GET tcp-keepalive
        CONFIG GET proto-max-bulk-len
        CONFIG GET client-query-buffer-limit
        CONFIG SET maxmemory 100mb
        CONFIG GET maxmemory
        CONFIG SET maxmemory 0
        CONFIG SET maxmemory 1gb timeout 60
        CONFIG GET timeout
        CONFIG SET maxmemory 0 timeout 0
        CONFIG SET nosuch 1
        CONFIG SET maxmemory abc
        CONFIG SET maxmemory -1
        CONFIG SET timeout -1
        CONFIG SET timeout abc
        CONFIG SET timeout 5 nosuch 1
        CONFIG GET timeout
        CONFIG SET timeout 5 timeout 6
        CONFIG SET maxmemory
        CONFIG SET maxmemory 0 timeout
        CONFIG SET slowlog-max-len 10
        CONFIG GET slowlog-max-*
        CONFIG RESETSTAT
        CONFIG RESETSTAT x
        CONFIG REWRITE
        "#,
    );
}

#[test]
fn users() {
    same(
        r#"
        ACL WHOAMI
        ACL USERS
        ACL LIST
        ACL GETUSER nosuch
        ACL DELUSER default
        ACL DELUSER nosuch
        ACL CAT nosuch
        ACL DRYRUN nosuch PING
        ACL DRYRUN default NOSUCH
        ACL DRYRUN default PING
        ACL DRYRUN default ECHO
        ACL GENPASS 0
        ACL GENPASS abc
        ACL GENPASS 5000
        ACL LOG
        ACL LOG RESET
        ACL LOG abc
        ACL FOO
        ACL SAVE
        ACL LOAD
        ACL SETUSER bob +nosuch
        ACL SETUSER bob nonsense
        ACL SETUSER bob +@nosuch
        ACL SETUSER bob #abc
        ACL SETUSER bob <pw
        ACL SETUSER "with space" on
        ACL SETUSER alice
        ACL LIST
        ACL SETUSER alice on >pw ~cache:* +client|id
        ACL LIST
        ACL USERS
        ACL SETUSER alice +ping
        ACL DRYRUN alice PING
        ACL DRYRUN alice ECHO x
        ACL DRYRUN alice TYPE cache:1
        ACL DRYRUN alice CLIENT ID
        ACL DRYRUN alice CLIENT LIST
        ACL SETUSER alice +type
        ACL DRYRUN alice TYPE cache:1
        ACL DRYRUN alice TYPE other:1
        AUTH alice wrong
        AUTH nosuch pw
        HELLO 2 AUTH alice wrong
        AUTH alice pw
        PING
        ECHO x
        TYPE cache:1
        TYPE other:1
        CLIENT LIST
        CONFIG GET maxmemory
        MULTI
        "#,
    );
    same(
        r#"
        ACL SETUSER a on nopass allkeys allcommands
        ACL GETUSER a
        ACL SETUSER a reset
        ACL GETUSER a
        ACL SETUSER a on >one >two %R~read:* %W~write:* ~both +@all -@dangerous resetchannels &ch:*
        ACL GETUSER a
        ACL SETUSER a <one
        ACL GETUSER a
        ACL SETUSER a nocommands +@connection
        ACL GETUSER a
        ACL DELUSER a b
        "#,
    );
}

#[test]
fn observation() {
    same(
        r#"
        SLOWLOG
        SLOWLOG FOO
        SLOWLOG RESET
        SLOWLOG LEN
        SLOWLOG GET abc
        SLOWLOG GET -2
        LATENCY
        LATENCY FOO
        LATENCY LATEST
        LATENCY RESET
        LATENCY RESET nosuch
        LATENCY HISTORY nosuch
        LATENCY HISTOGRAM nosuch
        INFO nosuch
        LASTSAVE x
        TIME x
        COMMAND INFO nosuch
        COMMAND INFO nosuch PONG
        COMMAND DOCS nosuch
        COMMAND FOO
        COMMAND COUNT x
        COMMAND LIST FILTERBY
        COMMAND LIST FILTERBY FOO x
        COMMAND LIST FILTERBY MODULE nosuch
        COMMAND LIST FILTERBY ACLCAT nosuch
        COMMAND LIST FILTERBY PATTERN nosuch*
        COMMAND GETKEYS
        COMMAND GETKEYS TYPE k
        COMMAND GETKEYS DEL a b c
        "#,
    );
}

#[test]
fn channels() {
    same(
        r#"
        PUBSUB
        PUBSUB FOO
        PUBSUB CHANNELS
        PUBSUB CHANNELS a*
        PUBSUB NUMSUB
        PUBSUB NUMSUB a b
        PUBSUB NUMPAT
        PUBLISH a x
        PUBLISH a
        UNSUBSCRIBE
        UNSUBSCRIBE a
        PUNSUBSCRIBE
        SUNSUBSCRIBE
        SUNSUBSCRIBE a
        SPUBLISH a x
        SPUBLISH a
        SSUBSCRIBE
        PUBSUB SHARDCHANNELS
        PUBSUB SHARDCHANNELS a*
        PUBSUB SHARDNUMSUB
        PUBSUB SHARDNUMSUB a b
        COMMAND GETKEYS SSUBSCRIBE a b
        SUBSCRIBE
        SUBSCRIBE a
        PING
        PING x
        SUBSCRIBE b
        PSUBSCRIBE a*
        TYPE k
        MULTI
        PUNSUBSCRIBE a*
        PUNSUBSCRIBE nothing
        UNSUBSCRIBE b
        UNSUBSCRIBE a
        TYPE k
        SSUBSCRIBE a
        SSUBSCRIBE a
        SUBSCRIBE c
        TYPE k
        PING
        UNSUBSCRIBE
        TYPE k
        SUNSUBSCRIBE b
        SUNSUBSCRIBE
        TYPE k
        "#,
    );
}

/// Bytes that no client sends: the same error, the same close, the same replies before it.
#[test]
fn malformed_input() {
    let miso = Node::start();
    let redis = Node::redis(&[]);
    let long_inline = [b"PING ".to_vec(), vec![b'x'; 70_000]].concat();
    let cases: &[&[u8]] = &[
        b"*1\r\n$-5\r\n",
        b"*1\r\n$abc\r\n",
        b"*1\r\n$\r\n",
        b"*1\r\n$9223372036854775808\r\n",
        b"*1\r\n$99999999999999999999999\r\n",
        b"*1\r\n$1073741824\r\n",
        b"*1\r\n+PING\r\n",
        b"*1\r\n:4\r\n",
        b"*1\r\n\r\n",
        b"*abc\r\n",
        b"*+1\r\n$4\r\nPING\r\n",
        b"*01\r\n$4\r\nPING\r\n",
        b"* 1\r\n$4\r\nPING\r\n",
        b"*1.5\r\n",
        b"*9223372036854775808\r\n",
        b"*2147483648\r\n",
        b"*-5\r\nPING\r\n",
        b"*0\r\nPING\r\n",
        b"*1\r\n$+4\r\nPING\r\n",
        b"*1\r\n$04\r\nPING\r\n",
        b"*1\r\n$0\r\n\r\nPING\r\n",
        b"\r\n\r\n\r\nPING\r\n",
        b"\n\nPING\n",
        b"PING \"unbalanced\r\nPING\r\n",
        b"PING 'unbalanced\r\nPING\r\n",
        b"PING \"a\"b\r\n",
        b"PING \"\\x41\\x4g\\n\"\r\n",
        b"ECHO 'it\\'s'\r\n",
        b"$4\r\nPING\r\n",
        b"+PING\r\nPING\r\n",
        b"PING\r\nPING\r\n*1\r\n$-1\r\nPING\r\n",
        b"*2\r\n$4\r\nECHO\r\n$3\r\nab",
        b"*",
        b"*1",
        b"*1\r",
        b"*1\r\n$",
        b"*1\r\n$4\r\nPI",
        &long_inline,
    ];
    let mut wrong = Vec::new();
    for case in cases {
        let answer = |node: &Node| {
            let mut wire = node.wire();
            // It may close before everything is sent.
            let _ = wire.send(case);
            wire.finish();
            wire.rest().escape_ascii().to_string()
        };
        let (got, expected) = (answer(&miso), answer(&redis));
        if got != expected {
            let shown = &case[..case.len().min(60)];
            wrong.push(format!(
                "{}\n      redis {expected}\n      miso  {got}",
                shown.escape_ascii()
            ));
        }
        miso.assert_alive();
    }
    assert!(wrong.is_empty(), "{} answers differ:\n  {}", wrong.len(), wrong.join("\n  "));
}

/// Redis takes longer frames only from clients that have shown a password.
#[test]
fn malformed_input_without_a_password() {
    let miso = Node::with(&["--requirepass", "secret"]);
    let redis = Node::redis(&["--requirepass", "secret"]);
    for case in [
        &b"*11\r\n"[..],
        b"*10\r\n$4\r\nPING\r\n",
        b"*1\r\n$16385\r\n",
        b"*1\r\n$16384\r\nxx",
        b"PING\r\n",
        b"AUTH wrong\r\n",
        b"AUTH secret\r\n*11\r\n$4\r\n",
        b"HELLO 3 AUTH default secret\r\nPING\r\n*1\r\n",
        b"NONSENSE\r\nECHO\r\nQUIT\r\n",
    ] {
        let answer = |node: &Node| {
            let mut wire = node.wire();
            let _ = wire.send(case);
            wire.finish();
            let text = wire.rest().escape_ascii().to_string();
            // The greeting names the server's own version and modules.
            text.split("$6\\r\\nserver").next().unwrap_or_default().to_owned()
        };
        assert_eq!(answer(&miso), answer(&redis), "{}", case.escape_ascii());
    }
}
