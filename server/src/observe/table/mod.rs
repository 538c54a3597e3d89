//! The table of what a node tells of itself, a section of INFO each; the fields that Redis has stand
//! in Redis's order, with those of this server after them.
//!
//! A value is measured, or is 0 because this server has no such thing: no fork, no eviction, no
//! scripts, no replicas that speak RESP.

mod commands;
mod memory;
mod miso;
mod persistence;
mod server;
mod stats;

use super::row::{Row, Section};

const fn section(name: &'static str, rows: &'static [Row]) -> Section {
    Section { name, by_default: true, rows }
}

/// A section that INFO shows only if it is asked for.
const fn on_demand(name: &'static str, rows: &'static [Row]) -> Section {
    Section { name, by_default: false, rows }
}

/// The sections, in the order of INFO.
pub(super) const SECTIONS: &[Section] = &[
    section("Server", server::SERVER),
    section("Clients", server::CLIENTS),
    section("Memory", memory::MEMORY),
    section("Persistence", persistence::PERSISTENCE),
    section("Stats", stats::STATS),
    section("Replication", server::REPLICATION),
    section("CPU", server::CPU),
    section("Modules", server::MODULES),
    on_demand("Commandstats", commands::COMMAND_STATS),
    section("Errorstats", commands::ERROR_STATS),
    on_demand("Latencystats", commands::LATENCY_STATS),
    section("Cluster", server::CLUSTER),
    section("Keyspace", miso::KEYSPACE),
    section("Miso", miso::MISO),
];
