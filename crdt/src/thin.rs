//! A header and its bytes in one allocation, one pointer wide.
//!
//! Keys are everywhere, so they decide how much memory a name or a set element costs and how many
//! cache lines a look-up touches. A `Box<(H, Box<[u8]>)>` costs two allocations and two misses, a
//! fat pointer eight more bytes in every hash bucket. This file has the only unsafe code of the crate.
//!
//! ```text
//! Thin<H> -> | header: H | len: u32 | bytes: [u8; len] |
//! ```

use alloc::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use core::fmt;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

/// Asks the processor to load a cache line soon; on processors other than x86-64 this does nothing.
pub(crate) fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing and cannot fault, whatever the address.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

#[repr(C)]
struct Inner<H> {
    header: H,
    len: u32,
    bytes: [u8; 0],
}

/// An owned header followed by a byte string of fixed length, one pointer wide.
pub struct Thin<H> {
    inner: NonNull<Inner<H>>,
    owned: PhantomData<Inner<H>>,
}

// SAFETY: a `Thin` owns its allocation alone, as a `Box` would; nothing in it is shared.
unsafe impl<H: Send> Send for Thin<H> {}
// SAFETY: as above; `&Thin<H>` gives out only `&H` and `&[u8]`.
unsafe impl<H: Sync> Sync for Thin<H> {}

impl<H> Thin<H> {
    /// Copies `bytes` after `header`.
    ///
    /// # Panics
    /// If there are more than `u32::MAX` bytes: callers bound keys and values far below.
    #[must_use]
    pub fn new(header: H, bytes: &[u8]) -> Thin<H> {
        Thin::of_parts(header, [bytes])
    }

    /// As [`Thin::new`], of bytes that do not stand side by side.
    ///
    /// # Panics
    /// As [`Thin::new`].
    #[must_use]
    pub fn of_parts<const N: usize>(header: H, parts: [&[u8]; N]) -> Thin<H> {
        let all = parts.iter().try_fold(0usize, |sum, part| sum.checked_add(part.len()));
        let len = all.and_then(|all| u32::try_from(all).ok());
        let len = len.expect("keys and values are bounded below 4 GiB");
        let layout = Self::layout(len as usize);
        // SAFETY: the layout is not of size zero, since it holds `len`.
        let Some(inner) = NonNull::new(unsafe { alloc(layout) }.cast::<Inner<H>>()) else {
            handle_alloc_error(layout)
        };
        // SAFETY: freshly allocated with room for header, length and bytes, aligned for `Inner<H>`;
        // the parts cannot overlap a fresh allocation, and have `len` bytes together.
        unsafe {
            ptr::addr_of_mut!((*inner.as_ptr()).header).write(header);
            ptr::addr_of_mut!((*inner.as_ptr()).len).write(len);
            let mut to = ptr::addr_of_mut!((*inner.as_ptr()).bytes).cast::<u8>();
            for part in parts {
                ptr::copy_nonoverlapping(part.as_ptr(), to, part.len());
                to = to.add(part.len());
            }
        }
        Thin { inner, owned: PhantomData }
    }

    fn layout(len: usize) -> Layout {
        let size = core::mem::offset_of!(Inner<H>, bytes) + len;
        Layout::from_size_align(size, align_of::<Inner<H>>())
            .expect("a bounded length makes a valid layout")
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &H {
        // SAFETY: `inner` points to an initialised `Inner<H>` that `self` owns.
        unsafe { &(*self.inner.as_ptr()).header }
    }

    /// The header, to change.
    pub fn header_mut(&mut self) -> &mut H {
        // SAFETY: as in `header`, and `&mut self` is unique.
        unsafe { &mut (*self.inner.as_ptr()).header }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `len` bytes were initialised after the header and live as long as `self`; the
        // pointer is derived from the whole allocation, not from the zero-length array.
        unsafe {
            let len = (*self.inner.as_ptr()).len as usize;
            let at = ptr::addr_of!((*self.inner.as_ptr()).bytes).cast::<u8>();
            core::slice::from_raw_parts(at, len)
        }
    }

    /// Prefetches its first two cache lines.
    pub fn prefetch(&self) {
        let at = self.inner.as_ptr().cast_const();
        prefetch(at);
        prefetch(at.cast::<u8>().wrapping_add(64));
    }

    /// The bytes, and the header to change.
    pub fn parts_mut(&mut self) -> (&[u8], &mut H) {
        // SAFETY: header and bytes do not overlap, and both borrow `self`.
        let header = unsafe { &mut *ptr::addr_of_mut!((*self.inner.as_ptr()).header) };
        // SAFETY: as in `bytes`; the exclusive borrow of the header does not reach them.
        let bytes = unsafe {
            let len = ptr::addr_of!((*self.inner.as_ptr()).len).read() as usize;
            core::slice::from_raw_parts(
                ptr::addr_of!((*self.inner.as_ptr()).bytes).cast::<u8>(),
                len,
            )
        };
        (bytes, header)
    }

    /// Takes the header out; the bytes go.
    #[must_use]
    pub fn into_header(self) -> H {
        let this = core::mem::ManuallyDrop::new(self);
        let layout = Self::layout(this.bytes().len());
        // SAFETY: the header is read once and the allocation freed without dropping it again.
        unsafe {
            let header = ptr::addr_of!((*this.inner.as_ptr()).header).read();
            dealloc(this.inner.as_ptr().cast(), layout);
            header
        }
    }

    /// How many bytes it takes on the heap, before the allocator rounds up.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        Self::layout(self.bytes().len()).size()
    }
}

impl<H> Drop for Thin<H> {
    fn drop(&mut self) {
        let layout = Self::layout(self.bytes().len());
        // SAFETY: dropped once; the layout is the one that it was allocated with.
        unsafe {
            ptr::drop_in_place(ptr::addr_of_mut!((*self.inner.as_ptr()).header));
            dealloc(self.inner.as_ptr().cast(), layout);
        }
    }
}

impl<H: Clone> Clone for Thin<H> {
    fn clone(&self) -> Self {
        Thin::new(self.header().clone(), self.bytes())
    }
}

impl<H: PartialEq> PartialEq for Thin<H> {
    fn eq(&self, other: &Self) -> bool {
        self.header() == other.header() && self.bytes() == other.bytes()
    }
}

impl<H: Eq> Eq for Thin<H> {}

impl<H: fmt::Debug> fmt::Debug for Thin<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}@\"{}\"", self.header(), self.bytes().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use alloc::rc::Rc;
    use alloc::vec;

    use super::*;

    #[test]
    fn holds_header_and_bytes_of_any_length() {
        for len in [0usize, 1, 3, 7, 8, 9, 4096] {
            let bytes = vec![7u8; len];
            let mut thin = Thin::new(1u64, &bytes);
            *thin.header_mut() += 1;
            assert_eq!((*thin.header(), thin.bytes()), (2, bytes.as_slice()));
            assert_eq!(thin.clone(), thin);
            assert_eq!(thin.into_header(), 2);
        }
        assert_eq!(size_of::<Thin<u64>>(), size_of::<usize>());
        assert_eq!(size_of::<Option<Thin<u64>>>(), size_of::<usize>());
    }

    #[test]
    fn drops_its_header_exactly_once() {
        let counted = Rc::new(());
        drop(Thin::new(Rc::clone(&counted), b"x"));
        assert_eq!(Rc::strong_count(&counted), 1);
        let taken = Thin::new(Rc::clone(&counted), b"x").into_header();
        assert_eq!(Rc::strong_count(&counted), 2);
        drop(taken);
        assert_eq!(Rc::strong_count(&counted), 1);
    }
}
