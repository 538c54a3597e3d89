//! Messages that are long for their link, on the way in pieces: others go between them.
//!
//! What one function says keeps its order, and so does what is said about nodes: what comes after a long message
//! waits for it if both are of the same function. A part of a sync stands in no order to other messages.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use miso_protocol::chunks::{PIECE_HEAD_MAX, function_of, is_goodbye, piece};

/// A piece that would be shorter waits for the next chunk.
const PIECE_MIN: usize = 1 << 10;

/// What a message keeps its order with.
type Order = Option<Bytes>;

/// Messages in the order in which they go.
#[derive(Debug, Default)]
pub(super) struct Long {
    /// Whether the peer takes pieces.
    taken: bool,
    frames: VecDeque<(Bytes, Order)>,
    /// Whether a piece of the first is out.
    begun: bool,
    /// How many of the messages are of each function; no name stands for nodes.
    of: HashMap<Bytes, usize>,
    /// Whether nothing of them was in the last chunk.
    pub(super) waited: bool,
}

impl Long {
    /// The peer takes pieces.
    pub(super) fn allow(&mut self) {
        self.taken = true;
    }

    pub(super) fn is_allowed(&self) -> bool {
        self.taken
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(super) fn clear(&mut self) {
        *self = Self { taken: self.taken, ..Self::default() };
    }

    /// Whether a message must not overtake these.
    pub(super) fn holds_back(&self, frame: &Bytes) -> bool {
        !self.is_empty() && (self.of.contains_key(function_of(frame)) || is_goodbye(frame))
    }

    pub(super) fn push(&mut self, frame: Bytes) {
        let function = Bytes::copy_from_slice(function_of(&frame));
        *self.of.entry(function.clone()).or_default() += 1;
        self.frames.push_back((frame, Some(function)));
    }

    /// A part of a sync.
    pub(super) fn push_sync_part(&mut self, frame: Bytes) {
        self.frames.push_back((frame, None));
    }

    /// Moves what fits into `room` to a chunk. Answers how many bytes that takes there, and how many of them are of
    /// messages.
    pub(super) fn take(&mut self, room: usize, chunk: &mut Vec<Bytes>) -> (usize, usize) {
        let (mut left, mut moved) = (room, 0);
        while let Some((frame, _)) = self.frames.front_mut() {
            let mut is_done = true;
            if !self.begun && frame.len() <= left {
                left -= frame.len();
                moved += frame.len();
                chunk.push(std::mem::take(frame));
            } else if left >= PIECE_MIN {
                let bytes = frame.split_to(frame.len().min(left - PIECE_HEAD_MAX));
                is_done = frame.is_empty();
                let head = piece(bytes.len(), is_done);
                left -= head.len() + bytes.len();
                moved += bytes.len();
                chunk.extend([head, bytes]);
            } else {
                break;
            }
            self.begun = !is_done;
            if is_done {
                self.drop_first();
            }
        }
        self.waited = left == room;
        (room - left, moved)
    }

    fn drop_first(&mut self) {
        let Some((_, Some(function))) = self.frames.pop_front() else { return };
        if let Some(count) = self.of.get_mut(&function) {
            *count -= 1;
            if *count == 0 {
                self.of.remove(&function);
            }
        }
    }
}
