//! COMMAND: what the rows say, for clients.

use miso_protocol::command::{Arg, Flags, Row};
use miso_protocol::introspect;
use miso_protocol::request::Args;

use super::rows::{HELP, row, sub};
use crate::commands::subcommands::help;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

pub(super) const COMMAND: Command = Command {
    run: command_all,
    ..Command::parent(
        Row {
            flags: Flags::LOADING.with(Flags::STALE).with(Flags::ALONE),
            subcommands: &[
                sub("COUNT", &[], "How many commands there are", "Integer"),
                sub(
                    "INFO",
                    &[Arg::string("command-name").optional().multiple()],
                    "What commands take",
                    "Array",
                ),
                sub(
                    "DOCS",
                    &[Arg::string("command-name").optional().multiple()],
                    "What commands do",
                    "Map",
                ),
                sub(
                    "LIST",
                    &[Arg::string("filter").optional().multiple()],
                    "The names of commands",
                    "Array",
                ),
                sub(
                    "GETKEYS",
                    &[Arg::string("command"), Arg::string("arg").multiple()],
                    "The objects a command is about",
                    "Array",
                ),
                sub(
                    "GETKEYSANDFLAGS",
                    &[Arg::string("command"), Arg::string("arg").multiple()],
                    "The objects a command is about, and how",
                    "Array",
                ),
                HELP,
            ],
            ..row("COMMAND", &[], "All commands and what they take", "Array")
        },
        &[
            command_count,
            command_info,
            command_docs,
            command_list,
            command_getkeys,
            command_getkeysandflags,
            help,
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
