//! What stands under a dot in a plain value: texts, scores, members, lives.

use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt::Debug;

use super::FOREVER;
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::context::Writers;
use crate::digest::{digest_of, fact};
use crate::dot::Dot;
use crate::thin::Thin;

/// What stands under a dot of its own, and is gone when the dot is known and not here.
pub trait Dotted: Clone + Eq + Debug {
    /// Bytes that it takes on the wire at least.
    const LEAST: usize;

    /// Its dot.
    fn dot(&self) -> Dot;

    /// Joins what another node holds under the same dot: the same, unless peers are hostile or hold more or
    /// less of it, as where values [fold](Item::FOLDS); whether that was more.
    fn merge(&mut self, _other: &Self) -> bool {
        false
    }

    /// Writes it, its dot included.
    fn encode(&self, to: &mut Encoder);

    /// Reads what [`Dotted::encode`] wrote.
    ///
    /// # Errors
    /// If it is anything else.
    fn decode(from: &mut Decoder<'_>) -> Result<Self, DecodeError>;

    /// A digest of all of it but its dot.
    fn digest(&self) -> u64;

    /// How many bytes it takes on the heap.
    fn heap_bytes(&self) -> usize {
        0
    }
}

/// A value among others that were written concurrently.
pub trait Item: Dotted {
    /// When it was written: the writer's hybrid logical clock, milliseconds << 16 | counter.
    fn time(&self) -> u64 {
        0
    }

    /// The deadline that it was written with, in milliseconds; [`FOREVER`] if there is none.
    fn until(&self) -> u64 {
        FOREVER
    }

    /// The deadline of the key that it was written under; [`FOREVER`] if there was none.
    fn under(&self) -> u64 {
        FOREVER
    }

    /// The order of values of one time and writer.
    fn cmp_value(&self, _other: &Self) -> Ordering {
        Ordering::Equal
    }

    /// Whether times alone order it, so that the winner needs no ids of writers.
    const BY_TIME_ALONE: bool = false;

    /// Whether what one writer has written stands in several values, of which later ones may come to say what
    /// earlier ones said. Then what takes away one of them takes away all that its writer wrote before.
    const FOLDS: bool = false;

    /// Drops what later values of the same writers say, too, where `new` are those that have just come.
    /// `values` are in the order of their dots. All nodes that hold the same drop the same.
    fn settle(_values: &mut Vec<Self>, _new: &[Self]) {}

    /// Values that say, under the dots that `next` gives, what `old` say.
    fn adopted(_old: &[Self], _next: impl FnMut() -> Dot) -> Vec<Self> {
        Vec::new()
    }

    /// A digest of concurrent values, the same on every node.
    fn digest_all(values: &[Self], writers: &Writers) -> u64 {
        let facts = values.iter().map(|value| fact(writers, value.dot(), &[value.digest()]));
        facts.fold(0, u64::wrapping_add)
    }
}

/// Writes a deadline: 0 for none, else one more than it is.
pub(super) fn encode_deadline(deadline: u64, to: &mut Encoder) {
    to.varint(deadline.wrapping_add(1));
}

/// Reads a deadline.
pub(super) fn decode_deadline(from: &mut Decoder<'_>) -> Result<u64, DecodeError> {
    Ok(from.varint()?.wrapping_sub(1))
}

/// A digest of some numbers.
pub(super) fn digest_words(words: &[u64]) -> u64 {
    words.iter().fold(0, |digest, word| digest_of(&word.to_le_bytes(), digest))
}

/// The stamp of a text without any deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plain {
    dot: Dot,
    time: u64,
}

/// The stamp of a text with a deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timed {
    plain: Plain,
    until: u64,
    under: u64,
}

/// A byte string with its stamp: 24 bytes beyond its own, 40 with a deadline.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Text {
    /// Without a deadline, its own or the key's.
    Plain(Thin<Plain>),
    /// With one.
    Timed(Thin<Timed>),
}

impl Text {
    /// A text written at `time`, with its own deadline and the key's.
    #[must_use]
    pub fn new(dot: Dot, time: u64, (until, under): (u64, u64), bytes: &[u8]) -> Text {
        let plain = Plain { dot, time };
        if until == FOREVER && under == FOREVER {
            Text::Plain(Thin::new(plain, bytes))
        } else {
            Text::Timed(Thin::new(Timed { plain, until, under }, bytes))
        }
    }

    fn stamp(&self) -> Timed {
        match self {
            Text::Plain(thin) => Timed { plain: *thin.header(), until: FOREVER, under: FOREVER },
            Text::Timed(thin) => *thin.header(),
        }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Text::Plain(thin) => thin.bytes(),
            Text::Timed(thin) => thin.bytes(),
        }
    }
}

impl Dotted for Text {
    const LEAST: usize = 6;

    fn dot(&self) -> Dot {
        match self {
            Text::Plain(thin) => thin.header().dot,
            Text::Timed(thin) => thin.header().plain.dot,
        }
    }

    fn encode(&self, to: &mut Encoder) {
        let stamp = self.stamp();
        to.dot(stamp.plain.dot);
        to.varint(stamp.plain.time);
        encode_deadline(stamp.until, to);
        encode_deadline(stamp.under, to);
        to.bytes(self.bytes());
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Text, DecodeError> {
        let (dot, time) = (from.dot()?, from.varint()?);
        let deadlines = (decode_deadline(from)?, decode_deadline(from)?);
        Ok(Text::new(dot, time, deadlines, from.bytes()?))
    }

    fn digest(&self) -> u64 {
        let stamp = self.stamp();
        digest_of(self.bytes(), digest_words(&[stamp.plain.time, stamp.until, stamp.under]))
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Text::Plain(thin) => thin.heap_bytes(),
            Text::Timed(thin) => thin.heap_bytes(),
        }
    }
}

impl Item for Text {
    fn time(&self) -> u64 {
        self.stamp().plain.time
    }

    fn until(&self) -> u64 {
        self.stamp().until
    }

    fn under(&self) -> u64 {
        self.stamp().under
    }

    fn cmp_value(&self, other: &Text) -> Ordering {
        self.bytes().cmp(other.bytes())
    }
}

/// That a member of a set was added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// The add.
    pub dot: Dot,
    /// The key's deadline then.
    pub under: u64,
}

impl Dotted for Mark {
    const LEAST: usize = 3;

    fn dot(&self) -> Dot {
        self.dot
    }

    fn encode(&self, to: &mut Encoder) {
        to.dot(self.dot);
        encode_deadline(self.under, to);
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Mark, DecodeError> {
        Ok(Mark { dot: from.dot()?, under: decode_deadline(from)? })
    }

    fn digest(&self) -> u64 {
        digest_words(&[self.under])
    }
}

impl Item for Mark {
    fn under(&self) -> u64 {
        self.under
    }
}

/// How a score was set, which says what it is beside concurrent ones.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Mode {
    /// The later one stands.
    #[default]
    Set = 0,
    /// `ZADD GT`: the greatest stands.
    Greater = 1,
    /// `ZADD LT`: the least stands.
    Less = 2,
}

/// A deadline in 56 bits, with all bits set for none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Packed([u8; 7]);

impl Packed {
    const NONE: u64 = (1 << 56) - 1;

    fn new(deadline: u64) -> Packed {
        let [bytes @ .., _] = deadline.min(Packed::NONE).to_le_bytes();
        Packed(bytes)
    }

    fn get(self) -> u64 {
        let [a, b, c, d, e, f, g] = self.0;
        match u64::from_le_bytes([a, b, c, d, e, f, g, 0]) {
            Packed::NONE => FOREVER,
            deadline => deadline,
        }
    }
}

/// A score that was set: 32 bytes, since members are many.
#[derive(Clone, Copy, Debug)]
pub struct Score {
    dot: Dot,
    time: u64,
    score: f64,
    under: Packed,
    mode: Mode,
}

impl Score {
    /// A score, never NaN, set at `time` under the key's deadline.
    #[must_use]
    pub fn new((dot, time): (Dot, u64), score: f64, under: u64, mode: Mode) -> Score {
        Score { dot, time, score, under: Packed::new(under), mode }
    }

    /// The score.
    #[must_use]
    pub fn score(&self) -> f64 {
        self.score
    }

    /// How it was set.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }
}

impl PartialEq for Score {
    fn eq(&self, other: &Score) -> bool {
        let words = |score: &Score| (score.dot, score.time, score.score.to_bits(), score.under);
        words(self) == words(other) && self.mode == other.mode
    }
}

impl Eq for Score {}

impl Dotted for Score {
    const LEAST: usize = 13;

    fn dot(&self) -> Dot {
        self.dot
    }

    fn encode(&self, to: &mut Encoder) {
        to.dot(self.dot);
        to.varint(self.time);
        encode_deadline(self.under.get(), to);
        to.byte(self.mode as u8);
        self.score.to_bits().to_le_bytes().into_iter().for_each(|byte| to.byte(byte));
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Score, DecodeError> {
        let (dot, time, under) = (from.dot()?, from.varint()?, decode_deadline(from)?);
        let mode = match from.byte()? {
            0 => Mode::Set,
            1 => Mode::Greater,
            2 => Mode::Less,
            _ => return Err(DecodeError::Invalid("mode of a score")),
        };
        let mut bits = [0; 8];
        for byte in &mut bits {
            *byte = from.byte()?;
        }
        let score = f64::from_bits(u64::from_le_bytes(bits));
        if score.is_nan() {
            return Err(DecodeError::Invalid("score"));
        }
        Ok(Score::new((dot, time), score, under, mode))
    }

    fn digest(&self) -> u64 {
        digest_words(&[self.time, self.score.to_bits(), self.under(), self.mode as u64])
    }
}

impl Item for Score {
    fn time(&self) -> u64 {
        self.time
    }

    fn under(&self) -> u64 {
        self.under.get()
    }

    fn cmp_value(&self, other: &Score) -> Ordering {
        self.score.total_cmp(&other.score).then(self.mode.cmp_as_number(other.mode))
    }

    const BY_TIME_ALONE: bool = true;
}

impl Mode {
    fn cmp_as_number(self, other: Mode) -> Ordering {
        (self as u8).cmp(&(other as u8))
    }
}

/// The beginning of a life of a key: a write that found nothing, or only what had expired.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Birth {
    /// The event.
    pub dot: Dot,
    /// The writer's hybrid logical clock.
    pub time: u64,
}

impl Dotted for Birth {
    const LEAST: usize = 3;

    fn dot(&self) -> Dot {
        self.dot
    }

    fn encode(&self, to: &mut Encoder) {
        to.dot(self.dot);
        to.varint(self.time);
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Birth, DecodeError> {
        Ok(Birth { dot: from.dot()?, time: from.varint()? })
    }

    fn digest(&self) -> u64 {
        digest_words(&[self.time])
    }
}

impl Item for Birth {
    fn time(&self) -> u64 {
        self.time
    }
}

/// The largest value by (time, writer's id, bytes), the same on every node.
pub(super) fn latest<'a, V: Item>(
    values: impl Iterator<Item = &'a V>,
    id: impl Fn(Dot) -> Option<crate::ReplicaId>,
) -> Option<&'a V> {
    let rank = |value: &V| (value.time(), (!V::BY_TIME_ALONE).then(|| id(value.dot())));
    values.max_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.cmp_value(b)))
}
