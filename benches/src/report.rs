//! What a benchmark hands back.

use std::fmt;
use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::chart::Chart;
use crate::error::Result;
use crate::table::verdict;

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

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:.2}, {} ({})", self.what, self.figure, self.limit, verdict(self.met))
    }
}

/// A section of the page, whose chart is written below `root`.
pub(crate) fn section<R: Report>(
    title: &str,
    command: &str,
    report: &R,
    root: Option<&Path>,
) -> Result<String> {
    let mut text = format!("\n## {title}\n\n{}", report.markdown());
    if let Some(chart) = report.chart() {
        let name = R::NAME;
        if let Some(root) = root {
            write_text(&root.join(format!("docs/charts/{name}.svg")), &chart.svg()?)?;
        }
        text += &format!("\n![{title}](charts/{name}.svg)\n");
    }
    text += &format!("\nAgain: `cargo run --release -p miso-benches -- {command}`\n");
    Ok(text)
}

/// A page with a section in place of the one of its title, or at its end.
pub(crate) fn replaced(page: &str, title: &str, section: &str) -> String {
    let head = format!("\n## {title}\n");
    let Some(from) = page.find(&head) else { return format!("{page}{section}") };
    let rest = &page[from + head.len()..];
    let after = rest.find("\n## ").map_or("", |at| &rest[at..]);
    format!("{}{section}{after}", &page[..from])
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

#[cfg(test)]
mod tests {
    use super::replaced;

    #[test]
    fn a_section_takes_the_place_of_its_own() {
        let page = "# Page\n\n## a\n\nold\n\n## b\n\nb\n";
        let new = replaced(page, "a", "\n## a\n\nnew\n");
        assert_eq!(new, "# Page\n\n## a\n\nnew\n\n## b\n\nb\n");
        assert_eq!(replaced(&new, "b", "\n## b\n\nc\n"), "# Page\n\n## a\n\nnew\n\n## b\n\nc\n");
        assert_eq!(replaced("# Page\n", "a", "\n## a\n"), "# Page\n\n## a\n");
    }
}
