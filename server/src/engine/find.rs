//! Finding a command: its row, its subcommand, and whether it has the right number of arguments.

use miso_protocol::command::{Flags, Row};
use miso_protocol::request::Args;

use crate::engine::error::CommandError;
use crate::node::Node;
use crate::settings::Settings;

/// A command that was found and has the right number of arguments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resolved {
    pub(crate) number: u16,
    pub(crate) row: &'static Row,
    pub(crate) sub: Option<(usize, &'static Row)>,
    /// The row that says how it behaves: its subcommand's if it has one.
    leaf: &'static Row,
    /// The slot of the statistics that it is counted in.
    pub(crate) slot: u16,
}

impl Resolved {
    /// The row that says how it behaves: its subcommand's if it has one.
    pub(crate) fn leaf(&self) -> &'static Row {
        self.leaf
    }

    /// Its name in lower case, as errors print it: `client|kill`.
    pub(crate) fn name(&self) -> String {
        match self.sub {
            None => self.row.name.to_ascii_lowercase(),
            Some((_, sub)) => format!("{}|{}", self.row.name, sub.name).to_ascii_lowercase(),
        }
    }

    /// The indexes of the words that MONITOR and SLOWLOG must not show.
    pub(super) fn secrets(&self, args: Args<'_>) -> Vec<usize> {
        self.leaf().secrets(args, Settings::is_secret)
    }

    /// Whether it runs other commands.
    pub(super) fn runs_others(&self) -> bool {
        self.row.flags.meets(Flags::EXEC.with(Flags::ONCE))
    }

    /// Whether it is EXEC, for which the queued commands decide.
    pub(super) fn is_exec(&self) -> bool {
        self.row.flags.has(Flags::EXEC)
    }
}

/// The number of the row of the command `name`. `memo` is the last name as it was sent, and its row.
#[inline]
pub(super) fn number(node: &Node, memo: &mut (Vec<u8>, u16), name: &[u8]) -> Option<u16> {
    // Most commands repeat the previous one.
    if memo.1 != u16::MAX && memo.0 == name {
        return Some(memo.1);
    }
    let number = node.table.find(name)?;
    memo.0.clear();
    memo.0.extend_from_slice(name);
    memo.1 = number;
    Some(number)
}

/// Finds the command that `args` are.
///
/// # Errors
/// If there is no such command or subcommand, or the number of arguments does not fit.
pub(crate) fn resolve(node: &Node, args: Args<'_>) -> Result<Resolved, CommandError> {
    let number = node.table.find(&args[0]).ok_or_else(|| unknown(args))?;
    find(node, number, args)
}

/// Finds the command that `args` are, whose row has this number.
///
/// # Errors
/// If there is no such subcommand, or the number of arguments does not fit.
///
/// Inlined always: each command is found, and most have no subcommands.
#[inline(always)]
pub(super) fn find(node: &Node, number: u16, args: Args<'_>) -> Result<Resolved, CommandError> {
    let table = &node.table;
    let row = table.row(number);
    if row.is_parent() {
        return find_sub(node, number, args);
    }
    if !table.fits(number, args.len()) {
        return Err(wrong_arity(row));
    }
    Ok(Resolved { number, row, sub: None, leaf: row, slot: node.stats.slot(number, None) })
}

#[cold]
fn wrong_arity(row: &Row) -> CommandError {
    CommandError::WrongArity(row.name.to_ascii_lowercase().into())
}

/// Finds the subcommand that `args` are, of a row that has some.
#[inline(never)]
fn find_sub(node: &Node, number: u16, args: Args<'_>) -> Result<Resolved, CommandError> {
    let table = &node.table;
    let row = table.row(number);
    let slot = node.stats.slot(number, None);
    let mut found = Resolved { number, row, sub: None, leaf: row, slot };
    match args.get(1) {
        // A few commands also stand alone.
        None if row.flags.has(Flags::ALONE) => return Ok(found),
        None => return Err(wrong_arity(row)),
        Some(word) => {
            let at = table.subcommand(number, word).ok_or_else(|| {
                let shown = &word[..word.len().min(UNKNOWN_SHOWN)];
                CommandError::UnknownSubcommand(shown.into(), row.name.into())
            })?;
            found.leaf = table.subcommands(number)[at];
            found.sub = Some((at, found.leaf));
            found.slot = node.stats.slot(number, Some(at));
        }
    }
    if !found.leaf.fits(args.len()) {
        return Err(CommandError::WrongArity(found.name().into()));
    }
    Ok(found)
}

/// The error about a command that does not exist, with its first arguments, as Redis shortens them.
pub(super) fn unknown(args: Args<'_>) -> CommandError {
    let mut shown = Vec::new();
    for arg in args.tail(1).iter() {
        if shown.len() >= UNKNOWN_SHOWN {
            break;
        }
        let room = UNKNOWN_SHOWN - shown.len();
        let arg = arg.split(|byte| *byte == 0).next().unwrap_or_default();
        shown.extend([b"'", &arg[..arg.len().min(room)], b"' "].concat());
    }
    let name = &args[0][..args[0].len().min(UNKNOWN_SHOWN)];
    CommandError::UnknownCommand(name.into(), shown.into())
}

/// How many bytes of an unknown command an error repeats: of its name, and of its arguments.
const UNKNOWN_SHOWN: usize = 128;
