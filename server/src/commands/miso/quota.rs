//! MISO.QUOTA: how much a function may have and do on this node.

use miso_protocol::command::{Arg, Bound, Flags, Group, Row};
use miso_protocol::request::Args;

use crate::commands::args::Words;
use crate::engine::command::Command;
use crate::engine::context::{Context, check_name};
use crate::engine::error::CommandError;
use crate::node::{Node, quotas};
use crate::settings::{Refused, by_function};

pub(crate) const QUOTAS: &[Command] = &[Command::new(
    Row::command("MISO.QUOTA")
        .args(&[
            Arg::string("function"),
            Arg::integer("objects").with_token("OBJECTS").optional(),
            Arg::integer("writes").with_token("WRITES").optional(),
            Arg::integer("memory").with_token("MEMORY").optional(),
            Arg::integer("keybytes").with_token("KEYBYTES").optional(),
            Arg::integer("connections").with_token("CONNECTIONS").optional(),
        ])
        .group(Group::Miso)
        .for_bound(Bound::Part("those of its function; it changes none"))
        .flags(Flags::ADMIN.with(Flags::NOSCRIPT).with(Flags::STALE))
        .summary(
            "What a function may have on this node, all of its databases together: objects, writes and messages a \
             second, bytes of memory for its objects, bytes of a key that it writes, and connections that name it; \
             0: no limit. Without limits: those it has, what is used, and how many commands were refused. A command \
             that makes no new object is not refused for objects. Memory is measured where it has a limit: by what \
             commands take, and anew every few seconds. The limits are the settings quota-objects, quota-writes, \
             quota-memory, quota-keybytes and quota-connections: CONFIG REWRITE keeps them",
        )
        .reply("OK; without limits an array (RESP3: map)")
        .example(&[
            ("MISO.QUOTA thumbnails OBJECTS 100000 WRITES 500", "OK"),
            (
                "MISO.QUOTA thumbnails",
                " 1) \"objects\"\n 2) (integer) 100000\n 3) \"objects-used\"\n 4) (integer) 0\n \
                 5) \"writes\"\n 6) (integer) 500\n 7) \"refused\"\n 8) (integer) 0\n…",
            ),
        ]),
    quota,
)];

fn quota(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let function = &args[1];
    check_name("function", function)?;
    cx.check_function(function)?;
    if args.len() == 2 {
        show(cx, function);
        return Ok(());
    }
    if let Some(bound) = cx.bound_function() {
        return Err(CommandError::OwnQuota((&*bound).into()));
    }
    let mut words = Words::from(args, 2);
    let settings = &cx.node.settings;
    let mut limits = [
        ("OBJECTS", "quota-objects", None, settings.quota_objects()),
        ("WRITES", "quota-writes", None, settings.quota_writes()),
        ("MEMORY", "quota-memory", None, settings.quota_memory()),
        ("KEYBYTES", "quota-keybytes", None, settings.quota_keybytes()),
        ("CONNECTIONS", "quota-connections", None, settings.quota_connections()),
    ];
    while !words.is_empty() {
        let limit = limits.iter_mut().find(|(token, ..)| words.token(token));
        let (_, _, limit, _) = limit.ok_or(CommandError::Syntax)?;
        *limit = Some(u64::try_from(words.integer()?).map_err(|_| CommandError::NotInteger)?);
    }
    let name = String::from_utf8_lossy(function).into_owned();
    let mut changes = Vec::new();
    for (_, setting, limit, mut all) in limits {
        match limit {
            None => continue,
            Some(0) => drop(all.remove(&name)),
            Some(most) => drop(all.insert(name.clone(), most)),
        }
        changes.push((setting, by_function::text(&all)));
    }
    let pairs: Vec<(&[u8], &[u8])> =
        changes.iter().map(|(setting, text)| (setting.as_bytes(), text.as_bytes())).collect();
    settings.set(&pairs).map_err(|refused| match refused {
        Refused::Unknown(name) => CommandError::UnknownSetting(name.into()),
        Refused::Invalid(name, why) => CommandError::ConfigSet(name.into(), why.into()),
    })?;
    cx.node.set_quotas();
    cx.reply.ok();
    Ok(())
}

fn show(cx: &mut Context<'_>, function: &[u8]) {
    let figures = figures(cx.node, function);
    cx.reply.map(figures.len());
    for (name, figure) in figures {
        cx.reply.bulk(name.as_bytes());
        cx.reply.integer(figure);
    }
}

/// A function's limits, 0 where it has none, what is used of them, and how many commands were refused.
pub(super) fn figures(node: &Node, function: &[u8]) -> [(&'static str, i64); 9] {
    let quota = node.quotas.of(function);
    let limits = quota.as_ref().map(|quota| quota.limits).unwrap_or_default();
    let limit = |limit: Option<u64>| limit.unwrap_or(0);
    [
        ("objects", limit(limits.objects)),
        ("objects-used", quotas::objects(&node.store, function, node.settings.databases())),
        ("writes", limit(limits.writes)),
        ("refused", quota.as_ref().map_or(0, |quota| quota.refused())),
        ("memory", limit(limits.memory)),
        ("memory-used", quota.as_ref().map_or(0, |quota| quota.memory())),
        ("keybytes", limit(limits.key_bytes)),
        ("connections", limit(limits.connections)),
        ("connections-used", node.clients.speaking_for(function, 0)),
    ]
    .map(|(name, figure)| (name, i64::try_from(figure).unwrap_or(i64::MAX)))
}
