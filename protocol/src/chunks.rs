//! Messages of peers, cut into chunks and put together again.
//!
//! What a node sends on a link is one list of messages. It travels in chunks of bounded size, which are
//! cut anywhere: so a large message does not have to fit into one gRPC message, and its receiver keeps no
//! more than has arrived, however long the message was announced to be.
//!
//! A message that is long for its link may travel in pieces ([`piece`]), which are messages themselves: others go
//! between them, and do not wait until all of the long one is there.

use bytes::{Bytes, BytesMut};
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};

use crate::peer::message::Body;
use crate::peer::{Piece, open};

/// The most bytes of a chunk that this build sends.
pub const CHUNK_MAX: usize = 64 << 10;
/// The most bytes of a chunk that it takes.
pub const CHUNK_TAKEN_MAX: usize = 1 << 20;
/// The most bytes of a message.
pub const MESSAGE_MAX: usize = 64 << 20;
/// The most bytes of a message before a Hello has come.
pub const HANDSHAKE_MAX: usize = 64 << 10;

/// The kind of a Hello.
const HELLO: u32 = 1;
/// The kind of a Goodbye.
const GOODBYE: u32 = 6;
/// The kind of a Piece.
const PIECE: u32 = 9;
/// Kinds from here on are about a function, which is their first field.
const FIRST_OF_FUNCTIONS: u32 = 10;
/// The longest head of a message: its key and its length.
const HEAD_MAX: usize = 11;
/// The most bytes that [`piece`] adds.
pub const PIECE_HEAD_MAX: usize = 24;
/// What [`open`] finds wrong, whatever stands before it.
const WRONG: &[u8] = &[0xff; HEAD_MAX];

/// Puts the chunks of one link together.
#[derive(Debug, Default)]
pub struct Assembler {
    /// The beginning of a message of which more has to come.
    rest: BytesMut,
    /// How many bytes that message has in all, as far as that is known.
    wanted: usize,
    /// Whether a Hello has come.
    greeted: bool,
    /// Whether it said that its sender takes pieces.
    takes_pieces: bool,
    /// Whether pieces are among the messages that were cut out last.
    has_pieces: bool,
    /// The beginning of a message that comes in pieces.
    pieces: BytesMut,
}

/// What stands at the beginning of some bytes.
enum Head {
    /// A message, with its length in bytes, head included.
    Message(usize),
    /// Too little to say.
    Short,
    /// Nothing that may be there.
    Wrong,
}

impl Assembler {
    /// Takes a chunk and returns the messages that are whole now, as an envelope; it may be empty. What
    /// cannot be messages is returned as it is: [`open`] finds the error in it.
    pub fn push(&mut self, chunk: Bytes) -> Bytes {
        let messages = self.cut(chunk);
        if std::mem::take(&mut self.has_pieces) { self.join_pieces(messages) } else { messages }
    }

    /// Whether the other end takes messages in pieces, as far as it has said so.
    #[must_use]
    pub fn takes_pieces(&self) -> bool {
        self.takes_pieces
    }

    fn cut(&mut self, mut chunk: Bytes) -> Bytes {
        if self.rest.is_empty() {
            let whole = self.whole(&chunk);
            let messages = chunk.split_to(whole);
            self.rest.extend_from_slice(&chunk);
            return messages;
        }
        self.rest.extend_from_slice(&chunk);
        if self.rest.len() < self.wanted {
            return Bytes::new();
        }
        let rest = std::mem::take(&mut self.rest).freeze();
        self.cut(rest)
    }

    /// Whole messages, with those in place of pieces that are whole now.
    fn join_pieces(&mut self, mut messages: Bytes) -> Bytes {
        let mut joined = BytesMut::with_capacity(messages.len());
        while !messages.is_empty() {
            let length = match head(&messages) {
                Head::Message(length) if length <= messages.len() => length,
                _ => messages.len(),
            };
            let message = messages.split_to(length);
            if kind(&message) != Some(PIECE) {
                joined.extend_from_slice(&message);
            } else if self.take_piece(message).is_none() {
                joined.extend_from_slice(WRONG);
                break;
            } else if self.is_whole() {
                joined.extend_from_slice(&std::mem::take(&mut self.pieces));
            }
        }
        joined.freeze()
    }

    /// How many bytes of the beginning are whole messages, or wrong.
    fn whole(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        self.wanted = 0;
        while at < bytes.len() {
            match head(&bytes[at..]) {
                Head::Message(length) if length > self.most() => return bytes.len(),
                Head::Message(length) if at + length <= bytes.len() => {
                    self.note(&bytes[at..at + length]);
                    at += length;
                }
                Head::Message(length) => {
                    self.wanted = length;
                    return at;
                }
                Head::Short => return at,
                Head::Wrong => return bytes.len(),
            }
        }
        at
    }

    /// Notes what a whole message says about those to come.
    fn note(&mut self, message: &[u8]) {
        match kind(message) {
            Some(HELLO) => {
                self.greeted = true;
                let hello = open(Bytes::copy_from_slice(message)).next();
                if let Some(Ok(Some(Body::Hello(hello)))) = hello.map(|m| m.map(|m| m.body)) {
                    self.takes_pieces = hello.pieces;
                }
            }
            Some(PIECE) => self.has_pieces = true,
            _ => {}
        }
    }

    /// Adds a piece; nothing if it is none, or makes too much.
    fn take_piece(&mut self, message: Bytes) -> Option<()> {
        let Body::Piece(Piece { last, bytes }) = open(message).next()?.ok()?.body? else {
            return None;
        };
        if self.pieces.len() + bytes.len() > self.most() {
            return None;
        }
        self.pieces.extend_from_slice(&bytes);
        let is_whole = self.is_whole();
        // Only one message, no less and no more; and no piece of a piece.
        (last == is_whole && !(last && kind(&self.pieces) == Some(PIECE))).then_some(())
    }

    /// Whether the pieces are one whole message.
    fn is_whole(&self) -> bool {
        matches!(head(&self.pieces), Head::Message(length) if length == self.pieces.len())
    }

    fn most(&self) -> usize {
        HEAD_MAX + if self.greeted { MESSAGE_MAX } else { HANDSHAKE_MAX }
    }
}

fn head(bytes: &[u8]) -> Head {
    let mut rest = bytes;
    let is_short = |rest: &[u8]| bytes.len() < HEAD_MAX && rest.iter().all(|byte| byte & 0x80 != 0);
    match decode_key(&mut rest) {
        Ok((1, WireType::LengthDelimited)) => {}
        _ => return Head::Wrong,
    }
    if is_short(rest) {
        return Head::Short;
    }
    match decode_varint(&mut rest).map(usize::try_from) {
        Ok(Ok(length)) => match (bytes.len() - rest.len()).checked_add(length) {
            Some(length) => Head::Message(length),
            None => Head::Wrong,
        },
        _ => Head::Wrong,
    }
}

/// The kind of a message and what follows it, if it has one.
fn opened(message: &[u8]) -> Option<(u32, &[u8])> {
    let mut rest = message;
    decode_key(&mut rest).ok()?;
    decode_varint(&mut rest).ok()?;
    let (kind, _) = decode_key(&mut rest).ok()?;
    Some((kind, rest))
}

fn kind(message: &[u8]) -> Option<u32> {
    opened(message).map(|(kind, _)| kind)
}

/// Whether a message is the last one of a node that ends.
#[must_use]
pub fn is_goodbye(message: &[u8]) -> bool {
    kind(message) == Some(GOODBYE)
}

/// The function that a message is about; nothing if it is about nodes.
#[must_use]
pub fn function_of(message: &[u8]) -> &[u8] {
    let name = || {
        let (kind, mut rest) = opened(message)?;
        decode_varint(&mut rest).ok()?;
        let (1, WireType::LengthDelimited) = decode_key(&mut rest).ok()? else { return None };
        let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
        (kind >= FIRST_OF_FUNCTIONS).then(|| rest.get(..length)).flatten()
    };
    name().unwrap_or_default()
}

/// What goes before some bytes of a message and makes them a piece of it.
#[must_use]
pub fn piece(length: usize, is_last: bool) -> Bytes {
    // Field numbers as in peer.proto.
    let mut inner = Vec::with_capacity(PIECE_HEAD_MAX);
    if is_last {
        encode_key(1, WireType::Varint, &mut inner);
        encode_varint(1, &mut inner);
    }
    encode_key(2, WireType::LengthDelimited, &mut inner);
    encode_varint(length as u64, &mut inner);
    let mut middle = Vec::with_capacity(PIECE_HEAD_MAX);
    encode_key(PIECE, WireType::LengthDelimited, &mut middle);
    encode_varint((inner.len() + length) as u64, &mut middle);
    middle.append(&mut inner);
    let mut head = Vec::with_capacity(PIECE_HEAD_MAX);
    encode_key(1, WireType::LengthDelimited, &mut head);
    encode_varint((middle.len() + length) as u64, &mut head);
    head.append(&mut middle);
    Bytes::from(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::message::Body;
    use crate::peer::{Batch, Heartbeat, Hello, frame, open};

    fn hello() -> Bytes {
        frame(Body::Hello(Hello { node: "n".into(), ..Hello::default() }))
    }

    fn batch(length: usize) -> Bytes {
        let changes = Bytes::from(vec![7; length]);
        frame(Body::Batch(Batch { changes, ..Batch::default() }))
    }

    /// A message in pieces of `size` bytes, each of them a message.
    fn in_pieces(message: &Bytes, size: usize) -> Vec<Bytes> {
        let count = message.len().div_ceil(size);
        let cut = message.chunks(size).enumerate();
        cut.map(|(i, bytes)| [&piece(bytes.len(), i + 1 == count)[..], bytes].concat().into())
            .collect()
    }

    #[test]
    fn a_piece_is_the_message_that_the_protocol_says() {
        for (length, last) in [(1, false), (1, true), (300, false), (70_000, true)] {
            let bytes = Bytes::from(vec![1; length]);
            let head = piece(length, last);
            assert!(head.len() <= PIECE_HEAD_MAX, "{}", head.len());
            assert_eq!([head, bytes.clone()].concat(), frame(Body::Piece(Piece { last, bytes })));
        }
    }

    #[test]
    fn messages_pass_between_the_pieces_of_a_long_one() {
        let beat = frame(Body::Heartbeat(Heartbeat { table: 1 }));
        let long = batch(5_000);
        let mut assembler = Assembler::default();
        assert_eq!(assembler.push(hello()), hello());
        let pieces = in_pieces(&long, 2_000);
        let sent: Vec<Bytes> =
            pieces.iter().flat_map(|piece| [piece.clone(), beat.clone()]).collect();
        let came: Vec<u8> = sent.into_iter().flat_map(|chunk| assembler.push(chunk)).collect();
        assert_eq!(came, [beat.clone(), beat.clone(), long.clone(), beat].concat());
        assert_eq!(assembler.push(pieces.concat().into()), long, "and the next one");
    }

    #[test]
    fn pieces_that_are_not_one_message_are_wrong() {
        let is_wrong = |chunks: Vec<Bytes>| {
            let mut assembler = Assembler::default();
            assembler.push(hello());
            let came = chunks.into_iter().map(|chunk| assembler.push(chunk));
            came.flat_map(|envelope| open(envelope).collect::<Vec<_>>()).any(|m| m.is_err())
        };
        let long = batch(5_000);
        let pieces = in_pieces(&long, 2_000);
        assert!(!is_wrong(pieces.clone()));
        let short = [&piece(10, true)[..], &long[..10]].concat();
        assert!(is_wrong(vec![short.into()]), "the message ends before its end");
        let open_end = [&piece(long.len(), false)[..], &long].concat();
        assert!(is_wrong(vec![open_end.into()]), "it does not end where it ends");
        let two = [long.clone(), long.clone()].concat();
        assert!(is_wrong(vec![[&piece(two.len(), true)[..], &two].concat().into()]));
        let nested = in_pieces(&pieces[0], 1_000);
        assert!(is_wrong(nested), "a piece of a piece");
    }

    #[test]
    fn pieces_are_bounded_as_messages_are() {
        let mut assembler = Assembler::default();
        let announced = batch(HANDSHAKE_MAX * 2);
        let pieces = in_pieces(&announced, 10_000);
        let came: Vec<Bytes> = pieces.into_iter().map(|piece| assembler.push(piece)).collect();
        let first = came.iter().position(|envelope| open(envelope.clone()).any(|m| m.is_err()));
        assert_eq!(first, Some(6), "nothing long before a Hello");
        assert!(assembler.pieces.len() <= HANDSHAKE_MAX + HEAD_MAX);
    }

    #[test]
    fn a_message_says_its_function() {
        let of_cart =
            frame(Body::Batch(Batch { function: Bytes::from_static(b"cart"), ..Batch::default() }));
        assert_eq!(function_of(&of_cart), b"cart");
        assert_eq!(function_of(&hello()), b"");
        assert_eq!(function_of(b"\xff\xff"), b"");
        assert!(is_goodbye(&frame(Body::Goodbye(crate::peer::Goodbye {}))));
        assert!(!is_goodbye(&of_cart));
    }

    /// What comes out, in pieces of `size` bytes.
    fn assemble(stream: &[u8], size: usize) -> Vec<u8> {
        let mut assembler = Assembler::default();
        let chunks = stream.chunks(size).map(Bytes::copy_from_slice);
        chunks.flat_map(|chunk| assembler.push(chunk)).collect()
    }

    #[test]
    fn messages_come_out_whole_wherever_they_are_cut() {
        let beat = || frame(Body::Heartbeat(Heartbeat { table: 1 }));
        let stream =
            [hello(), beat(), batch(100_000), Bytes::from_static(&[0x0a, 0]), beat()].concat();
        for size in [1, 2, 3, 7, 1000, 70_000, stream.len()] {
            assert_eq!(assemble(&stream, size), stream, "in pieces of {size}");
        }
        let mut assembler = Assembler::default();
        for chunk in stream.chunks(1000) {
            let whole = assembler.push(Bytes::copy_from_slice(chunk));
            assert!(open(whole).all(|message| message.is_ok()), "only whole messages come out");
        }
    }

    #[test]
    fn what_is_announced_takes_no_memory_and_what_comes_first_is_short() {
        let announced = [&[0x0a][..], &[0xff, 0xff, 0xff, 0x1f], b"x"].concat(); // 64 MiB less one
        let mut assembler = Assembler::default();
        let out = assembler.push(Bytes::from(announced.clone()));
        assert!(open(out).any(|message| message.is_err()), "before a Hello that is too much");
        assembler.push(hello());
        let mut assembler = Assembler::default();
        assembler.push(hello());
        assert!(assembler.push(Bytes::from(announced)).is_empty());
        assert!(assembler.rest.capacity() < 4096, "{}", assembler.rest.capacity());
        let beyond = [0x0a, 0xff, 0xff, 0xff, 0x7f, 1];
        let mut assembler = Assembler::default();
        assembler.push(hello());
        assert_eq!(assembler.push(Bytes::copy_from_slice(&beyond)), beyond[..]);
    }

    #[test]
    fn garbage_comes_out_as_it_is() {
        for garbage in [&b"GET / HTTP/1.1\r\n"[..], b"\x0a\xff\xff\xff\xff\x7fgarbage", &[0xff; 40]]
        {
            let out = Assembler::default().push(Bytes::copy_from_slice(garbage));
            assert_eq!(out, garbage);
            assert!(open(out).any(|message| message.is_err()));
        }
    }
}
