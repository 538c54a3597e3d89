//! OBJECT: how Redis would keep an object.

use miso_protocol::command::{Arg, Categories, Group, Row};
use miso_protocol::request::Args;

use crate::commands::subcommands::helps;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const KEY: Arg = Arg::key("key");

pub(crate) const OBJECT: Command = Command::parent(
    Row::command("OBJECT").summary("About objects as keys"),
    &[
        Command::new(
            Row::subcommand("ENCODING")
                .args(&[KEY])
                .reads()
                .categories(Categories::KEYSPACE)
                .summary("How Redis would store what an object shows itself as")
                .reply("Bulk string"),
            object_encoding,
        ),
        Command::new(
            Row::subcommand("FREQ")
                .args(&[KEY])
                .reads()
                .categories(Categories::KEYSPACE)
                .summary("Refused: there is no access count")
                .reply("Error"),
            object_freq,
        ),
        Command::new(
            Row::subcommand("IDLETIME")
                .args(&[KEY])
                .reads()
                .categories(Categories::KEYSPACE)
                .summary("There is no access time")
                .reply("Integer: 0"),
            object_idle,
        ),
        Command::new(
            Row::subcommand("REFCOUNT")
                .args(&[KEY])
                .reads()
                .categories(Categories::KEYSPACE)
                .summary("How many refer to it")
                .reply("Integer: 1"),
            object_refs,
        ),
        helps(Group::Server),
    ],
);

/// Whether the object that `args[2]` says is there; replies nil if not.
fn is_there(cx: &mut Context<'_>, args: Args<'_>) -> bool {
    let there = cx.with_shard(&args[2], |shard, hash, _| shard.object(hash, &args[2]).is_some());
    if !there {
        cx.reply.null();
    }
    there
}

fn object_encoding(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if is_there(cx, args) {
        cx.reply.bulk(b"hashtable");
    }
    Ok(())
}

fn object_freq(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if !is_there(cx, args) {
        return Ok(());
    }
    Err(CommandError::NoFrequency)
}

fn object_idle(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if is_there(cx, args) {
        cx.reply.integer(0);
    }
    Ok(())
}

fn object_refs(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if is_there(cx, args) {
        cx.reply.integer(1);
    }
    Ok(())
}
