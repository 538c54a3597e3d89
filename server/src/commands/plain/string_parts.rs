//! Parts of strings.

use std::borrow::Cow;

use miso_protocol::command::{Arg, Flags, Group, Row};
use miso_protocol::integer::parse_i64;
use miso_protocol::request::Args;
use miso_store::crdt::kind;
use miso_store::crdt::plain::FOREVER;

use super::access::{Locked, read, with_key};
use super::string::put;
use crate::commands::access::check_key;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

const KEY: Arg = Arg::key("key");
const WHOLE: &str = "of concurrent changes the later whole value stays";
/// The longest string: Redis's `proto-max-bulk-len`.
pub(super) const LONGEST: usize = 512 << 20;

pub(crate) const STRINGS: &[Command] = &[
    Command::new(
        Row::command("APPEND")
            .args(&[KEY.read_written(), Arg::string("value")])
            .group(Group::String)
            .writes()
            .fast()
            .flags(Flags::RESETS)
            .complexity("O(N) with N bytes of the new string")
            .decides_here(WHOLE)
            .summary("Appends to the string of a key, made if it is absent")
            .reply("Integer: the new length"),
        append,
    ),
    Command::new(
        Row::command("STRLEN")
            .args(&[KEY])
            .group(Group::String)
            .reads()
            .fast()
            .summary("The length of the string of a key")
            .reply("Integer: 0 if it is absent"),
        strlen,
    ),
    Command::new(
        Row::command("SETRANGE")
            .args(&[KEY.read_written(), Arg::integer("offset"), Arg::string("value")])
            .group(Group::String)
            .writes()
            .flags(Flags::RESETS)
            .complexity("O(N) with N bytes of the new string")
            .decides_here(WHOLE)
            .summary("Overwrites a part of the string of a key, with zero bytes before it if it is short")
            .reply("Integer: the new length"),
        setrange,
    ),
    Command::new(
        Row::command("GETRANGE")
            .args(&[KEY, Arg::integer("start"), Arg::integer("end")])
            .group(Group::String)
            .reads()
            .complexity("O(N) with N bytes told")
            .summary("A part of the string of a key; negative places count from the end")
            .reply("Bulk string"),
        getrange,
    ),
    Command::new(
        Row::command("SUBSTR")
            .args(&[KEY, Arg::integer("start"), Arg::integer("end")])
            .group(Group::String)
            .reads()
            .complexity("O(N) with N bytes told")
            .summary("A part of the string of a key, as GETRANGE")
            .reply("Bulk string"),
        getrange,
    ),
];

/// Changes the string of a key by `edit`, which gets it, empty if it is absent; its deadline stays.
/// Answers what `edit` does; if that is none, nothing is changed.
pub(super) fn rewrite<R>(
    locked: &mut Locked<'_, '_>,
    edit: impl FnOnce(&mut Vec<u8>) -> Result<Option<R>, CommandError>,
) -> Result<Option<R>, CommandError> {
    let at = locked.at();
    let string = locked.state::<kind::PlainString>()?;
    let until = string.and_then(|string| string.deadline(at.now, at.writers));
    let value = string.and_then(|string| string.get(at.now, at.writers));
    let mut value = value.map_or_else(Vec::new, Cow::into_owned);
    let result = edit(&mut value)?;
    if result.is_some() {
        put(locked, &value, until.unwrap_or(FOREVER))?;
    }
    Ok(result)
}

fn append(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    check_key(cx, &args[1])?;
    with_key(cx, &args[1], |locked, reply| {
        let length = rewrite(locked, |value| {
            if value.len() + args[2].len() > LONGEST {
                return Err(CommandError::StringTooLong);
            }
            value.extend_from_slice(&args[2]);
            Ok(Some(value.len()))
        })?;
        reply.integer(length.unwrap_or(0) as i64);
        Ok(())
    })
}

fn strlen(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    read::<kind::PlainString>(cx, &args[1], |string, at, reply| {
        let length = string.and_then(|string| string.get(at.now, at.writers)).map(|v| v.len());
        reply.integer(length.unwrap_or(0) as i64);
        length.is_some()
    })
}

fn setrange(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let offset = parse_i64(&args[2]).ok_or(CommandError::NotInteger)?;
    let offset = usize::try_from(offset).map_err(|_| CommandError::OffsetOutOfRange)?;
    let part = &args[3];
    check_key(cx, &args[1])?;
    with_key(cx, &args[1], |locked, reply| {
        let mut length = 0;
        rewrite(locked, |value| {
            length = value.len();
            // Nothing to write changes nothing, and makes no key.
            if part.is_empty() {
                return Ok(None);
            }
            let end = offset.checked_add(part.len()).filter(|end| *end <= LONGEST);
            let end = end.ok_or(CommandError::StringTooLong)?;
            value.resize(value.len().max(end), 0);
            value[offset..end].copy_from_slice(part);
            length = value.len();
            Ok(Some(()))
        })?;
        reply.integer(length as i64);
        Ok(())
    })
}

/// The bytes from `start` to `end`, which count from the end if they are negative, as Redis takes them.
fn part(value: &[u8], start: i64, end: i64) -> &[u8] {
    let len = value.len() as i64;
    if start < 0 && end < 0 && start > end {
        return &[];
    }
    let place = |at: i64| if at < 0 { at.saturating_add(len).max(0) } else { at };
    let (start, end) = (place(start), place(end).min(len - 1));
    if start > end || len == 0 {
        return &[];
    }
    &value[start as usize..=end as usize]
}

fn getrange(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let start = parse_i64(&args[2]).ok_or(CommandError::NotInteger)?;
    let end = parse_i64(&args[3]).ok_or(CommandError::NotInteger)?;
    read::<kind::PlainString>(cx, &args[1], |string, at, reply| {
        let value = string.and_then(|string| string.get(at.now, at.writers));
        reply.bulk(value.as_deref().map_or(&[][..], |value| part(value, start, end)));
        value.is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::part;

    #[test]
    fn parts_are_those_of_redis() {
        let text = b"This is a string";
        assert_eq!(part(text, 0, 3), b"This");
        assert_eq!(part(text, -3, -1), b"ing");
        assert_eq!(part(text, 0, -1), text);
        assert_eq!(part(text, 10, 100), b"string");
        assert_eq!(part(text, -100, 3), b"This");
        assert_eq!(part(text, -1, -3), b"");
        assert_eq!(part(text, 20, 30), b"");
        assert_eq!(part(b"", 0, -1), b"");
        assert_eq!(part(text, i64::MIN, i64::MAX), text);
    }
}
