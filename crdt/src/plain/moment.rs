//! What an update is told of the world, and why it may be refused.

use crate::context::{Context, Writers};
use crate::counter::Overflow;

/// The deadline of what does not expire.
pub const FOREVER: u64 = u64::MAX;

/// What a command knows of the world.
#[derive(Clone, Copy)]
pub struct Moment<'a> {
    /// The node's hybrid logical clock, in milliseconds of Unix time. What has a deadline up to it
    /// is gone.
    pub now: u64,
    /// The writers that the function knows.
    pub writers: &'a Writers,
    /// All that is seen here: asked for only when a whole key is deleted.
    pub context: &'a dyn Fn() -> Context,
}

/// Why an update was refused. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// The value is not an integer, or not one of 64 bits.
    NotInteger,
    /// The value is not a number.
    NotFloat,
    /// The sum would not fit: 64 bits of an integer, about 1.7e21 of a decimal fraction.
    Overflow,
}

impl From<Overflow> for Refused {
    fn from(_: Overflow) -> Refused {
        Refused::Overflow
    }
}
