//! The data types of MISO: state, delta, join and encoding. Pure: no I/O, no clock, no randomness.
//!
//! Each type is one file. Its *state* holds what is live; the *causal context* that gives absence a
//! meaning ("known and not here: removed") is the function's and comes in as an argument, see
//! [`context`]. Mutators take their events from an [`Events`] and note what other nodes must know in a
//! *delta*, which is a small state: joining it, in any order and any number of times, is all that
//! replication does. A whole state is sent as the delta that says all of it.
//!
//! | type | file | concurrent updates |
//! |---|---|---|
//! | GCounter, PnCounter | [`counter`] | sum; a reset takes what it saw |
//! | GSet, OrSet | [`set`] | add wins over a concurrent remove |
//! | MvRegister | [`mv_register`] | all values stand side by side |
//! | EwFlag | [`ew_flag`] | enable wins |
//! | OrMap | [`or_map`] | per field as a register, and as a counter |
//! | plain Redis data | [`plain`] | see there |
//! | OnceIds | [`once`] | all claims of an id stand side by side |
//!
//! A new type is its file with its laws, a line in [`types!`](Type), and a few lines in
//! `tests/specification` that say what its value must be.
#![no_std]

extern crate alloc;

#[macro_use]
mod types;

pub mod batch;
mod cleared;
pub mod codec;
pub mod context;
pub mod counter;
mod crdt;
mod digest;
mod dot;
pub mod dots;
pub mod ew_flag;
#[cfg(test)]
mod laws;
pub mod mv_register;
pub mod once;
pub mod or_map;
mod parts;
pub mod plain;
pub mod set;
pub mod table;
pub mod thin;

use alloc::vec::Vec;

pub use batch::{Change, Changes};
pub use codec::{DecodeError, Decoder, Encode, Encoder};
pub use context::{Context, Events, Seen, Writers};
pub use counter::{Counter, CounterDelta, Entry, Overflow};
pub use crdt::{Crdt, Shown, Tally};
pub use dot::{Dot, ReplicaId, SEQ_MAX, Writer};
pub use ew_flag::{EwFlag, FlagDelta};
pub use mv_register::{MvRegister, RegisterDelta};
pub use once::{Claimed, Claims, OnceDelta, OnceIds};
pub use or_map::{CountError, MapDelta, OrMap};
pub use set::{Set, SetDelta};
pub use table::Table;
pub use thin::Thin;

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
    /// Plain string.
    PlainString(plain::PlainString) = 8 "string",
    /// Plain hash.
    PlainHash(alloc::boxed::Box<plain::PlainHash>) = 9 "hash",
    /// Plain set.
    PlainSet(alloc::boxed::Box<plain::PlainSet>) = 10 "set",
    /// Plain sorted set.
    PlainZSet(alloc::boxed::Box<plain::PlainZSet>) = 11 "zset",
    /// HyperLogLog.
    Hll(alloc::boxed::Box<plain::Hll>) = 12 "hyperloglog",
    /// Ids of writes that are to run once.
    OnceIds(alloc::boxed::Box<OnceIds>) = 13 "once",
}

impl Type {
    /// MISO's own types, which objects hold under names; all others are those of plain keys.
    pub const OWN: &'static [Type] = Type::ALL.split_at(7).0;

    /// Whether it is a type of plain keys.
    #[must_use]
    pub const fn is_plain(self) -> bool {
        self as u8 > Type::OrMap as u8 && !self.is_hidden()
    }

    /// Whether its values are the store's own: they read as absent, and no command names them.
    #[must_use]
    pub const fn is_hidden(self) -> bool {
        matches!(self, Type::OnceIds)
    }

    /// Whether its values count, and so may keep floors.
    #[must_use]
    pub const fn has_counts(self) -> bool {
        use Type::{GCounter, OrMap, PlainHash, PlainString, PlainZSet, PnCounter};
        matches!(self, GCounter | PnCounter | OrMap | PlainString | PlainHash | PlainZSet)
    }
}

const _: () = assert!(size_of::<Value>() <= 40, "a name's value must stay small");
