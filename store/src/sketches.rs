//! Sketches of HyperLogLogs that become one once every node has them.
//!
//! What a HyperLogLog is made of grows with each interval in which something is added. All sketches of one
//! writer that no delete can tell apart any more are folded, on each node by itself and without an event:
//! see [`Hll::fold`]. That takes that every other node has announced them, after all that it did before.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use miso_crdt::plain::Hll;
use miso_crdt::{Context, ReplicaId, Seen, Value};

use crate::function::Function;
use crate::joining::Vector;

/// Keys that are looked at in one call.
const TURN: usize = 1_000;

impl Function {
    /// Whether it ever held a HyperLogLog. Then what was done here is sent before anything is announced, as
    /// [`Function::fold_sketches`] of other nodes relies on.
    #[must_use]
    pub fn has_sketches(&self) -> bool {
        self.sketches.any.load(Ordering::Relaxed)
    }

    /// Notes that a HyperLogLog has changed. Called under its shard's lock.
    pub(crate) fn note_sketches(&self, key: &[u8], hll: &Hll) {
        if !self.has_sketches() && !self.sketches.any.swap(true, Ordering::Relaxed) {
            self.hooks.sketched.store(true, Ordering::Relaxed);
            self.wake();
        }
        if hll.sketches() > 1 {
            let mut keys = self.sketches.keys.lock();
            let keys = keys.get_or_insert_default();
            if !keys.contains(key) {
                keys.insert(key.into());
            }
        }
    }

    /// Makes one of the sketches of each writer in a HyperLogLog, as far as all nodes have them. To be called
    /// now and then. `heard` is what each other node that is not forgotten has announced, all of that being
    /// known here. Answers whether any became one: [`Function::digests`] are others then, though nothing was changed
    /// that a read could tell.
    pub fn fold_sketches(&self, heard: &[(ReplicaId, Vector)]) -> bool {
        let Some(mut keys) = self.sketches.keys.lock().take() else { return false };
        let now: Vec<Box<[u8]>> = keys.iter().take(TURN).cloned().collect();
        let stable = self.heard_by_all(heard);
        let mut any = false;
        for key in &now {
            let Some(mut shard) = self.shards.made(self.shard_index(key)) else { continue };
            let slot = shard.objects.get_mut(key).and_then(|object| object.get_mut(b""));
            let mut left = false;
            if let Some(slot) = slot {
                slot.each_mut(|value| {
                    if let Value::Hll(hll) = value {
                        any |= hll.fold(|dot| stable.seen(dot));
                        left |= hll.is_foldable();
                    }
                });
            }
            if !left {
                keys.remove(key);
            }
        }
        if !keys.is_empty() {
            let mut noted = self.sketches.keys.lock();
            match &mut *noted {
                Some(noted) => noted.extend(*keys),
                None => *noted = Some(keys),
            }
        }
        any
    }

    /// What is known here and all others have announced.
    fn heard_by_all(&self, heard: &[(ReplicaId, Vector)]) -> Context {
        let known = self.context();
        if heard.is_empty() {
            return known;
        }
        let mut least: HashMap<ReplicaId, (usize, u64)> = HashMap::new();
        for (id, seq) in heard.iter().flat_map(|(_, vector)| vector) {
            let (count, upto) = least.entry(*id).or_insert((0, u64::MAX));
            (*count, *upto) = (*count + 1, (*upto).min(*seq));
        }
        let joining = self.joining.lock();
        let mut stable = Context::new();
        for (id, (count, upto)) in least {
            let writer = joining.writers.index(id).filter(|_| count == heard.len());
            writer.into_iter().for_each(|w| stable.raise(w, upto.min(known.upto(w))));
        }
        stable
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use miso_crdt::kind;
    use miso_crdt::plain::hll::Registers;

    use super::*;
    use crate::{Config, Store, hash};

    const KEY: &[u8] = b"visitors";

    /// A node's function, and its id.
    struct Node(Arc<Function>, ReplicaId);

    fn node(id: u64) -> Node {
        let function = Store::new(Config::new(ReplicaId(id), 4, Arc::new(|| 1))).function(b"f");
        function.track();
        Node(function, ReplicaId(id))
    }

    impl Node {
        fn add(&self, element: &str) {
            let hash = hash(KEY);
            let mut shard = self.0.lock(self.0.shard_of(hash));
            let some = Registers::of([element.as_bytes()]);
            let added =
                shard.write_plain::<kind::Hll, _>((hash, KEY), 1, |hll, at, mint, change| {
                    hll.add(&some, at, mint, change);
                });
            added.expect("nothing else is there");
        }

        fn delete(&self) {
            let hash = hash(KEY);
            assert!(self.0.lock(self.0.shard_of(hash)).delete_key((hash, KEY), 1));
        }

        fn pass(&self, to: &Node) {
            let batch = self.0.take_batch().expect("a change");
            let range = (batch.first, batch.last);
            to.0.join_batch(self.1, range, &batch.message).expect("it fits");
        }

        /// How many sketches there are, and about how many elements.
        fn look(&self) -> (usize, u64) {
            let hash = hash(KEY);
            let shard = self.0.lock(self.0.shard_of(hash));
            let Some(hll) = shard.hll(hash, KEY) else { return (0, 0) };
            let all = hll.registers(1, shard.writers());
            (hll.sketches(), all.map_or(0, |all| all.count()))
        }

        fn fold(&self, other: &Node) -> bool {
            self.0.fold_sketches(&[(other.1, other.0.token())])
        }
    }

    #[test]
    fn sketches_become_one_once_all_have_announced_them() {
        let (a, b) = (node(7), node(9));
        assert!(!a.0.has_sketches());
        let early = b.0.token();
        for n in 0..50 {
            a.add(&format!("e{n}"));
            a.pass(&b);
        }
        assert_eq!((a.look(), b.look()), ((50, 50), (50, 50)));
        assert!(a.0.has_sketches() && b.0.has_sketches());
        a.0.fold_sketches(&[(b.1, early)]);
        assert_eq!(a.look(), (50, 50));
        assert!(a.fold(&b) && !a.fold(&b), "it is done");
        assert_eq!((a.look(), b.look()), ((1, 50), (50, 50)));
        // What is not announced stays apart: a delete may take the others without it.
        a.add("late");
        a.fold(&b);
        assert_eq!(a.look(), (2, 51));
        b.delete();
        b.pass(&a);
        a.pass(&b); // with what came late
        assert_eq!((a.look(), b.look()), ((1, 1), (1, 1)));
        // Each folds by itself, and both hold the same.
        for n in 0..10 {
            b.add(&format!("f{n}"));
            b.pass(&a);
        }
        b.fold(&a);
        assert_eq!((a.look(), b.look()), ((11, 11), (2, 11)));
        a.fold(&b);
        assert_eq!(a.look(), (2, 11), "one of each writer");
        assert_eq!(a.0.digests(8), b.0.digests(8));
    }

    #[test]
    fn a_node_without_others_folds_all() {
        let a = node(7);
        for n in 0..20 {
            a.add(&format!("e{n}"));
            a.0.take_batch().expect("a change");
        }
        a.0.fold_sketches(&[]);
        assert_eq!(a.look(), (1, 20));
        a.delete();
        assert_eq!(a.look(), (0, 0));
        a.0.fold_sketches(&[]);
    }

    #[test]
    fn sketches_of_retired_writers_are_adopted_as_one() {
        let one = node(1);
        let gone: Vec<Node> = (2..=30).map(node).collect();
        for (n, node) in gone.iter().enumerate() {
            for element in 0..5 {
                node.add(&format!("{n} {element}"));
                node.pass(&one);
            }
        }
        let (sketches, count) = one.look();
        assert_eq!(sketches, 145);
        assert!((144..=147).contains(&count), "{count}");
        let writers = gone.iter().map(|gone| (gone.1, one.0.upto(gone.1))).collect();
        assert_eq!(one.0.adopt_counts(&writers), 1);
        assert_eq!(one.look(), (1, count));
        // What it has adopted, and adds itself, becomes one as ever.
        one.0.take_batch().expect("the adoption");
        one.add("own");
        one.fold(&one);
        assert_eq!(one.look().0, 1);
        assert_eq!(one.0.adopt_counts(&writers), 0);
    }
}
