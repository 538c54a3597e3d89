//! What one node holds: functions, their objects, the names in them, and what of it has changed.
//!
//! ```text
//! Store -> Function (namespace, one sequence of events, one causal context)
//!            -> Shard (a lock; chosen by the object's hash)
//!                 -> Object -> name -> value, 40 bytes for the usual counter
//!                 -> pending: one delta-group per changed CRDT and interval
//! ```
//!
//! An object lies wholly in one shard, so all that is done to one object under the shard's lock is
//! atomic. Look-ups borrow their keys, and the object's hash is computed once. The crate knows no
//! sockets and no RESP; time comes in as a function pointer.
//!
//! Files import files lower in this list, never higher:
//!
//! ```text
//! durable/{checkpoint, recover, replay}   a store and its data directory
//! store                                   all functions of a node
//! replica, retire, expiry                 a function among others
//! once/{settle, mod}                      writes that run once
//! held                                    several shards at once
//! plain                                   plain keys: what is there at a moment
//! guard, heard, mint                      what is done under a shard's lock
//! function                                shards, sequence, causal context
//! shard                                   objects, and what of them has changed
//! durable/{writes, records}, joining      bytes of records; what replication keeps
//! object, pending, removals, changelog, deadlines, config, journal, once/{state, claim}
//! ```

mod changelog;
mod config;
mod deadlines;
mod durable;
mod expiry;
mod function;
mod guard;
mod heard;
mod held;
mod joining;
pub mod journal;
mod mint;
mod object;
mod once;
mod pending;
mod plain;
mod removals;
mod replica;
mod retire;
mod shard;
mod sketches;
mod store;
#[cfg(test)]
mod tests;
mod unfolded;

pub use config::{Clock, Config};
pub use deadlines::Ended;
pub use durable::{Recovery, check, recover, repair};
pub use expiry::Expired;
pub use function::{Function, Observer};
pub use guard::ShardGuard;
pub use heard::{HeardKey, Hearing};
pub use held::{Held, ShardList};
pub use joining::{Refused, Retirement, Vector};
pub use mint::Mint;
pub use miso_crdt as crdt;
pub use miso_crdt::table::{hash, seed_hashes};
pub use object::{Names, Object, Slot, WrongType};
pub use once::{ID_MAX, Once, OnceKey, Place, REPLY_MAX};
pub use plain::{Misfit, Shown};
pub use replica::{
    Buckets, FeedChanges, FeedCursor, FeedGoal, FeedKey, FeedPlace, Joined, Named, Outgoing,
};
pub use retire::Deleting;
pub use shard::Shard;
pub use store::Store;
