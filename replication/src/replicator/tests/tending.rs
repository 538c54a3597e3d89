//! What goes once all nodes have heard of it.

use miso_store::Shown;
use miso_store::crdt::Value;
use miso_store::crdt::plain::hll::Registers;

use super::*;

const KEY: &[u8] = b"visitors";

impl Scene {
    /// Adds an element to a HyperLogLog, and sends that.
    fn adds(&mut self, element: &str) {
        let function = self.store.function(&F);
        let hash = miso_store::hash(KEY);
        let mut shard = function.lock(function.shard_of(hash));
        let added = Registers::of([element.as_bytes()]);
        let wrote = shard.write_plain::<kind::Hll, _>((hash, KEY), 1, |hll, at, mint, change| {
            hll.add(&added, at, mint, change);
        });
        wrote.expect("nothing else is there");
        drop(shard);
        self.turn(|replicator, now, out| replicator.wrote(now, &function, out));
        self.now = self.now + Duration::from_secs(1);
        self.turn(|replicator, now, out| replicator.tick(now, out));
    }

    /// How many sketches there are, once things have been looked after a while.
    fn sketches(&mut self, others: &[u64]) -> usize {
        let ids: Vec<(&str, ReplicaId)> =
            others.iter().map(|id| ("peer", ReplicaId(*id))).collect();
        for _ in 0..12 {
            self.turn(|replicator, now, out| replicator.tend(now, &ids, false, out));
        }
        let function = self.store.function(&F);
        let hash = miso_store::hash(KEY);
        let shard = function.lock(function.shard_of(hash));
        match shard.shown(hash, KEY, 1) {
            Some(Shown::Plain(Value::Hll(hll))) => hll.sketches(),
            _ => 0,
        }
    }
}

/// A node that is gone may have deleted the one sketch without the other, and one node alone may have heard of that:
/// made one of them here, what was deleted would come back there.
#[test]
fn sketches_stay_apart_while_a_node_knows_of_what_is_not_known_here() {
    let mut scene = Scene::new();
    scene.meet(2);
    scene.meet(3);
    scene.adds("one");
    scene.adds("two");
    let all = scene.store.function(&F).seq();
    scene.word(3, &[(1, all)]);
    scene.word(2, &[(1, all), (9, 1)]);
    assert_eq!(scene.sketches(&[2, 3]), 2);
    scene.word(2, &[(1, all)]);
    assert_eq!(scene.sketches(&[2, 3]), 1);
}

/// A node that awaits others makes no sketches one, and learns of those that are by digests.
#[test]
fn a_node_that_has_made_sketches_one_says_a_digest() {
    let mut scene = Scene::new();
    scene.meet(2);
    scene.adds("one");
    scene.adds("two");
    let all = scene.store.function(&F).seq();
    scene.word(2, &[(1, all)]);
    let digests = |scene: &mut Scene| {
        let of_round = |_| {
            let out = scene.pass(1_000);
            let said = said(&out, |body| match body {
                Body::Summary(word) => word.digest,
                _ => None,
            });
            said.len()
        };
        (0..200).map(of_round).sum::<usize>()
    };
    digests(&mut scene); // since they have met
    assert_eq!(digests(&mut scene), 0);
    assert_eq!(scene.sketches(&[2]), 1);
    assert!((1..=4).contains(&digests(&mut scene)));
}
