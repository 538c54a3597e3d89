//! Opening a data directory: replay, then a journal that goes on.

use std::sync::Arc;

use miso_crdt::ReplicaId;

use super::records::{self, LOST};
use super::replay::{Replay, Replayed, replay};
use crate::config::Config;
use crate::journal::{self, Disk, Identity, Journal, OpenError, Options, RecoveredSummary, Report};
use crate::store::Store;

/// What recovery found.
#[derive(Debug)]
pub struct Recovery {
    /// The store, with its journal begun.
    pub store: Store,
    /// What was read.
    pub summary: RecoveredSummary,
    /// Why the node takes a new incarnation, if it does: a line for the log.
    pub renewed: Option<String>,
}

/// Makes a store of what is on `disk`, or a new one, and goes on writing there.
///
/// `config` says how a store of a writer is made; `random` gives random numbers.
///
/// # Errors
/// If the directory is not to be used; the error is the line to show.
pub fn recover(
    disk: &Arc<dyn Disk>,
    options: Options,
    config: impl Fn(ReplicaId) -> Config,
    mut random: impl FnMut() -> u64,
) -> Result<Recovery, OpenError> {
    // The writer's identity decides how the records are read, and is certain only once they have been
    // read. Nearly always it is the identity of the last run, so they are read with that.
    let opened = Journal::open(Arc::clone(disk))?;
    let known_identity = opened.identity().cloned();
    let mut identity = known_identity.clone().unwrap_or_else(|| Identity::new(random(), random()));
    let mut replayed = replay(opened, config(ReplicaId(identity.replica)), options.processors)?;
    let mut renewed = None;
    if known_identity.is_some()
        && let Err(why) = replayed.recovered.may_keep()
    {
        identity = identity.renewed(random());
        renewed = Some(why.to_string());
        drop(replayed);
        let opened = Journal::open(Arc::clone(disk))?;
        replayed = replay(opened, config(ReplicaId(identity.replica)), options.processors)?;
    }
    let Replayed { store, recovered, saved } = replayed;
    let summary = recovered.summary.clone();
    let journal = recovered.start(identity, options)?;
    for function in saved {
        records::known(&journal, function.name(), &vec![(store.replica(), 1)]);
    }
    store.hooks.journal_to(journal);
    Ok(Recovery { store, summary, renewed })
}

/// Reads all of a directory and says how it is, and what a start would refuse. Writes nothing.
///
/// # Errors
/// It is in use, cannot be read, or was written by a newer version.
pub fn check(disk: &Arc<dyn Disk>, config: Config, processors: usize) -> Result<Report, OpenError> {
    let store = Store::new(config);
    let mut replay = Replay::new(&store, processors);
    let mut report = journal::check(disk, &mut |kind, payload| replay.record(kind, payload))?;
    if report.is_sound()
        && let Err(what) = replay.finish()
    {
        report.problems.push(what);
    }
    Ok(report)
}

/// Saves what is good of a directory that no node uses, if something in it is damaged.
///
/// # Errors
/// It is in use, or cannot be read or written. What was there is then still there.
pub fn repair(disk: &Arc<dyn Disk>) -> Result<Report, OpenError> {
    journal::repair(disk, LOST)
}
