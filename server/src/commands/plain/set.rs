//! Sets.

use miso_protocol::command::{Arg, Group, Row};
use miso_protocol::request::Args;
use miso_store::crdt::kind;

use super::access::{read, write};
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const KEY: Arg = Arg::key("key");

pub(crate) const SETS: &[Command] = &[
    Command::new(
        Row::command("SADD")
            .args(&[
                KEY.with_key_flags(miso_protocol::command::KeyFlags::INSERTED),
                Arg::string("member").multiple(),
            ])
            .group(Group::Set)
            .writes()
            .fast()
            .complexity("O(N) with N members")
            .merges("a member that is added stays, whatever was removed without seeing the add")
            .summary("Adds members to a set, made if it is absent")
            .reply("Integer: how many were new here")
            .example(&[("SADD tags red green", "(integer) 2")]),
        sadd,
    ),
    Command::new(
        Row::command("SMEMBERS")
            .args(&[KEY])
            .group(Group::Set)
            .reads()
            .complexity("O(N) with N members")
            .summary("The members of a set")
            .reply("Array (RESP3: set) of bulk strings"),
        smembers,
    ),
];

fn sadd(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let members = args.tail(2);
    let new = write::<kind::PlainSet, _>(cx, &args[1], |set, moment, mint, mut change| {
        let mut new = 0;
        for member in members.iter() {
            new += i64::from(set.add(member, moment, mint, change.as_deref_mut()));
        }
        new
    })?;
    cx.reply.integer(new);
    Ok(())
}

fn smembers(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    read::<kind::PlainSet>(cx, &args[1], |set, at, reply| {
        let members: Vec<&[u8]> = set.map_or_else(Vec::new, |set| {
            set.iter(at.now, at.writers).map(|(member, _)| member).collect()
        });
        reply.set(members.len());
        members.iter().for_each(|member| reply.bulk(member));
        !members.is_empty()
    })
}
