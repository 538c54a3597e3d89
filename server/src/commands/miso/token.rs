//! Causal tokens: what a connection may have seen, as text that it can carry to another node.
//!
//! ```text
//! base64url of: version 1 | function (varint length, bytes) | writers (varint)
//!               | per writer: ReplicaId (8, big-endian), events (varint) | crc32c of all that (4)
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use miso_store::Vector;
use miso_store::crdt::{ReplicaId, SEQ_MAX};

const VERSION: u8 = 1;

/// The longest that is read: some 80 000 writers.
const LONGEST: usize = 1 << 20;

/// All events of `vector` in `function`, as text.
pub(crate) fn encode(function: &[u8], vector: &Vector) -> String {
    let mut out = vec![VERSION];
    varint(&mut out, function.len() as u64);
    out.extend_from_slice(function);
    varint(&mut out, vector.len() as u64);
    for (id, seq) in vector {
        out.extend_from_slice(&id.0.to_be_bytes());
        varint(&mut out, *seq);
    }
    let sum = crc32c::crc32c(&out);
    out.extend_from_slice(&sum.to_be_bytes());
    URL_SAFE_NO_PAD.encode(out)
}

/// The function and the events of a token; none if it is not one.
pub(crate) fn decode(token: &[u8]) -> Option<(Vec<u8>, Vector)> {
    if token.len() > LONGEST {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (body, sum) = bytes.split_last_chunk::<4>()?;
    if crc32c::crc32c(body) != u32::from_be_bytes(*sum) {
        return None;
    }
    let (version, mut rest) = body.split_first()?;
    if *version != VERSION {
        return None;
    }
    let length = usize::try_from(read_varint(&mut rest)?).ok()?;
    let (function, mut rest) = rest.split_at_checked(length)?;
    let count = read_varint(&mut rest)?;
    let mut vector = Vector::new();
    for _ in 0..count {
        let (id, after) = rest.split_first_chunk::<8>()?;
        rest = after;
        let seq = read_varint(&mut rest).filter(|seq| *seq <= SEQ_MAX)?;
        vector.push((ReplicaId(u64::from_be_bytes(*id)), seq));
    }
    (rest.is_empty() && !function.is_empty()).then(|| (function.to_vec(), vector))
}

fn varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn read_varint(from: &mut &[u8]) -> Option<u64> {
    let mut n = 0;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        n |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(n);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector() -> Vector {
        vec![(ReplicaId(7), 1), (ReplicaId(u64::MAX), SEQ_MAX), (ReplicaId(0), 300)]
    }

    #[test]
    fn a_token_comes_back() {
        for vector in [vector(), Vector::new()] {
            let token = encode(b"check out", &vector);
            assert_eq!(decode(token.as_bytes()), Some((b"check out".to_vec(), vector)));
        }
    }

    #[test]
    fn what_was_changed_is_no_token() {
        let token = encode(b"f", &vector());
        for at in 0..token.len() {
            let mut bad = token.clone().into_bytes();
            bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(decode(&bad), None, "{at}");
            assert_eq!(decode(&token.as_bytes()[..at]), None, "{at}");
        }
        assert_eq!(decode(&vec![b'A'; LONGEST + 1]), None);
    }

    #[test]
    fn a_count_is_not_believed() {
        let mut out = vec![VERSION, 1, b'f'];
        varint(&mut out, 1 << 60);
        let sum = crc32c::crc32c(&out);
        out.extend_from_slice(&sum.to_be_bytes());
        assert_eq!(decode(URL_SAFE_NO_PAD.encode(out).as_bytes()), None);
    }
}
