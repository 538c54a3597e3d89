//! A model of writes that run once: nodes that run the same ids while they cannot hear each other, delete,
//! hear each other late, twice and by way of third nodes, and adopt what one of them has counted.
//!
//! The oracle knows of each run which event it was and of each delete what it had seen. An id counts once:
//! by its first run, unless a delete has seen that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use miso_store::crdt::plain::fixed::ONE;
use miso_store::crdt::{ReplicaId, kind};
use miso_store::{Config, Function, Held, Place, Retirement, Store, Vector};

const OBJECT: &[u8] = b"o";

/// Numbers that follow from a seed alone. Source: Steele et al. 2014, SplitMix.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) as usize % n
    }
}

/// What is counted: of each kind of value that counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum What {
    GCounter,
    PnCounter,
    Field,
    Plain,
}

const ALL: [What; 4] = [What::GCounter, What::PnCounter, What::Field, What::Plain];

impl What {
    fn place(self) -> Place<'static> {
        let (object, name, field): (&[u8], &[u8], &[u8]) = match self {
            What::GCounter => (OBJECT, b"g", b""),
            What::PnCounter => (OBJECT, b"p", b""),
            What::Field => (OBJECT, b"m", b"f"),
            What::Plain => (b"key", b"", b""),
        };
        Place { object, name, field }
    }
}

struct Node {
    store: Store,
    function: Arc<Function>,
    /// Of each node, the batches that have come and are not joined yet.
    inbox: Vec<Vec<(u64, u64, bytes::Bytes)>>,
}

struct Run {
    writer: ReplicaId,
    seq: u64,
    time: u64,
    amount: i64,
}

struct World {
    random: Random,
    now: Arc<AtomicU64>,
    nodes: Vec<Node>,
    dead: Option<ReplicaId>,
    runs: BTreeMap<(What, Vec<u8>), Vec<Run>>,
    deletes: Vec<(What, Vector)>,
}

impl World {
    fn new(seed: u64) -> World {
        let now = Arc::new(AtomicU64::new(1_000));
        let nodes = (0..3).map(|at| {
            let clock = Arc::clone(&now);
            // Clocks differ.
            let now = Arc::new(move || clock.load(Ordering::Relaxed) + at * 7);
            let store = Store::new(Config::new(ReplicaId(1 + at), 1 << at, now));
            store.track();
            let function = store.function(b"f");
            Node { store, function, inbox: vec![Vec::new(); 3] }
        });
        let nodes = nodes.collect();
        let random = Random(seed);
        World { random, now, nodes, dead: None, runs: BTreeMap::new(), deletes: Vec::new() }
    }

    /// Runs a write with an id on a node, unless the node knows that it ran.
    fn once(&mut self, at: usize, what: What, id: &[u8], amount: i64) {
        let node = &self.nodes[at];
        let function = &node.function;
        let place = what.place();
        let shards = vec![function.once_shard(id), function.shard_index(place.object)];
        let mut held = Held::shards(function, shards);
        if let Some(reply) = held.once_reply(id) {
            assert_eq!(&*reply, id, "what the first run answered");
            return;
        }
        let once = held.begin_once(id, std::iter::once(place));
        add(&mut held, what, amount);
        held.end_once(once, [id]);
        let run = Run {
            writer: node.store.replica(),
            seq: function.seq() - 1,
            time: function.now(),
            amount,
        };
        self.runs.entry((what, id.to_vec())).or_default().push(run);
    }

    fn delete(&mut self, at: usize, what: What) {
        let function = &self.nodes[at].function;
        let (place, token) = (what.place(), function.token());
        let hash = miso_store::hash(place.object);
        let mut shard = function.lock(function.shard_of(hash));
        let there = shard.delete(hash, place.object, place.name);
        drop(shard);
        if there {
            self.deletes.push((what, token));
        }
    }

    fn flush(&mut self, at: usize) {
        if let Some(batch) = self.nodes[at].function.take_batch() {
            for node in &mut self.nodes {
                node.inbox[at].push((batch.first, batch.last, batch.message.clone()));
            }
        }
    }

    /// A node joins the next batch of another, twice now and then, and settles or puts that off.
    fn hear(&mut self, at: usize, from: usize) {
        if at == from || self.nodes[at].inbox[from].is_empty() {
            return;
        }
        let twice = self.random.below(4) == 0;
        let origin = self.nodes[from].store.replica();
        let node = &mut self.nodes[at];
        let (first, last, message) = node.inbox[from].remove(0);
        let known = node.function.upto(origin);
        if last > known {
            node.function.join_batch(origin, (first, last), &message).expect("in order");
        }
        if twice {
            assert!(node.function.join_batch(origin, (first, last), &message).is_err());
        }
        if self.random.below(2) == 0 {
            self.nodes[at].function.settle_once();
        }
    }

    fn step(&mut self) {
        self.now.fetch_add(self.random.below(20) as u64, Ordering::Relaxed);
        let living = if self.dead.is_some() { 2 } else { 3 };
        let at = self.random.below(living);
        let what = ALL[self.random.below(ALL.len())];
        match self.random.below(20) {
            0..8 => {
                let id = [b'0' + self.random.below(10) as u8, what as u8];
                let amount = 1 + self.random.below(9) as i64;
                // The amount follows from the id, as of a write that is sent again.
                let amount = if id[0].is_multiple_of(2) || what == What::GCounter {
                    amount.signum() * i64::from(id[0])
                } else {
                    -i64::from(id[0])
                };
                self.once(at, what, &id, amount);
            }
            8 => self.delete(at, what),
            9..13 => self.flush(at),
            _ => {
                let from = self.random.below(3);
                self.hear(at, from);
            }
        }
    }

    /// All hear each other and settle until nothing changes.
    fn calm(&mut self) {
        for _ in 0..12 {
            for at in 0..3 {
                if self.dead != Some(self.nodes[at].store.replica()) {
                    self.nodes[at].function.settle_once();
                    self.flush(at);
                }
            }
            for (at, from) in (0..9).map(|pair| (pair / 3, pair % 3)) {
                while at != from && !self.nodes[at].inbox[from].is_empty() {
                    self.hear(at, from);
                }
            }
        }
    }

    /// The last node dies; all others have heard all that it did, and one adopts that.
    fn adopt(&mut self) {
        let dead = self.nodes[2].store.replica();
        self.flush(2);
        for (at, from) in (0..9).map(|pair| (pair / 3, pair % 3)) {
            if at < 2 {
                self.flush(from.min(1));
            }
            while at < 2 && at != from && !self.nodes[at].inbox[from].is_empty() {
                self.hear(at, from);
            }
        }
        self.dead = Some(dead);
        let function = &self.nodes[0].function;
        let writers = function.unretired(&[dead]);
        function.adopt_counts(&writers);
        let by = (self.nodes[0].store.replica(), function.seq());
        self.flush(0);
        let retirement = Retirement { by, writers };
        // Deletes have waited for it.
        while !self.nodes[1].inbox[0].is_empty() {
            self.hear(1, 0);
        }
        for at in 0..2 {
            _ = self.nodes[at].function.retire(&retirement);
        }
    }

    /// What each value must be: see the file's head.
    fn expected(&self, what: What) -> i64 {
        let of = self.runs.iter().filter(|((of, _), _)| *of == what);
        let counted = of.filter_map(|(_, runs)| {
            let first = runs.iter().min_by_key(|run| (run.time, run.writer))?;
            let seen = |(of, vector): &(What, Vector)| {
                let sees = |(id, seq): &(ReplicaId, u64)| *id == first.writer && *seq >= first.seq;
                *of == what && vector.iter().any(sees)
            };
            (!self.deletes.iter().any(seen)).then_some(first.amount)
        });
        counted.sum()
    }

    fn check(&self, seed: u64) {
        for node in &self.nodes {
            if self.dead == Some(node.store.replica()) {
                continue;
            }
            for what in ALL {
                let value = read(&node.function, what);
                let name = (seed, what, node.store.replica());
                assert_eq!(value, self.expected(what), "seed, value, node: {name:?}");
            }
            assert_eq!(node.function.once_count(), self.runs.len(), "seed {seed}");
        }
    }
}

fn add(held: &mut Held<'_>, what: What, n: i64) {
    let Place { object, name, field } = what.place();
    let now = held.function().now();
    held.with_object(object, |shard, hash| {
        let key = (hash, object, name);
        let (p, m) = (n.max(0).unsigned_abs(), n.min(0).unsigned_abs());
        match what {
            What::GCounter => {
                let (added, _) = shard
                    .write::<kind::GCounter, _>(key, |c, mint, _| c.add(p, 0, mint))
                    .expect("its type");
                added.expect("small");
            }
            What::PnCounter => {
                let (added, _) = shard
                    .write::<kind::PnCounter, _>(key, |c, mint, _| c.add(p, m, mint))
                    .expect("its type");
                added.expect("small");
            }
            What::Field => {
                let writers = shard.shared_writers();
                let (added, _) = shard
                    .write::<kind::OrMap, _>(key, |map, mint, change| {
                        map.add(field, n, &writers, mint, change)
                    })
                    .expect("its type");
                added.expect("small");
            }
            What::Plain => {
                let added = shard
                    .write_plain::<kind::PlainString, _>(
                        (hash, object),
                        now,
                        |string, moment, mint, change| string.add(n, moment, mint, change),
                    )
                    .expect("its type");
                added.expect("small");
            }
        }
    });
}

fn read(function: &Function, what: What) -> i64 {
    let Place { object, name, field } = what.place();
    let hash = miso_store::hash(object);
    let shard = function.lock(function.shard_of(hash));
    match what {
        What::GCounter => {
            let read = shard.read::<kind::GCounter>(hash, object, name).expect("its type");
            read.map_or(0, miso_store::crdt::Counter::value)
        }
        What::PnCounter => {
            let read = shard.read::<kind::PnCounter>(hash, object, name).expect("its type");
            read.map_or(0, miso_store::crdt::Counter::value)
        }
        What::Field => {
            let map = shard.read::<kind::OrMap>(hash, object, name).expect("its type");
            let held = map.and_then(|map| map.get(field));
            held.and_then(|held| held.counter.as_deref())
                .map_or(0, miso_store::crdt::Counter::value)
        }
        What::Plain => {
            let now = function.now();
            let string = shard.plain::<kind::PlainString>(hash, object, now).expect("its type");
            let entries = string.into_iter().flat_map(|string| string.cell().entries());
            let sum: i128 = entries.map(|e| e.v - e.floor.map_or(0, |floor| floor.v)).sum();
            i64::try_from(sum / ONE).expect("small")
        }
    }
}

#[test]
fn an_id_counts_once_whatever_is_late_deleted_or_adopted() {
    for seed in 0..2_000 {
        let mut world = World::new(seed);
        for _ in 0..120 {
            world.step();
        }
        if seed.is_multiple_of(3) {
            world.adopt();
            for _ in 0..30 {
                world.step();
            }
        }
        world.calm();
        world.check(seed);
    }
}

#[test]
fn a_run_beside_a_claim_that_does_not_count_yet_is_taken_back_when_it_does() {
    let mut world = World::new(0);
    let what = What::PnCounter;
    world.once(0, what, b"id", 5);
    world.flush(0);
    // Parts of a sync bring the claim before it is known that all is here which was done before it.
    let [first, second] = [0, 1].map(|at| Arc::clone(&world.nodes[at].function));
    let ids = (0..64).map(|bucket| [&b"\0once\0"[..], &[bucket]].concat());
    let parts =
        ids.chain([OBJECT.to_vec()]).filter_map(|object| first.export_object(&object, None));
    for part in parts {
        second.join_changes(&part).expect("well-formed");
    }
    second.settle_once();
    world.now.fetch_add(20, Ordering::Relaxed);
    world.once(1, what, b"id", 5);
    second.settle_once();
    second.finish_sync(&first.vector(), true).expect("well-formed");
    assert_eq!(read(&second, what), 10);
    second.settle_once();
    assert_eq!(read(&second, what), 5);
    assert_eq!(second.once_count(), 1);
}

#[test]
fn runs_of_other_amounts_under_one_id_are_told_once_by_the_one_that_is_taken_back() {
    for (what, amounts) in
        [(What::PnCounter, [5, 7]), (What::Plain, [5, 5]), (What::Field, [1, -1])]
    {
        let mut world = World::new(0);
        world.once(0, what, b"id", amounts[0]);
        world.now.fetch_add(20, Ordering::Relaxed);
        world.once(1, what, b"id", amounts[1]);
        let [first, second] = [0, 1].map(|at| Arc::clone(&world.nodes[at].function));
        for (from, to) in [(&first, &second), (&second, &first)] {
            let batch = from.take_batch().expect("it has written");
            let origin = if Arc::ptr_eq(from, &first) { 0 } else { 1 };
            let origin = world.nodes[origin].store.replica();
            to.join_batch(origin, (batch.first, batch.last), &batch.message).expect("in order");
        }
        let unequal = amounts[0] != amounts[1];
        let expected: &[Box<[u8]>] = if unequal { &[b"id"[..].into()] } else { &[] };
        assert_eq!(second.settle_once(), expected, "{what:?}");
        assert_eq!(read(&second, what), amounts[0], "the first run counts");
        assert!(second.settle_once().is_empty(), "once");
        assert!(first.settle_once().is_empty(), "its run stands");
    }
}

#[test]
fn a_clock_that_is_set_ends_no_window() {
    let mut world = World::new(0);
    world.once(0, What::PnCounter, b"id", 5);
    let function = Arc::clone(&world.nodes[0].function);
    world.flush(0);
    world.now.fetch_add(1_000_000_000, Ordering::Relaxed);
    let second = Duration::from_secs(1);
    let tend = |now: Duration| {
        // Some ids are looked at each time.
        (0..16).for_each(|_| drop(function.tend_once(now, Some(&[]))));
        function.once_reply(b"id").is_some()
    };
    let window = Duration::from_millis(function.once_window());
    assert!(tend(second));
    assert!(tend(window));
    assert!(!tend(window + second));
    assert_eq!(function.once_count(), 0);
}
