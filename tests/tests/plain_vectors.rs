//! What Active-Active documents for its types, and cases that other systems are known to lose: two real nodes do
//! things while they cannot hear each other, and agree after.

use miso_tests::{Cluster, Frame, Session, Way, all_say, wait_until};

/// Two nodes, and their clients.
struct Pair {
    cluster: Cluster,
    s: Vec<Session>,
}

impl Pair {
    fn new() -> Pair {
        let cluster = Cluster::start(2);
        let s = cluster.sessions();
        Pair { cluster, s }
    }

    /// Runs on the first while both hear each other, and waits until both have it.
    fn both(&mut self, script: &str) {
        self.s[0].script(script);
        let token = self.s[0].run("MISO.TOKEN").text();
        self.s[1].script(&format!("MISO.AWAIT {token} 20000 => 1"));
    }

    /// Runs a script on each while they cannot hear each other: what the second does has later times.
    fn apart(&mut self, first: &str, second: &str) {
        self.cluster.net().between(0, 1, Way::Cut);
        self.s[0].script(first);
        let written = milliseconds(&mut self.s[0]);
        wait_until("the next moment", || milliseconds(&mut self.s[1]) > written);
        self.s[1].script(second);
        self.cluster.net().heal();
    }

    #[track_caller]
    fn say(&mut self, line: &str, expected: &str) {
        all_say(&mut self.s, line, expected);
    }

    #[track_caller]
    fn live_for(&mut self, key: &str, seconds: std::ops::RangeInclusive<i64>) {
        for session in &mut self.s {
            let left = session.run(&format!("TTL {key}")).integer();
            assert!(seconds.contains(&left), "{key}: {left}");
        }
    }
}

fn milliseconds(session: &mut Session) -> u64 {
    let Frame::Array(parts) = session.run("TIME") else { panic!("TIME has two parts") };
    let n = |at: usize| parts[at].text().parse::<u64>().expect("a number");
    n(0) * 1_000 + n(1) / 1_000
}

#[test]
fn s_strings_and_counters() {
    let mut pair = Pair::new();
    pair.apart("SET text a => OK\nINCRBY c 7 => 7", "SET text b => OK\nINCRBY c 3 => 3");
    pair.say("GET text", "\"b\"");
    pair.say("GET c", "\"10\"");
    pair.apart("DECRBY c 3 => 7", "INCRBY c 6 => 16");
    pair.say("GET c", "\"13\"");
    pair.both("SET n 1 => OK");
    pair.apart("SET n 10 => OK\nINCRBYFLOAT f 0.1 => *", "INCRBY n 5 => 6\nINCRBYFLOAT f 0.2 => *");
    pair.say("GET n", "\"15\"");
    pair.say("GET f", "\"0.3\"");
    pair.apart("DEL n => 1\nAPPEND text x => 2", "INCRBY n 5 => 20\nAPPEND text y => 2");
    pair.say("GET n", "\"5\"");
    pair.say("GET text", "\"by\"");
    pair.apart("SET n abc => OK", "INCR n => 6");
    pair.say("GET n", "\"abc\"");
}

/// S6: of two changes of a bitmap the later whole value stands.
#[test]
fn s_bitmaps() {
    let mut pair = Pair::new();
    pair.apart(
        "SETBIT bits 1 1 => 0\nBITFIELD field SET u8 0 1 => [0]",
        "SETBIT bits 7 1 => 0\nBITFIELD field SET u8 8 2 => [0]",
    );
    pair.say("BITCOUNT bits", "1");
    pair.say("GETBIT bits 7", "1");
    pair.say("BITFIELD_RO field GET u8 0 GET u8 8", "[0, 2]");
    // Also where both began with the same.
    pair.apart("SETBIT bits 2 1 => 0", "BITFIELD bits SET u1 3 1 => [0]");
    pair.say("GET bits", "\"\\x11\"");
}

#[test]
fn h_hashes_and_e_sets() {
    let mut pair = Pair::new();
    pair.both("HSET k gone 1 => 1\nSADD set e1 => 1");
    pair.apart(
        "HSET k f1 a => 1\nHINCRBY k n 1 => 1\nHDEL k gone => 1\nSADD set e2 => 1\nSCARD set => 2\n\
         HINCRBYFLOAT k x 0.1 => *",
        "HSET k f2 b => 1\nHINCRBY k n 2 => 2\nHSET k gone 2 => 0\nDEL set => 1\nEXISTS set => 0\n\
         SADD k2 b => 1\nHINCRBYFLOAT k x 0.2 => *",
    );
    pair.say("HMGET k f1 f2 n gone x", "[\"a\", \"b\", \"3\", \"2\", \"0.3\"]");
    pair.say("SMEMBERS set", "[\"e2\"]");
    pair.say("SCARD set", "1");
    pair.say("EXISTS set", "1");
    pair.apart("SADD k2 a => 1", "SADD k2 c => 1");
    for session in &mut pair.s {
        wait_until("all of both", || {
            ["a", "b", "c"].iter().all(|member| {
                session.run("SMEMBERS k2").to_string().contains(&format!("\"{member}\""))
            })
        });
    }
}

#[test]
fn z_sorted_sets_and_p_hyperloglogs() {
    let mut pair = Pair::new();
    pair.both("ZADD z1 1.1 x => 1\nPFADD h1 x => 1\nPFADD h3 e1 => 1");
    pair.apart(
        "ZADD z2 1.1 x => 1\nPFADD h2 x => 1\nPFCOUNT h2 => 1\nPFADD h3 e2 => 1\nPFCOUNT h3 => 2",
        "ZADD z1 1.2 y => 1\nZADD z2 2.1 x => 1\nPFADD h1 y => 1\nPFADD h2 y => 1\nPFCOUNT h2 => 1\n\
         DEL h3 => 1\nPFCOUNT h3 => 0",
    );
    pair.say("ZRANGE z1 0 -1", "[\"x\", \"y\"]");
    pair.say("ZSCORE z2 x", "\"2.1\"");
    pair.say("PFCOUNT h1", "2");
    pair.say("PFCOUNT h2", "2");
    pair.say("PFCOUNT h3", "1");
}

/// Z5, and Z6: places merge as scores do.
#[test]
fn z_removes_and_places() {
    let mut pair = Pair::new();
    pair.both("ZADD z 4.1 x => 1\nGEOADD geo 13.361389 38.115556 Palermo => 1");
    pair.apart(
        "ZREM z x => 1\nZSCORE z x => nil\nGEOADD geo 15.087269 37.502669 Catania => 1\n\
         GEOADD geo 1 1 both => 1\nZREM geo Palermo => 1",
        "ZINCRBY z 2.0 x => *\nGEOADD geo 2 2 both => 1\nGEOADD geo 13.583333 37.316667 Palermo => 0",
    );
    pair.say("ZSCORE z x", "\"2\"");
    pair.say("ZCARD geo", "3");
    pair.say(
        "GEOHASH geo Palermo Catania both",
        "[\"sq9sm1716e0\", \"sqdtr74hyu0\", \"s037ms06g70\"]",
    );
}

/// Z3: whatever the clocks of two nodes say, of two scores that are set at once every node shows the same one.
#[test]
fn z_scores_that_are_set_at_once() {
    let mut pair = Pair::new();
    pair.cluster.net().between(0, 1, Way::Cut);
    std::thread::scope(|scope| {
        for (session, score) in pair.s.iter_mut().zip(["1.1", "2.1"]) {
            scope.spawn(move || {
                for member in 0..200 {
                    session.script(&format!("ZADD z {score} m{member} => 1"));
                }
            });
        }
    });
    pair.cluster.net().heal();
    let tokens: Vec<String> = pair.s.iter_mut().map(|s| s.run("MISO.TOKEN").text()).collect();
    for (session, token) in pair.s.iter_mut().zip(tokens.iter().rev()) {
        session.script(&format!("MISO.AWAIT {token} 20000 => 1"));
    }
    let [first, second] = [0, 1].map(|at| pair.s[at].run("ZRANGE z 0 -1 WITHSCORES").to_string());
    assert_eq!(first, second);
    pair.say("ZCOUNT z 1.1 2.1", "200");
}

#[test]
fn t_deadlines() {
    let mut pair = Pair::new();
    pair.both("SET k v => OK\nSET p v EX 100 => OK\nSET v old => OK");
    pair.apart(
        "EXPIRE k 100 => 1\nSET x a EX 1000 => OK\nINCR r => 1\nEXPIRE r 60 => 1\nEXPIRE v 100 => 1\n\
         PERSIST p => 1",
        "EXPIRE k 500 => 1\nSET x b EX 2000 => OK\nINCR r => 1\nEXPIRE r 600 => 1\nSET v new => OK\n\
         EXPIRE p 200 => 1",
    );
    pair.say("GET x", "\"b\"");
    pair.say("GET r", "\"2\"");
    pair.say("GET v", "\"new\"");
    pair.say("TTL p", "-1");
    pair.say("TTL v", "-1");
    pair.live_for("k", 400..=500);
    pair.live_for("x", 1_900..=2_000);
    pair.live_for("r", 500..=600);
    // The greatest deadline that Active-Active takes.
    pair.both("PEXPIREAT k 562949953421311 => 1\nPEXPIRETIME k => 562949953421311");
    pair.say("PEXPIRETIME k", "562949953421311");
    // And the least, which is over.
    pair.both("SET none v => OK\nPEXPIREAT none 0 => 1\nEXISTS none => 0");
    pair.say("EXISTS none", "0");
}

/// What expires while a node is away is gone on it, too, and its late writes of that life do not come back.
#[test]
fn a_late_write_of_a_life_that_is_over_does_not_come_back() {
    let mut pair = Pair::new();
    pair.both("SET n 5 PX 700 => OK\nSADD s a => 1\nPEXPIRE s 700 => 1\nSADD long a => 1\nPEXPIRE long 700 => 1");
    pair.cluster.net().between(0, 1, Way::Cut);
    pair.s[1].script("INCR n => 6\nSADD s b => 1\nSADD long b => 1\nEXPIRE long 1000 => 1");
    wait_until("all to expire on the first", || pair.s[0].run("EXISTS n s long").integer() == 0);
    wait_until("two to expire on the second", || pair.s[1].run("EXISTS n s").integer() == 0);
    // A new life has nothing of the old one.
    pair.s[0].script("INCR n => 1\nSADD s c => 1");
    pair.cluster.net().heal();
    pair.say("GET n", "\"1\"");
    pair.say("SMEMBERS s", "[\"c\"]");
    pair.say("EXISTS long", "1");
}

/// Ten counters with deadlines, which many clients count at once: what was acknowledged is stored.
#[test]
fn counters_beside_deadlines_lose_nothing() {
    let mut pair = Pair::new();
    std::thread::scope(|scope| {
        for node in [0, 1] {
            for _ in 0..5 {
                let mut session = pair.cluster.session(node);
                scope.spawn(move || {
                    for round in 0..50 {
                        let key = format!("count{}", round % 10);
                        session.run(&format!("INCR {key}")).integer();
                        session.run(&format!("EXPIRE {key} 1000")).integer();
                    }
                });
            }
        }
    });
    for key in 0..10 {
        pair.say(&format!("GET count{key}"), "\"50\"");
        pair.live_for(&format!("count{key}"), 900..=1_000);
    }
}

#[test]
fn a_rename_and_a_flush_take_what_they_have_seen() {
    let mut pair = Pair::new();
    pair.both("INCRBY a 5 => 5\nSET old v => OK");
    pair.apart("RENAME a b => OK\nFLUSHDB => OK", "INCR a => 6\nSET k new => OK");
    pair.say("GET k", "\"new\"");
    pair.say("GET a", "\"1\"");
    pair.say("EXISTS old b", "0");
}
