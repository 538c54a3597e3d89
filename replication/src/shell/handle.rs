//! How the server reaches its node.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use miso_store::Function;
use tokio::sync::oneshot;

use super::mailbox::{Counters, Mailbox, Request};
use crate::overlay::Secret;
use crate::{Answer, Ask, Time};

/// A running node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle(pub(super) Arc<Mailbox>);

impl Handle {
    /// A function has changed, for the first time since its last batch: a store's observer passes
    /// that on. Wakes the node.
    pub fn wrote(&self, function: &Arc<Function>) {
        self.0.wrote.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(function));
        self.0.wake.notify_one();
    }

    /// What this node runs now: functions, and the replicas registered by name for each.
    pub fn runs(&self, functions: BTreeMap<Bytes, Vec<Bytes>>) {
        let _ = self.0.requests.send(Request::Runs(functions));
    }

    /// Sets how long changes are gathered: of one function, or (`None`) of all functions that have no
    /// value of their own. An `interval` of none takes a function's own value back.
    pub fn set_interval(&self, function: Option<Bytes>, interval: Option<Duration>) {
        let _ = self.0.requests.send(Request::Interval(function, interval));
    }

    /// Sets how many bytes of syncs a peer is sent in a second; 0: as many as it takes.
    pub fn set_sync_rate(&self, bytes: u64) {
        let _ = self.0.requests.send(Request::SyncRate(bytes));
    }

    /// Says that [`Settings::encryption`](super::Settings::encryption) was set anew: if each link must have
    /// TLS now, those without are ended, and made anew.
    pub fn encryption_changed(&self) {
        let _ = self.0.requests.send(Request::Encryption);
    }

    /// Has other nodes let in by other secrets. Links that were made by one that is no longer accepted are ended, and
    /// made anew. Without effect on a node that began without a secret.
    pub fn set_secret(&self, secret: Secret) {
        let _ = self.0.requests.send(Request::Secret(secret));
    }

    /// Asks the node. Refused if it has ended.
    pub async fn ask(&self, ask: Ask) -> Answer {
        let (answer, answered) = oneshot::channel();
        let _ = self.0.requests.send(Request::Ask(ask, answer));
        answered.await.unwrap_or_else(|_| Answer::Refused("ERR replication has ended".into()))
    }

    /// The node's time, for deadlines.
    #[must_use]
    pub fn now(&self) -> Time {
        self.0.now()
    }

    /// How many links are open.
    #[must_use]
    pub fn links(&self) -> u64 {
        self.0.gauges.links.load(Ordering::Relaxed)
    }

    /// Counters since the start, and some gauges.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let gauges = &self.0.gauges;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            bytes_sent: read(&gauges.bytes_sent),
            bytes_received: read(&gauges.bytes_received),
            messages_sent: read(&gauges.messages_sent),
            envelopes_received: read(&gauges.envelopes_received),
            turns: read(&gauges.turns),
            links: read(&gauges.links),
            faults: read(&gauges.faults),
            unknown: read(&gauges.unknown),
            refusals: read(&gauges.refusals),
            cut_off: read(&gauges.cut_off),
            cpu_nanos: read(&gauges.cpu_nanos),
            replicator: *gauges.replicator.lock().unwrap_or_else(PoisonError::into_inner),
            pace_nanos: read(&gauges.pace_nanos),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.0.addresses
    }

    /// Where it listens first.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.0.addresses.first().copied()
    }

    /// Waits until the node must end (another node has its identity) or has ended; returns the reason.
    pub async fn fatal(&self) -> String {
        let mut fatal = self.0.fatal.clone();
        let reason = fatal.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        // The sender is gone: after a stop, or because the thread has panicked.
        reason.unwrap_or_else(|| "replication has ended".into())
    }

    /// Ends the node and waits for its thread. Says no goodbye: that is [`Ask::Leave`]. Blocks.
    pub fn stop(&self) {
        let _ = self.0.requests.send(Request::Stop);
        let thread = self.0.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the replication thread has panicked");
        }
    }
}
