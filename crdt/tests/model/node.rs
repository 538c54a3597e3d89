//! A node: real values, and what a replicator keeps beside them.

use std::collections::BTreeMap;

use miso_crdt::{
    Context, Delta, Dot, Events, Kind, ReplicaId, Seen, Type, Value, Writer, Writers, kind,
};

use super::edits::{Act, Edit, Edits, Key};
use super::{RULES, Rules};

/// Locks of a node's store: draining is not atomic over them.
pub(crate) const SHARDS: usize = 2;

/// A vector on the wire.
pub(crate) type Vector = BTreeMap<ReplicaId, u64>;

/// What a flush sends: a contiguous range of its origin's events.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) origin: ReplicaId,
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// What the origin has applied: its summary, on which others may forget floors.
    pub(crate) applied: Vector,
    pub(crate) changes: Vec<(Key, Vec<u8>)>,
    /// For the oracle: the edits in it, and those that the origin had of each value.
    pub(crate) edits: Vec<usize>,
    pub(crate) hints: BTreeMap<Key, Edits>,
}

/// What some event took away.
#[derive(Clone, Debug)]
pub(crate) struct Removal {
    pub(crate) origin: ReplicaId,
    /// The end of the batch that it came in.
    pub(crate) at: u64,
    pub(crate) key: Key,
    pub(crate) change: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: ReplicaId,
    pub(crate) writers: Writers,
    pub(crate) values: BTreeMap<Key, Value>,
    /// All events up to here are applied.
    pub(crate) vector: Context,
    /// What is known of single values beyond the vector: removals that are pending, and values
    /// fetched ahead.
    pub(crate) ahead: BTreeMap<Key, Context>,
    pub(crate) seq: u64,
    pub(crate) clock: u64,
    /// By shard: the number up to which its events may have been shown.
    pub(crate) flushed: [u64; SHARDS],
    /// The end of the last batch.
    pub(crate) sent: u64,
    pub(crate) pending: BTreeMap<Key, Delta>,
    /// What each writer has said that it has applied.
    pub(crate) summaries: BTreeMap<ReplicaId, Vector>,
    pub(crate) log: Vec<Removal>,
    /// The log has all removals after this.
    pub(crate) log_start: Vector,
    /// For the oracle: edits by value, and those not flushed.
    pub(crate) had: BTreeMap<Key, Edits>,
    /// Edits by value that nodes had whose counts are here: a count's entry, being absolute, may
    /// bring the effect of a reset that is not here itself.
    pub(crate) hints: BTreeMap<Key, Edits>,
    pub(crate) open: Vec<usize>,
}

pub(crate) struct Mint<'a> {
    pub(crate) seq: &'a mut u64,
    pub(crate) clock: &'a mut u64,
    pub(crate) flushed: u64,
    pub(crate) used: std::cell::Cell<bool>,
}

impl Events for Mint<'_> {
    fn next(&mut self) -> Dot {
        *self.seq += 1;
        self.used.set(true);
        Dot::new(Writer(0), *self.seq).expect("a short history")
    }

    fn unsent(&self, dot: Dot) -> bool {
        let unsent = dot.writer() == Writer(0) && dot.seq() > self.flushed;
        self.used.set(self.used.get() | unsent);
        unsent
    }

    fn time(&mut self) -> u64 {
        *self.clock += 1;
        *self.clock
    }

    fn writer(&self) -> Writer {
        Writer(0)
    }
}

pub(crate) fn shard(key: Key) -> usize {
    usize::from(key.0 ^ key.1 as u8) % SHARDS
}

impl Node {
    pub(crate) fn new(id: ReplicaId, clock: u64) -> Node {
        let mut writers = Writers::new();
        writers.intern(id);
        Node {
            id,
            writers,
            values: BTreeMap::new(),
            vector: Context::new(),
            ahead: BTreeMap::new(),
            seq: 0,
            clock,
            flushed: [0; SHARDS],
            sent: 0,
            pending: BTreeMap::new(),
            summaries: BTreeMap::new(),
            log: Vec::new(),
            log_start: Vector::new(),
            had: BTreeMap::new(),
            hints: BTreeMap::new(),
            open: Vec::new(),
        }
    }

    /// The context of a value: what its absences mean.
    pub(crate) fn context(&self, key: Key) -> Context {
        let mut context = self.vector.clone();
        self.ahead.get(&key).into_iter().for_each(|ahead| context.join(ahead));
        context
    }

    pub(crate) fn vector_on_wire(&self) -> Vector {
        let id = |writer| self.writers.id(writer).expect("interned");
        self.vector.vector().map(|(writer, seq)| (id(writer), seq)).collect()
    }

    pub(crate) fn upto(&self, id: ReplicaId) -> u64 {
        self.vector_on_wire().get(&id).copied().unwrap_or(0)
    }

    /// Raises the vector, and forgets what of single values it now covers.
    pub(crate) fn raise(&mut self, to: &Vector) {
        for (id, seq) in to {
            let writer = self.writers.intern(*id).expect("few writers");
            self.vector.raise(writer, *seq);
        }
        let vector = &self.vector;
        self.ahead.retain(|_, ahead| {
            ahead.subtract(vector);
            !ahead.is_empty()
        });
    }

    /// Joins a change of one value.
    pub(crate) fn join(&mut self, key: Key, change: &[u8], rules: Rules) {
        let delta = Delta::decode(change, &mut self.writers).expect("nobody is hostile here");
        assert_eq!(delta.kind(), key.1);
        let mut seen = self.context(key);
        // What was removed here in this interval is not in `ahead` before the flush.
        if let Some(pending) = self.pending.get(&key) {
            pending.removals().learn(&mut seen);
        }
        let value = self.values.entry(key).or_insert_with(|| Value::empty(key.1));
        value.apply(&seen, &delta);
        if value.is_blank() {
            self.values.remove(&key);
        }
        if rules.keep_pending_removals {
            delta.removals().learn(self.ahead.entry(key).or_default());
        }
    }

    /// The whole state of a value, and all that is known of it.
    pub(crate) fn whole(&mut self, key: Key, rules: Rules) -> Vec<u8> {
        if rules.mark_shown {
            self.flushed[shard(key)] = self.seq;
        }
        let mut context =
            if rules.send_pending_removals { self.context(key) } else { self.vector.clone() };
        if let Some(pending) = self.pending.get(&key).filter(|_| rules.send_pending_removals) {
            pending.removals().learn(&mut context);
        }
        let empty = Value::empty(key.1);
        self.values.get(&key).unwrap_or(&empty).whole(&context).encode(&self.writers)
    }

    /// Does `act`; whether it did anything.
    pub(crate) fn edit(&mut self, key: Key, act: Act, value: &[u8]) -> bool {
        let context = self.context(key);
        let state = self.values.entry(key).or_insert_with(|| Value::empty(key.1));
        let mut mint = Mint {
            seq: &mut self.seq,
            clock: &mut self.clock,
            flushed: self.flushed[shard(key)],
            used: false.into(),
        };
        let quiet = !self.pending.contains_key(&key);
        let group = self.pending.entry(key).or_insert_with(|| Delta::empty(key.1));
        macro_rules! on {
            ($kind:ident, |$state:ident, $change:ident| $edit:expr) => {{
                let $state = kind::$kind::of_mut(state).expect("of this type");
                let $change = kind::$kind::delta_mut(group).expect("of this type");
                _ = $edit;
            }};
        }
        match (key.1, act) {
            // A counter's own entry is noted when it is sent.
            (Type::GCounter, Act::Count(p, _)) => on!(GCounter, |c, _d| c.add(p, 0, &mut mint)),
            (Type::PnCounter, Act::Count(p, n)) => on!(PnCounter, |c, _d| c.add(p, n, &mut mint)),
            (Type::GCounter, _) => on!(GCounter, |c, d| c.reset(&mut mint, Some(d))),
            (Type::PnCounter, _) => on!(PnCounter, |c, d| c.reset(&mut mint, Some(d))),
            (Type::GSet, Act::Add(e)) => on!(GSet, |s, d| s.add(&[e], &mut mint, Some(d))),
            (Type::GSet, _) => on!(GSet, |s, d| s.clear(&context, &mut mint, Some(d))),
            (Type::OrSet, Act::Add(e)) => on!(OrSet, |s, d| s.add(&[e], &mut mint, Some(d))),
            (Type::OrSet, Act::Remove(e)) => on!(OrSet, |s, d| s.remove(&[e], &mut mint, Some(d))),
            (Type::OrSet, _) => on!(OrSet, |s, d| s.clear(&context, &mut mint, Some(d))),
            (Type::MvRegister, Act::Write) => {
                on!(MvRegister, |r, d| r.set(value, &mut mint, Some(d)));
            }
            (Type::MvRegister, _) => on!(MvRegister, |r, d| r.reset(&mut mint, Some(d))),
            (Type::EwFlag, Act::Enable) => on!(EwFlag, |f, d| f.enable(&mut mint, Some(d))),
            (Type::EwFlag, _) => on!(EwFlag, |f, d| f.disable(&mut mint, Some(d))),
            (Type::OrMap, Act::Set(f) | Act::SetText(f)) => {
                on!(OrMap, |m, d| m.set(&[f], value, &mut mint, Some(d)));
            }
            (Type::OrMap, Act::CountField(f, n)) => {
                on!(OrMap, |m, d| m.add(&[f], n, &self.writers, &mut mint, Some(d)));
            }
            (Type::OrMap, Act::RemoveField(f)) => {
                on!(OrMap, |m, d| m.remove(&[f], &mut mint, Some(d)));
            }
            (Type::OrMap, _) => on!(OrMap, |m, d| m.clear(&context, &mut mint, Some(d))),
            _ => unreachable!("the model plays MISO's own types"),
        }
        let used = mint.used.get();
        if state.is_blank() {
            self.values.remove(&key);
        }
        if quiet && !used {
            self.pending.remove(&key);
        }
        self.vector.raise(Writer(0), self.seq);
        used
    }

    /// The changes of a shard since the last time, for a batch.
    pub(crate) fn drain(&mut self, which: usize, batch: &mut Batch, edits: &[Edit]) {
        self.flushed[which] = self.seq;
        let keys: Vec<Key> =
            self.pending.keys().filter(|key| shard(**key) == which).copied().collect();
        for key in keys {
            let mut delta = self.pending.remove(&key).expect("listed above");
            if let (
                Delta::GCounter(delta) | Delta::PnCounter(delta),
                Some(Value::GCounter(counter) | Value::PnCounter(counter)),
            ) = (&mut delta, self.values.get(&key))
                && let Some(entry) = counter.entry(Writer(0))
            {
                delta.note(entry);
            }
            if !delta.is_empty() {
                delta.removals().learn(self.ahead.entry(key).or_default());
                batch.changes.push((key, delta.encode(&self.writers)));
                self.note_removal(batch.origin, batch.to, key, &delta);
            }
        }
        let (mine, rest) = self.open.iter().partition(|n| shard(edits[**n].key) == which);
        self.open = rest;
        batch.edits.extend::<Vec<usize>>(mine);
        batch.hints = self.hints.clone();
        for (key, had) in &self.had {
            batch.hints.entry(*key).or_default().join(had);
        }
    }

    pub(crate) fn note_removal(&mut self, origin: ReplicaId, at: u64, key: Key, delta: &Delta) {
        let removals = delta.removals();
        if !removals.is_empty() {
            let change = removals.encode(&self.writers);
            self.log.push(Removal { origin, at, key, change });
        }
    }

    pub(crate) fn receive(&mut self, batch: &Batch, edits: &[Edit], rules: Rules) {
        let known = self.upto(batch.origin);
        if batch.to <= known || (rules.refuse_gaps && batch.from > known + 1) {
            return;
        }
        for (key, change) in &batch.changes {
            self.join(*key, change, rules);
            let delta = Delta::decode(change, &mut self.writers).expect("read above");
            self.note_removal(batch.origin, batch.to, *key, &delta);
        }
        self.raise(&Vector::from([(batch.origin, batch.to)]));
        self.summaries.insert(batch.origin, batch.applied.clone());
        for n in &batch.edits {
            self.had.entry(edits[*n].key).or_default().insert(*n);
        }
        let edited = batch.edits.iter().map(|n| edits[*n].key);
        for key in batch.changes.iter().map(|(key, _)| *key).chain(edited) {
            let hints = batch.hints.get(&key).copied().unwrap_or_default();
            self.hints.entry(key).or_default().join(&hints);
        }
    }

    /// Fetches one value, whatever the vectors.
    pub(crate) fn restore(&mut self, from: &mut Node, key: Key, rules: Rules) {
        let whole = from.whole(key, rules);
        self.join(key, &whole, rules);
        self.take_edits(from, key);
        self.raise(&Vector::new());
    }

    pub(crate) fn take_edits(&mut self, from: &Node, key: Key) {
        let had = from.had.get(&key).copied().unwrap_or_default();
        self.had.entry(key).or_default().join(&had);
        let hints = from.hints.get(&key).copied().unwrap_or_default();
        self.hints.entry(key).or_default().join(&hints);
    }

    pub(crate) fn learn_summaries(&mut self, from: &Node) {
        let own = (from.id, from.vector_on_wire());
        for (id, summary) in
            from.summaries.iter().map(|(id, summary)| (*id, summary.clone())).chain([own])
        {
            let mine = self.summaries.entry(id).or_default();
            for (of, seq) in summary {
                let at = mine.entry(of).or_default();
                *at = seq.max(*at);
            }
        }
    }

    /// Takes over all that `from` knows by exchanging whole states.
    pub(crate) fn exchange(&mut self, from: &mut Node, keys: &[Key], rules: Rules) {
        let vector = from.vector_on_wire();
        for key in keys {
            let whole = from.whole(*key, rules);
            self.join(*key, &whole, rules);
            self.take_edits(from, *key);
        }
        // What happened meanwhile is not in the log here.
        for (id, seq) in &vector {
            if *seq > self.upto(*id) {
                self.log_start.insert(*id, *seq);
            }
        }
        self.raise(&vector);
        self.learn_summaries(from);
    }

    /// Takes over all that `from` knows by its touch index and removal log; false if its log does
    /// not reach back so far.
    pub(crate) fn sync(&mut self, from: &mut Node, keys: &[Key], rules: Rules) -> bool {
        let (mine, theirs) = (self.vector_on_wire(), from.vector_on_wire());
        let lacks = |id: &ReplicaId, at: u64| mine.get(id).copied().unwrap_or(0) < at;
        if rules.respect_log_start && from.log_start.iter().any(|(id, seq)| lacks(id, *seq)) {
            return false;
        }
        let known: Context = {
            let mut known = Context::new();
            for (id, seq) in &mine {
                known.raise(from.writers.intern(*id).expect("few writers"), *seq);
            }
            known
        };
        from.flushed = if rules.mark_shown { [from.seq; SHARDS] } else { from.flushed };
        for key in keys {
            // The few values that are ahead of the vector go whole.
            if from.ahead.contains_key(key) {
                let whole = from.whole(*key, rules);
                self.join(*key, &whole, rules);
            } else if let Some(value) = from.values.get(key) {
                let newer = value.since(&known);
                if !newer.is_empty() {
                    self.join(*key, &newer.encode(&from.writers), rules);
                }
            }
            self.take_edits(from, *key);
        }
        for removal in from.log.iter().filter(|removal| lacks(&removal.origin, removal.at)) {
            self.join(removal.key, &removal.change, rules);
            let delta = Delta::decode(&removal.change, &mut self.writers).expect("read above");
            self.note_removal(removal.origin, removal.at, removal.key, &delta);
        }
        self.raise(&theirs);
        self.learn_summaries(from);
        true
    }

    /// Forgets floors. `vectors` is what all nodes have applied this moment, which nobody knows.
    pub(crate) fn collect(&mut self, vectors: &BTreeMap<ReplicaId, Vector>, rules: Rules) {
        let (writers, vector) = (&self.writers, &self.vector);
        let summaries = if rules.summary_in_stream { &self.summaries } else { vectors };
        let applied = |update: Dot, reset: Dot| {
            let writer = update.writer();
            if writer == Writer(0) {
                return true;
            }
            if !rules.wait_for_summary {
                return vector.seen(reset);
            }
            let id = |writer| writers.id(writer).expect("interned");
            let summary =
                summaries.get(&id(writer)).and_then(|summary| summary.get(&id(reset.writer())));
            summary.is_some_and(|seq| *seq >= reset.seq())
        };
        self.values.retain(|_, value| {
            match value {
                Value::GCounter(counter) | Value::PnCounter(counter) => counter.collect(applied),
                Value::OrMap(map) => map.collect(applied),
                _ => {}
            }
            !value.is_blank()
        });
    }

    /// Comes back under a new identity, with the state of `snapshot` or none.
    pub(crate) fn restart(&mut self, id: ReplicaId, snapshot: Option<&Node>, rules: Rules) {
        let mut fresh = Node::new(id, self.clock);
        if let Some(old) = snapshot {
            if !rules.new_incarnation {
                let summaries = std::mem::take(&mut self.summaries);
                *self =
                    Node { summaries, pending: BTreeMap::new(), open: Vec::new(), ..old.clone() };
                self.sent = self.seq;
                return;
            }
            for (key, value) in &old.values {
                let whole = value.whole(&Context::new()).encode(&old.writers);
                fresh.join(*key, &whole, RULES);
            }
            fresh.ahead.clear();
            for (key, ahead) in &old.ahead {
                // By way of the wire, since the writers' numbers change.
                let whole = Value::empty(Type::EwFlag).whole(ahead).encode(&old.writers);
                let whole = Delta::decode(&whole, &mut fresh.writers).expect("just written");
                whole.learn(fresh.ahead.entry(*key).or_default());
            }
            fresh.raise(&old.vector_on_wire());
            // What was pending then is lost, so the log has a hole.
            fresh.log_start = old.vector_on_wire();
            fresh.summaries = old.summaries.clone();
            fresh.had = old.had.clone();
            fresh.hints = old.hints.clone();
        }
        *self = fresh;
    }
}
