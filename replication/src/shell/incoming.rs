//! Connections that peers open. Their number is bounded, and each must become a link soon: anything can
//! connect and say nothing.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Sleep;
use tokio_stream::Stream;
use tonic::transport::server::Connected;

/// The most connections, more than there can be nodes in a table.
const CONNECTIONS_MAX: usize = 8192;
/// A connection that is no link by then is closed.
const BECOME_A_LINK: Duration = Duration::from_secs(5);
/// After an error of the listener, such as no more descriptors, it rests.
const REST: Duration = Duration::from_millis(100);

/// The stream of connections.
pub(super) struct Incoming {
    listener: TcpListener,
    open: Arc<AtomicUsize>,
    rest: Option<Pin<Box<Sleep>>>,
}

/// A connection.
pub(super) struct Connection {
    socket: TcpStream,
    open: Arc<AtomicUsize>,
    used: Used,
    /// Until it is used.
    deadline: Option<Pin<Box<Sleep>>>,
}

/// Set once a connection has a link.
#[derive(Clone, Debug, Default)]
pub(super) struct Used(Arc<AtomicBool>);

impl Used {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Incoming {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self { listener, open: Arc::default(), rest: None }
    }
}

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(rest) = &mut self.rest {
                ready!(rest.as_mut().poll(cx));
                self.rest = None;
            }
            match ready!(self.listener.poll_accept(cx)) {
                Ok(_) if self.open.load(Ordering::Relaxed) >= CONNECTIONS_MAX => {}
                Ok((socket, _)) => {
                    if let Err(error) = socket.set_nodelay(true) {
                        tracing::debug!(%error, "a connection ended at once");
                        continue;
                    }
                    self.open.fetch_add(1, Ordering::Relaxed);
                    return Poll::Ready(Some(Ok(Connection {
                        socket,
                        open: Arc::clone(&self.open),
                        used: Used::default(),
                        deadline: Some(Box::pin(tokio::time::sleep(BECOME_A_LINK))),
                    })));
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a peer");
                    self.rest = Some(Box::pin(tokio::time::sleep(REST)));
                }
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connected for Connection {
    type ConnectInfo = Used;

    fn connect_info(&self) -> Used {
        self.used.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(deadline) = &mut self.deadline {
            // Once it is used the deadline passes without effect; until then it wakes the reader.
            let passed = deadline.as_mut().poll(cx).is_ready();
            if self.used.0.load(Ordering::Relaxed) {
                self.deadline = None;
            } else if passed {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
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
        Pin::new(&mut self.socket).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}
