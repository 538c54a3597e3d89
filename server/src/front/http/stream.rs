//! The socket of an HTTP connection, with TLS or without.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

/// A socket: without TLS on the left, with it on the right.
pub(super) type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// A stream of text over the socket, once both sides have agreed on a session of TLS if there is to be
/// one.
///
/// # Errors
/// If they do not agree, or the client is gone.
pub(super) async fn agree(socket: TcpStream, tls: Option<Arc<ServerConfig>>) -> io::Result<Stream> {
    Ok(match tls {
        None => Either::Left(socket),
        Some(tls) => Either::Right(Box::new(TlsAcceptor::from(tls).accept(socket).await?)),
    })
}
