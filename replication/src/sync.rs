//! Syncs: how a node comes by what no stream brings it any more.
//!
//! The one that lacks something pulls. The other walks its objects and sends what is newer than the
//! puller's vector, then what went since from its removal log; the last message says up to where the
//! puller now knows all. If the log does not reach back so far, the two compare digests of buckets
//! of objects, and those that differ are sent whole: what the sender's vector covers and the parts
//! do not name is gone.
//!
//! From the moment at which the puller takes its digests until it raises its vector, it applies
//! nothing else that others send: a value that came in meanwhile, into a bucket that was equal, might
//! be one that the sender has seen go. Batches wait; values that are fetched on touch are fetched
//! again, whole, from the sender before the end.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use miso_protocol::peer::message::Body;
use miso_protocol::peer::state::Kind;
use miso_protocol::peer::{self, Fetch, Fetched, Pull, State};
use miso_store::crdt::ReplicaId;
use miso_store::{Buckets, Named, Vector};

use crate::payload;
use crate::replicator::{Fetching, Replicator, refused};
use crate::{Answer, AskId, Effect, Fault, LinkId, Time};

/// The most buckets that are compared.
const BUCKETS: usize = 1 << 16;

/// The most parts that are under way whatever their size: a removal log may be many small ones.
const PARTS: usize = 256;

/// A sync that this node pulls.
#[derive(Debug)]
pub(crate) struct Sync {
    id: u64,
    pub(crate) peer: ReplicaId,
    heard_at: Time,
    /// The next part.
    part: u32,
    repaired: usize,
    /// If buckets are compared: what their parts said so far.
    buckets: Option<Comparing>,
    /// The question that made it, if it was one.
    asked: Option<AskId>,
    /// What the peer knew, once all parts are here, while objects are fetched again.
    done: Option<Vector>,
}

#[derive(Debug)]
struct Comparing {
    of: usize,
    vector: Vector,
    which: HashSet<u32>,
    named: Named,
    /// Parts that concern values which were here: what they lack counts at the end.
    again_whole: Vec<(Bytes, u32)>,
    /// Objects that were fetched meanwhile, and are to be fetched again from the sync's peer.
    again: BTreeSet<Bytes>,
    /// Those that are awaited.
    awaited: BTreeSet<u64>,
}

impl Sync {
    /// Whether nothing else may be applied until it is over.
    pub(crate) fn holds(&self) -> bool {
        self.buckets.is_some()
    }

    pub(crate) fn until(&self, timeout: Duration) -> Time {
        self.heard_at + timeout
    }
}

/// A sync that this node answers.
#[derive(Debug)]
pub(crate) struct Export {
    pub(crate) peer: ReplicaId,
    link: LinkId,
    id: u64,
    function: Bytes,
    known: Vector,
    buckets: Option<Buckets>,
    vector: Vector,
    /// Where the walk over the objects goes on; none once it is over.
    cursor: Option<u64>,
    /// What of the removal log is still to be sent.
    log: Option<VecDeque<(ReplicaId, u64, Bytes)>>,
    part: u32,
    /// When the puller was last heard of; one that is silent has given up.
    heard_at: Time,
    /// Parts under way, with their sizes.
    under_way: VecDeque<usize>,
    /// Bytes sent that do not count yet against the peer's rate.
    sent: usize,
}

impl Export {
    fn send(&mut self, state: State, out: &mut Vec<Effect>) {
        let state =
            State { function: self.function.clone(), id: self.id, part: self.part, ..state };
        self.part += 1;
        let frame = peer::frame(Body::State(state));
        self.under_way.push_back(frame.len());
        self.sent += frame.len();
        out.push(Effect::SendBehind { link: self.link, frame });
    }
}

/// How a [`Replicator::run_export`] has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// A part was sent.
    Sent,
    /// So much is under way that none may be sent.
    Waits,
    /// There is none any more.
    Over,
}

fn changes(kind: Kind, changes: Bytes) -> State {
    let (changes, size) = payload::shrink(changes);
    State { kind: kind.into(), changes, size, ..State::default() }
}

impl Replicator {
    /// Begins to pull from `peer` what it has and this node lacks.
    pub(crate) fn pull(&mut self, now: Time, name: &Bytes, peer: ReplicaId, out: &mut Vec<Effect>) {
        self.begin(now, name, peer, false, None, out);
    }

    /// As [`Replicator::pull`], of all that differs, whatever the vectors say.
    pub(crate) fn pull_compared(
        &mut self,
        now: Time,
        name: &Bytes,
        peer: ReplicaId,
        out: &mut Vec<Effect>,
    ) {
        self.begin(now, name, peer, true, None, out);
    }

    fn begin(
        &mut self,
        now: Time,
        name: &Bytes,
        peer: ReplicaId,
        compare: bool,
        asked: Option<AskId>,
        out: &mut Vec<Effect>,
    ) {
        self.next_id += 1;
        let id = self.next_id;
        let Some(stream) = self.streams.get_mut(name).filter(|stream| stream.runs) else { return };
        let Some(link) = stream.peers.get(&peer).and_then(|target| target.link) else { return };
        let wait = stream.retry_at.is_some_and(|at| at > now);
        if stream.sync.is_some() || (wait && !compare) {
            return;
        }
        let known = stream.function.vector();
        let (digests, buckets) = if compare {
            // About 16 objects a bucket, so that a difference costs few that are equal.
            let of = (stream.function.object_count() / 16).next_power_of_two().clamp(64, BUCKETS);
            let comparing = Comparing {
                of,
                vector: Vector::new(),
                which: HashSet::new(),
                named: Named::default(),
                again_whole: Vec::new(),
                again: BTreeSet::new(),
                awaited: BTreeSet::new(),
            };
            (stream.function.digests(of), Some(comparing))
        } else {
            (Vec::new(), None)
        };
        let sync =
            Sync { id, peer, heard_at: now, part: 0, repaired: 0, buckets, asked, done: None };
        stream.sync = Some(sync);
        self.counts.syncs += 1;
        let known = Some(payload::vector(&known));
        let pull = Pull { function: name.clone(), id, known, digests, taken: 0 };
        out.push(Effect::Send { links: vec![link], frame: peer::frame(Body::Pull(pull)) });
        self.schedule(now, name);
    }

    /// A peer pulls.
    pub(crate) fn on_pull(
        &mut self,
        now: Time,
        peer: ReplicaId,
        pull: Pull,
        out: &mut Vec<Effect>,
    ) -> Result<(), Fault> {
        if pull.taken > 0 {
            let mut exports = self.exports.iter_mut();
            if let Some(export) = exports.find(|export| (export.peer, export.id) == (peer, pull.id))
            {
                export.heard_at = now;
                while export.part - (export.under_way.len() as u32) < pull.taken {
                    if export.under_way.pop_front().is_none() {
                        return Err(Fault("more parts taken than sent".into()));
                    }
                }
            }
            return Ok(());
        }
        let known = payload::read_vector(pull.known.as_ref())?;
        let of = pull.digests.len();
        if of > BUCKETS || (of > 0 && !of.is_power_of_two()) {
            return Err(Fault("malformed digests".into()));
        }
        let Some(stream) = self.streams.get(&pull.function) else { return Ok(()) };
        let Some(link) = stream.peers.get(&peer).and_then(|target| target.link) else {
            return Ok(());
        };
        self.exports.retain(|export| (export.peer, &export.function) != (peer, &pull.function));
        let mut export = Export {
            peer,
            link,
            id: pull.id,
            function: pull.function.clone(),
            known,
            buckets: None,
            vector: stream.function.vector(),
            cursor: Some(0),
            log: None,
            part: 0,
            heard_at: now,
            under_way: VecDeque::new(),
            sent: 0,
        };
        let timeout = self.config.sync_timeout;
        self.exports.retain(|export| now.since(export.heard_at) < timeout);
        let say = |kind: Kind| State { kind: kind.into(), ..State::default() };
        if self.exports.len() >= self.config.exports {
            export.send(say(Kind::Busy), out);
            return Ok(());
        }
        if of > 0 {
            let mine = stream.function.digests(of);
            let differ = (0u32..).zip(mine.iter().zip(&pull.digests)).filter(|(_, (a, b))| a != b);
            // In ascending order, so that the same state gives the same bytes.
            let which: Vec<u32> = differ.map(|(bucket, _)| bucket).collect();
            let mut first = say(Kind::Buckets);
            first.vector = Some(payload::vector(&export.vector));
            first.buckets.clone_from(&which);
            export.send(first, out);
            export.buckets = Some(Buckets { of, which: which.into_iter().collect() });
        } else if !stream.function.log_reaches(&export.known).map_err(refused)? {
            export.send(say(Kind::TooOld), out);
            return Ok(());
        }
        self.counts.exports += 1;
        self.exports.push(export);
        Ok(())
    }

    /// Goes on with the syncs that this node answers, as far as their windows and their peers' rates
    /// allow: a part each in turn, so that none of a peer's starves.
    pub(crate) fn run_exports(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.exports_at = None;
        let mut exports = VecDeque::from(std::mem::take(&mut self.exports));
        let mut waiting = 0;
        while waiting < exports.len() {
            let Some(mut export) = exports.pop_front() else { break };
            let next_at = self.sync_at.get(&export.peer).copied().filter(|at| *at > now);
            let step = match next_at {
                Some(_) => Step::Waits,
                None => self.run_export(&mut export, out),
            };
            let sent = std::mem::take(&mut export.sent);
            self.count_sync(now, export.peer, sent);
            if next_at.is_some_and(|at| self.exports_at.is_none_or(|first| at < first)) {
                self.exports_at = next_at;
            }
            waiting = if step == Step::Waits { waiting + 1 } else { 0 };
            if step != Step::Over {
                exports.push_back(export);
            }
        }
        self.exports = exports.into();
    }

    /// A peer was sent bytes of a sync: it is sent more once its rate allows.
    fn count_sync(&mut self, now: Time, peer: ReplicaId, bytes: usize) {
        if self.config.sync_rate == 0 {
            self.sync_at.clear();
            return;
        }
        let time = |bytes: usize| {
            let nanos = bytes as u128 * 1_000_000_000 / u128::from(self.config.sync_rate);
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
        };
        if bytes > 0 {
            // A timer that came late is made up for, by a part at most; and nobody is kept waiting so
            // long, by a part that is too great, that he gives up.
            let (spent, part) = (time(bytes).min(self.longest_pause()), time(self.part_bytes()));
            let at = self.sync_at.get(&peer).copied().unwrap_or_default();
            let earliest = Time(now.0.saturating_sub(u64::try_from(part.as_nanos()).unwrap_or(0)));
            self.sync_at.insert(peer, at.max(earliest) + spent);
        }
    }

    /// How long a peer may wait at most for its turn: with all the syncs that a node answers at once
    /// each is heard of in half of the time after which it would be given up.
    fn longest_pause(&self) -> Duration {
        self.config.sync_timeout / 2 / u32::try_from(self.config.exports.max(1)).unwrap_or(u32::MAX)
    }

    /// Bytes of a part: less if the rate is so low that it would take too long.
    fn part_bytes(&self) -> usize {
        if self.config.sync_rate == 0 {
            return self.config.part_bytes;
        }
        let most = u128::from(self.config.sync_rate) * self.longest_pause().as_nanos();
        let most = usize::try_from(most / 1_000_000_000).unwrap_or(usize::MAX);
        self.config.part_bytes.min(most.max(1))
    }

    /// Sends a part, if the window allows.
    fn run_export(&self, export: &mut Export, out: &mut Vec<Effect>) -> Step {
        let Some(stream) = self.streams.get(&export.function) else { return Step::Over };
        let function = &stream.function;
        let bytes: usize = export.under_way.iter().sum();
        if bytes >= self.config.window_bytes || export.under_way.len() >= PARTS {
            return Step::Waits;
        }
        if let Some(cursor) = export.cursor {
            let budget = self.part_bytes();
            let (message, next) = match &export.buckets {
                Some(buckets) => function.export_buckets(buckets, cursor, budget),
                None => match function.export(&export.known, cursor, budget) {
                    Ok(exported) => exported,
                    Err(_) => return Step::Over,
                },
            };
            let kind = if export.buckets.is_some() { Kind::Buckets } else { Kind::Changes };
            export.cursor = Some(next).filter(|next| *next != 0);
            export.send(changes(kind, message), out);
            return Step::Sent;
        }
        if export.buckets.is_none() && export.log.is_none() {
            // The log may have been cut while the objects were walked.
            if !function.log_reaches(&export.known).unwrap_or(false) {
                export.send(State { kind: Kind::TooOld.into(), ..State::default() }, out);
                return Step::Over;
            }
            export.log = Some(function.removals_since(&export.known).unwrap_or_default().into());
        }
        if let Some((origin, last, message)) = export.log.as_mut().and_then(VecDeque::pop_front) {
            let state = changes(Kind::Changes, message);
            export.send(State { origin: origin.0, last, ..state }, out);
            return Step::Sent;
        }
        let vector = Some(payload::vector(&export.vector));
        export.send(State { kind: Kind::Done.into(), vector, ..State::default() }, out);
        Step::Over
    }

    /// A part of a sync that this node pulls.
    pub(crate) fn on_state(
        &mut self,
        now: Time,
        peer: ReplicaId,
        state: State,
        out: &mut Vec<Effect>,
    ) -> Result<(), Fault> {
        let name = state.function.clone();
        let Some(stream) = self.streams.get_mut(&name) else { return Ok(()) };
        let Some(sync) = &mut stream.sync else { return Ok(()) };
        if (sync.peer, sync.id) != (peer, state.id) {
            return Ok(()); // of a sync that was given up
        }
        if state.part != sync.part {
            self.give_up(now, &name, out);
            return Ok(());
        }
        sync.part += 1;
        sync.heard_at = now;
        self.owed.insert(name.clone());
        let function = &stream.function;
        let message = payload::expand(&state.changes, state.size)?;
        match (state.kind(), &mut sync.buckets) {
            (Kind::Changes, _) => {
                if self.config.bugs.raise_early && state.part == 0 {
                    let target = &stream.peers[&peer];
                    function.finish_sync(&target.word, true).map_err(refused)?;
                }
                let joined = if state.last > 0 {
                    function.join_removals(ReplicaId(state.origin), state.last, &message)
                } else {
                    function.join_changes(&message)
                };
                sync.repaired += joined.map_err(refused)?.changed;
            }
            (Kind::Buckets, Some(comparing)) => {
                if state.part == 0 {
                    comparing.vector = payload::read_vector(state.vector.as_ref())?;
                    comparing.which = state.buckets.iter().copied().collect();
                } else {
                    let joined = function.join_part(&message, &mut comparing.named);
                    let (joined, any_here) = joined.map_err(refused)?;
                    sync.repaired += joined.changed;
                    if any_here {
                        comparing.again_whole.push((state.changes.clone(), state.size));
                    }
                }
            }
            (Kind::Done, _) => {
                sync.done = Some(payload::read_vector(state.vector.as_ref())?);
                self.try_finish(now, &name, out)?;
            }
            (Kind::TooOld, None) => {
                let asked = sync.asked;
                stream.sync = None;
                self.begin(now, &name, peer, true, asked, out);
            }
            (Kind::Busy, _) => self.give_up(now, &name, out),
            (Kind::Buckets, None) | (Kind::TooOld, Some(_)) => {
                return Err(Fault("a part of another kind of sync".into()));
            }
        }
        self.schedule(now, &name);
        Ok(())
    }

    /// All parts are here: raises the vector, unless objects must be fetched again.
    fn try_finish(&mut self, now: Time, name: &Bytes, out: &mut Vec<Effect>) -> Result<(), Fault> {
        let ack_at = now + self.ack_delay();
        let Some(stream) = self.streams.get_mut(name) else { return Ok(()) };
        let Some(sync) = &mut stream.sync else { return Ok(()) };
        let Some(vector) = &sync.done else { return Ok(()) };
        let function = &stream.function;
        if let Some(comparing) = &mut sync.buckets {
            let link = stream.peers.get(&sync.peer).and_then(|target| target.link);
            for object in std::mem::take(&mut comparing.again) {
                self.next_id += 1;
                comparing.awaited.insert(self.next_id);
                let fetch = Fetch { function: name.clone(), id: self.next_id, object, name: None };
                let frame = peer::frame(Body::Fetch(fetch));
                out.extend(link.map(|link| Effect::Send { links: vec![link], frame }));
            }
            if !comparing.awaited.is_empty() {
                return Ok(());
            }
            for (changes, size) in std::mem::take(&mut comparing.again_whole) {
                let message = payload::expand(&changes, size)?;
                let joined = function.join_whole(&comparing.vector, &message).map_err(refused)?;
                sync.repaired += joined.changed;
            }
            let which = std::mem::take(&mut comparing.which);
            let buckets = Buckets { of: comparing.of, which };
            let dropped = function.drop_unnamed(&comparing.vector, &buckets, &comparing.named);
            sync.repaired += dropped.map_err(refused)?;
        }
        function.finish_sync(vector, sync.buckets.is_none()).map_err(refused)?;
        self.counts.repaired += sync.repaired as u64;
        if let Some(asked) = sync.asked
            && let Some((repaired, left, _)) = self.syncs.get_mut(&asked)
        {
            *repaired += sync.repaired;
            *left = left.saturating_sub(1);
        }
        let peer = sync.peer;
        stream.sync = None;
        stream.owe_acks(ack_at);
        stream.now_unsure();
        stream.set_restoring(false, out);
        self.advance(now, name, out)?;
        self.word_soon(now, name);
        // Others may know still more; the peer itself, whose stream went on meanwhile, first.
        self.compare(now, name, peer, out);
        let others: Vec<ReplicaId> = self.streams[name].reachable().map(|(id, _)| id).collect();
        for other in others.into_iter().filter(|id| *id != peer) {
            self.compare(now, name, other, out);
        }
        self.end_comparisons(now, out);
        Ok(())
    }

    /// Ends a sync without its end; another is tried later.
    fn give_up(&mut self, now: Time, name: &Bytes, out: &mut Vec<Effect>) {
        let Some(stream) = self.streams.get_mut(name) else { return };
        let Some(sync) = stream.sync.take() else { return };
        stream.now_unsure();
        // Spread by who asks, so that those who were told to wait do not come back together.
        let spread = (self.config.replica.0 ^ sync.id) % 200;
        stream.retry_at = Some(now + Duration::from_millis(100 + spread));
        if let Some(asked) = sync.asked {
            stream.forced.push_back((asked, sync.peer));
        }
        // Nothing of it was wrong, so what waited for its end can go on.
        let advanced = self.advance(now, name, out);
        debug_assert!(advanced.is_ok() || cfg!(not(debug_assertions)), "{advanced:?}");
        self.schedule(now, name);
    }

    /// A peer is gone or does not run the function any more.
    pub(crate) fn lost_peer(
        &mut self,
        now: Time,
        name: &Bytes,
        peer: ReplicaId,
        out: &mut Vec<Effect>,
    ) {
        if let Some(stream) = self.streams.get_mut(name) {
            stream.forced.retain(|(id, of)| {
                let kept = *of != peer;
                if !kept && let Some((_, left, _)) = self.syncs.get_mut(id) {
                    *left = left.saturating_sub(1);
                }
                kept
            });
            if stream.sync.as_ref().is_some_and(|sync| sync.peer == peer) {
                self.give_up(now, name, out);
            }
        }
        if let Some(stream) = self.streams.get_mut(name) {
            Self::end_fetches(stream.fetches.as_mut(), now, out);
            if stream.restoring && stream.reachable().next().is_none() {
                stream.set_restoring(false, out);
            }
        }
        self.schedule(now, name);
        self.end_comparisons(now, out);
    }

    pub(crate) fn sync_on_time(&mut self, now: Time, name: &Bytes, out: &mut Vec<Effect>) {
        let timeout = self.config.sync_timeout;
        let Some(stream) = self.streams.get_mut(name) else { return };
        Self::end_fetches(&mut stream.fetches, now, out);
        if stream.sync.as_ref().is_some_and(|sync| sync.until(timeout) <= now) {
            self.give_up(now, name, out);
        }
        let Some(stream) = self.streams.get_mut(name) else { return };
        if stream.sync.is_none()
            && let Some((id, peer)) = stream.forced.pop_front()
        {
            if self.syncs.contains_key(&id) {
                self.begin(now, name, peer, true, Some(id), out);
            }
            return;
        }
        if stream.sync.is_none() && stream.retry_at.is_some_and(|at| at <= now) {
            stream.retry_at = None;
            let peers: Vec<ReplicaId> = stream.reachable().map(|(id, _)| id).collect();
            for peer in peers {
                self.compare(now, name, peer, out);
            }
        }
    }

    /// Tells the peers of syncs how much of them is taken.
    pub(crate) fn settle_syncs(&mut self, out: &mut Vec<Effect>) {
        for name in std::mem::take(&mut self.owed) {
            if let Some(stream) = self.streams.get(&name)
                // One that has just begun in the place of another has taken nothing yet.
                && let Some(sync) = stream.sync.as_ref().filter(|sync| sync.part > 0)
                && let Some(link) = stream.peers.get(&sync.peer).and_then(|target| target.link)
            {
                let (id, taken) = (sync.id, sync.part);
                let pull = Pull { function: name, id, taken, ..Pull::default() };
                out.push(Effect::Send { links: vec![link], frame: peer::frame(Body::Pull(pull)) });
            }
        }
    }

    /// Compares all of one function, or of all, with each peer.
    pub(crate) fn compare_all(
        &mut self,
        now: Time,
        id: AskId,
        function: Option<Bytes>,
        until: Time,
        out: &mut Vec<Effect>,
    ) {
        let names: Vec<Bytes> = match function {
            Some(name) => vec![name],
            None => self.streams.keys().cloned().collect(),
        };
        let mut asked = 0;
        for name in names {
            let Some(stream) = self.streams.get_mut(&name).filter(|stream| stream.runs) else {
                continue;
            };
            let peers: Vec<ReplicaId> = stream.reachable().map(|(peer, _)| peer).collect();
            asked += peers.len();
            stream.forced.extend(peers.into_iter().map(|peer| (id, peer)));
            self.schedule(now, &name);
        }
        self.syncs.insert(id, (0, asked, until));
        self.end_comparisons(now, out);
    }

    /// Answers the comparisons that are over.
    pub(crate) fn end_comparisons(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.syncs.retain(|id, (repaired, left, until)| {
            let over = *left == 0 || *until <= now;
            if over {
                out.push(Effect::Answer { id: *id, answer: Answer::Count(*repaired) });
            }
            !over
        });
    }

    /// Fetches an object, or a name of it, from all peers that run the function.
    pub(crate) fn fetch(
        &mut self,
        now: Time,
        id: AskId,
        (function, object, name): (&Bytes, Bytes, Option<Bytes>),
        until: Time,
        out: &mut Vec<Effect>,
    ) {
        let done = Effect::Answer { id, answer: Answer::Done };
        let Some(stream) = self.streams.get_mut(function).filter(|stream| stream.restoring) else {
            out.push(done);
            return;
        };
        let (from, links): (BTreeSet<ReplicaId>, Vec<LinkId>) = stream.reachable().unzip();
        if from.is_empty() {
            out.push(done);
            return;
        }
        self.counts.fetches += 1;
        stream.fetches.push(Fetching { id, until, from });
        let fetch = Fetch { function: function.clone(), id: id.0, object, name };
        out.push(Effect::Send { links, frame: peer::frame(Body::Fetch(fetch)) });
        self.schedule(now, function);
    }

    pub(crate) fn on_fetch(&mut self, peer: ReplicaId, fetch: &Fetch, out: &mut Vec<Effect>) {
        let Some(stream) = self.streams.get(&fetch.function) else { return };
        let Some(link) = stream.peers.get(&peer).and_then(|target| target.link) else { return };
        let found = stream.function.export_object(&fetch.object, fetch.name.as_deref());
        let (changes, size) = payload::shrink(found.clone().unwrap_or_default());
        let fetched = Fetched {
            function: fetch.function.clone(),
            id: fetch.id,
            found: found.is_some(),
            changes,
            size,
            object: fetch.object.clone(),
        };
        out.push(Effect::Send { links: vec![link], frame: peer::frame(Body::Fetched(fetched)) });
    }

    pub(crate) fn on_fetched(
        &mut self,
        now: Time,
        peer: ReplicaId,
        fetched: Fetched,
        out: &mut Vec<Effect>,
    ) -> Result<(), Fault> {
        let name = &fetched.function;
        let Some(stream) = self.streams.get_mut(name).filter(|stream| stream.runs) else {
            return Ok(());
        };
        if fetched.found {
            let message = payload::expand(&fetched.changes, fetched.size)?;
            stream.function.join_changes(&message).map_err(refused)?;
            stream.now_unsure();
        }
        if let Some(sync) = &mut stream.sync
            && let Some(comparing) = &mut sync.buckets
        {
            let again = sync.peer == peer && comparing.awaited.remove(&fetched.id);
            if !again && fetched.found {
                comparing.again.insert(fetched.object.clone());
            }
        }
        for fetch in stream.fetches.iter_mut().filter(|fetch| fetch.id.0 == fetched.id) {
            if fetched.found {
                fetch.from.clear();
            } else {
                fetch.from.remove(&peer);
            }
        }
        Self::end_fetches(&mut stream.fetches, now, out);
        self.try_finish(now, name, out)?;
        self.schedule(now, name);
        Ok(())
    }

    /// Answers the fetches for which nothing more is to be waited.
    fn end_fetches(fetches: &mut Vec<Fetching>, now: Time, out: &mut Vec<Effect>) {
        fetches.retain(|fetch| {
            let over = fetch.from.is_empty() || fetch.until <= now;
            if over {
                out.push(Effect::Answer { id: fetch.id, answer: Answer::Done });
            }
            !over
        });
    }
}
