//! What a benchmark hands back.

use std::fmt;
use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::chart::Chart;
use crate::error::Result;

/// The figures of one benchmark: JSON by its fields, a table by `markdown`, perhaps a chart.
pub(crate) trait Report: Serialize {
    /// The name of its files and of its subcommand.
    const NAME: &'static str;

    /// Tables and a line or two on how to read them.
    fn markdown(&self) -> String;

    /// Those of the figures that are to reach something.
    fn targets(&self) -> Vec<Target> {
        Vec::new()
    }

    /// The figures drawn.
    fn chart(&self) -> Option<Chart> {
        None
    }
}

/// What a figure should reach.
#[derive(Clone, Copy)]
pub(crate) enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

impl Limit {
    pub(crate) fn met(self, figure: f64) -> bool {
        match self {
            Limit::AtMost(limit) => figure <= limit,
            Limit::AtLeast(limit) => figure >= limit,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::AtMost(limit) => write!(f, "at most {limit:.2}"),
            Limit::AtLeast(limit) => write!(f, "at least {limit:.2}"),
        }
    }
}

/// A figure, and what it should reach.
pub(crate) struct Target {
    /// What is measured, with its unit.
    pub(crate) what: String,
    pub(crate) figure: f64,
    pub(crate) limit: Limit,
    /// None if the figure tells nothing.
    pub(crate) met: Option<bool>,
}

impl Target {
    pub(crate) fn new(what: String, figure: f64, limit: Limit) -> Target {
        let met = (!figure.is_nan()).then(|| limit.met(figure));
        Target { what, figure, limit, met }
    }
}

/// Writes figures as JSON, and the folder if there is none.
pub(crate) fn write_json(path: &Path, figures: &impl Serialize) -> Result<()> {
    write_text(path, &(serde_json::to_string_pretty(figures)? + "\n"))
}

/// Writes a text, and its folder if there is none.
pub(crate) fn write_text(path: &Path, text: &str) -> Result<()> {
    let write = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, text)
    };
    write().map_err(|error| format!("{}: {error}", path.display()).into())
}
