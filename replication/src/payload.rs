//! What travels inside messages: changes, compressed where it pays, and vectors.

use bytes::Bytes;
use miso_protocol::peer;
use miso_store::crdt::ReplicaId;
use miso_store::{Retirement, Vector};

use crate::Fault;

/// Below this many bytes compressing costs more than it saves.
const WORTH_IT: usize = 4 << 10;

/// The most that one message may expand to: a value of the largest size that a client may write, and
/// room around it.
const LARGEST: usize = 640 << 20;

/// LZ4 shrinks nothing to less than a 255th.
const RATIO: usize = 255;

/// The most writers that a function may know.
const WRITERS: usize = 1 << 16;

/// Compresses changes if that makes them smaller; answers them and their size before, 0 if they are
/// as they were.
pub(crate) fn shrink(changes: Bytes) -> (Bytes, u32) {
    match u32::try_from(changes.len()) {
        Ok(size) if changes.len() >= WORTH_IT => {
            let small = lz4_flex::block::compress(&changes);
            if small.len() < changes.len() { (Bytes::from(small), size) } else { (changes, 0) }
        }
        _ => (changes, 0),
    }
}

/// Takes back [`shrink`]. Nothing is allocated that the message could not expand to.
pub(crate) fn expand(changes: &Bytes, size: u32) -> Result<Bytes, Fault> {
    let wanted = size as usize;
    if wanted == 0 {
        return Ok(changes.clone());
    }
    if wanted > LARGEST || wanted > changes.len().saturating_mul(RATIO) {
        return Err(Fault(format!("{} bytes that expand to {wanted}", changes.len())));
    }
    match lz4_flex::block::decompress(changes, wanted) {
        Ok(expanded) if expanded.len() == wanted => Ok(Bytes::from(expanded)),
        Ok(expanded) => Err(Fault(format!("{} bytes, not {wanted}", expanded.len()))),
        Err(error) => Err(Fault(format!("compressed changes: {error}"))),
    }
}

pub(crate) fn vector(vector: &Vector) -> peer::Vector {
    peer::Vector {
        writers: vector.iter().map(|(id, _)| id.0).collect(),
        lasts: vector.iter().map(|(_, seq)| *seq).collect(),
    }
}

pub(crate) fn read_vector(vector: Option<&peer::Vector>) -> Result<Vector, Fault> {
    let Some(vector) = vector else { return Ok(Vector::new()) };
    if vector.writers.len() != vector.lasts.len() || vector.writers.len() > WRITERS {
        return Err(Fault("malformed vector".into()));
    }
    let ids = vector.writers.iter().map(|id| ReplicaId(*id));
    Ok(ids.zip(vector.lasts.iter().copied()).collect())
}

/// A retirement of writers of `function`, as peers are told of it.
pub(crate) fn retired(function: Bytes, retirement: &Retirement) -> peer::Retired {
    let (by, event) = retirement.by;
    let writers = Some(vector(&retirement.writers));
    peer::Retired { function, by: by.0, event, writers }
}

/// Checks a vector of which nothing else is wanted.
pub(crate) fn check_vector(vector: Option<&peer::Vector>) -> Result<(), Fault> {
    read_vector(vector).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_come_back_whether_compressed_or_not() {
        for len in [0usize, 10, WORTH_IT, 100_000] {
            let changes = Bytes::from(b"cart:".repeat(len / 5));
            let (small, size) = shrink(changes.clone());
            assert_eq!(size > 0, changes.len() >= WORTH_IT, "{len}");
            assert_eq!(expand(&small, size), Ok(changes));
        }
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_expanded() {
        let small = Bytes::from_static(b"\x1f0");
        assert!(expand(&small, u32::MAX).is_err());
        assert!(expand(&small, 500).is_err());
        assert!(expand(&Bytes::from_static(&[0xff; 100]), 1_000).is_err());
    }

    #[test]
    fn lopsided_vectors_are_refused() {
        let lopsided = peer::Vector { writers: vec![1, 2], lasts: vec![3] };
        assert!(read_vector(Some(&lopsided)).is_err());
        assert_eq!(read_vector(None), Ok(Vector::new()));
    }
}
