//! What a judge remembers, as a checkpoint keeps it: `FORMAT.md`, "Checkpoint".

use std::collections::BTreeSet;
use std::sync::Arc;

use rkyv::{Archive, Deserialize, Serialize};
use uor_index_format::DecodeError;
use uor_index_format::chain::Chain;
use uor_index_format::codec::Reader;
use uor_index_format::commit::{CommitHeader, ForkProof};
use uor_index_format::id::{CommitHash, FederationId, FederationState, LogSeq, SiteId};
use uor_index_format::membership::Genesis;

use super::{Domain, Judge, Membership, Memberships};

/// What a judge remembers, as a checkpoint keeps it.
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
    /// The header of the last commit that counts.
    last: Option<Vec<u8>>,
    /// The peaks of the chain up to it. `None` if a fork took commits back.
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

impl Judge {
    /// What it remembers; commits before each domain's last are history's affair.
    pub(crate) fn memory(&self) -> Memory {
        let sites =
            |sites: &mut dyn Iterator<Item = &SiteId>| sites.map(|site| *site.as_bytes()).collect();
        let domain = |(site, domain): (&SiteId, &Domain)| DomainMemory {
            site: *site.as_bytes(),
            last: domain.last.as_ref().map(CommitHeader::encode),
            peaks: domain.chain.as_ref().map(|chain| chain.peaks().to_vec()),
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

    /// The judge that remembered this.
    ///
    /// # Errors
    /// [`DecodeError`] if a part of it cannot be one.
    pub(crate) fn remembering(
        federation: FederationId,
        memory: &Memory,
    ) -> Result<Self, DecodeError> {
        let mut judge = Self::new(federation);
        judge.genesis = memory.genesis.as_deref().map(Genesis::decode).transpose()?;
        for domain in &memory.domains {
            judge
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
                let before = judge.members.entry(*site).or_insert(logseq);
                *before = logseq.min(*before);
            }
            memberships.insert(CommitHash::from_bytes(*hash), membership);
        }
        judge.memberships = Arc::new(memberships);
        for proof in &memory.forks {
            let proof = ForkProof::decode(proof)?;
            judge.forks.insert(proof.domain(), proof);
        }
        judge.logseq_max = LogSeq(memory.logseq_max);
        Ok(judge)
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
        Ok(Domain {
            chain: self.chain(last.as_ref())?,
            last,
            recent: Vec::new(),
            federation: FederationState::of(&knows),
            knows,
            admitted: sites(&self.admitted).collect(),
            readmissions: usize::try_from(self.readmissions).unwrap_or(usize::MAX),
            testimony: usize::try_from(self.testimony).unwrap_or(usize::MAX),
        })
    }

    fn chain(&self, last: Option<&CommitHeader>) -> Result<Option<Chain>, DecodeError> {
        let Some(peaks) = &self.peaks else {
            return Ok(None);
        };
        let (len, hash) = last.map_or((0, CommitHash::NONE), |last| (last.number, last.hash()));
        match Chain::from_parts(len, hash, peaks.clone()) {
            Some(chain) => Ok(Some(chain)),
            None => Err(Reader::invalid(
                "chain peaks",
                0,
                "they are not as many as its length needs",
            )),
        }
    }
}

fn sites(sites: &[[u8; 32]]) -> impl Iterator<Item = SiteId> {
    sites.iter().map(|site| SiteId::from_bytes(*site))
}
