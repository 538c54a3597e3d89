//! How the rows of this group begin.

use miso_protocol::command::{Access, Arg, Categories, Flags, Group, Row};

use crate::engine::command::ROW;

pub(crate) const ADMIN: Flags =
    Flags::ADMIN.with(Flags::NOSCRIPT).with(Flags::LOADING).with(Flags::STALE);
pub(crate) const PLAIN: Flags = Flags::LOADING.with(Flags::STALE);

pub(crate) const fn row(
    name: &'static str,
    args: &'static [Arg],
    flags: Flags,
    summary: &'static str,
    reply: &'static str,
) -> Row {
    Row { name, args, group: Group::Server, flags, summary, reply, ..ROW }
}

pub(crate) const fn sub(
    name: &'static str,
    args: &'static [Arg],
    flags: Flags,
    summary: &'static str,
    reply: &'static str,
) -> Row {
    Row { is_subcommand: true, ..row(name, args, flags, summary, reply) }
}

pub(crate) const HELP: Row = sub("HELP", &[], PLAIN, "What the subcommands are", "Array of lines");

/// A subcommand that reads the key it names, so that ACL rules about keys and `@read` hold for it.
pub(crate) const fn reads(categories: Categories, row: Row) -> Row {
    Row { access: Access::Read, categories, ..row }
}
