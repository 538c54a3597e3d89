//! What every data type is: the trait [`Crdt`].

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt::Debug;

use crate::codec::Encode;
use crate::context::{Context, Events, Seen, Writers};
use crate::counter::entry::Entry;
use crate::dot::{Dot, Writer};

/// A conflict-free replicated data type as a delta-state CRDT.
pub trait Crdt: Clone + Default + Eq + Debug {
    /// A change of it: what some update did, or a whole state.
    type Delta: Clone + Default + Eq + Debug + Encode;

    /// Whether it reads as if it had never been written.
    fn is_absent(&self) -> bool;

    /// Whether nothing at all is stored: then the name can go. Implies absent.
    fn is_blank(&self) -> bool;

    /// Joins `delta` under what this side has `seen`; false if it said nothing new. The caller then
    /// adds to its context what the delta covers.
    fn apply(&mut self, seen: &impl Seen, delta: &Self::Delta) -> bool;

    /// The whole state, complete up to `context`: what the context covers and the state lacks is
    /// gone.
    fn whole(&self, context: &Context) -> Self::Delta;

    /// What of the state `known` does not cover: what a peer with that knowledge lacks of it. Says
    /// nothing of what has gone since; see [`Crdt::removals`].
    fn since(&self, known: &impl Seen) -> Self::Delta;

    /// How many elements or fields it has, for a caller that copies a limited number at once; 1 for a type
    /// without any.
    fn parts(&self) -> usize {
        1
    }

    /// As [`Crdt::since`] of nothing, for a caller that saves a value piece by piece while it goes on
    /// changing: about `most` parts from `cursor` on (0 begins), and the cursor to go on from, 0 at the
    /// end. A part that is there the whole time is in some piece.
    fn piece(&self, _cursor: u64, _most: usize) -> (Self::Delta, u64) {
        (self.since(&()), 0)
    }

    /// Joins two changes into one that says both.
    fn join_delta(delta: &mut Self::Delta, other: &Self::Delta);

    /// Makes a change that says all of a value also say that what `context` covers and it does not
    /// name is gone; false, and nothing done, if it says so of some context already.
    fn complete(delta: &mut Self::Delta, context: &Context) -> bool;

    /// A number that is equal for equal live states on any node, whatever their local indexes; of
    /// absent values it is 0. Floors of what is wholly deleted do not count: they go at different
    /// times on different nodes.
    fn digest(&self, writers: &Writers) -> u64;

    /// What `delta` takes away, without what it adds: all that a log of removals must keep of it.
    fn removals(delta: &Self::Delta) -> Self::Delta;

    /// Tells `context` of every event that `delta` speaks of, so that an older delta that comes
    /// later changes nothing. This is what a receiver knows of *this* value once it has applied
    /// the delta, be it ahead of its function's vector:
    ///
    /// - dots added are here now, so seeing them again is old news; a replicator need not remember
    ///   them, since what takes them away again teaches them, too;
    /// - dots removed by name, and all that the cleared context covers, are gone, also if they have
    ///   not arrived yet: without this an add that was overtaken by its own removal would stay;
    /// - a *counter's* entries teach nothing. An entry is absolute: the newer one wins whenever it
    ///   comes, so the context matters only once the entry has been dropped, and that is the
    ///   business of a cleared context or of the vector. Others' entries, as a reset ships them, say
    ///   nothing of what else their writers did meanwhile.
    ///
    /// The events of the change itself (removes, too, have one) are not in the delta: a batch names
    /// them as its range, and its receiver raises the vector by it. What is learned here and not
    /// covered by the vector must be kept per value until the vector covers it; it stands for
    /// removals that are pending and for values that were fetched ahead of the vector, and a whole
    /// state that goes out must cover it. `tests/model.rs` shows what else a replicator must keep.
    fn learn(delta: &Self::Delta, context: &mut Context);

    /// Tells `each` the event of every update that `delta` adds, where those can only be its author's: what
    /// it says of others' updates, which is what a delete has seen of them, is not told. Of a type whose
    /// changes repeat others' updates nothing is.
    fn each_added(_delta: &Self::Delta, _each: &mut impl FnMut(Dot)) {}

    /// What `writer` has counted, if this is a counter: all that there is to tell of its updates.
    fn counted(&self, _writer: Writer) -> Option<Entry> {
        None
    }

    /// Prefetches what `delta` changes, where that is a single place: a long change looks ahead by itself
    /// when it is applied.
    fn prefetch(&self, _delta: &Self::Delta) {}

    /// Deletes what this node has seen of it, which is what `context` covers; whether there was anything.
    /// What was done concurrently elsewhere survives.
    fn reset<E: Events>(
        &mut self,
        context: &Context,
        events: &mut E,
        change: Option<&mut Self::Delta>,
    ) -> bool;

    /// The value of a counter, 1 or 0 for a flag, else how many values, members or fields there are.
    fn size(&self) -> i64;

    /// The dots that it is made of, in no order; of a counter that of each entry.
    fn each_dot(&self, each: impl FnMut(Dot));

    /// How many [`Crdt::each_dot`] tells.
    fn dots(&self) -> usize {
        let mut count = 0;
        self.each_dot(|_| count += 1);
        count
    }

    /// What it reads as, for a reader that does not know its type.
    fn show(&self, writers: &Writers) -> Shown;

    /// Adopts the counts of writers that will never count again: see [`Counter::adopt`]; and their sketches
    /// of a HyperLogLog. Of other types there are none.
    ///
    /// [`Counter::adopt`]: crate::Counter::adopt
    fn adopt<E: Events>(
        &mut self,
        _gone: &impl Fn(Dot) -> bool,
        _events: &mut E,
        _change: Option<&mut Self::Delta>,
    ) -> bool {
        false
    }

    /// Whether some count in it is not deleted and `which` says so of its newest update; of a HyperLogLog,
    /// of some sketch.
    fn counts(&self, _which: &impl Fn(Dot) -> bool) -> bool {
        false
    }

    /// Whether it keeps counts only for their floors. Linear in the fields of a map.
    fn has_dead_entries(&self) -> bool {
        false
    }

    /// Forgets floors whose reset the counts' writers have applied: see [`Counter::collect`].
    ///
    /// [`Counter::collect`]: crate::Counter::collect
    fn collect(&mut self, _applied: &impl Fn(Dot, Dot) -> bool) {}

    /// What `writer` has counted under `field`, or in a counter, whose field is empty; none if it has no
    /// entry there.
    fn tally(&self, _field: &[u8], _writer: Writer) -> Option<Tally> {
        None
    }

    /// Adds `amount` under `field` under the local writer whatever the value reads as, as far as it fits:
    /// what an entry of the writer `of` counted twice is taken back by it. Whether it was done.
    fn correct<E: Events>(
        &mut self,
        _of: (&[u8], Writer),
        _amount: i128,
        _events: &mut E,
        _change: Option<&mut Self::Delta>,
    ) -> bool {
        false
    }

    /// The first time after `after`, in milliseconds, at which memory may be taken back of what has
    /// expired: 0 if something is kept that a delete has left, and `u64::MAX` if nothing has a deadline.
    /// It may be too early.
    fn first_end(&self, _after: u64) -> u64 {
        u64::MAX
    }

    /// How many bytes it takes on the heap, before the allocator rounds up. Linear in the state.
    fn heap_bytes(&self) -> usize;
}

/// What one writer has counted somewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tally {
    /// The number of the first update of this life of its entry.
    pub birth: u64,
    /// The number of its newest update.
    pub seq: u64,
    /// Updates up to this number are deleted; 0 if none is.
    pub gone: u64,
    /// All that it has added less what it took away, in this life: units of the type.
    pub sum: i128,
}

/// What a value reads as, whatever its type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Shown {
    /// One text: a counter's number, a flag's 1 or 0.
    Text(Vec<u8>),
    /// Members of a set or concurrent values of a register, bytewise in order.
    List(Vec<Vec<u8>>),
    /// Fields of a map with what each reads as, bytewise in the order of their names.
    Fields(Vec<(Vec<u8>, Vec<u8>)>),
}

// A big type is kept in a box, so that a name stays small whatever it holds.
impl<T: Crdt> Crdt for Box<T> {
    type Delta = T::Delta;

    fn is_absent(&self) -> bool {
        (**self).is_absent()
    }

    fn is_blank(&self) -> bool {
        (**self).is_blank()
    }

    fn apply(&mut self, seen: &impl Seen, delta: &T::Delta) -> bool {
        (**self).apply(seen, delta)
    }

    fn whole(&self, context: &Context) -> T::Delta {
        (**self).whole(context)
    }

    fn since(&self, known: &impl Seen) -> T::Delta {
        (**self).since(known)
    }

    fn counted(&self, writer: Writer) -> Option<Entry> {
        (**self).counted(writer)
    }

    fn parts(&self) -> usize {
        (**self).parts()
    }

    fn piece(&self, cursor: u64, most: usize) -> (T::Delta, u64) {
        (**self).piece(cursor, most)
    }

    fn join_delta(delta: &mut T::Delta, other: &T::Delta) {
        T::join_delta(delta, other);
    }

    fn complete(delta: &mut T::Delta, context: &Context) -> bool {
        T::complete(delta, context)
    }

    fn digest(&self, writers: &Writers) -> u64 {
        (**self).digest(writers)
    }

    fn removals(delta: &T::Delta) -> T::Delta {
        T::removals(delta)
    }

    fn learn(delta: &T::Delta, context: &mut Context) {
        T::learn(delta, context);
    }

    fn each_added(delta: &T::Delta, each: &mut impl FnMut(Dot)) {
        T::each_added(delta, each);
    }

    fn prefetch(&self, delta: &T::Delta) {
        (**self).prefetch(delta);
    }

    fn reset<E: Events>(
        &mut self,
        context: &Context,
        events: &mut E,
        change: Option<&mut T::Delta>,
    ) -> bool {
        Crdt::reset(&mut **self, context, events, change)
    }

    fn size(&self) -> i64 {
        (**self).size()
    }

    fn each_dot(&self, each: impl FnMut(Dot)) {
        (**self).each_dot(each);
    }

    fn show(&self, writers: &Writers) -> Shown {
        (**self).show(writers)
    }

    fn adopt<E: Events>(
        &mut self,
        gone: &impl Fn(Dot) -> bool,
        events: &mut E,
        change: Option<&mut T::Delta>,
    ) -> bool {
        Crdt::adopt(&mut **self, gone, events, change)
    }

    fn counts(&self, which: &impl Fn(Dot) -> bool) -> bool {
        Crdt::counts(&**self, which)
    }

    fn has_dead_entries(&self) -> bool {
        Crdt::has_dead_entries(&**self)
    }

    fn collect(&mut self, applied: &impl Fn(Dot, Dot) -> bool) {
        Crdt::collect(&mut **self, applied);
    }

    fn tally(&self, field: &[u8], writer: Writer) -> Option<Tally> {
        (**self).tally(field, writer)
    }

    fn correct<E: Events>(
        &mut self,
        of: (&[u8], Writer),
        amount: i128,
        events: &mut E,
        change: Option<&mut T::Delta>,
    ) -> bool {
        (**self).correct(of, amount, events, change)
    }

    fn first_end(&self, after: u64) -> u64 {
        (**self).first_end(after)
    }

    fn heap_bytes(&self) -> usize {
        (**self).heap_bytes()
    }
}
