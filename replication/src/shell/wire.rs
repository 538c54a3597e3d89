//! A connection of a peer, with TLS or without. What a connection that comes in speaks is known by its first byte.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{Accept, TlsAcceptor, TlsStream};

use super::encryption::{self, Ends, Known};
use super::flow::Metered;

/// The first byte of a session of TLS.
const HANDSHAKE: u8 = 0x16;
/// A fatal alert of TLS 1.2, as all versions read it: protocol_version. It tells the other end what is spoken here.
const ALERT: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 70];

/// A connection on which both ends agree.
pub(super) enum Wire {
    Plain(Metered),
    Encrypted(Box<TlsStream<Metered>>),
}

/// A connection that has come in.
pub(super) struct Accepting {
    stage: Stage,
    ends: Option<Ends>,
    known: Known,
    from: IpAddr,
}

enum Stage {
    /// Nothing has come yet.
    Fresh(Metered),
    Agreeing(Box<Accept<Metered>>),
    Open(Wire),
    /// The ends do not agree.
    Over,
}

/// Why a connection was refused, for the log.
#[derive(Debug)]
pub(super) struct Refused(pub(super) String);

impl Accepting {
    pub(super) fn new(socket: Metered, ends: Option<Ends>, from: IpAddr) -> Self {
        Self { stage: Stage::Fresh(socket), ends, known: Known::default(), from }
    }

    /// What is known of its session of TLS, if it has one, once a message came.
    pub(super) fn known(&self) -> &Known {
        &self.known
    }

    /// The connection, once the ends agree. The inner error is this node's own decision, or TLS's.
    pub(super) fn poll_open(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Result<&mut Wire, Refused>>> {
        loop {
            match std::mem::replace(&mut self.stage, Stage::Over) {
                Stage::Open(wire) => {
                    self.stage = Stage::Open(wire);
                    let Stage::Open(wire) = &mut self.stage else { unreachable!("it is open") };
                    return Poll::Ready(Ok(Ok(wire)));
                }
                Stage::Fresh(socket) => {
                    let first = match socket.poll_first(cx) {
                        Poll::Ready(first) => first?,
                        Poll::Pending => {
                            self.stage = Stage::Fresh(socket);
                            return Poll::Pending;
                        }
                    };
                    match self.begin(socket, first) {
                        Ok(stage) => self.stage = stage,
                        Err(refused) => return Poll::Ready(Ok(Err(refused))),
                    }
                }
                Stage::Agreeing(mut accept) => match Pin::new(&mut accept).poll(cx) {
                    Poll::Pending => {
                        self.stage = Stage::Agreeing(accept);
                        return Poll::Pending;
                    }
                    Poll::Ready(Err(error)) => {
                        let reason =
                            format!("a node at {} does not agree on TLS: {error}", self.from);
                        return Poll::Ready(Ok(Err(Refused(reason))));
                    }
                    Poll::Ready(Ok(stream)) => {
                        if let Some(ends) = &self.ends {
                            let session = encryption::accepted(stream.get_ref().1, ends)?;
                            let _ = self.known.set(session);
                        }
                        self.stage = Stage::Open(Wire::Encrypted(Box::new(stream.into())));
                    }
                },
                Stage::Over => return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            }
        }
    }

    /// What follows the first byte; none: the other end has closed the connection.
    fn begin(&self, socket: Metered, first: Option<u8>) -> Result<Stage, Refused> {
        let from = self.from;
        match (&self.ends, first) {
            (Some(ends), Some(HANDSHAKE)) => {
                let accept = TlsAcceptor::from(ends.server.clone()).accept(socket);
                Ok(Stage::Agreeing(Box::new(accept)))
            }
            (None, Some(HANDSHAKE)) => Err(Refused(format!(
                "a node at {from} speaks TLS, and this one does not: set peer-tls and its certificate, or \
                 the cluster's secret, here too"
            ))),
            (Some(Ends { optional: false, .. }), Some(_)) => {
                socket.say(&ALERT);
                Err(Refused(format!(
                    "a node at {from} speaks without TLS, and peer-tls wants it: set peer-tls and its \
                     certificate, or the cluster's secret, there too"
                )))
            }
            _ => Ok(Stage::Open(Wire::Plain(socket))),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Wire::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Wire::Encrypted(tls) => Pin::new(tls).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Wire::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Wire::Encrypted(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Wire::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Wire::Encrypted(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Wire::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Wire::Encrypted(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Wire::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
            Wire::Encrypted(tls) => Pin::new(tls).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        // TLS gathers the slices into records.
        true
    }
}
