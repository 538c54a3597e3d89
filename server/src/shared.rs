//! What all connections share.

use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use miso_protocol::command::Table;
use miso_replication::shell::Handle;
use miso_store::Store;
use miso_store::crdt::Type;
use tokio::sync::Notify;

use crate::acl::Acl;
use crate::balance::Balance;
use crate::clients::Clients;
use crate::commands::Handlers;
use crate::durability::Saving;
use crate::latency::Latency;
use crate::monitor::Monitors;
use crate::peers::OwnIntervals;
use crate::pubsub::PubSub;
use crate::registry::Registry;
use crate::settings::Settings;
use crate::slowlog::SlowLog;
use crate::stats::{PeerBytes, Stats};

/// Microseconds since 1970.
pub(crate) fn unix_micros() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

/// Milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    unix_micros() / 1000
}

/// Everything but the connections' own state.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) store: Arc<Store>,
    /// How the other nodes are reached; none if this one is alone.
    pub(crate) peers: OnceLock<Handle>,
    pub(crate) own_intervals: OwnIntervals,
    pub(crate) table: Table,
    pub(crate) handlers: Handlers,
    pub(crate) acl: Acl,
    pub(crate) balance: Balance,
    pub(crate) clients: Clients,
    pub(crate) registry: Arc<Registry>,
    pub(crate) pubsub: PubSub,
    pub(crate) monitors: Monitors,
    pub(crate) slowlog: SlowLog,
    pub(crate) latency: Latency,
    pub(crate) stats: Stats,
    pub(crate) started: Instant,
    pub(crate) started_unix: u64,
    pub(crate) run_id: String,
    /// The port that is listened on.
    pub(crate) port: AtomicU16,
    pub(crate) saving: Saving,
    pub(crate) stopping: AtomicBool,
    pub(crate) stop: Notify,
}

impl Shared {
    pub(crate) fn new(settings: Settings, store: Store) -> Shared {
        let (table, handlers) = crate::commands::table();
        let stats = Stats::new(&table);
        let acl = Acl::new(&table, settings.requirepass().as_bytes());
        Shared {
            store: Arc::new(store),
            peers: OnceLock::new(),
            own_intervals: OwnIntervals::default(),
            acl,
            table,
            handlers,
            settings,
            balance: Balance::default(),
            clients: Clients::default(),
            registry: Arc::default(),
            pubsub: PubSub::default(),
            monitors: Monitors::default(),
            slowlog: SlowLog::default(),
            latency: Latency::default(),
            stats,
            started: Instant::now(),
            started_unix: unix_ms() / 1000,
            run_id: crate::acl::generate(160),
            port: AtomicU16::new(0),
            saving: Saving::default(),
            stopping: AtomicBool::new(false),
            stop: Notify::new(),
        }
    }

    /// This node's name.
    pub(crate) fn node_name(&self) -> String {
        self.settings.node_name(self.port.load(Ordering::Relaxed))
    }

    /// Milliseconds since the start.
    pub(crate) fn uptime_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Ends the process soon.
    pub(crate) fn shut_down(&self) {
        self.stopping.store(true, Ordering::Release);
        self.stop.notify_waiters();
        self.stop.notify_one();
    }

    /// Tells who listens to an object of a function that it changed.
    pub(crate) fn object_changed(&self, function: &[u8], object: &[u8], name: &[u8], kind: Type) {
        let channel = [b"__miso__:", function, b":", object].concat();
        let message = [name, b" ", kind.name().as_bytes()].concat();
        self.pubsub.publish(&channel, &message, &self.settings);
    }

    /// Once a second: samples, and closes clients that idle too long.
    pub(crate) fn tick(&self) {
        let peers = self.peers.get().map(Handle::counters).unwrap_or_default();
        self.stats.sample(PeerBytes { received: peers.bytes_received, sent: peers.bytes_sent });
        // What has run out is told to the other nodes.
        self.registry.running(Instant::now(), self.settings.function_linger());
        self.stats.peak_memory.fetch_max(crate::allocator::used_bytes(), Ordering::Relaxed);
        if let Some(timeout) = self.settings.timeout() {
            let now = self.uptime_ms();
            for client in self.clients.list() {
                let idle = now.saturating_sub(client.active_ms.load(Ordering::Relaxed));
                let waits =
                    client.subscribed() || client.is_blocked() || client.about.lock().monitors;
                if u128::from(idle) > timeout.as_millis() && !waits {
                    client.kill();
                }
            }
        }
    }
}
