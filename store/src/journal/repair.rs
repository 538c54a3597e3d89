//! `--check-data` and `--repair`: looking at a directory that nobody uses, and saving what is good.
//!
//! Records are joins: any of them may be applied in any order, also when others are missing. So a
//! repair reads every record that checks, from all checkpoints and segments, and puts them into one
//! new checkpoint, after which an empty log begins. Only when that is durable do the old files go:
//! the damaged ones to `quarantine/`, where nothing ever looks again. The node has lost something, so
//! it gets a new incarnation, and peers tell it what is missing.
//!
//! A record that claims something of others, as "all up to here is there", is true no longer. So the
//! records that were saved stand between two of a kind that the caller names, with the payloads 1
//! and 0, which say so.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::Arc;

use super::checkpoint::CheckpointFile;
use super::directory::{Files, QUARANTINE, checkpoint_name, segment_name};
use super::disk::{Disk, DiskFile};
use super::error::OpenError;
use super::log::create_segment;
use super::meta::{IDENTITY, Identity, State};
use super::record::{
    BadHead, CHECKPOINT_MAGIC, FOOTER, FileHead, LOG_MAGIC, Next, OWN_KINDS, RECORD_HEAD, Reader,
    Record, Seed, search,
};
use super::recover::{Visit, examine};

/// What was found, and done, in lines to print.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What there is.
    pub notes: Vec<String>,
    /// What is wrong.
    pub problems: Vec<String>,
    /// What was done about it.
    pub actions: Vec<String>,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

/// One file, looked at to its end.
struct Looked {
    name: String,
    records: u64,
    /// Greater than all numbers of records in it, and than the one in its name: the new files must
    /// not take its name.
    next: u64,
    bad: Option<String>,
}

/// Reads all of a directory and says how it is. Writes nothing. Each record is given to `replay`, as a
/// start would do it: what that refuses is a problem as well.
///
/// # Errors
/// It is in use, cannot be read, or was written by a newer version.
pub fn check(disk: &Arc<dyn Disk>, replay: &mut Visit<'_>) -> Result<Report, OpenError> {
    let _lock = disk.lock(true).map_err(|error| OpenError::io("lock", error))?;
    let files = Files::list(&**disk).map_err(|error| OpenError::io("the directory", error))?;
    let mut report = Report::default();
    for name in &files.foreign {
        report.problems.push(format!("{name}: no file of a MISO data directory"));
    }
    if let Err(error) = disk.writable() {
        report.problems.push(format!("the directory cannot be written to: {error}"));
    }
    let salt = look_at_identity(&**disk, &files, &mut report)?;
    let looked = look(&**disk, &files, salt, &mut |_, _| Ok(()))?;
    for file in &looked {
        let Looked { name, records, bad, .. } = file;
        report.notes.push(match bad {
            None => format!("{name}: {records} records"),
            Some(bad) => format!("{name}: {records} records can be read; {bad}"),
        });
    }
    // What recovery would say: only it can tell a torn tail from damage.
    if report.problems.is_empty() {
        match examine(&**disk, &files, replay) {
            Ok(summary) => report.notes.extend(summary.cut.map(|cut| format!("torn tail: {cut}"))),
            Err(error) => report.problems.push(error.to_string()),
        }
    }
    Ok(report)
}

/// Saves what is good in a directory, if something in it is damaged. `lost` is the kind of the records
/// that are put around it.
///
/// # Errors
/// It is in use, cannot be read or written, or was written by a newer version. What was there is then
/// still there.
pub fn repair(disk: &Arc<dyn Disk>, lost: u8) -> Result<Report, OpenError> {
    let report = check(disk, &mut |_, _| Ok(()))?;
    if report.is_sound() {
        return Ok(report);
    }
    let _lock = disk.lock(false).map_err(|error| OpenError::io("lock", error))?;
    repair_locked(&**disk, lost, report)
}

fn repair_locked(disk: &dyn Disk, lost: u8, mut report: Report) -> Result<Report, OpenError> {
    let io = |error| OpenError::io("repair", error);
    let files = Files::list(disk).map_err(io)?;
    if files.segments.is_empty() && files.checkpoints.is_empty() && !files.identity {
        return Ok(report);
    }
    let mut aside = Vec::new();
    let salt = known_salt(disk, &files).map_err(io)?;
    let mut identity = match Identity::read(disk) {
        Ok(Some(identity)) => identity,
        Ok(None) => Identity::new(0, salt),
        Err(OpenError::Damaged { .. }) => {
            aside.push(IDENTITY.to_owned());
            Identity::new(0, salt)
        }
        Err(error) => return Err(error),
    };
    // Numbers are used once, so the first look is for the greatest.
    let looked = look(disk, &files, salt, &mut |_, _| Ok(()))?;
    let next = looked.iter().map(|file| file.next).max().unwrap_or(1);
    let mut checkpoint = CheckpointFile::create(disk, next, identity.salt).map_err(io)?;
    let mark = |checkpoint: &mut CheckpointFile, begins: bool| {
        checkpoint.put(lost, |out| out.push(u8::from(begins))).map_err(io)
    };
    mark(&mut checkpoint, true)?;
    look(disk, &files, salt, &mut |kind, payload| {
        // Those of an earlier repair are within these.
        if kind == lost {
            return Ok(());
        }
        checkpoint.put(kind, |out| out.extend_from_slice(payload))
    })?;
    mark(&mut checkpoint, false)?;
    let head = FileHead { first: next, sound: next - 1, salt: identity.salt };
    create_segment(disk, head).map_err(io)?;
    disk.make_dir(QUARANTINE).map_err(io)?;
    if let Some(name) = aside.pop() {
        set_aside(disk, &name, &mut report).map_err(io)?;
    }
    identity.state = State::Repaired;
    identity.write(disk).map_err(io)?;
    let summary = checkpoint.finish(disk, |_| false).map_err(io)?;
    let saved = summary.records - 2;
    report.actions.push(format!("{}: {saved} records saved", checkpoint_name(next)));
    for file in &looked {
        if file.bad.is_some() {
            set_aside(disk, &file.name, &mut report).map_err(io)?;
        } else {
            disk.remove(&file.name).map_err(io)?;
        }
    }
    disk.sync_dir().map_err(io)?;
    for name in &files.foreign {
        report.actions.push(format!("{name}: left where it is; move it away"));
    }
    Ok(report)
}

/// Moves a file into the quarantine, under a name that none there has.
fn set_aside(disk: &dyn Disk, name: &str, report: &mut Report) -> io::Result<()> {
    for n in 0.. {
        let to = if n == 0 {
            format!("{QUARANTINE}/{name}")
        } else {
            format!("{QUARANTINE}/{name}.{n}")
        };
        if disk.open(&to, false).is_ok() {
            continue;
        }
        disk.rename(name, &to)?;
        report.actions.push(format!("{name}: moved to {to}"));
        break;
    }
    Ok(())
}

fn look_at_identity(disk: &dyn Disk, files: &Files, report: &mut Report) -> Result<u64, OpenError> {
    match Identity::read(disk) {
        Ok(Some(identity)) => {
            let Identity { replica, state, policy, .. } = &identity;
            report.notes.push(format!(
                "{IDENTITY}: replica {replica:016x}, {} former, {state:?}, appendfsync {policy}",
                identity.former.len()
            ));
            return Ok(identity.salt);
        }
        Ok(None) if files.segments.is_empty() => {}
        Ok(None) => report.problems.push(format!("{IDENTITY}: it is missing")),
        Err(error @ OpenError::Newer { .. }) => return Err(error),
        Err(error) => report.problems.push(error.to_string()),
    }
    Ok(known_salt(disk, files).unwrap_or(0))
}

/// The directory's secret, from wherever it can still be read; a new one if from nowhere.
fn known_salt(disk: &dyn Disk, files: &Files) -> io::Result<u64> {
    if let Ok(Some(identity)) = Identity::read(disk) {
        return Ok(identity.salt);
    }
    let segments = files.segments.iter().map(|first| (segment_name(*first), LOG_MAGIC));
    let checkpoints =
        files.checkpoints.iter().map(|first| (checkpoint_name(*first), CHECKPOINT_MAGIC));
    for (name, magic) in segments.chain(checkpoints) {
        if let Ok(head) = FileHead::read(&*disk.open(&name, false)?, magic)? {
            return Ok(head.salt);
        }
    }
    Ok(RandomState::new().build_hasher().finish())
}

/// Looks at all files, oldest first, and gives every record that checks to `keep`.
fn look(
    disk: &dyn Disk,
    files: &Files,
    salt: u64,
    keep: &mut dyn FnMut(u8, &[u8]) -> io::Result<()>,
) -> Result<Vec<Looked>, OpenError> {
    let checkpoints = files.checkpoints.iter().map(|first| (checkpoint_name(*first), *first, true));
    let segments = files.segments.iter().map(|first| (segment_name(*first), *first, false));
    let mut all = Vec::new();
    for (name, first, is_checkpoint) in checkpoints.chain(segments) {
        let io = |error| OpenError::io(&name, error);
        let file = disk.open(&name, false).map_err(io)?;
        let next = first.saturating_add(1);
        let mut looked = Looked { name: name.clone(), records: 0, next, bad: None };
        looked.read(&file, first, is_checkpoint, salt, keep)?;
        all.push(looked);
    }
    Ok(all)
}

impl Looked {
    fn read(
        &mut self,
        file: &Arc<dyn DiskFile>,
        first: u64,
        is_checkpoint: bool,
        salt: u64,
        keep: &mut dyn FnMut(u8, &[u8]) -> io::Result<()>,
    ) -> Result<(), OpenError> {
        let name = self.name.clone();
        let io = |error| OpenError::io(&name, error);
        let magic = if is_checkpoint { CHECKPOINT_MAGIC } else { LOG_MAGIC };
        let (mut expected, mut ended) = (if is_checkpoint { 1 } else { first }, !is_checkpoint);
        let mut count = |looked: &mut Looked, record: Record<'_>| {
            if !is_checkpoint {
                looked.next = looked.next.max(record.seq.saturating_add(1));
            }
            if record.kind < OWN_KINDS {
                looked.records += 1;
                keep(record.kind, record.payload)?;
            }
            io::Result::Ok(())
        };
        let salt = match FileHead::read(&**file, magic).map_err(io)? {
            Ok(head) if head.first == first => head.salt,
            Ok(head) => {
                self.bad = Some("its head and its name differ".to_owned());
                head.salt
            }
            Err(BadHead::Damaged(what)) => {
                self.bad = Some(what);
                salt
            }
            Err(newer) => return Err(newer.of(&self.name)),
        };
        let mut reader = Reader::new(Arc::clone(file), Seed::new(salt)).map_err(io)?;
        let what = loop {
            match reader.next().map_err(io)? {
                Next::Record(record) if record.seq == expected => {
                    expected += 1;
                    ended |= record.kind == FOOTER;
                    count(self, record).map_err(io)?;
                }
                Next::Record(_) => break "a record has another number than it should",
                Next::End if ended => return Ok(()),
                Next::End => break "its last record is missing",
                Next::Bad(what) => break what,
            }
        };
        let at = reader.at();
        self.bad.get_or_insert_with(|| format!("offset {at}: {what}"));
        let most = expected.saturating_add(file.size().map_err(io)? / RECORD_HEAD as u64 + 2);
        let mut found = |_: u64, record: Record<'_>| count(self, record);
        if !search(file, Seed::new(salt), at, expected..most, &mut found).map_err(io)? {
            self.bad = Some("it could not be searched to its end".to_owned());
        }
        Ok(())
    }
}
