//! What a hostile message can cost: a small multiple of its size, whatever it claims, and nothing
//! that stays if it is refused. Memory is counted by the allocator itself.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use miso_crdt::{
    Context, Decoder, Delta, Dot, Encoder, Events, ReplicaId, Set, SetDelta, Type, Value, Writer,
    Writers,
};

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most that `work` held at a time beyond what was held before it.
fn peak(work: impl FnOnce()) -> usize {
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    work();
    PEAK.load(Ordering::Relaxed) - before
}

fn dot(seq: u64) -> Dot {
    Dot::new(Writer(0), seq).expect("a small number")
}

/// A message of `kind` whose body `fill` writes.
fn message(kind: Type, fill: impl FnOnce(&mut Encoder)) -> Vec<u8> {
    let mut writers = Writers::new();
    (0..=u64::from(u16::MAX)).for_each(|id| _ = writers.intern(ReplicaId(id)));
    let mut encoder = Encoder::new();
    fill(&mut encoder);
    encoder.finish(kind as u8, &writers)
}

const MANY: u32 = 60_000;

/// Messages that unfold to the most per byte, for each type.
fn expensive() -> Vec<(&'static str, Vec<u8>)> {
    let key = |n: u32| n.to_be_bytes()[1..].to_vec();
    let dots = || (1..u64::from(MANY)).map(|n| dot(n * 2)).collect::<Vec<_>>();
    vec![
        (
            "elements",
            message(Type::OrSet, |to| {
                to.count(MANY as usize);
                for n in 0..MANY {
                    to.bytes(&key(n));
                    to.dots([dot(1)].into_iter());
                    to.dots([].into_iter());
                }
                to.byte(0);
            }),
        ),
        (
            "fields",
            message(Type::OrMap, |to| {
                to.count(MANY as usize);
                for n in 0..MANY {
                    to.bytes(&key(n));
                    to.count(0);
                    to.dots([dot(1)].into_iter());
                    to.count(0);
                }
                to.byte(0);
            }),
        ),
        (
            "counters of fields",
            message(Type::OrMap, |to| {
                to.count(MANY as usize);
                for n in 0..MANY {
                    to.bytes(&key(n));
                    to.count(0);
                    to.dots([].into_iter());
                    to.count(1);
                    to.dot(dot(1));
                    (0..4).for_each(|n| to.varint(u64::from(n == 0)));
                }
                to.byte(0);
            }),
        ),
        (
            "values",
            message(Type::MvRegister, |to| {
                to.count(MANY as usize);
                for n in 0..MANY {
                    to.dot(dot(u64::from(n) + 1));
                    to.varint(0);
                    to.bytes(&[]);
                }
                to.dots([].into_iter());
                to.byte(0);
            }),
        ),
        (
            "dots",
            message(Type::EwFlag, |to| {
                to.dots(dots().into_iter());
                to.dots(dots().into_iter());
                to.byte(0);
            }),
        ),
        (
            "dots beyond a vector",
            message(Type::EwFlag, |to| {
                to.dots([].into_iter());
                to.dots([].into_iter());
                to.byte(1);
                to.dots([].into_iter());
                to.dots(dots().into_iter());
            }),
        ),
        (
            "writers",
            message(Type::PnCounter, |to| {
                to.count(u16::MAX.into());
                for writer in 0..u16::MAX {
                    to.dot(Dot::new(Writer(writer), 1).expect("valid"));
                    (0..4).for_each(|n| to.varint(u64::from(n == 0)));
                }
                to.byte(0);
            }),
        ),
    ]
}

/// Only one test stands in this file, since others beside it would be counted, too.
#[test]
fn a_message_costs_a_small_multiple_of_its_size() {
    for (what, message) in expensive() {
        let mut kept = None;
        let decoding = peak(|| kept = Some(Delta::decode(&message, &mut Writers::new())));
        let delta = kept.expect("ran").unwrap_or_else(|refused| panic!("{what}: {refused}"));
        let mut value = Value::empty(delta.kind());
        let before = HELD.load(Ordering::Relaxed);
        let applying = peak(|| _ = value.apply(&(), &delta));
        let (held, said) = (HELD.load(Ordering::Relaxed) - before, value.heap_bytes());
        assert!(said.abs_diff(held) <= held / 10 + 100, "{what}: {said} bytes said, {held} held");
        let mut context = Context::new();
        let learning = peak(|| delta.learn(&mut context));
        let multiple = |bytes: usize| bytes.div_ceil(message.len());
        println!(
            "{what}: {} bytes, x{} to decode, x{} to apply, x{} to learn",
            message.len(),
            multiple(decoding),
            multiple(applying),
            multiple(learning)
        );
        for bytes in [decoding, applying, learning] {
            assert!(multiple(bytes) <= 40, "{what}: {bytes} bytes for {}", message.len());
        }
    }

    // Claims that the message does not bear out are refused before anything is reserved.
    for claim in [u64::from(u32::MAX), u64::MAX >> 1, u64::MAX] {
        for kind in Type::ALL {
            let mut writers = Writers::new();
            let message = message(*kind, |to| to.varint(claim));
            let cost = peak(|| assert!(Delta::decode(&message, &mut writers).is_err()));
            assert!(cost < 1_000, "{kind:?} {claim}: {cost} bytes");
            assert!(writers.is_empty());
        }
    }
    let mut head = vec![1, Type::OrSet as u8];
    head.extend([0xff, 0xff, 0xff, 0xff, 0x0f]);
    let cost = peak(|| assert!(Decoder::open(&head, &mut Writers::new()).is_err()));
    assert!(cost < 1_000, "a table of writers that is not there: {cost} bytes");

    an_element_costs_what_it_says();
}

/// What `heap_bytes` says is what the allocator gave.
fn an_element_costs_what_it_says() {
    struct Mint(u64);
    impl Events for Mint {
        fn next(&mut self) -> Dot {
            self.0 += 1;
            dot(self.0)
        }
        fn unsent(&self, _: Dot) -> bool {
            false
        }
        fn time(&mut self) -> u64 {
            0
        }
        fn writer(&self) -> Writer {
            Writer(0)
        }
    }
    use miso_crdt::Crdt;
    let before = HELD.load(Ordering::Relaxed);
    let (mut set, mut events) = (Box::new(Set::default()), Mint(0));
    for n in 0..100_000u32 {
        set.add(&n.to_be_bytes(), &mut events, None::<&mut SetDelta>);
    }
    let held = HELD.load(Ordering::Relaxed) - before;
    let said = set.heap_bytes();
    println!("100 000 elements of 4 bytes: {held} bytes held, {said} said");
    assert!(said.abs_diff(held) < held / 50, "{said} said, {held} held");
}
