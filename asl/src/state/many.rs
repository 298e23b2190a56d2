//! Ids with many versions: what stands of them is kept in summaries.

use std::sync::{MutexGuard, PoisonError};

use uor_index_format::id::CanonicalId;
use uor_index_format::record::RecordHeader;
use uor_index_format::state::Entry;

use super::stand::Seen;
use super::summaries::Summaries;
use super::summary::{Standee, Standing, Summary};
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

    /// What stands at the head of an id that has many versions, with the version.
    pub(super) fn standing_of_many(
        &self,
        id: &CanonicalId,
    ) -> Result<Option<(Entry, Option<Seen>)>, ReadError> {
        let standing = self
            .summaries()
            .standing(id, self.rule, || self.sum_up(id))?;
        let with_version = |Standing { entry, claim }: Standing| {
            let version = claim.map(|Standee { place, number, at }| {
                let header = read_header(self.log.bytes(at, RecordHeader::LEN)?, at)?;
                Ok::<_, ReadError>(Seen {
                    place,
                    number,
                    at,
                    header,
                })
            });
            Ok((entry, version.transpose()?))
        };
        standing.map(with_version).transpose()
    }

    pub(super) fn summaries(&self) -> MutexGuard<'_, Summaries> {
        self.summaries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
