//! Commands of several sets: intersections, unions and differences, and the move of a member.

use std::collections::HashSet;

use miso_protocol::command::{Arg, Flags, Group, KeyFlags, Row};
use miso_protocol::integer::parse_i64;
use miso_protocol::request::Args;
use miso_store::crdt::kind;
use miso_store::crdt::plain::PlainSet;
use miso_store::{Held, Misfit};

use super::access::{At, Locked};
use super::set::members;
use crate::commands::access::check_key;
use crate::commands::args::Words;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const KEYS: Arg = Arg::key("key").multiple();
const STORED: &[Arg] = &[Arg::key("destination").written(), KEYS.read()];
const LINEAR: &str = "O(N) with N members in all";
const SMALLEST: &str = "O(N * M) with N members in the smallest and M sets";

/// The row of a command that answers the members of a result.
const fn showing(name: &'static str, summary: &'static str) -> Row {
    Row::command(name)
        .args(&[KEYS])
        .group(Group::Set)
        .reads()
        .complexity(LINEAR)
        .summary(summary)
        .reply("Array (RESP3: set) of bulk strings")
}

/// The row of a command that stores a result.
const fn storing(name: &'static str, summary: &'static str) -> Row {
    Row::command(name)
        .args(STORED)
        .group(Group::Set)
        .writes()
        .flags(Flags::RESETS)
        .complexity(LINEAR)
        .decides_here(
            "the result of what this node sees, in place of what it sees of the destination; of \
             two at once both results stay, the same on all nodes",
        )
        .summary(summary)
        .reply("Integer: how many members the destination has now")
}

pub(crate) const SET_OPERATIONS: &[Command] = &[
    Command::new(
        showing("SINTER", "The members that all of the sets have").complexity(SMALLEST),
        |cx, args| show(cx, args, Operation::Intersection),
    ),
    Command::new(
        Row::command("SINTERCARD")
            .args(&[
                Arg::integer("numkeys"),
                Arg::key("key").multiple().counted_by("numkeys"),
                Arg::integer("limit").with_token("LIMIT").optional(),
            ])
            .group(Group::Set)
            .reads()
            .complexity(SMALLEST)
            .summary("How many members all of the sets have, counted up to LIMIT, 0 for none")
            .reply("Integer"),
        sintercard,
    ),
    Command::new(showing("SUNION", "The members that any of the sets has"), |cx, args| {
        show(cx, args, Operation::Union)
    }),
    Command::new(
        showing("SDIFF", "The members of the first set that none of the others has"),
        |cx, args| show(cx, args, Operation::Difference),
    ),
    Command::new(
        storing("SINTERSTORE", "Stores the members that all of the sets have").complexity(SMALLEST),
        |cx, args| store(cx, args, Operation::Intersection),
    ),
    Command::new(
        storing("SUNIONSTORE", "Stores the members that any of the sets has"),
        |cx, args| store(cx, args, Operation::Union),
    ),
    Command::new(
        storing("SDIFFSTORE", "Stores the members of the first set that none of the others has"),
        |cx, args| store(cx, args, Operation::Difference),
    ),
    Command::new(
        Row::command("SMOVE")
            .args(&[
                Arg::key("source").with_key_flags(KeyFlags::TAKEN),
                Arg::key("destination").with_key_flags(KeyFlags::INSERTED),
                Arg::string("member"),
            ])
            .group(Group::Set)
            .writes()
            .fast()
            .decides_here(
                "whether the source has the member; two nodes may move it to two destinations",
            )
            .summary("Moves a member from one set to another")
            .reply("Integer: 1, or 0 if the source does not have it"),
        smove,
    ),
];

/// How sets are combined.
#[derive(Clone, Copy)]
enum Operation {
    Intersection,
    Union,
    Difference,
}

/// Reads one of several sets; none if it is absent.
///
/// # Errors
/// If the key is something else.
fn with_set<R>(
    held: &mut Held<'_>,
    (key, now): (&[u8], u64),
    work: impl FnOnce(Option<&PlainSet>, At<'_>) -> R,
) -> Result<R, CommandError> {
    held.with_object(key, |shard, hash| {
        let locked = Locked { shard, hash, key, now };
        let at = locked.at();
        let set = locked.state::<kind::PlainSet>()?.map(|set| &**set);
        Ok(work(set.filter(|set| set.exists(at.now, at.writers)), at))
    })
}

/// The members of the result.
///
/// # Errors
/// If one of the keys is something else, whatever the others hold.
fn combine<'k>(
    held: &mut Held<'_>,
    keys: impl Iterator<Item = &'k [u8]> + Clone,
    now: u64,
    operation: Operation,
) -> Result<Vec<Box<[u8]>>, CommandError> {
    let mut sizes = Vec::new();
    for key in keys.clone() {
        sizes.push(with_set(held, (key, now), |set, at| {
            set.map_or(0, |set| set.len(at.now, at.writers))
        })?);
    }
    // The set that the others are compared with: the result is a part of it.
    let base = match operation {
        Operation::Intersection => (0..sizes.len()).min_by_key(|at| sizes[*at]).unwrap_or(0),
        Operation::Union | Operation::Difference => 0,
    };
    let copy = |set: Option<&PlainSet>, at: At<'_>| -> Vec<Box<[u8]>> {
        set.map_or_else(Vec::new, |set| members(set, at).into_iter().map(Box::from).collect())
    };
    if let Operation::Union = operation {
        let mut all = HashSet::new();
        for key in keys {
            all.extend(with_set(held, (key, now), copy)?);
        }
        return Ok(all.into_iter().collect());
    }
    let Some(first) = keys.clone().nth(base) else { return Ok(Vec::new()) };
    let mut result = with_set(held, (first, now), copy)?;
    let stays = matches!(operation, Operation::Intersection);
    for (_, key) in keys.enumerate().filter(|(at, _)| *at != base) {
        if result.is_empty() {
            break;
        }
        with_set(held, (key, now), |set, at| {
            let has =
                |member: &[u8]| set.is_some_and(|set| set.contains(member, at.now, at.writers));
            result.retain(|member| has(member) == stays);
        })?;
    }
    Ok(result)
}

fn show(cx: &mut Context<'_>, args: Args<'_>, operation: Operation) -> Result<(), CommandError> {
    let keys = args.tail(1);
    let result = cx.with_objects(keys, |held| {
        let now = held.function().now();
        combine(held, keys.iter(), now, operation)
    })?;
    cx.reply.set(result.len());
    result.iter().for_each(|member| cx.reply.bulk(member));
    Ok(())
}

fn sintercard(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let number = parse_i64(&args[1]).filter(|number| *number > 0).ok_or(CommandError::NumKeys)?;
    let number = usize::try_from(number).unwrap_or(usize::MAX);
    if number > args.len() - 2 {
        return Err(CommandError::KeysBeyondArgs);
    }
    let mut words = Words::from(args, 2 + number);
    let mut limit = 0;
    while !words.is_empty() {
        let text = words.option("LIMIT")?.ok_or(CommandError::Syntax)?;
        let said = parse_i64(text).and_then(|limit| usize::try_from(limit).ok());
        limit = said.ok_or(CommandError::NegativeLimit)?;
    }
    let keys = args.tail(2);
    let keys = keys.iter().take(number);
    let result = cx.with_keys(keys.clone(), |held| {
        let now = held.function().now();
        combine(held, keys, now, Operation::Intersection)
    })?;
    let found = if limit == 0 { result.len() } else { result.len().min(limit) };
    cx.reply.integer(found as i64);
    Ok(())
}

fn store(cx: &mut Context<'_>, args: Args<'_>, operation: Operation) -> Result<(), CommandError> {
    let destination = &args[1];
    check_key(cx, destination)?;
    let stored = cx.with_objects(args.tail(1), |held| {
        let now = held.function().now();
        let result = combine(held, args.tail(2).iter(), now, operation)?;
        held.with_object(destination, |shard, hash| {
            let mut locked = Locked { shard, hash, key: destination, now };
            if result.is_empty() {
                let found = locked.shard.plain::<kind::PlainSet>(hash, destination, now);
                if let Err(misfit @ Misfit::Object(_)) = found {
                    return Err(CommandError::misfit(misfit, destination));
                }
                locked.delete();
                return Ok(0);
            }
            locked.replace::<kind::PlainSet, _>(|set, moment, mint, mut change| {
                set.delete(moment, mint, change.as_deref_mut());
                for member in &result {
                    set.add(member, moment, mint, change.as_deref_mut());
                }
            })?;
            Ok(result.len())
        })
    })?;
    cx.reply.integer(stored as i64);
    Ok(())
}

fn smove(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let (source, destination, member) = (&args[1], &args[2], &args[3]);
    check_key(cx, destination)?;
    let moved =
        cx.with_keys([source, destination].into_iter(), |held| -> Result<_, CommandError> {
            let now = held.function().now();
            let has = |set: Option<&PlainSet>, at: At<'_>| {
                set.map(|set| set.contains(member, at.now, at.writers))
            };
            // Redis does not look at the destination if there is no source.
            let Some(there) = with_set(held, (source, now), has)? else { return Ok(false) };
            with_set(held, (destination, now), |_, _| ())?;
            if !there || source == destination {
                return Ok(there);
            }
            held.with_object(source, |shard, hash| {
                Locked { shard, hash, key: source, now }.write::<kind::PlainSet, _>(
                    |set, moment, mint, change| set.remove(member, moment, mint, change),
                )
            })?;
            held.with_object(destination, |shard, hash| {
                Locked { shard, hash, key: destination, now }.write::<kind::PlainSet, _>(
                    |set, moment, mint, change| set.add(member, moment, mint, change),
                )
            })?;
            Ok(true)
        })?;
    cx.reply.integer(i64::from(moved));
    Ok(())
}
