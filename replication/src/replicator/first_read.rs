//! The first read: what a function that begins here waits for before its commands are answered.
//!
//! A function that begins to be carried by a node asks all peers that can be reached what they know of
//! it. Once this node knows all that *one* of them knew which carries it and is current itself, its
//! data here is *current*: what is read then is no older than what that peer had at the question. If no
//! peer is current, because none carries the function or all have begun together, it is once all have
//! answered and everything that they knew is here.
//!
//! One is enough only if it was known to carry the function when this node began. Any other may have begun
//! after this node, and know less than those that are still to answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use miso_store::Vector;
use miso_store::crdt::ReplicaId;

use crate::Time;

/// A question without an answer is asked again after this long.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What a peer knew.
#[derive(Debug)]
struct Answer {
    vector: Vector,
    /// Whether it carried the function and was current.
    current: bool,
}

/// A first read that is waited for.
#[derive(Debug)]
pub(super) struct FirstRead {
    question: u64,
    asked_at: Time,
    /// Those that were known to carry the function at the beginning.
    carriers: BTreeSet<ReplicaId>,
    unanswered: BTreeSet<ReplicaId>,
    answers: BTreeMap<ReplicaId, Answer>,
    /// Whether a link has gone and may be replaced in the same turn.
    unweighed: bool,
    /// A command has waited for it as long as it may.
    in_vain: bool,
}

impl FirstRead {
    /// `peers` are asked, of which `carriers` are known to carry the function.
    pub(super) fn new(
        question: u64,
        asked_at: Time,
        peers: BTreeSet<ReplicaId>,
        carriers: BTreeSet<ReplicaId>,
    ) -> FirstRead {
        FirstRead {
            question,
            asked_at,
            carriers,
            unanswered: peers,
            answers: BTreeMap::new(),
            unweighed: false,
            in_vain: false,
        }
    }

    /// The number that answers bear.
    pub(super) fn question(&self) -> u64 {
        self.question
    }

    /// When it is asked again.
    pub(super) fn again_at(&self) -> Option<Time> {
        (!self.unanswered.is_empty()).then(|| self.asked_at + ASK_AGAIN)
    }

    /// It is asked again; those that have not answered.
    pub(super) fn ask_again(&mut self, now: Time) -> &BTreeSet<ReplicaId> {
        self.asked_at = now;
        &self.unanswered
    }

    /// A peer is asked that can be reached only now.
    pub(super) fn ask(&mut self, peer: ReplicaId) {
        self.unanswered.insert(peer);
    }

    /// A peer has answered what it knows, and whether it carries the function and is current.
    pub(super) fn answered(&mut self, peer: ReplicaId, vector: Vector, current: bool) {
        if self.unanswered.remove(&peer) && (current || !vector.is_empty()) {
            self.answers.insert(peer, Answer { vector, current });
        }
    }

    /// Nothing more comes from a peer, at least on the link that it had. Nothing ends by that before
    /// [`FirstRead::weigh`].
    pub(super) fn lost(&mut self, peer: ReplicaId) {
        self.unanswered.remove(&peer);
        self.answers.remove(&peer);
        self.unweighed = true;
    }

    /// The links of this turn are known: those that were lost and not replaced are not waited for.
    pub(super) fn weigh(&mut self) {
        self.unweighed = false;
    }

    /// The peers that have something of the function, or may have. Those that have not answered in time
    /// are not asked for more.
    pub(super) fn sources(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        let unanswered = self.unanswered.iter().filter(|_| !self.in_vain);
        unanswered.chain(self.answers.keys()).copied()
    }

    /// Whether a peer has answered that it has some of the function.
    pub(super) fn is_answered(&self, peer: ReplicaId) -> bool {
        self.answers.contains_key(&peer)
    }

    /// Whether a peer has carried the function since the beginning, and was current when it answered.
    pub(super) fn is_current(&self, peer: ReplicaId) -> bool {
        self.carriers.contains(&peer)
            && self.answers.get(&peer).is_some_and(|answer| answer.current)
    }

    /// Whether the data here is current, `covers` being whether a vector is known here.
    pub(super) fn is_over(&self, covers: impl Fn(&Vector) -> bool) -> bool {
        let mut answers = self.answers.iter();
        answers.any(|(peer, answer)| self.is_current(*peer) && covers(&answer.vector))
            || (!self.unweighed
                && self.unanswered.is_empty()
                && self.answers.values().all(|answer| covers(&answer.vector)))
    }

    /// A command has waited for it as long as it may; whether it is the first.
    pub(super) fn set_in_vain(&mut self) -> bool {
        !std::mem::replace(&mut self.in_vain, true)
    }

    /// Whether a command has waited for it as long as it may: others do not.
    pub(super) fn is_in_vain(&self) -> bool {
        self.in_vain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ReplicaId = ReplicaId(2);
    const B: ReplicaId = ReplicaId(3);

    fn asked() -> FirstRead {
        FirstRead::new(1, Time(0), [A, B].into(), [A, B].into())
    }

    fn knows(known: u64) -> impl Fn(&Vector) -> bool {
        move |vector| vector.iter().all(|(_, seq)| *seq <= known)
    }

    #[test]
    fn one_current_peer_is_enough() {
        let mut read = asked();
        read.answered(A, vec![(A, 5)], true);
        assert!(!read.is_over(knows(4)) && read.is_over(knows(5)));
    }

    #[test]
    fn a_peer_that_may_have_begun_later_is_not_enough() {
        let mut read = FirstRead::new(1, Time(0), [A].into(), [A].into());
        read.ask(B);
        read.answered(B, vec![(B, 5)], true);
        assert!(!read.is_over(knows(5)), "the other has not answered");
        read.answered(A, vec![(A, 7)], false);
        assert!(!read.is_over(knows(6)) && read.is_over(knows(7)));
    }

    #[test]
    fn without_a_current_peer_all_count() {
        let mut read = asked();
        read.answered(A, vec![(A, 5)], false);
        assert!(!read.is_over(knows(5)), "the other has not answered");
        read.answered(B, vec![(B, 7)], false);
        assert!(!read.is_over(knows(6)) && read.is_over(knows(7)));
    }

    #[test]
    fn a_peer_that_is_gone_does_not_count() {
        let mut read = asked();
        read.answered(A, vec![(A, 5)], true);
        read.lost(A);
        assert!(!read.is_over(knows(0)));
        read.lost(B);
        assert!(!read.is_over(knows(0)), "its link may be replaced in this turn");
        read.weigh();
        assert!(read.is_over(knows(0)));
    }

    #[test]
    fn only_those_that_have_not_answered_are_asked_again() {
        let mut read = asked();
        read.answered(A, Vec::new(), false);
        assert_eq!(read.again_at(), Some(Time(0) + ASK_AGAIN));
        assert_eq!(*read.ask_again(Time(9)), [B].into());
        read.answered(B, Vec::new(), false);
        assert_eq!(read.again_at(), None);
    }
}
