//! What nodes say to each other, in a few words each, for traces.

use bytes::Bytes;
use miso_protocol::peer::{self, message::Body};
use miso_store::crdt::{ReplicaId, Writers, batch};

/// The kinds of the messages in an envelope, or a part of one.
pub(crate) fn kinds(envelope: &Bytes) -> impl Iterator<Item = &'static str> {
    peer::open(envelope.clone()).flatten().filter_map(|message| message.body.as_ref().map(kind))
}

/// What a kind of message is called.
fn kind(body: &Body) -> &'static str {
    match body {
        Body::Hello(_) => "Hello",
        Body::Refusal(_) => "Refusal",
        Body::Heartbeat(_) => "Heartbeat",
        Body::Digest(_) => "Digest",
        Body::Records(_) => "Records",
        Body::Goodbye(_) => "Goodbye",
        Body::Challenge(_) => "Challenge",
        Body::Proof(_) => "Proof",
        Body::Piece(_) => "Piece",
        Body::Batch(_) => "Batch",
        Body::Ack(_) => "Ack",
        Body::Summary(_) => "Word",
        Body::Pull(_) => "Pull",
        Body::State(_) => "State",
        Body::Fetch(_) => "Fetch",
        Body::Fetched(_) => "Fetched",
        Body::Retire(_) => "Retire",
        Body::Grant(_) => "Grant",
        Body::Retired(_) => "Retired",
    }
}

/// Whether a kind is the overlay's, which counts on a link to be a stream.
pub(crate) fn is_of_overlay(kind: &str) -> bool {
    let kinds =
        ["Hello", "Refusal", "Heartbeat", "Digest", "Records", "Goodbye", "Challenge", "Proof"];
    kinds.contains(&kind)
}

/// The replicator's messages in an envelope, one line each; `name` is what writers are called.
pub(crate) fn describe(envelope: &Bytes, name: &dyn Fn(u64) -> String) -> Vec<String> {
    let messages = peer::open(envelope.clone()).flatten();
    messages.filter_map(|message| one(message.body?, name)).collect()
}

fn one(body: Body, name: &dyn Fn(u64) -> String) -> Option<String> {
    let vector = |vector: &Option<peer::Vector>| {
        let pairs = vector.as_ref().map(|v| v.writers.iter().zip(&v.lasts));
        let mut words: Vec<String> =
            pairs.into_iter().flatten().map(|(id, seq)| format!("{}:{seq}", name(*id))).collect();
        words.sort();
        format!("{{{}}}", words.join(" "))
    };
    let names = |writers: &[u64]| writers.iter().map(|id| name(*id)).collect::<Vec<_>>().join(" ");
    Some(match body {
        Body::Batch(m) => {
            let urgent = if m.urgent { ", urgent" } else { "" };
            format!("batch {}..{}{}{urgent}", m.first, m.last, changes(&m.changes, m.size))
        }
        Body::Ack(m) if m.durable > 0 => format!("ack {}, {} on disk", m.last, m.durable),
        Body::Ack(m) => format!("ack {}", m.last),
        Body::Summary(m) => format!(
            "summary {} keeps from {}{}{}{}{}",
            vector(&m.vector),
            m.kept_from,
            if m.answer { ", asks for the same" } else { "" },
            if m.digest.is_some() { ", with a digest" } else { "" },
            if m.question > 0 { ", for a first read" } else { "" },
            if m.answers > 0 { ", to a first read" } else { "" },
        ),
        Body::Pull(m) if m.taken > 0 => format!("pull {}: {} parts taken", m.id, m.taken),
        Body::Pull(m) if m.digests.is_empty() => {
            format!("pull {}: what is beyond {}", m.id, vector(&m.known))
        }
        Body::Pull(m) => format!("pull {}: by {} digests of buckets", m.id, m.digests.len()),
        Body::State(m) => {
            let knows = match &m.vector {
                Some(_) => format!(" {}", vector(&m.vector)),
                None => String::new(),
            };
            let kind = format!("{:?}", m.kind());
            format!("part {} of {}: {kind}{knows}{}", m.part, m.id, changes(&m.changes, m.size))
        }
        Body::Fetch(m) => format!("fetch {}", m.object.escape_ascii()),
        Body::Fetched(m) => {
            let found = if m.found { "found" } else { "not found" };
            let object = m.object.escape_ascii();
            format!("fetched {object}: {found}{}", changes(&m.changes, m.size))
        }
        Body::Retire(m) if m.over => "retire: given up".to_owned(),
        Body::Retire(m) => format!("retire {}?", names(&m.writers)),
        Body::Grant(m) if m.refused && m.living.is_empty() => "retire refused".to_owned(),
        Body::Grant(m) if m.refused => format!("retire refused: {} live", names(&m.living)),
        Body::Grant(m) => format!("retire granted, knowing {}", vector(&m.vector)),
        Body::Retired(m) => {
            format!("retired {} by event {}:{}", vector(&m.writers), name(m.by), m.event)
        }
        _ => return None,
    })
}

/// The names that changes are of, if they are not compressed.
fn changes(message: &Bytes, size: u32) -> String {
    if message.is_empty() {
        return String::new();
    }
    let mut writers = Writers::of(ReplicaId(0));
    match batch::read(message, 1 << 10, &mut writers) {
        Ok(read) if size == 0 => {
            let mut names: Vec<String> = read
                .iter()
                .map(|c| format!("{}/{}", c.object.escape_ascii(), c.name.escape_ascii()))
                .collect();
            names.sort();
            format!(" [{}]", names.join(" "))
        }
        _ => format!(" in {} bytes", message.len()),
    }
}
