//! Sorted sets.

use miso_protocol::command::{Arg, Flags, Group, Row};
use miso_protocol::reply::Resp;
use miso_protocol::request::Args;
use miso_store::crdt::kind;
use miso_store::crdt::plain::items::Mode;

use super::access::{float, read, write};
use crate::commands::args::Words;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const KEY: Arg = Arg::key("key");

pub(crate) const SORTED_SETS: &[Command] = &[
    Command::new(
        Row::command("ZADD")
            .args(&[
                KEY.read_written(),
                Arg::block("data", &[Arg::double("score"), Arg::string("member")]).multiple(),
            ])
            .group(Group::SortedSet)
            .writes()
            .fast()
            .flags(Flags::RESETS)
            .complexity("O(N log M) with N members given and M in the set")
            .merges("the later score, and all increments on top that it has not seen")
            .summary("Sets scores of members of a sorted set, made if it is absent")
            .reply("Integer: how many members were new here")
            .example(&[("ZADD board 10 ada 7 bob", "(integer) 2")]),
        zadd,
    ),
    Command::new(
        Row::command("ZSCORE")
            .args(&[KEY, Arg::string("member")])
            .group(Group::SortedSet)
            .reads()
            .fast()
            .summary("The score of a member")
            .reply("Bulk string (RESP3: double), or nil if it is absent"),
        zscore,
    ),
    Command::new(
        Row::command("ZRANGE")
            .args(&[
                KEY,
                Arg::integer("start"),
                Arg::integer("stop"),
                Arg::token("WITHSCORES").optional(),
            ])
            .group(Group::SortedSet)
            .reads()
            .complexity("O(log N + M) with N members of which M are shown")
            .summary(
                "Members by their ranks, from the least score; negative ranks count from the end",
            )
            .reply("Array of members, with their scores if told")
            .example(&[("ZRANGE board 0 -1", "1) \"bob\"\n2) \"ada\"")]),
        zrange,
    ),
];

fn zadd(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let words = args.tail(2);
    if !words.len().is_multiple_of(2) {
        return Err(CommandError::Syntax);
    }
    let mut scores = Vec::with_capacity(words.len() / 2);
    for at in (0..words.len()).step_by(2) {
        scores.push((float(&words[at])?, at + 1));
    }
    let new = write::<kind::PlainZSet, _>(cx, &args[1], |zset, moment, mint, mut change| {
        let mut new = 0;
        for (score, at) in &scores {
            let member = (&words[*at], *score, Mode::Set);
            // The same score again is no update.
            if zset.score(member.0, moment.now, moment.writers) != Some(*score) {
                new += i64::from(zset.set(member, moment, mint, change.as_deref_mut()));
            }
        }
        new
    })?;
    cx.reply.integer(new);
    Ok(())
}

fn zscore(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    read::<kind::PlainZSet>(cx, &args[1], |zset, at, reply| {
        match zset.and_then(|zset| zset.score(&args[2], at.now, at.writers)) {
            Some(score) => {
                reply.double(score);
                true
            }
            None => {
                reply.null();
                false
            }
        }
    })
}

fn zrange(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let mut words = Words::from(args, 2);
    let (start, stop) = (words.integer()?, words.integer()?);
    let with_scores = words.token("WITHSCORES");
    words.end()?;
    read::<kind::PlainZSet>(cx, &args[1], |zset, at, reply| {
        let order = zset.and_then(|zset| zset.order(at.now, at.writers));
        let len = order.as_ref().map_or(0, |order| order.len());
        let rank = |n: i64| if n < 0 { n.saturating_add(len as i64) } else { n };
        let from = rank(start).max(0).unsigned_abs() as usize;
        let to = rank(stop).saturating_add(1).clamp(0, len as i64).unsigned_abs() as usize;
        let ranks = from.min(to)..to;
        let pairs = with_scores && reply.resp == Resp::V3;
        reply.array(if with_scores && !pairs { 2 * ranks.len() } else { ranks.len() });
        for (score, member) in order.iter().flat_map(|order| order.range(ranks.clone())) {
            if pairs {
                reply.array(2);
            }
            reply.bulk(member);
            if with_scores {
                reply.double(score);
            }
        }
        len > 0
    })
}
