//! FLUSHDB and FLUSHALL: a delete of all keys that this node has seen, of a database or of all of a function.

use std::collections::BTreeMap;

use miso_protocol::command::{Arg, Categories, Flags, Group, Row};
use miso_protocol::request::Args;
use miso_store::Held;

use super::string_many::locked;
use crate::commands::args::Words;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;
use crate::engine::spans;

const MODE: Arg = Arg::one_of("flush-type", &[Arg::token("ASYNC"), Arg::token("SYNC")]).optional();

/// The row of a command that deletes all keys.
const fn row(name: &'static str) -> Row {
    Row::command(name)
        .args(&[MODE])
        .group(Group::Server)
        .deletes()
        .flags(Flags::RESETS)
        .categories(Categories::DANGEROUS.with(Categories::KEYSPACE))
        .complexity("O(N) with N keys")
        .merges("what was written without being seen stays")
        .reply("OK")
}

pub(crate) const FLUSHES: &[Command] = &[
    Command::new(
        row("FLUSHDB")
            .summary("Deletes all keys of this database, as far as this node has seen them"),
        flush_database,
    ),
    Command::new(
        row("FLUSHALL")
            .flags(Flags::DATABASES)
            .summary("Deletes all keys of all databases of this function that are on this node"),
        flush_all,
    ),
];

fn flush_database(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    check_mode(args)?;
    cx.with_all(flush);
    cx.reply.ok();
    Ok(())
}

fn flush_all(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    check_mode(args)?;
    if let Some(held) = &mut cx.held {
        held.beside.iter_mut().flat_map(BTreeMap::values_mut).for_each(flush);
    } else {
        let others = spans::others(cx)?;
        let _deleting = spans::begin_deletes(others.values())?;
        others.values().for_each(|function| flush(&mut spans::hold_all(function)));
    }
    cx.with_all(flush);
    cx.reply.ok();
    Ok(())
}

fn check_mode(args: Args<'_>) -> Result<(), CommandError> {
    let mut words = Words::from(args, 1);
    let _ = words.token("ASYNC") || words.token("SYNC");
    words.end()
}

/// Deletes all keys of a database.
fn flush(held: &mut Held<'_>) {
    let now = held.function().now();
    for key in keys(held) {
        locked(held, (&key, now), |locked| locked.delete());
    }
}

/// All keys that are there.
fn keys(held: &mut Held<'_>) -> Vec<Box<[u8]>> {
    let mut keys = Vec::new();
    held.scan(0, usize::MAX, |key, _, _| keys.push(Box::from(key)));
    keys
}
