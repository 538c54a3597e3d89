//! Runs of one write on several nodes come to one, and ids that all have heard of are forgotten.
//!
//! Of the claims of an id one counts: the one of least [`rank`]. Only the writer of another claim takes
//! back what that run counted, by plain events of its own, in one record with the mark that it has: so
//! it is done once, whatever is lost, comes twice or fails. A delete elsewhere may have seen the run and
//! not what took it back, and would take too much; so the claim keeps what was counted in its name,
//! by event, until all have heard of it, and its writer adds what makes the sum of that which is not
//! deleted nothing again.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use miso_crdt::{Claims, Context, Dot, ReplicaId, Seen, Writers};

use super::claim::{Claim, Line};
use super::{BUCKETS, object, object_of, rank};
use crate::function::Function;
use crate::held::Held;
use crate::joining::{LOCAL, Vector};

/// What each node other than this one has said that it has applied, all of its events before that being
/// known here.
type Announced<'a> = &'a [(ReplicaId, Vector)];

/// Buckets that are looked through for ids to forget at a time.
const TURN: usize = 4;

/// What became of an id that was looked at.
#[derive(Clone, Copy, Default)]
struct Settled {
    /// Whether it is to be looked at again.
    again: bool,
    /// Whether this node's run was taken back now and had counted other amounts than the one that counts.
    unequal: bool,
}

impl Function {
    /// Whether ids have come that [`Function::settle_once`] has not looked at.
    #[must_use]
    pub fn once_is_unsettled(&self) -> bool {
        self.once.joined.load(Ordering::Acquire)
    }

    /// Whether any id was ever kept here.
    #[must_use]
    pub fn has_once(&self) -> bool {
        self.once_count() > 0 || self.once_is_unsettled() || !self.once.watched.lock().is_empty()
    }

    /// Takes back what writes have counted here that count elsewhere. To be called once ids have come and
    /// now and then: linear in those, and in the ids of which this node's run was taken back.
    ///
    /// Answers the ids of which it was taken back now and had counted other amounts than the run that
    /// counts: of two different writes under one id one is lost.
    pub fn settle_once(&self) -> Vec<Box<[u8]>> {
        if self.once.joined.swap(false, Ordering::AcqRel) {
            self.hooks.once.used.store(true, Ordering::Relaxed);
            let count = (0..BUCKETS).map(|bucket| self.in_bucket(bucket, |ids| ids.len())).sum();
            self.once.count.store(count, Ordering::Relaxed);
        }
        let watched = std::mem::take(&mut *self.once.watched.lock());
        let (mut kept, mut unequal) = (Vec::new(), Vec::new());
        for id in watched {
            let settled = self.settle_id(&id);
            if settled.unequal {
                unequal.push(id.clone());
            }
            if settled.again {
                kept.push(id);
            }
        }
        self.once.watched.lock().extend(kept);
        unequal
    }

    pub(super) fn in_bucket<R: Default>(
        &self,
        bucket: u8,
        look: impl FnOnce(&miso_crdt::OnceIds) -> R,
    ) -> R {
        let object = object(bucket);
        let shard = self.shards.made(self.shard_index(&object));
        shard.and_then(|shard| shard.once_ids(&object).map(look)).unwrap_or_default()
    }

    /// Holds the shards of an id and of what its claims counted.
    /// Answers the claims that count, and whether there are others.
    fn hold_claims(&self, id: &[u8]) -> (Held<'_>, Vec<(Dot, Claim)>, bool) {
        let bucket = object_of(id);
        let mut shards = vec![self.shard_index(&bucket)];
        let known = self.known();
        let (claims, _) = self.lock(shards[0]).claims(&bucket, id, &known);
        let lines = claims.iter().flat_map(|(_, claim)| &claim.lines);
        shards.extend(lines.map(|line| self.shard_index(&line.object)));
        let mut held = Held::shards(self, shards);
        // What came meanwhile is looked at when it is settled itself.
        let (now, more) = held.with_object(&bucket, |shard, _| shard.claims(&bucket, id, &known));
        let held_too = |dot: &Dot| claims.iter().any(|(known, _)| known == dot);
        (held, now.into_iter().filter(|(dot, _)| held_too(dot)).collect(), more)
    }

    /// Takes back this node's run of a write if another counts.
    fn settle_id(&self, id: &[u8]) -> Settled {
        let object = object_of(id);
        if !self.lock(self.shard_index(&object)).is_disputed(&object, id) {
            return Settled::default();
        }
        let (mut held, claims, more) = self.hold_claims(id);
        let writers = held.with_object(&object_of(id), |shard, _| shard.shared_writers());
        let Some((dot, mut claim)) = claims.iter().find(|(dot, _)| dot.writer() == LOCAL).cloned()
        else {
            return Settled::default();
        };
        let loses = loses(&claims, dot, &writers);
        if !claim.lost && !loses {
            return Settled { again: more, unequal: false };
        }
        let first = claims.iter().filter(|(of, other)| *of != dot && !other.lost);
        let first = first.min_by_key(|(of, other)| rank(*of, (other.time, other.lost), &writers));
        let unequal = !claim.lost && first.is_some_and(|(_, other)| !claim.counts_as(other));
        let changed = held.take_back(&mut claim.lines, dot);
        if changed || !claim.lost {
            claim.lost = true;
            held.with_object(&object_of(id), |shard, _| shard.swap_claim(id, dot, Some(&claim)));
        }
        Settled { again: true, unequal }
    }

    /// Of the claims of writers that will never write again, takes back here what those have counted
    /// that counts elsewhere, and what they would have had to do for those that they took back. `gone` covers all that they did. To be called before their counts are
    /// adopted, while no node deletes.
    pub(crate) fn adopt_claims(&self, gone: &Context) {
        for bucket in 0..BUCKETS {
            let ids: Vec<Box<[u8]>> = self.in_bucket(bucket, |ids| {
                let dead = |claims: Claims<'_>| {
                    let several = claims.len() > 1;
                    let mut gone = claims.filter(|claim| gone.seen(claim.stamp.dot));
                    gone.any(|claim| several || Claim::head(claim.bytes).1)
                };
                let dead = ids.iter().filter(|(_, claims)| dead(claims.clone()));
                dead.map(|(id, _)| id.into()).collect()
            });
            for id in ids {
                let (mut held, claims, _) = self.hold_claims(&id);
                let writers = held.with_object(&object_of(&id), |shard, _| shard.shared_writers());
                for (dot, claim) in &claims {
                    if gone.seen(*dot) && (claim.lost || loses(&claims, *dot, &writers)) {
                        held.take_back(&mut claim.lines.clone(), *dot);
                        let object = object_of(&id);
                        held.with_object(&object, |shard, _| shard.swap_claim(&id, *dot, None));
                    }
                }
            }
        }
    }

    /// Looks after ids, some at a time: to be called once a second or so. `now` is time since any moment, by
    /// a clock that is never set: only differences count. `heard` is what each other node
    /// that is not forgotten has announced, if all can be reached and all of their events before that
    /// are known here. An id is forgotten once it has been known here for its window and all have heard of
    /// it: by then all runs of it are known here. Ages are not kept over a restart: then each begins anew.
    /// Answers as [`Function::settle_once`].
    pub fn tend_once(
        &self,
        now: Duration,
        heard: Option<&[(ReplicaId, Vector)]>,
    ) -> Vec<Box<[u8]>> {
        let unequal = self.settle_once();
        let aged = self.once.aged(now, Duration::from_millis(self.once_window()), || self.vector());
        let (Some(heard), Some(aged)) = (heard, aged) else { return unequal };
        for _ in 0..TURN {
            let bucket = self.once.next.fetch_add(1, Ordering::Relaxed) % usize::from(BUCKETS);
            self.forget_ids(bucket as u8, heard, &aged);
        }
        unequal
    }

    /// Forgets ids of which `aged` says that they have been known for their window.
    fn forget_ids(&self, bucket: u8, heard: Announced<'_>, aged: &Vector) {
        if self.in_bucket(bucket, |ids| ids.is_empty()) {
            return;
        }
        // Of a retired writer nobody tells any more: what adopted it stands for all that it did.
        let retired: HashMap<ReplicaId, (ReplicaId, u64)> = self
            .retirements()
            .iter()
            .flat_map(|gone| gone.writers.iter().map(|(id, _)| (*id, gone.by)))
            .collect();
        let object = object(bucket);
        let mut shard = self.lock(self.shard_index(&object));
        let writers = shard.shared_writers();
        let event = |dot: Dot| {
            let mut event = (writers.id(dot.writer())?, dot.seq());
            // What adopted it may be adopted itself, each once.
            for _ in 0..retired.len() {
                let Some(by) = retired.get(&event.0) else { break };
                event = *by;
            }
            Some(event)
        };
        let covers = |vector: &Vector, dot: Dot| {
            let event = event(dot);
            event.is_some_and(|(id, seq)| vector.iter().any(|(of, upto)| *of == id && *upto >= seq))
        };
        let known = |dot: Dot| heard.iter().all(|(_, vector)| covers(vector, dot));
        let mut over = Vec::new();
        for (id, claims) in shard.once_ids(&object).into_iter().flat_map(|ids| ids.iter()) {
            let heads = || claims.clone().map(|claim| Claim::head(claim.bytes));
            let dots = || claims.clone().map(|claim| claim.stamp.dot);
            // One run that counts, and the others have been taken back.
            if heads().filter(|(_, lost)| !lost).count() > 1 || !dots().all(known) {
                continue;
            }
            // What its writer took back it must watch, so it forgets that itself.
            let lives = |dot: Dot| {
                let id = writers.id(dot.writer());
                heard.iter().any(|(of, _)| Some(*of) == id)
            };
            for dot in dots().filter(|dot| !lives(*dot) && covers(aged, *dot)) {
                over.push((Box::<[u8]>::from(id), dot));
            }
        }
        over.iter().for_each(|(id, dot)| shard.swap_claim(id, *dot, None));
    }
}

/// Whether another claim counts instead of that of `dot`.
fn loses(claims: &[(Dot, Claim)], dot: Dot, writers: &Writers) -> bool {
    let rank = |(dot, claim): &(Dot, Claim)| rank(*dot, (claim.time, claim.lost), writers);
    let own = claims.iter().find(|(of, _)| *of == dot).map(rank);
    let counts = |other: &&(Dot, Claim)| other.0 != dot && !other.1.lost;
    claims.iter().filter(counts).any(|other| Some(rank(other)) < own)
}

impl Held<'_> {
    /// Makes the sum of what the writer of `dot` has counted by `lines`, and is not deleted, nothing, by
    /// counts of this node; whether anything was to be done. What does not fit is left for the next time.
    fn take_back(&mut self, lines: &mut [Line], dot: Dot) -> bool {
        let mut any = false;
        for line in lines {
            let object = line.object.clone();
            let taken = self.with_object(&object, |shard, _| {
                // What is known here and not in its writer's entry is deleted.
                let tally = shard.tally(&line.place(), line.kind, dot.writer())?;
                let lives = tally.birth.max(tally.gone + 1)..=tally.seq;
                let stands = |(seq, _): &&(u64, i128)| lives.contains(seq);
                let left = line.amounts.iter().filter(stands);
                let left = left.fold(0i128, |sum, (_, amount)| sum.wrapping_add(*amount));
                let back = left.checked_neg().filter(|back| *back != 0)?;
                Some((shard.correct(line, dot.writer(), back)?, back))
            });
            if let Some(taken) = taken {
                line.amounts.push(taken);
                any = true;
            }
        }
        any
    }
}
