//! Edits, and what a node that has some of them must read.

use std::collections::{BTreeMap, BTreeSet};

use miso_crdt::{Counter, MvRegister, ReplicaId, Type, Value, Writers};

pub(crate) const ELEMENTS: u8 = 3;
pub(crate) const FIELDS: u8 = 2;

/// Edits by number.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Edits([u64; 4]);

impl Edits {
    pub(crate) const MAX: usize = 256;

    pub(crate) fn insert(&mut self, n: usize) {
        self.0[n / 64] |= 1 << (n % 64);
    }

    pub(crate) fn contains(&self, n: usize) -> bool {
        self.0[n / 64] >> (n % 64) & 1 == 1
    }

    pub(crate) fn join(&mut self, other: &Edits) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, other)| *mine |= other);
    }

    pub(crate) fn within(&self, other: &Edits) -> bool {
        self.0.iter().zip(other.0).all(|(mine, other)| mine & !other == 0)
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        (0..Edits::MAX).filter(move |n| self.contains(*n))
    }
}

/// A name in an object, and its type.
pub(crate) type Key = (u8, Type);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Act {
    Add(u8),
    Remove(u8),
    Clear,
    Count(u64, u64),
    Write,
    Enable,
    Disable,
    Set(u8),
    SetText(u8),
    CountField(u8, i64),
    RemoveField(u8),
}

/// An edit that did something.
#[derive(Clone, Debug)]
pub(crate) struct Edit {
    pub(crate) key: Key,
    pub(crate) act: Act,
    /// The edits of the same value that its node had.
    pub(crate) seen: Edits,
    /// What it takes back of them. What is gone already, an edit does not name once more; a clear
    /// covers all that was seen or is known to be gone.
    pub(crate) named: Edits,
    pub(crate) time: u64,
    pub(crate) by: ReplicaId,
}

impl Edit {
    /// What a register or field is set to.
    pub(crate) fn value(&self, number: usize) -> Vec<u8> {
        match self.act {
            Act::SetText(_) => format!("text {number}").into_bytes(),
            _ => number.to_string().into_bytes(),
        }
    }
}

/// What a client reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Read {
    Elements(BTreeSet<u8>),
    /// Total and whether it exists; none if the node cannot know, since an edit that it has was
    /// made after one that it lacks, and says what that did.
    Count(Count),
    Values(Vec<Vec<u8>>, Option<Vec<u8>>),
    On(bool),
    Fields(BTreeMap<u8, (Vec<Vec<u8>>, Count)>),
}

pub(crate) type Count = Option<(i128, bool)>;

impl Act {
    /// Whether it takes back what `earlier` did, if it saw it.
    pub(crate) fn covers(self, earlier: Act) -> bool {
        match (earlier, self) {
            (_, Act::Clear) => true,
            (Act::Add(e), Act::Add(f) | Act::Remove(f)) => e == f,
            (Act::Write, Act::Write) => true,
            (Act::Enable, Act::Enable | Act::Disable) => true,
            (
                Act::Set(f) | Act::SetText(f) | Act::CountField(f, _),
                Act::Set(g) | Act::SetText(g) | Act::RemoveField(g),
            ) => f == g,
            _ => false,
        }
    }
}

/// Which of the edits `had` stand. Between nodes that have heard of other batches this may differ
/// for a while: of two edits, one may be here and the other not that replaced it, while a third is
/// here that replaced the other. Delivery is in order per origin, not causal.
pub(crate) fn standing(edits: &[Edit], had: Edits) -> impl Iterator<Item = (usize, &Edit)> {
    had.iter()
        .map(|n| (n, &edits[n]))
        .filter(move |(n, _)| !had.iter().any(|m| edits[m].named.contains(*n)))
}

/// What a node that has the edits `had` must read.
pub(crate) fn expected(edits: &[Edit], had: Edits, hints: Edits, kind: Type) -> Read {
    let closed = had.iter().all(|n| edits[n].seen.within(&had)) && hints.within(&had);
    let standing = || standing(edits, had);
    let total = |amount: &dyn Fn(Act) -> Option<i128>| {
        let amounts: Vec<i128> = standing().filter_map(|(_, edit)| amount(edit.act)).collect();
        closed.then(|| (amounts.iter().sum(), !amounts.is_empty()))
    };
    let values = |of: &dyn Fn(Act) -> bool| {
        let written = standing().filter(|(_, edit)| of(edit.act));
        let mut values: Vec<Vec<u8>> = written.map(|(n, edit)| edit.value(n)).collect();
        values.sort();
        values
    };
    match kind {
        Type::GSet | Type::OrSet => {
            let element = |act| if let Act::Add(e) = act { Some(e) } else { None };
            Read::Elements(standing().filter_map(|(_, edit)| element(edit.act)).collect())
        }
        Type::EwFlag => Read::On(standing().any(|(_, edit)| edit.act == Act::Enable)),
        Type::GCounter | Type::PnCounter => Read::Count(total(&|act| match act {
            Act::Count(p, n) => Some(i128::from(p) - i128::from(n)),
            _ => None,
        })),
        Type::MvRegister => {
            let written = standing().filter(|(_, edit)| edit.act == Act::Write);
            let latest = written.max_by_key(|(n, edit)| (edit.time, edit.by, edit.value(*n)));
            let winner = latest.map(|(n, edit)| edit.value(n));
            Read::Values(values(&|act| act == Act::Write), winner)
        }
        Type::OrMap => {
            let field = |f| {
                let values = values(&|act| [Act::Set(f), Act::SetText(f)].contains(&act));
                let total = total(&|act| match act {
                    Act::CountField(field, by) if field == f => Some(i128::from(by)),
                    _ => None,
                });
                (f, (values, total))
            };
            Read::Fields((0..FIELDS).map(field).collect())
        }
        _ => unreachable!("the model plays MISO's own types"),
    }
}

/// What a node does read, told only what the oracle can tell.
pub(crate) fn actual(value: &Value, writers: &Writers, oracle: &Read) -> Read {
    let elements = |set: &miso_crdt::Set| {
        let elements = set.elements().iter().map(|(e, _)| e[0]).collect::<BTreeSet<u8>>();
        assert_eq!(elements.len(), set.len());
        Read::Elements(elements)
    };
    let count = |counter: &Counter| {
        assert_eq!(counter.total(), counter.entries().map(|e| value_of(&e)).sum::<i128>());
        (counter.total(), !miso_crdt::Crdt::is_absent(counter))
    };
    let values = |register: &MvRegister| {
        register.values().into_iter().map(Vec::from).collect::<Vec<Vec<u8>>>()
    };
    match (value, oracle) {
        (Value::GSet(set) | Value::OrSet(set), _) => elements(set),
        (Value::GCounter(_) | Value::PnCounter(_), Read::Count(None)) => Read::Count(None),
        (Value::GCounter(counter) | Value::PnCounter(counter), _) => {
            Read::Count(Some(count(counter)))
        }
        (Value::MvRegister(register), _) => {
            Read::Values(values(register), register.winner(writers).map(Vec::from))
        }
        (Value::EwFlag(flag), _) => Read::On(flag.enabled()),
        (Value::OrMap(map), Read::Fields(oracle)) => {
            let fields = oracle.iter().map(|(f, (_, told))| {
                let field = map.fields().get(&[*f]);
                let counter = field.and_then(|field| field.counter.as_deref());
                let total = counter.map_or((0, false), count);
                let values = field.map_or_else(Vec::new, |field| values(&field.register));
                (*f, (values, told.map(|_| total)))
            });
            let present = map.fields().iter().filter(|(_, field)| !field.is_absent()).count();
            assert_eq!(map.len(), present);
            Read::Fields(fields.collect())
        }
        _ => unreachable!("the model plays MISO's own types"),
    }
}

pub(crate) fn value_of(entry: &miso_crdt::counter::Entry) -> i128 {
    let (p, n) = entry.floor.map_or((0, 0), |floor| (floor.p, floor.n));
    i128::from(entry.p) - i128::from(p) - (i128::from(entry.n) - i128::from(n))
}
