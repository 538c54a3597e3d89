//! Causal contexts: which events are known.
//!
//! In production the context of every value is the *function's vector* (`semantics.md` 3.1, rule
//! 3): `vector[w] = s` says that all events of writer `w` up to `s` are applied. Events known
//! ahead of the vector (removals of what has not arrived yet) stand beside it as single dots.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::dot::{Dot, ReplicaId, Writer};

/// Answers whether an event is known. What is known and not stored has been removed.
pub trait Seen {
    /// Whether `dot` is known here.
    fn seen(&self, dot: Dot) -> bool;
}

/// A causal context: a vector, and the dots beyond it.
///
/// Invariant: no dot of `beyond` is covered by the vector, nor directly follows it; so what is known
/// has one form, and two contexts are equal when they cover the same events.
#[derive(Clone, Default, Debug)]
pub struct Context {
    vector: Vec<u64>,
    beyond: BTreeSet<Dot>,
}

impl Seen for Context {
    fn seen(&self, dot: Dot) -> bool {
        self.upto(dot.writer()) >= dot.seq() || self.beyond.contains(&dot)
    }
}

impl PartialEq for Context {
    // Zeros at the vector's end say as little as a shorter vector.
    fn eq(&self, other: &Context) -> bool {
        self.beyond == other.beyond && self.vector().eq(other.vector())
    }
}

impl Eq for Context {}

/// Nothing is known.
impl Seen for () {
    fn seen(&self, _: Dot) -> bool {
        false
    }
}

impl Context {
    /// The context that knows nothing.
    #[must_use]
    pub const fn new() -> Context {
        Context { vector: Vec::new(), beyond: BTreeSet::new() }
    }

    /// The number up to which all of `writer`'s events are known; 0 if none is.
    #[must_use]
    pub fn upto(&self, writer: Writer) -> u64 {
        self.vector.get(usize::from(writer.0)).copied().unwrap_or(0)
    }

    /// All writers of the vector with the number up to which they are known.
    pub fn vector(&self) -> impl Iterator<Item = (Writer, u64)> + '_ {
        (0u16..).zip(&self.vector).filter(|(_, seq)| **seq > 0).map(|(w, seq)| (Writer(w), *seq))
    }

    /// The dots known beyond the vector, in order.
    pub fn beyond(&self) -> impl Iterator<Item = Dot> + '_ {
        self.beyond.iter().copied()
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.beyond.is_empty() && self.vector.iter().all(|seq| *seq == 0)
    }

    /// Learns one event.
    pub fn insert(&mut self, dot: Dot) {
        if self.seen(dot) {
            return;
        }
        if dot.seq() == self.upto(dot.writer()) + 1 {
            self.raise(dot.writer(), dot.seq());
        } else {
            self.beyond.insert(dot);
        }
    }

    /// Learns all of `writer`'s events up to `seq`.
    pub fn raise(&mut self, writer: Writer, seq: u64) {
        if seq <= self.upto(writer) {
            return;
        }
        let index = usize::from(writer.0);
        if self.vector.len() <= index {
            self.vector.resize(index + 1, 0);
        }
        self.vector[index] = seq;
        // What the vector now reaches leaves the cloud, and may carry it further.
        while let Some(dot) = Dot::new(writer, 1)
            .and_then(|first| self.beyond.range(first..).next().copied())
            .filter(|dot| dot.writer() == writer && dot.seq() <= self.vector[index] + 1)
        {
            self.beyond.remove(&dot);
            self.vector[index] = self.vector[index].max(dot.seq());
        }
    }

    /// Learns all that `other` knows.
    pub fn join(&mut self, other: &Context) {
        for (writer, seq) in other.vector() {
            self.raise(writer, seq);
        }
        for dot in other.beyond() {
            self.insert(dot);
        }
    }

    /// Forgets what `other` covers as well: of a writer the vector's number, once `other` reaches
    /// it, and each dot of its own. What stays is still known here, and covers no event that this
    /// context did not.
    pub fn subtract(&mut self, other: &Context) {
        self.forget(|writer| other.upto(writer));
        self.beyond.retain(|dot| !other.seen(*dot));
    }

    /// As [`Context::subtract`] of a vector that reaches `upto` of each writer's events.
    pub fn forget(&mut self, upto: impl Fn(Writer) -> u64) {
        self.beyond.retain(|dot| dot.seq() > upto(dot.writer()));
        for (index, seq) in (0u16..).zip(self.vector.iter_mut()) {
            if upto(Writer(index)) >= *seq {
                *seq = 0;
            }
        }
    }
}

/// The writers that a function has met, by index.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Writers {
    ids: Vec<ReplicaId>,
    /// All of them in the order of their ids. Most functions have few writers, and a node many functions.
    by_id: Vec<Writer>,
}

impl Writers {
    /// No writers.
    #[must_use]
    pub const fn new() -> Writers {
        Writers { ids: Vec::new(), by_id: Vec::new() }
    }

    /// Where `id` stands in the order of ids, or would.
    fn place(&self, id: ReplicaId) -> Result<usize, usize> {
        self.by_id.binary_search_by_key(&id, |writer| self.ids[usize::from(writer.0)])
    }

    /// The index of `id`, given to it now if it is new; none once 65 536 are known.
    pub fn intern(&mut self, id: ReplicaId) -> Option<Writer> {
        let place = match self.place(id) {
            Ok(known) => return Some(self.by_id[known]),
            Err(place) => place,
        };
        let writer = u16::try_from(self.ids.len()).ok().map(Writer)?;
        if self.ids.is_empty() {
            self.ids.reserve_exact(1);
            self.by_id.reserve_exact(1);
        }
        self.ids.push(id);
        self.by_id.insert(place, writer);
        Some(writer)
    }

    /// One writer.
    #[must_use]
    pub fn of(id: ReplicaId) -> Writers {
        let mut writers = Writers::new();
        writers.intern(id);
        writers
    }

    /// The index of `id`, if it is known.
    #[must_use]
    pub fn index(&self, id: ReplicaId) -> Option<Writer> {
        self.place(id).ok().map(|place| self.by_id[place])
    }

    /// All of them, in the order of their indexes.
    pub fn ids(&self) -> impl Iterator<Item = (Writer, ReplicaId)> + '_ {
        (0u16..).map(Writer).zip(self.ids.iter().copied())
    }

    /// Forgets the writers met since `len` were known: nothing may name them yet.
    pub fn truncate(&mut self, len: usize) {
        self.by_id.retain(|writer| usize::from(writer.0) < len);
        self.ids.truncate(len);
    }

    /// The id of `writer`.
    #[must_use]
    pub fn id(&self, writer: Writer) -> Option<ReplicaId> {
        self.ids.get(usize::from(writer.0)).copied()
    }

    /// How many are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// Where a mutator gets its events from: the one thing it needs of the outside world.
pub trait Events {
    /// A dot never used before, of the local writer.
    fn next(&mut self) -> Dot;
    /// Whether `dot` is the local writer's and has not been shown yet, neither in a delta nor
    /// in a whole state: then no node can have removed it, and it may stand for further updates of
    /// the same interval. A node that hands out a state must count all that is in it as shown.
    fn unsent(&self, dot: Dot) -> bool;
    /// A hybrid logical clock (milliseconds << 16 | counter), later than all it gave before.
    fn time(&mut self) -> u64;
    /// The local writer.
    fn writer(&self) -> Writer;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(writer: u16, seq: u64) -> Dot {
        Dot::new(Writer(writer), seq).expect("a valid dot")
    }

    #[test]
    fn dots_beyond_the_vector_close_up() {
        let mut context = Context::new();
        for seq in [3, 2, 5] {
            context.insert(dot(1, seq));
        }
        assert_eq!(context.upto(Writer(1)), 0);
        context.insert(dot(1, 1));
        assert_eq!(context.upto(Writer(1)), 3);
        assert!(context.seen(dot(1, 5)) && !context.seen(dot(1, 4)));
        context.raise(Writer(1), 4);
        assert_eq!(context.upto(Writer(1)), 5);
        assert_eq!(context.beyond().count(), 0);
    }

    #[test]
    fn forgetting_takes_what_is_reached_and_nothing_beyond() {
        let mut context = Context::new();
        context.raise(Writer(0), 3);
        for seq in [6, 7, 8] {
            context.insert(dot(1, seq));
        }
        context.forget(|writer| if writer == Writer(0) { 2 } else { 7 });
        assert_eq!(context.upto(Writer(0)), 3);
        assert_eq!(context.beyond().collect::<Vec<_>>(), [dot(1, 8)]);
        context.forget(|_| 8);
        assert!(context.is_empty());
    }

    #[test]
    fn writers_are_found_by_id_and_forgotten_from_the_end() {
        let mut writers = Writers::new();
        for (index, id) in [50, 10, 90, 30].into_iter().enumerate() {
            let writer = Writer(u16::try_from(index).expect("few"));
            assert_eq!(writers.intern(ReplicaId(id)), Some(writer));
            assert_eq!(writers.intern(ReplicaId(id)), Some(writer));
            assert_eq!(writers.index(ReplicaId(id)), Some(writer));
            assert_eq!(writers.id(writer), Some(ReplicaId(id)));
        }
        assert_eq!((writers.len(), writers.index(ReplicaId(20))), (4, None));
        writers.truncate(9);
        assert_eq!(writers.len(), 4);
        writers.truncate(2);
        let ids = [50, 10, 90, 30].map(|id| writers.index(ReplicaId(id)));
        assert_eq!(ids, [Some(Writer(0)), Some(Writer(1)), None, None]);
        assert_eq!(writers.intern(ReplicaId(30)), Some(Writer(2)));
        assert_eq!(writers.index(ReplicaId(30)), Some(Writer(2)));
    }

    #[test]
    fn subtracting_forgets_only_what_the_other_covers_entirely() {
        let mut context = Context::new();
        context.raise(Writer(0), 3);
        context.insert(dot(1, 7));
        let mut other = Context::new();
        other.insert(dot(0, 3)); // knows the newest, not those before it
        context.subtract(&other);
        assert!(context.seen(dot(0, 2)) && context.seen(dot(1, 7)));
        other.raise(Writer(0), 2);
        other.insert(dot(1, 7));
        context.subtract(&other);
        assert!(context.is_empty());
        assert_eq!(context, Context::new());
    }

    #[test]
    fn writers_are_interned_once_and_no_more_than_an_index_holds() {
        let mut writers = Writers::new();
        for id in 0..1 << 16 {
            assert!(writers.intern(ReplicaId(id)).is_some());
        }
        assert_eq!(writers.intern(ReplicaId(7)), Some(Writer(7)));
        assert_eq!(writers.intern(ReplicaId(1 << 16)), None);
        writers.truncate(8);
        assert_eq!(writers.intern(ReplicaId(1 << 16)), Some(Writer(8)));
    }

    #[test]
    fn neighbouring_writers_do_not_mix() {
        let mut context = Context::new();
        context.insert(dot(1, 2));
        context.insert(dot(2, 2));
        context.raise(Writer(1), 1);
        assert_eq!((context.upto(Writer(1)), context.upto(Writer(2))), (2, 0));
    }
}
