//! What has been added to a plain value, by writer: a counter in fixed point ([`fixed`]), so that
//! `INCRBY` and `INCRBYFLOAT` are one and every node adds to the same digits.
//!
//! Entries are as those of [`crate::counter`]: absolute, each with the dot of its newest update, the
//! *birth* under which its writer counts, and the *floor* that a reset has put below it. Here an
//! entry also says what a deadline needs to know: whether it began a life of the key, and under
//! which deadlines its newest update was made.
//!
//! Join, per writer: the larger birth wins whole; within a birth the newer update and the higher
//! floor. That is a lexicographic product of a chain and a lattice, hence a join semilattice.
//!
//! [`fixed`]: super::fixed

use alloc::vec::Vec;

use super::FOREVER;
use super::fixed::ONE;
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::context::{Context, Events, Seen, Writers};
use crate::counter::Overflow;
use crate::digest::fact;
use crate::dot::{Dot, Writer};

/// What a reset saw of an entry. Floors at the same update say the same, so `by` is no part of their
/// order: it only tells when the floor may be forgotten.
#[derive(Clone, Copy, Debug)]
pub struct Floor {
    /// The number of the entry's newest update that the reset saw.
    pub at: u64,
    /// The sum by then.
    pub v: i128,
    /// The reset.
    pub by: Dot,
}

impl PartialEq for Floor {
    fn eq(&self, other: &Floor) -> bool {
        (self.at, self.v) == (other.at, other.v)
    }
}

impl Eq for Floor {}

/// Under what an update was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tag {
    /// Whether it began a life of the key: it found nothing there, or only what had expired.
    pub fresh: bool,
    /// Of one that found only what had expired: when that was, in milliseconds; else 0.
    pub born: u64,
    /// The deadline of the value that it added to; [`FOREVER`] if there was none.
    pub until: u64,
    /// The deadline of the key that the value is a part of; [`FOREVER`] if there was none.
    pub under: u64,
}

/// What one writer added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The writer and its newest update.
    pub dot: Dot,
    /// The number of its first update of this life of the entry.
    pub birth: u64,
    /// The sum of it all, in units.
    pub v: i128,
    /// How much of that has been deleted.
    pub floor: Option<Floor>,
    /// What the first update found, and the deadlines of the newest.
    pub tag: Tag,
}

impl Entry {
    /// Whether some update of it is not deleted, be it an addition of 0.
    #[must_use]
    pub fn live(&self) -> bool {
        self.floor.is_none_or(|floor| self.dot.seq() > floor.at)
    }

    /// Its first update, which names it as a life of the key.
    #[must_use]
    pub fn life(&self) -> Option<Dot> {
        Dot::new(self.dot.writer(), self.birth)
    }

    /// Joins what another node knows of the same writer; whether that was more.
    fn join(&mut self, other: &Entry) -> bool {
        let before = *self;
        if other.birth > self.birth {
            *self = *other;
        } else if other.birth == self.birth {
            // Only hostile peers say different things of one update; then, too, all agree.
            let newest =
                |entry: &Entry| (entry.dot.seq(), entry.v, entry.tag.until, entry.tag.under);
            if newest(other) > newest(self) {
                (self.dot, self.v) = (other.dot, other.v);
                (self.tag.until, self.tag.under) = (other.tag.until, other.tag.under);
            }
            self.tag.fresh |= other.tag.fresh;
            self.tag.born = self.tag.born.max(other.tag.born);
            let height = |floor: Option<Floor>| floor.map(|floor| (floor.at, floor.v));
            if height(other.floor) > height(self.floor) {
                self.floor = other.floor;
            }
        }
        *self != before
    }

    fn floored(self, by: Dot) -> Entry {
        let floor = Floor { at: self.dot.seq(), v: self.v, by };
        Entry { floor: if self.live() { Some(floor) } else { self.floor }, ..self }
    }

    /// The same on every node.
    pub(super) fn digest(&self, writers: &Writers) -> u64 {
        let (at, floor) = self.floor.map_or((0, 0), |floor| (floor.at, floor.v));
        let Tag { fresh, born, until, under } = self.tag;
        let [v, w] = [self.v, floor].map(|v| [v as u64, (v >> 64) as u64]);
        let words = [self.birth, v[0], v[1], at, w[0], w[1], fresh.into(), born, until, under];
        fact(writers, self.dot, &words)
    }

    fn encode(&self, to: &mut Encoder) {
        let Tag { fresh, born, until, under } = self.tag;
        to.dot(self.dot);
        to.varint(self.birth);
        encode_units(self.v, to);
        let flags = [fresh, born != 0, until != FOREVER, under != FOREVER, self.floor.is_some()];
        to.byte(flags.iter().rev().fold(0, |byte, flag| byte << 1 | u8::from(*flag)));
        if born != 0 {
            to.varint(born);
        }
        [until, under].into_iter().filter(|at| *at != FOREVER).for_each(|at| to.varint(at));
        if let Some(floor) = self.floor {
            to.varint(floor.at);
            encode_units(floor.v, to);
            to.dot(floor.by);
        }
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Entry, DecodeError> {
        let (dot, birth, v) = (from.dot()?, from.varint()?, decode_units(from)?);
        let flags = from.byte()?;
        if flags >= 32 {
            return Err(DecodeError::Invalid("flags"));
        }
        let mut number = |bit: u8, none: u64| match flags >> bit & 1 {
            0 => Ok(none),
            _ => from.varint().and_then(|n| {
                if n == none { Err(DecodeError::Invalid("deadline")) } else { Ok(n) }
            }),
        };
        let (born, until, under) = (number(1, 0)?, number(2, FOREVER)?, number(3, FOREVER)?);
        let floor = match flags >> 4 {
            0 => None,
            _ => {
                let (at, v) = (from.varint()?, decode_units(from)?);
                Some(Floor { at, v, by: from.dot()? })
            }
        };
        if birth == 0 || birth > dot.seq() {
            return Err(DecodeError::Invalid("birth"));
        }
        if floor.is_some_and(|floor| floor.at > dot.seq() || floor.at < birth) {
            return Err(DecodeError::Invalid("floor"));
        }
        let tag = Tag { fresh: flags & 1 == 1, born, until, under };
        Ok(Entry { dot, birth, v, floor, tag })
    }
}

/// Writes an amount: an integer in few bytes, and others in up to twenty.
fn encode_units(units: i128, to: &mut Encoder) {
    let zigzag = |n: i128| (n << 1 ^ n >> 127) as u128;
    // The lowest bit of the first number says whether a second follows.
    let whole = (units % ONE == 0).then(|| zigzag(units / ONE)).filter(|n| *n < 1 << 63);
    match whole {
        Some(n) => to.varint((n as u64) << 1),
        None => {
            let n = zigzag(units);
            to.varint((n as u64) << 2 >> 1 | 1);
            to.varint((n >> 62) as u64);
            to.byte((n >> 126) as u8);
        }
    }
}

fn decode_units(from: &mut Decoder<'_>) -> Result<i128, DecodeError> {
    let back = |n: u128| (n >> 1) as i128 ^ -((n & 1) as i128);
    let first = from.varint()?;
    if first & 1 == 0 {
        return Ok(back(u128::from(first >> 1)) * ONE);
    }
    let (middle, high) = (from.varint()?, from.byte()?);
    if high > 3 || first >> 63 == 1 {
        return Err(DecodeError::Invalid("amount"));
    }
    let n = u128::from(first >> 1) | u128::from(middle) << 62 | u128::from(high) << 126;
    let units = back(n);
    let whole = units % ONE == 0 && (0..1 << 63).contains(&((units / ONE) << 1 ^ units >> 127));
    if whole { Err(DecodeError::Invalid("amount")) } else { Ok(units) }
}

/// The entries of all writers that have added, in the writers' order.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Counts {
    entries: Vec<Entry>,
}

impl Counts {
    pub(super) fn one(entry: Entry) -> Counts {
        Counts { entries: Vec::from([entry]) }
    }

    /// The entries.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn find(&self, writer: Writer) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&writer, |entry| entry.dot.writer())
    }

    /// The entry of `writer`.
    #[must_use]
    pub fn entry(&self, writer: Writer) -> Option<&Entry> {
        self.find(writer).ok().map(|at| &self.entries[at])
    }

    /// Whether an entry is live.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.entries.iter().any(Entry::live)
    }

    /// Adds under the local writer, whatever that makes of the value. `tag` is what the update
    /// found; of an entry that goes on, what its first one found stays. One that is `stale`, since
    /// it is past its deadline, does not go on.
    pub(super) fn add<E: Events>(
        &mut self,
        amount: i128,
        (tag, stale): (Tag, bool),
        events: &mut E,
    ) -> Result<(), Overflow> {
        let at = self.find(events.writer());
        match at {
            Ok(at) if self.entries[at].live() && !stale => {
                let entry = &mut self.entries[at];
                entry.v = entry.v.checked_add(amount).ok_or(Overflow)?;
                if !events.unsent(entry.dot) {
                    entry.dot = events.next();
                }
                (entry.tag.until, entry.tag.under) = (tag.until, tag.under);
            }
            _ => {
                let dot = events.next();
                let entry = Entry { dot, birth: dot.seq(), v: amount, floor: None, tag };
                match at {
                    // All of it is gone, and its writer knows: it counts on under a new birth.
                    Ok(at) => self.entries[at] = entry,
                    Err(at) => self.entries.insert(at, entry),
                }
            }
        }
        Ok(())
    }

    /// Deletes what is seen here, and notes in `change` what others must hear; whether there was
    /// anything. The local writer's entry goes at once, those of others when their writers have
    /// said that they know.
    pub(super) fn reset<E: Events>(&mut self, events: &mut E, change: Option<&mut Noted>) -> bool {
        if !self.is_live() {
            return false;
        }
        let by = events.next();
        if let Some(change) = change {
            for entry in &self.entries {
                let never_sent = entry.birth == entry.dot.seq() && events.unsent(entry.dot);
                let noted = change.get(entry.dot.writer()).map(|noted| noted.birth);
                // Of an entry that nobody has seen nothing need be said, unless the change speaks
                // of it already: that may have hidden the reset of an earlier life.
                if !never_sent || noted == Some(entry.birth) {
                    change.note(entry.floored(by));
                }
            }
        }
        self.entries.retain_mut(|entry| {
            *entry = entry.floored(by);
            entry.dot.writer() != events.writer()
        });
        true
    }

    /// Notes what is deleted here and not forgotten yet: a clear must say it again.
    pub(super) fn note_floors(&self, change: &mut Noted) {
        self.entries.iter().filter(|e| e.floor.is_some()).for_each(|entry| change.note(*entry));
    }

    /// As [`crate::Counter::collect`].
    pub(super) fn collect(&mut self, applied: impl Fn(Dot, Dot) -> bool) {
        self.entries.retain(|entry| {
            let done = |floor: Floor| applied(entry.dot, floor.by);
            entry.live() || !entry.floor.is_some_and(done)
        });
    }

    /// As [`crate::Counter::adopt`].
    pub(super) fn take_over<E: Events>(
        &mut self,
        gone: &impl Fn(Dot) -> bool,
        events: &mut E,
        change: Option<&mut Noted>,
    ) -> bool {
        let left = |entry: &Entry| entry.floor.map_or(Some(entry.v), |f| entry.v.checked_sub(f.v));
        let own = self.entry(events.writer()).map_or(0, |entry| entry.v);
        let (mut sum, mut tag, mut taken) = (0i128, None, Vec::new());
        for entry in self.entries.iter().filter(|entry| entry.live() && gone(entry.dot)) {
            // One that does not fit the local writer's sum stays as it is.
            let next = left(entry).and_then(|left| sum.checked_add(left));
            let Some(next) = next.filter(|next| own.checked_add(*next).is_some()) else { continue };
            sum = next;
            let found = tag.get_or_insert(entry.tag);
            found.until = found.until.max(entry.tag.until);
            found.under = found.under.max(entry.tag.under);
            found.fresh |= entry.tag.fresh;
            found.born = found.born.max(entry.tag.born);
            taken.push(*entry);
        }
        let Some(tag) = tag else { return false };
        let by = events.next();
        for entry in &mut taken {
            *entry = entry.floored(by);
            if let Ok(at) = self.find(entry.dot.writer()) {
                self.entries[at] = *entry;
            }
        }
        self.add(sum, (tag, false), events).expect("checked above");
        if let Some(change) = change {
            let own = self.entry(by.writer()).copied();
            taken.into_iter().chain(own).for_each(|entry| change.note(entry));
        }
        true
    }

    /// Joins a change; whether anything was new.
    pub(super) fn apply(
        &mut self,
        seen: &impl Seen,
        cleared: &Option<Context>,
        change: &Noted,
    ) -> bool {
        let before = self.entries.len();
        if cleared.is_some() {
            self.entries.retain(|entry| {
                !cleared.seen(entry.dot) || change.get(entry.dot.writer()).is_some()
            });
        }
        let mut new = self.entries.len() < before;
        let mut fresh = Vec::new();
        for entry in &change.entries {
            match self.find(entry.dot.writer()) {
                Ok(at) => new |= self.entries[at].join(entry),
                Err(_) if !seen.seen(entry.dot) => fresh.push(*entry),
                Err(_) => {}
            }
        }
        if !fresh.is_empty() {
            new = true;
            self.entries.extend(fresh);
            self.entries.sort_unstable_by_key(|entry| entry.dot.writer());
        }
        new
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
    }
}

/// The sum of entries; it is exact in between, and the nearest that fits in the end.
pub(super) fn total<'a>(entries: impl Iterator<Item = &'a Entry>) -> i128 {
    let (mut whole, mut rest) = (0i128, 0i128);
    for entry in entries {
        let floor = entry.floor.map_or(0, |floor| floor.v);
        whole += entry.v / ONE - floor / ONE;
        rest += entry.v % ONE - floor % ONE;
    }
    whole += rest / ONE;
    whole.saturating_mul(ONE).saturating_add(rest % ONE)
}

/// What a change says of the entries: absolute, in the writers' order, one each.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Noted {
    entries: Vec<Entry>,
}

impl Noted {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn get(&self, writer: Writer) -> Option<&Entry> {
        let at = self.entries.binary_search_by_key(&writer, |entry| entry.dot.writer());
        at.ok().map(|at| &self.entries[at])
    }

    /// Notes an entry as it is here now, in place of what it was.
    pub(super) fn note(&mut self, entry: Entry) {
        let writer = entry.dot.writer();
        match self.entries.binary_search_by_key(&writer, |entry| entry.dot.writer()) {
            // Under a dot that nobody has seen the sum may also have become less.
            Ok(at) => self.entries[at] = entry,
            Err(at) => self.entries.insert(at, entry),
        }
    }

    fn settle(&mut self) {
        self.entries.sort_by_key(|entry| entry.dot.writer());
        self.entries.dedup_by(|later, entry| {
            let same = later.dot.writer() == entry.dot.writer();
            if same {
                entry.join(later);
            }
            same
        });
    }

    /// Joins another change of the same value. An entry that one side has and the other knows to be
    /// gone is gone.
    pub(super) fn join(&mut self, mine: &impl Seen, theirs: &impl Seen, other: &Noted) {
        let stays =
            |entry: &&Entry| self.get(entry.dot.writer()).is_some() || !mine.seen(entry.dot);
        let come: Vec<Entry> = other.entries.iter().filter(stays).copied().collect();
        self.entries
            .retain(|entry| other.get(entry.dot.writer()).is_some() || !theirs.seen(entry.dot));
        self.entries.extend(come);
        self.settle();
    }

    pub(super) fn removals(&self) -> Noted {
        let floored = self.entries.iter().filter(|entry| entry.floor.is_some());
        Noted { entries: floored.copied().collect() }
    }

    pub(super) fn encode(&self, to: &mut Encoder) {
        to.count(self.entries.len());
        self.entries.iter().for_each(|entry| entry.encode(to));
    }

    pub(super) fn decode(from: &mut Decoder<'_>) -> Result<Noted, DecodeError> {
        let count = from.count(5)?;
        let mut noted = Noted::default();
        // What is claimed is not believed: room for many comes as they do.
        noted.entries.reserve_exact(count.min(1 << 8));
        for _ in 0..count {
            noted.entries.push(Entry::decode(from)?);
        }
        noted.settle();
        Ok(noted)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn again(units: i128) -> Option<i128> {
        let mut encoder = Encoder::new();
        encode_units(units, &mut encoder);
        let message = encoder.finish(0, &Writers::new());
        let (_, mut decoder) = Decoder::open(&message, &mut Writers::new()).ok()?;
        let units = decode_units(&mut decoder).ok()?;
        decoder.close().ok().map(|()| units)
    }

    proptest! {
        #[test]
        fn amounts_come_back(units: i128, n: i64) {
            prop_assert_eq!(again(units), Some(units));
            prop_assert_eq!(again(i128::from(n) * ONE), Some(i128::from(n) * ONE));
        }
    }

    #[test]
    fn the_greatest_amounts_come_back_and_small_integers_take_a_byte() {
        for units in [0, 1, -1, ONE - 1, i128::MAX, i128::MIN, i128::MIN + 1] {
            assert_eq!(again(units), Some(units));
        }
        let mut encoder = Encoder::new();
        encode_units(ONE * 31, &mut encoder);
        assert_eq!(encoder.size(), 1);
    }

    #[test]
    fn sums_beyond_all_bounds_read_as_the_greatest_and_heal() {
        let tag = Tag { fresh: true, born: 0, until: FOREVER, under: FOREVER };
        let entry = |writer: u16, v: i128| {
            let dot = Dot::new(Writer(writer), 1).expect("small");
            Entry { dot, birth: 1, v, floor: None, tag }
        };
        let mut entries = Vec::from([entry(0, i128::MAX), entry(1, i128::MAX)]);
        assert_eq!(total(entries.iter()), i128::MAX);
        entries.push(entry(2, -i128::MAX));
        assert_eq!(total(entries.iter()), i128::MAX);
        entries.push(entry(3, -i128::MAX));
        assert_eq!(total(entries.iter()), 0);
    }
}
