//! Sorted sets: union, intersection and difference, of sets too.

use std::collections::HashMap;

use miso_protocol::command::{Arg, Flags, Group, Row};
use miso_protocol::integer::parse_i64;
use miso_protocol::request::Args;
use miso_store::crdt::{Value, kind};
use miso_store::{Held, Shown};

use super::string_many::locked;
use super::zset_range::{Scored, head, store, tell};
use crate::commands::access::check_key;
use crate::commands::args::Words;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const DESTINATION: Arg = Arg::key("destination").written();
const NUMKEYS: Arg = Arg::integer("numkeys");
const KEYS: Arg = Arg::key("key").read().counted_by("numkeys");
const WEIGHTS: Arg = Arg::double("weight").with_token("WEIGHTS").multiple().optional();
const AGGREGATE: Arg =
    Arg::one_of("aggregate", &[Arg::token("SUM"), Arg::token("MIN"), Arg::token("MAX")])
        .with_token("AGGREGATE")
        .optional();
const WITH_SCORES: Arg = Arg::token("WITHSCORES").optional();
const SORTS: &str = "O(N + M log M) with N members in all sets and M of the result";
const MEMBERS: &str = "Array of members in the order of their scores, with them if told";

/// A row that tells a result.
const fn telling(name: &'static str, args: &'static [Arg], summary: &'static str) -> Row {
    Row::command(name)
        .args(args)
        .group(Group::SortedSet)
        .reads()
        .complexity(SORTS)
        .summary(summary)
        .reply(MEMBERS)
}

/// A row that stores a result.
const fn storing(name: &'static str, args: &'static [Arg], summary: &'static str) -> Row {
    Row::command(name)
        .args(args)
        .group(Group::SortedSet)
        .writes()
        .flags(Flags::RESETS)
        .complexity(SORTS)
        .decides_here("what the result is; of two results stored at once both stay")
        .summary(summary)
        .reply("Integer: how many members were stored")
}

pub(crate) const SORTED_SETS: &[Command] = &[
    Command::new(
        telling(
            "ZUNION",
            &[NUMKEYS, KEYS, WEIGHTS, AGGREGATE, WITH_SCORES],
            "The members of any of several sorted sets",
        ),
        |cx, args| show(cx, args, ("zunion", Op::Union)),
    ),
    Command::new(
        telling(
            "ZINTER",
            &[NUMKEYS, KEYS, WEIGHTS, AGGREGATE, WITH_SCORES],
            "The members that several sorted sets have in common",
        ),
        |cx, args| show(cx, args, ("zinter", Op::Inter)),
    ),
    Command::new(
        telling(
            "ZDIFF",
            &[NUMKEYS, KEYS, WITH_SCORES],
            "The members of the first sorted set that no other has",
        ),
        |cx, args| show(cx, args, ("zdiff", Op::Diff)),
    ),
    Command::new(
        storing(
            "ZUNIONSTORE",
            &[DESTINATION, NUMKEYS, KEYS, WEIGHTS, AGGREGATE],
            "Stores the union of several sorted sets, in place of what is there",
        ),
        |cx, args| keep(cx, args, ("zunionstore", Op::Union)),
    ),
    Command::new(
        storing(
            "ZINTERSTORE",
            &[DESTINATION, NUMKEYS, KEYS, WEIGHTS, AGGREGATE],
            "Stores the intersection of several sorted sets, in place of what is there",
        ),
        |cx, args| keep(cx, args, ("zinterstore", Op::Inter)),
    ),
    Command::new(
        storing(
            "ZDIFFSTORE",
            &[DESTINATION, NUMKEYS, KEYS],
            "Stores the difference of several sorted sets, in place of what is there",
        ),
        |cx, args| keep(cx, args, ("zdiffstore", Op::Diff)),
    ),
    Command::new(
        telling(
            "ZINTERCARD",
            &[NUMKEYS, KEYS, Arg::integer("limit").with_token("LIMIT").optional()],
            "How many members several sorted sets have in common, up to a limit",
        )
        .complexity("O(N) with N members in all sets")
        .reply("Integer"),
        zintercard,
    ),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Op {
    Union,
    Inter,
    Diff,
}

/// What becomes of several scores of one member.
#[derive(Clone, Copy, Default)]
enum Aggregate {
    #[default]
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn of(self, a: f64, b: f64) -> f64 {
        match self {
            Aggregate::Sum => number(a + b),
            // What is no number leaves the other as it is.
            Aggregate::Min => a.min(b),
            Aggregate::Max => a.max(b),
        }
    }
}

/// Infinities that cancel out, or are taken zero times, are 0.
fn number(n: f64) -> f64 {
    if n.is_nan() { 0.0 } else { n }
}

/// A command's inputs and options.
struct Inputs<'a> {
    keys: Vec<&'a [u8]>,
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
    limit: usize,
}

/// Which options a command takes besides WEIGHTS and AGGREGATE.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Members,
    Stored,
    Count,
}

impl<'a> Inputs<'a> {
    /// Reads `numkeys key [key ...]` and options from the word at `at` on.
    ///
    /// # Errors
    /// What is wrong with them. As in Redis, a key of another type is wrong before the words after the keys are.
    fn parse(
        cx: &mut Context<'_>,
        args: Args<'a>,
        at: usize,
        (name, op): (&str, Op),
        answer: Answer,
    ) -> Result<Inputs<'a>, CommandError> {
        let mut words = Words::from(args, at);
        let count = words.integer()?;
        if count < 1 {
            return Err(CommandError::NoInputKeys(name.into()));
        }
        let count = count.unsigned_abs() as usize;
        if count > args.len() - at - 1 {
            return Err(CommandError::Syntax);
        }
        let keys = (0..count).map(|_| words.word()).collect::<Result<Vec<_>, _>>()?;
        let weights = vec![1.0; count];
        let mut inputs = Inputs {
            keys,
            weights,
            aggregate: Aggregate::Sum,
            with_scores: false,
            limit: usize::MAX,
        };
        inputs
            .options(words, op, answer)
            .map_err(|error| inputs.wrong_type(cx).unwrap_or(error))?;
        Ok(inputs)
    }

    /// The error about the first key that is neither a set nor a sorted set.
    fn wrong_type(&self, cx: &mut Context<'_>) -> Option<CommandError> {
        cx.with_keys(self.keys.iter().copied(), |held| {
            let now = held.function().now();
            self.keys.iter().find_map(|key| members(held, (key, now)).err())
        })
    }

    /// Reads the words after the keys.
    fn options(
        &mut self,
        mut words: Words<'a>,
        op: Op,
        answer: Answer,
    ) -> Result<(), CommandError> {
        let inputs = self;
        let weighs = op != Op::Diff && answer != Answer::Count;
        while !words.is_empty() {
            if weighs && words.token("WEIGHTS") {
                for weight in &mut inputs.weights {
                    let text = words.word()?;
                    *weight =
                        super::access::float(text).map_err(|_| CommandError::WeightNotFloat)?;
                }
            } else if weighs && words.token("AGGREGATE") {
                inputs.aggregate = if words.token("SUM") {
                    Aggregate::Sum
                } else if words.token("MIN") {
                    Aggregate::Min
                } else if words.token("MAX") {
                    Aggregate::Max
                } else {
                    return Err(CommandError::Syntax);
                };
            } else if answer == Answer::Members && words.token("WITHSCORES") {
                inputs.with_scores = true;
            } else if answer == Answer::Count
                && let Some(limit) = words.option("LIMIT")?
            {
                let limit = parse_i64(limit).filter(|limit| *limit >= 0);
                match limit.ok_or(CommandError::NegativeLimit)?.unsigned_abs() as usize {
                    0 => inputs.limit = usize::MAX,
                    limit => inputs.limit = limit,
                }
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(())
    }

    /// The result, in the order of scores.
    fn compute(&self, held: &mut Held<'_>, op: Op) -> Result<Scored, CommandError> {
        let now = held.function().now();
        let mut sources = Vec::with_capacity(self.keys.len());
        for (key, weight) in self.keys.iter().zip(&self.weights) {
            sources.push((members(held, (key, now))?, *weight));
        }
        if op != Op::Diff {
            // As in Redis, the smallest comes first: sums of fractions depend on their order.
            sources.sort_by_key(|(members, _)| members.len());
        }
        let mut all: HashMap<Box<[u8]>, (f64, usize)> = HashMap::new();
        let last = sources.len();
        for (round, (members, weight)) in sources.into_iter().enumerate() {
            for (score, member) in members {
                let score = score * weight;
                // As in Redis, the first of an intersection alone is made a number before it is joined.
                let score = if op == Op::Inter && round > 0 { score } else { number(score) };
                match (op, all.get_mut(&member)) {
                    (Op::Diff, Some(_)) if round > 0 => _ = all.remove(&member),
                    (Op::Diff, None) if round > 0 => {}
                    (Op::Inter, None) if round > 0 => {}
                    (_, Some((sum, rounds))) => {
                        // What an earlier set lacks is out for good.
                        if op == Op::Union || *rounds == round {
                            (*sum, *rounds) = (self.aggregate.of(*sum, score), round + 1);
                        }
                    }
                    (_, None) => _ = all.insert(member, (score, round + 1)),
                }
            }
        }
        let kept = all.into_iter().filter(|(_, (_, rounds))| op != Op::Inter || *rounds == last);
        let mut result: Scored = kept.map(|(member, (score, _))| (score, member)).collect();
        result.sort_unstable_by(|(a, x), (b, y)| {
            a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal).then_with(|| x.cmp(y))
        });
        Ok(result)
    }
}

/// The members of a sorted set, or of a set, each with 1.
fn members(held: &mut Held<'_>, (key, now): (&[u8], u64)) -> Result<Scored, CommandError> {
    locked(held, (key, now), |locked| {
        let at = locked.at();
        match locked.shard.shown(locked.hash, key, now) {
            None => Ok(Scored::new()),
            Some(Shown::Plain(Value::PlainSet(set))) => {
                let members = set.iter(at.now, at.writers);
                Ok(members.map(|(member, _)| (1.0, Box::from(member))).collect())
            }
            Some(_) => {
                let zset = locked.state::<kind::PlainZSet>()?;
                let order = zset.and_then(|zset| zset.order(at.now, at.writers));
                Ok(order.as_ref().map_or_else(Scored::new, |order| {
                    let all = order.range(0..order.len());
                    all.map(|(score, member)| (score, Box::from(member))).collect()
                }))
            }
        }
    })
}

fn show(cx: &mut Context<'_>, args: Args<'_>, what: (&str, Op)) -> Result<(), CommandError> {
    let inputs = Inputs::parse(cx, args, 1, what, Answer::Members)?;
    let result = cx.with_keys(inputs.keys.iter().copied(), |held| inputs.compute(held, what.1))?;
    let reply = &mut cx.reply;
    head(reply, result.len(), inputs.with_scores);
    for (score, member) in &result {
        tell(reply, (*score, member), inputs.with_scores);
    }
    Ok(())
}

fn keep(cx: &mut Context<'_>, args: Args<'_>, what: (&str, Op)) -> Result<(), CommandError> {
    let to = &args[1];
    check_key(cx, to)?;
    let inputs = Inputs::parse(cx, args, 2, what, Answer::Stored)?;
    let keys = inputs.keys.iter().copied().chain([to]);
    let stored = cx.with_keys(keys, |held| {
        let result = inputs.compute(held, what.1)?;
        let now = held.function().now();
        locked(held, (to, now), |locked| store(locked, &result))
    })?;
    cx.reply.integer(stored);
    Ok(())
}

fn zintercard(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let inputs = Inputs::parse(cx, args, 1, ("zintercard", Op::Inter), Answer::Count)?;
    let result =
        cx.with_keys(inputs.keys.iter().copied(), |held| inputs.compute(held, Op::Inter))?;
    cx.reply.integer(result.len().min(inputs.limit) as i64);
    Ok(())
}
