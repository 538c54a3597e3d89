//! Facts of HyperLogLogs: registers with their ranks, each under the event that added it.
//!
//! They differ from other facts in that they move: a register that its writer adds again stands under the later
//! event alone, and those that all nodes have move to the newest event of their writer. So a fact says another of
//! the same writer and register, if it is later and its rank is no less; and what takes away the one takes away
//! the other.

use std::collections::BTreeSet;

use miso_store::crdt::plain::Hll;
use miso_store::crdt::plain::items::Dotted;
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
            let path = [PATH, &register.to_be_bytes(), &[rank]].concat();
            facts.insert((path, id, dot.seq()));
        }
    }
}

/// Whether a fact is a register.
pub(super) fn is(fact: &Fact) -> bool {
    fact.0.starts_with(PATH)
}

/// The register, and the rank.
fn parts(fact: &Fact) -> Option<(&[u8], u8)> {
    let (rank, register) = fact.0.strip_prefix(PATH)?.split_last()?;
    Some((register, *rank))
}

/// Whether `later` says what `fact` says, so that what takes away the one has taken away the other.
pub(super) fn says(later: &Fact, fact: &Fact) -> bool {
    let (Some((register, rank)), Some((of, least))) = (parts(later), parts(fact)) else {
        return false;
    };
    later.1 == fact.1 && later.2 >= fact.2 && register == of && rank >= least
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
        let (register, rank) = parts(fact).expect("a register");
        let stands = held.iter().filter(|fact| fact.1 == by).filter_map(parts);
        if !stands.into_iter().any(|(of, stands)| of == register && stands >= rank) {
            return Err(format!("not adopted: {fact:x?}"));
        }
    }
    Ok((own, theirs))
}
