//! Which tables are measured, and how long.

use clap::{Args, ValueEnum};

/// Which of the tables.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Throughput where every reply waits for the disk
    Always,
    /// CPU per command over that of a server in memory
    Everysec,
    /// Starts after a kill and after an orderly end, and bytes on disk
    Recovery,
}

#[derive(Args, Clone, Default)]
pub(crate) struct Options {
    /// Only these
    #[arg(long, value_enum)]
    part: Vec<Part>,
    /// Rounds of each figure [default: 5 of load, 3 of starts]
    #[arg(long)]
    rounds: Option<usize>,
    /// How many counters and elements are recovered [default: 1 000 000]
    #[arg(long)]
    items: Option<usize>,
    /// A minute instead of five: for a look, not for a record
    #[arg(long)]
    quick: bool,
}

impl Options {
    /// What `all` runs.
    pub(crate) fn standard(quick: bool) -> Options {
        Options { quick, ..Options::default() }
    }

    pub(super) fn wants(&self, part: Part) -> bool {
        self.part.is_empty() || self.part.contains(&part)
    }

    pub(super) fn rounds(&self, full: usize) -> usize {
        self.rounds.unwrap_or(if self.quick { 1 } else { full })
    }

    /// Commands of one run.
    pub(super) fn commands(&self, full: usize) -> usize {
        if self.quick { full / 2 } else { full }
    }

    /// Not fewer in a hurry: the targets speak of a million.
    pub(super) fn items(&self) -> usize {
        self.items.unwrap_or(1_000_000)
    }
}
