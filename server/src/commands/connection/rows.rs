//! How the rows of this group begin.

use miso_protocol::command::{Arg, Flags, Group, Row};

use crate::engine::command::ROW;

pub(super) const ALWAYS: Flags =
    Flags::FAST.with(Flags::LOADING).with(Flags::STALE).with(Flags::NOSCRIPT);

pub(super) const fn row(
    name: &'static str,
    args: &'static [Arg],
    summary: &'static str,
    reply: &'static str,
) -> Row {
    Row { name, args, group: Group::Connection, flags: ALWAYS, summary, reply, ..ROW }
}

pub(super) const fn sub(
    name: &'static str,
    args: &'static [Arg],
    summary: &'static str,
    reply: &'static str,
) -> Row {
    Row {
        is_subcommand: true,
        flags: ALWAYS.without(Flags::FAST),
        ..row(name, args, summary, reply)
    }
}

pub(super) const HELP: Row = sub("HELP", &[], "What the subcommands are", "Array of lines");
