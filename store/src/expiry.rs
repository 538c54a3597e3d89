//! Expired keys and fields: telling that they are gone, and taking back their memory.
//!
//! Expiry is a predicate: from its deadline on a key reads as absent on every node, whatever is done here.
//! What is kept of it goes some time after that by an observed remove, which any node may make: a write
//! that this node has not seen is not taken along. Each node waits for a time of its own, so that mostly
//! one node does it and the others hear of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use miso_crdt::{Type, Value, plain};

use crate::deadlines::{Deadlines, Due, Ended};
use crate::function::Function;
use crate::guard::ShardGuard;
use crate::plain::Shown;

/// How long a node with peers leaves alone what has expired, so that nodes whose clocks are a little late
/// do not lose what is there by their clocks.
const GRACE: u64 = 2_000;
/// Nodes wait up to this much longer, each for a time of its own.
const SPREAD: u64 = 3_000;
/// Keys that are looked at before commands get at the shard again.
const TURN: usize = 64;

/// A key of which something is over, and its type.
type Told = (Box<[u8]>, Type, Ended);

/// What [`Function::expire`] has found.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Expired {
    /// Keys that have expired since the last call.
    pub keys: u64,
    /// Whether there is more to do now.
    pub more: bool,
}

impl Function {
    /// Notes that a key may expire at `at`.
    pub(crate) fn note_deadline(&self, deadlines: &mut Deadlines, hash: u64, at: u64) {
        if at != u64::MAX {
            deadlines.push(at, hash, Due::Told);
            self.first_deadline.fetch_min(at, Ordering::Relaxed);
        }
    }

    /// About how many keys have a deadline: such as expired a moment ago, and such as had one, may be
    /// counted.
    #[must_use]
    pub fn deadline_count(&self) -> usize {
        self.shards.each().map(|shard| shard.deadlines.len()).sum()
    }

    /// Whether something may be due for keys that have expired.
    pub(crate) fn is_due(&self) -> bool {
        let first = self.first_deadline.load(Ordering::Relaxed);
        first != u64::MAX && first <= self.now()
    }

    /// Tells the observer of keys that have expired, and takes back the memory of those that expired a
    /// while ago: some in each shard.
    pub fn expire(self: &Arc<Self>) -> Expired {
        let mut found = Expired::default();
        if !self.is_due() {
            return found;
        }
        let (now, lead) = (self.now(), self.clock_lead());
        // Raised first: what is noted from now on lowers it again.
        self.first_deadline.store(u64::MAX, Ordering::Relaxed);
        for which in 0..self.shards() {
            let mut told: Vec<Told> = Vec::new();
            let Some(mut shard) = self.lock_made(which) else { continue };
            for _ in 0..TURN {
                let Some((at, hash, due)) = shard.take_due(now) else { break };
                match due {
                    Due::Told => {
                        for ended in shard.tell((at, hash), now) {
                            // Fields whose deadlines have passed since the last call are told of together.
                            if !told.contains(&ended) {
                                told.push(ended);
                            }
                        }
                    }
                    // By the clocks of the others it is not over yet, and they may still use it.
                    Due::Reclaimed if at.saturating_add(lead) > now => {
                        shard.note_due(at.saturating_add(lead), hash, Due::Reclaimed);
                    }
                    // While another node adopts counts, nothing is deleted.
                    Due::Reclaimed => match self.begin_delete() {
                        Some(_deleting) => shard.reclaim(hash, now),
                        None => shard.note_due(now + GRACE, hash, Due::Reclaimed),
                    },
                }
            }
            let first = shard.first_due();
            self.first_deadline.fetch_min(first.unwrap_or(u64::MAX), Ordering::Relaxed);
            found.more |= first.is_some_and(|first| first <= now);
            drop(shard);
            found.keys += told.iter().filter(|(.., ended)| *ended == Ended::Key).count() as u64;
            told.iter().for_each(|(key, _, ended)| self.tell_expired(key, *ended));
            if self.is_followed() && !told.is_empty() {
                self.note_all(told.iter().map(|(key, kind, _)| (&**key, &b""[..], *kind)));
            }
        }
        found
    }

    /// How long after a deadline this node takes back the memory of a key.
    fn delay(&self, hash: u64, tracked: bool) -> u64 {
        let own = (hash ^ self.turn).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        if tracked { GRACE + own % SPREAD } else { 0 }
    }
}

impl ShardGuard<'_> {
    /// The plain keys with this hash.
    fn plain_keys(&self, hash: u64) -> Vec<Box<[u8]>> {
        let keys = self.objects().with_hash(hash);
        let plain = keys.filter(|(_, object)| {
            let slot = object.get(b"");
            slot.is_some_and(|slot| slot.values().iter().any(plain::is_plain))
        });
        plain.map(|(key, _)| Box::from(key)).collect()
    }

    /// What of the keys with this hash has expired at the deadline `at`, and is gone; when memory is taken
    /// back is noted. Of fields it looks only while somebody listens: that is linear in those with deadlines.
    fn tell(&mut self, (at, hash): (u64, u64), now: u64) -> Vec<Told> {
        let listened = self.function().hooks.listened();
        let mut told = Vec::new();
        for key in self.plain_keys(hash) {
            if listened {
                self.pass_ends((hash, &key), now);
            }
            let slot = self.objects().get(&key).and_then(|object| object.get(b""));
            let values = slot.map_or(&[][..], |slot| slot.values());
            let next = values.iter().map(|value| value.first_end(now)).min().unwrap_or(u64::MAX);
            let spent = values.iter().find(|value| plain::is_spent(value, now, self.writers()));
            let gone = spent.filter(|value| !value.is_absent());
            let ended = match self.shown(hash, &key, now) {
                Some(Shown::Plain(Value::PlainHash(hash))) if listened => {
                    let ended = hash.has_ended(at, now, self.writers());
                    ended.then_some((Type::PlainHash, Ended::Fields))
                }
                Some(_) => None,
                None => gone.map(|value| match value {
                    Value::PlainHash(hash)
                        if !hash.hold().is_over(now) && hash.has_ended(at, now, self.writers()) =>
                    {
                        (Type::PlainHash, Ended::LastFields)
                    }
                    value => (value.kind(), Ended::Key),
                }),
            };
            if let Some((kind, ended)) = ended {
                self.note_expired(&key);
                told.push((key, kind, ended));
            }
            // The next deadline; 0 is what a delete has left, which is taken back now.
            if next > now {
                self.note_deadline(hash, next);
            }
        }
        let delay = self.function().delay(hash, self.tracked());
        self.note_due(at.max(now.saturating_sub(GRACE)) + delay, hash, Due::Reclaimed);
        told
    }

    fn reclaim(&mut self, hash: u64, now: u64) {
        for key in self.plain_keys(hash) {
            self.reclaim_plain((hash, &key), now);
            let slot = self.objects().get(&key).and_then(|object| object.get(b""));
            let values = slot.map_or(&[][..], |slot| slot.values());
            let next = values.iter().map(|value| value.first_end(now)).min().unwrap_or(u64::MAX);
            if next > now {
                self.note_deadline(hash, next);
            }
        }
    }
}
