//! "Which commits are accepted" and "What is visible" of `index-format/FORMAT.md`, sentence by
//! sentence, as a function of a *set*: slow, and without a line of the validator or of the state.
//! Bytes, digests and the sum of a state are those of `index-format`, which has vectors of its own.

use std::collections::{BTreeMap, BTreeSet};

use uor_asl::validator::{ADMISSIONS_MAX, KNOWN_MAX, READMISSIONS_MAX};
use uor_index_format::chain::History;
use uor_index_format::commit::{Commit, ForkProof};
use uor_index_format::id::{
    CanonicalId, Checksum, CommitHash, FederationId, FederationState, HistoryRoot, LogSeq, SiteId,
    context,
};
use uor_index_format::membership::{ConflictRule, Genesis};
use uor_index_format::record::{Content, Kind, Record};
use uor_index_format::snapshot::{Head, Snapshot};
use uor_index_format::state::{Entry, StateHash};

use super::rfc9162;

/// What a set of commits and proofs amounts to.
pub(crate) struct Oracle {
    federation: FederationId,
    commits: Vec<Commit>,
    /// Of each domain that is proven to have forked its log, the lowest number.
    pub(crate) forks: BTreeMap<SiteId, u64>,
    /// The accepted commits, by number.
    pub(crate) counting: BTreeMap<SiteId, Vec<Commit>>,
    /// The commits that admit someone: whom.
    pub(crate) admitting: BTreeMap<CommitHash, Admits>,
    /// How many commits said more of membership than is listened to.
    pub(crate) cut: u64,
    /// How many commits that admit nobody new were not looked at.
    pub(crate) passed_over: u64,
}

/// Whom a commit admits, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Admits {
    pub(crate) sites: BTreeSet<SiteId>,
    logseq: LogSeq,
}

impl Oracle {
    pub(crate) fn of(federation: FederationId, commits: &[Commit], proofs: &[ForkProof]) -> Self {
        let mut forks = BTreeMap::new();
        for proof in proofs {
            let lowest = forks.entry(proof.domain()).or_insert(proof.number());
            *lowest = proof.number().min(*lowest);
        }
        let mut commits = commits.to_vec();
        commits.sort_by_key(|commit| {
            (
                commit.header().domain,
                commit.header().number,
                commit.hash(),
            )
        });
        commits.dedup();
        let (counting, admitting) = (BTreeMap::new(), BTreeMap::new());
        let mut this = Self {
            federation,
            commits,
            forks,
            counting,
            admitting,
            cut: 0,
            passed_over: 0,
        };
        loop {
            let before = (
                this.forks.clone(),
                this.counting.clone(),
                this.admitting.clone(),
            );
            this.count();
            this.admit();
            if before
                == (
                    this.forks.clone(),
                    this.counting.clone(),
                    this.admitting.clone(),
                )
            {
                return this;
            }
        }
    }

    fn domains(&self) -> BTreeSet<SiteId> {
        self.commits
            .iter()
            .map(|commit| commit.header().domain)
            .collect()
    }

    /// Follows every domain from number 1. Whoever sees two commits of one number, one of which
    /// is accepted, has a proof.
    fn count(&mut self) {
        self.counting.clear();
        for domain in self.domains() {
            let mut chain: Vec<Commit> = Vec::new();
            loop {
                let number = chain.len() as u64 + 1;
                if self.is_frozen(&domain, number) {
                    break;
                }
                let of_number = |commit: &&Commit| {
                    (commit.header().domain, commit.header().number) == (domain, number)
                };
                let twins: Vec<Commit> = self.commits.iter().filter(of_number).cloned().collect();
                let Some(next) = twins.iter().find(|commit| self.continues(commit, &chain)) else {
                    break;
                };
                if twins.len() > 1 {
                    self.forks.insert(domain, number);
                    break;
                }
                chain.push(next.clone());
            }
            if !chain.is_empty() {
                self.counting.insert(domain, chain);
            }
        }
    }

    /// Rule 5.
    fn is_frozen(&self, domain: &SiteId, number: u64) -> bool {
        self.forks
            .get(domain)
            .is_some_and(|lowest| *lowest <= number)
    }

    /// Rules 1 to 4.
    fn continues(&self, commit: &Commit, chain: &[Commit]) -> bool {
        let header = commit.header();
        let history = match header.history {
            History::Previous(_) => {
                History::Previous(chain.last().map_or(CommitHash::NONE, Commit::hash))
            }
            History::Root(_) => {
                let hashes: Vec<_> = chain
                    .iter()
                    .map(|commit| *commit.hash().as_bytes())
                    .collect();
                let node = context::HISTORY_NODE.text();
                let root = rfc9162::Tree { node }.root(&hashes);
                History::Root(HistoryRoot::from_bytes(root))
            }
        };
        let rises = chain
            .last()
            .is_none_or(|last| header.logseq > last.header().logseq);
        let own = chain
            .iter()
            .filter(|commit| commit.is_membership())
            .map(Commit::hash);
        let named = chain
            .iter()
            .chain([commit])
            .flat_map(|commit| commit.learned().iter().copied());
        let knows: BTreeSet<CommitHash> = own.chain(named).collect();
        let fits = knows.len() + usize::from(commit.is_membership()) <= KNOWN_MAX;
        let admits = |hash: &CommitHash| {
            self.admitting
                .get(hash)
                .filter(|admits| admits.sites.contains(&header.domain))
        };
        let is_admitted = commit
            .learned()
            .iter()
            .filter_map(admits)
            .any(|admits| admits.logseq < header.logseq);
        header.history == history
            && rises
            && fits
            && header.federation == FederationState::of(&knows)
            && (header.number > 1 || self.is_founding(commit) || is_admitted)
            && self.are_of_this_federation(commit)
    }

    fn is_founding(&self, commit: &Commit) -> bool {
        let founds = |genesis: &Genesis| {
            genesis.federation_id() == self.federation && genesis.founder == commit.header().domain
        };
        let is_genesis = |record: &Record| matches!(record.content(), Content::Genesis(genesis) if founds(genesis));
        commit.header().number == 1 && commit.records().iter().any(is_genesis)
    }

    /// Rule 4.
    fn are_of_this_federation(&self, commit: &Commit) -> bool {
        commit
            .records()
            .iter()
            .all(|record| match record.content() {
                Content::Genesis(genesis) => {
                    genesis.federation_id() == self.federation && self.is_founding(commit)
                }
                Content::Admission(admission) => admission.federation == self.federation,
                _ => true,
            })
    }

    fn testifies(&self, commit: &Commit) -> bool {
        let header = commit.header();
        let mut admissions = self
            .admitting
            .values()
            .filter(|admits| admits.sites.contains(&header.domain));
        self.is_frozen(&header.domain, header.number)
            && commit.is_membership()
            && self.are_of_this_federation(commit)
            && (self.is_founding(commit) || admissions.any(|admits| admits.logseq < header.logseq))
    }

    /// "Of the sites that the commits of one domain admit, in ascending number and within a commit
    /// by id, the first 1,024 are admitted, and no others; of its commits that admit nobody new,
    /// the first 64 are looked at."
    fn admit(&mut self) {
        let (mut cut, mut passed_over, mut admitting) = (0, 0, BTreeMap::new());
        for domain in self.domains() {
            let (mut admitted, mut readmissions) = (BTreeSet::new(), 0);
            let listens =
                |commit: &&Commit| commit.header().domain == domain && commit.is_membership();
            for commit in self.commits.iter().filter(listens) {
                if !self.is_accepted(commit) && !self.testifies(commit) {
                    continue;
                }
                let (sites, is_news, is_cut) = said(commit, &mut admitted);
                cut += u64::from(is_cut);
                readmissions += usize::from(!is_news);
                if is_news || readmissions <= READMISSIONS_MAX && !sites.is_empty() {
                    admitting.insert(
                        commit.hash(),
                        Admits {
                            sites,
                            logseq: commit.header().logseq,
                        },
                    );
                } else {
                    passed_over += 1;
                }
            }
        }
        (self.cut, self.passed_over, self.admitting) = (cut, passed_over, admitting);
    }

    fn is_accepted(&self, commit: &Commit) -> bool {
        let chain = self.counting.get(&commit.header().domain);
        chain.is_some_and(|chain| {
            chain
                .iter()
                .any(|counting| counting.hash() == commit.hash())
        })
    }

    pub(crate) fn members(&self) -> BTreeSet<SiteId> {
        self.admitting
            .values()
            .flat_map(|admits| admits.sites.iter().copied())
            .collect()
    }

    /// Every commit that is accepted.
    pub(crate) fn accepted(&self) -> impl Iterator<Item = &Commit> {
        self.counting.values().flatten()
    }

    /// "The snapshot of all its accepted commits."
    pub(crate) fn head(&self) -> Snapshot {
        let mut head = Snapshot::default();
        for (domain, chain) in &self.counting {
            let last = chain.last().expect("a accepted chain has a commit");
            head.frontier.insert(
                *domain,
                Head {
                    number: chain.len() as u64,
                    hash: last.hash(),
                },
            );
        }
        head.logseq_max = self
            .accepted()
            .map(|commit| commit.header().logseq)
            .max()
            .unwrap_or_default();
        head
    }

    /// The versions of each id at the head, in the one order.
    pub(crate) fn versions(&self) -> BTreeMap<CanonicalId, Vec<Said>> {
        let mut versions: BTreeMap<CanonicalId, Vec<Said>> = BTreeMap::new();
        for commit in self.accepted() {
            for record in commit.records() {
                let header = commit.header();
                let place = (header.logseq, record.is_tombstone(), header.domain);
                versions.entry(record.id()).or_default().push(Said {
                    place,
                    record: record.clone(),
                });
            }
        }
        versions
            .values_mut()
            .for_each(|versions| versions.sort_by_key(|said| said.place));
        versions
    }

    pub(crate) fn entries(&self, rule: ConflictRule) -> Vec<Entry> {
        self.versions()
            .values()
            .filter_map(|versions| entry(versions, rule))
            .collect()
    }
}

/// Whom a commit admits after these, whether it says anything new, and whether it says more than is
/// listened to.
fn said(commit: &Commit, admitted: &mut BTreeSet<SiteId>) -> (BTreeSet<SiteId>, bool, bool) {
    let (mut sites, mut is_news, mut is_cut) = (BTreeSet::new(), false, false);
    for record in commit.records() {
        match record.content() {
            Content::Genesis(genesis) => {
                sites.insert(genesis.founder);
                is_news = true;
            }
            Content::Admission(admission) => {
                if admitted.len() < ADMISSIONS_MAX {
                    is_news |= admitted.insert(admission.site);
                }
                if admitted.contains(&admission.site) {
                    sites.insert(admission.site);
                } else {
                    is_cut = true;
                }
            }
            _ => {}
        }
    }
    (sites, is_news, is_cut)
}

/// What one commit says of an id, and where in the one order.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    place: (LogSeq, bool, SiteId),
    pub(crate) record: Record,
}

impl Said {
    fn checksum(&self) -> Checksum {
        self.record.payload().checksum
    }
}

/// "The entry of an id."
fn entry(records: &[Said], rule: ConflictRule) -> Option<Entry> {
    let live = records
        .iter()
        .rposition(|said| said.record.is_tombstone())
        .map_or(records, |last| &records[last + 1..]);
    let (resolutions, claims): (Vec<&Said>, Vec<&Said>) = live
        .iter()
        .partition(|said| said.record.kind() == Kind::Resolution);
    let first = claims.first()?;
    if matches!(
        first.record.kind(),
        Kind::Edge | Kind::Ref | Kind::Admission
    ) {
        return Some(effective(claims.last()?, &claims, false));
    }
    if claims
        .iter()
        .all(|claim| claim.checksum() == first.checksum())
    {
        return Some(effective(first, &claims, false));
    }
    for resolution in resolutions.iter().rev() {
        if let Some(kept) = claims
            .iter()
            .find(|claim| claim.checksum() == resolution.checksum())
        {
            let dissents = |claim: &&Said| {
                claim.place > resolution.place && claim.checksum() != resolution.checksum()
            };
            return Some(effective(kept, &claims, claims.iter().any(dissents)));
        }
    }
    let first_claim = effective(first, &claims, true);
    Some(match rule {
        ConflictRule::First => first_claim,
        ConflictRule::Quorum => {
            let most = claims.iter().map(|claim| votes(claim, &claims)).max()?;
            effective(
                claims.iter().find(|claim| votes(claim, &claims) == most)?,
                &claims,
                true,
            )
        }
        ConflictRule::Manual => Entry {
            type_tag: None,
            checksum: None,
            payload_len: 0,
            domains: 0,
            ..first_claim
        },
    })
}

/// How many different domains claim what `claim` claims.
fn votes(claim: &Said, claims: &[&Said]) -> u32 {
    let same = claims
        .iter()
        .filter(|other| other.checksum() == claim.checksum());
    let domains: BTreeSet<SiteId> = same.map(|other| other.place.2).collect();
    u32::try_from(domains.len()).expect("few sites")
}

fn effective(claim: &Said, claims: &[&Said], conflict: bool) -> Entry {
    let payload = claim.record.payload();
    Entry {
        id: claim.record.id(),
        kind: claim.record.kind(),
        type_tag: claim.record.type_tag(),
        checksum: Some(payload.checksum),
        payload_len: payload.len,
        logseq: claim.place.0,
        conflict,
        domains: votes(claim, claims),
    }
}

/// The state root of these entries.
pub(crate) fn root(entries: &[Entry], snapshot: &Snapshot) -> uor_index_format::id::StateRoot {
    let mut sum = StateHash::default();
    entries.iter().for_each(|entry| sum.add(entry));
    sum.root(snapshot)
}
