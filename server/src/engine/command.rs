//! A command: its row and the function that runs it.

use miso_protocol::command::{Row, Table};
use miso_protocol::request::Args;

use crate::engine::context::Context;
use crate::engine::error::CommandError;

/// Runs a command: writes its reply, or returns the error to reply with.
pub(crate) type Handler = fn(&mut Context<'_>, Args<'_>) -> Result<(), CommandError>;

/// A row and its handler.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) row: Row,
    pub(crate) run: Handler,
    /// Its subcommands, each with its handler.
    pub(crate) subcommands: &'static [Command],
}

impl Command {
    /// A command, or a subcommand.
    pub(crate) const fn new(row: Row, run: Handler) -> Command {
        Command { row, run, subcommands: &[] }
    }

    /// A command that cannot run without a subcommand.
    pub(crate) const fn parent(row: Row, subcommands: &'static [Command]) -> Command {
        Command { row: row.parent(), run: unreachable_alone, subcommands }
    }
}

fn unreachable_alone(_: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    Err(CommandError::Syntax)
}

/// The handlers of all commands, by the numbers of their rows in the [`Table`].
#[derive(Debug)]
pub(crate) struct Handlers {
    commands: Vec<&'static Command>,
    /// Of each row, which word its first key is; 0 if that cannot be told without its arguments.
    first_keys: Vec<usize>,
}

impl Handlers {
    /// The handler of a row, or of one of its subcommands.
    pub(crate) fn get(&self, number: u16, sub: Option<usize>) -> Handler {
        let command = self.commands[usize::from(number)];
        match sub {
            None => command.run,
            Some(at) => command.subcommands[at].run,
        }
    }

    /// Which word is the first key of a row's command; none if it has none in a fixed place.
    pub(crate) fn first_key(&self, number: u16) -> Option<usize> {
        Some(self.first_keys[usize::from(number)]).filter(|at| *at > 0)
    }
}

/// The rows of all commands of `groups` as a table, and their handlers by the same numbers.
pub(crate) fn split(groups: &[&'static [Command]]) -> (Table, Handlers) {
    let commands: Vec<_> = groups.iter().flat_map(|group| group.iter()).collect();
    let first_key = |command: &&Command| usize::try_from(command.row.key_spec().0).unwrap_or(0);
    let first_keys = commands.iter().map(first_key).collect();
    let rows = |command: &&'static Command| {
        let command: &'static Command = command;
        (&command.row, command.subcommands.iter().map(|sub| &sub.row))
    };
    (Table::with_subcommands(commands.iter().map(rows)), Handlers { commands, first_keys })
}
