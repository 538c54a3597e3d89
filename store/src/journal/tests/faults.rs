//! A full disk, failed fsyncs, and crashes between any two steps.

use super::*;

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
        // A process that dies now has what was acknowledged. (Checked on a copy; this one lives on.)
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
pub(super) fn checkpoint(journal: &Journal, last: u64) -> Result<CheckpointSummary, Failed> {
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

/// Opens with a reserve, and writes no zeros ahead, which would be room as well.
fn start_with_reserve(disk: &FaultyDisk) -> Result<Journal, OpenError> {
    let (_, recovered) = recover(disk)?;
    let identity = recovered.identity.clone().unwrap_or_else(|| Identity::new(1, SALT));
    let options =
        Options { reserve_bytes: 200 << 10, ahead_bytes: 0, ..options(SyncPolicy::Always) };
    recovered.start(identity, options)
}

fn written(disk: &FaultyDisk) -> u64 {
    let (found, _) = recover(&disk.fork(1).kill()).expect("a sound journal");
    found.iter().map(|(_, payload)| number(payload)).max().unwrap_or(0)
}

#[test]
fn the_first_write_on_a_full_disk_is_kept_and_later_ones_are_refused() {
    let disk = FaultyDisk::new(31);
    let journal = start_with_reserve(&disk).expect("an empty disk");
    append(&journal, 1);
    journal.sync().expect("room");
    disk.set_room(Some(0));
    // It was let in, so it is kept.
    journal.admit().expect("well so far");
    let position = append(&journal, 2);
    journal.commit(position).expect("the reserve has room");
    assert_eq!(written(&disk), 2);
    let refused = journal.admit().expect_err("the disk is full").to_string();
    assert!(refused.contains("cannot be written"), "{refused}");
    assert!(matches!(journal.status(), Status::Failing(_)));
    // What comes from peers is not asked for leave.
    let position = append(&journal, 3);
    journal.commit(position).expect("the reserve has room");
    assert!(journal.admit().is_err() && journal.tick().is_err());
    disk.set_room(None);
    journal.tick().expect("room again");
    journal.admit().expect("well again");
    assert_eq!(journal.status(), Status::Ok);
    journal.close().expect("room");
}

#[test]
fn a_full_disk_has_room_for_a_checkpoint_which_makes_more() {
    let disk = FaultyDisk::new(32);
    let journal = start_with_reserve(&disk).expect("an empty disk");
    for n in 1..=2_000 {
        append(&journal, n);
    }
    journal.sync().expect("room");
    disk.set_room(Some(0));
    let position = append(&journal, 2_001);
    journal.commit(position).expect("the reserve has room");
    assert!(journal.admit().is_err() && journal.checkpoint_due(0));
    // All there is comes to one record.
    let mut checkpoint = journal.begin().expect("the reserve has room");
    checkpoint.put(3, |out| out.extend_from_slice(&payload(2_001))).expect("the reserve has room");
    checkpoint.finish().expect("the reserve has room");
    assert!(!journal.checkpoint_due(0));
    journal.tick().expect("the log has gone");
    journal.admit().expect("well again");
    append(&journal, 2_002);
    journal.sync().expect("room");
    let (found, recovered) = recover(&disk.power_cut()).expect("a sound journal");
    assert_eq!((found.len(), recovered.may_keep()), (2, Ok(())));
}

#[test]
fn a_start_on_a_full_disk_takes_no_writes_until_there_is_room() {
    for (reserve, renewed) in [(true, false), (true, true), (false, false), (false, true)] {
        let disk = FaultyDisk::new(33);
        let journal = start_with_reserve(&disk).expect("an empty disk");
        for n in 1..=9 {
            append(&journal, n);
        }
        journal.sync().expect("room");
        drop(journal);
        let disk = disk.kill();
        if !reserve {
            disk.remove(reserve::RESERVE).expect("it is there");
        }
        disk.set_room(Some(0));
        let (found, recovered) = recover(&disk).expect("a sound journal");
        assert_eq!(found.len(), 9);
        let mut identity = recovered.identity.clone().expect("it has one");
        if renewed {
            identity = identity.renewed(2);
        }
        let replica = identity.replica;
        let options = Options { reserve_bytes: 200 << 10, ..options(SyncPolicy::Always) };
        let journal = recovered.start(identity, options).expect("it starts");
        assert!(matches!(journal.status(), Status::Failing(_)), "{:?}", journal.status());
        assert!(journal.admit().is_err() && journal.tick().is_err());
        // Ended and killed: all is as it was.
        journal.close().expect("nothing to do");
        drop(journal);
        let disk = disk.kill();
        let (found, recovered) = recover(&disk).expect("a sound journal");
        assert_eq!(found.len(), 9);
        let mut identity = recovered.identity.clone().expect("it has one");
        if renewed && identity.replica != replica {
            identity = identity.renewed(replica);
        }
        let options = Options { reserve_bytes: 200 << 10, ..self::options(SyncPolicy::Always) };
        let journal = recovered.start(identity, options).expect("it starts");
        assert!(journal.admit().is_err());
        // With room it goes on, without a restart.
        disk.set_room(None);
        journal.tick().expect("room");
        journal.admit().expect("room");
        append(&journal, 10);
        journal.sync().expect("room");
        let (found, recovered) = recover(&disk.power_cut()).expect("a sound journal");
        assert_eq!((found.len(), recovered.may_keep()), (10, Ok(())));
        assert_eq!(recovered.identity.as_ref().map(|id| id.replica), Some(replica));
    }
}

/// Any step may be the last one, and the disk may be full besides.
#[test]
fn a_crash_on_a_full_disk_loses_nothing_that_was_committed() {
    for seed in 0..400 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut disk = FaultyDisk::new(seed);
        let mut last = 0;
        for _ in 0..3 {
            disk.set_room((rng.u8(..4) > 0).then(|| rng.u64(..400)));
            disk.crash_at(rng.u64(1..60));
            let mut committed = last;
            if let Ok(journal) = start_with_reserve(&disk) {
                let mut n = last;
                for _ in 0..40 {
                    if journal.admit().is_ok() {
                        n += 1;
                        append(&journal, n);
                    }
                    match rng.u8(..8) {
                        0 => _ = checkpoint(&journal, n),
                        1 => _ = journal.tick(),
                        2 => disk.set_room((rng.u8(..2) > 0).then(|| rng.u64(..400))),
                        _ => {}
                    }
                    if journal.commit(journal.appended()).is_ok() {
                        committed = n;
                    }
                }
            }
            disk = disk.kill();
            disk.set_room(None);
            let (found, _) = recover(&disk).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            disk = disk.kill();
            let found = found.iter().map(|(_, payload)| number(payload)).max().unwrap_or(0);
            assert!(found >= committed, "seed {seed}: {committed} were kept, {found} are there");
            last = found;
        }
    }
}

/// The file system may have lost the lock with the fsync, and another process may hold it now.
#[test]
fn after_a_failed_fsync_the_lock_is_taken_again() {
    let disk = FaultyDisk::new(34);
    let (_, journal) = start(&disk, SyncPolicy::Always).expect("an empty disk");
    append(&journal, 1);
    disk.fail_syncs(1);
    assert!(journal.sync().is_err());
    disk.drop_lock();
    let other = disk.lock(false).expect("nobody holds it");
    let failed = journal.begin().map(drop).expect_err("another process has it").to_string();
    assert!(failed.contains("locked"), "{failed}");
    assert!(matches!(journal.status(), Status::Broken(_)));
    drop(other);
    checkpoint(&journal, 1).expect("it is free");
    assert_eq!(journal.status(), Status::Ok);
    assert!(
        matches!(disk.lock(false).map(drop), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    );
}
