//! A plain value of many cells by name: what a hash, a set and a sorted set share.
//!
//! Beside the cells stands the *life* of the key, a cell of its own: the births that are live and
//! the terms of the key's deadline. A write that finds the key absent begins a life, under an event
//! of its own before that of the write; what has expired goes first, by a clear of all that is seen.
//! Each value and count says the key's deadline under which it was written, so that one which
//! arrives late is not there: see [`deadline`](mod@super::deadline).

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::fmt::Debug;

use super::cell::{Cell, CellDelta};
use super::counts::Entry;
use super::deadline::Hold;
use super::items::{Birth, Item};
use super::{FOREVER, Moment};
use alloc::string::ToString;

use crate::cleared::{complete, join_cleared};
use crate::codec::{DecodeError, Decoder, Encode, Encoder};
use crate::context::{Context, Events, Seen, Writers};
use crate::digest::digest_of;
use crate::dot::{Dot, Writer};
use crate::parts::Parts;
use crate::table::{Header, Table};
use crate::{Crdt, Shown, Tally};

/// How many names are taken back at a time.
const RECLAIM_MOST: usize = 1_000;

/// What a cell knows of the key that it is a part of.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// What lives and terms say.
    pub hold: Hold,
    /// The key's deadline, under which a write is made now.
    pub under: u64,
}

/// A value that cells of many names hold, with the index that is kept of them.
pub trait Element: Item {
    /// What is kept in order beside the table.
    type Index: Clone + Default + Debug;
    /// Where a cell stands in it.
    type Place: Copy + PartialEq;

    /// Where a cell stands, whatever the time; none if it reads as absent.
    fn place(cell: &Cell<Self>) -> Option<Self::Place>;

    /// Moves a name in the index.
    fn moved(
        index: &mut Self::Index,
        name: &[u8],
        from: Option<Self::Place>,
        to: Option<Self::Place>,
    );

    /// How many bytes the index takes on the heap.
    fn index_bytes(_index: &Self::Index) -> usize {
        0
    }
}

impl<V: Element> Header for Cell<V> {}

/// Cells by name.
#[derive(Clone, Debug)]
pub struct Keyed<V: Element> {
    life: Cell<Birth>,
    cells: Table<Cell<V>>,
    /// How many cells hold more than floors and terms.
    live: usize,
    /// How many hold something that was written under a deadline of the key.
    under: usize,
    /// No such deadline is before this one.
    least_under: u64,
    /// No deadline of a cell, its own or the key's when it was written, is before this one.
    first_end: u64,
    /// The names of cells with deadlines of their own.
    timed: BTreeSet<Box<[u8]>>,
    pub(super) index: V::Index,
}

impl<V: Element> Default for Keyed<V> {
    fn default() -> Keyed<V> {
        Keyed {
            life: Cell::None,
            cells: Table::new(),
            live: 0,
            under: 0,
            least_under: FOREVER,
            first_end: FOREVER,
            timed: BTreeSet::new(),
            index: V::Index::default(),
        }
    }
}

// All else follows from these.
impl<V: Element> PartialEq for Keyed<V> {
    fn eq(&self, other: &Keyed<V>) -> bool {
        self.life == other.life && self.cells == other.cells
    }
}

impl<V: Element> Eq for Keyed<V> {}

/// A change of one:
///
/// ```text
/// | life: cell | cells: varint n, n x (name, cell) | cleared |
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyedDelta<V: Item> {
    life: CellDelta<Birth>,
    cells: Parts<CellDelta<V>>,
    cleared: Option<Context>,
}

impl<V: Item> Default for KeyedDelta<V> {
    fn default() -> KeyedDelta<V> {
        KeyedDelta { life: CellDelta::default(), cells: Parts::None, cleared: None }
    }
}

/// What the value as a whole keeps of a cell.
struct Noted<P> {
    live: bool,
    under: u64,
    timed: bool,
    first_end: u64,
    place: Option<P>,
}

impl<P> Noted<P> {
    fn of<V: Element<Place = P>>(cell: &Cell<V>) -> Noted<P> {
        Noted {
            live: !cell.is_absent(),
            under: cell.least_under(),
            timed: cell.is_timed(),
            first_end: cell.first_end(0),
            place: V::place(cell),
        }
    }
}

impl<V: Element> Keyed<V> {
    /// The cells, those included that read as absent.
    #[must_use]
    pub fn cells(&self) -> &Table<Cell<V>> {
        &self.cells
    }

    /// The births of the lives that are live.
    #[must_use]
    pub fn births(&self) -> &[Birth] {
        self.life.values()
    }

    /// All dots that it is made of, those of counts included.
    #[must_use]
    pub fn all_dots(&self) -> Vec<Dot> {
        let counts = |cell: &Cell<V>| cell.entries().map(|entry| entry.dot).collect::<Vec<Dot>>();
        let cells = self.cells.iter().flat_map(|(_, cell)| cell.dots().chain(counts(cell)));
        self.life.dots().chain(cells).collect()
    }

    /// What lives and terms say.
    #[must_use]
    pub fn hold(&self) -> Hold {
        Hold::new(self.births().iter().map(|b| (b.dot, b.time >> 16)), self.life.terms())
    }

    /// Whether all that was written under a deadline of the key is there at `now`, if the key is.
    fn shows_under(&self, hold: &Hold, now: u64) -> bool {
        self.under == 0 || (self.least_under > hold.first && hold.at.is_some_and(|at| now < at))
    }

    /// Whether all cells that are not absent are there at `now`, if the key is.
    pub(super) fn shows_all(&self, hold: &Hold, now: u64) -> bool {
        self.timed.is_empty() && self.shows_under(hold, now)
    }

    /// Whether a cell is there at `now`.
    pub(super) fn shows(cell: &Cell<V>, hold: &Hold, now: u64, writers: &Writers) -> bool {
        cell.read(now, writers, |under| hold.shows(under, now)).is_some()
    }

    /// Whether the key is there at `now`. O(1) but for cells that are past their deadlines.
    #[must_use]
    pub fn exists(&self, now: u64, writers: &Writers) -> bool {
        let hold = self.hold();
        !hold.is_over(now)
            && self.live > 0
            && (self.shows_all(&hold, now)
                || self.cells.iter().any(|(_, cell)| Self::shows(cell, &hold, now, writers)))
    }

    /// How many cells are there at `now`. O(1), but linear in the cells with deadlines of their own,
    /// and in all if some were written under a deadline of the key that no term extends.
    #[must_use]
    pub fn len(&self, now: u64, writers: &Writers) -> usize {
        let hold = self.hold();
        let shows = |cell: &Cell<V>| Self::shows(cell, &hold, now, writers);
        if hold.is_over(now) {
            0
        } else if !self.shows_under(&hold, now) {
            self.cells.iter().filter(|(_, cell)| shows(cell)).count()
        } else {
            let timed = self.timed.iter().filter_map(|name| self.cells.get(name));
            let gone = timed.filter(|cell| !cell.is_absent() && !shows(cell)).count();
            self.live - gone
        }
    }

    /// What `name` holds, with what its key says, if it is there at `now`.
    #[must_use]
    pub fn cell(&self, name: &[u8], now: u64, writers: &Writers) -> Option<(&Cell<V>, Key)> {
        let cell = self.cells.get(name)?;
        let hold = self.hold();
        let there = !hold.is_over(now) && Self::shows(cell, &hold, now, writers);
        there.then_some((cell, Key { hold, under: FOREVER }))
    }

    /// The cells that are there at `now`, in no particular order.
    pub fn iter<'a>(
        &'a self,
        now: u64,
        writers: &'a Writers,
    ) -> impl Iterator<Item = (&'a [u8], &'a Cell<V>)> {
        let hold = self.hold();
        let all = if hold.is_over(now) { None } else { Some(self.cells.iter()) };
        all.into_iter().flatten().filter(move |(_, cell)| Self::shows(cell, &hold, now, writers))
    }

    /// Visits about `count` cells from `cursor` on, as [`Table::scan`], those that are there at
    /// `now`.
    pub fn scan(
        &self,
        (cursor, count): (u64, usize),
        now: u64,
        writers: &Writers,
        mut visit: impl FnMut(&[u8], &Cell<V>),
    ) -> u64 {
        let hold = self.hold();
        if hold.is_over(now) {
            return 0;
        }
        self.cells.scan(cursor, count, |name, cell| {
            if Self::shows(cell, &hold, now, writers) {
                visit(name, cell);
            }
        })
    }

    /// One of the cells that are there at `now`, chosen uniformly by `random`.
    #[must_use]
    pub fn random<'a>(
        &'a self,
        now: u64,
        writers: &'a Writers,
        mut random: impl FnMut() -> u64,
    ) -> Option<(&'a [u8], &'a Cell<V>)> {
        let hold = self.hold();
        if hold.is_over(now) || self.live == 0 {
            return None;
        }
        // Mostly the first is there; else all are looked through.
        for _ in 0..16 {
            let (name, cell) = self.cells.random(&mut random)?;
            if Self::shows(cell, &hold, now, writers) {
                return Some((name, cell));
            }
        }
        let there: Vec<_> = self.iter(now, writers).collect();
        let which = random().checked_rem(there.len() as u64)?;
        there.get(which as usize).copied()
    }

    /// The key's deadline in milliseconds, [`FOREVER`] if there is none; none if the key is absent
    /// at `now`. If no term holds, what is here may end bit by bit: then it is the last of it.
    #[must_use]
    pub fn deadline(&self, now: u64, writers: &Writers) -> Option<u64> {
        if !self.exists(now, writers) {
            return None;
        }
        let hold = self.hold();
        if hold.at.is_some() || self.under == 0 {
            return Some(hold.deadline());
        }
        let last = |cell: &Cell<V>| {
            let values = cell.values().iter().map(Item::under);
            let counts = cell.entries().filter(Entry::live).map(|entry| entry.tag.under);
            values.chain(counts).filter(|under| hold.shows(*under, now)).max()
        };
        self.iter(now, writers).filter_map(|(_, cell)| last(cell)).max()
    }

    /// Changes the cell of `name`, made if there is none and dropped again if it is left blank.
    pub(super) fn touch<R>(&mut self, name: &[u8], edit: impl FnOnce(&mut Cell<V>) -> R) -> R {
        let (cell, _) = self.cells.get_or_insert_with(name, Cell::default);
        let before = Noted::of(cell);
        let result = edit(cell);
        let (after, blank) = (Noted::of(cell), cell.is_blank());
        if blank {
            self.cells.remove(name);
        }
        self.account(name, &before, &after);
        result
    }

    fn account(&mut self, name: &[u8], before: &Noted<V::Place>, after: &Noted<V::Place>) {
        self.live = self.live + usize::from(after.live) - usize::from(before.live);
        let under = |noted: &Noted<V::Place>| usize::from(noted.under != FOREVER);
        self.under = self.under + under(after) - under(before);
        let least = if self.under > 0 { self.least_under } else { FOREVER };
        self.least_under = least.min(after.under);
        self.first_end = self.first_end.min(after.first_end);
        match (before.timed, after.timed) {
            (false, true) => _ = self.timed.insert(Box::from(name)),
            (true, false) => _ = self.timed.remove(name),
            _ => {}
        }
        if before.place != after.place {
            V::moved(&mut self.index, name, before.place, after.place);
        }
    }

    /// Makes ready for a write: if the key is absent, what is left of it goes and a life begins.
    pub(super) fn begin<E: Events>(
        &mut self,
        moment: &Moment<'_>,
        events: &mut E,
        mut change: Option<&mut KeyedDelta<V>>,
    ) -> Key {
        let hold = self.hold();
        // The usual cases: no deadline anywhere, or one that is not over.
        if self.live > 0 && !hold.is_over(moment.now) && self.shows_all(&hold, moment.now) {
            return Key { hold, under: hold.deadline() };
        }
        if let Some(under) = self.deadline(moment.now, moment.writers) {
            return Key { hold, under };
        }
        self.clear_all(moment, events, change.as_deref_mut());
        let birth = Birth { dot: events.next(), time: events.time() };
        if let Some(change) = change {
            change.life.add_value(birth);
        }
        self.life = Cell::One(birth);
        Key { hold: self.hold(), under: FOREVER }
    }

    /// Ends the life of the key if no cell is left.
    pub(super) fn end<E: Events>(&mut self, events: &mut E, change: Option<&mut KeyedDelta<V>>) {
        if self.live == 0 {
            self.life.reset(events, change.map(|change| &mut change.life));
        }
    }

    /// Deletes what is seen of the cell of `name`; whether it was there.
    pub fn remove<E: Events>(
        &mut self,
        name: &[u8],
        moment: &Moment<'_>,
        events: &mut E,
        mut change: Option<&mut KeyedDelta<V>>,
    ) -> bool {
        if self.cell(name, moment.now, moment.writers).is_none() {
            return false;
        }
        let mut noted = change.as_deref_mut();
        self.touch(name, |cell| cell.reset(events, noted.as_mut().map(|change| change.cell(name))));
        if let Some(change) = &mut change {
            change.forget_if_empty(name);
        }
        self.end(events, change);
        true
    }

    /// Sets the key's deadline, [`FOREVER`] to take it away; whether the key was there. To take away
    /// what there is not mints nothing.
    pub fn expire<E: Events>(
        &mut self,
        at: u64,
        moment: &Moment<'_>,
        events: &mut E,
        change: Option<&mut KeyedDelta<V>>,
    ) -> bool {
        let Some(old) = self.deadline(moment.now, moment.writers) else { return false };
        if (at, old) != (FOREVER, FOREVER) {
            let lives: Vec<Dot> = self.life.values().iter().map(|birth| birth.dot).collect();
            let change = change.map(|change| &mut change.life);
            self.life.set_term(at, lives.into_iter(), events, change);
        }
        true
    }

    /// Deletes what is seen here, whatever its size in one number a writer; whether the key was
    /// there.
    pub fn delete<E: Events>(
        &mut self,
        moment: &Moment<'_>,
        events: &mut E,
        change: Option<&mut KeyedDelta<V>>,
    ) -> bool {
        let there = self.exists(moment.now, moment.writers);
        if there {
            self.clear_all(moment, events, change);
        }
        there
    }

    /// Whether memory can be taken back: the key is not there at `now`, and holds more than floors.
    #[must_use]
    pub fn is_spent(&self, now: u64, writers: &Writers) -> bool {
        (self.live > 0 || !self.life.is_blank()) && !self.exists(now, writers)
    }

    /// Takes back the memory of what is past its deadline, as an observed remove that any node may
    /// do: the key, or else names that are; whether there was anything.
    pub fn reclaim<E: Events>(
        &mut self,
        moment: &Moment<'_>,
        events: &mut E,
        change: Option<&mut KeyedDelta<V>>,
    ) -> bool {
        if self.is_spent(moment.now, moment.writers) {
            self.clear_all(moment, events, change);
            return true;
        }
        self.reclaim_names(RECLAIM_MOST, moment, events, change) > 0
    }

    /// As [`Keyed::reclaim`], of names of a key that is there; how many went, `most` at a time.
    fn reclaim_names<E: Events>(
        &mut self,
        most: usize,
        moment: &Moment<'_>,
        events: &mut E,
        mut change: Option<&mut KeyedDelta<V>>,
    ) -> usize {
        let hold = self.hold();
        if self.shows_all(&hold, moment.now) {
            // What has passed has been extended.
            if self.first_end <= moment.now {
                self.first_end = self.find_first_end(moment.now);
            }
            return 0;
        }
        let spent = |cell: &Cell<V>| !Self::shows(cell, &hold, moment.now, moment.writers);
        let holds = |cell: &Cell<V>| !cell.is_absent() || !cell.terms().is_empty();
        let spent: Vec<Box<[u8]>> = if !self.shows_under(&hold, moment.now) {
            let cells = self.cells.iter().filter(|(_, cell)| holds(cell) && spent(cell));
            cells.take(most).map(|(name, _)| Box::from(name)).collect()
        } else {
            let cells = self.timed.iter().filter(|name| self.cells.get(name).is_some_and(spent));
            cells.take(most).cloned().collect()
        };
        for name in &spent {
            let mut noted = change.as_deref_mut();
            self.touch(name, |cell| {
                cell.reset(events, noted.as_mut().map(|change| change.cell(name)));
            });
            if let Some(change) = &mut change {
                change.forget_if_empty(name);
            }
        }
        self.tell_life(change.filter(|_| !spent.is_empty()));
        self.first_end = if spent.len() < most { self.find_first_end(moment.now) } else { 0 };
        spent.len()
    }

    /// Whether a cell that is past its own deadline, which came at `from` or later, is still held at `now`.
    /// Linear in the cells with deadlines.
    #[must_use]
    pub fn has_ended(&self, from: u64, now: u64, writers: &Writers) -> bool {
        let hold = self.hold();
        let ended = |cell: &Cell<V>| {
            let is_late = !cell.is_absent() && (from..=now).contains(&cell.ended(now));
            is_late && !Self::shows(cell, &hold, now, writers)
        };
        self.timed.iter().filter_map(|name| self.cells.get(name)).any(ended)
    }

    /// Looks for the first deadline after `now`: from now on [`Crdt::first_end`] does not answer one that has
    /// passed. Linear in the cells with deadlines.
    pub fn pass_ends(&mut self, now: u64) {
        self.first_end = self.find_first_end(now);
    }

    /// Where values fold, a change that takes some away takes away all that their writers wrote before: but not
    /// the life, so it says that, too.
    fn tell_life(&self, change: Option<&mut KeyedDelta<V>>) {
        if V::FOLDS
            && let Some(change) = change
        {
            self.life.values().iter().for_each(|birth| change.life.add_value(*birth));
            self.life.terms().iter().for_each(|term| change.life.add_term(term.clone()));
        }
    }

    /// The first deadline of a cell after `now`.
    fn find_first_end(&self, now: u64) -> u64 {
        if self.under > 0 {
            self.cells.iter().map(|(_, cell)| cell.first_end(now)).min().unwrap_or(FOREVER)
        } else {
            let timed = self.timed.iter().filter_map(|name| self.cells.get(name));
            timed.map(|cell| cell.first_end(now)).min().unwrap_or(FOREVER)
        }
    }

    /// Deletes all that is stored here, which is what the context covers. Counts leave floors, since
    /// a sum cannot be cut at an event afterwards.
    fn clear_all<E: Events>(
        &mut self,
        moment: &Moment<'_>,
        events: &mut E,
        mut change: Option<&mut KeyedDelta<V>>,
    ) {
        if self.live == 0 && self.life.is_blank() && self.timed.is_empty() {
            return;
        }
        events.next();
        let mut cleared = change.is_some().then(|| (moment.context)());
        if let Some(context) = &mut cleared {
            // What was fetched ahead of the vector is seen, too.
            self.life.dots().for_each(|dot| context.insert(dot));
            let dots = self.cells.iter().flat_map(|(_, cell)| cell.dots());
            for dot in dots {
                if V::FOLDS {
                    context.raise(dot.writer(), dot.seq());
                } else {
                    context.insert(dot);
                }
            }
        }
        if let (Some(change), Some(context)) = (&mut change, &cleared) {
            change.life.forget(context);
            change.cells.retain(|_, cell| {
                cell.forget(context);
                !cell.is_empty()
            });
        }
        let index = &mut self.index;
        self.cells.retain(|name, cell| {
            let place = V::place(cell);
            if place.is_some() {
                V::moved(index, name, place, None);
            }
            if cell.entries().next().is_some() {
                let mut change = change.as_mut().map(|change| &mut change.cell(name).counts);
                cell.edit(|full| {
                    full.values.clear();
                    full.terms.clear();
                    if let Some(change) = &mut change {
                        full.counts.note_floors(change);
                    }
                    full.counts.reset(events, change);
                });
            } else {
                *cell = Cell::None;
            }
            !cell.is_blank()
        });
        self.life = Cell::None;
        // What is left is floors.
        (self.live, self.under, self.least_under) = (0, 0, FOREVER);
        self.first_end = FOREVER;
        self.timed.clear();
        if let Some(change) = change {
            change.cells.retain(|_, cell| !cell.is_empty());
            join_cleared(&mut change.cleared, &cleared);
        }
    }

    fn each(
        &mut self,
        mut edit: impl FnMut(&[u8], &mut Cell<V>),
        which: impl Fn(&Cell<V>) -> bool,
    ) {
        let names = self.cells.iter().filter(|(_, cell)| which(cell));
        let names: Vec<Box<[u8]>> = names.map(|(name, _)| Box::from(name)).collect();
        for name in names {
            self.touch(&name, |cell| edit(&name, cell));
        }
    }
}

impl<V: Item> KeyedDelta<V> {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty() && self.life.is_empty() && self.cleared.is_none()
    }

    pub(super) fn cell(&mut self, name: &[u8]) -> &mut CellDelta<V> {
        self.cells.touch(name)
    }

    pub(super) fn forget_if_empty(&mut self, name: &[u8]) {
        if self.cells.get(name).is_some_and(CellDelta::is_empty) {
            self.cells.remove(name);
        }
    }
}

impl<V: Element> Crdt for Keyed<V> {
    type Delta = KeyedDelta<V>;

    fn reset<E: Events>(
        &mut self,
        context: &Context,
        events: &mut E,
        change: Option<&mut KeyedDelta<V>>,
    ) -> bool {
        let there = !self.is_absent();
        // A life without members may be left of removes that had each seen a part.
        let moment = Moment { now: 0, writers: &Writers::new(), context: &|| context.clone() };
        self.clear_all(&moment, events, change);
        there
    }

    fn size(&self) -> i64 {
        self.live as i64
    }

    fn each_dot(&self, each: impl FnMut(Dot)) {
        self.all_dots().into_iter().for_each(each);
    }

    /// Plain keys have commands of their own, which are told the time; this says how many items there are.
    fn show(&self, _: &Writers) -> Shown {
        Shown::Text(self.size().to_string().into_bytes())
    }

    fn is_absent(&self) -> bool {
        self.live == 0
    }

    fn is_blank(&self) -> bool {
        self.cells.is_empty() && self.life.is_blank()
    }

    fn apply(&mut self, seen: &impl Seen, delta: &KeyedDelta<V>) -> bool {
        let mut new = self.life.apply(seen, &delta.cleared, &delta.life);
        if delta.cleared.is_some() {
            let names = self.cells.iter().map(|(name, _)| name);
            let names = names.filter(|name| !delta.cells.contains(name));
            let names: Vec<Box<[u8]>> = names.map(Box::from).collect();
            let silent = CellDelta::default();
            for name in names {
                new |= self.touch(&name, |cell| cell.apply(seen, &delta.cleared, &silent));
            }
        }
        for (name, change) in delta.cells.iter() {
            new |= self.touch(name, |cell| cell.apply(seen, &delta.cleared, change));
        }
        new
    }

    fn whole(&self, context: &Context) -> KeyedDelta<V> {
        KeyedDelta { cleared: Some(context.clone()), ..self.since(&()) }
    }

    fn since(&self, known: &impl Seen) -> KeyedDelta<V> {
        let cells = self.cells.iter().map(|(name, cell)| (name, cell.since(known)));
        let cells = cells.filter(|(_, change)| !change.is_empty());
        KeyedDelta {
            life: self.life.since(known),
            cells: cells.map(|(name, change)| (Box::from(name), change)).collect(),
            cleared: None,
        }
    }

    fn parts(&self) -> usize {
        self.cells.len()
    }

    fn piece(&self, cursor: u64, most: usize) -> (KeyedDelta<V>, u64) {
        let mut cells = Vec::new();
        let next = self.cells.scan(cursor, most, |name, cell| {
            cells.push((Box::from(name), cell.since(&())));
        });
        // No name arrives without the life that it is of.
        let life = self.life.since(&());
        (KeyedDelta { life, cells: Parts::list(cells), cleared: None }, next)
    }

    fn join_delta(delta: &mut KeyedDelta<V>, other: &KeyedDelta<V>) {
        delta.life.join(&delta.cleared, &other.cleared, &other.life);
        let cleared = (&other.cells, &delta.cleared, &other.cleared);
        delta.cells.join(cleared, |cell, mine, theirs, other| {
            cell.join(mine, theirs, other);
            !cell.is_empty()
        });
        join_cleared(&mut delta.cleared, &other.cleared);
    }

    fn complete(delta: &mut KeyedDelta<V>, context: &Context) -> bool {
        complete(&mut delta.cleared, context)
    }

    fn digest(&self, writers: &Writers) -> u64 {
        self.cells.iter().fold(self.life.digest(writers), |sum, (name, cell)| {
            match cell.digest(writers) {
                0 => sum,
                digest => sum.wrapping_add(digest_of(name, digest)),
            }
        })
    }

    fn removals(delta: &KeyedDelta<V>) -> KeyedDelta<V> {
        let gone = delta.cells.iter().map(|(name, cell)| (name, cell.removals()));
        let gone = gone.filter(|(_, cell)| !cell.is_empty());
        KeyedDelta {
            life: delta.life.removals(),
            cells: gone.map(|(name, cell)| (Box::from(name), cell)).collect(),
            cleared: delta.cleared.clone(),
        }
    }

    fn learn(delta: &KeyedDelta<V>, context: &mut Context) {
        delta.life.learn(context);
        delta.cells.iter().for_each(|(_, cell)| cell.learn(context));
        delta.cleared.iter().for_each(|cleared| context.join(cleared));
    }

    fn adopt<E: Events>(
        &mut self,
        gone: &impl Fn(Dot) -> bool,
        events: &mut E,
        mut change: Option<&mut KeyedDelta<V>>,
    ) -> bool {
        let mut any = false;
        let edit = |name: &[u8], cell: &mut Cell<V>| {
            any |= cell.adopt_values(gone, events, change.as_mut().map(|change| change.cell(name)));
            any |= cell.take_over(gone, events, change.as_mut().map(|change| change.cell(name)));
            if let Some(change) = &mut change {
                change.forget_if_empty(name);
            }
        };
        self.each(edit, |cell| cell.counts(gone));
        self.tell_life(change.filter(|_| any));
        any
    }

    fn counts(&self, which: &impl Fn(Dot) -> bool) -> bool {
        self.cells.iter().any(|(_, cell)| cell.counts(which))
    }

    fn has_dead_entries(&self) -> bool {
        self.cells.iter().any(|(_, cell)| cell.has_dead_entries())
    }

    fn collect(&mut self, applied: &impl Fn(Dot, Dot) -> bool) {
        self.each(|_, cell| cell.collect(applied), Cell::has_dead_entries);
    }

    fn tally(&self, field: &[u8], writer: Writer) -> Option<Tally> {
        self.cells.get(field)?.tally(writer)
    }

    fn correct<E: Events>(
        &mut self,
        (field, of): (&[u8], Writer),
        amount: i128,
        events: &mut E,
        change: Option<&mut KeyedDelta<V>>,
    ) -> bool {
        if self.cells.get(field).is_none() {
            return false;
        }
        let noted = change.map(|change| change.cell(field));
        self.touch(field, |cell| cell.correct(of, amount, events, noted))
    }

    fn first_end(&self, after: u64) -> u64 {
        if self.live == 0 {
            return if self.life.is_blank() { FOREVER } else { 0 };
        }
        let at = self.hold().at.filter(|at| *at > after);
        self.first_end.min(at.unwrap_or(FOREVER))
    }

    fn heap_bytes(&self) -> usize {
        let cells: usize = self.cells.iter().map(|(_, cell)| cell.heap_bytes()).sum();
        let timed: usize = self.timed.iter().map(|name| name.len() + size_of::<Box<[u8]>>()).sum();
        size_of::<Self>()
            + self.life.heap_bytes()
            + self.cells.heap_bytes()
            + cells
            + timed
            + V::index_bytes(&self.index)
    }
}

impl<V: Item> Encode for KeyedDelta<V> {
    fn encode(&self, to: &mut Encoder) {
        self.life.encode(to);
        to.count(self.cells.len());
        for (name, cell) in self.cells.iter() {
            to.bytes(name);
            cell.encode(to);
        }
        self.cleared.encode(to);
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let life = CellDelta::decode(from)?;
        let cells = from.map(5, |from| {
            let (name, cell) = (from.boxed()?, CellDelta::decode(from)?);
            if cell.is_empty() { Err(DecodeError::Invalid("cell")) } else { Ok((name, cell)) }
        })?;
        Ok(KeyedDelta { life, cells, cleared: Option::decode(from)? })
    }
}
