//! What a node takes away between its start and its first peer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::journal::{Disk, FaultyDisk, Options};
use crate::{Config, Function, Store};
use miso_crdt::{ReplicaId, kind};

fn config(replica: ReplicaId) -> Config {
    Config::new(replica, 1, Arc::new(|| 0))
}

fn start(disk: &FaultyDisk) -> Store {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let options = Options { background: false, ..Options::default() };
    crate::recover(&disk, options, config, || 1).expect("a sound journal").store
}

fn add(function: &Function, object: &[u8]) {
    let hash = crate::hash(object);
    let mut shard = function.lock(function.shard_of(hash));
    let added =
        shard.write::<kind::OrSet, _>((hash, object, b"s"), |s, mint, d| s.add(b"a", mint, d));
    assert!(added.expect("a set").0);
}

fn has(function: &Function, object: &[u8]) -> bool {
    let hash = crate::hash(object);
    let shard = function.lock(function.shard_of(hash));
    let set = shard.read::<kind::OrSet>(hash, object, b"s").expect("a set");
    set.is_some_and(|set| set.contains(b"a"))
}

fn take_away(function: &Function, object: &[u8], how: &str) {
    let hash = crate::hash(object);
    let mut shard = function.lock(function.shard_of(hash));
    match how {
        "del" => assert!(shard.delete(hash, object, b"s")),
        _ => {
            let key = (hash, object, b"s".as_slice());
            let removed = shard.modify::<kind::OrSet, _>(key, |s, mint, d| s.remove(b"a", mint, d));
            assert!(removed.expect("a set").is_some());
        }
    }
}

/// A part of a sync brought a value, and the sync came to no end, so that the vector says nothing of it; the node was
/// killed, started again, and took it away before it met anybody. The simulation found that it came back.
#[test]
fn what_came_ahead_and_was_taken_away_before_the_first_peer_does_not_come_back() {
    for how in ["del", "remove"] {
        for checkpoint in [false, true] {
            let there = Store::new(config(ReplicaId(2)));
            there.track();
            let there = there.function(b"f");
            add(&there, b"before");
            add(&there, b"o");
            let (part, _) = there.export(&vec![(ReplicaId(2), 1)], 0, 1 << 20).expect("a vector");

            let disk = FaultyDisk::new(7);
            let first = start(&disk);
            first.track();
            first.function(b"f").join_changes(&part).expect("a part");
            first.commit().expect("the disk works");
            drop(first);

            let disk = disk.kill();
            let second = start(&disk);
            let function = second.function(b"f");
            assert!(has(&function, b"o"));
            take_away(&function, b"o", how);
            second.commit().expect("the disk works");
            if checkpoint {
                second.checkpoint().expect("the disk works");
            }
            // The same life, and the next.
            let next = start(&disk.kill());
            for function in [function, next.function(b"f")] {
                assert!(!has(&function, b"o"));
                assert_eq!(function.ahead_count(), 1, "{how}");
                function.join_changes(&part).expect("a part");
                assert!(!has(&function, b"o"), "{how}: it came back");
            }
        }
    }
}

/// Long objects and values go into a checkpoint in pieces, between which they change.
#[test]
fn a_checkpoint_in_pieces_misses_nothing() {
    const MANY: u64 = 9_000;
    let disk = FaultyDisk::new(3);
    let store = start(&disk);
    let function = store.function(b"f");
    let set = |n: u64, present: bool| {
        let (hash, element) = (crate::hash(b"o"), n.to_le_bytes());
        let mut shard = function.lock(function.shard_of(hash));
        let key = (hash, b"o".as_slice(), b"s".as_slice());
        let done = shard.write::<kind::OrSet, _>(key, |s, mint, d| match present {
            true => s.add(&element, mint, d),
            false => s.remove(&element, mint, d),
        });
        done.expect("a set");
        let key = (hash, b"o".as_slice(), b"m".as_slice());
        let done = shard.write::<kind::OrMap, _>(key, |m, mint, d| match present {
            true => m.set(&element, b"value", mint, d),
            false => m.remove(&element, mint, d),
        });
        done.expect("a map");
    };
    let count = |n: u64| {
        let (hash, name) = (crate::hash(b"names"), n.to_le_bytes());
        let mut shard = function.lock(function.shard_of(hash));
        let key = (hash, b"names".as_slice(), name.as_slice());
        match n % 7 {
            0 => _ = shard.delete(hash, b"names", &name),
            _ => {
                let added = shard.write::<kind::GCounter, _>(key, |c, mint, _| c.add(1, 0, mint));
                added.expect("a counter").0.expect("no overflow");
            }
        }
    };
    (0..MANY).for_each(|n| set(n, true));
    (0..MANY).for_each(count);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0_u64;
            while !over.load(Ordering::Relaxed) {
                n = n
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                set((n >> 33) % (2 * MANY), n >> 63 == 0);
                count((n >> 20) % (2 * MANY));
            }
        });
        for _ in 0..3 {
            store.checkpoint().expect("the disk works");
        }
        over.store(true, Ordering::Relaxed);
    });
    store.commit().expect("the disk works");
    let recovered = start(&disk.kill());
    let again = recovered.function(b"f");
    assert_eq!(again.digests(256), function.digests(256));
    assert_eq!(again.seq(), function.seq());
}
