//! The header of a segment file: what the file holds, and where each section of it begins.
//! `FORMAT.md`, "Index".

use std::ops::Range;

use super::layout::{ALIGN, CLASS_LEN, COMMIT_LEN, STRIDE_LEN, u32_at};
use crate::index::error::IndexError;
use crate::index::lines::{LINE_LEN, OVERFLOW_LEN, SLOTS};

pub(super) const HEADER_LEN: usize = 64;

const MAGIC: [u8; 8] = *b"UORINDEX";
const VERSION: u16 = 1;
/// No length in a header is as great: section offsets cannot overflow.
const LENGTH_END: u64 = 1 << 40;
const SHARD_BITS_MAX: u32 = 16;

/// Byte ranges of the header.
mod field {
    use std::ops::Range;

    pub(super) const MAGIC: Range<usize> = 0..8;
    pub(super) const VERSION: Range<usize> = 8..10;
    pub(super) const SHARD_BITS: usize = 10;
    pub(super) const CLASS_WIDTH: usize = 11;
    pub(super) const COMMIT_WIDTH: usize = 12;
    // 13..16 reserved, zero.
    pub(super) const SHARD: Range<usize> = 16..20;
    pub(super) const CLASSES: Range<usize> = 20..24;
    pub(super) const LINES: Range<usize> = 24..32;
    pub(super) const OVERFLOW: Range<usize> = 32..40;
    pub(super) const RECORDS: Range<usize> = 40..48;
    pub(super) const COMMITS: Range<usize> = 48..56;
    pub(super) const STRIDES: Range<usize> = 56..60;
    // 60..64 reserved, zero.
}

/// What a segment file holds. Numbers of things, but for the widths, which are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// How many of the first bits of an id name its shard.
    pub(super) shard_bits: u32,
    pub(super) shard: u32,
    /// Width of a class code: 1, 2 or 4.
    pub(super) class_width: usize,
    /// Width of a commit code: 2 or 4.
    pub(super) commit_width: usize,
    pub(super) classes: usize,
    pub(super) lines: usize,
    pub(super) overflow: usize,
    pub(super) records: usize,
    pub(super) commits: usize,
    pub(super) strides: usize,
}

/// Where each section begins, in bytes from the start of the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sections {
    pub(super) lines: usize,
    pub(super) overflow: usize,
    pub(super) class_codes: usize,
    pub(super) commit_codes: usize,
    pub(super) classes: usize,
    pub(super) commits: usize,
    pub(super) strides: usize,
    /// Where the page checks begin.
    pub(super) end: usize,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER_LEN] {
        assert!(
            self.shard_bits <= SHARD_BITS_MAX,
            "{} bits of shard",
            self.shard_bits
        );
        let short = |number: usize| u32::try_from(number).expect("fewer than the slots of a run");
        let width = |width: usize| u8::try_from(width).expect("a width is 1, 2 or 4");
        let mut bytes = [0; HEADER_LEN];
        let mut put = |at: Range<usize>, value: &[u8]| bytes[at].copy_from_slice(value);
        put(field::MAGIC, &MAGIC);
        put(field::VERSION, &VERSION.to_le_bytes());
        put(field::SHARD, &self.shard.to_le_bytes());
        put(field::CLASSES, &short(self.classes).to_le_bytes());
        put(field::LINES, &(self.lines as u64).to_le_bytes());
        put(field::OVERFLOW, &(self.overflow as u64).to_le_bytes());
        put(field::RECORDS, &(self.records as u64).to_le_bytes());
        put(field::COMMITS, &(self.commits as u64).to_le_bytes());
        put(field::STRIDES, &short(self.strides).to_le_bytes());
        bytes[field::SHARD_BITS] = u8::try_from(self.shard_bits).expect("asserted above");
        bytes[field::CLASS_WIDTH] = width(self.class_width);
        bytes[field::COMMIT_WIDTH] = width(self.commit_width);
        bytes
    }

    /// Reads the header of the file `bytes`, called `file`. Nothing of it is verified yet.
    ///
    /// # Errors
    /// [`IndexError::Version`] of a newer file; [`IndexError::Content`] if it is no segment's, or
    /// says what cannot be.
    pub(super) fn decode(file: &str, bytes: &[u8]) -> Result<Self, IndexError> {
        let content = |what: &str| IndexError::Content {
            file: file.to_owned(),
            what: what.to_owned(),
        };
        let bytes: &[u8; HEADER_LEN] = bytes
            .first_chunk()
            .filter(|header| header[field::MAGIC] == MAGIC)
            .ok_or_else(|| content("it does not begin like a segment"))?;
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if version != VERSION {
            return Err(IndexError::Version {
                file: file.to_owned(),
                found: version,
                supported: VERSION,
            });
        }
        let number = |at: Range<usize>| {
            let number = unsigned(&bytes[at]);
            match usize::try_from(number) {
                Ok(found) if number < LENGTH_END => Ok(found),
                _ => Err(content("a length is out of range")),
            }
        };
        let header = Self {
            shard_bits: bytes[field::SHARD_BITS].into(),
            shard: u32_at(bytes, field::SHARD.start),
            class_width: bytes[field::CLASS_WIDTH].into(),
            commit_width: bytes[field::COMMIT_WIDTH].into(),
            classes: number(field::CLASSES)?,
            lines: number(field::LINES)?,
            overflow: number(field::OVERFLOW)?,
            records: number(field::RECORDS)?,
            commits: number(field::COMMITS)?,
            strides: number(field::STRIDES)?,
        };
        let are_widths_known =
            [1, 2, 4].contains(&header.class_width) && [2, 4].contains(&header.commit_width);
        if !are_widths_known || header.shard_bits > SHARD_BITS_MAX {
            return Err(content("a width is out of range"));
        }
        Ok(header)
    }

    /// Number of slots, empty ones and the overflow's included.
    pub(super) const fn slots(&self) -> usize {
        self.lines * SLOTS + self.overflow
    }

    pub(super) fn sections(&self) -> Sections {
        let mut end = HEADER_LEN;
        let mut section = |count: usize, len: usize| {
            let start = end.next_multiple_of(ALIGN);
            end = start + count * len;
            start
        };
        Sections {
            lines: section(self.lines, LINE_LEN),
            overflow: section(self.overflow, OVERFLOW_LEN),
            class_codes: section(self.slots(), self.class_width),
            commit_codes: section(self.slots(), self.commit_width),
            classes: section(self.classes, CLASS_LEN),
            commits: section(self.commits, COMMIT_LEN),
            strides: section(self.strides, STRIDE_LEN),
            end: section(0, 0),
        }
    }
}

/// A number of up to eight bytes, the lowest first.
fn unsigned(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}
