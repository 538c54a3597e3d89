//! MISO.QUOTA: how much a function may have and do on this node.

use miso_protocol::command::{Arg, Bound, Flags, Group, Row};
use miso_protocol::request::Args;

use crate::commands::args::Words;
use crate::engine::command::Command;
use crate::engine::context::{Context, check_name};
use crate::engine::error::CommandError;
use crate::node::quotas;
use crate::settings::{Refused, by_function};

pub(crate) const QUOTAS: &[Command] = &[Command::new(
    Row::command("MISO.QUOTA")
        .args(&[
            Arg::string("function"),
            Arg::integer("objects").with_token("OBJECTS").optional(),
            Arg::integer("writes").with_token("WRITES").optional(),
        ])
        .group(Group::Miso)
        .for_bound(Bound::Part("those of its function; it changes none"))
        .flags(Flags::ADMIN.with(Flags::NOSCRIPT).with(Flags::STALE))
        .summary(
            "How many objects a function may have on this node, all of its databases together, and how often a \
             second it may write or publish; 0: no limit. Without limits: those it has, what is used, and how many \
             commands were refused. A command that makes no new object is not refused for objects. The limits \
             are the settings quota-objects and quota-writes: CONFIG REWRITE keeps them",
        )
        .reply("OK; without limits an array (RESP3: map)")
        .example(&[
            ("MISO.QUOTA thumbnails OBJECTS 100000 WRITES 500", "OK"),
            (
                "MISO.QUOTA thumbnails",
                "1) \"objects\"\n2) (integer) 100000\n3) \"objects-used\"\n4) (integer) 0\n\
                 5) \"writes\"\n6) (integer) 500\n7) \"refused\"\n8) (integer) 0",
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
        return Err(CommandError::OwnQuota(bound.into()));
    }
    let mut words = Words::from(args, 2);
    let (mut objects, mut writes) = (None, None);
    while !words.is_empty() {
        let limit = if words.token("OBJECTS") {
            &mut objects
        } else if words.token("WRITES") {
            &mut writes
        } else {
            return Err(CommandError::Syntax);
        };
        let most = u64::try_from(words.integer()?).map_err(|_| CommandError::NotInteger)?;
        *limit = Some(most);
    }
    let name = String::from_utf8_lossy(function).into_owned();
    let settings = &cx.node.settings;
    let mut changes = Vec::new();
    for (setting, limit, mut all) in [
        ("quota-objects", objects, settings.quota_objects()),
        ("quota-writes", writes, settings.quota_writes()),
    ] {
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
    let quota = cx.node.quotas.of(function);
    let used = quotas::objects(&cx.node.store, function, cx.node.settings.databases());
    let limit = |limit: Option<u64>| limit.unwrap_or(0);
    let figures = [
        ("objects", quota.as_ref().map_or(0, |quota| limit(quota.objects))),
        ("objects-used", used),
        ("writes", quota.as_ref().map_or(0, |quota| limit(quota.writes))),
        ("refused", quota.as_ref().map_or(0, |quota| quota.refused())),
    ];
    cx.reply.map(figures.len());
    for (name, figure) in figures {
        cx.reply.bulk(name.as_bytes());
        cx.reply.integer(i64::try_from(figure).unwrap_or(i64::MAX));
    }
}
