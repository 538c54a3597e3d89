//! Which addresses to try, and when: seeds for ever, found ones until they have failed some times.
//!
//! Anything may be announced as an address. So dials of addresses that no operator gave are bounded in
//! number and rate, all together and for each address.

use std::collections::BTreeMap;
use std::time::Duration;

use super::bucket::Bucket;
use super::check::{ADDRESS_MAX, ADDRESSES_MAX};
use super::random::Random;
use crate::Time;

/// The most addresses that were found, and the most own ones that are remembered.
const FOUND_MAX: usize = 1024;
/// The most addresses that an operator gave, and the most that their names stand for.
const SEEDS_MAX: usize = 256;
/// Dials of addresses that no operator gave: this many at once, then one in this time.
const BURST: u32 = 64;
const EVERY: Duration = Duration::from_millis(50);
/// One address is dialed at most this often, however many nodes are said to be there.
const SAME_ADDRESS: Duration = Duration::from_secs(1);
/// After this many failures in a row an address that was found is given up. At the usual longest wait
/// that is after about two minutes, as long as mDNS believes in an address.
const FOUND_FAILURES_MAX: u32 = 30;
/// For this long an address at which this node found itself is not dialed. It may become another
/// node's later.
const OWN_FOR: Duration = Duration::from_secs(600);
/// The first wait after a failure; doubled with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// Where an address comes from: the later, the more it is trusted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Source {
    /// mDNS or a peer says so.
    Found,
    /// A name that an operator gave stands for it, or a node at an operator's address says so.
    Resolved,
    /// An operator gave it: tried for ever.
    Seed,
}

/// The addresses to try.
#[derive(Debug)]
pub(super) struct Dialer {
    targets: BTreeMap<String, Target>,
    /// Attempts under way, and the node they are for, if it is known.
    dialing: BTreeMap<String, Option<String>>,
    /// Where this node found itself.
    own: BTreeMap<String, Time>,
    longest_wait: Duration,
    bucket: Bucket,
    /// When addresses that no operator gave were dialed last.
    recent: BTreeMap<String, Time>,
    /// Whether a node has answered at an address that an operator gave, or one that led to it.
    has_met_seed: bool,
}

#[derive(Debug)]
struct Target {
    source: Source,
    at: Time,
    failures: u32,
    /// The name of the node that answered there last.
    node: Option<String>,
    /// Why it was not reached last.
    error: Option<String>,
}

impl Dialer {
    pub(super) fn new(longest_wait: Duration) -> Self {
        Self {
            targets: BTreeMap::new(),
            dialing: BTreeMap::new(),
            own: BTreeMap::new(),
            longest_wait,
            bucket: Bucket::new(BURST, EVERY),
            recent: BTreeMap::new(),
            has_met_seed: false,
        }
    }

    /// Whether a node has answered at an address that an operator gave, or all of these are this node's own.
    pub(super) fn has_met_seed(&self, now: Time) -> bool {
        self.has_met_seed || self.seeds().all(|(address, _)| self.is_own(now, address))
    }

    /// An address to try. Returns whether it is new; an error if there is no room for it.
    pub(super) fn add(&mut self, at: Time, address: String, source: Source) -> Result<bool, Full> {
        if address.is_empty() || address.len() > ADDRESS_MAX || self.is_own(at, &address) {
            return Ok(false);
        }
        if let Some(target) = self.targets.get_mut(&address) {
            target.source = target.source.max(source);
            return Ok(false);
        }
        let most = if source == Source::Found { FOUND_MAX } else { SEEDS_MAX };
        if self.targets.values().filter(|target| target.source == source).count() >= most {
            return Err(Full(most));
        }
        let target = Target { source, at, failures: 0, node: None, error: None };
        self.targets.insert(address, target);
        Ok(true)
    }

    /// Has a seed tried now.
    pub(super) fn hurry(&mut self, now: Time, address: &str) {
        if let Some(target) = self.targets.get_mut(address) {
            target.at = now;
        }
    }

    pub(super) fn is_own(&self, now: Time, address: &str) -> bool {
        self.own.get(address).is_some_and(|&since| now.since(since) < OWN_FOR)
    }

    pub(super) fn set_own(&mut self, now: Time, address: String) {
        self.own.retain(|_, since| now.since(*since) < OWN_FOR);
        if self.own.len() < FOUND_MAX {
            self.own.insert(address, now);
        }
    }

    /// Whether an operator gave this address, or one that led to it.
    pub(super) fn is_trusted(&self, address: &str) -> bool {
        self.targets.get(address).is_some_and(|target| target.source > Source::Found)
    }

    pub(super) fn is_dialing(&self, address: &str) -> bool {
        self.dialing.contains_key(address)
    }

    /// An attempt begins.
    pub(super) fn dial(&mut self, address: &str, node: Option<String>) {
        self.dialing.insert(address.to_owned(), node);
    }

    /// Whether an address that no operator gave may be dialed now. If so, that counts.
    pub(super) fn may_dial(&mut self, now: Time, address: &str) -> bool {
        self.recent.retain(|_, at| now.since(*at) < SAME_ADDRESS);
        if self.recent.contains_key(address) || !self.bucket.take(now) {
            return false;
        }
        self.recent.insert(address.to_owned(), now);
        true
    }

    /// When the next such address may be dialed.
    pub(super) fn may_dial_at(&self, now: Time) -> Time {
        self.bucket.next(now).max(now + EVERY)
    }

    /// An attempt is over. Returns the node it was for.
    pub(super) fn over(&mut self, address: &str) -> Option<String> {
        self.dialing.remove(address).flatten()
    }

    /// The address was not reached, or no node of this cluster answered there. Returns when it is tried
    /// again.
    pub(super) fn failed(
        &mut self,
        now: Time,
        address: &str,
        error: &str,
        random: &mut Random,
    ) -> Option<Time> {
        let target = self.targets.get_mut(address)?;
        target.failures += 1;
        target.node = None;
        target.error = Some(error.to_owned());
        if target.source != Source::Seed && target.failures >= FOUND_FAILURES_MAX {
            self.targets.remove(address);
            return None;
        }
        target.at = now + wait(target.failures, self.longest_wait, random);
        Some(target.at)
    }

    /// A node answered there.
    pub(super) fn reached(&mut self, address: &str, node: &str) {
        if let Some(target) = self.targets.get_mut(address) {
            target.failures = 0;
            target.node = Some(node.to_owned());
            target.error = None;
            self.has_met_seed |= target.source > Source::Found;
        }
    }

    /// The addresses that are due. Those for which `linked` says that a link to the node there is open
    /// are put off.
    pub(super) fn due(
        &mut self,
        now: Time,
        linked: impl Fn(Option<&str>, &str) -> bool,
    ) -> Vec<String> {
        let is_due = |(address, target): &(&String, &mut Target)| {
            target.at <= now && !self.dialing.contains_key(*address)
        };
        let mut due = Vec::new();
        for (address, target) in self.targets.iter_mut().filter(is_due) {
            let own = self.own.get(address).is_some_and(|&since| now.since(since) < OWN_FOR);
            if !own && !linked(target.node.as_deref(), address) {
                if target.source == Source::Found && !self.bucket.take(now) {
                    target.at = now + EVERY;
                    continue;
                }
                due.push(address.clone());
            }
            target.at = now + self.longest_wait;
        }
        due
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Time> {
        let waiting = self.targets.iter().filter(|(address, _)| !self.is_dialing(address));
        waiting.map(|(_, target)| target.at).min()
    }

    pub(super) fn longest_wait(&self) -> Duration {
        self.longest_wait
    }

    /// The addresses that an operator gave, and why each was not reached last.
    pub(super) fn seeds(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let seeds = self.targets.iter().filter(|(_, target)| target.source > Source::Found);
        seeds.map(|(address, target)| (address.as_str(), target.error.as_deref()))
    }
}

/// There is no room for a further address: how many there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Full(pub(super) usize);

/// How to reach a node of the table again.
#[derive(Debug, Default)]
pub(super) struct Redial {
    pub(super) at: Time,
    failures: u32,
    next: usize,
    /// Where it was reached: what it says of its addresses may be true elsewhere only.
    reached: Option<String>,
}

impl Redial {
    /// Whether the node was ever reached by a dial.
    pub(super) fn is_known_good(&self) -> bool {
        self.reached.is_some()
    }

    pub(super) fn at(at: Time) -> Self {
        Self { at, ..Self::default() }
    }

    /// The next address to try.
    pub(super) fn address(
        &mut self,
        said: &[String],
        usable: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let all: Vec<&String> =
            self.reached.iter().chain(said.iter().take(ADDRESSES_MAX)).collect();
        for _ in 0..all.len() {
            let address = all[self.next % all.len()];
            self.next = self.next.wrapping_add(1);
            if usable(address) {
                return Some(address.clone());
            }
        }
        None
    }

    pub(super) fn failed(
        &mut self,
        now: Time,
        addresses: usize,
        longest: Duration,
        random: &mut Random,
    ) -> Time {
        self.failures += 1;
        // One round over all addresses is one failure of the node.
        let rounds = self.failures / u32::try_from(addresses.max(1)).unwrap_or(1);
        self.at = now + wait(rounds, longest, random);
        self.at
    }

    /// A link to the node is open, dialed at this address.
    pub(super) fn reached(&mut self, address: Option<String>) {
        self.next = 0;
        if address.is_some() {
            self.reached = address;
        }
    }

    /// A link to the node has ended. If it did not live for long, its end is a failure: a link that dies
    /// as soon as it is open, over and over, is dialed ever more seldom.
    pub(super) fn ended(
        &mut self,
        now: Time,
        lived: bool,
        first: Duration,
        longest: Duration,
        random: &mut Random,
    ) {
        if lived {
            self.failures = 0;
            self.at = now + random.around(first);
        } else {
            self.failures += 1;
            self.at = now + wait(self.failures, longest, random).max(first);
        }
    }
}

/// Exponential, bounded, with jitter.
fn wait(failures: u32, longest: Duration, random: &mut Random) -> Duration {
    let wait = FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(16));
    random.around(wait.min(longest) * 4 / 5)
}
