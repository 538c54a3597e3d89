//! `/feed`: MISO.FEED as server-sent events. Each event has the cursor as its id, so a browser that lost
//! the connection goes on where it was.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use miso_protocol::request::Words;
use miso_protocol::rest::commands::query_word;
use miso_store::{FeedChanges, FeedCursor, Function};
use serde_json::{Map, Value, json};

use super::served::{Served, Speaker};
use super::source::{Source, Waiting};
use crate::commands::miso::feed::{COUNT_DEFAULT, count, cursor};
use crate::commands::miso::token;
use crate::engine::admit::check_room;
use crate::engine::context::check_name;
use crate::engine::error::CommandError;
use crate::engine::feed::{Change, Page, Reader, Told, page};
use crate::node::Node;
use crate::node::acl::user::User;

/// The header by which a browser says what it has heard last.
const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");

/// A reader of a function's changes.
struct Feed {
    node: Arc<Node>,
    function: Arc<Function>,
    count: usize,
    cursor: FeedCursor,
    /// What is to be told next.
    changes: Option<FeedChanges>,
}

/// Checks that a user may run a command.
///
/// # Errors
/// If it may not.
pub(super) fn check_command(
    node: &Node,
    user: Option<&User>,
    name: &str,
) -> Result<(), CommandError> {
    let Some(user) = user else { return Ok(()) };
    let number = node.table.find(name.as_bytes()).ok_or(CommandError::Internal)?;
    let mut words = Words::default();
    words.push(name.as_bytes());
    user.check((number, node.table.row(number)), None, words.args(0..1))
        .map_err(|denied| CommandError::text(denied.line(&name.to_ascii_lowercase())))
}

/// The stream that a request asks for.
///
/// # Errors
/// If a part of the query is not right, or the user may not read the function.
pub(super) fn open(
    served: &Arc<Served>,
    speaker: &mut Speaker,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<Box<dyn Source>, CommandError> {
    let node = Arc::clone(served.node());
    let word = |name: &str| query_word(query, name).map_err(CommandError::from);
    let session = &mut speaker.session;
    check_command(&node, session.user.as_deref(), "MISO.FEED")?;
    let own: Cow<'_, [u8]> = session.function_name().to_vec().into();
    let name = word("function")?.unwrap_or(own);
    if let Some(bound) = session.user.as_ref().and_then(|user| user.function())
        && *bound != *name
    {
        return Err(CommandError::OtherFunction(bound.into()));
    }
    check_name("function", &name)?;
    check_room(&node, &name)?;
    let last = headers.get(LAST_EVENT).map(HeaderValue::as_bytes).filter(|last| !last.is_empty());
    let after = match last {
        Some(last) => Some(Cow::Borrowed(last)),
        None => word("after")?,
    };
    let cursor = cursor(&name, after.as_deref().unwrap_or(b"$"))?;
    let count = word("count")?.map_or(Ok(COUNT_DEFAULT), |text| count(&text))?;
    // It runs here as long as its reader is there.
    if *session.function_name() != *name {
        session.set_function(&name);
    }
    let function = session.function();
    node.feeds.follow(&function);
    let cursor = cursor.unwrap_or_else(|| function.feed_end());
    // Says where the reader stands, before there is anything to tell.
    let first =
        FeedChanges { keys: Vec::new(), cursor: cursor.clone(), resync: false, more: false };
    Ok(Box::new(Feed { node, function, count, cursor, changes: Some(first) }))
}

impl Source for Feed {
    fn wait(mut self: Box<Self>) -> Waiting {
        Box::pin(async move {
            let (function, cursor) = (Arc::clone(&self.function), self.cursor.clone());
            let reader = Reader { function, cursor, count: self.count };
            let changes = reader.next(&self.node, None).await;
            self.changes = Some(changes);
            self as Box<dyn Source>
        })
    }

    fn tell(&mut self, user: Option<&User>) -> Option<String> {
        let bound = user.and_then(User::function);
        if bound.is_some_and(|bound| bound != self.function.name())
            || check_command(&self.node, user, "MISO.FEED").is_err()
        {
            return None;
        }
        let page = page(&self.function, self.changes.take()?, user);
        self.cursor = page.cursor.clone();
        Some(event(self.function.name(), &page))
    }
}

/// Changes as an event.
fn event(function: &[u8], page: &Page) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "id: {}", token::encode_cursor(function, &page.cursor));
    let changes: Vec<Value> = page.changes.iter().map(shown).collect();
    let data = json!({ "resync": page.resync, "more": page.more, "changes": changes });
    let _ = write!(text, "data: {data}\n\n");
    text
}

fn text(bytes: &[u8]) -> Value {
    Value::String(String::from_utf8_lossy(bytes).into_owned())
}

/// What a value reads as, as JSON. Bytes that are no UTF-8 become U+FFFD.
pub(super) fn told_as_json(told: &Told) -> Value {
    match told {
        Told::Gone => Value::Null,
        Told::Text(bytes) => text(bytes),
        Told::List(list) => Value::Array(list.iter().map(|member| text(member)).collect()),
        Told::Fields(fields) => {
            let name = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let fields = fields.iter().map(|(field, value)| (name(field), text(value)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Told::Size(size) => json!(size),
    }
}

/// A change as JSON.
fn shown(change: &Change) -> Value {
    json!({
        "object": text(&change.object),
        "name": text(&change.name),
        "type": change.kind.name(),
        "value": told_as_json(&change.value),
        "expires": change.expires,
    })
}
