//! Where updates get their events from: the function's one sequence of this node.

use miso_crdt::{Dot, Events, Writer};

use crate::function::Function;

/// Mints the dots of one update, under its shard's lock.
#[derive(Debug)]
pub struct Mint<'a> {
    function: &'a Function,
    /// The number up to which this shard's events may have been shown to others.
    flushed: u64,
    /// Whether the update made events: then others must hear of it.
    pub(crate) minted: bool,
    /// Whether the update changed something under a dot that is not yet sent.
    pub(crate) reused: std::cell::Cell<bool>,
}

impl<'a> Mint<'a> {
    pub(crate) fn new(function: &'a Function, flushed: u64) -> Mint<'a> {
        Mint { function, flushed, minted: false, reused: std::cell::Cell::new(false) }
    }

    /// Whether anything changed.
    pub(crate) fn used(&self) -> bool {
        self.minted || self.reused.get()
    }
}

impl Events for Mint<'_> {
    fn next(&mut self) -> Dot {
        self.minted = true;
        self.function.next_dot()
    }

    fn unsent(&self, dot: Dot) -> bool {
        let unsent = dot.writer() == self.writer() && dot.seq() > self.flushed;
        if unsent {
            self.reused.set(true);
        }
        unsent
    }

    fn time(&mut self) -> u64 {
        self.function.tick()
    }

    fn writer(&self) -> Writer {
        self.function.writer()
    }
}
