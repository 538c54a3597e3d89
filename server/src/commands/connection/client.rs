//! CLIENT: what a connection is called, and what one connection does to others.

use std::sync::Arc;
use std::time::Duration;

use miso_protocol::command::{Arg, Bound, Flags, Group, Row};
use miso_protocol::integer;
use miso_protocol::request::Args;

use super::rows::{ALWAYS, ANY_TIME};
use super::tracking;
use crate::commands::subcommands::helps;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;
use crate::engine::session::ReplyMode;
use crate::engine::wait::After;
use crate::node::acl::user::User;
use crate::node::clients::{Client, Unblocked};

/// What is left of a command about connections for a user that is bound to a function.
const OWN: Bound = Bound::Part("connections of users bound to its function");

/// Milliseconds that CLIENT PAUSE may ask for: a hundred years.
const LONGEST_PAUSE: i64 = 100 * 365 * 24 * 3600 * 1000;

pub(super) const CLIENT: Command = Command::parent(
    Row::command("CLIENT")
        .group(Group::Connection)
        .flags(Flags::NEVER_PAUSED)
        .summary("About connections"),
    &[
        Command::new(
            Row::subcommand("ID")
                .group(Group::Connection)
                .flags(ANY_TIME)
                .summary("This connection's id")
                .reply("Integer"),
            client_id,
        ),
        Command::new(
            Row::subcommand("SETNAME")
                .args(&[Arg::string("connection-name")])
                .group(Group::Connection)
                .flags(ANY_TIME)
                .summary("Names this connection")
                .reply("OK"),
            client_setname,
        ),
        Command::new(
            Row::subcommand("GETNAME")
                .group(Group::Connection)
                .flags(ANY_TIME)
                .summary("This connection's name")
                .reply("Bulk string or nil"),
            client_getname,
        ),
        Command::new(
            Row::subcommand("SETINFO")
                .args(&[Arg::string("attribute"), Arg::string("value")])
                .group(Group::Connection)
                .flags(ANY_TIME)
                .summary("Says which library the client uses")
                .reply("OK"),
            client_setinfo,
        ),
        Command::new(
            Row::subcommand("INFO")
                .group(Group::Connection)
                .flags(ANY_TIME)
                .summary("What is known of this connection")
                .reply("Bulk string"),
            client_info,
        ),
        Command::new(
            Row::subcommand("LIST")
                .args(&[Arg::string("filter").optional().multiple()])
                .group(Group::Connection)
                .flags(ANY_TIME)
                .admin()
                .for_bound(OWN)
                .summary("All connections, by TYPE or ID if told")
                .reply("Bulk string"),
            client_list,
        ),
        Command::new(
            Row::subcommand("KILL")
                .args(&[Arg::string("filter").multiple()])
                .group(Group::Connection)
                .flags(ANY_TIME)
                .admin()
                .for_bound(OWN)
                .summary("Closes connections")
                .reply("OK, or how many"),
            client_kill,
        ),
        Command::new(
            Row::subcommand("NO-EVICT")
                .args(&[Arg::string("on-off")])
                .group(Group::Connection)
                .flags(ALWAYS)
                .admin()
                .summary("Accepted; no client is ever evicted")
                .reply("OK"),
            client_flag,
        ),
        Command::new(
            Row::subcommand("NO-TOUCH")
                .args(&[Arg::string("on-off")])
                .group(Group::Connection)
                .flags(ANY_TIME)
                .summary("Accepted; there is no access time")
                .reply("OK"),
            client_flag,
        ),
        Command::new(
            Row::subcommand("REPLY")
                .args(&[Arg::string("mode")])
                .group(Group::Connection)
                .flags(ANY_TIME)
                .summary("Which replies this client wants: ON, OFF, SKIP")
                .reply("OK, or nothing"),
            client_reply,
        ),
        Command::new(
            Row::subcommand("PAUSE")
                .args(&[Arg::integer("timeout"), Arg::string("mode").optional()])
                .group(Group::Connection)
                .flags(ANY_TIME)
                .admin()
                .summary("Makes all clients' commands wait: ALL, or WRITE alone")
                .reply("OK"),
            client_pause,
        ),
        Command::new(
            Row::subcommand("UNPAUSE")
                .group(Group::Connection)
                .flags(ANY_TIME)
                .admin()
                .summary("Ends CLIENT PAUSE")
                .reply("OK"),
            client_unpause,
        ),
        Command::new(
            Row::subcommand("UNBLOCK")
                .args(&[Arg::integer("client-id"), Arg::string("mode").optional()])
                .group(Group::Connection)
                .flags(ANY_TIME)
                .admin()
                .for_bound(OWN)
                .summary(
                    "Ends what a connection waits for, as if its TIMEOUT were over \
                     or with an ERROR",
                )
                .reply("Integer: 1 if it waited, else 0"),
            client_unblock,
        ),
        Command::new(
            Row::subcommand("TRACKING")
                .args(&[Arg::string("status"), Arg::string("option").optional().multiple()])
                .group(Group::Connection)
                .flags(ANY_TIME)
                .for_bound(Bound::Own)
                .summary(
                    "Tells the connection, or another one, when a key changes that it has read, here or on \
                     another node: for caches in clients. status is ON or OFF; options are REDIRECT id, \
                     BCAST, PREFIX prefix, OPTIN, OPTOUT, NOLOOP",
                )
                .reply("OK"),
            tracking::client_tracking,
        ),
        Command::new(
            Row::subcommand("TRACKINGINFO")
                .group(Group::Connection)
                .flags(ANY_TIME)
                .summary("What the connection has asked for by CLIENT TRACKING")
                .reply("Map: flags, redirect, prefixes"),
            tracking::client_trackinginfo,
        ),
        Command::new(
            Row::subcommand("CACHING")
                .args(&[Arg::string("mode")])
                .group(Group::Connection)
                .flags(ANY_TIME)
                .summary("Whether what the next command reads is tracked, under OPTIN or OPTOUT: YES or NO")
                .reply("OK"),
            tracking::client_caching,
        ),
        Command::new(
            Row::subcommand("GETREDIR")
                .group(Group::Connection)
                .flags(ANY_TIME)
                .summary("The client that is told of changes in place of this one")
                .reply("Integer: its id; 0 without one; -1 without CLIENT TRACKING"),
            tracking::client_getredir,
        ),
        helps(Group::Connection),
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

/// The clients that this one may know of.
fn known(cx: &Context<'_>) -> Vec<Arc<Client>> {
    let bound = cx.bound_function();
    let mut clients = cx.node.clients.list();
    clients.retain(|client| client.is_known_to(bound.as_deref()));
    clients
}

fn client_list(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let mut clients = known(cx);
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

/// Whether there is a user of this name that this one may know of, or a client that speaks as one: the user of a
/// token is in no list.
fn is_user(cx: &Context<'_>, name: &[u8]) -> bool {
    let bound = cx.bound_function();
    let is_known = |user: &User| bound.is_none() || user.function() == bound.as_deref();
    let speaks = |client: &Arc<Client>| *client.about.lock().user == *name;
    // One that has not logged in has no name.
    let is_spoken_as = !name.is_empty() && known(cx).iter().any(speaks);
    is_spoken_as || cx.node.acl.get(name).is_some_and(|user| is_known(&user))
}

fn client_kill(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let clients = known(cx);
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
                if !is_user(cx, value) {
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
    let client = client.filter(|client| client.is_known_to(cx.bound_function().as_deref()));
    let unblocked = client.is_some_and(|client| client.unblock(how));
    cx.reply.integer(i64::from(unblocked));
    Ok(())
}
