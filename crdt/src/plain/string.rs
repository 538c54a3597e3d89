//! A plain string: a value, and what has been added to it.
//!
//! `SET` replaces the values and the counts that it has seen; `INCRBY` and `INCRBYFLOAT` add to the
//! counts. It reads as the later value; if that is a number, with the counts that stand. So
//! `SET 10` beside `INCRBY 5` is 15, and of a `DEL` beside `INCRBY 5` the 5 is left. `APPEND`,
//! `SETRANGE` and `SETBIT` are a `SET` of the whole value with its deadline.
//!
//! What `SET .. EX` gives belongs to that value. `EXPIRE` belongs to the values and counts that it
//! has seen, in place of the deadlines that it has seen: see [`deadline`](mod@super::deadline).

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::Moment;
use super::Refused;
use super::items::Text;
use super::single::{ALONE, Single, SingleDelta};
use crate::context::{Events, Writers};

/// A plain string.
pub type PlainString = Single<Text>;

/// A change of a plain string.
pub type StringDelta = SingleDelta<Text>;

impl PlainString {
    /// The value at `now`; none if it is absent.
    #[must_use]
    pub fn get(&self, now: u64, writers: &Writers) -> Option<Cow<'_, [u8]>> {
        self.cell.read(now, writers, |_| true).map(|reading| reading.text())
    }

    /// All concurrent values at `now`, bytewise in order.
    #[must_use]
    pub fn values(&self, now: u64, writers: &Writers) -> Vec<Cow<'_, [u8]>> {
        self.cell.texts(&ALONE, now, writers)
    }

    /// Sets `value` with its deadline, [`FOREVER`](super::FOREVER) for none, in place of all that is
    /// seen here.
    pub fn set<E: Events>(
        &mut self,
        value: &[u8],
        until: u64,
        events: &mut E,
        change: Option<&mut StringDelta>,
    ) {
        let new = |dot, time| Text::new(dot, time, (until, super::FOREVER), value);
        self.cell.set(new, events, change.map(|change| &mut change.cell));
    }

    /// Adds `n`; the new value. An absent one counts from 0.
    ///
    /// # Errors
    /// If the value is not an integer, or the sum does not fit 64 bits.
    pub fn add<E: Events>(
        &mut self,
        n: i64,
        moment: &Moment<'_>,
        events: &mut E,
        change: Option<&mut StringDelta>,
    ) -> Result<i64, Refused> {
        let change = change.map(|change| &mut change.cell);
        self.cell.count_integer(n, (moment, &ALONE), events, change)
    }

    /// Adds `amount` in units of [`fixed`](super::fixed); the new value in units. An absent one counts
    /// from 0.
    ///
    /// # Errors
    /// If the value is not a number, or the sum does not fit.
    pub fn add_decimal<E: Events>(
        &mut self,
        amount: i128,
        moment: &Moment<'_>,
        events: &mut E,
        change: Option<&mut StringDelta>,
    ) -> Result<i128, Refused> {
        let change = change.map(|change| &mut change.cell);
        self.cell.count_decimal(amount, (moment, &ALONE), events, change)
    }
}

const _: () = assert!(size_of::<PlainString>() <= 24);
