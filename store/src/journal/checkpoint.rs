//! Writing a checkpoint: everything that the log told before a certain record, in one file.
//!
//! The file gets its name when it is whole and durable; before that it is `checkpoint-….tmp`, which
//! the next start removes. Older files are removed after that. A checkpoint is never changed, so it
//! can be copied at any time, and is a backup: alone in an empty directory it is all of the state.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::directory::{Files, checkpoint_name, checkpoint_temporary, segment_name};
use super::disk::{Disk, DiskFile};
use super::error::Failed;
use super::log::Journal;
use super::log::state::Log;
use super::record::{self, CHECKPOINT_MAGIC, FOOTER, FileHead, Scratch, Seed};

/// Bytes gathered for a write.
const WRITE_BYTES: usize = 256 * 1024;
/// Bytes between syncs: a long one at the end would hold up the log's.
const SYNC_BYTES: u64 = 16 << 20;

/// A checkpoint in the making. Dropped unfinished, it leaves nothing.
#[derive(Debug)]
pub struct Checkpoint {
    log: Arc<Log>,
    file: Option<CheckpointFile>,
    first: u64,
    /// Of the log, that will not be needed any more.
    log_bytes: u64,
}

/// The file alone.
#[derive(Debug)]
pub(super) struct CheckpointFile {
    file: Arc<dyn DiskFile>,
    seed: Seed,
    first: u64,
    bytes: Vec<u8>,
    scratch: Scratch,
    offset: u64,
    unsynced: u64,
    records: u64,
    /// Over all records.
    crc: u32,
}

/// What a checkpoint has become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointSummary {
    /// The first record of the log that it does not hold.
    pub first: u64,
    /// How many records it has.
    pub records: u64,
    /// Its length.
    pub bytes: u64,
}

impl Journal {
    /// Begins a checkpoint: from here on records go to a new segment, and what all older ones tell is
    /// to be put into the checkpoint, possibly with newer things. Only one at a time.
    ///
    /// # Errors
    /// One is being made, or the new segment could not be begun.
    pub fn begin(&self) -> Result<Checkpoint, Failed> {
        Checkpoint::begin(&self.log)
    }
}

impl Checkpoint {
    pub(super) fn begin(log: &Arc<Log>) -> Result<Checkpoint, Failed> {
        if log.checkpointing.swap(true, Ordering::AcqRel) {
            return Err(Failed("a checkpoint is being made".to_owned()));
        }
        let begun = Checkpoint::create(log);
        if begun.is_err() {
            log.checkpointing.store(false, Ordering::Release);
        }
        begun
    }

    fn create(log: &Arc<Log>) -> Result<Checkpoint, Failed> {
        let first = log.begin_checkpoint()?;
        let log_bytes = log.log_bytes();
        let mut file = CheckpointFile::create(&*log.disk, first, log.salt);
        if let Err(error) = &file
            && log.make_room(error, None)
        {
            file = CheckpointFile::create(&*log.disk, first, log.salt);
        }
        let file = file.map_err(|error| Failed::io("a checkpoint cannot be begun", &error))?;
        Ok(Checkpoint { log: Arc::clone(log), file: Some(file), first, log_bytes })
    }

    /// The first record of the log that it need not hold.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Adds a record, whose payload `fill` appends to what it is given. Its kind is one of those that
    /// the log's records have: recovery tells no difference.
    ///
    /// # Errors
    /// It cannot be written, and the checkpoint is to be given up.
    ///
    /// # Panics
    /// As [`Journal::append`](super::Journal::append).
    pub fn put(&mut self, kind: u8, fill: impl FnOnce(&mut Vec<u8>)) -> Result<(), Failed> {
        assert!(kind < record::OWN_KINDS, "kinds from {} on are the journal's", record::OWN_KINDS);
        let file = self.file.as_mut().expect("it has its file until it is finished");
        let mut put = file.put(kind, fill);
        if let Err(error) = &put
            && self.log.make_room(error, None)
        {
            put = file.flush();
        }
        put.map_err(|error| Failed::io("the checkpoint cannot be written", &error))
    }

    /// Makes it the checkpoint from which the next start begins, and removes what is older. If an
    /// fsync of the log had failed before it was begun, the journal is well again.
    ///
    /// It may hold one half of what a record of the log tells, if that was done while it was made. So
    /// the log is made durable first, as far as it goes by now.
    ///
    /// # Errors
    /// It is not on the disk. If only the removal fails, that is left to the next checkpoint.
    pub fn finish(mut self) -> Result<CheckpointSummary, Failed> {
        if self.log.is_closed() {
            // The directory may be somebody else's by now.
            return Err(Failed("the journal is closed".to_owned()));
        }
        self.log.settle()?;
        let disk = Arc::clone(&self.log.disk);
        let file = self.file.take().expect("it has its file until it is finished");
        let summary = file.finish(&*disk, |error| self.log.make_room(error, None));
        let summary =
            summary.map_err(|error| Failed::io("the checkpoint cannot be finished", &error))?;
        self.log.checkpointed(self.first)?;
        self.log.log_shrunk(self.log_bytes);
        let _ = remove_older(&*disk, self.first);
        // If there is no room for the reserve, writes are refused, and that shows in the status.
        self.log.reserve.lock().aim(summary.bytes);
        let _ = self.log.refill();
        Ok(summary)
    }
}

impl Drop for Checkpoint {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = self.log.disk.remove(&checkpoint_temporary(self.first));
        }
        self.log.checkpointing.store(false, Ordering::Release);
    }
}

impl CheckpointFile {
    pub(super) fn create(disk: &dyn Disk, first: u64, salt: u64) -> io::Result<CheckpointFile> {
        let head = FileHead { first, sound: first - 1, salt };
        Ok(CheckpointFile {
            file: disk.create(&checkpoint_temporary(first))?,
            seed: Seed::new(salt),
            first,
            bytes: head.encode(CHECKPOINT_MAGIC),
            scratch: Scratch::default(),
            offset: 0,
            unsynced: 0,
            records: 0,
            crc: 0,
        })
    }

    pub(super) fn put(&mut self, kind: u8, fill: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let from = self.bytes.len();
        let payload = self.scratch.fill(fill);
        record::encode(&mut self.bytes, self.seed, self.records + 1, kind, payload);
        self.records += 1;
        self.crc = crc32c::crc32c_append(self.crc, &self.bytes[from..]);
        if self.bytes.len() < WRITE_BYTES { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(&self.bytes, self.offset)?;
        self.offset += self.bytes.len() as u64;
        self.unsynced += self.bytes.len() as u64;
        self.bytes.clear();
        if self.unsynced >= SYNC_BYTES {
            self.unsynced = 0;
            self.file.sync()?;
        }
        Ok(())
    }

    /// Gives it its name, durably. `make_room` may do something about a disk without room.
    pub(super) fn finish(
        mut self,
        disk: &dyn Disk,
        make_room: impl FnOnce(&io::Error) -> bool,
    ) -> io::Result<CheckpointSummary> {
        let temporary = checkpoint_temporary(self.first);
        let footer = footer(self.records, self.crc);
        record::encode(&mut self.bytes, self.seed, self.records + 1, FOOTER, &footer);
        let mut written = self.flush();
        if let Err(error) = &written
            && make_room(error)
        {
            written = self.flush();
        }
        let done = written.and_then(|()| {
            self.file.sync()?;
            disk.rename(&temporary, &checkpoint_name(self.first))?;
            disk.sync_dir()
        });
        if let Err(error) = done {
            let _ = disk.remove(&temporary);
            return Err(error);
        }
        Ok(CheckpointSummary { first: self.first, records: self.records, bytes: self.offset })
    }
}

/// The payload of the last record.
pub(super) fn footer(records: u64, crc: u32) -> [u8; 12] {
    let mut footer = [0; 12];
    footer[..8].copy_from_slice(&records.to_le_bytes());
    footer[8..].copy_from_slice(&crc.to_le_bytes());
    footer
}

/// Removes what a durable checkpoint of all before `first` makes superfluous.
pub(super) fn remove_older(disk: &dyn Disk, first: u64) -> io::Result<()> {
    let files = Files::list(disk)?;
    for older in files.checkpoints.into_iter().filter(|checkpoint| *checkpoint < first) {
        disk.remove(&checkpoint_name(older))?;
    }
    for segment in files.segments.into_iter().filter(|segment| *segment < first) {
        // The checkpoint's own segment begins at `first`: all that begin before it end before it.
        disk.remove(&segment_name(segment))?;
    }
    Ok(())
}
