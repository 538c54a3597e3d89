//! OBJECT: how Redis would keep an object.

use miso_protocol::command::{Arg, Categories, Flags, Row};
use miso_protocol::request::Args;

use crate::commands::server::rows::{HELP, reads, row, sub};
use crate::commands::subcommands::help;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const KEY: Arg = Arg::key("key");

pub(crate) const OBJECT: Command = Command::parent(
    Row {
        subcommands: &[
            reads(
                Categories::KEYSPACE,
                sub(
                    "ENCODING",
                    &[KEY],
                    Flags::NONE,
                    "How Redis would store what an object shows itself as",
                    "Bulk string",
                ),
            ),
            reads(
                Categories::KEYSPACE,
                sub("FREQ", &[KEY], Flags::NONE, "Refused: there is no access count", "Error"),
            ),
            reads(
                Categories::KEYSPACE,
                sub("IDLETIME", &[KEY], Flags::NONE, "There is no access time", "Integer: 0"),
            ),
            reads(
                Categories::KEYSPACE,
                sub("REFCOUNT", &[KEY], Flags::NONE, "How many refer to it", "Integer: 1"),
            ),
            HELP,
        ],
        ..row("OBJECT", &[], Flags::NONE, "About objects as keys", "")
    },
    &[object_encoding, object_freq, object_idle, object_refs, help],
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
