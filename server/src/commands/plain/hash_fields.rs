//! Fields of hashes read and written together with their deadlines.

use miso_protocol::command::{Arg, Flags, Group, KeyFlags, Row, Until};
use miso_protocol::integer::parse_i64;
use miso_protocol::request::Args;
use miso_store::crdt::kind;
use miso_store::crdt::plain::FOREVER;

use super::access::with_key;
use super::expiry::{EX, EXAT, PX, PXAT};
use super::hash_expiry::{CHANGED, FIELDS as GIVEN, Unit, expire_or_remove, fields};
use crate::commands::access::check_key;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const LINEAR: &str = "O(N) with N fields given";

pub(crate) const FIELDS: &[Command] = &[
    Command::new(
        Row::command("HGETEX")
            .flags(Flags::NOT_ONCE)
            .args(&[
                Arg::key("key").read_written(),
                Arg::one_of("expiration", &[EX, PX, EXAT, PXAT, Arg::token("PERSIST")]).optional(),
                GIVEN,
            ])
            .group(Group::Hash)
            .deletes()
            .fast()
            .flags(Flags::RESETS)
            .complexity(LINEAR)
            .merges("of concurrent deadlines the longest")
            .summary("The values of fields of a hash; sets their deadlines, or takes them away")
            .reply("Array of bulk strings and nils")
            .example(&[
                ("HSET session:8 token x", "(integer) 1"),
                ("HGETEX session:8 EX 60 FIELDS 1 token", "1) \"x\""),
            ]),
        hgetex,
    ),
    Command::new(
        Row::command("HSETEX")
            .args(&[
                CHANGED,
                Arg::one_of("condition", &[Arg::token("FNX"), Arg::token("FXX")]).optional(),
                Arg::one_of("expiration", &[EX, PX, EXAT, PXAT, Arg::token("KEEPTTL")]).optional(),
                Arg::block(
                    "fields",
                    &[
                        Arg::integer("numfields"),
                        Arg::block("data", &[Arg::string("field"), Arg::string("value")])
                            .multiple()
                            .counted_by("numfields"),
                    ],
                )
                .with_token("FIELDS"),
            ])
            .group(Group::Hash)
            .writes()
            .fast()
            .flags(Flags::RESETS)
            .complexity(LINEAR)
            .decides_with(&["FNX", "FXX"], 2, Until::Fields)
            .merges(
                "each field by itself: the later value, with its own deadline; FNX and FXX decide \
                 here",
            )
            .summary(
                "Sets fields of a hash with a deadline; FNX if none of them is there, FXX if all",
            )
            .reply("Integer: 1, or 0 if the condition does not hold")
            .example(&[("HSETEX session:9 EX 60 FIELDS 1 token x", "(integer) 1")]),
        hsetex,
    ),
    Command::new(
        Row::command("HGETDEL")
            .flags(Flags::NOT_ONCE)
            .args(&[Arg::key("key").with_key_flags(KeyFlags::TAKEN), GIVEN])
            .group(Group::Hash)
            .deletes()
            .fast()
            .flags(Flags::RESETS)
            .complexity(LINEAR)
            .decides_here("which values it takes; two nodes may take the same")
            .summary("Removes fields of a hash and answers their values")
            .reply("Array of bulk strings and nils"),
        hgetdel,
    ),
];

fn hgetex(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let found = with_key(cx, &args[1], |locked, reply| {
        let there = locked.state::<kind::PlainHash>()?.is_some();
        let (until, from) = if let Some(unit) = Unit::of_option(&args[2]) {
            (Some(unit.at(&args[3], locked.now, "hgetex")?), 4)
        } else if args[2].eq_ignore_ascii_case(b"PERSIST") {
            (Some(FOREVER), 3)
        } else {
            (None, 2)
        };
        if from + 1 >= args.len() {
            return Err(CommandError::WrongArity("hgetex".into()));
        }
        let fields = fields(args, from, CommandError::FieldsPositive)?;
        reply.array(fields.len());
        let Some(until) = until.filter(|_| there) else {
            let at = locked.at();
            let hash = locked.state::<kind::PlainHash>()?;
            for field in fields.iter() {
                match hash.and_then(|hash| hash.get(field, at.now, at.writers)) {
                    Some(value) => reply.bulk(&value),
                    None => reply.null(),
                }
            }
            return Ok(hash.is_some_and(|hash| hash.exists(at.now, at.writers)));
        };
        locked.write::<kind::PlainHash, _>(|hash, moment, mint, mut change| {
            let found = hash.exists(moment.now, moment.writers);
            for field in fields.iter() {
                match hash.get(field, moment.now, moment.writers) {
                    Some(value) => reply.bulk(&value),
                    None => {
                        reply.null();
                        continue;
                    }
                }
                expire_or_remove(hash, (field, until), moment, mint, change.as_deref_mut());
            }
            found
        })
    })?;
    cx.hit(found);
    Ok(())
}

fn hgetdel(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    with_key(cx, &args[1], |locked, reply| {
        let there = locked.state::<kind::PlainHash>()?.is_some();
        let fields = fields(args, 2, CommandError::FieldsPositive)?;
        reply.array(fields.len());
        if !there {
            fields.iter().for_each(|_| reply.null());
            return Ok(());
        }
        locked.write::<kind::PlainHash, _>(|hash, moment, mint, mut change| {
            for field in fields.iter() {
                match hash.get(field, moment.now, moment.writers) {
                    Some(value) => reply.bulk(&value),
                    None => {
                        reply.null();
                        continue;
                    }
                }
                hash.remove(field, moment, mint, change.as_deref_mut());
            }
        })
    })
}

/// The options of HSETEX.
struct SetOptions<'a> {
    /// Whether all fields must be there, or else all absent.
    present: Option<bool>,
    /// Their deadline; none: each keeps what it has.
    until: Option<u64>,
    /// Fields and values in turn.
    data: Args<'a>,
}

impl<'a> SetOptions<'a> {
    fn parse(args: Args<'a>, now: u64) -> Result<SetOptions<'a>, CommandError> {
        let arity = || CommandError::WrongArity("hsetex".into());
        let (mut present, mut expiry) = (None, None);
        let mut at = 2;
        while let Some(word) = args.get(at) {
            let is = |token: &str| word.eq_ignore_ascii_case(token.as_bytes());
            at += 1;
            if is("FIELDS") {
                if args.len() < at + 3 {
                    return Err(arity());
                }
                let number = parse_i64(&args[at]).filter(|n| (1..=i32::MAX.into()).contains(n));
                let number = number.ok_or(CommandError::FieldsInvalid)?;
                let data = args.tail(at + 1);
                if data.len() as i64 != 2 * number {
                    return Err(arity());
                }
                return Ok(SetOptions { present, until: expiry.unwrap_or(Some(FOREVER)), data });
            }
            if is("FNX") || is("FXX") {
                if present.replace(is("FXX")).is_some() {
                    return Err(CommandError::FieldConditions);
                }
                continue;
            }
            let unit = Unit::of_option(word);
            if unit.is_none() && !is("KEEPTTL") {
                return Err(CommandError::UnknownArgument(word.into()));
            }
            if expiry.is_some() {
                return Err(CommandError::FieldExpiries);
            }
            expiry = Some(match unit {
                None => None,
                Some(unit) => {
                    let text = args.get(at).ok_or_else(arity)?;
                    at += 1;
                    Some(unit.at(text, now, "hsetex")?)
                }
            });
        }
        Err(arity())
    }
}

fn hsetex(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    check_key(cx, &args[1])?;
    with_key(cx, &args[1], |locked, reply| {
        let SetOptions { present, until, data } = SetOptions::parse(args, locked.now)?;
        let pairs = || (0..data.len()).step_by(2);
        let at = locked.at();
        let hash = locked.state::<kind::PlainHash>()?;
        let is_there =
            |field: &[u8]| hash.is_some_and(|hash| hash.get(field, at.now, at.writers).is_some());
        let holds = present.is_none_or(|present| pairs().all(|i| is_there(&data[i]) == present));
        reply.integer(i64::from(holds));
        // A deadline that is over takes the fields away.
        let is_over = until.is_some_and(|until| until <= locked.now);
        if !holds || (is_over && hash.is_none()) {
            return Ok(());
        }
        locked.write::<kind::PlainHash, _>(|hash, moment, mint, mut change| {
            for i in pairs() {
                let (field, change) = (&data[i], change.as_deref_mut());
                if is_over {
                    hash.remove(field, moment, mint, change);
                    continue;
                }
                let kept = || hash.field_deadline(field, moment.now, moment.writers);
                let until = until.unwrap_or_else(|| kept().unwrap_or(FOREVER));
                hash.set((field, &data[i + 1], until), moment, mint, change);
            }
        })
    })
}
