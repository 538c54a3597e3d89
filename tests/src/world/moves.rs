//! Clients that move, copy and combine plain keys: RENAME, COPY, PFMERGE, and commands that store a result. What is
//! read and what is written is of one moment, in one record and one batch, as the server does it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use miso_store::crdt::plain::hll::Registers;
use miso_store::crdt::plain::items::Mode;
use miso_store::crdt::plain::{FOREVER, deadline};
use miso_store::crdt::{ReplicaId, Type, Value, kind};
use miso_store::{Function, Held, ShardGuard, Shown};

use super::World;
use super::checks::facts;
use super::oracle::{Facts, Place};

/// What a client does with keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Move {
    /// RENAME.
    Rename,
    /// COPY with REPLACE.
    Copy,
    /// SUNIONSTORE, ZUNIONSTORE, BITOP: the result in place of what is there.
    Store,
    /// PFMERGE: the elements beside those that are there.
    Merge,
}

/// What a key reads as.
#[derive(Debug)]
enum Content {
    String(Vec<u8>),
    Hash(BTreeMap<Vec<u8>, Vec<u8>>),
    Set(Vec<Vec<u8>>),
    ZSet(BTreeMap<Vec<u8>, f64>),
    Hll(Registers),
}

impl Content {
    /// What the key reads as, and its deadline; none if it is absent.
    fn of(shard: &ShardGuard<'_>, (hash, key): (u64, &[u8]), now: u64) -> Option<(Content, u64)> {
        let writers = shard.writers();
        let Some(Shown::Plain(value)) = shard.shown(hash, key, now) else { return None };
        let content = match value {
            Value::PlainString(string) => Content::String(string.get(now, writers)?.into_owned()),
            Value::PlainHash(hash) => {
                let fields = hash.fields(now, writers);
                Content::Hash(fields.map(|(f, value)| (f.to_vec(), value.into_owned())).collect())
            }
            Value::PlainSet(set) => {
                Content::Set(set.iter(now, writers).map(|(member, _)| member.to_vec()).collect())
            }
            Value::PlainZSet(zset) => {
                let order = zset.order(now, writers);
                let members = order.iter().flat_map(|order| order.range(0..order.len()));
                Content::ZSet(members.map(|(score, member)| (member.to_vec(), score)).collect())
            }
            Value::Hll(hll) => Content::Hll(hll.registers(now, writers)?),
            _ => return None,
        };
        Some((content, deadline(value, now, writers).unwrap_or(FOREVER)))
    }

    /// The two combined; none if they are of two types.
    fn with(self, other: Content) -> Option<Content> {
        Some(match (self, other) {
            (Content::String(a), Content::String(b)) => Content::String([a, b].concat()),
            (Content::Set(mut a), Content::Set(b)) => {
                a.extend(b);
                Content::Set(a)
            }
            (Content::ZSet(mut a), Content::ZSet(b)) => {
                for (member, score) in b {
                    *a.entry(member).or_default() += score;
                }
                Content::ZSet(a)
            }
            (Content::Hll(mut a), Content::Hll(b)) => {
                a.join(&b);
                Content::Hll(a)
            }
            _ => return None,
        })
    }

    /// Writes it as another key, in place of what is there unless that is `merged`.
    fn write(
        &self,
        shard: &mut ShardGuard<'_>,
        key: (u64, &[u8]),
        (now, until): (u64, u64),
        merged: bool,
    ) {
        let fits = "the key is absent, or of this type";
        if let Content::String(value) = self {
            let set = shard.replace_plain::<kind::PlainString, _>(key, now, |s, _, mint, d| {
                s.set(value, until, mint, d);
            });
            return set.expect("no object has such a name");
        }
        if !merged {
            shard.delete_key(key, now);
        }
        match self {
            Content::String(_) => {}
            Content::Hash(fields) => shard
                .write_plain::<kind::PlainHash, _>(key, now, |hash, at, mint, mut d| {
                    for (field, value) in fields {
                        hash.set((field, value, FOREVER), at, mint, d.as_deref_mut());
                    }
                })
                .expect(fits),
            Content::Set(members) => shard
                .write_plain::<kind::PlainSet, _>(key, now, |set, at, mint, mut d| {
                    for member in members {
                        set.add(member, at, mint, d.as_deref_mut());
                    }
                })
                .expect(fits),
            Content::ZSet(members) => shard
                .write_plain::<kind::PlainZSet, _>(key, now, |zset, at, mint, mut d| {
                    for (member, score) in members {
                        zset.set((member, *score, Mode::Set), at, mint, d.as_deref_mut());
                    }
                })
                .expect(fits),
            Content::Hll(registers) => shard
                .write_plain::<kind::Hll, _>(key, now, |hll, at, mint, d| {
                    hll.add(registers, at, mint, d);
                })
                .expect(fits),
        }
        if until != FOREVER {
            shard.expire_plain(key, now, until).expect(fits);
        }
    }
}

impl World {
    /// A client moves a key, or stores what it reads from some.
    pub(super) fn move_key(&mut self, at: usize, name: &Bytes) {
        let function = self.hosts[at].store.function(name);
        // The server lets these wait.
        if function.deletes_paused() {
            return;
        }
        let [from, beside, to] = [0, 1, 2].map(|_| self.some_key());
        let what = [Move::Rename, Move::Copy, Move::Store, Move::Merge][self.pick(4)];
        if from == to {
            return;
        }
        let plain = || Type::ALL.iter().filter(|kind| kind.is_plain());
        let places = [&from, &to]
            .into_iter()
            .flat_map(|key| plain().map(|kind| (name.clone(), key.clone(), Vec::new(), *kind)));
        let before: Vec<(Place, Facts)> =
            places.map(|place| (place.clone(), facts(&function, &place))).collect();
        let first = function.seq() + 1;
        if !run(&function, what, (&from, &beside, &to)) {
            return;
        }
        let by = (self.hosts[at].replica, function.seq());
        for (place, before) in before {
            let after = facts(&function, &place);
            if before != after {
                self.oracle.record(place, by, &before, &after, None);
            }
        }
        self.oracle.note_whole(name, by.0, (first, by.1));
        self.say(|| {
            let [from, beside, to] = [&from, &beside, &to].map(|key| key.escape_ascii());
            format!("n{at} {what:?} {from} {beside} {to} -> {}", by.1)
        });
        self.hosts[at].store.commit().expect("disks do not fail here");
        self.check_own(at);
        self.drive(at, Vec::new());
    }

    /// A key of those that clients write, or one that is only moved to.
    fn some_key(&mut self) -> Vec<u8> {
        let plain: Vec<&Type> = Type::ALL.iter().filter(|kind| kind.is_plain()).collect();
        let own = match self.pick(plain.len() + 2) {
            0 => "any",
            1 => "moved",
            kind => plain[kind - 2].name(),
        };
        format!("key:{own}").into_bytes()
    }

    /// Of what was done at once a node knows all or nothing.
    pub(super) fn check_whole(&self, at: usize, function: &Function) {
        let upto = |id: ReplicaId| {
            if id == self.hosts[at].replica { function.seq() } else { function.upto(id) }
        };
        for (id, (first, last)) in self.oracle.whole(function.name()) {
            let known = upto(*id);
            assert!(
                known < *first || known >= *last,
                "n{at} knows {known} of {:x}, which did {first} to {last} at once",
                id.0
            );
        }
    }
}

/// Does it; whether there was anything to do.
fn run(function: &Arc<Function>, what: Move, (from, beside, to): (&[u8], &[u8], &[u8])) -> bool {
    let shards = [from, beside, to].map(|key| function.shard_index(key)).to_vec();
    let mut held = Held::shards(function, shards);
    let now = function.now();
    let mut read = |key| held.with_object(key, |shard, hash| Content::of(shard, (hash, key), now));
    let Some((mut content, mut until)) = read(from) else { return false };
    if matches!(what, Move::Store | Move::Merge) {
        let other = if what == Move::Store { read(beside) } else { None };
        if let Some((other, _)) = other {
            let Some(both) = content.with(other) else { return false };
            content = both;
        }
        until = FOREVER;
    }
    if what == Move::Merge {
        let there = read(to);
        let fits = matches!(there, None | Some((Content::Hll(_), _)));
        if !fits || !matches!(content, Content::Hll(_)) {
            return false;
        }
    }
    held.with_object(to, |shard, hash| {
        content.write(shard, (hash, to), (now, until), what == Move::Merge);
    });
    if what == Move::Rename {
        held.with_object(from, |shard, hash| shard.delete_key((hash, from), now));
    }
    true
}
