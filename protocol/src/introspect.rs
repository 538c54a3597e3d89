//! COMMAND and its subcommands, from the table.
//!
//! Shapes, element types and their order are those of Redis 7.0.15, in RESP2 and RESP3, so that
//! redis-cli's hints and the clients that ask for key positions read them; `display_text` and
//! `module` are Redis 7.2's. A row has ten elements:
//!
//! ```text
//! name  arity  flags  first-key  last-key  step  @categories  tips  key-specs  subcommands
//!                │                                    │        │        │           └ set of rows
//!                └ set of simple strings              └ set …  └ set …  └ set of maps
//! ```

use crate::command::{Arg, ArgKind, Categories, Row, Table};
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
            None => reply.null(),
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
    reply.set(0); // tips
    if first == 0 {
        reply.set(0);
    } else {
        reply.set(1);
        key_spec(row, first, if last == -1 { -1 } else { 0 }, reply);
    }
    reply.set(row.subcommands.len());
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

fn key_spec(row: &Row, first: i32, last: i32, reply: &mut Reply<'_>) {
    reply.map(3);
    reply.bulk(b"flags");
    words(row.key_flags().iter().copied(), reply);
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
        words(flags.into_iter(), reply);
    }
    if !inner.is_empty() {
        reply.bulk(b"arguments");
        arguments(inner, reply);
    }
}

/// COMMAND LIST, with `FILTERBY MODULE name | ACLCAT category | PATTERN pattern` or nothing. Without
/// a filter there are no subcommands in it, with one there are: Redis's way.
///
/// # Errors
/// Redis's line if the filter is none.
pub fn list(table: &Table, filter: Args<'_>, reply: &mut Reply<'_>) -> Result<(), &'static str> {
    const SYNTAX: &str = "ERR syntax error";
    let all = table.iter().map(|row| (row, full_name(row, None)));
    let names: Vec<String> = match (filter.len(), filter.get(1)) {
        (0, _) => all.map(|(_, name)| name).collect(),
        (3, Some(by)) if filter[0].eq_ignore_ascii_case(b"FILTERBY") => {
            let subcommands = |row: &'static Row| {
                row.subcommands.iter().map(move |sub| (sub, full_name(sub, Some(row))))
            };
            let value = &filter[2];
            let fits: Box<dyn Fn(&Row, &str) -> bool> = match by.to_ascii_uppercase().as_slice() {
                b"MODULE" => Box::new(|_, _| value.eq_ignore_ascii_case(b"miso")),
                b"ACLCAT" => {
                    let category = Categories::named(value);
                    Box::new(move |row, _| category.is_some_and(|c| row.acl_categories().has(c)))
                }
                b"PATTERN" => Box::new(|_, name| glob::matches(value, name.as_bytes(), true)),
                _ => return Err(SYNTAX),
            };
            all.flat_map(|(row, name)| std::iter::once((row, name)).chain(subcommands(row)))
                .filter(|(row, name)| fits(row, name))
                .map(|(_, name)| name)
                .collect()
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
    let number = command.get(0).and_then(|name| table.find(name));
    let number = number.ok_or("ERR Invalid command specified")?;
    let mut row = table.row(number);
    if !row.subcommands.is_empty() {
        let sub = command.get(1).and_then(|word| table.subcommand(number, word));
        row = &row.subcommands[sub.ok_or("ERR Invalid command specified")?];
    }
    if row.key_spec().0 == 0 {
        return Err("ERR The command has no key arguments");
    }
    if !row.fits(command.len()) {
        return Err("ERR Invalid number of arguments specified for command");
    }
    let keys: Vec<&[u8]> = row.keys(command).collect();
    reply.array(keys.len());
    for key in keys {
        if flags {
            reply.array(2);
            reply.bulk(key);
            words(row.key_flags().iter().copied(), reply);
        } else {
            reply.bulk(key);
        }
    }
    Ok(())
}
