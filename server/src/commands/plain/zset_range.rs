//! Sorted sets: ranges by rank, by score and by member.

use std::ops::Range;

use miso_protocol::command::{Arg, Flags, Group, KeyFlags, Row};
use miso_protocol::reply::{Reply, Resp};
use miso_protocol::request::Args;
use miso_store::crdt::kind;
use miso_store::crdt::plain::order::Order;

use super::access::{Locked, read, with_key};
use super::string_many::locked;
use super::zset::remove;
use crate::commands::access::check_key;
use crate::commands::args::Words;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const KEY: Arg = Arg::key("key");
const WITH_SCORES: Arg = Arg::token("WITHSCORES").optional();
const LIMIT: Arg = Arg::block("limit", &[Arg::integer("offset"), Arg::integer("count")])
    .with_token("LIMIT")
    .optional();
const BY: Arg = Arg::one_of("sortby", &[Arg::token("BYSCORE"), Arg::token("BYLEX")]).optional();
const REV: Arg = Arg::token("REV").optional();
const MIN: Arg = Arg::string("min");
const MAX: Arg = Arg::string("max");
const SHOWS: &str = "O(log N + M) with N members of which M are shown";
const REMOVES: &str = "O(M log N) with N members of which M are removed";
const MEMBERS: &str = "Array of members, with their scores if told";

/// A row that reads.
const fn reading(name: &'static str, args: &'static [Arg], summary: &'static str) -> Row {
    Row::command(name).args(args).group(Group::SortedSet).reads().complexity(SHOWS).summary(summary)
}

/// A row that counts.
const fn counting(name: &'static str, summary: &'static str) -> Row {
    reading(name, &[KEY, MIN, MAX], summary)
        .fast()
        .complexity("O(log N) with N members")
        .reply("Integer")
}

/// A row that removes a range.
const fn removing(name: &'static str, args: &'static [Arg], summary: &'static str) -> Row {
    Row::command(name)
        .args(args)
        .group(Group::SortedSet)
        .deletes()
        .flags(Flags::RESETS)
        .complexity(REMOVES)
        .decides_here("which members are in the range")
        .summary(summary)
        .reply("Integer: how many were removed")
}

const REMOVED: Arg = KEY.with_key_flags(KeyFlags::RW.with(KeyFlags::DELETE));

pub(crate) const SORTED_SETS: &[Command] = &[
    Command::new(
        reading(
            "ZRANGE",
            &[KEY, Arg::string("start"), Arg::string("stop"), BY, REV, LIMIT, WITH_SCORES],
            "Members by their ranks, from the least score; by scores; or by themselves",
        )
        .reply(MEMBERS)
        .example(&[("ZRANGE board 0 -1", "1) \"bob\"\n2) \"ada\"")]),
        |cx, args| zrange(cx, args, Form::default()),
    ),
    Command::new(
        reading(
            "ZREVRANGE",
            &[KEY, Arg::integer("start"), Arg::integer("stop"), WITH_SCORES],
            "Members by their ranks, from the greatest score",
        )
        .reply(MEMBERS),
        |cx, args| zrange(cx, args, Form { by: Some(By::Rank), reverse: Some(true) }),
    ),
    Command::new(
        reading(
            "ZRANGEBYSCORE",
            &[KEY, MIN, MAX, WITH_SCORES, LIMIT],
            "Members with scores from one to another",
        )
        .reply(MEMBERS),
        |cx, args| zrange(cx, args, Form { by: Some(By::Score), reverse: Some(false) }),
    ),
    Command::new(
        reading(
            "ZREVRANGEBYSCORE",
            &[KEY, MAX, MIN, WITH_SCORES, LIMIT],
            "Members with scores from one down to another",
        )
        .reply(MEMBERS),
        |cx, args| zrange(cx, args, Form { by: Some(By::Score), reverse: Some(true) }),
    ),
    Command::new(
        reading(
            "ZRANGEBYLEX",
            &[KEY, MIN, MAX, LIMIT],
            "Members from one to another, where all scores are the same",
        )
        .reply("Array of members"),
        |cx, args| zrange(cx, args, Form { by: Some(By::Lex), reverse: Some(false) }),
    ),
    Command::new(
        reading(
            "ZREVRANGEBYLEX",
            &[KEY, MAX, MIN, LIMIT],
            "Members from one down to another, where all scores are the same",
        )
        .reply("Array of members"),
        |cx, args| zrange(cx, args, Form { by: Some(By::Lex), reverse: Some(true) }),
    ),
    Command::new(
        Row::command("ZRANGESTORE")
            .args(&[Arg::key("dst").written(), Arg::key("src").read(), MIN, MAX, BY, REV, LIMIT])
            .group(Group::SortedSet)
            .writes()
            .flags(Flags::RESETS)
            .complexity("O(log N + M log M) with N members of which M are stored")
            .decides_here("which members are in the range; of two results stored at once both stay")
            .summary("Stores a range of a sorted set as another, in place of what is there")
            .reply("Integer: how many were stored"),
        zrangestore,
    ),
    Command::new(
        counting("ZCOUNT", "How many members have scores from one to another"),
        |cx, args| count(cx, args, By::Score),
    ),
    Command::new(
        counting(
            "ZLEXCOUNT",
            "How many members are from one to another, where all scores are the same",
        ),
        |cx, args| count(cx, args, By::Lex),
    ),
    Command::new(
        removing(
            "ZREMRANGEBYRANK",
            &[REMOVED, Arg::integer("start"), Arg::integer("stop")],
            "Removes members by their ranks",
        ),
        |cx, args| remove_range(cx, args, By::Rank),
    ),
    Command::new(
        removing(
            "ZREMRANGEBYSCORE",
            &[REMOVED, MIN, MAX],
            "Removes members with scores from one to another",
        ),
        |cx, args| remove_range(cx, args, By::Score),
    ),
    Command::new(
        removing(
            "ZREMRANGEBYLEX",
            &[REMOVED, MIN, MAX],
            "Removes members from one to another, where all scores are the same",
        ),
        |cx, args| remove_range(cx, args, By::Lex),
    ),
];

/// What a range goes by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// What a command's name says of its range; the rest is said by its options.
#[derive(Clone, Copy, Default)]
struct Form {
    by: Option<By>,
    reverse: Option<bool>,
}

/// A bound of scores, and whether it is outside the range itself.
#[derive(Clone, Copy, PartialEq, Debug)]
struct ScoreBound(f64, bool);

impl ScoreBound {
    fn parse(text: &[u8]) -> Result<ScoreBound, CommandError> {
        let (text, outside) = match text {
            [b'(', rest @ ..] => (rest, true),
            _ => (text, false),
        };
        // Redis reads nothing as 0 here.
        let text = if text.is_empty() { b"0" } else { text };
        let text = std::str::from_utf8(text).ok();
        let number =
            text.and_then(|text| text.parse().ok()).filter(|number: &f64| !number.is_nan());
        number.map(|number| ScoreBound(number, outside)).ok_or(CommandError::MinMaxFloat)
    }
}

/// A bound of members.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum LexBound<'a> {
    Least,
    Greatest,
    At(&'a [u8]),
    /// The member itself is outside.
    Beside(&'a [u8]),
}

impl<'a> LexBound<'a> {
    fn parse(text: &'a [u8]) -> Result<LexBound<'a>, CommandError> {
        match text {
            b"-" => Ok(LexBound::Least),
            b"+" => Ok(LexBound::Greatest),
            [b'[', member @ ..] => Ok(LexBound::At(member)),
            [b'(', member @ ..] => Ok(LexBound::Beside(member)),
            _ => Err(CommandError::MinMaxString),
        }
    }

    /// Whether `member` is before a range that begins here.
    fn is_after(self, member: &[u8]) -> bool {
        match self {
            LexBound::Least => false,
            LexBound::Greatest => true,
            LexBound::At(bound) => member < bound,
            LexBound::Beside(bound) => member <= bound,
        }
    }

    /// Whether `member` is within a range that ends here.
    fn ends_after(self, member: &[u8]) -> bool {
        match self {
            LexBound::Least => false,
            LexBound::Greatest => true,
            LexBound::At(bound) => member <= bound,
            LexBound::Beside(bound) => member < bound,
        }
    }
}

/// From where to where.
#[derive(Clone, Copy)]
enum Bounds<'a> {
    Ranks(i64, i64),
    Scores(ScoreBound, ScoreBound),
    Members(LexBound<'a>, LexBound<'a>),
}

impl<'a> Bounds<'a> {
    fn parse(by: By, (from, to): (&'a [u8], &'a [u8])) -> Result<Bounds<'a>, CommandError> {
        Ok(match by {
            By::Rank => {
                let rank =
                    |text| miso_protocol::integer::parse_i64(text).ok_or(CommandError::NotInteger);
                Bounds::Ranks(rank(from)?, rank(to)?)
            }
            By::Score => Bounds::Scores(ScoreBound::parse(from)?, ScoreBound::parse(to)?),
            By::Lex => Bounds::Members(LexBound::parse(from)?, LexBound::parse(to)?),
        })
    }

    /// The ranks of what is within, counted from the end if `reverse`. O(log N).
    fn ranks(&self, order: &Order, reverse: bool) -> Range<usize> {
        let len = order.len();
        let (from, to) = match *self {
            Bounds::Ranks(start, stop) => {
                let rank = |n: i64| if n < 0 { n.saturating_add(len as i64) } else { n };
                let from = rank(start).clamp(0, len as i64).unsigned_abs() as usize;
                let to = rank(stop).saturating_add(1).clamp(0, len as i64).unsigned_abs() as usize;
                let to = to.max(from);
                if reverse { (len - to, len - from) } else { (from, to) }
            }
            Bounds::Scores(least, most) => (
                order.partition_point(|score, _| score < least.0 || least.1 && score <= least.0),
                order.partition_point(|score, _| score < most.0 || !most.1 && score <= most.0),
            ),
            Bounds::Members(least, most) => (
                order.partition_point(|_, member| least.is_after(member)),
                order.partition_point(|_, member| most.ends_after(member)),
            ),
        };
        from..to.max(from)
    }
}

/// A range as a command says it.
struct Span<'a> {
    bounds: Bounds<'a>,
    reverse: bool,
    offset: i64,
    /// Negative for all.
    count: i64,
    with_scores: bool,
}

impl<'a> Span<'a> {
    /// Reads the bounds and options from the word at `from` on.
    fn parse(
        args: Args<'a>,
        from: usize,
        form: Form,
        stores: bool,
    ) -> Result<Span<'a>, CommandError> {
        let mut words = Words::from(args, from);
        let mut ends = (words.word()?, words.word()?);
        let (Form { mut by, mut reverse }, mut with_scores) = (form, false);
        let (mut offset, mut count) = (0, -1);
        while !words.is_empty() {
            if !stores && words.token("WITHSCORES") {
                with_scores = true;
            } else if words.token("LIMIT") {
                let limit = (words.word()?, words.word()?);
                let number =
                    |text| miso_protocol::integer::parse_i64(text).ok_or(CommandError::NotInteger);
                (offset, count) = (number(limit.0)?, number(limit.1)?);
            } else if reverse.is_none() && words.token("REV") {
                reverse = Some(true);
            } else if by.is_none() && words.token("BYLEX") {
                by = Some(By::Lex);
            } else if by.is_none() && words.token("BYSCORE") {
                by = Some(By::Score);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        let (by, reverse) = (by.unwrap_or(By::Rank), reverse.unwrap_or(false));
        if count != -1 && by == By::Rank {
            return Err(CommandError::LimitWithoutBy);
        }
        if with_scores && by == By::Lex {
            return Err(CommandError::WithScoresByLex);
        }
        if reverse && by != By::Rank {
            ends = (ends.1, ends.0);
        }
        let bounds = Bounds::parse(by, ends)?;
        Ok(Span { bounds, reverse, offset, count, with_scores })
    }

    /// The ranks of what is to be shown.
    fn ranks(&self, order: &Order) -> Range<usize> {
        let all = self.bounds.ranks(order, self.reverse);
        let skipped = usize::try_from(self.offset).unwrap_or(usize::MAX).min(all.len());
        let count = usize::try_from(self.count).unwrap_or(usize::MAX).min(all.len() - skipped);
        if self.reverse {
            all.end - skipped - count..all.end - skipped
        } else {
            all.start + skipped..all.start + skipped + count
        }
    }

    /// Visits what is to be shown, in its order.
    fn each(&self, order: &Order, mut visit: impl FnMut(f64, &[u8])) {
        let range = order.range(self.ranks(order));
        if self.reverse {
            range.rev().for_each(|(score, member)| visit(score, member));
        } else {
            range.for_each(|(score, member)| visit(score, member));
        }
    }
}

/// Writes the head of a list of members, with their scores or without.
pub(super) fn head(reply: &mut Reply<'_>, members: usize, with_scores: bool) {
    let flat = with_scores && reply.resp == Resp::V2;
    reply.array(if flat { 2 * members } else { members });
}

/// Writes a member of such a list.
pub(super) fn tell(reply: &mut Reply<'_>, (score, member): (f64, &[u8]), with_score: bool) {
    if with_score && reply.resp == Resp::V3 {
        reply.array(2);
    }
    reply.bulk(member);
    if with_score {
        reply.double(score);
    }
}

fn zrange(cx: &mut Context<'_>, args: Args<'_>, form: Form) -> Result<(), CommandError> {
    let span = Span::parse(args, 2, form, false)?;
    read::<kind::PlainZSet>(cx, &args[1], |zset, at, reply| {
        let Some(order) = zset.and_then(|zset| zset.order(at.now, at.writers)) else {
            reply.array(0);
            return false;
        };
        head(reply, span.ranks(&order).len(), span.with_scores);
        span.each(&order, |score, member| tell(reply, (score, member), span.with_scores));
        true
    })
}

/// Members with their scores.
pub(super) type Scored = Vec<(f64, Box<[u8]>)>;

/// Stores members in place of whatever plain data a key has; how many.
///
/// # Errors
/// If the key is an object with names.
pub(super) fn store(locked: &mut Locked<'_, '_>, members: &Scored) -> Result<i64, CommandError> {
    locked.check_plain()?;
    locked.delete();
    if !members.is_empty() {
        locked.replace::<kind::PlainZSet, _>(|zset, moment, mint, mut change| {
            for (score, member) in members {
                let set = (&**member, *score, Default::default());
                zset.set(set, moment, mint, change.as_deref_mut());
            }
        })?;
    }
    Ok(members.len() as i64)
}

fn zrangestore(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let span = Span::parse(args, 3, Form::default(), true)?;
    let (to, from) = (&args[1], &args[2]);
    check_key(cx, to)?;
    let stored = cx.with_keys([to, from].into_iter(), |held| {
        let now = held.function().now();
        let mut members = Scored::new();
        locked(held, (from, now), |locked| {
            let at = locked.at();
            let zset = locked.state::<kind::PlainZSet>()?;
            if let Some(order) = zset.and_then(|zset| zset.order(at.now, at.writers)) {
                span.each(&order, |score, member| members.push((score, Box::from(member))));
            }
            Ok::<_, CommandError>(())
        })?;
        locked(held, (to, now), |locked| store(locked, &members))
    })?;
    cx.reply.integer(stored);
    Ok(())
}

fn count(cx: &mut Context<'_>, args: Args<'_>, by: By) -> Result<(), CommandError> {
    let bounds = Bounds::parse(by, (&args[2], &args[3]))?;
    read::<kind::PlainZSet>(cx, &args[1], |zset, at, reply| {
        let order = zset.and_then(|zset| zset.order(at.now, at.writers));
        let count = order.as_ref().map_or(0, |order| bounds.ranks(order, false).len());
        reply.integer(count as i64);
        order.is_some()
    })
}

fn remove_range(cx: &mut Context<'_>, args: Args<'_>, by: By) -> Result<(), CommandError> {
    let bounds = Bounds::parse(by, (&args[2], &args[3]))?;
    let gone = with_key(cx, &args[1], |locked, _| {
        let at = locked.at();
        let zset = locked.state::<kind::PlainZSet>()?;
        let order = zset.and_then(|zset| zset.order(at.now, at.writers));
        let members: Vec<Box<[u8]>> = order.as_ref().map_or_else(Vec::new, |order| {
            let range = order.range(bounds.ranks(order, false));
            range.map(|(_, member)| Box::from(member)).collect()
        });
        drop(order);
        if members.is_empty() {
            return Ok(0);
        }
        remove(locked, members.iter().map(|member| &**member))
    })?;
    cx.reply.integer(gone);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read_as_redis_reads_them() {
        assert_eq!(ScoreBound::parse(b"(1.5"), Ok(ScoreBound(1.5, true)));
        assert_eq!(ScoreBound::parse(b"-inf"), Ok(ScoreBound(f64::NEG_INFINITY, false)));
        assert_eq!(ScoreBound::parse(b"("), Ok(ScoreBound(0.0, true)));
        for text in ["nan", "x", "1x", "((1"] {
            assert_eq!(
                ScoreBound::parse(text.as_bytes()),
                Err(CommandError::MinMaxFloat),
                "{text}"
            );
        }
        assert_eq!(LexBound::parse(b"[a"), Ok(LexBound::At(b"a")));
        assert_eq!(LexBound::parse(b"("), Ok(LexBound::Beside(b"")));
        for text in ["", "a", "-a", "++"] {
            assert_eq!(LexBound::parse(text.as_bytes()), Err(CommandError::MinMaxString), "{text}");
        }
    }
}
