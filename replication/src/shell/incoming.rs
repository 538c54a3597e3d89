//! Connections that peers open. Their number is bounded, and each must become a link soon: anything can
//! connect and say nothing.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Sleep;
use tokio_stream::Stream;
use tonic::transport::server::Connected;

use super::encryption::{Encryption, Known};
use super::flow::{Flow, Metered};
use super::wire::{Accepting, Refused, Wire};

/// The most connections, more than there can be nodes in a table.
const CONNECTIONS_MAX: usize = 8192;
/// One descriptor in this many is a peer's, at most: the rest is for clients and files.
const DESCRIPTORS_SHARE: u64 = 4;
/// The most connections from one address.
const ADDRESS_MAX: usize = 2048;
/// A connection that has no link for this long is closed.
const BECOME_A_LINK: Duration = Duration::from_secs(5);
/// After an error of the listener, such as no more descriptors, it rests.
const REST: Duration = Duration::from_millis(100);

/// How many connections are open from each address.
type Open = Arc<Mutex<BTreeMap<IpAddr, usize>>>;

/// The stream of connections.
pub(super) struct Incoming {
    listener: TcpListener,
    encryption: Encryption,
    refused: mpsc::Sender<Refused>,
    open: Open,
    most: usize,
    rest: Option<Pin<Box<Sleep>>>,
}

/// A connection.
pub(super) struct Connection {
    socket: Accepting,
    flow: Flow,
    open: Open,
    from: IpAddr,
    links: Links,
    /// When it is looked at whether it has links.
    deadline: Pin<Box<Sleep>>,
}

/// What a request on a connection gets of it.
#[derive(Clone, Debug)]
pub(super) struct Info {
    /// The connection's links.
    pub(super) links: Links,
    /// What it carries.
    pub(super) flow: Flow,
    /// What is known of its session of TLS.
    pub(super) known: Known,
}

/// How many links a connection has.
#[derive(Clone, Debug, Default)]
pub(super) struct Links(Arc<AtomicUsize>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct HeldLink(Links);

impl Links {
    pub(super) fn hold(&self) -> HeldLink {
        self.0.fetch_add(1, Ordering::Relaxed);
        HeldLink(self.clone())
    }
}

impl Drop for HeldLink {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Incoming {
    /// Connections of a listener; of those that are not let in, `refused` is told why.
    pub(super) fn new(
        listener: TcpListener,
        encryption: Encryption,
        refused: mpsc::Sender<Refused>,
    ) -> Self {
        let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let most = descriptors.map_or(CONNECTIONS_MAX, |descriptors| {
            usize::try_from(descriptors / DESCRIPTORS_SHARE).unwrap_or(CONNECTIONS_MAX)
        });
        let most = most.min(CONNECTIONS_MAX);
        Self { listener, encryption, refused, open: Arc::default(), most, rest: None }
    }

    /// Counts a connection, if there is room for it.
    fn admit(&self, from: IpAddr) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let total: usize = open.values().sum();
        let of_address = open.get(&from).copied().unwrap_or(0);
        if total >= self.most || of_address >= ADDRESS_MAX {
            return false;
        }
        open.insert(from, of_address + 1);
        true
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
                Ok((socket, from)) => {
                    let from = from.ip();
                    if !self.admit(from) {
                        continue;
                    }
                    match Metered::new(socket, Flow::default()) {
                        Ok(socket) => return Poll::Ready(Some(Ok(self.connection(socket, from)))),
                        Err(error) => {
                            release(&self.open, from);
                            tracing::debug!(%error, "a connection ended at once");
                        }
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a peer");
                    self.rest = Some(Box::pin(tokio::time::sleep(REST)));
                }
            }
        }
    }
}

impl Incoming {
    fn connection(&self, socket: Metered, from: IpAddr) -> Connection {
        let deadline = Box::pin(tokio::time::sleep(BECOME_A_LINK));
        let flow = socket.flow().clone();
        let open = Arc::clone(&self.open);
        let socket = Accepting::new(socket, self.encryption.get(), from, self.refused.clone());
        Connection { socket, flow, open, from, links: Links::default(), deadline }
    }
}

fn release(open: &Open, from: IpAddr) {
    let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(count) = open.get_mut(&from) {
        *count -= 1;
        if *count == 0 {
            open.remove(&from);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        release(&self.open, self.from);
    }
}

impl Connected for Connection {
    type ConnectInfo = Info;

    fn connect_info(&self) -> Info {
        let known = Known::clone(self.socket.known());
        Info { links: self.links.clone(), flow: self.flow.clone(), known }
    }
}

impl Connection {
    /// Ends a connection that has no link in time.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.deadline.as_mut().poll(cx).is_ready() {
            if self.links.0.load(Ordering::Relaxed) == 0 {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let next = tokio::time::Instant::now() + BECOME_A_LINK;
            self.deadline.as_mut().reset(next);
        }
        Ok(())
    }

    /// The connection for writing, once both ends agree on what they speak.
    fn poll_to(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Pin<&mut Wire>>> {
        if !self.socket.is_open() {
            // HTTP/2 writes before it reads.
            self.check(cx)?;
        }
        self.socket.poll_open(cx)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        ready!(self.socket.poll_open(cx))?.poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_to(cx))?.poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_to(cx))?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_to(cx))?.poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_to(cx))?.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}
