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

use crate::command::{Arg, ArgKind, Begin, Categories, Find, Flags, Row, Spec, Table};
use crate::glob;
use crate::reply::Reply;
use crate::request::Args;

/// COMMAND: every row.
pub fn all(table: &Table, reply: &mut Reply<'_>) {
    reply.array(table.len());
    table.all().for_each(|(row, subcommands)| entry(row, None, subcommands, reply));
}

/// A command that was asked for.
#[derive(Clone, Copy)]
struct Named<'t> {
    row: &'static Row,
    /// The command whose subcommand it is.
    parent: Option<&'static Row>,
    subcommands: &'t [&'static Row],
}

/// A subcommand is asked for as `config|get`.
fn find<'t>(table: &'t Table, name: &[u8]) -> Option<Named<'t>> {
    let (parent, sub) = match name.iter().position(|byte| *byte == b'|') {
        Some(at) => (&name[..at], Some(&name[at + 1..])),
        None => (name, None),
    };
    let number = table.find(parent)?;
    let row = table.row(number);
    let subcommands = table.subcommands(number);
    Some(match sub {
        None => Named { row, parent: None, subcommands },
        Some(sub) => {
            let sub = subcommands[table.subcommand(number, sub)?];
            Named { row: sub, parent: Some(row), subcommands: &[] }
        }
    })
}

/// COMMAND INFO: the rows named, nil for one that is unknown; all if none is named.
pub fn info(table: &Table, names: Args<'_>, reply: &mut Reply<'_>) {
    if names.is_empty() {
        return all(table, reply);
    }
    reply.array(names.len());
    for name in names.iter() {
        match find(table, name) {
            Some(Named { row, parent, subcommands }) => entry(row, parent, subcommands, reply),
            None => reply.null(),
        }
    }
}

/// A name in lower case, a subcommand's after its parent's.
fn full_name(row: &Row, parent: Option<&Row>) -> String {
    match parent {
        Some(parent) => format!("{}|{}", parent.name, row.name).to_ascii_lowercase(),
        None => row.name.to_ascii_lowercase(),
    }
}

/// The ten elements of a row.
fn entry(row: &Row, parent: Option<&Row>, subcommands: &[&Row], reply: &mut Reply<'_>) {
    let (first, last, step) = row.routing_spec();
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
    let specs = row.specs();
    reply.set(specs.len());
    specs.into_iter().for_each(|spec| key_spec(spec, reply));
    reply.set(subcommands.len());
    for sub in subcommands {
        entry(sub, Some(row), &[], reply);
    }
}

/// A set of simple strings.
fn words<'a>(names: impl Iterator<Item = &'a str>, reply: &mut Reply<'_>) {
    let names: Vec<&str> = names.collect();
    reply.set(names.len());
    names.into_iter().for_each(|name| reply.simple(name));
}

fn key_spec(spec: Spec, reply: &mut Reply<'_>) {
    reply.map(3);
    reply.bulk(b"flags");
    words(spec.flags.names(), reply);
    reply.bulk(b"begin_search");
    reply.map(2);
    reply.bulk(b"type");
    match spec.begin {
        Begin::Index(at) => {
            reply.bulk(b"index");
            numbers(&[("index", at)], reply);
        }
        Begin::Keyword(word, from) => {
            reply.bulk(b"keyword");
            reply.bulk(b"spec");
            reply.map(2);
            text(reply, "keyword", word);
            reply.bulk(b"startfrom");
            reply.integer(from.into());
        }
    }
    reply.bulk(b"find_keys");
    reply.map(2);
    reply.bulk(b"type");
    match spec.find {
        Find::Range { last, step } => {
            reply.bulk(b"range");
            numbers(&[("lastkey", last), ("keystep", step), ("limit", 0)], reply);
        }
        Find::Counted { step } => {
            reply.bulk(b"keynum");
            numbers(&[("keynumidx", 0), ("firstkey", 1), ("keystep", step)], reply);
        }
    }
}

/// The parts of a key specification.
fn numbers(parts: &[(&str, i32)], reply: &mut Reply<'_>) {
    reply.bulk(b"spec");
    reply.map(parts.len());
    for (name, n) in parts {
        reply.bulk(name.as_bytes());
        reply.integer((*n).into());
    }
}

/// COMMAND DOCS: the rows named, unknown ones left out; all if none is named.
pub fn docs(table: &Table, names: Args<'_>, reply: &mut Reply<'_>) {
    let all = |(row, subcommands)| Named { row, parent: None, subcommands };
    let rows: Vec<Named<'_>> = if names.is_empty() {
        table.all().map(all).collect()
    } else {
        names.iter().filter_map(|name| find(table, name)).collect()
    };
    reply.map(rows.len());
    rows.into_iter().for_each(|named| doc(named, reply));
}

fn text(reply: &mut Reply<'_>, name: &str, value: &str) {
    reply.bulk(name.as_bytes());
    reply.bulk(value.as_bytes());
}

fn doc(Named { row, parent, subcommands }: Named<'_>, reply: &mut Reply<'_>) {
    reply.bulk(full_name(row, parent).as_bytes());
    let parts = 5 + usize::from(!row.args.is_empty()) + usize::from(!subcommands.is_empty());
    reply.map(parts);
    text(reply, "summary", &row.full_summary());
    text(reply, "since", row.since);
    text(reply, "group", row.group.name());
    text(reply, "complexity", row.complexity);
    text(reply, "module", "miso");
    if !row.args.is_empty() {
        reply.bulk(b"arguments");
        arguments(row.args, &mut 0, reply);
    }
    if !subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(subcommands.len());
        for sub in subcommands {
            doc(Named { row: sub, parent: Some(row), subcommands: &[] }, reply);
        }
    }
}

/// `spec` is the index of the next argument's key specification.
fn arguments(args: &[Arg], spec: &mut i64, reply: &mut Reply<'_>) {
    reply.array(args.len());
    args.iter().for_each(|arg| argument(arg, spec, reply));
}

fn argument(arg: &Arg, spec: &mut i64, reply: &mut Reply<'_>) {
    let (kind, inner): (&str, &[Arg]) = match arg.kind {
        ArgKind::Key => ("key", &[]),
        ArgKind::String | ArgKind::ShardChannel => ("string", &[]),
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
    if arg.token_repeats {
        flags.push("multiple_token");
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
        reply.integer(*spec);
    }
    *spec += i64::from(key || arg.kind == ArgKind::ShardChannel);
    if let Some(token) = arg.token {
        text(reply, "token", token);
    }
    if !flags.is_empty() {
        reply.bulk(b"flags");
        words(flags.into_iter(), reply);
    }
    if !inner.is_empty() {
        reply.bulk(b"arguments");
        arguments(inner, spec, reply);
    }
}

const SYNTAX: &str = "ERR syntax error";

/// Which commands COMMAND LIST names.
enum Filter<'a> {
    /// All or none: there is one module.
    Module(bool),
    /// Those in a category; none if there is no such category.
    Category(Option<Categories>),
    Pattern(&'a [u8]),
}

impl<'a> Filter<'a> {
    fn parse(by: &[u8], value: &'a [u8]) -> Result<Filter<'a>, &'static str> {
        match by.to_ascii_uppercase().as_slice() {
            b"MODULE" => Ok(Filter::Module(value.eq_ignore_ascii_case(b"miso"))),
            b"ACLCAT" => Ok(Filter::Category(Categories::named(value))),
            b"PATTERN" => Ok(Filter::Pattern(value)),
            _ => Err(SYNTAX),
        }
    }

    fn fits(&self, row: &Row, name: &str) -> bool {
        match self {
            Filter::Module(ours) => *ours,
            Filter::Category(category) => category.is_some_and(|c| row.acl_categories().has(c)),
            Filter::Pattern(pattern) => glob::matches(pattern, name.as_bytes(), true),
        }
    }
}

/// COMMAND LIST, with `FILTERBY MODULE name | ACLCAT category | PATTERN pattern` or nothing. Without
/// a filter there are no subcommands in it, with one there are: Redis's way.
///
/// # Errors
/// Redis's line if the filter is none.
pub fn list(table: &Table, filter: Args<'_>, reply: &mut Reply<'_>) -> Result<(), &'static str> {
    let mut names = Vec::new();
    if filter.is_empty() {
        names.extend(table.iter().map(|row| full_name(row, None)));
    } else {
        if filter.len() != 3 || !filter[0].eq_ignore_ascii_case(b"FILTERBY") {
            return Err(SYNTAX);
        }
        let filter = Filter::parse(&filter[1], filter.get(2).unwrap_or_default())?;
        let mut add = |row: &Row, parent: Option<&Row>| {
            let name = full_name(row, parent);
            if filter.fits(row, &name) {
                names.push(name);
            }
        };
        for (row, subcommands) in table.all() {
            add(row, None);
            subcommands.iter().for_each(|sub| add(sub, Some(row)));
        }
    }
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
    if row.is_parent() {
        let sub = command.get(1).and_then(|word| table.subcommand(number, word));
        row = table.subcommands(number)[sub.ok_or("ERR Invalid command specified")?];
    }
    if !row.has_keys() {
        return Err("ERR The command has no key arguments");
    }
    if !row.fits(command.len()) {
        return Err("ERR Invalid number of arguments specified for command");
    }
    let mut keys = Vec::new();
    let sound = row.for_each_key(command, |key| keys.push(key));
    if !sound || (keys.is_empty() && !row.flags.has(Flags::NO_MANDATORY_KEYS)) {
        return Err("ERR Invalid arguments specified for command");
    }
    reply.array(keys.len());
    for key in keys {
        if flags {
            reply.array(2);
            reply.bulk(key.word);
            words(key.flags.names(), reply);
        } else {
            reply.bulk(key.word);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Group, NAME, OBJECT};
    use crate::reply::Resp;
    use crate::request::OwnedArgs;

    const MATCH: Arg = Arg::pattern("pattern").with_token("MATCH").optional();
    static GET: Row = Row::subcommand("GET")
        .args(&[Arg::pattern("parameter").multiple()])
        .admin()
        .flags(Flags::NOSCRIPT.with(Flags::LOADING).with(Flags::STALE));
    const DEL: Row =
        Row::command("DEL").args(&[OBJECT.multiple()]).group(Group::Keyspace).deletes();
    const SCAN: Row = Row::command("ORSET.SCAN")
        .args(&[OBJECT, NAME, MATCH])
        .group(Group::OrSet)
        .reads()
        .summary("Walks");
    const PING: Row = Row::command("PING").group(Group::Connection).fast();
    static ROWS: [Row; 4] = [Row::command("CONFIG").parent(), DEL, SCAN, PING];

    /// What `write` answers, one element after another, blank where lines end. Lengths of bulk strings
    /// are left out.
    fn written(resp: Resp, write: impl FnOnce(&Table, &mut Reply<'_>)) -> String {
        let mut out = Vec::new();
        let subcommands = |row: &'static Row| row.is_parent().then_some(&GET);
        let table = Table::with_subcommands(ROWS.iter().map(|row| (row, subcommands(row))));
        write(&table, &mut Reply::new(&mut out, resp));
        let text = String::from_utf8(out).expect("text");
        let lines = text.lines().filter(|line| !line.starts_with('$') || *line == "$-1");
        lines.collect::<Vec<_>>().join(" ")
    }

    fn args(words: &str) -> OwnedArgs {
        OwnedArgs::from_parts(&words.split_whitespace().map(str::as_bytes).collect::<Vec<_>>())
    }

    /// What a Redis 7.0.15 answers about the same commands, but for its tips, which we have none of.
    #[test]
    fn rows_as_redis_writes_them() {
        let ask = |resp, names: &str| {
            written(resp, |table, reply| info(table, args(names).as_args(), reply))
        };
        let del = "*1 *10 del :-2 ~1 +write :1 :-1 :1 ~3 +@keyspace +@write +@slow ~0 \
                   ~1 %3 flags ~2 +RM +delete begin_search %2 type index spec %1 index :1 \
                   find_keys %2 type range spec %3 lastkey :-1 keystep :1 limit :0 ~0";
        assert_eq!(ask(Resp::V3, "del"), del);
        // In RESP2 a set is an array and a map one of twice the length.
        let flat = del.replace('~', "*").replace("%1", "*2").replace("%2", "*4");
        assert_eq!(ask(Resp::V2, "DEL"), flat.replace("%3", "*6"));
        let get = "*1 *10 config|get :-3 ~4 +admin +noscript +loading +stale :0 :0 :0 \
                   ~3 +@admin +@slow +@dangerous ~0 ~0 ~0";
        assert_eq!(ask(Resp::V3, "CONFIG|get"), get);
        assert_eq!(ask(Resp::V2, "nosuch config|nosuch"), "*2 $-1 $-1");
        assert_eq!(ask(Resp::V3, "nosuch"), "*1 _");
        assert_eq!(ask(Resp::V3, ""), written(Resp::V3, all));
        assert!(ask(Resp::V3, "config").ends_with(&get[3..]));
    }

    #[test]
    fn docs_say_what_hints_are_made_of() {
        let ask = |names: &str| {
            written(Resp::V3, |table, reply| docs(table, args(names).as_args(), reply))
        };
        let scan = "%1 orset.scan %6 summary Walks since 0.1.0 group orset complexity O(1) \
                    module miso arguments *3 \
                    %4 name object type key display_text object key_spec_index :0 \
                    %3 name name type string display_text name \
                    %5 name pattern type pattern display_text pattern token MATCH \
                    flags ~1 +optional";
        assert_eq!(ask("ORSET.SCAN nosuch"), scan);
        assert_eq!(ask("nosuch"), "%0");
        assert!(ask("config").contains(" subcommands %1 config|get %6 "));
        assert!(ask("config|get").contains(" flags ~1 +multiple"));
    }

    #[test]
    fn list() {
        let ask = |filter: &str| {
            let mut answer = Ok(());
            let text = written(Resp::V3, |table, reply| {
                answer = super::list(table, args(filter).as_args(), reply);
            });
            answer.map(|()| text)
        };
        let shown = |text: &str| Ok(text.to_owned());
        assert_eq!(ask(""), shown("*4 config del orset.scan ping"));
        assert_eq!(ask("filterby pattern CONF*"), shown("*2 config config|get"));
        assert_eq!(ask("FILTERBY ACLCAT admin"), shown("*1 config|get"));
        assert_eq!(ask("FILTERBY ACLCAT nosuch"), shown("*0"));
        assert_eq!(ask("FILTERBY MODULE nosuch"), shown("*0"));
        assert_eq!(ask("FILTERBY MODULE miso"), shown("*5 config config|get del orset.scan ping"));
        for wrong in ["FILTERBY", "FILTERBY PATTERN", "FILTERBY NOSUCH x", "SORTBY PATTERN x"] {
            assert_eq!(ask(wrong), Err("ERR syntax error"), "{wrong}");
        }
    }

    #[test]
    fn keys() {
        let ask = |command: &str, flags| {
            let mut answer = Ok(());
            let text = written(Resp::V3, |table, reply| {
                answer = get_keys(table, args(command).as_args(), flags, reply);
            });
            answer.map(|()| text)
        };
        assert_eq!(ask("del a b", false), Ok("*2 a b".to_owned()));
        assert_eq!(ask("DEL a", true), Ok("*1 *2 a ~2 +RM +delete".to_owned()));
        assert_eq!(ask("orset.scan a b", true), Ok("*1 *2 a ~2 +RO +access".to_owned()));
        assert_eq!(ask("", false), Err("ERR Invalid command specified"));
        assert_eq!(ask("nosuch a", false), Err("ERR Invalid command specified"));
        assert_eq!(ask("config nosuch", false), Err("ERR Invalid command specified"));
        // That there are no keys is said before that there are too many arguments.
        assert_eq!(ask("ping a b", false), Err("ERR The command has no key arguments"));
        let arity = Err("ERR Invalid number of arguments specified for command");
        assert_eq!(ask("orset.scan a", false), arity);
    }
}
