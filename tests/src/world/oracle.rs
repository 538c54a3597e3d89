//! What the nodes of a simulated world must hold, from nothing but what its clients did.
//!
//! Every edit is recorded by what it changed where it was made: the facts that it added and those
//! that it took away. An edit counts on a node once the node's vector covers its last event. Of a
//! writer that died with its memory, edits beyond what any vector covers may be lost, or, as
//! values are fetched ahead of the vector, have left a part; both are allowed.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use miso_store::crdt::plain::cell::Cell;
use miso_store::crdt::plain::counts;
use miso_store::crdt::plain::items::{Item, Text};
use miso_store::crdt::plain::keyed::{Element, Keyed};
use miso_store::crdt::{Counter, MvRegister, ReplicaId, Set, Type, Value, Writers};

use super::registers;

/// Where a value is.
pub(crate) type Place = (Bytes, Vec<u8>, Vec<u8>, Type);

/// Something present: an element, a value or an enabling, by the event that made it.
pub(super) type Fact = (Vec<u8>, ReplicaId, u64);

/// A writer, and the first and the last event of what it did at once.
pub(super) type Whole = (ReplicaId, (u64, u64));

/// What is present under one name.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Facts {
    pub(super) dots: BTreeSet<Fact>,
    /// By path and writer: the first and the newest event counted, and the count.
    counts: BTreeMap<(Vec<u8>, ReplicaId), (u64, u64, i128)>,
}

impl Facts {
    pub(crate) fn of(value: &Value, writers: &Writers) -> Facts {
        let mut facts = Facts::default();
        let id = |writer| writers.id(writer).expect("interned");
        let set = |facts: &mut Facts, set: &Set| {
            for (element, dots) in set.elements().iter() {
                let all = dots.iter().map(|dot| (element.to_vec(), id(dot.writer()), dot.seq()));
                facts.dots.extend(all);
            }
        };
        let register = |facts: &mut Facts, path: &[u8], register: &MvRegister| {
            for value in register.stamped() {
                let path = [path, b"=", value.bytes()].concat();
                let dot = value.header().dot;
                facts.dots.insert((path, id(dot.writer()), dot.seq()));
            }
        };
        let count = |facts: &mut Facts, path: &[u8], counter: &Counter| {
            for entry in counter.entries().filter(|entry| entry.live()) {
                let (fp, fn_) = entry.floor.map_or((0, 0), |floor| (floor.p, floor.n));
                let value =
                    i128::from(entry.p) - i128::from(fp) - (i128::from(entry.n) - i128::from(fn_));
                let key = (path.to_vec(), id(entry.dot.writer()));
                facts.counts.insert(key, (entry.birth, entry.dot.seq(), value));
            }
        };
        match value {
            Value::GSet(value) | Value::OrSet(value) => set(&mut facts, value),
            Value::MvRegister(value) => register(&mut facts, b"", value),
            Value::EwFlag(value) => {
                let all = value.dots().iter().map(|dot| (Vec::new(), id(dot.writer()), dot.seq()));
                facts.dots.extend(all);
            }
            Value::GCounter(value) | Value::PnCounter(value) => count(&mut facts, b"", value),
            Value::OrMap(value) => {
                for (field, held) in value.fields().iter() {
                    register(&mut facts, field, &held.register);
                    if let Some(counter) = &held.counter {
                        count(&mut facts, field, counter);
                    }
                }
            }
            Value::PlainString(string) => facts.add_cell(b"", string.cell(), writers, Text::bytes),
            Value::PlainHash(hash) => facts.add_keyed(hash, writers, Text::bytes),
            Value::PlainSet(set) => facts.add_keyed(set, writers, |_| b""),
            Value::PlainZSet(zset) => facts.add_keyed(zset, writers, |_| b""),
            Value::Hll(hll) => {
                facts.add_lives(hll, writers);
                registers::add(hll, writers, &mut facts.dots);
            }
            Value::OnceIds(_) => {} // see `once`
        }
        facts
    }

    /// Adds what a cell of a plain value holds.
    fn add_cell<V: Item>(
        &mut self,
        path: &[u8],
        cell: &Cell<V>,
        writers: &Writers,
        text: impl Fn(&V) -> &[u8],
    ) {
        let id = |writer| writers.id(writer).expect("interned");
        for value in cell.values() {
            let path = [path, b"=", text(value)].concat();
            let dot = value.dot();
            self.dots.insert((path, id(dot.writer()), dot.seq()));
        }
        for term in cell.terms() {
            let path = [path, b"~", term.at.to_string().as_bytes()].concat();
            self.dots.insert((path, id(term.dot.writer()), term.dot.seq()));
        }
        for entry in cell.entries().filter(counts::Entry::live) {
            let value = entry.v - entry.floor.map_or(0, |floor| floor.v);
            let key = (path.to_vec(), id(entry.dot.writer()));
            self.counts.insert(key, (entry.birth, entry.dot.seq(), value));
        }
    }

    /// Adds the lives of a plain value.
    fn add_lives<V: Element>(&mut self, keyed: &Keyed<V>, writers: &Writers) {
        for birth in keyed.births() {
            let id = writers.id(birth.dot.writer()).expect("interned");
            self.dots.insert((b"life".to_vec(), id, birth.dot.seq()));
        }
    }

    /// Adds the cells of a plain value, and the lives of the whole.
    fn add_keyed<V: Element>(
        &mut self,
        keyed: &Keyed<V>,
        writers: &Writers,
        text: impl Fn(&V) -> &[u8] + Copy,
    ) {
        self.add_lives(keyed, writers);
        for (name, cell) in keyed.cells().iter() {
            self.add_cell(name, cell, writers, text);
        }
    }
}

/// One thing that a client did.
#[derive(Clone, Debug)]
pub(crate) struct Edit {
    by: ReplicaId,
    /// The writer's newest event when it was done.
    seq: u64,
    added: BTreeSet<Fact>,
    removed: BTreeSet<Fact>,
    /// Path, event and amount.
    counted: Vec<(Vec<u8>, u64, i128)>,
    /// Path, writer and its first and newest events that were taken away. Those before the first had
    /// been taken away already, as far as this node knew.
    covered: Vec<(Vec<u8>, ReplicaId, (u64, u64))>,
}

impl Edit {
    fn by(by: ReplicaId, seq: u64) -> Edit {
        let (added, removed) = (BTreeSet::new(), BTreeSet::new());
        Edit { by, seq, added, removed, counted: Vec::new(), covered: Vec::new() }
    }
}

/// All edits, by place.
#[derive(Default, Debug)]
pub(crate) struct Oracle {
    edits: BTreeMap<Place, Vec<Edit>>,
    /// By function: the events of a writer that came at once.
    whole: BTreeMap<Bytes, Vec<Whole>>,
}

/// How much of a writer's past is known.
pub(crate) struct Known<'a> {
    pub(crate) vector: &'a BTreeMap<ReplicaId, u64>,
    /// Writers whose memory is still somewhere: all they did is known or will be.
    pub(crate) living: &'a BTreeSet<ReplicaId>,
}

impl Known<'_> {
    fn has(&self, writer: ReplicaId, seq: u64) -> bool {
        self.vector.get(&writer).is_some_and(|upto| *upto >= seq)
    }

    /// It may have left traces.
    fn may_have(&self, writer: ReplicaId, seq: u64) -> bool {
        self.has(writer, seq) || !self.living.contains(&writer)
    }
}

impl Oracle {
    /// Records that a writer did all of some events at once, the first and the last of which are given.
    pub(crate) fn note_whole(&mut self, function: &Bytes, by: ReplicaId, events: (u64, u64)) {
        if events.0 < events.1 {
            self.whole.entry(function.clone()).or_default().push((by, events));
        }
    }

    /// What writers did at once in a function.
    pub(crate) fn whole(&self, function: &[u8]) -> &[Whole] {
        self.whole.get(function).map_or(&[], Vec::as_slice)
    }

    /// Records an edit by what was there before and after.
    pub(crate) fn record(
        &mut self,
        place: Place,
        (by, seq): (ReplicaId, u64),
        before: &Facts,
        after: &Facts,
        amount: Option<(Vec<u8>, i128)>,
    ) {
        let mut edit = Edit {
            added: after.dots.difference(&before.dots).cloned().collect(),
            removed: before.dots.difference(&after.dots).cloned().collect(),
            ..Edit::by(by, seq)
        };
        if let Some((path, amount)) = amount {
            let (_, seq, _) = after.counts[&(path.clone(), by)];
            edit.counted.push((path, seq, amount));
        }
        for ((path, writer), (birth, at, _)) in &before.counts {
            let now = after.counts.get(&(path.clone(), *writer));
            // What is gone, or has begun anew.
            if now.is_none_or(|(now, ..)| now > birth) {
                edit.covered.push((path.clone(), *writer, (*birth, *at)));
            }
        }
        self.edits.entry(place).or_default().push(edit);
    }

    /// Records that a node has taken over what writers that are gone had counted, as far as it knows
    /// of it: it takes their counts away, and adds their sums itself. What the sums may be is known;
    /// what they are, where writers have left a part of something lost, says what it holds now.
    pub(crate) fn take_over(
        &mut self,
        function: &[u8],
        (by, seq): (ReplicaId, u64),
        writers: &[(ReplicaId, u64)],
        known: &Known<'_>,
        holds: impl Fn(&Place) -> Facts,
    ) {
        for (place, edits) in self.edits.iter_mut().filter(|(place, _)| *place.0 == *function) {
            let mut taken = Edit::by(by, seq);
            let held = holds(place);
            let paths: BTreeSet<Vec<u8>> = edits
                .iter()
                .flat_map(|edit| &edit.counted)
                .map(|(path, ..)| path.clone())
                .collect();
            for path in paths {
                let mut sums = BTreeSet::from([0]);
                // What is still there was fetched ahead of what is known: it is not taken over.
                let is_taken = |writer| !held.counts.contains_key(&(path.clone(), writer));
                for (writer, last) in writers.iter().filter(|(writer, _)| is_taken(*writer)) {
                    let counts = allowed(edits, &path, *writer, known);
                    sums =
                        sums.iter().flat_map(|sum| counts.iter().map(move |n| sum + n)).collect();
                    taken.covered.push((path.clone(), *writer, (1, *last)));
                }
                let own = allowed(edits, &path, by, known);
                let now = held.counts.get(&(path.clone(), by)).copied();
                // The event that counted it is that of the entry.
                let (_, at, now) = now.unwrap_or((0, seq, 0));
                let fits = sums.iter().find(|sum| own.contains(&(now - **sum)));
                let sum = fits.or(sums.first()).copied().unwrap_or(0);
                taken.counted.push((path, at, sum));
            }
            if place.3 == Type::Hll {
                let perhaps = edits.iter().filter(|edit| known.may_have(edit.by, edit.seq));
                let gone: Vec<&Fact> = perhaps.flat_map(|edit| &edit.removed).collect();
                let all = edits.iter().flat_map(|edit| &edit.added);
                let is_gone = |fact: &Fact| registers::among(gone.iter().copied(), fact);
                let adopted = registers::adopted(all, &held.dots, (by, writers), is_gone);
                let (own, theirs) = adopted.unwrap_or_else(|wrong| panic!("{place:?}: {wrong}"));
                (taken.added, taken.removed) = (own, theirs);
            }
            if !taken.covered.is_empty() || !taken.removed.is_empty() {
                edits.push(taken);
            }
        }
    }

    pub(crate) fn places(&self) -> impl Iterator<Item = &Place> {
        self.edits.keys()
    }

    /// Says what is wrong with `held` at `place`, on a node that knows `known`.
    pub(crate) fn check(
        &self,
        place: &Place,
        held: &Facts,
        known: &Known<'_>,
    ) -> Result<(), String> {
        let edits = self.edits.get(place).map_or(&[][..], Vec::as_slice);
        let sure: Vec<&Edit> = edits.iter().filter(|edit| known.has(edit.by, edit.seq)).collect();
        let perhaps: Vec<&Edit> =
            edits.iter().filter(|edit| known.may_have(edit.by, edit.seq)).collect();
        let gone_for_sure: BTreeSet<&Fact> = sure.iter().flat_map(|edit| &edit.removed).collect();
        let gone_perhaps: BTreeSet<&Fact> = perhaps.iter().flat_map(|edit| &edit.removed).collect();
        let is_in = |facts: &BTreeSet<&Fact>, fact: &Fact| {
            facts.contains(fact) || registers::among(facts.iter().copied(), fact)
        };
        for fact in edits.iter().flat_map(|edit| &edit.added) {
            if known.has(fact.1, fact.2)
                && !is_in(&gone_perhaps, fact)
                && !held.dots.contains(fact)
                && !registers::among(held.dots.iter(), fact)
            {
                return Err(format!("lost: {}", show(fact)));
            }
        }
        let all: BTreeSet<&Fact> = edits.iter().flat_map(|edit| &edit.added).collect();
        for fact in held.dots.iter().filter(|fact| registers::is(fact)) {
            // What was added, perhaps under an earlier event of its writer.
            let added = || all.iter().filter(|one| one.0 == fact.0 && registers::says(fact, one));
            if added().next().is_none() {
                return Err(format!("made up: {}", show(fact)));
            }
            if added().all(|one| is_in(&gone_for_sure, one)) {
                return Err(format!("came back: {}", show(fact)));
            }
        }
        for fact in held.dots.iter().filter(|fact| !registers::is(fact)) {
            if !all.contains(fact) {
                return Err(format!("made up: {}", show(fact)));
            }
            if gone_for_sure.contains(fact) {
                return Err(format!("came back: {}", show(fact)));
            }
        }
        let mut paths: BTreeSet<(Vec<u8>, ReplicaId)> = held.counts.keys().cloned().collect();
        for edit in edits {
            paths.extend(edit.counted.iter().map(|(path, ..)| (path.clone(), edit.by)));
        }
        for (path, writer) in paths {
            let allowed = allowed(edits, &path, writer, known);
            let count = held.counts.get(&(path.clone(), writer)).map_or(0, |(.., count)| *count);
            if !allowed.contains(&count) {
                let path = path.escape_ascii();
                return Err(format!("{path} of {:x}: {count} instead of {allowed:?}", writer.0));
            }
        }
        Ok(())
    }
}

/// What one writer may have counted there, on a node that knows `known`.
fn allowed(edits: &[Edit], path: &[u8], writer: ReplicaId, known: &Known<'_>) -> BTreeSet<i128> {
    let sure: Vec<&Edit> = edits.iter().filter(|edit| known.has(edit.by, edit.seq)).collect();
    let perhaps: Vec<&Edit> =
        edits.iter().filter(|edit| known.may_have(edit.by, edit.seq)).collect();
    let mut amounts: Vec<(u64, i128)> = edits
        .iter()
        .filter(|edit| edit.by == writer)
        .flat_map(|edit| &edit.counted)
        .filter(|(of, ..)| *of == path)
        .map(|(_, seq, amount)| (*seq, *amount))
        .collect();
    amounts.sort_unstable();
    let covers = |edits: &[&Edit]| -> Vec<(u64, u64)> {
        let all = edits.iter().flat_map(|edit| &edit.covered);
        all.filter(|(of, who, _)| (of.as_slice(), *who) == (path, writer))
            .map(|(.., at)| *at)
            .collect()
    };
    let covered = covers(&sure);
    let gone = |seq: u64| covered.iter().any(|(first, last)| (*first..=*last).contains(&seq));
    // What was taken away before the first by an edit that was lost may be here, or not.
    let mut floors = vec![0];
    floors.extend(covers(&perhaps).into_iter().map(|(_, last)| last));
    floors.extend(covered.iter().map(|(first, _)| first - 1));
    let upto = known.vector.get(&writer).copied().unwrap_or(0);
    let mut cuts = vec![upto];
    if !known.living.contains(&writer) {
        cuts.extend(amounts.iter().map(|(seq, _)| *seq).filter(|seq| *seq > upto));
    }
    let mut allowed: BTreeSet<i128> = BTreeSet::new();
    for (floor, cut) in floors.iter().flat_map(|f| cuts.iter().map(move |cut| (*f, *cut))) {
        let within = amounts.iter().filter(|(seq, _)| *seq > floor && *seq <= cut && !gone(*seq));
        allowed.insert(within.map(|(_, amount)| *amount).sum());
    }
    allowed
}

fn show((path, writer, seq): &Fact) -> String {
    format!("{} made by {:x} as event {seq}", path.escape_ascii(), writer.0)
}
