//! How commands reach the value that they are about: with one hash, one lock and one look-up.

use miso_protocol::reply::Reply;
use miso_protocol::request::Args;
use miso_store::crdt::{Crdt, Kind};
use miso_store::{Mint, Shard, ShardGuard};

use crate::engine::context::Context;
use crate::engine::error::CommandError;

/// Reads the state of type `K` at the object `args[1]` and the name `args[2]`, and replies. `reply` is
/// given none if it is absent; nothing is created.
pub(super) fn read<K: Kind>(
    cx: &mut Context<'_>,
    args: Args<'_>,
    reply: impl FnOnce(Option<&K::State>, &Shard, &mut Reply<'_>),
) -> Result<(), CommandError> {
    let (object, name) = (&args[1], &args[2]);
    let found = cx.with_shard(object, |shard, hash, out| {
        let state = shard.read::<K>(hash, object, name)?;
        reply(state, shard, out);
        Ok::<_, CommandError>(state.is_some())
    })?;
    cx.hit(found);
    Ok(())
}

/// Updates the state of type `K` at `args[1]` and `args[2]`, which is made if it is absent.
pub(super) fn write<K: Kind, R>(
    cx: &mut Context<'_>,
    args: Args<'_>,
    update: impl FnOnce(&mut K::State, &mut Mint<'_>, Option<&mut <K::State as Crdt>::Delta>) -> R,
) -> Result<R, CommandError> {
    let (object, name) = (&args[1], &args[2]);
    check_key(cx, if object.len() > name.len() { object } else { name })?;
    let (result, _) =
        cx.with_shard(object, |shard, hash, _| shard.write::<K, R>((hash, object, name), update))?;
    Ok(result)
}

/// As [`write()`], for updates that create nothing. Returns none if the name is absent.
pub(super) fn modify<K: Kind, R>(
    cx: &mut Context<'_>,
    args: Args<'_>,
    update: impl FnOnce(&mut K::State, &mut Mint<'_>, Option<&mut <K::State as Crdt>::Delta>) -> R,
) -> Result<Option<R>, CommandError> {
    let (object, name) = (&args[1], &args[2]);
    let modified =
        cx.with_shard(object, |shard, hash, _| shard.modify::<K, R>((hash, object, name), update))?;
    Ok(modified.map(|(result, _)| result))
}

/// Works on the shard of `object` without replying.
pub(super) fn with_shard<R>(
    cx: &mut Context<'_>,
    object: &[u8],
    work: impl FnOnce(&mut ShardGuard<'_>, u64) -> R,
) -> R {
    cx.with_shard(object, |shard, hash, _| work(shard, hash))
}

/// Refuses an object or a name that is longer than `key-max-bytes`.
#[inline]
pub(super) fn check_key(cx: &Context<'_>, key: &[u8]) -> Result<(), CommandError> {
    let max = cx.node.settings.key_max_bytes();
    if key.len() > max {
        return Err(CommandError::TooLong(max.to_string().into()));
    }
    Ok(())
}
