//! What MISO nodes say to each other: the messages of `proto/peer.proto`.
//!
//! An envelope is a list of messages, and a list is encoded by putting its elements one after the
//! other; so a message is encoded once, as [`frame`] does, and frames of any number of messages put
//! together are an envelope for any number of peers.

#![allow(missing_docs, unreachable_pub, reason = "generated; the .proto says what each field is")]

use bytes::{Buf, Bytes, BytesMut};
use prost::encoding::{WireType, decode_key, decode_varint};
use prost::{DecodeError, Message as _};

include!(concat!(env!("OUT_DIR"), "/miso.peer.v1.rs"));

/// The version of the protocol that this build speaks.
pub const VERSION: u32 = 3;

/// One message as a part of an envelope.
#[must_use]
pub fn frame(body: message::Body) -> Bytes {
    let envelope = Envelope { messages: vec![Message { body: Some(body) }] };
    let mut bytes = BytesMut::with_capacity(envelope.encoded_len());
    envelope.encode(&mut bytes).expect("a BytesMut grows");
    bytes.freeze()
}

/// The most bytes of one message about nodes. Their short entries grow when decoded, up to a
/// hundredfold; those of changes do not.
pub const OVERLAY_MESSAGE_MAX: usize = 1 << 20;

/// Message kinds from here on are the replicator's.
const FIRST_REPLICATION_KIND: u32 = 10;

/// The messages of an envelope, decoded one at a time: what a peer can make this node allocate is
/// bound by the greatest message, not by how many empty ones fit into an envelope.
///
/// Messages of kinds that this build does not know have no body. After an error there is no more.
pub fn open(envelope: Bytes) -> impl Iterator<Item = Result<Message, DecodeError>> {
    let mut rest = envelope;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let next = next_message(&mut rest);
        if next.is_err() {
            rest.clear();
        }
        Some(next)
    })
}

fn next_message(rest: &mut Bytes) -> Result<Message, DecodeError> {
    let (1, WireType::LengthDelimited) = decode_key(rest)? else {
        return Err(malformed());
    };
    let length = decode_varint(rest)?;
    if length > rest.remaining() as u64 {
        return Err(malformed());
    }
    let message = rest.split_to(usize::try_from(length).map_err(|_| malformed())?);
    if message.len() > OVERLAY_MESSAGE_MAX && !may_be_long(&message) {
        return Err(malformed());
    }
    Message::decode(message)
}

/// Whether it is a single field, of the replicator's.
fn may_be_long(message: &Bytes) -> bool {
    let mut rest = message.as_ref();
    matches!(decode_key(&mut rest), Ok((FIRST_REPLICATION_KIND.., WireType::LengthDelimited)))
        && decode_varint(&mut rest).is_ok_and(|length| length == rest.len() as u64)
}

#[expect(deprecated, reason = "prost makes its errors in no other way")]
fn malformed() -> DecodeError {
    DecodeError::new("not an envelope")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(envelope: &[u8]) -> Vec<Result<Option<message::Body>, ()>> {
        let open = open(Bytes::copy_from_slice(envelope));
        open.map(|message| message.map(|message| message.body).map_err(|_| ())).collect()
    }

    #[test]
    fn frames_put_together_are_an_envelope() {
        let one = message::Body::Heartbeat(Heartbeat { table: 7 });
        let two = message::Body::Goodbye(Goodbye {});
        let both = [frame(one.clone()), frame(two.clone())].concat();
        assert_eq!(bodies(&both), [Ok(Some(one)), Ok(Some(two))]);
        assert_eq!(Envelope::decode(&*both).map(|e| e.messages.len()), Ok(2));
    }

    #[test]
    fn unknown_kinds_have_no_body() {
        let unknown = [0x0a, 0x04, 0xfa, 0x06, 0x01, 0x00]; // kind 111, one byte long
        assert_eq!(bodies(&unknown), [Ok(None)]);
    }

    #[test]
    fn garbage_ends_it() {
        assert_eq!(bodies(b"GET / HTTP/1.1\r\n\r\n"), [Err(())]);
        assert_eq!(
            bodies(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
            [Err(())]
        );
        assert_eq!(bodies(&[0x0a, 0x00, 0x0a, 0x05, 0x01]), [Ok(None), Err(())]);
    }

    #[test]
    fn a_message_about_nodes_is_short() {
        let entries = vec![digest::Entry::default(); OVERLAY_MESSAGE_MAX / 2 + 1];
        let envelope = frame(message::Body::Digest(Digest { entries }));
        assert_eq!(bodies(&envelope), [Err(())]);
        let changes = Bytes::from(vec![0; OVERLAY_MESSAGE_MAX + 1]);
        let envelope = frame(message::Body::Batch(Batch { changes, ..Batch::default() }));
        assert!(bodies(&envelope)[0].is_ok());
    }
}
