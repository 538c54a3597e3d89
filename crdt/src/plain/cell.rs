//! A cell: what stands under one name of a plain value. A string is one cell, a hash one for each
//! field, a sorted set one for each member.
//!
//! It holds values, each under the dot of its write, of which no later write has seen; counts on top
//! ([`counts`]); and the terms of its own deadline ([`deadline`]). In the usual case that is one
//! value or one writer's integer count, and takes no allocation of its own.
//!
//! [`counts`]: super::counts
//! [`deadline`]: mod@super::deadline

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::FOREVER;
use super::counts::{Counts, Entry, Tag};
use super::deadline::Term;
use super::fixed;
use super::full::Full;
use super::items::{Dotted, Item};
use crate::context::{Context, Events, Seen, Writers};
use crate::crdt::Tally;
use crate::digest::fact;
use crate::dot::{Dot, Writer};

pub use super::cell_delta::CellDelta;

/// A cell; see the module for its parts.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub enum Cell<V> {
    /// Nothing is stored.
    #[default]
    None,
    /// One value, the usual case.
    One(V),
    /// One writer's integer count, which began a life and knows no deadline: the usual case of
    /// counters.
    Count {
        /// The number of the writer's first update, in 48 bits.
        birth: [u8; 6],
        /// The writer and its newest update.
        dot: Dot,
        /// The sum.
        v: i64,
    },
    /// Anything else.
    Full(Box<Full<V>>),
}

const BEGAN: Tag = Tag { fresh: true, born: 0, until: FOREVER, under: FOREVER };

fn pack(birth: u64) -> [u8; 6] {
    let [a, b, c, d, e, f, ..] = birth.to_le_bytes();
    [a, b, c, d, e, f]
}

fn unpack([a, b, c, d, e, f]: [u8; 6]) -> u64 {
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
}

impl<V: Item> Cell<V> {
    /// The values, in the order of their dots.
    #[must_use]
    pub fn values(&self) -> &[V] {
        match self {
            Cell::One(value) => core::slice::from_ref(value),
            Cell::Full(full) => &full.values,
            Cell::None | Cell::Count { .. } => &[],
        }
    }

    /// The only entry of the small form.
    fn small(&self) -> Option<Entry> {
        let Cell::Count { birth, dot, v } = self else { return None };
        let v = fixed::of_integer(*v);
        Some(Entry { dot: *dot, birth: unpack(*birth), v, floor: None, tag: BEGAN })
    }

    /// The counts of all writers, those included that are deleted and keep their floors.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        let many = if let Cell::Full(full) = self { full.counts.entries() } else { &[] };
        self.small().into_iter().chain(many.iter().copied())
    }

    /// The deadlines that have been set.
    #[must_use]
    pub fn terms(&self) -> &[Term] {
        if let Cell::Full(full) = self { &full.terms } else { &[] }
    }

    /// Whether nothing is stored.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        matches!(self, Cell::None)
    }

    /// Whether it reads as absent at any time: it holds terms and floors alone, or nothing.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        match self {
            Cell::None => true,
            Cell::One(_) | Cell::Count { .. } => false,
            Cell::Full(full) => full.values.is_empty() && !full.counts.is_live(),
        }
    }

    /// Whether a deadline of its own may end it.
    pub(super) fn is_timed(&self) -> bool {
        let value = |value: &V| value.until() != FOREVER;
        let entry = |entry: Entry| entry.live() && entry.tag.until != FOREVER;
        !self.terms().is_empty() || self.values().iter().any(value) || self.entries().any(entry)
    }

    /// The first deadline of the key that some of it was written under; [`FOREVER`] if none was.
    pub(super) fn least_under(&self) -> u64 {
        let values = self.values().iter().map(Item::under);
        let live = self.entries().filter(Entry::live).map(|entry| entry.tag.under);
        values.chain(live).min().unwrap_or(FOREVER)
    }

    /// The first deadline after `after` of any that some of it has, its own or the key's; [`FOREVER`] if
    /// there is none.
    pub(super) fn first_end(&self, after: u64) -> u64 {
        let first = |ends: [u64; 2]| ends.into_iter().filter(|end| *end > after).min();
        match self {
            Cell::None | Cell::Count { .. } => None,
            Cell::One(value) => first([value.until(), value.under()]),
            Cell::Full(full) => {
                let values = full.values.iter().map(|value| [value.until(), value.under()]);
                let live = full.counts.entries().iter().filter(|entry| entry.live());
                let entries = live.map(|entry| [entry.tag.until, entry.tag.under]);
                let terms = full.terms.iter().map(|term| [term.at, FOREVER]);
                values.chain(entries).chain(terms).filter_map(first).min()
            }
        }
        .unwrap_or(FOREVER)
    }

    /// The latest deadline that has passed at `now`, its own or the key's, that some of it was
    /// written with or under; 0 if there is none.
    pub(super) fn ended(&self, now: u64) -> u64 {
        let values = self.values().iter().flat_map(|value| [value.until(), value.under()]);
        let live = self.entries().filter(Entry::live);
        let entries = live.flat_map(|entry| [entry.tag.until, entry.tag.under]);
        let terms = self.terms().iter().map(|term| term.at);
        values.chain(entries).chain(terms).filter(|at| *at <= now).max().unwrap_or(0)
    }

    /// Changes it in its general form.
    pub(super) fn edit<R>(&mut self, edit: impl FnOnce(&mut Full<V>) -> R) -> R {
        if let Cell::Full(full) = self {
            let result = edit(full);
            let small =
                full.terms.is_empty() && full.values.len() + full.counts.entries().len() <= 1;
            if small && let Cell::Full(full) = core::mem::take(self) {
                *self = Cell::close(full);
            }
            return result;
        }
        let mut full = Box::new(Full::default());
        if let Some(entry) = self.small() {
            full.counts = Counts::one(entry);
        } else if let Cell::One(value) = core::mem::take(self) {
            full.values.push(value);
        }
        let result = edit(&mut full);
        *self = Cell::close(full);
        result
    }

    /// The smallest form.
    fn close(mut full: Box<Full<V>>) -> Cell<V> {
        if full.terms.is_empty() {
            match (full.values.as_slice(), full.counts.entries()) {
                ([], []) => return Cell::None,
                ([_], []) => return full.values.pop().map_or(Cell::None, Cell::One),
                ([], [Entry { dot, birth, v, floor: None, tag: BEGAN }]) => {
                    if let Some(v) = fixed::to_integer(*v) {
                        return Cell::Count { birth: pack(*birth), dot: *dot, v };
                    }
                }
                _ => {}
            }
        }
        Cell::Full(full)
    }

    /// Replaces all that is seen here by a value: `new` makes it of its dot and time.
    pub(super) fn set<E: Events>(
        &mut self,
        new: impl FnOnce(Dot, u64) -> V,
        events: &mut E,
        mut change: Option<&mut CellDelta<V>>,
    ) {
        if matches!(self, Cell::Full(_) | Cell::Count { .. }) {
            let change = change.as_mut().map(|change| &mut change.counts);
            self.edit(|full| full.counts.reset(events, change));
        }
        let dot = events.next();
        let value = new(dot, events.time());
        if let Some(change) = change {
            self.dots().for_each(|dot| change.supersede(dot, events));
            change.add_value(value.clone());
        }
        match self {
            Cell::Full(_) => self.edit(|full| {
                full.terms.clear();
                full.values.clear();
                full.values.push(value);
            }),
            _ => *self = Cell::One(value),
        }
    }

    /// Deletes all that is seen here, whether or not it is past its deadline; whether there was
    /// anything.
    pub(super) fn reset<E: Events>(
        &mut self,
        events: &mut E,
        mut change: Option<&mut CellDelta<V>>,
    ) -> bool {
        let dots = self.dots().next().is_some();
        if dots {
            events.next();
        }
        if let Some(change) = &mut change {
            self.dots().for_each(|dot| change.supersede(dot, events));
        }
        let counted = self.edit(|full| {
            full.values.clear();
            full.terms.clear();
            full.counts.reset(events, change.map(|change| &mut change.counts))
        });
        dots || counted
    }

    /// The dots of values and terms.
    pub(super) fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        let values = self.values().iter().map(Dotted::dot);
        values.chain(self.terms().iter().map(|term| term.dot))
    }

    /// Adds `amount` to the counts; see [`Counts::add`].
    pub(super) fn add<E: Events>(
        &mut self,
        amount: i128,
        (tag, stale): (Tag, bool),
        events: &mut E,
        change: Option<&mut CellDelta<V>>,
    ) -> Result<(), crate::Overflow> {
        // The usual case: the local writer's count goes on.
        if let (Cell::Count { dot, v, .. }, Some(n)) = (&mut *self, fixed::to_integer(amount))
            && dot.writer() == events.writer()
            && (tag.until, tag.under) == (FOREVER, FOREVER)
            && let Some(sum) = v.checked_add(n)
        {
            *v = sum;
            if !events.unsent(*dot) {
                *dot = events.next();
            }
        } else if let (Cell::None, Some(v), BEGAN) = (&*self, fixed::to_integer(amount), tag) {
            let dot = events.next();
            *self = Cell::Count { birth: pack(dot.seq()), dot, v };
        } else {
            self.edit(|full| full.counts.add(amount, (tag, stale), events))?;
        }
        if let Some(change) = change {
            self.entry(events.writer()).into_iter().for_each(|entry| change.counts.note(entry));
        }
        Ok(())
    }

    /// The entry of `writer`.
    #[must_use]
    pub fn entry(&self, writer: Writer) -> Option<Entry> {
        match self {
            Cell::Full(full) => full.counts.entry(writer).copied(),
            _ => self.small().filter(|entry| entry.dot.writer() == writer),
        }
    }

    /// Sets the deadline of the lives that are here, in place of the terms that are.
    pub(super) fn set_term<E: Events>(
        &mut self,
        at: u64,
        of: impl Iterator<Item = Dot>,
        events: &mut E,
        change: Option<&mut CellDelta<V>>,
    ) {
        let term = Term { dot: events.next(), at, of: of.collect() };
        if let Some(change) = change {
            self.terms().iter().for_each(|old| change.supersede(old.dot, events));
            change.add_term(term.clone());
        }
        self.edit(|full| full.terms = Vec::from([term]));
    }

    /// Joins a change; whether anything was new.
    pub(super) fn apply(
        &mut self,
        seen: &impl Seen,
        cleared: &Option<Context>,
        change: &CellDelta<V>,
    ) -> bool {
        // The usual cases without an allocation: a first value, or one in place of another.
        if !V::FOLDS
            && let ([value], true) = (change.values.as_slice(), change.is_value())
            && let Some(old) = match &*self {
                Cell::None => Some(None),
                Cell::One(old) => Some(Some(old.dot())),
                _ => None,
            }
        {
            let goes = old.is_none_or(|old| change.removed.contains(old) || cleared.seen(old));
            if goes && old != Some(value.dot()) {
                let comes = !seen.seen(value.dot());
                *self = if comes { Cell::One(value.clone()) } else { Cell::None };
                return comes || old.is_some();
            }
        }
        self.edit(|full| change.apply_to(full, seen, cleared))
    }

    /// What of it `known` does not cover.
    pub(super) fn since(&self, known: &impl Seen) -> CellDelta<V> {
        let mut delta = CellDelta::default();
        let values = self.values().iter().filter(|value| !known.seen(value.dot()));
        delta.values = values.cloned().collect();
        let terms = self.terms().iter().filter(|term| !known.seen(term.dot));
        delta.terms = terms.cloned().collect();
        let entries = self.entries().filter(|entry| !known.seen(entry.dot));
        entries.for_each(|entry| delta.counts.note(entry));
        delta
    }

    /// Forgets floors; see [`crate::Counter::collect`].
    pub(super) fn collect(&mut self, applied: impl Fn(Dot, Dot) -> bool) {
        if self.has_dead_entries() {
            self.edit(|full| full.counts.collect(applied));
        }
    }

    /// Whether it keeps entries only for their floors.
    #[must_use]
    pub fn has_dead_entries(&self) -> bool {
        matches!(self, Cell::Full(full) if full.counts.entries().iter().any(|e| !e.live()))
    }

    /// Whether it has a live entry of whose newest update `which` says so, or a value that
    /// [folds](Item::FOLDS).
    #[must_use]
    pub fn counts(&self, which: impl Fn(Dot) -> bool) -> bool {
        self.entries().any(|entry| entry.live() && which(entry.dot))
            || (V::FOLDS && self.values().iter().any(|value| which(value.dot())))
    }

    /// Adopts the values of writers that will never write again, where values fold; whether there were any.
    pub(super) fn adopt_values<E: Events>(
        &mut self,
        gone: &impl Fn(Dot) -> bool,
        events: &mut E,
        change: Option<&mut CellDelta<V>>,
    ) -> bool {
        if !V::FOLDS || !self.values().iter().any(|value| gone(value.dot())) {
            return false;
        }
        self.edit(|full| {
            let all = core::mem::take(&mut full.values);
            let (taken, kept): (Vec<V>, Vec<V>) =
                all.into_iter().partition(|value| gone(value.dot()));
            let new = V::adopted(&taken, || events.next());
            if let Some(change) = change {
                taken.iter().for_each(|old| change.supersede(old.dot(), events));
                new.iter().for_each(|value| change.add_value(value.clone()));
            }
            full.values = kept;
            full.values.extend(new.iter().cloned());
            full.values.sort_unstable_by_key(Dotted::dot);
            V::settle(&mut full.values, &new);
        });
        true
    }

    /// As [`crate::Counter::adopt`].
    pub(super) fn take_over<E: Events>(
        &mut self,
        gone: &impl Fn(Dot) -> bool,
        events: &mut E,
        change: Option<&mut CellDelta<V>>,
    ) -> bool {
        if !self.counts(gone) {
            return false;
        }
        let change = change.map(|change| &mut change.counts);
        self.edit(|full| full.counts.take_over(gone, events, change))
    }

    /// As [`crate::Crdt::tally`].
    pub(super) fn tally(&self, writer: Writer) -> Option<Tally> {
        self.entry(writer).map(|entry| Tally {
            birth: entry.birth,
            seq: entry.dot.seq(),
            gone: entry.floor.map_or(0, |floor| floor.at),
            sum: entry.v,
        })
    }

    /// As [`crate::Crdt::correct`]: under the deadlines of what is corrected.
    pub(super) fn correct<E: Events>(
        &mut self,
        of: Writer,
        amount: i128,
        events: &mut E,
        change: Option<&mut CellDelta<V>>,
    ) -> bool {
        let Some(entry) = self.entry(of).filter(Entry::live) else { return false };
        let tag = Tag { fresh: false, born: 0, ..entry.tag };
        self.add(amount, (tag, false), events, change).is_ok()
    }

    /// The same on every node; 0 if it is absent and no term stands.
    pub(super) fn digest(&self, writers: &Writers) -> u64 {
        let terms = self.terms().iter().map(|term| fact(writers, term.dot, &[term.digest()]));
        let dots = terms.fold(V::digest_all(self.values(), writers), u64::wrapping_add);
        let live = self.entries().filter(Entry::live);
        live.fold(dots, |sum, entry| sum.wrapping_add(entry.digest(writers)))
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let values: usize = self.values().iter().map(Dotted::heap_bytes).sum();
        let terms: usize = self.terms().iter().map(Dotted::heap_bytes).sum();
        let full = match self {
            Cell::Full(full) => {
                size_of::<Full<V>>()
                    + full.values.capacity() * size_of::<V>()
                    + full.terms.capacity() * size_of::<Term>()
                    + full.counts.heap_bytes()
            }
            _ => 0,
        };
        values + terms + full
    }
}
