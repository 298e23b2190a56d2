//! The header of a commit: what is hashed and signed.

use std::ops::Range;

use super::{BODY_LEN_MAX, LEARNED_MAX, RECORDS_MAX, RecordProof};
use crate::chain::{Chain, History};
use crate::codec::{DecodeError, Reader, Writer};
use crate::id::{CommitHash, FederationState, HistoryRoot, LogSeq, SiteId, context, derive};
use crate::key::{SIGNATURE_LEN, verify};
use crate::merkle::{Digest, ProofError};
use crate::record::RecordHeader;

pub(super) const MAGIC: [u8; 4] = *b"UORC";
/// Names the commit before it, and signs the plain checksum of its body.
const VERSION_PREVIOUS: u16 = 1;
/// Names the root over all commits before it, and signs a root over its records beside the
/// checksum of its body: what this release writes.
pub(super) const VERSION: u16 = 2;

/// Byte ranges of the header; `FORMAT.md`, "Commit".
pub mod field {
    use super::{Range, SIGNATURE_LEN};

    /// `UORC`.
    pub const MAGIC: Range<usize> = 0..4;
    /// Format version.
    pub const VERSION: Range<usize> = 4..6;
    /// Zero.
    pub const RESERVED: Range<usize> = 6..8;
    /// The writer.
    pub const DOMAIN: Range<usize> = 8..40;
    /// Position in the domain, from 1.
    pub const NUMBER: Range<usize> = 40..48;
    /// Root over the hashes of all commits before; in version 1, hash of the last of them.
    pub const HISTORY: Range<usize> = 48..80;
    /// Lamport time.
    pub const LOGSEQ: Range<usize> = 80..88;
    /// Digest of the membership commits the writer knew.
    pub const FEDERATION: Range<usize> = 88..120;
    /// Milliseconds since 1970 by the writer's clock.
    pub const WALL_MS: Range<usize> = 120..128;
    /// Length of the body.
    pub const BODY_LEN: Range<usize> = 128..132;
    /// Number of membership commits named first in the body.
    pub const LEARNED_COUNT: Range<usize> = 132..136;
    /// Number of records.
    pub const RECORD_COUNT: Range<usize> = 136..140;
    /// Zero.
    pub const RESERVED_2: Range<usize> = 140..144;
    /// Digest of the body's checksum and the root over the records; in version 1, the checksum.
    pub const CONTENT: Range<usize> = 144..176;
    /// Ed25519 over the hash of everything before.
    pub const SIGNATURE: Range<usize> = 176..176 + SIGNATURE_LEN;
    /// Where the body begins.
    pub const HEADER_LEN: usize = SIGNATURE.end;
}
const _: () = assert!(
    field::MAGIC.end == field::VERSION.start
        && field::RESERVED.end == field::DOMAIN.start
        && field::HISTORY.end == field::LOGSEQ.start
        && field::FEDERATION.end == field::WALL_MS.start
        && field::RESERVED_2.end == field::CONTENT.start
        && field::HEADER_LEN == 240,
    "no gap, no padding"
);

/// The signed part of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitHeader {
    /// The log this commit belongs to, and its one writer.
    pub domain: SiteId,
    /// Position in the domain, contiguous from 1.
    pub number: u64,
    /// The commits before it.
    pub history: History,
    /// Lamport time, strictly increasing in a domain.
    pub logseq: LogSeq,
    /// Digest of the membership commits the writer knew; the commit is validated by them.
    pub federation: FederationState,
    /// Milliseconds since 1970 by the writer's clock: for people, never compared.
    pub wall_ms: u64,
    pub(super) body_len: u32,
    pub(super) learned_count: u32,
    pub(super) record_count: u32,
    /// Of the body: its checksum in version 1, the digest of [`Content`](super::content::Content)
    /// in version 2.
    pub(super) content: Digest,
    pub(super) signature: [u8; SIGNATURE_LEN],
}

impl CommitHeader {
    /// Length in bytes.
    pub const LEN: usize = field::HEADER_LEN;

    /// Hash of the header without its signature.
    pub fn hash(&self) -> CommitHash {
        CommitHash::from_bytes(derive(&context::COMMIT, &[&self.signed_part()]))
    }

    /// The bytes: what a fork proof keeps.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.signed_part();
        bytes.extend_from_slice(&self.signature);
        bytes
    }

    /// Length of the whole commit, header included.
    pub const fn commit_len(&self) -> usize {
        Self::LEN + self.body_len as usize
    }

    /// Checks that a record, of which this is the fixed part, is in the commit.
    ///
    /// # Errors
    /// [`ProofError`]; of a commit of version 1, which covers no root, whatever the proof.
    pub fn verify_record(
        &self,
        record: &RecordHeader,
        proof: &RecordProof,
    ) -> Result<(), ProofError> {
        let content = proof.content(record, self.record_count)?;
        match self.history {
            History::Root(_) if content.covered_by(&self.history) == self.content => Ok(()),
            _ => Err(ProofError::Root),
        }
    }

    fn signed_part(&self) -> Vec<u8> {
        let version = match self.history {
            History::Previous(_) => VERSION_PREVIOUS,
            History::Root(_) => VERSION,
        };
        let mut writer = Writer::with_header(MAGIC, version);
        writer
            .u16(0)
            .raw(self.domain.as_bytes())
            .u64(self.number)
            .raw(self.history.as_bytes());
        writer
            .u64(self.logseq.0)
            .raw(self.federation.as_bytes())
            .u64(self.wall_ms);
        writer
            .u32(self.body_len)
            .u32(self.learned_count)
            .u32(self.record_count)
            .u32(0);
        writer.raw(&self.content);
        writer.into_bytes()
    }

    /// Reads a header and checks its signature.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let header = Self::read(&mut reader)?;
        reader.finish("commit header")?;
        Ok(header)
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let version = reader.header("commit", MAGIC, VERSION)?;
        reader.reserved::<2>("commit padding")?;
        let header = Self {
            domain: SiteId::from_bytes(reader.array("commit domain")?),
            number: reader.u64("commit number")?,
            history: {
                let bytes = reader.array("commit history")?;
                if version == VERSION_PREVIOUS {
                    History::Previous(CommitHash::from_bytes(bytes))
                } else {
                    History::Root(HistoryRoot::from_bytes(bytes))
                }
            },
            logseq: LogSeq(reader.u64("commit logseq")?),
            federation: FederationState::from_bytes(reader.array("commit federation state")?),
            wall_ms: reader.u64("commit wall clock")?,
            body_len: bounded(reader, "commit body length", BODY_LEN_MAX)?,
            learned_count: bounded(reader, "commit membership count", LEARNED_MAX)?,
            record_count: bounded(reader, "commit record count", RECORDS_MAX)?,
            content: {
                reader.reserved::<4>("commit padding")?;
                reader.array("commit content")?
            },
            signature: reader.array("commit signature")?,
        };
        header.check()?;
        if !verify(&header.domain, &header.hash(), &header.signature) {
            return Err(Reader::invalid(
                "commit signature",
                field::SIGNATURE.start,
                "it is not the domain's",
            ));
        }
        Ok(header)
    }

    /// What can be said about number, history and logseq without the commits before.
    pub(super) fn check(&self) -> Result<(), DecodeError> {
        let is_first = self.history == Chain::default().history_like(&self.history);
        if self.number == 0 || (self.number == 1) != is_first {
            return Err(Reader::invalid(
                "commit number",
                field::NUMBER.start,
                "commits count from 1, and the first alone has none before it",
            ));
        }
        if self.logseq == LogSeq(0) {
            return Err(Reader::invalid(
                "commit logseq",
                field::LOGSEQ.start,
                "logseq counts from 1",
            ));
        }
        Ok(())
    }
}

fn bounded(reader: &mut Reader<'_>, field: &'static str, max: u32) -> Result<u32, DecodeError> {
    let offset = reader.offset();
    match reader.u32(field)? {
        value if value > max => Err(DecodeError::TooLarge {
            field,
            offset,
            value: value.into(),
            max: max.into(),
        }),
        value => Ok(value),
    }
}
