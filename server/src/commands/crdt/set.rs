//! GSET and ORSET.

use miso_protocol::command::{Arg, Group, KeyFlags, NAME, OBJECT, Row};
use miso_protocol::integer;
use miso_protocol::request::Args;
use miso_store::crdt::table::Header;
use miso_store::crdt::{Kind, Set, Table, kind};

use crate::commands::access::{modify, read, write};
use crate::commands::scan::{COUNT, CURSOR, MATCH, Scan, ScanReply};
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const MEMBER: Arg = Arg::string("member");
const MEMBERS: Arg = Arg::string("member").multiple();

/// A block, since Redis answers more words with a syntax error, not with a wrong number.
const COUNT_ARG: Arg = Arg::block("count", &[Arg::integer("count")]).optional();

/// How many members RANDMEMBER repeats at most, so that one command cannot fill the memory.
pub(crate) const REPEATS_MAX: u64 = 1 << 20;

/// The rows that both kinds of set have.
macro_rules! rows {
    ($prefix:literal, $kind:ident, $name:literal) => {
        [
            Command::new(
                Row::command(concat!($prefix, ".ADD"))
                    .args(&[OBJECT.with_key_flags(KeyFlags::INSERTED), NAME, MEMBERS])
                    .group(Group::$kind)
                    .writes()
                    .fast()
                    .complexity("O(1) for each member")
                    .summary("Adds members to a set")
                    .reply("Integer: how many were new on this node")
                    .example(&[(
                        concat!($prefix, ".ADD post ", $name, " red green"),
                        "(integer) 2",
                    )]),
                add::<kind::$kind>,
            ),
            Command::new(
                Row::command(concat!($prefix, ".MEMBERS"))
                    .args(&[OBJECT, NAME])
                    .group(Group::$kind)
                    .reads()
                    .complexity("O(N) with N members")
                    .summary("All members of a set")
                    .reply("Array of the members (RESP3: set); empty if it is absent")
                    .example(&[(
                        concat!($prefix, ".MEMBERS post ", $name, ""),
                        "1) \"red\"\n2) \"green\"",
                    )]),
                members::<kind::$kind>,
            ),
            Command::new(
                Row::command(concat!($prefix, ".ISMEMBER"))
                    .args(&[OBJECT, NAME, MEMBER])
                    .group(Group::$kind)
                    .reads()
                    .fast()
                    .summary("Whether a member is in a set")
                    .reply("Integer: 1 or 0")
                    .example(&[(
                        concat!($prefix, ".ISMEMBER post ", $name, " red"),
                        "(integer) 1",
                    )]),
                is_member::<kind::$kind>,
            ),
            Command::new(
                Row::command(concat!($prefix, ".MISMEMBER"))
                    .args(&[OBJECT, NAME, MEMBERS])
                    .group(Group::$kind)
                    .reads()
                    .fast()
                    .complexity("O(N) with N members asked for")
                    .summary("Whether each of several members is in a set")
                    .reply("Array of integers 1 or 0, in the order of the members")
                    .example(&[(
                        concat!($prefix, ".MISMEMBER post ", $name, " red blue"),
                        "1) (integer) 1\n2) (integer) 0",
                    )]),
                mis_member::<kind::$kind>,
            ),
            Command::new(
                Row::command(concat!($prefix, ".CARD"))
                    .args(&[OBJECT, NAME])
                    .group(Group::$kind)
                    .reads()
                    .fast()
                    .summary("How many members a set has")
                    .reply("Integer: 0 if it is absent")
                    .example(&[(concat!($prefix, ".CARD post ", $name, ""), "(integer) 2")]),
                card::<kind::$kind>,
            ),
            Command::new(
                Row::command(concat!($prefix, ".SCAN"))
                    .args(&[OBJECT, NAME, CURSOR, MATCH, COUNT])
                    .group(Group::$kind)
                    .reads()
                    .complexity("O(1) for each call")
                    .summary(
                        "Walks a set step by step; members that stay in it throughout \
                         are returned",
                    )
                    .reply("Array of the cursor to go on from (0 at the end) and the members")
                    .example(&[(
                        concat!($prefix, ".SCAN post ", $name, " 0 MATCH r*"),
                        "1) \"0\"\n2) 1) \"red\"",
                    )]),
                scan::<kind::$kind>,
            ),
            Command::new(
                Row::command(concat!($prefix, ".RANDMEMBER"))
                    .args(&[OBJECT, NAME, COUNT_ARG])
                    .group(Group::$kind)
                    .reads()
                    .complexity("O(N) with N members returned")
                    .summary(
                        "Random members of a set: distinct, or with repeats if count is \
                         negative",
                    )
                    .reply("Bulk string or nil; with a count an array")
                    .example(&[(concat!($prefix, ".RANDMEMBER post ", $name, ""), "\"green\"")]),
                rand_member::<kind::$kind>,
            ),
        ]
    };
}

pub(crate) const GSET: &[Command] = &rows!("GSET", GSet, "readers");

pub(crate) const ORSET: &[Command] = &rows!("ORSET", OrSet, "tags");

pub(crate) const ORSET_REMOVALS: &[Command] = &[
    Command::new(
        Row::command("ORSET.REM")
            .args(&[OBJECT, NAME, MEMBERS])
            .group(Group::OrSet)
            .deletes()
            .fast()
            .complexity("O(1) for each member")
            .summary(
                "Removes members as far as this node has seen them; a concurrent \
                 add wins",
            )
            .reply("Integer: how many were removed")
            .example(&[("ORSET.REM post tags red blue", "(integer) 1")]),
        rem,
    ),
    Command::new(
        Row::command("ORSET.CLEAR")
            .args(&[OBJECT, NAME])
            .group(Group::OrSet)
            .deletes()
            .complexity("O(N) with N members here, O(1) on the wire")
            .summary("Removes all members that this node has seen")
            .reply("Integer: how many were removed")
            .example(&[("ORSET.CLEAR post tags", "(integer) 1")]),
        clear,
    ),
];

fn add<K: Kind<State = Box<Set>>>(
    cx: &mut Context<'_>,
    args: Args<'_>,
) -> Result<(), CommandError> {
    let new = write::<K, _>(cx, args, |set, mint, mut change| {
        let mut new = 0;
        for member in args.tail(3).iter() {
            new += i64::from(set.add(member, mint, change.as_deref_mut()));
        }
        new
    })?;
    cx.reply.integer(new);
    Ok(())
}

fn rem(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let removed = modify::<kind::OrSet, _>(cx, args, |set, mint, mut change| {
        let mut removed = 0;
        for member in args.tail(3).iter() {
            removed += i64::from(set.remove(member, mint, change.as_deref_mut()));
        }
        removed
    })?;
    cx.reply.integer(removed.unwrap_or(0));
    Ok(())
}

fn clear(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let context = cx.function().context();
    let removed =
        modify::<kind::OrSet, _>(cx, args, |set, mint, change| set.clear(&context, mint, change))?;
    cx.reply.integer(removed.unwrap_or(0) as i64);
    Ok(())
}

fn members<K: Kind<State = Box<Set>>>(
    cx: &mut Context<'_>,
    args: Args<'_>,
) -> Result<(), CommandError> {
    read::<K>(cx, args, |set, _, reply| {
        reply.set(set.map_or(0, |set| set.len()));
        for (member, _) in set.iter().flat_map(|set| set.elements().iter()) {
            reply.bulk(member);
        }
    })
}

fn is_member<K: Kind<State = Box<Set>>>(
    cx: &mut Context<'_>,
    args: Args<'_>,
) -> Result<(), CommandError> {
    read::<K>(cx, args, |set, _, reply| {
        reply.integer(i64::from(set.is_some_and(|set| set.contains(&args[3]))));
    })
}

fn mis_member<K: Kind<State = Box<Set>>>(
    cx: &mut Context<'_>,
    args: Args<'_>,
) -> Result<(), CommandError> {
    read::<K>(cx, args, |set, _, reply| {
        reply.array(args.len() - 3);
        for member in args.tail(3).iter() {
            reply.integer(i64::from(set.is_some_and(|set| set.contains(member))));
        }
    })
}

fn card<K: Kind<State = Box<Set>>>(
    cx: &mut Context<'_>,
    args: Args<'_>,
) -> Result<(), CommandError> {
    read::<K>(cx, args, |set, _, reply| reply.integer(set.map_or(0, |set| set.len()) as i64))
}

fn scan<K: Kind<State = Box<Set>>>(
    cx: &mut Context<'_>,
    args: Args<'_>,
) -> Result<(), CommandError> {
    let scan = Scan::parse(args, 3, false)?;
    read::<K>(cx, args, |set, _, reply| {
        let mut found = ScanReply::new();
        let cursor = set.map_or(0, |set| {
            set.elements().scan(scan.cursor, scan.count, |member, _| {
                if scan.matches(member) {
                    found.push(member, reply);
                }
            })
        });
        found.reply(cursor, reply);
    })
}

fn rand_member<K: Kind<State = Box<Set>>>(
    cx: &mut Context<'_>,
    args: Args<'_>,
) -> Result<(), CommandError> {
    if args.len() > 4 {
        return Err(CommandError::Syntax);
    }
    let count = args.get(3).map(|arg| integer::parse_i64(arg).ok_or(CommandError::NotInteger));
    let count = count.transpose()?;
    if count.is_some_and(|count| count < 0 && count.unsigned_abs() > REPEATS_MAX) {
        return Err(CommandError::OutOfRange);
    }
    read::<K>(cx, args, |set, _, reply| {
        let elements = set.map(|set| set.elements());
        match count {
            None => match elements.and_then(|elements| elements.random(|| fastrand::u64(..))) {
                Some((member, _)) => reply.bulk(member),
                None => reply.null(),
            },
            Some(count) => {
                let picked = elements.map_or_else(Vec::new, |elements| pick(elements, count));
                reply.array(picked.len());
                picked.into_iter().for_each(|member| reply.bulk(member));
            }
        }
    })
}

/// `count` distinct members, or with repeats if it is negative.
pub(crate) fn pick<H: Header>(elements: &Table<H>, count: i64) -> Vec<&[u8]> {
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    if count < 0 {
        let one = || elements.random(|| fastrand::u64(..)).map(|(member, _)| member);
        return std::iter::repeat_with(one).take(wanted).flatten().collect();
    }
    if wanted.saturating_mul(3) > elements.len() {
        // Most of them: shuffle all rather than wait for the last ones to turn up.
        let mut all: Vec<&[u8]> = elements.iter().map(|(member, _)| member).collect();
        fastrand::shuffle(&mut all);
        all.truncate(wanted);
        return all;
    }
    let mut picked = std::collections::HashSet::with_capacity(wanted);
    while picked.len() < wanted {
        picked.extend(elements.random(|| fastrand::u64(..)).map(|(member, _)| member));
    }
    picked.into_iter().collect()
}
