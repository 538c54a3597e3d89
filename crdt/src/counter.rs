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
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::Crdt;
use crate::codec::{DecodeError, Decoder, Encode, Encoder};
use crate::context::{Context, Events, Seen};
use crate::dot::{Dot, Writer};

/// What a reset saw of an entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
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
            self.floor = self.floor.max(other.floor);
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

/// The entries of several writers, in the writers' order, and their sum.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Many {
    entries: Vec<Entry>,
    total: i128,
}

/// The increment would take this node's view of the counter beyond 64 bits. Nothing was changed.
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
        let total = self.total();
        i64::try_from(total).unwrap_or(if total > 0 { i64::MAX } else { i64::MIN })
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
    pub fn entry(&self, writer: Writer) -> Option<Entry> {
        match self {
            Counter::Many(many) => many.find(writer).ok().map(|at| many.entries[at]),
            _ => self.entries().find(|entry| entry.dot.writer() == writer),
        }
    }

    /// What the value would be after adding `p` and taking `n` away.
    ///
    /// # Errors
    /// If that does not fit 64 bits.
    pub fn check(&self, p: u64, n: u64) -> Result<i64, Overflow> {
        let total = self.total() + i128::from(p) - i128::from(n);
        i64::try_from(total).map_err(|_| Overflow)
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
                let many = self.many();
                match many.find(writer) {
                    Ok(at) => {
                        let entry = &mut many.entries[at];
                        let (new_p, new_n) = grow(entry.p, entry.n, p, n)?;
                        // A floor at this very dot would delete what is added under it.
                        if !events.unsent(entry.dot) || !entry.live() {
                            entry.dot = events.next();
                        }
                        (entry.p, entry.n) = (new_p, new_n);
                    }
                    Err(at) => {
                        let dot = events.next();
                        let entry = Entry { dot, birth: dot.seq(), p, n, floor: None };
                        many.entries.insert(at, entry);
                    }
                }
                many.total = i128::from(value);
            }
        }
        Ok(value)
    }

    /// The general form.
    fn many(&mut self) -> &mut Many {
        if !matches!(self, Counter::Many(_)) {
            let many = Many { entries: self.entries().collect(), total: self.total() };
            *self = Counter::Many(Box::new(many));
        }
        match self {
            Counter::Many(many) => many,
            Counter::None | Counter::One { .. } => unreachable!("made general above"),
        }
    }

    /// Back to the small form where it fits.
    fn settle(&mut self) {
        let Counter::Many(many) = self else { return };
        match many.entries.as_slice() {
            [] => *self = Counter::None,
            [Entry { dot, birth, p, n, floor: None }] => {
                *self = Counter::One { birth: pack(*birth), dot: *dot, p: *p, n: *n };
            }
            _ => many.total = many.entries.iter().map(Entry::value).sum(),
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
                if events.unsent(entry.dot) && entry.birth == entry.dot.seq() {
                    change.entries.remove(&entry.dot.writer()); // nobody ever saw it
                } else {
                    change.note(floored(entry));
                }
            }
        }
        let many = self.many();
        many.entries.retain(|entry| entry.dot.writer() != events.writer());
        many.entries.iter_mut().for_each(|entry| *entry = floored(*entry));
        self.settle();
        true
    }

    /// Forgets deleted entries whose writer has applied the reset: `applied(writer, reset)` says
    /// so. Before that the writer may still count on from what was deleted, and whoever forgot the
    /// floor would show too much.
    pub fn collect(&mut self, applied: impl Fn(Writer, Dot) -> bool) {
        if let Counter::Many(many) = self {
            many.entries.retain(|entry| {
                let done = |floor: Floor| applied(entry.dot.writer(), floor.by);
                entry.live() || !entry.floor.is_some_and(done)
            });
            self.settle();
        }
    }
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
    entries: BTreeMap<Writer, Entry>,
    cleared: Option<Context>,
}

impl CounterDelta {
    /// Notes an entry.
    pub fn note(&mut self, entry: Entry) {
        self.entries
            .entry(entry.dot.writer())
            .and_modify(|mine| {
                mine.join(&entry);
            })
            .or_insert(entry);
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.cleared.is_none()
    }

    pub(crate) fn of(state: &Counter) -> CounterDelta {
        let entries = state.entries().map(|entry| (entry.dot.writer(), entry)).collect();
        CounterDelta { entries, cleared: None }
    }

    /// Joins another change of the same counter. An entry that one side has and the other knows
    /// to be gone is gone.
    pub(crate) fn join(&mut self, mine: &impl Seen, theirs: &impl Seen, other: &CounterDelta) {
        let ours: Vec<Writer> = self.entries.keys().copied().collect();
        self.entries
            .retain(|writer, entry| other.entries.contains_key(writer) || !theirs.seen(entry.dot));
        for (writer, entry) in &other.entries {
            if ours.contains(writer) || !mine.seen(entry.dot) {
                self.note(*entry);
            }
        }
    }

    /// Joins `delta` into `state`; shared with the map, whose fields hold counters.
    pub(crate) fn apply_to(
        &self,
        state: &mut Counter,
        seen: &impl Seen,
        cleared: &impl Seen,
    ) -> bool {
        let many = state.many();
        let mut new = false;
        many.entries.retain(|entry| {
            let gone = cleared.seen(entry.dot) && !self.entries.contains_key(&entry.dot.writer());
            new |= gone;
            !gone
        });
        for entry in self.entries.values() {
            match many.find(entry.dot.writer()) {
                Ok(at) => new |= many.entries[at].join(entry),
                Err(at) if !seen.seen(entry.dot) => {
                    many.entries.insert(at, *entry);
                    new = true;
                }
                Err(_) => {}
            }
        }
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
            Counter::Many(many) => !many.entries.iter().any(Entry::live),
        }
    }

    fn is_blank(&self) -> bool {
        matches!(self, Counter::None)
    }

    fn apply(&mut self, seen: &impl Seen, delta: &CounterDelta) -> bool {
        delta.apply_to(self, seen, &delta.cleared)
    }

    fn whole(&self, context: &Context) -> CounterDelta {
        CounterDelta { cleared: Some(context.clone()), ..CounterDelta::of(self) }
    }

    fn join_delta(delta: &mut CounterDelta, other: &CounterDelta) {
        let mine = delta.cleared.take();
        delta.join(&mine, &other.cleared, other);
        delta.cleared = mine;
        join_cleared(&mut delta.cleared, &other.cleared);
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Counter::Many(many) => size_of::<Many>() + many.entries.capacity() * size_of::<Entry>(),
            _ => 0,
        }
    }
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
        to.count(self.entries.len());
        self.entries.values().for_each(|entry| entry.encode(to));
        self.cleared.encode(to);
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let mut delta = CounterDelta::default();
        for _ in 0..from.count(6)? {
            delta.note(Entry::decode(from)?);
        }
        delta.cleared = Option::decode(from)?;
        Ok(delta)
    }
}
