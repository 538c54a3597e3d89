//! REST: one command, several in a row, several as a transaction.

use hyper::HeaderMap;
use hyper::header::HeaderValue;
use miso_protocol::request::Args;
use miso_protocol::rest::commands::Commands;
use miso_protocol::rest::json;

use super::run::{Run, Stop};
use super::served::{Served, Speaker};
use crate::engine::error::CommandError;
use crate::engine::once;

/// The replies of a request in RESP2, and whether its session goes on.
pub(super) type Replies = (Vec<u8>, bool);

/// The header that gives a request an id, under which it runs once.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// The id under which a request runs once, if it has one. It may stand in quotes, as the draft of the
/// IETF has it (draft-ietf-httpapi-idempotency-key-header).
///
/// # Errors
/// If it is no id, or the request runs several commands in a row.
pub(super) fn once_id(headers: &HeaderMap, in_a_row: bool) -> Result<Option<&[u8]>, CommandError> {
    let Some(id) = headers.get(IDEMPOTENCY_KEY).map(HeaderValue::as_bytes) else { return Ok(None) };
    if in_a_row {
        let expected = "one command or /multi-exec with it".into();
        return Err(CommandError::HttpHeader(IDEMPOTENCY_KEY.into(), expected));
    }
    let quoted = id.strip_prefix(b"\"").and_then(|id| id.strip_suffix(b"\""));
    let id = quoted.unwrap_or(id);
    once::check_id(id).map(|()| Some(id))
}

/// Runs one command: once, if it has an id and writes.
pub(super) async fn one(
    served: &Served,
    speaker: &mut Speaker,
    commands: &Commands,
    id: Option<&[u8]>,
) -> Result<Replies, Stop> {
    let mut run = Run::new(served, speaker);
    let args = commands.args(0);
    match id.filter(|_| run.refusal(args, true).is_none() && once::writes(served.node(), args)) {
        None => run.checked(args, true).await?,
        Some(id) => {
            let words: Vec<&[u8]> =
                [&b"MISO.ONCE"[..], id].into_iter().chain(args.iter()).collect();
            run.command(Commands::of(&words).args(0)).await?;
        }
    }
    run.finish().await
}

/// Runs one command that turns its session into a listener.
pub(super) async fn listen(
    served: &Served,
    speaker: &mut Speaker,
    commands: &Commands,
) -> Result<Replies, Stop> {
    let mut run = Run::new(served, speaker);
    run.command(commands.args(0)).await?;
    run.finish().await
}

/// Runs several commands in order. Those of other clients may run in between.
pub(super) async fn pipeline(
    served: &Served,
    speaker: &mut Speaker,
    commands: &Commands,
) -> Result<Replies, Stop> {
    let mut run = Run::new(served, speaker);
    for at in 0..commands.len() {
        run.checked(commands.args(at), false).await?;
    }
    run.finish().await
}

/// Runs several commands as one transaction: all or none, and once if it has an id. The reply is that of
/// EXEC.
pub(super) async fn transaction(
    served: &Served,
    speaker: &mut Speaker,
    commands: &Commands,
    id: Option<&[u8]>,
) -> Result<Replies, Stop> {
    let mut run = Run::new(served, speaker);
    let multi = match id {
        None => Commands::of(&[b"MULTI"]),
        Some(id) => Commands::of(&[b"MISO.ONCE", id, b"MULTI"]),
    };
    run.command(multi.args(0)).await?;
    let mut broken = None;
    for at in 0..commands.len() {
        let error = match run.refusal(commands.args(at), false) {
            Some(error) => Some(error.line()),
            None => queue(&mut run, commands.args(at)).await?,
        };
        if error.is_some() {
            broken = error;
            break;
        }
    }
    run.replies().clear();
    match broken {
        None => {
            let exec = Commands::of(&[b"EXEC"]);
            run.command(exec.args(0)).await?;
        }
        Some(line) => {
            run.session().discard();
            let error = CommandError::ExecAbortedBy(line.into());
            served.node().stats.error(error.code());
            run.replies().extend_from_slice(&error.reply());
        }
    }
    run.finish().await
}

/// Queues a command. Returns the line of the error if it cannot be queued.
async fn queue(run: &mut Run<'_>, args: Args<'_>) -> Result<Option<Vec<u8>>, Stop> {
    let start = run.replies().len();
    run.command(args).await?;
    let reply = &run.replies()[start..];
    Ok(json::error_of(reply).map(<[u8]>::to_vec))
}
