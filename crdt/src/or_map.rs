//! Observed-remove map: fields that each hold a register, a counter, or both.
//!
//! A field reads as Redis's hash field does: its register's winner; if that is an integer, plus the
//! counter. Setting a field replaces the values and the counts it has seen; counting on it adds.
//! Deleting a field, or the map, covers what is seen: a concurrent set survives alone, of a
//! concurrent count exactly the unseen amount (`semantics.md` 3.2 and 3.3). All fields share the
//! function's sequence, so a deleted field leaves nothing but the floors of other writers' counts.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec::Vec;

use crate::Crdt;
use crate::codec::{DecodeError, Decoder, Encode, Encoder};
use crate::context::{Context, Events, Seen, Writers};
use crate::counter::{Counter, CounterDelta, Overflow, join_cleared};
use crate::mv_register::{MvRegister, RegisterDelta};
use crate::set::join_touched;
use crate::table::Table;

/// What a field holds.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Field {
    /// Values set.
    pub register: MvRegister,
    /// Counts added since; boxed, since most fields never count.
    pub counter: Option<Box<Counter>>,
}

/// A map from fields to registers and counters.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct OrMap {
    fields: Table<Field>,
    /// How many fields hold more than floors.
    live: usize,
}

/// A change of a field.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
struct FieldDelta {
    register: RegisterDelta,
    counter: CounterDelta,
}

/// A change of a map: `| fields: varint n, n x (field, register, counter) | cleared |`.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct MapDelta {
    touched: BTreeMap<Box<[u8]>, FieldDelta>,
    cleared: Option<Context>,
}

/// Why a field could not be counted on. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CountError {
    /// Its value is not an integer.
    NotInteger,
    /// The sum would not fit 64 bits.
    Overflow,
}

impl From<Overflow> for CountError {
    fn from(_: Overflow) -> CountError {
        CountError::Overflow
    }
}

/// An integer as Redis writes it; none if `text` is anything else.
fn integer(text: &[u8]) -> Option<i64> {
    let text = core::str::from_utf8(text).ok()?;
    let n: i64 = text.parse().ok()?;
    (n.to_string() == text).then_some(n)
}

impl Field {
    /// Whether it reads as absent.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.register.is_absent() && self.count().is_none()
    }

    fn is_blank(&self) -> bool {
        self.register.is_blank() && self.counter.as_ref().is_none_or(|counter| counter.is_blank())
    }

    fn count(&self) -> Option<&Counter> {
        self.counter.as_deref().filter(|counter| !counter.is_absent())
    }

    fn counted<'a>(&self, value: &'a [u8]) -> Cow<'a, [u8]> {
        match (self.count(), integer(value)) {
            (Some(counter), Some(base)) => {
                let sum = counter.total() + i128::from(base);
                let sum = i64::try_from(sum).unwrap_or(if sum > 0 { i64::MAX } else { i64::MIN });
                Cow::Owned(sum.to_string().into_bytes())
            }
            _ => Cow::Borrowed(value),
        }
    }

    /// The one value it reads as; none if it is absent.
    #[must_use]
    pub fn value(&self, writers: &Writers) -> Option<Cow<'_, [u8]>> {
        match self.register.winner(writers) {
            Some(winner) => Some(self.counted(winner)),
            None => {
                self.count().map(|counter| Cow::Owned(counter.value().to_string().into_bytes()))
            }
        }
    }

    /// All concurrent values, bytewise in order.
    #[must_use]
    pub fn values(&self) -> Vec<Cow<'_, [u8]>> {
        let mut values: Vec<_> =
            self.register.values().into_iter().map(|value| self.counted(value)).collect();
        if let (true, Some(counter)) = (values.is_empty(), self.count()) {
            values.push(Cow::Owned(counter.value().to_string().into_bytes()));
        }
        values.sort_unstable();
        values.dedup();
        values
    }

    /// Deletes what is seen here; whether there was anything.
    fn reset<E: Events>(&mut self, events: &mut E, mut change: Option<&mut FieldDelta>) -> bool {
        let there = !self.is_absent();
        self.register.reset(events, change.as_mut().map(|change| &mut change.register));
        if let Some(counter) = &mut self.counter {
            counter.reset(events, change.map(|change| &mut change.counter));
            if counter.is_blank() {
                self.counter = None;
            }
        }
        there
    }
}

impl OrMap {
    /// How many fields it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// What `field` holds; none if it reads as absent.
    #[must_use]
    pub fn get(&self, field: &[u8]) -> Option<&Field> {
        self.fields.get(field).filter(|field| !field.is_absent())
    }

    /// The fields, those included that hold but floors: iteration, scan.
    #[must_use]
    pub fn fields(&self) -> &Table<Field> {
        &self.fields
    }

    /// Sets `field` to `value` in place of what is seen here; whether the field is new here.
    pub fn set<E: Events>(
        &mut self,
        field: &[u8],
        value: &[u8],
        events: &mut E,
        change: Option<&mut MapDelta>,
    ) -> bool {
        let (held, _) = self.fields.get_or_insert_with(field, Field::default);
        let mut change = change.map(|change| change.touch(field));
        let was_absent = held.is_absent();
        if let Some(counter) = &mut held.counter {
            counter.reset(events, change.as_mut().map(|change| &mut change.counter));
            if counter.is_blank() {
                held.counter = None;
            }
        }
        held.register.set(value, events, change.map(|change| &mut change.register));
        self.live += usize::from(was_absent);
        was_absent
    }

    /// Adds `n` to `field`; its new value. An absent field counts from 0.
    ///
    /// # Errors
    /// If the field's value is not an integer, or the sum does not fit 64 bits.
    pub fn add<E: Events>(
        &mut self,
        field: &[u8],
        n: i64,
        writers: &Writers,
        events: &mut E,
        change: Option<&mut MapDelta>,
    ) -> Result<i64, CountError> {
        let held = self.fields.get(field);
        let base = match held.and_then(|held| held.register.winner(writers)) {
            Some(winner) => integer(winner).ok_or(CountError::NotInteger)?,
            None => 0,
        };
        let counted = held.and_then(Field::count).map_or(0, Counter::total);
        let sum = i128::from(base) + counted + i128::from(n);
        let sum = i64::try_from(sum).map_err(|_| CountError::Overflow)?;
        let amount = n.unsigned_abs();
        let (p, n) = if n < 0 { (0, amount) } else { (amount, 0) };
        if let Some(held) = held {
            held.counter.as_deref().unwrap_or(&Counter::None).check(p, n)?;
        }
        let (held, _) = self.fields.get_or_insert_with(field, Field::default);
        let was_absent = held.is_absent();
        let counter = held.counter.get_or_insert_default();
        counter.add(p, n, events)?;
        if let (Some(change), Some(entry)) = (change, counter.entry(events.writer())) {
            change.touch(field).counter.note(entry);
        }
        self.live += usize::from(was_absent);
        Ok(sum)
    }

    /// Deletes what this node has seen of `field`; whether it was there.
    pub fn remove<E: Events>(
        &mut self,
        field: &[u8],
        events: &mut E,
        change: Option<&mut MapDelta>,
    ) -> bool {
        let Some(held) = self.fields.get_mut(field) else {
            return false;
        };
        if held.is_absent() {
            return false;
        }
        held.reset(events, change.map(|change| change.touch(field)));
        if held.is_blank() {
            self.fields.remove(field);
        }
        self.live -= 1;
        true
    }

    /// Deletes all that is seen here, which is what `context` covers; how many fields there were.
    /// Counters leave floors, since a total cannot be cut at an event afterwards.
    pub fn clear<E: Events>(
        &mut self,
        context: &Context,
        events: &mut E,
        mut change: Option<&mut MapDelta>,
    ) -> usize {
        let gone = self.live;
        if gone == 0 {
            return 0;
        }
        events.next();
        if let Some(change) = &mut change {
            change.touched.retain(|_, field| {
                field.register.forget(context);
                !field.is_empty()
            });
        }
        self.fields.retain(|field, held| {
            held.register = MvRegister::None;
            if let Some(counter) = &mut held.counter {
                let change = change.as_mut().map(|change| &mut change.touch(field).counter);
                counter.reset(events, change);
                if counter.is_blank() {
                    held.counter = None;
                }
            }
            !held.is_blank()
        });
        if let Some(change) = change {
            change.touched.retain(|_, field| !field.is_empty());
            join_cleared(&mut change.cleared, &Some(context.clone()));
        }
        self.live = 0;
        gone
    }

    fn recount(&mut self) {
        self.live = self.fields.iter().filter(|(_, field)| !field.is_absent()).count();
    }

    /// Forgets floors, as [`Counter::collect`] does.
    pub fn collect(&mut self, applied: impl Fn(crate::Writer, crate::Dot) -> bool) {
        self.fields.retain(|_, field| {
            if let Some(counter) = &mut field.counter {
                counter.collect(&applied);
                if counter.is_blank() {
                    field.counter = None;
                }
            }
            !field.is_blank()
        });
    }
}

impl FieldDelta {
    fn is_empty(&self) -> bool {
        self.register.is_empty() && self.counter.is_empty()
    }
}

impl MapDelta {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.touched.is_empty() && self.cleared.is_none()
    }

    fn touch(&mut self, field: &[u8]) -> &mut FieldDelta {
        if !self.touched.contains_key(field) {
            self.touched.insert(Box::from(field), FieldDelta::default());
        }
        self.touched.get_mut(field).expect("inserted above")
    }
}

fn apply_field(
    field: &mut Field,
    seen: &impl Seen,
    cleared: &impl Seen,
    change: &FieldDelta,
) -> bool {
    let mut new = change.register.apply_to(&mut field.register, seen, cleared);
    let mut counter = field.counter.take().map_or(Counter::None, |counter| *counter);
    new |= change.counter.apply_to(&mut counter, seen, cleared);
    if !counter.is_blank() {
        field.counter = Some(Box::new(counter));
    }
    new
}

impl Crdt for OrMap {
    type Delta = MapDelta;

    fn is_absent(&self) -> bool {
        self.is_empty()
    }

    fn is_blank(&self) -> bool {
        self.fields.is_empty()
    }

    fn apply(&mut self, seen: &impl Seen, delta: &MapDelta) -> bool {
        let mut new = false;
        if delta.cleared.is_some() {
            let silent = FieldDelta::default();
            self.fields.retain(|name, field| {
                if !delta.touched.contains_key(name) {
                    new |= apply_field(field, seen, &delta.cleared, &silent);
                }
                !field.is_blank()
            });
        }
        for (name, change) in &delta.touched {
            let (field, _) = self.fields.get_or_insert_with(name, Field::default);
            new |= apply_field(field, seen, &delta.cleared, change);
            if field.is_blank() {
                self.fields.remove(name);
            }
        }
        self.recount();
        new
    }

    fn whole(&self, context: &Context) -> MapDelta {
        let whole = |field: &Field| FieldDelta {
            register: RegisterDelta::of(&field.register),
            counter: field.counter.as_deref().map(CounterDelta::of).unwrap_or_default(),
        };
        MapDelta {
            touched: self.fields.iter().map(|(name, f)| (Box::from(name), whole(f))).collect(),
            cleared: Some(context.clone()),
        }
    }

    fn join_delta(delta: &mut MapDelta, other: &MapDelta) {
        join_touched(
            (&mut delta.touched, &delta.cleared),
            (&other.touched, &other.cleared),
            |field, mine, theirs, other| {
                field.register.join(mine, theirs, &other.register);
                field.counter.join(mine, theirs, &other.counter);
                !field.is_empty()
            },
        );
        join_cleared(&mut delta.cleared, &other.cleared);
    }

    fn heap_bytes(&self) -> usize {
        let fields: usize = self
            .fields
            .iter()
            .map(|(_, field)| {
                let counter = |counter: &Counter| size_of::<Counter>() + counter.heap_bytes();
                field.register.heap_bytes() + field.counter.as_deref().map_or(0, counter)
            })
            .sum();
        size_of::<OrMap>() + self.fields.heap_bytes() + fields
    }
}

impl Encode for MapDelta {
    fn encode(&self, to: &mut Encoder) {
        to.count(self.touched.len());
        for (name, field) in &self.touched {
            to.bytes(name);
            field.register.encode(to);
            field.counter.encode(to);
        }
        self.cleared.encode(to);
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let mut delta = MapDelta::default();
        for _ in 0..from.count(6)? {
            let name = from.boxed()?;
            let field =
                FieldDelta { register: Encode::decode(from)?, counter: Encode::decode(from)? };
            delta.touched.insert(name, field);
        }
        delta.cleared = Option::decode(from)?;
        Ok(delta)
    }
}
