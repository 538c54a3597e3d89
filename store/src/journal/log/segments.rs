//! Segments begin and end, and a checkpoint makes a broken journal well.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::state::{Log, OK, Writer};
use crate::journal::directory::segment_name;
use crate::journal::disk::{Disk, DiskFile};
use crate::journal::error::Failed;
use crate::journal::meta::State;
use crate::journal::record::{FILE_HEAD, FileHead, LOG_MAGIC};

/// Begins a segment. It is durable when this returns.
pub(crate) fn create_segment(disk: &dyn Disk, head: FileHead) -> io::Result<Arc<dyn DiskFile>> {
    let name = segment_name(head.first);
    let made = disk.create(&name).and_then(|file| {
        file.write_at(&head.encode(LOG_MAGIC), 0)?;
        file.sync()?;
        disk.sync_dir()?;
        Ok(file)
    });
    if made.is_err() {
        // If it stays, it is an empty segment, which recovery passes over.
        let _ = disk.remove(&name);
    }
    made
}

impl Log {
    /// Begins a new segment, unless this one has no record. Gives the number of its first.
    pub(crate) fn rotate(&self, writer: &mut Writer) -> Result<u64, Failed> {
        self.write_out(writer)?;
        let next = writer.pending_last + 1;
        if next == writer.first {
            return Ok(next);
        }
        let cut = writer.file.set_len(writer.offset);
        cut.map_err(|error| Failed::io("the segment cannot be ended", &error))?;
        writer.ahead = writer.offset;
        self.sync_file(self.syncing.lock(), &*writer.file, next - 1)?;
        self.begin_segment(writer, next)
    }

    pub(crate) fn begin_segment(&self, writer: &mut Writer, first: u64) -> Result<u64, Failed> {
        let sound = self.synced.load(Ordering::Acquire);
        let file = create_segment(&*self.disk, FileHead { first, sound, salt: self.salt });
        let file = file.map_err(|error| Failed::io("a new segment cannot be begun", &error))?;
        writer.file = file;
        writer.first = first;
        writer.offset = FILE_HEAD as u64;
        writer.ahead = writer.offset;
        writer.marked = sound;
        Ok(first)
    }

    pub(crate) fn rotate_if_long(&self) -> Result<(), Failed> {
        if self.writer.lock().offset < self.options.segment_bytes {
            return Ok(());
        }
        // Most of the sync is done while others may write.
        self.sync()?;
        self.rotate(&mut self.writer.lock()).map(drop)
    }

    /// The first record that a checkpoint begun now need not hold.
    pub(crate) fn begin_checkpoint(&self) -> Result<u64, Failed> {
        if self.is_broken() {
            return self.abandon(&mut self.writer.lock());
        }
        self.sync()?;
        self.rotate(&mut self.writer.lock())
    }

    /// Begins a new segment after a failed fsync. What was not written is dropped: the checkpoint
    /// will hold what it tells. Until then nothing is written to the new segment, so that it cannot
    /// be mistaken for proof that what is missing before it was durable.
    pub(crate) fn abandon(&self, writer: &mut Writer) -> Result<u64, Failed> {
        let first = {
            let mut buffer = self.gathered();
            buffer.bytes.clear();
            self.buffered.store(0, Ordering::Relaxed);
            buffer.next
        };
        writer.pending.clear();
        writer.pending_last = first - 1;
        writer.healing = None;
        self.begin_segment(writer, first)?;
        writer.healing = Some(first);
        Ok(first)
    }

    /// A checkpoint of all records before `first` is durable.
    pub(crate) fn checkpointed(&self, first: u64) -> Result<(), Failed> {
        let mut writer = self.writer.lock();
        if !self.is_broken() || writer.healing != Some(first) {
            return Ok(());
        }
        self.change_identity(|identity| identity.state = State::Running)?;
        writer.healing = None;
        writer.tried = None;
        self.written.fetch_max(first - 1, Ordering::AcqRel);
        self.synced.fetch_max(first - 1, Ordering::AcqRel);
        self.health.store(OK, Ordering::Release);
        drop(writer);
        self.wake(first - 1);
        Ok(())
    }
}
