//! The pieces that rows are made of.

pub(super) use crate::observe::reading::Reading;
pub(super) use crate::observe::row::{Column, Field, Kind, Metric, Row, Unit, Value};

pub(super) type Read = fn(&Reading<'_>) -> Value;

pub(super) const fn row(
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
pub(super) const fn only(field: &'static str, help: &'static str, read: Read) -> Row {
    row(field, Kind::None, "", Unit::None, help, read)
}

/// A field of INFO that is always 0: this server has no such thing.
pub(super) const fn zero(field: &'static str, help: &'static str) -> Row {
    only(field, help, |_| Value::Count(0))
}

/// A field of INFO that describes the node.
pub(super) const fn label(
    field: &'static str,
    name: &'static str,
    help: &'static str,
    read: Read,
) -> Row {
    row(field, Kind::Label, name, Unit::None, help, read)
}

pub(super) const fn gauge(
    field: &'static str,
    name: &'static str,
    unit: Unit,
    help: &'static str,
    read: Read,
) -> Row {
    row(field, Kind::Gauge, name, unit, help, read)
}

pub(super) const fn counter(
    field: &'static str,
    name: &'static str,
    unit: Unit,
    help: &'static str,
    read: Read,
) -> Row {
    row(field, Kind::Counter, name, unit, help, read)
}

pub(super) const fn column(
    field: &'static str,
    kind: Kind,
    name: &'static str,
    unit: Unit,
    help: &'static str,
) -> Column {
    Column { field, metric: Metric { kind, name, unit, help } }
}

/// Bytes as Redis writes them for people.
pub(super) fn human(bytes: u64) -> Value {
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
pub(super) fn ratio(of: u64, to: u64) -> Value {
    Value::Decimal(if to == 0 { 0.0 } else { of as f64 / to as f64 }, 2)
}

/// A share in hundredths; of nothing, 0.
pub(super) fn percent(of: u64, to: u64) -> Value {
    Value::Percent(if to == 0 { 0.0 } else { of as f64 * 100.0 / to as f64 })
}

/// How much more `a` is than `b`; less than nothing if it is less.
pub(super) fn difference(a: u64, b: u64) -> Value {
    Value::Level((i128::from(a) - i128::from(b)) as i64)
}
