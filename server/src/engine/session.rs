//! The state of one client's session, apart from its socket.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use miso_protocol::names;
use miso_protocol::reply::Resp;
use miso_protocol::request::{Args, OwnedArgs};
use miso_store::Function;

use crate::engine::find::Resolved;
use crate::node::Node;
use crate::node::acl::user::{DEFAULT, User};
use crate::node::audit::{By, What};
use crate::node::clients::Client;
use crate::node::registry::Registrations;
use crate::node::subscriptions::PerKind;

/// Which replies a client wants to see.
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
    /// What was found of it when it was queued.
    pub(super) found: Resolved,
    pub(crate) args: OwnedArgs,
}

/// The state of MULTI.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    pub(crate) queued: Vec<Queued>,
    /// The id under which it runs once.
    pub(crate) once: Option<Box<[u8]>>,
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
    /// Whether a queued command reaches other databases than the connection's.
    pub(crate) spans: bool,
}

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    node: Arc<Node>,
    pub(crate) client: Arc<Client>,
    pub(crate) resp: Resp,
    /// The user that it speaks as; none before it has authenticated.
    pub(crate) user: Option<Arc<User>>,
    /// The generation of the users that `user` was looked up in.
    pub(crate) generation: u64,
    /// The database of its function that it works on, once it has touched an object of it.
    pub(crate) function: Option<Arc<Function>>,
    /// The function that it speaks for: what it was bound to, or the default.
    owner: Box<[u8]>,
    /// The number of the database that SELECT chose.
    database: u32,
    /// The name under which that database is stored: see [`names::with_database`].
    function_name: Box<[u8]>,
    /// Whether it has named its function, by AUTH or MISO.REGISTER, or its user is bound to one.
    pub(crate) names_function: bool,
    /// Set once the next AUTH has waited for its turn after failures.
    pub(crate) has_turn: bool,
    /// The function's newest own event after the last write of this session in it: what WAIT waits for.
    pub(crate) wrote: u64,
    /// Set once the next command has waited for its objects to be fetched from peers.
    pub(crate) fetched: bool,
    /// Set once the next command has waited for deletes to resume.
    pub(crate) thawed: bool,
    /// What it holds registered; released with the session.
    pub(crate) registrations: Registrations,
    pub(crate) transaction: Option<Transaction>,
    /// The objects that it watches, each with the address of its function.
    pub(crate) watched: BTreeMap<(usize, Box<[u8]>), Arc<Function>>,
    /// Set when a watched object changes.
    pub(crate) dirty: Arc<AtomicBool>,
    pub(crate) replies: ReplyMode,
    /// What it listens to.
    pub(crate) listens: PerKind<BTreeSet<Box<[u8]>>>,
    pub(crate) monitors: bool,
    /// The last command's name as it was sent and its row: most commands repeat it.
    pub(crate) memo: (Vec<u8>, u16),
}

impl Session {
    /// The session of a new connection: it speaks as the default user, if that needs no password.
    pub(crate) fn new(client: Arc<Client>, node: Arc<Node>) -> Session {
        let owner = first_function(&node, node.acl.anonymous().as_deref());
        let session = Session {
            generation: node.acl.generation(),
            client,
            resp: Resp::V2,
            user: node.acl.anonymous(),
            function: None,
            function_name: owner.clone(),
            owner,
            database: 0,
            names_function: node.acl.anonymous().is_some_and(|user| user.function().is_some()),
            has_turn: false,
            wrote: 0,
            fetched: false,
            thawed: false,
            registrations: Registrations::default(),
            transaction: None,
            watched: BTreeMap::new(),
            dirty: Arc::new(AtomicBool::new(false)),
            replies: ReplyMode::On,
            listens: PerKind::default(),
            monitors: false,
            memo: (Vec::new(), u16::MAX),
            node,
        };
        session.describe();
        session
    }

    /// Its name, as CLIENT SETNAME gave it.
    pub(crate) fn name(&self) -> Box<[u8]> {
        self.client.about.lock().name.clone()
    }

    /// Its client's address.
    pub(crate) fn address(&self) -> String {
        self.client.address.to_string()
    }

    /// How many channels, patterns and shard channels it is subscribed to.
    pub(crate) fn subscriptions(&self) -> PerKind<usize> {
        self.listens.map(BTreeSet::len)
    }

    /// Whether it is subscribed to any.
    pub(crate) fn listening(&self) -> bool {
        self.listens.each().any(|(_, held)| !held.is_empty())
    }

    /// The database that it works on, registered by its first touch.
    pub(crate) fn function(&mut self) -> Arc<Function> {
        let (node, registrations) = (&self.node, &mut self.registrations);
        let function = self.function.get_or_insert_with(|| {
            let function = node.store.function(&self.function_name);
            node.quotas.mark(&function);
            registrations.touch(&node.registry, &function);
            function
        });
        Arc::clone(function)
    }

    /// Database `number` of its function; none if that is another than its own and there is no room for it.
    pub(super) fn function_of(&mut self, number: u32) -> Option<Arc<Function>> {
        if number == self.database {
            return Some(self.function());
        }
        let name = self.name_of(number);
        if !self.node.has_room(&name) {
            return None;
        }
        let function = self.node.store.function(&name);
        self.node.quotas.mark(&function);
        self.registrations.touch(&self.node.registry, &function);
        Some(function)
    }

    /// Notes in the audit log what it did, or what was refused to it. `command` is a command, and which of its
    /// words are not shown.
    pub(crate) fn note(
        &self,
        what: What,
        command: Option<(Args<'_>, &[usize])>,
        result: Option<&str>,
    ) {
        let user = self.user.as_ref().map_or(DEFAULT, |user| &user.name);
        let by = By { user, function: &self.owner, address: self.client.address };
        self.node.audit.note(what, by, command, result);
    }

    /// The function that it speaks for.
    pub(crate) fn owner(&self) -> &[u8] {
        &self.owner
    }

    /// The number of the database that it works on.
    pub(crate) fn database(&self) -> u32 {
        self.database
    }

    /// The name under which the database that it works on is stored.
    pub(crate) fn function_name(&self) -> &[u8] {
        &self.function_name
    }

    /// The name under which database `number` of its function is stored.
    pub(crate) fn name_of(&self, number: u32) -> Box<[u8]> {
        names::with_database(&self.owner, number).into()
    }

    /// Makes `function` the one that it speaks for. The number of the database stays.
    pub(crate) fn set_function(&mut self, function: &[u8]) {
        self.names_function = true;
        if &*self.owner != function {
            self.registrations.leave(&self.owner);
            self.owner = Box::from(function);
            self.enter(self.database);
        }
        self.client.about.lock().function = Box::from(function);
    }

    /// Chooses a database of its function. What it has touched of others stays registered.
    pub(crate) fn select(&mut self, database: u32) {
        if self.database != database {
            self.enter(database);
            self.client.about.lock().database = database;
        }
    }

    fn enter(&mut self, database: u32) {
        self.database = database;
        self.function_name = self.name_of(database);
        self.function = None;
        self.wrote = 0;
    }

    /// Takes it back to where it was when it began.
    pub(crate) fn reset_function(&mut self) {
        self.registrations.clear();
        let user = self.node.acl.anonymous();
        self.owner = first_function(&self.node, user.as_deref());
        self.names_function = user.as_ref().is_some_and(|user| user.function().is_some());
        self.user = user;
        self.enter(0);
    }

    /// Looks its user up again if any user changed. Returns false if the user is gone: then the session
    /// is to end.
    #[inline]
    pub(crate) fn refresh_user(&mut self) -> bool {
        let generation = self.node.acl.generation();
        generation == self.generation || self.refresh_user_to(generation)
    }

    #[cold]
    fn refresh_user_to(&mut self, generation: u64) -> bool {
        self.generation = generation;
        let user = match &self.user {
            // The default user may need no password any more.
            None => self.node.acl.anonymous(),
            Some(user) => self.node.user_again(user),
        };
        if user.is_none() && self.user.is_some() {
            return false;
        }
        if let Some(function) = user.as_ref().and_then(|user| user.function()) {
            self.set_function(function);
        }
        self.user = user;
        self.describe();
        true
    }

    /// Updates what CLIENT LIST shows of it.
    pub(crate) fn describe(&self) {
        let mut about = self.client.about.lock();
        about.user = self.user.as_ref().map_or_else(Box::default, |user| user.name.clone());
        about.function = self.owner.clone();
        about.database = self.database;
        about.bound = self.user.as_ref().and_then(|user| user.function()).map(Box::from);
        about.granted = self.user.as_ref().and_then(|user| user.granted()).copied();
        about.resp = if self.resp == Resp::V3 { 3 } else { 2 };
        about.subscriptions = self.subscriptions();
        about.monitors = self.monitors;
    }

    /// Ends its subscriptions, its watches and MONITOR.
    pub(crate) fn leave(&mut self, node: &Node) {
        self.unwatch();
        for (kind, held) in std::mem::take(&mut self.listens).each() {
            held.iter().for_each(|name| node.pubsub.unsubscribe(kind, name, self.client.id));
        }
        if std::mem::take(&mut self.monitors) {
            node.monitors.remove(self.client.id);
        }
        if node.monitors.tracked() && self.client.about.lock().tracking.is_some() {
            node.track(&self.client, None);
        }
    }

    /// Ends MULTI, and returns what is queued; none outside of MULTI.
    pub(super) fn take_transaction(&mut self) -> Option<Transaction> {
        self.client.about.lock().multi = -1;
        self.transaction.take()
    }

    /// Forgets what is queued and watched.
    pub(crate) fn discard(&mut self) {
        self.take_transaction();
        self.unwatch();
    }

    /// Forgets what it watches.
    pub(crate) fn unwatch(&mut self) {
        if self.watched.is_empty() {
            return;
        }
        for ((_, object), function) in std::mem::take(&mut self.watched) {
            function.unwatch(&object, &self.dirty);
        }
        self.dirty.store(false, std::sync::atomic::Ordering::Release);
        self.client.about.lock().watched = 0;
    }
}

/// The function of a connection that has not named one: what its user is bound to, else the default.
fn first_function(node: &Node, user: Option<&User>) -> Box<[u8]> {
    match user.and_then(User::function) {
        Some(function) => Box::from(function),
        None => node.settings.default_function().into_bytes().into(),
    }
}

/// However a session ends, it leaves nothing registered with the node.
impl Drop for Session {
    fn drop(&mut self) {
        let node = Arc::clone(&self.node);
        self.leave(&node);
        node.clients.close(self.client.id);
    }
}
