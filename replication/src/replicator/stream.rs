//! A function as it is exchanged with peers: what they have of it, and what they are sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use miso_protocol::peer::message::Body;
use miso_protocol::peer::{self, Ack, Batch, Summary};
use miso_store::crdt::ReplicaId;
use miso_store::{Function, Refused, Vector};

use super::batches::{Early, EarlyBatch, Unacknowledged};
use super::config::Lag;
use super::questions::{Await, Fetching, Questions, Wait};
use super::target::Target;
use super::turn::{Turn, refused};
use crate::{Fault, FunctionView, LinkId, Note, Time, payload};

/// How many summaries in a row carry a digest, where something may be here that the vector does not
/// say.
const SURE_AFTER: u8 = 2;

/// The journal is forced to disk every second; an acknowledgement that waits for that looks again
/// after this long.
const SYNC_PERIOD: Duration = Duration::from_millis(1_100);

/// The functions that are exchanged, by name.
pub(super) type Streams = BTreeMap<Bytes, Stream>;

/// What a peer's summary calls for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    /// Nothing: the peer has data that may not be taken.
    Stray,
    /// To see what it has and this node lacks.
    Compare,
    /// To compare everything: with the same vector it has other data.
    Differs,
}

/// Whether a pull of a function is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pulling {
    /// None is.
    No,
    /// One is; batches are joined meanwhile.
    Beside,
    /// One is that compares buckets: nothing else may be joined until it is over.
    Alone,
}

/// A function that is exchanged with peers.
#[derive(Debug)]
pub(super) struct Stream {
    name: Bytes,
    function: Arc<Function>,
    runs: bool,
    peers: BTreeMap<ReplicaId, Target>,
    /// Whether it has changes to send.
    dirty: bool,
    /// Whether they are to be sent at once.
    urgent: bool,
    flushed_at: Option<Time>,
    interval: Option<Duration>,
    unacknowledged: Unacknowledged,
    early: Early,
    questions: Questions,
    /// Whether a first sync with a peer is awaited.
    restoring: bool,
    /// When a summary is sent.
    summary_at: Option<Time>,
    /// What the last one said.
    announced: Option<Vector>,
    /// Values may be here of events beyond the vector, as syncs and fetches bring them. If their
    /// origin is gone, no stream tells the others: this many more summaries carry a digest.
    unsure: u8,
    /// The digest of what is here, at a vector.
    digest: Option<(Vector, u64)>,
    /// When third nodes' missing events are pulled, if they are still missing.
    lack_at: Option<Time>,
    /// When what has become common knowledge is forgotten.
    tidy_at: Option<Time>,
}

impl Stream {
    pub(super) fn new(function: Arc<Function>, interval: Option<Duration>) -> Stream {
        Stream {
            name: Bytes::copy_from_slice(function.name()),
            function,
            runs: false,
            peers: BTreeMap::new(),
            dirty: false,
            urgent: false,
            flushed_at: None,
            interval,
            unacknowledged: Unacknowledged::default(),
            early: Early::default(),
            questions: Questions::default(),
            restoring: false,
            summary_at: None,
            announced: None,
            unsure: 0,
            digest: None,
            lack_at: None,
            tidy_at: None,
        }
    }

    pub(super) fn name(&self) -> &Bytes {
        &self.name
    }

    /// The name for people.
    pub(super) fn shown(&self) -> String {
        String::from_utf8_lossy(self.function.name()).into_owned()
    }

    pub(super) fn function(&self) -> &Arc<Function> {
        &self.function
    }

    pub(super) fn runs(&self) -> bool {
        self.runs
    }

    pub(super) fn begin(&mut self) {
        self.runs = true;
    }

    /// It does not run here any more.
    pub(super) fn end(&mut self, turn: &mut Turn<'_>) {
        self.runs = false;
        self.early.clear();
        self.set_restoring(turn, false);
        // What peers have not heard yet, they hear now.
        self.flush(turn);
    }

    pub(super) fn restoring(&self) -> bool {
        self.restoring
    }

    pub(super) fn set_restoring(&mut self, turn: &mut Turn<'_>, restoring: bool) {
        self.restoring = restoring;
        self.function.set_restoring(restoring);
        if !restoring {
            self.questions.end_all_fetches(turn);
        }
    }

    pub(super) fn set_interval(&mut self, interval: Option<Duration>) {
        self.interval = interval;
    }

    // Peers.

    /// A peer runs the function.
    pub(super) fn meet(&mut self, turn: &mut Turn<'_>, peer: ReplicaId) {
        let link = turn.peers().link(peer);
        self.peers.entry(peer).or_default().met(link, true);
        if let Some(link) = link {
            self.ask_for_stream(turn, peer);
            self.tell_retired(turn, link);
            self.announce_by(turn.summary_at());
            // It may lack what a sync brought that found no end, in this life or before it.
            self.unsure = SURE_AFTER;
        }
    }

    /// The link to a peer is gone.
    pub(super) fn disconnect(&mut self, peer: ReplicaId) {
        if let Some(target) = self.peers.get_mut(&peer) {
            target.disconnected();
        }
        self.questions.lost(peer);
    }

    /// A peer does not run the function any more; whether it did.
    pub(super) fn peer_ended(&mut self, turn: &Turn<'_>, peer: ReplicaId) -> bool {
        let Some(target) = self.peers.get_mut(&peer) else { return false };
        target.ended();
        self.trim(turn);
        true
    }

    /// A peer does not come back.
    pub(super) fn forget(&mut self, turn: &Turn<'_>, peer: ReplicaId) {
        self.peers.remove(&peer);
        self.trim(turn);
        self.function.forget_summary(peer);
    }

    /// Nothing more comes from a peer that was waited for.
    pub(super) fn lost(&mut self, turn: &mut Turn<'_>) {
        self.questions.check_fetches(turn);
        if self.restoring && self.reachable().next().is_none() {
            self.set_restoring(turn, false);
        }
    }

    pub(super) fn link(&self, peer: ReplicaId) -> Option<LinkId> {
        self.peers.get(&peer)?.link()
    }

    pub(super) fn target(&self, peer: ReplicaId) -> Option<&Target> {
        self.peers.get(&peer)
    }

    /// The peers that run the function and can be reached.
    pub(super) fn reachable(&self) -> impl Iterator<Item = (ReplicaId, LinkId)> + '_ {
        self.peers.iter().filter_map(|(id, target)| Some((*id, target.reachable()?)))
    }

    pub(super) fn reachable_links(&self) -> Vec<LinkId> {
        self.reachable().map(|(_, link)| link).collect()
    }

    /// What a peer has announced and this node lacks, on this link or before it.
    pub(super) fn lacks_of(&self, peer: ReplicaId) -> Vector {
        let target = self.peers.get(&peer);
        target.map_or(Vector::new(), |target| self.function.lacks(target.summary()))
    }

    /// The peer that knows most of what is missing here, if any does.
    pub(super) fn best_informed(&self) -> Option<ReplicaId> {
        let informed = self.reachable().map(|(id, _)| (self.lacks_of(id).len(), id));
        let (lacks, best) = informed.max_by_key(|(lacks, _)| *lacks)?;
        (lacks > 0).then_some(best)
    }

    /// Whether one of the peers has announced no more than is known here.
    fn covers_a_peer(&self) -> bool {
        let runs = self.peers.values().filter(|target| target.runs());
        runs.filter_map(Target::heard).any(|summary| self.function.covers(summary))
    }

    /// Whether a reachable peer lacks own events that were sent.
    pub(super) fn is_awaited(&self) -> bool {
        let sent = self.function.sent();
        let mut here = self.peers.values().filter(|t| t.runs() && t.link().is_some());
        here.any(|target| target.acked() < sent)
    }

    /// True if some reachable peer holds everything that is known here, or no other node runs the
    /// function. Events of other reachable writers need not be counted: those hold them themselves.
    pub(super) fn is_elsewhere(&self, own: ReplicaId) -> bool {
        let here: BTreeSet<ReplicaId> = self.reachable().map(|(id, _)| id).collect();
        let vector = self.function.vector();
        let has_all = |id: &ReplicaId| {
            let target = &self.peers[id];
            target.acked() >= self.function.seq()
                && target.knows(&vector, |of| of == own || here.contains(&of))
        };
        here.is_empty() || here.iter().any(has_all)
    }

    /// How it looks to the server.
    pub(super) fn view(&self) -> FunctionView {
        let in_sync = |target: &Target| {
            target.heard().is_some_and(|summary| self.function.covers(summary))
                && target.acked() >= self.function.sent()
        };
        let running = self.peers.iter().filter(|(_, target)| target.runs());
        FunctionView {
            function: self.name.clone(),
            runs: self.runs,
            restoring: self.restoring,
            peers: running.map(|(id, target)| (*id, in_sync(target))).collect(),
        }
    }

    /// Adds what a peer lacks of the function.
    pub(super) fn add_lag(&self, peer: ReplicaId, now: Time, lag: &mut Lag) {
        let Some(target) = self.peers.get(&peer).filter(|target| target.runs()) else { return };
        lag.acknowledged.push((self.name.clone(), target.acked(), target.durable()));
        lag.events += self.function.seq().saturating_sub(target.acked());
        let (bytes, ms) = self.unacknowledged.lag(target.acked(), now);
        lag.bytes += bytes;
        lag.ms = lag.ms.max(ms);
    }

    // Own changes.

    /// There is something to send; at once, if that is urgent.
    pub(super) fn wrote(&mut self, urgent: bool) {
        self.dirty = true;
        self.urgent |= urgent;
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// If own events may be pending, they are urgent; whether there are any.
    pub(super) fn hurry(&mut self) -> bool {
        let any = self.has_unsent();
        if any {
            self.wrote(true);
        }
        any
    }

    fn has_unsent(&self) -> bool {
        self.function.seq() > self.function.sent()
    }

    /// When changes are to be sent; none if there are none. `interval` makes of the function's own
    /// interval the one that counts.
    pub(super) fn flush_at(
        &self,
        interval: impl FnOnce(Option<Duration>) -> Duration,
    ) -> Option<Time> {
        let at = |at| at + interval(self.interval);
        self.dirty.then(|| match self.flushed_at {
            Some(flushed_at) if !self.urgent => at(flushed_at),
            _ => Time(0),
        })
    }

    /// Sends what has changed.
    pub(super) fn flush(&mut self, turn: &mut Turn<'_>) {
        let urgent = std::mem::take(&mut self.urgent);
        self.dirty = false;
        let Some(batch) = self.function.take_batch() else { return };
        self.flushed_at = Some(turn.now());
        // No peer runs it, nor might come back for it: newcomers pull.
        if !self.peers.values().any(Target::runs) {
            return;
        }
        turn.counts().batches_sent += 1;
        turn.counts().changes_sent += batch.changes as u64;
        let (changes, size) = payload::shrink(batch.message);
        let frame = peer::frame(Body::Batch(Batch {
            function: self.name.clone(),
            origin: turn.own().0,
            first: batch.first,
            last: batch.last,
            changes,
            size,
            urgent,
        }));
        let links: Vec<LinkId> = self.peers.values().filter_map(Target::live_link).collect();
        if !links.is_empty() {
            turn.send_frame(links, frame.clone());
            // What peers are owed goes in the same envelopes.
            turn.acknowledge(&self.name);
        }
        self.unacknowledged.push((batch.first, batch.last), frame, turn.now());
        if turn.config().bugs.trust_the_wire {
            self.peers.values_mut().for_each(|target| target.trust(batch.last));
        }
        self.trim(turn);
        self.announce_by(turn.summary_at());
    }

    /// Forgets the batches that all have acknowledged, or that are beyond the limit.
    fn trim(&mut self, turn: &Turn<'_>) {
        let wanted = self.peers.values().filter(|target| target.runs()).map(Target::acked);
        let acked = wanted.min().unwrap_or(u64::MAX);
        self.unacknowledged.trim(acked, turn.config().queue_bytes);
    }

    pub(super) fn on_ack(&mut self, turn: &mut Turn<'_>, peer: ReplicaId, ack: &Ack) {
        let sent = self.function.sent();
        if let Some(target) = self.peers.get_mut(&peer) {
            target.acknowledged(ack.last.min(sent), ack.durable);
        }
        self.trim(turn);
        self.check_waits(turn);
    }

    // Others' changes.

    /// Takes a batch; whether more is known now.
    pub(super) fn on_batch(
        &mut self,
        turn: &mut Turn<'_>,
        peer: ReplicaId,
        batch: &Batch,
        pulling: Pulling,
    ) -> Result<bool, Fault> {
        let changes = payload::expand(&batch.changes, batch.size)?;
        let (first, last) = (batch.first, batch.last);
        let limit = turn.config().early_bytes;
        if pulling == Pulling::Alone {
            self.early.keep(EarlyBatch { origin: peer, first, last, changes }, limit);
            return Ok(false);
        }
        let delay = if batch.urgent { Duration::ZERO } else { turn.ack_delay() };
        let ack_at = turn.now() + delay;
        let joined = self.function.join_batch(peer, (first, last), &changes);
        match joined {
            Ok(joined) => {
                turn.count_joined(joined);
                self.announce_soon(turn);
                self.ack_by(peer, ack_at);
                self.advance(turn, pulling)?;
            }
            // It is told when it says what it knows.
            Err(Refused::Retired) => {}
            Err(Refused::Known) => self.ack_by(peer, ack_at),
            Err(Refused::Gap(_)) => {
                turn.counts().gaps += 1;
                self.early.keep(EarlyBatch { origin: peer, first, last, changes }, limit);
                if pulling == Pulling::No {
                    self.ask_for_stream_again(turn, peer);
                }
            }
            Err(wrong) => return Err(refused(wrong)),
        }
        Ok(joined.is_ok())
    }

    /// More is known: joins batches that waited for it, and answers the questions about it.
    pub(super) fn advance(&mut self, turn: &mut Turn<'_>, pulling: Pulling) -> Result<(), Fault> {
        let ack_at = turn.now() + turn.ack_delay();
        while let Some(early) = self.early.next(|origin| self.function.upto(origin)) {
            let events = (early.first, early.last);
            match self.function.join_batch(early.origin, events, &early.changes) {
                Ok(joined) => turn.count_joined(joined),
                Err(Refused::Known | Refused::Gap(_) | Refused::Retired) => {}
                Err(wrong) => return Err(refused(wrong)),
            }
            self.ack_by(early.origin, ack_at);
        }
        self.check_awaits(turn);
        // As much is known here as one of the peers has announced.
        if self.restoring && pulling == Pulling::No && self.covers_a_peer() {
            self.set_restoring(turn, false);
        }
        Ok(())
    }

    fn ack_by(&mut self, peer: ReplicaId, at: Time) {
        if let Some(target) = self.peers.get_mut(&peer) {
            target.ack_by(at);
        }
    }

    /// Owes all peers an acknowledgement of what is here. What came by a sync is in no batch that would
    /// be acknowledged, and what was owed on an earlier link was not sent: that it is on the disk here
    /// would never be told.
    pub(super) fn owe_acks(&mut self, at: Time) {
        for (peer, target) in self.peers.iter_mut().filter(|(_, target)| target.link().is_some()) {
            if self.function.upto(*peer) > 0 {
                target.ack_by(at);
            }
        }
    }

    pub(super) fn ack_at(&self) -> Option<Time> {
        self.peers.values().filter_map(Target::ack_at).min()
    }

    /// Sends the acknowledgements that are owed: those that are owed soon go along with those that
    /// are owed now.
    pub(super) fn acknowledge(&mut self, turn: &mut Turn<'_>) {
        for (peer, target) in &mut self.peers {
            let Some(link) = target.take_ack() else { continue };
            let last = self.function.upto(*peer);
            let durable = target.on_disk(turn.journal(), last);
            if durable < last && turn.journal().is_some() {
                // It is told once it is so.
                target.ack_by(turn.now() + SYNC_PERIOD);
            }
            turn.send(link, Body::Ack(Ack { function: self.name.clone(), last, durable }));
        }
    }

    // Summaries.

    fn summary(&self, answer: bool, digest: Option<u64>) -> Bytes {
        peer::frame(Body::Summary(Summary {
            function: self.name.clone(),
            vector: Some(payload::vector(&self.function.vector())),
            kept_from: self.unacknowledged.first().unwrap_or(self.function.sent() + 1),
            answer,
            digest,
        }))
    }

    /// Says what is known here, and asks a peer for the same and for what follows it.
    pub(super) fn ask_for_stream(&mut self, turn: &mut Turn<'_>, peer: ReplicaId) {
        let frame = self.summary(true, None);
        if let Some(target) = self.peers.get_mut(&peer)
            && let Some(link) = target.link()
        {
            target.asked(turn.now());
            turn.send_frame(vec![link], frame);
        }
    }

    /// As [`Stream::ask_for_stream`], unless that was done a moment ago.
    pub(super) fn ask_for_stream_again(&mut self, turn: &mut Turn<'_>, peer: ReplicaId) {
        if self.peers.get(&peer).is_some_and(|target| target.may_be_asked(turn.now())) {
            self.ask_for_stream(turn, peer);
        }
    }

    /// Asks all reachable peers what they have.
    pub(super) fn ask_all(&self, turn: &mut Turn<'_>) {
        turn.send_frame(self.reachable_links(), self.summary(true, None));
    }

    /// Tells a peer which writers are retired.
    fn tell_retired(&self, turn: &mut Turn<'_>, link: LinkId) {
        for retirement in self.function.retirements() {
            turn.send(link, Body::Retired(payload::retired(self.name.clone(), &retirement)));
        }
    }

    /// A summary is sent, at the latest at `at`.
    fn announce_by(&mut self, at: Time) {
        self.summary_at = Some(self.summary_at.map_or(at, |summary_at| summary_at.min(at)));
    }

    /// Something has changed: a summary is sent, not at once, and what is common knowledge forgotten.
    pub(super) fn announce_soon(&mut self, turn: &Turn<'_>) {
        self.announce_by(turn.summary_at());
        self.tidy_soon(turn);
    }

    pub(super) fn summary_at(&self) -> Option<Time> {
        self.summary_at
    }

    /// Sends the summary that is due.
    pub(super) fn announce(&mut self, turn: &mut Turn<'_>, pulling: Pulling) {
        self.summary_at = None;
        let links = self.reachable_links();
        if links.is_empty() {
            return;
        }
        let vector = self.function.vector();
        // A digest is worth it only where nothing is under way that would change it.
        let still = self.announced.replace(vector.clone()).is_some_and(|before| before == vector);
        let settled = still && pulling == Pulling::No && !self.has_unsent();
        let digest = (settled && self.unsure > 0).then(|| self.digest(&vector));
        self.unsure = self.unsure.saturating_sub(u8::from(settled));
        turn.send_frame(links, self.summary(false, digest));
        self.summary_at = Some(next_round(turn));
    }

    /// Values of events beyond the vector may have come.
    pub(super) fn now_unsure(&mut self) {
        self.unsure = SURE_AFTER;
        self.digest = None;
    }

    /// A digest of all that is here; `vector` is what is known.
    fn digest(&mut self, vector: &Vector) -> u64 {
        match &self.digest {
            Some((at, digest)) if at == vector => *digest,
            _ => {
                let digest = self.function.digests(1)[0];
                self.digest = Some((vector.clone(), digest));
                digest
            }
        }
    }

    /// Takes a peer's summary.
    pub(super) fn on_summary(
        &mut self,
        turn: &mut Turn<'_>,
        peer: ReplicaId,
        said: &Summary,
        pulling: Pulling,
    ) -> Result<Heard, Fault> {
        let vector = payload::read_vector(said.vector.as_ref())?;
        let (own, link) = (turn.own(), turn.peers().link(peer));
        let runs = turn.peers().runs(peer, &said.function);
        let target = self.peers.entry(peer).or_default();
        target.met(link, runs);
        let stray = self.function.is_stray(&vector) || self.function.is_retired(peer);
        target.set_stray(stray);
        if stray {
            // It hears why, and must end.
            if let Some(link) = link {
                self.tell_retired(turn, link);
            }
            return Ok(Heard::Stray);
        }
        if self.function.heard_summary(peer, &vector).map_err(refused)? {
            self.tidy_soon(turn);
        }
        let theirs = vector.iter().find(|(id, _)| *id == own).map_or(0, |(_, seq)| *seq);
        self.check_own_past(turn, peer, theirs);
        let sent = self.function.sent();
        if let Some(target) = self.peers.get_mut(&peer) {
            target.heard_summary(vector, said.kept_from);
            target.acknowledged(theirs.min(sent), 0);
        }
        if said.answer {
            self.answer_summary(turn, peer, theirs);
        }
        self.trim(turn);
        self.check_waits(turn);
        let differs = self.runs
            && pulling == Pulling::No
            && said.digest.is_some_and(|d| self.differs(peer, d));
        if differs {
            self.now_unsure();
        }
        Ok(if differs { Heard::Differs } else { Heard::Compare })
    }

    /// A peer knows `theirs` events of this node: it may not know more than there are.
    fn check_own_past(&self, turn: &mut Turn<'_>, peer: ReplicaId, theirs: u64) {
        let seq = self.function.seq();
        if theirs > seq {
            turn.note(Note::Outdated(format!(
                "peer {:016x} knows {theirs} events of this node in function {}, and this node \
                 has made but {seq}: its past was lost, or another node has its identity",
                peer.0,
                self.shown(),
            )));
        }
    }

    /// A peer that knows the first `theirs` own events wants a summary and what follows them.
    fn answer_summary(&mut self, turn: &mut Turn<'_>, peer: ReplicaId, theirs: u64) {
        if self.function.upto(peer) > 0 {
            self.ack_by(peer, turn.now() + turn.ack_delay());
        }
        let Some(target) = self.peers.get_mut(&peer) else { return };
        target.wants_stream();
        let Some(link) = target.link() else { return };
        if target.runs() {
            for frame in self.unacknowledged.after(theirs) {
                turn.send_frame(vec![link], frame.clone());
            }
        }
        turn.send_frame(vec![link], self.summary(false, None));
    }

    /// Whether a peer with this digest has other data with the same vector.
    fn differs(&mut self, peer: ReplicaId, digest: u64) -> bool {
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
        same && self.digest(&vector) != digest
    }

    // What is looked for later.

    pub(super) fn tidy_soon(&mut self, turn: &Turn<'_>) {
        self.tidy_at.get_or_insert(turn.summary_at());
    }

    pub(super) fn tidy_at(&self) -> Option<Time> {
        self.tidy_at
    }

    /// Forgets what all nodes know.
    pub(super) fn tidy(&mut self) {
        self.tidy_at = None;
        self.function.tidy();
        self.function.collect();
    }

    /// Third nodes' events are missing: they are pulled if they still are after some time.
    pub(super) fn lacks_thirds(&mut self, turn: &Turn<'_>) {
        self.lack_at.get_or_insert(turn.now() + turn.config().lack_delay);
    }

    pub(super) fn lack_at(&self) -> Option<Time> {
        self.lack_at
    }

    pub(super) fn looked_for_lacks(&mut self) {
        self.lack_at = None;
    }

    // Questions.

    pub(super) fn questions(&self) -> &Questions {
        &self.questions
    }

    pub(super) fn wait(&mut self, turn: &mut Turn<'_>, wait: Wait) {
        self.hurry();
        self.questions.wait(wait);
        self.check_waits(turn);
    }

    pub(super) fn await_vector(&mut self, turn: &mut Turn<'_>, wait: Await) {
        self.questions.await_vector(wait);
        self.check_awaits(turn);
    }

    pub(super) fn fetch(&mut self, fetch: Fetching) {
        self.questions.fetch(fetch);
    }

    pub(super) fn fetched(&mut self, turn: &mut Turn<'_>, id: u64, peer: ReplicaId, found: bool) {
        self.questions.fetched(id, peer, found);
        self.questions.check_fetches(turn);
    }

    pub(super) fn check_fetches(&mut self, turn: &mut Turn<'_>) {
        self.questions.check_fetches(turn);
    }

    /// Answers WAIT. A peer that is gone, or may be, does not count, as in Redis: the question is
    /// where the events are now.
    pub(super) fn check_waits(&mut self, turn: &mut Turn<'_>) {
        let peers = &self.peers;
        self.questions.check_waits(turn, |seq, durable| {
            let upto = |target: &Target| if durable { target.durable() } else { target.acked() };
            let here = peers.values().filter(|target| target.runs() && target.link().is_some());
            here.filter(|target| upto(target) >= seq).count()
        });
    }

    pub(super) fn check_awaits(&mut self, turn: &mut Turn<'_>) {
        let function = &self.function;
        self.questions.check_awaits(turn, |vector| function.covers(vector));
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
