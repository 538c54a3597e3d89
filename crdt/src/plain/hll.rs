//! A HyperLogLog: how many different elements were added, in 16 384 registers.
//!
//! Register-wise maximum alone would bring deleted elements back. So what is added within an interval
//! is a sketch under a dot of its own, and a delete takes the sketches that it has seen: of
//! `PFADD e2` beside a `DEL` exactly e2 is left.
//!
//! Sketches do not pile up, for three reasons:
//!
//! - A register that a later sketch of the same writer has, too, is dropped from the earlier one at once
//!   ([`Item::settle`]): a delete that has seen the later one has seen both. So a delete goes by a writer's
//!   whole past, and never names a single sketch.
//! - Once every node has a writer's sketches, no delete can take one without the others, and they become
//!   one ([`Hll::fold`]), under the newest of their dots.
//! - The sketches of writers that are retired are adopted by plain events, as counts are
//!   ([`crate::Crdt::adopt`]). Sketches of different writers never become one otherwise: a node that
//!   fetched what is left of two could delete it, and would not take what another node still holds apart.
//!
//! Hash, registers and estimate are Redis's, so that the same elements count the same. Source of the
//! estimate: Ertl 2017, new cardinality estimation algorithms for HyperLogLog sketches.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use super::Moment;
use super::cell::Cell;
use super::items::{Dotted, Item, decode_deadline, digest_words, encode_deadline};
use super::keyed::{Element, Keyed, KeyedDelta};
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::context::{Events, Writers};
use crate::dot::{Dot, Writer};

/// How many bits of a hash choose the register.
const BITS: u32 = 14;
/// How many registers there are.
const REGISTERS: usize = 1 << BITS;
/// The greatest rank: one more than the bits that are left.
const RANK_MAX: u8 = 64 - BITS as u8 + 1;
/// Up to this many registers stand in a list; beyond, all do.
const FEW: usize = 2_048;

/// Registers with their ranks, those of rank 0 left out of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Registers {
    /// `register << 8 | rank`, in order.
    Few(Vec<u32>),
    /// By register.
    All(Box<[u8]>),
}

impl Default for Registers {
    fn default() -> Registers {
        Registers::Few(Vec::new())
    }
}

/// Register and rank of an element.
fn place(element: &[u8]) -> (u16, u8) {
    let hash = murmur(element, 0xadc8_3b19);
    let rest = hash >> BITS | 1 << (64 - BITS);
    ((hash & (REGISTERS as u64 - 1)) as u16, rest.trailing_zeros() as u8 + 1)
}

/// MurmurHash2, 64 bits: what Redis hashes elements by.
fn murmur(bytes: &[u8], seed: u64) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(M);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let mut k = u64::from_le_bytes(*word).wrapping_mul(M);
        k = (k ^ k >> 47).wrapping_mul(M);
        hash = (hash ^ k).wrapping_mul(M);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        hash = (hash ^ tail).wrapping_mul(M);
    }
    hash = (hash ^ hash >> 47).wrapping_mul(M);
    hash ^ hash >> 47
}

impl Registers {
    /// Of some elements.
    #[must_use]
    pub fn of<'a>(elements: impl IntoIterator<Item = &'a [u8]>) -> Registers {
        let mut registers = Registers::default();
        elements.into_iter().map(place).for_each(|(at, rank)| _ = registers.raise(at, rank));
        registers
    }

    /// Raises a register; whether it was lower.
    fn raise(&mut self, register: u16, rank: u8) -> bool {
        match self {
            Registers::All(ranks) => {
                let held = &mut ranks[usize::from(register)];
                let lower = *held < rank;
                *held = rank.max(*held);
                lower
            }
            Registers::Few(list) => {
                let new = u32::from(register) << 8 | u32::from(rank);
                match list.binary_search_by_key(&register, |entry| (entry >> 8) as u16) {
                    Ok(at) => {
                        let lower = list[at] < new;
                        list[at] = new.max(list[at]);
                        lower
                    }
                    Err(at) => {
                        list.insert(at, new);
                        self.settle();
                        true
                    }
                }
            }
        }
    }

    /// Takes the form that their number asks for: the same registers have one form.
    fn settle(&mut self) {
        match self {
            Registers::Few(list) if list.len() > FEW => {
                let mut ranks = vec![0; REGISTERS];
                list.iter().for_each(|entry| ranks[(entry >> 8) as usize] = *entry as u8);
                *self = Registers::All(ranks.into_boxed_slice());
            }
            Registers::All(ranks) if ranks.iter().filter(|rank| **rank > 0).count() <= FEW => {
                let list = self.iter().map(|(at, rank)| u32::from(at) << 8 | u32::from(rank));
                *self = Registers::Few(list.collect());
            }
            _ => {}
        }
    }

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Forgets the registers of which `goes` says so.
    fn forget(&mut self, mut goes: impl FnMut(u16, u8) -> bool) {
        match self {
            Registers::Few(list) => {
                list.retain(|entry| !goes((entry >> 8) as u16, *entry as u8));
                if list.capacity() > 2 * list.len() + 4 {
                    list.shrink_to_fit();
                }
            }
            Registers::All(ranks) => {
                let held = (0u16..).zip(ranks.iter_mut()).filter(|(_, rank)| **rank > 0);
                held.filter(|(at, rank)| goes(*at, **rank)).for_each(|(_, rank)| *rank = 0);
                self.settle();
            }
        }
    }

    /// Forgets what `other` has, too.
    fn forget_of(&mut self, other: &Registers) {
        match (&*self, other) {
            // A few of many: only they are looked at.
            (Registers::Few(mine), Registers::Few(theirs)) if theirs.len() * 16 < mine.len() => {
                for (register, rank) in other.iter() {
                    self.forget_one(register, rank);
                }
            }
            (Registers::All(_), Registers::Few(_)) => {
                let mut any = false;
                for (register, rank) in other.iter() {
                    any |= self.forget_one(register, rank);
                }
                if any {
                    self.settle();
                }
            }
            _ => self.forget(|register, rank| other.rank(register) >= rank),
        }
    }

    /// Forgets a register whose rank is not above `rank`; whether there was one.
    fn forget_one(&mut self, register: u16, rank: u8) -> bool {
        match self {
            Registers::Few(list) => {
                let found = list.binary_search_by_key(&register, |entry| (entry >> 8) as u16);
                let found = found.ok().filter(|at| list[*at] as u8 <= rank);
                found.map(|at| list.remove(at)).is_some()
            }
            Registers::All(ranks) => {
                let held = &mut ranks[usize::from(register)];
                let goes = (1..=rank).contains(held);
                if goes {
                    *held = 0;
                }
                goes
            }
        }
    }

    fn rank(&self, register: u16) -> u8 {
        match self {
            Registers::All(ranks) => ranks[usize::from(register)],
            Registers::Few(list) => list
                .binary_search_by_key(&register, |entry| (entry >> 8) as u16)
                .map_or(0, |at| list[at] as u8),
        }
    }

    /// The registers that are not 0, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u16, u8)> + '_ {
        let (few, all) = match self {
            Registers::Few(list) => (list.as_slice(), &[][..]),
            Registers::All(ranks) => (&[][..], &**ranks),
        };
        let few = few.iter().map(|entry| ((entry >> 8) as u16, *entry as u8));
        few.chain((0u16..).zip(all.iter().copied()).filter(|(_, rank)| *rank > 0))
    }

    /// Joins others; whether any register was lower.
    pub fn join(&mut self, other: &Registers) -> bool {
        other.iter().fold(false, |new, (register, rank)| self.raise(register, rank) | new)
    }

    /// Whether `other` would raise none.
    pub(super) fn covers(&self, other: &Registers) -> bool {
        other.iter().all(|(register, least)| self.rank(register) >= least)
    }

    /// About how many different elements were added.
    #[must_use]
    pub fn count(&self) -> u64 {
        let mut histogram = [0u32; RANK_MAX as usize + 1];
        let mut empty = REGISTERS as u32;
        for (_, rank) in self.iter() {
            histogram[usize::from(rank.min(RANK_MAX))] += 1;
            empty -= 1;
        }
        let m = REGISTERS as f64;
        let mut z = m * tau((m - f64::from(histogram[usize::from(RANK_MAX)])) / m);
        for ranks in histogram[1..usize::from(RANK_MAX)].iter().rev() {
            z = (z + f64::from(*ranks)) * 0.5;
        }
        z += m * sigma(f64::from(empty) / m);
        // 1 / (2 ln 2), Ertl's constant for many registers.
        (0.721_347_520_444_481_7 * m * m / z + 0.5) as u64
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Registers::Few(list) => list.capacity() * size_of::<u32>(),
            Registers::All(_) => REGISTERS,
        }
    }
}

/// Ertl's correction for registers that are 0.
fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if before == z {
            return z;
        }
    }
}

/// Ertl's correction for registers that are full.
fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = root(x);
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if before == z {
            return z / 3.0;
        }
    }
}

/// The square root of a number between 0 and 1, by Newton's method: `core` has none.
fn root(x: f64) -> f64 {
    let mut root = 1.0f64;
    for _ in 0..64 {
        let next = 0.5 * (root + x / root);
        if next >= root {
            break;
        }
        root = next;
    }
    root
}

/// What was added under one dot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sketch {
    dot: Dot,
    /// The key's deadline then.
    under: u64,
    registers: Registers,
}

impl Sketch {
    /// The registers that were added under its dot, and that no later sketch of its writer has, too.
    #[must_use]
    pub fn registers(&self) -> &Registers {
        &self.registers
    }
}

impl Dotted for Sketch {
    const LEAST: usize = 4;

    fn dot(&self) -> Dot {
        self.dot
    }

    // Where one side has folded others into it, or dropped what later ones say, they differ.
    fn merge(&mut self, other: &Sketch) -> bool {
        self.registers.join(&other.registers)
    }

    fn encode(&self, to: &mut Encoder) {
        to.dot(self.dot);
        encode_deadline(self.under, to);
        to.count(self.registers.iter().count());
        let mut next = 0;
        for (register, rank) in self.registers.iter() {
            to.varint(u64::from(register - next));
            to.byte(rank);
            next = register + 1;
        }
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Sketch, DecodeError> {
        let (dot, under) = (from.dot()?, decode_deadline(from)?);
        let count = from.count(2)?;
        let mut list = Vec::with_capacity(count.min(REGISTERS));
        let mut next = 0;
        for _ in 0..count {
            let register = next + from.varint()?.min(REGISTERS as u64);
            let rank = from.byte()?;
            if register >= REGISTERS as u64 || !(1..=RANK_MAX).contains(&rank) {
                return Err(DecodeError::Invalid("register"));
            }
            list.push((register as u32) << 8 | u32::from(rank));
            next = register + 1;
        }
        let mut registers = Registers::Few(list);
        registers.settle();
        Ok(Sketch { dot, under, registers })
    }

    fn digest(&self) -> u64 {
        let words = self.registers.iter().map(|(at, rank)| u64::from(at) << 8 | u64::from(rank));
        digest_words(&words.collect::<Vec<u64>>())
    }

    fn heap_bytes(&self) -> usize {
        self.registers.heap_bytes()
    }
}

impl Item for Sketch {
    fn under(&self) -> u64 {
        self.under
    }

    const FOLDS: bool = true;

    fn settle(values: &mut Vec<Sketch>, new: &[Sketch]) {
        if new.len() <= ONE_BY_ONE {
            for new in new {
                let Ok(at) = values.binary_search_by_key(&new.dot, |sketch| sketch.dot) else {
                    continue;
                };
                let (before, rest) = values.split_at_mut(at);
                let Some((new, after)) = rest.split_first_mut() else { continue };
                let newer = after.iter().filter(|newer| newer.outlasts(new)).collect::<Vec<_>>();
                newer.iter().for_each(|newer| new.registers.forget_of(&newer.registers));
                let older = before.iter_mut().rev();
                let own = older.take_while(|old| old.dot.writer() == new.dot.writer());
                own.filter(|old| new.outlasts(old))
                    .for_each(|old| old.registers.forget_of(&new.registers));
            }
        } else {
            settle_all(values);
        }
        drop_empty(values);
    }

    fn adopted(old: &[Sketch], mut next: impl FnMut() -> Dot) -> Vec<Sketch> {
        let mut new: Vec<Sketch> = Vec::new();
        for sketch in old {
            match new.iter_mut().find(|new| new.under == sketch.under) {
                Some(new) => _ = new.registers.join(&sketch.registers),
                None => new.push(Sketch { dot: next(), ..sketch.clone() }),
            }
        }
        new
    }
}

/// Up to this many sketches that have come are looked at one by one, more all at once.
const ONE_BY_ONE: usize = 8;

impl Sketch {
    /// Whether it is a later one of the same writer, and there as long as `old` is.
    fn outlasts(&self, old: &Sketch) -> bool {
        self.dot.writer() == old.dot.writer()
            && self.dot.seq() > old.dot.seq()
            && self.under >= old.under
    }
}

/// Drops all registers that later sketches of the same writers have.
fn settle_all(values: &mut [Sketch]) {
    // By register, what later ones of the writer say: a rank, and the deadline under which it stands.
    let mut later: BTreeMap<u16, Vec<(u8, u64)>> = BTreeMap::new();
    let mut writer = None;
    for sketch in values.iter_mut().rev() {
        if writer.replace(sketch.dot.writer()) != Some(sketch.dot.writer()) {
            later.clear();
        }
        let under = sketch.under;
        sketch.registers.forget(|register, rank| {
            let said = later.entry(register).or_default();
            let goes = said.iter().any(|(other, until)| *other >= rank && *until >= under);
            if !goes {
                said.retain(|(other, until)| *other > rank || *until > under);
                said.push((rank, under));
            }
            goes
        });
    }
}

/// Drops sketches that have nothing left to say. The newest of a writer stays, as it says that the key is there.
fn drop_empty(values: &mut Vec<Sketch>) {
    let mut longest: Option<(Writer, u64)> = None;
    for at in (0..values.len()).rev() {
        let sketch = &values[at];
        let (writer, under) = (sketch.dot.writer(), sketch.under);
        let later = longest.filter(|(of, _)| *of == writer).map(|(_, until)| until);
        if later.is_some_and(|until| until >= under) && sketch.registers.is_empty() {
            values.remove(at);
        } else {
            longest = Some((writer, later.unwrap_or(0).max(under)));
        }
    }
}

/// A HyperLogLog: the sketches stand in one cell under the empty name.
pub type Hll = Keyed<Sketch>;

/// A change of a HyperLogLog.
pub type HllDelta = KeyedDelta<Sketch>;

impl Element for Sketch {
    type Index = ();
    type Place = ();

    fn place(_: &Cell<Sketch>) -> Option<()> {
        None
    }

    fn moved(_: &mut (), _: &[u8], _: Option<()>, _: Option<()>) {}
}

impl Hll {
    /// The registers of all that was added and is there at `now`; none if the key is absent.
    #[must_use]
    pub fn registers(&self, now: u64, writers: &Writers) -> Option<Registers> {
        let (cell, key) = self.cell(b"", now, writers)?;
        let mut all = Registers::default();
        let shown = cell.values().iter().filter(|sketch| key.hold.shows(sketch.under, now));
        shown.for_each(|sketch| _ = all.join(&sketch.registers));
        Some(all)
    }

    /// Adds elements, or none to create the key; whether the count may have changed, or the key is
    /// new. What is there already still counts against a concurrent delete.
    pub fn add<E: Events>(
        &mut self,
        added: &Registers,
        moment: &Moment<'_>,
        events: &mut E,
        mut change: Option<&mut HllDelta>,
    ) -> bool {
        let old = self.registers(moment.now, moment.writers);
        if old.is_some() && added.iter().next().is_none() {
            return false;
        }
        let changed = old.is_none_or(|old| !old.covers(added));
        let key = self.begin(moment, events, change.as_deref_mut());
        let (under, mut change) = (key.under, change.map(|change| change.cell(b"")));
        self.touch(b"", |cell| {
            cell.edit(|full| {
                let stands =
                    |sketch: &&mut Sketch| sketch.under == under && events.unsent(sketch.dot);
                let sketch = match full.values.iter_mut().find(stands) {
                    // Its dot stands for all that is added in this interval.
                    Some(sketch) => {
                        sketch.registers.join(added);
                        sketch.clone()
                    }
                    None => {
                        let sketch = Sketch { dot: events.next(), under, registers: added.clone() };
                        let at = full.values.partition_point(|other| other.dot < sketch.dot);
                        full.values.insert(at, sketch.clone());
                        sketch
                    }
                };
                change.iter_mut().for_each(|change| change.add_value(sketch.clone()));
                Sketch::settle(&mut full.values, &[sketch]);
            });
        });
        changed
    }

    /// Whether it has sketches that [`Hll::fold`] may make one of, now or later.
    #[must_use]
    pub fn is_foldable(&self) -> bool {
        let sketches = self.cells().get(b"").map_or(&[][..], Cell::values);
        let mut seen: Vec<(Writer, u64)> = Vec::new();
        sketches.iter().any(|sketch| {
            let of = (sketch.dot.writer(), sketch.under);
            let again = seen.contains(&of);
            seen.push(of);
            again
        })
    }

    /// How many sketches it is made of.
    #[must_use]
    pub fn sketches(&self) -> usize {
        self.cells().get(b"").map_or(0, |cell| cell.values().len())
    }

    /// Makes one of the sketches of each writer that `stable` says every node has, and has said so in its
    /// stream after all that it deleted before. Whether anything was done.
    pub fn fold(&mut self, stable: impl Fn(Dot) -> bool) -> bool {
        let before = self.sketches();
        if before < 2 {
            return false;
        }
        self.touch(b"", |cell| {
            cell.edit(|full| {
                // From the newest on, so that a writer's sketches come after the one that takes them.
                let mut folded: Vec<Sketch> = Vec::new();
                for sketch in core::mem::take(&mut full.values).into_iter().rev() {
                    let takes = |newer: &&mut Sketch| {
                        newer.dot.writer() == sketch.dot.writer()
                            && newer.under == sketch.under
                            && stable(newer.dot)
                    };
                    let newer = folded.iter_mut().rev().find(takes);
                    match newer.filter(|_| stable(sketch.dot)) {
                        Some(newer) => _ = newer.registers.join(&sketch.registers),
                        None => folded.push(sketch),
                    }
                }
                folded.reverse();
                full.values = folded;
                if full.values.len() < before {
                    settle_all(&mut full.values);
                    drop_empty(&mut full.values);
                }
            });
        });
        self.sketches() < before
    }
}
