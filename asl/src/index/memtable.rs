//! The memtable: records that no segment holds yet.
//!
//! A hash table names the newest record about each id; each record names the one before it about
//! the same id. The hash is over all of the id and a seed that nobody outside knows, so that ids
//! cannot be chosen to collide.

use std::ops::RangeInclusive;

use uor_index_format::id::CanonicalId;

use super::filter::Filter;
use super::row::{CommitRef, Found, Row};

/// No record, in chains.
const NONE: u32 = u32::MAX;

/// A place of the table: the newest record of an id, beside 32 bits of the id's hash. So a place
/// that is some other id's is passed over, and the table grows, without a look at records, each of
/// which is a cache miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    hash: u32,
    record: u32,
}

impl Place {
    const EMPTY: Self = Self {
        hash: 0,
        record: NONE,
    };
}

/// Records in memory.
#[derive(Debug, Clone, Default)]
pub struct Memtable {
    seed: u64,
    records: Vec<Record>,
    commits: Vec<CommitRef>,
    /// A power of two of places, at most half of them taken.
    table: Vec<Place>,
    ids: usize,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    row: Row,
    /// The record before this about the same id.
    before: u32,
}

impl Memtable {
    /// An empty memtable.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            ..Self::default()
        }
    }

    /// An empty memtable that will probably become as large as this one.
    pub(super) fn successor(&self) -> Self {
        Self {
            records: Vec::with_capacity(self.records.len()),
            ..Self::new(self.seed)
        }
    }

    /// How many records it holds.
    pub(super) const fn len(&self) -> usize {
        self.records.len()
    }

    /// The commits of its records, as [`Row::commit`] counts them.
    pub(super) fn commits(&self) -> &[CommitRef] {
        &self.commits
    }

    /// Its records, in the order in which they were inserted.
    pub(super) fn rows(&self) -> impl ExactSizeIterator<Item = &Row> {
        self.records.iter().map(|record| &record.row)
    }

    pub(super) fn begin_commit(&mut self, commit: CommitRef) -> u32 {
        self.commits.push(commit);
        u32::try_from(self.commits.len() - 1).expect("a memtable is sealed long before")
    }

    pub(super) fn insert(&mut self, row: Row) {
        if self.table.len() < (self.ids + 1) * 2 {
            self.grow();
        }
        let record = u32::try_from(self.records.len()).expect("a memtable is sealed long before");
        let (at, hash) = self.place(&row.id);
        let before = std::mem::replace(&mut self.table[at], Place { hash, record }).record;
        self.ids += usize::from(before == NONE);
        self.records.push(Record { row, before });
    }

    fn grow(&mut self) {
        let len = (self.table.len() * 2).max(1024);
        let places = std::mem::replace(&mut self.table, vec![Place::EMPTY; len]);
        for place in places.into_iter().filter(|place| place.record != NONE) {
            let mut at = place.hash as usize & (len - 1);
            while self.table[at].record != NONE {
                at = (at + 1) & (len - 1);
            }
            self.table[at] = place;
        }
    }

    /// Where in the table this id is, or would be, and its hash.
    #[inline]
    fn place(&self, id: &CanonicalId) -> (usize, u32) {
        let mask = self.table.len() - 1;
        let hash = self.hash(id);
        let mut at = hash as usize & mask;
        loop {
            let place = self.table[at];
            let is_its = || place.hash == hash && self.records[place.record as usize].row.id == *id;
            if place.record == NONE || is_its() {
                return (at, hash);
            }
            at = (at + 1) & mask;
        }
    }

    #[inline]
    fn hash(&self, id: &CanonicalId) -> u32 {
        let mut hash = self.seed ^ 0x9e37_79b9_7f4a_7c15;
        for word in id.as_bytes().chunks_exact(8) {
            let word = word
                .iter()
                .rev()
                .fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
            let product = u128::from(hash ^ word) * 0xd6e8_feb8_6659_fd93;
            #[expect(clippy::cast_possible_truncation, reason = "both halves are kept")]
            let folded = (product >> 64) as u64 ^ product as u64;
            hash = folded.rotate_left(29) ^ self.seed;
        }
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is kept")]
        let hash = (hash ^ hash >> 32) as u32;
        hash
    }

    #[inline]
    pub(super) fn prefetch(&self, id: &CanonicalId) {
        if !self.table.is_empty() {
            crate::prefetch::prefetch(&self.table, self.hash(id) as usize & (self.table.len() - 1));
        }
    }

    /// Every record about an id, newest first, and at most `most`.
    #[inline]
    pub(super) fn candidates(
        &self,
        id: &CanonicalId,
        most: usize,
        mut on_found: impl FnMut(Found),
    ) {
        if self.table.is_empty() {
            return;
        }
        let mut at = self.table[self.place(id).0].record;
        for _ in 0..most {
            let Some(record) = self.records.get(at as usize) else {
                return;
            };
            on_found(self.found(&record.row));
            at = record.before;
        }
    }

    /// The records that `filter` takes and whose ids lie in a range, by id.
    pub(super) fn sorted(
        &self,
        ids: &RangeInclusive<CanonicalId>,
        filter: &Filter,
    ) -> Vec<(CanonicalId, Found)> {
        let taken = self
            .rows()
            .filter(|row| ids.contains(&row.id) && filter.takes_class(row.class));
        let mut sorted: Vec<_> = taken.map(|row| (row.id, self.found(row))).collect();
        sorted.retain(|(_, found)| filter.logseq.contains(&found.commit.logseq));
        sorted.sort_unstable_by_key(|(id, found)| (*id, found.at));
        sorted
    }

    /// How many records `filter` takes, whatever their ids.
    pub(super) fn count(&self, filter: &Filter) -> u64 {
        let is_taken = |row: &&Row| {
            filter.takes_class(row.class)
                && filter
                    .logseq
                    .contains(&self.commits[row.commit as usize].logseq)
        };
        self.rows().filter(is_taken).count() as u64
    }

    fn found(&self, row: &Row) -> Found {
        Found {
            at: row.at,
            commit: self.commits[row.commit as usize],
        }
    }
}
