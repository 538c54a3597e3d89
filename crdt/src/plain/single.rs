//! A plain value that is one cell: what a string and a HyperLogLog share.

use alloc::vec::Vec;

use super::Moment;
use super::cell::{Cell, CellDelta};
use super::deadline::Hold;
use super::items::Item;
use super::keyed::Key;
use alloc::string::ToString;

use crate::cleared::{complete, join_cleared};
use crate::codec::{DecodeError, Decoder, Encode, Encoder};
use crate::context::{Context, Events, Seen, Writers};
use crate::dot::{Dot, Writer};
use crate::{Crdt, Shown, Tally};

/// One cell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Single<V> {
    pub(super) cell: Cell<V>,
}

impl<V> Default for Single<V> {
    fn default() -> Single<V> {
        Single { cell: Cell::None }
    }
}

/// A change of one: `| cell | cleared |`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SingleDelta<V> {
    pub(super) cell: CellDelta<V>,
    pub(super) cleared: Option<Context>,
}

impl<V> Default for SingleDelta<V> {
    fn default() -> SingleDelta<V> {
        SingleDelta { cell: CellDelta::default(), cleared: None }
    }
}

/// A cell that is no part of a key, but one.
pub(super) const ALONE: Key = Key { hold: Hold::NONE, under: super::FOREVER };

impl<V: Item> Single<V> {
    /// The cell.
    #[must_use]
    pub fn cell(&self) -> &Cell<V> {
        &self.cell
    }

    /// All dots that it is made of, those of counts included.
    #[must_use]
    pub fn all_dots(&self) -> Vec<Dot> {
        self.cell.dots().chain(self.cell.entries().map(|entry| entry.dot)).collect()
    }

    /// Whether it is there at `now`.
    #[must_use]
    pub fn exists(&self, now: u64, writers: &Writers) -> bool {
        self.deadline(now, writers).is_some()
    }

    /// The deadline in milliseconds, [`FOREVER`](super::FOREVER) if there is none; none if it is
    /// absent at `now`.
    #[must_use]
    pub fn deadline(&self, now: u64, writers: &Writers) -> Option<u64> {
        self.cell.read(now, writers, |_| true).map(|reading| reading.deadline)
    }

    /// Sets the deadline of the value that is here, [`FOREVER`](super::FOREVER) to take it away;
    /// whether there was a value. To take away what there is not mints nothing.
    pub fn expire<E: Events>(
        &mut self,
        at: u64,
        moment: &Moment<'_>,
        events: &mut E,
        change: Option<&mut SingleDelta<V>>,
    ) -> bool {
        self.cell.expire(at, (moment, &ALONE), events, change.map(|change| &mut change.cell))
    }

    /// Deletes what is seen here; whether it was there at the moment.
    pub fn delete<E: Events>(
        &mut self,
        moment: &Moment<'_>,
        events: &mut E,
        change: Option<&mut SingleDelta<V>>,
    ) -> bool {
        let there = self.exists(moment.now, moment.writers);
        if there {
            self.cell.reset(events, change.map(|change| &mut change.cell));
        }
        there
    }

    /// Whether memory can be taken back: it is not there at `now`, and holds more than floors.
    #[must_use]
    pub fn is_spent(&self, now: u64, writers: &Writers) -> bool {
        let holds = !self.cell.is_absent() || !self.cell.terms().is_empty();
        holds && !self.exists(now, writers)
    }

    /// Takes back the memory of what is past its deadline, as an observed remove that any node may
    /// do; whether there was anything.
    pub fn reclaim<E: Events>(
        &mut self,
        moment: &Moment<'_>,
        events: &mut E,
        change: Option<&mut SingleDelta<V>>,
    ) -> bool {
        let spent = self.is_spent(moment.now, moment.writers);
        if spent {
            self.cell.reset(events, change.map(|change| &mut change.cell));
        }
        spent
    }
}

impl<V: Item> SingleDelta<V> {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cell.is_empty() && self.cleared.is_none()
    }
}

impl<V: Item> Crdt for Single<V> {
    type Delta = SingleDelta<V>;

    fn reset<E: Events>(
        &mut self,
        _: &Context,
        events: &mut E,
        change: Option<&mut SingleDelta<V>>,
    ) -> bool {
        let there = !self.is_absent();
        // Terms may be left where the value that they were for is gone.
        self.cell.reset(events, change.map(|change| &mut change.cell));
        there
    }

    fn size(&self) -> i64 {
        i64::from(!self.is_absent())
    }

    fn each_dot(&self, each: impl FnMut(Dot)) {
        self.all_dots().into_iter().for_each(each);
    }

    /// Plain keys have commands of their own, which are told the time; this only says that it is there.
    fn show(&self, _: &Writers) -> Shown {
        Shown::Text(self.size().to_string().into_bytes())
    }

    fn is_absent(&self) -> bool {
        self.cell.is_absent()
    }

    fn is_blank(&self) -> bool {
        self.cell.is_blank()
    }

    fn apply(&mut self, seen: &impl Seen, delta: &SingleDelta<V>) -> bool {
        self.cell.apply(seen, &delta.cleared, &delta.cell)
    }

    fn whole(&self, context: &Context) -> SingleDelta<V> {
        SingleDelta { cell: self.cell.since(&()), cleared: Some(context.clone()) }
    }

    fn since(&self, known: &impl Seen) -> SingleDelta<V> {
        SingleDelta { cell: self.cell.since(known), cleared: None }
    }

    fn join_delta(delta: &mut SingleDelta<V>, other: &SingleDelta<V>) {
        delta.cell.join(&delta.cleared, &other.cleared, &other.cell);
        join_cleared(&mut delta.cleared, &other.cleared);
    }

    fn complete(delta: &mut SingleDelta<V>, context: &Context) -> bool {
        complete(&mut delta.cleared, context)
    }

    fn digest(&self, writers: &Writers) -> u64 {
        self.cell.digest(writers)
    }

    fn removals(delta: &SingleDelta<V>) -> SingleDelta<V> {
        SingleDelta { cell: delta.cell.removals(), cleared: delta.cleared.clone() }
    }

    fn learn(delta: &SingleDelta<V>, context: &mut Context) {
        delta.cell.learn(context);
        delta.cleared.iter().for_each(|cleared| context.join(cleared));
    }

    fn adopt<E: Events>(
        &mut self,
        gone: &impl Fn(Dot) -> bool,
        events: &mut E,
        change: Option<&mut SingleDelta<V>>,
    ) -> bool {
        self.cell.take_over(gone, events, change.map(|change| &mut change.cell))
    }

    fn counts(&self, which: &impl Fn(Dot) -> bool) -> bool {
        self.cell.counts(which)
    }

    fn has_dead_entries(&self) -> bool {
        self.cell.has_dead_entries()
    }

    fn collect(&mut self, applied: &impl Fn(Dot, Dot) -> bool) {
        self.cell.collect(applied);
    }

    fn tally(&self, _: &[u8], writer: Writer) -> Option<Tally> {
        self.cell.tally(writer)
    }

    fn correct<E: Events>(
        &mut self,
        (_, of): (&[u8], Writer),
        amount: i128,
        events: &mut E,
        change: Option<&mut SingleDelta<V>>,
    ) -> bool {
        self.cell.correct(of, amount, events, change.map(|change| &mut change.cell))
    }

    fn first_end(&self, after: u64) -> u64 {
        let remnant = self.cell.is_absent() && !self.cell.terms().is_empty();
        if remnant { 0 } else { self.cell.first_end(after) }
    }

    fn heap_bytes(&self) -> usize {
        self.cell.heap_bytes()
    }
}

impl<V: Item> Encode for SingleDelta<V> {
    fn encode(&self, to: &mut Encoder) {
        self.cell.encode(to);
        self.cleared.encode(to);
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(SingleDelta { cell: CellDelta::decode(from)?, cleared: Option::decode(from)? })
    }
}
