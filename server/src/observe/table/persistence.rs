//! Persistence: the journal stands for Redis's AOF, a checkpoint for its RDB file and for the AOF's
//! rewriting.

use std::sync::atomic::Ordering;

use miso_store::journal::{Journal, Status};

use super::parts::{Reading, Row, Unit, Value, counter, gauge, only, zero};
use crate::clock::unix_ms;

fn running(r: &Reading<'_>) -> Value {
    Value::Flag(r.node.saving.running.load(Ordering::Relaxed))
}

fn last_worked(r: &Reading<'_>) -> Value {
    Value::Status(!r.node.saving.failed.load(Ordering::Relaxed))
}

fn last_took(r: &Reading<'_>) -> Value {
    Value::Level(r.node.saving.took.load(Ordering::Relaxed))
}

/// How many seconds the running checkpoint has taken; -1 if none is running.
fn takes(r: &Reading<'_>) -> Value {
    let saving = &r.node.saving;
    if !saving.running.load(Ordering::Relaxed) {
        return Value::Level(-1);
    }
    let began = saving.began_ms.load(Ordering::Relaxed);
    Value::Level(unix_ms().saturating_sub(began) as i64 / 1000)
}

fn checkpoints(r: &Reading<'_>) -> Value {
    Value::Count(r.node.saving.count.load(Ordering::Relaxed))
}

fn checkpoint_bytes(r: &Reading<'_>) -> u64 {
    r.node.saving.bytes.load(Ordering::Relaxed)
}

/// Changes that no checkpoint covers.
fn changes(r: &Reading<'_>) -> Value {
    let covers = r.node.saving.covers.load(Ordering::Relaxed);
    Value::Level((r.journal_stats().changes as i64).saturating_sub(covers).max(0))
}

/// A value that there is only with a journal.
fn journal(r: &Reading<'_>, read: impl FnOnce(&Journal) -> Value) -> Value {
    r.journal().map_or(Value::Absent, read)
}

fn status(journal: &Journal) -> Value {
    Value::Text(match journal.status() {
        Status::Ok => "ok".into(),
        Status::Failing(why) => format!("failing: {why}"),
        Status::Broken(why) => format!("broken: {why}"),
        Status::Closed => "closed".into(),
    })
}

/// Persistence.
pub(super) const PERSISTENCE: &[Row] = &[
    zero("loading", "0: clients are served once the data is there"),
    zero("async_loading", "0: clients are served once the data is there"),
    zero("current_cow_peak", "0: there is no child process"),
    zero("current_cow_size", "0: there is no child process"),
    zero("current_cow_size_age", "0: there is no child process"),
    only("current_fork_perc", "0: there is no child process", |_| Value::Decimal(0.0, 2)),
    zero("current_save_keys_processed", "0: there is no child process"),
    zero("current_save_keys_total", "0: there is no child process"),
    gauge(
        "rdb_changes_since_last_save",
        "miso_checkpoint_pending_changes",
        Unit::None,
        "Changes since the last checkpoint",
        changes,
    ),
    gauge(
        "rdb_bgsave_in_progress",
        "miso_checkpoint_in_progress",
        Unit::None,
        "Whether a checkpoint is being written",
        running,
    ),
    gauge(
        "rdb_last_save_time",
        "miso_checkpoint_last_time_seconds",
        Unit::Seconds,
        "When the last checkpoint was written, since 1970",
        |r| Value::Count(r.node.saving.last.load(Ordering::Relaxed)),
    ),
    gauge(
        "rdb_last_bgsave_status",
        "miso_checkpoint_last_ok",
        Unit::None,
        "Whether the last checkpoint could be written",
        last_worked,
    ),
    gauge(
        "rdb_last_bgsave_time_sec",
        "miso_checkpoint_last_duration_seconds",
        Unit::Seconds,
        "How long the last checkpoint took; -1: there was none",
        last_took,
    ),
    only(
        "rdb_current_bgsave_time_sec",
        "How long the running checkpoint has taken; -1: none",
        takes,
    ),
    counter("rdb_saves", "miso_checkpoints", Unit::None, "Checkpoints written", checkpoints),
    zero("rdb_last_cow_size", "0: there is no child process"),
    zero("rdb_last_load_keys_expired", "0: what has expired is taken back later"),
    zero("rdb_last_load_keys_loaded", "0: there is no RDB file"),
    only("aof_enabled", "Whether there is a journal", |r| Value::Flag(r.journal().is_some())),
    only("aof_rewrite_in_progress", "As rdb_bgsave_in_progress", running),
    zero("aof_rewrite_scheduled", "0: a checkpoint begins at once"),
    only("aof_last_rewrite_time_sec", "As rdb_last_bgsave_time_sec", last_took),
    only("aof_current_rewrite_time_sec", "As rdb_current_bgsave_time_sec", takes),
    only("aof_last_bgrewrite_status", "As rdb_last_bgsave_status", last_worked),
    only("aof_rewrites", "As rdb_saves", checkpoints),
    gauge(
        "aof_rewrites_consecutive_failures",
        "miso_checkpoint_consecutive_failures",
        Unit::None,
        "Checkpoints that failed since the last that was written",
        |r| Value::Count(r.node.saving.failures.load(Ordering::Relaxed)),
    ),
    gauge(
        "aof_last_write_status",
        "miso_journal_ok",
        Unit::None,
        "Whether the journal takes writes",
        |r| Value::Status(r.journal().is_none_or(|journal| journal.status() == Status::Ok)),
    ),
    zero("aof_last_cow_size", "0: there is no child process"),
    zero("module_fork_in_progress", "0: there is no child process"),
    zero("module_fork_last_cow_size", "0: there is no child process"),
    gauge(
        "aof_current_size",
        "miso_disk_used_bytes",
        Unit::Bytes,
        "Bytes of the last checkpoint and of the journal after it",
        |r| journal(r, |_| Value::Count(r.journal_stats().log_bytes + checkpoint_bytes(r))),
    ),
    gauge(
        "aof_base_size",
        "miso_checkpoint_size_bytes",
        Unit::Bytes,
        "Bytes of the last checkpoint",
        |r| journal(r, |_| Value::Count(checkpoint_bytes(r))),
    ),
    only("aof_pending_rewrite", "0: a checkpoint begins at once", |r| {
        journal(r, |_| Value::Count(0))
    }),
    only("aof_buffer_length", "As mem_aof_buffer", |r| {
        journal(r, |_| Value::Count(r.journal_stats().buffered_bytes))
    }),
    only("aof_pending_bio_fsync", "Whether the journal is being forced to disk", |r| {
        journal(r, |_| Value::Flag(r.journal_stats().syncing))
    }),
    counter(
        "aof_delayed_fsync",
        "miso_journal_delayed_writes",
        Unit::None,
        "Writes that waited for a slow fsync",
        |r| journal(r, |_| Value::Count(r.journal_stats().delayed)),
    ),
    only("journal_status", "Whether the journal takes writes, and why not", |r| journal(r, status)),
    only("journal_policy", "The setting appendfsync", |r| {
        journal(r, |journal| Value::Text(journal.policy().to_string()))
    }),
    only("journal_appended", "Position up to which records were made", |r| {
        journal(r, |journal| Value::Count(journal.appended().0))
    }),
    only("journal_written", "Position up to which records were written", |r| {
        journal(r, |journal| Value::Count(journal.written().0))
    }),
    only("journal_synced", "Position up to which records are on the disk", |r| {
        journal(r, |journal| Value::Count(journal.synced().0))
    }),
    counter(
        "journal_written_bytes",
        "miso_journal_written_bytes",
        Unit::Bytes,
        "Bytes written to the journal",
        |r| journal(r, |_| Value::Count(r.journal_stats().written_bytes)),
    ),
    counter("journal_writes", "miso_journal_writes", Unit::None, "Writes to the journal", |r| {
        journal(r, |_| Value::Count(r.journal_stats().writes))
    }),
    counter(
        "journal_fsyncs",
        "miso_journal_fsyncs",
        Unit::None,
        "Times that the journal was forced to disk",
        |r| journal(r, |_| Value::Count(r.journal_stats().syncs)),
    ),
    gauge(
        "journal_last_fsync_usec",
        "miso_journal_last_fsync_seconds",
        Unit::Micros,
        "How long the last fsync of the journal took",
        |r| journal(r, |_| Value::Count(r.journal_stats().last_sync.as_micros() as u64)),
    ),
    only("incarnation", "This node's incarnation as a writer", |r| {
        journal(r, |_| Value::Text(format!("{:016x}", r.node.store.replica().0)))
    }),
    only("former_incarnations", "How many incarnations this directory had before", |r| {
        journal(r, |journal| Value::Count(journal.identity().former.len() as u64))
    }),
];
