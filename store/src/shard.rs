//! A shard: some of a function's objects behind one lock, and what of them has changed.

use std::collections::{HashMap, HashSet};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use miso_crdt::{Context, Crdt, Delta, Dot, Kind, Table, Type, Value, Writer, Writers};
use parking_lot::MutexGuard;

use crate::durable::Writes;
use crate::function::{Function, LOCAL};
use crate::mint::Mint;
use crate::object::{Object, Slot};
use crate::pending::{self, Pending};

/// How many changes are looked up ahead.
pub(crate) const AHEAD: usize = 16;

/// The name holds a value of another type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WrongType;

/// Some objects of a function.
#[derive(Debug)]
pub struct Shard {
    pub(crate) objects: Table<Object>,
    /// The writers that the function knows: a copy, so that reading a value takes no second lock.
    writers: Arc<Writers>,
    /// Who wants to know of the next change of an object.
    watchers: HashMap<Box<[u8]>, Vec<Arc<AtomicBool>>>,
    /// Whether changes are gathered.
    pub(crate) tracked: bool,
    /// The number up to which events may have been shown to others; 0 while nothing is gathered.
    pub(crate) flushed: u64,
    pub(crate) pending: Pending,
    /// By pending key: what is known of a value beyond the function's vector, to be gone.
    pub(crate) ahead: HashMap<Box<[u8]>, Context>,
    /// By pending key: values that keep floors.
    pub(crate) floored: HashSet<Box<[u8]>>,
    /// Room for a pending key, kept.
    pub(crate) key: Vec<u8>,
    /// What has been done under the lock that is held, for the journal.
    pub(crate) writes: Writes,
}

impl Shard {
    pub(crate) fn new(writers: Arc<Writers>) -> Shard {
        Shard {
            objects: Table::new(),
            writers,
            watchers: HashMap::new(),
            tracked: false,
            flushed: 0,
            pending: Pending::default(),
            ahead: HashMap::new(),
            floored: HashSet::new(),
            key: Vec::new(),
            writes: Writes::default(),
        }
    }

    /// The objects, those included that read as absent.
    #[must_use]
    pub fn objects(&self) -> &Table<Object> {
        &self.objects
    }

    /// The writers that the function knows.
    #[must_use]
    pub fn writers(&self) -> &Writers {
        &self.writers
    }

    /// The writers that the function knows, to keep beyond the lock.
    #[must_use]
    pub fn shared_writers(&self) -> Arc<Writers> {
        Arc::clone(&self.writers)
    }

    /// Whether a CRDT has changes that await replication.
    #[must_use]
    pub fn is_pending(&self, object: &[u8], name: &[u8], kind: Type) -> bool {
        let mut key = Vec::new();
        pending::key(object, name, kind, &mut key);
        let slot = self.objects.get(object).and_then(|object| object.get(name));
        let mut values = slot.map_or(&[][..], Slot::values).iter();
        let counted = values.any(|value| match value {
            Value::GCounter(counter) | Value::PnCounter(counter) if value.kind() == kind => {
                counter.entry(LOCAL).is_some_and(|entry| entry.dot.seq() > self.flushed)
            }
            _ => false,
        });
        self.tracked && (counted || self.pending.groups.contains(&key))
    }

    /// The object with this id and [`hash`](crate::hash); none if it reads as absent.
    #[must_use]
    pub fn object(&self, hash: u64, object: &[u8]) -> Option<&Object> {
        self.objects.get_hashed(hash, object).filter(|object| !object.is_absent())
    }

    /// What `name` of the object holds; none if it reads as absent.
    #[must_use]
    pub fn slot(&self, hash: u64, object: &[u8], name: &[u8]) -> Option<&Slot> {
        let slot = self.objects.get_hashed(hash, object)?.get(name)?;
        slot.value().map(|_| slot)
    }

    /// The state of type `K` under `name` of the object; none if it reads as absent.
    ///
    /// # Errors
    /// If the name holds another type.
    pub fn read<K: Kind>(
        &self,
        hash: u64,
        object: &[u8],
        name: &[u8],
    ) -> Result<Option<&K::State>, WrongType> {
        match self.objects.get_hashed(hash, object).and_then(|object| object.get(name)) {
            Some(slot) => slot.read::<K>(),
            None => Ok(None),
        }
    }

    /// The first step towards an object that is looked up soon; see [`Table::prefetch_bucket`].
    pub fn prefetch_bucket(&self, hash: u64) {
        self.objects.prefetch_bucket(hash);
    }

    /// The second step; see [`Table::prefetch_key`].
    pub fn prefetch_object(&self, hash: u64) {
        self.objects.prefetch_key(hash);
    }

    pub(crate) fn watch(&mut self, object: &[u8], flag: &Arc<AtomicBool>) {
        self.watchers.entry(Box::from(object)).or_default().push(Arc::clone(flag));
    }

    pub(crate) fn unwatch(&mut self, object: &[u8], flag: &Arc<AtomicBool>) {
        if let Some(flags) = self.watchers.get_mut(object) {
            flags.retain(|watcher| !Arc::ptr_eq(watcher, flag));
            if flags.is_empty() {
                self.watchers.remove(object);
            }
        }
    }

    pub(crate) fn set_writers(&mut self, writers: Arc<Writers>) {
        self.writers = writers;
    }

    pub(crate) fn changed(&mut self, object: &[u8]) {
        if !self.watchers.is_empty() {
            for flag in self.watchers.remove(object).into_iter().flatten() {
                flag.store(true, Ordering::Release);
            }
        }
    }

    pub(crate) fn track(&mut self, seq: u64) {
        if !self.tracked {
            (self.tracked, self.flushed) = (true, seq);
        }
    }

    /// From now on events up to `seq` count as shown to others.
    pub(crate) fn show(&mut self, seq: u64) {
        if self.tracked {
            self.flushed = seq;
        }
    }

    /// Takes what was gathered; from now on events up to `seq` count as shown to others.
    pub(crate) fn cut(&mut self, seq: u64) -> Pending {
        self.show(seq);
        std::mem::take(&mut self.pending)
    }

    /// Turns what [`Shard::cut`] took into changes: `visit(shard, object, name, change)`.
    pub(crate) fn collect_changes(
        &mut self,
        writer: Writer,
        mut taken: Pending,
        mut visit: impl FnMut(&mut Shard, &[u8], &[u8], &Delta),
    ) {
        let mut groups: Vec<_> = taken.groups.iter_mut().map(|(key, d)| (key, Some(d))).collect();
        // An object's changes together, so that its id is sent once. Those of counters are in the
        // order of their first updates, which is no worse often enough to be worth no sorting.
        groups.sort_unstable_by_key(|(key, _)| *key);
        let counters = taken.counters.iter().map(|key| (key, None));
        let mut all: Vec<(&[u8], Option<&mut Delta>)> = counters.chain(groups).collect();
        let mut hashes = [0; AHEAD];
        // Room for a counter's change, kept from one to the next.
        let mut scratch = [Delta::empty(Type::GCounter), Delta::empty(Type::PnCounter)];
        for some in all.chunks_mut(AHEAD) {
            // The objects of some changes are brought near at once, so that their cache misses
            // overlap.
            for ((key, _), hash) in some.iter().zip(&mut hashes) {
                *hash = crate::hash(pending::split(key).0);
                self.objects.prefetch_bucket(*hash);
            }
            hashes[..some.len()].iter().for_each(|hash| self.objects.prefetch_key(*hash));
            for ((key, group), hash) in some.iter_mut().zip(hashes) {
                let (object, name) = pending::split(key);
                let delta = match group {
                    Some(delta) => &mut **delta,
                    None => {
                        let positive = pending::kind(key) == Type::GCounter;
                        let delta = &mut scratch[usize::from(!positive)];
                        if let Delta::GCounter(delta) | Delta::PnCounter(delta) = delta {
                            delta.clear();
                        }
                        delta
                    }
                };
                let held = self.objects.get_hashed(hash, object);
                let slot = held.and_then(|object| object.get(name));
                let values = slot.map_or(&[][..], Slot::values);
                let value = values.iter().find(|value| value.kind() == delta.kind());
                // A counter's own entry is absolute: it is read now, once for all its updates. One
                // that has grown since the cut is gathered again, and harms nothing by being early.
                if let (Delta::GCounter(delta), Some(Value::GCounter(counter)))
                | (Delta::PnCounter(delta), Some(Value::PnCounter(counter))) =
                    (&mut *delta, value)
                    && let Some(entry) = counter.entry(writer)
                {
                    delta.note(entry);
                }
                if !delta.is_empty() {
                    visit(self, object, name, delta);
                }
            }
        }
    }
}

/// A shard, locked. What is done to it is journaled as one, before the lock is let go of.
#[derive(Debug)]
pub struct ShardGuard<'a> {
    function: &'a Function,
    shard: MutexGuard<'a, Shard>,
}

impl Drop for ShardGuard<'_> {
    // Shards are locked more often than they are written to.
    #[inline]
    fn drop(&mut self) {
        if !self.shard.writes.is_empty() {
            self.journal();
        }
    }
}

impl Deref for ShardGuard<'_> {
    type Target = Shard;

    fn deref(&self) -> &Shard {
        &self.shard
    }
}

impl<'a> ShardGuard<'a> {
    pub(crate) fn new(function: &'a Function, shard: MutexGuard<'a, Shard>) -> ShardGuard<'a> {
        ShardGuard { function, shard }
    }

    /// Updates the state of type `K` under `name` of the object, made empty if it is absent, and
    /// dropped again if it is left empty. `update` gets the state, the events, and the delta-group
    /// to note in while changes are gathered. Answers what `update` does, and whether anything
    /// changed.
    ///
    /// # Errors
    /// If the name holds another type; then nothing is changed.
    pub fn write<K: Kind, R>(
        &mut self,
        (hash, object, name): (u64, &[u8], &[u8]),
        update: impl FnOnce(&mut K::State, &mut Mint<'_>, Option<&mut <K::State as Crdt>::Delta>) -> R,
    ) -> Result<(R, bool), WrongType> {
        let shard = &mut *self.shard;
        let (held, new) = shard.objects.get_or_insert_hashed(hash, object, Object::default);
        if new {
            self.function.count_objects(1);
        }
        let slot = held.get_or_insert(name, K::TYPE);
        let journal = self.function.hooks.journal();
        // Counters are noted by key alone, and only once an interval: see `Shard::collect_changes`.
        let counts = matches!(K::TYPE, Type::GCounter | Type::PnCounter);
        let mut mint = Mint::new(self.function, shard.flushed);
        let state = slot.write::<K>()?;
        let mut own = None;
        let result = if journal.is_some() && !counts {
            let delta = own.insert(Delta::empty(K::TYPE));
            update(state, &mut mint, K::delta_mut(delta))
        } else if shard.tracked && !counts {
            let group = shard.pending.group(&mut shard.key, (object, name, K::TYPE));
            update(state, &mut mint, K::delta_mut(group))
        } else {
            update(state, &mut mint, None)
        };
        let blank = state.is_blank();
        if let Some(journal) = journal
            && mint.used()
        {
            let (to, key) = ((journal, self.function), (object, name));
            match &own {
                Some(own) => shard.writes.push(to, &mint.minted, key, own, &shard.writers),
                None => {
                    let entry = state.counted(LOCAL);
                    shard.writes.count(to, &mint.minted, key, (K::TYPE, entry), &shard.writers);
                }
            }
        }
        if shard.tracked && !mint.minted.is_empty() {
            if let Some(own) = own.as_ref().filter(|_| !counts) {
                shard.pending.group(&mut shard.key, (object, name, K::TYPE)).join(own);
            } else if counts && !mint.noted.get() {
                shard.pending.count(&mut shard.key, (object, name, K::TYPE));
            }
        }
        if blank && held.settle(name) {
            shard.objects.remove(object);
            self.function.count_objects(-1);
        }
        if let Some(own) = own {
            shard.note_ungathered(self.function, object, name, &own);
        }
        let used = mint.used();
        if used {
            shard.changed(object);
            if shard.tracked {
                self.function.wrote();
            }
        }
        Ok((result, used))
    }

    /// As [`ShardGuard::write`] for updates that create nothing: none if the name reads as absent.
    ///
    /// # Errors
    /// If the name holds another type; then nothing is changed.
    pub fn modify<K: Kind, R>(
        &mut self,
        (hash, object, name): (u64, &[u8], &[u8]),
        update: impl FnOnce(&mut K::State, &mut Mint<'_>, Option<&mut <K::State as Crdt>::Delta>) -> R,
    ) -> Result<Option<(R, bool)>, WrongType> {
        match self.read::<K>(hash, object, name)? {
            None => Ok(None),
            Some(_) => self.write::<K, R>((hash, object, name), update).map(Some),
        }
    }

    /// Deletes what this node has seen of `name`, whatever its type; whether it was there.
    pub fn delete(&mut self, hash: u64, object: &[u8], name: &[u8]) -> bool {
        if self.slot(hash, object, name).is_none() {
            return false;
        }
        let context = self.function.context();
        self.change_each((hash, object, name), |value, mint, group| {
            value.reset(&context, mint, group);
        });
        true
    }

    /// Adopts what `gone` have counted under `name`: see [`Counter::adopt`].
    ///
    /// [`Counter::adopt`]: miso_crdt::Counter::adopt
    pub(crate) fn take_over(
        &mut self,
        (hash, object, name): (u64, &[u8], &[u8]),
        gone: impl Fn(Dot) -> bool,
    ) {
        self.change_each((hash, object, name), |value, mint, group| {
            value.adopt(&gone, mint, group);
        });
    }

    /// Changes each value under a name, which there must be.
    fn change_each(
        &mut self,
        (hash, object, name): (u64, &[u8], &[u8]),
        mut change: impl FnMut(&mut Value, &mut Mint<'_>, Option<&mut Delta>),
    ) {
        let shard = &mut *self.shard;
        let Some(held) = shard.objects.get_mut_hashed(hash, object) else { return };
        let Some(slot) = held.get_mut(name) else { return };
        let journal = self.function.hooks.journal();
        let mut ungathered = Vec::new();
        slot.each_mut(|value| {
            let mut mint = Mint::new(self.function, shard.flushed);
            let kind = value.kind();
            let (pending, room) = (&mut shard.pending, &mut shard.key);
            let group = shard.tracked.then(|| pending.group(room, (object, name, kind)));
            let Some(journal) = journal else {
                change(value, &mut mint, group);
                return;
            };
            let mut own = Delta::empty(kind);
            change(value, &mut mint, Some(&mut own));
            if mint.used() {
                let (to, key) = ((journal, self.function), (object, name));
                shard.writes.push(to, &mint.minted, key, &own, &shard.writers);
            }
            match group {
                Some(group) => group.join(&own),
                None => ungathered.push(own),
            }
        });
        if held.settle(name) {
            shard.objects.remove(object);
            self.function.count_objects(-1);
        }
        for own in ungathered {
            shard.note_ungathered(self.function, object, name, &own);
        }
        shard.changed(object);
        if shard.tracked {
            self.function.wrote();
        }
    }

    /// Deletes what this node has seen of the whole object; how many names there were.
    pub fn delete_object(&mut self, hash: u64, object: &[u8]) -> usize {
        let names: Vec<Box<[u8]>> = match self.object(hash, object) {
            Some(object) => object.iter().map(|(name, _)| Box::from(name)).collect(),
            None => return 0,
        };
        names.iter().filter(|name| self.delete(hash, object, name)).count()
    }

    fn journal(&mut self) {
        if let Some(journal) = self.function.hooks.journal() {
            self.shard.writes.journal(journal, self.function);
        }
    }

    /// Takes over what is to be journaled of another shard of the function, so that it is one record.
    pub(crate) fn take_writes(&mut self, other: &mut ShardGuard<'_>) {
        if !other.shard.writes.is_empty() {
            self.shard.writes.take(&mut other.shard.writes);
        }
    }

    /// The function that the shard is of.
    #[must_use]
    pub fn function(&self) -> &'a Function {
        self.function
    }
}
