//! What stays of writers that do not come back: incarnations of nodes without a disk, one for each time that they were
//! started. Memory is counted by the allocator itself.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use miso_store::crdt::{ReplicaId, kind};
use miso_store::{Config, Function, Retirement, Store};

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
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

fn function(replica: u64) -> Arc<Function> {
    let store = Store::new(Config::new(ReplicaId(replica), 1, Arc::new(|| 0)));
    store.track();
    store.function(b"f")
}

fn count(function: &Function, name: &[u8]) {
    let hash = miso_store::hash(b"o");
    let mut shard = function.lock(function.shard_of(hash));
    let added =
        shard.write::<kind::GCounter, _>((hash, b"o", name), |c, mint, _| c.add(1, 0, mint));
    added.expect("a counter").0.expect("room for one more");
}

/// A writer comes, counts, says that it knows all there is, and is gone: `lives` times, and perhaps all are retired. How many bytes each leaves.
fn left_by_each(lives: u64, counts: bool, retired: bool) -> usize {
    let here = function(1);
    count(&here, b"c");
    here.take_batch();
    let before = HELD.load(Ordering::Relaxed);
    for life in 2..2 + lives {
        let there = function(life);
        count(&there, b"c");
        if !counts {
            let hash = miso_store::hash(b"o");
            there.lock(there.shard_of(hash)).delete(hash, b"o", b"c");
        }
        let batch = there.take_batch().expect("it has counted");
        here.join_batch(ReplicaId(life), (batch.first, batch.last), &batch.message)
            .expect("a batch");
        assert_eq!(here.heard_summary(ReplicaId(life), &here.vector()), Ok(true));
        here.forget_summary(ReplicaId(life));
    }
    here.tidy();
    if retired {
        let ids: Vec<ReplicaId> = (2..2 + lives).map(ReplicaId).collect();
        let writers = here.unretired(&ids);
        assert_eq!(here.adopt_counts(&writers), 1);
        let retirement = Retirement { by: (ReplicaId(1), here.seq()), writers };
        assert_eq!(here.retire(&retirement), Ok(true));
        here.take_batch();
        here.collect();
    }
    let hash = miso_store::hash(b"o");
    let shard = here.lock(here.shard_of(hash));
    let total = shard.read::<kind::GCounter>(hash, b"o", b"c").expect("a counter");
    assert_eq!(total.expect("it is there").total(), i128::from(1 + if counts { lives } else { 0 }));
    drop(shard);
    (HELD.load(Ordering::Relaxed) - before) / lives as usize
}

/// So many bytes a life, however many there were before: see ARCHITECTURE.md.
#[test]
fn a_dead_writer_leaves_a_few_bytes() {
    for lives in [500, 4_000] {
        let (idle, counted) = (left_by_each(lives, false, false), left_by_each(lives, true, false));
        let retired = left_by_each(lives, true, true);
        println!(
            "{lives} lives: {idle} bytes each, {counted} if it has counted, {retired} retired"
        );
        assert!(idle <= 200 && counted <= 300, "{idle} and {counted} bytes of {lives} lives");
        assert!(retired < counted, "{retired} bytes of {lives} lives that are retired");
    }
}
