//! Plain keys: objects whose value stands under the empty name, and what of them is there at a moment.

use miso_crdt::plain::{self, Hll, Moment};
use miso_crdt::{Crdt, Delta, Kind, Type, Value, Writers};

use crate::guard::ShardGuard;
use crate::mint::Mint;
use crate::object::Object;
use crate::shard::Shard;

/// The name under which a plain key's value stands.
const PLAIN: &[u8] = b"";

/// What a key is at a moment.
#[derive(Clone, Copy, Debug)]
pub enum Shown<'a> {
    /// A plain value.
    Plain(&'a Value),
    /// An object with names.
    Object(&'a Object),
}

/// Why a command does not fit a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Misfit {
    /// It holds plain data of this type.
    Plain(Type),
    /// It is an object with names, of which one has this type.
    Object(Type),
}

impl Misfit {
    fn object(object: &Object) -> Misfit {
        let mut kinds = object.iter().filter_map(|(_, slot)| slot.value()).map(Value::kind);
        Misfit::Object(kinds.next().unwrap_or(Type::GCounter))
    }
}

impl Shard {
    /// What `key` is at `now`; none if it is absent. Where nodes have made both while they were apart, the
    /// plain value hides the names.
    #[must_use]
    pub fn shown(&self, hash: u64, key: &[u8], now: u64) -> Option<Shown<'_>> {
        shown(self.objects.get_hashed(hash, key)?, now, self.writers())
    }

    /// The HyperLogLog of a key, whatever the key reads as.
    pub(crate) fn hll(&self, hash: u64, key: &[u8]) -> Option<&Hll> {
        let slot = self.objects.get_hashed(hash, key)?.get(PLAIN)?;
        slot.values().iter().find_map(|value| match value {
            Value::Hll(hll) => Some(&**hll),
            _ => None,
        })
    }

    /// The state of type `K` of the plain key, if the key holds one. It may have expired: it is read with
    /// the same `now`.
    ///
    /// # Errors
    /// If the key is something else at `now`.
    pub fn plain<K: Kind>(
        &self,
        hash: u64,
        key: &[u8],
        now: u64,
    ) -> Result<Option<&K::State>, Misfit> {
        let Some(object) = self.objects.get_hashed(hash, key) else { return Ok(None) };
        // The usual case: nothing else is there.
        if let Some(state) = object.only(PLAIN).and_then(K::of) {
            return Ok(Some(state));
        }
        match shown(object, now, self.writers()) {
            None => Ok(None),
            Some(Shown::Object(object)) => Err(Misfit::object(object)),
            Some(Shown::Plain(value)) => K::of(value).map(Some).ok_or(Misfit::Plain(value.kind())),
        }
    }
}

pub(crate) fn shown<'a>(object: &'a Object, now: u64, writers: &Writers) -> Option<Shown<'a>> {
    let value = object.get(PLAIN).and_then(|slot| slot.value_at(now, writers));
    match value {
        Some(value) if plain::is_plain(value) => Some(Shown::Plain(value)),
        _ => (!object.is_absent_at(now, writers)).then_some(Shown::Object(object)),
    }
}

impl ShardGuard<'_> {
    /// Updates the plain key's state of type `K`, made empty if it is absent, and dropped again if it is
    /// left empty. `update` gets the state, what it must know of the world, the events, and the change
    /// to note in. Answers what it does.
    ///
    /// # Errors
    /// If the key is something else at `now`; then nothing is changed.
    pub fn write_plain<K: Kind, R>(
        &mut self,
        (hash, key): (u64, &[u8]),
        now: u64,
        update: impl FnOnce(
            &mut K::State,
            &Moment<'_>,
            &mut Mint<'_>,
            Option<&mut <K::State as Crdt>::Delta>,
        ) -> R,
    ) -> Result<R, Misfit> {
        self.plain::<K>(hash, key, now)?;
        Ok(self.put_plain::<K, R>((hash, key), now, update))
    }

    /// As [`ShardGuard::write_plain`], in place of plain data of whatever other type.
    ///
    /// # Errors
    /// If the key is an object with names; then nothing is changed.
    pub fn replace_plain<K: Kind, R>(
        &mut self,
        (hash, key): (u64, &[u8]),
        now: u64,
        update: impl FnOnce(
            &mut K::State,
            &Moment<'_>,
            &mut Mint<'_>,
            Option<&mut <K::State as Crdt>::Delta>,
        ) -> R,
    ) -> Result<R, Misfit> {
        if let Err(misfit) = self.plain::<K>(hash, key, now) {
            if let Misfit::Object(_) = misfit {
                return Err(misfit);
            }
            self.clear_plain((hash, key), |kind| kind != K::TYPE);
        }
        Ok(self.put_plain::<K, R>((hash, key), now, update))
    }

    fn put_plain<K: Kind, R>(
        &mut self,
        (hash, key): (u64, &[u8]),
        now: u64,
        update: impl FnOnce(
            &mut K::State,
            &Moment<'_>,
            &mut Mint<'_>,
            Option<&mut <K::State as Crdt>::Delta>,
        ) -> R,
    ) -> R {
        let function = self.function();
        let context = || function.context();
        let written =
            self.write_with::<K, R>((hash, key, PLAIN), |state, writers, mint, change| {
                let moment = Moment { now, writers, context: &context };
                update(state, &moment, mint, change)
            });
        if K::TYPE == Type::Hll
            && let Some(hll) = self.hll(hash, key)
        {
            function.note_sketches(key, hll);
        }
        written.expect("a plain type is written whatever else is there").0
    }

    /// Deletes what this node has seen of the plain values of some types.
    fn clear_plain(&mut self, (hash, key): (u64, &[u8]), which: impl Fn(Type) -> bool) {
        let context = self.function().context();
        self.change_key((hash, key), |value, _, mint, group| {
            if which(value.kind()) {
                value.reset(&context, mint, group);
            }
        });
    }

    /// Changes each value of the plain key, if there is one, and tells the observer of it.
    fn change_key(
        &mut self,
        (hash, key): (u64, &[u8]),
        change: impl FnMut(&mut Value, &Writers, &mut Mint<'_>, Option<&mut Delta>),
    ) -> bool {
        let changed = self.change_each((hash, key, PLAIN), change);
        changed.iter().for_each(|kind| self.note_change(key, PLAIN, *kind));
        !changed.is_empty()
    }

    /// Deletes what this node has seen of a key, plain or an object with names; whether it was there at
    /// `now`. What has expired stays, to be taken back.
    pub fn delete_key(&mut self, (hash, key): (u64, &[u8]), now: u64) -> bool {
        let there = self.shown(hash, key, now).is_some();
        if there {
            self.delete_object(hash, key);
        }
        there
    }

    /// Sets the deadline of a plain key, [`FOREVER`](plain::FOREVER) to take it away; whether the key was
    /// there.
    ///
    /// # Errors
    /// If it is an object with names, which have no deadline.
    pub fn expire_plain(
        &mut self,
        (hash, key): (u64, &[u8]),
        now: u64,
        at: u64,
    ) -> Result<bool, Misfit> {
        let kind = match self.shown(hash, key, now) {
            None => return Ok(false),
            Some(Shown::Object(object)) => return Err(Misfit::object(object)),
            Some(Shown::Plain(value)) => value.kind(),
        };
        let function = self.function();
        let context = || function.context();
        let mut ends = None;
        self.change_key((hash, key), |value, writers, mint, group| {
            if value.kind() == kind {
                let moment = Moment { now, writers, context: &context };
                let before = value.first_end(0);
                plain::expire(value, at, &moment, mint, group);
                ends = Some(value.first_end(0)).filter(|ends| *ends < before);
            }
        });
        if let Some(ends) = ends {
            self.note_deadline(hash, ends);
        }
        Ok(true)
    }

    /// Takes back the memory of what has expired of a plain key.
    pub(crate) fn reclaim_plain(&mut self, (hash, key): (u64, &[u8]), now: u64) {
        let function = self.function();
        let context = || function.context();
        // A value of many fields gives back some at a time.
        loop {
            let mut more = false;
            self.change_each((hash, key, PLAIN), |value, writers, mint, group| {
                let moment = Moment { now, writers, context: &context };
                more |= plain::reclaim(value, &moment, mint, group);
            });
            if !more {
                return;
            }
        }
    }
}
