//! Nodes that edit, send, lose, crash and heal at random, and the comparison with the oracle.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use miso_crdt::{Counter, Delta, ReplicaId, Seen, Type, Value, Writers};

use super::edits::{Act, ELEMENTS, Edit, Edits, FIELDS, Key, actual, expected, standing};
use super::node::{Batch, Node, SHARDS, Vector};
use super::{Random, Rules};

pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) rules: Rules,
    pub(crate) keys: Vec<Key>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) snapshots: Vec<Option<Node>>,
    pub(crate) wire: Vec<(usize, Rc<Batch>)>,
    pub(crate) edits: Vec<Edit>,
    pub(crate) ids: u64,
    pub(crate) trace: bool,
}

impl World {
    pub(crate) fn new(seed: u64, rules: Rules, trace: bool) -> World {
        let mut random = Random(seed);
        let count = 2 + random.below(3);
        let keys =
            (0..1 + random.below(4)).map(|_| (random.below(2) as u8, *random.pick(Type::OWN)));
        let keys: BTreeSet<Key> = keys.collect();
        let mut world = World {
            keys: keys.into_iter().collect(),
            nodes: Vec::new(),
            snapshots: vec![None; count],
            wire: Vec::new(),
            edits: Vec::new(),
            ids: 0,
            random,
            rules,
            trace,
        };
        for _ in 0..count {
            // One clock in four runs ten years ahead.
            let skew = if world.random.percent(25) { 20_000_000_000_000 } else { 0 };
            let id = world.id();
            world.nodes.push(Node::new(id, skew));
        }
        world
    }

    pub(crate) fn id(&mut self) -> ReplicaId {
        self.ids += 1;
        ReplicaId(self.random.next() << 8 | self.ids)
    }

    pub(crate) fn two(&mut self) -> (usize, usize) {
        let one = self.random.below(self.nodes.len());
        let other = (one + 1 + self.random.below(self.nodes.len() - 1)) % self.nodes.len();
        (one, other)
    }

    pub(crate) fn pair(&mut self, one: usize, other: usize) -> (&mut Node, &mut Node) {
        let [one, other] = self.nodes.get_disjoint_mut([one, other]).expect("two nodes");
        (one, other)
    }

    pub(crate) fn say(&self, what: impl FnOnce() -> String) {
        if self.trace {
            println!("{}", what());
        }
    }

    pub(crate) fn act(&mut self, kind: Type) -> Act {
        let random = &mut self.random;
        let (e, f) = (random.below(ELEMENTS.into()) as u8, random.below(FIELDS.into()) as u8);
        let (p, n) = (random.below(100) as u64, random.below(100) as u64);
        match (kind, random.below(10)) {
            (Type::GCounter, 0..7) => Act::Count(p, 0),
            (Type::PnCounter, 0..7) => Act::Count(p, n),
            (Type::GSet, 0..9) | (Type::OrSet, 0..5) => Act::Add(e),
            (Type::OrSet, 5..9) => Act::Remove(e),
            (Type::MvRegister, 0..8) => Act::Write,
            (Type::EwFlag, 0..6) => Act::Enable,
            (Type::EwFlag, _) => Act::Disable,
            (Type::OrMap, 0..3) => Act::Set(f),
            (Type::OrMap, 3) => Act::SetText(f),
            (Type::OrMap, 4..7) => Act::CountField(f, p as i64 - 30),
            (Type::OrMap, 7..9) => Act::RemoveField(f),
            _ => Act::Clear,
        }
    }

    pub(crate) fn edit(&mut self, at: usize, key: Key) {
        if self.edits.len() == Edits::MAX {
            return;
        }
        let act = self.act(key.1);
        let number = self.edits.len();
        let node = &mut self.nodes[at];
        let seen = node.had.get(&key).copied().unwrap_or_default();
        let mut named = Edits::default();
        if act == Act::Clear && matches!(key.1, Type::GSet | Type::OrSet | Type::OrMap) {
            named = seen;
            seen.iter().for_each(|n| named.join(&self.edits[n].named));
        } else {
            let covered = standing(&self.edits, seen).filter(|(_, edit)| act.covers(edit.act));
            covered.for_each(|(n, _)| named.insert(n));
        }
        let mut edit = Edit { key, act, seen, named, time: 0, by: node.id };
        if node.edit(key, act, &edit.value(number)) {
            edit.time = node.clock;
            node.open.push(number);
            node.had.entry(key).or_default().insert(number);
            self.edits.push(edit);
            self.say(|| format!("{at}: {number} {key:?} {act:?}"));
        }
    }

    /// Drains a node into a batch, shard by shard.
    pub(crate) fn flush(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let mut batch = Batch {
            origin: node.id,
            from: node.sent + 1,
            applied: node.vector_on_wire(),
            to: node.seq,
            changes: Vec::new(),
            edits: Vec::new(),
            hints: BTreeMap::new(),
        };
        for which in 0..SHARDS {
            self.nodes[at].drain(which, &mut batch, &self.edits);
            if !self.rules.one_cut && self.random.percent(20) {
                let key = *self.random.pick(&self.keys);
                self.edit(at, key);
            }
        }
        let node = &mut self.nodes[at];
        node.sent = batch.to;
        if batch.to < batch.from {
            assert!(batch.changes.is_empty() || !self.rules.one_cut, "without events: {batch:?}");
            return;
        }
        self.say(|| format!("{at}: flush {}..={} {:?}", batch.from, batch.to, batch.edits));
        let batch = Rc::new(batch);
        for to in (0..self.nodes.len()).filter(|to| *to != at) {
            // Lost, once, or twice.
            let copies = *self.random.pick(&[0, 1, 1, 1, 2]);
            self.wire.extend((0..copies).map(|_| (to, Rc::clone(&batch))));
        }
    }

    pub(crate) fn deliver(&mut self) {
        if !self.wire.is_empty() {
            let which = self.random.below(self.wire.len());
            let (to, batch) = self.wire.swap_remove(which);
            self.say(|| format!("{to}: gets {}..={} of {:?}", batch.from, batch.to, batch.origin));
            if self.nodes[to].id != batch.origin {
                self.nodes[to].receive(&batch, &self.edits, self.rules);
            }
        }
    }

    pub(crate) fn exchange(&mut self, to: usize, from: usize) {
        self.say(|| format!("{to}: exchanges with {from}"));
        let (keys, rules) = (self.keys.clone(), self.rules);
        let (to, from) = self.pair(to, from);
        to.exchange(from, &keys, rules);
    }

    pub(crate) fn sync(&mut self, to: usize, from: usize) {
        self.flush(from);
        let (keys, rules) = (self.keys.clone(), self.rules);
        let (node, peer) = self.pair(to, from);
        if node.sync(peer, &keys, rules) {
            self.say(|| format!("{to}: synced with {from}"));
        } else {
            self.exchange(to, from);
        }
    }

    pub(crate) fn collect(&mut self, at: usize) {
        let vectors = self.nodes.iter().map(|node| (node.id, node.vector_on_wire())).collect();
        let rules = self.rules;
        self.say(|| format!("{at}: collects"));
        self.nodes[at].collect(&vectors, rules);
    }

    pub(crate) fn step(&mut self) {
        let (one, other) = self.two();
        let key = *self.random.pick(&self.keys);
        match self.random.below(100) {
            0..42 => self.edit(one, key),
            42..66 => self.deliver(),
            66..78 => self.flush(one),
            78..83 => {
                self.say(|| format!("{one}: restores {key:?} from {other}"));
                let rules = self.rules;
                let (to, from) = self.pair(one, other);
                to.restore(from, key, rules);
            }
            83..86 => self.exchange(one, other),
            86..91 => self.sync(one, other),
            91..96 => self.collect(one),
            96 => {
                let node = &mut self.nodes[one];
                node.log.drain(..node.log.len() / 2).for_each(|gone| {
                    let start = node.log_start.entry(gone.origin).or_default();
                    *start = gone.at.max(*start);
                });
            }
            97 | 98 => {
                let node = &mut self.nodes[one];
                if self.rules.mark_shown {
                    node.flushed = [node.seq; SHARDS];
                }
                self.snapshots[one] = Some(node.clone());
                self.say(|| format!("{one}: snapshot"));
            }
            _ => {
                let id = self.id();
                let snapshot = if self.random.percent(60) { &self.snapshots[one] } else { &None };
                self.say(|| format!("{one}: crash, back as {id:?} {}", snapshot.is_some()));
                self.nodes[one].restart(id, snapshot.as_ref(), self.rules);
            }
        }
    }

    /// Compares what every node reads with what it must read.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (at, node) in self.nodes.iter().enumerate() {
            for key in &self.keys {
                let had = node.had.get(key).copied().unwrap_or_default();
                let hints = node.hints.get(key).copied().unwrap_or_default();
                let expected = expected(&self.edits, had, hints, key.1);
                let empty = Value::empty(key.1);
                let value = node.values.get(key).unwrap_or(&empty);
                let actual = actual(value, &node.writers, &expected);
                if actual != expected {
                    return Err(format!(
                        "{at} {key:?}: {actual:?} instead of {expected:?}\n{value:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// A node's live state in numbers that all nodes share.
    pub(crate) fn canonical(&self, node: &Node, table: &mut Writers) -> BTreeMap<Key, Delta> {
        let mut live = BTreeMap::new();
        for (key, value) in &node.values {
            let mut value = value.clone();
            match &mut value {
                Value::GCounter(counter) | Value::PnCounter(counter) => {
                    counter.collect(|_, _| true)
                }
                Value::OrMap(map) => map.collect(|_, _| true),
                _ => {}
            }
            if !value.is_blank() {
                let bytes = value.since(&()).encode(&node.writers);
                live.insert(*key, Delta::decode(&bytes, table).expect("just written"));
            }
        }
        live
    }

    /// Nodes with equal vectors and nothing ahead of them hold the same: what a hash tree compares.
    pub(crate) fn check_digests(&self) -> Result<(), String> {
        let mut table = Writers::new();
        let mut by_vector: BTreeMap<Vector, (usize, BTreeMap<Key, Delta>)> = BTreeMap::new();
        for (at, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.ahead.is_empty()) {
            let state = self.canonical(node, &mut table);
            let (first, other) =
                by_vector.entry(node.vector_on_wire()).or_insert_with(|| (at, state.clone()));
            if *other != state {
                return Err(format!(
                    "{first} and {at} differ at equal vectors: {other:?} {state:?}"
                ));
            }
        }
        Ok(())
    }

    /// Lets everything arrive, by syncs and, in `exchanges` of a hundred cases, by whole states; checks
    /// that all agree and that nothing is left of what is gone.
    pub(crate) fn heal(&mut self, exchanges: usize) -> Result<(), String> {
        self.say(|| "heal".into());
        for round in 0..2 {
            for to in 0..self.nodes.len() {
                for from in (0..self.nodes.len()).filter(|from| *from != to) {
                    if self.random.percent(exchanges) {
                        self.exchange(to, from);
                    } else {
                        self.sync(to, from);
                    }
                }
            }
            if round == 0 {
                self.check()?;
            }
        }
        (0..self.nodes.len()).for_each(|at| self.collect(at));
        self.check()?;
        self.check_digests()?;
        let first = &self.nodes[0];
        let writing: BTreeSet<ReplicaId> = self.nodes.iter().map(|node| node.id).collect();
        for (at, node) in self.nodes.iter().enumerate() {
            if node.vector_on_wire() != first.vector_on_wire() || node.had != first.had {
                return Err(format!("{at} does not know what 0 knows"));
            }
            for (key, value) in &node.values {
                let dead_writers_floors = match value {
                    Value::GCounter(counter) | Value::PnCounter(counter) => {
                        floors(counter, node, &writing)?
                    }
                    Value::OrMap(map) => {
                        for (_, field) in map.fields().iter() {
                            field.counter.iter().try_for_each(|counter| {
                                floors(counter, node, &writing).map(drop)
                            })?;
                        }
                        true
                    }
                    _ => false,
                };
                if value.is_absent() && !dead_writers_floors {
                    return Err(format!("{at} {key:?}: a residue {value:?}"));
                }
            }
        }
        Ok(())
    }
}

/// Whether floors are left; an error if they are those of a living writer, whose summary came.
/// Only for the reset of a dead writer, whose batch died with it while its effect was fetched from
/// it, there is never a summary.
pub(crate) fn floors(
    counter: &Counter,
    node: &Node,
    writing: &BTreeSet<ReplicaId>,
) -> Result<bool, String> {
    let mut dead = counter.entries().filter(|entry| !entry.live());
    let wrong = dead.find(|entry| {
        let writer = node.writers.id(entry.dot.writer()).expect("interned");
        let lost = entry.floor.is_some_and(|floor| !node.vector.seen(floor.by));
        writing.contains(&writer) && !lost
    });
    match wrong {
        Some(entry) => Err(format!("a floor of a living writer: {entry:?}")),
        None => Ok(counter.entries().any(|entry| !entry.live())),
    }
}
