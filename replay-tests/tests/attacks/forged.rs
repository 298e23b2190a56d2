//! Commits as no honest site writes them.

use std::collections::BTreeSet;

use uor_index_format::chain::Chain;
use uor_index_format::commit::{Commit, Draft, ForkProof};
use uor_index_format::id::{CommitHash, FederationId, FederationState, LogSeq, SiteId};
use uor_index_format::key::SiteKey;
use uor_index_format::membership::Admission;
use uor_index_format::record::{Payload, Record};
use uor_index_format::reference::{NAMESPACE_USER, RefAssignment};

/// A member's log, written without a store.
pub(crate) struct Writer {
    pub(crate) key: SiteKey,
    chain: Chain,
    pub(crate) logseq: u64,
    /// The membership commits that it knows.
    knows: BTreeSet<CommitHash>,
    /// Those that its next commit names.
    pub(crate) learned: BTreeSet<CommitHash>,
}

impl Writer {
    /// A member whom this commit admitted, and who writes above it.
    pub(crate) fn new(key: SiteKey, admitted: &Commit) -> Self {
        let (knows, learned) = (BTreeSet::new(), BTreeSet::from([admitted.hash()]));
        Self {
            key,
            chain: Chain::default(),
            logseq: admitted.header().logseq.0,
            knows,
            learned,
        }
    }

    pub(crate) fn write(&mut self, records: Vec<Record>) -> Commit {
        let learned = std::mem::take(&mut self.learned);
        self.knows.extend(&learned);
        self.logseq += 1;
        let draft = Draft {
            number: self.chain.len() + 1,
            history: self.chain.history(),
            logseq: LogSeq(self.logseq),
            federation: FederationState::of(&self.knows),
            wall_ms: 0,
            learned: learned.into_iter().collect(),
            records,
        };
        let commit = Commit::seal(draft, &self.key).unwrap();
        self.chain.push(commit.hash());
        if commit.is_membership() {
            self.knows.insert(commit.hash());
        }
        commit
    }
}

/// Another commit with the same number and place in the chain, and other records.
pub(crate) fn twin(commit: &Commit, key: &SiteKey, records: Vec<Record>) -> Commit {
    let header = commit.header().clone();
    let draft = Draft {
        number: header.number,
        history: header.history,
        logseq: header.logseq,
        federation: header.federation,
        wall_ms: 1,
        learned: commit.learned().to_vec(),
        records,
    };
    Commit::seal(draft, key).unwrap()
}

/// The proof that a commit was signed twice.
pub(crate) fn proof(commit: &Commit, key: &SiteKey) -> ForkProof {
    let other = twin(commit, key, commit.records().to_vec());
    ForkProof::new(commit.header().clone(), other.header().clone()).unwrap()
}

/// A key that a number gives.
pub(crate) fn key_of(number: usize) -> SiteKey {
    SiteKey::from_seed(blake3::hash(&number.to_le_bytes()).as_bytes())
}

pub(crate) fn admission(federation: FederationId, site: SiteId) -> Record {
    Record::admission(Admission {
        federation,
        site,
        name: site.short().to_string(),
    })
}

pub(crate) fn word(text: &str) -> Record {
    Record::artifact(None, Payload::of(text.as_bytes()))
}

pub(crate) fn name(name: &str, target: &Record) -> Record {
    let namespace = NAMESPACE_USER.to_owned();
    Record::reference(RefAssignment {
        namespace,
        name: name.to_owned(),
        target: target.id().into(),
    })
}

/// Sorted as a commit has them.
pub(crate) fn sorted(mut records: Vec<Record>) -> Vec<Record> {
    records.sort_by_key(Record::id);
    records.dedup_by_key(|record| record.id());
    records
}
