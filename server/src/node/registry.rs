//! Which functions run here, and which replicas of them.
//!
//! A function is registered while a connection that touched one of its objects is open, and for
//! `function-linger` after that. A replica is registered by MISO.REGISTER, while its connection is open
//! or for its TTL after that. Functions that start for one invocation need no register call, and scaling
//! to zero and back does not make them appear and disappear.
//!
//! Each registration has a number that is never used again. It ends only what it holds itself: neither
//! the end of an older connection nor MISO.UNREGISTER on another one takes anything from a newer one.
//!
//! The listener is told what runs here as a whole. So after it was told there is a pause, which grows with
//! what telling costs; what changes meanwhile is told together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use miso_protocol::names;
use miso_store::Function;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// The pause between two tellings is this many times as long as the first of them took.
const PAUSE: u32 = 32;
/// How many named replicas a node registers at most.
const REPLICAS_MAX: usize = 65_536;

/// The numbers of the registrations that hold something: one, as a rule, which takes no memory elsewhere.
#[derive(Debug, Default)]
struct Holders {
    one: Option<u64>,
    others: BTreeSet<u64>,
}

impl Holders {
    fn insert(&mut self, number: u64) {
        if self.one.is_none() {
            self.one = Some(number);
        } else {
            self.others.insert(number);
        }
    }

    /// Whether it was there.
    fn remove(&mut self, number: u64) -> bool {
        if self.one == Some(number) {
            self.one = None;
            return true;
        }
        self.others.remove(&number)
    }

    fn len(&self) -> usize {
        usize::from(self.one.is_some()) + self.others.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A replica that was registered by name.
#[derive(Debug, Default)]
struct Replica {
    holders: Holders,
    /// Until when it stays registered without a connection.
    until: Option<Instant>,
}

impl Replica {
    fn is_over(&self, now: Instant) -> bool {
        self.holders.is_empty() && self.until.is_none_or(|until| until <= now)
    }
}

#[derive(Debug, Default)]
struct Entry {
    /// The connections that have touched it.
    holders: Holders,
    /// When the last of them was closed.
    idle_since: Option<Instant>,
    replicas: BTreeMap<Bytes, Replica>,
}

impl Entry {
    fn is_held(&self) -> bool {
        !self.holders.is_empty() || !self.replicas.is_empty()
    }

    /// Whether time alone ends it, or one of its replicas.
    fn lapses(&self) -> bool {
        !self.is_held() || self.replicas.values().any(|replica| replica.holders.is_empty())
    }
}

/// What runs here: functions, and the replicas registered by name of each.
pub(crate) type Running = BTreeMap<Bytes, Vec<Bytes>>;

/// Is told what runs here, under the registry's lock.
pub(crate) trait Listener: Send + Sync + std::fmt::Debug {
    /// A function begins to run here. Called before [`Listener::runs`].
    fn begins(&self, function: &Function);

    /// What runs here now. Called after that has changed.
    fn runs(&self, running: Running);
}

#[derive(Debug, Default)]
struct Entries {
    functions: BTreeMap<Bytes, Entry>,
    /// The functions that time alone ends, wholly or in part.
    lapsing: BTreeSet<Bytes>,
    /// The functions that have ended and may still take memory.
    ended: BTreeSet<Bytes>,
    /// How many named replicas there are.
    replicas: usize,
    next: u64,
    /// Whether something has changed since the listener was told.
    changed: bool,
    /// When the listener may be told again; none before the first time.
    tell_from: Option<Instant>,
}

impl Entries {
    /// Takes what has ended out of a function, and the function if nothing is left of it. `linger` is
    /// how long it stays after its last connection; none is for ever.
    fn settle(&mut self, function: &Bytes, now: Instant, linger: Option<Duration>) {
        let Some(entry) = self.functions.get_mut(function) else { return };
        let before = entry.replicas.len();
        entry.replicas.retain(|_, replica| !replica.is_over(now));
        let gone = before - entry.replicas.len();
        self.replicas -= gone;
        let lingers =
            entry.idle_since.is_some_and(|since| linger.is_none_or(|linger| since + linger > now));
        if !entry.is_held() && !lingers {
            self.functions.remove(function);
            self.lapsing.remove(function);
            self.ended.insert(function.clone());
            self.changed = true;
            return;
        }
        self.changed |= gone > 0;
        if entry.lapses() {
            self.lapsing.insert(function.clone());
        } else {
            self.lapsing.remove(function);
        }
    }
}

/// The functions that run on this node.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    entries: Mutex<Entries>,
    listener: OnceLock<Box<dyn Listener>>,
    /// Notified when there is something to tell later.
    due: Notify,
}

/// A connection's hold on a function or one of its replicas, until it is dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    registry: Arc<Registry>,
    number: u64,
    function: Bytes,
    replica: Option<Bytes>,
    ttl: Option<Duration>,
}

/// One function as MISO.FUNCTIONS shows it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Registered {
    pub(crate) function: Bytes,
    /// Connections that have touched it.
    pub(crate) connections: usize,
    /// Replicas registered by name.
    pub(crate) replicas: Vec<Bytes>,
}

impl Registry {
    /// Tells `listener` what runs here from now on. Called once, before anything runs.
    pub(crate) fn listen(&self, listener: Box<dyn Listener>) {
        assert!(self.listener.set(listener).is_ok(), "a registry has one listener");
    }

    /// Holds `function` for a connection that touches one of its objects.
    pub(crate) fn touch(self: &Arc<Self>, function: &Function) -> Registration {
        let mut entries = self.entries.lock();
        let (name, number) = self.enter(&mut entries, function);
        let entry = entries.functions.entry(name.clone()).or_default();
        entry.holders.insert(number);
        self.after(&mut entries, &name);
        Registration {
            registry: Arc::clone(self),
            number,
            function: name,
            replica: None,
            ttl: None,
        }
    }

    /// Holds the replica `replica` of `function` for a connection, and for `ttl` past its end. None if
    /// there are too many replicas.
    pub(crate) fn register(
        self: &Arc<Self>,
        function: &Function,
        replica: &[u8],
        ttl: Option<Duration>,
    ) -> Option<Registration> {
        let mut entries = self.entries.lock();
        if entries.replicas >= REPLICAS_MAX {
            return None;
        }
        let (name, number) = self.enter(&mut entries, function);
        let replica = Bytes::copy_from_slice(replica);
        let entry = entries.functions.entry(name.clone()).or_default();
        let is_new = !entry.replicas.contains_key(&replica);
        entry.replicas.entry(replica.clone()).or_default().holders.insert(number);
        entries.replicas += usize::from(is_new);
        entries.changed |= is_new;
        self.after(&mut entries, &name);
        let registry = Arc::clone(self);
        Some(Registration { registry, number, function: name, replica: Some(replica), ttl })
    }

    /// The name and the number of a new registration. A function that is new begins.
    fn enter(&self, entries: &mut Entries, function: &Function) -> (Bytes, u64) {
        entries.next += 1;
        let known = entries.functions.get_key_value(function.name());
        let name = match known {
            Some((name, _)) => name.clone(),
            None => {
                entries.changed = true;
                entries.ended.remove(function.name());
                if let Some(listener) = self.listener.get() {
                    listener.begins(function);
                }
                Bytes::copy_from_slice(function.name())
            }
        };
        (name, entries.next)
    }

    /// After a registration of `function`: it may not lapse any more, and the listener may hear of it.
    fn after(&self, entries: &mut Entries, function: &Bytes) {
        if entries.functions.get(function).is_some_and(|entry| !entry.lapses()) {
            entries.lapsing.remove(function);
        }
        self.tell(entries);
    }

    /// Ends the replica `replica` of `function` if only its TTL holds it. Returns whether it did.
    pub(crate) fn end_lapsing(&self, function: &[u8], replica: &[u8]) -> bool {
        let mut entries = self.entries.lock();
        let Some((name, _)) = entries.functions.get_key_value(function) else { return false };
        let name = name.clone();
        let Some(entry) = entries.functions.get_mut(&name) else { return false };
        let Some(replica) = entry.replicas.get_mut(replica) else { return false };
        if !replica.holders.is_empty() {
            return false;
        }
        replica.until = None;
        entries.settle(&name, Instant::now(), Some(Duration::ZERO));
        self.tell(&mut entries);
        true
    }

    /// Whether `function` runs here.
    pub(crate) fn runs(&self, function: &[u8]) -> bool {
        self.entries.lock().functions.contains_key(function)
    }

    /// How many functions run here.
    pub(crate) fn count(&self) -> usize {
        self.entries.lock().functions.len()
    }

    /// Forgets what has lapsed by `now`, and tells the listener what is due.
    pub(crate) fn lapse(&self, now: Instant, linger: Duration) {
        let mut entries = self.entries.lock();
        let lapsing: Vec<Bytes> = entries.lapsing.iter().cloned().collect();
        lapsing.iter().for_each(|function| entries.settle(function, now, Some(linger)));
        self.tell(&mut entries);
    }

    /// Hands the functions that have ended to `release`, which gives their memory back. One for which it
    /// returns false is handed to it again the next time.
    pub(crate) fn release_ended(&self, release: impl Fn(&[u8]) -> bool) {
        self.entries.lock().ended.retain(|function| !release(function));
    }

    /// The functions that run here, by name.
    pub(crate) fn running(&self) -> Vec<Registered> {
        let entries = self.entries.lock();
        let shown = |(function, entry): (&Bytes, &Entry)| Registered {
            function: function.clone(),
            connections: entry.holders.len(),
            replicas: entry.replicas.keys().cloned().collect(),
        };
        entries.functions.iter().map(shown).collect()
    }

    /// Tells the listener what runs here, if that has changed and it is time; else notes that it is due.
    fn tell(&self, entries: &mut Entries) {
        let Some(listener) = self.listener.get() else { return };
        if !entries.changed {
            return;
        }
        let start = Instant::now();
        if entries.tell_from.is_some_and(|from| from > start) {
            self.due.notify_one();
            return;
        }
        let all = entries.functions.iter();
        let running: Running = all
            .map(|(function, entry)| (function.clone(), entry.replicas.keys().cloned().collect()))
            .collect();
        listener.runs(running);
        entries.changed = false;
        let now = Instant::now();
        entries.tell_from = Some(now + (now - start) * PAUSE);
    }

    /// Tells the listener what runs here now if it has not heard, whatever that costs.
    pub(crate) fn flush(&self) {
        let mut entries = self.entries.lock();
        entries.tell_from = None;
        self.tell(&mut entries);
    }

    /// Tells the listener what is due later, for as long as it is polled.
    pub(crate) async fn keep_telling(&self) {
        loop {
            self.due.notified().await;
            let from = self.entries.lock().tell_from;
            if let Some(from) = from {
                tokio::time::sleep_until(from.into()).await;
            }
            self.tell(&mut self.entries.lock());
        }
    }

    /// Takes the hold of a registration back. The function then stays for `linger`, and a replica for
    /// its TTL; with neither they end now.
    fn release(&self, held: &Registration, ttl: Option<Duration>, lingers: bool) {
        let now = Instant::now();
        let mut entries = self.entries.lock();
        let Some(entry) = entries.functions.get_mut(&held.function) else { return };
        let is_held = match &held.replica {
            None => entry.holders.remove(held.number),
            Some(id) => entry.replicas.get_mut(id).is_some_and(|replica| {
                let was = replica.holders.remove(held.number);
                if was && lingers {
                    replica.until = replica.until.max(ttl.map(|ttl| now + ttl));
                }
                was
            }),
        };
        if !is_held {
            return;
        }
        if lingers {
            entry.idle_since = Some(now);
        }
        // What lingers is forgotten later, by the setting of then.
        let linger = if lingers { None } else { Some(Duration::ZERO) };
        let function = held.function.clone();
        entries.settle(&function, now, linger);
        self.tell(&mut entries);
    }
}

impl Registration {
    /// The name of its function.
    pub(crate) fn function(&self) -> &Bytes {
        &self.function
    }

    /// Ends it at once: nothing stays for its TTL, and the function does not linger if nothing else
    /// holds it.
    pub(crate) fn end(self) {
        self.registry.release(&self, None, false);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.release(self, self.ttl, true);
    }
}

/// The registrations of one session, by function and replica.
#[derive(Debug, Default)]
pub(crate) struct Registrations(BTreeMap<(Bytes, Option<Bytes>), Registration>);

impl Registrations {
    /// Keeps a registration. One of the same function and replica ends after it.
    pub(crate) fn keep(&mut self, held: Registration) {
        self.0.insert((held.function.clone(), held.replica.clone()), held);
    }

    /// Holds the function itself, unless it is held already.
    pub(crate) fn touch(&mut self, registry: &Arc<Registry>, function: &Function) {
        if !self.touches(function.name()) {
            self.keep(registry.touch(function));
        }
    }

    /// Whether the function itself is held.
    fn touches(&self, function: &[u8]) -> bool {
        self.0.contains_key(&(Bytes::copy_from_slice(function), None))
    }

    /// Ends the hold on the databases of a function that were touched. Replicas by name stay.
    pub(crate) fn leave(&mut self, owner: &[u8]) {
        self.0.retain(|(name, replica), _| replica.is_some() || names::owner(name) != owner);
    }

    /// Takes out the registration of a replica, or of the function itself if that is none.
    pub(crate) fn take(&mut self, function: &[u8], replica: Option<&[u8]>) -> Option<Registration> {
        let replica = replica.map(Bytes::copy_from_slice);
        self.0.remove(&(Bytes::copy_from_slice(function), replica))
    }

    /// Takes out all registrations of a function and its databases.
    pub(crate) fn take_all(&mut self, function: &[u8]) -> Vec<Registration> {
        let is_of = |name: &[u8]| name == function || names::owner(name) == function;
        let keys: Vec<_> = self.0.keys().filter(|(name, _)| is_of(name)).cloned().collect();
        keys.iter().filter_map(|key| self.0.remove(key)).collect()
    }

    /// Ends all of them, as at the end of the session.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
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

    fn names(registry: &Registry, now: Instant) -> Vec<Bytes> {
        registry.lapse(now, LINGER);
        registry.running().into_iter().map(|running| running.function).collect()
    }

    fn replica(
        registry: &Arc<Registry>,
        function: &Function,
        id: &[u8],
        ttl: Option<Duration>,
    ) -> Registration {
        registry.register(function, id, ttl).expect("there is room")
    }

    #[test]
    fn a_touch_lasts_until_its_connections_end_and_lingers() {
        let registry = Arc::new(Registry::default());
        let held = registry.touch(&function(b"f"));
        let later = Instant::now() + LINGER * 10;
        assert_eq!(names(&registry, later), ["f"]);
        drop(held);
        assert_eq!(names(&registry, Instant::now()).len(), 1);
        assert_eq!((names(&registry, later).len(), registry.count()), (0, 0));
    }

    #[test]
    fn the_memory_of_what_has_ended_is_given_back_once_it_can_be() {
        let registry = Arc::new(Registry::default());
        let (f, g) = (function(b"f"), function(b"g"));
        registry.touch(&f).end();
        registry.touch(&g).end();
        let asked = || {
            let asked = Mutex::new(Vec::new());
            registry.release_ended(|name| {
                asked.lock().push(name.to_vec());
                name == b"f"
            });
            asked.into_inner()
        };
        assert_eq!(asked(), [b"f", b"g"]);
        assert_eq!(asked(), [b"g"], "it is tried again");
        let again = registry.touch(&g);
        assert!(asked().is_empty(), "it runs again");
        again.end();
        assert_eq!(asked(), [b"g"]);
    }

    #[test]
    fn a_replica_lasts_for_its_ttl_past_its_connection() {
        let registry = Arc::new(Registry::default());
        drop(replica(&registry, &function(b"f"), b"r1", Some(LINGER * 5)));
        let held = replica(&registry, &function(b"f"), b"r2", None);
        registry.lapse(Instant::now() + LINGER * 2, LINGER);
        assert_eq!(registry.running()[0].replicas, ["r1", "r2"]);
        drop(held);
        registry.lapse(Instant::now(), LINGER);
        assert_eq!(registry.running()[0].replicas, ["r1"]);
        assert_eq!(names(&registry, Instant::now() + LINGER * 6).len(), 0);
    }

    /// A connection takes back and leaves its own registrations alone.
    #[test]
    fn a_registration_ends_what_it_holds_and_no_more() {
        let registry = Arc::new(Registry::default());
        let f = function(b"f");
        let (mine, other) = (registry.touch(&f), registry.touch(&f));
        let (old, new) = (replica(&registry, &f, b"r", None), replica(&registry, &f, b"r", None));
        mine.end();
        drop(old);
        let now = Instant::now() + LINGER * 2;
        registry.lapse(now, LINGER);
        let shown = registry.running();
        assert_eq!((shown[0].connections, shown[0].replicas.as_slice()), (1, &["r".into()][..]));
        other.end();
        assert!(registry.runs(b"f"));
        new.end();
        assert!(!registry.runs(b"f"), "its last registration ended it");
    }

    #[test]
    fn the_end_of_an_older_connection_leaves_a_newer_generation_alone() {
        let registry = Arc::new(Registry::default());
        let f = function(b"f");
        let older = registry.touch(&f);
        registry.touch(&f).end();
        let newer = registry.touch(&f);
        drop(older);
        drop(replica(&registry, &f, b"r", None));
        assert_eq!(names(&registry, Instant::now() + LINGER * 2), ["f"]);
        newer.end();
        assert_eq!(registry.count(), 0);
    }

    #[test]
    fn a_replica_that_only_its_ttl_holds_can_be_ended_by_name() {
        let registry = Arc::new(Registry::default());
        let f = function(b"f");
        let held = replica(&registry, &f, b"r", Some(LINGER));
        assert!(!registry.end_lapsing(b"f", b"r"), "a connection holds it");
        drop(held);
        assert!(registry.end_lapsing(b"f", b"r") && !registry.end_lapsing(b"f", b"r"));
        assert!(!registry.runs(b"f"));
    }

    #[derive(Clone, Debug, Default)]
    struct Heard(Arc<Mutex<Vec<String>>>);

    impl Listener for Heard {
        fn begins(&self, function: &Function) {
            self.0.lock().push(format!("begins {}", function.name().escape_ascii()));
        }

        fn runs(&self, running: Running) {
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
        registry.flush();
        let replica = replica(&registry, &f, b"r", None);
        registry.flush();
        registry.lapse(now, LINGER);
        registry.flush();
        drop((touches, replica));
        registry.flush();
        registry.lapse(now + LINGER * 2, LINGER);
        registry.flush();
        let expected = ["begins f", r#"b"f"[]"#, r#"b"f"[b"r"]"#, r#"b"f"[]"#, ""];
        assert_eq!(*heard.0.lock(), expected);
    }

    /// Each telling says everything, so what changes in a row must not be told in a row.
    #[tokio::test]
    async fn many_changes_are_told_together() {
        let (registry, heard) = (Arc::new(Registry::default()), Heard::default());
        registry.listen(Box::new(heard.clone()));
        let held: Vec<_> =
            (0..1000).map(|n: u32| registry.touch(&function(n.to_string().as_bytes()))).collect();
        let tellings = || heard.0.lock().iter().filter(|line| !line.starts_with("begins")).count();
        assert!(tellings() < 900, "{}", tellings());
        let all_told = async {
            while !heard.0.lock().last().is_some_and(|last| last.contains(r#"b"999"[]"#)) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let deadline = tokio::time::sleep(Duration::from_secs(60));
        tokio::select! {
            () = all_told => {}
            () = registry.keep_telling() => {}
            () = deadline => panic!("the last changes were not told"),
        }
        drop(held);
    }
}
