//! Deadlines of the fields of hashes.

use miso_protocol::command::{Arg, Flags, Group, KeyFlags, Row, Until};
use miso_protocol::integer::parse_i64;
use miso_protocol::request::Args;
use miso_store::Mint;
use miso_store::crdt::kind;
use miso_store::crdt::plain::hash::HashDelta;
use miso_store::crdt::plain::{FOREVER, Moment, PlainHash};

use super::access::with_key;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const KEY: Arg = Arg::key("key");
/// A key of which something is changed.
pub(super) const CHANGED: Arg = KEY.with_key_flags(KeyFlags::RW.with(KeyFlags::UPDATE));
/// `FIELDS numfields field [field ...]`.
pub(super) const FIELDS: Arg = Arg::block(
    "fields",
    &[Arg::integer("numfields"), Arg::string("field").multiple().counted_by("numfields")],
)
.with_token("FIELDS");
const CONDITION: Arg = Arg::one_of(
    "condition",
    &[Arg::token("NX"), Arg::token("XX"), Arg::token("GT"), Arg::token("LT")],
)
.optional();
const LINEAR: &str = "O(N) with N fields given";
/// No deadline is later, as in Redis, which has 46 bits for it.
const LATEST: u64 = (1 << 46) - 1;

/// The row of a command that sets deadlines.
const fn setting(name: &'static str, args: &'static [Arg], summary: &'static str) -> Row {
    Row::command(name)
        .flags(Flags::NOT_ONCE)
        .args(args)
        .group(Group::Hash)
        .deletes()
        .fast()
        .flags(Flags::RESETS)
        .complexity(LINEAR)
        .decides_with(&["NX", "XX", "GT", "LT"], 3, Until::Fields)
        .merges("of concurrent ones the longest; NX, XX, GT and LT decide here")
        .summary(summary)
        .reply(
            "Array of integers, one for each field: 1, 0 if the condition does not hold, 2 if the \
             deadline is over and the field is removed, -2 if the field is absent",
        )
}

/// The row of a command that tells deadlines.
const fn telling(name: &'static str, summary: &'static str) -> Row {
    Row::command(name)
        .args(&[KEY, FIELDS])
        .group(Group::Hash)
        .reads()
        .fast()
        .complexity(LINEAR)
        .summary(summary)
        .reply(
            "Array of integers, one for each field: -1 if it has no deadline, -2 if it is absent",
        )
}

pub(crate) const FIELD_DEADLINES: &[Command] = &[
    Command::new(
        setting(
            "HEXPIRE",
            &[CHANGED, Arg::integer("seconds"), CONDITION, FIELDS],
            "Lets fields of a hash expire after some seconds",
        )
        .example(&[
            ("HSET session:7 token x", "(integer) 1"),
            ("HEXPIRE session:7 60 FIELDS 1 token", "1) (integer) 1"),
        ]),
        |cx, args| expire(cx, args, ("hexpire", Unit { seconds: true, absolute: false })),
    ),
    Command::new(
        setting(
            "HPEXPIRE",
            &[CHANGED, Arg::integer("milliseconds"), CONDITION, FIELDS],
            "Lets fields of a hash expire after some milliseconds",
        ),
        |cx, args| expire(cx, args, ("hpexpire", Unit { seconds: false, absolute: false })),
    ),
    Command::new(
        setting(
            "HEXPIREAT",
            &[CHANGED, Arg::integer("unix-time-seconds"), CONDITION, FIELDS],
            "Lets fields of a hash expire at a time, in seconds since 1970",
        ),
        |cx, args| expire(cx, args, ("hexpireat", Unit { seconds: true, absolute: true })),
    ),
    Command::new(
        setting(
            "HPEXPIREAT",
            &[CHANGED, Arg::integer("unix-time-milliseconds"), CONDITION, FIELDS],
            "Lets fields of a hash expire at a time, in milliseconds since 1970",
        ),
        |cx, args| expire(cx, args, ("hpexpireat", Unit { seconds: false, absolute: true })),
    ),
    Command::new(
        Row::command("HPERSIST")
            .flags(Flags::NOT_ONCE)
            .args(&[CHANGED, FIELDS])
            .group(Group::Hash)
            .deletes()
            .fast()
            .complexity(LINEAR)
            .merges(
                "a field that was made persistent stays, whatever deadline was set concurrently",
            )
            .summary("Takes the deadlines of fields of a hash away")
            .reply(
                "Array of integers, one for each field: 1, -1 if it has no deadline, -2 if it is \
                 absent",
            ),
        persist,
    ),
    Command::new(telling("HTTL", "Seconds until fields of a hash expire"), |cx, args| {
        tell(cx, args, |at, now| (at - now).div_ceil(1_000))
    }),
    Command::new(telling("HPTTL", "Milliseconds until fields of a hash expire"), |cx, args| {
        tell(cx, args, |at, now| at - now)
    }),
    Command::new(
        telling("HEXPIRETIME", "When fields of a hash expire, in seconds since 1970"),
        |cx, args| tell(cx, args, |at, _| at.div_ceil(1_000)),
    ),
    Command::new(
        telling("HPEXPIRETIME", "When fields of a hash expire, in milliseconds since 1970"),
        |cx, args| tell(cx, args, |at, _| at),
    ),
];

/// How a command says a deadline.
#[derive(Clone, Copy)]
pub(super) struct Unit {
    /// In seconds, or else in milliseconds.
    seconds: bool,
    /// Since 1970, or else from now on.
    absolute: bool,
}

impl Unit {
    /// What an option EX, PX, EXAT or PXAT says; none if it is another word.
    pub(super) fn of_option(word: &[u8]) -> Option<Unit> {
        let is = |token: &str| word.eq_ignore_ascii_case(token.as_bytes());
        let known = [
            ("EX", true, false),
            ("PX", false, false),
            ("EXAT", true, true),
            ("PXAT", false, true),
        ];
        let found = known.into_iter().find(|(token, ..)| is(token));
        found.map(|(_, seconds, absolute)| Unit { seconds, absolute })
    }

    /// The deadline in milliseconds; `command` is the name for errors.
    ///
    /// # Errors
    /// If it is no number, is negative, or is too far.
    pub(super) fn at(self, text: &[u8], now: u64, command: &str) -> Result<u64, CommandError> {
        let n = parse_i64(text).ok_or(CommandError::NotInteger)?;
        let n = u64::try_from(n).map_err(|_| CommandError::NegativeExpire)?;
        let ms = if self.seconds { n.checked_mul(1_000) } else { Some(n) };
        let at = ms.and_then(|ms| ms.checked_add(if self.absolute { 0 } else { now }));
        let at = at.filter(|at| *at <= LATEST);
        at.ok_or_else(|| CommandError::InvalidExpire(command.into()))
    }
}

/// The fields of `FIELDS numfields field [field ...]`, which begins at the word `from`; `none` is the
/// error of a number that is not positive.
pub(super) fn fields(
    args: Args<'_>,
    from: usize,
    none: CommandError,
) -> Result<Args<'_>, CommandError> {
    if !args[from].eq_ignore_ascii_case(b"FIELDS") {
        return Err(CommandError::FieldsMissing);
    }
    let number = args.get(from + 1).and_then(parse_i64);
    let number = number.filter(|number| *number > 0).ok_or(none)?;
    let fields = args.tail(from + 2);
    if fields.len() as i64 == number { Ok(fields) } else { Err(CommandError::FieldsMatch) }
}

/// Sets the deadline of a field that is there; whether that is over, so that the field was removed.
pub(super) fn expire_or_remove(
    hash: &mut PlainHash,
    (field, at): (&[u8], u64),
    moment: &Moment<'_>,
    mint: &mut Mint<'_>,
    change: Option<&mut HashDelta>,
) -> bool {
    let is_over = at <= moment.now;
    if is_over {
        hash.remove(field, moment, mint, change);
    } else {
        hash.expire_field((field, at), moment, mint, change);
    }
    is_over
}

/// When a deadline is set.
#[derive(Clone, Copy)]
enum Condition {
    Always,
    None,
    Some,
    Greater,
    Less,
}

impl Condition {
    fn of(word: &[u8]) -> Condition {
        match word.to_ascii_uppercase().as_slice() {
            b"NX" => Condition::None,
            b"XX" => Condition::Some,
            b"GT" => Condition::Greater,
            b"LT" => Condition::Less,
            _ => Condition::Always,
        }
    }

    /// Whether it holds of a field with the deadline `old` that is to get `new`.
    fn holds(self, old: u64, new: u64) -> bool {
        match self {
            Condition::Always => true,
            Condition::None => old == FOREVER,
            Condition::Some => old != FOREVER,
            // What has no deadline lasts longest.
            Condition::Greater => new > old,
            Condition::Less => new < old,
        }
    }
}

fn expire(
    cx: &mut Context<'_>,
    args: Args<'_>,
    (name, unit): (&str, Unit),
) -> Result<(), CommandError> {
    with_key(cx, &args[1], |locked, reply| {
        // Redis looks at the key's type before the arguments.
        let there = locked.state::<kind::PlainHash>()?.is_some();
        let at = unit.at(&args[2], locked.now, name)?;
        let condition = Condition::of(&args[3]);
        let from = if let Condition::Always = condition { 3 } else { 4 };
        let fields = fields(args, from, CommandError::FieldsGreater)?;
        reply.array(fields.len());
        if !there {
            fields.iter().for_each(|_| reply.integer(-2));
            return Ok(());
        }
        locked.write::<kind::PlainHash, _>(|hash, moment, mint, mut change| {
            for field in fields.iter() {
                let old = hash.field_deadline(field, moment.now, moment.writers);
                reply.integer(match old {
                    None => -2,
                    Some(old) if !condition.holds(old, at) => 0,
                    Some(_) => {
                        let change = change.as_deref_mut();
                        1 + i64::from(expire_or_remove(hash, (field, at), moment, mint, change))
                    }
                });
            }
        })
    })
}

fn persist(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    with_key(cx, &args[1], |locked, reply| {
        let there = locked.state::<kind::PlainHash>()?.is_some();
        let fields = fields(args, 2, CommandError::FieldsPositive)?;
        reply.array(fields.len());
        if !there {
            fields.iter().for_each(|_| reply.integer(-2));
            return Ok(());
        }
        locked.write::<kind::PlainHash, _>(|hash, moment, mint, mut change| {
            for field in fields.iter() {
                reply.integer(match hash.field_deadline(field, moment.now, moment.writers) {
                    None => -2,
                    Some(FOREVER) => -1,
                    Some(_) => {
                        let change = change.as_deref_mut();
                        i64::from(hash.expire_field((field, FOREVER), moment, mint, change))
                    }
                });
            }
        })
    })
}

/// Tells the deadlines of fields; `print` gets each, and the time.
fn tell(
    cx: &mut Context<'_>,
    args: Args<'_>,
    print: impl Fn(u64, u64) -> u64,
) -> Result<(), CommandError> {
    let found = with_key(cx, &args[1], |locked, reply| {
        let at = locked.at();
        let hash = locked.state::<kind::PlainHash>()?;
        let fields = fields(args, 2, CommandError::FieldsPositive)?;
        reply.array(fields.len());
        for field in fields.iter() {
            let until = hash.and_then(|hash| hash.field_deadline(field, at.now, at.writers));
            reply.integer(match until {
                None => -2,
                Some(FOREVER) => -1,
                Some(until) => i64::try_from(print(until, at.now)).unwrap_or(i64::MAX),
            });
        }
        Ok(hash.is_some_and(|hash| hash.exists(at.now, at.writers)))
    })?;
    cx.hit(found);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_of_a_field_has_46_bits() {
        let at = |text: &str, seconds, absolute| {
            Unit { seconds, absolute }.at(text.as_bytes(), 1_000, "hexpire")
        };
        assert_eq!(at("10", true, false), Ok(11_000));
        assert_eq!(at("0", true, false), Ok(1_000));
        assert_eq!(at("70368744177663", false, true), Ok(LATEST));
        let invalid = Err(CommandError::InvalidExpire("hexpire".into()));
        for text in ["70368744177664", "9223372036854775807"] {
            assert_eq!(at(text, false, true), invalid, "{text}");
            assert_eq!(at(text, true, false), invalid, "{text}");
        }
        assert_eq!(at("-1", true, true), Err(CommandError::NegativeExpire));
        assert_eq!(at("x", true, true), Err(CommandError::NotInteger));
    }
}
