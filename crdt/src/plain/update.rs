//! Updates of a cell that depend on what it reads as: counting, and its deadline.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::cell::{Cell, CellDelta};
use super::counts::{Entry, Tag};
use super::items::{Dotted, Item, Text};
use super::keyed::Key;
use super::read::Reading;
use super::{FOREVER, Moment, Refused, fixed};
use crate::context::{Events, Writers};
use crate::counter::bounded;
use crate::dot::{Dot, Writer};

impl<V: Item> Cell<V> {
    /// What it reads as, as a part of `key`.
    pub(super) fn read_in(&self, key: &Key, now: u64, writers: &Writers) -> Option<Reading<'_, V>> {
        self.read(now, writers, |under| key.hold.shows(under, now))
    }

    /// Adds `amount` in units, if `check` of what the cell reads as allows it. On one that is absent
    /// this begins a life: what has expired goes first.
    pub(super) fn count<E: Events, R>(
        &mut self,
        amount: i128,
        check: impl FnOnce(Option<&Reading<'_, V>>) -> Result<R, Refused>,
        (moment, key): (&Moment<'_>, &Key),
        events: &mut E,
        mut change: Option<&mut CellDelta<V>>,
    ) -> Result<R, Refused> {
        let reading = self.read_in(key, moment.now, moment.writers);
        let answer = check(reading.as_ref())?;
        let under = key.under;
        let (tag, stale) = match reading {
            Some(reading) => {
                let tag = Tag { fresh: false, born: 0, until: reading.deadline, under };
                (tag, self.own_is_stale(events.writer(), moment, key))
            }
            None => {
                let born = if self.ended(moment.now) > 0 { moment.now } else { 0 };
                self.reset(events, change.as_deref_mut());
                (Tag { fresh: true, born, until: FOREVER, under }, false)
            }
        };
        self.add(amount, (tag, stale), events, change)?;
        Ok(answer)
    }

    /// Whether the local writer has counted here, and that is past its deadline though not all is.
    fn own_is_stale(&self, writer: Writer, moment: &Moment<'_>, key: &Key) -> bool {
        let Cell::Full(_) = self else { return false };
        let shows = |under| key.hold.shows(under, moment.now);
        let (_, entries, _) = self.shown(moment.now, moment.writers, shows);
        !entries.iter().any(|entry| entry.dot.writer() == writer)
    }

    /// Sets the deadline of what is here; whether anything is. To take away what there is not mints
    /// nothing.
    pub(super) fn expire<E: Events>(
        &mut self,
        at: u64,
        (moment, key): (&Moment<'_>, &Key),
        events: &mut E,
        change: Option<&mut CellDelta<V>>,
    ) -> bool {
        let Some(reading) = self.read_in(key, moment.now, moment.writers) else {
            return false;
        };
        if (at, reading.deadline) != (FOREVER, FOREVER) {
            let shows = |under| key.hold.shows(under, moment.now);
            let (_, entries, _) = self.shown(moment.now, moment.writers, shows);
            let counts = entries.iter().filter_map(Entry::life);
            let lives: Vec<Dot> = self.values().iter().map(Dotted::dot).chain(counts).collect();
            self.set_term(at, lives.into_iter(), events, change);
        }
        true
    }
}

impl Cell<Text> {
    /// Adds the integer `n`; the new value.
    pub(super) fn count_integer<E: Events>(
        &mut self,
        n: i64,
        at: (&Moment<'_>, &Key),
        events: &mut E,
        change: Option<&mut CellDelta<Text>>,
    ) -> Result<i64, Refused> {
        let check = |reading: Option<&Reading<'_, Text>>| {
            let old = match reading {
                Some(reading) => reading.integer().ok_or(Refused::NotInteger)?,
                None => 0,
            };
            Ok(bounded(old, old + i128::from(n))?)
        };
        self.count(fixed::of_integer(n), check, at, events, change)
    }

    /// Adds `amount` in units; the new value in units.
    ///
    /// # Errors
    /// If the value is no number, or the new one does not fit 64 bits.
    pub(super) fn count_decimal<E: Events>(
        &mut self,
        amount: i128,
        at: (&Moment<'_>, &Key),
        events: &mut E,
        change: Option<&mut CellDelta<Text>>,
    ) -> Result<i128, Refused> {
        let check = |reading: Option<&Reading<'_, Text>>| {
            let old = match reading {
                Some(reading) => reading.number().ok_or(Refused::NotFloat)?,
                None => 0,
            };
            let new = old.checked_add(amount).ok_or(Refused::Overflow)?;
            // With counts it reads as an integer of 64 bits at most.
            i64::try_from(new / fixed::ONE).map(|_| new).map_err(|_| Refused::Overflow)
        };
        self.count(amount, check, at, events, change)
    }

    /// All concurrent values as they read with the counts, bytewise in order.
    pub(super) fn texts(&self, key: &Key, now: u64, writers: &Writers) -> Vec<Cow<'_, [u8]>> {
        let Some(reading) = self.read_in(key, now, writers) else { return Vec::new() };
        let values = self.values().iter().filter(|value| key.hold.shows(value.under(), now));
        let mut texts: Vec<Cow<'_, [u8]>> =
            values.map(|value| Reading { winner: Some(value), ..reading }.text()).collect();
        if texts.is_empty() {
            texts.push(reading.text());
        }
        texts.sort_unstable();
        texts.dedup();
        texts
    }
}
