//! How commands reach a plain key: with one hash, one lock and one look-up.

use miso_protocol::reply::Reply;
use miso_store::crdt::plain::Moment;
use miso_store::crdt::{Crdt, Kind, Writers, kind};
use miso_store::{Mint, Misfit, ShardGuard};

use crate::commands::access::check_key;
use crate::engine::context::Context;
use crate::engine::error::CommandError;

/// The change of a type.
pub(crate) type DeltaOf<K> = <<K as Kind>::State as Crdt>::Delta;

/// What a reader of plain data is told of the world.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    /// Milliseconds of Unix time by this node's hybrid logical clock.
    pub(crate) now: u64,
    /// The writers that the function knows.
    pub(crate) writers: &'a Writers,
}

/// A key under its shard's lock.
pub(crate) struct Locked<'a, 'b> {
    /// The shard.
    pub(crate) shard: &'a mut ShardGuard<'b>,
    /// The key's hash.
    pub(crate) hash: u64,
    /// The key.
    pub(crate) key: &'a [u8],
    /// The command's time, in milliseconds.
    pub(crate) now: u64,
}

impl Locked<'_, '_> {
    /// What a reader is told of the world.
    pub(crate) fn at(&self) -> At<'_> {
        At { now: self.now, writers: self.shard.writers() }
    }

    /// The state of type `K`, which may have expired; none if the key is absent.
    ///
    /// # Errors
    /// If the key is something else.
    pub(crate) fn state<K: Kind>(&self) -> Result<Option<&K::State>, CommandError> {
        let found = self.shard.plain::<K>(self.hash, self.key, self.now);
        found.map_err(|misfit| CommandError::misfit(misfit, self.key))
    }

    /// Updates the state of type `K`, which is made if it is absent.
    ///
    /// # Errors
    /// If the key is something else.
    pub(crate) fn write<K: Kind, R>(
        &mut self,
        update: impl FnOnce(&mut K::State, &Moment<'_>, &mut Mint<'_>, Option<&mut DeltaOf<K>>) -> R,
    ) -> Result<R, CommandError> {
        let written = self.shard.write_plain::<K, R>((self.hash, self.key), self.now, update);
        written.map_err(|misfit| CommandError::misfit(misfit, self.key))
    }

    /// As [`Locked::write`], in place of plain data of whatever other type.
    ///
    /// # Errors
    /// If the key is an object with names.
    pub(crate) fn replace<K: Kind, R>(
        &mut self,
        update: impl FnOnce(&mut K::State, &Moment<'_>, &mut Mint<'_>, Option<&mut DeltaOf<K>>) -> R,
    ) -> Result<R, CommandError> {
        let written = self.shard.replace_plain::<K, R>((self.hash, self.key), self.now, update);
        written.map_err(|misfit| CommandError::misfit(misfit, self.key))
    }

    /// Checks that the key is no object with names.
    ///
    /// # Errors
    /// If it is one.
    pub(crate) fn check_plain(&self) -> Result<(), CommandError> {
        match self.shard.plain::<kind::PlainString>(self.hash, self.key, self.now) {
            Err(misfit @ Misfit::Object(_)) => Err(CommandError::misfit(misfit, self.key)),
            _ => Ok(()),
        }
    }

    /// Deletes what this node has seen of the key; whether it was there.
    pub(crate) fn delete(&mut self) -> bool {
        self.shard.delete_key((self.hash, self.key), self.now)
    }

    /// Sets the deadline of the key in milliseconds, or takes it away; whether the key was there.
    ///
    /// # Errors
    /// If it is an object with names.
    pub(crate) fn expire(&mut self, at: u64) -> Result<bool, CommandError> {
        let set = self.shard.expire_plain((self.hash, self.key), self.now, at);
        set.map_err(|misfit: Misfit| CommandError::misfit(misfit, self.key))
    }
}

/// Works on a key under its shard's lock; `work` gets the reply, too.
pub(crate) fn with_key<R>(
    cx: &mut Context<'_>,
    key: &[u8],
    work: impl FnOnce(&mut Locked<'_, '_>, &mut Reply<'_>) -> Result<R, CommandError>,
) -> Result<R, CommandError> {
    cx.with_shard(key, |shard, hash, reply| {
        let now = shard.function().now();
        work(&mut Locked { shard, hash, key, now }, reply)
    })
}

/// Reads the state of type `K` of a key, and replies. `reply` is given none if it is absent, says whether
/// it found something, and checks by the time what has expired; nothing is created.
///
/// # Errors
/// If the key is something else.
pub(crate) fn read<K: Kind>(
    cx: &mut Context<'_>,
    key: &[u8],
    reply: impl FnOnce(Option<&K::State>, At<'_>, &mut Reply<'_>) -> bool,
) -> Result<(), CommandError> {
    let found = with_key(cx, key, |locked, out| {
        let state = locked.state::<K>()?;
        Ok(reply(state, locked.at(), out))
    })?;
    cx.hit(found);
    Ok(())
}

/// Updates the state of type `K` of a key, which is made if it is absent.
///
/// # Errors
/// If the key is something else, or too long.
pub(crate) fn write<K: Kind, R>(
    cx: &mut Context<'_>,
    key: &[u8],
    update: impl FnOnce(&mut K::State, &Moment<'_>, &mut Mint<'_>, Option<&mut DeltaOf<K>>) -> R,
) -> Result<R, CommandError> {
    check_key(cx, key)?;
    with_key(cx, key, |locked, _| locked.write::<K, R>(update))
}

/// Updates the state of type `K` of a key that is there; none if it is absent, and nothing is made.
///
/// # Errors
/// If the key is something else.
pub(crate) fn modify<K: Kind, R>(
    cx: &mut Context<'_>,
    key: &[u8],
    update: impl FnOnce(&mut K::State, &Moment<'_>, &mut Mint<'_>, Option<&mut DeltaOf<K>>) -> R,
) -> Result<Option<R>, CommandError> {
    with_key(cx, key, |locked, _| match locked.state::<K>()? {
        None => Ok(None),
        Some(_) => locked.write::<K, R>(update).map(Some),
    })
}

/// Reads a floating-point number as Redis does: an infinity is one, NaN is none.
///
/// # Errors
/// If it is none.
pub(crate) fn float(text: &[u8]) -> Result<f64, CommandError> {
    let text = std::str::from_utf8(text).map_err(|_| CommandError::NotFloat)?;
    let number: f64 = text.parse().map_err(|_| CommandError::NotFloat)?;
    // Digits that are beyond all numbers are none, as for `strtod`.
    let beyond = number.is_infinite() && text.contains(|c: char| c.is_ascii_digit());
    if number.is_nan() || beyond { Err(CommandError::NotFloat) } else { Ok(number) }
}
