//! Sorted sets: members with their scores.

use miso_protocol::command::{Arg, Counting, Flags, Group, KeyFlags, Row, Until};
use miso_protocol::request::Args;
use miso_store::crdt::kind;
use miso_store::crdt::plain::PlainZSet;
use miso_store::crdt::plain::items::Mode;

use super::access::{At, Locked, float, read, with_key};
use crate::commands::access::check_key;
use crate::commands::args::Words;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const KEY: Arg = Arg::key("key");
const MEMBER: Arg = Arg::string("member");
const RANK: &[Arg] = &[KEY, MEMBER, Arg::token("WITHSCORE").optional()];

/// A row that reads.
const fn reading(name: &'static str) -> Row {
    Row::command(name).group(Group::SortedSet).reads()
}

pub(crate) const SORTED_SETS: &[Command] = &[
    Command::new(
        Row::command("ZADD")
            .counts(Counting::LastMember)
            .args(&[
                KEY.read_written(),
                Arg::one_of("condition", &[Arg::token("NX"), Arg::token("XX")]).optional(),
                Arg::one_of("comparison", &[Arg::token("GT"), Arg::token("LT")]).optional(),
                Arg::token("CH").optional(),
                Arg::token("INCR").optional(),
                Arg::block("data", &[Arg::double("score"), MEMBER]).multiple(),
            ])
            .group(Group::SortedSet)
            .writes()
            .fast()
            .flags(Flags::RESETS)
            .complexity("O(N log M) with N members given and M in the set")
            .decides_with(&["NX", "XX", "GT", "LT"], 2, Until::Number).merges(
                "the later score, of GT the greatest and of LT the least, and all increments on top \
                 that it has not seen; NX, XX, GT and LT decide here whether to set",
            )
            .summary("Sets scores of members of a sorted set, made if it is absent")
            .reply("Integer: how many members were new here, with CH also changed; with INCR the new score or nil")
            .example(&[("ZADD board 10 ada 7 bob", "(integer) 2")]),
        zadd,
    ),
    Command::new(
        Row::command("ZINCRBY")
            .counts(Counting::KeyField(3))
            .args(&[KEY.read_written(), Arg::double("increment"), MEMBER])
            .group(Group::SortedSet)
            .writes()
            .fast()
            .complexity("O(log N) with N members")
            .merges("the sum of all increments")
            .summary("Adds to the score of a member; an absent one counts from 0")
            .reply("Bulk string (RESP3: double): the new score")
            .example(&[("ZINCRBY board 2 ada", "\"12\"")]),
        zincrby,
    ),
    Command::new(
        Row::command("ZREM")
            .args(&[KEY.with_key_flags(KeyFlags::RW.with(KeyFlags::DELETE)), MEMBER.multiple()])
            .group(Group::SortedSet)
            .deletes()
            .fast()
            .flags(Flags::RESETS)
            .complexity("O(M log N) with M members given and N in the set")
            .merges("a score that was set, or an increment, without being seen stays")
            .summary("Removes members of a sorted set")
            .reply("Integer: how many were there"),
        zrem,
    ),
    Command::new(
        reading("ZSCORE")
            .args(&[KEY, MEMBER])
            .fast()
            .summary("The score of a member")
            .reply("Bulk string (RESP3: double), or nil if it is absent"),
        zscore,
    ),
    Command::new(
        reading("ZMSCORE")
            .args(&[KEY, MEMBER.multiple()])
            .fast()
            .complexity("O(N) with N members given")
            .summary("The scores of several members")
            .reply("Array of bulk strings (RESP3: doubles) and nils"),
        zmscore,
    ),
    Command::new(
        reading("ZCARD")
            .args(&[KEY])
            .fast()
            .summary("How many members a sorted set has")
            .reply("Integer"),
        zcard,
    ),
    Command::new(
        reading("ZRANK")
            .args(RANK)
            .fast()
            .complexity("O(log N) with N members")
            .summary("How many members have a lower score than this one")
            .reply("Integer, with WITHSCORE an array of it and the score; nil if it is absent"),
        zrank,
    ),
    Command::new(
        reading("ZREVRANK")
            .args(RANK)
            .fast()
            .complexity("O(log N) with N members")
            .summary("How many members have a higher score than this one")
            .reply("Integer, with WITHSCORE an array of it and the score; nil if it is absent"),
        zrevrank,
    ),
];

/// The options of ZADD and GEOADD.
#[derive(Clone, Copy, Default)]
pub(super) struct Adding {
    pub(super) absent: bool,
    pub(super) present: bool,
    pub(super) changed: bool,
    greater: bool,
    less: bool,
    increment: bool,
}

impl Adding {
    /// Takes the words before the first score.
    fn parse(words: &mut Words<'_>) -> Adding {
        let mut options = Adding::default();
        loop {
            let option = if words.token("NX") {
                &mut options.absent
            } else if words.token("XX") {
                &mut options.present
            } else if words.token("CH") {
                &mut options.changed
            } else if words.token("INCR") {
                &mut options.increment
            } else if words.token("GT") {
                &mut options.greater
            } else if words.token("LT") {
                &mut options.less
            } else {
                return options;
            };
            *option = true;
        }
    }

    fn check(self, members: usize) -> Result<(), CommandError> {
        if self.absent && self.present {
            return Err(CommandError::NxAndXx);
        }
        if usize::from(self.greater) + usize::from(self.less) + usize::from(self.absent) > 1 {
            return Err(CommandError::GtLtNx);
        }
        if self.increment && members > 1 { Err(CommandError::OneIncrement) } else { Ok(()) }
    }

    fn mode(self) -> Mode {
        match (self.greater, self.less) {
            (true, _) => Mode::Greater,
            (_, true) => Mode::Less,
            _ => Mode::Set,
        }
    }

    /// Whether to set `new` where `old` stands.
    fn holds(self, old: Option<f64>, new: f64) -> bool {
        match old {
            None => !self.present,
            Some(old) => !(self.absent || self.greater && new <= old || self.less && new >= old),
        }
    }
}

/// Sets scores; how many are new, and how many have changed. What is already so is no update.
pub(super) fn add(
    locked: &mut Locked<'_, '_>,
    options: Adding,
    scores: &[(f64, &[u8])],
) -> Result<i64, CommandError> {
    if locked.state::<kind::PlainZSet>()?.is_none() && options.present {
        return Ok(0);
    }
    locked.write::<kind::PlainZSet, _>(|zset, moment, mint, mut change| {
        let mut count = 0;
        for (score, member) in scores {
            let old = zset.score(member, moment.now, moment.writers);
            if !options.holds(old, *score) || old == Some(*score) {
                continue;
            }
            zset.set((member, *score, options.mode()), moment, mint, change.as_deref_mut());
            count += i64::from(old.is_none() || options.changed);
        }
        count
    })
}

/// Adds to a score; the new one, or none if the options forbid it.
fn increment(
    locked: &mut Locked<'_, '_>,
    options: Adding,
    (amount, member): (f64, &[u8]),
) -> Result<Option<f64>, CommandError> {
    let at = locked.at();
    let zset = locked.state::<kind::PlainZSet>()?;
    let old = zset.and_then(|zset| zset.score(member, at.now, at.writers));
    let new = old.unwrap_or(0.0) + amount;
    if old.is_some() && options.absent || old.is_none() && options.present {
        return Ok(None);
    }
    if new.is_nan() {
        return Err(CommandError::ScoreNaN);
    }
    if !options.holds(old, new) {
        return Ok(None);
    }
    let sum = locked.write::<kind::PlainZSet, _>(|zset, moment, mint, change| {
        zset.add((member, amount), moment, mint, change)
    })?;
    sum.map(Some).map_err(|_| CommandError::ScoreNaN)
}

fn zadd(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let mut words = Words::from(args, 2);
    let options = Adding::parse(&mut words);
    let mut pairs = Vec::with_capacity(args.len() / 2);
    while !words.is_empty() {
        pairs.push((words.word()?, words.word()?));
    }
    if pairs.is_empty() {
        return Err(CommandError::Syntax);
    }
    options.check(pairs.len())?;
    let mut scores = Vec::with_capacity(pairs.len());
    for (score, member) in pairs {
        scores.push((float(score)?, member));
    }
    check_key(cx, &args[1])?;
    with_key(cx, &args[1], |locked, reply| {
        if options.increment {
            match increment(locked, options, scores[0])? {
                Some(score) => reply.double(score),
                None => reply.null(),
            }
        } else {
            reply.integer(add(locked, options, &scores)?);
        }
        Ok(())
    })
}

fn zincrby(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    // As in Redis, which reads it as ZADD.
    let options = ["NX", "XX", "GT", "LT", "CH", "INCR"];
    if options.iter().any(|option| args[2].eq_ignore_ascii_case(option.as_bytes())) {
        return Err(CommandError::Syntax);
    }
    let amount = float(&args[2])?;
    check_key(cx, &args[1])?;
    with_key(cx, &args[1], |locked, reply| {
        let sum = increment(locked, Adding::default(), (amount, &args[3]))?;
        reply.double(sum.unwrap_or(amount));
        Ok(())
    })
}

/// Removes members; how many were there. Mints nothing for an absent key.
pub(super) fn remove<'k>(
    locked: &mut Locked<'_, '_>,
    members: impl Iterator<Item = &'k [u8]>,
) -> Result<i64, CommandError> {
    if locked.state::<kind::PlainZSet>()?.is_none() {
        return Ok(0);
    }
    locked.write::<kind::PlainZSet, _>(|zset, moment, mint, mut change| {
        let mut gone = 0;
        for member in members {
            gone += i64::from(zset.remove(member, moment, mint, change.as_deref_mut()));
        }
        gone
    })
}

fn zrem(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let gone = with_key(cx, &args[1], |locked, _| remove(locked, args.tail(2).iter()))?;
    cx.reply.integer(gone);
    Ok(())
}

fn score_of(zset: Option<&PlainZSet>, member: &[u8], at: At<'_>) -> Option<f64> {
    zset.and_then(|zset| zset.score(member, at.now, at.writers))
}

fn zscore(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    read::<kind::PlainZSet>(cx, &args[1], |zset, at, reply| {
        let score = score_of(zset.map(Box::as_ref), &args[2], at);
        match score {
            Some(score) => reply.double(score),
            None => reply.null(),
        }
        score.is_some()
    })
}

fn zmscore(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let members = args.tail(2);
    read::<kind::PlainZSet>(cx, &args[1], |zset, at, reply| {
        reply.array(members.len());
        for member in members.iter() {
            match score_of(zset.map(Box::as_ref), member, at) {
                Some(score) => reply.double(score),
                None => reply.null(),
            }
        }
        zset.is_some()
    })
}

fn zcard(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    read::<kind::PlainZSet>(cx, &args[1], |zset, at, reply| {
        let len = zset.map_or(0, |zset| zset.len(at.now, at.writers));
        reply.integer(len as i64);
        len > 0
    })
}

fn rank(cx: &mut Context<'_>, args: Args<'_>, reverse: bool) -> Result<(), CommandError> {
    if args.len() > 4 {
        return Err(CommandError::WrongArity(if reverse { "zrevrank" } else { "zrank" }.into()));
    }
    let mut words = Words::from(args, 3);
    let with_score = words.token("WITHSCORE");
    words.end()?;
    let member = &args[2];
    read::<kind::PlainZSet>(cx, &args[1], |zset, at, reply| {
        let order = zset.and_then(|zset| zset.order(at.now, at.writers));
        let (Some(score), Some(order)) = (score_of(zset.map(Box::as_ref), member, at), order)
        else {
            if with_score {
                reply.null_array();
            } else {
                reply.null();
            }
            return false;
        };
        if with_score {
            reply.array(2);
        }
        let rank = order.rank(score, member);
        let rank = if reverse { (order.len() - 1).saturating_sub(rank) } else { rank };
        reply.integer(rank as i64);
        if with_score {
            reply.double(score);
        }
        true
    })
}

fn zrank(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    rank(cx, args, false)
}

fn zrevrank(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    rank(cx, args, true)
}
