//! All that a function holds, in pieces, for a checkpoint.

use miso_crdt::{Changes, Type};

use crate::function::Function;
use crate::object::Object;
use crate::pending;

/// An object with more names, or with a value of more elements, goes into a checkpoint in pieces of
/// about this size: a shard is locked no longer than one piece takes.
const PIECE: usize = 4096;

impl Function {
    /// All that is present, in messages of about `budget` bytes and more, for a checkpoint: what
    /// is there the whole time is told. Long objects and values go in pieces, between which commands
    /// get at them. A peer may take a change for the whole of a value, so it gets no pieces.
    ///
    /// # Errors
    /// What `put` answers.
    pub fn export_pieces<E>(
        &self,
        budget: usize,
        mut put: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut cursor = 0;
        loop {
            let mut long = Vec::new();
            let (message, next) = {
                let joining = self.joining.lock();
                let short = |object: &[u8], held: Option<&Object>| {
                    let is_long = held.is_some_and(|held| held.is_long(PIECE));
                    if is_long {
                        long.push(Box::<[u8]>::from(object));
                    }
                    !is_long
                };
                self.walk(&joining, cursor, budget, short, |value| value.since(&()))
            };
            put(&message)?;
            for object in &long {
                self.export_long(object, &mut put)?;
            }
            cursor = next;
            if cursor == 0 {
                return Ok(());
            }
        }
    }

    /// An object that is long, as [`Function::export_pieces`] tells it.
    fn export_long<E>(
        &self,
        object: &[u8],
        put: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut cursor = 0;
        loop {
            let mut long = Vec::new();
            let message = {
                let joining = self.joining.lock();
                let known = self.known();
                let mut shard = self.shard(self.shard_index(object));
                let own = self.seq();
                shard.show(own);
                let mut changes = Changes::new();
                let mut key = Vec::new();
                // If it has gone meanwhile, the journal says so.
                let Some(held) = shard.objects.get(object) else { return Ok(()) };
                cursor = held.scan_all(cursor, PIECE, |name, slot| {
                    for value in slot.values() {
                        pending::key(object, name, value.kind(), &mut key);
                        let delta = match shard.known_beyond(&key) {
                            Some(more) => value.whole(&self.all_known(&known, own, &more)),
                            None if value.parts() > PIECE => {
                                long.push((Box::<[u8]>::from(name), value.kind()));
                                continue;
                            }
                            None => value.since(&()),
                        };
                        if !delta.is_empty() {
                            changes.push(object, name, &delta);
                        }
                    }
                });
                changes.finish(&joining.writers)
            };
            put(&message)?;
            for (name, kind) in long {
                let mut at = 0;
                while let Some((message, next)) = self.export_piece(object, &name, kind, at) {
                    put(&message)?;
                    at = next;
                    if at == 0 {
                        break;
                    }
                }
            }
            if cursor == 0 {
                return Ok(());
            }
        }
    }

    /// A piece of a value from `cursor` on, and the cursor to go on from; none if it has gone.
    fn export_piece(
        &self,
        object: &[u8],
        name: &[u8],
        kind: Type,
        cursor: u64,
    ) -> Option<(Vec<u8>, u64)> {
        let joining = self.joining.lock();
        let (delta, next) = {
            let mut shard = self.shard(self.shard_index(object));
            let own = self.seq();
            shard.show(own);
            let slot = shard.objects.get(object)?.get(name)?;
            slot.values().iter().find(|value| value.kind() == kind)?.piece(cursor, PIECE)
        };
        let mut changes = Changes::new();
        changes.push(object, name, &delta);
        Some((changes.finish(&joining.writers), next))
    }
}
