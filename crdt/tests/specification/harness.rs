//! Random histories on real values, compared with a specification.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt::Debug;

use miso_crdt::{Context, Crdt, Delta, Dot, Events, Kind, ReplicaId, Type, Value, Writer, Writers};

/// What the value of a type must be.
pub(crate) trait Specification {
    /// The real type.
    type Kind: Kind;
    /// What a client can do.
    type Edit: Clone + Debug;
    /// What a client reads.
    type Read: Eq + Debug;

    /// A random edit.
    fn draw(random: &mut Random) -> Self::Edit;

    /// The value that a node must read that has exactly the events of `history`.
    fn value(history: &History<Self::Edit>) -> Self::Read;

    /// Does an edit on the real type. What it did not do, such as counting on a text, changes nothing.
    fn edit(
        state: &mut StateOf<Self>,
        edit: &Self::Edit,
        to: (&Context, &Writers, &mut Mint),
        change: &mut <StateOf<Self> as Crdt>::Delta,
    );

    /// What the real type reads as.
    fn read(state: &StateOf<Self>, writers: &Writers) -> Self::Read;
}

type StateOf<S> = <<S as Specification>::Kind as Kind>::State;

/// Something that a client did on some node.
#[derive(Clone, Debug)]
pub(crate) struct Event<E> {
    number: usize,
    pub(crate) edit: E,
    /// Its writer, and its time by the writer's clock.
    pub(crate) by: ReplicaId,
    pub(crate) time: u64,
    seen: BTreeSet<usize>,
}

impl<E> Event<E> {
    /// Whether the node that made this event had `other`.
    pub(crate) fn saw(&self, other: &Event<E>) -> bool {
        self.seen.contains(&other.number)
    }
}

/// Events that a node has.
pub(crate) struct History<'a, E>(Vec<&'a Event<E>>);

impl<E> History<'_, E> {
    /// All events.
    pub(crate) fn events(&self) -> impl Iterator<Item = &Event<E>> {
        self.0.iter().copied()
    }

    /// The events that were seen by no event that `ends` says so of: `ends(later, earlier)`.
    pub(crate) fn unless(&self, ends: impl Fn(&E, &E) -> bool) -> impl Iterator<Item = &Event<E>> {
        self.events().filter(move |event| {
            !self.events().any(|later| later.saw(event) && ends(&later.edit, &event.edit))
        })
    }
}

/// SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut n = self.0;
        n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ n >> 31
    }

    /// A number from 0 to `n` - 1.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// A number from 0 to `n` - 1 that fits a byte.
    pub(crate) fn small(&mut self, n: u8) -> u8 {
        self.below(n.into()) as u8
    }

    pub(crate) fn percent(&mut self, n: usize) -> bool {
        self.below(100) < n
    }
}

/// The source of a node's events.
pub(crate) struct Mint {
    seq: u64,
    flushed: u64,
    clock: u64,
    used: Cell<bool>,
}

impl Events for Mint {
    fn next(&mut self) -> Dot {
        self.seq += 1;
        self.used.set(true);
        Dot::new(Writer(0), self.seq).expect("a short history")
    }

    fn unsent(&self, dot: Dot) -> bool {
        let unsent = dot.writer() == Writer(0) && dot.seq() > self.flushed;
        self.used.set(self.used.get() | unsent);
        unsent
    }

    fn time(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn writer(&self) -> Writer {
        Writer(0)
    }
}

/// What a node sends.
#[derive(Clone)]
struct Message {
    bytes: Vec<u8>,
    /// What the range of a batch, or the vector of a sync, would name.
    known: Vec<(ReplicaId, u64)>,
    /// For the specification: the events in it.
    events: BTreeSet<usize>,
    /// Whether it is a whole state, which does not tell what was removed one by one.
    whole: bool,
}

struct Node {
    id: ReplicaId,
    writers: Writers,
    value: Value,
    context: Context,
    mint: Mint,
    change: Delta,
    /// Removals that it made or received, for nodes that it sends only parts to; none once it has
    /// joined a whole state, since then it cannot know all.
    removals: Option<Vec<Vec<u8>>>,
    /// What was made since the last message.
    open: (u64, BTreeSet<usize>),
    had: BTreeSet<usize>,
}

impl Node {
    fn new(id: ReplicaId, clock: u64, kind: Type) -> Node {
        Node {
            id,
            writers: Writers::of(id),
            value: Value::empty(kind),
            context: Context::new(),
            mint: Mint { seq: 0, flushed: 0, clock, used: Cell::new(false) },
            change: Delta::empty(kind),
            removals: Some(Vec::new()),
            open: (0, BTreeSet::new()),
            had: BTreeSet::new(),
        }
    }

    /// The dots that it knows, by names that all nodes share.
    fn known(&self) -> Vec<(ReplicaId, u64)> {
        let id = |writer| self.writers.id(writer).expect("interned");
        let vector = self.context.vector().flat_map(|(w, upto)| (1..=upto).map(move |n| (w, n)));
        let beyond = self.context.beyond().map(|dot| (dot.writer(), dot.seq()));
        vector.chain(beyond).map(|(writer, seq)| (id(writer), seq)).collect()
    }

    fn send(&mut self) -> Message {
        let delta = std::mem::replace(&mut self.change, Delta::empty(self.value.kind()));
        self.note_removals(&delta);
        self.mint.flushed = self.mint.seq;
        let (from, events) = std::mem::take(&mut self.open);
        self.open.0 = self.mint.seq;
        let known = (from + 1..=self.mint.seq).map(|seq| (self.id, seq)).collect();
        Message { bytes: delta.encode(&self.writers), known, events, whole: false }
    }

    fn note_removals(&mut self, delta: &Delta) {
        let removals = delta.removals();
        if let (Some(log), false) = (&mut self.removals, removals.is_empty()) {
            log.push(removals.encode(&self.writers));
        }
    }

    fn receive(&mut self, message: &Message) {
        let delta = Delta::decode(&message.bytes, &mut self.writers).expect("just encoded");
        self.value.apply(&self.context, &delta);
        if message.whole {
            self.removals = None;
        }
        self.note_removals(&delta);
        delta.learn(&mut self.context);
        for (id, seq) in &message.known {
            let writer = self.writers.intern(*id).expect("few writers");
            self.context.insert(Dot::new(writer, *seq).expect("a short history"));
        }
        self.had.extend(&message.events);
    }

    /// Its whole state, or what `to` lacks of it with all removals.
    fn state_for(&mut self, to: &Node, whole: bool) -> Vec<Message> {
        self.mint.flushed = self.mint.seq;
        self.note_removals(&self.change.clone());
        let last =
            |bytes, whole| Message { bytes, known: self.known(), events: self.had.clone(), whole };
        let Some(removals) = self.removals.as_ref().filter(|_| !whole) else {
            return vec![last(self.value.whole(&self.context).encode(&self.writers), true)];
        };
        let mut known = Context::new();
        for (id, seq) in to.known() {
            if let Some(writer) = self.writers.index(id) {
                known.insert(Dot::new(writer, seq).expect("a short history"));
            }
        }
        let part =
            |bytes| Message { bytes, known: Vec::new(), events: BTreeSet::new(), whole: false };
        let mut messages: Vec<Message> = removals.iter().cloned().map(part).collect();
        messages.push(last(self.value.since(&known).encode(&self.writers), false));
        messages
    }
}

struct World<S: Specification> {
    random: Random,
    nodes: Vec<Node>,
    messages: Vec<Message>,
    events: Vec<Event<S::Edit>>,
}

impl<S: Specification> World<S> {
    fn new(seed: u64) -> World<S> {
        let mut random = Random(seed);
        let count = 2 + random.below(3);
        let nodes = (0..count as u64).map(|n| {
            // Ids in no order, and now and then a clock that runs far ahead.
            let id = ReplicaId(random.next() << 3 | n);
            let ahead = if random.percent(25) { 20_000_000_000_000 } else { 0 };
            Node::new(id, ahead, S::Kind::TYPE)
        });
        let nodes = nodes.collect();
        World { nodes, random, messages: Vec::new(), events: Vec::new() }
    }

    /// Whether a node has all that its events had seen.
    fn is_closed(&self, at: usize) -> bool {
        let had = &self.nodes[at].had;
        had.iter().all(|event| self.events[*event].seen.is_subset(had))
    }

    fn edit(&mut self, at: usize) {
        if !self.is_closed(at) {
            return;
        }
        let edit = S::draw(&mut self.random);
        let node = &mut self.nodes[at];
        let seen = node.had.clone();
        node.mint.used.set(false);
        let state = S::Kind::of_mut(&mut node.value).expect("of this type");
        let change = S::Kind::delta_mut(&mut node.change).expect("of this type");
        S::edit(state, &edit, (&node.context, &node.writers, &mut node.mint), change);
        node.context.raise(Writer(0), node.mint.seq);
        if node.mint.used.get() {
            let number = self.events.len();
            node.had.insert(number);
            node.open.1.insert(number);
            self.events.push(Event { number, edit, by: node.id, time: node.mint.clock, seen });
        }
    }

    /// Several messages as one.
    fn grouped(&mut self) -> Option<Message> {
        let mut writers = Writers::new();
        let mut group = Delta::empty(S::Kind::TYPE);
        let (mut known, mut events) = (Vec::new(), BTreeSet::new());
        for _ in 0..2 + self.random.below(3) {
            let message = self.messages.get(self.random.below(self.messages.len().max(1)))?;
            group.join(&Delta::decode(&message.bytes, &mut writers).expect("just encoded"));
            known.extend(&message.known);
            events.extend(&message.events);
        }
        Some(Message { bytes: group.encode(&writers), known, events, whole: false })
    }

    fn sync(&mut self, to: usize, from: usize, whole: bool) {
        if to != from {
            let [to, from] = self.nodes.get_disjoint_mut([to, from]).expect("two nodes");
            from.state_for(to, whole).iter().for_each(|message| to.receive(message));
        }
    }

    fn step(&mut self) -> Result<(), String> {
        let (at, other) =
            (self.random.below(self.nodes.len()), self.random.below(self.nodes.len()));
        match self.random.below(100) {
            0..40 => self.edit(at),
            40..60 => {
                let message = self.nodes[at].send();
                self.messages.push(message);
            }
            60..80 if !self.messages.is_empty() => {
                let which = self.random.below(self.messages.len());
                self.nodes[at].receive(&self.messages[which]);
            }
            80..86 => {
                if let Some(message) = self.grouped() {
                    self.nodes[at].receive(&message);
                }
            }
            86..91 => self.sync(at, other, true),
            91..96 => self.sync(at, other, false),
            _ => {}
        }
        self.compare(at)
    }

    /// Compares what a node reads with the specification, if the node has all that its events had seen.
    fn compare(&self, at: usize) -> Result<(), String> {
        if !self.is_closed(at) {
            return Ok(());
        }
        let node = &self.nodes[at];
        let had = node.had.iter().map(|event| &self.events[*event]);
        let expected = S::value(&History(had.collect()));
        let state = S::Kind::of(&node.value).expect("of this type");
        let read = S::read(state, &node.writers);
        if read != expected {
            let events: Vec<_> = node.had.iter().map(|event| &self.events[*event]).collect();
            return Err(format!("{read:?} instead of {expected:?} after {events:#?}"));
        }
        Ok(())
    }

    /// Delivers everything that is left, some of it twice, in any order.
    fn deliver_all(&mut self) -> Result<(), String> {
        for at in 0..self.nodes.len() {
            let message = self.nodes[at].send();
            self.messages.push(message);
        }
        for at in 0..self.nodes.len() {
            let mut left = self.messages.clone();
            while !left.is_empty() {
                let which = self.random.below(left.len());
                self.nodes[at].receive(&left[which]);
                if self.random.percent(80) {
                    left.swap_remove(which);
                }
                self.compare(at)?;
            }
            if self.nodes[at].had.len() != self.events.len() {
                return Err("a node has not all events".into());
            }
        }
        Ok(())
    }
}

fn history<S: Specification>(seed: u64) -> Result<(), String> {
    let mut world = World::<S>::new(seed);
    for _ in 0..20 + world.random.below(80) {
        world.step()?;
    }
    world.deliver_all()
}

/// Plays histories; each must agree with the specification.
pub(crate) fn check<S: Specification>() {
    let number = |name| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    if let Some(seed) = number("SPECIFICATION_SEED") {
        history::<S>(seed).unwrap_or_else(|wrong| panic!("{wrong}"));
        return;
    }
    for seed in 0..number("SPECIFICATION_HISTORIES").unwrap_or(1_500) {
        history::<S>(seed).unwrap_or_else(|wrong| panic!("SPECIFICATION_SEED={seed}: {wrong}"));
    }
}
