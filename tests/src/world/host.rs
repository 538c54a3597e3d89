//! A node of a simulated world, its disk and its life: it starts, crashes and comes back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use miso_replication::copies;
use miso_replication::node::{self, Input, Node};
use miso_replication::{LinkId, Time, overlay, replicator};
use miso_store::crdt::{ReplicaId, Type};
use miso_store::journal::{Disk, FaultyDisk, Options, SyncPolicy};
use miso_store::{Function, Observer, Store};

use super::leaving::Leaving;
use super::once::WINDOW_MS;
use super::{Event, FUNCTIONS, MS, World};
use crate::Rng;

/// Gathers what a store says.
#[derive(Debug, Default)]
pub(super) struct Wrote(Mutex<Vec<Arc<Function>>>);

impl Observer for Wrote {
    fn wrote(&self, function: &Arc<Function>) {
        self.0.lock().expect("one thread").push(Arc::clone(function));
    }

    fn changed(&self, _: &Function, _: &[u8], _: &[u8], _: Type) {}
}

#[derive(Debug)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) address: String,
    pub(super) replica: ReplicaId,
    /// Counts its restarts, so that what was meant for an earlier life does not reach it.
    pub(super) life: u64,
    pub(super) up: bool,
    pub(super) store: Arc<Store>,
    pub(super) disk: Option<FaultyDisk>,
    pub(super) wrote: Arc<Wrote>,
    pub(super) clock: Arc<AtomicU64>,
    pub(super) node: Node,
    pub(super) runs: BTreeMap<Bytes, Vec<Bytes>>,
    /// It is down, and lost its memory with that.
    pub(super) emptied: bool,
    /// It does not come back.
    pub(super) gone: bool,
    /// When that was changed last.
    pub(super) runs_at: u64,
    /// It does nothing until then.
    pub(super) slow_until: u64,
    pub(super) timer: Option<u64>,
    pub(super) leaving: Option<Leaving>,
}

impl World {
    pub(super) fn node(
        &mut self,
        name: &str,
        address: &str,
        replica: ReplicaId,
        store: &Arc<Store>,
    ) -> Node {
        let mut overlay = overlay::Config::new("world", name, replica, 1 + self.now / MS);
        overlay.addresses = vec![address.to_owned()];
        overlay.heartbeat = Duration::from_millis(200);
        overlay.node_timeout = Duration::from_secs(1);
        overlay.redial_max = Duration::from_millis(800);
        // For a new node one seed is enough. One that comes back is given all, since those that it
        // would ask may have forgotten the others, too.
        let others: Vec<String> = self
            .hosts
            .iter()
            .filter(|host| host.name != name)
            .map(|host| host.address.clone())
            .collect();
        let back = self.hosts.iter().any(|host| host.name == name);
        overlay.seeds = match others.len() {
            0 => others,
            _ if back => others,
            some => vec![others[self.pick(some)].clone()],
        };
        overlay.seed = self.rng.bits();
        if self.plan.secured {
            let mut seed = [0; 32];
            seed[..8].copy_from_slice(&self.rng.bits().to_le_bytes());
            overlay.secret = Some(overlay::Secret::new(b"of this world", seed));
        }
        let mut replicator = replicator::Config::new(replica);
        replicator.queue_bytes = 2_000 + self.rng.below(8_000) as usize;
        replicator.early_bytes = 4_000;
        replicator.part_bytes = 300;
        replicator.window_bytes = 1_000;
        replicator.summary_period = Duration::from_secs(3);
        replicator.sync_timeout = Duration::from_secs(2);
        replicator.exports = 2;
        replicator.sync_rate = [0, 5_000, 50_000][self.pick(3)];
        replicator.bugs = self.plan.broken.replicator;
        let copies = copies::Config {
            copies: 1 + self.pick(3),
            grace: Duration::from_secs(1),
            ..copies::Config::default()
        };
        Node::new(node::Config { overlay, replicator, copies }, Arc::clone(store))
    }

    /// A store on `disk`, or a new one of `replica` in memory alone.
    pub(super) fn store(
        &mut self,
        replica: ReplicaId,
        disk: Option<&FaultyDisk>,
        clock: &Arc<AtomicU64>,
    ) -> (Arc<Store>, Arc<Wrote>) {
        let clock = Arc::clone(clock);
        let now: miso_store::Clock = Arc::new(move || clock.load(Ordering::Relaxed));
        let log_bytes = 500 + self.rng.below(4_000) as usize;
        let config = |replica| {
            let config = miso_store::Config::new(replica, 2, Arc::clone(&now));
            miso_store::Config { removal_log_bytes: log_bytes, ..config }
        };
        let store = match disk {
            None => Store::new(config(replica)),
            Some(disk) => {
                let disk: Arc<dyn Disk> = Arc::new(disk.clone());
                let options = Options {
                    sync: self.plan.disks.expect("there are disks"),
                    segment_bytes: 3_000,
                    ahead_bytes: 2_000,
                    background: false,
                    reserve_bytes: 0,
                    ..Options::default()
                };
                let mut new = Some(replica.0);
                let mut rng = Rng::new(self.rng.bits());
                let random = || new.take().unwrap_or_else(|| rng.bits());
                let recovered = miso_store::recover(&disk, options, config, random);
                let recovered = recovered.unwrap_or_else(|error| panic!("recovery: {error}"));
                if let Some(why) = &recovered.renewed {
                    self.say(|| format!("a new incarnation: {why}"));
                }
                recovered.store
            }
        };
        store.set_once_limits((WINDOW_MS, BTreeMap::new()), 1 << 20);
        let (store, wrote) = (Arc::new(store), Arc::new(Wrote::default()));
        store.observe(Arc::clone(&wrote) as Arc<dyn Observer>);
        (store, wrote)
    }

    /// A new node.
    pub(super) fn join(&mut self) {
        let at = self.hosts.len();
        let (name, address) = (format!("n{at}"), format!("n{at}:1"));
        let replica = ReplicaId(self.rng.bits() | 1);
        // One clock in eight runs ten years ahead.
        let skew = if self.percent(12) { 315_360_000_000 } else { 0 };
        let clock = Arc::new(AtomicU64::new(1_700_000_000_000 + skew));
        let disk = self.plan.disks.map(|_| FaultyDisk::new(self.rng.bits()));
        let (store, wrote) = self.store(replica, disk.as_ref(), &clock);
        let node = self.node(&name, &address, replica, &store);
        self.hosts.push(Host {
            name,
            address,
            replica,
            life: 0,
            up: true,
            store,
            disk,
            wrote,
            clock,
            node,
            runs: BTreeMap::new(),
            emptied: false,
            gone: false,
            runs_at: 0,
            slow_until: 0,
            timer: None,
            leaving: None,
        });
        self.say(|| format!("n{at} joins as {:x}", replica.0));
        self.start(at);
    }

    pub(super) fn start(&mut self, at: usize) {
        let everything = self.percent(70);
        let all = FUNCTIONS.iter().map(|name| (Bytes::from_static(name), Vec::new()));
        self.hosts[at].runs = all.collect();
        self.hosts[at].runs_at = self.now;
        if !everything {
            self.hosts[at].runs.pop_first();
        }
        let functions = self.hosts[at].runs.clone();
        self.hosts[at].timer = None;
        self.drive(at, vec![Input::Runs { functions }, Input::Tick]);
    }

    pub(super) fn run_all(&mut self, at: usize) {
        let all = FUNCTIONS.iter().map(|name| (Bytes::from_static(name), Vec::new()));
        self.hosts[at].runs = all.collect();
        self.hosts[at].runs_at = self.now;
        let functions = self.hosts[at].runs.clone();
        self.drive(at, vec![Input::Runs { functions }]);
    }

    /// Ends a node at once; with or without what it knows.
    pub(super) fn crash(&mut self, at: usize, forgets: bool) {
        let host = &mut self.hosts[at];
        host.up = false;
        host.life += 1;
        host.leaving = None;
        let (replica, name) = (host.replica, host.name.clone());
        self.say(|| format!("{name} crashes{}", if forgets { " and forgets" } else { "" }));
        let mine: Vec<LinkId> =
            self.links.iter().filter(|(_, link)| link.at == at).map(|(id, _)| *id).collect();
        for id in mine {
            let link = self.links.remove(&id).expect("listed");
            let life = self.hosts[link.peer].life;
            let delay = self.rng.below(20 * MS);
            if !self.blocked.contains(&(at, link.peer)) {
                self.after(delay, Event::Closed { link: link.other, life });
            }
        }
        let clock = Arc::clone(&self.hosts[at].clock);
        let cut = self.percent(40);
        if let Some(disk) = self.hosts[at].disk.take() {
            // A directory that was emptied; a machine that went down; a process that died.
            let fresh = FaultyDisk::new(self.rng.bits());
            let disk = match (forgets, cut) {
                (true, false) => fresh,
                (true, true) => disk.power_cut(),
                (false, _) => disk.kill(),
            };
            self.say(|| format!("{name}'s disk: cut {cut}"));
            let next = ReplicaId(self.rng.bits() | 1);
            let (store, wrote) = self.store(next, Some(&disk), &clock);
            let host = &mut self.hosts[at];
            (host.replica, host.store, host.wrote) = (store.replica(), store, wrote);
            host.disk = Some(disk);
            if self.hosts[at].replica != replica {
                self.lost.insert(replica);
                // What a power cut has left may be more than others have seen.
                self.hosts[at].emptied = forgets && !cut;
                let kept = !forgets || (cut && self.plan.disks == Some(SyncPolicy::Always));
                assert!(!kept, "{name} has lost what it was");
            }
        } else if forgets {
            self.hosts[at].emptied = true;
            let new = if self.plan.broken.same_incarnation {
                replica
            } else {
                self.lost.insert(replica);
                ReplicaId(self.rng.bits() | 1)
            };
            let (store, wrote) = self.store(new, None, &clock);
            let host = &mut self.hosts[at];
            (host.replica, host.store, host.wrote) = (new, store, wrote);
        }
    }

    pub(super) fn restart(&mut self, at: usize) {
        let (name, replica) = (self.hosts[at].name.clone(), self.hosts[at].replica);
        if self.percent(20) {
            self.hosts[at].address = format!("{name}:{}", self.now / MS);
        }
        let (address, store) = (self.hosts[at].address.clone(), Arc::clone(&self.hosts[at].store));
        self.say(|| format!("{name} is back as {:x}", replica.0));
        let node = self.node(&name, &address, replica, &store);
        let host = &mut self.hosts[at];
        host.node = node;
        (host.up, host.emptied) = (true, false);
        host.wrote.0.lock().expect("one thread").clear();
        // What was not sent is still to be sent.
        let unsent: Vec<Arc<Function>> =
            store.functions().into_iter().filter(|f| f.seq() > f.sent()).collect();
        self.start(at);
        let inputs = unsent.into_iter().map(|function| Input::Wrote { function });
        self.drive(at, inputs.collect());
    }

    /// Lets a node take inputs, and carries out what it wants.
    pub(super) fn drive(&mut self, at: usize, mut inputs: Vec<Input>) {
        let now = Time(self.now);
        let mut out = Vec::new();
        let host = &mut self.hosts[at];
        if !host.up {
            return;
        }
        let before = self.own_events(at);
        let host = &mut self.hosts[at];
        loop {
            for input in inputs.drain(..) {
                host.node.step(now, input, &mut out);
            }
            let wrote = std::mem::take(&mut *host.wrote.0.lock().expect("one thread"));
            if wrote.is_empty() {
                break;
            }
            inputs.extend(wrote.into_iter().map(|function| Input::Wrote { function }));
        }
        host.node.settle(now, &mut out);
        self.note_taken(at);
        if self.own_events(at) > before {
            self.note_forgotten(at);
        }
        let host = &mut self.hosts[at];
        // No peer is told of what might be lost.
        host.store.commit().expect("disks do not fail here");
        self.carry_out(at, out);
        let host = &mut self.hosts[at];
        let deadline = host.node.deadline().map(|at| at.0.max(self.now));
        if let Some(deadline) = deadline
            && host.timer.is_none_or(|timer| timer > deadline)
        {
            host.timer = Some(deadline);
            let life = host.life;
            self.after(deadline - self.now, Event::Tick { at, life });
        }
    }
}
