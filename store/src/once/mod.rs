//! Writes that run once: the ids of writes, with what each answered.
//!
//! The ids of a function are a value of the hidden type [`OnceIds`], in [`BUCKETS`] objects, chosen by the
//! id. So they are in the function's one sequence, and in one record and one batch with what their
//! writes did. A *claim* says when the write ran, what it answered, and what it counted. Nodes that
//! could not hear each other may both have run a write: then there are two claims of its id, and
//! [`settle`] takes back what all but one have counted.

pub(crate) mod claim;
mod settle;
pub(crate) mod state;

use std::sync::atomic::Ordering;

use miso_crdt::table::hash;
use miso_crdt::{
    Claims, Context, Dot, OnceIds, Seen, Tally, Type, Value, Writer, Writers, batch, kind,
};
use smallvec::SmallVec;

pub use self::claim::Place;
use self::claim::{Claim, Line};
use crate::function::Function;
use crate::guard::ShardGuard;
use crate::held::Held;
use crate::joining::LOCAL;
use crate::object::Slot;
use crate::shard::Shard;

/// The longest id, in bytes.
pub const ID_MAX: usize = 64;
/// The longest reply that is kept, in bytes.
pub const REPLY_MAX: usize = 1 << 10;

/// In how many objects the ids of a function stand: the same on all nodes, for ever.
const BUCKETS: u8 = 64;
const OBJECT: [u8; 6] = *b"\0once\0";

fn object(bucket: u8) -> [u8; 7] {
    let [a, b, c, d, e, f] = OBJECT;
    [a, b, c, d, e, f, bucket]
}

/// The object that the claims of `id` stand in.
fn object_of(id: &[u8]) -> [u8; 7] {
    object((batch::digest_of(id, 2) % u64::from(BUCKETS)) as u8)
}

/// An id of a write, and where its claims stand: made once for each write.
#[derive(Clone, Copy, Debug)]
pub struct OnceKey<'a> {
    id: &'a [u8],
    object: [u8; 7],
    hash: u64,
}

impl<'a> From<&'a [u8]> for OnceKey<'a> {
    fn from(id: &'a [u8]) -> OnceKey<'a> {
        let object = object_of(id);
        OnceKey { id, object, hash: hash(&object) }
    }
}

/// A write that is about to run once: see [`Held::begin_once`].
#[derive(Debug)]
pub struct Once<'a> {
    key: OnceKey<'a>,
    /// Most count in one place.
    before: SmallVec<[Before<'a>; 1]>,
}

/// A place with its object's hash, and what was counted there before.
type Before<'a> = (Place<'a>, u64, Counts);

/// What the local writer has counted under a place, by the types of the values there.
type Counts = SmallVec<[(Type, Tally); 1]>;

/// The order of claims: the least is the one that counts. A write that ran again elsewhere ran later
/// there, so the first run counts, and what it answered is what is kept.
type Rank = (bool, u64, Option<miso_crdt::ReplicaId>);

fn rank(dot: Dot, (time, lost): (u64, bool), writers: &Writers) -> Rank {
    (lost, time, writers.id(dot.writer()))
}

impl Shard {
    /// The ids of an object of ids.
    fn once_ids(&self, object: &[u8]) -> Option<&OnceIds> {
        self.once_ids_at(hash(object), object)
    }

    /// As [`Shard::once_ids`], of an object whose hash is known.
    fn once_ids_at(&self, hash: u64, object: &[u8]) -> Option<&OnceIds> {
        let slot = self.objects.get_hashed(hash, object)?.get(b"")?;
        slot.values().iter().find_map(|value| match value {
            Value::OnceIds(ids) => Some(&**ids),
            _ => None,
        })
    }

    /// Whether an id in an object of ids has several claims, or one that lost.
    fn is_disputed(&self, object: &[u8], id: &[u8]) -> bool {
        self.once_ids(object).is_some_and(|ids| are_disputed(ids.claims(id)))
    }

    /// Of `ids` in an object of ids those that have several claims, or one that lost.
    pub(crate) fn disputed<'a>(
        &self,
        (hash, object): (u64, &[u8]),
        ids: impl IntoIterator<Item = &'a [u8]>,
    ) -> Vec<&'a [u8]> {
        let Some(held) = self.once_ids_at(hash, object) else { return Vec::new() };
        ids.into_iter().filter(|id| are_disputed(held.claims(id))).collect()
    }

    /// The claims of an id that count, in an object of ids, and whether there are others: a claim counts
    /// once all is here that its writer did before. A part of a sync may bring one earlier, and what it
    /// counted not, and its writer may be gone.
    fn claims(&self, object: &[u8], id: &[u8], known: &Context) -> (Vec<(Dot, Claim)>, bool) {
        let all = self.once_ids(object).map_or(Claims::NONE, |ids| ids.claims(id));
        let counting = all.clone().filter(|claim| counts(claim.stamp.dot, known));
        let claims: Vec<_> = counting.map(|c| (c.stamp.dot, Claim::decode(c.bytes))).collect();
        let more = claims.len() < all.len();
        (claims, more)
    }

    /// The values under a place, whose object has this hash.
    fn values(&self, hash: u64, place: &Place<'_>) -> &[Value] {
        let held = self.objects.get_hashed(hash, place.object);
        held.and_then(|object| object.get(place.name)).map_or(&[], Slot::values)
    }

    fn tally(&self, place: &Place<'_>, kind: Type, writer: Writer) -> Option<Tally> {
        let values = self.values(hash(place.object), place);
        let value = values.iter().find(|value| value.kind() == kind)?;
        value.tally(place.field, writer)
    }

    fn counts(&self, hash: u64, place: &Place<'_>) -> Counts {
        let tally = |value: &Value| Some((value.kind(), value.tally(place.field, LOCAL)?));
        self.values(hash, place).iter().filter_map(tally).collect()
    }
}

impl ShardGuard<'_> {
    /// Takes away the claim `old` of an id, and puts `new` in its place.
    fn swap_claim(&mut self, id: &[u8], old: Dot, new: Option<&Claim>) {
        let object = object_of(id);
        let key = (hash(&object), &object[..], &b""[..]);
        let new = new.map(Claim::encode);
        let gone = self.write::<kind::OnceIds, _>(key, |ids, mint, change| {
            ids.swap(id, (old, new.as_deref()), mint, change) && ids.claims(id).len() == 0
        });
        if let Ok((true, _)) = gone {
            // Modulo 2^64 for as long as ids that came are not counted.
            self.function().once.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Adds `amount` to what the local writer has counted under a place, because `of` counted it twice;
    /// by which event, if it could.
    fn correct(&mut self, line: &Line, of: Writer, amount: i128) -> Option<u64> {
        let key = (hash(&line.object), &*line.object, &*line.name);
        let mut done = false;
        let changed = self.change_each(key, |value, _, mint, change| {
            if value.kind() == line.kind {
                done |= value.correct((&line.field, of), amount, mint, change);
            }
        });
        changed.into_iter().for_each(|kind| self.note_change(&line.object, &line.name, kind));
        let tally = self.tally(&line.place(), line.kind, LOCAL);
        tally.filter(|_| done).map(|tally| tally.seq)
    }
}

impl Line {
    fn place(&self) -> Place<'_> {
        Place { object: &self.object, name: &self.name, field: &self.field }
    }
}

impl Function {
    /// The shard that the claims of `id` stand in: to be held for [`Held::begin_once`].
    #[must_use]
    pub fn once_shard<'a>(&self, id: impl Into<OnceKey<'a>>) -> usize {
        self.shard_of(id.into().hash)
    }

    /// How many ids are kept.
    #[must_use]
    pub fn once_count(&self) -> usize {
        self.once.count.load(Ordering::Relaxed)
    }

    /// How many bytes the ids take, with what is kept of their writes. Linear in their number.
    #[must_use]
    pub fn once_bytes(&self) -> usize {
        (0..BUCKETS).map(|bucket| self.in_bucket(bucket, miso_crdt::Crdt::heap_bytes)).sum()
    }

    /// Whether there is room for another id.
    #[must_use]
    pub fn once_has_room(&self) -> bool {
        self.once_count() < self.hooks.once.max()
    }

    /// For how long ids are kept at least, in milliseconds.
    #[must_use]
    pub fn once_window(&self) -> u64 {
        self.hooks.once.window_ms(self.name())
    }

    /// What the write `id` answered; none if it is not known to have run.
    #[must_use]
    pub fn once_reply(&self, id: &[u8]) -> Option<Box<[u8]>> {
        let key = OnceKey::from(id);
        reply_of(&self.lock_made(self.shard_of(key.hash))?, &key)
    }
}

/// Whether a claim counts where `known` is known of others.
fn counts(dot: Dot, known: &Context) -> bool {
    dot.writer() == LOCAL || known.seen(dot)
}

fn are_disputed(mut claims: Claims<'_>) -> bool {
    claims.len() > 1 || claims.any(|claim| Claim::head(claim.bytes).1)
}

fn reply_of(shard: &ShardGuard<'_>, key: &OnceKey<'_>) -> Option<Box<[u8]>> {
    let claims = shard.once_ids_at(key.hash, &key.object)?.claims(key.id);
    if claims.len() == 0 {
        return None;
    }
    let known = shard.function().known();
    let claims = claims.filter(|claim| counts(claim.stamp.dot, &known));
    let first = claims
        .min_by_key(|claim| rank(claim.stamp.dot, Claim::head(claim.bytes), shard.writers()))?;
    Some(Claim::decode(first.bytes).reply)
}

impl Held<'_> {
    /// What the write `id` answered; none if it is not known to have run. Its shard is held.
    pub fn once_reply<'a>(&mut self, id: impl Into<OnceKey<'a>>) -> Option<Box<[u8]>> {
        let key = id.into();
        let shard = self.function().shard_of(key.hash);
        self.with(shard, |shard| reply_of(shard, &key))
    }

    /// Begins a write that is to run once and may count at `places`: [`Held::end_once`] comes after it.
    pub fn begin_once<'p>(
        &mut self,
        id: impl Into<OnceKey<'p>>,
        places: impl Iterator<Item = Place<'p>>,
    ) -> Once<'p> {
        let counts = |place: Place<'p>| {
            self.with_object(place.object, |shard, hash| (place, hash, shard.counts(hash, &place)))
        };
        Once { key: id.into(), before: places.map(counts).collect() }
    }

    /// Notes that the write has run and what it answered, in parts, in one record with what it did. Its
    /// shard is held, and nothing was known of the id.
    pub fn end_once<const N: usize>(&mut self, once: Once<'_>, reply: [&[u8]; N]) {
        let function = self.function();
        let mut lines: SmallVec<[(Place<'_>, Type, u64, i128); 1]> = SmallVec::new();
        for (place, hash, before) in &once.before {
            if lines.iter().any(|(known, ..)| known == place) {
                continue;
            }
            let shard = function.shard_of(*hash);
            let after = self.with(shard, |shard| shard.counts(*hash, place));
            for (kind, tally) in after {
                let old = before.iter().find(|(of, old)| *of == kind && old.birth == tally.birth);
                let amount = tally.sum.wrapping_sub(old.map_or(0, |(_, old)| old.sum));
                if amount != 0 {
                    lines.push((*place, kind, tally.seq, amount));
                }
            }
        }
        let mut claim = claim::Bytes::new();
        claim::head(&mut claim, (false, function.now()), &reply, lines.len());
        for (place, kind, seq, amount) in lines {
            claim::encode_line(&mut claim, (place, kind), &[(seq, amount)]);
        }
        let OnceKey { id, object, hash } = once.key;
        let noted = self.with(function.shard_of(hash), |shard| {
            shard.write::<kind::OnceIds, _>((hash, &object, b""), |ids, mint, change| {
                ids.claim(id, &claim, mint, change)
            })
        });
        // The type is the store's own, so nothing else is in its way.
        debug_assert!(noted.is_ok(), "hidden values stand beside all others");
        if let Ok((true, _)) = noted {
            // Claims that do not count yet will: they were looked at when they came, and this one was not.
            function.once.joined(&[id]);
        }
        // One that was there already is counted twice until ids are looked at.
        function.once.count.fetch_add(1, Ordering::Relaxed);
        if !function.hooks.once.used.load(Ordering::Relaxed)
            && !function.hooks.once.used.swap(true, Ordering::Relaxed)
        {
            function.wake();
        }
    }
}
