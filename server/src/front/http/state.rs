//! What all HTTP connections share.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64};

use miso_protocol::command::{Flags, Group, Row, Table};
use miso_protocol::request::Args;
use tokio::sync::watch;

/// Commands that change their connection, beside those whose rows say so.
const CHANGING: &[&str] = &[
    "ASKING",
    "AUTH",
    "HELLO",
    "MISO.REGISTER",
    "MONITOR",
    "QUIT",
    "READONLY",
    "READWRITE",
    "RESET",
    "CLIENT|CACHING",
    "CLIENT|NO-EVICT",
    "CLIENT|NO-TOUCH",
    "CLIENT|REPLY",
    "CLIENT|SETINFO",
    "CLIENT|SETNAME",
    "CLIENT|TRACKING",
];

/// What all HTTP connections share.
#[derive(Debug)]
pub(crate) struct Http {
    /// Connections so far: they take workers in turn.
    pub(super) accepted: AtomicU64,
    /// Says to all connections that the process ends.
    pub(super) stopping: watch::Sender<bool>,
    /// Whether the node has been ready: what begins later does not make it unready.
    pub(super) was_ready: AtomicBool,
    /// The rows whose commands are refused.
    rows: Box<[bool]>,
    /// The subcommands that are refused, by row and place.
    subcommands: HashSet<(u16, usize)>,
    /// SELECT, which is refused alone and allowed in a pipeline.
    select: Option<u16>,
}

/// Whether a command blocks, listens, or is about a transaction that spans requests.
fn is_refused(row: &Row) -> bool {
    let listens = row.flags.has(Flags::PUBSUB) && row.flags.has(Flags::ALLOW_SUBSCRIBED);
    listens || row.flags.has(Flags::BLOCKING) || row.group == Group::Transactions
}

impl Http {
    /// The state before the first connection, of a node with these commands.
    pub(crate) fn new(table: &Table) -> Http {
        let mut rows = Vec::new();
        let mut subcommands = HashSet::new();
        for (number, (row, subs)) in (0u16..).zip(table.all()) {
            let is_named = |name: &str| CHANGING.contains(&name);
            rows.push(is_refused(row) || is_named(row.name));
            for (at, sub) in subs.iter().enumerate() {
                if is_refused(sub) || is_named(&format!("{}|{}", row.name, sub.name)) {
                    subcommands.insert((number, at));
                }
            }
        }
        Http {
            accepted: AtomicU64::new(0),
            stopping: watch::Sender::new(false),
            was_ready: AtomicBool::new(false),
            rows: rows.into(),
            subcommands,
            select: table.find(b"SELECT"),
        }
    }

    /// Ends all connections once they have answered what they have read.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// The name of a command that is refused over HTTP; none if it may run. `is_alone` says whether it is
    /// the only one of its request.
    pub(super) fn refused(&self, table: &Table, args: Args<'_>, is_alone: bool) -> Option<String> {
        let number = table.find(args.get(0)?)?;
        let name = table.row(number).name;
        if self.rows[usize::from(number)] || (is_alone && self.select == Some(number)) {
            return Some(name.to_owned());
        }
        if table.row(number).flags.has(Flags::ONCE) {
            return self.refused(table, args.tail(2), is_alone);
        }
        if self.subcommands.is_empty() || !table.row(number).is_parent() {
            return None;
        }
        let at = table.subcommand(number, args.get(1)?)?;
        let is_refused = self.subcommands.contains(&(number, at));
        is_refused.then(|| format!("{name} {}", table.subcommands(number)[at].name))
    }
}

#[cfg(test)]
mod tests {
    use miso_protocol::request::Words;

    use super::*;
    use crate::commands;

    #[test]
    fn commands_that_need_a_connection_are_refused() {
        let (table, _) = commands::table();
        let http = Http::new(&table);
        let refused = |line: &str, is_alone| {
            let mut words = Words::default();
            line.split(' ').for_each(|word| words.push(word.as_bytes()));
            http.refused(&table, words.args(0..words.len()), is_alone)
        };
        for line in
            ["multi", "EXEC", "watch k", "Subscribe c", "PSUBSCRIBE p", "MONITOR", "auth a b"]
        {
            let name = line.split(' ').next().map(str::to_ascii_uppercase);
            assert_eq!(refused(line, false), name, "{line}");
        }
        for line in ["WAIT 1 0", "MISO.AWAIT t 1", "RESET", "HELLO 3", "QUIT", "MISO.REGISTER f"] {
            assert!(refused(line, true).is_some(), "{line}");
        }
        assert_eq!(refused("client reply off", true).as_deref(), Some("CLIENT REPLY"));
        assert_eq!(refused("SELECT 0", true).as_deref(), Some("SELECT"));
        for line in ["SELECT 0", "PING", "PUBLISH a b", "CLIENT ID", "client", "nosuch", "INFO"] {
            assert_eq!(refused(line, false), None, "{line}");
        }
    }

    #[test]
    fn every_name_is_a_command() {
        let (table, _) = commands::table();
        for name in CHANGING {
            let (parent, sub) = name.split_once('|').map_or((*name, None), |(a, b)| (a, Some(b)));
            let number = table.find(parent.as_bytes()).expect(name);
            let found = sub.is_none_or(|sub| table.subcommand(number, sub.as_bytes()).is_some());
            assert!(found, "{name}");
        }
    }
}
