//! What becomes of a commit, and why.

use uor_index_format::chain::History;
use uor_index_format::codec::hex;
use uor_index_format::commit::ForkProof;
use uor_index_format::id::{CommitHash, FederationState, LogSeq};
use uor_index_format::snapshot::DOMAINS_MAX;

use super::KNOWN_MAX;

/// What becomes of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is the next of its domain, and valid.
    Accepted,
    /// It is here already.
    Known,
    /// It is not accepted, since its writer forked its log there or before; whom it admits is a
    /// member all the same.
    Testifies,
    /// It may be accepted later, when what it rests on has arrived.
    Parked(Parked),
    /// It and a commit that is here prove that its writer forked its log.
    Forks(Box<ForkProof>),
    /// It can never be accepted.
    Rejected(Rejection),
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

/// Why a commit can never be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
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
        /// The first number that is not accepted.
        number: u64,
    },
}
