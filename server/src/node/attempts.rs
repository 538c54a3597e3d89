//! Failed authentications, by address and user: after some failures, each further attempt waits for its
//! turn, and turns grow rare.
//!
//! A right password waits like a wrong one, else guessing would cost nothing but wrong guesses. Other
//! users of the same address do not wait.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How many failures cost nothing.
const FREE: u32 = 8;
/// The first pause between two attempts; each further failure doubles it.
const FIRST: Duration = Duration::from_millis(50);
/// The longest pause between two attempts.
const LONGEST: Duration = Duration::from_secs(4);
/// An attempt whose turn comes later than this is refused.
const PATIENCE: Duration = Duration::from_secs(8);
/// Failures are forgotten after a time without any.
const FORGET: Duration = Duration::from_secs(60);
/// How many pairs of address and user are kept apart; all others share one entry.
const ENTRIES: usize = 4096;
/// How often a line about failures is written at most.
const LOG_PACE: Duration = Duration::from_secs(10);

/// An address, and a hash of the user's name.
type Key = (IpAddr, u64);

/// The entry of those that do not get one of their own.
const SHARED: Key = (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    latest: Instant,
    /// When the next attempt may be made.
    next: Instant,
}

impl Failures {
    /// The pause after an attempt.
    fn pause(&self) -> Duration {
        let doublings = self.count.saturating_sub(FREE).min(16);
        (FIRST * (1 << doublings)).min(LONGEST)
    }

    fn is_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.latest.max(self.next)) > FORGET
    }
}

#[derive(Debug, Default)]
struct Log {
    from: Option<Instant>,
    unlogged: u64,
}

/// The failed authentications of this node.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    failures: Mutex<HashMap<Key, Failures>>,
    log: Mutex<Log>,
}

/// When an attempt may be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    /// Now.
    Now,
    /// After this time.
    After(Duration),
    /// Not soon; it is refused. Another may be made after this time.
    Refused(Duration),
}

impl Attempts {
    /// Takes a turn for an attempt to authenticate as `user` from `address`.
    pub(crate) fn turn(&self, address: IpAddr, user: &[u8], now: Instant) -> Turn {
        let mut failures = self.failures.lock();
        let key = key(&failures, address, user);
        let Some(known) = failures.get_mut(&key) else { return Turn::Now };
        if known.is_old(now) {
            failures.remove(&key);
            return Turn::Now;
        }
        if known.count < FREE {
            return Turn::Now;
        }
        let at = known.next.max(now);
        let wait = at - now;
        if wait > PATIENCE {
            return Turn::Refused(wait);
        }
        known.next = at + known.pause();
        if wait.is_zero() { Turn::Now } else { Turn::After(wait) }
    }

    /// Notes a failure. Returns how many there were since the last line of the log if one is due.
    pub(crate) fn failed(&self, address: IpAddr, user: &[u8], now: Instant) -> Option<u64> {
        let mut failures = self.failures.lock();
        if failures.len() >= ENTRIES {
            failures.retain(|_, known| !known.is_old(now));
        }
        let mut key = (address.to_canonical(), miso_store::hash(user));
        if failures.len() >= ENTRIES && !failures.contains_key(&key) {
            key = SHARED;
        }
        let known = failures.entry(key).or_insert(Failures { count: 0, latest: now, next: now });
        (known.count, known.latest) = (known.count.saturating_add(1), now);
        if known.count >= FREE {
            known.next = known.next.max(now + known.pause());
        }
        drop(failures);
        let mut log = self.log.lock();
        log.unlogged += 1;
        if log.from.is_some_and(|from| from > now) {
            return None;
        }
        log.from = Some(now + LOG_PACE);
        Some(std::mem::take(&mut log.unlogged))
    }

    /// Forgets the failures of `user` from `address`, which has authenticated.
    pub(crate) fn succeeded(&self, address: IpAddr, user: &[u8]) {
        let mut failures = self.failures.lock();
        if !failures.is_empty() {
            failures.remove(&(address.to_canonical(), miso_store::hash(user)));
        }
    }
}

/// The entry that holds the failures of `user` from `address`.
fn key(failures: &HashMap<Key, Failures>, address: IpAddr, user: &[u8]) -> Key {
    let own = (address.to_canonical(), miso_store::hash(user));
    let is_shared = failures.len() >= ENTRIES && !failures.contains_key(&own);
    if is_shared { SHARED } else { own }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    /// How many attempts are let through within a time, if all of them fail.
    fn guesses(attempts: &Attempts, user: &[u8], within: Duration) -> usize {
        let (start, mut now, mut made) = (Instant::now(), Instant::now(), 0);
        while now - start < within {
            match attempts.turn(HOST, user, now) {
                Turn::Now => {
                    attempts.failed(HOST, user, now);
                    made += 1;
                }
                Turn::After(wait) | Turn::Refused(wait) => now += wait.min(LONGEST),
            }
        }
        made
    }

    #[test]
    fn guessing_becomes_slow_and_stays_so() {
        let attempts = Attempts::default();
        assert!(guesses(&attempts, b"u", Duration::from_secs(600)) < 200);
    }

    #[test]
    fn few_failures_cost_nothing_and_success_forgets_them() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for _ in 1..FREE {
            assert_eq!(attempts.turn(HOST, b"u", now), Turn::Now);
            attempts.failed(HOST, b"u", now);
        }
        assert_eq!(attempts.turn(HOST, b"u", now), Turn::Now);
        attempts.failed(HOST, b"u", now);
        assert!(matches!(attempts.turn(HOST, b"u", now), Turn::After(_)));
        assert_eq!(attempts.turn(HOST, b"other", now), Turn::Now, "another user does not wait");
        attempts.succeeded(HOST, b"u");
        assert_eq!(attempts.turn(HOST, b"u", now), Turn::Now);
    }

    #[test]
    fn attempts_at_once_take_turns_and_too_many_are_refused() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for _ in 0..FREE + 8 {
            attempts.failed(HOST, b"u", now);
        }
        let turns: Vec<Turn> = (0..20).map(|_| attempts.turn(HOST, b"u", now)).collect();
        let waiting = turns.iter().filter(|turn| matches!(turn, Turn::After(_))).count();
        assert!((1..=4).contains(&waiting), "{turns:?}");
        assert!(matches!(turns.last(), Some(Turn::Refused(_))), "{turns:?}");
        let later = now + FORGET * 2;
        assert_eq!(attempts.turn(HOST, b"u", later), Turn::Now, "failures are forgotten");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let mut lines = 0;
        for user in 0..2 * ENTRIES {
            let line = attempts.failed(HOST, &user.to_le_bytes(), now);
            lines += usize::from(line.is_some());
        }
        assert!(attempts.failures.lock().len() <= ENTRIES + 1);
        assert_eq!(lines, 1, "one line tells of all");
        assert!(matches!(attempts.turn(HOST, b"one more", now), Turn::Refused(_) | Turn::After(_)));
    }
}
