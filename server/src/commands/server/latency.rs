//! SLOWLOG and LATENCY: which commands take long.

use miso_protocol::command::{Arg, Bound, Group, Row};
use miso_protocol::integer;
use miso_protocol::request::Args;

use super::rows::ADMIN;
use crate::commands::subcommands::helps;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;
use crate::node::latency::Series;

/// What is left of SLOWLOG for a user that is bound to a function.
const OWN: Bound = Bound::Part("commands of users bound to its function");

pub(super) const SLOWLOG: Command = Command::parent(
    Row::command("SLOWLOG").summary("About slow commands"),
    &[
        Command::new(
            Row::subcommand("GET")
                .args(&[Arg::integer("count").optional()])
                .flags(ADMIN)
                .for_bound(OWN)
                .summary("The latest slow commands")
                .reply("Array"),
            slowlog_get,
        ),
        Command::new(
            Row::subcommand("LEN")
                .flags(ADMIN)
                .for_bound(OWN)
                .summary("How many there are")
                .reply("Integer"),
            slowlog_len,
        ),
        Command::new(
            Row::subcommand("RESET")
                .flags(ADMIN)
                .for_bound(OWN)
                .summary("Forgets them")
                .reply("OK"),
            slowlog_reset,
        ),
        helps(Group::Server),
    ],
);

pub(super) const LATENCY: Command = Command::parent(
    Row::command("LATENCY").summary("About delays"),
    &[
        Command::new(
            Row::subcommand("LATEST")
                .flags(ADMIN)
                .for_bound(Bound::Node)
                .summary("The latest delay of each event")
                .reply("Array"),
            latency_latest,
        ),
        Command::new(
            Row::subcommand("HISTORY")
                .args(&[Arg::string("event")])
                .flags(ADMIN)
                .for_bound(Bound::Node)
                .summary("The delays of an event")
                .reply("Array of times and milliseconds"),
            latency_history,
        ),
        Command::new(
            Row::subcommand("RESET")
                .args(&[Arg::string("event").optional().multiple()])
                .flags(ADMIN)
                .summary("Forgets events")
                .reply("Integer: how many"),
            latency_reset,
        ),
        Command::new(
            Row::subcommand("DOCTOR")
                .flags(ADMIN)
                .for_bound(Bound::Node)
                .summary("A summary of the delays")
                .reply("Bulk string"),
            latency_doctor,
        ),
        Command::new(
            Row::subcommand("GRAPH")
                .args(&[Arg::string("event")])
                .flags(ADMIN)
                .for_bound(Bound::Node)
                .summary("The delays of an event, in a line each")
                .reply("Bulk string"),
            latency_graph,
        ),
        Command::new(
            Row::subcommand("HISTOGRAM")
                .args(&[Arg::string("command").optional().multiple()])
                .flags(ADMIN)
                .for_bound(Bound::Node)
                .summary("How long commands take")
                .reply("Array (RESP3: map)"),
            latency_histogram,
        ),
        helps(Group::Server),
    ],
);

fn slowlog_get(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let count = args.get(2).map_or(Some(10), integer::parse_i64).unwrap_or(i64::MIN);
    if count < -1 {
        return Err(CommandError::SlowlogCount);
    }
    let entries = cx
        .node
        .slowlog
        .latest(usize::try_from(count).unwrap_or(usize::MAX), cx.bound_function().as_deref());
    cx.reply.array(entries.len());
    for entry in entries {
        cx.reply.array(6);
        cx.reply.integer(entry.id as i64);
        cx.reply.integer(entry.at as i64);
        cx.reply.integer(entry.micros as i64);
        cx.reply.array(entry.args.len());
        entry.args.iter().for_each(|arg| cx.reply.bulk(arg));
        cx.reply.bulk(entry.address.as_bytes());
        cx.reply.bulk(&entry.name);
    }
    Ok(())
}

fn slowlog_len(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.reply.integer(cx.node.slowlog.len(cx.bound_function().as_deref()) as i64);
    Ok(())
}

fn slowlog_reset(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.node.slowlog.reset(cx.bound_function().as_deref());
    cx.reply.ok();
    Ok(())
}

fn latency_latest(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let all = cx.node.latency.all();
    cx.reply.array(all.len());
    for (name, series) in all {
        let (at, millis) = series.samples.back().copied().unwrap_or_default();
        cx.reply.array(4);
        cx.reply.bulk(name.as_bytes());
        for n in [at, millis, series.worst] {
            cx.reply.integer(n as i64);
        }
    }
    Ok(())
}

fn latency_history(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let all = cx.node.latency.all();
    let samples = all.iter().find(|(name, _)| name.as_bytes() == &args[2]);
    let samples = samples.map_or_else(Default::default, |(_, series)| series.samples.clone());
    cx.reply.array(samples.len());
    for (at, millis) in samples {
        cx.reply.array(2);
        cx.reply.integer(at as i64);
        cx.reply.integer(millis as i64);
    }
    Ok(())
}

fn latency_reset(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let names: Vec<&[u8]> = args.tail(2).iter().collect();
    let reset = cx.node.latency.reset(&names);
    cx.reply.integer(reset as i64);
    Ok(())
}

fn latency_doctor(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let all = cx.node.latency.all();
    let text = if cx.node.settings.latency_threshold() == 0 {
        "Latency monitoring is off. CONFIG SET latency-monitor-threshold <milliseconds> turns it on.".to_owned()
    } else if all.is_empty() {
        "No delay beyond the threshold was seen.".to_owned()
    } else {
        let line = |(name, series): (&&str, &Series)| {
            format!("{name}: {} delays, the worst {} ms\n", series.samples.len(), series.worst)
        };
        all.iter().map(line).collect()
    };
    cx.reply.verbatim_txt(text.as_bytes());
    Ok(())
}

fn latency_graph(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let all = cx.node.latency.all();
    let Some((name, series)) = all.iter().find(|(name, _)| name.as_bytes() == &args[2]) else {
        return Err(CommandError::NoSamples(args[2].into()));
    };
    let lines: String = series.samples.iter().map(|(at, ms)| format!("{at} {ms} ms\n")).collect();
    cx.reply.verbatim_txt(format!("{name}\n{lines}").as_bytes());
    Ok(())
}

fn latency_histogram(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    // The name of a command with subcommands stands for all of them.
    let wanted = |name: &str| {
        let parent = name.split('|').next().unwrap_or(name);
        let is = |asked: &[u8]| {
            [name, parent].iter().any(|known| known.as_bytes().eq_ignore_ascii_case(asked))
        };
        args.len() == 2 || args.tail(2).iter().any(is)
    };
    let mut shown = cx.node.stats.commands();
    shown.retain(|(name, sums)| wanted(name) && sums.calls > 0);
    cx.reply.map(shown.len());
    for (name, sums) in shown {
        cx.reply.bulk(name.as_bytes());
        cx.reply.map(2);
        cx.reply.bulk(b"calls");
        cx.reply.integer(sums.calls as i64);
        cx.reply.bulk(b"histogram_usec");
        let buckets = sums.cumulative();
        cx.reply.map(buckets.len());
        for (upto, calls) in buckets {
            cx.reply.integer(upto as i64);
            cx.reply.integer(calls as i64);
        }
    }
    Ok(())
}
