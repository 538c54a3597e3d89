//! Channels and patterns, and who listens to them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use miso_protocol::glob;
use miso_protocol::reply::{Reply, Resp};
use parking_lot::RwLock;

use crate::clients::Client;
use crate::settings::Settings;

type Listeners = BTreeMap<u64, Arc<Client>>;

#[derive(Debug, Default)]
struct Tables {
    channels: HashMap<Box<[u8]>, Listeners>,
    patterns: HashMap<Box<[u8]>, Listeners>,
}

/// Who listens to what.
#[derive(Debug, Default)]
pub(crate) struct PubSub {
    tables: RwLock<Tables>,
    /// Whether anybody listens to anything: all that a write asks.
    pub(crate) listened: AtomicBool,
}

impl PubSub {
    fn change(&self, change: impl FnOnce(&mut Tables)) {
        let mut tables = self.tables.write();
        change(&mut tables);
        let listened = !tables.channels.is_empty() || !tables.patterns.is_empty();
        self.listened.store(listened, Ordering::Relaxed);
    }

    pub(crate) fn subscribe(&self, channel: &[u8], client: &Arc<Client>, pattern: bool) {
        self.change(|tables| {
            let table = if pattern { &mut tables.patterns } else { &mut tables.channels };
            table.entry(Box::from(channel)).or_default().insert(client.id, Arc::clone(client));
        });
    }

    pub(crate) fn unsubscribe(&self, channel: &[u8], client: u64, pattern: bool) {
        self.change(|tables| {
            let table = if pattern { &mut tables.patterns } else { &mut tables.channels };
            if let Some(listeners) = table.get_mut(channel) {
                listeners.remove(&client);
                if listeners.is_empty() {
                    table.remove(channel);
                }
            }
        });
    }

    /// Sends `message` to all who listen to `channel`; how many got it.
    pub(crate) fn publish(&self, channel: &[u8], message: &[u8], settings: &Settings) -> usize {
        let tables = self.tables.read();
        let limit = settings.output_limit(true);
        let mut got = 0;
        for client in tables.channels.get(channel).into_iter().flat_map(Listeners::values) {
            got += 1;
            client.send(&push(client, &[b"message", channel, message]), limit);
        }
        for (pattern, listeners) in &tables.patterns {
            if glob::matches(pattern, channel, false) {
                for client in listeners.values() {
                    got += 1;
                    client.send(&push(client, &[b"pmessage", pattern, channel, message]), limit);
                }
            }
        }
        got
    }

    /// The channels that somebody listens to and that match.
    pub(crate) fn channels(&self, pattern: Option<&[u8]>) -> Vec<Box<[u8]>> {
        let tables = self.tables.read();
        let wanted = |channel: &[u8]| pattern.is_none_or(|p| glob::matches(p, channel, false));
        tables.channels.keys().filter(|channel| wanted(channel)).cloned().collect()
    }

    /// How many listen to `channel` by its name.
    pub(crate) fn listeners(&self, channel: &[u8]) -> usize {
        self.tables.read().channels.get(channel).map_or(0, Listeners::len)
    }

    /// How many patterns somebody listens to.
    pub(crate) fn patterns(&self) -> usize {
        self.tables.read().patterns.len()
    }
}

fn push(client: &Client, parts: &[&[u8]]) -> Vec<u8> {
    let resp = if client.about.lock().resp == 3 { Resp::V3 } else { Resp::V2 };
    let mut out = Vec::new();
    let mut reply = Reply { out: &mut out, resp };
    reply.push(parts.len());
    parts.iter().for_each(|part| reply.bulk(part));
    out
}
