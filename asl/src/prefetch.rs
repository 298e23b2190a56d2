//! A hint to the processor that some bytes will be read soon; nothing else in this file.

#![cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "the hint is an intrinsic that takes a pointer")
)]

/// Starts to load the cache line of `items[index]`; outside `items`, and where there is no such
/// hint, nothing happens.
#[inline]
pub(crate) fn prefetch<T>(items: &[T], index: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(item) = items.get(index) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86_64 processor has SSE; the pointer is that of a live item, and the hint
        // reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(item).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (items, index);
}
