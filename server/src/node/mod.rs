//! The state of this node that all connections share, and its parts. What it holds knows nothing of
//! commands' handlers, sessions or sockets.

pub(crate) mod acl;
pub(crate) mod attempts;
pub(crate) mod audit;
mod bucket;
pub(crate) mod clients;
mod events;
pub(crate) mod feed;
pub(crate) mod grants;
pub(crate) mod latency;
pub(crate) mod monitor;
pub(crate) mod pubsub;
pub(crate) mod quotas;
pub(crate) mod registry;
pub(crate) mod saving;
pub(crate) mod slowlog;
pub(crate) mod stats;
pub(crate) mod subscriptions;
pub(crate) mod top;
pub(crate) mod tracking;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use miso_protocol::command::Table;
use miso_protocol::names;
use miso_replication::shell::Handle;
use miso_store::crdt::Type;
use miso_store::{Function, Store};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::unix_ms;
use crate::random;
use crate::settings::Settings;
use crate::tls::Tls;

use acl::user::{User, digest};
use acl::{Acl, token};
use attempts::Attempts;
use audit::Audit;
use clients::{Client, Clients};
use feed::Feeds;
use latency::Latency;
use monitor::Monitors;
use pubsub::{Audience, PubSub};
use quotas::Quotas;
use registry::Registry;
use saving::Saving;
use slowlog::SlowLog;
use stats::{PeerBytes, Stats};
use subscriptions::CHANGES;
use top::Top;
use tracking::Tracking;

/// The version of Redis that HELLO and INFO report, for clients that choose what to send by it.
pub(crate) const REDIS_VERSION: &str = "7.4.0";

/// The state that all connections share. A connection's own state is its session.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) settings: Settings,
    pub(crate) store: Arc<Store>,
    /// How the other nodes are reached; none if this one is alone.
    pub(crate) peers: OnceLock<Handle>,
    /// The functions that were given replication intervals of their own.
    pub(crate) own_intervals: Mutex<BTreeSet<String>>,
    /// The rows of all commands.
    pub(crate) table: Table,
    pub(crate) acl: Acl,
    /// Whether anybody has logged in with a token of a function.
    has_tokens: AtomicBool,
    pub(crate) tls: Tls,
    /// Failed authentications.
    pub(crate) attempts: Attempts,
    pub(crate) clients: Clients,
    pub(crate) registry: Arc<Registry>,
    pub(crate) pubsub: PubSub,
    pub(crate) feeds: Feeds,
    pub(crate) monitors: Monitors,
    pub(crate) audit: Audit,
    pub(crate) quotas: Quotas,
    pub(crate) top: Top,
    pub(crate) tracking: Tracking,
    pub(crate) slowlog: SlowLog,
    pub(crate) latency: Latency,
    pub(crate) stats: Stats,
    pub(crate) started: Instant,
    pub(crate) started_unix: u64,
    pub(crate) run_id: String,
    /// The port that is listened on.
    pub(crate) port: AtomicU16,
    /// The port that HTTP is listened for on; 0 before that, or without it.
    pub(crate) http_port: AtomicU16,
    /// The port that HTTP by TLS is listened for on; 0 before that, or without it.
    pub(crate) http_tls_port: AtomicU16,
    pub(crate) saving: Saving,
    pub(crate) stopping: AtomicBool,
    pub(crate) stop: Notify,
}

impl Node {
    /// A node that runs the commands of `table`, with users and registers as at a fresh start.
    pub(crate) fn new(settings: Settings, store: Store, table: Table) -> Node {
        let acl = Acl::new(&table, settings.requirepass().as_bytes());
        let stats = Stats::new(&table);
        let store = Arc::new(store);
        let monitors = Monitors::default();
        monitors.set_events(settings.notify().any());
        monitors.set_refusing(settings.refuses_decisions());
        let node = Node {
            pubsub: PubSub::new(Arc::clone(&store)),
            store,
            peers: OnceLock::new(),
            own_intervals: Mutex::default(),
            acl,
            has_tokens: AtomicBool::new(false),
            tls: Tls::default(),
            table,
            settings,
            attempts: Attempts::default(),
            clients: Clients::default(),
            registry: Arc::default(),
            feeds: Feeds::default(),
            monitors,
            audit: Audit::default(),
            quotas: Quotas::default(),
            top: Top::default(),
            tracking: Tracking::default(),
            slowlog: SlowLog::default(),
            latency: Latency::default(),
            stats,
            started: Instant::now(),
            started_unix: unix_ms() / 1000,
            run_id: random::generate(160),
            port: AtomicU16::new(0),
            http_port: AtomicU16::new(0),
            http_tls_port: AtomicU16::new(0),
            saving: Saving::default(),
            stopping: AtomicBool::new(false),
            stop: Notify::new(),
        };
        node.set_once_limits();
        node
    }

    /// Tells the store how long ids of writes that ran once are kept, and how many.
    pub(crate) fn set_once_limits(&self) {
        let windows = self.settings.once_window();
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let named = windows.named.iter();
        let named = named.map(|(function, time)| (function.as_bytes().into(), ms(*time)));
        self.store
            .set_once_limits((ms(windows.default), named.collect()), self.settings.once_max());
    }

    /// This node's name.
    pub(crate) fn node_name(&self) -> String {
        self.settings.node_name(self.port.load(Ordering::Relaxed))
    }

    /// Opens the audit log that the settings name, anew if it is open already.
    ///
    /// # Errors
    /// If it cannot be opened; then nothing is changed.
    pub(crate) fn open_audit(&self) -> Result<(), String> {
        let target = self.settings.audit_log();
        self.audit.open(target.as_deref())?;
        self.monitors.set_audited(target.is_some());
        Ok(())
    }

    /// Sets the quotas that the settings name.
    pub(crate) fn set_quotas(&self) {
        let settings = &self.settings;
        let by_function = [
            &settings.quota_objects(),
            &settings.quota_writes(),
            &settings.quota_memory(),
            &settings.quota_keybytes(),
            &settings.quota_connections(),
        ];
        let metered = self.quotas.set(by_function, &self.store, settings.databases());
        self.monitors.set_metered(metered);
    }

    /// The functions of which a state is kept, each database by itself; those of `bound` alone, if that is given.
    pub(crate) fn functions_for(&self, bound: Option<&[u8]>) -> Vec<Arc<Function>> {
        let mut all = self.store.functions();
        all.retain(|function| bound.is_none_or(|bound| names::owner(function.name()) == bound));
        all
    }

    /// A client's line in CLIENT LIST.
    pub(crate) fn client_line(&self, client: &Client) -> String {
        let command = match client.last_command() {
            None => "NULL".into(),
            Some((number, None)) => self.table.row(number).name.to_ascii_lowercase(),
            Some((number, Some(sub))) => {
                let (name, subs) = (self.table.row(number).name, self.table.subcommands(number));
                format!("{name}|{}", subs[sub].name).to_ascii_lowercase()
            }
        };
        client.line(self.uptime_ms(), &command)
    }

    /// Whether a function is here, or there is room for one more.
    pub(crate) fn has_room(&self, function: &[u8]) -> bool {
        self.store.count() < self.settings.max_functions() || self.store.find(function).is_some()
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

    /// Publishes that a name of an object changed, to the clients that listen to that object.
    pub(crate) fn object_changed(&self, function: &[u8], object: &[u8], name: &[u8], kind: Type) {
        self.key_changed(function, object);
        let channel = [CHANGES, function, b":", object].concat();
        let message = [name, b" ", kind.name().as_bytes()].concat();
        self.pubsub.publish(&channel, &message, Audience::MayHearOf(function), &self.settings);
    }

    /// Tells the clients that may have cached a key that it has changed, or expired. As in Redis they are not
    /// told of which database it is.
    pub(crate) fn key_changed(&self, function: &[u8], key: &[u8]) {
        if self.monitors.tracked() {
            let (owner, _) = names::split_database(function);
            self.tracking.changed(owner, key, (&self.clients, &self.settings));
        }
    }

    /// A client begins to cache, or goes on with other options; none: it ends that.
    pub(crate) fn track(&self, client: &Arc<Client>, options: Option<tracking::Options>) {
        client.about.lock().tracking =
            options.as_ref().map(|it| (it.redirect.unwrap_or(0), it.broadcast.is_some()));
        let any = match options {
            Some(options) => {
                self.tracking.begin(client, options);
                true
            }
            None => self.tracking.end(client.id),
        };
        self.monitors.set_tracked(any);
        self.pubsub.set_tracked(any);
    }

    /// The user of this name and password, or of this function and a token of it.
    pub(crate) fn authenticate(&self, name: &[u8], password: &[u8]) -> Option<Arc<User>> {
        if let Some(user) = self.acl.authenticate(name, password) {
            return Some(user);
        }
        let function = token::function(password).filter(|function| function == name)?;
        let user = self.user_of_token(&function, &digest(password))?;
        self.has_tokens.store(true, Ordering::Relaxed);
        Some(user)
    }

    /// The user that a token of a function stands for, while it is good.
    fn user_of_token(&self, function: &[u8], hash: &[u8; 32]) -> Option<Arc<User>> {
        let grant = grants::find(&self.store, function, hash, unix_ms())?;
        Some(Arc::new(User::of_token(function, (hash, grant.read_only), &self.table)))
    }

    /// A session's user as it is now; none if it is gone.
    pub(crate) fn user_again(&self, user: &Arc<User>) -> Option<Arc<User>> {
        match (user.granted(), user.function()) {
            (Some(hash), Some(function)) => {
                grants::find(&self.store, function, hash, unix_ms()).map(|_| Arc::clone(user))
            }
            _ => self.acl.get(&user.name),
        }
    }

    /// Closes the connections whose token is revoked or over, wherever it was revoked.
    pub(crate) fn close_without_token(&self) {
        if !self.has_tokens.load(Ordering::Relaxed) {
            return;
        }
        let now = unix_ms();
        let mut closing = self.clients.list();
        closing.retain(|client| {
            let about = client.about.lock();
            let function = about.bound.as_deref().unwrap_or_default();
            about
                .granted
                .is_some_and(|hash| grants::find(&self.store, function, &hash, now).is_none())
        });
        if !closing.is_empty() {
            self.acl.changed();
            closing.iter().for_each(|client| client.kill());
        }
    }

    /// Closes the connections that have lost rights by a change of users, as Redis does: those of users
    /// that are gone, and those that listen to what their user may not hear any more. Returns whether
    /// `me` is one of them; it is left open.
    pub(crate) fn close_without_rights(&self, me: u64) -> bool {
        let user_of = |client: &Client| {
            let about = client.about.lock();
            match (&about.granted, &about.bound) {
                (Some(hash), Some(function)) => self.user_of_token(function, hash),
                _ => self.acl.get(&about.user),
            }
        };
        let gone = |client: &Arc<Client>| {
            !client.about.lock().user.is_empty() && user_of(client).is_none()
        };
        let mut closing = self.clients.list();
        closing.retain(gone);
        closing.extend(self.pubsub.refused(|client, kind, channel| {
            user_of(client).is_none_or(|user| {
                let bound = client.about.lock().bound.clone();
                user.may_listen(kind, channel) && user.function() == bound.as_deref()
            })
        }));
        let others = closing.iter().filter(|client| client.id != me);
        others.for_each(|client| client.kill());
        closing.iter().any(|client| client.id == me)
    }

    /// Called a few times a second: looks after keys that have expired, for as long as commands hardly
    /// notice it.
    pub(crate) fn expire(&self) {
        const MOST: Duration = Duration::from_millis(25);
        let began = Instant::now();
        loop {
            let found = self.store.expire();
            self.stats.expired_keys.fetch_add(found.keys, Ordering::Relaxed);
            if !found.more || began.elapsed() >= MOST {
                return;
            }
        }
    }

    /// Called once a second: samples the counters, and closes clients that were idle for `timeout`.
    pub(crate) fn tick(&self) {
        let peers = self.peers.get().map(Handle::counters).unwrap_or_default();
        self.stats.sample(PeerBytes { received: peers.bytes_received, sent: peers.bytes_sent });
        // What has lapsed is announced to the other nodes, and a function without any data is forgotten.
        self.registry.lapse(Instant::now(), self.settings.function_linger());
        self.registry.release_ended(|function| self.store.forget_unused(function));
        self.quotas.measure(&self.store, self.settings.databases());
        self.top.tick();
        self.close_without_token();
        self.feeds.tick(Instant::now(), self.peers.get().is_none());
        self.tls.warn(unix_ms() / 1000);
        self.stats.peak_memory.fetch_max(crate::allocator::used_bytes(), Ordering::Relaxed);
        let clients = self.clients.list();
        for client in &clients {
            client.check_limit(self.settings.output_limit(client.subscribed()));
        }
        let max = self.settings.maxmemory_clients();
        if max > 0 {
            self.stats.evicted_clients.fetch_add(self.clients.evict(max), Ordering::Relaxed);
        }
        let now = self.uptime_ms();
        let (instant, must_log_in) = (Instant::now(), self.acl.anonymous().is_none());
        for client in &clients {
            let silent = now.saturating_sub(client.active_ms.load(Ordering::Relaxed));
            let age = instant.saturating_duration_since(client.created);
            if client.is_stalled(must_log_in, age, Duration::from_millis(silent)) {
                client.kill();
            }
        }
        if let Some(timeout) = self.settings.timeout() {
            for client in &clients {
                let idle = now.saturating_sub(client.active_ms.load(Ordering::Relaxed));
                let waits = client.subscribed() || client.waits() || client.about.lock().monitors;
                if u128::from(idle) > timeout.as_millis() && !waits {
                    client.kill();
                }
            }
        }
    }
}
