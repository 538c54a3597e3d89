//! The running journal: buffer, writer, syncs, rotation.
//!
//! Locks are taken in this order: `writer` (held over a write, or a rotation), `syncing` (held over an
//! fsync), then either of `buffer` (held over an append) and `waiting`; last, a lane. So an append waits
//! for no I/O; a write does not wait for an fsync, unless that takes two seconds.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::checkpoint::Checkpoint;
use super::disk::{Disk, DiskFile};
use super::lanes::{Lanes, Room};
use super::meta::{Identity, State};
use super::record::{self, FILE_HEAD, FileHead, LOG_MAGIC, MARK, Scratch, Seed};
use super::{Failed, Options, Position, Status, SyncPolicy, Ticket, segment_name};

/// Room that is kept for the next write.
const PENDING_KEEP: usize = 1 << 20;
/// A failed write is tried again after this long.
const RETRY: Duration = Duration::from_millis(100);
/// The period of `everysec`.
const SECOND: Duration = Duration::from_secs(1);
/// Writers wait for an fsync that takes longer, as in Redis: else more and more could be lost.
const SYNC_PATIENCE: Duration = Duration::from_secs(2);
/// Under `always` a sync waits for others at most this long, and so many times what the last sync
/// took: on a fast disk it is the processor that the others wait for.
const GATHER: Duration = Duration::from_millis(2);
const GATHER_TIMES: u32 = 2;
/// Where the last sync took no longer, in microseconds, who needs one makes it himself: to hand it over
/// and to be woken again would cost as much as the sync.
const FAST_US: u64 = 500;
/// Nor does he wait longer for another's.
const FAST_PATIENCE: Duration = Duration::from_micros(4 * FAST_US);
/// Of so many gatherings it is known where they end.
const GATHERS_KEPT: usize = 64;
/// A buffer that has grown beyond this is given back once it is empty.
const BUFFER_KEPT: usize = 4 << 20;

const OK: u8 = 0;
const FAILING: u8 = 1;
const BROKEN: u8 = 2;
const CLOSED: u8 = 3;

/// A journal that is open for writing. Dropped without [`Journal::close`], it is as if the process
/// had died.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
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

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    options: Options,
    policy: AtomicU8,
    pub(super) salt: u64,
    pub(super) seed: Seed,
    lanes: Lanes,
    buffer: Mutex<Buffer>,
    /// Of `buffer`, to be read without its lock.
    buffered: AtomicUsize,
    writer: Mutex<Writer>,
    syncing: Mutex<()>,
    /// How often it was begun to gather what is to be written.
    gathers: AtomicU64,
    /// What was gathered up to then is in the file.
    gathers_written: AtomicU64,
    /// The last records of the last gatherings, by their numbers modulo how many are kept.
    gathered_upto: [AtomicU64; GATHERS_KEPT],
    /// All records up to here are in the file.
    written: AtomicU64,
    /// All records up to here are durable.
    synced: AtomicU64,
    health: AtomicU8,
    reason: Mutex<String>,
    waiting: Mutex<Waiting>,
    /// For the thread: there is something to do.
    work: Condvar,
    /// For who waits: something was synced, or will never be.
    done: Condvar,
    sync_running: AtomicBool,
    pub(super) identity: Mutex<Identity>,
    pub(super) checkpointing: AtomicBool,
    writes: AtomicU64,
    written_bytes: AtomicU64,
    syncs: AtomicU64,
    last_sync_us: AtomicU64,
    delayed: AtomicU64,
    log_bytes: AtomicU64,
    /// Keeps other processes out as long as the journal is open.
    lock: Mutex<Option<Box<dyn std::any::Any + Send + Sync>>>,
}

#[derive(Debug)]
struct Buffer {
    bytes: Vec<u8>,
    scratch: Scratch,
    next: u64,
    /// A record of what threads have added may hold many.
    changes: u64,
    room: Room,
}

#[derive(Debug)]
struct Writer {
    file: Arc<dyn DiskFile>,
    first: u64,
    offset: u64,
    /// The file has this length; zeros from `offset` on.
    ahead: u64,
    /// Taken from the buffer and not yet written, and the number of its last record.
    pending: Vec<u8>,
    pending_last: u64,
    /// The last gathering of which it is.
    pending_gather: u64,
    tried: Option<Instant>,
    /// What the last mark said.
    marked: u64,
    /// The segment that a checkpoint has to be based on to make a broken journal well.
    healing: Option<u64>,
}

#[derive(Debug, Default)]
struct Waiting {
    sync_wanted: bool,
    rotation_wanted: bool,
    closing: bool,
    sync_since: Option<Instant>,
    wakers: Vec<(u64, Waker)>,
    /// How many are likely to wait for the next sync: whom the last one served, and who waited
    /// already when it ended.
    expected: usize,
}

/// What recovery hands over.
pub(super) struct Start {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) lock: Box<dyn std::any::Any + Send + Sync>,
    pub(super) identity: Identity,
    pub(super) options: Options,
    pub(super) file: Arc<dyn DiskFile>,
    /// The first record to be written.
    pub(super) next: u64,
    /// Why the journal begins broken, if it does.
    pub(super) broken: Option<String>,
    /// Records up to here are durable.
    pub(super) sound: u64,
    pub(super) log_bytes: u64,
}

/// Begins a segment. It is durable when this returns.
pub(super) fn create_segment(disk: &dyn Disk, head: FileHead) -> io::Result<Arc<dyn DiskFile>> {
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

impl Journal {
    pub(super) fn start(start: Start) -> Journal {
        let background = start.options.background;
        let (salt, policy) = (start.identity.salt, start.options.sync);
        let written = start.next - 1;
        let synced = if start.broken.is_some() { start.sound } else { written };
        let lanes = Lanes::new();
        let shared = Arc::new(Shared {
            disk: start.disk,
            policy: AtomicU8::new(policy as u8),
            salt,
            seed: Seed::new(salt),
            buffer: Mutex::new(Buffer {
                bytes: Vec::new(),
                scratch: Scratch::default(),
                next: start.next,
                changes: 0,
                room: lanes.room(),
            }),
            lanes,
            gathers: AtomicU64::new(0),
            gathers_written: AtomicU64::new(0),
            gathered_upto: std::array::from_fn(|_| AtomicU64::new(written)),
            buffered: AtomicUsize::new(0),
            writer: Mutex::new(Writer {
                file: start.file,
                first: start.next,
                offset: FILE_HEAD as u64,
                ahead: FILE_HEAD as u64,
                pending: Vec::new(),
                pending_last: written,
                pending_gather: 0,
                tried: None,
                marked: synced,
                healing: None,
            }),
            syncing: Mutex::new(()),
            written: AtomicU64::new(written),
            synced: AtomicU64::new(synced),
            health: AtomicU8::new(if start.broken.is_some() { BROKEN } else { OK }),
            reason: Mutex::new(start.broken.unwrap_or_default()),
            waiting: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
            sync_running: AtomicBool::new(false),
            identity: Mutex::new(start.identity),
            checkpointing: AtomicBool::new(false),
            writes: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
            last_sync_us: AtomicU64::new(0),
            delayed: AtomicU64::new(0),
            log_bytes: AtomicU64::new(start.log_bytes),
            options: start.options,
            lock: Mutex::new(Some(start.lock)),
        });
        let thread = background.then(|| {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name("miso-journal".to_owned());
            thread.spawn(move || shared.run()).expect("a thread at start-up")
        });
        Journal { shared, thread: Mutex::new(thread) }
    }

    /// Whether a change may be made now: asked before it is made, without holding a store's lock.
    /// One load if all is well; if the buffer has grown too long, it is written here. What is in lanes
    /// does not count: a megabyte for each thread at most.
    ///
    /// # Errors
    /// The journal takes no writes.
    pub fn admit(&self) -> Result<(), Failed> {
        if self.shared.health.load(Ordering::Acquire) != OK {
            return Err(self.shared.failed());
        }
        if self.shared.buffered.load(Ordering::Relaxed) > self.shared.options.buffer_bytes {
            let mut writer = self.shared.writer.lock();
            self.shared.write_out(&mut writer)?;
        }
        Ok(())
    }

    /// Appends a record, whose payload `fill` appends to what it is given, behind all that any thread
    /// has added until now. No I/O; meant to be called under the lock under which the change was made.
    ///
    /// # Panics
    /// `kind` is not below [`KINDS`](super::KINDS), or the payload is 4 GiB or longer.
    pub fn append(&self, kind: u8, fill: impl FnOnce(&mut Vec<u8>)) -> Position {
        assert!(kind < record::OWN_KINDS, "kinds from {} on are the journal's", record::OWN_KINDS);
        let mut buffer = self.shared.gathered();
        let position = buffer.append(self.shared.seed, kind, fill);
        buffer.changes += 1;
        self.shared.buffered.store(buffer.bytes.len(), Ordering::Relaxed);
        position
    }

    /// Adds to a record of `kind` that begins with `head`. Threads do not wait for each other here, and
    /// what was added to the same since the last write becomes one record, if it is not too long; `more`
    /// is in one record as a whole. In the log it stands behind what was added to the same with a smaller
    /// `order`, and before what is appended later. Meant to be called as [`Journal::append`] is, and so
    /// that `order` grows from one change to what builds on it.
    ///
    /// # Panics
    /// As there.
    #[inline]
    pub fn add(&self, kind: u8, head: &[u8], order: u64, more: &[u8]) {
        assert!(kind < record::OWN_KINDS, "kinds from {} on are the journal's", record::OWN_KINDS);
        if self.shared.lanes.add(kind, head, order, more) {
            drop(self.shared.gathered());
        }
    }

    /// What to wait for so that all that has been added is written, by this thread and, of what others
    /// have added, all that this thread can know of. For [`Journal::commit_added`].
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        // Whoever has begun to gather may have passed by already.
        Ticket(self.shared.gathers.load(Ordering::Acquire) + 1)
    }

    /// As [`Journal::commit`]; answers a position up to which all of it stands.
    ///
    /// # Errors
    /// As there.
    pub fn commit_added(&self, ticket: Ticket) -> Result<Position, Failed> {
        self.shared.commit_added(ticket)
    }

    /// Writes all records up to `position`, if nobody has: from here on they outlive the process.
    ///
    /// # Errors
    /// They could not be written. They are kept, and written once that is possible again.
    pub fn commit(&self, position: Position) -> Result<(), Failed> {
        self.shared.commit(position)
    }

    /// Resolves when all records up to `position` are durable; commits them at once. Under `always`
    /// it asks for an fsync, or makes it here if the last one took less than half a millisecond; else
    /// it waits for the next (under `no`, of a rotation, a checkpoint or [`Journal::sync`]). Made for
    /// many waiters: one fsync serves all whose records were written before it began.
    pub fn on_synced(&self, position: Position) -> Synced {
        let failed = self.shared.commit(position).err();
        if failed.is_none() && self.shared.policy() == SyncPolicy::Always {
            self.shared.sync_for(position);
        }
        Synced { shared: Arc::clone(&self.shared), position, failed }
    }

    /// The same for who has a thread to wait with.
    ///
    /// # Errors
    /// They are not durable, and as things stand they will not be.
    pub fn wait_synced(&self, position: Position) -> Result<(), Failed> {
        self.shared.commit(position)?;
        if !self.shared.options.background {
            return self.shared.sync();
        }
        if self.shared.policy() == SyncPolicy::Always {
            self.shared.sync_for(position);
        }
        let mut waiting = self.shared.waiting.lock();
        loop {
            if let Poll::Ready(result) = self.shared.poll_synced(position) {
                return result;
            }
            self.shared.done.wait(&mut waiting);
        }
    }

    /// Makes durable now what has been written.
    ///
    /// # Errors
    /// It could not.
    pub fn sync(&self) -> Result<(), Failed> {
        let last = self.appended();
        self.shared.commit(last)?;
        self.shared.sync()
    }

    /// The last record of all that any thread has appended and added.
    #[must_use]
    pub fn appended(&self) -> Position {
        self.shared.gathered().last()
    }

    /// All records up to this one are in the file.
    #[must_use]
    pub fn written(&self) -> Position {
        Position(self.shared.written.load(Ordering::Acquire))
    }

    /// All records up to this one are durable.
    #[must_use]
    pub fn synced(&self) -> Position {
        Position(self.shared.synced.load(Ordering::Acquire))
    }

    /// How the journal is.
    #[must_use]
    pub fn status(&self) -> Status {
        match self.shared.health.load(Ordering::Acquire) {
            OK => Status::Ok,
            FAILING => Status::Failing(self.shared.reason.lock().clone()),
            BROKEN => Status::Broken(self.shared.reason.lock().clone()),
            _ => Status::Closed,
        }
    }

    /// Figures.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let load = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let shared = &self.shared;
        Stats {
            changes: shared.gathered().changes,
            written_bytes: load(&shared.written_bytes),
            writes: load(&shared.writes),
            syncs: load(&shared.syncs),
            last_sync: Duration::from_micros(load(&shared.last_sync_us)),
            syncing: shared.sync_running.load(Ordering::Relaxed),
            delayed: load(&shared.delayed),
            log_bytes: load(&shared.log_bytes),
            buffered_bytes: shared.buffered.load(Ordering::Relaxed) as u64,
        }
    }

    /// Who the node is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.shared.identity.lock().clone()
    }

    /// Makes another incarnation the node's, durably: for who learns from a peer that its past is
    /// lost.
    ///
    /// # Errors
    /// The file could not be written; the old one is still in force.
    pub fn renew(&self, replica: u64) -> Result<(), Failed> {
        self.shared.change_identity(|identity| *identity = identity.renewed(replica))
    }

    /// When written records are made durable.
    #[must_use]
    pub fn policy(&self) -> SyncPolicy {
        self.shared.policy()
    }

    /// Changes that. A weaker policy is first noted in the identity, since it decides what a power
    /// cut may have taken.
    ///
    /// # Errors
    /// It could not be noted; the old policy is still in force.
    pub fn set_policy(&self, policy: SyncPolicy) -> Result<(), Failed> {
        if policy.weaker_than(self.shared.identity.lock().policy) {
            self.shared.change_identity(|identity| identity.policy = policy)?;
        }
        self.shared.policy.store(policy as u8, Ordering::Release);
        let _waiting = self.shared.waiting.lock();
        self.shared.work.notify_one();
        Ok(())
    }

    /// Begins a checkpoint: from here on records go to a new segment, and what all older ones tell is
    /// to be put into the checkpoint, possibly with newer things. Only one at a time.
    ///
    /// # Errors
    /// One is being made, or the new segment could not be begun.
    pub fn begin(&self) -> Result<Checkpoint, Failed> {
        Checkpoint::begin(&self.shared)
    }

    /// Does what the background thread does when it wakes: tries failed writes again, begins a new
    /// segment if this one is long, and syncs what has been written unless the policy is `no`.
    ///
    /// # Errors
    /// What failed.
    pub fn tick(&self) -> Result<(), Failed> {
        self.shared.probe(true)?;
        self.shared.rotate_if_long()?;
        if self.shared.policy() == SyncPolicy::No { Ok(()) } else { self.shared.sync() }
    }

    /// Ends in order: all is written and durable, and the identity says so. What is appended from
    /// then on is refused at its commit.
    ///
    /// # Errors
    /// It could not be; then the journal ends as if the process had died.
    pub fn close(&self) -> Result<(), Failed> {
        self.stop();
        self.sync()?;
        let shared = &self.shared;
        let writer = shared.writer.lock();
        shared.health.store(CLOSED, Ordering::Release);
        let cut = writer.file.set_len(writer.offset).and_then(|()| writer.file.sync());
        cut.map_err(|error| Failed::io("the journal cannot be closed", &error))?;
        let last = shared.written.load(Ordering::Acquire);
        shared.synced.fetch_max(last, Ordering::AcqRel);
        shared.change_identity(|identity| identity.state = State::Clean(last))?;
        shared.lock.lock().take();
        shared.wake(u64::MAX);
        Ok(())
    }

    fn stop(&self) {
        self.shared.waiting.lock().closing = true;
        self.shared.work.notify_one();
        if let Some(thread) = self.thread.lock().take() {
            // A panic of the thread has been reported; the journal's state is in the locks.
            let _ = thread.join();
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.stop();
        self.shared.health.store(CLOSED, Ordering::Release);
        self.shared.wake(u64::MAX);
    }
}

impl Buffer {
    fn append(&mut self, seed: Seed, kind: u8, fill: impl FnOnce(&mut Vec<u8>)) -> Position {
        record::encode(&mut self.bytes, seed, self.next, kind, self.scratch.fill(fill));
        self.next += 1;
        self.last()
    }

    fn last(&self) -> Position {
        Position(self.next - 1)
    }
}

impl Shared {
    fn policy(&self) -> SyncPolicy {
        SyncPolicy::from_u8(self.policy.load(Ordering::Acquire))
    }

    /// The buffer, with all in it that threads have added.
    fn gathered(&self) -> MutexGuard<'_, Buffer> {
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

    pub(super) fn is_broken(&self) -> bool {
        self.health.load(Ordering::Acquire) == BROKEN
    }

    /// Why writes are refused.
    fn failed(&self) -> Failed {
        match self.health.load(Ordering::Acquire) {
            CLOSED => Failed("the journal is closed".to_owned()),
            _ => Failed(self.reason.lock().clone()),
        }
    }

    fn commit(&self, position: Position) -> Result<(), Failed> {
        let broken = self.health.load(Ordering::Acquire) >= BROKEN;
        if broken && self.synced.load(Ordering::Acquire) < position.0 {
            return Err(self.failed());
        }
        self.write_upto(&self.written, position.0)
    }

    fn commit_added(&self, ticket: Ticket) -> Result<Position, Failed> {
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
    fn write_upto(&self, done: &AtomicU64, wanted: u64) -> Result<(), Failed> {
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
    fn hold_back(&self) {
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

    /// Makes durable all that has been appended. Not where an fsync has failed, after which nothing is
    /// written before the checkpoint is there: no command is let in meanwhile, either.
    pub(super) fn settle(&self) -> Result<(), Failed> {
        if self.is_broken() {
            return Ok(());
        }
        let last = self.gathered().last();
        self.commit(last)?;
        self.sync()
    }

    /// Writes what has been appended so far.
    fn write_out(&self, writer: &mut Writer) -> Result<(), Failed> {
        match self.health.load(Ordering::Acquire) {
            OK => {}
            FAILING if writer.tried.is_none_or(|tried| tried.elapsed() >= RETRY) => {}
            _ => return Err(self.failed()),
        }
        if !writer.pending.is_empty() {
            self.write_pending(writer)?;
        }
        self.take(writer);
        self.write_pending(writer)
    }

    /// Takes the whole buffer to be written, and ends it with a mark if more is durable than the last
    /// one says.
    fn take(&self, writer: &mut Writer) {
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

    fn write_pending(&self, writer: &mut Writer) -> Result<(), Failed> {
        if writer.pending.is_empty() {
            self.gathers_written.store(writer.pending_gather, Ordering::Release);
            return Ok(());
        }
        let count = writer.pending.len() as u64;
        self.write_ahead(writer, count);
        if let Err(error) = writer.file.write_at(&writer.pending, writer.offset) {
            // What there is of it goes again; the next try writes all of it at the same place.
            let _ = writer.file.set_len(writer.offset);
            writer.ahead = writer.offset;
            writer.tried = Some(Instant::now());
            self.set_reason(&format!("the journal cannot be written: {error}"));
            let _ = self.health.compare_exchange(OK, FAILING, Ordering::AcqRel, Ordering::Acquire);
            // The thread sleeps less from now on.
            self.work.notify_one();
            return Err(self.failed());
        }
        writer.offset += count;
        writer.ahead = writer.ahead.max(writer.offset);
        writer.tried = None;
        writer.pending.clear();
        writer.pending.shrink_to(PENDING_KEEP);
        writer.pending.shrink_to(BUFFER_KEPT);
        self.written.store(writer.pending_last, Ordering::Release);
        self.gathers_written.store(writer.pending_gather, Ordering::Release);
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.written_bytes.fetch_add(count, Ordering::Relaxed);
        self.log_bytes.fetch_add(count, Ordering::Relaxed);
        let _ = self.health.compare_exchange(FAILING, OK, Ordering::AcqRel, Ordering::Acquire);
        Ok(())
    }

    /// Sees that the file is long enough, best in advance. If there is no room for that, then the
    /// write itself will say whether there is room for the records.
    fn write_ahead(&self, writer: &mut Writer, count: u64) {
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

    fn set_reason(&self, reason: &str) {
        let mut current = self.reason.lock();
        current.clear();
        current.push_str(reason);
    }

    /// If writing fails, tries again.
    fn probe(&self, at_once: bool) -> Result<(), Failed> {
        if self.health.load(Ordering::Acquire) != FAILING {
            return Ok(());
        }
        let mut writer = self.writer.lock();
        if at_once {
            // Keeps `tried`, which says that there is no room to write ahead.
            writer.tried = writer.tried.and_then(|tried| tried.checked_sub(RETRY));
        }
        self.write_out(&mut writer)
    }

    /// Makes an fsync for a record that has been written, or has the thread make it; see [`FAST_US`].
    /// What fails shows in the journal's status. An fsync that hangs takes with it who makes it, and
    /// nobody else.
    fn sync_for(&self, position: Position) {
        let done = |upto: u64| self.synced.load(Ordering::Acquire) >= upto;
        if self.options.background
            && (1..=FAST_US).contains(&self.last_sync_us.load(Ordering::Relaxed))
            // One that runs may be all that is needed.
            && (done(position.0) || self.syncing.try_lock_for(FAST_PATIENCE).is_some())
            && !done(position.0)
        {
            let (file, target) = self.to_sync();
            if let Some(one) = self.syncing.try_lock_for(FAST_PATIENCE)
                && !done(target)
            {
                let _ = self.sync_file(one, &*file, target);
            }
        }
        self.want_sync(position);
    }

    /// Asks the thread for an fsync, unless it has been made.
    fn want_sync(&self, position: Position) {
        if self.synced.load(Ordering::Acquire) >= position.0 {
            return;
        }
        let mut waiting = self.waiting.lock();
        if !waiting.sync_wanted {
            waiting.sync_wanted = true;
            self.work.notify_one();
        }
    }

    /// Waits a little for those whom the last sync served, who most likely write again at once: else
    /// they and those who came during that sync would take turns for good, each with half a sync.
    fn gather(&self) {
        let last = Duration::from_micros(self.last_sync_us.load(Ordering::Relaxed));
        let until = Instant::now() + (last * GATHER_TIMES).min(GATHER);
        let mut waiting = self.waiting.lock();
        while waiting.wakers.len() < waiting.expected && !waiting.closing {
            if self.work.wait_until(&mut waiting, until).timed_out() {
                break;
            }
        }
        // Whoever has asked by now has written, so the sync is for him, too.
        waiting.sync_wanted = false;
    }

    /// What an fsync now would be of, and all records up to which it makes durable.
    fn to_sync(&self) -> (Arc<dyn DiskFile>, u64) {
        let writer = self.writer.lock();
        (Arc::clone(&writer.file), self.written.load(Ordering::Acquire))
    }

    /// Makes durable what has been written.
    fn sync(&self) -> Result<(), Failed> {
        let (file, target) = self.to_sync();
        if self.synced.load(Ordering::Acquire) >= target && !self.is_broken() {
            return Ok(());
        }
        self.sync_file(self.syncing.lock(), &*file, target)
    }

    /// Syncs `file`, after which all records up to `target` are durable. One at a time.
    fn sync_file(
        &self,
        _one: MutexGuard<'_, ()>,
        file: &dyn DiskFile,
        target: u64,
    ) -> Result<(), Failed> {
        // The kernel tells of a failure once: who comes after it must not believe a yes.
        if self.health.load(Ordering::Acquire) >= BROKEN {
            return Err(self.failed());
        }
        let begun = Instant::now();
        self.waiting.lock().sync_since = Some(begun);
        self.sync_running.store(true, Ordering::Release);
        let result = file.sync();
        self.sync_running.store(false, Ordering::Release);
        let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.last_sync_us.store(took, Ordering::Relaxed);
        self.syncs.fetch_add(1, Ordering::Relaxed);
        match result {
            Ok(()) => {
                self.synced.fetch_max(target, Ordering::AcqRel);
                self.wake(target);
                Ok(())
            }
            Err(error) => {
                self.break_down(&error);
                Err(self.failed())
            }
        }
    }

    /// An fsync has failed.
    fn break_down(&self, error: &io::Error) {
        self.set_reason(&format!("the journal cannot be synced: {error}"));
        self.health.store(BROKEN, Ordering::Release);
        let mut identity = self.identity.lock();
        identity.state = State::Faulted;
        // If this fails too, the next start has to find the loss by the log alone.
        let _ = identity.write(&*self.disk);
        drop(identity);
        self.wake(u64::MAX);
    }

    /// Wakes who waits for records up to `target`.
    fn wake(&self, target: u64) {
        let mut waiting = self.waiting.lock();
        waiting.sync_since = None;
        let mut woken = Vec::new();
        waiting.wakers.retain_mut(|(position, waker)| {
            let due = *position <= target;
            if due {
                woken.push(waker.clone());
            }
            !due
        });
        waiting.expected = woken.len() + waiting.wakers.len();
        self.done.notify_all();
        drop(waiting);
        woken.into_iter().for_each(Waker::wake);
    }

    fn poll_synced(&self, position: Position) -> Poll<Result<(), Failed>> {
        if self.synced.load(Ordering::Acquire) >= position.0 {
            Poll::Ready(Ok(()))
        } else if self.health.load(Ordering::Acquire) >= BROKEN {
            Poll::Ready(Err(self.failed()))
        } else {
            Poll::Pending
        }
    }

    pub(super) fn change_identity(&self, change: impl FnOnce(&mut Identity)) -> Result<(), Failed> {
        let mut identity = self.identity.lock();
        let mut next = identity.clone();
        change(&mut next);
        let written = next.write(&*self.disk);
        written.map_err(|error| Failed::io("the identity cannot be written", &error))?;
        *identity = next;
        Ok(())
    }

    /// Begins a new segment, unless this one has no record. Gives the number of its first.
    fn rotate(&self, writer: &mut Writer) -> Result<u64, Failed> {
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

    fn begin_segment(&self, writer: &mut Writer, first: u64) -> Result<u64, Failed> {
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

    fn rotate_if_long(&self) -> Result<(), Failed> {
        if self.writer.lock().offset < self.options.segment_bytes {
            return Ok(());
        }
        // Most of the sync is done while others may write.
        self.sync()?;
        self.rotate(&mut self.writer.lock()).map(drop)
    }

    /// The first record that a checkpoint begun now need not hold.
    pub(super) fn begin_checkpoint(&self) -> Result<u64, Failed> {
        if self.is_broken() {
            return self.abandon(&mut self.writer.lock());
        }
        self.sync()?;
        self.rotate(&mut self.writer.lock())
    }

    /// Begins a new segment after a failed fsync. What was not written is dropped: the checkpoint
    /// will hold what it tells. Until then nothing is written to the new segment, so that it cannot
    /// be mistaken for proof that what is missing before it was durable.
    fn abandon(&self, writer: &mut Writer) -> Result<u64, Failed> {
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

    pub(super) fn is_closed(&self) -> bool {
        self.health.load(Ordering::Acquire) == CLOSED
    }

    /// A checkpoint of all records before `first` is durable.
    pub(super) fn checkpointed(&self, first: u64) -> Result<(), Failed> {
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

    pub(super) fn log_bytes(&self) -> u64 {
        self.log_bytes.load(Ordering::Relaxed)
    }

    /// So much of the log is no longer needed.
    pub(super) fn log_shrunk(&self, bytes: u64) {
        self.log_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The background thread.
    fn run(&self) {
        let mut last = Instant::now();
        loop {
            let mut waiting = self.waiting.lock();
            let policy = self.policy();
            let sync_now = |waiting: &Waiting| waiting.sync_wanted && policy == SyncPolicy::Always;
            if !waiting.closing && !waiting.rotation_wanted && !sync_now(&waiting) {
                let failing = self.health.load(Ordering::Acquire) == FAILING;
                let rest = if failing { RETRY } else { SECOND.saturating_sub(last.elapsed()) };
                self.work.wait_for(&mut waiting, rest);
            }
            if waiting.closing {
                return;
            }
            let sync_now = sync_now(&waiting);
            let rotate = std::mem::take(&mut waiting.rotation_wanted);
            waiting.sync_wanted = false;
            drop(waiting);
            // What fails shows in the journal's status; the next round tries what may be tried again.
            let _ = self.probe(false);
            let second = last.elapsed() >= SECOND;
            if sync_now {
                self.gather();
            }
            if sync_now || (second && policy != SyncPolicy::No) {
                let _ = self.sync();
            }
            if second {
                last = Instant::now();
            }
            if rotate {
                let _ = self.rotate_if_long();
            }
        }
    }
}

/// Resolves when records are durable: [`Journal::on_synced`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct Synced {
    shared: Arc<Shared>,
    position: Position,
    failed: Option<Failed>,
}

impl Future for Synced {
    type Output = Result<(), Failed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(failed) = &self.failed {
            return Poll::Ready(Err(failed.clone()));
        }
        // Under the lock that `wake` takes after it has changed what is looked at here.
        let mut waiting: MutexGuard<'_, Waiting> = self.shared.waiting.lock();
        let ready = self.shared.poll_synced(self.position);
        if ready.is_pending() {
            waiting.wakers.push((self.position.0, context.waker().clone()));
            if waiting.wakers.len() == waiting.expected {
                self.shared.work.notify_one();
            }
        }
        ready
    }
}
