//! First reads: what a function that begins on a node must know before its commands are answered.

use std::collections::BTreeSet;

use bytes::Bytes;
use miso_replication::node::Input;
use miso_replication::{Answer, Ask, AskId, Time};
use miso_store::crdt::ReplicaId;

use super::{SECOND, World};

/// What a node knew.
#[derive(Debug)]
struct Knew {
    at: usize,
    life: u64,
    vector: Vec<(ReplicaId, u64)>,
    /// Whether it was linked with the node that begins.
    linked: bool,
    /// Whether it waited for no first read of its own.
    current: bool,
}

/// A function that has begun on a node, and whose first read is waited for.
#[derive(Debug)]
pub(super) struct FirstRead {
    at: usize,
    life: u64,
    function: Bytes,
    /// The nodes that ran or held it.
    carriers: Vec<Knew>,
}

impl World {
    /// A function begins to run on a node, and its first command waits until it is current.
    pub(super) fn begin(&mut self, at: usize, name: &Bytes) {
        self.hosts[at].runs.insert(name.clone(), Vec::new());
        self.hosts[at].runs_at = self.now;
        let functions = self.hosts[at].runs.clone();
        let carriers = self.carriers(at, name);
        self.drive(at, vec![Input::Runs { functions }]);
        if self.hosts[at].store.function(name).restoring() {
            let (id, life) = (AskId(self.id()), self.hosts[at].life);
            self.firsts.insert(id, FirstRead { at, life, function: name.clone(), carriers });
            let until = Time(self.now + SECOND);
            let ask = Ask::Current { function: name.clone(), until };
            self.drive(at, vec![Input::Ask { id, ask }]);
        }
    }

    /// The incarnations with which a node is linked, as it says.
    fn linked(&mut self, at: usize) -> BTreeSet<ReplicaId> {
        let Answer::Nodes(nodes) = self.ask(at, Ask::Nodes) else { return BTreeSet::new() };
        nodes.iter().filter(|node| node.linked).map(|node| node.replica).collect()
    }

    /// Whether a node runs or holds a function, as it says.
    fn carries(&mut self, at: usize, name: &Bytes) -> bool {
        if !self.hosts[at].up {
            return false;
        }
        let Answer::Functions(views) = self.ask(at, Ask::Functions) else { return false };
        views.iter().any(|view| view.function == name && view.role.is_some())
    }

    /// The other nodes that run or hold a function, and what they know.
    fn carriers(&mut self, at: usize, name: &Bytes) -> Vec<Knew> {
        let linked = self.linked(at);
        let others = (0..self.hosts.len()).filter(|other| *other != at);
        let carry: Vec<usize> = others.filter(|other| self.carries(*other, name)).collect();
        let knows = |other: usize| {
            let host = &self.hosts[other];
            let knew = host.store.find(name).map_or_else(Vec::new, |known| known.vector());
            let linked = linked.contains(&host.replica);
            let current = host.store.find(name).is_some_and(|known| !known.restoring());
            Knew { at: other, life: host.life, vector: knew, linked, current }
        };
        carry.into_iter().map(knows).collect()
    }

    /// A first read on a node that could reach one that ran or held the function, is current and can still
    /// be reached, is never older than what one such node knew at its beginning. It may be one that came in
    /// reach only since, or one that was current and in reach then and has left since.
    pub(super) fn check_first_read(&mut self, read: &FirstRead) {
        if self.hosts[read.at].life != read.life {
            return;
        }
        let linked = self.linked(read.at);
        let mut here: Vec<&Knew> = Vec::new();
        for knew in &read.carriers {
            let carries = self.carries(knew.at, &read.function);
            let host = &self.hosts[knew.at];
            let function = host.store.find(&read.function);
            let current = function.is_some_and(|function| !function.restoring());
            if carries && current && host.life == knew.life && linked.contains(&host.replica) {
                here.push(knew);
            }
        }
        let function = self.hosts[read.at].store.function(&read.function);
        assert!(
            !here.iter().any(|knew| knew.linked)
                || here.iter().any(|knew| function.covers(&knew.vector))
                || read
                    .carriers
                    .iter()
                    .any(|knew| knew.linked && knew.current && function.covers(&knew.vector)),
            "n{} reads {:?} older than what {here:?} knew",
            read.at,
            read.function,
        );
    }
}
