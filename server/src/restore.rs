//! Restore on touch (the paper's Algorithm 2): while this node has not yet heard what its peers have of
//! a function, a command about what is absent here has them asked for it before it runs.
//!
//! Nothing is held meanwhile but the connection's own order of commands. Who gets no answer in
//! `restore-timeout` goes on from empty: what comes later is merged.

use std::sync::Arc;

use bytes::Bytes;
use miso_protocol::command::{NAME, OBJECT, Row};
use miso_protocol::request::Args;
use miso_replication::Ask;
use miso_store::Function;
use tokio::task::JoinSet;

use crate::context::Wait;
use crate::session::Session;
use crate::shared::Shared;

/// The most objects that are fetched before a transaction; it goes on without the others.
const MOST: usize = 256;

/// An object, and the name in it if the command is about that alone.
type Key = (Bytes, Option<Bytes>);

/// Whether a command may have to wait for what it touches. One load once a connection has a
/// function.
pub(crate) fn may_wait(session: &Session, args: Args<'_>) -> bool {
    match &session.function {
        Some(function) => function.restoring(),
        None => args.len() > 1 || session.transaction.is_some(),
    }
}

/// What must be waited for before a command runs; none if nothing. EXEC is about what is queued.
#[cold]
pub(crate) fn first(
    shared: &Arc<Shared>,
    session: &mut Session,
    row: &Row,
    args: Args<'_>,
) -> Option<Box<Wait>> {
    // Queued commands wait when they run; and what has waited does not wait again.
    let is_exec = row.name == "EXEC";
    if session.transaction.is_some() != is_exec || std::mem::take(&mut session.restored) {
        return None;
    }
    let mut keys = Vec::new();
    match &session.transaction {
        Some(transaction) if !transaction.broken => {
            for queued in &transaction.queued {
                let args = queued.args.as_args();
                add(shared.table.row(queued.row), args, &mut keys);
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
    session.restored = true;
    Some(Wait::before(fetch(Arc::clone(shared), Bytes::copy_from_slice(function.name()), keys)))
}

/// Adds what a command touches.
fn add(row: &Row, args: Args<'_>, keys: &mut Vec<Key>) {
    let name = match row.args {
        [OBJECT, NAME, ..] => args.get(2).map(Bytes::copy_from_slice),
        _ => None,
    };
    keys.extend(row.keys(args).map(|key| (Bytes::copy_from_slice(key.word), name.clone())));
}

/// Whether there is more of it than is here, perhaps. Of an object some names may have been fetched, or
/// written here, and others not.
fn is_absent(function: &Function, (object, name): &Key) -> bool {
    let Some(name) = name else { return true };
    let hash = miso_store::hash(object);
    let shard = function.lock(function.shard_of(hash));
    shard.slot(hash, object, name).is_none()
}

async fn fetch(shared: Arc<Shared>, function: Bytes, keys: Vec<Key>) {
    let time = shared.settings.duration("restore-timeout");
    if let Some(peers) = shared.peers.get() {
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
