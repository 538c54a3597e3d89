//! A connection of a peer, with TLS or without. What a connection that comes in speaks is known by its first byte.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc;
use tokio_rustls::{Accept, TlsAcceptor, TlsStream};
use tokio_util::either::Either;

use super::encryption::{self, Ends, Known};
use super::flow::Metered;

/// The first byte of a session of TLS.
const HANDSHAKE: u8 = 0x16;
/// Alerts as all versions of TLS read them, which tell the other end what is spoken here: protocol_version,
/// and close_notify, since HTTP/2 looks at nothing below 9 bytes.
const ALERTS: [u8; 14] = [0x15, 3, 3, 0, 2, 2, 70, 0x15, 3, 3, 0, 2, 1, 0];

/// A connection on which both ends agree: without TLS on the left, with it on the right.
pub(super) type Wire = Either<Metered, Box<TlsStream<Metered>>>;

/// A connection that has come in.
pub(super) struct Accepting {
    stage: Stage,
    ends: Option<Ends>,
    known: Known,
    from: IpAddr,
    refused: mpsc::Sender<Refused>,
}

enum Stage {
    /// Nothing has come yet.
    Fresh(Metered),
    Agreeing(Box<Accept<Metered>>),
    Open(Wire),
    /// The other end is told that it speaks the wrong protocol. An end at once might overtake that.
    Telling(Metered),
    Over,
}

/// Why a connection was refused, for the log.
#[derive(Debug)]
pub(super) struct Refused(pub(super) String);

impl Accepting {
    /// `refused` is told why the ends do not agree, if they do not.
    pub(super) fn new(
        socket: Metered,
        ends: Option<Ends>,
        from: IpAddr,
        refused: mpsc::Sender<Refused>,
    ) -> Self {
        Self { stage: Stage::Fresh(socket), ends, known: Known::default(), from, refused }
    }

    /// What is known of its session of TLS, if it has one, once a message came.
    pub(super) fn known(&self) -> &Known {
        &self.known
    }

    /// Whether both ends have agreed.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open(_))
    }

    /// The connection, once the ends agree.
    pub(super) fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Pin<&mut Wire>>> {
        loop {
            match std::mem::replace(&mut self.stage, Stage::Over) {
                Stage::Open(wire) => {
                    self.stage = Stage::Open(wire);
                    let Stage::Open(wire) = &mut self.stage else { unreachable!("it is open") };
                    return Poll::Ready(Ok(Pin::new(wire)));
                }
                Stage::Fresh(socket) => {
                    let first = match socket.poll_first(cx) {
                        Poll::Ready(first) => first?,
                        Poll::Pending => {
                            self.stage = Stage::Fresh(socket);
                            return Poll::Pending;
                        }
                    };
                    self.stage = self.begin(socket, first);
                }
                Stage::Agreeing(mut accept) => match Pin::new(&mut accept).poll(cx) {
                    Poll::Pending => {
                        self.stage = Stage::Agreeing(accept);
                        return Poll::Pending;
                    }
                    Poll::Ready(Err(error)) => {
                        let reason =
                            format!("a node at {} does not agree on TLS: {error}", self.from);
                        self.say_refused(reason);
                        return Poll::Ready(Err(error));
                    }
                    Poll::Ready(Ok(stream)) => {
                        if let Some(ends) = &self.ends {
                            let session = encryption::accepted(stream.get_ref().1, ends)?;
                            let _ = self.known.set(session);
                        }
                        self.stage = Stage::Open(Wire::Right(Box::new(stream.into())));
                    }
                },
                Stage::Telling(mut socket) => {
                    let mut rest = [0; 4096];
                    let mut rest = ReadBuf::new(&mut rest);
                    let read = Pin::new(&mut socket).poll_read(cx, &mut rest);
                    if read.is_pending() || !rest.filled().is_empty() {
                        self.stage = Stage::Telling(socket);
                    }
                    ready!(read)?;
                }
                Stage::Over => return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            }
        }
    }

    /// What follows the first byte; none: the other end has closed the connection.
    fn begin(&self, socket: Metered, first: Option<u8>) -> Stage {
        let from = self.from;
        match (&self.ends, first) {
            (Some(ends), Some(HANDSHAKE)) => {
                let accept = TlsAcceptor::from(ends.server.clone()).accept(socket);
                Stage::Agreeing(Box::new(accept))
            }
            (None, Some(HANDSHAKE)) => {
                self.say_refused(format!(
                    "a node at {from} speaks TLS, and this one does not: set peer-tls and its certificate, \
                     or the cluster's secret, here too"
                ));
                Stage::Over
            }
            (Some(Ends { optional: false, .. }), Some(_)) => {
                self.say_refused(format!(
                    "a node at {from} speaks without TLS, and peer-tls wants it: set peer-tls and its \
                     certificate, or the cluster's secret, there too"
                ));
                socket.say(&ALERTS);
                Stage::Telling(socket)
            }
            _ => Stage::Open(Wire::Left(socket)),
        }
    }

    fn say_refused(&self, reason: String) {
        // The log has room for some of many.
        let _ = self.refused.try_send(Refused(reason));
    }
}
