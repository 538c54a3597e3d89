//! Each row of the table of merging rules, and each public vector that is about types alone, by name:
//! what happens on nodes that are apart, and what all of them say once they have met.

use alloc::string::String;
use alloc::vec::Vec;

use super::hll::Registers;
use super::items::Mode;
use super::play::{Node, exchange};
use super::{FOREVER, Hll, PlainHash, PlainSet, PlainString, PlainZSet, Refused, fixed};
use crate::Crdt as _;

/// Milliseconds: when a test begins.
const T: u64 = 1_000_000;
const SECOND: u64 = 1_000;

fn nodes<T: crate::Crdt>() -> [Node<T>; 2] {
    [Node::new(1), Node::new(2)]
}

impl Node<PlainString> {
    fn set(&mut self, now: u64, value: &str) {
        self.set_until(now, value, FOREVER);
    }

    fn set_until(&mut self, now: u64, value: &str, until: u64) {
        self.edit(now, |s, _, events, change| s.set(value.as_bytes(), until, events, change));
    }

    fn add(&mut self, now: u64, n: i64) -> Result<i64, Refused> {
        self.edit(now, |s, moment, events, change| s.add(n, moment, events, change))
    }

    fn add_decimal(&mut self, now: u64, n: &str) -> Result<String, Refused> {
        let amount = fixed::parse(n.as_bytes()).expect("a number");
        let sum = self.edit(now, |s, m, events, change| s.add_decimal(amount, m, events, change));
        sum.map(|sum| String::from_utf8(fixed::print(sum)).expect("ascii"))
    }

    fn expire(&mut self, now: u64, at: u64) -> bool {
        self.edit(now, |s, moment, events, change| s.expire(at, moment, events, change))
    }

    fn del(&mut self, now: u64) -> bool {
        self.edit(now, |s, moment, events, change| s.delete(moment, events, change))
    }

    fn reclaim(&mut self, now: u64) -> bool {
        self.edit(now, |s, moment, events, change| s.reclaim(moment, events, change))
    }

    fn get(&self, now: u64) -> Option<String> {
        let text = |text: &[u8]| String::from_utf8(text.to_vec()).expect("ascii");
        self.read(|s, writers| s.get(now, writers).map(|value| text(&value)))
    }

    fn ttl(&self, now: u64) -> Option<u64> {
        self.read(|s, writers| s.deadline(now, writers))
    }
}

/// What both say once they have met.
fn agreed(all: &mut [Node<PlainString>], now: u64) -> Option<String> {
    exchange(all);
    let value = all[0].get(now);
    assert!(all.iter().all(|node| node.get(now) == value));
    value
}

#[test]
fn s1_of_two_sets_the_later_stands_and_the_other_can_be_read() {
    let [mut a, mut b] = nodes::<PlainString>();
    a.set(T, "a");
    b.set(T + 1, "b");
    let mut all = [a, b];
    assert_eq!(agreed(&mut all, T + 2).as_deref(), Some("b"));
    let values = all[0].read(|s, writers| s.values(T + 2, writers).len());
    assert_eq!(values, 2);
    all[0].set(T + 3, "c");
    exchange(&mut all);
    assert_eq!(all[1].read(|s, writers| s.values(T + 4, writers).len()), 1);
}

#[test]
fn set_10_beside_incrby_5_is_15() {
    let [mut a, mut b] = nodes::<PlainString>();
    a.set(T, "10");
    assert_eq!(b.add(T, 5), Ok(5));
    assert_eq!(agreed(&mut [a, b], T + 1).as_deref(), Some("15"));
}

#[test]
fn s3_and_s4_counts_add_up() {
    let [mut a, mut b] = nodes::<PlainString>();
    assert_eq!(a.add(T, 7), Ok(7));
    assert_eq!(b.add(T, 3), Ok(3));
    let mut all = [a, b];
    assert_eq!(agreed(&mut all, T + 1).as_deref(), Some("10"));
    assert_eq!(all[0].add(T + 2, -3), Ok(7));
    assert_eq!(all[1].add(T + 2, 6), Ok(16));
    assert_eq!(agreed(&mut all, T + 3).as_deref(), Some("13"));
}

#[test]
fn counts_refuse_to_overflow_here_and_are_saturated_if_merged() {
    let [mut a, mut b] = nodes::<PlainString>();
    a.add(T, i64::MAX).expect("it fits");
    assert_eq!(a.add(T, 1), Err(Refused::Overflow));
    assert_eq!(a.get(T).as_deref(), Some("9223372036854775807"));
    b.add(T, i64::MAX).expect("it fits");
    let mut all = [a, b];
    assert_eq!(agreed(&mut all, T).as_deref(), Some("9223372036854775807"));
    all[0].add(T + 1, i64::MIN).expect("it heals");
    assert_eq!(agreed(&mut all, T).as_deref(), Some("9223372036854775806"));
}

#[test]
fn a_decimal_that_would_not_read_as_it_is_is_refused() {
    let [mut a, _] = nodes::<PlainString>();
    a.set(T, "9223372036854775807");
    assert_eq!(a.add_decimal(T + 1, "0.5").as_deref(), Ok("9223372036854775807.5"));
    assert_eq!(a.add_decimal(T + 2, "0.5"), Err(Refused::Overflow));
    assert_eq!(a.get(T + 2).as_deref(), Some("9223372036854775807.5"));
}

#[test]
fn set_of_a_text_beside_incr_hides_the_increment_until_it_is_overwritten() {
    let [mut a, mut b] = nodes::<PlainString>();
    a.set(T, "1");
    let mut all = [a, b];
    exchange(&mut all);
    [a, b] = all;
    a.set(T + 1, "abc");
    b.add(T + 1, 4).expect("an integer");
    let mut all = [a, b];
    assert_eq!(agreed(&mut all, T + 2).as_deref(), Some("abc"));
    assert_eq!(all[0].add(T + 2, 1), Err(Refused::NotInteger));
    all[0].set(T + 3, "10");
    assert_eq!(agreed(&mut all, T + 4).as_deref(), Some("10"));
}

#[test]
fn del_beside_incrby_5_leaves_5_and_beside_set_the_set() {
    let [mut a, mut b] = nodes::<PlainString>();
    b.add(T, 100).expect("an integer");
    let mut all = [a, b];
    exchange(&mut all);
    [a, b] = all;
    assert!(a.del(T + 1));
    b.add(T + 1, 5).expect("an integer");
    let mut all = [a, b];
    assert_eq!(agreed(&mut all, T + 2).as_deref(), Some("5"));
    let [mut a, mut b] = all;
    assert!(a.del(T + 3));
    b.set(T + 3, "v");
    assert_eq!(agreed(&mut [a, b], T + 4).as_deref(), Some("v"));
}

#[test]
fn h3_floats_add_to_the_same_digits() {
    let [mut a, mut b] = nodes::<PlainString>();
    a.set(T, "10.50");
    let mut all = [a, b];
    exchange(&mut all);
    [a, b] = all;
    assert_eq!(a.add_decimal(T, "0.1").as_deref(), Ok("10.6"));
    assert_eq!(b.add_decimal(T, "0.2").as_deref(), Ok("10.7"));
    let mut all = [a, b];
    assert_eq!(agreed(&mut all, T + 1).as_deref(), Some("10.8"));
    assert_eq!(all[0].add(T + 1, 1), Err(Refused::NotInteger));
    all[1].set(T + 2, "text");
    assert_eq!(all[1].add_decimal(T + 2, "1"), Err(Refused::NotFloat));
}

#[test]
fn t1_of_two_expires_the_later_deadline_holds_and_persist_is_the_latest() {
    for (first, second, both) in [
        (T + 10 * SECOND, T + 50 * SECOND, T + 50 * SECOND),
        (T + 100 * SECOND, T + 10 * SECOND, T + 100 * SECOND),
        (T + 10 * SECOND, FOREVER, FOREVER),
        (FOREVER, T + 10 * SECOND, FOREVER),
    ] {
        let [mut a, mut b] = nodes::<PlainString>();
        a.set_until(T, "v", T + 30 * SECOND);
        let mut all = [a, b];
        exchange(&mut all);
        [a, b] = all;
        assert!(a.expire(T + 1, first) && b.expire(T + 1, second));
        let mut all = [a, b];
        exchange(&mut all);
        assert!(all.iter().all(|node| node.ttl(T + 2) == Some(both)), "{first} {second}");
        // One that has seen both is in place of both.
        assert!(all[0].expire(T + 3, T + 20 * SECOND));
        exchange(&mut all);
        assert_eq!(all[1].ttl(T + 4), Some(T + 20 * SECOND));
        assert_eq!(all[1].get(T + 20 * SECOND), None);
    }
}

#[test]
fn set_ex_beside_set_ex_has_the_winner_with_its_own_deadline() {
    let [mut a, mut b] = nodes::<PlainString>();
    a.set_until(T, "a", T + 10 * SECOND);
    b.set_until(T + 1, "b", T + 20 * SECOND);
    let mut all = [a, b];
    assert_eq!(agreed(&mut all, T + 15 * SECOND).as_deref(), Some("b"));
    assert_eq!(all[0].ttl(T + 2), Some(T + 20 * SECOND));
    assert_eq!(all[0].get(T + 20 * SECOND), None);
    // And an expired winner does not bring the loser back.
    let [mut a, mut b] = nodes::<PlainString>();
    a.set_until(T, "a", T + 20 * SECOND);
    b.set_until(T + 1, "b", T + 10 * SECOND);
    assert_eq!(agreed(&mut [a, b], T + 15 * SECOND), None);
}

#[test]
fn set_beside_expire_has_no_deadline() {
    let [mut a, mut b] = nodes::<PlainString>();
    a.set(T, "old");
    let mut all = [a, b];
    exchange(&mut all);
    [a, b] = all;
    a.set(T + 1, "v");
    assert!(b.expire(T + 2, T + 10 * SECOND));
    let mut all = [a, b];
    assert_eq!(agreed(&mut all, T + 11 * SECOND).as_deref(), Some("v"));
    assert_eq!(all[1].ttl(T + 3), Some(FOREVER));
}

#[test]
fn incr_and_expire_on_two_nodes_is_the_sum_with_the_longer_deadline() {
    let [mut a, mut b] = nodes::<PlainString>();
    for (node, now) in [(&mut a, T), (&mut b, T + 5 * SECOND)] {
        node.add(now, 1).expect("an integer");
        assert!(node.expire(now, now + 60 * SECOND));
    }
    let mut all = [a, b];
    assert_eq!(agreed(&mut all, T + 62 * SECOND).as_deref(), Some("2"));
    assert_eq!(all[0].ttl(T + 6 * SECOND), Some(T + 65 * SECOND));
    assert_eq!(all[1].get(T + 65 * SECOND), None);
}

#[test]
fn incr_beside_incr_and_expire_never_lacks_a_deadline() {
    let [mut a, mut b] = nodes::<PlainString>();
    a.add(T, 1).expect("an integer");
    b.add(T, 1).expect("an integer");
    assert!(b.expire(T, T + SECOND));
    let mut all = [a, b];
    exchange(&mut all);
    let [mut a, mut b] = all;
    // A count that has not seen a longer deadline, and that deadline.
    a.add(T + 1, 1).expect("an integer");
    assert!(b.expire(T + 1, T + 9 * SECOND));
    let mut all = [a, b];
    assert_eq!(agreed(&mut all, T + 8 * SECOND).as_deref(), Some("3"));
    assert_eq!(all[0].get(T + 9 * SECOND), None);
}

#[test]
fn what_is_written_before_the_deadline_elsewhere_is_gone_everywhere() {
    for reclaimed in [false, true] {
        let [mut a, mut b] = nodes::<PlainString>();
        b.add(T, 1).expect("an integer");
        assert!(b.expire(T, T + SECOND));
        let mut all = [a, b];
        exchange(&mut all);
        [a, b] = all;
        b.add(T + 500, 5).expect("an integer");
        assert_eq!(a.get(T + SECOND), None, "the deadline itself is too late");
        assert!(!reclaimed || a.reclaim(T + 2 * SECOND));
        let mut all = [a, b];
        assert_eq!(agreed(&mut all, T + 3 * SECOND), None);
        for node in &mut all {
            node.reclaim(T + 4 * SECOND);
        }
        exchange(&mut all);
        assert!(all.iter().all(|node| node.state.cell().values().is_empty()));
        assert_eq!(all[0].get(T), None, "nothing comes back");
    }
}

#[test]
fn a_longer_deadline_set_elsewhere_before_holds_everywhere() {
    let [mut a, mut b] = nodes::<PlainString>();
    a.set_until(T, "v", T + SECOND);
    let mut all = [a, b];
    exchange(&mut all);
    [a, b] = all;
    assert!(b.expire(T + 500, T + 10 * SECOND));
    assert_eq!(a.get(T + 2 * SECOND), None);
    assert_eq!(agreed(&mut [a, b], T + 3 * SECOND).as_deref(), Some("v"));
}

#[test]
fn a_write_after_the_deadline_begins_a_new_life() {
    let [mut a, mut b] = nodes::<PlainString>();
    b.add(T, 7).expect("an integer");
    assert!(b.expire(T, T + SECOND));
    let mut all = [a, b];
    exchange(&mut all);
    [a, b] = all;
    b.add(T + 900, 5).expect("an integer"); // of the old life, and late
    assert_eq!(a.add(T + 2 * SECOND, 1), Ok(1));
    let mut all = [a, b];
    assert_eq!(agreed(&mut all, T + 3 * SECOND).as_deref(), Some("1"));
    assert_eq!(all[1].ttl(T + 3 * SECOND), Some(FOREVER));
    // Nor does a deadline of the new one bring it back.
    assert!(all[0].expire(T + 3 * SECOND, T + 60 * SECOND));
    assert_eq!(agreed(&mut all, T + 4 * SECOND).as_deref(), Some("1"));
    assert_eq!(all[1].add(T + 4 * SECOND, 1), Ok(2));
    assert_eq!(agreed(&mut all, T + 5 * SECOND).as_deref(), Some("2"));
}

#[test]
fn t4_deadlines_reach_to_2_to_the_49() {
    let [mut a, b] = nodes::<PlainString>();
    a.set_until(T, "v", 1 << 49);
    let mut all = [a, b];
    exchange(&mut all);
    assert_eq!(all[1].ttl(T), Some(1 << 49));
}

impl Node<PlainHash> {
    fn hset(&mut self, now: u64, field: &str, value: &str) -> bool {
        let set = (field.as_bytes(), value.as_bytes(), FOREVER);
        self.edit(now, |h, moment, events, change| h.set(set, moment, events, change))
    }

    fn hincrby(&mut self, now: u64, field: &str, n: i64) -> Result<i64, Refused> {
        self.edit(now, |h, moment, events, change| {
            h.add((field.as_bytes(), n), moment, events, change)
        })
    }

    fn hdel(&mut self, now: u64, field: &str) -> bool {
        self.edit(now, |h, m, events, change| h.remove(field.as_bytes(), m, events, change))
    }

    fn all(&self, now: u64) -> Vec<(String, String)> {
        let text = |text: &[u8]| String::from_utf8(text.to_vec()).expect("ascii");
        let mut fields: Vec<_> = self.read(|h, writers| {
            h.fields(now, writers).map(|(field, value)| (text(field), text(&value))).collect()
        });
        fields.sort();
        fields
    }
}

fn hash_agreed(all: &mut [Node<PlainHash>], now: u64) -> Vec<(String, String)> {
    exchange(all);
    assert!(all.iter().all(|node| node.all(now) == all[0].all(now)));
    all[0].all(now)
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(f, v)| (String::from(*f), String::from(*v))).collect()
}

#[test]
fn h1_hsets_of_two_fields_are_both_there_and_of_one_field_the_later() {
    let [mut a, mut b] = nodes::<PlainHash>();
    a.hset(T, "f1", "a");
    b.hset(T + 1, "f2", "b");
    a.hset(T, "f", "early");
    b.hset(T + 1, "f", "late");
    let expected = pairs(&[("f", "late"), ("f1", "a"), ("f2", "b")]);
    assert_eq!(hash_agreed(&mut [a, b], T + 2), expected);
}

#[test]
fn hdel_beside_hset_leaves_the_set_and_beside_hincrby_the_unseen_increment() {
    let [mut a, mut b] = nodes::<PlainHash>();
    a.hset(T, "f", "old");
    a.hincrby(T, "n", 10).expect("an integer");
    let mut all = [a, b];
    exchange(&mut all);
    [a, b] = all;
    assert!(a.hdel(T + 1, "f") && a.hdel(T + 1, "n"));
    b.hset(T + 1, "f", "new");
    assert_eq!(b.hincrby(T + 1, "n", 2), Ok(12));
    assert_eq!(hash_agreed(&mut [a, b], T + 2), pairs(&[("f", "new"), ("n", "2")]));
}

#[test]
fn h3_hincrby_beside_hincrby_is_the_sum() {
    let [mut a, mut b] = nodes::<PlainHash>();
    a.hincrby(T, "n", 1).expect("an integer");
    b.hincrby(T, "n", 2).expect("an integer");
    assert_eq!(hash_agreed(&mut [a, b], T + 1), pairs(&[("n", "3")]));
}

#[test]
fn a_session_that_expired_does_not_come_back_by_a_late_write() {
    for deleted in [false, true] {
        let [mut a, mut b] = nodes::<PlainHash>();
        b.hset(T, "user", "7");
        b.edit(T, |h, m, events, change| h.expire(T + SECOND, m, events, change));
        let mut all = [a, b];
        exchange(&mut all);
        [a, b] = all;
        b.hset(T + 500, "seen", "now");
        let reclaim = |node: &mut Node<PlainHash>, now| {
            node.edit(now, |h, moment, events, change| h.reclaim(moment, events, change))
        };
        if deleted {
            assert!(reclaim(&mut a, T + 2 * SECOND));
        } else {
            assert!(a.hset(T + 2 * SECOND, "user", "8"), "new: the old one is gone");
        }
        let mut all = [a, b];
        let expected = if deleted { &[][..] } else { &[("user", "8")] };
        assert_eq!(hash_agreed(&mut all, T + 3 * SECOND), pairs(expected));
        for node in &mut all {
            reclaim(node, T + 4 * SECOND);
        }
        assert_eq!(hash_agreed(&mut all, T), pairs(expected), "the late write is taken back");
    }
}

#[test]
fn a_refreshed_session_keeps_what_was_written_under_each_deadline() {
    let [mut a, b] = nodes::<PlainHash>();
    for minute in 0..5u64 {
        let now = T + minute * 60 * SECOND;
        a.hset(now, &alloc::format!("f{minute}"), "v");
        a.edit(now, |h, m, events, change| h.expire(now + 90 * SECOND, m, events, change));
    }
    let mut all = [a, b];
    assert_eq!(hash_agreed(&mut all, T + 5 * 60 * SECOND).len(), 5);
    assert!(hash_agreed(&mut all, T + 6 * 60 * SECOND).is_empty());
}

#[test]
fn a_field_has_a_deadline_of_its_own() {
    let [mut a, b] = nodes::<PlainHash>();
    a.hset(T, "stays", "1");
    let set = (&b"goes"[..], &b"2"[..], T + SECOND);
    a.edit(T, |h, moment, events, change| h.set(set, moment, events, change));
    let mut all = [a, b];
    assert_eq!(hash_agreed(&mut all, T).len(), 2);
    assert_eq!(hash_agreed(&mut all, T + SECOND), pairs(&[("stays", "1")]));
    let persist = (&b"goes"[..], FOREVER);
    let there =
        all[1].edit(T + 500, |h, m, events, change| h.expire_field(persist, m, events, change));
    assert!(there);
    assert_eq!(hash_agreed(&mut all, T + SECOND).len(), 2);
}

impl Node<PlainSet> {
    fn sadd(&mut self, now: u64, member: &str) -> bool {
        self.edit(now, |s, m, events, change| s.add(member.as_bytes(), m, events, change))
    }

    fn srem(&mut self, now: u64, member: &str) -> bool {
        self.edit(now, |s, m, events, change| s.remove(member.as_bytes(), m, events, change))
    }

    fn sdel(&mut self, now: u64) -> bool {
        self.edit(now, |s, moment, events, change| s.delete(moment, events, change))
    }

    fn members(&self, now: u64) -> Vec<Vec<u8>> {
        let mut members: Vec<Vec<u8>> = self
            .read(|s, writers| s.iter(now, writers).map(|(member, _)| member.to_vec()).collect());
        members.sort();
        assert_eq!(self.read(|s, writers| s.len(now, writers)), members.len());
        members
    }
}

fn set_agreed(all: &mut [Node<PlainSet>], now: u64) -> Vec<Vec<u8>> {
    exchange(all);
    assert!(all.iter().all(|node| node.members(now) == all[0].members(now)));
    all[0].members(now)
}

#[test]
fn e1_members_of_both_are_there() {
    let [mut a, mut b] = nodes::<PlainSet>();
    a.sadd(T, "a");
    b.sadd(T, "b");
    assert_eq!(set_agreed(&mut [a, b], T + 1), [b"a", b"b"]);
}

#[test]
fn e3_del_beside_sadd_leaves_what_was_added() {
    let [mut a, mut b] = nodes::<PlainSet>();
    a.sadd(T, "e1");
    let mut all = [a, b];
    exchange(&mut all);
    [a, b] = all;
    assert!(a.sadd(T + 1, "e2"));
    assert!(b.sdel(T + 1));
    assert_eq!((a.members(T + 1).len(), b.members(T + 1).len()), (2, 0));
    let mut all = [a, b];
    assert_eq!(set_agreed(&mut all, T + 2), [b"e2"]);
    assert!(all[1].srem(T + 3, "e2"));
    assert!(set_agreed(&mut all, T + 4).is_empty());
    assert!(all.iter().all(|node| crate::Crdt::is_blank(&node.state)), "nothing is left of it");
}

#[test]
fn sadd_beside_srem_is_present_and_two_may_pop_the_same_member() {
    let [mut a, mut b] = nodes::<PlainSet>();
    a.sadd(T, "m");
    let mut all = [a, b];
    exchange(&mut all);
    [a, b] = all;
    assert!(!a.sadd(T + 1, "m"), "not new, but it counts");
    assert!(b.srem(T + 1, "m"));
    let mut all = [a, b];
    assert_eq!(set_agreed(&mut all, T + 2), [b"m"]);
    let [mut a, mut b] = all;
    assert!(a.srem(T + 3, "m") && b.srem(T + 3, "m"), "both answer it");
    assert!(set_agreed(&mut [a, b], T + 4).is_empty());
}

#[test]
fn an_expire_is_for_the_life_that_it_has_seen() {
    let [mut a, mut b] = nodes::<PlainSet>();
    a.sadd(T, "old");
    let mut all = [a, b];
    exchange(&mut all);
    [a, b] = all;
    assert!(a.sdel(T + 1) && a.sadd(T + 1, "new"));
    b.edit(T + 1, |s, moment, events, change| s.expire(T + SECOND, moment, events, change));
    assert_eq!(set_agreed(&mut [a, b], T + 2 * SECOND), [b"new"]);
}

impl Node<PlainZSet> {
    fn zadd(&mut self, now: u64, member: &str, score: f64, mode: Mode) -> bool {
        self.edit(now, |z, moment, events, change| {
            z.set((member.as_bytes(), score, mode), moment, events, change)
        })
    }

    fn zincrby(&mut self, now: u64, member: &str, n: f64) -> Result<f64, Refused> {
        self.edit(now, |z, moment, events, change| {
            z.add((member.as_bytes(), n), moment, events, change)
        })
    }

    fn zrem(&mut self, now: u64, member: &str) -> bool {
        self.edit(now, |z, m, events, change| z.remove(member.as_bytes(), m, events, change))
    }

    fn zrange(&self, now: u64) -> Vec<(f64, String)> {
        let text = |text: &[u8]| String::from_utf8(text.to_vec()).expect("ascii");
        self.read(|z, writers| {
            let order = z.order(now, writers);
            let members = order.iter().flat_map(|order| order.range(0..order.len()));
            members.map(|(score, member)| (score, text(member))).collect()
        })
    }
}

fn zset_agreed(all: &mut [Node<PlainZSet>], now: u64) -> Vec<(f64, String)> {
    exchange(all);
    assert!(all.iter().all(|node| node.zrange(now) == all[0].zrange(now)));
    all[0].zrange(now)
}

fn scores(all: &[(f64, &str)]) -> Vec<(f64, String)> {
    all.iter().map(|(score, member)| (*score, String::from(*member))).collect()
}

#[test]
fn z1_z2_members_of_both_and_of_one_member_the_later_score() {
    let [mut a, mut b] = nodes::<PlainZSet>();
    a.zadd(T, "x", 1.1, Mode::Set);
    b.zadd(T + 1, "y", 1.2, Mode::Set);
    b.zadd(T + 1, "x", 2.1, Mode::Set);
    assert_eq!(zset_agreed(&mut [a, b], T + 2), scores(&[(1.2, "y"), (2.1, "x")]));
}

#[test]
fn z3_scores_of_the_very_same_time_are_the_same_everywhere() {
    let [mut a, b] = nodes::<PlainZSet>();
    let mut b = b.with_clock_of(&a);
    a.zadd(T, "x", 1.1, Mode::Set);
    b.zadd(T, "x", 2.1, Mode::Set);
    assert_eq!(zset_agreed(&mut [a, b], T + 2), scores(&[(2.1, "x")]));
}

#[test]
fn zadd_gt_beside_zadd_is_the_greater_and_lt_the_less() {
    for (mode, expected) in [(Mode::Greater, 5.0), (Mode::Less, 3.0)] {
        let [mut a, mut b] = nodes::<PlainZSet>();
        a.zadd(T, "m", 5.0, mode);
        b.zadd(T + 1, "m", 3.0, mode);
        assert_eq!(zset_agreed(&mut [a, b], T + 2), scores(&[(expected, "m")]));
    }
}

#[test]
fn zincrby_beside_zincrby_zadd_and_zrem() {
    let [mut a, mut b] = nodes::<PlainZSet>();
    for member in ["sum", "gone"] {
        a.zadd(T, member, 1.0, Mode::Set);
    }
    let mut all = [a, b];
    exchange(&mut all);
    [a, b] = all;
    assert_eq!(a.zincrby(T + 1, "sum", 2.0), Ok(3.0));
    assert_eq!(b.zincrby(T + 1, "sum", 3.0), Ok(4.0));
    a.zadd(T + 1, "set", 10.0, Mode::Set);
    assert_eq!(b.zincrby(T + 1, "set", 2.0), Ok(2.0));
    assert!(a.zrem(T + 1, "gone"));
    assert_eq!(b.zincrby(T + 1, "gone", 2.0), Ok(3.0));
    let expected = scores(&[(2.0, "gone"), (6.0, "sum"), (12.0, "set")]);
    assert_eq!(zset_agreed(&mut [a, b], T + 2), expected);
}

#[test]
fn z5_zrem_beside_zincrby_leaves_the_increment() {
    let [mut a, mut b] = nodes::<PlainZSet>();
    a.zadd(T, "x", 4.1, Mode::Set);
    let mut all = [a, b];
    exchange(&mut all);
    [a, b] = all;
    assert!(a.zrem(T + 1, "x"));
    assert_eq!(b.zincrby(T + 1, "x", 2.0), Ok(6.1));
    assert_eq!(zset_agreed(&mut [a, b], T + 2), scores(&[(2.0, "x")]));
}

#[test]
fn scores_beyond_the_fixed_point_are_set() {
    let [mut a, b] = nodes::<PlainZSet>();
    assert_eq!(a.zincrby(T, "m", 1e300), Ok(1e300));
    assert_eq!(a.zincrby(T, "m", f64::INFINITY), Ok(f64::INFINITY));
    assert_eq!(a.zincrby(T, "m", f64::NEG_INFINITY), Err(Refused::NotFloat));
    assert_eq!(zset_agreed(&mut [a, b], T + 1), scores(&[(f64::INFINITY, "m")]));
}

impl Node<Hll> {
    fn pfadd(&mut self, now: u64, element: &str) -> bool {
        let registers = Registers::of([element.as_bytes()]);
        self.edit(now, |h, moment, events, change| h.add(&registers, moment, events, change))
    }

    fn pfdel(&mut self, now: u64) -> bool {
        self.edit(now, |h, moment, events, change| h.delete(moment, events, change))
    }

    fn count(&self, now: u64) -> u64 {
        self.read(|h, writers| h.registers(now, writers).map_or(0, |all| all.count()))
    }
}

fn hll_agreed(all: &mut [Node<Hll>], now: u64) -> u64 {
    exchange(all);
    assert!(all.iter().all(|node| node.count(now) == all[0].count(now)));
    all[0].count(now)
}

#[test]
fn p1_p2_elements_of_both_are_counted() {
    let [mut a, mut b] = nodes::<Hll>();
    assert!(a.pfadd(T, "x") && b.pfadd(T, "y"));
    assert_eq!((a.count(T), b.count(T)), (1, 1));
    assert_eq!(hll_agreed(&mut [a, b], T + 1), 2);
}

#[test]
fn p3_del_beside_pfadd_leaves_exactly_what_it_had_not_seen() {
    for fold in [false, true] {
        let [mut a, mut b] = nodes::<Hll>();
        a.pfadd(T, "e1");
        b.pfadd(T, "e0");
        let mut all = [a, b];
        exchange(&mut all);
        if fold {
            all.iter_mut().for_each(|node| _ = node.state.fold(|_| true));
        }
        [a, b] = all;
        a.pfadd(T + 1, "e2");
        assert_eq!(a.count(T + 1), 3);
        assert!(b.pfdel(T + 1));
        assert_eq!(b.count(T + 1), 0);
        let mut all = [a, b];
        assert_eq!(hll_agreed(&mut all, T + 2), 1);
        assert!(!all[0].pfadd(T + 2, "e2"), "it was there");
    }
}

#[test]
fn folding_on_one_node_alone_changes_nothing() {
    let [mut a, mut b] = nodes::<Hll>();
    for n in 0..20u8 {
        a.pfadd(T, core::str::from_utf8(&[b'a' + n]).expect("ascii"));
        b.pfadd(T, core::str::from_utf8(&[b'A' + n]).expect("ascii"));
        a.send();
        b.send();
    }
    let mut all = [a, b];
    let count = hll_agreed(&mut all, T + 1);
    assert!((38..=42).contains(&count), "{count}");
    assert!(all[0].state.fold(|_| true));
    assert!(!all[0].state.fold(|_| true), "it is done");
    assert_eq!(all[0].state.sketches(), 2, "one of each writer");
    assert!(all[1].state.sketches() > 30);
    assert_eq!(hll_agreed(&mut all, T + 1), count);
    all[1].state.fold(|_| true);
    let [one, two] = &all;
    assert_eq!(one.state.digest(&one.writers), two.state.digest(&two.writers));
    assert!(all[1].pfdel(T + 2));
    assert_eq!(hll_agreed(&mut all, T + 3), 0);
}

/// What is added again and again does not pile up, whether or not anybody has heard of it.
#[test]
fn a_later_sketch_takes_the_place_of_what_it_says_again() {
    let [mut a, mut b] = nodes::<Hll>();
    for round in 0..1_000 {
        a.pfadd(T, ["e1", "e2", "e3"][round % 3]);
        a.send();
    }
    assert_eq!(a.state.sketches(), 3);
    for round in 0..3_000 {
        a.pfadd(T, &alloc::format!("{}", round % 500));
        a.send();
    }
    assert!(a.state.sketches() <= 503, "{}", a.state.sketches());
    // A delete that has seen the earlier adds leaves what was added again.
    b.pfadd(T, "e1");
    let mut all = [a, b];
    exchange(&mut all);
    let [mut a, mut b] = all;
    a.pfadd(T + 1, "e1");
    assert!(b.pfdel(T + 1));
    let mut all = [a, b];
    assert_eq!(hll_agreed(&mut all, T + 2), 1);
    assert_eq!(all[0].state.sketches(), 1);
}

/// Nodes that have folded up to different dots, or dropped a dot with nothing left to say, lose nothing to each other.
#[test]
fn what_was_moved_is_not_taken_for_deleted() {
    for a_joins_first in [true, false] {
        let [mut a, mut b] = nodes::<Hll>();
        let mut messages = Vec::new();
        for element in ["e1", "e2", "e2"] {
            a.pfadd(T, element);
            messages.push(a.send());
        }
        // One has folded before the last came, by which the other has dropped the second.
        let mut c = Node::<Hll>::new(3);
        messages[..2].iter().for_each(|message| c.receive(message));
        assert!(c.state.fold(|_| true));
        c.receive(&messages[2]);
        messages.iter().for_each(|message| b.receive(message));
        assert_eq!((b.state.sketches(), c.state.sketches()), (2, 2));
        if a_joins_first {
            b.join(&mut c);
            c.join(&mut b);
        } else {
            c.join(&mut b);
            b.join(&mut c);
        }
        assert_eq!((b.count(T), c.count(T)), (2, 2));
        [&mut b, &mut c].into_iter().for_each(|node| _ = node.state.fold(|_| true));
        assert_eq!(b.state.digest(&b.writers), c.state.digest(&c.writers));
        assert!(c.pfdel(T + 1));
        assert_eq!(hll_agreed(&mut [b, c], T + 1), 0);
    }
}

/// The sketches of many writers that are gone become one of the writer that adopts them.
#[test]
fn sketches_of_retired_writers_are_adopted() {
    let mut all: Vec<Node<Hll>> = (1..=12).map(Node::new).collect();
    for (n, node) in (0..).zip(&mut all) {
        for element in 0..50 {
            node.pfadd(T, &alloc::format!("{n} {element}"));
        }
    }
    let count = hll_agreed(&mut all, T + 1);
    assert!((590..=610).contains(&count), "{count}");
    assert_eq!(all[0].state.sketches(), 12);
    let bytes = all[0].state.heap_bytes();
    let gone = |dot: crate::Dot| dot.writer() != crate::Writer(0);
    assert!(all[0].state.counts(&gone));
    all[0].edit(T + 2, |h, _, events, change| h.adopt(&gone, events, change));
    assert!(!all[0].state.counts(&gone));
    // Its own, and what it has adopted.
    assert_eq!(all[0].state.sketches(), 2);
    assert!(all[0].state.heap_bytes() < bytes);
    assert_eq!(hll_agreed(&mut all, T + 3), count);
    assert!(all.iter().all(|node| node.state.sketches() == 2));
    all[0].edit(T + 3, |h, _, events, change| assert!(!h.adopt(&gone, events, change)));
    // What the others had added goes by a delete as ever.
    all[7].pfadd(T + 4, "new");
    assert!(all[3].pfdel(T + 4));
    assert_eq!(hll_agreed(&mut all, T + 5), 1);
}

/// As [`sketches_of_retired_writers_are_adopted`], where a node hears of the adoption before what is adopted.
#[test]
fn what_is_adopted_does_not_come_again() {
    let mut gone = Node::<Hll>::new(9);
    gone.pfadd(T, "e1");
    let first = gone.send();
    gone.pfadd(T, "e1");
    let second = gone.send();
    let [mut a, mut late] = nodes::<Hll>();
    a.receive(&first);
    a.receive(&second);
    assert_eq!(a.state.sketches(), 1, "the later says what the first said");
    a.edit(T, |h, m, events, change| {
        let gone = m.writers.index(crate::ReplicaId(9)).expect("met");
        assert!(h.adopt(&|dot: crate::Dot| dot.writer() == gone, events, change));
    });
    let adopted = a.send();
    late.receive(&adopted);
    late.receive(&first);
    late.receive(&second);
    assert_eq!((late.state.sketches(), late.count(T)), (1, 1));
    assert_eq!(a.state.digest(&a.writers), late.state.digest(&late.writers));
}

/// The estimates are those of `redis-server` for `PFADD h 0 1 .. n-1`.
#[test]
fn estimates_are_those_of_redis() {
    let counts = [(0, 0), (1, 1), (10, 10), (1_000, 1_001), (50_000, 50_354), (200_000, 200_305)];
    for (n, count) in counts {
        let elements: Vec<String> = (0..n).map(|n| alloc::format!("{n}")).collect();
        let registers = Registers::of(elements.iter().map(String::as_bytes));
        assert_eq!(registers.count(), count, "of {n}");
    }
}
