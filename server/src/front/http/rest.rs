//! REST: one command, several in a row, several as a transaction.

use hyper::Response;
use miso_protocol::request::Args;

use super::answer::{self, Body, Form};
use super::request::Commands;
use super::run::{Run, Stop};
use super::served::{Served, Speaker};
use crate::engine::error::CommandError;

/// Answers one command.
pub(super) async fn one(
    served: &Served,
    mut speaker: Speaker,
    commands: &Commands,
    form: Form,
) -> Result<Response<Body>, Stop> {
    let mut run = Run::new(served, &mut speaker);
    run.checked(commands.args(0), true).await?;
    let reply = end(served, run.finish().await?, speaker);
    Ok(answer::one(&reply, form))
}

/// Answers several commands, which run in order. Those of other clients may run in between.
pub(super) async fn pipeline(
    served: &Served,
    mut speaker: Speaker,
    commands: &Commands,
    form: Form,
) -> Result<Response<Body>, Stop> {
    let mut run = Run::new(served, &mut speaker);
    for at in 0..commands.len() {
        run.checked(commands.args(at), false).await?;
    }
    let replies = end(served, run.finish().await?, speaker);
    Ok(answer::several(&replies, form))
}

/// Answers several commands that run as one transaction: all or none.
pub(super) async fn transaction(
    served: &Served,
    mut speaker: Speaker,
    commands: &Commands,
    form: Form,
) -> Result<Response<Body>, Stop> {
    let mut run = Run::new(served, &mut speaker);
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
    let reply = end(served, run.finish().await?, speaker);
    Ok(answer::transaction(&reply, form))
}

/// Queues a command. Returns the line of the error if it cannot be queued.
async fn queue(run: &mut Run<'_>, args: Args<'_>) -> Result<Option<Vec<u8>>, Stop> {
    let start = run.replies().len();
    run.command(args).await?;
    let reply = &run.replies()[start..];
    let line = reply.strip_prefix(b"-").map(|line| line.trim_ascii_end().to_vec());
    Ok(line)
}

/// Lets the session rest if it goes on. Returns the replies.
fn end(served: &Served, (replies, goes_on): (Vec<u8>, bool), speaker: Speaker) -> Vec<u8> {
    if goes_on {
        served.rest(speaker);
    }
    replies
}
