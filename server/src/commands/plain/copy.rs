//! RENAME and COPY: what a key reads as, written again as another key, all in one batch.

use std::borrow::Cow;

use miso_protocol::command::{Arg, Flags, Group, KeyFlags, Row};
use miso_protocol::request::Args;
use miso_store::crdt::plain::hll::Registers;
use miso_store::crdt::plain::items::Mode;
use miso_store::crdt::plain::{FOREVER, deadline};
use miso_store::crdt::{Value, kind};
use miso_store::{Held, Shown};

use super::access::Locked;
use super::string::put;
use super::string_many::locked;
use crate::commands::access::check_key;
use crate::commands::args::Words;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::databases;
use crate::engine::error::CommandError;
use crate::engine::spans;

const SOURCE: Arg = Arg::key("key").with_key_flags(KeyFlags::TAKEN);
const MOVES: &str =
    "the other key as it was here; what others did to the old one meanwhile stays there";

pub(crate) const COPIES: &[Command] = &[
    Command::new(
        Row::command("RENAME")
            .args(&[SOURCE, Arg::key("newkey").written()])
            .group(Group::Keyspace)
            .writes()
            .flags(Flags::RESETS)
            .complexity("O(N) with N fields or members")
            .decides_here(MOVES)
            .summary("Gives a plain key another name, in place of what is there")
            .reply("OK"),
        rename,
    ),
    Command::new(
        Row::command("RENAMENX")
            .args(&[SOURCE, Arg::key("newkey").with_key_flags(KeyFlags::OW.with(KeyFlags::INSERT))])
            .group(Group::Keyspace)
            .writes()
            .flags(Flags::RESETS)
            .complexity("O(N) with N fields or members")
            .decides_here("whether the new name is there")
            .summary("Gives a plain key another name, if that is not there")
            .reply("Integer: 1, or 0 if the new name is there"),
        renamenx,
    ),
    Command::new(
        Row::command("COPY")
            .args(&[
                Arg::key("source").read(),
                Arg::key("destination").with_key_flags(KeyFlags::OW.with(KeyFlags::INSERT)),
                Arg::integer("destination-db").with_token("DB").optional(),
                Arg::token("REPLACE").optional(),
            ])
            .group(Group::Keyspace)
            .writes()
            .flags(Flags::RESETS)
            .complexity("O(N) with N fields or members")
            .decides_here("whether the destination is there, and what the source reads as")
            .summary("Copies a plain key, with its deadline")
            .reply("Integer: 1, or 0 if the source is absent, or the destination is there"),
        copy,
    ),
];

/// What a plain key reads as at a moment.
pub(super) struct Reading {
    content: Content,
    until: u64,
}

enum Content {
    String(Vec<u8>),
    /// Fields, each with its value and its own deadline.
    Hash(Vec<(Box<[u8]>, Vec<u8>, u64)>),
    Set(Vec<Box<[u8]>>),
    ZSet(Vec<(Box<[u8]>, f64)>),
    Hll(Registers),
}

impl Reading {
    /// What the key reads as; none if it is absent.
    ///
    /// # Errors
    /// If it is an object with names.
    pub(super) fn of(locked: &Locked<'_, '_>) -> Result<Option<Reading>, CommandError> {
        let at = locked.at();
        let (now, writers) = (at.now, at.writers);
        let value = match locked.shard.shown(locked.hash, locked.key, now) {
            None => return Ok(None),
            Some(Shown::Plain(value)) => value,
            Some(Shown::Object(_)) => {
                locked.check_plain()?;
                return Ok(None);
            }
        };
        let content = match value {
            Value::PlainString(string) => {
                Content::String(string.get(now, writers).map_or_else(Vec::new, Cow::into_owned))
            }
            Value::PlainHash(hash) => {
                let until = |field: &[u8]| hash.field_deadline(field, now, writers);
                let fields = hash.fields(now, writers).map(|(field, value)| {
                    (Box::from(field), value.into_owned(), until(field).unwrap_or(FOREVER))
                });
                Content::Hash(fields.collect())
            }
            Value::PlainSet(set) => {
                Content::Set(set.iter(now, writers).map(|(member, _)| Box::from(member)).collect())
            }
            Value::PlainZSet(zset) => {
                let order = zset.order(now, writers);
                let members = order.iter().flat_map(|order| order.range(0..order.len()));
                Content::ZSet(members.map(|(score, member)| (Box::from(member), score)).collect())
            }
            Value::Hll(hll) => Content::Hll(hll.registers(now, writers).unwrap_or_default()),
            _ => return Ok(None),
        };
        let until = deadline(value, now, writers).unwrap_or(FOREVER);
        Ok(Some(Reading { content, until }))
    }

    /// Writes it as another key, in place of what is there.
    ///
    /// # Errors
    /// If that is an object with names.
    pub(super) fn write(&self, locked: &mut Locked<'_, '_>) -> Result<(), CommandError> {
        locked.check_plain()?;
        if let Content::String(value) = &self.content {
            return put(locked, value, self.until);
        }
        locked.delete();
        match &self.content {
            Content::String(_) => {}
            Content::Hash(fields) => {
                locked.write::<kind::PlainHash, _>(|hash, moment, mint, mut change| {
                    for (field, value, until) in fields {
                        hash.set((field, value, *until), moment, mint, change.as_deref_mut());
                    }
                })?;
            }
            Content::Set(members) => {
                locked.write::<kind::PlainSet, _>(|set, moment, mint, mut change| {
                    for member in members {
                        set.add(member, moment, mint, change.as_deref_mut());
                    }
                })?;
            }
            Content::ZSet(members) => {
                locked.write::<kind::PlainZSet, _>(|zset, moment, mint, mut change| {
                    for (member, score) in members {
                        let member = (&**member, *score, Mode::Set);
                        zset.set(member, moment, mint, change.as_deref_mut());
                    }
                })?;
            }
            Content::Hll(registers) => {
                locked.write::<kind::Hll, _>(|hll, moment, mint, change| {
                    hll.add(registers, moment, mint, change);
                })?;
            }
        }
        if self.until != FOREVER {
            locked.expire(self.until)?;
        }
        Ok(())
    }
}

/// What moving a key does with what is there already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum There {
    Replaced,
    Kept,
}

/// Copies a key to another, and deletes the first if it is moved; none if it is absent, and whether it was
/// done.
fn transfer(
    cx: &mut Context<'_>,
    (from, to): (&[u8], &[u8]),
    there: There,
    moves: bool,
) -> Result<Option<bool>, CommandError> {
    check_key(cx, to)?;
    cx.with_keys([from, to].into_iter(), |held| {
        let now = held.function().now();
        let Some(reading) = locked(held, (from, now), |locked| Reading::of(locked))? else {
            return Ok(None);
        };
        let is_there = locked(held, (to, now), |locked| {
            locked.shard.shown(locked.hash, locked.key, now).is_some()
        });
        if there == There::Kept && is_there {
            return Ok(Some(false));
        }
        if from == to {
            return Ok(Some(true));
        }
        locked(held, (to, now), |locked| reading.write(locked))?;
        if moves {
            locked(held, (from, now), |locked| locked.delete());
        }
        Ok(Some(true))
    })
}

fn rename(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let moved = transfer(cx, (&args[1], &args[2]), There::Replaced, true)?;
    moved.ok_or(CommandError::NoSuchKey)?;
    cx.reply.ok();
    Ok(())
}

fn renamenx(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let moved = transfer(cx, (&args[1], &args[2]), There::Kept, true)?;
    cx.reply.integer(i64::from(moved.ok_or(CommandError::NoSuchKey)?));
    Ok(())
}

/// Copies a key to another database, each locked for itself: what is copied is what the key read as at a moment.
/// None if it is absent, and whether it was done.
fn transfer_to(
    cx: &mut Context<'_>,
    (from, to): (&[u8], &[u8]),
    there: There,
    database: u32,
) -> Result<Option<bool>, CommandError> {
    if cx.held.is_some() {
        return Err(CommandError::CopyInMulti);
    }
    check_key(cx, to)?;
    let name = cx.session.name_of(database);
    let reading = cx.with_keys([from].into_iter(), |held| {
        let now = held.function().now();
        locked(held, (from, now), |locked| Reading::of(locked))
    });
    let Some(reading) = reading? else { return Ok(None) };
    let function = cx.run_function(&name)?;
    let _deleting = spans::begin_deletes(std::iter::once(&function))?;
    let mut held = Held::none(&function);
    let now = function.now();
    locked(&mut held, (to, now), |locked| {
        let is_there = locked.shard.shown(locked.hash, locked.key, now).is_some();
        if there == There::Kept && is_there {
            return Ok(Some(false));
        }
        reading.write(locked)?;
        Ok(Some(true))
    })
}

fn copy(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let mut words = Words::from(args, 3);
    let mut there = There::Kept;
    let mut database = cx.session.database();
    while !words.is_empty() {
        if words.token("REPLACE") {
            there = There::Replaced;
        } else if words.token("DB") {
            database = databases::number(&cx.node.settings, words.word()?)?;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let keys = (&args[1], &args[2]);
    let copied = if database != cx.session.database() {
        transfer_to(cx, keys, there, database)?
    } else if keys.0 == keys.1 {
        return Err(CommandError::SameObject);
    } else {
        transfer(cx, keys, there, false)?
    };
    cx.reply.integer(i64::from(copied.unwrap_or(false)));
    Ok(())
}
