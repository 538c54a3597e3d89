//! The nodes of a scene, and the messages that are under way between them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use miso_replication::copies;
use miso_replication::node::{self, Input, Node};
use miso_replication::{Answer, Ask, AskId, Effect, LinkId, Note, Time, overlay, replicator};
use miso_store::crdt::{ReplicaId, Type};
use miso_store::{Function, Observer, Store};

use crate::messages::{describe, is_of_overlay, kinds};

/// The function that all commands are of.
pub(super) const FUNCTION: Bytes = Bytes::from_static(b"f");

/// Turns in which everything that is said leads to more: then a scene does not come to rest.
const TURNS_MAX: usize = 100_000;

/// Gathers what a store says.
#[derive(Debug, Default)]
struct Wrote(Mutex<Vec<Arc<Function>>>);

impl Observer for Wrote {
    fn wrote(&self, function: &Arc<Function>) {
        self.0.lock().expect("one thread").push(Arc::clone(function));
    }

    fn changed(&self, _: &Function, _: &[u8], _: &[u8], _: Type) {}
}

/// A node.
pub(super) struct Host {
    pub(super) name: String,
    /// How often it has lost its memory.
    lives: u64,
    /// How often it has started.
    starts: u64,
    pub(super) up: bool,
    pub(super) store: Arc<Store>,
    wrote: Arc<Wrote>,
    node: Node,
    pub(super) runs: BTreeSet<Bytes>,
}

/// One end of a link.
#[derive(Clone, Copy)]
struct Link {
    at: usize,
    peer: usize,
    other: LinkId,
}

/// A message of the replicator on its way.
struct UnderWay {
    /// The receiver's end.
    link: LinkId,
    frame: Bytes,
}

/// How nodes are made, where a scene says so.
#[derive(Clone, Default)]
pub(super) struct Limits(BTreeMap<String, u64>);

impl Limits {
    const NAMES: [&str; 6] = ["queue", "early", "log", "exports", "part", "window"];

    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let value = value.parse().map_err(|_| format!("{name} is a number"))?;
        if !Limits::NAMES.contains(&name) {
            return Err(format!("no limit {name}; there are {}", Limits::NAMES.join(", ")));
        }
        self.0.insert(name.to_owned(), value);
        Ok(())
    }

    fn get(&self, name: &str) -> Option<usize> {
        self.0.get(name).and_then(|value| usize::try_from(*value).ok())
    }
}

/// All of them.
#[derive(Default)]
pub(super) struct Network {
    hosts: Vec<Host>,
    limits: Limits,
    now: Duration,
    last_id: u64,
    links: BTreeMap<LinkId, Link>,
    /// Pairs between which links can be had.
    open: BTreeSet<(usize, usize)>,
    /// The overlay's messages, which arrive at once.
    at_once: VecDeque<UnderWay>,
    /// The replicator's, by their way.
    under_way: BTreeMap<(usize, usize), VecDeque<UnderWay>>,
    trace: Vec<String>,
    quiet: bool,
}

impl Network {
    /// Makes the nodes.
    pub(super) fn found(&mut self, names: &[&str], limits: Limits) {
        self.limits = limits;
        self.now = Duration::from_secs(1_000);
        for name in names {
            let (store, wrote, node) = self.machine(self.hosts.len(), name, 0, 0, None);
            self.hosts.push(Host {
                name: (*name).to_owned(),
                lives: 0,
                starts: 0,
                up: true,
                store,
                wrote,
                node,
                runs: BTreeSet::from([FUNCTION]),
            });
            self.tell_runs(self.hosts.len() - 1);
        }
    }

    /// A node's parts, with the store that it had or a new one.
    fn machine(
        &self,
        at: usize,
        name: &str,
        lives: u64,
        starts: u64,
        store: Option<(Arc<Store>, Arc<Wrote>)>,
    ) -> (Arc<Store>, Arc<Wrote>, Node) {
        let replica = ReplicaId(100 * (at as u64 + 1) + lives);
        let (store, wrote) = store.unwrap_or_else(|| {
            let clock: miso_store::Clock = Arc::new(|| 1_700_000_000_000);
            let mut config = miso_store::Config::new(replica, 1, clock);
            config.removal_log_bytes = self.limits.get("log").unwrap_or(config.removal_log_bytes);
            let (store, wrote) = (Arc::new(Store::new(config)), Arc::new(Wrote::default()));
            store.observe(Arc::clone(&wrote) as Arc<dyn Observer>);
            (store, wrote)
        });
        let mut overlay = overlay::Config::new("scene", name, replica, 1 + starts);
        overlay.addresses = vec![format!("{name}:1")];
        let mut config = replicator::Config::new(replica);
        config.interval = Duration::ZERO;
        let limit = |name: &str, usual: usize| self.limits.get(name).unwrap_or(usual);
        config.queue_bytes = limit("queue", config.queue_bytes);
        config.early_bytes = limit("early", config.early_bytes);
        config.exports = limit("exports", config.exports);
        config.part_bytes = limit("part", config.part_bytes);
        config.window_bytes = limit("window", config.window_bytes);
        let copies = copies::Config::default();
        let config = node::Config { overlay, replicator: config, copies };
        let node = Node::new(config, Arc::clone(&store));
        (store, wrote, node)
    }

    /// What has happened since this was asked last.
    pub(super) fn take_trace(&mut self) -> Vec<String> {
        std::mem::take(&mut self.trace)
    }

    pub(super) fn say(&mut self, line: String) {
        if !self.quiet {
            self.trace.push(line);
        }
    }

    /// Does something without a trace.
    pub(super) fn quietly(&mut self, act: impl FnOnce(&mut Network)) {
        self.quiet = true;
        act(self);
        self.quiet = false;
    }

    pub(super) fn host(&self, name: &str) -> Result<usize, String> {
        let at = self.hosts.iter().position(|host| host.name == name);
        at.ok_or_else(|| format!("there is no node {name}"))
    }

    pub(super) fn at(&mut self, at: usize) -> &mut Host {
        &mut self.hosts[at]
    }

    /// What a writer is called: its node's name, with a prime for each time that lost its memory.
    fn writer(&self, id: u64) -> String {
        let host = (id / 100).checked_sub(1).and_then(|at| self.hosts.get(at as usize));
        let primes = "'".repeat((id % 100) as usize);
        host.map_or_else(|| id.to_string(), |host| format!("{}{primes}", host.name))
    }

    /// A node's text, with writers called as in the trace.
    fn readable(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (at, host) in self.hosts.iter().enumerate() {
            for life in 0..=host.lives {
                let id = 100 * (at as u64 + 1) + life;
                text = text.replace(&format!("{id:016x}"), &self.writer(id));
            }
        }
        text
    }

    fn id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn time(&self) -> Time {
        Time(u64::try_from(self.now.as_nanos()).expect("a scene is short"))
    }

    /// Lets a node take an input, and then everything that comes of it at once.
    pub(super) fn drive(&mut self, at: usize, input: Input) {
        self.turn(at, Some(input));
        while let Some(UnderWay { link, frame }) = self.at_once.pop_front() {
            self.receive(link, frame);
        }
    }

    fn receive(&mut self, link: LinkId, envelope: Bytes) {
        if let Some(end) = self.links.get(&link).copied() {
            self.turn(end.at, Some(Input::Received { link, envelope }));
        }
    }

    fn turn(&mut self, at: usize, mut input: Option<Input>) {
        let (now, mut out) = (self.time(), Vec::new());
        let host = &mut self.hosts[at];
        if !host.up {
            return;
        }
        loop {
            if let Some(input) = input.take() {
                host.node.step(now, input, &mut out);
            }
            let wrote = std::mem::take(&mut *host.wrote.0.lock().expect("one thread"));
            if wrote.is_empty() {
                break;
            }
            for function in wrote {
                host.node.step(now, Input::Wrote { function }, &mut out);
            }
        }
        host.node.settle(now, &mut out);
        out.into_iter().for_each(|effect| self.carry_out(at, effect));
    }

    fn carry_out(&mut self, at: usize, effect: Effect) {
        let name = self.hosts[at].name.clone();
        match effect {
            Effect::Dial { address } => self.dial(at, &address),
            Effect::Send { links, frame } => {
                links.into_iter().for_each(|link| self.send(link, &frame));
            }
            Effect::SendBehind { link, frame } => self.send(link, &frame),
            Effect::Close { link, reason } => {
                if let Some(end) = self.links.remove(&link) {
                    let (peer, reason) =
                        (self.hosts[end.peer].name.clone(), self.readable(&reason));
                    self.say(format!("{name} closes its link to {peer}: {reason}"));
                    self.links.remove(&end.other);
                    self.lose(at, end.peer);
                    self.turn(end.peer, Some(Input::LinkClosed { link: end.other }));
                }
            }
            Effect::Answer { answer, .. } => self.say(format!("{name}: {}", answered(&answer))),
            Effect::Note(Note::Info(note)) => {
                let note = self.readable(&note);
                self.say(format!("{name} notes: {note}"));
            }
            Effect::Note(Note::Warn(note)) => {
                let note = self.readable(&note);
                self.say(format!("{name} warns: {note}"));
            }
            Effect::Note(Note::Refused(why)) => {
                let why = self.readable(&why);
                self.say(format!("{name} warns: refused a node: {why}"));
            }
            Effect::Note(Note::Fatal(note) | Note::Outdated(note)) => {
                let note = self.readable(&note);
                self.say(format!("{name} must end: {note}"));
                self.stop(at);
            }
            // Its operator ends it, to start it anew.
            Effect::Note(Note::Forgotten(note)) => {
                let note = self.readable(&note);
                self.say(format!("{name} is told: {note}"));
                self.stop(at);
            }
        }
    }

    fn send(&mut self, link: LinkId, frame: &Bytes) {
        let Some(end) = self.links.get(&link).copied() else { return };
        let under_way = UnderWay { link: end.other, frame: frame.clone() };
        if kinds(frame).all(is_of_overlay) {
            self.at_once.push_back(under_way);
            return;
        }
        let way = format!("{}->{}", self.hosts[end.at].name, self.hosts[end.peer].name);
        for words in describe(frame, &|id| self.writer(id)) {
            self.say(format!("{way} {words}"));
        }
        self.under_way.entry((end.at, end.peer)).or_default().push_back(under_way);
    }

    fn dial(&mut self, from: usize, address: &str) {
        let address = address.to_owned();
        let to =
            self.hosts.iter().position(|host| host.up && format!("{}:1", host.name) == address);
        match to.filter(|to| self.open.contains(&(from, *to))) {
            Some(to) => self.connect(from, to),
            None => {
                let reason = "it does not answer".to_owned();
                self.turn(from, Some(Input::LinkFailed { address, reason }));
            }
        }
    }

    fn connect(&mut self, from: usize, to: usize) {
        let (mine, theirs) = (LinkId(self.id()), LinkId(self.id()));
        self.links.insert(mine, Link { at: from, peer: to, other: theirs });
        self.links.insert(theirs, Link { at: to, peer: from, other: mine });
        let address = format!("{}:1", self.hosts[to].name);
        self.turn(to, Some(Input::LinkAccepted { link: theirs }));
        self.turn(from, Some(Input::LinkOpened { address, link: mine }));
    }

    /// Links two nodes.
    pub(super) fn link(&mut self, a: usize, b: usize) {
        self.open.extend([(a, b), (b, a)]);
        self.connect(a, b);
        while let Some(UnderWay { link, frame }) = self.at_once.pop_front() {
            self.receive(link, frame);
        }
    }

    /// Ends the links between two nodes, with all that is under way on them.
    pub(super) fn cut(&mut self, a: usize, b: usize) {
        self.open.remove(&(a, b));
        self.open.remove(&(b, a));
        self.disconnect(|link| (link.at, link.peer) == (a, b) || (link.at, link.peer) == (b, a));
    }

    fn disconnect(&mut self, which: impl Fn(&Link) -> bool) {
        let ends: Vec<(LinkId, Link)> = self
            .links
            .iter()
            .filter(|(_, link)| which(link))
            .map(|(id, link)| (*id, *link))
            .collect();
        for (id, link) in &ends {
            self.links.remove(id);
            self.lose(link.at, link.peer);
        }
        for (link, end) in ends {
            self.drive(end.at, Input::LinkClosed { link });
        }
    }

    fn lose(&mut self, a: usize, b: usize) {
        self.under_way.remove(&(a, b));
        self.under_way.remove(&(b, a));
    }

    /// What is under way from one node to another.
    fn way(&mut self, way: (usize, usize)) -> Result<&mut VecDeque<UnderWay>, String> {
        let queue = self.under_way.get_mut(&way).filter(|queue| !queue.is_empty());
        queue.ok_or_else(|| "nothing is under way there".to_owned())
    }

    /// Delivers messages, the first ones first; all that are under way now if there is no number.
    pub(super) fn deliver(
        &mut self,
        way: (usize, usize),
        count: Option<usize>,
    ) -> Result<(), String> {
        let count = count.unwrap_or(self.way(way)?.len());
        for _ in 0..count {
            let message = self.way(way)?.pop_front().expect("it is not empty");
            self.show_received(way.1, &message.frame);
            self.arrive(message);
        }
        Ok(())
    }

    /// Loses messages.
    pub(super) fn lose_first(
        &mut self,
        way: (usize, usize),
        count: Option<usize>,
    ) -> Result<(), String> {
        let queue = self.way(way)?;
        let count = count.unwrap_or(queue.len());
        if count > queue.len() {
            return Err(format!("{} are under way", queue.len()));
        }
        queue.drain(..count);
        Ok(())
    }

    /// Delivers the first message, and keeps it under way.
    pub(super) fn double(&mut self, way: (usize, usize)) -> Result<(), String> {
        let first = self.way(way)?.front().expect("it is not empty");
        let copy = UnderWay { link: first.link, frame: first.frame.clone() };
        self.show_received(way.1, &copy.frame);
        self.arrive(copy);
        Ok(())
    }

    /// Lets all others overtake the first message.
    pub(super) fn hold_back(&mut self, way: (usize, usize)) -> Result<(), String> {
        self.way(way)?.rotate_left(1);
        Ok(())
    }

    fn show_received(&mut self, at: usize, frame: &Bytes) {
        let name = self.hosts[at].name.clone();
        for words in describe(frame, &|id| self.writer(id)) {
            self.say(format!("{name} receives {words}"));
        }
    }

    fn arrive(&mut self, UnderWay { link, frame }: UnderWay) {
        if let Some(end) = self.links.get(&link).copied() {
            self.drive(end.at, Input::Received { link, envelope: frame });
        }
    }

    /// Lets time pass; with `flowing`, everything that is said arrives meanwhile.
    pub(super) fn pass(&mut self, time: Duration, flowing: bool) -> Result<(), String> {
        let end = self.now + time;
        for _ in 0..TURNS_MAX {
            let message =
                flowing.then(|| self.under_way.values_mut().find_map(VecDeque::pop_front));
            if let Some(message) = message.flatten() {
                self.arrive(message);
                continue;
            }
            let up = self.hosts.iter().enumerate().filter(|(_, host)| host.up);
            let due = up.filter_map(|(at, host)| Some((host.node.deadline()?, at))).min();
            let Some((due, at)) = due.filter(|(due, _)| Duration::from_nanos(due.0) <= end) else {
                self.now = end;
                return Ok(());
            };
            self.now = self.now.max(Duration::from_nanos(due.0));
            self.drive(at, Input::Tick);
        }
        Err("the nodes do not come to rest".to_owned())
    }

    /// Ends a node at once.
    pub(super) fn stop(&mut self, at: usize) {
        self.hosts[at].up = false;
        self.disconnect(|link| link.at == at || link.peer == at);
    }

    /// Starts a node again, with what it knew or without.
    pub(super) fn restart(&mut self, at: usize, knows: bool) {
        let host = &mut self.hosts[at];
        host.starts += 1;
        host.lives += u64::from(!knows);
        let kept = knows.then(|| (Arc::clone(&host.store), Arc::clone(&host.wrote)));
        let (name, lives, starts) = (host.name.clone(), host.lives, host.starts);
        let (store, wrote, node) = self.machine(at, &name, lives, starts, kept);
        let host = &mut self.hosts[at];
        (host.store, host.wrote, host.node, host.up) = (store, wrote, node, true);
        self.tell_runs(at);
    }

    /// Tells a node what it runs.
    pub(super) fn tell_runs(&mut self, at: usize) {
        let functions = self.hosts[at].runs.iter().map(|name| (name.clone(), Vec::new())).collect();
        self.drive(at, Input::Runs { functions });
    }

    /// Asks a node something; its answer is traced when it comes.
    pub(super) fn ask(&mut self, at: usize, ask: Ask) {
        let id = AskId(self.id());
        self.drive(at, Input::Ask { id, ask });
    }

    /// When a question that is asked now must be answered.
    pub(super) fn until(&self, time: Duration) -> Time {
        self.time() + time
    }
}

fn answered(answer: &Answer) -> String {
    match answer {
        Answer::Done => "done".to_owned(),
        Answer::Refused(why) => why.clone(),
        Answer::Count(count) => count.to_string(),
        Answer::Reached(true) => "reached".to_owned(),
        Answer::Reached(false) => "not reached in time".to_owned(),
        other => format!("{other:?}"),
    }
}
