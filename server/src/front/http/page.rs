//! The live page at `/`, and `/events`, on which it lives: once a second, all that it shows as one event.
//!
//! What the node knows itself is shown: of a value, what it reads as here; of each other node, how much of
//! what this node wrote it has acknowledged. To see the value as another node reads it, that node's page
//! is opened.

use std::sync::Arc;
use std::time::Duration;

use hyper::Response;
use hyper::StatusCode;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY};
use miso_protocol::rest::commands::query_word;
use miso_replication::{Answer, Ask, FunctionView, Liveness, NodeView};
use miso_store::crdt::{Type, Value as State, Writers, plain};
use miso_store::{Function, Slot};
use serde_json::{Value, json};

use super::answer::{self, Body};
use super::feed::told_as_json;
use super::operation::check_reader;
use super::source::{Source, Waiting};
use crate::engine::error::CommandError;
use crate::engine::feed::tell;
use crate::node::Node;
use crate::node::acl::user::User;
use crate::observe::reading::Reading;
use crate::peers;

/// How often the page is told how things are.
const EVERY: Duration = Duration::from_secs(1);
/// How long replication may take to say what it sees.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many objects are shown that are written most.
const TOP: usize = 10;
/// How many names of the open object are shown.
const NAMES: usize = 100;
/// How many functions are shown.
const FUNCTIONS: usize = 200;

/// A part of the page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    Page,
    Style,
    Script,
    Icon,
}

/// What the page may load: its own parts and nothing else.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
const NO_SNIFFING: HeaderName = HeaderName::from_static("x-content-type-options");

/// Answers with a part of the page. It holds nothing of the node's, so it needs no token.
pub(super) fn part(part: Part) -> Response<Body> {
    let (kind, text) = match part {
        Part::Page => ("text/html; charset=utf-8", include_str!("page/index.html")),
        Part::Style => ("text/css; charset=utf-8", include_str!("page/page.css")),
        Part::Script => ("text/javascript; charset=utf-8", include_str!("page/page.js")),
        Part::Icon => ("image/svg+xml", include_str!("page/page.svg")),
    };
    let mut response = answer::with(StatusCode::OK, HeaderValue::from_static(kind), text);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(NO_SNIFFING, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// What an open page is told.
struct Live {
    node: Arc<Node>,
    /// The function and the object that are open.
    opened: Option<(Vec<u8>, Vec<u8>)>,
    nodes: Vec<NodeView>,
    functions: Vec<FunctionView>,
    /// Whether it has been told anything.
    has_begun: bool,
}

/// The stream that a page lives on.
///
/// # Errors
/// If the query is badly encoded, or the user may not see the whole node.
pub(super) fn open(
    node: &Arc<Node>,
    user: Option<&User>,
    query: Option<&str>,
) -> Result<Box<dyn Source>, CommandError> {
    check_reader(node, user.ok_or(CommandError::HttpNoToken)?)?;
    let function = query_word(query, "function")?.map(std::borrow::Cow::into_owned);
    let object = query_word(query, "object")?.map(std::borrow::Cow::into_owned);
    node.top.watch(true);
    node.monitors.set_sampling(true);
    Ok(Box::new(Live {
        node: Arc::clone(node),
        opened: function.zip(object),
        nodes: Vec::new(),
        functions: Vec::new(),
        has_begun: false,
    }))
}

impl Drop for Live {
    fn drop(&mut self) {
        self.node.top.watch(false);
        self.node.monitors.set_sampling(self.node.top.is_watched());
    }
}

impl Source for Live {
    fn wait(mut self: Box<Self>) -> Waiting {
        Box::pin(async move {
            if self.has_begun {
                tokio::time::sleep(EVERY).await;
            }
            self.has_begun = true;
            let asked = async {
                let nodes = peers::ask(&self.node, Ask::Nodes).await;
                (nodes, peers::ask(&self.node, Ask::Functions).await)
            };
            // A replication that does not answer shows as what was known last.
            if let Ok((Answer::Nodes(nodes), Answer::Functions(functions))) =
                tokio::time::timeout(PATIENCE, asked).await
            {
                (self.nodes, self.functions) = (nodes, functions);
            }
            self as Box<dyn Source>
        })
    }

    fn tell(&mut self, user: Option<&User>) -> Option<String> {
        check_reader(&self.node, user?).ok()?;
        // There is nothing to tell before replication was asked.
        if self.nodes.is_empty() {
            return Some(String::new());
        }
        let object = self.opened.as_ref().and_then(|(function, object)| {
            let may = user?.may_use(object, miso_protocol::command::KeyFlags::READ);
            let function = self.node.store.find(function).filter(|_| may)?;
            show_object(&function, object, &self.nodes)
        });
        Some(format!("data: {}\n\n", self.state(object)))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Live {
    /// All that the page shows.
    fn state(&self, object: Option<Value>) -> Value {
        let node = &*self.node;
        let reading = Reading::new(node, &self.nodes);
        let top = node.top.most(TOP).into_iter().map(|((function, object), writes)| {
            json!({ "function": text(&function), "object": text(&object), "writes": writes })
        });
        json!({
            "node": node.node_name(),
            "cluster": node.settings.cluster_name(),
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_ms": node.uptime_ms(),
            "clients": node.clients.list().len(),
            "commands": reading.rates().commands,
            "propagation": reading.propagation().buckets,
            "nodes": self.nodes.iter().enumerate().map(show_node).collect::<Vec<_>>(),
            "functions": self.functions(),
            "top": top.collect::<Vec<_>>(),
            "object": object,
        })
    }

    fn functions(&self) -> Vec<Value> {
        let functions = self.node.store.functions();
        let shown = functions.iter().take(FUNCTIONS).map(|function| {
            let view = self.functions.iter().find(|view| view.function == function.name());
            json!({
                "name": text(function.name()),
                "objects": function.object_count(),
                "copies": view.map_or(1, |view| view.copies),
                "restoring": function.restoring(),
            })
        });
        shown.collect()
    }
}

fn show_node((at, node): (usize, &NodeView)) -> Value {
    let state = match node.liveness {
        Liveness::Alive => "alive",
        Liveness::Suspect => "suspect",
        Liveness::Dead => "dead",
        Liveness::Left => "left",
    };
    json!({
        "name": node.name,
        "self": at == 0,
        "state": state,
        "linked": node.linked,
        "lag_ms": node.lag_ms,
        "lag_events": node.lag_events,
        "runs": node.functions.iter().map(|(name, _)| text(name)).collect::<Vec<_>>(),
        "holds": node.holds.iter().map(|name| text(name)).collect::<Vec<_>>(),
    })
}

/// An object: its names, and of each what it reads as here and how much of what this node wrote the other
/// nodes lack.
fn show_object(function: &Function, object: &[u8], nodes: &[NodeView]) -> Option<Value> {
    let hash = miso_store::hash(object);
    let shard = function.lock(function.shard_of(hash));
    let held = shard.object(hash, object)?;
    let (now, writers) = (function.now(), shard.writers());
    let mut names: Vec<(&[u8], &Slot)> = held.iter().take(NAMES).collect();
    names.sort_unstable_by_key(|(name, _)| *name);
    let shown = names.into_iter().filter_map(|(name, slot)| {
        let value = slot.value_at(now, writers)?;
        let waits = nodes.iter().skip(1).filter_map(|node| {
            let mut acknowledged = node.acknowledged.iter();
            let (_, upto, _) = acknowledged.find(|(name, ..)| name == function.name())?;
            Some((node.name.clone(), waits(function, slot, *upto)))
        });
        Some(json!({
            "name": text(name),
            "types": slot.types().map(Type::name).collect::<Vec<_>>(),
            "value": told_as_json(&tell(value, now, writers)),
            "values": concurrent(value, now, writers),
            "waits": waits.collect::<serde_json::Map<_, _>>(),
        }))
    });
    Some(json!({ "names": shown.collect::<Vec<_>>() }))
}

/// How many updates of this node a value is made of that come after its first `upto` ones, and how many
/// others do.
fn waits(function: &Function, slot: &Slot, upto: u64) -> Value {
    let mut updates = 0u64;
    for value in slot.values() {
        value.each_dot(|dot| {
            updates += u64::from(dot.writer() == function.writer() && dot.seq() > upto);
        });
    }
    json!({ "updates": updates, "others": function.seq().saturating_sub(upto) })
}

/// The values that nodes have set without knowing of each other's, if there is more than one.
fn concurrent(value: &State, now: u64, writers: &Writers) -> Vec<String> {
    let values: Vec<String> = match value {
        State::MvRegister(_) => match value.show(writers) {
            miso_store::crdt::Shown::List(list) => list.iter().map(|value| text(value)).collect(),
            _ => Vec::new(),
        },
        State::PlainString(string) if plain::exists(value, now, writers) => {
            string.values(now, writers).iter().map(|value| text(value)).collect()
        }
        _ => Vec::new(),
    };
    if values.len() > 1 { values } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_loads_nothing_from_elsewhere() {
        let page = include_str!("page/index.html");
        let script = include_str!("page/page.js");
        let style = include_str!("page/page.css");
        for (name, text) in [("index.html", page), ("page.css", style)] {
            assert!(!text.contains("://") && !text.contains("@import"), "{name}");
            assert!(!text.contains(" style=") && !text.contains(" onclick"), "{name}");
        }
        for unsafe_way in ["innerHTML", "insertAdjacentHTML", "eval(", "document.write", "https:"] {
            assert!(!script.contains(unsafe_way), "{unsafe_way}");
        }
        for id in script.split("byId('").skip(1).filter_map(|rest| rest.split('\'').next()) {
            assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
        }
    }
}
