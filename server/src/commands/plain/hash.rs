//! Hashes.

use miso_protocol::command::{Arg, Counting, Flags, Group, KeyFlags, Row};
use miso_protocol::integer::parse_i64;
use miso_protocol::request::Args;
use miso_store::Shown;
use miso_store::crdt::plain::{FOREVER, Refused, fixed};
use miso_store::crdt::{Value, kind};

use super::access::{float, modify, with_key, write};
use crate::commands::access::check_key;
use crate::commands::redis::hash::print;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const KEY: Arg = Arg::key("key");
const FIELD: Arg = Arg::string("field");

pub(crate) const HASHES: &[Command] = &[
    Command::new(
        Row::command("HSET")
            .args(&[
                KEY.read_written(),
                Arg::block("data", &[FIELD, Arg::string("value")]).multiple(),
            ])
            .group(Group::Hash)
            .writes()
            .fast()
            .flags(Flags::RESETS)
            .complexity("O(N) with N fields")
            .merges("each field by itself: the later value")
            .summary("Sets fields of a hash, made if it is absent")
            .reply("Integer: how many fields were new here")
            .example(&[("HSET user:7 name ada", "(integer) 1")]),
        hset,
    ),
    Command::new(
        Row::command("HMSET")
            .args(&[
                KEY.read_written(),
                Arg::block("data", &[FIELD, Arg::string("value")]).multiple(),
            ])
            .group(Group::Hash)
            .writes()
            .fast()
            .flags(Flags::RESETS)
            .complexity("O(N) with N fields")
            .merges("each field by itself: the later value")
            .summary("Sets fields of a hash, as HSET")
            .reply("OK"),
        hmset,
    ),
    Command::new(
        Row::command("HSETNX")
            .args(&[KEY.read_written(), FIELD, Arg::string("value")])
            .group(Group::Hash)
            .writes()
            .fast()
            .flags(Flags::RESETS)
            .decides_here("whether the field is there")
            .summary("Sets a field of a hash that has none of this name")
            .reply("Integer: 1, or 0 if the field is there"),
        hsetnx,
    ),
    Command::new(
        Row::command("HINCRBY")
            .counts(Counting::KeyField(2))
            .args(&[KEY.read_written(), FIELD, Arg::integer("increment")])
            .group(Group::Hash)
            .writes()
            .fast()
            .merges("the sum of all increments, always exact")
            .summary("Adds to the integer of a field; an absent one counts from 0")
            .reply("Integer: the new value"),
        hincrby,
    ),
    Command::new(
        Row::command("HINCRBYFLOAT")
            .counts(Counting::KeyField(2))
            .args(&[KEY.read_written(), FIELD, Arg::double("increment")])
            .group(Group::Hash)
            .writes()
            .fast()
            .merges("the sum, in fixed point, so that all nodes print the same digits")
            .summary("Adds to the number of a field; an absent one counts from 0")
            .reply("Bulk string: the new value")
            .example(&[("HINCRBYFLOAT user:7 balance 0.5", "\"0.5\"")]),
        hincrbyfloat,
    ),
    Command::new(
        Row::command("HDEL")
            .args(&[KEY.with_key_flags(KeyFlags::RW.with(KeyFlags::DELETE)), FIELD.multiple()])
            .group(Group::Hash)
            .deletes()
            .fast()
            .flags(Flags::RESETS)
            .complexity("O(N) with N fields")
            .merges("a value that was set, or counted, without being seen stays")
            .summary("Removes fields of a hash")
            .reply("Integer: how many were there"),
        hdel,
    ),
    Command::new(
        Row::command("HGET")
            .args(&[KEY, FIELD])
            .group(Group::Hash)
            .reads()
            .fast()
            .summary("The value of a field of a hash; of a name of an object, printable")
            .reply("Bulk string, or nil if it is absent")
            .example(&[("HGET user:7 name", "\"ada\"")]),
        hget,
    ),
];

/// Sets fields; how many are new here. `name` is the command's, for errors.
fn set_fields(cx: &mut Context<'_>, args: Args<'_>, name: &str) -> Result<i64, CommandError> {
    let words = args.tail(2);
    if !words.len().is_multiple_of(2) {
        return Err(CommandError::WrongArity(name.into()));
    }
    write::<kind::PlainHash, _>(cx, &args[1], |hash, moment, mint, mut change| {
        let mut new = 0;
        for at in (0..words.len()).step_by(2) {
            let field = (&words[at], &words[at + 1], FOREVER);
            new += i64::from(hash.set(field, moment, mint, change.as_deref_mut()));
        }
        new
    })
}

fn hset(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let new = set_fields(cx, args, "hset")?;
    cx.reply.integer(new);
    Ok(())
}

fn hmset(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    set_fields(cx, args, "hmset")?;
    cx.reply.ok();
    Ok(())
}

fn hsetnx(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let (field, value) = (&args[2], &args[3]);
    let set = write::<kind::PlainHash, _>(cx, &args[1], |hash, moment, mint, change| {
        let absent = hash.get(field, moment.now, moment.writers).is_none();
        if absent {
            hash.set((field, value, FOREVER), moment, mint, change);
        }
        absent
    })?;
    cx.reply.integer(i64::from(set));
    Ok(())
}

fn hincrby(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let n = parse_i64(&args[3]).ok_or(CommandError::NotInteger)?;
    let sum = write::<kind::PlainHash, _>(cx, &args[1], |hash, moment, mint, change| {
        hash.add((&args[2], n), moment, mint, change)
    })?;
    cx.reply.integer(sum.map_err(|refused| match refused {
        Refused::NotInteger => CommandError::HashNotInteger,
        refused => refused.into(),
    })?);
    Ok(())
}

fn hincrbyfloat(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let (key, field, amount) = (&args[1], &args[2], &args[3]);
    let number = float(amount)?;
    if number.is_infinite() {
        return Err(CommandError::Infinite);
    }
    check_key(cx, key)?;
    with_key(cx, key, |locked, reply| {
        if let Ok(units) = fixed::parse(amount) {
            let sum = locked.write::<kind::PlainHash, _>(|hash, moment, mint, change| {
                hash.add_decimal((field, units), moment, mint, change)
            })?;
            match sum {
                Ok(sum) => {
                    reply.bulk(&fixed::print(sum));
                    return Ok(());
                }
                // A number beyond the fixed point: see below.
                Err(Refused::NotFloat | Refused::Overflow) => {}
                Err(refused) => return Err(refused.into()),
            }
        }
        // Too large to add up exactly: the sum is set, which decides here.
        let at = locked.at();
        let hash = locked.state::<kind::PlainHash>()?;
        let old = hash.and_then(|hash| hash.get(field, at.now, at.writers));
        let until = hash.and_then(|hash| hash.field_deadline(field, at.now, at.writers));
        let old = old.map_or(Ok(0.0), |old| float(&old).map_err(|_| CommandError::HashNotFloat))?;
        let sum = old + number;
        if !sum.is_finite() {
            return Err(CommandError::IncrementNaN);
        }
        let text = format!("{sum}");
        locked.write::<kind::PlainHash, _>(|hash, moment, mint, change| {
            let field = (field, text.as_bytes(), until.unwrap_or(FOREVER));
            hash.set(field, moment, mint, change);
        })?;
        reply.bulk(text.as_bytes());
        Ok(())
    })
}

fn hdel(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let gone = modify::<kind::PlainHash, _>(cx, &args[1], |hash, moment, mint, mut change| {
        let mut gone = 0;
        for field in args.tail(2).iter() {
            gone += i64::from(hash.remove(field, moment, mint, change.as_deref_mut()));
        }
        gone
    })?;
    cx.reply.integer(gone.unwrap_or(0));
    Ok(())
}

fn hget(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let field = &args[2];
    let found = with_key(cx, &args[1], |locked, reply| {
        let at = locked.at();
        let found = match locked.shard.shown(locked.hash, locked.key, at.now) {
            Some(Shown::Plain(Value::PlainHash(hash))) => match hash.get(field, at.now, at.writers)
            {
                Some(value) => {
                    reply.bulk(&value);
                    true
                }
                None => false,
            },
            Some(Shown::Plain(_)) => return Err(CommandError::WrongType),
            Some(Shown::Object(object)) => {
                let value = object.get(field).and_then(|slot| slot.value_at(at.now, at.writers));
                value.iter().for_each(|value| reply.bulk(&print(value, at.writers)));
                value.is_some()
            }
            None => false,
        };
        if !found {
            reply.null();
        }
        Ok(found)
    })?;
    cx.hit(found);
    Ok(())
}
