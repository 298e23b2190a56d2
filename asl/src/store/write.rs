//! What writers ask of a store. One of those waiting does the work of all (`flush`).

use uor_index_format::commit::{Commit, ForkProof, Prepared};
use uor_index_format::key::SiteKey;
use uor_index_format::record::Record;

use super::error::{CommitError, StoreError};
use super::handle::Store;
use super::work::{Done, Work};
use crate::chain::Committed;
use crate::validator::Verdict;

impl Store {
    /// Writes `records` as the next commit of the key's domain. When this returns, the commit is
    /// durable and visible.
    ///
    /// # Errors
    /// [`CommitError`]; nothing is visible then. After a failed write or sync the store takes no
    /// more commits until it is opened again.
    pub fn commit(
        &self,
        key: &SiteKey,
        records: Vec<Record>,
        wall_ms: u64,
    ) -> Result<Committed, CommitError> {
        // What only removes is to go on a full disk as well: nothing is freed before.
        let _room = records
            .iter()
            .all(Record::is_tombstone)
            .then(|| self.make_room());
        let work = Work::Local {
            key: Box::new(key.clone()),
            prepared: Prepared::new(records)?,
            wall_ms,
        };
        match self.submit(work)? {
            Done::Local(result) => result,
            Done::Merged(_) | Done::Frozen(_) => unreachable!("local work has a local answer"),
        }
    }

    /// Takes in commits of other sites, in this order, with one sync. Those that are accepted are
    /// durable and visible when this returns; a fork that shows is proven, kept, and its domain
    /// frozen.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses.
    pub fn merge(&self, commits: Vec<Commit>) -> Result<Vec<Verdict>, StoreError> {
        self.merge_patiently(commits, 1)
    }

    /// As [`Store::merge`], with more patience for clocks: a commit is held back if its logseq lies
    /// more than `patience` times the federation's clock jump above everything here. Whoever is
    /// offered such a commit again and again raises it bit by bit, so that what others wrote under
    /// a clock that was jumped is not lost, and a clock can still not be run out.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses.
    pub fn merge_patiently(
        &self,
        commits: Vec<Commit>,
        patience: u64,
    ) -> Result<Vec<Verdict>, StoreError> {
        match self.submit(Work::Merge { commits, patience })? {
            Done::Merged(verdicts) => Ok(verdicts),
            Done::Local(_) | Done::Frozen(_) => unreachable!("a merge is answered by verdicts"),
        }
    }

    /// Takes in a proof that a writer forked its log; says whether it was news.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses.
    pub fn freeze(&self, proof: ForkProof) -> Result<bool, StoreError> {
        match self.submit(Work::Freeze(Box::new(proof)))? {
            Done::Frozen(news) => Ok(news),
            Done::Local(_) | Done::Merged(_) => {
                unreachable!("a proof is answered by whether it was news")
            }
        }
    }
}
