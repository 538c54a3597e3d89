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

use super::metrics::{Column, Field, Kind, Metric, Row, Section, Unit, Value};
use super::reading::Reading;

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

type Read = fn(&Reading<'_>) -> Value;

const fn row(
    field: &'static str,
    kind: Kind,
    name: &'static str,
    unit: Unit,
    help: &'static str,
    read: Read,
) -> Row {
    Row::Field(Field { field, metric: Metric { kind, name, unit, help }, read })
}

/// A field of INFO that is no metric.
const fn only(field: &'static str, help: &'static str, read: Read) -> Row {
    row(field, Kind::None, "", Unit::None, help, read)
}

/// A field of INFO that is always 0: this server has no such thing.
const fn zero(field: &'static str, help: &'static str) -> Row {
    only(field, help, |_| Value::Count(0))
}

/// A field of INFO that describes the node.
const fn label(field: &'static str, name: &'static str, help: &'static str, read: Read) -> Row {
    row(field, Kind::Label, name, Unit::None, help, read)
}

const fn gauge(
    field: &'static str,
    name: &'static str,
    unit: Unit,
    help: &'static str,
    read: Read,
) -> Row {
    row(field, Kind::Gauge, name, unit, help, read)
}

const fn counter(
    field: &'static str,
    name: &'static str,
    unit: Unit,
    help: &'static str,
    read: Read,
) -> Row {
    row(field, Kind::Counter, name, unit, help, read)
}

const fn column(
    field: &'static str,
    kind: Kind,
    name: &'static str,
    unit: Unit,
    help: &'static str,
) -> Column {
    Column { field, metric: Metric { kind, name, unit, help } }
}

/// Bytes as Redis writes them for people.
fn human(bytes: u64) -> Value {
    let n = bytes as f64;
    Value::Text(match bytes {
        0..1024 => format!("{bytes}B"),
        1024..1_048_576 => format!("{:.2}K", n / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.2}M", n / 1_048_576.0),
        1_073_741_824..1_099_511_627_776 => format!("{:.2}G", n / 1_073_741_824.0),
        _ => format!("{:.2}T", n / 1_099_511_627_776.0),
    })
}

/// A quotient with two digits after the point; of nothing, 0.
fn ratio(of: u64, to: u64) -> Value {
    Value::Decimal(if to == 0 { 0.0 } else { of as f64 / to as f64 }, 2)
}

/// A share in hundredths; of nothing, 0.
fn percent(of: u64, to: u64) -> Value {
    Value::Percent(if to == 0 { 0.0 } else { of as f64 * 100.0 / to as f64 })
}

/// How much more `a` is than `b`; less than nothing if it is less.
fn difference(a: u64, b: u64) -> Value {
    Value::Level((i128::from(a) - i128::from(b)) as i64)
}
