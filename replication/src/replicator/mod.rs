//! The replicator: streams of changes to the nodes that run the same function, and the syncs that
//! repair what streams cannot.
//!
//! Each node is the origin of one stream per function: batches that each hold all of its events of
//! an interval. A batch is encoded once for all peers, kept until they have acknowledged it, and sent
//! again after a reconnect; past a limit of bytes it is dropped, and a node that lacks it *pulls*.
//! *Summaries* say what a node has applied: they open a conversation, find gaps, and tell counters
//! which floors may be forgotten.
//!
//! This file keeps the functions' streams and the one table of timers. What has a course of its own is
//! a machine with its own state: `pull::Pulls` what this node pulls, `export::Exports` what others
//! pull from it, `retiring::Retiring` and `ending::Endings`. Each is handed a stream and a turn,
//! and leaves its wishes there.
//!
//! Nothing here is wrong if a message is lost, doubled, late or out of order; it is only slower.

mod batches;
mod config;
mod ending;
mod export;
mod first_read;
mod peers;
mod pull;
mod questions;
mod retiring;
mod stream;
mod target;
mod tending;
mod timers;
mod turn;
mod witness;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use miso_protocol::peer::message::Body;
use miso_protocol::peer::{Ack, Batch, Grant, Pull, Retire, Retired, State, Summary};
use miso_store::crdt::ReplicaId;
use miso_store::{Function, Store};

use self::ending::Endings;
use self::export::Exports;
use self::pull::Pulls;
use self::questions::{Await, Current, Wait};
use self::retiring::Retiring;
use self::stream::{Heard, Pulling, Stream, Streams};
use self::timers::{Due, Timers};
use self::turn::Common;
use crate::{Answer, Ask, AskId, Effect, Fault, FunctionView, LinkId, Time, payload};

pub use self::config::{Bugs, Config, Counts, Lag, PROPAGATION_BUCKETS, Propagation};

/// Streams, syncs and what is asked about them. See the module.
#[derive(Debug)]
pub struct Replicator {
    common: Common,
    streams: Streams,
    timers: Timers,
    /// The functions with intervals of their own.
    intervals: BTreeMap<Bytes, Duration>,
    pulls: Pulls,
    exports: Exports,
    retiring: Retiring,
    endings: Endings,
    /// When what goes once all have heard of it is looked after next.
    tend_at: Time,
    /// The nodes that were there then, and how often in a row they were the same and all linked.
    here: Vec<ReplicaId>,
    calm: u32,
    /// Whether a link has gone since the endings were looked at.
    lost_a_link: bool,
}

impl Replicator {
    /// Replicates `store`, which is tracked from now on.
    #[must_use]
    pub fn new(store: Arc<Store>, config: Config) -> Replicator {
        Replicator {
            common: Common::new(store, config),
            streams: Streams::new(),
            timers: Timers::default(),
            intervals: BTreeMap::new(),
            pulls: Pulls::default(),
            exports: Exports::default(),
            retiring: Retiring::default(),
            endings: Endings::default(),
            tend_at: Time::default(),
            here: Vec::new(),
            calm: 0,
            lost_a_link: false,
        }
    }

    /// What has been done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.common.counts()
    }

    /// What a peer lacks of this node's own events.
    #[must_use]
    pub fn lag(&self, now: Time, peer: ReplicaId) -> Lag {
        let mut lag = Lag::default();
        self.streams.values().for_each(|stream| stream.add_lag(peer, now, &mut lag));
        lag
    }

    // Settings.

    /// Sets how long a function's changes are gathered, or all functions' that have no value of
    /// their own.
    pub fn set_interval(&mut self, function: Option<Bytes>, interval: Option<Duration>) {
        match (function, interval) {
            (None, Some(interval)) => self.common.config_mut().interval = interval,
            (None, None) => {}
            (Some(name), interval) => {
                if let Some(stream) = self.streams.get_mut(&name) {
                    stream.set_interval(interval);
                }
                match interval {
                    Some(interval) => _ = self.intervals.insert(name, interval),
                    None => _ = self.intervals.remove(&name),
                }
            }
        }
        // What waits already waits by the new interval.
        self.schedule_all();
    }

    /// Sets how long at least passes between flushes of a function, because the machine or peers
    /// cannot keep up with more.
    pub fn set_pace(&mut self, pace: Duration) {
        self.common.set_pace(pace);
        // What waits already waits by the new pace.
        let dirty = self.streams.iter().filter(|(_, stream)| stream.is_dirty());
        let names: Vec<Bytes> = dirty.map(|(name, _)| name.clone()).collect();
        names.iter().for_each(|name| self.schedule(name));
    }

    /// Sets how many bytes of syncs a peer is sent in a second; 0: no limit.
    pub fn set_sync_rate(&mut self, bytes: u64) {
        self.common.config_mut().sync_rate = bytes;
        self.exports.reset_rate();
    }

    // Peers.

    /// A link to a peer is open.
    pub fn peer_up(&mut self, now: Time, peer: ReplicaId, link: LinkId, out: &mut Vec<Effect>) {
        // From the first peer on, changes are worth gathering.
        self.common.store().track();
        let functions = self.common.peers_mut().up(peer, link);
        let turn = &mut self.common.turn(now, out);
        self.retiring.met(turn, peer);
        self.streams.values_mut().for_each(|stream| stream.peer_up(turn, peer, link));
        let asking = self.streams.iter().filter(|(_, stream)| stream.restoring());
        let asking: Vec<Bytes> = asking.map(|(name, _)| name.clone()).collect();
        asking.iter().for_each(|name| self.schedule(name));
        for function in functions {
            self.meet(now, peer, &function, out);
        }
    }

    /// The link is gone; the peer may come back.
    pub fn peer_down(&mut self, now: Time, peer: ReplicaId, out: &mut Vec<Effect>) {
        self.common.peers_mut().down(peer);
        self.exports.lost_peer(peer);
        let turn = &mut self.common.turn(now, out);
        for stream in self.streams.values_mut() {
            stream.disconnect(peer);
            self.pulls.lost_peer(turn, stream, peer);
        }
        self.retiring.lost(turn, peer);
        self.schedule_all();
        self.lost_a_link = true;
    }

    /// What is waited for may have been due from a peer whose link is gone. Asked only once all links are
    /// known that came meanwhile: a link that replaces another is no loss, and its peer is waited for.
    pub fn check_lost(&mut self, now: Time, out: &mut Vec<Effect>) {
        if std::mem::take(&mut self.lost_a_link) {
            let turn = &mut self.common.turn(now, out);
            self.streams.values_mut().for_each(|stream| stream.lost(turn));
            self.schedule_all();
            self.check_endings(now, out);
        }
    }

    /// The peer does not come back under this identity.
    pub fn peer_gone(&mut self, now: Time, peer: ReplicaId, out: &mut Vec<Effect>) {
        self.peer_down(now, peer, out);
        self.common.peers_mut().gone(peer);
        let turn = &mut self.common.turn(now, out);
        self.streams.values_mut().for_each(|stream| stream.forget(turn, peer));
    }

    /// The peer carries these functions, and no others.
    pub fn peer_runs(
        &mut self,
        now: Time,
        peer: ReplicaId,
        functions: &BTreeSet<Bytes>,
        out: &mut Vec<Effect>,
    ) {
        let (ended, begun) = self.common.peers_mut().told(peer, functions);
        for name in ended {
            let turn = &mut self.common.turn(now, out);
            if let Some(stream) = self.streams.get_mut(&name)
                && stream.peer_ended(turn, peer)
            {
                self.pulls.lost_peer(turn, stream, peer);
                stream.lost(turn);
                self.schedule(&name);
            }
        }
        for name in begun {
            self.meet(now, peer, &name, out);
        }
        self.check_drained(now, out);
    }

    /// A peer carries a function: if there is anything of it here, say what is known.
    fn meet(&mut self, now: Time, peer: ReplicaId, name: &Bytes, out: &mut Vec<Effect>) {
        if !self.find_stream(name) {
            return;
        }
        if let Some(stream) = self.streams.get_mut(name) {
            stream.meet(&mut self.common.turn(now, out), peer);
        }
        self.schedule(name);
    }

    // Functions.

    /// This node does not run other functions than these any more. What no other node has of one that
    /// ends it keeps running a while for its peers, until one of them has it: see
    /// [`Replicator::draining`].
    pub fn ends(&mut self, now: Time, functions: &BTreeSet<Bytes>, out: &mut Vec<Effect>) {
        let ends =
            |(name, stream): &(&Bytes, &Stream)| stream.carries() && !functions.contains(*name);
        let gone: Vec<Bytes> =
            self.streams.iter().filter(ends).map(|(name, _)| name.clone()).collect();
        for name in gone {
            if self.endings.ends_when_drained(&name) {
                continue;
            }
            let turn = &mut self.common.turn(now, out);
            let Some(stream) = self.streams.get_mut(&name) else { continue };
            // What peers have not heard yet, they hear now.
            stream.wrote(true);
            stream.flush(turn);
            // What is on the disk here is not lost with this node.
            if turn.journal().is_some() || stream.is_elsewhere(turn.own()) {
                self.end(now, &name, out);
            } else {
                self.endings.drain(turn, stream, true);
            }
        }
    }

    /// As [`Ask::Drain`], of a function that is held on when it has ended.
    pub fn drain_held(&mut self, now: Time, id: AskId, name: &Bytes, out: &mut Vec<Effect>) {
        let turn = &mut self.common.turn(now, out);
        if let Some(stream) = self.streams.get_mut(name)
            && turn.journal().is_none()
            && !self.endings.is_draining(name)
            && !stream.is_elsewhere(turn.own())
        {
            stream.wrote(true);
            stream.flush(turn);
            self.endings.drain(turn, stream, false);
        }
        self.endings.ask_drained(turn, name, id);
        self.schedule(name);
    }

    /// The functions that have ended here, and still run for the sake of what peers lack of them.
    pub fn draining(&self) -> impl Iterator<Item = &Bytes> {
        self.endings.draining()
    }

    /// How many of these peers have all that is known here of a function.
    #[must_use]
    pub fn covered_by(&self, name: &Bytes, peers: &BTreeSet<ReplicaId>) -> usize {
        let own = self.common.config().replica;
        self.streams.get(name).map_or(0, |stream| stream.covered_by(own, peers))
    }

    /// The functions that are known here, and the peers of which each is a copy of it: see
    /// [`FunctionView::copies`]. Roles are not looked at.
    pub fn copies(&self) -> impl Iterator<Item = (&Bytes, impl Iterator<Item = ReplicaId> + '_)> {
        self.streams.iter().map(|(name, stream)| (name, stream.copies()))
    }

    /// The functions as they look to the server.
    #[must_use]
    pub fn views(&self) -> Vec<FunctionView> {
        self.streams.values().map(Stream::view).collect()
    }

    /// The peers that have said what another node denies, once, each with what is to be logged of it.
    pub fn take_lies(&mut self) -> Vec<(ReplicaId, Option<String>)> {
        self.common.take_lies()
    }

    /// Whether some have drained since this was asked last: peers are to be told.
    pub fn take_drained(&mut self) -> bool {
        self.endings.take_drained()
    }

    fn check_drained(&mut self, now: Time, out: &mut Vec<Effect>) {
        let drained = self.endings.drained(&self.common.turn(now, out), &self.streams);
        for name in drained {
            if self.endings.has_drained(&mut self.common.turn(now, out), &name) {
                self.end(now, &name, out);
            }
        }
    }

    fn end(&mut self, now: Time, name: &Bytes, out: &mut Vec<Effect>) {
        self.pulls.end(name);
        if let Some(stream) = self.streams.get_mut(name) {
            stream.end(&mut self.common.turn(now, out));
        }
        self.schedule(name);
    }

    /// This node runs these functions, and no others: [`Replicator::ends`] comes first.
    pub fn runs(&mut self, now: Time, functions: &BTreeSet<Bytes>, out: &mut Vec<Effect>) {
        for name in functions {
            self.stream(name);
            let turn = &mut self.common.turn(now, out);
            self.endings.does_not_end(turn, name);
            let Some(stream) = self.streams.get_mut(name) else { continue };
            if stream.carries() {
                stream.tell_restoring();
                continue;
            }
            self.retiring.function_begins(turn);
            let carriers = turn.peers().carrying(name);
            stream.begin(turn, &carriers);
            // What it lacks comes with the answers to its question, not after them.
            if let Some(peer) = stream.any_reachable(turn.own()) {
                self.pulls.pull(turn, stream, peer);
            }
            self.schedule(name);
        }
    }

    /// This node runs a function from now on, and may have held it until now.
    pub fn resumes(&mut self, now: Time, name: &Bytes, out: &mut Vec<Effect>) {
        if let Some(stream) = self.streams.get_mut(name) {
            stream.resume(&mut self.common.turn(now, out));
        }
        self.schedule(name);
    }

    fn stream(&mut self, name: &Bytes) -> &mut Stream {
        let interval = self.intervals.get(name).copied();
        let function = || self.common.store().function(name);
        self.streams.entry(name.clone()).or_insert_with(|| Stream::new(function(), interval))
    }

    /// Makes the stream of a function, if there is anything of it here; whether there is.
    fn find_stream(&mut self, name: &Bytes) -> bool {
        let known = self.streams.contains_key(name) || self.common.store().find(name).is_some();
        if known {
            self.stream(name);
        }
        known
    }

    // Messages.

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
        if self.common.peers().link(peer).is_none() {
            return Ok(()); // from a link that is closing
        }
        match body {
            Body::Batch(batch) => self.on_batch(now, peer, &batch, out),
            Body::Ack(ack) => {
                self.on_ack(now, peer, &ack, out);
                Ok(())
            }
            Body::Summary(summary) => self.on_summary(now, peer, &summary, out),
            Body::Pull(pull) => self.on_pull(now, peer, &pull, out),
            Body::State(state) => self.on_state(now, peer, &state, out),
            Body::Fetch(fetch) => {
                let stream = self.streams.get(&fetch.function);
                pull::on_fetch(&mut self.common.turn(now, out), stream, peer, &fetch);
                Ok(())
            }
            Body::Fetched(fetched) => {
                let turn = &mut self.common.turn(now, out);
                let stream = self.streams.get_mut(&fetched.function);
                if let Some(stream) = stream.filter(|stream| stream.carries()) {
                    self.pulls.on_fetched(turn, stream, peer, &fetched)?;
                }
                self.schedule(&fetched.function);
                Ok(())
            }
            Body::Retire(ask) => {
                self.on_retire(now, peer, &ask, out);
                Ok(())
            }
            Body::Grant(grant) => self.on_grant(now, peer, &grant, out),
            Body::Retired(retired) => self.on_retired(now, peer, &retired, out),
            _ => Err(Fault("a message out of place".into())),
        }
    }

    fn on_batch(
        &mut self,
        now: Time,
        peer: ReplicaId,
        batch: &Batch,
        out: &mut Vec<Effect>,
    ) -> Result<(), Fault> {
        if batch.origin != peer.0 {
            return Err(Fault("a batch of another node's events".into()));
        }
        let name = &batch.function;
        let stream = self.streams.get_mut(name).filter(|stream| stream.carries());
        let Some(stream) = stream else {
            return Ok(()); // it will hear soon that the function is not run here
        };
        let turn = &mut self.common.turn(now, out);
        let more = stream.on_batch(turn, peer, batch, self.pulls.of(name))?;
        self.pulls.word_came(turn, stream)?;
        if batch.urgent {
            turn.acknowledge(name);
        }
        if more {
            self.check_retiring(now, name, out);
        }
        self.schedule(name);
        Ok(())
    }

    fn on_ack(&mut self, now: Time, peer: ReplicaId, ack: &Ack, out: &mut Vec<Effect>) {
        if let Some(stream) = self.streams.get_mut(&ack.function) {
            stream.on_ack(&mut self.common.turn(now, out), peer, ack);
            self.check_endings(now, out);
        }
    }

    fn on_summary(
        &mut self,
        now: Time,
        peer: ReplicaId,
        summary: &Summary,
        out: &mut Vec<Effect>,
    ) -> Result<(), Fault> {
        let name = &summary.function;
        let new = summary.carries && self.common.peers_mut().says_it_carries(peer, name);
        if !self.find_stream(name) {
            payload::check_vector(summary.vector.as_ref())?;
            if summary.question != 0 {
                self.answer_nothing(now, peer, summary, out);
            }
            return Ok(());
        }
        if new {
            self.meet(now, peer, name, out);
        }
        let turn = &mut self.common.turn(now, out);
        let Some(stream) = self.streams.get_mut(name) else { return Ok(()) };
        let heard = stream.on_summary(turn, peer, summary, self.pulls.of(name))?;
        self.pulls.word_came(turn, stream)?;
        if heard == Heard::Differs {
            // Each takes from the other what it has.
            self.pulls.pull_different(turn, stream, peer);
        }
        if heard != Heard::Nothing {
            self.pulls.compare(turn, stream, peer);
        }
        self.schedule(name);
        self.check_endings(now, out);
        Ok(())
    }

    /// A function that is not known here begins at a peer: there is nothing of it here.
    fn answer_nothing(
        &mut self,
        now: Time,
        peer: ReplicaId,
        said: &Summary,
        out: &mut Vec<Effect>,
    ) {
        let turn = &mut self.common.turn(now, out);
        if let Some(link) = turn.peers().link(peer) {
            let function = said.function.clone();
            turn.send(
                link,
                Body::Summary(Summary { function, answers: said.question, ..Summary::default() }),
            );
        }
    }

    fn on_pull(
        &mut self,
        now: Time,
        peer: ReplicaId,
        pull: &Pull,
        out: &mut Vec<Effect>,
    ) -> Result<(), Fault> {
        let turn = &mut self.common.turn(now, out);
        if pull.taken > 0 {
            return self.exports.on_taken(turn, peer, pull);
        }
        self.exports.on_pull(turn, self.streams.get(&pull.function), peer, pull)
    }

    fn on_state(
        &mut self,
        now: Time,
        peer: ReplicaId,
        state: &State,
        out: &mut Vec<Effect>,
    ) -> Result<(), Fault> {
        let turn = &mut self.common.turn(now, out);
        if let Some(stream) = self.streams.get_mut(&state.function) {
            self.pulls.on_state(turn, stream, peer, state)?;
            self.schedule(&state.function);
        }
        Ok(())
    }

    // Retirement.

    /// A person has said that this incarnation will never write again, `here` or at another node.
    pub fn retire(&mut self, now: Time, replica: ReplicaId, here: bool) {
        self.retiring.forgotten(&self.common.turn(now, &mut Vec::new()), replica, here);
    }

    /// Whether [`Replicator::begin_rounds`] is due.
    #[must_use]
    pub fn wants_to_retire(&self, now: Time) -> bool {
        self.retiring.begin_at().is_some_and(|at| at <= now)
    }

    /// Begins rounds for the functions that run here. `others`: all nodes but this one that are not
    /// forgotten, their names and incarnations.
    pub fn begin_rounds(&mut self, now: Time, others: &[(&str, ReplicaId)], out: &mut Vec<Effect>) {
        let turn = &mut self.common.turn(now, out);
        let pulls = &self.pulls;
        let settled = |stream: &Stream| is_settled(pulls, stream);
        for (name, writers) in self.retiring.work(turn, &self.streams, others, settled) {
            let turn = &mut self.common.turn(now, out);
            self.retiring.begin(turn, (name.clone(), writers), others);
            self.check_retiring(now, &name, out);
        }
    }

    /// Refuses a round for now, for a node of which the overlay has heard lately.
    pub fn refuse_round(
        &mut self,
        now: Time,
        peer: ReplicaId,
        ask: &Retire,
        out: &mut Vec<Effect>,
    ) {
        retiring::refuse(&mut self.common.turn(now, out), peer, ask, Vec::new());
    }

    fn on_retire(&mut self, now: Time, peer: ReplicaId, ask: &Retire, out: &mut Vec<Effect>) {
        let known = self.find_stream(&ask.function);
        let stream = self.streams.get(&ask.function).filter(|_| known);
        let settled = stream.is_none_or(|stream| is_settled(&self.pulls, stream));
        let turn = &mut self.common.turn(now, out);
        self.retiring.on_retire(turn, stream, settled, peer, ask);
    }

    fn on_grant(
        &mut self,
        now: Time,
        peer: ReplicaId,
        grant: &Grant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Fault> {
        self.retiring.on_grant(&mut self.common.turn(now, out), peer, grant)?;
        self.check_retiring(now, &grant.function, out);
        Ok(())
    }

    fn on_retired(
        &mut self,
        now: Time,
        peer: ReplicaId,
        retired: &Retired,
        out: &mut Vec<Effect>,
    ) -> Result<(), Fault> {
        if !self.find_stream(&retired.function) {
            return payload::check_vector(retired.writers.as_ref());
        }
        let Some(stream) = self.streams.get_mut(&retired.function) else { return Ok(()) };
        let turn = &mut self.common.turn(now, out);
        self.retiring.on_retired(turn, stream, peer, retired)?;
        self.check_retiring(now, &retired.function, out);
        Ok(())
    }

    /// Goes on with the retirement that concerns a function.
    fn check_retiring(&mut self, now: Time, name: &Bytes, out: &mut Vec<Effect>) {
        if let Some(stream) = self.streams.get_mut(name) {
            let settled = is_settled(&self.pulls, stream);
            self.retiring.check(&mut self.common.turn(now, out), stream, settled);
            self.schedule(name);
        }
    }

    // Changes and questions.

    /// The function has something to send.
    pub fn wrote(&mut self, now: Time, function: &Arc<Function>, out: &mut Vec<Effect>) {
        let name = Bytes::copy_from_slice(function.name());
        self.stream(&name).wrote(false);
        self.flush_if_due(now, &name, out);
        self.schedule(&name);
    }

    fn flush_if_due(&mut self, now: Time, name: &Bytes, out: &mut Vec<Effect>) {
        if self.at(Due::Flush, self.streams.get(name)).is_some_and(|at| at <= now)
            && let Some(stream) = self.streams.get_mut(name)
        {
            stream.flush(&mut self.common.turn(now, out));
        }
    }

    /// Answers or keeps a question.
    pub fn ask(&mut self, now: Time, id: AskId, ask: Ask, out: &mut Vec<Effect>) {
        match ask {
            Ask::Wait { function, seq, peers, durable, until } => {
                self.stream(&function);
                if let Some(stream) = self.streams.get_mut(&function) {
                    let wait = Wait { id, seq, peers, durable, until };
                    stream.wait(&mut self.common.turn(now, out), wait);
                }
                self.flush_if_due(now, &function, out);
                self.schedule(&function);
            }
            Ask::Await { function, vector, until } => {
                self.stream(&function);
                if let Some(stream) = self.streams.get_mut(&function) {
                    let wait = Await { id, vector, until };
                    stream.await_vector(&mut self.common.turn(now, out), wait);
                }
                self.schedule(&function);
            }
            Ask::Fetch { function, object, name, until } => {
                let turn = &mut self.common.turn(now, out);
                let fetches = match self.streams.get_mut(&function) {
                    Some(stream) => pull::fetch(turn, stream, id, (object, name), until),
                    None => false,
                };
                if !fetches {
                    turn.answer(id, Answer::Done);
                }
                self.schedule(&function);
            }
            Ask::Current { function, until } => {
                self.stream(&function);
                if let Some(stream) = self.streams.get_mut(&function) {
                    stream.current(&mut self.common.turn(now, out), Current { id, until });
                }
                self.schedule(&function);
            }
            Ask::Sync { function, until } => self.compare_all(now, id, function, until, out),
            Ask::Leave { until } => {
                let turn = &mut self.common.turn(now, out);
                for stream in self.streams.values_mut() {
                    if stream.hurry() {
                        stream.flush(turn);
                    }
                }
                self.endings.leave(turn, id, until);
                self.endings.check_leave(turn, &self.streams);
                self.schedule_all();
            }
            Ask::Drain { function } => {
                self.endings.ask_drained(&mut self.common.turn(now, out), &function, id);
            }
            Ask::Nodes | Ask::Functions | Ask::Join { .. } | Ask::Forget { .. } => {
                let answer = Answer::Refused("ERR not for the replicator".into());
                out.push(Effect::Answer { id, answer });
            }
        }
    }

    /// Compares all of one function, or of all, with each peer.
    fn compare_all(
        &mut self,
        now: Time,
        id: AskId,
        function: Option<Bytes>,
        until: Time,
        out: &mut Vec<Effect>,
    ) {
        self.pulls.ask(id, until);
        match function {
            Some(name) => {
                let stream = self.streams.get(&name);
                stream.into_iter().for_each(|stream| self.pulls.ask_of(id, stream));
                self.schedule(&name);
            }
            None => {
                self.streams.values().for_each(|stream| self.pulls.ask_of(id, stream));
                self.schedule_all();
            }
        }
        self.pulls.end_asked(&mut self.common.turn(now, out));
    }

    // Time.

    /// Does what is due.
    pub fn tick(&mut self, now: Time, out: &mut Vec<Effect>) {
        // Each function once: what stays due is done at the end of the turn.
        for name in self.timers.take_due(now) {
            for due in Due::OF_FUNCTION {
                if self.at(due, self.streams.get(&name)).is_some_and(|at| at <= now) {
                    self.on_due(now, due, &name, out);
                }
            }
            self.schedule(&name);
        }
        self.check_endings(now, out);
        self.pulls.end_asked(&mut self.common.turn(now, out));
        for name in self.retiring.functions() {
            self.check_retiring(now, &name, out);
        }
    }

    /// Does what is due for a function.
    fn on_due(&mut self, now: Time, due: Due, name: &Bytes, out: &mut Vec<Effect>) {
        let turn = &mut self.common.turn(now, out);
        let Some(stream) = self.streams.get_mut(name) else { return };
        match due {
            Due::Flush => stream.flush(turn),
            Due::Fetch => {
                stream.check_fetches(turn);
                stream.waited_in_vain(turn);
            }
            Due::Current => stream.waited_in_vain(turn),
            Due::FirstRead => stream.ask_first_read_again(turn),
            Due::Pull => self.pulls.timed_out(turn, stream),
            Due::Compare => self.pulls.compare_as_asked(turn, stream),
            Due::Retry => self.pulls.retry(turn, stream),
            Due::Wait => stream.check_waits(turn),
            Due::Await => stream.check_awaits(turn),
            Due::Acknowledge => turn.acknowledge(name),
            Due::Summary => stream.announce(turn, self.pulls.of(name)),
            Due::Tidy => stream.tidy(),
            Due::Lack => {
                stream.looked_for_lacks();
                // The one that knows most of what is missing tells it.
                if let Some(peer) = stream.best_informed(turn.now()) {
                    self.pulls.pull(turn, stream, peer);
                }
            }
            Due::Once => {
                let unequal = stream.function().settle_once();
                if !unequal.is_empty() {
                    turn.unequal(&stream.shown(), &unequal);
                }
            }
            // Of the node: `tick`, `settle` and `begin_rounds` look for these in every turn.
            Due::Export
            | Due::Sync
            | Due::Drain
            | Due::Leave
            | Due::Retire
            | Due::BeginRetiring
            | Due::Tend => {}
        }
    }

    /// When something is due, of a function or of the node; none if never.
    fn at(&self, due: Due, stream: Option<&Stream>) -> Option<Time> {
        let name = stream.map(Stream::name);
        match due {
            Due::Flush => stream?.flush_at(|interval| self.common.interval(interval)),
            Due::Fetch => stream?.questions().fetch_at(),
            Due::Current => stream?.questions().current_at(),
            Due::FirstRead => stream?.first_read_at(),
            Due::Pull => self.pulls.timeout_at(name?, self.common.config().sync_timeout),
            Due::Compare => self.pulls.compare_at(name?),
            Due::Retry => self.pulls.retry_at(name?),
            Due::Wait => stream?.questions().wait_at(),
            Due::Await => stream?.questions().await_at(),
            Due::Acknowledge => stream?.ack_at(),
            Due::Summary => stream?.summary_at(),
            Due::Tidy => stream?.tidy_at(),
            Due::Lack => stream?.lack_at(),
            Due::Once => stream?.function().once_is_unsettled().then(Time::default),
            Due::Tend => self.has_to_tend().then_some(self.tend_at),
            Due::Export => self.exports.next_at(),
            Due::Sync => self.pulls.asked_until(),
            Due::Drain => self.endings.drain_at(),
            Due::Leave => self.endings.leave_at(),
            Due::Retire => self.retiring.next_at(),
            Due::BeginRetiring => self.retiring.begin_at(),
        }
    }

    fn check_endings(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.check_drained(now, out);
        self.endings.check_leave(&mut self.common.turn(now, out), &self.streams);
    }

    /// Ends a turn: sends the acknowledgements that are due, and parts of syncs.
    pub fn settle(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.check_lost(now, out);
        for name in self.common.take_acks() {
            if let Some(stream) = self.streams.get_mut(&name) {
                stream.acknowledge(&mut self.common.turn(now, out));
                self.schedule(&name);
            }
        }
        let turn = &mut self.common.turn(now, out);
        self.exports.run(turn, &self.streams);
        for name in self.pulls.take_owed() {
            if let Some(stream) = self.streams.get(&name) {
                self.pulls.tell_taken(turn, stream);
            }
        }
    }

    /// When [`Replicator::tick`] is wanted next.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let of_node = Due::OF_NODE.into_iter().filter_map(|due| self.at(due, None));
        of_node.chain(self.timers.first()).min()
    }

    /// Sets the timer of a function to the first thing that is due.
    fn schedule(&mut self, name: &Bytes) {
        self.pulls.shrink(name);
        let stream = self.streams.get(name);
        let dues = Due::OF_FUNCTION.into_iter().filter_map(|due| self.at(due, stream));
        let next = dues.min();
        self.timers.set(name, next);
    }

    fn schedule_all(&mut self) {
        let names: Vec<Bytes> = self.streams.keys().cloned().collect();
        names.iter().for_each(|name| self.schedule(name));
    }
}

/// Whether nothing of a function is being synced.
fn is_settled(pulls: &Pulls, stream: &Stream) -> bool {
    pulls.of(stream.name()) == Pulling::No && !stream.restoring()
}

#[cfg(test)]
mod tests;
