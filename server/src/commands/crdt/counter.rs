//! GCOUNTER and PNCOUNTER.

use miso_protocol::command::{Arg, Counting, Group, NAME, OBJECT, Row};
use miso_protocol::integer;
use miso_protocol::request::Args;
use miso_store::crdt::{Counter, Dot, Events, Kind, SEQ_MAX, Writer, kind};

use crate::commands::access::{check_key, read, with_shard, write};
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const INCREMENT: Arg = Arg::integer("increment").optional();
const DECREMENT: Arg = Arg::integer("decrement").optional();
const PAIRS: Arg = Arg::block("data", &[NAME, Arg::integer("increment")]).multiple();
const NAMES: Arg = Arg::string("name").multiple();
const VALUE: &str = "Integer: the new value on this node";
const VALUES: &str = "Array of integers, in the order of the names";

pub(crate) const GCOUNTER: &[Command] = &[
    Command::new(
        Row::command("GCOUNTER.ADD")
            .counts(Counting::Name)
            .args(&[OBJECT, NAME, INCREMENT])
            .group(Group::GCounter)
            .writes()
            .fast()
            .summary("Adds to a grow-only counter; default 1, and 0 creates it")
            .reply(VALUE)
            .example(&[
                ("GCOUNTER.ADD cart-12345 total 2", "(integer) 2"),
                ("GCOUNTER.ADD cart-12345 total", "(integer) 3"),
                (
                    "GCOUNTER.ADD cart-12345 total -1",
                    "(error) ERR a grow-only counter cannot decrease",
                ),
            ]),
        g_add,
    ),
    Command::new(
        Row::command("GCOUNTER.GET")
            .args(&[OBJECT, NAME])
            .group(Group::GCounter)
            .reads()
            .fast()
            .complexity("O(1), whatever the number of nodes that count")
            .summary("The value of a grow-only counter")
            .reply("Integer: 0 if it is absent")
            .example(&[("GCOUNTER.GET cart-12345 total", "(integer) 3")]),
        get::<kind::GCounter>,
    ),
    Command::new(
        Row::command("GCOUNTER.MADD")
            .counts(Counting::Names)
            .args(&[OBJECT, PAIRS])
            .group(Group::GCounter)
            .writes()
            .complexity("O(N) with N names")
            .summary("Adds to several grow-only counters of one object: all or nothing")
            .reply(VALUES)
            .example(&[(
                "GCOUNTER.MADD cart-12345 total 5 items 1",
                "1) (integer) 8\n2) (integer) 1",
            )]),
        g_madd,
    ),
    Command::new(
        Row::command("GCOUNTER.MGET")
            .args(&[OBJECT, NAMES])
            .group(Group::GCounter)
            .reads()
            .complexity("O(N) with N names")
            .summary("The values of several grow-only counters of one object")
            .reply(VALUES)
            .example(&[(
                "GCOUNTER.MGET cart-12345 total nothing",
                "1) (integer) 8\n2) (integer) 0",
            )]),
        mget::<kind::GCounter>,
    ),
];

pub(crate) const PNCOUNTER: &[Command] = &[
    Command::new(
        Row::command("PNCOUNTER.ADD")
            .counts(Counting::Name)
            .args(&[OBJECT, NAME, INCREMENT])
            .group(Group::PnCounter)
            .writes()
            .fast()
            .summary(
                "Adds to a counter; default 1, a negative number subtracts, 0 \
                 creates it",
            )
            .reply(VALUE)
            .example(&[
                ("PNCOUNTER.ADD shop stock 10", "(integer) 10"),
                ("PNCOUNTER.ADD shop stock -3", "(integer) 7"),
            ]),
        pn_add,
    ),
    Command::new(
        Row::command("PNCOUNTER.SUB")
            .counts(Counting::Name)
            .args(&[OBJECT, NAME, DECREMENT])
            .group(Group::PnCounter)
            .writes()
            .fast()
            .summary("Subtracts from a counter; default 1")
            .reply(VALUE)
            .example(&[("PNCOUNTER.SUB shop stock 2", "(integer) 5")]),
        pn_sub,
    ),
    Command::new(
        Row::command("PNCOUNTER.GET")
            .args(&[OBJECT, NAME])
            .group(Group::PnCounter)
            .reads()
            .fast()
            .complexity("O(1), whatever the number of nodes that count")
            .summary("The value of a counter")
            .reply("Integer: 0 if it is absent")
            .example(&[("PNCOUNTER.GET shop stock", "(integer) 5")]),
        get::<kind::PnCounter>,
    ),
    Command::new(
        Row::command("PNCOUNTER.MADD")
            .counts(Counting::Names)
            .args(&[OBJECT, PAIRS])
            .group(Group::PnCounter)
            .writes()
            .complexity("O(N) with N names")
            .summary("Adds to several counters of one object: all or nothing")
            .reply(VALUES)
            .example(&[("PNCOUNTER.MADD shop stock 1 sold -1", "1) (integer) 6\n2) (integer) -1")]),
        pn_madd,
    ),
    Command::new(
        Row::command("PNCOUNTER.MGET")
            .args(&[OBJECT, NAMES])
            .group(Group::PnCounter)
            .reads()
            .complexity("O(N) with N names")
            .summary("The values of several counters of one object")
            .reply(VALUES)
            .example(&[("PNCOUNTER.MGET shop stock sold", "1) (integer) 6\n2) (integer) -1")]),
        mget::<kind::PnCounter>,
    ),
];

/// What to add and what to subtract.
type Amount = (u64, u64);

fn signed(n: i64) -> Amount {
    if n < 0 { (0, n.unsigned_abs()) } else { (n.unsigned_abs(), 0) }
}

fn positive(n: i64) -> Result<Amount, CommandError> {
    if n < 0 { Err(CommandError::CannotDecrease) } else { Ok(signed(n)) }
}

fn number(arg: Option<&[u8]>) -> Result<i64, CommandError> {
    match arg.map(integer::parse_i64) {
        None => Ok(1),
        Some(Some(n)) => Ok(n),
        Some(None) => Err(CommandError::NotInteger),
    }
}

fn g_add(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let amount = positive(number(args.get(3))?)?;
    add::<kind::GCounter>(cx, args, amount)
}

fn pn_add(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let amount = signed(number(args.get(3))?);
    add::<kind::PnCounter>(cx, args, amount)
}

fn pn_sub(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let (p, n) = signed(number(args.get(3))?);
    add::<kind::PnCounter>(cx, args, (n, p))
}

fn add<K: Kind<State = Counter>>(
    cx: &mut Context<'_>,
    args: Args<'_>,
    (p, n): Amount,
) -> Result<(), CommandError> {
    let value = write::<K, _>(cx, args, |counter, mint, _| counter.add(p, n, mint))?;
    cx.reply.integer(value.map_err(|_| CommandError::Overflow)?);
    Ok(())
}

fn get<K: Kind<State = Counter>>(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    read::<K>(cx, args, |counter, _, reply| reply.integer(counter.map_or(0, Counter::value)))
}

fn g_madd(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    madd::<kind::GCounter>(cx, args, "gcounter.madd", positive)
}

fn pn_madd(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    madd::<kind::PnCounter>(cx, args, "pncounter.madd", |n| Ok(signed(n)))
}

fn madd<K: Kind<State = Counter>>(
    cx: &mut Context<'_>,
    args: Args<'_>,
    command: &'static str,
    amount: impl Fn(i64) -> Result<Amount, CommandError>,
) -> Result<(), CommandError> {
    if !args.len().is_multiple_of(2) {
        return Err(CommandError::WrongArity(command.into()));
    }
    let object = &args[1];
    check_key(cx, object)?;
    let mut pairs: Vec<(&[u8], Amount)> = Vec::with_capacity(args.len() / 2 - 1);
    for at in (2..args.len()).step_by(2) {
        check_key(cx, &args[at])?;
        let n = integer::parse_i64(&args[at + 1]).ok_or(CommandError::NotInteger)?;
        pairs.push((&args[at], amount(n)?));
    }
    let values = with_shard(cx, object, |shard, hash| {
        let mut rehearsal = Rehearsal(shard.function().writer());
        // All or nothing: the same additions are tried on copies first.
        let mut tried: std::collections::HashMap<&[u8], Counter> = std::collections::HashMap::new();
        for (name, (p, n)) in &pairs {
            let counter = match tried.entry(name) {
                std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::hash_map::Entry::Vacant(entry) => {
                    entry.insert(shard.read::<K>(hash, object, name)?.cloned().unwrap_or_default())
                }
            };
            counter.add(*p, *n, &mut rehearsal).map_err(|_| CommandError::Overflow)?;
        }
        let mut values = Vec::with_capacity(pairs.len());
        for (name, (p, n)) in &pairs {
            let (value, _) = shard.write::<K, _>((hash, object, name), |counter, mint, _| {
                counter.add(*p, *n, mint).expect("the same addition went well on a copy")
            })?;
            values.push(value);
        }
        Ok::<_, CommandError>(values)
    })?;
    cx.reply.array(values.len());
    for value in values {
        cx.reply.integer(value);
    }
    Ok(())
}

/// Events for additions on a copy.
struct Rehearsal(Writer);

impl Events for Rehearsal {
    fn next(&mut self) -> Dot {
        Dot::new(self.0, SEQ_MAX).expect("the largest number is a valid one")
    }

    fn unsent(&self, _: Dot) -> bool {
        true
    }

    fn time(&mut self) -> u64 {
        0
    }

    fn writer(&self) -> Writer {
        self.0
    }
}

fn mget<K: Kind<State = Counter>>(
    cx: &mut Context<'_>,
    args: Args<'_>,
) -> Result<(), CommandError> {
    let object = &args[1];
    let values = with_shard(cx, object, |shard, hash| {
        let value =
            |name| shard.read::<K>(hash, object, name).map(|counter| counter.map(Counter::value));
        args.tail(2).iter().map(value).collect::<Result<Vec<_>, _>>()
    })?;
    cx.reply.array(values.len());
    for value in values {
        cx.hit(value.is_some());
        cx.reply.integer(value.unwrap_or(0));
    }
    Ok(())
}
