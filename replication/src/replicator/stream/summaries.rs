//! Summaries: what a node says that it knows of a function, and what it makes of those of others.

use bytes::Bytes;
use miso_protocol::peer::message::Body;
use miso_protocol::peer::{self, Summary, Witness};
use miso_store::Vector;
use miso_store::crdt::ReplicaId;

use super::{Heard, Pulling, SURE_AFTER, Stream};
use crate::replicator::target::Target;
use crate::replicator::turn::{Turn, refused};
use crate::{Fault, LinkId, Note, Time, payload};

impl Stream {
    /// A summary; `with` says what it asks for or answers.
    pub(super) fn summary(&self, turn: &Turn<'_>, with: Summary) -> Bytes {
        let sent = self.function.sent();
        peer::frame(Body::Summary(Summary {
            function: self.name.clone(),
            vector: Some(payload::vector(&self.function.vector())),
            kept_from: self.unacknowledged.first().unwrap_or(sent + 1),
            mine: turn.witnesses().of(&self.name, sent),
            carries: self.carries,
            current: self.carries && self.first_read.is_none(),
            ..with
        }))
    }

    /// Sends what has changed, where writes run once or there are sketches. A summary says of own events those
    /// that were sent, and of others' all that are here; a peer that forgets an id for it must know of every
    /// run here that came before this node had heard of the id, and one that folds sketches of every delete
    /// that had seen the first of them alone.
    fn flush_first(&mut self, turn: &mut Turn<'_>) {
        let relied_on = self.function.has_once() || self.function.has_sketches();
        if relied_on && self.has_unsent() {
            self.flush(turn);
        }
    }

    /// A summary that asks for another.
    fn asking_summary(&self, turn: &Turn<'_>, yours: Option<Witness>) -> Bytes {
        self.summary(turn, Summary { answer: true, yours, ..Summary::default() })
    }

    /// Asks a peer how many events it has made itself; the number that its answer bears.
    pub(in crate::replicator) fn ask_for_word(
        &self,
        turn: &mut Turn<'_>,
        peer: ReplicaId,
    ) -> Option<u64> {
        let link = turn.peers().link(peer)?;
        let question = turn.next_id();
        let frame = self.summary(turn, Summary { answer: true, question, ..Summary::default() });
        turn.send_frame(vec![link], frame);
        Some(question)
    }

    /// Says what is known here, and asks a peer for the same and for what follows it.
    pub(in crate::replicator) fn ask_for_stream(&mut self, turn: &mut Turn<'_>, peer: ReplicaId) {
        self.flush_first(turn);
        let yours = self.target(peer).and_then(Target::witness);
        let frame = self.asking_summary(turn, yours);
        if let Some(target) = self.peers.get_mut(&peer)
            && let Some(link) = target.link()
        {
            target.asked(turn.now());
            turn.send_frame(vec![link], frame);
        }
    }

    /// As [`Stream::ask_for_stream`], unless that was done a moment ago.
    pub(in crate::replicator) fn ask_for_stream_again(
        &mut self,
        turn: &mut Turn<'_>,
        peer: ReplicaId,
    ) {
        if self.peers.get(&peer).is_some_and(|target| target.may_be_asked(turn.now())) {
            self.ask_for_stream(turn, peer);
        }
    }

    /// Asks all reachable peers what they have.
    pub(in crate::replicator) fn ask_all(&mut self, turn: &mut Turn<'_>) {
        self.flush_first(turn);
        let frame = self.asking_summary(turn, None);
        turn.send_frame(self.reachable_links(), frame);
    }

    /// Tells a peer which writers are retired.
    pub(super) fn tell_retired(&self, turn: &mut Turn<'_>, link: LinkId) {
        for retirement in self.function.retirements() {
            turn.send(link, Body::Retired(payload::retired(self.name.clone(), &retirement)));
        }
    }

    /// A summary is sent, at the latest at `at`.
    pub(super) fn announce_by(&mut self, at: Time) {
        self.summary_at = Some(self.summary_at.map_or(at, |summary_at| summary_at.min(at)));
    }

    /// Something has changed: a summary is sent, not at once, and what is common knowledge forgotten.
    pub(in crate::replicator) fn announce_soon(&mut self, turn: &Turn<'_>) {
        self.announce_by(turn.summary_at());
        self.tidy_soon(turn);
    }

    pub(in crate::replicator) fn summary_at(&self) -> Option<Time> {
        self.summary_at
    }

    /// Sends the summary that is due.
    pub(in crate::replicator) fn announce(&mut self, turn: &mut Turn<'_>, pulling: Pulling) {
        self.summary_at = None;
        let links = self.reachable_links();
        if links.is_empty() {
            return;
        }
        self.flush_first(turn);
        let vector = self.function.vector();
        // A digest is worth it only where nothing is under way that would change it.
        let still = self.announced.replace(vector.clone()).is_some_and(|before| before == vector);
        let settled = still && pulling == Pulling::No && !self.has_unsent();
        let digest = (settled && self.unsure > 0).then(|| self.digest(&vector));
        self.unsure = self.unsure.saturating_sub(u8::from(settled));
        let (digest, ahead) = digest.unzip();
        let frame = self.summary(turn, Summary { digest, ahead, ..Summary::default() });
        turn.send_frame(links, frame);
        self.summary_at = Some(next_round(turn));
    }

    /// Values of events beyond the vector may have come.
    pub(in crate::replicator) fn now_unsure(&mut self) {
        self.unsure = SURE_AFTER;
        self.digest = None;
    }

    /// A digest of all that is here, and one of what is known beyond `vector`, which is what is known.
    pub(super) fn digest(&mut self, vector: &Vector) -> (u64, u64) {
        match &self.digest {
            Some((at, digest)) if at == vector => *digest,
            _ => {
                let ahead = self.function.ahead_digests(1);
                let digest = (self.function.digests(1)[0], ahead.first().copied().unwrap_or(0));
                self.digest = Some((vector.clone(), digest));
                digest
            }
        }
    }

    /// Takes a peer's summary.
    pub(in crate::replicator) fn on_summary(
        &mut self,
        turn: &mut Turn<'_>,
        peer: ReplicaId,
        said: &Summary,
        pulling: Pulling,
    ) -> Result<Heard, Fault> {
        let vector = payload::read_vector(said.vector.as_ref())?;
        self.peers.entry(peer).or_default().answers(said.answers);
        if vector.is_empty() && said.answers != 0 && !said.carries {
            self.on_answer(turn, peer, said, vector);
            return Ok(Heard::Nothing);
        }
        let (own, link) = (turn.own(), turn.peers().link(peer));
        let carries = turn.peers().carries(peer, &said.function);
        let target = self.peers.entry(peer).or_default();
        target.met(link, carries);
        let stray = self.function.is_stray(&vector) || self.function.is_retired(peer);
        target.set_stray(stray);
        if stray {
            // It hears why, and must end.
            if let Some(link) = link {
                self.tell_retired(turn, link);
            }
            if let Some(read) = &mut self.first_read {
                read.lost(peer);
            }
            self.lost(turn);
            return Ok(Heard::Nothing);
        }
        if self.function.heard_summary(peer, &vector).map_err(refused)? {
            self.tidy_soon(turn);
        }
        let upto = |of| vector.iter().find(|(id, _)| *id == of).map_or(0, |(_, seq)| *seq);
        let (theirs, word) = (upto(own), upto(peer));
        self.check_own_past(turn, peer, theirs, said.yours.as_ref());
        let sent = self.function.sent();
        if let Some(target) = self.peers.get_mut(&peer) {
            target.says(word, said.mine.as_ref());
            target.heard_summary(vector.clone(), said.kept_from, said.current);
            target.acknowledged(theirs.min(sent), 0);
        }
        if said.answer {
            self.answer_summary(turn, peer, theirs, said.question);
        }
        self.on_answer(turn, peer, said, vector);
        self.trim(turn);
        self.check_waits(turn);
        let differs = self.carries
            && pulling == Pulling::No
            && said.digest.is_some_and(|digest| self.differs(peer, (digest, said.ahead)));
        if differs {
            self.now_unsure();
        }
        Ok(if differs { Heard::Differs } else { Heard::Compare })
    }

    /// A peer says that it knows `theirs` events of this node, and may show an event that this node has
    /// said to be its own. A number alone is no reason to end: the peer may be wrong, or hostile.
    pub(super) fn check_own_past(
        &self,
        turn: &mut Turn<'_>,
        peer: ReplicaId,
        theirs: u64,
        shown: Option<&Witness>,
    ) {
        let (seq, begun) = (self.function.seq(), self.function.begun());
        if let Some(event) = shown
            && turn.witnesses().shows_lost_past(&self.name, begun, event)
        {
            turn.counts().conflicts += 1;
            turn.note(Note::Outdated(format!(
                "peer {:016x} has event {} of this node in function {}, of an earlier run, and this run has \
                 found but {begun} in its journal: its past was lost, or another node has its identity",
                peer.0,
                event.seq,
                self.shown(),
            )));
        } else if theirs > seq {
            let shown = self.shown();
            turn.lie(peer, &format!("own {peer:?} {shown}"), || {
                format!(
                    "function {shown}: peer {:016x} says that it knows {theirs} events of this node, which \
                     has made {seq}, and shows none of them: it is not believed",
                    peer.0
                )
            });
        }
    }

    /// A peer that knows the first `theirs` own events wants a summary and what follows them.
    pub(super) fn answer_summary(
        &mut self,
        turn: &mut Turn<'_>,
        peer: ReplicaId,
        theirs: u64,
        answers: u64,
    ) {
        self.flush_first(turn);
        if self.function.upto(peer) > 0 {
            self.ack_by(peer, turn.now() + turn.ack_delay());
        }
        let Some(target) = self.peers.get_mut(&peer) else { return };
        target.wants_stream();
        let Some(link) = target.link() else { return };
        if target.carries() {
            for frame in self.unacknowledged.after(theirs) {
                turn.send_frame(vec![link], frame.clone());
            }
        }
        let yours = self.target(peer).and_then(Target::witness);
        let frame = self.summary(turn, Summary { answers, yours, ..Summary::default() });
        turn.send_frame(vec![link], frame);
    }

    /// Whether a peer with this digest has other data with the same vector, or knows other things beyond it. Peers
    /// of earlier builds say nothing of the latter.
    pub(super) fn differs(&mut self, peer: ReplicaId, (digest, ahead): (u64, Option<u64>)) -> bool {
        if self.has_unsent() {
            return false;
        }
        let vector = self.function.vector();
        let sorted = |vector: &Vector| {
            let mut vector = vector.clone();
            vector.sort_unstable();
            vector
        };
        let same = self.peers.get(&peer).is_some_and(|t| sorted(t.summary()) == sorted(&vector));
        if !same {
            return false;
        }
        let mine = self.digest(&vector);
        mine.0 != digest || ahead.is_some_and(|ahead| ahead != mine.1)
    }
}

/// The next time at which summaries of unchanged functions are sent: all functions' at one time, so
/// that they go in one envelope; each node at its own.
fn next_round(turn: &Turn<'_>) -> Time {
    let period = u64::try_from(turn.config().summary_period.as_nanos()).unwrap_or(u64::MAX).max(1);
    let offset = turn.own().0 % period;
    let round = turn.now().0.saturating_sub(offset) / period + 1;
    Time(round.saturating_mul(period).saturating_add(offset))
}
