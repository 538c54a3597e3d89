//! A set of dots, and a change of it: what every observed-remove type is made of.
//!
//! The join of two dot sets under their contexts keeps a dot that both hold, and one that the
//! other side has not heard of: `(S1 n S2) u (S1 \ C2) u (S2 \ C1)`. Source: Bieniusa et al. 2012
//! (optimised OR-set), Almeida, Shoker, Baquero 2018 (delta-state CRDTs).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;

use crate::codec::{DecodeError, Decoder, Encode, Encoder};
use crate::context::{Context, Events, Seen};
use crate::dot::Dot;

/// A small set of dots in order; one, the usual case, takes no allocation.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub enum Dots {
    /// No dot.
    #[default]
    None,
    /// One dot.
    One(Dot),
    /// Two or more, in order. Boxed twice over, so that the usual case stays 16 bytes.
    Many(Box<Vec<Dot>>),
}

impl Dots {
    /// The dots, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Dot] {
        match self {
            Dots::None => &[],
            Dots::One(dot) => core::slice::from_ref(dot),
            Dots::Many(dots) => dots,
        }
    }

    /// The dots, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Dot> + '_ {
        self.as_slice().iter().copied()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Dots::None)
    }

    /// Whether `dot` is one of them.
    #[must_use]
    pub fn contains(&self, dot: Dot) -> bool {
        self.as_slice().binary_search(&dot).is_ok()
    }

    /// Adds a dot; whether it was new.
    pub fn insert(&mut self, dot: Dot) -> bool {
        match self {
            Dots::None => *self = Dots::One(dot),
            Dots::One(one) if *one == dot => return false,
            Dots::One(one) => {
                *self = Dots::Many(Box::new(Vec::from([dot.min(*one), dot.max(*one)])))
            }
            Dots::Many(dots) => match dots.binary_search(&dot) {
                Ok(_) => return false,
                Err(at) => dots.insert(at, dot),
            },
        }
        true
    }

    /// Adds dots; whether any was new.
    pub(crate) fn extend(&mut self, mut dots: impl Iterator<Item = Dot>) -> bool {
        let before = self.as_slice().len();
        match (dots.next(), dots.next()) {
            (None, _) => {}
            (Some(dot), None) => _ = self.insert(dot),
            // A hostile peer may send thousands: sort once instead of inserting each.
            (Some(one), Some(two)) => {
                *self = self.iter().chain([one, two]).chain(dots).collect();
            }
        }
        self.as_slice().len() > before
    }

    /// Keeps the dots for which `keep` says so; whether any went.
    pub fn retain(&mut self, mut keep: impl FnMut(Dot) -> bool) -> bool {
        match self {
            Dots::None => false,
            Dots::One(dot) => {
                let gone = !keep(*dot);
                if gone {
                    *self = Dots::None;
                }
                gone
            }
            Dots::Many(dots) => {
                let before = dots.len();
                dots.retain(|dot| keep(*dot));
                let gone = dots.len() < before;
                match dots.as_slice() {
                    [] => *self = Dots::None,
                    [one] => *self = Dots::One(*one),
                    _ => {}
                }
                gone
            }
        }
    }

    /// How many bytes it takes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        match self {
            Dots::Many(dots) => size_of::<Vec<Dot>>() + dots.capacity() * size_of::<Dot>(),
            _ => 0,
        }
    }

    /// Replaces all dots by a new one (`keep`) or by none, as a local update does; notes in `change`
    /// what others must hear. Dots that nobody has seen need no mention: the batch's range covers
    /// them (`semantics.md` 3.1, rule 4).
    pub fn replace<E: Events>(&mut self, keep: bool, events: &mut E, change: Option<&mut Touch>) {
        if keep && matches!(self, Dots::One(dot) if events.unsent(*dot)) {
            return; // the dot already stands for an update of this interval
        }
        let new = if keep { Dots::One(events.next()) } else { Dots::None };
        let old = mem::replace(self, new);
        if let Some(change) = change {
            change.supersede(old.iter(), events);
            for dot in self.iter() {
                change.added.insert(dot);
            }
        }
    }

    /// Joins a change; whether anything was new. `seen` is what this side knows, `cleared` what the
    /// change's sender says is gone unless named.
    pub fn apply(&mut self, seen: &impl Seen, cleared: &impl Seen, change: &Touch) -> bool {
        let gone = self.retain(|dot| {
            change.added.contains(dot) || !(cleared.seen(dot) || change.removed.contains(dot))
        });
        let came = self.extend(change.added.iter().filter(|dot| !seen.seen(*dot)));
        gone || came
    }
}

impl FromIterator<Dot> for Dots {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Dots {
        let mut dots = dots.into_iter();
        match (dots.next(), dots.next()) {
            (None, _) => Dots::None,
            (Some(dot), None) => Dots::One(dot),
            (Some(one), Some(two)) => {
                let mut all = Vec::from([one, two]);
                all.extend(dots);
                all.sort_unstable();
                all.dedup();
                match all.as_slice() {
                    [one] => Dots::One(*one),
                    _ => Dots::Many(Box::new(all)),
                }
            }
        }
    }
}

/// A change of a dot set: dots added, and dots removed by name.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Touch {
    /// Live dots.
    pub added: Dots,
    /// Dots that are gone.
    pub removed: Dots,
}

impl Touch {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }

    /// A change that adds `dots`.
    pub(crate) fn adding(dots: impl Iterator<Item = Dot>) -> Touch {
        Touch { added: dots.collect(), removed: Dots::None }
    }

    /// Its removals alone.
    pub(crate) fn removals(&self) -> Touch {
        Touch { added: Dots::None, removed: self.removed.clone() }
    }

    /// Tells `context` of every event that it names.
    pub(crate) fn learn(&self, context: &mut Context) {
        self.added.iter().chain(self.removed.iter()).for_each(|dot| context.insert(dot));
    }

    /// Notes that `old` dots are gone.
    pub fn supersede(&mut self, old: impl Iterator<Item = Dot>, events: &impl Events) {
        for dot in old {
            if !events.unsent(dot) {
                self.removed.insert(dot);
            }
            self.added.retain(|added| added != dot);
        }
    }

    /// Joins another change of the same set. `mine` and `theirs` are what the two sides cleared.
    pub fn join(&mut self, mine: &impl Seen, theirs: &impl Seen, other: &Touch) {
        let ours = mem::take(&mut self.added);
        let knows = |touch: &Touch, cleared: &dyn Seen, dot| {
            touch.removed.contains(dot) || cleared.seen(dot)
        };
        self.added = ours
            .iter()
            .filter(|dot| other.added.contains(*dot) || !knows(other, theirs, *dot))
            .chain(other.added.iter().filter(|dot| ours.contains(*dot) || !knows(self, mine, *dot)))
            .collect();
        self.removed.extend(other.removed.iter());
    }
}

// `knows` wants to take either side's cleared context, whatever its type.
impl<S: Seen + ?Sized> Seen for &S {
    fn seen(&self, dot: Dot) -> bool {
        (**self).seen(dot)
    }
}

impl<S: Seen> Seen for Option<S> {
    fn seen(&self, dot: Dot) -> bool {
        self.as_ref().is_some_and(|context| context.seen(dot))
    }
}

impl Encode for Dots {
    fn encode(&self, to: &mut Encoder) {
        to.dots(self.iter());
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(from.dots()?.into_iter().collect())
    }
}

impl Encode for Touch {
    fn encode(&self, to: &mut Encoder) {
        self.added.encode(to);
        self.removed.encode(to);
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Touch { added: Dots::decode(from)?, removed: Dots::decode(from)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dot::Writer;

    #[test]
    fn a_dot_is_in_a_set_once() {
        let dot = |seq| Dot::new(Writer(0), seq).expect("a small number");
        let mut dots = Dots::default();
        for (seq, held) in [(2, 1), (1, 2), (3, 3)] {
            assert!(dots.insert(dot(seq)) && !dots.insert(dot(seq)));
            assert_eq!(dots.iter().len(), held);
        }
        assert_eq!(dots.as_slice(), [dot(1), dot(2), dot(3)]);
    }
}
