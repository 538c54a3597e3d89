//! Writes that clients repeat, on the same node or on another: each id counts once.
//!
//! They have an object of their own, which nobody deletes (`store/tests/once.rs` does that), so what it must
//! hold is known from the ids alone: the amount of each of which any run is known.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use miso_store::crdt::plain::fixed;
use miso_store::crdt::{Counter, ReplicaId, Value, kind};
use miso_store::{Function, Held, Place};

use super::{SECOND, World};

/// How long a node keeps ids at least.
pub(super) const WINDOW_MS: u64 = 6_000;
/// How long a client may repeat a write: shorter, so that no id is forgotten before.
const REPEATED: u64 = 3 * SECOND;

/// A write with an id.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) function: Bytes,
    pub(super) id: String,
    amount: i64,
    /// Until when a client may send it again.
    until: u64,
    /// The runs of it: by which writer, and its event.
    pub(super) runs: Vec<(ReplicaId, u64)>,
    /// When a client sent it first.
    pub(super) begun: u64,
    /// Whether a node has forgotten its id.
    pub(super) forgotten: bool,
    /// In how many groups of nodes it ran of which that node did not know: see `groups`.
    pub(super) twice: usize,
}

const COUNTER: Place<'static> = Place { object: b"once", name: b"n", field: b"" };
const KEY: Place<'static> = Place { object: b"once-key", name: b"", field: b"f" };

impl World {
    /// A client sends a write with an id, a new one or one that was sent before.
    pub(super) fn write_once(&mut self, at: usize, name: &Bytes) {
        let now = self.now;
        let again = |write: &Write| write.until > now && write.function == *name;
        let known: Vec<usize> =
            (0..self.once.len()).filter(|which| again(&self.once[*which])).collect();
        let which = if known.is_empty() || self.percent(40) {
            let amount = self.rng.below(40) as i64 - 10;
            let id = format!("id-{}", self.once.len());
            let write = Write {
                function: name.clone(),
                id,
                amount: amount + i64::from(amount == 0),
                until: now + REPEATED,
                runs: Vec::new(),
                begun: now,
                forgotten: false,
                twice: 0,
            };
            self.once.push(write);
            self.once.len() - 1
        } else {
            known[self.pick(known.len())]
        };
        let function = self.hosts[at].store.function(name);
        let (id, amount) = (self.once[which].id.clone(), self.once[which].amount);
        let place = if which.is_multiple_of(2) { COUNTER } else { KEY };
        let shards = vec![function.once_shard(id.as_bytes()), function.shard_index(place.object)];
        let mut held = Held::shards(&function, shards);
        let ran = held.once_reply(id.as_bytes()).is_none();
        if ran {
            let once = held.begin_once(id.as_bytes(), std::iter::once(place));
            count(&mut held, &place, amount);
            held.end_once(once, id.as_bytes());
            let run = (self.hosts[at].replica, function.seq());
            self.once[which].runs.push(run);
        }
        drop(held);
        self.say(|| format!("n{at} {id} of {amount}, ran: {ran} -> {}", function.seq()));
        self.hosts[at].store.commit().expect("disks do not fail here");
        self.drive(at, Vec::new());
    }

    /// Each id counts once. What a run elsewhere counted of which the writer is gone may stand beside it
    /// until that writer is retired; and so may what ran in two groups of nodes that had not met when one forgot
    /// its id. Where two nodes that ran it lose their disks before others know of both
    /// runs, it may count nowhere: see docs/semantics.md.
    pub(super) fn check_once(&self) {
        let here = self.hosts.iter().filter(|host| !host.gone);
        let living: BTreeSet<ReplicaId> = here.map(|host| host.replica).collect();
        for (at, host) in self.hosts.iter().enumerate().filter(|(_, host)| !host.gone) {
            for function in host.store.functions() {
                let vector: BTreeMap<ReplicaId, u64> = function.token().into_iter().collect();
                let retired = |writer: &ReplicaId| {
                    let taken = self.taken.iter().filter(|(name, _)| *name == function.name());
                    taken.flat_map(|(_, by)| &by.writers).any(|(id, _)| id == writer)
                };
                for (odd, place) in [(0, COUNTER), (1, KEY)] {
                    let (mut sum, mut beside) = (0, BTreeSet::from([0]));
                    let mut missing = BTreeSet::from([0]);
                    let writes = self.once.iter().enumerate().filter(|(which, write)| {
                        which % 2 == odd && write.function == function.name()
                    });
                    for (_, write) in writes {
                        let known = |(writer, seq): &&(ReplicaId, u64)| {
                            vector.get(writer).is_some_and(|upto| upto >= seq)
                        };
                        let runs: Vec<_> = write.runs.iter().filter(known).collect();
                        sum += if runs.is_empty() { 0 } else { write.amount };
                        let left = |(writer, _): &&&(ReplicaId, u64)| {
                            !living.contains(writer) && !retired(writer)
                        };
                        let beside_one =
                            runs.iter().filter(left).take(runs.len().saturating_sub(1));
                        // Of what was lost with its writer a part of a sync may have brought the count.
                        let ahead =
                            |run: &&(ReplicaId, u64)| !living.contains(&run.0) && !known(run);
                        let ahead = write.runs.iter().filter(ahead);
                        // A run of a writer that was lost may have been taken back for one that was lost, too.
                        let lost = |run: &&(ReplicaId, u64)| !living.contains(&run.0);
                        if runs.iter().copied().any(|run| lost(&run))
                            && write.runs.iter().filter(lost).any(|run| !known(&run))
                        {
                            let more: Vec<i64> = missing.iter().map(|n| n + write.amount).collect();
                            missing.extend(more);
                        }
                        let beside_all = beside_one.count() + ahead.count() + write.twice;
                        for _ in 0..beside_all {
                            let more: Vec<i64> = beside.iter().map(|n| n + write.amount).collect();
                            beside.extend(more);
                        }
                    }
                    let value = read(&function, &place);
                    let fits = |less| beside.iter().any(|more| value == sum + more - less);
                    assert!(
                        missing.iter().any(fits),
                        "n{at} {place:?}: {value}, not {sum} and some of {beside:?} without some of {missing:?}"
                    );
                }
            }
        }
    }
}

fn count(held: &mut Held<'_>, place: &Place<'_>, n: i64) {
    let now = held.function().now();
    held.with_object(place.object, |shard, hash| {
        if place.field.is_empty() {
            let (p, m) = (n.max(0).unsigned_abs(), n.min(0).unsigned_abs());
            let key = (hash, place.object, place.name);
            let added = shard.write::<kind::PnCounter, _>(key, |c, mint, _| c.add(p, m, mint));
            added.expect("its type").0.expect("small");
        } else {
            let field = (place.field, n);
            let key = (hash, place.object);
            let added = shard.write_plain::<kind::PlainHash, _>(key, now, |hash, at, mint, d| {
                hash.add(field, at, mint, d)
            });
            added.expect("its type").expect("small");
        }
    });
}

fn read(function: &Function, place: &Place<'_>) -> i64 {
    let shard = function.lock(function.shard_index(place.object));
    let slot = shard.objects().get(place.object).and_then(|object| object.get(place.name));
    let values = slot.map_or(&[][..], miso_store::Slot::values).iter();
    let counted = values.map(|value| match value {
        Value::PnCounter(counter) => Counter::value(counter),
        Value::PlainHash(hash) => {
            let cell = hash.cells().get(place.field);
            let entries = cell.into_iter().flat_map(|cell| cell.entries());
            let sum: i128 = entries.map(|e| e.v - e.floor.map_or(0, |floor| floor.v)).sum();
            i64::try_from(sum / fixed::ONE).expect("small")
        }
        _ => 0,
    });
    counted.sum()
}
