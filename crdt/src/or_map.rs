//! Observed-remove map: fields that each hold a register, a counter, or both.
//!
//! A field reads as Redis's hash field does: its register's winner; if that is an integer, plus the
//! counter. Setting a field replaces the values and the counts it has seen; counting on it adds.
//! Deleting a field, or the map, covers what is seen: a concurrent set survives alone, of a
//! concurrent count exactly the unseen amount (`semantics.md` 3.2 and 3.3). All fields share the
//! function's sequence, so a deleted field leaves nothing but the floors of other writers' counts.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;

use crate::cleared::{complete, join_cleared};
use crate::codec::{DecodeError, Decoder, Encode, Encoder};
use crate::context::{Context, Events, Seen, Writers};
use crate::counter::{Counter, CounterDelta, Overflow, bounded, saturate};
use crate::crdt::{Crdt, Shown, Tally};
use crate::digest::digest_of;
use crate::dot::{Dot, Writer};
use crate::mv_register::{MvRegister, RegisterDelta};
use crate::parts::Parts;
use crate::table::{Header, Table};

/// What a field holds.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Field {
    /// Values set.
    pub register: MvRegister,
    /// Counts added since; boxed, since most fields never count.
    pub counter: Option<Box<Counter>>,
}

impl Header for Field {}

/// A map from fields to registers and counters.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct OrMap {
    pub(crate) fields: Table<Field>,
    /// How many fields hold more than floors.
    pub(crate) live: usize,
}

/// A change of a field.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct FieldDelta {
    pub(crate) register: RegisterDelta,
    pub(crate) counter: CounterDelta,
}

/// A change of a map: `| fields: varint n, n x (field, register, counter) | cleared |`, where
/// register and counter are without a cleared context of their own.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct MapDelta {
    touched: Parts<FieldDelta>,
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

    fn since(&self, known: &impl Seen) -> FieldDelta {
        let counted = |counter: &Counter| CounterDelta::since(counter, known);
        FieldDelta {
            register: RegisterDelta::since(&self.register, known),
            counter: self.counter.as_deref().map(counted).unwrap_or_default(),
        }
    }

    pub(crate) fn is_blank(&self) -> bool {
        self.register.is_blank() && self.counter.as_ref().is_none_or(|counter| counter.is_blank())
    }

    fn count(&self) -> Option<&Counter> {
        self.counter.as_deref().filter(|counter| !counter.is_absent())
    }

    fn counted<'a>(&self, value: &'a [u8]) -> Cow<'a, [u8]> {
        match (self.count(), integer(value)) {
            (Some(counter), Some(base)) => {
                let sum = saturate(counter.total() + i128::from(base));
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

    /// Deletes what is seen here.
    fn reset<E: Events>(&mut self, events: &mut E, mut change: Option<&mut FieldDelta>) {
        self.register.reset(events, change.as_mut().map(|change| &mut change.register));
        if let Some(counter) = &mut self.counter {
            Counter::reset(counter, events, change.map(|change| &mut change.counter));
            if counter.is_blank() {
                self.counter = None;
            }
        }
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
            Counter::reset(counter, events, change.as_mut().map(|change| &mut change.counter));
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
        let old = i128::from(base) + counted;
        let sum = bounded(old, old + i128::from(n))?;
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
        if let Some(change) = change {
            held.reset(events, Some(change.touch(field)));
            change.forget_if_empty(field);
        } else {
            held.reset(events, None);
        }
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
        // What was fetched ahead of the vector is seen, too.
        let mut cleared = change.is_some().then(|| context.clone());
        self.fields.retain(|field, held| {
            if let Some(cleared) = &mut cleared {
                let values = held.register.stamped().iter();
                values.for_each(|value| cleared.insert(value.header().dot));
            }
            held.register = MvRegister::None;
            if let Some(counter) = &mut held.counter {
                let mut change = change.as_mut().map(|change| &mut change.touch(field).counter);
                if let Some(change) = &mut change {
                    counter.note_floors(change);
                }
                Counter::reset(counter, events, change);
                if counter.is_blank() {
                    held.counter = None;
                }
            }
            !held.is_blank()
        });
        if let Some(change) = change {
            change.touched.retain(|_, field| !field.is_empty());
            join_cleared(&mut change.cleared, &cleared);
        }
        self.live = 0;
        gone
    }

    /// As [`Counter::adopt`], of every field's counter.
    pub fn adopt<E: Events>(
        &mut self,
        gone: impl Fn(Dot) -> bool,
        events: &mut E,
        mut change: Option<&mut MapDelta>,
    ) -> bool {
        let mut any = false;
        self.fields.retain(|field, held| {
            if let Some(counter) = held.counter.as_mut().filter(|counter| counter.counts(&gone)) {
                let change = change.as_mut().map(|change| &mut change.touch(field).counter);
                any |= counter.adopt(&gone, events, change);
            }
            true
        });
        if let Some(change) = change {
            change.touched.retain(|_, field| !field.is_empty());
        }
        any
    }

    /// As [`Counter::counts`], of any field. Linear in the fields.
    #[must_use]
    pub fn counts(&self, which: impl Fn(Dot) -> bool) -> bool {
        let counts = |counter: &Counter| counter.counts(&which);
        self.fields.iter().any(|(_, field)| field.counter.as_deref().is_some_and(counts))
    }

    /// As [`Counter::has_dead_entries`], of any field. Linear in the fields.
    #[must_use]
    pub fn has_dead_entries(&self) -> bool {
        let dead = |counter: &Counter| counter.has_dead_entries();
        self.fields.iter().any(|(_, field)| field.counter.as_deref().is_some_and(dead))
    }

    /// Forgets floors, as [`Counter::collect`] does.
    pub fn collect(&mut self, applied: impl Fn(Dot, Dot) -> bool) {
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
    pub(crate) fn is_empty(&self) -> bool {
        self.register.is_empty() && self.counter.is_empty()
    }
}

impl MapDelta {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.touched.is_empty() && self.cleared.is_none()
    }

    /// The fields that it speaks of by name.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &[u8]> {
        self.touched.iter().map(|(name, _)| name)
    }

    pub(crate) fn touch(&mut self, field: &[u8]) -> &mut FieldDelta {
        self.touched.touch(field)
    }

    /// What it says is gone, whatever it names.
    pub(crate) fn cleared(&self) -> &Option<Context> {
        &self.cleared
    }

    /// Says that what `cleared` covers and it does not name is gone.
    pub(crate) fn set_cleared(&mut self, cleared: Context) {
        self.cleared = Some(cleared);
    }

    /// Whether it names `field`.
    pub(crate) fn names(&self, field: &[u8]) -> bool {
        self.touched.contains(field)
    }

    pub(crate) fn forget_if_empty(&mut self, field: &[u8]) {
        if self.touched.get(field).is_some_and(FieldDelta::is_empty) {
            self.touched.remove(field);
        }
    }
}

/// The digest of a field, of those of what it holds.
pub(crate) fn field_digest(name: &[u8], register: u64, count: u64) -> u64 {
    if (register, count) == (0, 0) {
        return 0;
    }
    digest_of(&register.to_le_bytes(), digest_of(name, count))
}

/// Joins a change into a field; `live` counts the fields that are not absent.
fn apply_field(
    field: &mut Field,
    live: &mut usize,
    seen: &impl Seen,
    cleared: &Option<Context>,
    change: &FieldDelta,
) -> bool {
    let was_absent = field.is_absent();
    let mut new = change.register.apply_to(&mut field.register, seen, cleared);
    let mut counter = field.counter.take().map_or(Counter::None, |counter| *counter);
    new |= change.counter.apply_to(&mut counter, seen, cleared);
    if !counter.is_blank() {
        field.counter = Some(Box::new(counter));
    }
    *live = *live + usize::from(was_absent) - usize::from(field.is_absent());
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
                if !delta.touched.contains(name) {
                    new |= apply_field(field, &mut self.live, seen, &delta.cleared, &silent);
                }
                !field.is_blank()
            });
        }
        for (name, change) in delta.touched.iter() {
            let (field, _) = self.fields.get_or_insert_with(name, Field::default);
            new |= apply_field(field, &mut self.live, seen, &delta.cleared, change);
            if field.is_blank() {
                self.fields.remove(name);
            }
        }
        new
    }

    fn whole(&self, context: &Context) -> MapDelta {
        MapDelta { cleared: Some(context.clone()), ..self.since(&()) }
    }

    fn parts(&self) -> usize {
        self.fields.len()
    }

    fn piece(&self, cursor: u64, most: usize) -> (MapDelta, u64) {
        let mut touched = Vec::new();
        let next = self.fields.scan(cursor, most, |name, field| {
            let change = field.since(&());
            if !change.is_empty() {
                touched.push((Box::from(name), change));
            }
        });
        (MapDelta { touched: Parts::list(touched), cleared: None }, next)
    }

    fn since(&self, known: &impl Seen) -> MapDelta {
        let touched = self.fields.iter().map(|(name, field)| (name, field.since(known)));
        let touched = touched.filter(|(_, change)| !change.is_empty());
        MapDelta { touched: touched.map(|(name, f)| (Box::from(name), f)).collect(), cleared: None }
    }

    fn join_delta(delta: &mut MapDelta, other: &MapDelta) {
        delta.touched.join(
            (&other.touched, &delta.cleared, &other.cleared),
            |field, mine, theirs, other| {
                field.register.join(mine, theirs, &other.register);
                field.counter.join(mine, theirs, &other.counter);
                !field.is_empty()
            },
        );
        join_cleared(&mut delta.cleared, &other.cleared);
    }

    fn complete(delta: &mut MapDelta, context: &Context) -> bool {
        complete(&mut delta.cleared, context)
    }

    fn digest(&self, writers: &Writers) -> u64 {
        self.fields.iter().fold(0, |sum, (name, field)| {
            let count = field.counter.as_deref().map_or(0, |counter| counter.digest(writers));
            sum.wrapping_add(field_digest(name, field.register.digest(writers), count))
        })
    }

    fn removals(delta: &MapDelta) -> MapDelta {
        let gone = |field: &FieldDelta| FieldDelta {
            register: field.register.removals(),
            counter: field.counter.removals(),
        };
        let touched = delta.touched.iter().map(|(name, field)| (name, gone(field)));
        let touched = touched.filter(|(_, change)| !change.is_empty());
        MapDelta {
            touched: touched.map(|(name, change)| (Box::from(name), change)).collect(),
            cleared: delta.cleared.clone(),
        }
    }

    fn each_added(delta: &MapDelta, each: &mut impl FnMut(Dot)) {
        for (_, field) in delta.touched.iter() {
            field.register.each_added(each);
            field.counter.each_added(each);
        }
    }

    fn learn(delta: &MapDelta, context: &mut Context) {
        delta.touched.iter().for_each(|(_, field)| field.register.learn(context));
        delta.cleared.iter().for_each(|cleared| context.join(cleared));
    }

    fn reset<E: Events>(
        &mut self,
        context: &Context,
        events: &mut E,
        change: Option<&mut MapDelta>,
    ) -> bool {
        self.clear(context, events, change) > 0
    }

    fn size(&self) -> i64 {
        self.len() as i64
    }

    fn each_dot(&self, mut each: impl FnMut(Dot)) {
        for (_, field) in self.fields.iter() {
            field.register.each_dot(&mut each);
            field.counter.iter().for_each(|counter| counter.each_dot(&mut each));
        }
    }

    fn show(&self, writers: &Writers) -> Shown {
        let shown = |(name, field): (&[u8], &Field)| {
            field.value(writers).map(|value| (name.to_vec(), value.into_owned()))
        };
        let mut fields: Vec<_> = self.fields.iter().filter_map(shown).collect();
        fields.sort_unstable();
        Shown::Fields(fields)
    }

    fn adopt<E: Events>(
        &mut self,
        gone: &impl Fn(Dot) -> bool,
        events: &mut E,
        change: Option<&mut MapDelta>,
    ) -> bool {
        OrMap::adopt(self, gone, events, change)
    }

    fn counts(&self, which: &impl Fn(Dot) -> bool) -> bool {
        OrMap::counts(self, which)
    }

    fn has_dead_entries(&self) -> bool {
        OrMap::has_dead_entries(self)
    }

    fn collect(&mut self, applied: &impl Fn(Dot, Dot) -> bool) {
        OrMap::collect(self, applied);
    }

    fn tally(&self, field: &[u8], writer: Writer) -> Option<Tally> {
        self.fields.get(field)?.counter.as_ref()?.tally(&[], writer)
    }

    fn correct<E: Events>(
        &mut self,
        (field, of): (&[u8], Writer),
        amount: i128,
        events: &mut E,
        change: Option<&mut MapDelta>,
    ) -> bool {
        let counter = self.fields.get_mut(field).and_then(|held| held.counter.as_mut());
        let Some(counter) = counter else { return false };
        let noted = change.map(|change| &mut change.touch(field).counter);
        counter.correct((&[], of), amount, events, noted)
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
        for (name, field) in self.touched.iter() {
            to.bytes(name);
            field.register.encode_parts(to);
            field.counter.encode_parts(to);
        }
        self.cleared.encode(to);
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let touched = from.map(4, |from| {
            let name = from.boxed()?;
            let field = FieldDelta {
                register: RegisterDelta::decode_parts(from)?,
                counter: CounterDelta::decode_parts(from)?,
            };
            if field.is_empty() { Err(DecodeError::Invalid("field")) } else { Ok((name, field)) }
        })?;
        Ok(MapDelta { touched, cleared: Option::decode(from)? })
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::format;
    use alloc::string::String;

    use proptest::prelude::*;

    use super::*;
    use crate::ReplicaId;
    use crate::laws::{Site, exchange};

    #[derive(Clone, Debug)]
    enum Edit {
        Set(u8, u8),
        Text(u8),
        Add(u8, i64),
        Remove(u8),
        Clear,
    }

    fn edit(site: &mut Site<OrMap>, edit: &Edit) {
        match edit {
            Edit::Set(field, n) => set(site, &[*field], format!("{n}").as_bytes()),
            Edit::Text(field) => set(site, &[*field], b"text"),
            Edit::Add(field, n) => _ = add(site, &[*field], *n),
            Edit::Remove(field) => _ = remove(site, &[*field]),
            Edit::Clear => clear(site),
        }
    }

    fn known() -> Writers {
        let mut writers = Writers::new();
        [10, 11, 12].into_iter().for_each(|id| _ = writers.intern(ReplicaId(id)));
        writers
    }

    fn set(site: &mut Site<OrMap>, field: &[u8], value: &[u8]) {
        site.edit(|map, events, change| map.set(field, value, events, Some(change)));
    }

    fn add(site: &mut Site<OrMap>, field: &[u8], n: i64) -> Result<i64, CountError> {
        site.edit(|map, events, change| map.add(field, n, &known(), events, Some(change)))
    }

    fn remove(site: &mut Site<OrMap>, field: &[u8]) -> bool {
        site.edit(|map, events, change| map.remove(field, events, Some(change)))
    }

    fn clear(site: &mut Site<OrMap>) {
        let context = site.context.clone();
        site.edit(|map, events, change| map.clear(&context, events, Some(change)));
    }

    /// Every field's one value and all its values, in the fields' order.
    fn read(map: &OrMap) -> BTreeMap<Vec<u8>, (String, Vec<Vec<u8>>)> {
        let present = map.fields().iter().filter(|(_, field)| !field.is_absent());
        let read = |field: &Field| {
            let value = field.value(&known()).expect("present fields have a value");
            let all = field.values().into_iter().map(Cow::into_owned).collect();
            (String::from_utf8_lossy(&value).into_owned(), all)
        };
        let fields: BTreeMap<_, _> = present.map(|(name, f)| (name.to_vec(), read(f))).collect();
        assert_eq!(fields.len(), map.len());
        assert!(fields.keys().all(|name| map.get(name).is_some()));
        fields
    }

    crate::laws! {
        map: OrMap, Edit = prop_oneof![
            4 => (0u8..3, 0u8..3).prop_map(|(field, n)| Edit::Set(field, n)),
            1 => (0u8..3).prop_map(Edit::Text),
            6 => (0u8..3, -9i64..100).prop_map(|(field, n)| Edit::Add(field, n)),
            1 => (0u8..3, prop::sample::select(&[i64::MAX, i64::MIN, i64::MIN / 2][..]))
                .prop_map(|(field, n)| Edit::Add(field, n)),
            3 => (0u8..3).prop_map(Edit::Remove),
            1 => Just(Edit::Clear),
        ],
        |site, op| edit(site, op),
        |map| read(map),
        settle |map| map.collect(|_, _| true)
    }

    fn sites() -> [Site<OrMap>; 3] {
        [0, 1, 2].map(Site::new)
    }

    /// The values of field `f`, which all replicas agree on.
    fn agree(sites: &mut [Site<OrMap>]) -> Option<String> {
        exchange(sites);
        assert!(sites.iter().all(|site| read(&site.state) == read(&sites[0].state)));
        let field = sites[0].state.get(b"f")?;
        Some(String::from_utf8_lossy(&field.value(&known())?).into_owned())
    }

    fn check(before: &[Edit], one: &[Edit], other: &[Edit], expected: Option<&str>) {
        let mut all = sites();
        before.iter().for_each(|op| edit(&mut all[0], op));
        exchange(&mut all);
        one.iter().for_each(|op| edit(&mut all[1], op));
        other.iter().for_each(|op| edit(&mut all[2], op));
        assert_eq!(agree(&mut all).as_deref(), expected, "{before:?} then {one:?} || {other:?}");
    }

    #[test]
    fn concurrent_updates_of_a_field() {
        use Edit::{Add, Clear, Remove, Set};
        const F: u8 = b'f';
        // A set survives a concurrent delete, alone.
        check(&[Set(F, 1), Add(F, 5)], &[Set(F, 2)], &[Remove(F)], Some("2"));
        check(&[Set(F, 1)], &[Set(F, 2)], &[Clear], Some("2"));
        // Of a concurrent count, exactly the unseen amount survives a delete.
        check(&[Add(F, 100)], &[Add(F, 5)], &[Remove(F)], Some("5"));
        check(&[Add(F, 100)], &[Add(F, 5)], &[Clear], Some("5"));
        check(&[Set(F, 9), Add(F, 100)], &[Add(F, 5)], &[Remove(F)], Some("5"));
        // A set takes the counts it saw; a concurrent count comes on top.
        check(&[Add(F, 100)], &[Set(F, 10)], &[Add(F, 5)], Some("15"));
        check(&[Set(F, 10)], &[Add(F, 5)], &[Add(F, -7)], Some("8"));
        // Deletes agree with each other.
        check(&[Set(F, 1), Add(F, 5)], &[Remove(F)], &[Clear], None);
        check(&[Add(F, 5)], &[Remove(F), Add(F, 1)], &[Remove(F)], Some("1"));
        // The later of two concurrent sets; then the greater writer. Its counts stay with it.
        check(&[], &[Set(F, 1)], &[Set(F, 0), Set(F, 2)], Some("2"));
        check(&[], &[Set(F, 1), Add(F, 5)], &[Set(F, 2)], Some("7"));
    }

    /// Defect 8 of the original: not replicated; `has` deleted; `clear` resurrected after a merge;
    /// a removed key stayed readable.
    #[test]
    fn d8_a_map_replicates_and_forgets_what_is_removed() {
        let mut all = sites();
        set(&mut all[0], b"f", b"1");
        set(&mut all[0], b"g", b"2");
        assert_eq!(agree(&mut all).as_deref(), Some("1"));
        assert!(all[1].state.get(b"f").is_some() && all[1].state.get(b"f").is_some());
        assert_eq!(all[1].state.len(), 2);
        assert!(remove(&mut all[1], b"f"));
        assert!(all[1].state.get(b"f").is_none());
        let old = all[2].clone();
        assert_eq!(agree(&mut all), None);
        clear(&mut all[2]);
        all[2].join(&old);
        assert!(all[2].state.is_empty(), "an old state brings nothing back");
        assert_eq!(agree(&mut all), None);
        assert!(all.iter().all(|site| site.state.is_blank()), "nothing is left of it");
    }

    #[test]
    fn text_hides_counts_and_does_not_lose_them() {
        let mut all = sites();
        assert_eq!(add(&mut all[0], b"f", 5), Ok(5));
        set(&mut all[1], b"f", b"text");
        assert_eq!(agree(&mut all).as_deref(), Some("text"));
        assert_eq!(add(&mut all[2], b"f", 1), Err(CountError::NotInteger));
        set(&mut all[2], b"f", b"1");
        assert_eq!(agree(&mut all).as_deref(), Some("1"), "the count was seen by then");
    }

    #[test]
    fn a_count_that_does_not_fit_changes_nothing() {
        let mut all = sites();
        set(&mut all[0], b"f", b"9223372036854775800");
        assert_eq!(add(&mut all[0], b"f", 7), Ok(i64::MAX));
        let before = all[0].state.clone();
        assert_eq!(add(&mut all[0], b"f", 1), Err(CountError::Overflow));
        assert_eq!(all[0].state, before);
        assert_eq!(add(&mut all[0], b"g", i64::MIN), Ok(i64::MIN));
        set(&mut all[0], b"h", b"01");
        assert_eq!(
            add(&mut all[0], b"h", 1),
            Err(CountError::NotInteger),
            "Redis does not write so"
        );
    }

    #[test]
    fn counts_of_fields_are_taken_over() {
        let [mut a, mut b, mut c] = sites();
        set(&mut a, b"f", b"1");
        add(&mut a, b"f", 5).expect("small");
        add(&mut a, b"g", 7).expect("small");
        let sent = a.send();
        b.receive(&sent);
        c.receive(&sent);
        let gone = |dot: Dot| dot.writer() == Writer(0);
        assert!(b.edit(|map, events, change| map.adopt(gone, events, Some(change))));
        assert!(!b.state.counts(gone) && b.state.has_dead_entries());
        c.receive(&b.send());
        for site in [&mut b, &mut c] {
            site.state.collect(|dot, _| gone(dot));
            assert!(!site.state.has_dead_entries());
            site.receive(&sent);
            let read = |field: &[u8]| {
                let held = site.state.get(field).expect("it is there");
                held.value(&known()).map(|value| value.into_owned())
            };
            assert_eq!(read(b"f").as_deref(), Some(&b"6"[..]));
            assert_eq!(read(b"g").as_deref(), Some(&b"7"[..]));
        }
    }

    /// A clear covers what its context covers, and a floor that it did not name would go with it,
    /// although the writer still counts on from what was deleted.
    #[test]
    fn a_clear_keeps_the_floors_of_earlier_removes() {
        let [mut a, mut b, mut c] = sites();
        add(&mut a, b"f", 100).expect("small");
        let hundred = a.send();
        b.receive(&hundred);
        c.receive(&hundred);
        add(&mut a, b"f", 10).expect("small"); // knows of no delete
        remove(&mut c, b"f");
        b.receive(&c.send());
        set(&mut c, b"g", b"1");
        clear(&mut c);
        b.receive(&c.send());
        b.receive(&a.send());
        assert_eq!(
            b.state.get(b"f").and_then(|field| field.value(&known())).as_deref(),
            Some(&b"10"[..])
        );
        assert_eq!(agree(&mut [a, b, c]).as_deref(), Some("10"));
    }

    #[test]
    fn what_nobody_has_seen_need_not_be_sent() {
        let [mut a, mut b, _] = sites();
        set(&mut a, b"f", b"1");
        remove(&mut a, b"f");
        assert!(a.send().delta.is_empty());
        add(&mut a, b"f", 1).expect("small");
        remove(&mut a, b"f");
        b.receive(&a.send());
        assert!(b.state.is_empty());
    }

    #[test]
    fn a_change_names_the_events_of_its_author() {
        let mut site = Site::<OrMap>::new(0);
        set(&mut site, b"a", b"1");
        set(&mut site, b"b", b"2");
        let mut told = Vec::new();
        OrMap::each_added(&site.send().delta, &mut |dot| told.push((dot.writer().0, dot.seq())));
        told.sort_unstable();
        assert_eq!(told, [(0, 1), (0, 2)]);
    }
}
