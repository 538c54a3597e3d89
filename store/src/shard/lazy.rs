//! The shards of a function, made when they are first needed: a function of a few objects, of which a node
//! may have very many, pays for the shards that its objects are in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use miso_crdt::Writers;
use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};

use super::Shard;

/// A shard's place, locked.
pub(crate) type Place<'a> = MutexGuard<'a, Option<Box<Shard>>>;

/// The shards of a function. A thread that locks several takes them in ascending order.
#[derive(Debug)]
pub(crate) struct Shards {
    places: Box<[Mutex<Option<Box<Shard>>>]>,
    /// The writers that a new shard knows. Locked last.
    writers: Mutex<Arc<Writers>>,
    /// Whether a new shard gathers changes. Set only while all places are locked.
    tracked: AtomicBool,
}

impl Shards {
    pub(crate) fn new(count: usize, writers: Arc<Writers>) -> Shards {
        Shards {
            places: (0..count).map(|_| Mutex::new(None)).collect(),
            writers: Mutex::new(writers),
            tracked: AtomicBool::new(false),
        }
    }

    /// How many there are, made or not.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Locks a shard, which is made if need be. Of a new one nothing was shown to others: `seq` tells the
    /// number of the local writer's newest event, and all events of the shard will be after it.
    #[inline]
    pub(crate) fn lock(
        &self,
        which: usize,
        seq: impl FnOnce() -> u64,
    ) -> MappedMutexGuard<'_, Shard> {
        MutexGuard::map(self.places[which].lock(), |place| match place {
            Some(shard) => &mut **shard,
            None => self.make(place, seq()),
        })
    }

    #[cold]
    fn make<'a>(&self, place: &'a mut Option<Box<Shard>>, seq: u64) -> &'a mut Shard {
        let mut shard = Shard::new(Arc::clone(&self.writers.lock()));
        if self.tracked.load(Ordering::Relaxed) {
            shard.track(seq);
        }
        place.insert(Box::new(shard))
    }

    /// Locks a shard if it was made: none has nothing in it.
    #[inline]
    pub(crate) fn made(&self, which: usize) -> Option<MappedMutexGuard<'_, Shard>> {
        MutexGuard::try_map(self.places[which].lock(), |place| place.as_deref_mut()).ok()
    }

    /// All that were made, each locked for its turn.
    pub(crate) fn each(&self) -> impl Iterator<Item = MappedMutexGuard<'_, Shard>> {
        (0..self.len()).filter_map(|which| self.made(which))
    }

    /// Locks all places at once.
    pub(crate) fn all(&self) -> Vec<Place<'_>> {
        self.places.iter().map(Mutex::lock).collect()
    }

    /// From now on shards gather changes; `places` are all, locked. Answers whether that is new.
    pub(crate) fn track(&self, _places: &[Place<'_>]) -> bool {
        !self.tracked.swap(true, Ordering::Relaxed)
    }

    /// Makes writers known to all shards.
    pub(crate) fn set_writers(&self, writers: &Arc<Writers>) {
        // First for those that are made from now on.
        *self.writers.lock() = Arc::clone(writers);
        self.each().for_each(|mut shard| shard.set_writers(Arc::clone(writers)));
    }
}
