//! The journal on a disk that does its worst.

mod damage;
mod faults;
mod real;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::directory::segment_name;
use super::*;

const SALT: u64 = 0x5a17;
/// The kind of the records that a repair puts around what it has saved.
const LOST: u8 = 9;

fn options(sync: SyncPolicy) -> Options {
    Options {
        sync,
        segment_bytes: 400,
        buffer_bytes: 1 << 20,
        ahead_bytes: 64,
        background: false,
        processors: 2,
        reserve_bytes: 0,
    }
}

/// What a look at a directory gives that makes no sense of records.
fn checked(disk: &Arc<dyn Disk>) -> Result<Report, OpenError> {
    check(disk, &mut |_, _| Ok(()))
}

/// What recovery gives, in order.
type Found = Vec<(u8, Vec<u8>)>;

fn recover(disk: &FaultyDisk) -> Result<(Found, Recovered), OpenError> {
    let mut found = Vec::new();
    let recovered = Journal::open(Arc::new(disk.clone()))?.replay(|kind, payload| {
        found.push((kind, payload.to_vec()));
        Ok(())
    })?;
    Ok((found, recovered))
}

/// Opens as the server would: with a new incarnation if the old one may not be kept.
fn start(disk: &FaultyDisk, sync: SyncPolicy) -> Result<(Found, Journal), OpenError> {
    let (found, recovered) = recover(disk)?;
    let kept = recovered.may_keep();
    let identity = match (&recovered.identity, kept) {
        (None, _) => Identity::new(1, SALT),
        (Some(identity), Ok(())) => identity.clone(),
        (Some(identity), Err(_)) => identity.renewed(identity.replica + 1),
    };
    Ok((found, recovered.start(identity, options(sync))?))
}

/// Record `n`: its number as text, as long as the number says.
fn payload(n: u64) -> Vec<u8> {
    let mut bytes = n.to_string().into_bytes();
    bytes.resize(bytes.len() + (n * 7 % 40) as usize, b'.');
    bytes
}

fn number(payload: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(payload);
    text.trim_end_matches('.').parse().expect("a payload of these tests")
}

fn append(journal: &Journal, n: u64) -> Position {
    journal.append(3, |out| out.extend_from_slice(&payload(n)))
}

/// A program of the tests: numbered records, each of which stays until the end of time. The state at
/// any moment is "all up to `n`", so a checkpoint is the numbers up to `n`.
#[derive(Debug)]
struct Model {
    /// Handed to the journal.
    appended: u64,
    /// By position: which record it is.
    positions: BTreeMap<Position, u64>,
    committed: u64,
    synced: u64,
}

impl Model {
    fn new(last: u64) -> Model {
        Model { appended: last, positions: BTreeMap::new(), committed: last, synced: last }
    }

    fn record_at(&self, position: Position) -> u64 {
        self.positions.range(..=position).next_back().map_or(0, |(_, n)| *n)
    }

    /// One random step; false once the disk has crashed.
    fn step(&mut self, journal: &Journal, rng: &mut fastrand::Rng) -> bool {
        match rng.u8(..10) {
            0..=4 => {
                for _ in 0..rng.u8(1..5) {
                    self.appended += 1;
                    let position = append(journal, self.appended);
                    self.positions.insert(position, self.appended);
                }
                true
            }
            5 | 6 => {
                let done = journal.commit(journal.appended()).is_ok();
                if done {
                    self.committed = self.appended;
                }
                done
            }
            7 => self.take_note(journal, journal.sync().is_ok()),
            8 => self.take_note(journal, journal.tick().is_ok()),
            _ => {
                let Ok(mut checkpoint) = journal.begin() else {
                    return self.take_note(journal, false);
                };
                // Fuzzy: what was written after it began may be in it or not.
                let upto = self.appended;
                for n in 1..=upto {
                    if checkpoint.put(3, |out| out.extend_from_slice(&payload(n))).is_err() {
                        return false;
                    }
                }
                if rng.bool() {
                    self.appended += 1;
                    let position = append(journal, self.appended);
                    self.positions.insert(position, self.appended);
                }
                if rng.u8(..4) == 0 {
                    return true;
                }
                let done = checkpoint.finish().is_ok();
                self.take_note(journal, done)
            }
        }
    }

    fn take_note(&mut self, journal: &Journal, done: bool) -> bool {
        self.committed = self.committed.max(self.record_at(journal.written()));
        self.synced = self.synced.max(self.record_at(journal.synced()));
        done
    }

    /// What recovery gives must be 1, 2, 3, ... up to something between `least` and all. The
    /// checkpoint comes first, and the log may repeat what it holds.
    fn check(&self, found: &Found, least: u64, history: &str) -> u64 {
        let mut last = 0;
        for (kind, payload) in found {
            assert_eq!(*kind, 3, "{history}");
            let n = number(payload);
            assert_eq!(*payload, self::payload(n), "{history}");
            assert!(n <= last + 1, "{history}: {n} after {last}");
            last = last.max(n);
        }
        assert!(least <= last && last <= self.appended, "{history}: {last}, {self:?}");
        last
    }
}

fn crash_everywhere(seeds: std::ops::Range<u64>, sync: SyncPolicy, power_cut: bool) {
    for seed in seeds {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut disk = FaultyDisk::new(seed);
        let mut last = 0;
        let mut replica = None;
        for life in 0..4 {
            let history = format!("seed {seed}, life {life}, {sync}, power cut {power_cut}");
            disk.crash_at(rng.u64(1..80));
            let mut model = Model::new(last);
            let mut survived = false;
            if let Ok((found, journal)) = start(&disk, sync) {
                assert_eq!(model.check(&found, last, &history), last, "{history}");
                let now = journal.identity().replica;
                replica = replica.max(Some(now));
                survived = (0..60).all(|_| model.step(&journal, &mut rng));
                model.take_note(&journal, true);
                if survived && rng.bool() {
                    let _ = journal.close();
                }
            }
            disk = if power_cut { disk.power_cut() } else { disk.kill() };
            let (found, recovered) =
                recover(&disk).unwrap_or_else(|error| panic!("{history}: {error}"));
            let least = if power_cut { model.synced } else { model.committed };
            let before = model.committed;
            last = model.check(&found, least, &history);
            let kept = recovered.identity.is_some() && recovered.may_keep().is_ok();
            if kept && sync != SyncPolicy::Always {
                assert!(
                    last >= before,
                    "{history}: kept its incarnation and lost {before}: {last}"
                );
            }
            if let (Some(identity), Some(replica)) = (&recovered.identity, replica) {
                assert!(identity.replica >= replica, "{history}: an incarnation came back");
            }
            let _ = survived;
            drop(recovered);
            disk = disk.kill();
        }
    }
}

#[test]
fn a_dead_process_loses_nothing_that_was_committed() {
    for sync in [SyncPolicy::Always, SyncPolicy::EverySecond, SyncPolicy::No] {
        crash_everywhere(0..700, sync, false);
    }
}

#[test]
fn a_dead_machine_loses_nothing_that_was_synced() {
    for sync in [SyncPolicy::Always, SyncPolicy::EverySecond, SyncPolicy::No] {
        crash_everywhere(0..1_500, sync, true);
    }
}

/// A journal with a checkpoint, two segments after it, and an orderly end or none.
fn example(orderly: bool) -> FaultyDisk {
    let disk = FaultyDisk::new(1);
    let (_, journal) = start(&disk, SyncPolicy::Always).expect("an empty disk");
    let mut n = 0;
    let mut write = |count: u64| {
        for _ in 0..count {
            n += 1;
            let position = append(&journal, n);
            journal.commit(position).expect("room");
        }
    };
    write(5);
    let mut checkpoint = journal.begin().expect("room");
    for n in 1..=5 {
        checkpoint.put(3, |out| out.extend_from_slice(&payload(n))).expect("room");
    }
    checkpoint.finish().expect("room");
    write(12);
    journal.tick().expect("room");
    write(4);
    if orderly {
        journal.close().expect("room");
    }
    disk.kill()
}

fn files_of(disk: &FaultyDisk) -> Vec<String> {
    let names = disk.list().expect("no fault");
    names.into_iter().filter(|name| name != disk::LOCK).collect()
}

fn copy(disk: &FaultyDisk) -> FaultyDisk {
    let other = FaultyDisk::new(2);
    for name in files_of(disk) {
        other.put(&name, &disk.contents(&name).expect("a file"));
    }
    other
}
