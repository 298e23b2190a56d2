//! How 34-bit addresses name places in a log: each stride is a stretch of one log segment.

use super::layout::{Item, STRIDE_LEN, u32_at};
use crate::index::lines::ADDRESS_MAX;
use crate::log::LogPosition;

/// A stride is this power of two of bytes of one log segment.
const STRIDE_BITS: u32 = 25;
/// Most strides of a segment: what its addresses can name.
pub(crate) const STRIDES_MAX: usize = (ADDRESS_MAX >> STRIDE_BITS) as usize;

/// Log segment and offset of each stride, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Strides(Vec<(u32, u32)>);

impl Strides {
    /// Those that the places of these items need.
    pub(super) fn of(items: &[Item]) -> Self {
        let mut strides: Vec<(u32, u32)> = items.iter().map(|item| stride(item.at)).collect();
        strides.sort_unstable();
        strides.dedup();
        assert!(
            strides.len() <= STRIDES_MAX,
            "a run of {} strides",
            strides.len()
        );
        Self(strides)
    }

    pub(super) fn decode(bytes: &[u8]) -> Self {
        let pairs = bytes.chunks_exact(STRIDE_LEN);
        Self(
            pairs
                .map(|pair| (u32_at(pair, 0), u32_at(pair, 4)))
                .collect(),
        )
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let pairs = self.0.iter();
        pairs
            .flat_map(|(segment, first)| [segment.to_le_bytes(), first.to_le_bytes()].concat())
            .collect()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The address of a place in one of these strides.
    pub(super) fn address(&self, at: LogPosition) -> u64 {
        let (segment, first) = stride(at);
        let found = self.0.binary_search(&(segment, first));
        let index = found.expect("the strides are those of all items");
        (index as u64) << STRIDE_BITS | u64::from(at.offset - first)
    }

    /// The place that an address names, if there is such a stride.
    #[inline]
    pub(super) fn position(&self, address: u64) -> Option<LogPosition> {
        let (segment, first) = *self.0.get(usize::try_from(address >> STRIDE_BITS).ok()?)?;
        let offset = u32::try_from(address & ((1 << STRIDE_BITS) - 1)).ok()?;
        Some(LogPosition {
            segment,
            offset: first + offset,
        })
    }
}

fn stride(at: LogPosition) -> (u32, u32) {
    (at.segment, at.offset >> STRIDE_BITS << STRIDE_BITS)
}

/// How many strides the stretch of log from `from` to `through` takes at most.
pub(crate) fn strides_between(from: LogPosition, through: LogPosition) -> usize {
    let per_segment = (through.offset.max(1 << STRIDE_BITS) >> STRIDE_BITS) as usize + 1;
    (through.segment.saturating_sub(from.segment) as usize + 1) * per_segment
}
