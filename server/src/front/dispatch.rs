//! A command of a RESP connection: what the engine answers, and what of it the client wants to see.

use miso_protocol::request::Args;

use crate::engine::Engine;
use crate::engine::call::Batch;
use crate::engine::session::{ReplyMode, Session};
use crate::engine::wait::{After, Wait};
use crate::node::stats::Worker;

/// Runs a command, whose row is `row` if that is known, and appends its reply to `out`, unless CLIENT REPLY has turned replies off. Returns
/// what the connection does then.
pub(super) fn execute(
    engine: &Engine,
    worker: &Worker,
    session: &mut Session,
    batch: &mut Batch,
    (row, args): (Option<u16>, Args<'_>),
    out: &mut Vec<u8>,
) -> After {
    let start = out.len();
    let after = match row {
        Some(row) => engine.run_row(worker, session, batch, (row, args), out),
        None => engine.run(worker, session, batch, args, out),
    };
    if matches!(after, After::Refused) && is_http(&args[0]) {
        let (id, address) = (session.client.id, session.client.address);
        tracing::warn!(id, %address, "closed a connection that sent an HTTP request; a browser may have been misled into sending it");
        out.truncate(start);
        return After::Close;
    }
    if session.replies == ReplyMode::On || after.retries() {
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

/// Whether a line is one of HTTP. Without this check a web page could make a browser send commands
/// here: the body of a form would be read as inline commands.
fn is_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"POST") || name.eq_ignore_ascii_case(b"Host:")
}
