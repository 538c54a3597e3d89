//! The running journal: what its owner calls.
//!
//! `state` holds what threads share, `write` takes records to the file, `sync` makes them durable,
//! `segments` begins and ends files, and `thread` is the background thread.

pub(super) mod opening;
mod segments;
pub(super) mod state;
mod sync;
mod thread;
mod write;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

use self::state::{BROKEN, CLOSED, FAILING, Log, OK};
use super::error::Failed;
use super::meta::{Identity, State};
use super::policy::{Position, Status, SyncPolicy, Ticket};
use super::record;

pub use self::sync::Synced;
pub(super) use self::{opening::create_segment, state::Start};

/// A log that is shorter needs no checkpoint: it is read in an instant.
const COMPACT_BYTES: u64 = 4 << 20;
/// On a full disk each block counts.
const COMPACT_BYTES_FULL: u64 = 64 << 10;

/// A journal that is open for writing. Dropped without [`Journal::close`], it is as if the process
/// had died.
#[derive(Debug)]
pub struct Journal {
    pub(super) log: Arc<Log>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Figures for INFO and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// How many changes there were since the start.
    pub changes: u64,
    /// Bytes of records written since the start.
    pub written_bytes: u64,
    /// Writes since the start.
    pub writes: u64,
    /// Syncs since the start.
    pub syncs: u64,
    /// How long the last sync took.
    pub last_sync: Duration,
    /// Whether one goes on.
    pub syncing: bool,
    /// How often a writer had to wait for a slow sync.
    pub delayed: u64,
    /// Bytes of the log since the last checkpoint: when to make the next is the caller's decision.
    pub log_bytes: u64,
    /// Bytes that wait to be written.
    pub buffered_bytes: u64,
}

impl Journal {
    pub(super) fn start(start: Start) -> Journal {
        let background = start.options.background;
        let log = Arc::new(Log::new(start));
        let thread = background.then(|| {
            let log = Arc::clone(&log);
            let thread = std::thread::Builder::new().name("miso-journal".to_owned());
            thread.spawn(move || log.run()).expect("a thread at start-up")
        });
        Journal { log, thread: Mutex::new(thread) }
    }

    /// Whether a change may be made now: asked before it is made, without holding a store's lock.
    /// One load if all is well; if the buffer has grown too long, it is written here. What is in lanes
    /// does not count: a megabyte for each thread at most.
    ///
    /// # Errors
    /// The journal takes no writes.
    pub fn admit(&self) -> Result<(), Failed> {
        if self.log.health.load(Ordering::Acquire) != OK {
            return Err(self.log.failed());
        }
        if self.log.buffered.load(Ordering::Relaxed) > self.log.options.buffer_bytes {
            let mut writer = self.log.writer.lock();
            self.log.write_out(&mut writer)?;
        }
        Ok(())
    }

    /// Appends a record, whose payload `fill` appends to what it is given, after all that any thread
    /// has added until now. No I/O; meant to be called under the lock under which the change was made.
    ///
    /// # Panics
    /// `kind` is not below [`KINDS`](super::KINDS), or the payload is 4 GiB or longer.
    pub fn append(&self, kind: u8, fill: impl FnOnce(&mut Vec<u8>)) -> Position {
        assert!(kind < record::OWN_KINDS, "kinds from {} on are the journal's", record::OWN_KINDS);
        let mut buffer = self.log.gathered();
        let position = buffer.append(self.log.seed, kind, fill);
        buffer.changes += 1;
        self.log.buffered.store(buffer.bytes.len(), Ordering::Relaxed);
        position
    }

    /// Adds to a record of `kind` that begins with `head`. Threads do not wait for each other here, and
    /// what was added to the same since the last write becomes one record, if it is not too long; `more`
    /// is in one record as a whole. In the log it stands after what was added to the same with a smaller
    /// `order`, and before what is appended later. Meant to be called as [`Journal::append`] is, and so
    /// that `order` grows from one change to what builds on it.
    ///
    /// # Panics
    /// As there.
    #[inline]
    pub fn add(&self, kind: u8, head: &[u8], order: u64, more: &[u8]) {
        assert!(kind < record::OWN_KINDS, "kinds from {} on are the journal's", record::OWN_KINDS);
        if self.log.lanes.add(kind, head, order, more) {
            drop(self.log.gathered());
        }
    }

    /// What to wait for so that all that has been added is written, by this thread and, of what others
    /// have added, all that this thread can know of. For [`Journal::commit_added`].
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        // A gathering that has begun may have passed this lane already.
        Ticket(self.log.gathers.load(Ordering::Acquire) + 1)
    }

    /// As [`Journal::commit`]; answers a position up to which all of it stands.
    ///
    /// # Errors
    /// As there.
    pub fn commit_added(&self, ticket: Ticket) -> Result<Position, Failed> {
        self.log.commit_added(ticket)
    }

    /// Writes all records up to `position`, if nobody has: from here on they outlive the process.
    ///
    /// # Errors
    /// They could not be written. They are kept, and written once that is possible again.
    pub fn commit(&self, position: Position) -> Result<(), Failed> {
        self.log.commit(position)
    }

    /// Resolves when all records up to `position` are durable; commits them at once. Under `always`
    /// it asks for an fsync, or makes it on this thread if the last one took less than half a millisecond; else
    /// it waits for the next (under `no`, of a rotation, a checkpoint or [`Journal::sync`]). Made for
    /// many waiters: one fsync serves all whose records were written before it began.
    pub fn on_synced(&self, position: Position) -> Synced {
        let failed = self.log.commit(position).err();
        if failed.is_none() && self.log.policy() == SyncPolicy::Always {
            self.log.sync_for(position);
        }
        Synced { log: Arc::clone(&self.log), position, failed }
    }

    /// The same for a caller that may block its thread.
    ///
    /// # Errors
    /// They are not durable, and as things stand they will not be.
    pub fn wait_synced(&self, position: Position) -> Result<(), Failed> {
        self.log.commit(position)?;
        if !self.log.options.background {
            return self.log.sync();
        }
        if self.log.policy() == SyncPolicy::Always {
            self.log.sync_for(position);
        }
        let mut waiting = self.log.waiting.lock();
        loop {
            if let Poll::Ready(result) = self.log.poll_synced(position) {
                return result;
            }
            self.log.done.wait(&mut waiting);
        }
    }

    /// Makes durable now what has been written.
    ///
    /// # Errors
    /// It could not.
    pub fn sync(&self) -> Result<(), Failed> {
        let last = self.appended();
        self.log.commit(last)?;
        self.log.sync()
    }

    /// The last record of all that any thread has appended and added.
    #[must_use]
    pub fn appended(&self) -> Position {
        self.log.gathered().last()
    }

    /// All records up to this one are in the file.
    #[must_use]
    pub fn written(&self) -> Position {
        Position(self.log.written.load(Ordering::Acquire))
    }

    /// All records up to this one are durable.
    #[must_use]
    pub fn synced(&self) -> Position {
        Position(self.log.synced.load(Ordering::Acquire))
    }

    /// How the journal is.
    #[must_use]
    pub fn status(&self) -> Status {
        match self.log.health.load(Ordering::Acquire) {
            OK => Status::Ok,
            FAILING => Status::Failing(self.log.reason.lock().clone()),
            BROKEN => Status::Broken(self.log.reason.lock().clone()),
            _ => Status::Closed,
        }
    }

    /// Whether it is time for a checkpoint, the last one having had `last_bytes`: the log is longer than
    /// that, so that at most half of all is superfluous; or the disk is full, or an fsync has failed.
    #[must_use]
    pub fn checkpoint_due(&self, last_bytes: u64) -> bool {
        let log_bytes = self.log.log_bytes();
        match self.log.health.load(Ordering::Acquire) {
            OK => log_bytes > last_bytes.max(COMPACT_BYTES),
            FAILING => log_bytes > last_bytes.max(COMPACT_BYTES_FULL),
            BROKEN => true,
            _ => false,
        }
    }

    /// Figures.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let load = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let log = &self.log;
        Stats {
            changes: log.gathered().changes,
            written_bytes: load(&log.written_bytes),
            writes: load(&log.writes),
            syncs: load(&log.syncs),
            last_sync: Duration::from_micros(load(&log.last_sync_us)),
            syncing: log.sync_running.load(Ordering::Relaxed),
            delayed: load(&log.delayed),
            log_bytes: load(&log.log_bytes),
            buffered_bytes: log.buffered.load(Ordering::Relaxed) as u64,
        }
    }

    /// The identity of the node.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.log.identity.lock().clone()
    }

    /// Makes another incarnation the node's, durably: for a node that learns from a peer that its past
    /// is lost.
    ///
    /// # Errors
    /// The file could not be written; the old one is still in force.
    pub fn renew(&self, replica: u64) -> Result<(), Failed> {
        self.log.change_identity(|identity| *identity = identity.renewed(replica))
    }

    /// When written records are made durable.
    #[must_use]
    pub fn policy(&self) -> SyncPolicy {
        self.log.policy()
    }

    /// Changes that. A weaker policy is first noted in the identity, since it decides what a power
    /// cut may have taken.
    ///
    /// # Errors
    /// It could not be noted; the old policy is still in force.
    pub fn set_policy(&self, policy: SyncPolicy) -> Result<(), Failed> {
        if policy.weaker_than(self.log.identity.lock().policy) {
            self.log.change_identity(|identity| identity.policy = policy)?;
        }
        self.log.policy.store(policy as u8, Ordering::Release);
        let _waiting = self.log.waiting.lock();
        self.log.work.notify_one();
        Ok(())
    }

    /// Does what the background thread does when it wakes: tries failed writes again, begins a new
    /// segment if this one is long, and syncs what has been written unless the policy is `no`.
    ///
    /// # Errors
    /// What failed.
    pub fn tick(&self) -> Result<(), Failed> {
        self.log.probe(true)?;
        self.log.rotate_if_long()?;
        if self.log.policy() == SyncPolicy::No { Ok(()) } else { self.log.sync() }
    }

    /// Ends in order: all is written and durable, and the identity says so. What is appended from
    /// then on is refused at its commit.
    ///
    /// # Errors
    /// It could not be; then the journal ends as if the process had died.
    pub fn close(&self) -> Result<(), Failed> {
        self.stop();
        if self.log.unopened.load(Ordering::Acquire) {
            // Nothing was written: the next start finds what this one found.
            self.log.health.store(CLOSED, Ordering::Release);
            self.log.lock.lock().take();
            return Ok(());
        }
        self.sync()?;
        let log = &self.log;
        let writer = log.writer.lock();
        log.health.store(CLOSED, Ordering::Release);
        let cut = writer.file.set_len(writer.offset).and_then(|()| writer.file.sync());
        cut.map_err(|error| Failed::io("the journal cannot be closed", &error))?;
        let last = log.written.load(Ordering::Acquire);
        log.synced.fetch_max(last, Ordering::AcqRel);
        log.change_identity(|identity| identity.state = State::Clean(last))?;
        log.lock.lock().take();
        log.wake(u64::MAX);
        Ok(())
    }

    fn stop(&self) {
        self.log.waiting.lock().closing = true;
        self.log.work.notify_one();
        if let Some(thread) = self.thread.lock().take() {
            // A panic of the thread has been reported; the journal's state is in the locks.
            let _ = thread.join();
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.stop();
        self.log.health.store(CLOSED, Ordering::Release);
        self.log.wake(u64::MAX);
    }
}
