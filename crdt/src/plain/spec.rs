//! The specification as oracle: what a reader must be told, said from the events alone, for all plain
//! types at once.
//!
//! An event is an edit with the edits that its node had. What it takes back of them, which deadline it
//! was made under, and whether it began a life is derived here from what a reader would have been told
//! at that moment, not from the types.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::FOREVER;
use crate::ReplicaId;

pub(super) type Edits = BTreeSet<usize>;

/// Fields with their values.
pub(super) type Told = BTreeMap<Vec<u8>, String>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Act {
    /// Sets a field to one of a few texts, with a deadline.
    Set(u8, u8, u64),
    Count(u8, i64),
    ExpireField(u8, u64),
    Remove(u8),
    Expire(u64),
    Delete,
    Reclaim,
}

/// An edit that did something.
#[derive(Clone, Debug)]
pub(super) struct Edit {
    act: Act,
    seen: Edits,
    time: (u64, ReplicaId),
    /// It found its field absent and so began a life of it: then, if something had expired, or at 0.
    fresh: Option<u64>,
    /// It found the key absent and so began a life of it then.
    began: Option<u64>,
    /// It found what its writer had counted past its deadline, though not all, and replaced it.
    renewed: bool,
    /// It left nothing.
    ended: bool,
    until: u64,
    under: u64,
    /// Of a count: the first count of its writer that it goes on from.
    first: usize,
    /// Of a deadline: the lives that it is for.
    of: Edits,
}

impl Act {
    pub(super) fn field(self) -> Option<u8> {
        match self {
            Act::Set(field, ..) | Act::Count(field, _) => Some(field),
            Act::ExpireField(field, _) | Act::Remove(field) => Some(field),
            Act::Expire(_) | Act::Delete | Act::Reclaim => None,
        }
    }

    pub(super) fn is_content(self) -> bool {
        matches!(self, Act::Set(..) | Act::Count(..))
    }
}

/// What terms and lives say: the longest deadline that holds, when the first and the last live life
/// began.
#[derive(Clone, Copy, Debug)]
struct Holds(Option<u64>, u64, u64);

impl Holds {
    fn shows(self, deadline: u64, now: u64) -> bool {
        deadline == FOREVER || (deadline > self.1 && now < deadline.max(self.0.unwrap_or(0)))
    }

    /// When a life ends that began then.
    fn end(self, born: u64) -> u64 {
        self.0.filter(|at| born < *at).unwrap_or(FOREVER)
    }
}

/// What a field reads as: the set that won, the sum of the counts on it, the deadline.
type Field = Option<(Option<usize>, Option<i64>, u64)>;

pub(super) struct Spec {
    pub(super) edits: Vec<Edit>,
    /// Whether the value is of many fields, with a life and a deadline of its own.
    pub(super) keyed: bool,
    /// Whether a set takes back the sets of the field that it has seen: only what it says stands.
    pub(super) replaces: bool,
}

pub(super) const TEXTS: [&str; 4] = ["10", "-3", "text", "7"];

impl Spec {
    fn reset(&self, by: &Edit) -> bool {
        matches!(by.act, Act::Delete | Act::Reclaim) || by.began.is_some()
    }

    /// The edits of `had` that `which` selects and no other took back.
    fn standing<'a>(
        &'a self,
        had: &'a Edits,
        which: impl Fn(&Edit) -> bool + 'a,
        takes: impl Fn(&Edit, &Edit) -> bool + 'a,
    ) -> impl Iterator<Item = usize> + 'a {
        let stands = move |n: &usize| {
            let edit = &self.edits[*n];
            which(edit)
                && !had
                    .iter()
                    .map(|by| &self.edits[*by])
                    .any(|by| by.seen.contains(n) && (self.reset(by) || takes(by, edit)))
        };
        had.iter().copied().filter(stands)
    }

    /// The sets and counts of a field that stand.
    fn content<'a>(&'a self, had: &'a Edits, field: u8) -> impl Iterator<Item = usize> + 'a {
        self.standing(
            had,
            move |edit| edit.act.is_content() && edit.act.field() == Some(field),
            move |by, edit| {
                let replaces = self.replaces && matches!(by.act, Act::Set(..));
                let renews =
                    by.renewed && by.time.1 == edit.time.1 && matches!(edit.act, Act::Count(..));
                let removes = matches!(by.act, Act::Remove(_));
                let takes = replaces || renews || removes || by.fresh.is_some();
                by.act.field() == edit.act.field() && takes
            },
        )
    }

    fn holds(&self, terms: &[usize], lives: &Edits, born: impl Fn(&Edit) -> Option<u64>) -> Holds {
        let holds = |n: &&usize| lives.is_empty() || !self.edits[**n].of.is_disjoint(lives);
        let at = |n: &usize| match self.edits[*n].act {
            Act::Expire(at) | Act::ExpireField(_, at) => at,
            _ => unreachable!("a term"),
        };
        let born = || lives.iter().filter_map(|n| born(&self.edits[*n]));
        let (first, last) = (born().min().unwrap_or(0), born().max().unwrap_or(0));
        Holds(terms.iter().filter(holds).map(at).max(), first, last)
    }

    /// What holds of the key as a whole.
    fn key(&self, had: &Edits) -> Holds {
        let ends = |by: &Edit, _: &Edit| by.ended;
        let lives: Edits = self.standing(had, |edit| edit.began.is_some(), ends).collect();
        let expires = |by: &Edit, _: &Edit| by.ended || matches!(by.act, Act::Expire(_));
        let terms: Vec<usize> =
            self.standing(had, |edit| matches!(edit.act, Act::Expire(_)), expires).collect();
        self.holds(&terms, &lives, |edit| edit.began)
    }

    /// Counts by the first of their writer, with the deadlines of the newest.
    fn groups(&self, counts: &[usize]) -> BTreeMap<usize, (i64, u64, u64)> {
        let mut groups = BTreeMap::new();
        for n in counts {
            let edit = &self.edits[*n];
            let Act::Count(_, amount) = edit.act else { unreachable!("a count") };
            let group = groups.entry(edit.first).or_insert((0, 0, 0));
            *group = (group.0 + amount, edit.until, edit.under);
        }
        groups
    }

    fn field_terms(&self, had: &Edits, field: u8) -> Vec<usize> {
        let which = move |edit: &Edit| matches!(edit.act, Act::ExpireField(f, _) if f == field);
        self.standing(had, which, move |by, _| {
            by.act.field() == Some(field)
                && (!matches!(by.act, Act::Count(..)) || by.fresh.is_some())
        })
        .collect()
    }

    /// What a field reads as, if the key is there.
    fn field(&self, had: &Edits, field: u8, key: Holds, now: u64) -> Field {
        let (winner, counts, deadline) = self.parts(had, field, key, now)?;
        let sum = (!counts.is_empty()).then(|| counts.values().sum());
        (now < deadline).then_some((winner, sum, deadline))
    }

    /// The first of each of the groups of counts that are there.
    fn there(&self, had: &Edits, field: u8, key: Holds, now: u64) -> Edits {
        let parts = self.parts(had, field, key, now);
        parts.into_iter().flat_map(|(_, counts, _)| counts.into_keys()).collect()
    }

    /// The set that won, the sums of the counts that are there by their first, and the deadline.
    fn parts(
        &self,
        had: &Edits,
        field: u8,
        key: Holds,
        now: u64,
    ) -> Option<(Option<usize>, BTreeMap<usize, i64>, u64)> {
        let content: Vec<usize> = self.content(had, field).collect();
        let (sets, counts): (Vec<usize>, Vec<usize>) =
            content.iter().partition(|n| matches!(self.edits[**n].act, Act::Set(..)));
        let terms = self.field_terms(had, field);
        let groups = self.groups(&counts);
        let shown = groups.iter().filter(|(_, group)| key.shows(group.2, now));
        let sets = sets.into_iter().filter(|n| key.shows(self.edits[*n].under, now));
        let winner = sets.max_by_key(|n| self.edits[*n].time);
        let (counts, deadline): (BTreeMap<usize, i64>, u64) = match winner {
            Some(n) => {
                let of = |term: &usize| self.edits[*term].of.contains(&n);
                let terms: Vec<usize> = terms.into_iter().filter(of).collect();
                let Holds(at, ..) = self.holds(&terms, &Edits::new(), |_| None);
                let written = self.edits[n].time.0 >> 16;
                let on_top = shown.filter(|(_, group)| group.1 > written);
                let sums = on_top.map(|(first, group)| (*first, group.0)).collect();
                (sums, at.unwrap_or(self.edits[n].until))
            }
            None => {
                let shown: Vec<_> = shown.collect();
                let began = shown.iter().filter_map(|(first, _)| self.edits[**first].fresh);
                let last = began.max().unwrap_or(0);
                // What was over before something began anew after a deadline.
                let over = |(first, group): &(&usize, &(i64, u64, u64))| {
                    let names = |n: &&usize| self.edits[**n].of.contains(*first);
                    let set = terms.iter().filter(names).map(|n| match self.edits[*n].act {
                        Act::ExpireField(_, at) => at,
                        _ => unreachable!("a term"),
                    });
                    set.max().unwrap_or(group.1) <= last
                };
                let shown: Vec<_> = shown.into_iter().filter(|group| !over(group)).collect();
                let fresh = shown.iter().filter(|(first, _)| self.edits[**first].fresh.is_some());
                let lives: Edits = fresh.map(|(first, _)| **first).collect();
                let holds = self.holds(&terms, &lives, |edit| edit.fresh);
                let live = |first: &usize| {
                    self.edits[*first].fresh.is_none_or(|born| now < holds.end(born))
                };
                let there = |(first, group): &(&usize, &(i64, u64, u64))| {
                    holds.shows(group.1, now) && live(first)
                };
                let there: Vec<_> = shown.into_iter().filter(there).collect();
                let latest = there.iter().map(|(_, group)| group.1).max()?;
                let deadline = if holds.0.is_some() { holds.end(holds.2) } else { latest };
                (there.iter().map(|(first, group)| (**first, group.0)).collect(), deadline)
            }
        };
        Some((winner, counts, deadline))
    }

    fn fields(&self, had: &Edits, now: u64) -> BTreeMap<u8, (Option<usize>, Option<i64>, u64)> {
        let key = self.key(had);
        let over = now >= key.end(key.2);
        let fields = if over { 0..0 } else { 0..FIELDS };
        fields.filter_map(|f| Some((f, self.field(had, f, key, now)?))).collect()
    }

    fn text(&self, (winner, sum, _): (Option<usize>, Option<i64>, u64)) -> String {
        let text = winner.map(|n| match self.edits[n].act {
            Act::Set(_, text, _) => TEXTS[usize::from(text)],
            _ => unreachable!("a set"),
        });
        match (text.map(str::parse::<i64>), sum) {
            (Some(Ok(base)), Some(sum)) => format!("{}", base + sum),
            (None, sum) => format!("{}", sum.unwrap_or(0)),
            (Some(_), _) => String::from(text.unwrap_or_default()),
        }
    }

    /// Whether a node has all that was seen by the edits that it has. Delivery is in order by origin,
    /// not causal: of two edits one may be here ahead of another that it took back. What a node reads
    /// then, and what it takes back by an edit, depends on more than the oracle knows.
    pub(super) fn is_closed(&self, had: &Edits) -> bool {
        had.iter().all(|n| self.edits[*n].seen.is_subset(had))
    }

    /// What a reader is told at `now`: the fields, and the deadline of the whole.
    pub(super) fn read(&self, had: &Edits, now: u64) -> (Told, Option<u64>) {
        let fields = self.fields(had, now);
        let deadline = self.deadline(had, now);
        (
            fields.into_iter().map(|(f, field)| (Vec::from([f]), self.text(field))).collect(),
            deadline,
        )
    }

    fn deadline(&self, had: &Edits, now: u64) -> Option<u64> {
        let fields = self.fields(had, now);
        if !self.keyed {
            return fields.get(&0).map(|field| field.2);
        }
        fields.first_key_value()?;
        let key = self.key(had);
        let unders = fields.keys().flat_map(|f| {
            let content: Vec<usize> = self.content(had, *f).collect();
            let (sets, counts): (Vec<usize>, Vec<usize>) =
                content.iter().partition(|n| matches!(self.edits[**n].act, Act::Set(..)));
            let sets = sets.into_iter().map(|n| self.edits[n].under);
            let groups = self.groups(&counts);
            sets.chain(groups.into_values().map(|group| group.2)).collect::<Vec<u64>>()
        });
        let shown = unders.filter(|under| key.shows(*under, now));
        Some(if key.0.is_some() { key.end(key.2) } else { shown.max().unwrap_or(FOREVER) })
    }

    /// Every deadline up to `now` that what stands of some edits was made with.
    fn ended(&self, had: &Edits, fields: impl Iterator<Item = u8>, now: u64) -> u64 {
        let mut latest = 0;
        for field in fields {
            let content: Vec<usize> = self.content(had, field).collect();
            let counts = content.iter().filter(|n| matches!(self.edits[**n].act, Act::Count(..)));
            let groups = self.groups(&counts.copied().collect::<Vec<_>>());
            let sets = content.iter().filter(|n| matches!(self.edits[**n].act, Act::Set(..)));
            let sets = sets.flat_map(|n| [self.edits[*n].until, self.edits[*n].under]);
            let terms = self.field_terms(had, field).into_iter().map(|n| match self.edits[n].act {
                Act::ExpireField(_, at) => at,
                _ => unreachable!("a term"),
            });
            let counts = groups.values().flat_map(|group| [group.1, group.2]);
            let all = sets.chain(terms).chain(counts).filter(|at| *at <= now);
            latest = latest.max(all.max().unwrap_or(0));
        }
        latest
    }

    /// Notes an edit that did something, made by a node that had `seen`.
    pub(super) fn note(&mut self, act: Act, seen: &Edits, time: (u64, ReplicaId)) -> usize {
        let now = time.0 >> 16;
        let mut edit = Edit {
            act,
            seen: seen.clone(),
            time,
            fresh: None,
            began: None,
            renewed: false,
            ended: false,
            until: FOREVER,
            under: FOREVER,
            first: self.edits.len(),
            of: Edits::new(),
        };
        let there = self.deadline(seen, now);
        if self.keyed && act.is_content() {
            match there {
                Some(deadline) => edit.under = deadline,
                None => edit.began = Some(now),
            }
        }
        // What a life begins with finds nothing at all.
        let found = if edit.began.is_some() { Edits::new() } else { seen.clone() };
        let key = self.key(&found);
        let standing = |field| self.content(&found, field).collect::<Vec<usize>>();
        match act {
            Act::Set(_, _, until) => edit.until = until,
            Act::Count(field, _) => match self.field(&found, field, key, now) {
                Some((_, _, deadline)) => {
                    edit.until = deadline;
                    let mut own = standing(field).into_iter().filter(|n| {
                        let edit = &self.edits[*n];
                        edit.time.1 == time.1 && matches!(edit.act, Act::Count(..))
                    });
                    if let Some(own) = own.next_back().map(|n| self.edits[n].first) {
                        let there = self.there(&found, field, key, now);
                        edit.renewed = !there.contains(&own);
                        edit.first = if edit.renewed { edit.first } else { own };
                    }
                }
                None => {
                    let ended = self.ended(&found, field..field + 1, now) > 0;
                    edit.fresh = Some(if ended { now } else { 0 });
                }
            },
            Act::ExpireField(field, _) => {
                let sets = |n: &usize| matches!(self.edits[*n].act, Act::Set(..));
                edit.of = standing(field).into_iter().filter(sets).collect();
                edit.of.extend(self.there(&found, field, key, now));
            }
            Act::Expire(_) => {
                let ends = |by: &Edit, _: &Edit| by.ended;
                edit.of = self.standing(seen, |edit| edit.began.is_some(), ends).collect();
            }
            Act::Remove(field) => {
                let others = (0..FIELDS).filter(|other| *other != field);
                edit.ended = others.flat_map(standing).next().is_none();
            }
            Act::Delete | Act::Reclaim => {}
        }
        self.edits.push(edit);
        self.edits.len() - 1
    }
}

pub(super) const FIELDS: u8 = 3;

impl core::fmt::Display for Spec {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.edits.iter().enumerate().try_for_each(|(n, edit)| writeln!(f, "{n}: {edit:?}"))
    }
}
