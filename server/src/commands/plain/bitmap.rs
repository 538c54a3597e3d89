//! Bits of strings.

use std::borrow::Cow;

use miso_protocol::command::{Arg, Flags, Group, Row};
use miso_protocol::integer::parse_i64;
use miso_protocol::request::Args;
use miso_store::crdt::kind;
use miso_store::crdt::plain::FOREVER;

use super::access::{Locked, read, with_key};
use super::string::put;
use super::string_many::locked;
use super::string_parts::{LONGEST, rewrite};
use crate::commands::access::check_key;
use crate::commands::args::Words;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const KEY: Arg = Arg::key("key");
const WHOLE: &str = "of concurrent changes the later whole value stays";
const UNIT: Arg = Arg::one_of("unit", &[Arg::token("BYTE"), Arg::token("BIT")]).optional();

pub(crate) const BITMAPS: &[Command] = &[
    Command::new(
        Row::command("SETBIT")
            .args(&[KEY.read_written(), Arg::integer("offset"), Arg::integer("value")])
            .group(Group::Bitmap)
            .writes()
            .flags(Flags::RESETS)
            .complexity("O(N) with N bytes of the string")
            .decides_here(WHOLE)
            .summary("Sets a bit of a string, which grows by zero bytes if it is short")
            .reply("Integer: what the bit was")
            .example(&[("SETBIT days 7 1", "(integer) 0")]),
        setbit,
    ),
    Command::new(
        Row::command("GETBIT")
            .args(&[KEY, Arg::integer("offset")])
            .group(Group::Bitmap)
            .reads()
            .fast()
            .summary("A bit of a string")
            .reply("Integer: 0 beyond its end"),
        getbit,
    ),
    Command::new(
        Row::command("BITCOUNT")
            .args(&[
                KEY,
                Arg::block("range", &[Arg::integer("start"), Arg::integer("end"), UNIT]).optional(),
            ])
            .group(Group::Bitmap)
            .reads()
            .complexity("O(N) with N bytes of the range")
            .summary("How many bits are set; negative places count from the end")
            .reply("Integer"),
        bitcount,
    ),
    Command::new(
        Row::command("BITPOS")
            .args(&[
                KEY,
                Arg::integer("bit"),
                Arg::block(
                    "range",
                    &[
                        Arg::integer("start"),
                        Arg::block("end-unit-block", &[Arg::integer("end"), UNIT]).optional(),
                    ],
                )
                .optional(),
            ])
            .group(Group::Bitmap)
            .reads()
            .complexity("O(N) with N bytes of the range")
            .summary(
                "The place of the first bit that is 0, or 1; negative places count from the end",
            )
            .reply("Integer: -1 if there is none"),
        bitpos,
    ),
    Command::new(
        Row::command("BITOP")
            .args(&[
                Arg::one_of(
                    "operation",
                    &[
                        Arg::token("AND"),
                        Arg::token("OR"),
                        Arg::token("XOR"),
                        Arg::token("NOT"),
                        Arg::token("DIFF"),
                        Arg::token("DIFF1"),
                        Arg::token("ANDOR"),
                        Arg::token("ONE"),
                    ],
                ),
                Arg::key("destkey").written(),
                KEY.read().multiple(),
            ])
            .group(Group::Bitmap)
            .writes()
            .flags(Flags::RESETS)
            .complexity("O(N) with N bytes of all strings")
            .decides_here("what the result is; of concurrent results the later stays")
            .summary("Stores what a bitwise operation makes of strings, in place of what is there")
            .reply("Integer: the length of the result"),
        bitop,
    ),
];

/// Reads the offset of a bit; with `bits` it may be `#n`, which counts in numbers of as many bits.
pub(super) fn offset(text: &[u8], bits: Option<u32>) -> Result<usize, CommandError> {
    let (text, unit) = match (text, bits) {
        ([b'#', rest @ ..], Some(bits)) => (rest, i64::from(bits)),
        _ => (text, 1),
    };
    let bit = parse_i64(text).and_then(|n| n.checked_mul(unit));
    let bit = bit.and_then(|bit| usize::try_from(bit).ok()).filter(|bit| bit / 8 < LONGEST);
    bit.ok_or(CommandError::BitOffset)
}

/// The bit at an offset, the first of a byte being its highest.
pub(super) fn bit(bytes: &[u8], at: usize) -> bool {
    bytes.get(at / 8).is_some_and(|byte| byte & (0x80 >> (at % 8)) != 0)
}

/// Sets the bit at an offset within `bytes`.
pub(super) fn set_bit(bytes: &mut [u8], at: usize, on: bool) {
    if let Some(byte) = bytes.get_mut(at / 8) {
        let mask = 0x80 >> (at % 8);
        *byte = if on { *byte | mask } else { *byte & !mask };
    }
}

fn setbit(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let at = offset(&args[2], None)?;
    let on = match parse_i64(&args[3]) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(CommandError::BitValue),
    };
    check_key(cx, &args[1])?;
    with_key(cx, &args[1], |locked, reply| {
        let mut old = false;
        rewrite(locked, |value| {
            old = bit(value, at);
            // What is already so is no update.
            if value.len() > at / 8 && old == on {
                return Ok(None);
            }
            value.resize(value.len().max(at / 8 + 1), 0);
            set_bit(value, at, on);
            Ok(Some(()))
        })?;
        reply.integer(i64::from(old));
        Ok(())
    })
}

fn getbit(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let at = offset(&args[2], None)?;
    read::<kind::PlainString>(cx, &args[1], |string, now, reply| {
        let value = string.and_then(|string| string.get(now.now, now.writers));
        reply.integer(i64::from(value.as_deref().is_some_and(|value| bit(value, at))));
        value.is_some()
    })
}

/// From which to which bit, both included; none if there is nothing between.
fn range((start, end): (i64, i64), by_bit: bool, bytes: usize) -> Option<(usize, usize)> {
    if start < 0 && end < 0 && start > end {
        return None;
    }
    let unit = if by_bit { 1 } else { 8 };
    let len = bytes as i64 * 8 / unit;
    let place = |n: i64| if n < 0 { n.saturating_add(len).max(0) } else { n };
    let (start, end) = (place(start), place(end).min(len - 1));
    if start > end {
        return None;
    }
    Some(((start * unit) as usize, (end * unit + unit - 1) as usize))
}

/// Reads `[BYTE | BIT]` at the end of the words.
fn by_bit(words: &mut Words<'_>) -> Result<bool, CommandError> {
    let by_bit = words.token("BIT");
    if !by_bit && !words.is_empty() && !words.token("BYTE") {
        return Err(CommandError::Syntax);
    }
    words.end()?;
    Ok(by_bit)
}

/// How many bits are set from one to another.
fn count(bytes: &[u8], (first, last): (usize, usize)) -> usize {
    let (from, to) = (first / 8, last / 8);
    let whole: usize = bytes[from..=to].iter().map(|byte| byte.count_ones() as usize).sum();
    let before = bytes[from] & !(0xff >> (first % 8));
    let after = bytes[to] & (0x7f >> (last % 8));
    whole - before.count_ones() as usize - after.count_ones() as usize
}

fn bitcount(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if !matches!(args.len(), 2 | 4 | 5) {
        return Err(CommandError::Syntax);
    }
    let mut words = Words::from(args, 2);
    let (ends, by_bit) = if words.is_empty() {
        ((0, -1), false)
    } else {
        ((words.integer()?, words.integer()?), by_bit(&mut words)?)
    };
    read::<kind::PlainString>(cx, &args[1], |string, at, reply| {
        let value = string.and_then(|string| string.get(at.now, at.writers));
        let bytes = value.as_deref().unwrap_or_default();
        let counted = range(ends, by_bit, bytes.len()).map_or(0, |range| count(bytes, range));
        reply.integer(counted as i64);
        value.is_some()
    })
}

/// The first bit that is `on` from one to another.
fn position(bytes: &[u8], on: bool, (first, last): (usize, usize)) -> Option<usize> {
    let mut at = first;
    let skipped = if on { 0x00 } else { 0xff };
    while at <= last {
        if at.is_multiple_of(8) && bytes[at / 8] == skipped {
            at += 8;
        } else if bit(bytes, at) == on {
            return Some(at);
        } else {
            at += 1;
        }
    }
    None
}

fn bitpos(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let mut words = Words::from(args, 2);
    let on = match words.integer()? {
        0 => false,
        1 => true,
        _ => return Err(CommandError::BitArgument),
    };
    let start = if words.is_empty() { 0 } else { words.integer()? };
    let end = if words.is_empty() { None } else { Some(words.integer()?) };
    let by_bit = by_bit(&mut words)?;
    read::<kind::PlainString>(cx, &args[1], |string, at, reply| {
        let value = string.and_then(|string| string.get(at.now, at.writers));
        let Some(bytes) = value.as_deref() else {
            // An absent string is all zeros.
            reply.integer(if on { -1 } else { 0 });
            return false;
        };
        let ends = (start, end.unwrap_or(i64::MAX));
        // Other than BITCOUNT, it takes ends that are both before the string for its first place.
        let size = bytes.len() as i64 * if by_bit { 8 } else { 1 };
        let place = |at: i64| if at < 0 { at.saturating_add(size).max(0) } else { at };
        let ends = (place(ends.0), place(ends.1));
        let found = range(ends, by_bit, bytes.len()).and_then(|range| {
            // Without an end, zeros follow the string.
            let after = (!on && end.is_none()).then_some(bytes.len() * 8);
            position(bytes, on, range).or(after)
        });
        reply.integer(found.map_or(-1, |at| at as i64));
        true
    })
}

/// The string of a key.
fn string_of(locked: &Locked<'_, '_>) -> Result<Vec<u8>, CommandError> {
    let at = locked.at();
    let string = locked.state::<kind::PlainString>()?;
    let value = string.and_then(|string| string.get(at.now, at.writers));
    Ok(value.map_or_else(Vec::new, Cow::into_owned))
}

/// What BITOP makes of bits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Join {
    And,
    Or,
    Xor,
    Not,
    /// What the first has and none of the others.
    Diff,
    /// What one of the others has and not the first.
    Diff1,
    /// What the first has and one of the others, too.
    AndOr,
    /// What exactly one has.
    One,
}

const JOINS: [(&str, Join); 8] = [
    ("AND", Join::And),
    ("OR", Join::Or),
    ("XOR", Join::Xor),
    ("NOT", Join::Not),
    ("DIFF", Join::Diff),
    ("DIFF1", Join::Diff1),
    ("ANDOR", Join::AndOr),
    ("ONE", Join::One),
];

/// Joins `other` into `bytes`, byte by byte; beyond its end there are zeros.
fn fold(bytes: &mut [u8], other: Vec<u8>, join: impl Fn(u8, u8) -> u8) {
    let (both, rest) = bytes.split_at_mut(other.len().min(bytes.len()));
    both.iter_mut().zip(other).for_each(|(byte, other)| *byte = join(*byte, other));
    rest.iter_mut().for_each(|byte| *byte = join(*byte, 0));
}

impl Join {
    /// The result for strings, as long as the longest.
    fn strings(self, strings: Vec<Vec<u8>>) -> Vec<u8> {
        let longest = strings.iter().map(Vec::len).max().unwrap_or(0);
        let mut others = strings.into_iter();
        let mut first = others.next().unwrap_or_default();
        first.resize(longest, 0);
        let mut any = || {
            let mut any = vec![0; longest];
            others.by_ref().for_each(|other| fold(&mut any, other, |a, b| a | b));
            any
        };
        match self {
            Join::And => others.for_each(|other| fold(&mut first, other, |a, b| a & b)),
            Join::Or => others.for_each(|other| fold(&mut first, other, |a, b| a | b)),
            Join::Xor => others.for_each(|other| fold(&mut first, other, |a, b| a ^ b)),
            Join::Not => first.iter_mut().for_each(|byte| *byte = !*byte),
            Join::Diff => fold(&mut first, any(), |a, b| a & !b),
            Join::Diff1 => fold(&mut first, any(), |a, b| !a & b),
            Join::AndOr => fold(&mut first, any(), |a, b| a & b),
            Join::One => {
                let mut more = vec![0; longest];
                for mut other in others {
                    other.resize(longest, 0);
                    let both = first.iter().zip(&other).map(|(a, b)| a & b);
                    more.iter_mut().zip(both).for_each(|(more, both)| *more |= both);
                    fold(&mut first, other, |a, b| a | b);
                }
                fold(&mut first, more, |a, b| a & !b);
            }
        }
        first
    }
}

fn bitop(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let named = JOINS.iter().find(|(name, _)| args[1].eq_ignore_ascii_case(name.as_bytes()));
    let (name, join) = *named.ok_or(CommandError::Syntax)?;
    let (to, sources) = (&args[2], args.tail(3));
    if join == Join::Not && sources.len() != 1 {
        return Err(CommandError::BitopNot);
    }
    if matches!(join, Join::Diff | Join::Diff1 | Join::AndOr) && sources.len() < 2 {
        return Err(CommandError::BitopSources(name.into()));
    }
    check_key(cx, to)?;
    let length = cx.with_keys(args.tail(2).iter(), |held| {
        let now = held.function().now();
        let mut strings = Vec::with_capacity(sources.len());
        for key in sources.iter() {
            strings.push(locked(held, (key, now), |locked| string_of(locked))?);
        }
        let result = join.strings(strings);
        locked(held, (to, now), |locked| {
            locked.check_plain()?;
            if result.is_empty() {
                locked.delete();
            } else {
                put(locked, &result, FOREVER)?;
            }
            Ok::<_, CommandError>(result.len())
        })
    })?;
    cx.reply.integer(length as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_of_several_strings_are_joined() {
        let strings = || vec![vec![0b1100, 1], vec![0b1010], vec![0b1001, 0]];
        for (name, expected) in [
            ("AND", [0b1000, 0]),
            ("OR", [0b1111, 1]),
            ("XOR", [0b1111, 1]),
            ("DIFF", [0b0100, 1]),
            ("DIFF1", [0b0011, 0]),
            ("ANDOR", [0b1000, 0]),
            ("ONE", [0b0111, 1]),
        ] {
            let (_, join) = JOINS.iter().find(|(known, _)| *known == name).expect("it is known");
            assert_eq!(join.strings(strings()), expected, "{name}");
        }
        assert_eq!(Join::Not.strings(vec![vec![1]]), [0xfe]);
    }

    #[test]
    fn ranges_of_bits_are_those_of_redis() {
        assert_eq!(range((0, -1), false, 3), Some((0, 23)));
        assert_eq!(range((1, 1), false, 3), Some((8, 15)));
        assert_eq!(range((5, 30), true, 3), Some((5, 23)));
        assert_eq!(range((-8, -1), true, 3), Some((16, 23)));
        assert_eq!(range((i64::MIN, i64::MAX), false, 3), Some((0, 23)));
        for (ends, bytes) in [((0, -1), 0), ((-1, -2), 3), ((3, 3), 3), ((2, 1), 3)] {
            assert_eq!(range(ends, false, bytes), None, "{ends:?}");
        }
        assert_eq!(count(b"\xff\xff\xff", (5, 17)), 13);
        assert_eq!(count(b"foobar", (5, 5)), 1);
        assert_eq!(position(b"\xff\xf0\x00", false, (0, 23)), Some(12));
        assert_eq!(position(b"\x00\x00\x01", true, (0, 22)), None);
        assert_eq!(position(b"\x00\x00\x01", true, (3, 23)), Some(23));
    }
}
