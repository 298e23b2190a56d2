//! Why the log could not be opened, read or appended to.

use super::layout::path;
use super::position::LogPosition;
use crate::damage::{Damage, Mismatch};
use crate::disk::DiskError;

/// Why the log could not be opened, read or appended to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A file of a newer format.
    #[error("{file} has format version {found}, this program reads up to {supported}")]
    Newer {
        /// The file's path inside the store.
        file: String,
        /// The version the file states.
        found: u16,
        /// The newest version this program reads.
        supported: u16,
    },
    /// Bytes that had been durable are not what was written.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// A segment between others, or before them, is not there.
    #[error("{file} is missing, though a later segment exists")]
    Missing {
        /// The missing file's path inside the store.
        file: String,
    },
    /// The log ends before this position.
    #[error("the log has no entry at offset {offset} of segment {segment}")]
    NoEntry {
        /// Segment asked for.
        segment: u32,
        /// Offset asked for.
        offset: u32,
    },
    /// A place at which no frame starts, or a damaged one.
    #[error("no entry of the log starts at offset {offset} of segment {segment}")]
    NoFrame {
        /// Segment asked for.
        segment: u32,
        /// Offset asked for.
        offset: u32,
    },
    /// An entry longer than a frame may be; nothing was appended.
    #[error("an entry of {len} bytes is longer than {max}")]
    TooLarge {
        /// Its length.
        len: usize,
        /// The longest possible.
        max: usize,
    },
    /// An earlier write or sync failed: what is on the disk is known only after opening the log
    /// again.
    #[error("the log takes no entries since a write or sync failed; open it again")]
    Poisoned,
    /// The log was opened to be read.
    #[error("the log was opened to be read")]
    ReadOnly,
}

impl LogError {
    /// That what begins at `offset` of a segment did not verify.
    pub(super) fn damaged(segment: u32, offset: usize, mismatch: Mismatch) -> Self {
        Self::Damaged(mismatch.at(path(segment), offset as u64))
    }

    /// That the log ends before this position.
    #[cold]
    #[inline(never)]
    pub(super) fn no_entry(LogPosition { segment, offset }: LogPosition) -> Self {
        Self::NoEntry { segment, offset }
    }
}
