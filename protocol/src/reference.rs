//! The reference page, from the table.

use std::fmt::Write as _;

use crate::command::{Arg, ArgKind, Group, Row, Table};

/// A command's syntax: `GCOUNTER.ADD object name [increment]`.
#[must_use]
pub fn syntax(row: &Row) -> String {
    let mut line = row.name.to_owned();
    for arg in row.args {
        line.push(' ');
        line.push_str(&argument(arg));
    }
    line
}

fn argument(arg: &Arg) -> String {
    let joined = |args: &[Arg], by: &str| args.iter().map(argument).collect::<Vec<_>>().join(by);
    let inner = match arg.kind {
        ArgKind::Token => String::new(),
        ArgKind::OneOf(args) => joined(args, " | "),
        ArgKind::Block(args) => joined(args, " "),
        _ => arg.name.to_owned(),
    };
    let mut text = match arg.token {
        None => inner,
        Some(token) if inner.is_empty() => token.to_owned(),
        Some(token) => format!("{token} {inner}"),
    };
    if arg.multiple {
        text = format!("{text} [{text} ...]");
    }
    if arg.optional { format!("[{text}]") } else { text }
}

/// The whole page: a section per group, an entry per command.
#[must_use]
pub fn markdown(table: &Table) -> String {
    let mut page = String::from(
        "# Commands\n\nGenerated from the server's own table by `cargo xtask docs`.\n\n\
         Names are case-insensitive. Integers are 64-bit. `object` and `name` are any bytes up to \
         `key-max-bytes`. Reading what is absent gives the type's empty value and creates nothing; \
         the first write creates. A command of another type than a name holds answers `WRONGTYPE`.\n",
    );
    for group in Group::ALL {
        let rows: Vec<&Row> = table.iter().filter(|row| row.group == *group).collect();
        if rows.is_empty() {
            continue;
        }
        let _ = write!(page, "\n## {}\n", group.title());
        for row in rows {
            if row.subcommands.is_empty() {
                entry(row, "", &mut page);
            }
            for sub in row.subcommands {
                entry(sub, row.name, &mut page);
            }
        }
    }
    page
}

fn entry(row: &Row, parent: &str, page: &mut String) {
    let blank = if parent.is_empty() { "" } else { " " };
    let _ = write!(page, "\n### {parent}{blank}{}\n\n", row.name);
    let _ = write!(page, "`{parent}{blank}{}`\n\n{}.\n\n", syntax(row), row.summary);
    if !row.reply.is_empty() {
        let _ = writeln!(page, "- Reply: {}", row.reply);
    }
    let _ = writeln!(page, "- Complexity: {}", row.complexity);
    let categories: Vec<String> =
        row.acl_categories().names().map(|name| format!("`@{name}`")).collect();
    let _ = writeln!(page, "- ACL: {}", categories.join(" "));
    if !row.example.is_empty() {
        page.push_str("\n```console\n");
        for (line, output) in row.example {
            let _ = write!(page, "> {line}\n{output}\n");
        }
        page.push_str("```\n");
    }
}
