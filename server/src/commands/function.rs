//! Functions: which one a connection speaks for, and which run here.

use std::time::{Duration, Instant};

use miso_protocol::command::{Arg, Flags, Group, Row};
use miso_protocol::integer;
use miso_protocol::request::Args;

use super::access::check_key;
use super::{Command, ROW};
use crate::context::Context;
use crate::error::CommandError;

const FUNCTION: Arg = Arg::string("function");
const REPLICA: Arg = Arg::string("id").with_token("REPLICA").optional();

pub(super) const FUNCTIONS: &[Command] = &[
    Command::new(
        Row {
            name: "MISO.REGISTER",
            args: &[FUNCTION, REPLICA, Arg::integer("seconds").with_token("TTL").optional()],
            group: Group::Miso,
            complexity: "O(1)",
            summary: "Binds this connection to a function and registers a replica of it, held by \
                      the connection or for TTL seconds past its end",
            reply: "OK",
            example: &[("MISO.REGISTER checkout REPLICA pod-1 TTL 30", "OK")],
            ..ROW
        },
        register,
    ),
    Command::new(
        Row {
            name: "MISO.UNREGISTER",
            args: &[FUNCTION.optional(), REPLICA],
            group: Group::Miso,
            complexity: "O(1)",
            summary: "Takes back a registration: of the connection's function unless told",
            reply: "Integer: 1 if it was registered",
            example: &[("MISO.UNREGISTER checkout REPLICA pod-1", "(integer) 1")],
            ..ROW
        },
        unregister,
    ),
    Command::new(
        Row {
            name: "MISO.FUNCTION",
            args: &[],
            group: Group::Miso,
            flags: Flags::FAST,
            complexity: "O(1)",
            summary: "The function that this connection speaks for",
            reply: "Bulk string",
            example: &[("MISO.FUNCTION", "\"checkout\"")],
            ..ROW
        },
        function,
    ),
    Command::new(
        Row {
            name: "MISO.FUNCTIONS",
            args: &[],
            group: Group::Miso,
            complexity: "O(N) with N functions",
            summary: "The functions that run here: nodes, replicas, connections and objects of each",
            reply: "Array (RESP3: map) of each function and its properties",
            example: &[(
                "MISO.FUNCTIONS",
                "1) \"checkout\"\n2) 1) \"nodes\"\n   2) 1) \"edge-1\"\n   3) \"replicas\"\n…",
            )],
            ..ROW
        },
        functions,
    ),
];

/// The id of this connection as a replica unless it gives one: its name, else its address.
fn default_replica(cx: &Context<'_>) -> Box<[u8]> {
    let name = cx.session.name();
    if name.is_empty() { cx.session.address().into_bytes().into() } else { name }
}

fn register(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let function = &args[1];
    let (mut replica, mut ttl) = (None, None);
    for at in (2..args.len()).step_by(2) {
        let value = args.get(at + 1).ok_or(CommandError::Syntax)?;
        if args[at].eq_ignore_ascii_case(b"REPLICA") {
            replica = Some(Box::from(value));
        } else if args[at].eq_ignore_ascii_case(b"TTL") {
            let seconds = integer::parse_i64(value).ok_or(CommandError::NotInteger)?;
            let seconds = u32::try_from(seconds).ok().filter(|seconds| *seconds > 0);
            let seconds = seconds.ok_or(CommandError::Other(
                "ERR invalid expire time in 'miso.register' command".into(),
            ))?;
            ttl = Some(Duration::from_secs(seconds.into()));
        } else {
            return Err(CommandError::Syntax);
        }
    }
    check_key(cx, function)?;
    if function.is_empty() {
        return Err(CommandError::Other("ERR a function's name is not empty".into()));
    }
    cx.bind_function(function)?;
    let replica = replica.unwrap_or_else(|| default_replica(cx));
    let registration = cx.shared.registry.register(function, &replica, ttl);
    // The new hold comes before the old one goes, so that renewing does not flap.
    cx.session.registrations.push(registration);
    let last = cx.session.registrations.len() - 1;
    let mut at = 0;
    cx.session.registrations.retain(|held| {
        at += 1;
        at > last || !held.is_for(function, Some(&replica))
    });
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
    let was = cx.shared.registry.unregister(&function, replica);
    cx.reply.integer(i64::from(was));
    Ok(())
}

fn function(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let name: Box<[u8]> = Box::from(cx.function_name());
    cx.reply.bulk(&name);
    Ok(())
}

fn functions(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let running = cx.shared.registry.running(Instant::now(), cx.shared.settings.function_linger());
    let node = cx.shared.settings.node_name();
    cx.reply.map(running.len());
    for function in running {
        let objects = cx.shared.store.function(&function.function).object_count();
        cx.reply.bulk(&function.function);
        cx.reply.map(4);
        cx.reply.bulk(b"nodes");
        cx.reply.array(1);
        cx.reply.bulk(node.as_bytes());
        cx.reply.bulk(b"replicas");
        cx.reply.array(function.replicas.len());
        function.replicas.iter().for_each(|replica| cx.reply.bulk(replica));
        cx.reply.bulk(b"connections");
        cx.reply.integer(function.connections as i64);
        cx.reply.bulk(b"objects");
        cx.reply.integer(objects as i64);
    }
    Ok(())
}
