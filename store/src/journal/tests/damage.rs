//! Damaged, torn, copied and foreign files.

use super::*;

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
                            assert!(!checked(&disk).expect("readable").is_sound(), "{name} {at}");
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
    // All that was written happens to be there, but for one byte. After record 4 there is a mark for 3.
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
    assert!(checked(disk).expect("readable").is_sound());
}

#[test]
fn a_repair_takes_no_old_files_name() {
    let disk = FaultyDisk::new(14);
    let (_, journal) = start(&disk, SyncPolicy::Always).expect("an empty disk");
    append(&journal, 1);
    append(&journal, 2);
    journal.close().expect("room");
    // The second start leaves a segment without a record.
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
fn a_value_that_looks_like_a_record_is_none() {
    let disk = FaultyDisk::new(7);
    let (_, journal) = start(&disk, SyncPolicy::EverySecond).expect("an empty disk");
    append(&journal, 1);
    let mut forged = Vec::new();
    // Its author knows the format, and even the number, but not the salt.
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
    assert!(matches!(checked(&(Arc::new(disk.clone()) as Arc<dyn Disk>)), Err(OpenError::InUse)));
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

/// The device goes and comes back under the same kernel; what was not synced is lost, and nothing in the
/// log shows it: the incarnation may not go on.
#[test]
fn a_file_system_that_lost_its_last_second_makes_a_new_incarnation() {
    for (sync, kept) in [
        (SyncPolicy::EverySecond, Err(Why::Remounted(SyncPolicy::EverySecond))),
        (SyncPolicy::No, Err(Why::Remounted(SyncPolicy::No))),
        (SyncPolicy::Always, Ok(())),
    ] {
        let disk = FaultyDisk::new(21);
        let (_, journal) = start(&disk, sync).expect("an empty disk");
        append(&journal, 1);
        journal.sync().expect("no fault");
        // Written, and answered under `everysec`; the disk never sees it.
        append(&journal, 2);
        if sync == SyncPolicy::Always {
            journal.sync().expect("no fault");
        } else {
            journal.commit(journal.appended()).expect("no fault");
        }
        let (_, recovered) = recover(&disk.pull()).expect("a sound journal");
        let kept_here = recovered.may_keep();
        let cut = matches!(kept_here, Err(Why::CutTail { .. })) && kept.is_err();
        assert!(kept_here == kept || cut, "{sync}: {kept_here:?}");
    }
    // Closed in order, it goes on wherever it is mounted next.
    let disk = example(true);
    for _ in 0..3 {
        let pulled = disk.pull();
        let (found, recovered) = recover(&pulled).expect("a sound journal");
        assert_eq!((found.len(), recovered.may_keep()), (21, Ok(())));
    }
}

/// The newest segment has been begun, durably, and now there is nothing of it.
#[test]
fn a_newest_segment_without_its_head_is_not_taken_for_new() {
    for sync in [SyncPolicy::Always, SyncPolicy::EverySecond] {
        let disk = FaultyDisk::new(22);
        let (_, journal) = start(&disk, sync).expect("an empty disk");
        for n in 1..=30 {
            append(&journal, n);
            journal.sync().expect("no fault");
            journal.tick().expect("no fault");
        }
        let disk = disk.kill();
        let last = files_of(&disk).pop().expect("files");
        assert!(last.starts_with("journal-") && files_of(&disk).len() > 3);
        let zeros = vec![0; disk.contents(&last).expect("a file").len()];
        for left in [Some(&[][..]), Some(&zeros[..20]), Some(&zeros[..]), None] {
            let other = disk.fork(1).kill();
            match left {
                Some(left) => other.put(&last, left),
                None => other.remove(&last).expect("it is there"),
            }
            let (found, recovered) = recover(&other).expect("a tail");
            assert!(found.len() > 10, "{}", found.len());
            assert!(matches!(recovered.may_keep(), Err(Why::CutTail { .. })), "{left:?}");
            assert_eq!(recovered.summary.cut.as_ref().map(|cut| &cut.file), Some(&last));
            let identity = recovered.identity.clone().expect("it has one").renewed(9);
            let journal = recovered.start(identity, options(sync)).expect("room");
            append(&journal, 31);
            journal.close().expect("room");
            assert!(
                checked(&(Arc::new(other.kill()) as Arc<dyn Disk>)).expect("readable").is_sound()
            );
        }
    }
}

/// A format of the future is neither a torn tail nor damage, and no repair touches it.
#[test]
fn a_newer_version_is_refused_by_name_and_not_repaired() {
    for name in ["journal-", "checkpoint-", "identity"] {
        let disk = example(false);
        // The last of that kind: a torn tail could be there.
        let name = files_of(&disk).into_iter().rfind(|file| file.starts_with(name)).expect("one");
        let mut bytes = disk.contents(&name).expect("a file");
        if name == "identity" {
            let text = String::from_utf8(bytes).expect("text");
            let (body, _) = text.rsplit_once("crc ").expect("it has one");
            let body = body.replacen("identity 2", "identity 77", 1);
            bytes = format!("{body}crc {:08x}\n", crc32c::crc32c(body.as_bytes())).into_bytes();
        } else {
            bytes[8..12].copy_from_slice(&77u32.to_le_bytes());
            let crc = crc32c::crc32c(&bytes[..record::FILE_HEAD - 4]);
            bytes[record::FILE_HEAD - 4..record::FILE_HEAD].copy_from_slice(&crc.to_le_bytes());
            bytes.truncate(record::FILE_HEAD + 5);
        }
        disk.put(&name, &bytes);
        let before = files_of(&disk);
        let newer = |error: OpenError| {
            assert!(matches!(error, OpenError::Newer { version: 77, .. }), "{error}");
            let text = error.to_string();
            assert!(text.contains("newer version") && !text.contains("--repair"), "{text}");
            assert!(text.starts_with(&name), "{text}");
        };
        newer(recover(&disk).map(drop).expect_err("it is newer"));
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        newer(checked(&shared).map(drop).expect_err("it is newer"));
        newer(repair(&shared, LOST).map(drop).expect_err("it is newer"));
        assert_eq!((files_of(&disk), disk.contents(&name)), (before, Some(bytes)));
    }
}

#[test]
fn what_others_leave_in_a_directory_is_no_obstacle() {
    let disk = example(true);
    for name in [".nfs000000012", ".DS_Store", "lost+found", "._identity", "Thumbs.db"] {
        disk.put(name, b"");
    }
    let (found, recovered) = recover(&disk).expect("a sound journal");
    assert_eq!((found.len(), recovered.may_keep()), (21, Ok(())));
    drop(recovered);
    assert!(checked(&(Arc::new(disk) as Arc<dyn Disk>)).expect("readable").is_sound());
}

#[test]
fn a_record_that_a_start_would_refuse_is_a_problem() {
    let disk: Arc<dyn Disk> = Arc::new(example(true));
    let report = check(&disk, &mut |_, payload| {
        if number(payload) == 7 { Err("what is this?".to_owned()) } else { Ok(()) }
    });
    let report = report.expect("readable");
    assert!(report.problems.iter().any(|line| line.contains("what is this?")), "{report:?}");
}
