//! What a shard remembers of what has gone: removals ahead of the vector, and floors.

use miso_crdt::{Context, Delta, Dot, Type, Writer};

use super::Shard;
use crate::joining::LOCAL;
use crate::pending;

impl Shard {
    /// Remembers what a change takes away as far as it is not common knowledge after `event`;
    /// answers what it takes away, if anything.
    pub(crate) fn note_removals(
        &mut self,
        (known, own): (&Context, u64),
        (writer, last): (Writer, u64),
        object: &[u8],
        name: &[u8],
        delta: &Delta,
    ) -> Option<Delta> {
        let removals = delta.removals();
        if removals.is_empty() {
            return None;
        }
        let mut key = std::mem::take(&mut self.key);
        pending::key(object, name, delta.kind(), &mut key);
        if self.may_keep_floors(object, name, delta.kind()) {
            self.floored.insert(Box::from(&*key));
        }
        let mut context = Context::new();
        removals.learn(&mut context);
        context.forget(|of| {
            let upto = if of == LOCAL { own } else { known.upto(of) };
            if of == writer { upto.max(last) } else { upto }
        });
        if !context.is_empty() {
            self.ahead.entry(Box::from(&*key)).or_default().join(&context);
        }
        self.key = key;
        Some(removals)
    }

    /// While changes are not gathered, no batch notes what they take away. Before a node meets its first
    /// peer there is nothing of others to take away, unless a journal has it: of that, what came
    /// ahead of the vector would come back with the first peer that still holds it.
    pub(crate) fn note_ungathered(
        &mut self,
        (known, own): (&Context, u64),
        object: &[u8],
        name: &[u8],
        delta: &Delta,
    ) {
        self.note_removals((known, own), (LOCAL, own), object, name, delta);
    }

    /// Whether what is taken away here has to be noted by [`Shard::note_ungathered`].
    pub(crate) fn is_ungathered(&self) -> bool {
        !self.tracked && self.writers().len() > 1
    }

    /// Whether a value may keep floors. Of a counter that is gone for good, as one that only this
    /// node added to, nothing is kept: it must not be listed until some peer's summary comes, which
    /// may be never. Values of many fields are not searched, since that is linear in those.
    pub(crate) fn may_keep_floors(&self, object: &[u8], name: &[u8], kind: Type) -> bool {
        if !kind.has_counts() {
            return false;
        }
        let slot = self.objects.get(object).and_then(|object| object.get(name));
        let mut values = slot.map_or(&[][..], |slot| slot.values()).iter();
        let searched = !matches!(kind, Type::OrMap | Type::PlainHash | Type::PlainZSet);
        values.any(|value| value.kind() == kind && (!searched || value.has_dead_entries()))
    }

    /// Lists the values that keep floors. Linear in what the shard holds.
    pub(crate) fn find_floors(&mut self) {
        let mut key = Vec::new();
        for (object, held) in self.objects.iter() {
            for (name, slot) in held.all() {
                for value in slot.values() {
                    if value.has_dead_entries() {
                        pending::key(object, name, value.kind(), &mut key);
                        self.floored.insert(Box::from(&*key));
                    }
                }
            }
        }
    }

    pub(crate) fn collect(&mut self, applied: impl Fn(Dot, Dot) -> bool) {
        for key in std::mem::take(&mut self.floored) {
            let (object, name) = pending::split(&key);
            let Some(held) = self.objects.get_mut(object) else { continue };
            let Some(slot) = held.get_mut(name) else { continue };
            let mut left = false;
            slot.each_mut(|value| {
                value.collect(&applied);
                left |= value.has_dead_entries();
            });
            if held.settle(name) {
                self.objects.remove(object);
                // It held floors alone, so it read as absent.
                self.absent -= 1;
            }
            if left {
                self.floored.insert(key);
            }
        }
    }
}
