//! COMMAND: what the rows say, for clients.

use miso_protocol::command::{Arg, Flags, Group, Row};
use miso_protocol::introspect;
use miso_protocol::request::Args;

use super::rows::ANY_TIME;
use crate::commands::subcommands::helps;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

pub(super) const COMMAND: Command = Command {
    run: command_all,
    ..Command::parent(
        Row::command("COMMAND")
            .group(Group::Connection)
            .flags(Flags::LOADING.with(Flags::STALE).with(Flags::ALONE))
            .summary("All commands and what they take")
            .reply("Array"),
        &[
            Command::new(
                Row::subcommand("COUNT")
                    .group(Group::Connection)
                    .flags(ANY_TIME)
                    .summary("How many commands there are")
                    .reply("Integer"),
                command_count,
            ),
            Command::new(
                Row::subcommand("INFO")
                    .args(&[Arg::string("command-name").optional().multiple()])
                    .group(Group::Connection)
                    .flags(ANY_TIME)
                    .summary("What commands take")
                    .reply("Array"),
                command_info,
            ),
            Command::new(
                Row::subcommand("DOCS")
                    .args(&[Arg::string("command-name").optional().multiple()])
                    .group(Group::Connection)
                    .flags(ANY_TIME)
                    .summary("What commands do")
                    .reply("Map"),
                command_docs,
            ),
            Command::new(
                Row::subcommand("LIST")
                    .args(&[Arg::string("filter").optional().multiple()])
                    .group(Group::Connection)
                    .flags(ANY_TIME)
                    .summary("The names of commands")
                    .reply("Array"),
                command_list,
            ),
            Command::new(
                Row::subcommand("GETKEYS")
                    .args(&[Arg::string("command"), Arg::string("arg").multiple()])
                    .group(Group::Connection)
                    .flags(ANY_TIME)
                    .summary("The objects a command is about")
                    .reply("Array"),
                command_getkeys,
            ),
            Command::new(
                Row::subcommand("GETKEYSANDFLAGS")
                    .args(&[Arg::string("command"), Arg::string("arg").multiple()])
                    .group(Group::Connection)
                    .flags(ANY_TIME)
                    .summary("The objects a command is about, and how")
                    .reply("Array"),
                command_getkeysandflags,
            ),
            helps(Group::Connection),
        ],
    )
};

fn command_all(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    introspect::all(&cx.node.table, &mut cx.reply);
    Ok(())
}

fn command_count(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.reply.integer(cx.node.table.len() as i64);
    Ok(())
}

fn command_info(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    introspect::info(&cx.node.table, args.tail(2), &mut cx.reply);
    Ok(())
}

fn command_docs(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    introspect::docs(&cx.node.table, args.tail(2), &mut cx.reply);
    Ok(())
}

fn command_list(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    introspect::list(&cx.node.table, args.tail(2), &mut cx.reply).map_err(CommandError::text)
}

fn command_getkeys(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    introspect::get_keys(&cx.node.table, args.tail(2), false, &mut cx.reply)
        .map_err(CommandError::text)
}

fn command_getkeysandflags(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    introspect::get_keys(&cx.node.table, args.tail(2), true, &mut cx.reply)
        .map_err(CommandError::text)
}
