//! A plain sorted set: members with a score that was set and increments on top.
//!
//! `ZADD` replaces the scores and the increments that it has seen; `ZINCRBY` adds. A member's score
//! is the later one that was set, or of concurrent ones the greatest if that was set by `GT` and the
//! least if by `LT`, and all increments that stand. A `ZREM` takes what it has seen: of a concurrent
//! `ZINCRBY 2` the member with 2 is left. Scores of the very same time are ordered by themselves, so
//! the index needs no ids of writers.

use alloc::borrow::Cow;

use super::cell::Cell;
use super::items::{Item, Mode, Score, latest};
use super::keyed::{Element, Keyed, KeyedDelta};
use super::order::Order;
use super::{Moment, Refused, fixed};
use crate::context::{Events, Writers};

/// A plain sorted set.
pub type PlainZSet = Keyed<Score>;

/// A change of a plain sorted set.
pub type ZSetDelta = KeyedDelta<Score>;

impl Element for Score {
    type Index = Order;
    type Place = f64;

    fn place(cell: &Cell<Score>) -> Option<f64> {
        score(cell, |_| true)
    }

    fn moved(order: &mut Order, member: &[u8], from: Option<f64>, to: Option<f64>) {
        if let Some(from) = from {
            order.remove(from, member);
        }
        if let Some(to) = to {
            order.insert(to, member);
        }
    }

    fn index_bytes(order: &Order) -> usize {
        order.heap_bytes()
    }
}

/// The score of a cell; none if nothing of it is there.
fn score(cell: &Cell<Score>, shows: impl Fn(u64) -> bool) -> Option<f64> {
    if let Cell::One(score) = cell {
        return shows(score.under()).then_some(score.score());
    }
    // Nothing here has a deadline of its own, so no time is asked for.
    let reading = cell.read(0, &Writers::new(), &shows)?;
    let values = || cell.values().iter().filter(|value| shows(value.under()));
    let scores = values().map(Score::score);
    let base = match latest(values(), |_| None) {
        None => 0.0,
        Some(last) => match last.mode() {
            Mode::Set => last.score(),
            Mode::Greater => scores.fold(last.score(), f64::max),
            Mode::Less => scores.fold(last.score(), f64::min),
        },
    };
    Some(base + reading.counted.map_or(0.0, fixed::to_f64))
}

impl PlainZSet {
    /// The score of `member` at `now`; none if it is absent.
    #[must_use]
    pub fn score(&self, member: &[u8], now: u64, writers: &Writers) -> Option<f64> {
        let (cell, key) = self.cell(member, now, writers)?;
        score(cell, |under| key.hold.shows(under, now))
    }

    /// The members that are there at `now` in the order of their scores; none if the key is absent.
    /// O(1), but linear if some are past their deadlines alone.
    #[must_use]
    pub fn order(&self, now: u64, writers: &Writers) -> Option<Cow<'_, Order>> {
        let hold = self.hold();
        if !self.exists(now, writers) {
            return None;
        }
        if self.shows_all(&hold, now) {
            return Some(Cow::Borrowed(&self.index));
        }
        let mut order = Order::default();
        for (member, cell) in self.iter(now, writers) {
            let score = score(cell, |under| hold.shows(under, now));
            score.into_iter().for_each(|score| order.insert(score, member));
        }
        Some(Cow::Owned(order))
    }

    /// Sets the score of `member`, which is not NaN, in place of what is seen here; whether the
    /// member is new here.
    pub fn set<E: Events>(
        &mut self,
        (member, score, mode): (&[u8], f64, Mode),
        moment: &Moment<'_>,
        events: &mut E,
        mut change: Option<&mut ZSetDelta>,
    ) -> bool {
        let key = self.begin(moment, events, change.as_deref_mut());
        let under = key.under;
        self.touch(member, |cell| {
            let new = !Keyed::shows(cell, &key.hold, moment.now, moment.writers);
            let change = change.map(|change| change.cell(member));
            cell.set(|dot, time| Score::new((dot, time), score, under, mode), events, change);
            new
        })
    }

    /// Adds `n` to the score of `member`; the new score. An absent one counts from 0. What does not
    /// fit the fixed point is set as a score instead.
    ///
    /// # Errors
    /// If the new score would be no number.
    pub fn add<E: Events>(
        &mut self,
        (member, n): (&[u8], f64),
        moment: &Moment<'_>,
        events: &mut E,
        mut change: Option<&mut ZSetDelta>,
    ) -> Result<f64, Refused> {
        let old = self.score(member, moment.now, moment.writers).unwrap_or(0.0);
        let sum = old + n;
        if sum.is_nan() {
            return Err(Refused::NotFloat);
        }
        if let Some(amount) = fixed::of_f64(n) {
            let key = self.begin(moment, events, change.as_deref_mut());
            let noted = change.as_deref_mut().map(|change| change.cell(member));
            let counted = self.touch(member, |cell| {
                cell.count(amount, |_| Ok(()), (moment, &key), events, noted)
            });
            if counted.is_ok() {
                return Ok(self.score(member, moment.now, moment.writers).unwrap_or(sum));
            }
        }
        self.set((member, sum, Mode::Set), moment, events, change);
        Ok(sum)
    }
}

const _: () = assert!(size_of::<Cell<Score>>() <= 32);
