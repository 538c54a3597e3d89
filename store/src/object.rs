//! An object: a few names, or a million, with a value each.

use miso_crdt::{Crdt, Delta, Kind, Table, Thin, Type, Value, Writers, plain};

/// Why a value of a type cannot stand under a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WrongType {
    /// The name holds a value of another type.
    Other,
    /// The object is a plain key, which has no names.
    PlainKey,
}

/// Up to this many names stand in a list; beyond, in a table.
const FEW: usize = 8;

/// What a name holds. Values of different types under one name, which nodes may create while they
/// are apart, are kept side by side, in the order of their type tags. The name reads as the first
/// of them that is present: so it reads the same on all nodes that hold the same, whatever came first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Slot {
    /// One value, the usual case.
    Single(Value),
    /// Values of several types, in the order of their tags.
    Clash(Box<Vec<Value>>),
}

/// A name of up to 14 bytes in place, a longer one on the heap.
#[derive(Debug)]
pub enum Name {
    /// Its length and its bytes.
    Short(u8, [u8; 14]),
    /// On the heap.
    Long(Thin<()>),
}

impl Name {
    fn new(name: &[u8]) -> Name {
        let mut short = [0; 14];
        match short.get_mut(..name.len()) {
            Some(room) => {
                room.copy_from_slice(name);
                Name::Short(name.len() as u8, short)
            }
            None => Name::Long(Thin::new((), name)),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Name::Short(len, bytes) => &bytes[..usize::from(*len)],
            Name::Long(thin) => thin.bytes(),
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Name::Short(..) => 0,
            Name::Long(thin) => thin.heap_bytes(),
        }
    }
}

/// The names of an object.
#[derive(Debug)]
pub enum Names {
    /// One name, within the object: no further cache miss, no further allocation.
    One(Name, Slot),
    /// A few names: a list.
    Few(Box<Vec<Thin<Slot>>>),
    /// Many names.
    Many(Box<ManyNames>),
}

/// A table of names, and how many of them do not read as absent.
#[derive(Debug)]
pub struct ManyNames {
    table: Table<Slot>,
    present: usize,
}

/// An object. Lives in its shard's table, under its id.
#[derive(Debug, Default)]
pub struct Object {
    names: Option<Names>,
}

const _: () = assert!(size_of::<Slot>() <= 40 && size_of::<Object>() <= 56);

impl miso_crdt::table::Header for Slot {}
impl miso_crdt::table::Header for Object {}

impl Slot {
    /// All values, one unless types clash.
    pub fn values(&self) -> &[Value] {
        match self {
            Slot::Single(value) => std::slice::from_ref(value),
            Slot::Clash(values) => values,
        }
    }

    fn values_mut(&mut self) -> &mut [Value] {
        match self {
            Slot::Single(value) => std::slice::from_mut(value),
            Slot::Clash(values) => values,
        }
    }

    /// The value that the name reads as: of those that are not absent, the one with the lowest type tag.
    #[must_use]
    pub fn value(&self) -> Option<&Value> {
        self.values().iter().find(|value| !value.is_absent())
    }

    /// Whether the name reads as present, if it likely holds a value of type `K` alone.
    #[inline]
    pub(crate) fn is_present_as<K: Kind>(&self) -> bool {
        match self {
            Slot::Single(value) => match K::of(value) {
                Some(state) => !state.is_absent(),
                None => !value.is_absent(),
            },
            Slot::Clash(_) => self.value().is_some(),
        }
    }

    /// The value that the name reads as at `now`: as [`Slot::value`], but of plain values, which may have
    /// expired, the newest that is there. So two nodes that hold the same and have the same time show the
    /// same.
    #[must_use]
    pub fn value_at(&self, now: u64, writers: &Writers) -> Option<&Value> {
        if let Slot::Single(value) = self {
            return plain::exists(value, now, writers).then_some(value);
        }
        let there = self.values().iter().filter(|value| plain::exists(value, now, writers));
        // MISO's own types, which have the least tags, come first as ever.
        there.reduce(|best, value| match (plain::is_plain(best), plain::is_plain(value)) {
            (true, true) if plain::newest(best, writers) <= plain::newest(value, writers) => value,
            _ => best,
        })
    }

    /// The types of all values that are not absent.
    pub fn types(&self) -> impl Iterator<Item = Type> + '_ {
        self.values().iter().filter(|value| !value.is_absent()).map(Value::kind)
    }

    /// The state of type `K`: none if it is absent.
    ///
    /// # Errors
    /// If the name holds another type and not this one.
    pub fn read<K: Kind>(&self) -> Result<Option<&K::State>, WrongType> {
        if let Slot::Single(value) = self {
            // The hot path: no search, and no test for absence unless the type differs.
            if let Some(state) = K::of(value) {
                return Ok(Some(state).filter(|state| !state.is_absent()));
            }
        }
        let state = self.values().iter().find_map(K::of).filter(|state| !state.is_absent());
        if state.is_none() && self.value().is_some() { Err(WrongType::Other) } else { Ok(state) }
    }

    /// The state of type `K`, made empty if nothing of that type is there.
    #[inline]
    pub(crate) fn write<K: Kind>(&mut self) -> Result<&mut K::State, WrongType> {
        let fits = matches!(self, Slot::Single(value) if K::of(value).is_some());
        if !fits {
            return self.write_beside::<K>();
        }
        let [value] = self.values_mut() else { unreachable!("it is a single one") };
        Ok(K::of_mut(value).expect("it fits"))
    }

    #[cold]
    fn write_beside<K: Kind>(&mut self) -> Result<&mut K::State, WrongType> {
        self.read::<K>()?;
        self.make_room(K::TYPE);
        let state = self.values_mut().iter_mut().find_map(K::of_mut);
        Ok(state.expect("room was made for the type"))
    }

    fn make_room(&mut self, kind: Type) {
        if self.values().iter().any(|value| value.kind() == kind) {
            return;
        }
        let empty = Value::empty(kind);
        match self {
            Slot::Single(value) if value.is_blank() => *value = empty,
            Slot::Single(value) => {
                let old = std::mem::replace(value, Value::empty(kind));
                let mut both = vec![old, empty];
                both.sort_unstable_by_key(Value::kind);
                *self = Slot::Clash(Box::new(both));
            }
            Slot::Clash(values) => {
                let at = values.partition_point(|value| value.kind() < kind);
                values.insert(at, empty);
            }
        }
    }

    /// Drops values that hold nothing; whether the name can go.
    pub(crate) fn settle(&mut self) -> bool {
        if let Slot::Clash(values) = self {
            values.retain(|value| !value.is_blank());
            if values.len() == 1 {
                *self = Slot::Single(values.remove(0));
            }
        }
        self.values().iter().all(Value::is_blank)
    }

    /// The value of `kind`, made empty if nothing of that type is there, whatever else is.
    pub(crate) fn value_mut(&mut self, kind: Type) -> &mut Value {
        self.make_room(kind);
        let value = self.values_mut().iter_mut().find(|value| value.kind() == kind);
        value.expect("room was made for the type")
    }

    pub(crate) fn each_mut(&mut self, visit: impl FnMut(&mut Value)) {
        self.values_mut().iter_mut().for_each(visit);
    }

    fn heap_bytes(&self) -> usize {
        self.values().iter().map(Value::heap_bytes).sum()
    }
}

impl Object {
    /// How many names it has, those included that read as absent.
    #[must_use]
    pub fn slots(&self) -> usize {
        match &self.names {
            None => 0,
            Some(Names::One(..)) => 1,
            Some(Names::Few(list)) => list.len(),
            Some(Names::Many(many)) => many.table.len(),
        }
    }

    /// Whether it reads as absent.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        let absent = |slot: &Slot| slot.value().is_none();
        match &self.names {
            None => true,
            Some(Names::One(_, slot)) => absent(slot),
            Some(Names::Few(list)) => list.iter().all(|thin| absent(thin.header())),
            Some(Names::Many(many)) => many.present == 0,
        }
    }

    /// Whether it reads as absent at `now`: all that it holds is gone or has expired.
    #[must_use]
    pub fn is_absent_at(&self, now: u64, writers: &Writers) -> bool {
        let there = |slot: &Slot| slot.value_at(now, writers).is_some();
        match &self.names {
            None => true,
            Some(Names::One(_, slot)) => !there(slot),
            // A plain value is the only one of its object, unless nodes made both while apart.
            Some(Names::Few(list)) => !list.iter().any(|thin| there(thin.header())),
            Some(Names::Many(many)) => many.present == 0 || self.all().all(|(_, s)| !there(s)),
        }
    }

    /// Whether it is a plain key at `now`: a plain value stands under the empty name and is there.
    pub(crate) fn is_plain_key(&self, now: impl FnOnce() -> u64, writers: &Writers) -> bool {
        self.get(b"").is_some_and(|slot| {
            slot.values().iter().any(plain::is_plain)
                && slot.value_at(now(), writers).is_some_and(plain::is_plain)
        })
    }

    /// What `name` holds.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&Slot> {
        match self.names.as_ref()? {
            Names::One(only, slot) => (only.bytes() == name).then_some(slot),
            Names::Few(list) => list.iter().find(|thin| thin.bytes() == name).map(Thin::header),
            Names::Many(many) => many.table.get(name),
        }
    }

    /// The value of `name` if that is the object's only name, and no other value stands under it.
    pub(crate) fn only(&self, name: &[u8]) -> Option<&Value> {
        match &self.names {
            Some(Names::One(only, Slot::Single(value))) if only.bytes() == name => Some(value),
            _ => None,
        }
    }

    /// Prefetches what a change of `name` is about.
    pub(crate) fn prefetch(&self, name: &[u8], delta: &Delta) {
        match &self.names {
            Some(Names::Many(many)) => many.table.prefetch_bucket(miso_crdt::table::hash(name)),
            _ => {
                let values = self.get(name).map_or(&[][..], Slot::values);
                values.iter().for_each(|value| value.prefetch(delta));
            }
        }
    }

    /// Notes that a name read as present or not before a change, and does or does not now.
    #[inline]
    pub(crate) fn note_presence(&mut self, before: bool, now: bool) {
        if before != now
            && let Some(Names::Many(many)) = &mut self.names
        {
            many.present = many.present - usize::from(before) + usize::from(now);
        }
    }

    pub(crate) fn get_mut(&mut self, name: &[u8]) -> Option<&mut Slot> {
        match self.names.as_mut()? {
            Names::One(only, slot) if only.bytes() == name => Some(slot),
            Names::One(..) => None,
            Names::Few(list) => {
                list.iter_mut().find(|thin| thin.bytes() == name).map(Thin::header_mut)
            }
            Names::Many(many) => many.table.get_mut(name),
        }
    }

    pub(crate) fn get_or_insert(&mut self, name: &[u8], kind: Type) -> &mut Slot {
        let found = match &self.names {
            Some(Names::One(only, _)) => only.bytes() == name,
            Some(Names::Few(list)) => list.iter().any(|thin| thin.bytes() == name),
            _ => false,
        };
        if !found {
            self.make_room(name, kind);
        }
        match self.names.as_mut() {
            Some(Names::One(_, slot)) => slot,
            Some(Names::Few(list)) => {
                let held = list.iter_mut().find(|thin| thin.bytes() == name);
                held.expect("found or inserted above").header_mut()
            }
            Some(Names::Many(many)) => {
                many.table.get_or_insert_with(name, || Slot::Single(Value::empty(kind))).0
            }
            None => unreachable!("inserted above"),
        }
    }

    /// Adds a new name to the list, or makes a table of it; a table takes names by itself.
    fn make_room(&mut self, name: &[u8], kind: Type) {
        let empty = || Slot::Single(Value::empty(kind));
        let new = || Thin::new(empty(), name);
        self.names = Some(match self.names.take() {
            None => Names::One(Name::new(name), empty()),
            Some(Names::One(only, slot)) => {
                Names::Few(Box::new(vec![Thin::new(slot, only.bytes()), new()]))
            }
            Some(Names::Few(mut list)) if list.len() < FEW => {
                list.push(new());
                Names::Few(list)
            }
            Some(Names::Few(list)) => {
                let mut many = ManyNames { table: Table::new(), present: 0 };
                for thin in *list {
                    let name = Box::<[u8]>::from(thin.bytes());
                    many.present += usize::from(thin.header().value().is_some());
                    many.table.get_or_insert_with(&name, || thin.into_header());
                }
                Names::Many(Box::new(many))
            }
            Some(many @ Names::Many(_)) => many,
        });
    }

    /// Drops `name` if it holds nothing; whether the whole object can go.
    pub(crate) fn settle(&mut self, name: &[u8]) -> bool {
        if self.get_mut(name).is_some_and(Slot::settle) {
            match &mut self.names {
                Some(Names::Few(list)) => list.retain(|thin| thin.bytes() != name),
                Some(Names::Many(many)) => {
                    many.table.remove(name);
                }
                _ => self.names = None,
            }
        }
        self.slots() == 0
    }

    /// The names that do not read as absent, with what they hold, in no particular order.
    pub fn iter(&self) -> Box<dyn Iterator<Item = (&[u8], &Slot)> + '_> {
        Box::new(self.all().filter(|(_, slot)| slot.value().is_some()))
    }

    /// As [`Object::iter`], with those that read as absent.
    pub(crate) fn all(&self) -> Box<dyn Iterator<Item = (&[u8], &Slot)> + '_> {
        match &self.names {
            None => Box::new(std::iter::empty()),
            Some(Names::One(only, slot)) => Box::new(std::iter::once((only.bytes(), slot))),
            Some(Names::Few(list)) => {
                Box::new(list.iter().map(|thin| (thin.bytes(), thin.header())))
            }
            Some(Names::Many(many)) => Box::new(many.table.iter()),
        }
    }

    /// Visits about `count` names from `cursor` on, as [`Table::scan`]; a list comes whole.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(&[u8], &Slot)) -> u64 {
        self.scan_all(cursor, count, |name, slot| {
            if slot.value().is_some() {
                visit(name, slot);
            }
        })
    }

    /// As [`Object::scan`], with those that read as absent.
    pub(crate) fn scan_all(
        &self,
        cursor: u64,
        count: usize,
        mut visit: impl FnMut(&[u8], &Slot),
    ) -> u64 {
        match &self.names {
            Some(Names::Many(many)) => many.table.scan(cursor, count, visit),
            _ => {
                self.all().for_each(|(name, slot)| visit(name, slot));
                0
            }
        }
    }

    /// Whether it has more than `most` names, or a value of more than `most` parts.
    pub(crate) fn is_long(&self, most: usize) -> bool {
        let long = |slot: &Slot| slot.values().iter().any(|value| value.parts() > most);
        match &self.names {
            None => false,
            Some(Names::One(_, slot)) => long(slot),
            Some(Names::Few(list)) => list.iter().any(|thin| long(thin.header())),
            Some(Names::Many(many)) => {
                many.table.len() > most || many.table.iter().any(|(_, slot)| long(slot))
            }
        }
    }

    /// How many bytes it takes on the heap beside its id, before the allocator rounds up. Linear in
    /// what it holds.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let slots = match &self.names {
            None => 0,
            Some(Names::One(only, _)) => only.heap_bytes(),
            Some(Names::Few(list)) => {
                size_of::<Vec<Thin<Slot>>>()
                    + list.capacity() * size_of::<Thin<Slot>>()
                    + list.iter().map(Thin::heap_bytes).sum::<usize>()
            }
            Some(Names::Many(many)) => size_of::<ManyNames>() + many.table.heap_bytes(),
        };
        slots + self.iter().map(|(_, slot)| slot.heap_bytes()).sum::<usize>()
    }
}
