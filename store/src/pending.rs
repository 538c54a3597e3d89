//! What has changed since the last flush: one delta-group per CRDT, whatever the number of updates.

use miso_crdt::{Delta, Table, Type};

/// What a shard gathers for the next batch.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// Counters that the local writer added to: their own entry says all, and is read at the flush.
    pub(crate) counters: Keys,
    /// By [`key`], of everything else, and of counters that were reset.
    pub(crate) groups: Table<Delta>,
}

impl Pending {
    pub(crate) fn is_empty(&self) -> bool {
        self.counters.0.is_empty() && self.groups.is_empty()
    }

    /// Notes that the local writer added to a counter, once an interval. `room` is for its key.
    pub(crate) fn count(&mut self, room: &mut Vec<u8>, (object, name, kind): (&[u8], &[u8], Type)) {
        // One that was reset has a group, and loses its entry each time.
        if !self.groups.is_empty() {
            key(object, name, kind, room);
            if self.groups.contains(room) {
                return;
            }
        }
        self.counters.push(object, name, kind);
    }

    /// The delta-group of a CRDT for this interval. `room` is for its key.
    pub(crate) fn group(
        &mut self,
        room: &mut Vec<u8>,
        (object, name, kind): (&[u8], &[u8], Type),
    ) -> &mut Delta {
        key(object, name, kind, room);
        self.groups.get_or_insert_with(room, || Delta::empty(kind)).0
    }
}

/// Keys, one after the other, each after its length (u32 LE): noting one is a copy to the end,
/// without an allocation, a hash or a cache miss of its own.
#[derive(Debug, Default)]
pub(crate) struct Keys(Vec<u8>);

impl Keys {
    pub(crate) fn push(&mut self, object: &[u8], name: &[u8], kind: Type) {
        let at = self.0.len();
        self.0.extend_from_slice(&[0; 4]);
        extend(object, name, kind, &mut self.0);
        let len = u32::try_from(self.0.len() - at - 4).expect("names are bounded as objects are");
        self.0[at..at + 4].copy_from_slice(&len.to_le_bytes());
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let (len, keys) = rest.split_first_chunk()?;
            let (key, after) = keys.split_at(u32::from_le_bytes(*len) as usize);
            rest = after;
            Some(key)
        })
    }
}

/// The key of a CRDT in a shard's pending table:
/// `| object's length: u32 LE | object | type tag | name |`.
pub(crate) fn key(object: &[u8], name: &[u8], kind: Type, into: &mut Vec<u8>) {
    into.clear();
    extend(object, name, kind, into);
}

fn extend(object: &[u8], name: &[u8], kind: Type, into: &mut Vec<u8>) {
    let len = u32::try_from(object.len()).expect("object ids are bounded far below 4 GiB");
    into.extend_from_slice(&len.to_le_bytes());
    into.extend_from_slice(object);
    into.push(kind as u8);
    into.extend_from_slice(name);
}

/// Takes a key apart again.
pub(crate) fn split(key: &[u8]) -> (&[u8], &[u8]) {
    let (len, rest) = key.split_first_chunk().expect("keys begin with a length");
    let (object, rest) = rest.split_at(u32::from_le_bytes(*len) as usize);
    (object, &rest[1..])
}

/// The type that a key names.
pub(crate) fn kind(key: &[u8]) -> Type {
    let (len, rest) = key.split_first_chunk().expect("keys begin with a length");
    Type::of_tag(rest[u32::from_le_bytes(*len) as usize]).expect("keys hold a type's tag")
}
