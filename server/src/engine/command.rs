//! A command: its row and the functions that run it.

use miso_protocol::command::{Row, Table};
use miso_protocol::request::Args;

use crate::engine::context::Context;
use crate::engine::error::CommandError;

/// Runs a command: writes its reply, or returns the error to reply with.
pub(crate) type Handler = fn(&mut Context<'_>, Args<'_>) -> Result<(), CommandError>;

/// A row and its handlers.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) row: Row,
    pub(crate) run: Handler,
    /// The handlers of its subcommands, in the order of their rows.
    pub(crate) sub: &'static [Handler],
}

/// An empty row, for the fields that a row does not set.
pub(crate) const ROW: Row = Row::EMPTY;

impl Command {
    /// A command without subcommands.
    pub(crate) const fn new(row: Row, run: Handler) -> Command {
        Command { row, run, sub: &[] }
    }

    /// A command that cannot run without a subcommand.
    pub(crate) const fn parent(row: Row, sub: &'static [Handler]) -> Command {
        assert!(row.subcommands.len() == sub.len(), "each subcommand has its handler");
        Command { row, run: unreachable_alone, sub }
    }
}

fn unreachable_alone(_: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    Err(CommandError::Syntax)
}

/// The handlers of all commands, by the numbers of their rows in the [`Table`].
#[derive(Debug)]
pub(crate) struct Handlers(Vec<&'static Command>);

impl Handlers {
    /// The handler of a row, or of one of its subcommands.
    pub(crate) fn get(&self, number: u16, sub: Option<usize>) -> Handler {
        let command = self.0[usize::from(number)];
        match sub {
            None => command.run,
            Some(at) => command.sub[at],
        }
    }
}

/// The rows of all commands of `groups` as a table, and their handlers by the same numbers.
pub(crate) fn split(groups: &[&'static [Command]]) -> (Table, Handlers) {
    let all = || groups.iter().flat_map(|group| group.iter());
    (Table::new(all().map(|command| &command.row)), Handlers(all().collect()))
}
