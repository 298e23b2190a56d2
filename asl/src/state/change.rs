//! Taking in a commit: looked up first, which may fail and changes nothing; then applied, which
//! cannot fail.

use std::sync::PoisonError;

use uor_index_format::commit::Commit;
use uor_index_format::id::CanonicalId;
use uor_index_format::record::Record;
use uor_index_format::state::Entry;

use super::effective::{alone, effective};
use super::summaries::{MANY, Ticket};
use super::version::{VersionHeader, in_order};
use super::{ReadError, State, read_header};
use crate::commits::CommitRow;
use crate::index::{Class, Found, Row};
use crate::log::LogPosition;

/// How many records ahead of its insertion the memory for one is prefetched.
const AHEAD: usize = 8;
/// Ids whose records are in memory together while a commit is looked up.
const LOOKED_UP_AT_ONCE: usize = 1024;
/// Where a record is that is not in the log yet.
const NOWHERE: LogPosition = LogPosition::START;

/// What taking in one commit changes, looked up beforehand.
pub struct Change {
    /// For each record: its version, and the entry of its id before and after.
    records: Vec<RecordChange>,
    /// Names the commit where it is in the summaries already.
    ticket: Option<Ticket>,
}

struct RecordChange {
    /// Where in the commit it begins.
    offset: usize,
    class: Class,
    before: Option<Entry>,
    after: Option<Entry>,
}

impl State {
    /// Looks up what taking in a commit, the next of its domain, changes. Whether it may be taken
    /// in is `validator`'s affair.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn prepare(&self, commit: &Commit) -> Result<Change, ReadError> {
        self.summaries().begin();
        let mut records = Vec::with_capacity(commit.records().len());
        let offsets: Vec<usize> = commit.record_offsets().collect();
        for (some, offsets) in commit
            .records()
            .chunks(LOOKED_UP_AT_ONCE)
            .zip(offsets.chunks(LOOKED_UP_AT_ONCE))
        {
            let ids: Vec<CanonicalId> = some.iter().map(Record::id).collect();
            let mut known: Vec<(usize, Found)> = Vec::new();
            let prefetch = |at| self.log.prefetch(at);
            let on_found = |record, found| known.push((record, found));
            self.index
                .candidates_batch(&ids, MANY + 1, &self.log, prefetch, on_found)?;
            known.sort_unstable_by_key(|(record, _)| *record);
            let mut known = known.as_slice();
            for (index, (record, offset)) in some.iter().zip(offsets).enumerate() {
                let here = known
                    .iter()
                    .take_while(|(record, _)| *record == index)
                    .count();
                let (these, rest) = known.split_at(here);
                known = rest;
                records.push(self.prepare_record(commit, record, *offset, these)?);
            }
        }
        Ok(Change {
            records,
            ticket: self.summaries().ticket(),
        })
    }

    /// What a record changes, which begins at `offset` in its commit; versions of its id are among
    /// `known`, but where that are many, not all of them.
    fn prepare_record(
        &self,
        commit: &Commit,
        record: &Record,
        offset: usize,
        known: &[(usize, Found)],
    ) -> Result<RecordChange, ReadError> {
        let header = read_header(&commit.as_bytes()[offset..], NOWHERE)?;
        let class = Class {
            kind: header.kind,
            type_tag: header.type_tag,
        };
        if known.is_empty() {
            let after = alone(&header, commit.header().logseq);
            return Ok(RecordChange {
                offset,
                class,
                before: None,
                after,
            });
        }
        let (place, number) = (commit.place(record), commit.header().number);
        let version = VersionHeader {
            place,
            number,
            at: NOWHERE,
            header,
        };
        if known.len() > MANY {
            let sum_up = || self.sum_up(&header.id);
            let (before, after) = self.summaries().prepare(&version, self.rule, sum_up)?;
            return Ok(RecordChange {
                offset,
                class,
                before,
                after,
            });
        }
        let mut versions = Vec::with_capacity(known.len() + 1);
        for (_, found) in known
            .iter()
            .filter(|(_, found)| self.commits.includes(found.commit))
        {
            versions.extend(self.confirm(*found, &header.id)?);
        }
        in_order(&mut versions);
        let before = effective(&versions, self.rule).map(|(entry, _)| entry);
        let after_it = versions.partition_point(|version| version.place < place);
        versions.insert(after_it, version);
        let after = effective(&versions, self.rule).map(|(entry, _)| entry);
        Ok(RecordChange {
            offset,
            class,
            before,
            after,
        })
    }

    /// Takes in a commit, whose frame in the log is at `position`, with the change that was
    /// prepared for it since the last commit was taken in.
    pub fn apply(&mut self, commit: &Commit, position: LogPosition, change: Change) {
        let header = commit.header();
        let row = CommitRow {
            at: position,
            logseq: header.logseq,
            hash: commit.hash(),
        };
        let commit_ref = self.commits.push(header.domain, row);
        let code = self.index.begin_commit(commit_ref);
        let body = position.body();
        let Change { records, ticket } = change;
        if self
            .summaries
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .apply(ticket)
        {
            self.show(commit, position, records.iter().map(|record| record.offset));
        }
        let mut ahead = commit.records().iter().skip(AHEAD);
        for (
            record,
            RecordChange {
                offset,
                class,
                before,
                after,
            },
        ) in commit.records().iter().zip(records)
        {
            ahead
                .next()
                .into_iter()
                .for_each(|record| self.index.prefetch_insert(&record.id()));
            let id = record.id();
            self.index.insert(Row {
                id,
                at: body.plus(offset),
                class,
                commit: code,
            });
            if after.is_some_and(|entry| entry.conflict) {
                self.conflicts.insert(id);
            } else if before.is_some_and(|entry| entry.conflict) {
                self.conflicts.remove(&id);
            }
            if before != after {
                self.sum.change(before, after);
            }
        }
        self.logseq_max = self.logseq_max.max(header.logseq);
    }

    /// Lets summaries of ids show the records of a commit that is being taken in, which begin at
    /// these offsets in it.
    fn show(
        &mut self,
        commit: &Commit,
        position: LogPosition,
        offsets: impl Iterator<Item = usize>,
    ) {
        let summaries = self
            .summaries
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        for (record, offset) in commit.records().iter().zip(offsets) {
            if !summaries.has(&record.id()) {
                continue;
            }
            let header = read_header(&commit.as_bytes()[offset..], position);
            let header = header.expect("the record was decoded from these bytes");
            let (place, number, at) = (
                commit.place(record),
                commit.header().number,
                position.body().plus(offset),
            );
            summaries.show(
                &VersionHeader {
                    place,
                    number,
                    at,
                    header,
                },
                self.rule,
            );
        }
    }
}
