//! What commands with subcommands share: HELP.

use miso_protocol::request::Args;

use crate::engine::context::Context;
use crate::engine::error::CommandError;

/// HELP of any command with subcommands, from their rows.
pub(super) fn help(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let number = cx.node.table.find(&args[0]).ok_or(CommandError::Syntax)?;
    let row = cx.node.table.row(number);
    let mut lines =
        vec![format!("{} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", row.name)];
    for sub in row.subcommands {
        lines.push(miso_protocol::reference::syntax(sub));
        lines.push(format!("    {}.", sub.summary));
    }
    cx.reply.array(lines.len());
    lines.iter().for_each(|line| cx.reply.simple(line));
    Ok(())
}
