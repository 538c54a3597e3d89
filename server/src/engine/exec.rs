//! EXEC: runs what a transaction has queued, with nothing in between.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Instant;

use miso_protocol::reply::Reply;
use miso_store::Held;

use crate::engine::admit::check;
use crate::engine::call::{Batch, call_shown};
use crate::engine::command::Handlers;
use crate::engine::context::{Context, Holds};
use crate::engine::error::CommandError;
use crate::engine::once;
use crate::engine::session::{Queued, Transaction};
use crate::engine::shards;
use crate::engine::spans;
use crate::engine::wait::{After, Answering, Wait};

/// Runs the queued commands, and writes their replies as an array, or nil if a watched object has
/// changed.
///
/// # Errors
/// If it reaches a database that cannot begin here, deletes in one that pauses deletes, or runs under an id for
/// which there is no room.
pub(super) fn exec(handlers: &Handlers, cx: &mut Context<'_>) -> Result<(), CommandError> {
    let Some(transaction) = cx.session.take_transaction() else { return Ok(()) };
    cx.after = After::Continue;
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
    let ran = run(handlers, cx, &transaction);
    cx.session.unwatch();
    ran
}

fn run(
    handlers: &Handlers,
    cx: &mut Context<'_>,
    transaction: &Transaction,
) -> Result<(), CommandError> {
    let function = cx.function();
    let (mut others, mut deleting) = (BTreeMap::new(), Vec::new());
    if transaction.spans {
        others = spans::reached(cx, transaction)?;
        if transaction.resets {
            deleting = spans::begin_deletes(others.values())?;
        }
    }
    let mut current = cx.session.database();
    let node = cx.node;
    let worker = cx.worker;
    // Held from before the watch is checked until the last command has run.
    let (mut held, beside) = if others.is_empty() {
        (Held::shards(&function, shards::of_transaction(transaction, &function)), None)
    } else {
        let (held, beside) = spans::hold((current, &function), &others);
        (held, Some(beside))
    };
    let mut once = None;
    if let Some(id) = &transaction.once {
        if let Some(known) = once::known(&mut held, &**id) {
            drop(held);
            once::reply(cx, &known);
            return Ok(());
        }
        let queued = transaction.queued.iter();
        let places = queued.flat_map(|q| once::places(q.found.leaf(), q.args.as_args()));
        once = Some(once::begin(cx, &mut held, &**id, places)?);
    }
    if cx.session.dirty.load(Ordering::Acquire) {
        cx.reply.null_array();
        return Ok(());
    }
    let start = cx.reply.out.len();
    cx.reply.array(transaction.queued.len());
    let mut after = After::Continue;
    // Replies that depend on other nodes: how many bytes stand before each, and what makes it.
    let mut awaited = Vec::new();
    let is_over;
    {
        let mut batch = Batch::default();
        let began = Instant::now();
        let limit = cx.reply.limit();
        let reply = Reply::new(cx.reply.out, cx.session.resp).limited(limit);
        let mut inner = Context {
            node,
            session: cx.session,
            reply,
            after: After::Continue,
            worker,
            held: Some(Box::new(Holds { own: held, beside })),
        };
        for queued in &transaction.queued {
            call_queued(handlers, &mut inner, queued, &mut batch);
            spans::follow(&mut inner, &mut current);
            // A command that would wait answers at once in a transaction, as in Redis.
            match std::mem::take(&mut inner.after) {
                After::Sleep(_, reply) => inner.reply.out.extend_from_slice(reply),
                After::Wait(wait) => {
                    awaited.push((inner.reply.out.len() - start, wait.without_waiting()));
                }
                After::Close => after = After::Close,
                After::Continue
                | After::Refused
                | After::Once
                | After::Exec
                | After::RetryAfterPause
                | After::RetryWhen(_) => {}
            }
        }
        batch.finish(began.elapsed(), worker);
        is_over = inner.reply.is_over();
        if let (Some(once), Some(Holds { own, .. })) = (once, inner.held.as_deref_mut()) {
            once::end(own, once, inner.reply.resp, &inner.reply.out[start..]);
        }
    }
    cx.reply.note_over(is_over);
    cx.reply.resp = cx.session.resp;
    if !awaited.is_empty() {
        let made = cx.reply.out.split_off(start);
        after = After::Wait(Wait::soon(assemble(made, awaited)));
    }
    cx.after = after;
    drop(deleting);
    Ok(())
}

/// Runs a queued command.
fn call_queued(handlers: &Handlers, cx: &mut Context<'_>, queued: &Queued, batch: &mut Batch) {
    let args = queued.args.as_args();
    let found = &queued.found;
    match check(cx.node, cx.session, found, args) {
        Ok(()) => {
            cx.reply.resp = cx.session.resp;
            let run = handlers.get(found.number, found.sub.map(|(at, _)| at));
            call_shown(cx, found, args, batch, run);
        }
        Err(error) => cx.reply.error(error.line()),
    }
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
