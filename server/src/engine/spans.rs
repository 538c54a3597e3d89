//! What reaches other databases than the connection's: FLUSHALL, and transactions with SELECT or FLUSHALL in them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use miso_store::{Deleting, Function, Held};

use crate::engine::context::{Context, Holds};
use crate::engine::databases::selected;
use crate::engine::error::CommandError;
use crate::engine::session::Transaction;

/// The other databases of the connection's function that are here, by number.
pub(crate) fn others(cx: &mut Context<'_>) -> Result<BTreeMap<u32, Arc<Function>>, CommandError> {
    of_numbers(cx, BTreeSet::new())
}

/// The other databases of the connection's function that are here, and those of `wanted`.
fn of_numbers(
    cx: &mut Context<'_>,
    wanted: BTreeSet<u32>,
) -> Result<BTreeMap<u32, Arc<Function>>, CommandError> {
    let current = cx.session.database();
    let mut all = BTreeMap::new();
    for number in (0..cx.node.settings.databases()).filter(|number| *number != current) {
        let name = cx.session.name_of(number);
        if wanted.contains(&number) || cx.node.store.find(&name).is_some() {
            all.insert(number, cx.run_function(&name)?);
        }
    }
    Ok(all)
}

/// The databases that the commands of a transaction may reach beside the connection's: those that are here, and
/// those that it selects.
pub(super) fn reached(
    cx: &mut Context<'_>,
    transaction: &Transaction,
) -> Result<BTreeMap<u32, Arc<Function>>, CommandError> {
    let queued = transaction.queued.iter();
    let wanted = queued.filter_map(|queued| selected(cx.node, queued)).collect();
    of_numbers(cx, wanted)
}

/// Leave to delete in each of these functions, held while it is done.
///
/// # Errors
/// If deletes pause in one: see [`thaw`](super::thaw).
pub(crate) fn begin_deletes<'a>(
    mut functions: impl Iterator<Item = &'a Arc<Function>>,
) -> Result<Vec<Deleting>, CommandError> {
    functions.try_fold(Vec::new(), |mut all, function| {
        all.push(function.begin_delete().ok_or(CommandError::AdoptionPending)?);
        Ok(all)
    })
}

/// All shards of a function, held.
pub(crate) fn hold_all(function: &Function) -> Held<'_> {
    Held::shards(function, (0..function.shards()).collect())
}

/// All shards of a database and of others, locked in the order of their numbers: what is held of the first,
/// and of the others.
pub(super) fn hold<'a>(
    (number, function): (u32, &'a Function),
    others: &'a BTreeMap<u32, Arc<Function>>,
) -> (Held<'a>, BTreeMap<u32, Held<'a>>) {
    let (before, after) = (others.range(..number), others.range(number..));
    let mut beside: BTreeMap<u32, Held<'a>> =
        before.map(|(number, function)| (*number, hold_all(function))).collect();
    let held = hold_all(function);
    beside.extend(after.map(|(number, function)| (*number, hold_all(function))));
    (held, beside)
}

/// After a command within EXEC: if it has selected a database, works on what is held of that one.
pub(super) fn follow(cx: &mut Context<'_>, current: &mut u32) {
    let chosen = cx.session.database();
    if chosen == *current {
        return;
    }
    if let Some(Holds { own, beside: Some(beside) }) = cx.held.as_deref_mut()
        && let Some(held) = beside.remove(&chosen)
    {
        beside.insert(*current, std::mem::replace(own, held));
        *current = chosen;
    }
}
