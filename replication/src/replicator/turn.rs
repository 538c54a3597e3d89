//! What a machine of the replicator is handed in a turn: the time, the configuration and the peers to
//! read, and a place for its wishes (messages, answers, acknowledgements).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use miso_protocol::peer;
use miso_protocol::peer::message::Body;
use miso_store::crdt::ReplicaId;
use miso_store::journal::Journal;
use miso_store::{Joined, Refused, Store};

use super::config::{Config, Counts};
use super::peers::Peers;
use super::witness::Witnesses;
use crate::seldom::Seldom;
use crate::{Answer, AskId, Effect, Fault, LinkId, Note, Time};

/// An acknowledgement waits no longer than this, however busy the machine is.
const ACK_DELAY_MAX: Duration = Duration::from_millis(500);

/// What of a peer's message cannot be right.
pub(super) fn refused(refused: Refused) -> Fault {
    match refused {
        Refused::Unreadable(error) => Fault(format!("unreadable changes: {error}")),
        other => Fault(format!("malformed message: {other:?}")),
    }
}

/// What all machines of the replicator read.
#[derive(Debug)]
pub(super) struct Common {
    store: Arc<Store>,
    config: Config,
    peers: Peers,
    /// The least time between two flushes of a function, set under load.
    pace: Duration,
    counts: Counts,
    /// Functions with acknowledgements to send at the end of the turn.
    acks: BTreeSet<Bytes>,
    last_id: u64,
    witnesses: Witnesses,
    /// What peers made this node log lately.
    said: Seldom,
    /// Peers that have said what another node denies, with what is to be logged of it.
    lies: Vec<(ReplicaId, Option<String>)>,
}

impl Common {
    pub(super) fn new(store: Arc<Store>, config: Config) -> Common {
        let key = store.journal().map(|journal| journal.identity().salt);
        Common {
            witnesses: Witnesses::new(key, config.life),
            said: Seldom::default(),
            lies: Vec::new(),
            store,
            config,
            peers: Peers::default(),
            pace: Duration::ZERO,
            counts: Counts::default(),
            acks: BTreeSet::new(),
            last_id: 0,
        }
    }

    pub(super) fn turn<'a>(&'a mut self, now: Time, out: &'a mut Vec<Effect>) -> Turn<'a> {
        Turn { now, common: self, out }
    }

    pub(super) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }

    pub(super) fn peers(&self) -> &Peers {
        &self.peers
    }

    pub(super) fn peers_mut(&mut self) -> &mut Peers {
        &mut self.peers
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// The peers that have said what another node denies, once.
    pub(super) fn take_lies(&mut self) -> Vec<(ReplicaId, Option<String>)> {
        std::mem::take(&mut self.lies)
    }

    pub(super) fn set_pace(&mut self, pace: Duration) {
        self.pace = pace;
    }

    /// The functions with acknowledgements to send, once.
    pub(super) fn take_acks(&mut self) -> BTreeSet<Bytes> {
        std::mem::take(&mut self.acks)
    }

    /// The least time between two flushes of a function whose own interval is `interval`.
    pub(super) fn interval(&self, interval: Option<Duration>) -> Duration {
        interval.unwrap_or(self.config.interval).max(self.pace)
    }
}

/// One turn of the replicator. Wishes are effects, in their order, and acknowledgements to be sent
/// at its end.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    now: Time,
    common: &'a mut Common,
    out: &'a mut Vec<Effect>,
}

impl Turn<'_> {
    pub(super) fn now(&self) -> Time {
        self.now
    }

    pub(super) fn config(&self) -> &Config {
        &self.common.config
    }

    /// The incarnation as which this node writes.
    pub(super) fn own(&self) -> ReplicaId {
        self.common.config.replica
    }

    pub(super) fn peers(&self) -> &Peers {
        &self.common.peers
    }

    pub(super) fn journal(&self) -> Option<&Journal> {
        self.common.store.journal()
    }

    pub(super) fn counts(&mut self) -> &mut Counts {
        &mut self.common.counts
    }

    /// A number that is never used twice: of a pull, a fetch, a round.
    pub(super) fn next_id(&mut self) -> u64 {
        self.common.last_id += 1;
        self.common.last_id
    }

    /// How long an acknowledgement may wait: under load until a flush that it goes along with.
    pub(super) fn ack_delay(&self) -> Duration {
        self.common.config.ack_delay.max((self.common.pace * 2).min(ACK_DELAY_MAX))
    }

    /// When a change that happens now is announced at the latest.
    pub(super) fn summary_at(&self) -> Time {
        self.now + self.common.config.summary_delay
    }

    /// Acknowledgements of a function go out at the end of the turn.
    pub(super) fn acknowledge(&mut self, function: &Bytes) {
        self.common.acks.insert(function.clone());
    }

    /// A batch was joined.
    pub(super) fn count_joined(&mut self, joined: Joined) {
        self.common.counts.batches_received += 1;
        self.common.counts.changes_received += joined.named as u64;
    }

    pub(super) fn send(&mut self, link: LinkId, body: Body) {
        self.send_frame(vec![link], peer::frame(body));
    }

    pub(super) fn send_frame(&mut self, links: Vec<LinkId>, frame: Bytes) {
        if !links.is_empty() {
            self.out.push(Effect::Send { links, frame });
        }
    }

    /// Sends a message to all peers that can be reached.
    pub(super) fn send_all(&mut self, body: Body) {
        self.send_frame(self.common.peers.links(), peer::frame(body));
    }

    /// Sends a part of a sync, after everything else that waits for the link.
    pub(super) fn send_last(&mut self, link: LinkId, frame: Bytes) {
        self.out.push(Effect::SendBehind { link, frame });
    }

    pub(super) fn answer(&mut self, id: AskId, answer: Answer) {
        self.out.push(Effect::Answer { id, answer });
    }

    pub(super) fn witnesses(&self) -> &Witnesses {
        &self.common.witnesses
    }

    /// Logs what a peer has caused, unless a line of this key was logged a short time ago.
    pub(super) fn warn_seldom(&mut self, key: &str, line: impl FnOnce() -> String) {
        if self.common.said.take(self.now, key) {
            self.note(Note::Warn(line()));
        }
    }

    /// Two nodes say of the events of one of them what cannot both be true: counted, and logged seldom.
    pub(super) fn conflict(&mut self, key: &str, line: impl FnOnce() -> String) {
        self.counts().conflicts += 1;
        self.warn_seldom(key, line);
    }

    /// A peer has said what another node denies: counted, and logged seldom.
    pub(super) fn lie(&mut self, peer: ReplicaId, key: &str, line: impl FnOnce() -> String) {
        self.counts().conflicts += 1;
        let line = self.common.said.take(self.now, key).then(line);
        self.common.lies.push((peer, line));
    }

    /// Runs of these ids were taken back that had counted other amounts than those that count: counted, and
    /// logged seldom.
    pub(super) fn unequal(&mut self, shown: &str, ids: &[Box<[u8]>]) {
        self.counts().once_unequal += ids.len() as u64;
        for id in ids {
            self.warn_seldom(&format!("unequal {shown}"), || {
                format!(
                    "function {shown}: the id {} (MISO.ONCE) was given to two writes of different amounts on \
                     two nodes; the first one counts, and the one of this node is taken back. Give every \
                     write an id of its own",
                    id.escape_ascii()
                )
            });
        }
    }

    pub(super) fn note(&mut self, note: Note) {
        self.out.push(Effect::Note(note));
    }
}
