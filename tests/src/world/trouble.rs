//! What goes wrong in a simulated world, and what is mended.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use miso_replication::node::Input;
use miso_replication::{Ask, AskId};

use super::{FUNCTIONS, SECOND, World};

impl World {
    pub(super) fn some_host(&mut self) -> Option<usize> {
        let up: Vec<usize> = (0..self.hosts.len()).filter(|at| self.hosts[*at].up).collect();
        (!up.is_empty()).then(|| up[self.rng.below(up.len() as u64) as usize])
    }

    /// Something goes wrong, or is mended.
    pub(super) fn trouble(&mut self) {
        let Some(at) = self.some_host() else { return };
        let other = self.pick(self.hosts.len());
        if self.plan.disks.is_some() {
            for at in 0..self.hosts.len() {
                let (up, sync) = (self.hosts[at].up, self.percent(30));
                if let Some(journal) = self.hosts[at].store.journal().filter(|_| up && sync) {
                    journal.tick().expect("disks do not fail here");
                }
            }
            if self.percent(20) {
                self.say(|| format!("n{at} writes a checkpoint"));
                let written = self.hosts[at].store.checkpoint();
                assert!(written.is_ok(), "n{at}: {written:?}");
            }
        }
        match self.rng.below(100) {
            0..15 => {
                self.say(|| format!("n{at} and n{other} are cut off from each other"));
                self.blocked.extend([(at, other), (other, at)]);
            }
            15..22 => {
                self.say(|| format!("n{at} does not reach n{other}"));
                self.blocked.insert((at, other));
            }
            22..30 => {
                let side: Vec<bool> = self.hosts.iter().map(|_| self.rng.below(2) == 0).collect();
                self.say(|| format!("the network falls apart: {side:?}"));
                let all = 0..side.len();
                let pairs = all.clone().flat_map(|a| all.clone().map(move |b| (a, b)));
                self.blocked.extend(pairs.filter(|(a, b)| side[*a] != side[*b]));
            }
            30..55 => {
                self.say(|| "the network is whole".into());
                self.blocked.clear();
            }
            55..63 => self.crash(at, false),
            63..70 if self.lost.len() < 6 => self.crash(at, true),
            70..80 if !self.hosts[other].up => self.restart(other),
            80..86 => {
                let until = self.now + self.rng.below(3 * SECOND);
                self.say(|| format!("n{at} is slow"));
                self.hosts[at].slow_until = until;
            }
            86..89 => {
                let jump = self.rng.below(100_000_000);
                self.say(|| format!("n{at}'s clock jumps"));
                let clock = &self.hosts[at].clock;
                if jump.is_multiple_of(2) {
                    clock.fetch_add(jump, Ordering::Relaxed);
                } else {
                    clock.fetch_sub(jump, Ordering::Relaxed);
                }
            }
            89..92 if self.hosts.len() < self.plan.nodes + 3 => self.join(),
            92..95 if self.hosts[other].emptied => self.forget(at, other),
            92..95 if self.plan.disks.is_some() || self.lost.len() < 6 => self.leave(at),
            95..100 => {
                let name = Bytes::from_static(FUNCTIONS[self.pick(2)]);
                let runs = self.hosts[at].runs.contains_key(&name);
                self.say(|| format!("n{at} {} {name:?}", if runs { "ends" } else { "runs" }));
                if runs && self.plan.disks.is_none() {
                    return self.end(at, name);
                }
                let host = &mut self.hosts[at];
                if !runs {
                    host.runs.insert(name, Vec::new());
                } else {
                    host.runs.remove(&name);
                }
                host.runs_at = self.now;
                let functions = host.runs.clone();
                self.drive(at, vec![Input::Runs { functions }]);
            }
            _ => {}
        }
    }

    /// A person tells one node to forget another, which is down and empty.
    pub(super) fn forget(&mut self, at: usize, other: usize) {
        let id = AskId(self.id());
        let node = self.hosts[other].name.clone();
        self.say(|| format!("n{at} is told to forget {node}"));
        self.drive(at, vec![Input::Ask { id, ask: Ask::Forget { node } }]);
    }
}
