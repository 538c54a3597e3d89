//! Which nodes know of each other, directly or by way of others. A group of nodes that knows nothing of another
//! forgets ids of writes after the window, although the other may have run them, too.
//!
//! Docs/semantics.md says so of writes that run once, under what they do not cover: such a write counts in both
//! groups. So the oracle notes, the moment an id is forgotten, in how many groups that are not known there it has
//! run. Of all else it demands that it counts once.

use std::collections::BTreeSet;

use super::host::Host;
use super::once::{WINDOW_MS, Write};
use super::{FUNCTIONS, MS, World};

/// Whether a node knows of a run of a write.
fn knows_run(host: &Host, write: &Write) -> bool {
    let function = host.store.find(&write.function);
    function.is_some_and(|function| {
        write.runs.iter().any(|(writer, seq)| function.covers(&[(*writer, *seq)]))
    })
}

/// Whether a node has forgotten the id of a write that it knows to have run.
fn has_forgotten(host: &Host, write: &Write) -> bool {
    let function = host.store.find(&write.function);
    function.is_some_and(|function| function.once_reply(write.id.as_bytes()).is_none())
        && knows_run(host, write)
}

impl World {
    /// How many events a node has made itself.
    pub(super) fn own_events(&self, at: usize) -> u64 {
        let functions = FUNCTIONS.iter().filter_map(|name| self.hosts[at].store.find(name));
        functions.map(|function| function.seq()).sum()
    }

    /// The nodes that a node knows of, and those that they know of.
    fn group_of(&self, at: usize) -> BTreeSet<usize> {
        let (mut group, mut new) = (BTreeSet::from([at]), vec![at]);
        while let Some(one) = new.pop() {
            let host = &self.hosts[one];
            if !host.up || host.gone {
                continue;
            }
            let known = host.node.others().filter_map(|(name, _)| {
                self.hosts.iter().position(|other| other.name == name && !other.gone)
            });
            for other in known {
                if group.insert(other) {
                    new.push(other);
                }
            }
        }
        group
    }

    /// A node has made events of its own accord: it may have forgotten ids.
    pub(super) fn note_forgotten(&mut self, at: usize) {
        let now = self.now;
        let is_over = |write: &Write| !write.forgotten && write.begun + WINDOW_MS * MS <= now;
        let forgotten: Vec<usize> = (0..self.once.len())
            .filter(|which| is_over(&self.once[*which]))
            .filter(|which| has_forgotten(&self.hosts[at], &self.once[*which]))
            .collect();
        if forgotten.is_empty() {
            return;
        }
        let group = self.group_of(at);
        for which in forgotten {
            let ran = |other: &usize| {
                let host = &self.hosts[*other];
                !host.gone && knows_run(host, &self.once[which])
            };
            let outside = (0..self.hosts.len()).filter(|other| !group.contains(other));
            let mut outside: BTreeSet<usize> = outside.filter(ran).collect();
            let mut groups = 0;
            while let Some(one) = outside.pop_first() {
                groups += 1;
                let known = self.group_of(one);
                outside.retain(|other| !known.contains(other));
            }
            let write = &mut self.once[which];
            (write.forgotten, write.twice) = (true, groups);
            let id = write.id.clone();
            self.say(|| format!("n{at} forgets {id}, which ran in {groups} groups unknown there"));
        }
    }
}
