//! Pulls: how a node comes by what no stream brings it any more.
//!
//! The node that lacks something pulls. The other one (see `export`) walks its objects and sends what
//! is newer than the puller's vector, then what went since from its removal log; the last message says
//! up to where the puller now knows all. If the log does not reach back that far, the two compare
//! digests of buckets of objects, and those that differ are sent whole: what the sender's vector covers
//! and the parts do not name is gone.
//!
//! From the moment at which the puller takes its digests until it raises its vector, it applies
//! nothing else that others send: a value that came in meanwhile, into a bucket that was equal, might
//! be one that the sender has seen go. Batches wait; values that are fetched on touch are fetched
//! again, whole, from the sender before the end.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use miso_protocol::peer::message::Body;
use miso_protocol::peer::state::Kind;
use miso_protocol::peer::{self, Fetch, Fetched, Pull, State};
use miso_store::crdt::DecodeError;
use miso_store::crdt::ReplicaId;
use miso_store::{Buckets, Function, Named, Refused, Vector};

use super::export::BUCKETS;
use super::questions::Fetching;
use super::stream::{Pulling, Stream};
use super::target::Target;
use super::turn::{Turn, refused};
use crate::{Answer, AskId, Fault, LinkId, Time, payload};

/// A pull under way.
#[derive(Debug)]
struct Sync {
    id: u64,
    peer: ReplicaId,
    heard_at: Time,
    /// The next part.
    part: u32,
    repaired: usize,
    /// If buckets are compared: what their parts said so far.
    buckets: Option<Comparing>,
    /// The question that made it, if it was one.
    asked: Option<AskId>,
    /// What the peer knew, once all parts are here, while objects are fetched again, and while other
    /// nodes are asked whether what it says of them is so.
    done: Option<Vector>,
    doubts: Doubts,
    begun_at: Time,
}

/// A pull's peer says of other nodes that they have made events of which they have not told here: they
/// are asked. Of a writer that is linked only its own word counts.
#[derive(Debug, Default)]
struct Doubts {
    /// Since when.
    since: Option<Time>,
    /// The questions to them.
    asked: BTreeMap<ReplicaId, u64>,
    /// They do not answer: they are as good as away.
    are_over: bool,
}

/// What becomes of what a pull's peer says of others.
enum Weighed {
    Believed,
    /// It depends on answers.
    Awaits,
    /// This writer has made fewer events than that, it says itself.
    Denied(ReplicaId, u64),
}

/// From a peer that has said what another node denies nothing is pulled for this long.
const DISTRUST: Duration = Duration::from_secs(60);

/// A pull that takes longer is logged; and one that takes this much longer is given up.
const LONG: Duration = Duration::from_secs(600);
const LONGEST: Duration = Duration::from_secs(3_600);

#[derive(Debug, Default)]
struct Comparing {
    of: usize,
    vector: Vector,
    which: HashSet<u32>,
    named: Named,
    /// Parts that concern values which were here: what they lack counts at the end.
    again_whole: Vec<(Bytes, u32)>,
    /// Objects that were fetched meanwhile, and are to be fetched again from the pull's peer.
    again: BTreeSet<Bytes>,
    /// The fetches of them that are awaited.
    awaited: BTreeSet<u64>,
}

/// The pulls of one function.
#[derive(Debug, Default)]
struct OfFunction {
    sync: Option<Sync>,
    /// No pull before that.
    retry_at: Option<Time>,
    /// Full comparisons that were asked for.
    asked: VecDeque<(AskId, ReplicaId)>,
}

/// An [`crate::Ask::Sync`] under way.
#[derive(Debug)]
struct Asked {
    repaired: usize,
    /// Comparisons that are not over.
    left: usize,
    until: Time,
}

/// All pulls of this node.
#[derive(Debug, Default)]
pub(super) struct Pulls {
    /// The functions with something under way.
    functions: BTreeMap<Bytes, OfFunction>,
    asked: BTreeMap<AskId, Asked>,
    /// Functions whose pulls got parts in this turn, of which their senders must be told.
    owed: BTreeSet<Bytes>,
}

/// What a pull is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Want {
    /// What is newer than the own vector.
    Newer,
    /// All that differs, whatever the vectors say.
    Different(Option<AskId>),
}

impl Pulls {
    /// Whether a pull of a function is under way.
    pub(super) fn of(&self, name: &Bytes) -> Pulling {
        match self.sync(name) {
            None => Pulling::No,
            Some(sync) if sync.buckets.is_some() => Pulling::Alone,
            Some(_) => Pulling::Beside,
        }
    }

    fn sync(&self, name: &Bytes) -> Option<&Sync> {
        self.functions.get(name)?.sync.as_ref()
    }

    fn sync_mut(&mut self, name: &Bytes) -> Option<&mut Sync> {
        self.functions.get_mut(name)?.sync.as_mut()
    }

    /// When the pull of a function is given up if nothing more is heard.
    pub(super) fn timeout_at(&self, name: &Bytes, timeout: Duration) -> Option<Time> {
        let until = |sync: &Sync| match sync.doubts.since {
            Some(since) => since + timeout / 2,
            None => sync.heard_at + timeout,
        };
        self.sync(name).map(until)
    }

    /// When a comparison that was asked for begins: at once, if no pull is under way.
    pub(super) fn compare_at(&self, name: &Bytes) -> Option<Time> {
        let of = self.functions.get(name)?;
        (of.sync.is_none() && !of.asked.is_empty()).then_some(Time(0))
    }

    /// When a pull that failed is tried again.
    pub(super) fn retry_at(&self, name: &Bytes) -> Option<Time> {
        let of = self.functions.get(name)?;
        of.retry_at.filter(|_| of.sync.is_none())
    }

    /// When the next [`crate::Ask::Sync`] is answered whatever is done by then.
    pub(super) fn asked_until(&self) -> Option<Time> {
        self.asked.values().map(|asked| asked.until).min()
    }

    /// Gives back what a function without pulls takes.
    pub(super) fn shrink(&mut self, name: &Bytes) {
        let is_empty =
            |of: &OfFunction| of.sync.is_none() && of.retry_at.is_none() && of.asked.is_empty();
        if self.functions.get(name).is_some_and(is_empty) {
            self.functions.remove(name);
        }
    }

    /// The function ends here: nothing of it is pulled any more.
    pub(super) fn end(&mut self, name: &Bytes) {
        if let Some(of) = self.functions.get_mut(name) {
            of.sync = None;
        }
    }

    /// Sees what a peer has and this node lacks, and how to come by it.
    pub(super) fn compare(&mut self, turn: &mut Turn<'_>, stream: &mut Stream, peer: ReplicaId) {
        if !stream.carries() {
            return;
        }
        let Some(target) = stream.target(peer) else { return };
        let Some(summary) = target.heard().filter(|_| target.is_trusted(turn.now())) else {
            return;
        };
        let lacks = stream.function().lacks(summary);
        if lacks.is_empty() {
            return;
        }
        if self.sync(stream.name()).is_some() {
            return; // compared again when it is over
        }
        let own = lacks.iter().any(|(id, _)| *id == peer);
        let thirds = lacks.iter().any(|(id, _)| *id != peer);
        let kept = target.keeps_after(stream.function().upto(peer));
        if (own && !kept) || (thirds && stream.restoring()) {
            self.pull(turn, stream, peer);
        } else if own {
            stream.ask_for_stream_again(turn, peer);
        }
        if thirds {
            stream.lacks_thirds(turn);
        }
    }

    /// As [`Pulls::compare`], with every peer.
    pub(super) fn compare_with_all(&mut self, turn: &mut Turn<'_>, stream: &mut Stream) {
        for peer in stream.informed(turn.now()) {
            self.compare(turn, stream, peer);
        }
    }

    /// Begins to pull from `peer` what it has and this node lacks.
    pub(super) fn pull(&mut self, turn: &mut Turn<'_>, stream: &mut Stream, peer: ReplicaId) {
        self.begin(turn, stream, peer, Want::Newer);
    }

    /// As [`Pulls::pull`], of all that differs, whatever the vectors say.
    pub(super) fn pull_different(
        &mut self,
        turn: &mut Turn<'_>,
        stream: &mut Stream,
        peer: ReplicaId,
    ) {
        self.begin(turn, stream, peer, Want::Different(None));
    }

    fn begin(&mut self, turn: &mut Turn<'_>, stream: &Stream, peer: ReplicaId, want: Want) {
        let Some(link) = stream.link(peer).filter(|_| stream.carries()) else { return };
        let of = self.functions.entry(stream.name().clone()).or_default();
        let waits = of.retry_at.is_some_and(|at| at > turn.now());
        if of.sync.is_some() || (waits && want == Want::Newer) {
            return;
        }
        let id = turn.next_id();
        let function = stream.function();
        let (digests, ahead, buckets, asked) = match want {
            Want::Newer => (Vec::new(), Vec::new(), None, None),
            Want::Different(asked) => {
                // About 16 objects a bucket, so that a difference costs few that are equal.
                let of = (function.object_count() / 16).next_power_of_two().clamp(64, BUCKETS);
                let comparing = Comparing { of, ..Comparing::default() };
                (function.digests(of), function.ahead_digests(of), Some(comparing), asked)
            }
        };
        let heard_at = turn.now();
        of.sync = Some(Sync {
            id,
            peer,
            heard_at,
            part: 0,
            repaired: 0,
            buckets,
            asked,
            done: None,
            doubts: Doubts::default(),
            begun_at: heard_at,
        });
        turn.counts().syncs += 1;
        let known = Some(payload::vector(&function.vector()));
        let pull = Pull { function: stream.name().clone(), id, known, digests, taken: 0, ahead };
        turn.send(link, Body::Pull(pull));
    }

    /// Takes a part of a pull.
    pub(super) fn on_state(
        &mut self,
        turn: &mut Turn<'_>,
        stream: &mut Stream,
        peer: ReplicaId,
        state: &State,
    ) -> Result<(), Fault> {
        let name = &state.function;
        let Some(sync) = self.sync_mut(name) else { return Ok(()) };
        if (sync.peer, sync.id) != (peer, state.id) {
            return Ok(()); // of a pull that was given up
        }
        if state.part != sync.part {
            self.give_up(turn, stream);
            return Ok(());
        }
        sync.part += 1;
        sync.heard_at = turn.now();
        let lasts = turn.now().since(sync.begun_at);
        if lasts > LONG {
            turn.warn_seldom(&format!("long {peer:?}"), || {
                format!(
                    "a sync of function {} with peer {:016x} lasts {lasts:?}",
                    stream.shown(),
                    peer.0
                )
            });
        }
        if lasts > LONGEST {
            self.distrust(turn, stream, peer);
            return Ok(());
        }
        stream.function().take_from(peer);
        let message = payload::expand(&state.changes, state.size)?;
        let joined = match (state.kind(), &mut sync.buckets) {
            (Kind::Changes, _) => {
                if turn.config().bugs.raise_early && state.part == 0 {
                    let summary = stream.target(peer).map(|target| target.summary().clone());
                    let raised = stream.function().finish_sync(&summary.unwrap_or_default(), true);
                    raised.map_err(refused)?;
                }
                join_changes(stream.function(), state, &message)
            }
            (Kind::Buckets, Some(comparing)) if state.part == 0 => {
                comparing.vector = of_others(turn, stream, state.vector.as_ref())?;
                comparing.which = state.buckets.iter().copied().collect();
                Ok(0)
            }
            (Kind::Buckets, Some(comparing)) => {
                comparing.on_buckets(stream.function(), state, &message)
            }
            (Kind::Done, _) => {
                sync.done = Some(of_others(turn, stream, state.vector.as_ref())?);
                self.owed.insert(name.clone());
                return self.try_finish(turn, stream);
            }
            (Kind::TooOld, None) => {
                let asked = sync.asked;
                self.end(name);
                self.begin(turn, stream, peer, Want::Different(asked));
                Ok(0)
            }
            (Kind::Busy, _) => {
                self.give_up(turn, stream);
                Ok(0)
            }
            (Kind::Buckets, None) | (Kind::TooOld, Some(_)) => {
                return Err(Fault("a part of another kind of sync".into()));
            }
        };
        match joined {
            Ok(repaired) => {
                if let Some(sync) = self.sync_mut(name) {
                    sync.repaired += repaired;
                }
            }
            Err(Refused::Unreadable(DecodeError::TooManyWriters)) => {
                self.knows_too_many(turn, stream, peer);
                return Ok(());
            }
            Err(wrong) => return Err(refused(wrong)),
        }
        self.owed.insert(name.clone());
        Ok(())
    }

    /// If all parts are here: raises the vector, unless objects must be fetched again first.
    fn try_finish(&mut self, turn: &mut Turn<'_>, stream: &mut Stream) -> Result<(), Fault> {
        let name = stream.name().clone();
        match self.weigh(turn, stream) {
            Weighed::Believed => {}
            Weighed::Awaits => return Ok(()),
            Weighed::Denied(writer, seq) => {
                self.denied(turn, stream, writer, seq);
                return Ok(());
            }
        }
        let Some(sync) = self.sync_mut(&name) else { return Ok(()) };
        let Some(vector) = &sync.done else { return Ok(()) };
        let function = stream.function();
        if let Some(comparing) = &mut sync.buckets {
            comparing.fetch_again(turn, &name, stream.link(sync.peer));
            if !comparing.awaited.is_empty() {
                return Ok(());
            }
            sync.repaired += comparing.finish(function)?;
        }
        let finished = function.finish_sync(vector, sync.buckets.is_none());
        if finished == Err(Refused::Unreadable(DecodeError::TooManyWriters)) {
            let peer = sync.peer;
            self.knows_too_many(turn, stream, peer);
            return Ok(());
        }
        finished.map_err(refused)?;
        let (peer, repaired, asked) = (sync.peer, sync.repaired, sync.asked);
        self.end(&name);
        turn.counts().repaired += repaired as u64;
        if let Some(asked) = asked.and_then(|asked| self.asked.get_mut(&asked)) {
            asked.repaired += repaired;
            asked.left = asked.left.saturating_sub(1);
        }
        stream.owe_acks(turn.now() + turn.ack_delay());
        stream.now_unsure();
        stream.advance(turn)?;
        stream.announce_soon(turn);
        // Others may know still more; the peer itself, whose stream went on meanwhile, first.
        self.compare(turn, stream, peer);
        for other in stream.informed(turn.now()).into_iter().filter(|id| *id != peer) {
            self.compare(turn, stream, other);
        }
        self.end_asked(turn);
        Ok(())
    }

    /// Whether what the peer of a pull says of others, once all of it is here, may be believed.
    fn weigh(&mut self, turn: &mut Turn<'_>, stream: &Stream) -> Weighed {
        let Some(sync) = self.sync_mut(stream.name()) else { return Weighed::Awaits };
        let Some(done) = &sync.done else { return Weighed::Awaits };
        let cleared = sync.buckets.iter().flat_map(|comparing| &comparing.vector);
        let said = done.iter().chain(cleared).filter(|(of, _)| *of != sync.peer);
        let doubted: Vec<_> =
            said.filter(|(of, seq)| stream.is_doubtful(turn, *of, *seq)).copied().collect();
        if doubted.is_empty() || sync.doubts.are_over {
            sync.doubts.since = None;
            return Weighed::Believed;
        }
        sync.doubts.since.get_or_insert(turn.now());
        for (of, seq) in doubted {
            match sync.doubts.asked.get(&of) {
                None => {
                    sync.doubts
                        .asked
                        .extend(stream.ask_for_word(turn, of).map(|asked| (of, asked)));
                }
                Some(asked) if stream.target(of).is_some_and(|it| it.answered() >= *asked) => {
                    return Weighed::Denied(of, seq);
                }
                Some(_) => {}
            }
        }
        Weighed::Awaits
    }

    /// The peer of a pull has said what another node denies.
    fn denied(&mut self, turn: &mut Turn<'_>, stream: &mut Stream, writer: ReplicaId, seq: u64) {
        let Some(peer) = self.sync(stream.name()).map(|sync| sync.peer) else { return };
        let (shown, word) = (stream.shown(), stream.target(writer).map_or(0, Target::word));
        turn.lie(peer, &format!("denied {peer:?} {writer:?} {shown}"), || {
            format!(
                "function {shown}: peer {:016x} says that writer {:016x} has made {seq} events, and that \
                 node itself says {word}: the peer is not believed",
                peer.0, writer.0
            )
        });
        self.distrust(turn, stream, peer);
    }

    /// The peer of a pull speaks of more writers than are taken. It may only pass on what another has
    /// invented: that is no reason to end its link.
    fn knows_too_many(&mut self, turn: &mut Turn<'_>, stream: &mut Stream, peer: ReplicaId) {
        turn.warn_seldom(&format!("writers {peer:?}"), || {
            format!(
                "function {}: peer {:016x} knows more writers than are taken: its sync is given up",
                stream.shown(),
                peer.0
            )
        });
        self.distrust(turn, stream, peer);
    }

    /// Gives up a pull, and pulls nothing from its peer for some time.
    fn distrust(&mut self, turn: &mut Turn<'_>, stream: &mut Stream, peer: ReplicaId) {
        stream.distrust(peer, turn.now() + DISTRUST);
        if let Some(sync) = self.sync_mut(stream.name()) {
            // It is not asked for again either.
            let asked = sync.asked.take().and_then(|asked| self.asked.get_mut(&asked));
            asked.into_iter().for_each(|asked| asked.left = asked.left.saturating_sub(1));
        }
        self.give_up(turn, stream);
        self.end_asked(turn);
    }

    /// A peer has said more of its own events: a pull may have waited for that.
    pub(super) fn word_came(
        &mut self,
        turn: &mut Turn<'_>,
        stream: &mut Stream,
    ) -> Result<(), Fault> {
        let waits = self.sync(stream.name()).is_some_and(|sync| sync.doubts.since.is_some());
        if waits { self.try_finish(turn, stream) } else { Ok(()) }
    }

    /// Nothing has come of a pull, or of the questions that it waits for, for as long as that may take.
    pub(super) fn timed_out(&mut self, turn: &mut Turn<'_>, stream: &mut Stream) {
        let Some(sync) = self.sync_mut(stream.name()) else { return };
        if sync.doubts.since.is_none() {
            return self.give_up(turn, stream);
        }
        sync.doubts.are_over = true;
        if self.try_finish(turn, stream).is_err() {
            self.give_up(turn, stream);
        }
    }

    /// Ends a pull without its end; another is tried later.
    pub(super) fn give_up(&mut self, turn: &mut Turn<'_>, stream: &mut Stream) {
        let Some(of) = self.functions.get_mut(stream.name()) else { return };
        let Some(sync) = of.sync.take() else { return };
        stream.now_unsure();
        // Each node at its own time, so that those that were told to wait do not come back together.
        let spread = (turn.own().0 ^ sync.id) % 200;
        of.retry_at = Some(turn.now() + Duration::from_millis(100 + spread));
        if let Some(asked) = sync.asked {
            of.asked.push_back((asked, sync.peer));
        }
        // Nothing of it was wrong, so what waited for its end can go on.
        let advanced = stream.advance(turn);
        debug_assert!(advanced.is_ok() || cfg!(not(debug_assertions)), "{advanced:?}");
    }

    /// A peer is gone or does not run the function any more. What else the function waited for of it:
    /// [`Stream::lost`].
    pub(super) fn lost_peer(&mut self, turn: &mut Turn<'_>, stream: &mut Stream, peer: ReplicaId) {
        if let Some(of) = self.functions.get_mut(stream.name()) {
            let asked = &mut self.asked;
            of.asked.retain(|(id, with)| {
                let kept = *with != peer;
                if !kept && let Some(asked) = asked.get_mut(id) {
                    asked.left = asked.left.saturating_sub(1);
                }
                kept
            });
            if of.sync.as_ref().is_some_and(|sync| sync.peer == peer) {
                self.give_up(turn, stream);
            }
        }
        self.end_asked(turn);
    }

    /// Begins the next comparison that was asked for.
    pub(super) fn compare_as_asked(&mut self, turn: &mut Turn<'_>, stream: &Stream) {
        let Some(of) = self.functions.get_mut(stream.name()) else { return };
        if let Some((id, peer)) = of.asked.pop_front()
            && self.asked.contains_key(&id)
        {
            self.begin(turn, stream, peer, Want::Different(Some(id)));
        }
    }

    /// Tries again after a pull that failed.
    pub(super) fn retry(&mut self, turn: &mut Turn<'_>, stream: &mut Stream) {
        if let Some(of) = self.functions.get_mut(stream.name()) {
            of.retry_at = None;
        }
        self.compare_with_all(turn, stream);
    }

    /// The functions of whose pulls parts have come since this was asked last.
    pub(super) fn take_owed(&mut self) -> BTreeSet<Bytes> {
        std::mem::take(&mut self.owed)
    }

    /// Tells the peer of a pull how much of it is taken.
    pub(super) fn tell_taken(&self, turn: &mut Turn<'_>, stream: &Stream) {
        let function = stream.name().clone();
        // One that has just begun in the place of another has taken nothing yet.
        if let Some(sync) = self.sync(&function).filter(|sync| sync.part > 0)
            && let Some(link) = stream.link(sync.peer)
        {
            let pull = Pull { function, id: sync.id, taken: sync.part, ..Pull::default() };
            turn.send(link, Body::Pull(pull));
        }
    }

    /// Everything is to be compared, for an [`crate::Ask::Sync`]: [`Pulls::ask_of`] says of which
    /// functions.
    pub(super) fn ask(&mut self, id: AskId, until: Time) {
        self.asked.insert(id, Asked { repaired: 0, left: 0, until });
    }

    /// A function is to be compared with each peer.
    pub(super) fn ask_of(&mut self, id: AskId, stream: &Stream) {
        let Some(asked) = self.asked.get_mut(&id).filter(|_| stream.carries()) else { return };
        let peers: Vec<ReplicaId> = stream.reachable().map(|(peer, _)| peer).collect();
        asked.left += peers.len();
        let of = self.functions.entry(stream.name().clone()).or_default();
        of.asked.extend(peers.into_iter().map(|peer| (id, peer)));
    }

    /// Answers the questions whose comparisons are over.
    pub(super) fn end_asked(&mut self, turn: &mut Turn<'_>) {
        self.asked.retain(|id, asked| {
            let over = asked.left == 0 || asked.until <= turn.now();
            if over {
                turn.answer(*id, Answer::Count(asked.repaired));
            }
            !over
        });
    }

    /// Takes an object that was fetched, on touch or for a comparison.
    pub(super) fn on_fetched(
        &mut self,
        turn: &mut Turn<'_>,
        stream: &mut Stream,
        peer: ReplicaId,
        fetched: &Fetched,
    ) -> Result<(), Fault> {
        if fetched.found {
            let message = payload::expand(&fetched.changes, fetched.size)?;
            stream.function().take_from(peer);
            stream.function().join_changes(&message).map_err(refused)?;
            stream.now_unsure();
        }
        if let Some(sync) = self.sync_mut(&fetched.function)
            && let Some(comparing) = &mut sync.buckets
        {
            let again = sync.peer == peer && comparing.awaited.remove(&fetched.id);
            if !again && fetched.found {
                comparing.again.insert(fetched.object.clone());
            }
        }
        stream.fetched(turn, fetched.id, peer);
        self.try_finish(turn, stream)
    }
}

/// Joins a part of what is newer; how many values it changed.
fn join_changes(function: &Function, state: &State, message: &Bytes) -> Result<usize, Refused> {
    let joined = if state.last > 0 {
        function.join_removals(ReplicaId(state.origin), state.last, message)
    } else {
        function.join_changes(message)
    };
    Ok(joined?.changed)
}

/// What a peer says that is known. No other node knows more of this node's events than it has told.
fn of_others(
    turn: &Turn<'_>,
    stream: &Stream,
    vector: Option<&peer::Vector>,
) -> Result<Vector, Fault> {
    let (own, sent) = (turn.own(), stream.function().sent());
    let vector = payload::read_vector(vector)?.into_iter();
    Ok(vector.map(|(of, seq)| (of, if of == own { seq.min(sent) } else { seq })).collect())
}

impl Comparing {
    /// Takes a part of buckets that differ; how many values it changed.
    fn on_buckets(
        &mut self,
        function: &Function,
        state: &State,
        message: &Bytes,
    ) -> Result<usize, Refused> {
        let (joined, any_here) = function.join_part(message, &mut self.named)?;
        if any_here {
            self.again_whole.push((state.changes.clone(), state.size));
        }
        Ok(joined.changed)
    }

    /// Fetches again the objects that were fetched from others meanwhile.
    fn fetch_again(&mut self, turn: &mut Turn<'_>, name: &Bytes, link: Option<LinkId>) {
        for object in std::mem::take(&mut self.again) {
            let id = turn.next_id();
            self.awaited.insert(id);
            if let Some(link) = link {
                let fetch = Fetch { function: name.clone(), id, object, name: None };
                turn.send(link, Body::Fetch(fetch));
            }
        }
    }

    /// Joins what counts at the end, and drops what the peer has seen go; how many values changed.
    fn finish(&mut self, function: &Function) -> Result<usize, Fault> {
        let mut repaired = 0;
        for (changes, size) in std::mem::take(&mut self.again_whole) {
            let message = payload::expand(&changes, size)?;
            let joined = function.join_whole(&self.vector, &message).map_err(refused)?;
            repaired += joined.changed;
        }
        let buckets = Buckets { of: self.of, which: std::mem::take(&mut self.which) };
        let dropped = function.drop_unnamed(&self.vector, &buckets, &self.named);
        Ok(repaired + dropped.map_err(refused)?)
    }
}

/// Fetches an object, or a name of it, from all peers that have some of the function, or may. Whether there is any to
/// ask, and anything that may have to be waited for.
pub(super) fn fetch(
    turn: &mut Turn<'_>,
    stream: &mut Stream,
    id: AskId,
    (object, name): (Bytes, Option<Bytes>),
    until: Time,
) -> bool {
    let (from, links) = stream.sources(turn);
    if from.is_empty() {
        return false;
    }
    turn.counts().fetches += 1;
    let fetch = Fetch { function: stream.name().clone(), id: id.0, object, name };
    let frame = peer::frame(Body::Fetch(fetch));
    stream.fetch(Fetching { id, until, from, frame: frame.clone() });
    turn.send_frame(links, frame);
    true
}

/// Answers a peer's fetch. `stream`: the function, if it is known here.
pub(super) fn on_fetch(
    turn: &mut Turn<'_>,
    stream: Option<&Stream>,
    peer: ReplicaId,
    fetch: &Fetch,
) {
    let Some(link) = turn.peers().link(peer) else { return };
    let export =
        |stream: &Stream| stream.function().export_object(&fetch.object, fetch.name.as_deref());
    let found = stream.and_then(export);
    let is_found = found.is_some();
    let (changes, size) = payload::shrink(found.unwrap_or_default());
    let fetched = Fetched {
        function: fetch.function.clone(),
        id: fetch.id,
        found: is_found,
        changes,
        size,
        object: fetch.object.clone(),
    };
    turn.send(link, Body::Fetched(fetched));
}
