//! The replicator: streams of changes to the nodes that run the same function, and the syncs that
//! repair what streams cannot.
//!
//! Each node is the origin of one stream per function: batches that each hold all of its events of
//! an interval. A batch is encoded once for all peers, kept until they have acknowledged it, and sent
//! again after a reconnect; past a limit of bytes it is dropped, and who lacks it *pulls* (see
//! `sync`). *Words* say what a node has applied: they open a conversation, find gaps,
//! and tell counters which floors may be forgotten.
//!
//! Nothing here is wrong if a message is lost, doubled, late or out of order; it is only slower.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use miso_protocol::peer::message::Body;
use miso_protocol::peer::{self, Ack, Batch, Word};
use miso_store::crdt::ReplicaId;
use miso_store::journal::{Journal, Position, SyncPolicy};
use miso_store::{Function, Joined, Refused, Store};

use crate::payload;
use crate::retire::Retiring;
use crate::sync::{Export, Sync};
use crate::{Answer, Ask, AskId, Effect, Fault, FunctionView, LinkId, Note, Time};

/// What of a peer's message cannot be right.
pub(crate) fn refused(refused: Refused) -> Fault {
    match refused {
        Refused::Unreadable(error) => Fault(format!("unreadable changes: {error}")),
        other => Fault(format!("malformed message: {other:?}")),
    }
}

/// An acknowledgement waits no longer than that, however busy the machine is.
const ACK_DELAY_MAX: Duration = Duration::from_millis(500);

/// A function that ends here waits no longer for somebody else to have all of it.
const DRAIN: Duration = Duration::from_secs(5);

/// A node that leaves waits so long for somebody to say that it runs what else nobody has: a node
/// tells that it runs a function some milliseconds after it has begun to.
const NEWCOMERS: Duration = Duration::from_millis(200);

/// How replication behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who this node is as a writer.
    pub replica: ReplicaId,
    /// How long changes are gathered before they are sent; 0: not at all.
    pub interval: Duration,
    /// Bytes of batches that a function keeps for peers that have not acknowledged them.
    pub queue_bytes: usize,
    /// Bytes of batches that a function keeps until those before them arrive.
    pub early_bytes: usize,
    /// How long a batch may wait for its acknowledgement, if nobody waits for it.
    pub ack_delay: Duration,
    /// How long after a change a node says what it has applied.
    pub word_delay: Duration,
    /// How often it says so anyway, in case a word was lost.
    pub word_period: Duration,
    /// A sync from which nothing is heard for so long is given up.
    pub sync_timeout: Duration,
    /// How long events of a third node may be missing before they are pulled from another.
    pub lack_delay: Duration,
    /// Bytes of a part of a sync, and how many of them may be under way.
    pub part_bytes: usize,
    /// Bytes of a sync under way.
    pub window_bytes: usize,
    /// How many syncs a node answers at once.
    pub exports: usize,
    /// Bytes of syncs that a peer is sent in a second; 0: as many as it takes.
    pub sync_rate: u64,
    /// Test only: faults that the simulator must find.
    pub bugs: Bugs,
}

/// Faults to be built in on purpose, to show that the simulator finds them.
#[derive(Clone, Copy, Default, Debug)]
pub struct Bugs {
    /// Batches count as acknowledged once they are sent.
    pub trust_the_wire: bool,
    /// A sync raises the vector before its parts have come.
    pub raise_early: bool,
    /// A node that leaves waits for nobody.
    pub leave_at_once: bool,
}

impl Config {
    /// The defaults.
    #[must_use]
    pub fn new(replica: ReplicaId) -> Config {
        Config {
            replica,
            interval: Duration::from_millis(5),
            queue_bytes: 16 << 20,
            early_bytes: 16 << 20,
            ack_delay: Duration::from_millis(10),
            word_delay: Duration::from_secs(1),
            word_period: Duration::from_secs(30),
            sync_timeout: Duration::from_secs(10),
            lack_delay: Duration::from_secs(2),
            part_bytes: 128 << 10,
            window_bytes: 1 << 20,
            exports: 4,
            sync_rate: 0,
            bugs: Bugs::default(),
        }
    }
}

/// So many words in a row carry a digest, where something may be here that the vector does not say.
const SURE_AFTER: u8 = 2;

/// The journal is forced to disk so often, and a little more.
const SYNC_PERIOD: Duration = Duration::from_millis(1_100);

/// So many acknowledgements wait for the disk apart.
const UNSYNCED_MAX: usize = 64;

/// How far a peer is behind this node.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Lag {
    /// Own events that it has not acknowledged, over all functions.
    pub events: u64,
    /// How long the oldest batch has been waiting for it, in milliseconds.
    pub ms: u64,
    /// Bytes of batches that wait for it.
    pub bytes: u64,
    /// By function: own events that it has acknowledged, and those that are on its disk.
    pub acknowledged: Vec<(Bytes, u64, u64)>,
}

/// What replication has done since the start.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Batches taken from the store and sent.
    pub batches_sent: u64,
    /// Changes of values in them.
    pub changes_sent: u64,
    /// Batches joined.
    pub batches_received: u64,
    /// Changes of values in them.
    pub changes_received: u64,
    /// Batches that came behind a gap.
    pub gaps: u64,
    /// Syncs begun here.
    pub syncs: u64,
    /// Syncs answered.
    pub exports: u64,
    /// Values that syncs repaired.
    pub repaired: u64,
    /// Values fetched on touch.
    pub fetches: u64,
}

/// A peer, by incarnation.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    pub(crate) link: Option<LinkId>,
    functions: BTreeSet<Bytes>,
}

/// A batch that has been sent and not been acknowledged by all.
#[derive(Debug)]
struct Sent {
    first: u64,
    last: u64,
    frame: Bytes,
    at: Time,
}

/// A peer with which a function is exchanged.
#[derive(Debug, Default)]
pub(crate) struct Target {
    pub(crate) link: Option<LinkId>,
    /// Whether it runs the function: else it is sent no changes.
    pub(crate) runs: bool,
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
    /// What it said last that it has applied.
    pub(crate) word: miso_store::Vector,
    /// The first of its events that it can still send.
    pub(crate) kept_from: u64,
    /// Whether its word has been heard on this link.
    pub(crate) heard: bool,
    /// It holds events of retired writers that nobody else has: nothing is taken from it.
    pub(crate) stray: bool,
    /// When its stream was last asked for.
    asked_at: Option<Time>,
    /// When it is owed an acknowledgement.
    ack_at: Option<Time>,
}

#[derive(Debug)]
struct Wait {
    id: AskId,
    seq: u64,
    peers: usize,
    durable: bool,
    until: Option<Time>,
}

#[derive(Debug)]
struct Await {
    id: AskId,
    vector: miso_store::Vector,
    until: Option<Time>,
}

/// A batch that came before those that precede it.
#[derive(Debug)]
pub(crate) struct Early {
    last: u64,
    changes: Bytes,
}

/// A function of this node.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) function: Arc<Function>,
    pub(crate) runs: bool,
    pub(crate) peers: BTreeMap<ReplicaId, Target>,
    pub(crate) dirty: bool,
    pub(crate) urgent: bool,
    flushed_at: Option<Time>,
    interval: Option<Duration>,
    queue: VecDeque<Sent>,
    queue_bytes: usize,
    word_at: Option<Time>,
    /// When third nodes' missing events are pulled, if they are still missing.
    pub(crate) lack_at: Option<Time>,
    /// Whether a first sync with a peer is awaited.
    pub(crate) restoring: bool,
    pub(crate) sync: Option<Sync>,
    /// No sync before that.
    pub(crate) retry_at: Option<Time>,
    early: BTreeMap<(ReplicaId, u64), Early>,
    early_bytes: usize,
    waits: Vec<Wait>,
    awaits: Vec<Await>,
    pub(crate) fetches: Vec<Fetching>,
    /// Full comparisons that somebody asked for.
    pub(crate) forced: VecDeque<(AskId, ReplicaId)>,
    /// Values may be here of events beyond the vector, as syncs and fetches bring them. If their
    /// origin is gone, no stream tells the others: so many words more carry a digest, whoever is met.
    pub(crate) unsure: u8,
    /// What the last word said.
    said: Option<miso_store::Vector>,
    /// The digest of what is here, at a vector.
    digest: Option<(miso_store::Vector, u64)>,
    /// When what has become common knowledge is forgotten.
    pub(crate) tidy_at: Option<Time>,
    /// The timer that is set.
    timer: Option<Time>,
}

/// A [`Ask::Fetch`] under way.
#[derive(Debug)]
pub(crate) struct Fetching {
    pub(crate) id: AskId,
    pub(crate) until: Time,
    /// Peers that have not answered.
    pub(crate) from: BTreeSet<ReplicaId>,
}

/// A function that does not run here any more, but for its peers still does.
#[derive(Debug)]
struct Draining {
    until: Time,
    /// Who wants to hear of the end.
    asked: Vec<AskId>,
}

/// An [`Ask::Leave`] under way.
#[derive(Clone, Copy, Debug)]
struct Leaving {
    id: AskId,
    until: Time,
    /// Until then somebody may yet say that it runs what nobody else has; none once that is past.
    newcomers: Option<Time>,
}

/// Streams, syncs and what is asked about them. See the module.
#[derive(Debug)]
pub struct Replicator {
    pub(crate) store: Arc<Store>,
    pub(crate) config: Config,
    pub(crate) peers: BTreeMap<ReplicaId, Peer>,
    pub(crate) streams: BTreeMap<Bytes, Stream>,
    timers: BTreeSet<(Time, Bytes)>,
    intervals: BTreeMap<Bytes, Duration>,
    /// No flush comes sooner after another than this: how the node keeps time under load.
    pace: Duration,
    pub(crate) exports: Vec<Export>,
    /// When one of them goes on, if it waits for nothing but its peer's rate.
    pub(crate) exports_at: Option<Time>,
    /// By peer: from when on it may be sent the next part of a sync.
    pub(crate) sync_at: BTreeMap<ReplicaId, Time>,
    /// [`Ask::Sync`]s: repairs so far, comparisons left, and until when.
    pub(crate) syncs: BTreeMap<AskId, (usize, usize, Time)>,
    leaving: Option<Leaving>,
    pub(crate) retiring: Retiring,
    draining: BTreeMap<Bytes, Draining>,
    /// Some have drained since the overlay was told.
    drained: bool,
    pub(crate) next_id: u64,
    pub(crate) counts: Counts,
    /// Functions with acknowledgements to send at the end of the turn.
    acks: BTreeSet<Bytes>,
    /// Functions whose syncs got parts in this turn, of which their senders must be told.
    pub(crate) owed: BTreeSet<Bytes>,
}

impl Target {
    /// Up to which of its events this disk has them, `last` being known here: 0 if there is no disk.
    fn on_disk(&mut self, journal: Option<&Journal>, last: u64) -> u64 {
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

impl Stream {
    fn new(function: Arc<Function>, interval: Option<Duration>) -> Stream {
        Stream {
            function,
            runs: false,
            peers: BTreeMap::new(),
            dirty: false,
            urgent: false,
            flushed_at: None,
            interval,
            queue: VecDeque::new(),
            queue_bytes: 0,
            word_at: None,
            lack_at: None,
            restoring: false,
            sync: None,
            retry_at: None,
            early: BTreeMap::new(),
            early_bytes: 0,
            waits: Vec::new(),
            awaits: Vec::new(),
            fetches: Vec::new(),
            forced: VecDeque::new(),
            unsure: 0,
            said: None,
            digest: None,
            tidy_at: None,
            timer: None,
        }
    }

    pub(crate) fn name(&self) -> Bytes {
        Bytes::copy_from_slice(self.function.name())
    }

    /// The links of the peers that run the function and have asked for its changes.
    fn live_links(&self) -> Vec<LinkId> {
        let live = self.peers.values().filter(|target| target.runs && target.live);
        live.filter_map(|target| target.link).collect()
    }

    /// The peers that run the function and can be reached.
    pub(crate) fn reachable(&self) -> impl Iterator<Item = (ReplicaId, LinkId)> + '_ {
        self.peers
            .iter()
            .filter(|(_, target)| target.runs && !target.stray)
            .filter_map(|(id, t)| Some((*id, t.link?)))
    }

    /// Whether nothing is being synced.
    pub(crate) fn is_settled(&self) -> bool {
        self.sync.is_none() && !self.restoring
    }

    /// Whether own events may be pending.
    fn has_unsent(&self) -> bool {
        self.function.seq() > self.function.sent()
    }

    /// Forgets what all have acknowledged, or what is beyond the limit.
    fn trim(&mut self, limit: usize) {
        let wanted = self.peers.values().filter(|target| target.runs).map(|target| target.acked);
        let acked = wanted.min().unwrap_or(u64::MAX);
        while let Some(oldest) = self.queue.front()
            && (oldest.last <= acked || self.queue_bytes > limit)
        {
            self.queue_bytes -= oldest.frame.len();
            self.queue.pop_front();
        }
    }

    /// The first own event that can be sent again.
    fn kept_from(&self) -> u64 {
        self.queue.front().map_or_else(|| self.function.sent() + 1, |oldest| oldest.first)
    }

    fn word(&self, answer: bool, digest: Option<u64>) -> Bytes {
        peer::frame(Body::Word(Word {
            function: self.name(),
            vector: Some(payload::vector(&self.function.vector())),
            kept_from: self.kept_from(),
            answer,
            digest,
        }))
    }

    /// Says that values of events beyond the vector may have come.
    pub(crate) fn now_unsure(&mut self) {
        self.unsure = SURE_AFTER;
        self.digest = None;
    }

    /// A digest of all that is here; `vector` is what is known.
    fn digest(&mut self, vector: &miso_store::Vector) -> u64 {
        match &self.digest {
            Some((at, digest)) if at == vector => *digest,
            _ => {
                let digest = self.function.digests(1)[0];
                self.digest = Some((vector.clone(), digest));
                digest
            }
        }
    }

    /// How many peers have acknowledged own events up to `seq`. One that is gone, or may be, does not
    /// count, as in Redis: whoever waits wants to know where the events are now.
    fn count_acked(&self, seq: u64, durable: bool) -> usize {
        let upto = |target: &Target| if durable { target.durable } else { target.acked };
        let here = |target: &&Target| target.runs && target.link.is_some();
        self.peers.values().filter(here).filter(|target| upto(target) >= seq).count()
    }

    /// Whether all that is known here is so elsewhere: with one peer, but for what others made who are
    /// here and have it themselves. If nobody else runs the function there is nobody to wait for.
    fn is_elsewhere(&self, own: ReplicaId) -> bool {
        let here: BTreeSet<ReplicaId> = self.reachable().map(|(id, _)| id).collect();
        let vector = self.function.vector();
        let has_all = |id: &ReplicaId| {
            let target = &self.peers[id];
            if target.acked < self.function.seq() {
                return false;
            }
            let told: HashMap<ReplicaId, u64> = target.word.iter().copied().collect();
            let mut others = vector.iter().filter(|(of, _)| *of != own && !here.contains(of));
            others.all(|(of, seq)| told.get(of).is_some_and(|told| told >= seq))
        };
        here.is_empty() || here.iter().any(has_all)
    }

    /// Owes all peers word of how much of theirs is here. What came by a sync is in no batch that would
    /// be acknowledged, and what was owed on an earlier link was not sent: that it is on the disk here
    /// would never be told.
    pub(crate) fn owe_acks(&mut self, at: Time) {
        for (peer, target) in self.peers.iter_mut().filter(|(_, target)| target.link.is_some()) {
            if self.function.upto(*peer) > 0 {
                target.ack_at = Some(target.ack_at.map_or(at, |ack_at| ack_at.min(at)));
            }
        }
    }

    /// Answers the waits that are over.
    fn check_waits(&mut self, now: Time, out: &mut Vec<Effect>) {
        let mut waits = std::mem::take(&mut self.waits);
        waits.retain(|wait| {
            let count = self.count_acked(wait.seq, wait.durable);
            let over = count >= wait.peers || wait.until.is_some_and(|until| until <= now);
            if over {
                out.push(Effect::Answer { id: wait.id, answer: Answer::Count(count) });
            }
            !over
        });
        self.waits = waits;
    }

    fn check_awaits(&mut self, now: Time, out: &mut Vec<Effect>) {
        let mut awaits = std::mem::take(&mut self.awaits);
        awaits.retain(|wait| {
            let reached = self.function.covers(&wait.vector);
            let over = reached || wait.until.is_some_and(|until| until <= now);
            if over {
                out.push(Effect::Answer { id: wait.id, answer: Answer::Reached(reached) });
            }
            !over
        });
        self.awaits = awaits;
    }

    /// Says what is known, at the latest then.
    fn word_by(&mut self, at: Time) {
        self.word_at = Some(self.word_at.map_or(at, |word_at| word_at.min(at)));
    }

    pub(crate) fn set_restoring(&mut self, restoring: bool, out: &mut Vec<Effect>) {
        self.restoring = restoring;
        self.function.set_restoring(restoring);
        if !restoring {
            for fetch in self.fetches.drain(..) {
                out.push(Effect::Answer { id: fetch.id, answer: Answer::Done });
            }
        }
    }

    /// Keeps a batch until those before it have come; forgets it if there is no room.
    fn keep_early(&mut self, origin: ReplicaId, batch: &Batch, changes: Bytes, limit: usize) {
        if self.early_bytes + changes.len() <= limit {
            self.early_bytes += changes.len();
            let early = Early { last: batch.last, changes };
            if let Some(old) = self.early.insert((origin, batch.first), early) {
                self.early_bytes -= old.changes.len();
            }
        }
    }
}

impl Replicator {
    /// Replicates `store`, which is tracked from now on.
    #[must_use]
    pub fn new(store: Arc<Store>, config: Config) -> Replicator {
        Replicator {
            store,
            config,
            peers: BTreeMap::new(),
            streams: BTreeMap::new(),
            timers: BTreeSet::new(),
            intervals: BTreeMap::new(),
            pace: Duration::ZERO,
            exports: Vec::new(),
            exports_at: None,
            sync_at: BTreeMap::new(),
            syncs: BTreeMap::new(),
            leaving: None,
            retiring: Retiring::default(),
            draining: BTreeMap::new(),
            drained: false,
            next_id: 0,
            counts: Counts::default(),
            acks: BTreeSet::new(),
            owed: BTreeSet::new(),
        }
    }

    /// What has been done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Sets how long a function's changes are gathered, or all functions' that have no value of
    /// their own.
    pub fn set_interval(&mut self, now: Time, function: Option<Bytes>, interval: Option<Duration>) {
        match (function, interval) {
            (None, Some(interval)) => self.config.interval = interval,
            (None, None) => {}
            (Some(name), interval) => {
                if let Some(stream) = self.streams.get_mut(&name) {
                    stream.interval = interval;
                }
                match interval {
                    Some(interval) => _ = self.intervals.insert(name, interval),
                    None => _ = self.intervals.remove(&name),
                }
            }
        }
        // What waits already waits by the new interval.
        let names: Vec<Bytes> = self.streams.keys().cloned().collect();
        names.iter().for_each(|name| self.schedule(now, name));
    }

    /// Sets how long at least passes between flushes of a function, because the machine or peers
    /// cannot keep up with more.
    pub fn set_pace(&mut self, now: Time, pace: Duration) {
        self.pace = pace;
        // What waits already waits by the new pace.
        let dirty = self.streams.iter().filter(|(_, stream)| stream.dirty);
        let names: Vec<Bytes> = dirty.map(|(name, _)| name.clone()).collect();
        names.iter().for_each(|name| self.schedule(now, name));
    }

    /// How long an acknowledgement may wait: under load until a flush that it goes along with.
    /// Sets how many bytes of syncs a peer is sent in a second; 0: as many as it takes.
    pub fn set_sync_rate(&mut self, bytes: u64) {
        self.config.sync_rate = bytes;
        self.sync_at.clear();
    }

    pub(crate) fn ack_delay(&self) -> Duration {
        self.config.ack_delay.max((self.pace * 2).min(ACK_DELAY_MAX))
    }

    /// A link to a peer is open.
    pub fn peer_up(&mut self, now: Time, peer: ReplicaId, link: LinkId, out: &mut Vec<Effect>) {
        // From the first peer on, changes are worth gathering.
        self.store.track();
        let known = self.peers.entry(peer).or_default();
        known.link = Some(link);
        let functions = known.functions.clone();
        self.retirement_met(now, peer, out);
        for function in functions {
            self.meet(now, peer, &function, out);
        }
    }

    /// The link is gone; the peer may come back.
    pub fn peer_down(&mut self, now: Time, peer: ReplicaId, out: &mut Vec<Effect>) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.link = None;
        }
        self.exports.retain(|export| export.peer != peer);
        self.sync_at.remove(&peer);
        let names: Vec<Bytes> = self.streams.keys().cloned().collect();
        for name in names {
            let Some(stream) = self.streams.get_mut(&name) else { continue };
            if let Some(target) = stream.peers.get_mut(&peer) {
                target.link = None;
                target.live = false;
                target.heard = false;
                target.ack_at = None;
            }
            for fetch in &mut stream.fetches {
                fetch.from.remove(&peer);
            }
            self.lost_peer(now, &name, peer, out);
        }
        self.retirement_lost(now, peer, out);
        self.check_drained(now, out);
    }

    /// The peer does not come back under this identity.
    pub fn peer_gone(&mut self, now: Time, peer: ReplicaId, out: &mut Vec<Effect>) {
        self.peer_down(now, peer, out);
        self.peers.remove(&peer);
        let limit = self.config.queue_bytes;
        for stream in self.streams.values_mut() {
            stream.peers.remove(&peer);
            stream.trim(limit);
            stream.function.forget_summary(peer);
        }
    }

    /// The peer runs these functions, and no others.
    pub fn peer_runs(
        &mut self,
        now: Time,
        peer: ReplicaId,
        functions: &BTreeSet<Bytes>,
        out: &mut Vec<Effect>,
    ) {
        let known = self.peers.entry(peer).or_default();
        let old = std::mem::replace(&mut known.functions, functions.clone());
        for name in old.difference(functions) {
            if let Some(stream) = self.streams.get_mut(name)
                && let Some(target) = stream.peers.get_mut(&peer)
            {
                (target.runs, target.live) = (false, false);
                stream.trim(self.config.queue_bytes);
                self.lost_peer(now, name, peer, out);
            }
        }
        let new: Vec<Bytes> = functions.difference(&old).cloned().collect();
        for name in new {
            self.meet(now, peer, &name, out);
        }
        self.check_drained(now, out);
    }

    /// This node does not run other functions than these any more. What nobody else has of one that
    /// ends it keeps running a while for its peers, until one of them has it: see
    /// [`Replicator::draining`].
    pub fn ends(&mut self, now: Time, functions: &BTreeSet<Bytes>, out: &mut Vec<Effect>) {
        let gone: Vec<Bytes> = self
            .streams
            .iter()
            .filter(|(name, stream)| stream.runs && !functions.contains(*name))
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            if self.draining.contains_key(&name) {
                continue;
            }
            // What peers have not heard yet, they hear now.
            let Some(stream) = self.streams.get_mut(&name) else { continue };
            (stream.dirty, stream.urgent) = (true, true);
            self.flush(now, &name, out);
            let Some(stream) = self.streams.get_mut(&name) else { continue };
            // What is on the disk here is not lost with this node.
            if self.store.journal().is_some() || stream.is_elsewhere(self.config.replica) {
                self.end(now, &name, out);
                continue;
            }
            // What they have heard already, they say.
            let links = stream.reachable().map(|(_, link)| link).collect();
            out.push(Effect::Send { links, frame: stream.word(true, None) });
            let draining = Draining { until: now + DRAIN, asked: Vec::new() };
            self.draining.insert(name, draining);
        }
    }

    /// The functions that have ended here, and still run for the sake of what peers lack of them.
    pub fn draining(&self) -> impl Iterator<Item = &Bytes> {
        self.draining.keys()
    }

    /// Whether some have drained since this was asked last: peers are to be told.
    pub fn take_drained(&mut self) -> bool {
        std::mem::take(&mut self.drained)
    }

    /// Ends functions of which a peer has all now, or whose time is over.
    fn check_drained(&mut self, now: Time, out: &mut Vec<Effect>) {
        if self.draining.is_empty() {
            return;
        }
        let own = self.config.replica;
        let is_over = |(name, draining): (&Bytes, &Draining)| {
            let stream = self.streams.get(name);
            let over = draining.until <= now || stream.is_none_or(|s| s.is_elsewhere(own));
            over.then(|| name.clone())
        };
        let over: Vec<Bytes> = self.draining.iter().filter_map(is_over).collect();
        for name in over {
            self.stop_draining(&name, out);
            self.end(now, &name, out);
            self.drained = true;
        }
    }

    fn stop_draining(&mut self, name: &Bytes, out: &mut Vec<Effect>) {
        let asked = self.draining.remove(name).map_or(Vec::new(), |draining| draining.asked);
        out.extend(asked.into_iter().map(|id| Effect::Answer { id, answer: Answer::Done }));
    }

    fn end(&mut self, now: Time, name: &Bytes, out: &mut Vec<Effect>) {
        if let Some(stream) = self.streams.get_mut(name) {
            stream.runs = false;
            stream.sync = None;
            stream.early.clear();
            stream.early_bytes = 0;
            stream.set_restoring(false, out);
        }
        // What peers have not heard yet, they hear now.
        self.flush(now, name, out);
    }

    /// This node runs these functions, and no others: [`Replicator::ends`] comes first.
    pub fn runs(&mut self, now: Time, functions: &BTreeSet<Bytes>, out: &mut Vec<Effect>) {
        for name in functions {
            self.stop_draining(name, out);
            let stream = self.stream(name);
            if stream.runs {
                continue;
            }
            stream.runs = true;
            self.retire_in_new(now);
            let peers: Vec<ReplicaId> = self
                .peers
                .iter()
                .filter(|(_, peer)| peer.functions.contains(name))
                .map(|(id, _)| *id)
                .collect();
            let reachable = peers.iter().any(|id| self.peers[id].link.is_some());
            if let Some(stream) = self.streams.get_mut(name) {
                stream.set_restoring(reachable, out);
            }
            for peer in peers {
                self.meet(now, peer, name, out);
            }
        }
    }

    pub(crate) fn stream(&mut self, name: &Bytes) -> &mut Stream {
        let interval = self.intervals.get(name).copied();
        self.streams
            .entry(name.clone())
            .or_insert_with(|| Stream::new(self.store.function(name), interval))
    }

    /// A peer runs a function: if there is anything of it here, say what is known.
    fn meet(&mut self, now: Time, peer: ReplicaId, name: &Bytes, out: &mut Vec<Effect>) {
        let link = self.peers.get(&peer).and_then(|peer| peer.link);
        if !self.streams.contains_key(name) && self.store.find(name).is_none() {
            return;
        }
        let word_at = now + self.config.word_delay;
        let stream = self.stream(name);
        let target = stream.peers.entry(peer).or_default();
        (target.runs, target.link) = (true, link);
        if target.link.is_some() {
            Self::ask_for_stream(stream, now, peer, out);
            Self::tell_retired(stream, peer, out);
            stream.word_by(word_at);
            // Who has come may lack what a sync brought that found no end, in this life or before it.
            stream.unsure = SURE_AFTER;
        }
        self.schedule(now, name);
    }

    /// Says what is known here, and asks for the same and for what follows it.
    fn ask_for_stream(stream: &mut Stream, now: Time, peer: ReplicaId, out: &mut Vec<Effect>) {
        let frame = stream.word(true, None);
        if let Some(target) = stream.peers.get_mut(&peer)
            && let Some(link) = target.link
        {
            target.asked_at = Some(now);
            out.push(Effect::Send { links: vec![link], frame });
        }
    }

    /// A message of a peer.
    ///
    /// # Errors
    /// If no correct peer says that; its link must end.
    pub fn received(
        &mut self,
        now: Time,
        peer: ReplicaId,
        body: Body,
        out: &mut Vec<Effect>,
    ) -> Result<(), Fault> {
        if self.peers.get(&peer).is_none_or(|peer| peer.link.is_none()) {
            return Ok(()); // from a link that is closing
        }
        match body {
            Body::Batch(batch) => self.on_batch(now, peer, batch, out),
            Body::Ack(ack) => {
                self.on_ack(now, peer, &ack, out);
                Ok(())
            }
            Body::Word(word) => self.on_word(now, peer, word, out),
            Body::Pull(pull) => self.on_pull(now, peer, pull, out),
            Body::State(state) => self.on_state(now, peer, state, out),
            Body::Fetch(fetch) => {
                self.on_fetch(peer, &fetch, out);
                Ok(())
            }
            Body::Fetched(fetched) => self.on_fetched(now, peer, fetched, out),
            Body::Retire(retire) => {
                self.on_retire(now, peer, &retire, out);
                Ok(())
            }
            Body::Grant(grant) => self.on_grant(now, peer, &grant, out),
            Body::Retired(retired) => self.on_retired(now, peer, &retired, out),
            _ => Err(Fault("a message out of place".into())),
        }
    }

    fn on_word(
        &mut self,
        now: Time,
        peer: ReplicaId,
        word: Word,
        out: &mut Vec<Effect>,
    ) -> Result<(), Fault> {
        let vector = payload::read_vector(word.vector.as_ref())?;
        let (own, limit) = (self.config.replica, self.config.queue_bytes);
        let (link, tidy_at) = (self.peers[&peer].link, now + self.config.word_delay);
        let ack_at = now + self.ack_delay();
        let runs = self.peers[&peer].functions.contains(&word.function);
        if !self.streams.contains_key(&word.function) && self.store.find(&word.function).is_none() {
            return Ok(());
        }
        let stream = self.stream(&word.function);
        let target = stream.peers.entry(peer).or_default();
        (target.link, target.runs) = (link, runs);
        target.stray = stream.function.is_stray(&vector) || stream.function.is_retired(peer);
        if target.stray {
            // It hears why, and must end.
            target.live = false;
            Self::tell_retired(stream, peer, out);
            return Ok(());
        }
        if stream.function.heard_summary(peer, &vector).map_err(refused)? {
            stream.tidy_at.get_or_insert(tidy_at);
        }
        let theirs = vector.iter().find(|(id, _)| *id == own).map_or(0, |(_, seq)| *seq);
        let sent = stream.function.sent();
        if theirs > stream.function.seq() {
            let name = String::from_utf8_lossy(&word.function).into_owned();
            out.push(Effect::Note(Note::Outdated(format!(
                "peer {:016x} knows {theirs} events of this node in function {name}, and this node \
                 has made but {}: its past was lost, or another node has its identity",
                peer.0,
                stream.function.seq()
            ))));
        }
        let target = stream.peers.get_mut(&peer).expect("made above");
        target.heard = true;
        target.kept_from = word.kept_from;
        target.word = vector;
        target.acked = target.acked.max(theirs.min(sent));
        if word.answer {
            if stream.function.upto(peer) > 0 {
                target.ack_at.get_or_insert(ack_at);
            }
            target.live = target.runs;
            if let Some(link) = link.filter(|_| target.runs) {
                let first = stream.queue.front().map_or(u64::MAX, |oldest| oldest.first);
                if first <= theirs + 1 {
                    for batch in stream.queue.iter().filter(|batch| batch.last > theirs) {
                        out.push(Effect::Send { links: vec![link], frame: batch.frame.clone() });
                    }
                }
            }
            let frame = stream.word(false, None);
            out.extend(link.map(|link| Effect::Send { links: vec![link], frame }));
        }
        stream.trim(limit);
        stream.check_waits(now, out);
        if let Some(digest) = word.digest
            && stream.runs
            && stream.sync.is_none()
            && !stream.has_unsent()
        {
            let mut theirs = stream.peers[&peer].word.clone();
            let vector = stream.function.vector();
            let mut mine = vector.clone();
            theirs.sort_unstable();
            mine.sort_unstable();
            if mine == theirs && stream.digest(&vector) != digest {
                // Each takes from the other what it has.
                stream.now_unsure();
                self.pull_compared(now, &word.function, peer, out);
            }
        }
        self.compare(now, &word.function, peer, out);
        self.schedule(now, &word.function);
        self.check_drained(now, out);
        self.check_leave(now, out);
        Ok(())
    }

    /// Sees what a peer has and this node lacks, and how to come by it.
    pub(crate) fn compare(
        &mut self,
        now: Time,
        name: &Bytes,
        peer: ReplicaId,
        out: &mut Vec<Effect>,
    ) {
        let lack_delay = self.config.lack_delay;
        let Some(stream) = self.streams.get_mut(name).filter(|stream| stream.runs) else { return };
        let Some(target) = stream.peers.get(&peer).filter(|target| target.heard) else { return };
        let lacks = stream.function.lacks(&target.word);
        if lacks.is_empty() {
            if stream.restoring {
                stream.set_restoring(false, out);
            }
            return;
        }
        if stream.sync.is_some() {
            return; // compared again when it is over
        }
        let known = stream.function.upto(peer);
        let own = lacks.iter().any(|(id, _)| *id == peer);
        let kept = target.kept_from <= known + 1;
        let asked = target.asked_at.is_some_and(|at| now.since(at) < Duration::from_secs(1));
        let thirds = lacks.iter().any(|(id, _)| *id != peer);
        if (own && !kept) || (thirds && stream.restoring) {
            self.pull(now, name, peer, out);
        } else if own && !asked {
            Self::ask_for_stream(stream, now, peer, out);
        }
        if let Some(stream) = self.streams.get_mut(name)
            && thirds
            && stream.lack_at.is_none()
        {
            stream.lack_at = Some(now + lack_delay);
        }
    }

    fn on_batch(
        &mut self,
        now: Time,
        peer: ReplicaId,
        batch: Batch,
        out: &mut Vec<Effect>,
    ) -> Result<(), Fault> {
        if batch.origin != peer.0 {
            return Err(Fault("a batch of somebody else's".into()));
        }
        let changes = payload::expand(&batch.changes, batch.size)?;
        let early_bytes = self.config.early_bytes;
        let delay = if batch.urgent { Duration::ZERO } else { self.ack_delay() };
        let word_at = now + self.config.word_delay;
        let Some(stream) = self.streams.get_mut(&batch.function).filter(|stream| stream.runs)
        else {
            return Ok(()); // it will hear soon that the function is not run here
        };
        // While buckets are compared nothing else may come in: see `sync`.
        if stream.sync.as_ref().is_some_and(Sync::holds) {
            stream.keep_early(peer, &batch, changes, early_bytes);
            return Ok(());
        }
        match stream.function.join_batch(peer, (batch.first, batch.last), &changes) {
            Ok(joined) => {
                Self::count_joined(&mut self.counts, joined);
                stream.word_by(word_at);
                stream.tidy_at.get_or_insert(word_at);
                if let Some(target) = stream.peers.get_mut(&peer) {
                    target.ack_at =
                        Some(target.ack_at.map_or(now + delay, |at| at.min(now + delay)));
                }
                self.advance(now, &batch.function, out)?;
                self.check_round(now, &batch.function, out);
                self.thaw_if_over(&batch.function);
            }
            // It is told when it says what it knows.
            Err(Refused::Retired) => {}
            Err(Refused::Known) => {
                if let Some(target) = stream.peers.get_mut(&peer) {
                    target.ack_at =
                        Some(target.ack_at.map_or(now + delay, |at| at.min(now + delay)));
                }
            }
            Err(Refused::Gap(_)) => {
                self.counts.gaps += 1;
                stream.keep_early(peer, &batch, changes, early_bytes);
                let quiet = stream.peers.get(&peer).is_some_and(|target| {
                    target.asked_at.is_none_or(|at| now.since(at) >= Duration::from_secs(1))
                });
                if stream.sync.is_none() && quiet {
                    Self::ask_for_stream(stream, now, peer, out);
                }
            }
            Err(wrong) => return Err(refused(wrong)),
        }
        if batch.urgent {
            self.acks.insert(batch.function.clone());
        }
        self.schedule(now, &batch.function);
        Ok(())
    }

    fn count_joined(counts: &mut Counts, joined: Joined) {
        counts.batches_received += 1;
        counts.changes_received += joined.named as u64;
    }

    /// Says what is known, not at once.
    pub(crate) fn word_soon(&mut self, now: Time, name: &Bytes) {
        if let Some(stream) = self.streams.get_mut(name) {
            stream.word_by(now + self.config.word_delay);
            stream.tidy_at.get_or_insert(now + self.config.word_delay);
        }
    }

    /// More is known: joins batches that waited for it, and answers who waited for it.
    pub(crate) fn advance(
        &mut self,
        now: Time,
        name: &Bytes,
        out: &mut Vec<Effect>,
    ) -> Result<(), Fault> {
        let ack_at = now + self.ack_delay();
        let Some(stream) = self.streams.get_mut(name) else { return Ok(()) };
        while !stream.early.is_empty() {
            let next = stream.early.iter().find_map(|((origin, first), early)| {
                let known = stream.function.upto(*origin);
                (*first <= known + 1 || early.last <= known).then_some((*origin, *first))
            });
            let Some(key) = next else { break };
            let Some(early) = stream.early.remove(&key) else { break };
            stream.early_bytes -= early.changes.len();
            match stream.function.join_batch(key.0, (key.1, early.last), &early.changes) {
                Ok(joined) => Self::count_joined(&mut self.counts, joined),
                Err(Refused::Known | Refused::Gap(_) | Refused::Retired) => {}
                Err(wrong) => return Err(refused(wrong)),
            }
            if let Some(target) = stream.peers.get_mut(&key.0) {
                target.ack_at.get_or_insert(ack_at);
            }
        }
        stream.check_awaits(now, out);
        if stream.restoring && stream.sync.is_none() {
            let complete = stream
                .peers
                .values()
                .any(|target| target.heard && target.runs && stream.function.covers(&target.word));
            if complete {
                stream.set_restoring(false, out);
            }
        }
        Ok(())
    }

    fn on_ack(&mut self, now: Time, peer: ReplicaId, ack: &Ack, out: &mut Vec<Effect>) {
        let limit = self.config.queue_bytes;
        let Some(stream) = self.streams.get_mut(&ack.function) else { return };
        let sent = stream.function.sent();
        if let Some(target) = stream.peers.get_mut(&peer) {
            target.acked = target.acked.max(ack.last.min(sent));
            target.durable = target.durable.max(ack.durable.min(target.acked));
        }
        stream.trim(limit);
        stream.check_waits(now, out);
        self.check_drained(now, out);
        self.check_leave(now, out);
    }

    /// The function has something to send.
    pub fn wrote(&mut self, now: Time, function: &Arc<Function>, out: &mut Vec<Effect>) {
        let name = Bytes::copy_from_slice(function.name());
        let stream = self.stream(&name);
        stream.dirty = true;
        if self.flush_at(&name).is_some_and(|at| at <= now) {
            self.flush(now, &name, out);
        }
        self.schedule(now, &name);
    }

    /// When the function's changes are to be sent; none if there are none.
    fn flush_at(&self, name: &Bytes) -> Option<Time> {
        let stream = self.streams.get(name).filter(|stream| stream.dirty)?;
        if stream.urgent {
            return Some(Time(0));
        }
        let interval = stream.interval.unwrap_or(self.config.interval).max(self.pace);
        Some(stream.flushed_at.map_or(Time(0), |at| at + interval))
    }

    /// Sends what has changed.
    pub(crate) fn flush(&mut self, now: Time, name: &Bytes, out: &mut Vec<Effect>) {
        let Some(stream) = self.streams.get_mut(name) else { return };
        let urgent = std::mem::take(&mut stream.urgent);
        stream.dirty = false;
        let Some(batch) = stream.function.take_batch() else { return };
        stream.flushed_at = Some(now);
        // Nobody to send to, and nobody who might come back for it: a sync tells newcomers.
        if !stream.peers.values().any(|target| target.runs) {
            return;
        }
        self.counts.batches_sent += 1;
        self.counts.changes_sent += batch.changes as u64;
        let (changes, size) = payload::shrink(batch.message);
        let frame = peer::frame(Body::Batch(Batch {
            function: name.clone(),
            origin: self.config.replica.0,
            first: batch.first,
            last: batch.last,
            changes,
            size,
            urgent,
        }));
        let links = stream.live_links();
        stream.queue_bytes += frame.len();
        if !links.is_empty() {
            out.push(Effect::Send { links, frame: frame.clone() });
            // What they are owed goes in the same envelopes.
            self.acks.insert(name.clone());
        }
        stream.queue.push_back(Sent { first: batch.first, last: batch.last, frame, at: now });
        if self.config.bugs.trust_the_wire {
            let live = stream.peers.values_mut().filter(|target| target.live);
            live.for_each(|target| target.acked = batch.last);
        }
        stream.trim(self.config.queue_bytes);
        stream.word_by(now + self.config.word_delay);
    }

    /// Answers or keeps a question.
    pub fn ask(&mut self, now: Time, id: AskId, ask: Ask, out: &mut Vec<Effect>) {
        match ask {
            Ask::Wait { function, seq, peers, durable, until } => {
                let stream = self.stream(&function);
                if stream.has_unsent() {
                    (stream.dirty, stream.urgent) = (true, true);
                }
                stream.waits.push(Wait { id, seq, peers, durable, until });
                stream.check_waits(now, out);
                self.flush_if_due(now, &function, out);
                self.schedule(now, &function);
            }
            Ask::Await { function, vector, until } => {
                let stream = self.stream(&function);
                stream.awaits.push(Await { id, vector, until });
                stream.check_awaits(now, out);
                self.schedule(now, &function);
            }
            Ask::Fetch { function, object, name, until } => {
                self.fetch(now, id, (&function, object, name), until, out);
            }
            Ask::Sync { function, until } => self.compare_all(now, id, function, until, out),
            Ask::Functions => {
                let view = |(name, stream): (&Bytes, &Stream)| FunctionView {
                    function: name.clone(),
                    runs: stream.runs,
                    restoring: stream.restoring,
                    peers: stream
                        .peers
                        .iter()
                        .filter(|(_, target)| target.runs)
                        .map(|(id, target)| {
                            let same = target.heard && stream.function.covers(&target.word);
                            (*id, same && target.acked >= stream.function.sent())
                        })
                        .collect(),
                };
                let views = self.streams.iter().map(view).collect();
                out.push(Effect::Answer { id, answer: Answer::Functions(views) });
            }
            Ask::Leave { until } => {
                let names: Vec<Bytes> = self.streams.keys().cloned().collect();
                for name in names {
                    let stream = self.stream(&name);
                    if stream.has_unsent() {
                        (stream.dirty, stream.urgent) = (true, true);
                        self.flush(now, &name, out);
                    }
                }
                self.leaving = Some(Leaving { id, until, newcomers: Some(now + NEWCOMERS) });
                self.check_leave(now, out);
            }
            Ask::Drain { function } => match self.draining.get_mut(&function) {
                Some(draining) => draining.asked.push(id),
                None => out.push(Effect::Answer { id, answer: Answer::Done }),
            },
            Ask::Nodes | Ask::Join { .. } | Ask::Forget { .. } => {
                let answer = Answer::Refused("ERR not for the replicator".into());
                out.push(Effect::Answer { id, answer });
            }
        }
    }

    fn check_leave(&mut self, now: Time, out: &mut Vec<Effect>) {
        let Some(Leaving { id, until, mut newcomers }) = self.leaving else { return };
        let behind = |stream: &Stream| {
            let sent = stream.function.sent();
            stream.peers.values().any(|t| t.runs && t.link.is_some() && t.acked < sent)
        };
        newcomers = newcomers.filter(|at| now < *at && self.takes_something_along());
        self.leaving = Some(Leaving { id, until, newcomers });
        let waits = newcomers.is_some();
        let at_once = self.config.bugs.leave_at_once;
        if now >= until || at_once || !(waits || self.streams.values().any(behind)) {
            self.leaving = None;
            out.push(Effect::Answer { id, answer: Answer::Done });
        }
    }

    /// Whether there is something that no disk has and no node that can be reached, although there are
    /// nodes that might.
    fn takes_something_along(&self) -> bool {
        self.store.journal().is_none()
            && self.peers.values().any(|peer| peer.link.is_some())
            && self.streams.values().any(|stream| {
                stream.reachable().next().is_none() && stream.function.object_count() > 0
            })
    }

    fn flush_if_due(&mut self, now: Time, name: &Bytes, out: &mut Vec<Effect>) {
        if self.flush_at(name).is_some_and(|at| at <= now) {
            self.flush(now, name, out);
        }
    }

    /// How far a peer is behind.
    #[must_use]
    pub fn lag(&self, now: Time, peer: ReplicaId) -> Lag {
        let mut lag = Lag::default();
        for (name, stream) in &self.streams {
            let Some(target) = stream.peers.get(&peer).filter(|target| target.runs) else {
                continue;
            };
            lag.acknowledged.push((name.clone(), target.acked, target.durable));
            lag.events += stream.function.seq().saturating_sub(target.acked);
            for batch in stream.queue.iter().filter(|batch| batch.last > target.acked) {
                lag.bytes += batch.frame.len() as u64;
                let ms = u64::try_from(now.since(batch.at).as_millis()).unwrap_or(u64::MAX);
                lag.ms = lag.ms.max(ms);
            }
        }
        lag
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Time, out: &mut Vec<Effect>) {
        // Each function once: what stays due is done at the end of the turn.
        let later = self.timers.split_off(&(Time(now.0.saturating_add(1)), Bytes::new()));
        for (_, name) in std::mem::replace(&mut self.timers, later) {
            if let Some(stream) = self.streams.get_mut(&name) {
                stream.timer = None;
                self.on_time(now, &name, out);
                self.schedule(now, &name);
            }
        }
        self.check_drained(now, out);
        self.check_leave(now, out);
        self.end_comparisons(now, out);
        self.retirement_on_time(now, out);
    }

    fn on_time(&mut self, now: Time, name: &Bytes, out: &mut Vec<Effect>) {
        self.flush_if_due(now, name, out);
        self.sync_on_time(now, name, out);
        // All functions' at one time, so that they go in one envelope; each node at its own.
        let period = u64::try_from(self.config.word_period.as_nanos()).unwrap_or(u64::MAX).max(1);
        let offset = self.config.replica.0 % period;
        let round = now.0.saturating_sub(offset) / period + 1;
        let next_word = Time(round.saturating_mul(period).saturating_add(offset));
        let Some(stream) = self.streams.get_mut(name) else { return };
        stream.check_waits(now, out);
        stream.check_awaits(now, out);
        if stream.peers.values().any(|target| target.ack_at.is_some_and(|at| at <= now)) {
            self.acks.insert(name.clone());
        }
        if stream.word_at.is_some_and(|at| at <= now) {
            let links: Vec<LinkId> = stream.reachable().map(|(_, link)| link).collect();
            stream.word_at = None;
            if !links.is_empty() {
                let vector = stream.function.vector();
                // Worth it only where nothing is under way that would change it.
                let still = stream.said.replace(vector.clone()).is_some_and(|said| said == vector);
                let settled = still && stream.sync.is_none() && !stream.has_unsent();
                let digest = (settled && stream.unsure > 0).then(|| stream.digest(&vector));
                stream.unsure = stream.unsure.saturating_sub(u8::from(settled));
                out.push(Effect::Send { links, frame: stream.word(false, digest) });
                stream.word_at = Some(next_word);
            }
        }
        if stream.tidy_at.is_some_and(|at| at <= now) {
            stream.tidy_at = None;
            stream.function.tidy();
            stream.function.collect();
        }
        if stream.lack_at.is_some_and(|at| at <= now) {
            stream.lack_at = None;
            let peers: Vec<ReplicaId> = stream.reachable().map(|(id, _)| id).collect();
            // The one that knows most of what is missing tells it.
            let lacks = |id: &ReplicaId| stream.function.lacks(&stream.peers[id].word);
            let best = peers.into_iter().max_by_key(|id| lacks(id).len());
            if let Some(peer) = best.filter(|id| !lacks(id).is_empty()) {
                self.pull(now, name, peer, out);
            }
        }
    }

    /// Ends a turn: sends the acknowledgements that are due.
    pub fn settle(&mut self, now: Time, out: &mut Vec<Effect>) {
        let store = Arc::clone(&self.store);
        let journal = store.journal();
        for name in std::mem::take(&mut self.acks) {
            let Some(stream) = self.streams.get_mut(&name) else { continue };
            for (peer, target) in &mut stream.peers {
                // Who is owed one soon gets it along with those who are owed one now.
                if target.ack_at.take().is_some()
                    && let Some(link) = target.link
                {
                    let last = stream.function.upto(*peer);
                    let durable = target.on_disk(journal, last);
                    if durable < last && journal.is_some() {
                        // It is told once it is so.
                        target.ack_at = Some(now + SYNC_PERIOD);
                    }
                    let ack = Ack { function: name.clone(), last, durable };
                    out.push(Effect::Send {
                        links: vec![link],
                        frame: peer::frame(Body::Ack(ack)),
                    });
                }
            }
            self.schedule(now, &name);
        }
        self.run_exports(now, out);
        self.settle_syncs(out);
    }

    /// When [`Replicator::tick`] is wanted next.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let asked = self.syncs.values().map(|(.., until)| *until);
        let drained = self.draining.values().map(|draining| draining.until);
        let leaving =
            self.leaving.iter().flat_map(|leaving| [Some(leaving.until), leaving.newcomers]);
        let others =
            asked.chain(drained).chain(leaving.flatten()).chain(self.retiring.deadline()).min();
        let timer = self.timers.first().map(|(at, _)| *at);
        timer.into_iter().chain(others).chain(self.exports_at).min()
    }

    /// Sets the timer of a function to the first thing that is due.
    pub(crate) fn schedule(&mut self, now: Time, name: &Bytes) {
        let flush = self.flush_at(name);
        let Some(stream) = self.streams.get_mut(name) else { return };
        let acks = stream.peers.values().filter_map(|target| target.ack_at).min();
        let waits = stream.waits.iter().filter_map(|wait| wait.until);
        let awaits = stream.awaits.iter().filter_map(|wait| wait.until);
        let fetches = stream.fetches.iter().map(|fetch| fetch.until);
        let sync = stream.sync.as_ref().map(|sync| sync.until(self.config.sync_timeout));
        let forced = (!stream.forced.is_empty() && stream.sync.is_none()).then_some(now);
        let retry = stream.retry_at.filter(|at| *at > now);
        let next =
            [flush, acks, stream.word_at, stream.tidy_at, stream.lack_at, sync, forced, retry]
                .into_iter()
                .flatten()
                .chain(waits)
                .chain(awaits)
                .chain(fetches)
                .min();
        if stream.timer != next {
            if let Some(old) = stream.timer {
                self.timers.remove(&(old, name.clone()));
            }
            stream.timer = next;
            self.timers.extend(next.map(|at| (at, name.clone())));
        }
    }
}

#[cfg(test)]
mod tests;
