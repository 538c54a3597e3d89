//! mimalloc with a count of the bytes in use, which `maxmemory` and INFO need.
//!
//! Each thread counts for itself and adds to the common count in steps of 64 KiB. An allocation costs
//! one thread-local addition and no contended cache line.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, Ordering};

use mimalloc::MiMalloc;

/// The allocator of the process.
pub(crate) struct Counting;

static USED: AtomicIsize = AtomicIsize::new(0);
const STEP: isize = 64 << 10;

thread_local! {
    static LOCAL: Cell<isize> = const { Cell::new(0) };
    /// What was added to the common count.
    static ADDED: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that is ending has no local count any more.
    let counted = LOCAL.try_with(|local| {
        let sum = local.get() + bytes;
        if sum.abs() >= STEP {
            USED.fetch_add(sum, Ordering::Relaxed);
            local.set(0);
            let _ = ADDED.try_with(|added| added.set(added.get() + sum));
        } else {
            local.set(sum);
        }
    });
    if counted.is_err() {
        USED.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Bytes in use, as they were asked for. Up to 64 KiB of each thread are not counted yet.
pub(crate) fn used_bytes() -> u64 {
    let local = LOCAL.try_with(Cell::get).unwrap_or(0);
    u64::try_from(USED.load(Ordering::Relaxed) + local).unwrap_or(0)
}

/// Bytes that this thread has taken and not given back, whichever thread does: below 0 if it gives back what others
/// took.
pub(crate) fn thread_bytes() -> isize {
    [&LOCAL, &ADDED].into_iter().map(|count| count.try_with(Cell::get).unwrap_or(0)).sum()
}

// SAFETY: every call goes to mimalloc unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise is passed on.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promise is passed on.
        unsafe { MiMalloc.dealloc(at, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise is passed on.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size as isize - layout.size() as isize);
        // SAFETY: the caller's promise is passed on.
        unsafe { MiMalloc.realloc(at, layout, new_size) }
    }
}
