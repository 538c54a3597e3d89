//! Pages made from the table. The reference: a section per group in the groups' order, an entry per
//! command with its syntax, what it does and answers, what it costs, how it merges, its ACL categories
//! and an example. The compatibility page: how each command of Redis merges, or why it is not served.
//!
//! Syntax is written as Redis's manual writes it: `[optional]`, `name [name ...]`, `<ONE | OTHER>`.

use std::fmt::Write as _;

use crate::applications::APPLICATIONS;
use crate::command::{Arg, ArgKind, Bound, Group, Merging, Row, Table};
use crate::differences::{DIFFERENCES, Difference};

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
        // The word before it comes once, as WEIGHTS, or each time, as GET of SORT.
        let again = match arg.token {
            Some(token) if !arg.token_repeats => {
                text.strip_prefix(token).unwrap_or_default().trim_start().to_owned()
            }
            _ => text.clone(),
        };
        text = format!("{text} [{again} ...]");
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
        let rows: Vec<_> = table.all().filter(|(row, _)| row.group == *group).collect();
        let served = rows.iter().any(|(row, _)| row.refusal(None).is_none());
        if !served {
            continue;
        }
        let _ = write!(page, "\n## {}\n", group.title());
        for (row, subcommands) in rows {
            if subcommands.is_empty() {
                entry(row, "", &mut page);
            }
            for sub in subcommands {
                entry(sub, row.name, &mut page);
            }
        }
    }
    bound(table, &mut page);
    page
}

/// What is left of each command for a user that is bound to a function.
fn bound(table: &Table, page: &mut String) {
    page.push_str(
        "\n## Users bound to a function\n\n\
         A user with the rule `function=NAME` neither sees nor touches another function, whatever its other rules \
         allow. What is refused answers NOPERM.\n\n\
         | command | what it shows and touches for such a user |\n|---|---|\n",
    );
    let mut lines = Vec::new();
    for (row, subcommands) in table.all() {
        if subcommands.is_empty() {
            lines.push((row.name.to_owned(), row));
        }
        lines.extend(subcommands.iter().map(|sub| (format!("{} {}", row.name, sub.name), *sub)));
    }
    lines.retain(|(_, row)| row.is_served());
    lines.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    for (name, row) in lines {
        let _ = match row.bound() {
            Bound::Refused => writeln!(page, "| {name} | **refused** |"),
            left => writeln!(page, "| {name} | {} |", left.text()),
        };
    }
}

/// Nothing for a command that is not served: that one stands on the compatibility page.
fn entry(row: &Row, parent: &str, page: &mut String) {
    if row.refusal(None).is_some() {
        return;
    }
    let blank = if parent.is_empty() { "" } else { " " };
    let _ = write!(page, "\n### {parent}{blank}{}\n\n", row.name);
    let _ = write!(page, "`{parent}{blank}{}`\n\n{}.\n\n", syntax(row), row.summary);
    if !row.reply.is_empty() {
        let _ = writeln!(page, "- Reply: {}", row.reply);
    }
    let _ = writeln!(page, "- Complexity: {}", row.complexity);
    if row.merging() != Merging::Local {
        let note = if row.merge_note.is_empty() { "" } else { ": " };
        let _ = writeln!(page, "- Merging: {}{note}{}", row.merging().name(), row.merge_note);
    }
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

/// A section of the compatibility page: its heading, what it says, and which commands it has.
type Section = (&'static str, &'static str, fn(Merging) -> bool);

/// The compatibility page: all commands of Redis that the table knows, by how they merge. Each that is
/// not served has a heading of its own, to which its error leads.
#[must_use]
pub fn compatibility(table: &Table) -> String {
    let mut page = String::from(
        "# Compatibility with Redis\n\nGenerated from the server's own table by `cargo xtask docs`.\n",
    );
    let mut commands = Vec::new();
    for (row, subcommands) in table.all().filter(|(row, _)| row.group.is_of_redis()) {
        if subcommands.is_empty() {
            commands.push((row.name.to_owned(), row));
        }
        let name = |sub: &Row| format!("{} {}", row.name, sub.name);
        commands.extend(subcommands.iter().map(|sub| (name(sub), *sub)));
    }
    commands.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let sections: [Section; 3] = [
        (
            "Merges",
            "Nodes may run these on one key at the same time, also while they cannot reach each other: \
             nothing that was acknowledged is lost.",
            |merging| merging == Merging::Merges,
        ),
        (
            "Decides here",
            "What these answer and do follows from what this node knows at that moment; another node may \
             decide otherwise at the same time. What both wrote merges.",
            |merging| merging == Merging::DecidesHere,
        ),
        (
            "Reads and administration",
            "These change no data: they answer what this node has.",
            |merging| merging == Merging::Local,
        ),
    ];
    for (title, text, is) in sections {
        let rows: Vec<_> = commands.iter().filter(|(_, row)| is(row.merging())).collect();
        if rows.is_empty() {
            continue;
        }
        let _ = write!(page, "\n## {title}\n\n{text}\n\n| command | how |\n|---|---|\n");
        for (name, row) in rows {
            let note = if row.merge_note.is_empty() { row.summary } else { row.merge_note };
            let _ = writeln!(page, "| {name} | {} |", note.replace('|', "\\|"));
        }
    }
    let refused =
        |row: &Row| if let Merging::Refused(why) = row.merging() { Some(why) } else { None };
    if commands.iter().any(|(_, row)| refused(row).is_some()) {
        page.push_str("\n## Not served\n\nEach answers an error that says why.\n");
    }
    for (name, row) in &commands {
        if let Some(why) = refused(row) {
            let _ = write!(page, "\n### {name}\n\nNot served: {why}.\n");
        }
    }
    differences(DIFFERENCES, &mut page);
    applications(&mut page);
    page
}

fn differences(all: &[Difference], page: &mut String) {
    if all.is_empty() {
        return;
    }
    page.push_str(
        "\n## Known differences\n\nWhat is served answers as Redis 8.2 does, but for these. A test that runs random \
         commands on MISO and on Redis lets exactly these pass.\n\n\
         | commands | here | Redis 8.2 | why |\n|---|---|---|---|\n",
    );
    for row in all {
        let cells =
            [row.commands, row.here, row.redis, row.reason].map(|cell| cell.replace('|', "\\|"));
        let _ = writeln!(page, "| {} |", cells.join(" | "));
    }
    page.push_str(
        "\nKeyspace events of commands are those of Redis 8.2, but for two: a key that MSET names twice is told of \
         once, and ZINCRBY by 0 is told of, since it is a change that outlasts a removal which has not seen it. What \
         is told of other nodes' changes: [from-redis.md](from-redis.md).\n",
    );
}

fn applications(page: &mut String) {
    page.push_str(
        "\n## Applications\n\nThe tests run these unchanged, on two nodes with a cut between them.\n\n\
         | application | what it does with Redis | what it needs beyond |\n|---|---|---|\n",
    );
    for row in APPLICATIONS {
        let beyond = if row.beyond.is_empty() { "nothing" } else { row.beyond };
        let _ = writeln!(page, "| {} | {} | {beyond} |", row.name, row.uses);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{NAME, OBJECT};

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
        check(
            const { &[Arg::integer("weight").with_token("WEIGHTS").multiple()] },
            "T.X WEIGHTS weight [weight ...]",
        );
        check(
            const { &[Arg::pattern("pattern").with_token("GET").multiple_token()] },
            "T.X GET pattern [GET pattern ...]",
        );
    }

    #[test]
    fn a_page() {
        static GET: Row =
            Row::subcommand("GET").args(&[NAME]).summary("The settings that match").reply("Array");
        static ROWS: [Row; 2] = [
            Row::command("CONFIG").parent(),
            Row::command("GCOUNTER.GET")
                .args(&[OBJECT, NAME])
                .group(Group::GCounter)
                .reads()
                .fast()
                .summary("The value")
                .reply("Integer")
                .example(&[("GCOUNTER.GET o n", "(integer) 0")]),
        ];
        let subcommands = |row: &'static Row| row.is_parent().then_some(&GET);
        let page =
            markdown(&Table::with_subcommands(ROWS.iter().map(|row| (row, subcommands(row)))));
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
        let (commands, bound) = sections.and_then(|all| all.split_once("\n## ")).expect("sections");
        let (server, bound) = bound.split_once("\n## ").expect("three sections");
        assert_eq!(format!("{commands}\n## {server}"), expected);
        assert!(bound.starts_with("Users bound to a function\n"), "{bound}");
        let lines = "|---|---|\n| CONFIG GET | its connection, or the same as for everybody |\n\
                     | GCOUNTER.GET | what its function has |\n";
        assert!(bound.ends_with(lines), "{bound}");
    }

    #[test]
    fn differences_are_a_table() {
        let row = Difference { name: "x", commands: "GET", here: "a|b", redis: "c", reason: "so" };
        let mut page = String::new();
        differences(&[], &mut page);
        assert_eq!(page, "");
        differences(&[row], &mut page);
        assert!(page.contains("|---|---|---|---|\n| GET | a\\|b | c | so |\n\n"), "{page}");
    }

    #[test]
    fn how_commands_merge_is_a_page() {
        static GET: Row = Row::subcommand("GET").summary("The settings that match");
        static ROWS: [Row; 5] = [
            Row::command("GCOUNTER.ADD").group(Group::GCounter).writes(),
            Row::command("CONFIG").parent(),
            Row::command("INCR").group(Group::String).writes().merges("the sum, always exact"),
            Row::command("SETNX").group(Group::String).decides_here("").summary("Sets a new key"),
            Row::command("EVAL").group(Group::Scripting).refused("scripts do not merge"),
        ];
        let subcommands = |row: &'static Row| if row.is_parent() { vec![&GET] } else { Vec::new() };
        let table = Table::with_subcommands(ROWS.iter().map(|row| (row, subcommands(row))));
        let page = compatibility(&table);
        let sections: Vec<&str> = page.split("\n## ").skip(1).collect();
        assert!(sections[0].starts_with("Merges\n"));
        assert!(sections[0].ends_with("|---|---|\n| INCR | the sum, always exact |\n"));
        assert!(sections[1].starts_with("Decides here\n"));
        assert!(sections[1].ends_with("|---|---|\n| SETNX | Sets a new key |\n"));
        assert!(sections[2].ends_with("|---|---|\n| CONFIG GET | The settings that match |\n"));
        assert!(sections[3].ends_with("### EVAL\n\nNot served: scripts do not merge.\n"));
        let known = usize::from(!DIFFERENCES.is_empty());
        assert_eq!((sections.len(), page.contains("GCOUNTER")), (5 + known, false));
        let reference = markdown(&table);
        assert!(reference.contains("- Merging: merges: the sum, always exact\n"));
        assert!(!reference.contains("EVAL"), "what is not served has no entry");
    }
}
