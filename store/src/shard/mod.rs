//! A shard: some of a function's objects under one lock, and what of them has changed.

mod floors;
mod gather;
pub(crate) mod join;
pub(crate) mod lazy;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use miso_crdt::{Context, Kind, Table, Type, Value, Writers};

use crate::deadlines::Deadlines;
use crate::durable::writes::Writes;
use crate::joining::LOCAL;
use crate::object::{Object, Slot, WrongType};
use crate::pending::{self, Pending};

/// How many changes are looked up ahead.
pub(crate) const AHEAD: usize = 16;

/// Some objects of a function.
#[derive(Debug)]
pub struct Shard {
    pub(crate) objects: Table<Object>,
    /// The writers that the function knows: a copy, so that reading a value takes no second lock.
    pub(crate) writers: Arc<Writers>,
    /// Flags to set at the next change of an object.
    watchers: HashMap<Box<[u8]>, Vec<Arc<AtomicBool>>>,
    /// Whether changes are gathered.
    pub(crate) tracked: bool,
    /// The number up to which events may have been shown to others; 0 while nothing is gathered.
    pub(crate) flushed: u64,
    pub(crate) pending: Pending,
    /// By pending key: what is known of a value beyond the function's vector, to be gone.
    pub(crate) ahead: HashMap<Box<[u8]>, Context>,
    /// How many objects are kept though they read as absent, for the floors in them.
    pub(crate) absent: usize,
    /// By pending key: values that keep floors.
    pub(crate) floored: HashSet<Box<[u8]>>,
    /// When keys may have expired.
    pub(crate) deadlines: Deadlines,
    /// Room for a pending key, kept.
    pub(crate) key: Vec<u8>,
    /// What has been done under the lock that is held, for the journal.
    pub(crate) writes: Writes,
}

/// How an object is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Presence {
    /// It is not in the table.
    Gone,
    /// It is kept in the table and reads as absent.
    Absent,
    /// It has a value that does not read as absent.
    Present,
}

impl Presence {
    /// Of an object that was found, or just made (`new`), in a shard with `absent` absent ones.
    #[inline]
    pub(crate) fn before(object: &Object, new: bool, absent: usize) -> Presence {
        if new {
            Presence::Gone
        } else if absent > 0 && object.is_absent() {
            Presence::Absent
        } else {
            Presence::Present
        }
    }

    /// Of an object of which a name has changed and reads as present or not.
    #[inline]
    pub(crate) fn after(object: &Object, is_present: bool) -> Presence {
        if !is_present && object.is_absent() { Presence::Absent } else { Presence::Present }
    }
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
            absent: 0,
            floored: HashSet::new(),
            deadlines: Deadlines::default(),
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

    /// Whether there are peers to gather changes for.
    pub(crate) fn tracked(&self) -> bool {
        self.tracked
    }

    /// When something is due for a key that may have expired.
    pub(crate) fn first_due(&self) -> Option<u64> {
        self.deadlines.first()
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

    /// How many objects do not read as absent.
    #[must_use]
    pub fn present(&self) -> usize {
        self.objects.len() - self.absent
    }

    /// Counts an object that was present or not, and was kept in the table or not, and is so now.
    /// Answers by how many objects there are more that do not read as absent.
    #[inline]
    pub(crate) fn count_presence(&mut self, before: Presence, now: Presence) -> isize {
        if before == now {
            return 0;
        }
        self.absent -= usize::from(before == Presence::Absent);
        self.absent += usize::from(now == Presence::Absent);
        isize::from(now == Presence::Present) - isize::from(before == Presence::Present)
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
}
