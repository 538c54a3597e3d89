//! A store on disk: what its journal's records say, and how a store is made of them again.
//!
//! ```text
//! WRITES | function | writer u64 | write* |                 the writer's own, each command's together
//! write  | events: varint n, n x varint | object | name | change |
//!        | 0 | type | event | object | name | short |           most updates
//! short  | age | p | n |                         a counter's entry, `age` events old; or
//!        | element |                             of a set, which it had not
//! BATCH  | function | origin u64 | first | last | changes |                     a peer's batch
//! PART   | function | 0, or 1 and a vector | changes |      of a sync, or fetched; with what it covers
//! KNOWN  | function | vector |                              all of these events stand before this
//! LOST   | 1 or 0 |                                         of what stands between 1 and 0, some is lost
//! RETIRED| function | by u64 | its event | vector |         writers that will never count again
//!
//! function, object, name: varint length, bytes; vector: varint n, n x (u64, varint)
//! ```
//!
//! A record is made under the lock under which its change is made, and says what a peer would be sent;
//! so to recover is to join, in any order and any number of times, and a checkpoint may be written
//! while changes go on: it says at least what was known when it began, and the records since then
//! say the rest.
//!
//! What a command does under one hold of its locks is in one record, to which it is added when they are
//! let go of: all names of an object that is deleted, all of a transaction, also where it is about several
//! shards. What is added until the next write shares a record, in the order of its events.
//! Recovery finds all of it or nothing. A checkpoint may have met one half of it; it gets its name only
//! once the log has, durably, all that was done until then.
//!
//! What a repair has saved stands between two LOST. It is joined, and claims nothing: a node that knew
//! of an event and has lost the value would else take it for removed, and have others remove it too. It
//! knows no events then, as a new node, and gets them from its peers with all that they have. And it
//! mints one event that changes nothing, so that peers lack something of it and ask for all that it has.
//!
//! With a journal no event counts as unsent, for the journal has seen it: an element that comes and
//! goes within an interval is named in both records, and each update has an event of its own, so that
//! the events that are there say exactly what is there, also where the end was lost.

mod checkpoint;
pub(crate) mod records;
mod recover;
mod replay;
#[cfg(test)]
mod tests;
pub(crate) mod writes;

pub use recover::{Recovery, check, recover, repair};
