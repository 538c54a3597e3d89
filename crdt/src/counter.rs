//! Counters: grow-only and positive-negative, with observed reset.
//!
//! State: per writer how much it added and took away, ever; a reset's *floor* says how much of that
//! has been deleted. The value is the sum of `(p - fp) - (n - fn)`, kept up to date, so reading is
//! O(1) whatever the number of writers. A grow-only counter is one whose `n` stay 0.
//!
//! An entry (`semantics.md` 3.2) is absolute and carries
//!
//! - the *dot* of its newest update: an entry that is absent here although its dot is known has
//!   been dropped, and an old copy of it is ignored;
//! - its *birth*, the number of its first update: a writer that dropped its own entry after a reset
//!   counts on under a new birth. Without births the new entry would start at 0, and the maximum
//!   taken at a peer that still holds the old one would swallow the new increments;
//! - its *floor*, the entry as some reset saw it. A writer's entry only grows, so floors of one
//!   birth form a chain, and the later one says all that the earlier one said.
//!
//! Join, per writer: the larger birth wins whole; within a birth the newer update and the higher
//! floor. That is a lexicographic product of a chain and a lattice, hence a join semilattice.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::Crdt;
use crate::batch::fact;
use crate::codec::{DecodeError, Decoder, Encode, Encoder};
use crate::context::{Context, Events, Seen, Writers};
use crate::dot::{Dot, Writer};

/// What a reset saw of an entry.
///
/// Floors at the same update say the same, so they are equal whatever their `by`, which only tells
/// when the floor may be forgotten: either reset's word is good for that.
#[derive(Clone, Copy, Debug)]
pub struct Floor {
    /// The number of the entry's newest update that the reset saw.
    pub at: u64,
    /// What had been added by then.
    pub p: u64,
    /// What had been taken away by then.
    pub n: u64,
    /// The reset itself: once the entry's writer has applied it, the floor may be forgotten.
    pub by: Dot,
}

impl Ord for Floor {
    fn cmp(&self, other: &Floor) -> Ordering {
        (self.at, self.p, self.n).cmp(&(other.at, other.p, other.n))
    }
}

impl PartialOrd for Floor {
    fn partial_cmp(&self, other: &Floor) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Floor {
    fn eq(&self, other: &Floor) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Floor {}

/// What one writer did to a counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The writer and its newest update.
    pub dot: Dot,
    /// The number of the writer's first update of this life of the entry.
    pub birth: u64,
    /// Total added.
    pub p: u64,
    /// Total taken away.
    pub n: u64,
    /// How much of it has been deleted.
    pub floor: Option<Floor>,
}

impl Entry {
    fn value(&self) -> i128 {
        let (fp, fn_) = self.floor.map_or((0, 0), |floor| (floor.p, floor.n));
        (i128::from(self.p) - i128::from(fp)) - (i128::from(self.n) - i128::from(fn_))
    }

    /// Whether some update of it is not deleted, be it an addition of 0.
    #[must_use]
    pub fn live(&self) -> bool {
        self.floor.is_none_or(|floor| self.dot.seq() > floor.at)
    }

    /// Joins what another node knows of the same writer; whether that was more.
    fn join(&mut self, other: &Entry) -> bool {
        let before = *self;
        if other.birth > self.birth {
            *self = *other;
        } else if other.birth == self.birth {
            self.dot = self.dot.max(other.dot);
            self.p = self.p.max(other.p);
            self.n = self.n.max(other.n);
            if other.floor > self.floor {
                self.floor = other.floor;
            }
        }
        *self != before
    }
}

/// A counter; see the module for its parts.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub enum Counter {
    /// Nobody has counted.
    #[default]
    None,
    /// One writer, no floor: the usual case, without an allocation. Parts as in [`Entry`].
    One {
        /// Birth, in 48 bits, so that the counter stays 32 bytes.
        birth: [u8; 6],
        /// The writer and its newest update.
        dot: Dot,
        /// Total added.
        p: u64,
        /// Total taken away.
        n: u64,
    },
    /// Any number of writers.
    Many(Box<Many>),
}

/// The entries of several writers, in the writers' order, with what reading wants of them.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Many {
    entries: Vec<Entry>,
    /// The sum of their values.
    total: i128,
    /// How many of them are live.
    live: usize,
}

/// The increment would take this node's view of the counter, or what the local writer has added to
/// it or taken away in all, beyond 64 bits. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Overflow;

fn pack(birth: u64) -> [u8; 6] {
    let [a, b, c, d, e, f, ..] = birth.to_le_bytes();
    [a, b, c, d, e, f]
}

fn unpack(birth: [u8; 6]) -> u64 {
    let [a, b, c, d, e, f] = birth;
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
}

impl Many {
    fn find(&self, writer: Writer) -> Result<usize, usize> {
        // The local writer is nearly always the first that its process interned.
        match self.entries.first() {
            Some(first) if first.dot.writer() == writer => Ok(0),
            _ => self.entries.binary_search_by_key(&writer, |entry| entry.dot.writer()),
        }
    }

    fn insert(&mut self, at: usize, entry: Entry) {
        self.total += entry.value();
        self.live += usize::from(entry.live());
        self.entries.insert(at, entry);
    }

    fn put(&mut self, at: usize, entry: Entry) {
        let old = core::mem::replace(&mut self.entries[at], entry);
        self.total += entry.value() - old.value();
        self.live = self.live + usize::from(entry.live()) - usize::from(old.live());
    }

    /// Adds entries of writers that have none.
    fn extend(&mut self, fresh: &[Entry]) {
        // A hostile peer may send thousands: sort once instead of inserting each.
        if fresh.len() > 8 {
            self.entries.extend_from_slice(fresh);
            self.entries.sort_unstable_by_key(|entry| entry.dot.writer());
            self.retain(|_| true);
        } else {
            for entry in fresh {
                if let Err(at) = self.find(entry.dot.writer()) {
                    self.insert(at, *entry);
                }
            }
        }
    }

    /// Adds to the local writer's entry, whatever that makes of the value.
    fn count<E: Events>(&mut self, p: u64, n: u64, events: &mut E) -> Result<(), Overflow> {
        match self.find(events.writer()) {
            Ok(at) => {
                let mut entry = self.entries[at];
                (entry.p, entry.n) = grow(entry.p, entry.n, p, n)?;
                // A floor at this very dot would delete what is added under it.
                if !events.unsent(entry.dot) || !entry.live() {
                    entry.dot = events.next();
                }
                self.put(at, entry);
            }
            Err(at) => {
                let dot = events.next();
                self.insert(at, Entry { dot, birth: dot.seq(), p, n, floor: None });
            }
        }
        Ok(())
    }

    /// Keeps the entries for which `keep` says so, changed as it likes.
    fn retain(&mut self, keep: impl FnMut(&mut Entry) -> bool) {
        self.entries.retain_mut(keep);
        self.total = self.entries.iter().map(Entry::value).sum();
        self.live = self.entries.iter().filter(|entry| entry.live()).count();
    }
}

/// The nearest 64-bit integer.
pub(crate) fn saturate(total: i128) -> i64 {
    i64::try_from(total).unwrap_or(if total > 0 { i64::MAX } else { i64::MIN })
}

/// Whether a local update may take a value from `old` to `new`: not out of 64 bits, nor further out
/// when merging has carried it there already; back it may.
pub(crate) fn bounded(old: i128, new: i128) -> Result<i64, Overflow> {
    let overshoot = |total: i128| total.abs_diff(i128::from(saturate(total)));
    match overshoot(new) {
        0 => Ok(saturate(new)),
        over if over <= overshoot(old) && (new > 0) == (old > 0) => Ok(saturate(new)),
        _ => Err(Overflow),
    }
}

impl Counter {
    /// The exact value, which merging may carry beyond 64 bits.
    #[must_use]
    pub fn total(&self) -> i128 {
        match self {
            Counter::None => 0,
            Counter::One { p, n, .. } => i128::from(*p) - i128::from(*n),
            Counter::Many(many) => many.total,
        }
    }

    /// The value; beyond 64 bits it reads as the nearest that fits, while the state stays exact.
    #[must_use]
    pub fn value(&self) -> i64 {
        saturate(self.total())
    }

    /// Whether the value does not fit 64 bits.
    #[must_use]
    pub fn saturated(&self) -> bool {
        i64::try_from(self.total()).is_err()
    }

    /// What the entries are, in the writers' order.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        let (one, many) = match self {
            Counter::None => (None, &[][..]),
            Counter::One { birth, dot, p, n } => {
                let birth = unpack(*birth);
                (Some(Entry { dot: *dot, birth, p: *p, n: *n, floor: None }), &[][..])
            }
            Counter::Many(many) => (None, many.entries.as_slice()),
        };
        one.into_iter().chain(many.iter().copied())
    }

    /// The entry of `writer`: what the writer tells others at a flush.
    #[must_use]
    #[inline]
    pub fn entry(&self, writer: Writer) -> Option<Entry> {
        match *self {
            Counter::One { birth, dot, p, n } if dot.writer() == writer => {
                Some(Entry { dot, birth: unpack(birth), p, n, floor: None })
            }
            Counter::Many(ref many) => many.find(writer).ok().map(|at| many.entries[at]),
            _ => None,
        }
    }

    /// What the value would be after adding `p` and taking `n` away.
    ///
    /// # Errors
    /// If that does not fit 64 bits. Only a value that merging has carried beyond them may stay
    /// beyond, if the update does not take it further.
    pub fn check(&self, p: u64, n: u64) -> Result<i64, Overflow> {
        let old = self.total();
        bounded(old, old + i128::from(p) - i128::from(n))
    }

    /// Adds `p` and takes `n` away under the local writer; answers the new value. O(1) in the
    /// value and, but for a binary search, in the writers. Adding 0 creates the counter.
    ///
    /// # Errors
    /// If the new value or the writer's totals do not fit 64 bits; then nothing is changed.
    pub fn add<E: Events>(&mut self, p: u64, n: u64, events: &mut E) -> Result<i64, Overflow> {
        let value = self.check(p, n)?;
        let writer = events.writer();
        match self {
            Counter::One { dot, p: sum_p, n: sum_n, .. } if dot.writer() == writer => {
                let (new_p, new_n) = grow(*sum_p, *sum_n, p, n)?;
                if !events.unsent(*dot) {
                    *dot = events.next();
                }
                (*sum_p, *sum_n) = (new_p, new_n);
            }
            Counter::None => {
                let dot = events.next();
                *self = Counter::One { birth: pack(dot.seq()), dot, p, n };
            }
            Counter::One { .. } | Counter::Many(_) => {
                self.many().count(p, n, events)?;
            }
        }
        Ok(value)
    }

    /// Takes over what writers have counted that will never count again: deletes their entries, as a
    /// reset does, and adds what was left of them under the local writer. The value stays. `gone` says
    /// by an entry's newest update whether that is to be done. Answers whether there was anything.
    ///
    /// Only one node may do so, and none may delete the counter meanwhile without seeing it: what two
    /// took over would count twice, and what was taken over outlives a delete that has not seen that.
    pub fn take_over<E: Events>(
        &mut self,
        gone: impl Fn(Dot) -> bool,
        events: &mut E,
        change: Option<&mut CounterDelta>,
    ) -> bool {
        let own = self.entry(events.writer()).map_or((0, 0), |entry| (entry.p, entry.n));
        let (mut p, mut n) = (0u128, 0u128);
        let mut taken = Vec::new();
        for entry in self.entries().filter(|entry| entry.live() && gone(entry.dot)) {
            let (fp, fn_) = entry.floor.map_or((0, 0), |floor| (floor.p, floor.n));
            // One that does not fit the local writer's totals stays as it is.
            let sums = (p + u128::from(entry.p - fp), n + u128::from(entry.n - fn_));
            if let (Some(_), Some(_)) = (checked(own.0, sums.0), checked(own.1, sums.1)) {
                (p, n) = sums;
                taken.push(entry);
            }
        }
        if taken.is_empty() {
            return false;
        }
        let by = events.next();
        let many = self.many();
        for entry in &mut taken {
            entry.floor = Some(Floor { at: entry.dot.seq(), p: entry.p, n: entry.n, by });
            if let Ok(at) = many.find(entry.dot.writer()) {
                many.put(at, *entry);
            }
        }
        let narrow = |sum: u128| u64::try_from(sum).expect("it fits with the own total");
        many.count(narrow(p), narrow(n), events).expect("checked above");
        if let Some(change) = change {
            taken.into_iter().chain(self.entry(by.writer())).for_each(|entry| change.note(entry));
        }
        true
    }

    /// The general form.
    fn many(&mut self) -> &mut Many {
        if !matches!(self, Counter::Many(_)) {
            let entries: Vec<Entry> = self.entries().collect();
            let many = Many { live: entries.len(), total: self.total(), entries };
            *self = Counter::Many(Box::new(many));
        }
        match self {
            Counter::Many(many) => many,
            Counter::None | Counter::One { .. } => unreachable!("made general above"),
        }
    }

    fn one(entry: &Entry) -> Counter {
        Counter::One { birth: pack(entry.birth), dot: entry.dot, p: entry.p, n: entry.n }
    }

    /// Back to the small form where it fits.
    fn settle(&mut self) {
        let Counter::Many(many) = self else { return };
        match many.entries.as_slice() {
            [] => *self = Counter::None,
            [entry @ Entry { floor: None, .. }] => *self = Counter::one(entry),
            _ => {}
        }
    }

    /// Deletes what this node has seen; concurrent additions survive with exactly their amount.
    /// Whether there was anything. The local writer's own entry goes at once, those of others when
    /// their writers have said that they know ([`Counter::collect`]).
    pub fn reset<E: Events>(&mut self, events: &mut E, change: Option<&mut CounterDelta>) -> bool {
        if self.is_absent() {
            return false;
        }
        let by = events.next();
        let floored = |entry: Entry| {
            let floor = Floor { at: entry.dot.seq(), p: entry.p, n: entry.n, by };
            Entry { floor: if entry.live() { Some(floor) } else { entry.floor }, ..entry }
        };
        if let Some(change) = change {
            for entry in self.entries() {
                let never_sent = entry.birth == entry.dot.seq() && events.unsent(entry.dot);
                let noted = change.get(entry.dot.writer()).map(|noted| noted.birth);
                // Of an entry that nobody has seen nothing need be said, unless the change speaks
                // of it already: that may have hidden the reset of an earlier life.
                if !never_sent || noted == Some(entry.birth) {
                    change.note(floored(entry));
                }
            }
        }
        self.many().retain(|entry| {
            *entry = floored(*entry);
            entry.dot.writer() != events.writer()
        });
        self.settle();
        true
    }

    /// Notes in `change` what is deleted here and not forgotten yet. A clear must say it again:
    /// what its context covers and it does not name would be forgotten by whoever joins it.
    pub(crate) fn note_floors(&self, change: &mut CounterDelta) {
        self.entries().filter(|entry| entry.floor.is_some()).for_each(|entry| change.note(entry));
    }

    /// Whether it has an entry that is not deleted and of whose newest update `which` says so.
    #[must_use]
    pub fn counts(&self, which: impl Fn(Dot) -> bool) -> bool {
        self.entries().any(|entry| entry.live() && which(entry.dot))
    }

    /// Whether it keeps entries only for their floors.
    #[must_use]
    pub fn has_dead_entries(&self) -> bool {
        matches!(self, Counter::Many(many) if many.live < many.entries.len())
    }

    /// Forgets deleted entries whose writer has applied the reset: `applied(update, reset)` says so by
    /// the writer's newest update. Before that the writer may still count on from what was deleted, and whoever forgot the
    /// floor would show too much.
    ///
    /// A writer says so in its own stream, and the word counts only where all of the writer's events
    /// that preceded it are applied. Otherwise an old copy of the entry could still arrive and would
    /// not be known for old.
    pub fn collect(&mut self, applied: impl Fn(Dot, Dot) -> bool) {
        if let Counter::Many(many) = self {
            many.retain(|entry| {
                let done = |floor: Floor| applied(entry.dot, floor.by);
                entry.live() || !entry.floor.is_some_and(done)
            });
            self.settle();
        }
    }
}

fn checked(own: u64, more: u128) -> Option<u64> {
    u64::try_from(u128::from(own) + more).ok()
}

fn grow(sum_p: u64, sum_n: u64, p: u64, n: u64) -> Result<(u64, u64), Overflow> {
    Ok((sum_p.checked_add(p).ok_or(Overflow)?, sum_n.checked_add(n).ok_or(Overflow)?))
}

/// A change of a counter: entries, absolute, and what its sender knows to be gone.
///
/// ```text
/// | entries: varint n, n x entry | cleared: 0, or 1 and a context |
/// entry | dot | birth | p | n | floor: 0, or 1 and at, p, n, dot |
/// ```
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct CounterDelta {
    /// In the writers' order, one each.
    entries: Vec<Entry>,
    cleared: Option<Context>,
}

impl CounterDelta {
    fn find(&self, writer: Writer) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&writer, |entry| entry.dot.writer())
    }

    fn get(&self, writer: Writer) -> Option<&Entry> {
        self.find(writer).ok().map(|at| &self.entries[at])
    }

    /// Says nothing any more, and keeps its room.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.cleared = None;
    }

    /// Notes an entry.
    pub fn note(&mut self, entry: Entry) {
        match self.find(entry.dot.writer()) {
            Ok(at) => _ = self.entries[at].join(&entry),
            Err(at) => {
                if self.entries.is_empty() {
                    self.entries.reserve_exact(1); // most never get another
                }
                self.entries.insert(at, entry);
            }
        }
    }

    /// Restores the order, and joins entries of one writer.
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

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.cleared.is_none()
    }

    /// The entries of `state` whose newest update `known` does not cover.
    pub(crate) fn since(state: &Counter, known: &impl Seen) -> CounterDelta {
        let new = state.entries().filter(|entry| !known.seen(entry.dot));
        CounterDelta { entries: new.collect(), cleared: None }
    }

    pub(crate) fn removals(&self) -> CounterDelta {
        let floored = self.entries.iter().filter(|entry| entry.floor.is_some());
        CounterDelta { entries: floored.copied().collect(), cleared: self.cleared.clone() }
    }

    /// Joins another change of the same counter. An entry that one side has and the other knows
    /// to be gone is gone.
    pub(crate) fn join(&mut self, mine: &impl Seen, theirs: &impl Seen, other: &CounterDelta) {
        let stays =
            |entry: &&Entry| self.get(entry.dot.writer()).is_some() || !mine.seen(entry.dot);
        let come: Vec<Entry> = other.entries.iter().filter(stays).copied().collect();
        self.entries
            .retain(|entry| other.get(entry.dot.writer()).is_some() || !theirs.seen(entry.dot));
        self.entries.extend(come);
        self.settle();
    }

    /// Joins into `state`; shared with the map, whose fields hold counters.
    pub(crate) fn apply_to(
        &self,
        state: &mut Counter,
        seen: &impl Seen,
        cleared: &Option<Context>,
    ) -> bool {
        // The usual case without an allocation: one writer's entry has grown, or is the first.
        if let ([entry], None) = (self.entries.as_slice(), cleared)
            && entry.floor.is_none()
        {
            let mine = match state {
                Counter::None => None,
                Counter::One { dot, .. } if dot.writer() == entry.dot.writer() => {
                    state.entries().next()
                }
                _ => return self.join_into(state, seen, cleared),
            };
            let mut new = mine.is_none() && !seen.seen(entry.dot);
            let mut joined = mine.unwrap_or(*entry);
            new |= joined.join(entry);
            if new {
                *state = Counter::one(&joined);
            }
            return new;
        }
        self.join_into(state, seen, cleared)
    }

    fn join_into(&self, state: &mut Counter, seen: &impl Seen, cleared: &Option<Context>) -> bool {
        let many = state.many();
        let mut new = false;
        if let Some(cleared) = cleared {
            let gone =
                |entry: &Entry| cleared.seen(entry.dot) && self.get(entry.dot.writer()).is_none();
            if many.entries.iter().any(gone) {
                many.retain(|entry| !gone(entry));
                new = true;
            }
        }
        let mut fresh = Vec::new();
        for entry in &self.entries {
            match many.find(entry.dot.writer()) {
                Ok(at) => {
                    let mut joined = many.entries[at];
                    if joined.join(entry) {
                        many.put(at, joined);
                        new = true;
                    }
                }
                Err(_) if !seen.seen(entry.dot) => fresh.push(*entry),
                Err(_) => {}
            }
        }
        new |= !fresh.is_empty();
        many.extend(&fresh);
        state.settle();
        new
    }

    /// Writes it without what it cleared, which a map says once for all its fields.
    pub(crate) fn encode_parts(&self, to: &mut Encoder) {
        to.count(self.entries.len());
        self.entries.iter().for_each(|entry| entry.encode(to));
    }

    pub(crate) fn decode_parts(from: &mut Decoder<'_>) -> Result<CounterDelta, DecodeError> {
        let count = from.count(6)?;
        let mut delta = CounterDelta { entries: Vec::new(), cleared: None };
        // What is claimed is not believed: room for many comes as they do.
        delta.entries.reserve_exact(count.min(1 << 10));
        for _ in 0..count {
            delta.entries.push(Entry::decode(from)?);
        }
        delta.settle();
        Ok(delta)
    }
}

impl Crdt for Counter {
    type Delta = CounterDelta;

    fn is_absent(&self) -> bool {
        match self {
            Counter::None => true,
            Counter::One { .. } => false,
            Counter::Many(many) => many.live == 0,
        }
    }

    fn is_blank(&self) -> bool {
        matches!(self, Counter::None)
    }

    fn counted(&self, writer: Writer) -> Option<Entry> {
        self.entry(writer)
    }

    fn apply(&mut self, seen: &impl Seen, delta: &CounterDelta) -> bool {
        delta.apply_to(self, seen, &delta.cleared)
    }

    fn whole(&self, context: &Context) -> CounterDelta {
        CounterDelta { cleared: Some(context.clone()), ..self.since(&()) }
    }

    fn since(&self, known: &impl Seen) -> CounterDelta {
        CounterDelta::since(self, known)
    }

    fn join_delta(delta: &mut CounterDelta, other: &CounterDelta) {
        let mine = delta.cleared.take();
        delta.join(&mine, &other.cleared, other);
        delta.cleared = mine;
        join_cleared(&mut delta.cleared, &other.cleared);
    }

    fn complete(delta: &mut CounterDelta, context: &Context) -> bool {
        complete(&mut delta.cleared, context)
    }

    fn digest(&self, writers: &Writers) -> u64 {
        let live = self.entries().filter(Entry::live);
        live.fold(0, |sum, entry| {
            let floor = entry.floor.map_or([0; 3], |floor| [floor.at, floor.p, floor.n]);
            let [at, fp, fn_] = floor;
            sum.wrapping_add(fact(
                writers,
                entry.dot,
                &[entry.birth, entry.p, entry.n, at, fp, fn_],
            ))
        })
    }

    fn removals(delta: &CounterDelta) -> CounterDelta {
        delta.removals()
    }

    fn learn(delta: &CounterDelta, context: &mut Context) {
        delta.cleared.iter().for_each(|cleared| context.join(cleared));
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Counter::Many(many) => size_of::<Many>() + many.entries.capacity() * size_of::<Entry>(),
            _ => 0,
        }
    }
}

/// Says that what `context` covers is gone, if nothing is said yet; whether it did.
pub(crate) fn complete(cleared: &mut Option<Context>, context: &Context) -> bool {
    let first = cleared.is_none();
    if first {
        *cleared = Some(context.clone());
    }
    first
}

/// Joins what two deltas cleared.
pub(crate) fn join_cleared(mine: &mut Option<Context>, other: &Option<Context>) {
    if let Some(other) = other {
        mine.get_or_insert_default().join(other);
    }
}

impl Encode for Option<Context> {
    fn encode(&self, to: &mut Encoder) {
        to.byte(u8::from(self.is_some()));
        if let Some(context) = self {
            to.context(context);
        }
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        match from.byte()? {
            0 => Ok(None),
            1 => from.context().map(Some),
            _ => Err(DecodeError::Invalid("flag")),
        }
    }
}

impl Encode for Entry {
    fn encode(&self, to: &mut Encoder) {
        to.dot(self.dot);
        to.varint(self.birth);
        to.varint(self.p);
        to.varint(self.n);
        to.byte(u8::from(self.floor.is_some()));
        if let Some(floor) = self.floor {
            to.varint(floor.at);
            to.varint(floor.p);
            to.varint(floor.n);
            to.dot(floor.by);
        }
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let (dot, birth) = (from.dot()?, from.varint()?);
        let (p, n) = (from.varint()?, from.varint()?);
        let floor = match from.byte()? {
            0 => None,
            1 => {
                let (at, p, n) = (from.varint()?, from.varint()?, from.varint()?);
                Some(Floor { at, p, n, by: from.dot()? })
            }
            _ => return Err(DecodeError::Invalid("flag")),
        };
        if birth == 0 || birth > dot.seq() {
            return Err(DecodeError::Invalid("birth"));
        }
        if floor.is_some_and(|f| f.at > dot.seq() || f.at < birth || f.p > p || f.n > n) {
            return Err(DecodeError::Invalid("floor"));
        }
        Ok(Entry { dot, birth, p, n, floor })
    }
}

impl Encode for CounterDelta {
    fn encode(&self, to: &mut Encoder) {
        self.encode_parts(to);
        self.cleared.encode(to);
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let parts = CounterDelta::decode_parts(from)?;
        Ok(CounterDelta { cleared: Option::decode(from)?, ..parts })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Writer;
    use crate::laws::{Message, Site, exchange};

    #[derive(Clone, Debug)]
    enum Edit {
        Add(u64, u64),
        Reset,
    }

    fn edit(site: &mut Site<Counter>, edit: &Edit) {
        match *edit {
            Edit::Add(p, n) => _ = count(site, p, n),
            Edit::Reset => reset(site),
        }
    }

    fn count(site: &mut Site<Counter>, p: u64, n: u64) -> Result<i64, Overflow> {
        site.edit(|counter, events, change| {
            let value = counter.add(p, n, events)?;
            change.note(counter.entry(events.writer()).expect("just counted"));
            Ok(value)
        })
    }

    fn add(site: &mut Site<Counter>, n: u64) {
        count(site, n, 0).expect("small numbers");
    }

    fn reset(site: &mut Site<Counter>) {
        site.edit(|counter, events, change| counter.reset(events, Some(change)));
    }

    crate::laws! {
        grow_only: Counter, Edit = prop_oneof![
            4 => (0u64..100).prop_map(|n| Edit::Add(n, 0)),
            1 => Just(Edit::Reset),
        ],
        |site, op| edit(site, op),
        |counter| (counter.total(), counter.is_absent()),
        settle |counter| counter.collect(|_, _| true)
    }

    crate::laws! {
        positive_negative: Counter, Edit = prop_oneof![
            4 => (0u64..100, 0u64..100).prop_map(|(p, n)| Edit::Add(p, n)),
            1 => prop::sample::select(&[1 << 62, u64::MAX >> 1, u64::MAX][..])
                .prop_map(|n| Edit::Add(n, 0)),
            1 => prop::sample::select(&[1 << 62, u64::MAX >> 1, u64::MAX][..])
                .prop_map(|n| Edit::Add(0, n)),
            1 => Just(Edit::Reset),
        ],
        |site, op| edit(site, op),
        |counter| (counter.total(), counter.is_absent()),
        settle |counter| counter.collect(|_, _| true)
    }

    fn sites<const N: usize>() -> [Site<Counter>; N] {
        core::array::from_fn(|writer| Site::new(writer as u16))
    }

    fn values(sites: &[Site<Counter>]) -> Vec<i64> {
        sites.iter().map(|site| site.state.value()).collect()
    }

    type Sent = Message<CounterDelta>;

    #[test]
    fn concurrent_counts_sum() {
        let mut all = sites::<3>();
        for (site, n) in all.iter_mut().zip([5, 7, 11]) {
            add(site, n);
            count(site, 0, 1).expect("small numbers");
        }
        exchange(&mut all);
        assert_eq!(values(&all), [20; 3]);
    }

    #[test]
    fn a_reset_takes_what_it_saw_and_nothing_else() {
        let mut all = sites::<3>();
        add(&mut all[0], 100);
        exchange(&mut all);
        reset(&mut all[1]);
        add(&mut all[0], 10);
        count(&mut all[2], 0, 3).expect("small numbers");
        exchange(&mut all);
        assert_eq!(values(&all), [7; 3]);
    }

    /// Defect 10 of the original: increments past 2^53 vanished, zero was an error.
    #[test]
    fn d10_counts_are_exact_to_64_bits() {
        let mut site = sites::<1>();
        assert_eq!(count(&mut site[0], 1 << 53, 0), Ok(1 << 53));
        assert_eq!(count(&mut site[0], 1, 0), Ok((1 << 53) + 1));
        assert_eq!(count(&mut site[0], (1 << 63) - 1, (1 << 53) + 1), Ok(i64::MAX));
        let before = site[0].state.clone();
        assert_eq!(count(&mut site[0], 1, 0), Err(Overflow));
        assert_eq!(count(&mut site[0], u64::MAX, u64::MAX), Err(Overflow), "the writer's totals");
        assert_eq!(site[0].state, before, "an error changes nothing");
        let mut lowest = sites::<1>();
        assert_eq!(count(&mut lowest[0], 0, 1 << 63), Ok(i64::MIN));
        assert_eq!(count(&mut lowest[0], 0, 1), Err(Overflow));
    }

    #[test]
    fn adding_nothing_creates() {
        let [mut a, mut b] = sites();
        assert!(a.state.is_absent());
        add(&mut a, 0);
        assert!(!a.state.is_absent());
        b.receive(&a.send());
        assert_eq!((b.state.is_absent(), b.state.value()), (false, 0));
    }

    /// Pitfall 4.6: a merged total beyond 64 bits reads as the nearest that fits, and heals.
    #[test]
    fn a_total_beyond_64_bits_is_saturated_and_heals() {
        let mut all = sites::<2>();
        for site in &mut all {
            add(site, 1 << 62);
            add(site, (1 << 62) - 1);
        }
        exchange(&mut all);
        assert_eq!(values(&all), [i64::MAX; 2]);
        assert!(all.iter().all(|site| site.state.saturated()));
        assert_eq!(count(&mut all[0], 1, 0), Err(Overflow), "no further out");
        assert_eq!(count(&mut all[0], 0, 10), Ok(i64::MAX), "but back");
        assert_eq!(count(&mut all[1], 0, (1 << 63) - 1), Ok(i64::MAX), "and into the range");
        exchange(&mut all);
        assert_eq!(values(&all), [i64::MAX - 10; 2]);
        assert!(!all[0].state.saturated());
    }

    /// Pitfall 4.2 (a): the entry is reborn, and a peer that still holds the old one must not
    /// swallow the new counts.
    #[test]
    fn a_reborn_entry_beats_the_old_one() {
        let [mut a, mut b, mut c] = sites();
        add(&mut a, 100);
        let hundred = a.send();
        b.receive(&hundred);
        c.receive(&hundred);
        reset(&mut c);
        let deleted = c.send();
        a.receive(&deleted);
        a.state.collect(|dot, _| dot.writer() == Writer(0)); // it knows its own mind
        assert!(a.state.is_blank());
        add(&mut a, 1);
        let one = a.send();
        let both: [&Sent; 2] = [&deleted, &one];
        for order in [both, [both[1], both[0]]] {
            let mut late = b.clone();
            order.iter().for_each(|message| late.receive(message));
            assert_eq!(late.state.value(), 1);
        }
        let mut all = [a, b, c];
        exchange(&mut all);
        assert_eq!(values(&all), [1; 3]);
    }

    /// Pitfall 4.2 (b): the writer counts on without knowing of the delete.
    #[test]
    fn counts_unseen_by_a_delete_survive_in_every_order() {
        let [mut a, mut b, mut c] = sites();
        add(&mut a, 100);
        let hundred = a.send();
        b.receive(&hundred);
        c.receive(&hundred);
        add(&mut a, 10);
        let ten = a.send();
        reset(&mut c);
        let deleted = c.send();
        for order in [[&ten, &deleted], [&deleted, &ten]] {
            let mut late = b.clone();
            order.iter().for_each(|message| late.receive(message));
            assert_eq!(late.state.value(), 10);
        }
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let all = [&a, &b, &c];
            let mut reader = Site::new(9);
            order.iter().for_each(|which| reader.join(all[*which]));
            assert_eq!(reader.state.value(), 10, "{order:?}");
        }
        let mut all = [a, b, c];
        exchange(&mut all);
        assert_eq!(values(&all), [10; 3]);
    }

    /// Two resets in one interval, with a life of the entry between them that nobody has seen.
    #[test]
    fn a_reset_of_an_unseen_life_does_not_hide_the_reset_before_it() {
        let [mut a, mut b] = sites();
        add(&mut a, 100);
        b.receive(&a.send());
        reset(&mut a);
        add(&mut a, 1);
        reset(&mut a);
        b.receive(&a.send());
        assert!(b.state.is_absent());
        a.edit(|counter, events, _| counter.add(1, 0, events)).expect("small numbers");
        reset(&mut a);
        assert!(a.send().delta.is_empty(), "nobody has heard of it");
    }

    fn edits() -> impl Strategy<Value = Edit> {
        prop_oneof![
            4 => (0u64..100, 0u64..100).prop_map(|(p, n)| Edit::Add(p, n)),
            1 => Just(Edit::Reset),
        ]
    }

    fn take_over(site: &mut Site<Counter>, of: u16) -> bool {
        site.edit(|counter, events, change| {
            counter.take_over(|dot| dot.writer() == Writer(of), events, Some(change))
        })
    }

    proptest! {
        /// Whatever was counted and deleted before, and in whatever order it arrives: what is taken
        /// over is the same on all, and of the writer that is gone nothing is left, nor comes back.
        #[test]
        fn what_is_taken_over_stays_and_leaves_nothing_behind(
            before in prop::collection::vec((0..3usize, edits()), 1..12),
            after in prop::collection::vec((1..3usize, edits()), 0..6),
            order in any::<u64>(),
        ) {
            let mut all = sites::<3>();
            let mut history = Vec::new();
            for (at, done) in &before {
                edit(&mut all[*at], done);
                let sent = all[*at].send();
                // The one that will be gone may miss what the others do.
                (0..3).filter(|to| to != at && (*to != 0 || order & 1 == 0)).for_each(|to| {
                    all[to].receive(&sent);
                });
                history.push(sent);
            }
            exchange(&mut all[1..]);
            let value = all[1].state.value();
            let had = all[1].state.counts(|dot| dot.writer() == Writer(0));
            prop_assert_eq!(take_over(&mut all[1], 0), had);
            prop_assert!(!take_over(&mut all[1], 0), "once");
            prop_assert_eq!(all[1].state.value(), value);
            history.push(all[1].send());
            // The other goes on meanwhile, but deletes nothing.
            for (at, done) in after.iter().filter(|(at, e)| *at == 1 || matches!(e, Edit::Add(..))) {
                edit(&mut all[*at], done);
                history.push(all[*at].send());
            }
            let mut late = Site::new(9);
            let mut places: Vec<usize> = (0..history.len()).collect();
            places.sort_by_key(|at| (*at as u64 + 1).wrapping_mul(order | 1) >> 3);
            places.iter().for_each(|at| late.receive(&history[*at]));
            exchange(&mut all[1..]);
            late.join(&all[1]);
            prop_assert_eq!(late.state.value(), all[1].state.value());
            prop_assert_eq!(all[2].state.value(), all[1].state.value());
            for site in [&mut all[1], &mut late] {
                site.state.collect(|dot, _| dot.writer() == Writer(0));
                prop_assert!(site.state.entry(Writer(0)).is_none());
                let value = site.state.value();
                history.iter().for_each(|message| site.receive(message));
                prop_assert_eq!(site.state.value(), value, "old messages bring nothing back");
                prop_assert!(site.state.entry(Writer(0)).is_none());
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_not_taken_over() {
        let [mut a, mut b, mut c] = sites();
        add(&mut a, 1 << 62);
        b.receive(&a.send());
        count(&mut b, 0, 1 << 62).expect("it fits");
        // The total of what is added may be more than 64 bits, although the value is small.
        for _ in 0..2 {
            count(&mut b, 1 << 62, 0).expect("it fits");
            count(&mut b, 0, 1 << 62).expect("it fits");
        }
        count(&mut b, 1 << 62, 0).expect("it fits");
        let before = b.state.clone();
        assert!(!take_over(&mut b, 0));
        assert_eq!(b.state, before);
        c.join(&b);
        assert!(take_over(&mut c, 0), "another node has room");
        assert_eq!(c.state.value(), 1 << 62);
    }

    #[test]
    fn updates_of_one_interval_share_an_event() {
        let [mut a] = sites();
        (0..10).for_each(|_| add(&mut a, 1));
        assert_eq!(a.context.upto(Writer(0)), 1);
        a.send();
        add(&mut a, 1);
        assert_eq!((a.context.upto(Writer(0)), a.state.value()), (2, 11));
    }

    #[test]
    fn one_writer_takes_no_heap() {
        let [mut a, mut b] = sites();
        add(&mut a, 1);
        b.receive(&a.send());
        add(&mut a, 1);
        b.receive(&a.send());
        assert_eq!((a.state.heap_bytes(), b.state.heap_bytes()), (0, 0));
        assert_eq!(b.state.value(), 2);
    }
}
