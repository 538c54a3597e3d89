//! Exports: the syncs that other nodes pull from this one. See `pull` for what they are.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use miso_protocol::peer;
use miso_protocol::peer::message::Body;
use miso_protocol::peer::state::Kind;
use miso_protocol::peer::{Pull, State};
use miso_store::crdt::ReplicaId;
use miso_store::{Buckets, Vector};

use super::config::Config;
use super::stream::{Stream, Streams};
use super::turn::{Turn, refused};
use crate::{Fault, LinkId, Time, payload};

/// The most buckets that are compared.
pub(super) const BUCKETS: usize = 1 << 16;

/// The most parts that are under way whatever their size: a removal log may be many small ones.
const PARTS: usize = 256;

/// A sync that this node answers.
#[derive(Debug)]
struct Export {
    peer: ReplicaId,
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

/// How a step of an export has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// A part was sent.
    Sent,
    /// As much is under way as may be.
    Waits,
    /// There is none any more.
    Over,
}

/// The syncs that this node answers.
#[derive(Debug, Default)]
pub(super) struct Exports {
    exports: VecDeque<Export>,
    /// When one of them goes on, if it waits for nothing but its peer's rate.
    next_at: Option<Time>,
    /// By peer: from when on it may be sent the next part of a sync.
    part_at: BTreeMap<ReplicaId, Time>,
}

/// Whether `known` has all events of `vector`.
fn covers(known: &Vector, vector: &Vector) -> bool {
    let known: BTreeMap<ReplicaId, u64> = known.iter().copied().collect();
    vector.iter().all(|(of, seq)| known.get(of).is_some_and(|known| known >= seq))
}

fn plain(kind: Kind) -> State {
    State { kind: kind.into(), ..State::default() }
}

fn changes(kind: Kind, changes: Bytes) -> State {
    let (changes, size) = payload::shrink(changes);
    State { changes, size, ..plain(kind) }
}

impl Export {
    fn new(peer: ReplicaId, link: LinkId, pull: &Pull, known: Vector, vector: Vector) -> Export {
        Export {
            peer,
            link,
            id: pull.id,
            function: pull.function.clone(),
            known,
            buckets: None,
            vector,
            cursor: Some(0),
            log: None,
            part: 0,
            heard_at: Time::default(),
            under_way: VecDeque::new(),
            sent: 0,
        }
    }

    fn send(&mut self, turn: &mut Turn<'_>, state: State) {
        let state =
            State { function: self.function.clone(), id: self.id, part: self.part, ..state };
        self.part += 1;
        let frame = peer::frame(Body::State(state));
        self.under_way.push_back(frame.len());
        self.sent += frame.len();
        turn.send_last(self.link, frame);
    }

    /// The puller has taken the first `taken` parts.
    fn taken(&mut self, taken: u32, now: Time) -> Result<(), Fault> {
        // One that takes nothing more has given up, whatever it says.
        if self.part - (self.under_way.len() as u32) < taken {
            self.heard_at = now;
        }
        while self.part - (self.under_way.len() as u32) < taken {
            if self.under_way.pop_front().is_none() {
                return Err(Fault("more parts taken than sent".into()));
            }
        }
        Ok(())
    }

    /// Sends a part, if the window allows.
    fn step(&mut self, turn: &mut Turn<'_>, stream: &Stream) -> Step {
        let function = stream.function();
        let bytes: usize = self.under_way.iter().sum();
        if bytes >= turn.config().window_bytes || self.under_way.len() >= PARTS {
            return Step::Waits;
        }
        if let Some(cursor) = self.cursor {
            let budget = part_bytes(turn.config());
            let (message, next) = match &self.buckets {
                Some(buckets) => function.export_buckets(buckets, cursor, budget),
                None => match function.export(&self.known, cursor, budget) {
                    Ok(exported) => exported,
                    Err(_) => return Step::Over,
                },
            };
            let kind = if self.buckets.is_some() { Kind::Buckets } else { Kind::Changes };
            self.cursor = Some(next).filter(|next| *next != 0);
            self.send(turn, changes(kind, message));
            return Step::Sent;
        }
        if self.buckets.is_none() && self.log.is_none() {
            // The log may have been cut while the objects were walked.
            if !function.log_reaches(&self.known).unwrap_or(false) {
                self.send(turn, plain(Kind::TooOld));
                return Step::Over;
            }
            self.log = Some(function.removals_since(&self.known).unwrap_or_default().into());
        }
        if let Some((origin, last, message)) = self.log.as_mut().and_then(VecDeque::pop_front) {
            let state = changes(Kind::Changes, message);
            self.send(turn, State { origin: origin.0, last, ..state });
            return Step::Sent;
        }
        let vector = Some(payload::vector(&self.vector));
        self.send(turn, State { vector, ..plain(Kind::Done) });
        Step::Over
    }
}

impl Exports {
    /// A peer is gone.
    pub(super) fn lost_peer(&mut self, peer: ReplicaId) {
        self.exports.retain(|export| export.peer != peer);
        self.part_at.remove(&peer);
    }

    /// The rate has changed: what was sent before does not count any more.
    pub(super) fn reset_rate(&mut self) {
        self.part_at.clear();
    }

    /// When an export goes on that waits for nothing but its peer's rate.
    pub(super) fn next_at(&self) -> Option<Time> {
        self.next_at
    }

    /// A puller has taken parts.
    pub(super) fn on_taken(
        &mut self,
        turn: &Turn<'_>,
        peer: ReplicaId,
        pull: &Pull,
    ) -> Result<(), Fault> {
        let mut exports = self.exports.iter_mut();
        match exports.find(|export| (export.peer, export.id) == (peer, pull.id)) {
            Some(export) => export.taken(pull.taken, turn.now()),
            None => Ok(()),
        }
    }

    /// A peer begins to pull.
    pub(super) fn on_pull(
        &mut self,
        turn: &mut Turn<'_>,
        stream: Option<&Stream>,
        peer: ReplicaId,
        pull: &Pull,
    ) -> Result<(), Fault> {
        let known = payload::read_vector(pull.known.as_ref())?;
        let of = pull.digests.len();
        let ahead = pull.ahead.len();
        if of > BUCKETS || (of > 0 && !of.is_power_of_two()) || (ahead > 0 && ahead != of) {
            return Err(Fault("malformed digests".into()));
        }
        let Some(stream) = stream else { return Ok(()) };
        let Some(link) = stream.link(peer) else { return Ok(()) };
        let function = stream.function();
        self.exports.retain(|export| (export.peer, &export.function) != (peer, &pull.function));
        let (now, timeout) = (turn.now(), turn.config().sync_timeout);
        self.exports.retain(|export| now.since(export.heard_at) < timeout);
        let mut export = Export::new(peer, link, pull, known, function.vector());
        export.heard_at = now;
        let of_peer = self.exports.iter().filter(|export| export.peer == peer).count();
        // No peer takes all places: half of them, one at least.
        let share = (turn.config().exports / 2).max(1);
        if self.exports.len() >= turn.config().exports || of_peer >= share {
            export.send(turn, plain(Kind::Busy));
            return Ok(());
        }
        if of > 0 {
            let (mine, ahead) = (function.digests(of), function.ahead_digests(of));
            let at = |digests: &[u64], bucket| digests.get(bucket).copied().unwrap_or(0);
            let differs = |bucket: &usize| {
                mine[*bucket] != pull.digests[*bucket]
                    || at(&ahead, *bucket) != at(&pull.ahead, *bucket)
            };
            // In order, so that the same state sends the same bytes.
            let buckets: Vec<u32> = (0..of).filter(differs).map(|bucket| bucket as u32).collect();
            let vector = Some(payload::vector(&export.vector));
            export.buckets = Some(Buckets { of, which: buckets.iter().copied().collect() });
            export.send(turn, State { vector, buckets, ..plain(Kind::Buckets) });
        } else if !function.log_reaches(&export.known).map_err(refused)? {
            export.send(turn, plain(Kind::TooOld));
            return Ok(());
        } else if covers(&export.known, &export.vector) {
            (export.cursor, export.log) = (None, Some(VecDeque::new())); // there is nothing newer
        }
        turn.counts().exports += 1;
        self.exports.push_back(export);
        Ok(())
    }

    /// Goes on with the syncs that this node answers, as far as their windows and their peers' rates
    /// allow: a part each in turn, so that none of a peer's starves.
    pub(super) fn run(&mut self, turn: &mut Turn<'_>, streams: &Streams) {
        self.next_at = None;
        let mut waiting = 0;
        while waiting < self.exports.len() {
            let Some(mut export) = self.exports.pop_front() else { break };
            let part_at = self.part_at.get(&export.peer).copied().filter(|at| *at > turn.now());
            let step = match (part_at, streams.get(&export.function)) {
                (Some(_), _) => Step::Waits,
                (None, Some(stream)) => export.step(turn, stream),
                (None, None) => Step::Over,
            };
            let sent = std::mem::take(&mut export.sent);
            self.count(turn, export.peer, sent);
            if part_at.is_some_and(|at| self.next_at.is_none_or(|first| at < first)) {
                self.next_at = part_at;
            }
            waiting = if step == Step::Waits { waiting + 1 } else { 0 };
            if step != Step::Over {
                self.exports.push_back(export);
            }
        }
    }

    /// A peer was sent bytes of a sync: it is sent more once its rate allows.
    fn count(&mut self, turn: &Turn<'_>, peer: ReplicaId, bytes: usize) {
        let config = turn.config();
        if config.sync_rate == 0 {
            self.part_at.clear();
            return;
        }
        let time = |bytes: usize| {
            let nanos = bytes as u128 * 1_000_000_000 / u128::from(config.sync_rate);
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
        };
        if bytes > 0 {
            // A timer that came late is made up for, by a part at most; and a part that is too great
            // keeps no peer waiting until it gives up.
            let (spent, part) = (time(bytes).min(longest_pause(config)), time(part_bytes(config)));
            let at = self.part_at.get(&peer).copied().unwrap_or_default();
            self.part_at.insert(peer, at.max(turn.now() - part) + spent);
        }
    }
}

/// The longest that a peer waits for its turn: with all the syncs that a node answers at once each is
/// heard of in half of the time after which it would be given up.
fn longest_pause(config: &Config) -> Duration {
    config.sync_timeout / 2 / u32::try_from(config.exports.max(1)).unwrap_or(u32::MAX)
}

/// Bytes of a part: fewer if the rate is too low for a whole one in time.
fn part_bytes(config: &Config) -> usize {
    if config.sync_rate == 0 {
        return config.part_bytes;
    }
    let most = u128::from(config.sync_rate) * longest_pause(config).as_nanos();
    let most = usize::try_from(most / 1_000_000_000).unwrap_or(usize::MAX);
    config.part_bytes.min(most.max(1))
}
