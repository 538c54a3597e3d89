//! CONFIG.

use std::sync::atomic::Ordering;

use miso_protocol::command::{Arg, Flags, Group, Row};
use miso_protocol::glob;
use miso_protocol::request::Args;

use crate::commands::subcommands::helps;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;
use crate::node::Node;
use crate::settings::{Effect, Refused};

const FLAGS: Flags = Flags::ADMIN.with(Flags::NOSCRIPT).with(Flags::LOADING).with(Flags::STALE);

pub(crate) const CONFIG: &[Command] = &[Command::parent(
    Row::command("CONFIG").summary("About settings"),
    &[
        Command::new(
            Row::subcommand("GET")
                .args(&[Arg::pattern("parameter").multiple()])
                .flags(FLAGS)
                .summary("The settings that match")
                .reply("Array of names and values in turn (RESP3: map)"),
            get,
        ),
        Command::new(
            Row::subcommand("SET")
                .args(&[Arg::block(
                    "data",
                    &[Arg::string("parameter"), Arg::string("value").secret_by_setting()],
                )
                .multiple()])
                .flags(FLAGS)
                .summary("Changes settings, all or none")
                .reply("OK"),
            set,
        ),
        Command::new(
            Row::subcommand("RESETSTAT")
                .flags(FLAGS)
                .summary("Starts the counters of INFO anew")
                .reply("OK"),
            reset_stat,
        ),
        Command::new(
            Row::subcommand("REWRITE")
                .flags(FLAGS)
                .summary("Writes the settings into the configuration file")
                .reply("OK"),
            rewrite,
        ),
        helps(Group::Server),
    ],
)];

fn get(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let port = cx.node.port.load(Ordering::Relaxed);
    let list = cx.node.settings.list(|name| {
        args.tail(2).iter().any(|pattern| glob::matches(pattern, name.as_bytes(), true))
    });
    cx.reply.map(list.len());
    for (name, mut text) in list {
        match name {
            "port" => text = port.to_string(),
            "node-name" => text = cx.node.node_name(),
            "http-port" if text != "none" => {
                text = cx.node.http_port.load(Ordering::Relaxed).to_string();
            }
            "http-tls-port" if text != "none" => {
                text = cx.node.http_tls_port.load(Ordering::Relaxed).to_string();
            }
            "peer-port" => text = crate::peers::port(cx.node),
            _ => {}
        }
        // As Redis, a name that is asked for is given back as it was written.
        let asked = args.tail(2).iter().find(|asked| asked.eq_ignore_ascii_case(name.as_bytes()));
        cx.reply.bulk(asked.unwrap_or(name.as_bytes()));
        cx.reply.bulk(text.as_bytes());
    }
    Ok(())
}

fn set(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if !args.len().is_multiple_of(2) {
        return Err(CommandError::Syntax);
    }
    let settings = &cx.node.settings;
    let pairs: Vec<_> = (2..args.len()).step_by(2).map(|at| (&args[at], &args[at + 1])).collect();
    let change = settings.set(&pairs).map_err(|refused| match refused {
        Refused::Unknown(name) => CommandError::UnknownSetting(name.into()),
        Refused::Invalid(name, why) => CommandError::ConfigSet(name.into(), why.into()),
    })?;
    let effects = change.effects();
    let applied = effects.iter().try_for_each(|effect| apply(cx.node, *effect));
    if let Err(error) = applied {
        settings.undo(change);
        // Each effect takes the value of now, so this takes back those that were carried out.
        effects.iter().for_each(|effect| drop(apply(cx.node, *effect)));
        return Err(error);
    }
    cx.reply.ok();
    Ok(())
}

/// Carries out what a changed setting must do.
fn apply(node: &Node, effect: Effect) -> Result<(), CommandError> {
    match effect {
        Effect::None => {}
        Effect::Descriptors => {
            let clients = node.settings.maxclients();
            let room = crate::process::raise_descriptors(clients, node.settings.http_connections());
            if room < clients {
                tracing::warn!("maxclients lowered to {room}: no file descriptors for more");
                node.settings.lower_maxclients(room);
            }
        }
        Effect::Intervals => crate::peers::set_intervals(node),
        Effect::Once => node.set_once_limits(),
        Effect::SyncRate => crate::peers::set_sync_rate(node),
        Effect::SyncPolicy => {
            if let Some(journal) = node.store.journal() {
                let set = journal.set_policy(node.settings.append_sync());
                set.map_err(|failed| CommandError::Failed(failed.to_string().into()))?;
            }
        }
        Effect::Secret => {
            let read = crate::peers::read_secrets(node);
            read.map_err(|error| CommandError::Failed(error.into()))?;
        }
        Effect::Tls => {
            let loaded = crate::peers::load_tls(node);
            loaded.map_err(|error| CommandError::Failed(error.into()))?;
        }
        Effect::Quotas => node.set_quotas(),
        Effect::Audit => {
            node.open_audit().map_err(|error| CommandError::Failed(error.into()))?;
        }
        Effect::Decisions => node.monitors.set_refusing(node.settings.refuses_decisions()),
        Effect::Events => node.monitors.set_events(node.settings.notify().any()),
        Effect::Password => node.acl.require(node.settings.requirepass().as_bytes()),
    }
    Ok(())
}

fn reset_stat(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.node.stats.reset();
    cx.reply.ok();
    Ok(())
}

fn rewrite(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.node.settings.rewrite().map_err(|why| match why {
        None => CommandError::NoConfigFile,
        Some(why) => CommandError::ConfigRewrite(why.into()),
    })?;
    cx.reply.ok();
    Ok(())
}
