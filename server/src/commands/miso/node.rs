//! Nodes: which there are, and waiting for what they know.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use miso_protocol::command::{Arg, Bound, Flags, Group, Row};
use miso_protocol::reply::Reply;
use miso_protocol::request::Args;
use miso_protocol::{integer, names};
use miso_replication::{Answer, Ask, Liveness, NodeView, Time};
use miso_store::journal::Journal;

use super::token;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;
use crate::engine::wait::{After, Wait, encoded};
use crate::node::Node;
use crate::{peers, settings};

/// How long MISO.SYNC waits for its peers.
const SYNC: Duration = Duration::from_secs(30);

const ADMIN: Flags = Flags::ADMIN.with(Flags::NOSCRIPT).with(Flags::STALE);

const TIMEOUT: Arg = Arg::integer("timeout");

pub(crate) const NODES: &[Command] = &[
    Command::new(
        Row::command("MISO.NODE")
            .group(Group::Miso)
            .for_bound(Bound::Part("nodes; of functions its own"))
            .complexity("O(N) with N functions")
            .summary(
                "This node: name, replica id, addresses, the functions that it \
                 runs, those that it holds, and how many nodes it knows",
            )
            .reply("Array of names and values in turn (RESP3: map)")
            .example(&[("MISO.NODE", " 1) \"name\"\n 2) \"edge-1\"\n 3) \"id\"\n 4) \"…")]),
        node,
    ),
    Command::new(
        Row::command("MISO.NODES")
            .group(Group::Miso)
            .for_bound(Bound::Part("nodes; of functions its own"))
            .complexity("O(N) with N nodes")
            .summary(
                "All known nodes, this one first: state, the functions that each \
                 runs, those that it holds, when last heard of, how many of this node's writes each has not \
                 acknowledged, and by function the number up to which it has \
                 acknowledged them, and has them on its disk (durable)",
            )
            .reply(
                "Array with, per node, an array of names and values in turn \
                 (RESP3: map)",
            )
            .example(&[(
                "MISO.NODES",
                "1)  1) \"name\"\n    2) \"edge-1\"\n    3) \"id\"\n    4) \"…",
            )]),
        nodes,
    ),
    Command::new(
        Row::command("MISO.JOIN")
            .args(&[Arg::string("host:peerport")])
            .group(Group::Miso)
            .flags(ADMIN)
            .summary(
                "Looks for a node at this address, and through it for all \
                 others, from now on",
            )
            .reply("OK")
            .example(&[("MISO.JOIN 127.0.0.1:7380", "(error) ERR 127.0.0.1:7380: …")]),
        join,
    ),
    Command::new(
        Row::command("MISO.FORGET")
            .args(&[Arg::string("node")])
            .group(Group::Miso)
            .flags(ADMIN)
            .complexity(
                "O(N) with N functions; one node goes over all objects \
                 afterwards, once",
            )
            .summary(
                "Forgets a node that has left or is dead and will not come back. \
                 What it wrote stays; another node adopts its counts, once all \
                 other nodes are reachable. If it comes back all the same with \
                 updates that no other node has seen, it stays apart. Of a live \
                 node, forgets its incarnations before the last start",
            )
            .reply("OK")
            .example(&[("MISO.FORGET edge-3", "(error) ERR no such node 'edge-3'")]),
        forget,
    ),
    Command::new(
        Row::command("MISO.SYNC")
            .args(&[Arg::string("function").optional()])
            .group(Group::Miso)
            .blocking()
            .flags(Flags::NOSCRIPT)
            .complexity("O(N) with N objects")
            .summary(
                "Compares a function, or all that run here, with every peer now \
                 and merges what differs",
            )
            .reply("Integer: how many CRDTs were repaired here")
            .example(&[("MISO.SYNC checkout", "(integer) 0")]),
        sync,
    ),
    Command::new(
        Row::command("MISO.TOKEN")
            .group(Group::Miso)
            .complexity("O(N) with N nodes that ever wrote")
            .summary("A causal token: everything that this connection may have seen")
            .reply("Bulk string, for MISO.AWAIT on any node")
            .example(&[("MISO.TOKEN", "\"AQ…")]),
        causal_token,
    ),
    Command::new(
        Row::command("MISO.AWAIT")
            .args(&[Arg::string("token"), TIMEOUT])
            .group(Group::Miso)
            .blocking()
            .flags(Flags::NOSCRIPT)
            .complexity("O(N) with N nodes that ever wrote")
            .summary(
                "Waits until this node knows everything that a token covers, at \
                 most timeout milliseconds; 0 is for ever",
            )
            .reply("Integer: 1 once it does, 0 at the timeout")
            .example(&[(
                "MISO.AWAIT not-a-token 1000",
                "(error) ERR invalid token, expected one of MISO.TOKEN",
            )]),
        await_token,
    ),
    Command::new(
        Row::command("WAIT")
            .args(&[Arg::integer("numreplicas"), TIMEOUT])
            .for_bound(Bound::Own)
            .blocking()
            .flags(Flags::NOSCRIPT)
            .summary(
                "Waits until numreplicas peers have acknowledged this \
                 connection's writes, at most timeout milliseconds; 0 is for ever",
            )
            .reply("Integer: how many peers have"),
        wait,
    ),
    Command::new(
        Row::command("WAITAOF")
            .args(&[Arg::integer("numlocal"), Arg::integer("numreplicas"), TIMEOUT])
            .for_bound(Bound::Own)
            .blocking()
            .flags(Flags::NOSCRIPT)
            .summary(
                "Waits until this connection's writes are on the disk here \
                 (numlocal 1) and on the disks of numreplicas peers, at most \
                 timeout milliseconds; 0 is for ever",
            )
            .reply("Array: 1 if they are here, and on how many peers' disks they are"),
        wait_aof,
    ),
];

/// Asks replication a question; the reply waits for the answer.
pub(crate) fn ask(
    cx: &mut Context<'_>,
    ask: Ask,
    write: impl FnOnce(&Node, Answer, &mut Reply<'_>) -> Result<(), CommandError> + Send + 'static,
) {
    let (node, resp) = (Arc::clone(cx.node), cx.reply.resp);
    cx.after = After::Wait(Wait::soon(async move {
        let answer = peers::ask(&node, ask).await;
        encoded(&node, resp, |reply| write(&node, answer, reply))
    }));
}

/// Asks replication a question; the reply waits until the answer is enough, or the time is over.
fn ask_until(
    cx: &mut Context<'_>,
    until: Option<Instant>,
    ask: impl Fn(Time) -> Ask + Clone + Send + 'static,
    enough: impl Fn(&Answer) -> bool + Clone + Send + 'static,
    write: fn(Answer, &mut Reply<'_>) -> Result<(), CommandError>,
) {
    let (node, resp) = (Arc::clone(cx.node), cx.reply.resp);
    let answer = move |until: Option<Instant>| {
        let (node, ask, enough) = (Arc::clone(&node), ask.clone(), enough.clone());
        async move {
            let at_once = Instant::now();
            let answer =
                peers::ask_until(&node, until.map(|at| at.max(at_once)), ask, enough).await;
            encoded(&node, resp, |reply| write(answer, reply))
        }
    };
    // A time that has passed by then, so that the question is asked once.
    let past = Some(Instant::now());
    cx.after = After::Wait(Wait::blocking(answer(until), answer(past)));
}

/// The error for an answer that does not fit the question.
fn unexpected(answer: Answer) -> CommandError {
    match answer {
        Answer::Refused(line) => CommandError::text(line),
        other => CommandError::Replication(format!("{other:?}").into()),
    }
}

fn done(_: &Node, answer: Answer, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    match answer {
        Answer::Done => {
            reply.ok();
            Ok(())
        }
        other => Err(unexpected(other)),
    }
}

fn count(answer: Answer, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    match answer {
        Answer::Count(n) => {
            reply.integer(n as i64);
            Ok(())
        }
        other => Err(unexpected(other)),
    }
}

fn reached(answer: Answer, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    match answer {
        Answer::Reached(yes) => {
            reply.integer(i64::from(yes));
            Ok(())
        }
        other => Err(unexpected(other)),
    }
}

/// A replica's id as it is shown.
pub(crate) fn id(replica: miso_store::crdt::ReplicaId) -> String {
    format!("{:016x}", replica.0)
}

fn node(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let bound = cx.bound_function();
    ask(cx, Ask::Nodes, move |node, answer, reply| {
        let Answer::Nodes(nodes) = answer else { return Err(unexpected(answer)) };
        let own = &keep_own(nodes[0].clone(), bound.as_deref());
        reply.map(9);
        text(reply, "name", &own.name);
        text(reply, "id", &id(own.replica));
        text(reply, "cluster", &node.settings.cluster_name());
        text(reply, "version", env!("CARGO_PKG_VERSION"));
        addresses(reply, own);
        functions(reply, own);
        number(reply, "nodes", nodes.len() as u64);
        let linked = nodes.iter().filter(|node| node.linked).count();
        number(reply, "linked", linked as u64);
        Ok(())
    });
    Ok(())
}

fn nodes(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let bound = cx.bound_function();
    ask(cx, Ask::Nodes, move |_, answer, reply| {
        let Answer::Nodes(nodes) = answer else { return Err(unexpected(answer)) };
        reply.array(nodes.len());
        for node in nodes {
            let node = &keep_own(node, bound.as_deref());
            reply.map(16);
            text(reply, "name", &node.name);
            text(reply, "id", &id(node.replica));
            text(reply, "state", state(node.liveness));
            number(reply, "linked", u64::from(node.linked));
            addresses(reply, node);
            functions(reply, node);
            number(reply, "heard-ms", node.heard_ms);
            number(reply, "lag-events", node.lag_events);
            number(reply, "lag-ms", node.lag_ms);
            number(reply, "lag-bytes", node.lag_bytes);
            numbers(reply, "acknowledged", node, |(_, acknowledged, _)| *acknowledged);
            numbers(reply, "durable", node, |(_, _, durable)| *durable);
            reply.bulk(b"drift-ms");
            reply.integer(node.drift_ms.unwrap_or(0));
            number(reply, "faults", node.faults);
            seeds(reply, node);
        }
        Ok(())
    });
    Ok(())
}

fn state(liveness: Liveness) -> &'static str {
    match liveness {
        Liveness::Alive => "alive",
        Liveness::Suspect => "suspect",
        Liveness::Dead => "dead",
        Liveness::Left => "left",
    }
}

fn text(reply: &mut Reply<'_>, name: &str, value: &str) {
    reply.bulk(name.as_bytes());
    reply.bulk(value.as_bytes());
}

fn number(reply: &mut Reply<'_>, name: &str, value: u64) {
    reply.bulk(name.as_bytes());
    reply.integer(i64::try_from(value).unwrap_or(i64::MAX));
}

/// By function, a number of what a peer has acknowledged.
fn numbers(
    reply: &mut Reply<'_>,
    name: &str,
    node: &NodeView,
    which: fn(&(Bytes, u64, u64)) -> u64,
) {
    reply.bulk(name.as_bytes());
    reply.map(node.acknowledged.len());
    for of_function in &node.acknowledged {
        reply.bulk(&of_function.0);
        reply.integer(i64::try_from(which(of_function)).unwrap_or(i64::MAX));
    }
}

fn addresses(reply: &mut Reply<'_>, node: &NodeView) {
    reply.bulk(b"addresses");
    reply.array(node.addresses.len());
    node.addresses.iter().for_each(|address| reply.bulk(address.as_bytes()));
}

/// Of this node: the addresses where it looks for others, and why none was reached there last.
fn seeds(reply: &mut Reply<'_>, node: &NodeView) {
    reply.bulk(b"seeds");
    reply.map(node.seeds.len());
    for (address, error) in &node.seeds {
        reply.bulk(address.as_bytes());
        reply.bulk(error.as_deref().unwrap_or_default().as_bytes());
    }
}

fn functions(reply: &mut Reply<'_>, node: &NodeView) {
    reply.bulk(b"functions");
    reply.array(node.functions.len());
    node.functions.iter().for_each(|(function, _)| reply.bulk(function));
    reply.bulk(b"holds");
    reply.array(node.holds.len());
    node.holds.iter().for_each(|function| reply.bulk(function));
}

/// Leaves of a node what a user may know: of other functions than its own, nothing.
fn keep_own(mut node: NodeView, bound: Option<&[u8]>) -> NodeView {
    if let Some(bound) = bound {
        let is_its = |function: &[u8]| names::owner(function) == bound;
        node.functions.retain(|(function, _)| is_its(function));
        node.holds.retain(|function| is_its(function));
        node.acknowledged.retain(|(function, _, _)| is_its(function));
    }
    node
}

fn utf8(bytes: &[u8], what: &str) -> Result<String, CommandError> {
    let text = String::from_utf8(bytes.to_vec());
    text.map_err(|_| CommandError::NotUtf8(what.into()))
}

fn join(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let address = utf8(&args[1], "the address")?;
    if !settings::kind::is_peer(&address) {
        return Err(CommandError::InvalidAddress);
    }
    ask(cx, Ask::Join { address }, done);
    Ok(())
}

fn forget(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let node = utf8(&args[1], "the name")?;
    ask(cx, Ask::Forget { node }, done);
    Ok(())
}

fn sync(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let function = match args.get(1) {
        // A bound user syncs its own.
        None => cx.bound_function().map(Bytes::from),
        Some(function) => {
            cx.check_function(function)?;
            Some(Bytes::copy_from_slice(function))
        }
    };
    let ask = move |until| Ask::Sync { function: function.clone(), until };
    // One round only; it is not asked again while it lasts.
    let (node, resp) = (Arc::clone(cx.node), cx.reply.resp);
    let round = move |time: Duration| {
        let (node, ask) = (Arc::clone(&node), ask.clone());
        async move {
            let until = node.peers.get().map_or(Time::default(), |peers| peers.now() + time);
            let answer = peers::ask(&node, ask(until)).await;
            encoded(&node, resp, |reply| count(answer, reply))
        }
    };
    cx.after = After::Wait(Wait::blocking(round(SYNC), round(Duration::ZERO)));
    Ok(())
}

fn causal_token(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    // A function that is not here has shown nothing.
    let function = cx.node.store.find(cx.function_name());
    let vector = function.map(|function| function.token()).unwrap_or_default();
    cx.reply.bulk(token::encode(cx.function_name(), &vector).as_bytes());
    Ok(())
}

/// Until when a timeout in milliseconds lasts, as Redis reads it; none for 0, which is for ever.
fn deadline(arg: &[u8]) -> Result<Option<Instant>, CommandError> {
    let timeout = integer::parse_i64(arg).ok_or(CommandError::TimeoutNotInteger)?;
    let timeout = u64::try_from(timeout).map_err(|_| CommandError::NegativeTimeout)?;
    let until = Instant::now().checked_add(Duration::from_millis(timeout));
    Ok(until.filter(|_| timeout > 0))
}

fn await_token(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let until = deadline(&args[2])?;
    let (name, vector) = token::decode(&args[1]).ok_or(CommandError::InvalidToken)?;
    cx.check_function(&name)?;
    names::check_stored(&name).map_err(|_| CommandError::InvalidToken)?;
    let function = cx.run_function(&name)?;
    if function.covers(&vector) {
        cx.reply.integer(1);
        return Ok(());
    }
    let function = Bytes::from(name);
    let ask = move |until| Ask::Await {
        function: function.clone(),
        vector: vector.clone(),
        until: Some(until),
    };
    ask_until(cx, until, ask, |answer| *answer == Answer::Reached(true), reached);
    Ok(())
}

/// The number of the newest event that this connection wrote.
fn written(cx: &mut Context<'_>) -> u64 {
    // What EXEC wrote is noted only after it.
    if cx.held.is_some() { cx.function().seq() } else { cx.session.wrote }
}

fn wait(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let peers = integer::parse_i64(&args[1]).ok_or(CommandError::NotInteger)?;
    let until = deadline(&args[2])?;
    let seq = written(cx);
    let peers = usize::try_from(peers).unwrap_or(0);
    let function = Bytes::copy_from_slice(cx.function_name());
    let ask = move |until| {
        let (function, until) = (function.clone(), Some(until));
        Ask::Wait { function, seq, peers, durable: false, until }
    };
    let enough = move |answer: &Answer| matches!(answer, Answer::Count(n) if *n >= peers);
    ask_until(cx, until, ask, enough, count);
    Ok(())
}

fn wait_aof(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let local = match integer::parse_i64(&args[1]).ok_or(CommandError::NotInteger)? {
        0 => false,
        1 => true,
        _ => {
            return Err(CommandError::NotZeroOrOne);
        }
    };
    let peers = integer::parse_i64(&args[2]).ok_or(CommandError::NotInteger)?;
    let peers = usize::try_from(peers).map_err(|_| CommandError::NotPositive)?;
    let until = deadline(&args[3])?;
    if local && cx.node.store.journal().is_none() {
        return Err(CommandError::NoAppendOnly);
    }
    let seq = written(cx);
    let function = Bytes::copy_from_slice(cx.function_name());
    let position = cx.node.store.journal().map(Journal::appended).unwrap_or_default();
    let (node, resp) = (Arc::clone(cx.node), cx.reply.resp);
    let answer = move |until: Option<Instant>| {
        let (node, function) = (Arc::clone(&node), function.clone());
        async move {
            let ask = |until| {
                let (function, until) = (function.clone(), Some(until));
                Ask::Wait { function, seq, peers, durable: true, until }
            };
            let enough = |answer: &Answer| matches!(answer, Answer::Count(n) if *n >= peers);
            let remote = peers::ask_until(&node, until, ask, enough);
            let on_disk = async {
                let Some(journal) = node.store.journal().filter(|_| local) else { return };
                let synced = journal.on_synced(position);
                // Whether the writes are on the disk in time is seen below.
                match until {
                    None => drop(synced.await),
                    Some(until) => drop(tokio::time::timeout_at(until.into(), synced).await),
                }
            };
            let (remote, ()) = tokio::join!(remote, on_disk);
            let here = node.store.journal().is_some_and(|journal| journal.synced() >= position);
            encoded(&node, resp, |reply| match remote {
                Answer::Count(count) => {
                    reply.array(2);
                    reply.integer(i64::from(here));
                    reply.integer(count as i64);
                    Ok(())
                }
                other => Err(unexpected(other)),
            })
        }
    };
    let past = Some(Instant::now());
    cx.after = After::Wait(Wait::blocking(answer(until), answer(past)));
    Ok(())
}
