//! A plain hash: each field as a plain string, its deadline included.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::cell::Cell;
use super::items::Text;
use super::keyed::{Element, Key, Keyed, KeyedDelta};
use super::{Moment, Refused};
use crate::context::{Events, Writers};

/// A plain hash.
pub type PlainHash = Keyed<Text>;

/// A change of a plain hash.
pub type HashDelta = KeyedDelta<Text>;

impl Element for Text {
    type Index = ();
    type Place = ();

    fn place(_: &Cell<Text>) -> Option<()> {
        None
    }

    fn moved(_: &mut (), _: &[u8], _: Option<()>, _: Option<()>) {}
}

impl PlainHash {
    /// The value of `field` at `now`; none if it is absent.
    #[must_use]
    pub fn get(&self, field: &[u8], now: u64, writers: &Writers) -> Option<Cow<'_, [u8]>> {
        let (cell, key) = self.cell(field, now, writers)?;
        cell.read_in(&key, now, writers).map(|reading| reading.text())
    }

    /// All concurrent values of `field` at `now`, bytewise in order.
    #[must_use]
    pub fn values(&self, field: &[u8], now: u64, writers: &Writers) -> Vec<Cow<'_, [u8]>> {
        let found = self.cell(field, now, writers);
        found.map_or_else(Vec::new, |(cell, key)| cell.texts(&key, now, writers))
    }

    /// The fields and their values at `now`, in no particular order.
    pub fn fields<'a>(
        &'a self,
        now: u64,
        writers: &'a Writers,
    ) -> impl Iterator<Item = (&'a [u8], Cow<'a, [u8]>)> {
        let hold = self.hold();
        self.iter(now, writers).filter_map(move |(field, cell)| {
            let reading = cell.read(now, writers, |under| hold.shows(under, now))?;
            Some((field, reading.text()))
        })
    }

    /// The field's own deadline in milliseconds, [`FOREVER`](super::FOREVER) if there is none; none
    /// if the field is absent at `now`.
    #[must_use]
    pub fn field_deadline(&self, field: &[u8], now: u64, writers: &Writers) -> Option<u64> {
        let (cell, key) = self.cell(field, now, writers)?;
        cell.read_in(&key, now, writers).map(|reading| reading.deadline)
    }

    /// Sets `field` to `value` with its own deadline, [`FOREVER`](super::FOREVER) for none, in place
    /// of what is seen here; whether the field is new here.
    pub fn set<E: Events>(
        &mut self,
        (field, value, until): (&[u8], &[u8], u64),
        moment: &Moment<'_>,
        events: &mut E,
        mut change: Option<&mut HashDelta>,
    ) -> bool {
        let key = self.begin(moment, events, change.as_deref_mut());
        self.touch(field, |cell| {
            let new = !Keyed::shows(cell, &key.hold, moment.now, moment.writers);
            let value = |dot, time| Text::new(dot, time, (until, key.under), value);
            cell.set(value, events, change.map(|change| change.cell(field)));
            new
        })
    }

    /// Changes a field by counting, which creates it if it is absent.
    fn count<E: Events, R>(
        &mut self,
        field: &[u8],
        moment: &Moment<'_>,
        events: &mut E,
        mut change: Option<&mut HashDelta>,
        count: impl FnOnce(&mut Cell<Text>, &Key, &mut E, Option<&mut HashDelta>) -> Result<R, Refused>,
    ) -> Result<R, Refused> {
        let key = self.begin(moment, events, change.as_deref_mut());
        self.touch(field, |cell| count(cell, &key, events, change))
    }

    /// Adds `n` to `field`; the new value. An absent one counts from 0.
    ///
    /// # Errors
    /// If the value is not an integer, or the sum does not fit 64 bits.
    pub fn add<E: Events>(
        &mut self,
        (field, n): (&[u8], i64),
        moment: &Moment<'_>,
        events: &mut E,
        change: Option<&mut HashDelta>,
    ) -> Result<i64, Refused> {
        self.count(field, moment, events, change, |cell, key, events, mut change| {
            let noted = change.as_mut().map(|change| change.cell(field));
            let answer = cell.count_integer(n, (moment, key), events, noted);
            change.into_iter().for_each(|change| change.forget_if_empty(field));
            answer
        })
    }

    /// Adds `amount` in units of [`fixed`](super::fixed) to `field`; the new value in units. An absent
    /// one counts from 0.
    ///
    /// # Errors
    /// If the value is not a number, or the sum does not fit.
    pub fn add_decimal<E: Events>(
        &mut self,
        (field, amount): (&[u8], i128),
        moment: &Moment<'_>,
        events: &mut E,
        change: Option<&mut HashDelta>,
    ) -> Result<i128, Refused> {
        self.count(field, moment, events, change, |cell, key, events, mut change| {
            let noted = change.as_mut().map(|change| change.cell(field));
            let answer = cell.count_decimal(amount, (moment, key), events, noted);
            change.into_iter().for_each(|change| change.forget_if_empty(field));
            answer
        })
    }

    /// Sets the deadline of `field`, [`FOREVER`](super::FOREVER) to take it away; whether the field
    /// was there.
    pub fn expire_field<E: Events>(
        &mut self,
        (field, at): (&[u8], u64),
        moment: &Moment<'_>,
        events: &mut E,
        change: Option<&mut HashDelta>,
    ) -> bool {
        let Some((_, key)) = self.cell(field, moment.now, moment.writers) else { return false };
        let mut change = change;
        let there = {
            let mut noted = change.as_deref_mut();
            self.touch(field, |cell| {
                let noted = noted.as_mut().map(|change| change.cell(field));
                cell.expire(at, (moment, &key), events, noted)
            })
        };
        change.into_iter().for_each(|change| change.forget_if_empty(field));
        there
    }
}
