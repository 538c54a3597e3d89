//! A hash table of keyed headers that never rehashes more than a few hundred keys at once, and
//! finds a key with two cache misses: its bucket and the key itself.
//!
//! Extendible hashing (Fagin et al. 1979): a directory of parts, each a small table. A part that is
//! full splits in two; the directory doubles by copying numbers. So an insert is O(1) in the worst
//! case too, where one big table would stop a shard for 100 ms at a million keys, and memory stays
//! near 15 bytes a key beyond the key itself.
//!
//! A part is a ring of buckets, each one cache line: seven pointers, seven tags, and a count of the
//! keys that passed by it because it was full (Facebook's F14). A look-up goes on to the next bucket
//! only while that count is not 0; a removal takes the counts back, so there are no tombstones.
//!
//! The order of parts gives [`Table::scan`] a cursor that survives growth and shrinkage: keys are
//! visited in the order of 46 bits of their hash, so the cursor is a number that even JavaScript
//! holds exactly, with room for a shard's number, and whatever is in the table during a whole scan
//! is returned by it.
//!
//! ```text
//! hash:   | 63..57 tag | 56..51 shard | 50 ....... order (46 bits) ....... 5 | .. |
//!                                       ^ directory: its top bits   bucket: 5..0 ^
//! bucket: | 7 tags u8 | passed u8 | 7 pointers |   64 bytes
//! ```

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::hash::{BuildHasher, Hasher};
use core::sync::atomic::{AtomicU64, Ordering};

use crate::thin::{Thin, prefetch};

/// Keys per bucket.
const WAYS: usize = 7;
/// Buckets per part at most.
const BUCKETS_MAX: usize = 64;
/// A part of that size splits beyond this many keys, a smaller one doubles in proportion.
const PART_MAX: usize = 400;
const ORDER_BITS: u32 = 46;

/// What a table keeps beside a key, in one allocation with it.
pub trait Header {
    /// The key, of the bytes beside a header: all of them, unless it keeps more bytes there.
    fn key(bytes: &[u8]) -> &[u8] {
        bytes
    }
}

fn key<H: Header>(thin: &Thin<H>) -> &[u8] {
    H::key(thin.bytes())
}

static SEED: AtomicU64 = AtomicU64::new(0);

/// Sets the seed of all hashes of this process, so that nobody outside can choose keys that
/// collide. Must be called before the first table is filled; without it hashes are the same in
/// every run, which is what tests and simulations want.
pub fn seed_hashes(seed: u64) {
    SEED.store(seed, Ordering::Relaxed);
}

/// The hash that tables use: computed once per key and command.
#[must_use]
pub fn hash(bytes: &[u8]) -> u64 {
    let state = foldhash::quality::FixedState::with_seed(SEED.load(Ordering::Relaxed));
    let mut hasher = state.build_hasher();
    hasher.write(bytes);
    hasher.finish()
}

const fn order(hash: u64) -> u64 {
    (hash >> 5) & ((1 << ORDER_BITS) - 1)
}

/// A cache line of keys.
#[repr(align(64))]
struct Bucket<H> {
    /// Seven tags, 0 where there is no key, and after them the count of keys that passed by. At
    /// 255 the count stays: then look-ups pass by for good.
    tags: [u8; 8],
    keys: [Option<Thin<H>>; WAYS],
}

const _: () = assert!(size_of::<Bucket<u64>>() == 64);

/// The tag of a hash; never 0.
const fn tag(hash: u64) -> u8 {
    (hash >> 57) as u8 | 0x80
}

impl<H: Header> Bucket<H> {
    const EMPTY: Bucket<H> = Bucket { tags: [0; 8], keys: [const { None }; WAYS] };

    /// The places whose tag is `tag`, and now and then one more.
    fn places(&self, tag: u8) -> impl Iterator<Item = usize> + use<H> {
        const LOW: u64 = 0x0101_0101_0101_0101;
        let differing = u64::from_le_bytes(self.tags) ^ (LOW * tag as u64);
        // The count is no tag.
        let mut hits = differing.wrapping_sub(LOW) & !differing & (LOW << 7) & !(0xff << 56);
        core::iter::from_fn(move || {
            let place = (hits.trailing_zeros() / 8) as usize;
            hits &= hits.wrapping_sub(1);
            (place < WAYS).then_some(place)
        })
    }

    fn find(&self, tag: u8, key: &[u8]) -> Option<usize> {
        self.places(tag)
            .find(|place| self.keys[*place].as_ref().is_some_and(|thin| self::key(thin) == key))
    }
}

/// Keys whose order begins with the same bits.
struct Part<H> {
    /// A power of two of buckets; none while it is empty.
    buckets: Box<[Bucket<H>]>,
    len: u32,
    /// How many leading bits of the order its keys share.
    depth: u8,
}

impl<H: Header> Part<H> {
    fn new(depth: u8, room: usize) -> Part<H> {
        let mut buckets = 1;
        while Self::capacity(buckets) < room && buckets < BUCKETS_MAX {
            buckets *= 2;
        }
        let buckets = (0..buckets).map(|_| Bucket::EMPTY).collect();
        Part { buckets, len: 0, depth }
    }

    /// How many keys that many buckets take before there are more: few pass by their bucket.
    const fn capacity(buckets: usize) -> usize {
        if buckets == 1 { WAYS } else { PART_MAX * buckets / BUCKETS_MAX }
    }

    fn home(&self, hash: u64) -> usize {
        hash as usize & (self.buckets.len() - 1)
    }

    /// Where `key` is.
    fn find(&self, hash: u64, key: &[u8]) -> Option<(usize, usize)> {
        let tag = tag(hash);
        let mut at = self.home(hash);
        for _ in 0..self.buckets.len() {
            let bucket = &self.buckets[at];
            if let Some(place) = bucket.find(tag, key) {
                return Some((at, place));
            }
            if bucket.tags[WAYS] == 0 {
                return None;
            }
            at = (at + 1) & (self.buckets.len() - 1);
        }
        None
    }

    fn get(&self, hash: u64, key: &[u8]) -> Option<&Thin<H>> {
        let (at, place) = self.find(hash, key)?;
        self.buckets[at].keys[place].as_ref()
    }

    fn get_mut(&mut self, hash: u64, key: &[u8]) -> Option<&mut Thin<H>> {
        let (at, place) = self.find(hash, key)?;
        self.buckets[at].keys[place].as_mut()
    }

    /// Puts in a key that is not there; there must be room.
    fn put(&mut self, hash: u64, thin: Thin<H>) -> &mut Thin<H> {
        let mut at = self.home(hash);
        let place = loop {
            let bucket = &mut self.buckets[at];
            match bucket.tags[..WAYS].iter().position(|tag| *tag == 0) {
                Some(place) => break place,
                None => bucket.tags[WAYS] = bucket.tags[WAYS].saturating_add(1),
            }
            at = (at + 1) & (self.buckets.len() - 1);
        };
        self.len += 1;
        let bucket = &mut self.buckets[at];
        bucket.tags[place] = tag(hash);
        bucket.keys[place].insert(thin)
    }

    fn take(&mut self, hash: u64, key: &[u8]) -> Option<Thin<H>> {
        let (found, place) = self.find(hash, key)?;
        let mut at = self.home(hash);
        while at != found {
            let passed = &mut self.buckets[at].tags[WAYS];
            if *passed < u8::MAX {
                *passed -= 1;
            }
            at = (at + 1) & (self.buckets.len() - 1);
        }
        self.len -= 1;
        let bucket = &mut self.buckets[found];
        bucket.tags[place] = 0;
        bucket.keys[place].take()
    }

    /// Moves all keys into as many buckets as `room` keys want.
    fn resize(&mut self, room: usize) {
        let old = core::mem::replace(self, Part::new(self.depth, room));
        old.prefetch();
        old.into_keys().for_each(|thin| {
            self.put(hash(key(&thin)), thin);
        });
    }

    /// Doubles the buckets, whatever the limit.
    fn widen(&mut self) {
        let buckets = (0..self.buckets.len() * 2).map(|_| Bucket::EMPTY).collect();
        let old = core::mem::replace(self, Part { buckets, len: 0, depth: self.depth });
        old.prefetch();
        old.into_keys().for_each(|thin| {
            self.put(hash(key(&thin)), thin);
        });
    }

    /// Prefetches all keys before all are hashed again: one cache miss after the other is most of what
    /// moving them costs.
    fn prefetch(&self) {
        self.keys().for_each(Thin::prefetch);
    }

    fn keys(&self) -> impl Iterator<Item = &Thin<H>> {
        self.buckets.iter().flat_map(|bucket| &bucket.keys).flatten()
    }

    fn keys_mut(&mut self) -> impl Iterator<Item = &mut Thin<H>> {
        self.buckets.iter_mut().flat_map(|bucket| &mut bucket.keys).flatten()
    }

    fn into_keys(self) -> impl Iterator<Item = Thin<H>> {
        self.buckets.into_iter().flat_map(|bucket| bucket.keys).flatten()
    }

    fn retain(&mut self, mut keep: impl FnMut(&[u8], &mut H) -> bool) {
        let before = self.len;
        for bucket in &mut self.buckets {
            for (tag, key) in bucket.tags.iter_mut().zip(&mut bucket.keys) {
                let gone = key.as_mut().is_some_and(|thin| {
                    let (bytes, header) = thin.parts_mut();
                    !keep(H::key(bytes), header)
                });
                if gone {
                    *tag = 0;
                    *key = None;
                    self.len -= 1;
                }
            }
        }
        // The counts of keys that passed by are made anew with the buckets.
        if self.len < before {
            self.resize(self.len as usize);
        }
    }
}

impl<H: Header + Clone> Clone for Part<H> {
    fn clone(&self) -> Self {
        let mut part = Part::new(self.depth, self.len as usize);
        for thin in self.keys() {
            part.put(hash(key(thin)), thin.clone());
        }
        part
    }
}

/// Byte keys with a header each.
#[derive(Clone)]
pub struct Table<H: Header> {
    /// Indexes into `parts` by the order's top `depth` bits.
    directory: Vec<u32>,
    parts: Vec<Part<H>>,
    len: usize,
    depth: u8,
}

impl<H: Header> Default for Table<H> {
    fn default() -> Self {
        Table::new()
    }
}

impl<H: Header> Table<H> {
    /// An empty table; allocates nothing.
    #[must_use]
    pub const fn new() -> Table<H> {
        Table { directory: Vec::new(), parts: Vec::new(), len: 0, depth: 0 }
    }

    /// How many keys it holds.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn slot(&self, hash: u64) -> usize {
        // A shift by the full width would overflow: depth 0 means one slot.
        if self.depth == 0 {
            0
        } else {
            (order(hash) >> (ORDER_BITS - u32::from(self.depth))) as usize
        }
    }

    fn part(&self, hash: u64) -> Option<&Part<H>> {
        let index = *self.directory.get(self.slot(hash))?;
        self.parts.get(index as usize)
    }

    /// The header of `key`, whose [`hash`] is given.
    #[must_use]
    pub fn get_hashed(&self, hash: u64, key: &[u8]) -> Option<&H> {
        self.part(hash)?.get(hash, key).map(Thin::header)
    }

    /// `key` with its header and what else is kept beside it; its [`hash`] is given.
    #[must_use]
    pub fn get_thin(&self, hash: u64, key: &[u8]) -> Option<&Thin<H>> {
        self.part(hash)?.get(hash, key)
    }

    /// The header of `key`, to change.
    pub fn get_mut_hashed(&mut self, hash: u64, key: &[u8]) -> Option<&mut H> {
        let index = *self.directory.get(self.slot(hash))? as usize;
        self.parts[index].get_mut(hash, key).map(Thin::header_mut)
    }

    /// The header of `key`.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&H> {
        self.get_hashed(hash(key), key)
    }

    /// The header of `key`, to change.
    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut H> {
        self.get_mut_hashed(hash(key), key)
    }

    /// Whether it holds `key`.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.get(key).is_some()
    }

    /// The header of `key`, made by `new` if the key was absent; and whether it was.
    pub fn get_or_insert_with(&mut self, key: &[u8], new: impl FnOnce() -> H) -> (&mut H, bool) {
        self.get_or_insert_hashed(hash(key), key, new)
    }

    /// As [`Table::get_or_insert_with`], for a hash already computed.
    pub fn get_or_insert_hashed(
        &mut self,
        hashed: u64,
        key: &[u8],
        new: impl FnOnce() -> H,
    ) -> (&mut H, bool) {
        if let Some((part, at, place)) = self.place(hashed, key) {
            let found = self.parts[part].buckets[at].keys[place].as_mut();
            return (found.expect("a place that was found holds a key").header_mut(), false);
        }
        self.make_room(hashed);
        let index = self.directory[self.slot(hashed)] as usize;
        self.len += 1;
        (self.parts[index].put(hashed, Thin::new(new(), key)).header_mut(), true)
    }

    /// Puts in a key that is not there, whose [`hash`] is given.
    pub fn insert_thin(&mut self, hashed: u64, thin: Thin<H>) {
        self.make_room(hashed);
        let index = self.directory[self.slot(hashed)] as usize;
        self.len += 1;
        self.parts[index].put(hashed, thin);
    }

    /// The keys with this hash: one, or several if their hashes collide, or none.
    pub fn with_hash(&self, hash: u64) -> impl Iterator<Item = (&[u8], &H)> {
        let part = self.part(hash).filter(|part| !part.buckets.is_empty());
        let mut left = part.map_or(0, |part| part.buckets.len());
        let mut at = part.map_or(0, |part| part.home(hash));
        let buckets = core::iter::from_fn(move || {
            let bucket = part.filter(|_| left > 0).map(|part| &part.buckets[at])?;
            // A bucket that no key passed by is the last.
            left = if bucket.tags[WAYS] == 0 { 0 } else { left - 1 };
            at = (at + 1) & (part?.buckets.len() - 1);
            Some(bucket)
        });
        let keys = buckets.flat_map(move |bucket| {
            bucket.places(tag(hash)).filter_map(move |place| bucket.keys[place].as_ref())
        });
        keys.filter(move |thin| self::hash(key(thin)) == hash)
            .map(|thin| (key(thin), thin.header()))
    }

    fn place(&self, hash: u64, key: &[u8]) -> Option<(usize, usize, usize)> {
        let part = *self.directory.get(self.slot(hash))? as usize;
        let (at, place) = self.parts[part].find(hash, key)?;
        Some((part, at, place))
    }

    /// Prefetches the bucket of `hash`: the first of two steps towards a key that
    /// will be looked up soon.
    pub fn prefetch_bucket(&self, hash: u64) {
        if let Some(part) = self.part(hash) {
            prefetch(&part.buckets[part.home(hash)]);
        }
    }

    /// Prefetches the key of `hash`, once its bucket is in the cache: the second step.
    pub fn prefetch_key(&self, hash: u64) {
        if let Some(part) = self.part(hash) {
            let bucket = &part.buckets[part.home(hash)];
            for thin in bucket.places(tag(hash)).filter_map(|place| bucket.keys[place].as_ref()) {
                thin.prefetch();
            }
        }
    }

    /// Both steps for several keys that will be looked up soon: their cache misses overlap.
    pub fn prefetch(&self, hashes: &[u64]) {
        hashes.iter().for_each(|hash| self.prefetch_bucket(*hash));
        hashes.iter().for_each(|hash| self.prefetch_key(*hash));
    }

    /// Makes sure that the part of `hash` takes one key more.
    fn make_room(&mut self, hash: u64) {
        if self.parts.is_empty() {
            self.parts = Vec::with_capacity(1);
            self.parts.push(Part::new(0, 1));
            self.directory = vec![0];
        }
        loop {
            let slot = self.slot(hash);
            let part = &mut self.parts[self.directory[slot] as usize];
            let len = part.len as usize;
            if len < Part::<H>::capacity(part.buckets.len()) {
                return;
            }
            if part.buckets.len() < BUCKETS_MAX {
                return part.resize(len + 1);
            }
            // Keys whose order is equal in all these bits cannot be separated: the part just grows.
            if part.depth >= 40 {
                return part.widen();
            }
            self.split(slot);
        }
    }

    fn split(&mut self, slot: usize) {
        let index = self.directory[slot];
        let depth = self.parts[index as usize].depth;
        // Of the directory's slots, which share the part's bits and so stand together.
        let shared = slot >> (self.depth - depth);
        if depth == self.depth {
            self.directory = self.directory.iter().flat_map(|part| [*part, *part]).collect();
            self.depth += 1;
        }
        let bit = ORDER_BITS - 1 - u32::from(depth);
        let room = PART_MAX / 2 + 1;
        let old = core::mem::replace(&mut self.parts[index as usize], Part::new(depth + 1, room));
        let mut high = Part::new(depth + 1, room);
        old.prefetch();
        for thin in old.into_keys() {
            let hashed = hash(key(&thin));
            let half = if order(hashed) >> bit & 1 == 1 {
                &mut high
            } else {
                &mut self.parts[index as usize]
            };
            if half.len as usize >= Part::<H>::capacity(half.buckets.len()) {
                half.resize(half.len as usize + 1);
            }
            half.put(hashed, thin);
        }
        let new = u32::try_from(self.parts.len()).expect("fewer than 2^32 parts");
        self.parts.push(high);
        let half = 1 << (self.depth - depth - 1);
        let slots = (2 * shared + 1) * half..(2 * shared + 2) * half;
        self.directory[slots].fill(new);
    }

    /// Removes `key`; its header.
    pub fn remove(&mut self, key: &[u8]) -> Option<H> {
        self.take_thin(hash(key), key).map(Thin::into_header)
    }

    /// Removes `key`, whose [`hash`] is given; with what was kept beside it.
    pub fn take_thin(&mut self, hashed: u64, key: &[u8]) -> Option<Thin<H>> {
        let index = *self.directory.get(self.slot(hashed))? as usize;
        let part = &mut self.parts[index];
        let thin = part.take(hashed, key)?;
        let len = part.len as usize;
        if part.buckets.len() > 1 && len * 4 < Part::<H>::capacity(part.buckets.len()) {
            part.resize(len * 2);
        }
        self.len -= 1;
        self.give_back();
        Some(thin)
    }

    /// Takes a table that has lost nearly all its keys back to few parts. Amortised O(1) a removal.
    fn give_back(&mut self) {
        if self.len == 0 {
            *self = Table::new();
        } else if self.parts.len() > 1 && self.len * 16 < self.parts.len() * PART_MAX {
            let mut fresh = Table::new();
            for thin in core::mem::take(&mut self.parts).into_iter().flat_map(Part::into_keys) {
                let hashed = hash(key(&thin));
                fresh.make_room(hashed);
                let index = fresh.directory[fresh.slot(hashed)] as usize;
                fresh.parts[index].put(hashed, thin);
                fresh.len += 1;
            }
            *self = fresh;
        }
    }

    /// Keeps the keys for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &mut H) -> bool) {
        let mut len = 0;
        for part in &mut self.parts {
            part.retain(&mut keep);
            len += part.len as usize;
        }
        self.len = len;
        self.give_back();
    }

    /// All keys with their headers, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &H)> {
        self.parts.iter().flat_map(Part::keys).map(|thin| (key(thin), thin.header()))
    }

    /// As [`Table::iter`], with what is kept beside the keys.
    pub fn thins(&self) -> impl Iterator<Item = &Thin<H>> {
        self.parts.iter().flat_map(Part::keys)
    }

    /// As [`Table::iter`], for a walk through all of it: the keys of a part are prefetched together.
    pub fn iter_whole(&self) -> impl Iterator<Item = (&[u8], &H)> {
        let parts = self.parts.iter().inspect(|part| part.prefetch());
        parts.flat_map(Part::keys).map(|thin| (key(thin), thin.header()))
    }

    /// All keys with their headers, to change, in no particular order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&[u8], &mut H)> {
        self.parts.iter_mut().flat_map(Part::keys_mut).map(|thin| {
            let (bytes, header) = thin.parts_mut();
            (H::key(bytes), header)
        })
    }

    /// Visits about `count` keys from `cursor` on (0 begins); answers the cursor to go on from, 0
    /// at the end. Every key that is in the table during the whole scan is visited; one that comes
    /// or goes meanwhile may be.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(&[u8], &H)) -> u64 {
        self.scan_thins(cursor, count, |thin| visit(key(thin), thin.header()))
    }

    /// As [`Table::scan`], with what is kept beside the keys.
    pub fn scan_thins(&self, cursor: u64, count: usize, mut visit: impl FnMut(&Thin<H>)) -> u64 {
        let mut at = cursor;
        let mut left = count.max(1);
        let end = 1u64 << ORDER_BITS;
        while at < end && !self.parts.is_empty() {
            let slot = if self.depth == 0 {
                0
            } else {
                (at >> (ORDER_BITS - u32::from(self.depth))) as usize
            };
            let part = &self.parts[self.directory[slot] as usize];
            let width = 1u64 << (ORDER_BITS - u32::from(part.depth));
            let part_end = (at / width + 1) * width;
            part.prefetch();
            let mut found: Vec<(u64, &Thin<H>)> = part
                .keys()
                .map(|thin| (order(hash(key(thin))), thin))
                .filter(|(order, _)| *order >= at)
                .collect();
            found.sort_unstable_by_key(|(order, _)| *order);
            let mut rest = found.into_iter().peekable();
            while let Some((order, thin)) = rest.next() {
                visit(thin);
                left = left.saturating_sub(1);
                // Keys of equal order share a cursor, so they go together.
                let last_of_order = rest.peek().is_none_or(|(next, _)| *next > order);
                if left == 0 && last_of_order {
                    let next = if rest.peek().is_some() { order + 1 } else { part_end };
                    return if next >= end { 0 } else { next };
                }
            }
            at = part_end;
        }
        0
    }

    /// A key chosen uniformly by the random numbers that `random` gives.
    #[must_use]
    pub fn random(&self, mut random: impl FnMut() -> u64) -> Option<(&[u8], &H)> {
        if self.is_empty() {
            return None;
        }
        let room =
            self.parts.iter().map(|part| part.len as usize).max().filter(|_| self.parts.len() == 1);
        loop {
            let part = &self.parts[(random() % self.parts.len() as u64) as usize];
            // Parts differ in size: a place beyond the part's keys is thrown away, so that each
            // key keeps the same chance.
            let place =
                (random() % room.unwrap_or(PART_MAX.max(part.len as usize)) as u64) as usize;
            if let Some(thin) = part.keys().nth(place) {
                return Some((key(thin), thin.header()));
            }
        }
    }

    /// How many bytes it takes on the heap without what its headers own, before the allocator
    /// rounds up. Linear in the keys.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let keys: usize = self.parts.iter().flat_map(Part::keys).map(Thin::heap_bytes).sum();
        let parts: usize =
            self.parts.iter().map(|part| part.buckets.len() * size_of::<Bucket<H>>()).sum();
        keys + parts + self.parts.capacity() * size_of::<Part<H>>() + self.directory.capacity() * 4
    }
}

impl<H: Header + PartialEq> PartialEq for Table<H> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().all(|(key, header)| other.get(key) == Some(header))
    }
}

impl<H: Header + Eq> Eq for Table<H> {}

impl<H: Header + core::fmt::Debug> core::fmt::Debug for Table<H> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut keys: Vec<_> = self.iter().collect();
        keys.sort_unstable_by_key(|(key, _)| *key);
        f.debug_map()
            .entries(keys.into_iter().map(|(k, h)| (alloc::format!("{}", k.escape_ascii()), h)))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::format;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    impl Header for u32 {}

    fn key(n: u32) -> Vec<u8> {
        format!("key:{n}").into_bytes()
    }

    fn filled(keys: u32) -> Table<u32> {
        let mut table = Table::new();
        for n in 0..keys {
            assert!(table.get_or_insert_with(&key(n), || n).1);
        }
        table
    }

    #[test]
    fn grows_and_shrinks_through_many_parts() {
        let mut table = filled(20_000);
        assert_eq!(table.len(), 20_000);
        assert!(
            table.parts.len() > 32 && table.parts.iter().all(|part| part.len as usize <= PART_MAX)
        );
        assert!((0..20_000).all(|n| table.get(&key(n)) == Some(&n)));
        assert!((0..20_000).all(|n| table.with_hash(hash(&key(n))).any(|(_, held)| *held == n)));
        assert_eq!(table.with_hash(hash(b"absent")).count(), 0);
        for n in 0..19_990 {
            assert_eq!(table.remove(&key(n)), Some(n));
        }
        assert_eq!(table.len(), 10);
        assert!(table.parts.len() <= 2, "{} parts left", table.parts.len());
        assert!((19_990..20_000).all(|n| table.get(&key(n)) == Some(&n)));
        table.retain(|_, n| *n % 2 == 0);
        assert_eq!(table.len(), 5);
        table.retain(|_, _| false);
        assert_eq!(table.heap_bytes(), 0);
        assert_eq!(table.with_hash(hash(&key(1))).count(), 0);
    }

    #[test]
    fn a_scan_returns_what_stays_while_the_table_changes() {
        let mut table = filled(5_000);
        let mut seen = BTreeMap::new();
        let (mut cursor, mut fresh) = (0, 100_000);
        loop {
            cursor = table.scan(cursor, 10, |key, n| {
                *seen.entry(key.to_vec()).or_insert(0) += u32::from(*n < 5_000);
            });
            assert!(cursor < 1 << 53, "JavaScript must hold it");
            if cursor == 0 {
                break;
            }
            for _ in 0..20 {
                table.get_or_insert_with(&key(fresh), || fresh);
                fresh += 1;
            }
        }
        assert!((0..5_000).all(|n| seen.get(&key(n)) == Some(&1)));
    }

    #[test]
    fn random_reaches_every_key() {
        let table = filled(2_000);
        let mut state = 1u64;
        let mut hits = BTreeMap::new();
        for _ in 0..60_000 {
            let next = || {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                state >> 33
            };
            let (_, n) = table.random(next).expect("not empty");
            *hits.entry(*n).or_insert(0) += 1;
        }
        assert_eq!(hits.len(), 2_000);
        assert!(hits.values().all(|n| (5..80).contains(n)), "30 each expected: {hits:?}");
    }

    proptest! {
        #[test]
        fn behaves_as_a_map(ops in prop::collection::vec((0u32..600, any::<bool>()), 0..4_000)) {
            let (mut table, mut model) = (Table::new(), BTreeMap::new());
            for (n, insert) in ops {
                if insert {
                    prop_assert_eq!(table.get_or_insert_with(&key(n), || n).1, model.insert(n, n).is_none());
                } else {
                    prop_assert_eq!(table.remove(&key(n)), model.remove(&n));
                }
                prop_assert_eq!(table.len(), model.len());
            }
            let mut all: Vec<u32> = table.iter().map(|(_, n)| *n).collect();
            all.sort_unstable();
            prop_assert_eq!(all, model.into_values().collect::<Vec<_>>());
        }
    }
}
