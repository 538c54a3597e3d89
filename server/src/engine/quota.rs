//! Whether a function's quota has room for a command that writes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use miso_protocol::command::{Flags, KeyFlags, Row};
use miso_protocol::request::Args;
use miso_store::Function;

use crate::engine::error::CommandError;
use crate::engine::find::Resolved;
use crate::engine::session::Session;
use crate::node::Node;
use crate::node::quotas;

/// Checks a command that writes or publishes against the quota of its function, if that has one. Within MULTI
/// writes are counted as they are queued; objects are when EXEC makes them.
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
    let Some(quota) = node.quotas.of(session.owner()) else { return Ok(()) };
    let function = session.function();
    let shown = || String::from_utf8_lossy(session.owner()).into_owned();
    if let Some(most) = quota.objects {
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
                node.quotas.count_refused(&quota);
                return Err(CommandError::QuotaObjects(shown().into(), most.to_string().into()));
            }
        }
    }
    if !found.is_exec() && !quota.takes_write(Instant::now()) {
        node.quotas.count_refused(&quota);
        let most = quota.writes.unwrap_or_default();
        return Err(CommandError::QuotaWrites(shown().into(), most.to_string().into()));
    }
    Ok(())
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
