//! Frontiers and snapshots: which commits of which domains are included, up to which logseq.
//!
//! A snapshot is an artifact, so its id is an artifact key, and two sites at one frontier name it
//! alike. A snapshot that was made by an import also says of which snapshot of a file system
//! ([`Origin`]), and has version 2.

use std::collections::BTreeMap;

use crate::codec::{DecodeError, Reader, Writer};
use crate::id::{ArtifactKey, CommitHash, LogSeq, SiteId, SnapshotId};
use crate::record::{Payload, artifact_key};

/// Type tag of snapshot artifacts: `SNAP`.
pub const TYPE_TAG: u32 = u32::from_le_bytes(*b"SNAP");
/// Most domains of a frontier.
pub const DOMAINS_MAX: u32 = 65_536;

const MAGIC: [u8; 4] = *b"UORS";
/// Snapshots without an origin.
const VERSION_PLAIN: u16 = 1;
/// Snapshots with an origin.
const VERSION: u16 = 2;
/// Longest name of an origin, in bytes.
pub const ORIGIN_NAME_LEN_MAX: u32 = 4096;
/// Longest encoded origin, in bytes.
pub const ORIGIN_LEN_MAX: u64 = 4 + ORIGIN_NAME_LEN_MAX as u64 + 3 * 8 + 32 + 2 * 33;

/// How much of one domain is included. The hash shows forks of equal length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Head {
    /// Number of the last commit.
    pub number: u64,
    /// Its hash.
    pub hash: CommitHash,
}

/// For each domain, the last commit that is included.
pub type Frontier = BTreeMap<SiteId, Head>;

/// A frontier plus `logseq_max`: a version is inside if its commit is within the frontier and its
/// logseq is not above.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Which commits are included.
    pub frontier: Frontier,
    /// The highest logseq that is included.
    pub logseq_max: LogSeq,
    /// The snapshot of a file system that was imported, if this one was made by an import.
    pub origin: Option<Box<Origin>>,
}

/// A ZFS snapshot, and what became of it here. A GUID proves nothing: it finds what an increment
/// rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// `pool/dataset@snapshot` where it came from: a label of any bytes.
    pub name: Vec<u8>,
    /// The snapshot's GUID; 0 if it is not known.
    pub to_guid: u64,
    /// The GUID of the snapshot that it was sent as changes to; 0 if it was sent whole.
    pub from_guid: u64,
    /// When it was taken, in seconds since 1970; 0 if that is not known.
    pub creation: u64,
    /// Its files as a tree, or the bytes of a volume.
    pub contents: ArtifactKey,
    /// What the next increment needs; none if the snapshot did not come as a stream.
    pub state: Option<ArtifactKey>,
    /// The import that this one rests on.
    pub predecessor: Option<SnapshotId>,
}

impl Snapshot {
    /// Whether commit `number` of `domain` at `logseq` is inside.
    pub fn includes(&self, domain: &SiteId, number: u64, logseq: LogSeq) -> bool {
        logseq <= self.logseq_max
            && self
                .frontier
                .get(domain)
                .is_some_and(|head| number <= head.number)
    }

    /// The snapshot's id.
    pub fn id(&self) -> crate::id::SnapshotId {
        artifact_key(Some(TYPE_TAG), &Payload::of(&self.encode()))
    }

    /// The payload of the snapshot artifact.
    pub fn encode(&self) -> Vec<u8> {
        let Some(origin) = &self.origin else {
            return self.encode_position();
        };
        let mut writer = Writer::with_header(MAGIC, VERSION);
        self.encode_body(&mut writer);
        origin.encode(&mut writer);
        writer.into_bytes()
    }

    /// What it includes, wherever it came from: the payload of the snapshot without an origin.
    pub(crate) fn encode_position(&self) -> Vec<u8> {
        let mut writer = Writer::with_header(MAGIC, VERSION_PLAIN);
        self.encode_body(&mut writer);
        writer.into_bytes()
    }

    fn encode_body(&self, writer: &mut Writer) {
        writer.u64(self.logseq_max.0).count(self.frontier.len());
        for (domain, head) in &self.frontier {
            writer
                .raw(domain.as_bytes())
                .u64(head.number)
                .raw(head.hash.as_bytes());
        }
    }

    /// Reads a snapshot artifact's payload.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let version = reader.header("snapshot", MAGIC, VERSION)?;
        let logseq_max = LogSeq(reader.u64("snapshot logseq_max")?);
        let count = reader.count("snapshot frontier", DOMAINS_MAX, 72)?;
        let mut frontier = Frontier::new();
        for _ in 0..count {
            let offset = reader.offset();
            let domain = SiteId::from_bytes(reader.array("frontier domain")?);
            let number = reader.u64("frontier number")?;
            let hash = CommitHash::from_bytes(reader.array("frontier hash")?);
            if number == 0
                || frontier
                    .last_key_value()
                    .is_some_and(|(last, _)| *last >= domain)
            {
                return Err(Reader::invalid(
                    "frontier domain",
                    offset,
                    "domains do not ascend, or an empty one is listed",
                ));
            }
            frontier.insert(domain, Head { number, hash });
        }
        let origin = if version == VERSION {
            Some(Box::new(Origin::decode(&mut reader)?))
        } else {
            None
        };
        reader.finish("snapshot")?;
        Ok(Self {
            frontier,
            logseq_max,
            origin,
        })
    }
}

impl Origin {
    fn encode(&self, writer: &mut Writer) {
        writer
            .bytes(&self.name)
            .u64(self.to_guid)
            .u64(self.from_guid)
            .u64(self.creation);
        writer.raw(self.contents.as_bytes());
        for key in [self.state, self.predecessor] {
            writer.u8(u8::from(key.is_some()));
            if let Some(key) = key {
                writer.raw(key.as_bytes());
            }
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let name = reader.bytes("origin name", ORIGIN_NAME_LEN_MAX)?.to_vec();
        let (to_guid, from_guid) = (
            reader.u64("origin guid")?,
            reader.u64("origin guid of the base")?,
        );
        let creation = reader.u64("origin creation")?;
        let contents = ArtifactKey::from_bytes(reader.array("origin contents")?);
        let state = decode_key(reader, "origin state")?;
        let predecessor = decode_key(reader, "origin predecessor")?;
        Ok(Self {
            name,
            to_guid,
            from_guid,
            creation,
            contents,
            state,
            predecessor,
        })
    }
}

fn decode_key(
    reader: &mut Reader<'_>,
    field: &'static str,
) -> Result<Option<ArtifactKey>, DecodeError> {
    let offset = reader.offset();
    match reader.u8(field)? {
        0 => Ok(None),
        1 => Ok(Some(ArtifactKey::from_bytes(reader.array(field)?))),
        _ => Err(Reader::invalid(field, offset, "neither 0 nor 1")),
    }
}
