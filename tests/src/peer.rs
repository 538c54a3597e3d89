//! A peer made of bytes: it speaks the real protocol to a node, and says what a test wants.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use miso_protocol::peer::message::Body;
use miso_protocol::peer::{Challenge, Hello, Proof, VERSION, frame, open};
use sha2::Sha256;

use crate::DEADLINE;

/// HTTP/2's frame types that are used here.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// One connection to a node's peer port, with any number of streams.
pub struct Peer {
    socket: TcpStream,
    streams: u32,
    /// What has been read and not been taken apart yet.
    buffer: Vec<u8>,
    /// Data of streams, with the heads of gRPC messages.
    data: Vec<u8>,
    /// Whether the node has said how much it takes. Until then that is 64 KiB, and it ends a connection that sends
    /// more: on a busy machine that is any that hurries.
    is_settled: bool,
}

/// A Hello that a node of the default cluster accepts.
pub fn hello(node: &str, replica: u64) -> Hello {
    Hello {
        protocol: VERSION,
        cluster: "miso".into(),
        node: node.into(),
        replica,
        generation: 1,
        addresses: vec!["127.0.0.1:1".into()],
        ..Hello::default()
    }
}

impl Peer {
    /// Connects, and opens nothing yet.
    pub fn connect(address: SocketAddr) -> io::Result<Peer> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_millis(10)))?;
        let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        // Windows as large as they may be: what a node says is never held back.
        hello.extend(http2(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]));
        hello.extend(http2(WINDOW_UPDATE, 0, 0, &0x7000_0000_u32.to_be_bytes()));
        socket.write_all(&hello)?;
        Ok(Peer { socket, streams: 0, buffer: Vec::new(), data: Vec::new(), is_settled: false })
    }

    /// Connects and opens a stream.
    pub fn link(address: SocketAddr) -> Peer {
        let mut peer = Peer::connect(address).expect("a node listens for peers");
        peer.open().expect("it takes a stream");
        let start = Instant::now();
        while !peer.is_settled && start.elapsed() < DEADLINE && peer.read().is_some() {}
        peer
    }

    /// Connects, opens a stream and says Hello.
    pub fn greet(address: SocketAddr, hello: Hello) -> Peer {
        let mut peer = Peer::link(address);
        peer.say(Body::Hello(hello)).expect("it takes a message");
        peer
    }

    /// Connects, proves to know the cluster's secret, and says Hello. The proof is made here from what
    /// docs/format.md says, and not by the code of a node.
    pub fn prove(address: SocketAddr, secret: &str, hello: Hello) -> Peer {
        Peer::prove_in(address, secret, hello, &[])
    }

    /// As [`Peer::prove`], in the session of TLS that is known by `binding`.
    pub fn prove_in(address: SocketAddr, secret: &str, hello: Hello, binding: &[u8]) -> Peer {
        let mut peer = Peer::link(address);
        let asked = peer.until("a challenge", |body| matches!(body, Body::Challenge(_)));
        let Body::Challenge(asked) = asked else { unreachable!("until waits for a challenge") };
        let nonce = Bytes::from_static(&[0x5a; 32]);
        let (cluster, replica) = (hello.cluster.clone(), hello.replica);
        let proof = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
            .expect("a key of any length")
            .chain_update(b"miso peer proof 1\x01")
            .chain_update((cluster.len() as u64).to_be_bytes())
            .chain_update(&cluster)
            .chain_update(replica.to_be_bytes())
            .chain_update(asked.replica.to_be_bytes())
            .chain_update(&nonce)
            .chain_update(&asked.nonce)
            .chain_update(binding);
        let mac = Bytes::copy_from_slice(&proof.finalize().into_bytes());
        let challenge = Challenge { protocol: VERSION, cluster, replica, nonce };
        peer.say(Body::Challenge(challenge)).expect("it reads");
        peer.say(Body::Proof(Proof { mac })).expect("it reads");
        peer.until("its proof", |body| matches!(body, Body::Proof(_)));
        peer.say(Body::Hello(hello)).expect("it reads");
        peer
    }

    /// Opens a further stream.
    pub fn open(&mut self) -> io::Result<u32> {
        let mut headers = Vec::new();
        for (name, value) in [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/miso.peer.v1.Peer/Link"),
            (":authority", "localhost"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
        ] {
            headers.extend([0, name.len() as u8]);
            headers.extend(name.as_bytes());
            headers.push(value.len() as u8);
            headers.extend(value.as_bytes());
        }
        let stream = 2 * self.streams + 1;
        self.streams += 1;
        self.socket.write_all(&http2(HEADERS, END_HEADERS, stream, &headers))?;
        Ok(stream)
    }

    /// Sends bytes on a stream, as they are.
    pub fn send_on(&mut self, stream: u32, bytes: &[u8]) -> io::Result<()> {
        for part in bytes.chunks(16_000) {
            self.socket.write_all(&http2(DATA, 0, stream, part))?;
        }
        Ok(())
    }

    /// Announces a gRPC message of a length on a stream, and sends its beginning.
    pub fn announce(&mut self, stream: u32, length: u32, beginning: &[u8]) -> io::Result<()> {
        let mut bytes = vec![0];
        bytes.extend(length.to_be_bytes());
        bytes.extend(beginning);
        self.send_on(stream, &bytes)
    }

    /// Sends an envelope on the first stream.
    pub fn send(&mut self, envelope: &[u8]) -> io::Result<()> {
        let length = u32::try_from(envelope.len()).expect("envelopes are short");
        self.announce(1, length, envelope)
    }

    /// Says a message on the first stream.
    pub fn say(&mut self, body: Body) -> io::Result<()> {
        self.send(&frame(body))
    }

    /// Reads for a time what the node says on the first stream; none once it has closed the connection.
    pub fn hear(&mut self, time: Duration) -> Option<Vec<Body>> {
        let end = Instant::now() + time;
        let mut is_open = true;
        while is_open && Instant::now() < end {
            is_open = self.read().is_some();
        }
        let said = self.messages();
        (is_open || !said.is_empty()).then_some(said)
    }

    /// Reads what there is; none at the end of the connection.
    fn read(&mut self) -> Option<()> {
        let mut buffer = [0; 64 << 10];
        let is_open = match self.socket.read(&mut buffer) {
            Ok(0) => false,
            Ok(length) => {
                self.buffer.extend(&buffer[..length]);
                true
            }
            Err(error) => is_timeout(&error),
        };
        self.take_apart();
        is_open.then_some(())
    }

    /// Waits until the node says something for which `wanted` holds.
    #[track_caller]
    pub fn until(&mut self, what: &str, wanted: impl Fn(&Body) -> bool) -> Body {
        let start = Instant::now();
        while start.elapsed() < DEADLINE {
            let said = self.hear(Duration::from_millis(20)).unwrap_or_default();
            if let Some(body) = said.into_iter().find(&wanted) {
                return body;
            }
        }
        panic!("waited in vain for {what}");
    }

    /// Whether the node has said anything on the connection: it begins with its settings.
    pub fn is_greeted(&mut self) -> bool {
        let mut first = [0; 1];
        matches!(self.socket.peek(&mut first), Ok(1)) || !self.data.is_empty()
    }

    /// Whether the node closes the connection within the deadline of a test.
    pub fn is_closed_in_time(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < DEADLINE {
            if self.hear(Duration::from_millis(50)).is_none() {
                return true;
            }
        }
        false
    }

    fn take_apart(&mut self) {
        while self.buffer.len() >= 9 {
            let length = u32::from_be_bytes([0, self.buffer[0], self.buffer[1], self.buffer[2]]);
            let whole = 9 + length as usize;
            if self.buffer.len() < whole {
                return;
            }
            let frame: Vec<u8> = self.buffer.drain(..whole).collect();
            match (frame[3], frame[4]) {
                (DATA, _) => self.data.extend(&frame[9..]),
                (SETTINGS, flags) if flags & ACK == 0 => {
                    let _ = self.socket.write_all(&http2(SETTINGS, ACK, 0, &[]));
                }
                // It comes after the settings, and until it does the connection takes 64 KiB.
                (WINDOW_UPDATE, _) if frame[5..9] == [0; 4] => self.is_settled = true,
                _ => {}
            }
        }
    }

    fn messages(&mut self) -> Vec<Body> {
        let mut said = Vec::new();
        while self.data.len() >= 5 {
            let head: [u8; 4] = self.data[1..5].try_into().expect("four bytes");
            let whole = 5 + u32::from_be_bytes(head) as usize;
            if self.data.len() < whole {
                break;
            }
            let message: Vec<u8> = self.data.drain(..whole).skip(5).collect();
            let bodies = open(Bytes::from(message)).filter_map(Result::ok);
            said.extend(bodies.filter_map(|message| message.body));
        }
        said
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// An HTTP/2 frame.
fn http2(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("frames are short");
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}
