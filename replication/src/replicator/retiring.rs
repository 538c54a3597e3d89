//! Retirement: one node adopts what writers have counted that will never count again, so that their
//! entries can go. See [`miso_store::Retirement`] for what that does.
//!
//! It begins when a person says MISO.FORGET. A node that wants to adopt asks *all* nodes that are not
//! forgotten, and does so only once each has granted it and it knows all that each knows. So two
//! can never both do it: each needs the other's grant, a node grants nothing while it wants the same,
//! and once it has adopted, its grant says so. No node's clock is trusted for that. A node that grants
//! pauses deletes until it has seen the adoption, for a bounded time: a delete that did not see
//! it would leave there what it had just deleted.
//!
//! A node that is away holds it all back, until it comes or is forgotten itself. One that was forgotten
//! and comes back with events that no other node had seen stays apart: what it counted was adopted, and
//! would count twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use miso_protocol::peer::message::Body;
use miso_protocol::peer::{Grant, Retire, Retired};
use miso_store::crdt::{ReplicaId, SEQ_MAX};
use miso_store::{Function, Retirement, Vector};

use super::stream::{Stream, Streams};
use super::turn::{Turn, refused};
use crate::{Fault, LinkId, Note, Time, payload};

/// A round that has not come to its end by then is given up.
const ROUND: Duration = Duration::from_secs(5);

/// A node that has granted a round resumes deletes by then: longer than a round, and than its end
/// takes to arrive.
const PAUSE: Duration = Duration::from_secs(10);

/// How often it is looked whether the deletes have run that were let through before a pause.
const LOOK: Duration = Duration::from_millis(1);

/// How soon a round that failed is tried again, and how much earlier the node that was told tries than
/// others.
const RETRY: Duration = Duration::from_secs(3);

/// Each time that rounds end because something does not come, the next begin twice as late, this many
/// times at most: deletes wait while one lasts.
const DOUBLED: u32 = 7;

/// In a function deletes are paused without an adoption for this long in this time, at most: a peer that
/// asks again and again must not keep them from happening.
const IN_VAIN: Duration = Duration::from_secs(60);
const IN_VAIN_EVERY: Duration = Duration::from_secs(600);

/// The most writers that one round retires, and that are remembered as gone.
const WRITERS: usize = 1 << 16;

/// A round that this node leads.
#[derive(Debug)]
struct Round {
    id: u64,
    /// Those to be retired.
    writers: Vec<ReplicaId>,
    /// The nodes that have not answered.
    unanswered: BTreeSet<ReplicaId>,
    /// What those know that have.
    known: BTreeMap<ReplicaId, u64>,
    until: Time,
}

/// Deletes are paused for a round that another node leads.
#[derive(Debug)]
struct Pause {
    by: ReplicaId,
    round: u64,
    /// When it is granted; none once it is.
    grant_at: Option<Time>,
    /// The event by which the counts were adopted, once that is told.
    adopted: Option<(ReplicaId, u64)>,
    begun: Time,
    until: Time,
}

/// What a node knows of retirement.
#[derive(Debug, Default)]
pub(super) struct Retiring {
    /// Incarnations that will never write again: a person has said so.
    forgotten: BTreeSet<ReplicaId>,
    rounds: BTreeMap<Bytes, Round>,
    pauses: BTreeMap<Bytes, Pause>,
    /// When rounds are to begin.
    begin_at: Option<Time>,
    /// How often in a row rounds have ended because something did not come.
    failed: u32,
    /// The nodes that they wait for, as was said last.
    waits_for: Vec<String>,
    /// It was said that this node is forgotten.
    is_forgotten: bool,
    /// By function: for how long deletes were paused lately without an adoption, and since when that is
    /// counted.
    in_vain: BTreeMap<Bytes, (Duration, Time)>,
}

/// A function for which a round can begin, and the writers that it retires.
pub(super) type Work = (Bytes, Vec<ReplicaId>);

impl Retiring {
    /// When a grant is due, deletes resume, or a round has failed.
    pub(super) fn next_at(&self) -> Option<Time> {
        let rounds = self.rounds.values().map(|round| round.until);
        let pauses = self.pauses.values().map(|pause| pause.grant_at.unwrap_or(pause.until));
        rounds.chain(pauses).min()
    }

    /// When rounds are to begin.
    pub(super) fn begin_at(&self) -> Option<Time> {
        self.begin_at
    }

    /// The functions with a round or a pause.
    pub(super) fn functions(&self) -> BTreeSet<Bytes> {
        self.rounds.keys().chain(self.pauses.keys()).cloned().collect()
    }

    fn begin_by(&mut self, at: Time) {
        self.begin_at = Some(self.begin_at.map_or(at, |begin| begin.min(at)));
    }

    fn retry_at(&self, turn: &Turn<'_>) -> Time {
        let delay = RETRY * (1 << self.failed.min(DOUBLED));
        turn.now() + delay + Duration::from_millis(turn.own().0 % 1_000)
    }

    /// A person has said that this incarnation will never write again, `here` or at another node.
    pub(super) fn forgotten(&mut self, turn: &Turn<'_>, replica: ReplicaId, here: bool) {
        if replica == ReplicaId(0) || replica == turn.own() {
            return;
        }
        let room = here || self.forgotten.len() < WRITERS;
        let new = room && self.forgotten.insert(replica);
        // The node that was told goes first, so that seldom two want the same.
        let at = if here { turn.now() } else { self.retry_at(turn) };
        if here || new {
            self.failed = 0;
            self.begin_by(at);
        }
    }

    /// A function begins to run here: what forgotten nodes have counted in it is to be adopted, too.
    pub(super) fn function_begins(&mut self, turn: &Turn<'_>) {
        if !self.forgotten.is_empty() {
            self.begin_by(self.retry_at(turn));
        }
    }

    /// Those that a round is to retire. Where any counts were or are to be adopted, that is every
    /// incarnation that was forgotten, also one that is not known to have written: it is not asked, and
    /// may itself have adopted when it was cut off. Then nothing of that may ever be let in.
    fn wanted(&self, function: &Function) -> Vec<ReplicaId> {
        let here = function.unretired(&self.forgotten);
        let met = here.iter().any(|(_, last)| *last > 0);
        if !met && function.retired_count() == 0 {
            return Vec::new();
        }
        here.iter().map(|(id, _)| *id).take(WRITERS).collect()
    }

    /// The functions for which rounds begin now: none while one of `others` is away, which are all
    /// nodes but this one that are not forgotten. `settled`: whether no sync of a function is awaited.
    pub(super) fn work(
        &mut self,
        turn: &mut Turn<'_>,
        streams: &Streams,
        others: &[(&str, ReplicaId)],
        settled: impl Fn(&Stream) -> bool,
    ) -> Vec<Work> {
        self.begin_at = None;
        for (_, id) in others {
            self.forgotten.remove(id);
        }
        let running = streams.iter().filter(|(_, stream)| stream.carries());
        let wanting: Vec<Work> = running
            .map(|(name, stream)| (name.clone(), self.wanted(stream.function())))
            .filter(|(_, writers)| !writers.is_empty())
            .collect();
        if wanting.is_empty() {
            return Vec::new();
        }
        // A node that leads a round meanwhile may not come to its end.
        self.begin_at = Some(self.retry_at(turn));
        let idle = |(name, _): &Work| {
            let busy = self.rounds.contains_key(name) || self.pauses.contains_key(name);
            !busy && streams.get(name).is_some_and(&settled)
        };
        let work: Vec<Work> = wanting.into_iter().filter(idle).collect();
        let away = others.iter().filter(|(_, id)| turn.peers().link(*id).is_none());
        let away: Vec<String> = away.map(|(name, _)| (*name).to_owned()).collect();
        if work.is_empty() || away.is_empty() {
            return work;
        }
        if self.waits_for != away {
            turn.note(Note::Warn(format!(
                "what forgotten nodes have counted is adopted once these are here or are forgotten \
                 too: {}",
                away.join(", ")
            )));
            self.waits_for = away;
        }
        Vec::new()
    }

    /// Begins a round: see [`Retiring::work`]. [`Retiring::check`] comes next.
    pub(super) fn begin(
        &mut self,
        turn: &mut Turn<'_>,
        (name, writers): Work,
        others: &[(&str, ReplicaId)],
    ) {
        let id = turn.next_id();
        let ask = Retire {
            function: name.clone(),
            round: id,
            writers: writers.iter().map(|id| id.0).collect(),
            over: false,
        };
        let links = others.iter().filter_map(|(_, id)| turn.peers().link(*id));
        let links: Vec<LinkId> = links.collect();
        turn.send_frame(links, miso_protocol::peer::frame(Body::Retire(ask)));
        let round = Round {
            id,
            writers,
            unanswered: others.iter().map(|(_, id)| *id).collect(),
            known: BTreeMap::new(),
            until: turn.now() + ROUND,
        };
        self.rounds.insert(name, round);
    }

    /// A peer wants to adopt. `stream`: the function, if it is known here.
    pub(super) fn on_retire(
        &mut self,
        turn: &mut Turn<'_>,
        stream: Option<&Stream>,
        settled: bool,
        peer: ReplicaId,
        ask: &Retire,
    ) {
        let name = &ask.function;
        if ask.over {
            let is_it = |pause: &Pause| (pause.by, pause.round) == (peer, ask.round);
            if let Some(stream) = stream
                && self.pauses.get(name).is_some_and(is_it)
            {
                self.resume_in_vain(turn, stream);
            }
            return;
        }
        let lives =
            |id: &u64| ReplicaId(*id) == turn.own() || turn.peers().link(ReplicaId(*id)).is_some();
        let living: Vec<u64> = ask.writers.iter().copied().filter(lives).collect();
        let other = self.pauses.get(name).is_some_and(|pause| pause.by != peer);
        // Of two that want the same the smaller gets it.
        let mine = self.rounds.contains_key(name) && turn.own() < peer;
        if !living.is_empty() || other || mine || !settled || !self.may_pause(turn, name) {
            refuse(turn, peer, ask, living);
            return;
        }
        self.end_round(turn, name);
        let Some(stream) = stream else {
            let grant = Grant { function: name.clone(), round: ask.round, ..Grant::default() };
            answer(turn, peer, grant);
            return;
        };
        stream.function().pause_deletes(true);
        let pause = Pause {
            by: peer,
            round: ask.round,
            grant_at: Some(turn.now()),
            adopted: None,
            begun: turn.now(),
            until: turn.now() + PAUSE,
        };
        self.pauses.insert(name.clone(), pause);
    }

    /// Whether deletes may be paused once more, as far as they were paused in vain lately.
    fn may_pause(&mut self, turn: &mut Turn<'_>, name: &Bytes) -> bool {
        self.in_vain.retain(|_, (_, since)| turn.now().since(*since) < IN_VAIN_EVERY);
        let may = self.in_vain.get(name).is_none_or(|(paused, _)| *paused < IN_VAIN);
        if !may {
            turn.warn_seldom(&format!("pause {name:?}"), || {
                format!(
                    "function {}: peers have paused deletes for {IN_VAIN:?} without adopting counts: refused \
                     for some minutes",
                    name.escape_ascii()
                )
            });
        }
        may
    }

    /// Deletes happen again; nothing was adopted meanwhile.
    fn resume_in_vain(&mut self, turn: &Turn<'_>, stream: &Stream) {
        if let Some(pause) = self.pauses.get(stream.name()) {
            let (paused, _) =
                self.in_vain.entry(stream.name().clone()).or_insert((Duration::ZERO, turn.now()));
            *paused += turn.now().since(pause.begun);
        }
        self.resume(stream);
    }

    /// Deletes happen again.
    fn resume(&mut self, stream: &Stream) {
        self.pauses.remove(stream.name());
        stream.function().pause_deletes(false);
    }

    /// A peer grants a round, or refuses it. [`Retiring::check`] comes next.
    pub(super) fn on_grant(
        &mut self,
        turn: &mut Turn<'_>,
        peer: ReplicaId,
        grant: &Grant,
    ) -> Result<(), Fault> {
        let vector = payload::read_vector(grant.vector.as_ref())?;
        let Some(round) = self.rounds.get_mut(&grant.function) else { return Ok(()) };
        if round.id != grant.round {
            return Ok(());
        }
        if grant.refused {
            for id in &grant.living {
                self.forgotten.remove(&ReplicaId(*id));
            }
            self.end_round(turn, &grant.function);
            return Ok(());
        }
        round.unanswered.remove(&peer);
        for (id, seq) in vector {
            let known = round.known.entry(id).or_default();
            *known = seq.max(*known);
        }
        Ok(())
    }

    fn end_round(&mut self, turn: &mut Turn<'_>, name: &Bytes) {
        let Some(round) = self.rounds.remove(name) else { return };
        let over =
            Retire { function: name.clone(), round: round.id, writers: Vec::new(), over: true };
        turn.send_all(Body::Retire(over));
        self.begin_by(self.retry_at(turn));
    }

    /// Goes on with what concerns a function: grants, adopts, gives up, resumes deletes, as far as its
    /// time has come.
    pub(super) fn check(&mut self, turn: &mut Turn<'_>, stream: &mut Stream, settled: bool) {
        self.grant_if_due(turn, stream);
        let name = stream.name();
        if self.pauses.get(name).is_some_and(|pause| pause.until <= turn.now()) {
            self.resume_in_vain(turn, stream);
        }
        self.resume_if_adopted(stream);
        self.adopt_if_granted(turn, stream, settled);
    }

    /// Grants a round once the deletes have run that were let through before the pause.
    fn grant_if_due(&mut self, turn: &mut Turn<'_>, stream: &mut Stream) {
        let Some(pause) = self.pauses.get_mut(stream.name()) else { return };
        if pause.grant_at.is_none_or(|at| at > turn.now()) {
            return;
        }
        if stream.function().deletes_run() {
            pause.grant_at = Some(turn.now() + LOOK);
            return;
        }
        pause.grant_at = None;
        stream.wrote(true);
        let vector = payload::vector(&stream.function().token());
        stream.flush(turn);
        let (function, round) = (stream.name().clone(), pause.round);
        let grant = Grant { function, round, vector: Some(vector), ..Grant::default() };
        answer(turn, pause.by, grant);
    }

    /// Resumes deletes, if the adoption that they wait for is known here.
    fn resume_if_adopted(&mut self, stream: &Stream) {
        let adopted = self.pauses.get(stream.name()).and_then(|pause| pause.adopted);
        if adopted.is_some_and(|event| stream.function().covers(&[event])) {
            self.resume(stream);
        }
    }

    /// Adopts, if all have granted it and all is known here that they know.
    fn adopt_if_granted(&mut self, turn: &mut Turn<'_>, stream: &mut Stream, settled: bool) {
        let name = stream.name().clone();
        let Some(round) = self.rounds.get(&name) else { return };
        let known: Vector = round.known.iter().map(|(id, seq)| (*id, *seq)).collect();
        if turn.now() >= round.until {
            round.note_failure(turn, stream, &known);
            self.failed += 1;
            self.end_round(turn, &name);
            return;
        }
        let ready = round.unanswered.is_empty() && stream.carries() && settled;
        if !ready || !stream.function().covers(&known) {
            return;
        }
        let function = stream.function().clone();
        let writers = function.unretired(&round.writers);
        self.rounds.remove(&name);
        self.failed = 0;
        let names = function.adopt_counts(&writers);
        // A node that hears of the retirement must have the adoption before it.
        stream.wrote(true);
        stream.flush(turn);
        let count = writers.len();
        let retirement = Retirement { by: (turn.own(), function.seq()), writers };
        if function.retire(&retirement).is_ok() {
            function.collect();
            turn.send_all(Body::Retired(payload::retired(name, &retirement)));
            turn.note(Note::Info(format!(
                "function {}: adopted what {count} writers that are gone had counted under {names} \
                 names",
                stream.shown()
            )));
        }
    }

    /// Writers are retired. [`Retiring::check`] comes next.
    pub(super) fn on_retired(
        &mut self,
        turn: &mut Turn<'_>,
        stream: &mut Stream,
        peer: ReplicaId,
        retired: &Retired,
    ) -> Result<(), Fault> {
        let writers = payload::read_vector(retired.writers.as_ref())?;
        if retired.event > SEQ_MAX {
            return Err(Fault("malformed retirement".into()));
        }
        let function = stream.function().clone();
        let beyond = writers.iter().find(|(id, last)| function.upto(*id) > *last);
        if let Some((id, last)) = beyond {
            let key = format!("apart {}", stream.shown());
            turn.conflict(&key, || {
                format!(
                "the cluster was told to forget writer {:016x} (MISO.FORGET) when it had seen {last} of \
                 its events in function {}; this node has {}. They would count twice, so it \
                 stays apart, and its data as they are; with an empty data directory it may come back",
                id.0,
                stream.shown(),
                function.upto(*id)
                )
            });
            return Ok(());
        }
        if writers.iter().any(|(id, _)| *id == turn.own()) {
            if !std::mem::replace(&mut self.is_forgotten, true) {
                turn.note(Note::Forgotten(
                    "the cluster was told to forget this node's incarnation (MISO.FORGET): peers take \
                     nothing more from it; start it anew, as another"
                        .into(),
                ));
            }
            return Ok(());
        }
        function.take_from(peer);
        let by = (ReplicaId(retired.by), retired.event);
        if function.retire(&Retirement { by, writers }).map_err(refused)? {
            stream.tidy_soon(turn);
        }
        if let Some(pause) = self.pauses.get_mut(&retired.function)
            && pause.by == peer
            && pause.by == by.0
        {
            pause.adopted = Some(by);
        }
        Ok(())
    }

    /// A peer is here: it is not gone, whatever was said.
    pub(super) fn met(&mut self, turn: &mut Turn<'_>, peer: ReplicaId) {
        self.forgotten.remove(&peer);
        self.end_rounds(turn, |round| round.writers.contains(&peer));
    }

    /// A peer is away: rounds that need it are given up.
    pub(super) fn lost(&mut self, turn: &mut Turn<'_>, peer: ReplicaId) {
        self.end_rounds(turn, |round| round.unanswered.contains(&peer));
    }

    fn end_rounds(&mut self, turn: &mut Turn<'_>, which: impl Fn(&Round) -> bool) {
        let ended = self.rounds.iter().filter(|(_, round)| which(round));
        let ended: Vec<Bytes> = ended.map(|(name, _)| name.clone()).collect();
        ended.iter().for_each(|name| self.end_round(turn, name));
    }
}

impl Round {
    fn note_failure(&self, turn: &mut Turn<'_>, stream: &Stream, known: &Vector) {
        let show = |id: &ReplicaId| format!("{:016x}", id.0);
        let silent: Vec<String> = self.unanswered.iter().map(show).collect();
        let lacks = stream.function().lacks(known);
        let lacks: Vec<String> = lacks.iter().map(|(id, _)| show(id)).collect();
        turn.note(Note::Warn(format!(
            "function {}: what forgotten nodes have counted was not adopted; no answer of: [{}], and \
             known to others, but not here, are events of: [{}]",
            stream.shown(),
            silent.join(", "),
            lacks.join(", ")
        )));
    }
}

/// Refuses a round for now; `living` are those of its writers that are linked.
pub(super) fn refuse(turn: &mut Turn<'_>, peer: ReplicaId, ask: &Retire, living: Vec<u64>) {
    let (function, round) = (ask.function.clone(), ask.round);
    answer(turn, peer, Grant { function, round, refused: true, living, vector: None });
}

fn answer(turn: &mut Turn<'_>, peer: ReplicaId, grant: Grant) {
    if let Some(link) = turn.peers().link(peer) {
        turn.send(link, Body::Grant(grant));
    }
}
