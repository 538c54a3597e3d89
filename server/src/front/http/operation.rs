//! Health and metrics.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::header::{ACCEPT, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use miso_protocol::request::Words;
use miso_replication::{Answer, Ask};

use super::answer::{self, Body};
use super::run::Stop;
use super::served::{Served, Speaker};
use crate::engine::error::CommandError;
use crate::node::Node;
use crate::node::acl::user::User;
use crate::observe::metrics::{Format, print};
use crate::observe::reading::Reading;
use crate::peers;

/// How long replication may take to say what it sees; metrics come without it then.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const PROMETHEUS: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Whether the process is alive: it answers.
pub(super) fn health() -> Response<Body> {
    answer::with(StatusCode::OK, TEXT, "ok\n")
}

/// Whether the node is to be sent requests: it has recovered, listens, and has restored the functions
/// that were here first. A function that begins later does not take the node out of service.
pub(super) fn ready(served: &Served) -> Response<Body> {
    let (node, was_ready) = (served.node(), &served.front.http.was_ready);
    let why = if node.stopping.load(Ordering::Acquire) {
        Some("the node is stopping\n".to_owned())
    } else if was_ready.load(Ordering::Relaxed) {
        None
    } else {
        let functions = node.store.functions();
        let restoring = functions.iter().filter(|function| function.restoring()).count();
        was_ready.store(restoring == 0, Ordering::Relaxed);
        (restoring > 0).then(|| {
            format!("{restoring} of {} functions are being restored from peers\n", functions.len())
        })
    };
    match why {
        None => answer::with(StatusCode::OK, TEXT, "ready\n"),
        Some(why) => answer::with(StatusCode::SERVICE_UNAVAILABLE, TEXT, why),
    }
}

/// Checks that a user may see the figures of the whole node, as INFO shows them.
pub(super) fn check_reader(node: &Node, user: &User) -> Result<(), CommandError> {
    let table = &node.table;
    let number = table.find(b"INFO").ok_or(CommandError::Internal)?;
    let mut words = Words::default();
    words.push(b"INFO");
    if let Err(denied) = user.check((number, table.row(number)), None, words.args(0..1)) {
        return Err(CommandError::text(denied.line("info")));
    }
    match user.function() {
        Some(function) => Err(CommandError::OtherFunction(function.into())),
        None => Ok(()),
    }
}

/// All metrics, in the format that the scraper asks for. Without a token as the default user, if that
/// needs no password.
pub(super) async fn metrics(
    served: &Served,
    speaker: Option<Speaker>,
    headers: &HeaderMap,
) -> Result<Response<Body>, Stop> {
    let node = served.node();
    let user = match &speaker {
        Some(speaker) => speaker.session.user.clone(),
        None => node.acl.anonymous(),
    };
    check_reader(node, &*user.ok_or(CommandError::HttpNoToken)?)?;
    if let Some(speaker) = speaker {
        served.rest(speaker);
    }
    let accepted = headers.get(ACCEPT).map(HeaderValue::as_bytes).unwrap_or_default();
    let wanted = b"application/openmetrics-text";
    let (format, kind) = if accepted.windows(wanted.len()).any(|part| part == wanted) {
        (Format::OpenMetrics, OPEN_METRICS)
    } else {
        (Format::Prometheus, PROMETHEUS)
    };
    let nodes = match tokio::time::timeout(PATIENCE, peers::ask(node, Ask::Nodes)).await {
        Ok(Answer::Nodes(nodes)) => nodes,
        _ => Vec::new(),
    };
    let page = print(&Reading::new(node, &nodes), format);
    Ok(answer::with(StatusCode::OK, kind, page))
}
