//! Copies: which functions this node holds for others, so that `function-copies` nodes have each.
//!
//! A function is *carried* by the nodes that run it and by those that hold it: full replicas without
//! clients. [`crate::placement`] names the holders. A node that is not named any more, or
//! that ends a function with data, holds it until those that are named know all that it knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use miso_protocol::names;
use miso_store::Store;
use miso_store::crdt::ReplicaId;

use crate::placement::{self, Candidate};
use crate::{Role, Time};

/// How often it is looked whether others have what is held until they do.
const LOOK: Duration = Duration::from_millis(500);

/// Which functions a node holds by name, whether they are placed on it or not.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Hold {
    /// None.
    #[default]
    Nothing,
    /// Every function of which it hears.
    Everything,
    /// These.
    Named(BTreeSet<Bytes>),
}

/// How many copies of functions there are to be.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many nodes are to have each function; 1: only those that run it.
    pub copies: usize,
    /// What this node holds by name.
    pub hold: Hold,
    /// A node that cannot be reached counts for this long as one that comes back.
    pub grace: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config { copies: 1, hold: Hold::Nothing, grace: Duration::from_secs(5) }
    }
}

/// Another node.
#[derive(Debug)]
struct Member {
    name: String,
    carries: BTreeMap<Bytes, Role>,
    /// If it cannot be reached: until when it counts.
    until: Option<Time>,
}

/// Why a function is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Why {
    /// This node is named.
    Placed,
    /// Others that are named do not have all of it yet.
    UntilMoved,
}

/// The copies that this node holds, and what it knows of those of others.
#[derive(Debug)]
pub(crate) struct Copies {
    config: Config,
    own: (ReplicaId, String),
    store: Arc<Store>,
    members: BTreeMap<ReplicaId, Member>,
    /// By function, the other nodes that carry it.
    carriers: BTreeMap<Bytes, BTreeMap<ReplicaId, Role>>,
    /// The functions that run here.
    runs: BTreeSet<Bytes>,
    held: BTreeMap<Bytes, Why>,
    look_at: Option<Time>,
    /// Whether there has been another node.
    met: bool,
    leaving: bool,
    changed: bool,
}

impl Copies {
    /// Nothing is known of other nodes yet: what is in the store is held until others have it.
    pub(crate) fn new(config: Config, own: (ReplicaId, String), store: Arc<Store>) -> Copies {
        let mut copies = Copies {
            config,
            own,
            store,
            members: BTreeMap::new(),
            carriers: BTreeMap::new(),
            runs: BTreeSet::new(),
            held: BTreeMap::new(),
            look_at: None,
            met: false,
            leaving: false,
            changed: false,
        };
        let functions = copies.store.functions();
        for function in functions {
            copies.place(&Bytes::copy_from_slice(function.name()), true);
        }
        copies
    }

    /// The functions that are held here without running.
    pub(crate) fn held(&self) -> impl Iterator<Item = &Bytes> {
        self.held.keys()
    }

    /// Whether a function is held here without running.
    pub(crate) fn holds(&self, name: &Bytes) -> bool {
        self.held.contains_key(name)
    }

    /// What this node says that it does with a function that it carries.
    pub(crate) fn role(&self, name: &Bytes) -> Role {
        if self.leaving {
            Role::Leaves
        } else if self.runs.contains(name) {
            Role::Runs
        } else if self.held.contains_key(name) {
            Role::Holds
        } else {
            Role::Leaves // it drains
        }
    }

    /// How many copies of a function there are, `peers` being the others of which each is one if it
    /// stays.
    pub(crate) fn count(&self, name: &Bytes, peers: impl Iterator<Item = ReplicaId>) -> usize {
        let here = self.runs.contains(name) || self.held.contains_key(name);
        let carriers = self.carriers.get(name);
        let stays = |id: &ReplicaId| {
            carriers.and_then(|of| of.get(id)).is_some_and(|role| *role != Role::Leaves)
        };
        usize::from(here) + peers.filter(stays).count()
    }

    /// Whether a function has data here and fewer copies than it is to have: `count`.
    pub(crate) fn is_under_copied(&self, name: &Bytes, count: usize) -> bool {
        count < self.config.copies && self.has_data(name)
    }

    /// Whether what is held has changed since this was asked last.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// When [`Copies::tick`] is due.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.members.values().filter_map(|member| member.until).chain(self.look_at).min()
    }

    /// The functions that run here, and no others.
    pub(crate) fn set_runs<'a>(&mut self, now: Time, names: impl Iterator<Item = &'a Bytes>) {
        let names: BTreeSet<Bytes> = names.cloned().collect();
        let old = std::mem::replace(&mut self.runs, names);
        let ended: Vec<Bytes> = old.difference(&self.runs).cloned().collect();
        let begun: Vec<Bytes> = self.runs.difference(&old).cloned().collect();
        ended.iter().for_each(|name| self.place(name, true));
        begun.iter().for_each(|name| self.place(name, false));
        self.look_soon(now);
    }

    /// A node can be reached.
    pub(crate) fn up(&mut self, now: Time, id: ReplicaId, name: &str) {
        self.met = true;
        let known = self.members.get_mut(&id);
        if let Some(member) = known {
            member.until = None;
            return;
        }
        // A node that was started again takes the place of its former incarnation.
        let former = self.members.iter().find(|(_, member)| member.name == name);
        let former = former.map(|(id, _)| *id);
        let member = Member { name: name.to_owned(), carries: BTreeMap::new(), until: None };
        self.members.insert(id, member);
        match former {
            Some(former) => self.gone(now, former),
            None => self.place_all(now),
        }
    }

    /// A node cannot be reached; it may come back.
    pub(crate) fn down(&mut self, now: Time, id: ReplicaId) {
        if let Some(member) = self.members.get_mut(&id) {
            member.until = Some(now + self.config.grace);
        }
    }

    /// A node does not come back under this identity.
    pub(crate) fn gone(&mut self, now: Time, id: ReplicaId) {
        let Some(member) = self.members.remove(&id) else { return };
        for name in member.carries.keys() {
            self.no_carrier(name, id);
        }
        self.place_all(now);
        // What no node carries any more is held again by those that still have some of it.
        member.carries.keys().for_each(|name| self.place(name, false));
        self.look_soon(now);
    }

    fn no_carrier(&mut self, name: &Bytes, id: ReplicaId) {
        if let Some(carriers) = self.carriers.get_mut(name) {
            carriers.remove(&id);
            if carriers.is_empty() {
                self.carriers.remove(name);
            }
        }
    }

    /// What another node carries now.
    pub(crate) fn told(&mut self, now: Time, id: ReplicaId, carries: BTreeMap<Bytes, Role>) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let old = std::mem::replace(&mut member.carries, carries.clone());
        let changed = |(name, role): &(&Bytes, &Role)| old.get(*name) != Some(*role);
        let changed: Vec<(Bytes, Role)> =
            carries.iter().filter(changed).map(|(name, role)| (name.clone(), *role)).collect();
        let ended: Vec<Bytes> =
            old.into_keys().filter(|name| !carries.contains_key(name)).collect();
        for (name, role) in changed {
            self.carriers.entry(name.clone()).or_default().insert(id, role);
            self.place(&name, false);
        }
        for name in ended {
            self.no_carrier(&name, id);
            self.place(&name, false);
        }
        self.look_soon(now);
    }

    /// This node leaves: others are to have what it has.
    pub(crate) fn leave(&mut self, now: Time) {
        if self.config.copies < 2 {
            return;
        }
        (self.leaving, self.changed, self.look_at) = (true, true, None);
        self.place_all(now);
    }

    fn place_all(&mut self, now: Time) {
        let names: BTreeSet<Bytes> =
            self.carriers.keys().chain(self.held.keys()).chain(&self.runs).cloned().collect();
        names.iter().for_each(|name| self.place(name, false));
        self.look_soon(now);
    }

    /// The other nodes that are to have a function: those that run it, and those that are named to hold
    /// it; and whether this node is named.
    fn named(&self, name: &Bytes) -> (BTreeSet<ReplicaId>, bool) {
        let carriers = self.carriers.get(name);
        let role = |id: &ReplicaId| carriers.and_then(|carriers| carriers.get(id)).copied();
        let stay = self.members.iter().filter(|(id, _)| role(id) != Some(Role::Leaves));
        let others = stay.map(|(id, member)| Candidate {
            id: *id,
            name: &member.name,
            runs: role(id) == Some(Role::Runs),
        });
        let here = Candidate { id: self.own.0, name: &self.own.1, runs: self.runs.contains(name) };
        let here = (!self.leaving).then_some(here);
        let holders = placement::holders(name, others.chain(here), self.config.copies);
        let is_named = holders.contains(&self.own.0);
        let run = self.members.keys().filter(|id| role(id) == Some(Role::Runs));
        let others = run.copied().chain(holders.into_iter().filter(|id| *id != self.own.0));
        (others.collect(), is_named)
    }

    fn holds_by_name(&self, name: &Bytes) -> bool {
        match &self.config.hold {
            Hold::Nothing => false,
            Hold::Everything => true,
            // A function is held with its databases.
            Hold::Named(names) => names.iter().any(|held| **held == *names::owner(name)),
        }
    }

    fn has_data(&self, name: &Bytes) -> bool {
        self.store.find(name).is_some_and(|function| !function.token().is_empty())
    }

    /// Sees whether a function is to be held here. `ended`: it ran here until now, or before the node
    /// was started.
    fn place(&mut self, name: &Bytes, ended: bool) {
        let carried = self.carriers.contains_key(name);
        let by_name = !self.leaving && self.holds_by_name(name) && (carried || self.has_data(name));
        let why = if self.runs.contains(name) || (self.config.copies < 2 && !by_name) {
            None
        } else if by_name || (carried && self.named(name).1) {
            Some(Why::Placed)
        } else if (ended || !carried || self.held.contains_key(name)) && self.has_data(name) {
            Some(Why::UntilMoved)
        } else {
            None
        };
        let old = match why {
            Some(why) => self.held.insert(name.clone(), why),
            None => self.held.remove(name),
        };
        self.changed |= old.is_some() != why.is_some();
    }

    fn look_soon(&mut self, now: Time) {
        let moves = self.held.values().any(|why| *why == Why::UntilMoved);
        // A node that leaves looks by itself, and lets go of nothing.
        if moves && !self.members.is_empty() && !self.leaving {
            self.look_at.get_or_insert(now + LOOK);
        }
    }

    /// Does what is due. `covered`: how many of these nodes know all that is known here of a function.
    pub(crate) fn tick(
        &mut self,
        now: Time,
        covered: impl Fn(&Bytes, &BTreeSet<ReplicaId>) -> usize,
    ) {
        let gone = self.members.iter().filter(|(_, m)| m.until.is_some_and(|until| until <= now));
        let gone: Vec<ReplicaId> = gone.map(|(id, _)| *id).collect();
        gone.into_iter().for_each(|id| self.gone(now, id));
        if self.look_at.is_none_or(|at| at > now) {
            return;
        }
        self.look_at = None;
        let until_moved = self.held.iter().filter(|(_, why)| **why == Why::UntilMoved);
        let moved: Vec<Bytes> = until_moved
            .filter(|(name, _)| self.has_copies(name, &covered))
            .map(|(name, _)| name.clone())
            .collect();
        for name in moved {
            self.held.remove(&name);
            self.changed = true;
        }
        self.look_soon(now);
    }

    /// Whether as many other nodes as can be have all that is known here of a function.
    fn has_copies(
        &self,
        name: &Bytes,
        covered: &impl Fn(&Bytes, &BTreeSet<ReplicaId>) -> usize,
    ) -> bool {
        let wanted = self.config.copies.min(self.members.len());
        wanted > 0 && covered(name, &self.named(name).0) >= wanted
    }

    /// Whether there are nodes that may yet take copies.
    pub(crate) fn may_move(&self) -> bool {
        !self.members.is_empty()
    }

    /// The functions with data here that do not have their copies elsewhere; none if there never was
    /// another node.
    pub(crate) fn missing(
        &self,
        covered: impl Fn(&Bytes, &BTreeSet<ReplicaId>) -> usize,
    ) -> Vec<Bytes> {
        if self.config.copies < 2 || !self.met {
            return Vec::new();
        }
        let here = self.runs.iter().chain(self.held.keys());
        let missing = here.filter(|name| self.has_data(name) && !self.has_copies(name, &covered));
        missing.cloned().collect()
    }
}
