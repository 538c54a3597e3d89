//! The node's disk: where its store comes from, and who looks after the journal while it runs.

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use miso_store::crdt::ReplicaId;
use miso_store::journal::{
    self, Disk, Failed, Journal, OpenError, Options, RealDisk, RecoveredSummary, SyncPolicy,
};
use miso_store::{Config, Store};
use parking_lot::{Condvar, Mutex};

use crate::settings::Settings;
use crate::shared::{Shared, unix_ms};
use crate::within;

/// Checkpoints that nobody asked for take at most a twentieth of the time.
const REST: u32 = 20;

/// How long the checkpoint of the end may take. With the rest of the end it stays below the half
/// minute after which Kubernetes kills.
const LAST_SAVE: Duration = Duration::from_secs(12);
/// How long the last fsync may take.
const LAST_SYNC: Duration = Duration::from_secs(5);

/// Checkpoints, and who wants one.
#[derive(Debug)]
pub(crate) struct Saving {
    wanted: Mutex<bool>,
    wake: Condvar,
    pub(crate) running: AtomicBool,
    /// When the one that is running began, in milliseconds since 1970.
    pub(crate) began_ms: AtomicU64,
    /// When the last one ended well, in seconds since 1970.
    pub(crate) last: AtomicU64,
    /// Whether the last one failed.
    pub(crate) failed: AtomicBool,
    /// How many seconds the last one took; -1 if there was none.
    pub(crate) took: AtomicI64,
    /// Its length.
    pub(crate) bytes: AtomicU64,
    /// How many of the changes since the start it covers; less than none if the start found records that
    /// it does not cover, of one change at least each.
    pub(crate) covers: AtomicI64,
    /// How many there were since the start.
    pub(crate) count: AtomicU64,
    /// How many failed since the last that did not.
    pub(crate) failures: AtomicU64,
    /// One at a time.
    turn: Mutex<()>,
}

impl Saving {
    /// What is known of the checkpoint that the last run left.
    pub(crate) fn recovered(&self, summary: &RecoveredSummary) {
        self.bytes.store(summary.checkpoint_bytes, Ordering::Relaxed);
        self.covers.store(-(summary.log_records as i64), Ordering::Relaxed);
    }
}

impl Default for Saving {
    fn default() -> Saving {
        Saving {
            wanted: Mutex::new(false),
            wake: Condvar::new(),
            running: AtomicBool::new(false),
            began_ms: AtomicU64::new(0),
            last: AtomicU64::new(unix_ms() / 1000),
            failed: AtomicBool::new(false),
            took: AtomicI64::new(-1),
            bytes: AtomicU64::new(0),
            covers: AtomicI64::new(0),
            count: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            turn: Mutex::new(()),
        }
    }
}

fn random() -> u64 {
    RandomState::new().hash_one(0)
}

fn config(settings: &Settings, replica: ReplicaId) -> Config {
    let shards = (settings.threads() * 8).next_power_of_two().min(64);
    Config::new(replica, shards, Arc::new(unix_ms))
}

/// The directory, if the node has one.
fn directory(settings: &Settings) -> Option<String> {
    Some(settings.text("data-dir")).filter(|directory| directory != "none")
}

fn refused(directory: &str, error: &OpenError) -> String {
    format!("data-dir: {directory} {}", sentence(&error.to_string(), directory))
}

/// What an error says of the directory, as the end of a line that begins with its name.
fn sentence(error: &str, directory: &str) -> String {
    error.replace(
        "run `miso-server --repair` on it",
        &format!("run `miso-server --repair {directory}`"),
    )
}

/// The store, as the last run left it, and what was read for that.
///
/// # Errors
/// If the directory cannot be used: a line that says why and what to do.
pub(crate) fn open(settings: &Settings) -> Result<(Store, RecoveredSummary), String> {
    let Some(directory) = directory(settings) else {
        let store = Store::new(config(settings, ReplicaId(random())));
        return Ok((store, RecoveredSummary::default()));
    };
    let failed = |error: std::io::Error| {
        format!(
            "data-dir: cannot use {directory}: {error}; expected a directory to write to, or none"
        )
    };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(Path::new(&directory)).map_err(failed)?);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let options = Options { sync: settings.append_sync(), processors, ..Options::default() };
    let began = Instant::now();
    let recovery = miso_store::recover(&disk, options, |id| config(settings, id), random)
        .map_err(|error| refused(&directory, &error))?;
    if let Some(cut) = &recovery.summary.cut {
        tracing::warn!("{directory}: {cut}");
    }
    if let Some(why) = &recovery.renewed {
        tracing::warn!("{directory}: this node goes on under a new incarnation: {why}");
    }
    let records = recovery.summary.checkpoint_records + recovery.summary.log_records;
    if records > 0 {
        let took = began.elapsed();
        tracing::info!("{directory}: {records} records read in {:.3} s", took.as_secs_f64());
    }
    Ok((recovery.store, recovery.summary))
}

/// Verifies a directory and prints what is found.
///
/// # Errors
/// If something is wrong with it.
pub(crate) fn check(directory: &Path) -> Result<(), String> {
    let (name, disk) = existing(directory)?;
    let report = looked_at(&disk).map_err(|error| refused(&name, &error))?;
    print(&report, &name);
    if report.is_sound() {
        Ok(())
    } else {
        Err(format!("{name} is damaged; mend it with `miso-server --repair {name}`"))
    }
}

/// Mends a directory as far as it can be, and prints what was done.
///
/// # Errors
/// If it could not be mended.
pub(crate) fn repair(directory: &Path) -> Result<(), String> {
    let (name, disk) = existing(directory)?;
    let report = miso_store::repair(&disk).map_err(|error| refused(&name, &error))?;
    print(&report, &name);
    // Files of others are not touched, and are in the way still; and of a record that checks but makes
    // no sense, no repair can tell what is right.
    let after = looked_at(&disk).map_err(|error| refused(&name, &error))?;
    match after.problems.first() {
        None if report.is_sound() => Ok(()),
        None => {
            println!(
                "{name} is mended: its node starts as a new incarnation, and asks its peers for the rest"
            );
            Ok(())
        }
        Some(problem) => Err(format!("{name} cannot be used yet: {problem}")),
    }
}

/// What a start would find.
fn looked_at(disk: &Arc<dyn Disk>) -> Result<journal::Report, OpenError> {
    miso_store::check(disk, Config::new(ReplicaId(0), 1, Arc::new(unix_ms)), 1)
}

fn existing(directory: &Path) -> Result<(String, Arc<dyn Disk>), String> {
    let name = directory.display().to_string();
    let disk = RealDisk::existing(directory).map_err(|error| format!("{name}: {error}"))?;
    Ok((name, Arc::new(disk)))
}

fn print(report: &journal::Report, name: &str) {
    for line in &report.notes {
        println!("{line}");
    }
    for problem in &report.problems {
        println!("{}", sentence(problem, name));
    }
    for line in &report.actions {
        println!("{line}");
    }
    if report.is_sound() {
        println!("{name} is sound");
    }
}

/// Looks after the journal in a thread of its own, until the process ends.
///
/// # Errors
/// If the thread cannot be started.
pub(crate) fn start(shared: &Arc<Shared>) -> std::io::Result<()> {
    if shared.store.journal().is_none() {
        return Ok(());
    }
    let shared = Arc::clone(shared);
    std::thread::Builder::new().name("miso-checkpoint".into()).spawn(move || keep(&shared))?;
    Ok(())
}

fn keep(shared: &Shared) {
    let saving = &shared.saving;
    let mut rest_until = Instant::now();
    loop {
        let mut wanted = saving.wanted.lock();
        if !*wanted {
            saving.wake.wait_for(&mut wanted, Duration::from_secs(1));
        }
        let asked = std::mem::take(&mut *wanted);
        drop(wanted);
        let Some(journal) = shared.store.journal() else { return };
        let due = journal.checkpoint_due(saving.bytes.load(Ordering::Relaxed));
        if asked || (due && Instant::now() >= rest_until) {
            let began = Instant::now();
            if let Err(failed) = save(shared) {
                tracing::warn!("the checkpoint failed: {failed}");
                // The reason may pass; until then once a second is enough.
                std::thread::sleep(Duration::from_secs(1));
            }
            rest_until = Instant::now() + began.elapsed() * REST;
        }
    }
}

/// Writes a checkpoint now. Blocks.
///
/// # Errors
/// If it could not be written; what was there before stays.
pub(crate) fn save(shared: &Shared) -> Result<(), Failed> {
    let saving = &shared.saving;
    let _turn = saving.turn.lock();
    let began = Instant::now();
    saving.began_ms.store(unix_ms(), Ordering::Relaxed);
    saving.running.store(true, Ordering::Relaxed);
    let changes = shared.store.journal().map_or(0, |journal| journal.stats().changes);
    let saved = shared.store.checkpoint();
    saving.running.store(false, Ordering::Relaxed);
    saving.took.store(began.elapsed().as_secs() as i64, Ordering::Relaxed);
    saving.failed.store(saved.is_err(), Ordering::Relaxed);
    if saved.is_err() {
        saving.failures.fetch_add(1, Ordering::Relaxed);
    }
    let summary = saved?;
    saving.failures.store(0, Ordering::Relaxed);
    saving.count.fetch_add(1, Ordering::Relaxed);
    saving.last.store(unix_ms() / 1000, Ordering::Relaxed);
    if let Some(summary) = summary {
        saving.bytes.store(summary.bytes, Ordering::Relaxed);
        saving.covers.store(changes as i64, Ordering::Relaxed);
    }
    Ok(())
}

/// Asks for a checkpoint in the background.
pub(crate) fn save_soon(shared: &Shared) {
    *shared.saving.wanted.lock() = true;
    shared.saving.wake.notify_one();
}

/// Ends the journal in order: all is durable, and the next start knows it. A disk that hangs is not
/// waited for: what was answered is in the journal, and a start without the last checkpoint only
/// takes longer.
///
/// # Errors
/// If the next start will find the journal as if the process had died; why.
pub(crate) fn close(shared: &Arc<Shared>) -> Result<(), String> {
    if shared.store.journal().is_none() {
        return Ok(());
    }
    let saved = Arc::clone(shared);
    match within(LAST_SAVE, move || save(&saved)) {
        Some(Ok(())) => {}
        Some(Err(failed)) => tracing::warn!("no checkpoint at the end: {failed}"),
        None => tracing::warn!("no checkpoint at the end: it takes longer than {LAST_SAVE:?}"),
    }
    let closed = Arc::clone(shared);
    let why = match within(LAST_SYNC, move || closed.store.journal().map(Journal::close)) {
        Some(None | Some(Ok(()))) => return Ok(()),
        Some(Some(Err(failed))) => failed.to_string(),
        None => format!("the disk does not answer within {LAST_SYNC:?}"),
    };
    Err(format!("the journal did not end in order: {why}"))
}

/// Whether a write may run now.
///
/// # Errors
/// The line that says why not, in Redis's words.
pub(crate) fn admit(shared: &Shared) -> Result<(), String> {
    let Some(journal) = shared.store.journal() else { return Ok(()) };
    journal.admit().map_err(|failed| format!("MISCONF Errors writing to the AOF file: {failed}"))
}

/// What `appendfsync` says.
pub(crate) fn policy(text: &str) -> SyncPolicy {
    text.parse().unwrap_or(SyncPolicy::EverySecond)
}
