//! MISO.NEW, and commands about objects of any type.

use miso_protocol::command::{Arg, Flags, Group, NAME, OBJECT, Row};
use miso_protocol::reply::Reply;
use miso_protocol::request::Args;
use miso_store::crdt::{Counter, Type, Value, Writers};
use miso_store::{Shown, Slot};

use crate::clock::unix_ms;
use crate::commands::access::with_shard;
use crate::commands::args::Words;
use crate::commands::scan::{COUNT, CURSOR, MATCH, Scan, ScanReply};
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const NAMES: Arg = Arg::string("name").multiple().optional();

pub(crate) const OBJECTS: &[Command] = &[
    Command::new(
        Row::command("MISO.NEW")
            .args(&[Arg::string("prefix").with_token("PREFIX").optional()])
            .group(Group::Miso)
            .fast()
            .summary(
                "A fresh object id, unique without coordination and sortable by \
                 time",
            )
            .reply("Bulk string: the prefix and a ULID")
            .example(&[("MISO.NEW PREFIX cart-", "\"cart-01K9ZV5B0W6Y4M8Q2T3R7X1C5D\"")]),
        new,
    ),
    Command::new(
        Row::command("MISO.SCAN")
            .args(&[CURSOR, MATCH, COUNT, Arg::string("type").with_token("TYPE").optional()])
            .group(Group::Miso)
            .reads()
            .complexity("O(1) for each call")
            .summary(
                "Walks this function's objects step by step; TYPE keeps those \
                 that hold it",
            )
            .reply("Array of the cursor to go on from (0 at the end) and object ids")
            .example(&[("MISO.SCAN 0 TYPE gcounter", "1) \"0\"\n2) 1) \"cart-12345\"")]),
        scan,
    ),
    Command::new(
        Row::command("MISO.INFO")
            .args(&[OBJECT, NAME])
            .group(Group::Miso)
            .reads()
            .complexity("O(N) with N entries or elements")
            .summary("What a CRDT is made of")
            .reply(
                "Array of properties and values in turn (RESP3: map), or nil if \
                 it is absent",
            )
            .example(&[(
                "MISO.INFO cart-12345 total",
                " 1) \"type\"\n 2) \"gcounter\"\n 3) \"size\"\n 4) (integer) 8\n…",
            )]),
        info,
    ),
    Command::new(
        Row::command("MISO.OBJECT")
            .args(&[OBJECT])
            .group(Group::Miso)
            .reads()
            .complexity("O(N) with N names")
            .summary("An object's names, with what they hold")
            .reply(
                "Array (RESP3: map) of each name and its properties, or nil if \
                 it is absent",
            )
            .example(&[(
                "MISO.OBJECT user-7",
                "1) \"profile\"\n\
                 2)  1) \"type\"\n    2) \"ormap\"\n    3) \"size\"\n    4) (integer) 1\n\
                 …",
            )]),
        describe,
    ),
    Command::new(
        Row::command("MISO.TYPE")
            .args(&[OBJECT, NAME])
            .group(Group::Miso)
            .reads()
            .fast()
            .summary("The type of a name")
            .reply(
                "Simple string: gcounter, pncounter, gset, orset, mvreg, ewflag, \
                 ormap or none; of a plain key and an empty name its type",
            )
            .example(&[("MISO.TYPE user-7 theme", "mvreg")]),
        kind,
    ),
    Command::new(
        Row::command("MISO.DEL")
            .args(&[OBJECT, NAMES])
            .group(Group::Miso)
            .deletes()
            .flags(Flags::RESETS)
            .complexity("O(N) with N elements removed")
            .summary(
                "Deletes names, or the whole object, as far as this node has \
                 seen them",
            )
            .reply("Integer: how many names were removed")
            .example(&[("MISO.DEL user-7 theme", "(integer) 1")]),
        del,
    ),
    Command::new(
        Row::command("MISO.EXISTS")
            .args(&[OBJECT, NAMES])
            .group(Group::Miso)
            .reads()
            .fast()
            .complexity("O(N) with N names asked for")
            .summary("Whether an object exists, or how many of the names it has")
            .reply("Integer")
            .example(&[("MISO.EXISTS user-7 theme", "(integer) 0")]),
        exists_in,
    ),
];

fn new(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let mut words = Words::from(args, 1);
    let prefix = words.option("PREFIX")?.unwrap_or_default();
    words.end()?;
    let mut id = prefix.to_vec();
    let ulid = ulid::Ulid::from_parts(unix_ms(), fastrand::u128(..));
    id.extend_from_slice(ulid.to_string().as_bytes());
    cx.reply.bulk(&id);
    Ok(())
}

fn scan(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let scan = Scan::parse(args, 1, true)?;
    let wanted = match scan.kind {
        None => None,
        Some(name) => Some(
            Type::ALL
                .iter()
                .find(|kind| name.eq_ignore_ascii_case(kind.name().as_bytes()))
                .ok_or(CommandError::UnknownType)?,
        ),
    };
    cx.with_held(|held, reply| {
        let mut found = ScanReply::new();
        let cursor = held.scan(scan.cursor, scan.count, |id, shown, _| {
            let holds = |kind: &Type| match shown {
                Shown::Plain(value) => value.kind() == *kind,
                Shown::Object(object) => {
                    object.iter().any(|(_, slot)| slot.types().any(|held| held == *kind))
                }
            };
            if scan.matches(id) && wanted.is_none_or(holds) {
                found.push(id, reply);
            }
        });
        found.reply(cursor, reply);
    });
    Ok(())
}

/// How many writers have a part in a value.
fn writers(value: &Value) -> usize {
    let mut writers = Vec::new();
    value.each_dot(|dot| writers.push(dot.writer()));
    writers.sort_unstable();
    writers.dedup();
    writers.len()
}

fn property(reply: &mut Reply<'_>, name: &str, value: usize) {
    reply.bulk(name.as_bytes());
    reply.integer(value as i64);
}

/// `type`, or the types that clash, and the sizes.
fn head(slot: &Slot, reply: &mut Reply<'_>) {
    let types: Vec<&str> = slot.types().map(Type::name).collect();
    reply.bulk(b"type");
    reply.bulk(types.join(",").as_bytes());
    reply.bulk(b"size");
    reply.integer(slot.value().map_or(0, Value::size));
}

/// What each writer did to a counter: its id, added, taken away, and how much of each is deleted.
fn entries(counter: &Counter, writers: &Writers, reply: &mut Reply<'_>) {
    reply.bulk(b"entries");
    reply.array(counter.entries().count());
    for entry in counter.entries() {
        let id = writers.id(entry.dot.writer()).map_or(0, |id| id.0);
        let (floor_p, floor_n) = entry.floor.map_or((0, 0), |floor| (floor.p, floor.n));
        reply.array(5);
        reply.bulk(format!("{id:016x}").as_bytes());
        for part in [entry.p, entry.n, floor_p, floor_n] {
            reply.bulk_display(part);
        }
    }
}

fn info(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let (object, name) = (&args[1], &args[2]);
    let found = cx.with_shard(object, |shard, hash, reply| {
        let now = shard.function().now();
        let slot = shard.slot(hash, object, name);
        let found = slot.and_then(|slot| Some((slot, slot.value_at(now, shard.writers())?)));
        let Some((slot, value)) = found else {
            reply.null();
            return false;
        };
        let counter = match value {
            Value::GCounter(counter) | Value::PnCounter(counter) => Some(counter),
            _ => None,
        };
        reply.map(8 + usize::from(counter.is_some()));
        head(slot, reply);
        property(reply, "replicas", writers(value));
        property(reply, "dots", value.dots());
        property(reply, "context-writers", shard.writers().len());
        property(reply, "bytes", size_of::<Slot>() + value.heap_bytes());
        property(reply, "pending", usize::from(shard.is_pending(object, name, value.kind())));
        property(reply, "saturated", usize::from(counter.is_some_and(Counter::saturated)));
        if let Some(counter) = counter {
            entries(counter, shard.writers(), reply);
        }
        true
    });
    cx.hit(found);
    Ok(())
}

fn describe(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let object = &args[1];
    let found = cx.with_shard(object, |shard, hash, reply| {
        let Some(held) = shard.object(hash, object) else {
            reply.null();
            return false;
        };
        let now = shard.function().now();
        let there = |(name, slot)| Some((name, slot, Slot::value_at(slot, now, shard.writers())?));
        let mut names: Vec<(&[u8], &Slot, &Value)> = held.iter().filter_map(there).collect();
        // What has expired is absent, also while its memory is not taken back yet.
        if names.is_empty() {
            reply.null();
            return false;
        }
        names.sort_unstable_by_key(|(name, ..)| *name);
        reply.map(names.len());
        for (name, slot, value) in names {
            reply.bulk(name);
            reply.map(6);
            head(slot, reply);
            property(reply, "replicas", writers(value));
            property(reply, "bytes", size_of::<Slot>() + value.heap_bytes());
            property(reply, "pending", usize::from(shard.is_pending(object, name, value.kind())));
            property(reply, "conflict", usize::from(slot.types().count() > 1));
        }
        true
    });
    cx.hit(found);
    Ok(())
}

fn kind(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let name = with_shard(cx, &args[1], |shard, hash| {
        let (now, writers) = (shard.function().now(), shard.writers());
        let slot = shard.slot(hash, &args[1], &args[2]);
        slot.and_then(|slot| slot.value_at(now, writers)).map(|value| value.kind().name())
    });
    cx.reply.simple(name.unwrap_or("none"));
    Ok(())
}

fn del(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let object = &args[1];
    // Under one lock, so that all of it or nothing is found again after a crash.
    let deleted = with_shard(cx, object, |shard, hash| {
        if args.len() == 2 {
            return shard.delete_object(hash, object);
        }
        args.tail(2).iter().filter(|name| shard.delete(hash, object, name)).count()
    });
    cx.reply.integer(deleted as i64);
    Ok(())
}

/// Whether an object exists.
pub(crate) fn exists(cx: &mut Context<'_>, id: &[u8]) -> bool {
    let found = with_shard(cx, id, |shard, hash| {
        let now = shard.function().now();
        shard.shown(hash, id, now).is_some()
    });
    cx.hit(found);
    found
}

fn exists_in(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let object = &args[1];
    let there = if args.len() == 2 {
        usize::from(exists(cx, object))
    } else {
        with_shard(cx, object, |shard, hash| {
            let (now, writers) = (shard.function().now(), shard.writers());
            let there = |slot: &Slot| slot.value_at(now, writers).is_some();
            let is_there = |name: &&[u8]| shard.slot(hash, object, name).is_some_and(there);
            args.tail(2).iter().filter(is_there).count()
        })
    };
    cx.reply.integer(there as i64);
    Ok(())
}
