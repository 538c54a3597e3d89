//! How a journal is run, and how one names places in it.

use std::fmt;
use std::str::FromStr;

/// When written records are made durable: Redis's `appendfsync`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// As soon as a caller waits for it; one fsync serves all that wait.
    Always,
    /// Each second.
    EverySecond,
    /// When the kernel likes.
    No,
}

impl SyncPolicy {
    /// Whether a machine that goes down may lose more under `self` than under `other`.
    pub(super) fn weaker_than(self, other: SyncPolicy) -> bool {
        self as u8 > other as u8
    }

    pub(super) fn from_u8(value: u8) -> SyncPolicy {
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
    /// A buffer that is longer is written out before the next change (`Journal::admit`).
    pub buffer_bytes: usize,
    /// Under `always` this many zeros are written ahead at a time: an fsync then need not write the
    /// file's length, which halves its time on ext4. 0: none.
    pub ahead_bytes: u64,
    /// Whether a thread syncs, rotates and tries failed writes again. Without it, for tests and
    /// simulations, `Journal::tick` does all of that.
    pub background: bool,
    /// How many processors there are: threads that write at the same time have a lane for each, and
    /// recovery joins with as many threads. The core does not ask the machine.
    pub processors: usize,
    /// How many bytes of the disk are kept in reserve, beside what a checkpoint takes, for the day the disk
    /// is full. 0: none.
    pub reserve_bytes: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            sync: SyncPolicy::EverySecond,
            segment_bytes: 64 << 20,
            buffer_bytes: 16 << 20,
            ahead_bytes: 256 << 10,
            background: true,
            processors: 1,
            reserve_bytes: 256 << 10,
        }
    }
}

/// The number of a record: the first is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// What `Journal::ticket` gives. The default asks for nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub(super) u64);

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
