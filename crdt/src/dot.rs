//! Writers, and the dots that name their events.
//!
//! A *writer* is one incarnation of one node ([`ReplicaId`] on the wire). Inside a process each
//! function interns the writers it has met to a [`Writer`], so that a dot fits a machine word:
//!
//! ```text
//!  63        48 47                                   0
//! +------------+--------------------------------------+
//! | writer u16 | sequence number, 1 ..= 2^48 - 1      |
//! +------------+--------------------------------------+
//! ```

use core::fmt;
use core::num::NonZeroU64;

/// One incarnation of one node as a writer, unique in the world (random, never chosen by clients).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReplicaId(pub u64);

/// A [`ReplicaId`] as one function of this process knows it: an index into its [`Writers`].
///
/// [`Writers`]: crate::Writers
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Writer(pub u16);

/// The largest sequence number: 48 bits, at a million updates a second for nine years.
pub const SEQ_MAX: u64 = (1 << 48) - 1;

/// One event of one writer: the unit of causality.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot(NonZeroU64);

impl Dot {
    /// The event `seq` of `writer`; none if `seq` is 0 or above [`SEQ_MAX`].
    #[must_use]
    pub const fn new(writer: Writer, seq: u64) -> Option<Dot> {
        if seq > SEQ_MAX || seq == 0 {
            return None;
        }
        match NonZeroU64::new((writer.0 as u64) << 48 | seq) {
            Some(packed) => Some(Dot(packed)),
            None => None,
        }
    }

    /// The dot of this word; none if it is not one.
    pub(crate) const fn unpack(word: u64) -> Option<Dot> {
        Dot::new(Writer((word >> 48) as u16), word & SEQ_MAX)
    }

    /// The word that it is.
    pub(crate) const fn pack(self) -> u64 {
        self.0.get()
    }

    /// The writer of the event.
    #[must_use]
    pub const fn writer(self) -> Writer {
        Writer((self.0.get() >> 48) as u16)
    }

    /// Its number among the writer's events.
    #[must_use]
    pub const fn seq(self) -> u64 {
        self.0.get() & SEQ_MAX
    }
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.writer().0, self.seq())
    }
}
