//! All commands: each row beside the function that runs it.
//!
//! A file per group. A new command is one entry in its file; a new file is one line in `GROUPS`.

mod access;
mod connection;
mod crdt;
mod miso;
mod pubsub;
mod redis;
mod scan;
mod server;
mod subcommands;
mod transaction;

use miso_protocol::command::Table;

use crate::engine::command::{self, Command, Handlers};

const GROUPS: &[&[Command]] = &[
    crdt::counter::GCOUNTER,
    crdt::counter::PNCOUNTER,
    crdt::set::GSET,
    crdt::set::ORSET,
    crdt::set::ORSET_REMOVALS,
    crdt::register::MVREG,
    crdt::flag::EWFLAG,
    crdt::map::ORMAP,
    miso::object::OBJECTS,
    miso::function::FUNCTIONS,
    miso::node::NODES,
    redis::key::KEYSPACE,
    redis::hash::HASH,
    connection::CONNECTION,
    transaction::TRANSACTIONS,
    pubsub::PUBSUB,
    server::config::CONFIG,
    server::acl::ACL,
    server::SERVER,
];

/// The rows of all commands as a table, and their handlers.
pub(crate) fn table() -> (Table, Handlers) {
    command::split(GROUPS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_complete() {
        let (table, handlers) = table();
        for (number, row) in (0u16..).zip(table.iter()) {
            let subs = row.subcommands.iter();
            for row in std::iter::once(row).chain(subs) {
                assert_eq!(row.name, row.name.to_ascii_uppercase());
                assert!(!row.summary.is_empty() && !row.summary.ends_with('.'), "{}", row.name);
                assert!(!row.reply.is_empty() || !row.subcommands.is_empty(), "{}", row.name);
            }
            assert!(row.subcommands.iter().all(|sub| sub.is_subcommand), "{}", row.name);
            (0..row.subcommands.len()).for_each(|sub| drop(handlers.get(number, Some(sub))));
            assert_eq!(table.find(row.name.to_ascii_lowercase().as_bytes()), Some(number));
        }
    }
}
