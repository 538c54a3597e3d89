//! Where updates get their events from: the function's one sequence of this node.

use std::cell::Cell;

use miso_crdt::{Dot, Events, Writer};

use crate::function::Function;

/// The events of one update, one nearly always.
pub(crate) type MintedEvents = smallvec::SmallVec<[u64; 2]>;

/// Mints the dots of one update, under its shard's lock.
#[derive(Debug)]
pub struct Mint<'a> {
    function: &'a Function,
    /// The number up to which this shard's events may have been shown to others.
    flushed: u64,
    /// Whether every event is journaled: then none is unsent.
    journaled: bool,
    /// The events that the update made: if any, others must hear of it.
    pub(crate) minted: MintedEvents,
    /// Whether the update changed something under a dot that is not yet sent.
    pub(crate) reused: Cell<bool>,
    /// Whether what the update changed had a dot that is not yet sent, so that it is noted already.
    pub(crate) noted: Cell<bool>,
}

impl<'a> Mint<'a> {
    pub(crate) fn new(function: &'a Function, flushed: u64) -> Mint<'a> {
        Mint {
            function,
            flushed,
            journaled: function.hooks.journal().is_some(),
            minted: MintedEvents::new(),
            reused: Cell::new(false),
            noted: Cell::new(false),
        }
    }

    /// Whether anything changed.
    pub(crate) fn used(&self) -> bool {
        !self.minted.is_empty() || self.reused.get()
    }
}

impl Events for Mint<'_> {
    fn next(&mut self) -> Dot {
        let dot = self.function.next_dot();
        self.minted.push(dot.seq());
        dot
    }

    fn unsent(&self, dot: Dot) -> bool {
        let noted = dot.writer() == self.writer() && dot.seq() > self.flushed;
        if noted {
            self.noted.set(true);
        }
        // What is journaled has been seen: see `durable`.
        let unsent = noted && !self.journaled;
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
