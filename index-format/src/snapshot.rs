//! Frontiers and snapshots: which commits of which domains are included, up to which logseq.
//!
//! A snapshot is an artifact, so its id is an artifact key, and two sites at one frontier name it alike.

use std::collections::BTreeMap;

use crate::codec::{DecodeError, Reader, Writer};
use crate::id::{CommitHash, LogSeq, SiteId};
use crate::record::{Payload, artifact_key};

/// Type tag of snapshot artifacts: `SNAP`.
pub const TYPE_TAG: u32 = u32::from_le_bytes(*b"SNAP");
/// Most domains of a frontier.
pub const DOMAINS_MAX: u32 = 65_536;

const MAGIC: [u8; 4] = *b"UORS";
const VERSION: u16 = 1;

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

/// A frontier plus `logseq_max`: a version is inside if its commit is within the frontier and its logseq is not above.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Which commits are included.
    pub frontier: Frontier,
    /// The highest logseq that is included.
    pub logseq_max: LogSeq,
}

impl Snapshot {
    /// Whether commit `number` of `domain` at `logseq` is inside.
    pub fn includes(&self, domain: &SiteId, number: u64, logseq: LogSeq) -> bool {
        logseq <= self.logseq_max && self.frontier.get(domain).is_some_and(|head| number <= head.number)
    }

    /// The snapshot's id.
    pub fn id(&self) -> crate::id::SnapshotId {
        artifact_key(Some(TYPE_TAG), &Payload::of(&self.encode()))
    }

    /// The payload of the snapshot artifact.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_header(MAGIC, VERSION);
        writer.u64(self.logseq_max.0).count(self.frontier.len());
        for (domain, head) in &self.frontier {
            writer.raw(domain.as_bytes()).u64(head.number).raw(head.hash.as_bytes());
        }
        writer.into_bytes()
    }

    /// Reads a snapshot artifact's payload.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        reader.header("snapshot", MAGIC, VERSION)?;
        let logseq_max = LogSeq(reader.u64("snapshot logseq_max")?);
        let count = reader.count("snapshot frontier", DOMAINS_MAX, 72)?;
        let mut frontier = Frontier::new();
        for _ in 0..count {
            let offset = reader.offset();
            let domain = SiteId::from_bytes(reader.array("frontier domain")?);
            let number = reader.u64("frontier number")?;
            let hash = CommitHash::from_bytes(reader.array("frontier hash")?);
            if number == 0 || frontier.last_key_value().is_some_and(|(last, _)| *last >= domain) {
                return Err(Reader::invalid(
                    "frontier domain",
                    offset,
                    "domains do not ascend, or an empty one is listed",
                ));
            }
            frontier.insert(domain, Head { number, hash });
        }
        reader.finish("snapshot")?;
        Ok(Self { frontier, logseq_max })
    }
}
