//! Room on the disk that is kept for the day it is full: the file `reserve`.
//!
//! A write that finds no room takes some of it, so what was admitted is kept and answered; from then on
//! writes are refused until the reserve is whole again. A checkpoint takes all of it, and with the older
//! files gone there is room again. Reads go on all the while, and a start on a full disk works.

use std::io::{self, ErrorKind};

use super::disk::Disk;

/// The name of the file.
pub(super) const RESERVE: &str = "reserve";

/// A part is given in multiples of this.
const STEP: u64 = 64 << 10;
/// However long checkpoints are, no more is kept for one.
const MOST: u64 = 256 << 20;

/// What is kept, and what should be.
#[derive(Debug, Default)]
pub(crate) struct Reserve {
    held: u64,
    target: u64,
    /// Beside what a checkpoint takes. 0: nothing is kept.
    least: u64,
}

/// Whether an error says that the disk has no room.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

impl Reserve {
    /// What an earlier run has left of it.
    pub(super) fn found(disk: &dyn Disk, least: u64) -> Reserve {
        let found = disk.open(RESERVE, false).and_then(|file| file.size());
        Reserve { held: found.unwrap_or(0), target: 0, least }
    }

    /// Sets how much is to be kept: enough for a checkpoint a quarter longer than the last one.
    pub(super) fn aim(&mut self, checkpoint_bytes: u64) {
        let more = (checkpoint_bytes + checkpoint_bytes / 4).min(MOST);
        self.target = if self.least == 0 { 0 } else { self.least + more };
    }

    /// Whether all is kept that should be.
    pub(super) fn is_whole(&self) -> bool {
        self.held >= self.target
    }

    /// Takes what is missing.
    ///
    /// # Errors
    /// There is no room. Where room cannot be taken ahead, none is kept, and that is no error.
    pub(super) fn fill(&mut self, disk: &dyn Disk) -> io::Result<()> {
        if self.is_whole() {
            return Ok(());
        }
        let file = if self.held > 0 { disk.open(RESERVE, true) } else { disk.create(RESERVE) };
        match file.and_then(|file| file.allocate(self.target)) {
            Ok(()) => self.held = self.target,
            Err(error) if is_full(&error) => return Err(error),
            Err(_) => {
                self.give_all(disk);
                (self.least, self.target) = (0, 0);
            }
        }
        Ok(())
    }

    /// Gives back `bytes` of it and a little more; whether there was anything to give.
    pub(super) fn give(&mut self, disk: &dyn Disk, bytes: u64) -> bool {
        let bytes = (bytes / STEP + 1) * STEP;
        if self.held <= bytes {
            return self.give_all(disk);
        }
        let left = self.held - bytes;
        let given = disk.open(RESERVE, true).and_then(|file| file.set_len(left)).is_ok();
        if given {
            self.held = left;
        }
        given
    }

    /// Gives back all of it; whether there was anything to give.
    pub(super) fn give_all(&mut self, disk: &dyn Disk) -> bool {
        let had = self.held > 0;
        self.held = 0;
        disk.remove(RESERVE).is_ok() && had
    }
}
