//! The reference page, from the table: a section per group in the groups' order, an entry per command
//! with its syntax, what it does and answers, what it costs, who may run it, and an example.
//!
//! Syntax is written as Redis's manual writes it: `[optional]`, `name [name ...]`, `<ONE | OTHER>`.

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
        ArgKind::OneOf(args) if arg.optional && arg.token.is_none() => joined(args, " | "),
        ArgKind::OneOf(args) => format!("<{}>", joined(args, " | ")),
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
    let _ = writeln!(page, "- Since: {}", row.since);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Access, Flags, NAME, OBJECT};

    const fn row(args: &'static [Arg]) -> Row {
        Row { name: "T.X", args, ..Row::EMPTY }
    }

    #[test]
    fn syntax_as_people_write_it() {
        const PAIR: &[Arg] = &[Arg::string("field"), Arg::string("value")];
        const SAVE: &[Arg] = &[Arg::token("SAVE"), Arg::token("NOSAVE")];
        const AUTH: &[Arg] = &[Arg::string("user"), Arg::string("password")];
        const COUNT: Arg = Arg::integer("count").with_token("COUNT").optional();
        let check = |args: &'static [Arg], expected: &str| assert_eq!(syntax(&row(args)), expected);
        check(const { &[] }, "T.X");
        check(const { &[OBJECT, NAME, Arg::integer("n").optional()] }, "T.X object name [n]");
        check(const { &[OBJECT, NAME.multiple()] }, "T.X object name [name ...]");
        check(const { &[OBJECT, NAME.multiple().optional()] }, "T.X object [name [name ...]]");
        check(const { &[Arg::string("cursor"), COUNT] }, "T.X cursor [COUNT count]");
        check(
            const { &[Arg::block("pair", PAIR).multiple()] },
            "T.X field value [field value ...]",
        );
        check(const { &[Arg::one_of("how", SAVE).optional()] }, "T.X [SAVE | NOSAVE]");
        check(const { &[Arg::one_of("how", SAVE)] }, "T.X <SAVE | NOSAVE>");
        check(const { &[Arg::block("auth", AUTH).with_token("AUTH")] }, "T.X AUTH user password");
    }

    #[test]
    fn a_page() {
        const GET: Row = Row {
            name: "GET",
            args: &[NAME],
            summary: "The settings that match",
            reply: "Array",
            is_subcommand: true,
            ..Row::EMPTY
        };
        static ROWS: [Row; 2] = [
            Row { name: "CONFIG", subcommands: &[GET], ..Row::EMPTY },
            Row {
                name: "GCOUNTER.GET",
                args: &[OBJECT, NAME],
                access: Access::Read,
                group: Group::GCounter,
                flags: Flags::FAST,
                summary: "The value",
                reply: "Integer",
                example: &[("GCOUNTER.GET o n", "(integer) 0")],
                ..Row::EMPTY
            },
        ];
        let page = markdown(&Table::new(&ROWS));
        let sections = page.split_once("\n## ").map(|(_, rest)| rest);
        let expected = "Grow-only counters\n\n\
            ### GCOUNTER.GET\n\n\
            `GCOUNTER.GET object name`\n\n\
            The value.\n\n\
            - Reply: Integer\n\
            - Complexity: O(1)\n\
            - Since: 0.1.0\n\
            - ACL: `@read` `@fast` `@gcounter`\n\n\
            ```console\n> GCOUNTER.GET o n\n(integer) 0\n```\n\n\
            ## Server\n\n\
            ### CONFIG GET\n\n\
            `CONFIG GET name`\n\n\
            The settings that match.\n\n\
            - Reply: Array\n\
            - Complexity: O(1)\n\
            - Since: 0.1.0\n\
            - ACL: `@slow`\n";
        assert_eq!(sections, Some(expected));
    }
}
