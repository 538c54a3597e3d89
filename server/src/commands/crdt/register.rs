//! MVREG.

use miso_protocol::command::{Arg, Group, NAME, OBJECT, Row};
use miso_protocol::request::Args;
use miso_store::crdt::{MvRegister, kind};

use crate::commands::access::{read, write};
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

pub(crate) const MVREG: &[Command] = &[
    Command::new(
        Row::command("MVREG.SET")
            .args(&[OBJECT.written(), NAME, Arg::string("value")])
            .group(Group::MvReg)
            .writes()
            .fast()
            .complexity("O(1); O(N) if N concurrent values are replaced")
            .summary("Sets a register in place of every value that this node has seen")
            .reply("OK")
            .example(&[("MVREG.SET user-7 theme dark", "OK")]),
        set,
    ),
    Command::new(
        Row::command("MVREG.GET")
            .args(&[OBJECT, NAME])
            .group(Group::MvReg)
            .reads()
            .fast()
            .complexity("O(N log N) with N concurrent values")
            .summary("All concurrent values of a register, in bytewise order")
            .reply(
                "Array of bulk strings: more than one if it was set \
                 concurrently, none if never",
            )
            .example(&[("MVREG.GET user-7 theme", "1) \"dark\"")]),
        get,
    ),
    Command::new(
        Row::command("MVREG.VALUE")
            .args(&[OBJECT, NAME])
            .group(Group::MvReg)
            .reads()
            .fast()
            .complexity("O(N) with N concurrent values")
            .summary(
                "One value of a register: the latest, the same on every node \
                 that has the same",
            )
            .reply("Bulk string, or nil if it was never set")
            .example(&[("MVREG.VALUE user-7 theme", "\"dark\"")]),
        value,
    ),
];

fn set(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    write::<kind::MvRegister, _>(cx, args, |register, mint, change| {
        register.set(&args[3], mint, change);
    })?;
    cx.reply.ok();
    Ok(())
}

fn get(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    read::<kind::MvRegister>(cx, args, |register, _, reply| {
        let values = register.map_or_else(Vec::new, MvRegister::values);
        reply.array(values.len());
        values.into_iter().for_each(|value| reply.bulk(value));
    })
}

fn value(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    read::<kind::MvRegister>(cx, args, |register, shard, reply| {
        match register.and_then(|register| register.winner(shard.writers())) {
            Some(value) => reply.bulk(value),
            None => reply.null(),
        }
    })
}
