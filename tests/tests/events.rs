//! Keyspace events: the same as Redis tells of commands, and what is told of other nodes' changes.

use miso_tests::{Cluster, Frame, Node, Resp, Wire, wait_until};

/// A client that listens to all events by their names.
fn listener(node: &Node) -> Wire {
    let mut wire = node.wire();
    assert!(!wire.ask("PSUBSCRIBE __keyevent@*").is_error());
    wire
}

/// The next event: its name and key, with the database if that is not 0.
fn next(wire: &mut Wire) -> String {
    let heard = wire.read().expect("an event").items();
    let (channel, key) = (heard[2].text(), heard[3].text());
    channel.trim_start_matches("__keyevent@").replacen("0__:", "", 1) + " " + &key
}

/// The events of some commands.
fn events(node: &Node, classes: &str, commands: &str) -> Vec<String> {
    let mut session = node.session();
    session.script(&format!("CONFIG SET notify-keyspace-events {classes} => OK"));
    session.script("FLUSHALL => OK");
    let mut wire = listener(node);
    for line in commands.lines().map(str::trim).filter(|line| !line.is_empty()) {
        session.run(line);
    }
    session.script("PUBLISH __keyevent@0__:no more => 1");
    let all = std::iter::repeat_with(|| next(&mut wire));
    all.take_while(|event| event != "no more").collect()
}

const COMMANDS: &str = "
    SET s 1
    SET s 1 EX 100
    SET s EX
    GETEX s PERSIST
    GETEX s EX 100
    GETEX s EXAT 1
    SETEX s 100 v
    PSETEX s 100000 v
    SETNX s v
    SETNX s2 v
    GETSET s 1
    GET s
    GETDEL s
    MSET a 1 b 2
    MSETNX c 1 d 2
    MSETNX c 1 e 2
    INCR n
    DECR n
    INCRBY n 5
    DECRBY n 5
    INCRBYFLOAT n 1.5
    APPEND a x
    SETRANGE a 0 y
    SETBIT bit 1 1
    BITFIELD bit SET u8 0 1
    BITFIELD bit GET u8 0
    BITOP OR dest bit a
    BITOP OR dest no1 no2
    EXPIRE a 100
    EXPIRE a -1
    EXPIRE absent 10
    PERSIST b
    PEXPIRE b 100000
    PERSIST b
    RENAME b b2
    RENAMENX b2 b3
    COPY b3 b4
    COPY b3 b4
    COPY b3 b4 REPLACE
    HSET h f 1
    HSETNX h g 1
    HSETNX h g 1
    HMSET h i 1
    HINCRBY h f 1
    HINCRBYFLOAT h f 1
    HEXPIRE h 100 FIELDS 1 f
    HPERSIST h FIELDS 1 f
    HSETEX h EX 100 FIELDS 1 f v
    HSETEX h FIELDS 1 f v
    HGETEX h EX 100 FIELDS 1 f
    HGETEX h PERSIST FIELDS 1 f
    HGETDEL h FIELDS 1 f
    HDEL h absent
    HEXPIREAT h 1 FIELDS 1 g
    HDEL h i
    SADD t a b c
    SADD t a
    SREM t a
    SREM t a
    SMOVE t t2 b
    SMOVE t t2 absent
    SMOVE t t2 c
    SADD t3 a b c
    SINTERSTORE o t3 t2
    SUNIONSTORE o nope
    SUNIONSTORE o nope
    SDIFFSTORE o t3 nope
    SPOP o 10
    ZADD z 1 a
    ZADD z INCR 1 a
    ZADD z 2 a
    ZADD z 5 a
    ZADD z 5 incr
    ZINCRBY z 1 a
    ZADD z 1 b 2 c 3 d 4 e 5 f
    ZREM z a
    ZREM z absent
    ZREMRANGEBYSCORE z 1 1
    ZREMRANGEBYRANK z 0 0
    ZREMRANGEBYLEX z - (z
    ZADD z 1 b 2 c 3 d 4 e 5 f
    ZPOPMIN z
    ZPOPMAX z
    ZMPOP 1 z MIN
    ZUNIONSTORE zz 1 z
    ZINTERSTORE zz 1 z
    ZDIFFSTORE zz 1 z
    ZRANGESTORE zz z 0 -1
    ZRANGESTORE zz nope 0 -1
    GEOADD geo 1 1 x
    GEOSEARCHSTORE g2 geo FROMLONLAT 1 1 BYRADIUS 10 km
    GEORADIUS geo 1 1 10 km STORE g3
    GEORADIUSBYMEMBER geo x 10 km STORE g3
    PFADD p a
    PFADD p a
    PFMERGE p2 p
    DEL p absent
    UNLINK p2
    SELECT 3
    SET three 1
    MULTI
    SET q 1
    INCR q
    SELECT 0
    DEL q
    DEL s2
    SADD t4 x
    SADD t5 x
    SMOVE t4 t5 x
    EXEC
";

/// Edges of the same commands: what changes nothing, what is over at once, what goes to itself or elsewhere.
const EDGES: &str = "
    SET s 1 NX
    SET s 2 NX
    SET s 2 XX GET
    SET s 4
    SET s 4 KEEPTTL
    SETEX s 100 5
    GETEX s
    GETEX s PERSIST
    GETEX s PERSIST
    GETEX absent EX 5
    EXPIRE s 100 XX
    EXPIRE s 100 NX
    EXPIRE s 50 GT
    EXPIRE s 50 LT
    EXPIREAT s 1
    APPEND a one
    SETRANGE a 1 x
    SETRANGE a 0 EMPTY
    SETBIT a 0 0
    BITFIELD a INCRBY u8 0 1 INCRBY u8 8 1
    BITFIELD a OVERFLOW FAIL INCRBY u8 0 255
    BITFIELD a2 GET u8 0 SET u8 0 0
    INCR a
    INCRBYFLOAT f 1
    INCRBYFLOAT f 0
    INCRBY n 0
    DECRBY n 0
    GETDEL absent
    GETSET g 1
    RENAME f f
    RENAME absent f
    RENAMENX f f
    RENAME f n
    SET r 1 EX 100
    RENAME r r2
    COPY r2 r3
    COPY r2 r3 DB 2
    COPY absent r4
    TOUCH r2
    PERSIST r2
    DEL r2 r3 r2 absent
    HSET h a 1 b 2
    HSET h a 1
    HSETNX h a 1
    HINCRBY h a 0
    HINCRBYFLOAT h c 0
    HDEL h a c
    HDEL absent f
    HEXPIRE h 100 NX FIELDS 1 b
    HEXPIRE h 100 NX FIELDS 1 b
    HEXPIRE h 100 FIELDS 1 absent
    HPEXPIRE h 50000 GT FIELDS 1 b
    HPERSIST h FIELDS 1 b
    HPERSIST h FIELDS 1 b
    HSET h c 3 d 4 e 5
    HEXPIRE h 0 FIELDS 2 c absent
    HPEXPIREAT h 1 FIELDS 1 d
    HGETEX h EXAT 1 FIELDS 1 e
    HGETEX h FIELDS 1 b
    HGETEX h PERSIST FIELDS 1 b
    HGETEX h EX 100 FIELDS 2 b absent
    HGETEX h PERSIST FIELDS 1 b
    HSETEX h FNX FIELDS 1 b 1
    HSETEX h FXX FIELDS 1 b 1
    HSETEX h KEEPTTL FIELDS 1 b 1
    HSETEX h EXAT 1 FIELDS 1 z 1
    HSETEX h2 EXAT 1 FIELDS 1 z 1
    HSETEX h2 PX 100000 FIELDS 2 z 1 y 2
    HGETDEL h2 FIELDS 2 z absent
    HGETDEL h2 FIELDS 1 y
    HEXPIRE h 0 FIELDS 1 b
    SADD s a b c d
    SADD s a e
    SREM s a nope
    SPOP s 1
    SPOP s 0
    SPOP absent
    SMOVE s s b
    SMOVE absent s b
    SMOVE s absent2 nope
    SINTERSTORE s s
    SINTERSTORE s s absent
    SUNIONSTORE u absent
    SADD u 1 2 3
    SDIFFSTORE u u
    SUNIONSTORE v u
    SORT u
    SPOP u 3
    ZADD z 1 a 2 b
    ZADD z XX 5 nope
    ZADD z NX 5 a
    ZADD z GT 0 a
    ZADD z XX CH 7 a
    ZADD z NX INCR 1 a
    ZADD z LT INCR 1 a
    ZADD z GT INCR 1 a
    ZREM z a nope
    ZREMRANGEBYSCORE z 100 200
    ZPOPMIN absent
    ZPOPMIN z 0
    ZPOPMAX z 5
    ZADD z 1 a 2 b 3 c
    ZMPOP 2 absent z MAX COUNT 2
    ZMPOP 2 absent z MIN COUNT 2
    ZADD z 1 a 2 b
    ZRANGESTORE z z 0 0
    ZUNIONSTORE z 1 absent
    ZADD z 1 a
    ZINTERSTORE z 2 z absent
    ZADD z 1 a
    ZDIFFSTORE z 2 z z
    GEOADD geo 1 1 x
    GEOADD geo 1 1 x
    GEOADD geo XX 2 2 y
    GEOADD geo CH 3 3 x
    GEOSEARCHSTORE geo2 geo FROMMEMBER x BYRADIUS 1 km STOREDIST
    GEOSEARCHSTORE geo2 geo FROMLONLAT 80 80 BYRADIUS 1 m
    GEORADIUS geo 80 80 1 m STORE geo2
    PFADD p
    PFADD p
    PFADD p a b
    PFMERGE p
    PFMERGE p absent
    PFMERGE p3 absent
    PFCOUNT p
    BITOP NOT bits a
    BITOP AND bits absent absent2
    MSET a 1 b 2
    UNLINK a a absent
    SELECT 1
    SET one 1
    SELECT 0
    FLUSHDB
    DEL n
    FLUSHALL
    SET last 1
";

#[test]
fn commands_are_told_of_as_redis_tells_of_them() {
    let (ours, theirs) = (Node::start(), Node::redis_8(&[]));
    for classes in ["AE", "Eg", "E$z", "Esh", "EKx"] {
        let (ours, theirs) = (events(&ours, classes, COMMANDS), events(&theirs, classes, COMMANDS));
        assert_eq!(ours, theirs, "{classes}");
        for node in [&ours, &theirs] {
            assert_eq!(node.is_empty(), classes == "EKx");
        }
    }
    let (ours, theirs) = (events(&ours, "AE", EDGES), events(&theirs, "AE", EDGES));
    assert_eq!(ours, theirs);
}

/// What Redis tells of fields that expire, and of a hash that is left without fields.
#[test]
fn fields_that_expire_are_told_of_as_redis_tells_of_them() {
    for node in [Node::start(), Node::redis_8(&[])] {
        let mut s = node.session();
        s.script("CONFIG SET notify-keyspace-events AE => OK");
        let mut wire = listener(&node);
        s.script(
            "HSET h a 1 b 2 c 3 => 3\nHPEXPIRE h 80 FIELDS 2 a b => [1, 1]\nPEXPIRE h 100000 => 1\n\
             HPEXPIRE h 400 FIELDS 1 c => [1]",
        );
        let told: Vec<String> = (0..7).map(|_| next(&mut wire)).collect();
        let expected = ["hset", "hexpire", "expire", "hexpire", "hexpired", "hexpired", "del"];
        assert_eq!(told, expected.map(|event| format!("{event} h")));
        s.script("SET s 1 PXAT 1 => OK");
        let told: Vec<String> = (0..3).map(|_| next(&mut wire)).collect();
        assert_eq!(told, ["set s", "expire s", "expired s"]);
        // A key that is over as a whole is told of as one.
        s.script("HSET k a 1 => 1\nHPEXPIRE k 100000 FIELDS 1 a => [1]\nPEXPIRE k 50 => 1");
        let told: Vec<String> = (0..4).map(|_| next(&mut wire)).collect();
        assert_eq!(told, ["hset", "hexpire", "expire", "expired"].map(|e| format!("{e} k")));
    }
}

/// Fields expire on each node by its own clock, as keys do.
#[test]
fn fields_expire_on_every_node() {
    let cluster = Cluster::with(2, &["--notify-keyspace-events", "AKE"]);
    let mut s = cluster.sessions();
    s.iter_mut().for_each(|s| s.script("GET x => nil"));
    let mut nodes = [listener(cluster.node(0)), listener(cluster.node(1))];
    s[0].script("HSETEX h PX 300 FIELDS 1 a 1 => 1\nHSET h b 2 => 1");
    for wire in &mut nodes {
        let events = std::iter::repeat_with(|| next(wire));
        let mut later = events.skip_while(|event| event == "hset h" || event == "hexpire h");
        assert_eq!(later.next().as_deref(), Some("hexpired h"));
    }
    s[1].script("HPEXPIRE h 50 FIELDS 1 b => [1]");
    for wire in &mut nodes {
        let events = std::iter::repeat_with(|| next(wire));
        let mut later = events.skip_while(|event| event == "hset h" || event == "hexpire h");
        assert_eq!(later.next().as_deref(), Some("hexpired h"));
        assert_eq!(later.next().as_deref(), Some("del h"));
    }
}

#[test]
fn new_keys_and_keys_that_are_missed_are_told_of_if_that_is_asked_for() {
    let node = Node::start();
    let commands = "SET a 1\nSET a 2\nGET b\nMGET a b c\nINCR n\nSADD s x\nDEL a\nSET a 3";
    assert_eq!(
        events(&node, "En$mg", commands),
        [
            "new a",
            "set a",
            "set a",
            "keymiss b",
            "keymiss b",
            "keymiss c",
            "new n",
            "incrby n",
            "new s",
            "del a",
            "new a",
            "set a",
        ]
    );
}

#[test]
fn events_are_off_until_they_are_asked_for_and_stay_in_their_function_and_database() {
    let node = Node::start();
    let mut s = node.session();
    s.script("CONFIG GET notify-keyspace-events => [\"notify-keyspace-events\", \"\"]");
    let mut own = node.wire();
    own.ask("SUBSCRIBE __keyspace@1__:k __keyevent@0__:set");
    own.read().expect("the other answer");
    let mut foreign = listener(&node);
    s.script("SET k off => OK");
    s.script(
        "CONFIG SET notify-keyspace-events q => -ERR CONFIG SET failed...\n\
         CONFIG SET notify-keyspace-events KEA => OK\n\
         CONFIG GET notify-keyspace-events => [\"notify-keyspace-events\", \"AKE\"]",
    );
    node.session_of("shop", Resp::V2)
        .script("SET k theirs => OK\nSELECT 1 => OK\nSET k theirs => OK");
    s.script("SELECT 1 => OK\nHSET k f v => 1\nSELECT 0 => OK\nSET k v => OK");
    let mut read =
        || own.read().expect("a message").items()[1..].iter().map(Frame::text).collect::<Vec<_>>();
    assert_eq!(read(), ["__keyspace@1__:k", "hset"]);
    assert_eq!(read(), ["__keyevent@0__:set", "k"]);
    assert_eq!(next(&mut foreign), "1__:hset k");
}

#[test]
fn changes_of_another_node_and_expiry_are_told_of_on_every_node() {
    let cluster = Cluster::with(2, &["--notify-keyspace-events", "AKEn"]);
    let mut s = cluster.sessions();
    s.iter_mut().for_each(|s| s.script("GET x => nil"));
    let mut there = listener(cluster.node(1));
    let mut here = listener(cluster.node(0));
    s[0].script("HSET session user ada => 1");
    assert_eq!((next(&mut here), next(&mut here)), ("new session".into(), "hset session".into()));
    assert_eq!((next(&mut there), next(&mut there)), ("new session".into(), "hset session".into()));
    s[0].script("PEXPIRE session 300 => 1");
    assert_eq!(next(&mut here), "expire session");
    assert_eq!(next(&mut there), "hset session", "a deadline is a part of its key");
    // On each node by its own clock, once.
    assert_eq!(next(&mut here), "expired session");
    assert_eq!(next(&mut there), "expired session");
    wait_until("the memory to be taken back", || {
        s[0].run("INFO keyspace").text().matches("db0:").count() == 0
    });
    // What takes back memory is no event: the next one is another's.
    s[1].script("SADD t a => 1\nZADD z 1 a => 1\nPFADD p a => 1\nSET a 1 => OK");
    let mut told: Vec<String> = (0..8).map(|_| next(&mut here)).collect();
    told.sort();
    let expected = ["new a", "new p", "new t", "new z", "pfadd p", "sadd t", "set a", "zadd z"];
    assert_eq!(told, expected);
    (0..8).for_each(|_| drop(next(&mut there)));
    s[1].script("DEL t => 1");
    assert_eq!((next(&mut here), next(&mut there)), ("del t".into(), "del t".into()));
}
