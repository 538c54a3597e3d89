//! How commands reach the value that they are about: one hash, one lock, one look-up.

use miso_protocol::reply::Reply;
use miso_protocol::request::Args;
use miso_store::crdt::{Crdt, Kind};
use miso_store::{Mint, Shard, ShardGuard};

use crate::context::Context;
use crate::error::CommandError;

/// Reads the state of type `K` that `args[1]` (object) and `args[2]` (name) say, and replies. An
/// absent one is given as none; nothing is created.
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

/// Updates the state of type `K` that `args[1]` and `args[2]` say, made if it is absent.
pub(super) fn write<K: Kind, R>(
    cx: &mut Context<'_>,
    args: Args<'_>,
    update: impl FnOnce(&mut K::State, &mut Mint<'_>, Option<&mut <K::State as Crdt>::Delta>) -> R,
) -> Result<R, CommandError> {
    let (object, name) = (&args[1], &args[2]);
    check_key(cx, object)?;
    check_key(cx, name)?;
    let (result, changed) =
        cx.with_shard(object, |shard, hash, _| shard.write::<K, R>((hash, object, name), update))?;
    if changed {
        cx.changed(object, name, K::TYPE);
    }
    Ok(result)
}

/// As [`write()`] for updates that create nothing: none if the name reads as absent.
pub(super) fn modify<K: Kind, R>(
    cx: &mut Context<'_>,
    args: Args<'_>,
    update: impl FnOnce(&mut K::State, &mut Mint<'_>, Option<&mut <K::State as Crdt>::Delta>) -> R,
) -> Result<Option<R>, CommandError> {
    let (object, name) = (&args[1], &args[2]);
    let modified =
        cx.with_shard(object, |shard, hash, _| shard.modify::<K, R>((hash, object, name), update))?;
    let Some((result, changed)) = modified else { return Ok(None) };
    if changed {
        cx.changed(object, name, K::TYPE);
    }
    Ok(Some(result))
}

/// Works on the shard of `object` without replying.
pub(super) fn with_shard<R>(
    cx: &mut Context<'_>,
    object: &[u8],
    work: impl FnOnce(&mut ShardGuard<'_>, u64) -> R,
) -> R {
    cx.with_shard(object, |shard, hash, _| work(shard, hash))
}

/// Refuses an object's or a name's bytes beyond `key-max-bytes`.
pub(super) fn check_key(cx: &Context<'_>, key: &[u8]) -> Result<(), CommandError> {
    let max = cx.shared.settings.key_max_bytes();
    if key.len() > max {
        return Err(CommandError::TooLong(max.to_string().into()));
    }
    Ok(())
}
