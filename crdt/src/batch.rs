//! Many changes in one message, with one table of writers: what a flush sends and a journal keeps.
//!
//! ```text
//! | version u8 | 0 | writers: varint n, n x u64 LE | change, change ... to the end |
//! change | shared: varint, rest: bytes (the object's id) | name: bytes | type tag u8 | body |
//! ```
//!
//! `shared` is how many bytes the object's id has in common with that of the change before it. An
//! unknown version or type refuses the whole message: nothing of it has been applied then.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::Delta;
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::context::Writers;
pub use crate::digest::digest_of;

/// The place of a type tag that says: many changes. No type has it.
pub const TAG: u8 = 0;

/// A changed value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The object; changes of one object share its id.
    pub object: Arc<[u8]>,
    /// The name in it.
    pub name: Box<[u8]>,
    /// What changed. Also says the type.
    pub delta: Delta,
}

/// Gathers changes into a message.
#[derive(Default)]
pub struct Changes {
    encoder: Encoder,
    /// The object of the change before.
    last: Vec<u8>,
    count: usize,
}

impl Changes {
    /// No changes yet.
    #[must_use]
    pub const fn new() -> Changes {
        Changes { encoder: Encoder::new(), last: Vec::new(), count: 0 }
    }

    /// Adds a change. Those of one object, or of objects whose ids begin alike, best come together.
    pub fn push(&mut self, object: &[u8], name: &[u8], delta: &Delta) {
        let shared = self.last.iter().zip(object).take_while(|(a, b)| a == b).count();
        self.encoder.count(shared);
        self.encoder.bytes(&object[shared..]);
        self.encoder.bytes(name);
        delta.encode_to(&mut self.encoder);
        self.last.truncate(shared);
        self.last.extend_from_slice(&object[shared..]);
        self.count += 1;
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// About how many bytes the message will have.
    #[must_use]
    pub fn size(&self) -> usize {
        self.encoder.size()
    }

    /// The message.
    #[must_use]
    pub fn finish(self, writers: &Writers) -> Vec<u8> {
        self.encoder.finish(TAG, writers)
    }
}

/// Reads a message that [`Changes`] wrote, interning its writers.
///
/// # Errors
/// If it is anything else; then `writers` are as they were. Takes memory in proportion to the
/// message: see [`Decoder::charge`].
pub fn read(
    message: &[u8],
    longest: usize,
    writers: &mut Writers,
) -> Result<Vec<Change>, DecodeError> {
    let known = writers.len();
    let read = Reading::open(message, longest, writers).and_then(Reading::all);
    if read.is_err() {
        writers.truncate(known);
    }
    read
}

/// A message that is read change by change, in memory for a few changes only: for a reader that need
/// not know first whether all of it can be read, as a journal's recovery.
pub struct Reading<'a> {
    from: Decoder<'a>,
    /// The object of the change before.
    object: Arc<[u8]>,
    longest: usize,
}

impl<'a> Reading<'a> {
    /// Reads the head, interning the writers; otherwise as [`read`].
    ///
    /// # Errors
    /// If it is anything else than the head of such a message; then `writers` are as they were.
    pub fn open(
        message: &'a [u8],
        longest: usize,
        writers: &mut Writers,
    ) -> Result<Reading<'a>, DecodeError> {
        let known = writers.len();
        let opened = Decoder::open(message, writers).and_then(|(tag, from)| match tag {
            TAG => Ok(Reading { from, object: Arc::default(), longest }),
            tag => Err(DecodeError::Type(tag)),
        });
        if opened.is_err() {
            writers.truncate(known);
        }
        opened
    }

    /// The next change; none at the end.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read_next(&mut self) -> Result<Option<Change>, DecodeError> {
        let Reading { from, object, longest } = self;
        if from.is_at_end() {
            return from.close().map(|()| None);
        }
        let shared = usize::try_from(from.varint()?).map_err(|_| DecodeError::Truncated)?;
        if shared > object.len() {
            return Err(DecodeError::Invalid("shared prefix"));
        }
        let more = from.bytes()?;
        if shared + more.len() > *longest {
            return Err(DecodeError::Invalid("object's id"));
        }
        if shared < object.len() || !more.is_empty() {
            from.charge(shared)?;
            *object = object[..shared].iter().chain(more).copied().collect();
        }
        let name = from.boxed()?;
        if name.len() > *longest {
            return Err(DecodeError::Invalid("name"));
        }
        let delta = Delta::decode_from(from)?;
        Ok(Some(Change { object: Arc::clone(object), name, delta }))
    }

    fn all(mut self) -> Result<Vec<Change>, DecodeError> {
        let mut changes = Vec::new();
        while let Some(change) = self.read_next()? {
            changes.push(change);
        }
        Ok(changes)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::{Counter, Crdt, Dot, Events, ReplicaId, Type, Value, Writer};

    struct Mint(u64);

    impl Events for Mint {
        fn next(&mut self) -> Dot {
            self.0 += 1;
            Dot::new(Writer(0), self.0).expect("few")
        }

        fn unsent(&self, _: Dot) -> bool {
            false
        }

        fn time(&mut self) -> u64 {
            self.0
        }

        fn writer(&self) -> Writer {
            Writer(0)
        }
    }

    fn writers() -> Writers {
        Writers::of(ReplicaId(77))
    }

    fn counted(by: u64) -> Delta {
        let mut counter = Counter::default();
        counter.add(by, 0, &mut Mint(by)).expect("small");
        Delta::GCounter(counter.since(&()))
    }

    #[test]
    fn changes_come_back_in_order() {
        let mut changes = Changes::new();
        assert!(changes.is_empty());
        let all = [("cart:1", "total"), ("cart:1", "vat"), ("cart:17", "total"), ("", "")];
        for (n, (object, name)) in (1..).zip(all) {
            changes.push(object.as_bytes(), name.as_bytes(), &counted(n));
        }
        assert_eq!((changes.len(), changes.is_empty()), (4, false));
        let message = changes.finish(&writers());
        let read = read(&message, 100, &mut writers()).expect("just written");
        for ((n, (object, name)), change) in (1..).zip(all).zip(&read) {
            assert_eq!((&*change.object, &*change.name), (object.as_bytes(), name.as_bytes()));
            assert_eq!(change.delta, counted(n));
        }
        assert_eq!(
            super::read(&message, 6, &mut writers()),
            Err(DecodeError::Invalid("object's id"))
        );
    }

    #[test]
    fn changes_of_one_object_share_its_id() {
        let mut changes = Changes::new();
        for (object, name) in [("cart:1", "total"), ("cart:1", "vat"), ("cart:17", "total")] {
            changes.push(object.as_bytes(), name.as_bytes(), &counted(1));
        }
        let read = read(&changes.finish(&writers()), 100, &mut writers()).expect("just written");
        assert!(Arc::ptr_eq(&read[0].object, &read[1].object));
        assert_eq!(Arc::strong_count(&read[2].object), 1);
    }

    #[test]
    fn a_type_is_own_or_plain_or_hidden() {
        let plain: Vec<u8> = (8..=12).collect();
        for kind in Type::ALL {
            assert_eq!(kind.is_plain(), plain.contains(&(*kind as u8)), "{kind:?}");
            let kinds = [Type::OWN.contains(kind), kind.is_plain(), kind.is_hidden()];
            assert_eq!(kinds.iter().filter(|is| **is).count(), 1, "{kind:?}");
        }
    }

    #[test]
    fn a_message_with_an_unknown_type_is_refused_whole() {
        let mut changes = Changes::new();
        changes.push(b"o", b"n", &counted(1));
        let mut message = changes.finish(&Writers::of(ReplicaId(9)));
        message.extend_from_slice(&[0, 1, b'p', 1, b'n', 200]);
        let mut known = Writers::new();
        assert_eq!(read(&message, 9, &mut known), Err(DecodeError::Type(200)));
        assert!(known.is_empty());
    }

    #[test]
    fn digests_do_not_depend_on_local_numbers() {
        let mut one = Writers::new();
        let mut two = Writers::new();
        two.intern(ReplicaId(5));
        let message = {
            let mut changes = Changes::new();
            changes.push(b"o", b"n", &counted(3));
            changes.finish(&writers())
        };
        let mut digests = vec![];
        for writers in [&mut one, &mut two] {
            let change = read(&message, 9, writers).expect("just written").remove(0);
            let mut value = Value::empty(Type::GCounter);
            assert!(value.apply(&(), &change.delta));
            digests.push(value.digest(writers));
        }
        assert_eq!(digests[0], digests[1]);
        assert_ne!(digests[0], Value::empty(Type::GCounter).digest(&one));
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_refused_and_leave_nothing(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut known = Writers::new();
            let message = [&[crate::codec::VERSION, TAG][..], &bytes].concat();
            if read(&message, 50, &mut known).is_err() {
                prop_assert!(known.is_empty());
            }
        }
    }
}
