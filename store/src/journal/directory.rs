//! The files of a data directory, by their names.

use std::io;

use super::disk::{self, Disk};
use super::meta;
use super::reserve::RESERVE;

/// What a file of the directory is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Segment(u64),
    Checkpoint(u64),
    /// Left by a process that died while it wrote it.
    Temporary,
    /// `identity`.
    Identity,
    /// The lock, the reserve, the quarantine, and what others leave in any directory.
    Other,
    Foreign,
}

pub(super) const QUARANTINE: &str = "quarantine";

impl Name {
    pub(super) fn of(name: &str) -> Name {
        let number = |from: &str, to: &str| {
            let digits = name.strip_prefix(from)?.strip_suffix(to)?;
            let number = digits.parse().ok()?;
            (format!("{number:020}") == digits).then_some(number)
        };
        if let Some(first) = number("journal-", ".log") {
            Name::Segment(first)
        } else if let Some(first) = number("checkpoint-", ".miso") {
            Name::Checkpoint(first)
        } else if number("checkpoint-", ".tmp").is_some() || name == "identity.tmp" {
            Name::Temporary
        } else if name == meta::IDENTITY {
            Name::Identity
        } else if [disk::LOCK, RESERVE, QUARANTINE].contains(&name) || is_stray(name) {
            Name::Other
        } else {
            Name::Foreign
        }
    }
}

/// Whether file systems, network shares and desktops leave such a file in any directory: `.nfs0001`,
/// `.DS_Store`, `lost+found`. No file of a user's is named so.
fn is_stray(name: &str) -> bool {
    const OTHERS: [&str; 6] = [
        "lost+found",
        "System Volume Information",
        "$RECYCLE.BIN",
        "Thumbs.db",
        "desktop.ini",
        "@eaDir",
    ];
    name.starts_with('.') || OTHERS.contains(&name)
}

pub(super) fn segment_name(first: u64) -> String {
    format!("journal-{first:020}.log")
}

pub(super) fn checkpoint_name(first: u64) -> String {
    format!("checkpoint-{first:020}.miso")
}

pub(super) fn checkpoint_temporary(first: u64) -> String {
    format!("checkpoint-{first:020}.tmp")
}

/// The files of a directory.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// The numbers in their names, ascending.
    pub(super) segments: Vec<u64>,
    pub(super) checkpoints: Vec<u64>,
    pub(super) temporary: Vec<String>,
    pub(super) foreign: Vec<String>,
    pub(super) identity: bool,
}

impl Files {
    pub(super) fn list(disk: &dyn Disk) -> io::Result<Files> {
        let mut files = Files::default();
        for name in disk.list()? {
            match Name::of(&name) {
                Name::Segment(first) => files.segments.push(first),
                Name::Checkpoint(first) => files.checkpoints.push(first),
                Name::Temporary => files.temporary.push(name),
                Name::Identity => files.identity = true,
                Name::Other => {}
                Name::Foreign => files.foreign.push(name),
            }
        }
        files.segments.sort_unstable();
        files.checkpoints.sort_unstable();
        files.foreign.sort_unstable();
        Ok(files)
    }
}

/// How many bytes the checkpoints and the log have by now.
///
/// # Errors
/// The directory or a file cannot be read.
pub fn data_bytes(disk: &dyn Disk) -> io::Result<u64> {
    let files = Files::list(disk)?;
    let checkpoints = files.checkpoints.iter().map(|first| checkpoint_name(*first));
    let names = checkpoints.chain(files.segments.iter().map(|first| segment_name(*first)));
    names.map(|name| disk.open(&name, false)?.size()).sum()
}
