//! A disk in memory that does what disks do on a bad day: it remembers what was synced, forgets the
//! rest in a power cut (any part of it, in any order, and half a write), fills up, fails to write or
//! to sync, and stops at the n-th operation.

use std::any::Any;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::disk::{Disk, DiskFile, Environment};

/// The unit that a power cut keeps or loses of what was not synced.
const SECTOR: usize = 32;

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Since the last sync.
    changes: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Entry {
    Put(String, u64),
    Gone(String),
}

#[derive(Clone, Debug)]
struct State {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    entries: Vec<Entry>,
    rng: fastrand::Rng,
    boot: u64,
    mount: u64,
    /// Which of all locks is held; 0: none.
    locked: u64,
    /// Handles of an earlier life do nothing.
    life: u64,
    operations: u64,
    crash_at: Option<u64>,
    room: Option<u64>,
    fail_syncs: u64,
    sync_delay: Duration,
    /// Syncs that wait that long.
    delayed: u64,
}

/// The disk. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct FaultyDisk {
    state: Arc<Mutex<State>>,
    life: u64,
}

impl FaultyDisk {
    /// An empty disk; `seed` decides what its accidents leave.
    #[must_use]
    pub fn new(seed: u64) -> FaultyDisk {
        let state = State {
            inodes: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            entries: Vec::new(),
            rng: fastrand::Rng::with_seed(seed),
            boot: 1,
            mount: 1,
            locked: 0,
            life: 0,
            operations: 0,
            crash_at: None,
            room: None,
            fail_syncs: 0,
            sync_delay: Duration::ZERO,
            delayed: 0,
        };
        FaultyDisk { state: Arc::new(Mutex::new(state)), life: 0 }
    }

    /// The process dies: all that was written stays. Gives the disk that the next process finds; calls
    /// on this one fail from then on.
    #[must_use]
    pub fn kill(&self) -> FaultyDisk {
        let mut state = self.state.lock();
        state.life += 1;
        state.locked = 0;
        state.crash_at = None;
        FaultyDisk { state: Arc::clone(&self.state), life: state.life }
    }

    /// The kernel dies: of what was not synced, any part stays.
    #[must_use]
    pub fn power_cut(&self) -> FaultyDisk {
        self.state.lock().boot += 1;
        self.pull()
    }

    /// The device goes, and is mounted again by the same kernel: of what was not synced, any part stays.
    #[must_use]
    pub fn pull(&self) -> FaultyDisk {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.mount += 1;
        state.names = state.durable_names.clone();
        for entry in std::mem::take(&mut state.entries) {
            if state.rng.bool() {
                apply(&mut state.names, &entry);
            }
        }
        state.durable_names = state.names.clone();
        let names: Vec<u64> = state.names.values().copied().collect();
        state.inodes.retain(|inode, _| names.contains(inode));
        for inode in state.inodes.values_mut() {
            inode.lose(&mut state.rng);
        }
        drop(guard);
        self.kill()
    }

    /// Another disk that is as this one is now, down to its files' stamps, with accidents of its own.
    #[must_use]
    pub fn fork(&self, seed: u64) -> FaultyDisk {
        let mut state = self.state.lock().clone();
        state.rng = fastrand::Rng::with_seed(seed);
        FaultyDisk { state: Arc::new(Mutex::new(state)), life: self.life }
    }

    /// All operations from the n-th from now on fail; a write at that point is done in part.
    pub fn crash_at(&self, n: u64) {
        let mut state = self.state.lock();
        state.crash_at = Some(state.operations + n);
    }

    /// The file system forgets that the directory is locked.
    pub fn drop_lock(&self) {
        self.state.lock().locked = 0;
    }

    /// How many operations there were.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// How many more bytes files may grow by; none: any number.
    pub fn set_room(&self, room: Option<u64>) {
        self.state.lock().room = room;
    }

    /// The next `n` syncs of files fail, and what they should have made durable never will be.
    pub fn fail_syncs(&self, n: u64) {
        self.state.lock().fail_syncs = n;
    }

    /// Each sync of a file takes this long.
    pub fn set_sync_delay(&self, delay: Duration) {
        self.state.lock().sync_delay = delay;
    }

    /// How many syncs wait that long just now.
    #[must_use]
    pub fn delayed_syncs(&self) -> u64 {
        self.state.lock().delayed
    }

    /// What a file holds.
    #[must_use]
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state.lock();
        Some(state.inodes.get(state.names.get(name)?)?.now.clone())
    }

    /// Puts a file there, durable.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let mut state = self.state.lock();
        let fresh = state.inodes.keys().last().map_or(1, |last| last + 1);
        let inode = state.names.get(name).copied().unwrap_or(fresh);
        let file = Inode { now: bytes.to_vec(), durable: bytes.to_vec(), changes: Vec::new() };
        state.inodes.insert(inode, file);
        state.names.insert(name.to_owned(), inode);
        state.durable_names.insert(name.to_owned(), inode);
    }

    fn step(&self) -> io::Result<parking_lot::MutexGuard<'_, State>> {
        let mut state = self.state.lock();
        if state.life != self.life {
            return Err(io::Error::other("this process has died"));
        }
        state.operations += 1;
        if state.crash_at.is_some_and(|at| state.operations >= at) {
            return Err(io::Error::other("the crash"));
        }
        Ok(state)
    }

    fn file(&self, inode: u64) -> Arc<dyn DiskFile> {
        Arc::new(FaultyFile { disk: self.clone(), inode })
    }
}

fn apply(names: &mut BTreeMap<String, u64>, entry: &Entry) {
    match entry {
        Entry::Put(name, inode) => {
            names.insert(name.clone(), *inode);
        }
        Entry::Gone(name) => {
            names.remove(name);
        }
    }
}

impl Inode {
    fn write(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
        let offset = offset as usize;
        if bytes.len() < offset + data.len() {
            bytes.resize(offset + data.len(), 0);
        }
        bytes[offset..offset + data.len()].copy_from_slice(data);
    }

    /// Any part of what was not synced gets lost: of each write any of its sectors, of one of them
    /// also a part, and any change of the length.
    fn lose(&mut self, rng: &mut fastrand::Rng) {
        let mut left = self.durable.clone();
        // Now and then all of one kind: that is what is most often seen.
        let keep = [0.0, 0.5, 1.0][rng.usize(..3)];
        for change in std::mem::take(&mut self.changes) {
            match change {
                Change::Length(len) if rng.f64() < keep => left.resize(len as usize, 0),
                Change::Length(_) => {}
                Change::Write(offset, data) => {
                    for (n, sector) in data.chunks(SECTOR).enumerate() {
                        let at = offset + (n * SECTOR) as u64;
                        if rng.f64() < keep {
                            Inode::write(&mut left, at, sector);
                        } else if rng.u8(..8) == 0 {
                            Inode::write(&mut left, at, &sector[..rng.usize(..sector.len())]);
                        }
                    }
                }
            }
        }
        self.now.clone_from(&left);
        self.durable = left;
    }
}

impl Disk for FaultyDisk {
    fn lock(&self, shared: bool) -> io::Result<Box<dyn Any + Send + Sync>> {
        struct Locked(FaultyDisk, u64);
        impl Drop for Locked {
            fn drop(&mut self) {
                let mut state = self.0.state.lock();
                if state.life == self.0.life && state.locked == self.1 {
                    state.locked = 0;
                }
            }
        }
        let mut state = self.step()?;
        if state.locked > 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        if shared {
            return Ok(Box::new(()));
        }
        state.locked = state.operations;
        let lock = state.locked;
        drop(state);
        Ok(Box::new(Locked(self.clone(), lock)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.step()?;
        let mut names: Vec<String> = state
            .names
            .keys()
            .map(|name| name.split('/').next().unwrap_or("").to_owned())
            .collect();
        names.dedup();
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.step()?;
        if let Some(inode) = state.names.get(name).copied() {
            let file = state.inodes.get_mut(&inode).ok_or(ErrorKind::NotFound)?;
            file.now.clear();
            file.changes.push(Change::Length(0));
            return Ok(self.file(inode));
        }
        let inode = state.inodes.keys().last().map_or(1, |last| last + 1);
        state.inodes.insert(inode, Inode::default());
        state.names.insert(name.to_owned(), inode);
        state.entries.push(Entry::Put(name.to_owned(), inode));
        Ok(self.file(inode))
    }

    fn open(&self, name: &str, _: bool) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.step()?;
        let inode = state.names.get(name).copied().ok_or(ErrorKind::NotFound)?;
        Ok(self.file(inode))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.step()?;
        let inode = state.names.remove(from).ok_or(ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), inode);
        // Both names or the new one may be there after a power cut, as POSIX has it.
        state.entries.push(Entry::Put(to.to_owned(), inode));
        state.entries.push(Entry::Gone(from.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.step()?;
        let inode = state.names.remove(name).ok_or(ErrorKind::NotFound)?;
        let freed = state.inodes.get(&inode).map_or(0, |file| file.now.len() as u64);
        state.room = state.room.map(|room| room + freed);
        state.entries.push(Entry::Gone(name.to_owned()));
        Ok(())
    }

    fn make_dir(&self, _: &str) -> io::Result<()> {
        self.step().map(drop)
    }

    fn writable(&self) -> io::Result<()> {
        self.step().map(drop)
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.step()?;
        state.entries.clear();
        state.durable_names = state.names.clone();
        Ok(())
    }

    fn environment(&self) -> Environment {
        let state = self.state.lock();
        Environment {
            boot: Some(state.boot.to_string()),
            mount: Some(state.mount.to_string()),
            directory: "memory".to_owned(),
        }
    }

    fn describe(&self) -> String {
        "memory".to_owned()
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyDisk,
    inode: u64,
}

impl FaultyFile {
    fn with<T>(&self, state: &mut State, run: impl FnOnce(&mut Inode) -> T) -> io::Result<T> {
        // A file that was removed while open is of no interest to anybody, but no error either.
        state.inodes.get_mut(&self.inode).map(run).ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl DiskFile for FaultyFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let step = self.disk.step();
        let died = step.is_err();
        let mut state = match step {
            Ok(state) => state,
            Err(error) => {
                let state = self.disk.state.lock();
                // Only the write at the very moment of the crash does a part of its work.
                if state.life != self.disk.life || state.crash_at != Some(state.operations) {
                    return Err(error);
                }
                state
            }
        };
        let len = self.with(&mut state, |file| file.now.len() as u64)?;
        let mut count = bytes.len();
        if died {
            count = state.rng.usize(..=count);
        }
        let mut full = false;
        if let Some(room) = state.room {
            let may = usize::try_from((len + room).saturating_sub(offset)).unwrap_or(usize::MAX);
            full = may < count;
            count = count.min(may);
            let grows = (offset + count as u64).saturating_sub(len);
            state.room = Some(room - grows.min(room));
        }
        let done = &bytes[..count];
        if !done.is_empty() {
            self.with(&mut state, |file| {
                Inode::write(&mut file.now, offset, done);
                file.changes.push(Change::Write(offset, done.to_vec()));
            })?;
        }
        match (died, full) {
            (true, _) => Err(io::Error::other("the crash")),
            (_, true) => Err(ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.step()?;
        self.with(&mut state, |file| {
            let from = usize::try_from(offset).map_err(|_| ErrorKind::UnexpectedEof)?;
            let end = from.checked_add(bytes.len()).ok_or(ErrorKind::UnexpectedEof)?;
            bytes.copy_from_slice(file.now.get(from..end).ok_or(ErrorKind::UnexpectedEof)?);
            Ok(())
        })?
    }

    fn sync(&self) -> io::Result<()> {
        let delay = self.disk.state.lock().sync_delay;
        if !delay.is_zero() {
            self.disk.state.lock().delayed += 1;
            std::thread::sleep(delay);
            self.disk.state.lock().delayed -= 1;
        }
        let mut state = self.disk.step()?;
        if state.fail_syncs > 0 {
            state.fail_syncs -= 1;
            // As Linux does: the pages count as clean from now on, though they are not on the disk.
            self.with(&mut state, |file| file.changes.clear())?;
            return Err(io::Error::other("the disk failed"));
        }
        self.with(&mut state, |file| {
            for change in std::mem::take(&mut file.changes) {
                match change {
                    Change::Write(offset, data) => Inode::write(&mut file.durable, offset, &data),
                    Change::Length(len) => file.durable.resize(len as usize, 0),
                }
            }
        })
    }

    fn size(&self) -> io::Result<u64> {
        let mut state = self.disk.step()?;
        self.with(&mut state, |file| file.now.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.step()?;
        let (before, room) = (self.with(&mut state, |file| file.now.len() as u64)?, state.room);
        state.room = room.map(|room| room + before.saturating_sub(len));
        self.with(&mut state, |file| {
            file.now.resize(len as usize, 0);
            file.changes.push(Change::Length(len));
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.step()?;
        let before = self.with(&mut state, |file| file.now.len() as u64)?;
        let more = len.saturating_sub(before);
        if let Some(room) = state.room {
            if room < more {
                return Err(ErrorKind::StorageFull.into());
            }
            state.room = Some(room - more);
        }
        self.with(&mut state, |file| {
            let len = file.now.len().max(len as usize);
            file.now.resize(len, 0);
            file.changes.push(Change::Length(len as u64));
        })
    }

    fn stamp(&self) -> io::Result<String> {
        Ok(format!("inode {}", self.inode))
    }
}
