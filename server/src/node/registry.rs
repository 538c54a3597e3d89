//! Which functions run here, and which replicas of them.
//!
//! A function is registered while a connection that touched one of its objects is open, and for
//! `function-linger` after that. A replica is registered by MISO.REGISTER, while its connection is open
//! or for its TTL after that. Functions that start for one invocation need no register call, and scaling
//! to zero and back does not make them appear and disappear.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use miso_store::Function;
use parking_lot::Mutex;

/// A replica that was registered by name.
#[derive(Debug, Default)]
struct Replica {
    /// How many connections hold it.
    connections: usize,
    /// Until when it stays registered without a connection.
    until: Option<Instant>,
}

#[derive(Debug, Default)]
struct Entry {
    /// How many open connections have touched it.
    connections: usize,
    /// When the last of them was closed.
    idle_since: Option<Instant>,
    replicas: BTreeMap<Box<[u8]>, Replica>,
}

impl Entry {
    /// Forgets what has expired. Returns whether anything is left.
    fn expire(&mut self, now: Instant, linger: Duration) -> bool {
        self.replicas.retain(|_, replica| {
            replica.connections > 0 || replica.until.is_some_and(|until| until > now)
        });
        let lingers = self.idle_since.is_some_and(|since| since + linger > now);
        self.connections > 0 || lingers || !self.replicas.is_empty()
    }
}

/// What runs here: functions, and the replicas registered by name of each.
pub(crate) type Running = BTreeMap<Bytes, Vec<Bytes>>;

/// Is told what runs here, under the registry's lock.
pub(crate) trait Listener: Send + Sync + std::fmt::Debug {
    /// A function begins to run here. Called before [`Listener::runs`].
    fn begins(&self, function: &Function);

    /// What runs here now. Called when that has changed.
    fn runs(&self, running: &Running);
}

#[derive(Debug, Default)]
struct Entries {
    functions: BTreeMap<Box<[u8]>, Entry>,
    /// What the listener was told last.
    told: Running,
}

/// The functions that run on this node.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    entries: Mutex<Entries>,
    listener: OnceLock<Box<dyn Listener>>,
}

/// A connection's hold on a function or one of its replicas, until it is dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    registry: Arc<Registry>,
    function: Box<[u8]>,
    replica: Option<Box<[u8]>>,
    ttl: Option<Duration>,
}

/// One function as MISO.FUNCTIONS shows it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Registered {
    pub(crate) function: Box<[u8]>,
    /// Connections that have touched it.
    pub(crate) connections: usize,
    /// Replicas registered by name.
    pub(crate) replicas: Vec<Box<[u8]>>,
}

impl Registry {
    /// Tells `listener` what runs here from now on. Called once, before anything runs.
    pub(crate) fn listen(&self, listener: Box<dyn Listener>) {
        assert!(self.listener.set(listener).is_ok(), "a registry has one listener");
    }

    /// Holds `function` for a connection that touches one of its objects.
    pub(crate) fn touch(self: &Arc<Self>, function: &Function) -> Registration {
        self.hold(function, None, None)
    }

    /// Holds the replica `replica` of `function` for a connection, and for `ttl` past its end.
    pub(crate) fn register(
        self: &Arc<Self>,
        function: &Function,
        replica: &[u8],
        ttl: Option<Duration>,
    ) -> Registration {
        self.hold(function, Some(replica), ttl)
    }

    fn hold(
        self: &Arc<Self>,
        function: &Function,
        replica: Option<&[u8]>,
        ttl: Option<Duration>,
    ) -> Registration {
        let mut entries = self.entries.lock();
        let begins = !entries.functions.contains_key(function.name());
        let entry = entries.functions.entry(Box::from(function.name())).or_default();
        let connections = match replica {
            None => &mut entry.connections,
            Some(replica) => &mut entry.replicas.entry(Box::from(replica)).or_default().connections,
        };
        *connections += 1;
        let first = *connections == 1;
        if begins && let Some(listener) = self.listener.get() {
            listener.begins(function);
        }
        // Most touches change nothing that the listener is told of.
        if begins || (replica.is_some() && first) {
            self.tell(&mut entries);
        }
        Registration {
            registry: Arc::clone(self),
            function: Box::from(function.name()),
            replica: replica.map(Box::from),
            ttl,
        }
    }

    /// Forgets `replica` of `function`, or the whole function. Returns whether it was registered.
    pub(crate) fn unregister(&self, function: &[u8], replica: Option<&[u8]>) -> bool {
        let mut entries = self.entries.lock();
        let was = match replica {
            None => entries.functions.remove(function).is_some(),
            Some(replica) => entries
                .functions
                .get_mut(function)
                .is_some_and(|entry| entry.replicas.remove(replica).is_some()),
        };
        self.tell(&mut entries);
        was
    }

    /// The functions that run here at `now`, by name.
    pub(crate) fn running(&self, now: Instant, linger: Duration) -> Vec<Registered> {
        let mut entries = self.entries.lock();
        entries.functions.retain(|_, entry| entry.expire(now, linger));
        self.tell(&mut entries);
        let shown = |(function, entry): (_, &Entry)| Registered {
            function: Clone::clone(function),
            connections: entry.connections,
            replicas: entry.replicas.keys().cloned().collect(),
        };
        entries.functions.iter().map(shown).collect()
    }

    /// Tells the listener what runs here, if that has changed.
    fn tell(&self, entries: &mut Entries) {
        let Some(listener) = self.listener.get() else { return };
        let copy = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
        let functions = entries.functions.iter();
        let running: Running = functions
            .map(|(function, entry)| {
                (copy(function), entry.replicas.keys().map(|replica| copy(replica)).collect())
            })
            .collect();
        if running != entries.told {
            listener.runs(&running);
            entries.told = running;
        }
    }
}

impl Registration {
    /// Whether it holds `replica` of `function`.
    pub(crate) fn is_for(&self, function: &[u8], replica: Option<&[u8]>) -> bool {
        &*self.function == function && self.replica.as_deref() == replica
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut entries = self.registry.entries.lock();
        // It may have been unregistered meanwhile.
        let Some(entry) = entries.functions.get_mut(&self.function) else { return };
        match &self.replica {
            None => {
                entry.connections = entry.connections.saturating_sub(1);
                entry.idle_since = Some(now);
            }
            Some(id) => {
                let Some(replica) = entry.replicas.get_mut(id) else { return };
                replica.connections = replica.connections.saturating_sub(1);
                replica.until = replica.until.max(self.ttl.map(|ttl| now + ttl));
                // Without a TTL the replica goes with its last connection, and the function
                // lingers as it does for connections that only touched it.
                let goes = replica.connections == 0 && replica.until.is_none();
                entry.idle_since = Some(now);
                if goes {
                    entry.replicas.remove(id);
                    self.registry.tell(&mut entries);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &[u8]) -> Arc<Function> {
        let config = miso_store::Config::new(miso_store::crdt::ReplicaId(1), 1, Arc::new(|| 0));
        miso_store::Store::new(config).function(name)
    }

    const LINGER: Duration = Duration::from_secs(60);

    fn names(registry: &Registry, now: Instant) -> Vec<Box<[u8]>> {
        registry.running(now, LINGER).into_iter().map(|running| running.function).collect()
    }

    #[test]
    fn a_touch_lasts_until_its_connections_end_and_lingers() {
        let registry = Arc::new(Registry::default());
        let held = registry.touch(&function(b"f"));
        let later = Instant::now() + LINGER * 10;
        assert_eq!(names(&registry, later), [Box::from(&b"f"[..])]);
        drop(held);
        assert_eq!(names(&registry, Instant::now()).len(), 1);
        assert_eq!(names(&registry, later).len(), 0);
    }

    #[test]
    fn a_replica_lasts_for_its_ttl_past_its_connection() {
        let registry = Arc::new(Registry::default());
        drop(registry.register(&function(b"f"), b"r1", Some(LINGER * 5)));
        let held = registry.register(&function(b"f"), b"r2", None);
        let shown = registry.running(Instant::now() + LINGER * 2, LINGER);
        assert_eq!(shown[0].replicas, [Box::from(&b"r1"[..]), Box::from(&b"r2"[..])]);
        drop(held);
        assert_eq!(registry.running(Instant::now(), LINGER)[0].replicas.len(), 1);
        assert_eq!(names(&registry, Instant::now() + LINGER * 6).len(), 0);
    }

    #[test]
    fn unregistering_wins_over_what_still_holds() {
        let registry = Arc::new(Registry::default());
        let held = registry.register(&function(b"f"), b"r", None);
        assert!(registry.unregister(b"f", Some(b"r")) && !registry.unregister(b"f", Some(b"r")));
        assert!(registry.unregister(b"f", None));
        drop(held);
        assert_eq!(names(&registry, Instant::now()).len(), 0);
    }

    #[derive(Clone, Debug, Default)]
    struct Heard(Arc<Mutex<Vec<String>>>);

    impl Listener for Heard {
        fn begins(&self, function: &Function) {
            self.0.lock().push(format!("begins {}", function.name().escape_ascii()));
        }

        fn runs(&self, running: &Running) {
            let shown =
                running.iter().map(|(function, replicas)| format!("{function:?}{replicas:?}"));
            self.0.lock().push(shown.collect::<Vec<_>>().join(" "));
        }
    }

    #[test]
    fn the_listener_is_told_of_changes_only() {
        let (registry, heard) = (Arc::new(Registry::default()), Heard::default());
        registry.listen(Box::new(heard.clone()));
        let (f, now) = (function(b"f"), Instant::now());
        let touches = [registry.touch(&f), registry.touch(&f)];
        let replica = registry.register(&f, b"r", None);
        registry.running(now, LINGER);
        drop((touches, replica));
        registry.running(now + LINGER * 2, LINGER);
        let expected = ["begins f", r#"b"f"[]"#, r#"b"f"[b"r"]"#, r#"b"f"[]"#, ""];
        assert_eq!(*heard.0.lock(), expected);
    }
}
