//! Restore on touch (the paper's Algorithm 2): while this node does not yet know what its peers hold of
//! a function, a command about an object that is absent here first fetches the object from them.
//!
//! Only the session waits; no lock is held. After `restore-timeout` the command runs on the empty
//! object, and what arrives later is merged.

use std::sync::Arc;

use bytes::Bytes;
use miso_protocol::command::{ArgKind, Flags, NAME, Row};
use miso_protocol::request::Args;
use miso_replication::Ask;
use miso_store::Function;
use tokio::task::JoinSet;

use crate::engine::session::Session;
use crate::engine::wait::Wait;
use crate::node::Node;

/// The most objects that are fetched before a transaction; it does not wait for more.
const MOST: usize = 256;

/// An object, and a name in it if the command is about that name alone.
type Key = (Bytes, Option<Bytes>);

/// Whether a command may have to wait for its objects. One load once a session has a function.
pub(crate) fn may_wait(session: &Session, args: Args<'_>) -> bool {
    match &session.function {
        Some(function) => function.restoring(),
        None => args.len() > 1 || session.transaction.is_some(),
    }
}

/// Starts to fetch the absent objects of a command, and returns what to wait for; none if nothing is
/// absent. The objects of EXEC are those of the queued commands.
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
    let mut keys = Vec::new();
    match &session.transaction {
        Some(transaction) if !transaction.broken => {
            for queued in &transaction.queued {
                add(queued.found.leaf(), queued.args.as_args(), &mut keys);
            }
        }
        Some(_) => {}
        None => add(row, args, &mut keys),
    }
    if keys.is_empty() {
        return None;
    }
    let function = session.function();
    if !function.restoring() {
        return None;
    }
    keys.retain(|key| is_absent(&function, key));
    keys.sort_unstable();
    keys.dedup();
    keys.truncate(MOST);
    if keys.is_empty() {
        return None;
    }
    session.fetched = true;
    Some(Wait::before(fetch(Arc::clone(node), Bytes::copy_from_slice(function.name()), keys)))
}

/// Adds the objects that a command is about.
fn add(row: &Row, args: Args<'_>, keys: &mut Vec<Key>) {
    let name = match row.args {
        [object, NAME, ..] if object.kind == ArgKind::Key => {
            args.get(2).map(Bytes::copy_from_slice)
        }
        _ => None,
    };
    keys.extend(row.keys(args).map(|key| (Bytes::copy_from_slice(key.word), name.clone())));
}

/// Whether peers may hold more of it than this node. Of an object that is here, other names may be
/// missing, so only a name that is here counts as present.
fn is_absent(function: &Function, (object, name): &Key) -> bool {
    let Some(name) = name else { return true };
    let hash = miso_store::hash(object);
    let shard = function.lock(function.shard_of(hash));
    shard.slot(hash, object, name).is_none()
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
