//! Keyspace events: what happens to plain keys, published under Redis's names to the clients of their function.

use miso_protocol::names;
use miso_store::{Ended, Function, Shown, hash};

use crate::node::Node;
use crate::node::pubsub::Audience;
use crate::settings::notify::Events;

/// What a write is called that no command of this node did, by the type of what is there after it.
fn general(shown: Shown<'_>) -> Option<(Events, &'static str)> {
    use miso_store::crdt::Type;
    let Shown::Plain(value) = shown else { return None };
    Some(match value.kind() {
        Type::PlainHash => (Events::HASH, "hset"),
        Type::PlainSet => (Events::SET, "sadd"),
        Type::PlainZSet => (Events::ZSET, "zadd"),
        Type::Hll => (Events::STRING, "pfadd"),
        _ => (Events::STRING, "set"),
    })
}

impl Node {
    /// Publishes an event of a key in the database that is stored as `function`, if its class is wanted.
    pub(crate) fn tell_event(&self, function: &[u8], class: Events, event: &str, key: &[u8]) {
        let wanted = self.settings.notify();
        if !wanted.has(class) {
            return;
        }
        let (owner, database) = names::split_database(function);
        let (event, to) = (event.as_bytes(), Audience::Clients(owner));
        if wanted.has(Events::BY_KEY) {
            let channel = [format!("__keyspace@{database}__:").as_bytes(), key].concat();
            self.pubsub.publish(&channel, event, to, &self.settings);
        }
        if wanted.has(Events::BY_EVENT) {
            let channel = [format!("__keyevent@{database}__:").as_bytes(), event].concat();
            self.pubsub.publish(&channel, key, to, &self.settings);
        }
    }

    /// Publishes what another node did to a key, of which neither its commands nor their order are known here:
    /// the usual write of its type, or that it is gone. `was` says whether the key was there before.
    pub(crate) fn tell_merged(&self, function: &Function, key: &[u8], was: bool) {
        if !self.settings.notify().any() {
            return;
        }
        let hash = hash(key);
        let shard = function.lock(function.shard_of(hash));
        let shown = shard.shown(hash, key, function.now());
        let (is, event) = (shown.is_some(), shown.and_then(general));
        drop(shard);
        if is && !was {
            self.tell_event(function.name(), Events::NEW, "new", key);
        }
        match event {
            Some((class, event)) => self.tell_event(function.name(), class, event, key),
            None if was && !is => self.tell_event(function.name(), Events::GENERIC, "del", key),
            None => {}
        }
    }

    /// Publishes that a key has expired, or fields of a hash, as Redis does: a hash without fields is deleted.
    pub(crate) fn tell_expired(&self, function: &Function, key: &[u8], what: Ended) {
        if !self.settings.notify().any() {
            return;
        }
        let name = function.name();
        if what == Ended::Key {
            return self.tell_event(name, Events::EXPIRED, "expired", key);
        }
        self.tell_event(name, Events::HASH, "hexpired", key);
        if what == Ended::LastFields {
            self.tell_event(name, Events::GENERIC, "del", key);
        }
    }
}
