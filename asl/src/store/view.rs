//! Everything that is durable, as readers see it.

use std::collections::{BTreeMap, BTreeSet};

use uor_index_format::commit::{Commit, ForkProof};
use uor_index_format::id::{Checksum, CommitHash, SiteId};
use uor_index_format::membership::Genesis;
use uor_index_format::record::Record;
use uor_index_format::snapshot::Snapshot;

use super::keep::Beginning;
use super::removal::{Reason, Removal};
use super::{Committed, Payloads, Store};
use crate::blocks::Blocks;
use crate::judge::Judge;
use crate::log::{Appended, LogPosition};
use crate::state::{Change, ReadError, State};

/// Everything that is durable, as readers see it.
pub struct View {
    pub(super) state: State,
    pub(super) head: Snapshot,
    pub(super) genesis: Option<Genesis>,
    pub(super) members: BTreeSet<SiteId>,
    pub(super) forks: BTreeMap<SiteId, ForkProof>,
    pub(super) wanted: BTreeMap<Checksum, u64>,
    pub(super) erased: BTreeMap<Checksum, u64>,
    pub(super) uncounted: u64,
    /// Of each domain with commits that do not count, the highest number among them.
    pub(super) uncounted_heads: BTreeMap<SiteId, u64>,
    /// Where its index began.
    pub(super) beginning: Beginning,
    /// Where in the log the records begin that are indexed in memory.
    pub(super) head_from: LogPosition,
}

impl View {
    /// The view of nothing, over this state.
    pub(super) fn new(state: State) -> Self {
        Self {
            head: state.head(),
            state,
            genesis: None,
            members: BTreeSet::new(),
            forks: BTreeMap::new(),
            wanted: BTreeMap::new(),
            erased: BTreeMap::new(),
            uncounted: 0,
            uncounted_heads: BTreeMap::new(),
            beginning: Beginning::default(),
            head_from: LogPosition::START,
        }
    }

    /// The state.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The snapshot of everything here.
    pub const fn head(&self) -> &Snapshot {
        &self.head
    }

    /// The federation's founding record, once it has arrived.
    pub const fn genesis(&self) -> Option<&Genesis> {
        self.genesis.as_ref()
    }

    /// Everyone who may write.
    pub const fn members(&self) -> &BTreeSet<SiteId> {
        &self.members
    }

    /// Proofs that writers forked their logs, by domain.
    pub const fn forks(&self) -> &BTreeMap<SiteId, ForkProof> {
        &self.forks
    }

    /// Payloads that records name and that are not here, with their lengths. Empty where a store does not track them.
    pub const fn wanted(&self) -> &BTreeMap<Checksum, u64> {
        &self.wanted
    }

    /// When this payload was erased here on request, in milliseconds since 1970.
    pub fn erased(&self, checksum: &Checksum) -> Option<u64> {
        self.erased.get(checksum).copied()
    }

    /// How many payloads were erased here on request.
    pub(crate) fn erased_len(&self) -> usize {
        self.erased.len()
    }

    /// How many commits lie in the log and do not count, because a fork proof froze their domain or one they rest on.
    pub const fn uncounted(&self) -> u64 {
        self.uncounted
    }

    /// How many commits count.
    pub fn commits_len(&self) -> u64 {
        self.state.commits().len()
    }

    /// All commits that count, ascending by domain and number.
    ///
    /// # Errors
    /// [`ReadError`], each time one cannot be read.
    pub fn commits(&self) -> impl Iterator<Item = Result<Committed, ReadError>> {
        self.state.commits().iter().map(|row| {
            let (domain, number, row) = row?;
            Ok(Committed { domain, number, hash: row.hash, logseq: row.logseq })
        })
    }

    /// The hash of commit `number` of `domain`, if it counts.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn commit_hash(&self, domain: &SiteId, number: u64) -> Result<Option<CommitHash>, ReadError> {
        Ok(self.state.commits().row(domain, number)?.map(|row| row.hash))
    }

    /// Whether everything inside `snapshot` is here and of the same chains.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn has(&self, snapshot: &Snapshot) -> Result<bool, ReadError> {
        for (domain, head) in &snapshot.frontier {
            if self.commit_hash(domain, head.number)? != Some(head.hash) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn uncounted_head(&self, domain: &SiteId) -> Option<u64> {
        self.uncounted_heads.get(domain).copied()
    }

    /// Lets what was just appended to the log be read.
    pub(super) fn take_log(&mut self, appended: Appended) {
        self.state.take_log(appended);
    }

    /// Everything about taking in a commit that can fail, and that changes nothing.
    pub(super) fn prepare(&self, commit: &Commit) -> Result<Change, ReadError> {
        self.state.prepare(commit)
    }

    /// Takes in a commit whose frame is at `position`.
    pub(super) fn apply(&mut self, commit: &Commit, position: LogPosition, change: Change, store: &Store) {
        self.state.apply(commit, position, change);
        if store.options.payloads == Payloads::OnDemand {
            return;
        }
        for payload in commit.records().iter().filter_map(Record::block_payload) {
            if self.may_want(&payload.checksum, &store.blocks) {
                // A record that claims a shorter length must not keep the true payload out.
                let len = self.wanted.entry(payload.checksum).or_default();
                *len = (*len).max(payload.len);
            }
        }
    }

    /// Whether a payload that is named is to be wanted: it is not here, and was not erased.
    pub(super) fn may_want(&self, checksum: &Checksum, blocks: &Blocks) -> bool {
        !self.erased.contains_key(checksum) && !blocks.has(*checksum) && !blocks.erased(*checksum)
    }

    /// Takes in the word that payloads were removed.
    pub(super) fn remove(&mut self, removal: &Removal) {
        for checksum in &removal.checksums {
            self.wanted.remove(checksum);
            if removal.reason == Reason::Erased {
                self.erased.insert(*checksum, removal.wall_ms);
            }
        }
    }

    /// The rule for conflicts comes with the genesis, which is the first commit that can count.
    pub(super) fn take_rule(&mut self, judge: &Judge) {
        if let Some(genesis) = judge.genesis().filter(|_| self.genesis.is_none()) {
            self.state.set_rule(genesis.conflict_rule);
            self.genesis = Some(genesis.clone());
        }
    }

    /// Takes over what follows from the commits just applied.
    pub(super) fn settle(&mut self, judge: &Judge) {
        self.head = self.state.head();
        self.members = judge.members();
        self.forks = judge.forks().clone();
    }
}
