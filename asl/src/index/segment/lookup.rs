//! Looking an id up in a segment: what it costs does not depend on how many records look alike.

use std::ops::Range;

use uor_index_format::id::CanonicalId;

use super::Segment;
use super::layout::{prefix_of, shard_of};
use crate::index::error::IndexError;
use crate::index::lines::{self, SLOTS};
use crate::index::row::Ids;
use crate::log::LogPosition;

/// Up to this many records that look alike are given out without a look at their ids: a fingerprint
/// errs so seldom that more are either about one id or made on purpose.
const ALIKE_MAX: usize = 4;

impl Segment {
    /// Records that may be about an id: slot and place of each, at most `most`. Of more than a few
    /// that look alike, `ids` says which are about the id: as slots ascend with whole ids, these
    /// are found by bisection, however many they are.
    #[inline]
    pub(in crate::index) fn candidates<E: From<IndexError>>(
        &self,
        id: &CanonicalId,
        most: usize,
        ids: &dyn Ids<Error = E>,
        mut on_candidate: impl FnMut(usize, LogPosition) -> Result<(), IndexError>,
    ) -> Result<(), E> {
        let (home, fingerprint) = lines::home(
            shard_of(prefix_of(id), self.header.shard_bits).1,
            self.header.lines,
        );
        let first = self.line(home)?;
        let mut told = 0;
        for at in home..=home + first.reach() {
            let line = if at == home { first } else { self.line(at)? };
            let mut matches = line.matches(fingerprint);
            while matches != 0 {
                if told == most.min(ALIKE_MAX) {
                    return self.candidates_alike(id, most, told, ids, on_candidate);
                }
                let slot = matches.trailing_zeros() as usize;
                matches &= matches - 1;
                told += 1;
                on_candidate(at * SLOTS + slot, self.place(line.address(slot))?)?;
            }
        }
        if first.overflows() {
            return self.candidates_alike(id, most, told, ids, on_candidate);
        }
        Ok(())
    }

    /// Those that are about an id among the slots of lines with its fingerprint, and in the
    /// overflow; the first `told` slots have been told of already.
    #[cold]
    #[inline(never)]
    fn candidates_alike<E: From<IndexError>>(
        &self,
        id: &CanonicalId,
        most: usize,
        told: usize,
        ids: &dyn Ids<Error = E>,
        mut on_candidate: impl FnMut(usize, LogPosition) -> Result<(), IndexError>,
    ) -> Result<(), E> {
        let prefix = shard_of(prefix_of(id), self.header.shard_bits).1;
        let alike = self.alike(prefix)?;
        let alike = &alike[told..];
        let in_lines = self.narrowed(alike.len(), |index| alike[index], id, ids)?;
        let most = most - told;
        let told = in_lines.len().min(most);
        for slot in in_lines.take(most).map(|index| alike[index]) {
            on_candidate(slot, self.slot_place(slot)?)?;
        }
        if self
            .line(lines::home(prefix, self.header.lines).0)?
            .overflows()
        {
            let range = lines::overflow_of(prefix, self.header.overflow, |index| {
                self.overflow_slot(index)
            })?;
            let start = self.line_slots() + range.start;
            let in_overflow = self.narrowed(range.len(), |index| start + index, id, ids)?;
            for slot in in_overflow.take(most - told).map(|index| start + index) {
                on_candidate(slot, self.slot_place(slot)?)?;
            }
        }
        Ok(())
    }

    /// The slots of lines with the fingerprint of a prefix, ascending.
    fn alike(&self, prefix: u64) -> Result<Vec<usize>, IndexError> {
        let (home, fingerprint) = lines::home(prefix, self.header.lines);
        let mut slots = Vec::new();
        for at in home..=home + self.line(home)?.reach() {
            let matches = self.line(at)?.matches(fingerprint);
            slots.extend(
                (0..SLOTS)
                    .filter(|slot| matches >> slot & 1 == 1)
                    .map(|slot| at * SLOTS + slot),
            );
        }
        Ok(slots)
    }

    /// Of `count` slots in ascending order of their ids, the range of those about `id`; few slots
    /// are taken as they are.
    fn narrowed<E: From<IndexError>>(
        &self,
        count: usize,
        slot: impl Fn(usize) -> usize,
        id: &CanonicalId,
        ids: &dyn Ids<Error = E>,
    ) -> Result<Range<usize>, E> {
        if count <= ALIKE_MAX {
            return Ok(0..count);
        }
        let id_at = |index| -> Result<CanonicalId, E> { ids.id(self.slot_place(slot(index))?) };
        let bound = |mut low: usize, is_before: &dyn Fn(CanonicalId) -> bool| {
            let mut high = count;
            while low < high {
                let middle = low + (high - low) / 2;
                if is_before(id_at(middle)?) {
                    low = middle + 1
                } else {
                    high = middle
                }
            }
            Ok::<_, E>(low)
        };
        let start = bound(0, &|other| other < *id)?;
        Ok(start..bound(start, &|other| other <= *id)?)
    }

    /// Where the record in a slot lies, of which it is known that it is filled.
    fn slot_place(&self, slot: usize) -> Result<LogPosition, IndexError> {
        match slot.checked_sub(self.line_slots()) {
            Some(index) => self.place(self.overflow_slot(index)?.1),
            None => self.place(self.line(slot / SLOTS)?.address(slot % SLOTS)),
        }
    }
}
