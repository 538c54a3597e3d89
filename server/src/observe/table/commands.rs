//! Commandstats, Errorstats and Latencystats.

use crate::node::stats::CallSums;
use crate::observe::reading::Reading;
use crate::observe::row::{Family, Kind, Metric, Row, Times, Unit, Value, column};

/// Calls of commands and subcommands.
pub(super) const COMMAND_STATS: &[Row] = &[Row::Family(Family {
    prefix: "cmdstat_",
    label: "command",
    columns: &[
        column("calls", Kind::Counter, "miso_command_calls", Unit::None, "Calls of a command"),
        column("usec", Kind::None, "", Unit::None, "Microseconds that all calls took"),
        column(
            "usec_per_call",
            Kind::None,
            "",
            Unit::None,
            "Microseconds that a call took on average",
        ),
        column(
            "rejected_calls",
            Kind::Counter,
            "miso_command_rejected_calls",
            Unit::None,
            "Calls of a command that were refused before it ran",
        ),
        column(
            "failed_calls",
            Kind::Counter,
            "miso_command_failed_calls",
            Unit::None,
            "Calls of a command that ran and answered an error",
        ),
    ],
    read: |r| {
        let values = |sums: &CallSums| {
            vec![
                Value::Count(sums.calls),
                Value::Count(sums.micros),
                Value::Decimal(sums.micros as f64 / sums.calls.max(1) as f64, 2),
                Value::Count(sums.rejected),
                Value::Count(sums.failed),
            ]
        };
        let commands = r.commands().into_iter();
        commands.map(|(name, sums)| (name.as_bytes().to_vec(), values(&sums))).collect()
    },
})];

/// Error replies by code.
pub(super) const ERROR_STATS: &[Row] = &[Row::Family(Family {
    prefix: "errorstat_",
    label: "code",
    columns: &[column(
        "count",
        Kind::Counter,
        "miso_error_replies_by_code",
        Unit::None,
        "Error replies of a code",
    )],
    read: |r| {
        let errors = r.node.stats.errors().into_iter();
        errors.map(|(code, count)| (code.as_bytes().to_vec(), vec![Value::Count(count)])).collect()
    },
})];

/// How long commands and subcommands take.
pub(super) const LATENCY_STATS: &[Row] = &[Row::Times(Times {
    prefix: "latency_percentiles_usec_",
    label: "command",
    metric: Metric {
        kind: Kind::Histogram,
        name: "miso_command_duration_seconds",
        unit: Unit::Seconds,
        help: "How long calls of a command took; INFO shows percentiles, in microseconds",
    },
    read: called,
})];

fn called<'a>(r: &'a Reading<'_>) -> Vec<(&'a str, CallSums)> {
    let mut commands = r.commands();
    commands.retain(|(_, sums)| sums.calls > 0);
    commands
}
