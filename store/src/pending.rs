//! What has changed since the last flush: one delta-group per CRDT, whatever the number of updates.

use miso_crdt::Type;

/// The key of a CRDT in a shard's pending table:
/// `| object's length: u32 LE | object | type tag | name |`.
pub(crate) fn key(object: &[u8], name: &[u8], kind: Type, into: &mut Vec<u8>) {
    into.clear();
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
