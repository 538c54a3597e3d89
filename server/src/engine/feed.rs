//! Reading changes of a function: what MISO.FEED answers and what `/feed` tells.

use std::sync::Arc;
use std::time::{Duration, Instant};

use miso_protocol::command::KeyFlags;
use miso_store::crdt::{self, Type, Value, Writers, plain};
use miso_store::{FeedChanges, FeedCursor, FeedKey, Function};

use crate::node::Node;
use crate::node::acl::user::User;

/// A value of more members or fields is not told: only how many there are.
const PARTS: usize = 128;
/// A longer text is not told: only how long it is.
const TEXT: usize = 64 << 10;

/// How often a node without replication looks for changes.
const LOOK: Duration = Duration::from_millis(20);

/// What a value reads as, for a reader of changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    /// It has gone.
    Gone,
    /// A text: a counter's number, a flag's 1 or 0, a string.
    Text(Vec<u8>),
    /// Members of a set, or the concurrent values of a register.
    List(Vec<Vec<u8>>),
    /// Fields of a map or a hash, or members of a sorted set and their scores.
    Fields(Vec<(Vec<u8>, Vec<u8>)>),
    /// It is too much to be told: how long it is, or how many members or fields it has.
    Size(usize),
}

/// A value that has changed, as it is now.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) object: Box<[u8]>,
    pub(crate) name: Box<[u8]>,
    pub(crate) kind: Type,
    pub(crate) value: Told,
    /// When a plain key expires, in milliseconds since 1970; none if it does not.
    pub(crate) expires: Option<u64>,
}

/// What a reader is told at once.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) cursor: FeedCursor,
    pub(crate) resync: bool,
    pub(crate) more: bool,
    pub(crate) changes: Vec<Change>,
}

/// A reader of the changes of one function.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    pub(crate) function: Arc<Function>,
    pub(crate) cursor: FeedCursor,
    /// About how many changes it wants at once.
    pub(crate) count: usize,
}

impl Reader {
    /// The next changes; waits for some until `until`, without a time for ever.
    pub(crate) async fn next(self, node: &Node, until: Option<Instant>) -> FeedChanges {
        let Reader { function, mut cursor, count } = self;
        let is_alone = node.peers.get().is_none();
        loop {
            let news = node.feeds.follow(&function);
            let mut woken = std::pin::pin!(news.notified());
            woken.as_mut().enable();
            if is_alone {
                function.take_batch();
            }
            // It is followed, unless it has been forgotten just now.
            let Some(changes) = function.changes(cursor.clone(), count) else { continue };
            let is_over = until.is_some_and(|until| until <= Instant::now());
            if !changes.keys.is_empty() || changes.resync || (is_over && !changes.more) {
                return changes;
            }
            cursor = changes.cursor;
            if changes.more {
                tokio::task::yield_now().await;
                continue;
            }
            // Well before it would be forgotten.
            let look = Instant::now() + if is_alone { LOOK } else { Duration::from_secs(10) };
            let until = until.map_or(look, |until| until.min(look));
            let _ = tokio::time::timeout_at(until.into(), woken).await;
        }
    }
}

/// Looks up what has changed, as far as `user` may read it.
pub(crate) fn page(function: &Function, changes: FeedChanges, user: Option<&User>) -> Page {
    let FeedChanges { keys, cursor, resync, more } = changes;
    let may = |key: &FeedKey| user.is_none_or(|user| user.may_use(&key.object, KeyFlags::READ));
    let changes = keys.into_iter().filter(may).map(|key| change(function, key)).collect();
    Page { cursor, resync, more, changes }
}

fn change(function: &Function, key: FeedKey) -> Change {
    let FeedKey { object, name, kind } = key;
    let hash = miso_store::hash(&object);
    let mut shard = function.lock(function.shard_of(hash));
    shard.show();
    let now = function.now();
    let writers = shard.writers();
    let found = shard.slot(hash, &object, &name).and_then(|slot| slot.value_at(now, writers));
    let (kind, value, expires) = match found {
        None => (kind, Told::Gone, None),
        Some(value) => {
            let expires = plain::deadline(value, now, writers);
            let expires = expires.filter(|at| *at != plain::FOREVER);
            (value.kind(), tell(value, now, writers), expires)
        }
    };
    drop(shard);
    Change { object, name, kind, value, expires }
}

/// What a value reads as at `now`.
pub(crate) fn tell(value: &Value, now: u64, writers: &Writers) -> Told {
    let size = value.parts();
    if size > PARTS {
        return Told::Size(size);
    }
    let told = match value {
        Value::PlainString(string) => {
            string.get(now, writers).map_or(Told::Gone, |text| Told::Text(text.into_owned()))
        }
        Value::PlainHash(hash) => {
            let fields = hash.fields(now, writers);
            Told::Fields(fields.map(|(name, text)| (name.into(), text.into_owned())).collect())
        }
        Value::PlainSet(set) => {
            Told::List(set.iter(now, writers).map(|(member, _)| member.into()).collect())
        }
        Value::PlainZSet(zset) => {
            let score = |member: &[u8]| {
                let score = zset.score(member, now, writers).unwrap_or_default();
                (member.to_vec(), score.to_string().into_bytes())
            };
            Told::Fields(zset.iter(now, writers).map(|(member, _)| score(member)).collect())
        }
        Value::Hll(hll) => {
            let count = hll.registers(now, writers).map_or(0, |registers| registers.count());
            Told::Text(count.to_string().into_bytes())
        }
        value => match value.show(writers) {
            crdt::Shown::Text(text) => Told::Text(text),
            crdt::Shown::List(list) => Told::List(list),
            crdt::Shown::Fields(fields) => Told::Fields(fields),
        },
    };
    sorted(told)
}

/// Members and fields bytewise in order; what is too long is left out.
fn sorted(told: Told) -> Told {
    let told = match told {
        Told::List(mut list) => {
            list.sort_unstable();
            Told::List(list)
        }
        Told::Fields(mut fields) => {
            fields.sort_unstable();
            Told::Fields(fields)
        }
        told => told,
    };
    let (length, parts) = match &told {
        Told::Text(text) => (text.len(), text.len()),
        Told::List(list) => (list.iter().map(Vec::len).sum(), list.len()),
        Told::Fields(fields) => (fields.iter().map(|(a, b)| a.len() + b.len()).sum(), fields.len()),
        Told::Gone | Told::Size(_) => (0, 0),
    };
    if length > TEXT { Told::Size(parts) } else { told }
}
