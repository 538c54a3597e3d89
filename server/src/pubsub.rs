//! Channels, patterns and shard channels, and who listens to them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use miso_protocol::glob;
use miso_protocol::reply::{Reply, Resp};
use miso_store::Store;
use parking_lot::RwLock;

use crate::clients::Client;
use crate::settings::Settings;

type Listeners = BTreeMap<u64, Arc<Client>>;

/// What may be listened to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A channel, by its name.
    Channel,
    /// All channels that match a pattern.
    Pattern,
    /// A shard channel: names of their own, which no pattern reaches. A node is its whole cluster's
    /// keyspace, so every one of them is here.
    Shard,
}

/// One of something for each kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Each<T>([T; 3]);

impl<T> Each<T> {
    pub(crate) fn of(&self, kind: Kind) -> &T {
        &self.0[kind as usize]
    }

    pub(crate) fn of_mut(&mut self, kind: Kind) -> &mut T {
        &mut self.0[kind as usize]
    }

    pub(crate) fn map<U>(&self, count: impl FnMut(&T) -> U) -> Each<U> {
        Each(self.0.each_ref().map(count))
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = (Kind, &T)> {
        [Kind::Channel, Kind::Pattern, Kind::Shard].into_iter().zip(&self.0)
    }
}

impl Each<usize> {
    /// How many there are in all.
    pub(crate) fn sum(&self) -> usize {
        self.0.iter().sum()
    }
}

type Table = HashMap<Box<[u8]>, Listeners>;

/// Who listens to what.
#[derive(Debug)]
pub(crate) struct PubSub {
    tables: RwLock<Each<Table>>,
    /// Is told whether anybody listens to anything.
    store: Arc<Store>,
}

impl PubSub {
    pub(crate) fn new(store: Arc<Store>) -> PubSub {
        PubSub { tables: RwLock::default(), store }
    }

    fn change(&self, kind: Kind, change: impl FnOnce(&mut Table)) {
        let mut tables = self.tables.write();
        change(tables.of_mut(kind));
        // Changes of objects are told to channels and patterns alone.
        let plain = [Kind::Channel, Kind::Pattern];
        let listened = plain.iter().any(|kind| !tables.of(*kind).is_empty());
        self.store.listen(listened);
    }

    pub(crate) fn subscribe(&self, kind: Kind, channel: &[u8], client: &Arc<Client>) {
        self.change(kind, |table| {
            table.entry(Box::from(channel)).or_default().insert(client.id, Arc::clone(client));
        });
    }

    pub(crate) fn unsubscribe(&self, kind: Kind, channel: &[u8], client: u64) {
        self.change(kind, |table| {
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
        for client in listeners(&tables, Kind::Channel, channel) {
            got += 1;
            client.send(&push(client, &[b"message", channel, message]), limit);
        }
        for (pattern, listeners) in tables.of(Kind::Pattern) {
            if glob::matches(pattern, channel, false) {
                for client in listeners.values() {
                    got += 1;
                    client.send(&push(client, &[b"pmessage", pattern, channel, message]), limit);
                }
            }
        }
        got
    }

    /// Sends `message` to all who listen to the shard channel; how many got it.
    pub(crate) fn publish_sharded(
        &self,
        channel: &[u8],
        message: &[u8],
        settings: &Settings,
    ) -> usize {
        let tables = self.tables.read();
        let limit = settings.output_limit(true);
        let listeners = listeners(&tables, Kind::Shard, channel);
        let send = |client: &Arc<Client>| {
            client.send(&push(client, &[b"smessage", channel, message]), limit);
        };
        listeners.inspect(|client| send(client)).count()
    }

    /// The channels of a kind that somebody listens to and that match.
    pub(crate) fn channels(&self, kind: Kind, pattern: Option<&[u8]>) -> Vec<Box<[u8]>> {
        let tables = self.tables.read();
        let wanted = |channel: &[u8]| pattern.is_none_or(|p| glob::matches(p, channel, false));
        tables.of(kind).keys().filter(|channel| wanted(channel)).cloned().collect()
    }

    /// How many listen to `channel` by its name.
    pub(crate) fn listeners(&self, kind: Kind, channel: &[u8]) -> usize {
        listeners(&self.tables.read(), kind, channel).count()
    }

    /// How many channels, patterns and shard channels somebody listens to.
    pub(crate) fn counts(&self) -> Each<usize> {
        self.tables.read().map(Table::len)
    }
}

fn listeners<'a>(
    tables: &'a Each<Table>,
    kind: Kind,
    channel: &[u8],
) -> impl Iterator<Item = &'a Arc<Client>> {
    tables.of(kind).get(channel).into_iter().flat_map(Listeners::values)
}

fn push(client: &Client, parts: &[&[u8]]) -> Vec<u8> {
    let resp = if client.about.lock().resp == 3 { Resp::V3 } else { Resp::V2 };
    let mut out = Vec::new();
    let mut reply = Reply { out: &mut out, resp };
    reply.push(parts.len());
    parts.iter().for_each(|part| reply.bulk(part));
    out
}
