//! Records as bytes: see the drawing in [`durable`](super).

use miso_crdt::{ReplicaId, SEQ_MAX};

use crate::joining::{Retirement, Vector};
use crate::journal::Journal;

pub(crate) const BATCH: u8 = 3;
pub(crate) const PART: u8 = 4;
pub(crate) const KNOWN: u8 = 5;
pub(crate) const LOST: u8 = 6;
pub(crate) const RETIRED: u8 = 7;
pub(crate) const WRITES: u8 = 8;

/// Reads a record. Nothing is believed: a record's checksum says that it was written, not by which program.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        let (n, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*n))
    }

    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut n = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return None; // beyond 64 bits
            }
            n |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(n);
            }
        }
        None
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.varint()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(crate) fn vector(&mut self) -> Option<Vector> {
        let count = self.varint()?;
        let mut vector = Vector::new();
        for _ in 0..count {
            vector.push((ReplicaId(self.u64()?), self.varint().filter(|seq| *seq <= SEQ_MAX)?));
        }
        Some(vector)
    }
}

pub(crate) fn varint(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// What the records of what `writer` does in `function` begin with.
pub(crate) fn writes_head(function: &[u8], writer: ReplicaId) -> Box<[u8]> {
    let mut head = Vec::new();
    bytes(function, &mut head);
    head.extend_from_slice(&writer.0.to_le_bytes());
    head.into()
}

pub(crate) fn bytes(bytes: &[u8], out: &mut Vec<u8>) {
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

pub(crate) fn vector(vector: &Vector, out: &mut Vec<u8>) {
    varint(vector.len() as u64, out);
    for (id, seq) in vector {
        out.extend_from_slice(&id.0.to_le_bytes());
        varint(*seq, out);
    }
}

pub(crate) fn batch(
    journal: &Journal,
    function: &[u8],
    origin: ReplicaId,
    (first, last): (u64, u64),
    message: &[u8],
) {
    journal.append(BATCH, |out| {
        bytes(function, out);
        out.extend_from_slice(&origin.0.to_le_bytes());
        varint(first, out);
        varint(last, out);
        out.extend_from_slice(message);
    });
}

pub(crate) fn part(journal: &Journal, function: &[u8], whole: Option<&Vector>, message: &[u8]) {
    journal.append(PART, |out| part_record(function, whole, message, out));
}

pub(crate) fn part_record(
    function: &[u8],
    whole: Option<&Vector>,
    message: &[u8],
    out: &mut Vec<u8>,
) {
    bytes(function, out);
    out.push(u8::from(whole.is_some()));
    if let Some(whole) = whole {
        vector(whole, out);
    }
    out.extend_from_slice(message);
}

pub(crate) fn known(journal: &Journal, function: &[u8], known: &Vector) {
    journal.append(KNOWN, |out| known_record(function, known, out));
}

pub(crate) fn retired(journal: &Journal, function: &[u8], retirement: &Retirement) {
    journal.append(RETIRED, |out| retired_record(function, retirement, out));
}

pub(crate) fn retired_record(function: &[u8], retirement: &Retirement, out: &mut Vec<u8>) {
    bytes(function, out);
    out.extend_from_slice(&retirement.by.0.0.to_le_bytes());
    varint(retirement.by.1, out);
    vector(&retirement.writers, out);
}

pub(crate) fn known_record(function: &[u8], known: &Vector, out: &mut Vec<u8>) {
    bytes(function, out);
    vector(known, out);
}
