//! What the server's threads and the driver share: requests one way, counters the other.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use miso_store::Function;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::overlay::Secret;
use crate::replicator::Counts;
use crate::{Answer, Ask, Time};

/// What the server's threads and the driver share.
#[derive(Debug)]
pub(super) struct Mailbox {
    pub(super) began: Instant,
    pub(super) wrote: Mutex<Vec<Arc<Function>>>,
    pub(super) wake: Notify,
    pub(super) gauges: Gauges,
    pub(super) requests: mpsc::UnboundedSender<Request>,
    pub(super) fatal: watch::Receiver<Option<String>>,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) thread: Mutex<Option<JoinHandle<()>>>,
}

/// A request of the server to the driver.
#[derive(Debug)]
pub(super) enum Request {
    Ask(Ask, oneshot::Sender<Answer>),
    Runs(BTreeMap<Bytes, Vec<Bytes>>),
    Interval(Option<Bytes>, Option<Duration>),
    SyncRate(u64),
    Secret(Secret),
    /// What links begin with is another now.
    Encryption,
    Stop,
}

/// Counters since the start, and some gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes of envelopes handed to links, counted once for each link.
    pub bytes_sent: u64,
    /// Bytes of envelopes that came.
    pub bytes_received: u64,
    /// Messages handed to links, counted once for each link.
    pub messages_sent: u64,
    /// Envelopes that came; each has one message or more.
    pub envelopes_received: u64,
    /// Turns of the driver: inputs taken up together.
    pub turns: u64,
    /// Links that are open.
    pub links: u64,
    /// Links closed for their peers' faults: bytes that are no message, or messages that may not be.
    pub faults: u64,
    /// Messages of kinds that this version does not know.
    pub unknown: u64,
    /// Links refused, here or by peers.
    pub refusals: u64,
    /// Links cut off since too much waited for them.
    pub cut_off: u64,
    /// CPU time of the thread, in nanoseconds; a tenth of a second late.
    pub cpu_nanos: u64,
    /// What the replicator has done.
    pub replicator: Counts,
    /// The least time between two flushes of a function, in nanoseconds; above 0 while the machine is
    /// busy.
    pub pace_nanos: u64,
}

/// The counters as the driver keeps them.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    pub(super) bytes_sent: AtomicU64,
    pub(super) bytes_received: AtomicU64,
    pub(super) messages_sent: AtomicU64,
    pub(super) envelopes_received: AtomicU64,
    pub(super) turns: AtomicU64,
    pub(super) links: AtomicU64,
    pub(super) faults: AtomicU64,
    pub(super) unknown: AtomicU64,
    pub(super) refusals: AtomicU64,
    pub(super) cut_off: AtomicU64,
    pub(super) cpu_nanos: AtomicU64,
    pub(super) replicator: Mutex<Counts>,
    pub(super) pace_nanos: AtomicU64,
}

impl Mailbox {
    pub(super) fn now(&self) -> Time {
        Time(u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}
