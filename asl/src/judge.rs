//! Whether a commit counts: chain, Lamport time, membership. A pure function of the commits judged before it.
//!
//! Each commit names the membership commits its writer knew, and counts if one of exactly those admitted the writer: so
//! every site reaches the same verdict whatever it has learned since. What cannot be judged yet, because something it rests
//! on is missing, is [`Verdict::Parked`], never guessed. No right hangs on the merged order.

use std::collections::{BTreeMap, BTreeSet};

use rkyv::{Archive, Deserialize, Serialize};
use uor_index_format::DecodeError;
use uor_index_format::commit::{Commit, CommitHeader, ForkProof};
use uor_index_format::id::{CommitHash, FederationId, FederationState, LogSeq, SiteId};
use uor_index_format::membership::Genesis;
use uor_index_format::record::Content;
use uor_index_format::snapshot::{Frontier, Head};

use crate::state::ReadError;

/// What becomes of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is the next of its domain and counts.
    Counts,
    /// It is here already.
    Known,
    /// It may count later, when what it rests on has arrived.
    Parked(Parked),
    /// It and a commit that is here prove that its writer forked its log.
    Forks(Box<ForkProof>),
    /// It can never count.
    Refused(Refusal),
}

/// What a parked commit waits for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Parked {
    /// Commits of its own domain before it.
    #[error("commits of its domain from number {next} on are missing")]
    Gap {
        /// The number that would be next.
        next: u64,
    },
    /// Its writer's admission, which may be in a membership commit that the writer knew.
    #[error("its writer's admission is not here, nor is membership commit {commit}, which the writer knew")]
    Membership {
        /// The missing commit.
        commit: CommitHash,
    },
    /// Its clock is too far ahead of everything seen: a poisoned clock must not poison everyone's.
    #[error("its logseq {logseq} is more than {jump_max} above {seen}, the highest seen here")]
    ClockJump {
        /// The commit's logseq.
        logseq: LogSeq,
        /// The highest logseq seen here.
        seen: LogSeq,
        /// The federation's bound.
        jump_max: u64,
    },
}

/// Why a commit can never count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It does not continue the chain, though its number is next.
    #[error("it names {named} as the commit before it; that is {head}")]
    Chain {
        /// The hash it names.
        named: CommitHash,
        /// The hash of the domain's last commit.
        head: CommitHash,
    },
    /// Its logseq does not rise.
    #[error("its logseq {logseq} is not above {before}")]
    LogSeq {
        /// The commit's logseq.
        logseq: LogSeq,
        /// Where it had to lie above: its domain's last commit, or for a first commit the admission.
        before: LogSeq,
    },
    /// The membership digest does not belong to the membership commits it names.
    #[error("its federation state {named} is not the digest of the membership commits it knew")]
    FederationState {
        /// The digest it names.
        named: FederationState,
    },
    /// Its writer had not been admitted when it was written.
    #[error("its writer was not a member of the federation it names")]
    NotAMember,
    /// It carries a genesis or an admission of another federation, or a genesis where none can be.
    #[error("it carries membership records that do not belong to this federation")]
    ForeignMembership,
    /// Its domain is frozen at an earlier commit, because its writer forked its log.
    #[error("its domain is frozen from number {number} on: its writer forked its log there")]
    Frozen {
        /// The first number that does not count.
        number: u64,
    },
}

/// The commits that count and that a judge no longer remembers itself.
pub trait History {
    /// The header of commit `number` of `domain`.
    ///
    /// # Errors
    /// [`ReadError`] if it is there and cannot be read.
    fn header(&self, domain: &SiteId, number: u64) -> Result<Option<CommitHeader>, ReadError>;

    /// Whether a commit of this hash counts.
    ///
    /// # Errors
    /// [`ReadError`] if that cannot be said.
    fn holds(&self, hash: &CommitHash) -> Result<bool, ReadError>;
}

/// No history: the judge remembers everything.
impl History for () {
    fn header(&self, _: &SiteId, _: u64) -> Result<Option<CommitHeader>, ReadError> {
        Ok(None)
    }

    fn holds(&self, _: &CommitHash) -> Result<bool, ReadError> {
        Ok(false)
    }
}

/// What is known of one domain.
#[derive(Debug, Clone, Default)]
struct Domain {
    last: Option<CommitHeader>,
    /// The last commits, up to `last`, that history may not hold yet.
    recent: Vec<CommitHeader>,
    knows: BTreeSet<CommitHash>,
}

/// Who was admitted by one membership commit, and when.
#[derive(Debug, Clone)]
struct Membership {
    members: Vec<SiteId>,
    logseq: LogSeq,
}

/// Why there is no verdict, or one other than "counts".
enum Not {
    Counted(Verdict),
    Readable(ReadError),
}

impl From<Verdict> for Not {
    fn from(verdict: Verdict) -> Self {
        Self::Counted(verdict)
    }
}

impl From<ReadError> for Not {
    fn from(error: ReadError) -> Self {
        Self::Readable(error)
    }
}

/// Judges commits of one federation.
#[derive(Debug, Clone)]
pub struct Judge {
    federation: FederationId,
    genesis: Option<Genesis>,
    domains: BTreeMap<SiteId, Domain>,
    memberships: BTreeMap<CommitHash, Membership>,
    forks: BTreeMap<SiteId, ForkProof>,
    logseq_max: LogSeq,
}

impl Judge {
    /// A judge that has seen nothing yet.
    pub fn new(federation: FederationId) -> Self {
        Self {
            federation,
            genesis: None,
            domains: BTreeMap::new(),
            memberships: BTreeMap::new(),
            forks: BTreeMap::new(),
            logseq_max: LogSeq(0),
        }
    }

    /// The federation.
    pub const fn federation(&self) -> FederationId {
        self.federation
    }

    /// The founding record, once it has been seen.
    pub const fn genesis(&self) -> Option<&Genesis> {
        self.genesis.as_ref()
    }

    /// The highest logseq of all commits that count.
    pub const fn logseq_max(&self) -> LogSeq {
        self.logseq_max
    }

    /// The last commit of `domain` that counts.
    pub fn head(&self, domain: &SiteId) -> Option<Head> {
        let header = self.domains.get(domain)?.last.as_ref()?;
        Some(Head { number: header.number, hash: header.hash() })
    }

    /// The last commits that count, by domain.
    pub fn frontier(&self) -> Frontier {
        self.domains.keys().filter_map(|domain| Some((*domain, self.head(domain)?))).collect()
    }

    /// Leaves to history what has been admitted so far.
    pub fn forget_recent(&mut self) {
        self.domains.values_mut().for_each(|domain| domain.recent.clear());
    }

    fn recent(&self) -> impl Iterator<Item = &CommitHeader> {
        self.domains.values().flat_map(|domain| &domain.recent)
    }

    fn header(&self, domain: &SiteId, number: u64, history: &dyn History) -> Result<Option<CommitHeader>, ReadError> {
        let Some(known) = self.domains.get(domain) else { return Ok(None) };
        if known.last.as_ref().is_none_or(|last| last.number < number) {
            return Ok(None);
        }
        let first_recent = known.recent.first().map_or(u64::MAX, |header| header.number);
        match number.checked_sub(first_recent).and_then(|index| usize::try_from(index).ok()) {
            Some(index) => Ok(known.recent.get(index).cloned()),
            None => history.header(domain, number),
        }
    }

    /// Everyone who has been admitted, the founder included.
    pub fn members(&self) -> BTreeSet<SiteId> {
        self.memberships.values().flat_map(|membership| membership.members.iter().copied()).collect()
    }

    /// Proofs that writers forked their logs, by domain; of several, the one with the lowest number.
    pub const fn forks(&self) -> &BTreeMap<SiteId, ForkProof> {
        &self.forks
    }

    /// What the next commit of `domain` has to say about membership: the commits its writer has newly learned of, and the
    /// digest of all it then knows.
    pub fn membership_for(&self, domain: &SiteId) -> (Vec<CommitHash>, FederationState) {
        let mut knows = self.domains.get(domain).map(|domain| domain.knows.clone()).unwrap_or_default();
        let learned: Vec<CommitHash> = self.memberships.keys().filter(|hash| !knows.contains(*hash)).copied().collect();
        knows.extend(&learned);
        (learned, FederationState::of(&knows))
    }

    /// Judges a commit against everything that counts so far.
    ///
    /// # Errors
    /// [`ReadError`] if what `history` holds cannot be read.
    pub fn judge(&self, commit: &Commit, history: &dyn History) -> Result<Verdict, ReadError> {
        match self.verdict(commit, history) {
            Ok(()) => Ok(Verdict::Counts),
            Err(Not::Counted(verdict)) => Ok(verdict),
            Err(Not::Readable(error)) => Err(error),
        }
    }

    fn verdict(&self, commit: &Commit, history: &dyn History) -> Result<(), Not> {
        let header = commit.header();
        self.check_chain(header, commit.hash(), history)?;
        let knows = self.check_membership_view(commit)?;
        self.check_writer(commit, &knows, history)?;
        self.check_membership_records(commit)?;
        Ok(self.check_clock(header)?)
    }

    fn check_chain(&self, header: &CommitHeader, hash: CommitHash, history: &dyn History) -> Result<(), Not> {
        if let Some(known) = self.header(&header.domain, header.number, history)? {
            if known.hash() == hash {
                return Err(Verdict::Known.into());
            }
            let proof = ForkProof::new(known, header.clone());
            return Err(proof.map_or(Verdict::Known, |proof| Verdict::Forks(Box::new(proof))).into());
        }
        if let Some(proof) = self.forks.get(&header.domain).filter(|proof| proof.number() <= header.number) {
            return Err(Verdict::Refused(Refusal::Frozen { number: proof.number() }).into());
        }
        let last = self.domains.get(&header.domain).and_then(|domain| domain.last.as_ref());
        let next = last.map_or(1, |last| last.number + 1);
        if header.number > next {
            return Err(Verdict::Parked(Parked::Gap { next }).into());
        }
        let head = last.map_or(CommitHash::NONE, CommitHeader::hash);
        if header.previous != head {
            return Err(Verdict::Refused(Refusal::Chain { named: header.previous, head }).into());
        }
        match last {
            Some(last) if header.logseq <= last.logseq => {
                Err(Verdict::Refused(Refusal::LogSeq { logseq: header.logseq, before: last.logseq }).into())
            }
            _ => Ok(()),
        }
    }

    /// The membership commits the writer knew. They must give the digest it signed; which of them are here does not matter.
    fn check_membership_view(&self, commit: &Commit) -> Result<BTreeSet<CommitHash>, Verdict> {
        let header = commit.header();
        let mut knows = self.domains.get(&header.domain).map(|domain| domain.knows.clone()).unwrap_or_default();
        knows.extend(commit.learned());
        if FederationState::of(&knows) == header.federation {
            Ok(knows)
        } else {
            Err(Verdict::Refused(Refusal::FederationState { named: header.federation }))
        }
    }

    /// One of them has to have admitted the writer, below the commit. Another that is not here, perhaps because a fork took
    /// it back, is nobody's concern but of those whom only it admitted: everyone else goes on.
    fn check_writer(&self, commit: &Commit, knows: &BTreeSet<CommitHash>, history: &dyn History) -> Result<(), Not> {
        let header = commit.header();
        if self.is_founding(commit) {
            return Ok(());
        }
        let admitted = knows
            .iter()
            .filter_map(|hash| self.memberships.get(hash))
            .filter(|membership| membership.members.contains(&header.domain))
            .map(|membership| membership.logseq)
            .min();
        if admitted.is_some_and(|before| before < header.logseq) {
            return Ok(());
        }
        for hash in knows.iter().filter(|hash| !self.memberships.contains_key(*hash)) {
            if !self.recent().any(|recent| recent.hash() == *hash) && !history.holds(hash)? {
                return Err(Verdict::Parked(Parked::Membership { commit: *hash }).into());
            }
        }
        let refusal = admitted.map_or(Refusal::NotAMember, |before| Refusal::LogSeq { logseq: header.logseq, before });
        Err(Verdict::Refused(refusal).into())
    }

    fn is_founding(&self, commit: &Commit) -> bool {
        let founds =
            |genesis: &Genesis| genesis.founder == commit.header().domain && genesis.federation_id() == self.federation;
        commit.header().number == 1
            && commit
                .records()
                .iter()
                .any(|record| matches!(record.content(), Content::Genesis(genesis) if founds(genesis)))
    }

    fn check_membership_records(&self, commit: &Commit) -> Result<(), Verdict> {
        let belongs = commit.records().iter().all(|record| match record.content() {
            Content::Genesis(genesis) => genesis.federation_id() == self.federation && self.is_founding(commit),
            Content::Admission(admission) => admission.federation == self.federation,
            _ => true,
        });
        if belongs { Ok(()) } else { Err(Verdict::Refused(Refusal::ForeignMembership)) }
    }

    fn check_clock(&self, header: &CommitHeader) -> Result<(), Verdict> {
        let Some(genesis) = &self.genesis else { return Ok(()) };
        let (seen, jump_max) = (self.logseq_max, genesis.logseq_jump_max);
        if header.logseq.0 > seen.0.saturating_add(jump_max) {
            return Err(Verdict::Parked(Parked::ClockJump { logseq: header.logseq, seen, jump_max }));
        }
        Ok(())
    }

    /// Takes in a commit that [`Verdict::Counts`].
    pub fn admit(&mut self, commit: &Commit) {
        let (header, hash) = (commit.header(), commit.hash());
        let mut members = Vec::new();
        for record in commit.records() {
            match record.content() {
                Content::Genesis(genesis) => {
                    members.push(genesis.founder);
                    self.genesis = Some(genesis.clone());
                }
                Content::Admission(admission) => members.push(admission.site),
                _ => {}
            }
        }
        let domain = self.domains.entry(header.domain).or_default();
        domain.knows.extend(commit.learned());
        domain.last = Some(header.clone());
        domain.recent.push(header.clone());
        if !members.is_empty() {
            domain.knows.insert(hash);
            self.memberships.insert(hash, Membership { members, logseq: header.logseq });
        }
        self.logseq_max = self.logseq_max.max(header.logseq);
    }

    /// Takes in a proof of a fork: commits of its domain from its number on no longer count. Returns whether that is news.
    /// Whoever holds commits that no longer count must judge anew from the start.
    pub fn freeze(&mut self, proof: ForkProof) -> bool {
        let is_news = self.forks.get(&proof.domain()).is_none_or(|known| proof.number() < known.number());
        if is_news {
            self.forks.insert(proof.domain(), proof);
        }
        is_news
    }

    /// Whether commits that were judged to count have since been disproved by a fork proof.
    pub fn must_judge_anew(&self) -> bool {
        let last = |domain| self.domains.get(&domain).and_then(|domain| domain.last.as_ref());
        self.forks.values().any(|proof| last(proof.domain()).is_some_and(|last| proof.number() <= last.number))
    }
}

/// What a judge remembers, as a checkpoint keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub(crate) struct Memory {
    genesis: Option<Vec<u8>>,
    /// Each domain's last header and the membership commits its writer knows.
    domains: Vec<(Vec<u8>, Vec<[u8; 32]>)>,
    /// Membership commits, whom each admitted, and its logseq.
    memberships: Vec<([u8; 32], Vec<[u8; 32]>, u64)>,
    forks: Vec<Vec<u8>>,
    logseq_max: u64,
}

impl Judge {
    /// What it remembers; commits before each domain's last are history's affair.
    pub(crate) fn memory(&self) -> Memory {
        let knows = |domain: &Domain| domain.knows.iter().map(|hash| *hash.as_bytes()).collect();
        let admitted = |(hash, membership): (&CommitHash, &Membership)| {
            let members = membership.members.iter().map(|site| *site.as_bytes()).collect();
            (*hash.as_bytes(), members, membership.logseq.0)
        };
        Memory {
            genesis: self.genesis.as_ref().map(Genesis::encode),
            domains: self
                .domains
                .values()
                .filter_map(|domain| Some((domain.last.as_ref()?.encode(), knows(domain))))
                .collect(),
            memberships: self.memberships.iter().map(admitted).collect(),
            forks: self.forks.values().map(ForkProof::encode).collect(),
            logseq_max: self.logseq_max.0,
        }
    }

    /// The judge that remembered this.
    ///
    /// # Errors
    /// [`DecodeError`] if a part of it cannot be one.
    pub(crate) fn remembering(federation: FederationId, memory: &Memory) -> Result<Self, DecodeError> {
        let hashes = |hashes: &[[u8; 32]]| hashes.iter().map(|hash| CommitHash::from_bytes(*hash)).collect();
        let mut judge = Self::new(federation);
        judge.genesis = memory.genesis.as_deref().map(Genesis::decode).transpose()?;
        for (last, knows) in &memory.domains {
            let last = CommitHeader::decode(last)?;
            let domain = Domain { knows: hashes(knows), last: Some(last.clone()), recent: Vec::new() };
            judge.domains.insert(last.domain, domain);
        }
        for (hash, members, logseq) in &memory.memberships {
            let members = members.iter().map(|site| SiteId::from_bytes(*site)).collect();
            judge.memberships.insert(CommitHash::from_bytes(*hash), Membership { members, logseq: LogSeq(*logseq) });
        }
        for proof in &memory.forks {
            judge.freeze(ForkProof::decode(proof)?);
        }
        judge.logseq_max = LogSeq(memory.logseq_max);
        Ok(judge)
    }
}
