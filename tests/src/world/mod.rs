//! A simulated cluster: many nodes of the production code, on a made-up network and with made-up
//! clocks. One thread, one seed: the same seed gives the same history, event by event.
//!
//! - `plan`: what a world is like, all of it from a seed.
//! - `host`: a node, its disk and its life.
//! - `network`: what is sent arrives late, once, twice or never.
//! - `clients` and `trouble`: what clients do, and what goes wrong.
//! - `once`: writes that clients repeat.
//! - `groups`: which nodes know of each other.
//! - `moves`: keys that clients move, copy and combine.
//! - `leaving`: nodes and functions that end in order.
//! - `oracle`, `registers` and `checks`: what every node must hold, from nothing but what clients did.

mod checks;
mod clients;
mod first_read;
mod groups;
mod host;
mod leaving;
mod moves;
mod network;
mod once;
mod oracle;
mod plan;
mod registers;
mod trouble;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::Ordering;

use bytes::Bytes;
use miso_replication::node::Input;
use miso_replication::{AskId, LinkId};
use miso_store::Retirement;
use miso_store::crdt::ReplicaId;

use crate::Rng;
use crate::messages::describe;
use first_read::FirstRead;
use host::Host;
use leaving::Draining;
pub use network::Faults;
use network::Link;
use oracle::Oracle;
pub use plan::{Broken, Plan};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

/// What is going to happen. Each names the life of the node that it is meant for: after a restart it
/// comes to nothing.
#[derive(Debug, Hash)]
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
    /// Retirements so far, by the function.
    taken: Vec<(Bytes, Retirement)>,
    /// Writes with an id.
    once: Vec<once::Write>,
    drains: BTreeMap<AskId, Draining>,
    firsts: BTreeMap<AskId, FirstRead>,
    /// Everything is mended, and no client writes.
    calm: bool,
    /// Until then messages are lost and doubled, where the plan says so.
    lossy_until: u64,
    history: String,
    /// Of all events so far.
    digest: DefaultHasher,
    /// Messages that the network lost and doubled.
    faults: Faults,
}

const FUNCTIONS: [&[u8]; 2] = [b"cart", b"cart#1"];

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
            once: Vec::new(),
            drains: BTreeMap::new(),
            firsts: BTreeMap::new(),
            calm: false,
            lossy_until: u64::MAX,
            history: String::new(),
            digest: DefaultHasher::new(),
            faults: Faults::new(),
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

    /// A hash of all events so far: when each happened, to which node, and every byte that a node
    /// received. Two runs of one seed have the same.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest.finish()
    }

    /// By kind of message, how many the network lost and how many it doubled.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
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

    /// Lets the next event happen; false once `until` is reached.
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
        let event = self.events.remove(&id).expect("queued once");
        (at, &event).hash(&mut self.digest);
        match event {
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
                        let words = describe(&envelope, &|id| format!("{:x}", id >> 48)).join("; ");
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

    /// Plays the history to its end, heals everything, and checks what all hold.
    ///
    /// # Panics
    /// If something is wrong.
    pub fn play(&mut self) {
        let end = self.plan.seconds * SECOND;
        while self.step(end) {}
        self.heal();
        let calm_since = self.now;
        let mut alike = 0;
        // Runs of one id come to one a moment after all is known: nodes look after ids four times a second.
        while alike < 3 {
            let next = self.now + 500 * MS;
            while self.step(next) {}
            let differences = self.differences();
            if differences.is_empty() {
                alike += 1;
                continue;
            }
            alike = 0;
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

    /// Everything is mended, every node runs every function, and no client writes.
    fn heal(&mut self) {
        self.say(|| "all is healed".into());
        (self.calm, self.lossy_until) = (true, self.now);
        self.blocked.clear();
        for at in 0..self.hosts.len() {
            self.hosts[at].slow_until = 0;
            if !self.hosts[at].up {
                self.restart(at);
            }
            self.run_all(at);
        }
    }
}
