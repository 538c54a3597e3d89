//! Deadlines of keys.

use miso_protocol::command::{Arg, Flags, Group, Row, Until};
use miso_protocol::integer::parse_i64;
use miso_protocol::request::Args;
use miso_store::Shown;
use miso_store::crdt::plain::{FOREVER, deadline};

use super::access::with_key;
use crate::commands::args::Words;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const KEY: Arg = Arg::key("key");
const CONDITION: Arg = Arg::one_of(
    "condition",
    &[Arg::token("NX"), Arg::token("XX"), Arg::token("GT"), Arg::token("LT")],
)
.optional();
const LONGEST: &str = "of concurrent ones the longest; NX, XX, GT and LT decide here";

/// The row of a command that sets a deadline.
const fn setting(name: &'static str, args: &'static [Arg], summary: &'static str) -> Row {
    Row::command(name)
        .args(args)
        .group(Group::Keyspace)
        .deletes()
        .fast()
        .flags(Flags::RESETS)
        .decides_with(&["NX", "XX", "GT", "LT"], 3, Until::End)
        .merges(LONGEST)
        .summary(summary)
        .reply("Integer: 1, or 0 if the key is absent or the condition does not hold")
}

/// The row of a command that tells a deadline.
const fn telling(name: &'static str, summary: &'static str) -> Row {
    Row::command(name)
        .args(&[KEY])
        .group(Group::Keyspace)
        .reads()
        .fast()
        .summary(summary)
        .reply("Integer: -1 if it has no deadline, -2 if it is absent")
}

pub(crate) const DEADLINES: &[Command] = &[
    Command::new(
        setting(
            "EXPIRE",
            &[KEY.read_written(), Arg::integer("seconds"), CONDITION],
            "Lets a key expire after some seconds",
        )
        .example(&[("SET greeting hello", "OK"), ("EXPIRE greeting 60", "(integer) 1")]),
        |cx, args| expire(cx, args, ("expire", true, false)),
    ),
    Command::new(
        setting(
            "PEXPIRE",
            &[KEY.read_written(), Arg::integer("milliseconds"), CONDITION],
            "Lets a key expire after some milliseconds",
        ),
        |cx, args| expire(cx, args, ("pexpire", false, false)),
    ),
    Command::new(
        setting(
            "EXPIREAT",
            &[KEY.read_written(), Arg::integer("unix-time-seconds"), CONDITION],
            "Lets a key expire at a time, in seconds since 1970",
        ),
        |cx, args| expire(cx, args, ("expireat", true, true)),
    ),
    Command::new(
        setting(
            "PEXPIREAT",
            &[KEY.read_written(), Arg::integer("unix-time-milliseconds"), CONDITION],
            "Lets a key expire at a time, in milliseconds since 1970",
        ),
        |cx, args| expire(cx, args, ("pexpireat", false, true)),
    ),
    Command::new(
        Row::command("PERSIST")
            .args(&[KEY.read_written()])
            .group(Group::Keyspace)
            .deletes()
            .fast()
            .merges("a key that was made persistent stays, whatever deadline was set concurrently")
            .summary("Takes the deadline of a key away")
            .reply("Integer: 1, or 0 if the key is absent or has no deadline"),
        persist,
    ),
    Command::new(
        telling("TTL", "Seconds until a key expires").example(&[("TTL greeting", "(integer) 60")]),
        |cx, args| tell(cx, args, |at, now| seconds(at - now)),
    ),
    Command::new(telling("PTTL", "Milliseconds until a key expires"), |cx, args| {
        tell(cx, args, |at, now| at - now)
    }),
    Command::new(telling("EXPIRETIME", "When a key expires, in seconds since 1970"), |cx, args| {
        tell(cx, args, |at, _| seconds(at))
    }),
    Command::new(
        telling("PEXPIRETIME", "When a key expires, in milliseconds since 1970"),
        |cx, args| tell(cx, args, |at, _| at),
    ),
];

/// Milliseconds in the nearest seconds.
fn seconds(ms: u64) -> u64 {
    ms.saturating_add(500) / 1_000
}

/// The conditions of EXPIRE and its like.
#[derive(Default)]
struct Conditions {
    absent: bool,
    present: bool,
    greater: bool,
    less: bool,
}

impl Conditions {
    fn parse(args: Args<'_>) -> Result<Conditions, CommandError> {
        let mut is = Conditions::default();
        let mut words = Words::from(args, 3);
        while !words.is_empty() {
            let known = [
                ("NX", &mut is.absent),
                ("XX", &mut is.present),
                ("GT", &mut is.greater),
                ("LT", &mut is.less),
            ];
            let Some((_, flag)) = known.into_iter().find(|(token, _)| words.token(token)) else {
                return Err(CommandError::ExpireOption(words.word()?.into()));
            };
            *flag = true;
        }
        if is.absent && (is.present || is.greater || is.less) {
            return Err(CommandError::ExpireNxAndOthers);
        }
        if is.greater && is.less {
            return Err(CommandError::ExpireGtAndLt);
        }
        Ok(is)
    }

    /// Whether they hold of a key with the deadline `old` that is to get `new`.
    fn hold(&self, old: u64, new: i128) -> bool {
        let old = Some(i128::from(old)).filter(|at| *at != i128::from(FOREVER));
        !(self.absent && old.is_some()
            || self.present && old.is_none()
            || self.greater && old.is_none_or(|old| new <= old)
            || self.less && old.is_some_and(|old| new >= old))
    }
}

fn expire(
    cx: &mut Context<'_>,
    args: Args<'_>,
    (name, in_seconds, absolute): (&str, bool, bool),
) -> Result<(), CommandError> {
    let conditions = Conditions::parse(args)?;
    let n = parse_i64(&args[2]).ok_or(CommandError::NotInteger)?;
    let invalid = || CommandError::InvalidExpire(name.into());
    let n = if in_seconds { n.checked_mul(1_000).ok_or_else(invalid)? } else { n };
    let done = with_key(cx, &args[1], |locked, _| {
        let from = if absolute { 0 } else { i64::try_from(locked.now).unwrap_or(i64::MAX) };
        let at = n.checked_add(from).ok_or_else(invalid)?;
        let (now, writers) = (locked.now, locked.shard.writers());
        let old = match locked.shard.shown(locked.hash, locked.key, now) {
            None => return Ok(false),
            Some(Shown::Plain(value)) => deadline(value, now, writers).unwrap_or(FOREVER),
            Some(Shown::Object(_)) => return locked.expire(FOREVER),
        };
        if !conditions.hold(old, at.into()) {
            return Ok(false);
        }
        match u64::try_from(at).ok().filter(|at| *at > now) {
            Some(at) => locked.expire(at),
            // It is over already.
            None => Ok(locked.delete()),
        }
    })?;
    cx.reply.integer(i64::from(done));
    Ok(())
}

fn persist(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let done = with_key(cx, &args[1], |locked, _| {
        let (now, writers) = (locked.now, locked.shard.writers());
        let shown = locked.shard.shown(locked.hash, locked.key, now);
        let Some(Shown::Plain(value)) = shown else { return Ok(false) };
        if deadline(value, now, writers).is_none_or(|at| at == FOREVER) {
            return Ok(false);
        }
        locked.expire(FOREVER)
    })?;
    cx.reply.integer(i64::from(done));
    Ok(())
}

/// Tells the deadline of a key; `print` gets it, and the time.
fn tell(
    cx: &mut Context<'_>,
    args: Args<'_>,
    print: impl FnOnce(u64, u64) -> u64,
) -> Result<(), CommandError> {
    let (told, found) = with_key(cx, &args[1], |locked, _| {
        let at = locked.at();
        Ok(match locked.shard.shown(locked.hash, locked.key, at.now) {
            None => (-2, false),
            Some(Shown::Object(_)) => (-1, true),
            Some(Shown::Plain(value)) => match deadline(value, at.now, at.writers) {
                None => (-2, false),
                Some(FOREVER) => (-1, true),
                Some(until) => (i64::try_from(print(until, at.now)).unwrap_or(i64::MAX), true),
            },
        })
    })?;
    cx.hit(found);
    cx.reply.integer(told);
    Ok(())
}
