//! From a directory to a running journal: look, replay, start.
//!
//! Nothing is changed before [`Recovered::start`], but that temporary files go.

use std::any::Any;
use std::io;
use std::sync::Arc;

use super::checkpoint::footer;
use super::directory::{Files, checkpoint_name, segment_name};
use super::disk::{Disk, DiskFile, Environment};
use super::error::OpenError;
use super::log::opening::{Opening, Unopened};
use super::log::{Journal, Start};
use super::meta::{Cut, Identity, RecoveredSummary, State, Why};
use super::policy::Options;
use super::record::{
    BadHead, CHECKPOINT_MAGIC, FILE_HEAD, FOOTER, FileHead, LOG_MAGIC, Next, OWN_KINDS,
    RECORD_HEAD, Reader, Seed, search, zeros_from,
};
use super::reserve::{Reserve, is_full};

/// What a start writes at most.
const START_BYTES: u64 = 64 << 10;

impl Journal {
    /// Locks the directory and looks what is in it. Then [`Recovery::replay`], [`Recovered::start`].
    ///
    /// # Errors
    /// It cannot be used, and why.
    pub fn open(disk: Arc<dyn Disk>) -> Result<Recovery, OpenError> {
        // Before anything is made in what may be somebody else's directory.
        check_files(&list(&*disk)?)?;
        let lock = disk.lock(false).map_err(|error| OpenError::io("lock", error))?;
        let files = list(&*disk)?;
        check_files(&files)?;
        for name in &files.temporary {
            disk.remove(name).map_err(|error| OpenError::io(name, error))?;
        }
        let identity = Identity::read(&*disk)?;
        Ok(Recovery { disk, lock, files, identity })
    }
}

fn list(disk: &dyn Disk) -> Result<Files, OpenError> {
    Files::list(disk).map_err(|error| OpenError::io("the directory", error))
}

fn check_files(files: &Files) -> Result<(), OpenError> {
    if let Some(name) = files.foreign.first() {
        return Err(OpenError::Foreign(name.clone()));
    }
    // A checkpoint alone is a backup to start from; a log alone has lost its salt.
    if !files.identity && !files.segments.is_empty() {
        return Err(OpenError::damaged(super::meta::IDENTITY, 0, "it is missing"));
    }
    Ok(())
}

/// A locked directory that has not been read.
pub struct Recovery {
    disk: Arc<dyn Disk>,
    lock: Box<dyn Any + Send + Sync>,
    files: Files,
    identity: Option<Identity>,
}

impl std::fmt::Debug for Recovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recovery").field("files", &self.files).finish_non_exhaustive()
    }
}

/// All has been replayed; the journal may start.
pub struct Recovered {
    /// The identity of the last run; none in a new directory, or beside a checkpoint that was restored.
    pub identity: Option<Identity>,
    /// What was found.
    pub summary: RecoveredSummary,
    /// Where this is.
    pub environment: Environment,
    disk: Arc<dyn Disk>,
    lock: Box<dyn Any + Send + Sync>,
    read: Read,
}

impl std::fmt::Debug for Recovered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recovered").field("summary", &self.summary).finish_non_exhaustive()
    }
}

/// A place in the log that cannot be read.
struct Bad {
    /// In the list of segments.
    index: usize,
    offset: u64,
    what: String,
}

/// What is known while the log is read.
struct LogReader<'a> {
    disk: &'a dyn Disk,
    segments: Vec<u64>,
    /// The number of the next record.
    next: u64,
    /// Records up to here were durable, as later heads and marks say.
    sound: u64,
    salt: u64,
    /// The newest segment that is known to have been begun.
    begun: u64,
    kernel_survived: bool,
}

impl Recovery {
    /// The identity of the last run.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Gives all records of the newest checkpoint and then of the log to `visit`, with their kinds.
    /// Memory is bounded by a window and the longest record. What `visit` says in its error is
    /// reported with file and offset.
    ///
    /// # Errors
    /// Something is damaged, or cannot be read or made sense of. Some records may have been visited.
    pub fn replay(
        self,
        mut visit: impl FnMut(u8, &[u8]) -> Result<(), String>,
    ) -> Result<Recovered, OpenError> {
        let Recovery { disk, lock, files, identity } = self;
        let environment = disk.environment();
        let read = Read::all(&*disk, &files, identity.as_ref(), &mut visit)?;
        Ok(Recovered { identity, summary: read.summary.clone(), environment, disk, lock, read })
    }
}

/// Replays to `visit`: what would be found, or be in the way. Changes nothing.
pub(super) fn examine(
    disk: &dyn Disk,
    files: &Files,
    visit: &mut Visit<'_>,
) -> Result<RecoveredSummary, OpenError> {
    let identity = Identity::read(disk)?;
    Ok(Read::all(disk, files, identity.as_ref(), visit)?.summary)
}

/// Takes a record, its kind and its payload, or says what is wrong with it.
pub type Visit<'a> = dyn FnMut(u8, &[u8]) -> Result<(), String> + 'a;

/// What reading a directory has shown.
struct Read {
    summary: RecoveredSummary,
    /// The first record to be written.
    next: u64,
    /// Records up to here are known to be durable.
    sound: u64,
    /// The segment that may not be durable as it was read, and how long it is to be.
    last_segment: Option<(String, Option<u64>)>,
    /// Segments of which nothing is left, or nothing is needed.
    superfluous: Vec<String>,
}

impl Read {
    fn all(
        disk: &dyn Disk,
        files: &Files,
        identity: Option<&Identity>,
        visit: &mut Visit<'_>,
    ) -> Result<Read, OpenError> {
        let environment = disk.environment();
        let mut summary = RecoveredSummary::default();
        let begin = match files.checkpoints.last() {
            Some(first) => {
                read_checkpoint(disk, *first, &mut summary, visit)?;
                *first
            }
            None => 1,
        };
        let (superfluous, segments): (Vec<u64>, Vec<u64>) =
            files.segments.iter().partition(|first| **first < begin);
        let mut superfluous: Vec<String> = superfluous.into_iter().map(segment_name).collect();
        let older = files.checkpoints.iter().filter(|first| **first < begin);
        superfluous.extend(older.map(|first| checkpoint_name(*first)));
        if identity.is_some_and(|identity| identity.state != State::New)
            && segments.first() != Some(&begin)
        {
            return Err(OpenError::damaged(&segment_name(begin), 0, "it is missing"));
        }
        let mut log = LogReader {
            disk,
            segments,
            next: begin,
            sound: identity.map_or(0, Identity::sound),
            salt: identity.map_or(0, |identity| identity.salt),
            begun: identity.map_or(0, Identity::begun),
            kernel_survived: identity.is_some_and(|id| id.kernel_survived(&environment)),
        };
        let mut last_segment = None;
        let bad = log.read(&mut summary, &mut last_segment, visit)?;
        if let Some(bad) = bad {
            let (cut, more) = log.judge(&bad)?;
            superfluous.extend(more);
            if bad.offset > 0 {
                last_segment = Some((segment_name(log.segments[bad.index]), Some(bad.offset)));
            }
            summary.cut = cut;
        } else if log.begun > log.segments.last().copied().unwrap_or(0) {
            let (file, what) = (segment_name(log.begun), "it is missing".to_owned());
            summary.cut = Some(Cut { file, offset: 0, bytes: 0, what });
        }
        let LogReader { next, sound, .. } = log;
        if sound >= next {
            let what = format!("the log ends at record {}, but {sound} was durable", next - 1);
            let last = log.segments.last().copied().unwrap_or(begin);
            return Err(OpenError::damaged(&segment_name(last), 0, &what));
        }
        summary.last = next - 1;
        Ok(Read { summary, next, sound, last_segment, superfluous })
    }
}

/// Reads a checkpoint to its end.
pub(super) fn read_checkpoint(
    disk: &dyn Disk,
    first: u64,
    summary: &mut RecoveredSummary,
    visit: &mut Visit<'_>,
) -> Result<(), OpenError> {
    let name = checkpoint_name(first);
    let io = |error| OpenError::io(&name, error);
    let file = disk.open(&name, false).map_err(io)?;
    let head = FileHead::read(&*file, CHECKPOINT_MAGIC).map_err(io)?;
    let head = head.map_err(|bad| bad.of(&name))?;
    if head.first != first {
        return Err(OpenError::damaged(&name, 0, "its head and its name differ"));
    }
    let len = file.size().map_err(io)?;
    let mut reader = Reader::new(file, Seed::new(head.salt)).map_err(io)?;
    let (mut records, mut crc) = (0, 0);
    loop {
        let at = reader.at();
        let what = match reader.next().map_err(io)? {
            Next::Record(record) if record.seq != records + 1 => "a record is missing",
            Next::Record(record) if record.kind < OWN_KINDS => {
                visit(record.kind, record.payload).map_err(|what| OpenError::Refused {
                    file: name.clone(),
                    offset: at,
                    what,
                })?;
                records += 1;
                crc = crc32c::crc32c_append(crc, record.bytes);
                continue;
            }
            Next::Record(record) if record.kind == FOOTER => {
                if record.payload != footer(records, crc) {
                    "its last record does not fit the others"
                } else if reader.at() != len {
                    "something follows its last record"
                } else {
                    summary.checkpoint_records += records;
                    summary.checkpoint_bytes += len;
                    return Ok(());
                }
            }
            Next::Record(_) => "a record of an unknown kind",
            Next::End => "its last record is missing",
            Next::Bad(what) => what,
        };
        return Err(OpenError::damaged(&name, at, what));
    }
}

impl LogReader<'_> {
    /// Reads until the end, or to the first place that cannot be read.
    fn read(
        &mut self,
        summary: &mut RecoveredSummary,
        last_segment: &mut Option<(String, Option<u64>)>,
        visit: &mut Visit<'_>,
    ) -> Result<Option<Bad>, OpenError> {
        for index in 0..self.segments.len() {
            let first = self.segments[index];
            let name = segment_name(first);
            let io = |error| OpenError::io(&name, error);
            let bad = |offset, what: &str| Ok(Some(Bad { index, offset, what: what.to_owned() }));
            let file = self.disk.open(&name, false).map_err(io)?;
            let head = match FileHead::read(&*file, LOG_MAGIC).map_err(io)? {
                Ok(head) if head.first != first => return bad(0, "its head and its name differ"),
                Ok(head) => head,
                Err(BadHead::Damaged(what)) => return bad(0, &what),
                Err(newer) => return Err(newer.of(&name)),
            };
            if first > self.next {
                return bad(
                    0,
                    &format!("the records from {} to {} are missing", self.next, first - 1),
                );
            }
            self.sound = self.sound.max(head.sound);
            let mut reader = Reader::new(file, Seed::new(head.salt)).map_err(io)?;
            let mut expected = first;
            loop {
                let at = reader.at();
                let record = match reader.next().map_err(io)? {
                    Next::Record(record) => record,
                    Next::End => break,
                    Next::Bad(what) => return bad(at, what),
                };
                if record.seq != expected {
                    return bad(at, "a record has another number than it should");
                }
                expected += 1;
                if record.seq < self.next {
                    continue;
                }
                if let Some(sound) = record.mark() {
                    self.sound = self.sound.max(sound);
                } else if record.kind < OWN_KINDS {
                    visit(record.kind, record.payload).map_err(|what| OpenError::Refused {
                        file: name.clone(),
                        offset: at,
                        what,
                    })?;
                    summary.log_records += 1;
                } else {
                    return bad(at, "a record of an unknown kind");
                }
                self.next = expected;
                summary.log_bytes += record.bytes.len() as u64;
            }
            *last_segment = Some((name, None));
        }
        Ok(None)
    }

    /// Torn tail or damage? See the module's documentation. Gives what is cut, and the
    /// segments of which nothing is left.
    fn judge(&self, bad: &Bad) -> Result<(Option<Cut>, Vec<String>), OpenError> {
        let (mut sound, mut later, mut whole) = (self.sound, false, true);
        let (mut bytes, mut superfluous) = (0, Vec::new());
        let file_of = |first: u64| -> Result<Arc<dyn DiskFile>, OpenError> {
            let name = segment_name(first);
            self.disk.open(&name, false).map_err(|error| OpenError::io(&name, error))
        };
        let mut total = 0;
        for first in &self.segments[bad.index..] {
            total += file_of(*first)?.size().map_err(|error| OpenError::io("journal", error))?;
        }
        // No record that is left can have a greater number.
        let last = self.segments.last().copied().unwrap_or(0).max(self.next);
        let numbers = self.next..last.saturating_add(total / RECORD_HEAD as u64 + 2);
        for (n, first) in self.segments[bad.index..].iter().enumerate() {
            let name = segment_name(*first);
            let io = |error| OpenError::io(&name, error);
            let file = file_of(*first)?;
            let mut salt = self.salt;
            if let Ok(head) = FileHead::read(&*file, LOG_MAGIC).map_err(io)? {
                salt = head.salt;
                sound = sound.max(head.sound);
            }
            let from = if n == 0 { bad.offset.max(FILE_HEAD as u64) } else { FILE_HEAD as u64 };
            let len = file.size().map_err(io)?;
            // Not shorter than `from`, also where the file is.
            bytes += zeros_from(&*file, from, len).map_err(io)? - from;
            let mut found = |_: u64, record: super::record::Record<'_>| {
                later = true;
                sound = sound.max(record.mark().unwrap_or(0));
                io::Result::Ok(())
            };
            let seed = Seed::new(salt);
            whole &= search(&file, seed, from, numbers.clone(), &mut found).map_err(io)?;
            let shortened = n == 0 && bad.offset > 0;
            // The segment that begins with the next record is made anew anyway, in one step.
            if !shortened && *first != self.next {
                superfluous.push(name);
            }
        }
        let file = segment_name(self.segments[bad.index]);
        if sound >= self.next || (later && self.kernel_survived) || !whole {
            return Err(OpenError::damaged(&file, bad.offset, &bad.what));
        }
        // No byte of a record: a segment that was about to begin. One that had been begun was durable,
        // head and all, so there may have been records that are gone with its head.
        let lost = bytes > 0 || self.segments[bad.index..].iter().any(|first| *first <= self.begun);
        let cut = Cut { file, offset: bad.offset, bytes, what: bad.what.clone() };
        Ok((lost.then_some(cut), superfluous))
    }
}

impl Recovered {
    /// Whether the node may keep its incarnation; in a new directory it may begin.
    ///
    /// # Errors
    /// It may not, and why.
    pub fn may_keep(&self) -> Result<(), Why> {
        match &self.identity {
            None => Ok(()),
            Some(identity) => identity.may_keep(&self.environment, &self.summary),
        }
    }

    /// Cuts what is to be cut and begins to write as `identity`: the one that was found, that one
    /// renewed, or in a new directory a new one. It is durable when this returns, unless the disk is
    /// full: then the journal starts and takes no writes until there is room.
    ///
    /// After a failed fsync in the last run the journal starts broken: it needs a checkpoint first.
    ///
    /// # Errors
    /// The disk says no.
    pub fn start(self, mut identity: Identity, options: Options) -> Result<Journal, OpenError> {
        let Recovered { identity: old, summary, environment, disk, lock, read } = self;
        let faulted = old.as_ref().is_some_and(|old| old.state == State::Faulted);
        let before = match old {
            None => {
                identity.state = State::New;
                Some(identity.clone())
            }
            Some(mut old) => {
                identity.salt = old.salt;
                let renewed = identity.replica != old.replica;
                // The old end stays on record until what it asks for has been done.
                old.replica = identity.replica;
                old.former.clone_from(&identity.former);
                renewed.then_some(old)
            }
        };
        let next = read.next;
        // After a failed fsync, the next one's success says nothing.
        let sound = if faulted { read.sound } else { next - 1 };
        identity.state = if faulted { State::Faulted } else { State::Running };
        identity.boot = environment.boot;
        identity.mount = environment.mount;
        identity.segment = next;
        identity.policy = options.sync;
        let mut opening = Opening {
            before,
            superfluous: read.superfluous,
            last_segment: read.last_segment,
            head: FileHead { first: next, sound, salt: identity.salt },
            file: None,
            identity: identity.clone(),
        };
        let mut reserve = Reserve::found(&*disk, options.reserve_bytes);
        reserve.aim(summary.checkpoint_bytes);
        let mut opened = opening.open(&*disk);
        if let Err((_, error)) = &opened
            && is_full(error)
            && reserve.give(&*disk, START_BYTES)
        {
            opened = opening.open(&*disk);
        }
        let full = |error: &io::Error| Some(format!("the journal cannot be written: {error}"));
        let (file, opening, full): (Arc<dyn DiskFile>, _, _) = match opened {
            Ok(file) => (file, None, reserve.fill(&*disk).err().as_ref().and_then(full)),
            Err((_, error)) if is_full(&error) => (Arc::new(Unopened), Some(opening), full(&error)),
            Err((name, error)) => return Err(OpenError::io(&name, error)),
        };
        let broken = faulted.then(|| "an fsync had failed before the restart".to_owned());
        let log_bytes = summary.log_bytes;
        Ok(Journal::start(Start {
            disk,
            lock,
            identity,
            options,
            file,
            next,
            broken,
            opening,
            full,
            reserve,
            sound,
            log_bytes,
        }))
    }
}
