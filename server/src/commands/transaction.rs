//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.

use std::sync::atomic::Ordering;

use miso_protocol::command::{Access, Arg, Flags, Group, Row};
use miso_protocol::request::Args;
use miso_store::Held;

use super::{Command, ROW};
use crate::context::{After, Answering, Context, Wait};
use crate::dispatch::{self, Batch};
use crate::error::CommandError;
use crate::session::Transaction;

const FLAGS: Flags = Flags::NOSCRIPT
    .with(Flags::LOADING)
    .with(Flags::STALE)
    .with(Flags::FAST)
    .with(Flags::IMMEDIATE);

const fn row(
    name: &'static str,
    args: &'static [Arg],
    summary: &'static str,
    reply: &'static str,
) -> Row {
    Row { name, args, group: Group::Transactions, flags: FLAGS, summary, reply, ..ROW }
}

pub(super) const TRANSACTIONS: &[Command] = &[
    Command::new(row("MULTI", &[], "Begins a transaction", "OK"), multi),
    Command::new(
        Row {
            flags: FLAGS.without(Flags::FAST).with(Flags::SKIP_SLOWLOG),
            complexity: "As its commands",
            ..row(
                "EXEC",
                &[],
                "Runs what was queued, with nothing in between",
                "Array of replies, or nil if a watched object changed",
            )
        },
        exec,
    ),
    Command::new(row("DISCARD", &[], "Forgets what was queued", "OK"), discard),
    Command::new(
        row(
            "WATCH",
            &[Arg::key("object").multiple()],
            "Makes EXEC fail if one of the objects changes first",
            "OK",
        ),
        watch,
    ),
    Command::new(
        Row {
            flags: FLAGS.without(Flags::IMMEDIATE),
            ..row("UNWATCH", &[], "Forgets what is watched", "OK")
        },
        unwatch,
    ),
];

fn multi(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    if cx.session.transaction.is_some() {
        return Err(CommandError::text("ERR MULTI calls can not be nested"));
    }
    cx.session.transaction = Some(Transaction::default());
    cx.session.client.about.lock().multi = 0;
    cx.reply.ok();
    Ok(())
}

fn take(cx: &mut Context<'_>, command: &str) -> Result<Transaction, CommandError> {
    let transaction = cx.session.transaction.take();
    cx.session.client.about.lock().multi = -1;
    transaction.ok_or_else(|| CommandError::text(format!("ERR {command} without MULTI")))
}

fn discard(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    take(cx, "DISCARD")?;
    cx.session.unwatch();
    cx.reply.ok();
    Ok(())
}

fn exec(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let transaction = take(cx, "EXEC")?;
    if transaction.broken {
        cx.session.unwatch();
        return Err(CommandError::text(
            "EXECABORT Transaction discarded because of previous errors.",
        ));
    }
    if transaction.queued.is_empty() {
        let dirty = cx.session.dirty.load(Ordering::Acquire);
        cx.session.unwatch();
        if dirty {
            cx.reply.null_array()
        } else {
            cx.reply.array(0)
        }
        return Ok(());
    }
    let function = cx.function();
    // The shards of all objects concerned, held from before the watch is checked until the end.
    let mut shards = Vec::new();
    let mut walks = false;
    for queued in &transaction.queued {
        let row = cx.shared.table.row(queued.row);
        let args = queued.args.as_args();
        let row = args
            .get(1)
            .and_then(|word| cx.shared.table.subcommand(queued.row, word))
            .map_or(row, |at| &row.subcommands[at]);
        shards.extend(row.keys(args).map(|key| function.shard_index(key.word)));
        walks |= row.access == Access::Read && row.key_spec().0 == 0;
    }
    if walks {
        shards = (0..function.shards()).collect();
    }
    let shared = cx.shared;
    let worker = cx.worker;
    let held = Held::shards(&function, shards);
    let dirty = cx.session.dirty.load(Ordering::Acquire);
    if dirty {
        drop(held);
        cx.session.unwatch();
        cx.reply.null_array();
        return Ok(());
    }
    let start = cx.reply.out.len();
    cx.reply.array(transaction.queued.len());
    let mut after = After::Continue;
    // Replies that others must give: how many bytes stand before each, and what makes it.
    let mut awaited = Vec::new();
    {
        let mut batch = Batch::default();
        let began = std::time::Instant::now();
        let reply = miso_protocol::reply::Reply { out: cx.reply.out, resp: cx.session.resp };
        let mut inner = Context {
            shared,
            session: cx.session,
            reply,
            after: After::Continue,
            worker,
            held: Some(held),
        };
        for queued in &transaction.queued {
            dispatch::call_queued(&mut inner, queued, &mut batch);
            // A command that would wait answers at once in a transaction, as in Redis.
            match std::mem::take(&mut inner.after) {
                After::Sleep(_, reply) => inner.reply.out.extend_from_slice(reply),
                After::Wait(wait) => {
                    awaited.push((inner.reply.out.len() - start, wait.without_waiting()));
                }
                After::Close => after = After::Close,
                After::Continue | After::Retry | After::Restore(_) => {}
            }
        }
        batch.finish(began.elapsed(), worker);
    }
    cx.reply.resp = cx.session.resp;
    if !awaited.is_empty() {
        let made = cx.reply.out.split_off(start);
        after = After::Wait(Wait::soon(assemble(made, awaited)));
    }
    cx.after = after;
    cx.session.unwatch();
    Ok(())
}

/// Puts the replies that are made now between those that were made within the transaction.
async fn assemble(made: Vec<u8>, awaited: Vec<(usize, Answering)>) -> Vec<u8> {
    let (mut whole, mut from) = (Vec::with_capacity(made.len()), 0);
    for (at, reply) in awaited {
        whole.extend_from_slice(&made[from..at]);
        whole.extend_from_slice(&reply.await);
        from = at;
    }
    whole.extend_from_slice(&made[from..]);
    whole
}

fn watch(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if cx.session.transaction.is_some() {
        return Err(CommandError::text("ERR WATCH inside MULTI is not allowed"));
    }
    let function = cx.function();
    for object in args.tail(1).iter() {
        let known = |(held, watched): &(std::sync::Arc<miso_store::Function>, Box<[u8]>)| {
            std::sync::Arc::ptr_eq(held, &function) && &**watched == object
        };
        if !cx.session.watched.iter().any(known) {
            function.watch(object, &cx.session.dirty);
            cx.session.watched.push((std::sync::Arc::clone(&function), Box::from(object)));
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
