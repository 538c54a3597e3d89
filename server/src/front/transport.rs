//! A client's socket, with TLS or without.
//!
//! TLS is between the socket and its readers: what is read is decrypted into the worker's buffer, what is
//! written is encrypted and sent as far as the socket takes it. What the socket does not take stays in the
//! session of TLS, which is bounded; [`Transport::has_unsent`] says so, and [`Transport::poll_sent`] sends
//! the rest.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::{ServerConfig, ServerConnection};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

/// The most bytes that a session of TLS holds for a socket that takes none.
const PENDING: usize = 64 << 10;

/// A socket and the session of TLS on it, between two workers.
#[derive(Debug)]
pub(crate) struct Parked {
    pub(crate) socket: std::net::TcpStream,
    pub(crate) tls: Option<Box<ServerConnection>>,
}

/// A new connection of HTTP, on its way to a worker.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) socket: std::net::TcpStream,
    /// What its session of TLS begins with; none: it speaks without.
    pub(super) tls: Option<Arc<ServerConfig>>,
}

/// A socket that a worker serves.
pub(super) struct Transport {
    socket: TcpStream,
    tls: Option<Box<ServerConnection>>,
}

/// Reads and writes a socket as far as that needs no waiting.
struct AtOnce<'a>(&'a TcpStream);

impl Read for AtOnce<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for AtOnce<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport {
    /// Registers a socket with this thread's runtime.
    ///
    /// # Errors
    /// If the runtime cannot watch it.
    pub(super) fn new(parked: Parked) -> io::Result<Transport> {
        let Parked { socket, mut tls } = parked;
        if let Some(tls) = &mut tls {
            tls.set_buffer_limit(Some(PENDING));
        }
        Ok(Transport { socket: TcpStream::from_std(socket)?, tls })
    }

    /// Takes the socket from this thread's runtime.
    ///
    /// # Errors
    /// If the runtime does not let it go.
    pub(super) fn park(self) -> io::Result<Parked> {
        Ok(Parked { socket: self.socket.into_std()?, tls: self.tls })
    }

    /// Waits until both sides of a session of TLS have agreed on it; without TLS there is nothing to wait
    /// for.
    ///
    /// # Errors
    /// If they do not agree, or the client is gone.
    pub(super) fn poll_agreed(&mut self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match &self.tls {
                Some(tls) if tls.is_handshaking() || tls.wants_write() => {}
                _ => return Poll::Ready(Ok(())),
            }
            ready!(self.poll_sent(task))?;
            if self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
                && ready!(self.poll_take_in(task))? == 0
            {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Reads what is there into `into`; nothing at the end of the stream.
    pub(super) fn poll_read(
        &mut self,
        task: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(tls) = &mut self.tls else {
            return Pin::new(&mut self.socket).poll_read(task, into);
        };
        // As without TLS: as much as there is, up to the buffer's end.
        match tls.reader().read(into.initialize_unfilled()) {
            Ok(read) => into.advance(read),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return self.poll_decrypt(task, into);
            }
            Err(error) => return Poll::Ready(end(error)),
        }
        Poll::Ready(Ok(()))
    }

    /// Takes ciphertext from the socket until some of it becomes text.
    fn poll_decrypt(
        &mut self,
        task: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let taken = ready!(self.poll_take_in(task))?;
            let Some(tls) = &mut self.tls else { return Poll::Ready(Ok(())) };
            match tls.reader().read(into.initialize_unfilled()) {
                Ok(read) => {
                    into.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if taken == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
                Err(error) => return Poll::Ready(end(error)),
            }
        }
    }

    /// Takes ciphertext from the socket, and answers what the protocol asks for. Returns how many bytes, 0
    /// at the end of the stream.
    fn poll_take_in(&mut self, task: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(tls) = &mut self.tls else { return Poll::Ready(Ok(0)) };
        loop {
            ready!(self.socket.poll_read_ready(task))?;
            match tls.read_tls(&mut AtOnce(&self.socket)) {
                Ok(taken) => {
                    let processed = tls.process_new_packets();
                    // An answer of the protocol, or the alert that says what is wrong.
                    let _ = send(tls, &self.socket);
                    return Poll::Ready(match processed {
                        Ok(_) => Ok(taken),
                        Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Reads more than a worker's buffer holds, to the end of `into`. Returns how many bytes, 0 at the end of
    /// the stream.
    pub(super) fn poll_read_large(
        &mut self,
        task: &mut Context<'_>,
        into: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        if self.tls.is_some() {
            let mut chunk = [0; 16 << 10];
            let mut chunk = ReadBuf::new(&mut chunk);
            ready!(self.poll_read(task, &mut chunk))?;
            into.extend_from_slice(chunk.filled());
            return Poll::Ready(Ok(chunk.filled().len()));
        }
        loop {
            ready!(self.socket.poll_read_ready(task))?;
            match self.socket.try_read_buf(into) {
                Ok(read) => return Poll::Ready(Ok(read)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Writes as much as is taken at once.
    pub(super) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.socket.try_write(bytes) };
        send(tls, &self.socket)?;
        let taken = tls.writer().write(bytes)?;
        match send(tls, &self.socket) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ if taken == 0 && !bytes.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(taken),
        }
    }

    /// Whether a session of TLS holds what the socket has not taken.
    pub(super) fn has_unsent(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Waits until the socket takes more.
    pub(super) fn poll_write_ready(&self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_write_ready(task)
    }

    /// Sends what a session of TLS holds.
    pub(super) fn poll_sent(&mut self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(tls) = &mut self.tls else { return Poll::Ready(Ok(())) };
        while tls.wants_write() {
            match send(tls, &self.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.socket.poll_write_ready(task))?;
                }
                sent => sent?,
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Sends what a session holds, until the socket takes no more (an error of the kind `WouldBlock`).
fn send(tls: &mut ServerConnection, socket: &TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(&mut AtOnce(socket))?;
    }
    Ok(())
}

/// The end of a stream that was not announced is an end as without TLS: each command says its own length.
fn end(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Ok(()),
        _ => Err(error),
    }
}
