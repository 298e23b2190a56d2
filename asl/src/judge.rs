//! Whether a commit counts: chain, Lamport time, membership, forks. A pure function of the set of
//! commits and fork proofs that are here: in whatever order they came, and whatever else came with
//! them, the same commits count.
//!
//! A first commit names the membership commits its writer knew, and counts if one of exactly those
//! admits the writer; what cannot be judged yet, because something it rests on is missing, is
//! [`Verdict::Parked`], never guessed. No right hangs on the merged order.
//!
//! **What a fork takes back** is sight, and never membership. A proof that a writer forked its log
//! at a number takes back that writer's commits from this number on, and no commit of anybody else:
//! what those commits said of membership still *testifies* (`FORMAT.md`, "What a fork takes back").
//! So membership only grows, and nobody is silenced by what another did.
//!
//! **What is a policy of arrival** is never part of the verdict: how far a clock may jump at once,
//! and how much testimony is taken from one writer who forked ([`Judge::hold_back`],
//! [`Judge::takes_testimony`]). What was taken in under a policy is never judged by it again.

mod memory;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uor_index_format::chain::{Chain, History, Peaks};
use uor_index_format::codec::hex;
use uor_index_format::commit::{Commit, CommitHeader, ForkProof, LEARNED_MAX};
use uor_index_format::id::{CommitHash, FederationId, FederationState, LogSeq, SiteId};
use uor_index_format::membership::{Admission, Genesis};
use uor_index_format::record::Content;
use uor_index_format::snapshot::{DOMAINS_MAX, Frontier, Head};

pub(crate) use self::memory::Memory;
use crate::state::error::ReadError;

/// So many sites are admitted by the commits of one member; what it says of more admits nobody. One
/// member's word alone can then not make a frontier that nobody can carry.
pub const ADMISSIONS_MAX: usize = 1024;
/// So many commits of one member that admit nobody but sites it admitted before are remembered.
/// They matter only to a site that knows no other admission of its own.
pub const READMISSIONS_MAX: usize = 64;
/// So many membership commits a writer can name in all its commits together: its view of membership
/// is hashed whenever it changes, so it has to have an end.
pub const KNOWN_MAX: usize = 1 << 16;
/// So many commits are taken in from beyond the point where their writer forked its log, for what
/// they say of membership: as many as it takes to hear of every site that one member may have
/// admitted, in whatever order they come.
pub const TESTIMONY_MAX: usize = ADMISSIONS_MAX + READMISSIONS_MAX;

/// What becomes of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is the next of its domain and counts.
    Counts,
    /// It is here already.
    Known,
    /// It does not count, since its writer forked its log there or before; whom it admits is a
    /// member all the same.
    Testifies,
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
    #[error(
        "its writer's admission is not here, nor is membership commit {commit}, which the writer knew"
    )]
    Membership {
        /// The first commit it names that is missing.
        commit: CommitHash,
    },
    /// Its clock is too far ahead of everything seen: a poisoned clock must not poison everyone's.
    #[error("its logseq {logseq} is more than {jump_max} above {seen}, the highest seen here")]
    ClockJump {
        /// The commit's logseq.
        logseq: LogSeq,
        /// The highest logseq seen here.
        seen: LogSeq,
        /// How far above it a commit may be at present.
        jump_max: u64,
    },
    /// The admission of a writer that forked its log, whose word on membership it would be.
    #[error("its writer forked its log, and it is not known here that it was ever admitted")]
    Admission,
    /// There are as many domains as a frontier can carry.
    #[error("{DOMAINS_MAX} sites have written, which is as many as a frontier can name")]
    Full,
}

/// Why a commit can never count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It does not continue the chain, though its number is next.
    #[error("it names {named}; that is {}", hex(.expected.as_bytes()))]
    Chain {
        /// What it names.
        named: History,
        /// What the next commit of the domain has to name, if it does so in the same way.
        expected: History,
    },
    /// Its logseq does not rise.
    #[error("its logseq {logseq} is not above {before}")]
    LogSeq {
        /// The commit's logseq.
        logseq: LogSeq,
        /// Where it had to lie above: its domain's last commit, or for a first commit the
        /// admission.
        before: LogSeq,
    },
    /// The membership digest does not belong to the membership commits it names.
    #[error("its federation state {named} is not the digest of the membership commits it knew")]
    FederationState {
        /// The digest it names.
        named: FederationState,
    },
    /// Its writer names more membership commits than there can be.
    #[error("its writer names {known} membership commits, which is more than {KNOWN_MAX}")]
    Known {
        /// How many it would have named with this commit.
        known: usize,
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
pub trait Past {
    /// The header of commit `number` of `domain`.
    ///
    /// # Errors
    /// [`ReadError`] if it is there and cannot be read.
    fn header(&self, domain: &SiteId, number: u64) -> Result<Option<CommitHeader>, ReadError>;
}

/// None: the judge remembers everything.
impl Past for () {
    fn header(&self, _: &SiteId, _: u64) -> Result<Option<CommitHeader>, ReadError> {
        Ok(None)
    }
}

/// What is known of one domain.
#[derive(Debug, Clone)]
struct Domain {
    last: Option<CommitHeader>,
    /// The commits before `last`. `None` once a fork took some of them back: nothing continues the
    /// rest.
    before: Option<Peaks>,
    /// The last commits, up to `last`, that `Past` may not hold yet.
    recent: Vec<CommitHeader>,
    /// The membership commits its writer knows.
    knows: BTreeSet<CommitHash>,
    /// The digest of `knows`.
    federation: FederationState,
    /// The sites its commits admit, [`ADMISSIONS_MAX`] at most.
    admitted: BTreeSet<SiteId>,
    /// How many of its commits admit nobody new.
    readmissions: usize,
    /// How many commits from beyond a fork testify.
    testimony: usize,
}

/// What a commit says of membership, as far as its writer is listened to.
struct Said<'a> {
    genesis: Option<&'a Genesis>,
    /// The sites in its admissions that are admitted.
    admitted: BTreeSet<SiteId>,
    /// Whether no commit of its domain said all of it before.
    is_news: bool,
    /// Whether it is remembered.
    is_heard: bool,
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
    /// Shared with whoever looks, and copied when it changes, which is seldom.
    memberships: Arc<Memberships>,
    /// Of each site, the lowest logseq of a commit that admits it.
    members: BTreeMap<SiteId, LogSeq>,
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

    /// The highest logseq of all commits that count.
    pub const fn logseq_max(&self) -> LogSeq {
        self.logseq_max
    }

    /// The last commit of `domain` that counts.
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

    /// The last commits that count, by domain.
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

    /// Judges a commit against everything that is here so far.
    ///
    /// # Errors
    /// [`ReadError`] if what `past` holds cannot be read.
    pub fn judge(&self, commit: &Commit, past: &dyn Past) -> Result<Verdict, ReadError> {
        match self.verdict(commit, past) {
            Ok(()) => Ok(Verdict::Counts),
            Err(Not::Counted(verdict)) => Ok(verdict),
            Err(Not::Readable(error)) => Err(error),
        }
    }

    fn verdict(&self, commit: &Commit, past: &dyn Past) -> Result<(), Not> {
        self.check_chain(commit, past)?;
        self.check_membership_view(commit)?;
        self.check_writer(commit)?;
        Ok(self.check_membership_records(commit)?)
    }

    fn check_chain(&self, commit: &Commit, past: &dyn Past) -> Result<(), Not> {
        let (header, hash) = (commit.header(), commit.hash());
        if let Some(known) = self.header(&header.domain, header.number, past)? {
            if known.hash() == hash {
                return Err(Verdict::Known.into());
            }
            let proof = ForkProof::new(known, header.clone());
            return Err(proof
                .map_or(Verdict::Known, |proof| Verdict::Forks(Box::new(proof)))
                .into());
        }
        if let Some(proof) = self
            .forks
            .get(&header.domain)
            .filter(|proof| proof.number() <= header.number)
        {
            return Err(self.testimony(commit, proof).into());
        }
        let domain = self.domains.get(&header.domain);
        let last = domain.and_then(|domain| domain.last.as_ref());
        let next = last.map_or(1, |last| last.number + 1);
        if header.number > next {
            return Err(Verdict::Parked(Parked::Gap { next }).into());
        }
        let Some(chain) = domain.map_or_else(|| Some(Chain::default()), Domain::chain) else {
            return Err(Verdict::Refused(Refusal::Frozen { number: next }).into());
        };
        let expected = chain.history_like(&header.history);
        if header.history != expected {
            let named = header.history;
            return Err(Verdict::Refused(Refusal::Chain { named, expected }).into());
        }
        match last {
            Some(last) if header.logseq <= last.logseq => Err(Verdict::Refused(Refusal::LogSeq {
                logseq: header.logseq,
                before: last.logseq,
            })
            .into()),
            _ => Ok(()),
        }
    }

    /// What a commit amounts to whose writer is proven to have forked its log at its number or
    /// below: its word on membership, if its writer was a member by then. Neither its chain nor
    /// what it knew matters for that.
    fn testimony(&self, commit: &Commit, proof: &ForkProof) -> Verdict {
        let header = commit.header();
        if self.memberships.contains_key(&commit.hash()) {
            return Verdict::Known;
        }
        let admitted = self
            .members
            .get(&header.domain)
            .is_some_and(|before| *before < header.logseq);
        if !commit.is_membership() || self.check_membership_records(commit).is_err() {
            return Verdict::Refused(Refusal::Frozen {
                number: proof.number(),
            });
        }
        let may_testify = self.is_founding(commit) || admitted;
        if may_testify {
            Verdict::Testifies
        } else {
            Verdict::Parked(Parked::Admission)
        }
    }

    /// The membership commits the writer knew have to give the digest it signed; which of them are
    /// here does not matter.
    fn check_membership_view(&self, commit: &Commit) -> Result<(), Verdict> {
        let header = commit.header();
        let (nothing, none) = (BTreeSet::new(), FederationState::of([]));
        let domain = self.domains.get(&header.domain);
        let (knows, before) = domain.map_or((&nothing, none), |domain| {
            (&domain.knows, domain.federation)
        });
        let learned = commit.learned();
        let known = knows.len() + learned.iter().filter(|hash| !knows.contains(*hash)).count();
        if known + usize::from(commit.is_membership()) > KNOWN_MAX {
            return Err(Verdict::Refused(Refusal::Known { known }));
        }
        let federation = match learned {
            [] => before,
            learned => FederationState::of(knows.union(&learned.iter().copied().collect())),
        };
        if federation == header.federation {
            Ok(())
        } else {
            Err(Verdict::Refused(Refusal::FederationState {
                named: header.federation,
            }))
        }
    }

    /// One of the membership commits that a first commit names has to have admitted its writer,
    /// below it. Whoever has written a commit that counts may write the next: an admission is never
    /// taken back.
    fn check_writer(&self, commit: &Commit) -> Result<(), Verdict> {
        let header = commit.header();
        if header.number > 1 || self.is_founding(commit) {
            return Ok(());
        }
        let admitted = commit
            .learned()
            .iter()
            .filter_map(|hash| self.memberships.get(hash));
        let admitted = admitted.filter(|membership| membership.members.contains(&header.domain));
        let admitted = admitted.map(|membership| membership.logseq).min();
        if admitted.is_some_and(|before| before < header.logseq) {
            return Ok(());
        }
        if let Some(missing) = commit
            .learned()
            .iter()
            .find(|hash| !self.memberships.contains_key(*hash))
        {
            return Err(Verdict::Parked(Parked::Membership { commit: *missing }));
        }
        let refusal = admitted.map_or(Refusal::NotAMember, |before| Refusal::LogSeq {
            logseq: header.logseq,
            before,
        });
        Err(Verdict::Refused(refusal))
    }

    fn is_founding(&self, commit: &Commit) -> bool {
        let founds = |genesis: &Genesis| {
            genesis.founder == commit.header().domain && genesis.federation_id() == self.federation
        };
        commit.header().number == 1
            && commit.records().iter().any(
                |record| matches!(record.content(), Content::Genesis(genesis) if founds(genesis)),
            )
    }

    fn check_membership_records(&self, commit: &Commit) -> Result<(), Verdict> {
        let belongs = commit
            .records()
            .iter()
            .all(|record| match record.content() {
                Content::Genesis(genesis) => {
                    genesis.federation_id() == self.federation && self.is_founding(commit)
                }
                Content::Admission(admission) => admission.federation == self.federation,
                _ => true,
            });
        if belongs {
            Ok(())
        } else {
            Err(Verdict::Refused(Refusal::ForeignMembership))
        }
    }

    /// Why a commit that counts is not taken in yet, when it arrives: a policy of this site, and no
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

    /// Takes in a commit that [`Verdict::Counts`].
    pub fn admit(&mut self, commit: &Commit) {
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
            .expect("a commit that counts is behind none that was taken back");
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

    /// Takes in a proof of a fork: commits of its domain from its number on no longer count.
    /// Returns whether that is news.
    ///
    /// # Errors
    /// [`ReadError`] if the last commit that still counts cannot be read from `past`; nothing is
    /// changed then.
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

impl Domain {
    fn new() -> Self {
        Self {
            last: None,
            before: Some(Peaks::default()),
            recent: Vec::new(),
            knows: BTreeSet::new(),
            federation: FederationState::of([]),
            admitted: BTreeSet::new(),
            readmissions: 0,
            testimony: 0,
        }
    }

    /// All its commits; `None` once some were taken back.
    fn chain(&self) -> Option<Chain> {
        let before = self.before.clone()?;
        Some(match &self.last {
            None => Chain::default(),
            Some(last) => Chain::ending(before, last.hash()),
        })
    }

    /// What a further commit of this domain says of membership.
    fn listen<'a>(&self, commit: &'a Commit) -> Said<'a> {
        let mut said = Said {
            genesis: None,
            admitted: BTreeSet::new(),
            is_news: false,
            is_heard: false,
        };
        let mut room = ADMISSIONS_MAX.saturating_sub(self.admitted.len());
        for record in commit.records() {
            match record.content() {
                Content::Genesis(genesis) => (said.genesis, said.is_news) = (Some(genesis), true),
                Content::Admission(Admission { site, .. }) => {
                    let is_new = !self.admitted.contains(site);
                    if is_new && room == 0 {
                        continue;
                    }
                    room -= usize::from(is_new);
                    said.is_news |= is_new;
                    said.admitted.insert(*site);
                }
                _ => {}
            }
        }
        said.is_heard =
            said.is_news || !said.admitted.is_empty() && self.readmissions < READMISSIONS_MAX;
        said
    }
}
