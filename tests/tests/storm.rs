//! A heal storm (4.13 of the project's semantics): half of the nodes were cut off from the other half while both wrote
//! more than streams keep, and now all of them catch up at once. Other systems melt down: they send everything several
//! times over, and their clients wait.
//!
//! `STORM_NODES` (up to 30) and `STORM_KEYS` make it greater, `STORM_VALUE` says how many bytes a value has. The row's
//! own 30 nodes and 10^6 keys take 13 GB and five minutes on two cores, more than a test is given otherwise:
//! `STORM_NODES=30 STORM_KEYS=1000000 STORM_VALUE=256 cargo test -p miso-tests --test storm -- --nocapture`

use miso_tests::{Cluster, DEADLINE, Rng, Session, Way};
use redis::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

/// What a client may take however fast it was before: a busy machine of few cores may leave it without one this long.
const STEP: Duration = Duration::from_millis(40);

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

/// Each key once, with a value of the given size in bytes: random, so that what crosses a link is no less.
fn write(session: &mut Session, prefix: &str, keys: u64, bytes: u64) {
    let mut rng = Rng::new(keys);
    for from in (0..keys).step_by(500) {
        let mut pipe = redis::pipe();
        for key in from..keys.min(from + 500) {
            let value: Vec<u8> = (0..bytes / 8).flat_map(|_| rng.bits().to_le_bytes()).collect();
            pipe.cmd("MVREG.SET").arg(format!("{prefix}-{key}")).arg("r").arg(value);
        }
        pipe.query::<Vec<Value>>(session.redis()).expect("all commands succeed");
    }
}

/// Waits until a node has the given number of objects, however long that takes.
fn wait_for(session: &mut Session, objects: u64, patience: Duration) {
    let begun = Instant::now();
    loop {
        let has = session.run("DBSIZE").integer();
        if has == i64::try_from(objects).expect("few") {
            return;
        }
        assert!(begun.elapsed() < patience, "{has} of {objects} objects after {patience:?}");
        sleep(Duration::from_millis(5));
    }
}

/// A client that counts now and then, until it is told to stop: how long each took.
fn count(mut session: Session, stop: &AtomicBool) -> Vec<Duration> {
    let mut took = Vec::new();
    while !stop.load(Ordering::Acquire) {
        let begun = Instant::now();
        session.run("GCOUNTER.ADD clients c");
        took.push(begun.elapsed());
        sleep(Duration::from_millis(2));
    }
    took
}

/// What 99 of 100 did not exceed, of clients on each of these nodes, while something is done.
fn p99(cluster: &Cluster, nodes: &[usize], during: impl FnOnce()) -> (Duration, usize) {
    let stop = AtomicBool::new(false);
    let mut took: Vec<Duration> = scope(|scope| {
        let client = |node: &usize| {
            let session = cluster.session(*node);
            scope.spawn(|| count(session, &stop))
        };
        let clients: Vec<_> = nodes.iter().map(client).collect();
        during();
        stop.store(true, Ordering::Release);
        clients
            .into_iter()
            .flat_map(|one| one.join().expect("a client has no complaints"))
            .collect()
    });
    took.sort_unstable();
    (took[took.len() * 99 / 100], took.len())
}

#[test]
fn p4_13_when_a_partition_heals_each_key_crosses_once_and_clients_do_not_wait() {
    let nodes = number("STORM_NODES", 10) as usize;
    // More than the 16 MiB that a stream keeps for nodes that are away.
    let keys = number("STORM_KEYS", 100_000) / 2;
    let bytes = number("STORM_VALUE", 400) / 8 * 8;
    assert!(keys * bytes > 18 << 20, "streams alone would do");
    let cluster = Cluster::with(nodes, &["--node-timeout", "3s"]);
    let mut s = cluster.sessions();
    let (left, right): (Vec<usize>, Vec<usize>) = (0..nodes).partition(|node| node % 2 == 0);
    let net = cluster.net();
    let all = |way: Way| {
        for &a in &left {
            right.iter().for_each(|&b| net.between(a, b, way));
        }
    };
    all(Way::Cut);
    write(&mut s[0], "left", keys, bytes);
    write(&mut s[1], "right", keys, bytes);
    // On one core a node takes some 100 000 of them in a second.
    let patience = DEADLINE + Duration::from_micros(40 * nodes as u64 * keys);
    s.iter_mut().for_each(|session| wait_for(session, keys, patience));
    let clients = [0, 1, nodes - 1];
    let (calm, _) = p99(&cluster, &clients, || sleep(Duration::from_secs(2)));
    let before: Vec<Vec<u64>> =
        (0..nodes).map(|to| (0..nodes).map(|from| net.bytes(from, to)).collect()).collect();
    let begun = Instant::now();
    let (storm, commands) = p99(&cluster, &clients, || {
        net.heal();
        for session in &mut s {
            wait_for(session, 2 * keys + 1, patience);
        }
    });
    let took = begun.elapsed();
    let syncs =
        |node: usize| cluster.node(node).info("miso_syncs").parse::<u64>().expect("a number");
    assert!((0..nodes).all(|node| syncs(node) > 0), "streams alone did");
    let least = keys * bytes;
    let (mut most, mut whole) = (0.0_f64, 0.0_f64);
    for (to, before) in before.iter().enumerate() {
        let came = |from: usize| (net.bytes(from, to) - before[from]) as f64 / least as f64;
        let from_all: Vec<f64> = (0..nodes).map(came).collect();
        most = from_all.iter().copied().fold(most, f64::max);
        whole = whole.max(from_all.iter().sum());
    }
    let memory = (0..nodes).map(|node| cluster.node(node).memory("VmHWM") >> 20).max();
    println!(
        "{nodes} nodes, at most {} MiB each, {} keys: healed in {took:?}; of what it lacked a node got {whole:.2} times, over one \
         link at most {most:.2} times; p99 of {commands} commands {storm:?}, before {calm:?}",
        memory.unwrap_or_default(),
        2 * keys
    );
    assert!(most <= 1.2, "a link carried what was lacking {most} times");
    assert!(whole <= 1.5, "a node got what it lacked {whole} times");
    assert!(storm <= (calm * 2).max(STEP), "clients waited for {storm:?}, and {calm:?} before");
}
