//! Strings: the commands beyond SET and GET, and what moves and deletes keys.

use miso_tests::{Node, Resp};

#[test]
fn several_keys_at_once_and_the_older_forms() {
    for resp in Resp::BOTH {
        let node = Node::start();
        node.session_in(resp).script(
            r#"
            MSET a 1 b 2 => OK
            MSET a 1 b => -ERR wrong number of arguments for 'mset' command
            SADD s x => 1
            MGET a b c s => ["1", "2", nil, nil]
            MSETNX c 1 a 9 => 0
            EXISTS c => 0
            MSETNX c 1 d 2 => 1
            SETEX x 100 v => OK
            TTL x => 100
            PSETEX x 100000 v => OK
            TTL x => 100
            SETEX x 0 v => -ERR invalid expire time in 'setex' command
            PSETEX x -1 v => -ERR invalid expire time in 'psetex' command
            SETNX a 2 => 0
            SETNX fresh 2 => 1
            GETSET a 5 => "1"
            GETSET none 5 => nil
            GETSET s 5 => -WRONGTYPE Operation against a key holding the wrong kind of value
            GETDEL a => "5"
            GETDEL a => nil
            GETEX x => "v"
            TTL x => 100
            GETEX x PERSIST => "v"
            TTL x => -1
            GETEX x EX 50 => "v"
            TTL x => 50
            GETEX x EX 50 PERSIST => -ERR syntax error
            GETEX x PX 0 => -ERR invalid expire time in 'getex' command
            GETEX x PXAT 1 => "v"
            EXISTS x => 0
            "#,
        );
    }
}

#[test]
fn parts_of_strings() {
    for resp in Resp::BOTH {
        let node = Node::start();
        node.session_in(resp).script(
            r#"
            APPEND log abc => 3
            EXPIRE log 100 => 1
            APPEND log def => 6
            TTL log => 100
            STRLEN log => 6
            STRLEN none => 0
            SETRANGE log 1 XX => 6
            GET log => "aXXdef"
            TTL log => 100
            SETRANGE new 5 hi => 7
            GET new => "\x00\x00\x00\x00\x00hi"
            SETRANGE none 5 "" => 0
            EXISTS none => 0
            SETRANGE log -1 x => -ERR offset is out of range
            SETRANGE log 536870912 x => -ERR string exceeds maximum allowed size (proto-max-bulk-len)
            GETRANGE log 1 3 => "XXd"
            SUBSTR log -3 -1 => "def"
            GETRANGE none 0 -1 => ""
            SET k1 ohmytext => OK
            SET k2 mynewtext => OK
            LCS k1 k2 => "mytext"
            LCS k1 k2 LEN => 6
            LCS k1 k2 IDX LEN => -ERR If you want both the length and indexes, please just use IDX.
            LCS k1 none => ""
            SADD s x => 1
            LCS k1 s => -ERR The specified keys must contain string values
            "#,
        );
    }
}

#[test]
fn a_bounded_counter_stays_within_its_bounds() {
    let node = Node::start();
    node.session().script(
        r#"
        INCREX c => [1, 1]
        INCREX c BYINT 5 UBOUND 6 EX 100 ENX => [6, 5]
        INCREX c BYINT 5 UBOUND 8 EX 500 => [6, 0]
        TTL c => 100
        INCREX c BYINT 5 UBOUND 8 SATURATE => [8, 2]
        INCREX c BYINT -20 LBOUND 0 SATURATE => [0, -8]
        INCREX c BYINT 1 EX 500 ENX => [1, 1]
        TTL c => 100
        INCREX c BYINT 1 PERSIST => [2, 1]
        TTL c => -1
        INCREX c BYINT 1 NX => [2, 0]
        INCREX none BYINT 1 XX => [0, 0]
        EXISTS none => 0
        INCREX f BYFLOAT 0.5 => ["0.5", "0.5"]
        INCREX c BYINT x => -ERR value is not an integer or out of range
        INCREX c BYINT 1 BYFLOAT 1 => -ERR syntax error
        INCREX c ENX => -ERR syntax error
        INCREX c LBOUND 5 UBOUND 1 => -ERR syntax error
        "#,
    );
}

#[test]
fn keys_are_renamed_copied_and_flushed() {
    let node = Node::start();
    node.session().script(
        r#"
        HSET h f 1 => 1
        EXPIRE h 100 => 1
        RENAME h h2 => OK
        EXISTS h => 0
        TTL h2 => 100
        HGETALL h2 => ["f", "1"]
        RENAME none x => -ERR no such key
        SET x v => OK
        RENAMENX h2 x => 0
        RENAMENX h2 h3 => 1
        COPY h3 h4 => 1
        COPY h3 h4 => 0
        COPY h3 x REPLACE => 1
        TTL x => 100
        COPY h3 h3 => -ERR source and destination objects are the same
        COPY h3 y DB 16 => -ERR DB index is out of range
        ZADD z 1 a 2 b => 2
        RENAME z x => OK
        ZRANGE x 0 -1 WITHSCORES => ["a", "1", "b", "2"]
        SADD s a b => 2
        COPY s s2 => 1
        SMEMBERS s2 => ~["a", "b"]
        PFADD p a b => 1
        COPY p p2 => 1
        PFCOUNT p2 => 2
        GCOUNTER.ADD o n 1 => 1
        RENAME o p3 => -WRONGTYPE...
        RENAME p o => -WRONGTYPE...
        FLUSHDB BAD => -ERR syntax error
        MULTI => OK
        FLUSHDB => QUEUED
        DBSIZE => QUEUED
        EXEC => [OK, 0]
        SET a 1 => OK
        FLUSHALL ASYNC => OK
        DBSIZE => 0
        "#,
    );
}

#[test]
fn what_does_not_merge_is_refused_by_name() {
    let node = Node::start();
    node.session().script(
        r#"
        EVAL "return 1" 0 => -ERR scripts are not run here: only the published ones that docs/http.md names are known
        lpush l x => -ERR 'lpush' is not served: lists are not served yet...
        XADD s * a b => -ERR 'xadd' is not served: streams are not served yet...
        DUMP k => -ERR 'dump' is not served...
        MOVE k 1 => -ERR 'move' is not served...
        "#,
    );
}

#[test]
fn expired_keys_are_counted() {
    let node = Node::start();
    let mut s = node.session();
    s.script("SET a 1 PX 1 => OK\nSET b 1 EX 1000 => OK");
    miso_tests::wait_until("a to be counted", || node.info("expired_keys") == "1");
    s.script("DBSIZE => 1");
    assert_eq!(node.info("db0"), "keys=1,expires=1,avg_ttl=0");
}
