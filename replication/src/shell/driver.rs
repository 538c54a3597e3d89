//! The loop that drives a node: takes inputs from links, workers and timers, steps the node, and carries
//! out its effects.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use miso_store::Store;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::mailbox::{Mailbox, Request};
use super::outbox::{Full, Outbox};
use super::pace::Meter;
use super::peers::{Closing, Event, Links};
use super::settings::Settings;
use super::wire::Refused;
use super::{addresses, mdns, pace, seeds};
use crate::node::{Input, Node};
use crate::{Answer, AskId, Effect, LinkId, Note, Time};

/// How many inputs of links may wait. Each is an envelope; while this many wait, links are not read.
const EVENTS_MAX: usize = 256;
/// While the journal takes no writes it is tried again this often.
const MUTE: Duration = Duration::from_millis(100);
/// How long a node that ends waits for what is still to be sent.
const LINGER: Duration = Duration::from_millis(500);
/// A reason for which links end is logged again after this time; this many are told apart.
const SAY_AGAIN: Duration = Duration::from_secs(60);
const REASONS_MAX: usize = 16;

/// Owns the node.
#[derive(Debug)]
pub(super) struct Driver {
    node: Node,
    settings: Settings,
    mailbox: Arc<Mailbox>,
    requests: mpsc::UnboundedReceiver<Request>,
    events: mpsc::Receiver<Event>,
    /// Connections that were not let in.
    refused: mpsc::Receiver<Refused>,
    refusals: u64,
    links: Links,
    open: HashMap<LinkId, Open>,
    /// Of closed links: what is still to be sent.
    closing: Vec<Outbox>,
    asked: HashMap<AskId, oneshot::Sender<Answer>>,
    next_ask: u64,
    fatal: watch::Sender<Option<String>>,
    /// What this thread takes, when it is measured next, and the pace that came of it.
    meter: Meter,
    measure_at: Time,
    pace: Duration,
    effects: Vec<Effect>,
    /// Why links ended, as far as it was logged.
    endings: Endings,
    store: Arc<Store>,
    /// Effects wait until the journal takes writes again.
    mute: bool,
    stopping: bool,
}

#[derive(Debug)]
struct Open {
    outbox: Outbox,
    is_encrypted: bool,
    /// Its drop ends the reader.
    _closing: Closing,
}

/// The reasons for which links ended lately: each is logged once a minute at most.
#[derive(Debug, Default)]
struct Endings(HashMap<String, Instant>);

impl Endings {
    fn say(&mut self, reason: &str) {
        if self.is_new(reason) {
            tracing::info!("a link to a peer has ended: {reason}");
        }
    }

    /// Whether there is room for this reason, which was not logged lately.
    fn is_new(&mut self, reason: &str) -> bool {
        self.0.retain(|_, at| at.elapsed() < SAY_AGAIN);
        let is_new = self.0.len() < REASONS_MAX && !self.0.contains_key(reason);
        if is_new {
            self.0.insert(reason.to_owned(), Instant::now());
        }
        is_new
    }
}

impl Driver {
    pub(super) fn new(
        settings: Settings,
        store: Arc<Store>,
        mailbox: Arc<Mailbox>,
        requests: mpsc::UnboundedReceiver<Request>,
        fatal: watch::Sender<Option<String>>,
    ) -> Self {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let links = Links {
            events: sender,
            next: Arc::new(AtomicU64::new(1)),
            queue_bytes_max: settings.queue_bytes_max,
            life: (settings.node.overlay.node_timeout / 4).max(Duration::from_millis(10)),
            encryption: settings.encryption.clone(),
        };
        Self {
            node: Node::new(settings.node.clone(), Arc::clone(&store)),
            store,
            mute: false,
            settings,
            mailbox,
            requests,
            events,
            refused: mpsc::channel(1).1,
            refusals: 0,
            links,
            open: HashMap::new(),
            closing: Vec::new(),
            asked: HashMap::new(),
            next_ask: 0,
            fatal,
            meter: Meter::new(),
            measure_at: Time::default(),
            pace: Duration::ZERO,
            effects: Vec::new(),
            endings: Endings::default(),
            stopping: false,
        }
    }

    pub(super) async fn run(mut self, listeners: Vec<TcpListener>) {
        // Of the thread that runs this, not of the one that made it.
        self.meter = Meter::new();
        let announcement = self.set_up(listeners);
        while !self.stopping {
            self.wait().await;
            self.turn();
            // What has arrived meanwhile is taken up in one turn; and the links get to send.
            tokio::task::yield_now().await;
        }
        if let Some(announcement) = announcement {
            announcement.abort();
            // It says goodbye.
            let _ = announcement.await;
        }
        self.wind_up().await;
    }

    fn set_up(&mut self, listeners: Vec<TcpListener>) -> Option<JoinHandle<()>> {
        let mut bound = Vec::new();
        let (refused, why) = mpsc::channel(REASONS_MAX);
        self.refused = why;
        for listener in listeners {
            bound.extend(listener.local_addr());
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => {
                    let serve = self.links.clone().serve(listener, refused.clone());
                    tokio::spawn(async move {
                        if let Err(error) = serve.await {
                            tracing::error!(%error, "no longer listens for peers");
                        }
                    });
                }
                Err(error) => tracing::error!(%error, "cannot listen for peers"),
            }
        }
        let config = &self.settings.node.overlay;
        let jitter = Duration::from_millis(config.seed % 1000);
        for seed in &self.settings.join {
            tokio::spawn(seeds::resolve(seed.clone(), jitter, self.links.events.clone()));
        }
        if self.settings.follow_addresses {
            let told = config.addresses.clone();
            tokio::spawn(addresses::follow(bound.clone(), told, self.links.events.clone()));
        }
        let mdns = self.settings.mdns.clone()?;
        Some(tokio::spawn(mdns::run(mdns, config.clone(), bound, self.links.events.clone())))
    }

    /// Waits until there is something to do, and takes the first of it.
    async fn wait(&mut self) {
        // A pace that is no longer needed must be noticed soon.
        let measure_at = (!self.pace.is_zero()).then_some(self.measure_at);
        let deadline = self.node.deadline().into_iter().chain(measure_at).min();
        let mut until =
            deadline.map_or(Duration::from_secs(3600), |at| at.since(self.mailbox.now()));
        if self.mute {
            until = until.min(MUTE);
        }
        let until = Instant::now() + until.min(Duration::from_secs(3600));
        let mailbox = Arc::clone(&self.mailbox);
        tokio::select! {
            Some(event) = self.events.recv() => self.event(event),
            Some(request) = self.requests.recv() => self.request(request),
            Some(Refused(reason)) = self.refused.recv() => {
                self.refusals += 1;
                if self.endings.is_new(&reason) {
                    self.say_refused(&reason);
                }
            }
            () = mailbox.wake.notified() => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }

    /// Takes all that there is, once.
    fn turn(&mut self) {
        for _ in 0..EVENTS_MAX {
            let Ok(event) = self.events.try_recv() else { break };
            self.event(event);
        }
        while let Ok(request) = self.requests.try_recv() {
            self.request(request);
        }
        self.notice();
        let now = self.mailbox.now();
        if self.node.deadline().is_some_and(|at| at <= now) {
            self.node.step(now, Input::Tick, &mut self.effects);
        }
        self.measure(now);
        self.node.settle(now, &mut self.effects);
        self.keep_and_perform();
    }

    /// Tells the node which functions were written to.
    fn notice(&mut self) {
        let now = self.mailbox.now();
        let wrote = {
            let mut wrote = self.mailbox.wrote.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *wrote)
        };
        for function in wrote {
            self.node.step(now, Input::Wrote { function }, &mut self.effects);
        }
    }

    fn request(&mut self, request: Request) {
        let input = match request {
            Request::Ask(ask, answer) => {
                let id = AskId(self.next_ask);
                self.next_ask += 1;
                self.asked.insert(id, answer);
                Input::Ask { id, ask }
            }
            Request::Runs(functions) => Input::Runs { functions },
            Request::Interval(function, interval) => Input::Interval { function, interval },
            Request::SyncRate(bytes) => Input::SyncRate { bytes },
            Request::Secret(secret) => Input::Secret { secret },
            Request::Encryption => return self.end_plain_links(),
            Request::Stop => {
                self.stopping = true;
                return;
            }
        };
        self.node.step(self.mailbox.now(), input, &mut self.effects);
    }

    fn event(&mut self, event: Event) {
        let gauges = &self.mailbox.gauges;
        let input = match event {
            Event::Opened { address, session, link, outbox, closing } => {
                let is_encrypted = session.is_some();
                self.open.insert(link, Open { outbox, is_encrypted, _closing: closing });
                let opened = match address {
                    Some(address) => Input::LinkOpened { address, link },
                    None => Input::LinkAccepted { link },
                };
                let Some(session) = session else { return self.step(opened) };
                self.step(opened);
                Input::Agreed { link, session }
            }
            Event::Failed { address, reason } => {
                tracing::debug!(%address, %reason, "cannot reach a node");
                Input::LinkFailed { address, reason }
            }
            Event::Received { link, envelope } => {
                gauges
                    .envelopes_received
                    .fetch_add(u64::from(!envelope.is_empty()), Ordering::Relaxed);
                gauges.bytes_received.fetch_add(envelope.len() as u64, Ordering::Relaxed);
                Input::Received { link, envelope }
            }
            Event::Closed { link, reason } => {
                if self.open.remove(&link).is_none() {
                    return;
                }
                self.endings.say(&reason);
                Input::LinkClosed { link }
            }
            Event::Found { address } => Input::Found { address },
            Event::Resolved { address } => Input::Resolved { address },
            Event::Addresses { addresses } => Input::Addresses { addresses },
        };
        self.step(input);
    }

    fn step(&mut self, input: Input) {
        self.node.step(self.mailbox.now(), input, &mut self.effects);
    }

    /// Ends the links without TLS, if each must have it. They are made anew.
    fn end_plain_links(&mut self) {
        if !self.settings.encryption.is_required() {
            return;
        }
        let is_plain = |_: &LinkId, open: &mut Open| !open.is_encrypted;
        let plain: Vec<_> = self.open.extract_if(is_plain).collect();
        for (link, open) in plain {
            open.outbox.close();
            self.closing.push(open.outbox);
            self.endings.say("peer-tls wants TLS now, and it has none");
            self.step(Input::LinkClosed { link });
        }
    }

    /// Carries out the node's effects once the journal has what the node knows: peers are never told of
    /// what might be lost. While the journal takes nothing, nothing is sent; for its peers this node is
    /// dead then.
    fn keep_and_perform(&mut self) {
        if self.effects.is_empty() {
            return;
        }
        match self.store.commit() {
            Ok(()) => {
                self.mute = false;
                self.perform();
            }
            Err(failed) => {
                if !std::mem::replace(&mut self.mute, true) {
                    tracing::error!("peers are told nothing while data is not kept: {failed}");
                }
            }
        }
    }

    fn perform(&mut self) {
        // The end of a link that is cut off has further effects.
        while !self.effects.is_empty() {
            let mut cut_off = Vec::new();
            for effect in std::mem::take(&mut self.effects) {
                self.perform_one(effect, &mut cut_off);
            }
            for link in cut_off {
                if let Some(open) = self.open.remove(&link) {
                    open.outbox.cut();
                    self.mailbox.gauges.cut_off.fetch_add(1, Ordering::Relaxed);
                    self.endings.say("it does not take what it is sent: cut off");
                    let closed = Input::LinkClosed { link };
                    self.node.step(self.mailbox.now(), closed, &mut self.effects);
                }
            }
        }
        self.mailbox.gauges.links.store(self.open.len() as u64, Ordering::Relaxed);
    }

    fn perform_one(&mut self, effect: Effect, cut_off: &mut Vec<LinkId>) {
        match effect {
            Effect::Dial { address } => {
                tokio::spawn(self.links.clone().dial(address));
            }
            Effect::Send { links, frame } => self.send(&links, &frame, Outbox::push, cut_off),
            Effect::SendBehind { link, frame } => {
                self.send(&[link], &frame, Outbox::push_sync_part, cut_off);
            }
            Effect::Close { link, reason } => {
                if let Some(open) = self.open.remove(&link) {
                    tracing::debug!(link = link.0, %reason, "closes a link");
                    open.outbox.close();
                    self.closing.retain(|outbox| !outbox.is_empty());
                    self.closing.push(open.outbox);
                }
            }
            Effect::Answer { id, answer } => {
                if let Some(asked) = self.asked.remove(&id) {
                    // The receiver may be gone.
                    let _ = asked.send(answer);
                }
            }
            Effect::Note(Note::Info(note)) => tracing::info!("{note}"),
            Effect::Note(Note::Warn(note)) => tracing::warn!("{note}"),
            Effect::Note(Note::Refused(reason)) => self.say_refused(&reason),
            Effect::Note(Note::Outdated(reason)) => {
                self.renew();
                tracing::error!("this node must end and start anew: {reason}");
                self.fatal.send_replace(Some(reason));
            }
            Effect::Note(Note::Forgotten(reason)) => {
                self.renew();
                tracing::error!("{reason}");
            }
            Effect::Note(Note::Fatal(reason)) => {
                tracing::error!("this node must end: {reason}");
                self.fatal.send_replace(Some(reason));
            }
        }
    }

    fn say_refused(&self, reason: &str) {
        tracing::warn!("refused a node: {reason}");
        if let Some(refused) = &self.settings.refused {
            refused.tell(reason);
        }
    }

    /// At its next start this node is another incarnation.
    fn renew(&self) {
        let random = RandomState::new().hash_one(self.mailbox.now());
        let renewed = self.store.journal().map(|journal| journal.renew(random));
        if let Some(Err(failed)) = renewed {
            tracing::error!("no new incarnation could be noted: {failed}");
        }
    }

    fn send(
        &mut self,
        links: &[LinkId],
        frame: &Bytes,
        push: fn(&Outbox, Bytes) -> Result<(), Full>,
        cut_off: &mut Vec<LinkId>,
    ) {
        let gauges = &self.mailbox.gauges;
        for link in links {
            let Some(open) = self.open.get(link) else { continue };
            if push(&open.outbox, frame.clone()).is_err() {
                if !cut_off.contains(link) {
                    cut_off.push(*link);
                }
                continue;
            }
            gauges.messages_sent.fetch_add(1, Ordering::Relaxed);
            gauges.bytes_sent.fetch_add(frame.len() as u64, Ordering::Relaxed);
        }
    }

    fn measure(&mut self, now: Time) {
        let gauges = &self.mailbox.gauges;
        gauges.turns.fetch_add(1, Ordering::Relaxed);
        let counters = self.node.counters();
        gauges.faults.store(counters.faults, Ordering::Relaxed);
        gauges.unknown.store(counters.unknown, Ordering::Relaxed);
        gauges.refusals.store(counters.refusals + self.refusals, Ordering::Relaxed);
        *gauges.replicator.lock().unwrap_or_else(PoisonError::into_inner) = self.node.counts();
        if now < self.measure_at {
            return;
        }
        self.measure_at = now + pace::EVERY;
        let (used, cpu) = self.meter.used();
        let nanos = u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX);
        gauges.cpu_nanos.store(nanos, Ordering::Relaxed);
        let pace = pace::next(self.pace, &used);
        if pace != self.pace {
            self.pace = pace;
            let nanos = u64::try_from(pace.as_nanos()).unwrap_or(u64::MAX);
            gauges.pace_nanos.store(nanos, Ordering::Relaxed);
            self.node.step(now, Input::Pace { pace }, &mut self.effects);
        }
    }

    /// Ends, after a moment for what is still to be sent.
    async fn wind_up(mut self) {
        self.asked.clear();
        let open: Vec<Open> = self.open.drain().map(|(_, open)| open).collect();
        self.closing.extend(open.iter().map(|link| link.outbox.clone()));
        for outbox in &self.closing {
            outbox.close();
        }
        let until = Instant::now() + LINGER;
        while self.closing.iter().any(|outbox| !outbox.is_empty()) && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Taken out of the queue is not yet on the wire.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
