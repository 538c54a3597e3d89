//! Retirement (`semantics.md` 3.5): one node takes over what writers have counted that will never
//! count again, so that their entries can go. See [`miso_store::Retirement`] for what that does.
//!
//! It begins when a person says MISO.FORGET. A node that wants to take over asks *all* nodes that are
//! not forgotten, and does so only once each has granted it and it knows all that each knows. So two
//! can never both do it: each needs the other's grant, a node grants nothing while it wants the same,
//! and once it has taken over, its grant says so. Nobody's clock is trusted for that. Who grants lets
//! no deletes happen until it has seen the taking over, for a bounded time: a delete that did not see
//! it would leave behind what it had just deleted.
//!
//! A node that is away holds it all back, until it comes or is forgotten itself. One that was forgotten
//! and comes back with events that nobody else had seen stays apart: what it counted was taken over, and
//! would count twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use miso_protocol::peer::message::Body;
use miso_protocol::peer::{self, Grant, Retire, Retired};
use miso_store::crdt::{ReplicaId, SEQ_MAX};
use miso_store::{Function, Retirement, Vector};

use crate::replicator::{Replicator, Stream, refused};
use crate::{Effect, Fault, LinkId, Note, Time, payload};

/// A round that has not come to its end by then is given up.
const ROUND: Duration = Duration::from_secs(5);

/// Who has granted a round lets deletes happen again by then: longer than a round, and than its end
/// takes to arrive.
const FREEZE: Duration = Duration::from_secs(10);

/// How often it is looked whether the deletes have run that were let through before a freeze.
const LOOK: Duration = Duration::from_millis(1);

/// How soon a round that failed is tried again, and how soon other nodes try than the one that was told.
const RETRY: Duration = Duration::from_secs(3);

/// Each time that rounds end because something does not come, the next begin twice as late, so many
/// times at most: deletes wait while one lasts.
const DOUBLED: u32 = 7;

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

/// A round of somebody else's, to which this node has agreed.
#[derive(Debug)]
struct Frozen {
    by: ReplicaId,
    round: u64,
    /// When it is granted; none once it is.
    grant_at: Option<Time>,
    /// The event by which it was taken over, once that is told.
    over: Option<(ReplicaId, u64)>,
    until: Time,
}

/// What a node knows of retirement.
#[derive(Debug, Default)]
pub(crate) struct Retiring {
    /// Incarnations that will never write again: a person has said so.
    forgotten: BTreeSet<ReplicaId>,
    rounds: BTreeMap<Bytes, Round>,
    frozen: BTreeMap<Bytes, Frozen>,
    /// When rounds are to begin.
    begin_at: Option<Time>,
    /// How often in a row rounds have ended because something did not come.
    failed: u32,
    /// Whom they wait for, as was said last.
    waits_for: Vec<String>,
}

impl Retiring {
    /// Somebody lives.
    fn lives(&mut self, replica: ReplicaId) {
        self.forgotten.remove(&replica);
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        let rounds = self.rounds.values().map(|round| round.until);
        let frozen = self.frozen.values().map(|frozen| frozen.grant_at.unwrap_or(frozen.until));
        rounds.chain(frozen).chain(self.begin_at).min()
    }

    /// Those whom a round is to retire. Where anybody's counts were or are to be taken over, that is
    /// everybody who was forgotten, also who is not known to have written: it is not asked, and may
    /// itself have taken over when it was cut off. Then nothing of that may ever be let in.
    fn wanted(&self, function: &Function) -> Vec<ReplicaId> {
        let here = function.unretired(&self.forgotten);
        let met = here.iter().any(|(_, last)| *last > 0);
        if !met && function.retired_count() == 0 {
            return Vec::new();
        }
        here.iter().map(|(id, _)| *id).take(WRITERS).collect()
    }
}

impl Replicator {
    /// A person has said that this incarnation will never write again.
    pub fn retire(&mut self, now: Time, replica: ReplicaId, here: bool) {
        if replica == ReplicaId(0) || replica == self.config.replica {
            return;
        }
        let room = here || self.retiring.forgotten.len() < WRITERS;
        let new = room && self.retiring.forgotten.insert(replica);
        // The node that was told goes first, so that seldom two want the same.
        let at = if here { now } else { now + self.retry_delay() };
        if here || new {
            self.retiring.failed = 0;
            self.retiring.begin_at = Some(self.retiring.begin_at.map_or(at, |begin| begin.min(at)));
        }
    }

    /// A function begins to run here: what forgotten nodes have counted in it is to be taken over, too.
    pub(crate) fn retire_in_new(&mut self, now: Time) {
        if !self.retiring.forgotten.is_empty() {
            let at = now + self.retry_delay();
            self.retiring.begin_at = Some(self.retiring.begin_at.map_or(at, |begin| begin.min(at)));
        }
    }

    fn retry_delay(&self) -> Duration {
        RETRY * (1 << self.retiring.failed.min(DOUBLED))
            + Duration::from_millis(self.config.replica.0 % 1_000)
    }

    /// Whether [`Replicator::begin_rounds`] is due.
    #[must_use]
    pub fn wants_to_retire(&self, now: Time) -> bool {
        self.retiring.begin_at.is_some_and(|at| at <= now)
    }

    /// Begins rounds for the functions that run here. `others`: all nodes but this one of which nobody
    /// has said that they do not come back, their names and incarnations.
    pub fn begin_rounds(&mut self, now: Time, others: &[(&str, ReplicaId)], out: &mut Vec<Effect>) {
        self.retiring.begin_at = None;
        let living: BTreeSet<ReplicaId> = others.iter().map(|(_, id)| *id).collect();
        living.iter().for_each(|id| self.retiring.lives(*id));
        let wanting = self.streams.iter().filter(|(_, stream)| stream.runs);
        let wanting: Vec<(Bytes, Vec<ReplicaId>)> = wanting
            .map(|(name, stream)| (name.clone(), self.retiring.wanted(&stream.function)))
            .filter(|(_, writers)| !writers.is_empty())
            .collect();
        if wanting.is_empty() {
            return;
        }
        // Whoever leads a round meanwhile may not come to its end.
        self.retiring.begin_at = Some(now + self.retry_delay());
        let idle = |(name, _): &(Bytes, Vec<ReplicaId>)| {
            let (rounds, frozen) = (&self.retiring.rounds, &self.retiring.frozen);
            let busy = rounds.contains_key(name) || frozen.contains_key(name);
            !busy && self.streams[name].is_settled()
        };
        let work: Vec<(Bytes, Vec<ReplicaId>)> = wanting.into_iter().filter(idle).collect();
        if work.is_empty() {
            return;
        }
        let link = |id: &ReplicaId| self.peers.get(id).and_then(|peer| peer.link);
        let away: Vec<String> = others
            .iter()
            .filter(|(_, id)| link(id).is_none())
            .map(|(name, _)| (*name).to_owned())
            .collect();
        let links: Vec<LinkId> = others.iter().filter_map(|(_, id)| link(id)).collect();
        if !away.is_empty() {
            if self.retiring.waits_for != away {
                out.push(Effect::Note(Note::Warn(format!(
                    "what forgotten nodes have counted is taken over once these are here or are \
                     forgotten too: {}",
                    away.join(", ")
                ))));
                self.retiring.waits_for = away;
            }
            return;
        }
        for (name, writers) in work {
            self.next_id += 1;
            let id = self.next_id;
            let ask = Retire {
                function: name.clone(),
                round: id,
                writers: writers.iter().map(|id| id.0).collect(),
                over: false,
            };
            if !links.is_empty() {
                let frame = peer::frame(Body::Retire(ask));
                out.push(Effect::Send { links: links.clone(), frame });
            }
            let round = Round {
                id,
                writers,
                unanswered: living.clone(),
                known: BTreeMap::new(),
                until: now + ROUND,
            };
            self.retiring.rounds.insert(name.clone(), round);
            self.check_round(now, &name, out);
        }
    }

    /// Somebody wants to take over.
    pub(crate) fn on_retire(
        &mut self,
        now: Time,
        peer: ReplicaId,
        ask: &Retire,
        out: &mut Vec<Effect>,
    ) {
        let name = &ask.function;
        if ask.over {
            let is_it = |frozen: &Frozen| (frozen.by, frozen.round) == (peer, ask.round);
            if self.retiring.frozen.get(name).is_some_and(is_it) {
                self.thaw(name);
            }
            return;
        }
        let lives = |id: &u64| {
            let id = ReplicaId(*id);
            id == self.config.replica || self.peers.get(&id).is_some_and(|peer| peer.link.is_some())
        };
        let living: Vec<u64> = ask.writers.iter().copied().filter(lives).collect();
        let other = self.retiring.frozen.get(name).is_some_and(|frozen| frozen.by != peer);
        // Of two that want the same the smaller gets it.
        let mine = self.retiring.rounds.contains_key(name) && self.config.replica < peer;
        let known = self.streams.contains_key(name) || self.store.find(name).is_some();
        let unsettled = self.streams.get(name).is_some_and(|stream| !stream.is_settled());
        if !living.is_empty() || other || mine || unsettled {
            self.refuse_round(peer, ask, living, out);
            return;
        }
        if self.retiring.rounds.contains_key(name) {
            self.end_round(now, name, out);
        }
        if !known {
            let grant = Grant { function: name.clone(), round: ask.round, ..Grant::default() };
            self.answer(peer, grant, out);
            return;
        }
        self.stream(name).function.pause_deletes(true);
        let frozen = Frozen {
            by: peer,
            round: ask.round,
            grant_at: Some(now),
            over: None,
            until: now + FREEZE,
        };
        self.retiring.frozen.insert(name.clone(), frozen);
    }

    /// Refuses a round for now; `living` are those of its writers that are linked.
    pub(crate) fn refuse_round(
        &self,
        peer: ReplicaId,
        ask: &Retire,
        living: Vec<u64>,
        out: &mut Vec<Effect>,
    ) {
        let (function, round) = (ask.function.clone(), ask.round);
        self.answer(peer, Grant { function, round, refused: true, living, vector: None }, out);
    }

    fn answer(&self, peer: ReplicaId, grant: Grant, out: &mut Vec<Effect>) {
        if let Some(link) = self.peers.get(&peer).and_then(|peer| peer.link) {
            out.push(Effect::Send { links: vec![link], frame: peer::frame(Body::Grant(grant)) });
        }
    }

    fn thaw(&mut self, name: &Bytes) {
        self.retiring.frozen.remove(name);
        if let Some(stream) = self.streams.get(name) {
            stream.function.pause_deletes(false);
        }
    }

    pub(crate) fn on_grant(
        &mut self,
        now: Time,
        peer: ReplicaId,
        grant: &Grant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Fault> {
        let vector = payload::read_vector(grant.vector.as_ref())?;
        let Some(round) = self.retiring.rounds.get_mut(&grant.function) else { return Ok(()) };
        if round.id != grant.round {
            return Ok(());
        }
        if grant.refused {
            grant.living.iter().for_each(|id| self.retiring.lives(ReplicaId(*id)));
            self.end_round(now, &grant.function, out);
            return Ok(());
        }
        round.unanswered.remove(&peer);
        for (id, seq) in vector {
            let known = round.known.entry(id).or_default();
            *known = seq.max(*known);
        }
        self.check_round(now, &grant.function, out);
        Ok(())
    }

    fn end_round(&mut self, now: Time, name: &Bytes, out: &mut Vec<Effect>) {
        let Some(round) = self.retiring.rounds.remove(name) else { return };
        let over =
            Retire { function: name.clone(), round: round.id, writers: Vec::new(), over: true };
        self.tell_all(Body::Retire(over), out);
        let at = now + self.retry_delay();
        self.retiring.begin_at = Some(self.retiring.begin_at.map_or(at, |begin| begin.min(at)));
    }

    fn tell_all(&self, body: Body, out: &mut Vec<Effect>) {
        let links: Vec<LinkId> = self.peers.values().filter_map(|peer| peer.link).collect();
        if !links.is_empty() {
            out.push(Effect::Send { links, frame: peer::frame(body) });
        }
    }

    /// Takes over, if all have granted it and all is known here that they know.
    pub(crate) fn check_round(&mut self, now: Time, name: &Bytes, out: &mut Vec<Effect>) {
        let Some(round) = self.retiring.rounds.get(name) else { return };
        let known: Vector = round.known.iter().map(|(id, seq)| (*id, *seq)).collect();
        if now >= round.until {
            let lacks = self.streams.get(name).map_or(Vec::new(), |s| s.function.lacks(&known));
            let show = |id: &ReplicaId| format!("{:016x}", id.0);
            let silent: Vec<String> = round.unanswered.iter().map(show).collect();
            let lacks: Vec<String> = lacks.iter().map(|(id, _)| show(id)).collect();
            out.push(Effect::Note(Note::Warn(format!(
                "function {}: what forgotten nodes have counted was not taken over; no answer of: \
                 [{}], and known to others, but not here, are events of: [{}]",
                String::from_utf8_lossy(name),
                silent.join(", "),
                lacks.join(", ")
            ))));
            self.retiring.failed += 1;
            self.end_round(now, name, out);
            return;
        }
        let Some(stream) = self.streams.get_mut(name) else { return };
        let settled = stream.runs && stream.is_settled();
        if !round.unanswered.is_empty() || !settled || !stream.function.covers(&known) {
            return;
        }
        let function = stream.function.clone();
        let writers = function.unretired(&round.writers);
        self.retiring.rounds.remove(name);
        self.retiring.failed = 0;
        let names = function.adopt_counts(&writers);
        // Who hears of the retirement must have the taking over before it.
        (stream.dirty, stream.urgent) = (true, true);
        self.flush(now, name, out);
        let count = writers.len();
        let retirement = Retirement { by: (self.config.replica, function.seq()), writers };
        if function.retire(&retirement).is_ok() {
            function.collect();
            self.tell_all(Body::Retired(message(name.clone(), &retirement)), out);
            let shown = String::from_utf8_lossy(name).into_owned();
            out.push(Effect::Note(Note::Info(format!(
                "function {shown}: took over what {count} writers that are gone had counted under \
                 {names} names"
            ))));
        }
        self.schedule(now, name);
    }

    pub(crate) fn on_retired(
        &mut self,
        now: Time,
        peer: ReplicaId,
        retired: &Retired,
        out: &mut Vec<Effect>,
    ) -> Result<(), Fault> {
        let writers = payload::read_vector(retired.writers.as_ref())?;
        if retired.event > SEQ_MAX {
            return Err(Fault("malformed retirement".into()));
        }
        let name = &retired.function;
        if !self.streams.contains_key(name) && self.store.find(name).is_none() {
            return Ok(());
        }
        let (own, tidy_at) = (self.config.replica, now + self.config.word_delay);
        let stream = self.stream(name);
        let function = stream.function.clone();
        let beyond = writers.iter().find(|(id, last)| function.upto(*id) > *last);
        if let Some((id, last)) = beyond {
            let shown = String::from_utf8_lossy(name);
            let (id, has) = (id.0, function.upto(*id));
            out.push(Effect::Note(Note::Fatal(format!(
                "the cluster was told to forget writer {id:016x} (MISO.FORGET) when it had seen {last} of \
                 its events in function {shown}; this node has {has}. They would count twice, so it \
                 stays apart, and its data as they are; with an empty data directory it may come back"
            ))));
            return Ok(());
        }
        if writers.iter().any(|(id, _)| *id == own) {
            out.push(Effect::Note(Note::Outdated(
                "the cluster was told to forget this node's incarnation (MISO.FORGET)".into(),
            )));
            return Ok(());
        }
        let by = (ReplicaId(retired.by), retired.event);
        if function.retire(&Retirement { by, writers }).map_err(refused)? {
            stream.tidy_at.get_or_insert(tidy_at);
        }
        if let Some(frozen) = self.retiring.frozen.get_mut(name)
            && frozen.by == peer
            && frozen.by == by.0
        {
            frozen.over = Some(by);
        }
        self.thaw_if_over(name);
        self.schedule(now, name);
        Ok(())
    }

    /// Lets deletes happen again, if the taking over that they wait for is known here.
    pub(crate) fn thaw_if_over(&mut self, name: &Bytes) {
        let Some(over) = self.retiring.frozen.get(name).and_then(|frozen| frozen.over) else {
            return;
        };
        if self.streams.get(name).is_none_or(|stream| stream.function.covers(&[over])) {
            self.thaw(name);
        }
    }

    /// Tells a peer who is retired.
    pub(crate) fn tell_retired(stream: &Stream, peer: ReplicaId, out: &mut Vec<Effect>) {
        let Some(link) = stream.peers.get(&peer).and_then(|target| target.link) else { return };
        for retirement in stream.function.retirements() {
            let frame = peer::frame(Body::Retired(message(stream.name(), &retirement)));
            out.push(Effect::Send { links: vec![link], frame });
        }
    }

    /// A peer is here: it is not gone, whatever was said.
    pub(crate) fn retirement_met(&mut self, now: Time, peer: ReplicaId, out: &mut Vec<Effect>) {
        self.retiring.lives(peer);
        let wrong = self.retiring.rounds.iter().filter(|(_, r)| r.writers.contains(&peer));
        let wrong: Vec<Bytes> = wrong.map(|(name, _)| name.clone()).collect();
        wrong.iter().for_each(|name| self.end_round(now, name, out));
    }

    /// A peer is away: rounds that need it are given up.
    pub(crate) fn retirement_lost(&mut self, now: Time, peer: ReplicaId, out: &mut Vec<Effect>) {
        let waiting = self.retiring.rounds.iter().filter(|(_, r)| r.unanswered.contains(&peer));
        let lost: Vec<Bytes> = waiting.map(|(name, _)| name.clone()).collect();
        lost.iter().for_each(|name| self.end_round(now, name, out));
    }

    pub(crate) fn retirement_on_time(&mut self, now: Time, out: &mut Vec<Effect>) {
        let due = |frozen: &Frozen| frozen.grant_at.is_some_and(|at| at <= now);
        let granted = self.retiring.frozen.iter().filter(|(_, frozen)| due(frozen));
        let granted: Vec<Bytes> = granted.map(|(name, _)| name.clone()).collect();
        for name in granted {
            let stream = self.stream(&name);
            if stream.function.deletes_run() {
                if let Some(frozen) = self.retiring.frozen.get_mut(&name) {
                    frozen.grant_at = Some(now + LOOK);
                }
                continue;
            }
            (stream.dirty, stream.urgent) = (true, true);
            let vector = payload::vector(&stream.function.token());
            self.flush(now, &name, out);
            self.schedule(now, &name);
            let Some(frozen) = self.retiring.frozen.get_mut(&name) else { continue };
            frozen.grant_at = None;
            let (peer, round) = (frozen.by, frozen.round);
            let grant = Grant { function: name, round, vector: Some(vector), ..Grant::default() };
            self.answer(peer, grant, out);
        }
        let over = self.retiring.frozen.iter().filter(|(_, frozen)| frozen.until <= now);
        let over: Vec<Bytes> = over.map(|(name, _)| name.clone()).collect();
        over.iter().for_each(|name| self.thaw(name));
        let frozen: Vec<Bytes> = self.retiring.frozen.keys().cloned().collect();
        frozen.iter().for_each(|name| self.thaw_if_over(name));
        let rounds: Vec<Bytes> = self.retiring.rounds.keys().cloned().collect();
        rounds.iter().for_each(|name| self.check_round(now, name, out));
    }
}

fn message(function: Bytes, retirement: &Retirement) -> Retired {
    let (by, event) = retirement.by;
    let writers = Some(payload::vector(&retirement.writers));
    Retired { function, by: by.0, event, writers }
}
