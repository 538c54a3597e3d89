//! Plain keys: Redis's own data on one node, on two that cannot hear each other, and over a restart.

use miso_tests::{Cluster, Frame, Node, Resp, Scratch, Session, Way, all_say, wait_until};

/// Some of every type, with what is to be read of it.
const FILL: &str = r#"
    SET text hello => OK
    SET cache x EX 1000 => OK
    INCRBY count 5 => 5
    INCRBYFLOAT sum 0.1 => "0.1"
    HSET hash a 1 b 2 => 2
    SADD set x y => 2
    ZADD zset 2 b 1.5 a => 2
    PFADD hll x y z => 1
    EXPIRE hash 500 => 1
    SET gone x PX 1 => OK
"#;

const READ: &str = r#"
    GET text => "hello"
    GET cache => "x"
    GET count => "5"
    GET sum => "0.1"
    HGET hash a => "1"
    HGETALL hash => ["a", "1", "b", "2"] || {"a": "1", "b": "2"}
    SMEMBERS set => ~["x", "y"] || ~["x", "y"]
    ZRANGE zset 0 -1 => ["a", "b"]
    ZSCORE zset a => "1.5" || ,1.5
    PFCOUNT hll => 3
    EXISTS text cache count sum hash set zset hll gone => 8
    TYPE text => string
    TYPE hash => hash
    TYPE set => set
    TYPE zset => zset
    TYPE hll => string
    TYPE gone => none
"#;

#[test]
fn every_type_is_there_on_another_node_and_after_a_restart() {
    for resp in Resp::BOTH {
        let disks = Scratch::new();
        let path = disks.join("data").display().to_string();
        let start = || Node::with(&["--node-name", "one", "--data-dir", &path]);
        let mut first = start();
        first.session_in(resp).script(FILL);
        wait_until("a key of one millisecond to expire", || {
            first.session().run("GET gone") == Frame::Null
        });
        first.session_in(resp).script(READ);
        let port = first.session().run("CONFIG GET peer-port").field("peer-port").expect("a port");
        let token = first.session().run("MISO.TOKEN").text();
        let seed = format!("127.0.0.1:{}", port.text());
        let second = Node::with(&["--node-name", "two", "--join", &seed]);
        second.session().script(&format!("MISO.AWAIT {token} 20000 => 1"));
        second.session_in(resp).script(READ);
        // What is written there comes here.
        second.session().script("INCRBY count 2 => 7\nWAIT 1 20000 => 1");
        first.session().script("GET count => \"7\"");
        first.session().script("DECRBY count 2 => 5");
        drop(second);
        first.signal(libc::SIGTERM);
        assert!(first.wait_for_end().success());
        let again = start();
        again.session_in(resp).script(READ);
        let left = again.session().run("TTL hash").integer();
        assert!((400..=500).contains(&left), "{left}");
    }
}

#[test]
fn set_takes_all_options() {
    for resp in Resp::BOTH {
        let node = Node::start();
        node.session_in(resp).script(
            r#"
            SET k 1 NX => OK
            SET k 2 NX => nil
            SET k 2 XX => OK
            SET none 2 XX => nil
            SET k 3 GET => "2"
            SET new 1 GET => nil
            SET new 2 NX GET => "1"
            GET new => "1"
            SET k 4 IFEQ 3 => OK
            SET k 5 IFEQ 3 => nil
            SET none 5 IFEQ 3 => nil
            SET k 6 EX 100 => OK
            TTL k => 100
            SET k 7 KEEPTTL => OK
            TTL k => 100
            SET k 8 => OK
            TTL k => -1
            SET k 9 PXAT 1 => OK
            EXISTS k => 0
            SET k 1 NX XX => -ERR syntax error
            SET k 1 EX 1 PX 1 => -ERR syntax error
            SET k 1 EX 1 KEEPTTL => -ERR syntax error
            SET k 1 EX => -ERR syntax error
            SET k 1 BAD => -ERR syntax error
            SET k 1 EX 0 => -ERR invalid expire time in 'set' command
            SET k 1 EX 9223372036854775807 => -ERR invalid expire time in 'set' command
            SET k 1 PX x => -ERR value is not an integer or out of range
            SADD s x => 1
            SET s y GET => -WRONGTYPE Operation against a key holding the wrong kind of value
            SET s y IFEQ y => -WRONGTYPE Operation against a key holding the wrong kind of value
            SET s y NX => nil
            SET s y => OK
            GET s => "y"
            "#,
        );
    }
}

#[test]
fn counters_and_deadlines_answer_as_redis_does() {
    let node = Node::start();
    node.session().script(
        r#"
        INCR n => 1
        DECR n => 0
        DECRBY n 5 => -5
        SET n 9223372036854775806 => OK
        INCR n => 9223372036854775807
        INCR n => -ERR increment or decrement would overflow
        INCRBY n x => -ERR value is not an integer or out of range
        DECRBY n -9223372036854775808 => -ERR decrement would overflow
        SET t abc => OK
        INCR t => -ERR value is not an integer or out of range
        INCRBYFLOAT t 1 => -ERR value is not a valid float
        INCRBYFLOAT n x => -ERR value is not a valid float
        SET f 10.50 => OK
        INCRBYFLOAT f 0.1 => "10.6"
        INCRBYFLOAT f -5 => "5.6"
        INCRBYFLOAT f inf => -ERR increment would produce NaN or Infinity
        SET k v => OK
        TTL k => -1
        TTL none => -2
        EXPIRE none 10 => 0
        EXPIRE k 10 XX => 0
        EXPIRE k 10 GT => 0
        EXPIRE k 10 NX => 1
        EXPIRE k 20 NX => 0
        EXPIRE k 5 GT => 0
        EXPIRE k 20 GT => 1
        EXPIRE k 30 LT => 0
        EXPIRE k 15 LT => 1
        TTL k => 15
        EXPIRETIME none => -2
        PERSIST k => 1
        PERSIST k => 0
        PTTL k => -1
        EXPIREAT k 33177117420 => 1
        EXPIRETIME k => 33177117420
        PEXPIRETIME k => 33177117420000
        EXPIRE k 1 NX GT => -ERR NX and XX, GT or LT options at the same time are not compatible
        EXPIRE k 1 GT LT => -ERR GT and LT options at the same time are not compatible
        EXPIRE k 1 AB => -ERR Unsupported option AB
        EXPIRE k 9223372036854775807 => -ERR invalid expire time in 'expire' command
        PEXPIRE k 9223372036854775807 => -ERR invalid expire time in 'pexpire' command
        EXPIRE k x => -ERR value is not an integer or out of range
        EXPIRE k -1 => 1
        EXISTS k => 0
        "#,
    );
}

/// A key that has expired is gone for every command, and its memory goes soon.
#[test]
fn what_has_expired_is_gone_for_every_command() {
    let node = Node::start();
    let mut s = node.session();
    s.script("SET k v PX 1 => OK\nHSET h f v => 1\nPEXPIRE h 1 => 1");
    wait_until("both to expire", || s.run("EXISTS k h").integer() == 0);
    s.script(
        "GET k => nil\nTTL k => -2\nTYPE h => none\nHGET h f => nil\nHGETALL h => []\nKEYS * => []\n\
         SCAN 0 COUNT 100 => [\"0\", []]\nRANDOMKEY => nil\nDEL k h => 0\nPERSIST k => 0",
    );
    wait_until("its memory to be given back", || s.run("DBSIZE").integer() == 0);
    // A new life has nothing of the old one.
    s.script("SET n 5 PX 1 => OK");
    wait_until("it to expire", || s.run("EXISTS n").integer() == 0);
    s.script("INCR n => 1\nTTL n => -1");
}

/// A node's time.
fn milliseconds(session: &mut Session) -> u64 {
    let Frame::Array(parts) = session.run("TIME") else { panic!("TIME has two parts") };
    let n = |at: usize| parts[at].text().parse::<u64>().expect("a number");
    n(0) * 1_000 + n(1) / 1_000
}

#[test]
fn what_two_nodes_did_apart_comes_together() {
    let cluster = Cluster::start(2);
    let mut s = cluster.sessions();
    s[0].script(
        "SET n 1 => OK\nSET text a => OK\nSADD set e1 => 1\nPFADD hll e1 => 1\nWAIT 1 20000 => 1",
    );
    cluster.net().between(0, 1, Way::Cut);
    s[0].script(
        "SET n 10 => OK\nINCR both => 1\nEXPIRE both 60 => 1\nHSET h f 1 => 1\nSADD set e2 => 1\n\
         PFADD hll e2 => 1\nZADD z 1 m => 1\nDEL text => 1",
    );
    // The later write has a later time, by clocks of a millisecond.
    let written = milliseconds(&mut s[0]);
    wait_until("the next moment", || milliseconds(&mut s[1]) > written);
    s[1].script(
        "INCRBY n 5 => 6\nINCR both => 1\nEXPIRE both 600 => 1\nHSET h g 2 => 1\nDEL set => 1\n\
         DEL hll => 1\nZADD z 2 m => 1\nSET text b => OK",
    );
    cluster.net().heal();
    all_say(&mut s, "GET n", "\"15\"");
    all_say(&mut s, "GET both", "\"2\"");
    all_say(&mut s, "HMGET h f g", "[\"1\", \"2\"]");
    all_say(&mut s, "SMEMBERS set", "[\"e2\"]");
    all_say(&mut s, "PFCOUNT hll", "1");
    all_say(&mut s, "ZSCORE z m", "\"2\"");
    all_say(&mut s, "GET text", "\"b\"");
    for session in &mut s {
        let left = session.run("TTL both").integer();
        assert!((500..=600).contains(&left), "{left}");
    }
}

/// A key that has expired is taken back on every node, whichever does it.
#[test]
fn expired_keys_leave_every_node() {
    let cluster = Cluster::start(2);
    let mut s = cluster.sessions();
    s[0].script(
        "SET a x PX 300 => OK\nSADD b x => 1\nPEXPIRE b 300 => 1\nSET c x => OK\nWAIT 1 20000 => 1",
    );
    all_say(&mut s, "EXISTS a b c", "1");
    all_say(&mut s, "DBSIZE", "1");
}
