//! Places in the log.

use crate::file_header;

/// How many bytes of an entry's frame are before its body.
pub const ENTRY_HEADER_LEN: u32 = 32;

/// A byte of the log: where an entry's frame starts, or any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition {
    /// Number of the segment file, from 1.
    pub segment: u32,
    /// Byte offset in its file.
    pub offset: u32,
}

const _: () = assert!(
    LogPosition::START.offset as usize == file_header::LEN,
    "the first frame follows the file header"
);

impl LogPosition {
    /// Where the first entry of a log starts.
    pub const START: Self = Self {
        segment: 1,
        offset: 32,
    };

    /// The byte at `offset` of segment `segment`. Nothing is written from 4 GiB on: opening refuses
    /// longer segments, and appending closes them long before; so all that is beyond has one
    /// position, where no frame verifies.
    pub(super) fn at(segment: u32, offset: usize) -> Self {
        Self {
            segment,
            offset: u32::try_from(offset).unwrap_or(u32::MAX),
        }
    }

    /// Where the body of the entry at this position starts.
    #[must_use]
    pub fn body(self) -> Self {
        Self {
            offset: self.offset.saturating_add(ENTRY_HEADER_LEN),
            ..self
        }
    }

    /// The byte that is `bytes` further on in the same segment.
    #[must_use]
    pub fn plus(self, bytes: usize) -> Self {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        Self {
            offset: self.offset.saturating_add(bytes),
            ..self
        }
    }

    /// As one number, which ascends as positions do.
    #[must_use]
    pub fn to_u64(self) -> u64 {
        u64::from(self.segment) << 32 | u64::from(self.offset)
    }

    /// The position that [`LogPosition::to_u64`] gave.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "each half is 32 bits")]
    pub const fn from_u64(number: u64) -> Self {
        Self {
            segment: (number >> 32) as u32,
            offset: number as u32,
        }
    }

    pub(super) fn to_bytes(self) -> [u8; 8] {
        self.to_u64().to_le_bytes()
    }
}
