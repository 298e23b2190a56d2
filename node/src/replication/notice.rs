//! What the people who run a node should hear of.

use uor_index_format::id::{Checksum, SiteId, StateRoot};

/// Something worth a line in the node's log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// Commits of other sites were applied.
    Applied {
        /// Who sent them.
        peer: SiteId,
        /// How many.
        commits: u64,
    },
    /// This site has caught up with a peer: everything that it had is here.
    CaughtUp {
        /// The peer.
        peer: SiteId,
        /// The highest logseq that is applied from it.
        logseq: u64,
    },
    /// A peer gave commits of this site's own that were not here.
    OwnCommits {
        /// Who sent them.
        peer: SiteId,
        /// How many.
        commits: u64,
    },
    /// A commit can never be accepted.
    Rejected {
        /// Who sent it.
        peer: SiteId,
        /// Whose it is.
        domain: SiteId,
        /// Its number.
        number: u64,
        /// Why.
        reason: String,
    },
    /// A commit waits for something.
    Parked {
        /// Whose it is.
        domain: SiteId,
        /// Its number.
        number: u64,
        /// For what.
        reason: String,
    },
    /// A writer is proven to have forked its log; its domain is frozen.
    Forked {
        /// The writer.
        domain: SiteId,
        /// The first number that is no longer accepted.
        number: u64,
    },
    /// A peer includes the same commits and claims another state: a defect or a lie. Run
    /// `uor-replay diff`.
    Diverged {
        /// The peer.
        peer: SiteId,
        /// The state root here.
        ours: StateRoot,
        /// The state root it claims.
        theirs: StateRoot,
    },
    /// At an address that was given here answers a peer that is no member.
    NoMember {
        /// The peer.
        peer: SiteId,
    },
    /// A peer that is not a member asked for something.
    Stranger {
        /// The peer.
        peer: SiteId,
    },
    /// A peer refused us because it does not know of our admission (yet).
    NotAdmitted {
        /// The peer.
        peer: SiteId,
    },
    /// A peer sent bytes that are no valid message.
    Malformed {
        /// The peer.
        peer: SiteId,
        /// What was wrong.
        problem: String,
    },
    /// A peer sent bytes that are not the payload it was asked for.
    WrongPayload {
        /// The peer.
        peer: SiteId,
        /// The payload's checksum.
        checksum: Checksum,
    },
    /// What a peer asked for cannot be read here: the log is damaged.
    Unreadable {
        /// The peer.
        peer: SiteId,
        /// What is damaged.
        problem: String,
    },
}

/// A kind of notice that peers can cause as often as they like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Provoked {
    /// The kind, in words.
    pub kind: &'static str,
    /// The member that it is counted for: so that what one says hides nothing that another does. Of
    /// what strangers can cause all is counted together, since they have as many keys as they like.
    pub by: Option<SiteId>,
}

impl Notice {
    /// What kind of notice this is, if peers can cause it as often as they like.
    pub const fn provoked(&self) -> Option<Provoked> {
        let (kind, by) = match self {
            Self::Rejected { .. } => ("commits refused", None),
            Self::Parked { .. } => ("commits that wait", None),
            Self::NoMember { .. } => ("peers that are not members", None),
            Self::Stranger { .. } => ("questions of strangers", None),
            Self::NotAdmitted { .. } => ("refusals by peers", None),
            Self::Malformed { .. } => ("malformed messages", None),
            Self::WrongPayload { .. } => ("wrong payloads", None),
            Self::Unreadable { .. } => ("questions that damage left without an answer", None),
            Self::CaughtUp { peer, .. } => ("times caught up", Some(*peer)),
            Self::Diverged { peer, .. } => ("state roots that differ", Some(*peer)),
            // Each costs its author a commit, or a proof that is kept; only this site's own key
            // makes its own.
            Self::Applied { .. } | Self::OwnCommits { .. } | Self::Forked { .. } => return None,
        };
        Some(Provoked { kind, by })
    }
}

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Applied { peer, commits: 1 } => {
                write!(f, "applied 1 commit from {}", peer.short())
            }
            Self::Applied { peer, commits } => {
                write!(f, "applied {commits} commits from {}", peer.short())
            }
            Self::OwnCommits { peer, commits } => {
                write!(
                    f,
                    "took over {commits} of this site's own commits from {}: they were not here",
                    peer.short()
                )
            }
            Self::CaughtUp { peer, logseq } => {
                write!(f, "caught up with {} at logseq {logseq}", peer.short())
            }
            Self::Rejected {
                peer,
                domain,
                number,
                reason,
            } => {
                write!(
                    f,
                    "refused commit {number} of {} from {}: {reason}",
                    domain.short(),
                    peer.short()
                )
            }
            Self::Parked {
                domain,
                number,
                reason,
            } => {
                write!(f, "commit {number} of {} waits: {reason}", domain.short())
            }
            Self::Forked { domain, number } => {
                write!(
                    f,
                    "site {domain} forked its log at commit {number}: its commits from there on do not count"
                )
            }
            Self::Diverged { peer, ours, theirs } => write!(
                f,
                "DIVERGED from {peer}: same commits, but its state root is {theirs}, ours {ours}; run `uor-replay diff`"
            ),
            Self::NoMember { peer } => write!(
                f,
                "{} answers at an address that was given here and is not a member of this federation; nothing is said to it",
                peer.short()
            ),
            Self::Stranger { peer } => write!(
                f,
                "{} is not a member; its question was refused",
                peer.short()
            ),
            Self::NotAdmitted { peer } => {
                write!(f, "{} does not know of our admission yet", peer.short())
            }
            Self::Malformed { peer, problem } => {
                write!(f, "{} sent something malformed: {problem}", peer.short())
            }
            Self::WrongPayload { peer, checksum } => {
                write!(
                    f,
                    "{} sent wrong bytes for payload {checksum}; asking others",
                    peer.short()
                )
            }
            Self::Unreadable { peer, problem } => write!(
                f,
                "DAMAGED: {problem}; {} asked for it and has to ask others. Stop this node, and run `uor recover`",
                peer.short()
            ),
        }
    }
}
