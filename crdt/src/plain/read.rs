//! How a cell reads at a time: which value, which counts, until when.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::FOREVER;
use super::cell::Cell;
use super::counts::{Entry, Tag, total};
use super::deadline::{Hold, Term};
use super::fixed;
use super::items::{Item, Text, latest};
use crate::context::Writers;
use crate::counter::saturate;
use crate::dot::Dot;

/// What a cell reads as.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a, V> {
    /// The value that was set last, if any stands.
    pub winner: Option<&'a V>,
    /// What has been added, in units; none if nothing has.
    pub counted: Option<i128>,
    /// The deadline in milliseconds; [`FOREVER`] if there is none.
    pub deadline: u64,
}

impl<V: Item> Cell<V> {
    /// What it reads as at `now`; none if it is absent or past its deadline. `shows` says of a
    /// deadline of the key whether what was written under it is there.
    ///
    /// Of a cell with values the winner decides, be the others' deadlines what they may: its terms,
    /// or else what it was written with. Counts are on top of it unless they had expired before it
    /// was written. Without a value the counts are what a key's items are: see [`Hold`].
    #[must_use]
    pub fn read(
        &self,
        now: u64,
        writers: &Writers,
        shows: impl Fn(u64) -> bool,
    ) -> Option<Reading<'_, V>> {
        match self {
            Cell::None => return None,
            Cell::One(value) => {
                let there = now < value.until() && shows(value.under());
                let deadline = value.until();
                return there.then_some(Reading { winner: Some(value), counted: None, deadline });
            }
            Cell::Count { v, .. } => {
                let counted = Some(fixed::of_integer(*v));
                return Some(Reading { winner: None, counted, deadline: FOREVER });
            }
            Cell::Full(_) => {}
        }
        let (winner, entries, deadline) = self.shown(now, writers, shows);
        let counted = (!entries.is_empty()).then(|| total(entries.iter()));
        let there = now < deadline && (winner.is_some() || counted.is_some());
        there.then_some(Reading { winner, counted, deadline })
    }

    /// The winner, the counts that are there, and the deadline, which may be over.
    pub(super) fn shown(
        &self,
        now: u64,
        writers: &Writers,
        shows: impl Fn(u64) -> bool,
    ) -> (Option<&V>, Vec<Entry>, u64) {
        let values = self.values().iter().filter(|value| shows(value.under()));
        let winner = latest(values, |dot| writers.id(dot.writer()));
        let live = || self.entries().filter(|entry| entry.live() && shows(entry.tag.under));
        if let Some(value) = winner {
            let terms = self.terms().iter().filter(|term| term.of.contains(value.dot()));
            let deadline = terms.map(|term| term.at).max().unwrap_or(value.until());
            let written = value.time() >> 16;
            let entries = live().filter(|entry| entry.tag.until > written);
            return (winner, entries.collect(), deadline);
        }
        // What was over before something began anew after a deadline has nothing to do with it.
        let began = live().filter(|entry| entry.tag.fresh).map(|entry| entry.tag.born);
        let last = began.max().unwrap_or(0);
        let ended = |entry: &Entry| {
            let names = |term: &&Term| entry.life().is_some_and(|life| term.of.contains(life));
            let set = self.terms().iter().filter(names).map(|term| term.at).max();
            set.unwrap_or(entry.tag.until) <= last
        };
        let live = || live().filter(|entry| !ended(entry));
        let lives: Vec<(Dot, u64)> = live()
            .filter(|entry| entry.tag.fresh)
            .filter_map(|entry| Some((entry.life()?, entry.tag.born)))
            .collect();
        let hold = Hold::new(lives.iter().copied(), self.terms());
        let there = |Tag { fresh, born, until, .. }: Tag| {
            hold.shows(until, now) && (!fresh || hold.shows_life(born, now))
        };
        let entries: Vec<Entry> = live().filter(|entry| there(entry.tag)).collect();
        let latest = entries.iter().map(|entry| entry.tag.until).max().unwrap_or(FOREVER);
        let deadline = if hold.at.is_some() { hold.deadline() } else { latest };
        (None, entries, deadline)
    }
}

impl<'a> Reading<'a, Text> {
    /// Its text: the value; if that is a number, with what has been added.
    #[must_use]
    pub fn text(&self) -> Cow<'a, [u8]> {
        let Some(winner) = self.winner.map(Text::bytes) else {
            return Cow::Owned(print(self.counted.unwrap_or(0)));
        };
        match (self.counted, fixed::parse(winner)) {
            (Some(counted), Ok(base)) => Cow::Owned(print(base.saturating_add(counted))),
            _ => Cow::Borrowed(winner),
        }
    }

    /// The number that it is, in units; none if it is none.
    #[must_use]
    pub fn number(&self) -> Option<i128> {
        let base = match self.winner {
            Some(winner) => fixed::parse(winner.bytes()).ok()?,
            None => 0,
        };
        Some(base.saturating_add(self.counted.unwrap_or(0)))
    }

    /// The integer that it is, which merging may carry beyond 64 bits; none if it is none.
    #[must_use]
    pub fn integer(&self) -> Option<i128> {
        match (self.winner, self.counted) {
            (Some(winner), None) => fixed::integer(winner.bytes()).map(i128::from),
            _ => self.number().filter(|n| n % fixed::ONE == 0).map(|n| n / fixed::ONE),
        }
    }
}

/// A number as it reads: an integer beyond 64 bits as the nearest that fits.
fn print(units: i128) -> Vec<u8> {
    if units % fixed::ONE == 0 {
        fixed::print(fixed::of_integer(saturate(units / fixed::ONE)))
    } else {
        fixed::print(units)
    }
}
