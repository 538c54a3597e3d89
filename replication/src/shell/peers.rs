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
use tokio::time::MissedTickBehavior;
use tokio_stream::StreamExt as _;
use tonic::body::Body;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};
use tower_service::Service;

use super::flow::{Flow, Metered};
use super::incoming::{HeldLink, Incoming, Info};
use super::outbox::{Outbox, Outgoing, outbox};
use super::scope::scoped;
use crate::LinkId;

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
    /// How often it is looked at whether bytes have come.
    pub(super) life: Duration,
}

impl Links {
    fn id(&self) -> LinkId {
        LinkId(self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
    }

    /// Reads a link to its end.
    async fn read(
        self,
        address: Option<String>,
        outbox: Outbox,
        mut incoming: Streaming<Bytes>,
        flow: Flow,
        _held: Option<HeldLink>,
    ) {
        let mut assembler = Assembler::default();
        let mut life = tokio::time::interval(self.life);
        life.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut received, mut is_quiet) = (0, true);
        let link = self.id();
        let (closing, mut closed) = tokio::sync::oneshot::channel();
        let opened = Event::Opened { address, link, outbox: outbox.clone(), closing };
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
        let flow = Flow::default();
        let (outbox, outgoing) = outbox(self.queue_bytes_max, flow.clone());
        let connected = connect(&address, outgoing, flow.clone());
        let reason = match tokio::time::timeout(DIAL_TIMEOUT, connected).await {
            Ok(Ok(incoming)) => {
                return self.read(Some(address), outbox, incoming, flow, None).await;
            }
            Ok(Err(reason)) => stranger(&address, &flow).unwrap_or(reason),
            Err(_) => stranger(&address, &flow)
                .unwrap_or_else(|| format!("no answer in {DIAL_TIMEOUT:?}")),
        };
        let _ = self.events.send(Event::Failed { address, reason }).await;
    }

    /// Accepts links for ever.
    pub(super) async fn serve(self, listener: TcpListener) -> Result<(), tonic::transport::Error> {
        let incoming = Incoming::new(listener);
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

/// What answers at an address, if it is no peer.
fn stranger(address: &str, flow: &Flow) -> Option<String> {
    let speaks = flow.stranger()?;
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
    let connector = Connector { address: address.to_owned(), flow };
    let channel = endpoint.connect_with_connector(connector).await;
    let channel = channel.map_err(|error| causes(&error))?;
    let mut client = tonic::client::Grpc::new(channel).max_decoding_message_size(CHUNK_TAKEN_MAX);
    client.ready().await.map_err(|error| causes(&error))?;
    let path = http::uri::PathAndQuery::from_static(PATH);
    let response =
        client.streaming(Request::new(outgoing.map_while(Result::ok)), path, Envelopes).await;
    Ok(response.map_err(|status| brief(&status))?.into_inner())
}

/// Connects to an address; the URI is not looked at.
struct Connector {
    address: String,
    flow: Flow,
}

impl Service<http::Uri> for Connector {
    type Response = TokioIo<Metered>;
    type Error = std::io::Error;
    type Future = Answer<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        let (address, flow) = (self.address.clone(), self.flow.clone());
        Box::pin(async move {
            let socket = match scoped(&address) {
                Some(address) => TcpStream::connect(address).await?,
                None => TcpStream::connect(address).await?,
            };
            Ok(TokioIo::new(Metered::new(socket, flow)?))
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
        let (held, flow) = match info {
            Some(info) => (Some(info.links.hold()), info.flow.clone()),
            None => (None, Flow::default()),
        };
        let (outbox, outgoing) = outbox(self.links.queue_bytes_max, flow.clone());
        tokio::spawn(self.links.clone().read(None, outbox, request.into_inner(), flow, held));
        Box::pin(ready(Ok(Response::new(outgoing))))
    }
}
