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

mod delta;
pub(crate) mod entry;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;

pub use self::delta::CounterDelta;
pub use self::entry::{Entry, Floor};
pub(crate) use crate::cleared::{complete, join_cleared};
use crate::context::{Context, Events, Seen, Writers};
use crate::crdt::{Crdt, Shown, Tally};
use crate::digest::fact;
use crate::dot::{Dot, Writer};

/// A counter; see the module for its parts.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub enum Counter {
    /// No writer has counted.
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

    /// Adopts the counts of writers that will never count again: deletes their entries, as a reset does,
    /// and adds what was left of them under the local writer. The value stays. `gone` says by an entry's
    /// newest update whether its writer is such a one. Answers whether there was anything.
    ///
    /// Only one node may do so, and none may delete the counter meanwhile without seeing it: what two
    /// nodes adopt counts twice, and what is adopted outlives a delete that has not seen the adoption.
    pub fn adopt<E: Events>(
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

    /// Notes in `change` what is deleted here and not forgotten yet. A clear must say it again: a node
    /// that joins it forgets what its context covers and it does not name.
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
    /// the writer's newest update. Before that the writer may still count on from what was deleted, and
    /// a node that forgot the floor would show too much.
    ///
    /// A writer announces what it has applied in its own stream, and the announcement counts only where
    /// all of the writer's events before it are applied. Otherwise an old copy of the entry could still
    /// arrive and would not be known to be old.
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

impl CounterDelta {
    /// The entries of `state` whose newest update `known` does not cover.
    pub(crate) fn since(state: &Counter, known: &impl Seen) -> CounterDelta {
        let new = state.entries().filter(|entry| !known.seen(entry.dot));
        CounterDelta { entries: new.collect(), cleared: None }
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

    fn each_added(delta: &CounterDelta, each: &mut impl FnMut(Dot)) {
        delta.each_added(each);
    }

    fn learn(delta: &CounterDelta, context: &mut Context) {
        delta.cleared.iter().for_each(|cleared| context.join(cleared));
    }

    fn reset<E: Events>(
        &mut self,
        _: &Context,
        events: &mut E,
        change: Option<&mut CounterDelta>,
    ) -> bool {
        Counter::reset(self, events, change)
    }

    fn size(&self) -> i64 {
        self.value()
    }

    fn each_dot(&self, each: impl FnMut(Dot)) {
        self.entries().map(|entry| entry.dot).for_each(each);
    }

    fn show(&self, _: &Writers) -> Shown {
        Shown::Text(self.value().to_string().into_bytes())
    }

    fn adopt<E: Events>(
        &mut self,
        gone: &impl Fn(Dot) -> bool,
        events: &mut E,
        change: Option<&mut CounterDelta>,
    ) -> bool {
        Counter::adopt(self, gone, events, change)
    }

    fn counts(&self, which: &impl Fn(Dot) -> bool) -> bool {
        Counter::counts(self, which)
    }

    fn has_dead_entries(&self) -> bool {
        Counter::has_dead_entries(self)
    }

    fn collect(&mut self, applied: &impl Fn(Dot, Dot) -> bool) {
        Counter::collect(self, applied);
    }

    fn tally(&self, _: &[u8], writer: Writer) -> Option<Tally> {
        self.entry(writer).map(|entry| Tally {
            birth: entry.birth,
            seq: entry.dot.seq(),
            gone: entry.floor.map_or(0, |floor| floor.at),
            sum: i128::from(entry.p) - i128::from(entry.n),
        })
    }

    fn correct<E: Events>(
        &mut self,
        _: (&[u8], Writer),
        amount: i128,
        events: &mut E,
        change: Option<&mut CounterDelta>,
    ) -> bool {
        let Ok(size) = u64::try_from(amount.unsigned_abs()) else { return false };
        let (p, n) = if amount < 0 { (0, size) } else { (size, 0) };
        let done = self.many().count(p, n, events).is_ok();
        self.settle();
        if let (true, Some(change), Some(entry)) = (done, change, self.entry(events.writer())) {
            change.note(entry);
        }
        done
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Counter::Many(many) => size_of::<Many>() + many.entries.capacity() * size_of::<Entry>(),
            _ => 0,
        }
    }
}
