//! What nodes say to each other: announcements, questions and answers of the delta protocol.
//!
//! Questions are small whoever asks, so that what an unknown peer sends costs next to nothing to
//! read. Answers come in pages and parts, each bounded, and only to what was asked for. Frames are
//! laid out by `rkyv` and validated before a field is read; nothing in them is hashed or signed.
//! The commits, proofs and digests they carry are the hand-laid bytes of the other modules, and are
//! validated there.

#![expect(
    missing_docs,
    reason = "rkyv derives archived twins of the enums without documentation"
)]

use rkyv::rancor::Error;
use rkyv::{Archive, Deserialize, Serialize};

use crate::id::{SiteId, context};

/// The newest version of the delta protocol this release speaks; it is the first byte of every
/// frame.
pub const PROTOCOL_VERSION: u8 = 2;
/// Most bytes of commits in one delta. A single larger commit travels alone.
pub const DELTA_LEN_MAX: u64 = 4 << 20;
/// Most bytes of payload in one part.
pub const PART_LEN_MAX: u64 = 1 << 20;
/// Largest frame: the largest commit and its surroundings.
pub const FRAME_LEN_MAX: usize = (crate::commit::BODY_LEN_MAX as usize) + (1 << 16);
/// Most bytes of a question.
pub const REQUEST_LEN_MAX: usize = 4096;
/// Most bytes of an announcement.
pub const ANNOUNCEMENT_LEN_MAX: usize = 1000;
/// Most heads in one page of a frontier.
pub const HEADS_MAX: usize = 4096;
/// Most frozen domains in one page of them.
pub const FORKS_MAX: usize = 4096;
/// Most fork proofs that one question asks for.
pub const PROOFS_MAX: usize = 64;
/// Most sites whose admission one question asks for.
pub const TESTIMONY_SITES_MAX: usize = 64;
/// Most addresses told with one page of a frontier.
pub const CONTACTS_MAX: usize = 64;

/// Announces the newest commit of the sender's own domain to a member. It may be lost, and nothing
/// rests on it.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Announcement {
    /// The federation.
    pub federation: [u8; 32],
    /// The domain that has grown.
    pub domain: [u8; 32],
    /// Number of its newest commit.
    pub number: u64,
    /// Hash of that commit.
    pub hash: [u8; 32],
    /// Lamport time of that commit.
    pub logseq: u64,
    /// The snapshot the sender stands at.
    pub snapshot: [u8; 32],
    /// Its state root there.
    pub state_root: [u8; 32],
}

/// One domain of a frontier.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct WireHead {
    /// The domain.
    pub domain: [u8; 32],
    /// Number of its last commit.
    pub number: u64,
    /// Hash of that commit.
    pub hash: [u8; 32],
}

/// Where a site may be reached. A hint: whoever answers there still has to prove its key.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Contact {
    /// The site.
    pub site: [u8; 32],
    /// A multiaddress.
    pub address: String,
}

/// A domain that a proof has frozen.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct WireFork {
    /// The domain.
    pub domain: [u8; 32],
    /// The number at which its writer is proven to have forked its log.
    pub number: u64,
}

/// Where a node stands, in short: equal positions need no further word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Position {
    /// The snapshot of everything it includes.
    pub snapshot: [u8; 32],
    /// The highest logseq it includes.
    pub logseq_max: u64,
    /// Its state root.
    pub state_root: [u8; 32],
    /// Digest of the domains it knows to be forked: [`fork_set`].
    pub forks: [u8; 32],
}

impl Position {
    /// What is said to a peer that is not known to be a member: nothing.
    pub const NONE: Self = Self {
        snapshot: [0; 32],
        logseq_max: 0,
        state_root: [0; 32],
        forks: [0; 32],
    };
}

/// Digest of a set of frozen domains, each with the number it is frozen at, ascending by domain.
/// Which of several proofs of one fork a site holds makes no difference to it.
pub fn fork_set(forks: impl Iterator<Item = (SiteId, u64)>) -> [u8; 32] {
    let mut hasher = context::FORK_SET.hasher();
    for (domain, number) in forks {
        hasher
            .update(domain.as_bytes())
            .update(&number.to_le_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Request {
    /// "This is where I stand; where do you?" The first question on every connection, and one for
    /// each further page.
    Frontier {
        /// The asker's federation.
        federation: [u8; 32],
        /// The asker's position.
        position: Position,
        /// The last domain of the page before; `None` for the first page.
        after: Option<[u8; 32]>,
    },
    /// "Which domains are frozen?"
    Forks {
        /// The federation.
        federation: [u8; 32],
        /// The last domain of the page before; `None` for the first page.
        after: Option<[u8; 32]>,
    },
    /// "Prove that these forked their logs."
    Proofs {
        /// The federation.
        federation: [u8; 32],
        /// At most [`PROOFS_MAX`] domains.
        domains: Vec<[u8; 32]>,
    },
    /// "How did these become members?" Asked about sites that have written, and of whose admission
    /// nothing is known.
    Testimony {
        /// The federation.
        federation: [u8; 32],
        /// At most [`TESTIMONY_SITES_MAX`] sites.
        sites: Vec<[u8; 32]>,
    },
    /// "Commits of this domain after this one."
    Delta {
        /// The federation.
        federation: [u8; 32],
        /// The domain.
        domain: [u8; 32],
        /// Number of the last commit the asker has.
        after: u64,
        /// Hash of that commit; zero for none.
        after_hash: [u8; 32],
    },
    /// "These bytes of this payload."
    Payload {
        /// The federation.
        federation: [u8; 32],
        /// Checksum of the payload.
        checksum: [u8; 32],
        /// First byte wanted.
        offset: u64,
        /// Most bytes wanted.
        len_max: u64,
    },
    /// "This member vouches for me": an auditor reads with a key of its own, until the word expires
    /// or the connection ends.
    Read {
        /// The federation.
        federation: [u8; 32],
        /// The member that vouches.
        member: [u8; 32],
        /// When its word expires, in milliseconds since 1970.
        expires_ms: u64,
        /// Its signature over federation, asker and expiry.
        signature: [u8; 64],
    },
    /// "Admit me": beside showing a credential, the only question of a stranger that is answered.
    Join {
        /// The federation on the ticket.
        federation: [u8; 32],
        /// The ticket's secret.
        token: [u8; 16],
        /// The asker's name for itself.
        name: String,
    },
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Response {
    /// To [`Request::Frontier`].
    Frontier {
        /// The answerer's position.
        position: Position,
        /// Heads of its domains after the one that was named, ascending by domain, at most
        /// [`HEADS_MAX`]; none if the asker stands at the same snapshot.
        heads: Vec<WireHead>,
        /// Whether there are more heads after these.
        has_more: bool,
        /// Where it and the sites it knows may be reached; with the first page.
        contacts: Vec<Contact>,
    },
    /// To [`Request::Forks`].
    Forks {
        /// Frozen domains after the one that was named, ascending, at most [`FORKS_MAX`].
        forks: Vec<WireFork>,
        /// Whether there are more.
        has_more: bool,
    },
    /// To [`Request::Proofs`].
    Proofs {
        /// Encoded fork proofs: those of the named domains that the answerer has.
        proofs: Vec<Vec<u8>>,
    },
    /// To [`Request::Testimony`].
    Testimony {
        /// Encoded membership commits that are not accepted, each after what it rests on, of
        /// [`DELTA_LEN_MAX`] in total; a single larger one travels alone.
        commits: Vec<Vec<u8>>,
    },
    /// To [`Request::Delta`]: encoded commits in ascending number.
    Delta {
        /// The commits.
        commits: Vec<Vec<u8>>,
        /// How many commits follow these.
        commits_left: u64,
    },
    /// To [`Request::Payload`].
    Payload {
        /// Length of the whole payload.
        total_len: u64,
        /// The bytes from the offset that was asked for.
        bytes: Vec<u8>,
    },
    /// To [`Request::Join`]: the asker is a member now, by this commit of this domain.
    Admitted {
        /// The domain that admits.
        domain: [u8; 32],
        /// Hash of the commit.
        commit: [u8; 32],
    },
    /// To [`Request::Read`]: ask on.
    Welcome,
    /// The question is not answered.
    Refused {
        /// Why.
        reason: Refusal,
    },
}

impl Response {
    /// The question is not answered.
    pub const fn refused(reason: Refusal) -> Self {
        Self::Refused { reason }
    }
}

/// Why a question is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// All that is ever said to a stranger: not whether the federation is another, the ticket
    /// unknown or used, the credential expired, or the question malformed.
    #[error("it does not let this site in")]
    NotAdmitted,
    /// The answerer does not have what was asked for.
    #[error("it does not have that")]
    NotHere,
    /// The answerer's log differs from the asker's at the commit that was named.
    #[error("its log of that domain is a different one")]
    Forked,
    /// The question could not be understood.
    #[error("it did not understand the question")]
    Malformed,
    /// The answerer failed.
    #[error("it failed to answer; its own log says why")]
    Failed,
}

/// Why a frame was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The sender speaks another protocol version.
    #[error(
        "the frame is of protocol version {found}; this release speaks version {PROTOCOL_VERSION}: run the same release at \
         both ends"
    )]
    Version {
        /// Version found.
        found: u8,
    },
    /// The frame is longer than any valid one.
    #[error("the frame has {len} bytes, above the limit of {max}")]
    TooLong {
        /// Its length.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// It is not a valid frame.
    #[error("the frame is malformed")]
    Malformed,
}

macro_rules! frames {
    ($($name:ident up to $max:expr;)*) => {$(
        impl $name {
            /// The frame.
            pub fn encode(&self) -> Vec<u8> {
                let mut frame = vec![PROTOCOL_VERSION];
                // Serialising to memory cannot fail for these types; an empty body would be refused
                // by the receiver.
                frame.extend_from_slice(&rkyv::to_bytes::<Error>(self).unwrap_or_default());
                frame
            }

            /// Validates and reads a frame.
            pub fn decode(frame: &[u8]) -> Result<Self, FrameError> {
                if frame.len() > $max {
                    return Err(FrameError::TooLong { len: frame.len(), max: $max });
                }
                let (&found, body) = frame.split_first().ok_or(FrameError::Malformed)?;
                if found != PROTOCOL_VERSION {
                    return Err(FrameError::Version { found });
                }
                let mut aligned = rkyv::util::AlignedVec::<16>::with_capacity(body.len());
                aligned.extend_from_slice(body);
                rkyv::from_bytes::<Self, Error>(&aligned).map_err(|_| FrameError::Malformed)
            }
        }
    )*};
}

frames! {
    Announcement up to ANNOUNCEMENT_LEN_MAX;
    Request up to REQUEST_LEN_MAX;
    Response up to FRAME_LEN_MAX;
}
