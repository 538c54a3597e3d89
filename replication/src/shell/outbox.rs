//! What waits to be sent on a link. The driver puts frames in, the link's stream takes out all there
//! is in chunks, as fast as the connection carries it; neither waits for the other.
//!
//! Parts of syncs go after everything else, and a chunk takes at most one of them: a change waits
//! for at most one part, and a sync goes on however full the link is.
//!
//! What does not fit into a chunk goes in pieces if the peer takes them, and half of each chunk is free for what is
//! short ([`Long`]).

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use miso_protocol::chunks::CHUNK_MAX;
use tokio_stream::Stream;
use tonic::Status;

use super::flow::Flow;
use super::long::Long;

/// The sending end.
#[derive(Clone, Debug)]
pub(super) struct Outbox(Arc<Mutex<State>>);

/// The stream of chunks that tonic sends.
#[derive(Debug)]
pub(super) struct Outgoing {
    state: Arc<Mutex<State>>,
    flow: Flow,
}

#[derive(Debug)]
struct State {
    frames: VecDeque<Bytes>,
    sync_parts: VecDeque<Bytes>,
    /// The rest of a frame of which a part is out: it goes before all others.
    rest: Bytes,
    /// What goes in pieces.
    long: Long,
    /// Of all messages, without what pieces add.
    bytes: usize,
    bytes_max: usize,
    closed: bool,
    waker: Option<Waker>,
}

/// More waits than may.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

/// An outbox of `bytes_max` bytes, and the stream that empties it as fast as `flow` has room.
pub(super) fn outbox(bytes_max: usize, flow: Flow) -> (Outbox, Outgoing) {
    let state = Arc::new(Mutex::new(State {
        frames: VecDeque::new(),
        sync_parts: VecDeque::new(),
        rest: Bytes::new(),
        long: Long::default(),
        bytes: 0,
        bytes_max,
        closed: false,
        waker: None,
    }));
    (Outbox(Arc::clone(&state)), Outgoing { state, flow })
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn is_empty(&self) -> bool {
        self.rest.is_empty()
            && self.long.is_empty()
            && self.frames.is_empty()
            && self.sync_parts.is_empty()
    }

    fn push(&mut self, frame: Bytes, is_sync_part: bool) -> Result<(), Full> {
        if self.closed {
            return Ok(());
        }
        if self.bytes + frame.len() > self.bytes_max && !self.is_empty() {
            return Err(Full);
        }
        self.bytes += frame.len();
        let queue = if is_sync_part { &mut self.sync_parts } else { &mut self.frames };
        queue.push_back(frame);
        self.wake();
        Ok(())
    }

    /// Nothing will be taken out any more.
    fn end(&mut self) {
        self.closed = true;
        self.frames = VecDeque::new();
        self.sync_parts = VecDeque::new();
        self.rest = Bytes::new();
        self.long.clear();
        self.bytes = 0;
    }

    /// The next chunk.
    fn chunk(&mut self, room: usize) -> Vec<Bytes> {
        // What is out in part without being a piece ends so.
        if self.long.is_allowed() && self.rest.is_empty() {
            self.mixed_chunk(room)
        } else {
            self.plain_chunk(room)
        }
    }

    /// Frames that fit, and pieces of one that does not; then one part of a sync.
    fn mixed_chunk(&mut self, mut room: usize) -> Vec<Bytes> {
        let mut chunk = Vec::new();
        let is_behind = !self.long.is_empty() && self.long.waited;
        if is_behind {
            let (used, moved) = self.long.take(room / 2, &mut chunk);
            room -= used;
            self.bytes -= moved;
        }
        while room > 0
            && let Some(frame) = self.frames.front()
        {
            let must_wait = self.long.holds_back(frame);
            let fits = frame.len() <= room;
            if is_behind && !must_wait && !fits {
                break;
            }
            let Some(frame) = self.frames.pop_front() else { break };
            if must_wait || !fits {
                self.long.push(frame);
            } else {
                self.bytes -= frame.len();
                room -= frame.len();
                chunk.push(frame);
            }
        }
        if self.frames.is_empty()
            && self.long.is_empty()
            && let Some(part) = self.sync_parts.pop_front()
        {
            self.long.push_sync_part(part);
        }
        if !self.long.is_empty() {
            let (_, moved) = self.long.take(room, &mut chunk);
            self.bytes -= moved;
        }
        chunk
    }

    /// What is left of a frame, then frames, then one part of a sync.
    fn plain_chunk(&mut self, mut room: usize) -> Vec<Bytes> {
        let mut chunk = Vec::new();
        let mut has_part = false;
        while room > 0 {
            if self.rest.is_empty() {
                let frame = match self.frames.pop_front() {
                    Some(frame) => Some(frame),
                    None if has_part => None,
                    None => self.sync_parts.pop_front().inspect(|_| has_part = true),
                };
                let Some(frame) = frame else { break };
                self.rest = frame;
            }
            let piece = self.rest.split_to(self.rest.len().min(room));
            room -= piece.len();
            chunk.push(piece);
        }
        self.bytes -= chunk.iter().map(Bytes::len).sum::<usize>();
        chunk
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Outbox {
    /// Adds a frame. A frame that is added after the outbox was closed is dropped.
    pub(super) fn push(&self, frame: Bytes) -> Result<(), Full> {
        lock(&self.0).push(frame, false)
    }

    /// Adds a part of a sync: it goes after the other parts, and after all frames, later ones too.
    pub(super) fn push_sync_part(&self, frame: Bytes) -> Result<(), Full> {
        lock(&self.0).push(frame, true)
    }

    /// The stream ends once all is out.
    pub(super) fn close(&self) {
        let mut state = lock(&self.0);
        state.closed = true;
        state.wake();
    }

    /// The stream ends at once.
    pub(super) fn cut(&self) {
        let mut state = lock(&self.0);
        state.end();
        state.wake();
    }

    /// The peer takes messages in pieces.
    pub(super) fn allow_pieces(&self) {
        lock(&self.0).long.allow();
    }

    /// Whether all that was put in has been taken out.
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }
}

impl Stream for Outgoing {
    type Item = Result<Vec<Bytes>, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut state = lock(&self.state);
        if state.is_empty() {
            if state.closed {
                return Poll::Ready(None);
            }
            match &mut state.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        let room = ready!(self.flow.poll_room(cx));
        let chunk = state.chunk(room.min(CHUNK_MAX));
        self.flow.handed(chunk.iter().map(Bytes::len).sum());
        Poll::Ready(Some(Ok(chunk)))
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        lock(&self.state).end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use miso_protocol::chunks::{Assembler, function_of};
    use miso_protocol::peer::message::Body;
    use miso_protocol::peer::{Batch, Goodbye, Heartbeat, Hello, frame as frame_of, open};

    /// The lengths of the frames and pieces in the next chunk; none if nothing waits.
    fn next(outgoing: &mut Outgoing) -> Option<Vec<usize>> {
        let mut cx = Context::from_waker(Waker::noop());
        match Pin::new(&mut *outgoing).poll_next(&mut cx) {
            Poll::Ready(Some(Ok(chunk))) => Some(chunk.iter().map(Bytes::len).collect()),
            _ => None,
        }
    }

    fn frame(length: usize) -> Bytes {
        Bytes::from(vec![0; length])
    }

    #[test]
    fn what_waits_goes_together_in_chunks() {
        let flow = Flow::default();
        flow.wrote(1 << 20);
        let (outbox, mut outgoing) = outbox(1 << 20, flow);
        assert_eq!(next(&mut outgoing), None);
        for length in [10, 20, CHUNK_MAX, 5] {
            outbox.push(frame(length)).expect("there is room");
        }
        assert_eq!(next(&mut outgoing), Some(vec![10, 20, CHUNK_MAX - 30]));
        assert_eq!(next(&mut outgoing), Some(vec![30, 5]));
        assert!(outbox.is_empty());
        outbox.close();
        let end = Pin::new(&mut outgoing).poll_next(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(end, Poll::Ready(None)));
    }

    #[test]
    fn a_slow_connection_is_handed_little_at_a_time() {
        let flow = Flow::default();
        let (outbox, mut outgoing) = outbox(1 << 20, flow.clone());
        outbox.push(frame(40_000)).expect("there is room");
        let first = next(&mut outgoing).expect("it is handed something");
        assert!(first[0] < 20_000, "{first:?}");
        assert_eq!(next(&mut outgoing), None, "that has not been carried yet");
        flow.wrote(first[0]);
        assert!(next(&mut outgoing).is_some());
    }

    #[test]
    fn parts_of_syncs_go_last_one_at_a_time() {
        let (outbox, mut outgoing) = outbox(1 << 20, Flow::default());
        for _ in 0..3 {
            outbox.push_sync_part(frame(100)).expect("there is room");
        }
        outbox.push(frame(1)).expect("there is room");
        assert_eq!(next(&mut outgoing), Some(vec![1, 100]));
        assert_eq!(next(&mut outgoing), Some(vec![100]));
        assert!(!outbox.is_empty());
        outbox.push(frame(2)).expect("there is room");
        assert_eq!(next(&mut outgoing), Some(vec![2, 100]));
        assert!(outbox.is_empty());
    }

    fn of(function: &'static str, length: usize) -> Bytes {
        frame_of(Body::Batch(Batch {
            function: function.into(),
            changes: vec![7; length].into(),
            ..Batch::default()
        }))
    }

    /// What has come by the next chunk: the functions of whole messages, `.` for one about nodes.
    fn came(
        outgoing: &mut Outgoing,
        flow: &Flow,
        assembler: &mut Assembler,
    ) -> Option<Vec<String>> {
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Some(Ok(chunk))) = Pin::new(outgoing).poll_next(&mut cx) else {
            return None;
        };
        let chunk = chunk.concat();
        flow.wrote(chunk.len());
        let mut messages = assembler.push(chunk.into());
        let mut came = Vec::new();
        while !messages.is_empty() {
            let name = String::from_utf8_lossy(function_of(&messages)).into_owned();
            came.push(if name.is_empty() { ".".to_owned() } else { name });
            let mut rest = Bytes::clone(&messages);
            let known = open(messages.clone()).next().expect("a message").expect("it is sound");
            let length = frame_of(known.body.expect("it has a body")).len();
            messages = rest.split_off(length);
        }
        Some(came)
    }

    fn greeted() -> Assembler {
        let mut assembler = Assembler::default();
        assembler.push(frame_of(Body::Hello(Hello::default())));
        assembler
    }

    #[test]
    fn what_is_short_passes_what_is_long() {
        let (flow, mut assembler) = (Flow::default(), greeted());
        let (outbox, mut outgoing) = outbox(1 << 20, flow.clone());
        outbox.allow_pieces();
        let push = |frame| outbox.push(frame).expect("there is room");
        push(of("large", 100_000));
        assert_eq!(came(&mut outgoing, &flow, &mut assembler), Some(vec![]));
        push(of("large", 10));
        push(of("small", 10));
        push(frame_of(Body::Heartbeat(Heartbeat::default())));
        let second = came(&mut outgoing, &flow, &mut assembler);
        assert_eq!(second, Some(vec!["small".into(), ".".into()]));
        push(frame_of(Body::Goodbye(Goodbye::default())));
        let mut rest = Vec::new();
        while let Some(came) = came(&mut outgoing, &flow, &mut assembler) {
            rest.extend(came);
        }
        assert_eq!(rest, ["large", "large", "."], "one function in order, the last word last");
        assert!(outbox.is_empty());
        assert_eq!(lock(&outbox.0).bytes, 0);
    }

    #[test]
    fn a_change_passes_the_part_of_a_sync_that_is_under_way() {
        let (flow, mut assembler) = (Flow::default(), greeted());
        let (outbox, mut outgoing) = outbox(1 << 20, flow.clone());
        outbox.allow_pieces();
        outbox.push_sync_part(of("f", 100_000)).expect("there is room");
        assert_eq!(came(&mut outgoing, &flow, &mut assembler), Some(vec![]));
        outbox.push(of("f", 10)).expect("there is room");
        assert_eq!(came(&mut outgoing, &flow, &mut assembler), Some(vec!["f".into()]));
        assert!(!outbox.is_empty());
    }

    /// However much is short, what is long gets half of the link.
    #[test]
    fn what_is_long_goes_on() {
        let (flow, mut assembler) = (Flow::default(), greeted());
        let (outbox, mut outgoing) = outbox(10 << 20, flow.clone());
        outbox.allow_pieces();
        outbox.push(of("large", 200_000)).expect("there is room");
        let mut chunks = 0;
        loop {
            chunks += 1;
            while lock(&outbox.0).frames.len() < 100 {
                outbox.push(of("small", 1_000)).expect("there is room");
            }
            let came = came(&mut outgoing, &flow, &mut assembler).expect("there is much");
            if came.iter().any(|name| name == "large") {
                break;
            }
            assert!(chunks < 100, "it starves");
        }
    }

    #[test]
    fn a_peer_that_takes_no_pieces_gets_none() {
        let (flow, mut assembler) = (Flow::default(), greeted());
        let (outbox, mut outgoing) = outbox(1 << 20, flow.clone());
        outbox.push(of("large", 100_000)).expect("there is room");
        assert_eq!(came(&mut outgoing, &flow, &mut assembler), Some(vec![]));
        // It learns of pieces in the midst of a message: that one goes on as it began.
        outbox.allow_pieces();
        outbox.push(of("small", 10)).expect("there is room");
        let mut rest = Vec::new();
        while let Some(came) = came(&mut outgoing, &flow, &mut assembler) {
            rest.extend(came);
        }
        assert_eq!(rest, ["large", "small"]);
    }

    #[test]
    fn it_is_bounded() {
        let (outbox, outgoing) = outbox(1000, Flow::default());
        assert_eq!(outbox.push(frame(2000)), Ok(()), "one alone always fits");
        assert_eq!(outbox.push(frame(1)), Err(Full));
        drop(outgoing);
        assert_eq!(outbox.push(frame(1)), Ok(()), "its stream is gone");
        assert!(outbox.is_empty());
    }
}
