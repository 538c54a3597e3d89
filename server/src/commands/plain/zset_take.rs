//! Sorted sets: the least and the greatest, random ones, and step by step.

use std::collections::BTreeSet;

use miso_protocol::command::{Arg, Flags, Group, KeyFlags, Row};
use miso_protocol::integer::parse_i64;
use miso_protocol::reply::{Reply, Resp};
use miso_protocol::request::Args;
use miso_store::crdt::kind;
use miso_store::crdt::plain::order::Order;

use super::access::{Locked, read, with_key};
use super::string_many::locked;
use super::zset::remove;
use super::zset_range::{Scored, head, tell};
use crate::commands::args::Words;
use crate::commands::crdt::set::REPEATS_MAX;
use crate::commands::scan::{COUNT, CURSOR, MATCH, Scan, ScanReply};
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const KEY: Arg = Arg::key("key");
const TAKEN: KeyFlags = KeyFlags::TAKEN;
const POPS: &str = "which member goes: nodes that are apart may answer the same one";
/// A block, since Redis answers too many words with a syntax error, not with a wrong number.
const POP: &[Arg] =
    &[KEY.with_key_flags(TAKEN), Arg::block("count-block", &[Arg::integer("count")]).optional()];

/// A row that pops.
const fn popping(name: &'static str, args: &'static [Arg], summary: &'static str) -> Row {
    Row::command(name)
        .flags(Flags::NOT_ONCE)
        .args(args)
        .group(Group::SortedSet)
        .deletes()
        .fast()
        .flags(Flags::RESETS)
        .complexity("O(M log N) with N members of which M go")
        .decides_here(POPS)
        .summary(summary)
}

pub(crate) const SORTED_SETS: &[Command] = &[
    Command::new(
        popping("ZPOPMIN", POP, "Removes the members of the least scores, and tells them")
            .reply("Array of member and score, of as many as were asked for"),
        |cx, args| pop(cx, args, false),
    ),
    Command::new(
        popping("ZPOPMAX", POP, "Removes the members of the greatest scores, and tells them")
            .reply("Array of member and score, of as many as were asked for"),
        |cx, args| pop(cx, args, true),
    ),
    Command::new(
        popping(
            "ZMPOP",
            &[
                Arg::integer("numkeys"),
                KEY.with_key_flags(TAKEN).counted_by("numkeys"),
                Arg::one_of("where", &[Arg::token("MIN"), Arg::token("MAX")]),
                Arg::integer("count").with_token("COUNT").optional(),
            ],
            "Removes the first members of the first key that has any, and tells them",
        )
        .reply("Array of the key and an array of pairs of member and score, or nil"),
        zmpop,
    ),
    Command::new(
        Row::command("ZRANDMEMBER")
            .args(&[
                KEY,
                Arg::block(
                    "options",
                    &[Arg::integer("count"), Arg::token("WITHSCORES").optional()],
                )
                .optional(),
            ])
            .group(Group::SortedSet)
            .reads()
            .complexity("O(M log N) with N members of which M are told")
            .summary("Random members; if the count is negative, one may be told several times")
            .reply("Bulk string or nil, or with a count an array"),
        zrandmember,
    ),
    Command::new(
        Row::command("ZSCAN")
            .args(&[KEY, CURSOR, MATCH, COUNT])
            .group(Group::SortedSet)
            .reads()
            .complexity("O(1) a call, O(N) in all with N members")
            .summary("Walks members and scores step by step")
            .reply("Array of the cursor to go on from (0 at the end), and members and scores"),
        zscan,
    ),
];

/// Removes the first `count` members of one end; none if the key is absent.
fn take(
    locked: &mut Locked<'_, '_>,
    count: usize,
    greatest: bool,
) -> Result<Option<Scored>, CommandError> {
    let at = locked.at();
    let zset = locked.state::<kind::PlainZSet>()?;
    let Some(order) = zset.and_then(|zset| zset.order(at.now, at.writers)) else { return Ok(None) };
    let count = count.min(order.len());
    let owned = |(score, member): (f64, &[u8])| (score, Box::from(member));
    let members: Scored = if greatest {
        order.range(order.len() - count..order.len()).rev().map(owned).collect()
    } else {
        order.range(0..count).map(owned).collect()
    };
    drop(order);
    if !members.is_empty() {
        remove(locked, members.iter().map(|(_, member)| &**member))?;
    }
    Ok(Some(members))
}

fn pop(cx: &mut Context<'_>, args: Args<'_>, greatest: bool) -> Result<(), CommandError> {
    Words::from(args, 3).end()?;
    let count = args.get(2).map(|text| {
        let count = parse_i64(text).and_then(|count| usize::try_from(count).ok());
        count.ok_or(CommandError::NotPositive)
    });
    let count = count.transpose()?;
    let members = with_key(cx, &args[1], |locked, _| take(locked, count.unwrap_or(1), greatest))?;
    let (members, reply) = (members.unwrap_or_default(), &mut cx.reply);
    // A single one is told flat.
    let pairs = count.is_some() && reply.resp == Resp::V3;
    reply.array(if pairs { members.len() } else { 2 * members.len() });
    for (score, member) in &members {
        if pairs {
            reply.array(2);
        }
        reply.bulk(member);
        reply.double(*score);
    }
    Ok(())
}

/// Reads `numkeys key [key ...]` at the word `at`: the keys, and the place after them.
fn counted(args: Args<'_>, at: usize) -> Result<(std::ops::Range<usize>, usize), CommandError> {
    let count = args.get(at).and_then(parse_i64).filter(|count| *count > 0);
    let count = count.ok_or(CommandError::NumKeys)?.unsigned_abs() as usize;
    let end = count.saturating_add(at + 1);
    if end >= args.len() { Err(CommandError::Syntax) } else { Ok((at + 1..end, end)) }
}

fn zmpop(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let (keys, end) = counted(args, 1)?;
    let mut words = Words::from(args, end);
    let greatest = words.token("MAX");
    if !greatest && !words.token("MIN") {
        return Err(CommandError::Syntax);
    }
    let count = match words.option("COUNT")? {
        None => 1,
        Some(text) => {
            let count = parse_i64(text).filter(|count| *count > 0);
            count.ok_or(CommandError::CountNotPositive)?.unsigned_abs() as usize
        }
    };
    words.end()?;
    let keys = keys.map(|at| &args[at]);
    let found = cx.with_keys(keys.clone(), |held| {
        let now = held.function().now();
        for key in keys {
            let members = locked(held, (key, now), |locked| take(locked, count, greatest))?;
            if let Some(members) = members {
                return Ok(Some((key, members)));
            }
        }
        Ok::<_, CommandError>(None)
    })?;
    let reply = &mut cx.reply;
    let Some((key, members)) = found else {
        reply.null_array();
        return Ok(());
    };
    reply.array(2);
    reply.bulk(key);
    reply.array(members.len());
    for (score, member) in &members {
        reply.array(2);
        reply.bulk(member);
        reply.double(*score);
    }
    Ok(())
}

/// Tells `count` random members: different ones, or else each by itself if it is negative.
fn tell_random(order: &Order, count: i64, with_scores: bool, reply: &mut Reply<'_>) {
    let (len, most) = (order.len(), count.unsigned_abs() as usize);
    let one = |reply: &mut Reply<'_>, rank: usize| {
        let found = order.range(rank..rank + 1).next();
        found.into_iter().for_each(|found| tell(reply, found, with_scores));
    };
    if count < 0 {
        head(reply, most, with_scores);
        (0..most).for_each(|_| one(reply, fastrand::usize(..len)));
    } else if most >= len {
        head(reply, len, with_scores);
        order.range(0..len).for_each(|found| tell(reply, found, with_scores));
    } else {
        // Floyd's sample: each is drawn once.
        let mut ranks = BTreeSet::new();
        for last in len - most..len {
            let rank = fastrand::usize(..=last);
            if !ranks.insert(rank) {
                ranks.insert(last);
            }
        }
        head(reply, ranks.len(), with_scores);
        ranks.into_iter().for_each(|rank| one(reply, rank));
    }
}

fn zrandmember(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let mut words = Words::from(args, 2);
    let count = if words.is_empty() { None } else { Some(words.integer()?) };
    let with_scores = count.is_some() && words.token("WITHSCORES");
    words.end()?;
    if count == Some(i64::MIN) {
        return Err(CommandError::OutOfLong);
    }
    if count.is_some_and(|count| count < 0 && count.unsigned_abs() > REPEATS_MAX) {
        return Err(CommandError::OutOfRange);
    }
    read::<kind::PlainZSet>(cx, &args[1], |zset, at, reply| {
        let order = zset.and_then(|zset| zset.order(at.now, at.writers));
        match (&order, count) {
            (None, None) => reply.null(),
            (None, Some(_)) => reply.array(0),
            (Some(order), None) => {
                let rank = fastrand::usize(..order.len());
                let found = order.range(rank..rank + 1).next();
                found.into_iter().for_each(|(_, member)| reply.bulk(member));
            }
            (Some(order), Some(count)) => tell_random(order, count, with_scores, reply),
        }
        order.is_some()
    })
}

fn zscan(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let scan = Scan::parse(args, 2, false);
    if let Err(CommandError::InvalidCursor) = scan {
        return Err(CommandError::InvalidCursor);
    }
    // Redis does not look at the options if nothing is there.
    let is_there = with_key(cx, &args[1], |locked, _| {
        let (zset, at) = (locked.state::<kind::PlainZSet>()?, locked.at());
        Ok(zset.is_some_and(|zset| zset.order(at.now, at.writers).is_some()))
    })?;
    let scan = match scan {
        Err(error) if is_there => return Err(error),
        scan => scan.unwrap_or(Scan::of_nothing()),
    };
    read::<kind::PlainZSet>(cx, &args[1], |zset, at, reply| {
        let mut found = ScanReply::new();
        let next = zset.map_or(0, |zset| {
            zset.scan((scan.cursor, scan.count), at.now, at.writers, |member, _| {
                if !scan.matches(member) {
                    return;
                }
                let score = zset.score(member, at.now, at.writers).unwrap_or(0.0);
                found.push(member, reply);
                found.push_number(score, reply);
            })
        });
        found.reply(next, reply);
        zset.is_some()
    })
}
