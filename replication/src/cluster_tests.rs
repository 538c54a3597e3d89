//! Whole nodes on a network that delivers at once: where copies are, and what is read first.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use miso_store::Store;
use miso_store::crdt::{self, ReplicaId, kind};

use crate::copies::{self, Hold};
use crate::node::{self, Input, Node};
use crate::{Answer, Ask, AskId, Effect, LinkId, Note, Role, Time, overlay, replicator};

mod everything;
mod mutated;

const F: &[u8] = b"f";
const MS: u64 = 1_000_000;

/// Draws the same numbers each time: SplitMix64.
struct Draw(u64);

impl Draw {
    /// A number below `bound`, which is above 0.
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    /// Changes up to three bytes.
    fn break_some(&mut self, bytes: &mut [u8]) {
        for _ in 0..self.below(4) {
            let at = self.below(bytes.len());
            bytes[at] = self.below(256) as u8;
        }
    }
}

struct Host {
    node: Node,
    store: Arc<Store>,
    up: bool,
    runs: BTreeMap<Bytes, Vec<Bytes>>,
}

/// Nodes that are all linked with each other.
struct Net {
    hosts: Vec<Host>,
    now: Time,
    /// By receiver: the other end.
    links: BTreeMap<(usize, LinkId), (usize, LinkId)>,
    next_link: u64,
    queue: VecDeque<(usize, Input)>,
    answers: BTreeMap<u64, Answer>,
    warnings: Vec<String>,
    /// What nodes say on links that no node is at the other end of, and those that they have closed.
    said: Vec<(usize, Bytes)>,
    closed: BTreeSet<(usize, LinkId)>,
}

impl Net {
    fn new(nodes: usize, copies: usize) -> Net {
        Net::with(nodes, |_| copies::Config {
            copies,
            grace: Duration::from_secs(1),
            ..copies::Config::default()
        })
    }

    fn with(nodes: usize, copies: impl Fn(usize) -> copies::Config) -> Net {
        let host = |index: usize| {
            let replica = ReplicaId(index as u64 + 1);
            let name = format!("n{index}");
            let overlay = overlay::Config::new("c", &name, replica, 1);
            let replicator = replicator::Config::new(replica);
            let store = miso_store::Config::new(replica, 1, Arc::new(|| 0));
            let store = Arc::new(Store::new(store));
            let config = node::Config { overlay, replicator, copies: copies(index) };
            let node = Node::new(config, Arc::clone(&store));
            Host { node, store, up: true, runs: BTreeMap::new() }
        };
        let mut net = Net {
            hosts: (0..nodes).map(host).collect(),
            now: Time(MS),
            links: BTreeMap::new(),
            next_link: 0,
            queue: VecDeque::new(),
            answers: BTreeMap::new(),
            warnings: Vec::new(),
            said: Vec::new(),
            closed: BTreeSet::new(),
        };
        for a in 0..nodes {
            for b in a + 1..nodes {
                net.link(a, b);
            }
        }
        net.pass(100);
        net
    }

    fn link(&mut self, a: usize, b: usize) {
        let (here, there) = (LinkId(self.next_link), LinkId(self.next_link + 1));
        self.next_link += 2;
        self.links.insert((a, here), (b, there));
        self.links.insert((b, there), (a, here));
        self.queue.push_back((b, Input::LinkAccepted { link: there }));
        let address = format!("n{b}:1");
        self.queue.push_back((a, Input::LinkOpened { address, link: here }));
        self.deliver();
    }

    /// Delivers all that is under way; no time passes.
    fn deliver(&mut self) {
        while let Some((at, input)) = self.queue.pop_front() {
            if !self.hosts[at].up {
                continue;
            }
            let mut out = Vec::new();
            let node = &mut self.hosts[at].node;
            node.step(self.now, input, &mut out);
            node.settle(self.now, &mut out);
            out.into_iter().for_each(|effect| self.carry_out(at, effect));
        }
    }

    /// Delivers what is under way and lets answers to it wait: half a round trip.
    fn half_trip(&mut self) {
        let under_way = std::mem::take(&mut self.queue);
        for (at, input) in under_way {
            let mut out = Vec::new();
            let node = &mut self.hosts[at].node;
            node.step(self.now, input, &mut out);
            node.settle(self.now, &mut out);
            out.into_iter().for_each(|effect| self.carry_out(at, effect));
        }
    }

    /// A function begins to run on a node, and a command waits until it is current: how many messages
    /// in a row, each after the one before, that takes.
    fn half_trips_until_current(&mut self, at: usize) -> usize {
        let until = self.now + Duration::from_secs(1);
        self.hosts[at].runs = BTreeMap::from([(F.into(), Vec::new())]);
        let functions = self.hosts[at].runs.clone();
        let ask = Ask::Current { function: F.into(), until };
        self.answers.clear();
        self.queue.push_back((at, Input::Runs { functions }));
        self.queue.push_back((at, Input::Ask { id: AskId(1), ask }));
        for half_trips in 0..10 {
            self.half_trip();
            if let Some(answer) = self.answers.get(&1) {
                assert_eq!(*answer, Answer::Reached(true));
                self.deliver();
                return half_trips;
            }
        }
        panic!("no answer");
    }

    fn carry_out(&mut self, at: usize, effect: Effect) {
        match effect {
            Effect::Send { links, frame } => {
                for link in links {
                    self.send(at, link, frame.clone());
                }
            }
            Effect::SendBehind { link, frame } => self.send(at, link, frame),
            Effect::Close { link, .. } => {
                if let Some((peer, link)) = self.links.remove(&(at, link)) {
                    self.links.remove(&(peer, link));
                    self.queue.push_back((peer, Input::LinkClosed { link }));
                } else {
                    self.closed.insert((at, link));
                }
            }
            Effect::Answer { id, answer } => {
                self.answers.insert(id.0, answer);
            }
            Effect::Note(Note::Warn(note)) => self.warnings.push(note),
            Effect::Note(_) | Effect::Dial { .. } => {}
        }
    }

    fn send(&mut self, at: usize, link: LinkId, envelope: Bytes) {
        if let Some((peer, link)) = self.links.get(&(at, link)) {
            self.queue.push_back((*peer, Input::Received { link: *link, envelope }));
        } else {
            self.said.push((at, envelope));
        }
    }

    fn pass(&mut self, ms: u64) {
        let end = Time(self.now.0 + ms * MS);
        loop {
            self.deliver();
            let up = self.hosts.iter().enumerate().filter(|(_, host)| host.up);
            let due = up.filter_map(|(at, host)| Some((host.node.deadline()?, at))).min();
            let Some((due, at)) = due.filter(|(due, _)| *due <= end) else { break };
            // A deadline that is past is met in the next millisecond.
            self.now = if due > self.now { due } else { Time(self.now.0 + MS) };
            self.queue.push_back((at, Input::Tick));
        }
        self.now = end.max(self.now);
    }

    fn input(&mut self, at: usize, input: Input) {
        self.queue.push_back((at, input));
        self.deliver();
    }

    fn set_runs(&mut self, at: usize, names: &[&[u8]]) {
        let runs = names.iter().map(|name| (Bytes::copy_from_slice(name), Vec::new()));
        self.hosts[at].runs = runs.collect();
        let functions = self.hosts[at].runs.clone();
        self.input(at, Input::Runs { functions });
    }

    fn ask(&mut self, at: usize, id: u64, ask: Ask) -> Option<Answer> {
        self.input(at, Input::Ask { id: AskId(id), ask });
        self.answers.get(&id).cloned()
    }

    /// Counts once in `f`.
    fn count(&mut self, at: usize) {
        self.count_in(at, F);
    }

    fn count_in(&mut self, at: usize, name: &[u8]) {
        let function = self.hosts[at].store.function(name);
        let hash = miso_store::hash(b"o");
        let key = (hash, b"o".as_slice(), b"c".as_slice());
        let mut shard = function.lock(function.shard_of(hash));
        let counted = shard.write::<kind::GCounter, _>(key, |c, mint, _| c.add(1, 0, mint));
        counted.expect("a counter").0.expect("it fits");
        drop(shard);
        self.input(at, Input::Wrote { function });
    }

    fn value(&self, at: usize, name: &[u8]) -> i64 {
        let Some(function) = self.hosts[at].store.find(name) else { return 0 };
        let hash = miso_store::hash(b"o");
        let shard = function.lock(function.shard_of(hash));
        let counter = shard.read::<kind::GCounter>(hash, b"o", b"c").expect("a counter");
        counter.map_or(0, crdt::Counter::value)
    }

    /// What a node does with `f`.
    fn role(&mut self, at: usize) -> Option<Role> {
        self.answers.remove(&0);
        let Some(Answer::Functions(views)) = self.ask(at, 0, Ask::Functions) else {
            panic!("no answer");
        };
        views.into_iter().find(|view| view.function == F)?.role
    }

    fn with_role(&mut self, role: Role) -> Vec<usize> {
        let up = (0..self.hosts.len()).filter(|at| self.hosts[*at].up);
        let up: Vec<usize> = up.collect();
        up.into_iter().filter(|at| self.role(*at) == Some(role)).collect()
    }

    /// A node is gone at once.
    fn kill(&mut self, at: usize) {
        self.hosts[at].up = false;
        let links: Vec<_> = self.links.keys().filter(|(of, _)| *of == at).copied().collect();
        for link in links {
            let (peer, link) = self.links.remove(&link).expect("listed");
            self.links.remove(&(peer, link));
            self.queue.push_back((peer, Input::LinkClosed { link }));
        }
        self.deliver();
    }
}

fn others(nodes: usize, than: &[usize]) -> Vec<usize> {
    (0..nodes).filter(|at| !than.contains(at)).collect()
}

#[test]
fn a_function_that_one_node_runs_is_held_by_another() {
    let mut net = Net::new(4, 2);
    net.set_runs(0, &[F]);
    net.count(0);
    net.pass(1_000);
    let holders = net.with_role(Role::Holds);
    let [holder] = holders[..] else { panic!("{holders:?}") };
    net.count(0);
    net.pass(100);
    assert_eq!(net.value(holder, F), 2);
    let wait = Ask::Wait { function: F.into(), seq: 2, peers: 1, durable: false, until: None };
    assert_eq!(net.ask(0, 1, wait), Some(Answer::Count(1)), "a holder counts");
    for other in others(4, &[0, holder]) {
        assert!(net.hosts[other].store.find(F).is_none(), "n{other} has nothing of it");
    }
    // A second node that runs it is copy enough.
    let other = others(4, &[0, holder])[0];
    net.set_runs(other, &[F]);
    net.pass(2_000);
    assert_eq!((net.with_role(Role::Runs), net.with_role(Role::Holds)), (vec![0, other], vec![]));
    assert_eq!(net.value(other, F), 2);
}

#[test]
fn any_node_may_die_without_loss() {
    for victim in 0..3 {
        let mut net = Net::new(3, 2);
        net.set_runs(0, &[F]);
        net.count(0);
        net.pass(1_000);
        net.kill(victim);
        net.pass(3_000);
        let left = others(3, &[victim]);
        let copies = left.iter().filter(|at| net.value(**at, F) == 1).count();
        assert_eq!(copies, 2, "without n{victim}");
    }
}

#[test]
fn a_function_that_ends_stays_on_as_many_nodes() {
    let mut net = Net::new(5, 2);
    net.set_runs(0, &[F]);
    net.count(0);
    // Before any other node has heard of it.
    net.set_runs(0, &[]);
    net.pass(3_000);
    let holders = net.with_role(Role::Holds);
    assert_eq!(holders.len(), 2);
    assert!(holders.iter().all(|at| net.value(*at, F) == 1));
    assert!(net.warnings.is_empty(), "{:?}", net.warnings);
}

#[test]
fn without_copies_it_stays_where_it_ran() {
    let mut net = Net::new(3, 1);
    net.set_runs(0, &[F]);
    net.count(0);
    net.pass(1_000);
    assert!(net.with_role(Role::Holds).is_empty());
    assert!(net.hosts[1].store.find(F).is_none());
}

#[test]
fn a_node_holds_by_name() {
    for hold in [Hold::Everything, Hold::Named(BTreeSet::from([F.into()]))] {
        let mut net = Net::with(3, |index| copies::Config {
            hold: if index == 2 { hold.clone() } else { Hold::Nothing },
            ..copies::Config::default()
        });
        net.set_runs(0, &[F]);
        net.count(0);
        net.pass(1_000);
        assert_eq!(net.with_role(Role::Holds), [2]);
        assert_eq!((net.value(1, F), net.value(2, F)), (0, 1));
    }
}

/// A deadline that stays in the past would keep the node's thread busy.
#[test]
fn a_node_that_waits_to_leave_is_idle() {
    let mut net = Net::new(3, 2);
    net.set_runs(0, &[F]);
    net.count(0);
    // It holds the function until others have it, and looks for that.
    net.set_runs(0, &[]);
    for other in [1, 2] {
        net.hosts[other].up = false; // it does not answer
    }
    let until = net.now + Duration::from_secs(2);
    net.ask(0, 7, Ask::Leave { until });
    let mut ticks = 0;
    while !net.answers.contains_key(&7) {
        net.now = net.hosts[0].node.deadline().expect("it looks").max(net.now);
        net.input(0, Input::Tick);
        ticks += 1;
        assert!(ticks < 1_000, "it spins");
    }
}

#[test]
fn a_node_that_leaves_waits_for_the_copies() {
    let mut net = Net::new(4, 2);
    net.set_runs(0, &[F]);
    net.count(0);
    net.pass(1_000);
    let until = net.now + Duration::from_secs(10);
    net.ask(0, 7, Ask::Leave { until });
    net.pass(5_000);
    assert_eq!(net.answers.get(&7), Some(&Answer::Done));
    let copies = (1..4).filter(|at| net.value(*at, F) == 1).count();
    assert_eq!(copies, 2);
    assert!(net.warnings.iter().all(|note| !note.contains("copies")), "{:?}", net.warnings);
}

/// Whoever held a function in full, a node that begins to run it knows that before time passes.
#[test]
fn the_first_read_knows_what_a_node_that_has_it_knew() {
    for copies in [1, 2] {
        let mut net = Net::new(4, copies);
        net.set_runs(0, &[F]);
        net.count(0);
        net.pass(1_000);
        net.set_runs(0, &[]);
        net.pass(10_000);
        for (round, at) in [1, 2, 3, 0, 1].into_iter().enumerate() {
            let known = i64::try_from(round).expect("few") + 1;
            net.set_runs(at, &[F]);
            let until = net.now + Duration::from_secs(1);
            let id = 100 + round as u64;
            let current = net.ask(at, id, Ask::Current { function: F.into(), until });
            assert_eq!(current, Some(Answer::Reached(true)), "n{at}, {copies} copies");
            assert_eq!(net.value(at, F), known, "n{at}, {copies} copies");
            net.count(at);
            net.pass(1_000);
            net.set_runs(at, &[]);
            net.pass(10_000);
        }
    }
}

/// A cold start costs one round trip, whether the node has nothing of the function or something old; and
/// none if the node holds the function.
#[test]
fn a_cold_start_adds_one_round_trip_at_most() {
    let mut net = Net::new(4, 2);
    net.set_runs(0, &[F]);
    net.count(0);
    net.pass(2_000);
    let holder = net.with_role(Role::Holds)[0];
    let [other, ..] = others(4, &[0, holder])[..] else { panic!("there are four") };
    assert_eq!(net.half_trips_until_current(other), 2, "it had nothing");
    assert_eq!(net.value(other, F), 1);
    net.set_runs(other, &[]);
    net.pass(10_000);
    for _ in 0..3 {
        net.count(0);
        net.pass(1_000);
    }
    assert_eq!(net.value(other, F), 1, "it is old");
    assert_eq!(net.half_trips_until_current(other), 2, "it had something old");
    assert_eq!(net.value(other, F), 4);
    net.set_runs(other, &[]);
    net.pass(10_000);
    let holder = net.with_role(Role::Holds)[0];
    assert_eq!(net.half_trips_until_current(holder), 0, "it holds the function");
    assert_eq!(net.value(holder, F), 4);
}

#[test]
fn a_new_function_waits_for_nothing() {
    let mut net = Net::new(4, 2);
    net.set_runs(1, &[F]);
    assert!(!net.hosts[1].store.function(F).restoring());
}

#[test]
fn functions_that_begin_together_hear_of_each_other_at_once() {
    let mut net = Net::new(3, 1);
    let names: Vec<String> = (0..10).map(|index| format!("f{index}")).collect();
    for upto in 1..=names.len() {
        for at in 0..3 {
            let running: Vec<&[u8]> = names[..upto].iter().map(String::as_bytes).collect();
            net.set_runs(at, &running);
        }
        net.pass(1);
    }
    for (index, name) in names.iter().enumerate() {
        net.count_in(index % 3, name.as_bytes());
    }
    net.pass(20);
    for name in &names {
        for at in 0..3 {
            assert_eq!(net.value(at, name.as_bytes()), 1, "{name} at n{at}");
        }
    }
}
