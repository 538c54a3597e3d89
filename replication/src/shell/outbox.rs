//! What waits to be sent on a link. The driver puts frames in, the link's stream takes out all there
//! is as one envelope; neither waits for the other.
//!
//! Parts of syncs go after everything else, and an envelope takes at most one of them: a change waits
//! for at most one part, and a sync goes on however full the link is.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio_stream::Stream;
use tonic::Status;

/// Frames are put together into one envelope up to here.
const ENVELOPE_BYTES: usize = 256 << 10;

/// The sending end.
#[derive(Clone, Debug)]
pub(super) struct Outbox(Arc<Mutex<State>>);

/// The stream that tonic sends.
#[derive(Debug)]
pub(super) struct Outgoing(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    frames: VecDeque<Bytes>,
    sync_parts: VecDeque<Bytes>,
    bytes: usize,
    bytes_max: usize,
    closed: bool,
    waker: Option<Waker>,
}

/// More waits than may.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

pub(super) fn outbox(bytes_max: usize) -> (Outbox, Outgoing) {
    let state = Arc::new(Mutex::new(State {
        frames: VecDeque::new(),
        sync_parts: VecDeque::new(),
        bytes: 0,
        bytes_max,
        closed: false,
        waker: None,
    }));
    (Outbox(Arc::clone(&state)), Outgoing(state))
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.sync_parts.is_empty()
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
        self.bytes = 0;
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

    /// Whether all that was put in has been taken out.
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }
}

impl Stream for Outgoing {
    type Item = Result<Vec<Bytes>, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut state = lock(&self.0);
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
        let mut bytes = 0;
        let fits = |frame: &&Bytes| {
            bytes += frame.len();
            bytes <= ENVELOPE_BYTES
        };
        let count = state.frames.iter().take_while(fits).count().max(1).min(state.frames.len());
        let part = state.sync_parts.pop_front();
        let envelope: Vec<Bytes> = state.frames.drain(..count).chain(part).collect();
        state.bytes -= envelope.iter().map(Bytes::len).sum::<usize>();
        Poll::Ready(Some(Ok(envelope)))
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        lock(&self.0).end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(outgoing: &mut Outgoing) -> Poll<Option<usize>> {
        let mut cx = Context::from_waker(Waker::noop());
        let next = Pin::new(outgoing).poll_next(&mut cx);
        next.map(|item| item.map(|frames| frames.expect("it has no errors").len()))
    }

    #[test]
    fn all_that_waits_goes_as_one_up_to_a_bound() {
        let (outbox, mut outgoing) = outbox(1 << 20);
        assert_eq!(next(&mut outgoing), Poll::Pending);
        for _ in 0..3 {
            outbox.push(Bytes::from(vec![0; 100 << 10])).expect("there is room");
        }
        assert_eq!(next(&mut outgoing), Poll::Ready(Some(2)));
        assert_eq!(next(&mut outgoing), Poll::Ready(Some(1)));
        assert!(outbox.is_empty());
        outbox.close();
        assert_eq!(next(&mut outgoing), Poll::Ready(None));
    }

    #[test]
    fn parts_of_syncs_go_last_one_at_a_time() {
        let (outbox, mut outgoing) = outbox(1 << 20);
        let frame = |length: usize| Bytes::from(vec![0; length]);
        for _ in 0..3 {
            outbox.push_sync_part(frame(100)).expect("there is room");
        }
        outbox.push(frame(1)).expect("there is room");
        let mut take = || {
            let mut cx = Context::from_waker(Waker::noop());
            match Pin::new(&mut outgoing).poll_next(&mut cx) {
                Poll::Ready(Some(Ok(frames))) => frames.iter().map(Bytes::len).collect(),
                _ => Vec::new(),
            }
        };
        assert_eq!(take(), [1, 100]);
        assert_eq!(take(), [100]);
        assert!(!outbox.is_empty());
        outbox.push(frame(2)).expect("there is room");
        assert_eq!(take(), [2, 100]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn it_is_bounded() {
        let (outbox, outgoing) = outbox(1000);
        assert_eq!(outbox.push(Bytes::from(vec![0; 2000])), Ok(()), "one alone always fits");
        assert_eq!(outbox.push(Bytes::from(vec![0; 1])), Err(Full));
        drop(outgoing);
        assert_eq!(outbox.push(Bytes::from(vec![0; 1])), Ok(()), "its stream is gone");
        assert!(outbox.is_empty());
    }
}
