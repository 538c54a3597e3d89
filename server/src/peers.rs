//! This node among others: starts replication, and passes on what each side has to know.
//!
//! The store says what was written and what a peer has changed, the registry what runs here; both
//! hear of it while locks are held, so all of this only notes and wakes. Questions are asked here
//! too, so that a node that is alone answers them as one that knows nobody.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use miso_replication::shell::{self, Handle, Mdns};
use miso_replication::{Answer, Ask, Liveness, NodeView, Time, node, overlay, replicator};
use miso_store::crdt::Type;
use miso_store::{Function, Observer};
use parking_lot::Mutex;

use crate::registry::{Listener, Running};
use crate::shared::Shared;

/// A question is asked again so often: nobody takes one back whose client has gone.
const SLICE: Duration = Duration::from_secs(1);
/// How long a node that ends waits for its peers to take what it has.
const LEAVE: Duration = Duration::from_secs(2);
/// That much more for the answer.
const GRACE: Duration = Duration::from_millis(200);

/// Listens to the store. Weak: it is a part of what it points to.
#[derive(Debug)]
struct Tells(Weak<Shared>);

impl Observer for Tells {
    fn wrote(&self, function: &Arc<Function>) {
        if let Some(shared) = self.0.upgrade()
            && let Some(peers) = shared.peers.get()
        {
            peers.wrote(function);
        }
    }

    fn changed(&self, function: &Function, object: &[u8], name: &[u8], kind: Type) {
        if let Some(shared) = self.0.upgrade() {
            shared.object_changed(function.name(), object, name, kind);
        }
    }

    fn listens(&self) -> bool {
        self.0.upgrade().is_some_and(|shared| shared.pubsub.listened.load(Ordering::Relaxed))
    }
}

/// Listens to the registry.
#[derive(Debug)]
struct Publishes(Handle);

impl Listener for Publishes {
    fn begins(&self, function: &Function) {
        // Until replication has heard of the function: what peers have must not read as absent.
        if self.0.links() > 0 {
            function.set_restoring(true);
        }
    }

    fn runs(&self, running: &Running) {
        self.0.runs(running.clone());
    }
}

/// Starts replication, unless this node is to be alone. The port for clients is known by now.
///
/// # Errors
/// If the peer port cannot be had; says which.
pub(crate) fn start(shared: &Arc<Shared>) -> Result<(), String> {
    let port = shared.port.load(Ordering::Relaxed);
    let Some(peer_bind) = shared.settings.peer_addresses(port) else { return Ok(()) };
    let replica = shared.store.replica();
    let (cluster, name) = (shared.settings.cluster_name(), shared.node_name());
    let mut overlay = overlay::Config::new(&cluster, &name, replica, crate::shared::unix_ms());
    overlay.node_timeout = shared.settings.node_timeout().max(SHORTEST_TIMEOUT);
    overlay.heartbeat = overlay.node_timeout / 5;
    overlay.addresses = shared.settings.peer_announce();
    overlay.secret = shared.settings.cluster_secret().map(|secret| {
        let mut seed = [0; 32];
        crate::acl::fill_with_random(&mut seed);
        overlay::Secret::new(secret, seed)
    });
    let is_secured = overlay.secret.is_some();
    let intervals = shared.settings.intervals();
    let replicator =
        replicator::Config { interval: intervals.default, ..replicator::Config::new(replica) };
    let mut settings = shell::Settings::new(peer_bind, node::Config { overlay, replicator });
    settings.join = shared.settings.join();
    settings.mdns = shared.settings.mdns().then(|| {
        let port = Some(shared.settings.mdns_port()).filter(|port| *port != MDNS_PORT);
        Mdns { port, announce: shared.settings.peer_announce() }
    });
    let peers = shell::start(settings, Arc::clone(&shared.store)).map_err(|error| {
        let expected = match error.kind() {
            std::io::ErrorKind::AddrInUse => "a free port (--peer-port)",
            _ => "addresses of this host (--peer-bind)",
        };
        format!("peer-port: cannot listen for nodes on {error}; expected {expected}")
    })?;
    shared.registry.listen(Box::new(Publishes(peers.clone())));
    for address in peers.local_addrs() {
        let secured = if is_secured { "secured " } else { "" };
        tracing::info!("Listening for nodes of {secured}cluster {cluster} on {address} as {name}");
    }
    assert!(shared.peers.set(peers).is_ok(), "replication is started once");
    shared.store.observe(Arc::new(Tells(Arc::downgrade(shared))));
    set_intervals(shared);
    set_sync_rate(shared);
    Ok(())
}

/// A node that says more often that it lives does nothing else.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(100);
/// The one that all know.
const MDNS_PORT: u16 = 5353;

/// The port that other nodes reach this one by, for CONFIG GET.
pub(crate) fn port(shared: &Shared) -> String {
    let address = shared.peers.get().and_then(Handle::local_addr);
    address.map_or_else(|| "none".to_owned(), |address| address.port().to_string())
}

/// Has replication send syncs as fast as the settings say.
pub(crate) fn set_sync_rate(shared: &Shared) {
    let Some(peers) = shared.peers.get() else { return };
    peers.set_sync_rate(shared.settings.sync_rate());
}

/// Has replication gather changes as long as the settings say.
pub(crate) fn set_intervals(shared: &Shared) {
    let Some(peers) = shared.peers.get() else { return };
    let intervals = shared.settings.intervals();
    peers.set_interval(None, Some(intervals.default));
    let mut set = shared.own_intervals.lock();
    let named: BTreeSet<String> = intervals.named.keys().cloned().collect();
    let name = |name: &String| Some(Bytes::copy_from_slice(name.as_bytes()));
    for gone in set.difference(&named) {
        peers.set_interval(name(gone), None);
    }
    for (function, interval) in &intervals.named {
        peers.set_interval(name(function), Some(*interval));
    }
    *set = named;
}

/// The functions that were given intervals of their own.
pub(crate) type OwnIntervals = Mutex<BTreeSet<String>>;

/// Waits until this node must not go on; why.
pub(crate) async fn fatal(shared: &Shared) -> String {
    match shared.peers.get() {
        Some(peers) => peers.fatal().await,
        None => std::future::pending().await,
    }
}

/// Has peers take what this node has, and says goodbye.
pub(crate) async fn leave(shared: &Shared) {
    let Some(peers) = shared.peers.get() else { return };
    let left = peers.ask(Ask::Leave { until: peers.now() + LEAVE });
    if tokio::time::timeout(LEAVE + GRACE, left).await.is_err() {
        tracing::warn!("replication does not end in time");
        return;
    }
    let peers = peers.clone();
    // Its thread may hang in an fsync.
    if crate::within(LEAVE, move || peers.stop()).is_none() {
        tracing::warn!("the replication thread does not end in time");
    }
}

/// Asks replication, or answers as a node that knows nobody.
pub(crate) async fn ask(shared: &Shared, ask: Ask) -> Answer {
    match shared.peers.get() {
        Some(peers) => peers.ask(ask).await,
        None => alone(shared, ask),
    }
}

/// Asks until the answer is `enough`, or the time is over; none: for ever. `ask` is given until when
/// it may take.
pub(crate) async fn ask_until(
    shared: &Shared,
    until: Option<Instant>,
    ask: impl Fn(Time) -> Ask,
    enough: impl Fn(&Answer) -> bool,
) -> Answer {
    loop {
        let now = Instant::now();
        let end = until.map_or(now + SLICE, |until| until.min(now + SLICE));
        let answer = match shared.peers.get() {
            Some(peers) => {
                let left = end.saturating_duration_since(now);
                peers.ask(ask(peers.now() + left)).await
            }
            None => alone(shared, ask(Time::default())),
        };
        let over = until.is_some_and(|until| until <= Instant::now());
        if over || enough(&answer) || matches!(answer, Answer::Refused(_)) {
            return answer;
        }
        if shared.peers.get().is_none() {
            tokio::time::sleep_until(end.into()).await;
        }
    }
}

/// What a node answers that is alone.
fn alone(shared: &Shared, ask: Ask) -> Answer {
    match ask {
        Ask::Wait { .. } | Ask::Sync { .. } => Answer::Count(0),
        Ask::Await { function, vector, .. } => {
            let known = shared.store.find(&function);
            Answer::Reached(known.is_some_and(|function| function.covers(&vector)))
        }
        Ask::Nodes => Answer::Nodes(vec![NodeView {
            name: shared.node_name(),
            replica: shared.store.replica(),
            addresses: Vec::new(),
            liveness: Liveness::Alive,
            linked: false,
            functions: running(shared),
            heard_ms: 0,
            lag_events: 0,
            lag_ms: 0,
            lag_bytes: 0,
            acknowledged: Vec::new(),
        }]),
        Ask::Functions => Answer::Functions(Vec::new()),
        Ask::Join { .. } | Ask::Forget { .. } => {
            Answer::Refused("ERR this node is alone (peer-port none)".into())
        }
        Ask::Fetch { .. } | Ask::Drain { .. } | Ask::Leave { .. } => Answer::Done,
    }
}

fn running(shared: &Shared) -> Vec<(Bytes, Vec<Bytes>)> {
    let running = shared.registry.running(Instant::now(), shared.settings.function_linger());
    let copy = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
    let shown = running
        .iter()
        .map(|r| (copy(&r.function), r.replicas.iter().map(|replica| copy(replica)).collect()));
    shown.collect()
}
