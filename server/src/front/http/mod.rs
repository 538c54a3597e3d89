//! The HTTP front: REST in Upstash's dialect, health and metrics on `http-port`.
//!
//! The engine runs what is asked for, as it does for RESP connections: same table, ACL, limits, SLOWLOG,
//! MONITOR, CLIENT LIST and metrics. [`routes`] is the table of paths. docs/http.md describes the
//! dialect. Its source: <https://upstash.com/docs/redis/features/restapi>.

mod activity;
mod answer;
mod auth;
mod connection;
mod events;
mod feed;
mod guard;
mod listen;
mod loading;
mod operation;
mod page;
mod rest;
mod routes;
mod run;
mod served;
mod source;
pub(crate) mod state;
mod stream;
mod sync;

pub(super) use connection::open;
pub(crate) use listen::{accept, bind};
pub(super) use loading::answer_loading;
