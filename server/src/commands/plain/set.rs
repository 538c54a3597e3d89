//! Sets: the commands of one set. Those of several are in [`set_ops`](super::set_ops).

use std::collections::HashSet;

use miso_protocol::command::{Arg, Flags, Group, KeyFlags, Row};
use miso_protocol::integer::parse_i64;
use miso_protocol::request::Args;
use miso_store::crdt::kind;
use miso_store::crdt::plain::PlainSet;

use super::access::{At, modify, read, with_key, write};
use crate::commands::crdt::set::REPEATS_MAX;
use crate::commands::scan::{COUNT, CURSOR, MATCH, Scan, ScanReply};
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const KEY: Arg = Arg::key("key");
const MEMBER: Arg = Arg::string("member");
/// How many. A group, so that more words are a syntax error, as in Redis.
const RANDOM: Arg = Arg::block("options", &[Arg::integer("count")]).optional();
const LINEAR: &str = "O(N) with N members given";

pub(crate) const SETS: &[Command] = &[
    Command::new(
        Row::command("SADD")
            .args(&[KEY.with_key_flags(KeyFlags::INSERTED), MEMBER.multiple()])
            .group(Group::Set)
            .writes()
            .fast()
            .complexity(LINEAR)
            .merges("a member that is added stays, whatever was removed without seeing the add")
            .summary("Adds members to a set, made if it is absent")
            .reply("Integer: how many were new here")
            .example(&[("SADD tags red green", "(integer) 2")]),
        sadd,
    ),
    Command::new(
        Row::command("SREM")
            .args(&[KEY.with_key_flags(KeyFlags::RW.with(KeyFlags::DELETE)), MEMBER.multiple()])
            .group(Group::Set)
            .deletes()
            .fast()
            .complexity(LINEAR)
            .merges("a member that was added without being seen stays")
            .summary("Removes members from a set")
            .reply("Integer: how many were there")
            .example(&[("SREM tags red", "(integer) 1")]),
        srem,
    ),
    Command::new(
        Row::command("SMEMBERS")
            .args(&[KEY])
            .group(Group::Set)
            .reads()
            .complexity("O(N) with N members")
            .summary("The members of a set")
            .reply("Array (RESP3: set) of bulk strings"),
        smembers,
    ),
    Command::new(
        Row::command("SISMEMBER")
            .args(&[KEY, MEMBER])
            .group(Group::Set)
            .reads()
            .fast()
            .summary("Whether a set has a member")
            .reply("Integer: 1 or 0"),
        sismember,
    ),
    Command::new(
        Row::command("SMISMEMBER")
            .args(&[KEY, MEMBER.multiple()])
            .group(Group::Set)
            .reads()
            .fast()
            .complexity(LINEAR)
            .summary("Whether a set has each of some members")
            .reply("Array of integers: 1 or 0"),
        smismember,
    ),
    Command::new(
        Row::command("SCARD")
            .args(&[KEY])
            .group(Group::Set)
            .reads()
            .fast()
            .summary("How many members a set has")
            .reply("Integer"),
        scard,
    ),
    Command::new(
        Row::command("SPOP")
            .flags(Flags::NOT_ONCE)
            .args(&[KEY.with_key_flags(KeyFlags::TAKEN), RANDOM])
            .group(Group::Set)
            .deletes()
            .fast()
            .complexity("O(N) with N members taken")
            .decides_here("which members it takes; two nodes may take the same one")
            .summary("Takes random members out of a set")
            .reply("Bulk string, or nil if the set is absent; with a count an array (RESP3: set)"),
        spop,
    ),
    Command::new(
        Row::command("SRANDMEMBER")
            .args(&[KEY, RANDOM])
            .group(Group::Set)
            .reads()
            .complexity("O(N) with N members answered")
            .summary("Random members of a set; a negative count repeats them")
            .reply("Bulk string, or nil if the set is absent; with a count an array"),
        srandmember,
    ),
    Command::new(
        Row::command("SSCAN")
            .args(&[KEY, CURSOR, MATCH, COUNT])
            .group(Group::Set)
            .reads()
            .complexity("O(1) for a call, O(N) for a walk of N members")
            .summary("Walks the members of a set step by step")
            .reply("Array of the cursor to go on from (0 at the end) and members"),
        sscan,
    ),
];

fn sadd(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let members = args.tail(2);
    let new = write::<kind::PlainSet, _>(cx, &args[1], |set, moment, mint, mut change| {
        let mut new = 0;
        for member in members.iter() {
            new += i64::from(set.add(member, moment, mint, change.as_deref_mut()));
        }
        new
    })?;
    cx.reply.integer(new);
    Ok(())
}

fn srem(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let members = args.tail(2);
    let gone = modify::<kind::PlainSet, _>(cx, &args[1], |set, moment, mint, mut change| {
        let mut gone = 0;
        for member in members.iter() {
            gone += i64::from(set.remove(member, moment, mint, change.as_deref_mut()));
        }
        gone
    })?;
    cx.reply.integer(gone.unwrap_or(0));
    Ok(())
}

fn smembers(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    read::<kind::PlainSet>(cx, &args[1], |set, at, reply| {
        let members = set.map_or_else(Vec::new, |set| members(set, at));
        reply.set(members.len());
        members.iter().for_each(|member| reply.bulk(member));
        !members.is_empty()
    })
}

/// The members at this moment, in no particular order.
pub(super) fn members<'a>(set: &'a PlainSet, at: At<'a>) -> Vec<&'a [u8]> {
    set.iter(at.now, at.writers).map(|(member, _)| member).collect()
}

fn sismember(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    read::<kind::PlainSet>(cx, &args[1], |set, at, reply| {
        let there = set.is_some_and(|set| set.contains(&args[2], at.now, at.writers));
        reply.integer(i64::from(there));
        there || set.is_some_and(|set| set.exists(at.now, at.writers))
    })
}

fn smismember(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    read::<kind::PlainSet>(cx, &args[1], |set, at, reply| {
        reply.array(args.len() - 2);
        for member in args.tail(2).iter() {
            let there = set.is_some_and(|set| set.contains(member, at.now, at.writers));
            reply.integer(i64::from(there));
        }
        set.is_some_and(|set| set.exists(at.now, at.writers))
    })
}

fn scard(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    read::<kind::PlainSet>(cx, &args[1], |set, at, reply| {
        let len = set.map_or(0, |set| set.len(at.now, at.writers));
        reply.integer(len as i64);
        len > 0
    })
}

/// `count` distinct members at random; all of them if there are not as many.
fn pick<'a>(set: &'a PlainSet, at: At<'a>, count: u64) -> Vec<&'a [u8]> {
    let wanted = usize::try_from(count).unwrap_or(usize::MAX);
    if wanted.saturating_mul(3) > set.len(at.now, at.writers) {
        // Most of them: shuffle all rather than wait for the last ones to turn up.
        let mut all = members(set, at);
        fastrand::shuffle(&mut all);
        all.truncate(wanted);
        return all;
    }
    let mut picked = HashSet::with_capacity(wanted);
    while picked.len() < wanted {
        picked.extend(one(set, at));
    }
    picked.into_iter().collect()
}

/// One member at random.
fn one<'a>(set: &'a PlainSet, at: At<'a>) -> Option<&'a [u8]> {
    set.random(at.now, at.writers, || fastrand::u64(..)).map(|(member, _)| member)
}

fn spop(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if args.len() > 3 {
        return Err(CommandError::Syntax);
    }
    let count = match args.get(2) {
        None => None,
        Some(count) => {
            let count = parse_i64(count).and_then(|count| u64::try_from(count).ok());
            Some(count.ok_or(CommandError::NotPositive)?)
        }
    };
    with_key(cx, &args[1], |locked, reply| {
        let (at, set) = (locked.at(), locked.state::<kind::PlainSet>()?);
        let picked = set.map_or_else(Vec::new, |set| pick(set, at, count.unwrap_or(1)));
        let all = set.is_some_and(|set| set.len(at.now, at.writers) == picked.len());
        match (count, picked.first()) {
            (Some(_), _) => reply.set(picked.len()),
            (None, None) => reply.null(),
            (None, Some(_)) => {}
        }
        picked.iter().for_each(|member| reply.bulk(member));
        if picked.is_empty() {
            return Ok(());
        }
        let picked: Vec<Box<[u8]>> = picked.into_iter().map(Box::from).collect();
        locked.write::<kind::PlainSet, _>(|set, moment, mint, mut change| {
            if all {
                set.delete(moment, mint, change);
                return;
            }
            for member in &picked {
                set.remove(member, moment, mint, change.as_deref_mut());
            }
        })
    })
}

fn srandmember(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if args.len() > 3 {
        return Err(CommandError::Syntax);
    }
    let count = args.get(2).map(|count| parse_i64(count).ok_or(CommandError::NotInteger));
    let count = count.transpose()?;
    if count == Some(i64::MIN) {
        return Err(CommandError::OutOfLong);
    }
    if count.is_some_and(|count| count < 0 && count.unsigned_abs() > REPEATS_MAX) {
        return Err(CommandError::OutOfRange);
    }
    read::<kind::PlainSet>(cx, &args[1], |set, at, reply| {
        let set = set.filter(|set| set.exists(at.now, at.writers));
        let picked = match (set, count) {
            (None, _) => Vec::new(),
            (Some(set), None) => one(set, at).into_iter().collect(),
            (Some(set), Some(count @ 0..)) => pick(set, at, count.unsigned_abs()),
            (Some(set), Some(count)) => {
                (0..count.unsigned_abs()).filter_map(|_| one(set, at)).collect()
            }
        };
        if count.is_some() {
            reply.array(picked.len());
        } else if picked.is_empty() {
            reply.null();
        }
        picked.iter().for_each(|member| reply.bulk(member));
        set.is_some()
    })
}

fn sscan(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let scan = Scan::parse(args, 2, false);
    if let Err(CommandError::InvalidCursor) = scan {
        return Err(CommandError::InvalidCursor);
    }
    let found = with_key(cx, &args[1], |locked, reply| {
        let at = locked.at();
        let set = locked.state::<kind::PlainSet>()?;
        let set = set.filter(|set| set.exists(at.now, at.writers));
        let mut found = ScanReply::new();
        let cursor = match set {
            // Redis does not look at the options then.
            None => 0,
            Some(set) => {
                let scan = scan?;
                set.scan((scan.cursor, scan.count), at.now, at.writers, |member, _| {
                    if scan.matches(member) {
                        found.push(member, reply);
                    }
                })
            }
        };
        found.reply(cursor, reply);
        Ok(set.is_some())
    })?;
    cx.hit(found);
    Ok(())
}
