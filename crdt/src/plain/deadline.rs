//! Deadlines of keys and of hash fields: when what is here counts as gone.
//!
//! Expiry is a predicate, never an event: a deadline is state, joined as all state is, and every
//! read and write is told the time. At the deadline what it covers is gone for both.
//!
//! - A *life* of a key begins with a write that finds nothing, or only what has expired; of a
//!   string, with every value set.
//! - A *term* is what `EXPIRE`, `PEXPIRE` or `PERSIST` set: a deadline for the lives that it has
//!   seen, in place of the terms that it has seen. Of concurrent terms the longest holds, and
//!   `PERSIST` is the longest of all. A term holds while some of its lives is live, and for what has
//!   survived the end of all lives; of a life that began after its deadline it says nothing.
//! - Each item says the deadline *under* which it was written. That is what ends it if no term holds
//!   any more, as when a write reaches a node on which its key has expired, was taken back, and has
//!   perhaps begun anew: it is past its deadline on arrival.

use super::FOREVER;
use super::items::{Dotted, decode_deadline, digest_words, encode_deadline};
use crate::codec::{DecodeError, Decoder, Encode, Encoder};
use crate::dot::Dot;
use crate::dots::Dots;

/// A deadline that was set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Term {
    /// The event that set it.
    pub dot: Dot,
    /// The deadline in milliseconds; [`FOREVER`] if it was taken away.
    pub at: u64,
    /// The lives that it is for.
    pub of: Dots,
}

impl Dotted for Term {
    const LEAST: usize = 4;

    fn dot(&self) -> Dot {
        self.dot
    }

    fn encode(&self, to: &mut Encoder) {
        to.dot(self.dot);
        encode_deadline(self.at, to);
        self.of.encode(to);
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Term, DecodeError> {
        Ok(Term { dot: from.dot()?, at: decode_deadline(from)?, of: Dots::decode(from)? })
    }

    // The lives have local numbers, and follow from the dot.
    fn digest(&self) -> u64 {
        digest_words(&[self.at])
    }

    fn heap_bytes(&self) -> usize {
        self.of.heap_bytes()
    }
}

/// What terms and lives say of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hold {
    /// The longest deadline of the terms that hold; none if no term does.
    pub at: Option<u64>,
    /// When the first of the lives began, in milliseconds; 0 if there is none.
    pub first: u64,
    /// When the last of the lives began; 0 if there is none.
    pub last: u64,
}

impl Hold {
    /// Nothing is said.
    pub const NONE: Hold = Hold { at: None, first: 0, last: 0 };

    /// The lives are given by their dots, each with the time when it began.
    pub fn new(lives: impl Iterator<Item = (Dot, u64)> + Clone, terms: &[Term]) -> Hold {
        let holds = |term: &&Term| {
            let mut lives = lives.clone().peekable();
            lives.peek().is_none() || lives.any(|(life, _)| term.of.contains(life))
        };
        let born = || lives.clone().map(|(_, born)| born);
        Hold {
            at: terms.iter().filter(holds).map(|term| term.at).max(),
            first: born().min().unwrap_or(0),
            last: born().max().unwrap_or(0),
        }
    }

    /// The deadline of all of the key: that of the life that ends last. A life that began at a
    /// deadline or after it has nothing to do with that.
    #[must_use]
    pub fn deadline(&self) -> u64 {
        self.end(self.last)
    }

    /// When a life ends that began at `born`.
    fn end(&self, born: u64) -> u64 {
        self.at.filter(|at| born < *at).unwrap_or(FOREVER)
    }

    /// Whether all of the key is gone at `now`.
    #[must_use]
    pub fn is_over(&self, now: u64) -> bool {
        now >= self.deadline()
    }

    /// Whether what a life began with is there at `now`, if that began at `born`.
    #[must_use]
    pub fn shows_life(&self, born: u64, now: u64) -> bool {
        now < self.end(born)
    }

    /// Whether an item that was written under a deadline is there at `now`: its life has not ended
    /// before all that are live began, and the deadline or one that was set since is not over.
    #[must_use]
    pub fn shows(&self, under: u64, now: u64) -> bool {
        under == FOREVER || (under > self.first && now < under.max(self.at.unwrap_or(0)))
    }
}
