//! The connection itself: PING, HELLO, AUTH, SELECT; CLIENT and COMMAND in files of their own.

mod client;
mod cluster;
mod command;
mod rows;
mod tracking;

use std::sync::Arc;
use std::time::Instant;

use miso_protocol::command::{Arg, Bound, Flags, Group, Row};
use miso_protocol::reply::Resp;
use miso_protocol::request::Args;
use miso_protocol::{integer, names};

use crate::commands::subcommands::helps;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::databases;
use crate::engine::error::CommandError;
use crate::engine::quota;
use crate::engine::session::ReplyMode;
use crate::engine::wait::{After, Wait};
use crate::node::REDIS_VERSION;
use crate::node::acl::log::LogEntry;
use crate::node::acl::token;
use crate::node::acl::user::DEFAULT;
use crate::node::attempts::Turn;
use crate::node::audit::{By, What};
use crate::node::grants;
use crate::node::monitor::REDACTED;

use client::check_name;
use cluster::no_cluster;
use rows::ALWAYS;

/// The module's version: major * 10000 + minor * 100 + patch.
pub(crate) const MODULE_VERSION: i64 = 100;

/// A block, since Redis answers too many words with a syntax error, not with a wrong number.
const CREDENTIALS: Arg = Arg::block(
    "credentials",
    &[Arg::string("username").optional(), Arg::string("password").secret()],
);
/// A block, since Redis runs PING with too many words within MULTI, where it answers an error.
const MESSAGE: Arg = Arg::block("message", &[Arg::string("message")]).optional();
const AUTH_ARGS: Arg =
    Arg::block("auth", &[Arg::string("username"), Arg::string("password").secret()]);

pub(crate) const CONNECTION: &[Command] = &[
    Command::new(
        Row::command("PING")
            .args(&[MESSAGE])
            .group(Group::Connection)
            .fast()
            .flags(Flags::ALLOW_SUBSCRIBED)
            .summary("Tests whether the server answers")
            .reply("PONG, or the message"),
        ping,
    ),
    Command::new(
        Row::command("ECHO")
            .args(&[Arg::string("message")])
            .group(Group::Connection)
            .flags(ALWAYS)
            .summary("Answers the message")
            .reply("Bulk string"),
        echo,
    ),
    Command::new(
        Row::command("QUIT")
            .group(Group::Connection)
            .flags(ALWAYS)
            .flags(Flags::NO_AUTH.with(Flags::ALLOW_SUBSCRIBED).with(Flags::IMMEDIATE))
            .summary("Closes the connection")
            .reply("OK"),
        quit,
    ),
    Command::new(
        Row::command("RESET")
            .group(Group::Connection)
            .flags(ALWAYS)
            .flags(Flags::NO_AUTH.with(Flags::ALLOW_SUBSCRIBED).with(Flags::IMMEDIATE))
            .summary("Takes the connection back to its beginning")
            .reply("RESET"),
        reset,
    ),
    Command::new(
        Row::command("HELLO")
            .args(&[Arg::block(
                "arguments",
                &[
                    Arg::integer("protover"),
                    AUTH_ARGS.with_token("AUTH").optional(),
                    Arg::string("clientname").with_token("SETNAME").optional(),
                ],
            )
            .optional()])
            .group(Group::Connection)
            .flags(ALWAYS)
            .flags(Flags::NO_AUTH)
            .summary("Chooses the protocol version, and authenticates")
            .reply("Map of what the server is"),
        hello,
    ),
    Command::new(
        Row::command("AUTH")
            .args(&[CREDENTIALS])
            .group(Group::Connection)
            .flags(ALWAYS)
            .flags(Flags::NO_AUTH.with(Flags::SKIP_MONITOR).with(Flags::SKIP_SLOWLOG))
            .summary(
                "Authenticates; while there are no passwords, the user name is \
                 the function",
            )
            .reply("OK"),
        auth,
    ),
    Command::new(
        Row::command("SELECT")
            .args(&[Arg::integer("index")])
            .for_bound(Bound::Own)
            .group(Group::Connection)
            .flags(ALWAYS)
            .flags(Flags::DATABASES)
            .summary("Chooses the database; each is replicated as a function of its own")
            .reply("OK"),
        select,
    ),
    client::CLIENT,
    command::COMMAND,
    Command::new(
        Row::command("READONLY")
            .group(Group::Connection)
            .flags(ALWAYS)
            .summary("Refused: this is no cluster")
            .reply("Error"),
        no_cluster,
    ),
    Command::new(
        Row::command("READWRITE")
            .group(Group::Connection)
            .flags(ALWAYS)
            .summary("Refused: this is no cluster")
            .reply("Error"),
        no_cluster,
    ),
    Command::new(
        Row::command("ASKING")
            .group(Group::Connection)
            .fast()
            .summary("Refused: this is no cluster")
            .reply("Error"),
        no_cluster,
    ),
    cluster::CLUSTER,
    Command::parent(
        Row::command("MODULE").group(Group::Connection).summary("About modules"),
        &[
            Command::new(
                Row::subcommand("LIST")
                    .group(Group::Connection)
                    .admin()
                    .for_bound(Bound::Connection)
                    .summary("The modules that tools look for")
                    .reply("Array of maps"),
                module_list,
            ),
            helps(Group::Connection),
        ],
    ),
];

fn ping(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if args.len() > 2 {
        return Err(CommandError::WrongArity("ping".into()));
    }
    let message = args.get(1);
    if cx.session.resp == Resp::V2 && cx.session.listening() {
        cx.reply.array(2);
        cx.reply.bulk(b"pong");
        cx.reply.bulk(message.unwrap_or_default());
    } else {
        match message {
            None => cx.reply.pong(),
            Some(message) => cx.reply.bulk(message),
        }
    }
    Ok(())
}

fn echo(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    cx.reply.bulk(&args[1]);
    Ok(())
}

fn quit(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.reply.ok();
    cx.after = After::Close;
    Ok(())
}

fn reset(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let node = Arc::clone(cx.node);
    cx.session.transaction = None;
    cx.session.leave(&node);
    cx.session.reset_function();
    cx.session.resp = Resp::V2;
    cx.session.replies = ReplyMode::On;
    {
        let mut about = cx.session.client.about.lock();
        about.name = Box::default();
        about.multi = -1;
        (about.no_evict, about.no_touch) = (false, false);
    }
    cx.session.describe();
    cx.reply.resp = Resp::V2;
    cx.reply.simple("RESET");
    Ok(())
}

fn hello(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let mut resp = cx.session.resp;
    if let Some(version) = args.get(1) {
        let version = integer::parse_i64(version).ok_or(CommandError::ProtocolNotInteger)?;
        resp = match version {
            2 => Resp::V2,
            3 => Resp::V3,
            _ => return Err(CommandError::NoProtocol),
        };
    }
    let (mut credentials, mut name) = (None, None);
    let mut at = 2;
    while let Some(option) = args.get(at) {
        if option.eq_ignore_ascii_case(b"AUTH") && at + 2 < args.len() {
            credentials = Some((&args[at + 1], &args[at + 2]));
            at += 3;
        } else if option.eq_ignore_ascii_case(b"SETNAME") && at + 1 < args.len() {
            check_name(&args[at + 1])?;
            name = Some(&args[at + 1]);
            at += 2;
        } else {
            // A word too many after a password may be a part of it.
            let shown = if credentials.is_some() { REDACTED } else { option };
            return Err(CommandError::HelloSyntax(shown.into()));
        }
    }
    if let Some((user, password)) = credentials {
        if !authenticate(cx, user, password)? {
            return Ok(());
        }
    } else if cx.session.user.is_none() {
        return Err(CommandError::HelloNoAuth);
    }
    if let Some(name) = name {
        cx.session.client.about.lock().name = Box::from(name);
    }
    cx.session.resp = resp;
    cx.session.describe();
    cx.reply.resp = resp;
    cx.reply.map(7);
    cx.reply.bulk(b"server");
    cx.reply.bulk(b"redis");
    cx.reply.bulk(b"version");
    cx.reply.bulk(REDIS_VERSION.as_bytes());
    cx.reply.bulk(b"proto");
    cx.reply.integer(if resp == Resp::V3 { 3 } else { 2 });
    cx.reply.bulk(b"id");
    cx.reply.integer(cx.session.client.id as i64);
    cx.reply.bulk(b"mode");
    cx.reply.bulk(b"standalone");
    cx.reply.bulk(b"role");
    cx.reply.bulk(b"master");
    cx.reply.bulk(b"modules");
    modules(cx);
    Ok(())
}

fn modules(cx: &mut Context<'_>) {
    cx.reply.array(1);
    cx.reply.map(4);
    cx.reply.bulk(b"name");
    cx.reply.bulk(b"miso");
    cx.reply.bulk(b"ver");
    cx.reply.integer(MODULE_VERSION);
    cx.reply.bulk(b"path");
    cx.reply.bulk(b"");
    cx.reply.bulk(b"args");
    cx.reply.array(0);
}

fn module_list(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    modules(cx);
    Ok(())
}

fn auth(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if args.len() > 3 {
        return Err(CommandError::Syntax);
    }
    let is_token = token::function(&args[args.len() - 1]).is_some();
    if args.len() == 2 && cx.node.acl.anonymous().is_some() && !is_token {
        return Err(CommandError::NoPassword);
    }
    let (user, password) = match args.len() {
        2 => (DEFAULT, &args[1]),
        _ => (&args[1], &args[2]),
    };
    if authenticate(cx, user, password)? {
        cx.reply.ok();
    }
    Ok(())
}

/// Tells of a failed authentication: in ACL LOG, in the statistics, and now and then in the log.
fn note_failure(cx: &Context<'_>, name: &[u8]) {
    let line = cx.node.client_line(&cx.session.client);
    let entry = LogEntry::now("auth", "toplevel", "AUTH".to_owned(), name, line);
    cx.node.stats.denials.count("auth");
    let by = By { user: name, function: cx.session.owner(), address: cx.session.client.address };
    cx.node.audit.note(What::LoginFailed, by, None, None);
    cx.node.acl.log.add(entry, cx.node.settings.acllog_max_len());
    let address = cx.session.client.address.ip();
    if let Some(failures) = cx.node.attempts.failed(address, name, Instant::now()) {
        let user = names::escape(name);
        tracing::warn!(%address, %user, failures, "authentications failed; the latest is named");
    }
}

/// Makes the connection speak as `name`; in open mode, as the default user for the function `name`.
/// Returns false if it has to wait for its turn: then the command is to run again.
fn authenticate(cx: &mut Context<'_>, name: &[u8], password: &[u8]) -> Result<bool, CommandError> {
    // A function's token tells the function, so clients may send it as a password alone.
    let granted = token::function(password);
    let name = match &granted {
        Some(function) if name.is_empty() || name == DEFAULT => function,
        _ => name,
    };
    if cx.node.acl.open_mode() && granted.as_deref() != Some(name) {
        // Clients send "" for a URL with a password alone: that is no function, and no password is set.
        if name.is_empty() {
            return Err(CommandError::WrongPass);
        }
        // Clients send the default user's name by themselves, so it stands for the default function.
        let default = cx.node.settings.default_function();
        let function = if name == DEFAULT { default.as_bytes() } else { name };
        cx.bind_function(function)?;
        cx.session.names_function &= name != DEFAULT;
        cx.session.user = cx.node.acl.anonymous();
    } else {
        let address = cx.session.client.address.ip();
        if !cx.session.has_turn {
            match cx.node.attempts.turn(address, name, Instant::now()) {
                Turn::Now => {}
                Turn::After(wait) if cx.held.is_none() => {
                    cx.session.has_turn = true;
                    cx.after = After::RetryWhen(Wait::before(tokio::time::sleep(wait)));
                    return Ok(false);
                }
                Turn::After(wait) | Turn::Refused(wait) => {
                    return Err(CommandError::TooManyFailures(wait.as_millis().to_string().into()));
                }
            }
        }
        cx.session.has_turn = false;
        let Some(user) = cx.node.authenticate(name, password) else {
            note_failure(cx, name);
            return Err(CommandError::WrongPass);
        };
        cx.node.attempts.succeeded(address, name);
        if let Some(function) = user.function() {
            quota::check_connection(cx.node, cx.session, function)?;
        }
        let was_bound = cx.session.user.as_ref().is_some_and(|user| user.function().is_some());
        let default = cx.node.settings.default_function();
        let function = match user.function() {
            Some(function) => Some(function),
            // The function of the previous user is not kept.
            None if was_bound => Some(default.as_bytes()),
            None => None,
        };
        if let Some(function) = function.filter(|function| *function != cx.session.owner()) {
            if cx.held.is_some() {
                return Err(CommandError::FunctionInMulti);
            }
            cx.session.set_function(function);
        }
        let by = user.granted().map(|hash| format!("token {}", grants::id(hash)));
        cx.session.user = Some(user);
        cx.session.note(What::Login, None, by.as_deref());
    }
    cx.session.describe();
    Ok(true)
}

fn select(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let database = databases::number(&cx.node.settings, &args[1])?;
    cx.session.select(database);
    cx.reply.ok();
    Ok(())
}
