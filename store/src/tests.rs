//! What a store does for its callers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use miso_crdt::{Delta, ReplicaId, Type, Value, kind};
use parking_lot::Mutex;

use super::*;

fn store() -> Store {
    Store::new(Config::new(ReplicaId(7), 4, Arc::new(|| 1)))
}

/// The same with a journal: every event of it counts as seen.
fn journaled() -> Store {
    let disk: Arc<dyn journal::Disk> = Arc::new(journal::FaultyDisk::new(5));
    let options = journal::Options { background: false, ..journal::Options::default() };
    let config = |_| Config::new(ReplicaId(7), 4, Arc::new(|| 1));
    recover(&disk, options, config, || 7).expect("an empty disk").store
}

fn is_pending(function: &Function, object: &[u8], name: &[u8]) -> bool {
    let shard = function.lock(function.shard_index(object));
    shard.is_pending(object, name, Type::GCounter)
}

fn add(function: &Function, object: &[u8], name: &[u8], n: u64) -> Result<i64, WrongType> {
    let hash = hash(object);
    let mut shard = function.lock(function.shard_of(hash));
    let add = |counter: &mut miso_crdt::Counter, mint: &mut Mint<'_>, _: Option<&mut _>| {
        counter.add(n, 0, mint)
    };
    let (value, _) = shard.write::<kind::GCounter, _>((hash, object, name), add)?;
    Ok(value.expect("no overflow in these tests"))
}

fn put(function: &Function, object: &[u8], name: &[u8], element: &[u8]) -> bool {
    let hash = hash(object);
    let mut shard = function.lock(function.shard_of(hash));
    let written = shard.write::<kind::OrSet, _>((hash, object, name), |set, mint, change| {
        set.add(element, mint, change)
    });
    written.expect("a set").0
}

#[test]
fn functions_are_apart_and_reads_create_nothing() {
    let store = store();
    let (a, b) = (store.function(b"a"), store.function(b"b"));
    assert_eq!(add(&a, b"o", b"n", 3), Ok(3));
    let hash = hash(b"o");
    let shard = b.lock(b.shard_of(hash));
    assert_eq!(shard.read::<kind::GCounter>(hash, b"o", b"n"), Ok(None));
    drop(shard);
    assert_eq!((a.object_count(), b.object_count()), (1, 0));
}

#[test]
fn shards_are_made_when_something_is_written_to_them() {
    let store = store();
    let function = store.function(b"f");
    let made = || function.shards.each().count();
    function.track();
    assert!(function.take_batch().is_none());
    assert_eq!((Held::none(&function).scan(0, 100, |_, _, _| {}), made()), (0, 0));
    add(&function, b"o", b"n", 1).expect("a counter");
    assert_eq!(made(), 1);
    // Each walk through the whole function passes the others by.
    assert_eq!(taken(&function).len(), 1);
    function.expire();
    function.tidy();
    function.collect();
    assert_eq!(function.digests(8).iter().filter(|digest| **digest != 0).count(), 1);
    assert!(Held::none(&function).random(|| 3).is_some());
    assert_eq!((function.ahead_count(), function.floored_count(), made()), (0, 0, 1));
}

#[test]
fn a_shard_that_is_made_late_gathers_changes_and_knows_all_writers() {
    let (here, there) = (store(), Store::new(Config::new(ReplicaId(9), 4, Arc::new(|| 1))));
    let (mine, others) = (here.function(b"f"), there.function(b"f"));
    [&mine, &others].iter().for_each(|function| function.track());
    add(&others, b"first", b"n", 1).expect("a counter");
    let first = others.take_batch().expect("one change");
    mine.join_batch(ReplicaId(9), (first.first, first.last), &first.message).expect("it fits");
    for n in 0..64 {
        add(&mine, format!("late{n}").as_bytes(), b"n", 1).expect("a counter");
    }
    assert_eq!(mine.shards.each().count(), 4);
    assert!(mine.shards.each().all(|shard| shard.writers().index(ReplicaId(9)).is_some()));
    assert_eq!(taken(&mine).len(), 64);
    // Sent once: what is added to it now is a change of its own.
    add(&mine, b"late0", b"n", 1).expect("a counter");
    assert_eq!(taken(&mine).len(), 1);
}

/// A batch tells a counter as it is when the batch is made, which is after its events were counted.
#[test]
fn batches_made_while_threads_count_are_taken() {
    let (here, there) = (store(), Store::new(Config::new(ReplicaId(9), 4, Arc::new(|| 1))));
    let (mine, others) = (here.function(b"f"), there.function(b"f"));
    mine.track();
    let adds = 50_000_i64;
    let take = || {
        let Some(batch) = mine.take_batch() else { return };
        let range = (batch.first, batch.last);
        others.join_batch(ReplicaId(7), range, &batch.message).expect("an honest batch");
    };
    std::thread::scope(|scope| {
        let counting = scope.spawn(|| {
            for n in 0..adds {
                add(&mine, format!("o{}", n % 64).as_bytes(), b"n", 1).expect("a counter");
                put(
                    &mine,
                    format!("s{}", n % 64).as_bytes(),
                    b"n",
                    format!("{}", n % 7).as_bytes(),
                );
            }
        });
        while !counting.is_finished() {
            take();
        }
    });
    take();
    let total = |function: &Function| {
        let of = |n: u64| add(function, format!("o{n}").as_bytes(), b"n", 0).expect("a counter");
        (0..64).map(of).sum::<i64>()
    };
    assert_eq!((total(&mine), total(&others)), (adds, adds));
}

#[test]
fn a_name_has_one_type_and_deletion_frees_it() {
    let store = store();
    let function = store.function(b"f");
    let hash = hash(b"o");
    for n in 0..20 {
        add(&function, b"o", format!("n{n}").as_bytes(), 1).expect("a new name");
    }
    {
        let mut shard = function.lock(function.shard_of(hash));
        assert_eq!(shard.read::<kind::OrSet>(hash, b"o", b"n0"), Err(WrongType::Other));
        assert_eq!(shard.read::<kind::PnCounter>(hash, b"o", b"n0"), Err(WrongType::Other));
        assert!(shard.delete(hash, b"o", b"n0") && !shard.delete(hash, b"o", b"n0"));
    }
    assert!(put(&function, b"o", b"n0", b"x"));
    let mut shard = function.lock(function.shard_of(hash));
    assert_eq!(shard.delete_object(hash, b"o"), 20);
    drop(shard);
    assert_eq!(function.object_count(), 0);
}

fn taken(function: &Function) -> Vec<miso_crdt::Change> {
    let Some(batch) = function.take_batch() else { return Vec::new() };
    let mut writers = miso_crdt::Writers::of(ReplicaId(7));
    miso_crdt::batch::read(&batch.message, 100, &mut writers).expect("just written")
}

#[test]
fn one_change_per_crdt_and_interval() {
    for store in [store(), journaled()] {
        let function = store.function(b"f");
        add(&function, b"o", b"before", 1).expect("a counter");
        let nothing = function.take_batch().map(|batch| batch.changes);
        assert_eq!(nothing, Some(0), "nobody asked yet");
        function.track();
        for round in 1..=3u64 {
            for _ in 0..10 {
                add(&function, b"o", b"n", 1).expect("a counter");
                put(&function, b"o", b"s", b"x");
                put(&function, b"o", b"s", format!("{round}").as_bytes());
            }
            assert!(is_pending(&function, b"o", b"n"));
            let mut changes = taken(&function);
            assert!(!is_pending(&function, b"o", b"n"));
            assert_eq!(function.sent(), function.seq());
            changes.sort_by(|a, b| a.name.cmp(&b.name));
            let names: Vec<&[u8]> = changes.iter().map(|change| &*change.name).collect();
            assert_eq!(names, [b"n", b"s"]);
            assert_eq!(counted(&changes[..1]), round as i64 * 10);
        }
        assert_eq!(function.take_batch(), None);
    }
}

/// What the changes of one counter come to, at a peer that knows nothing yet.
fn counted(changes: &[miso_crdt::Change]) -> i64 {
    let mut value = Value::empty(Type::GCounter);
    changes.iter().for_each(|change| _ = value.apply(&(), &change.delta));
    match value {
        Value::GCounter(counter) => counter.value(),
        _ => unreachable!("made a counter above"),
    }
}

#[test]
fn a_counter_deleted_and_counted_on_within_an_interval_is_told_as_it_is() {
    for store in [store(), journaled()] {
        let function = store.function(b"f");
        function.track();
        let hash = hash(b"o");
        let delete =
            || function.lock(function.shard_of(hash)).delete(hash, b"o", b"n").then_some(());
        add(&function, b"o", b"n", 5).expect("a counter");
        let mut all = taken(&function);
        for n in 1..=3 {
            add(&function, b"o", b"n", 40).expect("a counter");
            delete().expect("it is there");
            add(&function, b"o", b"n", n).expect("a counter");
            all.extend(taken(&function));
            assert_eq!(counted(&all), n as i64);
        }
        add(&function, b"o", b"n", 1).expect("a counter");
        delete().expect("it is there");
        all.extend(taken(&function));
        assert_eq!(counted(&all), 0);
    }
}

/// Peers that never write never announce a summary that counts: what waits for one would wait for ever.
#[test]
fn own_counters_that_are_deleted_leave_nothing_to_collect() {
    let store = store();
    let function = store.function(b"f");
    function.track();
    for round in 0..10u64 {
        let name = format!("n{round}");
        add(&function, b"o", name.as_bytes(), round).expect("a counter");
        assert!(function.take_batch().is_some());
        let hash = hash(b"o");
        let deleted = function.lock(function.shard_of(hash)).delete(hash, b"o", name.as_bytes());
        assert!(deleted && function.take_batch().is_some());
    }
    assert_eq!((function.object_count(), function.floored_count()), (0, 0));
}

#[test]
fn what_came_and_went_within_an_interval_is_not_told() {
    let store = store();
    let function = store.function(b"f");
    function.track();
    put(&function, b"o", b"s", b"x");
    let hash = hash(b"o");
    let mut shard = function.lock(function.shard_of(hash));
    let removed = shard.modify::<kind::OrSet, _>((hash, b"o", b"s"), |set, mint, change| {
        set.remove(b"x", mint, change)
    });
    assert_eq!(removed, Ok(Some((true, true))));
    drop(shard);
    assert_eq!(taken(&function), []);
    assert_eq!(function.sent(), function.seq(), "its events are told all the same");
    assert_eq!(Delta::empty(Type::OrSet).kind(), Type::OrSet);
}

#[test]
fn a_scan_over_shards_returns_every_object() {
    let store = store();
    let function = store.function(b"f");
    for n in 0..3_000 {
        add(&function, format!("o{n}").as_bytes(), b"n", 1).expect("a counter");
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut cursor = 0;
    loop {
        cursor = Held::none(&function).scan(cursor, 100, |key, _, _| {
            assert!(seen.insert(key.to_vec()));
        });
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(seen.len(), 3_000);
    assert!(Held::none(&function).random(|| 12_345).is_some());
}

#[test]
fn a_watch_sees_the_next_change_once() {
    let store = store();
    let function = store.function(b"f");
    let flag = Arc::new(AtomicBool::new(false));
    function.watch(b"o", &flag);
    add(&function, b"other", b"n", 1).expect("a counter");
    assert!(!flag.load(Ordering::Acquire));
    add(&function, b"o", b"n", 1).expect("a counter");
    assert!(flag.swap(false, Ordering::AcqRel));
    function.watch(b"o", &flag);
    function.unwatch(b"o", &flag);
    add(&function, b"o", b"n", 1).expect("a counter");
    assert!(!flag.load(Ordering::Acquire));
}

/// Keeps what it hears, and locks every shard for it: that would wait for ever if one were still held.
#[derive(Debug, Default)]
struct Heard(Mutex<Vec<String>>);

impl Observer for Heard {
    fn wrote(&self, _: &Arc<Function>) {}

    fn changed(&self, function: &Function, object: &[u8], name: &[u8], kind: Type) {
        (0..function.shards()).for_each(|shard| drop(function.lock(shard)));
        let text = String::from_utf8_lossy;
        self.0.lock().push(format!("{} {} {}", text(object), text(name), kind.name()));
    }
}

#[test]
fn the_observer_hears_of_each_change_once_the_shard_is_unlocked() {
    let store = store();
    let heard = Arc::new(Heard::default());
    store.observe(Arc::clone(&heard) as Arc<dyn Observer>);
    let now = || std::mem::take(&mut *heard.0.lock());
    let function = store.function(b"f");
    add(&function, b"o", b"n", 1).expect("a counter");
    assert!(now().is_empty(), "nobody listens yet");
    store.listen(true);
    add(&function, b"o", b"n", 1).expect("a counter");
    put(&function, b"o", b"s", b"x");
    assert_eq!(now(), ["o n gcounter", "o s orset"]);
    Held::none(&function).with_object(b"o", |shard, hash| {
        let removed = shard.modify::<kind::OrSet, _>((hash, b"o", b"s"), |set, mint, change| {
            set.remove(b"not there", mint, change)
        });
        assert_eq!(removed, Ok(Some((false, false))));
        assert_eq!(shard.delete_object(hash, b"nothing"), 0);
    });
    assert!(now().is_empty(), "nothing changed");
    let mut held = Held::shards(&function, (0..function.shards()).collect());
    for object in [b"o", b"p"] {
        held.with_object(object, |shard, hash| {
            let add = |counter: &mut miso_crdt::Counter, mint: &mut Mint<'_>, _: Option<&mut _>| {
                counter.add(1, 0, mint)
            };
            let added = shard.write::<kind::GCounter, _>((hash, object, b"n"), add);
            assert!(added.expect("a counter").1);
        });
    }
    assert!(now().is_empty(), "the transaction holds its shards");
    drop(held);
    let mut all = now();
    all.sort();
    assert_eq!(all, ["o n gcounter", "p n gcounter"]);
    Held::none(&function).with_object(b"o", |shard, hash| {
        assert_eq!(shard.delete_object(hash, b"o"), 2);
    });
    let mut all = now();
    all.sort();
    assert_eq!(all, ["o n gcounter", "o s orset"]);
    store.listen(false);
    add(&function, b"o", b"n", 1).expect("a counter");
    assert!(now().is_empty());
}

#[test]
fn the_observer_hears_what_peers_change_and_of_no_adopted_count() {
    let there = Store::new(Config::new(ReplicaId(8), 2, Arc::new(|| 1)));
    there.track();
    let there = there.function(b"f");
    add(&there, b"o", b"n", 3).expect("a counter");
    let batch = there.take_batch().expect("a change");
    let store = store();
    let heard = Arc::new(Heard::default());
    store.observe(Arc::clone(&heard) as Arc<dyn Observer>);
    store.listen(true);
    let function = store.function(b"f");
    function.join_batch(ReplicaId(8), (batch.first, batch.last), &batch.message).expect("a batch");
    assert_eq!(std::mem::take(&mut *heard.0.lock()), ["o n gcounter"]);
    assert_eq!(function.adopt_counts(&vec![(ReplicaId(8), batch.last)]), 1);
    assert!(heard.0.lock().is_empty(), "no value changed");
}

/// What each of two nodes shows under a name that both made, apart, with other types.
#[test]
fn types_that_clash_read_the_same_in_any_order_of_arrival() {
    fn make(function: &Function, kind: Type) {
        let hash = hash(b"o");
        let mut shard = function.lock(function.shard_of(hash));
        macro_rules! write {
            ($kind:ident, $update:expr) => {
                _ = shard.write::<kind::$kind, _>((hash, b"o", b"n"), $update).expect("its first")
            };
        }
        match kind {
            Type::GCounter => write!(GCounter, |c, mint, _| c.add(1, 0, mint).is_ok()),
            Type::PnCounter => write!(PnCounter, |c, mint, _| c.add(1, 3, mint).is_ok()),
            Type::GSet => write!(GSet, |s, mint, d| s.add(b"x", mint, d)),
            Type::OrSet => write!(OrSet, |s, mint, d| s.add(b"x", mint, d)),
            Type::MvRegister => write!(MvRegister, |r, mint, d| r.set(b"x", mint, d)),
            Type::EwFlag => write!(EwFlag, |f, mint, d| f.enable(mint, d)),
            Type::OrMap => write!(OrMap, |m, mint, d| m.set(b"x", b"1", mint, d)),
            _ => unreachable!("MISO's own types stand under names"),
        }
    }
    let batches: Vec<(ReplicaId, Outgoing)> = (10..)
        .map(ReplicaId)
        .zip(Type::OWN)
        .map(|(id, kind)| {
            let store = Store::new(Config::new(id, 1, Arc::new(|| 1)));
            store.track();
            let function = store.function(b"f");
            make(&function, *kind);
            (id, function.take_batch().expect("a change"))
        })
        .collect();
    let read = |order: &[usize]| {
        let function = store().function(b"f");
        for (id, batch) in order.iter().map(|at| &batches[*at]) {
            let range = (batch.first, batch.last);
            function.join_batch(*id, range, &batch.message).expect("a batch");
        }
        let hash = hash(b"o");
        let shard = function.lock(function.shard_of(hash));
        let slot = shard.slot(hash, b"o", b"n").expect("it is there");
        (slot.value().map(Value::kind), slot.types().collect::<Vec<_>>())
    };
    let mut rng = fastrand::Rng::with_seed(1);
    for round in 0..500 {
        let mut order: Vec<usize> = (0..batches.len()).collect();
        rng.shuffle(&mut order);
        order.truncate(2 + round % (batches.len() - 1));
        let (shown, types) = read(&order);
        let mut expected: Vec<Type> = order.iter().map(|at| Type::OWN[*at]).collect();
        expected.sort_unstable();
        assert_eq!((shown, types), (expected.first().copied(), expected), "in the order {order:?}");
    }
}

/// Random updates, joins and deletes: what is counted is what is listed.
#[test]
fn objects_that_read_as_absent_are_not_counted() {
    let listed = |function: &Function| {
        let mut present = 0;
        let mut cursor = 0;
        loop {
            cursor = Held::none(function).scan(cursor, 100, |_, _, _| present += 1);
            if cursor == 0 {
                return present;
            }
        }
    };
    let mut absent = false;
    for seed in 0..100 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let other = Store::new(Config::new(ReplicaId(8), 2, Arc::new(|| 1)));
        let stores = [if seed % 2 == 0 { store() } else { journaled() }, other];
        if seed % 3 > 0 {
            stores.iter().for_each(Store::track);
        }
        let functions = [stores[0].function(b"f"), stores[1].function(b"f")];
        functions[1].track();
        for _ in 0..120 {
            let (object, name) = ([rng.u8(..3)], [rng.u8(..12)]);
            let function = &functions[rng.usize(..2)];
            let hash = hash(&object);
            match rng.u8(..10) {
                0..=3 => _ = add(function, &object, &name, 1).expect("a counter"),
                4 => {
                    if let Some(batch) = functions[1].take_batch() {
                        let range = (batch.first, batch.last);
                        let joined = functions[0].join_batch(ReplicaId(8), range, &batch.message);
                        joined.expect("a batch");
                    }
                }
                5 | 6 => {
                    function.lock(function.shard_of(hash)).delete(hash, &object, &name);
                }
                7 | 8 => {
                    function.lock(function.shard_of(hash)).delete_object(hash, &object);
                }
                _ => functions[0].collect(),
            }
            for function in &functions {
                let present = listed(function);
                assert_eq!(function.object_count(), present, "seed {seed}");
                let random = Held::none(function).random(|| rng.u64(..));
                assert_eq!(random.is_some(), present > 0, "seed {seed}");
                if let Some(random) = random {
                    let hash = crate::hash(&random);
                    let shard = function.lock(function.shard_of(hash));
                    assert!(shard.object(hash, &random).is_some(), "seed {seed}: a deleted one");
                }
            }
            let function = &functions[0];
            let kept = |shard| function.lock(shard).objects().len();
            absent |= (0..function.shards()).map(kept).sum::<usize>() > function.object_count();
        }
    }
    assert!(absent, "none was ever kept for its floors");
}

#[test]
fn a_function_that_was_never_written_is_forgotten_once_nothing_refers_to_it() {
    let store = store();
    let held = store.function(b"read");
    add(&store.function(b"written"), b"o", b"n", 0).expect("a counter");
    assert!(!store.forget_unused(b"read"), "it is held");
    drop(held);
    assert!(store.forget_unused(b"read") && store.forget_unused(b"written"));
    assert_eq!((store.count(), store.find(b"read").is_none()), (1, true));
}

#[test]
fn keys_with_a_deadline_are_counted_and_the_lead_of_the_clock_is_kept() {
    let store = store();
    let function = store.function(b"f");
    let hash = hash(b"key");
    let mut shard = function.lock(function.shard_of(hash));
    let added = shard.write_plain::<kind::PlainString, _>(
        (hash, b"key"),
        1,
        |string, moment, mint, change| string.add(1, moment, mint, change),
    );
    added.expect("a string").expect("small");
    assert!(shard.expire_plain((hash, b"key"), 1, 5_000).expect("a plain key"));
    drop(shard);
    assert_eq!((function.deadline_count(), function.is_due()), (1, false));
    store.set_clock_lead(500);
    assert_eq!(function.clock_lead(), 500);
}
