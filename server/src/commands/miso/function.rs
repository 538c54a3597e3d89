//! Functions: which one a connection speaks for, and which run here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use miso_protocol::command::{Arg, Group, Row};
use miso_protocol::names;
use miso_protocol::reply::Reply;
use miso_protocol::request::Args;
use miso_replication::{Answer, Ask, FunctionView, Liveness, NodeView};

use crate::commands::args::Words;
use crate::engine::admit;
use crate::engine::command::Command;
use crate::engine::context::{Context, check_name};
use crate::engine::error::CommandError;
use crate::engine::wait::{After, Wait, encoded};
use crate::node::Node;
use crate::node::registry::Registration;
use crate::peers;

/// How long MISO.UNREGISTER waits for replication to drain the function.
const DRAIN: Duration = Duration::from_secs(6);

/// The longest TTL of a replica, in seconds: a week.
const TTL_MAX: u32 = 7 * 24 * 3600;

const FUNCTION: Arg = Arg::string("function");
const REPLICA: Arg = Arg::string("id").with_token("REPLICA").optional();

pub(crate) const FUNCTIONS: &[Command] = &[
    Command::new(
        Row::command("MISO.REGISTER")
            .args(&[FUNCTION, REPLICA, Arg::integer("seconds").with_token("TTL").optional()])
            .group(Group::Miso)
            .summary(
                "Binds this connection to a function and registers a replica of \
                 it, held by the connection or for TTL seconds past its end",
            )
            .reply("OK")
            .example(&[("MISO.REGISTER checkout REPLICA pod-1 TTL 30", "OK")]),
        register,
    ),
    Command::new(
        Row::command("MISO.UNREGISTER")
            .args(&[FUNCTION.optional(), REPLICA])
            .group(Group::Miso)
            .blocking()
            .summary(
                "Takes back what this connection has registered of a function, \
                 by default its own; other connections keep theirs. REPLICA \
                 takes back one replica, also one that only a TTL keeps. If the \
                 function stops running here, waits some seconds until another \
                 node or the disk has everything of it",
            )
            .reply("Integer: 1 if something was registered")
            .example(&[("MISO.UNREGISTER checkout REPLICA pod-1", "(integer) 1")]),
        unregister,
    ),
    Command::new(
        Row::command("MISO.FUNCTION")
            .group(Group::Miso)
            .fast()
            .summary("The function that this connection speaks for")
            .reply("Bulk string")
            .example(&[("MISO.FUNCTION", "\"checkout\"")]),
        function,
    ),
    Command::new(
        Row::command("MISO.FUNCTIONS")
            .group(Group::Miso)
            .complexity("O(N) with N functions")
            .summary(
                "The functions that run here, and of each: the nodes and \
                 replicas that run it, those in sync with this node, its \
                 connections and objects here",
            )
            .reply("Array (RESP3: map) of each function and its properties")
            .example(&[
                ("MISO.REGISTER checkout", "OK"),
                (
                    "MISO.FUNCTIONS",
                    "1) \"checkout\"\n\
                     2)  1) \"nodes\"\n    2) 1) \"edge-1\"\n    3) \"in-sync\"\n…",
                ),
            ]),
        functions,
    ),
];

/// The id of this connection as a replica unless it gives one: its name if that can be an id, else its
/// address.
fn default_replica(cx: &Context<'_>) -> Box<[u8]> {
    let name = cx.session.name();
    if names::is_name(&name) { name } else { cx.session.address().into_bytes().into() }
}

fn register(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let function = &args[1];
    let (mut replica, mut ttl) = (None, None);
    let mut words = Words::from(args, 2);
    while !words.is_empty() {
        if let Some(id) = words.option("REPLICA")? {
            check_name("replica", id)?;
            replica = Some(Box::from(id));
        } else if words.token("TTL") {
            let seconds = u32::try_from(words.integer()?).ok();
            let seconds = seconds.filter(|seconds| (1..=TTL_MAX).contains(seconds));
            let seconds =
                seconds.ok_or_else(|| CommandError::InvalidExpire("miso.register".into()))?;
            ttl = Some(Duration::from_secs(seconds.into()));
        } else {
            return Err(CommandError::Syntax);
        }
    }
    cx.bind_function(function)?;
    let replica = replica.unwrap_or_else(|| default_replica(cx));
    admit::check_room(cx.node, function)?;
    let function = cx.node.store.function(function);
    let registration = cx.node.registry.register(&function, &replica, ttl);
    // The new registration is made before the old one ends, so that renewing it changes nothing for
    // others.
    cx.session.registrations.keep(registration.ok_or(CommandError::TooManyReplicas)?);
    cx.reply.ok();
    Ok(())
}

fn unregister(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let token = |at: usize| args.get(at).is_some_and(|arg| arg.eq_ignore_ascii_case(b"REPLICA"));
    let (function, rest) = match args.len() {
        1 => (None, 1),
        2 => (Some(&args[1]), 2),
        3 if token(1) => (None, 1),
        4 if token(2) => (Some(&args[1]), 2),
        _ => return Err(CommandError::Syntax),
    };
    let function: Box<[u8]> = match function {
        Some(function) => Box::from(function),
        None => Box::from(cx.function_name()),
    };
    cx.check_function(&function)?;
    let replica = args.get(rest + 1);
    let held = match replica {
        None => cx.session.registrations.take_all(&function),
        Some(id) => cx.session.registrations.take(&function, Some(id)).into_iter().collect(),
    };
    let mut was = !held.is_empty();
    held.into_iter().for_each(Registration::end);
    if let Some(id) = replica {
        // A connection that has ended may have left it a TTL.
        was |= cx.node.registry.end_lapsing(&function, id);
    }
    if replica.is_none() && cx.function_name() == &*function && cx.held.is_none() {
        // This connection's next touch registers the function again.
        cx.session.function = None;
    }
    if !was || cx.node.registry.runs(&function) {
        cx.reply.integer(i64::from(was));
        return Ok(());
    }
    // Replication must know that it has ended, before it is asked to drain it. Registered again
    // meanwhile, there is nothing to wait for.
    cx.node.registry.flush();
    let (node, resp) = (Arc::clone(cx.node), cx.reply.resp);
    let function = Bytes::from(function);
    let one = move |node: &Node| {
        encoded(node, resp, |reply| {
            reply.integer(1);
            Ok(())
        })
    };
    let at_once = one(&node);
    let drained = async move {
        // Longer than replication takes, unless the disk hangs.
        let drained = peers::ask(&node, Ask::Drain { function });
        _ = tokio::time::timeout(DRAIN, drained).await;
        one(&node)
    };
    cx.after = After::Wait(Wait::blocking(drained, std::future::ready(at_once)));
    Ok(())
}

fn function(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let name: Box<[u8]> = Box::from(cx.function_name());
    cx.reply.bulk(&name);
    Ok(())
}

fn functions(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let (node, resp, bound) = (Arc::clone(cx.node), cx.reply.resp, cx.bound_function());
    cx.after = After::Wait(Wait::soon(async move {
        let nodes = match peers::ask(&node, Ask::Nodes).await {
            Answer::Nodes(nodes) => nodes,
            _ => Vec::new(),
        };
        let views = match peers::ask(&node, Ask::Functions).await {
            Answer::Functions(views) => views,
            _ => Vec::new(),
        };
        encoded(&node, resp, |reply| {
            show(&node, &nodes, &views, bound.as_deref(), reply);
            Ok(())
        })
    }));
    Ok(())
}

/// Shows the functions that run here; to a user who is bound to one (`bound`), only that.
fn show(
    node: &Node,
    nodes: &[NodeView],
    views: &[FunctionView],
    bound: Option<&[u8]>,
    reply: &mut Reply<'_>,
) {
    let mut running = node.registry.running();
    running.retain(|running| bound.is_none_or(|bound| running.function == bound));
    let own = node.node_name();
    reply.map(running.len());
    for function in running {
        let name = &*function.function;
        let view = views.iter().find(|view| view.function == name);
        // The other nodes that run it, and their replicas of it.
        let others: Vec<(&NodeView, &[Bytes])> = nodes
            .iter()
            .skip(1)
            .filter(|node| matches!(node.liveness, Liveness::Alive | Liveness::Suspect))
            .filter_map(|node| {
                let runs = node.functions.iter().find(|(function, _)| function == name)?;
                Some((node, &*runs.1))
            })
            .collect();
        let in_sync =
            |node: &NodeView| view.is_some_and(|view| view.peers.contains(&(node.replica, true)));
        let synced: Vec<&str> = others
            .iter()
            .filter(|(node, _)| in_sync(node))
            .map(|(node, _)| node.name.as_str())
            .collect();
        reply.bulk(name);
        reply.map(6);
        reply.bulk(b"nodes");
        reply.array(others.len() + 1);
        reply.bulk(own.as_bytes());
        others.iter().for_each(|(node, _)| reply.bulk(node.name.as_bytes()));
        reply.bulk(b"in-sync");
        reply.array(synced.len());
        synced.iter().for_each(|name| reply.bulk(name.as_bytes()));
        reply.bulk(b"restoring");
        reply.integer(i64::from(view.is_some_and(|view| view.restoring)));
        reply.bulk(b"replicas");
        let remote = others.iter().map(|(_, replicas)| replicas.len()).sum::<usize>();
        reply.array(function.replicas.len() + remote);
        function.replicas.iter().for_each(|replica| reply.bulk(replica));
        others.iter().flat_map(|(_, all)| *all).for_each(|replica| reply.bulk(replica));
        reply.bulk(b"connections");
        reply.integer(function.connections as i64);
        reply.bulk(b"objects");
        let objects = node.store.find(name).map_or(0, |function| function.object_count());
        reply.integer(objects as i64);
    }
}
