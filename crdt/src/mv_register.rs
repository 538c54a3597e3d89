//! Multi-value register: keeps every value that no later write has seen.
//!
//! State: a value per dot. A write replaces the dots it has seen by its own, so values written
//! concurrently stand side by side until somebody, having seen them, writes again. Who wants one
//! value gets the same on every node: the latest by (time, writer's id, bytes). Time never decides
//! between writes that saw each other, so a clock that runs ahead does no lasting harm.
//! Source: Almeida, Shoker, Baquero 2018; the order: `semantics.md` 3.1, rule 7.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::Crdt;
use crate::codec::{DecodeError, Decoder, Encode, Encoder};
use crate::context::{Context, Events, Seen, Writers};
use crate::counter::join_cleared;
use crate::dot::Dot;
use crate::dots::Dots;
use crate::thin::Thin;

/// When and by whom a value was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// The write.
    pub dot: Dot,
    /// The writer's hybrid logical clock: milliseconds << 16 | counter.
    pub time: u64,
}

/// A value with its stamp.
pub type Stamped = Thin<Stamp>;

/// A multi-value register.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub enum MvRegister {
    /// Never written, or deleted.
    #[default]
    None,
    /// One value, the usual case.
    One(Stamped),
    /// Concurrent values, in the order of their dots.
    #[expect(clippy::box_collection, reason = "the usual case must stay 16 bytes")]
    Many(Box<Vec<Stamped>>),
}

/// A change of a register: `| values: varint n, n x (dot, time, bytes) | removed | cleared |`.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct RegisterDelta {
    added: Vec<Stamped>,
    removed: Dots,
    cleared: Option<Context>,
}

impl MvRegister {
    /// The values with their stamps, in the order of their dots.
    #[must_use]
    pub fn stamped(&self) -> &[Stamped] {
        match self {
            MvRegister::None => &[],
            MvRegister::One(value) => core::slice::from_ref(value),
            MvRegister::Many(values) => values,
        }
    }

    /// The distinct values, bytewise in order: the same on every node.
    #[must_use]
    pub fn values(&self) -> Vec<&[u8]> {
        let mut values: Vec<&[u8]> = self.stamped().iter().map(Thin::bytes).collect();
        values.sort_unstable();
        values.dedup();
        values
    }

    /// The value for who wants one: the same on every node.
    #[must_use]
    pub fn winner(&self, writers: &Writers) -> Option<&[u8]> {
        let rank = |value: &&Stamped| {
            let stamp = value.header();
            (stamp.time, writers.id(stamp.dot.writer()))
        };
        self.stamped()
            .iter()
            .max_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.bytes().cmp(b.bytes())))
            .map(Thin::bytes)
    }

    /// Writes `value` in place of all that is seen here.
    pub fn set<E: Events>(
        &mut self,
        value: &[u8],
        events: &mut E,
        change: Option<&mut RegisterDelta>,
    ) {
        let stamp = Stamp { dot: events.next(), time: events.time() };
        let new = Thin::new(stamp, value);
        if let Some(change) = change {
            change.supersede(self, events);
            change.added.push(new.clone());
        }
        *self = MvRegister::One(new);
    }

    /// Deletes what is seen here; whether there was a value.
    pub fn reset<E: Events>(&mut self, events: &mut E, change: Option<&mut RegisterDelta>) -> bool {
        if self.is_absent() {
            return false;
        }
        events.next();
        if let Some(change) = change {
            change.supersede(self, events);
        }
        *self = MvRegister::None;
        true
    }

    fn replace(&mut self, mut values: Vec<Stamped>) {
        values.sort_unstable_by_key(|value| value.header().dot);
        *self = match values.len() {
            0 => MvRegister::None,
            1 => MvRegister::One(values.remove(0)),
            _ => MvRegister::Many(Box::new(values)),
        };
    }

    fn take(&mut self) -> Vec<Stamped> {
        match core::mem::take(self) {
            MvRegister::None => Vec::new(),
            MvRegister::One(value) => Vec::from([value]),
            MvRegister::Many(values) => *values,
        }
    }
}

impl RegisterDelta {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.cleared.is_none()
    }

    fn supersede(&mut self, old: &MvRegister, events: &impl Events) {
        for value in old.stamped() {
            let dot = value.header().dot;
            if !events.unsent(dot) {
                self.removed.insert(dot);
            }
            self.added.retain(|added| added.header().dot != dot);
        }
    }

    /// Drops what a clear of `context` says as well.
    pub(crate) fn forget(&mut self, context: &impl Seen) {
        self.added.retain(|value| !context.seen(value.header().dot));
        self.removed.retain(|dot| !context.seen(dot));
    }

    fn names(&self, dot: Dot) -> bool {
        self.added.iter().any(|value| value.header().dot == dot)
    }

    /// Joins into `state`; shared with the map, whose fields hold registers.
    pub(crate) fn apply_to(
        &self,
        state: &mut MvRegister,
        seen: &impl Seen,
        cleared: &impl Seen,
    ) -> bool {
        let mut values = state.take();
        let before = values.len();
        values.retain(|value| {
            let dot = value.header().dot;
            self.names(dot) || !(cleared.seen(dot) || self.removed.contains(dot))
        });
        let kept = values.len();
        for value in &self.added {
            let dot = value.header().dot;
            if !seen.seen(dot) && !values[..kept].iter().any(|mine| mine.header().dot == dot) {
                values.push(value.clone());
            }
        }
        let new = kept < before || values.len() > kept;
        state.replace(values);
        new
    }

    /// Joins another change of the same register.
    pub(crate) fn join(&mut self, mine: &impl Seen, theirs: &impl Seen, other: &RegisterDelta) {
        let gone_here = |dot| self.removed.contains(dot) || mine.seen(dot);
        let come: Vec<Stamped> = other
            .added
            .iter()
            .filter(|value| !self.names(value.header().dot) && !gone_here(value.header().dot))
            .cloned()
            .collect();
        self.added.retain(|value| {
            let dot = value.header().dot;
            other.names(dot) || !(other.removed.contains(dot) || theirs.seen(dot))
        });
        self.added.extend(come);
        self.added.sort_unstable_by_key(|value| value.header().dot);
        for dot in other.removed.iter() {
            self.removed.insert(dot);
        }
    }

    pub(crate) fn of(state: &MvRegister) -> RegisterDelta {
        RegisterDelta { added: state.stamped().to_vec(), ..RegisterDelta::default() }
    }
}

impl Crdt for MvRegister {
    type Delta = RegisterDelta;

    fn is_absent(&self) -> bool {
        matches!(self, MvRegister::None)
    }

    fn is_blank(&self) -> bool {
        self.is_absent()
    }

    fn apply(&mut self, seen: &impl Seen, delta: &RegisterDelta) -> bool {
        delta.apply_to(self, seen, &delta.cleared)
    }

    fn whole(&self, context: &Context) -> RegisterDelta {
        RegisterDelta { cleared: Some(context.clone()), ..RegisterDelta::of(self) }
    }

    fn join_delta(delta: &mut RegisterDelta, other: &RegisterDelta) {
        let mine = delta.cleared.take();
        delta.join(&mine, &other.cleared, other);
        delta.cleared = mine;
        join_cleared(&mut delta.cleared, &other.cleared);
    }

    fn heap_bytes(&self) -> usize {
        let values: usize = self.stamped().iter().map(Thin::heap_bytes).sum();
        match self {
            MvRegister::Many(many) => {
                values + size_of::<Vec<Stamped>>() + many.capacity() * size_of::<Stamped>()
            }
            _ => values,
        }
    }
}

impl Encode for RegisterDelta {
    fn encode(&self, to: &mut Encoder) {
        to.count(self.added.len());
        for value in &self.added {
            to.dot(value.header().dot);
            to.varint(value.header().time);
            to.bytes(value.bytes());
        }
        self.removed.encode(to);
        self.cleared.encode(to);
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let count = from.count(4)?;
        let mut added: Vec<Stamped> = Vec::with_capacity(count);
        for _ in 0..count {
            let stamp = Stamp { dot: from.dot()?, time: from.varint()? };
            added.push(Thin::new(stamp, from.bytes()?));
        }
        added.sort_unstable_by_key(|value| value.header().dot);
        added.dedup_by_key(|value| value.header().dot);
        Ok(RegisterDelta { added, removed: Dots::decode(from)?, cleared: Option::decode(from)? })
    }
}
