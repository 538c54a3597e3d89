//! What must hold of a simulated world, now or at its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use miso_store::crdt::counter::Entry;
use miso_store::crdt::{Counter, ReplicaId, Type, Value};
use miso_store::{Function, Retirement};

use super::host::Host;
use super::oracle::{Fact, Facts, Known, Place};
use super::registers;
use super::{FUNCTIONS, SECOND, World};

impl World {
    /// Tells the oracle what a node has just taken over.
    pub(super) fn note_taken(&mut self, at: usize) {
        let (own, store) = (self.hosts[at].replica, Arc::clone(&self.hosts[at].store));
        for function in store.functions() {
            let name = Bytes::copy_from_slice(function.name());
            for retirement in function.retirements() {
                let entry = (name.clone(), retirement);
                if entry.1.by.0 != own || self.taken.contains(&entry) {
                    continue;
                }
                let known: BTreeMap<ReplicaId, u64> = function.token().into_iter().collect();
                for (writer, last) in &entry.1.writers {
                    self.check_taken_once(&name, *writer, &known);
                    assert_eq!(
                        known.get(writer).copied().unwrap_or(0),
                        *last,
                        "n{at}: what it knows of the retired"
                    );
                }
                self.say(|| format!("n{at} takes over: {:x?}", entry.1));
                let living = self.hosts.iter().filter(|host| !host.gone).map(|host| host.replica);
                let living: BTreeSet<ReplicaId> = living.collect();
                let known = Known { vector: &known, living: &living };
                let holds = |place: &Place| facts(&function, place);
                let Retirement { by, writers } = &entry.1;
                self.oracle.take_over(&name, *by, writers, &known, holds);
                self.taken.push(entry);
            }
        }
    }

    /// A node that adopts a writer's counts knows of an earlier adoption, unless no node does any more.
    pub(super) fn check_taken_once(
        &self,
        name: &Bytes,
        writer: ReplicaId,
        known: &BTreeMap<ReplicaId, u64>,
    ) {
        let before = self.taken.iter().filter(|(function, _)| function == name);
        for (_, other) in before.filter(|(_, r)| r.writers.iter().any(|(id, _)| *id == writer)) {
            let (by, seq) = other.by;
            // With number 0 nothing was counted that could be adopted: every node knows of that.
            let here = known.get(&by).copied().unwrap_or(0) >= seq;
            let somewhere =
                self.hosts.iter().filter(|host| !host.gone).any(|host| {
                    host.store.find(name).is_some_and(|function| function.upto(by) >= seq)
                });
            assert!(
                here || !somewhere,
                "{writer:x?} is taken over a second time, after {other:x?}"
            );
        }
    }

    /// A node goes for good, and another is told so: what it had counted stays, and nothing else of it.
    pub(super) fn check_forgotten(&mut self) {
        let at = self.pick(self.hosts.len());
        let teller = (at + 1) % self.hosts.len();
        let (name, gone) = (self.hosts[at].name.clone(), self.hosts[at].replica);
        self.say(|| format!("{name} goes for good"));
        self.crash(at, true);
        self.hosts[at].gone = true;
        self.lost.insert(gone);
        let next = self.now + 3 * SECOND;
        while self.step(next) {}
        // The retirement has to come to its end over such a network, too.
        self.lossy_until = self.now + 20 * SECOND;
        self.forget(teller, at);
        let until = self.now + 60 * SECOND;
        loop {
            let next = self.now + SECOND;
            while self.step(next) {}
            let mut left = self.remains_of(gone);
            left.extend(self.differences());
            if left.is_empty() {
                break;
            }
            assert!(self.now < until, "left of {:x}: {}", gone.0, left.join("; "));
        }
        self.check_all();
    }

    /// Where something is left of what a writer has counted.
    pub(super) fn remains_of(&self, writer: ReplicaId) -> Vec<String> {
        let mut left = Vec::new();
        for host in self.hosts.iter().filter(|host| !host.gone) {
            for function in host.store.functions() {
                self.entries(&function, |place, id, entry| {
                    if id == writer {
                        left.push(format!("{} {place:?} {entry:?}", host.name));
                    }
                });
                let places = self.oracle.places().filter(|place| *place.0 == *function.name());
                for place in places.filter(|place| place.3 == Type::Hll) {
                    let held = facts(&function, place).dots;
                    let of_it = |fact: &&Fact| fact.1 == writer && registers::is(fact);
                    if let Some(fact) = held.iter().find(of_it) {
                        left.push(format!("{} {place:?} {fact:x?}", host.name));
                    }
                }
            }
        }
        left
    }

    pub(super) fn differences(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for name in FUNCTIONS {
            let state = |host: &Host| {
                let function = host.store.function(name);
                let mut vector = function.vector();
                vector.sort_unstable();
                (vector, function.digests(16), function.ahead_digests(16))
            };
            let mut hosts = self.hosts.iter().enumerate().filter(|(_, host)| !host.gone);
            let Some((one, held_by_one)) = hosts.next() else { continue };
            let first = state(held_by_one);
            for (at, host) in hosts {
                let other = state(host);
                if other.0 != first.0 {
                    wrong.push(format!("n{at} knows {:x?}, n{one} {:x?}", other.0, first.0));
                } else if other != first {
                    let places = self.oracle.places().filter(|place| *place.0 == *name);
                    let pairs = places.map(|place| {
                        let held = |host: &Host| facts(&host.store.function(name), place);
                        (place, held(held_by_one), held(host))
                    });
                    let differ: Vec<_> = pairs.filter(|(_, a, b)| a != b).collect();
                    wrong.push(format!(
                        "n{at} and n{one} know the same and hold different values: {differ:x?}"
                    ));
                }
            }
        }
        wrong
    }

    pub(super) fn check_all(&self) {
        self.check_once();
        let hosts = || self.hosts.iter().enumerate().filter(|(_, host)| !host.gone);
        let living: BTreeSet<ReplicaId> = hosts().map(|(_, host)| host.replica).collect();
        for (at, host) in hosts() {
            for place in self.oracle.places() {
                let function = host.store.function(&place.0);
                let vector = function.vector().into_iter().collect();
                let known = Known { vector: &vector, living: &living };
                if let Err(wrong) = self.oracle.check(place, &facts(&function, place), &known) {
                    panic!("n{at} {place:?}: {wrong}");
                }
            }
        }
    }

    /// Nothing stays of what is gone; but what only dead writers could release may.
    pub(super) fn check_remains(&self) {
        for (at, host) in self.hosts.iter().enumerate() {
            for function in host.store.functions() {
                let name = function.name().escape_ascii();
                if self.lost.is_empty() {
                    let floors = self.floors(&function);
                    assert!(floors.is_empty(), "n{at}: floors are left in {name}: {floors:?}");
                    assert_eq!(function.ahead_count(), 0, "n{at}: knowledge ahead in {name}");
                }
            }
        }
    }

    /// What is kept in a function only for its floors: the place, whose entry, and whose reset.
    pub(super) fn floors(&self, function: &Function) -> Vec<String> {
        let mut floors = Vec::new();
        self.entries(function, |(_, object, name, _), id, entry| {
            if !entry.live() {
                floors.push(format!(
                    "{}/{} {:x}:{} {:?}",
                    object.escape_ascii(),
                    name.escape_ascii(),
                    id.0,
                    entry.dot.seq(),
                    entry.floor
                ));
            }
        });
        floors
    }

    /// Visits what a function keeps of each writer in each counter.
    pub(super) fn entries(
        &self,
        function: &Function,
        mut visit: impl FnMut(&Place, ReplicaId, &Entry),
    ) {
        for place in self.oracle.places().filter(|place| *place.0 == *function.name()) {
            let (_, object, name, kind) = place;
            let shard = function.lock(function.shard_index(object));
            let slot = shard.objects().get(object).and_then(|object| object.get(name));
            let values = slot.map_or(&[][..], miso_store::Slot::values);
            let Some(value) = values.iter().find(|value| value.kind() == *kind) else { continue };
            let mut look = |counter: &Counter| {
                for entry in counter.entries() {
                    let id = shard.writers().id(entry.dot.writer()).expect("interned");
                    visit(place, id, &entry);
                }
            };
            match value {
                Value::GCounter(counter) | Value::PnCounter(counter) => look(counter),
                Value::OrMap(map) => {
                    map.fields().iter().filter_map(|(_, f)| f.counter.as_deref()).for_each(look);
                }
                _ => {}
            }
        }
    }
}

pub(super) fn facts(function: &Function, (_, object, name, kind): &Place) -> Facts {
    let hash = miso_store::hash(object);
    let shard = function.lock(function.shard_of(hash));
    let slot = shard.objects().get_hashed(hash, object).and_then(|object| object.get(name));
    let values = slot.map_or(&[][..], miso_store::Slot::values);
    let value: Option<&Value> = values.iter().find(|value| value.kind() == *kind);
    value.map(|value| Facts::of(value, shard.writers())).unwrap_or_default()
}
