//! A worker's buffers, and the commands that it reads ahead, so that the cache misses of their objects
//! overlap.

use std::cell::RefCell;

use miso_protocol::request::{Limits, Parser, ProtocolError};

use crate::engine::Engine;
use crate::engine::call::Batch;
use crate::engine::session::Session;

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
    /// The number of its row, if that has been looked up.
    pub(super) row: Option<u16>,
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
        // `parser` may have read the beginning of the first command.
        std::mem::swap(parser, &mut self.commands[0].parsed);
        for count in 0..window {
            let command = &mut self.commands[count];
            match command.parsed.next(&input[at..], limits) {
                Ok(Some(length)) => {
                    (command.at, command.length, command.row) = (at, length, None);
                    at += length;
                }
                Ok(None) => {
                    std::mem::swap(parser, &mut command.parsed);
                    return (count, Stop::Incomplete);
                }
                Err(error) => {
                    // What it has read is no command: the next connection must not find it here.
                    command.parsed = Parser::new();
                    return (count, Stop::Error(error));
                }
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
        &mut self,
        engine: &Engine,
        session: &mut Session,
        input: &[u8],
        count: usize,
    ) {
        if count < PREFETCH_FROM || session.function.is_none() {
            return;
        }
        let mut hashes = [None; AHEAD];
        for (command, slot) in self.commands[..count].iter_mut().zip(&mut hashes) {
            let args = command.parsed.args(&input[command.at..]);
            command.row = engine.row(session, args);
            let object = command.row.and_then(|row| engine.first_key(row, args));
            if let (Some(object), Some(function)) = (object, &session.function) {
                let hash = miso_store::hash(object);
                *slot = Some(hash);
                function.prefetch_bucket(hash);
            }
        }
        if let Some(function) = &session.function {
            hashes.into_iter().flatten().for_each(|hash| function.prefetch_object(hash));
        }
    }

    /// Gives back room that one large command has taken.
    pub(super) fn trim(&mut self) {
        self.commands.iter_mut().for_each(|command| command.parsed.trim());
    }
}
