//! The data every system is given: rows that follow from their index, so that nothing has to be
//! remembered to check answers.

use uor_index_format::id::Checksum;
use uor_index_format::record::{Payload, artifact_key};
use uor_replay_tests::random::Random;

/// The 32 bytes a row is found by: the key of an artifact, which is as good as random.
pub(crate) type Id = [u8; 32];

/// Type tags are below this; a filter on one selects this fraction of all rows.
pub(crate) const TAGS: u32 = 1024;
/// Where no row has its index: ids from here on are absent.
const ABSENT: u64 = 1 << 40;

/// 64 bytes: checksum, length (8), type tag (4), and 20 more as random as the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Value(pub(crate) [u8; 64]);

impl Value {
    /// Where the type tag lies.
    pub(crate) const TAG_AT: usize = 40;

    fn of(index: u64) -> Self {
        let mut random = Random::new(index.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let mut bytes = [0; 64];
        bytes
            .as_chunks_mut::<8>()
            .0
            .iter_mut()
            .for_each(|chunk| *chunk = random.next().to_le_bytes());
        bytes[32..40].copy_from_slice(&random.below(1 << 20).to_le_bytes());
        let tag = u32::try_from(random.below(TAGS.into())).unwrap_or_default();
        bytes[Self::TAG_AT..Self::TAG_AT + 4].copy_from_slice(&tag.to_le_bytes());
        Self(bytes)
    }

    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        std::array::from_fn(|byte| self.0[at + byte])
    }

    /// The 32-bit column.
    pub(crate) fn tag(&self) -> u32 {
        u32::from_le_bytes(self.array(Self::TAG_AT))
    }

    /// What the artifact record of this row names.
    pub(crate) fn payload(&self) -> Payload {
        Payload {
            checksum: Checksum::from_bytes(self.array(0)),
            len: u64::from_le_bytes(self.array(32)),
        }
    }
}

/// The tag in the bytes of a value.
pub(crate) fn tag_of(value: &[u8]) -> Option<u32> {
    value
        .get(Value::TAG_AT..)?
        .first_chunk()
        .map(|bytes| u32::from_le_bytes(*bytes))
}

/// What a lookup answers with: the first bytes of the value, enough to know it again.
pub(crate) fn mark_of(value: &[u8]) -> u64 {
    value
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// One row to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// Its key.
    pub(crate) id: Id,
    /// Which load it belongs to, where that matters.
    pub(crate) version: u64,
    /// Its value.
    pub(crate) value: Value,
}

impl Row {
    /// The row of an index.
    pub(crate) fn of(index: u64, version: u64) -> Self {
        let value = Value::of(index);
        Self {
            id: *artifact_key(Some(value.tag()), &value.payload()).as_bytes(),
            version,
            value,
        }
    }
}

/// How many lookups found something, and the sum of what they found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    found: u64,
    sum: u64,
}

impl Tally {
    /// Takes in one answer.
    pub(crate) const fn add(&mut self, mark: Option<u64>) {
        if let Some(mark) = mark {
            self.found += 1;
            self.sum = self.sum.wrapping_add(mark);
        }
    }
}

/// Ids to be looked up together, and what must come of it.
#[derive(Debug, Clone)]
pub(crate) struct Queries {
    /// The ids, in the order they are asked for.
    pub(crate) ids: Vec<Id>,
    /// The answer.
    pub(crate) expected: Tally,
}

impl Queries {
    fn of(indices: impl Iterator<Item = u64>, is_there: impl Fn(u64) -> bool) -> Self {
        let (mut ids, mut expected) = (Vec::new(), Tally::default());
        for index in indices {
            let row = Row::of(index, 0);
            ids.push(row.id);
            expected.add(is_there(index).then(|| mark_of(&row.value.0)));
        }
        Self { ids, expected }
    }

    /// `count` ids out of the first `records`, of which those below `there` are there.
    pub(crate) fn present(records: u64, there: u64, count: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        Self::of((0..count).map(|_| random.below(records)), |index| {
            index < there
        })
    }

    /// `count` ids that nobody has written.
    pub(crate) fn absent(count: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        Self::of((0..count).map(|_| ABSENT + random.below(ABSENT)), |_| false)
    }

    /// The ids of exactly these rows.
    pub(crate) fn exactly(indices: impl Iterator<Item = u64>) -> Self {
        Self::of(indices, |_| true)
    }
}

/// Rows are handed over in chunks of this many: prepared before the clock runs, and still bounded
/// in memory.
const CHUNK_ROWS: u64 = 80 * 65_536;

/// The rows of a range of indices, in chunks.
pub(crate) fn chunks(range: std::ops::Range<u64>, version: u64) -> impl Iterator<Item = Vec<Row>> {
    let starts = range
        .clone()
        .step_by(usize::try_from(CHUNK_ROWS).unwrap_or(usize::MAX));
    starts.map(move |start| {
        (start..range.end.min(start + CHUNK_ROWS))
            .map(|index| Row::of(index, version))
            .collect()
    })
}

/// All rows of a range, ascending by id.
pub(crate) fn sorted(range: std::ops::Range<u64>) -> Vec<Row> {
    let mut rows: Vec<Row> = range.map(|index| Row::of(index, 1)).collect();
    rows.sort_unstable_by_key(|row| row.id);
    rows
}

/// How many of the first `records` rows have this tag.
pub(crate) fn count_with_tag(records: u64, tag: u32) -> u64 {
    (0..records)
        .filter(|index| Value::of(*index).tag() == tag)
        .count() as u64
}
