//! Several overlays on a made-up network: messages take a millisecond, keep their order, and can be
//! cut off without a word.

use miso_protocol::peer::refusal::Kind;
use miso_protocol::peer::{self, Heartbeat, Records};

use super::random::mix;
use super::*;
use crate::{Answer, NodeView, Note};

mod hostile;
mod links;
mod secret;

const SECOND: Duration = Duration::from_secs(1);
const HOP: Duration = Duration::from_millis(1);

#[derive(Debug)]
enum Arrival {
    Opened(String, LinkId),
    Accepted(LinkId),
    Failed(String),
    Closed(LinkId),
    Frame(LinkId, Bytes),
}

#[derive(Default)]
struct World {
    now: Time,
    nodes: BTreeMap<usize, Overlay>,
    /// Which node listens where.
    listens: BTreeMap<String, usize>,
    /// By link: the node that holds it, and the other end.
    ends: BTreeMap<LinkId, (usize, LinkId)>,
    arrivals: BTreeMap<(Time, u64), (usize, Arrival)>,
    cut: BTreeSet<(usize, usize)>,
    events: Vec<(usize, Event)>,
    notes: Vec<(usize, Note)>,
    answers: Vec<(usize, AskId, Answer)>,
    dials: Vec<(usize, Time, String)>,
    count: u64,
    messages: u64,
    /// All that was sent, with its sender.
    said: Vec<(usize, Bytes)>,
    /// Random delays, by a seed.
    delays: Option<Random>,
    /// When the last thing on a link arrives: nothing overtakes it.
    last: BTreeMap<LinkId, Time>,
}

impl World {
    /// Starts node `index` by the name `n<index>`.
    fn start(&mut self, index: usize, change: impl FnOnce(&mut Config)) {
        let mut config = Config::new(
            "test",
            &format!("n{index}"),
            ReplicaId(mix(index as u64 + 1)),
            1000 + self.now.0 / 1_000_000,
        );
        config.addresses = vec![format!("h{index}:1")];
        change(&mut config);
        for address in &config.addresses {
            self.listens.insert(address.clone(), index);
        }
        self.nodes.insert(index, Overlay::new(config));
    }

    /// The process ends without a word; its kernel closes its links.
    fn kill(&mut self, index: usize) {
        self.nodes.remove(&index);
        self.events.retain(|(at, _)| *at != index);
        self.arrivals.retain(|_, (to, _)| *to != index);
        self.listens.retain(|_, at| *at != index);
        let ends: Vec<_> = self.ends.iter().filter(|(_, (at, _))| *at == index).collect();
        let others: Vec<_> = ends.into_iter().map(|(link, (_, other))| (*link, *other)).collect();
        for (link, other) in others {
            self.ends.remove(&link);
            self.send_from(index, other, Arrival::Closed(other));
        }
    }

    fn next_count(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    fn later(&mut self, index: usize, arrival: Arrival) {
        let mut at = self.now + HOP;
        if let Some(delays) = &mut self.delays {
            at = at + delays.up_to(Duration::from_millis(50));
        }
        if let Arrival::Opened(_, link)
        | Arrival::Accepted(link)
        | Arrival::Closed(link)
        | Arrival::Frame(link, _) = &arrival
        {
            at = at.max(self.last.get(link).copied().unwrap_or_default());
            self.last.insert(*link, at);
        }
        let key = (at, self.next_count());
        self.arrivals.insert(key, (index, arrival));
    }

    fn send_from(&mut self, from: usize, link: LinkId, arrival: Arrival) {
        if let Some(&(to, _)) = self.ends.get(&link)
            && !self.is_cut(from, to)
        {
            self.later(to, arrival);
        }
    }

    fn is_cut(&self, one: usize, two: usize) -> bool {
        self.cut.contains(&(one, two)) || self.cut.contains(&(two, one))
    }

    fn perform(&mut self, at: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Dial { address } => {
                    self.dials.push((at, self.now, address.clone()));
                    self.dial(at, address);
                }
                Effect::Send { links, frame } => {
                    self.said.push((at, frame.clone()));
                    for link in links {
                        self.messages += 1;
                        if let Some(&(_, other)) = self.ends.get(&link) {
                            self.send_from(at, other, Arrival::Frame(other, frame.clone()));
                        }
                    }
                }
                Effect::Close { link, .. } => {
                    if let Some((_, other)) = self.ends.remove(&link) {
                        self.send_from(at, other, Arrival::Closed(other));
                    }
                }
                Effect::Note(note) => self.notes.push((at, note)),
                Effect::Answer { id, answer } => self.answers.push((at, id, answer)),
                Effect::SendBehind { .. } => panic!("an overlay makes no syncs"),
            }
        }
    }

    fn dial(&mut self, from: usize, address: String) {
        match self.listens.get(&address) {
            Some(&to) if !self.is_cut(from, to) => {
                let (here, there) = (LinkId(self.next_count()), LinkId(self.next_count()));
                self.ends.insert(here, (from, there));
                self.ends.insert(there, (to, here));
                self.later(from, Arrival::Opened(address, here));
                self.later(to, Arrival::Accepted(there));
            }
            _ => self.later(from, Arrival::Failed(address)),
        }
    }

    /// Does something at a node.
    fn at<T>(&mut self, index: usize, act: impl FnOnce(&mut Overlay, Time, &mut Out) -> T) -> T {
        let mut out = Vec::new();
        let node = self.nodes.get_mut(&index).expect("the node was started");
        let result = act(node, self.now, &mut out);
        while let Some(event) = node.event() {
            self.events.push((index, event));
        }
        self.perform(index, out);
        result
    }

    fn arrive(&mut self, index: usize, arrival: Arrival) {
        if !self.nodes.contains_key(&index) {
            return;
        }
        self.at(index, |node, now, out| match arrival {
            Arrival::Opened(address, link) => node.link_opened(now, address, link, out),
            Arrival::Accepted(link) => node.link_accepted(now, link, out),
            Arrival::Failed(address) => node.link_failed(now, &address, "connection refused", out),
            Arrival::Closed(link) => node.link_closed(now, link, out),
            Arrival::Frame(link, frame) => {
                node.heard(now, link, out);
                for message in peer::open(frame) {
                    let body = message.expect("overlays speak well").body.expect("and are known");
                    if node.knows(link)
                        && let Err(fault) = node.received(now, link, body, out)
                    {
                        node.fault(now, link, &fault, out);
                    }
                }
            }
        });
        let ends = &mut self.ends;
        // The end of a node that does not know it any more.
        ends.retain(|_, (at, _)| self.nodes.contains_key(at));
    }

    /// Goes on to the next thing that happens.
    fn step(&mut self) {
        let tick = self.nodes.iter().filter_map(|(index, node)| Some((node.deadline()?, *index)));
        let tick = tick.min();
        let arrival = self.arrivals.keys().next().copied();
        match (tick, arrival) {
            (Some((at, index)), next) if next.is_none_or(|(next, _)| at <= next) => {
                self.now = self.now.max(at);
                self.at(index, Overlay::tick);
            }
            (_, Some(key)) => {
                self.now = self.now.max(key.0);
                let (index, arrival) = self.arrivals.remove(&key).expect("it is the first");
                self.arrive(index, arrival);
            }
            _ => self.now = self.now + SECOND,
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    #[track_caller]
    fn until(&mut self, within: Duration, what: impl Fn(&World) -> bool) {
        let end = self.now + within;
        while !what(self) {
            let (nodes, notes) = (&self.nodes, &self.notes);
            assert!(self.now < end, "not within {within:?}\n{nodes:#?}\n{notes:#?}");
            self.step();
        }
    }

    fn view(&self, index: usize, of: &str) -> Option<NodeView> {
        self.nodes[&index].view(self.now).into_iter().find(|node| node.name == of)
    }

    fn liveness(&self, index: usize, of: &str) -> Option<Liveness> {
        self.view(index, of).map(|view| view.liveness)
    }

    /// Every node has one link to every other, which is that of the other, and the same table.
    fn is_mesh(&self) -> bool {
        let hash = self.nodes.values().next().map(|node| node.table.hash());
        self.nodes.iter().all(|(index, node)| {
            Some(node.table.hash()) == hash
                && node.links.len() == self.nodes.len() - 1
                && node.nodes.values().filter(|node| node.link.is_some()).count()
                    == node.links.len()
                && node.links.iter().all(|(link, state)| {
                    let Some(&(at, other)) = self.ends.get(link) else { return false };
                    let Some(&(there, _)) = self.ends.get(&other) else { return false };
                    let other = self.nodes[&there].links.get(&other);
                    at == *index && state.peer.is_some() && other.is_some_and(|o| o.peer.is_some())
                })
        })
    }

    fn ups(&self, index: usize) -> BTreeSet<ReplicaId> {
        let mut up = BTreeSet::new();
        for (at, event) in &self.events {
            match event {
                Event::Up(replica, _) if *at == index => {
                    assert!(up.insert(*replica), "up twice: {:?}", self.events);
                }
                Event::Down(replica) if *at == index => {
                    assert!(up.remove(replica), "down twice: {:?}", self.events);
                }
                _ => {}
            }
        }
        up
    }

    fn fatals(&self) -> Vec<(usize, String)> {
        let fatal = |(index, note): &'_ (usize, Note)| match note {
            Note::Fatal(reason) => Some((*index, reason.clone())),
            _ => None,
        };
        self.notes.iter().filter_map(fatal).collect()
    }

    fn warned(&self, index: usize, what: &str) -> bool {
        self.notes.iter().any(|(at, note)| {
            *at == index && matches!(note, Note::Warn(n) | Note::Refused(n) if n.contains(what))
        })
    }
}

fn seeds(addresses: &[&str]) -> impl Fn(&mut Config) {
    let addresses: Vec<String> = addresses.iter().map(|&address| address.to_owned()).collect();
    move |config| config.seeds.clone_from(&addresses)
}

/// `count` nodes that know the first one only, all linked.
fn mesh(count: usize) -> World {
    let mut world = World::default();
    for index in 0..count {
        world.start(index, seeds(&["h0:1"]));
    }
    world.until(5 * SECOND, World::is_mesh);
    world
}

fn functions(names: &[&'static str]) -> BTreeMap<Bytes, Vec<Bytes>> {
    names.iter().map(|name| (Bytes::from_static(name.as_bytes()), Vec::new())).collect()
}

#[test]
fn one_seed_is_enough() {
    for count in [2, 3, 8, 20] {
        let world = mesh(count);
        for index in 0..count {
            assert_eq!(world.ups(index).len(), count - 1);
            assert!(world.view(0, &format!("n{index}")).is_some());
        }
        assert_eq!(world.fatals(), []);
    }
}

#[test]
fn a_mesh_at_rest_says_heartbeats_only() {
    let mut world = mesh(5);
    world.run(2 * SECOND);
    world.messages = 0;
    let ends = world.ends.clone();
    world.run(10 * SECOND);
    assert!((190..=220).contains(&world.messages), "{} messages", world.messages);
    assert_eq!(world.ends, ends, "links come and go");
}

#[test]
fn both_know_each_other_and_end_with_one_link() {
    let mut world = World::default();
    world.start(0, seeds(&["h1:1", "other1:1", "h0:1"]));
    world.start(1, |config| {
        config.addresses = vec!["h1:1".into(), "other1:1".into()];
        config.seeds = vec!["h0:1".into(), "h1:1".into(), "other1:1".into()];
    });
    // They dial at once, both; without agreement on the link to keep they would do so again.
    world.until(HOP * 20, World::is_mesh);
    let ends = world.ends.clone();
    world.run(30 * SECOND);
    assert!(world.is_mesh());
    assert_eq!(world.ends, ends);
    assert_eq!((world.ups(0).len(), world.ups(1).len()), (1, 1));
}

#[test]
fn functions_are_told_at_once() {
    let mut world = mesh(3);
    let told = world.now;
    world.at(1, |node, now, out| node.runs(now, &functions(&["a", "b"]), out));
    let replica = world.nodes[&1].config.replica;
    let runs = BTreeSet::from([Bytes::from_static(b"a"), Bytes::from_static(b"b")]);
    let heard =
        |world: &World, index| world.events.contains(&(index, Event::Runs(replica, runs.clone())));
    world.until(Duration::from_millis(30), |world| heard(world, 0) && heard(world, 2));
    assert!(world.now.since(told) < Duration::from_millis(30));
    world.start(3, seeds(&["h0:1"]));
    world.until(5 * SECOND, |world| heard(world, 3) && world.is_mesh());
}

/// Two nodes may be an island beside the nodes that one of them was told of: `SIM_SEED=1861` counted a write
/// twice, since such a node forgot its id.
#[test]
fn a_node_that_has_met_none_of_its_seeds_awaits_others() {
    let awaits = |world: &World, index: usize| world.nodes[&index].is_awaiting_others(world.now);
    let mut world = World::default();
    world.start(0, seeds(&["h2:1"]));
    assert!(awaits(&world, 0));
    world.start(1, seeds(&["h0:1"]));
    world.until(5 * SECOND, World::is_mesh);
    assert!(awaits(&world, 0) && !awaits(&world, 1));
    world.start(2, |_| {});
    world.until(5 * SECOND, World::is_mesh);
    assert!(!awaits(&world, 0));
    // A node alone, which was told of itself or of nobody, awaits none.
    world.start(8, seeds(&["h8:1"]));
    world.start(9, |_| {});
    world.run(5 * SECOND);
    assert!(!awaits(&world, 8) && !awaits(&world, 9));
}

#[test]
fn another_cluster_stays_outside() {
    let mut world = World::default();
    world.start(0, |_| {});
    world.start(1, |config| {
        config.cluster = "other".into();
        config.seeds = vec!["h0:1".into()];
    });
    world.run(20 * SECOND);
    assert!(world.view(0, "n1").is_none() && world.view(1, "n0").is_none());
    assert!(world.warned(1, "this is cluster 'other', not 'test'"));
    let warnings = world
        .notes
        .iter()
        .filter(|(_, note)| matches!(note, Note::Warn(_) | Note::Refused(_)))
        .count();
    assert!(warnings <= 4, "{warnings} lines about one misconfigured node");
    assert_eq!(world.fatals(), []);
}

#[test]
fn of_two_with_one_name_the_younger_ends() {
    // Directly, and by way of a third that knows the first.
    for (listening, seed) in [("h1:1", "h1:1"), ("h1:1", "h0:1")] {
        let mut world = mesh(3);
        world.run(SECOND);
        world.start(7, |config| {
            config.node = "n1".into();
            config.seeds = vec![seed.into()];
        });
        world.until(3 * SECOND, |world| !world.fatals().is_empty());
        let fatals = world.fatals();
        assert_eq!(fatals.len(), 1);
        assert_eq!(fatals[0].0, 7);
        assert!(fatals[0].1.contains(listening), "{fatals:?}");
        world.kill(7);
        world.run(10 * SECOND);
        assert!(world.is_mesh());
    }
}

#[test]
fn of_two_with_one_replica_id_the_younger_ends() {
    let mut world = mesh(3);
    world.run(SECOND);
    let replica = world.nodes[&1].config.replica;
    world.start(7, |config| {
        config.replica = replica;
        config.seeds = vec!["h0:1".into()];
    });
    world.until(3 * SECOND, |world| !world.fatals().is_empty());
    assert_eq!(world.fatals().iter().map(|(index, _)| *index).collect::<Vec<_>>(), [7]);
    world.kill(7);
    world.run(10 * SECOND);
    assert!(world.is_mesh());
}

#[test]
fn a_partition_is_noticed_and_heals() {
    let mut world = mesh(4);
    let cut = world.now;
    world.cut = BTreeSet::from([(0, 2), (0, 3), (1, 2), (1, 3)]);
    world.until(4 * SECOND, |world| world.liveness(0, "n2") == Some(Liveness::Suspect));
    assert!(world.now.since(cut) >= 2 * SECOND, "{:?}", world.now.since(cut));
    world.until(3 * SECOND, |world| world.liveness(0, "n2") == Some(Liveness::Dead));
    assert!(world.now.since(cut) >= 4 * SECOND, "{:?}", world.now.since(cut));
    assert_eq!(world.liveness(0, "n1"), Some(Liveness::Alive));
    world.run(60 * SECOND);
    assert_eq!(world.ups(0).len(), 1);
    world.cut.clear();
    world.until(6 * SECOND, World::is_mesh);
    assert_eq!(world.ups(0).len(), 3);
    assert_eq!(world.fatals(), []);
}

#[test]
fn standing_still_is_not_the_others_silence() {
    let mut world = mesh(3);
    // As after SIGSTOP: the tick comes before what has arrived is read.
    world.now = world.now + 30 * SECOND;
    world.at(0, Overlay::tick);
    assert_eq!(world.ups(0).len(), 2);
    assert_eq!(world.liveness(0, "n1"), Some(Liveness::Alive));
}

#[test]
fn a_restart_is_seen_at_once() {
    let mut world = mesh(3);
    let old = world.nodes[&1].config.replica;
    world.kill(1);
    world.run(HOP * 3);
    world.start(1, |config| {
        config.replica = ReplicaId(99);
        config.seeds = vec!["h0:1".into()];
    });
    world.until(SECOND, |world| {
        world.ups(0).contains(&ReplicaId(99)) && world.ups(2).contains(&ReplicaId(99))
    });
    assert!(world.events.contains(&(0, Event::Gone(old))));
    assert!(world.events.contains(&(2, Event::Gone(old))));
    world.until(2 * SECOND, World::is_mesh);
}

#[test]
fn a_restart_is_seen_even_if_the_old_links_seem_open() {
    let mut world = mesh(3);
    let old = world.nodes[&1].config.replica;
    world.cut = BTreeSet::from([(0, 1), (1, 2)]);
    world.kill(1);
    world.cut.clear();
    world.start(1, |config| {
        config.replica = ReplicaId(99);
        config.seeds = vec!["h0:1".into()];
    });
    world.until(SECOND, |world| {
        world.ups(0).contains(&ReplicaId(99)) && world.ups(2).contains(&ReplicaId(99))
    });
    assert!(!world.ups(0).contains(&old));
    assert_eq!(world.fatals(), []);
}

#[test]
fn a_restart_with_a_clock_gone_back_is_believed_in_the_end() {
    for forget in [false, true] {
        let mut world = mesh(3);
        world.kill(1);
        world.run(8 * SECOND);
        if forget {
            world.at(0, |node, now, out| node.forget(now, "n1", out)).expect("it is dead");
        }
        world.start(1, |config| {
            config.replica = ReplicaId(99);
            config.generation = 10;
            config.seeds = vec!["h0:1".into()];
        });
        world.at(1, |node, now, out| node.runs(now, &functions(&["a"]), out));
        let runs = Event::Runs(ReplicaId(99), BTreeSet::from([Bytes::from_static(b"a")]));
        world.until(10 * SECOND, |world| {
            world.is_mesh() && world.events.contains(&(2, runs.clone()))
        });
        assert_eq!(world.fatals(), []);
    }
}

#[test]
fn the_dead_are_forgotten_everywhere_and_the_living_are_not() {
    let mut world = mesh(4);
    let dead = world.nodes[&3].config.replica;
    assert!(world.at(0, |node, now, out| node.forget(now, "n3", out)).is_err());
    assert!(world.at(0, |node, now, out| node.forget(now, "n0", out)).is_err());
    assert!(world.at(0, |node, now, out| node.forget(now, "n9", out)).is_err());
    world.kill(3);
    world.run(7 * SECOND);
    assert_eq!(world.liveness(0, "n3"), Some(Liveness::Dead));
    world.at(0, |node, now, out| node.forget(now, "n3", out)).expect("it is dead");
    world.until(SECOND, |world| (0..3).all(|index| world.view(index, "n3").is_none()));
    world.run(10 * SECOND);
    assert!((0..3).all(|index| world.view(index, "n3").is_none()));
    assert!((0..3).all(|index| world.events.contains(&(index, Event::Gone(dead)))));
    // It comes back under the same number, as one that kept its disk.
    world.start(3, seeds(&["h0:1"]));
    world.until(5 * SECOND, World::is_mesh);
}

#[test]
fn a_node_that_was_forgotten_while_apart_comes_back() {
    let mut world = mesh(3);
    world.cut = BTreeSet::from([(0, 2), (1, 2)]);
    world.run(8 * SECOND);
    world.at(0, |node, now, out| node.forget(now, "n2", out)).expect("it seems dead");
    world.run(2 * SECOND);
    world.cut.clear();
    world.until(8 * SECOND, World::is_mesh);
    assert_eq!(world.fatals(), []);
}

#[test]
fn the_long_dead_are_forgotten_by_themselves() {
    let mut world = World::default();
    for index in 0..3 {
        world.start(index, |config| {
            config.seeds = vec!["h0:1".into()];
            config.forget_after = 60 * SECOND;
        });
    }
    world.until(5 * SECOND, World::is_mesh);
    world.kill(2);
    world.run(55 * SECOND);
    assert_eq!(world.liveness(0, "n2"), Some(Liveness::Dead));
    world.run(10 * SECOND);
    assert!(world.view(0, "n2").is_none() && world.view(1, "n2").is_none());
    // It may come back with updates that only it has, until an operator says that it does not.
    let awaited =
        |world: &World, at: usize| world.nodes[&at].others().any(|(name, _)| name == "n2");
    assert!(awaited(&world, 0) && awaited(&world, 1));
    world.at(0, |node, now, out| node.forget(now, "n2", out)).expect("it was known");
    world.run(SECOND);
    assert!(!awaited(&world, 0) && !awaited(&world, 1));
    world.run(100 * SECOND);
    assert!(world.view(0, "n2").is_none() && world.view(1, "n2").is_none());
}

#[test]
fn goodbye_is_not_death() {
    let mut world = mesh(3);
    world.at(2, Overlay::leave);
    world.until(SECOND, |world| {
        (0..2).all(|index| world.liveness(index, "n2") == Some(Liveness::Left))
    });
    world.kill(2);
    world.run(20 * SECOND);
    assert_eq!(world.liveness(0, "n2"), Some(Liveness::Left));
    assert!(!world.notes.iter().any(|(_, n)| matches!(n, Note::Warn(n) if n.contains("dead"))));
    world.start(2, seeds(&["h0:1"]));
    world.until(5 * SECOND, World::is_mesh);
}

#[test]
fn it_finds_itself_and_stops_trying() {
    let mut world = World::default();
    world.start(0, seeds(&["h0:1"]));
    world.run(SECOND);
    assert!(world.nodes[&0].dialer.is_own(world.now, "h0:1"));
    let count = world.count;
    world.run(60 * SECOND);
    assert_eq!(world.count, count);
    assert_eq!(world.fatals(), []);
}

/// Cuts, deaths, restarts and farewells in any order; then all is well again, and soon a mesh.
fn any_history(seed: u64) {
    const NODES: usize = 5;
    let mut dice = Random::new(seed);
    let mut roll = move |sides: usize| {
        usize::try_from(dice.up_to(Duration::from_nanos(sides as u64 - 1)).as_nanos()).expect("few")
    };
    let mut world = World { delays: Some(Random::new(seed ^ 1)), ..World::default() };
    // A writer keeps its number over some restarts.
    let mut replicas: Vec<u64> = (0..NODES as u64).map(|index| mix(seed ^ (index + 10))).collect();
    let start = |world: &mut World, index: usize, replica: u64| {
        world.start(index, |config| {
            config.replica = ReplicaId(replica);
            config.seeds = vec!["h0:1".into(), "h1:1".into()];
            config.secret = (seed % 2 == 1).then(|| Secret::new(b"a secret", [7; 32]));
        });
    };
    for (index, replica) in replicas.iter().enumerate() {
        start(&mut world, index, *replica);
    }
    for _ in 0..20 {
        world.run(Duration::from_millis([1, 30, 300, 3000, 7000][roll(5)]));
        let index = roll(NODES);
        match roll(6) {
            0 => world.cut.clear(),
            1 => {
                world.cut.insert((index, roll(NODES)));
            }
            2 => world.cut.extend((0..NODES).map(|other| (index, other))),
            3 => world.kill(index),
            4 => {
                if world.nodes.contains_key(&index) {
                    world.at(index, Overlay::leave);
                }
                world.kill(index);
            }
            _ => {
                world.kill(index);
                // A clock shows another time before a process starts again.
                world.run(HOP * 2);
                if roll(2) == 0 {
                    replicas[index] = mix(replicas[index]);
                }
                start(&mut world, index, replicas[index]);
            }
        }
        for index in 0..NODES {
            world.ups(index);
        }
    }
    world.cut.clear();
    world.run(HOP * 2);
    for (index, replica) in replicas.iter().enumerate() {
        if !world.nodes.contains_key(&index) {
            start(&mut world, index, *replica);
        }
    }
    world.until(15 * SECOND, World::is_mesh);
    world.run(20 * SECOND);
    assert!(world.is_mesh(), "seed {seed}");
    for index in 0..NODES {
        let others = replicas.iter().enumerate().filter(|(other, _)| *other != index);
        let others: BTreeSet<ReplicaId> = others.map(|(_, replica)| ReplicaId(*replica)).collect();
        assert_eq!(world.ups(index), others, "seed {seed}");
    }
    assert_eq!(world.fatals(), [], "seed {seed}");
}

#[test]
fn after_any_history_there_is_a_mesh() {
    let seeds = std::env::var("OVERLAY_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    for seed in 0..seeds.unwrap_or(100) {
        let history = std::panic::catch_unwind(|| any_history(seed));
        assert!(history.is_ok(), "of seed {seed}");
    }
}

#[test]
fn a_run_replays() {
    let run = || {
        let mut world = mesh(6);
        world.kill(3);
        world.run(10 * SECOND);
        (world.now, world.count, world.messages, format!("{:?}", world.events))
    };
    assert_eq!(run(), run());
}
