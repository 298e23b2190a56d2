//! What nodes say to each other: doorbells by gossip, questions and answers of the delta protocol.
//!
//! Frames are laid out by `rkyv` and validated before a field is read; nothing in them is hashed or signed. The commits,
//! proofs and digests they carry are the hand-laid bytes of the other modules, and are judged there.

#![expect(missing_docs, reason = "rkyv derives archived twins of the enums without documentation")]

use rkyv::rancor::Error;
use rkyv::{Archive, Deserialize, Serialize};

/// The newest version of the delta protocol this release speaks; it is the first byte of every frame.
pub const PROTOCOL_VERSION: u8 = 1;
/// Most bytes of commits in one delta. A single larger commit travels alone.
pub const DELTA_LEN_MAX: u64 = 4 << 20;
/// Most bytes of payload in one part.
pub const PART_LEN_MAX: u64 = 1 << 20;
/// Largest frame: the largest commit and its surroundings.
pub const FRAME_LEN_MAX: usize = (crate::commit::BODY_LEN_MAX as usize) + (1 << 16);
/// Most bytes of a doorbell, so that gossip never has to split or drop it.
pub const DOORBELL_LEN_MAX: usize = 1000;

/// Announces the newest commit of the sender's own domain. Gossip is a doorbell: it may be lost, and nothing rests on it.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Doorbell {
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

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Request {
    /// "This is how far I am; how far are you?" The first question on every connection.
    Frontier {
        /// The asker's federation.
        federation: [u8; 32],
        /// The asker's position.
        position: Position,
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
    /// "This member vouches for me": an auditor reads with a key of its own. Holds as long as the connection.
    Read {
        /// The federation.
        federation: [u8; 32],
        /// The member that vouches.
        member: [u8; 32],
        /// Its signature over federation and asker.
        signature: [u8; 64],
    },
    /// "Admit me": beside showing a credential, the only question a stranger may ask.
    Join {
        /// The federation on the ticket.
        federation: [u8; 32],
        /// The ticket's secret.
        token: [u8; 16],
        /// The asker's name for itself.
        name: String,
    },
}

/// Where a node stands.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Position {
    /// Its frontier, ascending by domain.
    pub heads: Vec<WireHead>,
    /// The highest logseq it includes.
    pub logseq_max: u64,
    /// Its state root.
    pub state_root: [u8; 32],
    /// Encoded fork proofs it holds.
    pub fork_proofs: Vec<Vec<u8>>,
    /// Where it and the sites it knows may be reached.
    pub contacts: Vec<Contact>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Response {
    /// To [`Request::Frontier`].
    Frontier {
        /// The answerer's position.
        position: Position,
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
    /// The question cannot be answered.
    Refused {
        /// Why.
        reason: Refusal,
    },
}

/// Why a question is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The asker belongs to another federation.
    #[error("it belongs to another federation")]
    OtherFederation,
    /// The asker is not a member.
    #[error("this site is not a member of the federation")]
    NotAMember,
    /// The answerer does not have what was asked for.
    #[error("it does not have that")]
    NotHere,
    /// The answerer's log differs from the asker's at the commit that was named.
    #[error("its log of that domain is a different one")]
    Forked,
    /// The ticket is unknown, or was used before.
    #[error("the ticket is unknown or was used before: ask for a new one")]
    TicketUnknown,
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
    #[error("the frame is of protocol version {found}; this release speaks version {PROTOCOL_VERSION}")]
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
                // Serialising to memory cannot fail for these types; an empty body would be refused by the receiver.
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
    Doorbell up to DOORBELL_LEN_MAX;
    Request up to FRAME_LEN_MAX;
    Response up to FRAME_LEN_MAX;
}
