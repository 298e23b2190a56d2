//! What segment files are called and begin with, and how long they become.

/// The directory of the log.
pub(super) const DIR: &str = "log";
/// How the names of segment files end.
pub(super) const EXTENSION: &str = "log";
/// What segment files begin with.
pub(super) const MAGIC: [u8; 8] = *b"UORLOG\0\0";

/// The newest version of segments that this program reads, and the one it writes.
pub(super) const VERSION: u16 = 2;

/// So that offsets, one frame over it included, fit 32 bits with room to spare.
pub(super) const SEGMENT_BYTES_MAX: u32 = 1 << 30;

/// The file of a segment.
pub(super) fn path(segment: u32) -> String {
    format!("{DIR}/{segment:08}.{EXTENSION}")
}

/// Sizes that may differ between stores without changing the format.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// A segment is closed when the next frame would make it longer than this many bytes; at most 1
    /// GiB. A longer frame gets a segment of its own. What closes a segment comes on top.
    pub segment_bytes: u32,
    /// Space is written with zeros in steps of this many bytes, so that most small appends
    /// overwrite.
    pub preallocate_bytes: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 32 << 20,
            preallocate_bytes: 1 << 20,
        }
    }
}

impl Options {
    /// With these sizes where they are possible, else the nearest that are.
    pub(super) fn bounded(self) -> Self {
        Self {
            segment_bytes: self.segment_bytes.min(SEGMENT_BYTES_MAX),
            preallocate_bytes: self.preallocate_bytes.clamp(1, SEGMENT_BYTES_MAX),
        }
    }
}
