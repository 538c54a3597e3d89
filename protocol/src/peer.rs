//! What MISO nodes say to each other: the messages of `proto/peer.proto`.
//!
//! An envelope is a list of messages, and a list is encoded by putting its elements one after the
//! other; so a message is encoded once, as [`frame`] does, and frames of any number of messages put
//! together are an envelope for any number of peers.

#![allow(missing_docs, unreachable_pub, reason = "generated; the .proto says what each field is")]

use bytes::{Bytes, BytesMut};
use prost::Message as _;

include!(concat!(env!("OUT_DIR"), "/miso.peer.v1.rs"));

/// The version of the protocol that this build speaks.
pub const VERSION: u32 = 1;

/// One message as a part of an envelope.
#[must_use]
pub fn frame(body: message::Body) -> Bytes {
    let envelope = Envelope { messages: vec![Message { body: Some(body) }] };
    let mut bytes = BytesMut::with_capacity(envelope.encoded_len());
    envelope.encode(&mut bytes).expect("a BytesMut grows");
    bytes.freeze()
}

/// The messages of an envelope.
///
/// # Errors
/// If the bytes are no envelope. Messages of kinds that this build does not know have no body.
pub fn open(envelope: Bytes) -> Result<Vec<Message>, prost::DecodeError> {
    Envelope::decode(envelope).map(|envelope| envelope.messages)
}
