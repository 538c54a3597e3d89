//! Channels, patterns and shard channels, and the clients that are subscribed to them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use miso_protocol::glob;
use miso_protocol::reply::{Reply, Resp};
use miso_store::Store;
use parking_lot::RwLock;

use crate::node::clients::Client;
use crate::node::subscriptions::{ChannelKind, PerKind};
use crate::settings::Settings;

type Listeners = BTreeMap<u64, Arc<Client>>;

type Table = HashMap<Box<[u8]>, Listeners>;

/// Which subscribers a message is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Audience<'a> {
    /// Those whose user is not bound to another function than this one.
    MayHearOf(&'a [u8]),
    /// Those that speak for this function.
    Clients(&'a [u8]),
}

impl Audience<'_> {
    fn has(self, client: &Client) -> bool {
        match self {
            Audience::MayHearOf(function) => client.may_hear_of(function),
            Audience::Clients(owner) => *client.about.lock().function == *owner,
        }
    }
}

/// All subscriptions of this node.
#[derive(Debug)]
pub(crate) struct PubSub {
    tables: RwLock<PerKind<Table>>,
    /// Is told whether any client is subscribed to a channel or a pattern, or caches.
    store: Arc<Store>,
    /// Whether any client caches.
    tracked: AtomicBool,
}

impl PubSub {
    pub(crate) fn new(store: Arc<Store>) -> PubSub {
        PubSub { tables: RwLock::default(), store, tracked: AtomicBool::new(false) }
    }

    fn change(&self, kind: ChannelKind, change: impl FnOnce(&mut Table)) {
        let mut tables = self.tables.write();
        change(tables.of_mut(kind));
        // Changes of objects are published to channels and patterns, not to shard channels.
        let plain = [ChannelKind::Channel, ChannelKind::Pattern];
        let listened = plain.iter().any(|kind| !tables.of(*kind).is_empty());
        self.store.listen(listened || self.tracked.load(Ordering::Relaxed));
    }

    /// Says whether any client caches: it is to be told of changes, too.
    pub(crate) fn set_tracked(&self, tracked: bool) {
        self.tracked.store(tracked, Ordering::Relaxed);
        self.change(ChannelKind::Channel, |_| {});
    }

    /// Whether any client is subscribed to a channel or a pattern.
    pub(crate) fn is_listened_to(&self) -> bool {
        self.store.is_listened_to()
    }

    pub(crate) fn subscribe(&self, kind: ChannelKind, channel: &[u8], client: &Arc<Client>) {
        self.change(kind, |table| {
            table.entry(Box::from(channel)).or_default().insert(client.id, Arc::clone(client));
        });
    }

    pub(crate) fn unsubscribe(&self, kind: ChannelKind, channel: &[u8], client: u64) {
        self.change(kind, |table| {
            if let Some(listeners) = table.get_mut(channel) {
                listeners.remove(&client);
                if listeners.is_empty() {
                    table.remove(channel);
                }
            }
        });
    }

    /// Sends `message` to all subscribers of `channel`, and of patterns that match it. Returns to how
    /// many.
    pub(crate) fn publish(
        &self,
        channel: &[u8],
        message: &[u8],
        to: Audience<'_>,
        settings: &Settings,
    ) -> usize {
        let tables = self.tables.read();
        let limit = settings.output_limit(true);
        let mut got = 0;
        let mut send = |client: &Client, parts: &[&[u8]]| {
            if to.has(client) {
                got += 1;
                client.send(&push(client, parts), limit);
            }
        };
        for client in listeners(&tables, ChannelKind::Channel, channel) {
            send(client, &[b"message", channel, message]);
        }
        for (pattern, listeners) in tables.of(ChannelKind::Pattern) {
            if glob::matches(pattern, channel, false) {
                let parts = [&b"pmessage"[..], pattern, channel, message];
                listeners.values().for_each(|client| send(client, &parts));
            }
        }
        got
    }

    /// The clients with a subscription that `allowed` does not allow.
    pub(crate) fn refused(
        &self,
        allowed: impl Fn(&Client, ChannelKind, &[u8]) -> bool,
    ) -> Vec<Arc<Client>> {
        let tables = self.tables.read();
        let mut refused = BTreeMap::new();
        for (kind, table) in tables.each() {
            for (channel, listeners) in table {
                let without = listeners.values().filter(|client| !allowed(client, kind, channel));
                refused.extend(without.map(|client| (client.id, Arc::clone(client))));
            }
        }
        refused.into_values().collect()
    }

    /// Sends `message` to the subscribers of a shard channel. Returns to how many.
    pub(crate) fn publish_sharded(
        &self,
        channel: &[u8],
        message: &[u8],
        to: Audience<'_>,
        settings: &Settings,
    ) -> usize {
        let tables = self.tables.read();
        let limit = settings.output_limit(true);
        let listeners = listeners(&tables, ChannelKind::Shard, channel);
        let listeners = listeners.filter(|client| to.has(client));
        let send = |client: &Arc<Client>| {
            client.send(&push(client, &[b"smessage", channel, message]), limit);
        };
        listeners.inspect(|client| send(client)).count()
    }

    /// The channels of a kind that have a subscriber in the function `owner` and match.
    pub(crate) fn channels(
        &self,
        kind: ChannelKind,
        pattern: Option<&[u8]>,
        owner: &[u8],
    ) -> Vec<Box<[u8]>> {
        let (tables, to) = (self.tables.read(), Audience::Clients(owner));
        let wanted = |channel: &[u8]| pattern.is_none_or(|p| glob::matches(p, channel, false));
        let heard = |all: &Listeners| all.values().any(|client| to.has(client));
        let all = tables.of(kind).iter().filter(|(channel, all)| wanted(channel) && heard(all));
        all.map(|(channel, _)| channel.clone()).collect()
    }

    /// How many clients of the function `owner` are subscribed to `channel` by its name.
    pub(crate) fn listeners(&self, kind: ChannelKind, channel: &[u8], owner: &[u8]) -> usize {
        let to = Audience::Clients(owner);
        listeners(&self.tables.read(), kind, channel).filter(|client| to.has(client)).count()
    }

    /// How many channels, patterns and shard channels have a subscriber.
    pub(crate) fn counts(&self) -> PerKind<usize> {
        self.tables.read().map(Table::len)
    }
}

fn listeners<'a>(
    tables: &'a PerKind<Table>,
    kind: ChannelKind,
    channel: &[u8],
) -> impl Iterator<Item = &'a Arc<Client>> {
    tables.of(kind).get(channel).into_iter().flat_map(Listeners::values)
}

fn push(client: &Client, parts: &[&[u8]]) -> Vec<u8> {
    let resp = if client.about.lock().resp == 3 { Resp::V3 } else { Resp::V2 };
    let mut out = Vec::new();
    let mut reply = Reply::new(&mut out, resp);
    reply.push(parts.len());
    parts.iter().for_each(|part| reply.bulk(part));
    out
}
