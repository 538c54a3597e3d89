//! A hash table of keyed headers that never rehashes more than a few hundred keys at once.
//!
//! Extendible hashing (Fagin et al. 1979): a directory of parts, each a small open-addressing
//! table ([`hashbrown`]). A part that is full splits in two; the directory doubles by copying
//! numbers. So an insert is O(1) in the worst case too, where one big table would stop a shard for
//! 100 ms at a million keys, and memory stays near 14 bytes a key beyond the key itself.
//!
//! The same order of parts gives [`Table::scan`] a cursor that survives growth and shrinkage: keys
//! are visited in the order of 46 bits of their hash, so the cursor is a number that even
//! JavaScript holds exactly, with room for a shard's number, and whatever is in the table during a whole scan is returned by it.
//!
//! ```text
//! hash: | 63..57 hashbrown's tag | 56..51 shard | 50 ........ order (46 bits) ........ 5 | 4..0 |
//!                                  ^ directory index: the order's top bits
//! ```

use alloc::vec;
use alloc::vec::Vec;
use core::hash::{BuildHasher, Hasher};
use core::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::thin::Thin;

/// A part splits beyond this: 7/8 of 512 buckets, so it never grows past them.
const PART_MAX: usize = 448;
const ORDER_BITS: u32 = 46;

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

#[derive(Clone)]
struct Part<H> {
    /// How many leading bits of the order its keys share.
    depth: u8,
    keys: HashTable<Thin<H>>,
}

/// Byte keys with a header each.
#[derive(Clone)]
pub struct Table<H> {
    /// Indexes into `parts` by the order's top `depth` bits.
    directory: Vec<u32>,
    parts: Vec<Part<H>>,
    len: usize,
    depth: u8,
}

impl<H> Default for Table<H> {
    fn default() -> Self {
        Table::new()
    }
}

impl<H> Table<H> {
    /// An empty table; allocates nothing.
    #[must_use]
    pub const fn new() -> Table<H> {
        Table {
            directory: Vec::new(),
            parts: Vec::new(),
            len: 0,
            depth: 0,
        }
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
        self.part(hash)?
            .keys
            .find(hash, |thin| thin.bytes() == key)
            .map(Thin::header)
    }

    /// The header of `key`, to change.
    pub fn get_mut_hashed(&mut self, hash: u64, key: &[u8]) -> Option<&mut H> {
        let index = *self.directory.get(self.slot(hash))? as usize;
        let found = self.parts[index]
            .keys
            .find_mut(hash, |thin| thin.bytes() == key)?;
        Some(found.header_mut())
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
        self.make_room(hashed);
        let index = self.directory[self.slot(hashed)] as usize;
        let part = &mut self.parts[index].keys;
        match part.entry(
            hashed,
            |thin| thin.bytes() == key,
            |thin| hash(thin.bytes()),
        ) {
            Entry::Occupied(found) => (found.into_mut().header_mut(), false),
            Entry::Vacant(vacant) => {
                self.len += 1;
                (
                    vacant.insert(Thin::new(new(), key)).into_mut().header_mut(),
                    true,
                )
            }
        }
    }

    /// Makes sure that the part of `hash` takes one key more.
    fn make_room(&mut self, hash: u64) {
        if self.parts.is_empty() {
            self.parts.push(Part {
                depth: 0,
                keys: HashTable::new(),
            });
            self.directory = vec![0];
        }
        // Keys whose order is equal in all bits cannot be separated: then the part just grows.
        while {
            let part = &self.parts[self.directory[self.slot(hash)] as usize];
            part.keys.len() >= PART_MAX && part.depth < 40
        } {
            self.split(self.slot(hash));
        }
    }

    fn split(&mut self, slot: usize) {
        let index = self.directory[slot];
        let depth = self.parts[index as usize].depth;
        if depth == self.depth {
            self.directory = self
                .directory
                .iter()
                .flat_map(|part| [*part, *part])
                .collect();
            self.depth += 1;
        }
        let bit = ORDER_BITS - 1 - u32::from(depth);
        let old = core::mem::take(&mut self.parts[index as usize].keys);
        let mut halves = [
            HashTable::with_capacity(old.len() / 2 + 16),
            HashTable::with_capacity(old.len() / 2 + 16),
        ];
        for thin in old {
            let hashed = hash(thin.bytes());
            let half = (order(hashed) >> bit & 1) as usize;
            halves[half].insert_unique(hashed, thin, |thin| hash(thin.bytes()));
        }
        let [low, high] = halves;
        self.parts[index as usize] = Part {
            depth: depth + 1,
            keys: low,
        };
        let new = u32::try_from(self.parts.len()).expect("fewer than 2^32 parts");
        self.parts.push(Part {
            depth: depth + 1,
            keys: high,
        });
        let bit = self.depth - depth - 1;
        for (at, part) in self.directory.iter_mut().enumerate() {
            if *part == index && at >> bit & 1 == 1 {
                *part = new;
            }
        }
    }

    /// Removes `key`; its header.
    pub fn remove(&mut self, key: &[u8]) -> Option<H> {
        let hashed = hash(key);
        let index = *self.directory.get(self.slot(hashed))? as usize;
        let part = &mut self.parts[index].keys;
        let Ok(found) = part.find_entry(hashed, |thin| thin.bytes() == key) else {
            return None;
        };
        let (thin, _) = found.remove();
        if part.capacity() > 28 && part.len() < part.capacity() / 4 {
            part.shrink_to(part.len() * 2, |thin| hash(thin.bytes()));
        }
        self.len -= 1;
        self.give_back();
        Some(thin.into_header())
    }

    /// Takes a table that has lost nearly all its keys back to few parts. Amortised O(1) a removal.
    fn give_back(&mut self) {
        if self.len == 0 {
            *self = Table::new();
        } else if self.parts.len() > 1 && self.len * 16 < self.parts.len() * PART_MAX {
            let mut fresh = Table::new();
            for thin in core::mem::take(&mut self.parts)
                .into_iter()
                .flat_map(|part| part.keys)
            {
                let hashed = hash(thin.bytes());
                fresh.make_room(hashed);
                let index = fresh.directory[fresh.slot(hashed)] as usize;
                fresh.parts[index]
                    .keys
                    .insert_unique(hashed, thin, |thin| hash(thin.bytes()));
                fresh.len += 1;
            }
            *self = fresh;
        }
    }

    /// Keeps the keys for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &mut H) -> bool) {
        let mut len = 0;
        for part in &mut self.parts {
            part.keys.retain(|thin| {
                let (bytes, header) = thin.parts_mut();
                keep(bytes, header)
            });
            len += part.keys.len();
        }
        self.len = len;
        self.give_back();
    }

    /// All keys with their headers, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &H)> {
        self.parts
            .iter()
            .flat_map(|part| &part.keys)
            .map(|thin| (thin.bytes(), thin.header()))
    }

    /// All keys with their headers, to change, in no particular order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&[u8], &mut H)> {
        self.parts
            .iter_mut()
            .flat_map(|part| &mut part.keys)
            .map(Thin::parts_mut)
    }

    /// Visits about `count` keys from `cursor` on (0 begins); answers the cursor to go on from, 0
    /// at the end. Every key that is in the table during the whole scan is visited; one that comes
    /// or goes meanwhile may be.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(&[u8], &H)) -> u64 {
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
            let mut found: Vec<(u64, &Thin<H>)> = part
                .keys
                .iter()
                .map(|thin| (order(hash(thin.bytes())), thin))
                .filter(|(order, _)| *order >= at)
                .collect();
            found.sort_unstable_by_key(|(order, _)| *order);
            let mut rest = found.into_iter().peekable();
            while let Some((order, thin)) = rest.next() {
                visit(thin.bytes(), thin.header());
                left = left.saturating_sub(1);
                // Keys of equal order share a cursor, so they go together.
                let last_of_order = rest.peek().is_none_or(|(next, _)| *next > order);
                if left == 0 && last_of_order {
                    let next = if rest.peek().is_some() {
                        order + 1
                    } else {
                        part_end
                    };
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
        let room = self
            .parts
            .iter()
            .map(|part| part.keys.len())
            .max()
            .filter(|_| self.parts.len() == 1);
        loop {
            let part = &self.parts[(random() % self.parts.len() as u64) as usize];
            // Parts differ in size: a place beyond the part's keys is thrown away, so that each
            // key keeps the same chance.
            let place = (random() % room.unwrap_or(PART_MAX.max(part.keys.len())) as u64) as usize;
            if let Some(thin) = part.keys.iter().nth(place) {
                return Some((thin.bytes(), thin.header()));
            }
        }
    }

    /// How many bytes it takes on the heap without what its headers own, before the allocator
    /// rounds up. Linear in the keys.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let keys: usize = self
            .parts
            .iter()
            .flat_map(|part| &part.keys)
            .map(Thin::heap_bytes)
            .sum();
        let parts: usize = self
            .parts
            .iter()
            .map(|part| part.keys.allocation_size())
            .sum();
        keys + parts + self.parts.capacity() * size_of::<Part<H>>() + self.directory.capacity() * 4
    }
}

impl<H: PartialEq> PartialEq for Table<H> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len
            && self
                .iter()
                .all(|(key, header)| other.get(key) == Some(header))
    }
}

impl<H: Eq> Eq for Table<H> {}

impl<H: core::fmt::Debug> core::fmt::Debug for Table<H> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut keys: Vec<_> = self.iter().collect();
        keys.sort_unstable_by_key(|(key, _)| *key);
        f.debug_map()
            .entries(keys.into_iter().map(|(k, h)| (k.escape_ascii(), h)))
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
            table.parts.len() > 32 && table.parts.iter().all(|part| part.keys.len() <= PART_MAX)
        );
        assert!((0..20_000).all(|n| table.get(&key(n)) == Some(&n)));
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
        assert!(
            hits.values().all(|n| (5..80).contains(n)),
            "30 each expected: {hits:?}"
        );
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
