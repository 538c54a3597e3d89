//! Random commands on our node and on a real Redis: the same answers. Commands that our node does not serve are
//! left out.
//!
//! `DIFF_COMMANDS=n` is how many commands each test compares, `DIFF_SEED=s` where it begins; a difference names
//! the seed of its case, and `DIFF_SEED` with `DIFF_COMMANDS=1` plays this case alone. `DIFF_REDIS=installed` takes the
//! `redis-server` of the system in place of Redis 8.

use miso_tests::Node;
use miso_tests::differential::groups::Group;
use miso_tests::differential::{Outcome, Trial};

/// Commands of each test.
const COMMANDS: u64 = 100_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|number| number.parse().ok())
}

/// Plays commands of some groups on both.
#[track_caller]
fn same(groups: &[Group], first: u64) {
    let redis = match std::env::var("DIFF_REDIS").as_deref() {
        Ok("installed") => Node::redis(&[]),
        _ => Node::redis_8(&[]),
    };
    let miso = Node::start();
    let mut trial = Trial::new(&miso, &redis);
    let seed = number("DIFF_SEED").unwrap_or(first);
    let commands = number("DIFF_COMMANDS").unwrap_or(COMMANDS);
    let Outcome { commands, differences, known } = trial.run(groups, seed, commands);
    println!("{groups:?}: {commands} commands from seed {seed}; known differences: {known:?}");
    let number = differences.len();
    assert!(differences.is_empty(), "{number} differences:\n\n{}", differences.join("\n\n"));
}

#[test]
fn strings() {
    same(&[Group::Strings, Group::Keys], 1);
}

#[test]
fn hashes() {
    same(&[Group::Hashes, Group::Keys], 3);
}

#[test]
fn bitmaps() {
    same(&[Group::Bitmaps, Group::Keys], 2);
}

#[test]
fn sets() {
    same(&[Group::Sets, Group::Keys], 4);
}

#[test]
fn sorted_sets() {
    same(&[Group::SortedSets, Group::Keys], 5);
}

#[test]
fn places() {
    same(&[Group::Geo, Group::Keys], 6);
}

#[test]
fn hyperloglogs() {
    same(&[Group::HyperLogLog, Group::Keys], 7);
}

#[test]
fn all_together() {
    same(&Group::ALL, 8);
}
