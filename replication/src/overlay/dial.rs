//! Which addresses to try, and when: seeds for ever, found ones until they have failed some times.

use std::collections::BTreeMap;
use std::time::Duration;

use super::check::{ADDRESS_MAX, ADDRESSES_MAX};
use super::random::Random;
use crate::Time;

/// The most addresses that are tried or remembered as own.
const TARGETS_MAX: usize = 1024;
/// After this many failures in a row an address that was found is given up. At the usual longest wait
/// that is after about two minutes, as long as mDNS believes in an address.
const FOUND_FAILURES_MAX: u32 = 30;
/// For this long an address at which this node found itself is not dialed. It may become another
/// node's later.
const OWN_FOR: Duration = Duration::from_secs(600);
/// The first wait after a failure; doubled with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The addresses to try.
#[derive(Debug)]
pub(super) struct Dialer {
    targets: BTreeMap<String, Target>,
    /// Attempts under way, and the node they are for, if it is known.
    dialing: BTreeMap<String, Option<String>>,
    /// Where this node found itself.
    own: BTreeMap<String, Time>,
    longest_wait: Duration,
}

#[derive(Debug)]
struct Target {
    seed: bool,
    at: Time,
    failures: u32,
    /// The name of the node that answered there last.
    node: Option<String>,
}

impl Dialer {
    pub(super) fn new(longest_wait: Duration) -> Self {
        Self {
            targets: BTreeMap::new(),
            dialing: BTreeMap::new(),
            own: BTreeMap::new(),
            longest_wait,
        }
    }

    /// An address to try. Returns whether it is new.
    pub(super) fn add(&mut self, at: Time, address: String, seed: bool) -> bool {
        if address.is_empty() || address.len() > ADDRESS_MAX || self.is_own(at, &address) {
            return false;
        }
        if let Some(target) = self.targets.get_mut(&address) {
            target.seed |= seed;
            return false;
        }
        if self.targets.len() >= TARGETS_MAX {
            return false;
        }
        self.targets.insert(address, Target { seed, at, failures: 0, node: None });
        true
    }

    pub(super) fn is_own(&self, now: Time, address: &str) -> bool {
        self.own.get(address).is_some_and(|&since| now.since(since) < OWN_FOR)
    }

    pub(super) fn set_own(&mut self, now: Time, address: String) {
        if self.own.len() < TARGETS_MAX {
            self.own.insert(address, now);
        }
    }

    pub(super) fn is_dialing(&self, address: &str) -> bool {
        self.dialing.contains_key(address)
    }

    /// An attempt begins.
    pub(super) fn dial(&mut self, address: &str, node: Option<String>) {
        self.dialing.insert(address.to_owned(), node);
    }

    /// An attempt is over. Returns the node it was for.
    pub(super) fn over(&mut self, address: &str) -> Option<String> {
        self.dialing.remove(address).flatten()
    }

    /// The address was not reached, or no node of this cluster answered there.
    pub(super) fn failed(&mut self, now: Time, address: &str, random: &mut Random) -> Option<Time> {
        let target = self.targets.get_mut(address)?;
        target.failures += 1;
        target.node = None;
        if !target.seed && target.failures >= FOUND_FAILURES_MAX {
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
        }
    }

    /// The addresses that are due. Those for which `linked` says that a link to the node there is open
    /// are put off.
    pub(super) fn due(
        &mut self,
        now: Time,
        linked: impl Fn(Option<&str>, &str) -> bool,
    ) -> Vec<String> {
        let mut due = Vec::new();
        for (address, target) in &mut self.targets {
            if target.at > now || self.dialing.contains_key(address) {
                continue;
            }
            let own = self.own.get(address).is_some_and(|&since| now.since(since) < OWN_FOR);
            target.at = now + self.longest_wait;
            if !own && !linked(target.node.as_deref(), address) {
                due.push(address.clone());
            }
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
}

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

    pub(super) fn reached(&mut self, address: Option<String>) {
        self.failures = 0;
        self.next = 0;
        if address.is_some() {
            self.reached = address;
        }
    }
}

/// Exponential, bounded, with jitter.
fn wait(failures: u32, longest: Duration, random: &mut Random) -> Duration {
    let wait = FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(16));
    random.around(wait.min(longest) * 4 / 5)
}
