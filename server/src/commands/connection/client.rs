//! CLIENT: what a connection is called, and what one connection does to others.

use std::sync::Arc;
use std::time::Duration;

use miso_protocol::command::{Arg, Flags, Row};
use miso_protocol::integer;
use miso_protocol::request::Args;

use super::rows::{ALWAYS, HELP, row, sub};
use crate::commands::subcommands::help;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;
use crate::engine::session::ReplyMode;
use crate::engine::wait::After;
use crate::node::clients::{Client, Unblocked};

/// Milliseconds that CLIENT PAUSE may ask for: a hundred years.
const LONGEST_PAUSE: i64 = 100 * 365 * 24 * 3600 * 1000;

pub(super) const CLIENT: Command = Command::parent(
    Row {
        flags: Flags::NONE,
        subcommands: &[
            sub("ID", &[], "This connection's id", "Integer"),
            sub("SETNAME", &[Arg::string("connection-name")], "Names this connection", "OK"),
            sub("GETNAME", &[], "This connection's name", "Bulk string or nil"),
            sub(
                "SETINFO",
                &[Arg::string("attribute"), Arg::string("value")],
                "Says which library the client uses",
                "OK",
            ),
            sub("INFO", &[], "What is known of this connection", "Bulk string"),
            Row {
                flags: ALWAYS.without(Flags::FAST).with(Flags::ADMIN),
                ..sub(
                    "LIST",
                    &[Arg::string("filter").optional().multiple()],
                    "All connections, by TYPE or ID if told",
                    "Bulk string",
                )
            },
            Row {
                flags: ALWAYS.without(Flags::FAST).with(Flags::ADMIN),
                ..sub(
                    "KILL",
                    &[Arg::string("filter").multiple()],
                    "Closes connections",
                    "OK, or how many",
                )
            },
            Row {
                flags: ALWAYS.with(Flags::ADMIN),
                ..sub(
                    "NO-EVICT",
                    &[Arg::string("on-off")],
                    "Accepted; no client is ever evicted",
                    "OK",
                )
            },
            sub("NO-TOUCH", &[Arg::string("on-off")], "Accepted; there is no access time", "OK"),
            sub(
                "REPLY",
                &[Arg::string("mode")],
                "Which replies this client wants: ON, OFF, SKIP",
                "OK, or nothing",
            ),
            Row {
                flags: ALWAYS.without(Flags::FAST).with(Flags::ADMIN),
                ..sub(
                    "PAUSE",
                    &[Arg::integer("timeout"), Arg::string("mode").optional()],
                    "Makes all clients' commands wait: ALL, or WRITE alone",
                    "OK",
                )
            },
            Row {
                flags: ALWAYS.without(Flags::FAST).with(Flags::ADMIN),
                ..sub("UNPAUSE", &[], "Ends CLIENT PAUSE", "OK")
            },
            Row {
                flags: ALWAYS.without(Flags::FAST).with(Flags::ADMIN),
                ..sub(
                    "UNBLOCK",
                    &[Arg::integer("client-id"), Arg::string("mode").optional()],
                    "Ends what a connection waits for, as if its TIMEOUT were over or with an ERROR",
                    "Integer: 1 if it waited, else 0",
                )
            },
            sub(
                "TRACKING",
                &[Arg::string("status"), Arg::string("option").optional().multiple()],
                "Refused: there is no invalidation",
                "OK for OFF, else an error",
            ),
            sub("TRACKINGINFO", &[], "That nothing is tracked", "Map"),
            sub("CACHING", &[Arg::string("mode")], "Refused: nothing is tracked", "Error"),
            sub("GETREDIR", &[], "That nothing is redirected", "Integer: -1"),
            HELP,
        ],
        ..row("CLIENT", &[], "About connections", "")
    },
    &[
        client_id,
        client_setname,
        client_getname,
        client_setinfo,
        client_info,
        client_list,
        client_kill,
        client_flag,
        client_flag,
        client_reply,
        client_pause,
        client_unpause,
        client_unblock,
        client_tracking,
        client_trackinginfo,
        client_caching,
        client_getredir,
        help,
    ],
);

fn client_id(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.reply.integer(cx.session.client.id as i64);
    Ok(())
}

pub(super) fn check_name(name: &[u8]) -> Result<(), CommandError> {
    if name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        Ok(())
    } else {
        Err(CommandError::ClientName)
    }
}

fn client_setname(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    check_name(&args[2])?;
    cx.session.client.about.lock().name = Box::from(&args[2]);
    cx.reply.ok();
    Ok(())
}

fn client_getname(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    match &*cx.session.name() {
        b"" => cx.reply.null(),
        name => cx.reply.bulk(name),
    }
    Ok(())
}

fn client_setinfo(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let value = &args[3];
    if !value.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        return Err(CommandError::ClientInfo(args[2].to_ascii_lowercase().into()));
    }
    let mut about = cx.session.client.about.lock();
    if args[2].eq_ignore_ascii_case(b"LIB-NAME") {
        about.lib_name = Box::from(value);
    } else if args[2].eq_ignore_ascii_case(b"LIB-VER") {
        about.lib_ver = Box::from(value);
    } else {
        return Err(CommandError::ClientOption(args[2].into()));
    }
    drop(about);
    cx.reply.ok();
    Ok(())
}

fn client_info(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let line = cx.node.client_line(&cx.session.client) + "\n";
    cx.reply.verbatim_txt(line.as_bytes());
    Ok(())
}

/// Whether a client is of a type that CLIENT LIST and KILL name.
fn is_type(client: &Client, kind: &[u8]) -> Result<bool, CommandError> {
    match kind.to_ascii_lowercase().as_slice() {
        b"normal" => Ok(!client.subscribed()),
        b"pubsub" => Ok(client.subscribed()),
        b"master" | b"replica" | b"slave" => Ok(false),
        _ => Err(CommandError::ClientType(kind.into())),
    }
}

fn client_list(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let mut clients = cx.node.clients.list();
    match args.get(2) {
        None => {}
        Some(word) if word.eq_ignore_ascii_case(b"TYPE") && args.len() == 4 => {
            is_type(&cx.session.client, &args[3])?;
            clients.retain(|client| is_type(client, &args[3]).unwrap_or(false));
        }
        Some(word) if word.eq_ignore_ascii_case(b"ID") && args.len() > 3 => {
            let ids: Option<Vec<i64>> = args.tail(3).iter().map(integer::parse_i64).collect();
            let ids = ids.ok_or(CommandError::ClientIds)?;
            clients.retain(|client| ids.contains(&(client.id as i64)));
        }
        Some(_) => return Err(CommandError::Syntax),
    }
    let lines: String = clients.iter().map(|client| cx.node.client_line(client) + "\n").collect();
    cx.reply.verbatim_txt(lines.as_bytes());
    Ok(())
}

fn client_kill(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let clients = cx.node.clients.list();
    if args.len() == 3 {
        let address = String::from_utf8_lossy(&args[2]).into_owned();
        let found = clients.iter().find(|client| client.address.to_string() == address);
        let client = found.ok_or(CommandError::NoClient)?;
        kill(cx, client);
        cx.reply.ok();
        return Ok(());
    }
    let mut wanted: Vec<Arc<Client>> = clients;
    let mut skip_me = true;
    if !args.len().is_multiple_of(2) {
        return Err(CommandError::Syntax);
    }
    for at in (2..args.len()).step_by(2) {
        let value = &args[at + 1];
        let text = String::from_utf8_lossy(value).into_owned();
        match args[at].to_ascii_uppercase().as_slice() {
            b"ID" => {
                let id =
                    integer::parse_u64(value).filter(|id| *id > 0).ok_or(CommandError::ClientId)?;
                wanted.retain(|client| client.id == id);
            }
            b"ADDR" => wanted.retain(|client| client.address.to_string() == text),
            b"LADDR" => wanted.retain(|client| client.local.to_string() == text),
            b"TYPE" => {
                is_type(&cx.session.client, value)?;
                wanted.retain(|client| is_type(client, value).unwrap_or(false));
            }
            b"USER" => {
                if cx.node.acl.get(value).is_none() {
                    return Err(CommandError::NoUser(value.into()));
                }
                wanted.retain(|client| &*client.about.lock().user == value);
            }
            b"MAXAGE" => {
                let age = integer::parse_u64(value).ok_or(CommandError::NotInteger)?;
                wanted.retain(|client| client.created.elapsed() >= Duration::from_secs(age));
            }
            b"SKIPME" if value.eq_ignore_ascii_case(b"yes") => skip_me = true,
            b"SKIPME" if value.eq_ignore_ascii_case(b"no") => skip_me = false,
            _ => return Err(CommandError::Syntax),
        }
    }
    let me = cx.session.client.id;
    wanted.retain(|client| !(skip_me && client.id == me));
    for client in &wanted {
        kill(cx, client);
    }
    cx.reply.integer(wanted.len() as i64);
    Ok(())
}

/// Closes a client; the one that asks gets its reply first.
fn kill(cx: &mut Context<'_>, client: &Client) {
    if client.id == cx.session.client.id {
        cx.after = After::Close;
    } else {
        client.kill();
    }
}

fn client_flag(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let on = match args[2].to_ascii_lowercase().as_slice() {
        b"on" => true,
        b"off" => false,
        _ => return Err(CommandError::Syntax),
    };
    let mut about = cx.session.client.about.lock();
    if args[1].eq_ignore_ascii_case(b"NO-EVICT") {
        about.no_evict = on
    } else {
        about.no_touch = on
    }
    drop(about);
    cx.reply.ok();
    Ok(())
}

fn client_reply(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    match args[2].to_ascii_lowercase().as_slice() {
        b"on" => {
            cx.session.replies = ReplyMode::On;
            cx.reply.ok();
        }
        b"off" => cx.session.replies = ReplyMode::Off,
        b"skip" if cx.session.replies == ReplyMode::On => {
            cx.session.replies = ReplyMode::SkipNext;
        }
        b"skip" => {}
        _ => return Err(CommandError::Syntax),
    }
    Ok(())
}

fn client_pause(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let millis = integer::parse_i64(&args[2])
        .filter(|millis| *millis <= LONGEST_PAUSE)
        .ok_or(CommandError::TimeoutNotInteger)?;
    let millis = u64::try_from(millis).map_err(|_| CommandError::NegativeTimeout)?;
    let writes_only = match args.get(3).map(<[u8]>::to_ascii_lowercase).as_deref() {
        None | Some(b"all") => false,
        Some(b"write") => true,
        Some(_) => {
            return Err(CommandError::PauseMode);
        }
    };
    cx.node.clients.pause(Duration::from_millis(millis), writes_only);
    cx.reply.ok();
    Ok(())
}

fn client_unpause(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.node.clients.unpause();
    cx.reply.ok();
    Ok(())
}

fn client_unblock(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let id = integer::parse_i64(&args[2]).ok_or(CommandError::NotInteger)?;
    let how = match args.get(3).map(<[u8]>::to_ascii_lowercase).as_deref() {
        None | Some(b"timeout") => Unblocked::Timeout,
        Some(b"error") => Unblocked::Error,
        Some(_) => {
            return Err(CommandError::UnblockReason);
        }
    };
    let client = u64::try_from(id).ok().and_then(|id| cx.node.clients.get(id));
    let unblocked = client.is_some_and(|client| client.unblock(how));
    cx.reply.integer(i64::from(unblocked));
    Ok(())
}

fn client_tracking(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    match args[2].to_ascii_lowercase().as_slice() {
        b"off" => cx.reply.ok(),
        b"on" => {
            return Err(CommandError::NoTracking);
        }
        _ => return Err(CommandError::Syntax),
    }
    Ok(())
}

fn client_trackinginfo(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.reply.map(3);
    cx.reply.bulk(b"flags");
    cx.reply.set(1);
    cx.reply.bulk(b"off");
    cx.reply.bulk(b"redirect");
    cx.reply.integer(-1);
    cx.reply.bulk(b"prefixes");
    cx.reply.array(0);
    Ok(())
}

fn client_caching(_: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    Err(CommandError::CachingOff)
}

fn client_getredir(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.reply.integer(-1);
    Ok(())
}
