//! Keyspace events of commands: which keys a command has changed, and what Redis calls that.

use std::borrow::Cow;

use miso_protocol::command::{Access, Group, KeyFlags, Row};
use miso_protocol::integer::parse_i64;
use miso_protocol::request::Args;
use miso_store::Hearing;
use miso_store::crdt::kind;

use crate::engine::context::Context;
use crate::settings::notify::Events;

/// A key of a command, and whether it was there before it ran.
struct Before {
    key: Box<[u8]>,
    flags: KeyFlags,
    was: bool,
}

/// A key that a command has changed.
#[derive(Clone, Copy)]
struct Change {
    /// Whether it was there before.
    was: bool,
    /// Whether it is there now.
    is: bool,
    /// Whether it is the first key of the command: of two, the one that is moved.
    is_first: bool,
    /// Whether the deadline that the command gives has passed.
    is_over: bool,
}

type Event = (Events, Cow<'static, str>);

/// Runs a command with `run`, and publishes what it did to plain keys. `row` is its row, `args` are its words.
#[cold]
pub(super) fn tell(
    cx: &mut Context<'_>,
    row: &Row,
    args: Args<'_>,
    run: impl FnOnce(&mut Context<'_>),
) {
    // Redis tells nothing of FLUSHALL either, which names no keys.
    if !row.has_keys() || !cx.node.settings.notify().any() || !cx.node.pubsub.is_listened_to() {
        return run(cx);
    }
    let mut before: Vec<Before> = Vec::new();
    for key in row.keys(args) {
        if !before.iter().any(|known| *known.key == *key.word) {
            let was = is_there(cx, key.word);
            before.push(Before { key: key.word.into(), flags: key.flags, was });
        }
    }
    // SMOVE to a set that has the member already adds it again: that is told of the first key alone.
    let had = row.name == "SMOVE" && args.len() == 4 && is_member(cx, &args[2], &args[3]);
    let is_over = deadline(args).is_some_and(|at| at <= cx.function().now());
    let start = cx.reply.out.len();
    let hearing = Hearing::begin();
    run(cx);
    let mut heard = hearing.end();
    let function: Box<[u8]> = cx.function_name().into();
    // Told of even if nothing has come of it.
    let reply = cx.reply.out.get(start..).unwrap_or_default();
    let tells = match row.name {
        "PFMERGE" => reply.starts_with(b"+"),
        "HSETEX" => is_over && says(reply, 1),
        _ => false,
    };
    if tells && let Some(key) = before.first().filter(|_| heard.is_empty()) {
        heard.push((function.clone(), key.key.clone()));
    }
    if row.access != Access::None {
        let missed = before.iter().filter(|key| !key.was && !key.flags.writes());
        missed.for_each(|key| cx.node.tell_event(&function, Events::MISS, "keymiss", &key.key));
    }
    let first = before.first().map(|first| &*first.key);
    // Of a key that is renamed Redis tells first.
    heard.sort_by_key(|(_, key)| row.name.starts_with("RENAME") && Some(&**key) != first);
    for (of, key) in &heard {
        // What COPY writes may be in another database.
        let is_here = *of == function;
        let known = before.iter().find(|known| *known.key == **key);
        let change = Change {
            was: !is_here || known.is_some_and(|known| known.was),
            is: !is_here || is_there(cx, key),
            is_first: Some(&**key) == first,
            is_over,
        };
        let reply = cx.reply.out.get(start..).unwrap_or_default();
        // What was there already is added again, so that it outlasts a removal that is not known yet.
        let repeats = matches!(row.name, "SADD" | "PFADD") && says(reply, 0);
        if repeats || (had && !change.is_first) {
            continue;
        }
        for (class, event) in events(row, args, change, reply) {
            cx.node.tell_event(of, class, &event, key);
        }
    }
}

/// Whether a plain key is there.
fn is_there(cx: &mut Context<'_>, key: &[u8]) -> bool {
    cx.with_shard(key, |shard, hash, _| {
        let now = shard.function().now();
        shard.shown(hash, key, now).is_some()
    })
}

/// Whether a set has a member.
fn is_member(cx: &mut Context<'_>, key: &[u8], member: &[u8]) -> bool {
    cx.with_shard(key, |shard, hash, _| {
        let now = shard.function().now();
        let set = shard.plain::<kind::PlainSet>(hash, key, now).ok().flatten();
        set.is_some_and(|set| set.contains(member, now, shard.writers()))
    })
}

/// What Redis calls a change of a key by a command, in its order. `reply` is the command's.
fn events(row: &Row, args: Args<'_>, change: Change, reply: &[u8]) -> Vec<Event> {
    let mut all = Vec::new();
    // Options come after the key, and after SET's value.
    let from = if row.name == "SET" { 3 } else { 2 };
    let options = || args.iter().skip(from);
    let has = |word: &str| options().any(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
    let event = name(row.name, has, change, reply);
    let class = class(row.group);
    if change.is && !change.was {
        all.push((Events::NEW, "new".into()));
    }
    // What is left empty is deleted, after what emptied it. What a command stores anew or lets expire is just gone.
    let empties = !event.ends_with("store") && !matches!(&*event, "expire" | "del" | "copy_to");
    if change.is || (empties && !(event == "set" && row.name == "BITOP")) {
        let class = if matches!(&*event, "expire" | "persist") { Events::GENERIC } else { class };
        all.push((class, event));
    }
    let drops = row.name == "HSETEX" && change.is_over;
    if drops {
        all.push((Events::HASH, "hdel".into()));
    }
    if !change.is {
        let is_moved = row.name.starts_with("RENAME");
        if row.name == "SET" && change.is_over {
            // It expires once it is looked at.
            all.push((Events::GENERIC, "expire".into()));
        } else if (change.was && !is_moved) || drops {
            all.push((Events::GENERIC, "del".into()));
        }
    } else if ["EX", "PX", "EXAT", "PXAT"].into_iter().any(has) || row.name.ends_with("SETEX") {
        match row.name {
            "SET" | "SETEX" | "PSETEX" | "INCREX" => all.push((Events::GENERIC, "expire".into())),
            "HSETEX" if row.group == Group::Hash && !drops && has_deadline(args) => {
                all.push((Events::HASH, "hexpire".into()));
            }
            _ => {}
        }
    }
    all
}

/// The deadline in milliseconds that a command gives by a time of day.
fn deadline(args: Args<'_>) -> Option<u64> {
    let words = || args.iter().take_while(|arg| !arg.eq_ignore_ascii_case(b"FIELDS")).skip(2);
    let mut pairs = words().zip(words().skip(1));
    pairs.find_map(|(option, at)| {
        let unit = if option.eq_ignore_ascii_case(b"EXAT") {
            1_000
        } else if option.eq_ignore_ascii_case(b"PXAT") {
            1
        } else {
            return None;
        };
        u64::try_from(parse_i64(at)?).ok()?.checked_mul(unit)
    })
}

/// Whether HSETEX was given a deadline.
fn has_deadline(args: Args<'_>) -> bool {
    let options = args.iter().take_while(|arg| !arg.eq_ignore_ascii_case(b"FIELDS"));
    let mut words = options.skip(2);
    words.any(|arg| {
        [&b"EX"[..], b"PX", b"EXAT", b"PXAT"].iter().any(|option| arg.eq_ignore_ascii_case(option))
    })
}

/// The event of a command that has changed a key.
fn name(
    command: &str,
    has: impl Fn(&str) -> bool,
    change: Change,
    reply: &[u8],
) -> Cow<'static, str> {
    let name = match command {
        "SET" | "SETEX" | "PSETEX" | "SETNX" | "GETSET" | "MSET" | "MSETNX" | "BITOP" => "set",
        "INCR" | "DECR" | "DECRBY" => "incrby",
        "INCREX" if has("BYFLOAT") => "incrbyfloat",
        "INCREX" => "incrby",
        "BITFIELD" => "setbit",
        "UNLINK" | "GETDEL" => "del",
        "PEXPIRE" | "EXPIREAT" | "PEXPIREAT" => "expire",
        "GETEX" if has("PERSIST") => "persist",
        "GETEX" => "expire",
        "RENAME" | "RENAMENX" if change.is_first => "rename_from",
        "RENAME" | "RENAMENX" => "rename_to",
        "COPY" => "copy_to",
        "HMSET" | "HSETNX" | "HSETEX" => "hset",
        "HGETDEL" => "hdel",
        // A deadline that has passed deletes the field, which the reply says.
        "HEXPIRE" | "HPEXPIRE" | "HEXPIREAT" | "HPEXPIREAT" if says(reply, 2) => "hdel",
        "HPEXPIRE" | "HEXPIREAT" | "HPEXPIREAT" => "hexpire",
        "HGETEX" if change.is_over => "hdel",
        "HGETEX" if has("PERSIST") => "hpersist",
        "HGETEX" => "hexpire",
        "SMOVE" if change.is_first => "srem",
        "SMOVE" => "sadd",
        "GEOADD" => "zadd",
        "ZINCRBY" => "zincr",
        // Its reply is the score.
        "ZADD" if !reply.starts_with(b":") => "zincr",
        "ZMPOP" if has("MIN") => "zpopmin",
        "ZMPOP" => "zpopmax",
        "GEORADIUS" | "GEORADIUSBYMEMBER" => "georadiusstore",
        "PFMERGE" => "pfadd",
        other => return other.to_ascii_lowercase().into(),
    };
    name.into()
}

/// Whether one of a reply's integers is `n`.
fn says(reply: &[u8], n: u8) -> bool {
    let wanted = [b':', b'0' + n, b'\r', b'\n'];
    reply.windows(wanted.len()).any(|part| part == wanted)
}

/// The class of the events of a group's commands.
fn class(group: Group) -> Events {
    match group {
        Group::String | Group::Bitmap | Group::HyperLogLog => Events::STRING,
        Group::Hash => Events::HASH,
        Group::Set => Events::SET,
        Group::SortedSet | Group::Geo => Events::ZSET,
        _ => Events::GENERIC,
    }
}
