//! Objects as hashes, read-only: what GUIs and stock tools show of the live state.
//!
//! An object is a key of type hash, with one field per name and a printable value: counters and
//! flags as numbers, registers and sets as JSON arrays, maps as JSON objects.

use miso_protocol::command::{Access, Arg, Flags, Group, Row};
use miso_protocol::request::Args;
use miso_store::Object;
use miso_store::crdt::{Shown, Value, Writers};

use crate::commands::scan::{COUNT, CURSOR, MATCH, Scan, ScanReply};
use crate::engine::command::{Command, ROW};
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const KEY: Arg = Arg::key("key");
const FIELD: Arg = Arg::string("field");
const FIELDS: Arg = Arg::string("field").multiple();

macro_rules! row {
    ($name:literal, $args:expr, $access:ident, $flags:expr, $run:expr, $summary:literal, $reply:literal) => {
        Command::new(
            Row {
                name: $name,
                args: $args,
                access: Access::$access,
                group: Group::Hash,
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

pub(crate) const HASH: &[Command] = &[
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

/// The object that `args[1]` says, if it is there, with the writers that its function knows.
pub(super) fn view<R>(
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
        let mut found = ScanReply::new();
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
    Err(CommandError::ReadOnlyView)
}
