//! All commands: each row next to the function that runs it.
//!
//! A file per group. A new command is one entry in its file; a new file is one line in `GROUPS`, here or in
//! `plain/mod.rs`.

mod access;
mod args;
mod connection;
mod crdt;
pub(crate) mod miso;
mod plain;
mod pubsub;
mod redis;
mod scan;
mod script;
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
    miso::quota::QUOTAS,
    miso::grant::GRANTS,
    miso::node::NODES,
    miso::feed::FEED,
    miso::once::ONCE,
    redis::hash::HASH,
    connection::CONNECTION,
    transaction::TRANSACTIONS,
    pubsub::PUBSUB,
    script::SCRIPTS,
    server::config::CONFIG,
    server::acl::ACL,
    server::SERVER,
];

/// The rows of all commands as a table, and their handlers.
pub(crate) fn table() -> (Table, Handlers) {
    command::split(&[GROUPS, plain::GROUPS].concat())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Duration;

    use miso_protocol::request::OwnedArgs;
    use miso_store::crdt::ReplicaId;
    use miso_store::{Config, Store};

    use super::*;
    use crate::engine::Engine;
    use crate::engine::call::Batch;
    use crate::engine::session::Session;
    use crate::engine::wait::After;
    use crate::node::Node;
    use crate::node::stats::Worker;
    use crate::settings;

    #[test]
    fn every_row_is_complete() {
        let (table, _) = table();
        for (number, (row, subcommands)) in (0u16..).zip(table.all()) {
            for row in std::iter::once(row).chain(subcommands.iter().copied()) {
                assert_eq!(row.name, row.name.to_ascii_uppercase());
                assert!(!row.summary.is_empty() && !row.summary.ends_with('.'), "{}", row.name);
                assert!(!row.reply.is_empty() || row.is_parent(), "{}", row.name);
            }
            assert!(subcommands.iter().all(|sub| sub.is_subcommand), "{}", row.name);
            assert_eq!(table.find(row.name.to_ascii_lowercase().as_bytes()), Some(number));
        }
    }

    /// A caller of the engine that has no socket, as an HTTP request has none.
    struct Caller {
        engine: Engine,
        worker: Arc<Worker>,
        session: Session,
        batch: Batch,
    }

    impl Caller {
        fn new() -> Caller {
            let (table, handlers) = table();
            let store = Store::new(Config::new(ReplicaId(1), 1, Arc::new(|| 0)));
            let node = Arc::new(Node::new(settings::for_test(&[]), store, table));
            let address = SocketAddr::from(([127, 0, 0, 1], 1));
            let client = node.clients.open(address, address, 0, 1).expect("there is room for one");
            let session = Session::new(client, Arc::clone(&node));
            let worker = node.stats.worker();
            let engine = Engine::new(node, handlers);
            Caller { engine, worker, session, batch: Batch::default() }
        }

        /// Runs one command: what is written of its reply, and what is to be done then.
        fn run(&mut self, command: &str) -> (String, After) {
            let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
            let (args, mut out) = (OwnedArgs::from_parts(&words), Vec::new());
            let (session, batch) = (&mut self.session, &mut self.batch);
            let after = self.engine.run(&self.worker, session, batch, args.as_args(), &mut out);
            (String::from_utf8(out).expect("replies here are text"), after)
        }

        /// The reply of a command that is answered at once.
        fn reply(&mut self, command: &str) -> String {
            let (reply, after) = self.run(command);
            assert!(matches!(after, After::Continue | After::Refused), "{command}: {after:?}");
            reply
        }
    }

    #[test]
    fn a_caller_without_a_socket_gets_replies_and_errors() {
        let mut caller = Caller::new();
        assert_eq!(caller.reply("GCOUNTER.ADD cart total 2"), ":2\r\n");
        assert!(caller.batch.wrote);
        assert_eq!(caller.reply("gcounter.get cart total"), ":2\r\n");
        let reply = caller.reply("GCOUNTER.ADD cart");
        assert_eq!(reply, "-ERR wrong number of arguments for 'gcounter.add' command\r\n");
        assert!(caller.reply("NOSUCH").starts_with("-ERR unknown command 'NOSUCH'"));
        assert!(matches!(caller.run("QUIT").1, After::Close));
    }

    #[test]
    fn a_caller_without_a_socket_runs_transactions() {
        let mut caller = Caller::new();
        assert_eq!(caller.reply("MULTI"), "+OK\r\n");
        assert_eq!(caller.reply("GCOUNTER.ADD cart total 2"), "+QUEUED\r\n");
        assert_eq!(caller.reply("GCOUNTER.GET cart total"), "+QUEUED\r\n");
        assert_eq!(caller.reply("EXEC"), "*2\r\n:2\r\n:2\r\n");
        assert_eq!(caller.reply("EXEC"), "-ERR EXEC without MULTI\r\n");
        assert_eq!(caller.reply("MULTI"), "+OK\r\n");
        assert!(caller.reply("NOSUCH").starts_with("-ERR unknown command"));
        assert!(caller.reply("EXEC").starts_with("-EXECABORT "));
        assert_eq!(caller.reply("DISCARD"), "-ERR DISCARD without MULTI\r\n");
    }

    #[tokio::test]
    async fn a_caller_without_a_socket_is_told_what_to_wait_for() {
        let mut caller = Caller::new();
        let (written, after) = caller.run("WAIT 0 1000");
        let After::Wait(wait) = after else { panic!("{after:?}") };
        assert_eq!((written.as_str(), wait.blocks), ("", true));
        assert_eq!(wait.reply.await, b":0\r\n");
        caller.engine.node.clients.pause(Duration::from_secs(60), false);
        let (written, after) = caller.run("GCOUNTER.ADD cart total");
        assert!(matches!(after, After::RetryAfterPause), "{after:?}");
        assert_eq!(written, "");
        caller.engine.node.clients.unpause();
        assert_eq!(caller.reply("GCOUNTER.ADD cart total"), ":1\r\n");
    }
}
