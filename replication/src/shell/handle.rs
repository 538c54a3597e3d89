//! How the server reaches its node.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use miso_store::{Function, Store};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::Settings;
use super::driver::Driver;
use crate::overlay::ADDRESSES_MAX;
use crate::replicator::Counts;
use crate::{Answer, Ask, Time};

/// A running node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Shared>);

/// What workers and driver share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) began: Instant,
    pub(super) wrote: Mutex<Vec<Arc<Function>>>,
    pub(super) wake: Notify,
    pub(super) gauges: Gauges,
    requests: mpsc::UnboundedSender<Request>,
    fatal: watch::Receiver<Option<String>>,
    addresses: Vec<SocketAddr>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the server wants of the driver.
#[derive(Debug)]
pub(super) enum Request {
    Ask(Ask, oneshot::Sender<Answer>),
    Runs(BTreeMap<Bytes, Vec<Bytes>>),
    Interval(Option<Bytes>, Option<Duration>),
    SyncRate(u64),
    Stop,
}

/// What has been counted so far.
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
    /// What at least passes between two flushes of a function, in nanoseconds: more than nothing if
    /// the machine is busy.
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

/// Starts a node in a thread of its own.
///
/// # Errors
/// If an address cannot be listened on, or the thread not be started.
pub fn start(mut settings: Settings, store: Arc<Store>) -> io::Result<Handle> {
    let began = Instant::now();
    let mut listeners = Vec::new();
    for address in &settings.peer_bind {
        let listener = TcpListener::bind(address)
            .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))?;
        listener.set_nonblocking(true)?;
        listeners.push(listener);
    }
    let addresses =
        listeners.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>()?;
    let told = &mut settings.node.overlay.addresses;
    if told.is_empty() {
        *told = reachable(&addresses);
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let (requests, inbox) = mpsc::unbounded_channel();
    let (fatal, is_fatal) = watch::channel(None);
    let shared = Arc::new(Shared {
        began,
        wrote: Mutex::default(),
        wake: Notify::new(),
        gauges: Gauges::default(),
        requests,
        fatal: is_fatal,
        addresses,
        thread: Mutex::default(),
    });
    let driver = Driver::new(settings, store, Arc::clone(&shared), inbox, fatal);
    let run = move || {
        runtime.block_on(driver.run(listeners));
        runtime.shutdown_background();
    };
    let thread = std::thread::Builder::new().name("miso-replication".into()).spawn(run)?;
    *shared.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
    Ok(Handle(shared))
}

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

    /// Sets how long a function's changes are gathered, or all functions' that have no value of
    /// their own; none takes a function's own value back.
    pub fn set_interval(&self, function: Option<Bytes>, interval: Option<Duration>) {
        let _ = self.0.requests.send(Request::Interval(function, interval));
    }

    /// Sets how many bytes of syncs a peer is sent in a second; 0: as many as it takes.
    pub fn set_sync_rate(&self, bytes: u64) {
        let _ = self.0.requests.send(Request::SyncRate(bytes));
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

    /// What has been counted so far.
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

    /// Waits until the node must end, since another is what it claims to be, or has ended; says why.
    pub async fn fatal(&self) -> String {
        let mut fatal = self.0.fatal.clone();
        let reason = fatal.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        // The other end is gone: after a stop, or with a thread that has panicked.
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

impl Shared {
    pub(super) fn now(&self) -> Time {
        Time(u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// Where peers reach this node, by what it listens on.
fn reachable(bound: &[SocketAddr]) -> Vec<String> {
    let mut told = Vec::new();
    for address in bound {
        if !address.ip().is_unspecified() {
            told.push(address.to_string());
            continue;
        }
        let same_family = |ip: &IpAddr| address.is_ipv6() || ip.is_ipv4();
        let reaches = |ip: &IpAddr| match ip {
            IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
            IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
        };
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        let ips = interfaces.iter().map(if_addrs::Interface::ip);
        let mut ips: Vec<IpAddr> = ips.filter(same_family).filter(reaches).collect();
        ips.sort_unstable();
        if ips.is_empty() {
            ips.push(Ipv4Addr::LOCALHOST.into());
        }
        told.extend(ips.iter().map(|ip| SocketAddr::new(*ip, address.port()).to_string()));
    }
    told.truncate(ADDRESSES_MAX);
    told
}
