//! The node's disk: opens the store from it, and writes checkpoints while the node runs.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use miso_store::crdt::ReplicaId;
use miso_store::journal::{
    self, Disk, Failed, Journal, OpenError, Options, RealDisk, RecoveredSummary,
};
use miso_store::{Config, Store};

use crate::clock::unix_ms;
use crate::node::Node;
use crate::process::within;
use crate::progress::Shown;
use crate::random;
use crate::settings::Settings;

/// Checkpoints that no client asked for take at most a twentieth of the time.
const REST: u32 = 20;

/// How long the last checkpoint may take. The whole end stays below 30 seconds, after which Kubernetes
/// kills the process.
const LAST_SAVE: Duration = Duration::from_secs(12);
/// How long the last fsync may take.
const LAST_SYNC: Duration = Duration::from_secs(5);

fn config(settings: &Settings, replica: ReplicaId) -> Config {
    let shards = (settings.threads() * 8).next_power_of_two().min(64);
    Config::new(replica, shards, Arc::new(unix_ms))
}

fn refused(directory: &str, error: &OpenError) -> String {
    format!("data-dir: {directory} {}", sentence(&error.to_string(), directory))
}

/// An error about the directory, as the end of a line that begins with the directory's name.
fn sentence(error: &str, directory: &str) -> String {
    error.replace(
        "run `miso-server --repair` on it",
        &format!("run `miso-server --repair {directory}`"),
    )
}

/// How far the reading of a directory has come.
#[derive(Debug)]
pub(crate) struct Progress {
    disk: Arc<RealDisk>,
    /// How many bytes are to be read.
    total: u64,
}

impl Progress {
    /// Of a reading that has not begun and goes over all of the directory at most `passes` times.
    fn new(disk: &Arc<RealDisk>, passes: u64) -> std::io::Result<Arc<Progress>> {
        let total = journal::data_bytes(&**disk)?.saturating_mul(passes);
        Ok(Arc::new(Progress { disk: Arc::clone(disk), total }))
    }

    /// How many bytes have been read, and are to be read in all.
    fn bytes(&self) -> (u64, u64) {
        (self.disk.read_bytes().min(self.total), self.total)
    }

    /// Shows it while the result lives, if a terminal looks on.
    fn show(self: &Arc<Progress>, what: String) -> Option<Shown> {
        let progress = Arc::clone(self);
        Shown::new(what, move || progress.bytes())
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (read, total) = self.bytes();
        let percent = u128::from(read) * 100 / u128::from(total.max(1));
        write!(f, "{percent} % of {total} bytes")
    }
}

/// A data directory that is about to be read.
#[derive(Debug)]
pub(crate) struct Opening {
    directory: String,
    disk: Arc<RealDisk>,
    pub(crate) progress: Arc<Progress>,
}

impl Opening {
    /// The directory of the settings; none if data is kept in memory only.
    ///
    /// # Errors
    /// If the directory cannot be used: a line that says why and what to do.
    pub(crate) fn of(settings: &Settings) -> Result<Option<Opening>, String> {
        let Some(directory) = settings.data_dir() else { return Ok(None) };
        let failed = |error: std::io::Error| {
            format!(
                "data-dir: cannot use {directory}: {error}; expected a directory to write to, or none"
            )
        };
        let disk = Arc::new(RealDisk::new(Path::new(&directory)).map_err(failed)?);
        let progress = Progress::new(&disk, 1).map_err(failed)?;
        Ok(Some(Opening { directory, disk, progress }))
    }

    /// Opens the store as the last run left it. Returns it, and what was read.
    ///
    /// # Errors
    /// If the directory cannot be used: a line that says why and what to do.
    pub(crate) fn open(self, settings: &Settings) -> Result<(Store, RecoveredSummary), String> {
        let Opening { directory, disk, progress } = self;
        let disk: Arc<dyn Disk> = disk;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let options = Options { sync: settings.append_sync(), processors, ..Options::default() };
        let began = Instant::now();
        let shown = progress.show(format!("reading {directory}"));
        let recovery = miso_store::recover(&disk, options, |id| config(settings, id), random::seed);
        drop(shown);
        let recovery = recovery.map_err(|error| refused(&directory, &error))?;
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
}

/// A store of a node that keeps its data in memory only.
pub(crate) fn in_memory(settings: &Settings) -> Store {
    Store::new(config(settings, ReplicaId(random::seed())))
}

/// How often a check reads all of a directory, and a repair at most.
const CHECK_PASSES: u64 = 2;
const REPAIR_PASSES: u64 = 6;

/// Verifies a directory and prints what is found.
///
/// # Errors
/// If something is wrong with it.
pub(crate) fn check(directory: &Path) -> Result<(), String> {
    let (name, disk) = existing(directory)?;
    let report = shown(&name, &disk, CHECK_PASSES, looked_at)?;
    print(&report, &name);
    if report.is_sound() {
        Ok(())
    } else {
        Err(format!("{name} is damaged; repair it with `miso-server --repair {name}`"))
    }
}

/// Repairs a directory as far as possible, and prints what was done.
///
/// # Errors
/// If it cannot be used all the same.
pub(crate) fn repair(directory: &Path) -> Result<(), String> {
    let (name, disk) = existing(directory)?;
    let (report, after) = shown(&name, &disk, REPAIR_PASSES, |disk| {
        let report = miso_store::repair(disk)?;
        // Files that are not of a journal are not touched, and may still be in the way; and of a record
        // that passes its checksum but makes no sense, no repair can tell what is right.
        Ok((report, looked_at(disk)))
    })?;
    print(&report, &name);
    let after = after.map_err(|error| refused(&name, &error))?;
    match after.problems.first() {
        None if report.is_sound() => Ok(()),
        None => {
            println!(
                "{name} is repaired: its node starts as a new incarnation, and asks its peers for what is missing"
            );
            Ok(())
        }
        Some(problem) => Err(format!("{name} cannot be used yet: {problem}")),
    }
}

/// Does `work` on a directory, all of which it reads at most `passes` times, and shows how far it is if
/// a terminal looks on.
fn shown<T>(
    name: &str,
    disk: &Arc<RealDisk>,
    passes: u64,
    work: impl FnOnce(&Arc<dyn Disk>) -> Result<T, OpenError>,
) -> Result<T, String> {
    let progress = Progress::new(disk, passes).map_err(|error| format!("{name}: {error}"))?;
    let _shown = progress.show(format!("reading {name}"));
    let disk: Arc<dyn Disk> = Arc::<RealDisk>::clone(disk);
    work(&disk).map_err(|error| refused(name, &error))
}

/// What a start would find.
fn looked_at(disk: &Arc<dyn Disk>) -> Result<journal::Report, OpenError> {
    miso_store::check(disk, Config::new(ReplicaId(0), 1, Arc::new(unix_ms)), 1)
}

fn existing(directory: &Path) -> Result<(String, Arc<RealDisk>), String> {
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

/// Starts the thread that writes checkpoints, until the process ends.
///
/// # Errors
/// If the thread cannot be started.
pub(crate) fn start(node: &Arc<Node>) -> std::io::Result<()> {
    if node.store.journal().is_none() {
        return Ok(());
    }
    let node = Arc::clone(node);
    std::thread::Builder::new().name("miso-checkpoint".into()).spawn(move || keep(&node))?;
    Ok(())
}

fn keep(node: &Node) {
    let saving = &node.saving;
    let mut rest_until = Instant::now();
    loop {
        let asked = saving.asked_within(Duration::from_secs(1));
        let Some(journal) = node.store.journal() else { return };
        let due = journal.checkpoint_due(saving.bytes.load(Ordering::Relaxed));
        if asked || (due && Instant::now() >= rest_until) {
            let began = Instant::now();
            if let Err(failed) = save(node) {
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
pub(crate) fn save(node: &Node) -> Result<(), Failed> {
    let saving = &node.saving;
    let _turn = saving.turn();
    let began = Instant::now();
    saving.began_ms.store(unix_ms(), Ordering::Relaxed);
    saving.running.store(true, Ordering::Relaxed);
    let changes = node.store.journal().map_or(0, |journal| journal.stats().changes);
    let saved = node.store.checkpoint();
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

/// Closes the journal: everything is durable, and the next start knows that. A disk that hangs is not
/// waited for: what was acknowledged is in the journal, and a start without the last checkpoint only
/// takes longer.
///
/// # Errors
/// If the next start will find the journal as if the process had died; why.
pub(crate) fn close(node: &Arc<Node>) -> Result<(), String> {
    if node.store.journal().is_none() {
        return Ok(());
    }
    let saved = Arc::clone(node);
    match within(LAST_SAVE, move || save(&saved)) {
        Some(Ok(())) => {}
        Some(Err(failed)) => tracing::warn!("no checkpoint at the end: {failed}"),
        None => tracing::warn!("no checkpoint at the end: it takes longer than {LAST_SAVE:?}"),
    }
    let closed = Arc::clone(node);
    let why = match within(LAST_SYNC, move || closed.store.journal().map(Journal::close)) {
        Some(None | Some(Ok(()))) => return Ok(()),
        Some(Some(Err(failed))) => failed.to_string(),
        None => format!("the disk does not answer within {LAST_SYNC:?}"),
    };
    Err(format!("the journal could not be closed: {why}"))
}

/// Whether a write may run now.
///
/// # Errors
/// If the journal does not accept records; the error line, in Redis's words.
pub(crate) fn admit(node: &Node) -> Result<(), String> {
    let Some(journal) = node.store.journal() else { return Ok(()) };
    journal.admit().map_err(|failed| format!("MISCONF Errors writing to the AOF file: {failed}"))
}
