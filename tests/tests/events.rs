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
