//! The server itself: INFO, TIME, ROLE, SHUTDOWN, MONITOR, DEBUG, and its folder.

pub(super) mod acl;
pub(super) mod config;
mod latency;
mod memory;
pub(crate) mod rows;
mod saving;

use std::sync::Arc;
use std::time::Duration;

use miso_protocol::command::{Arg, Bound, Categories, Flags, Group, Row};
use miso_protocol::request::Args;
use miso_replication::{Answer, Ask};

use crate::clock::unix_micros;
use crate::commands::redis::object;
use crate::commands::subcommands::helps;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;
use crate::engine::wait::{After, Wait, encoded};
use crate::peers;

use rows::{ADMIN, PLAIN};

/// How long INFO waits to hear of the nodes.
const PATIENCE: Duration = Duration::from_millis(500);

pub(crate) const SERVER: &[Command] = &[
    Command::new(
        Row::command("INFO")
            .args(&[Arg::string("section").optional().multiple()])
            .flags(PLAIN)
            .categories(Categories::DANGEROUS)
            .for_bound(Bound::Part("figures of the node; of functions and keys those of its own"))
            .summary("What the server is and does")
            .reply("Bulk string of lines"),
        info,
    ),
    Command::new(
        Row::command("TIME")
            .flags(PLAIN)
            .fast()
            .summary("Seconds and microseconds since 1970")
            .reply("Array of two bulk strings"),
        time,
    ),
    Command::new(
        Row::command("ROLE")
            .flags(PLAIN)
            .fast()
            .categories(Categories::DANGEROUS)
            .summary("The role that Redis's tools expect")
            .reply("Array: master, 0, no replicas"),
        role,
    ),
    saving::LASTSAVE,
    saving::SAVE,
    saving::BGSAVE,
    saving::BGREWRITEAOF,
    Command::new(
        Row::command("SHUTDOWN")
            .args(&[Arg::string("option").optional().multiple()])
            .flags(ADMIN)
            .flags(Flags::NO_MULTI)
            .summary("Ends the server")
            .reply("Nothing, or an error"),
        shutdown,
    ),
    Command::new(
        Row::command("MONITOR")
            .flags(ADMIN)
            .flags(Flags::NO_MULTI)
            .for_bound(Bound::Part("commands of users bound to its function"))
            .summary("Shows every command that runs")
            .reply("OK, then a line per command"),
        monitor,
    ),
    memory::MEMORY,
    object::OBJECT,
    latency::SLOWLOG,
    latency::LATENCY,
    Command::parent(
        Row::command("DEBUG").flags(ADMIN).summary("For tests"),
        &[
            Command::new(
                Row::subcommand("SLEEP")
                    .args(&[Arg::double("seconds")])
                    .flags(ADMIN)
                    .summary("Keeps this connection waiting")
                    .reply("OK"),
                debug_sleep,
            ),
            helps(Group::Server),
        ],
    ),
];

fn info(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let sections: Vec<Vec<u8>> = args.tail(1).iter().map(<[u8]>::to_ascii_lowercase).collect();
    let bound = cx.bound_function();
    if !crate::observe::info::tells_of_nodes(&sections) {
        let text = crate::observe::info::render((cx.node, bound.as_deref()), &[], &sections);
        cx.reply.verbatim_txt(text.as_bytes());
        return Ok(());
    }
    let (node, resp) = (Arc::clone(cx.node), cx.reply.resp);
    cx.after = After::Wait(Wait::soon(async move {
        let nodes = tokio::time::timeout(PATIENCE, peers::ask(&node, Ask::Nodes)).await;
        // The other sections are shown even if replication does not answer.
        let nodes = match nodes {
            Ok(Answer::Nodes(nodes)) => nodes,
            _ => Vec::new(),
        };
        let text = crate::observe::info::render((&node, bound.as_deref()), &nodes, &sections);
        encoded(&node, resp, |reply| {
            reply.verbatim_txt(text.as_bytes());
            Ok(())
        })
    }));
    Ok(())
}

fn time(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let now = unix_micros();
    cx.reply.array(2);
    cx.reply.bulk_display(now / 1_000_000);
    cx.reply.bulk_display(now % 1_000_000);
    Ok(())
}

fn role(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.reply.array(3);
    cx.reply.bulk(b"master");
    cx.reply.integer(0);
    cx.reply.array(0);
    Ok(())
}

fn shutdown(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let mut saves = None;
    for word in args.tail(1).iter() {
        match word.to_ascii_uppercase().as_slice() {
            b"NOW" | b"FORCE" => {}
            word @ (b"NOSAVE" | b"SAVE") if saves.is_none_or(|save| save == (word == b"SAVE")) => {
                saves = Some(word == b"SAVE");
            }
            b"ABORT" if args.len() == 2 => {
                return Err(CommandError::NoShutdown);
            }
            _ => return Err(CommandError::Syntax),
        }
    }
    cx.node.shut_down();
    cx.after = After::Close;
    Ok(())
}

fn monitor(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    if !cx.session.monitors {
        cx.session.monitors = true;
        cx.node.monitors.add(&cx.session.client);
        cx.session.describe();
    }
    cx.reply.ok();
    Ok(())
}

fn debug_sleep(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let text = std::str::from_utf8(&args[2]).ok();
    let seconds = text.and_then(|text| text.parse::<f64>().ok());
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let duration = duration.ok_or(CommandError::NotFloat)?;
    cx.after = After::Sleep(duration, b"+OK\r\n");
    Ok(())
}
