//! From memory to the file.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::state::{BROKEN, FAILING, GATHERS_KEPT, Log, OK, Waiting, Writer};
use crate::journal::error::Failed;
use crate::journal::policy::{Position, SyncPolicy, Ticket};
use crate::journal::record::MARK;

/// A failed write is tried again after this long.
pub(super) const RETRY: Duration = Duration::from_millis(100);

/// Writers wait for an fsync that takes longer, as in Redis: else more and more could be lost.
const SYNC_PATIENCE: Duration = Duration::from_secs(2);

/// The room that an empty buffer keeps for the next write: more is given back.
const BUFFER_KEPT: usize = 1 << 20;

impl Log {
    pub(crate) fn commit(&self, position: Position) -> Result<(), Failed> {
        let broken = self.health.load(Ordering::Acquire) >= BROKEN;
        if broken && self.synced.load(Ordering::Acquire) < position.0 {
            return Err(self.failed());
        }
        self.write_upto(&self.written, position.0)
    }

    pub(crate) fn commit_added(&self, ticket: Ticket) -> Result<Position, Failed> {
        let written = || Position(self.written.load(Ordering::Acquire));
        let broken = self.health.load(Ordering::Acquire) >= BROKEN;
        let kept = || {
            let gathered = self.gathers_written.load(Ordering::Acquire) >= ticket.0;
            gathered && self.synced.load(Ordering::Acquire) >= written().0
        };
        if broken && !kept() {
            return Err(self.failed());
        }
        self.write_upto(&self.gathers_written, ticket.0)?;
        // No further than needed: an fsync that runs may be all that this one has to wait for.
        let upto = self.gathered_upto[ticket.0 as usize % GATHERS_KEPT].load(Ordering::Acquire);
        let begun = self.gathers.load(Ordering::Acquire);
        let kept = begun < ticket.0 + GATHERS_KEPT as u64;
        Ok(if kept { Position(upto) } else { written() })
    }

    /// Writes until `done` says that what is wanted is written.
    pub(crate) fn write_upto(&self, done: &AtomicU64, wanted: u64) -> Result<(), Failed> {
        if done.load(Ordering::Acquire) < wanted {
            let mut writer = self.writer.lock();
            if done.load(Ordering::Acquire) < wanted {
                self.write_out(&mut writer)?;
            }
            if writer.offset >= self.options.segment_bytes && self.options.background {
                let mut waiting = self.waiting.lock();
                if !waiting.rotation_wanted {
                    waiting.rotation_wanted = true;
                    self.work.notify_one();
                }
            }
        }
        if self.sync_running.load(Ordering::Acquire) && self.policy() == SyncPolicy::EverySecond {
            self.hold_back();
        }
        Ok(())
    }

    /// Waits for a sync that takes too long.
    pub(crate) fn hold_back(&self) {
        let mut waiting = self.waiting.lock();
        let slow = |waiting: &Waiting| {
            waiting.sync_since.is_some_and(|since| since.elapsed() > SYNC_PATIENCE)
        };
        if slow(&waiting) {
            self.delayed.fetch_add(1, Ordering::Relaxed);
            while slow(&waiting) {
                self.done.wait(&mut waiting);
            }
        }
    }

    /// Writes what has been appended so far.
    pub(crate) fn write_out(&self, writer: &mut Writer) -> Result<(), Failed> {
        match self.health.load(Ordering::Acquire) {
            OK => {}
            FAILING if writer.tried.is_none_or(|tried| tried.elapsed() >= RETRY) => {}
            _ => return Err(self.failed()),
        }
        self.open(writer)?;
        if !writer.pending.is_empty() {
            self.write_pending(writer)?;
        }
        self.take(writer);
        self.write_pending(writer)
    }

    /// Takes the whole buffer to be written, and ends it with a mark if more is durable than the last
    /// one says.
    pub(crate) fn take(&self, writer: &mut Writer) {
        writer.pending_gather = self.gathers.fetch_add(1, Ordering::AcqRel) + 1;
        let mut buffer = self.gathered();
        let ends = &self.gathered_upto[writer.pending_gather as usize % GATHERS_KEPT];
        ends.store(buffer.last().0, Ordering::Release);
        let synced = self.synced.load(Ordering::Acquire);
        if buffer.bytes.is_empty() {
            return;
        }
        if synced > writer.marked {
            buffer.append(self.seed, MARK, |out| out.extend_from_slice(&synced.to_le_bytes()));
            writer.marked = synced;
        }
        std::mem::swap(&mut buffer.bytes, &mut writer.pending);
        writer.pending_last = buffer.next - 1;
        self.buffered.store(0, Ordering::Relaxed);
    }

    pub(crate) fn write_pending(&self, writer: &mut Writer) -> Result<(), Failed> {
        if writer.pending.is_empty() {
            self.gathers_written.store(writer.pending_gather, Ordering::Release);
            return Ok(());
        }
        let count = writer.pending.len() as u64;
        self.write_ahead(writer, count);
        let mut written = writer.file.write_at(&writer.pending, writer.offset);
        if let Err(error) = &written
            && self.make_room(error, Some(count))
        {
            written = writer.file.write_at(&writer.pending, writer.offset);
        }
        if let Err(error) = written {
            // What there is of it goes again; the next try writes all of it at the same place.
            let _ = writer.file.set_len(writer.offset);
            writer.ahead = writer.offset;
            writer.tried = Some(Instant::now());
            self.refuse_writes(&error);
            return Err(self.failed());
        }
        writer.offset += count;
        writer.ahead = writer.ahead.max(writer.offset);
        writer.tried = None;
        writer.pending.clear();
        writer.pending.shrink_to(BUFFER_KEPT);
        self.written.store(writer.pending_last, Ordering::Release);
        self.gathers_written.store(writer.pending_gather, Ordering::Release);
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.written_bytes.fetch_add(count, Ordering::Relaxed);
        self.log_bytes.fetch_add(count, Ordering::Relaxed);
        if self.health.load(Ordering::Acquire) == FAILING {
            self.admit_writes();
        }
        Ok(())
    }

    /// Sees that the file is long enough, best in advance. If there is no room for that, then the
    /// write itself will say whether there is room for the records.
    pub(crate) fn write_ahead(&self, writer: &mut Writer, count: u64) {
        // Otherwise nobody waits for an fsync, and the zeros would cost more than they save.
        let step = if self.policy() == SyncPolicy::Always { self.options.ahead_bytes } else { 0 };
        if step == 0 || writer.offset + count <= writer.ahead || writer.tried.is_some() {
            return;
        }
        // Not over the end by much: a closed segment is cut to its length.
        let from = writer.ahead.max(writer.offset + count);
        let zeros = vec![0; usize::try_from(step).unwrap_or(0)];
        match writer.file.write_at(&zeros, from) {
            Ok(()) => writer.ahead = from + step,
            Err(_) => {
                let _ = writer.file.set_len(writer.ahead);
            }
        }
    }

    /// If writing fails, tries again.
    pub(crate) fn probe(&self, at_once: bool) -> Result<(), Failed> {
        if self.health.load(Ordering::Acquire) != FAILING {
            return Ok(());
        }
        let mut writer = self.writer.lock();
        if at_once {
            // Keeps `tried`, which says that there is no room to write ahead.
            writer.tried = writer.tried.and_then(|tried| tried.checked_sub(RETRY));
        }
        self.write_out(&mut writer)?;
        self.refill()?;
        self.admit_writes();
        Ok(())
    }

    /// Does what the start could not do for want of room.
    pub(crate) fn open(&self, writer: &mut Writer) -> Result<(), Failed> {
        let Some(opening) = &mut writer.opening else { return Ok(()) };
        match opening.open(&*self.disk) {
            Ok(file) => {
                self.identity.lock().clone_from(&opening.identity);
                writer.file = file;
                writer.opening = None;
                self.unopened.store(false, Ordering::Release);
                Ok(())
            }
            Err((_, error)) => {
                writer.tried = Some(Instant::now());
                self.refuse_writes(&error);
                Err(self.failed())
            }
        }
    }
}
