//! Random histories of the plain types on several nodes, over real encodings, with messages doubled
//! and late, deadlines passing and memory taken back: what is read must be what the specification
//! says ([`spec`](super::spec)).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::hll::Registers;
use super::items::Mode;
use super::spec::{Act, Edits, FIELDS, Spec, TEXTS, Told};
use super::{FOREVER, Hll, Moment, PlainHash, PlainSet, PlainString, PlainZSet};
use crate::{Context, Crdt, Decoder, Dot, Encode, Encoder, Events, ReplicaId, Writer, Writers};

/// A source of events whose clock is told.
#[derive(Clone, Debug)]
pub(super) struct Clocked {
    seq: u64,
    flushed: u64,
    time: u64,
    /// What tells its times from those of other nodes.
    offset: u64,
    minted: Vec<u64>,
}

impl Events for Clocked {
    fn next(&mut self) -> Dot {
        self.seq += 1;
        self.minted.push(self.seq);
        Dot::new(Writer(0), self.seq).expect("a short history")
    }

    fn unsent(&self, dot: Dot) -> bool {
        dot.writer() == Writer(0) && dot.seq() > self.flushed
    }

    fn time(&mut self) -> u64 {
        self.time = self.time / 64 * 64 + 64 + self.offset;
        self.time
    }

    fn writer(&self) -> Writer {
        Writer(0)
    }
}

/// A node with one value.
#[derive(Clone)]
pub(super) struct Node<T: Crdt> {
    pub(super) state: T,
    id: ReplicaId,
    pub(super) writers: Writers,
    context: Context,
    events: Clocked,
    change: T::Delta,
    had: Edits,
    open: Edits,
    /// By origin: how many of its messages are applied.
    applied: BTreeMap<ReplicaId, usize>,
    /// By node: what it has announced that it knows, all of that being known here.
    heard: BTreeMap<ReplicaId, Announced>,
}

/// The number up to which each writer's events are known somewhere.
type Announced = BTreeMap<ReplicaId, u64>;

/// What some edits of a node came to, as it travels.
pub(super) struct Message {
    origin: ReplicaId,
    number: usize,
    bytes: Vec<u8>,
    events: Vec<u64>,
    edits: Edits,
}

impl<T: Crdt> Node<T> {
    pub(super) fn new(id: u64) -> Node<T> {
        Node {
            state: T::default(),
            id: ReplicaId(id),
            writers: Writers::of(ReplicaId(id)),
            context: Context::new(),
            events: Clocked { seq: 0, flushed: 0, time: 0, offset: id, minted: Vec::new() },
            change: T::Delta::default(),
            had: Edits::new(),
            open: Edits::new(),
            applied: BTreeMap::new(),
            heard: BTreeMap::new(),
        }
    }

    /// What it knows.
    fn announce(&self) -> Announced {
        let vector = self.context.vector();
        vector.map(|(w, seq)| (self.writers.id(w).expect("interned"), seq)).collect()
    }

    /// Notes what another node has announced, if all of it is known here.
    fn hear(&mut self, (of, said): &(ReplicaId, Announced)) {
        let knows = |(id, seq): (&ReplicaId, &u64)| {
            self.writers.index(*id).is_some_and(|writer| self.context.upto(writer) >= *seq)
        };
        if *of != self.id && said.iter().all(knows) {
            self.heard.insert(*of, said.clone());
        }
    }

    /// Folds what all `others` have announced.
    fn fold(&mut self, others: &[ReplicaId])
    where
        T: Played,
    {
        let (writers, context) = (&self.writers, &self.context);
        let heard: Option<Vec<&Announced>> = others.iter().map(|id| self.heard.get(id)).collect();
        let Some(heard) = heard else { return };
        self.state.fold(|dot| {
            let id = writers.id(dot.writer()).expect("interned");
            let has = |said: &&Announced| said.get(&id).is_some_and(|seq| *seq >= dot.seq());
            context.upto(dot.writer()) >= dot.seq() && heard.iter().all(has)
        });
    }

    /// A node whose clock gives the very times of another's.
    pub(super) fn with_clock_of(self, other: &Node<T>) -> Node<T> {
        Node { events: Clocked { offset: other.events.offset, ..self.events }, ..self }
    }

    /// An edit at `now`.
    pub(super) fn edit<R>(
        &mut self,
        now: u64,
        edit: impl FnOnce(&mut T, &Moment<'_>, &mut Clocked, Option<&mut T::Delta>) -> R,
    ) -> R {
        self.events.time = self.events.time.max(now << 16);
        let (context, writers) = (&self.context, &self.writers);
        let moment = Moment { now: self.events.time >> 16, writers, context: &|| context.clone() };
        let result = edit(&mut self.state, &moment, &mut self.events, Some(&mut self.change));
        self.context.raise(Writer(0), self.events.seq);
        result
    }

    pub(super) fn read<R>(&self, read: impl FnOnce(&T, &Writers) -> R) -> R {
        read(&self.state, &self.writers)
    }

    /// What changed since the last call.
    pub(super) fn send(&mut self) -> Message {
        let mut encoder = Encoder::new();
        core::mem::take(&mut self.change).encode(&mut encoder);
        let number = self.applied.entry(self.id).or_default();
        *number += 1;
        self.events.flushed = self.events.seq;
        Message {
            origin: self.id,
            number: *number,
            bytes: encoder.finish(0, &self.writers),
            events: core::mem::take(&mut self.events.minted),
            edits: core::mem::take(&mut self.open),
        }
    }

    fn decode(&mut self, bytes: &[u8]) -> T::Delta {
        let (_, mut decoder) = Decoder::open(bytes, &mut self.writers).expect("well formed");
        let delta = T::Delta::decode(&mut decoder).expect("just written");
        decoder.close().expect("all of it");
        delta
    }

    /// Applies a message, unless one before it is missing. Twice is as good as once.
    pub(super) fn receive(&mut self, message: &Message) {
        let applied = self.applied.entry(message.origin).or_default();
        if message.number > *applied + 1 {
            return;
        }
        *applied = message.number.max(*applied);
        let delta = self.decode(&message.bytes);
        self.state.apply(&self.context, &delta);
        T::learn(&delta, &mut self.context);
        if let Some(writer) = self.writers.intern(message.origin) {
            let dots = message.events.iter().filter_map(|seq| Dot::new(writer, *seq));
            dots.for_each(|dot| self.context.insert(dot));
        }
        self.had.extend(&message.edits);
    }

    /// Takes the whole state of another node.
    pub(super) fn join(&mut self, other: &mut Node<T>) {
        other.events.flushed = other.events.seq;
        let mut encoder = Encoder::new();
        other.state.whole(&other.context).encode(&mut encoder);
        let delta = self.decode(&encoder.finish(0, &other.writers));
        self.state.apply(&self.context, &delta);
        for (writer, seq) in other.context.vector() {
            let id = other.writers.id(writer).expect("interned");
            let writer = self.writers.intern(id).expect("few");
            self.context.raise(writer, seq);
        }
        for dot in other.context.beyond() {
            let id = other.writers.id(dot.writer()).expect("interned");
            let writer = self.writers.intern(id).expect("few");
            self.context.insert(Dot::new(writer, dot.seq()).expect("as there"));
        }
        self.had.extend(&other.had);
    }
}

/// All to all, in both orders.
pub(super) fn exchange<T: Crdt>(nodes: &mut [Node<T>]) {
    for from in (0..nodes.len()).chain(0..nodes.len()) {
        let mut from = nodes[from].clone();
        nodes.iter_mut().for_each(|node| node.join(&mut from));
    }
    nodes.iter_mut().for_each(|node| node.events.flushed = node.events.seq);
}

/// A plain type, as the oracle plays it.
pub(super) trait Played: Crdt {
    const KEYED: bool;
    const REPLACES: bool = true;
    /// What it can do of what is drawn.
    fn can(act: Act) -> bool;
    /// Does it; whether it did anything.
    fn act<E: Events>(
        &mut self,
        act: Act,
        moment: &Moment<'_>,
        events: &mut E,
        change: Option<&mut Self::Delta>,
    ) -> bool;
    fn told(&self, now: u64, writers: &Writers) -> (Told, Option<u64>);
    /// Folds what may be folded, where values fold.
    fn fold(&mut self, _stable: impl Fn(Dot) -> bool) {}
}

fn utf8(bytes: &[u8]) -> String {
    format!("{}", bytes.escape_ascii())
}

impl Played for PlainString {
    const KEYED: bool = false;

    fn can(act: Act) -> bool {
        act.field().is_none_or(|field| field == 0) && !matches!(act, Act::Expire(_) | Act::Delete)
    }

    fn act<E: Events>(
        &mut self,
        act: Act,
        moment: &Moment<'_>,
        events: &mut E,
        change: Option<&mut Self::Delta>,
    ) -> bool {
        match act {
            Act::Set(_, text, until) => {
                self.set(TEXTS[usize::from(text)].as_bytes(), until, events, change);
                true
            }
            Act::Count(_, n) => self.add(n, moment, events, change).is_ok(),
            Act::ExpireField(_, at) => {
                let old = self.deadline(moment.now, moment.writers);
                self.expire(at, moment, events, change) && (at, old) != (FOREVER, Some(FOREVER))
            }
            Act::Remove(_) => self.delete(moment, events, change),
            Act::Reclaim => self.reclaim(moment, events, change),
            Act::Expire(_) | Act::Delete => unreachable!("not for strings"),
        }
    }

    fn told(&self, now: u64, writers: &Writers) -> (Told, Option<u64>) {
        let text = self.get(now, writers).map(|text| (Vec::from([0]), utf8(&text)));
        (text.into_iter().collect(), self.deadline(now, writers))
    }
}

/// The edits of a keyed type that all have alike.
macro_rules! whole_key {
    ($self:ident, $act:expr, $moment:ident, $events:ident, $change:ident) => {
        match $act {
            Act::Expire(at) => {
                let old = $self.deadline($moment.now, $moment.writers);
                $self.expire(at, $moment, $events, $change) && (at, old) != (FOREVER, Some(FOREVER))
            }
            Act::Delete => $self.delete($moment, $events, $change),
            Act::Remove(field) => $self.remove(&[field], $moment, $events, $change),
            Act::Reclaim => {
                $self.is_spent($moment.now, $moment.writers)
                    && $self.reclaim($moment, $events, $change)
            }
            _ => unreachable!("done above"),
        }
    };
}

impl Played for PlainHash {
    const KEYED: bool = true;

    fn can(_: Act) -> bool {
        true
    }

    fn act<E: Events>(
        &mut self,
        act: Act,
        moment: &Moment<'_>,
        events: &mut E,
        change: Option<&mut Self::Delta>,
    ) -> bool {
        match act {
            Act::Set(field, text, until) => {
                let text = TEXTS[usize::from(text)].as_bytes();
                self.set((&[field], text, until), moment, events, change);
                true
            }
            Act::Count(field, n) => self.add((&[field], n), moment, events, change).is_ok(),
            Act::ExpireField(field, at) => {
                let old = self.field_deadline(&[field], moment.now, moment.writers);
                self.expire_field((&[field], at), moment, events, change)
                    && (at, old) != (FOREVER, Some(FOREVER))
            }
            act => whole_key!(self, act, moment, events, change),
        }
    }

    fn told(&self, now: u64, writers: &Writers) -> (Told, Option<u64>) {
        let fields = self.fields(now, writers).map(|(f, value)| (f.to_vec(), utf8(&value)));
        let fields: Told = fields.collect();
        assert_eq!(fields.len(), self.len(now, writers));
        assert_eq!(!fields.is_empty(), self.exists(now, writers));
        (fields, self.deadline(now, writers))
    }
}

impl Played for PlainSet {
    const KEYED: bool = true;

    fn can(act: Act) -> bool {
        matches!(
            act,
            Act::Set(_, 0, FOREVER) | Act::Remove(_) | Act::Expire(_) | Act::Delete | Act::Reclaim
        )
    }

    fn act<E: Events>(
        &mut self,
        act: Act,
        moment: &Moment<'_>,
        events: &mut E,
        change: Option<&mut Self::Delta>,
    ) -> bool {
        match act {
            Act::Set(member, ..) => {
                self.add(&[member], moment, events, change);
                true
            }
            act => whole_key!(self, act, moment, events, change),
        }
    }

    fn told(&self, now: u64, writers: &Writers) -> (Told, Option<u64>) {
        let members: Told =
            self.iter(now, writers).map(|(m, _)| (m.to_vec(), String::from(TEXTS[0]))).collect();
        assert_eq!(members.len(), self.len(now, writers));
        (members, self.deadline(now, writers))
    }
}

impl Played for PlainZSet {
    const KEYED: bool = true;

    fn can(act: Act) -> bool {
        match act {
            Act::Set(_, text, until) => text != 2 && until == FOREVER,
            Act::ExpireField(..) => false,
            _ => true,
        }
    }

    fn act<E: Events>(
        &mut self,
        act: Act,
        moment: &Moment<'_>,
        events: &mut E,
        change: Option<&mut Self::Delta>,
    ) -> bool {
        match act {
            Act::Set(member, text, _) => {
                let score = TEXTS[usize::from(text)].parse().expect("a number");
                self.set((&[member], score, Mode::Set), moment, events, change);
                true
            }
            Act::Count(member, n) => {
                self.add((&[member], n as f64), moment, events, change).is_ok()
            }
            act => whole_key!(self, act, moment, events, change),
        }
    }

    fn told(&self, now: u64, writers: &Writers) -> (Told, Option<u64>) {
        let order = self.order(now, writers);
        let mut members = BTreeMap::new();
        let mut before = None;
        for (score, member) in order.iter().flat_map(|order| order.range(0..order.len())) {
            assert!(before < Some((score, member)), "in order");
            before = Some((score, member));
            assert_eq!(self.score(member, now, writers), Some(score));
            members.insert(member.to_vec(), format!("{}", score + 0.0));
        }
        assert_eq!(members.len(), self.len(now, writers));
        (members, self.deadline(now, writers))
    }
}

impl Played for Hll {
    const KEYED: bool = true;
    const REPLACES: bool = false;

    fn can(act: Act) -> bool {
        PlainSet::can(act) && !matches!(act, Act::Remove(_))
    }

    fn act<E: Events>(
        &mut self,
        act: Act,
        moment: &Moment<'_>,
        events: &mut E,
        change: Option<&mut Self::Delta>,
    ) -> bool {
        match act {
            Act::Set(element, ..) => {
                self.add(&Registers::of([&[element][..]]), moment, events, change);
                true
            }
            act => whole_key!(self, act, moment, events, change),
        }
    }

    fn told(&self, now: u64, writers: &Writers) -> (Told, Option<u64>) {
        let all = self.registers(now, writers);
        let there = |element: &u8| {
            all.as_ref().is_some_and(|all| all.covers(&Registers::of([&[*element][..]])))
        };
        let elements = (0..FIELDS).filter(there).map(|e| (Vec::from([e]), String::from(TEXTS[0])));
        (elements.collect(), self.deadline(now, writers))
    }

    fn fold(&mut self, stable: impl Fn(Dot) -> bool) {
        Hll::fold(self, stable);
    }
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut n = self.0;
        n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ n >> 31
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn act(&mut self, now: u64) -> Act {
        let field = self.below(u64::from(FIELDS)) as u8;
        let deadline = match self.below(6) {
            0 => FOREVER,
            _ => now + 1 + self.below(120),
        };
        let until = if self.below(3) == 0 { deadline } else { FOREVER };
        match self.below(20) {
            0..6 => Act::Set(field, self.below(TEXTS.len() as u64) as u8, until),
            6..11 => Act::Count(field, self.below(9) as i64 - 3),
            11..13 => Act::ExpireField(field, deadline),
            13..15 => Act::Remove(field),
            15..18 => Act::Expire(deadline),
            18 => Act::Delete,
            _ => Act::Reclaim,
        }
    }
}

/// Compares what nodes say with what the specification does, at several times.
fn compare<T: Played>(spec: &Spec, node: &Node<T>, now: u64, seed: u64) {
    if !spec.is_closed(&node.had) {
        return;
    }
    for later in [0, 1, 40, 90, 200] {
        let expected = spec.read(&node.had, now + later);
        let told = node.state.told(now + later, &node.writers);
        assert_eq!(told, expected, "seed {seed}, at {now} + {later}: {:#?}\n{spec}", node.state);
    }
}

fn play<T: Played>(seed: u64, steps: usize) {
    let mut random = Random(seed);
    let mut spec = Spec { edits: Vec::new(), keyed: T::KEYED, replaces: T::REPLACES };
    let mut nodes: Vec<Node<T>> = [30, 10, 20].map(Node::new).into_iter().collect();
    let mut messages: Vec<Message> = Vec::new();
    let ids: Vec<ReplicaId> = nodes.iter().map(|node| node.id).collect();
    let mut announced: Vec<(ReplicaId, Announced)> = Vec::new();
    let mut now = 1_000;
    for _ in 0..steps {
        now += random.below(12);
        let at = random.below(nodes.len() as u64) as usize;
        let node = &mut nodes[at];
        match random.below(16) {
            0..6 => {
                let act = random.act(now);
                if T::can(act) && spec.is_closed(&node.had) {
                    let skew = now + at as u64 * 5;
                    let did = node.edit(skew, |state, moment, events, change| {
                        state.act(act, moment, events, change)
                    });
                    if did {
                        let time = (node.events.time, node.id);
                        let act = if T::KEYED || act != Act::Reclaim { act } else { Act::Delete };
                        let n = spec.note(act, &node.had, time);
                        node.had.insert(n);
                        node.open.insert(n);
                    }
                }
            }
            6..8 => messages.push(node.send()),
            8..11 if !messages.is_empty() => {
                let which = random.below(messages.len() as u64) as usize;
                node.receive(&messages[which]);
            }
            11 => {
                let mut from = nodes[random.below(3) as usize].clone();
                nodes[at].join(&mut from);
                nodes.iter_mut().filter(|node| node.id == from.id).for_each(|node| {
                    node.events.flushed = from.events.flushed;
                });
            }
            12 => {
                // What it did is sent before it announces anything.
                messages.push(node.send());
                announced.push((node.id, node.announce()));
            }
            13..16 if !announced.is_empty() => {
                announced.iter().for_each(|said| node.hear(said));
                let own = node.id;
                let others = ids.iter().copied().filter(|id| *id != own);
                node.fold(&others.collect::<Vec<_>>());
            }
            _ => {}
        }
        compare(&spec, &nodes[at], now + 15, seed);
    }
    messages.extend(nodes.iter_mut().map(Node::send));
    for node in &mut nodes {
        for _ in 0..messages.len() {
            let doubled = random.below(messages.len() as u64) as usize;
            node.receive(&messages[doubled]);
        }
        messages.iter().for_each(|message| node.receive(message));
        assert_eq!(node.had.len(), spec.edits.len());
        compare(&spec, node, now + 15, seed);
    }
    exchange(&mut nodes);
    let digests: Vec<u64> = nodes.iter().map(|node| node.state.digest(&node.writers)).collect();
    assert!(digests.iter().all(|digest| *digest == digests[0]), "seed {seed}");
    nodes.iter().for_each(|node| compare(&spec, node, now + 15, seed));
}

fn histories<T: Played>() {
    // `PLAIN_SEEDS=n` when this is built plays more of them.
    let seeds = option_env!("PLAIN_SEEDS").and_then(|seeds| seeds.parse().ok());
    (0..seeds.unwrap_or(1_500)).for_each(|seed| play::<T>(seed, 10 + (seed % 60) as usize));
}

#[test]
fn strings_read_as_specified() {
    histories::<PlainString>();
}

#[test]
fn hashes_read_as_specified() {
    histories::<PlainHash>();
}

#[test]
fn sets_read_as_specified() {
    histories::<PlainSet>();
}

#[test]
fn sorted_sets_read_as_specified() {
    histories::<PlainZSet>();
}

#[test]
fn hyperloglogs_read_as_specified() {
    histories::<Hll>();
}

/// Boxed states are what the store keeps; they must do the same.
#[test]
fn a_boxed_state_is_its_state() {
    let mut boxed = Box::<PlainSet>::default();
    let mut node = Node::<PlainSet>::new(1);
    node.edit(1, |set, moment, events, change| set.add(b"m", moment, events, change));
    boxed.apply(&(), &node.state.whole(&node.context));
    assert_eq!(*boxed, node.state);
}
