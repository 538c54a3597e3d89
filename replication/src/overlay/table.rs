//! What is known of nodes: the newest record of each, by name, and which have been forgotten.
//!
//! Of two records of one name the greater (generation, version) wins, so tables that exchange what
//! differs become equal. Of a forgotten node its generation is kept for a while: records up to that
//! generation are not believed again.

use std::collections::BTreeMap;
use std::time::Duration;

use miso_protocol::peer::digest::Entry;
use miso_protocol::peer::{Digest, NodeRecord};

use super::check::NODES_MAX;
use super::random::mix;
use crate::Time;

/// The records of all nodes, this one's too.
#[derive(Debug)]
pub(super) struct Table {
    records: BTreeMap<String, NodeRecord>,
    forgotten: BTreeMap<String, Forgotten>,
    /// The hash of all records, kept up to date.
    hash: u64,
}

#[derive(Clone, Copy, Debug)]
struct Forgotten {
    generation: u64,
    since: Time,
    replica: u64,
    /// An operator has said that it does not come back.
    retired: bool,
}

/// What became of a record.
#[derive(Debug, PartialEq)]
pub(super) enum Merged {
    /// Nothing: it is known, or older, or forgotten, or there are too many.
    Old,
    /// It is the node's newest; if there was one before, that.
    New(Option<NodeRecord>),
}

impl Table {
    pub(super) fn new(own: NodeRecord) -> Self {
        let mut table = Self { records: BTreeMap::new(), forgotten: BTreeMap::new(), hash: 0 };
        table.insert(own);
        table
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn get(&self, node: &str) -> Option<&NodeRecord> {
        self.records.get(node)
    }

    pub(super) fn insert(&mut self, record: NodeRecord) -> Option<NodeRecord> {
        self.hash ^= weight(&record);
        let before = self.records.insert(record.node.clone(), record);
        self.hash ^= before.as_ref().map_or(0, weight);
        before
    }

    /// Takes in a record of a node other than this one. `itself`: that node has sent it, so it wins over
    /// the records that others send.
    pub(super) fn merge(&mut self, record: NodeRecord, itself: bool) -> Merged {
        if self.forgotten.get(&record.node).is_some_and(|f| record.generation <= f.generation) {
            return Merged::Old;
        }
        match self.records.get(&record.node) {
            Some(known) if age(known) == age(&record) => return Merged::Old,
            Some(known) if age(known) > age(&record) && !itself => return Merged::Old,
            None if self.records.len() >= NODES_MAX => return Merged::Old,
            _ => {}
        }
        self.forgotten.remove(&record.node);
        Merged::New(self.insert(record))
    }

    /// Forgets a node, up to a generation. What was known of it comes back.
    pub(super) fn forget(
        &mut self,
        now: Time,
        node: &str,
        generation: u64,
        retired: bool,
    ) -> Option<NodeRecord> {
        let known = self.records.get(node)?;
        if known.generation > generation {
            return None;
        }
        let record = self.remove(node)?;
        let replica = record.replica;
        let forgotten = Forgotten { generation, since: now, replica, retired };
        if self.forgotten.len() >= NODES_MAX {
            self.forgotten.pop_first();
        }
        self.forgotten.insert(node.to_owned(), forgotten);
        Some(record)
    }

    /// Drops a record, for room: the node may come back at any time.
    pub(super) fn remove(&mut self, node: &str) -> Option<NodeRecord> {
        let record = self.records.remove(node)?;
        self.hash ^= weight(&record);
        Some(record)
    }

    /// An operator says of a node that is forgotten already that it does not come back.
    pub(super) fn retire(&mut self, node: &str) -> Option<NodeRecord> {
        self.forgotten.get_mut(node)?.retired = true;
        self.forgotten(node)
    }

    /// Whether a node is not known, nor was in a later generation.
    pub(super) fn is_gone(&self, node: &str, generation: u64) -> bool {
        !self.records.contains_key(node)
            && self.forgotten.get(node).is_none_or(|f| f.generation <= generation)
    }

    /// The nodes other than `own` that may have something to say, with their incarnations: also those
    /// that time has forgotten, unless an operator has said that they do not come back.
    pub(super) fn others(&self, own: &str) -> impl Iterator<Item = (&str, u64)> {
        let others = self.records.values().filter(move |record| record.node != own);
        let away = self.forgotten.iter().filter(|(node, forgotten)| {
            !forgotten.retired && !self.records.contains_key(node.as_str())
        });
        let others = others.map(|record| (record.node.as_str(), record.replica));
        others.chain(away.map(|(node, forgotten)| (node.as_str(), forgotten.replica)))
    }

    /// As it is told to others.
    pub(super) fn forgotten(&self, node: &str) -> Option<NodeRecord> {
        self.forgotten.get(node).map(|forgotten| forgotten.record(node))
    }

    /// Stops refusing the records of nodes that were forgotten long ago.
    pub(super) fn expire(&mut self, now: Time, after: Duration) {
        self.forgotten.retain(|_, forgotten| now.since(forgotten.since) < after);
    }

    pub(super) fn digest(&self) -> Digest {
        let entry = |record: &NodeRecord| Entry {
            node: record.node.clone(),
            generation: record.generation,
            version: record.version,
        };
        Digest { entries: self.records.values().map(entry).collect() }
    }

    /// What the sender of `digest` lacks, and whether this table lacks something of the sender's.
    pub(super) fn compare(&self, digest: &Digest) -> (Vec<NodeRecord>, bool) {
        let theirs: BTreeMap<&str, (u64, u64)> =
            digest.entries.iter().map(|e| (e.node.as_str(), (e.generation, e.version))).collect();
        let newer = |record: &&NodeRecord| {
            theirs.get(record.node.as_str()).is_none_or(|&theirs| theirs < age(record))
        };
        let mut lacks: Vec<_> = self.records.values().filter(newer).cloned().collect();
        let mut wants = false;
        for (node, &theirs) in &theirs {
            match (self.records.get(*node), self.forgotten.get(*node)) {
                (_, Some(f)) if theirs.0 <= f.generation => {
                    lacks.push(f.record(node));
                }
                (Some(known), _) => wants |= age(known) < theirs,
                (None, _) => wants = true,
            }
        }
        (lacks, wants)
    }
}

/// Of two records of a node the greater wins.
pub(super) fn age(record: &NodeRecord) -> (u64, u64) {
    (record.generation, record.version)
}

impl Forgotten {
    fn record(&self, node: &str) -> NodeRecord {
        NodeRecord {
            node: node.to_owned(),
            replica: self.replica,
            generation: self.generation,
            forgotten: true,
            retired: self.retired,
            ..NodeRecord::default()
        }
    }
}

/// A record's part of the table's hash. Every node computes the same: FNV-1a over the name, mixed
/// with generation and version. It need not resist an adversary: a node that lies in its hash can as
/// well lie in its records.
fn weight(record: &NodeRecord) -> u64 {
    let name = record.node.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(mix(mix(name) ^ record.generation) ^ record.version)
}
