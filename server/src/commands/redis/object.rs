//! OBJECT: how Redis would keep a key.

use std::borrow::Cow;

use miso_protocol::command::{Arg, Categories, Group, Row};
use miso_protocol::integer::parse_i64;
use miso_protocol::request::Args;
use miso_store::Shown;
use miso_store::crdt::Value;

use crate::commands::plain::access::{At, with_key};
use crate::commands::subcommands::helps;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const KEY: Arg = Arg::key("key");

pub(crate) const OBJECT: Command = Command::parent(
    Row::command("OBJECT").summary("About objects as keys"),
    &[
        Command::new(
            Row::subcommand("ENCODING")
                .args(&[KEY])
                .reads()
                .categories(Categories::KEYSPACE)
                .summary("How Redis would store what a key holds, by its default thresholds")
                .reply("Bulk string"),
            object_encoding,
        ),
        Command::new(
            Row::subcommand("FREQ")
                .args(&[KEY])
                .reads()
                .categories(Categories::KEYSPACE)
                .summary("Refused: there is no access count")
                .reply("Error"),
            object_freq,
        ),
        Command::new(
            Row::subcommand("IDLETIME")
                .args(&[KEY])
                .reads()
                .categories(Categories::KEYSPACE)
                .summary("There is no access time")
                .reply("Integer: 0"),
            object_idle,
        ),
        Command::new(
            Row::subcommand("REFCOUNT")
                .args(&[KEY])
                .reads()
                .categories(Categories::KEYSPACE)
                .summary("How many refer to it")
                .reply("Integer: 1"),
            object_refs,
        ),
        helps(Group::Server),
    ],
);

/// The thresholds of Redis's own settings, by default: `hash-max-listpack-entries` and so on.
const HASH_ENTRIES: usize = 512;
const SET_ENTRIES: usize = 128;
const ZSET_ENTRIES: usize = 128;
const INTSET_ENTRIES: usize = 512;
/// The longest field, value or member of a listpack, in bytes.
const LISTPACK_VALUE: usize = 64;
/// The longest string that Redis keeps beside its header, in bytes.
const EMBSTR: usize = 44;

/// Whether the key that `args[2]` says is there; replies nil if not.
fn is_there(cx: &mut Context<'_>, args: Args<'_>) -> Result<bool, CommandError> {
    let there = with_key(cx, &args[2], |locked, _| {
        Ok(locked.shard.shown(locked.hash, locked.key, locked.now).is_some())
    })?;
    if !there {
        cx.reply.null();
    }
    Ok(there)
}

fn object_encoding(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let found = with_key(cx, &args[2], |locked, _| {
        let shown = locked.shard.shown(locked.hash, locked.key, locked.now);
        Ok(shown.map(|shown| match shown {
            Shown::Plain(value) => encoding(value, locked.at()),
            Shown::Object(_) => "hashtable",
        }))
    })?;
    match found {
        Some(encoding) => cx.reply.bulk(encoding.as_bytes()),
        None => cx.reply.null(),
    }
    Ok(())
}

/// What Redis would call the encoding of a plain value that it was given as a whole. It looks at no more
/// entries than the thresholds say.
fn encoding(value: &Value, At { now, writers }: At<'_>) -> &'static str {
    match value {
        Value::PlainString(string) => {
            string_encoding(&string.get(now, writers).unwrap_or_default())
        }
        Value::PlainHash(hash) => {
            let small = |(field, value): (&[u8], Cow<'_, [u8]>)| {
                field.len().max(value.len()) <= LISTPACK_VALUE
            };
            let small = fits(HASH_ENTRIES, hash.fields(now, writers).map(small));
            if small { "listpack" } else { "hashtable" }
        }
        Value::PlainSet(set) => {
            let members = || set.iter(now, writers).map(|(member, _)| member);
            if fits(INTSET_ENTRIES, members().map(|member| parse_i64(member).is_some())) {
                "intset"
            } else if fits(SET_ENTRIES, members().map(|member| member.len() <= LISTPACK_VALUE)) {
                "listpack"
            } else {
                "hashtable"
            }
        }
        Value::PlainZSet(zset) => {
            let small = |member: &[u8]| member.len() <= LISTPACK_VALUE;
            let small = zset.iter(now, writers).map(|(member, _)| small(member));
            if fits(ZSET_ENTRIES, small) { "listpack" } else { "skiplist" }
        }
        // A HyperLogLog is a long string in Redis.
        _ => "raw",
    }
}

fn string_encoding(text: &[u8]) -> &'static str {
    match text.len() {
        _ if parse_i64(text).is_some() => "int",
        ..=EMBSTR => "embstr",
        _ => "raw",
    }
}

/// Whether there are at most `max` entries, all of which pass.
fn fits(max: usize, mut passes: impl Iterator<Item = bool>) -> bool {
    passes.by_ref().take(max).all(|passes| passes) && passes.next().is_none()
}

fn object_freq(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if !is_there(cx, args)? {
        return Ok(());
    }
    Err(CommandError::NoFrequency)
}

fn object_idle(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if is_there(cx, args)? {
        cx.reply.integer(0);
    }
    Ok(())
}

fn object_refs(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if is_there(cx, args)? {
        cx.reply.integer(1);
    }
    Ok(())
}
