//! What readers of changes are told.

use std::collections::BTreeMap;
use std::sync::Arc;

use miso_crdt::{ReplicaId, Type, kind};

use crate::{Config, FeedChanges, FeedCursor, Function, Store, hash};

const SHARDS: usize = 4;

fn node(id: u64, removal_log_bytes: usize) -> (Store, Arc<Function>) {
    let config = Config { removal_log_bytes, ..Config::new(ReplicaId(id), SHARDS, Arc::new(|| 1)) };
    let store = Store::new(config);
    let function = store.function(b"f");
    (store, function)
}

fn put(function: &Function, object: &[u8], element: &[u8]) {
    let hash = hash(object);
    let mut shard = function.lock(function.shard_of(hash));
    let written = shard.write::<kind::OrSet, _>((hash, object, b"set"), |set, mint, change| {
        set.add(element, mint, change)
    });
    written.expect("a set");
}

fn take(function: &Function, object: &[u8], element: &[u8]) {
    let hash = hash(object);
    let mut shard = function.lock(function.shard_of(hash));
    let written = shard.modify::<kind::OrSet, _>((hash, object, b"set"), |set, mint, change| {
        set.remove(element, mint, change)
    });
    written.expect("a set");
}

fn delete(function: &Function, object: &[u8]) {
    let hash = hash(object);
    function.lock(function.shard_of(hash)).delete_object(hash, object);
}

/// What an object's set reads as; none if it is not there.
fn read(function: &Function, object: &[u8]) -> Option<String> {
    let hash = hash(object);
    let mut shard = function.lock(function.shard_of(hash));
    shard.show();
    let value = shard.slot(hash, object, b"set")?.value()?;
    Some(format!("{:?}", value.show(shard.writers())))
}

fn state(function: &Function, objects: &[Vec<u8>]) -> BTreeMap<Vec<u8>, String> {
    objects.iter().filter_map(|o| Some((o.clone(), read(function, o)?))).collect()
}

fn exchange(from: &Function, (id, to): (u64, &Function)) {
    if let Some(batch) = from.take_batch() {
        let joined = to.join_batch(ReplicaId(id), (batch.first, batch.last), &batch.message);
        joined.expect("in order");
    }
}

/// A reader that holds what it was told.
#[derive(Default)]
struct Reader {
    cursor: FeedCursor,
    holds: BTreeMap<Vec<u8>, String>,
    told: usize,
    resyncs: usize,
}

impl Reader {
    /// Reads some changes; whether there are more.
    fn read(&mut self, function: &Function, count: usize) -> bool {
        let changes = function.changes(self.cursor.clone(), count).expect("it is followed");
        let FeedChanges { keys, cursor, resync, more } = changes;
        if resync {
            self.holds.clear();
            self.resyncs += 1;
        }
        for key in keys {
            assert_eq!((&*key.name, key.kind), (&b"set"[..], Type::OrSet));
            self.told += 1;
            match read(function, &key.object) {
                Some(value) => self.holds.insert(key.object.into(), value),
                None => self.holds.remove(&*key.object),
            };
        }
        self.cursor = cursor;
        more
    }

    fn read_all(&mut self, function: &Function, count: usize) -> usize {
        self.told = 0;
        while self.read(function, count) {}
        self.told
    }
}

fn names(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|n| format!("o{n}").into_bytes()).collect()
}

#[test]
fn a_reader_hears_of_each_change_once_and_of_the_latest_state() {
    let (_store, function) = node(1, 1 << 20);
    assert!(function.changes(FeedCursor::default(), 10).is_none(), "nobody follows");
    function.follow(1);
    let objects = names(100);
    objects.iter().for_each(|object| put(&function, object, b"x"));
    function.take_batch();
    let mut reader = Reader::default();
    assert!(reader.read_all(&function, 7) >= 100);
    assert_eq!(reader.holds, state(&function, &objects));
    // All of it stands in the log as well, as the reader came after it was followed.
    reader.read_all(&function, 7);
    for element in [b"a", b"b", b"c"] {
        put(&function, b"o1", element);
        function.take_batch();
    }
    assert_eq!(reader.read_all(&function, 7), 1, "three changes of one value");
    delete(&function, b"o2");
    function.take_batch();
    assert_eq!(reader.read_all(&function, 7), 1);
    assert_eq!(reader.holds, state(&function, &objects));
    assert_eq!((reader.read_all(&function, 7), reader.resyncs), (0, 0));
}

#[test]
fn a_cursor_is_good_on_another_node_and_after_the_log_is_gone() {
    let (_a, a) = node(1, 1 << 20);
    let (_b, b) = node(2, 1 << 20);
    [&a, &b].iter().for_each(|node| node.follow(7));
    let objects = names(200);
    objects.iter().for_each(|object| put(&a, object, b"x"));
    exchange(&a, (1, &b));
    let mut reader = Reader::default();
    reader.read_all(&a, 10);
    put(&b, b"o3", b"of b");
    delete(&b, b"o4");
    take(&b, b"o5", b"x");
    exchange(&b, (2, &a));
    b.unfollow();
    b.follow(8);
    assert_eq!(reader.read_all(&b, 10), 3, "what it knows already is not told");
    assert_eq!(reader.holds, state(&b, &objects));
    a.unfollow();
    a.follow(9);
    assert_eq!(reader.read_all(&a, 10), 0);
    assert_eq!(reader.resyncs, 0);
}

#[test]
fn a_reader_that_fell_too_far_back_is_told_to_begin_anew() {
    let (_store, function) = node(1, 2_000);
    function.follow(1);
    let objects = names(500);
    objects.iter().for_each(|object| put(&function, object, b"x"));
    function.take_batch();
    let mut reader = Reader::default();
    reader.read_all(&function, 100);
    function.unfollow();
    for object in &objects[100..400] {
        delete(&function, object);
        function.take_batch();
    }
    function.follow(2);
    reader.read_all(&function, 100);
    assert_eq!(reader.resyncs, 1);
    assert_eq!(reader.holds, state(&function, &objects));
}

#[test]
fn an_event_that_may_still_grow_is_told_again() {
    let (_store, function) = node(1, 1 << 20);
    function.follow(1);
    put(&function, b"o1", b"x");
    // A token covers what no batch has told of; the set takes more under such events.
    let mut reader =
        Reader { cursor: FeedCursor { known: function.token(), place: None }, ..Reader::default() };
    reader.read_all(&function, 10);
    put(&function, b"o1", b"y");
    function.take_batch();
    reader.read_all(&function, 10);
    assert_eq!(reader.holds.get(&b"o1"[..]), read(&function, b"o1").as_ref());
}

/// Whatever is done on two nodes, and wherever and however slowly a reader reads, it comes to hold what
/// they hold.
#[test]
fn a_reader_comes_to_hold_what_the_nodes_hold() {
    let objects = names(30);
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let limit = if random.bool() { 300 } else { 1 << 20 };
        let nodes = [node(1, limit), node(2, limit)];
        nodes.iter().for_each(|(store, _)| store.track());
        let mut epoch = 0;
        let mut reader = Reader::default();
        let mut at = 0;
        for _ in 0..200 {
            let (_, function) = &nodes[random.usize(..2)];
            let object = &objects[random.usize(..objects.len())];
            match random.u8(..20) {
                0..6 => put(function, object, &[random.u8(..3)]),
                6..9 => take(function, object, &[random.u8(..3)]),
                9..11 => delete(function, object),
                11 | 12 => exchange(&nodes[0].1, (1, &nodes[1].1)),
                13 | 14 => exchange(&nodes[1].1, (2, &nodes[0].1)),
                15 => function.unfollow(),
                16 => at = random.usize(..2),
                _ => {
                    epoch += 1;
                    nodes[at].1.follow(epoch);
                    reader.read(&nodes[at].1, random.usize(1..5));
                }
            }
        }
        exchange(&nodes[0].1, (1, &nodes[1].1));
        exchange(&nodes[1].1, (2, &nodes[0].1));
        nodes[at].1.follow(epoch + 1);
        reader.read_all(&nodes[at].1, random.usize(1..5));
        assert_eq!(reader.holds, state(&nodes[at].1, &objects), "seed {seed}");
    }
}
