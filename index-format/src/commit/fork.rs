//! Proof that a writer forked its log.

use super::CommitHeader;
use crate::codec::{DecodeError, Reader};
use crate::id::{CommitHash, SiteId};

/// Two signed headers of one domain with one number: proof that its writer forked its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForkProof {
    first: CommitHeader,
    second: CommitHeader,
}

impl ForkProof {
    /// Pairs two headers, in ascending order of hash, if they prove a fork.
    pub fn new(one: CommitHeader, other: CommitHeader) -> Option<Self> {
        let proves =
            one.domain == other.domain && one.number == other.number && one.hash() != other.hash();
        let (first, second) = if one.hash() < other.hash() {
            (one, other)
        } else {
            (other, one)
        };
        proves.then_some(Self { first, second })
    }

    /// Whose log is forked.
    pub const fn domain(&self) -> SiteId {
        self.first.domain
    }

    /// The number of the first two commits that are known to differ.
    pub const fn number(&self) -> u64 {
        self.first.number
    }

    /// The two commits, ascending by hash.
    pub fn hashes(&self) -> [CommitHash; 2] {
        [self.first.hash(), self.second.hash()]
    }

    /// The bytes: both headers.
    pub fn encode(&self) -> Vec<u8> {
        [self.first.encode(), self.second.encode()].concat()
    }

    /// Reads a proof and checks both signatures.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let first = CommitHeader::read(&mut reader)?;
        let second = CommitHeader::read(&mut reader)?;
        reader.finish("fork proof")?;
        if first.hash() >= second.hash() {
            return Err(Reader::invalid(
                "fork proof",
                0,
                "the headers are not in ascending order of hash",
            ));
        }
        Self::new(first, second).ok_or(Reader::invalid(
            "fork proof",
            0,
            "the two headers do not contradict each other",
        ))
    }
}
