//! All that a cell can hold, where it is more than one value or one count.

use alloc::vec::Vec;

use super::counts::Counts;
use super::deadline::Term;

/// All that a cell can hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Full<V> {
    /// The values that no later write has seen, in the order of their dots.
    pub(super) values: Vec<V>,
    /// What has been added since.
    pub(super) counts: Counts,
    /// The deadlines set since, in the order of their dots.
    pub(super) terms: Vec<Term>,
}

impl<V> Default for Full<V> {
    fn default() -> Full<V> {
        Full { values: Vec::new(), counts: Counts::default(), terms: Vec::new() }
    }
}
