//! Objects as keys: which there are, whether they exist, and their removal.

use miso_protocol::command::{Arg, Categories, Flags, Group, Row};
use miso_protocol::request::Args;

use super::hash::view;
use crate::commands::miso::object;
use crate::commands::scan::{COUNT, CURSOR, MATCH, Scan, ScanReply};
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const WALKS: &str = "O(1), or O(N) where it walks N names or objects";
const KEY: Arg = Arg::key("key");
const KEYS: Arg = Arg::key("key").multiple();

pub(crate) const KEYSPACE: &[Command] = &[
    Command::new(
        Row::command("SCAN")
            .args(&[CURSOR, MATCH, COUNT, Arg::string("type").with_token("TYPE").optional()])
            .group(Group::Keyspace)
            .reads()
            .complexity(WALKS)
            .summary("Walks the objects of this function step by step")
            .reply("Array of the cursor to go on from (0 at the end) and object ids"),
        scan,
    ),
    Command::new(
        Row::command("KEYS")
            .args(&[Arg::pattern("pattern")])
            .group(Group::Keyspace)
            .reads()
            .categories(Categories::DANGEROUS)
            .complexity(WALKS)
            .summary("All objects of this function whose id matches")
            .reply("Array of object ids"),
        keys,
    ),
    Command::new(
        Row::command("TYPE")
            .args(&[KEY])
            .group(Group::Keyspace)
            .reads()
            .fast()
            .complexity(WALKS)
            .summary("The Redis type that an object shows itself as")
            .reply("Simple string: hash, or none"),
        kind,
    ),
    Command::new(
        Row::command("EXISTS")
            .args(&[KEYS])
            .group(Group::Keyspace)
            .reads()
            .fast()
            .complexity(WALKS)
            .summary("How many of the objects exist")
            .reply("Integer; an object named twice counts twice"),
        exists,
    ),
    Command::new(
        Row::command("TOUCH")
            .args(&[KEYS])
            .group(Group::Keyspace)
            .reads()
            .fast()
            .complexity(WALKS)
            .summary("How many of the objects exist; there is no access time that it could change")
            .reply("Integer; an object named twice counts twice"),
        exists,
    ),
    Command::new(
        Row::command("DEL")
            .args(&[KEYS])
            .group(Group::Keyspace)
            .deletes()
            .flags(Flags::RESETS)
            .complexity(WALKS)
            .summary("Deletes objects as far as this node has seen them, as MISO.DEL")
            .reply("Integer: how many existed"),
        del,
    ),
    Command::new(
        Row::command("UNLINK")
            .args(&[KEYS])
            .group(Group::Keyspace)
            .deletes()
            .fast()
            .flags(Flags::RESETS)
            .complexity(WALKS)
            .summary("Deletes objects as far as this node has seen them, as MISO.DEL")
            .reply("Integer: how many existed"),
        del,
    ),
    Command::new(
        Row::command("TTL")
            .args(&[KEY])
            .group(Group::Keyspace)
            .reads()
            .fast()
            .complexity(WALKS)
            .summary("Seconds until an object expires: never")
            .reply("Integer: -1, or -2 if it is absent"),
        ttl,
    ),
    Command::new(
        Row::command("PTTL")
            .args(&[KEY])
            .group(Group::Keyspace)
            .reads()
            .fast()
            .complexity(WALKS)
            .summary("Milliseconds until an object expires: never")
            .reply("Integer: -1, or -2 if it is absent"),
        ttl,
    ),
    Command::new(
        Row::command("EXPIRETIME")
            .args(&[KEY])
            .group(Group::Keyspace)
            .reads()
            .fast()
            .complexity(WALKS)
            .summary("When an object expires: never")
            .reply("Integer: -1, or -2 if it is absent"),
        ttl,
    ),
    Command::new(
        Row::command("PEXPIRETIME")
            .args(&[KEY])
            .group(Group::Keyspace)
            .reads()
            .fast()
            .complexity(WALKS)
            .summary("When an object expires: never")
            .reply("Integer: -1, or -2 if it is absent"),
        ttl,
    ),
    Command::new(
        Row::command("DBSIZE")
            .group(Group::Keyspace)
            .reads()
            .fast()
            .complexity(WALKS)
            .summary("How many objects this function has")
            .reply("Integer"),
        db_size,
    ),
    Command::new(
        Row::command("RANDOMKEY")
            .group(Group::Keyspace)
            .reads()
            .complexity(WALKS)
            .summary("A random object of this function")
            .reply("Bulk string, or nil if there is none"),
        random_key,
    ),
];

fn scan(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let scan = Scan::parse(args, 1, true)?;
    // Every object shows itself as a hash.
    let shown = scan.kind.is_none_or(|kind| kind.eq_ignore_ascii_case(b"hash"));
    cx.with_held(|held, reply| {
        let mut found = ScanReply::new();
        let cursor = held.scan(scan.cursor, scan.count, |id, object| {
            if shown && scan.matches(id) && !object.is_absent() {
                found.push(id, reply);
            }
        });
        found.reply(cursor, reply);
    });
    Ok(())
}

fn keys(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let pattern = &args[1];
    cx.with_held(|held, reply| {
        let mut found = ScanReply::new();
        held.scan(0, usize::MAX, |id, object| {
            if miso_protocol::glob::matches(pattern, id, false) && !object.is_absent() {
                found.push(id, reply);
            }
        });
        found.reply_list(reply);
    });
    Ok(())
}

fn kind(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let name = view(cx, args, |found| if found.is_some() { "hash" } else { "none" });
    cx.reply.simple(name);
    Ok(())
}

fn exists(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let there = args.tail(1).iter().filter(|id| object::exists(cx, id)).count();
    cx.reply.integer(there as i64);
    Ok(())
}

fn del(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let ids = args.tail(1);
    let there = cx.with_objects(ids, |held| {
        let mut delete = |id| held.with_object(id, |shard, hash| shard.delete_object(hash, id) > 0);
        ids.iter().map(|id| usize::from(delete(id))).sum::<usize>()
    });
    cx.reply.integer(there as i64);
    Ok(())
}

fn ttl(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let ttl = view(cx, args, |found| if found.is_some() { -1 } else { -2 });
    cx.reply.integer(ttl);
    Ok(())
}

fn db_size(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let objects = cx.function().object_count();
    cx.reply.integer(objects as i64);
    Ok(())
}

fn random_key(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.with_held(|held, reply| match held.random(|| fastrand::u64(..)) {
        Some(id) => reply.bulk(&id),
        None => reply.null(),
    });
    Ok(())
}
