//! What one writer did to a counter, and how much of it has been deleted.

use core::cmp::Ordering;

use crate::codec::{DecodeError, Decoder, Encode, Encoder};
use crate::dot::Dot;

/// What a reset saw of an entry.
///
/// Floors at the same update say the same, so they are equal whatever their `by`, which only tells
/// when the floor may be forgotten: either reset serves for that.
#[derive(Clone, Copy, Debug)]
pub struct Floor {
    /// The number of the entry's newest update that the reset saw.
    pub at: u64,
    /// What had been added by then.
    pub p: u64,
    /// What had been taken away by then.
    pub n: u64,
    /// The reset itself: once the entry's writer has applied it, the floor may be forgotten.
    pub by: Dot,
}

impl Ord for Floor {
    fn cmp(&self, other: &Floor) -> Ordering {
        (self.at, self.p, self.n).cmp(&(other.at, other.p, other.n))
    }
}

impl PartialOrd for Floor {
    fn partial_cmp(&self, other: &Floor) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Floor {
    fn eq(&self, other: &Floor) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Floor {}

/// What one writer did to a counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The writer and its newest update.
    pub dot: Dot,
    /// The number of the writer's first update of this life of the entry.
    pub birth: u64,
    /// Total added.
    pub p: u64,
    /// Total taken away.
    pub n: u64,
    /// How much of it has been deleted.
    pub floor: Option<Floor>,
}

impl Entry {
    pub(super) fn value(&self) -> i128 {
        let (fp, fn_) = self.floor.map_or((0, 0), |floor| (floor.p, floor.n));
        (i128::from(self.p) - i128::from(fp)) - (i128::from(self.n) - i128::from(fn_))
    }

    /// Whether some update of it is not deleted, be it an addition of 0.
    #[must_use]
    pub fn live(&self) -> bool {
        self.floor.is_none_or(|floor| self.dot.seq() > floor.at)
    }

    /// Joins what another node knows of the same writer; whether that was more.
    pub(super) fn join(&mut self, other: &Entry) -> bool {
        let before = *self;
        if other.birth > self.birth {
            *self = *other;
        } else if other.birth == self.birth {
            self.dot = self.dot.max(other.dot);
            self.p = self.p.max(other.p);
            self.n = self.n.max(other.n);
            if other.floor > self.floor {
                self.floor = other.floor;
            }
        }
        *self != before
    }
}

impl Encode for Entry {
    fn encode(&self, to: &mut Encoder) {
        to.dot(self.dot);
        to.varint(self.birth);
        to.varint(self.p);
        to.varint(self.n);
        to.byte(u8::from(self.floor.is_some()));
        if let Some(floor) = self.floor {
            to.varint(floor.at);
            to.varint(floor.p);
            to.varint(floor.n);
            to.dot(floor.by);
        }
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let (dot, birth) = (from.dot()?, from.varint()?);
        let (p, n) = (from.varint()?, from.varint()?);
        let floor = match from.byte()? {
            0 => None,
            1 => {
                let (at, p, n) = (from.varint()?, from.varint()?, from.varint()?);
                Some(Floor { at, p, n, by: from.dot()? })
            }
            _ => return Err(DecodeError::Invalid("flag")),
        };
        if birth == 0 || birth > dot.seq() {
            return Err(DecodeError::Invalid("birth"));
        }
        if floor.is_some_and(|f| f.at > dot.seq() || f.at < birth || f.p > p || f.n > n) {
            return Err(DecodeError::Invalid("floor"));
        }
        Ok(Entry { dot, birth, p, n, floor })
    }
}
