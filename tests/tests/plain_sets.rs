//! Plain hashes and sets: answers as of a real server, and what two nodes did apart.
//!
//! Hashes' fields with deadlines answer as Redis 8 does.

use miso_tests::{Cluster, Frame, Node, Resp, Session, Way, all_say, wait_until};

#[track_caller]
fn on_one_node(script: &str) {
    for resp in Resp::BOTH {
        Node::start().session_in(resp).script(script);
    }
}

const WRONG: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn hashes_set_count_and_lose_fields() {
    on_one_node(
        r#"
        HSET h a 1 b 2 => 2
        HSET h a 3 c 4 => 1
        HSET h a => -ERR wrong number of arguments for 'hset' command
        HSET h a 1 b => -ERR wrong number of arguments for 'hset' command
        HMSET h a 1 b => -ERR wrong number of arguments for 'hmset' command
        HMSET h d 5 => OK
        HSETNX h a 9 => 0
        HSETNX h e 9 => 1
        HMGET h a b c d e f => ["3", "2", "4", "5", "9", nil]
        HSTRLEN h a => 1
        HSTRLEN h f => 0
        HEXISTS h e => 1
        HDEL h e f => 1
        HLEN h => 4
        HKEYS h => ["a", "b", "c", "d"]
        HVALS h => ["3", "2", "4", "5"]
        HINCRBY h a 4 => 7
        HINCRBY h z -4 => -4
        HINCRBY h a x => -ERR value is not an integer or out of range
        HINCRBY h big 9223372036854775807 => 9223372036854775807
        HINCRBY h big 1 => -ERR increment or decrement would overflow
        HINCRBYFLOAT h a 0.5 => "7.5"
        HINCRBYFLOAT h x 3.0e3 => "3000"
        HINCRBYFLOAT h a abc => -ERR value is not a valid float
        HINCRBYFLOAT h a inf => -ERR value is NaN or Infinity
        HINCRBYFLOAT h far 1e30 => "1000000000000000000000000000000"
        HINCRBY h a 1 => -ERR hash value is not an integer
        HSET h text abc => 1
        HINCRBYFLOAT h text 1 => -ERR hash value is not a float
        HINCRBY h text 1 => -ERR hash value is not an integer
        HDEL h a b c d z big x far text => 9
        EXISTS h => 0
        HDEL h a => 0
        HGET h a => nil
        HGETALL h => [] || {}
        HINCRBYFLOAT n f 0.1 => "0.1"
        HINCRBYFLOAT n f 0.2 => "0.3"
        "#,
    );
}

#[test]
fn hashes_answer_random_fields_and_walks() {
    on_one_node(
        r#"
        HSET h a 1 => 1
        HRANDFIELD h => "a"
        HRANDFIELD none => nil
        HRANDFIELD none 2 => []
        HRANDFIELD h 5 => ["a"]
        HRANDFIELD h -2 => ["a", "a"]
        HRANDFIELD h 0 => []
        HRANDFIELD h 1 WITHVALUES => ["a", "1"] || [["a", "1"]]
        HRANDFIELD h 1 FOO => -ERR syntax error
        HRANDFIELD h x FOO => -ERR value is not an integer or out of range
        HRANDFIELD h -9223372036854775808 => -ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
        HRANDFIELD h 9223372036854775807 WITHVALUES => -ERR value is out of range
        HSCAN h 0 => ["0", ["a", "1"]]
        HSCAN h 0 NOVALUES => ["0", ["a"]]
        HSCAN h 0 MATCH b* COUNT 10 NOVALUES => ["0", []]
        HSCAN h x => -ERR invalid cursor
        HSCAN h 0 FOO => -ERR syntax error
        HSCAN none 0 FOO => ["0", []]
        SSCAN none 0 FOO => ["0", []]
        SADD s a => 1
        SSCAN s 0 NOVALUES => -ERR NOVALUES option can only be used in HSCAN
        GCOUNTER.ADD o n 1 => 1
        HSCAN o 0 NOVALUES => ["0", ["n"]]
        "#,
    );
}

#[test]
fn fields_have_deadlines_of_their_own() {
    on_one_node(
        r#"
        HSET h a 1 b 2 c 3 => 3
        HEXPIRE h 100 FIELDS 2 a x => [1, -2]
        HTTL h FIELDS 3 a b x => [100, -1, -2]
        HTTL none FIELDS 2 a b => [-2, -2]
        HEXPIRE none 10 FIELDS 2 a b => [-2, -2]
        HEXPIRE h 100 NX FIELDS 2 a b => [0, 1]
        HEXPIRE h 200 GT FIELDS 2 a c => [1, 0]
        HEXPIRE h 50 LT FIELDS 2 a c => [1, 1]
        HEXPIRE h 60 XX FIELDS 2 a x => [1, -2]
        HPERSIST h FIELDS 3 a x c => [1, -2, 1]
        HPERSIST h FIELDS 2 a x => [-1, -2]
        HPEXPIREAT h 70368744177001 FIELDS 1 a => [1]
        HEXPIRETIME h FIELDS 2 a c => [70368744178, -1]
        HPEXPIRETIME h FIELDS 1 a => [70368744177001]
        HINCRBY h a 1 => 2
        HINCRBYFLOAT h a 1 => "3"
        HEXPIRETIME h FIELDS 1 a => [70368744178]
        HSET h a 4 => 0
        HEXPIRETIME h FIELDS 1 a => [-1]
        HEXPIREAT h 1 FIELDS 1 a => [2]
        HEXPIRE h 0 FIELDS 2 a b => [-2, 2]
        HGETALL h => ["c", "3"] || {"c": "3"}
        HEXPIREAT h 1 FIELDS 1 c => [2]
        EXISTS h => 0
        "#,
    );
}

#[test]
fn commands_about_deadlines_of_fields_refuse_what_redis_refuses() {
    on_one_node(&format!(
        r#"
        HSET h a 1 => 1
        SET s x => OK
        HEXPIRE h 10 FIELDS 0 a => -ERR Parameter `numFields` should be greater than 0
        HEXPIRE h 10 FIELDS x a => -ERR Parameter `numFields` should be greater than 0
        HEXPIRE h 10 FIELDS 2 a => -ERR The `numfields` parameter must match the number of arguments
        HEXPIRE h 10 FOO 1 a => -ERR Mandatory argument FIELDS is missing or not at the right position
        HEXPIRE h 10 NX XX FIELDS 1 a => -ERR Mandatory argument FIELDS is missing or not at the right position
        HEXPIRE h x FIELDS 1 a => -ERR value is not an integer or out of range
        HEXPIRE h -1 FIELDS 1 a => -ERR invalid expire time, must be >= 0
        HEXPIRE h 9223372036854775807 FIELDS 1 a => -ERR invalid expire time in 'hexpire' command
        HPEXPIREAT h 70368744177664 FIELDS 1 a => -ERR invalid expire time in 'hpexpireat' command
        HEXPIRE s x FIELDS 1 a => {WRONG}
        HEXPIRE h 10 FIELDS => -ERR wrong number of arguments for 'hexpire' command
        HPERSIST h FIELDS 0 a => -ERR Number of fields must be a positive integer
        HTTL h FIELDS 2 a => -ERR The `numfields` parameter must match the number of arguments
        HTTL h FOO 1 a => -ERR Mandatory argument FIELDS is missing or not at the right position
        HTTL s FIELDS 1 a => {WRONG}
        HGETEX h EX x FIELDS 1 a => -ERR value is not an integer or out of range
        HGETEX h EX -1 FIELDS 1 a => -ERR invalid expire time, must be >= 0
        HGETEX h EX 1 PX 1 FIELDS 1 a => -ERR Mandatory argument FIELDS is missing or not at the right position
        HGETEX h PX 9223372036854775807 FIELDS 1 a => -ERR invalid expire time in 'hgetex' command
        HGETEX h FIELDS 2 a => -ERR The `numfields` parameter must match the number of arguments
        HGETEX h EX 10 FOO => -ERR wrong number of arguments for 'hgetex' command
        HGETEX s EX 10 FOO => {WRONG}
        HGETDEL h FIELDS 0 a => -ERR Number of fields must be a positive integer
        HGETDEL s FIELDS x a => {WRONG}
        HSETEX h FOO 1 a 8 => -ERR unknown argument: FOO
        HSETEX s FIELDS 0 a 8 => -ERR invalid number of fields
        HSETEX h FIELDS 2 a 8 => -ERR wrong number of arguments for 'hsetex' command
        HSETEX h FIELDS 1 a 8 EX 100 => -ERR wrong number of arguments for 'hsetex' command
        HSETEX h FNX FXX FIELDS 1 a 8 => -ERR Only one of FXX or FNX arguments can be specified
        HSETEX h EX 1 KEEPTTL FIELDS 1 a 8 => -ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified
        HSETEX h EX -1 FIELDS 1 a 8 => -ERR invalid expire time, must be >= 0
        HSETEX h EXAT 9223372036854775807 FIELDS 1 a 8 => -ERR invalid expire time in 'hsetex' command
        HSETEX s FIELDS 1 a 8 => {WRONG}
        HGETALL h => ["a", "1"] || {{"a": "1"}}
        HTTL h FIELDS 1 a => [-1]
        "#
    ));
}

#[test]
fn fields_are_read_and_written_with_their_deadlines() {
    on_one_node(
        r#"
        HSETEX h EX 100 FIELDS 2 a 1 b 2 => 1
        HTTL h FIELDS 2 a b => [100, 100]
        HSETEX h FNX FIELDS 2 a 9 c 9 => 0
        HSETEX h FXX FIELDS 2 a 9 c 9 => 0
        HSETEX h FXX KEEPTTL FIELDS 1 a 3 => 1
        HSETEX h FNX PX 100000 FIELDS 1 c 4 => 1
        HTTL h FIELDS 3 a b c => [100, 100, 100]
        HSETEX h FIELDS 1 b 5 => 1
        HTTL h FIELDS 1 b => [-1]
        HSETEX h PXAT 1 FIELDS 1 b 6 => 1
        HSETEX none PXAT 1 FIELDS 1 b 6 => 1
        HSETEX none FXX FIELDS 1 b 6 => 0
        EXISTS none => 0
        HGETALL h => ["a", "3", "c", "4"] || {"a": "3", "c": "4"}
        HGETEX h FIELDS 2 a x => ["3", nil]
        HTTL h FIELDS 1 a => [100]
        HGETEX h PERSIST FIELDS 2 a x => ["3", nil]
        HTTL h FIELDS 1 a => [-1]
        HGETEX h EX 200 FIELDS 1 a => ["3"]
        HTTL h FIELDS 1 a => [200]
        HGETEX h EXAT 1 FIELDS 1 c => ["4"]
        HEXISTS h c => 0
        HGETEX none EX 1 FIELDS 2 a b => [nil, nil]
        HGETDEL none FIELDS 2 a b => [nil, nil]
        HGETDEL h FIELDS 3 a a x => ["3", nil, nil]
        EXISTS h => 0
        "#,
    );
}

/// A field that has expired is gone for every command, and the last one takes the key with it.
#[test]
fn fields_that_have_expired_are_gone() {
    let node = Node::start();
    let mut s = node.session();
    s.script("HSET h a 1 b 2 c 3 => 3\nHPEXPIRE h 1 FIELDS 2 a b => [1, 1]");
    wait_until("two fields to expire", || s.run("HLEN h").integer() == 1);
    s.script(
        "HGET h a => nil\nHGETALL h => [\"c\", \"3\"]\nHEXISTS h b => 0\nHTTL h FIELDS 1 a => [-2]\n\
         HSETNX h a 7 => 1\nHTTL h FIELDS 1 a => [-1]\nHINCRBY h b 1 => 1\nHDEL h a b => 2\n\
         HSETEX h PX 1 FIELDS 1 c 4 => 1",
    );
    wait_until("the last field to expire", || s.run("EXISTS h").integer() == 0);
    s.script("HSET h d 1 => 1\nHGETALL h => [\"d\", \"1\"]");
}

#[test]
fn sets_add_remove_and_answer_members() {
    on_one_node(
        r#"
        SADD s a b a => 2
        SADD s a c => 1
        SCARD s => 3
        SISMEMBER s a => 1
        SISMEMBER s x => 0
        SISMEMBER none x => 0
        SMISMEMBER s a x b => [1, 0, 1]
        SMISMEMBER none a b => [0, 0]
        SREM s a x => 1
        SREM none a => 0
        SREM s c => 1
        SMEMBERS s => ["b"] || ~["b"]
        SMEMBERS none => [] || ~[]
        SSCAN s 0 => ["0", ["b"]]
        SSCAN s 0 MATCH x* => ["0", []]
        SRANDMEMBER s => "b"
        SRANDMEMBER s -3 => ["b", "b", "b"]
        SRANDMEMBER s 3 => ["b"]
        SRANDMEMBER s 0 => []
        SRANDMEMBER none => nil
        SRANDMEMBER none 2 => []
        SRANDMEMBER s x => -ERR value is not an integer or out of range
        SRANDMEMBER s 1 2 => -ERR syntax error
        SRANDMEMBER s -9223372036854775808 => -ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
        SPOP s 0 => [] || ~[]
        SPOP s -1 => -ERR value is out of range, must be positive
        SPOP s x => -ERR value is out of range, must be positive
        SPOP s 1 2 => -ERR syntax error
        SPOP s 5 => ["b"] || ~["b"]
        SPOP s => nil
        SPOP s 1 => [] || ~[]
        EXISTS s => 0
        SADD s z => 1
        SPOP s => "z"
        TYPE s => none
        SMOVE none other x => 0
        SADD s a b => 2
        SMOVE s other a => 1
        SMOVE s other a => 0
        SMOVE s s b => 1
        SMOVE s other b => 1
        EXISTS s other => 1
        SCARD other => 2
        "#,
    );
}

/// The members of a set, in order.
fn members(session: &mut Session, command: &str) -> Vec<String> {
    session.run(command).sorted()
}

#[test]
fn sets_are_combined_and_results_stored() {
    for resp in Resp::BOTH {
        let node = Node::start();
        let mut s = node.session_in(resp);
        s.script("SADD a 1 2 3 4 => 4\nSADD b 3 4 5 => 3\nSADD c 4 6 => 2\nSET text x => OK");
        for (command, expected) in [
            ("SINTER a b", &["3", "4"][..]),
            ("SINTER a b c", &["4"]),
            ("SINTER a none", &[]),
            ("SUNION a b none", &["1", "2", "3", "4", "5"]),
            ("SUNION none", &[]),
            ("SDIFF a b none c", &["1", "2"]),
            ("SDIFF none a", &[]),
            ("SDIFF a a", &[]),
        ] {
            assert_eq!(members(&mut s, command), expected, "{command} in {resp:?}");
        }
        s.script(&format!(
            r#"
            SINTERCARD 2 a b => 2
            SINTERCARD 2 a b LIMIT 1 => 1
            SINTERCARD 2 a b LIMIT 0 => 2
            SINTERCARD 1 none => 0
            SINTERCARD 0 a => -ERR numkeys should be greater than 0
            SINTERCARD x a => -ERR numkeys should be greater than 0
            SINTERCARD 2 a => -ERR Number of keys can't be greater than number of args
            SINTERCARD 1 a LIMIT => -ERR syntax error
            SINTERCARD 1 a LIMIT -1 => -ERR LIMIT can't be negative
            SINTERCARD 1 a LIMIT x => -ERR LIMIT can't be negative
            SINTERCARD 1 a FOO => -ERR syntax error
            SINTERCARD 2 none text => {WRONG}
            SINTER none text => {WRONG}
            SUNION a text => {WRONG}
            SINTERSTORE d none text => {WRONG}
            SMOVE a text 1 => {WRONG}
            SMOVE text a 1 => {WRONG}
            SMOVE none text 1 => 0
            SADD text 1 => {WRONG}
            SPOP text => {WRONG}
            EXPIRE a 100 => 1
            SINTERSTORE d a b => 2
            TTL d => -1
            SUNIONSTORE a a b => 5
            TTL a => -1
            SDIFFSTORE text a b => 2
            TYPE text => set
            SUNIONSTORE text none => 0
            TYPE text => none
            SUNIONSTORE none none2 => 0
            GCOUNTER.ADD o n 1 => 1
            SUNIONSTORE o a => -WRONGTYPE Operation against a key holding the wrong kind of value: 'o' is an object with names; HGETALL shows it, and commands such as GCOUNTER.ADD change it
            MULTI => OK
            SUNIONSTORE t a c => QUEUED
            SMOVE t u 6 => QUEUED
            SINTERCARD 2 t a => QUEUED
            EXEC => [6, 1, 5]
            "#
        ));
        assert_eq!(members(&mut s, "SMEMBERS a"), ["1", "2", "3", "4", "5"]);
        assert_eq!(members(&mut s, "SMEMBERS d"), ["3", "4"]);
        // As many as there are, each once; fewer are all different.
        assert_eq!(members(&mut s, "SRANDMEMBER a 9"), ["1", "2", "3", "4", "5"]);
        let mut one = members(&mut s, "SRANDMEMBER a 1");
        one.extend(members(&mut s, "SPOP a 4"));
        one.extend(members(&mut s, "SPOP a 4"));
        one.sort_unstable();
        one.dedup();
        assert_eq!(one, ["1", "2", "3", "4", "5"]);
    }
}

/// A node's time.
fn milliseconds(session: &mut Session) -> u64 {
    let Frame::Array(parts) = session.run("TIME") else { panic!("TIME has two parts") };
    let n = |at: usize| parts[at].text().parse::<u64>().expect("a number");
    n(0) * 1_000 + n(1) / 1_000
}

#[test]
fn sets_of_two_nodes_come_together() {
    let cluster = Cluster::start(2);
    let mut s = cluster.sessions();
    s[0].script(
        "SADD tags a b => 2\nSADD pop x => 1\nSADD from m => 1\nSADD p 1 => 1\nSADD q 2 => 1\n\
         SADD dest old => 1\nSADD low z => 1\nWAIT 1 20000 => 1",
    );
    cluster.net().between(0, 1, Way::Cut);
    s[0].script(
        "SREM tags a => 1\nSPOP pop => \"x\"\nSMOVE from to m => 1\nSUNIONSTORE dest p => 1\n\
         SUNIONSTORE low none => 0",
    );
    s[1].script(
        "SADD tags a c => 1\nSPOP pop => \"x\"\nSADD from n => 1\nSUNIONSTORE dest q => 1\n\
         SADD low y => 1",
    );
    cluster.net().heal();
    for session in &mut s {
        for (key, expected) in [
            // Adding what is there counts against a concurrent remove.
            ("tags", &["a", "b", "c"][..]),
            ("pop", &[]),
            ("from", &["n"]),
            ("to", &["m"]),
            // Both results stay, and what both have seen goes.
            ("dest", &["1", "2"]),
            ("low", &["y"]),
        ] {
            let command = format!("SMEMBERS {key}");
            wait_until(&format!("{key} to be {expected:?}"), || {
                members(session, &command) == expected
            });
        }
    }
}

#[test]
fn hashes_of_two_nodes_come_together() {
    let cluster = Cluster::start(2);
    let mut s = cluster.sessions();
    s[0].script(
        "HSET h n 1 gone x ttl x old x taken x both x => 6\nHSET price sum 0 => 1\nWAIT 1 20000 => 1",
    );
    cluster.net().between(0, 1, Way::Cut);
    s[0].script(
        "HSET h both a => 0\nHINCRBY h n 5 => 6\nHDEL h gone => 1\nHEXPIRE h 100 FIELDS 1 ttl => [1]\n\
         HSETEX h EX 100 FIELDS 1 old a => 1\nHGETDEL h FIELDS 1 taken => [\"x\"]\n\
         HINCRBYFLOAT price sum 0.1 => \"0.1\"",
    );
    // The later write has a later time, by clocks of a millisecond.
    let written = milliseconds(&mut s[0]);
    wait_until("the next moment", || milliseconds(&mut s[1]) > written);
    s[1].script(
        "HSET h both b => 0\nHINCRBY h n 7 => 8\nHINCRBY h other 1 => 1\nHSET h gone y => 0\n\
         HEXPIRE h 1000 FIELDS 1 ttl => [1]\nHSETEX h EX 500 FIELDS 1 old b => 1\n\
         HGETDEL h FIELDS 1 taken => [\"x\"]\nHINCRBYFLOAT price sum 0.2 => \"0.2\"",
    );
    cluster.net().heal();
    all_say(
        &mut s,
        "HMGET h n other gone taken both old",
        "[\"13\", \"1\", \"y\", nil, \"b\", \"b\"]",
    );
    all_say(&mut s, "HGET price sum", "\"0.3\"");
    for session in &mut s {
        let Frame::Array(left) = session.run("HTTL h FIELDS 3 ttl old n") else {
            panic!("HTTL answers for each field")
        };
        let left: Vec<i64> = left.iter().map(Frame::integer).collect();
        // Of two deadlines the longest; a value has its own.
        assert!((900..=1000).contains(&left[0]), "{left:?}");
        assert!((400..=500).contains(&left[1]), "{left:?}");
        assert_eq!(left[2], -1);
    }
}
