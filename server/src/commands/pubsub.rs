//! Publish and subscribe. The channel `__miso__:function:object` gets a message for each change of that
//! object.

use std::sync::Arc;

use miso_protocol::command::{Arg, Bound, Flags, Group, Row};
use miso_protocol::request::Args;

use super::subcommands::helps;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;
use crate::node::pubsub::Audience;
use crate::node::subscriptions::ChannelKind;

const FLAGS: Flags = Flags::PUBSUB.with(Flags::NOSCRIPT).with(Flags::LOADING).with(Flags::STALE);
/// What is left of PUBSUB for a user that is bound to a function.
const OWN: Bound = Bound::Part("channels of its function's clients");
const LISTENERS: &str = "O(N) with N channels or listeners";
const LISTEN: Flags = FLAGS.with(Flags::ALLOW_SUBSCRIBED);

pub(super) const PUBSUB: &[Command] = &[
    Command::new(
        Row::command("SUBSCRIBE")
            .args(&[Arg::string("channel").multiple()])
            .group(Group::PubSub)
            .flags(LISTEN)
            .complexity(LISTENERS)
            .summary("Listens to channels")
            .reply("A message per channel, then what is published")
            .example(&[(
                "SUBSCRIBE __miso__:checkout:cart-12345",
                "1) \"subscribe\"\n2) \"__miso__:checkout:cart-12345\"\n\
                 3) (integer) 1\n1) \"message\"\n\
                 2) \"__miso__:checkout:cart-12345\"\n3) \"total gcounter\"",
            )]),
        |cx, args| subscribe(cx, args, ChannelKind::Channel),
    ),
    Command::new(
        Row::command("PSUBSCRIBE")
            .args(&[Arg::pattern("pattern").multiple()])
            .group(Group::PubSub)
            .flags(LISTEN)
            .complexity(LISTENERS)
            .summary("Listens to all channels that match")
            .reply("A message per pattern, then what is published"),
        |cx, args| subscribe(cx, args, ChannelKind::Pattern),
    ),
    Command::new(
        Row::command("UNSUBSCRIBE")
            .args(&[Arg::string("channel").optional().multiple()])
            .group(Group::PubSub)
            .flags(LISTEN)
            .complexity(LISTENERS)
            .summary("Stops listening to channels, or to all")
            .reply("A message per channel"),
        |cx, args| unsubscribe(cx, args, ChannelKind::Channel),
    ),
    Command::new(
        Row::command("PUNSUBSCRIBE")
            .args(&[Arg::pattern("pattern").optional().multiple()])
            .group(Group::PubSub)
            .flags(LISTEN)
            .complexity(LISTENERS)
            .summary("Stops listening to patterns, or to all")
            .reply("A message per pattern"),
        |cx, args| unsubscribe(cx, args, ChannelKind::Pattern),
    ),
    Command::new(
        Row::command("PUBLISH")
            .args(&[Arg::string("channel"), Arg::string("message")])
            .group(Group::PubSub)
            .flags(FLAGS)
            .fast()
            .complexity(LISTENERS)
            .flags(Flags::MAY_REPLICATE)
            .summary("Sends a message to the listeners of this function on this node")
            .reply("Integer: how many got it"),
        |cx, args| publish(cx, args, ChannelKind::Channel),
    ),
    Command::new(
        Row::command("SSUBSCRIBE")
            .args(&[Arg::shard_channel("shardchannel").multiple()])
            .group(Group::PubSub)
            .flags(LISTEN)
            .complexity(LISTENERS)
            .summary(
                "Listens to shard channels: names of their own, for clients \
                 written for a Redis cluster",
            )
            .reply("A message per channel, then what is published"),
        |cx, args| subscribe(cx, args, ChannelKind::Shard),
    ),
    Command::new(
        Row::command("SUNSUBSCRIBE")
            .args(&[Arg::shard_channel("shardchannel").optional().multiple()])
            .group(Group::PubSub)
            .flags(LISTEN)
            .complexity(LISTENERS)
            .summary("Stops listening to shard channels, or to all")
            .reply("A message per channel"),
        |cx, args| unsubscribe(cx, args, ChannelKind::Shard),
    ),
    Command::new(
        Row::command("SPUBLISH")
            .args(&[Arg::shard_channel("shardchannel"), Arg::string("message")])
            .group(Group::PubSub)
            .fast()
            .flags(Flags::PUBSUB.with(Flags::LOADING).with(Flags::STALE))
            .complexity(LISTENERS)
            .flags(Flags::MAY_REPLICATE)
            .summary(
                "Sends a message to the listeners of a shard channel of this function on this node",
            )
            .reply("Integer: how many got it")
            .example(&[("SPUBLISH orders hello", "(integer) 0")]),
        |cx, args| publish(cx, args, ChannelKind::Shard),
    ),
    Command::parent(
        Row::command("PUBSUB").group(Group::PubSub).complexity(LISTENERS).summary("About channels"),
        &[
            Command::new(
                Row::subcommand("CHANNELS")
                    .args(&[Arg::pattern("pattern").optional()])
                    .group(Group::PubSub)
                    .flags(FLAGS)
                    .for_bound(OWN)
                    .complexity(LISTENERS)
                    .summary("The channels that have a listener")
                    .reply("Array"),
                |cx, args| channels(cx, args, ChannelKind::Channel),
            ),
            Command::new(
                Row::subcommand("NUMSUB")
                    .args(&[Arg::string("channel").optional().multiple()])
                    .group(Group::PubSub)
                    .flags(FLAGS)
                    .for_bound(OWN)
                    .complexity(LISTENERS)
                    .summary("How many listen to channels")
                    .reply("Array of channels and counts in turn"),
                |cx, args| numsub(cx, args, ChannelKind::Channel),
            ),
            Command::new(
                Row::subcommand("NUMPAT")
                    .group(Group::PubSub)
                    .flags(FLAGS)
                    .for_bound(OWN)
                    .complexity(LISTENERS)
                    .summary("How many patterns have a listener")
                    .reply("Integer"),
                numpat,
            ),
            Command::new(
                Row::subcommand("SHARDCHANNELS")
                    .args(&[Arg::pattern("pattern").optional()])
                    .group(Group::PubSub)
                    .flags(FLAGS)
                    .for_bound(OWN)
                    .complexity(LISTENERS)
                    .summary("The shard channels that have a listener")
                    .reply("Array"),
                |cx, args| channels(cx, args, ChannelKind::Shard),
            ),
            Command::new(
                Row::subcommand("SHARDNUMSUB")
                    .args(&[Arg::string("shardchannel").optional().multiple()])
                    .group(Group::PubSub)
                    .flags(FLAGS)
                    .for_bound(OWN)
                    .complexity(LISTENERS)
                    .summary("How many listen to shard channels")
                    .reply("Array of channels and counts in turn"),
                |cx, args| numsub(cx, args, ChannelKind::Shard),
            ),
            helps(Group::PubSub),
        ],
    ),
];

/// The names of a kind's commands in lower case, with which their replies begin.
const fn named(kind: ChannelKind) -> (&'static str, &'static str) {
    match kind {
        ChannelKind::Channel => ("subscribe", "unsubscribe"),
        ChannelKind::Pattern => ("psubscribe", "punsubscribe"),
        ChannelKind::Shard => ("ssubscribe", "sunsubscribe"),
    }
}

/// Replies with what was done, and how many subscriptions the session has now. As in Redis, channels
/// and patterns are counted together, and shard channels by themselves.
fn tell(cx: &mut Context<'_>, kind: ChannelKind, what: &str, channel: Option<&[u8]>) {
    let held = cx.session.subscriptions();
    let sharded = *held.of(ChannelKind::Shard);
    let count = if kind == ChannelKind::Shard { sharded } else { held.sum() - sharded };
    cx.reply.push(3);
    cx.reply.bulk(what.as_bytes());
    match channel {
        Some(channel) => cx.reply.bulk(channel),
        None => cx.reply.null(),
    }
    cx.reply.integer(count as i64);
}

fn subscribe(cx: &mut Context<'_>, args: Args<'_>, kind: ChannelKind) -> Result<(), CommandError> {
    let (name, _) = named(kind);
    for channel in args.tail(1).iter() {
        super::access::check_key(cx, channel)?;
    }
    for channel in args.tail(1).iter() {
        if cx.session.listens.of_mut(kind).insert(Box::from(channel)) {
            cx.node.pubsub.subscribe(kind, channel, &cx.session.client);
        }
        tell(cx, kind, name, Some(channel));
    }
    cx.session.describe();
    Ok(())
}

fn unsubscribe(
    cx: &mut Context<'_>,
    args: Args<'_>,
    kind: ChannelKind,
) -> Result<(), CommandError> {
    let (_, name) = named(kind);
    let leaving: Vec<Box<[u8]>> = match args.len() {
        1 => cx.session.listens.of(kind).iter().cloned().collect(),
        _ => args.tail(1).iter().map(Box::from).collect(),
    };
    if leaving.is_empty() {
        tell(cx, kind, name, None);
    }
    for channel in leaving {
        if cx.session.listens.of_mut(kind).remove(&channel) {
            cx.node.pubsub.unsubscribe(kind, &channel, cx.session.client.id);
        }
        tell(cx, kind, name, Some(&channel));
    }
    cx.session.describe();
    Ok(())
}

fn publish(cx: &mut Context<'_>, args: Args<'_>, kind: ChannelKind) -> Result<(), CommandError> {
    // Channels belong to the function, whatever the database.
    let (node, to) = (Arc::clone(cx.node), Audience::Clients(cx.session.owner()));
    let got = match kind {
        ChannelKind::Shard => node.pubsub.publish_sharded(&args[1], &args[2], to, &node.settings),
        _ => node.pubsub.publish(&args[1], &args[2], to, &node.settings),
    };
    cx.reply.integer(got as i64);
    Ok(())
}

/// Whether a channel is shown: a user who is bound to a function sees only what it may listen to.
fn may_see(cx: &Context<'_>, kind: ChannelKind, channel: &[u8]) -> bool {
    let bound = cx.session.user.as_ref().filter(|user| user.function().is_some());
    bound.is_none_or(|user| user.may_listen(kind, channel))
}

fn channels(cx: &mut Context<'_>, args: Args<'_>, kind: ChannelKind) -> Result<(), CommandError> {
    let mut channels = cx.node.pubsub.channels(kind, args.get(2), cx.session.owner());
    channels.retain(|channel| may_see(cx, kind, channel));
    cx.reply.array(channels.len());
    channels.iter().for_each(|channel| cx.reply.bulk(channel));
    Ok(())
}

fn numsub(cx: &mut Context<'_>, args: Args<'_>, kind: ChannelKind) -> Result<(), CommandError> {
    cx.reply.array((args.len() - 2) * 2);
    for channel in args.tail(2).iter() {
        let seen = may_see(cx, kind, channel);
        let listeners =
            if seen { cx.node.pubsub.listeners(kind, channel, cx.session.owner()) } else { 0 };
        cx.reply.bulk(channel);
        cx.reply.integer(listeners as i64);
    }
    Ok(())
}

fn numpat(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let patterns = cx.node.pubsub.channels(ChannelKind::Pattern, None, cx.session.owner()).len();
    cx.reply.integer(patterns as i64);
    Ok(())
}
