//! What the types cost: add, read, join and encode, with 1, 30 and 5 000 replicas and 10 to
//! 1 000 000 elements. A read must not depend on the replicas, an add neither on the replicas nor
//! on the elements. `cargo bench -p miso-crdt`.

use divan::{Bencher, black_box};
use miso_crdt::{
    Context, Counter, CounterDelta, Crdt, Delta, Dot, Events, EwFlag, MvRegister, OrMap, ReplicaId,
    Set, SetDelta, Value, Writer, Writers,
};

const REPLICAS: &[u16] = &[1, 30, 5_000];
const ELEMENTS: &[u32] = &[10, 1_000, 100_000, 1_000_000];

fn main() {
    divan::main();
}

/// Events of one writer; what is numbered up to `flushed` has been sent.
struct Mint {
    writer: Writer,
    seq: u64,
    flushed: u64,
}

impl Mint {
    fn of(writer: u16) -> Mint {
        Mint { writer: Writer(writer), seq: 0, flushed: 0 }
    }

    /// Every event is new: nothing is reused within an interval.
    fn sent(mut self) -> Mint {
        self.flushed = u64::MAX;
        self
    }
}

impl Events for Mint {
    fn next(&mut self) -> Dot {
        self.seq += 1;
        Dot::new(self.writer, self.seq).expect("a short history")
    }

    fn unsent(&self, dot: Dot) -> bool {
        dot.writer() == self.writer && dot.seq() > self.flushed
    }

    fn time(&mut self) -> u64 {
        self.seq
    }

    fn writer(&self) -> Writer {
        self.writer
    }
}

fn writers(count: u16) -> Writers {
    let mut writers = Writers::new();
    for id in 0..u64::from(count) {
        writers.intern(ReplicaId(id << 32)).expect("few enough");
    }
    writers
}

fn vector(replicas: u16, seq: u64) -> Context {
    let mut context = Context::new();
    (0..replicas).for_each(|writer| context.raise(Writer(writer), seq));
    context
}

/// A counter on which so many replicas have counted, and the events of the first.
fn counter(replicas: u16) -> (Counter, Mint) {
    let mut all = CounterDelta::default();
    let mut first = Mint::of(0);
    for writer in 0..replicas {
        let (mut one, mut events) = (Counter::default(), Mint::of(writer));
        one.add(u64::from(writer) + 1, 0, &mut events).expect("small");
        all.note(one.entry(Writer(writer)).expect("just counted"));
        first.seq = 1;
    }
    let mut counter = Counter::default();
    counter.apply(&(), &all);
    (counter, first)
}

fn element(n: u32) -> [u8; 12] {
    let mut bytes = *b"element:0000";
    bytes[8..].copy_from_slice(&n.to_be_bytes());
    bytes
}

fn set(elements: u32) -> (Set, Mint) {
    let (mut set, mut events) = (Set::default(), Mint::of(0));
    for n in 0..elements {
        set.add(&element(n), &mut events, None);
    }
    (set, events)
}

mod counters {
    use super::*;

    #[divan::bench(args = REPLICAS)]
    fn add(bencher: Bencher, replicas: u16) {
        let (mut counter, mut events) = counter(replicas);
        bencher.bench_local(|| counter.add(black_box(1), 0, &mut events));
    }

    #[divan::bench(args = REPLICAS)]
    fn add_by_the_last_replica(bencher: Bencher, replicas: u16) {
        let (mut counter, _) = counter(replicas);
        let mut events = Mint { writer: Writer(replicas - 1), seq: 1, flushed: 0 };
        bencher.bench_local(|| counter.add(black_box(1), 0, &mut events));
    }

    #[divan::bench(args = REPLICAS)]
    fn read(bencher: Bencher, replicas: u16) {
        let (counter, _) = counter(replicas);
        bencher.bench_local(|| (black_box(&counter).value(), black_box(&counter).is_absent()));
    }

    #[divan::bench(args = REPLICAS)]
    fn join_an_entry(bencher: Bencher, replicas: u16) {
        let (mut counter, _) = counter(replicas);
        let last = Writer(replicas - 1);
        let mut remote = Counter::default();
        remote.apply(&(), &counter.since(&()));
        let mut events = Mint { writer: last, seq: 1, flushed: 0 }.sent();
        bencher.bench_local(|| {
            remote.add(1, 0, &mut events).expect("small");
            let mut delta = CounterDelta::default();
            delta.note(remote.entry(last).expect("just counted"));
            counter.apply(&(), &delta)
        });
    }

    #[divan::bench(args = REPLICAS)]
    fn join_whole(bencher: Bencher, replicas: u16) {
        let (mut counter, _) = counter(replicas);
        let whole = counter.whole(&vector(replicas, 1));
        bencher.bench_local(|| counter.apply(&(), black_box(&whole)));
    }

    #[divan::bench(args = REPLICAS)]
    fn encode_whole(bencher: Bencher, replicas: u16) {
        let writers = writers(replicas);
        let (counter, _) = counter(replicas);
        let whole = Value::PnCounter(counter).whole(&vector(replicas, 1));
        bencher.bench_local(|| black_box(&whole).encode(&writers));
    }

    #[divan::bench(args = REPLICAS)]
    fn decode_whole(bencher: Bencher, replicas: u16) {
        let mut writers = writers(replicas);
        let (counter, _) = counter(replicas);
        let whole = Value::PnCounter(counter).whole(&vector(replicas, 1)).encode(&writers);
        bencher.bench_local(|| Delta::decode(black_box(&whole), &mut writers));
    }
}

mod sets {
    use super::*;

    #[divan::bench(args = ELEMENTS)]
    fn add_new(bencher: Bencher, elements: u32) {
        let (mut set, mut events) = set(elements);
        let mut next = elements;
        bencher.bench_local(|| {
            next += 1;
            set.add(&element(next), &mut events, None)
        });
    }

    #[divan::bench(args = ELEMENTS)]
    fn add_present_and_sent(bencher: Bencher, elements: u32) {
        let (mut set, events) = set(elements);
        let (mut events, mut next) = (events.sent(), 0u32);
        bencher.bench_local(|| {
            next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            set.add(&element(next % elements), &mut events, None)
        });
    }

    #[divan::bench(args = ELEMENTS)]
    fn contains(bencher: Bencher, elements: u32) {
        let (set, _) = set(elements);
        let mut next = 0u32;
        bencher.bench_local(|| {
            next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            set.contains(black_box(&element(next % elements)))
        });
    }

    #[divan::bench(args = ELEMENTS)]
    fn remove_and_add(bencher: Bencher, elements: u32) {
        let (mut set, mut events) = set(elements);
        let mut next = 0u32;
        bencher.bench_local(|| {
            next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let element = element(next % elements);
            set.remove(&element, &mut events, None) && set.add(&element, &mut events, None)
        });
    }

    #[divan::bench(args = ELEMENTS)]
    fn join_one_element(bencher: Bencher, elements: u32) {
        let (mut set, _) = set(elements);
        let (mut remote, mut events, mut next) = (Set::default(), Mint::of(1), 0u32);
        bencher.bench_local(|| {
            next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let mut delta = SetDelta::default();
            remote.add(&element(next % elements), &mut events, Some(&mut delta));
            set.apply(&(), &delta)
        });
    }

    #[divan::bench(args = ELEMENTS, sample_count = 10)]
    fn join_whole(bencher: Bencher, elements: u32) {
        let (mut set, events) = set(elements);
        let whole = set.whole(&vector(1, events.seq));
        bencher.bench_local(|| set.apply(&(), black_box(&whole)));
    }

    #[divan::bench(args = &[10, 1_000, 100_000, 1_000_000], sample_count = 10)]
    fn encode_whole(bencher: Bencher, elements: u32) {
        let writers = writers(1);
        let (set, events) = set(elements);
        let whole = Value::OrSet(Box::new(set)).whole(&vector(1, events.seq));
        bencher.bench_local(|| black_box(&whole).encode(&writers));
    }

    #[divan::bench(args = &[10, 1_000, 100_000, 1_000_000], sample_count = 10)]
    fn decode_whole(bencher: Bencher, elements: u32) {
        let mut writers = writers(1);
        let (set, events) = set(elements);
        let whole = Value::OrSet(Box::new(set)).whole(&vector(1, events.seq)).encode(&writers);
        bencher.bench_local(|| Delta::decode(black_box(&whole), &mut writers));
    }
}

mod registers_flags_and_maps {
    use super::*;

    #[divan::bench]
    fn register_set(bencher: Bencher) {
        let (mut register, mut events) = (MvRegister::default(), Mint::of(0));
        bencher.bench_local(|| register.set(black_box(b"value"), &mut events, None));
    }

    #[divan::bench(args = REPLICAS)]
    fn register_read(bencher: Bencher, replicas: u16) {
        let (writers, mut all) = (writers(replicas), MvRegister::default());
        for writer in 0..replicas {
            let (mut one, mut events) = (MvRegister::default(), Mint::of(writer));
            one.set(b"value", &mut events, None);
            all.apply(&(), &one.since(&()));
        }
        // Once somebody has written after all of them, one value is left.
        all.set(b"value", &mut Mint { writer: Writer(0), seq: 1, flushed: 0 }, None);
        bencher.bench_local(|| black_box(&all).winner(&writers).map(<[u8]>::len));
    }

    #[divan::bench]
    fn flag_enable_sent(bencher: Bencher) {
        let (mut flag, mut events) = (EwFlag::default(), Mint::of(0).sent());
        bencher.bench_local(|| flag.enable(&mut events, None));
    }

    #[divan::bench(args = ELEMENTS)]
    fn map_set(bencher: Bencher, fields: u32) {
        let (mut map, mut events) = (OrMap::default(), Mint::of(0));
        for n in 0..fields {
            map.set(&element(n), b"value", &mut events, None);
        }
        let mut next = 0u32;
        bencher.bench_local(|| {
            next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            map.set(&element(next % fields), b"value", &mut events, None)
        });
    }

    #[divan::bench(args = ELEMENTS)]
    fn map_count(bencher: Bencher, fields: u32) {
        let (mut map, mut events, writers) = (OrMap::default(), Mint::of(0), writers(1));
        for n in 0..fields {
            map.add(&element(n), 1, &writers, &mut events, None).expect("small");
        }
        let mut next = 0u32;
        bencher.bench_local(|| {
            next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            map.add(&element(next % fields), 1, &writers, &mut events, None)
        });
    }
}

/// What a join and an encoding cost by the number of replicas whose updates stand side by side.
mod side_by_side {
    use super::*;

    /// What so many replicas make of a value, each by itself.
    fn all<C: Crdt>(replicas: u16, update: impl Fn(&mut C, &mut Mint)) -> C {
        let mut all = C::default();
        let mut changes = C::Delta::default();
        for writer in 0..replicas {
            let mut one = C::default();
            update(&mut one, &mut Mint::of(writer));
            C::join_delta(&mut changes, &one.since(&()));
        }
        all.apply(&(), &changes);
        all
    }

    fn register(replicas: u16) -> MvRegister {
        all(replicas, |register: &mut MvRegister, events| register.set(b"value", events, None))
    }

    fn flag(replicas: u16) -> EwFlag {
        all(replicas, |flag: &mut EwFlag, events| {
            flag.enable(events, None);
        })
    }

    fn one_element(replicas: u16) -> Set {
        all(replicas, |set: &mut Set, events| {
            set.add(b"element", events, None);
        })
    }

    fn one_field(replicas: u16) -> OrMap {
        let writers = writers(replicas);
        all(replicas, |map: &mut OrMap, events| {
            map.add(b"field", 1, &writers, events, None).expect("small");
        })
    }

    fn join<C: Crdt>(bencher: Bencher<'_, '_>, mut value: C, replicas: u16) {
        let whole = value.whole(&vector(replicas, 1));
        bencher.bench_local(|| value.apply(&(), black_box(&whole)));
    }

    fn encode(bencher: Bencher<'_, '_>, value: &Value, replicas: u16) {
        let writers = writers(replicas);
        let whole = value.whole(&vector(replicas, 1));
        bencher.bench_local(|| black_box(&whole).encode(&writers));
    }

    #[divan::bench(args = REPLICAS, sample_count = 20)]
    fn register_join(bencher: Bencher, replicas: u16) {
        join(bencher, register(replicas), replicas);
    }

    #[divan::bench(args = REPLICAS, sample_count = 20)]
    fn register_encode(bencher: Bencher, replicas: u16) {
        encode(bencher, &Value::MvRegister(register(replicas)), replicas);
    }

    #[divan::bench(args = REPLICAS)]
    fn flag_read(bencher: Bencher, replicas: u16) {
        let flag = flag(replicas);
        bencher.bench_local(|| black_box(&flag).enabled());
    }

    #[divan::bench(args = REPLICAS, sample_count = 20)]
    fn flag_join(bencher: Bencher, replicas: u16) {
        join(bencher, flag(replicas), replicas);
    }

    #[divan::bench(args = REPLICAS, sample_count = 20)]
    fn flag_encode(bencher: Bencher, replicas: u16) {
        encode(bencher, &Value::EwFlag(flag(replicas)), replicas);
    }

    #[divan::bench(args = REPLICAS)]
    fn set_contains(bencher: Bencher, replicas: u16) {
        let set = one_element(replicas);
        bencher.bench_local(|| black_box(&set).contains(b"element"));
    }

    #[divan::bench(args = REPLICAS, sample_count = 20)]
    fn set_join(bencher: Bencher, replicas: u16) {
        join(bencher, one_element(replicas), replicas);
    }

    #[divan::bench(args = REPLICAS)]
    fn map_read(bencher: Bencher, replicas: u16) {
        let (map, writers) = (one_field(replicas), writers(replicas));
        bencher.bench_local(|| {
            let field = black_box(&map).get(b"field");
            field.and_then(|field| field.value(&writers)).map(|value| value.len())
        });
    }

    #[divan::bench(args = REPLICAS, sample_count = 20)]
    fn map_join(bencher: Bencher, replicas: u16) {
        join(bencher, one_field(replicas), replicas);
    }

    #[divan::bench(args = REPLICAS, sample_count = 20)]
    fn map_encode(bencher: Bencher, replicas: u16) {
        encode(bencher, &Value::OrMap(Box::new(one_field(replicas))), replicas);
    }

    #[divan::bench(args = &[10, 1_000, 100_000], sample_count = 10)]
    fn map_of_fields_join(bencher: Bencher, fields: u32) {
        let (mut map, mut events) = (OrMap::default(), Mint::of(0));
        (0..fields).for_each(|n| _ = map.set(&element(n), b"value", &mut events, None));
        let whole = map.whole(&vector(1, events.seq));
        bencher.bench_local(|| map.apply(&(), black_box(&whole)));
    }
}
