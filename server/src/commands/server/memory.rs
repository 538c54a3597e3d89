//! MEMORY: what the process and its objects take.

use std::sync::atomic::Ordering;

use miso_protocol::command::{Arg, Bound, Group, Row};
use miso_protocol::request::Args;

use super::rows::PLAIN;
use crate::allocator::used_bytes;
use crate::commands::args::Words;
use crate::commands::plain::access::with_key;
use crate::commands::subcommands::helps;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

pub(super) const MEMORY: Command = Command::parent(
    Row::command("MEMORY").summary("About memory"),
    &[
        Command::new(
            Row::subcommand("USAGE")
                .args(&[Arg::key("key"), Arg::integer("count").with_token("SAMPLES").optional()])
                .reads()
                .summary("Bytes that an object takes")
                .reply("Integer, or nil if it is absent"),
            memory_usage,
        ),
        Command::new(
            Row::subcommand("DOCTOR")
                .flags(PLAIN)
                .for_bound(Bound::Node)
                .summary("A summary of memory use")
                .reply("Bulk string"),
            memory_doctor,
        ),
        Command::new(
            Row::subcommand("STATS")
                .flags(PLAIN)
                .for_bound(Bound::Part("figures of the node; the keys of its function"))
                .summary("Where memory goes")
                .reply("Array of names and values in turn (RESP3: map)"),
            memory_stats,
        ),
        Command::new(
            Row::subcommand("PURGE")
                .flags(PLAIN)
                .for_bound(Bound::Connection)
                .summary("Accepted; the allocator returns memory by itself")
                .reply("OK"),
            memory_purge,
        ),
        Command::new(
            Row::subcommand("MALLOC-STATS")
                .flags(PLAIN)
                .for_bound(Bound::Node)
                .summary("The allocator")
                .reply("Bulk string"),
            memory_malloc,
        ),
        helps(Group::Server),
    ],
);

/// MEMORY USAGE key [SAMPLES n].
fn memory_usage(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let id = &args[2];
    // How many elements to look at: the size is known without.
    let mut words = Words::from(args, 3);
    while !words.is_empty() {
        if !words.token("SAMPLES") || words.is_empty() || words.integer()? < 0 {
            return Err(CommandError::Syntax);
        }
    }
    let bytes = with_key(cx, id, |locked, _| {
        // A key that has expired is absent, also while its memory is not taken back yet.
        let shown = locked.shard.shown(locked.hash, id, locked.now);
        let object = shown.and_then(|_| locked.shard.object(locked.hash, id));
        Ok(object.map(|object| id.len() + 32 + object.heap_bytes()))
    })?;
    match bytes {
        Some(bytes) => cx.reply.integer(bytes as i64),
        None => cx.reply.null(),
    }
    Ok(())
}

fn memory_doctor(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.reply.bulk(b"No problem was found; INFO memory has the figures.");
    Ok(())
}

fn memory_stats(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let used = used_bytes();
    let peak = cx.node.stats.peak_memory.load(Ordering::Relaxed).max(used);
    let bound = cx.bound_function();
    let functions = cx.node.functions_for(bound.as_deref());
    let objects: usize = functions.iter().map(|function| function.object_count()).sum();
    // The node's memory is no measure of one function's keys.
    let each = if bound.is_some() { 0 } else { used / (objects as u64).max(1) };
    let figures = [
        ("peak.allocated", peak),
        ("total.allocated", used),
        ("startup.allocated", cx.node.stats.startup_memory.load(Ordering::Relaxed)),
        ("clients.normal", cx.node.clients.count()),
        ("keys.count", objects as u64),
        ("keys.bytes-per-key", each),
    ];
    cx.reply.map(figures.len());
    for (name, figure) in figures {
        cx.reply.bulk(name.as_bytes());
        cx.reply.integer(figure as i64);
    }
    Ok(())
}

fn memory_purge(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.reply.ok();
    Ok(())
}

fn memory_malloc(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let text = format!("mimalloc, {} bytes in use", used_bytes());
    cx.reply.bulk(text.as_bytes());
    Ok(())
}
