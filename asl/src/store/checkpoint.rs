//! The checkpoint: what opening a store would otherwise have to find out from its log. `FORMAT.md`,
//! "Checkpoint".
//!
//! It says up to where in the log the index reaches, which files the index consists of, and what
//! everything up to there amounts to. It is replaced as a whole. Where it is missing, damaged, of
//! another version or does not fit the files beside it, the log is read from its start and the
//! index rewritten: nothing is lost but time.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;

use rkyv::{Archive, Deserialize, Serialize, rancor, util::AlignedVec};
use uor_index_format::codec::hex;
use uor_index_format::id::{CanonicalId, Checksum, CommitHash, SiteId};
use uor_index_format::state::{LANES, StateHash};

use crate::disk::{self, Context as _, Disk, DiskError};
use crate::log::LogPosition;
use crate::validator;

/// Directory of everything that can be rebuilt from log and blocks.
pub(crate) const DIR: &str = "index";
pub(super) const FILE: &str = "index/checkpoint";
const MAGIC: [u8; 8] = *b"UORCKPT\0";
const VERSION: u16 = 3;
/// The version before, whose root has the same length.
const VERSION_WITHOUT_PEAKS: u16 = 2;
/// Length of the root, which ends a body and begins with [`Checkpoint::through`].
const ROOT_LEN: usize = 144;
/// Magic, version, zeros up to 16, digest of the body.
const HEADER_LEN: usize = 48;

/// What tells one checkpoint from another.
pub(super) type Stamp = blake3::Hash;

/// That of the checkpoint on `disk`, if there is one, whatever it says.
///
/// # Errors
/// [`DiskError`] if it cannot be read.
pub(super) fn stamp(disk: &dyn Disk) -> Result<Option<Stamp>, DiskError> {
    Ok(bytes(disk)?.map(|bytes| blake3::hash(&bytes)))
}

fn bytes(disk: &dyn Disk) -> Result<Option<Vec<u8>>, DiskError> {
    // Not asked for first: a writer beside may remove it in between.
    match disk::read_all(disk, FILE) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.source.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A run of the index: the records of commits that lie in a range of the log.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub(super) struct StoredRun {
    /// Number in its files' names; never used twice.
    pub(super) number: u32,
    /// Where in the log its range begins, and where it ends.
    pub(super) range: (u64, u64),
    /// What names each shard's file and no other.
    pub(super) seals: Vec<[u8; 16]>,
}

/// What is known at some place in the log.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    /// Everything before this place in the log is covered.
    pub(super) through: u64,
    /// How many shards the index has.
    pub(super) shards: u32,
    /// The number the next run gets.
    pub(super) next_run: u32,
    /// Oldest first; their ranges follow each other.
    pub(super) runs: Vec<StoredRun>,
    /// Domains by ordinal, and how many of their commits are in their tables.
    pub(super) domains: Vec<([u8; 32], u64)>,
    pub(super) validator: validator::Memory,
    pub(super) unaccepted: u64,
    pub(super) unaccepted_heads: Vec<([u8; 32], u64)>,
    lanes: Vec<u16>,
    entries: u64,
    conflicts: Vec<[u8; 32]>,
    wanted: Vec<([u8; 32], u64)>,
    /// Payloads that were erased on request, and when.
    erased: Vec<([u8; 32], u64)>,
    /// Membership commits that only testify, and where they lie in the log.
    testimony: Vec<([u8; 32], u64)>,
}

/// The parts of a checkpoint that have types of their own in memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Parts {
    pub(super) sum: StateHash,
    pub(super) conflicts: BTreeSet<CanonicalId>,
    pub(super) wanted: BTreeMap<Checksum, u64>,
    pub(super) erased: BTreeMap<Checksum, u64>,
    pub(super) testimony: BTreeMap<CommitHash, LogPosition>,
}

/// Why a checkpoint cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    #[error("`{FILE}` has format version {found}, this release reads {VERSION}")]
    Version { found: u16 },
    #[error("`{FILE}` has format version {found}, which an older release wrote")]
    Older {
        found: u16,
        /// Up to where in the log it covers it, where that is known of its version.
        through: Option<LogPosition>,
    },
    #[error("`{FILE}` is damaged: its digest should be {expected}, it is {found}")]
    Damaged { expected: String, found: String },
    #[error("`{FILE}` is damaged: {what}")]
    Content { what: String },
}

impl Checkpoint {
    /// The place up to which the log is covered.
    pub(super) fn through(&self) -> LogPosition {
        LogPosition::from_u64(self.through)
    }

    /// A checkpoint of these parts.
    #[expect(
        clippy::too_many_arguments,
        reason = "one for each thing a checkpoint says, called once"
    )]
    pub(super) fn new(
        through: LogPosition,
        shards: u32,
        next_run: u32,
        runs: Vec<StoredRun>,
        domains: Vec<([u8; 32], u64)>,
        validator: validator::Memory,
        (unaccepted, unaccepted_heads): (u64, Vec<([u8; 32], u64)>),
        parts: &Parts,
    ) -> Self {
        let pairs = |map: &BTreeMap<Checksum, u64>| {
            map.iter()
                .map(|(key, value)| (*key.as_bytes(), *value))
                .collect()
        };
        Self {
            through: through.to_u64(),
            shards,
            next_run,
            runs,
            domains,
            validator,
            unaccepted,
            unaccepted_heads,
            lanes: parts.sum.lanes().to_vec(),
            entries: parts.sum.entries(),
            conflicts: parts.conflicts.iter().map(|id| *id.as_bytes()).collect(),
            wanted: pairs(&parts.wanted),
            erased: pairs(&parts.erased),
            testimony: parts
                .testimony
                .iter()
                .map(|(hash, at)| (*hash.as_bytes(), at.to_u64()))
                .collect(),
        }
    }

    pub(super) fn parts(&self) -> Result<Parts, Unusable> {
        let map = |pairs: &[([u8; 32], u64)]| {
            pairs
                .iter()
                .map(|(checksum, value)| (Checksum::from_bytes(*checksum), *value))
                .collect()
        };
        let lanes: &[u16; LANES] =
            self.lanes
                .as_slice()
                .try_into()
                .map_err(|_| Unusable::Content {
                    what: format!("{} lanes instead of {LANES}", self.lanes.len()),
                })?;
        Ok(Parts {
            sum: StateHash::from_parts(lanes, self.entries),
            conflicts: self
                .conflicts
                .iter()
                .map(|id| CanonicalId::from_bytes(*id))
                .collect(),
            wanted: map(&self.wanted),
            erased: map(&self.erased),
            testimony: self
                .testimony
                .iter()
                .map(|(hash, at)| (CommitHash::from_bytes(*hash), LogPosition::from_u64(*at)))
                .collect(),
        })
    }

    pub(super) fn unaccepted_heads(&self) -> BTreeMap<SiteId, u64> {
        self.unaccepted_heads
            .iter()
            .map(|(site, number)| (SiteId::from_bytes(*site), *number))
            .collect()
    }

    pub(super) fn domains(&self) -> Vec<(SiteId, u64)> {
        self.domains
            .iter()
            .map(|(site, len)| (SiteId::from_bytes(*site), *len))
            .collect()
    }

    /// Puts the checkpoint in place of the one before, durably.
    ///
    /// # Errors
    /// [`DiskError`]; the one before is in place then.
    pub(super) fn store(&self, disk: &dyn Disk) -> Result<(), DiskError> {
        let body = rkyv::to_bytes::<rancor::Error>(self)
            .map_err(|error| std::io::Error::other(error.to_string()))
            .during("lay out", FILE)?;
        let mut bytes = Vec::with_capacity(HEADER_LEN + body.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.resize(16, 0);
        bytes.extend_from_slice(blake3::hash(&body).as_bytes());
        bytes.extend_from_slice(&body);
        disk::replace(disk, FILE, &bytes)
    }

    /// The checkpoint on `disk`, if there is one; or why it cannot be used.
    ///
    /// # Errors
    /// [`DiskError`] if it cannot be read.
    pub(super) fn load(disk: &dyn Disk) -> Result<Option<Result<Self, Unusable>>, DiskError> {
        Ok(bytes(disk)?.map(|bytes| Self::decode(&bytes)))
    }

    /// Takes away the checkpoint, so that the log is read from its start.
    ///
    /// # Errors
    /// [`DiskError`].
    pub(super) fn remove(disk: &dyn Disk) -> Result<(), DiskError> {
        if disk.exists(FILE).during("look for", FILE)? {
            disk.remove(FILE).during("remove", FILE)?;
            disk.sync_dir(DIR).during("sync", DIR)?;
        }
        Ok(())
    }

    /// Up to where in the log a checkpoint with this body covers it.
    fn through_in(body: &[u8]) -> Option<LogPosition> {
        let root = body.get(body.len().checked_sub(ROOT_LEN)?..)?;
        let through = root.first_chunk().copied().map(u64::from_le_bytes)?;
        Some(LogPosition::from_u64(through))
    }

    fn decode(bytes: &[u8]) -> Result<Self, Unusable> {
        let Some((header, body)) = bytes
            .split_at_checked(HEADER_LEN)
            .filter(|(header, _)| header[..8] == MAGIC)
        else {
            return Err(Unusable::Content {
                what: "it does not begin like a checkpoint".to_owned(),
            });
        };
        let found = u16::from_le_bytes([header[8], header[9]]);
        let digest = blake3::hash(body);
        let is_whole = header[10..16] == [0; 6] && digest.as_bytes() == &header[16..];
        match found {
            VERSION => {}
            1..VERSION if is_whole => {
                let through = (found == VERSION_WITHOUT_PEAKS)
                    .then(|| Self::through_in(body))
                    .flatten();
                return Err(Unusable::Older { found, through });
            }
            1..VERSION => {
                return Err(Unusable::Damaged {
                    expected: hex(&header[16..]),
                    found: hex(digest.as_bytes()),
                });
            }
            _ => return Err(Unusable::Version { found }),
        }
        if header[10..16] != [0; 6] {
            return Err(Unusable::Content {
                what: "its reserved bytes are not zero".to_owned(),
            });
        }
        if digest.as_bytes() != &header[16..] {
            return Err(Unusable::Damaged {
                expected: hex(&header[16..]),
                found: hex(digest.as_bytes()),
            });
        }
        let mut aligned = AlignedVec::<16>::with_capacity(body.len());
        aligned.extend_from_slice(body);
        rkyv::from_bytes::<Self, rancor::Error>(&aligned).map_err(|error| Unusable::Content {
            what: error.to_string(),
        })
    }
}
