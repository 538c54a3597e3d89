//! The data types of MISO: state, delta, join and encoding. Pure: no I/O, no clock, no randomness.
//!
//! Each type is one file. Its *state* holds what is live; the *causal context* that gives absence a
//! meaning ("known and not here: removed") is the function's and comes in as an argument, see
//! [`context`]. Mutators take their events from an [`Events`] and note what others must hear in a
//! *delta*, which is a small state: joining it, in any order and any number of times, is all that
//! replication does. A whole state travels as the delta that says all of it.
//!
//! | type | file | concurrent updates |
//! |---|---|---|
//! | GCounter, PnCounter | [`counter`] | sum; a reset takes what it saw |
//! | GSet, OrSet | [`set`] | add wins over a concurrent remove |
//! | MvRegister | [`mv_register`] | all values stand side by side |
//! | EwFlag | [`ew_flag`] | enable wins |
//! | OrMap | [`or_map`] | per field as a register, and as a counter |
//!
//! A new type is its file, a line in [`types!`](Type), and its laws in `laws.rs`.
#![no_std]

extern crate alloc;

pub mod batch;
pub mod codec;
pub mod context;
pub mod counter;
mod dot;
pub mod dots;
pub mod ew_flag;
#[cfg(test)]
mod laws;
pub mod mv_register;
pub mod or_map;
mod parts;
pub mod set;
pub mod table;
pub mod thin;

use alloc::vec::Vec;
use core::fmt::Debug;

pub use batch::{Change, Changes};
pub use codec::{DecodeError, Decoder, Encode, Encoder};
pub use context::{Context, Events, Seen, Writers};
pub use counter::{Counter, CounterDelta, Entry, Overflow};
pub use dot::{Dot, ReplicaId, SEQ_MAX, Writer};
pub use ew_flag::{EwFlag, FlagDelta};
pub use mv_register::{MvRegister, RegisterDelta};
pub use or_map::{CountError, MapDelta, OrMap};
pub use set::{Set, SetDelta};
pub use table::Table;
pub use thin::Thin;

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

    /// What of the state `known` does not cover: what a peer that knows so much lacks of it. Says
    /// nothing of what has gone since; see [`Crdt::removals`].
    fn since(&self, known: &impl Seen) -> Self::Delta;

    /// How many elements or fields it has, for who would not copy many at once; 1 where it has none.
    fn parts(&self) -> usize {
        1
    }

    /// As [`Crdt::since`] of nothing, for who keeps all of a value while it goes on changing: about
    /// `most` parts from `cursor` on (0 begins), and the cursor to go on from, 0 at the end. What is
    /// there the whole time is told.
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

    /// What `writer` has counted, if this is a counter: all that there is to tell of its updates.
    fn counted(&self, _writer: Writer) -> Option<Entry> {
        None
    }

    /// Asks for what `delta` is about to be brought near, where that is a single place: a long
    /// change looks ahead by itself when it is applied.
    fn prefetch(&self, _delta: &Self::Delta) {}

    /// How many bytes it takes on the heap, before the allocator rounds up. Linear in the state.
    fn heap_bytes(&self) -> usize;
}

/// A type as a parameter: two types may share a state, as the two counters do.
pub trait Kind {
    /// The type.
    const TYPE: Type;
    /// Its state.
    type State: Crdt;
    /// The state in `value`; none if that is of another type.
    fn of(value: &Value) -> Option<&Self::State>;
    /// The state in `value`, to change.
    fn of_mut(value: &mut Value) -> Option<&mut Self::State>;
    /// The change in `delta`, to add to.
    fn delta_mut(delta: &mut Delta) -> Option<&mut <Self::State as Crdt>::Delta>;
}

macro_rules! types {
    ($($(#[$doc:meta])* $name:ident($state:ty) = $tag:literal $text:literal,)*) => {
        /// The types, with their tags on the wire. A tag is never used twice.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum Type { $($(#[$doc])* $name = $tag,)* }

        impl Type {
            /// All types, in the order of their tags.
            pub const ALL: &'static [Type] = &[$(Type::$name,)*];

            /// The name that commands use, in lower case.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Type::$name => $text,)* }
            }

            /// The type of a tag.
            #[must_use]
            pub const fn of_tag(tag: u8) -> Option<Type> {
                match tag { $($tag => Some(Type::$name),)* _ => None }
            }
        }

        /// A value of any type.
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub enum Value { $($(#[$doc])* $name($state),)* }

        /// A change of a value of any type.
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub enum Delta { $($(#[$doc])* $name(<$state as Crdt>::Delta),)* }

        impl Value {
            /// The empty value of `kind`.
            #[must_use]
            pub fn empty(kind: Type) -> Value {
                match kind { $(Type::$name => Value::$name(<$state>::default()),)* }
            }

            /// Its type.
            #[must_use]
            pub const fn kind(&self) -> Type {
                match self { $(Value::$name(_) => Type::$name,)* }
            }

            /// As [`Crdt::is_absent`].
            #[must_use]
            pub fn is_absent(&self) -> bool {
                match self { $(Value::$name(state) => state.is_absent(),)* }
            }

            /// As [`Crdt::is_blank`].
            #[must_use]
            pub fn is_blank(&self) -> bool {
                match self { $(Value::$name(state) => state.is_blank(),)* }
            }

            /// As [`Crdt::apply`]; a delta of another type changes nothing.
            pub fn apply(&mut self, seen: &impl Seen, delta: &Delta) -> bool {
                match (self, delta) {
                    $((Value::$name(state), Delta::$name(delta)) => state.apply(seen, delta),)*
                    _ => false,
                }
            }

            /// As [`Crdt::prefetch`]; a delta of another type is about nothing here.
            pub fn prefetch(&self, delta: &Delta) {
                match (self, delta) {
                    $((Value::$name(state), Delta::$name(delta)) => state.prefetch(delta),)*
                    _ => {}
                }
            }

            /// As [`Crdt::whole`].
            #[must_use]
            pub fn whole(&self, context: &Context) -> Delta {
                match self { $(Value::$name(state) => Delta::$name(state.whole(context)),)* }
            }

            /// As [`Crdt::since`].
            #[must_use]
            pub fn since(&self, known: &impl Seen) -> Delta {
                match self { $(Value::$name(state) => Delta::$name(state.since(known)),)* }
            }

            /// As [`Crdt::parts`].
            #[must_use]
            pub fn parts(&self) -> usize {
                match self { $(Value::$name(state) => state.parts(),)* }
            }

            /// As [`Crdt::piece`].
            #[must_use]
            pub fn piece(&self, cursor: u64, most: usize) -> (Delta, u64) {
                match self {
                    $(Value::$name(state) => {
                        let (delta, cursor) = state.piece(cursor, most);
                        (Delta::$name(delta), cursor)
                    })*
                }
            }

            /// As [`Crdt::digest`].
            #[must_use]
            pub fn digest(&self, writers: &Writers) -> u64 {
                match self { $(Value::$name(state) => state.digest(writers),)* }
            }

            /// As [`Crdt::heap_bytes`].
            #[must_use]
            pub fn heap_bytes(&self) -> usize {
                match self { $(Value::$name(state) => state.heap_bytes(),)* }
            }
        }

        $(
            impl Kind for kind::$name {
                const TYPE: Type = Type::$name;
                type State = $state;

                fn of(value: &Value) -> Option<&$state> {
                    match value { Value::$name(state) => Some(state), _ => None }
                }

                fn of_mut(value: &mut Value) -> Option<&mut $state> {
                    match value { Value::$name(state) => Some(state), _ => None }
                }

                fn delta_mut(
                    delta: &mut Delta,
                ) -> Option<&mut <$state as Crdt>::Delta> {
                    match delta { Delta::$name(delta) => Some(delta), _ => None }
                }
            }
        )*

        /// The types as parameters of generic code: see [`Kind`].
        pub mod kind {
            $($(#[$doc])* #[derive(Clone, Copy, Debug)] pub struct $name;)*
        }

        impl Delta {
            /// The change of `kind` that says nothing.
            #[must_use]
            pub fn empty(kind: Type) -> Delta {
                match kind { $(Type::$name => Delta::$name(Default::default()),)* }
            }

            /// The type that it changes.
            #[must_use]
            pub const fn kind(&self) -> Type {
                match self { $(Delta::$name(_) => Type::$name,)* }
            }

            /// Whether it says nothing.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                match self { $(Delta::$name(delta) => delta.is_empty(),)* }
            }

            /// As [`Crdt::join_delta`]; a delta of another type changes nothing.
            pub fn join(&mut self, other: &Delta) {
                match (self, other) {
                    $((Delta::$name(delta), Delta::$name(other)) => {
                        <$state as Crdt>::join_delta(delta, other);
                    })*
                    _ => {}
                }
            }

            /// As [`Crdt::complete`].
            pub fn complete(&mut self, context: &Context) -> bool {
                match self {
                    $(Delta::$name(delta) => <$state as Crdt>::complete(delta, context),)*
                }
            }

            /// As [`Crdt::removals`].
            #[must_use]
            pub fn removals(&self) -> Delta {
                match self {
                    $(Delta::$name(delta) => Delta::$name(<$state as Crdt>::removals(delta)),)*
                }
            }

            /// As [`Crdt::learn`].
            pub fn learn(&self, context: &mut Context) {
                match self { $(Delta::$name(delta) => <$state as Crdt>::learn(delta, context),)* }
            }

            /// The message that says it; see [`codec`].
            #[must_use]
            pub fn encode(&self, writers: &Writers) -> Vec<u8> {
                let mut encoder = Encoder::new();
                match self { $(Delta::$name(delta) => delta.encode(&mut encoder),)* }
                encoder.finish(self.kind() as u8, writers)
            }

            /// As [`Delta::encode`], appended to `out` by way of an encoder that is kept.
            pub fn encode_with(
                &self,
                encoder: &mut Encoder,
                writers: &Writers,
                out: &mut Vec<u8>,
            ) {
                match self { $(Delta::$name(delta) => delta.encode(encoder),)* }
                encoder.finish_to(self.kind() as u8, writers, out);
            }

            /// Writes its type tag and its body.
            pub fn encode_to(&self, to: &mut Encoder) {
                to.byte(self.kind() as u8);
                match self { $(Delta::$name(delta) => delta.encode(to),)* }
            }

            /// Reads what [`Delta::encode_to`] wrote.
            ///
            /// # Errors
            /// If it is anything else.
            pub fn decode_from(from: &mut Decoder<'_>) -> Result<Delta, DecodeError> {
                let tag = from.byte()?;
                Delta::body(tag, from)
            }

            fn body(tag: u8, from: &mut Decoder<'_>) -> Result<Delta, DecodeError> {
                Ok(match Type::of_tag(tag).ok_or(DecodeError::Type(tag))? {
                    $(Type::$name => Delta::$name(Encode::decode(from)?),)*
                })
            }

            /// Reads a message, interning its writers.
            ///
            /// # Errors
            /// If it is not one that [`Delta::encode`] writes; never panics, takes memory in
            /// proportion to the message, and leaves `writers` as they were.
            pub fn decode(message: &[u8], writers: &mut Writers) -> Result<Delta, DecodeError> {
                let known = writers.len();
                match Delta::decode_first(message, writers)? {
                    (delta, []) => Ok(delta),
                    _ => {
                        writers.truncate(known);
                        Err(DecodeError::Trailing)
                    }
                }
            }

            /// As [`Delta::decode`] of a message behind which others may follow; gives those.
            ///
            /// # Errors
            /// As there.
            pub fn decode_first<'a>(
                message: &'a [u8],
                writers: &mut Writers,
            ) -> Result<(Delta, &'a [u8]), DecodeError> {
                let known = writers.len();
                let read = Delta::read(message, writers);
                if read.is_err() {
                    writers.truncate(known);
                }
                read
            }

            fn read<'a>(
                message: &'a [u8],
                writers: &mut Writers,
            ) -> Result<(Delta, &'a [u8]), DecodeError> {
                let (tag, mut decoder) = Decoder::open(message, writers)?;
                let delta = Delta::body(tag, &mut decoder)?;
                decoder.close_before_more()?;
                Ok((delta, decoder.rest()))
            }
        }
    };
}

types! {
    /// Grow-only counter.
    GCounter(Counter) = 1 "gcounter",
    /// Positive-negative counter.
    PnCounter(Counter) = 2 "pncounter",
    /// Grow-only set.
    GSet(alloc::boxed::Box<Set>) = 3 "gset",
    /// Observed-remove set.
    OrSet(alloc::boxed::Box<Set>) = 4 "orset",
    /// Multi-value register.
    MvRegister(MvRegister) = 5 "mvreg",
    /// Enable-wins flag.
    EwFlag(EwFlag) = 6 "ewflag",
    /// Observed-remove map.
    OrMap(alloc::boxed::Box<OrMap>) = 7 "ormap",
}

// A big type is kept behind a box, so that a name stays small whatever it holds.
impl<T: Crdt> Crdt for alloc::boxed::Box<T> {
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

    fn prefetch(&self, delta: &T::Delta) {
        (**self).prefetch(delta);
    }

    fn heap_bytes(&self) -> usize {
        (**self).heap_bytes()
    }
}

const _: () = assert!(size_of::<Value>() <= 40, "a name's value must stay small");
