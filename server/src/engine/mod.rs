//! Runs a command for any caller: a RESP connection, an HTTP request, a test. It knows no socket.
//!
//! [`Engine::run`] is the only way in. It finds the command, decides whether it may run now
//! ([`mod@admit`]), runs its handler ([`mod@call`]) and says what comes after it ([`wait::After`]).

pub(crate) mod admit;
pub(crate) mod call;
pub(crate) mod command;
pub(crate) mod context;
pub(crate) mod databases;
pub(crate) mod error;
mod events;
mod exec;
pub(crate) mod feed;
pub(crate) mod find;
pub(crate) mod once;
pub(crate) mod quota;
mod restore;
pub(crate) mod session;
mod shards;
pub(crate) mod spans;
mod thaw;
pub(crate) mod wait;

use std::sync::Arc;

use miso_protocol::command::{Access, Flags};
use miso_protocol::reply::Reply;
use miso_protocol::request::Args;

use crate::node::Node;
use crate::node::stats::Worker;

use admit::{Admission, admit};
use call::{Batch, call, call_shown, check_decision, monitor};
use command::Handlers;
use context::Context;
use error::CommandError;
use find::Resolved;
use session::{Queued, Session};
use wait::After;

/// A node and the handlers of the commands that it runs.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) node: Arc<Node>,
    handlers: Handlers,
}

impl Engine {
    /// An engine for `node`, whose table has the rows of `handlers` in the same order.
    pub(crate) fn new(node: Arc<Node>, handlers: Handlers) -> Engine {
        Engine { node, handlers }
    }

    /// The number of the row of a command that `session` is about to run, for [`Engine::run_row`].
    #[inline]
    pub(crate) fn row(&self, session: &mut Session, args: Args<'_>) -> Option<u16> {
        find::number(&self.node, &mut session.memo, args.get(0)?)
    }

    /// The first key of a command, for prefetching; none if its row has none in a fixed place.
    #[inline]
    pub(crate) fn first_key<'a>(&self, row: u16, args: Args<'a>) -> Option<&'a [u8]> {
        args.get(self.handlers.first_key(row)?)
    }

    /// Runs the command `args` for `session`, and appends its reply, or an error, to `out`.
    ///
    /// The result says what is to be done: go on, end the session, wait for the reply, or run the
    /// command again after something else. `worker` are the counters of the thread that runs it,
    /// `batch` the counts of the commands that it runs together; the caller ends a batch with
    /// [`Batch::finish`], and answers only once the journal has what it wrote ([`Batch::wrote`]).
    ///
    /// # Panics
    /// If `args` is empty.
    pub(crate) fn run(
        &self,
        worker: &Worker,
        session: &mut Session,
        batch: &mut Batch,
        args: Args<'_>,
        out: &mut Vec<u8>,
    ) -> After {
        match self.row(session, args) {
            Some(row) => self.run_row(worker, session, batch, (row, args), out),
            None => refuse(&self.node, session, &args[0], &find::unknown(args), out),
        }
    }

    /// As [`Engine::run`] for a command whose row is known: [`Engine::row`] of the same words.
    pub(crate) fn run_row(
        &self,
        worker: &Worker,
        session: &mut Session,
        batch: &mut Batch,
        (row, args): (u16, Args<'_>),
        out: &mut Vec<u8>,
    ) -> After {
        let node = &self.node;
        let found = match find::find(node, row, args) {
            Ok(found) => found,
            Err(error) => return refuse(node, session, &args[0], &error, out),
        };
        let write = admit::writes(&found, session);
        // Held until the command has run.
        let _deleting = match admit(node, session, &found, write, args) {
            Admission::Run(deleting) => deleting,
            Admission::Queue => {
                worker.total.add(1);
                return queue(node, session, &found, args, out);
            }
            Admission::Wait(after) => return after,
            Admission::Refuse(error) => {
                worker.command(found.slot).rejected.add(1);
                return refuse(node, session, &args[0], &error, out);
            }
        };
        worker.total.add(1);
        session.client.set_last_command(found.number, found.sub.map(|(at, _)| at));
        let reply = Reply::new(out, session.resp).limited(batch.reply_limit());
        let mut cx = Context { node, session, reply, after: After::Continue, worker, held: None };
        let run = self.handlers.get(found.number, found.sub.map(|(at, _)| at));
        if found.runs_others() {
            call(&mut cx, &found, args, batch, |cx, args, batch| {
                run(cx, args)?;
                match cx.after {
                    After::Exec => exec::exec(&self.handlers, cx),
                    After::Once => once::run(&self.handlers, cx, args, batch),
                    _ => Ok(()),
                }
            });
            // EXEC is shown after the commands that it runs.
            monitor(node, &cx.session.client, &found, args);
        } else {
            call_shown(&mut cx, &found, args, batch, run);
        }
        batch.wrote |= write;
        if write && let Some(function) = &cx.session.function {
            cx.session.wrote = function.seq();
        }
        cx.after
    }
}

/// Answers that a command does not run. Within MULTI that breaks the transaction; EXEC itself ends it.
fn refuse(
    node: &Node,
    session: &mut Session,
    name: &[u8],
    error: &CommandError,
    out: &mut Vec<u8>,
) -> After {
    match &mut session.transaction {
        Some(_) if name.eq_ignore_ascii_case(b"EXEC") => {
            session.discard();
            let error = CommandError::ExecAbortedBy(error.line().into());
            return write_error(node, session, &error, out);
        }
        Some(transaction) => transaction.broken = true,
        None => {}
    }
    write_error(node, session, error, out)
}

fn write_error(node: &Node, session: &Session, error: &CommandError, out: &mut Vec<u8>) -> After {
    Reply::new(out, session.resp).error(error.line());
    node.stats.error(error.code());
    After::Refused
}

/// Keeps a command for EXEC.
fn queue(
    node: &Node,
    session: &mut Session,
    found: &Resolved,
    args: Args<'_>,
    out: &mut Vec<u8>,
) -> After {
    let limit = node.settings.query_bytes();
    let Some(transaction) = &mut session.transaction else { return After::Continue };
    let bytes: usize = args.iter().map(|arg| arg.len() + 8).sum();
    let error = if found.leaf().flags.has(Flags::NO_MULTI) {
        Some(CommandError::NotInMulti)
    } else if let Some(error) = once::check_queued(transaction, found, args) {
        Some(error)
    } else if transaction.bytes + bytes > limit {
        Some(CommandError::TransactionTooLong)
    } else {
        check_decision(node, found, args).err()
    };
    if let Some(error) = error {
        transaction.broken = true;
        return write_error(node, session, &error, out);
    }
    transaction.bytes += bytes;
    transaction.writes |= found.leaf().access == Access::Write;
    transaction.resets |= found.leaf().flags.has(Flags::RESETS);
    transaction.spans |= found.leaf().flags.has(Flags::DATABASES);
    transaction.grows |= found.leaf().all_flags().has(Flags::DENYOOM);
    transaction.queued.push(Queued { found: *found, args: args.to_owned() });
    session.client.about.lock().multi = transaction.queued.len() as i64;
    out.extend_from_slice(b"+QUEUED\r\n");
    After::Continue
}
