//! RESP: requests, replies, and what a command is.
//!
//! - [`request`] cuts a connection's bytes into arguments; [`reply`] writes answers.
//! - [`rest`]: the same over HTTP, in Upstash's dialect.
//! - [`command`] says what a row of the command table is and derives what follows from it: arity,
//!   keys, secrets, flags, ACL categories, how it merges. [`introspect`] answers `COMMAND` from it,
//!   [`mod@reference`] writes the reference and the compatibility page; that page also shows
//!   [`differences`] from Redis's answers, and the [`applications`] that the tests run.
//! - [`integer`] and [`glob`] read numbers and patterns exactly as Redis does.
//!
//! - [`peer`]: what nodes say to each other; [`chunks`]: how it is cut on its way; [`names`]: what a
//!   function, a replica and a node may be called.
//!
//! No I/O, no runtime, and nothing of what the commands do.
#![forbid(unsafe_code)]

pub mod applications;
pub mod chunks;
pub mod command;
pub mod differences;
pub mod glob;
pub mod integer;
pub mod introspect;
pub mod names;
pub mod peer;
pub mod reference;
pub mod reply;
pub mod request;
pub mod rest;
