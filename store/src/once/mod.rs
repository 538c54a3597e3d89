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

use miso_crdt::{Context, Dot, OnceIds, Seen, Tally, Type, Value, Writer, Writers, batch, kind};

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

/// Where a command may count: an object, a name in it, empty for plain keys, and a field of what that
/// holds, empty for counters.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The object.
    pub object: &'a [u8],
    /// The name.
    pub name: &'a [u8],
    /// The field.
    pub field: &'a [u8],
}

/// A write that is about to run once: see [`Held::begin_once`].
#[derive(Debug)]
pub struct Once<'a> {
    id: &'a [u8],
    before: Vec<(Place<'a>, Counts)>,
}

/// What the local writer has counted under a place, by the types of the values there.
type Counts = Vec<(Type, Tally)>;

/// The order of claims: the least is the one that counts. A write that ran again elsewhere ran later
/// there, so the first run counts, and what it answered is what is kept.
type Rank = (bool, u64, Option<miso_crdt::ReplicaId>);

fn rank(dot: Dot, (time, lost): (u64, bool), writers: &Writers) -> Rank {
    (lost, time, writers.id(dot.writer()))
}

impl Shard {
    /// The ids of an object of ids.
    fn once_ids(&self, object: &[u8]) -> Option<&OnceIds> {
        let slot = self.objects.get(object)?.get(b"")?;
        slot.values().iter().find_map(|value| match value {
            Value::OnceIds(ids) => Some(&**ids),
            _ => None,
        })
    }

    /// Whether an id in an object of ids has several claims, or one that lost.
    fn is_disputed(&self, object: &[u8], id: &[u8]) -> bool {
        let claims = self.once_ids(object).map_or(&[][..], |ids| ids.claims(id));
        claims.len() > 1 || claims.iter().any(|claim| Claim::head(claim.bytes()).1)
    }

    /// The claims of an id that count, in an object of ids, and whether there are others: a claim counts
    /// once all is here that its writer did before. A part of a sync may bring one earlier, and what it
    /// counted not, and its writer may be gone.
    fn claims(&self, object: &[u8], id: &[u8], known: &Context) -> (Vec<(Dot, Claim)>, bool) {
        let all = self.once_ids(object).map_or(&[][..], |ids| ids.claims(id));
        let counting = all.iter().filter(|claim| counts(claim.header().dot, known));
        let claims: Vec<_> = counting.map(|c| (c.header().dot, Claim::decode(c.bytes()))).collect();
        let more = claims.len() < all.len();
        (claims, more)
    }

    /// The values under a place.
    fn values(&self, place: &Place<'_>) -> &[Value] {
        let held = self.objects.get(place.object).and_then(|object| object.get(place.name));
        held.map_or(&[], Slot::values)
    }

    fn tally(&self, place: &Place<'_>, kind: Type, writer: Writer) -> Option<Tally> {
        let value = self.values(place).iter().find(|value| value.kind() == kind)?;
        value.tally(place.field, writer)
    }

    fn counts(&self, place: &Place<'_>) -> Counts {
        let tally = |value: &Value| Some((value.kind(), value.tally(place.field, LOCAL)?));
        self.values(place).iter().filter_map(tally).collect()
    }
}

impl ShardGuard<'_> {
    /// Takes away the claim `old` of an id, and puts `new` in its place.
    fn swap_claim(&mut self, id: &[u8], old: Dot, new: Option<&Claim>) {
        let object = object_of(id);
        let key = (miso_crdt::table::hash(&object), &object[..], &b""[..]);
        let new = new.map(Claim::encode);
        let gone = self.write::<kind::OnceIds, _>(key, |ids, mint, change| {
            ids.swap(id, (old, new.as_deref()), mint, change) && ids.claims(id).is_empty()
        });
        if let Ok((true, _)) = gone {
            // Modulo 2^64 for as long as ids that came are not counted.
            self.function().once.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Adds `amount` to what the local writer has counted under a place, because `of` counted it twice;
    /// by which event, if it could.
    fn correct(&mut self, line: &Line, of: Writer, amount: i128) -> Option<u64> {
        let key = (miso_crdt::table::hash(&line.object), &*line.object, &*line.name);
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
    pub fn once_shard(&self, id: &[u8]) -> usize {
        self.shard_index(&object_of(id))
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
        reply_of(&self.lock_made(self.once_shard(id))?, id)
    }
}

/// Whether a claim counts where `known` is known of others.
fn counts(dot: Dot, known: &Context) -> bool {
    dot.writer() == LOCAL || known.seen(dot)
}

fn reply_of(shard: &ShardGuard<'_>, id: &[u8]) -> Option<Box<[u8]>> {
    let claims = shard.once_ids(&object_of(id))?.claims(id);
    if claims.is_empty() {
        return None;
    }
    let known = shard.function().known();
    let claims = claims.iter().filter(|claim| counts(claim.header().dot, &known));
    let first = claims.min_by_key(|claim| {
        rank(claim.header().dot, Claim::head(claim.bytes()), shard.writers())
    })?;
    Some(Claim::decode(first.bytes()).reply)
}

impl Held<'_> {
    /// What the write `id` answered; none if it is not known to have run. Its shard is held.
    pub fn once_reply(&mut self, id: &[u8]) -> Option<Box<[u8]>> {
        let shard = self.function().once_shard(id);
        self.with(shard, |shard| reply_of(shard, id))
    }

    /// Begins a write that is to run once and may count at `places`: [`Held::end_once`] comes after it.
    pub fn begin_once<'p>(
        &mut self,
        id: &'p [u8],
        places: impl Iterator<Item = Place<'p>>,
    ) -> Once<'p> {
        let counts = |place: Place<'p>| {
            let counts = self.with_object(place.object, |shard, _| shard.counts(&place));
            (place, counts)
        };
        Once { id, before: places.map(counts).collect() }
    }

    /// Notes that the write has run and what it answered, in one record with what it did. Its shard is
    /// held, and nothing was known of the id.
    pub fn end_once(&mut self, once: Once<'_>, reply: &[u8]) {
        let mut lines: Vec<Line> = Vec::new();
        for (place, before) in &once.before {
            let known = |line: &Line| {
                (&*line.object, &*line.name, &*line.field)
                    == (place.object, place.name, place.field)
            };
            if lines.iter().any(known) {
                continue;
            }
            let after = self.with_object(place.object, |shard, _| shard.counts(place));
            for (kind, tally) in after {
                let old = before.iter().find(|(of, old)| *of == kind && old.birth == tally.birth);
                let amount = tally.sum.wrapping_sub(old.map_or(0, |(_, old)| old.sum));
                if amount != 0 {
                    lines.push(Line {
                        object: place.object.into(),
                        name: place.name.into(),
                        kind,
                        field: place.field.into(),
                        amounts: vec![(tally.seq, amount)],
                    });
                }
            }
        }
        let function = self.function();
        let claim =
            Claim { time: function.now(), lost: false, reply: reply.into(), lines }.encode();
        let object = object_of(once.id);
        let beside = self.with_object(&object, |shard, hash| {
            let beside = shard.once_ids(&object).is_some_and(|ids| !ids.claims(once.id).is_empty());
            // The type is the store's own, so nothing else is in its way.
            let noted =
                shard.write::<kind::OnceIds, _>((hash, &object, b""), |ids, mint, change| {
                    ids.claim(once.id, &claim, mint, change);
                });
            debug_assert!(noted.is_ok(), "hidden values stand beside all others");
            beside
        });
        if beside {
            // Claims that do not count yet will: they were looked at when they came, and this one was not.
            function.once.joined(std::iter::once(once.id));
        }
        // One that was there already is counted twice until ids are looked at.
        function.once.count.fetch_add(1, Ordering::Relaxed);
        if !function.hooks.once.used.swap(true, Ordering::Relaxed) {
            function.wake();
        }
    }
}
