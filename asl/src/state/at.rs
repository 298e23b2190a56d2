//! Asking at one snapshot: about one id, about many, about all.

use std::thread;

use uor_index_format::id::CanonicalId;
use uor_index_format::record::RecordHeader;
use uor_index_format::state::{Entry, StateHash};

use super::effective::{alone, effective};
use super::summaries::MANY;
use super::version::{VersionHeader, in_order};
use super::{ReadError, State, Visible, read_header};
use crate::commits::Cut;
use crate::index::{Filter, Found};

/// Ids that are looked up together: enough that their memory accesses overlap, few enough to
/// stay in the nearest cache.
const BATCH: usize = 32;

/// The state at a snapshot. Whoever asks several questions about one snapshot asks them here.
#[derive(Clone)]
pub struct At<'a> {
    pub(super) state: &'a State,
    pub(super) cut: Cut,
    /// Whether it is the snapshot of everything here.
    pub(super) is_head: bool,
}

impl<'a> At<'a> {
    /// The entry of `id`.
    ///
    /// # Errors
    /// [`ReadError`].
    #[inline]
    pub fn entry(&self, id: &CanonicalId) -> Result<Option<Entry>, ReadError> {
        let (mut only, mut others, mut looked_at) = (None, Vec::new(), 0);
        self.state
            .index
            .candidates(id, self.most(), &self.state.log, |found| {
                looked_at += 1;
                match only {
                    _ if !self.cut.includes(found.commit) => {}
                    None => only = Some(found),
                    Some(_) => others.push(found),
                }
            })?;
        self.entry_among(id, looked_at, only, others)
    }

    /// The entry of `id`, whose versions inside are among these, of `looked_at` that may be about
    /// it. Most ids have one version, which is effective if it is a claim.
    #[inline]
    fn entry_among(
        &self,
        id: &CanonicalId,
        looked_at: usize,
        only: Option<Found>,
        others: Vec<Found>,
    ) -> Result<Option<Entry>, ReadError> {
        // Not all of them were looked at then: what a fork took back may have come first.
        if self.is_head && looked_at > MANY {
            return Ok(self.state.standing_of_many(id)?.map(|(entry, _)| entry));
        }
        let Some(only) = only else { return Ok(None) };
        if others.is_empty() {
            let bytes = self.state.log.bytes(only.at, RecordHeader::LEN)?;
            if bytes[..CanonicalId::LEN] != *id.as_bytes() {
                return Ok(None);
            }
            return Ok(alone(&read_header(bytes, only.at)?, only.commit.logseq));
        }
        let mut versions = Vec::with_capacity(1 + others.len());
        for found in [only].into_iter().chain(others) {
            versions.extend(self.state.confirm(found, id)?);
        }
        in_order(&mut versions);
        Ok(effective(&versions, self.state.rule).map(|(entry, _)| entry))
    }

    /// What is visible about `id`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn get(&self, id: &CanonicalId) -> Result<Option<Visible>, ReadError> {
        let candidates = self.candidates(id)?;
        let effective = if self.is_head && candidates.len() > MANY {
            self.state.standing_of_many(id)?
        } else {
            effective(&self.confirmed(id, candidates)?, self.state.rule)
        };
        effective
            .map(|effective| self.state.visible_of(effective))
            .transpose()
    }

    /// The entries of many ids, in their order: faster than one by one, since memory is waited for
    /// once for many of them.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn entries_of(
        &self,
        ids: &[CanonicalId],
        mut on_entry: impl FnMut(usize, Option<Entry>),
    ) -> Result<(), ReadError> {
        for (start, ids) in (0..).step_by(BATCH).zip(ids.chunks(BATCH)) {
            let mut only = [None; BATCH];
            let mut others: Vec<(usize, Found)> = Vec::new();
            let mut looked_at = [0; BATCH];
            let prefetch = |at| self.state.log.prefetch(at);
            self.state.index.candidates_batch(
                ids,
                self.most(),
                &self.state.log,
                prefetch,
                |at, found| {
                    looked_at[at] += 1;
                    if self.cut.includes(found.commit) {
                        match &mut only[at] {
                            Some(_) => others.push((at, found)),
                            none => *none = Some(found),
                        }
                    }
                },
            )?;
            for (at, (id, only)) in ids.iter().zip(only).enumerate() {
                let others = others
                    .iter()
                    .filter(|(of, _)| *of == at)
                    .map(|(_, found)| *found)
                    .collect();
                on_entry(
                    start + at,
                    self.entry_among(id, looked_at[at], only, others)?,
                );
            }
        }
        Ok(())
    }

    /// Every version of `id`, in the one order.
    pub(super) fn seen(&self, id: &CanonicalId) -> Result<Vec<VersionHeader>, ReadError> {
        let mut candidates = Vec::with_capacity(2);
        self.state
            .index
            .candidates(id, usize::MAX, &self.state.log, |found| {
                candidates.push(found)
            })?;
        self.confirmed(id, candidates)
    }

    /// Records of each part of the index that are asked for where only what is effective
    /// matters.
    const fn most(&self) -> usize {
        if self.is_head { MANY + 1 } else { usize::MAX }
    }

    /// Records that may be about `id`: all of them, or more than [`MANY`].
    fn candidates(&self, id: &CanonicalId) -> Result<Vec<Found>, ReadError> {
        let mut candidates = Vec::with_capacity(2);
        self.state
            .index
            .candidates(id, self.most(), &self.state.log, |found| {
                candidates.push(found)
            })?;
        Ok(candidates)
    }

    /// Those of these records that are about `id` and inside, in the one order.
    fn confirmed(
        &self,
        id: &CanonicalId,
        candidates: Vec<Found>,
    ) -> Result<Vec<VersionHeader>, ReadError> {
        let mut versions = Vec::with_capacity(candidates.len());
        for found in candidates
            .into_iter()
            .filter(|found| self.cut.includes(found.commit))
        {
            versions.extend(self.state.confirm(found, id)?);
        }
        in_order(&mut versions);
        Ok(versions)
    }
}

/// Going through everything at a snapshot.
impl<'a> At<'a> {
    /// The sum of everything visible, on as many threads as there are processors and shards.
    pub(super) fn sum(&self) -> Result<StateHash, ReadError> {
        let shards = self.state.index.shards();
        let threads = thread::available_parallelism()
            .map_or(1, usize::from)
            .min(shards as usize)
            .max(1);
        let part = |thread: usize| {
            let mut sum = StateHash::default();
            for shard in (0..shards).skip(thread).step_by(threads) {
                let rows = self
                    .state
                    .index
                    .ascending_in(shard, &Filter::ALL, &self.state.log);
                for group in (Groups {
                    at: self.clone(),
                    rows: rows.peekable(),
                    complete: true,
                }) {
                    effective(&group?, self.state.rule)
                        .into_iter()
                        .for_each(|(entry, _)| sum.add(&entry));
                }
            }
            Ok::<_, ReadError>(sum)
        };
        thread::scope(|scope| {
            let part = &part;
            let others: Vec<_> = (1..threads)
                .map(|thread| scope.spawn(move || part(thread)))
                .collect();
            let mut sum = part(0);
            for other in others {
                match (other.join(), &mut sum) {
                    (Ok(Ok(part)), Ok(sum)) => sum.merge(&part),
                    (Ok(Err(error)), _) => return Err(error),
                    (Ok(Ok(_)), Err(_)) => {}
                    (Err(panic), _) => std::panic::resume_unwind(panic),
                }
            }
            sum
        })
    }

    /// The versions of each id of which `filter` takes one, ascending by id.
    pub(super) fn into_groups(
        self,
        filter: &Filter,
    ) -> impl Iterator<Item = Result<Vec<VersionHeader>, ReadError>> + use<'a> {
        let state = self.state;
        Groups {
            at: self,
            rows: state.index.ascending(filter, &state.log).peekable(),
            complete: filter.is_all(),
        }
    }

    /// What is effective and `filter` takes, ascending by id.
    pub(super) fn into_effective(
        self,
        filter: &Filter,
    ) -> impl Iterator<Item = Result<(Entry, Option<VersionHeader>), ReadError>> + use<'a> {
        let (rule, filter) = (self.state.rule, filter.clone());
        let effective = self
            .into_groups(&filter)
            .filter_map(move |group| match group {
                Ok(versions) => effective(&versions, rule).map(Ok),
                Err(error) => Some(Err(error)),
            });
        effective.filter(move |effective| {
            effective
                .as_ref()
                .map_or(true, |(entry, _)| filter.takes(entry))
        })
    }
}

/// The versions of one id after the other.
struct Groups<'a, I: Iterator> {
    at: At<'a>,
    rows: std::iter::Peekable<I>,
    /// Whether the rows are all there are about their ids.
    complete: bool,
}

impl<I: Iterator<Item = Result<(CanonicalId, Found), ReadError>>> Groups<'_, I> {
    /// The versions of the next id, which may all lie outside the snapshot.
    fn step(&mut self) -> Option<Result<Vec<VersionHeader>, ReadError>> {
        let (id, first) = match self.rows.next()? {
            Ok(row) => row,
            Err(error) => return Some(Err(error)),
        };
        let mut found = vec![first];
        while let Some(Ok((_, next))) = self
            .rows
            .next_if(|row| row.as_ref().is_ok_and(|(other, _)| *other == id))
        {
            found.push(next);
        }
        if !self.complete {
            return Some(self.at.seen(&id));
        }
        // What cannot be read may be about this id.
        if let Some(Err(error)) = self.rows.next_if(Result::is_err) {
            return Some(Err(error));
        }
        let inside = found
            .into_iter()
            .filter(|found| self.at.cut.includes(found.commit));
        let seen = inside.map(|found| {
            self.at
                .state
                .seen(found, self.at.state.log.bytes(found.at, RecordHeader::LEN)?)
        });
        Some(seen.collect::<Result<Vec<_>, _>>().map(|mut versions| {
            in_order(&mut versions);
            versions
        }))
    }
}

impl<I: Iterator<Item = Result<(CanonicalId, Found), ReadError>>> Iterator for Groups<'_, I> {
    type Item = Result<Vec<VersionHeader>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.step()? {
                Ok(versions) if versions.is_empty() => {}
                other => return Some(other),
            }
        }
    }
}
