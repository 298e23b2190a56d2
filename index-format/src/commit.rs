//! Commits: the atomic unit of a domain's log. A signed set of records that become visible
//! together.
//!
//! The header is what is hashed and signed; it covers the body by checksum. So a chain of headers
//! can be checked without bodies, and two headers are enough to prove that a writer forked its log.
//!
//! Invariants of a decoded commit: the signature is the domain's; records ascend by id, each id
//! once; every record's id and checksum follow from its content. What rests on other commits (the
//! chain, the logseq, membership) is judged in `asl`.

pub mod unverified;

use std::ops::Range;

use crate::codec::{DecodeError, Reader, Writer};
use crate::id::{Checksum, CommitHash, FederationState, LogSeq, SiteId, context, derive};
use crate::key::{SIGNATURE_LEN, SiteKey, verify};
use crate::order::Place;
use crate::record::{RECORD_LEN_MIN, Record, RecordHeader};

/// Most records of a commit.
pub const RECORDS_MAX: u32 = 65_536;
/// Most membership commits that one commit can newly name.
pub const LEARNED_MAX: u32 = 4096;
/// Longest body, in bytes.
pub const BODY_LEN_MAX: u32 = 8 << 20;

const MAGIC: [u8; 4] = *b"UORC";
const VERSION: u16 = 1;

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
    /// Hash of the commit before.
    pub const PREVIOUS: Range<usize> = 48..80;
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
    /// Plain BLAKE3 of the body.
    pub const BODY_CHECKSUM: Range<usize> = 144..176;
    /// Ed25519 over the hash of everything before.
    pub const SIGNATURE: Range<usize> = 176..176 + SIGNATURE_LEN;
    /// Where the body begins.
    pub const HEADER_LEN: usize = SIGNATURE.end;
}
const _: () = assert!(
    field::MAGIC.end == field::VERSION.start
        && field::RESERVED.end == field::DOMAIN.start
        && field::PREVIOUS.end == field::LOGSEQ.start
        && field::FEDERATION.end == field::WALL_MS.start
        && field::RESERVED_2.end == field::BODY_CHECKSUM.start
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
    /// Hash of the commit before; [`CommitHash::NONE`] for the first.
    pub previous: CommitHash,
    /// Lamport time, strictly increasing in a domain.
    pub logseq: LogSeq,
    /// Digest of the membership commits the writer knew; the commit is judged by them.
    pub federation: FederationState,
    /// Milliseconds since 1970 by the writer's clock: for people, never compared.
    pub wall_ms: u64,
    body_len: u32,
    learned_count: u32,
    record_count: u32,
    body_checksum: Checksum,
    signature: [u8; SIGNATURE_LEN],
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

    fn signed_part(&self) -> Vec<u8> {
        let mut writer = Writer::with_header(MAGIC, VERSION);
        writer
            .u16(0)
            .raw(self.domain.as_bytes())
            .u64(self.number)
            .raw(self.previous.as_bytes());
        writer
            .u64(self.logseq.0)
            .raw(self.federation.as_bytes())
            .u64(self.wall_ms);
        writer
            .u32(self.body_len)
            .u32(self.learned_count)
            .u32(self.record_count)
            .u32(0);
        writer.raw(self.body_checksum.as_bytes());
        writer.into_bytes()
    }

    /// Reads a header and checks its signature.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let header = Self::read(&mut reader)?;
        reader.finish("commit header")?;
        Ok(header)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.header("commit", MAGIC, VERSION)?;
        reader.reserved::<2>("commit padding")?;
        let header = Self {
            domain: SiteId::from_bytes(reader.array("commit domain")?),
            number: reader.u64("commit number")?,
            previous: CommitHash::from_bytes(reader.array("commit previous hash")?),
            logseq: LogSeq(reader.u64("commit logseq")?),
            federation: FederationState::from_bytes(reader.array("commit federation state")?),
            wall_ms: reader.u64("commit wall clock")?,
            body_len: bounded(reader, "commit body length", BODY_LEN_MAX)?,
            learned_count: bounded(reader, "commit membership count", LEARNED_MAX)?,
            record_count: bounded(reader, "commit record count", RECORDS_MAX)?,
            body_checksum: {
                reader.reserved::<4>("commit padding")?;
                Checksum::from_bytes(reader.array("commit body checksum")?)
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

    /// What can be said about number, predecessor and logseq without the commit before.
    fn check(&self) -> Result<(), DecodeError> {
        if self.number == 0 || (self.number == 1) != (self.previous == CommitHash::NONE) {
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

/// What a writer puts into its next commit.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Position in the domain, from 1.
    pub number: u64,
    /// Hash of the commit before.
    pub previous: CommitHash,
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
    /// Number, previous hash or logseq cannot be those of any commit.
    #[error("a commit cannot have this number, previous hash or logseq")]
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
    /// Hash of the commit before.
    pub previous: CommitHash,
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
    /// Of the records' bytes.
    checksum: Checksum,
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
        let checksum = Checksum::of(&bytes[CommitHeader::LEN..]);
        Ok(Self {
            records,
            record_count,
            bytes,
            checksum,
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
            checksum,
        } = self;
        let Link {
            number,
            previous,
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
        let mut body_checksum = checksum;
        if !learned.is_empty() {
            let named = learned.iter().flat_map(|hash| *hash.as_bytes());
            bytes.splice(CommitHeader::LEN..CommitHeader::LEN, named);
            body_checksum = Checksum::of(&bytes[CommitHeader::LEN..]);
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
            previous,
            logseq,
            federation,
            wall_ms,
            body_len,
            learned_count,
            record_count,
            body_checksum,
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
            previous,
            logseq,
            federation,
            wall_ms,
            learned,
            records,
        } = draft;
        Prepared::new(records)?.seal(
            Link {
                number,
                previous,
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

    /// Reads a commit and checks everything that can be checked without other commits.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let header = CommitHeader::read(&mut reader)?;
        let offset = reader.offset();
        let body = reader.take("commit body", header.body_len as usize)?;
        reader.finish("commit")?;
        if Checksum::of(body) != header.body_checksum {
            return Err(Reader::invalid(
                "commit body",
                offset,
                "its checksum is not the one that was signed",
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
