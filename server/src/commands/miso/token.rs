//! Causal tokens: what a connection may have seen, as text that it can carry to another node.
//!
//! ```text
//! base64url of: version 1 | function (varint length, bytes) | writers (varint)
//!               | per writer: ReplicaId (8, big-endian), events (varint) | crc32c of all that (4)
//! ```
//!
//! A cursor of MISO.FEED is one with a place, of version 2. Before its checksum stands in addition:
//!
//! ```text
//! epoch (8, big-endian) | position (varint) | 0, or 1 and a goal, or 2 and a goal and a walk (varint)
//! goal: position (varint) | writers (varint) | per writer as above
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use miso_store::crdt::{ReplicaId, SEQ_MAX};
use miso_store::{FeedCursor, FeedGoal, FeedPlace, Vector};

const VERSION: u8 = 1;

/// The longest that is read: some 80 000 writers.
const LONGEST: usize = 1 << 20;

/// The version that has a place.
const PLACED: u8 = 2;

/// All events of `vector` in `function`, as text.
pub(crate) fn encode(function: &[u8], vector: &Vector) -> String {
    let mut out = head(VERSION, function);
    write_vector(&mut out, vector);
    seal(out)
}

/// A cursor in `function`, as text.
pub(crate) fn encode_cursor(function: &[u8], cursor: &FeedCursor) -> String {
    let Some(FeedPlace { epoch, position, goal }) = &cursor.place else {
        return encode(function, &cursor.known);
    };
    let mut out = head(PLACED, function);
    write_vector(&mut out, &cursor.known);
    out.extend_from_slice(&epoch.to_be_bytes());
    varint(&mut out, *position);
    match goal {
        None => out.push(0),
        Some(FeedGoal { known, position, walk }) => {
            out.push(1 + u8::from(walk.is_some()));
            varint(&mut out, *position);
            write_vector(&mut out, known);
            if let Some(walk) = walk {
                varint(&mut out, *walk);
            }
        }
    }
    seal(out)
}

fn head(version: u8, function: &[u8]) -> Vec<u8> {
    let mut out = vec![version];
    varint(&mut out, function.len() as u64);
    out.extend_from_slice(function);
    out
}

fn write_vector(out: &mut Vec<u8>, vector: &Vector) {
    varint(out, vector.len() as u64);
    for (id, seq) in vector {
        out.extend_from_slice(&id.0.to_be_bytes());
        varint(out, *seq);
    }
}

fn seal(mut out: Vec<u8>) -> String {
    let sum = crc32c::crc32c(&out);
    out.extend_from_slice(&sum.to_be_bytes());
    URL_SAFE_NO_PAD.encode(out)
}

/// The function and the events of a token; none if it is not one.
pub(crate) fn decode(token: &[u8]) -> Option<(Vec<u8>, Vector)> {
    let (function, cursor) = decode_cursor(token)?;
    Some((function, cursor.known))
}

/// The function and the cursor that a text stands for; none if it is not one.
pub(crate) fn decode_cursor(token: &[u8]) -> Option<(Vec<u8>, FeedCursor)> {
    if token.len() > LONGEST {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (body, sum) = bytes.split_last_chunk::<4>()?;
    if crc32c::crc32c(body) != u32::from_be_bytes(*sum) {
        return None;
    }
    let (version, mut rest) = body.split_first()?;
    let length = usize::try_from(read_varint(&mut rest)?).ok()?;
    let (function, mut rest) = rest.split_at_checked(length)?;
    let known = read_vector(&mut rest)?;
    let place = match *version {
        VERSION => None,
        PLACED => Some(read_place(&mut rest)?),
        _ => return None,
    };
    let is_whole = rest.is_empty() && !function.is_empty();
    is_whole.then(|| (function.to_vec(), FeedCursor { known, place }))
}

fn read_vector(rest: &mut &[u8]) -> Option<Vector> {
    let count = read_varint(rest)?;
    let mut vector = Vector::new();
    for _ in 0..count {
        let (id, after) = rest.split_first_chunk::<8>()?;
        *rest = after;
        let seq = read_varint(rest).filter(|seq| *seq <= SEQ_MAX)?;
        vector.push((ReplicaId(u64::from_be_bytes(*id)), seq));
    }
    Some(vector)
}

fn read_place(rest: &mut &[u8]) -> Option<FeedPlace> {
    let (epoch, after) = rest.split_first_chunk::<8>()?;
    *rest = after;
    let position = read_varint(rest)?;
    let (kind, after) = rest.split_first()?;
    *rest = after;
    let goal = match kind {
        0 => None,
        1 | 2 => {
            let position = read_varint(rest)?;
            let known = read_vector(rest)?;
            let walk = if *kind == 2 { Some(read_varint(rest)?) } else { None };
            Some(FeedGoal { known, position, walk })
        }
        _ => return None,
    };
    Some(FeedPlace { epoch: u64::from_be_bytes(*epoch), position, goal })
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
    fn a_cursor_comes_back_and_is_a_token() {
        let goal = |walk| Some(FeedGoal { known: vector(), position: 1 << 40, walk });
        for goal in [None, goal(None), goal(Some(0)), goal(Some(1 << 50))] {
            let place = Some(FeedPlace { epoch: u64::MAX, position: 300, goal });
            let cursor = FeedCursor { known: vector(), place };
            let text = encode_cursor(b"f", &cursor);
            assert_eq!(decode_cursor(text.as_bytes()), Some((b"f".to_vec(), cursor)));
            assert_eq!(decode(text.as_bytes()), Some((b"f".to_vec(), vector())));
        }
        let cursor = FeedCursor { known: vector(), place: None };
        assert_eq!(encode_cursor(b"f", &cursor), encode(b"f", &vector()));
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
