//! SORT and SORT_RO: the members of a set or a sorted set in order.

use std::borrow::Cow;
use std::cmp::Ordering;

use miso_protocol::command::{Arg, Categories, Group, KeyFlags, Row};
use miso_protocol::request::Args;
use miso_store::crdt::{Value, kind};
use miso_store::{Held, Shown};

use super::access::float;
use super::string_many::locked;
use crate::commands::args::Words;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

/// The key, and others that its members name with BY and GET.
const KEY: Arg = Arg::key("key").with_key_flags(KeyFlags::READ.with(KeyFlags::INCOMPLETE));
const BY: Arg = Arg::pattern("by-pattern").with_token("BY").optional();
const LIMIT: Arg = Arg::block("limit", &[Arg::integer("offset"), Arg::integer("count")])
    .with_token("LIMIT")
    .optional();
const GET: Arg =
    Arg::pattern("get-pattern").with_token("GET").optional().multiple().multiple_token();
const ORDER: Arg = Arg::one_of("order", &[Arg::token("ASC"), Arg::token("DESC")]).optional();
const ALPHA: Arg = Arg::token("ALPHA").optional();

const fn row(name: &'static str, args: &'static [Arg]) -> Row {
    Row::command(name)
        .args(args)
        .group(Group::Keyspace)
        .reads()
        .categories(Categories::SET.with(Categories::SORTEDSET).with(Categories::DANGEROUS))
        .complexity("O(N+M*log(M)) with N members, of which M are answered")
        .reply("Array of members, or of what GET names")
}

pub(crate) const SORTS: &[Command] = &[
    Command::new(
        row("SORT", &[KEY, BY, LIMIT, GET, ORDER, ALPHA]).summary(
            "The members of a set or a sorted set in order; STORE is refused, since it makes a list",
        ),
        |cx, args| sort(cx, args, true),
    ),
    Command::new(
        row("SORT_RO", &[KEY, BY, LIMIT, GET, ORDER, ALPHA])
            .summary("The members of a set or a sorted set in order"),
        |cx, args| sort(cx, args, false),
    ),
];

/// What to answer, and in which order.
#[derive(Default)]
struct Wanted<'a> {
    by: Option<&'a [u8]>,
    gets: Vec<&'a [u8]>,
    limit: Option<(i64, i64)>,
    descending: bool,
    alpha: bool,
}

impl<'a> Wanted<'a> {
    fn of(args: Args<'a>, knows_store: bool) -> Result<Wanted<'a>, CommandError> {
        let mut wanted = Wanted::default();
        let mut stores = false;
        let mut words = Words::from(args, 2);
        while !words.is_empty() {
            if words.token("ASC") {
                wanted.descending = false;
            } else if words.token("DESC") {
                wanted.descending = true;
            } else if words.token("ALPHA") {
                wanted.alpha = true;
            } else if words.token("LIMIT") {
                wanted.limit = Some((words.integer()?, words.integer()?));
            } else if let Some(pattern) = words.option("BY")? {
                wanted.by = Some(pattern);
            } else if let Some(pattern) = words.option("GET")? {
                wanted.gets.push(pattern);
            } else if knows_store && words.option("STORE")?.is_some() {
                stores = true;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        if stores { Err(CommandError::SortStore) } else { Ok(wanted) }
    }

    /// Whether members stay in the order in which they are kept: BY names no key.
    fn keeps_order(&self) -> bool {
        self.by.is_some_and(|by| !by.contains(&b'*'))
    }

    /// Whether other keys are read.
    fn reads_others(&self) -> bool {
        self.by.iter().chain(&self.gets).any(|pattern| pattern.contains(&b'*'))
    }

    /// The first and the end of what is answered of `count` members.
    fn range(&self, count: usize) -> std::ops::Range<usize> {
        let Some((offset, limit)) = self.limit else { return 0..count };
        let start = usize::try_from(offset).unwrap_or(0).min(count);
        let end = match usize::try_from(limit) {
            Ok(limit) => start.saturating_add(limit).min(count),
            Err(_) => count,
        };
        start..end
    }
}

fn sort(cx: &mut Context<'_>, args: Args<'_>, knows_store: bool) -> Result<(), CommandError> {
    let wanted = Wanted::of(args, knows_store)?;
    if wanted.reads_others() {
        let user = cx.session.user.as_ref();
        let command = cx.node.table.find(&args[0]).unwrap_or_default();
        if user.is_some_and(|user| !user.may_read_all_keys(command)) {
            let option = if wanted.by.is_some_and(|by| by.contains(&b'*')) { "BY" } else { "GET" };
            return Err(CommandError::SortDenied(option.into()));
        }
    }
    let key = &args[1];
    let answer = if wanted.reads_others() {
        cx.with_all(|held| sorted(held, key, &wanted))
    } else {
        cx.with_keys(std::iter::once(key), |held| sorted(held, key, &wanted))
    }?;
    cx.reply.array(answer.len());
    for value in &answer {
        match value {
            Some(value) => cx.reply.bulk(value),
            None => cx.reply.null(),
        }
    }
    Ok(())
}

type Answer = Vec<Option<Vec<u8>>>;

fn sorted(held: &mut Held<'_>, key: &[u8], wanted: &Wanted<'_>) -> Result<Answer, CommandError> {
    let mut all = members(held, key, wanted)?;
    if !wanted.keeps_order() {
        order(held, &mut all, wanted)?;
    }
    let range = wanted.range(all.len());
    let mut answer = Answer::new();
    for member in all.drain(range) {
        if wanted.gets.is_empty() {
            answer.push(Some(member));
            continue;
        }
        for get in &wanted.gets {
            answer.push(if *get == b"#" {
                Some(member.clone())
            } else {
                look_up(held, get, &member)
            });
        }
    }
    Ok(answer)
}

/// The members as they are kept: those of a sorted set by their scores.
fn members(
    held: &mut Held<'_>,
    key: &[u8],
    wanted: &Wanted<'_>,
) -> Result<Vec<Vec<u8>>, CommandError> {
    let now = held.function().now();
    locked(held, (key, now), |locked| {
        let writers = locked.at().writers;
        match locked.shard.shown(locked.hash, key, now) {
            None => Ok(Vec::new()),
            Some(Shown::Plain(Value::PlainSet(set))) => {
                Ok(set.iter(now, writers).map(|(member, _)| member.to_vec()).collect())
            }
            Some(Shown::Plain(Value::PlainZSet(zset))) => {
                let order = zset.order(now, writers);
                let members = order.iter().flat_map(|order| order.range(0..order.len()));
                let mut all: Vec<Vec<u8>> = members.map(|(_, member)| member.to_vec()).collect();
                if wanted.descending && wanted.keeps_order() {
                    all.reverse();
                }
                Ok(all)
            }
            // Another type, said in the words that fit it.
            Some(_) => match locked.state::<kind::PlainSet>() {
                Ok(_) => Ok(Vec::new()),
                Err(error) => Err(error),
            },
        }
    })
}

/// Puts members in the order that is wanted.
fn order(
    held: &mut Held<'_>,
    all: &mut Vec<Vec<u8>>,
    wanted: &Wanted<'_>,
) -> Result<(), CommandError> {
    let mut weight = |member: &Vec<u8>| match wanted.by {
        None => Some(member.clone()),
        Some(by) => look_up(held, by, member),
    };
    let turned = |ordering: Ordering| if wanted.descending { ordering.reverse() } else { ordering };
    if wanted.alpha {
        // What has no weight comes first.
        all.sort_by_cached_key(|member| weight(member));
        if wanted.descending {
            all.reverse();
        }
        return Ok(());
    }
    let weighed = all.drain(..).map(|member| {
        let weight = weight(&member).map_or(Ok(0.0), |text| number(&text))?;
        Ok((weight, member))
    });
    let mut weighed = weighed.collect::<Result<Vec<(f64, Vec<u8>)>, CommandError>>()?;
    weighed.sort_unstable_by(|a, b| {
        let ordering = a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal);
        turned(ordering.then_with(|| a.1.cmp(&b.1)))
    });
    all.extend(weighed.into_iter().map(|(_, member)| member));
    Ok(())
}

/// A weight as Redis reads it: a text of C, which ends with its first zero, and 0 if it is empty.
fn number(text: &[u8]) -> Result<f64, CommandError> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Ok(0.0);
    }
    float(text).map_err(|_| CommandError::SortNumber)
}

/// What a pattern names for a member: the string, or the field after `->`, of the key that the pattern is with the
/// member in place of its first `*`. None if it names none.
fn look_up(held: &mut Held<'_>, pattern: &[u8], member: &[u8]) -> Option<Vec<u8>> {
    if pattern == b"#" {
        return Some(member.to_vec());
    }
    let star = pattern.iter().position(|byte| *byte == b'*')?;
    let (before, after) = (&pattern[..star], &pattern[star + 1..]);
    let arrow = after.windows(2).position(|part| part == b"->");
    let field = arrow.map(|at| &after[at + 2..]).filter(|field| !field.is_empty());
    let after = match (arrow, field) {
        (Some(at), Some(_)) => &after[..at],
        _ => after,
    };
    let key = [before, member, after].concat();
    let now = held.function().now();
    locked(held, (&key, now), |locked| {
        let writers = locked.at().writers;
        match field {
            Some(field) => {
                let hash = locked.state::<kind::PlainHash>().ok().flatten()?;
                hash.get(field, now, writers).map(Cow::into_owned)
            }
            None => {
                let string = locked.state::<kind::PlainString>().ok().flatten()?;
                string.get(now, writers).map(Cow::into_owned)
            }
        }
    })
}
