//! Facts of HyperLogLogs: registers with their ranks, each under the event that added it.
//!
//! They differ from other facts in that they move: a register that its writer adds again stands under the later
//! event alone, and those that all nodes have move to the newest event of their writer. So a fact says another of
//! the same writer and register, if it is later, and neither its rank nor its deadline is less; and what takes away
//! the one takes away the other.

use std::collections::BTreeSet;

use miso_store::crdt::plain::Hll;
use miso_store::crdt::plain::items::{Dotted, Item};
use miso_store::crdt::{ReplicaId, Writers};

use super::oracle::Fact;

const PATH: &[u8] = b"register ";

/// Adds the registers of a HyperLogLog.
pub(super) fn add(hll: &Hll, writers: &Writers, facts: &mut BTreeSet<Fact>) {
    let sketches = hll.cells().get(b"").map_or(&[][..], |cell| cell.values());
    for sketch in sketches {
        let dot = sketch.dot();
        let id = writers.id(dot.writer()).expect("interned");
        for (register, rank) in sketch.registers().iter() {
            let under = sketch.under().to_be_bytes();
            let path = [PATH, &register.to_be_bytes(), &[rank], &under].concat();
            facts.insert((path, id, dot.seq()));
        }
    }
}

/// Whether a fact is a register.
pub(super) fn is(fact: &Fact) -> bool {
    fact.0.starts_with(PATH)
}

/// The register, the rank, and the deadline of the key under which it was added.
fn parts(fact: &Fact) -> Option<([u8; 2], u8, [u8; 8])> {
    let (register, rest) = fact.0.strip_prefix(PATH)?.split_first_chunk()?;
    let (rank, under) = rest.split_first()?;
    Some((*register, *rank, under.try_into().ok()?))
}

/// Whether `later` says what `fact` says, so that what takes away the one has taken away the other.
pub(super) fn says(later: &Fact, fact: &Fact) -> bool {
    let (Some((register, rank, under)), Some((of, least, until))) = (parts(later), parts(fact))
    else {
        return false;
    };
    let covers = register == of && rank >= least && under >= until;
    later.1 == fact.1 && later.2 >= fact.2 && covers
}

/// Whether one of `facts` is `fact`, or says it.
pub(super) fn among<'a>(mut facts: impl Iterator<Item = &'a Fact>, fact: &Fact) -> bool {
    is(fact) && facts.any(|other| says(other, fact))
}

/// What a writer has adopted of others: what it holds that the others had, and what of the others' is gone. Says
/// what is wrong if some of it is missing.
pub(super) fn adopted<'a>(
    all: impl Iterator<Item = &'a Fact>,
    held: &BTreeSet<Fact>,
    (by, retired): (ReplicaId, &[(ReplicaId, u64)]),
    is_gone: impl Fn(&Fact) -> bool,
) -> Result<(BTreeSet<Fact>, BTreeSet<Fact>), String> {
    let all: BTreeSet<&Fact> = all.filter(|fact| is(fact)).collect();
    let of_retired =
        |fact: &Fact| retired.iter().any(|(id, last)| *id == fact.1 && fact.2 <= *last);
    let theirs: BTreeSet<Fact> =
        all.iter().filter(|fact| of_retired(fact)).map(|fact| (*fact).clone()).collect();
    let own = held.iter().filter(|fact| fact.1 == by && is(fact));
    let own: BTreeSet<Fact> = own
        .filter(|fact| !all.contains(fact) && theirs.iter().any(|other| other.0 == fact.0))
        .cloned()
        .collect();
    for fact in theirs.iter().filter(|fact| !is_gone(fact)) {
        let (register, rank, under) = parts(fact).expect("a register");
        let mut own = held.iter().filter(|fact| fact.1 == by).filter_map(parts);
        if !own.any(|(of, held, until)| of == register && held >= rank && until >= under) {
            return Err(format!("not adopted: {fact:x?}"));
        }
    }
    Ok((own, theirs))
}
