//! ACL.

use std::path::Path;
use std::sync::Arc;

use miso_protocol::command::{Arg, Bound, Categories, Flags, Group, Row};
use miso_protocol::integer;
use miso_protocol::request::Args;

use crate::clock::unix_micros;
use crate::commands::subcommands::helps;
use crate::engine::command::Command;
use crate::engine::context::Context;
use crate::engine::error::CommandError;
use crate::engine::find;
use crate::engine::wait::After;
use crate::node::acl::user::{DEFAULT, Denied, User, splits};
use crate::node::acl::{Selector, merged};
use crate::random;
use crate::settings::file;

const FLAGS: Flags = Flags::ADMIN.with(Flags::NOSCRIPT).with(Flags::LOADING).with(Flags::STALE);
const OWN_USERS: Bound = Bound::Part("users bound to its function");
const PLAIN: Flags = FLAGS.without(Flags::ADMIN);

pub(crate) const ACL: &[Command] = &[Command::parent(
    Row::command("ACL").summary("About users and what they may do"),
    &[
        Command::new(
            Row::subcommand("WHOAMI")
                .flags(PLAIN)
                .summary("The user that this connection speaks as")
                .reply("Bulk string"),
            whoami,
        ),
        Command::new(
            Row::subcommand("LIST")
                .flags(FLAGS)
                .for_bound(OWN_USERS)
                .summary("All users' rules")
                .reply("Array of lines"),
            list,
        ),
        Command::new(
            Row::subcommand("USERS")
                .flags(FLAGS)
                .for_bound(OWN_USERS)
                .summary("All users' names")
                .reply("Array"),
            users,
        ),
        Command::new(
            Row::subcommand("GETUSER")
                .args(&[Arg::string("username")])
                .flags(FLAGS)
                .for_bound(OWN_USERS)
                .summary("What a user may do")
                .reply("Array of properties in turn (RESP3: map), or nil"),
            get_user,
        ),
        Command::new(
            Row::subcommand("SETUSER")
                .args(&[
                    Arg::string("username"),
                    Arg::string("rule").secret().optional().multiple(),
                ])
                .flags(FLAGS)
                .flags(Flags::SKIP_MONITOR.with(Flags::SKIP_SLOWLOG))
                .summary("Makes or changes a user; rules in parentheses stand beside its own (a selector); function:NAME binds it to a function")
                .reply("OK"),
            set_user,
        ),
        Command::new(
            Row::subcommand("DELUSER")
                .args(&[Arg::string("username").multiple()])
                .flags(FLAGS)
                .summary("Removes users and closes their connections")
                .reply("Integer: how many"),
            del_user,
        ),
        Command::new(
            Row::subcommand("CAT")
                .args(&[Arg::string("category").optional()])
                .flags(PLAIN)
                .summary("The categories, or the commands in one")
                .reply("Array"),
            cat,
        ),
        Command::new(
            Row::subcommand("DRYRUN")
                .args(&[
                    Arg::string("username"),
                    Arg::string("command"),
                    Arg::string("arg").optional().multiple(),
                ])
                .flags(FLAGS)
                .summary("Whether a user might run a command")
                .reply("OK, or why not"),
            dry_run,
        ),
        Command::new(
            Row::subcommand("GENPASS")
                .args(&[Arg::integer("bits").optional()])
                .flags(PLAIN)
                .summary("A random password")
                .reply("Bulk string"),
            gen_pass,
        ),
        Command::new(
            Row::subcommand("RESTTOKEN")
                .args(&[Arg::string("username"), Arg::string("password").secret()])
                .flags(FLAGS)
                .flags(Flags::SKIP_MONITOR.with(Flags::SKIP_SLOWLOG))
                .summary("A token for HTTP that stands for the user until the password is removed")
                .reply("Bulk string"),
            rest_token,
        ),
        Command::new(
            Row::subcommand("LOG")
                .args(&[Arg::string("count-or-reset").optional()])
                .flags(FLAGS)
                .for_bound(Bound::Part("what was refused to users bound to its function"))
                .summary("The latest refusals")
                .reply("Array, or OK for RESET"),
            log,
        ),
        Command::new(
            Row::subcommand("SAVE")
                .flags(FLAGS)
                .summary("Writes the users into aclfile")
                .reply("OK"),
            save,
        ),
        Command::new(
            Row::subcommand("LOAD")
                .flags(FLAGS)
                .summary("Reads the users from aclfile, all or none")
                .reply("OK"),
            load,
        ),
        helps(Group::Server),
    ],
)];

fn whoami(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let name = cx.session.user.as_ref().map_or_else(|| DEFAULT.into(), |user| user.name.clone());
    cx.reply.bulk(&name);
    Ok(())
}

/// The users that this one may know of.
fn known(cx: &Context<'_>) -> Vec<Arc<User>> {
    let bound = cx.bound_function();
    let mut users = cx.node.acl.all();
    users.retain(|user| bound.is_none() || user.function() == bound.as_deref());
    users
}

fn list(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let users = known(cx);
    cx.reply.array(users.len());
    users.iter().for_each(|user| cx.reply.bulk(&user.line()));
    Ok(())
}

fn users(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let users = known(cx);
    cx.reply.array(users.len());
    users.iter().for_each(|user| cx.reply.bulk(&user.name));
    Ok(())
}

fn get_user(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let Some(user) = known(cx).into_iter().find(|user| *user.name == args[2]) else {
        cx.reply.null();
        return Ok(());
    };
    let function = user.function().map(Box::<[u8]>::from);
    cx.reply.map(6 + usize::from(function.is_some()));
    cx.reply.bulk(b"flags");
    let flags = user.flags();
    cx.reply.set(flags.len());
    flags.iter().for_each(|flag| cx.reply.bulk(flag.as_bytes()));
    cx.reply.bulk(b"passwords");
    let hashes = user.hashes();
    cx.reply.array(hashes.len());
    hashes.iter().for_each(|hash| cx.reply.bulk(hash.as_bytes()));
    let (own, selectors) = user.rules();
    rules(cx, own);
    cx.reply.bulk(b"selectors");
    cx.reply.array(selectors.len());
    for selector in selectors {
        cx.reply.map(3);
        rules(cx, selector);
    }
    if let Some(function) = function {
        cx.reply.bulk(b"function");
        cx.reply.bulk(&function);
    }
    Ok(())
}

/// What rules allow, as three properties.
fn rules(cx: &mut Context<'_>, rules: &Selector) {
    for (name, rules) in [
        ("commands", rules.commands().into_bytes()),
        ("keys", rules.key_rules()),
        ("channels", rules.channel_rules()),
    ] {
        cx.reply.bulk(name.as_bytes());
        cx.reply.bulk(&rules);
    }
}

fn set_user(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let name = &args[2];
    if splits(name) {
        return Err(CommandError::AclName);
    }
    let rules = merged(args.tail(3).iter()).map_err(|at| {
        let open = args.get(3 + at).unwrap_or_default();
        CommandError::AclUnmatched(open.into())
    })?;
    cx.node
        .acl
        .set(name, rules.iter().map(|rule| &**rule), &cx.node.table)
        .map_err(|(rule, why)| CommandError::AclSetUser(rule.into(), why.into()))?;
    close_without_rights(cx);
    cx.reply.ok();
    Ok(())
}

/// Closes the connections that a change of users leaves without rights; this one after its reply.
fn close_without_rights(cx: &mut Context<'_>) {
    if cx.node.close_without_rights(cx.session.client.id) {
        cx.after = After::Close;
    }
}

fn del_user(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if args.tail(2).iter().any(|name| name == DEFAULT) {
        return Err(CommandError::AclDefault);
    }
    let mut removed = 0;
    for name in args.tail(2).iter() {
        if cx.node.acl.remove(name) {
            removed += 1;
        }
    }
    close_without_rights(cx);
    cx.reply.integer(removed);
    Ok(())
}

fn cat(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if args.len() > 3 {
        return Err(CommandError::WrongArity("acl|cat".into()));
    }
    let names: Vec<String> = match args.get(2) {
        None => Categories::ALL.iter().map(|(_, name)| (*name).to_owned()).collect(),
        Some(name) => {
            let category =
                Categories::named(name).ok_or_else(|| CommandError::AclCategory(name.into()))?;
            let mut names = Vec::new();
            for (row, subcommands) in cx.node.table.all() {
                if !row.is_parent() && row.acl_categories().has(category) {
                    names.push(row.name.to_ascii_lowercase());
                }
                for sub in subcommands.iter().filter(|sub| sub.acl_categories().has(category)) {
                    names.push(format!("{}|{}", row.name, sub.name).to_ascii_lowercase());
                }
            }
            names
        }
    };
    cx.reply.array(names.len());
    names.iter().for_each(|name| cx.reply.bulk(name.as_bytes()));
    Ok(())
}

fn dry_run(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let Some(user) = cx.node.acl.get(&args[2]) else {
        return Err(CommandError::AclNoUser(args[2].into()));
    };
    let command = args.tail(3);
    if cx.node.table.find(&args[3]).is_none() {
        return Err(CommandError::AclNoCommand(args[3].into()));
    }
    let found = find::resolve(cx.node, command)?;
    match user.check((found.number, found.row), found.sub, command) {
        Ok(()) => cx.reply.ok(),
        Err(denied @ (Denied::Key(at) | Denied::Channel(at))) => {
            let word = command.get(at).unwrap_or_default();
            let kind = denied.reason();
            let line =
                [b"This user has no permissions to access the '", word, b"' ", kind.as_bytes()];
            cx.reply.bulk(&line.concat());
        }
        Err(denied) => {
            let line = denied.line(&found.name());
            let line = line.strip_prefix("NOPERM this user").unwrap_or(&line);
            cx.reply.bulk(format!("This user{line}").as_bytes());
        }
    }
    Ok(())
}

fn gen_pass(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let bits = args.get(2).map_or(Some(256), integer::parse_i64);
    let bits = bits.ok_or(CommandError::NotInteger)?;
    if !(1..=4096).contains(&bits) {
        return Err(CommandError::AclBits);
    }
    cx.reply.bulk(random::generate(bits as usize).as_bytes());
    Ok(())
}

fn rest_token(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let (name, password) = (&args[2], &args[3]);
    let token = cx.node.acl.rest_token(name, password);
    let token = token.ok_or_else(|| CommandError::AclRestToken(name.into()))?;
    cx.reply.bulk(token.as_bytes());
    Ok(())
}

fn log(cx: &mut Context<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let count = match args.get(2) {
        None => 10,
        Some(word) if word.eq_ignore_ascii_case(b"RESET") => {
            cx.node.acl.log.reset(cx.bound_function().as_deref());
            cx.reply.ok();
            return Ok(());
        }
        Some(count) => integer::parse_i64(count).ok_or(CommandError::NotInteger)?,
    };
    let entries =
        cx.node.acl.log.latest(usize::try_from(count).unwrap_or(0), cx.bound_function().as_deref());
    cx.reply.array(entries.len());
    for entry in entries {
        cx.reply.map(7);
        cx.reply.bulk(b"count");
        cx.reply.integer(entry.count as i64);
        for (name, text) in [
            ("reason", entry.reason),
            ("context", entry.context),
            ("object", &entry.object),
            ("username", &entry.username),
        ] {
            cx.reply.bulk(name.as_bytes());
            cx.reply.bulk(text.as_bytes());
        }
        cx.reply.bulk(b"age-seconds");
        let age = unix_micros().saturating_sub(entry.at_micros) as f64 / 1e6;
        cx.reply.double(age);
        cx.reply.bulk(b"client-info");
        cx.reply.bulk(entry.client.as_bytes());
    }
    Ok(())
}

fn path(cx: &Context<'_>) -> Result<String, CommandError> {
    cx.node.settings.aclfile().ok_or(CommandError::AclNoFile)
}

fn save(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let path = path(cx)?;
    file::replace(Path::new(&path), &cx.node.acl.text())
        .map_err(|error| CommandError::AclSave(error.to_string().into()))?;
    cx.reply.ok();
    Ok(())
}

fn load(cx: &mut Context<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let path = path(cx)?;
    let text = std::fs::read(&path)
        .map_err(|error| CommandError::AclLoad(path.as_str().into(), error.to_string().into()))?;
    cx.node
        .acl
        .load(&text, &cx.node.table, cx.node.settings.requirepass().as_bytes())
        .map_err(|why| CommandError::AclLoad(path.as_str().into(), why.into()))?;
    close_without_rights(cx);
    cx.reply.ok();
    Ok(())
}
