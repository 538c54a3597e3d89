//! The fronts: they listen, read commands from connections, have the engine run them and write the
//! replies. RESP here, HTTP in a folder of its own; both are served by the same workers.

mod ahead;
pub(crate) mod balance;
mod connection;
mod dispatch;
pub(crate) mod http;
mod kept;
pub(crate) mod listener;
pub(crate) mod loading;
mod transport;
pub(crate) mod worker;

use crate::engine::Engine;

use balance::Balance;
use http::state::Http;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) engine: Engine,
    pub(crate) balance: Balance,
    pub(crate) http: Http,
}

impl Front {
    /// A front without workers and listeners.
    pub(crate) fn new(engine: Engine) -> Front {
        let http = Http::new(&engine.node.table);
        Front { engine, balance: Balance::default(), http }
    }
}
