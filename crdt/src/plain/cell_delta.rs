//! A change of a cell, which is a small state: joining it in any order and any number of times is
//! all that replication does.

use alloc::vec::Vec;

use super::counts::Noted;
use super::deadline::Term;
use super::full::Full;
use super::items::{Dotted, Item};
use crate::codec::{DecodeError, Decoder, Encode, Encoder};
use crate::context::{Context, Events, Seen};
use crate::dot::Dot;
use crate::dots::Dots;

/// A change of a cell:
///
/// ```text
/// | values: varint n, n x value | terms: varint n, n x term | removed: dots | counts |
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CellDelta<V> {
    /// In the order of their dots.
    pub(super) values: Vec<V>,
    /// In the order of their dots.
    pub(super) terms: Vec<Term>,
    /// Dots of values and terms that are gone.
    pub(super) removed: Dots,
    pub(super) counts: Noted,
}

impl<V> Default for CellDelta<V> {
    fn default() -> CellDelta<V> {
        CellDelta {
            values: Vec::new(),
            terms: Vec::new(),
            removed: Dots::None,
            counts: Noted::default(),
        }
    }
}

fn find<T: Dotted>(items: &[T], dot: Dot) -> Result<usize, usize> {
    items.binary_search_by_key(&dot, Dotted::dot)
}

/// Joins what came of `items` into what is here; whether anything was new.
fn apply_items<T: Dotted>(
    held: &mut Vec<T>,
    items: &[T],
    seen: &impl Seen,
    gone: impl Fn(Dot) -> bool,
) -> bool {
    let before = held.len();
    held.retain(|item| find(items, item.dot()).is_ok() || !gone(item.dot()));
    let (kept, mut new) = (held.len(), held.len() < before);
    for item in items {
        match find(&held[..kept], item.dot()) {
            Ok(at) => new |= held[at].merge(item),
            Err(_) if !seen.seen(item.dot()) => held.push(item.clone()),
            Err(_) => {}
        }
    }
    if held.len() > kept {
        held.sort_unstable_by_key(Dotted::dot);
        new = true;
    }
    new
}

/// Joins the items of two changes; `gone_mine` and `gone_theirs` say what each side knows to be gone
/// unless it names it.
fn join_items<T: Dotted>(
    mine: &mut Vec<T>,
    theirs: &[T],
    gone_mine: impl Fn(Dot) -> bool,
    gone_theirs: impl Fn(Dot) -> bool,
) {
    let come: Vec<T> = theirs
        .iter()
        .filter(|item| find(mine, item.dot()).is_err() && !gone_mine(item.dot()))
        .cloned()
        .collect();
    mine.retain_mut(|item| match find(theirs, item.dot()) {
        Ok(at) => {
            item.merge(&theirs[at]);
            true
        }
        Err(_) => !gone_theirs(item.dot()),
    });
    if !come.is_empty() {
        mine.extend(come);
        mine.sort_unstable_by_key(Dotted::dot);
    }
}

/// Whether to take away what stands under the dots `removed` takes away what stands under `dot`, too.
fn takes<V: Item>(removed: &Dots, dot: Dot) -> bool {
    let later = |gone: Dot| gone.writer() == dot.writer() && gone.seq() > dot.seq();
    removed.contains(dot) || (V::FOLDS && removed.iter().any(later))
}

/// The first dot of each writer.
struct Firsts(Vec<Dot>);

impl Firsts {
    /// Of items in the order of their dots.
    fn of<T: Dotted>(items: &[T]) -> Firsts {
        let mut firsts: Vec<Dot> = items.iter().map(Dotted::dot).collect();
        firsts.dedup_by_key(|dot| dot.writer());
        Firsts(firsts)
    }

    fn has_before(&self, dot: Dot) -> bool {
        self.0.iter().any(|first| first.writer() == dot.writer() && first.seq() < dot.seq())
    }
}

/// What is known to have gone, where values fold.
struct Held<'a, S> {
    seen: &'a S,
    here: Firsts,
}

impl<S: Seen> Seen for Held<'_, S> {
    fn seen(&self, dot: Dot) -> bool {
        self.seen.seen(dot) && !self.here.has_before(dot)
    }
}

fn insert<T: Dotted>(items: &mut Vec<T>, item: T) {
    match find(items, item.dot()) {
        Ok(at) => items[at] = item,
        Err(at) => items.insert(at, item),
    }
}

fn encode_items<T: Dotted>(items: &[T], to: &mut Encoder) {
    to.count(items.len());
    items.iter().for_each(|item| item.encode(to));
}

fn decode_items<T: Dotted>(from: &mut Decoder<'_>) -> Result<Vec<T>, DecodeError> {
    let count = from.count(T::LEAST)?;
    let mut items: Vec<T> = Vec::new();
    // What is claimed is not believed: room for many comes as they do.
    items.reserve_exact(count.min(1 << 8));
    for _ in 0..count {
        items.push(T::decode(from)?);
    }
    items.sort_by_key(Dotted::dot);
    items.dedup_by(|later, first| {
        let same = later.dot() == first.dot();
        if same {
            first.merge(later);
        }
        same
    });
    Ok(items)
}

impl<V: Item> CellDelta<V> {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.is_value() && self.values.is_empty() && self.removed.is_empty()
    }

    /// Whether it says nothing of counts and terms.
    pub(super) fn is_value(&self) -> bool {
        self.terms.is_empty() && self.counts.is_empty()
    }

    pub(super) fn add_value(&mut self, value: V) {
        insert(&mut self.values, value);
    }

    pub(super) fn add_term(&mut self, term: Term) {
        insert(&mut self.terms, term);
    }

    /// Notes that a dot is gone. One that nobody has seen needs no mention: the batch's range covers
    /// it.
    pub(super) fn supersede(&mut self, dot: Dot, events: &impl Events) {
        if !events.unsent(dot) {
            self.removed.insert(dot);
        }
        self.values.retain(|value| value.dot() != dot);
        self.terms.retain(|term| term.dot != dot);
    }

    /// Whether it takes away what stands under a dot.
    fn takes(&self, dot: Dot) -> bool {
        takes::<V>(&self.removed, dot)
    }

    /// Drops what a clear of `context` says as well.
    pub(super) fn forget(&mut self, context: &impl Seen) {
        self.values.retain(|value| !context.seen(value.dot()));
        self.terms.retain(|term| !context.seen(term.dot));
        self.removed.retain(|dot| !context.seen(dot));
    }

    /// Joins it into a cell; whether anything was new.
    pub(super) fn apply_to(
        &self,
        full: &mut Full<V>,
        seen: &impl Seen,
        cleared: &Option<Context>,
    ) -> bool {
        let gone = |dot| self.takes(dot) || cleared.seen(dot);
        let values = if V::FOLDS {
            self.apply_folding(&mut full.values, seen, cleared)
        } else {
            apply_items(&mut full.values, &self.values, seen, gone)
        };
        let terms = apply_items(&mut full.terms, &self.terms, seen, gone);
        full.counts.apply(seen, cleared, &self.counts) | values | terms
    }

    /// Joins values that fold; whether anything was new. One side may have moved what the other holds under
    /// other dots of its writer, and a dot that is known and not held may have been moved, too. It was deleted
    /// only if no earlier one of its writer is left there: a delete would have taken that, too.
    fn apply_folding(
        &self,
        held: &mut Vec<V>,
        seen: &impl Seen,
        cleared: &Option<Context>,
    ) -> bool {
        let (here, there) = (Firsts::of(held), Firsts::of(&self.values));
        let gone = |dot| self.takes(dot) || (cleared.seen(dot) && !there.has_before(dot));
        let new = apply_items(held, &self.values, &Held { seen, here }, gone);
        if new {
            V::settle(held, &self.values);
        }
        new
    }

    /// Joins another change of the same cell. `mine` and `theirs` are what the two sides cleared.
    pub(super) fn join(&mut self, mine: &impl Seen, theirs: &impl Seen, other: &CellDelta<V>) {
        let removed = core::mem::take(&mut self.removed);
        let gone_mine = |dot| takes::<V>(&removed, dot) || mine.seen(dot);
        let gone_theirs = |dot| other.takes(dot) || theirs.seen(dot);
        join_items(&mut self.values, &other.values, gone_mine, gone_theirs);
        join_items(&mut self.terms, &other.terms, gone_mine, gone_theirs);
        self.removed = removed;
        self.removed.extend(other.removed.iter());
        self.counts.join(mine, theirs, &other.counts);
    }

    /// Its removals alone.
    pub(super) fn removals(&self) -> CellDelta<V> {
        CellDelta {
            removed: self.removed.clone(),
            counts: self.counts.removals(),
            ..CellDelta::default()
        }
    }

    /// Tells `context` of every event that it names. Counts teach nothing; see [`crate::Crdt::learn`].
    pub(super) fn learn(&self, context: &mut Context) {
        self.values.iter().for_each(|value| context.insert(value.dot()));
        self.terms.iter().for_each(|term| context.insert(term.dot));
        for dot in self.removed.iter() {
            if V::FOLDS {
                context.raise(dot.writer(), dot.seq());
            } else {
                context.insert(dot);
            }
        }
    }

    /// Writes it.
    pub(super) fn encode(&self, to: &mut Encoder) {
        encode_items(&self.values, to);
        encode_items(&self.terms, to);
        self.removed.encode(to);
        self.counts.encode(to);
    }

    /// Reads what [`CellDelta::encode`] wrote.
    pub(super) fn decode(from: &mut Decoder<'_>) -> Result<CellDelta<V>, DecodeError> {
        Ok(CellDelta {
            values: decode_items(from)?,
            terms: decode_items(from)?,
            removed: Dots::decode(from)?,
            counts: Noted::decode(from)?,
        })
    }
}
