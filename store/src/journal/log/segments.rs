//! Segments begin and end, and a checkpoint makes a broken journal well.

use std::sync::atomic::Ordering;

use super::opening::create_segment;
use super::state::{Log, OK, Writer};
use crate::journal::error::Failed;
use crate::journal::meta::State;
use crate::journal::record::{FILE_HEAD, FileHead};

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
        let head = FileHead { first, sound, salt: self.salt };
        let mut file = create_segment(&*self.disk, head);
        if let Err(error) = &file
            && self.make_room(error, None)
        {
            file = create_segment(&*self.disk, head);
        }
        let file = file.map_err(|error| Failed::io("a new segment cannot be begun", &error))?;
        // If this fails, an empty segment would be taken for one that was about to begin: no worse.
        let _ = self.change_identity(|identity| identity.segment = first);
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
        self.lock_again()?;
        self.open(writer)?;
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

    /// Takes the directory's lock again: the file system may have lost it with the fsync.
    fn lock_again(&self) -> Result<(), Failed> {
        let mut lock = self.lock.lock();
        lock.take();
        let taken = self.disk.lock(false);
        *lock =
            Some(taken.map_err(|error| {
                Failed::io("the data directory cannot be locked again", &error)
            })?);
        Ok(())
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
