//! Strings, and counters in them.

use miso_protocol::command::{Arg, Counting, Flags, Group, Row, Until};
use miso_protocol::integer::parse_i64;
use miso_protocol::request::Args;
use miso_store::Shown;
use miso_store::crdt::plain::{FOREVER, Refused, fixed};
use miso_store::crdt::{Value, kind};

use super::access::{Locked, float, read, with_key, write};
use super::expiry::{EX, EXAT, Expiry, PX, PXAT};
use crate::commands::access::check_key;
use crate::commands::args::Words;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const KEY: Arg = Arg::key("key");
const VALUE: Arg = Arg::string("value");
const SUM: &str = "the sum of all increments, always exact";
const CONDITION: Arg = Arg::one_of(
    "condition",
    &[Arg::token("NX"), Arg::token("XX"), Arg::string("ifeq-value").with_token("IFEQ")],
)
.optional();
const EXPIRATION: Arg =
    Arg::one_of("expiration", &[EX, PX, EXAT, PXAT, Arg::token("KEEPTTL")]).optional();

pub(crate) const STRINGS: &[Command] = &[
    Command::new(
        Row::command("SET")
            .args(&[KEY.written(), VALUE, CONDITION, Arg::token("GET").optional(), EXPIRATION])
            .group(Group::String)
            .writes()
            .flags(Flags::RESETS)
            .decides_with(&["NX", "XX", "IFEQ", "GET"], 3, Until::End)
            .merges("the later value, with its own deadline; NX, XX, IFEQ and GET decide here")
            .summary("Sets a key to a string, in place of what this node has seen of it")
            .reply("OK, or nil if the condition does not hold; with GET the old value or nil")
            .example(&[("SET greeting hello EX 60", "OK")]),
        set,
    ),
    Command::new(
        Row::command("GET")
            .args(&[KEY])
            .group(Group::String)
            .reads()
            .fast()
            .summary("The string of a key")
            .reply("Bulk string, or nil if it is absent")
            .example(&[("GET greeting", "\"hello\"")]),
        get,
    ),
    Command::new(
        Row::command("INCR")
            .counts(Counting::Key)
            .args(&[KEY.read_written()])
            .group(Group::String)
            .writes()
            .fast()
            .merges(SUM)
            .summary("Adds 1 to the integer of a key; an absent one counts from 0")
            .reply("Integer: the new value")
            .example(&[("INCR visits", "(integer) 1")]),
        incr,
    ),
    Command::new(
        Row::command("INCRBY")
            .counts(Counting::Key)
            .args(&[KEY.read_written(), Arg::integer("increment")])
            .group(Group::String)
            .writes()
            .fast()
            .merges(SUM)
            .summary("Adds to the integer of a key; an absent one counts from 0")
            .reply("Integer: the new value"),
        incr_by,
    ),
    Command::new(
        Row::command("DECR")
            .counts(Counting::Key)
            .args(&[KEY.read_written()])
            .group(Group::String)
            .writes()
            .fast()
            .merges(SUM)
            .summary("Takes 1 from the integer of a key; an absent one counts from 0")
            .reply("Integer: the new value"),
        decr,
    ),
    Command::new(
        Row::command("DECRBY")
            .counts(Counting::Key)
            .args(&[KEY.read_written(), Arg::integer("decrement")])
            .group(Group::String)
            .writes()
            .fast()
            .merges(SUM)
            .summary("Takes from the integer of a key; an absent one counts from 0")
            .reply("Integer: the new value"),
        decr_by,
    ),
    Command::new(
        Row::command("INCRBYFLOAT")
            .counts(Counting::Key)
            .args(&[KEY.read_written(), Arg::double("increment")])
            .group(Group::String)
            .writes()
            .fast()
            .merges("the sum, in fixed point, so that all nodes print the same digits")
            .summary("Adds to the number of a key; an absent one counts from 0")
            .reply("Bulk string: the new value")
            .example(&[("INCRBYFLOAT price 0.5", "\"0.5\"")]),
        incr_by_float,
    ),
];

/// The options of SET.
#[derive(Default)]
struct SetOptions<'a> {
    expiry: Expiry<'a>,
    condition: Option<Condition<'a>>,
    get: bool,
}

/// When SET sets.
#[derive(Clone, Copy)]
enum Condition<'a> {
    Absent,
    Present,
    Equals(&'a [u8]),
}

impl<'a> SetOptions<'a> {
    fn parse(args: Args<'a>) -> Result<SetOptions<'a>, CommandError> {
        let mut options = SetOptions::default();
        let mut words = Words::from(args, 3);
        while !words.is_empty() {
            if options.expiry.take(&mut words, ("KEEPTTL", Expiry::Keep))? {
                continue;
            }
            if words.token("GET") {
                options.get = true;
                continue;
            }
            let condition = if words.token("NX") {
                Condition::Absent
            } else if words.token("XX") {
                Condition::Present
            } else {
                Condition::Equals(words.option("IFEQ")?.ok_or(CommandError::Syntax)?)
            };
            match (options.condition.replace(condition), condition) {
                // Redis takes the same word twice.
                (None, _)
                | (Some(Condition::Absent), Condition::Absent)
                | (Some(Condition::Present), Condition::Present) => {}
                _ => return Err(CommandError::Syntax),
            }
        }
        Ok(options)
    }
}

/// Sets the string of a key with its deadline, in place of whatever plain data is there.
pub(super) fn put(
    locked: &mut Locked<'_, '_>,
    value: &[u8],
    until: u64,
) -> Result<(), CommandError> {
    locked.replace::<kind::PlainString, _>(|string, _, mint, change| {
        string.set(value, until, mint, change);
    })
}

fn set(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let (key, value) = (&args[1], &args[2]);
    let options = if args.len() == 3 { SetOptions::default() } else { SetOptions::parse(args)? };
    check_key(cx, key)?;
    with_key(cx, key, |locked, reply| {
        let until = match &options.expiry {
            Expiry::Set(deadline) => deadline.at(locked.now, "set")?,
            _ => FOREVER,
        };
        if options.condition.is_none() && !options.get && options.expiry != Expiry::Keep {
            put(locked, value, until)?;
            reply.ok();
            return Ok(());
        }
        let (now, writers) = (locked.now, locked.shard.writers());
        let shown = locked.shard.shown(locked.hash, key, now);
        let string = match shown {
            Some(Shown::Plain(Value::PlainString(string))) => string.get(now, writers),
            None => None,
            // A condition on its text, or a request for it, needs one.
            Some(_) if options.get || matches!(options.condition, Some(Condition::Equals(_))) => {
                locked.state::<kind::PlainString>()?;
                None
            }
            Some(_) => None,
        };
        let holds = match options.condition {
            None => true,
            Some(Condition::Absent) => shown.is_none(),
            Some(Condition::Present) => shown.is_some(),
            Some(Condition::Equals(text)) => string.as_deref() == Some(text),
        };
        let until = match (&options.expiry, shown) {
            (Expiry::Keep, Some(Shown::Plain(value))) => {
                miso_store::crdt::plain::deadline(value, now, writers).unwrap_or(FOREVER)
            }
            _ => until,
        };
        match (&string, holds) {
            (Some(old), _) if options.get => reply.bulk(old),
            (None, _) if options.get => reply.null(),
            (_, true) => reply.ok(),
            (_, false) => reply.null(),
        }
        if holds { put(locked, value, until) } else { Ok(()) }
    })
}

fn get(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    read::<kind::PlainString>(cx, &args[1], |string, at, reply| {
        match string.and_then(|string| string.get(at.now, at.writers)) {
            Some(value) => {
                reply.bulk(&value);
                true
            }
            None => {
                reply.null();
                false
            }
        }
    })
}

fn count(cx: &mut Context<'_>, key: &[u8], n: i64) -> Result<(), CommandError> {
    let sum = write::<kind::PlainString, _>(cx, key, |string, moment, mint, change| {
        string.add(n, moment, mint, change)
    })??;
    cx.reply.integer(sum);
    Ok(())
}

fn incr(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    count(cx, &args[1], 1)
}

fn decr(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    count(cx, &args[1], -1)
}

fn incr_by(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let n = parse_i64(&args[2]).ok_or(CommandError::NotInteger)?;
    count(cx, &args[1], n)
}

fn decr_by(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let n = parse_i64(&args[2]).ok_or(CommandError::NotInteger)?;
    count(cx, &args[1], n.checked_neg().ok_or(CommandError::DecrementOverflow)?)
}

fn incr_by_float(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let (key, amount) = (&args[1], &args[2]);
    check_key(cx, key)?;
    with_key(cx, key, |locked, reply| {
        let number = match float(amount) {
            Ok(number) => number,
            // Of a key of another type Redis says that first.
            Err(error) => return locked.state::<kind::PlainString>().and(Err(error)),
        };
        if let Ok(units) = fixed::parse(amount) {
            let sum = locked.write::<kind::PlainString, _>(|string, moment, mint, change| {
                string.add_decimal(units, moment, mint, change)
            })?;
            match sum {
                Ok(sum) => {
                    reply.bulk(&fixed::print(sum));
                    return Ok(());
                }
                // A number beyond the fixed point: see below.
                Err(Refused::NotFloat | Refused::Overflow) => {}
                Err(refused) => return Err(refused.into()),
            }
        }
        // Too large to add up exactly: the sum is set, which decides here.
        let at = locked.at();
        let string = locked.state::<kind::PlainString>()?;
        let old = string.and_then(|string| string.get(at.now, at.writers));
        let until = string.and_then(|string| string.deadline(at.now, at.writers));
        let digits = old.as_ref().map_or(Some(0), |old| fixed::parse(old).ok());
        let old = old.map_or(Ok(0.0), |old| float(&old))?;
        let sum = old + number;
        if !sum.is_finite() {
            return Err(CommandError::IncrementNaN);
        }
        let exact = fixed::parse(amount).ok().zip(digits).and_then(|(a, b)| a.checked_add(b));
        let text = exact.map_or_else(|| format!("{sum}").into_bytes(), fixed::print);
        put(locked, &text, until.unwrap_or(FOREVER))?;
        reply.bulk(&text);
        Ok(())
    })
}
