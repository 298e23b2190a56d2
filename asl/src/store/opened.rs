//! What opening a store found.

use std::collections::BTreeMap;

use uor_index_format::id::{Checksum, SiteId};

use crate::log::LogPosition;
use crate::{blocks, log};

/// What opening a store found.
#[derive(Debug, Clone, Default)]
pub struct Opened {
    /// What the log's recovery did.
    pub log: log::Recovery,
    /// What the blocks' recovery did.
    pub blocks: blocks::Recovery,
    /// Why the index had to be rebuilt from the log, if it had. A writer then writes it; a reader
    /// keeps it in memory.
    pub index: Option<StaleIndex>,
    /// What the log has lost, as far as its index knows. Only a reader opens such a store:
    /// [`StoreError::LogCut`](super::StoreError::LogCut).
    pub cut: Option<LogCut>,
    /// Payloads that the log calls erased and that were in the packs, which have lost the record of
    /// it. They are not shown; a writer erases them again.
    pub erased_again: Vec<Checksum>,
}

/// A log that is shorter than it was when its checkpoint was written. A crash does not do that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogCut {
    /// Where the log ends.
    pub end: LogPosition,
    /// Up to where it was covered by the checkpoint.
    pub through: LogPosition,
    /// How many commits of each domain the checkpoint knows; empty where its version is not read.
    pub heads: BTreeMap<SiteId, u64>,
}

/// Why an index cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleIndex {
    /// The file that is to blame, where one is.
    pub file: Option<String>,
    /// Where in it, in bytes.
    pub offset: Option<u64>,
    /// In words.
    pub what: String,
    /// Whether it is damaged. If not, it is of another version or has another number of shards.
    pub is_damage: bool,
}
