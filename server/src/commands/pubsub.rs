//! Messages: channels of one's own, and `__miso__:function:object` for what changed.

use std::sync::Arc;

use miso_protocol::command::{Arg, Flags, Group, Row};
use miso_protocol::request::Args;

use super::connection::help;
use super::{Command, ROW};
use crate::context::Context;
use crate::dispatch;
use crate::error::CommandError;

const FLAGS: Flags = Flags::PUBSUB.with(Flags::NOSCRIPT).with(Flags::LOADING).with(Flags::STALE);
const LISTEN: Flags = FLAGS.with(Flags::ALLOW_SUBSCRIBED);

const fn row(
    name: &'static str,
    args: &'static [Arg],
    summary: &'static str,
    reply: &'static str,
) -> Row {
    Row {
        name,
        args,
        group: Group::PubSub,
        flags: LISTEN,
        complexity: "O(N) with N channels or listeners",
        summary,
        reply,
        ..ROW
    }
}

const fn sub(
    name: &'static str,
    args: &'static [Arg],
    summary: &'static str,
    reply: &'static str,
) -> Row {
    Row { is_subcommand: true, flags: FLAGS, ..row(name, args, summary, reply) }
}

pub(super) const PUBSUB: &[Command] = &[
    Command::new(
        Row {
            example: &[(
                "SUBSCRIBE __miso__:checkout:cart-12345",
                "1) \"subscribe\"\n2) \"__miso__:checkout:cart-12345\"\n3) (integer) 1\n1) \"message\"\n2) \"__miso__:checkout:cart-12345\"\n3) \"total gcounter\"",
            )],
            ..row(
                "SUBSCRIBE",
                &[Arg::string("channel").multiple()],
                "Listens to channels",
                "A message per channel, then what is published",
            )
        },
        |cx, args| subscribe(cx, args, false),
    ),
    Command::new(
        row(
            "PSUBSCRIBE",
            &[Arg::pattern("pattern").multiple()],
            "Listens to all channels that match",
            "A message per pattern, then what is published",
        ),
        |cx, args| subscribe(cx, args, true),
    ),
    Command::new(
        row(
            "UNSUBSCRIBE",
            &[Arg::string("channel").optional().multiple()],
            "Stops listening to channels, or to all",
            "A message per channel",
        ),
        |cx, args| unsubscribe(cx, args, false),
    ),
    Command::new(
        row(
            "PUNSUBSCRIBE",
            &[Arg::pattern("pattern").optional().multiple()],
            "Stops listening to patterns, or to all",
            "A message per pattern",
        ),
        |cx, args| unsubscribe(cx, args, true),
    ),
    Command::new(
        Row {
            flags: FLAGS.with(Flags::FAST),
            ..row(
                "PUBLISH",
                &[Arg::string("channel"), Arg::string("message")],
                "Sends a message to the listeners on this node",
                "Integer: how many got it",
            )
        },
        publish,
    ),
    Command::parent(
        Row {
            flags: Flags::NONE,
            subcommands: &[
                sub(
                    "CHANNELS",
                    &[Arg::pattern("pattern").optional()],
                    "The channels that somebody listens to",
                    "Array",
                ),
                sub(
                    "NUMSUB",
                    &[Arg::string("channel").optional().multiple()],
                    "How many listen to channels",
                    "Array of channels and counts in turn",
                ),
                sub("NUMPAT", &[], "How many patterns somebody listens to", "Integer"),
                sub("HELP", &[], "What the subcommands are", "Array of lines"),
            ],
            ..row("PUBSUB", &[], "About channels", "")
        },
        &[channels, numsub, numpat, help],
    ),
];

fn tell(cx: &mut Context<'_>, what: &str, channel: Option<&[u8]>) {
    let count = cx.session.subscriptions();
    cx.reply.push(3);
    cx.reply.bulk(what.as_bytes());
    match channel {
        Some(channel) => cx.reply.bulk(channel),
        None => cx.reply.null(),
    }
    cx.reply.integer(count as i64);
}

fn subscribe(cx: &mut Context<'_>, args: Args<'_>, pattern: bool) -> Result<(), CommandError> {
    if let Some(user) = cx.session.user.clone() {
        for channel in args.tail(1).iter() {
            if let Err(denied) = user.may_listen(channel, pattern) {
                let name = if pattern { "psubscribe" } else { "subscribe" };
                return Err(dispatch::deny(cx.shared, cx.session, denied, name, args));
            }
        }
    }
    for channel in args.tail(1).iter() {
        super::access::check_key(cx, channel)?;
    }
    for channel in args.tail(1).iter() {
        let held = if pattern { &mut cx.session.patterns } else { &mut cx.session.channels };
        if !held.iter().any(|known| &**known == channel) {
            held.push(Box::from(channel));
            cx.shared.pubsub.subscribe(channel, &cx.session.client, pattern);
        }
        tell(cx, if pattern { "psubscribe" } else { "subscribe" }, Some(channel));
    }
    cx.session.describe();
    Ok(())
}

fn unsubscribe(cx: &mut Context<'_>, args: Args<'_>, pattern: bool) -> Result<(), CommandError> {
    let what = if pattern { "punsubscribe" } else { "unsubscribe" };
    let held = if pattern { &cx.session.patterns } else { &cx.session.channels };
    let leaving: Vec<Box<[u8]>> = match args.len() {
        1 => held.clone(),
        _ => args.tail(1).iter().map(Box::from).collect(),
    };
    if leaving.is_empty() {
        tell(cx, what, None);
    }
    for channel in leaving {
        let held = if pattern { &mut cx.session.patterns } else { &mut cx.session.channels };
        held.retain(|known| *known != channel);
        cx.shared.pubsub.unsubscribe(&channel, cx.session.client.id, pattern);
        tell(cx, what, Some(&channel));
    }
    cx.session.describe();
    Ok(())
}

fn publish(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if let Some(Err(denied)) = cx.session.user.as_ref().map(|user| user.may_listen(&args[1], false))
    {
        return Err(dispatch::deny(cx.shared, cx.session, denied, "publish", args));
    }
    let shared = Arc::clone(cx.shared);
    let got = shared.pubsub.publish(&args[1], &args[2], &shared.settings);
    cx.reply.integer(got as i64);
    Ok(())
}

fn channels(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let channels = cx.shared.pubsub.channels(args.get(2));
    cx.reply.array(channels.len());
    channels.iter().for_each(|channel| cx.reply.bulk(channel));
    Ok(())
}

fn numsub(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    cx.reply.array((args.len() - 2) * 2);
    for channel in args.tail(2).iter() {
        let listeners = cx.shared.pubsub.listeners(channel);
        cx.reply.bulk(channel);
        cx.reply.integer(listeners as i64);
    }
    Ok(())
}

fn numpat(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let patterns = cx.shared.pubsub.patterns();
    cx.reply.integer(patterns as i64);
    Ok(())
}
