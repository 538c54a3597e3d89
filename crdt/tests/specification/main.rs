//! What the value of each type must be, as a reader would say it, and that the real types agree.
//!
//! A [`Specification`] maps a set of events, each with the events that its node had seen, to a value.
//! It knows no dots, deltas or contexts. The harness plays random histories of edits on real values;
//! what they send goes through the real encodings: deltas, several joined, deltas in part with a log of
//! removals, whole states, in any order, some twice, some never. Whenever a node has all that its events
//! had seen, it must read what the specification says of its events; at the end all nodes must.
//!
//! A failure prints its seed; `SPECIFICATION_SEED=n cargo test -p miso-crdt --test specification`
//! replays it. A node edits only while it has all that its events had seen; what happens otherwise is
//! played by `tests/model`.
//!
//! A new type is a file with its specification, and a line below.

mod counter;
mod ew_flag;
mod harness;
mod mv_register;
mod or_map;
mod set;

use harness::check;

#[test]
fn grow_only_counter() {
    check::<counter::GCounter>();
}

#[test]
fn counter() {
    check::<counter::PnCounter>();
}

#[test]
fn grow_only_set() {
    check::<set::GSet>();
}

#[test]
fn observed_remove_set() {
    check::<set::OrSet>();
}

#[test]
fn multi_value_register() {
    check::<mv_register::MvRegister>();
}

#[test]
fn enable_wins_flag() {
    check::<ew_flag::EwFlag>();
}

#[test]
fn observed_remove_map() {
    check::<or_map::OrMap>();
}
