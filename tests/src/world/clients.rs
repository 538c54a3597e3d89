//! The clients of a simulated world: what they do, and that they see it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use miso_replication::node::Input;
use miso_replication::{Ask, AskId, Time};
use miso_store::crdt::plain::hll::Registers;
use miso_store::crdt::plain::items::Mode;
use miso_store::crdt::plain::{FOREVER, fixed};
use miso_store::crdt::{Type, kind};
use miso_store::{Function, ShardGuard, Shown};

use super::checks::facts;
use super::oracle::{Facts, Known, Place};
use super::{FUNCTIONS, MS, SECOND, World};

impl World {
    /// A client does something on some node.
    pub(super) fn client(&mut self) {
        let Some(at) = self.some_host() else { return };
        if self.hosts[at].leaving.is_some() {
            return;
        }
        let name = Bytes::from_static(FUNCTIONS[self.pick(2)]);
        if !self.hosts[at].runs.contains_key(&name) {
            self.begin(at, &name);
        }
        let function = self.hosts[at].store.function(&name);
        let object = format!("o{}", self.rng.below(4)).into_bytes();
        let until = Some(Time(self.now + SECOND));
        match self.rng.below(100) {
            0..4 => {
                let id = AskId(self.id());
                self.waits.insert(id, (at, name.clone(), function.seq()));
                let peers = 1 + self.pick(3);
                let ask =
                    Ask::Wait { function: name, seq: function.seq(), peers, durable: false, until };
                self.drive(at, vec![Input::Ask { id, ask }]);
                return;
            }
            4..8 if function.restoring() => {
                let id = AskId(self.id());
                let until = Time(self.now + 200 * MS);
                let object = Bytes::from(object);
                let ask = Ask::Fetch { function: name, object, name: None, until };
                self.drive(at, vec![Input::Ask { id, ask }]);
                return;
            }
            8 => {
                let id = AskId(self.id());
                let until = Time(self.now + 2 * SECOND);
                let ask = Ask::Sync { function: Some(name), until };
                self.drive(at, vec![Input::Ask { id, ask }]);
                return;
            }
            9 => {
                let other = self.pick(self.hosts.len());
                let vector = self.hosts[other].store.function(&name).token();
                let id = AskId(self.id());
                let ask = Ask::Await { function: name, vector, until };
                self.drive(at, vec![Input::Ask { id, ask }]);
                return;
            }
            10 => {
                self.expire(at, &function);
                return;
            }
            11..25 => return self.write_once(at, &name),
            25..35 => return self.move_key(at, &name),
            _ => {}
        }
        let kinds = Type::ALL.len() - 1; // but for the store's own
        let kind = Type::ALL[self.pick(kinds)];
        // Sometimes the same name with any type, or the same key.
        let any = self.percent(10);
        let own = if any { b"any".to_vec() } else { kind.name().as_bytes().to_vec() };
        let (object, slot) = if kind.is_plain() {
            ([b"key:", own.as_slice()].concat(), Vec::new())
        } else {
            (object, own)
        };
        for _ in 0..1 + self.rng.below(3) {
            self.edit(at, &function, (name.clone(), object.clone(), slot.clone(), kind));
        }
        self.hosts[at].store.commit().expect("disks do not fail here");
        self.check_own(at);
        self.drive(at, Vec::new());
    }

    pub(super) fn edit(&mut self, at: usize, function: &Function, place: Place) {
        let before = facts(function, &place);
        let of_kind = |kind: &Type| (place.0.clone(), place.1.clone(), place.2.clone(), *kind);
        let kinds = Type::ALL.iter().filter(|kind| kind.is_plain() == place.3.is_plain());
        let all_before: Vec<(Place, Facts)> =
            kinds.map(of_kind).map(|at| (at.clone(), facts(function, &at))).collect();
        let (_, object, name, kind) = &place;
        let hash = miso_store::hash(object);
        let key = (hash, object.as_slice(), name.as_slice());
        let e = [b'a' + self.rng.below(3) as u8];
        let field = [b'f' + self.rng.below(2) as u8];
        let (dice, n) = (self.rng.below(10), 1 + self.rng.below(100));
        let word = format!("{n}").into_bytes();
        let mut amount = None;
        let mut shard = function.lock(function.shard_of(hash));
        // The server lets these wait.
        let resets =
            dice == 0 || kind.is_plain() || (*kind == Type::OrMap && !(4..7).contains(&dice));
        if resets && function.deletes_paused() {
            return;
        }
        let done = match (kind, dice) {
            (_, 0) => Some(shard.delete(hash, object, name)),
            (Type::GCounter, _) => {
                amount = Some((Vec::new(), i128::from(n)));
                let add = shard.write::<kind::GCounter, _>(key, |c, mint, _| c.add(n, 0, mint));
                add.ok().map(|(added, _)| added.is_ok())
            }
            (Type::PnCounter, _) => {
                let (p, m) = if dice < 5 { (n, 0) } else { (0, n) };
                amount = Some((Vec::new(), i128::from(p) - i128::from(m)));
                let add = shard.write::<kind::PnCounter, _>(key, |c, mint, _| c.add(p, m, mint));
                add.ok().map(|(added, _)| added.is_ok())
            }
            (Type::GSet, _) => shard
                .write::<kind::GSet, _>(key, |s, mint, d| s.add(&e, mint, d))
                .ok()
                .map(|_| true),
            (Type::OrSet, 1..6) => shard
                .write::<kind::OrSet, _>(key, |s, mint, d| s.add(&e, mint, d))
                .ok()
                .map(|_| true),
            (Type::OrSet, _) => shard
                .modify::<kind::OrSet, _>(key, |s, mint, d| s.remove(&e, mint, d))
                .ok()
                .map(|_| true),
            (Type::MvRegister, _) => shard
                .write::<kind::MvRegister, _>(key, |r, mint, d| r.set(&word, mint, d))
                .ok()
                .map(|_| true),
            (Type::EwFlag, 1..6) => shard
                .write::<kind::EwFlag, _>(key, |f, mint, d| f.enable(mint, d))
                .ok()
                .map(|_| true),
            (Type::EwFlag, _) => shard
                .modify::<kind::EwFlag, _>(key, |f, mint, d| f.disable(mint, d))
                .ok()
                .map(|_| true),
            (Type::OrMap, 1..4) => shard
                .write::<kind::OrMap, _>(key, |m, mint, d| m.set(&field, &word, mint, d))
                .ok()
                .map(|_| true),
            (Type::OrMap, 4..7) => {
                amount = Some((field.to_vec(), i128::from(n)));
                let writers = shard.shared_writers();
                let add = shard.write::<kind::OrMap, _>(key, |m, mint, d| {
                    m.add(&field, n as i64, &writers, mint, d)
                });
                add.ok().map(|(added, _)| added.is_ok())
            }
            (Type::OrMap, _) => shard
                .modify::<kind::OrMap, _>(key, |m, mint, d| m.remove(&field, mint, d))
                .ok()
                .map(|_| true),
            _ => {
                let edit = PlainEdit { kind: *kind, dice, n, element: e, word: &word };
                edit.run(&mut shard, (hash, object), &mut amount)
            }
        };
        drop(shard);
        if done != Some(true) {
            return; // the name holds another type, or there was nothing to do
        }
        if dice == 0 {
            // All types under the name go.
            for (place, was) in all_before {
                let (by, now) = ((self.hosts[at].replica, function.seq()), Facts::default());
                if was != now {
                    self.oracle.record(place, by, &was, &now, None);
                }
            }
        } else {
            let after = facts(function, &place);
            let by = (self.hosts[at].replica, function.seq());
            self.oracle.record(place.clone(), by, &before, &after, amount);
        }
        self.say(|| format!("n{at} {place:?} {dice} {n} -> {}", function.seq()));
    }

    /// A node takes back what has expired: an edit, as a client's is.
    fn expire(&mut self, at: usize, function: &Arc<Function>) {
        let plain = |place: &&Place| *place.0 == *function.name() && place.3.is_plain();
        let places: Vec<Place> = self.oracle.places().filter(plain).cloned().collect();
        let before: Vec<Facts> = places.iter().map(|place| facts(function, place)).collect();
        while function.expire().more {}
        let by = (self.hosts[at].replica, function.seq());
        for (place, before) in places.into_iter().zip(before) {
            let after = facts(function, &place);
            if before != after {
                self.oracle.record(place, by, &before, &after, None);
            }
        }
        self.say(|| format!("n{at} takes back what has expired -> {}", by.1));
        self.hosts[at].store.commit().expect("disks do not fail here");
        self.check_own(at);
        self.drive(at, Vec::new());
    }

    /// A node's clients see what they did.
    pub(super) fn check_own(&self, at: usize) {
        let host = &self.hosts[at];
        for function in host.store.functions() {
            self.check_whole(at, &function);
            let vector = BTreeMap::from([(host.replica, function.seq())]);
            // Of others nothing is sure here.
            let living = BTreeSet::from([host.replica]);
            let known = Known { vector: &vector, living: &living };
            for place in self.oracle.places().filter(|place| *place.0 == *function.name()) {
                if let Err(wrong) = self.oracle.check(place, &facts(&function, place), &known) {
                    panic!("n{at} {place:?}, to its own clients: {wrong}");
                }
            }
        }
    }
}

/// What a client does to a plain key.
struct PlainEdit<'a> {
    kind: Type,
    dice: u64,
    n: u64,
    element: [u8; 1],
    word: &'a [u8],
}

impl PlainEdit<'_> {
    /// Does it; none if the key holds something else. `amount` is where it counts, and how much.
    fn run(
        &self,
        shard: &mut ShardGuard<'_>,
        key: (u64, &[u8]),
        amount: &mut Option<(Vec<u8>, i128)>,
    ) -> Option<bool> {
        let now = shard.function().now();
        let (e, n) = (&self.element[..], self.n as i64);
        macro_rules! write {
            ($kind:ident, $update:expr) => {
                shard.write_plain::<kind::$kind, _>(key, now, $update).ok()
            };
        }
        let mut counts = |path: &[u8]| {
            *amount = Some((path.to_vec(), fixed::of_integer(n)));
        };
        // Some expire soon.
        let until = if self.n < 30 { now + 100 * self.n } else { FOREVER };
        if self.dice == 9 && self.n < 50 {
            let shown = shard.shown(key.0, key.1, now);
            let is_own = matches!(shown, Some(Shown::Plain(value)) if value.kind() == self.kind);
            return is_own.then(|| shard.expire_plain(key, now, now + 100 * self.n).ok())?;
        }
        match (self.kind, self.dice) {
            (Type::PlainString, 1..4) => {
                write!(PlainString, |s, _, mint, d| s.set(self.word, until, mint, d))?;
            }
            (Type::PlainString, _) => {
                write!(PlainString, |s, at, mint, d| s.add(n, at, mint, d).is_ok())?;
                counts(b"");
            }
            (Type::PlainHash, 1..4) => {
                let field = (e, self.word, until);
                write!(PlainHash, |h, at, mint, d| h.set(field, at, mint, d))?;
            }
            (Type::PlainHash, 4..8) => {
                write!(PlainHash, |h, at, mint, d| h.add((e, n), at, mint, d).is_ok())?;
                counts(e);
            }
            (Type::PlainHash, _) => {
                write!(PlainHash, |h, at, mint, d| h.remove(e, at, mint, d))?;
            }
            (Type::PlainSet, 1..6) => {
                write!(PlainSet, |s, at, mint, d| s.add(e, at, mint, d))?;
            }
            (Type::PlainSet, _) => {
                write!(PlainSet, |s, at, mint, d| s.remove(e, at, mint, d))?;
            }
            (Type::PlainZSet, 1..4) => {
                let member = (e, self.n as f64, Mode::Set);
                write!(PlainZSet, |z, at, mint, d| z.set(member, at, mint, d))?;
            }
            (Type::PlainZSet, 4..8) => {
                write!(PlainZSet, |z, at, mint, d| z.add((e, n as f64), at, mint, d).is_ok())?;
                counts(e);
            }
            (Type::PlainZSet, _) => {
                write!(PlainZSet, |z, at, mint, d| z.remove(e, at, mint, d))?;
            }
            _ => {
                let some = Registers::of([e]);
                write!(Hll, |h, at, mint, d| h.add(&some, at, mint, d))?;
            }
        }
        Some(true)
    }
}
