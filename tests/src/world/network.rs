//! The network of a simulated world: what is sent arrives late, once, twice or never.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use miso_replication::node::Input;
use miso_replication::{Effect, LinkId, Note};

use super::{Event, MS, World};
use crate::messages::{is_of_overlay, kinds};

/// By kind of message: how many were lost, and how many doubled.
pub type Faults = BTreeMap<&'static str, (u64, u64)>;

#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) at: usize,
    pub(super) peer: usize,
    pub(super) other: LinkId,
    /// Nothing sent from here arrives before that.
    pub(super) free_at: u64,
    /// Something sent from here was lost: TCP would deliver nothing after it.
    pub(super) stuck: bool,
}

impl World {
    pub(super) fn carry_out(&mut self, at: usize, out: Vec<Effect>) {
        let mut envelopes: BTreeMap<LinkId, BytesMut> = BTreeMap::new();
        let mut farewells = BTreeSet::new();
        for effect in out {
            // Here nothing waits to be sent, so nothing can overtake it.
            let effect = match effect {
                Effect::SendBehind { link, frame } => Effect::Send { links: vec![link], frame },
                other => other,
            };
            match effect {
                Effect::Dial { address } => {
                    let life = self.hosts[at].life;
                    let delay = MS + self.rng.below(5 * MS);
                    self.after(delay, Event::Dial { from: at, life, address });
                }
                Effect::Send { links, frame } => {
                    if kinds(&frame).any(|kind| kind == "Goodbye") {
                        let linked = links.iter().filter_map(|link| self.links.get(link));
                        farewells.extend(linked.map(|link| link.peer));
                    }
                    for link in links {
                        if self.plan.hostile && self.now < self.lossy_until {
                            self.send_badly(link, &frame);
                        } else {
                            envelopes.entry(link).or_default().extend_from_slice(&frame);
                        }
                    }
                }
                Effect::SendBehind { .. } => unreachable!("it is a Send by now"),
                Effect::Close { link, reason } => {
                    self.flush(&mut envelopes, link);
                    self.say(|| format!("n{at} closes {link:?}: {reason}"));
                    if let Some(closed) = self.links.remove(&link) {
                        let life = self.hosts[closed.peer].life;
                        let delay = closed.free_at.saturating_sub(self.now) + MS;
                        if !self.blocked.contains(&(at, closed.peer)) {
                            self.after(delay, Event::Closed { link: closed.other, life });
                        }
                    }
                }
                Effect::Answer { id, answer } => {
                    if self.hosts[at].leaving.as_ref().is_some_and(|leaving| leaving.id == id) {
                        self.left(at, &farewells);
                    }
                    self.answered(id, &answer);
                }
                Effect::Note(Note::Info(note)) => self.say(|| format!("n{at}: {note}")),
                Effect::Note(Note::Warn(note)) => self.say(|| format!("n{at} WARNS {note}")),
                Effect::Note(Note::Refused(why)) => {
                    self.say(|| format!("n{at} WARNS refused a node: {why}"))
                }
                Effect::Note(Note::Fatal(note) | Note::Outdated(note) | Note::Forgotten(note)) => {
                    self.say(|| format!("n{at} ENDS {note}"));
                }
            }
        }
        let links: Vec<LinkId> = envelopes.keys().copied().collect();
        for link in links {
            self.flush(&mut envelopes, link);
        }
    }

    pub(super) fn flush(&mut self, envelopes: &mut BTreeMap<LinkId, BytesMut>, link: LinkId) {
        if let Some(envelope) = envelopes.remove(&link) {
            self.send(link, envelope.freeze(), false);
        }
    }

    /// Sends a message that may get lost, come twice, or overtake others.
    fn send_badly(&mut self, link: LinkId, frame: &Bytes) {
        let Some(kind) = kinds(frame).next() else { return };
        let of_overlay = is_of_overlay(kind);
        // Links must last for a while, so that something happens on them.
        let (lost, doubled) = if of_overlay { (2, 2) } else { (8, 6) };
        let dice = self.rng.below(100);
        let faults = self.faults.entry(kind).or_default();
        let copies = if dice < lost {
            faults.0 += 1;
            0
        } else if dice < lost + doubled {
            faults.1 += 1;
            2
        } else {
            1
        };
        for _ in 0..copies {
            let overtakes = !of_overlay && self.percent(15);
            self.send(link, frame.clone(), overtakes);
        }
    }

    pub(super) fn send(&mut self, id: LinkId, envelope: Bytes, overtakes: bool) {
        let Some(link) = self.links.get(&id).cloned() else { return };
        if link.stuck {
            return;
        }
        if self.blocked.contains(&(link.at, link.peer)) {
            self.links.get_mut(&id).expect("found above").stuck = true;
            return;
        }
        let delay = if self.percent(3) { self.rng.below(100 * MS) } else { self.rng.below(2 * MS) };
        let mut at = self.now + 50_000 + delay;
        if !overtakes {
            at = at.max(link.free_at);
            self.links.get_mut(&id).expect("found above").free_at = at + 1;
        }
        let life = self.hosts[link.peer].life;
        self.after(at - self.now, Event::Deliver { link: link.other, life, envelope });
    }

    pub(super) fn dial(&mut self, from: usize, life: u64, address: String) {
        if self.hosts[from].life != life || !self.hosts[from].up {
            return;
        }
        let to = self.hosts.iter().position(|host| host.up && host.address == address);
        let open =
            |to: usize| !self.blocked.contains(&(from, to)) && !self.blocked.contains(&(to, from));
        let Some(to) = to.filter(|to| open(*to)) else {
            let reason = "nobody there".into();
            self.drive(from, vec![Input::LinkFailed { address, reason }]);
            return;
        };
        let (mine, theirs) = (LinkId(self.id()), LinkId(self.id()));
        let link = |at, peer, other| Link { at, peer, other, free_at: 0, stuck: false };
        self.links.insert(mine, link(from, to, theirs));
        self.links.insert(theirs, link(to, from, mine));
        self.drive(to, vec![Input::LinkAccepted { link: theirs }]);
        self.drive(from, vec![Input::LinkOpened { address, link: mine }]);
    }
}
