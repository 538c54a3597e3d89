//! Runs a write once: MISO.ONCE, and EXEC of a transaction that MISO.ONCE began.
//!
//! The shards of the id and of the command's objects are held together, so nothing comes between the look
//! whether the id is known, the write, and the note of what it answered.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use miso_protocol::command::{Access, Counting, Flags, Merging, Row};
use miso_protocol::reply::{Reply, Resp};
use miso_protocol::request::Args;
use miso_store::{Held, ID_MAX, Once, OnceKey, Place, REPLY_MAX, ShardList};

use crate::engine::admit::{self, Admission, admit};
use crate::engine::call::{Batch, call_shown};
use crate::engine::command::Handlers;
use crate::engine::context::{Context, Holds};
use crate::engine::error::CommandError;
use crate::engine::find::{self, Resolved};
use crate::engine::session::Transaction;
use crate::engine::shards;
use crate::engine::wait::After;
use crate::node::Node;

/// The first word of the command in MISO.ONCE.
const COMMAND: usize = 2;
/// What the reply of a queued command takes at most, of those that are let in: an integer of 64 bits,
/// a number in fixed point, or a line.
const REPLY_EACH: usize = 48;

/// Checks an id.
///
/// # Errors
/// If it is empty or too long.
pub(crate) fn check_id(id: &[u8]) -> Result<(), CommandError> {
    if (1..=ID_MAX).contains(&id.len()) { Ok(()) } else { Err(CommandError::OnceId) }
}

/// Whether a command writes, so that it can run once or is told why not.
pub(crate) fn writes(node: &Node, args: Args<'_>) -> bool {
    find::resolve(node, args).is_ok_and(|found| found.leaf().access == Access::Write)
}

/// Checks that a command may run once.
fn check_repeatable(found: &Resolved, args: Args<'_>) -> Result<(), CommandError> {
    let row = found.leaf();
    let name = || found.name().into();
    let served = !matches!(row.merging(), Merging::Refused(_));
    if row.access != Access::Write && served && !row.flags.has(Flags::ADMIN) {
        return Err(CommandError::OnceRead(name()));
    }
    // An id is in the sequence of one database, with what its write did.
    let unfit = [Flags::ONCE, Flags::NO_MULTI, Flags::ADMIN, Flags::DATABASES];
    let unfit = unfit.into_iter().fold(Flags::NOT_ONCE, Flags::with);
    let tells_old =
        row.name == "SET" && args.tail(3).iter().any(|w| w.eq_ignore_ascii_case(b"GET"));
    let many = row.counts == Counting::Names && args.len() > 2 * (REPLY_MAX / REPLY_EACH);
    // What is not served says so itself.
    if served && (row.flags.meets(unfit) || tells_old || many) {
        return Err(CommandError::OnceNever(name()));
    }
    Ok(())
}

/// Whether a command that is queued fits a transaction that runs once; none if it does, or if the
/// transaction is another.
pub(super) fn check_queued(
    transaction: &Transaction,
    found: &Resolved,
    args: Args<'_>,
) -> Option<CommandError> {
    transaction.once.as_ref()?;
    if let Err(error) = check_repeatable(found, args) {
        return Some(error);
    }
    let replies = |row: &Row, args: Args<'_>| match row.counts {
        Counting::Names => args.len() / 2 * REPLY_EACH,
        _ => REPLY_EACH,
    };
    let queued = transaction.queued.iter();
    let before: usize = queued.map(|q| replies(q.found.leaf(), q.args.as_args())).sum();
    let all = before + replies(found.leaf(), args);
    (all > REPLY_MAX).then_some(CommandError::OnceLong)
}

/// The places in which a command counts.
pub(super) fn places<'a>(row: &Row, args: Args<'a>) -> impl Iterator<Item = Place<'a>> + use<'a> {
    row.counts.places(args).map(|(object, name, field)| Place { object, name, field })
}

/// What is kept of a write that ran: the protocol and the bytes of its reply.
pub(super) fn known<'a>(held: &mut Held<'_>, id: impl Into<OnceKey<'a>>) -> Option<Box<[u8]>> {
    held.once_reply(id)
}

/// Begins a write under an id that is not known.
///
/// # Errors
/// If there is no room for another id.
pub(super) fn begin<'p>(
    cx: &Context<'_>,
    held: &mut Held<'_>,
    id: impl Into<OnceKey<'p>>,
    places: impl Iterator<Item = Place<'p>>,
) -> Result<Once<'p>, CommandError> {
    if !held.function().once_has_room() {
        cx.node.stats.once_refused.fetch_add(1, Ordering::Relaxed);
        return Err(CommandError::OnceFull(cx.node.settings.once_max().to_string().into()));
    }
    Ok(held.begin_once(id, places))
}

/// Notes that a write has run.
pub(super) fn end(held: &mut Held<'_>, once: Once<'_>, resp: Resp, reply: &[u8]) {
    let protocol: &[u8] = if resp == Resp::V3 { b"3" } else { b"2" };
    held.end_once(once, [protocol, reply]);
}

/// Answers what a write answered that ran before, in the protocol of this session.
pub(super) fn reply(cx: &mut Context<'_>, kept: &[u8]) {
    cx.node.stats.once_repeats.fetch_add(1, Ordering::Relaxed);
    let Some((protocol, reply)) = kept.split_first() else { return cx.reply.null() };
    let out = &mut cx.reply.out;
    match (protocol, cx.session.resp) {
        (b'3', Resp::V2) => to_resp2(reply, out),
        (b'2', Resp::V3) if reply.starts_with(b"$-1") || reply.starts_with(b"*-1") => {
            out.extend_from_slice(b"_\r\n");
        }
        _ => out.extend_from_slice(reply),
    }
}

/// Writes a reply of RESP3 as one of RESP2: of the kinds that writes answer.
fn to_resp2(reply: &[u8], out: &mut Vec<u8>) {
    let mut rest = reply;
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let (line, after) = rest.split_at(end + 2);
        rest = after;
        match line[0] {
            b'_' => out.extend_from_slice(b"$-1\r\n"),
            b'#' => out.extend_from_slice(if line[1] == b't' { b":1\r\n" } else { b":0\r\n" }),
            b',' => {
                let text = &line[1..end];
                out.extend_from_slice(format!("${}\r\n", text.len()).as_bytes());
                out.extend_from_slice(&line[1..]);
            }
            b'$' => {
                let length = std::str::from_utf8(&line[1..end]).ok().and_then(|n| n.parse().ok());
                let length = length.map_or(0, |n: usize| n + 2).min(rest.len());
                out.extend_from_slice(line);
                out.extend_from_slice(&rest[..length]);
                rest = &rest[length..];
            }
            _ => out.extend_from_slice(line),
        }
    }
}

/// Runs the command that the arguments of MISO.ONCE are, unless it ran before.
///
/// # Errors
/// If there is no such command, it may not run, or it cannot run once.
pub(super) fn run(
    handlers: &Handlers,
    cx: &mut Context<'_>,
    args: Args<'_>,
    batch: &mut Batch,
) -> Result<(), CommandError> {
    cx.after = After::Continue;
    let (id, args) = (&args[1], args.tail(COMMAND));
    let number = cx.node.table.find(&args[0]).ok_or_else(|| find::unknown(args))?;
    let found = find::find(cx.node, number, args)?;
    if found.row.name == "MULTI" {
        admit::check(cx.node, cx.session, &found, args)?;
        cx.session.transaction = Some(Transaction { once: Some(id.into()), ..Default::default() });
        cx.session.client.about.lock().multi = 0;
        cx.reply.ok();
        return Ok(());
    }
    check_repeatable(&found, args)?;
    let _deleting = match admit(cx.node, cx.session, &found, true, args) {
        Admission::Run(deleting) => deleting,
        Admission::Wait(after) => {
            cx.after = after;
            return Ok(());
        }
        Admission::Refuse(error) => return Err(error),
        Admission::Queue => return Err(CommandError::NotInMulti),
    };
    let function = cx.function();
    let key = OnceKey::from(id);
    let mut held_shards = ShardList::new();
    held_shards.push(function.once_shard(key));
    if !shards::add(&found, args, &function, &mut held_shards) {
        held_shards = (0..function.shards()).collect();
    }
    let mut held = Held::few(&function, held_shards);
    if let Some(kept) = known(&mut held, key) {
        drop(held);
        reply(cx, &kept);
        return Ok(());
    }
    let once = begin(cx, &mut held, key, places(found.leaf(), args))?;
    let limit = cx.reply.limit();
    let start = cx.reply.out.len();
    let mut inner = Context {
        node: cx.node,
        reply: Reply::new(cx.reply.out, cx.session.resp).limited(limit),
        session: cx.session,
        after: After::Continue,
        worker: cx.worker,
        held: Some(Box::new(Holds { own: held, beside: None })),
    };
    let handler = handlers.get(found.number, found.sub.map(|(at, _)| at));
    call_shown(&mut inner, &found, args, batch, handler);
    let resp = inner.reply.resp;
    let said = &inner.reply.out[start..];
    // A write that answered an error has not used its id.
    if !said.starts_with(b"-")
        && let Some(Holds { own, .. }) = inner.held.as_deref_mut()
    {
        end(own, once, resp, said);
    }
    Ok(())
}

/// What is kept of a write that ran before: `MISO.ONCE id` alone.
pub(crate) fn look(cx: &mut Context<'_>, id: &[u8]) {
    let function: Arc<_> = cx.function();
    match function.once_reply(id) {
        Some(kept) => reply(cx, &kept),
        None => cx.reply.null(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_of_writes_are_told_in_resp2() {
        let told = |reply: &str| {
            let mut out = Vec::new();
            to_resp2(reply.as_bytes(), &mut out);
            String::from_utf8(out).expect("text")
        };
        assert_eq!(told("_\r\n"), "$-1\r\n");
        assert_eq!(told("#t\r\n"), ":1\r\n");
        assert_eq!(told(",1.5\r\n"), "$3\r\n1.5\r\n");
        assert_eq!(told("$4\r\n_\r\n#\r\n"), "$4\r\n_\r\n#\r\n");
        assert_eq!(told("*3\r\n:5\r\n,2\r\n+OK\r\n"), "*3\r\n:5\r\n$1\r\n2\r\n+OK\r\n");
    }
}
