//! Commands about plain keys: Redis's own data, which merges.
//!
//! A plain key is an object whose value stands under the empty name (`miso_store::Shown::Plain`). Its types
//! are in `miso_store::crdt::plain`; what each command does when nodes are apart is in its row.
//!
//! How to add a command:
//!
//! 1. Take the file of its group, or add one: a line `pub(super) mod x;` and a line in [`GROUPS`] below.
//! 2. Write its row in the file's list. `Row::command(..)` has Redis's name and arguments, `.group(..)`,
//!    `.reads()`, `.writes()` or `.deletes()`, `.fast()` for O(1) and O(log N), and how it merges:
//!    `.merges("the sum, always exact")`, or `.decides_here("..")` if its answer is this node's view. A
//!    command that takes back what others may have counted has `.flags(Flags::RESETS)`.
//! 3. Write its handler with [`access`]: [`access::read`] and [`access::write`] reach one key of one
//!    type under one lock, [`access::with_key`] is for what needs more: other types, the deadline, a
//!    reply while the lock is held. Several keys: `cx.with_objects`, which journals all as one.
//!    Deadlines in arguments are read by [`expiry`]; numbers by [`access::float`] and `Words::integer`.
//! 4. Everything is told the same `now`: the closure gets it, by this node's hybrid logical clock. A key
//!    that has expired reads as absent; a write begins a new life by itself.
//! 5. Errors and replies are Redis's to the byte. Errors are rows in `engine/error.rs`.
//! 6. If Redis calls its keyspace event otherwise than the command, say so in `engine/events.rs`; if only options
//!    decide here, name them in the row by `.decides_with(..)`.
//! 7. `cargo xtask docs` writes the reference; tests are in `tests/tests/plain*.rs`, and a line for the random test
//!    against Redis in `tests/src/differential/groups/`.

pub(super) mod access;
pub(super) mod bitfield;
pub(super) mod bitmap;
pub(super) mod copy;
pub(super) mod expiry;
pub(super) mod flush;
pub(super) mod geo;
pub(super) mod geo_search;
pub(super) mod geohash;
pub(super) mod hash;
pub(super) mod hash_expiry;
pub(super) mod hash_fields;
pub(super) mod hll;
pub(super) mod increx;
pub(super) mod keys;
pub(super) mod lcs;
pub(super) mod refused;
pub(super) mod set;
pub(super) mod set_ops;
pub(super) mod sort;
pub(super) mod string;
pub(super) mod string_many;
pub(super) mod string_parts;
pub(super) mod ttl;
pub(super) mod values;
pub(super) mod zset;
pub(super) mod zset_ops;
pub(super) mod zset_range;
pub(super) mod zset_take;

use crate::engine::command::Command;

/// The commands of all files.
pub(super) const GROUPS: &[&[Command]] = &[
    keys::KEYS,
    ttl::DEADLINES,
    copy::COPIES,
    flush::FLUSHES,
    string::STRINGS,
    string_many::STRINGS,
    string_parts::STRINGS,
    increx::INCREX,
    lcs::LCS,
    values::VALUES,
    hash::HASHES,
    hash_expiry::FIELD_DEADLINES,
    hash_fields::FIELDS,
    set::SETS,
    set_ops::SET_OPERATIONS,
    bitmap::BITMAPS,
    bitfield::BITFIELDS,
    zset::SORTED_SETS,
    zset_range::SORTED_SETS,
    zset_take::SORTED_SETS,
    zset_ops::SORTED_SETS,
    geo::PLACES,
    geo_search::SEARCHES,
    hll::HYPERLOGLOGS,
    sort::SORTS,
    refused::REFUSED,
];
