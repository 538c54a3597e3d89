//! From arguments to a reply: finds the row, checks what every command is checked for, runs it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use miso_protocol::command::{Access, Flags, Row};
use miso_protocol::reply::{Reply, Resp};
use miso_protocol::request::Args;

use crate::acl::{self, Denied};
use crate::clients::Client;
use crate::commands::Handler;
use crate::context::{After, Context, Wait};
use crate::durability;
use crate::error::CommandError;
use crate::restore;
use crate::session::{Queued, ReplyMode, Session};
use crate::shared::Shared;
use crate::stats::Worker;
use crate::thaw::{self, Turn};

/// A command that was found and has the right number of arguments.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    pub(crate) number: u16,
    pub(crate) row: &'static Row,
    pub(crate) sub: Option<(usize, &'static Row)>,
    /// Where it is counted.
    slot: u16,
    run: Handler,
}

impl Found {
    /// The row that says how it behaves: its subcommand's if it has one.
    fn leaf(&self) -> &'static Row {
        self.sub.map_or(self.row, |(_, row)| row)
    }

    /// Its name in lower case, as errors print it: `client|kill`.
    pub(crate) fn name(&self) -> String {
        match self.sub {
            None => self.row.name.to_ascii_lowercase(),
            Some((_, sub)) => format!("{}|{}", self.row.name, sub.name).to_ascii_lowercase(),
        }
    }
}

/// What one read batch has done: FAST commands share its time, the others were timed themselves.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    fast: Vec<(u16, u64)>,
    timed: Duration,
    /// Whether anything in it may have written.
    pub(crate) wrote: bool,
}

impl Batch {
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

/// Finds the command that `args` name.
pub(crate) fn find(
    shared: &Shared,
    memo: &mut (Vec<u8>, u16),
    args: Args<'_>,
) -> Result<Found, CommandError> {
    let name = &args[0];
    // Most commands repeat the one before.
    let number = if memo.1 != u16::MAX && memo.0 == name {
        memo.1
    } else {
        let number = shared.table.find(name).ok_or_else(|| unknown(args))?;
        memo.0.clear();
        memo.0.extend_from_slice(name);
        memo.1 = number;
        number
    };
    let row = shared.table.row(number);
    let command = shared.handlers.get(number);
    let slot = shared.stats.slot(number, None);
    let mut found = Found { number, row, sub: None, slot, run: command.run };
    if !row.subcommands.is_empty() {
        match args.get(1) {
            // A few commands also stand alone.
            None if row.flags.has(Flags::ALONE) => {}
            None => return Err(CommandError::WrongArity(row.name.to_ascii_lowercase().into())),
            Some(word) => {
                let at = shared.table.subcommand(number, word).ok_or_else(|| {
                    let shown = &word[..word.len().min(UNKNOWN_SHOWN)];
                    CommandError::UnknownSubcommand(shown.into(), row.name.into())
                })?;
                found.sub = Some((at, &row.subcommands[at]));
                found.slot = shared.stats.slot(number, Some(at));
                found.run = command.sub[at];
            }
        }
    }
    let fits = match found.sub {
        Some((_, sub)) => sub.fits(args.len()),
        None => !row.subcommands.is_empty() || shared.table.fits(number, args.len()),
    };
    if !fits {
        return Err(CommandError::WrongArity(found.name().into()));
    }
    Ok(found)
}

/// The error about a command that does not exist, with its first arguments, as Redis shortens them.
fn unknown(args: Args<'_>) -> CommandError {
    let mut shown = Vec::new();
    for arg in args.tail(1).iter() {
        if shown.len() >= UNKNOWN_SHOWN {
            break;
        }
        let room = UNKNOWN_SHOWN - shown.len();
        let arg = arg.split(|byte| *byte == 0).next().unwrap_or_default();
        shown.extend([b"'", &arg[..arg.len().min(room)], b"' "].concat());
    }
    let name = &args[0][..args[0].len().min(UNKNOWN_SHOWN)];
    CommandError::UnknownCommand(name.into(), shown.into())
}

/// How many bytes of an unknown command an error repeats: of its name, and of its arguments.
const UNKNOWN_SHOWN: usize = 128;

/// What every command is checked for before it runs or is queued.
fn check(
    shared: &Shared,
    session: &Session,
    found: &Found,
    args: Args<'_>,
) -> Result<(), CommandError> {
    let flags = found.leaf().flags;
    match &session.user {
        None if !flags.has(Flags::NO_AUTH) => return Err(CommandError::NoAuth),
        None => {}
        Some(_) if flags.has(Flags::NO_AUTH) => {}
        Some(user) => {
            if let Err(denied) = user.check((found.number, found.row), found.sub, args) {
                return Err(deny(shared, session, denied, &found.name(), args));
            }
        }
    }
    if session.resp == Resp::V2 && session.listening() && !flags.has(Flags::ALLOW_SUBSCRIBED) {
        return Err(CommandError::SubscribedOnly(found.name().into()));
    }
    Ok(())
}

/// Refuses what would grow when memory is full. Within MULTI that is whatever is queued, and EXEC
/// if anything queued would.
fn check_memory(shared: &Shared, session: &Session, found: &Found) -> Result<(), CommandError> {
    let max = shared.settings.maxmemory();
    if max == 0 || crate::allocator::used_bytes() <= max {
        return Ok(());
    }
    let refused = match &session.transaction {
        Some(transaction) if found.row.name == "EXEC" => transaction.grows,
        Some(_) => !found.leaf().flags.has(Flags::IMMEDIATE),
        None => found.leaf().all_flags().has(Flags::DENYOOM),
    };
    if refused { Err(CommandError::OutOfMemory) } else { Ok(()) }
}

/// Refuses what would write while the journal does not take it.
fn check_disk(shared: &Shared, session: &Session, found: &Found) -> Result<(), CommandError> {
    let writes = match &session.transaction {
        Some(transaction) if found.row.name == "EXEC" => transaction.writes,
        _ => found.leaf().access == Access::Write,
    };
    if !writes {
        return Ok(());
    }
    durability::admit(shared).map_err(CommandError::text)
}

/// Notes a refusal in ACL LOG; the error.
pub(crate) fn deny(
    shared: &Shared,
    session: &Session,
    denied: Denied,
    name: &str,
    args: Args<'_>,
) -> CommandError {
    let object = match denied {
        Denied::Command => name.to_owned(),
        _ => args.get(1).map_or_else(String::new, |arg| String::from_utf8_lossy(arg).into_owned()),
    };
    let user = session.user.as_ref().map_or(acl::DEFAULT, |user| &user.name);
    let context = if session.transaction.is_some() { "multi" } else { "toplevel" };
    let line = client_line(shared, &session.client);
    let entry = acl::refused(denied.reason(), context, object, user, line);
    shared.stats.denials.count(denied.reason());
    shared.acl.note(entry, shared.settings.acllog_max_len());
    CommandError::text(denied.line(name))
}

/// A client's line in CLIENT LIST.
pub(crate) fn client_line(shared: &Shared, client: &Client) -> String {
    let command = match client.last_command() {
        None => "NULL".into(),
        Some((number, None)) => shared.table.row(number).name.to_ascii_lowercase(),
        Some((number, Some(sub))) => {
            let row = shared.table.row(number);
            format!("{}|{}", row.name, row.subcommands[sub].name).to_ascii_lowercase()
        }
    };
    client.line(shared.uptime_ms(), &command)
}

/// Runs one command and writes its reply.
pub(crate) fn execute(
    shared: &Arc<Shared>,
    worker: &Worker,
    session: &mut Session,
    batch: &mut Batch,
    args: Args<'_>,
    out: &mut Vec<u8>,
) -> After {
    let start = out.len();
    let after = attempt(shared, worker, session, batch, args, out);
    if session.replies == ReplyMode::On || matches!(after, After::Retry | After::Restore(_)) {
        return after;
    }
    out.truncate(start);
    session.replies = match session.replies {
        ReplyMode::SkipNext => ReplyMode::Skip,
        ReplyMode::Skip => ReplyMode::On,
        mode => mode,
    };
    match after {
        After::Sleep(duration, _) => After::Sleep(duration, b""),
        After::Wait(wait) => After::Wait(Box::new(Wait { silent: true, ..*wait })),
        after => after,
    }
}

fn attempt(
    shared: &Arc<Shared>,
    worker: &Worker,
    session: &mut Session,
    batch: &mut Batch,
    args: Args<'_>,
    out: &mut Vec<u8>,
) -> After {
    let checked = find(shared, &mut session.memo, args).and_then(|found| {
        check(shared, session, &found, args)
            .and_then(|()| check_memory(shared, session, &found))
            .and_then(|()| check_disk(shared, session, &found))
            .inspect_err(|_| worker.command(found.slot).rejected.add(1))?;
        Ok(found)
    });
    let found = match checked {
        Ok(found) => found,
        Err(_) if is_http(&args[0]) => {
            let (id, address) = (session.client.id, session.client.address);
            tracing::warn!(id, %address, "an HTTP request, perhaps a browser misled into sending it; closed");
            return After::Close;
        }
        Err(error) => return reject(shared, session, &args[0], &error, out),
    };
    let flags = found.leaf().flags;
    let write = match &session.transaction {
        Some(transaction) if found.row.name == "EXEC" => transaction.writes,
        _ => found.leaf().access == Access::Write || found.row.name == "PUBLISH",
    };
    let waits = !flags.has(Flags::IMMEDIATE) || found.row.name == "EXEC";
    if shared.clients.is_paused(write) && waits && found.row.name != "CLIENT" {
        return After::Retry;
    }
    let resets = match &session.transaction {
        Some(transaction) => found.row.name == "EXEC" && transaction.resets,
        None => flags.has(Flags::RESETS),
    };
    let _deleting = match resets.then(|| thaw::first(session)).transpose() {
        Ok(None) => None,
        Ok(Some(Turn::Run(deleting))) => Some(deleting),
        Ok(Some(Turn::Wait(wait))) => return After::Restore(wait),
        Err(error) => return reject(shared, session, &args[0], &error, out),
    };
    if restore::may_wait(session, args) {
        let wait = restore::first(shared, session, found.leaf(), args);
        if let Some(wait) = wait {
            return After::Restore(wait);
        }
    }
    worker.total.add(1);
    if session.transaction.is_some() && !flags.has(Flags::IMMEDIATE) {
        return queue(shared, session, &found, args, out);
    }
    // EXEC is shown behind what it runs.
    let is_exec = found.row.name == "EXEC";
    if !is_exec {
        monitor(shared, &session.client, &found, args);
    }
    session.client.set_last_command(found.number, found.sub.map(|(at, _)| at));
    let reply = Reply { resp: session.resp, out };
    let mut cx = Context { shared, session, reply, after: After::Continue, worker, held: None };
    call(&mut cx, &found, args, batch);
    if is_exec {
        monitor(shared, &cx.session.client, &found, args);
    }
    batch.wrote |= write;
    if write && let Some(function) = &cx.session.function {
        cx.session.wrote = function.seq();
    }
    cx.after
}

/// Shows a command to those who monitor.
fn monitor(shared: &Shared, client: &Client, found: &Found, args: Args<'_>) {
    let flags = found.leaf().flags;
    if shared.monitors.any() && !flags.has(Flags::ADMIN) && !flags.has(Flags::SKIP_MONITOR) {
        shared.monitors.tell(client, args, &shared.settings);
    }
}

/// Runs a handler, and counts and times it.
pub(crate) fn call(cx: &mut Context<'_>, found: &Found, args: Args<'_>, batch: &mut Batch) {
    let start = cx.reply.out.len();
    let fast = found.leaf().flags.has(Flags::FAST) && !cx.shared.settings.times_all();
    let began = if fast { None } else { Some(Instant::now()) };
    let result = (found.run)(cx, args);
    if let Err(error) = result {
        cx.reply.out.truncate(start);
        cx.reply.error(error.line());
        cx.worker.command(found.slot).failed.add(1);
        cx.shared.stats.error(error.code());
    }
    match began {
        None => batch.count(found.slot),
        Some(began) => {
            let mut took = began.elapsed();
            batch.timed += took;
            // DEBUG SLEEP has taken the time it asks for; waiting for others has taken none.
            if let After::Sleep(asleep, _) = &cx.after {
                took += *asleep;
            }
            cx.worker.command(found.slot).calls.add(1);
            cx.worker.command(found.slot).took(1, took);
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            let slow = cx.shared.settings.slower_than().is_some_and(|from| micros >= from);
            if slow && !found.leaf().flags.has(Flags::SKIP_SLOWLOG) {
                let max = cx.shared.settings.slowlog_max_len();
                cx.shared.slowlog.add(&cx.session.client, args, took, max);
            }
            cx.shared.latency.note("command", took, cx.shared.settings.latency_threshold());
        }
    }
}

/// Runs a queued command within EXEC.
pub(crate) fn call_queued(cx: &mut Context<'_>, queued: &Queued, batch: &mut Batch) {
    let args = queued.args.as_args();
    let found = find(cx.shared, &mut cx.session.memo, args).and_then(|found| {
        check(cx.shared, cx.session, &found, args)?;
        Ok(found)
    });
    match found {
        Ok(found) => {
            cx.reply.resp = cx.session.resp;
            monitor(cx.shared, &cx.session.client, &found, args);
            call(cx, &found, args, batch);
        }
        Err(error) => cx.reply.error(error.line()),
    }
}

/// Whether a line is one of HTTP's: a page that sends a form here could else run what its body
/// holds, as inline commands.
fn is_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"POST") || name.eq_ignore_ascii_case(b"Host:")
}

/// Answers that a command cannot run. Within MULTI that breaks the transaction; EXEC itself ends it.
fn reject(
    shared: &Shared,
    session: &mut Session,
    name: &[u8],
    error: &CommandError,
    out: &mut Vec<u8>,
) -> After {
    match &mut session.transaction {
        Some(_) if name.eq_ignore_ascii_case(b"EXEC") => {
            session.discard();
            let error = CommandError::ExecAbortedBy(error.line().into());
            return refuse(shared, session, &error, out);
        }
        Some(transaction) => transaction.broken = true,
        None => {}
    }
    refuse(shared, session, error, out)
}

fn refuse(shared: &Shared, session: &Session, error: &CommandError, out: &mut Vec<u8>) -> After {
    Reply { out, resp: session.resp }.error(error.line());
    shared.stats.error(error.code());
    After::Continue
}

/// Keeps a command for EXEC.
fn queue(
    shared: &Shared,
    session: &mut Session,
    found: &Found,
    args: Args<'_>,
    out: &mut Vec<u8>,
) -> After {
    let limit = shared.settings.query_bytes();
    let Some(transaction) = &mut session.transaction else { return After::Continue };
    let bytes: usize = args.iter().map(|arg| arg.len() + 8).sum();
    let error = if found.leaf().flags.has(Flags::NO_MULTI) {
        Some(CommandError::NotInMulti)
    } else if transaction.bytes + bytes > limit {
        Some(CommandError::TransactionTooLong)
    } else {
        None
    };
    if let Some(error) = error {
        transaction.broken = true;
        return refuse(shared, session, &error, out);
    }
    transaction.bytes += bytes;
    transaction.writes |= found.leaf().access == Access::Write;
    transaction.resets |= found.leaf().flags.has(Flags::RESETS);
    transaction.grows |= found.leaf().all_flags().has(Flags::DENYOOM);
    transaction.queued.push(Queued { row: found.number, args: args.to_owned() });
    session.client.about.lock().multi = transaction.queued.len() as i64;
    out.extend_from_slice(b"+QUEUED\r\n");
    After::Continue
}
