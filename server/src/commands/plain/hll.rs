//! HyperLogLogs: about how many different elements were added.

use miso_protocol::command::{Arg, Group, Row};
use miso_protocol::request::Args;
use miso_store::crdt::kind;
use miso_store::crdt::plain::hll::Registers;

use super::access::write;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const KEY: Arg = Arg::key("key");

pub(crate) const HYPERLOGLOGS: &[Command] = &[
    Command::new(
        Row::command("PFADD")
            .args(&[KEY.read_written(), Arg::string("element").multiple().optional()])
            .group(Group::HyperLogLog)
            .writes()
            .fast()
            .complexity("O(N) with N elements")
            .merges("the union; a delete takes what it has seen")
            .summary("Adds elements to a HyperLogLog, made if it is absent")
            .reply("Integer: 1 if the count may have changed here, else 0")
            .example(&[("PFADD visitors ada bob", "(integer) 1")]),
        pfadd,
    ),
    Command::new(
        Row::command("PFCOUNT")
            .args(&[KEY.multiple()])
            .group(Group::HyperLogLog)
            .reads()
            .complexity("O(N) with N keys")
            .summary("About how many different elements were added, to any of the keys")
            .reply("Integer: within 0.81 %")
            .example(&[("PFCOUNT visitors", "(integer) 2")]),
        pfcount,
    ),
];

fn pfadd(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let added = Registers::of(args.tail(2).iter());
    let changed = write::<kind::Hll, _>(cx, &args[1], |hll, moment, mint, change| {
        hll.add(&added, moment, mint, change)
    })?;
    cx.reply.integer(i64::from(changed));
    Ok(())
}

fn pfcount(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let keys = args.tail(1);
    let all = cx.with_objects(keys, |held| {
        let mut all = Registers::default();
        let now = held.function().now();
        for key in keys.iter() {
            held.with_object(key, |shard, hash| {
                let hll = shard.plain::<kind::Hll>(hash, key, now);
                let hll = hll.map_err(|misfit| CommandError::misfit(misfit, key))?;
                let found = hll.and_then(|hll| hll.registers(now, shard.writers()));
                found.iter().for_each(|found| _ = all.join(found));
                Ok::<_, CommandError>(())
            })?;
        }
        Ok::<_, CommandError>(all)
    })?;
    cx.reply.integer(all.count() as i64);
    Ok(())
}
