//! First reads: while this node does not know yet what its peers knew of a function when it began here,
//! commands wait before they run. Absent objects are fetched from peers one by one (restore on touch,
//! the paper's Algorithm 2), which is quick however large the function; a command about anything that
//! is present, or about the whole keyspace, waits until the function is current here.
//!
//! Only the session waits; no lock is held. A command that has waited for `restore-timeout` runs on what
//! is here, and what arrives later is merged.

use std::sync::Arc;

use bytes::Bytes;
use miso_protocol::command::{Access, ArgKind, Flags, NAME, Row};
use miso_protocol::request::Args;
use miso_replication::Ask;
use miso_store::Function;
use tokio::task::JoinSet;

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
    let mut touched = Touched::default();
    match &session.transaction {
        Some(transaction) if !transaction.broken => {
            for queued in &transaction.queued {
                touched.add(queued.found.leaf(), queued.args.as_args());
            }
        }
        Some(_) => {}
        None => touched.add(row, args),
    }
    if touched.keys.is_empty() && !touched.keyspace {
        return None;
    }
    let function = session.function();
    if !function.restoring() {
        return None;
    }
    session.fetched = true;
    // The question must not overtake the word that the function begins here, which may be due later.
    node.registry.flush();
    let (node, name) = (Arc::clone(node), Bytes::copy_from_slice(function.name()));
    let mut keys = touched.keys;
    keys.sort_unstable();
    keys.dedup();
    // What is present here may be old, or may be gone elsewhere: no fetch tells that.
    let fetch_them =
        !touched.keyspace && keys.len() <= MOST && keys.iter().all(|key| is_absent(&function, key));
    Some(match fetch_them {
        true => Wait::before(fetch(node, name, keys)),
        false => Wait::before(current(node, name)),
    })
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
        let keys = row.keys(args);
        self.keys.extend(keys.map(|key| (Bytes::copy_from_slice(key.word), name.clone())));
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
