//! Functions: which one a connection speaks for, and which run here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use miso_protocol::command::{Arg, Bound, Group, Row};
use miso_protocol::names;
use miso_protocol::reply::Reply;
use miso_protocol::request::Args;
use miso_replication::{Answer, Ask, FunctionView, Liveness, NodeView, Role};

use super::quota;
use crate::commands::args::Words;
use crate::engine::admit;
use crate::engine::command::Command;
use crate::engine::context::{Context, check_name};
use crate::engine::error::CommandError;
use crate::engine::wait::{After, Wait, encoded};
use crate::node::Node;
use crate::node::registry::{Registered, Registration};
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
            .for_bound(Bound::Part("its function, in all databases"))
            .complexity("O(N) with N functions")
            .summary(
                "The functions that this node runs or holds, and of each: its \
                 role here (runs, holds, or leaves: held until others hold it), \
                 the nodes that run it, those that hold it, how many of them \
                 are copies (they have caught up; this node counts), those in \
                 sync with this node, whether this node still awaits what peers \
                 know of it and a command has gone on without, the replicas, its connections and objects here, and its quota as MISO.QUOTA shows it",
            )
            .reply("Array (RESP3: map) of each function and its properties")
            .example(&[
                ("MISO.REGISTER checkout", "OK"),
                (
                    "MISO.FUNCTIONS",
                    "1) \"checkout\"\n\
                     2)  1) \"role\"\n    2) \"runs\"\n    3) \"nodes\"\n    4) 1) \"edge-1\"\n…",
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
        None => Box::from(cx.session.owner()),
    };
    cx.check_function(&function)?;
    let replica = args.get(rest + 1);
    let held = match replica {
        None => cx.session.registrations.take_all(&function),
        Some(id) => cx.session.registrations.take(&function, Some(id)).into_iter().collect(),
    };
    let mut was = !held.is_empty();
    let mut names: BTreeSet<Bytes> = held.iter().map(Registration::function).cloned().collect();
    names.insert(Bytes::copy_from_slice(&function));
    held.into_iter().for_each(Registration::end);
    if let Some(id) = replica {
        // A connection that has ended may have left it a TTL.
        was |= cx.node.registry.end_lapsing(&function, id);
    }
    if replica.is_none() && cx.session.owner() == &*function && cx.held.is_none() {
        // This connection's next touch registers the function again.
        cx.session.function = None;
    }
    names.retain(|name| !cx.node.registry.runs(name));
    if !was || names.is_empty() {
        cx.reply.integer(i64::from(was));
        return Ok(());
    }
    // Replication must know that it has ended, before it is asked to drain it. Registered again
    // meanwhile, there is nothing to wait for.
    cx.node.registry.flush();
    let (node, resp) = (Arc::clone(cx.node), cx.reply.resp);
    let one = move |node: &Node| {
        encoded(node, resp, |reply| {
            reply.integer(1);
            Ok(())
        })
    };
    let at_once = one(&node);
    let drained = async move {
        // Longer than replication takes, unless the disk hangs.
        let drained = async {
            for function in names {
                peers::ask(&node, Ask::Drain { function }).await;
            }
        };
        _ = tokio::time::timeout(DRAIN, drained).await;
        one(&node)
    };
    cx.after = After::Wait(Wait::blocking(drained, std::future::ready(at_once)));
    Ok(())
}

fn function(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.reply.bulk(cx.session.owner());
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

/// A function of this node, as MISO.FUNCTIONS shows it.
struct Shown<'a> {
    name: &'a Bytes,
    role: Role,
    /// What runs here of it.
    running: Option<&'a Registered>,
    /// What replication knows of it.
    view: Option<&'a FunctionView>,
}

/// Shows the functions that this node runs or holds; to a user who is bound to one (`bound`), only that.
fn show(
    node: &Node,
    nodes: &[NodeView],
    views: &[FunctionView],
    bound: Option<&[u8]>,
    reply: &mut Reply<'_>,
) {
    let running = node.registry.running();
    let views: BTreeMap<&Bytes, &FunctionView> =
        views.iter().map(|view| (&view.function, view)).collect();
    let held = views.values().filter_map(|view| {
        let role = view.role.filter(|role| *role != Role::Runs)?;
        Some((
            &view.function,
            Shown { name: &view.function, role, running: None, view: Some(view) },
        ))
    });
    let mut all: BTreeMap<&Bytes, Shown<'_>> = held.collect();
    for running in &running {
        let (name, role) = (&running.function, Role::Runs);
        let view = views.get(name).copied();
        all.insert(name, Shown { name, role, running: Some(running), view });
    }
    all.retain(|name, _| bound.is_none_or(|bound| names::owner(name) == bound));
    reply.map(all.len());
    all.values().for_each(|shown| show_one(node, nodes, shown, reply));
}

fn show_one(node: &Node, nodes: &[NodeView], shown: &Shown<'_>, reply: &mut Reply<'_>) {
    let own = node.node_name();
    let others: Vec<&NodeView> = nodes
        .iter()
        .skip(1)
        .filter(|node| matches!(node.liveness, Liveness::Alive | Liveness::Suspect))
        .collect();
    // The other nodes that run it, and their replicas of it.
    let runs = others.iter().filter_map(|node| {
        let runs = node.functions.iter().find(|(function, _)| function == shown.name)?;
        Some((*node, &*runs.1))
    });
    let runs: Vec<(&NodeView, &[Bytes])> = runs.collect();
    let run_here = Some(own.as_str()).filter(|_| shown.role == Role::Runs);
    let holds_here = Some(own.as_str()).filter(|_| shown.role != Role::Runs);
    let holds = others.iter().filter(|node| node.holds.contains(shown.name));
    let is_synced =
        |node: &NodeView| shown.view.is_some_and(|view| view.peers.contains(&(node.replica, true)));
    let synced = others.iter().filter(|node| is_synced(node)).map(|node| node.name.as_str());
    let (replicas, connections) =
        shown.running.map_or((&[][..], 0), |running| (&running.replicas, running.connections));
    let replicas = replicas.iter().chain(runs.iter().flat_map(|(_, all)| *all));
    reply.bulk(shown.name);
    reply.map(11);
    reply.bulk(b"role");
    reply.bulk(match shown.role {
        Role::Runs => b"runs",
        Role::Holds => b"holds",
        Role::Leaves => b"leaves",
    });
    let nodes_run = runs.iter().map(|(node, _)| node.name.as_str());
    list(reply, "nodes", run_here.into_iter().chain(nodes_run));
    list(reply, "holders", holds_here.into_iter().chain(holds.map(|node| node.name.as_str())));
    reply.bulk(b"copies");
    reply.integer(shown.view.map_or(1, |view| view.copies) as i64);
    list(reply, "in-sync", synced);
    reply.bulk(b"restoring");
    reply.integer(i64::from(shown.view.is_some_and(|view| view.restoring)));
    reply.bulk(b"waited-in-vain");
    reply.integer(i64::from(shown.view.is_some_and(|view| view.in_vain)));
    list(reply, "replicas", replicas);
    reply.bulk(b"connections");
    reply.integer(connections as i64);
    reply.bulk(b"objects");
    let objects = node.store.find(shown.name).map_or(0, |function| function.object_count());
    reply.integer(objects as i64);
    reply.bulk(b"quota");
    let owner = names::owner(shown.name);
    let figures = quota::figures(node, owner);
    let has = node.quotas.of(owner).is_some();
    reply.map(if has { figures.len() } else { 0 });
    for (name, figure) in figures.into_iter().filter(|_| has) {
        reply.bulk(name.as_bytes());
        reply.integer(figure);
    }
}

/// A property whose value is a list.
fn list(reply: &mut Reply<'_>, name: &str, all: impl Iterator<Item = impl AsRef<[u8]>>) {
    let all: Vec<_> = all.collect();
    reply.bulk(name.as_bytes());
    reply.array(all.len());
    all.iter().for_each(|one| reply.bulk(one.as_ref()));
}
