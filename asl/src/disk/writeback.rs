//! Asks the kernel to begin writing what it holds of a file: the one system call here that the
//! standard library lacks.

#![expect(unsafe_code, reason = "a raw system call")]

use std::fs::File;
use std::os::fd::AsRawFd;

/// Begins to write the bytes from `offset` on, `len` of them, without waiting and without promising
/// anything.
pub(super) fn begin(file: &File, offset: u64, len: u64) {
    if let (Ok(offset), Ok(len)) = (offset.try_into(), len.try_into()) {
        // SAFETY: the descriptor is open as long as `file` is borrowed, and no memory is passed.
        // What goes wrong is said by the sync that follows.
        let _ = unsafe {
            libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE)
        };
    }
}
