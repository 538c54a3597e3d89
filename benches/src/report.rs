//! What a benchmark hands back.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::Result;
use crate::chart::Chart;

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

/// A figure, and what it should not exceed.
pub(crate) struct Target {
    /// What is measured, with its unit.
    pub(crate) what: String,
    pub(crate) figure: f64,
    pub(crate) at_most: f64,
    /// None if the figure tells nothing.
    pub(crate) met: Option<bool>,
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
