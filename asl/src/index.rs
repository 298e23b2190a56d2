//! The index: where in the log the records about each id lie. `FORMAT.md`, "Index".
//!
//! Records that came last are in the [`Memtable`], in memory; all others in *runs*, each of which
//! covers a range of the log and has one segment file for each shard of the ids. The index names
//! places; whoever asks reads the whole id there before it believes them. Everything here can be
//! rebuilt from the log, and is where it is damaged.
//!
//! To be read in this order: `error`, `row`, `lines` (one memory access), `segment` (a file),
//! `mend` (a damaged one), `filter` (many records at a time), `run`, `memtable`, and this file,
//! which asks all of them.

mod error;
mod filter;
mod lines;
mod memtable;
mod mend;
mod row;
mod run;
mod segment;
#[cfg(test)]
mod tests;

use std::iter::Peekable;
use std::ops::Range;
use std::sync::Arc;

use uor_index_format::id::CanonicalId;

pub use self::error::IndexError;
pub use self::filter::{Filter, Mask};
pub use self::memtable::Memtable;
pub(crate) use self::mend::Source;
pub use self::row::{Class, CommitRef, Found, Ids, Row};
pub(crate) use self::run::{Run, RunBuilder, RunSize, merge_all, merge_due, share_of_run};
use self::segment::{Segment, prefix_of, shard_of};
use crate::log::LogPosition;

/// Places of all records.
pub struct Index {
    shard_bits: u32,
    /// Oldest first.
    runs: Vec<Arc<Run>>,
    /// One that takes no more and is being written as a run.
    immutable: Option<Arc<Memtable>>,
    memtable: Memtable,
}

impl Index {
    /// An empty index of `shards` shards, a power of two up to 65,536; others are rounded up.
    /// `seed` is to be known to nobody who could choose ids.
    #[must_use]
    pub fn new(shards: u32, seed: u64) -> Self {
        let shards = shards.clamp(1, 1 << 16).next_power_of_two();
        let shard_bits = shards.trailing_zeros();
        Self {
            shard_bits,
            runs: Vec::new(),
            immutable: None,
            memtable: Memtable::new(seed),
        }
    }

    /// How many shards there are.
    #[must_use]
    pub const fn shards(&self) -> u32 {
        1 << self.shard_bits
    }

    /// Takes in a commit, to which the rows inserted next belong.
    pub fn begin_commit(&mut self, commit: CommitRef) -> u32 {
        self.memtable.begin_commit(commit)
    }

    /// Takes in a record.
    pub fn insert(&mut self, row: Row) {
        self.memtable.insert(row);
    }

    /// Starts to load what [`Index::insert`] of a record about this id reads.
    #[inline]
    pub(crate) fn prefetch_insert(&self, id: &CanonicalId) {
        self.memtable.prefetch(id);
    }

    /// How many records are in memory, not counting those on their way into a run.
    #[must_use]
    pub fn memtable_len(&self) -> u64 {
        self.memtable.len() as u64
    }

    /// Sets the memtable aside to be written as a run, and begins a new one.
    pub(crate) fn rotate(&mut self) -> Arc<Memtable> {
        let next = self.memtable.successor();
        assert!(
            self.immutable.is_none(),
            "what was set aside before has been written"
        );
        let memtable = Arc::new(std::mem::replace(&mut self.memtable, next));
        self.immutable = Some(Arc::clone(&memtable));
        memtable
    }

    /// What was set aside has become the newest run.
    pub(crate) fn install(&mut self, run: Arc<Run>) {
        self.immutable = None;
        self.runs.push(run);
    }

    /// Takes in a run that is newer than those here.
    pub(crate) fn push_run(&mut self, run: Arc<Run>) {
        self.runs.push(run);
    }

    /// These runs have become one.
    pub(crate) fn merged(&mut self, replaced: Range<usize>, run: Arc<Run>) {
        self.runs.splice(replaced, [run]);
    }

    /// How many records there are, each slot of the runs looked at.
    ///
    /// # Errors
    /// [`IndexError`].
    pub(crate) fn len(&self) -> Result<u64, IndexError> {
        let runs = self
            .runs
            .iter()
            .map(|run| run.filled())
            .sum::<Result<u64, _>>()?;
        Ok(runs
            + self
                .memtables()
                .map(|memtable| memtable.len() as u64)
                .sum::<u64>())
    }

    /// The runs, oldest first.
    pub(crate) fn runs(&self) -> &[Arc<Run>] {
        &self.runs
    }

    /// Every record that may be about an id: of each run, and in memory, at most `most`. Of records
    /// that only look alike few are among them, however many there are: where a run has many, `ids`
    /// says which are about this id.
    ///
    /// # Errors
    /// [`IndexError`], here and wherever the index is read, and what `ids` cannot read.
    pub fn candidates<E: From<IndexError>>(
        &self,
        id: &CanonicalId,
        most: usize,
        ids: &dyn Ids<Error = E>,
        mut on_found: impl FnMut(Found),
    ) -> Result<(), E> {
        let prefix = prefix_of(id);
        let (shard, _) = shard_of(prefix, self.shard_bits);
        for segment in self.runs.iter().filter_map(|run| run.segment(shard)) {
            segment.prefetch_line(prefix);
            segment.prefetch_codes(prefix);
        }
        for segment in self.runs.iter().filter_map(|run| run.segment(shard)) {
            segment.candidates(id, most, ids, |slot, at| {
                segment.found(slot, at).map(&mut on_found)
            })?;
        }
        self.memtables()
            .for_each(|memtable| memtable.candidates(id, most, &mut on_found));
        Ok(())
    }

    /// As [`Index::candidates`], for several ids, each named by its index: memory is asked for
    /// first for all of them, then waited for. `on_place` is told of each place as soon as it is
    /// known, so that it can be asked for too.
    ///
    /// # Errors
    /// As [`Index::candidates`].
    pub fn candidates_batch<E: From<IndexError>>(
        &self,
        ids: &[CanonicalId],
        most: usize,
        log: &dyn Ids<Error = E>,
        mut on_place: impl FnMut(LogPosition),
        mut on_found: impl FnMut(usize, Found),
    ) -> Result<(), E> {
        /// How many lines are asked for at once.
        const AT_ONCE: usize = 32;
        let mut candidates = Vec::with_capacity(AT_ONCE);
        for (start, ids) in (0..).step_by(AT_ONCE).zip(ids.chunks(AT_ONCE)) {
            for run in &self.runs {
                let segment_of = |id| run.segment(shard_of(prefix_of(id), self.shard_bits).0);
                for id in ids {
                    segment_of(id)
                        .iter()
                        .for_each(|segment| segment.prefetch_line(prefix_of(id)));
                }
                for (of, id) in (start..).zip(ids) {
                    let Some(segment) = segment_of(id) else {
                        continue;
                    };
                    segment.candidates(id, most, log, |slot, at| {
                        segment.prefetch_code(slot);
                        on_place(at);
                        candidates.push((of, segment, slot, at));
                        Ok(())
                    })?;
                }
            }
            for (of, segment, slot, at) in candidates.drain(..) {
                on_found(of, segment.found(slot, at)?);
            }
            for memtable in self.memtables() {
                ids.iter().for_each(|id| memtable.prefetch(id));
                (start..).zip(ids).for_each(|(at, id)| {
                    memtable.candidates(id, most, |found| on_found(at, found))
                });
            }
        }
        Ok(())
    }

    /// How many records `filter` takes, whatever their ids: columns are read, records are not.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn count(&self, filter: &Filter) -> Result<u64, IndexError> {
        let mut count = 0;
        for segment in self.runs.iter().flat_map(|run| run.segments()) {
            let whole = Filter {
                ids: Filter::ALL.ids,
                ..filter.clone()
            };
            count += segment.select(&whole)?.1.count_ones()
                + segment.select_overflow(&whole)?.1.count_ones();
        }
        Ok(count as u64
            + self
                .memtables()
                .map(|memtable| memtable.count(filter))
                .sum::<u64>())
    }

    /// The records of all shards that `filter` takes, ascending by id; those about one id in no
    /// particular order.
    pub fn ascending<'a, E: From<IndexError>>(
        &'a self,
        filter: &Filter,
        ids: &'a dyn Ids<Error = E>,
    ) -> impl Iterator<Item = Result<(CanonicalId, Found), E>> + use<'a, E> {
        let (filter, first) = (
            filter.clone(),
            shard_of(prefix_of(filter.ids.start()), self.shard_bits).0,
        );
        let last = shard_of(prefix_of(filter.ids.end()), self.shard_bits).0;
        (first..=last).flat_map(move |shard| self.ascending_in(shard, &filter, ids))
    }

    /// The records of one shard that `filter` takes, ascending by id.
    pub fn ascending_in<'a, E: From<IndexError>>(
        &'a self,
        shard: u32,
        filter: &Filter,
        ids: &'a dyn Ids<Error = E>,
    ) -> impl Iterator<Item = Result<(CanonicalId, Found), E>> + use<'a, E> {
        let segments = self.runs.iter().filter_map(|run| run.segment(shard));
        let segments = segments.flat_map(|segment| {
            [
                stream(segment, filter, ids, false),
                stream(segment, filter, ids, true),
            ]
        });
        let ids_here = self.ids_of(shard, filter);
        let memtables = self.memtables().map(|memtable| -> Stream<'a, E> {
            Box::new(memtable.sorted(&ids_here, filter).into_iter().map(Ok))
        });
        Merged {
            streams: segments.chain(memtables).map(Iterator::peekable).collect(),
        }
    }

    /// The ids of a shard that a filter takes.
    fn ids_of(&self, shard: u32, filter: &Filter) -> std::ops::RangeInclusive<CanonicalId> {
        let (mut low, mut high) = ([0; 32], [0xff; 32]);
        if self.shard_bits > 0 {
            let first = u64::from(shard) << (64 - self.shard_bits);
            low[..8].copy_from_slice(&bytes_of(first));
            high[..8].copy_from_slice(&bytes_of(first | u64::MAX >> self.shard_bits));
        }
        let (low, high) = (CanonicalId::from_bytes(low), CanonicalId::from_bytes(high));
        low.max(*filter.ids.start())..=high.min(*filter.ids.end())
    }

    #[inline]
    fn memtables(&self) -> impl Iterator<Item = &Memtable> {
        self.immutable
            .as_deref()
            .into_iter()
            .chain([&self.memtable])
    }
}

/// A prefix as the id's first bytes.
fn bytes_of(prefix: u64) -> [u8; 8] {
    std::array::from_fn(|at| u8::try_from(prefix >> (56 - 8 * at) & 0xff).expect("eight bits"))
}

type Stream<'a, E> = Box<dyn Iterator<Item = Result<(CanonicalId, Found), E>> + 'a>;

/// The records of a segment that `filter` takes, ascending by id: those of its lines or those of
/// its overflow.
fn stream<'a, E: From<IndexError>>(
    segment: &'a Segment,
    filter: &Filter,
    ids: &'a dyn Ids<Error = E>,
    overflow: bool,
) -> Stream<'a, E> {
    let selected = if overflow {
        segment.select_overflow(filter)
    } else {
        segment.select(filter)
    };
    let (slots, mask) = match selected {
        Ok(selected) => selected,
        Err(error) => return Box::new(std::iter::once(Err(error.into()))),
    };
    let wanted = filter.ids.clone();
    let mut at = 0;
    let next = std::iter::from_fn(move || {
        let next = mask.get(at..)?.first_one()? + at;
        at = next + 1;
        Some(slots.start + next)
    });
    let read = move |slot| match segment.slot(slot) {
        Ok(Some(found)) => Some(ids.id(found.at).map(|id| (id, found))),
        Ok(None) => None,
        Err(error) => Some(Err(error.into())),
    };
    Box::new(
        next.filter_map(read)
            .filter(move |row| row.as_ref().map_or(true, |(id, _)| wanted.contains(id))),
    )
}

/// Several ascending streams as one.
struct Merged<'a, E> {
    streams: Vec<Peekable<Stream<'a, E>>>,
}

impl<E> Iterator for Merged<'_, E> {
    type Item = Result<(CanonicalId, Found), E>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut least: Option<(usize, Option<CanonicalId>)> = None;
        for (at, stream) in self.streams.iter_mut().enumerate() {
            // An error comes before everything.
            let id = match stream.peek() {
                Some(Ok((id, _))) => Some(*id),
                Some(Err(_)) => None,
                None => continue,
            };
            if least.as_ref().is_none_or(|(_, before)| id < *before) {
                least = Some((at, id));
            }
        }
        self.streams[least?.0].next()
    }
}
