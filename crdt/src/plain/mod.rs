//! Plain Redis data as CRDTs: strings, hashes, sets, sorted sets, HyperLogLog, with deadlines.
//!
//! A plain key is an object whose value stands under the empty name. Its types are made of one part,
//! the [`cell`]: values under dots, counts in fixed point on top, terms of a deadline. A string is a
//! cell; a hash, a set and a sorted set are [`keyed`] cells with a *life* of the whole beside them,
//! which is a cell, too.
//!
//! | type | file | concurrent updates |
//! |---|---|---|
//! | string | [`string`] | the later value; counts add up; a count on a value that it has not seen |
//! | hash | [`hash`] | each field as a string |
//! | set | [`set`] | add wins over a concurrent remove |
//! | sorted set | [`zset`] | the later score, the greater of `GT`; increments add up |
//! | HyperLogLog | [`hll`] | union; a delete takes what it saw |
//!
//! Nothing here knows the time: each reader and each update gets a [`Moment`].

pub mod cell;
mod cell_delta;
pub mod counts;
pub mod deadline;
pub mod fixed;
pub mod full;
pub mod hash;
pub mod hll;
pub mod items;
pub mod keyed;
#[cfg(test)]
mod laws;
mod moment;
pub mod order;
#[cfg(test)]
mod play;
pub mod read;
#[cfg(test)]
mod rows;
pub mod set;
pub mod single;
#[cfg(test)]
mod spec;
pub mod string;
mod update;
mod value;
pub mod zset;

pub use hash::PlainHash;
pub use hll::Hll;
pub use moment::{FOREVER, Moment, Refused};
pub use set::PlainSet;
pub use string::PlainString;
pub use value::{deadline, delete, exists, expire, is_plain, is_spent, newest, reclaim, type_name};
pub use zset::PlainZSet;
