//! Lines: where in the log the records about an id may be, in about one memory access.
//!
//! A line is one cache line of 64 bytes with room for ten slots; each slot has 16 bits that follow
//! in the id after those that chose the line, and a 34-bit address. Slots are filled in the order
//! of the ids, so that all slots one after the other are the ids in order. A full line spills into
//! the next ones; how far is kept at the line where a lookup begins. Who writes ids on purpose that
//! belong into one line fills fifteen lines and then the overflow, which is searched by bisection;
//! so are lines with many slots of one fingerprint.

use std::ops::Range;

/// Slots of a line.
pub(super) const SLOTS: usize = 10;
/// Length of a line in bytes.
pub(super) const LINE_LEN: usize = 64;
/// Length of an overflow slot in bytes: prefix and address.
pub(super) const OVERFLOW_LEN: usize = 16;
/// Addresses are below this.
pub(super) const ADDRESS_MAX: u64 = 1 << 34;

/// Records per hundred lines: ten slots filled to 88 in a hundred. The writer's choice: fuller
/// lines spill more often, emptier ones take more than 12 bytes a record, codes and all.
const LOAD_PERCENT: u64 = 880;
/// A record lies at most this many lines behind its own.
pub(super) const REACH_MAX: usize = 15;

/// Byte ranges of a line.
mod field {
    use std::ops::Range;

    pub(super) const FINGERPRINTS: Range<usize> = 0..20;
    pub(super) const ADDRESSES: Range<usize> = 20..60;
    pub(super) const META: Range<usize> = 60..64;
}
const _: () = assert!(field::META.end == LINE_LEN, "no gap, no padding");

/// Bits of a line's last four bytes: two low bits of each address, then these.
const COUNT_AT: u32 = 20;
const REACH_AT: u32 = 24;
const OVERFLOWS_AT: u32 = 28;

/// How many lines hold this many records.
pub(super) fn lines_for(records: usize) -> usize {
    usize::try_from((records as u64 * 100).div_ceil(LOAD_PERCENT))
        .unwrap_or(usize::MAX)
        .max(1)
}

/// The line where the search for a prefix begins, and its fingerprint there.
#[inline]
pub(super) fn home(prefix: u64, lines: usize) -> (usize, u16) {
    let product = u128::from(prefix) * lines as u128;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the product's upper half is less than `lines`; the rest is cut"
    )]
    ((product >> 64) as usize, (product >> 48) as u16)
}

/// Lines laid out, and where each record went.
pub(super) struct Built {
    pub(super) lines: Vec<u8>,
    /// What found no room in its lines, ascending.
    pub(super) overflow: Vec<u8>,
    /// The slot of each record; those of the overflow follow those of the lines.
    pub(super) slots: Vec<u32>,
}

/// Lays out records, given ascending by prefix.
pub(super) fn build(records: impl ExactSizeIterator<Item = (u64, u64)>) -> Built {
    let count = lines_for(records.len());
    let mut lines = vec![0; count * LINE_LEN];
    let mut slots = Vec::with_capacity(records.len());
    let mut overflow = Vec::new();
    let (mut at, mut filled) = (0, 0);
    for (prefix, address) in records {
        let (home, fingerprint) = home(prefix, count);
        if home > at {
            (at, filled) = (home, 0);
        } else if filled == SLOTS {
            // Those that come next belong here or further on: the line before stays as it is.
            let next = at + 1;
            if next < count && next - home <= REACH_MAX {
                (at, filled) = (next, 0);
            }
        }
        if filled == SLOTS || at - home > REACH_MAX {
            let index = overflow.len() / OVERFLOW_LEN;
            overflow.extend_from_slice(&prefix.to_le_bytes());
            overflow.extend_from_slice(&address.to_le_bytes());
            slots.push(slot_number(count * SLOTS + index));
            set_meta(&mut lines, home, |meta| meta | 1 << OVERFLOWS_AT);
            continue;
        }
        put(&mut lines, at, filled, fingerprint, address);
        set_meta(&mut lines, home, |meta| {
            let reach =
                (meta >> REACH_AT & 15).max(u32::try_from(at - home).expect("at most `REACH_MAX`"));
            meta & !(15 << REACH_AT) | reach << REACH_AT
        });
        slots.push(slot_number(at * SLOTS + filled));
        filled += 1;
    }
    Built {
        lines,
        overflow,
        slots,
    }
}

fn slot_number(slot: usize) -> u32 {
    u32::try_from(slot).expect("a segment holds less than 2^32 slots")
}

fn put(lines: &mut [u8], line: usize, slot: usize, fingerprint: u16, address: u64) {
    let bytes = &mut lines[line * LINE_LEN..][..LINE_LEN];
    bytes[field::FINGERPRINTS][slot * 2..][..2].copy_from_slice(&fingerprint.to_le_bytes());
    let upper = u32::try_from(address >> 2).expect("the caller bounds addresses");
    bytes[field::ADDRESSES][slot * 4..][..4].copy_from_slice(&upper.to_le_bytes());
    let (low, count) = (
        u32::try_from(address & 3).expect("two bits"),
        u32::try_from(slot + 1).expect("at most `SLOTS`"),
    );
    set_meta(lines, line, |meta| {
        (meta & !(15 << COUNT_AT)) | low << (slot * 2) | count << COUNT_AT
    });
}

fn set_meta(lines: &mut [u8], line: usize, change: impl Fn(u32) -> u32) {
    let bytes = &mut lines[line * LINE_LEN..][field::META];
    let meta = change(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    bytes.copy_from_slice(&meta.to_le_bytes());
}

/// One line, read.
#[derive(Clone, Copy)]
pub(super) struct Line<'a>(&'a [u8; LINE_LEN]);

impl<'a> Line<'a> {
    /// The line in these bytes; `None` if they are not as long as one.
    #[inline]
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    #[inline]
    fn meta(self) -> u32 {
        u32::from_le_bytes([self.0[60], self.0[61], self.0[62], self.0[63]])
    }

    /// How many slots are filled.
    #[inline]
    pub(super) fn count(self) -> usize {
        (self.meta() >> COUNT_AT & 15) as usize
    }

    /// How many lines on records that belong here may lie.
    #[inline]
    pub(super) fn reach(self) -> usize {
        (self.meta() >> REACH_AT & 15) as usize
    }

    /// Whether records that belong here may lie in the overflow.
    #[inline]
    pub(super) fn overflows(self) -> bool {
        self.meta() >> OVERFLOWS_AT & 1 == 1
    }

    /// The slots with this fingerprint, as bits.
    #[inline]
    pub(super) fn matches(self, fingerprint: u16) -> u32 {
        let mut lanes = [0; 16];
        for (lane, bytes) in lanes
            .iter_mut()
            .zip(self.0[field::FINGERPRINTS].chunks_exact(2))
        {
            *lane = u16::from_le_bytes([bytes[0], bytes[1]]);
        }
        let equal = wide::u16x16::new(lanes)
            .simd_eq(wide::u16x16::splat(fingerprint))
            .to_bitmask();
        equal & ((1 << self.count().min(SLOTS)) - 1)
    }

    /// The address in a slot.
    #[inline]
    pub(super) fn address(self, slot: usize) -> u64 {
        let bytes = &self.0[field::ADDRESSES][slot * 4..][..4];
        let upper = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        u64::from(upper) << 2 | u64::from(self.meta() >> (slot * 2) & 3)
    }
}

/// The overflow slots of a prefix; `read` gives prefix and address of an overflow slot.
pub(super) fn overflow_of<E>(
    prefix: u64,
    count: usize,
    read: impl Fn(usize) -> Result<(u64, u64), E>,
) -> Result<Range<usize>, E> {
    let bound = |is_before: &dyn Fn(u64) -> bool| {
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low + (high - low) / 2;
            if is_before(read(middle)?.0) {
                low = middle + 1
            } else {
                high = middle
            }
        }
        Ok::<_, E>(low)
    };
    Ok(bound(&|other| other < prefix)?..bound(&|other| other <= prefix)?)
}
