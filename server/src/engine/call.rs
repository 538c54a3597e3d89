//! Running a handler: counted, timed, and shown to MONITOR.

use std::time::{Duration, Instant};

use miso_protocol::command::{Access, Flags};
use miso_protocol::request::Args;

use crate::allocator;
use crate::engine::command::Handler;
use crate::engine::context::Context;
use crate::engine::error::CommandError;
use crate::engine::events;
use crate::engine::find::Resolved;
use crate::engine::wait::After;
use crate::node::Node;
use crate::node::audit::What;
use crate::node::clients::Client;
use crate::node::stats::Worker;

/// The counts of one batch of commands. FAST commands are not timed one by one: they share the time of
/// the batch that the others have not taken.
#[derive(Debug)]
pub(crate) struct Batch {
    fast: Vec<(u16, u64)>,
    timed: Duration,
    /// Whether a command in it may have written.
    pub(crate) wrote: bool,
    /// The most bytes that its replies may take together.
    reply_limit: usize,
}

impl Default for Batch {
    fn default() -> Batch {
        Batch { fast: Vec::new(), timed: Duration::ZERO, wrote: false, reply_limit: usize::MAX }
    }
}

impl Batch {
    /// Sets the most bytes that its replies may take together; 0: no limit.
    pub(crate) fn limit_replies(&mut self, bytes: usize) {
        self.reply_limit = if bytes == 0 { usize::MAX } else { bytes };
    }

    /// The most bytes that its replies may take together.
    #[inline]
    pub(super) fn reply_limit(&self) -> usize {
        self.reply_limit
    }

    fn count(&mut self, slot: u16) {
        match self.fast.iter_mut().find(|(known, _)| *known == slot) {
            Some((_, calls)) => *calls += 1,
            None => self.fast.push((slot, 1)),
        }
    }

    /// Shares `took`, the time of the whole batch, among its FAST commands.
    pub(crate) fn finish(&mut self, took: Duration, worker: &Worker) {
        let calls: u64 = self.fast.iter().map(|(_, calls)| calls).sum();
        if calls > 0 {
            let each = took.saturating_sub(self.timed) / u32::try_from(calls).unwrap_or(u32::MAX);
            for (slot, calls) in self.fast.drain(..) {
                worker.command(slot).calls.add(calls);
                worker.command(slot).took(calls, each);
            }
        }
        self.timed = Duration::ZERO;
    }
}

/// Runs a command, and shows it to the clients that monitor, that cache what they read, and that listen to
/// keyspace events. One relaxed load more than [`call`] while there is none.
#[inline]
pub(super) fn call_shown(
    cx: &mut Context<'_>,
    found: &Resolved,
    args: Args<'_>,
    batch: &mut Batch,
    run: Handler,
) {
    if cx.node.monitors.is_tapped() {
        return call_tapped(cx, found, args, batch, run);
    }
    call(cx, found, args, batch, |cx, args, _| run(cx, args));
}

#[cold]
fn call_tapped(
    cx: &mut Context<'_>,
    found: &Resolved,
    args: Args<'_>,
    batch: &mut Batch,
    run: Handler,
) {
    if let Err(error) = check_decision(cx.node, found, args) {
        return call(cx, found, args, batch, |_, _, _| Err(error));
    }
    track(cx.node, &cx.session.client, found, args);
    monitor(cx.node, &cx.session.client, found, args);
    if found.leaf().access == Access::Write
        && cx.node.top.is_watched()
        && let Some(key) = found.leaf().keys(args).next()
    {
        cx.node.top.note(cx.function_name(), key.word);
    }
    let start = cx.reply.out.len();
    let run = |cx: &mut Context<'_>, args: Args<'_>, _: &mut Batch| run(cx, args);
    if cx.node.monitors.metered() {
        metered(cx, |cx| {
            events::tell(cx, found.leaf(), args, |cx| call(cx, found, args, batch, run))
        });
    } else {
        events::tell(cx, found.leaf(), args, |cx| call(cx, found, args, batch, run));
    }
    if cx.node.monitors.audited() && found.leaf().administers() {
        audit(cx, found, args, start);
    }
}

/// Runs a command, and counts the memory that it takes if its function has a limit of that.
fn metered(cx: &mut Context<'_>, run: impl FnOnce(&mut Context<'_>)) {
    let limited = cx.session.function.as_ref().is_some_and(|function| function.is_marked());
    let quota = if limited { cx.node.quotas.of(cx.session.owner()) } else { None };
    let Some(quota) = quota.filter(|quota| quota.limits.memory.is_some()) else { return run(cx) };
    // The reply is not the function's to keep.
    let taken = |cx: &Context<'_>| allocator::thread_bytes() - cx.reply.out.capacity() as isize;
    let before = taken(cx);
    run(cx);
    quota.took(taken(cx) - before);
}

/// Notes a command that administers, whose reply began at `start`.
fn audit(cx: &Context<'_>, found: &Resolved, args: Args<'_>, start: usize) {
    let reply = cx.reply.out.get(start..).unwrap_or_default();
    let error = reply.strip_prefix(b"-").and_then(|rest| rest.split(|byte| *byte == b'\r').next());
    let result = error.map(String::from_utf8_lossy);
    let secrets = found.secrets(args);
    cx.session.note(What::Command, Some((args, &secrets)), Some(result.as_deref().unwrap_or("ok")));
}

/// Notes what a command is about to read, for the clients that cache.
pub(super) fn track(node: &Node, client: &Client, found: &Resolved, args: Args<'_>) {
    if node.monitors.tracked() {
        node.tracking.before(client, found.leaf(), args, (&node.clients, &node.settings));
    }
}

/// Refuses a command that decides here, if `local-decisions` says so.
pub(super) fn check_decision(
    node: &Node,
    found: &Resolved,
    args: Args<'_>,
) -> Result<(), CommandError> {
    if node.monitors.refuses_decisions() && found.leaf().decides(args) {
        return Err(CommandError::DecidesHere(found.name().into()));
    }
    Ok(())
}

/// Shows a command to the clients that monitor. One relaxed load while there is none.
#[inline]
pub(super) fn monitor(node: &Node, client: &Client, found: &Resolved, args: Args<'_>) {
    if node.monitors.any() {
        show(node, client, found, args);
    }
}

#[cold]
fn show(node: &Node, client: &Client, found: &Resolved, args: Args<'_>) {
    let flags = found.leaf().flags;
    if !flags.has(Flags::ADMIN) && !flags.has(Flags::SKIP_MONITOR) {
        node.monitors.tell(client, args, &found.secrets(args), &node.settings);
    }
}

/// Replies with the error of a command, whose reply began at `start`.
#[cold]
fn fail(cx: &mut Context<'_>, found: &Resolved, start: usize, error: &CommandError) {
    cx.reply.out.truncate(start);
    cx.reply.error(error.line());
    cx.worker.command(found.slot).failed.add(1);
    cx.node.stats.error(error.code());
}

/// Runs a command, and counts and times it. The reply is what `run` writes, or its error. It may run another, in the
/// same batch.
pub(super) fn call(
    cx: &mut Context<'_>,
    found: &Resolved,
    args: Args<'_>,
    batch: &mut Batch,
    run: impl FnOnce(&mut Context<'_>, Args<'_>, &mut Batch) -> Result<(), CommandError>,
) {
    let start = cx.reply.out.len();
    // MISO.ONCE takes what the command in it takes, which is timed itself.
    let fast = found.leaf().flags.meets(Flags::FAST.with(Flags::ONCE));
    let fast = fast && !cx.node.settings.times_all();
    let began = if fast { None } else { Some(Instant::now()) };
    let result = run(cx, args, batch);
    if cx.reply.is_over() && cx.held.is_none() {
        cx.reply.out.truncate(start);
        tracing::warn!(
            id = cx.session.client.id,
            command = found.name(),
            "client-output-buffer-limit exceeded by one reply"
        );
        cx.after = After::Close;
    } else if let Err(error) = result {
        fail(cx, found, start, &error);
    }
    match began {
        None => batch.count(found.slot),
        Some(began) => {
            let mut took = began.elapsed();
            batch.timed += took;
            // DEBUG SLEEP counts the time it asks for; waiting for other nodes is not counted.
            if let After::Sleep(asleep, _) = &cx.after {
                took += *asleep;
            }
            cx.worker.command(found.slot).calls.add(1);
            cx.worker.command(found.slot).took(1, took);
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            let slow = cx.node.settings.slower_than().is_some_and(|from| micros >= from);
            if slow && !found.leaf().flags.has(Flags::SKIP_SLOWLOG) {
                let max = cx.node.settings.slowlog_max_len();
                let secrets = found.secrets(args);
                cx.node.slowlog.add(&cx.session.client, args, &secrets, took, max);
            }
            cx.node.latency.note("command", took, cx.node.settings.latency_threshold());
        }
    }
}
