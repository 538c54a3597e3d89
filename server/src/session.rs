//! One connection's state, apart from its socket.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use miso_protocol::reply::Resp;
use miso_protocol::request::OwnedArgs;
use miso_store::Function;

use crate::acl::User;
use crate::clients::Client;
use crate::pubsub::Each;
use crate::registry::Registration;
use crate::shared::Shared;

/// What of its replies a client wants to see.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum ReplyMode {
    #[default]
    On,
    Off,
    /// Skips the reply of the command after CLIENT REPLY SKIP itself.
    SkipNext,
    Skip,
}

/// A queued command.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) row: u16,
    pub(crate) args: OwnedArgs,
}

/// Where MULTI stands.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    pub(crate) queued: Vec<Queued>,
    /// Bytes of what is queued.
    pub(crate) bytes: usize,
    /// Whether a command could not be queued: then EXEC aborts.
    pub(crate) broken: bool,
    /// Whether a queued command changes objects.
    pub(crate) writes: bool,
    /// Whether a queued command takes memory.
    pub(crate) grows: bool,
    /// Whether a queued command deletes what was counted.
    pub(crate) resets: bool,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Session {
    shared: Arc<Shared>,
    pub(crate) client: Arc<Client>,
    pub(crate) resp: Resp,
    /// Whom it speaks as; none before it has authenticated.
    pub(crate) user: Option<Arc<User>>,
    /// The state of all users that `user` was looked up in.
    pub(crate) generation: u64,
    /// The function that it was bound to, or the default once it touched an object.
    pub(crate) function: Option<Arc<Function>>,
    pub(crate) function_name: Box<[u8]>,
    /// The function's newest own event after its last write in it: what WAIT waits for.
    pub(crate) wrote: u64,
    /// What the next command touches was fetched from peers, as far as they have it.
    pub(crate) restored: bool,
    /// The next command has waited for another node's taking over to end.
    pub(crate) thawed: bool,
    /// What it holds registered; let go of with the session.
    pub(crate) registrations: Vec<Registration>,
    pub(crate) transaction: Option<Transaction>,
    pub(crate) watched: Vec<(Arc<Function>, Box<[u8]>)>,
    /// Set when a watched object changes.
    pub(crate) dirty: Arc<AtomicBool>,
    pub(crate) replies: ReplyMode,
    /// What it listens to.
    pub(crate) listens: Each<Vec<Box<[u8]>>>,
    pub(crate) monitors: bool,
    /// The last command's name as it was sent and its row: most commands repeat it.
    pub(crate) memo: (Vec<u8>, u16),
}

impl Session {
    /// The session of a new connection: it speaks as the default user, if that needs no password.
    pub(crate) fn new(client: Arc<Client>, shared: Arc<Shared>) -> Session {
        let session = Session {
            generation: shared.acl.generation(),
            client,
            resp: Resp::V2,
            user: shared.acl.anonymous(),
            function: None,
            function_name: shared.settings.default_function().into_bytes().into(),
            wrote: 0,
            restored: false,
            thawed: false,
            registrations: Vec::new(),
            transaction: None,
            watched: Vec::new(),
            dirty: Arc::new(AtomicBool::new(false)),
            replies: ReplyMode::On,
            listens: Each::default(),
            monitors: false,
            memo: (Vec::new(), u16::MAX),
            shared,
        };
        session.describe();
        session
    }

    /// Its name, as it said by CLIENT SETNAME.
    pub(crate) fn name(&self) -> Box<[u8]> {
        self.client.about.lock().name.clone()
    }

    /// Its peer's address.
    pub(crate) fn address(&self) -> String {
        self.client.address.to_string()
    }

    /// How many channels, patterns and shard channels it is subscribed to.
    pub(crate) fn subscriptions(&self) -> Each<usize> {
        self.listens.map(Vec::len)
    }

    /// Whether it is subscribed to any.
    pub(crate) fn listening(&self) -> bool {
        self.listens.each().any(|(_, held)| !held.is_empty())
    }

    /// The function that it speaks for, registered by its first touch.
    pub(crate) fn function(&mut self) -> Arc<Function> {
        let (shared, registrations) = (&self.shared, &mut self.registrations);
        let function = self.function.get_or_insert_with(|| {
            let function = shared.store.function(&self.function_name);
            registrations.push(shared.registry.touch(&function));
            function
        });
        Arc::clone(function)
    }

    /// Makes `function` the one that it speaks for.
    pub(crate) fn set_function(&mut self, function: &[u8]) {
        if &*self.function_name != function {
            let old = std::mem::replace(&mut self.function_name, Box::from(function));
            self.registrations.retain(|held| !held.is_for(&old, None));
            self.function = None;
            self.wrote = 0;
        }
        self.client.about.lock().function = Box::from(function);
    }

    /// Shows who it is to CLIENT LIST.
    pub(crate) fn describe(&self) {
        let mut about = self.client.about.lock();
        about.user = self.user.as_ref().map_or_else(Box::default, |user| user.name.clone());
        about.function = self.function_name.clone();
        about.resp = if self.resp == Resp::V3 { 3 } else { 2 };
        about.subscriptions = self.subscriptions();
        about.monitors = self.monitors;
    }

    /// Lets go of all that others know of it.
    pub(crate) fn leave(&mut self, shared: &Shared) {
        self.unwatch();
        for (kind, held) in std::mem::take(&mut self.listens).each() {
            held.iter().for_each(|name| shared.pubsub.unsubscribe(kind, name, self.client.id));
        }
        if std::mem::take(&mut self.monitors) {
            shared.monitors.remove(self.client.id);
        }
    }

    /// Forgets what is queued and watched.
    pub(crate) fn discard(&mut self) {
        self.transaction = None;
        self.client.about.lock().multi = -1;
        self.unwatch();
    }

    /// Forgets what it watches.
    pub(crate) fn unwatch(&mut self) {
        if self.watched.is_empty() {
            return;
        }
        for (function, object) in self.watched.drain(..) {
            function.unwatch(&object, &self.dirty);
        }
        self.dirty.store(false, std::sync::atomic::Ordering::Release);
        self.client.about.lock().watched = 0;
    }
}

/// However a connection ends, nobody goes on holding it for a client.
impl Drop for Session {
    fn drop(&mut self) {
        let shared = Arc::clone(&self.shared);
        self.leave(&shared);
        shared.clients.close(self.client.id);
    }
}
