//! Whether a commit is accepted: chain, Lamport time, membership, forks. A pure function of the set
//! of commits and fork proofs that are here: in whatever order they came, and whatever else came
//! with them, the same commits are accepted.
//!
//! A first commit names the membership commits its writer knew, and is accepted if one of exactly
//! those admits the writer; what cannot be validated yet, because something it rests on is missing,
//! is [`Verdict::Parked`], never guessed. No right hangs on the merged order.
//!
//! **What a fork takes back** is sight, and never membership. A proof that a writer forked its log
//! at a number takes back that writer's commits from this number on, and no commit of anybody else:
//! what those commits said of membership still *testifies* (`index-format/FORMAT.md`, "What a fork
//! takes back"). So membership only grows, and nobody is silenced by what another did.
//!
//! **What is a policy of arrival** is never part of the verdict: how far a clock may jump at once,
//! and how much testimony is taken from one writer who forked ([`CommitValidator::hold_back`],
//! [`CommitValidator::takes_testimony`]). What was taken in under a policy is never validated by it
//! again.

mod domain;
mod memory;
mod rules;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uor_index_format::chain::{Chain, History, Peaks};
use uor_index_format::commit::{Commit, CommitHeader, ForkProof, LEARNED_MAX};
use uor_index_format::id::{CommitHash, FederationId, FederationState, LogSeq, SiteId};
use uor_index_format::membership::Genesis;
use uor_index_format::snapshot::{DOMAINS_MAX, Frontier, Head};

pub use self::domain::{ADMISSIONS_MAX, READMISSIONS_MAX};
use self::domain::{Domain, Said};
pub(crate) use self::memory::Memory;
pub use self::verdict::{Parked, Rejection, Verdict};
use crate::state::error::ReadError;

/// Most membership commits that a writer can name in all its commits together: its view of
/// membership is hashed whenever it changes, so it has to have an end.
pub const KNOWN_MAX: usize = 1 << 16;
/// Most commits that are taken in from beyond the point where their writer forked its log, for what
/// they say of membership: as many as it takes to hear of every site that one member may have
/// admitted, in whatever order they come.
pub const TESTIMONY_MAX: usize = ADMISSIONS_MAX + READMISSIONS_MAX;

/// The accepted commits that a validator no longer remembers itself.
pub trait Past {
    /// The header of commit `number` of `domain`.
    ///
    /// # Errors
    /// [`ReadError`] if it is there and cannot be read.
    fn header(&self, domain: &SiteId, number: u64) -> Result<Option<CommitHeader>, ReadError>;
}

/// None: the validator remembers everything.
impl Past for () {
    fn header(&self, _: &SiteId, _: u64) -> Result<Option<CommitHeader>, ReadError> {
        Ok(None)
    }
}

/// One membership commit: whom it admits, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Its domain.
    pub domain: SiteId,
    /// Its number there.
    pub number: u64,
    /// Its Lamport time.
    pub logseq: LogSeq,
    /// The sites it admits, ascending; for the founding commit, the founder.
    pub members: Vec<SiteId>,
    /// Whether it says anything that no commit of its domain said before: then every writer names
    /// it once.
    pub is_news: bool,
}

/// Membership commits by hash.
pub type Memberships = BTreeMap<CommitHash, Membership>;

/// Validates commits of one federation.
#[derive(Debug, Clone)]
pub struct CommitValidator {
    federation: FederationId,
    genesis: Option<Genesis>,
    domains: BTreeMap<SiteId, Domain>,
    /// Shared with whoever looks, and copied when it changes, which is seldom.
    memberships: Arc<Memberships>,
    /// Of each site, the lowest logseq of a commit that admits it.
    members: BTreeMap<SiteId, LogSeq>,
    forks: BTreeMap<SiteId, ForkProof>,
    logseq_max: LogSeq,
}

impl CommitValidator {
    /// A validator that has seen nothing yet.
    pub fn new(federation: FederationId) -> Self {
        Self {
            federation,
            genesis: None,
            domains: BTreeMap::new(),
            memberships: Arc::default(),
            members: BTreeMap::new(),
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

    /// The highest logseq of all accepted commits.
    pub const fn logseq_max(&self) -> LogSeq {
        self.logseq_max
    }

    /// The last commit of `domain` that is accepted.
    pub fn head(&self, domain: &SiteId) -> Option<Head> {
        let header = self.domains.get(domain)?.last.as_ref()?;
        Some(Head {
            number: header.number,
            hash: header.hash(),
        })
    }

    /// What the next commit of `domain` names as the commits before it. `None` if commits of it
    /// were taken back, so that there can be no next.
    pub fn history(&self, domain: &SiteId) -> Option<History> {
        match self.domains.get(domain) {
            None => Some(Chain::default().history()),
            Some(domain) => domain.chain().map(|chain| chain.history()),
        }
    }

    /// The commits before the last one of each domain whose last header does not sign them all,
    /// since it has version 1.
    pub(crate) fn unsigned_histories(&self) -> impl Iterator<Item = (SiteId, &Peaks)> {
        self.domains.iter().filter_map(|(site, domain)| {
            let (last, before) = (domain.last.as_ref()?, domain.before.as_ref()?);
            matches!(last.history, History::Previous(_)).then_some((*site, before))
        })
    }

    /// The last accepted commits, by domain.
    pub fn frontier(&self) -> Frontier {
        self.domains
            .keys()
            .filter_map(|domain| Some((*domain, self.head(domain)?)))
            .collect()
    }

    /// Leaves to [`Past`] what has been admitted so far.
    pub fn forget_recent(&mut self) {
        self.domains
            .values_mut()
            .for_each(|domain| domain.recent.clear());
    }

    fn header(
        &self,
        domain: &SiteId,
        number: u64,
        past: &dyn Past,
    ) -> Result<Option<CommitHeader>, ReadError> {
        let Some(known) = self.domains.get(domain) else {
            return Ok(None);
        };
        if known.last.as_ref().is_none_or(|last| last.number < number) {
            return Ok(None);
        }
        let first_recent = known
            .recent
            .first()
            .map_or(u64::MAX, |header| header.number);
        match number
            .checked_sub(first_recent)
            .and_then(|index| usize::try_from(index).ok())
        {
            Some(index) => Ok(known.recent.get(index).cloned()),
            None => past.header(domain, number),
        }
    }

    /// Everyone who has been admitted, the founder included.
    pub fn members(&self) -> BTreeSet<SiteId> {
        self.members.keys().copied().collect()
    }

    /// All membership commits, those among them that only testify.
    pub const fn memberships(&self) -> &Arc<Memberships> {
        &self.memberships
    }

    /// Proofs that writers forked their logs, by domain; of several, the one with the lowest
    /// number.
    pub const fn forks(&self) -> &BTreeMap<SiteId, ForkProof> {
        &self.forks
    }

    /// The membership commits that the writer of `domain` knows, ascending.
    pub fn knows(&self, domain: &SiteId) -> impl Iterator<Item = CommitHash> {
        self.domains
            .get(domain)
            .into_iter()
            .flat_map(|domain| domain.knows.iter().copied())
    }

    /// What the next commit of `domain` has to say about membership: the commits its writer has
    /// newly learned of, and the digest of all it then knows. What admits `domain` itself comes
    /// first; of the rest at most `room` are named, and what is left over is for the commit after
    /// it.
    pub fn membership_for(
        &self,
        domain: &SiteId,
        room: usize,
    ) -> (Vec<CommitHash>, FederationState) {
        let nothing = BTreeSet::new();
        let knows = self
            .domains
            .get(domain)
            .map_or(&nothing, |domain| &domain.knows);
        let room = room
            .min(LEARNED_MAX as usize)
            .min(KNOWN_MAX.saturating_sub(knows.len() + 1));
        let news = || {
            let memberships = self
                .memberships
                .iter()
                .filter(|(_, membership)| membership.is_news);
            memberships.filter(|(hash, _)| !knows.contains(*hash))
        };
        let admits = |membership: &Membership| membership.members.contains(domain);
        let own = news().filter(|(_, membership)| knows.is_empty() && admits(membership));
        let others = news().filter(|(_, membership)| !knows.is_empty() || !admits(membership));
        let learned: BTreeSet<CommitHash> = own
            .chain(others)
            .map(|(hash, _)| *hash)
            .take(room)
            .collect();
        let federation = FederationState::of(knows.union(&learned));
        (learned.into_iter().collect(), federation)
    }

    /// Why a valid commit is not taken in yet, when it arrives: a policy of this site, and no
    /// verdict. `patience` is how many of the federation's clock jumps are allowed at once, at
    /// least one: whoever asks for a commit that was held back again and again allows more each
    /// time, so what honest sites wrote under a clock that was jumped is late and never lost, and a
    /// clock that was set to the end of time stays without effect for ages.
    pub fn hold_back(&self, commit: &Commit, patience: u64) -> Option<Parked> {
        let header = commit.header();
        if self.domains.len() >= DOMAINS_MAX as usize && !self.domains.contains_key(&header.domain)
        {
            return Some(Parked::Full);
        }
        let jump_max = self
            .genesis
            .as_ref()?
            .logseq_jump_max
            .saturating_mul(patience.max(1));
        let (logseq, seen) = (header.logseq, self.logseq_max);
        (logseq.0 > seen.0.saturating_add(jump_max)).then_some(Parked::ClockJump {
            logseq,
            seen,
            jump_max,
        })
    }

    /// Whether this site takes in one more commit of a writer who forked its log, for what it says
    /// of membership: a policy of arrival, since such a writer can make any number of them. What
    /// says nothing that is listened to is of no use.
    pub fn takes_testimony(&self, commit: &Commit) -> bool {
        let nothing = Domain::new();
        let domain = self
            .domains
            .get(&commit.header().domain)
            .unwrap_or(&nothing);
        domain.testimony < TESTIMONY_MAX && domain.listen(commit).is_heard
    }

    /// Takes in a commit that [`Verdict::Accepted`].
    pub fn accept(&mut self, commit: &Commit) {
        let (header, hash) = (commit.header(), commit.hash());
        self.take_memberships(commit);
        let domain = self
            .domains
            .entry(header.domain)
            .or_insert_with(Domain::new);
        let knew = domain.knows.len();
        domain.knows.extend(commit.learned());
        if commit.is_membership() {
            domain.knows.insert(hash);
        }
        if domain.knows.len() > knew {
            domain.federation = FederationState::of(&domain.knows);
        }
        let chain = domain
            .chain()
            .expect("an accepted commit is behind none that was taken back");
        domain.before = Some(chain.into_peaks());
        domain.last = Some(header.clone());
        domain.recent.push(header.clone());
        self.logseq_max = self.logseq_max.max(header.logseq);
    }

    /// Takes in a commit that [`Verdict::Testifies`].
    pub fn testify(&mut self, commit: &Commit) {
        self.take_memberships(commit);
        self.domains
            .entry(commit.header().domain)
            .or_insert_with(Domain::new)
            .testimony += 1;
    }

    /// Takes in what a commit says of membership.
    fn take_memberships(&mut self, commit: &Commit) {
        if !commit.is_membership() {
            return;
        }
        let header = commit.header();
        let domain = self
            .domains
            .entry(header.domain)
            .or_insert_with(Domain::new);
        let Said {
            genesis,
            admitted,
            is_news,
            is_heard,
        } = domain.listen(commit);
        domain.readmissions += usize::from(!is_news);
        if !is_heard {
            return;
        }
        domain.admitted.extend(&admitted);
        if let Some(genesis) = genesis {
            self.genesis = Some(genesis.clone());
        }
        let members: BTreeSet<SiteId> = genesis
            .map(|genesis| genesis.founder)
            .into_iter()
            .chain(admitted)
            .collect();
        for site in &members {
            let before = self.members.entry(*site).or_insert(header.logseq);
            *before = header.logseq.min(*before);
        }
        let (domain, number, logseq) = (header.domain, header.number, header.logseq);
        let membership = Membership {
            domain,
            number,
            logseq,
            members: members.into_iter().collect(),
            is_news,
        };
        Arc::make_mut(&mut self.memberships).insert(commit.hash(), membership);
    }

    /// Takes in a proof of a fork: commits of its domain from its number on are no longer accepted.
    /// Returns whether that is news.
    ///
    /// # Errors
    /// [`ReadError`] if the last commit that is still accepted cannot be read from `past`; nothing
    /// is changed then.
    pub fn freeze(&mut self, proof: ForkProof, past: &dyn Past) -> Result<bool, ReadError> {
        let (site, number) = (proof.domain(), proof.number());
        if self
            .forks
            .get(&site)
            .is_some_and(|known| known.number() <= number)
        {
            return Ok(false);
        }
        if self.head(&site).is_some_and(|head| head.number >= number) {
            let last = self.header(&site, number - 1, past)?;
            if let Some(domain) = self.domains.get_mut(&site) {
                (domain.last, domain.before) = (last, None);
            }
            let clocks = self
                .domains
                .values()
                .filter_map(|domain| Some(domain.last.as_ref()?.logseq));
            self.logseq_max = clocks.max().unwrap_or_default();
        }
        self.forks.insert(site, proof);
        Ok(true)
    }
}
