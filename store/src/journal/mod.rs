//! The journal: what a node acknowledged, on its own disk.
//!
//! Records are opaque bytes here. Whoever uses this appends one for each change while it holds the
//! lock under which it made the change, so the order of records is the order of changes; or adds to
//! one, and says in which order. Before it replies it commits. Replaying records must be idempotent, as
//! joins are.
//!
//! ```text
//! add     -> a lane in memory, each thread its own           (no I/O)
//! append  -> a buffer in memory, under a short lock          (no I/O; behind all that was added)
//! commit  -> write(2) of the whole buffer, by one for all    (a dead process loses nothing)
//! synced  -> fdatasync by a thread, one for all that waits   (a dead machine loses nothing)
//!
//! journal-1.log  journal-801.log  journal-1502.log           (names are the first record's number)
//!                checkpoint-1502.miso                        (all up to 1501: older files go)
//! recovery = the checkpoint, then all records from 1502 on
//! ```
//!
//! What always holds:
//! - Records are numbered from 1 without a gap, over all segments.
//! - A segment is begun only when all before it is durable; its head says so (`sound`). Within a
//!   segment, a *mark* says up to which number all was durable when it was written.
//! - A checkpoint has its name only once it is whole and durable, and older files go only after that.
//! - A failed write is tried again at the same place until it works ([`Status::Failing`]). A failed
//!   fsync is never tried again: the kernel may have dropped the pages and say yes the next time. The
//!   segment is given up, nothing more is written ([`Status::Broken`]), and only a checkpoint of
//!   everything, in new files, makes the journal whole again. Restarting does not: the file
//!   `identity` remembers it.
//!
//! # A torn tail or damage
//! At the first place that cannot be read, recovery asks what stood there. It is **damage**, and the
//! server does not start, if a later mark or head says that the record was durable; or if the kernel
//! has not died since (so all that was written must be there) and any readable record follows, in
//! this segment or a later one; or if the search for such records had to be given up. Else it is the
//! **tail** of what was never durable: it is cut, and reported. A power cut under `everysec` may
//! well leave readable records behind a hole, since the kernel writes pages in any order; they go with
//! the tail. Zeros up to the end are space that was written ahead, and the end of the log.
//!
//! # How it is used
//! ```
//! # use std::sync::Arc;
//! # use miso_store::journal::{Identity, Journal, Options, RealDisk};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = std::env::temp_dir().join(format!("miso-doc-{}", std::process::id()));
//! # let (random, other_random) = (1, 2);
//! let disk = Arc::new(RealDisk::new(&directory)?);
//! let recovered = Journal::open(disk)?.replay(|kind, payload| Ok(()))?;
//! let identity = match (&recovered.identity, recovered.may_keep()) {
//!     (None, _) => Identity::new(random, other_random),
//!     (Some(identity), Ok(())) => identity.clone(),
//!     (Some(identity), Err(_why)) => identity.renewed(random),
//! };
//! let journal = recovered.start(identity, Options::default())?;
//! journal.admit()?; // before the change; then, under the lock under which it is made:
//! let position = journal.append(7, |out| out.extend_from_slice(b"what changed"));
//! journal.commit(position)?; // before the reply; under `always`: on_synced(position).await
//! let mut checkpoint = journal.begin()?; // in the background, while writes go on
//! checkpoint.put(7, |out| out.extend_from_slice(b"all there is"))?;
//! checkpoint.finish()?;
//! journal.close()?;
//! # std::fs::remove_dir_all(directory)?;
//! # Ok(())
//! # }
//! ```
//!
//! Files are as `record.rs` and `meta.rs` draw them.

mod checkpoint;
mod disk;
#[cfg(any(test, feature = "faulty-disk"))]
mod faulty;
mod lanes;
mod log;
mod meta;
mod record;
mod recover;
mod repair;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::str::FromStr;

pub use checkpoint::{Checkpoint, CheckpointSummary};
pub use disk::{Disk, DiskFile, Environment, RealDisk};
#[cfg(any(test, feature = "faulty-disk"))]
pub use faulty::FaultyDisk;
pub use log::{Journal, Stats, Synced};
pub use meta::{Cut, Identity, RecoveredSummary, State, Why};
pub use recover::{Recovered, Recovery};
pub use repair::{Report, check, repair};

/// Kinds below this are the caller's.
pub const KINDS: u8 = record::OWN_KINDS;

/// When written records are made durable: Redis's `appendfsync`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// As soon as somebody waits for it; one fsync serves all who wait.
    Always,
    /// Each second.
    EverySecond,
    /// When the kernel likes.
    No,
}

impl SyncPolicy {
    /// Whether a machine that goes down may lose more under `self` than under `other`.
    fn weaker_than(self, other: SyncPolicy) -> bool {
        self as u8 > other as u8
    }

    fn from_u8(value: u8) -> SyncPolicy {
        match value {
            0 => SyncPolicy::Always,
            1 => SyncPolicy::EverySecond,
            _ => SyncPolicy::No,
        }
    }
}

impl fmt::Display for SyncPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SyncPolicy::Always => "always",
            SyncPolicy::EverySecond => "everysec",
            SyncPolicy::No => "no",
        })
    }
}

impl FromStr for SyncPolicy {
    type Err = ();

    fn from_str(text: &str) -> Result<SyncPolicy, ()> {
        match text {
            "always" => Ok(SyncPolicy::Always),
            "everysec" => Ok(SyncPolicy::EverySecond),
            "no" => Ok(SyncPolicy::No),
            _ => Err(()),
        }
    }
}

/// How a journal is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// When written records are made durable.
    pub sync: SyncPolicy,
    /// A segment that is longer is followed by a new one.
    pub segment_bytes: u64,
    /// A buffer that is longer is written out before the next change ([`Journal::admit`]).
    pub buffer_bytes: usize,
    /// Under `always` so many zeros are written ahead at a time: an fsync then need not write the
    /// file's length, which halves its time on ext4. 0: none.
    pub ahead_bytes: u64,
    /// Whether a thread syncs, rotates and tries failed writes again. Without it, for tests and
    /// simulations, [`Journal::tick`] does all of that.
    pub background: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            sync: SyncPolicy::EverySecond,
            segment_bytes: 64 << 20,
            buffer_bytes: 16 << 20,
            ahead_bytes: 256 << 10,
            background: true,
        }
    }
}

/// The number of a record: the first is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// What [`Journal::ticket`] gives. The default asks for nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// How the journal is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Well.
    Ok,
    /// Writing fails, as on a full disk. It is tried again, and nothing is lost meanwhile.
    Failing(String),
    /// An fsync failed. A checkpoint of everything makes it well again.
    Broken(String),
    /// It was closed.
    Closed,
}

/// A record is not on the disk, for now or for ever; what it tells stands in memory alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failed(pub String);

impl Failed {
    fn io(what: &str, error: &io::Error) -> Failed {
        Failed(format!("{what}: {error}"))
    }
}

/// Why a data directory cannot be used. One line each, without the directory's path.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is locked.
    #[error("in use by another process")]
    InUse,
    /// Nothing can be written there.
    #[error("cannot be written to: {0}")]
    ReadOnly(io::Error),
    /// There is something else in it.
    #[error("holds `{0}`, which is no file of a MISO data directory; choose an empty directory")]
    Foreign(String),
    /// Something in it is not as it was written.
    #[error("{file}, offset {offset}: {what}; run `miso-server --repair` on it")]
    Damaged {
        /// The file.
        file: String,
        /// Where in the file.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// The caller cannot make sense of a record.
    #[error("{file}, offset {offset}: {what}")]
    Refused {
        /// The file.
        file: String,
        /// Where in the file.
        offset: u64,
        /// What the caller said.
        what: String,
    },
    /// The disk says no.
    #[error("{file}: {error}")]
    Io {
        /// The file.
        file: String,
        /// What the disk says.
        error: io::Error,
    },
}

impl OpenError {
    fn io(file: &str, error: io::Error) -> OpenError {
        match error.kind() {
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                OpenError::ReadOnly(error)
            }
            io::ErrorKind::WouldBlock => OpenError::InUse,
            _ => OpenError::Io { file: file.to_owned(), error },
        }
    }

    fn damaged(file: &str, offset: u64, what: &str) -> OpenError {
        OpenError::Damaged { file: file.to_owned(), offset, what: what.to_owned() }
    }
}

/// What a file of the directory is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Segment(u64),
    Checkpoint(u64),
    /// Left by who died while writing it.
    Temporary,
    /// `identity`.
    Identity,
    /// The lock, the quarantine, and what a file system keeps in its root.
    Other,
    Foreign,
}

const QUARANTINE: &str = "quarantine";

impl Name {
    fn of(name: &str) -> Name {
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
        } else if [disk::LOCK, QUARANTINE, "lost+found"].contains(&name) {
            Name::Other
        } else {
            Name::Foreign
        }
    }
}

fn segment_name(first: u64) -> String {
    format!("journal-{first:020}.log")
}

fn checkpoint_name(first: u64) -> String {
    format!("checkpoint-{first:020}.miso")
}

fn checkpoint_temporary(first: u64) -> String {
    format!("checkpoint-{first:020}.tmp")
}

/// The files of a directory.
#[derive(Debug, Default)]
struct Files {
    /// The numbers in their names, ascending.
    segments: Vec<u64>,
    checkpoints: Vec<u64>,
    temporary: Vec<String>,
    foreign: Vec<String>,
    identity: bool,
}

impl Files {
    fn list(disk: &dyn Disk) -> io::Result<Files> {
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
