//! A simulated cluster: many nodes of the production code, on a network and with clocks that are
//! made up. One thread, one seed: the same seed gives the same history, event by event.

mod oracle;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use miso_protocol::peer::{self, message::Body};
use miso_replication::node::{self, Input, Node};
use miso_replication::replicator::{self, Bugs};
use miso_replication::{Answer, Ask, AskId, Effect, FunctionView, LinkId, Note, Time, overlay};
use miso_store::crdt::counter::Entry;
use miso_store::crdt::{Counter, ReplicaId, Type, Value, kind};
use miso_store::journal::{Disk, FaultyDisk, Options, SyncPolicy};
use miso_store::{Function, Observer, Retirement, Store};

use crate::Rng;
use oracle::{Facts, Known, Oracle, Place};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

/// Faults of the nodes, built in to show that the simulation finds them.
#[derive(Clone, Copy, Default, Debug)]
pub struct Broken {
    /// Faults in the replicator.
    pub replicator: Bugs,
    /// A node that lost its memory writes on under the identity that it had.
    pub same_incarnation: bool,
}

/// How a world is.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Everything follows from it.
    pub seed: u64,
    /// Nodes at the beginning.
    pub nodes: usize,
    /// How long clients write and things go wrong, in seconds.
    pub seconds: u64,
    /// Whether messages are lost, doubled and overtaken within a link, which TCP does not do.
    pub hostile: bool,
    /// Whether nodes have disks, and how they use them.
    pub disks: Option<SyncPolicy>,
    /// Whether the cluster has a secret.
    pub secured: bool,
    /// Built-in faults.
    pub broken: Broken,
    /// Whether to keep the history.
    pub trace: bool,
}

impl Plan {
    /// The plan that follows from a seed: three nodes to eight, seldom thirty.
    #[must_use]
    pub fn of(seed: u64) -> Plan {
        let mut rng = Rng::new(seed ^ 0x51_4d);
        let nodes = match rng.below(100) {
            0 => 30,
            1..=5 => 9 + rng.below(8),
            _ => 3 + rng.below(5),
        };
        let (seconds, hostile) = (2 + rng.below(20), rng.below(3) == 0);
        Plan {
            seed,
            nodes: nodes as usize,
            seconds,
            hostile,
            disks: match rng.below(10) {
                0..5 => None,
                5..7 => Some(SyncPolicy::Always),
                7..9 => Some(SyncPolicy::EverySecond),
                _ => Some(SyncPolicy::No),
            },
            // Where Hello comes late, what may be overtaken overtakes it.
            secured: !hostile && seed.is_multiple_of(2),
            broken: Broken::default(),
            trace: false,
        }
    }
}

/// Gathers what a store says.
#[derive(Debug, Default)]
struct Wrote(Mutex<Vec<Arc<Function>>>);

impl Observer for Wrote {
    fn wrote(&self, function: &Arc<Function>) {
        self.0.lock().expect("one thread").push(Arc::clone(function));
    }

    fn changed(&self, _: &Function, _: &[u8], _: &[u8], _: Type) {}
}

#[derive(Debug)]
struct Host {
    name: String,
    address: String,
    replica: ReplicaId,
    /// Counts its restarts, so that what was meant for an earlier life does not reach it.
    life: u64,
    up: bool,
    store: Arc<Store>,
    disk: Option<FaultyDisk>,
    wrote: Arc<Wrote>,
    clock: Arc<AtomicU64>,
    node: Node,
    runs: BTreeMap<Bytes, Vec<Bytes>>,
    /// It is down, and lost its memory with that.
    emptied: bool,
    /// It does not come back.
    gone: bool,
    /// When that was changed last.
    runs_at: u64,
    /// It does nothing until then.
    slow_until: u64,
    timer: Option<u64>,
    leaving: Option<Leaving>,
}

/// A node that has been told to end in order.
#[derive(Debug)]
struct Leaving {
    id: AskId,
    since: u64,
    /// It waits no longer than that.
    until: u64,
    /// By function.
    peers: Vec<(Bytes, Peers)>,
}

/// Who ran a function and could be reached, as far as a node knew, and the life of each.
type Peers = Vec<(usize, u64)>;

/// A node that has been told to end a function.
#[derive(Debug)]
struct Draining {
    at: usize,
    life: u64,
    function: Bytes,
    since: u64,
    peers: Peers,
}

/// A function that ends is drained for so long at most.
const DRAIN: u64 = 5 * SECOND;

#[derive(Clone, Debug)]
struct Link {
    at: usize,
    peer: usize,
    other: LinkId,
    /// Nothing sent from here arrives before that.
    free_at: u64,
    /// Something sent from here was lost: TCP would deliver nothing behind it.
    stuck: bool,
}

#[derive(Debug)]
enum Event {
    Tick { at: usize, life: u64 },
    Deliver { link: LinkId, life: u64, envelope: Bytes },
    Dial { from: usize, life: u64, address: String },
    Closed { link: LinkId, life: u64 },
    Left { at: usize, life: u64 },
    Client,
    Trouble,
}

/// A cluster and its clients.
#[derive(Debug)]
pub struct World {
    plan: Plan,
    rng: Rng,
    now: u64,
    counter: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    hosts: Vec<Host>,
    links: BTreeMap<LinkId, Link>,
    /// Directions in which nothing passes.
    blocked: BTreeSet<(usize, usize)>,
    oracle: Oracle,
    /// Every incarnation that lost its memory.
    lost: BTreeSet<ReplicaId>,
    waits: BTreeMap<AskId, (usize, Bytes, u64)>,
    /// Who has taken over what others had counted, by the function, and for whom.
    taken: Vec<(Bytes, Retirement)>,
    drains: BTreeMap<AskId, Draining>,
    calm: bool,
    history: String,
}

const FUNCTIONS: [&[u8]; 2] = [b"cart", b"votes"];

impl World {
    /// A world at its beginning.
    #[must_use]
    pub fn new(plan: Plan) -> World {
        let mut world = World {
            rng: Rng::new(plan.seed),
            plan,
            now: 0,
            counter: 0,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            hosts: Vec::new(),
            links: BTreeMap::new(),
            blocked: BTreeSet::new(),
            oracle: Oracle::default(),
            lost: BTreeSet::new(),
            waits: BTreeMap::new(),
            taken: Vec::new(),
            drains: BTreeMap::new(),
            calm: false,
            history: String::new(),
        };
        for _ in 0..world.plan.nodes {
            world.join();
        }
        world.after(MS, Event::Client);
        world.after(20 * MS, Event::Trouble);
        world
    }

    /// What has happened, if it was kept.
    #[must_use]
    pub fn history(&self) -> &str {
        &self.history
    }

    fn say(&mut self, what: impl FnOnce() -> String) {
        if self.plan.trace {
            let (seconds, micros) = (self.now / SECOND, self.now % SECOND / 1_000);
            _ = writeln!(self.history, "{seconds:>3}.{micros:06} {}", what());
        }
    }

    fn id(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn after(&mut self, delay: u64, event: Event) {
        let id = self.id();
        self.queue.push(Reverse((self.now + delay, id)));
        self.events.insert(id, event);
    }

    fn percent(&mut self, n: u64) -> bool {
        self.rng.below(100) < n
    }

    fn pick(&mut self, of: usize) -> usize {
        self.rng.below(of as u64) as usize
    }

    fn node(&mut self, name: &str, address: &str, replica: ReplicaId, store: &Arc<Store>) -> Node {
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
        replicator.word_period = Duration::from_secs(3);
        replicator.sync_timeout = Duration::from_secs(2);
        replicator.exports = 2;
        replicator.sync_rate = [0, 5_000, 50_000][self.pick(3)];
        replicator.bugs = self.plan.broken.replicator;
        Node::new(node::Config { overlay, replicator }, Arc::clone(store))
    }

    /// A store on `disk`, or a new one of `replica` in memory alone.
    fn store(
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
        let (store, wrote) = (Arc::new(store), Arc::new(Wrote::default()));
        store.observe(Arc::clone(&wrote) as Arc<dyn Observer>);
        (store, wrote)
    }

    /// A new node.
    fn join(&mut self) {
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

    fn start(&mut self, at: usize) {
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

    /// Ends a node at once; with or without what it knows.
    fn crash(&mut self, at: usize, forgets: bool) {
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

    fn restart(&mut self, at: usize) {
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
    fn drive(&mut self, at: usize, mut inputs: Vec<Input>) {
        let now = Time(self.now);
        let mut out = Vec::new();
        let host = &mut self.hosts[at];
        if !host.up {
            return;
        }
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
        let host = &mut self.hosts[at];
        // Nobody is told of what might be lost.
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

    /// Tells the oracle what a node has just taken over.
    fn note_taken(&mut self, at: usize) {
        let (own, store) = (self.hosts[at].replica, Arc::clone(&self.hosts[at].store));
        for function in store.functions() {
            let name = Bytes::copy_from_slice(function.name());
            for retirement in function.retirements() {
                let entry = (name.clone(), retirement);
                if entry.1.by.0 != own || self.taken.contains(&entry) {
                    continue;
                }
                let known: BTreeMap<ReplicaId, u64> = function.token().into_iter().collect();
                for (writer, last) in &entry.1.writers {
                    self.check_taken_once(&name, *writer, &known);
                    assert_eq!(
                        known.get(writer).copied().unwrap_or(0),
                        *last,
                        "n{at}: what it knows of the retired"
                    );
                }
                self.say(|| format!("n{at} takes over: {:x?}", entry.1));
                let living = self.hosts.iter().filter(|host| !host.gone).map(|host| host.replica);
                let living: BTreeSet<ReplicaId> = living.collect();
                let known = Known { vector: &known, living: &living };
                let holds = |place: &Place| facts(&function, place);
                let Retirement { by, writers } = &entry.1;
                self.oracle.take_over(&name, *by, writers, &known, holds);
                self.taken.push(entry);
            }
        }
    }

    /// Who takes over from a writer knows of it if another has done so, unless nobody does any more.
    fn check_taken_once(&self, name: &Bytes, writer: ReplicaId, known: &BTreeMap<ReplicaId, u64>) {
        let before = self.taken.iter().filter(|(function, _)| function == name);
        for (_, other) in before.filter(|(_, r)| r.writers.iter().any(|(id, _)| *id == writer)) {
            let (by, seq) = other.by;
            let here = known.get(&by).is_some_and(|upto| *upto >= seq);
            let somewhere =
                self.hosts.iter().filter(|host| !host.gone).any(|host| {
                    host.store.find(name).is_some_and(|function| function.upto(by) >= seq)
                });
            assert!(
                here || !somewhere,
                "{writer:x?} is taken over a second time, after {other:x?}"
            );
        }
    }

    fn carry_out(&mut self, at: usize, out: Vec<Effect>) {
        let mut envelopes: BTreeMap<LinkId, BytesMut> = BTreeMap::new();
        let mut farewells = BTreeSet::new();
        for effect in out {
            // Here nothing waits to be sent, so it is behind nothing.
            let effect = match effect {
                Effect::SendBehind { link, frame } => Effect::Send { links: vec![link], frame },
                other => other,
            };
            match effect {
                Effect::Dial { address } => {
                    let life = self.hosts[at].life;
                    let delay = MS + self.rng.below(5 * MS);
                    self.after(delay, Event::Dial { from: at, life, address });
                }
                Effect::Send { links, frame } => {
                    if is_goodbye(&frame) {
                        let linked = links.iter().filter_map(|link| self.links.get(link));
                        farewells.extend(linked.map(|link| link.peer));
                    }
                    for link in links {
                        if !self.plan.hostile || self.calm || !is_about_changes(&frame) {
                            envelopes.entry(link).or_default().extend_from_slice(&frame);
                            continue;
                        }
                        let copies = match self.rng.below(100) {
                            0..8 => 0,
                            8..14 => 2,
                            _ => 1,
                        };
                        for _ in 0..copies {
                            let overtakes = self.percent(15);
                            self.send(link, frame.clone(), overtakes);
                        }
                    }
                }
                Effect::SendBehind { .. } => unreachable!("it is a Send by now"),
                Effect::Close { link, reason } => {
                    self.flush(&mut envelopes, link);
                    self.say(|| format!("n{at} closes {link:?}: {reason}"));
                    if let Some(closed) = self.links.remove(&link) {
                        let life = self.hosts[closed.peer].life;
                        let delay = closed.free_at.saturating_sub(self.now) + MS;
                        if !self.blocked.contains(&(at, closed.peer)) {
                            self.after(delay, Event::Closed { link: closed.other, life });
                        }
                    }
                }
                Effect::Answer { id, answer } => {
                    if self.hosts[at].leaving.as_ref().is_some_and(|leaving| leaving.id == id) {
                        self.left(at, &farewells);
                    }
                    self.answered(id, &answer);
                }
                Effect::Note(Note::Info(note)) => self.say(|| format!("n{at}: {note}")),
                Effect::Note(Note::Warn(note)) => self.say(|| format!("n{at} WARNS {note}")),
                Effect::Note(Note::Fatal(note) | Note::Outdated(note)) => {
                    self.say(|| format!("n{at} ENDS {note}"));
                }
            }
        }
        let links: Vec<LinkId> = envelopes.keys().copied().collect();
        for link in links {
            self.flush(&mut envelopes, link);
        }
    }

    fn flush(&mut self, envelopes: &mut BTreeMap<LinkId, BytesMut>, link: LinkId) {
        if let Some(envelope) = envelopes.remove(&link) {
            self.send(link, envelope.freeze(), false);
        }
    }

    fn send(&mut self, id: LinkId, envelope: Bytes, overtakes: bool) {
        let Some(link) = self.links.get(&id).cloned() else { return };
        if link.stuck {
            return;
        }
        if self.blocked.contains(&(link.at, link.peer)) {
            self.links.get_mut(&id).expect("found above").stuck = true;
            return;
        }
        let delay = if self.percent(3) { self.rng.below(100 * MS) } else { self.rng.below(2 * MS) };
        let mut at = self.now + 50_000 + delay;
        if !overtakes {
            at = at.max(link.free_at);
            self.links.get_mut(&id).expect("found above").free_at = at + 1;
        }
        let life = self.hosts[link.peer].life;
        self.after(at - self.now, Event::Deliver { link: link.other, life, envelope });
    }

    /// What a node answers at once.
    fn ask(&mut self, at: usize, ask: Ask) -> Answer {
        let (now, id) = (Time(self.now), AskId(self.id()));
        let mut out = Vec::new();
        self.hosts[at].node.step(now, Input::Ask { id, ask }, &mut out);
        let answer = out.iter().find_map(|effect| match effect {
            Effect::Answer { id: of, answer } if *of == id => Some(answer.clone()),
            _ => None,
        });
        self.carry_out(at, out);
        answer.expect("it is answered at once")
    }

    /// Who runs each function of a node, as far as that knows.
    fn peers(&mut self, at: usize) -> Vec<(Bytes, Peers)> {
        let Answer::Functions(views) = self.ask(at, Ask::Functions) else { return Vec::new() };
        let peers = |view: FunctionView| {
            let of = |(replica, _): &(ReplicaId, bool)| {
                let peer = self.hosts.iter().position(|host| host.replica == *replica)?;
                Some((peer, self.hosts[peer].life))
            };
            (view.function.clone(), view.peers.iter().filter_map(of).collect())
        };
        views.into_iter().map(peers).collect()
    }

    /// Whether a peer has run a function since then without a break.
    fn stayed(&self, (peer, life): (usize, u64), function: &Bytes, since: u64) -> bool {
        let host = &self.hosts[peer];
        host.life == life && host.runs.contains_key(function) && host.runs_at < since
    }

    /// A node ends a function that it runs, as MISO.UNREGISTER does.
    fn end(&mut self, at: usize, function: Bytes) {
        let all = self.peers(at);
        let peers = all.into_iter().find(|(name, _)| *name == function).map(|(_, peers)| peers);
        let host = &mut self.hosts[at];
        host.runs.remove(&function);
        host.runs_at = self.now;
        let (functions, life, since) = (host.runs.clone(), host.life, self.now);
        self.drive(at, vec![Input::Runs { functions }]);
        let id = AskId(self.id());
        let peers = peers.unwrap_or_default();
        let ask = Ask::Drain { function: function.clone() };
        self.drains.insert(id, Draining { at, life, function, since, peers });
        self.drive(at, vec![Input::Ask { id, ask }]);
    }

    /// A function has ended. If anybody ran it all the time and can be reached, somebody has all that
    /// the node's clients were told is written; or the node's disk has.
    fn drained(&mut self, drained: &Draining) {
        let Draining { at, life, function, since, peers } = drained;
        let host = &self.hosts[*at];
        if self.now >= since + DRAIN || host.life != *life || host.runs_at != *since {
            return;
        }
        let (me, seq) = (host.replica, host.store.function(function).seq());
        let Answer::Nodes(nodes) = self.ask(*at, Ask::Nodes) else { return };
        let linked: BTreeSet<ReplicaId> =
            nodes.iter().filter(|node| node.linked).map(|node| node.replica).collect();
        let here = |peer: &&(usize, u64)| {
            linked.contains(&self.hosts[peer.0].replica) && self.stayed(**peer, function, *since)
        };
        let Some((peer, _)) = peers.iter().find(here) else { return };
        let has = |host: &Host| host.store.function(function).upto(me) >= seq;
        assert!(
            self.hosts.iter().any(|host| host.replica != me && has(host)),
            "n{at} has ended {} with events up to {seq} that nobody else has, n{peer} being there",
            function.escape_ascii()
        );
    }

    /// A node ends in order, as after SIGTERM: its clients are gone, its peers get what it has.
    fn leave(&mut self, at: usize) {
        let peers = self.peers(at);
        let (id, until) = (AskId(self.id()), self.now + 2 * SECOND);
        self.say(|| format!("n{at} leaves: {peers:?}"));
        self.hosts[at].leaving = Some(Leaving { id, since: self.now, until, peers });
        let ask = Ask::Leave { until: Time(until) };
        self.drive(at, vec![Input::Ask { id, ask }]);
    }

    /// A node has done all that it does before it ends. Whoever ran a function all the time, and
    /// could be reached to the end, has what the node's clients were told is written.
    fn left(&mut self, at: usize, farewells: &BTreeSet<usize>) {
        let Some(leaving) = self.hosts[at].leaving.take() else { return };
        let (host, life) = (&self.hosts[at], self.hosts[at].life);
        if self.now < leaving.until {
            for (name, peers) in &leaving.peers {
                let seq = host.store.function(name).seq();
                let stayed = |peer: &&(usize, u64)| self.stayed(**peer, name, leaving.since);
                let linked = |peer: &&(usize, u64)| farewells.contains(&peer.0);
                for (peer, _) in peers.iter().filter(linked).filter(stayed) {
                    let has = self.hosts[*peer].store.function(name).upto(host.replica);
                    assert!(
                        has >= seq,
                        "n{at} has left with events of {} up to {seq}, n{peer} has {has}",
                        name.escape_ascii()
                    );
                }
            }
        }
        self.say(|| format!("n{at} has left"));
        self.after(0, Event::Left { at, life });
    }

    fn answered(&mut self, id: AskId, answer: &Answer) {
        if let Some(drained) = self.drains.remove(&id) {
            return self.drained(&drained);
        }
        let Some((at, function, seq)) = self.waits.remove(&id) else { return };
        let Answer::Count(count) = answer else { return };
        let me = self.hosts[at].replica;
        let having = self.hosts.iter().filter(|host| {
            host.replica != me
                && host.store.find(&function).is_some_and(|function| function.upto(me) >= seq)
        });
        let (having, lost) = (having.count(), self.lost.len());
        assert!(
            having + lost >= *count || seq == 0,
            "n{at} was told that {count} have its event {seq}, but {having} have"
        );
    }

    /// Lets the next thing happen; false once `until` is reached.
    fn step(&mut self, until: u64) -> bool {
        let Some(Reverse((at, id))) = self.queue.peek().copied() else { return false };
        if at > until {
            self.now = until;
            return false;
        }
        self.queue.pop();
        let passed = (at - self.now) / MS;
        self.now = at;
        for host in &self.hosts {
            host.clock.fetch_add(passed, Ordering::Relaxed);
        }
        match self.events.remove(&id).expect("queued once") {
            Event::Tick { at, life } => {
                let host = &mut self.hosts[at];
                if host.life == life && host.timer == Some(self.now) {
                    host.timer = None;
                    if host.slow_until > self.now {
                        let delay = host.slow_until - self.now;
                        host.timer = Some(host.slow_until);
                        self.after(delay, Event::Tick { at, life });
                    } else {
                        self.drive(at, vec![Input::Tick]);
                    }
                }
            }
            Event::Deliver { link, life, envelope } => {
                let Some(at) = self.links.get(&link).map(|link| link.at) else { return true };
                let host = &self.hosts[at];
                if host.life != life || !host.up {
                    return true;
                }
                if host.slow_until > self.now {
                    let delay = host.slow_until - self.now;
                    self.after(delay, Event::Deliver { link, life, envelope });
                } else {
                    if self.plan.trace {
                        let from = self.links[&link].peer;
                        let words = in_words(&envelope);
                        self.say(|| format!("n{at} hears of n{from}: {words}"));
                    }
                    self.drive(at, vec![Input::Received { link, envelope }]);
                }
            }
            Event::Closed { link, life } => {
                if let Some(closed) = self.links.get(&link).cloned()
                    && self.hosts[closed.at].life == life
                {
                    self.links.remove(&link);
                    self.drive(closed.at, vec![Input::LinkClosed { link }]);
                }
            }
            Event::Left { at, life } => {
                if self.hosts[at].life == life {
                    self.crash(at, self.plan.disks.is_none());
                    if self.calm {
                        self.restart(at);
                        self.run_all(at);
                    }
                }
            }
            Event::Dial { from, life, address } => self.dial(from, life, address),
            Event::Client => {
                if !self.calm {
                    self.client();
                    let pause = 200_000 + self.rng.below(60 * MS);
                    self.after(pause, Event::Client);
                }
            }
            Event::Trouble => {
                if !self.calm {
                    self.trouble();
                    let pause = 50 * MS + self.rng.below(700 * MS);
                    self.after(pause, Event::Trouble);
                }
            }
        }
        true
    }

    fn dial(&mut self, from: usize, life: u64, address: String) {
        if self.hosts[from].life != life || !self.hosts[from].up {
            return;
        }
        let to = self.hosts.iter().position(|host| host.up && host.address == address);
        let open =
            |to: usize| !self.blocked.contains(&(from, to)) && !self.blocked.contains(&(to, from));
        let Some(to) = to.filter(|to| open(*to)) else {
            let reason = "nobody there".into();
            self.drive(from, vec![Input::LinkFailed { address, reason }]);
            return;
        };
        let (mine, theirs) = (LinkId(self.id()), LinkId(self.id()));
        let link = |at, peer, other| Link { at, peer, other, free_at: 0, stuck: false };
        self.links.insert(mine, link(from, to, theirs));
        self.links.insert(theirs, link(to, from, mine));
        self.drive(to, vec![Input::LinkAccepted { link: theirs }]);
        self.drive(from, vec![Input::LinkOpened { address, link: mine }]);
    }

    fn some_host(&mut self) -> Option<usize> {
        let up: Vec<usize> = (0..self.hosts.len()).filter(|at| self.hosts[*at].up).collect();
        (!up.is_empty()).then(|| up[self.rng.below(up.len() as u64) as usize])
    }

    /// Something goes wrong, or is mended.
    fn trouble(&mut self) {
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
    fn forget(&mut self, at: usize, other: usize) {
        let id = AskId(self.id());
        let node = self.hosts[other].name.clone();
        self.say(|| format!("n{at} is told to forget {node}"));
        self.drive(at, vec![Input::Ask { id, ask: Ask::Forget { node } }]);
    }

    /// A client does something on some node.
    fn client(&mut self) {
        let Some(at) = self.some_host() else { return };
        if self.hosts[at].leaving.is_some() {
            return;
        }
        let name = Bytes::from_static(FUNCTIONS[self.pick(2)]);
        if !self.hosts[at].runs.contains_key(&name) {
            self.hosts[at].runs.insert(name.clone(), Vec::new());
            self.hosts[at].runs_at = self.now;
            let functions = self.hosts[at].runs.clone();
            self.drive(at, vec![Input::Runs { functions }]);
        }
        let function = self.hosts[at].store.function(&name);
        let object = format!("o{}", self.rng.below(4)).into_bytes();
        let until = Some(Time(self.now + SECOND));
        match self.rng.below(100) {
            0..4 => {
                let id = AskId(self.id());
                self.waits.insert(id, (at, name.clone(), function.seq()));
                let peers = 1 + self.pick(3);
                let ask =
                    Ask::Wait { function: name, seq: function.seq(), peers, durable: false, until };
                self.drive(at, vec![Input::Ask { id, ask }]);
                return;
            }
            4..8 if function.restoring() => {
                let id = AskId(self.id());
                let until = Time(self.now + 200 * MS);
                let object = Bytes::from(object);
                let ask = Ask::Fetch { function: name, object, name: None, until };
                self.drive(at, vec![Input::Ask { id, ask }]);
                return;
            }
            8 => {
                let id = AskId(self.id());
                let until = Time(self.now + 2 * SECOND);
                let ask = Ask::Sync { function: Some(name), until };
                self.drive(at, vec![Input::Ask { id, ask }]);
                return;
            }
            9 => {
                let other = self.pick(self.hosts.len());
                let vector = self.hosts[other].store.function(&name).token();
                let id = AskId(self.id());
                let ask = Ask::Await { function: name, vector, until };
                self.drive(at, vec![Input::Ask { id, ask }]);
                return;
            }
            _ => {}
        }
        let kind = Type::ALL[self.pick(Type::ALL.len())];
        // Sometimes the same name with any type.
        let slot = if self.percent(10) { b"any".to_vec() } else { kind.name().as_bytes().to_vec() };
        for _ in 0..1 + self.rng.below(3) {
            self.edit(at, &function, (name.clone(), object.clone(), slot.clone(), kind));
        }
        self.hosts[at].store.commit().expect("disks do not fail here");
        self.check_own(at);
        self.drive(at, Vec::new());
    }

    fn edit(&mut self, at: usize, function: &Function, place: Place) {
        let before = facts(function, &place);
        let of_kind = |kind: &Type| (place.0.clone(), place.1.clone(), place.2.clone(), *kind);
        let all_before: Vec<(Place, Facts)> =
            Type::ALL.iter().map(of_kind).map(|at| (at.clone(), facts(function, &at))).collect();
        let (_, object, name, kind) = &place;
        let hash = miso_store::hash(object);
        let key = (hash, object.as_slice(), name.as_slice());
        let e = [b'a' + self.rng.below(3) as u8];
        let field = [b'f' + self.rng.below(2) as u8];
        let (dice, n) = (self.rng.below(10), 1 + self.rng.below(100));
        let word = format!("{n}").into_bytes();
        let mut amount = None;
        let mut shard = function.lock(function.shard_of(hash));
        // The server lets these wait.
        let resets = dice == 0 || (*kind == Type::OrMap && !(4..7).contains(&dice));
        if resets && function.deletes_paused() {
            return;
        }
        let done = match (kind, dice) {
            (_, 0) => Some(shard.delete(hash, object, name)),
            (Type::GCounter, _) => {
                amount = Some((Vec::new(), i128::from(n)));
                let add = shard.write::<kind::GCounter, _>(key, |c, mint, _| c.add(n, 0, mint));
                add.ok().map(|(added, _)| added.is_ok())
            }
            (Type::PnCounter, _) => {
                let (p, m) = if dice < 5 { (n, 0) } else { (0, n) };
                amount = Some((Vec::new(), i128::from(p) - i128::from(m)));
                let add = shard.write::<kind::PnCounter, _>(key, |c, mint, _| c.add(p, m, mint));
                add.ok().map(|(added, _)| added.is_ok())
            }
            (Type::GSet, _) => shard
                .write::<kind::GSet, _>(key, |s, mint, d| s.add(&e, mint, d))
                .ok()
                .map(|_| true),
            (Type::OrSet, 1..6) => shard
                .write::<kind::OrSet, _>(key, |s, mint, d| s.add(&e, mint, d))
                .ok()
                .map(|_| true),
            (Type::OrSet, _) => shard
                .modify::<kind::OrSet, _>(key, |s, mint, d| s.remove(&e, mint, d))
                .ok()
                .map(|_| true),
            (Type::MvRegister, _) => shard
                .write::<kind::MvRegister, _>(key, |r, mint, d| r.set(&word, mint, d))
                .ok()
                .map(|_| true),
            (Type::EwFlag, 1..6) => shard
                .write::<kind::EwFlag, _>(key, |f, mint, d| f.enable(mint, d))
                .ok()
                .map(|_| true),
            (Type::EwFlag, _) => shard
                .modify::<kind::EwFlag, _>(key, |f, mint, d| f.disable(mint, d))
                .ok()
                .map(|_| true),
            (Type::OrMap, 1..4) => shard
                .write::<kind::OrMap, _>(key, |m, mint, d| m.set(&field, &word, mint, d))
                .ok()
                .map(|_| true),
            (Type::OrMap, 4..7) => {
                amount = Some((field.to_vec(), i128::from(n)));
                let writers = shard.shared_writers();
                let add = shard.write::<kind::OrMap, _>(key, |m, mint, d| {
                    m.add(&field, n as i64, &writers, mint, d)
                });
                add.ok().map(|(added, _)| added.is_ok())
            }
            (Type::OrMap, _) => shard
                .modify::<kind::OrMap, _>(key, |m, mint, d| m.remove(&field, mint, d))
                .ok()
                .map(|_| true),
        };
        drop(shard);
        if done != Some(true) {
            return; // the name holds another type, or there was nothing to do
        }
        if dice == 0 {
            // All types under the name go.
            for (place, was) in all_before {
                let (by, now) = ((self.hosts[at].replica, function.seq()), Facts::default());
                if was != now {
                    self.oracle.record(place, by, &was, &now, None);
                }
            }
        } else {
            let after = facts(function, &place);
            let by = (self.hosts[at].replica, function.seq());
            self.oracle.record(place.clone(), by, &before, &after, amount);
        }
        self.say(|| format!("n{at} {place:?} {dice} {n} -> {}", function.seq()));
    }

    /// A node's clients see what they did.
    fn check_own(&self, at: usize) {
        let host = &self.hosts[at];
        for function in host.store.functions() {
            let vector = BTreeMap::from([(host.replica, function.seq())]);
            // Of others nothing is sure here.
            let living = BTreeSet::from([host.replica]);
            let known = Known { vector: &vector, living: &living };
            for place in self.oracle.places().filter(|place| *place.0 == *function.name()) {
                if let Err(wrong) = self.oracle.check(place, &facts(&function, place), &known) {
                    panic!("n{at} {place:?}, to its own clients: {wrong}");
                }
            }
        }
    }

    /// Plays the history to its end, heals everything, and checks what all hold.
    ///
    /// # Panics
    /// If something is wrong.
    pub fn play(&mut self) {
        let end = self.plan.seconds * SECOND;
        while self.step(end) {}
        self.heal();
        let calm_since = self.now;
        loop {
            let next = self.now + 500 * MS;
            while self.step(next) {}
            let differences = self.differences();
            if differences.is_empty() {
                break;
            }
            assert!(
                self.now < calm_since + 120 * SECOND,
                "they do not converge: {}",
                differences.join("; ")
            );
        }
        self.check_all();
        // Floors go once their writers have said that they know.
        let next = self.now + 10 * SECOND;
        while self.step(next) {}
        self.check_all();
        self.check_remains();
        if self.hosts.len() > 2 {
            self.check_forgotten();
        }
    }

    /// A node goes for good, and another is told so: what it had counted stays, and nothing else of it.
    fn check_forgotten(&mut self) {
        let at = self.pick(self.hosts.len());
        let teller = (at + 1) % self.hosts.len();
        let (name, gone) = (self.hosts[at].name.clone(), self.hosts[at].replica);
        self.say(|| format!("{name} goes for good"));
        self.crash(at, true);
        self.hosts[at].gone = true;
        self.lost.insert(gone);
        let next = self.now + 3 * SECOND;
        while self.step(next) {}
        self.forget(teller, at);
        let until = self.now + 60 * SECOND;
        loop {
            let next = self.now + SECOND;
            while self.step(next) {}
            let left = self.remains_of(gone);
            if left.is_empty() && self.differences().is_empty() {
                break;
            }
            assert!(self.now < until, "left of {:x}: {}", gone.0, left.join("; "));
        }
        self.check_all();
    }

    /// Where something is left of what a writer has counted.
    fn remains_of(&self, writer: ReplicaId) -> Vec<String> {
        let mut left = Vec::new();
        for host in self.hosts.iter().filter(|host| !host.gone) {
            for function in host.store.functions() {
                self.entries(&function, |place, id, entry| {
                    if id == writer {
                        left.push(format!("{} {place:?} {entry:?}", host.name));
                    }
                });
            }
        }
        left
    }

    /// Everything is mended, everybody runs everything, and nobody writes.
    fn heal(&mut self) {
        self.say(|| "all is healed".into());
        self.calm = true;
        self.blocked.clear();
        for at in 0..self.hosts.len() {
            self.hosts[at].slow_until = 0;
            if !self.hosts[at].up {
                self.restart(at);
            }
            self.run_all(at);
        }
    }

    fn run_all(&mut self, at: usize) {
        let all = FUNCTIONS.iter().map(|name| (Bytes::from_static(name), Vec::new()));
        self.hosts[at].runs = all.collect();
        self.hosts[at].runs_at = self.now;
        let functions = self.hosts[at].runs.clone();
        self.drive(at, vec![Input::Runs { functions }]);
    }

    fn differences(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for name in FUNCTIONS {
            let state = |host: &Host| {
                let function = host.store.function(name);
                let mut vector = function.vector();
                vector.sort_unstable();
                (vector, function.digests(16))
            };
            let mut hosts = self.hosts.iter().enumerate().filter(|(_, host)| !host.gone);
            let Some((one, held_by_one)) = hosts.next() else { continue };
            let first = state(held_by_one);
            for (at, host) in hosts {
                let other = state(host);
                if other.0 != first.0 {
                    wrong.push(format!("n{at} knows {:x?}, n{one} {:x?}", other.0, first.0));
                } else if other != first {
                    let places = self.oracle.places().filter(|place| *place.0 == *name);
                    let pairs = places.map(|place| {
                        let held = |host: &Host| facts(&host.store.function(name), place);
                        (place, held(held_by_one), held(host))
                    });
                    let differ: Vec<_> = pairs.filter(|(_, a, b)| a != b).collect();
                    wrong.push(format!(
                        "n{at} and n{one} know the same and hold different values: {differ:x?}"
                    ));
                }
            }
        }
        wrong
    }

    fn check_all(&self) {
        let hosts = || self.hosts.iter().enumerate().filter(|(_, host)| !host.gone);
        let living: BTreeSet<ReplicaId> = hosts().map(|(_, host)| host.replica).collect();
        for (at, host) in hosts() {
            for place in self.oracle.places() {
                let function = host.store.function(&place.0);
                let vector = function.vector().into_iter().collect();
                let known = Known { vector: &vector, living: &living };
                if let Err(wrong) = self.oracle.check(place, &facts(&function, place), &known) {
                    panic!("n{at} {place:?}: {wrong}");
                }
            }
        }
    }

    /// Nothing stays of what is gone; but what only dead writers could release may.
    fn check_remains(&self) {
        for (at, host) in self.hosts.iter().enumerate() {
            for function in host.store.functions() {
                let name = function.name().escape_ascii();
                if self.lost.is_empty() {
                    let floors = self.floors(&function);
                    assert!(floors.is_empty(), "n{at}: floors are left in {name}: {floors:?}");
                    assert_eq!(function.ahead_count(), 0, "n{at}: knowledge ahead in {name}");
                }
            }
        }
    }
}

fn facts(function: &Function, (_, object, name, kind): &Place) -> Facts {
    let hash = miso_store::hash(object);
    let shard = function.lock(function.shard_of(hash));
    let values = shard.slot(hash, object, name).map_or(&[][..], miso_store::Slot::values);
    let value: Option<&Value> = values.iter().find(|value| value.kind() == *kind);
    value.map(|value| Facts::of(value, shard.writers())).unwrap_or_default()
}

impl World {
    /// What is kept in a function only for its floors: the place, whose entry, and whose reset.
    fn floors(&self, function: &Function) -> Vec<String> {
        let mut floors = Vec::new();
        self.entries(function, |(_, object, name, _), id, entry| {
            if !entry.live() {
                floors.push(format!(
                    "{}/{} {:x}:{} {:?}",
                    object.escape_ascii(),
                    name.escape_ascii(),
                    id.0,
                    entry.dot.seq(),
                    entry.floor
                ));
            }
        });
        floors
    }

    /// Visits what a function keeps of each writer in each counter.
    fn entries(&self, function: &Function, mut visit: impl FnMut(&Place, ReplicaId, &Entry)) {
        for place in self.oracle.places().filter(|place| *place.0 == *function.name()) {
            let (_, object, name, kind) = place;
            let shard = function.lock(function.shard_index(object));
            let slot = shard.objects().get(object).and_then(|object| object.get(name));
            let values = slot.map_or(&[][..], miso_store::Slot::values);
            let Some(value) = values.iter().find(|value| value.kind() == *kind) else { continue };
            let mut look = |counter: &Counter| {
                for entry in counter.entries() {
                    let id = shard.writers().id(entry.dot.writer()).expect("interned");
                    visit(place, id, &entry);
                }
            };
            match value {
                Value::GCounter(counter) | Value::PnCounter(counter) => look(counter),
                Value::OrMap(map) => {
                    map.fields().iter().filter_map(|(_, f)| f.counter.as_deref()).for_each(look);
                }
                _ => {}
            }
        }
    }
}

/// An envelope's messages about changes, in a few words each.
fn in_words(envelope: &Bytes) -> String {
    let vector = |vector: &Option<peer::Vector>| {
        let vector = vector.as_ref().map(|v| v.writers.iter().zip(&v.lasts));
        let words = vector.into_iter().flatten().map(|(id, seq)| format!("{:x}:{seq}", id >> 48));
        words.collect::<Vec<_>>().join(" ")
    };
    let words = peer::open(envelope.clone()).flatten().filter_map(|message| {
        Some(match message.body? {
            Body::Batch(m) => {
                format!("batch {}..={} in {} bytes", m.first, m.last, m.changes.len())
            }
            Body::Ack(m) => format!("ack {}", m.last),
            Body::Word(m) => {
                format!("word {}, kept from {}, {}", vector(&m.vector), m.kept_from, m.answer)
            }
            Body::Pull(m) => format!(
                "pull {} of what is not {}, {} digests, {} taken",
                m.id,
                vector(&m.known),
                m.digests.len(),
                m.taken
            ),
            Body::State(m) => format!(
                "part {} of {}: {:?} {} {} bytes",
                m.part,
                m.id,
                m.kind(),
                vector(&m.vector),
                m.changes.len()
            ),
            Body::Fetch(m) => format!("fetch {} {}", m.id, m.object.escape_ascii()),
            Body::Fetched(m) => format!("fetched {} {}", m.id, m.found),
            Body::Retire(m) => format!("may I retire {:x?}? over {}", m.writers, m.over),
            Body::Grant(m) => format!("grant {} {}", !m.refused, vector(&m.vector)),
            Body::Retired(m) => format!("{} are retired by {:x}", vector(&m.writers), m.by),
            _ => return None,
        })
    });
    words.collect::<Vec<_>>().join("; ")
}

fn is_goodbye(frame: &Bytes) -> bool {
    let said = |message: peer::Message| matches!(message.body, Some(Body::Goodbye(_)));
    peer::open(frame.clone()).flatten().any(said)
}

/// Whether a frame is the replicator's: the overlay counts on its links to be streams.
fn is_about_changes(frame: &Bytes) -> bool {
    peer::open(frame.clone()).flatten().any(|message| {
        matches!(
            message.body,
            Some(
                Body::Batch(_)
                    | Body::Ack(_)
                    | Body::Word(_)
                    | Body::Pull(_)
                    | Body::State(_)
                    | Body::Fetch(_)
                    | Body::Fetched(_)
            )
        )
    })
}
