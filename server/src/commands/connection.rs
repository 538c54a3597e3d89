//! The connection itself: PING, HELLO, AUTH, CLIENT, COMMAND …

use std::sync::Arc;
use std::time::Duration;

use miso_protocol::command::{Arg, Categories, Flags, Group, Row};
use miso_protocol::integer;
use miso_protocol::introspect;
use miso_protocol::reply::Resp;
use miso_protocol::request::Args;

use super::{Command, ROW};
use crate::clients::{Client, Unblocked};
use crate::context::{After, Context};
use crate::dispatch;
use crate::error::CommandError;
use crate::session::ReplyMode;

/// What HELLO and INFO call themselves, so that clients which ask for a version find one.
pub(crate) const REDIS_VERSION: &str = "7.4.0";
/// The module's version: major * 10000 + minor * 100 + patch.
pub(super) const MODULE_VERSION: i64 = 100;

/// Milliseconds that CLIENT PAUSE may ask for: a hundred years.
const LONGEST_PAUSE: i64 = 100 * 365 * 24 * 3600 * 1000;

const ALWAYS: Flags = Flags::FAST.with(Flags::LOADING).with(Flags::STALE).with(Flags::NOSCRIPT);

const fn row(
    name: &'static str,
    args: &'static [Arg],
    summary: &'static str,
    reply: &'static str,
) -> Row {
    Row { name, args, group: Group::Connection, flags: ALWAYS, summary, reply, ..ROW }
}

const fn sub(
    name: &'static str,
    args: &'static [Arg],
    summary: &'static str,
    reply: &'static str,
) -> Row {
    Row {
        is_subcommand: true,
        flags: ALWAYS.without(Flags::FAST),
        ..row(name, args, summary, reply)
    }
}

const HELP: Row = sub("HELP", &[], "What the subcommands are", "Array of lines");
/// A block, since too many words are a syntax error to Redis and not a wrong number.
const CREDENTIALS: Arg =
    Arg::block("credentials", &[Arg::string("username").optional(), Arg::string("password")]);
const AUTH_ARGS: Arg = Arg::block("auth", &[Arg::string("username"), Arg::string("password")]);

pub(super) const CONNECTION: &[Command] = &[
    Command::new(
        Row {
            flags: Flags::FAST.with(Flags::ALLOW_SUBSCRIBED),
            ..row(
                "PING",
                &[Arg::string("message").optional()],
                "Whether the server answers",
                "PONG, or the message",
            )
        },
        ping,
    ),
    Command::new(
        Row {
            flags: ALWAYS,
            ..row("ECHO", &[Arg::string("message")], "Answers the message", "Bulk string")
        },
        echo,
    ),
    Command::new(
        Row {
            flags: ALWAYS.with(Flags::NO_AUTH).with(Flags::ALLOW_SUBSCRIBED).with(Flags::IMMEDIATE),
            ..row("QUIT", &[], "Closes the connection", "OK")
        },
        quit,
    ),
    Command::new(
        Row {
            flags: ALWAYS.with(Flags::NO_AUTH).with(Flags::ALLOW_SUBSCRIBED).with(Flags::IMMEDIATE),
            ..row("RESET", &[], "Takes the connection back to its beginning", "RESET")
        },
        reset,
    ),
    Command::new(
        Row {
            flags: ALWAYS.with(Flags::NO_AUTH),
            ..row(
                "HELLO",
                &[Arg::block(
                    "arguments",
                    &[
                        Arg::integer("protover"),
                        AUTH_ARGS.with_token("AUTH").optional(),
                        Arg::string("clientname").with_token("SETNAME").optional(),
                    ],
                )
                .optional()],
                "Chooses the protocol version, and authenticates",
                "Map of what the server is",
            )
        },
        hello,
    ),
    Command::new(
        Row {
            flags: ALWAYS.with(Flags::NO_AUTH).with(Flags::SKIP_MONITOR).with(Flags::SKIP_SLOWLOG),
            ..row(
                "AUTH",
                &[CREDENTIALS],
                "Authenticates; while nobody needs to, the user name is the function",
                "OK",
            )
        },
        auth,
    ),
    Command::new(
        row("SELECT", &[Arg::integer("index")], "Chooses the database; there is one, 0", "OK"),
        select,
    ),
    Command::parent(
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
                sub(
                    "NO-TOUCH",
                    &[Arg::string("on-off")],
                    "Accepted; there is no access time",
                    "OK",
                ),
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
    ),
    Command {
        run: command_all,
        ..Command::parent(
            Row {
                flags: Flags::LOADING.with(Flags::STALE).with(Flags::ALONE),
                subcommands: &[
                    sub("COUNT", &[], "How many commands there are", "Integer"),
                    sub(
                        "INFO",
                        &[Arg::string("command-name").optional().multiple()],
                        "What commands take",
                        "Array",
                    ),
                    sub(
                        "DOCS",
                        &[Arg::string("command-name").optional().multiple()],
                        "What commands do",
                        "Map",
                    ),
                    sub(
                        "LIST",
                        &[Arg::string("filter").optional().multiple()],
                        "The names of commands",
                        "Array",
                    ),
                    sub(
                        "GETKEYS",
                        &[Arg::string("command"), Arg::string("arg").multiple()],
                        "The objects a command is about",
                        "Array",
                    ),
                    sub(
                        "GETKEYSANDFLAGS",
                        &[Arg::string("command"), Arg::string("arg").multiple()],
                        "The objects a command is about, and how",
                        "Array",
                    ),
                    HELP,
                ],
                ..row("COMMAND", &[], "All commands and what they take", "Array")
            },
            &[
                command_count,
                command_info,
                command_docs,
                command_list,
                command_getkeys,
                command_getkeysandflags,
                help,
            ],
        )
    },
    Command::new(
        Row {
            categories: Categories::NONE,
            ..row("READONLY", &[], "Refused: this is no cluster", "Error")
        },
        no_cluster,
    ),
    Command::new(row("READWRITE", &[], "Refused: this is no cluster", "Error"), no_cluster),
    Command::new(
        Row {
            flags: Flags::NONE,
            ..row(
                "CLUSTER",
                &[Arg::string("subcommand").multiple()],
                "Refused: this is no cluster",
                "Error",
            )
        },
        no_cluster,
    ),
    Command::parent(
        Row {
            flags: Flags::NONE,
            subcommands: &[
                Row {
                    flags: Flags::ADMIN,
                    ..sub("LIST", &[], "The modules that tools look for", "Array of maps")
                },
                HELP,
            ],
            ..row("MODULE", &[], "About modules", "")
        },
        &[module_list, help],
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
            None => cx.reply.simple("PONG"),
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
    let shared = Arc::clone(cx.shared);
    cx.session.transaction = None;
    cx.session.leave(&shared);
    cx.session.registrations.clear();
    cx.session.function = None;
    cx.session.function_name = shared.settings.default_function().into_bytes().into();
    cx.session.resp = Resp::V2;
    cx.session.replies = ReplyMode::On;
    cx.session.user = shared.acl.anonymous();
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
            return Err(CommandError::HelloSyntax(option.into()));
        }
    }
    if let Some((user, password)) = credentials {
        authenticate(cx, user, password)?;
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
    if args.len() == 2 {
        if cx.shared.acl.anonymous().is_some() {
            return Err(CommandError::NoPassword);
        }
        authenticate(cx, crate::acl::DEFAULT, &args[1])?;
    } else {
        authenticate(cx, &args[1], &args[2])?;
    }
    cx.reply.ok();
    Ok(())
}

/// Makes the connection speak as `name`; in open mode, as the default user for the function `name`.
fn authenticate(cx: &mut Context<'_>, name: &[u8], password: &[u8]) -> Result<(), CommandError> {
    if cx.shared.acl.open_mode() {
        super::access::check_key(cx, name)?;
        // The default user's name is no function's: clients send it without being told.
        let default = cx.shared.settings.default_function();
        let function = if name == crate::acl::DEFAULT { default.as_bytes() } else { name };
        cx.bind_function(function)?;
        cx.session.user = cx.shared.acl.anonymous();
    } else {
        let Some(user) = cx.shared.acl.authenticate(name, password) else {
            let line = dispatch::client_line(cx.shared, &cx.session.client);
            let object = "AUTH".to_owned();
            let entry = crate::acl::refused("auth", "toplevel", object, name, line);
            let max = cx.shared.settings.acllog_max_len();
            cx.shared.stats.denials.count("auth");
            cx.shared.acl.note(entry, max);
            return Err(CommandError::WrongPass);
        };
        let was_bound = cx.session.user.as_ref().is_some_and(|user| user.function().is_some());
        let default = cx.shared.settings.default_function();
        let function = match user.function() {
            Some(function) => Some(function),
            // What the user before was bound to is not this one's.
            None if was_bound => Some(default.as_bytes()),
            None => None,
        };
        if let Some(function) = function.filter(|function| *function != cx.function_name()) {
            if cx.held.is_some() {
                return Err(CommandError::FunctionInMulti);
            }
            cx.session.set_function(function);
        }
        cx.session.user = Some(user);
    }
    cx.session.describe();
    Ok(())
}

fn select(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    match integer::parse_i64(&args[1]) {
        Some(0) => cx.reply.ok(),
        Some(_) => return Err(CommandError::InvalidIndex),
        None => return Err(CommandError::NotInteger),
    }
    Ok(())
}

fn client_id(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.reply.integer(cx.session.client.id as i64);
    Ok(())
}

fn check_name(name: &[u8]) -> Result<(), CommandError> {
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
    let line = dispatch::client_line(cx.shared, &cx.session.client) + "\n";
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
    let mut clients = cx.shared.clients.list();
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
    let lines: String =
        clients.iter().map(|client| dispatch::client_line(cx.shared, client) + "\n").collect();
    cx.reply.verbatim_txt(lines.as_bytes());
    Ok(())
}

fn client_kill(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let clients = cx.shared.clients.list();
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
                if cx.shared.acl.get(value).is_none() {
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
    cx.shared.clients.pause(Duration::from_millis(millis), writes_only);
    cx.reply.ok();
    Ok(())
}

fn client_unpause(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.shared.clients.unpause();
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
    let client = u64::try_from(id).ok().and_then(|id| cx.shared.clients.get(id));
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

/// HELP of any command with subcommands, from their rows.
pub(super) fn help(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let number = cx.shared.table.find(&args[0]).ok_or(CommandError::Syntax)?;
    let row = cx.shared.table.row(number);
    let mut lines =
        vec![format!("{} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", row.name)];
    for sub in row.subcommands {
        lines.push(miso_protocol::reference::syntax(sub));
        lines.push(format!("    {}.", sub.summary));
    }
    cx.reply.array(lines.len());
    lines.iter().for_each(|line| cx.reply.simple(line));
    Ok(())
}

fn command_all(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    introspect::all(&cx.shared.table, &mut cx.reply);
    Ok(())
}

fn command_count(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.reply.integer(cx.shared.table.len() as i64);
    Ok(())
}

fn command_info(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    introspect::info(&cx.shared.table, args.tail(2), &mut cx.reply);
    Ok(())
}

fn command_docs(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    introspect::docs(&cx.shared.table, args.tail(2), &mut cx.reply);
    Ok(())
}

fn command_list(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    introspect::list(&cx.shared.table, args.tail(2), &mut cx.reply).map_err(CommandError::text)
}

fn command_getkeys(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    introspect::get_keys(&cx.shared.table, args.tail(2), false, &mut cx.reply)
        .map_err(CommandError::text)
}

fn command_getkeysandflags(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    introspect::get_keys(&cx.shared.table, args.tail(2), true, &mut cx.reply)
        .map_err(CommandError::text)
}

fn no_cluster(_: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    Err(CommandError::NoCluster)
}
