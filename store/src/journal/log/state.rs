//! The running journal: buffer, writer, syncs, rotation.
//!
//! Locks are taken in this order: `writer` (held over a write, or a rotation), `syncing` (held over an
//! fsync), then either of `buffer` (held over an append) and `waiting`; last, a lane. So an append waits
//! for no I/O; a write does not wait for an fsync, unless that takes two seconds.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Instant;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::opening::Opening;
use crate::journal::disk::{Disk, DiskFile};
use crate::journal::error::Failed;
use crate::journal::lanes::{Lanes, Room};
use crate::journal::meta::Identity;
use crate::journal::policy::{Options, Position, SyncPolicy};
use crate::journal::record::{self, FILE_HEAD, Scratch, Seed};
use crate::journal::reserve::{Reserve, is_full};

/// For this many of the newest gatherings it is known where they end.
pub(super) const GATHERS_KEPT: usize = 64;

pub(super) const OK: u8 = 0;
pub(super) const FAILING: u8 = 1;
pub(super) const BROKEN: u8 = 2;
pub(super) const CLOSED: u8 = 3;

#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: Options,
    pub(crate) policy: AtomicU8,
    pub(crate) salt: u64,
    pub(crate) seed: Seed,
    pub(crate) lanes: Lanes,
    pub(crate) buffer: Mutex<Buffer>,
    /// Of `buffer`, to be read without its lock.
    pub(crate) buffered: AtomicUsize,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) syncing: Mutex<()>,
    /// How often it was begun to gather what is to be written.
    pub(crate) gathers: AtomicU64,
    /// What was gathered up to then is in the file.
    pub(crate) gathers_written: AtomicU64,
    /// The last records of the last gatherings, by their numbers modulo how many are kept.
    pub(crate) gathered_upto: [AtomicU64; GATHERS_KEPT],
    /// All records up to here are in the file.
    pub(crate) written: AtomicU64,
    /// All records up to here are durable.
    pub(crate) synced: AtomicU64,
    pub(crate) health: AtomicU8,
    pub(crate) reason: Mutex<String>,
    /// Whether the first segment could not be begun yet: then the identity is left as it is.
    pub(crate) unopened: AtomicBool,
    /// Room on the disk. Its lock is taken last.
    pub(crate) reserve: Mutex<Reserve>,
    pub(crate) waiting: Mutex<Waiting>,
    /// For the thread: there is something to do.
    pub(crate) work: Condvar,
    /// For waiting threads: something was synced, or never will be.
    pub(crate) done: Condvar,
    pub(crate) sync_running: AtomicBool,
    pub(crate) identity: Mutex<Identity>,
    pub(crate) checkpointing: AtomicBool,
    pub(crate) writes: AtomicU64,
    pub(crate) written_bytes: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) last_sync_us: AtomicU64,
    pub(crate) delayed: AtomicU64,
    pub(crate) log_bytes: AtomicU64,
    /// Keeps other processes out as long as the journal is open.
    pub(crate) lock: Mutex<Option<Box<dyn std::any::Any + Send + Sync>>>,
}

#[derive(Debug)]
pub(crate) struct Buffer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) scratch: Scratch,
    pub(crate) next: u64,
    /// A record of what threads have added may hold many.
    pub(crate) changes: u64,
    pub(crate) room: Room,
}

#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) file: Arc<dyn DiskFile>,
    /// What is to be done before a record can be written; none if it has been.
    pub(crate) opening: Option<Box<Opening>>,
    pub(crate) first: u64,
    pub(crate) offset: u64,
    /// The file has this length; zeros from `offset` on.
    pub(crate) ahead: u64,
    /// Taken from the buffer and not yet written, and the number of its last record.
    pub(crate) pending: Vec<u8>,
    pub(crate) pending_last: u64,
    /// The last gathering of which it is.
    pub(crate) pending_gather: u64,
    pub(crate) tried: Option<Instant>,
    /// The number in the last mark.
    pub(crate) marked: u64,
    /// The segment that a checkpoint has to be based on to make a broken journal well.
    pub(crate) healing: Option<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) sync_wanted: bool,
    pub(crate) rotation_wanted: bool,
    pub(crate) closing: bool,
    pub(crate) sync_since: Option<Instant>,
    pub(crate) wakers: Vec<(u64, Waker)>,
    /// How many are likely to wait for the next sync: those that the last one served, and those that
    /// waited already when it ended.
    pub(crate) expected: usize,
}

/// What recovery hands over.
pub(crate) struct Start {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) lock: Box<dyn std::any::Any + Send + Sync>,
    pub(crate) identity: Identity,
    pub(crate) options: Options,
    pub(crate) file: Arc<dyn DiskFile>,
    /// The first record to be written.
    pub(crate) next: u64,
    /// Why the journal begins broken, if it does.
    pub(crate) broken: Option<String>,
    /// What could not be done yet for want of room, if anything.
    pub(crate) opening: Option<Opening>,
    /// Why writes are refused at first though nothing is broken: there is no room.
    pub(crate) full: Option<String>,
    pub(crate) reserve: Reserve,
    /// Records up to here are durable.
    pub(crate) sound: u64,
    pub(crate) log_bytes: u64,
}

impl Buffer {
    pub(crate) fn append(
        &mut self,
        seed: Seed,
        kind: u8,
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> Position {
        record::encode(&mut self.bytes, seed, self.next, kind, self.scratch.fill(fill));
        self.next += 1;
        self.last()
    }

    pub(crate) fn last(&self) -> Position {
        Position(self.next - 1)
    }
}

impl Log {
    pub(super) fn new(start: Start) -> Log {
        let Start {
            disk, lock, identity, options, file, next, broken, full, sound, log_bytes, ..
        } = start;
        let unopened = start.opening.is_some();
        let health = match (&broken, &full) {
            (Some(_), _) => BROKEN,
            (None, Some(_)) => FAILING,
            (None, None) => OK,
        };
        let reason = broken.clone().or(full).unwrap_or_default();
        let (salt, written) = (identity.salt, next - 1);
        let synced = if broken.is_some() { sound } else { written };
        let lanes = Lanes::new(options.processors);
        let buffer = Buffer {
            bytes: Vec::new(),
            scratch: Scratch::default(),
            next,
            changes: 0,
            room: lanes.room(),
        };
        let writer = Writer {
            file,
            opening: start.opening.map(Box::new),
            first: next,
            offset: FILE_HEAD as u64,
            ahead: FILE_HEAD as u64,
            pending: Vec::new(),
            pending_last: written,
            pending_gather: 0,
            tried: None,
            marked: synced,
            healing: None,
        };
        Log {
            disk,
            policy: AtomicU8::new(options.sync as u8),
            salt,
            seed: Seed::new(salt),
            lanes,
            buffer: Mutex::new(buffer),
            buffered: AtomicUsize::new(0),
            writer: Mutex::new(writer),
            syncing: Mutex::new(()),
            gathers: AtomicU64::new(0),
            gathers_written: AtomicU64::new(0),
            gathered_upto: std::array::from_fn(|_| AtomicU64::new(written)),
            written: AtomicU64::new(written),
            synced: AtomicU64::new(synced),
            health: AtomicU8::new(health),
            reason: Mutex::new(reason),
            unopened: AtomicBool::new(unopened),
            reserve: Mutex::new(start.reserve),
            waiting: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
            sync_running: AtomicBool::new(false),
            identity: Mutex::new(identity),
            checkpointing: AtomicBool::new(false),
            writes: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
            last_sync_us: AtomicU64::new(0),
            delayed: AtomicU64::new(0),
            log_bytes: AtomicU64::new(log_bytes),
            options,
            lock: Mutex::new(Some(lock)),
        }
    }

    pub(crate) fn policy(&self) -> SyncPolicy {
        SyncPolicy::from_u8(self.policy.load(Ordering::Acquire))
    }

    /// The buffer, with all in it that threads have added.
    pub(crate) fn gathered(&self) -> MutexGuard<'_, Buffer> {
        let mut guard = self.buffer.lock();
        let Buffer { bytes, next, changes, room, .. } = &mut *guard;
        self.lanes.gather(room, |kind, payload, adds| {
            record::encode(bytes, self.seed, *next, kind, payload);
            *next += 1;
            *changes += adds;
        });
        self.buffered.store(bytes.len(), Ordering::Relaxed);
        guard
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.health.load(Ordering::Acquire) == BROKEN
    }

    /// Why writes are refused.
    pub(crate) fn failed(&self) -> Failed {
        match self.health.load(Ordering::Acquire) {
            CLOSED => Failed("the journal is closed".to_owned()),
            _ => Failed(self.reason.lock().clone()),
        }
    }

    pub(crate) fn set_reason(&self, reason: &str) {
        let mut current = self.reason.lock();
        current.clear();
        current.push_str(reason);
    }

    /// Gives up a part of the reserve, of `bytes` or all of it, if `error` says that there is no room;
    /// whether it did. Writes are refused from then on, until the reserve is whole again.
    pub(crate) fn make_room(&self, error: &io::Error, bytes: Option<u64>) -> bool {
        if !is_full(error) {
            return false;
        }
        let mut reserve = self.reserve.lock();
        let given = match bytes {
            Some(bytes) => reserve.give(&*self.disk, bytes),
            None => reserve.give_all(&*self.disk),
        };
        drop(reserve);
        if given {
            self.refuse_writes(error);
        }
        given
    }

    /// From now on writes are refused, and it is tried again and again whether there is a reason to.
    pub(crate) fn refuse_writes(&self, error: &io::Error) {
        self.set_reason(&format!("the journal cannot be written: {error}"));
        let _ = self.health.compare_exchange(OK, FAILING, Ordering::AcqRel, Ordering::Acquire);
        // The thread sleeps less from now on.
        self.work.notify_one();
    }

    /// Lets writes in again, if the reserve is whole.
    pub(crate) fn admit_writes(&self) {
        if self.reserve.lock().is_whole() {
            let _ = self.health.compare_exchange(FAILING, OK, Ordering::AcqRel, Ordering::Acquire);
        }
    }

    /// Takes again what is missing of the reserve. If there is no room for it, writes are refused.
    pub(crate) fn refill(&self) -> Result<(), Failed> {
        let filled = self.reserve.lock().fill(&*self.disk);
        filled.map_err(|error| {
            self.refuse_writes(&error);
            self.failed()
        })
    }

    pub(crate) fn change_identity(&self, change: impl FnOnce(&mut Identity)) -> Result<(), Failed> {
        if self.unopened.load(Ordering::Acquire) {
            return Err(self.failed());
        }
        let mut identity = self.identity.lock();
        let mut next = identity.clone();
        change(&mut next);
        let written = next.write(&*self.disk);
        written.map_err(|error| Failed::io("the identity cannot be written", &error))?;
        *identity = next;
        Ok(())
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.health.load(Ordering::Acquire) == CLOSED
    }

    pub(crate) fn log_bytes(&self) -> u64 {
        self.log_bytes.load(Ordering::Relaxed)
    }

    /// So much of the log is no longer needed.
    pub(crate) fn log_shrunk(&self, bytes: u64) {
        self.log_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}
