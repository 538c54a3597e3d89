//! A claim: what a run of a write says of itself beside the id of the write.
//!
//! ```text
//! claim | u8 1 if it lost, else 0 | varint time | bytes reply | varint n, n x line |
//! line  | bytes object | bytes name | u8 type | bytes field | varint n, n x (varint event, amount) |
//! amount: zigzag, as two varints: the low 63 bits, and the rest
//! ```

use std::collections::BTreeMap;

use miso_crdt::Type;
use smallvec::SmallVec;

/// Where a command may count: an object, a name in it, empty for plain keys, and a field of what that
/// holds, empty for counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place<'a> {
    /// The object.
    pub object: &'a [u8],
    /// The name.
    pub name: &'a [u8],
    /// The field.
    pub field: &'a [u8],
}

/// What was counted somewhere in the name of an id, by which events of the claim's writer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Line {
    pub(crate) object: Box<[u8]>,
    pub(crate) name: Box<[u8]>,
    pub(crate) kind: Type,
    pub(crate) field: Box<[u8]>,
    /// In the order of their events: the write, and what took it back.
    pub(crate) amounts: Vec<(u64, i128)>,
}

/// What a run of a write says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Claim {
    /// When it ran, in milliseconds of its node's clock.
    pub(crate) time: u64,
    /// Whether another run of the same write counts instead, and this one has been taken back.
    pub(crate) lost: bool,
    pub(crate) reply: Box<[u8]>,
    pub(crate) lines: Vec<Line>,
}

impl Claim {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Bytes::new();
        head(&mut out, (self.lost, self.time), &[&self.reply], self.lines.len());
        for line in &self.lines {
            encode_line(&mut out, (line.place(), line.kind), &line.amounts);
        }
        out
    }

    /// Reads a claim. Of one that cannot be read, as only a peer that lies makes, the id counts and
    /// nothing else.
    pub(crate) fn decode(from: &[u8]) -> Claim {
        Claim::read(&mut Reader(from)).unwrap_or(Claim {
            time: u64::MAX,
            lost: true,
            reply: Box::default(),
            lines: Vec::new(),
        })
    }

    /// When a claim was made, and whether it lost: without reading the rest of it.
    pub(crate) fn head(from: &[u8]) -> (u64, bool) {
        let mut from = Reader(from);
        let head = || Some((from.byte()? == 1, from.varint()?));
        let mut head = head;
        head().map_or((u64::MAX, true), |(lost, time)| (time, lost))
    }

    /// Whether two runs, of which neither was taken back, have counted the same in the same places.
    pub(crate) fn counts_as(&self, other: &Claim) -> bool {
        fn sums(claim: &Claim) -> BTreeMap<[&[u8]; 3], i128> {
            let mut sums = BTreeMap::new();
            for line in &claim.lines {
                let place = [&*line.object, &*line.name, &*line.field];
                let sum: &mut i128 = sums.entry(place).or_default();
                line.amounts.iter().for_each(|(_, amount)| *sum = sum.wrapping_add(*amount));
            }
            sums
        }
        sums(self) == sums(other)
    }

    fn read(from: &mut Reader<'_>) -> Option<Claim> {
        let lost = from.byte()? == 1;
        let (time, reply) = (from.varint()?, from.bytes()?.into());
        let mut lines = Vec::new();
        for _ in 0..from.varint()? {
            let (object, name) = (from.bytes()?.into(), from.bytes()?.into());
            let (kind, field) = (Type::of_tag(from.byte()?)?, from.bytes()?.into());
            let mut amounts = Vec::new();
            for _ in 0..from.varint()? {
                let seq = from.varint()?;
                let (low, middle, high) = (from.varint()?, from.varint()?, from.byte()?);
                let zigzag =
                    u128::from(low & LOW) | u128::from(middle) << 63 | u128::from(high) << 127;
                amounts.push((seq, (zigzag >> 1) as i128 ^ -((zigzag & 1) as i128)));
            }
            lines.push(Line { object, name, kind, field, amounts });
        }
        from.0.is_empty().then_some(Claim { time, lost, reply, lines })
    }
}

/// A claim that is written. Most fit, and then take no allocation.
pub(crate) type Bytes = SmallVec<[u8; 128]>;

/// Begins a claim of which `lines` lines follow. Its reply is in parts.
pub(crate) fn head(out: &mut Bytes, (lost, time): (bool, u64), reply: &[&[u8]], lines: usize) {
    out.push(u8::from(lost));
    varint(time, out);
    varint(reply.iter().map(|part| part.len() as u64).sum(), out);
    reply.iter().for_each(|part| out.extend_from_slice(part));
    varint(lines as u64, out);
}

/// Writes a line: what was counted under a place, by which events.
pub(crate) fn encode_line(
    out: &mut Bytes,
    (place, kind): (Place<'_>, Type),
    amounts: &[(u64, i128)],
) {
    bytes(place.object, out);
    bytes(place.name, out);
    out.push(kind as u8);
    bytes(place.field, out);
    varint(amounts.len() as u64, out);
    for (seq, amount) in amounts {
        varint(*seq, out);
        let zigzag = (*amount << 1 ^ *amount >> 127) as u128;
        varint((zigzag as u64) & LOW, out);
        varint((zigzag >> 63) as u64, out);
        out.push((zigzag >> 127) as u8);
    }
}

const LOW: u64 = u64::MAX >> 1;

fn varint(mut n: u64, out: &mut Bytes) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn bytes(bytes: &[u8], out: &mut Bytes) {
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            n |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(n);
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.varint()?).ok()?;
        if len > self.0.len() {
            return None;
        }
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_come_back_and_nonsense_claims_only_its_id() {
        for amount in [0, 1, -1, i128::MAX, i128::MIN, 1 << 63, -(1 << 70)] {
            let line = Line {
                object: b"cart"[..].into(),
                name: b"total"[..].into(),
                kind: Type::PnCounter,
                field: Box::default(),
                amounts: vec![(7, amount), (9, -(amount >> 1))],
            };
            let reply = b":1\r\n"[..].into();
            let claim = Claim { time: 1_700_000_000_000, lost: false, reply, lines: vec![line] };
            let said = claim.encode();
            assert_eq!(Claim::decode(&said), claim);
            assert_eq!(Claim::head(&said), (claim.time, false));
            for cut in 0..said.len() {
                assert!(Claim::decode(&said[..cut]).lost, "cut at {cut}");
            }
        }
    }
}
