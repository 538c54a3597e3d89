//! Changes of ids: on the wire those of a map, in memory a list while all that they do is to add claims.

use alloc::vec::Vec;

use crate::codec::{DecodeError, Decoder, Encode, Encoder};
use crate::context::Context;
use crate::counter::CounterDelta;
use crate::crdt::Crdt;
use crate::dot::Dot;
use crate::dots::Dots;
use crate::mv_register::{RegisterDelta, Stamp};
use crate::or_map::{FieldDelta, MapDelta, OrMap};
use crate::thin::Thin;

/// The longest id that is kept with its claim: its length is one byte.
pub(super) const ID_MAX: usize = 255;

/// A change of ids: as that of a map.
#[derive(Clone, Debug)]
pub enum OnceDelta {
    /// Claims that are added, and nothing else.
    Claims(List),
    /// Anything.
    Map(MapDelta),
}

/// Claims one after the other, in any order: `| dot u64 | time u64 | id's length u8 | claim's length u32 | id | claim |`, in
/// the byte order of the machine. To add one is a copy to the end.
#[derive(Clone, Default, Debug)]
pub struct List {
    len: usize,
    bytes: Vec<u8>,
}

const DOT: usize = size_of::<u64>();
const HEAD: usize = 2 * DOT + 1 + size_of::<u32>();

impl List {
    fn push(&mut self, Stamp { dot, time }: Stamp, id: &[u8], claim: &[u8]) {
        let mut head = [0; HEAD];
        head[..DOT].copy_from_slice(&dot.pack().to_ne_bytes());
        head[DOT..2 * DOT].copy_from_slice(&time.to_ne_bytes());
        head[2 * DOT] = id.len() as u8;
        let len = u32::try_from(claim.len()).expect("claims are bounded far below 4 GiB");
        head[2 * DOT + 1..].copy_from_slice(&len.to_ne_bytes());
        self.bytes.reserve(HEAD + id.len() + claim.len());
        self.bytes.extend_from_slice(&head);
        self.bytes.extend_from_slice(id);
        self.bytes.extend_from_slice(claim);
        self.len += 1;
    }

    /// The claims: their stamps, their ids, and what they say.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Stamp, &[u8], &[u8])> {
        let mut rest = self.bytes.as_slice();
        core::iter::from_fn(move || {
            let (dot, after) = rest.split_first_chunk()?;
            let (time, after) = after.split_first_chunk()?;
            let (id, after) = after.split_first()?;
            let (claim, after) = after.split_first_chunk()?;
            let (id, after) = after.split_at(usize::from(*id));
            let (claim, after) = after.split_at(u32::from_ne_bytes(*claim) as usize);
            rest = after;
            let stamp = Stamp {
                dot: Dot::unpack(u64::from_ne_bytes(*dot))?,
                time: u64::from_ne_bytes(*time),
            };
            Some((stamp, id, claim))
        })
    }
}

impl Default for OnceDelta {
    fn default() -> OnceDelta {
        OnceDelta::Claims(List::default())
    }
}

impl OnceDelta {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            OnceDelta::Claims(claims) => claims.len == 0,
            OnceDelta::Map(map) => map.is_empty(),
        }
    }

    /// The ids that it speaks of by name.
    #[must_use]
    pub fn ids(&self) -> Vec<&[u8]> {
        match self {
            OnceDelta::Claims(claims) => claims.iter().map(|(_, id, _)| id).collect(),
            OnceDelta::Map(map) => map.fields().collect(),
        }
    }

    pub(super) fn of(map: MapDelta) -> OnceDelta {
        if map.is_empty() { OnceDelta::default() } else { OnceDelta::Map(map) }
    }

    /// Makes a map of it, to say anything.
    pub(super) fn map(&mut self) -> &mut MapDelta {
        if let OnceDelta::Claims(claims) = self {
            let mut map = MapDelta::default();
            for (stamp, id, claim) in claims.iter() {
                map.touch(id).register.add(Thin::new(stamp, claim));
            }
            *self = OnceDelta::Map(map);
        }
        match self {
            OnceDelta::Map(map) => map,
            OnceDelta::Claims(_) => unreachable!("it has just been made a map"),
        }
    }

    /// Adds a claim.
    pub(super) fn add(&mut self, stamp: Stamp, id: &[u8], claim: &[u8]) {
        match self {
            OnceDelta::Claims(claims) if id.len() <= ID_MAX => claims.push(stamp, id, claim),
            _ => self.map().touch(id).register.add(Thin::new(stamp, claim)),
        }
    }

    pub(super) fn join(&mut self, other: &OnceDelta) {
        match (&mut *self, other) {
            // Nothing in either is gone by what the other says.
            (OnceDelta::Claims(claims), OnceDelta::Claims(others)) => {
                claims.bytes.extend_from_slice(&others.bytes);
                claims.len += others.len;
            }
            (_, OnceDelta::Map(other)) => OrMap::join_delta(self.map(), other),
            (OnceDelta::Map(map), OnceDelta::Claims(_)) => {
                OrMap::join_delta(map, other.clone().map());
            }
        }
    }
}

// What says the same is equal, however it is kept.
impl PartialEq for OnceDelta {
    fn eq(&self, other: &OnceDelta) -> bool {
        self.clone().map() == other.clone().map()
    }
}

impl Eq for OnceDelta {}

impl Encode for OnceDelta {
    fn encode(&self, to: &mut Encoder) {
        let claims = match self {
            OnceDelta::Claims(claims) => claims,
            OnceDelta::Map(map) => return map.encode(to),
        };
        let mut sorted: Vec<_> = claims.iter().collect();
        sorted.sort_unstable_by_key(|(_, id, _)| *id);
        if sorted.windows(2).any(|two| two[0].1 == two[1].1) {
            return self.clone().map().encode(to);
        }
        to.count(sorted.len());
        for (stamp, id, claim) in sorted {
            to.bytes(id);
            to.count(1);
            to.dot(stamp.dot);
            to.varint(stamp.time);
            to.bytes(claim);
            // Nothing is taken away, and nothing counted.
            to.count(0);
            to.count(0);
        }
        None::<Context>.encode(to);
    }

    fn decode(from: &mut Decoder<'_>) -> Result<OnceDelta, DecodeError> {
        let mut delta = OnceDelta::default();
        let mut last: Option<&[u8]> = None;
        for _ in 0..from.count(4)? {
            let id = from.bytes()?;
            if last.is_some_and(|last| last >= id) {
                return Err(DecodeError::Invalid("order of parts"));
            }
            last = Some(id);
            let (mut first, mut more) = (None, Vec::new());
            for at in 0..from.count(4)? {
                let stamp = Stamp { dot: from.dot()?, time: from.varint()? };
                let claim = from.bytes()?;
                if at == 0 {
                    first = Some((stamp, claim));
                } else {
                    more.push(Thin::new(stamp, claim));
                }
            }
            let removed = Dots::decode(from)?;
            let counter = CounterDelta::decode_parts(from)?;
            let first = match first {
                Some((stamp, claim))
                    if more.is_empty() && removed.is_empty() && counter.is_empty() =>
                {
                    delta.add(stamp, id, claim);
                    continue;
                }
                first => first.map(|(stamp, claim)| Thin::new(stamp, claim)),
            };
            more.extend(first);
            let field = FieldDelta { register: RegisterDelta::of(more, removed), counter };
            if field.is_empty() {
                return Err(DecodeError::Invalid("field"));
            }
            *delta.map().touch(id) = field;
        }
        if let Some(cleared) = Option::decode(from)? {
            delta.map().set_cleared(cleared);
        }
        Ok(delta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ReplicaId, Writer, Writers};

    fn message(change: &impl Encode, writers: &Writers) -> Vec<u8> {
        let mut to = Encoder::new();
        change.encode(&mut to);
        to.finish(13, writers)
    }

    #[test]
    fn a_list_is_told_as_the_map_that_it_stands_for() {
        let long = [b'x'; ID_MAX + 1];
        let mut writers = Writers::of(ReplicaId(7));
        let cases: [&[&[u8]]; 5] =
            [&[], &[b"b"], &[b"b", b"a", b"c"], &[b"b", b"a", b"b"], &[b"b", &long, b"a"]];
        for ids in cases {
            let (mut list, mut map) = (OnceDelta::default(), MapDelta::default());
            for (id, seq) in ids.iter().zip(1..) {
                let dot = Dot::new(Writer(0), seq).expect("a small number");
                let stamp = Stamp { dot, time: 1_000 + seq };
                list.add(stamp, id, b"claim");
                map.touch(id).register.add(Thin::new(stamp, b"claim"));
            }
            let told = message(&list, &writers);
            assert_eq!(told, message(&map, &writers));
            let (_, mut from) = Decoder::open(&told, &mut writers).expect("a head");
            let read = OnceDelta::decode(&mut from).expect("a change");
            from.close().expect("nothing more");
            assert_eq!((&read, read.is_empty()), (&list, ids.is_empty()));
            assert_eq!(read, OnceDelta::of(map));
        }
    }

    #[test]
    fn lists_join_by_standing_one_after_the_other() {
        let add = |delta: &mut OnceDelta, id: &[u8], seq| {
            let dot = Dot::new(Writer(0), seq).expect("a small number");
            delta.add(Stamp { dot, time: seq }, id, b"claim");
        };
        let [mut one, mut two] = [OnceDelta::default(), OnceDelta::default()];
        add(&mut one, b"a", 1);
        add(&mut two, b"b", 2);
        one.join(&two);
        one.join(&two);
        let [mut mapped, mut both] = [OnceDelta::default(), OnceDelta::default()];
        mapped.map();
        mapped.join(&two);
        add(&mut both, b"a", 1);
        add(&mut both, b"b", 2);
        assert_eq!(one, both);
        assert_eq!(mapped, two);
    }
}
