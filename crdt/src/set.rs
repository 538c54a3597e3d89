//! Sets: observed-remove, and grow-only as the same without a remove.
//!
//! State: per element the dots of the adds that stand, nearly always one. A remove covers the adds
//! it has seen, so a concurrent add wins; a clear covers a whole context in one number a writer,
//! whatever the size of the set. Nothing stays behind of a removed element. A grow-only set is
//! deleted the same way, by observation.
//! Source: Bieniusa et al. 2012, an optimised conflict-free replicated set.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use crate::Crdt;
use crate::codec::{DecodeError, Decoder, Encode, Encoder};
use crate::context::{Context, Events, Seen};
use crate::counter::join_cleared;
use crate::dots::{Dots, Touch};
use crate::table::Table;

/// A set of byte strings.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Set {
    elements: Table<Dots>,
}

/// A change of a set: `| touched: varint n, n x (element, touch) | cleared |`.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct SetDelta {
    touched: BTreeMap<Box<[u8]>, Touch>,
    cleared: Option<Context>,
}

impl Set {
    /// How many elements it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// Whether `element` is in it.
    #[must_use]
    pub fn contains(&self, element: &[u8]) -> bool {
        self.elements.contains(element)
    }

    /// The elements with their dots: iteration, scan and random choice.
    #[must_use]
    pub fn elements(&self) -> &Table<Dots> {
        &self.elements
    }

    /// Adds `element`; whether it was new here. Adding what is there still counts against a
    /// concurrent remove.
    pub fn add<E: Events>(
        &mut self,
        element: &[u8],
        events: &mut E,
        change: Option<&mut SetDelta>,
    ) -> bool {
        let (dots, new) = self.elements.get_or_insert_with(element, Dots::default);
        let touch = change.map(|change| change.touch(element));
        dots.replace(true, events, touch);
        new
    }

    /// Removes `element` as far as it is seen here; whether it was there.
    pub fn remove<E: Events>(
        &mut self,
        element: &[u8],
        events: &mut E,
        change: Option<&mut SetDelta>,
    ) -> bool {
        let Some(old) = self.elements.remove(element) else {
            return false;
        };
        events.next();
        if let Some(change) = change {
            change.touch(element).supersede(old.iter(), events);
            change.forget_if_empty(element);
        }
        true
    }

    /// Removes all that is seen here, which is what `context` covers; how many elements there were.
    pub fn clear<E: Events>(
        &mut self,
        context: &Context,
        events: &mut E,
        change: Option<&mut SetDelta>,
    ) -> usize {
        let gone = self.len();
        if gone > 0 {
            events.next();
            if let Some(change) = change {
                change.touched.retain(|_, touch| {
                    touch.added.retain(|dot| !context.seen(dot));
                    touch.removed.retain(|dot| !context.seen(dot));
                    !touch.is_empty()
                });
                join_cleared(&mut change.cleared, &Some(context.clone()));
            }
            self.elements = Table::new();
        }
        gone
    }
}

impl SetDelta {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.touched.is_empty() && self.cleared.is_none()
    }

    fn touch(&mut self, element: &[u8]) -> &mut Touch {
        if !self.touched.contains_key(element) {
            self.touched.insert(Box::from(element), Touch::default());
        }
        self.touched.get_mut(element).expect("inserted above")
    }

    fn forget_if_empty(&mut self, element: &[u8]) {
        if self.touched.get(element).is_some_and(Touch::is_empty) {
            self.touched.remove(element);
        }
    }
}

impl Crdt for Set {
    type Delta = SetDelta;

    fn is_absent(&self) -> bool {
        self.is_empty()
    }

    fn is_blank(&self) -> bool {
        self.is_empty()
    }

    fn apply(&mut self, seen: &impl Seen, delta: &SetDelta) -> bool {
        let mut new = false;
        if let Some(cleared) = &delta.cleared {
            self.elements.retain(|element, dots| {
                if !delta.touched.contains_key(element) {
                    new |= dots.retain(|dot| !cleared.seen(dot));
                }
                !dots.is_empty()
            });
        }
        for (element, touch) in &delta.touched {
            if let Some(dots) = self.elements.get_mut(element) {
                new |= dots.apply(seen, &delta.cleared, touch);
                if dots.is_empty() {
                    self.elements.remove(element);
                }
            } else {
                let mut dots = Dots::None;
                dots.apply(seen, &delta.cleared, touch);
                if !dots.is_empty() {
                    self.elements.get_or_insert_with(element, || dots);
                    new = true;
                }
            }
        }
        new
    }

    fn whole(&self, context: &Context) -> SetDelta {
        let touch = |dots: &Dots| Touch { added: dots.clone(), removed: Dots::None };
        SetDelta {
            touched: self.elements.iter().map(|(e, dots)| (Box::from(e), touch(dots))).collect(),
            cleared: Some(context.clone()),
        }
    }

    fn join_delta(delta: &mut SetDelta, other: &SetDelta) {
        join_touched(
            (&mut delta.touched, &delta.cleared),
            (&other.touched, &other.cleared),
            |touch, mine, theirs, other| {
                touch.join(mine, theirs, other);
                !touch.is_empty()
            },
        );
        join_cleared(&mut delta.cleared, &other.cleared);
    }

    fn heap_bytes(&self) -> usize {
        let dots: usize = self.elements.iter().map(|(_, dots)| dots.heap_bytes()).sum();
        size_of::<Set>() + self.elements.heap_bytes() + dots
    }
}

/// Joins two keyed changes: each key by `join(mine, my cleared, their cleared, theirs)`, which
/// answers whether the result says anything.
pub(crate) fn join_touched<T: Default>(
    (mine, my_cleared): (&mut BTreeMap<Box<[u8]>, T>, &Option<Context>),
    (theirs, their_cleared): (&BTreeMap<Box<[u8]>, T>, &Option<Context>),
    join: impl Fn(&mut T, &Option<Context>, &Option<Context>, &T) -> bool,
) {
    let silent = T::default();
    mine.retain(|key, touch| {
        join(touch, my_cleared, their_cleared, theirs.get(key).unwrap_or(&silent))
    });
    for (key, touch) in
        theirs.iter().filter(|(key, _)| !mine.contains_key(*key)).collect::<alloc::vec::Vec<_>>()
    {
        let mut fresh = T::default();
        if join(&mut fresh, my_cleared, their_cleared, touch) {
            mine.insert(key.clone(), fresh);
        }
    }
}

impl Encode for SetDelta {
    fn encode(&self, to: &mut Encoder) {
        to.count(self.touched.len());
        for (element, touch) in &self.touched {
            to.bytes(element);
            touch.encode(to);
        }
        self.cleared.encode(to);
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let mut delta = SetDelta::default();
        for _ in 0..from.count(3)? {
            let element = from.boxed()?;
            delta.touched.insert(element, Touch::decode(from)?);
        }
        delta.cleared = Option::decode(from)?;
        Ok(delta)
    }
}
