//! Links as tonic streams: `miso.peer.v1.Peer/Link`, dialed and accepted.
//!
//! The codec passes envelopes as they are: frames that the node has encoded go out, bytes that the node
//! will decode come in. Nothing that a peer sends is looked at here.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use hyper_util::rt::TokioIo;
use miso_protocol::chunks::{Assembler, CHUNK_TAKEN_MAX};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_stream::StreamExt as _;
use tonic::body::Body;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};
use tower_service::Service;

use super::encryption::{self, Encryption, Ends, Known};
use super::flow::{Flow, Metered};
use super::incoming::{HeldLink, Incoming, Info};
use super::outbox::{Outbox, Outgoing, outbox};
use super::scope::scoped;
use super::wire::{Refused, Wire};
use crate::LinkId;
use crate::overlay::Session;

const PATH: &str = "/miso.peer.v1.Peer/Link";
/// HTTP/2's windows: what may be under way unread. Enough for a gigabit over 30 ms.
const WINDOW_BYTES: u32 = 4 << 20;
/// A dial that takes longer has failed.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// An HTTP/2 ping is sent on a connection that is silent for this long.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// How long a link that is closed from here may go on sending what it has.
const LINGER: Duration = Duration::from_secs(1);
/// A peer needs one stream; a second comes while it replaces the first.
const STREAMS_MAX: u32 = 4;

/// What links tell the driver.
#[derive(Debug)]
pub(super) enum Event {
    /// A link is there.
    Opened {
        /// If it was dialed: where.
        address: Option<String>,
        /// Its session of TLS, if it has one.
        session: Option<Session>,
        link: LinkId,
        outbox: Outbox,
        /// Ends the reader.
        closing: Closing,
    },
    /// A dial has failed.
    Failed { address: String, reason: String },
    /// An envelope has come.
    Received { link: LinkId, envelope: Bytes },
    /// A link has ended.
    Closed { link: LinkId, reason: String },
    /// A node may be there.
    Found { address: String },
    /// A seed stands for this address.
    Resolved { address: String },
    /// Peers reach this node at these addresses.
    Addresses { addresses: Vec<String> },
}

/// Dropped when the link is not wanted any more.
pub(super) type Closing = tokio::sync::oneshot::Sender<Infallible>;

/// Makes links.
#[derive(Clone, Debug)]
pub(super) struct Links {
    pub(super) events: mpsc::Sender<Event>,
    pub(super) next: std::sync::Arc<std::sync::atomic::AtomicU64>,
    pub(super) queue_bytes_max: usize,
    /// How often it is looked at whether bytes have come, beginning when.
    pub(super) life: Duration,
    pub(super) began: tokio::time::Instant,
    pub(super) encryption: Encryption,
}

/// What a link is read from.
struct Opened {
    /// If it was dialed: where.
    address: Option<String>,
    outbox: Outbox,
    incoming: Streaming<Bytes>,
    flow: Flow,
    session: Option<Session>,
}

impl Links {
    fn id(&self) -> LinkId {
        LinkId(self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
    }

    /// When it is looked at whether bytes have come. That is at the same moments for all links: a node with a
    /// hundred of them wakes once for all.
    fn looks(&self) -> Interval {
        let passed = self.began.elapsed().as_nanos() / self.life.as_nanos().max(1);
        let next = self.began + self.life * u32::try_from(passed + 1).unwrap_or(u32::MAX);
        let mut looks = tokio::time::interval_at(next, self.life);
        looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        looks
    }

    /// Reads a link to its end.
    async fn read(self, opened: Opened, _held: Option<HeldLink>) {
        let Opened { address, outbox, mut incoming, flow, session } = opened;
        let mut assembler = Assembler::default();
        let mut life = self.looks();
        let (mut received, mut is_quiet, mut takes_pieces) = (0, true, false);
        let link = self.id();
        let (closing, mut closed) = tokio::sync::oneshot::channel();
        let opened = Event::Opened { address, session, link, outbox: outbox.clone(), closing };
        if self.events.send(opened).await.is_err() {
            return;
        }
        let reason = loop {
            let message = tokio::select! {
                biased;
                _ = &mut closed => {
                    // Reads on, so that what was sent is not cut off by a reset of the stream.
                    let rest = async { while let Ok(Some(_)) = incoming.message().await {} };
                    let _ = tokio::time::timeout(LINGER, rest).await;
                    outbox.cut();
                    return;
                }
                message = incoming.message() => message,
                // Any byte is a sign of life, a part of a chunk too: a slow link takes long for one.
                _ = life.tick() => {
                    let came = flow.received();
                    let is_new = std::mem::replace(&mut received, came) != came;
                    if !std::mem::replace(&mut is_quiet, true) || !is_new {
                        continue;
                    }
                    Ok(Some(Bytes::new()))
                }
            };
            match message {
                Ok(Some(chunk)) => {
                    is_quiet = chunk.is_empty();
                    let envelope = assembler.push(chunk);
                    if !takes_pieces && assembler.takes_pieces() {
                        takes_pieces = true;
                        outbox.allow_pieces();
                    }
                    if self.events.send(Event::Received { link, envelope }).await.is_err() {
                        return;
                    }
                }
                Ok(None) => break "its stream has ended".to_owned(),
                Err(status) => break brief(&status),
            }
        };
        outbox.cut();
        let _ = self.events.send(Event::Closed { link, reason }).await;
    }

    /// Dials; what comes of it is told by events.
    pub(super) async fn dial(self, address: String) {
        let ends = self.encryption.get();
        let mut dialed = self.try_dial(&address, ends.as_ref()).await;
        if let Err((_, flow)) = &dialed
            && ends.is_some_and(|ends| ends.optional)
            && flow.is_connected()
            && !flow.speaks_tls()
        {
            dialed = self.try_dial(&address, None).await;
        }
        match dialed {
            Ok(opened) => self.read(opened, None).await,
            Err((reason, _)) => {
                let _ = self.events.send(Event::Failed { address, reason }).await;
            }
        }
    }

    /// Dials, with TLS or without; the error says why no link came of it.
    async fn try_dial(&self, address: &str, ends: Option<&Ends>) -> Result<Opened, (String, Flow)> {
        let flow = Flow::default();
        let known = Known::default();
        let (outbox, outgoing) = outbox(self.queue_bytes_max, flow.clone());
        let tls = ends.map(|ends| (ends.clone(), Known::clone(&known)));
        let connected = connect(address, outgoing, flow.clone(), tls);
        let reason = match tokio::time::timeout(DIAL_TIMEOUT, connected).await {
            Ok(Ok(incoming)) => {
                let (address, session) = (Some(address.to_owned()), known.get().cloned());
                return Ok(Opened { address, outbox, incoming, flow, session });
            }
            Ok(Err(reason)) => reason,
            Err(_) => format!("no answer in {DIAL_TIMEOUT:?}"),
        };
        Err((stranger(address, &flow, ends.is_some(), &reason).unwrap_or(reason), flow))
    }

    /// Accepts links for ever.
    pub(super) async fn serve(
        self,
        listener: TcpListener,
        refused: mpsc::Sender<Refused>,
    ) -> Result<(), tonic::transport::Error> {
        let incoming = Incoming::new(listener, self.encryption.clone(), refused);
        Server::builder()
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            .max_concurrent_streams(STREAMS_MAX)
            .http2_max_header_list_size(16 << 10)
            .serve_with_incoming(PeerService { links: self }, incoming)
            .await
    }
}

/// What answers at an address that was dialed with TLS or without, if it is no peer or speaks otherwise.
fn stranger(address: &str, flow: &Flow, by_tls: bool, reason: &str) -> Option<String> {
    if flow.speaks_tls() {
        let wanted = "the node there wants TLS, and this one has none: set peer-tls and its certificate, or \
                      the cluster's secret, here too";
        return (!by_tls).then(|| wanted.to_owned());
    }
    let Some(speaks) = flow.stranger() else {
        let unknown = || {
            format!(
                "the node there does not speak TLS ({reason}): set peer-tls and its certificate, or the \
                 cluster's secret, there too"
            )
        };
        return (by_tls && flow.is_connected()).then(unknown);
    };
    if speaks != "RESP" {
        return Some(format!("no node listens there, but something that speaks {speaks}"));
    }
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    let peers = port.and_then(|port| port.checked_add(1000)).unwrap_or(7379);
    Some(format!("this is a client port; peers are on {peers}, unless --peer-port says otherwise"))
}

pub(super) async fn connect(
    address: &str,
    outgoing: Outgoing,
    flow: Flow,
    tls: Option<(Ends, Known)>,
) -> Result<Streaming<Bytes>, String> {
    // An address with a scope is no authority.
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .unwrap_or_else(|_| Endpoint::from_static("http://peer"))
        .connect_timeout(DIAL_TIMEOUT)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .http2_max_header_list_size(16 << 10);
    let connector = Connector { address: address.to_owned(), flow, tls };
    let channel = endpoint.connect_with_connector(connector).await;
    let channel = channel.map_err(|error| causes(&error))?;
    let mut client = tonic::client::Grpc::new(channel).max_decoding_message_size(CHUNK_TAKEN_MAX);
    client.ready().await.map_err(|error| causes(&error))?;
    let path = http::uri::PathAndQuery::from_static(PATH);
    let response =
        client.streaming(Request::new(outgoing.map_while(Result::ok)), path, Envelopes).await;
    Ok(response.map_err(|status| refusal(&status))?.into_inner())
}

/// Connects to an address; the URI is not looked at.
struct Connector {
    address: String,
    flow: Flow,
    tls: Option<(Ends, Known)>,
}

impl Service<http::Uri> for Connector {
    type Response = TokioIo<Wire>;
    type Error = std::io::Error;
    type Future = Answer<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        let (address, flow, tls) = (self.address.clone(), self.flow.clone(), self.tls.clone());
        Box::pin(async move {
            let socket = match scoped(&address) {
                Some(address) => TcpStream::connect(address).await?,
                None => TcpStream::connect(address).await?,
            };
            let socket = Metered::new(socket, flow)?;
            let Some((ends, known)) = tls else { return Ok(TokioIo::new(Wire::Left(socket))) };
            let (stream, session) = encryption::dial(socket, &ends).await?;
            let _ = known.set(session);
            Ok(TokioIo::new(Wire::Right(Box::new(stream))))
        })
    }
}

/// An error with what caused it: tonic's own text is "transport error".
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Why a link that was asked for is not there.
fn refusal(status: &Status) -> String {
    let mut text = brief(status);
    if let Some(cause) = std::error::Error::source(status) {
        text.push_str(": ");
        text.push_str(&causes(cause));
    }
    text
}

fn brief(status: &Status) -> String {
    let message: String = status.message().chars().take(256).collect();
    format!("{}: {}", status.code(), message.escape_debug())
}

/// Passes envelopes as they are.
#[derive(Clone, Copy, Debug, Default)]
struct Envelopes;

impl Codec for Envelopes {
    type Encode = Vec<Bytes>;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Envelopes {
    type Item = Vec<Bytes>;
    type Error = Status;

    fn encode(&mut self, frames: Vec<Bytes>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.reserve(frames.iter().map(Bytes::len).sum());
        for frame in frames {
            to.put(frame);
        }
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

impl Decoder for Envelopes {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

type Answer<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// The gRPC service: one method.
#[derive(Clone, Debug)]
struct PeerService {
    links: Links,
}

impl Service<http::Request<Body>> for PeerService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != PATH {
            let answer = Status::unimplemented("no such method").into_http();
            return Box::pin(ready(Ok(answer)));
        }
        let accept = Accept { links: self.links.clone() };
        let mut grpc =
            tonic::server::Grpc::new(Envelopes).max_decoding_message_size(CHUNK_TAKEN_MAX);
        Box::pin(async move { Ok(grpc.streaming(accept, request).await) })
    }
}

/// Makes a link of a request.
struct Accept {
    links: Links,
}

impl Service<Request<Streaming<Bytes>>> for Accept {
    type Response = Response<Outgoing>;
    type Error = Status;
    type Future = Answer<Self::Response, Status>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let info = request.extensions().get::<Info>();
        let held = info.map(|info| info.links.hold());
        let flow = info.map(|info| info.flow.clone()).unwrap_or_default();
        let session = info.and_then(|info| info.known.get().cloned());
        let (outbox, outgoing) = outbox(self.links.queue_bytes_max, flow.clone());
        let incoming = request.into_inner();
        let opened = Opened { address: None, outbox, incoming, flow, session };
        tokio::spawn(self.links.clone().read(opened, held));
        Box::pin(ready(Ok(Response::new(outgoing))))
    }
}
