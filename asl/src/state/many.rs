//! Ids with many versions: what is effective of them is kept in summaries.

use std::sync::{MutexGuard, PoisonError};

use uor_index_format::id::CanonicalId;
use uor_index_format::record::RecordHeader;
use uor_index_format::state::Entry;

use super::summaries::Summaries;
use super::summary::{Effective, Standee, Summary};
use super::version::VersionHeader;
use super::{ReadError, State, read_header};

impl State {
    /// The summary of an id: all its versions are read.
    pub(super) fn sum_up(&self, id: &CanonicalId) -> Result<Summary, ReadError> {
        let (mut summary, mut failed) = (Summary::new(*id), None);
        self.index.candidates(id, usize::MAX, &self.log, |found| {
            let counts =
                self.commits.includes(found.commit) && !summary.passes_over(found.commit.logseq);
            if failed.is_none() && counts {
                match self.confirm(found, id) {
                    Ok(version) => version.iter().for_each(|version| summary.insert(version)),
                    Err(error) => failed = Some(error),
                }
            }
        })?;
        failed.map_or(Ok(summary), Err)
    }

    /// What is effective at the head of an id that has many versions, with the version.
    pub(super) fn standing_of_many(
        &self,
        id: &CanonicalId,
    ) -> Result<Option<(Entry, Option<VersionHeader>)>, ReadError> {
        let effective = self
            .summaries()
            .effective(id, self.rule, || self.sum_up(id))?;
        let with_version = |Effective { entry, claim }: Effective| {
            let version = claim.map(|Standee { place, number, at }| {
                let header = read_header(self.log.bytes(at, RecordHeader::LEN)?, at)?;
                Ok::<_, ReadError>(VersionHeader {
                    place,
                    number,
                    at,
                    header,
                })
            });
            Ok((entry, version.transpose()?))
        };
        effective.map(with_version).transpose()
    }

    pub(super) fn summaries(&self) -> MutexGuard<'_, Summaries> {
        self.summaries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
