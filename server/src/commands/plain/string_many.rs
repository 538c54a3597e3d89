//! Strings of several keys at once, and the older forms of SET and GET.

use miso_protocol::command::{Arg, Categories, Flags, Group, KeyFlags, Row};
use miso_protocol::request::Args;
use miso_store::Held;
use miso_store::crdt::kind;
use miso_store::crdt::plain::FOREVER;

use super::access::{Locked, with_key};
use super::expiry::{Deadline, EX, EXAT, Expiry, PX, PXAT};
use super::string::put;
use crate::commands::access::check_key;
use crate::commands::args::Words;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const KEY: Arg = Arg::key("key");
const VALUE: Arg = Arg::string("value");
const DATA: Arg = Arg::block("data", &[KEY.written(), VALUE]).multiple();
const LATER: &str = "the later value, with its own deadline";

pub(crate) const STRINGS: &[Command] = &[
    Command::new(
        Row::command("MGET")
            .args(&[KEY.multiple()])
            .group(Group::String)
            .reads()
            .fast()
            .complexity("O(N) with N keys")
            .summary("The strings of several keys")
            .reply("Array of bulk strings, and nil for what is absent or no string"),
        mget,
    ),
    Command::new(
        Row::command("MSET")
            .args(&[DATA])
            .group(Group::String)
            .writes()
            .flags(Flags::RESETS)
            .complexity("O(N) with N keys")
            .merges("each key by itself: the later value")
            .summary("Sets several keys to strings, all at one moment here")
            .reply("OK"),
        mset,
    ),
    Command::new(
        Row::command("MSETNX")
            .args(&[DATA])
            .group(Group::String)
            .writes()
            .flags(Flags::RESETS)
            .complexity("O(N) with N keys")
            .decides_here("whether any of the keys is there")
            .summary("Sets several keys to strings if none of them is there")
            .reply("Integer: 1, or 0 if any is there"),
        msetnx,
    ),
    Command::new(
        Row::command("SETEX")
            .args(&[KEY.written(), Arg::integer("seconds"), VALUE])
            .group(Group::String)
            .writes()
            .flags(Flags::RESETS)
            .merges(LATER)
            .summary("Sets a key to a string that expires after some seconds")
            .reply("OK"),
        |cx, args| setex(cx, args, true, "setex"),
    ),
    Command::new(
        Row::command("PSETEX")
            .args(&[KEY.written(), Arg::integer("milliseconds"), VALUE])
            .group(Group::String)
            .writes()
            .flags(Flags::RESETS)
            .merges(LATER)
            .summary("Sets a key to a string that expires after some milliseconds")
            .reply("OK"),
        |cx, args| setex(cx, args, false, "psetex"),
    ),
    Command::new(
        Row::command("SETNX")
            .args(&[KEY.with_key_flags(KeyFlags::OW.with(KeyFlags::INSERT)), VALUE])
            .group(Group::String)
            .writes()
            .fast()
            .flags(Flags::RESETS)
            .decides_here("whether the key is there")
            .summary("Sets a key to a string if it is not there")
            .reply("Integer: 1, or 0 if the key is there"),
        setnx,
    ),
    Command::new(
        Row::command("GETSET")
            .flags(Flags::NOT_ONCE)
            .args(&[KEY.read_written(), VALUE])
            .group(Group::String)
            .writes()
            .fast()
            .flags(Flags::RESETS)
            .decides_here("the old value is what this node has")
            .summary("Sets a key to a string, and tells the old one")
            .reply("Bulk string, or nil if it was absent"),
        getset,
    ),
    Command::new(
        Row::command("GETDEL")
            .flags(Flags::NOT_ONCE)
            .args(&[KEY.with_key_flags(KeyFlags::TAKEN)])
            .group(Group::String)
            .deletes()
            .fast()
            .flags(Flags::RESETS)
            .decides_here("two nodes may both be told the value")
            .summary("Tells the string of a key, and deletes it")
            .reply("Bulk string, or nil if it was absent"),
        getdel,
    ),
    Command::new(
        Row::command("GETEX")
            .flags(Flags::NOT_ONCE)
            .args(&[
                KEY.read_written(),
                Arg::one_of("expiration", &[EX, PX, EXAT, PXAT, Arg::token("PERSIST")]).optional(),
            ])
            .group(Group::String)
            .deletes()
            .fast()
            .flags(Flags::RESETS)
            .categories(Categories::WRITE)
            .merges("of concurrent deadlines the longest")
            .summary("Tells the string of a key, and sets or takes away its deadline")
            .reply("Bulk string, or nil if it is absent"),
        getex,
    ),
];

/// Works on a key of several that are locked together.
pub(super) fn locked<R>(
    held: &mut Held<'_>,
    (key, now): (&[u8], u64),
    work: impl FnOnce(&mut Locked<'_, '_>) -> R,
) -> R {
    held.with_object(key, |shard, hash| work(&mut Locked { shard, hash, key, now }))
}

fn mget(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let keys = args.tail(1);
    let values: Vec<Option<Vec<u8>>> = cx.with_objects(keys, |held| {
        let now = held.function().now();
        let mut read = |key: &[u8]| {
            locked(held, (key, now), |locked| {
                let at = locked.at();
                let string = locked.state::<kind::PlainString>().ok().flatten()?;
                string.get(at.now, at.writers).map(std::borrow::Cow::into_owned)
            })
        };
        keys.iter().map(&mut read).collect()
    });
    cx.reply.array(values.len());
    for value in &values {
        cx.hit(value.is_some());
        match value {
            Some(value) => cx.reply.bulk(value),
            None => cx.reply.null(),
        }
    }
    Ok(())
}

/// A key and its value.
type Pair<'a> = (&'a [u8], &'a [u8]);

/// The keys and values of MSET.
fn pairs<'a>(cx: &Context<'_>, args: Args<'a>, name: &str) -> Result<Vec<Pair<'a>>, CommandError> {
    if args.len().is_multiple_of(2) {
        return Err(CommandError::WrongArity(name.into()));
    }
    let words = args.tail(1);
    let mut pairs = Vec::with_capacity(words.len() / 2);
    for at in (1..args.len()).step_by(2) {
        let (Some(key), Some(value)) = (args.get(at), args.get(at + 1)) else { break };
        check_key(cx, key)?;
        pairs.push((key, value));
    }
    Ok(pairs)
}

fn mset(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let pairs = pairs(cx, args, "mset")?;
    cx.with_keys(pairs.iter().map(|(key, _)| *key), |held| {
        let now = held.function().now();
        // An object with names refuses all, before any is set.
        for (key, _) in &pairs {
            locked(held, (key, now), |locked| locked.check_plain())?;
        }
        for (key, value) in &pairs {
            locked(held, (key, now), |locked| put(locked, value, FOREVER))?;
        }
        Ok::<_, CommandError>(())
    })?;
    cx.reply.ok();
    Ok(())
}

fn msetnx(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let pairs = pairs(cx, args, "msetnx")?;
    let set = cx.with_keys(pairs.iter().map(|(key, _)| *key), |held| {
        let now = held.function().now();
        let mut there = |key: &[u8]| {
            locked(held, (key, now), |locked| {
                locked.shard.shown(locked.hash, locked.key, now).is_some()
            })
        };
        if pairs.iter().any(|(key, _)| there(key)) {
            return Ok(false);
        }
        for (key, value) in &pairs {
            locked(held, (key, now), |locked| put(locked, value, FOREVER))?;
        }
        Ok::<_, CommandError>(true)
    })?;
    cx.reply.integer(i64::from(set));
    Ok(())
}

fn setex(
    cx: &mut Context<'_>,
    args: Args<'_>,
    seconds: bool,
    name: &str,
) -> Result<(), CommandError> {
    let deadline = Deadline { text: &args[2], seconds, absolute: false };
    check_key(cx, &args[1])?;
    with_key(cx, &args[1], |locked, reply| {
        let until = deadline.at(locked.now, name)?;
        put(locked, &args[3], until)?;
        reply.ok();
        Ok(())
    })
}

fn setnx(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    check_key(cx, &args[1])?;
    with_key(cx, &args[1], |locked, reply| {
        let absent = locked.shard.shown(locked.hash, locked.key, locked.now).is_none();
        if absent {
            put(locked, &args[2], FOREVER)?;
        }
        reply.integer(i64::from(absent));
        Ok(())
    })
}

/// The string of a key; replies with it.
fn tell(
    locked: &Locked<'_, '_>,
    reply: &mut miso_protocol::reply::Reply<'_>,
) -> Result<bool, CommandError> {
    let at = locked.at();
    let string = locked.state::<kind::PlainString>()?;
    match string.and_then(|string| string.get(at.now, at.writers)) {
        Some(value) => {
            reply.bulk(&value);
            Ok(true)
        }
        None => {
            reply.null();
            Ok(false)
        }
    }
}

fn getset(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    check_key(cx, &args[1])?;
    let found = with_key(cx, &args[1], |locked, reply| {
        let found = tell(locked, reply)?;
        put(locked, &args[2], FOREVER)?;
        Ok(found)
    })?;
    cx.hit(found);
    Ok(())
}

fn getdel(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let found = with_key(cx, &args[1], |locked, reply| {
        let found = tell(locked, reply)?;
        if found {
            locked.delete();
        }
        Ok(found)
    })?;
    cx.hit(found);
    Ok(())
}

fn getex(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let mut expiry = Expiry::default();
    let mut words = Words::from(args, 2);
    while !words.is_empty() {
        if !expiry.take(&mut words, ("PERSIST", Expiry::Persist))? {
            return Err(CommandError::Syntax);
        }
    }
    let found = with_key(cx, &args[1], |locked, reply| {
        // Redis does not look at the number of an absent key's deadline.
        let is_there = locked
            .state::<kind::PlainString>()?
            .is_some_and(|string| string.get(locked.now, locked.at().writers).is_some());
        let at = match expiry {
            Expiry::Set(_) if !is_there => None,
            Expiry::Set(deadline) => Some(deadline.at(locked.now, "getex")?),
            Expiry::Persist => Some(FOREVER),
            Expiry::Keep | Expiry::None => None,
        };
        let found = tell(locked, reply)?;
        match at.filter(|_| found) {
            // It is over already.
            Some(at) if at <= locked.now => _ = locked.delete(),
            Some(at) => _ = locked.expire(at)?,
            None => {}
        }
        Ok(found)
    })?;
    cx.hit(found);
    Ok(())
}
