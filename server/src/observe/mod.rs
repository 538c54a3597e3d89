//! What a node tells of itself: `INFO` and metrics, both made from one table.
//!
//! `table` holds the rows: a field of `INFO`, a metric, or both, and how to read the value from a
//! [`reading::Reading`]. `info` prints the rows as Redis does, `metrics` as OpenMetrics.

pub(crate) mod info;
pub(crate) mod metrics;
pub(crate) mod reading;
mod row;
mod table;
