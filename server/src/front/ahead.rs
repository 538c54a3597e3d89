//! A worker's buffers, and the commands that it reads ahead, so that the cache misses of their objects
//! overlap.

use std::cell::RefCell;

use miso_protocol::request::{Limits, Parser, ProtocolError};
use miso_store::Function;

use crate::engine::Engine;
use crate::engine::call::Batch;

/// How many bytes a worker reads at once.
pub(super) const INPUT: usize = 32 << 10;
/// How many commands are read ahead at most.
pub(super) const AHEAD: usize = 16;
/// From how many commands on it pays to prefetch their objects.
const PREFETCH_FROM: usize = 4;

thread_local! {
    /// The buffers of this worker, which belong to one connection at a time.
    pub(super) static BUFFERS: RefCell<Buffers> = RefCell::new(Buffers {
        input: vec![0; INPUT].into(),
        output: Vec::with_capacity(INPUT),
        batch: Batch::default(),
        ahead: Ahead::default(),
    });
}

/// A worker's buffers.
pub(super) struct Buffers {
    pub(super) input: Box<[u8]>,
    pub(super) output: Vec<u8>,
    pub(super) batch: Batch,
    pub(super) ahead: Ahead,
}

/// A command that was read ahead: its place in the input, and the parser that cut it.
#[derive(Default)]
pub(super) struct Command {
    pub(super) at: usize,
    pub(super) length: usize,
    pub(super) parsed: Parser,
}

/// Why no more commands were read ahead.
pub(super) enum Stop {
    /// There may be more.
    Full,
    /// The next one is not complete.
    Incomplete,
    Error(ProtocolError),
}

/// The commands that were read ahead. Their parsers keep their room for the next ones.
#[derive(Default)]
pub(super) struct Ahead {
    commands: [Command; AHEAD],
}

impl Ahead {
    /// Cuts up to `window` commands from `input`, beginning at `at`. Returns how many there are, and why
    /// there are no more.
    pub(super) fn read(
        &mut self,
        parser: &mut Parser,
        input: &[u8],
        mut at: usize,
        window: usize,
        limits: &Limits,
    ) -> (usize, Stop) {
        for count in 0..window {
            match parser.next(&input[at..], limits) {
                Ok(Some(length)) => {
                    let command = &mut self.commands[count];
                    (command.at, command.length) = (at, length);
                    std::mem::swap(parser, &mut command.parsed);
                    at += length;
                }
                Ok(None) => return (count, Stop::Incomplete),
                Err(error) => return (count, Stop::Error(error)),
            }
        }
        (window, Stop::Full)
    }

    /// The first `count` commands.
    pub(super) fn commands(&self, count: usize) -> &[Command] {
        &self.commands[..count]
    }

    /// Prefetches the objects of the first `count` commands, if there are enough of them: their cache
    /// misses then overlap.
    pub(super) fn prefetch(
        &self,
        engine: &Engine,
        function: &Function,
        input: &[u8],
        count: usize,
    ) {
        if count < PREFETCH_FROM {
            return;
        }
        let mut hashes = [None; AHEAD];
        for (command, slot) in self.commands(count).iter().zip(&mut hashes) {
            if let Some(object) = engine.first_key(command.parsed.args(&input[command.at..])) {
                let hash = miso_store::hash(object);
                *slot = Some(hash);
                function.lock(function.shard_of(hash)).prefetch_bucket(hash);
            }
        }
        for hash in hashes.into_iter().flatten() {
            function.lock(function.shard_of(hash)).prefetch_object(hash);
        }
    }

    /// Gives back room that one large command has taken.
    pub(super) fn trim(&mut self) {
        self.commands.iter_mut().for_each(|command| command.parsed.trim());
    }
}
