//! What a validator remembers, as a checkpoint keeps it: `FORMAT.md`, "Checkpoint".

use std::collections::BTreeSet;
use std::sync::Arc;

use rkyv::{Archive, Deserialize, Serialize};
use uor_index_format::DecodeError;
use uor_index_format::chain::{History, Peaks};
use uor_index_format::codec::Reader;
use uor_index_format::commit::{CommitHeader, ForkProof};
use uor_index_format::id::{CommitHash, FederationId, FederationState, LogSeq, SiteId};
use uor_index_format::membership::Genesis;

use super::domain::Domain;
use super::{CommitValidator, Membership, Memberships};

/// What a validator remembers, as a checkpoint keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub(crate) struct Memory {
    genesis: Option<Vec<u8>>,
    domains: Vec<DomainMemory>,
    memberships: Vec<MembershipMemory>,
    forks: Vec<Vec<u8>>,
    logseq_max: u64,
}

/// What is known of one domain.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
struct DomainMemory {
    site: [u8; 32],
    /// The header of the last accepted commit.
    last: Option<Vec<u8>>,
    /// The peaks of the commits before it. `None` if a fork took commits back.
    peaks: Option<Vec<[u8; 32]>>,
    /// The membership commits its writer knows.
    knows: Vec<[u8; 32]>,
    /// Whom its commits admitted.
    admitted: Vec<[u8; 32]>,
    /// How many of its commits admit nobody new, and how many from beyond a fork testify.
    readmissions: u64,
    testimony: u64,
}

/// A membership commit.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
struct MembershipMemory {
    hash: [u8; 32],
    domain: [u8; 32],
    number: u64,
    logseq: u64,
    members: Vec<[u8; 32]>,
    is_news: bool,
}

impl CommitValidator {
    /// What it remembers; commits before each domain's last are history's affair.
    pub(crate) fn memory(&self) -> Memory {
        let sites =
            |sites: &mut dyn Iterator<Item = &SiteId>| sites.map(|site| *site.as_bytes()).collect();
        let domain = |(site, domain): (&SiteId, &Domain)| DomainMemory {
            site: *site.as_bytes(),
            last: domain.last.as_ref().map(CommitHeader::encode),
            peaks: domain.before.as_ref().map(|peaks| peaks.digests().to_vec()),
            knows: domain.knows.iter().map(|hash| *hash.as_bytes()).collect(),
            admitted: sites(&mut domain.admitted.iter()),
            readmissions: domain.readmissions as u64,
            testimony: domain.testimony as u64,
        };
        let membership = |(hash, membership): (&CommitHash, &Membership)| MembershipMemory {
            hash: *hash.as_bytes(),
            domain: *membership.domain.as_bytes(),
            number: membership.number,
            logseq: membership.logseq.0,
            members: sites(&mut membership.members.iter()),
            is_news: membership.is_news,
        };
        Memory {
            genesis: self.genesis.as_ref().map(Genesis::encode),
            domains: self.domains.iter().map(domain).collect(),
            memberships: self.memberships.iter().map(membership).collect(),
            forks: self.forks.values().map(ForkProof::encode).collect(),
            logseq_max: self.logseq_max.0,
        }
    }

    /// The validator that remembered this.
    ///
    /// # Errors
    /// [`DecodeError`] if a part of it cannot be one.
    pub(crate) fn remembering(
        federation: FederationId,
        memory: &Memory,
    ) -> Result<Self, DecodeError> {
        let mut validator = Self::new(federation);
        validator.genesis = memory.genesis.as_deref().map(Genesis::decode).transpose()?;
        for domain in &memory.domains {
            validator
                .domains
                .insert(SiteId::from_bytes(domain.site), domain.remembered()?);
        }
        let mut memberships = Memberships::new();
        for MembershipMemory {
            hash,
            domain,
            number,
            logseq,
            members,
            is_news,
        } in &memory.memberships
        {
            let (domain, logseq, members) = (
                SiteId::from_bytes(*domain),
                LogSeq(*logseq),
                sites(members).collect(),
            );
            let membership = Membership {
                domain,
                number: *number,
                logseq,
                members,
                is_news: *is_news,
            };
            for site in &membership.members {
                let before = validator.members.entry(*site).or_insert(logseq);
                *before = logseq.min(*before);
            }
            memberships.insert(CommitHash::from_bytes(*hash), membership);
        }
        validator.memberships = Arc::new(memberships);
        for proof in &memory.forks {
            let proof = ForkProof::decode(proof)?;
            validator.forks.insert(proof.domain(), proof);
        }
        validator.logseq_max = LogSeq(memory.logseq_max);
        validator.check_frozen()?;
        Ok(validator)
    }
}

impl CommitValidator {
    /// Commits are taken back by a proof and by nothing else, and up to where it says.
    fn check_frozen(&self) -> Result<(), DecodeError> {
        let is_right = self.domains.iter().all(|(site, domain)| {
            let len = domain.last.as_ref().map_or(0, |last| last.number);
            match self.forks.get(site).map(ForkProof::number) {
                None => domain.before.is_some(),
                Some(number) => len < number && (domain.before.is_some() || len + 1 == number),
            }
        });
        if is_right {
            Ok(())
        } else {
            Err(Reader::invalid(
                "fork proofs",
                0,
                "they are not those of the domains of which commits were taken back",
            ))
        }
    }
}

impl DomainMemory {
    fn remembered(&self) -> Result<Domain, DecodeError> {
        let knows: BTreeSet<CommitHash> = self
            .knows
            .iter()
            .map(|hash| CommitHash::from_bytes(*hash))
            .collect();
        let last = self.last.as_deref().map(CommitHeader::decode).transpose()?;
        let (before, federation) = (self.before(last.as_ref())?, FederationState::of(&knows));
        if let (Some(last), Some(_)) = (&last, &before)
            && known_by(last, &knows, federation) != last.federation
        {
            let problem = "they are not those that the last commit names";
            return Err(Reader::invalid("known membership commits", 0, problem));
        }
        Ok(Domain {
            before,
            last,
            recent: Vec::new(),
            federation,
            knows,
            admitted: sites(&self.admitted).collect(),
            readmissions: usize::try_from(self.readmissions).unwrap_or(usize::MAX),
            testimony: usize::try_from(self.testimony).unwrap_or(usize::MAX),
        })
    }

    /// The commits before the last. What they are called is held against the header of the last,
    /// which is signed, as far as it says so.
    fn before(&self, last: Option<&CommitHeader>) -> Result<Option<Peaks>, DecodeError> {
        let Some(digests) = &self.peaks else {
            return Ok(None);
        };
        let invalid = |problem| Err(Reader::invalid("chain peaks", 0, problem));
        let len = last.map_or(0, |last| last.number - 1);
        let Some(before) = Peaks::from_parts(len, digests.clone()) else {
            return invalid("they are not as many as its length needs");
        };
        match last.map(|last| last.history) {
            Some(History::Root(signed)) if signed != before.root() => {
                invalid("they are not those of the history that the last commit names")
            }
            _ => Ok(Some(before)),
        }
    }
}

/// The digest of what a writer knew when it wrote its last commit: all that it knows, but for that
/// commit itself.
fn known_by(
    last: &CommitHeader,
    knows: &BTreeSet<CommitHash>,
    federation: FederationState,
) -> FederationState {
    let last = last.hash();
    if knows.contains(&last) {
        FederationState::of(knows.iter().filter(|hash| **hash != last))
    } else {
        federation
    }
}

fn sites(sites: &[[u8; 32]]) -> impl Iterator<Item = SiteId> {
    sites.iter().map(|site| SiteId::from_bytes(*site))
}
