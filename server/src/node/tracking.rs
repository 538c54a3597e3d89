//! CLIENT TRACKING: which clients may have cached which keys, and what they are told when one changes, by a
//! client of this node or of another one, or by its deadline.
//!
//! A key is noted *before* it is read. A change that comes between the two is told, and a client that has
//! marked the key as asked for does not keep the reply; a note after the read would miss that change.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use miso_protocol::command::Row;
use miso_protocol::reply::{Reply, Resp};
use miso_protocol::request::Args;
use parking_lot::Mutex;

use crate::node::clients::{Client, Clients};
use crate::settings::Settings;

/// The channel on which a RESP2 client hears of changes, once another is redirected to it.
const CHANNEL: &[u8] = b"__redis__:invalidate";
/// The most keys that are noted, as Redis's `tracking-table-max-keys`: of a further one a client is told that
/// it has changed.
const KEYS_MAX: usize = 1_000_000;

thread_local! {
    /// The client whose command this thread runs; 0 on a thread that runs none.
    static RUNNING: Cell<u64> = const { Cell::new(0) };
}

/// What a client has asked for.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Options {
    /// The client that is told in its place.
    pub(crate) redirect: Option<u64>,
    /// Not what it has read, but all keys that begin like one of these.
    pub(crate) broadcast: Option<Vec<Box<[u8]>>>,
    /// Only what is read right after CLIENT CACHING YES.
    pub(crate) opt_in: bool,
    /// Not what is read right after CLIENT CACHING NO.
    pub(crate) opt_out: bool,
    /// Not what it changes itself.
    pub(crate) no_loop: bool,
}

#[derive(Debug)]
struct Tracked {
    client: Arc<Client>,
    options: Options,
    /// CLIENT CACHING, for the next command.
    caching: Option<bool>,
    /// The client that it was redirected to is gone.
    is_broken: bool,
}

#[derive(Debug, Default)]
struct State {
    clients: BTreeMap<u64, Tracked>,
    /// By function and key.
    keys: BTreeMap<Box<[u8]>, BTreeSet<u64>>,
    items: usize,
}

/// The clients that cache.
#[derive(Debug, Default)]
pub(crate) struct Tracking(Mutex<State>);

/// A function and a key: names of functions have no blanks.
fn place(function: &[u8], key: &[u8]) -> Box<[u8]> {
    [function, b" ", key].concat().into()
}

impl Tracking {
    /// A client begins to cache, or goes on with other options.
    pub(crate) fn begin(&self, client: &Arc<Client>, options: Options) {
        let tracked =
            Tracked { client: Arc::clone(client), options, caching: None, is_broken: false };
        self.0.lock().clients.insert(client.id, tracked);
    }

    /// A client ends it; whether any other goes on.
    pub(crate) fn end(&self, client: u64) -> bool {
        let mut state = self.0.lock();
        state.clients.remove(&client);
        if state.clients.is_empty() {
            *state = State::default();
        }
        !state.clients.is_empty()
    }

    /// What a client has asked for, its CLIENT CACHING, and whether the client that it redirects to is gone.
    pub(crate) fn options(&self, client: u64) -> Option<(Options, Option<bool>, bool)> {
        let state = self.0.lock();
        let tracked = state.clients.get(&client)?;
        Some((tracked.options.clone(), tracked.caching, tracked.is_broken))
    }

    /// CLIENT CACHING.
    pub(crate) fn set_caching(&self, client: u64, caching: bool) {
        if let Some(tracked) = self.0.lock().clients.get_mut(&client) {
            tracked.caching = Some(caching);
        }
    }

    /// How many clients cache, how many keys are noted, how often in all, and how many prefixes.
    pub(crate) fn counts(&self) -> [usize; 4] {
        let state = self.0.lock();
        let prefixes = |tracked: &Tracked| tracked.options.broadcast.as_ref().map_or(0, Vec::len);
        let prefixes = state.clients.values().map(prefixes).sum();
        [state.clients.len(), state.keys.len(), state.items, prefixes]
    }

    /// A command of a client is about to run: what it reads is noted.
    pub(crate) fn before(
        &self,
        client: &Client,
        row: &Row,
        args: Args<'_>,
        clients: (&Clients, &Settings),
    ) {
        RUNNING.set(client.id);
        let mut state = self.0.lock();
        let Some(tracked) = state.clients.get_mut(&client.id) else { return };
        // CLIENT CACHING is about what follows it, a whole transaction too.
        let is_about_it =
            matches!(row.name, "CACHING" | "TRACKINGINFO" | "GETREDIR" | "MULTI" | "EXEC");
        let caching = if is_about_it { None } else { tracked.caching.take() };
        let wants = match &tracked.options {
            Options { broadcast: Some(_), .. } => false,
            Options { opt_in: true, .. } => caching == Some(true),
            Options { opt_out: true, .. } => caching != Some(false),
            _ => true,
        };
        if !wants || row.keys(args).any(|key| key.flags.writes()) {
            return;
        }
        let function = client.about.lock().function.clone();
        for key in row.keys(args) {
            let new = state.keys.entry(place(&function, key.word)).or_default().insert(client.id);
            state.items += usize::from(new);
        }
        while state.keys.len() > KEYS_MAX
            && let Some((place, ids)) = state.keys.pop_first()
        {
            state.items -= ids.len();
            let key = place.split(|byte| *byte == b' ').skip(1).collect::<Vec<_>>().join(&b' ');
            for id in ids {
                state.tell(id, &key, clients);
            }
        }
    }

    /// A key of a function has changed: tells the clients that may have cached it.
    pub(crate) fn changed(&self, function: &[u8], key: &[u8], clients: (&Clients, &Settings)) {
        let by = RUNNING.get();
        let mut state = self.0.lock();
        let held = state.keys.remove(&place(function, key)).unwrap_or_default();
        state.items -= held.len();
        let listens = |tracked: &Tracked| {
            let prefixes = tracked.options.broadcast.as_ref();
            prefixes.is_some_and(|all| all.is_empty() || all.iter().any(|p| key.starts_with(p)))
                && *tracked.client.about.lock().function == *function
        };
        let broadcast: Vec<u64> =
            state.clients.iter().filter(|(_, it)| listens(it)).map(|(id, _)| *id).collect();
        for id in held.into_iter().chain(broadcast) {
            let no_loop = state.clients.get(&id).is_some_and(|tracked| tracked.options.no_loop);
            if !(no_loop && id == by) {
                state.tell(id, key, clients);
            }
        }
    }
}

impl State {
    /// Tells a client, or the one that it redirects to, that a key has changed.
    fn tell(&mut self, id: u64, key: &[u8], (clients, settings): (&Clients, &Settings)) {
        let Some(tracked) = self.clients.get_mut(&id) else { return };
        let limit = settings.output_limit(true);
        let mut out = Vec::new();
        let Some(redirect) = tracked.options.redirect else {
            // A RESP2 connection cannot be told on itself.
            if tracked.client.about.lock().resp == 3 {
                invalidation(&mut Reply::new(&mut out, Resp::V3), key);
                tracked.client.send(&out, limit);
            }
            return;
        };
        let Some(target) = clients.get(redirect) else {
            if !std::mem::replace(&mut tracked.is_broken, true)
                && tracked.client.about.lock().resp == 3
            {
                let mut reply = Reply::new(&mut out, Resp::V3);
                reply.push(2);
                reply.bulk(b"tracking-redir-broken");
                reply.integer(redirect as i64);
                tracked.client.send(&out, limit);
            }
            return;
        };
        let is_resp3 = target.about.lock().resp == 3;
        if is_resp3 {
            invalidation(&mut Reply::new(&mut out, Resp::V3), key);
        } else if target.subscribed() {
            let mut reply = Reply::new(&mut out, Resp::V2);
            reply.push(3);
            reply.bulk(b"message");
            reply.bulk(CHANNEL);
            reply.array(1);
            reply.bulk(key);
        }
        if !out.is_empty() {
            target.send(&out, limit);
        }
    }
}

fn invalidation(reply: &mut Reply<'_>, key: &[u8]) {
    reply.push(2);
    reply.bulk(b"invalidate");
    reply.array(1);
    reply.bulk(key);
}
