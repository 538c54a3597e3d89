//! Commands about plain keys whatever they hold: how they are kept, and what nodes wrote at the same time.

use miso_tests::{Cluster, Node, Way, all_say, wait_until};

#[test]
fn object_answers_for_plain_keys_as_redis_does() {
    let node = Node::start();
    let mut s = node.session();
    let (embedded, raw) = ("x".repeat(44), "x".repeat(45));
    let (short, long) = ("y".repeat(64), "y".repeat(65));
    s.script(&format!(
        "SET i -12 => OK\nSET e {embedded} => OK\nSET r {raw} => OK\nSET zero 007 => OK\n\
         HSET h f {short} => 1\nHSET hl f {long} => 1\nSADD si 1 2 => 2\nSADD sm 1 {short} => 2\n\
         SADD sl {long} => 1\nZADD z 1 {short} => 1\nZADD zl 1 {long} => 1\nPFADD p x => 1"
    ));
    let many: Vec<String> = (0..513).map(|n| n.to_string()).collect();
    s.script(&format!("SADD big {} => 512", many[..512].join(" ")));
    for (key, encoding) in [
        ("i", "int"),
        ("e", "embstr"),
        ("r", "raw"),
        ("zero", "embstr"),
        ("h", "listpack"),
        ("hl", "hashtable"),
        ("si", "intset"),
        ("sm", "listpack"),
        ("sl", "hashtable"),
        ("big", "intset"),
        ("z", "listpack"),
        ("zl", "skiplist"),
        ("p", "raw"),
    ] {
        s.script(&format!("OBJECT ENCODING {key} => \"{encoding}\""));
    }
    s.script(&format!("SADD big {} => 1\nOBJECT ENCODING big => \"hashtable\"", many[512]));
    s.script("OBJECT REFCOUNT i => 1\nOBJECT IDLETIME i => 0\nOBJECT FREQ i => -ERR An LFU maxmemory policy...");
}

#[test]
fn what_has_expired_is_described_as_absent() {
    let node = Node::start();
    let mut s = node.session();
    // Until the memory is taken back, a key that has expired is still held.
    for round in 0..20 {
        s.script(&format!("SET k{round} v PX 1 => OK"));
        wait_until("it to expire", || s.run(&format!("EXISTS k{round}")).integer() == 0);
        s.script(&format!(
            "OBJECT ENCODING k{round} => nil\nOBJECT REFCOUNT k{round} => nil\n\
             OBJECT IDLETIME k{round} => nil\nOBJECT FREQ k{round} => nil\n\
             MEMORY USAGE k{round} => nil\nMISO.OBJECT k{round} => nil\n\
             MISO.INFO k{round} \"\" => nil\nMISO.TYPE k{round} \"\" => none\n\
             MISO.EXISTS k{round} \"\" => 0"
        ));
    }
}

#[test]
fn all_values_that_nodes_set_apart_can_be_read() {
    let cluster = Cluster::start(2);
    let mut s = cluster.sessions();
    s[0].script("SET k first => OK\nMISO.VALUES k => [\"first\"]\nWAIT 1 20000 => 1");
    s[0].script("MISO.VALUES absent => []\nSADD set x => 1\nMISO.VALUES set => -WRONGTYPE Operation against a key...");
    cluster.net().between(0, 1, Way::Cut);
    s[0].script("SET k a => OK");
    s[1].script("SET k b => OK");
    cluster.net().heal();
    for session in &mut s {
        wait_until("both values", || session.run("MISO.VALUES k").to_string() == "[\"a\", \"b\"]");
        assert!(["a", "b"].contains(&session.run("GET k").text().as_str()));
    }
    s[1].script("SET k c => OK\nMISO.VALUES k => [\"c\"]");
    all_say(&mut s, "MISO.VALUES k", "[\"c\"]");
}

#[test]
fn members_are_sorted_by_other_keys_and_nothing_is_stored() {
    let node = Node::start();
    let mut s = node.session();
    s.script(
        "SADD t 1 2 3 => 3\nMSET w1 30 w2 20 w3 10 => OK\nHSET h1 n one => 1\nHSET h3 n three => 1\n\
         SORT t BY w* GET # GET h*->n => [\"3\", \"three\", \"2\", nil, \"1\", \"one\"]\n\
         SORT t DESC LIMIT 0 2 => [\"3\", \"2\"]\nSORT_RO t BY w* LIMIT 1 1 => [\"2\"]\n\
         ZADD z 3 a 1 b 2 c => 3\nSORT z BY nosort DESC => [\"a\", \"c\", \"b\"]\n\
         SORT z => -ERR One or more scores can't be converted into double\n\
         SORT z ALPHA => [\"a\", \"b\", \"c\"]\nSORT absent => []\n\
         SORT t STORE l => -ERR 'sort' with STORE is not served: its result is a list, and lists are not served yet\n\
         SORT_RO t STORE l => -ERR syntax error\nSORT w1 => -WRONGTYPE...\n\
         MULTI => OK\nSORT t BY w* => QUEUED\nSET w3 99 => QUEUED\nSORT t BY w* => QUEUED\n\
         EXEC => [[\"3\", \"2\", \"1\"], OK, [\"2\", \"1\", \"3\"]]\n\
         ACL SETUSER clerk on >pw +@all ~t => OK",
    );
    let mut clerk = node.wire();
    clerk.ask("AUTH clerk pw");
    for (line, answer) in [
        ("SORT t BY w*", "-ERR BY option of SORT denied due to insufficient ACL permissions"),
        ("SORT t GET w*", "-ERR GET option of SORT denied due to insufficient ACL permissions"),
        ("SORT t", "[\"1\", \"2\", \"3\"]"),
    ] {
        assert_eq!(clerk.ask(line).to_string(), answer, "{line}");
    }
}

/// Transactions that sort by keys which no word names hold all of the function: they wait for each other, and end.
#[test]
fn transactions_that_sort_by_other_keys_do_not_lock_each_other_out() {
    let node = Node::start();
    let mut s = node.session();
    for n in 0..50 {
        s.script(&format!("SADD t {n} => 1\nSET w{n} {n} => OK"));
    }
    std::thread::scope(|scope| {
        for side in 0..4 {
            let mut s = node.session();
            scope.spawn(move || {
                for round in 0..50 {
                    let key = (side * 13 + round) % 50;
                    s.script(&format!(
                        "MULTI => OK\nSET w{key} 1 => QUEUED\nSORT t BY w* LIMIT 0 1 => QUEUED\n\
                         INCR n => QUEUED\nEXEC => *"
                    ));
                }
            });
        }
    });
    s.script("GET n => \"200\"");
}
