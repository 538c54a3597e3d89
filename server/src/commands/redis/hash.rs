//! Objects as hashes, read-only: what GUIs and stock tools show of the live state.
//!
//! An object is a key of type hash, with one field per name and a printable value: counters and
//! flags as numbers, registers and sets as JSON arrays, maps as JSON objects.

use miso_protocol::command::{Arg, Group, Row};
use miso_protocol::reply::Resp;
use miso_protocol::request::Args;
use miso_store::Object;
use miso_store::crdt::{Shown, Value, Writers};

use crate::commands::args::Words;
use crate::commands::crdt::set::REPEATS_MAX;
use crate::commands::scan::{COUNT, CURSOR, MATCH, Scan, ScanReply};
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const WALKS: &str = "O(1), or O(N) where it walks N names or objects";
const KEY: Arg = Arg::key("key");
const FIELD: Arg = Arg::string("field");
/// How many names, and whether with their values.
const RANDOM: Arg =
    Arg::block("options", &[Arg::integer("count"), Arg::token("WITHVALUES").optional()]).optional();
const FIELDS: Arg = Arg::string("field").multiple();

pub(crate) const HASH: &[Command] = &[
    Command::new(
        Row::command("HLEN")
            .args(&[KEY])
            .group(Group::Hash)
            .reads()
            .fast()
            .complexity(WALKS)
            .summary("How many names an object has")
            .reply("Integer"),
        hlen,
    ),
    Command::new(
        Row::command("HKEYS")
            .args(&[KEY])
            .group(Group::Hash)
            .reads()
            .complexity(WALKS)
            .summary("The names of an object")
            .reply("Array of bulk strings"),
        hkeys,
    ),
    Command::new(
        Row::command("HVALS")
            .args(&[KEY])
            .group(Group::Hash)
            .reads()
            .complexity(WALKS)
            .summary("The values of an object, printable")
            .reply("Array of bulk strings"),
        hvals,
    ),
    Command::new(
        Row::command("HGET")
            .args(&[KEY, FIELD])
            .group(Group::Hash)
            .reads()
            .fast()
            .complexity(WALKS)
            .summary("The value of one name, printable")
            .reply("Bulk string, or nil if it is absent"),
        hget,
    ),
    Command::new(
        Row::command("HMGET")
            .args(&[KEY, FIELDS])
            .group(Group::Hash)
            .reads()
            .fast()
            .complexity(WALKS)
            .summary("The values of several names, printable")
            .reply("Array of bulk strings and nils"),
        hmget,
    ),
    Command::new(
        Row::command("HGETALL")
            .args(&[KEY])
            .group(Group::Hash)
            .reads()
            .complexity(WALKS)
            .summary("The names and values of an object, printable")
            .reply("Array of names and values in turn (RESP3: map)"),
        hgetall,
    ),
    Command::new(
        Row::command("HSTRLEN")
            .args(&[KEY, FIELD])
            .group(Group::Hash)
            .reads()
            .fast()
            .complexity(WALKS)
            .summary("The length of one printable value")
            .reply("Integer: 0 if it is absent"),
        hstrlen,
    ),
    Command::new(
        Row::command("HSCAN")
            .args(&[KEY, CURSOR, MATCH, COUNT])
            .group(Group::Hash)
            .reads()
            .complexity(WALKS)
            .summary("Walks the names of an object step by step")
            .reply(
                "Array of the cursor to go on from (0 at the end) and names and \
                 values in turn",
            ),
        hscan,
    ),
    Command::new(
        Row::command("HEXISTS")
            .args(&[KEY, FIELD])
            .group(Group::Hash)
            .reads()
            .fast()
            .complexity(WALKS)
            .summary("Whether an object has a name")
            .reply("Integer: 1 or 0"),
        hexists,
    ),
    Command::new(
        Row::command("HRANDFIELD")
            .args(&[KEY, RANDOM])
            .group(Group::Hash)
            .reads()
            .complexity(WALKS)
            .summary(
                "Random names of an object, with their values if told; a negative count \
                 repeats names",
            )
            .reply("Bulk string or nil; with a count an array"),
        hrandfield,
    ),
    Command::new(
        Row::command("HSET")
            .args(&[KEY, Arg::block("data", &[FIELD, Arg::string("value")]).multiple()])
            .group(Group::Hash)
            .writes()
            .fast()
            .complexity(WALKS)
            .summary("Refused: names are written by their types' commands")
            .reply("Error"),
        refuse,
    ),
    Command::new(
        Row::command("HSETNX")
            .args(&[KEY, FIELD, Arg::string("value")])
            .group(Group::Hash)
            .writes()
            .fast()
            .complexity(WALKS)
            .summary("Refused: names are written by their types' commands")
            .reply("Error"),
        refuse,
    ),
    Command::new(
        Row::command("HMSET")
            .args(&[KEY, Arg::block("data", &[FIELD, Arg::string("value")]).multiple()])
            .group(Group::Hash)
            .writes()
            .fast()
            .complexity(WALKS)
            .summary("Refused: names are written by their types' commands")
            .reply("Error"),
        refuse,
    ),
    Command::new(
        Row::command("HINCRBY")
            .args(&[KEY, FIELD, Arg::integer("increment")])
            .group(Group::Hash)
            .writes()
            .fast()
            .complexity(WALKS)
            .summary("Refused: names are written by their types' commands")
            .reply("Error"),
        refuse,
    ),
    Command::new(
        Row::command("HINCRBYFLOAT")
            .args(&[KEY, FIELD, Arg::double("increment")])
            .group(Group::Hash)
            .writes()
            .fast()
            .complexity(WALKS)
            .summary("Refused: names are written by their types' commands")
            .reply("Error"),
        refuse,
    ),
    Command::new(
        Row::command("HDEL")
            .args(&[KEY, FIELDS])
            .group(Group::Hash)
            .writes()
            .fast()
            .complexity(WALKS)
            .summary("Refused: names are written by their types' commands")
            .reply("Error"),
        refuse,
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

fn hrandfield(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let mut words = Words::from(args, 2);
    let count = if words.is_empty() { None } else { Some(words.integer()?) };
    let with_values = words.token("WITHVALUES");
    words.end()?;
    if count.is_some_and(|count| count < 0 && count.unsigned_abs() > REPEATS_MAX) {
        return Err(CommandError::OutOfRange);
    }
    let mut all = view(cx, args, |found| found.map_or_else(Vec::new, |(o, w)| fields(o, w)));
    let Some(count) = count else {
        match fastrand::choice(&all) {
            Some((name, _)) => cx.reply.bulk(name),
            None => cx.reply.null(),
        }
        return Ok(());
    };
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    let picked: Vec<_> = if count < 0 {
        std::iter::repeat_with(|| fastrand::choice(&all)).take(wanted).flatten().collect()
    } else {
        fastrand::shuffle(&mut all);
        all.iter().take(wanted).collect()
    };
    let pairs = with_values && cx.reply.resp == Resp::V3;
    cx.reply.array(if with_values && !pairs { 2 * picked.len() } else { picked.len() });
    for (name, value) in picked {
        if pairs {
            cx.reply.array(2);
        }
        cx.reply.bulk(name);
        if with_values {
            cx.reply.bulk(value);
        }
    }
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
