//! Commits: the atomic unit of a domain's log. A signed set of records that become visible
//! together.
//!
//! The header is what is hashed and signed; it covers the body by digest. So a chain of headers
//! can be checked without bodies, and two headers are enough to prove that a writer forked its log.
//!
//! To be read in this order: `header`, `unverified` (what it says before it is believed), `content`
//! (what a header covers of its body), this file, `seal` (how one is made), `fork`.
//!
//! Invariants of a decoded commit: the signature is the domain's; records ascend by id, each id
//! once; every record's id and checksum follow from its content. What rests on other commits (the
//! chain, the logseq, membership) is validated in `asl`.

mod content;
mod fork;
mod header;
mod seal;
pub mod unverified;

use crate::chain::History;
use crate::codec::{DecodeError, Reader};
use crate::id::{CanonicalId, Checksum, CommitHash};
use crate::key::SiteKey;
use crate::merkle::RECORDS;
use crate::order::Place;
use crate::record::{RECORD_LEN_MIN, Record, RecordHeader};
use content::Content;

pub use content::{RecordProof, record_leaf};
pub use fork::ForkProof;
pub use header::{CommitHeader, field};
pub use seal::{Draft, Link, Prepared, SealError};

/// Most records of a commit.
pub const RECORDS_MAX: u32 = 65_536;
/// Most membership commits that one commit can newly name.
pub const LEARNED_MAX: u32 = 4096;
/// Longest body, in bytes.
pub const BODY_LEN_MAX: u32 = 8 << 20;

/// A commit, valid once built: see the module's invariants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    header: CommitHeader,
    hash: CommitHash,
    learned: Vec<CommitHash>,
    records: Vec<Record>,
    bytes: Vec<u8>,
}

impl Commit {
    /// Sorts the records, lays out the commit and signs it. Refuses whatever [`Commit::decode`]
    /// would refuse.
    pub fn seal(draft: Draft, key: &SiteKey) -> Result<Self, SealError> {
        let Draft {
            number,
            history,
            logseq,
            federation,
            wall_ms,
            learned,
            records,
        } = draft;
        Prepared::new(records)?.seal(
            Link {
                number,
                history,
                logseq,
                federation,
                wall_ms,
                learned,
            },
            key,
        )
    }

    /// The header.
    pub const fn header(&self) -> &CommitHeader {
        &self.header
    }

    /// The commit's hash.
    pub const fn hash(&self) -> CommitHash {
        self.hash
    }

    /// Membership commits the writer learned of since its last commit, ascending.
    pub fn learned(&self) -> &[CommitHash] {
        &self.learned
    }

    /// The records, ascending by id.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Whether it changes who may write.
    pub fn is_membership(&self) -> bool {
        self.records.iter().any(Record::is_membership)
    }

    /// The place of one of its records in the one order.
    pub const fn place(&self, record: &Record) -> Place {
        Place {
            logseq: self.header.logseq,
            id: record.id(),
            tombstone: record.is_tombstone(),
            domain: self.header.domain,
        }
    }

    /// The bytes: stored and sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A copy of [`Commit::as_bytes`].
    pub fn encode(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    /// Where each record's bytes begin in [`Commit::as_bytes`], in the order of
    /// [`Commit::records`].
    pub fn record_offsets(&self) -> impl Iterator<Item = usize> {
        let first = CommitHeader::LEN + self.learned.len() * CommitHash::LEN;
        self.records.iter().scan(first, |next, record| {
            let offset = *next;
            *next += record.encoded_len();
            Some(offset)
        })
    }

    /// The fixed part of each record, in the order of [`Commit::records`]: cheaper than the records
    /// where these have bodies.
    pub fn record_headers(&self) -> impl Iterator<Item = RecordHeader> {
        let mut reader =
            Reader::new(&self.bytes[CommitHeader::LEN + self.learned.len() * CommitHash::LEN..]);
        std::iter::from_fn(move || {
            let header = RecordHeader::read(&mut reader).ok()?;
            reader.take("record body", header.body_len as usize).ok()?;
            Some(header)
        })
    }

    /// Proof that the record about `id` is in the commit, for whoever has its header alone. `None`
    /// if there is no such record, or the commit is of version 1, which covers no root.
    pub fn prove_record(&self, id: &CanonicalId) -> Option<RecordProof> {
        let History::Root(_) = self.header.history else {
            return None;
        };
        let index = self.records.binary_search_by_key(id, Record::id).ok()?;
        let leaves: Vec<_> = self
            .record_headers()
            .map(|record| record_leaf(&record))
            .collect();
        Some(RecordProof {
            body: Checksum::of(&self.bytes[CommitHeader::LEN..]),
            index: u32::try_from(index).expect("a commit holds fewer"),
            path: RECORDS.prove_inclusion(&leaves, index)?,
        })
    }

    /// Reads a commit and checks everything that can be checked without other commits.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let header = CommitHeader::read(&mut reader)?;
        let offset = reader.offset();
        let body = reader.take("commit body", header.body_len as usize)?;
        reader.finish("commit")?;
        let covered = match header.history {
            History::Previous(_) => Some(*Checksum::of(body).as_bytes()),
            History::Root(_) => Content::of(body, header.learned_count, header.record_count)
                .map(|content| content.covered_by(&header.history)),
        };
        if covered != Some(header.content) {
            return Err(Reader::invalid(
                "commit body",
                offset,
                "it is not the one that was signed",
            ));
        }
        let mut reader = Reader::new(body);
        let learned = (0..header.learned_count)
            .map(|_| {
                reader
                    .array("membership commit")
                    .map(CommitHash::from_bytes)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let need = (header.record_count as usize).saturating_mul(RECORD_LEN_MIN);
        if need > reader.remaining() {
            let have = reader.remaining();
            return Err(DecodeError::Truncated {
                field: "commit records",
                offset: reader.offset(),
                need,
                have,
            });
        }
        let records = (0..header.record_count)
            .map(|_| Record::decode(&mut reader))
            .collect::<Result<Vec<_>, _>>()?;
        reader.finish("commit body")?;
        if !learned.is_sorted_by(|a, b| a < b)
            || !records.is_sorted_by(|a, b| a.id() < b.id())
            || records.is_empty()
        {
            return Err(Reader::invalid(
                "commit body",
                offset,
                "not in ascending order, or empty",
            ));
        }
        let hash = header.hash();
        Ok(Self {
            header,
            hash,
            learned,
            records,
            bytes: bytes.to_vec(),
        })
    }
}
