//! All commands: a row beside the function that runs it.
//!
//! One file per group. A new command is one entry in its file; a new file is one line in `GROUPS`.

mod access;
mod acl;
mod config;
mod connection;
mod counter;
mod flag;
mod function;
mod keyspace;
mod map;
mod node;
mod object;
mod pubsub;
mod register;
mod scan;
mod server;
mod set;
mod transaction;

pub(crate) use connection::REDIS_VERSION;
use miso_protocol::command::{Row, Table};
use miso_protocol::request::Args;

use crate::context::Context;
use crate::error::CommandError;

/// Runs a command; writes its reply, or answers why not.
pub(crate) type Handler = fn(&mut Context<'_>, Args<'_>) -> Result<(), CommandError>;

/// A row and what runs it.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) row: Row,
    pub(crate) run: Handler,
    /// What runs its subcommands, in the order of their rows.
    pub(crate) sub: &'static [Handler],
}

/// A row with nothing in it, to take the rest of a row from.
const ROW: Row = Row::EMPTY;

impl Command {
    /// A command without subcommands.
    const fn new(row: Row, run: Handler) -> Command {
        Command { row, run, sub: &[] }
    }

    /// A command that is only its subcommands.
    const fn parent(row: Row, sub: &'static [Handler]) -> Command {
        assert!(row.subcommands.len() == sub.len(), "each subcommand has its handler");
        Command { row, run: unreachable_alone, sub }
    }
}

fn unreachable_alone(_: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    Err(CommandError::Syntax)
}

const GROUPS: &[&[Command]] = &[
    counter::GCOUNTER,
    counter::PNCOUNTER,
    set::GSET,
    set::ORSET,
    set::ORSET_REMOVALS,
    register::MVREG,
    flag::EWFLAG,
    map::ORMAP,
    object::OBJECTS,
    function::FUNCTIONS,
    node::NODES,
    keyspace::KEYSPACE,
    connection::CONNECTION,
    transaction::TRANSACTIONS,
    pubsub::PUBSUB,
    config::CONFIG,
    acl::ACL,
    server::SERVER,
];

/// The handlers of a [`Table`], by the same numbers.
#[derive(Debug)]
pub(crate) struct Handlers(Vec<&'static Command>);

impl Handlers {
    pub(crate) fn get(&self, number: u16) -> &'static Command {
        self.0[usize::from(number)]
    }
}

/// The table of all commands.
pub(crate) fn table() -> (Table, Handlers) {
    let all = || GROUPS.iter().flat_map(|group| group.iter());
    (Table::new(all().map(|command| &command.row)), Handlers(all().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_complete() {
        let (table, handlers) = table();
        for (number, row) in (0u16..).zip(table.iter()) {
            let subs = row.subcommands.iter();
            for row in std::iter::once(row).chain(subs) {
                assert_eq!(row.name, row.name.to_ascii_uppercase());
                assert!(!row.summary.is_empty() && !row.summary.ends_with('.'), "{}", row.name);
                assert!(!row.reply.is_empty() || !row.subcommands.is_empty(), "{}", row.name);
            }
            assert!(row.subcommands.iter().all(|sub| sub.is_subcommand), "{}", row.name);
            assert_eq!(handlers.get(number).sub.len(), row.subcommands.len(), "{}", row.name);
            assert_eq!(table.find(row.name.to_ascii_lowercase().as_bytes()), Some(number));
        }
    }
}
