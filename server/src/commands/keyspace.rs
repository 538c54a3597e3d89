//! Objects as keys, read-only: what GUIs and stock tools show of the live state.
//!
//! An object is a key of type hash, with one field per name and a printable value: counters and
//! flags as numbers, registers and sets as JSON arrays, maps as JSON objects.

use miso_protocol::command::{Access, Arg, Categories, Flags, Group, Row};
use miso_protocol::request::Args;
use miso_store::Object;
use miso_store::crdt::{Shown, Value, Writers};

use super::scan::{COUNT, CURSOR, Found, MATCH, Scan};
use super::{Command, ROW, object};
use crate::context::Context;
use crate::error::CommandError;

const KEY: Arg = Arg::key("key");
const KEYS: Arg = Arg::key("key").multiple();
const FIELD: Arg = Arg::string("field");
const FIELDS: Arg = Arg::string("field").multiple();

macro_rules! row {
    ($name:literal, $args:expr, $access:ident, $flags:expr, $run:expr, $summary:literal, $reply:literal) => {
        Command::new(
            Row {
                name: $name,
                args: $args,
                access: Access::$access,
                group: group($name),
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

/// Objects shown as hashes answer the commands that begin with H.
const fn group(name: &str) -> Group {
    if matches!(name.as_bytes(), [b'H', ..]) { Group::Hash } else { Group::Keyspace }
}

/// KEYS walks everything at once, which Redis calls dangerous.
const fn categories(name: &str) -> Categories {
    if matches!(name.as_bytes(), b"KEYS") { Categories::DANGEROUS } else { Categories::NONE }
}

pub(super) const KEYSPACE: &[Command] = &[
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
    row!("HLEN", &[KEY], Read, Flags::FAST, hlen, "How many names an object has", "Integer"),
    row!(
        "HKEYS",
        &[KEY],
        Read,
        Flags::NONE,
        hkeys,
        "The names of an object",
        "Array of bulk strings"
    ),
    row!(
        "HVALS",
        &[KEY],
        Read,
        Flags::NONE,
        hvals,
        "The values of an object, printable",
        "Array of bulk strings"
    ),
    row!(
        "HGET",
        &[KEY, FIELD],
        Read,
        Flags::FAST,
        hget,
        "The value of one name, printable",
        "Bulk string, or nil if it is absent"
    ),
    row!(
        "HMGET",
        &[KEY, FIELDS],
        Read,
        Flags::FAST,
        hmget,
        "The values of several names, printable",
        "Array of bulk strings and nils"
    ),
    row!(
        "HGETALL",
        &[KEY],
        Read,
        Flags::NONE,
        hgetall,
        "The names and values of an object, printable",
        "Array of names and values in turn (RESP3: map)"
    ),
    row!(
        "HSTRLEN",
        &[KEY, FIELD],
        Read,
        Flags::FAST,
        hstrlen,
        "The length of one printable value",
        "Integer: 0 if it is absent"
    ),
    row!(
        "HSCAN",
        &[KEY, CURSOR, MATCH, COUNT],
        Read,
        Flags::NONE,
        hscan,
        "Walks the names of an object step by step",
        "Array of the cursor to go on from (0 at the end) and names and values in turn"
    ),
    row!(
        "HEXISTS",
        &[KEY, FIELD],
        Read,
        Flags::FAST,
        hexists,
        "Whether an object has a name",
        "Integer: 1 or 0"
    ),
    row!(
        "HSET",
        &[KEY, Arg::block("data", &[FIELD, Arg::string("value")]).multiple()],
        Write,
        Flags::FAST,
        refuse,
        "Refused: names are written by their types' commands",
        "Error"
    ),
    row!(
        "HSETNX",
        &[KEY, FIELD, Arg::string("value")],
        Write,
        Flags::FAST,
        refuse,
        "Refused: names are written by their types' commands",
        "Error"
    ),
    row!(
        "HMSET",
        &[KEY, Arg::block("data", &[FIELD, Arg::string("value")]).multiple()],
        Write,
        Flags::FAST,
        refuse,
        "Refused: names are written by their types' commands",
        "Error"
    ),
    row!(
        "HINCRBY",
        &[KEY, FIELD, Arg::integer("increment")],
        Write,
        Flags::FAST,
        refuse,
        "Refused: names are written by their types' commands",
        "Error"
    ),
    row!(
        "HINCRBYFLOAT",
        &[KEY, FIELD, Arg::double("increment")],
        Write,
        Flags::FAST,
        refuse,
        "Refused: names are written by their types' commands",
        "Error"
    ),
    row!(
        "HDEL",
        &[KEY, FIELDS],
        Write,
        Flags::FAST,
        refuse,
        "Refused: names are written by their types' commands",
        "Error"
    ),
];

/// How the hash's view prints a value.
fn print(value: &Value, writers: &Writers) -> Vec<u8> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    match value.show(writers) {
        Shown::Text(shown) => shown,
        Shown::List(items) => json(&items.into_iter().map(text).collect::<Vec<_>>()),
        Shown::Fields(fields) => {
            let fields = fields.into_iter().map(|(name, value)| (text(name), text(value)));
            json(&fields.collect::<std::collections::BTreeMap<_, _>>())
        }
    }
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("strings in arrays and maps are always JSON")
}

/// The names of an object and their printed values, in the names' order.
fn fields(object: &Object, writers: &Writers) -> Vec<(Box<[u8]>, Vec<u8>)> {
    let printed = object
        .iter()
        .filter_map(|(name, slot)| Some((Box::from(name), print(slot.value()?, writers))));
    let mut fields: Vec<_> = printed.collect();
    fields.sort_unstable();
    fields
}

fn scan(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let scan = Scan::parse(args, 1, true)?;
    // Every object shows itself as a hash.
    let shown = scan.kind.is_none_or(|kind| kind.eq_ignore_ascii_case(b"hash"));
    cx.with_held(|held, reply| {
        let mut found = Found::new();
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
        let mut found = Found::new();
        held.scan(0, usize::MAX, |id, object| {
            if miso_protocol::glob::matches(pattern, id, false) && !object.is_absent() {
                found.push(id, reply);
            }
        });
        found.reply_list(reply);
    });
    Ok(())
}

/// The object that `args[1]` says, if it is there, with the writers that its function knows.
fn view<R>(
    cx: &mut Context<'_>,
    args: Args<'_>,
    work: impl FnOnce(Option<(&Object, &Writers)>) -> R,
) -> R {
    let (result, found) = cx.with_shard(&args[1], |shard, hash, _| {
        let object = shard.object(hash, &args[1]);
        (work(object.map(|object| (object, shard.writers()))), object.is_some())
    });
    cx.hit(found);
    result
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
    let deleted: Vec<_> = cx.with_objects(ids, |held| {
        let delete = |id| held.with_object(id, |shard, hash| object::delete_all(shard, hash, id));
        ids.iter().map(delete).collect()
    });
    for (id, names) in ids.iter().zip(&deleted) {
        names.iter().for_each(|(name, kind)| cx.changed(id, name, *kind));
    }
    let there = deleted.iter().filter(|names| !names.is_empty()).count();
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

fn hlen(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let names = view(cx, args, |found| found.map_or(0, |(object, _)| object.iter().count()));
    cx.reply.integer(names as i64);
    Ok(())
}

fn hkeys(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let all = view(cx, args, |found| found.map_or_else(Vec::new, |(o, w)| fields(o, w)));
    cx.reply.array(all.len());
    all.iter().for_each(|(name, _)| cx.reply.bulk(name));
    Ok(())
}

fn hvals(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let all = view(cx, args, |found| found.map_or_else(Vec::new, |(o, w)| fields(o, w)));
    cx.reply.array(all.len());
    all.iter().for_each(|(_, value)| cx.reply.bulk(value));
    Ok(())
}

fn hgetall(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let all = view(cx, args, |found| found.map_or_else(Vec::new, |(o, w)| fields(o, w)));
    cx.reply.map(all.len());
    for (name, value) in &all {
        cx.reply.bulk(name);
        cx.reply.bulk(value);
    }
    Ok(())
}

/// One field's printed value.
fn field(cx: &mut Context<'_>, args: Args<'_>, name: &[u8]) -> Option<Vec<u8>> {
    view(cx, args, |found| {
        let (object, writers) = found?;
        object.get(name)?.value().map(|value| print(value, writers))
    })
}

fn hget(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    match field(cx, args, &args[2]) {
        Some(value) => cx.reply.bulk(&value),
        None => cx.reply.null(),
    }
    Ok(())
}

fn hmget(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    cx.reply.array(args.len() - 2);
    for name in args.tail(2).iter() {
        match field(cx, args, name) {
            Some(value) => cx.reply.bulk(&value),
            None => cx.reply.null(),
        }
    }
    Ok(())
}

fn hstrlen(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let length = field(cx, args, &args[2]).map_or(0, |value| value.len());
    cx.reply.integer(length as i64);
    Ok(())
}

fn hexists(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let there = field(cx, args, &args[2]).is_some();
    cx.reply.integer(i64::from(there));
    Ok(())
}

fn hscan(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let scan = Scan::parse(args, 2, false)?;
    cx.with_shard(&args[1], |shard, hash, reply| {
        let mut found = Found::new();
        let cursor = shard.object(hash, &args[1]).map_or(0, |object| {
            object.scan(scan.cursor, scan.count, |name, slot| {
                if let (true, Some(value)) = (scan.matches(name), slot.value()) {
                    found.push(name, reply);
                    found.push(&print(value, shard.writers()), reply);
                }
            })
        });
        found.reply(cursor, reply);
    });
    Ok(())
}

fn refuse(_: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    Err(CommandError::Other(
        "WRONGTYPE Objects are written by their types' commands, such as GCOUNTER.ADD, MVREG.SET \
         or ORMAP.SET; H* commands show them read-only"
            .into(),
    ))
}

/// MEMORY USAGE key [SAMPLES n].
pub(super) fn memory_usage(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let id = &args[2];
    let bytes = cx.with_shard(id, |shard, hash, _| {
        shard.object(hash, id).map(|object| id.len() + 32 + object.heap_bytes())
    });
    match bytes {
        Some(bytes) => cx.reply.integer(bytes as i64),
        None => cx.reply.null(),
    }
    Ok(())
}
