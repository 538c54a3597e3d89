//! What a row of the table is: a field of INFO, a metric, or both, and how its value is read.

use super::reading::Reading;
use crate::node::stats::CallSums;

/// A section of INFO.
#[derive(Debug)]
pub(crate) struct Section {
    /// Its heading.
    pub(crate) name: &'static str,
    /// Whether INFO shows it without being asked for it.
    pub(crate) by_default: bool,
    /// Its rows, in the order of INFO.
    pub(crate) rows: &'static [Row],
}

/// A row of the table.
#[derive(Debug)]
pub(crate) enum Row {
    /// One value.
    Field(Field),
    /// Several values for each of several things.
    Family(Family),
    /// How long each of several things takes.
    Times(Times),
}

/// One value of the node.
#[derive(Debug)]
pub(crate) struct Field {
    /// Its field in INFO; empty if it is a metric only.
    pub(crate) field: &'static str,
    /// What it is as a metric.
    pub(crate) metric: Metric,
    /// How it is read.
    pub(crate) read: fn(&Reading<'_>) -> Value,
}

/// Values for each of several things, such as functions or commands.
#[derive(Debug)]
pub(crate) struct Family {
    /// What stands before the thing's name in INFO; empty if INFO does not show it.
    pub(crate) prefix: &'static str,
    /// The label that names the thing.
    pub(crate) label: &'static str,
    /// What there is of each thing.
    pub(crate) columns: &'static [Column],
    /// The things' names, and of each a value for each column.
    pub(crate) read: fn(&Reading<'_>) -> Vec<Thing>,
}

/// A thing's name, and its values.
pub(crate) type Thing = (Vec<u8>, Vec<Value>);

/// One value of each thing of a [`Family`].
#[derive(Debug)]
pub(crate) struct Column {
    /// Its name within the thing's line in INFO; empty if it is a metric only.
    pub(crate) field: &'static str,
    /// What it is as a metric.
    pub(crate) metric: Metric,
}

/// Times of several things, as a histogram.
#[derive(Debug)]
pub(crate) struct Times {
    /// What stands before the thing's name in INFO.
    pub(crate) prefix: &'static str,
    /// The label that names the thing.
    pub(crate) label: &'static str,
    /// The metric.
    pub(crate) metric: Metric,
    /// The things' names, and their times.
    pub(crate) read: for<'a> fn(&'a Reading<'_>) -> Vec<(&'a str, CallSums)>,
}

/// What a value is as a metric.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metric {
    /// What it counts.
    pub(crate) kind: Kind,
    /// Its name, of a counter without `_total`; of [`Kind::Label`] the label's; empty for
    /// [`Kind::None`].
    pub(crate) name: &'static str,
    /// The unit in which it is read.
    pub(crate) unit: Unit,
    /// What it means, for people.
    pub(crate) help: &'static str,
}

/// The kinds of metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// No metric: a field of INFO only.
    None,
    /// A label of the metric `miso_info`, which describes the node.
    Label,
    /// Goes up only, until it begins anew.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

/// Units in which values are read. Metrics have base units, so a value is scaled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    /// A number of things.
    None,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
    /// Milliseconds, as seconds.
    Millis,
    /// Microseconds, as seconds.
    Micros,
    /// A share or a quotient.
    Ratio,
}

impl Unit {
    /// The base unit, as it ends a name.
    pub(super) fn base(self) -> &'static str {
        match self {
            Unit::None => "",
            Unit::Bytes => "bytes",
            Unit::Seconds | Unit::Millis | Unit::Micros => "seconds",
            Unit::Ratio => "ratio",
        }
    }

    /// How many of these make one base unit.
    fn scale(self) -> f64 {
        match self {
            Unit::Millis => 1e3,
            Unit::Micros => 1e6,
            _ => 1.0,
        }
    }
}

/// What was read.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Value {
    /// Nothing: there is no such thing here, and INFO and metrics leave it out.
    Absent,
    /// A number that is never below 0.
    Count(u64),
    /// A number.
    Level(i64),
    /// A number with digits after its point.
    Decimal(f64, usize),
    /// Hundredths; as a metric a ratio.
    Percent(f64),
    /// Yes or no: 1 or 0.
    Flag(bool),
    /// `ok` or `err`: as a metric 1 or 0.
    Status(bool),
    /// A text.
    Text(String),
}

impl Value {
    /// The number that a metric shows; none if there is none.
    pub(super) fn number(&self, unit: Unit) -> Option<String> {
        let scaled = |n: f64| (n / unit.scale()).to_string();
        match self {
            Value::Absent | Value::Text(_) => None,
            Value::Count(n) if unit.scale() == 1.0 => Some(n.to_string()),
            Value::Count(n) => Some(scaled(*n as f64)),
            Value::Level(n) if unit.scale() == 1.0 => Some(n.to_string()),
            Value::Level(n) => Some(scaled(*n as f64)),
            Value::Decimal(n, _) => Some(scaled(*n)),
            Value::Percent(n) => Some((n / 100.0).to_string()),
            Value::Flag(set) | Value::Status(set) => Some(u8::from(*set).to_string()),
        }
    }
}

type Read = fn(&Reading<'_>) -> Value;

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
