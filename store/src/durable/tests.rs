//! What a store finds again, of what was cut off, and of what went on while a checkpoint was made.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::records::{PART, WRITES, part_record};
use super::replay::Replay;
use crate::config::Config;
use crate::function::Function;
use crate::held::Held;
use crate::journal::{Disk, FaultyDisk, Journal, Options};
use crate::store::Store;
use miso_crdt::{ReplicaId, kind};

fn config(replica: ReplicaId) -> Config {
    Config::new(replica, 1, Arc::new(|| 0))
}

fn start(disk: &FaultyDisk) -> Store {
    start_as(disk, config)
}

fn start_as(disk: &FaultyDisk, config: impl Fn(ReplicaId) -> Config) -> Store {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let options = Options { background: false, ..Options::default() };
    crate::recover(&disk, options, config, || 1).expect("a sound journal").store
}

fn add(function: &Function, object: &[u8]) {
    let hash = miso_crdt::table::hash(object);
    let mut shard = function.lock(function.shard_of(hash));
    let added =
        shard.write::<kind::OrSet, _>((hash, object, b"s"), |s, mint, d| s.add(b"a", mint, d));
    assert!(added.expect("a set").0);
}

fn has(function: &Function, object: &[u8]) -> bool {
    let hash = miso_crdt::table::hash(object);
    let shard = function.lock(function.shard_of(hash));
    let set = shard.read::<kind::OrSet>(hash, object, b"s").expect("a set");
    set.is_some_and(|set| set.contains(b"a"))
}

fn take_away(function: &Function, object: &[u8], how: &str) {
    let hash = miso_crdt::table::hash(object);
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
        let (hash, element) = (miso_crdt::table::hash(b"o"), n.to_le_bytes());
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
        let (hash, name) = (miso_crdt::table::hash(b"names"), n.to_le_bytes());
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

/// Objects of these tests: some in each of the shards.
const OBJECTS: u8 = 16;

fn in_shards(replica: ReplicaId) -> Config {
    Config::new(replica, 4, Arc::new(|| 0))
}

/// An object of many names, and objects in all shards with one each.
fn fill(function: &Function) {
    let mut held = Held::none(function);
    for n in 0..20_u8 {
        count(&mut held, b"many", &[n], 1);
    }
    for n in 0..OBJECTS {
        count(&mut held, &[n], b"n", 1);
    }
}

fn count(held: &mut Held<'_>, object: &[u8], name: &[u8], by: u64) {
    held.with_object(object, |shard, hash| {
        let key = (hash, object, name);
        let counted = shard.write::<kind::GCounter, _>(key, |c, mint, _| c.add(by, 0, mint));
        counted.expect("a counter").0.expect("no overflow");
    });
}

/// A transaction over all shards, of several types.
fn transact(function: &Function) {
    let mut held = Held::shards(function, (0..function.shards()).collect());
    for n in 0..OBJECTS {
        count(&mut held, &[n], b"n", 5);
        held.with_object(&[n], |shard, hash| {
            let key = (hash, &[n][..], b"s".as_slice());
            let added = shard.write::<kind::OrSet, _>(key, |s, mint, d| s.add(b"a", mint, d));
            assert!(added.expect("a set").0);
            assert!(shard.delete(hash, &[n], b"n"));
        });
    }
}

fn delete_many(function: &Function) {
    Held::none(function).with_object(b"many", |shard, hash| {
        assert_eq!(shard.delete_object(hash, b"many"), 20);
    });
}

#[test]
fn of_a_command_all_is_found_again_or_nothing() {
    const SEGMENT: &str = "journal-00000000000000000001.log";
    for change in [transact, delete_many] {
        let disk = FaultyDisk::new(1);
        let store = start_as(&disk, in_shards);
        let function = store.function(b"f");
        fill(&function);
        store.commit().expect("the disk works");
        let before = (function.digests(64), disk.contents(SEGMENT).expect("it is written").len());
        change(&function);
        store.commit().expect("the disk works");
        let after = (function.digests(64), disk.contents(SEGMENT).expect("it is written"));
        for cut in before.1..=after.1.len() {
            let torn = disk.fork(1).kill();
            torn.put(SEGMENT, &after.1[..cut]);
            let found = start_as(&torn, in_shards).function(b"f").digests(64);
            let right = if cut == after.1.len() { &after.0 } else { &before.0 };
            assert_eq!(&found, right, "cut at {cut} of {}", after.1.len());
        }
    }
}

/// The process dies as soon as the checkpoint has its name, before anybody was answered.
#[test]
fn a_checkpoint_that_met_half_of_a_command_leaves_no_half() {
    for which in 0..4 {
        let disk = FaultyDisk::new(1);
        let store = start_as(&disk, in_shards);
        let function = store.function(b"f");
        fill(&function);
        store.commit().expect("the disk works");
        let mut checkpoint = store.journal().expect("it has one").begin().expect("the disk works");
        let mut pieces = 0;
        let exported = function.export_pieces(1, |message| {
            let put = checkpoint.put(PART, |out| part_record(function.name(), None, message, out));
            // The shards before have been walked over, and those after have not.
            if pieces == which {
                transact(&function);
            }
            pieces += 1;
            put
        });
        exported.expect("the disk works");
        assert_eq!(pieces, 4, "a piece of each shard");
        checkpoint.finish().expect("the disk works");
        let found = start_as(&disk.kill(), in_shards).function(b"f").digests(64);
        assert_eq!(found, function.digests(64), "between {which} and the next");
    }
}

/// One update of one of a few values of all types, which it may also delete.
fn update(function: &Function, rng: &mut fastrand::Rng) {
    let object = [rng.u8(..3)];
    let (part, hash) = ([rng.u8(..3)], miso_crdt::table::hash(&object));
    let context = function.context();
    let mut shard = function.lock(function.shard_of(hash));
    let writers = shard.shared_writers();
    macro_rules! write {
        ($kind:ident, $name:literal, $update:expr) => {
            _ = shard.write::<kind::$kind, _>((hash, &object, $name), $update).expect("its type")
        };
    }
    match rng.u8(..16) {
        0 => write!(GCounter, b"g", |c, mint, _| c.add(1, 0, mint).is_ok()),
        1 => write!(PnCounter, b"p", |c, mint, _| c.add(1, 3, mint).is_ok()),
        2 => write!(GSet, b"gs", |s, mint, d| s.add(&part, mint, d)),
        3 | 4 => write!(OrSet, b"s", |s, mint, d| s.add(&part, mint, d)),
        5 => write!(OrSet, b"s", |s, mint, d| s.remove(&part, mint, d)),
        6 => write!(OrSet, b"s", |s, mint, d| s.clear(&context, mint, d) > 0),
        7 => write!(MvRegister, b"r", |r, mint, d| r.set(&part, mint, d)),
        8 => write!(EwFlag, b"f", |f, mint, d| f.enable(mint, d)),
        9 => write!(EwFlag, b"f", |f, mint, d| f.disable(mint, d)),
        10 => write!(OrMap, b"m", |m, mint, d| m.set(&part, b"1", mint, d)),
        11 => write!(OrMap, b"m", |m, mint, d| m.add(&part, 2, &writers, mint, d).is_ok()),
        12 => write!(OrMap, b"m", |m, mint, d| m.remove(&part, mint, d)),
        13 => write!(OrMap, b"m", |m, mint, d| m.clear(&context, mint, d) > 0),
        14 => {
            _ = shard.delete(
                hash,
                &object,
                rng.choice([&b"g"[..], b"p", b"s", b"r", b"m"]).expect("one"),
            )
        }
        _ => _ = shard.delete_object(hash, &object),
    }
}

/// Joins ask for no order: once all of it is there, it does not matter in which it came.
#[test]
fn writes_are_found_again_in_any_order() {
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let disk = FaultyDisk::new(seed);
        let store = start_as(&disk, in_shards);
        let function = store.function(b"f");
        for _ in 0..rng.usize(2..60) {
            update(&function, &mut rng);
            if rng.bool() {
                let _ = store.journal().expect("it has one").appended();
            }
        }
        store.commit().expect("the disk works");
        let mut records = Vec::new();
        let disk: Arc<dyn Disk> = Arc::new(disk.kill());
        let read = Journal::open(disk).expect("sound").replay(|kind, payload| {
            assert_eq!(kind, WRITES);
            records.push(payload.to_vec());
            Ok(())
        });
        read.expect("sound");
        for _ in 0..10 {
            rng.shuffle(&mut records);
            let other = Store::new(in_shards(store.replica()));
            let mut replay = Replay::new(&other, 2);
            for record in &records {
                replay.record(WRITES, record).expect("as it was made");
                if rng.bool() {
                    replay.join_writes();
                }
            }
            replay.finish().expect("as they were made");
            let found = other.function(b"f");
            let all = (function.digests(64), function.seq());
            assert_eq!((found.digests(64), found.seq()), all, "seed {seed}");
        }
    }
}

fn add_up(held: &mut Held<'_>, object: &[u8], by: u64) {
    held.with_object(object, |shard, hash| {
        let key = (hash, object, b"c".as_slice());
        let counted = shard.write::<kind::PnCounter, _>(key, |c, mint, _| c.add(by, 0, mint));
        counted.expect("a counter").0.expect("no overflow");
    });
}

fn value(function: &Function, object: &[u8]) -> i64 {
    let hash = miso_crdt::table::hash(object);
    let shard = function.lock(function.shard_of(hash));
    shard.read::<kind::PnCounter>(hash, object, b"c").expect("a counter").map_or(0, |c| c.value())
}

/// As a connection does before it replies.
fn reply(store: &Store) {
    let journal = store.journal().expect("it has one");
    journal.commit_added(journal.ticket()).expect("the disk works");
}

/// Peer 2 has counted 100 in `o`, and this node 5.
fn with_peer(disk: &FaultyDisk) -> Store {
    let there = Store::new(in_shards(ReplicaId(2)));
    there.track();
    let there = there.function(b"f");
    add_up(&mut Held::none(&there), b"o", 100);
    let batch = there.take_batch().expect("something");
    let store = start_as(disk, in_shards);
    store.track();
    let function = store.function(b"f");
    function.join_batch(ReplicaId(2), (batch.first, batch.last), &batch.message).expect("a batch");
    add_up(&mut Held::none(&function), b"o", 5);
    store.commit().expect("the disk works");
    store
}

/// What another thread did, and nobody was told of, is there as a whole if what builds on it is: it
/// would else be counted twice, or half of it would be gone.
#[test]
fn what_an_answered_write_builds_on_is_found_again() {
    fn adopt(function: &Function) {
        assert_eq!(function.adopt_counts(&vec![(ReplicaId(2), 1)]), 1);
    }
    fn delete(function: &Function) {
        let hash = miso_crdt::table::hash(b"o");
        assert!(function.lock(function.shard_of(hash)).delete(hash, b"o", b"c"));
    }
    fn transact(function: &Function) {
        let mut held = Held::shards(function, (0..function.shards()).collect());
        [b"o", b"y"].iter().for_each(|object| add_up(&mut held, *object, 1));
    }
    let all: [(fn(&Function), _); 3] = [(adopt, [106, 0]), (delete, [1, 0]), (transact, [107, 1])];
    for (unanswered, right) in all {
        let disk = FaultyDisk::new(7);
        let store = with_peer(&disk);
        let function = store.function(b"f");
        std::thread::scope(|scope| _ = scope.spawn(|| unanswered(&function)));
        add_up(&mut Held::none(&function), b"o", 1);
        reply(&store);
        let again = start_as(&disk.kill(), in_shards).function(b"f");
        assert_eq!([value(&again, b"o"), value(&again, b"y")], right);
    }
}

/// Threads count in two of three objects each at a time, and the log is cut anywhere.
#[test]
fn no_cut_comes_between_what_threads_did_and_what_builds_on_it() {
    const SEGMENT: &str = "journal-00000000000000000001.log";
    const EACH: u32 = 1500;
    let disk = FaultyDisk::new(3);
    let store = start_as(&disk, in_shards);
    let function = store.function(b"f");
    let together = std::sync::Barrier::new(3);
    std::thread::scope(|scope| {
        for pair in [[b"x", b"y"], [b"y", b"z"], [b"z", b"x"]] {
            let (store, function, together) = (&store, &function, &together);
            scope.spawn(move || {
                for n in 0..EACH {
                    together.wait();
                    let shards = pair.map(|object| function.shard_index(object)).to_vec();
                    let mut held = Held::shards(function, shards);
                    pair.iter().for_each(|object| add_up(&mut held, *object, 1));
                    drop(held);
                    // Seldom, so that what is gathered is more than a record.
                    if n % 400 == 0 {
                        reply(store);
                    }
                }
            });
        }
    });
    store.commit().expect("the disk works");
    let log = disk.contents(SEGMENT).expect("it is written");
    let counts = |function: &Function| [b"x", b"y", b"z"].map(|object| value(function, object));
    assert_eq!(counts(&function), [i64::from(EACH) * 2; 3]);
    let mut seen = std::collections::BTreeSet::new();
    for cut in (40..log.len()).step_by(499).chain([log.len()]) {
        let torn = disk.fork(1).kill();
        torn.put(SEGMENT, &log[..cut]);
        let [x, y, z] = counts(&start_as(&torn, in_shards).function(b"f"));
        // How many were found of each pair.
        let (xy, yz, zx) = (x + y - z, y + z - x, z + x - y);
        assert!([xy, yz, zx].iter().all(|n| n % 2 == 0 && *n >= 0), "cut at {cut}: {x} {y} {z}");
        seen.insert((x, y, z));
    }
    assert!(seen.len() > 10, "{seen:?}");
}

/// The head of such a function's records is longer than a record that is added to.
#[test]
fn a_function_of_a_very_long_name_is_found_again() {
    for length in [8_100, 8_182, 8_200, 70_000] {
        let name = vec![b'F'; length];
        let disk = FaultyDisk::new(1);
        let store = start_as(&disk, in_shards);
        let function = store.function(&name);
        for n in 0..50 {
            add_up(&mut Held::none(&function), &[n], 1);
        }
        reply(&store);
        let again = start_as(&disk.kill(), in_shards);
        let found = again.function(&name);
        assert_eq!((found.digests(64), found.seq()), (function.digests(64), 50));
        again.checkpoint().expect("the disk works");
        let again = start_as(&disk.kill(), in_shards);
        assert_eq!(again.function(&name).digests(64), function.digests(64));
    }
}
