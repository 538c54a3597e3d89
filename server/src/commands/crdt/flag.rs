//! EWFLAG.

use miso_protocol::command::{Arg, Group, KeyFlags, NAME, OBJECT, Row};
use miso_protocol::request::Args;
use miso_store::crdt::kind;

use crate::commands::access::{modify, read, write};
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

/// The object of a command that changes a flag and does not tell what it was.
const CHANGED_OBJECT: Arg = OBJECT.with_key_flags(KeyFlags::RW.with(KeyFlags::UPDATE));
const CHANGED: &str = "Integer: 1 if the flag changed on this node, else 0";

pub(crate) const EWFLAG: &[Command] = &[
    Command::new(
        Row::command("EWFLAG.ENABLE")
            .args(&[CHANGED_OBJECT, NAME])
            .group(Group::EwFlag)
            .writes()
            .fast()
            .summary("Turns a flag on; wins over a concurrent disable")
            .reply(CHANGED)
            .example(&[("EWFLAG.ENABLE shop open", "(integer) 1")]),
        enable,
    ),
    Command::new(
        Row::command("EWFLAG.DISABLE")
            .args(&[OBJECT, NAME])
            .group(Group::EwFlag)
            .deletes()
            .fast()
            .summary("Turns a flag off as far as this node has seen it turned on")
            .reply(CHANGED)
            .example(&[("EWFLAG.DISABLE shop open", "(integer) 1")]),
        disable,
    ),
    Command::new(
        Row::command("EWFLAG.SET")
            .args(&[CHANGED_OBJECT, NAME, Arg::integer("value")])
            .group(Group::EwFlag)
            .writes()
            .fast()
            .summary("Turns a flag on (1) or off (0)")
            .reply(CHANGED)
            .example(&[("EWFLAG.SET shop open 1", "(integer) 1")]),
        set,
    ),
    Command::new(
        Row::command("EWFLAG.GET")
            .args(&[OBJECT, NAME])
            .group(Group::EwFlag)
            .reads()
            .fast()
            .summary("Whether a flag is on; default off")
            .reply("Integer: 1 or 0 (RESP3: boolean)")
            .example(&[("EWFLAG.GET shop open", "(integer) 1")]),
        get,
    ),
];

fn enable(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let changed =
        write::<kind::EwFlag, _>(cx, args, |flag, mint, change| flag.enable(mint, change))?;
    cx.reply.integer(i64::from(changed));
    Ok(())
}

fn disable(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let changed =
        modify::<kind::EwFlag, _>(cx, args, |flag, mint, change| flag.disable(mint, change))?;
    cx.reply.integer(i64::from(changed == Some(true)));
    Ok(())
}

fn set(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    match &args[3] {
        b"1" => enable(cx, args),
        b"0" => disable(cx, args),
        _ => Err(CommandError::NotFlag),
    }
}

fn get(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    read::<kind::EwFlag>(cx, args, |flag, _, reply| reply.boolean(flag.is_some()))
}
