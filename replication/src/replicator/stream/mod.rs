//! A function as it is exchanged with peers: what they have of it, and what they are sent.

mod begin;
mod summaries;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use miso_protocol::peer::message::Body;
use miso_protocol::peer::{self, Ack, Batch};
use miso_store::crdt::ReplicaId;
use miso_store::{Function, Refused, Vector};

use crate::replicator::batches::{Early, EarlyBatch, Unacknowledged};
use crate::replicator::config::Lag;
use crate::replicator::first_read::FirstRead;
use crate::replicator::questions::{Await, Fetching, Questions, Wait};
use crate::replicator::target::Target;
use crate::replicator::turn::{Turn, refused};
use crate::{Fault, FunctionView, LinkId, Role, Time, payload};

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
    /// Nothing: the peer has no data, or data that may not be taken.
    Nothing,
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
    /// Whether it is carried here: run, or held for other nodes.
    carries: bool,
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
    /// What is waited for before commands are answered.
    first_read: Option<FirstRead>,
    /// It began without a peer to ask.
    alone: bool,
    /// When a summary is sent.
    summary_at: Option<Time>,
    /// What the last one said.
    announced: Option<Vector>,
    /// Values may be here of events beyond the vector, as syncs and fetches bring them. If their
    /// origin is gone, no stream tells the others: this many more summaries carry a digest.
    unsure: u8,
    /// The digests of what is here, and of what is known beyond it, at a vector.
    digest: Option<(Vector, (u64, u64))>,
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
            carries: false,
            peers: BTreeMap::new(),
            dirty: false,
            urgent: false,
            flushed_at: None,
            interval,
            unacknowledged: Unacknowledged::default(),
            early: Early::default(),
            questions: Questions::default(),
            first_read: None,
            alone: false,
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

    /// Whether it is carried here: run, or held for other nodes.
    pub(super) fn carries(&self) -> bool {
        self.carries
    }

    pub(super) fn set_interval(&mut self, interval: Option<Duration>) {
        self.interval = interval;
    }

    // Peers.

    /// A peer carries the function: says what is known here and asks for the same.
    pub(super) fn meet(&mut self, turn: &mut Turn<'_>, peer: ReplicaId) {
        self.met(turn, peer);
        self.ask_for_stream(turn, peer);
    }

    /// A peer carries the function.
    fn met(&mut self, turn: &mut Turn<'_>, peer: ReplicaId) {
        let link = turn.peers().link(peer);
        self.peers.entry(peer).or_default().met(link, true);
        if let Some(link) = link {
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
        if let Some(read) = &mut self.first_read {
            read.lost(peer);
        }
    }

    /// A peer does not carry the function any more; whether it did.
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
        if let Some(read) = &mut self.first_read {
            read.weigh();
        }
        self.questions.check_fetches(turn);
        self.check_current(turn);
    }

    pub(super) fn link(&self, peer: ReplicaId) -> Option<LinkId> {
        self.peers.get(&peer)?.link()
    }

    pub(super) fn target(&self, peer: ReplicaId) -> Option<&Target> {
        self.peers.get(&peer)
    }

    /// The peers that carry the function and can be reached.
    pub(super) fn reachable(&self) -> impl Iterator<Item = (ReplicaId, LinkId)> + '_ {
        self.peers.iter().filter_map(|(id, target)| Some((*id, target.reachable()?)))
    }

    /// One of the peers that carry the function and can be reached: nodes and functions differ in which.
    pub(super) fn any_reachable(&self, own: ReplicaId) -> Option<ReplicaId> {
        let all: Vec<ReplicaId> = self.reachable().map(|(id, _)| id).collect();
        let turn = miso_store::hash(&self.name) ^ own.0;
        (!all.is_empty()).then(|| all[(turn % all.len() as u64) as usize])
    }

    pub(super) fn reachable_links(&self) -> Vec<LinkId> {
        self.reachable().map(|(_, link)| link).collect()
    }

    /// What a peer has announced and this node lacks, on this link or before it.
    pub(super) fn lacks_of(&self, peer: ReplicaId) -> Vector {
        let target = self.peers.get(&peer);
        target.map_or(Vector::new(), |target| self.function.lacks(target.summary()))
    }

    /// The peers from which data can be taken: those that carry the function, and for a first read
    /// those that have some of it.
    pub(super) fn informed(&self, now: Time) -> Vec<ReplicaId> {
        let first = |id: &ReplicaId| self.first_read.as_ref().is_some_and(|r| r.is_answered(*id));
        let can = |(id, target): &(&ReplicaId, &Target)| {
            target.reachable().is_some()
                || (target.link().is_some() && !target.is_stray() && first(id))
        };
        let trusted = self.peers.iter().filter(|(_, target)| target.is_trusted(now));
        trusted.filter(can).map(|(id, _)| *id).collect()
    }

    /// Whether it is doubtful that a writer has made `seq` events: it is linked, and has not said so.
    pub(super) fn is_doubtful(&self, turn: &Turn<'_>, writer: ReplicaId, seq: u64) -> bool {
        turn.peers().link(writer).is_some()
            && self.peers.get(&writer).map_or(0, Target::word) < seq
            && self.function.upto(writer) < seq
    }

    /// What a peer says of others is not believed until then.
    pub(super) fn distrust(&mut self, peer: ReplicaId, until: Time) {
        self.peers.entry(peer).or_default().distrust(until);
    }

    /// The peer that knows most of what is missing here, if any does.
    pub(super) fn best_informed(&self, now: Time) -> Option<ReplicaId> {
        let informed = self.informed(now).into_iter().map(|id| (self.lacks_of(id).len(), id));
        let (lacks, best) = informed.max_by_key(|(lacks, _)| *lacks)?;
        (lacks > 0).then_some(best)
    }

    /// Whether a reachable peer lacks own events that were sent.
    pub(super) fn is_awaited(&self) -> bool {
        let sent = self.function.sent();
        let mut here = self.peers.values().filter(|t| t.carries() && t.link().is_some());
        here.any(|target| target.acked() < sent)
    }

    /// True if some reachable peer holds everything that is known here, or no other node carries
    /// the function. Events of other reachable writers need not be counted: those hold them themselves.
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

    /// How many of these peers can be reached and have announced all that is known here.
    pub(super) fn covered_by(&self, own: ReplicaId, peers: &BTreeSet<ReplicaId>) -> usize {
        let vector = self.function.token();
        let has = |target: &Target| {
            target.reachable().is_some()
                && target.heard().is_some()
                && target.acked() >= self.function.seq()
                && target.knows(&vector, |of| of == own)
        };
        peers.iter().filter(|id| self.peers.get(id).is_some_and(has)).count()
    }

    /// The peers of which each is a copy: it can be reached, carries the function, and is current.
    pub(super) fn copies(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        self.peers.iter().filter(|(_, target)| target.is_copy()).map(|(id, _)| *id)
    }

    /// How it looks to the server: roles and copies are left to the node.
    pub(super) fn view(&self) -> FunctionView {
        let in_sync = |target: &Target| {
            target.heard().is_some_and(|summary| self.function.covers(summary))
                && target.acked() >= self.function.sent()
        };
        let running = self.peers.iter().filter(|(_, target)| target.carries());
        FunctionView {
            function: self.name.clone(),
            role: self.carries.then_some(Role::Runs),
            copies: 0,
            restoring: self.restoring(),
            in_vain: self.first_read.as_ref().is_some_and(FirstRead::is_in_vain),
            peers: running.map(|(id, target)| (*id, in_sync(target))).collect(),
        }
    }

    /// Adds what a peer lacks of the function.
    pub(super) fn add_lag(&self, peer: ReplicaId, now: Time, lag: &mut Lag) {
        let Some(target) = self.peers.get(&peer).filter(|target| target.carries()) else { return };
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
        // No peer carries it, nor might come back for it: newcomers pull.
        if !self.peers.values().any(Target::carries) {
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
            witness: turn.witnesses().of(&self.name, batch.last),
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
        let wanted = self.peers.values().filter(|target| target.carries()).map(Target::acked);
        let acked = wanted.min().unwrap_or(u64::MAX);
        self.unacknowledged.trim(acked, turn.config().queue_bytes);
    }

    pub(super) fn on_ack(&mut self, turn: &mut Turn<'_>, peer: ReplicaId, ack: &Ack) {
        let sent = self.function.sent();
        if let Some(target) = self.peers.get_mut(&peer) {
            let (before, now) = (target.acked(), turn.now());
            target.acknowledged(ack.last.min(sent), ack.durable);
            for at in self.unacknowledged.sent_at(before, target.acked()) {
                turn.counts().propagation.took(now.since(at));
            }
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
            self.is_word_new(turn, peer, batch);
            self.early.keep(EarlyBatch { origin: peer, first, last, changes }, limit);
            return Ok(false);
        }
        let delay = if batch.urgent { Duration::ZERO } else { turn.ack_delay() };
        let ack_at = turn.now() + delay;
        let is_new = self.is_word_new(turn, peer, batch);
        let joined = self.function.join_batch(peer, (first, last), &changes);
        match joined {
            Ok(joined) => {
                turn.count_joined(joined);
                self.announce_soon(turn);
                self.ack_by(peer, ack_at);
                self.advance(turn)?;
            }
            // It is told when it says what it knows.
            Err(Refused::Retired) => {}
            // Only others have said that it made them: what they are is not here.
            Err(Refused::Known) if is_new => {}
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

    /// A writer's batch has come. Whether its events count as known here though the writer says only now
    /// that it has made them: then others have said so, and have lied, or it uses numbers twice.
    fn is_word_new(&mut self, turn: &mut Turn<'_>, peer: ReplicaId, batch: &Batch) -> bool {
        self.function.take_from(peer);
        let known = self.function.upto(peer);
        let Some(target) = self.peers.get_mut(&peer) else { return false };
        let is_new = target.heard().is_some() && batch.first <= known && target.word() < known;
        target.says(batch.last, batch.witness.as_ref());
        if is_new {
            let (shown, first) = (self.shown(), batch.first);
            turn.conflict(&format!("word {peer:?} {shown}"), || {
                format!(
                    "function {shown}: writer {:016x} sends its event {first}, and others have said that it \
                     has made {known}: a number is used for two events, and this one is not taken here. Start \
                     that node with an empty data directory",
                    peer.0
                )
            });
        }
        is_new
    }

    /// More is known: joins batches that waited for it, and answers the questions about it.
    pub(super) fn advance(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault> {
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
        self.check_current(turn);
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

    pub(super) fn check_fetches(&mut self, turn: &mut Turn<'_>) {
        self.questions.check_fetches(turn);
    }

    /// Answers WAIT. A peer that is gone, or may be, does not count, as in Redis: the question is
    /// where the events are now.
    pub(super) fn check_waits(&mut self, turn: &mut Turn<'_>) {
        let peers = &self.peers;
        self.questions.check_waits(turn, |seq, durable| {
            let upto = |target: &Target| if durable { target.durable() } else { target.acked() };
            let here = peers.values().filter(|target| target.carries() && target.link().is_some());
            here.filter(|target| upto(target) >= seq).count()
        });
    }

    pub(super) fn check_awaits(&mut self, turn: &mut Turn<'_>) {
        let function = &self.function;
        self.questions.check_awaits(turn, |vector| function.covers(vector));
    }
}
