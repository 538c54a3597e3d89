//! What a node tells of itself: `INFO` and metrics, both made from one table.
//!
//! `row` says what a row is: a field of `INFO`, a metric, or both, and how to read the value from a
//! [`reading::Reading`]. `table` holds the rows. `info` prints the rows as Redis does, `metrics` as OpenMetrics.

pub(crate) mod info;
pub(crate) mod metrics;
pub(crate) mod reading;
mod row;
mod table;
