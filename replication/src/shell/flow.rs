//! What a connection carries: how much may be handed to it now, and what came from it first.
//!
//! HTTP/2 and the kernel would take megabytes at once. On a slow link that is a minute in which nothing
//! else gets through, a heartbeat neither. So no more waits below the outbox than the connection carried
//! in the last second.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// However slow a connection is, this much may wait in it.
const LEAST: usize = 16 << 10;
/// However fast it is, no more.
const MOST: usize = 1 << 20;
/// What the kernel takes beyond what it has sent.
const UNSENT: u32 = 16 << 10;
const SECOND: Duration = Duration::from_secs(1);

/// Shared by a connection and the stream on it.
#[derive(Clone, Debug, Default)]
pub(super) struct Flow(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Bytes handed to the connection that the kernel has not taken yet.
    waiting: usize,
    /// What was carried in this second, and in the one before.
    carried: usize,
    before: usize,
    since: Option<Instant>,
    waker: Option<Waker>,
    /// The first byte that came, and how many have come.
    first: Option<u8>,
    came: u64,
    /// Whether there is a connection.
    connected: bool,
}

impl State {
    fn turn(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let passed = now.duration_since(since);
        if passed >= SECOND {
            self.before = if passed < 2 * SECOND { self.carried } else { 0 };
            self.carried = 0;
            self.since = Some(now);
        }
    }

    fn room(&self) -> Option<usize> {
        let most = self.carried.max(self.before).clamp(LEAST, MOST);
        // Some bytes alone are not worth a message.
        most.checked_sub(self.waiting).filter(|room| *room >= LEAST / 2)
    }
}

impl Flow {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes may be handed to the connection; if none, the task is woken when some may.
    pub(super) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<usize> {
        let mut state = self.lock();
        state.turn(Instant::now());
        if let Some(room) = state.room() {
            return Poll::Ready(room);
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Bytes are handed to the connection.
    pub(super) fn handed(&self, bytes: usize) {
        self.lock().waiting += bytes;
    }

    /// The kernel has taken bytes.
    pub(super) fn wrote(&self, bytes: usize) {
        let mut state = self.lock();
        state.turn(Instant::now());
        state.carried += bytes;
        // What HTTP/2 adds counts too: a little less waits than is thought.
        state.waiting = state.waiting.saturating_sub(bytes);
        if state.room().is_some()
            && let Some(waker) = state.waker.take()
        {
            waker.wake();
        }
    }

    fn came(&self, bytes: &[u8]) {
        let Some(byte) = bytes.first() else { return };
        let mut state = self.lock();
        state.first.get_or_insert(*byte);
        state.came += bytes.len() as u64;
    }

    /// How many bytes have come so far.
    pub(super) fn received(&self) -> u64 {
        self.lock().came
    }

    /// Whether something listens at the other end.
    pub(super) fn is_connected(&self) -> bool {
        self.lock().connected
    }

    /// Whether TLS answers at the other end.
    pub(super) fn speaks_tls(&self) -> bool {
        self.stranger() == Some("TLS")
    }

    /// What answers at the other end, if it does not speak HTTP/2.
    pub(super) fn stranger(&self) -> Option<&'static str> {
        match self.lock().first? {
            b'-' | b'+' | b'*' | b'$' | b'%' => Some("RESP"),
            b'H' => Some("HTTP/1"),
            0x15 | 0x16 => Some("TLS"),
            _ => None,
        }
    }
}

/// A socket that tells its flow what it carries.
#[derive(Debug)]
pub(super) struct Metered {
    socket: TcpStream,
    flow: Flow,
}

impl Metered {
    /// # Errors
    /// If the socket is closed already.
    pub(super) fn new(socket: TcpStream, flow: Flow) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        // A kernel that does not know this keeps more; no harm.
        #[cfg(target_os = "linux")]
        let _ = socket2::SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT);
        flow.lock().connected = true;
        Ok(Self { socket, flow })
    }

    /// The first byte that comes, which is read again after this; none at the end of the stream.
    pub(super) fn poll_first(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<u8>>> {
        let mut byte = [0];
        let mut into = ReadBuf::new(&mut byte);
        ready!(self.socket.poll_peek(cx, &mut into))?;
        Poll::Ready(Ok(into.filled().first().copied()))
    }

    /// Says something to an end that is refused, as far as that needs no waiting.
    pub(super) fn say(&self, bytes: &[u8]) {
        let _ = self.socket.try_write(bytes);
    }

    pub(super) fn flow(&self) -> &Flow {
        &self.flow
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(cx, buffer);
        self.flow.came(&buffer.filled()[before..]);
        read
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        if let Poll::Ready(Ok(bytes)) = written {
            self.flow.wrote(bytes);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        if let Poll::Ready(Ok(bytes)) = written {
            self.flow.wrote(bytes);
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_room(flow: &Flow) -> bool {
        flow.poll_room(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn no_more_waits_than_was_carried_in_a_second() {
        let flow = Flow::default();
        flow.handed(LEAST);
        assert!(!has_room(&flow));
        flow.wrote(LEAST);
        assert!(has_room(&flow), "it was taken");
        flow.wrote(10 * LEAST);
        flow.handed(10 * LEAST);
        assert!(has_room(&flow), "it carried more within a second");
        flow.handed(2 * LEAST);
        assert!(!has_room(&flow));
        flow.wrote(100 << 20);
        flow.handed(MOST);
        assert!(!has_room(&flow), "there is a bound for fast ones too");
    }

    #[test]
    fn what_is_no_peer_is_told_by_its_first_byte() {
        for (answer, speaks) in [
            (&b"-ERR unknown command"[..], Some("RESP")),
            (b"HTTP/1.1 400 Bad Request", Some("HTTP/1")),
            (&[0x15, 3, 1], Some("TLS")),
            (&[0, 0, 6, 4], None),
        ] {
            let flow = Flow::default();
            assert_eq!(flow.stranger(), None);
            flow.came(answer);
            flow.came(b"-later");
            assert_eq!(flow.stranger(), speaks);
        }
    }
}
