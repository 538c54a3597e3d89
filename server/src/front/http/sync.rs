//! Sync tokens: an answer says what its client may have seen, and a request that says so is answered by
//! any node only once that node knows as much.
//!
//! A token is that of `MISO.TOKEN`. It covers the session's function alone, so what is written to other
//! functions delays nothing.

use std::time::Instant;

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use miso_protocol::names;
use miso_replication::{Answer, Ask};
use miso_store::Vector;

use super::run::Stop;
use super::served::{Served, Speaker};
use crate::commands::miso::token;
use crate::engine::admit::check_room;
use crate::engine::error::CommandError;
use crate::peers;

/// The header of requests and answers.
pub(super) const HEADER: HeaderName = HeaderName::from_static("upstash-sync-token");

/// The most writers that a token names; a function that has more of them gives out none. Then it is at
/// most some 5 KB long, which callers take in a header.
const WRITERS: usize = 256;

/// What a request asks this node to know: a function and its events. None if it asks for nothing.
///
/// # Errors
/// If the header holds no token.
pub(super) fn asked(headers: &HeaderMap) -> Result<Option<(Vec<u8>, Vector)>, CommandError> {
    let Some(text) = headers.get(HEADER).filter(|text| !text.is_empty()) else { return Ok(None) };
    let bad = || CommandError::HttpHeader("Upstash-Sync-Token".into(), "one of an answer".into());
    token::decode(text.as_bytes()).map(Some).ok_or_else(bad)
}

/// Waits until this node knows what a request asks for, if that is of the session's function.
///
/// # Errors
/// If it does not know it in time.
pub(super) async fn reach(
    served: &Served,
    speaker: &mut Speaker,
    (name, vector): (Vec<u8>, Vector),
) -> Result<(), Stop> {
    let node = served.node();
    let session = &mut speaker.session;
    let (owner, database) = names::split_database(&name);
    if session.owner() != owner || database >= node.settings.databases() {
        return Ok(());
    }
    // Without it, peers would not be asked for what they hold.
    check_room(node, &name)?;
    session.select(database);
    let covers = session.function().covers(&vector);
    session.select(0);
    if covers {
        return Ok(());
    }
    let until = Instant::now().checked_add(node.settings.http_sync_timeout());
    let function = Bytes::from(name);
    let ask = |until| Ask::Await {
        function: function.clone(),
        vector: vector.clone(),
        until: Some(until),
    };
    let reached = Answer::Reached(true);
    if peers::ask_until(node, until, ask, |answer| *answer == reached).await == reached {
        Ok(())
    } else {
        Err(CommandError::HttpSync.into())
    }
}

/// What the client of a session may have seen; none if that is nothing, or too much for a header.
pub(super) fn of(served: &Served, speaker: &Speaker) -> Option<HeaderValue> {
    let name = speaker.session.function_name();
    let vector = match &speaker.session.function {
        Some(function) => function.token(),
        None => served.node().store.find(name)?.token(),
    };
    if vector.is_empty() || vector.len() > WRITERS {
        return None;
    }
    HeaderValue::try_from(token::encode(name, &vector)).ok()
}
