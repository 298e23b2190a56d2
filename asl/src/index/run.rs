//! Runs: the records of a range of the log, in one segment for each shard.

use std::ops::Range;
use std::sync::Arc;
use std::thread;

use super::error::IndexError;
use super::memtable::Memtable;
use super::mend::{SEAL_LEN, Source};
use super::row::{Class, CommitRef, Ids};
use super::segment::{self, Item, Segment};
use crate::disk::Sealed;
use crate::log::LogPosition;

/// A segment for each shard.
pub(crate) struct Run {
    segments: Vec<Segment>,
}

/// Records on their way into a run, by shard.
pub(crate) struct RunBuilder {
    shard_bits: u32,
    /// The first shard whose records are taken.
    first: u32,
    commits: Vec<CommitRef>,
    shards: Vec<Vec<Item>>,
}

impl RunBuilder {
    /// Those shards of a run of `shards`, a power of two, that are `taken`, with nothing in them.
    pub(crate) fn for_shards(shards: u32, taken: Range<u32>) -> Self {
        let (shard_bits, first) = (shards.trailing_zeros(), taken.start);
        Self {
            shard_bits,
            first,
            commits: Vec::new(),
            shards: taken.map(|_| Vec::new()).collect(),
        }
    }

    /// A run of `shards` shards of what is in a memtable.
    pub(crate) fn of(memtable: &Memtable, shards: u32) -> Self {
        let mut builder = Self::for_shards(shards, 0..shards);
        builder.commits = memtable.commits().to_vec();
        memtable
            .rows()
            .for_each(|row| builder.push(row.id.prefix(), row.at, row.class, row.commit));
        builder
    }

    /// The records pushed next are those of this commit.
    pub(crate) fn begin_commit(&mut self, commit: CommitRef) -> u32 {
        self.commits.push(commit);
        u32::try_from(self.commits.len() - 1)
            .expect("a run has fewer commits than its log has bytes")
    }

    /// Takes in a record, if it belongs into one of the shards.
    #[inline]
    pub(crate) fn push(&mut self, prefix: u64, at: LogPosition, class: Class, commit: u32) {
        let (shard, _) = segment::shard_of(prefix, self.shard_bits);
        let items = shard
            .checked_sub(self.first)
            .and_then(|shard| self.shards.get_mut(shard as usize));
        items.into_iter().for_each(|items| {
            items.push(Item {
                prefix,
                at,
                class,
                commit,
            })
        });
    }

    /// The files of the shards, in their order, laid out on several threads. `number` names the run
    /// and no other.
    ///
    /// # Errors
    /// What `ids` cannot read.
    pub(crate) fn encode<E: Send>(
        self,
        number: u32,
        ids: &(dyn Ids<Error = E> + Sync),
    ) -> Result<Vec<Vec<u8>>, E> {
        let Self {
            shard_bits,
            first,
            commits,
            shards,
        } = self;
        let threads = thread::available_parallelism()
            .map_or(1, usize::from)
            .min(shards.len())
            .max(1);
        let mut work: Vec<Vec<(usize, Vec<Item>)>> = (0..threads).map(|_| Vec::new()).collect();
        shards
            .into_iter()
            .enumerate()
            .for_each(|(shard, items)| work[shard % threads].push((shard, items)));
        let commits = &commits;
        let encode = |work: Vec<(usize, Vec<Item>)>| {
            let encode = |(shard, items): (usize, Vec<Item>)| {
                let index = first + u32::try_from(shard).unwrap_or(u32::MAX);
                let bytes = segment::encode(
                    index,
                    shard_bits,
                    file_number(number, index),
                    items,
                    commits,
                    ids,
                )?;
                Ok((shard, bytes))
            };
            work.into_iter().map(encode).collect::<Result<Vec<_>, E>>()
        };
        let mut files = thread::scope(|scope| {
            let handles: Vec<_> = work
                .into_iter()
                .map(|work| scope.spawn(|| encode(work)))
                .collect();
            let join = |handle: thread::ScopedJoinHandle<'_, _>| match handle.join() {
                Ok(files) => files,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            handles
                .into_iter()
                .map(join)
                .collect::<Result<Vec<Vec<_>>, E>>()
        })?
        .concat();
        files.sort_unstable_by_key(|(shard, _)| *shard);
        Ok(files.into_iter().map(|(_, bytes)| bytes).collect())
    }
}

/// What names a segment's file and no other.
fn file_number(run: u32, shard: u32) -> u64 {
    u64::from(run) << 32 | u64::from(shard)
}

impl Run {
    /// Opens the files of run `number`, by shard, each with its path; `source` rebuilds those that
    /// turn out damaged later.
    ///
    /// # Errors
    /// [`IndexError`].
    pub(crate) fn open(
        number: u32,
        files: Vec<(String, Sealed)>,
        source: Option<Arc<dyn Source>>,
    ) -> Result<Self, IndexError> {
        let open = |(shard, (path, bytes))| {
            Segment::open(path, file_number(number, shard), bytes, source.clone())
        };
        Ok(Self {
            segments: (0..).zip(files).map(open).collect::<Result<_, _>>()?,
        })
    }

    /// What names each of its files and no other.
    pub(crate) fn seals(&self) -> Vec<[u8; SEAL_LEN]> {
        self.segments.iter().map(Segment::seal).collect()
    }

    /// How many records it holds.
    pub(crate) fn records(&self) -> u64 {
        self.segments.iter().map(Segment::records).sum()
    }

    /// Verifies every page of its files.
    pub(crate) fn verify(&self, on_damage: &mut dyn FnMut(IndexError)) {
        self.segments
            .iter()
            .for_each(|segment| segment.verify(on_damage));
    }

    /// Lets `write` put what was rebuilt in the place of damaged files; says whether there was any.
    ///
    /// # Errors
    /// Those of `write`.
    pub(crate) fn store_rebuilt<E>(
        &self,
        mut write: impl FnMut(&str, &[u8]) -> Result<(), E>,
    ) -> Result<bool, E> {
        let mut any = false;
        for segment in &self.segments {
            if let Some((path, bytes)) = segment.unstored() {
                write(path, bytes)?;
                segment.stored();
                any = true;
            }
        }
        Ok(any)
    }

    /// The commits whose records it holds.
    ///
    /// # Errors
    /// [`IndexError`].
    pub(crate) fn commits(&self) -> Result<Vec<CommitRef>, IndexError> {
        self.segments
            .first()
            .map_or(Ok(Vec::new()), Segment::commits)
    }

    /// How many of its slots are filled.
    ///
    /// # Errors
    /// [`IndexError`].
    pub(crate) fn filled(&self) -> Result<u64, IndexError> {
        self.segments.iter().map(Segment::filled).sum()
    }

    /// Its segments, by shard.
    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    #[inline]
    pub(super) fn segment(&self, shard: u32) -> Option<&Segment> {
        self.segments.get(shard as usize)
    }
}

/// What deciding about merges needs to know of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunSize {
    pub(crate) records: u64,
    /// Where in the log it begins and ends.
    pub(crate) range: (LogPosition, LogPosition),
}

/// This many runs of about one size are merged into one: lookups ask few runs, and a record is
/// written few times.
const FAN_IN: usize = 8;

/// Which runs, given oldest first, are to be merged next.
pub(crate) fn merge_due(runs: &[RunSize]) -> Option<Range<usize>> {
    let level = |run: &RunSize| run.records.max(1).ilog2() / 3;
    let mut end = runs.len();
    while end > 0 {
        // The newest runs are the smallest. A smaller run between larger ones counts with them: it
        // can only be merged there.
        let mut start = end - 1;
        let mut highest = level(&runs[start]);
        while start > 0 && level(&runs[start - 1]) <= highest {
            start -= 1;
            highest = highest.max(level(&runs[start]));
        }
        if end - start >= FAN_IN {
            return fitting(runs, start..end);
        }
        end = start;
    }
    None
}

/// How large a share, in percent, a stretch of log is of what one run can name places of, at most.
pub(crate) fn share_of_run(from: LogPosition, through: LogPosition) -> usize {
    segment::strides_between(from, through) * 100 / segment::STRIDES_MAX
}

/// Those of a range of runs, from the first on, that one run can name the places of.
fn fitting(runs: &[RunSize], range: Range<usize>) -> Option<Range<usize>> {
    let from = runs[range.start].range.0;
    let fits = |run: &&RunSize| segment::strides_between(from, run.range.1) <= segment::STRIDES_MAX;
    let count = runs[range.clone()].iter().take_while(fits).count();
    (count > 1).then_some(range.start..range.start + count)
}

/// Which runs are to be merged so that as few as possible are left.
pub(crate) fn merge_all(runs: &[RunSize]) -> Option<Range<usize>> {
    (0..runs.len()).find_map(|start| fitting(runs, start..runs.len()))
}
