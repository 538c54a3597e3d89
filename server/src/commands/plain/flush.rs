//! FLUSHDB and FLUSHALL: a delete of all keys that this node has seen.

use miso_protocol::command::{Arg, Categories, Flags, Group, Row};
use miso_protocol::request::Args;
use miso_store::Held;

use super::string_many::locked;
use crate::commands::args::Words;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

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
        .summary("Deletes all keys of this function, as far as this node has seen them")
        .reply("OK")
}

pub(crate) const FLUSHES: &[Command] =
    &[Command::new(row("FLUSHDB"), flush), Command::new(row("FLUSHALL"), flush)];

fn flush(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let mut words = Words::from(args, 1);
    let _ = words.token("ASYNC") || words.token("SYNC");
    words.end()?;
    cx.with_all(|held| {
        let now = held.function().now();
        for key in keys(held) {
            locked(held, (&key, now), |locked| locked.delete());
        }
    });
    cx.reply.ok();
    Ok(())
}

/// All keys that are there.
fn keys(held: &mut Held<'_>) -> Vec<Box<[u8]>> {
    let mut keys = Vec::new();
    held.scan(0, usize::MAX, |key, _, _| keys.push(Box::from(key)));
    keys
}
