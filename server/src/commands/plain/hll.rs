//! HyperLogLogs: about how many different elements were added.

use miso_protocol::command::{Arg, Flags, Group, KeyFlags, Row};
use miso_protocol::request::Args;
use miso_store::crdt::plain::hll::Registers;
use miso_store::crdt::{Value, kind};
use miso_store::{Held, Shown};

use super::access::{Locked, with_key};
use super::string_many::locked;
use crate::commands::access::check_key;
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
            .flags(Flags::RESETS)
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
    Command::new(
        Row::command("PFMERGE")
            .args(&[
                Arg::key("destkey")
                    .with_key_flags(KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::INSERT)),
                Arg::key("sourcekey").read().multiple().optional(),
            ])
            .group(Group::HyperLogLog)
            .writes()
            .flags(Flags::RESETS)
            .complexity("O(N) with N keys")
            .merges("the union; a delete takes what it has seen")
            .summary("Adds the elements of HyperLogLogs to another, made if it is absent")
            .reply("OK"),
        pfmerge,
    ),
];

/// Checks that a key is no string: Redis keeps HyperLogLogs in strings, and says so.
fn check(locked: &Locked<'_, '_>) -> Result<(), CommandError> {
    match locked.shard.shown(locked.hash, locked.key, locked.now) {
        Some(Shown::Plain(Value::PlainString(_))) => Err(CommandError::NotHyperLogLog),
        _ => locked.state::<kind::Hll>().map(|_| ()),
    }
}

/// Adds to the HyperLogLog of a key; whether its count may have changed.
fn add(locked: &mut Locked<'_, '_>, added: &Registers) -> Result<bool, CommandError> {
    check(locked)?;
    locked.write::<kind::Hll, _>(|hll, moment, mint, change| hll.add(added, moment, mint, change))
}

/// The union of several.
fn union<'k>(
    held: &mut Held<'_>,
    keys: impl Iterator<Item = &'k [u8]>,
) -> Result<Registers, CommandError> {
    let mut all = Registers::default();
    let now = held.function().now();
    for key in keys {
        locked(held, (key, now), |locked| {
            check(locked)?;
            let at = locked.at();
            let hll = locked.state::<kind::Hll>()?;
            let found = hll.and_then(|hll| hll.registers(at.now, at.writers));
            found.iter().for_each(|found| _ = all.join(found));
            Ok::<_, CommandError>(())
        })?;
    }
    Ok(all)
}

fn pfadd(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let added = Registers::of(args.tail(2).iter());
    check_key(cx, &args[1])?;
    let changed = with_key(cx, &args[1], |locked, _| add(locked, &added))?;
    cx.reply.integer(i64::from(changed));
    Ok(())
}

fn pfcount(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let keys = args.tail(1);
    let all = cx.with_objects(keys, |held| union(held, keys.iter()))?;
    cx.reply.integer(all.count() as i64);
    Ok(())
}

fn pfmerge(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let (to, keys) = (&args[1], args.tail(1));
    check_key(cx, to)?;
    cx.with_objects(keys, |held| {
        // What is there already is not added anew: a concurrent delete takes it.
        let all = union(held, keys.iter().filter(|key| *key != to))?;
        let now = held.function().now();
        locked(held, (to, now), |locked| add(locked, &all))
    })?;
    cx.reply.ok();
    Ok(())
}
