//! Records: what is told and learned of nodes, this one too.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use miso_protocol::names;
use miso_protocol::peer;
use miso_protocol::peer::message::Body;
use miso_protocol::peer::{Digest, FunctionRecord, Goodbye, NodeRecord, Records};
use miso_store::crdt::ReplicaId;
use prost::Message as _;

use super::check::{FUNCTIONS_MAX, NODES_MAX, REPLICAS_MAX};
use super::dial::Redial;
use super::table::{self, Merged};
use super::{
    Event, Node, Out, Overlay, Peer, RECORD_BYTES_MAX, RECORDS_BYTES, TELL_EVERY, UNMET_MAX, check,
    send,
};
use crate::{Effect, Fault, LinkId, Liveness, Note, Role, Time};

/// The most former incarnations that are remembered of one node.
const FORMER_MAX: usize = 1024;
/// The most of all nodes together.
const FORMER_TOTAL_MAX: usize = 16_384;
/// The most bytes of replicas by name that are told of one function: they take no other's place.
const REPLICAS_BYTES_MAX: usize = 64 << 10;
/// What a name takes in a message, besides its bytes, at most.
const RECORD_OVERHEAD: usize = 8;

impl Overlay {
    pub(super) fn send_digest(&mut self, now: Time, link: LinkId, out: &mut Out) {
        let Some(to) = self.links.get_mut(&link) else { return };
        // Tables that cannot become equal must not exchange digests without end.
        if to.digest.is_some_and(|last| now.since(last) < self.config.heartbeat / 2) {
            return;
        }
        to.digest = Some(now);
        out.push(send(vec![link], Body::Digest(self.table.digest())));
    }

    pub(super) fn compared(
        &mut self,
        now: Time,
        link: LinkId,
        digest: &Digest,
        out: &mut Out,
    ) -> Result<(), Fault> {
        check::digest(digest)?;
        let Some(from) = self.links.get_mut(&link) else { return Ok(()) };
        // The answer may be a hundred times the question.
        if from.answered.is_some_and(|last| now.since(last) < self.config.heartbeat / 4) {
            return Ok(());
        }
        from.answered = Some(now);
        let (lacks, wants) = self.table.compare(digest);
        send_records(&[link], lacks, out);
        if wants {
            self.send_digest(now, link, out);
        }
        Ok(())
    }

    pub(super) fn told(
        &mut self,
        now: Time,
        link: LinkId,
        from: &Peer,
        records: Records,
        out: &mut Out,
    ) -> Result<(), Fault> {
        check::length("list of records", records.records.len(), NODES_MAX)?;
        records.records.iter().try_for_each(check::record)?;
        for record in records.records {
            if record.node == self.config.node {
                self.told_of_itself(now, &record, out);
            } else if record.forgotten {
                self.told_to_forget(now, &record, out);
            } else {
                self.learned(now, link, from, record, out);
            }
        }
        Ok(())
    }

    pub(super) fn learned(
        &mut self,
        now: Time,
        link: LinkId,
        from: &Peer,
        record: NodeRecord,
        out: &mut Out,
    ) {
        let (name, replica) = (record.node.clone(), record.replica);
        let itself = name == from.node && replica == from.replica.0;
        if !itself && self.nodes.get(&name).is_some_and(|node| node.link.is_some()) {
            return;
        }
        if !itself && !self.nodes.contains_key(&name) && self.unmet() >= UNMET_MAX {
            return;
        }
        let merged = self.table.merge(record.clone(), itself);
        let Merged::New(before) = &merged else { return };
        let appeared = before.as_ref().is_none_or(|before| {
            before.generation != record.generation || (before.version == 0 && record.version > 0)
        });
        self.replaced(&merged, &name, replica);
        let smaller_is_here = self.config.replica.0 < replica;
        // The node with the smaller ReplicaId dials first; the other one only if that does not come.
        let wait = if smaller_is_here { Duration::ZERO } else { self.config.heartbeat };
        let at = now + wait + self.random.up_to(Duration::from_millis(20));
        let node = self.nodes.entry(name.clone());
        let node = node.or_insert_with(|| Node::new(now, Redial::at(at)));
        if appeared && node.link.is_none() {
            node.redial = Redial::at(at);
            node.heard = now;
            self.wake_at(at);
        }
        self.tell_runs(&name);
        self.note_liveness(now, &name, out);
        if itself && appeared {
            let others: Vec<LinkId> = self.peers().filter(|&other| other != link).collect();
            send_records(&others, vec![record], out);
        }
    }

    /// If a record of another incarnation has taken the place of an older one, the old one is gone,
    /// unless it is linked: then it is when its link is.
    pub(super) fn replaced(&mut self, merged: &Merged, name: &str, replica: u64) {
        let Merged::New(Some(before)) = merged else { return };
        if before.replica == replica {
            return;
        }
        let linked = self.nodes.get(name).and_then(|node| node.link);
        let peer = linked.and_then(|link| self.links.get(&link)?.peer.as_ref());
        if peer.is_none_or(|peer| peer.replica.0 != before.replica) {
            self.note_former(name, ReplicaId(before.replica));
            self.gone(ReplicaId(before.replica));
        }
    }

    /// How many nodes are in the table of which only others have spoken.
    fn unmet(&self) -> usize {
        self.nodes.values().filter(|node| !node.met).count()
    }

    /// A newer incarnation has come. Whether the former one has ended for good, only an operator knows.
    pub(super) fn note_former(&mut self, name: &str, replica: ReplicaId) {
        let total: usize = self.former.values().map(BTreeSet::len).sum();
        let former = self.former.entry(name.to_owned()).or_default();
        if former.len() < FORMER_MAX && total < FORMER_TOTAL_MAX {
            former.insert(replica);
        }
    }

    /// An operator has said that the former incarnations of a node do not come back. Returns whether
    /// there are any.
    fn retire_former(&mut self, name: &str) -> bool {
        let former = self.former.remove(name).unwrap_or_default();
        let any = !former.is_empty();
        let retired = |replica| Event::Retired { replica, here: true };
        self.events.extend(former.into_iter().map(retired));
        any
    }

    /// A peer has a record of this node's name.
    pub(super) fn told_of_itself(&mut self, now: Time, record: &NodeRecord, out: &mut Out) {
        let own = self.own();
        let beaten = if record.forgotten {
            record.generation >= own.generation
        } else {
            table::age(record) > table::age(own)
        };
        if !beaten {
            return;
        }
        if !record.forgotten && !record.left && record.replica != self.config.replica.0 {
            // Either an earlier incarnation of this node, that seems newer since the clock went back,
            // or another living node: then that one answers at its address.
            let since = *self.contested.get_or_insert(now);
            if now.since(since) < self.config.node_timeout {
                for address in &record.addresses {
                    self.found(now, address.clone());
                }
                return;
            }
        }
        self.contested = None;
        let generation = record.generation + 1;
        if generation >= check::GENERATION_END {
            let note = "a peer holds a record of this node's name that none can follow".into();
            return out.push(Effect::Note(Note::Warn(note)));
        }
        let mut own = self.own().clone();
        own.generation = generation;
        own.version = 1;
        self.table.insert(own);
        self.untold = true;
        self.tell(now, out);
    }

    pub(super) fn told_to_forget(&mut self, now: Time, record: &NodeRecord, out: &mut Out) {
        let linked = self.nodes.get(&record.node).and_then(|node| node.link);
        let peer = linked.and_then(|link| self.links.get(&link)?.peer.as_ref());
        if let (Some(link), Some(_)) = (linked, peer) {
            // It lives: it will say so under a greater generation, once it hears of this.
            if self.table.get(&record.node).is_some_and(|r| r.generation <= record.generation) {
                send_records(&[link], vec![record.clone()], out);
            }
            return;
        }
        // A node that is merely away may come back with updates that only it has. That it does not, an
        // operator says of a node that is dead for all; from a node for which it is not, this waits.
        if self.table.get(&record.node).is_some()
            && !matches!(self.liveness(now, &record.node), Liveness::Dead | Liveness::Left)
        {
            return;
        }
        let known = self.table.get(&record.node).map(|known| (known.replica, known.generation));
        // Up to what is known of it: a record of the greatest generation must not keep out all that follow.
        let generation = known.map_or(0, |(_, generation)| generation).min(record.generation);
        self.forget_up_to(now, &record.node, generation, record.retired);
        let is_its_own = known.is_none_or(|(replica, _)| replica == record.replica);
        if record.retired && is_its_own && self.table.is_gone(&record.node, record.generation) {
            // Time alone may have forgotten it here.
            self.table.retire(&record.node);
            let replica = ReplicaId(record.replica);
            let is_anothers = self.table.others(&self.config.node).any(|(_, id)| id == replica.0);
            if !is_anothers && !self.is_linked(replica) {
                self.events.push_back(Event::Retired { replica, here: false });
            }
        }
    }

    pub(super) fn forget_up_to(&mut self, now: Time, node: &str, generation: u64, retired: bool) {
        if let Some(record) = self.table.forget(now, node, generation, retired) {
            self.nodes.remove(node);
            self.gone(ReplicaId(record.replica));
        }
    }

    /// Forgets a dead node, here and everywhere: it will not come back. Saying it again does no harm.
    /// Of one that lives it forgets what it was before it was started last, as far as this node has
    /// seen that.
    ///
    /// # Errors
    /// If it was never known, or is not dead: the error line for the client.
    pub fn forget(&mut self, now: Time, node: &str, out: &mut Out) -> Result<(), String> {
        if node == self.config.node {
            return Err("ERR a node cannot forget itself".into());
        }
        let Some(record) = self.table.get(node) else {
            let Some(record) = self.table.retire(node) else {
                return Err(format!("ERR no such node '{}'", node.escape_debug()));
            };
            self.tell_forgotten(record, out);
            return Ok(());
        };
        let generation = record.generation;
        if matches!(self.liveness(now, node), Liveness::Alive | Liveness::Suspect) {
            if self.retire_former(node) {
                return Ok(());
            }
            return Err(format!("ERR node '{}' is not dead", node.escape_debug()));
        }
        // The silence that its link will be closed for may just have reached its end.
        if let Some(link) = self.nodes.get(node).and_then(|node| node.link) {
            self.close(now, link, "its node is forgotten", out);
        }
        self.forget_up_to(now, node, generation, true);
        if let Some(record) = self.table.forgotten(node) {
            self.tell_forgotten(record, out);
        }
        Ok(())
    }

    fn tell_forgotten(&mut self, record: NodeRecord, out: &mut Out) {
        let replica = ReplicaId(record.replica);
        self.retire_former(&record.node);
        self.events.push_back(Event::Retired { replica, here: true });
        let links: Vec<LinkId> = self.peers().collect();
        send_records(&links, vec![record], out);
    }

    pub(super) fn tell_runs(&mut self, name: &str) {
        let Some(link) = self.nodes.get(name).and_then(|node| node.link) else { return };
        let Some(peer) = self.links.get(&link).and_then(|link| link.peer.as_ref()) else { return };
        let Some(record) = self.table.get(name).filter(|r| r.replica == peer.replica.0) else {
            return;
        };
        let functions = record.functions.iter().map(|function| function.function.clone()).collect();
        self.events.push_back(Event::Runs(peer.replica, functions));
    }

    /// What this node does with functions that it carries but does not run; [`Overlay::runs`] tells of
    /// it, with all functions that it carries.
    pub fn set_roles(&mut self, roles: BTreeMap<Bytes, Role>) {
        let told = |role| match role {
            Role::Runs => peer::function_record::Role::Runs,
            Role::Holds => peer::function_record::Role::Holds,
            Role::Leaves => peer::function_record::Role::Leaves,
        };
        self.roles = roles.into_iter().map(|(name, role)| (name, told(role))).collect();
    }

    /// What a linked peer does with the functions that it carries.
    #[must_use]
    pub fn carried_by(&self, replica: ReplicaId) -> BTreeMap<Bytes, Role> {
        let role = |function: &FunctionRecord| match function.role() {
            peer::function_record::Role::Runs => Role::Runs,
            peer::function_record::Role::Holds => Role::Holds,
            peer::function_record::Role::Leaves => Role::Leaves,
        };
        let name = self.others().find(|(_, id)| *id == replica).map(|(name, _)| name);
        let record = name.and_then(|name| self.table.get(name));
        let functions = record.into_iter().flat_map(|record| &record.functions);
        functions.map(|function| (function.function.clone(), role(function))).collect()
    }

    /// What this node runs now.
    pub fn runs(&mut self, now: Time, functions: &BTreeMap<Bytes, Vec<Bytes>>, out: &mut Out) {
        let mut told = told_of(functions);
        for record in &mut told {
            record.role = self.roles.get(&record.function).copied().unwrap_or_default().into();
        }
        if told.len() < functions.len() {
            let note = format!(
                "peers cannot be told of {} of {} functions: these are not replicated",
                functions.len() - told.len(),
                functions.len()
            );
            self.warn_seldom(now, "functions that peers cannot be told of", note, out);
        }
        let mut own = self.own().clone();
        if own.functions == told {
            return;
        }
        own.functions = told;
        own.version += 1;
        self.table.insert(own);
        self.untold = true;
        self.tell(now, out);
    }

    /// Tells all peers of this node's own changes, soon.
    pub(super) fn tell(&mut self, now: Time, out: &mut Out) {
        if !self.untold {
            return;
        }
        let at = self.told.map_or(now, |told| told + TELL_EVERY);
        if at > now {
            return self.wake_at(at);
        }
        self.told = Some(now);
        self.untold = false;
        let links: Vec<LinkId> = self.peers().collect();
        send_records(&links, vec![self.own().clone()], out);
    }

    /// Says goodbye to all peers.
    pub fn leave(&mut self, now: Time, out: &mut Out) {
        if self.over {
            return;
        }
        let mut own = self.own().clone();
        own.left = true;
        own.version += 1;
        self.table.insert(own.clone());
        let peers: Vec<LinkId> = self.peers().collect();
        send_records(&peers, vec![own], out);
        if !peers.is_empty() {
            out.push(send(peers, Body::Goodbye(Goodbye {})));
        }
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        for link in links {
            self.close(now, link, "this node leaves", out);
        }
        self.over = true;
    }
}

/// What peers are told of the functions of a node: each with a name that may be told, as far as there is
/// room, and its replicas by name, within bounds. One that cannot be told leaves the others alone.
fn told_of(functions: &BTreeMap<Bytes, Vec<Bytes>>) -> Vec<FunctionRecord> {
    let mut room = RECORD_BYTES_MAX;
    let mut fits = |bytes: usize| {
        room = room.checked_sub(bytes)?;
        Some(())
    };
    let named = functions.iter().filter(|(function, _)| names::check_stored(function).is_ok());
    let mut told = Vec::new();
    for (function, replicas) in named.take(FUNCTIONS_MAX) {
        if fits(function.len() + RECORD_OVERHEAD).is_some() {
            let record = FunctionRecord { function: function.clone(), ..FunctionRecord::default() };
            told.push((record, replicas));
        }
    }
    for (record, replicas) in &mut told {
        let mut left = REPLICAS_BYTES_MAX;
        let named = replicas.iter().filter(|replica| names::is_name(replica));
        for replica in named.take(REPLICAS_MAX) {
            let bytes = replica.len() + RECORD_OVERHEAD;
            if bytes <= left && fits(bytes).is_some() {
                left -= bytes;
                record.replicas.push(replica.clone());
            }
        }
    }
    told.into_iter().map(|(record, _)| record).collect()
}

/// Sends records, in messages of bounded size.
fn send_records(links: &[LinkId], records: Vec<NodeRecord>, out: &mut Out) {
    if links.is_empty() {
        return;
    }
    let mut batch = Vec::new();
    let mut bytes = 0;
    for record in records {
        let length = record.encoded_len();
        if bytes + length > RECORDS_BYTES && !batch.is_empty() {
            let records = std::mem::take(&mut batch);
            out.push(send(links.to_vec(), Body::Records(Records { records })));
            bytes = 0;
        }
        bytes += length;
        batch.push(record);
    }
    if !batch.is_empty() {
        out.push(send(links.to_vec(), Body::Records(Records { records: batch })));
    }
}
