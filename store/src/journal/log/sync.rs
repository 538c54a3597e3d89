//! From the file to the disk.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;

use super::state::{BROKEN, Log, Waiting};
use crate::journal::disk::DiskFile;
use crate::journal::error::Failed;
use crate::journal::meta::State;
use crate::journal::policy::Position;

/// Under `always` a sync waits for others at most this long, and at most `GATHER_TIMES` times what the
/// last sync took: on a fast disk the others wait for a processor only.
const GATHER: Duration = Duration::from_millis(2);

const GATHER_TIMES: u32 = 2;

/// If the last sync took at most this long, in microseconds, a thread that needs one makes it: to hand
/// it over and to be woken again would cost as much as the sync.
const FAST_US: u64 = 500;

/// Such a thread waits at most this long for a sync of another thread.
const FAST_PATIENCE: Duration = Duration::from_micros(4 * FAST_US);

impl Log {
    /// Makes an fsync for a record that has been written, or has the thread make it; see [`FAST_US`].
    /// What fails shows in the journal's status. An fsync that hangs holds up the thread that makes it,
    /// and no other.
    pub(crate) fn sync_for(&self, position: Position) {
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
    pub(crate) fn want_sync(&self, position: Position) {
        if self.synced.load(Ordering::Acquire) >= position.0 {
            return;
        }
        let mut waiting = self.waiting.lock();
        if !waiting.sync_wanted {
            waiting.sync_wanted = true;
            self.work.notify_one();
        }
    }

    /// Waits a little for those that the last sync served, since most likely they write again at once.
    /// Else they and those that came during that sync would take turns for good, each with half a sync.
    pub(crate) fn gather(&self) {
        let last = Duration::from_micros(self.last_sync_us.load(Ordering::Relaxed));
        let until = Instant::now() + (last * GATHER_TIMES).min(GATHER);
        let mut waiting = self.waiting.lock();
        while waiting.wakers.len() < waiting.expected && !waiting.closing {
            if self.work.wait_until(&mut waiting, until).timed_out() {
                break;
            }
        }
        // All that have asked by now have written, so the sync serves them too.
        waiting.sync_wanted = false;
    }

    /// What an fsync now would be of, and all records up to which it makes durable.
    pub(crate) fn to_sync(&self) -> (Arc<dyn DiskFile>, u64) {
        let writer = self.writer.lock();
        (Arc::clone(&writer.file), self.written.load(Ordering::Acquire))
    }

    /// Makes durable what has been written.
    pub(crate) fn sync(&self) -> Result<(), Failed> {
        let (file, target) = self.to_sync();
        if self.synced.load(Ordering::Acquire) >= target && !self.is_broken() {
            return Ok(());
        }
        self.sync_file(self.syncing.lock(), &*file, target)
    }

    /// Syncs `file`, after which all records up to `target` are durable. One at a time.
    pub(crate) fn sync_file(
        &self,
        _one: MutexGuard<'_, ()>,
        file: &dyn DiskFile,
        target: u64,
    ) -> Result<(), Failed> {
        // The kernel tells of a failure once: a later success must not be believed.
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
    pub(crate) fn break_down(&self, error: &io::Error) {
        self.set_reason(&format!("the journal cannot be synced: {error}"));
        self.health.store(BROKEN, Ordering::Release);
        let mut identity = self.identity.lock();
        identity.state = State::Faulted;
        // If this fails too, the next start has to find the loss by the log alone.
        let _ = identity.write(&*self.disk);
        drop(identity);
        self.wake(u64::MAX);
    }

    /// Wakes all that wait for records up to `target`.
    pub(crate) fn wake(&self, target: u64) {
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

    pub(crate) fn poll_synced(&self, position: Position) -> Poll<Result<(), Failed>> {
        if self.synced.load(Ordering::Acquire) >= position.0 {
            Poll::Ready(Ok(()))
        } else if self.health.load(Ordering::Acquire) >= BROKEN {
            Poll::Ready(Err(self.failed()))
        } else {
            Poll::Pending
        }
    }

    /// Makes durable all that has been appended. Not where an fsync has failed, after which nothing is
    /// written before the checkpoint is there: no command is let in meanwhile, either.
    pub(crate) fn settle(&self) -> Result<(), Failed> {
        if self.is_broken() {
            return Ok(());
        }
        let last = self.gathered().last();
        self.commit(last)?;
        self.sync()
    }
}

/// Resolves when records are durable: `Journal::on_synced`.
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct Synced {
    pub(super) log: Arc<Log>,
    pub(super) position: Position,
    pub(super) failed: Option<Failed>,
}

impl Future for Synced {
    type Output = Result<(), Failed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(failed) = &self.failed {
            return Poll::Ready(Err(failed.clone()));
        }
        // Under the lock that `wake` takes after it has changed what is looked at here.
        let mut waiting: MutexGuard<'_, Waiting> = self.log.waiting.lock();
        let ready = self.log.poll_synced(self.position);
        if ready.is_pending() {
            waiting.wakers.push((self.position.0, context.waker().clone()));
            if waiting.wakers.len() == waiting.expected {
                self.log.work.notify_one();
            }
        }
        ready
    }
}
