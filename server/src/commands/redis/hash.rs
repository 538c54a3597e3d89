//! What reads hashes: plain ones, and objects with names, which GUIs and stock tools see as hashes.
//!
//! An object with names is a key of type hash, which these commands only read, with one field per name and a printable value: counters and
//! flags as numbers, registers and sets as JSON arrays, maps as JSON objects.

use std::borrow::Cow;

use miso_protocol::command::{Arg, Group, Row};
use miso_protocol::reply::{Reply, Resp};
use miso_protocol::request::Args;
use miso_store::crdt::plain::PlainHash;
use miso_store::crdt::{self, Value, Writers};
use miso_store::{Object, Shown};

use crate::commands::args::Words;
use crate::commands::crdt::set::REPEATS_MAX;
use crate::commands::plain::access::{At, with_key};
use crate::commands::scan::{COUNT, CURSOR, Extra, MATCH, Scan, ScanReply};
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
            .summary("How many fields a hash has, or names an object")
            .reply("Integer"),
        hlen,
    ),
    Command::new(
        Row::command("HKEYS")
            .args(&[KEY])
            .group(Group::Hash)
            .reads()
            .complexity(WALKS)
            .summary("The fields of a hash, or the names of an object")
            .reply("Array of bulk strings"),
        hkeys,
    ),
    Command::new(
        Row::command("HVALS")
            .args(&[KEY])
            .group(Group::Hash)
            .reads()
            .complexity(WALKS)
            .summary("The values of a hash; of an object, printable")
            .reply("Array of bulk strings"),
        hvals,
    ),
    Command::new(
        Row::command("HMGET")
            .args(&[KEY, FIELDS])
            .group(Group::Hash)
            .reads()
            .fast()
            .complexity(WALKS)
            .summary("The values of several fields; of an object's names, printable")
            .reply("Array of bulk strings and nils"),
        hmget,
    ),
    Command::new(
        Row::command("HGETALL")
            .args(&[KEY])
            .group(Group::Hash)
            .reads()
            .complexity(WALKS)
            .summary(
                "The fields and values of a hash; of an object, its names and values, printable",
            )
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
            .summary("The length of the value of a field")
            .reply("Integer: 0 if it is absent"),
        hstrlen,
    ),
    Command::new(
        Row::command("HSCAN")
            .args(&[KEY, CURSOR, MATCH, COUNT, Arg::token("NOVALUES").optional()])
            .group(Group::Hash)
            .reads()
            .complexity(WALKS)
            .summary("Walks the fields of a hash, or the names of an object, step by step")
            .reply(
                "Array of the cursor to go on from (0 at the end) and names and \
                 values in turn, with NOVALUES names alone",
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
            .summary("Whether a hash has a field, or an object a name")
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
                "Random fields of a hash, or names of an object, with their values if told; \
                 a negative count repeats them",
            )
            .reply("Bulk string or nil; with a count an array"),
        hrandfield,
    ),
];

/// How the hash's view prints a value.
pub(crate) fn print(value: &Value, writers: &Writers) -> Vec<u8> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    match value.show(writers) {
        crdt::Shown::Text(shown) => shown,
        crdt::Shown::List(items) => json(&items.into_iter().map(text).collect::<Vec<_>>()),
        crdt::Shown::Fields(fields) => {
            let fields = fields.into_iter().map(|(name, value)| (text(name), text(value)));
            json(&fields.collect::<std::collections::BTreeMap<_, _>>())
        }
    }
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("strings in arrays and maps are always JSON")
}

/// Fields and their values.
type Fields = Vec<(Box<[u8]>, Vec<u8>)>;

/// What a key shows as a hash: a plain hash, or an object's names.
#[derive(Clone, Copy)]
enum View<'a> {
    Hash(&'a PlainHash),
    Object(&'a Object),
}

impl View<'_> {
    fn len(self, at: At<'_>) -> usize {
        match self {
            View::Hash(hash) => hash.len(at.now, at.writers),
            View::Object(object) => object.iter().count(),
        }
    }

    /// All fields and their values, in the order of their names.
    fn fields(self, at: At<'_>) -> Fields {
        let mut fields: Vec<_> = match self {
            View::Hash(hash) => {
                let fields = hash.fields(at.now, at.writers);
                fields.map(|(name, value)| (Box::from(name), value.into_owned())).collect()
            }
            View::Object(object) => {
                let printed = object.iter().filter_map(|(name, slot)| {
                    Some((Box::from(name), print(slot.value()?, at.writers)))
                });
                printed.collect()
            }
        };
        fields.sort_unstable();
        fields
    }

    /// One field's value.
    fn field(self, name: &[u8], at: At<'_>) -> Option<Vec<u8>> {
        match self {
            View::Hash(hash) => hash.get(name, at.now, at.writers).map(Cow::into_owned),
            View::Object(object) => {
                let value = object.get(name)?.value_at(at.now, at.writers);
                value.map(|value| print(value, at.writers))
            }
        }
    }
}

/// Works on what the key `args[1]` shows as a hash, if it is there.
fn view<R>(
    cx: &mut Context<'_>,
    args: Args<'_>,
    work: impl FnOnce(Option<View<'_>>, At<'_>, &mut Reply<'_>) -> R,
) -> Result<R, CommandError> {
    let (result, found) = with_key(cx, &args[1], |locked, reply| {
        let at = locked.at();
        let view = match locked.shard.shown(locked.hash, locked.key, at.now) {
            None => None,
            Some(Shown::Object(object)) => Some(View::Object(object)),
            Some(Shown::Plain(Value::PlainHash(hash))) => Some(View::Hash(hash)),
            Some(Shown::Plain(_)) => return Err(CommandError::WrongType),
        };
        Ok((work(view, at, reply), view.is_some()))
    })?;
    cx.hit(found);
    Ok(result)
}

/// As [`view`], of all fields; none if the key is absent.
fn fields(cx: &mut Context<'_>, args: Args<'_>) -> Result<Fields, CommandError> {
    view(cx, args, |view, at, _| view.map_or_else(Vec::new, |view| view.fields(at)))
}

fn hlen(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let names = view(cx, args, |view, at, _| view.map_or(0, |view| view.len(at)))?;
    cx.reply.integer(names as i64);
    Ok(())
}

fn hkeys(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let all = fields(cx, args)?;
    cx.reply.array(all.len());
    all.iter().for_each(|(name, _)| cx.reply.bulk(name));
    Ok(())
}

fn hvals(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let all = fields(cx, args)?;
    cx.reply.array(all.len());
    all.iter().for_each(|(_, value)| cx.reply.bulk(value));
    Ok(())
}

fn hgetall(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let all = fields(cx, args)?;
    cx.reply.map(all.len());
    for (name, value) in &all {
        cx.reply.bulk(name);
        cx.reply.bulk(value);
    }
    Ok(())
}

fn hmget(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    view(cx, args, |view, at, reply| {
        reply.array(args.len() - 2);
        for name in args.tail(2).iter() {
            match view.and_then(|view| view.field(name, at)) {
                Some(value) => reply.bulk(&value),
                None => reply.null(),
            }
        }
    })
}

/// One field's value.
fn field(cx: &mut Context<'_>, args: Args<'_>) -> Result<Option<Vec<u8>>, CommandError> {
    view(cx, args, |view, at, _| view.and_then(|view| view.field(&args[2], at)))
}

fn hstrlen(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let length = field(cx, args)?.map_or(0, |value| value.len());
    cx.reply.integer(length as i64);
    Ok(())
}

fn hexists(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let there = field(cx, args)?.is_some();
    cx.reply.integer(i64::from(there));
    Ok(())
}

fn hrandfield(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let mut words = Words::from(args, 2);
    let count = if words.is_empty() { None } else { Some(words.integer()?) };
    let with_values = words.token("WITHVALUES");
    if count == Some(i64::MIN) {
        return Err(CommandError::OutOfLong);
    }
    words.end()?;
    let too_many = |count: i64| match count {
        ..0 => count.unsigned_abs() > REPEATS_MAX,
        // As many pairs would be more than a reply counts.
        _ => with_values && count > i64::MAX / 2,
    };
    if count.is_some_and(too_many) {
        return Err(CommandError::OutOfRange);
    }
    let mut all = fields(cx, args)?;
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
    let scan = Scan::parse_with(args, 2, Extra::NoValues);
    if let Err(CommandError::InvalidCursor) = scan {
        return Err(CommandError::InvalidCursor);
    }
    view(cx, args, |view, at, reply: &mut Reply<'_>| {
        let mut found = ScanReply::new();
        let cursor = match (view, scan) {
            // Redis does not look at the options then.
            (None, _) => 0,
            (_, Err(error)) => return Err(error),
            (Some(View::Hash(hash)), Ok(scan)) => {
                let mut names = Vec::new();
                let range = (scan.cursor, scan.count);
                let cursor = hash.scan(range, at.now, at.writers, |name, _| {
                    names.extend(scan.matches(name).then(|| Box::<[u8]>::from(name)));
                });
                for name in &names {
                    found.push(name, reply);
                    if !scan.no_values {
                        let value = hash.get(name, at.now, at.writers).unwrap_or_default();
                        found.push(&value, reply);
                    }
                }
                cursor
            }
            (Some(View::Object(object)), Ok(scan)) => {
                object.scan(scan.cursor, scan.count, |name, slot| {
                    let (true, Some(value)) = (scan.matches(name), slot.value()) else { return };
                    found.push(name, reply);
                    if !scan.no_values {
                        found.push(&print(value, at.writers), reply);
                    }
                })
            }
        };
        found.reply(cursor, reply);
        Ok(())
    })?
}
