//! MISO.FEED: what has changed of a function since a reader last asked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use miso_protocol::command::{Arg, Flags, Group, Row};
use miso_protocol::integer;
use miso_protocol::reply::Reply;
use miso_protocol::request::Args;
use miso_store::FeedCursor;

use super::token;
use crate::commands::args::Words;
use crate::commands::scan::COUNT;
use crate::engine::command::Command;
use crate::engine::context::{Context, check_name};
use crate::engine::error::CommandError;
use crate::engine::feed::{Change, Page, Reader, Told, page};
use crate::engine::wait::{After, Wait, encoded};

/// How many changes are told at once, unless a reader says so.
pub(crate) const COUNT_DEFAULT: usize = 100;
/// How many a reader may ask for at once.
pub(crate) const COUNT_MAX: i64 = 10_000;

pub(crate) const FEED: &[Command] = &[Command::new(
    Row::command("MISO.FEED")
        .args(&[
            Arg::string("function"),
            Arg::string("cursor").with_token("AFTER"),
            COUNT,
            Arg::integer("milliseconds").with_token("BLOCK").optional(),
        ])
        .group(Group::Miso)
        .reads()
        .blocking()
        .flags(Flags::NOSCRIPT)
        .complexity(
            "O(N) with N changes; O(N) with N objects for a cursor of another node or of a while ago",
        )
        .summary(
            "What has changed of a function since a cursor, each value once, as it is now. \
             The cursor 0 tells everything, $ what changes from now on; a token of MISO.TOKEN is a \
             cursor. A cursor is good on every node, after a restart too, and a token for MISO.AWAIT",
        )
        .reply(
            "Array of names and values in turn (RESP3: map): cursor, to go on from; resync, 1 if what \
             the reader holds is to be dropped first; more, 1 if there is more at once; changes, of \
             which each is an array of object, name (empty of a plain key), type, value and the time in \
             milliseconds at which it expires, or -1. The value is nil if it has gone, a bulk \
             string, an array or (RESP3) a map; and an integer, its size, if it is too long to be told",
        )
        .example(&[("MISO.FEED default AFTER $", "1) \"cursor\"\n2) \"Ag…")]),
    feed,
)];

/// The cursor that an argument stands for; none: the end.
///
/// # Errors
/// If it is none, or one of another function.
pub(crate) fn cursor(function: &[u8], text: &[u8]) -> Result<Option<FeedCursor>, CommandError> {
    match text {
        b"0" => Ok(Some(FeedCursor::default())),
        b"$" => Ok(None),
        text => match token::decode_cursor(text) {
            Some((of, cursor)) if of == function => Ok(Some(cursor)),
            _ => Err(CommandError::FeedCursor),
        },
    }
}

/// How many changes a reader asks for.
///
/// # Errors
/// If it is no number from 1 on.
pub(crate) fn count(text: &[u8]) -> Result<usize, CommandError> {
    let count = integer::parse_i64(text).ok_or(CommandError::NotInteger)?;
    let count = Some(count.min(COUNT_MAX)).filter(|count| *count > 0);
    count.map(|count| count as usize).ok_or(CommandError::Syntax)
}

fn feed(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let name = &args[1];
    let mut words = Words::from(args, 2);
    let after = words.option("AFTER")?.ok_or(CommandError::Syntax)?;
    let (mut wanted, mut block) = (COUNT_DEFAULT, None);
    while !words.is_empty() {
        if let Some(text) = words.option("COUNT")? {
            wanted = count(text)?;
        } else {
            let text = words.option("BLOCK")?.ok_or(CommandError::Syntax)?;
            let ms = integer::parse_i64(text).ok_or(CommandError::TimeoutNotInteger)?;
            block = Some(u64::try_from(ms).map_err(|_| CommandError::NegativeTimeout)?);
        }
    }
    cx.check_function(name)?;
    check_name("function", name)?;
    let cursor = cursor(name, after)?;
    let function = cx.run_function(name)?;
    cx.node.feeds.follow(&function);
    let cursor = cursor.unwrap_or_else(|| function.feed_end());
    let reader = Reader { function, cursor, count: wanted };
    let (node, resp) = (Arc::clone(cx.node), cx.reply.resp);
    let user = cx.session.user.clone();
    let answer = move |until: Option<Instant>| {
        let (node, reader, user) = (Arc::clone(&node), reader.clone(), user.clone());
        async move {
            let function = Arc::clone(&reader.function);
            let changes = reader.next(&node, until).await;
            encoded(&node, resp, |reply| {
                let page = page(&function, changes, user.as_deref());
                write(function.name(), &page, reply);
                Ok(())
            })
        }
    };
    let past = Some(Instant::now());
    let until = match block {
        None => past,
        // 0 is for ever.
        Some(0) => None,
        Some(ms) => Instant::now().checked_add(Duration::from_millis(ms)),
    };
    cx.after = After::Wait(match block {
        None => Wait::soon(answer(past)),
        Some(_) => Wait::blocking(answer(until), answer(past)),
    });
    Ok(())
}

fn write(function: &[u8], page: &Page, reply: &mut Reply<'_>) {
    reply.map(4);
    reply.bulk(b"cursor");
    reply.bulk(token::encode_cursor(function, &page.cursor).as_bytes());
    for (name, yes) in [("resync", page.resync), ("more", page.more)] {
        reply.bulk(name.as_bytes());
        reply.integer(i64::from(yes));
    }
    reply.bulk(b"changes");
    reply.array(page.changes.len());
    for Change { object, name, kind, value, expires } in &page.changes {
        reply.array(5);
        reply.bulk(object);
        reply.bulk(name);
        reply.bulk(kind.name().as_bytes());
        match value {
            Told::Gone => reply.null(),
            Told::Text(text) => reply.bulk(text),
            Told::List(list) => {
                reply.array(list.len());
                list.iter().for_each(|member| reply.bulk(member));
            }
            Told::Fields(fields) => {
                reply.map(fields.len());
                fields.iter().flat_map(|(a, b)| [a, b]).for_each(|text| reply.bulk(text));
            }
            Told::Size(size) => reply.integer(*size as i64),
        }
        reply.integer(expires.map_or(-1, |at| at as i64));
    }
}
