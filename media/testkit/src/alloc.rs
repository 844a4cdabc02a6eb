//! An allocator that counts, to prove that a path does not allocate.
#![expect(unsafe_code, reason = "`GlobalAlloc` is an unsafe trait; every call goes on to `System` unchanged")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<u64> = const { Cell::new(0) };
}

/// [`System`] with a count a thread, so that other threads of the test runner do not disturb it.
///
/// ```
/// use antiphon_media_testkit::CountingAllocator;
///
/// #[global_allocator]
/// static ALLOCATOR: CountingAllocator = CountingAllocator;
///
/// let (_, allocations) = CountingAllocator::count(|| Box::new(1));
/// assert_eq!(allocations, 1);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct CountingAllocator;

impl CountingAllocator {
    /// Allocations and reallocations of this thread so far; 0 for ever where this is not the global allocator.
    #[must_use]
    pub fn allocations() -> u64 {
        ALLOCATIONS.try_with(Cell::get).unwrap_or(0)
    }

    /// Bytes this thread has asked for so far.
    #[must_use]
    pub fn bytes() -> u64 {
        BYTES.try_with(Cell::get).unwrap_or(0)
    }

    /// Runs `work` and counts its allocations on this thread.
    pub fn count<T>(work: impl FnOnce() -> T) -> (T, u64) {
        let before = Self::allocations();
        let result = work();
        (result, Self::allocations() - before)
    }

    fn note(bytes: usize) {
        // A thread that is going away has no counters any more; its last allocations are nobody's measurement.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        let _ = BYTES.try_with(|count| count.set(count.get() + bytes as u64));
    }
}

// SAFETY: every method hands its arguments to `System` unchanged, which keeps the trait's contract; counting touches
// only constant-initialised thread-local cells, so it neither allocates nor panics.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::note(layout.size());
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::note(layout.size());
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        Self::note(new_size);
        // SAFETY: `ptr` came from `System` by this allocator with `layout`; the rest is the caller's promise.
        unsafe { System.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: `ptr` came from `System` by this allocator with `layout`.
        unsafe { System.dealloc(ptr, layout) }
    }
}
