//! Messages of peers, cut into chunks and put together again.
//!
//! What a node sends on a link is one list of messages. It travels in chunks of bounded size, which are
//! cut anywhere: so a large message does not have to fit into one gRPC message, and its receiver keeps no
//! more than has arrived, however long the message was announced to be.

use bytes::{Buf as _, Bytes, BytesMut};
use prost::encoding::{WireType, decode_key, decode_varint};

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
/// The longest head of a message: its key and its length.
const HEAD_MAX: usize = 11;

/// Puts the chunks of one link together.
#[derive(Debug, Default)]
pub struct Assembler {
    /// The beginning of a message of which more has to come.
    rest: BytesMut,
    /// How many bytes that message has in all, as far as that is known.
    wanted: usize,
    /// Whether a Hello has come.
    greeted: bool,
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
    /// cannot be messages is returned as it is: [`open`](crate::peer::open) finds the error in it.
    pub fn push(&mut self, mut chunk: Bytes) -> Bytes {
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
        self.push(rest)
    }

    /// How many bytes of the beginning are whole messages, or wrong.
    fn whole(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        self.wanted = 0;
        while at < bytes.len() {
            match head(&bytes[at..]) {
                Head::Message(length) if length > self.most() => return bytes.len(),
                Head::Message(length) if at + length <= bytes.len() => {
                    self.greeted |= is_hello(&bytes[at..at + length]);
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

fn is_hello(message: &[u8]) -> bool {
    let mut rest = message;
    let _ = decode_key(&mut rest);
    let _ = decode_varint(&mut rest);
    rest.has_remaining() && decode_key(&mut rest).is_ok_and(|(kind, _)| kind == HELLO)
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
