//! The socket of an HTTP connection, with TLS or without.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A socket, which carries text or ciphertext.
pub(super) enum Stream {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// A stream of text over the socket, once both sides have agreed on a session of TLS if there is to be
    /// one.
    ///
    /// # Errors
    /// If they do not agree, or the client is gone.
    pub(super) async fn new(
        socket: TcpStream,
        tls: Option<Arc<ServerConfig>>,
    ) -> io::Result<Stream> {
        Ok(match tls {
            None => Stream::Plain(socket),
            Some(tls) => Stream::Encrypted(Box::new(TlsAcceptor::from(tls).accept(socket).await?)),
        })
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Stream::Plain(socket) => Pin::new(socket).poll_read(task, into),
            Stream::Encrypted(tls) => Pin::new(tls).poll_read(task, into),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Stream::Plain(socket) => Pin::new(socket).poll_write(task, bytes),
            Stream::Encrypted(tls) => Pin::new(tls).poll_write(task, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Stream::Plain(socket) => Pin::new(socket).poll_write_vectored(task, parts),
            Stream::Encrypted(tls) => Pin::new(tls).poll_write_vectored(task, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Plain(socket) => socket.is_write_vectored(),
            Stream::Encrypted(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Stream::Plain(socket) => Pin::new(socket).poll_flush(task),
            Stream::Encrypted(tls) => Pin::new(tls).poll_flush(task),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Stream::Plain(socket) => Pin::new(socket).poll_shutdown(task),
            Stream::Encrypted(tls) => Pin::new(tls).poll_shutdown(task),
        }
    }
}
