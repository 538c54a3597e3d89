//! What waits to be sent on a link. The driver puts frames in, the link's stream takes out all there
//! is as one envelope; neither waits for the other.

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
    bytes: usize,
    bytes_max: usize,
    closed: bool,
    waker: Option<Waker>,
}

/// More waits than may.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

pub(super) fn outbox(bytes_max: usize) -> (Outbox, Outgoing) {
    let state = State { frames: VecDeque::new(), bytes: 0, bytes_max, closed: false, waker: None };
    let state = Arc::new(Mutex::new(state));
    (Outbox(Arc::clone(&state)), Outgoing(state))
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Outbox {
    /// Puts a frame behind the others. What is put into a closed one is gone.
    pub(super) fn push(&self, frame: Bytes) -> Result<(), Full> {
        let mut state = lock(&self.0);
        if state.closed {
            return Ok(());
        }
        if state.bytes + frame.len() > state.bytes_max && !state.frames.is_empty() {
            return Err(Full);
        }
        state.bytes += frame.len();
        state.frames.push_back(frame);
        state.wake();
        Ok(())
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
        state.closed = true;
        state.frames = VecDeque::new();
        state.bytes = 0;
        state.wake();
    }

    /// Whether all that was put in has been taken out.
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.0).frames.is_empty()
    }
}

impl Stream for Outgoing {
    type Item = Result<Vec<Bytes>, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut state = lock(&self.0);
        if state.frames.is_empty() {
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
        let count = state.frames.iter().take_while(fits).count().max(1);
        let envelope: Vec<Bytes> = state.frames.drain(..count).collect();
        state.bytes -= envelope.iter().map(Bytes::len).sum::<usize>();
        Poll::Ready(Some(Ok(envelope)))
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        // Nobody will take anything out any more.
        let mut state = lock(&self.0);
        state.closed = true;
        state.frames = VecDeque::new();
        state.bytes = 0;
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
    fn it_is_bounded() {
        let (outbox, outgoing) = outbox(1000);
        assert_eq!(outbox.push(Bytes::from(vec![0; 2000])), Ok(()), "one alone always fits");
        assert_eq!(outbox.push(Bytes::from(vec![0; 1])), Err(Full));
        drop(outgoing);
        assert_eq!(outbox.push(Bytes::from(vec![0; 1])), Ok(()), "nobody takes it any more");
        assert!(outbox.is_empty());
    }
}
