//! Filters: which records of a segment are of some kind, type tag, time or range of ids, many at a
//! time.
//!
//! Columns of codes are compared in vectors into masks with a bit for each slot. Each kernel has a
//! plain twin, to which a test holds it.

use std::ops::{Range, RangeInclusive};

use bitvec::vec::BitVec;
use uor_index_format::id::{CanonicalId, LogSeq};
use uor_index_format::record::Kind;
use uor_index_format::state::Entry;

use super::error::IndexError;
use super::row::Class;
use super::segment::{Segment, prefix_of};

/// A bit for each slot.
pub type Mask = BitVec<u64>;

/// Which records or entries are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Of these kinds; all, if `None`.
    pub kinds: Option<Vec<Kind>>,
    /// With this type tag, or with none if it is `Some(None)`.
    pub type_tag: Option<Option<u32>>,
    /// Written at these times.
    pub logseq: RangeInclusive<LogSeq>,
    /// About these ids.
    pub ids: RangeInclusive<CanonicalId>,
}

impl Filter {
    /// All of them.
    pub const ALL: Self = Self {
        kinds: None,
        type_tag: None,
        logseq: LogSeq(0)..=LogSeq::MAX,
        ids: CanonicalId::from_bytes([0; 32])..=CanonicalId::from_bytes([0xff; 32]),
    };

    /// Those of one kind.
    #[must_use]
    pub fn kind(kind: Kind) -> Self {
        Self {
            kinds: Some(vec![kind]),
            ..Self::ALL
        }
    }

    /// Artifacts with this type tag.
    #[must_use]
    pub fn type_tag(tag: u32) -> Self {
        Self {
            type_tag: Some(Some(tag)),
            ..Self::kind(Kind::Artifact)
        }
    }

    /// Whether it takes an entry.
    #[must_use]
    pub fn takes(&self, entry: &Entry) -> bool {
        self.takes_class(Class {
            kind: entry.kind,
            type_tag: entry.type_tag,
        }) && self.logseq.contains(&entry.logseq)
            && self.ids.contains(&entry.id)
    }

    /// Whether it takes every record.
    pub(crate) fn is_all(&self) -> bool {
        *self == Self::ALL
    }

    pub(super) fn takes_class(&self, class: Class) -> bool {
        self.kinds
            .as_ref()
            .is_none_or(|kinds| kinds.contains(&class.kind))
            && self.type_tag.is_none_or(|tag| class.type_tag == tag)
    }
}

impl Segment {
    /// Which slots of lines hold a record that `filter` takes, of those between the ids it takes;
    /// the first bit is the first slot of the range that is returned with the mask. What shares a
    /// line with the first or last id may lie outside.
    pub(super) fn select(&self, filter: &Filter) -> Result<(Range<usize>, Mask), IndexError> {
        let slots = self.slots_between(prefix_of(filter.ids.start()), prefix_of(filter.ids.end()));
        let mask = self.select_in(slots.clone(), filter)?;
        Ok((slots, mask))
    }

    /// Which of the overflow's slots hold a record that `filter` takes, whatever its id.
    pub(super) fn select_overflow(
        &self,
        filter: &Filter,
    ) -> Result<(Range<usize>, Mask), IndexError> {
        let slots = self.line_slots()..self.slots();
        let mask = self.select_in(slots.clone(), filter)?;
        Ok((slots, mask))
    }

    fn select_in(&self, slots: Range<usize>, filter: &Filter) -> Result<Mask, IndexError> {
        let (codes, width) = self.class_codes(slots.clone())?;
        let wanted: Vec<u32> = (0..)
            .zip(self.classes())
            .filter_map(|(code, class)| filter.takes_class(*class).then_some(code))
            .collect();
        let mut words = vec![0; slots.len().div_ceil(64)];
        let mut each = |range: Range<u32>| match width {
            1 => within_u8(codes, range, &mut words),
            2 => within_u16(codes, range, &mut words),
            _ => within_u32(codes, range, &mut words),
        };
        // Runs of codes: taking all is one comparison.
        wanted
            .chunk_by(|a, b| a + 1 == *b)
            .for_each(|run| each(run[0]..run[run.len() - 1] + 1));
        if filter.logseq != Filter::ALL.logseq {
            let range = self.commits_between(*filter.logseq.start(), *filter.logseq.end())?;
            let (codes, width) = self.commit_codes(slots.clone())?;
            let mut inside = vec![0; words.len()];
            match width {
                2 => within_u16(codes, range, &mut inside),
                _ => within_u32(codes, range, &mut inside),
            }
            words
                .iter_mut()
                .zip(&inside)
                .for_each(|(word, inside)| *word &= inside);
        }
        let mut mask = Mask::from_vec(words);
        mask.truncate(slots.len());
        Ok(mask)
    }
}

macro_rules! kernel {
    ($name:ident, $twin:ident, $int:ty, $vector:ty, $lanes:literal) => {
        /// Sets the bit of each code that lies in a range, in vectors.
        #[inline]
        fn $name(codes: &[u8], range: Range<u32>, words: &mut [u64]) {
            const WIDTH: usize = size_of::<$int>();
            if range.is_empty() {
                return;
            }
            // Codes and their bounds fit their width: what is cut off is zeros.
            let cut =
                |code: u32| <$int>::from_le_bytes(std::array::from_fn(|at| code.to_le_bytes()[at]));
            let (low, span) = (cut(range.start), cut(range.end - 1 - range.start));
            // One comparison for both bounds: what is below wraps around to above.
            let (low, last) = (<$vector>::splat(low), <$vector>::splat(span));
            let vectors = codes.chunks_exact(WIDTH * 64);
            let done = vectors.len();
            for (bytes, word) in vectors.zip(words.iter_mut()) {
                let mut bits = 0;
                for (part, bytes) in bytes.chunks_exact(WIDTH * $lanes).enumerate() {
                    let mut lanes = [0; $lanes];
                    for (lane, bytes) in lanes.iter_mut().zip(bytes.chunks_exact(WIDTH)) {
                        *lane = <$int>::from_le_bytes(std::array::from_fn(|at| bytes[at]));
                    }
                    let above = <$vector>::new(lanes) - low;
                    let inside = above.max(last).simd_eq(last);
                    bits |= u64::from(inside.to_bitmask()) << (part * $lanes);
                }
                *word |= bits;
            }
            $twin(&codes[done * WIDTH * 64..], range, &mut words[done..]);
        }

        /// Its twin, one code after the other.
        #[inline]
        fn $twin(codes: &[u8], range: Range<u32>, words: &mut [u64]) {
            for (slot, bytes) in codes.chunks_exact(size_of::<$int>()).enumerate() {
                let code = u32::from(<$int>::from_le_bytes(std::array::from_fn(|at| bytes[at])));
                words[slot / 64] |= u64::from(range.contains(&code)) << (slot % 64);
            }
        }
    };
}

kernel!(within_u8, each_u8, u8, wide::u8x32, 32);
kernel!(within_u16, each_u16, u16, wide::u16x16, 16);
kernel!(within_u32, each_u32, u32, wide::u32x8, 8);
