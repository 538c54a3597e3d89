//! The journal on a disk that does its worst.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::*;

const SALT: u64 = 0x5a17;
/// The kind of the records that a repair puts around what it has saved.
const LOST: u8 = 9;

fn options(sync: SyncPolicy) -> Options {
    Options { sync, segment_bytes: 400, buffer_bytes: 1 << 20, ahead_bytes: 64, background: false }
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

/// A journal with a checkpoint, two segments behind it, and an orderly end or none.
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

#[test]
fn no_flipped_byte_goes_unnoticed() {
    for orderly in [true, false] {
        let disk = example(orderly);
        let (whole, recovered) = recover(&disk).expect("a sound journal");
        assert_eq!((whole.len(), recovered.summary.cut.clone()), (21, None));
        drop(recovered);
        let names = files_of(&disk);
        assert_eq!(names.len(), 4, "identity, checkpoint, two segments: {names:?}");
        let (mut detected, mut cut, mut harmless) = (0, 0, 0);
        for name in &names {
            let bytes = disk.contents(name).expect("a file");
            for at in 0..bytes.len() {
                for flip in [1u8, 0x80, 0xff] {
                    let other = copy(&disk);
                    let mut damaged = bytes.clone();
                    damaged[at] ^= flip;
                    other.put(name, &damaged);
                    match recover(&other) {
                        Err(error) => {
                            assert!(error.to_string().contains("--repair"), "{error}");
                            detected += 1;
                            let disk: Arc<dyn Disk> = Arc::new(other.kill());
                            assert!(!check(&disk).expect("readable").is_sound(), "{name} {at}");
                            if flip == 1 {
                                repaired(&disk, name);
                            }
                        }
                        Ok((found, recovered)) => {
                            assert_eq!(found, whole[..found.len()], "{name} {at}");
                            if found.len() < whole.len() {
                                let file = recovered.summary.cut.expect("it says so").file;
                                assert_eq!((found.len(), &file), (20, name), "{name} {at}");
                                cut += 1;
                            } else {
                                harmless += 1;
                            }
                        }
                    }
                }
            }
        }
        println!("orderly {orderly}: {detected} detected, {cut} cut, {harmless} harmless");
        // The zeros written ahead may be cut as a torn tail that held nothing.
        assert!(harmless <= 3 * 64 * usize::from(!orderly), "{harmless}");
        assert!(detected > 1_000 && (orderly || cut > 0));
    }
}

#[test]
fn what_was_durable_is_missed_also_after_a_power_cut() {
    let disk = FaultyDisk::new(11);
    let (_, journal) = start(&disk, SyncPolicy::EverySecond).expect("an empty disk");
    let mut ends = Vec::new();
    for n in 1..=6 {
        let position = append(&journal, n);
        journal.commit(position).expect("room");
        ends.push(
            disk.contents(&segment_name(1)).expect("a segment").iter().rposition(|b| *b != 0),
        );
        if n == 3 {
            journal.sync().expect("room");
        }
    }
    let (bytes, disk) = (disk.contents(&segment_name(1)).expect("a segment"), disk.power_cut());
    // All that was written happens to be there, but for one byte. Behind record 4 there is a mark for 3.
    for (n, end) in ends.iter().enumerate() {
        let mut damaged = bytes.clone();
        damaged[end.expect("not empty")] ^= 1;
        disk.put(&segment_name(1), &damaged);
        match recover(&disk.kill()) {
            Err(OpenError::Damaged { file, .. }) => assert!(n < 3 && file == segment_name(1)),
            Ok((found, recovered)) => {
                assert_eq!((found.len(), recovered.summary.cut.is_some()), (n.max(4), true));
                assert!(n >= 3);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// After a repair of one flipped byte: all but one record, and a new incarnation.
fn repaired(disk: &Arc<dyn Disk>, name: &str) {
    let report = repair(disk, LOST).expect("it can be written");
    assert!(!report.actions.is_empty());
    let mut found = std::collections::BTreeSet::new();
    let recovered = Journal::open(Arc::clone(disk)).expect("repaired").replay(|kind, payload| {
        // Between two records that say that something is lost.
        if kind != LOST {
            found.insert(number(payload));
        }
        Ok(())
    });
    let recovered = recovered.unwrap_or_else(|error| panic!("{name}: {error}\n{report:?}"));
    assert!(found.len() >= 20, "{name}: {found:?}\n{report:?}");
    assert_eq!(recovered.may_keep(), Err(Why::Repaired));
    let identity = recovered.identity.clone().expect("it has one").renewed(77);
    let journal = recovered.start(identity, options(SyncPolicy::No)).expect("a sound directory");
    append(&journal, 100);
    journal.close().expect("room");
    assert!(check(disk).expect("readable").is_sound());
}

#[test]
fn a_repair_takes_no_old_files_name() {
    let disk = FaultyDisk::new(14);
    let (_, journal) = start(&disk, SyncPolicy::Always).expect("an empty disk");
    append(&journal, 1);
    append(&journal, 2);
    journal.close().expect("room");
    // The second start leaves a segment without a record behind.
    drop(start(&disk, SyncPolicy::Always).expect("a sound journal"));
    let disk = disk.kill();
    let mut bytes = disk.contents(&segment_name(1)).expect("a segment");
    bytes[record::FILE_HEAD] ^= 1;
    disk.put(&segment_name(1), &bytes);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    assert!(!repair(&shared, LOST).expect("it can be written").is_sound());
    let (found, recovered) = recover(&disk).expect("repaired");
    let around = |begins| (LOST, vec![begins]);
    assert_eq!(found, [around(1), (3, payload(2)), around(0)]);
    assert_eq!(recovered.may_keep(), Err(Why::Repaired));
}

#[test]
fn a_journal_cut_anywhere_gives_its_beginning_or_an_error() {
    let disk = example(false);
    let (whole, _) = recover(&disk).expect("a sound journal");
    for name in files_of(&disk) {
        let bytes = disk.contents(&name).expect("a file");
        for len in 0..bytes.len() {
            let other = copy(&disk);
            other.put(&name, &bytes[..len]);
            if let Ok((found, _)) = recover(&other) {
                assert_eq!(found, whole[..found.len()], "{name} {len}");
                assert!(found.len() >= 13, "{name} {len}");
            }
        }
        let other = copy(&disk);
        other.remove(&name).expect("it is there");
        assert!(
            matches!(recover(&other), Err(OpenError::Damaged { .. })) || name == files_of(&disk)[3]
        );
    }
}

#[test]
fn an_orderly_end_leaves_no_doubt() {
    let disk = example(true).power_cut();
    let (found, recovered) = recover(&disk).expect("a sound journal");
    assert_eq!((found.len(), recovered.may_keep()), (21, Ok(())));
    drop(recovered);
    // The last segment gone, or its last record.
    let last = files_of(&disk).pop().expect("files");
    let other = copy(&disk);
    other.remove(&last).expect("it is there");
    assert!(matches!(recover(&other), Err(OpenError::Damaged { .. })));
    let bytes = disk.contents(&last).expect("a file");
    disk.put(&last, &bytes[..bytes.len() - 17 - payload(21).len()]);
    assert!(matches!(recover(&disk), Err(OpenError::Damaged { .. })));
}

#[test]
fn a_copy_is_noticed() {
    let disk = example(true);
    let other = FaultyDisk::new(3);
    other.put("a file that shifts the numbers", b"");
    for name in files_of(&disk) {
        other.put(&name, &disk.contents(&name).expect("a file"));
    }
    other.remove("a file that shifts the numbers").expect("it is there");
    let (_, recovered) = recover(&other).expect("a sound journal");
    assert_eq!(recovered.may_keep(), Err(Why::Copied));
}

#[test]
fn a_checkpoint_alone_is_a_backup() {
    let disk = example(false);
    let other = FaultyDisk::new(4);
    let name =
        files_of(&disk).into_iter().find(|name| name.starts_with("checkpoint")).expect("one");
    other.put(&name, &disk.contents(&name).expect("a file"));
    let (found, journal) = start(&other, SyncPolicy::Always).expect("a backup");
    assert_eq!(found.len(), 5);
    append(&journal, 6);
    journal.sync().expect("room");
    let (found, recovered) = recover(&other.power_cut()).expect("a sound journal");
    assert_eq!((found.len(), recovered.may_keep()), (6, Ok(())));
}

#[test]
fn a_full_disk_holds_writes_up_and_loses_nothing() {
    for ahead_bytes in [0, 64] {
        let disk = FaultyDisk::new(5);
        let (_, recovered) = recover(&disk).expect("an empty disk");
        let options = Options { ahead_bytes, ..options(SyncPolicy::Always) };
        let journal = recovered.start(Identity::new(1, SALT), options).expect("room");
        for n in 1..=3 {
            append(&journal, n);
        }
        journal.sync().expect("room");
        disk.set_room(Some(10));
        for n in 4..=9 {
            append(&journal, n);
        }
        let failed = journal.commit(journal.appended()).expect_err("no room");
        assert!(failed.to_string().contains("cannot be written"), "{failed}");
        assert!(matches!(journal.status(), Status::Failing(_)));
        assert_eq!((journal.written(), journal.synced()), (Position(3), Position(3)));
        assert!(journal.admit().is_err() && journal.tick().is_err() && journal.begin().is_err());
        // Whoever dies now has what was acknowledged. (Looked at on a copy; this one lives on.)
        let (found, _) = recover(&copy(&disk)).expect("a sound journal");
        assert!(found.len() >= 3);
        disk.set_room(None);
        journal.tick().expect("room again");
        assert_eq!(journal.status(), Status::Ok);
        journal.admit().expect("well again");
        append(&journal, 10);
        journal.sync().expect("room again");
        let (found, recovered) = recover(&disk.power_cut()).expect("a sound journal");
        assert_eq!(
            found.iter().map(|(_, p)| number(p)).collect::<Vec<_>>(),
            (1..=10).collect::<Vec<_>>()
        );
        assert_eq!(recovered.summary.cut, None);
    }
}

/// Numbers 1 to `last`, as a checkpoint.
fn checkpoint(journal: &Journal, last: u64) -> Result<CheckpointSummary, Failed> {
    let mut checkpoint = journal.begin()?;
    for n in 1..=last {
        checkpoint.put(3, |out| out.extend_from_slice(&payload(n)))?;
    }
    checkpoint.finish()
}

#[test]
fn a_failed_fsync_is_healed_by_a_checkpoint_and_by_nothing_else() {
    for power_cut in [false, true] {
        let disk = FaultyDisk::new(6);
        let (_, journal) = start(&disk, SyncPolicy::Always).expect("an empty disk");
        append(&journal, 1);
        journal.sync().expect("no fault");
        append(&journal, 2);
        disk.fail_syncs(1);
        let mut synced = std::pin::pin!(journal.on_synced(Position(2)));
        let mut context = Context::from_waker(Waker::noop());
        assert!(synced.as_mut().poll(&mut context).is_pending());
        assert!(journal.tick().is_err());
        assert!(matches!(synced.as_mut().poll(&mut context), Poll::Ready(Err(_))));
        // It would work now; but what does that say?
        assert!(journal.sync().is_err() && journal.tick().is_err());
        assert!(matches!(journal.status(), Status::Broken(_)));
        assert!(journal.admit().is_err() && journal.synced() == Position(1));
        // One that was past the check.
        let late = append(&journal, 3);
        assert!(journal.commit(late).is_err());
        drop(journal.begin().expect("no fault"));
        append(&journal, 4);
        assert!(matches!(journal.status(), Status::Broken(_)));

        let disk = if power_cut { disk.power_cut() } else { disk.kill() };
        drop(journal);
        let (found, recovered) = recover(&disk).expect("a tail at most");
        assert!(found.len() <= 2 && found.first().is_some_and(|(_, p)| number(p) == 1));
        assert_eq!(recovered.may_keep(), Err(Why::Faulted));
        let identity = recovered.identity.clone().expect("it has one").renewed(2);
        let journal = recovered.start(identity, options(SyncPolicy::Always)).expect("no fault");
        assert!(matches!(journal.status(), Status::Broken(_)), "restarting heals nothing");
        let last = number(&found.last().expect("one at least").1);
        append(&journal, last + 1);
        checkpoint(&journal, last + 1).expect("no fault");
        assert_eq!(journal.status(), Status::Ok);
        append(&journal, last + 2);
        journal.sync().expect("no fault");
        // With a mark before it.
        let record = 17 + payload(last + 2).len() as u64;
        assert_eq!(journal.stats().log_bytes, record + 17 + 8);
        let (found, recovered) = recover(&disk.power_cut()).expect("a sound journal");
        assert_eq!(found.len() as u64, last + 2);
        assert_eq!(recovered.may_keep(), Ok(()));
    }
}

#[test]
fn what_an_fsync_failed_on_is_not_durable_after_a_restart_either() {
    let disk = FaultyDisk::new(12);
    let (_, journal) = start(&disk, SyncPolicy::Always).expect("an empty disk");
    append(&journal, 1);
    journal.sync().expect("no fault");
    append(&journal, 2);
    disk.fail_syncs(1);
    assert!(journal.sync().is_err());
    // The process ends. The kernel still shows what it will never write.
    let disk = disk.kill();
    let (found, journal) = start(&disk, SyncPolicy::Always).expect("a sound journal");
    assert_eq!((found.len(), journal.synced()), (2, Position(1)));
    let disk = disk.power_cut();
    let (found, recovered) = recover(&disk).expect("nothing that was durable is missing");
    assert_eq!((found.len(), recovered.may_keep()), (1, Err(Why::Faulted)));
}

#[test]
fn a_cut_tail_is_not_forgotten_by_a_crash_while_starting() {
    let torn = FaultyDisk::new(13);
    let (_, journal) = start(&torn, SyncPolicy::EverySecond).expect("an empty disk");
    for n in 1..=3 {
        append(&journal, n);
    }
    journal.commit(Position(3)).expect("room");
    let name = segment_name(1);
    let bytes = torn.contents(&name).expect("a segment");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("not empty");
    let torn = torn.kill();
    torn.put(&name, &bytes[..end - 3]);
    assert_eq!(recover(&torn).expect("a tail").1.may_keep(), Err(Why::CutTail { bytes: 35 }));
    for at in 1.. {
        for power_cut in [false, true] {
            let disk = torn.fork(at);
            disk.crash_at(at);
            let done = start(&disk, SyncPolicy::EverySecond).is_ok();
            let disk = if power_cut { disk.power_cut() } else { disk.kill() };
            let (found, recovered) = recover(&disk).expect("a tail at most");
            assert_eq!(found.len(), 2);
            let replica = recovered.identity.as_ref().map(|identity| identity.replica);
            assert!(replica == Some(2) || recovered.may_keep().is_err(), "step {at}");
            if done && !power_cut {
                return assert!(at > 5 && recovered.may_keep().is_ok());
            }
        }
    }
}

#[test]
fn a_power_cut_after_a_failed_fsync_takes_no_acknowledged_record() {
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let disk = FaultyDisk::new(seed);
        let (_, journal) = start(&disk, SyncPolicy::Always).expect("an empty disk");
        let (mut n, mut durable) = (0, 0);
        for _ in 0..rng.u8(1..40) {
            n += 1;
            append(&journal, n);
            match rng.u8(..12) {
                0 => disk.fail_syncs(1),
                1 => {
                    if checkpoint(&journal, n).is_ok() {
                        durable = n;
                    }
                }
                2 => drop(journal.begin()),
                _ => {
                    if journal.sync().is_ok() {
                        durable = n;
                    }
                }
            }
        }
        let (found, _) = recover(&disk.power_cut()).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let mut last = 0;
        for (_, payload) in &found {
            let n = number(payload);
            assert!(n <= last + 1, "seed {seed}");
            last = last.max(n);
        }
        assert!(durable <= last && last <= n, "seed {seed}: {durable} {last} {n}");
    }
}

#[test]
fn a_crash_between_any_two_steps_of_a_checkpoint_is_harmless() {
    let mut steps = 0;
    for at in 1.. {
        let mut done = false;
        for (power_cut, seed) in (0..20).map(|seed| (seed % 2 == 0, seed)) {
            let disk = FaultyDisk::new(seed);
            let (_, journal) = start(&disk, SyncPolicy::Always).expect("an empty disk");
            for n in 1..=9 {
                append(&journal, n);
            }
            journal.sync().expect("no fault");
            checkpoint(&journal, 9).expect("no fault");
            append(&journal, 10);
            journal.sync().expect("no fault");
            disk.crash_at(at);
            done =
                checkpoint(&journal, 10).is_ok() && files_of_quietly(&disk).is_some_and(|n| n <= 3);
            let disk = if power_cut { disk.power_cut() } else { disk.kill() };
            let before = journal.identity().replica;
            let (found, journal) = start(&disk, SyncPolicy::Always).expect("a sound journal");
            // A segment that was about to begin holds no record, and none is cut.
            let kept = journal.identity().replica == before;
            assert!(kept || power_cut, "step {at}, seed {seed}: a new incarnation");
            let model = Model::new(10);
            assert_eq!(model.check(&found, 10, &format!("step {at}, seed {seed}")), 10);
            // And the next one works.
            checkpoint(&journal, 10).expect("no fault");
            assert!(files_of(&disk).len() <= 3, "{:?}", files_of(&disk));
        }
        steps = at;
        if done {
            break;
        }
    }
    assert!(steps > 10, "{steps}");
}

fn files_of_quietly(disk: &FaultyDisk) -> Option<usize> {
    disk.list().ok().map(|names| names.len() - 1)
}

#[test]
fn a_value_that_looks_like_a_record_is_none() {
    let disk = FaultyDisk::new(7);
    let (_, journal) = start(&disk, SyncPolicy::EverySecond).expect("an empty disk");
    append(&journal, 1);
    let mut forged = Vec::new();
    // Whoever writes it knows the format, and even the number, but not the salt.
    record::encode(&mut forged, record::Seed::new(0), 4, 3, b"forged");
    journal.append(3, |out| out.extend_from_slice(&forged));
    journal.commit(journal.appended()).expect("room");
    let disk = disk.kill();
    let name = segment_name(1);
    let mut bytes = disk.contents(&name).expect("a segment");
    let at = record::FILE_HEAD + 2 * record::RECORD_HEAD + payload(1).len() - 1;
    bytes[at] ^= 1;
    disk.put(&name, &bytes);
    let (found, recovered) = recover(&disk).expect("a torn tail");
    assert_eq!(found.len(), 1);
    assert!(recovered.summary.cut.is_some());
}

#[test]
fn what_is_in_the_way_is_said_in_one_line() {
    let disk = FaultyDisk::new(8);
    disk.put("photo.jpg", b"");
    let error = recover(&disk).expect_err("a foreign file");
    assert!(error.to_string().contains("photo.jpg"), "{error}");
    assert_eq!(disk.list().expect("no fault"), ["photo.jpg"], "nothing is made there");
    let disk = example(false);
    let (_, first) = recover(&disk).expect("a sound journal");
    assert!(matches!(recover(&disk), Err(OpenError::InUse)));
    assert!(matches!(check(&(Arc::new(disk.clone()) as Arc<dyn Disk>)), Err(OpenError::InUse)));
    drop(first);
    let replayed = Journal::open(Arc::new(disk)).expect("free").replay(|_, payload| {
        if number(payload) == 7 { Err("what is this?".to_owned()) } else { Ok(()) }
    });
    let error = replayed.expect_err("refused").to_string();
    assert!(error.contains("what is this?") && error.contains("journal-"), "{error}");
}

#[test]
fn a_weaker_policy_is_noted_before_it_is_in_force() {
    let disk = FaultyDisk::new(9);
    let (_, journal) = start(&disk, SyncPolicy::Always).expect("an empty disk");
    journal.set_policy(SyncPolicy::No).expect("room");
    journal.set_policy(SyncPolicy::Always).expect("room");
    let (_, recovered) = recover(&disk.power_cut()).expect("a sound journal");
    assert_eq!(recovered.may_keep(), Err(Why::PowerCut(SyncPolicy::No)));
}

#[test]
fn a_payload_that_panics_leaves_no_trace() {
    let disk = FaultyDisk::new(10);
    let (_, journal) = start(&disk, SyncPolicy::No).expect("an empty disk");
    append(&journal, 1);
    let panics = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        journal.append(3, |out| {
            out.extend_from_slice(b"half");
            panic!("as it should");
        })
    }));
    assert!(panics.is_err());
    append(&journal, 2);
    journal.commit(journal.appended()).expect("room");
    let (found, recovered) = recover(&disk.kill()).expect("a sound journal");
    assert_eq!((found.len(), recovered.summary.cut), (2, None));
}

/// A directory that goes when the test ends.
struct Directory(std::path::PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("miso-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Directory(path)
    }

    fn disk(&self) -> Arc<dyn Disk> {
        Arc::new(RealDisk::new(&self.0).expect("a directory in the temporary one"))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn four_threads_keep_their_order_and_lose_nothing() {
    for sync in [SyncPolicy::Always, SyncPolicy::EverySecond] {
        let directory = Directory::new(&format!("threads-{sync}"));
        let open = || Journal::open(directory.disk()).expect("free and ours");
        let recovered = open().replay(|_, _| Ok(())).expect("empty");
        let options = Options { sync, segment_bytes: 64 << 10, ..Options::default() };
        let journal = recovered.start(Identity::new(1, SALT), options).expect("room");
        assert!(matches!(Journal::open(directory.disk()), Err(OpenError::InUse)));
        let rounds = 300u64;
        std::thread::scope(|scope| {
            for thread in 0..4u8 {
                let journal = &journal;
                scope.spawn(move || {
                    for round in 0..rounds {
                        // What is added is numbered by all threads together.
                        let order = round * 4 + u64::from(thread);
                        journal.add(
                            9,
                            b"head",
                            order,
                            &[&order.to_le_bytes()[..], &[thread; 20]].concat(),
                        );
                        let ticket = journal.ticket();
                        if round % 7 == 0 {
                            let position = journal.commit_added(ticket).expect("room");
                            assert!(journal.written() >= position);
                        }
                        let mut position = Position(0);
                        for n in 0..5 {
                            let next = journal.append(thread, |out| {
                                out.extend_from_slice(&(round * 5 + n).to_le_bytes());
                                out.resize(60, 7);
                            });
                            assert!(next > position);
                            position = next;
                        }
                        if sync == SyncPolicy::Always && round % 3 == 0 {
                            journal.wait_synced(position).expect("room");
                            assert!(journal.synced() >= position);
                        } else {
                            journal.commit(position).expect("room");
                            assert!(journal.written() >= position);
                        }
                    }
                });
            }
        });
        // As if the process had died here.
        drop(journal);
        let mut next = [0u64; 4];
        let mut added = [0u64; 4];
        let mut read = |recovery: Recovery| {
            (next, added) = ([0; 4], [0; 4]);
            recovery
                .replay(|thread, payload| {
                    if thread == 9 {
                        assert_eq!(&payload[..4], b"head");
                        for what in payload[4..].chunks(28) {
                            let order = record::u64_at(what, 0);
                            let n = &mut added[(order % 4) as usize];
                            assert_eq!((order / 4, what[8]), (*n, (order % 4) as u8));
                            *n += 1;
                        }
                        return Ok(());
                    }
                    // What a thread has added before it appended stands before that.
                    let n = record::u64_at(payload, 0);
                    assert!(added[usize::from(thread)] > n / 5);
                    let n = &mut next[usize::from(thread)];
                    assert_eq!(record::u64_at(payload, 0), *n);
                    *n += 1;
                    Ok(())
                })
                .expect("a sound journal")
        };
        let recovered = read(open());
        assert_eq!(recovered.may_keep(), Ok(()));
        let identity = recovered.identity.clone().expect("it has one");
        let journal = recovered.start(identity, Options::default()).expect("room");
        journal.close().expect("room");
        let recovered = read(open());
        assert!(matches!(recovered.identity.as_ref().map(|id| id.state), Some(State::Clean(_))));
        assert_eq!(next, [rounds * 5; 4]);
        drop(recovered);
        assert!(check(&directory.disk()).expect("readable").is_sound());
    }
}

#[test]
fn a_copied_directory_is_noticed_on_a_real_disk() {
    let (one, two) = (Directory::new("original"), Directory::new("copy"));
    let recovered = Journal::open(one.disk()).and_then(|r| r.replay(|_, _| Ok(()))).expect("empty");
    let journal = recovered.start(Identity::new(1, SALT), Options::default()).expect("room");
    append(&journal, 1);
    journal.close().expect("room");
    drop(two.disk());
    for entry in std::fs::read_dir(&one.0).expect("there") {
        let entry = entry.expect("readable");
        std::fs::copy(entry.path(), two.0.join(entry.file_name())).expect("room");
    }
    let replay = |directory: &Directory| {
        Journal::open(directory.disk()).and_then(|r| r.replay(|_, _| Ok(()))).expect("sound")
    };
    assert_eq!(replay(&one).may_keep(), Ok(()));
    assert_eq!(replay(&two).may_keep(), Err(Why::Copied));
    // Yesterday's files put back in the same place.
    std::fs::copy(two.0.join("identity"), one.0.join("yesterday")).expect("room");
    std::fs::rename(one.0.join("yesterday"), one.0.join("identity")).expect("room");
    assert_eq!(replay(&one).may_keep(), Err(Why::Copied));
}

#[test]
fn a_future_wakes_when_its_records_are_durable() {
    let directory = Directory::new("future");
    let recovered =
        Journal::open(directory.disk()).and_then(|r| r.replay(|_, _| Ok(()))).expect("empty");
    let options = Options { sync: SyncPolicy::Always, ..Options::default() };
    let journal = recovered.start(Identity::new(1, SALT), options).expect("room");
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    for n in 0..50 {
        let position = append(&journal, n);
        let mut synced = std::pin::pin!(journal.on_synced(position));
        while synced.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            std::thread::park();
        }
        assert!(journal.synced() >= position);
    }
}

#[test]
fn a_slow_fsync_holds_writers_back_after_two_seconds() {
    let disk = FaultyDisk::new(15);
    let (_, recovered) = recover(&disk).expect("an empty disk");
    let options = Options { background: true, ..options(SyncPolicy::EverySecond) };
    let journal = recovered.start(Identity::new(1, SALT), options).expect("room");
    disk.set_sync_delay(Duration::from_millis(2_800));
    let (begun, mut slowest) = (Instant::now(), Duration::ZERO);
    let mut n = 0;
    while journal.synced() == Position(0) {
        assert!(begun.elapsed() < Duration::from_secs(20), "the thread syncs each second");
        n += 1;
        let (position, one) = (append(&journal, n), Instant::now());
        journal.commit(position).expect("room");
        slowest = slowest.max(one.elapsed());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(journal.stats().delayed, 1);
    assert!(slowest > Duration::from_millis(400), "{slowest:?}");
    disk.set_sync_delay(Duration::ZERO);
    journal.close().expect("room");
    assert_eq!(journal.status(), Status::Closed);
    assert!(journal.commit(append(&journal, n + 1)).is_err());
}

/// Where syncs are fast, the thread that needs one makes it. If that one hangs, others are not drawn in.
#[test]
fn a_sync_that_hangs_holds_up_only_its_maker() {
    let disk = FaultyDisk::new(4);
    let options = Options { background: true, ..options(SyncPolicy::Always) };
    let (_, recovered) = recover(&disk).expect("an empty disk");
    let journal = recovered.start(Identity::new(1, SALT), options).expect("an empty disk");
    let mut task = Context::from_waker(Waker::noop());
    let mut ask = |n: u64| {
        let mut synced = journal.on_synced(append(&journal, n));
        (std::pin::Pin::new(&mut synced).poll(&mut task).is_ready(), synced)
    };
    // A sync that takes some time, and not much. On a busy machine one may take longer all the same, and
    // then the next is handed to the journal's thread: so the last one must have been fast, too.
    disk.set_sync_delay(Duration::from_micros(50));
    let until = Instant::now() + Duration::from_secs(20);
    let mut n = 0;
    loop {
        n += 1;
        if ask(n).0 && journal.stats().last_sync <= Duration::from_micros(500) {
            break;
        }
        journal.wait_synced(journal.appended()).expect("no fault");
        assert!(Instant::now() < until, "never made at once");
    }
    let hang = Duration::from_secs(3);
    disk.set_sync_delay(hang);
    std::thread::scope(|scope| {
        let before = Instant::now();
        let first = scope.spawn(|| drop(journal.on_synced(append(&journal, n + 1))));
        while disk.delayed_syncs() == 0 {
            assert!(Instant::now() < until, "no sync");
            std::thread::yield_now();
        }
        let begun = Instant::now();
        let (ready, _synced) = ask(n + 2);
        assert!(!ready && begun.elapsed() < hang / 2, "{:?}", begun.elapsed());
        first.join().expect("no panic");
        assert!(before.elapsed() >= hang, "the first did not make the sync");
    });
    disk.set_sync_delay(Duration::ZERO);
}
