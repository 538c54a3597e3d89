use proptest::prelude::*;

use super::*;
use crate::Writer;
use crate::laws::{Message, Site, exchange};

#[derive(Clone, Debug)]
enum Edit {
    Add(u64, u64),
    Reset,
}

fn edit(site: &mut Site<Counter>, edit: &Edit) {
    match *edit {
        Edit::Add(p, n) => _ = count(site, p, n),
        Edit::Reset => reset(site),
    }
}

fn count(site: &mut Site<Counter>, p: u64, n: u64) -> Result<i64, Overflow> {
    site.edit(|counter, events, change| {
        let value = counter.add(p, n, events)?;
        change.note(counter.entry(events.writer()).expect("just counted"));
        Ok(value)
    })
}

fn add(site: &mut Site<Counter>, n: u64) {
    count(site, n, 0).expect("small numbers");
}

fn reset(site: &mut Site<Counter>) {
    site.edit(|counter, events, change| counter.reset(events, Some(change)));
}

crate::laws! {
    grow_only: Counter, Edit = prop_oneof![
        4 => (0u64..100).prop_map(|n| Edit::Add(n, 0)),
        1 => Just(Edit::Reset),
    ],
    |site, op| edit(site, op),
    |counter| (counter.total(), counter.is_absent()),
    settle |counter| counter.collect(|_, _| true)
}

crate::laws! {
    positive_negative: Counter, Edit = prop_oneof![
        4 => (0u64..100, 0u64..100).prop_map(|(p, n)| Edit::Add(p, n)),
        1 => prop::sample::select(&[1 << 62, u64::MAX >> 1, u64::MAX][..])
            .prop_map(|n| Edit::Add(n, 0)),
        1 => prop::sample::select(&[1 << 62, u64::MAX >> 1, u64::MAX][..])
            .prop_map(|n| Edit::Add(0, n)),
        1 => Just(Edit::Reset),
    ],
    |site, op| edit(site, op),
    |counter| (counter.total(), counter.is_absent()),
    settle |counter| counter.collect(|_, _| true)
}

fn sites<const N: usize>() -> [Site<Counter>; N] {
    core::array::from_fn(|writer| Site::new(writer as u16))
}

fn values(sites: &[Site<Counter>]) -> Vec<i64> {
    sites.iter().map(|site| site.state.value()).collect()
}

type Sent = Message<CounterDelta>;

#[test]
fn concurrent_counts_sum() {
    let mut all = sites::<3>();
    for (site, n) in all.iter_mut().zip([5, 7, 11]) {
        add(site, n);
        count(site, 0, 1).expect("small numbers");
    }
    exchange(&mut all);
    assert_eq!(values(&all), [20; 3]);
}

#[test]
fn a_reset_takes_what_it_saw_and_nothing_else() {
    let mut all = sites::<3>();
    add(&mut all[0], 100);
    exchange(&mut all);
    reset(&mut all[1]);
    add(&mut all[0], 10);
    count(&mut all[2], 0, 3).expect("small numbers");
    exchange(&mut all);
    assert_eq!(values(&all), [7; 3]);
}

/// Defect 10 of the original: increments past 2^53 vanished, zero was an error.
#[test]
fn d10_counts_are_exact_to_64_bits() {
    let mut site = sites::<1>();
    assert_eq!(count(&mut site[0], 1 << 53, 0), Ok(1 << 53));
    assert_eq!(count(&mut site[0], 1, 0), Ok((1 << 53) + 1));
    assert_eq!(count(&mut site[0], (1 << 63) - 1, (1 << 53) + 1), Ok(i64::MAX));
    let before = site[0].state.clone();
    assert_eq!(count(&mut site[0], 1, 0), Err(Overflow));
    assert_eq!(count(&mut site[0], u64::MAX, u64::MAX), Err(Overflow), "the writer's totals");
    assert_eq!(site[0].state, before, "an error changes nothing");
    let mut lowest = sites::<1>();
    assert_eq!(count(&mut lowest[0], 0, 1 << 63), Ok(i64::MIN));
    assert_eq!(count(&mut lowest[0], 0, 1), Err(Overflow));
}

#[test]
fn adding_nothing_creates() {
    let [mut a, mut b] = sites();
    assert!(a.state.is_absent());
    add(&mut a, 0);
    assert!(!a.state.is_absent());
    b.receive(&a.send());
    assert_eq!((b.state.is_absent(), b.state.value()), (false, 0));
}

/// Pitfall 4.6: a merged total beyond 64 bits reads as the nearest that fits, and heals.
#[test]
fn a_total_beyond_64_bits_is_saturated_and_heals() {
    let mut all = sites::<2>();
    for site in &mut all {
        add(site, 1 << 62);
        add(site, (1 << 62) - 1);
    }
    exchange(&mut all);
    assert_eq!(values(&all), [i64::MAX; 2]);
    assert!(all.iter().all(|site| site.state.saturated()));
    assert_eq!(count(&mut all[0], 1, 0), Err(Overflow), "no further out");
    assert_eq!(count(&mut all[0], 0, 10), Ok(i64::MAX), "but back");
    assert_eq!(count(&mut all[1], 0, (1 << 63) - 1), Ok(i64::MAX), "and into the range");
    exchange(&mut all);
    assert_eq!(values(&all), [i64::MAX - 10; 2]);
    assert!(!all[0].state.saturated());
}

/// Pitfall 4.2 (a): the entry is reborn, and a peer that still holds the old one must not
/// swallow the new counts.
#[test]
fn a_reborn_entry_beats_the_old_one() {
    let [mut a, mut b, mut c] = sites();
    add(&mut a, 100);
    let hundred = a.send();
    b.receive(&hundred);
    c.receive(&hundred);
    reset(&mut c);
    let deleted = c.send();
    a.receive(&deleted);
    a.state.collect(|dot, _| dot.writer() == Writer(0)); // it knows its own mind
    assert!(a.state.is_blank());
    add(&mut a, 1);
    let one = a.send();
    let both: [&Sent; 2] = [&deleted, &one];
    for order in [both, [both[1], both[0]]] {
        let mut late = b.clone();
        order.iter().for_each(|message| late.receive(message));
        assert_eq!(late.state.value(), 1);
    }
    let mut all = [a, b, c];
    exchange(&mut all);
    assert_eq!(values(&all), [1; 3]);
}

/// Pitfall 4.2 (b): the writer counts on without knowing of the delete.
#[test]
fn counts_unseen_by_a_delete_survive_in_every_order() {
    let [mut a, mut b, mut c] = sites();
    add(&mut a, 100);
    let hundred = a.send();
    b.receive(&hundred);
    c.receive(&hundred);
    add(&mut a, 10);
    let ten = a.send();
    reset(&mut c);
    let deleted = c.send();
    for order in [[&ten, &deleted], [&deleted, &ten]] {
        let mut late = b.clone();
        order.iter().for_each(|message| late.receive(message));
        assert_eq!(late.state.value(), 10);
    }
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let all = [&a, &b, &c];
        let mut reader = Site::new(9);
        order.iter().for_each(|which| reader.join(all[*which]));
        assert_eq!(reader.state.value(), 10, "{order:?}");
    }
    let mut all = [a, b, c];
    exchange(&mut all);
    assert_eq!(values(&all), [10; 3]);
}

/// Two resets in one interval, with a life of the entry between them that nobody has seen.
#[test]
fn a_reset_of_an_unseen_life_does_not_hide_the_reset_before_it() {
    let [mut a, mut b] = sites();
    add(&mut a, 100);
    b.receive(&a.send());
    reset(&mut a);
    add(&mut a, 1);
    reset(&mut a);
    b.receive(&a.send());
    assert!(b.state.is_absent());
    a.edit(|counter, events, _| counter.add(1, 0, events)).expect("small numbers");
    reset(&mut a);
    assert!(a.send().delta.is_empty(), "nobody has heard of it");
}

fn edits() -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => (0u64..100, 0u64..100).prop_map(|(p, n)| Edit::Add(p, n)),
        1 => Just(Edit::Reset),
    ]
}

fn adopt(site: &mut Site<Counter>, of: u16) -> bool {
    site.edit(|counter, events, change| {
        counter.adopt(|dot| dot.writer() == Writer(of), events, Some(change))
    })
}

proptest! {
    /// Whatever was counted and deleted before, and in whatever order it arrives: what is adopted
    /// is the same on all, and of the writer that is gone nothing is left, nor comes back.
    #[test]
    fn what_is_adopted_stays_and_leaves_nothing_of_the_old_writer(
        before in prop::collection::vec((0..3usize, edits()), 1..12),
        after in prop::collection::vec((1..3usize, edits()), 0..6),
        order in any::<u64>(),
    ) {
        let mut all = sites::<3>();
        let mut history = Vec::new();
        for (at, done) in &before {
            edit(&mut all[*at], done);
            let sent = all[*at].send();
            // The one that will be gone may miss what the others do.
            (0..3).filter(|to| to != at && (*to != 0 || order & 1 == 0)).for_each(|to| {
                all[to].receive(&sent);
            });
            history.push(sent);
        }
        exchange(&mut all[1..]);
        let value = all[1].state.value();
        let had = all[1].state.counts(|dot| dot.writer() == Writer(0));
        prop_assert_eq!(adopt(&mut all[1], 0), had);
        prop_assert!(!adopt(&mut all[1], 0), "once");
        prop_assert_eq!(all[1].state.value(), value);
        history.push(all[1].send());
        // The other goes on meanwhile, but deletes nothing.
        for (at, done) in after.iter().filter(|(at, e)| *at == 1 || matches!(e, Edit::Add(..))) {
            edit(&mut all[*at], done);
            history.push(all[*at].send());
        }
        let mut late = Site::new(9);
        let mut places: Vec<usize> = (0..history.len()).collect();
        places.sort_by_key(|at| (*at as u64 + 1).wrapping_mul(order | 1) >> 3);
        places.iter().for_each(|at| late.receive(&history[*at]));
        exchange(&mut all[1..]);
        late.join(&all[1]);
        prop_assert_eq!(late.state.value(), all[1].state.value());
        prop_assert_eq!(all[2].state.value(), all[1].state.value());
        for site in [&mut all[1], &mut late] {
            site.state.collect(|dot, _| dot.writer() == Writer(0));
            prop_assert!(site.state.entry(Writer(0)).is_none());
            let value = site.state.value();
            history.iter().for_each(|message| site.receive(message));
            prop_assert_eq!(site.state.value(), value, "old messages bring nothing back");
            prop_assert!(site.state.entry(Writer(0)).is_none());
        }
    }
}

#[test]
fn what_does_not_fit_is_not_adopted() {
    let [mut a, mut b, mut c] = sites();
    add(&mut a, 1 << 62);
    b.receive(&a.send());
    count(&mut b, 0, 1 << 62).expect("it fits");
    // The total of what is added may be more than 64 bits, although the value is small.
    for _ in 0..2 {
        count(&mut b, 1 << 62, 0).expect("it fits");
        count(&mut b, 0, 1 << 62).expect("it fits");
    }
    count(&mut b, 1 << 62, 0).expect("it fits");
    let before = b.state.clone();
    assert!(!adopt(&mut b, 0));
    assert_eq!(b.state, before);
    c.join(&b);
    assert!(adopt(&mut c, 0), "another node has room");
    assert_eq!(c.state.value(), 1 << 62);
}

#[test]
fn updates_of_one_interval_share_an_event() {
    let [mut a] = sites();
    (0..10).for_each(|_| add(&mut a, 1));
    assert_eq!(a.context.upto(Writer(0)), 1);
    a.send();
    add(&mut a, 1);
    assert_eq!((a.context.upto(Writer(0)), a.state.value()), (2, 11));
}

#[test]
fn one_writer_takes_no_heap() {
    let [mut a, mut b] = sites();
    add(&mut a, 1);
    b.receive(&a.send());
    add(&mut a, 1);
    b.receive(&a.send());
    assert_eq!((a.state.heap_bytes(), b.state.heap_bytes()), (0, 0));
    assert_eq!(b.state.value(), 2);
}

#[test]
fn a_deleted_count_is_kept_for_its_floor_alone() {
    let [mut a, mut b] = sites();
    add(&mut a, 3);
    b.receive(&a.send());
    assert!(Crdt::size(&b.state) == 3 && !Crdt::has_dead_entries(&b.state));
    reset(&mut b);
    assert!(b.state.is_absent() && Crdt::has_dead_entries(&b.state));
    assert_eq!(Crdt::size(&b.state), 0);
    b.state.collect(|_, _| true);
    assert!(b.state.is_blank() && !Crdt::has_dead_entries(&b.state));
}
