//! What a shard gathers for the next batch.

use miso_crdt::{Delta, Type, Value, Writer};

use super::{AHEAD, Shard};
use crate::object::Slot;
use crate::pending::{self, Pending};

impl Shard {
    pub(crate) fn track(&mut self, seq: u64) {
        if !self.tracked {
            (self.tracked, self.flushed) = (true, seq);
        }
    }

    /// From now on events up to `seq` count as shown to others.
    pub(crate) fn show(&mut self, seq: u64) {
        if self.tracked {
            self.flushed = seq;
        }
    }

    /// Takes what was gathered; from now on events up to `seq` count as shown to others.
    pub(crate) fn cut(&mut self, seq: u64) -> Pending {
        self.show(seq);
        std::mem::take(&mut self.pending)
    }

    /// Turns what [`Shard::cut`] took into changes: `visit(shard, object, name, change)`.
    pub(crate) fn collect_changes(
        &mut self,
        writer: Writer,
        mut taken: Pending,
        mut visit: impl FnMut(&mut Shard, &[u8], &[u8], &Delta),
    ) {
        let mut groups: Vec<_> = taken.groups.iter_mut().map(|(key, d)| (key, Some(d))).collect();
        // An object's changes together, so that its id is sent once. Those of counters are in the
        // order of their first updates, which is no worse often enough to be worth no sorting.
        groups.sort_unstable_by_key(|(key, _)| *key);
        let counters = taken.counters.iter().map(|key| (key, None));
        let mut all: Vec<(&[u8], Option<&mut Delta>)> = counters.chain(groups).collect();
        let mut hashes = [0; AHEAD];
        // Room for a counter's change, kept from one to the next.
        let mut scratch = [Delta::empty(Type::GCounter), Delta::empty(Type::PnCounter)];
        for some in all.chunks_mut(AHEAD) {
            // The objects of some changes are prefetched together, so that their cache misses overlap.
            for ((key, _), hash) in some.iter().zip(&mut hashes) {
                *hash = miso_crdt::table::hash(pending::split(key).0);
                self.objects.prefetch_bucket(*hash);
            }
            hashes[..some.len()].iter().for_each(|hash| self.objects.prefetch_key(*hash));
            for ((key, group), hash) in some.iter_mut().zip(hashes) {
                let (object, name) = pending::split(key);
                let delta = match group {
                    Some(delta) => &mut **delta,
                    None => {
                        let positive = pending::kind(key) == Type::GCounter;
                        let delta = &mut scratch[usize::from(!positive)];
                        if let Delta::GCounter(delta) | Delta::PnCounter(delta) = delta {
                            delta.clear();
                        }
                        delta
                    }
                };
                let held = self.objects.get_hashed(hash, object);
                let slot = held.and_then(|object| object.get(name));
                let values = slot.map_or(&[][..], Slot::values);
                let value = values.iter().find(|value| value.kind() == delta.kind());
                // A counter's own entry is absolute: it is read now, once for all its updates. One
                // that has grown since the cut is gathered again, and harms nothing by being early.
                if let (Delta::GCounter(delta), Some(Value::GCounter(counter)))
                | (Delta::PnCounter(delta), Some(Value::PnCounter(counter))) =
                    (&mut *delta, value)
                    && let Some(entry) = counter.entry(writer)
                {
                    delta.note(entry);
                }
                if !delta.is_empty() {
                    visit(self, object, name, delta);
                }
            }
        }
    }
}
