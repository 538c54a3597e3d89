//! Real processes under load while things go wrong: nodes are killed and started again, stopped and let go, cut off
//! and healed. Afterwards all nodes hold the same, and exactly what was written.
//!
//! How a test knows: each writer counts its transactions in a counter of its own, which is a part of each of them.
//! Whatever that counter says in the end, `p`, the effects of exactly the first `p` transactions must be there. A writer
//! whose node was not lost must find all of them; one whose node was killed at least those that a peer had acknowledged.

use miso_tests::{Cluster, DEADLINE, Rng, Session, Way, all_say};
use redis::{Pipeline, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

/// What a transaction does, beside counting itself.
#[derive(Clone, Debug)]
enum Op {
    Total(i64),
    Grow(u64),
    Add(u64),
    Remove(u64),
    Collect(u64),
    Flag(bool),
    Register(u64),
    Field(u64, u64),
    Unfield(u64),
    Hits(i64),
    /// To what others write as well: all that can be said of it is that it is the same everywhere.
    Hot(u64, u64),
}

impl Op {
    fn random(rng: &mut Rng) -> Op {
        let n = rng.below(30);
        match rng.below(12) {
            0 => Op::Total(rng.below(2_000) as i64 - 1_000),
            1 => Op::Grow(rng.below(1_000)),
            2 | 3 => Op::Add(n),
            4 => Op::Remove(n),
            5 => Op::Collect(n),
            6 => Op::Flag(rng.below(2) == 0),
            7 => Op::Register(rng.below(1_000)),
            8 => Op::Field(n, rng.below(1_000)),
            9 => Op::Unfield(n),
            10 => Op::Hits(rng.below(100) as i64 - 50),
            _ => Op::Hot(rng.below(6), rng.below(5)),
        }
    }

    /// The commands, for the writer `id`.
    fn add_to(&self, id: &str, pipe: &mut Pipeline) {
        let line = match self {
            Op::Total(n) => format!("PNCOUNTER.ADD shared total {n}"),
            Op::Grow(n) => format!("GCOUNTER.ADD shared grow {n}"),
            Op::Add(n) => format!("ORSET.ADD shared set {id}-{n}"),
            Op::Remove(n) => format!("ORSET.REM shared set {id}-{n}"),
            Op::Collect(n) => format!("GSET.ADD shared gset {id}-{n}"),
            Op::Flag(on) => format!("EWFLAG.SET {id} flag {}", u8::from(*on)),
            Op::Register(n) => format!("MVREG.SET {id} register {n}"),
            Op::Field(n, value) => format!("ORMAP.SET shared map {id}-{n} {value}"),
            Op::Unfield(n) => format!("ORMAP.DEL shared map {id}-{n}"),
            Op::Hits(n) => format!("ORMAP.INCRBY shared hits all {n}"),
            Op::Hot(0, n) => format!("ORSET.ADD hot set {n}"),
            Op::Hot(1, n) => format!("ORSET.REM hot set {n}"),
            Op::Hot(2, n) => format!("EWFLAG.SET hot flag {}", n % 2),
            Op::Hot(3, n) => format!("MVREG.SET hot register {id}-{n}"),
            Op::Hot(4, n) => format!("ORMAP.SET hot map {n} {id}"),
            Op::Hot(_, n) => format!("ORMAP.DEL hot map {n}"),
        };
        let mut words = line.split(' ');
        let command = pipe.cmd(words.next().expect("a command"));
        words.for_each(|word| {
            command.arg(word);
        });
    }
}

/// What writers have written, after all.
#[derive(Default)]
struct Model {
    total: i64,
    grow: u64,
    hits: i64,
    set: BTreeSet<String>,
    gset: BTreeSet<String>,
    map: BTreeMap<String, String>,
    own: String,
}

impl Model {
    /// The first `count` transactions of a writer.
    fn play(&mut self, written: &Written, count: usize) {
        let id = &written.id;
        let (mut flag, mut register) = (false, String::new());
        for op in &written.ops[..count] {
            match op {
                Op::Total(n) => self.total += n,
                Op::Grow(n) => self.grow += n,
                Op::Hits(n) => self.hits += n,
                Op::Add(n) => drop(self.set.insert(format!("{id}-{n}"))),
                Op::Remove(n) => drop(self.set.remove(&format!("{id}-{n}"))),
                Op::Collect(n) => drop(self.gset.insert(format!("{id}-{n}"))),
                Op::Flag(on) => flag = *on,
                Op::Register(n) => register = n.to_string(),
                Op::Field(n, value) => {
                    self.map.insert(format!("{id}-{n}"), value.to_string());
                }
                Op::Unfield(n) => drop(self.map.remove(&format!("{id}-{n}"))),
                Op::Hot(..) => {}
            }
        }
        let flag = u8::from(flag);
        writeln!(self.own, "{id}: flag {flag}, register [{register}]").expect("text");
    }

    fn text(&self) -> String {
        let Model { total, grow, hits, set, gset, map, own } = self;
        format!(
            "total {total}\ngrow {grow}\nhits {hits}\nset {set:?}\ngset {gset:?}\nmap {map:?}\n{own}"
        )
    }

    /// What a node says.
    fn read(session: &mut Session, writers: &[Written]) -> Model {
        let text = |session: &mut Session, line: &str| session.run(line).text();
        let set =
            |session: &mut Session, line: &str| session.run(line).sorted().into_iter().collect();
        let map = session.run("ORMAP.GETALL shared map").items();
        let map = map.chunks_exact(2).map(|pair| (pair[0].text(), pair[1].text())).collect();
        let mut own = String::new();
        for Written { id, .. } in writers {
            let flag = text(session, &format!("EWFLAG.GET {id} flag"));
            let register = session.run(&format!("MVREG.GET {id} register")).sorted().join(" ");
            writeln!(own, "{id}: flag {flag}, register [{register}]").expect("text");
        }
        Model {
            total: session.run("PNCOUNTER.GET shared total").integer(),
            grow: session.run("GCOUNTER.GET shared grow").integer() as u64,
            hits: text(session, "ORMAP.GET shared hits all").parse().unwrap_or(0),
            set: set(session, "ORSET.MEMBERS shared set"),
            gset: set(session, "GSET.MEMBERS shared gset"),
            map,
            own,
        }
    }
}

/// What a writer knows when it ends.
struct Written {
    id: String,
    ops: Vec<Op>,
    /// So many transactions were answered.
    answered: usize,
    /// So many had been acknowledged by a peer.
    acknowledged: usize,
    /// Its node was killed.
    lost: bool,
}

/// A client that writes until it is told to stop, or its node is gone.
struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Written>,
}

impl Writer {
    fn start(cluster: &Cluster, node: usize, id: &str) -> Writer {
        let stop = Arc::new(AtomicBool::new(false));
        let (id, session, stopped) = (id.to_owned(), cluster.session(node), Arc::clone(&stop));
        let thread = std::thread::spawn(move || write(id, session, &stopped));
        Writer { stop, thread }
    }

    fn end(self) -> Written {
        self.stop.store(true, Ordering::Release);
        self.thread.join().expect("a writer has no complaints")
    }
}

impl Writer {
    /// Of a writer whose node was killed, which it need not have noticed yet.
    fn end_of_lost(self) -> Written {
        let lost = Written { lost: true, ..self.end() };
        assert!(lost.answered > 0, "it never wrote");
        lost
    }
}

fn write(id: String, mut session: Session, stop: &AtomicBool) -> Written {
    let mut rng =
        Rng::new(id.bytes().fold(1, |seed: u64, byte| seed.wrapping_mul(31) ^ u64::from(byte)));
    let mut written = Written { id, ops: Vec::new(), answered: 0, acknowledged: 0, lost: false };
    while !stop.load(Ordering::Acquire) {
        let op = Op::random(&mut rng);
        let mut pipe = redis::pipe();
        pipe.atomic().cmd("PNCOUNTER.ADD").arg(&written.id).arg("count").arg(1);
        op.add_to(&written.id, &mut pipe);
        written.ops.push(op);
        match pipe.query::<Vec<Value>>(session.redis()) {
            Ok(replies) => {
                // Read your writes: no other client counts here.
                let count = Value::Int(written.ops.len() as i64);
                assert_eq!(replies[0], count, "{} after {:?}", written.id, written.ops.last());
                written.answered += 1;
            }
            Err(error) if error.is_io_error() => {
                written.lost = true;
                return written;
            }
            Err(error) => panic!("{:?}: {error}", written.ops.last()),
        }
        if rng.below(10) == 0 {
            let wait = redis::cmd("WAIT").arg(1).arg(20).query::<i64>(session.redis());
            if wait.is_ok_and(|peers| peers > 0) {
                written.acknowledged = written.answered;
            }
        }
        sleep(Duration::from_micros(rng.below(2_000)));
    }
    written
}

/// What others write to as well.
fn hot(session: &mut Session) -> String {
    [
        "ORSET.MEMBERS hot set",
        "EWFLAG.GET hot flag",
        "MVREG.GET hot register",
        "MVREG.VALUE hot register",
        "ORMAP.GETALL hot map",
    ]
    .map(|line| {
        let frame = session.run(line);
        if frame.items().is_empty() { frame.text() } else { format!("{:?}", frame.sorted()) }
    })
    .join("; ")
}

/// Waits until all nodes hold what was written, and nothing else. `least` is how many transactions of a lost writer
/// must have survived.
#[track_caller]
fn check(sessions: &mut [Session], writers: &[Written], least: impl Fn(&Written) -> usize) {
    let start = Instant::now();
    loop {
        let mut wrong = String::new();
        let mut hots = BTreeSet::new();
        for (node, session) in sessions.iter_mut().enumerate() {
            let mut model = Model::default();
            for writer in writers {
                let count = session.run(&format!("PNCOUNTER.GET {} count", writer.id)).integer();
                let count = usize::try_from(count).expect("nobody subtracts");
                let least = if writer.lost { least(writer) } else { writer.ops.len() };
                let most = writer.ops.len();
                if (least..=most).contains(&count) {
                    model.play(writer, count);
                } else {
                    let id = &writer.id;
                    writeln!(wrong, "{node}: {id} has {count}, of {least} to {most}")
                        .expect("text");
                }
            }
            let (expected, found) = (model.text(), Model::read(session, writers).text());
            if expected != found {
                let lines = expected.lines().zip(found.lines()).filter(|(a, b)| a != b);
                for (expected, found) in lines {
                    writeln!(wrong, "{node}: expected {expected}\n{node}: found    {found}")
                        .expect("text");
                }
            }
            hots.insert(hot(session));
        }
        if hots.len() > 1 {
            writeln!(wrong, "they differ in {hots:#?}").expect("text");
        }
        if wrong.is_empty() {
            return;
        }
        assert!(start.elapsed() < DEADLINE, "the nodes do not hold what was written:\n{wrong}");
        sleep(Duration::from_millis(20));
    }
}

fn pass(ms: u64) {
    sleep(Duration::from_millis(ms));
}

/// Kills a node, starts it again with nothing that it knew, and has a new writer write on it.
fn lose(cluster: &mut Cluster, node: usize, writers: &mut Vec<Writer>, written: &mut Vec<Written>) {
    cluster.kill(node);
    let lost = writers.remove(node).end_of_lost();
    let id = format!("{}-again", lost.id);
    // A node that dies next must not be the only one that had received its last writes.
    let others: Vec<usize> = cluster.running();
    let mut sessions: Vec<Session> = others.iter().map(|&node| cluster.session(node)).collect();
    let line = format!("PNCOUNTER.GET {} count", lost.id);
    miso_tests::agree(
        &line,
        &mut sessions,
        |s| s.run(&line).text(),
        |count| count.parse::<usize>().is_ok_and(|count| count >= lost.acknowledged),
    );
    cluster.restart(node);
    writers.insert(node, Writer::start(cluster, node, &id));
    written.push(lost);
}

#[test]
fn three_nodes_lose_nothing_that_a_peer_had_when_one_is_killed() {
    let mut cluster = Cluster::start(3);
    let mut writers: Vec<Writer> =
        (0..3).map(|node| Writer::start(&cluster, node, &format!("w{node}"))).collect();
    let mut written = Vec::new();
    pass(400);
    for node in [1, 2, 0, 1] {
        lose(&mut cluster, node, &mut writers, &mut written);
        pass(400);
    }
    written.extend(writers.into_iter().map(Writer::end));
    check(&mut cluster.sessions(), &written, |lost| lost.acknowledged);
}

#[test]
fn five_nodes_lose_nothing_when_some_stop_or_are_cut_off() {
    let cluster = Cluster::with(5, &["--node-timeout", "1s"]);
    let writers: Vec<Writer> =
        (0..5).map(|node| Writer::start(&cluster, node, &format!("w{node}"))).collect();
    let net = cluster.net();
    pass(300);
    // Long enough to be dead for the others.
    cluster.pause(4);
    pass(1_500);
    cluster.resume(4);
    // Two against three.
    for (a, b) in [(0, 2), (0, 3), (0, 4), (1, 2), (1, 3), (1, 4)] {
        net.between(a, b, Way::Cut);
    }
    pass(600);
    net.heal();
    // One hears every other and is not heard; and is noticed only by its silence.
    for other in [0, 1, 2, 4] {
        net.set(3, other, Way::Frozen);
    }
    pass(1_300);
    net.heal();
    net.around(2, Way::Slow(Duration::from_millis(30)));
    for round in 0..20 {
        net.reset(round % 5, (round + 1 + round / 5) % 5);
        pass(25);
    }
    net.heal();
    let written: Vec<Written> = writers.into_iter().map(Writer::end).collect();
    assert!(written.iter().all(|writer| !writer.lost && writer.ops.len() > 100));
    check(&mut cluster.sessions(), &written, |_| 0);
}

#[test]
fn five_nodes_survive_kills_in_the_midst_of_a_partition() {
    let mut cluster = Cluster::with(5, &["--node-timeout", "1s"]);
    let mut writers: Vec<Writer> =
        (0..5).map(|node| Writer::start(&cluster, node, &format!("w{node}"))).collect();
    let mut written = Vec::new();
    pass(300);
    // Node 4 is alone; of the others one is killed, and comes back while node 4 is still away.
    cluster.isolate(4);
    pass(300);
    cluster.kill(1);
    let lost = writers.remove(1).end_of_lost();
    pass(300);
    cluster.restart(1);
    writers.insert(1, Writer::start(&cluster, 1, "w1-again"));
    pass(300);
    cluster.net().heal();
    written.push(lost);
    written.extend(writers.into_iter().map(Writer::end));
    check(&mut cluster.sessions(), &written, |lost| lost.acknowledged);
}

/// With a journal that is forced to disk before the reply, what was answered is there after a kill, known to a peer or
/// not.
#[test]
fn nodes_with_disks_lose_nothing_that_was_answered() {
    let mut cluster = Cluster::with_disks(3, &["--appendfsync", "always", "--node-timeout", "1s"]);
    let mut writers: Vec<Writer> =
        (0..3).map(|node| Writer::start(&cluster, node, &format!("w{node}"))).collect();
    let mut written = Vec::new();
    pass(300);
    for round in 0..3 {
        // No node hears of the last that it says.
        let node = round % 2;
        cluster.isolate(node);
        pass(100);
        cluster.kill(node);
        written.push(writers.remove(node).end_of_lost());
        cluster.restart(node);
        writers.insert(node, Writer::start(&cluster, node, &format!("w{node}-{round}")));
        cluster.net().heal();
        pass(300);
    }
    written.extend(writers.into_iter().map(Writer::end));
    check(&mut cluster.sessions(), &written, |lost| lost.answered);
}

/// What concurrent writes come to, with nodes that really could not know of each other.
#[test]
fn what_was_added_apart_wins_over_what_was_removed() {
    let cluster = Cluster::start(3);
    let mut s = cluster.sessions();
    s[0].script(
        r"
        ORSET.ADD o s both one none => 3
        EWFLAG.ENABLE o f => 1
        EWFLAG.ENABLE o g => 1
        MVREG.SET o r old => OK
        ORMAP.SET o m f old g old => 2
        ORMAP.INCRBY o m n 100 => 100
        ORSET.ADD o c a b => 2
        GCOUNTER.ADD o n 10 => 10
        ",
    );
    all_say(&mut s, "GCOUNTER.GET o n", "10");
    for node in 0..3 {
        cluster.isolate(node);
    }
    s[0].script(
        r"
        ORSET.REM o s both one none => 3
        EWFLAG.DISABLE o f => 1
        EWFLAG.DISABLE o g => 1
        MVREG.SET o r zero => OK
        ORMAP.DEL o m f g n => 3
        ORSET.CLEAR o c => 2
        MISO.DEL o n => 1
        ",
    );
    s[1].script(
        r"
        ORSET.ADD o s both => 0
        ORSET.REM o s none => 1
        EWFLAG.ENABLE o f => 0
        EWFLAG.DISABLE o g => 1
        MVREG.SET o r one => OK
        ORMAP.SET o m f new => 0
        ORMAP.INCRBY o m n 5 => 105
        ORSET.ADD o c c => 1
        GCOUNTER.ADD o n 7 => 17
        ",
    );
    s[2].script(
        r"
        ORSET.REM o s both => 1
        EWFLAG.DISABLE o f => 1
        MVREG.SET o r two => OK
        ORMAP.DEL o m g => 1
        GCOUNTER.ADD o n 1 => 11
        ",
    );
    cluster.net().heal();
    all_say(&mut s, "GCOUNTER.GET o n", "8");
    all_say(&mut s, "ORSET.MEMBERS o s", "~[\"both\"]");
    all_say(&mut s, "EWFLAG.GET o f", "1");
    all_say(&mut s, "EWFLAG.GET o g", "0");
    all_say(&mut s, "MVREG.GET o r", r#"["one", "two", "zero"]"#);
    all_say(&mut s, "ORMAP.GETALL o m", r#"["f", "new", "n", "5"]"#);
    all_say(&mut s, "ORSET.MEMBERS o c", "~[\"c\"]");
    // A later write ends what was concurrent.
    s[2].script("MVREG.SET o r three => OK\nEWFLAG.DISABLE o f => 1");
    all_say(&mut s, "MVREG.GET o r", "[\"three\"]");
    all_say(&mut s, "EWFLAG.GET o f", "0");
}
