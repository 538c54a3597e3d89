//! What a map does for ids alone: values of a field that come and go one by one.

use crate::context::Events;
use crate::dot::Dot;
use crate::mv_register::{MvRegister, Stamped};
use crate::or_map::{Field, MapDelta, OrMap};

impl OrMap {
    /// Puts `value` into `field` beside what is there.
    pub(crate) fn put<E: Events>(
        &mut self,
        field: &[u8],
        value: &[u8],
        events: &mut E,
        change: Option<&mut MapDelta>,
    ) {
        let (held, _) = self.fields.get_or_insert_with(field, Field::default);
        self.live += usize::from(held.is_absent());
        let noted = change.map(|change| &mut change.touch(field).register);
        held.register.swap(None, Some(value), events, noted);
    }

    /// Takes away what the write `old` put into `field`, and puts `new` in its place, if there is one;
    /// whether it was there. What other writes put there stays.
    pub(crate) fn swap<E: Events>(
        &mut self,
        field: &[u8],
        (old, new): (Dot, Option<&[u8]>),
        events: &mut E,
        mut change: Option<&mut MapDelta>,
    ) -> bool {
        let Some(held) = self.fields.get_mut(field) else { return false };
        if !held.register.stamped().iter().any(|value| value.header().dot == old) {
            return false;
        }
        let noted = change.as_mut().map(|change| &mut change.touch(field).register);
        held.register.swap(Some(old), new, events, noted);
        self.live -= usize::from(held.is_absent());
        if held.is_blank() {
            self.fields.remove(field);
        }
        change.into_iter().for_each(|change| change.forget_if_empty(field));
        true
    }

    /// Puts in a field that is not there and holds one value.
    pub(crate) fn put_only(&mut self, field: &[u8], value: Stamped) {
        let (held, _) = self.fields.get_or_insert_with(field, Field::default);
        held.register = MvRegister::One(value);
        self.live += 1;
    }

    /// Takes out a field that holds one value and nothing else; none if it is not so.
    pub(crate) fn take_only(&mut self, field: &[u8]) -> Option<Stamped> {
        let held = self.fields.get(field)?;
        if held.counter.is_some() || !matches!(held.register, MvRegister::One(_)) {
            return None;
        }
        self.live -= 1;
        match self.fields.remove(field)?.register {
            MvRegister::One(value) => Some(value),
            _ => None,
        }
    }
}
