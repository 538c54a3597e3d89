//! Which functions run here, and which replicas of them.
//!
//! A function is registered while a connection that touched one of its objects is open, and for
//! `function-linger` beyond; or by MISO.REGISTER, held by the connection, or past its end for the
//! TTL that was given. Functions that come and go per invocation need no register call, and
//! scaling to zero and back does not flap.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A replica that was registered by name.
#[derive(Debug, Default)]
struct Replica {
    /// How many connections hold it.
    connections: usize,
    /// Until when it stays without any.
    until: Option<Instant>,
}

#[derive(Debug, Default)]
struct Entry {
    /// How many connections have touched it.
    connections: usize,
    /// When the last of them went.
    idle_since: Option<Instant>,
    replicas: BTreeMap<Box<[u8]>, Replica>,
}

impl Entry {
    /// Forgets what has run out; whether anything is left.
    fn expire(&mut self, now: Instant, linger: Duration) -> bool {
        self.replicas.retain(|_, replica| {
            replica.connections > 0 || replica.until.is_some_and(|until| until > now)
        });
        let lingers = self.idle_since.is_some_and(|since| since + linger > now);
        self.connections > 0 || lingers || !self.replicas.is_empty()
    }
}

/// The functions that run on this node.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    functions: Mutex<BTreeMap<Box<[u8]>, Entry>>,
}

/// A connection's hold on a function or one of its replicas; gone when dropped.
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
    /// Holds `function` for a connection that touches one of its objects.
    pub(crate) fn touch(self: &Arc<Self>, function: &[u8]) -> Registration {
        self.functions.lock().entry(Box::from(function)).or_default().connections += 1;
        Registration {
            registry: Arc::clone(self),
            function: Box::from(function),
            replica: None,
            ttl: None,
        }
    }

    /// Holds the replica `replica` of `function` for a connection, and for `ttl` past its end.
    pub(crate) fn register(
        self: &Arc<Self>,
        function: &[u8],
        replica: &[u8],
        ttl: Option<Duration>,
    ) -> Registration {
        let mut functions = self.functions.lock();
        let entry = functions.entry(Box::from(function)).or_default();
        entry.replicas.entry(Box::from(replica)).or_default().connections += 1;
        Registration {
            registry: Arc::clone(self),
            function: Box::from(function),
            replica: Some(Box::from(replica)),
            ttl,
        }
    }

    /// Forgets `replica` of `function`, or the whole function; whether it was registered.
    pub(crate) fn unregister(&self, function: &[u8], replica: Option<&[u8]>) -> bool {
        let mut functions = self.functions.lock();
        match replica {
            None => functions.remove(function).is_some(),
            Some(replica) => functions
                .get_mut(function)
                .is_some_and(|entry| entry.replicas.remove(replica).is_some()),
        }
    }

    /// The functions that run here at `now`, by name.
    pub(crate) fn running(&self, now: Instant, linger: Duration) -> Vec<Registered> {
        let mut functions = self.functions.lock();
        functions.retain(|_, entry| entry.expire(now, linger));
        let shown = |(function, entry): (_, &Entry)| Registered {
            function: Clone::clone(function),
            connections: entry.connections,
            replicas: entry.replicas.keys().cloned().collect(),
        };
        functions.iter().map(shown).collect()
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
        let mut functions = self.registry.functions.lock();
        // It may have been unregistered meanwhile.
        let Some(entry) = functions.get_mut(&self.function) else { return };
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
                if replica.connections == 0 && replica.until.is_none() {
                    entry.replicas.remove(id);
                }
                entry.idle_since = Some(now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_secs(60);

    fn names(registry: &Registry, now: Instant) -> Vec<Box<[u8]>> {
        registry.running(now, LINGER).into_iter().map(|running| running.function).collect()
    }

    #[test]
    fn a_touch_lasts_as_long_as_its_connections_and_lingers() {
        let registry = Arc::new(Registry::default());
        let held = registry.touch(b"f");
        let later = Instant::now() + LINGER * 10;
        assert_eq!(names(&registry, later), [Box::from(&b"f"[..])]);
        drop(held);
        assert_eq!(names(&registry, Instant::now()).len(), 1);
        assert_eq!(names(&registry, later).len(), 0);
    }

    #[test]
    fn a_replica_lasts_for_its_ttl_past_its_connection() {
        let registry = Arc::new(Registry::default());
        drop(registry.register(b"f", b"r1", Some(LINGER * 5)));
        let held = registry.register(b"f", b"r2", None);
        let shown = registry.running(Instant::now() + LINGER * 2, LINGER);
        assert_eq!(shown[0].replicas, [Box::from(&b"r1"[..]), Box::from(&b"r2"[..])]);
        drop(held);
        assert_eq!(registry.running(Instant::now(), LINGER)[0].replicas.len(), 1);
        assert_eq!(names(&registry, Instant::now() + LINGER * 6).len(), 0);
    }

    #[test]
    fn unregistering_wins_over_what_still_holds() {
        let registry = Arc::new(Registry::default());
        let held = registry.register(b"f", b"r", None);
        assert!(registry.unregister(b"f", Some(b"r")) && !registry.unregister(b"f", Some(b"r")));
        assert!(registry.unregister(b"f", None));
        drop(held);
        assert_eq!(names(&registry, Instant::now()).len(), 0);
    }
}
