//! Memory while sets churn and nodes come and go. `SOAK_SECONDS` makes it longer.

use miso_tests::{Cluster, Rng, all_say, wait_until};
use redis::Value;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

/// Some thousands of changes: elements, fields, counters, whole objects, with as much there afterwards as before.
fn churn(session: &mut miso_tests::Session, rng: &mut Rng, step: u64) {
    let mut pipe = redis::pipe();
    for i in 0..500 {
        // Elements are new each time; the one that was new a round ago goes.
        let (set, new, old) =
            (i % 20, format!("{step}-{i}"), format!("{}-{i}", step.wrapping_sub(1)));
        pipe.cmd("ORSET.ADD").arg("sets").arg(set).arg(&new);
        pipe.cmd("ORSET.REM").arg("sets").arg(set).arg(&old);
        pipe.cmd("ORMAP.SET").arg("maps").arg(set).arg(&new).arg("v");
        pipe.cmd("ORMAP.DEL").arg("maps").arg(set).arg(&old);
        pipe.cmd("GCOUNTER.ADD").arg(format!("object-{new}")).arg("c").arg(rng.below(10));
        pipe.cmd("MISO.DEL").arg(format!("object-{old}"));
        pipe.cmd("EWFLAG.SET").arg("flags").arg(set).arg(rng.below(2));
        pipe.cmd("MVREG.SET").arg("registers").arg(set).arg(&new);
    }
    pipe.query::<Vec<Value>>(session.redis()).expect("all commands succeed");
}

#[test]
fn memory_is_flat_while_sets_churn_and_nodes_come_and_go() {
    let seconds = std::env::var("SOAK_SECONDS").ok().and_then(|n| n.parse().ok()).unwrap_or(16);
    let mut cluster = Cluster::with(3, &["--node-timeout", "1s"]);
    let mut s = cluster.sessions();
    let (mut rng, mut step, mut lives) = (Rng::new(1), 0, 0);
    let used = |s: &mut [miso_tests::Session]| {
        let ask = |s: &mut miso_tests::Session| {
            let info = s.run("INFO memory").text();
            let line = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
            line.and_then(|n| n.parse::<u64>().ok()).expect("a number of bytes")
        };
        [ask(&mut s[0]), ask(&mut s[1])]
    };
    let (start, length) = (Instant::now(), Duration::from_secs(seconds));
    let mut warm = None;
    while start.elapsed() < length {
        step += 1;
        churn(&mut s[0], &mut rng, step);
        match step % 30 {
            // Away for a while, and back as another writer.
            10 => cluster.kill(2),
            25 => {
                cluster.restart(2);
                s[2] = cluster.session(2);
                s[2].run("MISO.EXISTS none");
                lives += 1;
            }
            _ => {}
        }
        if warm.is_none() && start.elapsed() > length / 3 && lives > 0 {
            warm = Some(used(&mut s));
        }
    }
    if !cluster.running().contains(&2) {
        cluster.restart(2);
        s[2] = cluster.session(2);
    }
    for line in ["DBSIZE", "ORSET.CARD sets 7", "ORMAP.LEN maps 7"] {
        let expected = s[0].run(line).to_string();
        all_say(&mut s, line, &expected);
    }
    let warm = warm.expect("it was long enough to warm up");
    // What went is in logs and queues, which have bounds; and a dead incarnation leaves some bytes.
    for node in 0..2 {
        wait_until(&format!("node-{node} to use little more than {warm:?} bytes"), || {
            used(&mut s)[node] < warm[node] + 6 * MIB
        });
    }
    println!(
        "{step} steps, {lives} lives; {warm:?} bytes when warm, {:?} in the end",
        used(&mut s)
    );
}
