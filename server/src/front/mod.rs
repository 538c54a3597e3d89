//! The RESP front: listens, reads commands from connections, has the engine run them and writes the
//! replies.

mod ahead;
pub(crate) mod balance;
mod connection;
mod dispatch;
pub(crate) mod listener;
mod transport;
pub(crate) mod worker;

use crate::engine::Engine;

use balance::Balance;

/// What all connections of this front share.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) engine: Engine,
    pub(crate) balance: Balance,
}

impl Front {
    /// A front without workers and listeners.
    pub(crate) fn new(engine: Engine) -> Front {
        Front { engine, balance: Balance::default() }
    }
}
