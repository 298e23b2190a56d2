//! The end of a run's file: which packs it is of, and how much of each is in it; `FORMAT.md`,
//! "Index of blocks".

use std::ops::Range;

/// Byte ranges of the footer.
mod field {
    use std::ops::Range;

    pub(super) const MAGIC: Range<usize> = 0..8;
    pub(super) const VERSION: Range<usize> = 8..10;
    // 10..12 reserved, zero.
    pub(super) const FIRST_PACK: Range<usize> = 12..16;
    pub(super) const LAST_PACK: Range<usize> = 16..20;
    pub(super) const BUCKET_BITS: Range<usize> = 20..24;
    pub(super) const COUNT: Range<usize> = 24..32;
    pub(super) const PAYLOADS: Range<usize> = 32..40;
    pub(super) const DEAD: Range<usize> = 40..48;
    pub(super) const LENGTHS: Range<usize> = 48..56;
    // 56..64 reserved, zero.
    pub(super) const CHECK: Range<usize> = 64..96;
}

/// Length of the footer in bytes.
pub(super) const FOOTER_LEN: usize = 96;
const _: () = assert!(field::CHECK.end == FOOTER_LEN, "no gap, no padding");

const MAGIC: [u8; 8] = *b"UORBRUN\0";
const VERSION: u16 = 1;

/// What a run's file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Footer {
    /// The first and the last pack.
    pub(super) packs: (u32, u32),
    /// How many of the first bits of a name say its bucket.
    pub(super) bucket_bits: u32,
    /// How many blocks.
    pub(super) count: u64,
    /// How many of them make a payload visible.
    pub(super) payloads: u64,
    /// How many places in earlier packs records in these bury.
    pub(super) dead: u64,
    /// How many packs there are, each with its length.
    pub(super) lengths: u64,
}

impl Footer {
    /// The bytes, behind these checks of the file's pages.
    pub(super) fn encode(&self, checks: &[u8]) -> [u8; FOOTER_LEN] {
        let mut bytes = [0; FOOTER_LEN];
        let mut put = |field: Range<usize>, value: &[u8]| bytes[field].copy_from_slice(value);
        put(field::MAGIC, &MAGIC);
        put(field::VERSION, &VERSION.to_le_bytes());
        put(field::FIRST_PACK, &self.packs.0.to_le_bytes());
        put(field::LAST_PACK, &self.packs.1.to_le_bytes());
        put(field::BUCKET_BITS, &self.bucket_bits.to_le_bytes());
        put(field::COUNT, &self.count.to_le_bytes());
        put(field::PAYLOADS, &self.payloads.to_le_bytes());
        put(field::DEAD, &self.dead.to_le_bytes());
        put(field::LENGTHS, &self.lengths.to_le_bytes());
        let check = check(checks, &bytes);
        bytes[field::CHECK].copy_from_slice(&check);
        bytes
    }

    /// The footer in these bytes, not verified; `None` if it is none of a known version.
    pub(super) fn decode(bytes: &[u8; FOOTER_LEN]) -> Option<Self> {
        let half = |field: Range<usize>| {
            u32::from_le_bytes(std::array::from_fn(|index| bytes[field.start + index]))
        };
        let number = |field: Range<usize>| {
            u64::from_le_bytes(std::array::from_fn(|index| bytes[field.start + index]))
        };
        let version =
            u16::from_le_bytes([bytes[field::VERSION.start], bytes[field::VERSION.start + 1]]);
        let is_known = bytes[field::MAGIC] == MAGIC && version == VERSION;
        is_known.then(|| Self {
            packs: (half(field::FIRST_PACK), half(field::LAST_PACK)),
            bucket_bits: half(field::BUCKET_BITS),
            count: number(field::COUNT),
            payloads: number(field::PAYLOADS),
            dead: number(field::DEAD),
            lengths: number(field::LENGTHS),
        })
    }

    /// Whether a footer was written behind these checks of the file's pages.
    pub(super) fn verifies(bytes: &[u8; FOOTER_LEN], checks: &[u8]) -> bool {
        bytes[field::CHECK] == check(checks, bytes)
    }
}

fn check(checks: &[u8], footer: &[u8; FOOTER_LEN]) -> [u8; 32] {
    *blake3::Hasher::new()
        .update(checks)
        .update(&footer[..field::CHECK.start])
        .finalize()
        .as_bytes()
}
