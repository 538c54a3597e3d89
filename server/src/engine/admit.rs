//! Whether a command may run: allowed, and now.

use std::sync::Arc;

use miso_protocol::command::{Access, Flags};
use miso_protocol::reply::Resp;
use miso_protocol::request::Args;
use miso_store::Deleting;

use crate::durability;
use crate::engine::error::CommandError;
use crate::engine::find::Resolved;
use crate::engine::session::Session;
use crate::engine::thaw::Turn;
use crate::engine::wait::After;
use crate::engine::{quota, restore, thaw};
use crate::node::Node;
use crate::node::acl::log::LogEntry;
use crate::node::acl::user::{DEFAULT, Denied};
use crate::node::audit::What;

/// Whether a command writes or publishes, within `session`.
pub(super) fn writes(found: &Resolved, session: &Session) -> bool {
    match &session.transaction {
        Some(transaction) if found.is_exec() => transaction.writes,
        _ => {
            let leaf = found.leaf();
            leaf.access == Access::Write || leaf.flags.has(Flags::MAY_REPLICATE)
        }
    }
}

/// What is to be done with a command.
pub(super) enum Admission {
    /// It runs now. A command that deletes holds this until it has run.
    Run(Option<Deleting>),
    /// It is kept until EXEC.
    Queue,
    /// It does not run yet; when it is to be tried again.
    Wait(After),
    /// It does not run.
    Refuse(CommandError),
}

/// Decides whether a command runs now, waits or is refused. `write` says whether it writes or publishes
/// ([`writes`]). Inlined always: each command passes here, and with a second caller the compiler would call it.
#[inline(always)]
pub(super) fn admit(
    node: &Arc<Node>,
    session: &mut Session,
    found: &Resolved,
    write: bool,
    args: Args<'_>,
) -> Admission {
    if let Err(error) = check(node, session, found, args) {
        return Admission::Refuse(error);
    }
    if let Err(error) = check_function(node, session, found) {
        return Admission::Refuse(error);
    }
    if let Err(error) = check_memory(node, session, found) {
        return Admission::Refuse(error);
    }
    if write && let Err(error) = check_disk(node, session, found) {
        return Admission::Refuse(error);
    }
    let flags = found.leaf().flags;
    if node.clients.is_paused(write) && may_pause(found) {
        return Admission::Wait(After::RetryAfterPause);
    }
    let resets = match &session.transaction {
        Some(transaction) => found.is_exec() && transaction.resets,
        None => flags.has(Flags::RESETS),
    };
    let deleting = match resets.then(|| thaw::await_thaw(session)).transpose() {
        Ok(None) => None,
        Ok(Some(Turn::Run(deleting))) => Some(deleting),
        Ok(Some(Turn::Wait(wait))) => return Admission::Wait(After::RetryWhen(wait)),
        Err(error) => return Admission::Refuse(error),
    };
    if restore::may_wait(session, node.table.may_touch(found.number))
        && let Some(admission) = look_further(node, session, found, write, args)
    {
        return admission;
    }
    if session.transaction.is_some() && !flags.has(Flags::IMMEDIATE) {
        return Admission::Queue;
    }
    Admission::Run(deleting)
}

/// Whether a command of a marked function, or the first one of a session, waits or is refused.
#[cold]
fn look_further(
    node: &Arc<Node>,
    session: &mut Session,
    found: &Resolved,
    write: bool,
    args: Args<'_>,
) -> Option<Admission> {
    // What has waited was counted before.
    if write
        && !session.fetched
        && let Err(error) = quota::check(node, session, found, args)
    {
        return Some(Admission::Refuse(error));
    }
    let wait = restore::fetch_missing(node, session, found.leaf(), args)?;
    Some(Admission::Wait(After::RetryWhen(wait)))
}

#[cold]
fn may_pause(found: &Resolved) -> bool {
    let pauses = !found.leaf().flags.has(Flags::IMMEDIATE) || found.is_exec();
    pauses && !found.row.flags.has(Flags::NEVER_PAUSED)
}

/// Checks authentication, ACL rules and the subscribed state. Inlined always, as [`admit`].
#[inline(always)]
pub(crate) fn check(
    node: &Node,
    session: &Session,
    found: &Resolved,
    args: Args<'_>,
) -> Result<(), CommandError> {
    let flags = found.leaf().flags;
    match &session.user {
        None if !flags.has(Flags::NO_AUTH) => return Err(CommandError::NoAuth),
        None => {}
        Some(_) if flags.has(Flags::NO_AUTH) => {}
        Some(user) => {
            if let Err(denied) = user.check((found.number, found.row), found.sub, args) {
                return Err(deny(node, session, denied, found, args));
            }
        }
    }
    if session.resp == Resp::V2 && session.listening() && !flags.has(Flags::ALLOW_SUBSCRIBED) {
        return Err(CommandError::SubscribedOnly(found.name().into()));
    }
    Ok(())
}

/// Refuses a command that would make its function begin here while there are `max-functions`, or whose
/// connection has not named its function although it must.
fn check_function(node: &Node, session: &Session, found: &Resolved) -> Result<(), CommandError> {
    if session.function.is_some() || !node.table.may_touch(found.number) {
        return Ok(());
    }
    check_beginning(node, session, found)
}

fn check_beginning(node: &Node, session: &Session, found: &Resolved) -> Result<(), CommandError> {
    if !found.leaf().touches() {
        return Ok(());
    }
    if !session.names_function && node.settings.require_function() {
        return Err(CommandError::FunctionRequired);
    }
    check_room(node, session.function_name())
}

/// Checks that a function is here, or that there is room for one more.
///
/// # Errors
/// If it is new and there are `max-functions` already.
pub(crate) fn check_room(node: &Node, function: &[u8]) -> Result<(), CommandError> {
    if node.has_room(function) {
        return Ok(());
    }
    Err(CommandError::TooManyFunctions(node.settings.max_functions().to_string().into()))
}

/// Refuses a command that takes memory while `maxmemory` is exceeded. Within MULTI that is each command
/// that would be queued, and EXEC if one of the queued commands takes memory.
#[inline]
fn check_memory(node: &Node, session: &Session, found: &Resolved) -> Result<(), CommandError> {
    let max = node.settings.maxmemory();
    if max == 0 || crate::allocator::used_bytes() <= max {
        return Ok(());
    }
    check_growth(session, found)
}

#[cold]
fn check_growth(session: &Session, found: &Resolved) -> Result<(), CommandError> {
    let refused = match &session.transaction {
        Some(transaction) if found.is_exec() => transaction.grows,
        Some(_) => !found.leaf().flags.has(Flags::IMMEDIATE),
        None => found.leaf().all_flags().has(Flags::DENYOOM),
    };
    if refused { Err(CommandError::OutOfMemory) } else { Ok(()) }
}

/// Refuses a command that writes while the journal does not accept records; asked of those that write or publish.
fn check_disk(node: &Node, session: &Session, found: &Resolved) -> Result<(), CommandError> {
    let writes = match &session.transaction {
        Some(transaction) if found.is_exec() => transaction.writes,
        _ => found.leaf().access == Access::Write,
    };
    if !writes {
        return Ok(());
    }
    durability::admit(node).map_err(CommandError::text)
}

/// Notes a refusal by an ACL rule in ACL LOG. Returns the error to reply with.
fn deny(
    node: &Node,
    session: &Session,
    denied: Denied,
    found: &Resolved,
    args: Args<'_>,
) -> CommandError {
    let name = &*found.name();
    let word = |at| args.get(at).map(String::from_utf8_lossy).unwrap_or_default().into_owned();
    let object = match denied {
        Denied::Command | Denied::Bound => name.to_owned(),
        Denied::Key(at) | Denied::Channel(at) => word(at),
    };
    let user = session.user.as_ref().map_or(DEFAULT, |user| &user.name);
    let context = if session.transaction.is_some() { "multi" } else { "toplevel" };
    let line = node.client_line(&session.client);
    let entry = LogEntry::now(denied.reason(), context, object, user, line);
    let entry = entry.of(session.client.bound());
    node.stats.denials.count(denied.reason());
    if node.monitors.audited() {
        let command = Some((args, &*found.secrets(args)));
        session.note(What::Denied, command, Some(denied.reason()));
    }
    node.acl.log.add(entry, node.settings.acllog_max_len());
    CommandError::text(denied.line(name))
}
