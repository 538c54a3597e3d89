//! This node's side of replication: starts it, tells it what is written and what runs here, and asks it
//! questions.
//!
//! The store and the registry call their listeners while they hold locks, so a listener only notes
//! what happened and wakes replication. A node without peers answers questions itself.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use miso_protocol::names;
use miso_replication::copies::{self, Hold};
use miso_replication::shell::{self, Handle, Mdns, Refusals};
use miso_replication::{Answer, Ask, Liveness, NodeView, Time, node, overlay, replicator};
use miso_store::crdt::Type;
use miso_store::{Ended, Function, Observer};

use crate::clock::unix_ms;
use crate::node::Node;
use crate::node::registry::{Listener, Running};
use crate::process::within;
use crate::random::fill_with_random;
use crate::settings::Secrets;

/// How long a question may take before it is asked again. A question whose client has gone is not taken
/// back, so it must end by itself.
const SLICE: Duration = Duration::from_secs(1);
/// How long a node that ends waits for its peers to take what it has.
const LEAVE: Duration = Duration::from_secs(2);
/// How much longer than [`LEAVE`] the answer may take.
const GRACE: Duration = Duration::from_millis(200);

/// Passes on what the store tells. Weak, since the node holds the store, which holds this.
#[derive(Debug)]
struct StoreObserver(Weak<Node>);

impl Observer for StoreObserver {
    fn wrote(&self, function: &Arc<Function>) {
        if let Some(node) = self.0.upgrade()
            && let Some(peers) = node.peers.get()
        {
            peers.wrote(function);
        }
    }

    fn changed(&self, function: &Function, object: &[u8], name: &[u8], kind: Type) {
        if let Some(node) = self.0.upgrade() {
            node.object_changed(function.name(), object, name, kind);
        }
    }

    fn followed(&self, function: &Function) {
        if let Some(node) = self.0.upgrade() {
            node.feeds.wake(function.name());
        }
    }

    fn merged(&self, function: &Function, key: &[u8], was: bool) {
        if let Some(node) = self.0.upgrade() {
            node.tell_merged(function, key, was);
        }
    }

    fn expired(&self, function: &Function, key: &[u8], what: Ended) {
        if let Some(node) = self.0.upgrade() {
            node.key_changed(function.name(), key);
            node.tell_expired(function, key, what);
        }
    }
}

/// Passes on what the registry tells.
#[derive(Debug)]
struct RegistryListener(Handle);

impl Listener for RegistryListener {
    fn begins(&self, function: &Function) {
        // Until replication knows of the function, what peers hold must not read as absent.
        if self.0.links() > 0 {
            function.set_restoring(true);
        }
    }

    fn runs(&self, running: Running) {
        self.0.runs(running);
    }
}

/// Starts replication, unless `peer-port` is `none`. The port for clients must be bound already.
///
/// # Errors
/// If the peer port cannot be bound; says which, and what to do.
pub(crate) fn start(node: &Arc<Node>) -> Result<(), String> {
    node.store.observe(Arc::new(StoreObserver(Arc::downgrade(node))));
    let port = node.port.load(Ordering::Relaxed);
    let Some(peer_bind) = node.settings.peer_addresses(port) else { return Ok(()) };
    let replica = node.store.replica();
    let (cluster, name) = (node.settings.cluster_name(), node.node_name());
    let mut overlay = overlay::Config::new(&cluster, &name, replica, unix_ms());
    overlay.node_timeout = node.settings.node_timeout().max(SHORTEST_TIMEOUT);
    overlay.heartbeat = overlay.node_timeout / 5;
    overlay.addresses = node.settings.peer_announce();
    overlay.secret = secret(&node.settings.secrets());
    let links = node.tls.links();
    let is_certified = links.is_required() && node.tls.links_expire() > 0;
    let is_secured = overlay.secret.is_some() || is_certified;
    check_names(&name, &cluster)?;
    check_exposed(node, &peer_bind, is_secured)?;
    let intervals = node.settings.intervals();
    let replicator =
        replicator::Config { interval: intervals.default, ..replicator::Config::new(replica) };
    let copies = copies::Config {
        copies: node.settings.function_copies(),
        hold: with_tokens(node.settings.hold()),
        grace: overlay.node_timeout,
    };
    let config = node::Config { overlay, replicator, copies };
    let mut settings = shell::Settings::new(peer_bind, config);
    settings.join = node.settings.join();
    settings.encryption = links.clone();
    let audited = Arc::downgrade(node);
    settings.refused = Some(Refusals::new(move |why| {
        if let Some(node) = audited.upgrade() {
            node.audit.node_refused(why);
        }
    }));
    let is_mdns = match node.settings.mdns() {
        crate::settings::kind::Mdns::Yes => true,
        crate::settings::kind::Mdns::Auto => is_secured || cluster != DEFAULT_CLUSTER,
        crate::settings::kind::Mdns::No => false,
    };
    settings.mdns = is_mdns.then(|| {
        let port = Some(node.settings.mdns_port()).filter(|port| *port != MDNS_PORT);
        Mdns { port, announce: node.settings.peer_announce() }
    });
    let peers = shell::start(settings, Arc::clone(&node.store)).map_err(|error| {
        let expected = match error.kind() {
            std::io::ErrorKind::AddrInUse => "a free port (--peer-port)",
            _ => "addresses of this host (--peer-bind)",
        };
        format!("peer-port: cannot listen for nodes on {error}; expected {expected}")
    })?;
    node.registry.listen(Box::new(RegistryListener(peers.clone())));
    for address in peers.local_addrs() {
        let secured = if is_secured { "secured " } else { "" };
        let by = if links.get().is_some() { " by TLS" } else { "" };
        tracing::info!(
            "Listening for nodes of {secured}cluster {cluster} on {address}{by} as {name}"
        );
    }
    assert!(node.peers.set(peers).is_ok(), "replication is started once");
    set_intervals(node);
    set_sync_rate(node);
    Ok(())
}

/// What a node holds by name, with the function of the tokens: each node holds that, once there are tokens.
fn with_tokens(hold: Hold) -> Hold {
    let mut held = match hold {
        Hold::Everything => return hold,
        Hold::Nothing => BTreeSet::new(),
        Hold::Named(held) => held,
    };
    held.insert(Bytes::from_static(names::RESERVED));
    Hold::Named(held)
}

/// What replication proves and asks for; none if the cluster has no secret.
fn secret(secrets: &Secrets) -> Option<overlay::Secret> {
    let mut seed = [0; 32];
    fill_with_random(&mut seed);
    let own = overlay::Secret::new(secrets.own.as_ref()?, seed);
    Some(match &secrets.also {
        Some(also) => own.accepting(also),
        None => own,
    })
}

/// Reads the cluster's secrets anew. Links that were made by one that is no longer accepted are made anew.
///
/// # Errors
/// Which setting is wrong and what it is to be. Then nothing is changed.
pub(crate) fn read_secrets(node: &Node) -> Result<(), String> {
    let before = node.settings.secrets();
    let now = node.settings.read_secrets()?;
    if before.own.is_some() != now.own.is_some() {
        return Err(
            "cluster-secret: a cluster begins or ceases to have a secret by a restart of its \
                    nodes; expected another secret in place of the present one"
                .into(),
        );
    }
    node.settings.set_secrets(now.clone());
    if let (true, Some(peers), Some(secret)) = (before != now, node.peers.get(), secret(&now)) {
        peers.set_secret(secret);
        tracing::info!("took other cluster secrets");
    }
    Ok(())
}

/// Loads the certificates that the settings name. Links that have no TLS and must have it now are made anew.
///
/// # Errors
/// Which setting is wrong and what it is to be. Then nothing is changed.
pub(crate) fn load_tls(node: &Node) -> Result<(), String> {
    node.tls.load(&node.settings, &node.node_name())?;
    if let Some(peers) = node.peers.get() {
        peers.encryption_changed();
    }
    Ok(())
}

/// Checks that other nodes can be told of this one.
fn check_names(node: &str, cluster: &str) -> Result<(), String> {
    names::check(node.as_bytes()).map_err(|bad| format!("node-name: {bad}"))?;
    if cluster.len() > names::NAME_MAX || cluster.chars().any(char::is_control) {
        return Err(format!(
            "cluster-name: expected at most {} bytes without control characters",
            names::NAME_MAX
        ));
    }
    Ok(())
}

/// Checks that strangers cannot join, unless that was asked for.
fn check_exposed(node: &Node, bind: &[SocketAddr], is_secured: bool) -> Result<(), String> {
    let Some(exposed) = bind.iter().find(|address| !address.ip().is_loopback()) else {
        return Ok(());
    };
    if is_secured {
        return Ok(());
    }
    if !node.settings.peer_insecure() {
        return Err(format!(
            "peer-bind: {} can be reached from other hosts, and without a cluster secret each of them may \
             join; expected --cluster-secret-file FILE, the same on all nodes, certificates \
             (--peer-tls-cert-file), or --peer-insecure yes",
            exposed.ip()
        ));
    }
    if !node.settings.requirepass().is_empty() {
        tracing::warn!(
            "requirepass guards clients only: without a cluster secret each host that reaches {exposed} \
             can read and write everything as a node"
        );
    }
    Ok(())
}

/// The cluster of nodes that were given no name for it.
const DEFAULT_CLUSTER: &str = "miso";
/// The shortest `node-timeout`: with a shorter one a node would do nothing but send heartbeats.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(100);
/// The port of mDNS.
const MDNS_PORT: u16 = 5353;

/// The port for other nodes, or `none`, for CONFIG GET.
pub(crate) fn port(node: &Node) -> String {
    let address = node.peers.get().and_then(Handle::local_addr);
    address.map_or_else(|| "none".to_owned(), |address| address.port().to_string())
}

/// Passes the setting `sync-rate` to replication.
pub(crate) fn set_sync_rate(node: &Node) {
    let Some(peers) = node.peers.get() else { return };
    peers.set_sync_rate(node.settings.sync_rate());
}

/// Passes the setting `replication-interval` to replication.
pub(crate) fn set_intervals(node: &Node) {
    let Some(peers) = node.peers.get() else { return };
    let intervals = node.settings.intervals();
    peers.set_interval(None, Some(intervals.default));
    let mut set = node.own_intervals.lock();
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

/// Waits until replication reports that this node must not go on; why.
pub(crate) async fn fatal(node: &Node) -> String {
    match node.peers.get() {
        Some(peers) => peers.fatal().await,
        None => std::future::pending().await,
    }
}

/// Waits until peers have what this node has, and announces that it leaves.
pub(crate) async fn leave(node: &Node) {
    node.registry.flush();
    let Some(peers) = node.peers.get() else { return };
    let left = peers.ask(Ask::Leave { until: peers.now() + LEAVE });
    if tokio::time::timeout(LEAVE + GRACE, left).await.is_err() {
        tracing::warn!("replication did not end in time");
        return;
    }
    let peers = peers.clone();
    // Its thread may hang in a call of the disk.
    if within(LEAVE, move || peers.stop()).is_none() {
        tracing::warn!("the replication thread did not end in time");
    }
}

/// Asks replication. A node without replication answers for itself alone.
pub(crate) async fn ask(node: &Node, ask: Ask) -> Answer {
    match node.peers.get() {
        Some(peers) => peers.ask(ask).await,
        None => alone(node, ask),
    }
}

/// Asks until the answer is `enough` or the time `until` has come; without a time, for ever. `ask` makes
/// the question, given the time until which it may be answered.
pub(crate) async fn ask_until(
    node: &Node,
    until: Option<Instant>,
    ask: impl Fn(Time) -> Ask,
    enough: impl Fn(&Answer) -> bool,
) -> Answer {
    loop {
        let now = Instant::now();
        let end = until.map_or(now + SLICE, |until| until.min(now + SLICE));
        let answer = match node.peers.get() {
            Some(peers) => {
                let left = end.saturating_duration_since(now);
                peers.ask(ask(peers.now() + left)).await
            }
            None => alone(node, ask(Time::default())),
        };
        let over = until.is_some_and(|until| until <= Instant::now());
        if over || enough(&answer) || matches!(answer, Answer::Refused(_)) {
            return answer;
        }
        if node.peers.get().is_none() {
            tokio::time::sleep_until(end.into()).await;
        }
    }
}

/// The answer of a node without replication.
fn alone(node: &Node, ask: Ask) -> Answer {
    match ask {
        Ask::Wait { .. } | Ask::Sync { .. } => Answer::Count(0),
        Ask::Await { function, vector, .. } => {
            let known = node.store.find(&function);
            Answer::Reached(known.is_some_and(|function| function.covers(&vector)))
        }
        // There is no other node that could know more.
        Ask::Current { .. } => Answer::Reached(true),
        Ask::Nodes => Answer::Nodes(vec![NodeView {
            name: node.node_name(),
            replica: node.store.replica(),
            addresses: Vec::new(),
            liveness: Liveness::Alive,
            linked: false,
            functions: running(node),
            holds: Vec::new(),
            under_copied: 0,
            heard_ms: 0,
            lag_events: 0,
            lag_ms: 0,
            lag_bytes: 0,
            acknowledged: Vec::new(),
            drift_ms: None,
            faults: 0,
            seeds: Vec::new(),
        }]),
        Ask::Functions => Answer::Functions(Vec::new()),
        Ask::Join { .. } | Ask::Forget { .. } => {
            Answer::Refused("ERR this node is alone (peer-port none)".into())
        }
        Ask::Fetch { .. } | Ask::Drain { .. } | Ask::Leave { .. } => Answer::Done,
    }
}

fn running(node: &Node) -> Vec<(Bytes, Vec<Bytes>)> {
    node.registry.running().into_iter().map(|r| (r.function, r.replicas)).collect()
}
