//! Access to a shard: its lock, and what is done under it.

use std::ops::Deref;

use miso_crdt::{Crdt, Delta, Dot, Kind, Type, Value, Writers};
use parking_lot::MappedMutexGuard;
use smallvec::SmallVec;

use crate::deadlines::Due;
use crate::function::Function;
use crate::heard;
use crate::joining::LOCAL;
use crate::mint::Mint;
use crate::object::{Object, WrongType};
use crate::shard::{Presence, Shard};

/// A shard, locked. What is done to it is journaled as one, before the lock is let go of.
#[derive(Debug)]
pub struct ShardGuard<'a> {
    function: &'a Function,
    shard: MappedMutexGuard<'a, Shard>,
    /// Fields are dropped in their order: the observer hears of changes after the shard is unlocked.
    changes: Changes<'a>,
}

/// What has changed under a lock, told to the store's observer when this is dropped. Nothing is noted,
/// and nothing allocated, while nobody listens.
#[derive(Debug)]
pub(crate) struct Changes<'a> {
    function: &'a Function,
    /// None until something is noted: then to drop it is one comparison.
    #[allow(clippy::box_collection, reason = "one word in a guard that is made for every command")]
    all: Option<Box<Vec<Changed>>>,
}

/// A value that has changed: its object, its name, its type.
type Changed = (Box<[u8]>, Box<[u8]>, Type);

impl<'a> Changes<'a> {
    pub(crate) const fn of(function: &'a Function) -> Changes<'a> {
        Changes { function, all: None }
    }

    #[inline]
    fn note(&mut self, object: &[u8], name: &[u8], kind: Type) {
        if self.function.hooks.listened() {
            self.keep(object, name, kind);
        }
    }

    #[cold]
    fn keep(&mut self, object: &[u8], name: &[u8], kind: Type) {
        self.all.get_or_insert_default().push((object.into(), name.into(), kind));
        if kind.is_plain() {
            heard::note(self.function.name(), object);
        }
    }

    /// Moves here what `guard` has noted.
    pub(crate) fn take(&mut self, guard: &mut ShardGuard<'_>) {
        if let Some(mut noted) = guard.changes.all.take() {
            self.all.get_or_insert_default().append(&mut noted);
        }
    }

    #[cold]
    fn tell(&self) {
        for (object, name, kind) in self.all.iter().flat_map(|all| all.iter()) {
            self.function.tell_changed(object, name, *kind);
        }
    }
}

impl Drop for Changes<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.all.is_some() {
            self.tell();
        }
    }
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

impl Function {
    /// Locks a shard if there may be something in it.
    pub fn lock_made(&self, shard: usize) -> Option<ShardGuard<'_>> {
        Some(ShardGuard::new(self, self.shards.made(shard)?))
    }

    /// Locks a shard. A thread that takes several takes them in ascending order.
    #[inline]
    pub fn lock(&self, shard: usize) -> ShardGuard<'_> {
        ShardGuard::new(self, self.shard(shard))
    }
}

impl<'a> ShardGuard<'a> {
    pub(crate) fn new(
        function: &'a Function,
        shard: MappedMutexGuard<'a, Shard>,
    ) -> ShardGuard<'a> {
        ShardGuard { function, shard, changes: Changes::of(function) }
    }

    /// Updates the state of type `K` under `name` of the object, made empty if it is absent, and
    /// dropped again if it is left empty. `update` gets the state, the events, and the delta-group
    /// to note in while changes are gathered. Answers what `update` does, and whether anything
    /// changed.
    ///
    /// # Errors
    /// If the name holds another type, or the object is a plain key; then nothing is changed.
    pub fn write<K: Kind, R>(
        &mut self,
        key: (u64, &[u8], &[u8]),
        update: impl FnOnce(&mut K::State, &mut Mint<'_>, Option<&mut <K::State as Crdt>::Delta>) -> R,
    ) -> Result<(R, bool), WrongType> {
        self.write_with::<K, R>(key, |state, _, mint, change| update(state, mint, change))
    }

    /// As [`ShardGuard::write`]; `update` gets the writers that the function knows, too. Of a plain type
    /// it does not look whether the key holds another: see [`ShardGuard::write_plain`].
    #[inline]
    pub(crate) fn write_with<K: Kind, R>(
        &mut self,
        (hash, object, name): (u64, &[u8], &[u8]),
        update: impl FnOnce(
            &mut K::State,
            &Writers,
            &mut Mint<'_>,
            Option<&mut <K::State as Crdt>::Delta>,
        ) -> R,
    ) -> Result<(R, bool), WrongType> {
        let shard = &mut *self.shard;
        let (held, new) = shard.objects.get_or_insert_hashed(hash, object, Object::default);
        let before = Presence::before(held, new, shard.absent);
        let mut slot = held.get_or_insert(name, K::TYPE);
        let journal = self.function.hooks.journal();
        // Counters are noted by key alone, and only once an interval: see `Shard::collect_changes`.
        let was_present = slot.is_present_as::<K>();
        let counts = matches!(K::TYPE, Type::GCounter | Type::PnCounter);
        let mut mint = Mint::new(self.function, shard.flushed);
        if !K::TYPE.is_plain() && !new && !was_present && !name.is_empty() {
            // A name is new in an object, which may be a plain key.
            let now = || self.function.now();
            if held.is_plain_key(now, &shard.writers) {
                held.settle(name);
                return Err(WrongType::PlainKey);
            }
            slot = held.get_or_insert(name, K::TYPE);
        }
        let state = if K::TYPE.is_plain() || K::TYPE.is_hidden() {
            K::of_mut(slot.value_mut(K::TYPE)).expect("room was made for the type")
        } else {
            slot.write::<K>()?
        };
        let first_end = if K::TYPE.is_plain() { state.first_end(0) } else { u64::MAX };
        let writers = &*shard.writers;
        let mut own = None;
        let result = if journal.is_some() && !counts {
            let delta = own.insert(Delta::empty(K::TYPE));
            update(state, writers, &mut mint, K::delta_mut(delta))
        } else if shard.tracked && !counts {
            let group = shard.pending.group(&mut shard.key, (object, name, K::TYPE));
            update(state, writers, &mut mint, K::delta_mut(group))
        } else {
            update(state, writers, &mut mint, None)
        };
        let blank = state.is_blank();
        if K::TYPE.is_plain() {
            let ends = state.first_end(0);
            if ends < first_end {
                self.function.note_deadline(&mut shard.deadlines, hash, ends);
            }
        }
        if let Some(journal) = journal
            && mint.used()
        {
            let (to, key) = ((journal, self.function.writes_head()), (object, name));
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
        let is_present = slot.is_present_as::<K>();
        held.note_presence(was_present, is_present);
        let now = if blank && held.settle(name) {
            shard.objects.remove(object);
            Presence::Gone
        } else {
            Presence::after(held, is_present)
        };
        self.function.count_objects(shard.count_presence(before, now));
        if let Some(own) = own
            && shard.is_ungathered()
        {
            let seen = (&*self.function.known(), self.function.seq());
            shard.note_ungathered(seen, object, name, &own);
        }
        let used = mint.used();
        if used {
            shard.changed(object);
            self.changes.note(object, name, K::TYPE);
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
        let changed = self.change_each((hash, object, name), |value, _, mint, group| {
            value.reset(&context, mint, group);
        });
        changed.into_iter().for_each(|kind| self.changes.note(object, name, kind));
        true
    }

    /// Adopts what `gone` have counted under `name`: see [`Counter::adopt`]. No value changes by
    /// it, so the observer hears nothing.
    ///
    /// [`Counter::adopt`]: miso_crdt::Counter::adopt
    pub(crate) fn adopt_counts(
        &mut self,
        (hash, object, name): (u64, &[u8], &[u8]),
        gone: impl Fn(Dot) -> bool,
    ) {
        self.change_each((hash, object, name), |value, _, mint, group| {
            value.adopt(&gone, mint, group);
        });
    }

    /// Changes each value under a name, which there must be. Answers the types of those that it changed.
    pub(crate) fn change_each(
        &mut self,
        (hash, object, name): (u64, &[u8], &[u8]),
        mut change: impl FnMut(&mut Value, &Writers, &mut Mint<'_>, Option<&mut Delta>),
    ) -> SmallVec<[Type; 1]> {
        let shard = &mut *self.shard;
        let mut changed = SmallVec::new();
        let Some(held) = shard.objects.get_mut_hashed(hash, object) else { return changed };
        let before = Presence::before(held, false, shard.absent);
        let Some(slot) = held.get_mut(name) else { return changed };
        let journal = self.function.hooks.journal();
        let mut ungathered = Vec::new();
        let was_present = slot.value().is_some();
        slot.each_mut(|value| {
            let mut mint = Mint::new(self.function, shard.flushed);
            let kind = value.kind();
            let (pending, room) = (&mut shard.pending, &mut shard.key);
            let group = shard.tracked.then(|| pending.group(room, (object, name, kind)));
            let Some(journal) = journal else {
                change(value, &shard.writers, &mut mint, group);
                changed.extend(mint.used().then_some(kind));
                return;
            };
            let mut own = Delta::empty(kind);
            change(value, &shard.writers, &mut mint, Some(&mut own));
            if mint.used() {
                changed.push(kind);
                let (to, key) = ((journal, self.function.writes_head()), (object, name));
                shard.writes.push(to, &mint.minted, key, &own, &shard.writers);
            }
            match group {
                Some(group) => group.join(&own),
                None => ungathered.push(own),
            }
        });
        let is_present = slot.value().is_some();
        held.note_presence(was_present, is_present);
        let now = if held.settle(name) {
            shard.objects.remove(object);
            Presence::Gone
        } else {
            Presence::after(held, is_present)
        };
        self.function.count_objects(shard.count_presence(before, now));
        if shard.is_ungathered() {
            let seen = (&*self.function.known(), self.function.seq());
            ungathered.iter().for_each(|own| shard.note_ungathered(seen, object, name, own));
        }
        shard.changed(object);
        if shard.tracked {
            self.function.wrote();
        }
        changed
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
            self.shard.writes.journal(journal, self.function.writes_head());
        }
    }

    /// Takes what is to be journaled of another shard of the function, so that it is one record.
    pub(crate) fn take_writes(&mut self, other: &mut ShardGuard<'_>) {
        if !other.shard.writes.is_empty() {
            self.shard.writes.take(&mut other.shard.writes);
        }
    }

    /// Notes for the observer that a value has changed.
    pub(crate) fn note_change(&mut self, object: &[u8], name: &[u8], kind: Type) {
        self.changes.note(object, name, kind);
    }

    /// From now on all that was done counts as shown to others: what is read next goes to a reader that must
    /// hear of it if it is taken back.
    pub fn show(&mut self) {
        let seq = self.function.seq();
        self.shard.show(seq);
    }

    /// Looks for the next deadline of a hash, so that one which is noted later is not taken for a later one than
    /// what has passed and was not taken back yet.
    pub(crate) fn pass_ends(&mut self, (hash, key): (u64, &[u8]), now: u64) {
        let object = self.shard.objects.get_mut_hashed(hash, key);
        let slot = object.and_then(|object| object.get_mut(b""));
        slot.into_iter().for_each(|slot| {
            slot.each_mut(|value| {
                if let Value::PlainHash(hash) = value {
                    hash.pass_ends(now);
                }
            });
        });
    }

    /// Notes that a key may expire at `at`.
    pub(crate) fn note_deadline(&mut self, hash: u64, at: u64) {
        self.function.note_deadline(&mut self.shard.deadlines, hash, at);
    }

    /// As [`Deadlines::push`](crate::deadlines::Deadlines::push).
    pub(crate) fn note_due(&mut self, at: u64, hash: u64, due: Due) {
        self.shard.deadlines.push(at, hash, due);
    }

    /// As [`Deadlines::take`](crate::deadlines::Deadlines::take).
    pub(crate) fn take_due(&mut self, now: u64) -> Option<(u64, u64, Due)> {
        self.shard.deadlines.take(now)
    }

    /// Tells those that watch a key that it has expired.
    pub(crate) fn note_expired(&mut self, key: &[u8]) {
        self.shard.changed(key);
    }

    /// The function that the shard is of.
    #[must_use]
    pub fn function(&self) -> &'a Function {
        self.function
    }
}
