//! The journal on a real disk, with threads.

use super::faults::checkpoint;
use super::*;

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
        assert!(checked(&directory.disk()).expect("readable").is_sound());
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

/// Where syncs are fast, a thread that needs one makes it. If it hangs, other threads go on.
#[test]
fn a_sync_that_hangs_holds_up_only_the_thread_that_makes_it() {
    let disk = FaultyDisk::new(4);
    let options = Options { background: true, ..options(SyncPolicy::Always) };
    let (_, recovered) = recover(&disk).expect("an empty disk");
    let journal = recovered.start(Identity::new(1, SALT), options).expect("an empty disk");
    let mut task = Context::from_waker(Waker::noop());
    let mut ask = |n: u64| {
        let mut synced = journal.on_synced(append(&journal, n));
        (std::pin::Pin::new(&mut synced).poll(&mut task).is_ready(), synced)
    };
    // A sync that takes some time, and not much, on a machine that may be busy.
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

/// Another directory, or a bare mount point, is at the path now: nothing is ever written there.
#[test]
fn all_goes_to_the_directory_that_was_opened() {
    let directory = Directory::new("moved");
    let elsewhere = Directory(directory.0.with_extension("elsewhere"));
    let recovered =
        Journal::open(directory.disk()).and_then(|r| r.replay(|_, _| Ok(()))).expect("empty");
    let options = Options { background: false, segment_bytes: 100, ..Options::default() };
    let journal = recovered.start(Identity::new(1, SALT), options).expect("room");
    append(&journal, 1);
    std::fs::rename(&directory.0, &elsewhere.0).expect("our own");
    std::fs::create_dir(&directory.0).expect("our own");
    append(&journal, 2);
    journal.tick().expect("room");
    append(&journal, 3);
    checkpoint(&journal, 3).expect("room");
    journal.close().expect("room");
    assert_eq!(std::fs::read_dir(&directory.0).expect("there").count(), 0);
    let replayed = Journal::open(elsewhere.disk()).and_then(|recovery| {
        let mut last = 0;
        let replayed = recovery.replay(|_, payload| {
            last = number(payload);
            Ok(())
        });
        replayed.map(|_| last)
    });
    assert_eq!(replayed.expect("a sound journal"), 3);
}
