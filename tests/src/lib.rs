//! What the tests of a running node share: starting one, speaking to it, and saying what it should answer.
//!
//! - [`Node`] is a real process on a free loopback port, killed when the value is dropped. Its log is shown if the
//!   test fails.
//! - [`Session`] is a connection by the `redis` crate, in RESP2 or RESP3; [`script`](Session::script) plays lines
//!   against it and compares the answers.
//! - [`Wire`] is a bare socket, for bytes that no client would send.
//! - [`Http`] is a bare HTTP connection.
//! - [`Namespace`] is a network of the test's own, with interfaces that are not loopback.
//! - [`Page`] is a page of the documentation, and [`Machine`] one on which its lines are typed.
//! - [`Cluster`] is several nodes, on a [`Net`] that the test can break.
//! - [`world`] is a simulated cluster: many nodes of the production code on a made-up network.
//! - [`scene`] plays short stories of messages, kept as text.
//! - [`Peer`] speaks the peers' protocol to a node, and says what a test wants.
//! - [`Certs`] is a directory of certificates, [`TlsClient`] a client that has one,
//!   and [`Tunnel`] a session of TLS with a node's peer port.
//! - [`Ledger`] is a client that keeps books, for tests in which nodes die.
//! - [`differential`] draws random commands, and holds our answers against those of a real Redis.
//! - [`Tool`] runs a stock program with a deadline.
//! - [`Scratch`] is a directory of the test's own, which goes when the test ends.
//!
//! Nothing here waits for luck: every wait is for a condition, with a deadline that fails the test.

mod certs;
mod cluster;
pub mod differential;
mod frame;
mod http;
mod ledger;
mod messages;
mod namespace;
mod net;
mod node;
mod page;
pub mod peer;
mod rng;
pub mod scene;
mod scratch;
mod script;
mod session;
mod tool;
mod wire;
pub mod world;

pub use certs::{Certs, TlsClient, Tunnel};
pub use cluster::{Cluster, agree, all_say};
pub use frame::Frame;
pub use http::{Answer, Http};
pub use ledger::{Bounds, Ledger};
pub use namespace::Namespace;
pub use net::{Net, Way};
pub use node::{Node, wait_until};
pub use page::{Machine, Page};
pub use peer::Peer;
pub use rng::Rng;
pub use scratch::Scratch;
pub use script::split;
pub use session::{Resp, Session};
pub use tool::{Output, Tool, find_program, find_redis_8};
pub use wire::Wire;

use std::time::Duration;

/// How long any single wait may take before its test fails. Far above what is ever needed, so that a busy machine
/// fails nothing; a test that passes does not wait for it.
pub const DEADLINE: Duration = Duration::from_secs(30);
