//! The shell of a [`Node`](crate::node::Node): tonic streams, mDNS, DNS, timers and a thread of its
//! own. It decides nothing; it carries inputs in and effects out.
//!
//! ```text
//! workers --Handle, Mailbox--> driver (owns the Node) --Outbox--> tonic stream --> peer
//! peer --> tonic stream --reader--> driver
//! mdns, seeds --found--> driver
//! ```
//!
//! All of it runs on one current-thread runtime: a message from a peer wakes no other thread, and what
//! arrives while the node works is taken up in one turn.

mod addresses;
mod driver;
mod encryption;
mod flow;
mod handle;
mod incoming;
mod long;
mod mailbox;
mod mdns;
mod outbox;
mod pace;
mod peers;
mod scope;
mod seeds;
mod settings;
mod start;
#[cfg(test)]
mod tests;
mod wire;

pub use encryption::{Encryption, Ends, Names};
pub use handle::Handle;
pub use mailbox::Counters;
pub use settings::{Mdns, Refusals, Settings};
pub use start::start;
