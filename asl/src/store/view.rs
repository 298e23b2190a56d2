//! Everything that is durable, as readers see it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uor_index_format::commit::{Commit, ForkProof};
use uor_index_format::id::{Checksum, CommitHash, LogSeq, SiteId};
use uor_index_format::membership::Genesis;
use uor_index_format::record::Record;
use uor_index_format::snapshot::Snapshot;

use super::maintenance::beginning::Beginning;
use super::options::Payloads;
use super::removal::{Reason, Removal};
use crate::blocks::Blocks;
use crate::chain::Committed;
use crate::log::{Appended, LogPosition};
use crate::state::{Change, ReadError, State, TakenBack};
use crate::validator::{CommitValidator, Membership, Memberships};

/// Everything that is durable, as readers see it.
pub struct View {
    pub(super) state: State,
    pub(super) head: Snapshot,
    pub(super) genesis: Option<Genesis>,
    pub(super) members: BTreeSet<SiteId>,
    /// What `members` follows from.
    memberships: Arc<Memberships>,
    /// Membership commits that are not accepted, and where they lie in the log.
    pub(super) testimony: BTreeMap<CommitHash, LogPosition>,
    pub(super) forks: BTreeMap<SiteId, ForkProof>,
    pub(super) wanted: BTreeMap<Checksum, u64>,
    pub(super) erased: BTreeMap<Checksum, u64>,
    pub(super) unaccepted: u64,
    /// Of each domain with commits that are not accepted, the highest number among them.
    pub(super) unaccepted_heads: BTreeMap<SiteId, u64>,
    /// Where its index began.
    pub(super) beginning: Beginning,
    /// Where in the log the records begin that are indexed in memory.
    pub(super) memtable_from: LogPosition,
}

impl View {
    /// The view of nothing, over this state.
    pub(super) fn new(state: State) -> Self {
        Self {
            head: state.head(),
            state,
            genesis: None,
            members: BTreeSet::new(),
            memberships: Arc::default(),
            testimony: BTreeMap::new(),
            forks: BTreeMap::new(),
            wanted: BTreeMap::new(),
            erased: BTreeMap::new(),
            unaccepted: 0,
            unaccepted_heads: BTreeMap::new(),
            beginning: Beginning::default(),
            memtable_from: LogPosition::START,
        }
    }

    /// The state.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Where the log ends, as far as it is shown here.
    pub fn log_end(&self) -> LogPosition {
        self.state.log().end()
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

    /// Membership accepted commits or testify, by hash.
    pub fn memberships(&self) -> &Memberships {
        &self.memberships
    }

    /// Where the membership commits from beyond a fork lie that say how these sites became members,
    /// each after what it rests on itself.
    pub(super) fn testimony_for(&self, sites: &[SiteId]) -> Vec<LogPosition> {
        let testimony = self
            .testimony
            .keys()
            .filter_map(|hash| Some((hash, self.memberships.get(hash)?)));
        let mut admitted_by: BTreeMap<SiteId, Vec<(&CommitHash, &Membership)>> = BTreeMap::new();
        for (hash, membership) in testimony {
            for site in &membership.members {
                admitted_by
                    .entry(*site)
                    .or_default()
                    .push((hash, membership));
            }
        }
        let mut asked: BTreeSet<SiteId> = sites.iter().copied().collect();
        let mut open: Vec<SiteId> = asked.iter().copied().collect();
        let mut found: BTreeMap<LogSeq, BTreeSet<CommitHash>> = BTreeMap::new();
        while let Some(site) = open.pop() {
            for (hash, membership) in admitted_by.get(&site).into_iter().flatten() {
                found.entry(membership.logseq).or_default().insert(**hash);
                if asked.insert(membership.domain) {
                    open.push(membership.domain);
                }
            }
        }
        // An admission lies above what it rests on.
        found
            .values()
            .flatten()
            .filter_map(|hash| self.testimony.get(hash).copied())
            .collect()
    }

    /// Proofs that writers forked their logs, by domain.
    pub const fn forks(&self) -> &BTreeMap<SiteId, ForkProof> {
        &self.forks
    }

    /// Payloads that records name and that are not here, with their lengths. Empty where a store
    /// does not track them.
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

    /// How many commits lie in the log and are not accepted, because a fork proof froze their
    /// domain, or because they could never have been accepted.
    pub const fn unaccepted(&self) -> u64 {
        self.unaccepted
    }

    /// How many commits are accepted.
    pub fn commits_len(&self) -> u64 {
        self.state.commits().len()
    }

    /// All accepted commits, ascending by domain and number.
    ///
    /// # Errors
    /// [`ReadError`], each time one cannot be read.
    pub fn commits(&self) -> impl Iterator<Item = Result<Committed, ReadError>> {
        self.state.commits().iter().map(|row| {
            let (domain, number, row) = row?;
            Ok(Committed {
                domain,
                number,
                hash: row.hash,
                logseq: row.logseq,
            })
        })
    }

    /// The hash of commit `number` of `domain`, if it is accepted.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn commit_hash(
        &self,
        domain: &SiteId,
        number: u64,
    ) -> Result<Option<CommitHash>, ReadError> {
        Ok(self
            .state
            .commits()
            .row(domain, number)?
            .map(|row| row.hash))
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

    /// The highest number among the commits of `domain` that lie in the log and are not accepted.
    pub fn unaccepted_head(&self, domain: &SiteId) -> Option<u64> {
        self.unaccepted_heads.get(domain).copied()
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
    pub(super) fn apply(
        &mut self,
        commit: &Commit,
        position: LogPosition,
        change: Change,
        (payloads, blocks): (Payloads, &Blocks),
    ) {
        self.state.apply(commit, position, change);
        if payloads == Payloads::OnDemand {
            return;
        }
        for payload in commit.records().iter().filter_map(Record::block_payload) {
            if self.may_want(&payload.checksum, blocks) {
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

    /// Takes back the commits of `site` that a fork proof disproves. Those that admitted someone
    /// still testify.
    pub(super) fn take_back(
        &mut self,
        site: &SiteId,
        taken: &TakenBack,
        validator: &CommitValidator,
    ) -> Result<(), ReadError> {
        let last = self.head().frontier.get(site).map_or(0, |head| head.number);
        self.state.take_back(taken)?;
        let testifies =
            |(hash, _): &&(CommitHash, LogPosition)| validator.memberships().contains_key(hash);
        self.testimony
            .extend(taken.commits.iter().filter(testifies).copied());
        self.unaccepted += taken.commits.len() as u64;
        self.note_unaccepted(*site, last);
        self.head = self.state.head();
        Ok(())
    }

    /// Takes in a commit that is not accepted, for what it says of membership.
    pub(super) fn testify(&mut self, commit: &Commit, position: LogPosition) {
        self.testimony.insert(commit.hash(), position);
        self.unaccepted += 1;
        self.note_unaccepted(commit.header().domain, commit.header().number);
    }

    /// Notes that a commit is in the log and is not accepted.
    pub(super) fn note_unaccepted(&mut self, site: SiteId, number: u64) {
        let head = self.unaccepted_heads.entry(site).or_default();
        *head = number.max(*head);
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

    /// The rule for conflicts comes with the genesis, which is the first commit that can be
    /// accepted.
    pub(super) fn take_rule(&mut self, validator: &CommitValidator) {
        if let Some(genesis) = validator.genesis().filter(|_| self.genesis.is_none()) {
            self.state.set_rule(genesis.conflict_rule);
            self.genesis = Some(genesis.clone());
        }
    }

    /// Takes over what follows from the commits just applied.
    pub(super) fn settle(&mut self, validator: &CommitValidator) {
        self.head = self.state.head();
        if !Arc::ptr_eq(&self.memberships, validator.memberships()) {
            self.memberships = Arc::clone(validator.memberships());
            self.members = validator.members();
        }
        self.forks = validator.forks().clone();
    }
}
