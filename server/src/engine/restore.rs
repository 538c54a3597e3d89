//! First reads: while this node does not know yet what its peers knew of a function when it began here,
//! commands wait before they run. Absent objects are fetched from peers one by one (restore on touch,
//! the paper's Algorithm 2), which is quick however large the function; a command about anything that
//! is present, or about the whole keyspace, waits until the function is current here.
//!
//! Only the session waits; no lock is held. A command that has waited for `restore-timeout` runs on what
//! is here, and what arrives later is merged.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use miso_protocol::command::{Access, ArgKind, Flags, KeyFlags, NAME, Row};
use miso_protocol::request::Args;
use miso_replication::Ask;
use miso_store::Function;
use tokio::task::JoinSet;

use crate::engine::databases;
use crate::engine::session::Session;
use crate::engine::wait::Wait;
use crate::node::Node;

/// The most objects that are fetched one by one.
const MOST: usize = 256;

/// An object, and a name in it if the command is about that name alone.
type Key = (Bytes, Option<Bytes>);

/// What a command touches.
#[derive(Debug, Default)]
struct Touched {
    keys: Vec<Key>,
    /// It is about the keyspace as a whole.
    keyspace: bool,
}

/// Whether a command may have to wait for what it touches; `touches` says whether it may touch anything. One
/// load once a session has a function.
pub(crate) fn may_wait(session: &mut Session, touches: bool) -> bool {
    let may = match &session.function {
        Some(function) => function.restoring(),
        None => touches || session.transaction.is_some(),
    };
    // A transaction may reach other databases.
    let may = may || session.transaction.as_ref().is_some_and(|transaction| transaction.spans);
    // What has waited runs now: the mark is not for a later command, nor for another function.
    session.fetched &= may;
    may
}

/// What a command has to wait for, if the function is not current here yet; none if it touches nothing.
/// The objects of EXEC are those of the queued commands.
#[cold]
pub(crate) fn fetch_missing(
    node: &Arc<Node>,
    session: &mut Session,
    row: &Row,
    args: Args<'_>,
) -> Option<Box<Wait>> {
    // A queued command waits when EXEC runs it. A command waits once only.
    let is_exec = row.flags.has(Flags::EXEC);
    if session.transaction.is_some() != is_exec || std::mem::take(&mut session.fetched) {
        return None;
    }
    let mut touched = BTreeMap::<u32, Touched>::new();
    let mut database = session.database();
    match &session.transaction {
        Some(transaction) if !transaction.broken => {
            // Whether its id is known is told by no object.
            if transaction.once.is_some() {
                touched.entry(database).or_default().keyspace = true;
            }
            for queued in &transaction.queued {
                let args = queued.args.as_args();
                if transaction.spans
                    && let Some(chosen) = databases::selected(node, queued)
                {
                    database = chosen;
                }
                touched.entry(database).or_default().add(queued.found.leaf(), args);
            }
        }
        Some(_) => {}
        None => touched.entry(database).or_default().add(row, args),
    }
    touched.retain(|_, touched| !touched.keys.is_empty() || touched.keyspace);
    let mut waits = touched.into_iter().filter_map(|(database, touched)| {
        let function = session.function_of(database)?;
        function.restoring().then_some((function, touched))
    });
    let mut waits: Vec<_> = waits.by_ref().collect();
    let (function, touched) = waits.pop()?;
    session.fetched = true;
    // The question must not overtake the word that the function begins here, which may be due later.
    node.registry.flush();
    let node = Arc::clone(node);
    let last = fetch_touched(Arc::clone(&node), function, touched);
    if waits.is_empty() {
        return Some(Wait::before(last));
    }
    Some(Wait::before(async move {
        let mut all: JoinSet<()> = waits
            .into_iter()
            .map(|(function, touched)| fetch_touched(Arc::clone(&node), function, touched))
            .collect();
        all.spawn(last);
        all.join_all().await;
    }))
}

/// Waits for what a command touches in a function.
async fn fetch_touched(node: Arc<Node>, function: Arc<Function>, touched: Touched) {
    let name = Bytes::copy_from_slice(function.name());
    let mut keys = touched.keys;
    keys.sort_unstable();
    keys.dedup();
    // What is present here may be old, or may be gone elsewhere: no fetch tells that.
    let fetch_them =
        !touched.keyspace && keys.len() <= MOST && keys.iter().all(|key| is_absent(&function, key));
    if fetch_them {
        fetch(node, name, keys).await;
    } else {
        current(node, name).await;
    }
}

impl Touched {
    fn add(&mut self, row: &Row, args: Args<'_>) {
        let name = match row.args {
            [object, NAME, ..] if object.kind == ArgKind::Key => {
                args.get(2).map(Bytes::copy_from_slice)
            }
            _ => None,
        };
        let before = self.keys.len();
        for key in row.keys(args) {
            // SORT reads keys that no word names.
            self.keyspace |= key.flags.has(KeyFlags::INCOMPLETE);
            self.keys.push((Bytes::copy_from_slice(key.word), name.clone()));
        }
        self.keyspace |= self.keys.len() == before && row.access != Access::None;
    }
}

/// Whether nothing of it is here.
fn is_absent(function: &Function, (object, name): &Key) -> bool {
    let hash = miso_store::hash(object);
    let shard = function.lock(function.shard_of(hash));
    match name {
        Some(name) => shard.slot(hash, object, name).is_none(),
        None => shard.object(hash, object).is_none(),
    }
}

/// Waits until the function is current here.
async fn current(node: Arc<Node>, function: Bytes) {
    let time = node.settings.restore_timeout();
    if let Some(peers) = node.peers.get() {
        let until = peers.now() + time;
        // Replication answers in time, unless it is busy.
        let _ = tokio::time::timeout(time, peers.ask(Ask::Current { function, until })).await;
    }
}

async fn fetch(node: Arc<Node>, function: Bytes, keys: Vec<Key>) {
    let time = node.settings.restore_timeout();
    if let Some(peers) = node.peers.get() {
        let until = peers.now() + time;
        let mut asked = JoinSet::new();
        for (object, name) in keys {
            let (peers, function) = (peers.clone(), function.clone());
            asked.spawn(async move {
                peers.ask(Ask::Fetch { function, object, name, until }).await;
            });
        }
        // Replication answers in time, unless it is busy.
        let _ = tokio::time::timeout(time, asked.join_all()).await;
    }
}
