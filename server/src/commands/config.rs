//! CONFIG.

use miso_protocol::command::{Arg, Flags, Group, Row};
use miso_protocol::glob;
use miso_protocol::request::Args;

use super::connection::help;
use super::{Command, ROW};
use crate::context::Context;
use crate::error::CommandError;
use crate::settings::{Effect, Refused};
use crate::shared::Shared;

const FLAGS: Flags = Flags::ADMIN.with(Flags::NOSCRIPT).with(Flags::LOADING).with(Flags::STALE);

const fn sub(
    name: &'static str,
    args: &'static [Arg],
    summary: &'static str,
    reply: &'static str,
) -> Row {
    Row {
        name,
        args,
        group: Group::Server,
        flags: FLAGS,
        summary,
        reply,
        is_subcommand: true,
        ..ROW
    }
}

pub(super) const CONFIG: &[Command] = &[Command::parent(
    Row {
        name: "CONFIG",
        summary: "About settings",
        subcommands: &[
            sub(
                "GET",
                &[Arg::pattern("parameter").multiple()],
                "The settings that match",
                "Array of names and values in turn (RESP3: map)",
            ),
            sub(
                "SET",
                &[Arg::block("data", &[Arg::string("parameter"), Arg::string("value")]).multiple()],
                "Changes settings, all or none",
                "OK",
            ),
            sub("RESETSTAT", &[], "Starts the counters of INFO anew", "OK"),
            sub("REWRITE", &[], "Writes the settings into the configuration file", "OK"),
            Row {
                flags: FLAGS.without(Flags::ADMIN),
                ..sub("HELP", &[], "What the subcommands are", "Array of lines")
            },
        ],
        ..ROW
    },
    &[get, set, reset_stat, rewrite, help],
)];

fn get(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let port = cx.shared.port.load(std::sync::atomic::Ordering::Relaxed);
    let list = cx.shared.settings.list(|name| {
        args.tail(2).iter().any(|pattern| glob::matches(pattern, name.as_bytes(), true))
    });
    cx.reply.map(list.len());
    for (name, mut text) in list {
        match name {
            "port" => text = port.to_string(),
            "node-name" => text = cx.shared.node_name(),
            "peer-port" => text = crate::peers::port(cx.shared),
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
    let settings = &cx.shared.settings;
    let pairs: Vec<_> = (2..args.len()).step_by(2).map(|at| (&args[at], &args[at + 1])).collect();
    let change = settings.set(&pairs).map_err(|refused| match refused {
        Refused::Unknown(name) => CommandError::UnknownSetting(name.into()),
        Refused::Invalid(name, why) => CommandError::ConfigSet(name.into(), why.into()),
    })?;
    let effects = change.effects();
    let applied = effects.iter().try_for_each(|effect| apply(cx.shared, *effect));
    if let Err(error) = applied {
        settings.undo(change);
        // Each effect takes the value of now, so this takes back those that were carried out.
        effects.iter().for_each(|effect| drop(apply(cx.shared, *effect)));
        return Err(error);
    }
    cx.reply.ok();
    Ok(())
}

/// Carries out what a changed setting must do.
fn apply(shared: &Shared, effect: Effect) -> Result<(), CommandError> {
    match effect {
        Effect::None => {}
        Effect::Descriptors => {
            let clients = shared.settings.maxclients();
            let room = crate::raise_descriptors(clients);
            if room < clients {
                tracing::warn!("maxclients lowered to {room}: no file descriptors for more");
                shared.settings.lower_maxclients(room);
            }
        }
        Effect::Intervals => crate::peers::set_intervals(shared),
        Effect::SyncRate => crate::peers::set_sync_rate(shared),
        Effect::SyncPolicy => {
            if let Some(journal) = shared.store.journal() {
                let set = journal.set_policy(shared.settings.append_sync());
                set.map_err(|failed| CommandError::Failed(failed.to_string().into()))?;
            }
        }
        Effect::Password => shared.acl.require(shared.settings.requirepass().as_bytes()),
    }
    Ok(())
}

fn reset_stat(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.shared.stats.reset();
    cx.reply.ok();
    Ok(())
}

fn rewrite(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.shared.settings.rewrite().map_err(|why| match why {
        None => CommandError::NoConfigFile,
        Some(why) => CommandError::ConfigRewrite(why.into()),
    })?;
    cx.reply.ok();
    Ok(())
}
