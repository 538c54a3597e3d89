//! Multi-value register: keeps every value that no later write has seen.
//!
//! State: a value per dot. A write replaces the dots it has seen by its own, so values written
//! concurrently stand side by side until a node that has seen them writes again. A reader that wants
//! one value gets the same on every node: the latest by (time, writer's id, bytes). Time never decides
//! between writes that saw each other, so a clock that runs ahead does no lasting harm.
//! Source: Almeida, Shoker, Baquero 2018; the order: `semantics.md` 3.1, rule 7.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::cleared::{complete, join_cleared};
use crate::codec::{DecodeError, Decoder, Encode, Encoder};
use crate::context::{Context, Events, Seen, Writers};
use crate::crdt::{Crdt, Shown};
use crate::digest::{digest_of, fact};
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
    Many(Box<Vec<Stamped>>),
}

/// A change of a register: `| values: varint n, n x (dot, time, bytes) | removed | cleared |`.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct RegisterDelta {
    /// In the order of their dots.
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

    /// The one value for a reader that wants only one: the same on every node.
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
            let at = change.added.partition_point(|value| value.header().dot < stamp.dot);
            change.added.insert(at, new.clone());
        }
        *self = MvRegister::One(new);
    }

    /// Takes away the value of one write, `old`, if one is named, and puts `new` in its place, if there is one;
    /// others stay.
    pub(crate) fn swap<E: Events>(
        &mut self,
        old: Option<Dot>,
        new: Option<&[u8]>,
        events: &mut E,
        mut change: Option<&mut RegisterDelta>,
    ) {
        let stamp = Stamp { dot: events.next(), time: events.time() };
        let mut values = self.take();
        values.retain(|value| Some(value.header().dot) != old);
        if let (Some(change), Some(old)) = (&mut change, old) {
            if !events.unsent(old) {
                change.removed.insert(old);
            }
            change.added.retain(|added| added.header().dot != old);
        }
        if let Some(new) = new {
            let new = Thin::new(stamp, new);
            if let Some(change) = change {
                let at = change.added.partition_point(|value| value.header().dot < stamp.dot);
                change.added.insert(at, new.clone());
            }
            values.push(new);
        }
        self.replace(values);
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

    /// Adds a value, unless it says so already.
    pub(crate) fn add(&mut self, value: Stamped) {
        let dot = value.header().dot;
        if let Err(at) = self.added.binary_search_by_key(&dot, |value| value.header().dot) {
            self.added.insert(at, value);
        }
    }

    /// What adds `added`, in any order, and takes away `removed`.
    pub(crate) fn of(mut added: Vec<Stamped>, removed: Dots) -> RegisterDelta {
        added.sort_unstable_by_key(|value| value.header().dot);
        added.dedup_by_key(|value| value.header().dot);
        RegisterDelta { added, removed, cleared: None }
    }

    fn names(&self, dot: Dot) -> bool {
        self.added.binary_search_by_key(&dot, |value| value.header().dot).is_ok()
    }

    /// Joins into `state`; shared with the map, whose fields hold registers.
    pub(crate) fn apply_to(
        &self,
        state: &mut MvRegister,
        seen: &impl Seen,
        cleared: &Option<Context>,
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
            let held = values[..kept].binary_search_by_key(&dot, |mine| mine.header().dot);
            if held.is_err() && !seen.seen(dot) {
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
        self.removed.extend(other.removed.iter());
    }

    /// The values of `state` that `known` does not cover.
    pub(crate) fn since(state: &MvRegister, known: &impl Seen) -> RegisterDelta {
        let new = state.stamped().iter().filter(|value| !known.seen(value.header().dot));
        RegisterDelta { added: new.cloned().collect(), ..RegisterDelta::default() }
    }

    pub(crate) fn removals(&self) -> RegisterDelta {
        RegisterDelta {
            added: Vec::new(),
            removed: self.removed.clone(),
            cleared: self.cleared.clone(),
        }
    }

    pub(crate) fn each_added(&self, each: &mut impl FnMut(Dot)) {
        self.added.iter().for_each(|value| each(value.header().dot));
    }

    pub(crate) fn learn(&self, context: &mut Context) {
        self.added.iter().for_each(|value| context.insert(value.header().dot));
        self.removed.iter().for_each(|dot| context.insert(dot));
        self.cleared.iter().for_each(|cleared| context.join(cleared));
    }

    /// Writes it without what it cleared, which a map says once for all its fields.
    pub(crate) fn encode_parts(&self, to: &mut Encoder) {
        to.count(self.added.len());
        for value in &self.added {
            to.dot(value.header().dot);
            to.varint(value.header().time);
            to.bytes(value.bytes());
        }
        self.removed.encode(to);
    }

    pub(crate) fn decode_parts(from: &mut Decoder<'_>) -> Result<RegisterDelta, DecodeError> {
        let count = from.count(4)?;
        let mut added: Vec<Stamped> = Vec::with_capacity(count);
        for _ in 0..count {
            let stamp = Stamp { dot: from.dot()?, time: from.varint()? };
            added.push(Thin::new(stamp, from.bytes()?));
        }
        Ok(RegisterDelta::of(added, Dots::decode(from)?))
    }
}

/// The digest of one value.
pub(crate) fn stamped_digest(writers: &Writers, Stamp { dot, time }: Stamp, bytes: &[u8]) -> u64 {
    fact(writers, dot, &[time, digest_of(bytes, 0)])
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
        RegisterDelta { cleared: Some(context.clone()), ..self.since(&()) }
    }

    fn since(&self, known: &impl Seen) -> RegisterDelta {
        RegisterDelta::since(self, known)
    }

    fn join_delta(delta: &mut RegisterDelta, other: &RegisterDelta) {
        let mine = delta.cleared.take();
        delta.join(&mine, &other.cleared, other);
        delta.cleared = mine;
        join_cleared(&mut delta.cleared, &other.cleared);
    }

    fn complete(delta: &mut RegisterDelta, context: &Context) -> bool {
        complete(&mut delta.cleared, context)
    }

    fn digest(&self, writers: &Writers) -> u64 {
        self.stamped().iter().fold(0, |sum, value| {
            sum.wrapping_add(stamped_digest(writers, *value.header(), value.bytes()))
        })
    }

    fn removals(delta: &RegisterDelta) -> RegisterDelta {
        delta.removals()
    }

    fn each_added(delta: &RegisterDelta, each: &mut impl FnMut(Dot)) {
        delta.each_added(each);
    }

    fn learn(delta: &RegisterDelta, context: &mut Context) {
        delta.learn(context);
    }

    fn reset<E: Events>(
        &mut self,
        _: &Context,
        events: &mut E,
        change: Option<&mut RegisterDelta>,
    ) -> bool {
        MvRegister::reset(self, events, change)
    }

    fn size(&self) -> i64 {
        self.stamped().len() as i64
    }

    fn each_dot(&self, each: impl FnMut(Dot)) {
        self.stamped().iter().map(|value| value.header().dot).for_each(each);
    }

    fn show(&self, _: &Writers) -> Shown {
        Shown::List(self.values().into_iter().map(Vec::from).collect())
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
        self.encode_parts(to);
        self.cleared.encode(to);
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let parts = RegisterDelta::decode_parts(from)?;
        Ok(RegisterDelta { cleared: Option::decode(from)?, ..parts })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ReplicaId;
    use crate::laws::{Mint, Site, exchange};

    fn write(site: &mut Site<MvRegister>, value: &[u8]) {
        site.edit(|register, events, change| register.set(value, events, Some(change)));
    }

    fn delete(site: &mut Site<MvRegister>) {
        site.edit(|register, events, change| register.reset(events, Some(change)));
    }

    crate::laws! {
        register: MvRegister, Option<u8> = prop_oneof![
            4 => any::<u8>().prop_map(Some),
            1 => Just(None),
        ],
        |site, value| match value {
            Some(value) => write(site, &[*value]),
            None => delete(site),
        },
        |register| {
            let values: Vec<Vec<u8>> = register.values().into_iter().map(Vec::from).collect();
            (values, register.winner(&known()).map(Vec::from))
        }
    }

    fn known() -> Writers {
        let mut writers = Writers::new();
        [12, 10, 11].into_iter().for_each(|id| _ = writers.intern(ReplicaId(id)));
        writers
    }

    fn sites() -> [Site<MvRegister>; 3] {
        [0, 1, 2].map(Site::new)
    }

    fn agree(sites: &mut [Site<MvRegister>]) -> Vec<&[u8]> {
        exchange(sites);
        assert!(sites.iter().all(|site| site.state == sites[0].state));
        sites[0].state.values()
    }

    #[test]
    fn concurrent_values_stand_side_by_side_until_overwritten() {
        let mut all = sites();
        write(&mut all[0], b"b");
        write(&mut all[1], b"a");
        assert_eq!(agree(&mut all), [b"a", b"b"]);
        write(&mut all[2], b"c");
        assert_eq!(agree(&mut all), [b"c"]);
    }

    #[test]
    fn equal_values_read_as_one() {
        let mut all = sites();
        write(&mut all[0], b"same");
        write(&mut all[1], b"same");
        assert_eq!(agree(&mut all), [b"same"]);
        assert_eq!(all[0].state.stamped().len(), 2, "each may be overwritten alone");
    }

    /// Defect 6 of the original: one clock for the whole value. Also rust-crdt #10 and riak_dt
    /// PR #82: a value must go when a write that saw it arrives, and only then.
    #[test]
    fn d6_three_writers_agree() {
        let [mut a, mut b, mut c] = sites();
        write(&mut a, b"a");
        b.join(&a);
        write(&mut b, b"b"); // saw a
        write(&mut c, b"c"); // saw nothing
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut reader = Site::new(9);
            order.iter().for_each(|which| reader.join([&a, &b, &c][*which]));
            assert_eq!(reader.state.values(), [b"b", b"c"], "{order:?}");
        }
    }

    /// rust-crdt #10: A and B write concurrently; C joins both and writes; a node that then joins the
    /// old states again, one by one, must not get them back, nor lose C's.
    #[test]
    fn old_states_neither_return_nor_win() {
        let [mut a, mut b, mut c] = sites();
        write(&mut a, b"a");
        write(&mut b, b"b");
        c.join(&a);
        c.join(&b);
        write(&mut c, b"c");
        let (old_a, old_b) = (a.clone(), b.clone());
        for old in [&old_a, &old_b, &old_a] {
            c.join(old);
            assert_eq!(c.state.values(), [b"c"]);
        }
        a.join(&c);
        b.join(&a);
        b.join(&old_a);
        assert_eq!(b.state.values(), [b"c"]);
    }

    #[test]
    fn a_write_survives_a_concurrent_delete_and_a_delete_stays() {
        let mut all = sites();
        write(&mut all[0], b"old");
        exchange(&mut all);
        write(&mut all[0], b"new");
        delete(&mut all[1]);
        assert_eq!(agree(&mut all), [b"new"]);
        delete(&mut all[2]);
        assert!(agree(&mut all).is_empty());
        assert!(all[0].state.is_blank(), "nothing is left of it");
    }

    /// Pitfall 4.3: time never decides between writes that saw each other.
    #[test]
    fn a_clock_ten_years_ahead_does_no_lasting_harm() {
        let ten_years = (10 * 365 * 24 * 3_600 * 1_000) << 16;
        let mut all = sites();
        all[0].events = Mint::new(0).ahead(ten_years);
        write(&mut all[0], b"future");
        write(&mut all[1], b"now");
        exchange(&mut all);
        assert_eq!(all[1].state.winner(&known()), Some(&b"future"[..]), "concurrent: the later");
        write(&mut all[1], b"overwritten");
        exchange(&mut all);
        assert_eq!(all[0].state.winner(&known()), Some(&b"overwritten"[..]));
        assert_eq!(all[0].state.values(), [b"overwritten"]);
        write(&mut all[2], b"and again");
        assert_eq!(agree(&mut all), [b"and again"]);
    }

    #[test]
    fn the_winner_is_the_latest_then_the_greatest_writer() {
        let mut all = sites();
        write(&mut all[1], b"first");
        delete(&mut all[1]);
        write(&mut all[1], b"late");
        write(&mut all[0], b"early");
        exchange(&mut all);
        assert_eq!(all[2].state.winner(&known()), Some(&b"late"[..]));
        let mut all = sites();
        for (site, value) in all.iter_mut().zip([b"a", b"b", b"c"]) {
            write(site, value);
        }
        exchange(&mut all);
        assert_eq!(
            all[1].state.winner(&known()),
            Some(&b"a"[..]),
            "known() gives it the greatest id"
        );
    }

    #[test]
    fn overwritten_values_of_one_interval_are_not_sent() {
        let [mut a, mut b, _] = sites();
        (0..10u8).for_each(|n| write(&mut a, &[n]));
        let message = a.send();
        assert_eq!((message.delta.added.len(), message.delta.removed.is_empty()), (1, true));
        b.receive(&message);
        assert_eq!(b.state.values(), [[9]]);
    }
}
