//! Bytes that grow at their end while others read them: the last segment in memory.
//!
//! Invariants: bytes below the published length never change, and nobody but the one [`Writer`]
//! sees those above it. So readers need no lock, and taking a new length is all there is to seeing
//! more.

#![expect(
    unsafe_code,
    reason = "one buffer, written and read at the same time in different places"
)]

use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What readers hold.
#[derive(Debug)]
pub(super) struct Growing {
    /// From `Box::into_raw`, given back on drop.
    bytes: *mut [u8],
    /// Up to here they are published.
    len: AtomicUsize,
}

// SAFETY: readers reach only bytes below `len`, which nobody writes any more; the bytes above are
// reached only by the one writer, through `&mut`.
unsafe impl Send for Growing {}
// SAFETY: as above.
unsafe impl Sync for Growing {}

impl Growing {
    fn with_capacity(capacity: usize) -> Self {
        // Zeros from the allocator: memory is taken only as it is written.
        Self {
            bytes: Box::into_raw(vec![0; capacity].into_boxed_slice()),
            len: AtomicUsize::new(0),
        }
    }

    /// The published bytes.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        let len = self.len.load(Ordering::Acquire);
        // SAFETY: `len` is at most the capacity; what is below it was written before it was
        // published and is never written again; the buffer lives as long as `self`.
        unsafe { slice::from_raw_parts(self.bytes.cast::<u8>(), len) }
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        // SAFETY: from `Box::into_raw`, and nobody else has it.
        drop(unsafe { Box::from_raw(self.bytes) });
    }
}

/// The one who makes them grow.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Growing>,
}

impl Writer {
    /// Room for `capacity` bytes, the first of which are `bytes`.
    pub(super) fn new(bytes: &[u8], capacity: usize) -> Self {
        let mut writer = Self {
            shared: Arc::new(Growing::with_capacity(capacity.max(bytes.len()))),
        };
        writer.spare()[..bytes.len()].copy_from_slice(bytes);
        writer.publish(bytes.len());
        writer
    }

    /// Makes room for at least `additional` more bytes. Who holds the old buffer keeps it as it is.
    pub(super) fn reserve(&mut self, additional: usize) {
        if self.spare().len() < additional {
            let bytes = self.shared.bytes();
            *self = Self::new(bytes, bytes.len() + additional);
        }
    }

    /// What has been published.
    pub(super) fn bytes(&self) -> &[u8] {
        self.shared.bytes()
    }

    /// For readers.
    pub(super) fn shared(&self) -> Arc<Growing> {
        Arc::clone(&self.shared)
    }

    /// The room behind the published bytes, to be written to and then published.
    pub(super) fn spare(&mut self) -> &mut [u8] {
        let len = self.shared.len.load(Ordering::Relaxed);
        // SAFETY: `len` is at most the capacity; no reader reaches bytes from `len` on, and there
        // is one writer, which is borrowed; so nobody else has a reference into this part as long
        // as the borrow lasts.
        unsafe {
            let start = self.shared.bytes.cast::<u8>().add(len);
            slice::from_raw_parts_mut(start, self.shared.bytes.len() - len)
        }
    }

    /// Publishes `additional` bytes of the room.
    pub(super) fn publish(&mut self, additional: usize) {
        let spare = self.spare().len();
        assert!(
            additional <= spare,
            "{additional} bytes published of {spare}"
        );
        self.shared.len.fetch_add(additional, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_see_what_is_published_and_keep_what_they_have() {
        let mut writer = Writer::new(b"ab", 4);
        let reader = writer.shared();
        writer.spare()[..2].copy_from_slice(b"cd");
        assert_eq!(reader.bytes(), b"ab");
        let first = reader.bytes();
        writer.publish(2);
        assert_eq!((first, reader.bytes()), (&b"ab"[..], &b"abcd"[..]));
        writer.reserve(3);
        writer.spare()[..3].copy_from_slice(b"efg");
        writer.publish(3);
        assert_eq!(
            (reader.bytes(), writer.bytes()),
            (&b"abcd"[..], &b"abcdefg"[..])
        );
    }

    #[test]
    fn a_reader_beside_a_writer_sees_whole_numbers() {
        let mut writer = Writer::new(&[], 8 * 5000);
        let reader = writer.shared();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut seen = 0;
                while seen < 5000 {
                    let bytes = reader.bytes();
                    assert!(bytes.len().is_multiple_of(8) && bytes.len() >= seen * 8);
                    for (number, bytes) in bytes.chunks(8).enumerate().skip(seen) {
                        assert_eq!(bytes, (number as u64).to_le_bytes());
                    }
                    seen = bytes.len() / 8;
                }
            });
            for number in 0..5000_u64 {
                writer.spare()[..8].copy_from_slice(&number.to_le_bytes());
                writer.publish(8);
            }
        });
    }
}
