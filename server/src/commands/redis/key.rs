//! Objects as keys: which there are, whether they exist, and their removal.

use miso_protocol::command::{Access, Arg, Categories, Flags, Group, Row};
use miso_protocol::request::Args;

use super::hash::view;
use crate::commands::miso::object;
use crate::commands::scan::{COUNT, CURSOR, MATCH, Scan, ScanReply};
use crate::engine::command::{Command, ROW};
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const KEY: Arg = Arg::key("key");
const KEYS: Arg = Arg::key("key").multiple();

macro_rules! row {
    ($name:literal, $args:expr, $access:ident, $flags:expr, $run:expr, $summary:literal, $reply:literal) => {
        Command::new(
            Row {
                name: $name,
                args: $args,
                access: Access::$access,
                group: Group::Keyspace,
                categories: categories($name),
                flags: $flags,
                complexity: "O(1), or O(N) where it walks N names or objects",
                summary: $summary,
                reply: $reply,
                ..ROW
            },
            $run,
        )
    };
}

/// KEYS walks everything at once, which Redis calls dangerous.
const fn categories(name: &str) -> Categories {
    if matches!(name.as_bytes(), b"KEYS") { Categories::DANGEROUS } else { Categories::NONE }
}

pub(crate) const KEYSPACE: &[Command] = &[
    row!(
        "SCAN",
        &[CURSOR, MATCH, COUNT, Arg::string("type").with_token("TYPE").optional()],
        Read,
        Flags::NONE,
        scan,
        "Walks the objects of this function step by step",
        "Array of the cursor to go on from (0 at the end) and object ids"
    ),
    row!(
        "KEYS",
        &[Arg::pattern("pattern")],
        Read,
        Flags::NONE,
        keys,
        "All objects of this function whose id matches",
        "Array of object ids"
    ),
    row!(
        "TYPE",
        &[KEY],
        Read,
        Flags::FAST,
        kind,
        "The Redis type that an object shows itself as",
        "Simple string: hash, or none"
    ),
    row!(
        "EXISTS",
        &[KEYS],
        Read,
        Flags::FAST,
        exists,
        "How many of the objects exist",
        "Integer; an object named twice counts twice"
    ),
    row!(
        "DEL",
        &[KEYS],
        Write,
        Flags::NO_DENYOOM.with(Flags::RESETS),
        del,
        "Deletes objects as far as this node has seen them, as MISO.DEL",
        "Integer: how many existed"
    ),
    row!(
        "UNLINK",
        &[KEYS],
        Write,
        Flags::FAST.with(Flags::NO_DENYOOM).with(Flags::RESETS),
        del,
        "Deletes objects as far as this node has seen them, as MISO.DEL",
        "Integer: how many existed"
    ),
    row!(
        "TTL",
        &[KEY],
        Read,
        Flags::FAST,
        ttl,
        "Seconds until an object expires: never",
        "Integer: -1, or -2 if it is absent"
    ),
    row!(
        "PTTL",
        &[KEY],
        Read,
        Flags::FAST,
        ttl,
        "Milliseconds until an object expires: never",
        "Integer: -1, or -2 if it is absent"
    ),
    row!(
        "EXPIRETIME",
        &[KEY],
        Read,
        Flags::FAST,
        ttl,
        "When an object expires: never",
        "Integer: -1, or -2 if it is absent"
    ),
    row!(
        "PEXPIRETIME",
        &[KEY],
        Read,
        Flags::FAST,
        ttl,
        "When an object expires: never",
        "Integer: -1, or -2 if it is absent"
    ),
    row!(
        "DBSIZE",
        &[],
        Read,
        Flags::FAST,
        db_size,
        "How many objects this function has",
        "Integer"
    ),
    row!(
        "RANDOMKEY",
        &[],
        Read,
        Flags::NONE,
        random_key,
        "A random object of this function",
        "Bulk string, or nil if there is none"
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
