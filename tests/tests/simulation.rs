//! Many nodes of the production code on a made-up network, by seed.
//!
//! `SIM_SEED=n cargo test -p miso-tests --test simulation` replays one history and prints it;
//! `SIM_SEEDS=100000` plays that many seeds, from `SIM_FIRST` on.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use miso_replication::replicator::Bugs;
use miso_tests::world::{Broken, Plan, World};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|n| n.parse().ok())
}

/// What went wrong, if anything did.
fn play(plan: Plan) -> Option<String> {
    let trace = plan.trace;
    let mut world = World::new(plan);
    let played = catch_unwind(AssertUnwindSafe(|| world.play()));
    if trace {
        println!("{}", world.history());
        println!("hash of all events: {:016x}", world.digest());
    }
    played.err().map(|panic| match panic.downcast::<String>() {
        Ok(words) => *words,
        Err(panic) => panic.downcast_ref::<&str>().copied().unwrap_or("a panic").to_owned(),
    })
}

#[test]
fn random_worlds_converge_and_lose_nothing() {
    if let Some(seed) = number("SIM_SEED") {
        let wrong = play(Plan { trace: true, ..Plan::of(seed) });
        assert_eq!(wrong, None);
        return;
    }
    let (first, count) = (number("SIM_FIRST").unwrap_or(0), number("SIM_SEEDS").unwrap_or(1_000));
    let next = AtomicU64::new(first);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    if let Some(wrong) = play(Plan::of(seed)) {
                        next.store(u64::MAX / 2, Ordering::Relaxed);
                        panic!("SIM_SEED={seed}: {wrong}");
                    }
                }
            });
        }
    });
}

/// The same seed gives the same events, down to each byte that a node receives.
#[test]
fn a_seed_replays_exactly() {
    let run = |seed, trace| {
        let mut world = World::new(Plan { trace, ..Plan::of(seed) });
        world.play();
        world
    };
    for seed in 0..40 {
        if run(seed, false).digest() == run(seed, false).digest() {
            continue;
        }
        let (one, two) = (run(seed, true), run(seed, true));
        let mut lines = one.history().lines().zip(two.history().lines());
        panic!("seed {seed} is played in two ways, from here: {:?}", lines.find(|(a, b)| a != b));
    }
    assert_ne!(run(1, false).digest(), run(2, false).digest());
}

/// In hostile worlds the network spares no kind of message that nodes of one cluster say.
#[test]
fn every_kind_of_message_is_lost_and_doubled() {
    let mut spared: BTreeSet<(&str, &str)> = [
        "Hello",
        "Heartbeat",
        "Digest",
        "Records",
        "Goodbye",
        "Batch",
        "Ack",
        "Word",
        "Pull",
        "State",
        "Fetch",
        "Fetched",
        "Retire",
        "Grant",
        "Retired",
    ]
    .into_iter()
    .flat_map(|kind| [(kind, "lost"), (kind, "doubled")])
    .collect();
    for seed in 0..300 {
        let mut world = World::new(Plan { hostile: true, secured: false, ..Plan::of(seed) });
        world.play();
        for (kind, (lost, doubled)) in world.faults() {
            if *lost > 0 {
                spared.remove(&(*kind, "lost"));
            }
            if *doubled > 0 {
                spared.remove(&(*kind, "doubled"));
            }
        }
        if spared.is_empty() {
            return;
        }
    }
    panic!("never: {spared:?}");
}

/// Faults that are built in on purpose are found.
#[test]
fn built_in_faults_are_found() {
    let faults = [
        (
            "an acknowledgement is taken for granted",
            Broken {
                replicator: Bugs { trust_the_wire: true, ..Bugs::default() },
                ..Broken::default()
            },
        ),
        ("an incarnation is used again", Broken { same_incarnation: true, ..Broken::default() }),
        (
            "a sync raises the vector before it joins",
            Broken {
                replicator: Bugs { raise_early: true, ..Bugs::default() },
                ..Broken::default()
            },
        ),
        (
            "a node leaves before its peers have what it has",
            Broken {
                replicator: Bugs { leave_at_once: true, ..Bugs::default() },
                ..Broken::default()
            },
        ),
    ];
    for (name, broken) in faults {
        let found = (0..500)
            .find_map(|seed| play(Plan { broken, ..Plan::of(seed) }).map(|wrong| (seed, wrong)));
        let (seed, wrong) = found.unwrap_or_else(|| panic!("nobody noticed: {name}"));
        println!("{name}: seed {seed}: {wrong}");
    }
}
