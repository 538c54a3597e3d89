//! COMMAND and its subcommands, from the table, in the shapes of Redis 7.

use crate::command::{Access, Arg, ArgKind, Categories, Row, Table};
use crate::glob;
use crate::reply::Reply;
use crate::request::Args;

/// COMMAND: every row.
pub fn all(table: &Table, reply: &mut Reply<'_>) {
    reply.array(table.len());
    table.iter().for_each(|row| entry(row, None, reply));
}

/// A subcommand is asked for as `config|get`.
fn find<'t>(table: &'t Table, name: &[u8]) -> Option<(&'t Row, Option<&'t Row>)> {
    let (parent, sub) = match name.iter().position(|byte| *byte == b'|') {
        Some(at) => (&name[..at], Some(&name[at + 1..])),
        None => (name, None),
    };
    let number = table.find(parent)?;
    let row = table.row(number);
    match sub {
        None => Some((row, None)),
        Some(sub) => Some((&row.subcommands[table.subcommand(number, sub)?], Some(row))),
    }
}

/// COMMAND INFO: the rows named, nil for one that is unknown; all if none is named.
pub fn info(table: &Table, names: Args<'_>, reply: &mut Reply<'_>) {
    if names.is_empty() {
        return all(table, reply);
    }
    reply.array(names.len());
    for name in names.iter() {
        match find(table, name) {
            Some((row, parent)) => entry(row, parent, reply),
            None => reply.null_array(),
        }
    }
}

/// A name in lower case, a subcommand's behind its parent's.
fn full_name(row: &Row, parent: Option<&Row>) -> String {
    match parent {
        Some(parent) => format!("{}|{}", parent.name, row.name).to_ascii_lowercase(),
        None => row.name.to_ascii_lowercase(),
    }
}

/// The ten elements of a row.
fn entry(row: &Row, parent: Option<&Row>, reply: &mut Reply<'_>) {
    let (first, last, step) = row.key_spec();
    reply.array(10);
    reply.bulk(full_name(row, parent).as_bytes());
    reply.integer(row.arity().into());
    words(row.flag_names(), reply);
    for n in [first, last, step] {
        reply.integer(n.into());
    }
    let categories = row.acl_categories().names().map(|name| format!("@{name}"));
    let categories: Vec<String> = categories.collect();
    words(categories.iter().map(String::as_str), reply);
    reply.array(0); // tips
    if first == 0 {
        reply.array(0);
    } else {
        reply.array(1);
        key_spec(row, first, if last == -1 { -1 } else { 0 }, reply);
    }
    reply.array(row.subcommands.len());
    for sub in row.subcommands {
        entry(sub, Some(row), reply);
    }
}

/// A set of simple strings.
fn words<'a>(names: impl Iterator<Item = &'a str>, reply: &mut Reply<'_>) {
    let names: Vec<&str> = names.collect();
    reply.set(names.len());
    names.into_iter().for_each(|name| reply.simple(name));
}

/// What Redis says of how a command treats a key.
const fn key_flags(row: &Row) -> &'static [&'static str] {
    match row.access {
        Access::Write => &["RW", "access", "update"],
        Access::Read => &["RO", "access"],
        Access::None => &["RO"],
    }
}

fn key_spec(row: &Row, first: i32, last: i32, reply: &mut Reply<'_>) {
    reply.map(3);
    reply.bulk(b"flags");
    words(key_flags(row).iter().copied(), reply);
    reply.bulk(b"begin_search");
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(b"index");
    reply.bulk(b"spec");
    reply.map(1);
    reply.bulk(b"index");
    reply.integer(first.into());
    reply.bulk(b"find_keys");
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(b"range");
    reply.bulk(b"spec");
    reply.map(3);
    for (name, n) in [("lastkey", last), ("keystep", 1), ("limit", 0)] {
        reply.bulk(name.as_bytes());
        reply.integer(n.into());
    }
}

/// COMMAND DOCS: the rows named, unknown ones left out; all if none is named.
pub fn docs(table: &Table, names: Args<'_>, reply: &mut Reply<'_>) {
    let rows: Vec<(&Row, Option<&Row>)> = if names.is_empty() {
        table.iter().map(|row| (row, None)).collect()
    } else {
        names.iter().filter_map(|name| find(table, name)).collect()
    };
    reply.map(rows.len());
    rows.into_iter().for_each(|(row, parent)| doc(row, parent, reply));
}

fn text(reply: &mut Reply<'_>, name: &str, value: &str) {
    reply.bulk(name.as_bytes());
    reply.bulk(value.as_bytes());
}

fn doc(row: &Row, parent: Option<&Row>, reply: &mut Reply<'_>) {
    reply.bulk(full_name(row, parent).as_bytes());
    let parts = 5 + usize::from(!row.args.is_empty()) + usize::from(!row.subcommands.is_empty());
    reply.map(parts);
    text(reply, "summary", row.summary);
    text(reply, "since", row.since);
    text(reply, "group", row.group.name());
    text(reply, "complexity", row.complexity);
    text(reply, "module", "miso");
    if !row.args.is_empty() {
        reply.bulk(b"arguments");
        arguments(row.args, reply);
    }
    if !row.subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(row.subcommands.len());
        row.subcommands.iter().for_each(|sub| doc(sub, Some(row), reply));
    }
}

fn arguments(args: &[Arg], reply: &mut Reply<'_>) {
    reply.array(args.len());
    args.iter().for_each(|arg| argument(arg, reply));
}

fn argument(arg: &Arg, reply: &mut Reply<'_>) {
    let (kind, inner): (&str, &[Arg]) = match arg.kind {
        ArgKind::Key => ("key", &[]),
        ArgKind::String => ("string", &[]),
        ArgKind::Integer => ("integer", &[]),
        ArgKind::Double => ("double", &[]),
        ArgKind::Pattern => ("pattern", &[]),
        ArgKind::Token => ("pure-token", &[]),
        ArgKind::OneOf(args) => ("oneof", args),
        ArgKind::Block(args) => ("block", args),
    };
    let key = arg.kind == ArgKind::Key;
    let mut flags = Vec::new();
    if arg.optional {
        flags.push("optional");
    }
    if arg.multiple {
        flags.push("multiple");
    }
    let parts = 2
        + usize::from(inner.is_empty())
        + usize::from(key)
        + usize::from(arg.token.is_some())
        + usize::from(!flags.is_empty())
        + usize::from(!inner.is_empty());
    reply.map(parts);
    text(reply, "name", arg.name);
    text(reply, "type", kind);
    if inner.is_empty() {
        text(reply, "display_text", arg.name);
    }
    if key {
        reply.bulk(b"key_spec_index");
        reply.integer(0);
    }
    if let Some(token) = arg.token {
        text(reply, "token", token);
    }
    if !flags.is_empty() {
        reply.bulk(b"flags");
        reply.array(flags.len());
        flags.iter().for_each(|flag| reply.simple(flag));
    }
    if !inner.is_empty() {
        reply.bulk(b"arguments");
        arguments(inner, reply);
    }
}

/// COMMAND LIST, with `FILTERBY MODULE name | ACLCAT category | PATTERN pattern` or nothing.
///
/// # Errors
/// Redis's line if the filter is none.
pub fn list(table: &Table, filter: Args<'_>, reply: &mut Reply<'_>) -> Result<(), &'static str> {
    const SYNTAX: &str = "ERR syntax error";
    let lower = |row: &Row| row.name.to_ascii_lowercase();
    let names: Vec<String> = match (filter.len(), filter.get(1)) {
        (0, _) => table.iter().map(lower).collect(),
        (3, Some(by)) if filter[0].eq_ignore_ascii_case(b"FILTERBY") => {
            let value = &filter[2];
            let rows: Vec<&Row> = if by.eq_ignore_ascii_case(b"MODULE") {
                table.iter().filter(|_| value.eq_ignore_ascii_case(b"miso")).collect()
            } else if by.eq_ignore_ascii_case(b"ACLCAT") {
                let category = Categories::named(value);
                let fits =
                    |row: &&'static Row| category.is_some_and(|c| row.acl_categories().has(c));
                table.iter().filter(fits).collect()
            } else if by.eq_ignore_ascii_case(b"PATTERN") {
                let fits = |row: &&'static Row| glob::matches(value, row.name.as_bytes(), true);
                table.iter().filter(fits).collect()
            } else {
                return Err(SYNTAX);
            };
            rows.into_iter().map(lower).collect()
        }
        _ => return Err(SYNTAX),
    };
    reply.array(names.len());
    names.iter().for_each(|name| reply.bulk(name.as_bytes()));
    Ok(())
}

/// COMMAND GETKEYS and GETKEYSANDFLAGS: the objects that a command is about.
///
/// # Errors
/// Redis's line if there is no such command, or it has no keys or the wrong arguments.
pub fn get_keys(
    table: &Table,
    command: Args<'_>,
    flags: bool,
    reply: &mut Reply<'_>,
) -> Result<(), &'static str> {
    let number = table.find(&command[0]).ok_or("ERR Invalid command specified")?;
    let mut row = table.row(number);
    if !row.subcommands.is_empty() {
        let sub = command.get(1).and_then(|word| table.subcommand(number, word));
        row = &row.subcommands[sub.ok_or("ERR Invalid command specified")?];
    }
    if !row.fits(command.len()) {
        return Err("ERR Invalid number of arguments specified for command");
    }
    let keys: Vec<&[u8]> = row.keys(command).collect();
    if keys.is_empty() {
        return Err("ERR The command has no key arguments");
    }
    reply.array(keys.len());
    for key in keys {
        if flags {
            reply.array(2);
            reply.bulk(key);
            words(key_flags(row).iter().copied(), reply);
        } else {
            reply.bulk(key);
        }
    }
    Ok(())
}
