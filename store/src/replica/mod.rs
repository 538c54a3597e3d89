//! A function as a replica of others: what goes out, what comes in, and what is known.
//!
//! Everything here is done by one replicator at a time, under the function's *joining* lock, which
//! is taken before any shard's and never by commands; so commands wait only for the short while
//! that one shard is joined into or copied from. The rules are those that `crdt/tests/model.rs`
//! shows to be needed.

mod batch;
mod digests;
mod export;
mod feed;
#[cfg(test)]
mod feed_tests;
mod floors;
mod join;
mod known;
mod pieces;
mod replay;
mod sync;

pub use batch::Outgoing;
pub use digests::Buckets;
pub use feed::{FeedChanges, FeedCursor, FeedGoal, FeedKey, FeedPlace};
pub use join::Joined;
pub(crate) use replay::REPLAY_BATCH;
pub use sync::Named;
