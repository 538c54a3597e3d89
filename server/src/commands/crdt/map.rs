//! ORMAP.

use miso_protocol::command::{Arg, Counting, Flags, Group, KeyFlags, NAME, OBJECT, Row};
use miso_protocol::integer;
use miso_protocol::reply::Reply;
use miso_protocol::request::Args;
use miso_store::crdt::or_map::Field;
use miso_store::crdt::{CountError, OrMap, Writers, kind};

use crate::commands::access::{modify, read, with_shard, write};
use crate::commands::scan::{COUNT, CURSOR, MATCH, Scan, ScanReply};
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const FIELD: Arg = Arg::string("field");
const FIELDS: Arg = Arg::string("field").multiple();

pub(crate) const ORMAP: &[Command] = &[
    Command::new(
        Row::command("ORMAP.SET")
            .args(&[
                OBJECT.with_key_flags(KeyFlags::RW.with(KeyFlags::UPDATE)),
                NAME,
                Arg::block("data", &[FIELD, Arg::string("value")]).multiple(),
            ])
            .group(Group::OrMap)
            .writes()
            .fast()
            .flags(Flags::RESETS)
            .complexity("O(1) for each field")
            .summary("Sets fields in place of what this node has seen in them")
            .reply("Integer: how many fields were new on this node")
            .example(&[("ORMAP.SET user-7 profile name Ada visits 1", "(integer) 2")]),
        set,
    ),
    Command::new(
        Row::command("ORMAP.GET")
            .args(&[OBJECT, NAME, FIELD])
            .group(Group::OrMap)
            .reads()
            .fast()
            .summary(
                "One value of a field: the latest of concurrent ones, with what \
                 was counted on it",
            )
            .reply("Bulk string, or nil if the field is absent")
            .example(&[("ORMAP.GET user-7 profile name", "\"Ada\"")]),
        get,
    ),
    Command::new(
        Row::command("ORMAP.GETMV")
            .args(&[OBJECT, NAME, FIELD])
            .group(Group::OrMap)
            .reads()
            .fast()
            .complexity("O(N log N) with N concurrent values")
            .summary("All concurrent values of a field, in bytewise order")
            .reply("Array of bulk strings, empty if the field is absent")
            .example(&[("ORMAP.GETMV user-7 profile name", "1) \"Ada\"")]),
        get_mv,
    ),
    Command::new(
        Row::command("ORMAP.MGET")
            .args(&[OBJECT, NAME, FIELDS])
            .group(Group::OrMap)
            .reads()
            .fast()
            .complexity("O(N) with N fields asked for")
            .summary("One value of each of several fields")
            .reply("Array of bulk strings and nils, in the order of the fields")
            .example(&[("ORMAP.MGET user-7 profile name age", "1) \"Ada\"\n2) (nil)")]),
        mget,
    ),
    Command::new(
        Row::command("ORMAP.GETALL")
            .args(&[OBJECT, NAME])
            .group(Group::OrMap)
            .reads()
            .complexity("O(N) with N fields")
            .summary("All fields with one value each")
            .reply("Array of fields and values in turn (RESP3: map)")
            .example(&[(
                "ORMAP.GETALL user-7 profile",
                "1) \"name\"\n2) \"Ada\"\n3) \"visits\"\n4) \"1\"",
            )]),
        get_all,
    ),
    Command::new(
        Row::command("ORMAP.DEL")
            .args(&[OBJECT, NAME, FIELDS])
            .group(Group::OrMap)
            .deletes()
            .fast()
            .flags(Flags::RESETS)
            .complexity("O(1) for each field")
            .summary(
                "Deletes what this node has seen of fields; a concurrent write \
                 keeps its field",
            )
            .reply("Integer: how many fields were deleted")
            .example(&[("ORMAP.DEL user-7 profile age name", "(integer) 1")]),
        del,
    ),
    Command::new(
        Row::command("ORMAP.EXISTS")
            .args(&[OBJECT, NAME, FIELD])
            .group(Group::OrMap)
            .reads()
            .fast()
            .summary("Whether a map has a field")
            .reply("Integer: 1 or 0")
            .example(&[("ORMAP.EXISTS user-7 profile visits", "(integer) 1")]),
        exists,
    ),
    Command::new(
        Row::command("ORMAP.KEYS")
            .args(&[OBJECT, NAME])
            .group(Group::OrMap)
            .reads()
            .complexity("O(N) with N fields")
            .summary("All fields of a map")
            .reply("Array of bulk strings")
            .example(&[("ORMAP.KEYS user-7 profile", "1) \"visits\"")]),
        keys,
    ),
    Command::new(
        Row::command("ORMAP.VALS")
            .args(&[OBJECT, NAME])
            .group(Group::OrMap)
            .reads()
            .complexity("O(N) with N fields")
            .summary("One value of each field of a map")
            .reply("Array of bulk strings")
            .example(&[("ORMAP.VALS user-7 profile", "1) \"1\"")]),
        vals,
    ),
    Command::new(
        Row::command("ORMAP.LEN")
            .args(&[OBJECT, NAME])
            .group(Group::OrMap)
            .reads()
            .fast()
            .summary("How many fields a map has")
            .reply("Integer: 0 if it is absent")
            .example(&[("ORMAP.LEN user-7 profile", "(integer) 1")]),
        len,
    ),
    Command::new(
        Row::command("ORMAP.SCAN")
            .args(&[OBJECT, NAME, CURSOR, MATCH, COUNT])
            .group(Group::OrMap)
            .reads()
            .complexity("O(1) for each call")
            .summary(
                "Walks a map step by step; fields that stay in it throughout are \
                 returned",
            )
            .reply(
                "Array of the cursor to go on from (0 at the end) and fields and \
                 values in turn",
            )
            .example(&[("ORMAP.SCAN user-7 profile 0", "1) \"0\"\n2) 1) \"visits\"\n   2) \"1\"")]),
        scan,
    ),
    Command::new(
        Row::command("ORMAP.INCRBY")
            .counts(Counting::MapField)
            .args(&[OBJECT, NAME, FIELD, Arg::integer("increment")])
            .group(Group::OrMap)
            .writes()
            .fast()
            .summary("Counts on a field; concurrent counts add up")
            .reply("Integer: the field's new value on this node")
            .example(&[("ORMAP.INCRBY user-7 profile visits 4", "(integer) 5")]),
        incr_by,
    ),
];

fn set(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if args.len().is_multiple_of(2) {
        return Err(CommandError::WrongArity("ormap.set".into()));
    }
    let new = write::<kind::OrMap, _>(cx, args, |map, mint, mut change| {
        let mut new = 0;
        for at in (3..args.len()).step_by(2) {
            let change = change.as_deref_mut();
            new += i64::from(map.set(&args[at], &args[at + 1], mint, change));
        }
        new
    })?;
    cx.reply.integer(new);
    Ok(())
}

fn reply_value(field: Option<&Field>, writers: &Writers, reply: &mut Reply<'_>) {
    match field.and_then(|field| field.value(writers)) {
        Some(value) => reply.bulk(&value),
        None => reply.null(),
    }
}

fn get(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    read::<kind::OrMap>(cx, args, |map, shard, reply| {
        reply_value(map.and_then(|map| map.get(&args[3])), shard.writers(), reply);
    })
}

fn get_mv(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    read::<kind::OrMap>(cx, args, |map, _, reply| {
        let field = map.and_then(|map| map.get(&args[3]));
        let values = field.map_or_else(Vec::new, Field::values);
        reply.array(values.len());
        values.iter().for_each(|value| reply.bulk(value));
    })
}

fn mget(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    read::<kind::OrMap>(cx, args, |map, shard, reply| {
        reply.array(args.len() - 3);
        for field in args.tail(3).iter() {
            reply_value(map.and_then(|map| map.get(field)), shard.writers(), reply);
        }
    })
}

/// The fields of a map with one value each.
pub(crate) fn live<'a>(
    map: &'a OrMap,
    writers: &'a Writers,
) -> impl Iterator<Item = (&'a [u8], std::borrow::Cow<'a, [u8]>)> + 'a {
    map.fields().iter().filter_map(|(name, field)| Some((name, field.value(writers)?)))
}

fn get_all(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    read::<kind::OrMap>(cx, args, |map, shard, reply| {
        reply.map(map.map_or(0, |map| map.len()));
        for (field, value) in map.iter().flat_map(|map| live(map, shard.writers())) {
            reply.bulk(field);
            reply.bulk(&value);
        }
    })
}

fn del(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let deleted = modify::<kind::OrMap, _>(cx, args, |map, mint, mut change| {
        let mut deleted = 0;
        for field in args.tail(3).iter() {
            deleted += i64::from(map.remove(field, mint, change.as_deref_mut()));
        }
        deleted
    })?;
    cx.reply.integer(deleted.unwrap_or(0));
    Ok(())
}

fn exists(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    read::<kind::OrMap>(cx, args, |map, _, reply| {
        reply.integer(i64::from(map.is_some_and(|map| map.get(&args[3]).is_some())));
    })
}

fn keys(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    read::<kind::OrMap>(cx, args, |map, shard, reply| {
        reply.array(map.map_or(0, |map| map.len()));
        for (field, _) in map.iter().flat_map(|map| live(map, shard.writers())) {
            reply.bulk(field);
        }
    })
}

fn vals(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    read::<kind::OrMap>(cx, args, |map, shard, reply| {
        reply.array(map.map_or(0, |map| map.len()));
        for (_, value) in map.iter().flat_map(|map| live(map, shard.writers())) {
            reply.bulk(&value);
        }
    })
}

fn len(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    read::<kind::OrMap>(cx, args, |map, _, reply| {
        reply.integer(map.map_or(0, |map| map.len()) as i64);
    })
}

fn scan(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let scan = Scan::parse(args, 3, false)?;
    read::<kind::OrMap>(cx, args, |map, shard, reply| {
        let mut found = ScanReply::new();
        let cursor = map.map_or(0, |map| {
            map.fields().scan(scan.cursor, scan.count, |name, field| {
                if let (true, Some(value)) = (scan.matches(name), field.value(shard.writers())) {
                    found.push(name, reply);
                    found.push(&value, reply);
                }
            })
        });
        found.reply(cursor, reply);
    })
}

fn incr_by(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let n = integer::parse_i64(&args[4]).ok_or(CommandError::NotInteger)?;
    let writers = with_shard(cx, &args[1], |shard, _| shard.shared_writers());
    let sum = write::<kind::OrMap, _>(cx, args, |map, mint, change| {
        map.add(&args[3], n, &writers, mint, change)
    })?;
    cx.reply.integer(sum.map_err(|error| match error {
        CountError::NotInteger => CommandError::HashNotInteger,
        CountError::Overflow => CommandError::Overflow,
    })?);
    Ok(())
}
