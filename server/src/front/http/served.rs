//! A connection as its requests see it: who is at the other end, and the sessions that its tokens have
//! opened.
//!
//! A session stays with its connection and serves one request at a time. So a token is checked once for
//! each connection, until a user changes; and a connection over which several requests run has several
//! sessions, each a client in CLIENT LIST.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Instant;

use parking_lot::Mutex;
use subtle::ConstantTimeEq as _;

use super::activity::Activity;
use crate::engine::call::Batch;
use crate::engine::error::CommandError;
use crate::engine::session::Session;
use crate::front::Front;
use crate::node::Node;
use crate::node::stats::Worker;

/// How many sessions rest on a connection at most.
const RESTING: usize = 16;

/// The library that CLIENT LIST shows of such a session.
const LIBRARY: &[u8] = b"http";

/// A session and the token that opened it.
#[derive(Debug)]
pub(super) struct Speaker {
    token: Box<[u8]>,
    /// The generation of the users that the token was checked with.
    pub(super) generation: u64,
    pub(super) session: Session,
    pub(super) batch: Batch,
}

/// A connection as its requests see it.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) front: Arc<Front>,
    pub(super) worker: Arc<Worker>,
    address: SocketAddr,
    local: SocketAddr,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    activity: Activity,
    resting: Vec<Speaker>,
    /// Of the task that drives the connection.
    waker: Option<Waker>,
    /// Whether CLIENT KILL has ended one of its sessions.
    killed: bool,
}

impl Served {
    /// A connection that has just been opened.
    pub(super) fn new(
        front: Arc<Front>,
        worker: Arc<Worker>,
        address: SocketAddr,
        local: SocketAddr,
    ) -> Served {
        let state = State {
            activity: Activity::new(Instant::now()),
            resting: Vec::new(),
            waker: None,
            killed: false,
        };
        Served { front, worker, address, local, state: Mutex::new(state) }
    }

    /// The node.
    pub(super) fn node(&self) -> &Arc<Node> {
        &self.front.engine.node
    }

    /// Reads or changes what the connection does.
    pub(super) fn activity<R>(&self, work: impl FnOnce(&mut Activity) -> R) -> R {
        work(&mut self.state.lock().activity)
    }

    /// Whether the other end is on another host.
    pub(super) fn is_outside(&self) -> bool {
        !self.address.ip().to_canonical().is_loopback()
    }

    /// Sets the waker of the connection's task. Returns whether the connection is to end at once.
    pub(super) fn listen(&self, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        if !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.waker = Some(waker.clone());
            state.resting.iter().for_each(|speaker| speaker.session.client.listen(waker));
        }
        state.killed || state.resting.iter().any(|speaker| speaker.session.client.is_killed())
    }

    /// Ends the connection: one of its sessions was killed.
    pub(super) fn kill(&self) {
        let mut state = self.state.lock();
        state.killed = true;
        if let Some(waker) = &state.waker {
            waker.wake_by_ref();
        }
    }

    /// Takes a session that this token has opened and that rests.
    pub(super) fn take(&self, token: &[u8]) -> Option<Speaker> {
        let mut state = self.state.lock();
        let fits = |speaker: &Speaker| bool::from(speaker.token.ct_eq(token));
        let at = state.resting.iter().rposition(fits)?;
        Some(state.resting.remove(at))
    }

    /// Lets a session rest until a request needs it.
    pub(super) fn rest(&self, mut speaker: Speaker) {
        // Each request begins in database 0, whichever connection it takes.
        speaker.session.select(0);
        let mut state = self.state.lock();
        if let Some(waker) = &state.waker {
            speaker.session.client.listen(waker);
        }
        if state.resting.len() == RESTING {
            state.resting.remove(0);
        }
        let is_killed = speaker.session.client.is_killed();
        state.resting.push(speaker);
        drop(state);
        if is_killed {
            self.kill();
        }
    }

    /// Whether the default user needs no password.
    pub(super) fn is_open(&self) -> bool {
        self.node().acl.anonymous().is_some()
    }

    /// A new session, which a token is to open.
    ///
    /// # Errors
    /// If there are `maxclients` clients.
    pub(super) fn open(&self, token: &[u8]) -> Result<Speaker, CommandError> {
        let node = self.node();
        let max = node.settings.maxclients();
        let client = node.clients.open(self.address, self.local, node.uptime_ms(), max);
        let Some(client) = client else {
            node.stats.refused.fetch_add(1, Ordering::Relaxed);
            return Err(CommandError::MaxClients);
        };
        client.about.lock().lib_name = Box::from(LIBRARY);
        Ok(Speaker {
            token: Box::from(token),
            generation: node.acl.generation(),
            session: Session::new(client, Arc::clone(node)),
            batch: Batch::default(),
        })
    }
}
