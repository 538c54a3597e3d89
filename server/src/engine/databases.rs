//! Databases: each is replicated as a function of its own beside its function (`checkout`, `checkout#1`).

use miso_protocol::command::Flags;
use miso_protocol::integer;

use crate::engine::error::CommandError;
use crate::engine::session::Queued;
use crate::node::Node;
use crate::settings::Settings;

/// The number of a database in a word of a command.
///
/// # Errors
/// If it is no number, or there is no such database.
pub(crate) fn number(settings: &Settings, word: &[u8]) -> Result<u32, CommandError> {
    let number = integer::parse_i64(word).ok_or(CommandError::NotInteger)?;
    let number = i32::try_from(number).map_err(|_| CommandError::OutOfInt)?;
    let number = u32::try_from(number).ok().filter(|number| *number < settings.databases());
    number.ok_or(CommandError::InvalidIndex)
}

/// The database that a queued command selects; none if it is another command, or will fail.
pub(super) fn selected(node: &Node, queued: &Queued) -> Option<u32> {
    let args = queued.args.as_args();
    let is_select = queued.found.leaf().flags.has(Flags::DATABASES) && args.len() == 2;
    let word = args.get(1).filter(|_| is_select)?;
    number(&node.settings, word).ok()
}
