//! How far adding has come, and what was added.

use serde::Serialize;
use uor_index_format::id::ArtifactKey;

use super::left_out::LeftOut;
use crate::site::bounded::Bounded;
use crate::site::catalog::sort::Sort;
use crate::site::json;

/// How far adding has come; no number ever falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes read.
    pub bytes: u64,
    /// Bytes in all, where they could be counted beforehand.
    pub bytes_total: Option<u64>,
    /// Files read.
    pub files: u64,
    /// Files in all, where they could be counted beforehand.
    pub files_total: Option<u64>,
    /// Records that are durable.
    pub records_durable: u64,
}

/// What happens while things are added.
#[derive(Debug)]
pub enum AddEvent<'a> {
    /// It goes on.
    Progress(Progress),
    /// A source is durable and visible.
    Added(&'a Added),
}

/// One source that was added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Added {
    /// The source as it was given; escaped if it is no UTF-8.
    pub path: String,
    /// The bytes of its path in hexadecimal, if they are no UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    /// What it became.
    #[serde(serialize_with = "json::text")]
    pub key: ArtifactKey,
    /// `file` or `tree`.
    pub kind: Sort,
    /// Bytes of all files.
    pub bytes: u64,
    /// How many files.
    pub files: u64,
    /// By how many bytes the blocks grew.
    pub new_bytes: u64,
    /// How many things were left out because they are not wanted; of a directory, the directory.
    pub excluded: u64,
    /// Paths of what was left out by necessity, as far as they are named.
    pub skipped: Vec<String>,
    /// What was left out by necessity, and why.
    pub left_out: Bounded<LeftOut>,
    /// Files that were changing all the while, and are stored as they were read last.
    pub changing: Bounded<String>,
}
