//! Whether a function's quota has room for a command that writes, or for a connection.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use miso_protocol::command::{Flags, KeyFlags, Row};
use miso_protocol::request::Args;
use miso_store::Function;

use crate::engine::error::{CommandError, Shown};
use crate::engine::find::Resolved;
use crate::engine::session::Session;
use crate::node::Node;
use crate::node::quotas::{self, Quota};

/// An error about a quota, made of the function's name and the limit.
type Refusal = fn(Shown, Shown) -> CommandError;

/// Counts a refusal by a quota, and makes its error.
fn refuse(
    node: &Node,
    quota: &Quota,
    function: &[u8],
    most: u64,
    refusal: Refusal,
) -> CommandError {
    node.quotas.count_refused(quota);
    refusal(function.into(), most.to_string().into())
}

/// Checks a command that writes or publishes against the quota of its function, if that has one. Within MULTI
/// writes are counted as they are queued; objects and memory are when EXEC makes them.
///
/// # Errors
/// If there is no room for it.
#[cold]
pub(super) fn check(
    node: &Node,
    session: &mut Session,
    found: &Resolved,
    args: Args<'_>,
) -> Result<(), CommandError> {
    // The command that MISO.ONCE runs is checked by itself.
    if found.row.flags.has(Flags::ONCE) {
        return Ok(());
    }
    let Some(quota) = node.quotas.of(session.owner()) else { return Ok(()) };
    let function = session.function();
    let refuse = |most, refusal| Err(refuse(node, &quota, session.owner(), most, refusal));
    if let Some(most) = quota.limits.key_bytes
        && found.leaf().keys(args).any(|key| key.flags.writes() && key.word.len() as u64 > most)
    {
        return refuse(most, CommandError::QuotaKey);
    }
    if let Some(most) = quota.limits.memory {
        let (grows, bytes) = match &session.transaction {
            Some(transaction) => (found.is_exec() && transaction.grows, transaction.bytes),
            None => {
                (found.leaf().all_flags().has(Flags::DENYOOM), args.iter().map(<[u8]>::len).sum())
            }
        };
        if grows && quota.memory() + bytes as u64 > most {
            return refuse(most, CommandError::QuotaMemory);
        }
    }
    if let Some(most) = quota.limits.objects {
        let mut made = BTreeSet::new();
        match &session.transaction {
            Some(transaction) if found.is_exec() => {
                for queued in &transaction.queued {
                    add_made(&mut made, &function, queued.found.leaf(), queued.args.as_args());
                }
            }
            Some(_) => {}
            None => add_made(&mut made, &function, found.leaf(), args),
        }
        if !made.is_empty() {
            let there = quotas::objects(&node.store, session.owner(), node.settings.databases());
            if there + made.len() as u64 > most {
                return refuse(most, CommandError::QuotaObjects);
            }
        }
    }
    if !found.is_exec() && !quota.takes_write(Instant::now()) {
        let most = quota.limits.writes.unwrap_or_default();
        return refuse(most, CommandError::QuotaWrites);
    }
    Ok(())
}

/// Checks that one more connection may name `function`.
///
/// # Errors
/// If as many do as its quota allows.
pub(crate) fn check_connection(
    node: &Node,
    session: &Session,
    function: &[u8],
) -> Result<(), CommandError> {
    let Some(quota) = node.quotas.of(function) else { return Ok(()) };
    let Some(most) = quota.limits.connections else { return Ok(()) };
    if node.clients.speaking_for(function, session.client.id) < most {
        return Ok(());
    }
    Err(refuse(node, &quota, function, most, CommandError::QuotaConnections))
}

/// Adds the objects that a command would make.
fn add_made<'a>(
    made: &mut BTreeSet<&'a [u8]>,
    function: &Arc<Function>,
    row: &Row,
    args: Args<'a>,
) {
    if !row.all_flags().has(Flags::DENYOOM) {
        return;
    }
    for key in row.keys(args) {
        let makes = key.flags.has(KeyFlags::UPDATE) || key.flags.has(KeyFlags::INSERT);
        if makes && !made.contains(key.word) {
            let hash = miso_store::hash(key.word);
            let shard = function.lock(function.shard_of(hash));
            if shard.object(hash, key.word).is_none() {
                made.insert(key.word);
            }
        }
    }
}
