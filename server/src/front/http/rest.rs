//! REST: one command, several in a row, several as a transaction.

use miso_protocol::request::Args;

use super::answer;
use super::request::Commands;
use super::run::{Run, Stop};
use super::served::{Served, Speaker};
use crate::engine::error::CommandError;

/// The replies of a request in RESP2, and whether its session goes on.
pub(super) type Replies = (Vec<u8>, bool);

/// Runs one command.
pub(super) async fn one(
    served: &Served,
    speaker: &mut Speaker,
    commands: &Commands,
) -> Result<Replies, Stop> {
    let mut run = Run::new(served, speaker);
    run.checked(commands.args(0), true).await?;
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

/// Runs several commands as one transaction: all or none. The reply is that of EXEC.
pub(super) async fn transaction(
    served: &Served,
    speaker: &mut Speaker,
    commands: &Commands,
) -> Result<Replies, Stop> {
    let mut run = Run::new(served, speaker);
    let multi = Commands::of(&[b"MULTI"]);
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
    Ok(answer::error_of(reply).map(<[u8]>::to_vec))
}
