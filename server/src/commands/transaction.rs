//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.

use std::collections::btree_map::Entry;
use std::sync::Arc;

use miso_protocol::command::{Arg, Flags, Group, Row};
use miso_protocol::request::Args;

use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;
use crate::engine::session::Transaction;
use crate::engine::wait::After;

const FLAGS: Flags = Flags::NOSCRIPT
    .with(Flags::LOADING)
    .with(Flags::STALE)
    .with(Flags::FAST)
    .with(Flags::IMMEDIATE);

pub(super) const TRANSACTIONS: &[Command] = &[
    Command::new(
        Row::command("MULTI")
            .group(Group::Transactions)
            .flags(FLAGS)
            .summary("Begins a transaction")
            .reply("OK"),
        multi,
    ),
    Command::new(
        Row::command("EXEC")
            .group(Group::Transactions)
            .flags(
                Flags::NOSCRIPT
                    .with(Flags::LOADING)
                    .with(Flags::STALE)
                    .with(Flags::IMMEDIATE)
                    .with(Flags::SKIP_SLOWLOG)
                    .with(Flags::EXEC),
            )
            .complexity("As its commands")
            .summary("Runs what was queued, with nothing in between")
            .reply("Array of replies, or nil if a watched object changed"),
        exec,
    ),
    Command::new(
        Row::command("DISCARD")
            .group(Group::Transactions)
            .flags(FLAGS)
            .summary("Forgets what was queued")
            .reply("OK"),
        discard,
    ),
    Command::new(
        Row::command("WATCH")
            .args(&[Arg::key("object").multiple()])
            .group(Group::Transactions)
            .flags(FLAGS)
            .decides_here("whether EXEC runs: a change of another node counts once it is here")
            .summary("Makes EXEC fail if one of the objects changes first")
            .reply("OK"),
        watch,
    ),
    Command::new(
        Row::command("UNWATCH")
            .group(Group::Transactions)
            .fast()
            .flags(Flags::NOSCRIPT.with(Flags::LOADING).with(Flags::STALE))
            .summary("Forgets what is watched")
            .reply("OK"),
        unwatch,
    ),
];

fn multi(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    if cx.session.transaction.is_some() {
        return Err(CommandError::NestedMulti);
    }
    cx.session.transaction = Some(Transaction::default());
    cx.session.client.about.lock().multi = 0;
    cx.reply.ok();
    Ok(())
}

fn discard(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    if cx.session.transaction.is_none() {
        return Err(CommandError::WithoutMulti("DISCARD".into()));
    }
    cx.session.discard();
    cx.reply.ok();
    Ok(())
}

/// Lets the engine run what is queued.
fn exec(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    match &cx.session.transaction {
        None => Err(CommandError::WithoutMulti("EXEC".into())),
        Some(transaction) if transaction.broken => {
            cx.session.discard();
            Err(CommandError::ExecAborted)
        }
        Some(_) => {
            cx.after = After::Exec;
            Ok(())
        }
    }
}

fn watch(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if cx.session.transaction.is_some() {
        return Err(CommandError::WatchInMulti);
    }
    let function = cx.function();
    for object in args.tail(1).iter() {
        let address = Arc::as_ptr(&function).addr();
        if let Entry::Vacant(new) = cx.session.watched.entry((address, Box::from(object))) {
            function.watch(object, &cx.session.dirty);
            new.insert(Arc::clone(&function));
        }
    }
    cx.session.client.about.lock().watched = cx.session.watched.len();
    cx.reply.ok();
    Ok(())
}

fn unwatch(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    // Within EXEC the shards are held, and EXEC forgets all that is watched anyway.
    if cx.held.is_none() {
        cx.session.unwatch();
    }
    cx.reply.ok();
    Ok(())
}
