//! The feed: what has changed of a function since a reader last asked, as far as that can be said of the
//! state. No log of changes is kept: of what changed twice a reader hears once, and then reads it.
//!
//! A reader has a *cursor*: the events that it has been told of, and its place. The place is one in the
//! change log of the node that it reads from, as long as that reaches; then it costs what has changed. A
//! reader from elsewhere, or one that the log does not reach, goes by events: what is there under other
//! events is found by a walk over the objects, and what has gone by the removal log. If that does not
//! reach either, the reader has to begin anew.
//!
//! What is told may be told again. That a value has changed is never left out, if what is read for a reader
//! is shown to it first ([`ShardGuard::show`](crate::ShardGuard::show)): an element that comes and goes
//! within an interval leaves no trace otherwise.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use miso_crdt::{Change, Context, Type, batch};
use parking_lot::MutexGuard;

use crate::changelog::ChangeLog;
use crate::function::Function;
use crate::joining::{Joining, LOCAL, Vector};
use crate::pending;
use crate::replica::join::TURN;
use crate::replica::known::LONGEST;

/// How many objects a call looks at.
const MOST: usize = 16 * TURN;

/// How far a reader of changes has come.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FeedCursor {
    /// The events of which it has been told.
    pub known: Vector,
    /// Where it reads on; none: it has not read here yet.
    pub place: Option<FeedPlace>,
}

/// Where a reader of changes reads on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FeedPlace {
    /// The change log that it is about. Those of other nodes and other times have other numbers.
    pub epoch: u64,
    /// The position in the log up to which it has been told.
    pub position: u64,
    /// What it will know when it has been told up to a position; none if it has been.
    pub goal: Option<FeedGoal>,
}

/// What a reader of changes will know once it has come somewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FeedGoal {
    /// The events of which it will have been told.
    pub known: Vector,
    /// The position in the log.
    pub position: u64,
    /// Where the walk over the objects goes on; none if it does not need one.
    pub walk: Option<u64>,
}

/// A value that has changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FeedKey {
    /// Its object, or its key.
    pub object: Box<[u8]>,
    /// Its name; empty of a plain key.
    pub name: Box<[u8]>,
    /// Its type.
    pub kind: Type,
}

/// Some changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FeedChanges {
    /// The values that have changed, or gone.
    pub keys: Vec<FeedKey>,
    /// Where to read on.
    pub cursor: FeedCursor,
    /// Whether what the reader holds is worth nothing: what is not told from here on has gone.
    pub resync: bool,
    /// Whether there is more to be told now.
    pub more: bool,
}

impl FeedPlace {
    /// Whether the reader is told by a walk over the objects.
    fn walks(&self) -> bool {
        self.goal.as_ref().is_some_and(|goal| goal.walk.is_some())
    }
}

impl FeedKey {
    fn of(key: &[u8]) -> FeedKey {
        let (object, name) = pending::split(key);
        FeedKey { object: object.into(), name: name.into(), kind: pending::kind(key) }
    }
}

/// A cursor from which everything is told.
fn is_start(known: &Vector, place: Option<&FeedPlace>) -> bool {
    known.is_empty() && place.is_none()
}

/// The events of a vector that are known here, too. A reader that knows more reads older values here than it
/// was told of elsewhere, so it no longer knows them.
fn told(joining: &Joining, here: &Context, vector: &Vector) -> (Vector, Context) {
    let mut told = Vector::new();
    let mut context = Context::new();
    for (id, seq) in vector {
        let Some(writer) = joining.writers.index(*id) else { continue };
        // An own event that no batch has told of may still stand for another update.
        let upto = if writer == LOCAL { joining.sent } else { here.upto(writer) };
        let seq = (*seq).min(upto);
        if seq > 0 {
            told.push((*id, seq));
            context.raise(writer, seq);
        }
    }
    (told, context)
}

/// Reads the change log on from a place that it reaches; `now` says what is known at its end.
fn read_log(
    log: &ChangeLog,
    known: Vector,
    place: FeedPlace,
    count: usize,
    now: impl Fn() -> Vector,
) -> FeedChanges {
    let epoch = place.epoch;
    let mut position = place.position;
    let mut after = log.after(position);
    let mut keys = Vec::new();
    for (at, key) in after.by_ref().take(count) {
        keys.push(FeedKey::of(key));
        position = at;
    }
    let more = after.next().is_some();
    if !more {
        let place = Some(FeedPlace { epoch, position: log.last(), goal: None });
        let cursor = FeedCursor { known: now(), place };
        return FeedChanges { keys, cursor, resync: false, more };
    }
    // A reader that never comes to the end has been told, some time, of all that was known once.
    let begin = || FeedGoal { known: now(), position: log.last(), walk: None };
    let goal = place.goal.unwrap_or_else(begin);
    let (known, goal) =
        if position >= goal.position { (goal.known, None) } else { (known, Some(goal)) };
    let place = Some(FeedPlace { epoch, position, goal });
    FeedChanges { keys, cursor: FeedCursor { known, place }, resync: false, more }
}

impl Function {
    /// Notes from now on which values change, for readers of [`Function::changes`]. `epoch` must be a
    /// number that no other call has had. Without effect while that is done already.
    pub fn follow(&self, epoch: u64) {
        if self.followed.load(Ordering::Acquire) {
            return;
        }
        // Own changes are found where they are gathered.
        self.track();
        // Under this lock no change is between the state and the log.
        let _joining = self.joining.lock();
        let mut log = self.changes.lock();
        if log.is_none() {
            *log = Some(Box::new(ChangeLog::new(epoch)));
            self.followed.store(true, Ordering::Release);
        }
    }

    /// Forgets which values have changed: nobody reads that any more.
    pub fn unfollow(&self) {
        let _joining = self.joining.lock();
        *self.changes.lock() = None;
        self.followed.store(false, Ordering::Release);
    }

    /// The cursor of a reader that wants to hear of what changes from now on. It has a place if the
    /// function is followed.
    #[must_use]
    pub fn feed_end(&self) -> FeedCursor {
        let joining = self.joining.lock();
        let log = self.changes.lock();
        let place = log.as_ref().map(|log| (log.epoch(), log.last()));
        let place = place.map(|(epoch, position)| FeedPlace { epoch, position, goal: None });
        FeedCursor { known: self.vector_under(&joining), place }
    }

    /// About `count` of the values that have changed since `cursor`; more where much has gone or an object
    /// has more names. An answer may be empty and say that there is more: a call takes bounded time. None
    /// while the function is not followed ([`Function::follow`]).
    #[must_use]
    pub fn changes(&self, cursor: FeedCursor, count: usize) -> Option<FeedChanges> {
        let mut joining = self.joining.lock();
        let FeedCursor { known, place } = cursor;
        let (epoch, last, reached) = {
            let log = self.changes.lock();
            let log = log.as_ref()?;
            let reached =
                |place: &&FeedPlace| place.epoch == log.epoch() && log.reaches(place.position);
            let reached = place.as_ref().filter(reached);
            if let Some(place) = reached.filter(|place| !place.walks()) {
                let now = || self.vector_under(&joining);
                return Some(read_log(log, known, place.clone(), count, now));
            }
            (log.epoch(), log.last(), reached.is_some())
        };
        match place {
            Some(FeedPlace { position, goal: Some(goal), .. }) if reached => {
                let (known, context) = told(&joining, &self.known(), &known);
                let from = goal.walk.unwrap_or_default();
                let (keys, walk) = self.walk_changes(&context, from, count);
                let cursor = after_walk(known, (epoch, position), goal.known, walk);
                Some(FeedChanges { keys, cursor, resync: false, more: true })
            }
            place => {
                let is_start = is_start(&known, place.as_ref());
                let (known, mut context) = told(&joining, &self.known(), &known);
                let resync = !is_start && !joining.log.reaches(&context);
                let known = if resync { Vector::new() } else { known };
                let mut keys = Vec::new();
                if resync {
                    context = Context::new();
                } else if !is_start {
                    gone(&mut joining, &context, &mut keys);
                }
                let goal = self.vector_under(&joining);
                let (more, walk) = self.walk_changes(&context, 0, count);
                keys.extend(more);
                let cursor = after_walk(known, (epoch, last), goal, walk);
                Some(FeedChanges { keys, cursor, resync, more: true })
            }
        }
    }

    /// About `count` values that are there under other events than `known`, from `cursor` on, and the
    /// cursor to go on from, 0 at the end.
    fn walk_changes(&self, known: &Context, mut cursor: u64, count: usize) -> (Vec<FeedKey>, u64) {
        let bits = self.shards.len().trailing_zeros();
        let mut keys = Vec::new();
        let mut seen = 0;
        while keys.len() < count && seen < MOST {
            let which = (cursor & (self.shards.len() as u64 - 1)) as usize;
            let turn = TURN.min(count - keys.len());
            let order = self.shards.made(which).map_or(0, |shard| {
                shard.objects().scan(cursor >> bits, turn, |object, held| {
                    for (name, slot) in held.all() {
                        let values = slot.values().iter();
                        let shown = values.filter(|value| !value.kind().is_hidden());
                        let new = shown.filter(|value| !value.since(known).is_empty());
                        keys.extend(new.map(|value| FeedKey {
                            object: object.into(),
                            name: name.into(),
                            kind: value.kind(),
                        }));
                    }
                })
            });
            seen += turn;
            cursor = order << bits | which as u64;
            if order == 0 {
                cursor = if which + 1 == self.shards.len() { 0 } else { which as u64 + 1 };
                if cursor == 0 {
                    break;
                }
            }
        }
        (keys, cursor)
    }

    /// Notes for readers that a value has changed. The observer is to be told afterwards.
    pub(crate) fn note_changed(&self, object: &[u8], name: &[u8], kind: Type) {
        if kind.is_hidden() {
            return;
        }
        let mut key = Vec::new();
        pending::key(object, name, kind, &mut key);
        if let Some(log) = self.changes.lock().as_mut() {
            log.note(&key);
        }
    }

    /// Notes for readers that values have changed, and tells the observer that they have.
    pub(crate) fn note_all<'a>(&self, changed: impl Iterator<Item = (&'a [u8], &'a [u8], Type)>) {
        let mut room = Vec::new();
        if let Some(log) = self.changes.lock().as_mut() {
            for (object, name, kind) in changed.filter(|(_, _, kind)| !kind.is_hidden()) {
                pending::key(object, name, kind, &mut room);
                log.note(&room);
            }
        }
        self.tell_followed();
    }

    /// Whether values that change are noted.
    pub(crate) fn is_followed(&self) -> bool {
        self.followed.load(Ordering::Acquire)
    }

    /// Readers have to go by events: something has gone, and it is not known what.
    pub(crate) fn lose_changes(&self) {
        if let Some(log) = self.changes.lock().as_mut() {
            log.lose();
        }
        if self.is_followed() {
            self.tell_followed();
        }
    }
}

/// Where a reader stands after a part of a walk that began at a position of a log.
fn after_walk(known: Vector, (epoch, position): (u64, u64), goal: Vector, walk: u64) -> FeedCursor {
    if walk == 0 {
        return FeedCursor { known: goal, place: Some(FeedPlace { epoch, position, goal: None }) };
    }
    let goal = Some(FeedGoal { known: goal, position, walk: Some(walk) });
    FeedCursor { known, place: Some(FeedPlace { epoch, position, goal }) }
}

/// Adds what has gone since `known`, each once.
fn gone(joining: &mut MutexGuard<'_, Joining>, known: &Context, keys: &mut Vec<FeedKey>) {
    let messages: Vec<Bytes> = joining.log.since(known).map(|gone| gone.message.clone()).collect();
    let mut seen = HashSet::new();
    let mut key = Vec::new();
    for message in messages {
        // This node has written it.
        let Ok(changes) = batch::read(&message, LONGEST, &mut joining.writers) else { continue };
        for Change { object, name, delta } in changes {
            if delta.kind().is_hidden() {
                continue;
            }
            pending::key(&object, &name, delta.kind(), &mut key);
            if seen.insert(key.clone()) {
                keys.push(FeedKey { object: Box::from(&*object), name, kind: delta.kind() });
            }
        }
    }
}
