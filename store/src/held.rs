//! Access to a function's shards, some of which may be held for a whole transaction.
//!
//! Commands reach a function through a [`Held`]: outside a transaction it holds nothing and
//! locks a shard for each step; within one it holds the shards of the objects concerned, taken once
//! in ascending order, so that no step locks twice and no two transactions wait for each other. All
//! that is done to the shards held is journaled as one.

use miso_crdt::{Table, Writers};

use crate::function::Function;
use crate::guard::{Changes, ShardGuard};
use crate::object::Object;
use crate::plain::{Shown, shown};

/// How often a random object is drawn before the objects are walked through.
const TRIES: usize = 32;
/// Objects of a walk's step.
const STEP: usize = 64;

/// Numbers of shards, of which there are few nearly always.
pub type ShardList = smallvec::SmallVec<[usize; 4]>;

/// A function with some of its shards locked.
#[derive(Debug)]
pub struct Held<'a> {
    function: &'a Function,
    guards: Vec<(usize, ShardGuard<'a>)>,
    /// Dropped after the guards, so that the observer hears of changes without a lock.
    changes: Changes<'a>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // The first guard is dropped first, and journals what it has; until then all are held.
        if let Some(((_, first), others)) = self.guards.split_first_mut() {
            others.iter_mut().for_each(|(_, other)| first.take_writes(other));
        }
        self.guards.iter_mut().for_each(|(_, guard)| self.changes.take(guard));
    }
}

impl<'a> Held<'a> {
    /// Holds nothing; allocates nothing.
    #[must_use]
    pub const fn none(function: &'a Function) -> Held<'a> {
        Held { function, guards: Vec::new(), changes: Changes::of(function) }
    }

    /// Locks `shards` for as long as it lives. A transaction that needs to see shards which it does
    /// not hold would have to wait out of order, so one that scans holds all.
    #[must_use]
    pub fn shards(function: &'a Function, shards: Vec<usize>) -> Held<'a> {
        Held::few(function, ShardList::from_vec(shards))
    }

    /// As [`Held::shards`], of a list that takes no allocation while it is short.
    #[must_use]
    pub fn few(function: &'a Function, mut shards: ShardList) -> Held<'a> {
        shards.sort_unstable();
        shards.dedup();
        let guards = shards.into_iter().map(|shard| (shard, function.lock(shard))).collect();
        Held { function, guards, changes: Changes::of(function) }
    }

    /// The function.
    #[must_use]
    pub fn function(&self) -> &'a Function {
        self.function
    }

    /// Works on a shard: the one held, or locked for this step.
    pub fn with<R>(&mut self, shard: usize, work: impl FnOnce(&mut ShardGuard<'_>) -> R) -> R {
        match self.guards.iter_mut().find(|(held, _)| *held == shard) {
            Some((_, guard)) => work(guard),
            None => work(&mut self.function.lock(shard)),
        }
    }

    /// As [`Held::with`], if there may be something in the shard.
    fn with_made<R>(
        &mut self,
        shard: usize,
        work: impl FnOnce(&mut ShardGuard<'_>) -> R,
    ) -> Option<R> {
        match self.guards.iter_mut().find(|(held, _)| *held == shard) {
            Some((_, guard)) => Some(work(guard)),
            None => self.function.lock_made(shard).map(|mut guard| work(&mut guard)),
        }
    }

    /// Works on the shard of `object`, with the object's hash.
    pub fn with_object<R>(
        &mut self,
        object: &[u8],
        work: impl FnOnce(&mut ShardGuard<'_>, u64) -> R,
    ) -> R {
        let hash = miso_crdt::table::hash(object);
        self.with(self.function.shard_of(hash), |guard| work(guard, hash))
    }

    /// Visits about `count` keys from `cursor` on (0 begins), and tells what they are; answers the cursor
    /// to go on from, 0 at the end. What is absent or has expired is passed over. As
    /// [`Table::scan`](miso_crdt::Table::scan), over all shards.
    pub fn scan(
        &mut self,
        cursor: u64,
        count: usize,
        mut visit: impl FnMut(&[u8], Shown<'_>, &Writers),
    ) -> u64 {
        let now = self.function.now();
        let shards = self.function.shards();
        let bits = shards.trailing_zeros();
        let mut shard = (cursor & (shards as u64 - 1)) as usize;
        let mut order = cursor >> bits;
        let mut left = count.max(1);
        loop {
            let mut seen = 0;
            let scanned = self.with_made(shard, |guard| {
                guard.objects().scan(order, left, |key, object| {
                    seen += 1;
                    if let Some(shown) = shown(object, now, guard.writers()) {
                        visit(key, shown, guard.writers());
                    }
                })
            });
            order = scanned.unwrap_or(0);
            left = left.saturating_sub(seen);
            if order == 0 {
                shard += 1;
                if shard == shards {
                    return 0;
                }
            }
            if left == 0 {
                return order << bits | shard as u64;
            }
        }
    }

    /// An object that does not read as absent, chosen by the random numbers that `random` gives; none
    /// if there are none.
    pub fn random(&mut self, mut random: impl FnMut() -> u64) -> Option<Box<[u8]>> {
        let now = self.function.now();
        let sizes: Vec<usize> = (0..self.function.shards())
            .map(|shard| self.with_made(shard, |guard| guard.present()).unwrap_or(0))
            .collect();
        let total: usize = sizes.iter().sum();
        let mut place = (random() % total.max(1) as u64) as usize;
        for (shard, size) in sizes.into_iter().enumerate() {
            if place < size {
                return self.with(shard, |guard| {
                    let there = |object: &Object| !object.is_absent_at(now, guard.writers());
                    random_of(guard.objects(), there, &mut random)
                });
            }
            place -= size;
        }
        None
    }
}

/// A present object of a table. Absent ones are few, unless many were deleted at once; so a few tries
/// find one, and if not, the first in the order of the table does.
fn random_of(
    objects: &Table<Object>,
    there: impl Fn(&Object) -> bool,
    random: &mut impl FnMut() -> u64,
) -> Option<Box<[u8]>> {
    for _ in 0..TRIES {
        let (key, object) = objects.random(&mut *random)?;
        if there(object) {
            return Some(Box::from(key));
        }
    }
    let mut found = None;
    let mut cursor = 0;
    loop {
        cursor = objects.scan(cursor, STEP, |key, object| {
            if found.is_none() && there(object) {
                found = Some(Box::from(key));
            }
        });
        if found.is_some() || cursor == 0 {
            return found;
        }
    }
}
