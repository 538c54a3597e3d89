//! The clients of this process, as other connections see them: for CLIENT LIST and KILL, and for
//! messages from one connection to another.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use miso_protocol::names;
use parking_lot::Mutex;

use crate::node::subscriptions::{ChannelKind, PerKind};
use crate::settings::kind::OutputLimit;

/// What CLIENT LIST shows of a client.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    pub(crate) name: Box<[u8]>,
    pub(crate) lib_name: Box<[u8]>,
    pub(crate) lib_ver: Box<[u8]>,
    pub(crate) user: Box<[u8]>,
    pub(crate) function: Box<[u8]>,
    /// The number of the database that it has selected.
    pub(crate) database: u32,
    /// The function that its user is bound to.
    pub(crate) bound: Option<Box<[u8]>>,
    /// The SHA-256 of the function's token that it has logged in with.
    pub(crate) granted: Option<[u8; 32]>,
    pub(crate) resp: u8,
    pub(crate) subscriptions: PerKind<usize>,
    /// Commands queued by MULTI; -1 outside.
    pub(crate) multi: i64,
    pub(crate) watched: usize,
    pub(crate) monitors: bool,
    /// If it caches: the client that is told in its place or 0, and whether it hears of all keys.
    pub(crate) tracking: Option<(u64, bool)>,
    pub(crate) no_evict: bool,
    pub(crate) no_touch: bool,
}

/// Messages of other connections that a client has not taken yet, and the waker of its connection.
#[derive(Debug, Default)]
struct Outbox {
    bytes: Vec<u8>,
    /// Since when its length has been above the soft limit.
    over_soft: Option<Instant>,
    waker: Option<Waker>,
}

/// How long a client may take to log in.
const LOGIN: Duration = Duration::from_secs(10);
/// How long the next byte of a command that has begun may take.
const STALL: Duration = Duration::from_secs(30);

/// Before the first command.
const NO_COMMAND: u32 = u32::MAX;

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) address: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) created: Instant,
    pub(crate) about: Mutex<About>,
    /// Milliseconds since the start of the process at which it last sent something.
    pub(crate) active_ms: AtomicU64,
    /// The row of its last command, and its subcommand's place + 1 in the upper half.
    last_command: AtomicU32,
    /// Bytes that it has not read.
    pub(crate) unread: AtomicUsize,
    /// Bytes of a command that has not come whole.
    pub(crate) unparsed: AtomicUsize,
    outbox: Mutex<Outbox>,
    /// Whether its connection is to look at the outbox, or at whether it is to be closed.
    called: AtomicBool,
    killed: AtomicBool,
    block: Mutex<Block>,
    /// Whether it has sent a command that runs once CLIENT PAUSE ends.
    pub(crate) paused: AtomicBool,
}

/// How CLIENT UNBLOCK ended a wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unblocked {
    /// As at its timeout.
    Timeout,
    /// With an error.
    Error,
}

/// Whether a command keeps the connection waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Block {
    #[default]
    None,
    Waits,
    Over(Unblocked),
}

/// A wait of a connection, over when this is dropped.
pub(crate) struct Blocked {
    client: Arc<Client>,
    clients: Arc<AtomicUsize>,
}

impl Drop for Blocked {
    fn drop(&mut self) {
        *self.client.block.lock() = Block::None;
        self.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Client {
    pub(crate) fn new(id: u64, address: SocketAddr, local: SocketAddr, active_ms: u64) -> Client {
        Client {
            id,
            address,
            local,
            created: Instant::now(),
            about: Mutex::new(About { resp: 2, multi: -1, ..About::default() }),
            active_ms: AtomicU64::new(active_ms),
            last_command: AtomicU32::new(NO_COMMAND),
            unread: AtomicUsize::new(0),
            unparsed: AtomicUsize::new(0),
            outbox: Mutex::default(),
            called: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            block: Mutex::default(),
            paused: AtomicBool::new(false),
        }
    }

    /// Puts a message into its outbox. A client that does not read is closed above `limit`, so the memory
    /// it takes stays bounded.
    pub(crate) fn send(&self, message: &[u8], limit: OutputLimit) {
        let mut outbox = self.outbox.lock();
        if self.is_killed() {
            return;
        }
        outbox.bytes.extend_from_slice(message);
        self.enforce(&mut outbox, limit);
        if self.is_killed() || !self.is_called() {
            self.call(&outbox);
        }
    }

    /// Closes it if what it has not read is above `limit`, by size or by time. Called by the clock too:
    /// the time of the soft limit passes although nothing more is sent.
    pub(crate) fn check_limit(&self, limit: OutputLimit) {
        let mut outbox = self.outbox.lock();
        if !self.is_killed() {
            self.enforce(&mut outbox, limit);
            if self.is_killed() {
                self.call(&outbox);
            }
        }
    }

    fn enforce(&self, outbox: &mut Outbox, limit: OutputLimit) {
        let unread = outbox.bytes.len() + self.unread.load(Ordering::Relaxed);
        let hard = limit.hard > 0 && unread > limit.hard;
        let soft = limit.soft > 0 && unread > limit.soft;
        let since =
            if soft { *outbox.over_soft.get_or_insert_with(Instant::now) } else { Instant::now() };
        if !soft {
            outbox.over_soft = None;
        }
        if hard || (soft && since.elapsed() > limit.soft_for) {
            outbox.bytes = Vec::new();
            self.killed.store(true, Ordering::Release);
        }
    }

    /// Closes it soon.
    pub(crate) fn kill(&self) {
        self.killed.store(true, Ordering::Release);
        self.wake();
    }

    /// Has its connection look at what has changed for it.
    pub(crate) fn wake(&self) {
        self.call(&self.outbox.lock());
    }

    fn call(&self, outbox: &Outbox) {
        self.called.store(true, Ordering::Release);
        if let Some(waker) = &outbox.waker {
            waker.wake_by_ref();
        }
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    /// Whether it was called and has not looked yet.
    pub(crate) fn is_called(&self) -> bool {
        self.called.load(Ordering::Acquire)
    }

    /// Sets the waker of its connection.
    pub(crate) fn listen(&self, waker: &Waker) {
        self.outbox.lock().waker = Some(waker.clone());
    }

    /// Ends what it waits for; whether it waited.
    pub(crate) fn unblock(&self, how: Unblocked) -> bool {
        let mut block = self.block.lock();
        let waits = *block == Block::Waits;
        if waits {
            *block = Block::Over(how);
            drop(block);
            self.wake();
        }
        waits
    }

    /// How its wait was ended, if it was.
    pub(crate) fn unblocked(&self) -> Option<Unblocked> {
        match *self.block.lock() {
            Block::Over(how) => Some(how),
            Block::None | Block::Waits => None,
        }
    }

    /// Whether a command keeps it waiting.
    pub(crate) fn is_blocked(&self) -> bool {
        *self.block.lock() != Block::None
    }

    /// Whether it is silent because it waits for an answer.
    pub(crate) fn waits(&self) -> bool {
        self.is_blocked() || self.paused.load(Ordering::Acquire)
    }

    /// Whether it takes too long: `age` since it connected, to log in if it must; or `silent` since its last
    /// byte, to go on with a command that it has begun.
    pub(crate) fn is_stalled(&self, must_log_in: bool, age: Duration, silent: Duration) -> bool {
        let is_stranger = must_log_in && age > LOGIN && self.about.lock().user.is_empty();
        let has_half = silent > STALL
            && self.unparsed.load(Ordering::Relaxed) > 0
            && self.unread.load(Ordering::Relaxed) == 0
            && !self.waits();
        is_stranger || has_half
    }

    pub(crate) fn set_last_command(&self, row: u16, sub: Option<usize>) {
        let sub = sub.map_or(0, |sub| sub as u32 + 1);
        self.last_command.store(sub << 16 | u32::from(row), Ordering::Relaxed);
    }

    /// The row of its last command and its subcommand's place.
    pub(crate) fn last_command(&self) -> Option<(u16, Option<usize>)> {
        match self.last_command.load(Ordering::Relaxed) {
            NO_COMMAND => None,
            packed => Some((packed as u16, (packed >> 16).checked_sub(1).map(|sub| sub as usize))),
        }
    }

    /// Bytes of memory that are kept for it, apart from its queued commands.
    pub(crate) fn memory(&self) -> usize {
        let outbox = self.outbox.lock().bytes.len();
        self.memory_with(&self.about.lock(), outbox)
    }

    fn memory_with(&self, about: &About, outbox: usize) -> usize {
        let words = [&about.name, &about.lib_name, &about.lib_ver, &about.user, &about.function];
        let words: usize = words.iter().map(|word| word.len()).sum();
        let buffers = [&self.unread, &self.unparsed].map(|bytes| bytes.load(Ordering::Relaxed));
        size_of::<Client>() + words + buffers.iter().sum::<usize>() + outbox
    }

    /// Takes the messages out of its outbox.
    pub(crate) fn take_messages(&self) -> Vec<u8> {
        let mut outbox = self.outbox.lock();
        self.called.store(false, Ordering::Release);
        std::mem::take(&mut outbox.bytes)
    }

    /// The function that its user is bound to.
    pub(crate) fn bound(&self) -> Option<Box<[u8]>> {
        self.about.lock().bound.clone()
    }

    /// Whether a user may know of it: one that is bound to a function knows of those bound to the same.
    pub(crate) fn is_known_to(&self, bound: Option<&[u8]>) -> bool {
        bound.is_none() || self.about.lock().bound.as_deref() == bound
    }

    /// Whether it may hear of changes in `function`: its user is not bound to another one.
    pub(crate) fn may_hear_of(&self, function: &[u8]) -> bool {
        self.about.lock().bound.as_deref().is_none_or(|bound| bound == names::owner(function))
    }

    /// Whether it is subscribed to anything. The output limit of class pubsub holds for it then.
    pub(crate) fn subscribed(&self) -> bool {
        let about = self.about.lock();
        about.subscriptions.sum() > 0
    }

    /// Its line in CLIENT LIST.
    pub(crate) fn line(&self, now_ms: u64, command: &str) -> String {
        let about = self.about.lock();
        // Names that clients give keep to a line; those of users and functions may be older than the rule.
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut flags = String::new();
        for (flag, set) in [
            ('O', about.monitors),
            ('P', about.subscriptions.sum() > 0),
            ('x', about.multi >= 0),
            ('b', self.is_blocked()),
            ('t', about.tracking.is_some()),
            ('B', about.tracking.is_some_and(|(_, broadcast)| broadcast)),
            ('e', about.no_evict),
            ('T', about.no_touch),
        ] {
            if set {
                flags.push(flag);
            }
        }
        if flags.is_empty() {
            flags.push('N');
        }
        let outbox = self.outbox.lock().bytes.len();
        let unread = outbox + self.unread.load(Ordering::Relaxed);
        let idle = now_ms.saturating_sub(self.active_ms.load(Ordering::Relaxed)) / 1000;
        let mut line = String::new();
        let _ = write!(
            line,
            "id={} addr={} laddr={} fd=-1 name={} age={} idle={idle} flags={flags} db={} sub={} \
             psub={} ssub={} multi={} watch={} qbuf={} qbuf-free=0 argv-mem=0 multi-mem=0 obl=0 oll=0 \
             omem={unread} tot-mem={} events=r cmd={command} user={} redir={} resp={} lib-name={} \
             lib-ver={} function={}",
            self.id,
            self.address,
            self.local,
            text(&about.name),
            self.created.elapsed().as_secs(),
            about.database,
            about.subscriptions.of(ChannelKind::Channel),
            about.subscriptions.of(ChannelKind::Pattern),
            about.subscriptions.of(ChannelKind::Shard),
            about.multi,
            about.watched,
            self.unparsed.load(Ordering::Relaxed),
            self.memory_with(&about, outbox),
            names::escape(&about.user),
            about.tracking.map_or(-1, |(redirect, _)| redirect as i64),
            about.resp,
            text(&about.lib_name),
            text(&about.lib_ver),
            names::escape(&about.function),
        );
        line
    }
}

/// All connections of this process.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    all: Mutex<BTreeMap<u64, Arc<Client>>>,
    next_id: AtomicU64,
    open: AtomicU64,
    paused: Mutex<Option<Pause>>,
    pausing: AtomicBool,
    blocked: Arc<AtomicUsize>,
}

/// CLIENT PAUSE.
#[derive(Clone, Copy, Debug)]
struct Pause {
    until: Instant,
    writes_only: bool,
}

impl Clients {
    /// How many clients speak for `function`, without the one that is `but`.
    pub(crate) fn speaking_for(&self, function: &[u8], but: u64) -> u64 {
        let speaks =
            |client: &Arc<Client>| client.id != but && *client.about.lock().function == *function;
        self.all.lock().values().filter(|client| speaks(client)).count() as u64
    }

    /// Registers a new connection; none if there are `max` already.
    pub(crate) fn open(
        &self,
        address: SocketAddr,
        local: SocketAddr,
        active_ms: u64,
        max: u64,
    ) -> Option<Arc<Client>> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= max {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed) + 1;
        let client = Arc::new(Client::new(id, address, local, active_ms));
        self.all.lock().insert(id, Arc::clone(&client));
        Some(client)
    }

    pub(crate) fn close(&self, id: u64) {
        if self.all.lock().remove(&id).is_some() {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// All connections, by id.
    pub(crate) fn list(&self) -> Vec<Arc<Client>> {
        self.all.lock().values().cloned().collect()
    }

    /// Marks a connection as blocked until the result is dropped.
    pub(crate) fn block(&self, client: &Arc<Client>) -> Blocked {
        *client.block.lock() = Block::Waits;
        self.blocked.fetch_add(1, Ordering::Relaxed);
        Blocked { client: Arc::clone(client), clients: Arc::clone(&self.blocked) }
    }

    /// Closes the connections that take the most memory until all take `max` together at most. Those
    /// that asked for it by CLIENT NO-EVICT stay. Returns how many it closes.
    pub(crate) fn evict(&self, max: usize) -> u64 {
        let clients = self.list();
        let mut sizes: Vec<(usize, &Arc<Client>)> =
            clients.iter().map(|client| (client.memory(), client)).collect();
        let mut total: usize = sizes.iter().map(|(size, _)| size).sum();
        let mut closed = 0;
        sizes.sort_unstable_by_key(|(size, client)| (std::cmp::Reverse(*size), client.id));
        for (size, client) in sizes {
            if total <= max {
                break;
            }
            if !client.about.lock().no_evict {
                client.kill();
                total -= size;
                closed += 1;
            }
        }
        closed
    }

    /// How many connections wait in a command.
    pub(crate) fn blocked(&self) -> usize {
        self.blocked.load(Ordering::Relaxed)
    }

    /// The connection with this id.
    pub(crate) fn get(&self, id: u64) -> Option<Arc<Client>> {
        self.all.lock().get(&id).cloned()
    }

    /// CLIENT PAUSE. During a pause, another one can only make it longer and stricter.
    pub(crate) fn pause(&self, duration: Duration, writes_only: bool) {
        let now = Instant::now();
        let mut pause = Pause { until: now + duration, writes_only };
        let mut paused = self.paused.lock();
        if let Some(old) = paused.filter(|old| old.until > now) {
            pause.until = pause.until.max(old.until);
            pause.writes_only &= old.writes_only;
        }
        *paused = Some(pause);
        self.pausing.store(true, Ordering::Release);
    }

    pub(crate) fn unpause(&self) {
        *self.paused.lock() = None;
        self.pausing.store(false, Ordering::Release);
        self.list().iter().for_each(|client| client.wake());
    }

    /// When the pause ends; now if there is none.
    pub(crate) fn paused_until(&self) -> Instant {
        self.paused.lock().map_or_else(Instant::now, |pause| pause.until)
    }

    /// Whether commands wait now. One relaxed load while there is no pause.
    #[inline]
    pub(crate) fn is_paused(&self, write: bool) -> bool {
        self.pausing.load(Ordering::Relaxed) && self.pauses(write)
    }

    #[cold]
    fn pauses(&self, write: bool) -> bool {
        let mut paused = self.paused.lock();
        match *paused {
            Some(pause) if pause.until > Instant::now() => write || !pause.writes_only,
            _ => {
                *paused = None;
                self.pausing.store(false, Ordering::Release);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Arc<Client> {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        Clients::default().open(address, address, 0, 1).expect("there is room for one")
    }

    fn limit(hard: usize, soft: usize, soft_for: Duration) -> OutputLimit {
        OutputLimit { hard, soft, soft_for }
    }

    #[test]
    fn messages_are_kept_in_order_until_taken() {
        let client = client();
        client.send(b"one", OutputLimit::default());
        client.send(b"two", OutputLimit::default());
        assert!(client.is_called());
        assert_eq!(client.take_messages(), b"onetwo");
        assert!(!client.is_called());
        assert!(client.take_messages().is_empty());
    }

    #[test]
    fn the_hard_limit_closes_at_once_and_keeps_nothing() {
        let client = client();
        client.send(&[0; 10], limit(10, 0, Duration::ZERO));
        assert!(!client.is_killed());
        client.send(&[0; 1], limit(10, 0, Duration::ZERO));
        assert!(client.is_killed());
        client.send(&[0; 1], limit(10, 0, Duration::ZERO));
        assert!(client.take_messages().is_empty());
    }

    #[test]
    fn the_soft_limit_closes_only_after_its_time() {
        let client = client();
        client.send(&[0; 11], limit(0, 10, Duration::from_secs(3600)));
        assert!(!client.is_killed());
        client.take_messages();
        client.send(&[0; 11], limit(0, 10, Duration::ZERO));
        client.send(&[0; 1], limit(0, 10, Duration::ZERO));
        assert!(client.is_killed());
    }

    #[test]
    fn a_client_that_does_not_go_on_is_stalled() {
        let client = client();
        let [long, short] = [31, 9].map(Duration::from_secs);
        assert!(client.is_stalled(true, long, short), "it has not logged in");
        assert!(!client.is_stalled(true, short, short) && !client.is_stalled(false, long, long));
        client.unparsed.store(1, Ordering::Relaxed);
        assert!(client.is_stalled(false, long, long), "half a command");
        assert!(!client.is_stalled(false, long, short), "it goes on");
        client.unread.store(1, Ordering::Relaxed);
        assert!(!client.is_stalled(false, long, long), "it may still read");
        client.unread.store(0, Ordering::Relaxed);
        client.paused.store(true, Ordering::Relaxed);
        assert!(!client.is_stalled(false, long, long), "it is held back");
        client.about.lock().user = Box::from(&b"u"[..]);
        assert!(!client.is_stalled(true, long, short));
    }

    #[test]
    fn the_soft_limit_holds_by_the_clock_too() {
        let client = client();
        client.send(&[0; 11], limit(0, 10, Duration::from_secs(3600)));
        assert!(!client.is_killed());
        client.check_limit(limit(0, 10, Duration::ZERO));
        assert!(client.is_killed());
    }

    #[test]
    fn the_largest_clients_are_closed_when_all_take_too_much() {
        let clients = Clients::default();
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let open = || clients.open(address, address, 0, 9).expect("there is room");
        let (small, large, kept) = (open(), open(), open());
        kept.about.lock().no_evict = true;
        large.unread.store(1 << 20, Ordering::Relaxed);
        kept.unread.store(2 << 20, Ordering::Relaxed);
        assert_eq!(clients.evict(16 << 20), 0);
        assert_eq!(clients.evict((2 << 20) + 8192), 1);
        assert!(large.is_killed() && !kept.is_killed() && !small.is_killed());
    }

    #[test]
    fn no_more_clients_than_allowed_are_let_in() {
        let clients = Clients::default();
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let first = clients.open(address, address, 0, 1).expect("there is room");
        assert!(clients.open(address, address, 0, 1).is_none());
        clients.close(first.id);
        clients.close(first.id);
        assert_eq!(clients.count(), 0);
        assert!(clients.open(address, address, 0, 1).is_some());
    }

    #[test]
    fn a_pause_grows_longer_and_stricter_until_it_is_ended() {
        let clients = Clients::default();
        let hour = Duration::from_secs(3600);
        clients.pause(hour, true);
        assert!(clients.is_paused(true) && !clients.is_paused(false));
        let until = clients.paused_until();
        clients.pause(Duration::from_secs(1), false);
        assert!(clients.is_paused(false));
        assert_eq!(clients.paused_until(), until);
        clients.unpause();
        assert!(!clients.is_paused(true));
        clients.pause(Duration::ZERO, false);
        assert!(!clients.is_paused(true));
    }

    #[test]
    fn only_a_client_that_waits_is_unblocked() {
        let clients = Clients::default();
        let client = client();
        assert!(!client.unblock(Unblocked::Timeout));
        let blocked = clients.block(&client);
        assert_eq!(clients.blocked(), 1);
        assert!(client.unblock(Unblocked::Error));
        assert!(!client.unblock(Unblocked::Timeout));
        assert_eq!(client.unblocked(), Some(Unblocked::Error));
        drop(blocked);
        assert_eq!(clients.blocked(), 0);
        assert!(!client.is_blocked());
    }
}
