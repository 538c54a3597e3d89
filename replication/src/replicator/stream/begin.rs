//! A function that begins here: its first read, and what is asked before that is over.

use std::collections::BTreeSet;

use miso_protocol::peer::Summary;
use miso_store::Vector;
use miso_store::crdt::ReplicaId;

use super::Stream;
use crate::replicator::first_read::FirstRead;
use crate::replicator::questions::Current;
use crate::replicator::turn::Turn;
use crate::{Answer, LinkId, Time};

impl Stream {
    /// It is carried here from now on: asks all peers what they know. `carriers` carry it.
    pub(in crate::replicator) fn begin(&mut self, turn: &mut Turn<'_>, carriers: &[ReplicaId]) {
        self.carries = true;
        for peer in carriers {
            self.met(turn, *peer);
        }
        self.ask_linked(turn);
    }

    /// It runs from now on and was held until now: what it was to know first it is to know as of now.
    pub(in crate::replicator) fn resume(&mut self, turn: &mut Turn<'_>) {
        if self.first_read.is_some() {
            self.ask_linked(turn);
        }
    }

    /// Asks all peers that can be reached what they know, for a first read.
    pub(super) fn ask_linked(&mut self, turn: &mut Turn<'_>) {
        let peers: BTreeSet<ReplicaId> = turn.peers().linked().map(|(id, _)| id).collect();
        self.alone = peers.is_empty();
        if self.alone {
            self.set_current(turn);
        } else {
            self.begin_first_read(turn, peers);
        }
    }

    pub(super) fn begin_first_read(&mut self, turn: &mut Turn<'_>, peers: BTreeSet<ReplicaId>) {
        let links = peers.iter().filter_map(|peer| turn.peers().link(*peer)).collect();
        let carriers = turn.peers().carrying(&self.name).into_iter().collect();
        self.first_read = Some(FirstRead::new(turn.next_id(), turn.now(), peers, carriers));
        self.function.set_restoring(true);
        turn.counts().first_reads += 1;
        self.ask_first_read(turn, links);
    }

    /// Asks peers what they know, as a function that begins.
    pub(super) fn ask_first_read(&mut self, turn: &mut Turn<'_>, links: Vec<LinkId>) {
        let Some(read) = &self.first_read else { return };
        let question = read.question();
        for target in self.peers.values_mut() {
            if target.link().is_some_and(|link| links.contains(&link)) {
                target.asked(turn.now());
            }
        }
        let summary = self.summary(turn, Summary { answer: true, question, ..Summary::default() });
        turn.send_frame(links, summary);
    }

    /// A peer can be reached: it is asked too, if a first read is waited for; or at all, if the function
    /// began when there was no peer.
    pub(in crate::replicator) fn peer_up(
        &mut self,
        turn: &mut Turn<'_>,
        peer: ReplicaId,
        link: LinkId,
    ) {
        if std::mem::take(&mut self.alone) && self.carries {
            self.begin_first_read(turn, [peer].into());
        } else if let Some(read) = &mut self.first_read {
            read.ask(peer);
            if !read.is_in_vain() {
                self.questions.fetch_from(turn, peer, link);
            }
            self.ask_first_read(turn, vec![link]);
        }
    }

    /// Asks those again that have not answered.
    pub(in crate::replicator) fn ask_first_read_again(&mut self, turn: &mut Turn<'_>) {
        let Some(read) = &mut self.first_read else { return };
        let peers = read.ask_again(turn.now()).iter();
        let links = peers.filter_map(|peer| turn.peers().link(*peer)).collect();
        self.ask_first_read(turn, links);
    }

    pub(in crate::replicator) fn first_read_at(&self) -> Option<Time> {
        self.first_read.as_ref()?.again_at()
    }

    /// Ends the first read if it is over.
    pub(super) fn check_current(&mut self, turn: &mut Turn<'_>) {
        let covers = |vector: &Vector| self.function.covers(vector);
        if self.first_read.as_ref().is_some_and(|read| read.is_over(covers)) {
            self.set_current(turn);
        }
    }

    pub(super) fn set_current(&mut self, turn: &mut Turn<'_>) {
        if self.first_read.take().is_some() && self.carries {
            self.announce_by(turn.summary_at());
        }
        self.function.set_restoring(false);
        self.questions.now_current(turn);
    }

    /// Says to the server again whether a first read is waited for: it may have guessed.
    pub(in crate::replicator) fn tell_restoring(&self) {
        if self.function.restoring() != self.restoring() {
            self.function.set_restoring(self.restoring());
        }
    }

    /// It is not carried here any more.
    pub(in crate::replicator) fn end(&mut self, turn: &mut Turn<'_>) {
        self.carries = false;
        self.early.clear();
        self.questions.not_current(turn);
        self.set_current(turn);
        // What peers have not heard yet, they hear now.
        self.flush(turn);
    }

    /// Whether a first read is waited for.
    pub(in crate::replicator) fn restoring(&self) -> bool {
        self.first_read.is_some()
    }

    /// A peer has answered the question of a function that begins, if it has.
    pub(super) fn on_answer(
        &mut self,
        turn: &mut Turn<'_>,
        peer: ReplicaId,
        said: &Summary,
        vector: Vector,
    ) {
        if let Some(read) = &mut self.first_read
            && read.question() == said.answers
        {
            read.answered(peer, vector, said.current);
            self.check_current(turn);
        }
    }

    /// The peers that may have an object, and their links.
    pub(in crate::replicator) fn sources(
        &self,
        turn: &Turn<'_>,
    ) -> (BTreeSet<ReplicaId>, Vec<LinkId>) {
        let read = self.first_read.iter().flat_map(FirstRead::sources);
        read.filter_map(|id| Some((id, turn.peers().link(id)?))).unzip()
    }

    /// A peer has answered a fetch. One that is current settles it.
    pub(in crate::replicator) fn fetched(&mut self, turn: &mut Turn<'_>, id: u64, peer: ReplicaId) {
        let settled = self.first_read.as_ref().is_none_or(|read| read.is_current(peer));
        self.questions.fetched(id, peer, settled);
        self.questions.check_fetches(turn);
    }

    /// Answers once the data here is current.
    pub(in crate::replicator) fn current(&mut self, turn: &mut Turn<'_>, current: Current) {
        match &self.first_read {
            None => turn.answer(current.id, Answer::Reached(true)),
            Some(read) if read.is_in_vain() => turn.answer(current.id, Answer::Reached(false)),
            Some(_) => self.questions.current(current),
        }
    }

    /// A first read was waited for as long as it may: commands go on with what is here.
    pub(in crate::replicator) fn waited_in_vain(&mut self, turn: &mut Turn<'_>) {
        if self.first_read.as_mut().is_some_and(FirstRead::set_in_vain) {
            turn.counts().first_reads_in_vain += 1;
        }
        self.questions.not_current(turn);
    }
}
