//! Replication between nodes: the place of the overlay and the replicator as pure state machines.
//!
//! Nothing is here yet. What it will stand on is: the store gathers one delta-group per changed CRDT
//! and interval once somebody asks ([`Function::track`], [`Function::drain`]), the types join deltas
//! in any order, and `crdt/tests/model.rs` is the executable model of the protocol that is planned.
//!
//! [`Function::track`]: miso_store::Function::track
//! [`Function::drain`]: miso_store::Function::drain
