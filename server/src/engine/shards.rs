//! Which shards a command needs held, and a transaction.

use miso_protocol::command::{Access, KeyFlags};
use miso_protocol::request::Args;
use miso_store::Function;

use crate::engine::find::Resolved;
use crate::engine::session::Transaction;

/// The shards of all objects that the queued commands are about; all shards if one of the commands
/// walks objects or deletes all.
pub(super) fn of_transaction(transaction: &Transaction, function: &Function) -> Vec<usize> {
    let mut shards = Vec::new();
    shards.extend(transaction.once.as_ref().map(|id| function.once_shard(&**id)));
    for queued in &transaction.queued {
        if !add(&queued.found, queued.args.as_args(), function, &mut shards) {
            return (0..function.shards()).collect();
        }
    }
    shards
}

/// Adds the shards of a command's objects; false if it is about all of them.
pub(super) fn add(
    found: &Resolved,
    args: Args<'_>,
    function: &Function,
    shards: &mut impl Extend<usize>,
) -> bool {
    let row = found.leaf();
    if row.access != Access::None && !row.has_keys() {
        return false;
    }
    for key in row.keys(args) {
        // SORT reads keys that no word names.
        if key.flags.has(KeyFlags::INCOMPLETE) {
            return false;
        }
        shards.extend([function.shard_index(key.word)]);
    }
    true
}
