//! What a function knows of one peer with which it is exchanged.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use miso_protocol::peer::Witness;
use miso_store::Vector;
use miso_store::crdt::ReplicaId;
use miso_store::journal::{Journal, Position, SyncPolicy};

use crate::{LinkId, Time};

/// How many acknowledgements at most wait for the disk apart from each other.
const UNSYNCED_MAX: usize = 64;

/// A stream is asked for again after this long, if its answer does not come.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// A peer with which a function is exchanged.
#[derive(Debug, Default)]
pub(super) struct Target {
    link: Option<LinkId>,
    /// Whether it carries the function, which is to run or to hold it; if not, it is sent no changes.
    carries: bool,
    /// It has asked for the stream on this link.
    live: bool,
    /// Own events that it has acknowledged.
    acked: u64,
    /// Own events that are on its disk.
    durable: u64,
    /// Its events that are in the journal here: up to which record, and up to which event.
    unsynced: VecDeque<(Position, u64)>,
    /// Its events that are on this disk.
    synced: u64,
    /// Its latest summary: what it has applied.
    summary: Vector,
    /// The first of its events that it can still send.
    kept_from: u64,
    /// Whether a summary of it has come on this link.
    heard: bool,
    /// Whether its data is current, as its latest summary on this link says.
    current: bool,
    /// It holds events of retired writers that no other node has: nothing is taken from it.
    stray: bool,
    /// When its stream was last asked for.
    asked_at: Option<Time>,
    /// When it is owed an acknowledgement.
    ack_at: Option<Time>,
    /// How many events it has said itself that it has made, and what shows it that.
    word: u64,
    witness: Option<Witness>,
    /// The newest question that it has answered.
    answered: u64,
    /// It has said of another node what that node denies: nothing is pulled from it until then.
    distrusted_until: Option<Time>,
}

impl Target {
    pub(super) fn link(&self) -> Option<LinkId> {
        self.link
    }

    /// The link to it, if it carries the function and its changes can be taken.
    pub(super) fn reachable(&self) -> Option<LinkId> {
        self.link.filter(|_| self.carries && !self.stray)
    }

    /// The link on which it is sent changes.
    pub(super) fn live_link(&self) -> Option<LinkId> {
        self.link.filter(|_| self.carries && self.live)
    }

    pub(super) fn carries(&self) -> bool {
        self.carries
    }

    pub(super) fn acked(&self) -> u64 {
        self.acked
    }

    pub(super) fn durable(&self) -> u64 {
        self.durable
    }

    /// Its summary, if one has come on this link.
    pub(super) fn heard(&self) -> Option<&Vector> {
        self.heard.then_some(&self.summary)
    }

    /// Its latest summary, from an earlier link too.
    pub(super) fn summary(&self) -> &Vector {
        &self.summary
    }

    /// Whether it can still send its events after the first `known`.
    pub(super) fn keeps_after(&self, known: u64) -> bool {
        self.kept_from <= known + 1
    }

    /// Whether its stream may be asked for: not if that was done a moment ago.
    pub(super) fn may_be_asked(&self, now: Time) -> bool {
        self.asked_at.is_none_or(|at| now.since(at) >= ASK_AGAIN)
    }

    pub(super) fn asked(&mut self, now: Time) {
        self.asked_at = Some(now);
    }

    pub(super) fn met(&mut self, link: Option<LinkId>, carries: bool) {
        (self.link, self.carries) = (link, carries);
    }

    pub(super) fn disconnected(&mut self) {
        (self.link, self.live, self.heard, self.ack_at) = (None, false, false, None);
        self.current = false;
    }

    /// It does not carry the function any more.
    pub(super) fn ended(&mut self) {
        (self.carries, self.live) = (false, false);
    }

    /// It wants changes on this link, if it carries the function.
    pub(super) fn wants_stream(&mut self) {
        self.live = self.carries;
    }

    pub(super) fn is_stray(&self) -> bool {
        self.stray
    }

    pub(super) fn set_stray(&mut self, stray: bool) {
        self.stray = stray;
        self.live &= !stray;
    }

    /// It has said what it has applied, and whether its data is current.
    pub(super) fn heard_summary(&mut self, summary: Vector, kept_from: u64, current: bool) {
        (self.heard, self.summary, self.kept_from) = (true, summary, kept_from);
        self.current = current;
    }

    /// Whether it is a copy: it can be reached, carries the function, and its data is current.
    pub(super) fn is_copy(&self) -> bool {
        self.reachable().is_some() && self.current
    }

    /// It has acknowledged own events up to `last`, and has them on its disk up to `durable`.
    pub(super) fn acknowledged(&mut self, last: u64, durable: u64) {
        self.acked = self.acked.max(last);
        self.durable = self.durable.max(durable.min(self.acked));
    }

    /// Test only, see `Bugs::trust_the_wire`.
    pub(super) fn trust(&mut self, last: u64) {
        if self.live {
            self.acked = last;
        }
    }

    /// How many events it has said itself that it has made, by its summaries or by the events themselves.
    pub(super) fn word(&self) -> u64 {
        self.word
    }

    /// It says that it has made its first `seq` events.
    pub(super) fn says(&mut self, seq: u64, witness: Option<&Witness>) {
        self.word = self.word.max(seq);
        let newest = self.witness.as_ref().map_or(0, |witness| witness.seq);
        if let Some(witness) = witness.filter(|witness| witness.seq > newest) {
            self.witness = Some(*witness);
        }
    }

    /// The newest of its events that it has shown.
    pub(super) fn witness(&self) -> Option<Witness> {
        self.witness
    }

    pub(super) fn answered(&self) -> u64 {
        self.answered
    }

    pub(super) fn answers(&mut self, question: u64) {
        self.answered = self.answered.max(question);
    }

    pub(super) fn distrust(&mut self, until: Time) {
        self.distrusted_until = Some(until);
    }

    /// Whether what it says of others is believed.
    pub(super) fn is_trusted(&self, now: Time) -> bool {
        self.distrusted_until.is_none_or(|until| until <= now)
    }

    pub(super) fn ack_at(&self) -> Option<Time> {
        self.ack_at
    }

    /// It is owed an acknowledgement, at the latest at `at`.
    pub(super) fn ack_by(&mut self, at: Time) {
        self.ack_at = Some(self.ack_at.map_or(at, |ack_at| ack_at.min(at)));
    }

    /// Takes the acknowledgement that it is owed: the link to send it on.
    pub(super) fn take_ack(&mut self) -> Option<LinkId> {
        self.ack_at.take().and(self.link)
    }

    /// Whether it knows all events of `vector` but those of writers for which `has` is true.
    pub(super) fn knows(&self, vector: &Vector, has: impl Fn(ReplicaId) -> bool) -> bool {
        let told: HashMap<ReplicaId, u64> = self.summary.iter().copied().collect();
        let mut others = vector.iter().filter(|(of, _)| !has(*of));
        others.all(|(of, seq)| told.get(of).is_some_and(|told| told >= seq))
    }

    /// Up to which of its events this disk has them, `last` being known here: 0 if there is no disk.
    pub(super) fn on_disk(&mut self, journal: Option<&Journal>, last: u64) -> u64 {
        let Some(journal) = journal else { return 0 };
        if journal.policy() == SyncPolicy::Always {
            return last; // nothing is sent before it is on the disk
        }
        if self.unsynced.back().is_none_or(|(_, upto)| *upto < last) && self.synced < last {
            if self.unsynced.len() == UNSYNCED_MAX {
                self.unsynced.pop_back(); // the next one stands for it
            }
            self.unsynced.push_back((journal.appended(), last));
        }
        let synced = journal.synced();
        while let Some((at, upto)) = self.unsynced.front().copied()
            && at <= synced
        {
            self.synced = upto;
            self.unsynced.pop_front();
        }
        self.synced
    }
}
