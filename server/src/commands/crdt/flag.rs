//! EWFLAG.

use miso_protocol::command::{Access, Arg, Flags, Group, NAME, OBJECT, Row};
use miso_protocol::request::Args;
use miso_store::crdt::kind;

use crate::commands::access::{modify, read, write};
use crate::engine::command::{Command, ROW};
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const CHANGED: &str = "Integer: 1 if the flag changed on this node, else 0";

pub(crate) const EWFLAG: &[Command] = &[
    Command::new(
        Row {
            name: "EWFLAG.ENABLE",
            args: &[OBJECT, NAME],
            access: Access::Write,
            group: Group::EwFlag,
            flags: Flags::FAST,
            complexity: "O(1)",
            summary: "Turns a flag on; wins over a concurrent disable",
            reply: CHANGED,
            example: &[("EWFLAG.ENABLE shop open", "(integer) 1")],
            ..ROW
        },
        enable,
    ),
    Command::new(
        Row {
            name: "EWFLAG.DISABLE",
            args: &[OBJECT, NAME],
            access: Access::Write,
            group: Group::EwFlag,
            flags: Flags::FAST.with(Flags::NO_DENYOOM),
            complexity: "O(1)",
            summary: "Turns a flag off as far as this node has seen it turned on",
            reply: CHANGED,
            example: &[("EWFLAG.DISABLE shop open", "(integer) 1")],
            ..ROW
        },
        disable,
    ),
    Command::new(
        Row {
            name: "EWFLAG.SET",
            args: &[OBJECT, NAME, Arg::integer("value")],
            access: Access::Write,
            group: Group::EwFlag,
            flags: Flags::FAST,
            complexity: "O(1)",
            summary: "Turns a flag on (1) or off (0)",
            reply: CHANGED,
            example: &[("EWFLAG.SET shop open 1", "(integer) 1")],
            ..ROW
        },
        set,
    ),
    Command::new(
        Row {
            name: "EWFLAG.GET",
            args: &[OBJECT, NAME],
            access: Access::Read,
            group: Group::EwFlag,
            flags: Flags::FAST,
            complexity: "O(1)",
            summary: "Whether a flag is on; default off",
            reply: "Integer: 1 or 0 (RESP3: boolean)",
            example: &[("EWFLAG.GET shop open", "(integer) 1")],
            ..ROW
        },
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
