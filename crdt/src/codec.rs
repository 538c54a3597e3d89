//! The binary form of deltas and states: compact, versioned, and safe to read whatever its origin.
//!
//! ```text
//! | version u8 | type tag u8 | writers: varint n, n x u64 LE | body, see each type |
//!
//! varint   LEB128, at most 10 bytes
//! bytes    varint length, then that many
//! dot      varint index into the table of writers, varint sequence number
//! context  varint n, n x dot (vector); varint m, m x dot (beyond)
//! ```
//!
//! A whole state is the delta that says all of it. Writers stand in the table in the order in which
//! the body first names them, and none that it does not name. Lengths are checked against what is
//! left of the input before anything is allocated, so a message costs at most a small multiple of
//! its size; of one that is refused no writer is kept.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::context::{Context, Writers};
use crate::dot::{Dot, ReplicaId, Writer};
use crate::parts::Parts;

/// Room that an encoder keeps for its next message.
const KEEP: usize = 4 << 10;

/// Room is made for at most this many keys at once: more than a piece of a checkpoint has.
const AT_ONCE: usize = 8 << 10;

/// The version that this build writes, and the only one that it reads.
pub const VERSION: u8 = 1;

/// Why bytes were refused. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// The input ends before what it announced.
    Truncated,
    /// Written by a version that this build does not know.
    Version(u8),
    /// A type tag that this build does not know.
    Type(u8),
    /// A value that no correct writer makes; says which.
    Invalid(&'static str),
    /// The function would know more than 65 536 writers.
    TooManyWriters,
    /// Bytes follow the end.
    Trailing,
}

impl core::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            DecodeError::Truncated => f.write_str("the input ends early"),
            DecodeError::Version(version) => write!(f, "unknown version {version}"),
            DecodeError::Type(tag) => write!(f, "unknown type tag {tag}"),
            DecodeError::Invalid(what) => write!(f, "invalid {what}"),
            DecodeError::TooManyWriters => f.write_str("more than 65536 writers"),
            DecodeError::Trailing => f.write_str("bytes follow the end"),
        }
    }
}

impl core::error::Error for DecodeError {}

/// What can be written to and read from the wire.
pub trait Encode: Sized {
    /// Writes the body.
    fn encode(&self, to: &mut Encoder);
    /// Reads the body.
    ///
    /// # Errors
    /// If the bytes are not what [`Encode::encode`] writes.
    fn decode(from: &mut Decoder<'_>) -> Result<Self, DecodeError>;
}

/// Writes bodies, and gathers the writers that they name.
#[derive(Default, Debug)]
pub struct Encoder {
    body: Vec<u8>,
    table: Vec<Writer>,
    /// By writer: its place in the table and one; 0 if it has none.
    places: Vec<u32>,
}

impl Encoder {
    /// An empty body.
    #[must_use]
    pub const fn new() -> Encoder {
        Encoder { body: Vec::new(), table: Vec::new(), places: Vec::new() }
    }

    /// How many bytes the body has.
    #[must_use]
    pub fn size(&self) -> usize {
        self.body.len()
    }

    /// A number in 1 to 10 bytes.
    #[inline]
    pub fn varint(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.body.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.body.push(n as u8);
    }

    /// A count of what follows.
    pub fn count(&mut self, n: usize) {
        self.varint(n as u64);
    }

    /// One byte.
    pub fn byte(&mut self, n: u8) {
        self.body.push(n);
    }

    /// A byte string with its length.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.body.extend_from_slice(bytes);
    }

    /// A dot.
    pub fn dot(&mut self, dot: Dot) {
        let writer = usize::from(dot.writer().0);
        if self.places.len() <= writer {
            self.places.resize(writer + 1, 0);
        }
        if self.places[writer] == 0 {
            self.table.push(dot.writer());
            self.places[writer] = self.table.len() as u32;
        }
        self.varint(u64::from(self.places[writer] - 1));
        self.varint(dot.seq());
    }

    /// Dots with their count.
    pub fn dots(&mut self, dots: impl ExactSizeIterator<Item = Dot>) {
        self.count(dots.len());
        dots.for_each(|dot| self.dot(dot));
    }

    /// A context.
    pub fn context(&mut self, context: &Context) {
        let vector: Vec<Dot> =
            context.vector().filter_map(|(writer, seq)| Dot::new(writer, seq)).collect();
        self.dots(vector.into_iter());
        let beyond: Vec<Dot> = context.beyond().collect();
        self.dots(beyond.into_iter());
    }

    /// The whole message: version, type, writers, body.
    ///
    /// # Panics
    /// If the body names a writer that `writers` does not know: dots come from that table.
    #[must_use]
    pub fn finish(mut self, tag: u8, writers: &Writers) -> Vec<u8> {
        let mut message = Vec::new();
        message.reserve_exact(12 + self.table.len() * 8 + self.body.len());
        self.finish_to(tag, writers, &mut message);
        message
    }

    /// Appends the whole message to `out`, and is empty again, to be used anew without allocating.
    ///
    /// # Panics
    /// As [`Encoder::finish`].
    pub fn finish_to(&mut self, tag: u8, writers: &Writers, out: &mut Vec<u8>) {
        out.extend_from_slice(&[VERSION, tag]);
        let mut count = self.table.len();
        while count >= 0x80 {
            out.push(count as u8 | 0x80);
            count >>= 7;
        }
        out.push(count as u8);
        for writer in self.table.drain(..) {
            self.places[usize::from(writer.0)] = 0;
            let id = writers.id(writer).expect("a dot's writer is interned in its function");
            out.extend_from_slice(&id.0.to_le_bytes());
        }
        out.extend_from_slice(&self.body);
        self.body.clear();
        self.body.shrink_to(KEEP);
    }
}

/// Reads bodies from bytes of any origin.
pub struct Decoder<'a> {
    rest: &'a [u8],
    table: Vec<Writer>,
    /// How many writers of the table have been named so far.
    named: usize,
    /// How many bytes of memory may still be taken for what the message says in short.
    room: usize,
}

/// What a message may take in memory beyond its own size: this many bytes, and this many times its size.
/// What correct nodes say in short takes far less.
const ROOM: usize = 64 << 20;
const ROOM_TIMES: usize = 64;

fn room(message: &[u8]) -> usize {
    message.len().saturating_mul(ROOM_TIMES).saturating_add(ROOM)
}

impl<'a> Decoder<'a> {
    /// Reads version, type and writers of `message`, interning the writers; answers the type tag
    /// and a decoder that stands at the body.
    ///
    /// # Errors
    /// If the head is not one that this build reads.
    pub fn open(
        message: &'a [u8],
        writers: &mut Writers,
    ) -> Result<(u8, Decoder<'a>), DecodeError> {
        let mut decoder =
            Decoder { rest: message, table: Vec::new(), named: 0, room: room(message) };
        let version = decoder.byte()?;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let tag = decoder.byte()?;
        let count = decoder.count(size_of::<u64>())?;
        decoder.table.reserve_exact(count);
        for _ in 0..count {
            let (id, rest) = decoder.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
            decoder.rest = rest;
            let id = ReplicaId(u64::from_le_bytes(*id));
            decoder.table.push(writers.intern(id).ok_or(DecodeError::TooManyWriters)?);
        }
        Ok((tag, decoder))
    }

    /// Whether all of the input has been read.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// What has not been read.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// One byte.
    ///
    /// # Errors
    /// At the end of the input, as everywhere below.
    pub fn byte(&mut self) -> Result<u8, DecodeError> {
        let (first, rest) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*first)
    }

    /// A number.
    ///
    /// # Errors
    /// If it does not fit 64 bits or is not in its shortest form.
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(DecodeError::Invalid("number beyond 64 bits"));
            }
            n |= bits << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(DecodeError::Invalid("padded number"));
                }
                return Ok(n);
            }
        }
        Err(DecodeError::Invalid("number beyond 64 bits"))
    }

    /// A count of things that take at least `least` bytes each.
    ///
    /// # Errors
    /// If the rest of the input cannot hold that many.
    pub fn count(&mut self, least: usize) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.varint()?).map_err(|_| DecodeError::Truncated)?;
        if count > self.rest.len() / least {
            return Err(DecodeError::Truncated);
        }
        Ok(count)
    }

    /// A byte string.
    ///
    /// # Errors
    /// If it is longer than the rest of the input.
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let count = self.count(1)?;
        let (bytes, rest) = self.rest.split_at(count);
        self.rest = rest;
        Ok(bytes)
    }

    /// A byte string of one's own.
    ///
    /// # Errors
    /// As [`Decoder::bytes`].
    pub fn boxed(&mut self) -> Result<Box<[u8]>, DecodeError> {
        self.bytes().map(Box::from)
    }

    /// A dot.
    ///
    /// # Errors
    /// If its writer is not in the table or its number is out of range.
    pub fn dot(&mut self) -> Result<Dot, DecodeError> {
        let index = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        let writer = *self.table.get(index).ok_or(DecodeError::Invalid("writer index"))?;
        if index > self.named {
            return Err(DecodeError::Invalid("order of writers"));
        }
        self.named = self.named.max(index + 1);
        Dot::new(writer, self.varint()?).ok_or(DecodeError::Invalid("sequence number"))
    }

    /// Dots with their count.
    ///
    /// # Errors
    /// As [`Decoder::dot`].
    pub fn dots(&mut self) -> Result<Vec<Dot>, DecodeError> {
        let count = self.count(2)?;
        let mut dots = Vec::with_capacity(count);
        for _ in 0..count {
            dots.push(self.dot()?);
        }
        Ok(dots)
    }

    /// Counts `bytes` of memory that the message says in short: an id of which it repeats nothing but a
    /// length, a vector that has room for all writers before the one that it names.
    ///
    /// # Errors
    /// If that is more than a message of its size may take.
    pub fn charge(&mut self, bytes: usize) -> Result<(), DecodeError> {
        self.room = self.room.checked_sub(bytes).ok_or(DecodeError::Invalid("size in memory"))?;
        Ok(())
    }

    /// A context.
    ///
    /// # Errors
    /// As [`Decoder::dot`].
    pub fn context(&mut self) -> Result<Context, DecodeError> {
        let mut context = Context::new();
        let vector = self.dots()?;
        let width = vector.iter().map(|dot| usize::from(dot.writer().0) + 1).max();
        self.charge(width.unwrap_or(0) * size_of::<u64>())?;
        for dot in vector {
            context.raise(dot.writer(), dot.seq());
        }
        for dot in self.dots()? {
            context.insert(dot);
        }
        Ok(context)
    }

    /// Keys with what `read` reads, each of at least `least` bytes, with their count.
    ///
    /// # Errors
    /// If the count is too great, or `read` says so.
    pub(crate) fn map<T>(
        &mut self,
        least: usize,
        mut read: impl FnMut(&mut Self) -> Result<(Box<[u8]>, T), DecodeError>,
    ) -> Result<Parts<T>, DecodeError> {
        let count = self.count(least)?;
        if count == 1 {
            let (key, part) = read(self)?;
            return Ok(Parts::One(key, part));
        }
        // Not room for all at once: that is no more than a claim.
        let mut all = Vec::with_capacity(count.min(AT_ONCE));
        for _ in 0..count {
            all.push(read(self)?);
        }
        // A correct writer has them in order, each once.
        if !all.is_sorted_by(|(a, _): &(Box<[u8]>, T), (b, _)| a < b) {
            return Err(DecodeError::Invalid("order of parts"));
        }
        Ok(if all.is_empty() { Parts::None } else { Parts::List(all) })
    }

    /// Makes sure that nothing is left, and that every writer was named.
    ///
    /// # Errors
    /// If not.
    pub fn close(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { self.close_before_more() } else { Err(DecodeError::Trailing) }
    }

    /// Makes sure that every writer was named; something else may follow.
    ///
    /// # Errors
    /// If not.
    pub fn close_before_more(&self) -> Result<(), DecodeError> {
        if self.named < self.table.len() {
            Err(DecodeError::Invalid("writer that nothing names"))
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoder(rest: &[u8]) -> Decoder<'_> {
        Decoder { rest, table: Vec::new(), named: 0, room: room(rest) }
    }

    proptest! {
        #[test]
        fn varints_come_back(n: u64) {
            let mut encoder = Encoder::new();
            encoder.varint(n);
            let mut decoder = decoder(&encoder.body);
            prop_assert_eq!(decoder.varint(), Ok(n));
            prop_assert!(decoder.close().is_ok());
        }
    }

    #[test]
    fn a_count_beyond_the_input_is_refused_before_it_is_reserved() {
        let mut encoder = Encoder::new();
        encoder.varint(u64::MAX);
        assert_eq!(decoder(&encoder.body).count(1), Err(DecodeError::Truncated));
        assert_eq!(decoder(&encoder.body).bytes(), Err(DecodeError::Truncated));
    }

    #[test]
    fn what_is_said_in_short_takes_memory_within_the_room() {
        let message = [0; 10];
        let mut decoder = decoder(&message);
        let room = ROOM + 10 * ROOM_TIMES;
        assert_eq!(decoder.charge(room - 1), Ok(()));
        assert_eq!(decoder.charge(1), Ok(()));
        assert_eq!(decoder.charge(1), Err(DecodeError::Invalid("size in memory")));
    }

    #[test]
    fn a_vector_takes_room_for_all_writers_before_the_one_it_names() {
        let last = Writer(u16::MAX);
        let mut decoder = decoder(&[1, 0, 1, 0]);
        decoder.table.push(last);
        let width = (usize::from(last.0) + 1) * size_of::<u64>();
        decoder.room = width - 1;
        assert_eq!(decoder.context(), Err(DecodeError::Invalid("size in memory")));
        (decoder.rest, decoder.room) = (&[1, 0, 1, 0], width);
        assert_eq!(decoder.context().expect("it has the room").upto(last), 1);
        assert_eq!(decoder.room, 0);
    }

    #[test]
    fn numbers_are_in_shortest_form_and_64_bits() {
        assert_eq!(decoder(&[0x80, 0x00]).varint(), Err(DecodeError::Invalid("padded number")));
        let long = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert!(matches!(decoder(&long).varint(), Err(DecodeError::Invalid(_))));
    }

    #[test]
    fn of_a_refused_message_no_writer_is_kept() {
        let mut writers = Writers::new();
        let id = 9u64.to_le_bytes();
        let unnamed = [&[VERSION, 6, 1][..], &id, &[0, 0, 0]].concat();
        let named = [&[VERSION, 6, 1][..], &id, &[1, 0, 1, 0, 0]].concat();
        let refused = Err(DecodeError::Invalid("writer that nothing names"));
        assert_eq!(crate::Delta::decode(&unnamed, &mut writers), refused);
        assert!(writers.is_empty());
        assert!(crate::Delta::decode(&named, &mut writers).is_ok());
        assert_eq!(writers.len(), 1);
    }

    #[test]
    fn an_unknown_version_is_refused() {
        let opened = Decoder::open(&[9, 1, 0], &mut Writers::new());
        assert!(matches!(opened, Err(DecodeError::Version(9))));
    }
}
