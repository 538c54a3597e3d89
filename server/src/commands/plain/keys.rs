//! Keys of every kind, plain ones and objects with names: which there are, and their removal.

use miso_protocol::command::{Arg, Categories, Flags, Group, Row};
use miso_protocol::request::Args;
use miso_store::Shown;
use miso_store::crdt::plain::type_name;

use super::access::with_key;
use crate::commands::miso::object;
use crate::commands::scan::{COUNT, CURSOR, MATCH, Scan, ScanReply};
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const WALKS: &str = "O(1), or O(N) where it walks N names or objects";
const KEY: Arg = Arg::key("key");
const MANY: Arg = Arg::key("key").multiple();

pub(crate) const KEYS: &[Command] = &[
    Command::new(
        Row::command("SCAN")
            .args(&[CURSOR, MATCH, COUNT, Arg::string("type").with_token("TYPE").optional()])
            .group(Group::Keyspace)
            .reads()
            .complexity(WALKS)
            .summary("Walks the keys of this function step by step")
            .reply("Array of the cursor to go on from (0 at the end) and keys"),
        scan,
    ),
    Command::new(
        Row::command("KEYS")
            .args(&[Arg::pattern("pattern")])
            .group(Group::Keyspace)
            .reads()
            .categories(Categories::DANGEROUS)
            .complexity(WALKS)
            .summary("All keys of this function that match")
            .reply("Array of keys"),
        keys,
    ),
    Command::new(
        Row::command("TYPE")
            .args(&[KEY])
            .group(Group::Keyspace)
            .reads()
            .fast()
            .complexity(WALKS)
            .summary("The type of a key; an object with names shows itself as a hash")
            .reply("Simple string: string, hash, set, zset or none"),
        kind,
    ),
    Command::new(
        Row::command("EXISTS")
            .args(&[MANY])
            .group(Group::Keyspace)
            .reads()
            .fast()
            .complexity(WALKS)
            .summary("How many of the keys exist")
            .reply("Integer; a key named twice counts twice"),
        exists,
    ),
    Command::new(
        Row::command("TOUCH")
            .args(&[MANY])
            .group(Group::Keyspace)
            .reads()
            .fast()
            .complexity(WALKS)
            .summary("How many of the keys exist; there is no access time that it could change")
            .reply("Integer; a key named twice counts twice"),
        exists,
    ),
    Command::new(
        Row::command("DEL")
            .args(&[MANY])
            .group(Group::Keyspace)
            .deletes()
            .flags(Flags::RESETS)
            .complexity(WALKS)
            .summary("Deletes keys as far as this node has seen them, as MISO.DEL")
            .reply("Integer: how many existed"),
        del,
    ),
    Command::new(
        Row::command("UNLINK")
            .args(&[MANY])
            .group(Group::Keyspace)
            .deletes()
            .fast()
            .flags(Flags::RESETS)
            .complexity(WALKS)
            .summary("Deletes keys as far as this node has seen them, as MISO.DEL")
            .reply("Integer: how many existed"),
        del,
    ),
    Command::new(
        Row::command("DBSIZE")
            .group(Group::Keyspace)
            .reads()
            .fast()
            .complexity(WALKS)
            .summary("How many keys this function has; such as have just expired may be counted")
            .reply("Integer"),
        db_size,
    ),
    Command::new(
        Row::command("RANDOMKEY")
            .group(Group::Keyspace)
            .reads()
            .complexity(WALKS)
            .summary("A random key of this function")
            .reply("Bulk string, or nil if there is none"),
        random_key,
    ),
];

/// What TYPE calls a key. An object with names shows itself as a hash.
fn name_of(shown: Shown<'_>) -> &'static str {
    match shown {
        Shown::Plain(value) => type_name(value),
        Shown::Object(_) => "hash",
    }
}

fn scan(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let scan = Scan::parse(args, 1, true)?;
    let wanted = |shown: Shown<'_>| {
        scan.kind.is_none_or(|kind| kind.eq_ignore_ascii_case(name_of(shown).as_bytes()))
    };
    cx.with_held(|held, reply| {
        let mut found = ScanReply::new();
        let cursor = held.scan(scan.cursor, scan.count, |id, shown, _| {
            if scan.matches(id) && wanted(shown) {
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
        held.scan(0, usize::MAX, |id, _, _| {
            if miso_protocol::glob::matches(pattern, id, false) {
                found.push(id, reply);
            }
        });
        found.reply_list(reply);
    });
    Ok(())
}

fn kind(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let name = with_key(cx, &args[1], |locked, _| {
        Ok(locked.shard.shown(locked.hash, locked.key, locked.now).map(name_of))
    })?;
    cx.hit(name.is_some());
    cx.reply.simple(name.unwrap_or("none"));
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
        let now = held.function().now();
        let mut delete = |id| held.with_object(id, |shard, hash| shard.delete_key((hash, id), now));
        ids.iter().map(|id| usize::from(delete(id))).sum::<usize>()
    });
    cx.reply.integer(there as i64);
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
