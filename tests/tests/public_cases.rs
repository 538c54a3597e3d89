//! What went wrong with counters, deadlines and collections in other systems, as their users and auditors told it in
//! public, played on real nodes.

use miso_tests::{Cluster, Frame, Node, Session, Way, agree, all_say, wait_until};
use redis::Value;
use std::path::Path;
use std::time::{Duration, Instant};

/// The library that gives a process another time.
fn faketime() -> String {
    let found = [
        "/usr/lib/x86_64-linux-gnu/faketime",
        "/usr/lib/aarch64-linux-gnu/faketime",
        "/usr/local/lib/faketime",
    ]
    .map(|directory| format!("{directory}/libfaketimeMT.so.1"))
    .into_iter()
    .find(|path| Path::new(path).exists());
    found.expect("libfaketime, which `cargo xtask test` installs")
}

/// Runs on each of two nodes while they cannot hear each other.
fn apart(cluster: &Cluster, s: &mut [Session], first: &str, second: &str) {
    cluster.net().between(0, 1, Way::Cut);
    s[0].script(first);
    s[1].script(second);
    cluster.net().heal();
}

/// Two nodes that both know what `script` made on the first.
fn pair(script: &str) -> (Cluster, Vec<Session>) {
    let cluster = Cluster::start(2);
    let mut s = cluster.sessions();
    s[0].script(script);
    let token = s[0].run("MISO.TOKEN").text();
    s[1].script(&format!("MISO.AWAIT {token} 20000 => 1"));
    (cluster, s)
}

/// Sends commands in great pipelines; none may fail.
#[track_caller]
fn flood(session: &mut Session, lines: impl Iterator<Item = String>) {
    let lines: Vec<String> = lines.collect();
    for some in lines.chunks(1_000) {
        let mut pipe = redis::pipe();
        for line in some {
            let mut words = line.split(' ');
            let command = pipe.cmd(words.next().expect("a command"));
            words.for_each(|word| _ = command.arg(word));
        }
        pipe.query::<Vec<Value>>(session.redis()).expect("all commands succeed");
    }
}

/// harper #2127: ten counters that expire, fifty concurrent adds each: what is stored is what was acknowledged. The
/// clients here add on two nodes, and each add sets the deadline anew.
#[test]
fn harper_2127_counters_with_deadlines_store_what_was_acknowledged() {
    let (_cluster, mut s) = pair("PING => PONG");
    std::thread::scope(|scope| {
        for session in &mut s {
            scope.spawn(move || {
                let add = |n| [format!("INCR c{}", n % 10), format!("PEXPIRE c{} 60000", n % 10)];
                flood(session, (0..250).flat_map(add));
            });
        }
    });
    for key in 0..10 {
        all_say(&mut s, &format!("GET c{key}"), "\"50\"");
        s[0].script(&format!("PERSIST c{key} => 1\nPEXPIRE c{key} 500 => 1"));
    }
    for key in 0..10 {
        all_say(&mut s, &format!("EXISTS c{key}"), "0");
    }
}

/// drakeydb: INCR beside EXPIRE on another node loses counts, or leaves a key that never expires.
#[test]
fn drakeydb_counts_beside_deadlines_keep_both() {
    let (cluster, mut s) = pair("SET hits 10 EX 100 => OK");
    apart(
        &cluster,
        &mut s,
        "INCR hits => 11\nEXPIRE hits 200 => 1\nINCR fresh => 1\nEXPIRE fresh 60 => 1",
        "INCRBY hits 5 => 15\nINCR fresh => 1\nEXPIRE fresh 60 => 1",
    );
    all_say(&mut s, "GET hits", "\"16\"");
    all_say(&mut s, "GET fresh", "\"2\"");
    for session in &mut s {
        let (hits, fresh) = (session.run("TTL hits").integer(), session.run("TTL fresh").integer());
        assert!((150..=200).contains(&hits) && (1..=60).contains(&fresh), "{hits} {fresh}");
    }
}

/// drakeydb: what a cut-off node wrote before a key expired makes the key again, for ever.
#[test]
fn drakeydb_a_late_change_does_not_bring_an_expired_key_back() {
    let (cluster, mut s) = pair("HSET session user ada => 1\nPEXPIRE session 700 => 1");
    cluster.net().between(0, 1, Way::Cut);
    s[1].script("HSET session page 1 => 1");
    for session in &mut s {
        wait_until("the end", || session.run("EXISTS session").integer() == 0);
    }
    cluster.net().heal();
    s[0].script("SET after 1 => OK");
    all_say(&mut s, "GET after", "\"1\"");
    all_say(&mut s, "HGETALL session", "[]");
    s[1].script("HSET session user bob => 1");
    all_say(&mut s, "HGETALL session", "[\"user\", \"bob\"]");
    all_say(&mut s, "TTL session", "-1");
}

/// drakeydb: SUNIONSTORE on two nodes at once ends as a third value, another on each node. Here both results stay,
/// which is their union, and all nodes have the same.
#[test]
fn drakeydb_results_that_two_nodes_store_end_the_same_everywhere() {
    let (cluster, mut s) = pair("SADD a 1 2 => 2\nSADD b 2 3 => 2\nSADD c 9 => 1");
    apart(&cluster, &mut s, "SUNIONSTORE to a b => 3", "SUNIONSTORE to a c => 3");
    all_say(&mut s, "SMEMBERS to", "~[\"1\", \"2\", \"3\", \"9\"]");
}

/// The audit of a fork: two increments on two nodes end as one.
#[test]
fn audit_two_increments_are_two() {
    let (cluster, mut s) = pair("SET n 0 => OK\nHSET h n 0 => 1\nZADD z 0 m => 1");
    let both =
        "INCR n => 1\nHINCRBY h n 1 => 1\nZINCRBY z 1 m => \"1\"\nINCRBYFLOAT f 0.1 => \"0.1\"";
    apart(&cluster, &mut s, both, both);
    all_say(&mut s, "GET n", "\"2\"");
    all_say(&mut s, "HGET h n", "\"2\"");
    all_say(&mut s, "ZSCORE z m", "\"2\"");
    all_say(&mut s, "GET f", "\"0.2\"");
}

/// The audit: writes to parts of one collection on two nodes leave the nodes with different collections.
#[test]
fn audit_parts_of_collections_come_together() {
    let (cluster, mut s) =
        pair("HSET h a 1 b 1 c 1 => 3\nSADD t a b c => 3\nZADD z 1 a 2 b 3 c => 3\nPFADD p a => 1");
    apart(
        &cluster,
        &mut s,
        "HDEL h a => 1\nHSET h b 2 => 0\nSREM t a b => 2\nSADD t d => 1\nZREM z a => 1\nZADD z 9 d => 1\nPFADD p b => 1",
        "HSET h d 1 => 1\nHDEL h c => 1\nSREM t c => 1\nSADD t b => 0\nZINCRBY z 5 b => \"7\"\nPFADD p c => 1",
    );
    let keys = |session: &mut Session| {
        let mut keys: Vec<String> =
            session.run("HKEYS h").items().iter().map(Frame::text).collect();
        keys.sort();
        keys.join(" ")
    };
    agree("hashes", &mut s, keys, |keys| keys == "b d");
    all_say(&mut s, "HGET h b", "\"2\"");
    // The second node added b again without knowing of the removal.
    all_say(&mut s, "SMEMBERS t", "~[\"b\", \"d\"]");
    all_say(&mut s, "ZRANGE z 0 -1", "[\"c\", \"b\", \"d\"]");
    all_say(&mut s, "PFCOUNT p", "3");
}

/// The audit: a full sync overwrites what its receiver has written meanwhile.
#[test]
fn audit_a_full_sync_takes_nothing_of_what_is_written_meanwhile() {
    let mut cluster = Cluster::start(1);
    let mut first = cluster.session(0);
    flood(&mut first, (0..20_000).map(|n| format!("INCR k{n}")));
    flood(&mut first, (0..2_000).map(|n| format!("HSET h{n} first 1")));
    let late = cluster.add();
    let mut second = cluster.session(late);
    // Its first writes wait for nothing: the sync runs meanwhile.
    flood(&mut second, (0..2_000).map(|n| format!("INCR k{n}")));
    flood(&mut second, (0..2_000).map(|n| format!("HSET h{n} second 1")));
    let mut s = [first, second];
    all_say(&mut s, "DBSIZE", "22000");
    for n in [0, 1, 777, 1_999] {
        all_say(&mut s, &format!("GET k{n}"), "\"2\"");
        all_say(&mut s, &format!("HLEN h{n}"), "2");
    }
    all_say(&mut s, "GET k19999", "\"1\"");
}

/// The audit: 100 000 writes at full speed overflow the queue of a slow peer, and what overflows is lost.
#[test]
fn audit_a_slow_peer_gets_100_000_writes_at_full_speed() {
    let cluster = Cluster::start(2);
    let mut s = cluster.sessions();
    s.iter_mut().for_each(|s| s.script("GET x => nil"));
    cluster.net().between(0, 1, Way::Slow(Duration::from_millis(200)));
    flood(&mut s[0], (0..50_000).map(|n| format!("SET k{n} {n}")));
    flood(&mut s[0], (0..50_000).map(|n| format!("INCRBY c{} {n}", n % 100)));
    all_say(&mut s, "DBSIZE", "50100");
    let sum = |session: &mut Session| {
        let keys: Vec<String> = (0..100).map(|n| format!("c{n}")).collect();
        let values = session.run(&format!("MGET {}", keys.join(" "))).items();
        let sum: i64 = values.iter().map(|value| value.text().parse::<i64>().unwrap_or(0)).sum();
        sum.to_string()
    };
    agree("the counts", &mut s, sum, |sum| sum == (0..50_000i64).sum::<i64>().to_string());
    cluster.net().heal();
}

/// The audit: clocks are not checked. Here a node whose clock is ten years ahead sees keys expire by it, but takes
/// nothing that the others still see.
#[test]
fn audit_a_clock_years_ahead_does_not_end_the_keys_of_others() {
    let honest = Node::with(&["--data-dir", "none"]);
    let port = honest.session().run("CONFIG GET peer-port").field("peer-port").expect("a port");
    let seed = format!("127.0.0.1:{}", port.text());
    let ahead = Node::with_environment(
        &["--data-dir", "none", "--join", &seed],
        &[("LD_PRELOAD", &faketime()), ("FAKETIME", "+10y"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")],
    );
    let mut s = [honest.session(), ahead.session()];
    s[0].script("SET k v EX 100000 => OK\nHSET h f v => 1\nEXPIRE h 100000 => 1\nSET last 1 => OK");
    all_say(&mut s, "GET last", "\"1\"");
    s[1].script("GET k => nil\nEXISTS k h => 0");
    // Memory is taken back two to five seconds after a deadline.
    let end = Instant::now() + Duration::from_secs(7);
    while Instant::now() < end {
        s[0].script("GET k => \"v\"\nHGET h f => \"v\"");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A hosted multi-region service has no deadlines at all.
#[test]
fn memorydb_multi_region_every_command_about_deadlines_reaches_the_other_node() {
    let (_cluster, mut s) = pair("SET k v => OK");
    let ttl = |session: &mut Session| session.run("PTTL k").integer();
    for (line, least, most) in [
        ("EXPIRE k 1000", 900_000, 1_000_000),
        ("PEXPIRE k 2000000", 1_900_000, 2_000_000),
        ("PERSIST k", -1, -1),
        ("SETEX k 3000 w", 2_900_000, 3_000_000),
        ("PSETEX k 4000000 w", 3_900_000, 4_000_000),
        ("SET k x EX 5000", 4_900_000, 5_000_000),
        ("SET k y KEEPTTL", 4_900_000, 5_000_000),
        ("GETEX k PERSIST", -1, -1),
        ("GETEX k EX 6000", 5_900_000, 6_000_000),
        ("SET k z", -1, -1),
    ] {
        let answer = s[0].run(line);
        assert!(!answer.is_error(), "{line}: {answer}");
        wait_until(line, || s.iter_mut().all(|session| (least..=most).contains(&ttl(session))));
    }
}

/// What it lists as missing besides: parts of strings, results that are
/// stored, members that move.
#[test]
fn memorydb_multi_region_what_it_lacks_is_here() {
    let (_cluster, mut s) =
        pair("SET k abc => OK\nSADD a 1 2 => 2\nSADD b 2 3 => 2\nZADD z 1 m => 1");
    s[0].script(
        "APPEND k def => 6\nSETRANGE k 0 X => 6\nSETBIT bits 7 1 => 0\nSINTERSTORE both a b => 1\n\
         SMOVE a b 1 => 1\nZUNIONSTORE zz 1 z => 1\nRENAME z renamed => OK\nCOPY k copied => 1\n\
         HSET h f v => 1\nHEXPIRE h 100 FIELDS 1 f => [1]\nMSETNX m1 1 m2 2 => 1",
    );
    for (line, expected) in [
        ("GET k", "\"Xbcdef\""),
        ("GETBIT bits 7", "1"),
        ("SMEMBERS both", "~[\"2\"]"),
        ("SMEMBERS b", "~[\"1\", \"2\", \"3\"]"),
        ("ZSCORE zz m", "\"1\""),
        ("EXISTS z renamed", "1"),
        ("GET copied", "\"Xbcdef\""),
        ("GET m2", "\"2\""),
    ] {
        all_say(&mut s, line, expected);
    }
    wait_until("the deadline of the field", || {
        s[1].run("HTTL h FIELDS 1 f").items().first().is_some_and(|left| left.integer() > 0)
    });
}
