//! What commands with subcommands share: HELP.

use miso_protocol::command::{Flags, Group, Row};
use miso_protocol::request::Args;

use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

/// The subcommand HELP of a command of `group`.
pub(super) const fn helps(group: Group) -> Command {
    let row = Row::subcommand("HELP")
        .group(group)
        .flags(Flags::LOADING.with(Flags::STALE))
        .summary("What the subcommands are")
        .reply("Array of lines");
    Command::new(row, help)
}

/// HELP of any command with subcommands, from their rows.
fn help(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let number = cx.node.table.find(&args[0]).ok_or(CommandError::Syntax)?;
    let name = cx.node.table.row(number).name;
    let mut lines =
        vec![format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")];
    for sub in cx.node.table.subcommands(number) {
        lines.push(miso_protocol::reference::syntax(sub));
        lines.push(format!("    {}.", sub.summary));
    }
    cx.reply.array(lines.len());
    lines.iter().for_each(|line| cx.reply.simple(line));
    Ok(())
}
