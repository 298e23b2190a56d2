//! What is visible without the commits that a fork proof takes back: the last commits of one
//! domain.
//!
//! Their records stay where they are, in log and index, and are no longer visible. So a proof costs
//! what its domain wrote behind the fork, and not what the others did.

use std::collections::BTreeMap;

use uor_index_format::id::{CanonicalId, CommitHash, SiteId};
use uor_index_format::state::{Entry, StateHash};

use super::summaries::Summaries;
use super::{At, ReadError, State};
use crate::entry::for_each_record;
use crate::log::LogPosition;

/// Records that are looked at together. Of a domain that speaks of one id again and again, all
/// versions of it are read once for each batch, and not for each record.
const RECORDS_AT_ONCE: usize = 1 << 16;

/// What taking back the last commits of a domain changes, looked up beforehand.
pub(crate) struct TakenBack {
    site: SiteId,
    /// The last commit that stays.
    last: u64,
    /// What is visible afterwards, less what was before.
    difference: StateHash,
    /// Ids whose conflict opens, and ids whose conflict ends.
    conflicts: BTreeMap<CanonicalId, bool>,
    /// The commits that are taken back: hash, and frame in the log.
    pub(crate) commits: Vec<(CommitHash, LogPosition)>,
}

impl State {
    /// Looks up what taking back the commits of `site` from `number` on changes; `None` if there is
    /// none.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(crate) fn prepare_take_back(
        &self,
        site: &SiteId,
        number: u64,
    ) -> Result<Option<TakenBack>, ReadError> {
        let head = self.head();
        let ordinal = self.commits.ordinals().get(site).copied();
        let (Some(ordinal), Some(last)) =
            (ordinal, head.frontier.get(site).map(|head| head.number))
        else {
            return Ok(None);
        };
        if last < number {
            return Ok(None);
        }
        let mut taken = TakenBack {
            site: *site,
            last: number - 1,
            difference: StateHash::default(),
            conflicts: BTreeMap::new(),
            commits: Vec::new(),
        };
        let cut = self.commits.cut(&head)?;
        let at = |number: u64| At {
            state: self,
            cut: cut.clone().with(ordinal, number),
            is_head: false,
        };
        let mut upper = last;
        while upper >= number {
            let (lower, ids) = self.ids_down_from(site, upper, number, &mut taken.commits)?;
            taken.compare(&ids, &at(upper), &at(lower - 1))?;
            upper = lower - 1;
        }
        Ok(Some(taken))
    }

    /// The ids of which commits from `upper` downwards speak, ascending: of as many commits as are
    /// looked at together. Gives the number of the last of them too.
    fn ids_down_from(
        &self,
        site: &SiteId,
        upper: u64,
        down_to: u64,
        commits: &mut Vec<(CommitHash, LogPosition)>,
    ) -> Result<(u64, Vec<CanonicalId>), ReadError> {
        let mut ids = Vec::new();
        let mut lower = upper + 1;
        while lower > down_to && ids.len() < RECORDS_AT_ONCE {
            lower -= 1;
            let Some(row) = self.commits.row(site, lower)? else {
                continue;
            };
            commits.push((row.hash, row.at));
            let body = self.log.read(row.at)?.body;
            let damaged = |source| ReadError::Record {
                position: row.at,
                source,
            };
            for_each_record(row.at, &body, |_, header| ids.push(header.id)).map_err(damaged)?;
        }
        ids.sort_unstable();
        ids.dedup();
        Ok((lower, ids))
    }

    /// Takes the commits back.
    ///
    /// # Errors
    /// [`ReadError`] if the last commit that stays cannot be read; nothing is changed then.
    pub(crate) fn take_back(&mut self, taken: &TakenBack) -> Result<(), ReadError> {
        self.commits.take_back(&taken.site, taken.last)?;
        self.logseq_max = self.commits.logseq_max();
        self.sum.merge(&taken.difference);
        *self.summaries() = Summaries::default();
        for (id, open) in &taken.conflicts {
            if *open {
                self.conflicts.insert(*id);
            } else {
                self.conflicts.remove(id);
            }
        }
        Ok(())
    }
}

impl TakenBack {
    fn compare(
        &mut self,
        ids: &[CanonicalId],
        with: &At<'_>,
        without: &At<'_>,
    ) -> Result<(), ReadError> {
        let mut before: Vec<Option<Entry>> = vec![None; ids.len()];
        with.entries_of(ids, |index, entry| before[index] = entry)?;
        without.entries_of(ids, |index, after| {
            let before = before[index];
            if before == after {
                return;
            }
            before
                .iter()
                .for_each(|entry| self.difference.remove(entry));
            after.iter().for_each(|entry| self.difference.add(entry));
            let is_open = |entry: Option<Entry>| entry.is_some_and(|entry| entry.conflict);
            if is_open(before) != is_open(after) {
                self.conflicts.insert(ids[index], is_open(after));
            }
        })
    }
}
