//! How a writer makes a commit: records are laid out first, which takes time and no lock, and are
//! then linked to the log and signed.

use super::content::Content;
use super::{BODY_LEN_MAX, Commit, CommitHeader, LEARNED_MAX, RECORDS_MAX};
use crate::chain::History;
use crate::codec::{DecodeError, Writer};
use crate::id::{Checksum, CommitHash, FederationState, LogSeq};
use crate::key::{SIGNATURE_LEN, SiteKey};
use crate::record::{RECORD_LEN_MIN, Record};

/// What a writer puts into its next commit.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Position in the domain, from 1.
    pub number: u64,
    /// The commits before it; which version the commit has follows from how they are named.
    pub history: History,
    /// Lamport time.
    pub logseq: LogSeq,
    /// Digest of all membership commits the writer knows.
    pub federation: FederationState,
    /// Milliseconds since 1970.
    pub wall_ms: u64,
    /// Membership commits the writer learned of since its last commit, ascending.
    pub learned: Vec<CommitHash>,
    /// The records, in any order.
    pub records: Vec<Record>,
}

/// Why a draft cannot become a commit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// Two records are about one id.
    #[error("two records of one commit are about the same id {id}")]
    DuplicateId {
        /// The id.
        id: crate::id::CanonicalId,
    },
    /// There are no records, or more than a commit holds.
    #[error("a commit holds 1 to {max} records; got {count}: split them")]
    RecordCount {
        /// How many there are.
        count: usize,
        /// Most allowed.
        max: u32,
    },
    /// More membership commits are named than a commit holds.
    #[error("a commit names at most {max} membership commits; got {count}")]
    LearnedCount {
        /// How many there are.
        count: usize,
        /// Most allowed.
        max: u32,
    },
    /// Number, history or logseq cannot be those of any commit.
    #[error("a commit cannot have this number, history or logseq")]
    Header {
        /// What a reader would say.
        #[source]
        source: DecodeError,
    },
    /// A record breaks a bound or rule of the format, so no reader would accept it.
    #[error("the record of {id} breaks the format's rules")]
    Record {
        /// The id it is about.
        id: crate::id::CanonicalId,
        /// What a reader would say.
        #[source]
        source: DecodeError,
    },
    /// The body is too long.
    #[error("the commit's body is {len} bytes; at most {max} are allowed: split it")]
    BodyLen {
        /// Its length.
        len: usize,
        /// Most allowed.
        max: u32,
    },
}

/// What chains a commit to those before it.
#[derive(Debug, Clone)]
pub struct Link {
    /// Position in the domain, from 1.
    pub number: u64,
    /// The commits before it; which version the commit has follows from how they are named.
    pub history: History,
    /// Lamport time.
    pub logseq: LogSeq,
    /// Digest of all membership commits the writer knows.
    pub federation: FederationState,
    /// Milliseconds since 1970.
    pub wall_ms: u64,
    /// Membership commits the writer learned of since its last commit, ascending.
    pub learned: Vec<CommitHash>,
}

/// Records laid out for a commit whose place in the log is not known yet: everything that costs
/// time and needs no lock.
#[derive(Debug, Clone)]
pub struct Prepared {
    records: Vec<Record>,
    record_count: u32,
    /// Room for a header, then the records' bytes.
    bytes: Vec<u8>,
    content: Content,
}

impl Prepared {
    /// Sorts and lays out records, given in any order. Refuses whatever [`Commit::decode`] would
    /// refuse of them.
    pub fn new(records: Vec<Record>) -> Result<Self, SealError> {
        let record_count = u32::try_from(records.len())
            .ok()
            .filter(|count| (1..=RECORDS_MAX).contains(count));
        let Some(record_count) = record_count else {
            return Err(SealError::RecordCount {
                count: records.len(),
                max: RECORDS_MAX,
            });
        };
        let records = sorted(records);
        if let Some(pair) = records
            .windows(2)
            .find(|pair| matches!(pair, [a, b] if a.id() == b.id()))
        {
            return Err(SealError::DuplicateId { id: pair[0].id() });
        }
        for record in &records {
            record.check().map_err(|source| SealError::Record {
                id: record.id(),
                source,
            })?;
        }
        let mut writer = Writer::with_capacity(CommitHeader::LEN + records.len() * RECORD_LEN_MIN);
        writer.raw(&[0; CommitHeader::LEN]);
        records.iter().for_each(|record| record.encode(&mut writer));
        let bytes = writer.into_bytes();
        let content = Content::of(&bytes[CommitHeader::LEN..], 0, record_count)
            .expect("the records were just laid out");
        Ok(Self {
            records,
            record_count,
            bytes,
            content,
        })
    }

    /// How many membership commits the commit has room to name.
    pub fn learned_room(&self) -> usize {
        let body_len = self.bytes.len() - CommitHeader::LEN;
        (BODY_LEN_MAX as usize).saturating_sub(body_len) / CommitHash::LEN
    }

    /// Links the records to the log and signs them.
    pub fn seal(self, link: Link, key: &SiteKey) -> Result<Commit, SealError> {
        let Self {
            records,
            record_count,
            mut bytes,
            mut content,
        } = self;
        let Link {
            number,
            history,
            logseq,
            federation,
            wall_ms,
            mut learned,
        } = link;
        learned.sort();
        learned.dedup();
        let Some(learned_count) = u32::try_from(learned.len())
            .ok()
            .filter(|count| *count <= LEARNED_MAX)
        else {
            return Err(SealError::LearnedCount {
                count: learned.len(),
                max: LEARNED_MAX,
            });
        };
        if !learned.is_empty() {
            let named = learned.iter().flat_map(|hash| *hash.as_bytes());
            bytes.splice(CommitHeader::LEN..CommitHeader::LEN, named);
            content.body = Checksum::of(&bytes[CommitHeader::LEN..]);
        }
        let len = bytes.len() - CommitHeader::LEN;
        let Some(body_len) = u32::try_from(len).ok().filter(|len| *len <= BODY_LEN_MAX) else {
            return Err(SealError::BodyLen {
                len,
                max: BODY_LEN_MAX,
            });
        };
        let mut header = CommitHeader {
            domain: key.site_id(),
            number,
            history,
            logseq,
            federation,
            wall_ms,
            body_len,
            learned_count,
            record_count,
            content: content.covered_by(&history),
            signature: [0; SIGNATURE_LEN],
        };
        header
            .check()
            .map_err(|source| SealError::Header { source })?;
        let hash = header.hash();
        header.signature = key.sign(&hash);
        bytes[..CommitHeader::LEN].copy_from_slice(&header.encode());
        Ok(Commit {
            header,
            hash,
            learned,
            records,
            bytes,
        })
    }
}

/// The records by id. They are long and ids are digests, so places are sorted by the ids' first
/// bytes and then taken.
fn sorted(records: Vec<Record>) -> Vec<Record> {
    if records.is_sorted_by_key(Record::id) {
        return records;
    }
    let mut places: Vec<(u64, usize)> = records
        .iter()
        .map(|record| record.id().prefix())
        .zip(0..)
        .collect();
    places.sort_unstable_by(|a, b| {
        a.0.cmp(&b.0)
            .then_with(|| records[a.1].id().cmp(&records[b.1].id()))
    });
    let mut records: Vec<Option<Record>> = records.into_iter().map(Some).collect();
    places
        .into_iter()
        .filter_map(|(_, at)| records[at].take())
        .collect()
}
