//! SAVE and its kind: checkpoints.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use miso_protocol::command::{Arg, Bound, Flags, Row};
use miso_protocol::request::Args;

use super::rows::ADMIN;
use crate::durability;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;
use crate::engine::wait::{After, Wait, encoded};

pub(super) const LASTSAVE: Command = Command::new(
    Row::command("LASTSAVE")
        .flags(ADMIN)
        .fast()
        .for_bound(Bound::Node)
        .summary("When a checkpoint was last written")
        .reply("Integer: seconds since 1970"),
    last_save,
);

pub(super) const SAVE: Command = Command::new(
    Row::command("SAVE")
        .flags(ADMIN)
        .flags(Flags::NO_MULTI)
        .summary("Writes a checkpoint of everything")
        .reply("OK"),
    save,
);

pub(super) const BGSAVE: Command = Command::new(
    Row::command("BGSAVE")
        .args(&[Arg::token("SCHEDULE").optional()])
        .flags(ADMIN)
        .summary("Writes a checkpoint of everything in the background")
        .reply("Simple string"),
    bg_save,
);

pub(super) const BGREWRITEAOF: Command = Command::new(
    Row::command("BGREWRITEAOF")
        .flags(ADMIN)
        .summary(
            "Writes a checkpoint in the background, after which older \
             journals go",
        )
        .reply("Simple string"),
    bg_rewrite,
);

fn last_save(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.reply.integer(cx.node.saving.last.load(Ordering::Relaxed) as i64);
    Ok(())
}

/// Refuses to save where nothing is kept: OK would say that it is.
fn check_disk(cx: &Context<'_>) -> Result<(), CommandError> {
    cx.node.store.journal().map(|_| ()).ok_or(CommandError::NothingKept)
}

fn save(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    check_disk(cx)?;
    let (node, resp) = (Arc::clone(cx.node), cx.reply.resp);
    cx.after = After::Wait(Wait::soon(async move {
        // Writing it blocks, and other connections of this worker go on.
        let saving = Arc::clone(&node);
        let saved = tokio::task::spawn_blocking(move || durability::save(&saving)).await;
        encoded(&node, resp, |reply| match saved {
            Ok(Ok(())) => {
                reply.ok();
                Ok(())
            }
            Ok(Err(failed)) => Err(CommandError::Failed(failed.to_string().into())),
            Err(_) => Err(CommandError::SaveEnded),
        })
    }));
    Ok(())
}

fn bg_save(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if args.len() > 2 || args.get(1).is_some_and(|word| !word.eq_ignore_ascii_case(b"SCHEDULE")) {
        return Err(CommandError::Syntax);
    }
    check_disk(cx)?;
    if cx.node.saving.running.load(Ordering::Relaxed) {
        return Err(CommandError::SaveInProgress);
    }
    cx.node.saving.ask();
    cx.reply.simple("Background saving started");
    Ok(())
}

fn bg_rewrite(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    check_disk(cx)?;
    cx.node.saving.ask();
    cx.reply.simple("Background append only file rewriting started");
    Ok(())
}
