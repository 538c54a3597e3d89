//! Integers of any width within strings.

use miso_protocol::command::{Arg, Flags, Group, Row};
use miso_protocol::integer::parse_i64;
use miso_protocol::reply::Reply;
use miso_protocol::request::Args;
use miso_store::crdt::kind;

use super::access::{read, with_key};
use super::bitmap::{bit, offset, set_bit};
use super::string_parts::rewrite;
use crate::commands::access::check_key;
use crate::commands::args::Words;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const KEY: Arg = Arg::key("key");
const PLACE: &[Arg] = &[Arg::string("encoding"), Arg::string("offset")];
const GET: Arg = Arg::block("get-block", PLACE).with_token("GET");
const OVERFLOW: Arg =
    Arg::one_of("overflow-block", &[Arg::token("WRAP"), Arg::token("SAT"), Arg::token("FAIL")])
        .with_token("OVERFLOW");
const SET: Arg = Arg::block(
    "set-block",
    &[Arg::string("encoding"), Arg::string("offset"), Arg::integer("value")],
)
.with_token("SET");
const INCRBY: Arg = Arg::block(
    "incrby-block",
    &[Arg::string("encoding"), Arg::string("offset"), Arg::integer("increment")],
)
.with_token("INCRBY");

pub(crate) const BITFIELDS: &[Command] = &[
    Command::new(
        Row::command("BITFIELD")
            .flags(Flags::NOT_ONCE)
            .args(&[
                KEY.read_written(),
                Arg::one_of("operation", &[GET, OVERFLOW, SET, INCRBY]).multiple().optional(),
            ])
            .group(Group::Bitmap)
            .writes()
            .flags(Flags::RESETS)
            .complexity("O(N) with N bytes of the string")
            .decides_here("of concurrent changes the later whole value stays")
            .summary("Reads, sets and increments integers of 1 to 64 bits within a string")
            .reply("Array of integers, and of nils for what OVERFLOW FAIL refused")
            .example(&[("BITFIELD mine INCRBY u2 100 1", "1) (integer) 1")]),
        bitfield,
    ),
    Command::new(
        Row::command("BITFIELD_RO")
            .args(&[KEY, GET.multiple_token().optional()])
            .group(Group::Bitmap)
            .reads()
            .fast()
            .complexity("O(N) with N integers read")
            .summary("Reads integers of 1 to 64 bits within a string")
            .reply("Array of integers"),
        bitfield_ro,
    ),
];

/// What happens to a number that does not fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

/// An integer within a string.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Field {
    signed: bool,
    bits: u32,
    at: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Change {
    None,
    Set(i64),
    Add(i64),
}

#[derive(Clone, Copy, Debug)]
struct Operation {
    field: Field,
    change: Change,
    overflow: Overflow,
}

impl Field {
    fn parse(kind: &[u8], at: &[u8]) -> Result<Field, CommandError> {
        let (signed, bits) = match kind {
            [b'i', bits @ ..] => (true, bits),
            [b'u', bits @ ..] => (false, bits),
            _ => return Err(CommandError::BitfieldType),
        };
        let most = if signed { 64 } else { 63 };
        let bits = parse_i64(bits).filter(|bits| (1..=most).contains(bits));
        let bits = bits.ok_or(CommandError::BitfieldType)?.unsigned_abs() as u32;
        Ok(Field { signed, bits, at: offset(at, Some(bits))? })
    }

    fn get(self, bytes: &[u8]) -> i64 {
        let bits = (self.at..).take(self.bits as usize);
        let raw = bits.fold(0u64, |raw, at| raw << 1 | u64::from(bit(bytes, at)));
        self.signed_of(raw)
    }

    fn set(self, bytes: &mut [u8], value: i64) {
        for n in 0..self.bits {
            let on = value >> (self.bits - 1 - n) & 1 == 1;
            set_bit(bytes, self.at + n as usize, on);
        }
    }

    /// The number whose lowest bits are in `raw`.
    fn signed_of(self, raw: u64) -> i64 {
        let spare = 64 - self.bits;
        if self.signed { (raw << spare) as i64 >> spare } else { (raw << spare >> spare) as i64 }
    }

    /// `value` as it fits; none if it must not be changed.
    fn fit(self, value: i128, overflow: Overflow) -> Option<i64> {
        let (least, most) = if self.signed {
            (-(1i128 << (self.bits - 1)), (1i128 << (self.bits - 1)) - 1)
        } else {
            (0, (1i128 << self.bits) - 1)
        };
        if (least..=most).contains(&value) {
            return Some(value as i64);
        }
        match overflow {
            Overflow::Wrap => Some(self.signed_of(value as u64)),
            Overflow::Saturate => Some(value.clamp(least, most) as i64),
            Overflow::Fail => None,
        }
    }
}

impl Operation {
    /// Works on the string; what is answered.
    fn run(self, bytes: &mut [u8]) -> Option<i64> {
        let (field, old) = (self.field, self.field.get(bytes));
        match self.change {
            Change::None => Some(old),
            Change::Set(value) => {
                // An unsigned one takes a negative number as the great one of the same bits.
                let value = if field.signed { i128::from(value) } else { i128::from(value as u64) };
                // As in Redis, whose check for an overflow has one itself.
                let is_least = field.signed && field.bits < 64 && value == i128::from(i64::MIN);
                let value =
                    if is_least && self.overflow == Overflow::Saturate { -value } else { value };
                let new = field.fit(value, self.overflow)?;
                field.set(bytes, new);
                Some(old)
            }
            Change::Add(n) => {
                let new = field.fit(i128::from(old) + i128::from(n), self.overflow)?;
                field.set(bytes, new);
                Some(new)
            }
        }
    }
}

fn parse(args: Args<'_>) -> Result<Vec<Operation>, CommandError> {
    let mut words = Words::from(args, 2);
    let mut overflow = Overflow::Wrap;
    let mut operations = Vec::new();
    while !words.is_empty() {
        if let Some(word) = words.option("OVERFLOW")? {
            overflow = match () {
                () if word.eq_ignore_ascii_case(b"WRAP") => Overflow::Wrap,
                () if word.eq_ignore_ascii_case(b"SAT") => Overflow::Saturate,
                () if word.eq_ignore_ascii_case(b"FAIL") => Overflow::Fail,
                () => return Err(CommandError::BitfieldOverflow),
            };
            continue;
        }
        let change: Option<fn(i64) -> Change> = if words.token("GET") {
            None
        } else if words.token("SET") {
            Some(Change::Set)
        } else if words.token("INCRBY") {
            Some(Change::Add)
        } else {
            return Err(CommandError::Syntax);
        };
        let (kind, at) = (words.word()?, words.word()?);
        let number = change.map(|_| words.word()).transpose()?;
        let field = Field::parse(kind, at)?;
        let change = match (change, number) {
            (Some(change), Some(number)) => {
                change(parse_i64(number).ok_or(CommandError::NotInteger)?)
            }
            _ => Change::None,
        };
        operations.push(Operation { field, change, overflow });
    }
    Ok(operations)
}

/// Tells what operations that only read find.
fn show(
    cx: &mut Context<'_>,
    args: Args<'_>,
    operations: &[Operation],
) -> Result<(), CommandError> {
    read::<kind::PlainString>(cx, &args[1], |string, at, reply| {
        let value = string.and_then(|string| string.get(at.now, at.writers));
        let bytes = value.as_deref().unwrap_or_default();
        reply.array(operations.len());
        operations.iter().for_each(|operation| reply.integer(operation.field.get(bytes)));
        value.is_some()
    })
}

fn bitfield(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let operations = parse(args)?;
    let writes = operations.iter().filter(|operation| operation.change != Change::None);
    let ends = writes.map(|operation| operation.field.at + operation.field.bits as usize);
    let Some(end) = ends.max() else { return show(cx, args, &operations) };
    check_key(cx, &args[1])?;
    with_key(cx, &args[1], |locked, reply| {
        let mut answers = Vec::with_capacity(operations.len());
        rewrite(locked, |value| {
            let old = value.clone();
            value.resize(value.len().max(end.div_ceil(8)), 0);
            answers.extend(operations.iter().map(|operation| operation.run(value)));
            // What is already so is no update.
            Ok((*value != old).then_some(()))
        })?;
        tell(&answers, reply);
        Ok(())
    })
}

fn tell(answers: &[Option<i64>], reply: &mut Reply<'_>) {
    reply.array(answers.len());
    for answer in answers {
        match answer {
            Some(n) => reply.integer(*n),
            None => reply.null(),
        }
    }
}

fn bitfield_ro(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let operations = parse(args)?;
    if operations.iter().any(|operation| operation.change != Change::None) {
        return Err(CommandError::BitfieldReadOnly);
    }
    show(cx, args, &operations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_do_not_fit_wrap_saturate_or_fail() {
        let field = |signed, bits| Field { signed, bits, at: 0 };
        let cases = [
            (field(false, 2), 4, Some(0), Some(3)),
            (field(false, 2), -1, Some(3), Some(0)),
            (field(true, 8), 128, Some(-128), Some(127)),
            (field(true, 8), -129, Some(127), Some(-128)),
            (field(true, 64), i128::from(i64::MAX) + 1, Some(i64::MIN), Some(i64::MAX)),
            (field(false, 63), 1 << 63, Some(0), Some(i64::MAX)),
        ];
        for (field, value, wrapped, saturated) in cases {
            assert_eq!(field.fit(value, Overflow::Wrap), wrapped, "{field:?}");
            assert_eq!(field.fit(value, Overflow::Saturate), saturated, "{field:?}");
            assert_eq!(field.fit(value, Overflow::Fail), None, "{field:?}");
        }
        assert_eq!(field(true, 8).fit(-128, Overflow::Fail), Some(-128));
    }

    #[test]
    fn what_is_set_is_read() {
        let mut bytes = [0xff; 12];
        for (signed, bits, at, value) in [
            (true, 5, 3, -7),
            (false, 63, 11, i64::MAX),
            (true, 64, 7, i64::MIN),
            (false, 1, 95, 0),
        ] {
            let field = Field { signed, bits, at };
            field.set(&mut bytes, value);
            assert_eq!(field.get(&bytes), value, "{field:?}");
        }
    }
}
