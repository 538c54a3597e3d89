//! A node: the overlay and the replicator as one state machine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use miso_protocol::peer::message::Body;
use miso_protocol::peer::{self, Message};
use miso_store::crdt::ReplicaId;
use miso_store::{Function, Store};

use crate::copies::{self, Copies};
use crate::overlay::{self, Event, Overlay, Session};
use crate::replicator::{self, Replicator};
use crate::{Answer, Ask, AskId, Effect, Fault, FunctionView, LinkId, Note, Role, Time};

/// How a node is made.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its identity, and how it finds others.
    pub overlay: overlay::Config,
    /// How it sends changes.
    pub replicator: replicator::Config,
    /// How many nodes are to have each function.
    pub copies: copies::Config,
}

/// All that can happen to a node.
#[derive(Clone, Debug)]
pub enum Input {
    /// A node may be at `host:port`: mDNS or DNS says so.
    Found {
        /// Where.
        address: String,
    },
    /// A name that an operator gave as a seed stands for this `host:port`.
    Resolved {
        /// Where.
        address: String,
    },
    /// Peers reach this node at these addresses now.
    Addresses {
        /// All of them, `host:port`.
        addresses: Vec<String>,
    },
    /// An [`Effect::Dial`] has succeeded.
    LinkOpened {
        /// The address as it was dialed.
        address: String,
        /// The new link.
        link: LinkId,
    },
    /// A peer has dialed.
    LinkAccepted {
        /// The new link.
        link: LinkId,
    },
    /// A link that has just opened has TLS.
    Agreed {
        /// Which.
        link: LinkId,
        /// What its session is known by.
        session: Session,
    },
    /// An [`Effect::Dial`] has failed.
    LinkFailed {
        /// The address as it was dialed.
        address: String,
        /// For the log.
        reason: String,
    },
    /// A link has ended, other than by [`Effect::Close`].
    LinkClosed {
        /// Which.
        link: LinkId,
    },
    /// An envelope has arrived.
    Received {
        /// On which link.
        link: LinkId,
        /// Its bytes.
        envelope: Bytes,
    },
    /// The deadline has come.
    Tick,
    /// A function has new changes.
    Wrote {
        /// Which.
        function: Arc<Function>,
    },
    /// What this node runs: functions, and the replicas registered by name for each.
    Runs {
        /// All of it.
        functions: BTreeMap<Bytes, Vec<Bytes>>,
    },
    /// How long a function's changes are gathered, or all functions' that have no value of their
    /// own; none takes a function's own value back.
    Interval {
        /// The function.
        function: Option<Bytes>,
        /// How long.
        interval: Option<Duration>,
    },
    /// What at least passes between flushes of a function, as the machine's load wants it.
    Pace {
        /// How long; 0: the interval alone counts.
        pace: Duration,
    },
    /// How many bytes of syncs a peer is sent in a second; 0: as many as it takes.
    SyncRate {
        /// The limit, in bytes per second.
        bytes: u64,
    },
    /// Other nodes are let in by other secrets from now on.
    Secret {
        /// What they have to know.
        secret: overlay::Secret,
    },
    /// The server asks something.
    Ask {
        /// The answer bears it.
        id: AskId,
        /// What.
        ask: Ask,
    },
}

/// How often a node that leaves looks whether its functions have their copies elsewhere.
const MOVING: Duration = Duration::from_millis(20);

/// How many functions a line of the log names.
const SHOWN: usize = 10;

/// What has gone wrong so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Links closed for their peers' faults: bytes that are no message, or messages that may not be.
    pub faults: u64,
    /// Messages of kinds that this build does not know.
    pub unknown: u64,
    /// Links refused, here or by peers: another cluster, another secret, a name that is taken.
    pub refusals: u64,
}

/// The overlay and the replicator of one node.
#[derive(Debug)]
pub struct Node {
    overlay: Overlay,
    replicator: Replicator,
    copies: Copies,
    store: Arc<Store>,
    /// What the server says that runs here.
    functions: BTreeMap<Bytes, Vec<Bytes>>,
    leaving: Option<AskId>,
    /// When it is looked next whether they have.
    moving_at: Time,
    /// This node leaves once its functions have their copies elsewhere, at the latest then.
    moving: Option<(AskId, Time)>,
    counters: Counters,
}

impl Node {
    /// A node that knows no other node yet.
    #[must_use]
    pub fn new(mut config: Config, store: Arc<Store>) -> Self {
        config.replicator.life = config.overlay.generation;
        let own = (config.overlay.replica, config.overlay.node.clone());
        Self {
            overlay: Overlay::new(config.overlay),
            replicator: Replicator::new(Arc::clone(&store), config.replicator),
            copies: Copies::new(config.copies, own, Arc::clone(&store)),
            store,
            functions: BTreeMap::new(),
            leaving: None,
            moving: None,
            moving_at: Time::default(),
            counters: Counters::default(),
        }
    }

    /// The one way in. The same inputs at the same times give the same effects.
    pub fn step(&mut self, now: Time, input: Input, out: &mut Vec<Effect>) {
        let from = out.len();
        match input {
            Input::Found { address } => self.overlay.found(now, address),
            Input::Resolved { address } => self.overlay.resolved(now, address),
            Input::Addresses { addresses } => self.overlay.set_addresses(now, &addresses, out),
            Input::LinkOpened { address, link } => {
                self.overlay.link_opened(now, address, link, out);
            }
            Input::LinkAccepted { link } => self.overlay.link_accepted(now, link, out),
            Input::Agreed { link, session } => self.overlay.agreed(link, session),
            Input::LinkFailed { address, reason } => {
                self.overlay.link_failed(now, &address, &reason, out);
            }
            Input::LinkClosed { link } => self.overlay.link_closed(now, link, out),
            Input::Received { link, envelope } => self.received(now, link, envelope, out),
            Input::Tick => {
                self.overlay.tick(now, out);
                self.pass_on(now, out);
                self.replicator.tick(now, out);
                let replicator = &self.replicator;
                self.copies.tick(now, |name, peers| replicator.covered_by(name, peers));
                self.leave_if_moved(now, out);
                if self.replicator.wants_to_tend(now) {
                    let others: Vec<_> = self.overlay.others().collect();
                    let awaiting = self.overlay.is_awaiting_others(now);
                    self.replicator.tend(now, &others, awaiting, out);
                }
                if self.replicator.wants_to_retire(now) {
                    let others: Vec<_> = self.overlay.others().collect();
                    self.replicator.begin_rounds(now, &others, out);
                }
            }
            Input::Wrote { function } => self.replicator.wrote(now, &function, out),
            Input::Runs { functions } => {
                let old = std::mem::replace(&mut self.functions, functions);
                for name in self.functions.keys().filter(|name| !old.contains_key(*name)) {
                    self.replicator.resumes(now, name, out);
                }
                self.copies.set_runs(now, self.functions.keys());
                self.copies.take_changed();
                self.carry(now, out);
            }
            Input::Interval { function, interval } => {
                self.replicator.set_interval(function, interval);
            }
            Input::Pace { pace } => self.replicator.set_pace(pace),
            Input::SyncRate { bytes } => self.replicator.set_sync_rate(bytes),
            Input::Secret { secret } => self.overlay.set_secret(now, secret, out),
            Input::Ask { id, ask } => self.ask(now, id, ask, out),
        }
        self.pass_on(now, out);
        if self.copies.take_changed() {
            self.carry(now, out);
            self.pass_on(now, out);
        }
        if self.replicator.take_drained() {
            self.publish(now, out);
        }
        self.say_goodbye(now, from, out);
    }

    /// After a batch of inputs: sends what was held back to go together.
    pub fn settle(&mut self, now: Time, out: &mut Vec<Effect>) {
        let from = out.len();
        self.replicator.settle(now, out);
        self.say_goodbye(now, from, out);
    }

    /// When the next [`Input::Tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        // What moves is looked for by the clock: peers announce what they have when they like.
        let moving = self.moving.map(|(_, until)| until.min(self.moving_at));
        let all =
            [self.overlay.deadline(), self.replicator.deadline(), self.copies.deadline(), moving];
        all.into_iter().flatten().min()
    }

    /// What has gone wrong so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters { refusals: self.overlay.refusals(), ..self.counters }
    }

    /// What the replicator has done so far.
    #[must_use]
    pub fn counts(&self) -> replicator::Counts {
        self.replicator.counts()
    }

    /// The names and incarnations of all other nodes that are known here, except those that an operator has retired.
    pub fn others(&self) -> impl Iterator<Item = (&str, ReplicaId)> {
        self.overlay.others()
    }

    fn received(&mut self, now: Time, link: LinkId, envelope: Bytes, out: &mut Vec<Effect>) {
        self.overlay.heard(now, link, out);
        for message in peer::open(envelope) {
            // It may be closed by what came before, in the same envelope too.
            if !self.overlay.knows(link) {
                return;
            }
            let message = message.map_err(|error| Fault(format!("malformed: {error}")));
            let taken = message.and_then(|message| self.message(now, link, message, out));
            if let Err(fault) = taken {
                self.counters.faults += 1;
                let note = format!("a fault of {}: {fault}", self.overlay.blame(link));
                self.overlay.warn_seldom(now, &note.clone(), note, out);
                self.overlay.fault(now, link, &fault, out);
            }
            self.pass_on(now, out);
        }
    }

    fn message(
        &mut self,
        now: Time,
        link: LinkId,
        message: Message,
        out: &mut Vec<Effect>,
    ) -> Result<(), Fault> {
        let Some(body) = message.body else {
            self.counters.unknown += 1;
            let note = "a peer sends messages that this version does not know: ignored";
            self.overlay.warn_seldom(now, note, note.into(), out);
            return Ok(());
        };
        match body {
            Body::Challenge(_)
            | Body::Proof(_)
            | Body::Hello(_)
            | Body::Refusal(_)
            | Body::Heartbeat(_)
            | Body::Digest(_)
            | Body::Records(_)
            | Body::Piece(_)
            | Body::Goodbye(_) => self.overlay.received(now, link, body, out),
            // Another node may still hear of a writer that this node has heard of lately: a node that came
            // back, and is not linked yet.
            Body::Retire(ask) if self.knows_any(&ask.writers) => {
                if let Some(peer) = self.overlay.peer(link) {
                    self.replicator.refuse_round(now, peer, &ask, out);
                }
                Ok(())
            }
            // Nor was one retired that is a node here, linked or away: a peer that says so lies.
            Body::Retired(told) if self.knows_any(told.writers.iter().flat_map(|v| &v.writers)) => {
                let note = format!(
                    "{} says that a node is retired which nobody has forgotten: it is not believed",
                    self.overlay.blame(link)
                );
                self.overlay.warn_seldom(now, &note.clone(), note, out);
                Ok(())
            }
            body => match self.overlay.peer(link) {
                Some(peer) => self.replicator.received(now, peer, body, out),
                None => Err(Fault("its first message is not Hello".into())),
            },
        }
    }

    /// Whether one of these is a node of the table.
    fn knows_any<'a>(&self, writers: impl IntoIterator<Item = &'a u64>) -> bool {
        let nodes: BTreeSet<u64> = self.overlay.others().map(|(_, id)| id.0).collect();
        writers.into_iter().any(|writer| nodes.contains(writer))
    }

    /// What runs here and what is held here is exchanged with peers, and nothing else.
    fn carry(&mut self, now: Time, out: &mut Vec<Effect>) {
        let names = self.functions.keys().chain(self.copies.held()).cloned().collect();
        self.replicator.ends(now, &names, out);
        // Peers hear that this node carries a function before they hear of the function from it.
        self.publish(now, out);
        self.replicator.runs(now, &names, out);
    }

    /// Tells peers what this node carries: functions that have ended too, while they drain.
    fn publish(&mut self, now: Time, out: &mut Vec<Effect>) {
        let others: Vec<Bytes> =
            self.copies.held().chain(self.replicator.draining()).cloned().collect();
        let roles = self.functions.keys().chain(&others).map(|name| (name, self.copies.role(name)));
        let roles = roles.filter(|(_, role)| *role != Role::Runs);
        self.overlay.set_roles(roles.map(|(name, role)| (name.clone(), role)).collect());
        if others.is_empty() {
            return self.overlay.runs(now, &self.functions, out);
        }
        let mut functions = self.functions.clone();
        for name in others {
            functions.entry(name).or_default();
        }
        self.overlay.runs(now, &functions, out);
    }

    /// Goes on to leave, once others have what they are to have of this node's functions.
    fn leave_if_moved(&mut self, now: Time, out: &mut Vec<Effect>) {
        let Some((id, until)) = self.moving else { return };
        let missing = self.copies.missing(|name, peers| self.replicator.covered_by(name, peers));
        if !missing.is_empty() && now < until && self.copies.may_move() {
            self.moving_at = now + MOVING;
            return;
        }
        if !missing.is_empty() {
            let shown: Vec<_> =
                missing.iter().take(SHOWN).map(|name| name.escape_ascii().to_string()).collect();
            let more = if missing.len() > SHOWN { ", .." } else { "" };
            out.push(Effect::Note(Note::Warn(format!(
                "this node leaves before {} of its functions have their copies elsewhere: {}{more}",
                missing.len(),
                shown.join(", ")
            ))));
        }
        self.moving = None;
        self.leaving = Some(id);
        self.replicator.ask(now, id, Ask::Leave { until }, out);
    }

    /// Tells the replicator what the overlay has found out.
    fn pass_on(&mut self, now: Time, out: &mut Vec<Effect>) {
        while let Some(event) = self.overlay.event() {
            match event {
                Event::Up(peer, link) => {
                    self.store.set_clock_lead(self.overlay.clock_lead());
                    self.replicator.peer_up(now, peer, link, out);
                    if let Some((name, _)) = self.overlay.others().find(|(_, id)| *id == peer) {
                        self.copies.up(now, peer, name);
                    }
                }
                Event::Down(peer) => {
                    self.replicator.peer_down(now, peer, out);
                    self.copies.down(now, peer);
                }
                Event::Gone(peer) => {
                    self.replicator.peer_gone(now, peer, out);
                    self.copies.gone(now, peer);
                }
                Event::Runs(peer, functions) => {
                    self.replicator.peer_runs(now, peer, &functions, out);
                    self.copies.told(now, peer, self.overlay.carried_by(peer));
                }
                Event::Retired { replica, here } => self.replicator.retire(now, replica, here),
            }
        }
        for (peer, line) in self.replicator.take_lies() {
            let named = self.overlay.link(peer).map(|link| self.overlay.blame(link));
            let named = named.unwrap_or_else(|| "a node that is gone".into());
            out.extend(line.map(|line| Effect::Note(Note::Warn(format!("{named}: {line}")))));
        }
        self.replicator.check_lost(now, out);
    }

    fn ask(&mut self, now: Time, id: AskId, ask: Ask, out: &mut Vec<Effect>) {
        let answer = match ask {
            Ask::Nodes => Answer::Nodes(self.nodes(now)),
            Ask::Functions => Answer::Functions(self.views()),
            Ask::Leave { until } => {
                self.copies.leave(now);
                self.moving = Some((id, until));
                return self.leave_if_moved(now, out);
            }
            Ask::Join { address } => return self.overlay.join(now, id, address, out),
            Ask::Forget { node } => match self.overlay.forget(now, &node, out) {
                Ok(()) => Answer::Done,
                Err(reason) => Answer::Refused(reason),
            },
            Ask::Drain { function } if self.copies.holds(&function) => {
                return self.replicator.drain_held(now, id, &function, out);
            }
            ask => return self.replicator.ask(now, id, ask, out),
        };
        out.push(Effect::Answer { id, answer });
    }

    fn views(&self) -> Vec<FunctionView> {
        let mut views = self.replicator.views();
        for (view, (name, peers)) in views.iter_mut().zip(self.replicator.copies()) {
            view.role = view.role.map(|_| self.copies.role(name));
            view.copies = self.copies.count(name, peers);
        }
        views
    }

    fn nodes(&self, now: Time) -> Vec<crate::NodeView> {
        let mut nodes = self.overlay.view(now);
        let copies = self.replicator.copies();
        let copies = copies.map(|(name, peers)| (name, self.copies.count(name, peers)));
        nodes[0].under_copied =
            copies.filter(|(name, count)| self.copies.is_under_copied(name, *count)).count();
        for node in nodes.iter_mut().skip(1) {
            let lag = self.replicator.lag(now, node.replica);
            node.lag_events = lag.events;
            node.lag_ms = lag.ms;
            node.lag_bytes = lag.bytes;
            node.acknowledged = lag.acknowledged;
        }
        nodes
    }

    /// Once the replicator has sent all it had to, before the server hears of that.
    fn say_goodbye(&mut self, now: Time, from: usize, out: &mut Vec<Effect>) {
        let Some(leaving) = self.leaving else { return };
        let is_it = |e: &Effect| matches!(e, Effect::Answer { id, .. } if *id == leaving);
        let Some(at) = out[from..].iter().position(is_it) else { return };
        let answer = out.remove(from + at);
        self.leaving = None;
        self.overlay.leave(now, out);
        self.pass_on(now, out);
        out.push(answer);
    }
}

#[cfg(test)]
mod tests {
    use miso_protocol::peer::{Batch, Goodbye, Hello, frame};

    use super::*;
    use crate::Note;

    const LINK: LinkId = LinkId(1);

    fn node() -> Node {
        let replica = ReplicaId(1);
        let overlay = overlay::Config::new("c", "a", replica, 1);
        let replicator = replicator::Config::new(replica);
        let config = Config { overlay, replicator, copies: copies::Config::default() };
        let store = miso_store::Config::new(replica, 1, Arc::new(|| 0));
        Node::new(config, Arc::new(Store::new(store)))
    }

    /// A node that a peer has greeted.
    fn linked() -> Node {
        let mut node = node();
        let hello = Hello {
            protocol: peer::VERSION,
            cluster: "c".into(),
            node: "b".into(),
            replica: 2,
            ..Hello::default()
        };
        step(&mut node, Input::LinkAccepted { link: LINK });
        receive(&mut node, &frame(Body::Hello(hello)));
        node
    }

    fn step(node: &mut Node, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        node.step(Time(1), input, &mut out);
        node.settle(Time(1), &mut out);
        out
    }

    fn receive(node: &mut Node, envelope: &[u8]) -> Vec<Effect> {
        let envelope = Bytes::copy_from_slice(envelope);
        step(node, Input::Received { link: LINK, envelope })
    }

    fn closes(effects: &[Effect]) -> bool {
        effects.iter().any(|effect| matches!(effect, Effect::Close { link: LINK, .. }))
    }

    #[test]
    fn unknown_messages_are_counted_and_noted_once() {
        let mut node = linked();
        let unknown = [0x0a, 0x03, 0xfa, 0x06, 0x00];
        let effects = receive(&mut node, &unknown.repeat(3));
        assert!(matches!(effects[..], [Effect::Note(Note::Warn(_))]), "{effects:?}");
        assert_eq!(receive(&mut node, &unknown), []);
        assert_eq!(node.counters(), Counters { unknown: 4, ..Counters::default() });
    }

    #[test]
    fn malformed_ones_close_their_link() {
        let mut node = linked();
        assert!(closes(&receive(&mut node, b"nonsense")));
        assert_eq!(receive(&mut node, b"nonsense"), [], "the link is not known any more");
        assert_eq!(node.counters(), Counters { faults: 1, ..Counters::default() });
    }

    #[test]
    fn changes_of_strangers_are_a_fault() {
        let mut node = node();
        step(&mut node, Input::LinkAccepted { link: LINK });
        assert!(closes(&receive(&mut node, &frame(Body::Batch(Batch::default())))));
    }

    #[test]
    fn what_follows_a_goodbye_is_not_read() {
        let mut node = linked();
        let envelope = [&frame(Body::Goodbye(Goodbye {}))[..], b"nonsense"].concat();
        assert!(closes(&receive(&mut node, &envelope)));
        assert_eq!(node.counters().faults, 0);
    }

    #[test]
    fn goodbye_is_said_before_the_server_hears_of_it() {
        let mut node = linked();
        let until = Time(1) + Duration::from_secs(1);
        let effects = step(&mut node, Input::Ask { id: AskId(7), ask: Ask::Leave { until } });
        let goodbye = frame(Body::Goodbye(Goodbye {}));
        let says =
            |effect: &Effect| matches!(effect, Effect::Send { frame, .. } if *frame == goodbye);
        assert!(effects.iter().any(says) && closes(&effects), "{effects:?}");
        let done = Effect::Answer { id: AskId(7), answer: Answer::Done };
        assert_eq!(effects.last(), Some(&done));
    }
}
